"""How often a prediction and a fit read the rows of a Dataset."""

import numpy as np
import pytest
import torch
from _nets import TinyCNN, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.utils import shuffle
from torch.utils.data import Dataset

from metaerr_sklearn import MetaErrorClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn.neural import as_classifier


class Images(Dataset):
    """Digits that count how often they are read."""

    def __init__(self, start, stop):
        X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
        self.X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)[start:stop]
        self.y, self.n_reads = y[start:stop], 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.n_reads += 1
        return torch.from_numpy(self.X[i]), int(self.y[i])

    def reads_of(self, method):
        self.n_reads = 0
        result = method(self)
        return result, self.n_reads / len(self)


@pytest.mark.parametrize("working_memory", [1024, 0.5])
@pytest.mark.parametrize("is_prefit", [False, True])
def test_a_dataset_is_read_once_in_a_prediction(is_prefit, working_memory):
    train, new = Images(0, 500), Images(500, 900)
    net = make_net(TinyCNN, max_epochs=4)
    if is_prefit:
        net = FrozenEstimator(net.fit(Images(900, 1300).X, Images(900, 1300).y))
    clf = MetaErrorClassifier(net, "logistic", cv=3, random_state=0)
    _, n_fit = train.reads_of(lambda data: clf.fit(data, train.y))
    # 4 epochs on two thirds of the rows for each of 3 folds, 4 epochs on all, and a prediction.
    n_needed = 1 if is_prefit else 4 * (3 * 2 / 3 + 1) + 1
    assert n_fit < n_needed + (0.1 if is_prefit else 1.1)
    expected = clf.predict_with_error(new.X)
    with config_context(working_memory=working_memory):
        if working_memory == 1024:
            assert new.reads_of(clf.estimate_accuracy)[1] < 1.1
        (labels, error_proba), n_reads = new.reads_of(clf.predict_with_error)
        assert new.reads_of(clf.explain_error)[1] < 1.1
    assert n_reads < 1.1
    assert_array_equal(labels, expected[0])
    assert_allclose(error_proba, expected[1], rtol=1e-4)


class Tokens(Dataset):
    """Texts of one to nine tokens, whose largest token decides the class."""

    def __init__(self, n_samples):
        rng = np.random.default_rng(0)
        self.X = [rng.integers(1, 9, size=rng.integers(1, 10)) for _ in range(n_samples)]
        self.y = np.array([row.max() // 4 for row in self.X])

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), int(self.y[i])


def padded(batch):
    rows, labels = zip(*batch)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(labels)


class MeanOfTokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 8, padding_idx=0)
        self.output = torch.nn.Linear(8, 3)

    def forward(self, tokens):
        return self.output(self.embedding(tokens).mean(1))


def test_rows_of_different_shapes_that_the_net_collates():
    data = Tokens(120)
    collate = {"iterator_train__collate_fn": padded, "iterator_valid__collate_fn": padded}
    net = make_net(MeanOfTokens, max_epochs=3, **collate)
    no_numbers = pytest.warns(UserWarning, match=r"different shapes, \(1,\) to \(9,\), and no num")
    with no_numbers:
        clf = MetaErrorClassifier(net, "logistic", cv=2, random_state=0).fit(data, data.y)
    assert clf.predict_error_proba(data).shape == (120,)
    prefit = MetaErrorClassifier(clf.estimator_, "logistic", cv="prefit", random_state=0)
    assert hasattr(prefit.fit(data, data.y).error_model_.representation_, "is_computed_by")
    module = as_classifier(clf.estimator_.module_, iterator_valid__collate_fn=padded)
    assert_allclose(module.predict_proba(data), clf.predict_proba(data), rtol=1e-6)
    with no_numbers:
        y_partly = np.where(np.arange(120) < 60, data.y, -1)
        trained = SelfTrainingWithMetaErr(net, random_state=0).fit(data, y_partly)
    assert trained.predict(data).shape == (120,)
