"""Make X, and the arrays that belong to it, indexable by rows."""

from collections.abc import Mapping

import numpy as np
from sklearn.utils import indexable as sklearn_indexable

from .._compat import num_samples
from .columns import is_frame
from .in_memory import check_in_memory, check_no_mask
from .packages import check_importable
from .rows import as_array, is_instance_by_name


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
    check_no_mask(
        X,
        "X.filled(np.nan) if the classifier takes missing values, else X.filled(0) or the like",
    )
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
