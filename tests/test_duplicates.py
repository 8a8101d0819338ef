"""Duplicated rows are found in every kind of X, and share a fold."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.neighbors import KNeighborsClassifier

from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn.model_selection._duplicates import find_duplicates
from metaerr_sklearn.model_selection._splitting import make_splits


def as_frame(X):
    return pytest.importorskip("pandas").DataFrame(X).assign(kind="a")


def as_polars(X):
    return pytest.importorskip("polars").DataFrame(X, schema=[f"x{j}" for j in range(X.shape[1])])


def as_texts(X):
    return [" ".join(f"{v:.6f}" for v in row) for row in X]


CONTAINERS = {
    "lists": np.ndarray.tolist,
    "tuples": lambda X: [tuple(row) for row in X.tolist()],
    "tensor": lambda X: pytest.importorskip("torch").as_tensor(X),
    "array": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "images": lambda X: X.reshape(len(X), 1, 2, -1),
    "sparse": sp.csr_array,
    "pandas": as_frame,
    "pandas with one name": lambda X: as_frame(X).set_axis(["x"] * 5, axis=1),
    "polars": as_polars,
    "text": as_texts,
    "tuple of texts": lambda X: tuple(as_texts(X)),
    "pandas texts": lambda X: pytest.importorskip("pandas").Series(as_texts(X)),
    "polars texts": lambda X: pytest.importorskip("polars").Series(as_texts(X)),
    "one column of texts": lambda X: pytest.importorskip("pandas").DataFrame({"x": as_texts(X)}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_duplicates_are_found_in_every_kind_of_input(container):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.tile([0, 1], 30)
    X[40:] = X[:20]
    duplicate_id = find_duplicates(CONTAINERS[container](X), y)
    assert_array_equal(duplicate_id[40:], duplicate_id[:20])
    assert_array_equal(duplicate_id[:40], np.arange(40))
    assert find_duplicates(CONTAINERS[container](X[:40]), y[:40]) is None


def test_rows_with_a_text_are_duplicates_and_rows_of_categories_repeat_by_chance():
    """Ten duplicates of each row make every column look as if values repeat by chance."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    kinds = {name: rng.choice(["a", "b", "c"], 60) for name in ("color", "size")}
    X = pd.DataFrame({**kinds, "review": as_texts(rng.normal(size=(60, 4)))})
    duplicate_id = find_duplicates(pd.concat([X] * 10), np.tile([0, 1], 300))
    assert_array_equal(duplicate_id, np.tile(np.arange(60), 10))
    assert find_duplicates(pd.concat([X[["color", "size"]]] * 10), np.tile([0, 1], 300)) is None


def test_rows_that_cannot_be_compared_are_no_duplicates():
    for X in ([{"a": 1}] * 40, [[1], [1, 2]] * 20, [None] * 40):
        assert find_duplicates(X, np.zeros(40)) is None


def test_missing_values_are_equal_and_so_are_signed_zeros():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[0] = X[1] = [np.nan, 0.0, 1.0]
    X[2:20] = X[20:38]
    X[1, 1] = -0.0
    duplicate_id = find_duplicates(X, np.zeros(40))
    assert duplicate_id[0] == duplicate_id[1]


def test_rows_that_repeat_by_chance_are_no_duplicates():
    """Two thousand rows in 27 cells must coincide, and so will new rows."""
    assert (
        find_duplicates(np.random.default_rng(0).integers(3, size=(2000, 3)), np.zeros(2000))
        is None
    )


