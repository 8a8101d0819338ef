"""What a user brings by mistake, or before it is ready: each error says what to type."""

import numpy as np
import pytest
import torch
from _nets import TinyCNN, TinyMLP, make_net
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.dataset import ValidSplit
from torch.utils.data import DataLoader, TensorDataset

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


class CountingNet(NeuralNetClassifier):
    """A net that counts the fits of all its clones."""

    n_fits = 0

    def fit(self, X, y=None, **fit_params):
        type(self).n_fits += 1
        return super().fit(X, y, **fit_params)


@pytest.fixture
def counted():
    CountingNet.n_fits = 0
    return make_net(TinyMLP, net_class=CountingNet, max_epochs=1)


def as_loader(X, y, *, shuffle=True):
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return DataLoader(rows, batch_size=8, shuffle=shuffle)


@pytest.mark.parametrize("make", [MetaErrorClassifier, SelfTrainingWithMetaErr])
@pytest.mark.parametrize(
    ("X_of", "y_of", "error", "match"),
    [
        (None, lambda X, y: None, ValueError, r"target y is None. Labels in a Dataset .* y=np.arr"),
        (None, lambda X, y: {"label": y}, TypeError, r"got a dict. Pass an array: y\["),
        (None, as_loader, TypeError, r"got a DataLoader. Pass an array: .*label for _, label"),
        (None, lambda X, y: as_loader(X, y).dataset, TypeError, r"got a TensorDataset. Pass an"),
        (as_loader, None, TypeError, r"DataLoader that shuffles.*Pass its Dataset, loader.dataset"),
    ],
)
def test_inputs_that_are_no_rows_or_no_labels(make, X_of, y_of, error, match, table, counted):
    X, y = (part if change is None else change(*table) for part, change in zip(table, (X_of, y_of)))
    with pytest.raises(error, match=match):
        make(counted).fit(X, y)
    assert CountingNet.n_fits == 0


def test_a_data_loader_that_shuffles_is_refused_in_predictions(table, counted):
    clf = MetaErrorClassifier(counted, "confidence", cv=2).fit(*table)
    for method in (clf.predict, clf.predict_proba, clf.predict_with_error):
        with pytest.raises(TypeError, match=r"DataLoader that shuffles"):
            method(as_loader(*table))
        in_order = method(as_loader(*table, shuffle=False))
        np.testing.assert_array_equal(in_order, method(table[0]))


def test_batches_that_are_dropped_in_predictions(table, counted):
    X, y = table
    counted.set_params(iterator_valid__drop_last=True)
    bases = [counted, FrozenEstimator(make_net(TinyMLP, iterator_valid__drop_last=True).fit(X, y))]
    for make in (MetaErrorClassifier, SelfTrainingWithMetaErr):
        for base in bases[: 2 if make is MetaErrorClassifier else 1]:
            with pytest.raises(ValueError, match=r"set_params\(iterator_valid__drop_last=False"):
                make(base).fit(X, np.where(y == 2, -1, y) if make is SelfTrainingWithMetaErr else y)
    assert CountingNet.n_fits == 0


def test_missing_pixels_are_not_blamed_on_the_softmax(table):
    X, y = table
    net = make_net(TinyMLP).fit(X, y)
    odd = X.copy()
    odd[[7, 9]] = np.nan
    with pytest.raises(ValueError, match=r"NaN in 2 of 90 rows, row 7 the first") as info:
        MetaErrorClassifier(FrozenEstimator(net)).fit(odd, y)
    assert "softmax" not in str(info.value)


class HalfPrecision(TinyMLP):
    def forward(self, X):
        return super().forward(X).bfloat16()


def test_outputs_in_bfloat16(table):
    with pytest.raises(TypeError, match=r"returns bfloat16.*output.float\(\)"):
        MetaErrorClassifier(make_net(HalfPrecision), cv=2).fit(*table)


def test_labels_in_uint8(table):
    X, y = table
    clf = MetaErrorClassifier(make_net(TinyMLP), "confidence", cv=2, random_state=0).fit(
        X, y.astype(np.uint8)
    )
    assert clf.predict(X).dtype == np.uint8
    partly = np.where(np.arange(90) < 60, y, -1).astype(np.uint8)
    with (
        pytest.warns(UserWarning, match="no unlabeled"),
        pytest.raises(ValueError, match=r"fewer output units .*255 is -1 as uint8"),
    ):
        SelfTrainingWithMetaErr(make_net(TinyMLP, module__n_outputs=3)).fit(X, partly)


def test_fewer_outputs_than_classes(table):
    net = make_net(TinyMLP, module__n_outputs=2)
    with pytest.raises(ValueError, match=r"fewer output units than y has classes.*\[0, 1, 2\]"):
        MetaErrorClassifier(net, cv=2).fit(*table)


@pytest.mark.parametrize("split", [ValidSplit(5, stratified=True), ValidSplit(12, stratified=True)])
def test_too_few_labels_for_the_own_hold_out_of_a_net(split, table, counted):
    X, y = table
    n_rows = 5 if split.cv == 5 else 12
    few = np.concatenate([np.flatnonzero(y == label)[:n_rows] for label in range(3)])
    counted.set_params(train_split=split)
    with pytest.raises(ValueError, match=r"needs .* rows of a class.*train_split=None"):
        MetaErrorClassifier(counted, cv=3).fit(X[few], y[few])
    assert CountingNet.n_fits == 0
    partly = np.full(90, -1)
    partly[few] = y[few]
    with pytest.raises(ValueError, match=r"train_split=None"):
        SelfTrainingWithMetaErr(counted, cv=3).fit(X, partly)
    counted.set_params(train_split=ValidSplit(2, stratified=True))
    MetaErrorClassifier(counted, "confidence", cv=3, random_state=0).fit(X, y)


def test_a_cnn_as_meta_learner_needs_the_images():
    X = np.random.default_rng(0).random((90, 1, 8, 8)).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Flatten(), TinyMLP(n_outputs=2))
    counted = make_net(module, net_class=CountingNet, max_epochs=1)
    CountingNet.n_fits = 0
    learner = make_net(TinyCNN, module__n_outputs=2, max_epochs=1)
    y = np.arange(90) % 2
    with pytest.raises(ValueError, match=r'takes images.*meta_features="input"'):
        MetaErrorClassifier(counted, learner, cv=2).fit(X, y)
    assert CountingNet.n_fits == 0
    MetaErrorClassifier(counted, learner, cv=2, meta_features="input").fit(X, y)
