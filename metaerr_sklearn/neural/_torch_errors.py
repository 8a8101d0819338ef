"""Explain torch's errors about inputs that do not fit a module, and about its criterion."""

import re
import traceback
from collections.abc import Mapping
from contextlib import contextmanager

import numpy as np

from .._utils.labels import as_numpy
from .._utils.rows import as_array, is_lazy

# The words by which torch's errors name a dtype.
_WORDS = {
    "uint8": "Byte|unsigned char",
    "int8": "Char|signed char",
    "int16": "Short|short int|short",
    "int32": "Int|int",
    "int64": "Long|long int|long long",
    "uint16": "UInt16|short unsigned int|unsigned short",
    "uint32": "UInt32|unsigned int",
    "uint64": "UInt64|long unsigned int|unsigned long",
    "bool": "Bool|bool",
    "float16": "Half|c10::Half",
    "bfloat16": "BFloat16|c10::BFloat16",
    "float32": "Float|float",
    "float64": "Double|double",
    "complex64": "ComplexFloat|c10::complex<float",
    "complex128": "ComplexDouble|c10::complex<double",
}
_ABOUT_DTYPES = r"Input type|same d\w*type|scalar type|not implemented for|could not infer output"
# How torch says that the axis of channels has another length than the module expects.
_ABOUT_CHANNELS = (
    r"to have (?P<expected>\d+) channels, but got (?P<given>\d+) channels",
    r"must be equal to input_size\. Expected (?P<expected>\d+), got (?P<given>\d+)",
    r"running_mean should contain (?P<given>\d+) elements not (?P<expected>\d+)",
    r"size of tensor a \((?P<given>\d+)\) must match the size of tensor b "
    r"\((?P<expected>\d+)\) at non-singleton dimension 1\b",
)


# The axes of a batch after those of rows and channels, by the number of axes that a layer takes.
_AXES = {3: "length", 4: "height, width", 5: "depth, height, width"}


@contextmanager
def explained_inputs(X, name):
    """Raise, in place of an error of torch, one that says what to change, if this explains it.

    Parameters
    ----------
    X : array, tensor, SliceDataset or dict of inputs
        Inputs of the module. For any other input, only errors about the size of a batch and about
        the criterion are explained.
    name : str
        Name of the net, for the message.
    """
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        if getattr(error, "is_explained", False):  # `as_classifier` explains them too
            raise
        # Only the first row of a Dataset is read.
        rows = as_array(X[:1]) if is_lazy(X) else X
        advice = _advice(rows, error, name)
        if advice is None:
            raise
        explained = (TypeError if isinstance(error, TypeError) else ValueError)(advice)
        explained.is_explained = True
        raise explained from error


def _advice(X, error, name):
    """Return a message that says what to change, or None."""
    text = str(error)
    if any(frame.name == "get_loss" for frame in traceback.extract_tb(error.__traceback__)):
        return _about_criterion(text, name) or _about_single_row(text, name)
    if isinstance(error, TypeError):
        return _about_names(X, text, name) or _about_weight(text)
    if re.search(r"Guard failed: .*size\(\)|Expected input at .*shape", text):
        return (
            f"{name} was exported for rows or batches of one size only ({text}). Export it with a "
            "free number of rows: torch.export.export(module, args, dynamic_shapes=({0: "
            'torch.export.Dim("n_rows")},)).'
        )
    inputs = {f"X[{key!r}]": X[key] for key in X} if isinstance(X, Mapping) else {"X": X}
    for what, value in inputs.items():
        dtype, shape = str(getattr(value, "dtype", "")), tuple(getattr(value, "shape", ()))
        advice = (
            _about_dtype(what, dtype.removeprefix("torch."), text, name)
            or _about_axes(what, shape, text, name)
            or _about_lengths(what, shape, text, name)
            or _about_ids(what, value, text, name)
        )
        if advice is not None:
            return advice
    return _about_single_row(text, name)


def _about_names(X, error, name):
    if not re.search(r"forward\(\) (got an unexpected keyword|missing \d+ required)", error):
        return None
    if isinstance(X, Mapping):
        return (
            f"X has the inputs {', '.join(map(repr, X))}, which do not fit the module of {name}: "
            f"{error.split('.')[-1]}. The keys of X must be the names of the arguments of forward."
        )
    return (
        f"The module of {name} takes several inputs: {error.split('.')[-1]}. Pass X as a dict of "
        "arrays by name of the argument of forward, or a Dataset whose rows are such dicts."
    )


def _about_weight(error):
    found = re.search(r"cannot assign '\S+' object to buffer '(\w*weight)'", error)
    if found is None:
        return None
    return (
        f"criterion__{found[1]} must be a tensor. Pass torch.as_tensor({found[1]}, "
        "dtype=torch.float32)."
    )


