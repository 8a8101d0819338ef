"""Correct the offset by a small network."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import gen_batches

from .._utils.packages import check_importable
from ._base import ClippedScaler, ResidualMetaLearner


class MLPMetaLearner(ResidualMetaLearner):
    """Correct the offset by a small network, with early stopping by the held-out folds.

    Use it as ``meta_learner=`` of `MetaErrorClassifier` or `ErrorModel`. The offset is the
    calibrated log-odds of an error, from which the error model starts; see `ErrorModel`.
    `fit` needs torch; predictions do not.

    Parameters
    ----------
    hidden_size : int, default=32
        Units of the hidden layer.
    dropout : float, default=0.2
        Dropout rate of the hidden layer.
    learning_rate : float, default=8e-3
        Step size of AdamW.
    weight_decay : float, default=1e-3
        Weight decay of AdamW.
    max_epochs : int, default=15
        Largest number of epochs. The number used minimises the pooled out-of-fold log-loss, and
        may be 0.
    random_state : int, RandomState instance or None, default=None
        Seed; None takes the seed of the error model.

    Attributes
    ----------
    n_epochs_ : int
        Chosen number of epochs.
    oof_logit_ : ndarray of shape (n_samples,)
        Out-of-fold log-odds of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import MLPMetaLearner
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 2))
    >>> is_error = np.abs(Z[:, 0]) > 1
    >>> folds = [(np.arange(0, 200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]
    >>> learner = MLPMetaLearner().fit(Z, is_error, np.full(400, -0.8), folds=folds)
    >>> low, high = learner.decision_function(np.array([[0.0, 0], [2, 0]]), np.full(2, -0.8))
    >>> bool(low < -0.8 < high)
    True
    """

    is_additive = False

    def __init__(
        self,
        hidden_size=32,
        dropout=0.2,
        learning_rate=8e-3,
        weight_decay=1e-3,
        max_epochs=15,
        random_state=None,
    ):
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.random_state = random_state

    def check_parameters(self):
        """Raise unless torch is there, and sizes and rates are valid for a network."""
        self._check_number("hidden_size", Integral, min_val=1)
        self._check_number("dropout", Real, min_val=0, max_val=1, include_boundaries="left")
        self._check_number("learning_rate", Real, min_val=0, include_boundaries="neither")
        self._check_number("weight_decay", Real, min_val=0)
        self._check_number("max_epochs", Integral, min_val=1)
        check_importable(
            "torch",
            "skorch",
            user='MLPMetaLearner (meta_learner="mlp")',
            instead='Or pass meta_learner="auto", which does not need it.',
        )

    def _fit_path(self, Z, is_error, offset, folds, weight, seed):
        from ..neural._residual_mlp import train_residual_mlps

        self._scaler = ClippedScaler().fit(Z, weight)
        in_training = np.zeros((len(folds), len(Z)), dtype=bool)
        standardised = np.empty((len(folds), *Z.shape))
        for number, (train, test, Z_train, Z_test) in enumerate(folds):
            in_training[number, train] = True
            standardised[number, train] = self._scaler.transform(Z_train)
            standardised[number, test] = self._scaler.transform(Z_test)
        weights = train_residual_mlps(
            standardised,
            is_error,
            offset,
            weight,
            list(in_training),
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            seed=self._seed(seed),
        )
        path = np.repeat(offset[None], len(weights), axis=0)
        for epoch, epoch_weights in enumerate(weights):
            for number, (_, test, *_) in enumerate(folds):
                net = tuple(part[[number]] for part in epoch_weights)
                path[epoch, test] += mlp_correction(net, standardised[number, test])[0]

        def finish(amount):
            self.n_epochs_, self._weights = amount, weights[amount]

        return path, finish

    def _correct(self, Z):
        corrections = np.zeros(len(Z))
        for batch in gen_batches(len(Z), 10_000):
            standardised = self._scaler.transform(Z[batch])
            corrections[batch] = mlp_correction(self._weights, standardised).mean(axis=0)
        return corrections


def mlp_correction(weights, Z):
    """Evaluate trained residual MLPs without torch.

    Parameters
    ----------
    weights : tuple of ndarray
        Hidden weights (n_nets, n_features, hidden_size) and biases (n_nets, hidden_size), output
        weights (n_nets, hidden_size) and biases (n_nets,).

    Z : ndarray of shape (n_samples, n_features)
        Standardised meta-features.

    Returns
    -------
    correction : ndarray of shape (n_nets, n_samples)
        What each net adds to the offset, in logits.
    """
    return np.stack([np.maximum(Z @ W1 + b1, 0) @ w2 + b2 for W1, b1, w2, b2 in zip(*weights)])
