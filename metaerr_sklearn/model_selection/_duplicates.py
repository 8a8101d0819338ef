"""Find duplicated rows."""

from hashlib import blake2b

import numpy as np
from sklearn.utils import murmurhash3_32

from .._compat import num_samples, safe_indexing
from .._utils.columns import columns_of, to_str
from .._utils.rows import as_array, row_chunks, rows_at_once

# Strings of which half are as long are texts; names of categories are shorter.
_MIN_TEXT_LENGTH = 30


def find_duplicates(X, y):
    """Mark rows that are copies of each other, so that copies can be kept in one fold.

    Where rows were copied (oversampling, a table joined to itself), the copy in the training part
    shows a flexible base the answer for the row that is tested. Rows also coincide without having
    been copied, and then new rows coincide with training rows just as often: setting them aside
    would misjudge the base. Rows count as copied where most rows of a class have a copy, and
    either ten times as many rows coincide as columns drawn independently would give, or there is a
    column of many values, and rows with the same one differ elsewhere ten times as rarely. Columns
    may depend on each other (a place and its region): where rows coincide as often as draws from a
    list do and do not agree on the label, they are draws, for a copy has the label of its row.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of length n_samples
        Rows.
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    copies : ndarray of shape (n_samples,) or None
        Equal numbers mark equal rows; distinct rows are numbered as they come. None if no rows were
        copied, or if X is of a kind that cannot be compared.
    """
    n_samples = num_samples(X)
    if n_samples == 0 or _hash_cells(safe_indexing(X, slice(0, 1))) is None:
        return None
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiub":
        # The fewest copies that count are three pairs: then no column has more than n - 3 values.
        # To look at one is a tenth of the work.
        n_distinct = [len(np.unique(column)) for column in X[:200].T]
        if n_distinct and len(np.unique(X[:, np.argmax(n_distinct)])) > n_samples - 3:
            return None
    keys = np.empty(n_samples, dtype=np.uint64)
    for batch, part in row_chunks(X):
        codes = _hash_cells(part)
        if codes is None:  # a later row is of another length
            return None
        rng = np.random.default_rng(0)
        odd = rng.integers(2**62, size=codes.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(
            1
        )
        keys[batch] = (codes * odd).sum(axis=1, dtype=np.uint64)
    _, first, number, count = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    has_copy = count[number] > 1
    # The order of the keys means nothing, and must not decide how folds are drawn.
    number = np.argsort(np.argsort(first))[number]
    label, size = np.unique(y, return_inverse=True, return_counts=True)[1:]
    share = np.bincount(label, has_copy) / size
    if not (share[size >= 10] > 0.5).any() or _coincide_by_chance(number, label, count):
        return None
    n_some = min(2000, rows_at_once(X))
    some = safe_indexing(X, np.sort(np.random.default_rng(0).permutation(n_samples)[:n_some]))
    if _has_texts(some):
        return number  # texts do not coincide by chance
    chances = _collision_probabilities(some)
    n_pairs = n_samples * (n_samples - 1) / 2
    n_equal = _count_pairs(count)
    if n_equal > 10 * n_pairs * np.prod(chances):
        return number
    if hasattr(X, "tocsr"):
        return None
    # Copies of a continuous column make all of its pairs: these tell nothing of chance.
    most = int(np.argmin(chances))
    values = np.concatenate([_hash_cells(part)[:, most] for _, part in row_chunks(X)])
    count = np.unique(values, return_counts=True)[1]
    if len(count) < n_samples / 10:
        return None  # a code, on which other columns may depend
    n_alike = _count_pairs(count)
    n_different = n_alike * (1 - np.prod(np.delete(chances, most)))
    return number if n_different >= 10 and n_alike - n_equal <= n_different / 10 else None


def _coincide_by_chance(number, label, count):
    """Tell whether equal rows disagree on the label, and are as uneven in number as draws are.

    Rows that several people labeled disagree as well, but there are about as many of each.
    """
    n_equal = _count_pairs(count)
    agreeing = np.unique(number * (label.max() + 1) + label, return_counts=True)[1]
    n_disagree = n_equal - _count_pairs(agreeing)
    # Of draws, the variance of a Poisson variable that is not 0 is a third of its mean or more,
    # where most rows have a copy.
    return n_disagree > max(5, 0.02 * n_equal) and count.var() > 0.3 * count.mean()


def _collision_probabilities(X):
    """Return for each column the probability that two rows have the same value."""
    n_rows = num_samples(X)
    if hasattr(X, "tocsr"):
        columns = X.tocsc(copy=True)
        columns.sum_duplicates()
        columns.eliminate_zeros()
        counts = []
        for start, stop in zip(columns.indptr[:-1], columns.indptr[1:]):
            if stop > start:  # all rows are alike in an empty column
                known = np.unique(columns.data[start:stop], return_counts=True)[1]
                counts.append(np.append(known, n_rows - (stop - start)))
    else:
        counts = [np.unique(column, return_counts=True)[1] for column in _hash_cells(X).T]
    return np.array([_count_pairs(count) for count in counts]) / max(n_rows * (n_rows - 1) / 2, 1)


def _count_pairs(count):
    return float(np.sum(count * (count - 1) / 2))


def _has_texts(X):
    """Tell whether rows are texts, or have a column of texts rather than of categories."""
    cells = _cells(X)
    if isinstance(cells, list):
        texts = (c for c in cells if c.dtype.kind in "OUT")
        return any(np.median([len(str(value)) for value in c]) >= _MIN_TEXT_LENGTH for c in texts)
    return isinstance(cells, np.ndarray) and cells.ndim == 1


def _cells(X):
    """Return numbers as an array, a frame or cells of any kind as columns, texts as 1-D array.

    None if rows of this kind cannot be compared.
    """
    X = as_array(X)
    if hasattr(X, "tocsr"):
        # A fixed random projection identifies a sparse row: products of equal rows are equal,
        # because they are summed in the same order.
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
    # Python's own hash of a text is another one in each process.
    digests = {
        text: blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in set(texts)
    }
    return np.frombuffer(b"".join(map(digests.get, texts)), dtype="<u8").astype(np.uint64)


def _hash_numbers(X):
    # Adding 0 turns -0.0 into 0.0; halves of a float64 are hashed apart and joined.
    words = np.ascontiguousarray(X.astype(np.float64) + 0.0).view(np.int32)
    hashed = murmurhash3_32(words, seed=0, positive=True).astype(np.uint64)
    return hashed[:, ::2] * np.uint64(2**32) + hashed[:, 1::2]
