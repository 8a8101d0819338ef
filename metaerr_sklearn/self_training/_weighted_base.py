"""Fit the base classifier on weighted rows."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from .._base_estimator.adapter import adapt
from .._base_estimator.caching import cached
from .._base_estimator.fitting import fit_base, fit_weighted
from .._base_estimator.inspection import fit_itself
from .._base_estimator.prediction import predict_base
from .._compat import num_samples
from .._utils.failures import noted
from .._utils.random import draw_seed
from .._utils.rows import slice_fit_params


class WeightedBase:
    """Fit the base classifier on chosen rows of one data set, with weights.

    See `fit_weighted` for the use of the weights.

    Parameters
    ----------
    estimator : classifier
        Unfitted base.
    X : any, of length n_samples
        Labeled and unlabeled rows.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights of the user.
    fit_params : dict
        Further arguments of the ``fit`` of the base.
    is_labeled : ndarray of bool, shape (n_samples,)
        Mask of the labeled rows.
    random_state : int or None
        Seed of all fits.
    as_sklearn : bool
        Whether to fit and predict exactly as scikit-learn's SelfTrainingClassifier.
    memory : joblib.Memory or None
        Caches each fit.
    on_fit : callable
        Called without arguments after each fit.

    Attributes
    ----------
    n_fits : int
        Number of fits of the base.
    """

    def __init__(
        self,
        estimator,
        X,
        classes,
        *,
        sample_weight,
        fit_params,
        is_labeled,
        random_state,
        as_sklearn,
        memory,
        on_fit,
    ):
        self.estimator = clone(estimator)  # a fitted base has the same keys in the cache
        self.X = X
        self.classes = classes
        self.sample_weight = sample_weight
        self.fit_params = fit_params
        self.unit = 1.0
        if sample_weight is not None:
            # If rows are resampled, a labeled row appears about once, whatever the weights of the
            # unlabeled rows.
            labeled = sample_weight[is_labeled]
            self.unit = labeled[labeled > 0].mean()
        self.random_state = None if random_state is None else check_random_state(random_state)
        # scikit-learn's class fits one clone again and again. The result differs from fits of new
        # clones if the base has a generator as random_state.
        self.refitted_clone = None
        if as_sklearn and not adapt(estimator).is_net:
            self.refitted_clone = clone(estimator)
        self.as_sklearn = as_sklearn
        self.memory = memory
        self.on_fit = on_fit
        self.n_fits = 0

    def rows(self, rows):
        """Return some rows in the form that the base needs."""
        return adapt(self.estimator).take_rows(self.X, rows)

    @noted("fitting the base on labeled and pseudo-labeled rows")
    def fit(self, rows, target, weight=None, extra=None):
        """Return a clone of the base, fitted on some rows.

        Parameters
        ----------
        rows : ndarray of int
            Rows to train on.
        target : ndarray of int, shape (n_samples,)
            Positions of the classes of all rows.
        weight : ndarray of shape (n_samples,), default=None
            Weights of all rows, which multiply those of the user.
        extra : tuple of (rows, classes, weights), default=None
            Further training rows, which may repeat rows with other classes.
        """
        self._last_fit = rows, target, weight, extra
        fitted = self._fit(rows, target, weight, extra)
        self.n_fits += 1
        self.on_fit()
        return fitted

    def _fit(self, rows, target, weight, extra):
        encoded = target[rows]
        weight = None if weight is None else weight[rows]
        if extra is not None:
            rows, encoded, weight = map(np.concatenate, zip((rows, encoded, weight), extra))
        X, y = self.rows(rows), self.classes[encoded]
        fit_params = slice_fit_params(self.X, self.fit_params, indices=rows)
        if self.sample_weight is not None:
            weight = self.sample_weight[rows] * (1 if weight is None else weight)
        if self.refitted_clone is not None and weight is None:
            return fit_itself(self.refitted_clone, X, y, **fit_params)
        seed = None if self.random_state is None else draw_seed(self.random_state)
        if weight is None:
            return cached(fit_base, self.memory)(
                self.estimator, X, y, classes=self.classes, fit_params=fit_params, seed=seed
            )
        return cached(fit_weighted, self.memory)(
            self.estimator,
            X,
            encoded,
            weight,
            classes=self.classes,
            fit_params=fit_params,
            seed=seed,
            unit=self.unit,
        )

    def fit_again_without(self, rows):
        """Return a clone that is fitted as in the last fit, but without some rows."""
        trained, target, weight, extra = self._last_fit
        if extra is not None:
            kept = ~np.isin(extra[0], rows)
            extra = tuple(part[kept] for part in extra)
        return self.fit(np.setdiff1d(trained, rows), target, weight, extra)

    def predict(self, model, X):
        """Return the positions of the predicted classes, and all class probabilities."""
        if num_samples(X) == 0:
            return np.empty(0, dtype=np.intp), np.empty((0, len(self.classes)))
        _, pred_encoded, proba, _ = predict_base(model, X, self.classes)
        return (proba.argmax(axis=1) if self.as_sklearn else pred_encoded), proba
