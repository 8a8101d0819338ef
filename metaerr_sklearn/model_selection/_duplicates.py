"""Find duplicated rows, and decide whether splits keep them together."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

import numpy as np
from scipy.special import lambertw

from .._compat import num_samples
from .._utils.columns import columns_of, convertible, is_frame, text_of
from .._utils.labels import as_numpy, as_objects
from .._utils.messages import warn_caller
from .._utils.rows import as_array, row_chunks, rows_at_once, take_rows

# Below this magnitude single precision holds all whole numbers. Larger numbers, such as identifiers
# and times in seconds, would become equal without being so.
_SINGLE_PRECISION = 2.0**24
# Rows of more cells are compared in full only if this many cells of them are equal.
_N_FINGERPRINT_CELLS = 64
# Rows are hashed in chunks of about this many cells, which fit into the cache of a processor.
_CACHED_CELLS = 2**18
# A description of the columns reads at most this many distinct rows, and this many columns.
_N_DESCRIBED_ROWS = 2000
_N_DESCRIBED_COLUMNS = 200
# One column with fewer distinct fractions may hold codes, such as the quotients of small numbers.
_MIN_FRACTIONS = 50
# Texts of at least this length, in the median, do not repeat by chance if they have many words.
_MIN_TEXT_LENGTH = 30
# There is a warning only if more than these shares of the rows, and of those of a class, have a
# duplicate, and more than this number. Fewer do not change an estimate beyond its sampling error.
_MIN_SHARE = 0.02
_MIN_CLASS_SHARE = 0.05
_MIN_ROWS = 5
# A class has too few duplicates only if this many were expected.
_MIN_EXPECTED = 15


class DuplicateReport(NamedTuple):
    """What was found of duplicated rows, and what was decided.

    Parameters
    ----------
    n_rows : int
        Number of rows that are equal to at least one other row.
    kept_together : bool
        Whether all duplicates of a row are in one part of every split.
    reason : str
        Why.
    """

    n_rows: int
    kept_together: bool
    reason: str


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Duplicated rows, and whether splits should keep them together.

    Parameters
    ----------
    row_id : ndarray of int, shape (n_samples,)
        Equal numbers mark equal rows. Distinct rows are numbered in their order.
    kept_together : bool
        Whether the duplicates of a row should be in one part of every split.
    reason : str
        Why.
    needs_warning : bool
        Whether the duplicates change an estimate, and new rows may repeat training rows or not.
    """

    row_id: np.ndarray
    kept_together: bool
    reason: str
    needs_warning: bool = False

    @property
    def duplicate_id(self):
        """The array `row_id` if duplicates are kept together, else None."""
        return self.row_id if self.kept_together else None

    @property
    def has_duplicate(self):
        """Mask of the rows that have a duplicate."""
        return np.bincount(self.row_id)[self.row_id] > 1


