"""Convert X to the input of a net."""

import numpy as np
import torch
from scipy import sparse
from skorch.helper import SliceDataset
from torch.utils.data import Dataset

from .._utils.in_memory import check_in_memory


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
    - A list of numeric arrays, or of tensors, of equal shape becomes one array or tensor: each
      entry of a list is a row.
    - Anything else (torch tensor, dict, SliceDict, Dataset, SliceDataset, other list) is
      returned unchanged. If the net has another precision than float32, pass a tensor.

    Parameters
    ----------
    X : array, data frame, sparse matrix, tensor, dict, list, or torch Dataset
        The samples.

    Returns
    -------
    X : same type, ndarray of float32 for a frame, SliceDataset for a memory map, or stacked list
        The same object if no conversion is needed. A read-only array is copied.

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
    if isinstance(X, list):
        X = _stacked(X)
    if isinstance(X, np.memmap):
        return SliceDataset(_MappedRows(X))
    if isinstance(X, np.ndarray):
        return _as_writable(X, _float_dtype() if X.dtype.kind == "f" else None)
    if sparse.issparse(X):
        # skorch indexes single rows, which works for csr_matrix only.
        dtype = _float_dtype() if X.dtype.kind == "f" else X.dtype
        is_ready = isinstance(X, sparse.csr_matrix) and X.dtype == dtype
        return X if is_ready else sparse.csr_matrix(X, dtype=dtype)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_to_matrix(X)
    return X


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


def _stacked(rows):
    """Return a list of arrays or tensors of equal shape as one, and any other list as it is."""
    if len({getattr(row, "shape", ()) for row in rows}) != 1 or not getattr(rows[0], "shape", ()):
        return rows
    if all(isinstance(row, torch.Tensor) for row in rows):
        return torch.stack(rows)
    is_numeric = all(isinstance(row, np.ndarray) and row.dtype.kind in "biuf" for row in rows)
    return np.stack(rows) if is_numeric else rows


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
            "the transformer cast to float32."
        )
    if hasattr(X, "iloc"):  # without na_value, pandas converts nullable columns to objects
        return _as_writable(X.to_numpy(dtype=_float_dtype(), na_value=np.nan))
    return _as_writable(X.to_numpy(), _float_dtype())


def _as_writable(array, dtype=None):
    # Arrays from frames and from joblib can be read-only; torch warns about those.
    return np.require(array, dtype=dtype, requirements="W")


def _is_polars_number(dtype):
    return dtype.is_numeric() or str(dtype) == "Boolean"
