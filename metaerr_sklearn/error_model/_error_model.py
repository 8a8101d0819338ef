"""Estimate the probability that a prediction is wrong, from the prediction and its input."""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.utils import check_scalar, column_or_1d
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.fitting import take_rows
from .._compat import safe_indexing
from .._utils import limits
from .._utils.probabilities import (
    label_positions,
    log_loss_of_logits,
    log_losses_of_logits,
    soft_clipped_logit,
    split_predicted,
)
from .._utils.random import draw_seed
from .._utils.rows import indexable, row_chunks
from .._utils.threads import run_in_threads
from .._utils.validation import (
    check_groups,
    check_labels,
    check_proba,
    check_same_kind,
    check_weights,
    warn_caller,
)
from ..meta_features._blocks import check_meta_features, make_block, observers_in
from ..meta_features._observers import ObserverBlock, is_observer
from ..meta_features._rows import Rows
from ..meta_learners import (
    AverageMetaLearner,
    ClassifierMetaLearner,
    ConfidenceMetaLearner,
    LightGBMMetaLearner,
    LogisticMetaLearner,
    MLPMetaLearner,
    ResidualMetaLearner,
)
from ..model_selection._duplicates import find_duplicates
from ..model_selection._splitting import make_splits
from ..representation import fit_representation, is_of_images, represent, shared_with, source_names
from ._offset import _OTHER_SECOND_WEIGHTS, PlattScaling
from ._sampling import ALL_ROWS, draw_rows

# Fewer errors (or fewer correct rows) than this teach nothing: the calibrated confidence is used.
MIN_ERRORS = 5
_NAMED_LEARNERS = {
    "auto": lambda n_jobs: AverageMetaLearner(
        [LightGBMMetaLearner(n_jobs=n_jobs), LogisticMetaLearner()], n_jobs=n_jobs
    ),
    "lightgbm": lambda n_jobs: LightGBMMetaLearner(n_jobs=n_jobs),
    "mlp": lambda n_jobs: MLPMetaLearner(),
    "logistic": lambda n_jobs: LogisticMetaLearner(),
    "confidence": lambda n_jobs: ConfidenceMetaLearner(),
}


class ErrorExplanation(NamedTuple):
    """What raises or lowers the log-odds of an error, for each row.

    ``contributions`` has shape (n_samples, n_contributions), in log-odds: above 0 = more likely
    wrong. ``names``, an array of str, says what each column is, as "block: meta-feature".
    ``base_value`` is the log-odds of a typical training row: with the contributions of a row it
    sums to the log-odds of its error probability.
    """

    contributions: np.ndarray
    names: np.ndarray
    base_value: float


def _why_no_folds(y_encoded, groups, duplicate_id):
    """Say why rows that belong together leave no two parts to learn and to test on; else None."""
    if groups is not None and len(np.unique(groups)) < 2:
        n_rows = len(y_encoded)
        return f"All {n_rows} rows whose errors are known are of one group, which tells nothing"
    if groups is None and duplicate_id is not None:
        y_encoded = y_encoded[np.unique(duplicate_id, return_index=True)[1]]
    elif groups is None:
        return None
    if np.unique(y_encoded, return_counts=True)[1].max() < 2:
        return "Of no class are there two rows that are not copies of each other"
    return None


def check_no_observers(meta_features):
    """Refuse meta-features that ask the base where no base is known."""
    for observer in observers_in(meta_features):
        raise ValueError(
            f"{type(observer).__name__} in meta_features asks the base itself, clone by clone, and "
            "only MetaErrorClassifier has the base and its clones. Leave it out here, or use "
            "MetaErrorClassifier."
        )


def _rows_of(observed, rows):
    return None if observed is None else [answers[rows] for answers in observed]


