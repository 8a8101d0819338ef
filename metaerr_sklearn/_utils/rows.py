"""Read the rows of any X in chunks, and one by one if X is a torch Dataset."""

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
from sklearn import get_config
from sklearn.utils import gen_batches
from sklearn.utils import indexable as sklearn_indexable

from .._compat import num_samples, safe_indexing
from . import limits
from .columns import is_frame
from .in_memory import check_in_memory
from .messages import name_of
from .packages import check_importable

# Memory that a cell of a chunk needs during computations: float64, held several times.
_BYTES_PER_CELL = 64


def indexable(X, *others):
    """Make X and the arrays that belong to it indexable by rows.

    This is scikit-learn's function, extended to a torch Dataset or DataLoader and to a dict of
    arrays: X becomes a `skorch.helper.SliceDataset` of its rows without their labels, or a
    `skorch.helper.SliceDict`. A SliceDataset among `others` becomes an array.

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
        If X is a DataLoader that does not read its rows in order, or a Dataset that has no length
        or yields neither pairs nor dicts, or a dict whose values are not arrays, or a sparse
        tensor, or if its rows are not in memory.
    ValueError
        If X has no column, is a dict of arrays of different length, a list of the inputs of a net
        in place of rows, or a masked array with masked values.
    """
    check_in_memory(X)
    if is_instance_by_name(X, "torch.utils.data", "DataLoader"):
        X = _dataset_of(X)
    if is_instance_by_name(X, "torch.utils.data", "Dataset"):
        X = _sliceable(X)
    elif isinstance(X, Mapping) and not _is_slice_dict_of_arrays(X):
        X = _slice_dict(X)
    elif hasattr(X, "detach"):
        X = _readable_tensor(X)
    _check_has_columns(X)
    _check_no_mask(X)
    for other in others:
        check_in_memory(other, "y or groups")
        _check_no_list_of_inputs(X, other)
    return sklearn_indexable(X, *(as_array(other) for other in others))


def _sliceable(dataset):
    check_importable("skorch", user="A Dataset as X", instead="Or pass its rows as an array.")
    from skorch.helper import SliceDataset

    if not hasattr(dataset, "__len__"):
        raise TypeError(
            f"X is a {type(dataset).__name__} without a length: folds and neighbours need single "
            "rows. Pass a Dataset with __len__ and __getitem__."
        )
    first = dataset[0] if len(dataset) else ()
    if isinstance(first, Mapping):
        return SliceDataset(_RowsOfInputs(dataset))
    if not isinstance(first, (tuple, list)):
        raise TypeError(
            f"A Dataset given as X must yield pairs (row, label), as for skorch, got "
            f"{type(first).__name__}. The labels in it are not used: pass them as y. If each row "
            "has several inputs, it may be a dict."
        )
    return SliceDataset(dataset if len(first) < 3 else _RowsOfInputs(dataset))


class _RowsOfInputs:
    """Rows of a Dataset that are a dict of inputs, or a tuple of several inputs and a label."""

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, i):
        # skorch expects a pair; the second value stands for the label and is not used.
        row = self.dataset[i]
        return (row if isinstance(row, Mapping) else tuple(row[:-1])), 0


def _dataset_of(loader):
    """Return the Dataset of a DataLoader that reads its rows in order and collates as usual."""
    from torch.utils.data import SequentialSampler, default_collate

    advice = "Pass its Dataset, loader.dataset, and in fit the labels as y in the same order."
    if not isinstance(getattr(loader, "sampler", None), SequentialSampler) and not (
        is_instance_by_name(loader.dataset, "torch.utils.data", "IterableDataset")
    ):
        raise TypeError(
            "X is a DataLoader that shuffles or draws its rows, so that they do not belong to the "
            f"labels in y. {advice}"
        )
    if loader.collate_fn is not default_collate:
        raise TypeError(
            "X is a DataLoader with a collate_fn of its own, but folds and neighbours need single "
            f"rows. {advice} Pass collate_fn to the net: iterator_valid__collate_fn=..."
        )
    return loader.dataset


def _check_no_list_of_inputs(X, labels):
    """Raise if X is a list of arrays with one row for each label: the inputs of a net."""
    if not isinstance(X, (list, tuple)) or not hasattr(labels, "__len__"):
        return
    n_rows, kind = len(labels), type(X).__name__
    if len(X) not in (0, n_rows) and all(getattr(x, "shape", ())[:1] == (n_rows,) for x in X):
        raise ValueError(
            f"X is a {kind} of {len(X)} arrays of {n_rows} rows, but each entry of a {kind} counts "
            "as a row. If they are the inputs of a net, pass a dict by name of the argument of its "
            'module: X = {"name": array, ...}.'
        )


