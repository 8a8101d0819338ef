"""Convert X to the input of a net."""

import numpy as np
from scipy import sparse
from skorch.helper import SliceDataset
from torch.utils.data import Dataset


def as_net_input(X):
    """Return X as a skorch net takes it.

    The rule, by the kind of X:

    - data frame (pandas, polars) with numeric or boolean columns: a float32 matrix, missing
      entries NaN;
    - floating-point array or sparse matrix: float32, the precision of torch layers;
    - integer and boolean arrays: as they are (an Embedding needs integers, and a module that
      takes uint8 images scales them itself);
    - `numpy.memmap`: a SliceDataset with these dtypes, which reads a row when it is asked for it,
      so that the file may be larger than the memory;
    - anything else (torch tensor, dict, SliceDict, Dataset, SliceDataset, list): as it is. A
      net in another precision takes its input as a tensor.

    Parameters
    ----------
    X : array, data frame, sparse matrix, tensor, dict, or torch Dataset
        The samples.

    Returns
    -------
    X : same kind, ndarray of float32 for a frame, or SliceDataset for a memory map
        The very object that came in where nothing had to change; a copy of a read-only array.

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
    if isinstance(X, np.memmap):
        return SliceDataset(_MappedRows(X))
    if isinstance(X, np.ndarray):
        return _owned(X, np.float32 if X.dtype.kind == "f" else None)
    if sparse.issparse(X):
        # skorch reads row by row, which of all formats works for csr_matrix alone.
        dtype = np.float32 if X.dtype.kind == "f" else X.dtype
        is_ready = isinstance(X, sparse.csr_matrix) and X.dtype == dtype
        return X if is_ready else sparse.csr_matrix(X, dtype=dtype)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_to_matrix(X)
    return X


class _MappedRows(Dataset):
    """Read the rows of a memory map one by one, as torch takes them."""

    def __init__(self, X):
        self.X = X
        self.dtype = np.float32 if X.dtype.kind == "f" else X.dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        # The second value stands where skorch expects a target.
        return np.array(self.X[i], dtype=self.dtype), 0


def _frame_to_matrix(X):
    other = {
        str(name): str(dtype)
        for name, dtype in zip(X.columns, X.dtypes)
        if not (dtype.kind in "biuf" if hasattr(dtype, "kind") else _is_polars_number(dtype))
    }
    if other:
        raise TypeError(
            "A neural net takes numeric columns only, got "
            + ", ".join(f"{name!r} ({dtype})" for name, dtype in list(other.items())[:5])
            + (f" and {len(other) - 5} more" if len(other) > 5 else "")
            + ". Encode them first: make_pipeline(ColumnTransformer(...), net), its output cast "
            "to float32."
        )
    if hasattr(X, "iloc"):  # nullable columns turn into objects unless pandas is told what NA is
        return _owned(X.to_numpy(dtype=np.float32, na_value=np.nan))
    return _owned(X.to_numpy(), np.float32)


def _owned(array, dtype=None):
    # Frames and joblib hand out read-only views, which torch cannot share without a warning.
    return np.require(array, dtype=dtype, requirements="W")


def _is_polars_number(dtype):
    return dtype.is_numeric() or str(dtype) == "Boolean"
