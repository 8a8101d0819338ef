"""Answer or abstain: a classifier that rejects what it would likely get wrong."""

from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.adapter import adapt, check_classifier
from .._base_estimator.delegation import DelegatesToBase
from .._base_estimator.fitting import fit_base
from .._base_estimator.fresh_nets import check_untrained
from .._base_estimator.inspection import (
    check_all_labeled,
    check_prefit,
    check_takes_parts,
    final_estimator,
    unwrap,
    warn_of_hidden_error_model,
)
from .._base_estimator.prediction import predict_base, predict_with_error
from .._base_estimator.routing import route_fit
from .._compat import CallbackSupportMixin, with_callbacks
from .._utils.failures import keeps_earlier_fit, noted
from .._utils.indexable import indexable
from .._utils.label_checks import check_has_target, check_labels, check_target, check_true_labels
from .._utils.labels import as_objects, is_missing
from .._utils.messages import warn_caller
from .._utils.parameter_checks import check_fraction, is_word
from .._utils.probabilities import proba_of_other_classes
from .._utils.progress import FitProgress
from .._utils.random import draw_seed
from .._utils.rows import slice_fit_params, take_rows
from .._utils.weights import check_weights
from ..model_selection._duplicates import (
    find_duplicates,
    no_duplicate_warning,
    report_duplicates,
)
from ..model_selection._splitting import make_splits
from ._certificate import certify_threshold, explain_failure, risk_upper_bound


