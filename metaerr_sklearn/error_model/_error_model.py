"""Estimate the probability that a prediction is wrong, from the prediction and its input."""

from dataclasses import replace
from functools import partial

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.adapter import adapt
from .._base_estimator.caching import Kept
from .._base_estimator.observations import DeployedBase, Observations
from .._utils import limits
from .._utils.failures import keeps_earlier_fit
from .._utils.indexable import indexable
from .._utils.label_checks import (
    check_fold,
    check_groups,
    check_has_target,
    check_labels,
    check_predicted_labels,
    check_same_kind,
    distinct,
    warn_if_y_pred_lacks,
)
from .._utils.labels import read_labels
from .._utils.messages import warn_caller
from .._utils.output_checks import check_proba, warn_if_worse_than_guessing
from .._utils.parameter_checks import check_n_jobs
from .._utils.probabilities import label_positions, log_loss_of_logits
from .._utils.random import draw_seed
from .._utils.threads import run_in_threads
from .._utils.weights import check_weights
from ..meta_features._base import TrainingRows
from ..meta_features._blocks import fit_blocks, kept_for
from ..meta_features._choice import (
    check_meta_features,
    check_no_observers,
    choose_blocks,
    make_blocks,
    needs_representation,
)
from ..meta_features._observers import is_observer
from ..meta_learners import ClassifierMetaLearner, ConfidenceMetaLearner
from ..meta_learners._choice import HasMetaLearner, make_meta_learner
from ..model_selection._duplicates import find_duplicates, report_duplicates
from ..model_selection._splitting import without_single_rows
from ..representation._choice import (
    check_representation,
    fit_representation,
    is_hidden_layer_of,
    is_of_images,
    represent,
    shared_with,
)
from ._accuracy import EstimatesAccuracy
from ._cascade import Cascade
from ._explanation import ExplainsErrors
from ._folds import make_folds, why_no_folds
from ._novelty import PredictsNovelty
from ._sampling import learned_share, sample_rows, spread_weights, without_zero_weights


