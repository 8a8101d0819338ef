"""Fit the base classifier on weighted rows."""

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state

from .._base_estimator.fitting import fit_base, net_input, net_labels, take_rows
from .._base_estimator.inspection import is_net, sample_weight_param, transform_before
from .._base_estimator.prediction import predict_labels_and_proba
from .._compat import num_samples, safe_indexing
from .._utils.random import draw_seed, systematic_sample


class WeightedBase:
    """Fit the base classifier on chosen rows of one data set, with weights.

    Weights are passed to ``fit`` if it has a parameter for them. A net draws its batches in
    proportion to them. For any other base the rows are resampled.

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
    is_labeled : ndarray of bool, shape (n_samples,)
        Mask of the labeled rows.
    random_state : int or None
        Seed of all fits.
    as_sklearn : bool
        Whether to fit and predict exactly as scikit-learn's SelfTrainingClassifier.
    """

    def __init__(self, estimator, X, classes, sample_weight, is_labeled, random_state, as_sklearn):
        self.estimator = estimator
        self.X = X
        self.classes = classes
        self.sample_weight = sample_weight
        if sample_weight is not None:
            # If rows are resampled, a labeled row appears about once, whatever the weights of the
            # unlabeled rows.
            labeled = sample_weight[is_labeled]
            self.scale = labeled[labeled > 0].mean()
        self.random_state = None if random_state is None else check_random_state(random_state)
        # scikit-learn's class fits one clone again and again. The result differs from fits of new
        # clones if the base has a generator as random_state.
        self.refitted_clone = clone(estimator) if as_sklearn and not is_net(estimator) else None
        self.as_sklearn = as_sklearn

    def rows(self, rows):
        """Return some rows in the form that the base needs."""
        return take_rows(self.estimator, self.X, rows)

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
        encoded = target[rows]
        weight = None if weight is None else weight[rows]
        if extra is not None:
            rows, encoded, weight = map(np.concatenate, zip((rows, encoded, weight), extra))
        X, y = self.rows(rows), self.classes[encoded]
        if self.sample_weight is not None:
            weight = self.sample_weight[rows] * (1 if weight is None else weight)
        if self.refitted_clone is not None and weight is None:
            return self.refitted_clone.fit(X, y)
        seed = None if self.random_state is None else draw_seed(self.random_state)
        if weight is None:
            return fit_base(self.estimator, X, y, classes=self.classes, seed=seed)
        is_pipeline = isinstance(self.estimator, Pipeline)
        last = self.estimator.steps[-1][1] if is_pipeline else self.estimator
        if is_net(last) and hasattr(last, "iterator_train"):
            return self._fit_weighted_net(X, encoded, weight, seed)
        name = sample_weight_param(self.estimator)
        if name is None:
            scale = 1 if self.sample_weight is None else self.scale
            drawn = systematic_sample(weight / scale, draw_seed(self.random_state))
            X, y, fit_params = safe_indexing(X, drawn), y[drawn], None
        else:
            fit_params = {name: weight}
        # Weights are passed to the step that takes them, even if the user has enabled routing.
        with config_context(enable_metadata_routing=False):
            return fit_base(
                self.estimator, X, y, classes=self.classes, fit_params=fit_params, seed=seed
            )

    def _fit_weighted_net(self, X, encoded, weight, seed):
        from ..neural import fit_net_weighted

        seed = draw_seed(None) if seed is None else seed
        encoded = net_labels(self.estimator, encoded, len(self.classes))
        if not isinstance(self.estimator, Pipeline):
            return fit_net_weighted(self.estimator, X, encoded, weight, seed=seed)
        pipeline = clone(self.estimator)
        name, net = pipeline.steps[-1]
        if len(pipeline.steps) > 1:
            head = pipeline[:-1].fit(net_input(pipeline, X), encoded)
            pipeline.steps[:-1] = head.steps
            X = transform_before(pipeline, net_input(pipeline, X))
        pipeline.steps[-1] = (name, fit_net_weighted(net, X, encoded, weight, seed=seed))
        return pipeline

    def predict(self, model, X):
        """Return the positions of the predicted classes, and all class probabilities."""
        if num_samples(X) == 0:
            return np.empty(0, dtype=np.intp), np.empty((0, len(self.classes)))
        pred_encoded, proba = predict_labels_and_proba(model, X, self.classes)
        return (proba.argmax(axis=1) if self.as_sklearn else pred_encoded), proba
