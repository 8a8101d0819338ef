"""Read the rows of any X in chunks, and one by one if X is a torch Dataset."""

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils import indexable as sklearn_indexable

from .._compat import num_samples, safe_indexing
from . import limits

# Memory that a cell of a chunk needs during computations: float64, held several times.
_BYTES_PER_CELL = 64


def indexable(X, *others):
    """Make X and the arrays that belong to it indexable by rows.

    This is scikit-learn's function, extended to a torch Dataset: X becomes a
    `skorch.helper.SliceDataset` of the first elements of its pairs. A SliceDataset among `others`
    becomes an array.

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
        If X is a Dataset without a length, or does not yield pairs.
    """
    if is_instance_by_name(X, "torch.utils.data", "Dataset"):
        X = _sliceable(X)
    return sklearn_indexable(X, *(as_array(other) for other in others))


def _sliceable(dataset):
    from skorch.helper import SliceDataset

    if not hasattr(dataset, "__len__"):
        raise TypeError(
            f"X is a {type(dataset).__name__} without a length: folds and neighbours need single "
            "rows. Pass a Dataset with __len__ and __getitem__."
        )
    if len(dataset) and not isinstance(dataset[0], (tuple, list)):
        raise TypeError(
            f"A Dataset given as X must yield pairs (row, label), as for skorch, got "
            f"{type(dataset[0]).__name__}. The labels in it are not used: pass them as y."
        )
    return SliceDataset(dataset)


def is_instance_by_name(X, package, name):
    """Return whether X is an instance of a class, or a subclass, without importing the class.

    `package` is the beginning of the name of the class's module, or a tuple of beginnings.
    """
    classes = (X if isinstance(X, type) else type(X)).__mro__
    return any(cls.__name__ == name and cls.__module__.startswith(package) for cls in classes)


def is_lazy(X):
    """Return whether X is a SliceDataset, which reads its rows one by one on request."""
    return is_instance_by_name(X, "skorch.helper", "SliceDataset")


def as_array(X):
    """Return a SliceDataset as an array, and any other X as it is."""
    if not is_lazy(X):
        return X
    # The conversion of SliceDataset has no parameter `copy`, which NumPy 2 requires.
    rows = [np.asarray(X[i]) for i in range(len(X))]
    return np.stack(rows) if rows else np.empty(0)


def rows_at_once(X, *, bytes_per_cell=_BYTES_PER_CELL):
    """Return how many rows of X fit in scikit-learn's ``working_memory`` during computations."""
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
    """Yield chunks of rows: their positions as a slice, and the rows.

    If X fits in one chunk, X itself is yielded. If there is no row, nothing is yielded.

    Parameters
    ----------
    X : any, of length n_samples, or None
        Rows.
    n_samples : int, default=None
        Number of rows; required if X is None. Then each chunk of rows is None.
    rows : ndarray of int, default=None
        Positions of the rows to read; None reads all. The slices refer to this array.
    max_rows : int, default=None
        Largest number of rows in a chunk; None takes `limits.TRANSFORM_CHUNK`.

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
    """Call `predict` on chunks of X, or of some of its rows, and concatenate the arrays."""
    parts = [predict(part) for _, part in row_chunks(X, rows=rows, max_rows=limits.PREDICT_CHUNK)]
    parts = parts or [predict(X if rows is None else safe_indexing(X, rows))]
    return tuple(map(np.concatenate, zip(*parts))) if len(parts) > 1 else parts[0]
