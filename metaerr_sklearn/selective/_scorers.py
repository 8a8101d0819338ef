"""Score a fitted SelectiveClassifier."""

import numpy as np

from .._base_estimator.inspection import final_estimator
from .._utils.indexable import indexable
from .._utils.label_checks import check_labels, check_true_labels
from .._utils.labels import is_missing
from .._utils.weights import check_weights


def coverage_scorer(estimator, X, y=None, sample_weight=None):
    """Compute the share of rows that a fitted `SelectiveClassifier` answers (higher is better).

    This is a scorer: pass the function itself, as ``scoring=coverage_scorer``.

    Parameters
    ----------
    estimator : fitted SelectiveClassifier
        It may be inside a Pipeline or a search.

    X : any, of length n_samples
        Rows to predict.

    y : array-like of shape (n_samples,), default=None
        Not used.

    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    coverage : float in [0, 1]

    Raises
    ------
    TypeError
        If the estimator is not a fitted SelectiveClassifier and has none inside.
    ValueError
        If the weights have another length than X, or cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from metaerr_sklearn.selective import (
    ...     SelectiveClassifier, coverage_scorer, neg_selective_risk_scorer)
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = SelectiveClassifier(LogisticRegression(), target_risk=0.02, random_state=0)
    >>> scoring = {"coverage": coverage_scorer, "neg_risk": neg_selective_risk_scorer}
    >>> result = cross_validate(clf, X / 16, y, cv=3, scoring=scoring)
    >>> float(result["test_coverage"].mean().round(2))
    0.75
    >>> float(result["test_neg_risk"].mean().round(3))
    -0.018
    """
    (X,) = indexable(X)
    weight = None if sample_weight is None else check_weights(sample_weight, X)
    _, accepted = _answers(estimator, X)
    return float(np.average(accepted, weights=weight))


def neg_selective_risk_scorer(estimator, X, y, sample_weight=None):
    """Compute the negative error rate of the answered rows (higher is better).

    This is a scorer: pass the function itself, as ``scoring=neg_selective_risk_scorer``. Use it
    together with `coverage_scorer`, because alone it favors a classifier that answers few rows.

    Parameters
    ----------
    estimator : fitted SelectiveClassifier
        It may be inside a Pipeline or a search.

    X : any, of length n_samples
        Rows to predict.

    y : array-like of shape (n_samples,)
        True labels.

    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    neg_selective_risk : float in [-1, 0]
        NaN if no row is answered.

    Raises
    ------
    TypeError
        If the estimator is not a fitted SelectiveClassifier and has none inside.
    ValueError
        If labels or weights have another length than X, or cannot be used.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from metaerr_sklearn.selective import SelectiveClassifier, neg_selective_risk_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = SelectiveClassifier(LogisticRegression(), target_coverage=0.8, random_state=0)
    >>> risk = -neg_selective_risk_scorer(clf.fit(X[:900] / 16, y[:900]), X[900:] / 16, y[900:])
    >>> round(risk, 3)
    0.005
    """
    (X,) = indexable(X)
    y = check_labels(y, X)
    weight = np.ones(len(y)) if sample_weight is None else check_weights(sample_weight, X)
    labels, accepted = _answers(estimator, X)
    check_true_labels(y, final_estimator(estimator).classes_)
    if not weight[accepted].any():
        return float("nan")
    # A reject label such as pandas.NA cannot be compared.
    return -float(np.average(labels[accepted] != y[accepted], weights=weight[accepted]))


def _answers(estimator, X):
    """Return the predictions, and a mask of those that are not the reject label."""
    selective = final_estimator(estimator)
    if not hasattr(selective, "reject_label_"):
        raise TypeError(
            f"This scorer is for a fitted SelectiveClassifier, got {type(estimator).__name__}. "
            "Wrap the classifier: SelectiveClassifier(classifier, target_risk=0.05)."
        )
    labels, reject_label = estimator.predict(X), selective.reject_label_
    if is_missing(reject_label):
        return labels, np.array([not is_missing(label) for label in labels.tolist()])
    return labels, np.asarray(labels != reject_label, dtype=bool)
