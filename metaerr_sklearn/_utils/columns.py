"""Read the columns of a table by their values: numbers, dates, times, vectors and categories."""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from numbers import Real

import numpy as np

from .._compat import safe_indexing
from . import limits
from .labels import as_list, as_numpy, as_objects, is_missing

# A column holds categories if the name of its dtype, in any library, begins with one of these. Its
# values do not decide this, because all of them may be missing.
_CATEGORICAL = (
    "bool",
    "categor",
    "dictionary",
    "enum",
    "large_str",
    "str",  # also struct
    "utf8",
)
# The categories under these dtypes may be dates.
_ENCODED = ("categor", "dictionary")
_SPANS = (time, timedelta, np.timedelta64)


class Columns:
    """The columns of a table, and how to read other tables alike.

    Each value of a column decides, not the dtype under which a library stores it. Dates, for
    example, may be objects in pandas, ``date32`` in pyarrow and ``Date`` in polars.

    Parameters
    ----------
    X : frame of any library, or array of shape (n_samples, n_columns)
        Columns.

    Attributes
    ----------
    names : list of str
        Names of the columns of X.

    parts : list of (name, kind)
        What `read` returns. The kind is "number", "date", "span" (a length of time, or a time of
        day), "category" or "vector". A column of short vectors has one part of numbers for each
        component, named "column[0]", "column[1]", ...

    left_out : dict of str to str
        Why a column has no part, by its name.
    """

    def __init__(self, X):
        self.names = column_names(X)
        self.parts, self.left_out, self._kinds = [], {}, []
        for name, column in zip(self.names, columns_of(X)):
            kind, width, reason = _find_kind(column)
            self._kinds.append((kind, width))
            if reason is not None:
                self.left_out[name] = reason
            elif kind == "vector" and width <= limits.MAX_COLUMNS:
                self.parts += [(f"{name}[{j}]", "number") for j in range(width)]
            else:
                self.parts.append((name, kind))

    def are_numbers(self):
        """Return whether each column holds single numbers."""
        return all(kind == "number" for kind, _ in self._kinds)

    def read(self, X, missing="nan"):
        """Read the columns of a table with the same columns.

        Parameters
        ----------
        X : frame or array
            Columns, read by name if the frame in `__init__` had distinct names, else by position.
        missing : str, default="nan"
            Name of the category of missing values.

        Returns
        -------
        values : list of ndarrays of shape (n_samples,) or (n_samples, n_components)
            One array for each of `parts`. Categories are str. All else is float64: NaN for a
            missing value, seconds for dates and spans, a matrix for "vector". A value that is not
            of the kind of the column is missing.
        """
        arrays = []
        for (kind, width), column in zip(self._kinds, columns_of(X, self.names)):
            if kind == "category":
                arrays.append(to_str(column, missing))
            elif kind is not None:
                values = _read_numbers(column, kind, width)
                arrays += (
                    list(values.T) if values.ndim > 1 and width <= limits.MAX_COLUMNS else [values]
                )
        return arrays


def is_frame(X):
    """Return whether X has named columns: a frame of pandas or polars, a table of pyarrow."""
    return hasattr(X, "columns")


def own_names(X):
    """Return the names of the columns of a frame, which need not be texts."""
    # The columns of a pyarrow table are arrays.
    return list(getattr(X, "column_names", X.columns))


def column_names(X):
    """Return the names of the columns of a frame as str, or x0, x1, ... for an array."""
    if is_frame(X):
        return [str(name) for name in own_names(X)]
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
    if names is not None and is_frame(X) and len(set(names)) == len(names):
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
            f"X has {len(own)} columns, but had {len(names)} in fit: {', '.join(names[:10])}. "
            "Pass these columns, in this order."
        )
    if hasattr(X, "column_names"):
        return [X.column(j) for j in positions]
    if is_frame(X):
        return [safe_indexing(X, j, axis=1) for j in positions]
    return list(np.asarray(as_numpy(X)).T)


def _find_kind(column):
    """Return the kind of a column, the width of its values, and a reason to leave it out."""
    dtype = getattr(column, "dtype", getattr(column, "type", None))
    dtype = str(dtype).lower()
    if dtype.startswith(_CATEGORICAL) and not dtype.startswith(_ENCODED):
        return "category", 1, None
    values = _values_of(column)
    kind = {"M": "date", "m": "span", "O": "category"}.get(values.dtype.kind, "number")
    if kind in ("date", "span"):
        return kind, 1, None
    if dtype.startswith(_CATEGORICAL) or values.dtype.kind not in "fiuO":
        return "category", 1, None
    if values.ndim > 1:
        return "vector", values.shape[1], None
    reason = _why_no_categories(values) if kind == "category" else None
    return (None if reason else kind), 1, reason


def _why_no_categories(values):
    """Return why objects are no categories, or None."""
    objects = [v for v in values if not isinstance(v, (str, bytes)) and not is_missing(v)]
    types = set(map(type, objects))
    name = " or ".join(sorted(cls.__name__ for cls in types))
    if any(map(_has_no_text, types)):
        return f"its values are objects of type {name}, which are no numbers, dates or texts"
    are_nested = len(objects) > 1 and all(hasattr(cls, "__len__") for cls in types)
    if are_nested and len(set(map(text_of, objects))) == len(objects):
        return f"its values are of type {name}, and no value repeats"
    return None


def _has_no_text(cls):
    """Return whether the text of an object is only its address, so that equal objects differ."""
    return cls.__str__ is object.__str__ and cls.__repr__ is object.__repr__


