"""Read labels from any container, each with its own value."""

import numpy as np
from sklearn import get_config
from sklearn.utils import column_or_1d

from .._compat import device, get_namespace
from .in_memory import check_in_memory


def is_missing(label):
    """Return whether a label is None, NaN or another missing value, which never equals itself."""
    try:
        # Texts and arrays have a length.
        return label is None or (not hasattr(label, "__len__") and bool(label != label))
    except TypeError:  # pandas.NA
        return True


def as_numpy(array):
    """Return a torch tensor as an array, and anything else as it is."""
    if not hasattr(array, "detach"):
        return array
    if str(array.dtype) == "torch.bfloat16":  # NumPy has no such dtype
        array = array.float()
    return array.numpy(force=True)


def read_labels(y, *, name="y", warn=False):
    """Return labels of any container as one column, without a change of their values.

    NumPy and scikit-learn make floats of integers beside a missing value, in which large integers
    become equal, and texts of numbers beside texts.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or (n_samples, 1)
        Labels: list, array, column of pandas, polars or pyarrow, or torch tensor.
    name : str, default="y"
        Their name in an error message.
    warn : bool, default=False
        Whether to warn if y has two axes.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Of dtype object if labels are missing, or are objects themselves.

    Raises
    ------
    TypeError
        If the labels are not in memory.
    ValueError
        If the labels are not one column.
    """
    check_in_memory(y, name)
    values = _values_of(as_numpy(y))
    if not isinstance(values, list):
        if values.ndim == 0 or values.shape[1:] not in ((), (1,)):
            given = f"an array of shape {values.shape}" if values.ndim else type(y).__name__
            raise ValueError(
                f"{name} must have one value for each row, got {given}. Pass a list, an array or "
                "one column of a frame."
            )
        return column_or_1d(values, warn=warn)
    labels = as_objects(values)
    return labels if any(map(is_missing, values)) else as_one_dtype(labels)


def _values_of(y):
    """Return labels as an array, or as a list if an array may not hold the same values."""
    if np.ma.is_masked(y):
        return y.tolist()  # None for a masked label
    if isinstance(y, (list, tuple)):
        is_flat = all(np.ndim(label) == 0 for label in y)
        is_text = is_flat and all(isinstance(label, str) for label in y)
        return list(y) if is_flat and not is_text else np.asarray(y)
    array = np.asarray(y)
    if array.dtype.kind == "T":  # scikit-learn does not accept numpy.dtypes.StringDType
        array = array.astype(object)
    has_numpy_dtype = isinstance(getattr(y, "dtype", None), np.dtype)
    if (
        array.ndim != 1
        or array.dtype.kind not in "fO"
        or (array.dtype != object and has_numpy_dtype)
    ):
        return array
    return as_list(y)


def as_objects(values):
    """Return values, each of which may be a sequence, as an array of objects with one axis."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def as_list(column):
    """Return the values of a column of any library, or of an array, as Python objects."""
    for method in ("to_pylist", "to_list"):  # of pyarrow; of pandas and polars
        if hasattr(column, method):
            return getattr(column, method)()
    return np.asarray(column).tolist()


def as_one_dtype(labels):
    """Return labels of dtype object as booleans, integers, floats or dates, if all of them are.

    Labels of which NumPy would change one, such as 1 beside "1", stay objects, and so do texts.
    """
    values = labels.tolist()
    if any(isinstance(value, (str, bytes)) for value in values):
        return labels
    typed = np.array(values) if values else labels
    is_same = typed.ndim == 1 and typed.dtype.kind in "biufM" and typed.tolist() == values
    return typed if is_same else labels


def as_array_like(X, labels):
    """Return labels as an array of the library of X, if scikit-learn uses this library.

    Parameters
    ----------
    X : any
        Rows. Only an array of another library than NumPy, with ``array_api_dispatch=True``, has an
        effect.
    labels : ndarray of shape (n_samples,)
        Labels.

    Returns
    -------
    labels : ndarray, or array of the library of X
    """
    is_array = hasattr(X, "detach") or hasattr(X, "__array_namespace__")
    if not (is_array and get_config()["array_api_dispatch"]) or labels.dtype.kind not in "biuf":
        return labels
    return get_namespace(X)[0].asarray(labels, device=device(X))
