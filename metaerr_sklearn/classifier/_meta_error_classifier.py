"""Classify with a base classifier and predict where it is wrong."""

from dataclasses import replace
from functools import cache, partial

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone

from .._base_estimator.adapter import adapt, check_classifier
from .._base_estimator.caching import kept_for_fits
from .._base_estimator.cross_fitting import cross_fit, observe_fitted
from .._base_estimator.delegation import DelegatesToBase
from .._base_estimator.fitting import fit_base
from .._base_estimator.fresh_nets import check_untrained
from .._base_estimator.further_fits import FurtherFits, fit_observers_beside
from .._base_estimator.inspection import (
    check_all_labeled,
    check_prefit,
    check_takes_parts,
    final_estimator,
)
from .._base_estimator.observations import DeployedBase
from .._base_estimator.routing import route_fit
from .._compat import CallbackSupportMixin, with_callbacks
from .._utils.failures import keeps_earlier_fit, noted
from .._utils.indexable import indexable
from .._utils.label_checks import (
    check_has_target,
    check_labels,
    check_target,
    check_two_classes,
)
from .._utils.messages import name_of
from .._utils.parameter_checks import check_fraction, check_memory_parameter, is_word
from .._utils.progress import FitProgress
from .._utils.random import draw_seed
from .._utils.rows import read_once_if_small
from ..error_model import ErrorModel
from ..meta_features._choice import observers_in, resolve_auto
from ..meta_learners._choice import HasMetaLearner
from ..model_selection._duplicates import find_duplicates, report_duplicates
from ..model_selection._splitting import (
    check_split_parameter,
    make_splits,
    without_single_rows,
)
from ..representation._choice import net_representation, shared_with
from ._error_outputs import PredictsErrors