def convertible(column):
    """Return a column of a frame of any library in a form that `numpy.asarray` converts."""
    dtype = getattr(column, "dtype", None)
    if getattr(dtype, "tz", None) is not None:
        return column.dt.tz_convert(None)
    if hasattr(dtype, "pyarrow_dtype"):
        return column.array.__arrow_array__()  # pyarrow has more types than pandas' own arrays
    if str(dtype).lower().endswith("int128"):  # NumPy has no integers of this size
        return as_objects(as_list(column))
    return column


def _values_of(column):
    """Return a column as an array: of numbers or times if all its values are, else of objects."""
    column = convertible(column)
    values = np.asarray(column)
    if values.dtype.kind == "c":
        return np.stack([values.real, values.imag], axis=1)
    if values.ndim > 1:
        return values.reshape(len(values), -1)
    if values.dtype.kind != "O":
        return values
    values = [None if is_missing(value) else value for value in as_list(column)]
    types = {type(value) for value in values if value is not None}
    if types and all(issubclass(cls, (bool, np.bool_)) for cls in types):
        return as_objects(values)
    if types and all(issubclass(cls, _SPANS) for cls in types):
        # NumPy's spans are also integers.
        return np.array([_to_span(value) for value in values], dtype="m8[us]")
    if all(issubclass(cls, (Real, Decimal, np.bool_)) for cls in types):
        return np.array([np.nan if value is None else float(value) for value in values])
    if all(map(_is_date, types)):
        return np.array([_to_date(value) for value in values], dtype="M8[us]")
    matrix = None if str in types else _as_matrix(values)
    return as_objects(values) if matrix is None else matrix


def _is_date(cls):
    # pandas.Period is no date, but has this method.
    return issubclass(cls, (date, np.datetime64)) or hasattr(cls, "to_timestamp")


def _to_date(value):
    """Return a date without a time zone, in UTC."""
    value = value.to_timestamp() if hasattr(value, "to_timestamp") else value
    if getattr(value, "tzinfo", None) is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return value


def _to_span(value):
    """Return a span of time; for a time of day, that since midnight."""
    if isinstance(value, time):
        return datetime.combine(date.min, value.replace(tzinfo=None)) - datetime.min
    return value


def _as_matrix(values):
    """Return vectors of one length as a matrix, with NaN for a missing vector; None for others."""
    known = [value is not None for value in values]
    try:
        vectors = np.stack([_as_array(value) for value in values if value is not None])
        if vectors.ndim < 2 or vectors.size == 0 or _holds_texts(vectors):
            return None
        matrix = np.full((len(values), vectors[0].size), np.nan)
        matrix[known] = vectors.reshape(len(vectors), -1).astype(np.float64)
    except (RuntimeError, TypeError, ValueError):  # of different lengths; no numbers; on a GPU
        return None
    return matrix


def _as_array(value):
    """Return a value of any depth as an array; pyarrow makes an array of arrays of a matrix."""
    array = np.asarray(value)
    return np.array(array.tolist()) if array.dtype == object else array


def _holds_texts(vectors):
    return vectors.dtype.kind not in "fiubO" or any(
        isinstance(value, (str, bytes)) for value in vectors.ravel() if vectors.dtype.kind == "O"
    )


def _read_numbers(column, kind, width):
    """Return a column as float64; a value that is not of the kind of the column becomes NaN."""
    values = _values_of(column)
    if kind == "vector":
        if values.shape[1:] == (width,):
            return values.astype(np.float64)
        return np.array([_vector_or_nan(value, width) for value in values])
    kinds, convert = _READERS[kind]
    if values.dtype.kind not in kinds:
        values = np.array([convert(value) for value in values])
    if values.dtype.kind in "mM":
        micro = values.astype(f"{values.dtype.kind}8[us]")
        return np.where(np.isnat(values), np.nan, micro.astype(np.int64) / 1e6)
    return values.astype(np.float64)


def _float_or_nan(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _date_or_nat(value):
    if isinstance(value, str):  # the text of a date is a date; NumPy reads no time zone
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    is_date = isinstance(value, str) or _is_date(type(value))
    try:
        return np.datetime64(_to_date(value) if is_date else None, "us")
    except ValueError:
        return np.datetime64("NaT", "us")


def _span_or_nat(value):
    is_span = isinstance(value, _SPANS)
    return np.timedelta64(_to_span(value) if is_span else None, "us")


#: For each kind of column, the kinds of NumPy's dtypes that are read as they are, and how else a
#: value is read.
_READERS = {
    "number": ("fiub", _float_or_nan),
    "date": ("M", _date_or_nat),
    "span": ("m", _span_or_nat),
}


def _vector_or_nan(value, width):
    matrix = _as_matrix([value])
    if matrix is None or matrix.shape[1] != width:
        return np.full(width, np.nan)
    return matrix[0]


def to_str(column, missing="nan"):
    """Return a column of categories as an array of str, with one name for all missing values."""
    if hasattr(column, "cat") and hasattr(column, "isna"):
        column = column.astype(object)  # an array would have 1.0 for the integer 1 beside a NaN
    values = as_list(column)
    names = (v if isinstance(v, str) else missing if is_missing(v) else text_of(v) for v in values)
    return np.array(list(names), dtype=str)


def text_of(value):
    """Return the text of a value; unlike `str`, without gaps in that of a long array."""
    value = as_numpy(value)
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def category_names(names):
    """Return names of categories with one name for True, 1 and 1.0."""
    names, position = np.unique(names, return_inverse=True)
    names = [{"True": "1", "False": "0"}.get(name, name) for name in names.tolist()]
    whole = [name[:-2] if name.endswith(".0") and _is_number(name) else name for name in names]
    return np.array(whole, dtype=str)[position]


def _is_number(text):
    return np.isfinite(_float_or_nan(text))
