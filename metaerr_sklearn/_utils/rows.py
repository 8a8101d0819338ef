"""Take, copy and read rows of any X: in chunks, and one by one from a torch Dataset."""

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches

from .._compat import num_samples, safe_indexing, slice_params
from . import limits
from .columns import is_frame
from .labels import as_numpy, as_objects
from .messages import name_of

# Words in the names of arguments of ``fit`` that hold a validation set, such as eval_set or X_val.
_OF_VALIDATION = {"eval", "val", "valid", "validation"}
# Memory that a cell of a chunk needs during computations: float64, held several times.
_BYTES_PER_CELL = 64


def take_rows(X, rows):
    """Return some rows of X in the given order.

    Parameters
    ----------
    X : any, of length n_samples
        Rows.
    rows : ndarray of int or bool, or slice
        Positions, in any order and with repetitions, or a mask.

    Returns
    -------
    part : same kind as X; an array if X is read from a file, as an HDF5 dataset is
    """
    if hasattr(X, "column_names"):  # a pyarrow table; old versions of scikit-learn cannot do this
        return X.take(np.arange(num_samples(X))[rows])
    if hasattr(X, "oindex") and not isinstance(rows, slice):
        return X.oindex[np.asarray(rows)]  # a zarr array takes a list of rows only so
    in_memory = isinstance(X, (np.ndarray, list, tuple)) or is_frame(X) or hasattr(X, "tocsr")
    if not in_memory and hasattr(X, "shape") and not isinstance(rows, slice):
        rows = np.asarray(rows)
        if rows.dtype != bool and (np.diff(rows) <= 0).any():
            # Files give rows in increasing order only, each of them once.
            ordered, position = np.unique(rows, return_inverse=True)
            return safe_indexing(safe_indexing(X, ordered), position)
    return safe_indexing(X, rows)


def slice_fit_params(X, params, indices):
    """Return arguments of ``fit`` for some rows: those with one entry per row are cut.

    A validation set has rows of its own, also if there are as many as in X.

    Parameters
    ----------
    X : any, of length n_samples
        Rows.
    params : dict
        Arguments by name.
    indices : ndarray of int
        Positions of the rows.

    Returns
    -------
    params : dict
    """
    own = {name for name in params if _OF_VALIDATION & set(name.lower().split("_"))}
    of_rows = {name: value for name, value in params.items() if name not in own}
    return {**params, **slice_params(X, of_rows, indices=indices)}


def own_copy(X):
    """Return a copy of rows, for an estimator that may change them in place.

    ``StandardScaler(copy=False)`` does so, and a function in a Pipeline that adds a column to the
    frame that it gets. Without a copy, a second pass would scale the rows twice, and the error
    model would get other rows than the user.

    Parameters
    ----------
    X : any, of length n_samples
        Rows.

    Returns
    -------
    X : same kind
        X itself if it cannot be changed, or is no array, tensor, frame, sparse matrix or dict of
        inputs in memory.
    """
    if isinstance(X, np.memmap):
        return X
    if isinstance(X, np.ndarray):
        return X.copy(order="K") if X.flags.writeable else X
    if hasattr(X, "tocsr"):
        return X.copy()
    if is_instance_by_name(X, "pandas", ("DataFrame", "Series")):
        return X.copy(deep=not _pandas_copies_on_write())
    if is_instance_by_name(X, "skorch.helper", "SliceDict"):
        return type(X)(**{name: own_copy(value) for name, value in X.items()})
    is_of_polars = is_instance_by_name(X, "polars", ("DataFrame", "Series"))
    return X.clone() if is_of_polars or is_instance_by_name(X, "torch", "Tensor") else X


@cache
def _pandas_copies_on_write():
    """Return whether pandas copies values before they are changed, as it does from version 3 on."""
    import pandas as pd

    return not pd.Series([0]).to_numpy().flags.writeable


def is_instance_by_name(X, package, name):
    """Return whether X is an instance of a class, or a subclass, without importing the class.

    `package` is the beginning of the name of the class's module, or a tuple of beginnings. `name`
    is the name of the class, or a tuple of names.
    """
    classes = (X if isinstance(X, type) else type(X)).__mro__
    names = (name,) if isinstance(name, str) else name
    return any(cls.__name__ in names and cls.__module__.startswith(package) for cls in classes)