class MetaErrorClassifier(
    PredictsErrors,
    DelegatesToBase,
    HasMetaLearner,
    ClassifierMixin,
    MetaEstimatorMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Classify with a base classifier and predict where it is wrong.

    Class outputs (`predict`, `predict_proba`, ...) are those of the base. Error outputs have other
    names (`predict_error_proba`, ...). The error is learned only from predictions on rows that the
    base was not trained on: out-of-fold, on a hold-out, or on rows new to a fitted base.

    Parameters
    ----------
    estimator : classifier
        The base: any scikit-learn classifier, a Pipeline over frames or text, a skorch net over
        float32 images, a trained PyTorch module in `neural.as_classifier`, or a fitted classifier
        in a `FrozenEstimator`. Define a net that is trained here by a module class: an instance
        that was fitted in a net is refused, because its weights have been trained on the test rows
        of the folds. A pretrained instance (a backbone) or a frozen step of a Pipeline is accepted:
        if such a part was trained on rows of X with their labels, the error rates are too low, and
        nothing can show this.

    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner, classifier \
            or None, default="auto"
        The model that learns the error; see `ErrorModel`. None trains nothing: the error
        probability is 1 - the probability of the predicted class, without cross-fitting.

    meta_features : "auto", "one_pass", "images", str, callable or list of these, default="auto"
        The columns that the meta-learner is fitted on; see `ErrorModel`. Further values are:

        - "auto" is "images" if the base is a net, or ends in one, and X is an array or tensor of
          floats with four axes, whose shape shows height and width (each above 4). A new row then
          takes 3.75 passes of the net in the mean, and a training row twelve. "auto" is "one_pass"
          for every other base and X. `meta_features_` shows the choice.
        - "one_pass", the meta-features that take no further pass of the base: all five blocks. If
          a net is cross-fitted, "predicted_class" is not used, because the nets of the folds have
          different class biases.
        - "images", for nets that classify images. It stands for "confidence", "neighbors",
          "second_opinion" and `neural.AugmentedConfidence`. Each row takes twelve passes of the
          net, unless `observed_share` is below 1.
        - Observers: objects with ``observe(estimator, X)``, which compute columns from the base
          itself. In training, the clone of each fold is passed with the rows held out from it;
          for new rows, the deployed base. If an observer has the attribute ``votes = True``, its
          first column is the log-odds that the prediction is right, and the error model starts
          from it as from the confidence. If it has a method ``fit_beside(fit)``, as `OtherFits`
          does, it is fitted beside each fit of the base: ``fit(seed)`` returns a further clone
          that is trained on the same rows, and ``fit.X`` and ``fit.y`` are these rows and labels.

    observed_share : "auto" or float in (0, 1], default="auto"
        Share of rows for which the observers in `meta_features` are computed. With 0.25, a first
        error model without observers predicts all rows. Rows above a threshold are passed to the
        observers, and get the error probability of the whole model. The threshold is set in
        training: a quarter of the training rows are above it. In training, the observers are
        computed for all rows. "auto" is 0.25 if ``meta_features="auto"`` chose "images", and
        otherwise 1.

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers for neighbours and second opinion; see `ErrorModel`. If a skorch net
        is deployed as it was evaluated (``cv="prefit"`` or ``refit=False``), "auto" represents
        images, arrays of more than 200 columns, and inputs without a representation of their own,
        such as a dict, by the net's last hidden layer. The layer is recorded while the net computes
        the probabilities; see `neural.TorchEmbedding`. A second opinion on a hidden layer of the
        base is a meta-feature, but the error model does not start from it.

    cv : int, float in (0, 1), splitter, iterable of splits or "prefit", default=5
        How the rows are held out. int: that many stratified folds. Rows of one group are never
        split across folds. Equal rows are kept together if they seem to be copied
        (see Notes). float: one stratified hold-out of that size. "prefit": `estimator` is fitted,
        and all rows are new to it, as with a `FrozenEstimator`.

    refit : bool, default=True
        Whether the deployed base is fitted anew on all rows. False needs a single split, and
        deploys the model that was evaluated on the hold-out.

    memory : str, path, joblib.Memory or None, default=None
        Caches each fit of the base, its out-of-fold predictions, and the meta-features:
        representation, neighbours, second opinion and columns of observers. Another meta-learner
        then costs its own fit alone, other meta-features cost no further fit of the base, and an
        interrupted cross-fitting resumes. Callables and objects with ``transform`` in
        `meta_features` are computed anew. So are observers and representations without a safe key:
        a lambda in them cannot be pickled, or their code was typed into a session that keeps no
        source (a notebook does). The meta-features of the rows that were predicted last are held in
        memory (32 MB): a search predicts the same rows for each candidate. The folder keeps all
        fitted clones: with five folds and ``refit=True`` the disk space of six fitted bases.
        ``joblib.Memory(folder, compress=3, verbose=0)`` takes less.

        With ``random_state=None`` the folds and the error model then have the same seed in each
        fit, and cached fits of the unseeded base are reused. A RandomState instance draws other
        folds in each fit. Define a skorch net by a module class: the random weights of a module
        instance are part of the cache key. A fitted net counts by its parameters, weights and
        buffers, and not by its history or optimizer: a net that was saved and loaded, or trained
        again to the same weights, has the same key. The other parts of the key are the training
        rows, all parameters, the version of this package, and the code of your own classes and
        functions in `estimator`, rows, observers and representation, and of those that their code
        names. After you have changed anything else, such as a global constant, a file that they
        read or an installed package, delete the folder.

    error_threshold : float in (0, 1], default=0.5
        `predict_error` is True from this error probability on.

    n_jobs : int, default=None
        Number of folds fitted at once, through joblib, and of threads of the error model. None
        means 1, or what ``joblib.parallel_config`` sets. Under ``joblib.parallel_config("dask")``
        the folds go to that cluster. For "ray" and "spark", call
        ``ray.util.joblib.register_ray()`` or ``joblibspark.register_spark()`` first. Nets on an
        accelerator are fitted one after the other in this process. The deployed base is fitted in
        this process, too, beside the last folds if they leave a core idle.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds and of the error model. If it is not None it also seeds the base: its
        parameters ``random_state`` that are None, and the weights of nets.

    verbose : int, default=0
        Print a line for each step of the fit. If the installed scikit-learn has callbacks,
        ``set_callbacks(ProgressBar())`` shows a progress bar instead.

    Attributes
    ----------
    estimator_ : fitted classifier
        The deployed base.

    error_model_ : ErrorModel or None
        None if ``meta_learner=None``.

    classes_ : ndarray of shape (n_classes,)
        Class labels, in the order of the columns of `predict_proba`. A net may have more outputs
        than y has classes: output j then stands for label j, and has a label here.

    oof_error_ : ndarray of bool, shape (n_samples,)
        Whether the out-of-fold prediction of each row is wrong; False for rows without one (see
        `oof_error_proba_`). None if ``meta_learner=None``.

    oof_error_proba_ : ndarray of shape (n_samples,)
        Out-of-fold error probability of each row; see `ErrorModel`. NaN also for rows without an
        out-of-fold prediction. None if ``meta_learner=None``.

    oof_error_rate_ : float in [0, 1]
        Weighted share of errors in the out-of-fold predictions. None if ``meta_learner=None``.

    n_errors_ : int
        Number of errors in the out-of-fold predictions of rows with positive weight. None if
        ``meta_learner=None``.

    duplicates_ : DuplicateReport or None
        ``n_rows``, the number of rows that are equal to another row; ``kept_together``, whether
        splits keep them together; ``reason``. None if `groups` are given, if ``meta_learner=None``,
        or if X is of a kind whose rows cannot be compared.

    fallback_reason_ : str or None
        Reason why no meta-learner was fitted; None if one was fitted. See `ErrorModel`.

    failed_folds_ : dict of int to str
        Folds whose training failed, numbered from 1. A fold is trained anew with another seed if
        its error rate exceeds that of the other folds beyond chance. If the second training
        succeeds, the value is "trained anew". If it fails too, the value is "left out": the rows of
        the fold have no out-of-fold prediction. A fold of hard rows stays as it is. With two folds,
        or if half of all folds have too many errors, no fold is trained anew. The dict is empty in
        most fits.

    meta_features_ : "one_pass", "images", str, callable, list of these or None
        What was used as `meta_features`: the choice of "auto", or the parameter. None if
        ``meta_learner=None``.

    meta_feature_names_ : list of str
        Columns that the meta-learner was fitted on. Empty if none was fitted.

    observed_share_ : float in (0, 1] or None
        What was used as `observed_share`: the choice of "auto", or the parameter. Without observers
        it is 1. None if ``meta_learner=None``.

    observers_ : list of objects with ``observe(estimator, X)``
        The observers in `meta_features_` as they are used beside the deployed base; for example
        `OtherFits` with its further fits.

    n_features_in_ : int
        Number of columns of X, if the base has this attribute.

    feature_names_in_ : ndarray of str
        Names of the columns of X, if the base has this attribute.

    See Also
    --------
    ErrorModel : Predicts the errors of predictions that were made elsewhere.

    Notes
    -----
    Rows are equal if their values are equal in single precision. They are kept together in every
    split if they repeat a more even number of times than rows that are drawn at random, or if the
    rows of one class repeat and those of another do not. They are then probably copies, and the
    error rate is that on new rows. Other equal rows are split: they are equal by chance, or are
    draws from a list, and new rows will repeat them as often. There is a warning if the choice may
    change the error rate. ``groups=np.arange(len(X))`` splits all duplicates without a search;
    ``groups=`` with one number for all duplicates of a row keeps them together. Rows that differ a
    little, such as noisy copies, need such groups.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Error Patterns in Deep Neural Networks, arXiv 2604.23289.

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
        observed_share="auto",
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
        self.observed_share = observed_share
        self.representation = representation
        self.cv = cv
        self.refit = refit
        self.memory = memory
        self.error_threshold = error_threshold
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @keeps_earlier_fit
    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None, **fit_params):
        """Fit the base, and the error model on predictions for rows that are new to the base.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        y : array-like of shape (n_samples,)
            Class labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights for the base, if its ``fit`` takes them, and for the error model.

        groups : array-like of shape (n_samples,), default=None
            Rows of one group stay together in every split that is drawn here. A splitter or a list
            of splits of your own is used as it is.

        **fit_params : dict
            Arguments of the ``fit`` of the base; with metadata routing, those of the splitter too.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If `estimator` is no classifier.
        ValueError
            If y is not a vector of at least two classes, or a parameter is invalid.
        """
        is_prefit = check_prefit(self.estimator, self.cv)
        X, y = self._check_fit(X, y, groups, is_prefit)
        # This comes early, because it raises if the classes do not fit the labels.
        own_classes = adapt(self.estimator).classes_of_prefit(X, y) if is_prefit else None
        unused = None if is_prefit else "the weights are used by the error model alone."
        sample_weight, groups, base_params, split_params = route_fit(
            self, y, sample_weight, groups, fit_params, unused_weights=unused
        )
        memory = check_memory_parameter(self.memory)
        kept = kept_for_fits(memory, self.estimator, X, y, base_params)
        seed = draw_seed(self.random_state)
        options = {"fit_params": base_params, "seed": None if self.random_state is None else seed}
        if self.memory is not None and self.random_state is None:
            seed = 0  # with other folds, nothing of an earlier fit would be in the cache
        if self.meta_learner is None:
            return self._fit_base_alone(X, y, own_classes, options, kept)
        self._choose_meta_features(X)
        observers = self._check_observers(X, is_prefit)
        # The base is trained on X itself: a Dataset may give other random views in each epoch.
        X_kept = read_once_if_small(X)
        duplicates = find_duplicates(X_kept, y) if groups is None else None
        duplicate_id = None if duplicates is None else duplicates.duplicate_id
        if is_prefit:
            splits, cv, estimate = [], "prefit", "the log-loss of oof_error_proba_"
        else:
            splits = self._make_splits(X, y, groups, duplicate_id, split_params, seed)
            cv, estimate = self.cv, "the error rate"
        report = report_duplicates(duplicates, cv, splits, estimate=estimate)
        progress = FitProgress(self, len(splits) + 2, X, y, verbose=self.verbose)
        if is_prefit:
            base, classes, representation, observations = self._observe_fitted(
                X_kept, y, own_classes, observers
            )
        else:
            base, observers, classes, representation, observations = self._cross_fit(
                X, y, splits, observers, options, progress, kept
            )
        self.observers_ = _own_observers(observers)
        progress.done("base estimator")
        observations = replace(
            observations,
            X=X_kept,
            sample_weight=sample_weight,
            groups=without_single_rows(groups),
            duplicate_id=duplicate_id,
        )
        self._fit_error_model(
            observations,
            classes,
            seed,
            base=DeployedBase(base, self.observers_, is_prefit or not self.refit),
            representation=representation,
            kept=kept,
        )
        self.duplicates_ = self.error_model_.duplicates_ = report
        progress.done("error model")
        progress.close()
        if not is_prefit:
            own_classes = adapt(base).classes_of_output(classes, X)
        self._set_base(base, own_classes, X)
        return self

    def score(self, X, y, sample_weight=None):
        """Return the accuracy of `predict`.

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
        score : float
        """
        (X,) = indexable(X)
        return super().score(X, check_labels(y, X), sample_weight)

    def _check_fit(self, X, y, groups, is_prefit):
        """Check parameters and data before anything costly is fitted."""
        check_classifier(self.estimator)
        if self.meta_learner is not None:
            self._make_error_model(self.meta_features, self.random_state).check_parameters()
        check_split_parameter(self.cv)
        check_memory_parameter(self.memory)
        check_fraction(self.error_threshold, "error_threshold")
        if not is_word(self.observed_share, "auto"):
            check_fraction(self.observed_share, 'observed_share, if it is not "auto",')
        name = type(self).__name__
        check_has_target(y, name)
        X, y, _ = indexable(X, y, groups)
        y = check_target(y, name)
        check_all_labeled(self.estimator, y)
        if not is_prefit:
            if self.meta_learner is not None:
                check_takes_parts(self.estimator)
                check_untrained(self.estimator)
            check_two_classes(y, name)
            adapt(self.estimator).check_fit(X, y)
        return X, y

    def _fit_base_alone(self, X, y, own_classes, options, kept):
        """Fit the base without cross-fitting: no meta-learner needs its errors."""
        progress = FitProgress(self, 1, X, y, verbose=self.verbose)
        base = self.estimator
        if own_classes is None:
            classes = np.unique(y)
            base = self._fit_base(X, y, classes, options, kept)
            own_classes = adapt(base).classes_of_output(classes, X)
        self._argmax_is_label = bool(adapt(base).predicts_argmax())
        self.error_model_, self.duplicates_, self.failed_folds_ = None, None, {}
        self.oof_error_ = self.oof_error_proba_ = self.oof_error_rate_ = self.n_errors_ = None
        self.fallback_reason_ = "meta_learner=None: the error probability is 1 - confidence."
        self.meta_features_ = self.observed_share_ = None
        self.meta_feature_names_, self.observers_ = [], []
        progress.done("base estimator")
        progress.close()
        self._set_base(base, own_classes, X)
        return self

    def _make_splits(self, X, y, groups, duplicate_id, split_params, seed):
        """Return the splits for cross-fitting; with refit=False there must be a single one."""
        splits = make_splits(
            self.cv,
            X,
            y,
            groups=groups,
            duplicate_id=duplicate_id,
            split_params=split_params,
            seed=seed,
        )
        if not self.refit and len(splits) != 1:
            raise ValueError(
                f"refit=False deploys the model that was evaluated and needs a single split, got "
                f"{len(splits)}. Pass cv=0.3 for one hold-out of 30 %, or refit=True."
            )
        return splits

    def _choose_meta_features(self, X):
        """Set the attributes that show what "auto" stands for."""
        self.meta_features_ = resolve_auto(self.meta_features, self.estimator, X)
        self.observed_share_ = self.observed_share
        if is_word(self.observed_share, "auto"):
            # If the user names the observers, they are worth their cost for each row.
            is_default = self.meta_features_ is not self.meta_features
            self.observed_share_ = 0.25 if is_default and observers_in(self.meta_features_) else 1.0

    def _check_observers(self, X, is_prefit):
        """Return the observers in `meta_features_`, after they have checked the base."""
        observers = observers_in(self.meta_features_)
        if self.observed_share_ < 1 and not observers:
            raise ValueError(
                f"observed_share={self.observed_share} is the share of rows for which observers "
                f"are computed, but meta_features={self.meta_features!r} has no observer here. "
                'Leave observed_share at "auto", or add an observer, for example '
                'meta_features="images" for a net on images.'
            )
        for observer in observers:
            if is_prefit and hasattr(observer, "fit_beside"):
                name = type(observer).__name__
                base = name_of(final_estimator(self.estimator))
                raise ValueError(
                    f"{name} in meta_features fits {base} again on its training rows, and a fitted "
                    f"base comes without these. Leave {name} out, or pass the unfitted base with "
                    "all rows: MetaErrorClassifier(base, cv=5), or cv=0.3, refit=False for one fit "
                    "on 70 % of the rows."
                )
            if hasattr(observer, "check_base"):
                observer.check_base(self.estimator, X)
        return observers

    def _observe_fitted(self, X, y, own_classes, observers):
        """Predict all rows with the fitted base, and record a net's hidden layer if it is used."""
        self.failed_folds_ = {}
        representation = net_representation(self.representation, self.estimator, X)
        embedding, _ = shared_with(representation, self.estimator)
        observations, classes = observe_fitted(
            self.estimator,
            X,
            y,
            own_classes,
            embedding=embedding,
            observers=observers,
            memory=check_memory_parameter(self.memory),
        )
        return self.estimator, classes, representation, observations

    def _cross_fit(self, X, y, splits, observers, options, progress, kept):
        """Predict each row with a clone that was not trained on it, and fit the deployed base."""
        classes = np.unique(y)
        fit_deployed = cache(lambda: self._fit_base(X, y, classes, options, kept))
        observations, fitted, self.failed_folds_ = cross_fit(
            self.estimator,
            X,
            y,
            classes=classes,
            splits=splits,
            n_jobs=self.n_jobs,
            memory=kept.memory,
            kept=kept,
            keep_estimators=not self.refit,
            is_deployed=not self.refit,
            on_fold=lambda: progress.done("fold"),
            on_idle=fit_deployed if self.refit else None,
            observers=observers,
            **options,
        )
        if self.refit:
            base = fit_deployed()
            fits = FurtherFits(self.estimator, base, X, y, classes, memory=kept.memory, **options)
            observers = fit_observers_beside(observers, fits)
            return base, observers, classes, self.representation, observations
        base, observers = fitted[0]
        representation = net_representation(self.representation, base, X)
        return base, observers, classes, representation, observations

    def _fit_base(self, X, y, classes, options, kept):
        estimator = clone(self.estimator)
        with noted("fitting the deployed base on all rows"):
            X = adapt(estimator).own_copy(X)  # the folds and the error model use X, too
            fit = partial(fit_base, estimator, X, y, classes=classes, **options)
            return kept(fit, "deployed base", estimator, options["seed"])

    def _make_error_model(self, meta_features, random_state):
        return ErrorModel(
            self.meta_learner,
            meta_features=meta_features,
            representation=self.representation,
            n_jobs=self.n_jobs,
            random_state=random_state,
            verbose=self.verbose,
        )

    def _fit_error_model(self, observations, classes, seed, *, base, representation, kept):
        """Fit the error model on the rows with an out-of-fold prediction."""
        n_samples, fold = len(observations), observations.fold
        tested = np.arange(n_samples) if fold is None else np.flatnonzero(fold >= 0)
        if len(tested) < n_samples:
            X = adapt(self.estimator).take_rows(observations.X, tested)
            observations = replace(replace(observations, X=None).take(tested), X=X)
        # If the label is the argmax on every row, later predictions need one pass of the base.
        by_argmax = observations.proba.argmax(axis=1) == observations.pred_encoded
        one_pass = adapt(base.estimator).predicts_argmax() is not False
        self._argmax_is_label = bool(by_argmax.all()) and one_pass
        model = self._make_error_model(self.meta_features_, seed).fit_observations(
            observations,
            classes,
            base=base,
            representation=representation,
            observed_share=self.observed_share_,
            kept=kept.narrowed(tested),
        )
        self.error_model_ = model
        self.oof_error_, self.oof_error_proba_ = observations.is_error, model.oof_error_proba_
        if len(tested) < n_samples:
            self.oof_error_ = np.zeros(n_samples, dtype=bool)
            self.oof_error_[tested] = observations.is_error
            self.oof_error_proba_ = np.full(n_samples, np.nan)
            self.oof_error_proba_[tested] = model.oof_error_proba_
        self.oof_error_rate_ = model.error_rate_
        self.n_errors_ = model.n_errors_
        self.fallback_reason_ = model.fallback_reason_
        self.meta_feature_names_ = model.meta_feature_names_


def _own_observers(observers):
    """Return copies, so that those of the user stay as they are, also if they keep a state.

    An observer with ``fit_beside`` is a copy already.
    """
    return [
        observer if hasattr(observer, "fit_beside") else clone(observer, safe=False)
        for observer in observers
    ]
