"""Checks of what the user gives."""

import sys
import warnings

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from .._compat import check_sample_weight, num_samples


def warn_caller(message):
    """Warn the user where a method of ours was called, whatever decorators lie between."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module):
    return module.startswith((f"{__name__.partition('.')[0]}.", "sklearn.callback"))


def check_labels(y, X):
    """Return true labels as one column if each row of X has one, or raise.

    A missing label equals nothing, and every prediction for it would count as an error.
    """
    y = column_or_1d(y)
    check_consistent_length(X, y)
    if y.dtype.kind in "fO":
        missing = np.fromiter(map(is_missing, y.tolist()), dtype=bool, count=len(y))
        if missing.any():
            raise ValueError(
                f"y contains None or NaN in {missing.sum()} of {len(y)} rows. Whether a prediction "
                "is right shows on labeled rows alone: drop the others."
            )
    return y


def check_same_kind(labels, classes, name):
    """Raise where labels are texts and the classes numbers, or the other way round.

    None of them could be met, and every prediction would count as an error.
    """
    labels, classes = np.asarray(labels), np.asarray(classes)
    if len(labels) and len(classes) and isinstance(labels[0], str) != isinstance(classes[0], str):
        raise ValueError(
            f"{name} holds labels like {labels[:1].tolist()[0]!r}, but the classes are "
            f"{classes[:5].tolist()}{'...' if len(classes) > 5 else ''}. Give labels of the same "
            "type, not their positions or names."
        )


def check_proba(proba, *, name="proba", n_classes=None):
    """Return class probabilities as a float array, or say what is wrong with them.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Each row non-negative, finite and summing to 1 within 1e-3.

    name : str, default="proba"
        What to call them in an error message.

    n_classes : int, default=None
        Expected number of columns; None accepts any number.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes), float32 or float64

    Raises
    ------
    ValueError
        If the rows are not probability distributions.
    """
    proba = check_array(
        proba,
        dtype=[np.float64, np.float32],
        ensure_min_samples=0,
        ensure_all_finite=False,
        input_name=name,
    )
    if n_classes is not None and proba.shape[1] != n_classes:
        raise ValueError(
            f"{name} must have one column per class, got {proba.shape[1]} columns for "
            f"{n_classes} classes. Order the columns as the sorted class labels."
        )
    sums = proba.sum(axis=1)
    valid = np.isfinite(sums) & (np.abs(sums - 1) <= 1e-3) & (proba.min(axis=1, initial=0) >= -1e-6)
    if not valid.all():
        row = int(np.argmin(valid))
        raise ValueError(
            f"{name} must be class probabilities: every row non-negative and summing to 1. "
            f"Row {row} sums to {sums[row]:.4g} with minimum {proba[row].min():.4g}. A network "
            "needs a softmax: with skorch use criterion=torch.nn.CrossEntropyLoss on raw logits, "
            "or end the module in Softmax for NLLLoss; for scores that are not probabilities, "
            "expose them as decision_function."
        )
    return proba


def check_fraction(value, name, *, closed="right"):
    """Raise unless value is a number in (0, 1], or in (0, 1) with closed="neither"."""
    is_number = np.isscalar(value) and not isinstance(value, (str, bool))
    inside = is_number and (0 < value <= 1 if closed == "right" else 0 < value < 1)
    if not inside:
        interval = "(0, 1]" if closed == "right" else "(0, 1)"
        raise ValueError(
            f"{name} must be a fraction in {interval}, got {value!r}. For 85 % pass 0.85, not 85."
        )


def check_weights(sample_weight, X):
    """Return weights as an array, one for each row of X: none below 0, not all of them 0."""
    values = np.asarray(sample_weight)
    if values.size and not values.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, got only 0. Give some rows "
            "a weight above 0, or leave sample_weight out."
        )
    return check_sample_weight(sample_weight, X, ensure_non_negative=True)


def check_groups(groups):
    """Return groups as one column if each row has one and sorting tells them apart, or raise."""
    if groups is None:
        return None
    groups = column_or_1d(groups)
    missing = np.fromiter(map(is_missing, groups.tolist()), dtype=bool, count=len(groups))
    if missing.any():
        raise ValueError(
            f"groups must name the group of every row, got None or NaN in {missing.sum()} of "
            f"{len(groups)} rows, row {np.argmax(missing)} the first. Drop these rows, or give "
            "each of them a group of its own."
        )
    try:
        np.unique(groups)
    except TypeError as error:
        kinds = sorted({type(group).__name__ for group in groups.tolist()})
        raise TypeError(
            f"groups must be of one type, got {' and '.join(kinds)}, which have no order. Make "
            "them one type, for example all of them strings."
        ) from error
    return groups


def is_missing(label):
    """Tell whether a label is None, NaN or another missing value, which never equal themselves."""
    try:
        return label is None or bool(label != label)
    except TypeError:  # pandas.NA
        return True


def check_has_rows(X, net):
    """Raise where X has no row: skorch asks for "at least one array to concatenate" then."""
    if hasattr(X, "__len__") and num_samples(X) == 0:
        raise ValueError(
            f"X has 0 sample(s), while a minimum of 1 is required by "
            f"{type(net).__name__}. Give at least one row."
        )
