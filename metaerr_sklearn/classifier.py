"""Classify with a base estimator and predict where it is wrong."""

import os
from functools import partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import column_or_1d, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, check_memory, has_fit_parameter

from ._base_estimator.cross_fitting import BasePredictions, cross_fit
from ._base_estimator.delegation import estimator_has, mirror_columns
from ._base_estimator.fitting import fit_base, take_rows
from ._base_estimator.inspection import (
    can_fit_and_predict,
    check_all_labeled,
    check_not_pairwise,
    is_net,
    labels_by_argmax,
)
from ._base_estimator.prediction import (
    call_base,
    classes_of_fitted,
    classes_of_prefit,
    observe,
    predict_all,
    predict_labels,
)
from ._compat import CallbackSupportMixin, num_samples, routing_enabled, with_callbacks
from ._utils.probabilities import label_positions, split_predicted
from ._utils.progress import FitProgress
from ._utils.random import draw_seed
from ._utils.rows import indexable
from ._utils.validation import (
    check_fraction,
    check_groups,
    check_same_kind,
    check_weights,
    is_missing,
    warn_caller,
)
from .accuracy_estimation import accuracy_interval
from .error_model import ErrorModel
from .meta_features._blocks import observers_in
from .model_selection._duplicates import find_duplicates
from .model_selection._splitting import check_split_parameter, make_splits
from .representation import net_representation, represent, shared_with


def _check_memory(memory):
    if memory is None:
        return None
    return check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory)


