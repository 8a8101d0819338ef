"""Read the rows of any X, however large: in chunks, and lazily where X is on disk."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils import indexable as sklearn_indexable

from .._compat import num_samples, safe_indexing
from . import limits

# What a chunk costs while it is worked on: float64, and several copies of it.
_BYTES_PER_CELL = 64


def indexable(X, *others):
    """Return X, and what belongs to it, as something that rows can be taken from.

    As scikit-learn's function; a torch Dataset becomes a `skorch.helper.SliceDataset` of its first
    element, and others that are one become arrays.

    Parameters
    ----------
    X : any, of length n_samples
        Rows.
    *others : array-likes of length n_samples, or None
        Labels, groups.

    Returns
    -------
    result : list of X and others

    Raises
    ------
    TypeError
        If X is a Dataset that cannot be asked for a row, or does not give pairs.
    """
    if is_instance_by_name(X, "torch.utils.data", "Dataset"):
        X = _sliceable(X)
    return sklearn_indexable(X, *(as_array(other) for other in others))


def _sliceable(dataset):
    from skorch.helper import SliceDataset

    if not hasattr(dataset, "__len__"):
        raise TypeError(
            f"X is a {type(dataset).__name__} without a length: folds and neighbours need single "
            "rows. Give a Dataset with __len__ and __getitem__."
        )
    if len(dataset) and not isinstance(dataset[0], (tuple, list)):
        raise TypeError(
            f"A Dataset given as X must yield pairs (row, label), as for skorch, got "
            f"{type(dataset[0]).__name__}. The labels in it are not used: give them as y."
        )
    return SliceDataset(dataset)


def is_instance_by_name(X, package, name):
    """Tell whether X is an instance of a class without importing it.

    `package` is how the name of its module begins, or a tuple of beginnings.
    """
    return any(
        cls.__name__ == name and cls.__module__.startswith(package) for cls in type(X).__mro__
    )


def is_lazy(X):
    """Tell whether X reads its rows when asked for them one by one."""
    return is_instance_by_name(X, "skorch.helper", "SliceDataset")


def as_array(X):
    """Return X, and the rows of a SliceDataset as an array."""
    if not is_lazy(X):
        return X
    # Its own conversion knows no copy=, which NumPy 2 asks for.
    rows = [np.asarray(X[i]) for i in range(len(X))]
    return np.stack(rows) if rows else np.empty(0)


def rows_at_once(X, *, bytes_per_cell=_BYTES_PER_CELL):
    """Return how many rows of X can be worked on within scikit-learn's ``working_memory``."""
    n_samples, n_cells = num_samples(X), 1
    if is_lazy(X) and n_samples:
        n_cells = np.asarray(X[0]).size
    elif hasattr(X, "columns"):
        n_cells = len(X.columns)
    elif isinstance(X, np.ndarray) and n_samples:
        n_cells = X.size // n_samples
    allowance = get_config()["working_memory"] * 2**20
    return int(max(1, allowance // (bytes_per_cell * max(n_cells, 1))))


def row_chunks(X, n_samples=None, *, rows=None, max_rows=None):
    """Yield the positions of some rows as a slice, and the rows; X itself where it is small.

    Nothing is yielded where there is no row.

    Parameters
    ----------
    X : any, of length n_samples, or None
        Rows.
    n_samples : int, default=None
        Needed where X is None, which then stands for its own chunks.
    rows : ndarray of int, default=None
        Only these rows of X, to whose positions the slices refer.
    max_rows : int, default=None
        Most rows of a chunk; None takes `limits.TRANSFORM_CHUNK`.

    Yields
    ------
    batch : slice
    part : same kind as X
    """
    if n_samples is None:
        n_samples = num_samples(X) if rows is None else len(rows)
    if n_samples == 0:
        return
    max_rows = max_rows or limits.TRANSFORM_CHUNK
    n_rows = max_rows if X is None else min(max_rows, rows_at_once(X))
    for batch in gen_batches(n_samples, n_rows):
        if X is None or (rows is None and n_samples <= n_rows):
            yield batch, X
        else:
            yield batch, safe_indexing(X, batch if rows is None else rows[batch])


def in_chunks(predict, X, rows=None):
    """Return the arrays that `predict` gives for (some) rows of X, called on chunks of them."""
    parts = [predict(part) for _, part in row_chunks(X, rows=rows, max_rows=limits.PREDICT_CHUNK)]
    parts = parts or [predict(X if rows is None else safe_indexing(X, rows))]
    return tuple(map(np.concatenate, zip(*parts))) if len(parts) > 1 else parts[0]
