"""Read the columns of a frame of any library, or of an array: numbers, dates and categories."""

import numpy as np

from .._compat import safe_indexing
from .validation import is_missing

# A column holds categories if the name of its dtype, in any library, begins with one of these. Its
# values do not decide this, because all of them may be missing.
_CATEGORICAL = ("category", "categorical", "enum", "bool", "str", "large_str", "utf8")


def column_names(X):
    """Return the names of the columns of a frame as str, or x0, x1, ... for an array."""
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    return [f"x{j}" for j in range(np.shape(X)[1])]


def columns_of(X, names=None):
    """Return the columns of a frame or a 2-D array as a list.

    Parameters
    ----------
    X : frame or array of shape (n_samples, n_columns)
        Columns.
    names : list of str, default=None
        Names of the columns in `fit`. The columns of a frame are returned in this order, and other
        columns are ignored. An array is read by position, and so is a frame if a name repeats.

    Returns
    -------
    columns : list of length n_columns

    Raises
    ------
    ValueError
        If a column is missing, or if columns are read by position and their number has changed.
    """
    own = column_names(X)
    positions = range(len(own))
    if names is not None and hasattr(X, "columns") and len(set(names)) == len(names):
        missing = [name for name in names if name not in own]
        if missing:
            raise ValueError(
                f"X lacks the columns {', '.join(map(repr, missing[:10]))}, which the frame in fit "
                f"had. Pass a frame with the columns {', '.join(map(repr, names[:10]))}"
                f"{', ...' if len(names) > 10 else ''}."
            )
        positions = [own.index(name) for name in names]
    elif names is not None and len(own) != len(names):
        raise ValueError(
            f"X has {len(own)} columns, but had {len(names)} in fit: {', '.join(names[:10])}."
        )
    if hasattr(X, "columns"):
        return [safe_indexing(X, j, axis=1) for j in positions]
    return list(np.asarray(X).T)


def is_numeric(column):
    """Return whether a column holds numbers or dates, rather than categories."""
    if str(column.dtype).lower().startswith(_CATEGORICAL):
        return False
    try:
        to_float(column)
    except (TypeError, ValueError):
        return False
    return True


def to_float(column):
    """Return a numeric column as float64: NaN for a missing value, seconds for dates and times."""
    values = values_of(column)
    if values.dtype.kind in "mM":
        micro = values.astype(f"{values.dtype.kind}8[us]")
        return np.where(np.isnat(values), np.nan, micro.astype(np.int64) / 1e6)
    if values.dtype.kind == "O" and hasattr(column, "isna"):
        values = column.to_numpy(dtype=object, na_value=np.nan)
    is_text = values.dtype.kind in "UST"
    if is_text or (values.dtype.kind == "O" and any(isinstance(v, str) for v in values)):
        raise TypeError("strings are categories, even if they spell numbers")
    return values.astype(np.float64)


def read_float(column):
    """Return a column that was numeric in `fit` as float64; cells that are no number become NaN."""
    try:
        return to_float(column)
    except (TypeError, ValueError):
        return np.array([_float_or_nan(value) for value in values_of(column)])


def _float_or_nan(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def values_of(column):
    """Return a column as an array; dates with a time zone are converted to UTC."""
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert(None)
    return np.asarray(column)


def to_str(column, missing="nan"):
    """Return a column of categories as an array of str, with one name for all missing values."""
    if hasattr(column, "cat") and hasattr(column, "isna"):
        column = column.astype(object)  # an array would have 1.0 for the integer 1 beside a NaN
    values = column.to_list() if hasattr(column, "to_list") else np.asarray(column).tolist()
    names = (v if isinstance(v, str) else missing if is_missing(v) else str(v) for v in values)
    return np.array(list(names), dtype=str)


def category_names(column):
    """Return a column of categories as `to_str` does, with one name for True, 1 and 1.0."""
    names, position = np.unique(to_str(column), return_inverse=True)
    names = [{"True": "1", "False": "0"}.get(name, name) for name in names.tolist()]
    whole = [name[:-2] if name.endswith(".0") and _is_number(name) else name for name in names]
    return np.array(whole, dtype=str)[position]


def _is_number(text):
    return np.isfinite(_float_or_nan(text))
