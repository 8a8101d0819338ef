"""Split data for validation when part of y is unlabeled."""

from numbers import Integral

import numpy as np
from sklearn.model_selection import BaseCrossValidator, check_cv
from sklearn.utils.metadata_routing import get_routing_for_object

from .._utils.indexable import indexable
from .._utils.labels import as_one_dtype, is_missing, read_labels
from .._utils.rows import take_rows


class SemiSupervisedKFold(BaseCrossValidator):
    """Split labeled rows into folds and keep every unlabeled row in training.

    A plain splitter puts unlabeled rows into test folds, where every prediction for them counts as
    an error because the marker is no class. It also stratifies on the marker as if it were a class.
    This splitter tests labeled rows only; a tested row is never in its own training part. Pass it
    as the parameter `cv` of `cross_val_score`, `GridSearchCV` and others.

    Parameters
    ----------
    cv : int or splitter, default=5
        How the labeled rows are split. An int is the number of folds, stratified if the labels are
        classes. A splitter gets X, y and groups of the labeled rows only.

    unlabeled : scalar, default=-1
        Marks the unlabeled rows in y, see `is_unlabeled`.

    See Also
    --------
    is_unlabeled : The mask of the unlabeled rows.

    Notes
    -----
    Unlabeled rows never appear in a test part, so `cross_val_predict`, which needs a prediction for
    each row, does not apply. Training scores (``return_train_score=True``) do count the marker as a
    label. Unlabeled rows of a group stay in training while its labeled rows are tested.

    Use -1 as the marker for integer labels and NaN for floats. With None, integers become an array
    of dtype object, and scikit-learn's metrics, accuracy included, raise an error for integers in
    such an array: "can't handle a mix of unknown and multiclass targets". For strings None works.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.semi_supervised import SelfTrainingClassifier
    >>> from metaerr_sklearn.model_selection import SemiSupervisedKFold
    >>> X, y = load_iris(return_X_y=True)
    >>> y[np.arange(len(y)) % 5 > 0] = -1
    >>> model = SelfTrainingClassifier(LogisticRegression(max_iter=1000))
    >>> float(cross_val_score(model, X, y, cv=5).mean().round(2))
    0.19
    >>> float(cross_val_score(model, X, y, cv=SemiSupervisedKFold(5)).mean().round(2))
    0.97
    """

    def __init__(self, cv=5, *, unlabeled=-1):
        self.cv = cv
        self.unlabeled = unlabeled

    def split(self, X, y, groups=None):
        """Yield training rows and labeled test rows of each split.

        Parameters
        ----------
        X : any, of length n_samples
            Rows; only the labeled ones are passed to the splitter `cv`.

        y : array-like of shape (n_samples,)
            Labels, and the marker `unlabeled` for rows without one.

        groups : array-like of shape (n_samples,), default=None
            Groups; those of the labeled rows are passed to the splitter `cv`.

        Yields
        ------
        train : ndarray of int
            Labeled training rows and all unlabeled rows, ascending.

        test : ndarray of int
            Labeled test rows.

        Raises
        ------
        ValueError
            If no row is labeled, or `cv` cannot split the labeled rows.
        """
        splitter, labeled, data = self._split_labeled(X, y, groups)
        unlabeled = np.setdiff1d(np.arange(len(y)), labeled)
        for train, test in splitter.split(*data):
            last = max(np.max(train, initial=-1), np.max(test, initial=-1))
            if last >= len(labeled):
                raise ValueError(
                    f"cv={self.cv!r} returned row {last}, but it splits the {len(labeled)} labeled "
                    "rows only. Splits of all rows need no wrapper: pass them directly as cv, "
                    "with the unlabeled rows in each training part."
                )
            yield np.sort(np.concatenate([labeled[train], unlabeled])), labeled[test]

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X : any, of length n_samples, default=None
            Needed, like y, only if the number depends on the labeled rows (leave-one-out).

        y : array-like of shape (n_samples,), default=None
            Labels, and the marker `unlabeled` for rows without one.

        groups : array-like of shape (n_samples,), default=None
            Needed only if the number depends on the groups.

        Returns
        -------
        n_splits : int

        Raises
        ------
        ValueError
            If no row is labeled, or if the number depends on rows that are not passed.
        """
        if y is None:
            return self._check_cv().get_n_splits(X)
        splitter, _, data = self._split_labeled(y if X is None else X, y, groups)
        return splitter.get_n_splits(*data)

    def get_metadata_routing(self):
        """Return what the splitter `cv` requests.

        Returns
        -------
        routing : MetadataRequest
        """
        return get_routing_for_object(self._check_cv())

    def _check_cv(self, y=None):
        is_number = isinstance(self.cv, Integral) and not isinstance(self.cv, bool)
        if isinstance(self.cv, str) or not (is_number or hasattr(self.cv, "split")):
            raise ValueError(
                f"cv must be an integer >= 2 or a splitter, got {self.cv!r}. A list of splits "
                "needs no wrapper: pass it directly, with the unlabeled rows in each training part."
            )
        return check_cv(self.cv, y, classifier=True)

    def _split_labeled(self, X, y, groups):
        """Return the splitter of the labeled rows, their positions, and their X, y and groups."""
        X, y, groups = indexable(X, y, groups)
        has_label = ~is_unlabeled(y, self.unlabeled)
        check_some_labeled(has_label, self.unlabeled)
        labeled = np.flatnonzero(has_label)
        labels = read_labels(y)[labeled]
        if labels.dtype == object:
            labels = as_one_dtype(labels)  # splitters stratify by the type of y
        data = [take_rows(X, labeled), labels, None]
        if groups is not None:
            data[2] = take_rows(groups, labeled)
        return self._check_cv(labels), labeled, data


def is_unlabeled(y, unlabeled=-1):
    """Return a mask of the rows of y that have the marker of unlabeled rows.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels of any type, and the marker for rows without one. If the labels are strings and the
        marker is not, y must be a list, a series or an array of dtype object.

    unlabeled : scalar, default=-1
        The marker. None, NaN and ``pandas.NA`` all stand for "missing" and match each other,
        because libraries turn one into the other.

    Returns
    -------
    mask : ndarray of bool, shape (n_samples,)
        True where the row is unlabeled.

    Raises
    ------
    ValueError
        If the marker is not one value, or has become text among strings.

    Examples
    --------
    >>> from metaerr_sklearn.model_selection import is_unlabeled
    >>> is_unlabeled([0, -1, 1])
    array([False,  True, False])
    >>> is_unlabeled(["cat", None, "dog"], None)
    array([False,  True, False])
    """
    if np.ndim(unlabeled) != 0:
        raise ValueError(
            f"unlabeled must be one value, got {unlabeled!r}. Pass the single marker of unlabeled "
            "rows, for example -1 or None."
        )
    labels = read_labels(y)
    if is_missing(unlabeled) and labels.dtype.kind not in "USO":
        return labels != labels
    if labels.dtype.kind not in "USO":
        _check_marker_fits(labels, unlabeled)
        return labels == unlabeled
    # pandas.NA cannot be converted to bool, so an array comparison with it fails.
    equal = map(is_missing, labels)
    if not is_missing(unlabeled):
        equal = (not is_missing(label) and label == unlabeled for label in labels)
    mask = np.fromiter(equal, dtype=bool, count=len(labels))
    if not mask.any():
        _check_marker_is_whole(labels, unlabeled)
    # Libraries read the marker as text from a file, and NumPy makes text of it beside strings.
    if not mask.any() and not isinstance(unlabeled, (str, bytes)):
        texts = [label for label in dict.fromkeys(labels.tolist()) if _spells(label, unlabeled)]
        if texts:
            raise ValueError(
                f"y holds strings in which the marker {unlabeled!r} has become the text "
                f"{texts[0]!r}. Replace this text by {unlabeled!r} in an array of dtype=object, "
                f"or pass unlabeled={texts[0]!r}."
            )
    return mask


def check_some_labeled(has_label, unlabeled):
    """Raise if every row has the marker of unlabeled rows."""
    if not has_label.any():
        raise ValueError(
            f"y has no labeled row: all {len(has_label)} rows equal the marker {unlabeled!r}. "
            "Give some labels, or pass the marker that y uses as unlabeled=."
        )


def _spells(label, unlabeled):
    """Return whether a label is a text that libraries make of the marker."""
    if not isinstance(label, str) or label == str(unlabeled):
        return isinstance(label, str)
    if is_missing(unlabeled):
        return label in ("None", "nan", "NaN", "NaT", "<NA>")
    try:
        return float(label) == unlabeled
    except ValueError:
        return False


def _check_marker_is_whole(labels, unlabeled):
    """Raise if NumPy has cut the marker to the longest label when it was set."""
    if labels.dtype.kind not in "US" or not isinstance(unlabeled, (str, bytes)):
        return
    width = labels.dtype.itemsize // np.dtype(f"{labels.dtype.kind}1").itemsize
    if len(unlabeled) <= width:
        return
    cut = unlabeled[:width]
    if cut in labels:
        raise ValueError(
            f"y has the dtype {labels.dtype}, in which the marker {unlabeled!r} is cut to {cut!r}. "
            "Convert the labels before the marker is set, y.astype(object), or pass "
            f"unlabeled={cut!r}."
        )


def _check_marker_fits(labels, unlabeled):
    """Raise if the labels are unsigned integers among which a negative marker is a large number."""
    if labels.dtype.kind == "u" and isinstance(unlabeled, Integral) and unlabeled < 0:
        wrapped = np.asarray(unlabeled).astype(labels.dtype)
        if wrapped in labels:
            raise ValueError(
                f"y has the dtype {labels.dtype}, in which the marker {unlabeled} becomes "
                f"{wrapped}. Convert the labels before the marker is set, y.astype(int), or pass "
                f"unlabeled={wrapped}."
            )
