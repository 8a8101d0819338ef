"""Check the arguments that a user passes."""

import inspect
import os
import sys
import warnings
from collections.abc import Collection, Mapping
from numbers import Integral

import numpy as np
from scipy.special import bdtrc
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_memory

from .._compat import check_sample_weight, num_samples
from .columns import category_names, column_names, is_frame, own_names
from .in_memory import check_in_memory
from .labels import as_numpy, is_missing, read_labels
from .rows import check_no_loader, is_instance_by_name

# What to type if a classifier, or an array of the user, holds no probabilities.
SCORES_ADVICE = "For scores that are not probabilities, expose them as decision_function."
_ARRAY_ADVICE = (
    "Divide each row by its sum, or convert logits with scipy.special.softmax(logits, axis=1). "
    "Drop rows without probabilities."
)
_ADVICE_FOR_BINARY = (
    "If p is the probability of the second of two classes, pass np.column_stack([1 - p, p])."
)


def warn_caller(message):
    """Warn, and point to the user's line that called a method of this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_inside(module):
    # Functions of contextlib call ours where a context manager decorates them.
    own = f"{__name__.partition('.')[0]}."
    return module == "contextlib" or module.startswith((own, "sklearn.callback"))


def name_of(estimator):
    """Return the name of an estimator for messages: its class, or the module in `as_classifier`."""
    return getattr(estimator, "name_in_messages", type(estimator).__name__)


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


def check_target(y, name):
    """Return class labels for training as one column, or raise.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        One label for each row.
    name : str
        Name of the class that is fitted, for error messages.

    Returns
    -------
    y : ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If y has several labels per row, lacks a label, or is not a target of
        classification.
    """
    if np.ndim(y) > 1 and np.shape(y)[1] > 1:
        raise ValueError(
            f"y is {type_of_target(y)}: only binary and multiclass targets are supported, one "
            f"label per row. {_advice_for_several_labels(y, name)}"
        )
    y = read_labels(y, warn=True)
    _check_no_label_is_missing(
        y, "Drop these rows; to learn from unlabeled rows use SelfTrainingWithMetaErr."
    )
    check_classes(y)
    return y


def _advice_for_several_labels(y, name):
    """Return what to type if y has several columns."""
    columns = np.asarray(as_numpy(y))
    is_one_hot = columns.dtype.kind in "biuf" and np.isin(columns, (0, 1)).all()
    if is_one_hot and (columns.sum(axis=1) == 1).all():
        return "y seems to be one-hot: pass np.asarray(y).argmax(axis=1)."
    return f"For several labels per row fit one {name} per label."


def check_classes(labels):
    """Raise if labels are no classes, as scikit-learn does; name the types of objects."""
    if labels.dtype == object:
        kinds = {type(label).__name__ for label in labels if not isinstance(label, (str, bytes))}
        if kinds:
            kinds |= {type(label).__name__ for label in labels}
            raise ValueError(
                f"y mixes labels of the types {', '.join(sorted(kinds))}, which have no common "
                "order or number format. Give all classes as strings or all as integers."
                if len(kinds) > 1
                else f"y holds labels of the type {kinds.pop()}. Give all classes as strings or "
                "all as integers."
            )
    check_classification_targets(labels)


def check_has_target(y, name):
    """Raise if there is no target."""
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None. Labels in a Dataset given "
            "as X are not used: y=np.array([label for _, label in dataset])."
        )
    check_in_memory(y, "y")
    has_no_rows = isinstance(y, Collection) and not hasattr(y, "__getitem__")  # a set, values()
    if (
        has_no_rows
        or isinstance(y, Mapping)
        or is_instance_by_name(y, "torch.utils.data", ("Dataset", "DataLoader"))
    ):
        raise TypeError(
            f"y must have one label for each row, got a {type(y).__name__}. Pass an array: "
            'y["name"] of a dict, list(y.values()) if it has one label for each row, or '
            "np.array([label for _, label in dataset])."
        )
    is_array_like = hasattr(y, "__len__") or hasattr(y, "__array__")
    if isinstance(y, (str, bytes)) or not is_array_like or getattr(y, "ndim", 1) == 0:
        raise ValueError(
            f"y must have one label for each row, got {y!r}. Pass the labels themselves, for "
            'example the column frame["name"].'
        )


def check_two_classes(labels, name):
    """Raise unless there are labels of two classes."""
    classes = np.unique(labels)
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs labeled samples of at least 2 classes, got one class: {classes!r}, "
            f"n_samples={len(labels)}. Pass rows of another class, too."
        )


def check_labels(y, X):
    """Return class labels for evaluation as one column, or raise if a row of X has none."""
    y = read_labels(y)
    check_in_memory(X)
    check_consistent_length(X, y)
    _check_no_label_is_missing(
        y, "Only labeled rows show whether a prediction is right: drop them."
    )
    return y


def check_predicted_labels(y_pred, classes):
    """Return predicted labels as one column, or raise if a row has none or their type is another.

    A missing label would count as an error.
    """
    check_in_memory(y_pred, "y_pred")
    y_pred = read_labels(y_pred, name="y_pred")
    _check_no_label_is_missing(
        y_pred, "Without a prediction a row is neither right nor wrong: drop it.", name="y_pred"
    )
    check_same_kind(y_pred, classes, "y_pred")
    return y_pred


def check_fold(fold):
    """Return the number of the classifier of each row as one column, or raise if one is missing."""
    if fold is None:
        return None
    fold = read_labels(fold, name="fold")
    _check_no_label_is_missing(
        fold, "Name the classifier that predicted each row, or drop the row.", name="fold"
    )
    return fold


def _check_no_label_is_missing(y, advice, *, name="y"):
    # A missing label equals no label, so every prediction for it would count as an error.
    missing = np.zeros(len(y), dtype=bool)
    if y.dtype.kind == "f":
        missing = ~np.isfinite(y)
    elif y.dtype.kind == "O":
        missing = np.fromiter(map(is_missing, y.tolist()), dtype=bool, count=len(y))
    if missing.any():
        raise ValueError(
            f"{name} contains NaN, inf or None in {missing.sum()} of {len(y)} rows. {advice}"
        )


def check_same_kind(labels, classes, name):
    """Raise if labels are strings and the classes are numbers, or the other way round.

    No label would equal a class, so that every prediction would be an error.
    """
    labels, classes = np.asarray(labels), np.asarray(classes)
    if len(labels) and len(classes) and isinstance(labels[0], str) != isinstance(classes[0], str):
        raise ValueError(
            f"{name} holds labels like {labels[:1].tolist()[0]!r}, but the classes are "
            f"{classes[:5].tolist()}{'...' if len(classes) > 5 else ''}. Give labels of the same "
            "type, not their positions or names."
        )


def check_true_labels(y, classes):
    """Raise if true labels are of another type than the classes; warn if none is a class."""
    check_same_kind(y, classes, "y")
    own = np.asarray(classes).tolist()
    if len(y) and own and not set(y.tolist()) & set(own):
        warn_caller(
            f"No label in y is a class of the estimator: y holds labels like "
            f"{y[:1].tolist()[0]!r}, the classes are {own[:5]}{'...' if len(own) > 5 else ''}. "
            "Every prediction counts as an error. Give y as the estimator was given it."
        )


class OutputError(ValueError):
    """Raised if a classifier does not return class probabilities, nor scores for each class."""


def is_distribution(proba):
    """Return which rows are non-negative, finite and sum to 1 within 2 %."""
    sums = proba.sum(axis=1)
    is_positive = proba.min(axis=1, initial=0) >= -1e-6
    return np.isfinite(sums) & (np.abs(sums - 1) <= 0.02) & is_positive


def _advice_for_one_column(proba):
    first = np.asarray(proba, dtype=object)[0]
    if isinstance(first, Mapping):
        return "From dicts of class names: pass pandas.DataFrame(proba)."
    if isinstance(first, str):
        return (
            "If only the predicted labels are known, and no probabilities, pass "
            "(np.asarray(labels)[:, None] == np.unique(y)).astype(float)."
        )
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
    check_in_memory(proba, name)
    shape = np.shape(proba)
    if len(shape) != 2 and shape != (0,):
        advice = f" {_advice_for_one_column(proba)}" if len(shape) == 1 else ""
        raise ValueError(
            f"{name} must have shape (n_samples, n_classes), got {shape}. Pass one column for each "
            f"class.{advice}"
        )
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


def check_weights(sample_weight, X):
    """Return weights as an array: one for each row of X, none negative, at least one positive."""
    check_in_memory(sample_weight, "sample_weight")
    values = np.asarray(sample_weight)
    if values.size and not values.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, got only 0. Give some rows "
            "a weight above 0, or leave sample_weight out."
        )
    return check_sample_weight(sample_weight, X, ensure_non_negative=True)


def check_groups(groups):
    """Return groups as one column, or raise if a row has none or they cannot be sorted."""
    if groups is None:
        return None
    groups = read_labels(groups, name="groups")
    missing = np.fromiter(map(is_missing, groups.tolist()), dtype=bool, count=len(groups))
    if missing.any():
        raise ValueError(
            f"groups must name the group of every row, got None or NaN in {missing.sum()} of "
            f"{len(groups)} rows, row {np.argmax(missing)} the first. Drop these rows, or give "
            "each of them a group of its own."
        )
    distinct(groups, "groups")
    return groups


def distinct(values, name):
    """Return the sorted values without repetitions, or raise if values have no order."""
    try:
        return np.unique(values)
    except TypeError as error:
        kinds = sorted({type(value).__name__ for value in values.tolist()})
        raise TypeError(
            f"{name} must be of one type, got {' and '.join(kinds)}, which have no order. Make "
            "them one type, for example all of them strings."
        ) from error


def check_has_rows(X, net):
    """Raise if X has no row, because skorch's own message is hard to understand."""
    check_no_loader(X)
    if hasattr(X, "__len__") and num_samples(X) == 0:
        raise ValueError(
            f"X has 0 sample(s), while a minimum of 1 is required by "
            f"{name_of(net)}. Give at least one row."
        )


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


