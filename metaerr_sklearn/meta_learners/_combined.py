"""Meta-learners made of other learners."""

from functools import partial
from itertools import chain

import numpy as np
from sklearn import config_context
from sklearn.base import clone

from .._base_estimator.adapter import adapt
from .._base_estimator.cross_fitting import cross_fit
from .._base_estimator.fitting import fit_base
from .._compat import VisualBlock
from .._utils.failures import noted
from .._utils.messages import warn_caller
from .._utils.output_checks import OutputError, is_distribution
from .._utils.platt import PlattScaling, cross_fitted
from .._utils.probabilities import clipped_logit
from .._utils.rows import take_rows
from .._utils.threads import run_in_threads
from .._utils.weights import weights_or_ones
from ._base import ResidualMetaLearner

_EPS = 1e-6


class AverageMetaLearner(ResidualMetaLearner):
    """Average the log-odds of several learners.

    Use it as ``meta_learner=`` of `MetaErrorClassifier` or `ErrorModel`. Their default "auto" is
    the average of a `LightGBMMetaLearner` and a `LogisticMetaLearner`.

    Parameters
    ----------
    learners : list of residual meta-learners
        Each is cloned and fitted on the same rows.
    n_jobs : int, default=None
        Number of learners fitted at once, in threads. Each may use further threads of its own.

    Attributes
    ----------
    learners_ : list of fitted meta-learners
    oof_logit_ : ndarray of shape (n_samples,)
        Mean of their out-of-fold log-odds. The learners use their corrections together or not at
        all.

    Examples
    --------
    >>> from metaerr_sklearn import AverageMetaLearner, LightGBMMetaLearner, LogisticMetaLearner
    >>> AverageMetaLearner([LightGBMMetaLearner(), LogisticMetaLearner()]).is_additive
    True
    """

    def __init__(self, learners, n_jobs=None):
        self.learners = learners
        self.n_jobs = n_jobs

    def check_parameters(self):
        """Raise unless `learners` is a list of meta-learners with valid parameters."""
        learners = self.learners if isinstance(self.learners, (list, tuple)) else []
        # An average and a classifier have no strength of a correction that could be chosen.
        if not learners or not all(hasattr(learner, "_fit_path") for learner in learners):
            raise ValueError(
                "learners of AverageMetaLearner must be a list of at least one meta-learner of "
                "this package, other than AverageMetaLearner and ClassifierMetaLearner, got "
                f"{self.learners!r}. Pass for example [LightGBMMetaLearner(), "
                "LogisticMetaLearner()]."
            )
        for learner in learners:
            learner.check_parameters()

    @property
    def takes_tree_columns(self):
        """Whether one of the learners uses columns that are for trees only."""
        return any(learner.takes_tree_columns for learner in self.learners)

    @property
    def is_additive(self):
        """Whether the correction of every learner splits into parts."""
        return all(learner.is_additive for learner in self.learners)

    def cross_fit(self, Z, is_error, offset, **options):
        """Compute the out-of-fold log-odds of a clone of each learner.

        Parameters
        ----------
        Z, is_error, offset : any
            See `ResidualMetaLearner.fit`.
        **options : dict
            The other arguments of `ResidualMetaLearner.cross_fit`.

        Returns
        -------
        paths, finishes : list
            Those of all learners; see `ResidualMetaLearner.cross_fit`.
        """
        self.check_parameters()
        self.n_features_in_ = Z.shape[1]
        self.learners_ = [clone(learner) for learner in self.learners]
        works = (partial(v.cross_fit, Z, is_error, offset, **options) for v in self.learners_)
        found = zip(*run_in_threads(self.n_jobs, works))
        paths, finishes = (list(chain.from_iterable(lists)) for lists in found)
        return paths, finishes

    def decision_function(self, Z, offset):
        """Return the mean log-odds of an error.

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
        return np.mean(
            [learner.decision_function(Z, offset) for learner in self.learners_],
            axis=0,
        )

    def contributions(self, Z):
        """Average the contributions of the learners.

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
        parts, constants = zip(*(learner.contributions(Z) for learner in self.learners_))
        return np.mean(parts, axis=0), float(np.mean(constants))

    def _sk_visual_block_(self):
        learners = getattr(self, "learners_", self.learners)
        return VisualBlock("parallel", learners, dash_wrapped=False)