class SelectiveClassifier(
    DelegatesToBase, ClassifierMixin, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator
):
    """Answer where the error rate can be kept low, and abstain elsewhere.

    Rows are ranked by the error score of `estimator`. The threshold is set on calibration rows that
    the estimator was not trained on. With `target_risk` it is the largest threshold whose error
    rate among the answered rows is at most `target_risk` with probability `confidence_level` (see
    `certify_threshold` for the method and its proof). With `target_coverage` it is the threshold
    that answers this share of the rows. `predict` returns the estimator's label up to the
    threshold, and `reject_label_` above it.

    Parameters
    ----------
    estimator : classifier
        A `MetaErrorClassifier`, whose error probability ranks the rows, also inside a Pipeline or a
        search; or any classifier with ``predict_proba`` or ``decision_function``, ranked by
        1 - the probability of the predicted label. It is fitted on the training rows. If it is a
        `FrozenEstimator`, all rows are calibration rows.

    target_risk : float in (0, 1), default=None
        Highest error rate allowed among answered rows. Give this or `target_coverage`.

    target_coverage : float in (0, 1], default=None
        Share of rows to answer; 1 answers all rows. Rows of equal error score are all answered or
        all rejected: if more rows than this share are answered for that reason, there is a warning.

    confidence_level : float in (0, 1), default=0.95
        Probability, over the draw of the calibration rows, that `target_risk` is kept.

    calibration : float in (0, 1) or "prefit", default=0.3
        Share of the rows that is held out for calibration, stratified by class. With `groups` it is
        a share of the groups, which are not divided. Equal rows that seem to be copied (see
        `MetaErrorClassifier`) are kept together and count as one row. "prefit": `estimator` is
        fitted, and all rows are calibration rows; they must be new to it.

    reject_label : "auto" or scalar, default="auto"
        The answer of `predict` if it abstains. "auto": -1 if the classes are numbers or booleans,
        else None, in arrays of dtype object. Booleans become 0 and 1. scikit-learn's measures of
        labels, such as ``accuracy_score`` and ``scoring="accuracy"``, cannot compare None with
        texts: for them pass a text, such as ``reject_label="?"``.

    random_state : int, RandomState instance or None, default=None
        Seed of the held-out rows. If it is not None it also seeds the estimator: its
        parameters ``random_state`` that are None, and the weights of nets.

    Attributes
    ----------
    estimator_ : fitted classifier
        The classifier that gives the labels.

    classes_ : ndarray of shape (n_classes,)
        Its class labels; `reject_label_` is not one of them.

    threshold_ : float
        Rows with an error score up to the threshold are answered. -inf: no row is answered, because
        no threshold could be certified. inf: all rows are answered.

    coverage_ : float in [0, 1]
        Share of the calibration rows that is answered.

    risk_upper_bound_ : float in [0, 1]
        Upper confidence bound of the error rate among answered rows, from the calibration rows, as
        if the threshold had been chosen in advance. It is at most `target_risk`, if that is given;
        the guarantee is for `target_risk`. 1 if no row is answered.

    n_calibration_ : int
        Number of calibration rows.

    duplicates_ : DuplicateReport or None
        ``n_rows``, the number of rows that are equal to another row; ``kept_together``, whether
        they are all trained on or all calibrated on; ``reason``. None if `groups` are given, or if
        X is of a kind whose rows cannot be compared.

    reject_label_ : scalar
        The answer of `predict` if it abstains.

    n_features_in_ : int
        Number of columns of X, if the estimator has this attribute.

    feature_names_in_ : ndarray of str
        Names of the columns of X, if the estimator has this attribute.

    See Also
    --------
    certify_threshold : The guarantee for predictions made elsewhere.
    coverage_scorer : Share of answered rows, for `cross_validate`.
    neg_selective_risk_scorer : Error rate among them, for `cross_validate`.

    Notes
    -----
    The guarantee holds for new rows from the distribution of the calibration rows, if rows are
    independent and each counts once. It does not cover drift, groups whose rows depend on each
    other, or weighted error rates: ``sample_weight`` in `fit` is passed to the estimator only. It
    holds for one fitted classifier; choosing the best of many by their coverage weakens it.
    Stratification of the held-out rows makes their number of errors vary less than that of
    independent rows, not more.

    Set callbacks on the outermost estimator: ``set_callbacks`` of this class also shows the steps
    of a `MetaErrorClassifier` inside, and scikit-learn raises if they are set on the inner one.

    References
    ----------
    .. [1] Geifman, El-Yaniv (2017). Selective Classification for Deep Neural Networks. NeurIPS.
    .. [2] Angelopoulos, Bates, Candes, Jordan, Lei (2021). Learn then Test: Calibrating Predictive
       Algorithms to Achieve Risk Control. arXiv 2110.01052.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from metaerr_sklearn.selective import SelectiveClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> clf = SelectiveClassifier(LogisticRegression(), target_risk=0.02, random_state=0)
    >>> answered = clf.fit(X_train, y_train).accepts(X_test)
    >>> float(answered.mean().round(2))
    0.85
    >>> float((clf.predict(X_test) != y_test)[answered].mean().round(3))
    0.003
    """

    #: A label of `predict` need not be the most probable class.
    abstains = True
    _routed_methods = ("fit", "predict_proba", "predict_log_proba", "decision_function")

    def __init__(
        self,
        estimator,
        *,
        target_risk=None,
        target_coverage=None,
        confidence_level=0.95,
        calibration=0.3,
        reject_label="auto",
        random_state=None,
    ):
        self.estimator = estimator
        self.target_risk = target_risk
        self.target_coverage = target_coverage
        self.confidence_level = confidence_level
        self.calibration = calibration
        self.reject_label = reject_label
        self.random_state = random_state

    @keeps_earlier_fit
    @with_callbacks
    def fit(self, X, y, *, sample_weight=None, groups=None, **fit_params):
        """Fit the estimator on a part of the rows, and set the threshold on the others.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the estimator as it is.

        y : array-like of shape (n_samples,)
            Class labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights for the estimator, if its ``fit`` takes them (in a Pipeline, that of its last
            step). The calibration rows are counted without weights.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group are all trained on or all calibrated on. Passed on if the estimator's
            ``fit`` takes groups.

        **fit_params : dict
            For the ``fit`` of the estimator. Arguments with one entry per row are cut to the
            training rows. With metadata routing enabled: what the estimator requests.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If `estimator` is no classifier, or has no score to rank rows by.
        ValueError
            If not exactly one target is given, if the reject label is a class, or if data or a
            parameter are invalid.
        """
        is_prefit = check_prefit(self.estimator, self.calibration)
        X, y = self._check_fit(X, y, groups, is_prefit)
        unused = None if is_prefit else "the weights are not used."
        _, groups, fit_params, _ = route_fit(
            self, y, sample_weight, groups, fit_params, unused_weights=unused
        )
        duplicates = find_duplicates(X, y) if groups is None else None
        self.duplicates_ = report_duplicates(
            duplicates,
            self.calibration,
            [],
            estimate="the error rate of the answers",
            count_once=True,
        )
        progress = FitProgress(self, 1 if is_prefit else 2, X, y)
        if is_prefit:
            base, classes = self.estimator, adapt(self.estimator).classes_of_prefit(X, y)
            if not set(y.tolist()) & set(classes.tolist()):
                raise ValueError(
                    f"No label in y is a class of the fitted estimator, {classes.tolist()}: y has "
                    f"{np.unique(y)[:10].tolist()}. Give y as the estimator was given it."
                )
            held_out = np.arange(len(y))
        else:
            base, classes, held_out = self._fit_estimator(
                X, y, groups, duplicates, fit_params, progress
            )
            classes = adapt(base).classes_of_output(classes, X)
        if duplicates is not None and duplicates.kept_together:
            # The bound of the error rate is for independent rows.
            first = np.unique(duplicates.row_id[held_out], return_index=True)[1]
            held_out = held_out[np.sort(first)]
        if len(held_out) < len(y):
            X, y = take_rows(X, held_out), y[held_out]
        self._set_base(base, classes, X)
        self.reject_label_ = self._choose_reject_label(np.union1d(self.classes_, np.unique(y)))
        self._calibrate(X, y)
        progress.done("threshold")
        progress.close()
        return self

    def predict(self, X):
        """Predict class labels, or the reject label where the error score is too high.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the estimator as it is.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            The dtype is object if labels and reject label have no common type.
        """
        labels, error_proba = self._predict_with_error(X)
        dtype = _common_dtype(labels, self.classes_, self.reject_label_)
        is_time = labels.dtype.kind in "mM"  # by astype, nanoseconds would become integers
        answers = as_objects(list(labels)) if is_time else labels.astype(dtype)
        answers[~(error_proba <= self.threshold_)] = self.reject_label_
        return answers

    def accepts(self, X):
        """Return which rows are answered.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        accepted : ndarray of bool, shape (n_samples,)
            False where `predict` abstains.
        """
        return self._predict_with_error(X)[1] <= self.threshold_

    def predict_error_proba(self, X):
        """Compute the error score that is compared with the threshold.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.
        """
        return self._predict_with_error(X)[1]

    def score(self, X, y, sample_weight=None):
        """Return the share of all rows that are answered, and answered right.

        This is coverage times selective accuracy: an abstention counts like an error. Selective
        accuracy alone would be highest for a classifier that answers almost no row.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float in [0, 1]
            Higher is better. The plain accuracy if all rows are answered.

        Raises
        ------
        ValueError
            If labels or weights are missing, have another length than X, or cannot be used.
        """
        (X,) = indexable(X)
        y = check_labels(y, X)
        weight = None if sample_weight is None else check_weights(sample_weight, X)
        labels, error_proba = self._predict_with_error(X)
        check_true_labels(y, self.classes_)
        right = (error_proba <= self.threshold_) & (labels == y)
        return float(np.average(right, weights=weight))

    def _check_fit(self, X, y, groups, is_prefit):
        """Check parameters and data before anything costly is fitted."""
        if (self.target_risk is None) == (self.target_coverage is None):
            raise ValueError(
                f"Give exactly one target, got target_risk={self.target_risk!r} and "
                f"target_coverage={self.target_coverage!r}. target_risk=0.05 answers as many rows "
                "as it can with at most 5 % errors; target_coverage=0.8 answers 80 % of the rows."
            )
        if self.target_risk is None:
            check_fraction(self.target_coverage, "target_coverage")
        else:
            check_fraction(self.target_risk, "target_risk", closed="neither")
        check_fraction(self.confidence_level, "confidence_level", closed="neither")
        if isinstance(self.calibration, str) and self.calibration != "prefit":
            raise ValueError(
                f'calibration must be a fraction in (0, 1) or "prefit", got {self.calibration!r}.'
            )
        if not isinstance(self.calibration, str):
            check_fraction(self.calibration, "calibration", closed="neither")
        check_classifier(self.estimator)
        if not (
            hasattr(self.estimator, "predict_proba")
            or hasattr(self.estimator, "decision_function")
            or hasattr(final_estimator(self.estimator), "predict_with_error")
            or not hasattr(self.estimator, "predict")  # its methods exist once it is fitted
        ):
            raise TypeError(
                f"estimator must have predict_proba or decision_function to rank rows by, "
                f"{type(self.estimator).__name__} has neither. Put it into a MetaErrorClassifier, "
                "which learns an error score for it."
            )
        name = type(self).__name__
        check_has_target(y, name)
        X, y, _ = indexable(X, y, groups)
        y = check_target(y, name)
        check_all_labeled(self.estimator, y)
        warn_of_hidden_error_model(self.estimator)
        if not is_prefit:
            check_takes_parts(self.estimator)
            check_untrained(self.estimator)
            adapt(self.estimator).check_fit(X, y)
            self._choose_reject_label(np.unique(y))
        return X, y

    def _fit_estimator(self, X, y, groups, duplicates, fit_params, progress):
        """Fit the estimator on the training rows.

        Returns the estimator, its classes and the positions of the calibration rows.
        """
        seed = draw_seed(self.random_state)
        duplicate_id = None if duplicates is None else duplicates.duplicate_id
        split = make_splits(
            self.calibration, X, y, groups=groups, duplicate_id=duplicate_id, seed=seed
        )
        train, held_out = split[0]
        adapt(self.estimator).check_training_parts(y, [train])
        classes = np.unique(y)
        is_reported = duplicates is not None and duplicates.needs_warning
        once = no_duplicate_warning() if is_reported else nullcontext()
        with noted("fitting the estimator on the rows that are not held out"), once:
            base = fit_base(
                self.estimator,
                take_rows(X, train),
                y[train],
                classes=classes,
                fit_params=slice_fit_params(X, fit_params, indices=train),
                seed=None if self.random_state is None else seed,
                context=partial(progress.within, "estimator"),
            )
        return base, classes, held_out

    def _choose_reject_label(self, classes):
        """Return the reject label, or raise if it is a class."""
        reject_label = self.reject_label
        if is_word(reject_label, "auto"):
            reject_label = -1 if classes.dtype.kind in "biuf" else None
            if self.target_coverage == 1 and reject_label in classes.tolist():
                return None  # no row is rejected
        if np.ndim(reject_label) or isinstance(reject_label, (set, frozenset, Mapping)):
            raise ValueError(
                f"reject_label must be one value, got {reject_label!r}. Pass -1 or None."
            )
        if not is_missing(reject_label) and reject_label in classes.tolist():
            raise ValueError(
                f"The reject label {reject_label!r} is one of the classes {classes.tolist()}. Pass "
                "a reject_label= that is not."
            )
        return reject_label

    def _calibrate(self, X, y):
        """Set the threshold, its coverage and its risk on the calibration rows."""
        with noted("predicting the calibration rows"):
            labels, error_proba = self._predict_with_error(X)
        is_error = labels != y
        level = self.confidence_level
        if self.target_risk is not None:
            threshold = certify_threshold(
                is_error, error_proba, target_risk=self.target_risk, confidence_level=level
            )
        elif self.target_coverage == 1:
            threshold = np.inf
        else:
            # In floating point 0.07 * 100 is more than 7, but must not be rounded up to 8.
            n_accepted = max(1, int(np.ceil(self.target_coverage * len(y) - 1e-9)))
            threshold = np.partition(error_proba, n_accepted - 1)[n_accepted - 1]
        accepted = error_proba <= threshold
        self.threshold_ = float(threshold)
        self.coverage_ = float(accepted.mean())
        self.risk_upper_bound_ = risk_upper_bound(
            np.sum(is_error & accepted), np.sum(accepted), confidence_level=level
        )
        self.n_calibration_ = len(y)
        if self.target_risk is None:
            self._warn_of_ties(error_proba, accepted)
        if self.threshold_ == -np.inf:
            warn_caller(
                "No threshold can be certified, so that every row is rejected: "
                + explain_failure(is_error, error_proba, self.target_risk, 1 - level)
            )

    def _warn_of_ties(self, error_proba, accepted):
        """Warn if rows of equal error score make the coverage larger than `target_coverage`."""
        n_rows, wanted = len(accepted), self.target_coverage * len(accepted)
        # The coverage of new rows differs from the target by this much without any tie.
        two_standard_errors = 2 * np.sqrt(wanted * (1 - self.target_coverage))
        if accepted.sum() - np.ceil(wanted) > max(1, two_standard_errors):
            lower = np.mean(error_proba < self.threshold_)
            n_tied = int(np.sum(error_proba == self.threshold_))
            warn_caller(
                f"target_coverage={self.target_coverage} cannot be reached: {n_tied} of the "
                f"{n_rows} calibration rows have the same error score {self.threshold_:.3g}, and "
                f"are all answered or all rejected. {self.coverage_:.1%} of the rows are answered; "
                f"without the tied rows it would be {lower:.1%}. Pass an estimator with more "
                "distinct probabilities, such as this one in a MetaErrorClassifier, or one of "
                "these two shares as target_coverage."
            )

    def _predict_with_error(self, X):
        """Return labels and error scores."""
        labels, _, error_proba = self._predict_all(X)
        return labels, error_proba

    def _predict_all(self, X):
        """Return labels, probabilities (None if not computed) and error scores in one pass."""
        check_is_fitted(self)
        self._check_rows(X)
        (X,) = indexable(X)
        if hasattr(final_estimator(self.estimator_), "predict_with_error"):
            return predict_with_error(*unwrap(self.estimator_, X))
        labels, pred_encoded, proba, _ = predict_base(self.estimator_, X, np.unique(self.classes_))
        return labels, proba, proba_of_other_classes(proba, pred_encoded)


def _common_dtype(labels, classes, reject_label):
    """Return the dtype that holds labels and reject label without changing them."""
    reject_dtype = np.min_scalar_type(reject_label)
    kinds = {labels.dtype.kind, reject_dtype.kind}
    if kinds <= set("biuf") or kinds == {"U"}:
        dtype = np.result_type(labels.dtype, reject_dtype)
        # Floats would merge integers beyond 2^53, such as the hashes of names.
        are_large = dtype.kind == "f" and classes.dtype.kind in "iu" and abs(classes).max() > 2**53
        return np.dtype(object) if are_large else dtype
    return np.dtype(object)
