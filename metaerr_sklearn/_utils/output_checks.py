"""Check what classifiers, and functions of the user, return: probabilities, meta-features."""

from collections.abc import Mapping

import numpy as np
from scipy.special import bdtrc
from sklearn.utils import check_array

from .columns import category_names, column_names, is_frame, own_names
from .in_memory import check_numbers
from .labels import as_numpy
from .messages import warn_caller

_ARRAY_ADVICE = (
    "Divide each row by its sum, or convert logits with scipy.special.softmax(logits, axis=1). "
    "Drop rows without probabilities."
)
_ADVICE_FOR_BINARY = (
    "If p is the probability of the second of two classes, pass np.column_stack([1 - p, p])."
)


class OutputError(ValueError):
    """Raised if a classifier does not return class probabilities, nor scores for each class."""


def is_distribution(proba):
    """Return which rows are non-negative, finite and sum to 1 within 2 %."""
    sums = proba.sum(axis=1)
    is_positive = proba.min(axis=1, initial=0) >= -1e-6
    return np.isfinite(sums) & (np.abs(sums - 1) <= 0.02) & is_positive


def _advice_for_no_table(proba):
    first = np.asarray(proba, dtype=object)[0] if np.ndim(proba) else proba
    is_structured = isinstance(proba, np.ndarray) and proba.dtype.names is not None
    if isinstance(first, Mapping) or is_structured:
        return "From columns or dicts by name of the class: pass pandas.DataFrame(proba)."
    if isinstance(first, str):
        return (
            "If only the predicted labels are known, and no probabilities, pass "
            "(np.asarray(labels)[:, None] == np.unique(y)).astype(float)."
        )
    if np.size(first) > 1:
        return "From a column of lists of probabilities: pass np.stack(proba)."
    return _ADVICE_FOR_BINARY


def check_proba(proba, *, name="proba", classes=None, n_classes=None, advice=_ARRAY_ADVICE):
    """Return class probabilities as a float array, or raise.

    Parameters
    ----------
    proba : array-like or frame of shape (n_samples, n_classes)
        Each row non-negative, finite and summing to 1 within 2 %. Rows that miss 1 by more than
        0.1 % are divided by their sum.

    name : str, default="proba"
        Their name in an error message.

    classes : ndarray of shape (n_classes,), default=None
        Sorted classes. The columns of a frame are matched to them by name.

    n_classes : int, default=None
        Expected number of columns; None takes that of `classes`, or accepts any number.

    advice : str
        Last sentences of the error message for rows that are no probabilities.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes), float32 or float64

    Raises
    ------
    ValueError
        If the rows are not probability distributions, or the columns do not fit the classes.
    """
    check_numbers(proba, name)
    shape = np.shape(proba)
    if len(shape) != 2 and shape != (0,):
        advice = f" {_advice_for_no_table(proba)}" if len(shape) < 2 else ""
        raise ValueError(
            f"{name} must have shape (n_samples, n_classes), got {shape}. Pass one column for each "
            f"class.{advice}"
        )
    if hasattr(proba, "coords") and hasattr(proba, "to_pandas"):
        proba = proba.to_pandas()  # the coordinates of an array of xarray may name the classes
    if classes is not None:
        proba, n_classes = _columns_by_class(proba, classes, name), len(classes)
    try:
        proba = check_array(
            as_numpy(proba),
            dtype=[np.float64, np.float32],
            ensure_min_samples=0,
            ensure_all_finite=False,
            input_name=name,
        )
    except (TypeError, ValueError) as error:
        if hasattr(proba, "tocsr"):
            raise  # the message says what to type
        raise ValueError(
            f"{name} must be a table of numbers without gaps: {error}. Convert texts and "
            "percentages to fractions, and drop rows without probabilities."
        ) from error
    if n_classes is not None and proba.shape[1] != n_classes:
        advice = (
            "Order the columns as the sorted class labels. If some classes have no row, pass all "
            "of them, sorted, as classes=."
        )
        raise ValueError(
            f"{name} must have one column per class, got {proba.shape[1]} columns for "
            f"{n_classes} classes. {_ADVICE_FOR_BINARY if proba.shape[1] == 1 else advice}"
        )
    sums, valid = proba.sum(axis=1), is_distribution(proba)
    if not valid.all():
        row = int(np.argmin(valid))
        raise OutputError(
            f"{name} must be class probabilities: every row non-negative and summing to 1. "
            f"Row {row} sums to {sums[row]:.4g} with minimum {proba[row].min():.4g}. {advice}"
        )
    off = np.abs(sums - 1)
    if (off > 1e-3).any():
        # Low precision causes such sums. A smaller deviation than 0.1 % does no harm.
        proba = np.where((off > 1e-3)[:, None], proba / sums[:, None], proba)
    return proba


def _columns_by_class(proba, classes, name):
    """Return the columns of a frame in the order of the classes; other tables as they are."""
    if not is_frame(proba):
        return proba
    positions = class_positions(proba, classes)
    if positions is None:
        raise ValueError(
            f"The columns of {name} are named {column_names(proba)[:10]}, but the classes are "
            f"{[str(label) for label in classes[:10].tolist()]}. Name each column by its class, or "
            f"pass {name}.to_numpy() with one column for each of the sorted classes. If some "
            "classes have no row, pass all of them, sorted, as classes=."
        )
    return np.asarray(proba)[:, positions]


def class_positions(frame, classes):
    """Return the position of the column of each class in a frame; None if the names are others.

    Columns without names have the order of the classes.
    """
    columns, wanted = column_names(frame), [str(label) for label in classes.tolist()]
    if classes.dtype.kind in "biuf":  # the label 1.0 may be named 1
        columns, wanted = (category_names(names).tolist() for names in (columns, wanted))
    n_columns = range(len(columns))
    is_match = sorted(columns) == sorted(wanted) and len(set(columns)) == len(columns)
    if columns in ([f"{j}" for j in n_columns], [f"column_{j}" for j in n_columns]):
        # Libraries give such names to columns without names. But names that are texts are the
        # classes if the classes are the same texts, which have another order: "0", "1", "10", "2".
        first = own_names(frame)[0]
        if not (is_match and isinstance(first, str)):
            return list(n_columns)
    return [columns.index(name) for name in wanted] if is_match else None


def as_columns(features, n_samples, name):
    """Return meta-features as a matrix of float, or raise unless each sample has one row."""
    features = np.array(as_numpy(features), dtype=float)  # its owner may use the memory again
    features = features[:, None] if features.ndim == 1 else features
    if features.ndim != 2 or len(features) != n_samples:
        raise ValueError(
            f"{name} must return one row of numbers per sample, got shape {features.shape} for "
            f"{n_samples} samples."
        )
    return features


def warn_if_worse_than_guessing(is_error, n_classes, advice):
    """Warn if predictions are wrong more often than guesses would be, beyond chance.

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where a prediction is wrong.
    n_classes : int
        Number of labels that are predicted.
    advice : str
        How to name the labels.
    """
    n_samples, n_errors, guessing = len(is_error), int(np.sum(is_error)), 1 - 1 / n_classes
    if n_samples and bdtrc(n_errors - 1, n_samples, guessing) < 0.001:
        warn_caller(
            f"{n_errors / n_samples:.0%} of the {n_samples} predictions are wrong; guesses among "
            f"{n_classes} classes are wrong in {guessing:.0%}. The outputs may stand for other "
            f"labels than those in y. {advice}"
        )