def _about_criterion(error, name):
    if re.search("found Double|Double but found|double", error):
        return (
            f"The criterion of {name} holds float64, usually in its weight, but the outputs are "
            "float32. Pass criterion__weight=torch.as_tensor(weight, dtype=torch.float32)."
        )
    returned = re.search(r"argument 'input' \(position 1\) must be Tensor, not (\w+)", error)
    if returned is not None:
        return (
            f"The module of {name} returns a {returned[1]}, but its criterion takes a tensor. Let "
            "forward return the logits alone, for example in a module around yours: "
            "return self.module(**inputs).logits."
        )
    if re.search("Target size|result type Float can't be cast|floating point type for", error):
        return (
            f"The criterion of {name} does not take numbers of classes. Use "
            "criterion=torch.nn.CrossEntropyLoss, with one output unit for each class, or "
            "skorch.NeuralNetBinaryClassifier if the module has a single output."
        )
    return None


def _about_dtype(what, dtype, error, name):
    words = _WORDS.get(dtype)
    if words is None or not re.search(_ABOUT_DTYPES, error):
        return None
    if not re.search(rf"\b({words})(Tensor)?\b", error) and "share same datatype" not in error:
        return None
    if "'indices'" in error:
        return (
            f"{what} holds {dtype}, but an Embedding of {name} takes int64. Pass "
            f'{what}.astype("int64"), or {what}.long() of a tensor.'
        )
    if dtype == "float32":
        other = re.search(r"\b(double|half|bfloat16)", error, re.IGNORECASE)
        if other is None:
            return None
        wanted = {"double": "float64", "half": "float16"}.get(other[1].lower(), "bfloat16")
        return (
            f"{what} holds float32, to which arrays of floats are converted, but {name} computes "
            f"in {wanted}. Pass a tensor, torch.as_tensor({what}, dtype=torch.{wanted})."
        )
    if dtype.startswith("complex"):
        return (
            f"{what} holds {dtype}, but {name} computes with real numbers. Pass the parts that it "
            f"was made for, for example np.abs({what}), or real and imaginary part as channels."
        )
    scaled = {"uint8": 255, "uint16": 65535}.get(dtype)
    scaled = "" if scaled is None else f", scaled as in the training (often / {scaled})"
    return (
        f"{what} holds {dtype}, but {name} computes in another dtype, usually float32. Pass "
        f'{what}.astype("float32"){scaled}, or {what}.float() of a tensor.'
    )


def _about_axes(what, shape, error, name):
    expected, given = _channels_in(error)
    last = len(shape) - 1
    lacks_axis = (
        f"{what} has the shape {_row(shape)} without an axis of channels, but {name} needs one. "
        f"Pass {what}[:, None], or {what}[None] if {what} is a single row."
    )
    taken = re.search(r"\(unbatched\) or (\d)D \(batched\) input to (conv\dd)", error)
    if taken is not None and len(shape) > 1 and len(shape) + 1 != int(taken[1]):
        axes = _AXES[int(taken[1])]
        return (
            f"{what} has the shape {_row(shape)}, but a {taken[2]} of {name} takes the axes "
            f"(n_samples, channels, {axes}). Pass "
            f"{what}.reshape(len({what}), channels, {axes})."
        )
    # A batch of (n, ...) without channels is taken for a single row of n channels.
    batch = re.search(r"expected input\[1, \d+, ([\d, ]+)\]", error)
    if batch is not None and expected == 1 and batch[1] == ", ".join(map(str, shape[1:])):
        return lacks_axis
    if last < 2:
        return None
    if (shape[1], shape[last]) == (given, expected):
        order, where, wanted = (0, last, *range(1, last)), "the last axis", "the second axis"
    elif (shape[last], shape[1]) == (given, expected):
        order, where, wanted = (0, *range(2, last + 1), 1), "the second axis", "the last axis"
    elif len(shape) == 3 and (expected == 1 or "4D input (got 3D input)" in error):
        return lacks_axis
    else:
        return None
    return (
        f"{what} has the shape {_row(shape)}: its channels seem to be {where}, but {name} takes "
        f"them as {wanted}. Pass {what}.transpose{order}, or {what}.permute{order} of a tensor."
    )


def _about_lengths(what, shape, error, name):
    found = re.search(r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x", error)
    if found is None or len(shape) < 2:
        return None
    return (
        f"{what} has the shape {_row(shape)}, from which a linear layer of {name} gets rows of "
        f"{found[1]} numbers in place of {found[2]}. Give rows of the shape that the module is "
        f"made for. If {what} is a single row, pass {what}[None]."
    )


def _about_ids(what, value, error, name):
    if not re.search("index out of range in self|takes value .* not in the valid range", error):
        return None
    values = np.asarray(as_numpy(value)) if hasattr(value, "dtype") else np.empty(0)
    if values.dtype.kind not in "iu" or not values.size:
        return None
    return (
        f"{what} holds the ids {values.min()} to {values.max()}, but an Embedding of {name} has "
        "fewer entries: it takes the ids 0 to num_embeddings - 1. Give it more entries, or replace "
        "the ids that it does not have, such as those of padding."
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