def check_has_rows(X, net):
    """Raise if X has no row, or gives batches: skorch's own messages are hard to understand."""
    if is_instance_by_name(X, "torch.utils.data", "DataLoader"):
        raise TypeError(
            "X is a DataLoader, which gives batches in place of rows. Pass its Dataset, "
            "loader.dataset."
        )
    if hasattr(X, "__len__") and num_samples(X) == 0:
        raise ValueError(
            f"X has 0 sample(s), while a minimum of 1 is required by "
            f"{name_of(net)}. Give at least one row."
        )


def is_lazy(X):
    """Return whether X is a SliceDataset, which reads its rows one by one on request."""
    return is_instance_by_name(X, "skorch.helper", "SliceDataset")


def as_array(X):
    """Return a SliceDataset or a tensor as an array, and any other X as it is.

    Rows of different shapes, such as texts of tokens, become an array of objects.
    """
    if not is_lazy(X):
        return as_numpy(X)
    # The conversion of SliceDataset has no parameter `copy`, which NumPy 2 requires.
    rows = [_row_as_array(X[i]) for i in range(len(X))]
    if len({row.shape for row in rows}) > 1:
        return as_objects(rows)
    return np.stack(rows) if rows else np.empty(0)


def _row_as_array(row):
    if isinstance(row, tuple) and any(np.ndim(part) for part in row):
        array = np.empty((), dtype=object)  # several inputs of a net are no table
        array[()] = row
        return array
    return np.asarray(as_numpy(row))


class _KeptRows:
    """Rows of a Dataset, each kept as it is when it is first read."""

    def __init__(self, dataset):
        self.dataset = dataset
        self.kept = {}

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        if i not in self.kept:
            self.kept[i] = self.dataset[i]
        return self.kept[i]


def read_once(X):
    """Return a SliceDataset that reads each row once and keeps it; any other X as it is.

    A Dataset may decode a file for each row. Pass chunks of rows, because all of them are kept.
    """
    if not is_lazy(X):
        return X
    return type(X)(_KeptRows(X.dataset), idx=X.idx, indices=X.indices)


def read_once_if_small(X):
    """Return `read_once` of X if all its rows fit in scikit-learn's ``working_memory``, else X."""
    if is_lazy(X) and rows_at_once(X, bytes_per_cell=8) >= len(X):
        return read_once(X)
    return X


def rows_at_once(X, *, bytes_per_cell=_BYTES_PER_CELL):
    """Return how many rows of X fit in scikit-learn's ``working_memory`` during computations."""
    n_samples, n_cells = num_samples(X), 1
    if is_lazy(X) and n_samples:
        n_cells = _n_cells(X[0])
    elif is_frame(X):
        n_cells = len(X.columns)
    elif len(getattr(X, "shape", ())) > 1 and not hasattr(X, "tocsr"):  # also a file
        n_cells = math.prod(X.shape[1:])
    allowance = get_config()["working_memory"] * 2**20
    return int(max(1, allowance // (bytes_per_cell * max(n_cells, 1))))


def _n_cells(row):
    """Return the number of cells of a row, which may be a dict or a tuple of inputs."""
    if isinstance(row, Mapping):
        return sum(map(_n_cells, row.values()))
    return sum(map(_n_cells, row)) if isinstance(row, (tuple, list)) else np.size(as_numpy(row))


def batches_of(n_samples, n_rows):
    """Return slices of at most `n_rows` positions, which together have all `n_samples`."""
    # The checks in `gen_batches` take a tenth of a millisecond, which counts for a single row.
    return [slice(0, n_samples)] if n_samples <= n_rows else gen_batches(n_samples, n_rows)


def evenly_spaced(rows, max_rows):
    """Return some of the rows at even distances; all of them if there are at most `max_rows`."""
    if len(rows) <= max_rows:
        return rows
    return rows[np.linspace(0, len(rows) - 1, max_rows).astype(int)]


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
    for batch in batches_of(n_samples, n_rows):
        if X is None or (rows is None and n_samples <= n_rows):
            yield batch, X
        else:
            yield batch, take_rows(X, batch if rows is None else rows[batch])


def in_chunks(predict, X, rows=None):
    """Call `predict` on chunks of X, or of some of its rows, and concatenate the arrays."""
    parts = [predict(part) for _, part in row_chunks(X, rows=rows, max_rows=limits.PREDICT_CHUNK)]
    parts = parts or [predict(X if rows is None else take_rows(X, rows))]
    return tuple(map(np.concatenate, zip(*parts))) if len(parts) > 1 else parts[0]
