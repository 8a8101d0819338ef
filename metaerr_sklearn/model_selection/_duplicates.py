"""Find duplicated rows."""

from hashlib import blake2b

import numpy as np
from sklearn.utils import murmurhash3_32

from .._compat import num_samples
from .._utils.columns import columns_of, is_frame, to_str
from .._utils.rows import as_array, row_chunks, rows_at_once, take_rows

# A class of fewer rows does not decide whether rows are duplicated.
_MIN_CLASS_SIZE = 10
# Equal rows disagree on the label if their pairs with different labels exceed both this share of
# all pairs and this number. A few wrong labels are no disagreement.
_MAX_DISAGREEING_SHARE = 0.02
_MAX_DISAGREEING_PAIRS = 5
# Rows repeat beyond chance if they are equal this many times as often as chance would make them.
_CHANCE_FACTOR = 10
# Strings of at least this length, in the median, are texts, which never repeat by chance. Names of
# categories are shorter.
_MIN_TEXT_LENGTH = 30


def find_duplicates(X, y):
    """Find duplicated rows, so that all duplicates of a row can be kept in one fold.

    If rows were duplicated (oversampling, a table joined to itself), a flexible base finds the
    label of a test row in the duplicate in its training part, and its out-of-fold accuracy is too
    high. Rows also repeat by chance, or because they are drawn from a short list, such as products
    or stores. New rows then repeat training rows just as often, and folds that separate them from
    their duplicates make the accuracy too low.

    Rows count as duplicated if three conditions hold. Most rows of a class have a duplicate. Equal
    rows agree on the label, or are about equal in number, as rows that several people labeled are.
    Rows are equal ten times as often as if their columns were drawn independently, or have a column
    of many values whose equal values come with equal rows. `benchmarks/bench_duplicates.py`
    measures what each condition is good for.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of length n_samples
        Rows.
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    duplicate_id : ndarray of shape (n_samples,) or None
        Equal numbers mark equal rows. Distinct rows are numbered in their order. None if no rows
        are duplicated, or if X is of a kind whose rows cannot be compared.
    """
    n_samples = num_samples(X)
    if n_samples == 0 or _hash_cells(take_rows(X, slice(0, 1))) is None:
        return None
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiub":
        # The smallest number of duplicates that counts is three pairs, so that no column has more
        # than n - 3 values. A check of one column takes a tenth of the time.
        n_distinct = [len(np.unique(column)) for column in X[:200].T]
        if n_distinct and len(np.unique(X[:, np.argmax(n_distinct)])) > n_samples - 3:
            return None
    row_hash = _hash_rows(X)
    if row_hash is None:
        return None
    _, first, duplicate_id, count = np.unique(
        row_hash, return_index=True, return_inverse=True, return_counts=True
    )
    has_duplicate = count[duplicate_id] > 1
    # The order of the hashes is arbitrary, and must not decide how folds are drawn.
    duplicate_id = np.argsort(np.argsort(first))[duplicate_id]
    y_encoded, class_size = np.unique(y, return_inverse=True, return_counts=True)[1:]
    share = np.bincount(y_encoded, has_duplicate) / class_size
    if not (share[class_size >= _MIN_CLASS_SIZE] > 0.5).any():
        return None
    if _disagree_like_draws(duplicate_id, y_encoded) or _coincide_by_chance(X, count):
        return None
    return duplicate_id


def _disagree_like_draws(duplicate_id, y_encoded):
    """Return whether equal rows disagree on the label and are as uneven in number as draws are."""
    count = np.bincount(duplicate_id)
    n_agreeing = np.unique(duplicate_id * (y_encoded.max() + 1) + y_encoded, return_counts=True)[1]
    n_pairs = _count_pairs(count)
    n_disagreeing = n_pairs - _count_pairs(n_agreeing)
    # The number of draws of a row has a Poisson distribution. If most rows have a duplicate, its
    # variance, given that it is not 0, is at least a third of its mean.
    return (
        n_disagreeing > max(_MAX_DISAGREEING_PAIRS, _MAX_DISAGREEING_SHARE * n_pairs)
        and count.var() > 0.3 * count.mean()
    )


def _coincide_by_chance(X, count):
    """Return whether independent columns would make as many rows equal, given how often each is."""
    n_samples = num_samples(X)
    n_some = min(2000, rows_at_once(X))
    some = take_rows(X, np.sort(np.random.default_rng(0).permutation(n_samples)[:n_some]))
    if _has_texts(some):
        return False
    collision = _collision_probabilities(some)
    n_pairs, n_equal = n_samples * (n_samples - 1) / 2, _count_pairs(count)
    if n_equal > _CHANCE_FACTOR * n_pairs * np.prod(collision):
        return False
    if hasattr(X, "tocsr"):
        return True
    # If a continuous column is duplicated, all its equal values come from duplicates, and its
    # collision probability is not that of chance.
    rarest = int(np.argmin(collision))
    values = np.concatenate([_hash_cells(part)[:, rarest] for _, part in row_chunks(X)])
    value_count = np.unique(values, return_counts=True)[1]
    if len(value_count) < n_samples / 10:
        return True  # a code, on which other columns may depend
    n_alike = _count_pairs(value_count)
    n_different = n_alike * (1 - np.prod(np.delete(collision, rarest)))
    return n_different < _CHANCE_FACTOR or n_alike - n_equal > n_different / _CHANCE_FACTOR


