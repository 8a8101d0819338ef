"""Base class and helpers of the meta-learners."""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_scalar

from .._utils.probabilities import log_losses_of_logits
from .._utils.random import draw_seed
from .._utils.threads import run_in_threads
from .._utils.weights import weights_or_ones

# Quantile of the standard normal distribution for a level of 0.1 %.
_QUANTILE = 3.09


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
    """Base class of the learners that correct an offset.

    A subclass defines three methods. ``_fit_path(Z, is_error, offset, folds, weight, seed)``
    returns the out-of-fold log-odds for each strength of the correction, and a function that fits
    the learner with the strength of a given index; see `cross_fit`. Each of `folds` there has the
    attributes ``train``, ``test``, ``Z_train`` and ``Z_test``. ``_correct(Z)`` returns the
    correction of new rows. ``_contributions(Z)`` returns one part of it for each column, and the
    constant rest; only a learner that `is_additive` needs it.
    """

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
        groups=None,
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
        groups : ndarray of shape (n_samples,), default=None
            Equal values mark related rows, which are no independent evidence.
        seed : int, default=0
            Seed, used if the learner has no `random_state` or if it is None.

        Returns
        -------
        self : object
            `oof_logit_` holds the log-odds of each row, from learners of the other folds. The
            strength of the correction of a row is chosen by the other folds, too.
        """
        paths, finishes = self.cross_fit(
            Z,
            is_error,
            offset,
            folds=folds,
            Z_folds=Z_folds,
            is_for_trees=is_for_trees,
            sample_weight=sample_weight,
            seed=seed,
        )
        amounts, self.oof_logit_ = choose_amounts(paths, is_error, folds, sample_weight, groups)
        run_in_threads(getattr(self, "n_jobs", None), map(partial, finishes, amounts))
        return self

    def cross_fit(
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
        """Compute out-of-fold log-odds for each strength of the correction.

        Parameters
        ----------
        Z, is_error, offset, folds, Z_folds, is_for_trees, sample_weight, seed : any
            See `fit`.

        Returns
        -------
        paths : list of ndarray of shape (n_strengths, n_samples)
            Log-odds, one array for each averaged learner. The first strength is no correction: the
            offset.
        finishes : list of callable
            Each fits one learner on all rows, with the strength at the given index of its path.
        """
        self.check_parameters()
        Z = np.asarray(Z, dtype=float)
        weight = weights_or_ones(sample_weight, len(Z))
        self.n_features_in_ = Z.shape[1]
        self._used = np.ones(Z.shape[1], dtype=bool)
        if is_for_trees is not None and not self.takes_tree_columns:
            self._used = ~np.asarray(is_for_trees, dtype=bool)
        folds = [
            Fold(train, test, Z_fold[train][:, self._used], Z_fold[test][:, self._used])
            for (train, test), Z_fold in zip(folds, Z_folds or [Z] * len(folds))
        ]
        offset = np.asarray(offset, dtype=float)
        is_error = np.asarray(is_error, dtype=bool)
        path, finish = self._fit_path(Z[:, self._used], is_error, offset, folds, weight, seed)
        return [path], [finish]

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

    Use it as ``meta_learner=`` of `MetaErrorClassifier` or `ErrorModel`. The offset is the
    calibrated log-odds of an error, from which the error model starts; see `ErrorModel`.

    Attributes
    ----------
    oof_logit_ : ndarray of shape (n_samples,)
        Offset of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import ConfidenceMetaLearner
    >>> learner = ConfidenceMetaLearner()
    >>> _ = learner.fit(np.zeros((2, 1)), [True, False], np.array([0.5, -0.5]), folds=[])
    >>> learner.decision_function(np.zeros((1, 1)), np.array([0.3])).tolist()
    [0.3]
    """

    def _fit_path(self, Z, is_error, offset, folds, weight, seed):
        return offset[None], lambda amount: None

    def _correct(self, Z):
        return np.zeros(len(Z))

    def _contributions(self, Z):
        return np.zeros(Z.shape), 0.0


def choose_amounts(paths, is_error, folds, sample_weight=None, groups=None):
    """Choose how strong the corrections of several learners are; their log-odds are averaged.

    Each learner takes the strength with the smallest out-of-fold log-loss. The corrections are used
    only if the corrected log-odds are related to the errors by more than chance explains: a
    one-sided test of their covariance at the level of 0.1 %. If nothing is related to the errors,
    the best of many strengths seems to be better than the offset by chance.

    Parameters
    ----------
    paths : list of ndarray of shape (n_strengths, n_samples)
        Out-of-fold log-odds of each learner. The first strength is no correction.
    is_error : ndarray of bool, shape (n_samples,)
        True where the base is wrong.
    folds : list of (train, test)
        The log-odds of the test rows of a fold have strengths that its training rows choose.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.
    groups : ndarray of shape (n_samples,), default=None
        Equal values mark related rows. The rows of a group are one summand of the test.

    Returns
    -------
    amounts : list of int
        Index of the strength of each learner; 0 is no correction.
    oof : ndarray of shape (n_samples,)
        Mean log-odds.
    """
    is_error = np.asarray(is_error, dtype=bool)
    weight = weights_or_ones(sample_weight, len(is_error))
    relation = (
        np.arange(len(is_error)) if groups is None else np.unique(groups, return_inverse=True)[1]
    )
    losses = [weight * log_losses_of_logits(is_error, path) for path in paths]
    offset = paths[0][0]

    def choose(rows):
        # A loss of NaN is ignored.
        sums = (np.nan_to_num(loss[:, rows].sum(axis=1), nan=np.inf) for loss in losses)
        amounts = [int(np.argmin(values)) for values in sums]
        mean = np.mean([path[amount] for path, amount in zip(paths, amounts)], axis=0)
        deviations = (v[rows] - np.average(v[rows], weights=weight[rows]) for v in (is_error, mean))
        covariance = np.bincount(relation[rows], weight[rows] * np.prod(list(deviations), axis=0))
        if covariance.sum() > _QUANTILE * np.sqrt(np.sum(covariance**2)):
            return amounts, mean
        return [0] * len(paths), offset

    oof = np.array(offset)
    for train, test in folds:
        oof[test] = choose(train)[1][test]
    return choose(slice(None))[0], oof
