"""What a user brings by mistake, or before it is ready: each error says what to type."""

import numpy as np
import pytest
import torch
from _nets import TinyMLP, make_net
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import (
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    failure_report,
)
from metaerr_sklearn.neural import AugmentedConfidence, TorchEmbedding


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 64)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


WRAPPERS = {
    "MetaErrorClassifier": lambda base, X, y: MetaErrorClassifier(base).fit(X, y),
    "prefit": lambda base, X, y: MetaErrorClassifier(base, cv="prefit").fit(X, y),
    "frozen": lambda base, X, y: MetaErrorClassifier(FrozenEstimator(base)).fit(X, y),
    "pipeline": lambda base, X, y: MetaErrorClassifier(make_pipeline(StandardScaler(), base)).fit(
        X, y
    ),
    "selective": lambda base, X, y: SelectiveClassifier(base, target_coverage=0.9).fit(X, y),
    "self-training": lambda base, X, y: SelfTrainingWithMetaErr(base).fit(
        X, np.where(X[:, 2] > 0, y, -1)
    ),
    "meta-learner": lambda base, X, y: MetaErrorClassifier(LogisticRegression(), base).fit(X, y),
    "report": failure_report,
    "embedding": lambda base, X, y: TorchEmbedding(base).fit(X),
    "augmentation": lambda base, X, y: AugmentedConfidence(lambda X: [X]).observe(base, X),
}


@pytest.mark.parametrize("module", [TinyMLP(), TinyMLP, torch.nn.Sequential(TinyMLP())])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_pytorch_module_is_refused_in_few_words(module, wrapper, table):
    with pytest.raises(
        TypeError, match=r"is a PyTorch module.*NeuralNetClassifier\(module"
    ) as info:
        WRAPPERS[wrapper](module, *table)
    assert "initialize()" in str(info.value)
    assert len(str(info.value)) < 400


@pytest.mark.parametrize("wrapper", ["prefit", "frozen"])
@pytest.mark.parametrize("module", [TinyMLP(), TinyMLP])
def test_a_net_that_is_not_initialized(module, wrapper, table):
    with pytest.raises(NotFittedError, match=r"call net.initialize\(\) first"):
        WRAPPERS[wrapper](make_net(module), *table)