@pytest.mark.parametrize("n_flags", [1, 2, 4, 6])
def test_duplicates_of_one_measurement_and_a_few_flags_are_found(n_flags):
    """The duplicates make all pairs of the measurement, which are no sign of chance."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(2, size=(200, n_flags))])
    duplicate_id = find_duplicates(np.vstack([X, X]), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))
    # An oversampled class.
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 5)]
    assert find_duplicates(X[rows], (rows >= 180).astype(int)) is not None


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.integers(2, size=(2000, 8)),
        lambda rng: rng.random((2000, 8)) < 0.05,
        lambda rng: np.column_stack([rng.integers(60, size=2000), rng.random(2000) < 0.05]),
        lambda rng: np.column_stack([rng.integers(1000, size=2000), np.ones(2000)]),
        lambda rng: np.eye(6)[rng.integers(6, size=2000)],
        lambda rng: np.column_stack([(age := rng.integers(72, size=2000)), age // 10]),
        lambda rng: np.hstack([np.eye(5)[rng.integers(5, size=2000)] for _ in range(3)]),
    ],
)
def test_rows_of_few_values_repeat_by_chance_in_any_container(make, container):
    X = container(make(np.random.default_rng(0)).astype(float))
    assert find_duplicates(X, np.tile([0, 1], 1000)) is None


@pytest.mark.parametrize("kind", ["place and region", "embedding", "short names"])
def test_draws_from_a_short_list_are_no_duplicates(kind):
    """New rows are draws from the list too, so that a test row may repeat a training row."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    region, y_encoded = rng.integers(60, size=300), rng.integers(2, size=300)
    place = rng.integers(300, size=3000)
    y = np.where(rng.random(3000) < 0.05, 1 - y_encoded[place], y_encoded[place])
    X = {
        "place and region": pd.DataFrame(
            {"place": place.astype(str), "region": region[place].astype(str)}
        ),
        "embedding": rng.normal(size=(300, 8))[place],
        "short names": [f"name{number}" for number in place],
    }[kind]
    assert find_duplicates(X, y) is None
    # A row that three people labeled is one row.
    several = rng.normal(size=(300, 8)).repeat(3, axis=0)
    labels = np.where(rng.random(900) < 0.2, 1 - y_encoded.repeat(3), y_encoded.repeat(3))
    assert_array_equal(find_duplicates(several, labels), np.arange(300).repeat(3))


def test_few_equal_rows_are_no_duplicates_but_an_oversampled_class_is():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), np.repeat([0, 1], [180, 20])
    X[:30] = X[30:60]
    assert find_duplicates(X, y) is None
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 9)]
    duplicate_id = find_duplicates(X[rows], y[rows])
    assert duplicate_id is not None
    for train, test in make_splits(5, X[rows], y[rows], duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size


def test_the_fewest_duplicates_that_count_are_found_among_distinct_rows():
    """Three pairs, most of a class of ten rows: one column less distinct tells nothing yet."""
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[[1, 3, 5]] = X[[0, 2, 4]]
    y = np.repeat([0, 1], [10, 490])
    duplicate_id = find_duplicates(X, y)
    assert (duplicate_id[[1, 3, 5]] == duplicate_id[[0, 2, 4]]).all()
    assert len(np.unique(duplicate_id)) == 497


def test_duplicates_share_a_fold():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(50, 3)), 2, axis=0), np.repeat(rng.integers(2, size=50), 2)
    duplicate_id = find_duplicates(X, y)
    for train, test in make_splits(5, X, y, duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size
        assert len(train) + len(test) == 100


def test_duplicated_rows_do_not_hide_the_errors_of_a_base_that_memorises():
    """Red if duplicates may be split: 1-NN then finds each row's duplicate, and is never wrong."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(200, 5)), 2, axis=0)
    y = np.repeat(rng.integers(2, size=200), 2)
    base, classes = KNeighborsClassifier(1), np.arange(2)

    def error_rate(duplicate_id):
        splits = make_splits(5, X, y, duplicate_id=duplicate_id)
        return np.mean(cross_fit(base, X, y, classes=classes, splits=splits)[0].pred_encoded != y)

    assert error_rate(find_duplicates(X, y)) > 0.4
    assert error_rate(None) < 0.2


def test_duplicates_in_a_wide_sparse_matrix_with_empty_columns_and_zeros_written_out():
    rng = np.random.default_rng(0)
    X = sp.csr_array(
        (rng.normal(size=600), (np.repeat(np.arange(200), 3), np.tile([0, 7, 40], 200)))
    )
    X.resize((200, 5000))
    X.data[::7] = 0
    duplicate_id = find_duplicates(sp.vstack([X, X], format="csr"), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))
