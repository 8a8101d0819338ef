"""Find duplicated rows."""

from hashlib import blake2b

import numpy as np
from sklearn.utils import murmurhash3_32

from .._compat import num_samples, safe_indexing
from .._utils.columns import columns_of, to_str
from .._utils.rows import as_array, row_chunks

# A class of fewer rows does not decide whether rows are duplicated.
_MIN_CLASS_SIZE = 10
# Equal rows disagree on the label if more than this share of their pairs does, and more than this
# number of pairs: a few wrong labels are no disagreement.
_MAX_DISAGREEING_SHARE = 0.02
_MAX_DISAGREEING_PAIRS = 5


def find_duplicates(X, y):
    """Find duplicated rows, so that all duplicates of a row can be kept in one fold.

    If rows were duplicated (oversampling, a table joined to itself), a flexible base finds the
    label of a test row in the duplicate in its training part, and its out-of-fold accuracy is too
    high. Rows also repeat by chance, or because they are drawn from a short list, such as products
    or stores. New rows then repeat training rows just as often, and folds that separate them from
    their duplicates make the accuracy too low.

    Rows count as duplicated if most rows of a class have a duplicate, unless equal rows disagree on
    the label and are as uneven in number as random draws are. A duplicate has the label of its row,
    and rows that several people labeled are about equal in number. `benchmarks/bench_duplicates.py`
    compares this rule with others. Without disagreement, rows from a short list cannot be
    distinguished from oversampled rows, and count as duplicated.

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
    if n_samples == 0 or _hash_cells(safe_indexing(X, slice(0, 1))) is None:
        return None
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiub":
        # The smallest number of duplicates that counts is three pairs, so that no column has more
        # than n - 3 values. A check of one column takes a tenth of the time.
        n_distinct = [len(np.unique(column)) for column in X[:200].T]
        if n_distinct and len(np.unique(X[:, np.argmax(n_distinct)])) > n_samples - 3:
            return None
    row_hash = np.empty(n_samples, dtype=np.uint64)
    for batch, part in row_chunks(X):
        cells = _hash_cells(part)
        if cells is None:  # a later row is of another length
            return None
        rng = np.random.default_rng(0)
        odd = rng.integers(2**62, size=cells.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(
            1
        )
        row_hash[batch] = (cells * odd).sum(axis=1, dtype=np.uint64)
    _, first, duplicate_id, count = np.unique(
        row_hash, return_index=True, return_inverse=True, return_counts=True
    )
    has_duplicate = count[duplicate_id] > 1
    # The order of the hashes is arbitrary, and must not decide how folds are drawn.
    duplicate_id = np.argsort(np.argsort(first))[duplicate_id]
    y_encoded, class_size = np.unique(y, return_inverse=True, return_counts=True)[1:]
    share = np.bincount(y_encoded, has_duplicate) / class_size
    is_duplicated = (share[class_size >= _MIN_CLASS_SIZE] > 0.5).any()
    if not is_duplicated or _repeat_by_chance(duplicate_id, y_encoded):
        return None
    return duplicate_id


def _repeat_by_chance(duplicate_id, y_encoded):
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


def _count_pairs(count):
    return float(np.sum(count * (count - 1) / 2))


def _cells(X):
    """Return numbers as a 2-D array, frames and other tables as a list of columns, texts as 1-D.

    None if rows of this kind cannot be compared.
    """
    X = as_array(X)
    if hasattr(X, "tocsr"):
        # A fixed random projection identifies a sparse row. Equal rows have equal products, because
        # these are summed in the same order.
        X = X.tocsr(copy=True)
        X.sum_duplicates()
        return np.asarray(X @ np.random.default_rng(0).standard_normal((X.shape[1], 2)))
    if hasattr(X, "columns"):
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
