"""Give X to a net: dtypes and batches."""

from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from scipy import sparse
from sklearn.utils import gen_batches
from skorch import NeuralNet
from skorch import dataset as skorch_dataset
from skorch.helper import SliceDataset
from torch.utils.data import DataLoader, Dataset

from ._net import NET_LOCK


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
        return SliceDataset(MappedRows(X))
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


class MappedRows(Dataset):
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


@contextmanager
def sliced_batches(net):
    """Take one's turn at a net, and let it cut the batches that it predicts out of X.

    A DataLoader gathers them row by row, which takes a small net as long as its own work. The
    batches are the same, to the last bit. A net whose iterator or dataset is not skorch's default,
    or whose settings concern them beyond the size of a batch, keeps its own way.

    Parameters
    ----------
    net : skorch NeuralNet
        As it was after the block. A copy that another thread makes of it meanwhile goes on in this
        way.
    """
    steps = ("forward_iter", "get_dataset", "get_iterator")
    is_default = all(getattr(type(net), step, None) is getattr(NeuralNet, step) for step in steps)
    with NET_LOCK:
        if not is_default or net.iterator_valid is not DataLoader:
            yield
            return
        net.iterator_valid = _iterate
        try:
            yield
        finally:
            net.iterator_valid = DataLoader


def _iterate(dataset, **options):
    """Return what goes through a dataset in batches."""
    size = options.get("batch_size")
    is_plain = type(dataset) is skorch_dataset.Dataset and dataset.y is None
    if is_plain and options.keys() == {"batch_size"} and isinstance(size, Integral) and size > 0:
        X, dtype = dataset.X, None
        if type(X) is SliceDataset and X.indices is None and type(X.dataset) is MappedRows:
            X, dtype = X.dataset.X, X.dataset.dtype
        if _is_sliceable(X) and len(dataset) == X.shape[0]:
            return _SlicedBatches(X, size, dtype)
    return DataLoader(dataset, **options)


def _is_sliceable(X):
    if type(X) is torch.Tensor:
        return X.layout is torch.strided and X.ndim > 1
    if type(X) in (np.ndarray, np.memmap):
        return X.ndim > 1 and X.dtype.kind in "biuf"
    return isinstance(X, sparse.csr_matrix)


class _SlicedBatches:
    """Yield batches as skorch's evaluation takes them, each a copy: a module may work in place.

    They lie in memory as a loader stacks them, axis by axis, which decides how sums are rounded and
    what a view may look like.
    """

    def __init__(self, X, batch_size, dtype=None):
        self.X = X
        self.batch_size = batch_size
        self.dtype = dtype

    def __len__(self):
        return -(-self.X.shape[0] // self.batch_size)

    def __iter__(self):
        # What a loader draws for its workers: a module that draws at random goes on from there.
        torch.empty((), dtype=torch.int64).random_()
        for batch in gen_batches(self.X.shape[0], self.batch_size):
            part = self.X[batch]
            if isinstance(part, torch.Tensor):
                part = part.clone(memory_format=torch.contiguous_format)
            elif sparse.issparse(part):
                part = torch.from_numpy(part.toarray(order="C"))
            else:
                part = torch.from_numpy(np.array(part, dtype=self.dtype, order="C"))
            yield [part, torch.zeros(len(part), 1)]
