"""Fit clones of the base classifier, with or without sample weights."""

from contextlib import nullcontext

from sklearn import config_context
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from .._compat import safe_indexing
from .._utils.interruption import stops_at_interrupt
from .._utils.random import draw_seed, systematic_sample
from .adapter import adapt


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
def fit_weighted(estimator, X, y_encoded, weight, *, classes, seed, unit=1.0, random_state=None):
    """Fit a clone of the base with weights, even if its ``fit`` takes no weights.

    If ``fit`` has a parameter for weights, they are passed to it. A net draws its batches in
    proportion to the weights. For any other base the rows are resampled in proportion to them.

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
    seed : int or None
        Seed of the parameters ``random_state`` that are None, and of the random numbers of a net.
        None sets no fixed seed.
    unit : float, default=1.0
        If rows are resampled, a row of this weight is drawn once.
    random_state : RandomState instance or None, default=None
        Random state of the resampling.

    Returns
    -------
    estimator : fitted estimator

    Notes
    -----
    The parameters `unit` and `random_state` are used only if rows are resampled.
    """
    base = adapt(estimator)
    if base.draws_batches_by_weight():
        return base.fit_by_weighted_batches(X, y_encoded, weight, classes=classes, seed=seed)
    name, y = base.sample_weight_param(), classes[y_encoded]
    fit_params = {name: weight}
    if name is None:
        drawn = systematic_sample(weight / unit, draw_seed(random_state))
        X, y, fit_params = safe_indexing(X, drawn), y[drawn], None
    # Metadata routing is off here: the weights are passed by name, without a request of the user.
    with config_context(enable_metadata_routing=False):
        return fit_base(estimator, X, y, classes=classes, fit_params=fit_params, seed=seed)