class ErrorModel(ExplainsErrors, EstimatesAccuracy, PredictsNovelty, HasMetaLearner, BaseEstimator):
    """Estimate the probability that a prediction made elsewhere is wrong.

    The predictions may come from a deployed model, an API or another machine. Train the error model
    only on predictions for rows that the classifier was not trained on.

    The model starts from an offset: the log-odds of an error that follow from the probability of
    the predicted class, calibrated by Platt scaling [2]_. With the block "second_opinion", they are
    first averaged with the log-odds of auxiliary models of the labels. The votes of observers are
    averaged with both. Auxiliary models that `MetaErrorClassifier` trains on a hidden layer of the
    base itself are left out of this mean, because they are wrong together with the base. The
    meta-learner adds a correction that it learns from meta-features. It is used only if the
    corrected log-odds are related to the errors, out-of-fold, by more than chance explains (at the
    level of 0.1 %).

    Parameters
    ----------
    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner or \
            classifier, default="auto"
        The model that learns the error. "auto" averages the log-odds of "lightgbm" and "logistic".
        "confidence" learns nothing beyond the calibrated offset. A classifier is fitted on the
        meta-features and the offset, with target 1 where the prediction is wrong; with
        ``meta_features="input"`` it is fitted on X itself.

    meta_features : "auto", "one_pass", str, callable or list of these, default="auto"
        The numbers that describe a prediction. "auto" and "one_pass" are all five blocks:

        - "confidence": the class probabilities, their differences and their entropy;
        - "predicted_class": the predicted class, if there are at most 30 classes;
        - "neighbors": the nearest training rows, their labels and which of them are errors;
        - "second_opinion": the class probabilities of a forest and of boosted trees, which are
          trained on the rows of `fit`;
        - "input": X itself, as numbers. Only "lightgbm" and its half of "auto" use it.

        A list may also contain callables ``f(X, proba)`` that return one row of numbers per sample,
        and objects with ``fit(X, proba)`` and ``transform(X, proba)``. Objects with
        ``observe(estimator, X)`` are accepted only by `MetaErrorClassifier`, which has the base.

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers whose distances have a meaning. It is fitted without labels. With
        None, or (with a warning) if no representation exists for this kind of X, only the blocks
        that need none are used.

    cv : int or None, default=None
        Folds in which offset and meta-learner are cross-fitted. None takes 5, or 3 for more than
        5,000 rows.

    n_jobs : int, default=None
        Number of threads; None means 1. `fit` uses them for the second opinion, the neighbour
        search, the learners of "auto" and the folds of boosted trees; predictions, for chunks of
        rows.

    random_state : int, RandomState instance or None, default=None
        Seed of everything random.

    verbose : int, default=0
        Print a line at the end of `fit`.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the columns of `proba`, sorted.

    error_rate_ : float in [0, 1]
        Share of wrong predictions among the training rows, weighted.

    n_errors_ : int
        Number of wrong predictions among the training rows.

    n_learned_rows_ : int
        Number of rows that the error model was trained on; see Notes.

    oof_error_proba_ : ndarray of shape (n_samples,)
        Out-of-fold error probability of each training row. NaN for rows of weight 0, and for rows
        that were not sampled (see Notes) but are related to sampled rows.

    oof_log_loss_ : float
        Log-loss of `oof_error_proba_` on the sampled rows. Lower is better.

    representation_ : fitted transformer or None
        Represents X as numbers.

    representation_reason_ : str or None
        Reason why X has no representation; None if it has one or needs none.

    duplicates_ : DuplicateReport or None
        What was found of duplicated rows; see `MetaErrorClassifier`.

    fallback_reason_ : str or None
        Reason why no meta-learner was fitted; None if one was fitted. Without one, the error
        probability follows from the mean log-odds of the offset, shifted to the error rate.

    meta_feature_names_ : list of str
        Columns that the meta-learner was fitted on.

    observed_threshold_ : float or None
        Error probability of the first model from which a row is passed to the observers, if
        `MetaErrorClassifier` has ``observed_share`` below 1. None if all rows are.

    meta_learner_ : fitted meta-learner or None
        None if nothing was learned.

    See Also
    --------
    MetaErrorClassifier : Wraps a classifier and computes the out-of-fold predictions itself.

    Notes
    -----
    At most 20,000 rows are used for training, sampled at random (whole groups if `groups` are
    given, unless a group has more than 2,000 rows). If errors are rare and no rows are related, up
    to 5,000 additional errors are sampled and down-weighted. The error probability of the other
    rows is predicted, so that the cost beyond 20,000 rows is one pass over them.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Error Patterns in Deep Neural Networks, arXiv 2604.23289.
    .. [2] Platt (1999). Probabilistic Outputs for Support Vector Machines.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from metaerr_sklearn import ErrorModel
    >>> X, y = load_digits(return_X_y=True)
    >>> deployed = LogisticRegression(C=1e-3, max_iter=200).fit(X[:300], y[:300])
    >>> proba = deployed.predict_proba(X)
    >>> model = ErrorModel("logistic", random_state=0).fit(X[300:900], y[300:900], proba[300:900])
    >>> model.predict_error_proba(X[900:], proba[900:]).shape
    (897,)
    """

    def __init__(
        self,
        meta_learner="auto",
        *,
        meta_features="auto",
        representation="auto",
        cv=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.meta_learner = meta_learner
        self.meta_features = meta_features
        self.representation = representation
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X, y, proba, *, y_pred=None, classes=None, groups=None, sample_weight=None, fold=None
    ):
        """Learn which predictions are wrong.

        Parameters
        ----------
        X : any, of length n_samples, or None
            Inputs of the predictions: array, frame, sparse matrix, images, list of str. With None
            only the probabilities are used.

        y : array-like of shape (n_samples,)
            Class labels.

        proba : array-like of shape (n_samples, n_classes)
            Class probabilities, from a classifier that was not trained on these rows. The
            columns of a frame are matched to the classes by name.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels; None takes the most probable class.

        classes : array-like of shape (n_classes,), default=None
            Sorted labels of the columns of `proba`; None takes those in `y`.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group are related: they are never split across folds.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0. Only their ratios count; rows of weight 0 are left out.

        fold : array-like of shape (n_samples,), default=None
            Number of the classifier that predicted each row, if there were several, as in
            ``cross_val_predict``. Only errors of the same classifier are then compared, because the
            errors of a classifier that was trained on a row reveal the label of that row. None
            means one classifier, which was trained on none of the rows.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If lengths, probabilities, classes or parameters are invalid.
        """
        self.check_parameters()
        check_no_observers(self.meta_features)
        check_has_target(y, type(self).__name__)
        y = check_labels(y, y)
        labels = distinct(y, "y")
        classes = labels if classes is None else read_labels(classes, name="classes")
        if not np.array_equal(classes, distinct(classes, "classes")):
            raise ValueError(
                f"classes must be sorted and distinct, got {classes!r}. They are the labels of the "
                "columns of proba, one for each column. To sort them: order = np.argsort(classes), "
                "then pass classes=np.asarray(classes)[order] and "
                "proba=np.asarray(proba)[:, order], in predictions too."
            )
        proba = check_proba(proba, classes=classes)
        y_pred = None if y_pred is None else check_predicted_labels(y_pred, classes)
        X, *_, groups, fold = indexable(X, y, proba, y_pred, groups, fold)
        groups = check_groups(groups)
        if not len(y):
            raise ValueError("ErrorModel needs at least one row, got 0.")
        check_same_kind(y, classes, "y")
        y_encoded = label_positions(y, classes)
        if y_pred is None:
            pred_encoded = proba.argmax(axis=1)
            is_error = y_encoded != pred_encoded
        else:
            pred_encoded = label_positions(y_pred, classes)
            is_error = y != y_pred
        warn_if_worse_than_guessing(
            is_error,
            len(classes),
            "The columns of proba must have the order of the sorted labels: pass a frame whose "
            "columns are named by label, or classes= if y lacks some of them.",
        )
        duplicates = None if X is None or groups is not None else find_duplicates(X, y_encoded)
        estimate = "the log-loss of oof_error_proba_"
        self.duplicates_ = report_duplicates(duplicates, "prefit", [], estimate=estimate)
        observations = Observations(
            X,
            proba,
            pred_encoded,
            y_encoded,
            is_error,
            sample_weight=None if sample_weight is None else check_weights(sample_weight, y),
            groups=without_single_rows(groups),
            duplicate_id=duplicates and duplicates.duplicate_id,
            fold=check_fold(fold),
        )
        return self.fit_observations(observations, classes)

    @keeps_earlier_fit
    def fit_observations(
        self,
        observations,
        classes,
        *,
        base=None,
        representation=None,
        observed_share=1.0,
        kept=None,
    ):
        """Fit on checked observations; called by estimators that have the base classifier.

        Parameters
        ----------
        observations : Observations
            Rows with predictions, labels and errors.

        classes : ndarray of shape (n_classes,)
            Sorted labels of the columns of the probabilities.

        base : DeployedBase, default=None
            The deployed base and its observers, which take the place of those in `meta_features`.

        representation : transformer, default=None
            Used in place of the parameter, for example the hidden layer of the deployed net.

        observed_share : float in (0, 1], default=1.0
            Share of rows for which observers are computed; see `MetaErrorClassifier`.

        kept : Kept, default=None
            Made from X; keeps the representation, neighbours, second opinion, offset and novelty.

        Returns
        -------
        self : object
        """
        seed, base = draw_seed(self.random_state), base or DeployedBase()
        self.classes_ = np.asarray(classes)
        self.oof_error_proba_ = np.full(len(observations), np.nan)
        self._n_not_argmax = int(np.sum(~observations.is_argmax))
        counted, observations = without_zero_weights(observations)
        is_error, weight = observations.is_error, observations.sample_weight
        self.n_errors_ = int(is_error.sum())
        self.error_rate_ = float(np.average(is_error, weights=weight))
        learner = self._make_learner()
        self._raw_input = learner.raw_input
        if self._raw_input and observations.X is None:
            raise ValueError('meta_features="input" passes X to the meta-learner, and X is None.')
        sources = [] if self._raw_input else self._choose_sources(learner, base)
        kept = (kept or Kept()).narrowed(counted)
        kept = self._fit_representation(sources, observations, representation, seed, kept)
        self._make_blocks(sources, base.estimator)

        sample = sample_rows(
            is_error, observations.relation, seed, oversample_errors=learner.takes_weights
        )
        self.n_learned_rows_ = len(is_error) if sample.rows is None else len(sample.rows)
        self._learned_share = learned_share(is_error, sample.rows)
        self._oof_weight = spread_weights(weight, counted, len(self.oof_error_proba_))
        observations, sampled = self._represent(observations, sample, learner, base.estimator, kept)
        training, no_folds = self._make_training_rows(
            sampled, sample.reference, seed, base.estimator
        )
        if no_folds is not None:
            self._blocks = []
        kept_of_rows = kept_for(training, kept.memory)
        fitted = fit_blocks(self._blocks, training, kept_of_rows)
        self._blocks = [block for block, *_ in fitted]
        self._novelty = self._fit_novelty(training, fitted, observations.X, sample.rows, kept)
        sample_weight = sampled.sample_weight
        if sample.weight is not None:
            sample_weight = sample.weight * (1 if sample_weight is None else sample_weight)
        self._cascade = Cascade(observed_share)
        oof = self._cascade.fit(
            training,
            fitted,
            self._make_learner,
            raw_input=self._raw_input,
            weight=sample_weight,
            no_folds=no_folds,
            kept=kept_of_rows,
        )
        self._describe_fit()
        self.oof_log_loss_ = float(log_loss_of_logits(sampled.is_error, oof, sample_weight))

        self.oof_error_proba_[counted] = self._oof_error_proba(observations, sample, expit(oof))
        if self.verbose:
            print(
                f"[ErrorModel] {self.n_errors_} errors in {len(is_error)} rows, "
                f"log-loss {self.oof_log_loss_:.4f}"
            )
        return self

    def predict_error_proba(self, X, proba, *, y_pred=None):
        """Estimate the probability that each prediction is wrong.

        Parameters
        ----------
        X : as in fit
            Inputs of the predictions.

        proba : array-like of shape (n_samples, n_classes)
            Class probabilities, columns as in fit.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels; None takes the most probable class.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.

        Raises
        ------
        ValueError
            If lengths differ, `proba` holds no probabilities, its columns do not fit the classes,
            or X is None and the model was fitted with X.
        """
        return self.predict_observations(self._check_predictions(X, proba, y_pred))

    def predict_observations(self, observations, rows=None):
        """Predict error probabilities for checked observations.

        Parameters
        ----------
        observations : Observations
            Rows with predictions.

        rows : ndarray of int, default=None
            Positions of the rows to predict; None means all.

        Returns
        -------
        error_proba : ndarray of shape (n_rows,)
        """
        chunks = self._with_needed_inputs(observations).chunks(limits.ERROR_MODEL_CHUNK, rows)
        works = (partial(self._predict_chunk, chunk) for chunk in chunks)
        parts = run_in_threads(self.n_jobs, works)
        return np.concatenate(parts) if parts else np.empty(0)

    def with_representation(self, observations):
        """Return checked observations with their representation, if the model has one.

        Parameters
        ----------
        observations : Observations
            Rows with predictions.

        Returns
        -------
        observations : Observations
        """
        if observations.representation is not None or self.representation_ is None:
            return observations
        matrix = represent(self.representation_, observations.X)
        return replace(observations, representation=matrix)

    def check_parameters(self):
        """Raise if a parameter has no valid value, before anything costly is fitted."""
        if self.cv is not None:
            check_scalar(self.cv, "cv", target_type=(int, np.integer), min_val=2)
        check_n_jobs(self.n_jobs)
        check_representation(self.representation)
        sources, learner = check_meta_features(self.meta_features), self._make_learner()
        learner.check_parameters()
        uses_input = learner.takes_tree_columns or isinstance(
            learner, (ClassifierMetaLearner, ConfidenceMetaLearner)
        )
        if sources == ["input"] and not uses_input:
            raise ValueError(
                f"meta_features={self.meta_features!r} holds no block that {self.meta_learner!r} "
                'uses. Add "confidence" or another block, or use meta_learner="lightgbm".'
            )

    def _make_learner(self):
        only_input = check_meta_features(self.meta_features) == ["input"]
        return make_meta_learner(self.meta_learner, n_jobs=self.n_jobs, only_input=only_input)

    def _choose_sources(self, learner, base):
        """Return the blocks in `meta_features` that are used, with the observers of the base."""
        sources = choose_blocks(
            self.meta_features,
            for_trees=learner.takes_tree_columns,
            # Clones of a net have other class biases than the deployed net.
            for_other_net=not base.made_predictions and adapt(base.estimator).is_net,
        )
        observers = iter(base.observers)
        return [next(observers) if is_observer(source) else source for source in sources]

    def _fit_representation(self, sources, observations, representation, seed, kept):
        """Fit the representation if a block needs it; return a `Kept` for what depends on both."""
        self.representation_ = self.representation_reason_ = None
        if not any(map(needs_representation, sources)):
            return kept
        if representation is None:
            representation = self.representation
        kept = kept.narrowed(representation, seed)
        self.representation_, self.representation_reason_ = fit_representation(
            representation, observations.X, seed=seed, hidden=observations.embedding, kept=kept
        )
        return kept

    def _make_blocks(self, sources, estimator):
        """Make the blocks of meta-features that X allows."""
        usable = [
            source
            for source in sources
            if self.representation_ is not None or not needs_representation(source)
        ]
        if sources and not usable:
            raise ValueError(
                f"meta_features={self.meta_features!r} needs numbers made of X, but "
                f'{self.representation_reason_}. Add the block "confidence", which needs the '
                "probabilities alone, or pass a representation= for X."
            )
        self._blocks = make_blocks(usable, estimator)

    def _represent(self, observations, sample, learner, estimator, kept):
        """Return all observations and the sampled ones, the latter with their representation.

        If the hidden layer is already computed, the representation starts from it instead of X,
        and is computed for all rows.
        """
        rows = sample.rows
        if self.representation_ is not None and observations.embedding is not None:
            _, rest = shared_with(self.representation_, estimator)
            matrix = represent(rest, observations.embedding)
            observations = replace(observations, embedding=None, representation=matrix)
        sampled = observations
        if rows is not None:
            needs_inputs = any(block.needs_inputs for block in self._blocks)
            X = observations.X
            sampled = replace(observations, X=X if needs_inputs else None).take(rows)
            if self._raw_input:
                sampled = replace(sampled, X=adapt(learner.estimator).take_rows(X, rows))
        if self.representation_ is not None and sampled.representation is None:
            matrix = kept(
                partial(represent, self.representation_, observations.X, rows), "matrix", rows
            )
            sampled = replace(sampled, representation=matrix)
        return observations, sampled

    def _make_training_rows(self, rows, reference, seed, estimator):
        """Return the rows to train on, in folds, and the reason if they cannot be split."""
        no_folds, folds, part = why_no_folds(rows), None, None
        if no_folds is None:
            folds, part = make_folds(rows, self.cv, seed)
        training = TrainingRows(
            rows,
            reference=reference,
            folds=folds,
            part=part,
            is_related=rows.relation is not None and no_folds is None,
            seed=seed,
            n_jobs=self.n_jobs,
            is_image=is_of_images(self.representation_),
            is_hidden_layer=is_hidden_layer_of(self.representation_, estimator),
        )
        return training, no_folds

    def _oof_error_proba(self, observations, sample, of_sample):
        """Return that of each row; NaN for a row that is only related to rows of the sample."""
        oof_error_proba = np.full(len(observations), np.nan)
        oof_error_proba[slice(None) if sample.rows is None else sample.rows] = of_sample
        if len(sample.unused):
            oof_error_proba[sample.unused] = self.predict_observations(observations, sample.unused)
        return oof_error_proba

    def _describe_fit(self):
        """Set the attributes that describe what was learned."""
        full = self._cascade.full
        self.meta_learner_, self.meta_feature_names_ = full.meta_learner, full.meta_feature_names
        self.observed_threshold_ = self._cascade.threshold
        self.fallback_reason_ = full.fallback_reason
        if self.fallback_reason_ is not None:
            warn_caller(self.fallback_reason_)

    def _check_predictions(self, X, proba, y_pred):
        check_is_fitted(self)
        proba = check_proba(proba, classes=self.classes_)
        pred_encoded = proba.argmax(axis=1)
        if y_pred is not None:
            y_pred = check_predicted_labels(y_pred, self.classes_)
            pred_encoded = label_positions(y_pred, self.classes_)
        else:
            warn_if_y_pred_lacks(self._n_not_argmax)
        X, *_ = indexable(X, proba, y_pred)
        observations = Observations(X, proba, pred_encoded)
        if X is None and self._needs_inputs(observations):
            raise ValueError("X is None, but this ErrorModel was fitted with X: pass it.")
        return observations

    def _needs_inputs(self, observations):
        if self._raw_input or any(block.needs_inputs for block in self._blocks):
            return True
        return self.representation_ is not None and observations.representation is None

    def _with_needed_inputs(self, observations):
        """Return the observations without X if X is not used: wide rows make chunks smaller."""
        return observations if self._needs_inputs(observations) else replace(observations, X=None)

    def _predict_chunk(self, observations):
        return self._cascade.predict(self.with_representation(observations), self._blocks)
