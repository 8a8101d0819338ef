"""Base class and helpers of the meta-learners."""

from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_scalar

from .._utils.probabilities import log_loss_of_logits
from .._utils.random import draw_seed


class Fold(NamedTuple):
    """A fold of the cross-fitting: positions of rows, and their meta-features."""

    train: np.ndarray
    test: np.ndarray
    Z_train: np.ndarray
    Z_test: np.ndarray


class ClippedScaler:
    """Standardise columns, clip them to the range of the training rows, replace missing by 0.

    Clipping is needed because a new row may equal a training row. The distance of the new row to
    its neighbours is then far below the distances of the training rows, none of which is its own
    neighbour.
    """

    limit = 5

    def fit(self, Z, sample_weight):
        known = np.where(np.isfinite(Z), Z, np.nan)
        # With weights, the variance of a constant column may be rounded to a number below 0.
        with np.errstate(invalid="ignore"):
            scaler = StandardScaler().fit(known, sample_weight=sample_weight)
        self.mean, self.scale = scaler.mean_, scaler.scale_
        scaled = np.nan_to_num(scaler.transform(known))
        self.low = np.maximum(scaled.min(axis=0), -self.limit)
        self.high = np.minimum(scaled.max(axis=0), self.limit)
        return self

    def transform(self, Z):
        # StandardScaler itself would refuse infinite values, and check single rows for long.
        return np.nan_to_num(np.clip((Z - self.mean) / self.scale, self.low, self.high))


class ResidualMetaLearner(BaseEstimator):
    """Base class of the learners that correct an offset."""

    #: Whether the learner uses columns that are for trees only.
    takes_tree_columns = False
    #: Whether the correction is a sum over the meta-features.
    is_additive = True
    #: Whether the learner uses sample weights.
    takes_weights = True
    #: Whether the learner is fitted on X itself in place of meta-features.
    raw_input = False

    def check_parameters(self):
        """Raise if a parameter has no valid value, before anything is fitted.

        Raises
        ------
        TypeError, ValueError
            If a parameter is invalid. The message has its name, its value and the valid values.
        """

    def _check_number(self, name, kind, **bounds):
        check_scalar(getattr(self, name), f"{name} of {type(self).__name__}", kind, **bounds)

    def fit(
        self,
        Z,
        is_error,
        offset,
        *,
        folds,
        Z_folds=None,
        is_for_trees=None,
        sample_weight=None,
        seed=0,
    ):
        """Learn the correction.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_meta_features)
            Meta-features of rows that the base was not trained on.
        is_error : ndarray of bool, shape (n_samples,)
            True where the base is wrong.
        offset : ndarray of shape (n_samples,)
            Calibrated log-odds of an error, cross-fitted.
        folds : list of (train, test)
            Folds in which the strength of the correction is chosen.
        Z_folds : list of ndarray of shape (n_samples, n_meta_features), default=None
            Meta-features for each fold, computed without the labels of its test rows. None takes
            `Z` for every fold, which is right if no row is described by labels of other rows.
        is_for_trees : ndarray of bool, shape (n_meta_features,), default=None
            Columns that only tree learners use; None means none.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights.
        seed : int, default=0
            Seed, used if the learner has no `random_state` or if it is None.

        Returns
        -------
        self : object
            `oof_logit_` holds the log-odds of each row, from learners of the other folds.
        """
        self.check_parameters()
        Z = np.asarray(Z, dtype=float)
        weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight, float)
        self.n_features_in_ = Z.shape[1]
        self._used = np.ones(Z.shape[1], dtype=bool)
        if is_for_trees is not None and not self.takes_tree_columns:
            self._used = ~np.asarray(is_for_trees, dtype=bool)
        folds = [
            Fold(train, test, Z_fold[train][:, self._used], Z_fold[test][:, self._used])
            for (train, test), Z_fold in zip(folds, Z_folds or [Z] * len(folds))
        ]
        self._fit(Z[:, self._used], np.asarray(is_error, bool), offset, folds, weight, seed)
        return self

    def decision_function(self, Z, offset):
        """Return the log-odds of an error.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_meta_features)
            Meta-features.
        offset : ndarray of shape (n_samples,)
            Calibrated log-odds.

        Returns
        -------
        logit : ndarray of shape (n_samples,)
            Higher = more likely wrong.
        """
        return offset + self._correct(np.asarray(Z, float)[:, self._used])

    def contributions(self, Z):
        """Split the correction into one part per meta-feature, if the learner `is_additive`.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_meta_features)
            Meta-features.

        Returns
        -------
        parts : ndarray of shape (n_samples, n_meta_features)
            In log-odds, relative to the training rows.
        constant : float
            Rest of the correction, the same for every row.
        """
        parts = np.zeros(Z.shape)
        parts[:, self._used], constant = self._contributions(np.asarray(Z, float)[:, self._used])
        return parts, constant

    def _seed(self, seed):
        random_state = getattr(self, "random_state", None)
        return seed if random_state is None else draw_seed(random_state)


class ConfidenceMetaLearner(ResidualMetaLearner):
    """Correct nothing: the error probability is the calibrated offset.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import ConfidenceMetaLearner
    >>> learner = ConfidenceMetaLearner()
    >>> _ = learner.fit(np.zeros((2, 1)), [True, False], np.array([0.5, -0.5]), folds=[])
    >>> learner.decision_function(np.zeros((1, 1)), np.array([0.3])).tolist()
    [0.3]
    """

    def _fit(self, Z, is_error, offset, folds, weight, seed):
        self.oof_logit_ = np.array(offset, dtype=float)

    def _correct(self, Z):
        return np.zeros(len(Z))

    def _contributions(self, Z):
        return np.zeros(Z.shape), 0.0


def index_of_least_loss(is_error, pooled, weight):
    """Return the index of the correction with the smallest log-loss; a loss of NaN is ignored.

    Index 0 means no correction.
    """
    with np.errstate(invalid="ignore"):
        return int(np.nanargmin(log_loss_of_logits(is_error, pooled, weight)))
