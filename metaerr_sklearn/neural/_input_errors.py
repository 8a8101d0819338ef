"""Explain torch's errors about inputs that do not fit a module."""

import re
from contextlib import contextmanager

from .._utils.rows import as_array, is_lazy

# The words by which torch's errors name a dtype.
_WORDS = {
    "uint8": "Byte|unsigned char",
    "int8": "Char|signed char",
    "int16": "Short|short int|short",
    "int32": "Int|int",
    "int64": "Long|long int|long long",
    "bool": "Bool|bool",
    "float32": "Float|float",
    "float64": "Double|double",
}
_ABOUT_DTYPES = r"Input type|same d\w*type|scalar type|not implemented for|could not infer output"
# How torch says that the axis of channels has another length than the module expects.
_ABOUT_CHANNELS = (
    r"to have (?P<expected>\d+) channels, but got (?P<given>\d+) channels",
    r"running_mean should contain (?P<given>\d+) elements not (?P<expected>\d+)",
    r"size of tensor a \((?P<given>\d+)\) must match the size of tensor b "
    r"\((?P<expected>\d+)\) at non-singleton dimension 1\b",
)


@contextmanager
def explained_inputs(X, name):
    """Raise, in place of an error of torch, one that says how to convert X, if this explains it.

    Parameters
    ----------
    X : array, tensor or SliceDataset
        Inputs of the module. For any other input, only errors about the size of a batch are
        explained.
    name : str
        Name of the net, for the message.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # Only the first row of a Dataset is read.
        rows = as_array(X[:1]) if is_lazy(X) else X
        dtype, shape = str(getattr(rows, "dtype", "")), tuple(getattr(rows, "shape", ()))
        advice = _about_dtype(dtype.removeprefix("torch."), str(error), name)
        advice = advice or _about_axes(shape, str(error), name)
        advice = advice or _about_lengths(shape, str(error), name)
        advice = advice or _about_single_row(str(error), name)
        if advice is None:
            raise
        raise ValueError(advice) from error


def _about_dtype(dtype, error, name):
    words = _WORDS.get(dtype)
    if words is None or not re.search(_ABOUT_DTYPES, error):
        return None
    if not re.search(rf"\b({words})(Tensor)?\b", error) and "share same datatype" not in error:
        return None
    if "'indices'" in error:
        return (
            f"X holds {dtype}, but an Embedding of {name} takes int64. Pass "
            'X.astype("int64"), or X.long() of a tensor.'
        )
    if dtype == "float32":
        other = re.search(r"\b(double|half|bfloat16)", error, re.IGNORECASE)
        if other is None:
            return None
        wanted = {"double": "float64", "half": "float16"}.get(other[1].lower(), "bfloat16")
        return (
            f"X holds float32, to which arrays of floats are converted, but {name} computes in "
            f"{wanted}. Pass a tensor, torch.as_tensor(X, dtype=torch.{wanted})."
        )
    scaled = ", scaled as in the training (often / 255)" if dtype == "uint8" else ""
    return (
        f"X holds {dtype}, but {name} computes in another dtype, usually float32. Pass "
        f'X.astype("float32"){scaled}, or X.float() of a tensor.'
    )


def _about_axes(shape, error, name):
    expected, given = _channels_in(error)
    last = len(shape) - 1
    if last < 2:
        return None
    if (shape[1], shape[last]) == (given, expected):
        order, where, wanted = (0, last, *range(1, last)), "the last axis", "the second axis"
    elif (shape[last], shape[1]) == (given, expected):
        order, where, wanted = (0, *range(2, last + 1), 1), "the second axis", "the last axis"
    elif len(shape) == 3 and (expected == 1 or "4D input (got 3D input)" in error):
        return (
            f"X has the shape {_row(shape)} without an axis of channels, but {name} needs one. "
            "Pass X[:, None], or X[None] if X is a single row."
        )
    else:
        return None
    return (
        f"X has the shape {_row(shape)}: its channels seem to be {where}, but {name} takes them "
        f"as {wanted}. Pass X.transpose{order}, or X.permute{order} of a tensor."
    )


def _about_lengths(shape, error, name):
    found = re.search(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x", error)
    if found is None or len(shape) < 2:
        return None
    return (
        f"X has the shape {_row(shape)}, from which a linear layer of {name} gets rows of "
        f"{found[1]} numbers in place of {found[2]}. Give rows of the shape that the module is "
        "made for. If X is a single row, pass X[None]."
    )


def _about_single_row(error, name):
    if "Expected more than 1 value per channel when training" in error:
        return (
            f"A batch of {name} has one row, on which BatchNorm cannot be trained. The number of "
            "rows in a fold decides how many are left for the last batch. Pass "
            "iterator_train__drop_last=True or another batch_size to the net."
        )
    lacks_axis = r"same number of dimensions|size mismatch \(got input: \[\d+\], target: \[1\]\)"
    return without_row_axis(name) if re.search(lacks_axis, error) else None


def without_row_axis(name):
    """Return the message about a module that squeezes a batch of one row."""
    return (
        f"{name} returns outputs without the axis of rows for a batch of one row. Keep this axis: "
        "in place of squeeze() use flatten(1) in forward."
    )


def _channels_in(error):
    """Return how many channels the module expects and how many it was given, if torch says so."""
    for pattern in _ABOUT_CHANNELS:
        found = re.search(pattern, error)
        if found:
            return int(found["expected"]), int(found["given"])
    return None, None


def _row(shape):
    return f"(n_samples, {', '.join(map(str, shape[1:]))})"
