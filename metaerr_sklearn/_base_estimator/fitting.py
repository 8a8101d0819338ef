"""Fit the base."""

from contextlib import nullcontext

from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._compat import safe_indexing
from .._utils.random import draw_seed, systematic_sample
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


def fit_weighted(estimator, X, y_encoded, weight, *, classes, seed, unit=1.0, random_state=None):
    """Fit a clone of the base with weights, whether its ``fit`` takes them or not.

    Weights are passed to ``fit`` if it has a parameter for them. A net draws its batches in
    proportion to them. For any other base the rows are resampled.

    Parameters
    ----------
    estimator : estimator
        Classifier to clone and fit.
    X : any, of length n_samples
        Training rows.
    y_encoded : ndarray of int, shape (n_samples,)
        Positions of their classes.
    weight : ndarray of shape (n_samples,)
        Weights.
    classes : ndarray of shape (n_classes,)
        Sorted labels of the whole problem.
    seed : int or None
        Seed of everything random in the fit; None leaves it to the estimator.
    unit : float, default=1.0
        Weight of a row that appears once, if rows are resampled.
    random_state : RandomState instance or None, default=None
        Draws the rows, if they are resampled.

    Returns
    -------
    estimator : fitted estimator

    Notes
    -----
    The last two parameters are used only if rows are resampled.
    """
    base = adapt(estimator)
    if base.draws_batches_by_weight():
        return base.fit_by_weighted_batches(X, y_encoded, weight, classes=classes, seed=seed)
    name, y = base.sample_weight_param(), classes[y_encoded]
    fit_params = {name: weight}
    if name is None:
        drawn = systematic_sample(weight / unit, draw_seed(random_state))
        X, y, fit_params = safe_indexing(X, drawn), y[drawn], None
    # The weights are passed by name, so that the user's metadata routing does not apply here.
    with config_context(enable_metadata_routing=False):
        return fit_base(estimator, X, y, classes=classes, fit_params=fit_params, seed=seed)
