"""Fit the base on weighted rows."""

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
    """Fit the base on chosen rows of one data set, with weights in the way it takes them."""

    def __init__(self, estimator, X, classes, sample_weight, is_labeled, random_state, as_sklearn):
        self.estimator = estimator
        self.X = X
        self.classes = classes
        self.sample_weight = sample_weight
        if sample_weight is not None:
            # A labeled row appears once where rows are resampled, whatever the others weigh.
            labeled = sample_weight[is_labeled]
            self.scale = labeled[labeled > 0].mean()
        self.random_state = None if random_state is None else check_random_state(random_state)
        # scikit-learn's class clones once and fits that clone again and again, which is not the
        # same where the base goes on drawing from one generator.
        self.refitted_clone = clone(estimator) if as_sklearn and not is_net(estimator) else None
        self.as_sklearn = as_sklearn

    def rows(self, rows):
        """Return some rows as the base reads them."""
        return take_rows(self.estimator, self.X, rows)

    def fit(self, rows, target, weight=None, extra=None):
        """Return the base fitted on rows with labels at positions `target`, all arguments full.

        `also` are (rows, labels, weights) that count besides.
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
        last = self.estimator
        before = None
        if isinstance(last, Pipeline):
            before, last = last.steps[:-1], last.steps[-1][1]
        if is_net(last) and hasattr(last, "iterator_train"):
            return self._fit_weighted_net(X, encoded, weight, seed, before)
        name = sample_weight_param(self.estimator)
        if name is None:
            scale = 1 if self.sample_weight is None else self.scale
            drawn = systematic_sample(weight / scale, draw_seed(self.random_state))
            X, y, fit_params = safe_indexing(X, drawn), y[drawn], None
        else:
            fit_params = {name: weight}
        # Weights go to the step that takes them; what the user lets be routed does not matter.
        with config_context(enable_metadata_routing=False):
            return fit_base(
                self.estimator, X, y, classes=self.classes, fit_params=fit_params, seed=seed
            )

    def _fit_weighted_net(self, X, encoded, weight, seed, before):
        from ..neural import fit_net_weighted

        seed = draw_seed(None) if seed is None else seed
        encoded = net_labels(self.estimator, encoded, len(self.classes))
        if before is None:
            return fit_net_weighted(self.estimator, X, encoded, weight, seed=seed)
        pipeline = clone(self.estimator)
        name, net = pipeline.steps[-1]
        if before:
            head = pipeline[:-1].fit(net_input(pipeline, X), encoded)
            pipeline.steps[:-1] = head.steps
            X = transform_before(pipeline, net_input(pipeline, X))
        pipeline.steps[-1] = (name, fit_net_weighted(net, X, encoded, weight, seed=seed))
        return pipeline

    def predict(self, model, X):
        """Return positions of the labels and probabilities."""
        if num_samples(X) == 0:
            return np.empty(0, dtype=np.intp), np.empty((0, len(self.classes)))
        pred_encoded, proba = predict_labels_and_proba(model, X, self.classes)
        return (proba.argmax(axis=1) if self.as_sklearn else pred_encoded), proba