class ErrorModel(BaseEstimator):
    """Estimate the probability that a prediction made elsewhere is wrong.

    Knows predictions, never the classifier behind them: a deployed model, an API, a network on
    another machine. Train it only on predictions for rows which that classifier had not seen.

    The log-odds of the confidence in the predicted class and, if the block "second_opinion" is
    used, of a second opinion on it are averaged and calibrated (Platt scaling): the offset. The
    meta-learner adds a correction that it learns from meta-features, and may add none.

    Parameters
    ----------
    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner or \
            classifier, default="auto"
        Who learns the error. "auto" averages the log-odds of "lightgbm" and "logistic";
        "confidence" learns nothing beyond the calibrated offset. A classifier is fitted on the
        meta-features and the offset, target 1 where the prediction is wrong; with
        ``meta_features="input"`` it sees X itself.

    meta_features : "auto", str, callable or list of these, default="auto"
        Blocks "confidence", "predicted_class", "neighbors", "second_opinion", "input"; callables
        ``f(X, proba)`` that return one row of numbers per sample; objects with ``fit(X, proba)``
        and ``transform(X, proba)``. Only under `MetaErrorClassifier`, which has the base: objects
        with ``observe(estimator, X)``. "auto" takes all five, but "input" only for "lightgbm" and
        its half of the learner "auto": "logistic" and "mlp" do not look at it.

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers in which distances mean something. It never sees labels. With None,
        or where X is of a kind that has no representation, only the blocks that need none are used.

    cv : int or None, default=None
        Folds in which offset and meta-learner are cross-fitted; None takes 5, or 3 for more than
        5,000 rows, of which two thirds tell nearly as much as all.

    n_jobs : int, default=None
        Threads: of the second opinion, the neighbour search, the learners of "auto" and the folds
        of boosted trees in the fit, and of chunks of rows in prediction. None = 1.

    random_state : int, RandomState instance or None, default=None
        Seed of everything random.

    verbose : int, default=0
        Print a line when fitted.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the columns of `proba`, sorted.

    error_rate_ : float in [0, 1]
        Share of wrong predictions among the training rows.

    n_errors_ : int
        Number of wrong predictions among the training rows.

    oof_error_proba_ : ndarray of shape (n_samples,)
        Error probability of each training row from learners that did not train on it. NaN for rows
        of weight 0, and for rows that were not drawn (see Notes) but are related to rows that were.
        Inside a `MetaErrorClassifier` it is kept there alone.

    oof_log_loss_ : float
        Log-loss of `oof_error_proba_` on the rows that were learned from. Lower is better.

    representation_ : fitted transformer or None
        How X becomes numbers.

    fallback_reason_ : str or None
        Why nothing is learned, if so: the error probability is then the offset, set to the level of
        the error rate.

    representation_reason_ : str or None
        Why X has no representation, if it has none.

    meta_feature_names_ : list of str
        Columns that the meta-learner is given.

    meta_learner_ : fitted meta-learner

    See Also
    --------
    MetaErrorClassifier : Wraps a classifier and produces the honest predictions itself.

    Notes
    -----
    Of more than 20,000 rows as many are drawn to learn from, whole groups where there are `groups`;
    where errors are rare and rows are not related, up to 5,000 of them more, which then count less.
    Groups of more than 2,000 rows are drawn in part. The error probability of the other rows is
    predicted: cost beyond 20,000 rows is one pass.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Errors in Deep Neural Networks, arXiv 2604.23289.
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
        """Learn where the predictions are wrong.

        Parameters
        ----------
        X : any, of length n_samples, or None
            Inputs of the predictions: array, frame, sparse matrix, images, list of str. With None
            only the probabilities are used.

        y : array-like of shape (n_samples,)
            True labels.

        proba : array-like of shape (n_samples, n_classes)
            Class probabilities for rows that the predicting model had not seen.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels; None takes the most probable class.

        classes : array-like of shape (n_classes,), default=None
            Sorted labels of the columns of `proba`; None takes those in `y`.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group tell about each other: they stay together in every fold.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights, at least 0, of which only ratios count; rows of weight 0 are left out.

        fold : array-like of shape (n_samples,), default=None
            Which classifier predicted each row, as a number, where several shared the rows
            (``cross_val_predict``): one that has trained on a row shows its label where it errs,
            and tells nothing honest about it. None = one classifier, which had seen no row.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If lengths, probabilities, classes or parameters do not fit.
        """
        self._check_parameters()
        check_no_observers(self.meta_features)
        y = check_labels(y, y)
        self.classes_ = np.unique(y) if classes is None else np.asarray(classes)
        if len(self.classes_) > 1 and not (self.classes_[:-1] < self.classes_[1:]).all():
            raise ValueError(f"classes must be sorted and distinct, got {self.classes_!r}.")
        proba = check_proba(proba, n_classes=len(self.classes_))
        X, *_, groups, fold = indexable(X, y, proba, y_pred, groups, fold)
        groups = check_groups(groups)
        if not len(y):
            raise ValueError("ErrorModel needs at least one row, got 0.")
        check_same_kind(y, self.classes_, "y")
        y_encoded = self._positions(y)
        if y_pred is None:
            pred_encoded = proba.argmax(axis=1)
            is_error = y_encoded != pred_encoded
        else:
            check_same_kind(y_pred, self.classes_, "y_pred")
            pred_encoded = self._positions(y_pred)
            is_error = y != column_or_1d(y_pred)
        weight = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, y)
        duplicate_id = None if X is None or groups is not None else find_duplicates(X, y_encoded)
        fold = None if fold is None else column_or_1d(fold)
        return self._fit(
            X,
            y_encoded,
            proba,
            pred_encoded,
            is_error,
            groups,
            duplicate_id,
            weight,
            base_fold=fold,
        )

    def _fit(
        self,
        X,
        y_encoded,
        proba,
        pred_encoded,
        is_error,
        groups,
        duplicate_id,
        sample_weight,
        leave_out=(),
        observed=None,
        base=None,
        base_fold=None,
        hidden=None,
    ):
        """Fit on checked rows: positions of labels, errors known, copies of a row marked.

        `asked` holds what observers heard about these rows, `base` is whom to ask about new ones,
        `base_fold` which clone of the base predicted each row, if there was more than one, `heard`
        what the embedding that the representation begins with makes of X, where that is known.
        """
        seed = self._seed = draw_seed(self.random_state)
        counted = slice(None)
        self.oof_error_proba_ = np.full(len(y_encoded), np.nan)
        if sample_weight is not None and (sample_weight == 0).any():
            counted = np.flatnonzero(sample_weight > 0)
            X = None if X is None else safe_indexing(X, counted)
            y_encoded, proba, pred_encoded = (
                y_encoded[counted],
                proba[counted],
                pred_encoded[counted],
            )
            is_error, sample_weight = is_error[counted], sample_weight[counted]
            groups = None if groups is None else np.asarray(groups)[counted]
            duplicate_id = None if duplicate_id is None else duplicate_id[counted]
            observed = _rows_of(observed, counted)
            base_fold = None if base_fold is None else base_fold[counted]
            hidden = None if hidden is None else hidden[counted]
        if sample_weight is not None:
            # Equal weights are no weights, to the last bit; of others only ratios count.
            is_equal = np.ptp(sample_weight) == 0
            sample_weight = None if is_equal else sample_weight / sample_weight.mean()
        self.n_errors_ = int(is_error.sum())
        self.error_rate_ = float(np.average(is_error, weights=sample_weight))
        self.n_classes_ = proba.shape[1]
        learner = self._make_learner()
        self._make_blocks(X, learner, leave_out, base, hidden)

        drawn = ALL_ROWS
        if len(y_encoded) > limits.MAX_FIT_ROWS:
            relation = duplicate_id if groups is None else groups
            drawn = draw_rows(is_error, relation, seed, oversample_errors=learner.takes_weights)
        some = drawn.rows
        related = {
            "groups": None if groups is None else np.asarray(groups)[some],
            "duplicate_id": None if duplicate_id is None else duplicate_id[some],
        }
        why_no_folds = _why_no_folds(y_encoded[some], **related)

        def folds_by(labels):
            cv = self.cv or (3 if len(labels) > limits.MANY_ROWS else 5)
            return make_splits(cv, None, labels, **related, seed=seed, warn=False)

        is_related = (groups is not None or duplicate_id is not None) and why_no_folds is None
        self._blocks = self._blocks if why_no_folds is None else []
        # What has been heard of the rows is as good as the rows.
        source, representation = X, self.representation_
        if hidden is not None and representation is not None:
            source, representation = hidden, shared_with(representation, base)[1]
        matrix = None
        if representation is not None:
            matrix = represent(representation, source, rows=None if drawn is ALL_ROWS else some)
        rows = Rows(
            self._inputs(X, learner, drawn),
            matrix,
            proba[some],
            pred_encoded[some],
            y_encoded[some],
            is_error[some],
            None if sample_weight is None else sample_weight[some],
            folds_by(y_encoded[some]) if is_related else None,
            drawn.reference,
            _rows_of(observed, some),
            None if base_fold is None else base_fold[some],
        )
        blocks = [block.fit_transform(rows, seed) for block in self._blocks]
        oof = self._learn(rows, blocks, learner, drawn.weight, folds_by, why_no_folds)
        oof_error_proba = np.full(len(y_encoded), np.nan)
        oof_error_proba[some] = expit(oof)
        if len(drawn.unused):
            unused = drawn.unused
            oof_error_proba[unused] = self._predict_error_proba(
                X,
                proba,
                pred_encoded,
                matrix=None if source is X else represent(representation, source, rows=unused),
                rows=unused,
                observed=_rows_of(observed, unused),
                base_fold=None if base_fold is None else base_fold[unused],
            )
        for block in self._blocks:
            if hasattr(block, "drop_training_state"):
                block.drop_training_state()
        self.oof_error_proba_[counted] = oof_error_proba
        if self.verbose:
            print(
                f"[ErrorModel] {self.n_errors_} errors in {len(is_error)} rows, "
                f"log-loss {self.oof_log_loss_:.4f}"
            )
        return self

    def _make_blocks(self, X, learner, leave_out, base, hidden):
        """Fit the representation, and make the blocks of meta-features that X allows."""
        names = self._choose_blocks(learner, leave_out)
        self._raw_input = getattr(learner, "raw_input", False)
        if self._raw_input and X is None:
            raise ValueError('meta_features="input" shows X to the meta-learner, and X is None.')
        needs_input = {"neighbors", "second_opinion", "input"} & {
            name for name in names if isinstance(name, str)
        }
        self.representation_, self.representation_reason_ = None, None
        if needs_input and not self._raw_input:
            self.representation_, self.representation_reason_ = fit_representation(
                self.representation, X, seed=self._seed, hidden=hidden
            )
        self._block_names = [
            name for name in names if self.representation_ is not None or name not in needs_input
        ]
        if names and not self._block_names:
            raise ValueError(
                f"meta_features={self.meta_features!r} needs numbers made of X, but "
                f'{self.representation_reason_}. Add the block "confidence", which needs the '
                "probabilities alone, or pass a representation= for X."
            )
        observers = [name for name in names if is_observer(name)]
        of_images = is_of_images(self.representation_)
        self._blocks = [
            ObserverBlock(name, observers.index(name), base)
            if is_observer(name)
            else make_block(name, number, self.n_jobs, of_images)
            for number, name in enumerate(self._block_names)
        ]

    def _inputs(self, X, learner, drawn):
        """Return the drawn rows of X itself, if anything looks at them."""
        if drawn is ALL_ROWS:
            return X
        if self._raw_input:
            return take_rows(learner.estimator, X, drawn.rows)
        if all(isinstance(name, str) for name in self._block_names):
            return None
        return safe_indexing(X, drawn.rows)

    def _learn(self, rows, blocks, learner, outcome_weight, folds_by, why_no_folds):
        """Fit offset and meta-learner; return the cross-fitted log-odds of an error.

        `why_no_folds` says why the rows cannot be parted, if they cannot.
        """
        is_error, sample_weight = rows.is_error, rows.sample_weight
        if outcome_weight is not None:
            sample_weight = outcome_weight * (1 if sample_weight is None else sample_weight)
        weight = np.ones(len(is_error)) if sample_weight is None else sample_weight
        offset_terms = self._offset_terms(rows, blocks)
        self._typical_terms = {
            name: float(np.average(term, weights=weight)) for name, term in offset_terms.items()
        }
        for distance in self._log_distances(blocks):
            self._far = float(np.quantile(distance[rows.reference_rows()], 0.99))
        self._term_weights = dict.fromkeys(offset_terms, 1 / len(offset_terms))
        self.fallback_reason_ = self.meta_learner_ = None
        self.meta_feature_names_ = []

        n_errors = int(is_error.sum())
        few, folds = min(n_errors, len(is_error) - n_errors), None
        if few >= MIN_ERRORS and why_no_folds is None:
            folds = folds_by(is_error)
            if any(np.ptp(is_error[train].astype(int)) == 0 for train, _ in folds):
                why_no_folds = (
                    f"The {few} {'errors' if n_errors == few else 'correct predictions'} belong "
                    "together (groups, copies of a row), so that none is left to learn from when "
                    "the others are tested"
                )
        if few < MIN_ERRORS or why_no_folds is not None:
            kind = "errors" if n_errors == few else "correct predictions"
            reason = why_no_folds or (
                f"{few} {kind} among {len(is_error)} rows, fewer than the {MIN_ERRORS} that a "
                "meta-learner needs"
            )
            known = " and ".join(offset_terms).replace("_", " ")
            self.fallback_reason_ = (
                f"{reason}: nothing is learned, and the error probability is that of {known} "
                "alone, set to the level of the error rate."
            )
            if n_errors == 0:
                self.fallback_reason_ += (
                    " If these rows trained the classifier, give rows that are new to it."
                )
            score = self._mix(offset_terms)
            self._offset = PlattScaling().fit_level(score, is_error, weight)
            oof = self._offset.predict(score)
            warn_caller(self.fallback_reason_)
        else:
            offset = self._fit_offset(offset_terms, is_error, weight, folds)
            self.meta_feature_names_ = [name for block in self._blocks for name in block.names_]
            self.meta_learner_ = learner.fit(
                rows.X if self._raw_input else np.column_stack(blocks),
                is_error,
                offset,
                folds=folds,
                names=self.meta_feature_names_,
                sample_weight=sample_weight,
                seed=self._seed,
            )
            oof = self.meta_learner_.oof_logit_
            del self.meta_learner_.oof_logit_
        self.oof_log_loss_ = float(log_loss_of_logits(is_error, oof, weight))
        return oof

    def _fit_offset(self, offset_terms, is_error, weight, folds):
        """Calibrate the mean of the views; return the cross-fitted offset of the training rows."""

        def cross_fitted(score):
            # A line fitted on its own rows looks better than it is, and the learner would correct
            # too little.
            offset = np.empty(len(score))
            for train, test in folds:
                part = PlattScaling().fit(score[train], is_error[train], weight[train])
                offset[test] = part.predict(score[test])
            return offset

        offset = cross_fitted(self._mix(offset_terms))
        if len(offset_terms) == 2:
            loss = log_losses_of_logits(is_error, offset)
            best = 0.0
            for second in _OTHER_SECOND_WEIGHTS:
                weights = dict(zip(offset_terms, (1 - second, second)))
                other = cross_fitted(self._mix(offset_terms, weights))
                # A second opinion that knows less than the base blurs its confidence; it loses
                # its vote where that shows beyond chance.
                gain = loss - log_losses_of_logits(is_error, other)
                mean = np.average(gain, weights=weight)
                error = np.sqrt(np.average((gain - mean) ** 2, weights=weight) / len(gain))
                if mean > max(error, best):
                    best, offset, self._term_weights = mean, other, weights
        self._offset = PlattScaling().fit(self._mix(offset_terms), is_error, weight)
        return offset

    def _mix(self, offset_terms, weights=None):
        weights = self._term_weights if weights is None else weights
        return sum(weights[name] * term for name, term in offset_terms.items())

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
        """
        check_is_fitted(self)
        return self._predict_error_proba(*self._check_predictions(X, proba, y_pred))

    def _check_predictions(self, X, proba, y_pred):
        proba = check_proba(proba, n_classes=self.n_classes_)
        if self._needs_x() or X is not None:
            if X is None:
                raise ValueError("X is None, but this ErrorModel was fitted with X: pass it.")
            X, *_ = indexable(X, proba, y_pred)
        if y_pred is None:
            return X, proba, proba.argmax(axis=1)
        check_same_kind(y_pred, self.classes_, "y_pred")
        pred_encoded = self._positions(np.asarray(y_pred))
        return X, proba, pred_encoded

    def _predict_error_proba(self, X, proba, pred_encoded, **known):
        return self._predict_with_novelty(X, proba, pred_encoded, **known)[0]

    def _predict_with_novelty(
        self, X, proba, pred_encoded, matrix=None, rows=None, observed=None, base_fold=None
    ):
        """Return error probabilities, and whether each row is unlike the training rows.

        `matrix` is the representation of X where it is known. Of training rows, `asked` are the
        answers of clones, None asks the base, and `base_fold` the numbers of the clones. A row is
        unlike the training rows if its neighbours are farther away than those of 99 % of them; NaN
        without the block "neighbors".
        """
        if rows is not None:
            proba, pred_encoded = proba[rows], pred_encoded[rows]
        judged = run_in_threads(
            self.n_jobs,
            (
                partial(
                    self._predict_chunk,
                    *chunk,
                    observed=_rows_of(observed, batch),
                    base_fold=None if base_fold is None else base_fold[batch],
                )
                for batch, chunk in self._chunks(X, proba, pred_encoded, matrix, rows)
            ),
        )
        error_proba, is_novel = zip(*judged) if judged else ([np.empty(0)], [np.empty(0)])
        return np.concatenate(error_proba), np.concatenate(is_novel)

    def _predict_chunk(self, X, proba, pred_encoded, matrix, **answers):
        rows, blocks = self._describe(X, proba, pred_encoded, matrix, **answers)
        error_proba = expit(self._error_logit(X, rows, blocks))
        is_novel = np.full(len(proba), np.nan)
        for distance in self._log_distances(blocks):
            is_novel = distance > self._far
        return error_proba, is_novel

    def _chunks(self, X, proba, pred_encoded, matrix=None, rows=None):
        """Yield the positions of some rows as a slice, and what is known of them."""
        source = X if self._needs_x(matrix) else None
        for batch, part in row_chunks(
            source, len(proba), rows=rows, max_rows=limits.ERROR_MODEL_CHUNK
        ):
            known = None if matrix is None else matrix[batch]
            yield batch, (part, proba[batch], pred_encoded[batch], known)

    def _log_distances(self, blocks):
        """Return the distance to the neighbours, in a list that is empty where none is known."""
        return [
            features[:, block.names_.index("log_distance")]
            for block, features in zip(self._blocks, blocks)
            if "log_distance" in block.names_
        ]

    def explain_error(self, X, proba, *, y_pred=None):
        """Say what raises or lowers the log-odds of an error, for each row.

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
        explanation : ErrorExplanation
            See `MetaErrorClassifier.explain_error`.

        Raises
        ------
        ValueError
            If the meta-learner's correction does not split into parts.
        """
        check_is_fitted(self)
        self._check_additive()
        return self._explain_error(*self._check_predictions(X, proba, y_pred))

    def _check_additive(self):
        if self.meta_learner_ is not None and not self.meta_learner_.is_additive:
            raise ValueError(
                "explain_error needs a meta-learner whose correction is a sum over meta-features, "
                f"got {type(self.meta_learner_).__name__}. Fit with meta_learner="
                '"auto", "lightgbm", "logistic" or "confidence".'
            )

    def _explain_error(self, X, proba, pred_encoded, matrix=None):
        chunks = [
            self._contributions(*chunk) for _, chunk in self._chunks(X, proba, pred_encoded, matrix)
        ] or [self._contributions(X, proba, pred_encoded)]
        parts = np.concatenate([chunk[0] for chunk in chunks])
        _, names, base_value = chunks[0]
        # The one-hot columns of a category, and of the predicted class, are one reason.
        unique = list(dict.fromkeys(names))
        position = [unique.index(name) for name in names]
        together = np.zeros((len(names), len(unique)))
        together[np.arange(len(names)), position] = 1
        return ErrorExplanation(parts @ together, np.array(unique), base_value)

    def _contributions(self, X, proba, pred_encoded, matrix=None):
        rows, blocks = self._describe(X, proba, pred_encoded, matrix)
        offset_terms = self._offset_terms(rows, blocks)
        slope = self._offset.slope_
        base_value = self._offset.intercept_ + slope * self._mix(self._typical_terms)
        parts = [
            slope * self._term_weights[name] * (term - self._typical_terms[name])
            for name, term in offset_terms.items()
        ]
        names = [f"offset: {name}" for name in offset_terms]
        if self.meta_learner_ is not None:
            corrections, constant = self.meta_learner_.contributions(np.column_stack(blocks))
            parts.append(corrections)
            names += self._readable_names(X, blocks)
            base_value += constant
        return np.column_stack(parts), names, float(base_value)

    def _readable_names(self, X, blocks):
        names = []
        for name, block, features in zip(self._block_names, self._blocks, blocks):
            if not isinstance(name, str):
                names += block.names_
            elif name == "predicted_class":
                names += [name] * features.shape[1]
            elif name == "input":
                sources = source_names(self.representation_, X, features.shape[1])
                names += [f"input: {source}" for source in sources]
            else:
                names += [f"{name}: {feature}" for feature in block.names_]
        return names

    def _error_logit(self, X, rows, blocks):
        offset = self._offset.predict(self._mix(self._offset_terms(rows, blocks)))
        if self.meta_learner_ is None:
            return offset
        features = X if self._raw_input else np.column_stack(blocks)
        return self.meta_learner_.decision_function(features, offset)

    def _describe(self, X, proba, pred_encoded, matrix=None, **answers):
        """Return new rows and their blocks of meta-features."""
        if matrix is None and self.representation_ is not None:
            matrix = represent(self.representation_, X)
        rows = Rows(X, matrix, proba, pred_encoded, **answers)
        return rows, [block.transform(rows) for block in self._blocks]

    def _offset_terms(self, rows, blocks):
        """Return views on the log-odds of an error by name; `_mix` averages them."""
        own, rest, _ = split_predicted(rows.proba, rows.pred_encoded)
        offset_terms = {"confidence": soft_clipped_logit(rest, own)}
        for block, features in zip(self._blocks, blocks):
            if "second_logit" in block.names_:
                offset_terms["second_opinion"] = -features[:, block.names_.index("second_logit")]
        return offset_terms

    def _needs_x(self, matrix=None):
        if self._raw_input or (self.representation_ is not None and matrix is None):
            return True
        return any(not isinstance(name, str) for name in self._block_names)

    def _check_parameters(self):
        if self.cv is not None:
            check_scalar(self.cv, "cv", target_type=(int, np.integer), min_val=2)
        names, learner = check_meta_features(self.meta_features), self._make_learner()
        looks_at_input = learner.uses_input or isinstance(
            learner, (ClassifierMetaLearner, ConfidenceMetaLearner)
        )
        if names == ["input"] and not looks_at_input:
            raise ValueError(
                f"meta_features={self.meta_features!r} holds nothing that {self.meta_learner!r} "
                'looks at. Add "confidence" or another block, or use meta_learner="lightgbm".'
            )

    def _make_learner(self):
        learner = self.meta_learner
        if isinstance(learner, str) and learner in _NAMED_LEARNERS:
            return _NAMED_LEARNERS[learner](self.n_jobs)
        if isinstance(learner, ResidualMetaLearner):
            learner.check_parameters()
            return clone(learner)
        if not isinstance(learner, type) and hasattr(learner, "fit") and is_classifier(learner):
            only_input = check_meta_features(self.meta_features) == ["input"]
            return ClassifierMetaLearner(learner, raw_input=only_input)
        raise ValueError(
            f"meta_learner must be one of {', '.join(map(repr, _NAMED_LEARNERS))}, a meta-learner "
            f"of this package or a classifier, got {learner!r}."
        )

    def _choose_blocks(self, learner, leave_out):
        if getattr(learner, "raw_input", False):
            return []
        names = check_meta_features(self.meta_features)
        if isinstance(self.meta_features, str) and self.meta_features == "auto":
            if isinstance(learner, ClassifierMetaLearner) or not learner.uses_input:
                leave_out = (*leave_out, "input")
            names = [name for name in names if name not in leave_out]
        return names

    def _positions(self, labels):
        return label_positions(np.asarray(labels), self.classes_)