def _collision_probabilities(X):
    """Return for each column the probability that two rows have the same value."""
    n_rows = num_samples(X)
    if hasattr(X, "tocsr"):
        columns = X.tocsc(copy=True)
        columns.sum_duplicates()
        columns.eliminate_zeros()
        counts = []
        for start, stop in zip(columns.indptr[:-1], columns.indptr[1:]):
            if stop > start:  # in an empty column all rows are equal
                known = np.unique(columns.data[start:stop], return_counts=True)[1]
                counts.append(np.append(known, n_rows - (stop - start)))
    else:
        counts = [np.unique(column, return_counts=True)[1] for column in _hash_cells(X).T]
    return np.array([_count_pairs(count) for count in counts]) / max(n_rows * (n_rows - 1) / 2, 1)


def _count_pairs(count):
    return float(np.sum(count * (count - 1) / 2))


def _has_texts(X):
    """Return whether rows are texts, or have a column of texts rather than of categories."""
    cells = _cells(X)
    if isinstance(cells, list):
        texts = (c for c in cells if c.dtype.kind in "OUT")
        return any(np.median([len(str(value)) for value in c]) >= _MIN_TEXT_LENGTH for c in texts)
    return isinstance(cells, np.ndarray) and cells.ndim == 1


def _hash_rows(X):
    """Return one hash per row as uint64, or None if the rows have different lengths."""
    row_hash = np.empty(num_samples(X), dtype=np.uint64)
    for batch, part in row_chunks(X):
        cells = _hash_cells(part)
        if cells is None:
            return None
        factor = np.random.default_rng(0).integers(2**62, size=cells.shape[1], dtype=np.uint64)
        odd = factor * np.uint64(2) + np.uint64(1)
        row_hash[batch] = (cells * odd).sum(axis=1, dtype=np.uint64)
    return row_hash


def _cells(X):
    """Return numbers as a 2-D array, frames and other tables as a list of columns, texts as 1-D.

    The result is None if rows of this kind cannot be compared.
    """
    X = as_array(X)
    if hasattr(X, "tocsr"):
        # A fixed random projection identifies a sparse row. Equal rows have equal products, because
        # these are summed in the same order.
        X = X.tocsr(copy=True)
        X.sum_duplicates()
        return np.asarray(X @ np.random.default_rng(0).standard_normal((X.shape[1], 2)))
    if is_frame(X):
        columns = ((column, np.asarray(column)) for column in columns_of(X))
        return [values if values.ndim == 1 else to_str(column) for column, values in columns]
    is_texts = isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], str)
    try:
        X = np.asarray(X, dtype=object if is_texts else None)
    except (RuntimeError, TypeError, ValueError):  # rows of different length, tensors on a GPU
        return None
    if X.ndim >= 2:
        X = X.reshape(len(X), -1)
        return X if X.dtype.kind in "fiub" else list(X.T)
    return X if X.ndim == 1 and len(X) and isinstance(X[0], str) else None


def _hash_cells(X):
    """Return one hash per cell as uint64 of shape (n_samples, n_columns), or None."""
    cells = _cells(X)
    if isinstance(cells, np.ndarray):
        if cells.ndim == 2:
            return _hash_numbers(cells)
        cells = [cells]
    hashed = []
    for column in cells or ():
        if column.dtype.kind in "fiub":
            hashed.append(_hash_numbers(column[:, None])[:, 0])
        else:
            hashed.append(_hash_texts([str(value) for value in column]))
    return np.column_stack(hashed) if hashed else None


def _hash_texts(texts):
    # Python's own hash of a text differs between processes.
    digests = {
        text: blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in set(texts)
    }
    return np.frombuffer(b"".join(map(digests.get, texts)), dtype="<u8").astype(np.uint64)


def _hash_numbers(X):
    # Adding 0 turns -0.0 into 0.0. The two halves of a float64 are hashed apart, then joined.
    words = np.ascontiguousarray(X.astype(np.float64) + 0.0).view(np.int32)
    hashed = murmurhash3_32(words, seed=0, positive=True).astype(np.uint64)
    return hashed[:, ::2] * np.uint64(2**32) + hashed[:, 1::2]
