"""Read labels that some rows do not have."""

from collections import Counter

import numpy as np
from sklearn.utils import assert_all_finite

from .._utils.label_checks import check_classes
from .._utils.labels import as_one_dtype, is_missing, read_labels
from .._utils.messages import warn_caller
from ..model_selection import is_unlabeled
from ..model_selection._semi_supervised import check_some_labeled


def read_partly_labeled(y, unlabeled, *, as_sklearn):
    """Return y as one column, a mask of its labeled rows, and their labels; or raise.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels, and the marker for rows without one.
    unlabeled : scalar
        The marker.
    as_sklearn : bool
        Whether -1 always marks unlabeled rows, and texts are refused, as in scikit-learn's
        SelfTrainingClassifier.

    Returns
    -------
    y : ndarray of shape (n_samples,)
    has_label : ndarray of bool, shape (n_samples,)
    labels : ndarray of shape (n_labeled,)

    Raises
    ------
    ValueError
        If no row is labeled, a label is missing, or labels are no classes.
    """
    is_of_objects = hasattr(y, "dtype") and y.dtype == object
    y = read_labels(y, warn=True)
    if is_of_objects:
        y = y.astype(object)  # `transduction_` has the dtype of y
    if as_sklearn and y.dtype.kind in "US":
        raise ValueError(
            "y has dtype string. If you wish to predict on string targets, use dtype object, "
            "and use -1 as the label for unlabeled samples."
        )
    has_label = ~is_unlabeled(y, unlabeled)
    if any(map(is_missing, y[has_label].tolist())):
        raise ValueError(
            f"y contains NaN or None, but the marker of unlabeled rows is {unlabeled!r}. "
            "Pass unlabeled=None to treat missing labels as unlabeled."
        )
    if has_label.all():
        _warn_of_no_unlabeled(y, unlabeled, as_sklearn)
    elif not as_sklearn and y.dtype.kind in "if" and set(np.unique(y)) == {unlabeled, 1} == {-1, 1}:
        warn_caller(
            "y holds only -1 and 1, the usual names of two classes: -1 is taken for a class, "
            "and all rows count as labeled. If -1 marks unlabeled rows, label some rows of a "
            "second class."
        )
        has_label[:] = True
    check_some_labeled(has_label, unlabeled)
    labels = y[has_label]
    if labels.dtype == object:
        labels = as_one_dtype(labels)
    elif labels.dtype.kind == "f":
        assert_all_finite(labels, input_name="y")
    check_classes(labels)
    return y, has_label, labels


def _warn_of_no_unlabeled(y, unlabeled, as_sklearn):
    message = "y contains no unlabeled samples"
    if not as_sklearn:
        [(label, n_rows)] = Counter(y.tolist()).most_common(1)
        message += (
            f": no label equals {unlabeled!r}. If the most frequent label, {label!r} in {n_rows} "
            f"of {len(y)} rows, marks unlabeled rows, pass unlabeled={label!r}."
        )
    warn_caller(message)
