"""Convert X to the input of a net."""

from collections.abc import Mapping
from numbers import Real

import numpy as np
import torch
from scipy import sparse
from skorch import dataset as skorch_dataset
from skorch.helper import SliceDataset, SliceDict
from torch.utils.data import Dataset

from .._compat import num_samples
from .._utils.in_memory import check_in_memory
from .._utils.indexable import indexable
from .._utils.labels import as_list
from .._utils.messages import name_of


def as_net_input(X):
    """Convert X to a type and dtype that a skorch net accepts.

    The conversion depends on the type of X:

    - A data frame (pandas, polars) with numeric or boolean columns becomes a matrix of such a
      precision. Missing entries become NaN.
    - A floating-point array or sparse matrix becomes float32, or float64 after
      ``torch.set_default_dtype(torch.float64)``.
    - Integer and boolean arrays keep their dtype: an Embedding layer needs integers, and a module
      for uint8 images scales them itself.
    - A `numpy.memmap` becomes a SliceDataset with these dtypes. It reads a row only when the net
      needs it, so the file may be larger than the memory.
    - A list or tuple of numeric arrays, of tensors or of lists of numbers, of equal shape, becomes
      one array or tensor: each entry is a row. So do arrays and columns of objects with such
      entries. A list of dicts with the same keys becomes a dict.
    - A dict of the inputs of a module becomes a SliceDict, with each value converted by these
      rules.
    - Anything else (torch tensor, Dataset, SliceDataset, other list) is returned unchanged. If the
      net has another precision than float32, pass a tensor.

    Parameters
    ----------
    X : array, data frame, sparse matrix, tensor, dict, list, or torch Dataset
        The samples.

    Returns
    -------
    X : same type, ndarray for a frame or list, SliceDataset for a memory map, SliceDict for a dict
        The same object if no conversion is needed. An array is copied if it is read-only, or if
        torch cannot read its strides or its byte order.

    Raises
    ------
    TypeError
        If a frame has columns that are neither numeric nor boolean.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.neural import as_net_input
    >>> as_net_input(np.zeros((2, 3))).dtype
    dtype('float32')
    >>> as_net_input(np.zeros((2, 3), dtype=np.int64)).dtype
    dtype('int64')
    """
    check_in_memory(X)
    X = list(X) if isinstance(X, tuple) else X  # each entry is a row, as in a list
    if isinstance(X, list) or _holds_objects(X):
        X = _stacked(X)
    if isinstance(X, Mapping):
        return _inputs_by_name(X)
    if isinstance(X, np.memmap):
        return SliceDataset(_MappedRows(X))
    if isinstance(X, np.ndarray):
        return _as_readable(X)
    if sparse.issparse(X):
        # skorch indexes single rows, which works for csr_matrix only.
        dtype = _float_dtype() if X.dtype.kind == "f" else X.dtype
        is_ready = isinstance(X, sparse.csr_matrix) and X.dtype == dtype
        return X if is_ready else sparse.csr_matrix(X, dtype=dtype)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_to_matrix(X)
    return X


def input_of(net, X):
    """Convert X by `as_net_input`, and raise if the net cannot make batches of its rows.

    Parameters
    ----------
    net : skorch NeuralNet
        Fitted or not. If it makes its own Dataset or batches, any rows are passed on.
    X : any
        Rows.

    Returns
    -------
    X : as from `as_net_input`

    Raises
    ------
    TypeError
        If the rows are texts or other objects.
    ValueError
        If the rows have different shapes.
    """
    X = as_net_input(X)
    if net.dataset is skorch_dataset.Dataset and not _collates(net):
        _check_rows(X, name_of(net))
    return X


def _collates(net):
    prefixes = ("iterator_train", "iterator_valid")
    return any("collate_fn" in net.get_params_for(prefix) for prefix in prefixes)


def _check_rows(X, name):
    """Raise if X is a list or array of objects; what could be stacked is none any more."""
    is_of_objects = isinstance(X, np.ndarray) and X.dtype.kind in "OSUT"
    if not (isinstance(X, list) or is_of_objects or _holds_objects(X)) or not num_samples(X):
        return
    rows = X if isinstance(X, list) else as_list(X)
    first, kind = rows[0], type(rows[0]).__name__
    if isinstance(first, (str, bytes)):
        raise TypeError(
            f"X holds texts, such as {first[:40]!r}, but {name} takes numbers. If they are texts "
            "to classify, encode them first: make_pipeline(encoder, net). If they are names of "
            "files, pass a torch Dataset that reads the file of a row, and yields (row, label)."
        )
    if isinstance(first, Mapping):
        raise ValueError(
            f"X is a list of {len(rows)} dicts, of which {name} gets no batch: each row needs the "
            "same keys, and for each key a value of the same shape. Pad them to one shape, or pass "
            "a Dataset, and iterator_train__collate_fn and iterator_valid__collate_fn to the net."
        )
    shapes = list(dict.fromkeys(map(_shape_of, rows)))
    if len(shapes) > 1:
        raise ValueError(
            f"X is a list of {len(rows)} rows of different shapes, such as {shapes[0]} and "
            f"{shapes[1]}, of which {name} gets no batch. Pad, crop or resize them to one shape. "
            "Or pass a Dataset that yields (row, label), and iterator_train__collate_fn and "
            "iterator_valid__collate_fn to the net. If X is a list of the inputs of the module, "
            "pass a dict by name of the argument, each input with one row for each sample."
        )
    raise TypeError(
        f"X holds objects of type {kind}, but {name} takes numbers. Convert each row to an array, "
        "as for the training: np.stack([np.asarray(row) for row in X])."
    )


