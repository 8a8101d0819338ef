"""Fit a skorch net and predict with it."""

from contextlib import nullcontext

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from .._compat import safe_indexing
from .._utils.random import draw_seed
from .._utils.validation import check_has_rows
from .classifier_adapter import ClassifierAdapter
from .inspection import (
    has_predict_of,
    is_search,
    transform_before,
    without_wrappers,
)


class NetAdapter(ClassifierAdapter):
    """Fit a skorch net, or a Pipeline or search around one, and predict with it.

    A net takes float32 inputs and the positions of classes as int64 (float32 if it has one output
    unit). It draws its random numbers from the process-wide generators. They are seeded before each
    call and restored afterwards.
    """

    is_net = True
    scores_advice = (
        "A network needs a softmax: with skorch use criterion=torch.nn.CrossEntropyLoss on raw "
        "logits, or end the module in Softmax for NLLLoss."
    )

    def is_classifier(self):
        """Return True: skorch's nets have no tag that marks classifiers."""
        return True

    def sample_weight_param(self):
        """Return None: nets draw their batches by weight instead, see `fit_net_weighted`."""
        return None

    def n_jobs(self, n_jobs):
        """Return 1 for a net on an accelerator, because processes would have to share it."""
        return n_jobs if str(getattr(self.final, "device", "")) == "cpu" else 1

    def as_input(self, X):
        """Return X as float32, see `neural.as_net_input`."""
        from ..neural import as_net_input

        if not isinstance(without_wrappers(self.estimator), Pipeline):
            return as_net_input(X)
        # The steps before the net may need a frame. Only an array of float64 is converted.
        is_double = isinstance(X, np.ndarray) and X.dtype == np.float64
        return X.astype(np.float32) if is_double else X

    def take_rows(self, X, rows):
        """Return some rows of X; rows of a memory map are read only when the net needs them."""
        return safe_indexing(self.as_input(X) if isinstance(X, np.memmap) else X, rows)

    def draws_batches_by_weight(self):
        """Return whether the net, alone or at the end of a Pipeline, has a training iterator."""
        net = self.estimator
        net = net.steps[-1][1] if isinstance(net, Pipeline) else net
        return hasattr(net, "iterator_train")

    def preserved_rng(self, seed):
        """Return a context that seeds and restores the random generators used in prediction."""
        from ..neural import preserved_rng

        return preserved_rng(seed)

    def fit_by_weighted_batches(self, X, y_encoded, weight, *, classes, seed):
        """Fit a clone whose batches are drawn in proportion to weights, see `fit_net_weighted`.

        Parameters
        ----------
        X : any, of length n_samples
            Training rows.
        y_encoded : ndarray of int, shape (n_samples,)
            Positions of their classes.
        weight : ndarray of shape (n_samples,)
            Weights.
        classes : ndarray of shape (n_classes,)
            Sorted labels.
        seed : int or None
            Seed of the fit; None draws a seed.

        Returns
        -------
        estimator : fitted net or Pipeline
        """
        from ..neural import fit_net_weighted

        seed = draw_seed(None) if seed is None else seed
        encoded = self._encode(y_encoded, classes)
        if not isinstance(self.estimator, Pipeline):
            return fit_net_weighted(self.estimator, X, encoded, weight, seed=seed)
        pipeline = clone(self.estimator)
        name, net = pipeline.steps[-1]
        if len(pipeline.steps) > 1:
            head = pipeline[:-1].fit(self.as_input(X), encoded)
            pipeline.steps[:-1] = head.steps
            X = transform_before(pipeline, self.as_input(X))
        pipeline.steps[-1] = (name, fit_net_weighted(net, X, encoded, weight, seed=seed))
        return pipeline

    def _encode(self, y_encoded, classes):
        """Return positions of classes as int64, or as float32 for a net with one output unit."""
        from skorch import NeuralNetBinaryClassifier

        net = self.final
        if not isinstance(net, NeuralNetBinaryClassifier):
            return y_encoded.astype(np.int64)
        if len(classes) > 2:
            raise ValueError(
                f"{type(net).__name__} separates 2 classes, got {len(classes)}. Use a "
                "skorch.NeuralNetClassifier with one output unit per class."
            )
        return y_encoded.astype(np.float32)

    def fit(self, X, y, *, classes, fit_params, seed, context):
        """Fit the net itself; parameters and result as in `ClassifierAdapter.fit`."""
        from ..neural._net import NET_LOCK, preserved_rng

        encoded = self._encode(np.searchsorted(classes, y), classes)
        rng = preserved_rng(
            draw_seed(None) if seed is None else seed, device=getattr(self.final, "device", None)
        )
        # Without a lock, nets that are fitted in several threads would draw from the same
        # generators. A search gets no lock: the threads that it starts would wait for it for ever.
        lock = nullcontext() if is_search(self.estimator) else NET_LOCK
        with lock, rng, context:
            return self.estimator.fit(self.as_input(X), encoded, **fit_params)

    def call(self, method, X):
        """Call a method of the net; the process-wide random generators keep their state.

        Raises
        ------
        ValueError
            If X has no row.
        """
        from ..neural._net import NET_LOCK, preserved_rng

        check_has_rows(X, self.final)
        with NET_LOCK, preserved_rng(0):
            return getattr(self.estimator, method)(self.as_input(X))

    def predict(self, X, classes):
        """Return one label for each row: the class at the position that the net predicts."""
        position = np.asarray(self.call("predict", X))
        if position.max(initial=0) >= len(classes):
            raise ValueError(
                f"The net predicts class number {position.max()}, but there are {len(classes)} "
                "classes. Give the module one output unit per class."
            )
        return classes[position]

    def fill_zero_rows(self, proba):
        """Return the probabilities unchanged: a row of zeros from a net is a failure."""
        return np.asarray(proba)

    def predicts_argmax(self):
        """Return whether ``predict`` is skorch's own and has no threshold, or the threshold 0.5."""
        net = self.final
        return has_predict_of(net, "skorch.") and getattr(net, "threshold", 0.5) == 0.5

    def classes_of_output(self, classes):
        """Return the sorted classes: column j of a net stands for the class at position j."""
        return classes

    def classes_of_prefit(self, y):
        """Return the classes of a net that was fitted elsewhere.

        If y and ``classes_`` of the net hold integers, the result has the classes of both.
        Otherwise the net may have been fitted on positions, and the result has the classes in y.
        """
        labels = np.unique(y)
        classes = np.asarray(getattr(self.final, "classes_", labels))
        if labels.dtype.kind in "iu" and classes.dtype.kind in "iu":
            return np.union1d(labels, classes)
        return labels