def _check_no_mask(X):
    """Raise if values are masked: scikit-learn and torch read what is under the mask."""
    if isinstance(X, np.ma.MaskedArray) and np.ma.is_masked(X):
        raise ValueError(
            f"X is a masked array with {np.ma.count_masked(X)} masked values, but classifiers "
            "ignore the mask and read the values under it. Pass X.filled(np.nan) if the classifier "
            "takes missing values, else X.filled(0) or another value."
        )


def _readable_tensor(X):
    """Return a tensor without gradients, which NumPy would not read; raise if it is sparse."""
    if str(X.layout) != "torch.strided":
        raise TypeError(
            f"X is a sparse tensor ({X.layout}), whose rows cannot be taken. Pass X.to_dense(), or "
            "a sparse matrix of SciPy."
        )
    return X.detach() if X.requires_grad else X


def _is_slice_dict_of_arrays(inputs):
    """Return whether a mapping is a SliceDict that can be indexed by position."""
    return hasattr(inputs, "shape") and not any(map(_has_an_index, inputs.values()))


def _has_an_index(value):
    """Return whether a value is a frame or column, which pandas indexes by label."""
    return hasattr(value, "to_numpy")


def _slice_dict(inputs):
    instead = "If X is a table, pass a frame: pandas.DataFrame(X)."
    check_importable("torch", "skorch", user="A dict of the inputs of a net as X", instead=instead)
    from skorch.helper import SliceDict

    def as_rows(value):
        is_array = hasattr(value, "shape") and not _has_an_index(value)
        return value if is_array else np.asarray(value)

    for name, value in inputs.items():
        check_in_memory(value, f"X[{name!r}]")
    arrays = {name: as_rows(value) for name, value in inputs.items()}
    if not arrays or not all(isinstance(name, str) and arrays[name].shape for name in arrays):
        raise TypeError(
            f"X is a {type(inputs).__name__}, which must have the inputs of a net as arrays with "
            "one row for each sample. Pass skorch.helper.SliceDict(name=array, ...)."
        )
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"X is a {type(inputs).__name__} of arrays with different numbers of rows: {lengths}. "
            "Each input needs one row for each sample, as in a skorch.helper.SliceDict."
        )
    return SliceDict(**arrays)


def _check_has_columns(X):
    """Raise if X is a table without columns, or an array of empty rows."""
    if is_frame(X):
        shape = (num_samples(X), len(X.columns))
    else:
        shape = np.shape(X[:1]) if isinstance(X, (list, tuple)) else getattr(X, "shape", ())
    if 0 in shape[1:]:
        shape = (num_samples(X), *shape[1:])
        raise ValueError(
            f"X has 0 feature(s) (shape={shape}) while a minimum of 1 is required: it has no "
            "column to learn from. Give X at least one column."
        )


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
    in_memory = isinstance(X, (np.ndarray, list, tuple)) or is_frame(X) or hasattr(X, "tocsr")
    if not in_memory and hasattr(X, "shape") and not isinstance(rows, slice):
        rows = np.asarray(rows)
        if rows.dtype != bool and (np.diff(rows) <= 0).any():
            # Files give rows in increasing order only, each of them once.
            ordered, position = np.unique(rows, return_inverse=True)
            return safe_indexing(safe_indexing(X, ordered), position)
    return safe_indexing(X, rows)


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
        X itself if it cannot be changed, or is no array, frame or sparse matrix in memory.
    """
    if isinstance(X, np.memmap):
        return X
    if isinstance(X, np.ndarray):
        return X.copy(order="K") if X.flags.writeable else X
    if hasattr(X, "tocsr"):
        return X.copy()
    if is_instance_by_name(X, "pandas", ("DataFrame", "Series")):
        return X.copy(deep=not _pandas_copies_on_write())
    return X.clone() if is_instance_by_name(X, "polars", ("DataFrame", "Series")) else X


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
    """Return a SliceDataset as an array, and any other X as it is.

    Rows of different shapes, such as texts of tokens, become an array of objects.
    """
    if not is_lazy(X):
        return X
    # The conversion of SliceDataset has no parameter `copy`, which NumPy 2 requires.
    rows = [_row_as_array(X[i]) for i in range(len(X))]
    if len({row.shape for row in rows}) > 1:
        array = np.empty(len(rows), dtype=object)
        array[:] = rows
        return array
    return np.stack(rows) if rows else np.empty(0)


def _row_as_array(row):
    if isinstance(row, tuple) and any(np.ndim(part) for part in row):
        array = np.empty((), dtype=object)  # several inputs of a net are no table
        array[()] = row
        return array
    return np.asarray(row)


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
    return sum(map(_n_cells, row)) if isinstance(row, (tuple, list)) else np.asarray(row).size


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