def _shape_of(row):
    try:
        return np.shape(row)
    except ValueError:  # a list of lists of different lengths
        return (len(row), "different lengths")


def as_pipeline_input(X):
    """Return X for a Pipeline that ends in a net: an array of float64 gets torch's precision.

    The steps before the net may need any other X as it is, for example a frame.
    """
    is_double = isinstance(X, np.ndarray) and X.dtype == np.float64
    return X.astype(_float_dtype(), copy=False) if is_double else X


def _float_dtype():
    """Return the precision of new modules: float32, or float64 if the user has set it."""
    return np.float64 if torch.get_default_dtype() == torch.float64 else np.float32


class _MappedRows(Dataset):
    """Dataset of the rows of a memory map, each converted when it is read."""

    def __init__(self, X):
        self.X = X
        self.dtype = _float_dtype() if X.dtype.kind == "f" else X.dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        # skorch expects a pair; the second value stands for the target and is not used.
        return np.array(self.X[i], dtype=self.dtype), 0


def _holds_objects(X):
    """Return whether X is an array or column of objects, or any column of a frame."""
    is_column = hasattr(X, "to_numpy") and not hasattr(X, "columns")
    return is_column or (isinstance(X, np.ndarray) and X.dtype == object)


def _stacked(X):
    """Return rows that are arrays, tensors, lists or dicts alike as one, and others unchanged."""
    rows = X if isinstance(X, list) else as_list(X)
    if not rows:
        return X
    if all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows):
        inputs = {name: _stacked([row[name] for row in rows]) for name in rows[0]}
        return X if any(isinstance(value, list) for value in inputs.values()) else inputs
    if _is_of_numbers(rows[0]):
        try:
            array = np.asarray(rows)
        except (TypeError, ValueError):  # rows of different lengths
            return X
        return array if array.dtype.kind in "biuf" else X
    if len({getattr(row, "shape", ()) for row in rows}) != 1 or not hasattr(rows[0], "shape"):
        return X
    if all(isinstance(row, torch.Tensor) for row in rows):
        return torch.stack(rows)
    is_numeric = all(isinstance(row, np.ndarray) and row.dtype.kind in "biufc" for row in rows)
    return np.stack(rows) if is_numeric else X


def _is_of_numbers(row):
    """Return whether a row is a number, or a list of lists of numbers."""
    while isinstance(row, (list, tuple)) and row:
        row = row[0]
    return isinstance(row, Real)


def _inputs_by_name(X):
    """Return a dict of inputs as a SliceDict, each input converted as X would be."""
    (X,) = indexable(X)
    inputs = {}
    for name, value in X.items():
        value = _stacked(value) if _holds_objects(value) else value
        is_mapped = isinstance(value, np.memmap)
        is_array = isinstance(value, np.ndarray)
        inputs[name] = _as_readable(value) if is_array and not is_mapped else value
    return X if all(inputs[name] is X[name] for name in X) else SliceDict(**inputs)


def _as_readable(array):
    """Return an array that torch can read, floats in the precision of new modules."""
    dtype = None if array.dtype.isnative else array.dtype.newbyteorder("=")
    dtype = _float_dtype() if array.dtype.kind == "f" else dtype
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    return _as_writable(array, dtype)


def _frame_to_matrix(X):
    other = {
        str(name): str(dtype)
        for name, dtype in zip(X.columns, X.dtypes)
        if not (dtype.kind in "biuf" if hasattr(dtype, "kind") else _is_polars_number(dtype))
    }
    if other:
        raise TypeError(
            "A neural net accepts numeric columns only, got "
            + ", ".join(f"{name!r} ({dtype})" for name, dtype in list(other.items())[:5])
            + (f" and {len(other) - 5} more" if len(other) > 5 else "")
            + ". Encode them first: make_pipeline(ColumnTransformer(...), net), with the output of "
            "the transformer cast to float32. If a column holds arrays, pass them alone: "
            "np.stack(X[column])."
        )
    if hasattr(X, "iloc"):  # without na_value, pandas converts nullable columns to objects
        return _as_writable(X.to_numpy(dtype=_float_dtype(), na_value=np.nan))
    return _as_writable(X.to_numpy(), _float_dtype())


def _as_writable(array, dtype=None):
    # Arrays from frames and from joblib can be read-only; torch warns about those.
    return np.require(array, dtype=dtype, requirements="W")


def _is_polars_number(dtype):
    return dtype.is_numeric() or str(dtype) == "Boolean"