class ClassifierMetaLearner(ResidualMetaLearner):
    """Learn the error with any classifier, which gets the offset as a further column.

    Its probabilities are calibrated by Platt scaling on out-of-fold predictions: with
    ``class_weight="balanced"``, for example, they are too high if errors are rare.

    Parameters
    ----------
    estimator : classifier
        A clone is fitted on the meta-features and the offset. The target is 1 where the base is
        wrong, else 0.
    raw_input : bool, default=False
        Whether the classifier gets X itself in place of meta-features and offset.
    """

    def __init__(self, estimator, raw_input=False):
        self.estimator = estimator
        self.raw_input = raw_input

    is_additive = False

    @property
    def takes_weights(self):
        """Whether the ``fit`` of the classifier takes sample weights."""
        return adapt(self.estimator).sample_weight_param() is not None

    def check_parameters(self):
        """Raise if the classifier is a net for images and would get a table of meta-features."""
        if not self.raw_input:
            adapt(self.estimator).check_takes_table()

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
        """Fit the classifier on all rows, and on each training fold for `oof_logit_`.

        Parameters
        ----------
        Z, is_error, offset, folds, Z_folds, is_for_trees, sample_weight, groups, seed : any
            See `ResidualMetaLearner.fit`.

        Returns
        -------
        self : object
        """
        classes = np.array([0, 1])
        target = np.asarray(is_error).astype(np.int64)
        features = self._features(Z, offset)
        base = adapt(self.estimator)
        name = None if sample_weight is None else base.sample_weight_param()
        if sample_weight is not None and name is None:
            warn_caller(
                f"The fit of {type(base.final).__name__}, the meta-learner, takes no "
                "sample_weight: all rows have the same weight in it."
            )
        options = {"classes": classes, "fit_params": {name: sample_weight} if name else {}}
        # Metadata routing is off here: weights are passed by name, without a request of the user.
        off = config_context(enable_metadata_routing=False)
        with off, noted("fitting the meta-learner"):
            proba = np.full(len(target), np.mean(target))
            for (train, test), Z_fold in zip(folds, Z_folds or [Z] * len(folds)):
                predictions, *_ = cross_fit(
                    self.estimator,
                    self._features(Z_fold, offset),
                    target,
                    splits=[(train, test)],
                    seed=seed,
                    mend_folds=False,
                    **options,
                )
                proba[test] = predictions.proba[test, 1]
            own = base.own_copy(features) if self.raw_input else features
            self.estimator_ = fit_base(self.estimator, own, target, seed=seed, **options)
        if not any(hasattr(self.estimator_, m) for m in ("predict_proba", "decision_function")):
            raise OutputError(
                f"{type(base.final).__name__} has neither predict_proba nor decision_function. "
                "Pass a meta_learner that has one of them."
            )
        logit, is_error = clipped_logit(proba, _EPS), target.astype(bool)
        weight = weights_or_ones(sample_weight, len(target))
        self._scaling = PlattScaling().fit(logit, is_error, weight)
        self.oof_logit_ = cross_fitted(logit, is_error, weight, folds)
        return self

    def decision_function(self, Z, offset):
        """Return the log-odds of an error.

        A row for which the classifier returns no probabilities has the log-odds of the offset.

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
        features, base = self._features(Z, offset), adapt(self.estimator_)
        try:
            return self._logit(features)
        except OutputError as error:
            if not hasattr(self.estimator_, "predict_proba"):
                raise
            proba = np.asarray(base.call("predict_proba", features))
            valid = np.zeros(len(offset), dtype=bool)
            if proba.shape == (len(offset), 2):
                valid = is_distribution(proba)
            warn_caller(
                f"The meta-learner returns no probabilities for {np.sum(~valid)} of {len(offset)} "
                f"rows, whose error probability is that of calibrated confidence: {error}"
            )
        logit, rows = np.array(offset, dtype=float), np.flatnonzero(valid)
        if len(rows):
            logit[rows] = self._logit(take_rows(features, rows))
        return logit

    def _logit(self, features):
        proba = adapt(self.estimator_).predict_proba(features, np.array([0, 1]))
        return self._scaling.predict(clipped_logit(proba[:, 1].astype(float), _EPS))

    def _features(self, Z, offset):
        return Z if self.raw_input else np.column_stack([Z, offset]).astype(np.float32)
