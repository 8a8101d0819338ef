"""Check labels, groups and other values that belong to each row."""

from collections.abc import Collection, Mapping

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from .in_memory import check_in_memory
from .labels import as_numpy, is_missing, read_labels
from .messages import warn_caller
from .rows import is_instance_by_name


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


def warn_if_y_pred_lacks(n_not_argmax):
    """Warn if some predicted labels in fit were not the most probable class, and y_pred is None."""
    if n_not_argmax:
        warn_caller(
            f"y_pred is missing. In fit, {n_not_argmax} predicted labels were not the most "
            "probable class; now the most probable class is taken for the prediction of each row. "
            "Pass y_pred= with the predicted labels, as in fit."
        )


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


def check_is_error(is_error):
    """Return is_error as one column of bool, or raise if it has values other than 0 and 1."""
    return check_booleans(is_error, "is_error", "the classifier is wrong", "y_pred != y_true")


def check_booleans(values, name, meaning, source):
    """Return values as one column of bool, or raise if there are others than 0 and 1.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        One value for each row.
    name : str
        Their name in an error message.
    meaning : str
        What is the case where a value is True.
    source : str
        How to compute the values.
    """
    values = read_labels(values, name=name)
    _check_no_label_is_missing(values, "Drop these rows.", name=name)
    if values.dtype == bool:
        return values
    is_boolean = np.isin(values, [0, 1])
    if not is_boolean.all():
        raise ValueError(
            f"{name} must be True where {meaning} and False elsewhere, got values such as "
            f"{values[~is_boolean][0]!r}. Compute it as {source}."
        )
    return values.astype(bool)
