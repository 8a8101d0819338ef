"""No label is rounded, and no two labels become one, in any container."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.dummy import DummyClassifier

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn._utils.label_checks import check_groups
from metaerr_sklearn._utils.labels import read_labels
from metaerr_sklearn.model_selection import SemiSupervisedKFold, is_unlabeled

N = 60
LARGE = 2**62, 2**62 + 1  # equal as floats
X = np.arange(N, dtype=float)[:, None]


def containers(labels, dtype=None, arrow_type=None):
    """Yield labels, None among them, in all containers that keep them."""
    pd, pl, pa = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    values = np.empty(len(labels), dtype=object)
    values[:] = labels
    yield from (list(labels), tuple(labels), values, pd.Series(values))
    arrow = pa.array(labels, arrow_type)
    yield from (arrow, pl.from_arrow(arrow), pa.chunked_array([arrow]))
    yield pd.Series(pd.Categorical(values))
    if dtype is not None:
        yield pd.Series(labels, dtype=dtype)
        yield pd.Series(labels, dtype=pd.ArrowDtype(arrow_type))


def with_holes(labels):
    return [None if j % 2 else label for j, label in enumerate(labels)]


@pytest.mark.parametrize(
    ("classes", "dtype"), [(LARGE, "int64"), ((2**63 + 1, 2**63 + 2), "uint64")]
)
def test_large_integers_stay_two_classes(classes, dtype):
    pa = pytest.importorskip("pyarrow")
    labels = [classes[j // 2 % 2] for j in range(N)]
    frame_dtypes = dtype.capitalize().replace("Ui", "UI"), getattr(pa, dtype)()
    for y in containers(labels, *frame_dtypes):
        clf = MetaErrorClassifier(DummyClassifier(), None).fit(X, y)
        assert clf.classes_.tolist() == list(classes)
        assert clf.classes_.dtype == dtype
    for y in containers(with_holes(labels), *frame_dtypes):
        if str(getattr(y, "dtype", "")) == "category":
            continue
        model = SelfTrainingWithMetaErr(DummyClassifier(), None, unlabeled=None)
        assert model.fit(X, y).classes_.tolist() == list(classes)
        assert is_unlabeled(y, None).sum() == N / 2
        for _, test in SemiSupervisedKFold(3, unlabeled=None).split(X, y):
            assert {labels[row] for row in test} == set(classes)


def test_booleans_stay_booleans():
    pa = pytest.importorskip("pyarrow")
    labels = [j // 2 % 2 == 0 for j in range(N)]
    for y in containers(labels, "boolean", pa.bool_()):
        assert_array_equal(read_labels(y), labels)
        assert read_labels(y).dtype == bool
    for y in containers(with_holes(labels), "boolean", pa.bool_()):
        model = SelfTrainingWithMetaErr(DummyClassifier(), None, unlabeled=None)
        assert model.fit(X, y).classes_.dtype == bool


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 1.5, "1"], "y mixes labels of the types float, int, str, which have no common order"),
        ([2**60 + 1, 0.5], "y mixes labels of the types float, int, .* number format"),
        ([Decimal("1.1"), Decimal("1.2")], "y holds labels of the type Decimal. Give all classes"),
        ([datetime.time(1), datetime.time(2)], "y holds labels of the type time. Give all classes"),
    ],
)
def test_labels_that_would_change_are_refused_before_any_fit(labels, message):
    y = [labels[j % len(labels)] for j in range(N)]
    for y_given in (y, np.array(y, dtype=object)):
        with pytest.raises(ValueError, match=message):
            MetaErrorClassifier(DummyClassifier()).fit(X, y_given)
        with pytest.raises(ValueError, match=message):
            SelfTrainingWithMetaErr(DummyClassifier(), unlabeled=None).fit(X, [*y_given[:-1], None])


def test_labels_keep_their_dtype():
    pd = pytest.importorskip("pandas")
    dates = np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]")
    for y, dtype in (
        (dates, "M8[D]"),
        (pd.Series(dates), pd.Series(dates).dtype),
        (np.array([1, 2], dtype=np.int8), np.int8),
        (["a", "bc"], "<U2"),
        (pd.Series(["a", "b"]), object),
        (["a", None], object),
        ([1.5, 1], float),
        (pd.Series([1, 2], dtype="Int64"), np.int64),
        (np.array([[1], [2]]), np.int64),
    ):
        assert read_labels(y).dtype == dtype


def test_groups_and_predicted_labels_are_read_alike():
    pd = pytest.importorskip("pandas")
    y = np.array([LARGE[j // 2 % 2] for j in range(N)])
    proba = np.full((N, 2), 0.5)
    # As floats, the two labels would be one.
    predicted = pd.Series(
        np.where(np.arange(N) % 4 == 1, LARGE[1] - (y - LARGE[0]), y), dtype="Int64"
    )
    assert ErrorModel("confidence").fit(X, y, proba, y_pred=predicted).n_errors_ == N / 4
    assert set(check_groups(predicted)) == set(LARGE)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="needs NumPy 2")
def test_strings_of_numpys_own_dtype_are_strings():
    words = ["right", "left", None]
    dtype = np.dtypes.StringDType(na_object=None)
    y = np.array([words[j % 3] for j in range(N)], dtype=dtype)
    model = SelfTrainingWithMetaErr(DummyClassifier(), None, unlabeled=None).fit(X, y)
    assert model.classes_.tolist() == ["left", "right"]
    y = np.array(words[:2] * (N // 2), dtype=np.dtypes.StringDType())
    clf = MetaErrorClassifier(DummyClassifier(), None).fit(X, y)
    assert clf.classes_.tolist() == ["left", "right"]
    assert clf.score(X, y.astype(object)) == 0.5


@pytest.mark.parametrize("name", ["groups", "fold", "y_pred"])
def test_what_is_no_column_is_refused_by_its_name(name):
    y, proba, pairs = np.arange(N) % 2, np.full((N, 2), 0.5), np.zeros((N, 2))
    with pytest.raises(ValueError, match=rf"{name} must have one value for each row.*\({N}, 2\)"):
        ErrorModel("confidence").fit(None, y, proba, **{name: pairs})


@pytest.mark.parametrize("name", ["classes", "y_pred"])
def test_a_set_in_place_of_a_column_is_refused_by_its_name(name):
    y, proba = np.arange(N) % 2, np.full((N, 2), 0.5)
    with pytest.raises(ValueError, match=f"{name} must have one value for each row, got set"):
        ErrorModel("confidence").fit(None, y, proba, **{name: {0, 1}})


@pytest.mark.parametrize("view", [set, dict.values, dict.keys])
def test_labels_without_an_order_of_rows_are_refused(view):
    labels = {row: row % 2 for row in range(N)}
    with pytest.raises(TypeError, match=r"one label for each row, got a \w+. Pass an array"):
        MetaErrorClassifier(DummyClassifier()).fit(X, view(labels))


def test_labels_that_fit_accepts_are_accepted_by_score():
    y = (np.arange(N) % 2).astype(object)
    clf = MetaErrorClassifier(DummyClassifier(), None).fit(X, y)
    assert clf.score(X, y) == 0.5
    y_partly = np.where(np.arange(N) < N // 2, y, -1)
    model = SelfTrainingWithMetaErr(DummyClassifier(), None).fit(X, y_partly)
    assert model.score(X, y) == 0.5


@pytest.mark.parametrize("model", [MetaErrorClassifier, SelfTrainingWithMetaErr])
@pytest.mark.parametrize("marker", [None, np.nan])
def test_scores_refuse_rows_without_a_label(model, marker):
    y = np.array(["left", "right"])[np.arange(N) % 2]
    y_partly = [label if j < N // 2 else marker for j, label in enumerate(y)]
    given = y if model is MetaErrorClassifier else y_partly
    unlabeled = {} if model is MetaErrorClassifier else {"unlabeled": None}
    clf = model(DummyClassifier(), None, **unlabeled).fit(X, given)
    with pytest.raises(ValueError, match=f"y contains NaN, inf or None in {N // 2} of {N} rows"):
        clf.score(X, y_partly)


def test_labels_of_a_precision_that_numpy_does_not_have():
    torch = pytest.importorskip("torch")
    assert_array_equal(read_labels(torch.tensor([1, 2, 3], dtype=torch.bfloat16)), [1, 2, 3])
