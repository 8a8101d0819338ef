"""Check the parameters that a user passes."""

import inspect
import os
from numbers import Integral

import numpy as np
from sklearn.utils.validation import check_memory

from .rows import is_instance_by_name


def is_word(value, word):
    """Return whether a parameter is this word; an array or frame would be compared by its cells."""
    return isinstance(value, str) and value == word


def check_not_a_module(estimator):
    """Raise if an estimator is a PyTorch module, which has neither fit nor predict."""
    if is_instance_by_name(estimator, "torch.nn", "Module"):
        name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
        raise TypeError(
            f"{name} is a PyTorch module, not a classifier. If it is trained already, use "
            "metaerr_sklearn.neural.as_classifier(module) and rows that are new to it. To train "
            "it, wrap it: NeuralNetClassifier(module, criterion=torch.nn.CrossEntropyLoss). A "
            "skorch net with trained weights is FrozenEstimator(net.initialize())."
        )


def check_fraction(value, name, *, closed="right"):
    """Raise unless value is a number from 0 to 1; `closed` names the ends that are allowed."""
    is_number = np.isscalar(value) and not isinstance(value, (str, bool))
    inside = is_number and (
        0 < value < 1 or (value == 1 and closed != "neither") or (value == 0 and closed == "both")
    )
    if not inside:
        interval = {"neither": "(0, 1)", "right": "(0, 1]", "both": "[0, 1]"}[closed]
        is_percentage = is_number and 1 < value <= 100
        advice = f" For {value:g} % pass {value / 100:g}, not {value:g}." if is_percentage else ""
        raise ValueError(f"{name} must be a fraction in {interval}, got {value!r}.{advice}")


def check_n_jobs(n_jobs):
    """Raise unless n_jobs is None or an integer other than 0, which joblib finds out late."""
    is_integer = isinstance(n_jobs, Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (is_integer and n_jobs):
        raise ValueError(
            f"n_jobs must be None or an integer other than 0, got {n_jobs!r}. Pass 2 for two "
            "threads or processes, -1 for one on each core."
        )


def check_memory_parameter(memory):
    """Return a joblib.Memory, or None; scikit-learn's check does not take paths."""
    if memory is None:
        return None
    return check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)


def check_arguments(function, name, form, advice, /, *args, **kwargs):
    """Raise before any fit if a function of the user does not take these arguments.

    Parameters
    ----------
    function : callable
        Not called.
    name : str
        Name of the function, for the message.
    form : str
        The call, for the message.
    advice : str
        What to type instead, as further sentences, or "".
    *args, **kwargs : any
        Arguments; their values do not matter.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions of other languages have none
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        message = f"{name} is called as {form}, which its arguments {signature} do not allow: "
        raise TypeError(" ".join(filter(None, (f"{message}{error}.", advice)))) from error