def find_duplicates(X, y):
    """Find duplicated rows, and decide whether splits should keep them together.

    If rows were copied (oversampling, a table joined to itself), a flexible base finds the label of
    a test row in a duplicate in its training part, and its out-of-fold accuracy is too high. Rows
    also repeat by chance, or because they are drawn from a short list, such as products or stores.
    New rows then repeat training rows just as often, and splits that keep duplicates together make
    the accuracy too low.

    The number of times that rows repeat shows the difference. The number of draws of a row, by
    chance or from a list, has a Poisson distribution, whose mean may differ between rows. Copied
    rows repeat a more even number of times (all of them twice; some twice and the others not), or
    are rows of some classes only. `benchmarks/bench_duplicates.py` measures both rules.

    Values are compared in single precision, as a representation has them.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of length n_samples
        Rows.
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    duplicates : Duplicates or None
        None if there is no row, or if X is of a kind whose rows cannot be compared.
    """
    X = as_numpy(X)  # NumPy itself reads no tensor of a GPU, of bfloat16 or with gradients
    row_id = _number_rows(X)
    if row_id is None:
        return None
    _, first, count = np.unique(row_id, return_index=True, return_counts=True)
    if len(first) == len(row_id):
        return Duplicates(row_id, False, "no row has a duplicate")
    described = _describe(X, first)
    if described.is_grid:
        reason = "the columns have so few values that rows are equal by chance"
        return Duplicates(row_id, False, reason)
    y_encoded, class_size = np.unique(y, return_inverse=True, return_counts=True)[1:]
    n_repeated = np.bincount(y_encoded, count[row_id] > 1, minlength=len(class_size))
    is_material = n_repeated.sum() > _MIN_SHARE * len(row_id) and bool(
        (n_repeated > np.maximum(_MIN_ROWS, _MIN_CLASS_SHARE * class_size)).any()
    )
    p_value, is_uneven = _compare_with_draws(count)
    # Distinct rows of much information are rarely equal by chance: then less evidence is enough.
    if p_value <= (0.1 if described.is_rich else 0.02):
        reason = "they repeat a more even number of times than rows drawn at random from a list"
        return Duplicates(row_id, True, reason, is_material)
    if _is_class_repeated(row_id, y_encoded, n_repeated, described.is_rich):
        reason = "rows of one class repeat and rows of another do not, as after oversampling"
        return Duplicates(row_id, True, reason, is_material)
    if not described.is_rich:
        return Duplicates(row_id, False, "rows with so few values are equal by chance")
    if is_uneven:
        reason = "some rows repeat far more often than others, as frequent rows do in new data"
        return Duplicates(row_id, False, reason)
    reason = "they repeat as often and as rarely as rows drawn at random from a list"
    return Duplicates(row_id, False, reason, is_material)


def report_duplicates(duplicates, cv, splits, *, estimate, count_once=False):
    """Warn of duplicates if an estimate depends on them, and return what was decided.

    Parameters
    ----------
    duplicates : Duplicates or None
        Result of `find_duplicates`.
    cv : int, float, splitter, iterable of splits or "prefit"
        What made the splits. A number keeps duplicates together or splits them as was decided.
    splits : list of (train, test)
        Positions of the rows; used only if `cv` is not a number.
    estimate : str
        What is estimated on the test rows, for example "the error rate".
    count_once : bool, default=False
        Whether one of the duplicates that are kept together is used in place of all.

    Returns
    -------
    report : DuplicateReport or None
    """
    if duplicates is None:
        return None
    has_duplicate = duplicates.has_duplicate
    n_rows, n_samples = int(has_duplicate.sum()), len(has_duplicate)
    kept_together, reason = duplicates.kept_together, duplicates.reason
    needs_warning = duplicates.needs_warning
    if n_rows and not isinstance(cv, (Real, str)):
        row_id = duplicates.row_id
        n_tested = sum(len(test) for _, test in splits)
        n_split = int(sum(np.isin(row_id[test], row_id[train]).sum() for train, test in splits))
        kept_together = n_split == 0
        needs_warning &= n_split > max(_MIN_ROWS, _MIN_CLASS_SHARE * n_tested)
        reason = "the splits of cv keep them together"
        if n_split:
            reason = f"the splits of cv test {n_split} rows that have a duplicate in training"
    if needs_warning:
        found = f"{n_rows} of the {n_samples} rows of X have duplicates (copies). "
        if kept_together:
            also = ", and each set of duplicates counts as one row" if count_once else ""
            found += (
                f"Duplicates are kept together in every split{also}, because {reason}. If new rows "
                f"will often repeat these rows, {estimate} is estimated too high: pass "
                "groups=np.arange(len(X)) to split duplicates like other rows. To keep other rows "
                "together, pass groups= with one number for all rows that belong together."
            )
        else:
            found += (
                f"Duplicates are not kept together, because {reason}. If new rows will not repeat "
                f"these rows, {estimate} is estimated too low: pass groups= with one number for "
                "all duplicates of a row to keep them together. If new rows will repeat them as "
                "often, pass groups=np.arange(len(X)), and there is no warning."
            )
        warn_caller(found)
    return DuplicateReport(n_rows, kept_together, reason)


