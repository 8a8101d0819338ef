"""Fit the base."""

from contextlib import nullcontext

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from .._compat import safe_indexing
from .._utils.random import draw_seed
from .._utils.rows import is_instance_by_name
from .inspection import final_estimator, is_net, is_search, without_wrappers


def net_input(estimator, X):
    """Return X as the base takes it: unchanged, except that a net gets float32."""
    if not is_net(estimator):
        return X
    from ..neural import as_net_input

    if not isinstance(without_wrappers(estimator), Pipeline):
        return as_net_input(X)
    # Steps before the net may need the frame; only the dtype that no net takes is changed.
    is_double = isinstance(X, np.ndarray) and X.dtype == np.float64
    return X.astype(np.float32) if is_double else X


def net_labels(estimator, encoded, n_classes):
    """Return positions of classes as a net takes them: int64, or float32 for one output unit."""
    net = final_estimator(estimator)
    if not is_instance_by_name(net, "skorch.", "NeuralNetBinaryClassifier"):
        return encoded.astype(np.int64)
    if n_classes > 2:
        raise ValueError(
            f"{type(net).__name__} tells 2 classes apart, got {n_classes}. Use a "
            "skorch.NeuralNetClassifier with one output unit per class."
        )
    return encoded.astype(np.float32)


def _seed_unset_random_states(estimator, seed):
    unset = {
        name: seed
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None and name.split("__")[-1] == "random_state"
    }
    return estimator.set_params(**unset) if unset else estimator


def fit_base(estimator, X, y, *, classes, fit_params=None, seed=None, within=nullcontext):
    """Fit a clone of the base estimator; a frozen one is returned as it is.

    A net is given float32 X, int64 labels 0..n_classes-1 (float32 where it has one output unit) and
    its random numbers from `seed`, drawn apart from the global generators. Another base keeps its
    labels; where `seed` is given, its parameters ``random_state`` that are None receive it.

    Parameters
    ----------
    estimator : estimator
        Classifier to clone and fit.
    X, y : array-likes of length n_samples
        Training rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels of the whole problem; y may miss some.
    fit_params : dict, default=None
        Given to ``fit``, already cut to these rows.
    seed : int, default=None
        Seed of everything random in the fit; None leaves it to the estimator.
    within : callable
        Given the clone, returns the context in which it is fitted; none in particular by default.

    Returns
    -------
    estimator : fitted estimator
    """
    estimator = clone(estimator)
    if isinstance(estimator, FrozenEstimator):
        return estimator
    fit_params = fit_params or {}
    if not is_net(estimator):
        if seed is not None and hasattr(estimator, "get_params"):
            _seed_unset_random_states(estimator, seed)
        with within(estimator):
            return estimator.fit(X, y, **fit_params)
    from ..neural._net import NET_LOCK, preserved_rng

    encoded = net_labels(estimator, np.searchsorted(classes, y), len(classes))
    device = getattr(final_estimator(estimator), "device", None)
    rng = preserved_rng(draw_seed(None) if seed is None else seed, device=device)
    # The generators are those of the process: nets fitted in threads would draw from one stream. A
    # search has threads of its own, which may have to wait for their turn to predict.
    with nullcontext() if is_search(estimator) else NET_LOCK, rng, within(estimator):
        return estimator.fit(net_input(estimator, X), encoded, **fit_params)


def take_rows(estimator, X, rows):
    """Return some rows of X for a base: a net reads those of a file as it goes."""
    return safe_indexing(net_input(estimator, X) if isinstance(X, np.memmap) else X, rows)
