"""X in containers of many kinds: rows are read as the container gives them."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from _nets import TinyCNN, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from skorch.helper import SliceDict
from torch import nn

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    error_slices,
)
from metaerr_sklearn._utils.rows import take_rows
from metaerr_sklearn.metrics import error_roc_auc, make_error_scorer
from metaerr_sklearn.model_selection import SemiSupervisedKFold
from metaerr_sklearn.neural import TorchEmbedding

pytestmark = pytest.mark.usefixtures("small_second_opinion")
error_roc_auc_score = make_error_scorer(error_roc_auc)


class OnDisk:
    """Gives rows in increasing order only, as a data set of h5py does."""

    def __init__(self, rows):
        self._rows, self.shape, self.dtype, self.ndim = rows, rows.shape, rows.dtype, rows.ndim

    def __len__(self):
        return len(self._rows)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._rows, dtype=dtype)

    def __getitem__(self, key):
        first = key[0] if isinstance(key, tuple) else key
        if np.ndim(first) and np.asarray(first).dtype != bool and (np.diff(first) <= 0).any():
            raise TypeError("Indexing elements must be in increasing order")
        return self._rows[key]


class InChunks(OnDisk):
    """Gives a list of rows by `oindex` only, and has no length, as an array of zarr."""

    __len__ = None

    @property
    def oindex(self):
        return self._rows

    def __getitem__(self, key):
        if any(np.ndim(part) for part in (key if isinstance(key, tuple) else (key,))):
            raise ValueError("The truth value of an array with more than one element is ambiguous")
        return self._rows[key]


class ReadsArray(ClassifierMixin, BaseEstimator):
    """A logistic regression without sample weights on anything that NumPy reads."""

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(np.asarray(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(np.asarray(X))

    def predict_proba(self, X):
        return self.model_.predict_proba(np.asarray(X))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, left, right):
        return self.linear(torch.cat([left, right], dim=1))


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=240)
    X = rng.normal(size=(3, 4))[y] + rng.normal(size=(240, 4))
    return X.astype(np.float32), y


def use_everywhere(base, X, y):
    """Return an output of each public class for the same X in any container."""
    y_partly = np.where(np.arange(len(y)) < 90, y, -1)
    clf = MetaErrorClassifier(base, "logistic", random_state=0).fit(X, y)
    selective = SelectiveClassifier(base, target_coverage=0.8, random_state=0).fit(X, y)
    outputs = [
        clf.predict(X),
        clf.predict_error_proba(X),
        clf.estimate_accuracy(X),
        selective.predict(X),
        np.concatenate([test for _, test in SemiSupervisedKFold(3).split(X, y_partly)]),
    ]
    model = ErrorModel("logistic", random_state=0).fit(X, y, clf.predict_proba(X))
    outputs.append(model.predict_error_proba(X, clf.predict_proba(X)))
    for criterion in ("auto", "k_best"):
        model = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=0)
        outputs.append(model.fit(X, y_partly).predict_error_proba(X))
    outputs.append(error_roc_auc_score(clf, X, y))
    return outputs


@pytest.mark.parametrize("kind", [OnDisk, InChunks])
def test_rows_of_a_file_are_read_as_its_library_can(kind, table):
    X, y = table
    expected = use_everywhere(ReadsArray(), X, y)
    for output, other in zip(use_everywhere(ReadsArray(), kind(X), y), expected):
        assert_array_equal(output, other)


def test_rows_in_any_order_and_with_repetitions():
    X = np.arange(10.0)[:, None]
    for rows in ([3, 1, 2], [5, 5, 0], [1, 4], [], np.arange(10) > 6, slice(2, 8, 3)):
        rows = (
            rows if isinstance(rows, slice) else np.array(rows, dtype=getattr(rows, "dtype", int))
        )
        assert_array_equal(take_rows(OnDisk(X), rows), X[rows])


@pytest.mark.parametrize("container", ["Table", "RecordBatch"])
def test_pyarrow_tables_work_as_arrays(table, container):
    pa = pytest.importorskip("pyarrow")
    X, y = table
    arrow = pa.table({f"c{j}": column for j, column in enumerate(X.T)})
    arrow = arrow if container == "Table" else arrow.to_batches()[0]
    base = HistGradientBoostingClassifier(max_iter=5, early_stopping=False, random_state=0)
    with warnings.catch_warnings():
        # scikit-learn's trees name the columns of a table differently in fit and in predict.
        warnings.filterwarnings("ignore", "X (does not )?ha", UserWarning)
        for output, other in zip(use_everywhere(base, arrow, y), use_everywhere(base, X, y)):
            assert_allclose(output, other, rtol=1e-5)
        clf = MetaErrorClassifier(base, "lightgbm", random_state=0).fit(arrow, y)
        assert "input: c0" in clf.explain_error(arrow)[1]
        error_slices(clf, arrow, random_state=0)


def as_net(module=TwoInputs, **kwargs):
    return make_net(module, max_epochs=3, **kwargs)


def test_a_dict_of_inputs_works_as_a_slice_dict(table):
    X, y = table
    inputs = {"left": X[:, :2], "right": torch.tensor(X[:, 2:])}
    outputs = []
    for rows in (inputs, SliceDict(left=X[:, :2], right=X[:, 2:])):
        with pytest.warns(UserWarning, match="SliceDict .* without neighbours and second opinion"):
            outputs.append(use_everywhere(as_net(), rows, y))
    for output, other in zip(*outputs):
        assert_array_equal(output, other)


def test_a_sparse_matrix_of_the_form_of_a_dict_is_no_dict_of_inputs(table):
    X, y = table
    clf = MetaErrorClassifier(LogisticRegression(), "confidence", random_state=0)
    expected = clf.fit(sp.csr_array(X), y).predict_error_proba(sp.csr_array(X))
    X = sp.dok_array(X)
    assert_allclose(clf.fit(X, y).predict_error_proba(X), expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"X is a dict, .* Pass skorch\.helper\.SliceDict\("),
        ({"left": 3}, r"X is a dict, .* Pass skorch\.helper\.SliceDict\("),
        ({1: np.zeros((240, 2))}, r"X is a dict, .* Pass skorch\.helper\.SliceDict\("),
        ({"left": np.zeros((240, 2)), "right": np.zeros(9)}, r"rows: \{'left': 240, 'right': 9\}"),
    ],
)
def test_another_dict_is_refused_before_any_fit(table, inputs, message):
    for model in (
        MetaErrorClassifier(as_net()),
        SelectiveClassifier(as_net(), target_coverage=0.8),
        SelfTrainingWithMetaErr(as_net()),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            model.fit(inputs, table[1])


def test_values_under_a_mask_are_not_read(table):
    X, y = np.ma.array(table[0]), table[1]
    X[:5] = np.ma.masked
    for fit in (
        MetaErrorClassifier(DummyClassifier()).fit,
        SelfTrainingWithMetaErr(DummyClassifier()).fit,
        SelectiveClassifier(DummyClassifier(), target_coverage=0.8).fit,
    ):
        with pytest.raises(ValueError, match=r"masked values.* Pass X.filled\(np.nan\)"):
            fit(X, y)


def test_a_sparse_tensor_is_refused(table):
    X = torch.eye(240).to_sparse()
    with pytest.raises(TypeError, match=r"sparse tensor \(torch.sparse_coo\).*X.to_dense\(\)"):
        MetaErrorClassifier(DummyClassifier()).fit(X, table[1])


def empty_tables():
    yield np.zeros((60, 0))
    yield np.zeros((60, 0, 8))
    yield [[]] * 60
    yield sp.csr_array((60, 0))
    yield pytest.importorskip("pandas").DataFrame(index=range(60))


def test_x_without_columns_is_refused_before_any_fit():
    y = np.arange(60) % 2
    for X in empty_tables():
        for fit in (
            MetaErrorClassifier(DummyClassifier()).fit,
            SelectiveClassifier(DummyClassifier(), target_coverage=0.8).fit,
            SelfTrainingWithMetaErr(DummyClassifier()).fit,
            lambda X, y: ErrorModel().fit(X, y, np.full((60, 2), 0.5)),
        ):
            with pytest.raises(ValueError, match=r"X has 0 feature\(s\) .* it has no column"):
                fit(X, y)


class ImageAndTable(TinyCNN):
    """An image and two numbers in, class logits out."""

    def __init__(self):
        super().__init__()
        self.numbers = nn.Linear(2, 10)

    def forward(self, image, table):
        return super().forward(image) + self.numbers(table)


def test_a_fitted_net_over_several_inputs_has_its_hidden_layer(digits):
    X, X_test, y, _ = digits
    net = as_net(ImageAndTable)

    def as_inputs(X):
        images = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
        return SliceDict(image=images, table=images[:, 0, 3, 2:4].copy())

    y = np.unique(y, return_inverse=True)[1]
    fitted = net.fit(as_inputs(X[:300]), y[:300])
    clf = MetaErrorClassifier(FrozenEstimator(fitted), "logistic", random_state=0)
    clf.fit(as_inputs(X[300:]), y[300:])
    assert isinstance(clf.error_model_.representation_, TorchEmbedding)
    assert clf.error_model_.representation_reason_ is None
    assert clf.predict_error_proba(as_inputs(X_test)).shape == (len(X_test),)


TENSORS = """
import numpy as np, torch
from sklearn import config_context
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from _bases import grow_few_trees
from test_rows import use_everywhere
grow_few_trees()
rng = np.random.default_rng(0)
y = rng.integers(3, size=240)
X = (rng.normal(size=(3, 4))[y] + rng.normal(size=(240, 4))).astype(np.float32)
base = LinearDiscriminantAnalysis()
expected = use_everywhere(base, X, y)
try:
    with config_context(array_api_dispatch=True):
        options = (True, False)
except ImportError:  # old versions of scikit-learn need a package more
    options = (False,)
for dispatch in options:
    with config_context(array_api_dispatch=dispatch):
        outputs = use_everywhere(base, torch.tensor(X), torch.tensor(y))
    for output, other in zip(outputs, expected):
        np.testing.assert_allclose(np.asarray(output, dtype=float), other, rtol=1e-2, atol=1e-2)
"""


def test_tensors_work_as_arrays():
    """SciPy reads its environment variable once, when it is imported."""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-c", TENSORS]
    subprocess.run(command, env=environment, cwd=Path(__file__).parent, check=True)