class MetaErrorClassifier(ClassifierMixin, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator):
    """Classify with a base classifier and predict where it is wrong.

    Class outputs (`predict`, `predict_proba`, ...) are the base's own. Error outputs have names of
    their own (`predict_error_proba`, ...). The error is learned only from predictions that the base
    made on rows it had not seen: out-of-fold, on a hold-out, or on rows new to a fitted base.

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier, a Pipeline over frames or text, a skorch net over float32
        images, or a fitted one in a `FrozenEstimator`.

    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner, classifier \
            or None, default="auto"
        Who learns the error; see `ErrorModel`. None trains nothing: the error probability is
        1 - the probability of the predicted class, without cross-fitting.

    meta_features : "auto", str, callable or list of these, default="auto"
        What the meta-learner sees; see `ErrorModel`. Objects with ``observe(estimator, X)``, such
        as `neural.AugmentedConfidence`, ask the base itself: its clones about the rows that they
        have not seen, and the deployed base about new rows. With `memory`, each set of such objects
        has base fits of its own. For nets "auto" leaves "predicted_class" out, because each fold's
        net has class biases of its own; with ``cv="prefit"`` it is there.

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers for neighbours and second opinion; see `ErrorModel`. Where a skorch
        net is deployed as it was observed (``cv="prefit"`` or ``refit=False``), "auto" takes
        images, and other arrays of more than 200 columns, as the net's last hidden layer has
        them, in the pass that gives the probabilities (a net with a ``predict_proba`` of its own
        needs a second one): see `neural.TorchEmbedding`.

    cv : int, float in (0, 1), splitter, iterable of splits or "prefit", default=5
        Where honest predictions come from. int: out-of-fold predictions of that many stratified
        folds; `groups` stay in one fold, as do exact copies of a row where most rows of a class
        have one (fewer may coincide by chance; if yours do not, pass the number of the original row
        as `groups`). float: one stratified hold-out of that size. "prefit": `estimator` is fitted,
        and all rows given are new to it.

    refit : bool, default=True
        Whether the deployed base is fitted anew on all rows. False needs a single split, and
        deploys the very model that was observed on the hold-out.

    memory : str, path, joblib.Memory or None, default=None
        Caches each fit of the base, so that a search over meta-learner parameters costs no further
        base fit, and an interrupted cross-fitting resumes. With ``random_state=None`` the folds are
        then the same in each fit; the base stays unseeded, and its cached fits are reused. A
        RandomState instance draws other folds whenever the same object is fitted again. A skorch
        net is found again in another process if it is given as a module class: a module instance
        has weights, which are part of what is looked up, so it must be seeded where it is made.

    error_threshold : float in (0, 1], default=0.5
        `predict_error` is True from this error probability on.

    n_jobs : int, default=None
        Folds fitted at once, through joblib; threads of the error model. Under
        ``joblib.parallel_config("dask")``, "ray" or "spark" the folds go to that cluster; nets on
        an accelerator are fitted one after the other in this process.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds and of the error model. If it is not None it also seeds the base: those of
        its parameters ``random_state`` that are None, and the weights of nets.

    verbose : int, default=0
        Print a line for each step of the fit. Where the installed scikit-learn has callbacks,
        ``set_callbacks(ProgressBar())`` shows a progress bar instead.

    Attributes
    ----------
    estimator_ : fitted classifier
        The deployed base.

    error_model_ : ErrorModel or None
        None if ``meta_learner=None``.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    oof_error_ : ndarray of bool, shape (n_samples,)
        Whether the base was wrong on each row while it had not seen it; False for rows that no
        split tested (see `oof_error_proba_`). None if ``meta_learner=None``.

    oof_error_proba_ : ndarray of shape (n_samples,)
        Error probability of each row from meta-learners that did not train on it; NaN for rows
        that no split tested or of ``sample_weight`` 0, and for related rows of some that an
        `ErrorModel` of more than 20,000 rows left out (see there). None if ``meta_learner=None``.

    oof_error_rate_ : float in [0, 1]
        Share of errors among the tested rows, weighted. None if ``meta_learner=None``.

    n_errors_ : int
        Number of errors among the tested rows of ``sample_weight`` above 0. None if
        ``meta_learner=None``.

    fallback_reason_ : str or None
        Why nothing is learned from errors, if so: the error probability is then that of confidence
        and second opinion, set to the level of the error rate.

    meta_feature_names_ : list of str
        Columns that the meta-learner is given.

    n_features_in_ : int
        Number of columns of X, if the base tells it.

    feature_names_in_ : ndarray of str
        Names of the columns of X, if the base tells them.

    See Also
    --------
    ErrorModel : The same for predictions made elsewhere.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Errors in Deep Neural Networks, arXiv 2604.23289.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import train_test_split
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from metaerr_sklearn import MetaErrorClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> base = make_pipeline(StandardScaler(), LogisticRegression())
    >>> clf = MetaErrorClassifier(base, meta_learner="logistic", random_state=0)
    >>> labels, error_proba = clf.fit(X_train, y_train).predict_with_error(X_test)
    >>> error_proba.shape
    (143,)
    """

    def __init__(
        self,
        estimator,
        meta_learner="auto",
        *,
        meta_features="auto",
        representation="auto",
        cv=5,
        refit=True,
        memory=None,
        error_threshold=0.5,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.estimator = estimator
        self.meta_learner = meta_learner
        self.meta_features = meta_features
        self.representation = representation
        self.cv = cv
        self.refit = refit
        self.memory = memory
        self.error_threshold = error_threshold
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None, **fit_params):
        """Fit the base, and the error model on predictions for rows the base had not seen.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        y : array-like of shape (n_samples,)
            Class labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights for the base, if its ``fit`` takes them, and for the error model.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group stay together in every split that is drawn here; a splitter or list
            of splits of your own must see to it.

        **fit_params : dict
            For the ``fit`` of the base. With metadata routing enabled: what the base, and the
            splitter `cv`, request.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If y is not a vector of at least two classes, or a parameter does not fit.
        """
        X, y, seed = self._check_fit(X, y, groups)
        groups = check_groups(groups)
        weight, base_params, groups = self._route(y, sample_weight, groups, fit_params)
        memory = _check_memory(self.memory)
        fit = fit_base if memory is None else memory.cache(fit_base)
        if self.meta_learner is None:
            return self._fit_confidence(X, y, seed, base_params, fit)
        frozen = self.cv == "prefit" if isinstance(self.cv, str) else False
        frozen = frozen or isinstance(self.estimator, FrozenEstimator)
        duplicate_id = find_duplicates(X, y) if groups is None else None
        if frozen:
            splits = None
        else:
            # Splits drawn anew would never be met again in the cache.
            split_seed = 0 if memory is not None and self.random_state is None else seed
            splits = make_splits(
                self.cv, X, y, groups=groups, duplicate_id=duplicate_id, seed=split_seed
            )
        if not self.refit and not frozen and len(splits) != 1:
            raise ValueError(
                f"refit=False deploys the model that was observed and needs a single split, got "
                f"{len(splits)}. Pass cv=0.3 for one hold-out of 30 %, or refit=True."
            )
        observers = observers_in(self.meta_features)
        for observer in observers:
            if hasattr(observer, "check_base"):
                observer.check_base(self.estimator, X)
        progress = FitProgress(self, len(splits or ()) + 2, X, y, verbose=self.verbose)
        if frozen:
            base = self.estimator
            check_is_fitted(base)
            classes = classes_of_prefit(base, y)
            check_same_kind(y, classes, "y")
            self.classes_, classes = classes, np.union1d(classes, np.unique(y))
            representation = self._choose_representation(base, X)
            embedding, _ = shared_with(representation, base)
            _, pred_encoded, proba, hidden = predict_all(base, X, classes, embedding=embedding)
            predictions = BasePredictions(pred_encoded, proba, np.zeros(len(y), dtype=int))
            predictions = predictions._replace(observed=observe(base, X, observers))
        else:
            self.classes_ = classes = np.unique(y)
            predictions, fitted = cross_fit(
                self.estimator,
                X,
                y,
                classes=classes,
                splits=splits,
                fit_params=base_params,
                n_jobs=self.n_jobs,
                memory=memory,
                seed=None if self.random_state is None else seed,
                keep_estimators=not self.refit,
                on_fold=lambda: progress.done("fold"),
                observers=observers,
            )
            hidden, representation = None, self.representation
            if self.refit:
                base = fit(
                    self.estimator,
                    X,
                    y,
                    classes=classes,
                    fit_params=base_params,
                    seed=None if self.random_state is None else seed,
                )
            else:
                base = fitted[0]
                representation = self._choose_representation(base, X)
        progress.done("base estimator")
        self.estimator_ = base
        self._fit_error_model(
            X,
            y,
            classes,
            predictions,
            weight,
            groups=groups,
            duplicate_id=duplicate_id,
            seed=seed,
            frozen=frozen,
            representation=representation,
            hidden=hidden,
        )
        progress.done("error model")
        progress.close()
        self._mirror_base()
        return self

    def _check_fit(self, X, y, groups):
        """Say what is wrong with parameters and data before anything costly is fitted."""
        if not can_fit_and_predict(self.estimator):
            raise TypeError(
                f"estimator must be a classifier with fit and predict, got {self.estimator!r}."
            )
        if not is_classifier(self.estimator) and not is_net(self.estimator):
            raise ValueError(
                f"estimator must be a classifier, got {type(self.estimator).__name__}, which is "
                "not one. Failure prediction for regression is not supported."
            )
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        if self.meta_learner is not None:
            self._make_error_model(self.random_state)._check_parameters()
        check_split_parameter(self.cv)
        _check_memory(self.memory)
        check_fraction(self.error_threshold, "error_threshold")
        X, y, _ = indexable(X, y, groups)
        if np.ndim(y) > 1 and np.shape(y)[1] > 1:
            raise ValueError(
                f"y is {type_of_target(y)}: only binary and multiclass targets are supported, one "
                "label per row. For several labels per row fit one MetaErrorClassifier per label."
            )
        y = column_or_1d(y, warn=True)
        missing = np.zeros(len(y), dtype=bool)
        if y.dtype.kind == "f":
            missing = ~np.isfinite(y)
        elif y.dtype.kind == "O":
            missing = np.array([is_missing(label) for label in y], dtype=bool)
        if missing.any():
            raise ValueError(
                f"y contains NaN, inf or None in {missing.sum()} of {len(y)} rows. Drop these "
                "rows; to learn from unlabeled rows use SelfTrainingWithMetaErr."
            )
        check_classification_targets(y)
        check_all_labeled(self.estimator, y)
        n_samples, labels = num_samples(X), np.unique(y)
        frozen = isinstance(self.estimator, FrozenEstimator) or (
            isinstance(self.cv, str) and self.cv == "prefit"
        )
        if self.meta_learner is not None and not frozen:
            check_not_pairwise(self.estimator)
        if len(labels) < 2 and not frozen:
            raise ValueError(
                f"{type(self).__name__} needs samples of at least 2 classes, got one class: "
                f"{labels!r}, n_samples={n_samples}."
            )
        return X, y, draw_seed(self.random_state)

    def _route(self, y, sample_weight, groups, fit_params):
        """Return the weights of the error model, the fit parameters of the base, and groups."""
        weight = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, y)
            if len(np.unique(y[weight > 0])) < min(2, len(np.unique(y))):
                raise ValueError(
                    f"{type(self).__name__} needs samples of at least 2 classes, got one class "
                    "after rows of sample_weight 0 were left out."
                )
        if routing_enabled():
            if sample_weight is not None:
                fit_params = {**fit_params, "sample_weight": sample_weight}
            if groups is not None:
                fit_params = {**fit_params, "groups": groups}
            routed = process_routing(self, "fit", **fit_params)
            base_params = routed.estimator.fit
            if hasattr(self.cv, "split"):
                groups = check_groups(routed.splitter.split.get("groups", groups))
            return weight, base_params, groups
        base_params = dict(fit_params)
        if weight is not None:
            if has_fit_parameter(self.estimator, "sample_weight"):
                base_params["sample_weight"] = weight
            else:
                warn_caller(
                    f"The fit of {type(self.estimator).__name__} takes no sample_weight: the "
                    "weights are used by the error model alone."
                )
        return weight, base_params, groups

    def _fit_confidence(self, X, y, seed, base_params, fit):
        """Fit the base alone: without a meta-learner nothing is observed."""
        progress = FitProgress(self, 1, X, y, verbose=self.verbose)
        if isinstance(self.cv, str) or isinstance(self.estimator, FrozenEstimator):
            self.estimator_ = self.estimator
            check_is_fitted(self.estimator_)
            self.classes_ = classes_of_prefit(self.estimator_, y)
        else:
            self.classes_ = np.unique(y)
            self.estimator_ = fit(
                self.estimator,
                X,
                y,
                classes=self.classes_,
                fit_params=base_params,
                seed=None if self.random_state is None else seed,
            )
        self._argmax_is_label = bool(labels_by_argmax(self.estimator_))
        self.error_model_ = None
        self.oof_error_ = self.oof_error_proba_ = self.oof_error_rate_ = self.n_errors_ = None
        self.fallback_reason_ = "meta_learner=None: the error probability is 1 - confidence."
        self.meta_feature_names_ = []
        progress.done("base estimator")
        progress.close()
        return self._mirror_base()

    def _make_error_model(self, random_state):
        return ErrorModel(
            self.meta_learner,
            meta_features=self.meta_features,
            representation=self.representation,
            n_jobs=self.n_jobs,
            random_state=random_state,
            verbose=self.verbose,
        )

    def _choose_representation(self, base, X):
        """Return the representation for a base that is deployed as it was observed."""
        is_auto = isinstance(self.representation, str) and self.representation == "auto"
        return net_representation(base, X) if is_auto and is_net(base) else self.representation

    def _fit_error_model(
        self,
        X,
        y,
        classes,
        predictions,
        weight,
        *,
        groups,
        duplicate_id,
        seed,
        frozen,
        representation,
        hidden,
    ):
        tested = np.flatnonzero(predictions.fold >= 0)
        n_samples = len(y)
        y_encoded = label_positions(y, classes)
        is_error = y_encoded != predictions.pred_encoded
        # Where they agree on every row, one base pass serves labels and probabilities later on.
        agree = predictions.proba[tested].argmax(axis=1) == predictions.pred_encoded[tested]
        self._argmax_is_label = bool(agree.all()) and labels_by_argmax(self.estimator_) is not False
        rows = {
            "y_encoded": y_encoded,
            "proba": predictions.proba,
            "pred_encoded": predictions.pred_encoded,
            "is_error": is_error,
            "groups": None if groups is None else np.asarray(groups),
            "duplicate_id": duplicate_id,
            "sample_weight": weight,
            "base_fold": predictions.fold if predictions.fold.max(initial=0) > 0 else None,
        }
        if len(tested) < n_samples:
            rows = {k: None if v is None else v[tested] for k, v in rows.items()}
            X = take_rows(self.estimator, X, tested)
        observed = [answers[tested] for answers in predictions.observed]
        self._error_classes = classes
        model = self._make_error_model(seed)
        model.classes_ = classes
        model.representation = representation
        # Out of fold each net has class biases of its own, which the deployed net does not share.
        leave_out = ("predicted_class",) if is_net(self.estimator) and not frozen else ()
        model._fit(
            X, **rows, leave_out=leave_out, observed=observed, base=self.estimator_, hidden=hidden
        )
        self.error_model_ = model
        self.oof_error_ = np.zeros(n_samples, dtype=bool)
        self.oof_error_[tested] = is_error[tested]
        self.oof_error_proba_ = np.full(n_samples, np.nan)
        self.oof_error_proba_[tested] = model.oof_error_proba_
        # Kept once, here.
        del model.oof_error_proba_
        self.oof_error_rate_ = model.error_rate_
        self.n_errors_ = model.n_errors_
        self.fallback_reason_ = model.fallback_reason_
        self.meta_feature_names_ = model.meta_feature_names_

    def _mirror_base(self):
        self.classes_ = classes_of_fitted(self.estimator_, self.classes_)
        mirror_columns(self)
        return self

    @available_if(estimator_has("predict"))
    def predict(self, X):
        """Predict class labels with the base.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        return predict_labels(self.estimator_, X, self.classes_)

    @available_if(estimator_has("predict_proba"))
    def predict_proba(self, X):
        """Predict class probabilities with the base.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        Returns
        -------
        proba : ndarray of shape (n_samples, n_classes)
            The base's own.
        """
        check_is_fitted(self)
        return call_base(self.estimator_, "predict_proba", X)

    @available_if(estimator_has("predict_log_proba"))
    def predict_log_proba(self, X):
        """Predict logarithms of class probabilities with the base.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        Returns
        -------
        log_proba : ndarray of shape (n_samples, n_classes)
            The base's own.
        """
        check_is_fitted(self)
        return call_base(self.estimator_, "predict_log_proba", X)

    @available_if(estimator_has("decision_function"))
    def decision_function(self, X):
        """Compute decision scores of the classes with the base.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            The base's own.
        """
        check_is_fitted(self)
        return call_base(self.estimator_, "decision_function", X)

    def predict_error_proba(self, X):
        """Estimate the probability that `predict` is wrong on each sample.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.
        """
        return self._predict_all(X)[2]

    def predict_error(self, X):
        """Tell which predictions are likely wrong.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        is_error : ndarray of bool, shape (n_samples,)
            True where the error probability is at least `error_threshold`.
        """
        return self.predict_error_proba(X) >= self.error_threshold

    def predict_with_error(self, X):
        """Predict labels and their error probabilities in one pass of the base.

        A base whose labels are not always its most probable class needs a second pass; of a base
        of which nothing is known, its out-of-fold predictions tell, and with ``meta_learner=None``,
        which makes none, it is asked twice.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        labels : ndarray of shape (n_samples,)
            As `predict`.
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            As `predict_error_proba`.
        """
        labels, _, error_proba = self._predict_all(X)
        return labels, error_proba

    def _predict_all(self, X):
        """Return labels, probabilities and error probabilities in one pass of the base."""
        (X,) = indexable(X)
        labels, *predictions = self._predict_base(X)
        if self.error_model_ is None:
            # Summed, not subtracted from 1: the order survives where the confidence rounds to 1.
            proba, pred_encoded, _ = predictions
            _, rest, _ = split_predicted(proba, pred_encoded)
            return labels, proba, np.clip(rest, 0, 1)
        return labels, predictions[0], self.error_model_._predict_with_novelty(X, *predictions)[0]

    def _predict_base(self, X):
        """Return labels, probabilities, the positions of the labels among their columns, and X.

        The latter as the error model represents it, where the base computes that on the way to
        its probabilities; else None.
        """
        check_is_fitted(self)
        classes, embedding, transform = np.unique(self.classes_), None, None
        if self.error_model_ is not None:
            classes = self._error_classes
            embedding, rest = shared_with(self.error_model_.representation_, self.estimator_)
            transform = None if rest is None else partial(represent, rest)
        labels, pred_encoded, proba, matrix = predict_all(
            self.estimator_,
            X,
            classes,
            by_argmax=self._argmax_is_label,
            embedding=embedding,
            transform=transform,
        )
        return labels, proba, pred_encoded, matrix

    def estimate_accuracy(self, X, *, confidence_level=0.95):
        """Estimate the accuracy of `predict` on rows without labels.

        The estimate is 1 - the mean error probability: it goes down when the rows are harder than
        the training rows, before any label tells.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`. At least one row.

        confidence_level : float in (0, 1), default=0.95
            Probability of the interval.

        Returns
        -------
        estimate : AccuracyEstimate
            NamedTuple ``(accuracy, low, high, novelty)``. ``novelty`` is the share of rows that are
            farther from the training rows than 99 % of these are from each other: about 0.01 on
            rows like the training rows. **Far above that do not trust the rest.** NaN without the
            meta-features "neighbors". With ``meta_learner=None`` the accuracy is the mean
            probability of the predicted class and all else is NaN: no honest row tells how far off
            it is.

        Raises
        ------
        ValueError
            If X has no row, or `confidence_level` is out of range.

        Notes
        -----
        The interval covers the chance in which rows were drawn and which of them are wrong, and the
        uncertainty of level and slope of the error probability, which were learned from a limited
        number of honest rows (`oof_error_proba_`). It is about the accuracy that labels for these
        rows would show, and so a little wide for the accuracy on all rows of their kind.

        It covers neither a relation between X and y other than in training (concept drift, other
        class frequencies), which no look at X alone can show, nor rows unlike any training row,
        which `novelty` tells, nor errors of the error model that are particular to a subpopulation;
        and it does not widen for training rows that depend on each other (`groups`). On 14 public
        tables the 95 % interval held the true accuracy for 98 % of random batches, 92 % of batches
        from one cluster, 96 % of those from one end of a column, and 59 % of batches with changed
        class frequencies (``benchmarks/bench_accuracy_estimation.py``).

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> _ = clf.fit(X[:900], y[:900])
        >>> accuracy, low, high, novelty = clf.estimate_accuracy(X[900:])
        >>> bool(low <= clf.score(X[900:], y[900:]) <= high)
        True
        """
        check_is_fitted(self)
        check_fraction(confidence_level, "confidence_level", closed="neither")
        if self.error_model_ is None:
            return accuracy_interval(self.predict_error_proba(X))
        (X,) = indexable(X)
        predictions = self._predict_base(X)[1:]
        error_proba, is_novel = self.error_model_._predict_with_novelty(X, *predictions)
        return accuracy_interval(
            error_proba, self.oof_error_proba_, is_novel, confidence_level=confidence_level
        )

    def explain_error(self, X):
        """Say what raises or lowers the log-odds of an error, for each row.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        explanation : ErrorExplanation
            NamedTuple ``(contributions, names, base_value)``. ``contributions``, ndarray of shape
            (n_samples, n_contributions), is in log-odds relative to a typical training row: above
            0 = more likely wrong. ``names``, ndarray of str, tells each column: "offset:
            confidence" and "offset: second_opinion" are the calibrated views that the error
            model starts from, others are "block: meta-feature" of the learned correction;
            "input: age" is a column of X, with all its categories, and "input: component 0" stands
            where X was projected. ``base_value`` is a float. Each row of ``contributions`` and
            `base_value` sum to the log-odds of `predict_error_proba`.

        Raises
        ------
        ValueError
            If the meta-learner's correction is no sum over meta-features ("mlp", or a classifier),
            or ``meta_learner=None``.

        Notes
        -----
        A contribution tells what the error model uses, not what causes the error. Trees are split
        into contributions by SHAP values, as LightGBM computes them; linear terms by coefficient
        times distance from the training mean; "auto" takes the mean of both.

        References
        ----------
        .. [1] Lundberg, Erion, Lee (2018). Consistent Individualized Feature Attribution for Tree
           Ensembles. arXiv 1802.03888.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X, y = load_breast_cancer(return_X_y=True, as_frame=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X[:400], y[:400])
        >>> contributions, names, base_value = clf.explain_error(X[400:])
        >>> log_odds = contributions.sum(axis=1) + base_value
        >>> bool(np.allclose(1 / (1 + np.exp(-log_odds)), clf.predict_error_proba(X[400:])))
        True
        >>> doubtful = np.argmax(log_odds)
        >>> reasons = np.argsort(-contributions[doubtful])[:2]
        >>> [f"{names[j]} {contributions[doubtful, j]:+.1f}" for j in reasons]
        ['offset: confidence +2.1', 'offset: second_opinion +1.7']
        """
        check_is_fitted(self)
        if self.error_model_ is None:
            raise ValueError(
                "meta_learner=None learns no error model that could be explained: the error "
                'probability is 1 - confidence. Fit with meta_learner="auto".'
            )
        self.error_model_._check_additive()
        (X,) = indexable(X)
        return self.error_model_._explain_error(X, *self._predict_base(X)[1:])

    def as_error_classifier(self):
        """Return a fitted binary classifier of the error, for any scikit-learn metric or display.

        Returns
        -------
        classifier : ErrorClassifier
            ``classes_`` is [False, True], True = the base is wrong; ``predict_proba`` has shape
            (n_samples, 2).

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from sklearn.metrics import RocCurveDisplay, roc_auc_score
        >>> from sklearn.naive_bayes import GaussianNB
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> clf = clf.fit(X[::2], y[::2])
        >>> is_error = clf.predict(X[1::2]) != y[1::2]
        >>> proba = clf.as_error_classifier().predict_proba(X[1::2])[:, 1]
        >>> bool(roc_auc_score(is_error, proba) > 0.8)
        True
        """
        check_is_fitted(self)
        return ErrorClassifier(self)

    def get_metadata_routing(self):
        """Return the metadata routing of this object.

        Returns
        -------
        routing : MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )
        if hasattr(self.cv, "split"):
            router.add(
                splitter=self.cv,
                method_mapping=MethodMapping().add(caller="fit", callee="split"),
            )
        return router

    def __sklearn_is_fitted__(self):
        """Tell whether the base has been fitted here."""
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        """Mirror the input tags of the base."""
        tags = super().__sklearn_tags__()
        base = get_tags(self.estimator)
        tags.input_tags = base.input_tags
        if base.classifier_tags is not None:
            tags.classifier_tags.multi_class = base.classifier_tags.multi_class
            tags.classifier_tags.poor_score = base.classifier_tags.poor_score
        tags.target_tags.required = True
        return tags


class ErrorClassifier(ClassifierMixin, BaseEstimator):
    """See the errors of a fitted `MetaErrorClassifier` as a binary classification.

    Parameters
    ----------
    estimator : fitted MetaErrorClassifier
        Whose errors.

    Attributes
    ----------
    classes_ : ndarray of bool, shape (2,)
        False = right, True = wrong.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    @property
    def classes_(self):
        """Both outcomes: False = right, True = wrong."""
        return np.array([False, True])

    def fit(self, X, y):
        """Do nothing: the error model is already fitted.

        Returns
        -------
        self : object
        """
        return self

    def predict(self, X):
        """Tell which predictions are likely wrong.

        Returns
        -------
        is_error : ndarray of bool, shape (n_samples,)
        """
        return self.estimator.predict_error(X)

    def predict_proba(self, X):
        """Return the probabilities of being right and of being wrong.

        Returns
        -------
        proba : ndarray of shape (n_samples, 2)
        """
        error_proba = self.estimator.predict_error_proba(X)
        return np.column_stack([1 - error_proba, error_proba])

    def __sklearn_is_fitted__(self):
        """Tell that there is nothing to fit."""
        return True
