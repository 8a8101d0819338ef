"""Fit clones of the base classifier, with or without sample weights."""

from contextlib import nullcontext

from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._utils.interruption import stops_at_interrupt
from .._utils.random import systematic_sample
from .._utils.rows import slice_fit_params, take_rows
from .adapter import adapt
from .inspection import resamples_rows
from .routing import weight_route


@stops_at_interrupt()
def fit_base(estimator, X, y, *, classes, fit_params=None, seed=None, context=None):
    """Fit a clone of the base; a frozen one is returned as it is.

    Parameters
    ----------
    estimator : estimator
        Classifier to clone and fit.
    X, y : array-likes of length n_samples
        Training rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels of all classes; y may lack some of them.
    fit_params : dict, default=None
        Arguments of ``fit``. Those with one entry per row have the entries of these rows only.
    seed : int, default=None
        Seed of the parameters ``random_state`` that are None, and of the random numbers of a net.
        None sets no fixed seed.
    context : callable, default=None
        Takes the clone, and returns the context manager in which the clone is fitted.

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


@stops_at_interrupt()
def fit_weighted(
    estimator,
    X,
    y_encoded,
    weight,
    *,
    classes,
    fit_params=None,
    seed=None,
    unit=1.0,
):
    """Fit a clone of the base with weights, even if its ``fit`` takes no weights.

    If ``fit`` has a parameter for weights, they are passed to it. A net draws its batches in
    proportion to the weights. For any other base, and if a step of a Pipeline resamples the rows,
    the rows are resampled in proportion to the weights.

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
        Sorted labels of all classes.
    fit_params : dict, default=None
        Further arguments of ``fit``. Those with one entry per row have the entries of these rows
        only.
    seed : int, default=None
        Seed of the parameters ``random_state`` that are None, of the random numbers of a net, and
        of the resampling. None sets no fixed seed.
    unit : float, default=1.0
        If rows are resampled, a row of this weight is drawn once.

    Returns
    -------
    estimator : fitted estimator

    Notes
    -----
    There are many parameters because the callers set each of them.
    """
    base, fit_params = adapt(estimator), fit_params or {}
    if base.draws_batches_by_weight() and not fit_params and not resamples_rows(estimator):
        return base.fit_by_weighted_batches(X, y_encoded, weight, classes=classes, seed=seed)
    name, is_routed = weight_route(estimator, fit_params)
    y = classes[y_encoded]
    if name is None:
        drawn = systematic_sample(weight / unit, seed)
        fit_params = slice_fit_params(X, fit_params, indices=drawn)
        X, y = take_rows(X, drawn), y[drawn]
    else:
        fit_params = {**fit_params, name: weight}
    with nullcontext() if is_routed else config_context(enable_metadata_routing=False):
        return fit_base(estimator, X, y, classes=classes, fit_params=fit_params, seed=seed)