def check_is_error(is_error):
    """Return is_error as one column of bool, or raise if it has values other than 0 and 1."""
    check_in_memory(is_error, "is_error")
    is_error = column_or_1d(np.asarray(is_error))
    if is_error.dtype == bool:
        return is_error
    is_boolean = np.isin(is_error, [0, 1])
    if not is_boolean.all():
        raise ValueError(
            "is_error must be True where the classifier is wrong and False elsewhere, got values "
            f"such as {is_error[~is_boolean][0]!r}. Compute it as y_pred != y_true."
        )
    return is_error.astype(bool)


def as_columns(features, n_samples, name):
    """Return meta-features as a matrix of float, or raise unless each sample has one row."""
    features = np.asarray(as_numpy(features), dtype=float)
    features = features[:, None] if features.ndim == 1 else features
    if features.ndim != 2 or len(features) != n_samples:
        raise ValueError(
            f"{name} must return one row of numbers per sample, got shape {features.shape} for "
            f"{n_samples} samples."
        )
    return features


def warn_if_y_pred_lacks(n_not_argmax):
    """Warn if some predicted labels in fit were not the most probable class, and y_pred is None."""
    if n_not_argmax:
        warn_caller(
            f"y_pred is missing. In fit, {n_not_argmax} predicted labels were not the most "
            "probable class; now the most probable class is taken for the prediction of each row. "
            "Pass y_pred= with the predicted labels, as in fit."
        )


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
