"""Duplicated rows are found in every kind of X, and share a fold."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from metaerr_sklearn.model_selection._duplicates import find_duplicates
from metaerr_sklearn.model_selection._splitting import make_splits


def duplicate_ids(X, y):
    """Return the numbers of rows that splits keep together, or None."""
    duplicates = find_duplicates(X, y)
    return None if duplicates is None else duplicates.duplicate_id


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
    "float16": lambda X: X.astype(np.float16),
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
    duplicate_id = duplicate_ids(CONTAINERS[container](X), y)
    assert_array_equal(duplicate_id[40:], duplicate_id[:20])
    assert_array_equal(duplicate_id[:40], np.arange(40))
    assert duplicate_ids(CONTAINERS[container](X[:40]), y[:40]) is None


def test_rows_with_a_text_are_duplicates_and_rows_of_categories_repeat_by_chance():
    """Ten duplicates of each row make every column look as if values repeat by chance."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    kinds = {name: rng.choice(["a", "b", "c"], 60) for name in ("color", "size")}
    X = pd.DataFrame({**kinds, "review": as_texts(rng.normal(size=(60, 4)))})
    duplicate_id = duplicate_ids(pd.concat([X] * 10), np.tile([0, 1], 300))
    assert_array_equal(duplicate_id, np.tile(np.arange(60), 10))
    assert duplicate_ids(pd.concat([X[["color", "size"]]] * 10), np.tile([0, 1], 300)) is None


def test_rows_that_cannot_be_compared_are_no_duplicates():
    for X in ([{"a": 1}] * 40, [[1], [1, 2]] * 20, [None] * 40):
        assert duplicate_ids(X, np.zeros(40)) is None


def test_missing_values_are_equal_and_so_are_signed_zeros():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[0] = X[1] = [np.nan, 0.0, 1.0]
    X[2:20] = X[20:38]
    X[1, 1] = -0.0
    duplicate_id = duplicate_ids(X, np.zeros(40))
    assert duplicate_id[0] == duplicate_id[1]


def test_rows_that_repeat_by_chance_are_no_duplicates():
    """Two thousand rows in 27 cells must coincide, and so will new rows."""
    assert (
        duplicate_ids(np.random.default_rng(0).integers(3, size=(2000, 3)), np.zeros(2000)) is None
    )