@contextmanager
def no_duplicate_warning():
    """Silence the warning of `report_duplicates`, which the caller has given already."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\d+ of the \d+ rows of X have duplicates", UserWarning)
        yield


def _compare_with_draws(count):
    """Compare the numbers of equal rows with those of random draws from a list of rows.

    Returns the share of samples of draws that are as even or more even, and whether the numbers are
    clearly less even than those of draws.
    """
    rng = np.random.default_rng(0)
    count = rng.permutation(count)[:5000]
    if count.max() == 1:  # of many rows so few repeat that none is among these
        return 1.0, False
    # The mean of a Poisson distribution with this rate, given that it is not 0, is that of `count`.
    mean = count.mean()
    rate = mean + lambertw(-mean * np.exp(-mean)).real
    # The first arrival of a Poisson process within [0, rate], then those after it.
    first = -np.log1p(rng.random((199, len(count))) * np.expm1(-rate))
    drawn = 1 + rng.poisson(np.maximum(rate - first, 0))
    variance, of_draws = _excess_variance(count), _excess_variance(drawn)
    p_value = (1 + np.sum(of_draws <= variance + 1e-9)) / (1 + len(drawn))
    # Some rows of a list may be drawn more often than others.
    return p_value, p_value > 0.95 and variance > 1.5 * of_draws.mean()


def _excess_variance(count):
    """Return how much the variance exceeds the least variance of whole numbers of that mean."""
    part = count.mean(axis=-1) % 1
    return count.var(axis=-1) - part * (1 - part)


def _is_class_repeated(row_id, y_encoded, n_repeated, is_rich):
    """Return whether rows of one class were copied, and those of another class were not."""
    # Distinct rows are counted, of which one frequent row is only one.
    first, count = np.unique(row_id, return_index=True, return_counts=True)[1:]
    n_distinct = np.bincount(y_encoded[first], minlength=len(n_repeated))
    n_copied = np.bincount(y_encoded[first], count > 1, minlength=len(n_repeated))
    share = n_copied / np.maximum(n_distinct, 1)
    most = int(np.argmax(share * (n_repeated > _MIN_ROWS)))
    if n_repeated[most] <= _MIN_ROWS or share[most] < (0.05 if is_rich else 0.3):
        return False
    expected = share[most] * n_distinct
    if not ((expected >= _MIN_EXPECTED) & (n_copied <= expected / 3)).any():
        return False
    # Rows that are equal by chance repeat less evenly: a profile without any symptom is frequent.
    of_class = np.bincount(row_id[y_encoded == most])
    return not _compare_with_draws(of_class[of_class > 0])[1]


class _Description(NamedTuple):
    """Whether rows fill a grid, and whether equal rows are unlikely by chance."""

    is_grid: bool
    is_rich: bool


def _describe(X, distinct):
    """Describe the distinct rows of X.

    Rows fill a grid if they are more than a tenth of all combinations of the values of columns.
    Rows are rich if a column of measurements or texts has another value in most of them, or if half
    of the columns are enough to distinguish them.
    """
    rng = np.random.default_rng(0)
    n_some = min(_N_DESCRIBED_ROWS, max(50, rows_at_once(X)))
    some = np.sort(rng.permutation(distinct)[:n_some])
    columns = _columns(take_rows(X, some), rng)
    if columns is None:  # a list of texts
        texts = np.asarray(take_rows(X, some), dtype=object)
        return _Description(False, _are_long(texts))
    n_levels = np.array([_n_levels(column) for column in columns])
    is_grid = np.log(n_levels).sum() <= np.log(10 * len(some))
    measured = [_is_measured(column, levels) for column, levels in zip(columns, n_levels)]
    is_rich = any(measured) and (np.isinf(n_levels).any() or len(some) >= _MIN_FRACTIONS)
    is_rich = is_rich or sum(measured) > 1 or _half_is_enough(columns, rng)
    return _Description(bool(is_grid), bool(is_rich))


def _n_levels(column):
    """Return how many values a column may have: those of its finest grid, infinite for texts."""
    if column.dtype.kind == "O":
        return np.inf if _are_long(column) else len(set(map(text_of, column)))
    values = np.unique(column[np.isfinite(column)])
    n_levels = np.ptp(values) / np.diff(values).min() + 1 if len(values) > 1 else 1
    return n_levels + (not np.isfinite(column).all())


def _is_measured(column, n_levels):
    """Return whether a column of texts or fractions distinguishes most of the distinct rows."""
    if column.dtype.kind == "O":
        return np.isinf(n_levels) and len(set(map(text_of, column))) >= len(column) / 2
    values = np.unique(column)
    is_fraction = (values[np.isfinite(values)] % 1 > 0).any()
    return is_fraction and len(column) / 2 <= len(values) < n_levels / 10


def _half_is_enough(columns, rng):
    """Return whether every random half of the columns distinguishes the distinct rows."""
    if len(columns) < 8 or len(columns[0]) < 20:
        return False
    cells = np.column_stack([_as_words(column) for column in columns])
    halves = (rng.permutation(len(columns))[: len(columns) // 2] for _ in range(3))
    return all(len(np.unique(_hash_rows(cells[:, half]))) >= 0.99 * len(cells) for half in halves)


def _are_long(texts):
    """Return whether values are long texts of many words, which are not equal by chance."""
    texts = list(map(text_of, texts))
    n_words = len({word for text in texts for word in text.split()})
    is_long = np.median(list(map(len, texts))) >= _MIN_TEXT_LENGTH
    return bool(is_long and n_words >= len(texts) / 2)


def _columns(X, rng):
    """Return at most 200 columns of a table as float64 or object arrays, None for texts."""
    if hasattr(X, "tocsr"):
        X = X.tocsc()
        used = np.flatnonzero(np.diff(X.indptr))
        X = X[:, np.sort(rng.permutation(used)[:_N_DESCRIBED_COLUMNS])].toarray()
    table = _table(X)
    if isinstance(table, np.ndarray):
        if table.ndim == 1:
            return None
        some = np.sort(rng.permutation(table.shape[1])[:_N_DESCRIBED_COLUMNS])
        table = list(_rounded(table[:, some]).T)
    return [c if c.dtype.kind == "O" else c.astype(np.float64) for c in table]


def _number_rows(X):
    """Return equal numbers for equal rows, in the order of the distinct rows, or None."""
    if num_samples(X) == 0 or _hashes(take_rows(X, slice(0, 1))) is None:
        return None
    if isinstance(X, np.ndarray) and X.ndim > 1 and X.dtype.kind in "fiub":
        n_cells = X[0].size
        if n_cells > 4 * _N_FINGERPRINT_CELLS:
            # Most rows of an image differ in a few of its cells already.
            some = np.random.default_rng(0).choice(n_cells, _N_FINGERPRINT_CELLS, replace=False)
            cells = np.unravel_index(np.sort(some), X.shape[1:])
            hashes = _hash_numbers(np.asarray(X[(slice(None), *cells)]))
            position, count = np.unique(hashes, return_inverse=True, return_counts=True)[1:]
            alike = np.flatnonzero(count[position] > 1)
            for batch, part in row_chunks(X, rows=alike, max_rows=1 + _CACHED_CELLS // n_cells):
                hashes[alike[batch]] = _hashes(part)
            return _numbered(hashes)
    hashes = np.empty(num_samples(X), dtype=np.int64)
    for batch, part in row_chunks(X):
        hashed = _hashes(part)
        if hashed is None:
            return None
        hashes[batch] = hashed
    return _numbered(hashes)


def _numbered(hashes):
    """Return equal numbers for equal hashes."""
    # The order of the hashes is arbitrary, and must not decide how folds are drawn.
    _, first, position = np.unique(hashes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[position]


def _hashes(X):
    """Return one hash per row, or None if rows of this kind cannot be compared."""
    if hasattr(X, "tocsr"):
        if X.shape[1] == 0:
            return None
        # A fixed random projection identifies a sparse row. Equal rows have equal products, because
        # these are summed in the same order.
        X = X.tocsr(copy=True)
        X.sum_duplicates()
        X.data = np.nan_to_num(_rounded(X.data).astype(np.float64), nan=np.pi)
        projection = np.random.default_rng(0).standard_normal((X.shape[1], 2))
        return _hash_rows(np.asarray(X @ projection))
    table = _table(X)
    if table is None or len(table) == 0 or 0 in np.shape(table)[1:]:
        return None
    if isinstance(table, np.ndarray):
        return _hash_numbers(table) if table.ndim == 2 else _hash_rows(_as_words(table)[:, None])
    return _hash_rows(np.column_stack([_as_words(column) for column in table]))


def _hash_numbers(table):
    if table.dtype != np.float64:
        return _hash_rows(_rounded(table))
    # A row without large numbers has half as many bytes in single precision.
    with np.errstate(over="ignore"):
        hashes = _hash_rows(table.astype(np.float32) + np.float32(0))
    is_small = (table.max(axis=1) < _SINGLE_PRECISION) & (table.min(axis=1) > -_SINGLE_PRECISION)
    others = np.flatnonzero(~is_small)
    if len(others):
        hashes[others] = _hash_rows(_rounded(table[others]))
    return hashes


def _hash_rows(cells):
    # Python's own hash of bytes is the fastest. Only its equality counts here.
    rows = np.ascontiguousarray(cells).view(f"V{cells[0].nbytes}")[:, 0]
    return np.fromiter(map(hash, rows.tolist()), dtype=np.int64, count=len(rows))


def _as_words(column):
    """Return the cells of a column as numbers of eight bytes: equal cells, equal numbers."""
    if column.dtype.kind == "O":
        return np.array([hash(text_of(value)) for value in column], dtype=np.int64)
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    return _rounded(column).astype(np.float64).view(np.int64)


def _rounded(X):
    """Round fractions to single precision, and make all NaN, and both zeros, equal in bytes."""
    if X.dtype.kind in "iub" or X.size == 0:
        return X
    if X.dtype == np.float16:
        X = X.astype(np.float32)  # _SINGLE_PRECISION is beyond its range
    with np.errstate(over="ignore"):
        rounded = X.astype(np.float32).astype(X.dtype) + X.dtype.type(0)
    if not (X.max() < _SINGLE_PRECISION and X.min() > -_SINGLE_PRECISION):
        is_large = np.abs(X) >= _SINGLE_PRECISION
        rounded[is_large] = X[is_large]
        rounded[np.isnan(X)] = np.nan
    return rounded


def _table(X):
    """Return numbers as a 2-D array, other tables as a list of columns, texts as a 1-D array.

    The result is None if rows of this kind cannot be compared.
    """
    X = as_array(X)
    if is_frame(X):
        return [_as_numbers_or_objects(np.asarray(convertible(column))) for column in columns_of(X)]
    is_texts = isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], str)
    try:
        X = np.asarray(X, dtype=object if is_texts else None)
    except (RuntimeError, TypeError, ValueError):  # rows of different length
        return None
    if X.ndim >= 2:
        X = X.reshape(len(X), -1)
        return X if X.dtype.kind in "fiub" else list(map(_as_numbers_or_objects, X.T))
    return X.astype(object) if X.ndim == 1 and len(X) and isinstance(X[0], str) else None


def _as_numbers_or_objects(column):
    if column.dtype.kind in "fiub" and column.ndim == 1:
        return column
    if column.dtype.kind in "mM":
        return column.astype(f"{column.dtype.kind}8[ns]").astype(np.int64)
    values = column if column.ndim == 1 else [row.ravel().tolist() for row in column]
    if all(isinstance(value, Real) for value in values):
        return np.array([float(value) for value in values])
    return as_objects(values)
