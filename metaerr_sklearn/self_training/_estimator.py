"""Learn from unlabeled rows by pseudo-labels whose errors are predicted."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, check_scalar
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.adapter import adapt, check_classifier
from .._base_estimator.caching import check_can_be_cached
from .._base_estimator.delegation import DelegatesToBase
from .._base_estimator.fresh_nets import check_untrained
from .._base_estimator.inspection import check_takes_parts, warn_of_unlabeled
from .._base_estimator.observations import DeployedBase, Observations
from .._base_estimator.prediction import predict_base
from .._base_estimator.routing import route_fit, route_output, weight_route
from .._compat import CallbackSupportMixin, raise_for_params, with_callbacks
from .._utils.failures import keeps_earlier_fit
from .._utils.indexable import indexable
from .._utils.label_checks import check_has_target, check_labels, check_two_classes
from .._utils.messages import warn_caller
from .._utils.parameter_checks import check_memory_parameter, is_word
from .._utils.probabilities import add_log_odds, proba_of_other_classes
from .._utils.progress import FitProgress
from .._utils.random import draw_seed
from ..error_model import ErrorModel
from ..meta_features._choice import check_no_observers, means_one_pass
from ..meta_learners._choice import HasMetaLearner
from ..model_selection._splitting import check_split_parameter
from ..representation._choice import fit_representation
from ._class_prior import check_class_prior
from ._criteria import CRITERIA, PseudoLabels
from ._cross_fitted import cross_fit_labeled
from ._labels import read_partly_labeled
from ._nets import hidden_layers
from ._opinion_pool import OpinionPool
from ._weighted_base import WeightedBase

# From this number of wrong and of right out-of-fold predictions on, an ErrorModel ranks the errors
# of unlabeled rows better than an OpinionPool (measured on 16 tables).
_MIN_OUTCOMES_FOR_ERROR_MODEL = 100


class SelfTrainingWithMetaErr(
    DelegatesToBase,
    HasMetaLearner,
    ClassifierMixin,
    MetaEstimatorMixin,
    CallbackSupportMixin,
    BaseEstimator,
):
    """Self-training that selects or weights pseudo-labels by their predicted error.

    Use it in place of `sklearn.semi_supervised.SelfTrainingClassifier`. The base classifier is
    trained on the labeled rows and on unlabeled rows with labels that it has predicted itself, the
    pseudo-labels. The predicted probability that a pseudo-label is wrong decides how it is used,
    not the confidence of the base. Errors are learned from out-of-fold predictions of the labeled
    rows. A pseudo-label is predicted and scored by a model that was not trained on it, except in
    the later rounds of the criterion "certain".

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier, a Pipeline over frames or text, or a skorch net over float32
        images. Each fit starts from scratch.

    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner, classifier \
            or None, default="auto"
        Model of the errors. "auto" (with ``meta_features="auto"``) is an `OpinionPool`, which
        needs few labels because it has a strong prior and uses the unlabeled rows too. If there
        are at least 100 wrong and 100 right out-of-fold predictions, "auto" is an `ErrorModel`,
        except for the criterion "consensus". Any other value is passed to `ErrorModel`. With None
        nothing is learned: the error probability is 1 - the largest probability, and the criteria
        "threshold" and "k_best" give exactly the results of scikit-learn's
        `SelfTrainingClassifier`, for every input that this class accepts.

    meta_features : "auto", "one_pass", str, callable or list of these, default="auto"
        Input of the meta-learner; see `ErrorModel`. "one_pass" is the same as "auto".

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers for neighbours and auxiliary models; see `ErrorModel`. For nets with
        few labels, "auto" searches neighbours in the last hidden layer of the net, if it has one.

    cv : int, float in (0, 1), splitter or iterable of splits, default=5
        How the labeled rows are split for out-of-fold predictions. An int is the largest number of
        stratified folds: fewer are used if the smallest class has fewer labels, but at least two
        of them. If every class, or every class but one, has a single label, no row can be
        cross-fitted: the error probability is then 1 - the largest probability, with a warning.

    criterion : {"auto", "consensus", "weight", "threshold", "k_best", "certain"}, default="auto"
        How pseudo-labels are chosen and used. "Once" means that the base trained on the labels
        alone predicts the pseudo-labels, and that the final base is trained on labels and
        pseudo-labels. "In rounds" means that this is repeated with the base of the round before.

        - "auto": "certain" for nets. For other bases "consensus", or "weight" if `meta_learner` or
          `meta_features` is not "auto".
        - "consensus": all unlabeled rows are used once. An `OpinionPool` combines the base with
          other models; each row gets the label that is most probable in the pool, with weight
          `pseudo_weight` * (1 - error probability). If `class_prior` is None, the class prior of
          the unlabeled rows is estimated; because the estimate may be wrong, a row for which the
          base predicts another label is added a second time, with the label of the base and weight
          1.5 * `pseudo_weight` * its probability. No unlabeled row is used if `class_prior` is None
          and the cross-fitted base is not better than guessing by one standard error: the final
          base is then trained on the labels alone. Needs ``meta_learner="auto"`` and
          ``meta_features="auto"``.
        - "weight": all unlabeled rows are used once, with the label that the base predicts and
          weight `pseudo_weight` * (1 - error probability).
        - "threshold": in rounds. A round adds the rows whose error probability is below
          1 - `threshold`. An added row keeps its label.
        - "k_best": in rounds. A round adds the `k_best` rows with the smallest error probability.
          An added row keeps its label.
        - "certain": two rounds on the rows whose label is certain, then a last round on all rows,
          with weight 1 - error probability. In each round the labeled rows have at least half of
          all weight, much as in FixMatch [4]_. All unlabeled rows are labeled anew before each
          round, so a base may label a row whose earlier pseudo-label it was trained on. A label is
          certain if its error probability is at most 0.1. For a skorch net with dropout, the label
          must instead have a mean probability of at least 0.7 and a standard deviation of at most
          0.05 under random dropout masks, as in UPS [3]_, and an error probability below 0.5.

    threshold : float in [0, 1), default=0.75
        Smallest confidence (1 - error probability), itself excluded, for "threshold".

    k_best : int, default=10
        Number of rows that a round of "k_best" adds.

    pseudo_weight : float, default=0.5
        Weight of a pseudo-label of error probability 0 for "consensus" and "weight". A labeled row
        has weight 1 there.

    max_iter : int or None, default=10
        Largest number of rounds. None sets no limit; with 0 no unlabeled row is used. The last
        round of "certain", on all rows, is not counted.

    class_prior : None, "labeled" or array-like of shape (n_classes,), default=None
        Shares of the classes among the unlabeled rows. With "labeled" they are those among the
        labeled rows; choose it if the labeled rows were drawn at random. The shares in an array are
        in the order of `classes_`. The pseudo-labels of a class are limited, in number or in sum of
        weights, to its share of all pseudo-labels that meet the criterion. None sets no limit;
        "consensus" then estimates the shares. It uses the estimate in full only if the pool is
        clearly better than guessing and the folds agree on the estimate.

    unlabeled : scalar, default=-1
        Marks the unlabeled rows in y; None and NaN both mean a missing label. If y holds only -1
        and 1, then -1 is a class: a single class could not be learned.

    memory : str, path, joblib.Memory or None, default=None
        Caches each fit of the base, so that an interrupted fit resumes where it stopped, and
        another criterion or meta-learner costs only the fits that differ. With
        ``random_state=None``, folds and seeds are then the same in each fit. See
        `MetaErrorClassifier` for what is part of the key.

    n_jobs : int, default=None
        Number of folds fitted at once, through joblib, and of threads of the neighbour search.

    random_state : int, RandomState instance or None, default=None
        Seed of folds and error model. If it is not None, it also seeds the base: all its
        parameters ``random_state`` that are None, and the initial weights of nets.

    verbose : bool, default=False
        Print a line after each fold, each fit of the base, the error model and each round. If the
        installed scikit-learn has callbacks, ``set_callbacks(ProgressBar())`` shows the same steps.

    Attributes
    ----------
    estimator_ : fitted classifier
        The base, trained on labeled and pseudo-labeled rows.

    error_model_ : OpinionPool, ErrorModel or None
        None if the error probability is 1 - the largest probability.

    duplicates_ : DuplicateReport or None
        What was found of duplicated rows among the labeled rows; see `MetaErrorClassifier`.

    classes_ : ndarray of shape (n_classes,)
        Class labels, in the order of the columns of `predict_proba`. A net may have more outputs
        than y has classes: output j then stands for label j, and has a label here.

    criterion_ : str
        The criterion used; never "auto".

    transduction_ : ndarray of shape (n_samples,)
        Labels of the final fit, pseudo-labels included. Unused rows keep their marker.

    labeled_iter_ : ndarray of int, shape (n_samples,)
        Round in which each row was first used; 0 for labeled rows, -1 for unused ones.

    n_base_fits_ : int
        Number of fits of the base: folds, failed ones counted twice, rounds, the final fit, and one
        more that measures the level of `predict_error_proba`.

    n_iter_ : int
        Number of rounds. If all rows are labeled it is 1, or 0 with ``meta_learner=None``, as in
        scikit-learn.

    termination_condition_ : {"max_iter", "no_change", "all_labeled"}
        Why self-training stopped: `max_iter` was reached, no further row met the criterion, or all
        rows are used.

    pseudo_error_proba_ : ndarray of shape (n_samples,)
        Error probability of the last label of each unlabeled row, predicted by a model that was
        not trained on it. Out-of-fold errors of the labeled rows decide the mean over all rows.
        NaN for labeled rows, and if there was no round.

    history_ : list of dict
        One entry per round; a last round that found no row has none, unless it is the only one.
        ``n_added`` is the number of rows added, ``mean_error_proba`` their mean error probability
        (None if there are none), and ``oof_accuracy`` the out-of-fold accuracy of the base that
        labeled them (None after the first round, where it is not measured).

    failed_folds_ : dict of int to str
        Folds whose training failed, numbered from 1, and what was done: "trained anew" or "left
        out". See `MetaErrorClassifier`.

    n_features_in_ : int
        Number of columns of X, if the base has this attribute.

    feature_names_in_ : ndarray of str
        Names of the columns of X, if the base has this attribute.

    See Also
    --------
    sklearn.semi_supervised.SelfTrainingClassifier : Selects by the confidence of the base.
    metaerr_sklearn.model_selection.SemiSupervisedKFold : Cross-validate with unlabeled rows.

    Notes
    -----
    Weights reach the base through ``sample_weight`` of its ``fit`` (in a Pipeline, of its last
    step). A skorch net draws its training batches in proportion to the weights; an epoch has as
    many rows as the training set, so the number of gradient steps grows with the training set. For
    any other base the rows are resampled systematically: a row of weight w appears floor(w) or
    ceil(w) times.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Error Patterns in Deep Neural Networks, arXiv 2604.23289.
    .. [2] Yarowsky (1995). Unsupervised Word Sense Disambiguation Rivaling Supervised Methods, ACL.
    .. [3] Rizve, Duarte, Rawat, Shah (2021). In Defense of Pseudo-Labeling: An Uncertainty-Aware
       Pseudo-label Selection Framework for Semi-Supervised Learning, ICLR.
    .. [4] Sohn et al. (2020). FixMatch: Simplifying Semi-Supervised Learning with Consistency and
       Confidence, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from metaerr_sklearn.self_training import SelfTrainingWithMetaErr
    >>> X, y = load_digits(return_X_y=True)
    >>> y_partly = y.copy()
    >>> y_partly[100:] = -1
    >>> forest = RandomForestClassifier(25, random_state=0)
    >>> model = SelfTrainingWithMetaErr(forest, random_state=0).fit(X[:1000], y_partly[:1000])
    >>> alone = forest.fit(X[:100], y[:100])
    >>> bool(model.score(X[1000:], y[1000:]) > alone.score(X[1000:], y[1000:]))
    True
    """

    _routed_methods = (*DelegatesToBase._routed_methods, "score")

    def __init__(
        self,
        estimator=None,
        meta_learner="auto",
        *,
        meta_features="auto",
        representation="auto",
        cv=5,
        criterion="auto",
        threshold=0.75,
        k_best=10,
        pseudo_weight=0.5,
        max_iter=10,
        class_prior=None,
        unlabeled=-1,
        memory=None,
        n_jobs=None,
        random_state=None,
        verbose=False,
    ):
        self.estimator = estimator
        self.meta_learner = meta_learner
        self.meta_features = meta_features
        self.representation = representation
        self.cv = cv
        self.criterion = criterion
        self.threshold = threshold
        self.k_best = k_best
        self.pseudo_weight = pseudo_weight
        self.max_iter = max_iter
        self.class_prior = class_prior
        self.unlabeled = unlabeled
        self.memory = memory
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @keeps_earlier_fit
    @with_callbacks
    def fit(self, X, y, sample_weight=None, groups=None, **fit_params):
        """Fit the base on labeled and pseudo-labeled rows.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        y : array-like of shape (n_samples,)
            Class labels, and the marker `unlabeled` for rows without one.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights; those of unlabeled rows multiply the weights of their pseudo-labels. If the
            ``fit`` of the base takes no weights, it is cross-fitted without them.

        groups : array-like of shape (n_samples,), default=None
            Labeled rows of one group stay together in every split that is drawn here. A splitter
            or a list of splits of your own is used as it is. Errors are then measured on rows of
            other groups than those of training. An unlabeled row of a group with labeled rows is
            easier to classify than these, so that its error probability is rather too high.

        **fit_params : dict
            Arguments of the ``fit`` of the base. Those with one entry per row are cut to the rows
            of each fit. With metadata routing enabled: what the base and the splitter request.
            ``meta_learner=None`` takes them only with metadata routing, as scikit-learn's class.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If y has no labeled row, labels of one class only, or a parameter is invalid.
        """
        if self.meta_learner is None:
            raise_for_params(fit_params, self, "fit")
        X, y, y_encoded, arguments = self._check_fit(X, y, sample_weight, groups, fit_params)
        random_state = self.random_state
        if self.memory is not None and random_state is None:
            random_state = 0  # with other folds and seeds, no earlier fit would be in the cache
        seed = draw_seed(random_state)
        self.criterion_ = self._choose_criterion()
        # The number of rounds is not known beforehand. Without a meta-learner only the lines of
        # scikit-learn's class are printed.
        verbose = self.verbose and self.meta_learner is not None
        progress = FitProgress(self, None, X, y, verbose=verbose)
        state = self._make_state(X, y_encoded, arguments, seed, random_state is not None, progress)
        with adapt(self.estimator).preserved_rng(seed):
            if self.meta_learner is not None:
                self._learn_errors(state, y_encoded, arguments, seed, progress)
            self._fit_final_base(state)
        progress.close()
        self._finish(state, X, y)
        return self

    def predict_error_proba(self, X):
        """Estimate the probability that `predict` is wrong on each sample.

        The error model was trained on predictions of the base without pseudo-labels. The final
        base gives higher class probabilities, so that the error probabilities would be too low.
        Therefore they are shifted in log-odds. The shift is measured on a quarter of the unlabeled
        rows, with a further clone of the base that is trained like the final base but without these
        rows. If the label of the clone equals the pseudo-label of the row, both are wrong with the
        same probability. If they differ, the label of the clone is wrong more often.
        Unlabeled rows are taken to be as hard to classify as new rows. On 15 tables and four bases,
        the mean error probability of new rows differed from their error rate by 0.01 to 0.02 with
        100 labels per class, by 0.02 to 0.03 with 25 and by 0.03 to 0.04 with 10 (mean over the
        tables; a base that learns nothing from 10 labels is left out). For nets on images with 25
        labels per class it was too high by 0.05 on average. One reason is that a label of the clone
        counts as a probable error if it differs from the first pseudo-label of its row, although
        later rounds correct first pseudo-labels.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.
        """
        check_is_fitted(self)
        self._check_rows(X)
        (X,) = indexable(X)
        model = self.error_model_
        # A net with more outputs than classes in y has more `classes_` than its error model.
        classes = np.unique(self.classes_) if model is None else model.classes_
        _, pred_encoded, proba, _ = predict_base(self.estimator_, X, classes)
        if model is None:
            return proba_of_other_classes(proba, pred_encoded)
        observations = Observations(X, proba, pred_encoded)
        return add_log_odds(model.predict_observations(observations), self._error_level)

    def score(self, X, y, sample_weight=None, **params):
        """Return the accuracy of `predict`.

        Parameters
        ----------
        X : any, of length n_samples
            As for `predict`.

        y : array-like of shape (n_samples,)
            True labels.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        **params : dict
            With metadata routing enabled, the arguments that the ``score`` of the base requests:
            the score is then that of the base.

        Returns
        -------
        score : float
        """
        given = params if sample_weight is None else {**params, "sample_weight": sample_weight}
        if given and get_config()["enable_metadata_routing"]:
            given = route_output(self, "score", given)
            check_is_fitted(self)
            return self.estimator_.score(X, y, **given)
        raise_for_params(params, self, "score")
        (X,) = indexable(X)
        y = check_labels(y, X)
        warn_of_unlabeled(self, y)
        return super().score(X, y, sample_weight)

    def _check_fit(self, X, y, sample_weight, groups, fit_params):
        """Check parameters and data before anything costly is fitted."""
        check_classifier(self.estimator)
        if self.meta_learner is not None:
            check_takes_parts(self.estimator)
            check_untrained(self.estimator)
        self._check_parameters()
        check_has_target(y, type(self).__name__)
        X, y, _ = indexable(X, y, groups)
        y, has_label, labels = read_partly_labeled(
            y, self.unlabeled, as_sklearn=self.meta_learner is None
        )
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if self.meta_learner is not None:
            check_two_classes(labels, type(self).__name__)
        adapt(self.estimator).check_fit(X, labels)
        if self.criterion == "k_best" and self.k_best > np.sum(~has_label):
            warn_caller(
                "k_best is larger than the amount of unlabeled samples. All unlabeled samples "
                "will be labeled in the first iteration"
            )
        y_encoded = np.full(len(y), -1)
        y_encoded[has_label] = encoded
        arguments = route_fit(self, y_encoded, sample_weight, groups, fit_params)
        if self.memory is not None:
            params = arguments.base_params
            check_can_be_cached(estimator=self.estimator, X=X, y=y, fit_params=params)
        if sample_weight is not None:
            is_weighted = arguments.sample_weight[has_label] > 0
            check_two_classes(labels[is_weighted], type(self).__name__)
        return X, y, y_encoded, arguments

    def _check_parameters(self):
        check_no_observers(self.meta_features)
        criteria = ("auto", *CRITERIA)
        if self.criterion not in criteria:
            raise ValueError(
                f"criterion must be one of {', '.join(map(repr, criteria))}, got "
                f"{self.criterion!r}."
            )
        if isinstance(self.estimator, FrozenEstimator) or is_word(self.cv, "prefit"):
            raise ValueError(
                "Self-training fits the estimator from scratch, so it cannot be frozen or prefit. "
                "Pass the unfitted classifier, and its training rows as labeled rows."
            )
        check_split_parameter(self.cv)
        check_memory_parameter(self.memory)
        check_scalar(
            self.threshold, "threshold", Real, min_val=0, max_val=1, include_boundaries="left"
        )
        check_scalar(self.k_best, "k_best", Integral, min_val=1)
        check_scalar(self.pseudo_weight, "pseudo_weight", Real, min_val=0)
        if self.max_iter is not None:
            check_scalar(self.max_iter, "max_iter", Integral, min_val=0)
        # No comparison with NaN is true, so check_scalar lets it pass.
        assert_all_finite(np.atleast_1d(self.threshold), input_name="threshold")
        assert_all_finite(np.atleast_1d(self.pseudo_weight), input_name="pseudo_weight")
        if self.criterion == "consensus" and not self._is_automatic():
            raise ValueError(
                'criterion="consensus" takes labels from an OpinionPool: it needs '
                f'meta_learner="auto" and meta_features="auto", got {self.meta_learner!r} and '
                f'{self.meta_features!r}. With another meta-learner use criterion="weight".'
            )
        if self.meta_learner is not None:
            self._make_error_model(None).check_parameters()

    def _is_automatic(self):
        return is_word(self.meta_learner, "auto") and means_one_pass(self.meta_features)

    def _choose_criterion(self):
        if self.criterion != "auto":
            return self.criterion
        if adapt(self.estimator).is_net:
            return "certain"
        return "consensus" if self._is_automatic() else "weight"

    def _make_state(self, X, y_encoded, arguments, seed, is_seeded, progress):
        """Return the state of the fit before the first round."""
        class_prior = check_class_prior(
            self.class_prior, self.classes_, y_encoded, arguments.sample_weight
        )
        weight, fit_params = self._base_arguments(arguments)
        base = WeightedBase(
            self.estimator,
            X,
            self.classes_,
            sample_weight=weight,
            fit_params=fit_params,
            is_labeled=y_encoded >= 0,
            random_state=seed if is_seeded else None,
            as_sklearn=self.meta_learner is None and self.criterion_ in ("threshold", "k_best"),
            memory=check_memory_parameter(self.memory),
            on_fit=partial(progress.done, "base estimator"),
        )
        on_round = partial(self._report_round, progress)
        return PseudoLabels(base, y_encoded, class_prior=class_prior, seed=seed, on_round=on_round)

    def _base_arguments(self, arguments):
        """Return the weights of the base, and the other arguments of its fit."""
        base_params = dict(arguments.base_params)
        name, _ = weight_route(self.estimator, base_params)
        weight = base_params.pop(name, None)
        if adapt(self.estimator).sample_weight_param() is None:
            weight = arguments.sample_weight  # the rows are resampled, or batches drawn, by weight
        return weight, base_params

    def _learn_errors(self, state, y_encoded, arguments, seed, progress):
        """Cross-fit the base on the labeled rows, and fit the model of its errors."""
        supervised = state.fit_supervised()
        state.cross_fitted = cross_fit_labeled(
            self, state.base, y_encoded, arguments, seed, partial(progress.done, "fold")
        )
        if state.cross_fitted is not None:
            state.error_model = self._fit_error_model(
                state.base.X, y_encoded, state.cross_fitted, supervised, seed
            )
        progress.done("error model")

    def _fit_final_base(self, state):
        """Choose pseudo-labels, train on them, and measure the level of the errors."""
        if len(state.unlabeled):
            run_criterion = CRITERIA[self.criterion_]
            self.estimator_, self.termination_condition_ = run_criterion(state, self)
            self._error_level = state.deployed_level(self.estimator_)
        else:
            state.n_iter = 0 if self.meta_learner is None else 1
            self.estimator_, self.termination_condition_ = state.fit_supervised(), "all_labeled"
            self._error_level = 0.0

    def _fit_error_model(self, X, y_encoded, cross_fitted, supervised, seed):
        """Fit an OpinionPool if it is needed or errors are few, else an ErrorModel."""
        n_errors, n_tested = cross_fitted.is_error.sum(), len(cross_fitted.is_error)
        is_enough = min(n_errors, n_tested - n_errors) >= _MIN_OUTCOMES_FOR_ERROR_MODEL
        if self._is_automatic() and (self.criterion_ == "consensus" or not is_enough):
            representation, _ = fit_representation(self.representation, X, seed=seed)
            models, embeddings = [*cross_fitted.models, supervised], None
            if is_word(self.representation, "auto") and representation is not None:
                embeddings = hidden_layers(models, X)
            pool = OpinionPool(n_jobs=self.n_jobs, random_state=seed)
            return pool.fit(X, y_encoded, cross_fitted, representation, embeddings)
        observations = cross_fitted.oof.take(np.flatnonzero(cross_fitted.tested))
        model = self._make_error_model(seed)
        model.duplicates_ = cross_fitted.duplicates
        return model.fit_observations(observations, self.classes_, base=DeployedBase(supervised))

    def _shown_learner(self):
        """Return the OpinionPool if one predicts errors, else as `HasMetaLearner`."""
        model = getattr(self, "error_model_", OpinionPool() if self._is_automatic() else None)
        return model if isinstance(model, OpinionPool) else super()._shown_learner()

    def _make_error_model(self, random_state):
        return ErrorModel(
            self.meta_learner,
            meta_features=self.meta_features,
            representation=self.representation,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )

    def _report_round(self, progress, n_iter, n_added):
        progress.done("round", print_line=False)
        if self.verbose:
            print(f"End of iteration {n_iter}, added {n_added} new labels.")

    def _finish(self, state, X, y):
        """Set the attributes that describe the fit; delete training data from the pool."""
        self.error_model_, cross_fitted = state.error_model, state.cross_fitted
        self.duplicates_ = None if cross_fitted is None else cross_fitted.duplicates
        if isinstance(self.error_model_, OpinionPool):
            self.error_model_.drop_training_state()
        self.n_base_fits_ = state.base.n_fits
        if cross_fitted is not None:
            self.n_base_fits_ += len(cross_fitted.models) + len(cross_fitted.failed)
        self.n_iter_, self.history_ = state.n_iter, state.history
        self.failed_folds_ = {} if cross_fitted is None else cross_fitted.failed
        self.labeled_iter_, self.pseudo_error_proba_ = state.labeled_iter, state.error_proba
        self.transduction_ = np.copy(y)
        is_pseudo = (state.labeled_iter != 0) & (state.target >= 0)
        self.transduction_[is_pseudo] = self.classes_[state.target[is_pseudo]]
        classes = adapt(self.estimator_).classes_of_output(self.classes_, X)
        self._set_base(self.estimator_, classes, X)