@pytest.mark.parametrize("n_flags", [1, 2, 4, 6])
def test_duplicates_of_one_measurement_and_a_few_flags_are_found(n_flags):
    """The duplicates make all pairs of the measurement, which are no sign of chance."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(2, size=(200, n_flags))])
    duplicate_id = duplicate_ids(np.vstack([X, X]), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))
    # An oversampled class.
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 5)]
    assert duplicate_ids(X[rows], (rows >= 180).astype(int)) is not None


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
    assert duplicate_ids(X, np.tile([0, 1], 1000)) is None


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
    assert duplicate_ids(X, y) is None
    # A row that three people labeled is one row.
    several = rng.normal(size=(300, 8)).repeat(3, axis=0)
    labels = np.where(rng.random(900) < 0.2, 1 - y_encoded.repeat(3), y_encoded.repeat(3))
    assert_array_equal(duplicate_ids(several, labels), np.arange(300).repeat(3))


def test_few_equal_rows_are_no_duplicates_but_an_oversampled_class_is():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), np.repeat([0, 1], [180, 20])
    X[:4] = X[30:34]
    assert duplicate_ids(X, y) is None
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 9)]
    duplicate_id = duplicate_ids(X[rows], y[rows])
    assert duplicate_id is not None
    for train, test in make_splits(5, X[rows], y[rows], duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size


def test_the_fewest_duplicates_that_count_are_found_among_distinct_rows():
    """Three pairs, most of a class of ten rows: one column less distinct tells nothing yet."""
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[[1, 3, 5]] = X[[0, 2, 4]]
    y = np.repeat([0, 1], [10, 490])
    duplicate_id = duplicate_ids(X, y)
    assert (duplicate_id[[1, 3, 5]] == duplicate_id[[0, 2, 4]]).all()
    assert len(np.unique(duplicate_id)) == 497


def test_duplicates_share_a_fold():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(50, 3)), 2, axis=0), np.repeat(rng.integers(2, size=50), 2)
    duplicate_id = duplicate_ids(X, y)
    for train, test in make_splits(5, X, y, duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size
        assert len(train) + len(test) == 100


def test_duplicates_in_a_wide_sparse_matrix_with_empty_columns_and_zeros_written_out():
    rng = np.random.default_rng(0)
    X = sp.csr_array(
        (rng.normal(size=600), (np.repeat(np.arange(200), 3), np.tile([0, 7, 40], 200)))
    )
    X.resize((200, 5000))
    X.data[::7] = 0
    duplicate_id = duplicate_ids(sp.vstack([X, X], format="csr"), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))


def noisy(n_samples, seed=0):
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(n_samples, 4)), rng.integers(2, size=n_samples)


@pytest.mark.parametrize("share", [0.2, 0.25, 0.5])
@pytest.mark.parametrize("n_samples", [150, 300, 2000])
def test_rows_copied_once_in_part_are_kept_together(share, n_samples):
    """Random draws would repeat some of the rows a second time."""
    rng, X, y = noisy(n_samples)
    copied = rng.choice(n_samples, int(share * n_samples), replace=False)
    duplicates = find_duplicates(np.r_[X, X[copied]], np.r_[y, y[copied]])
    assert duplicates.kept_together
    assert duplicates.needs_warning
    assert duplicates.has_duplicate.sum() == 2 * len(copied)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_digits, load_breast_cancer])
def test_copies_in_a_known_table_are_reported_and_the_table_is_healthy(load):
    X, y = load(return_X_y=True)
    healthy = find_duplicates(X, y)
    assert not healthy.kept_together
    assert not healthy.needs_warning
    copied = np.random.default_rng(0).choice(len(y), len(y) // 4, replace=False)
    for rows in (copied, np.arange(len(y))):
        duplicates = find_duplicates(np.r_[X, X[rows]], np.r_[y, y[rows]])
        assert duplicates.kept_together
        assert duplicates.needs_warning


@pytest.mark.parametrize(
    "copy",
    [
        lambda X: X.astype(np.float32),
        lambda X: X + 1e-12,
        lambda X: np.where(X > 0, X, X - 0.0),
    ],
)
def test_values_are_compared_in_single_precision(copy):
    _, X, y = noisy(200)
    duplicates = find_duplicates(np.r_[X, copy(X)], np.r_[y, y])
    assert duplicates.kept_together
    assert duplicates.has_duplicate.all()


def test_a_jitter_below_single_precision_is_seen_in_most_rows_and_a_larger_one_is_not():
    rng, X, y = noisy(400)
    noise = rng.normal(size=X.shape)
    assert find_duplicates(np.r_[X, X + 1e-9 * noise], np.r_[y, y]).has_duplicate.mean() > 0.7
    assert not find_duplicates(np.r_[X, X + 1e-5 * noise], np.r_[y, y]).has_duplicate.any()


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_large_whole_numbers_and_times_stay_distinct(dtype):
    """In single precision 2**24 and 2**24 + 1 are equal, and so are all seconds of two minutes."""
    seconds = (1_700_000_000 + np.arange(500)).astype(dtype)
    assert not find_duplicates(seconds[:, None], np.arange(500) % 2).has_duplicate.any()


@pytest.mark.parametrize("width", [3, 300])
def test_rows_with_large_numbers_or_nan_and_without_are_compared_alike(width):
    """Large numbers keep their precision; all other rows are compared in single precision."""
    small = np.random.default_rng(0).random((4, width))
    missing = np.where(np.arange(width) == 0, np.nan, small)
    rows = np.vstack([small, 1e9 * small, missing, -0.0 * small])
    again = np.vstack([rows[::-1], 0.0 * small])
    again[12:16] = again[12:16] * (1 + 1e-12)  # the small ones
    row_id = find_duplicates(np.vstack([rows, again]), np.zeros(36)).row_id
    assert_array_equal(row_id, [*range(12), *4 * [12], *4 * [12], *range(11, -1, -1), *4 * [12]])


HEALTHY = {
    "binary": lambda rng, n: rng.integers(2, size=(n, 8)),
    "rare flags": lambda rng, n: rng.random((n, 8)) < 0.05,
    "latent class": lambda rng, n: rng.random((n, 20)) < rng.choice([0.03, 0.2], size=(n, 1)),
    "one-hot": lambda rng, n: np.hstack([np.eye(5)[rng.integers(5, size=n)] for _ in range(3)]),
    "age and decade": lambda rng, n: np.c_[(age := rng.integers(72, size=n)), age // 10],
    "scaled ages": lambda rng, n: (rng.integers(17, 90, size=(n, 2)) - 40) / 13.7,
    "grid": lambda rng, n: rng.integers(3, size=(n, 4)),
    "rounded": lambda rng, n: rng.normal(size=(n, 3)).round(1),
    "one rounded": lambda rng, n: rng.normal(size=(n, 1)).round(2),
    "counts": lambda rng, n: rng.poisson(1, size=(n, 5)),
    "constant": lambda rng, n: np.zeros((n, 1)),
    "factorial": lambda rng, n: np.indices((4, 4, 4)).reshape(3, -1).T.repeat(n // 64 + 1, axis=0),
    "one frequent row": lambda rng, n: np.where(
        rng.random((n, 1)) < 0.3, 0.123, rng.normal(size=(n, 4))
    ),
    "sentences of few words": lambda rng, n: [
        " ".join(f"word{number}" for number in row)
        for row in rng.normal(size=(n, 6)).round().astype(int)
    ],
    "words": lambda rng, n: [
        " ".join(rng.choice(["good", "bad", "film", "plot", "very"], rng.integers(1, 4)))
        for _ in range(n)
    ],
}


@pytest.mark.parametrize("n_samples", [300, 2000])
@pytest.mark.parametrize("kind", HEALTHY)
def test_rows_that_repeat_by_chance_are_split_without_a_warning(kind, n_samples):
    rng = np.random.default_rng(0)
    X = HEALTHY[kind](rng, n_samples)
    duplicates = find_duplicates(X, np.arange(len(X)) % 2)
    assert not duplicates.kept_together
    assert not duplicates.needs_warning


def test_draws_of_rich_rows_need_a_warning():
    """A bootstrap sample looks like draws from a list, and new rows may repeat it or not."""
    rng, X, y = noisy(400)
    rows = rng.integers(400, size=400)
    duplicates = find_duplicates(X[rows], y[rows])
    assert not duplicates.kept_together
    assert duplicates.needs_warning


@pytest.mark.parametrize("X", [np.empty((0, 3)), np.empty((5, 0)), [], sp.csr_array((4, 0))])
def test_without_rows_or_columns_nothing_is_compared(X):
    assert find_duplicates(X, np.zeros(np.shape(X)[0])) is None


def test_images_are_compared_in_full_only_if_some_of_their_cells_are_equal(tmp_path):
    rng = np.random.default_rng(0)
    photos = np.zeros((40, 3, 64, 64), dtype=np.float32)
    photos[:, 0, 0, 0] = np.arange(40)  # the other cells are equal
    assert not find_duplicates(photos, np.arange(40) % 2).has_duplicate.any()
    photos = np.concatenate([rng.random((40, 3, 64, 64), dtype=np.float32)] * 2)
    expected = np.tile(np.arange(40), 2)
    np.save(tmp_path / "photos.npy", photos)
    for X in (
        photos,
        photos.transpose(0, 2, 3, 1),
        photos.astype(np.float64),
        np.load(tmp_path / "photos.npy", mmap_mode="r"),
        list(photos),
    ):
        assert_array_equal(find_duplicates(X, np.arange(80) % 2).row_id, expected)


def test_objects_in_columns_are_compared_by_value():
    _, X, y = noisy(60)
    objects = X.astype(object)
    objects[:, 1] = [f"name {number}" for number in range(60)]
    objects[3, 2] = None
    twice = find_duplicates(np.r_[objects, objects], np.r_[y, y])
    assert_array_equal(twice.row_id, np.tile(np.arange(60), 2))


def test_integers_that_numpy_does_not_have_are_compared():
    pl = pytest.importorskip("polars")
    if not hasattr(pl, "Int128"):
        pytest.skip("this version of polars has no integers of 128 bits")
    numbers = [10**30, 10**30, 2 * 10**30, None]
    frame = pl.DataFrame({"x": pl.Series("x", numbers, pl.Int128)})
    assert find_duplicates(frame, np.arange(4)).row_id.tolist() == [0, 0, 1, 2]


def test_an_oversampled_class_is_seen_beside_a_frequent_row_of_another_class():
    rng = np.random.default_rng(0)
    X = np.r_[np.full((330, 4), 0.5), rng.normal(size=(650, 4)), rng.normal(size=(23, 4))]
    rows = np.r_[np.arange(980), rng.integers(980, 1003, size=980)]
    assert find_duplicates(X[rows], rows >= 980).kept_together
    assert not find_duplicates(X[:980], np.arange(980) % 2).kept_together


@pytest.mark.parametrize("n_copied", [1, 3])
def test_a_few_duplicates_among_many_rows(n_copied):
    """The counts are compared on a sample of 5,000, in which no row may repeat."""
    X = np.random.default_rng(0).normal(size=(20_000, 3))
    X[:n_copied] = X[n_copied : 2 * n_copied]
    duplicates = find_duplicates(X, np.arange(20_000) % 2)
    assert duplicates.has_duplicate.sum() == 2 * n_copied
    assert not duplicates.needs_warning
