"""Fit the base."""

from contextlib import nullcontext

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .adapter import adapt


def fit_base(estimator, X, y, *, classes, fit_params=None, seed=None, context=None):
    """Fit a clone of the base; a frozen one is returned as it is.

    Parameters
    ----------
    estimator : estimator
        Classifier to clone and fit.
    X, y : array-likes of length n_samples
        Training rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels of the whole problem; y may lack some.
    fit_params : dict, default=None
        Given to ``fit``, already cut to these rows.
    seed : int, default=None
        Seed of everything random in the fit; None leaves it to the estimator.
    context : callable, default=None
        Returns, for the clone, the context manager in which it is fitted.

    Returns
    -------
    estimator : fitted estimator
    """
    estimator = clone(estimator)
    if isinstance(estimator, FrozenEstimator):
        return estimator
    return adapt(estimator).fit(
        X,
        y,
        classes=classes,
        fit_params=fit_params or {},
        seed=seed,
        context=nullcontext() if context is None else context(estimator),
    )


# SHIMS
def net_input(estimator, X):
    return adapt(estimator).as_input(X)


def net_labels(estimator, encoded, n_classes):
    import numpy as np

    return adapt(estimator).encode(encoded, np.arange(n_classes))


def take_rows(estimator, X, rows):
    return adapt(estimator).take_rows(X, rows)
