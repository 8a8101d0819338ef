"""Learn from unlabeled rows by pseudo-labels that are chosen by their predicted error."""

from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.utils import assert_all_finite, column_or_1d, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.cross_fitting import cross_fit
from .._base_estimator.delegation import estimator_has, mirror_columns
from .._base_estimator.inspection import (
    can_fit_and_predict,
    check_not_pairwise,
    is_net,
    sample_weight_param,
)
from .._base_estimator.observations import Observations
from .._base_estimator.prediction import (
    call_base,
    classes_of_fitted,
    predict_labels,
    predict_labels_and_proba,
)
from .._compat import CallbackSupportMixin, num_samples, safe_indexing, with_callbacks
from .._utils.probabilities import proba_of_other_classes
from .._utils.progress import FitProgress
from .._utils.random import draw_seed
from .._utils.rows import in_chunks, indexable
from .._utils.validation import check_weights, is_missing, warn_caller
from ..error_model import ErrorModel
from ..meta_features._blocks import check_no_observers
from ..model_selection import is_unlabeled
from ..model_selection._duplicates import find_duplicates
from ..model_selection._splitting import check_split_parameter, make_splits
from ..representation import fit_representation
from ._class_prior import adjust_to_class_prior, class_prior_reliability, estimate_class_prior
from ._nets import NetEmbedding, is_certain, is_plain_net, preserved_rng_if_net
from ._opinion_pool import OpinionPool
from ._weighted_base import WeightedBase

_CRITERIA = (
    "auto",
    "consensus",
    "weight",
    "threshold",
    "k_best",
    "certain",
)
_MIN_CONFIDENCE = 0.9
_CERTAIN_ROUNDS = 2
# From this many wrong and this many right out-of-fold predictions on, ErrorModel ranks the errors
# of unlabeled rows better than a pool of opinions (measured on 16 tables).
_MIN_OUTCOMES_FOR_ERROR_MODEL = 100
# From this skill on (0 is guessing, 1 is perfect) estimated class shares are trusted in full, and
# a quarter as far where the folds do not agree on the shares.
_FULL_TRUST, _MIN_RELIANCE = 0.5, 0.25
# Where the pool contradicts the base, the base's label counts half more than the pool gives it.
_BASE_LABEL_FACTOR = 1.5


class SelfTrainingWithMetaErr(
    ClassifierMixin, MetaEstimatorMixin, CallbackSupportMixin, BaseEstimator
):
    """Self-training in which the predicted error decides what a pseudo-label is worth.

    In place of `sklearn.semi_supervised.SelfTrainingClassifier`: the base is trained on labeled
    rows and on unlabeled rows that it has labeled itself, but a pseudo-label counts by the
    predicted probability that it is wrong, not by the base's own confidence. Errors are learned
    from cross-fitted predictions on the labeled rows. Whatever labels or scores an unlabeled row
    has never been trained on that row's pseudo-label; the later rounds of "certain" are the one
    exception.

    Parameters
    ----------
    estimator : classifier
        Any scikit-learn classifier, a Pipeline over frames or text, or a skorch net over float32
        images. It is fitted from scratch each time.

    meta_learner : {"auto", "lightgbm", "mlp", "logistic", "confidence"}, meta-learner, classifier \
            or None, default="auto"
        Who learns the error. "auto" (with ``meta_features="auto"``) takes an `OpinionPool`, which
        has firm priors and also looks at the unlabeled rows, and, except for "consensus", an
        `ErrorModel` where the cross-fitted predictions hold at least 100 errors and 100 correct
        rows. Anything else is passed to `ErrorModel`. None learns nothing: 1 - the largest
        probability stands for the error, and "threshold" and "k_best" are then exactly
        scikit-learn's `SelfTrainingClassifier`, for every input that this class accepts.

    meta_features : "auto", str, callable or list of these, default="auto"
        What the meta-learner sees; see `ErrorModel`.

    representation : "auto", transformer or None, default="auto"
        How X becomes numbers for neighbours and second opinion; see `ErrorModel`. For nets and few
        labels "auto" finds neighbours in the net's own last hidden layer.

    cv : int, float in (0, 1), splitter or iterable of splits, default=5
        How the labeled rows are split for honest predictions. int: at most that many stratified
        folds, and no more than the smallest class has labels if it has two. With a single label in
        every class, or in every class but one, nothing can be cross-fitted: 1 - the largest
        probability is used, with a warning.

    criterion : {"auto", "consensus", "weight", "threshold", "k_best", "certain"}, default="auto"
        How pseudo-labels are chosen and used.

        - "consensus": once; all unlabeled rows, with the label that an `OpinionPool` finds most
          probable, and weight `pseudo_weight` * its probability. The class shares of the unlabeled
          rows are estimated, unless `class_prior` tells them; a row to which the base itself gives
          another label then also counts with that one, and weight `pseudo_weight` * 1.5 times its
          probability: what a wrong estimate can cost is less. Where the base, cross-fitted, is not
          better than guessing by a standard error, no unlabeled row is used, unless `class_prior`
          is given: the base is the one trained on the labels alone. Needs a "auto" meta-learner.
        - "weight": once; all unlabeled rows, with the base's own label and weight `pseudo_weight`
          * (1 - predicted error).
        - "threshold": in rounds; rows with 1 - predicted error above `threshold` are added, and
          keep their label.
        - "k_best": in rounds; the `k_best` rows with the least predicted error are added.
        - "certain": in two rounds on the rows whose label is certain, all labeled anew each time;
          then on all rows, labeled by the base of the second round, with weight 1 - predicted
          error. Certain is a label with a predicted error of at most 0.1. A skorch net with dropout
          is asked under random masks instead, as in UPS [3]_: the label must have a mean
          probability of at least 0.7, a standard deviation of at most 0.05, and a predicted error
          below one half. After the first round the base that labels a row may have been trained on
          its first pseudo-label.
        - "auto": "certain" for nets; for other bases "consensus", or "weight" with a `meta_learner`
          or `meta_features` of your own.

    threshold : float in [0, 1), default=0.75
        For "threshold".

    k_best : int, default=10
        Rows added in each round of "k_best".

    pseudo_weight : float, default=0.5
        Weight of a certain pseudo-label for "consensus" and "weight"; a labeled row has 1.

    max_iter : int or None, default=10
        Most rounds; None means no limit, 0 uses no unlabeled row. The last round of "certain",
        on all rows, is not counted.

    class_prior : None, "labeled" or array-like of shape (n_classes,), default=None
        Shares of the classes among the unlabeled rows. "labeled": as among the labeled rows, which
        is right if they were drawn at random. An array is in the order of `classes_`. Of each class
        no more pseudo-labels are used, in number or in sum of weights, than its share of all that
        meet the criterion. None sets no limit; "consensus" then estimates the shares, and trusts
        the estimate as far as the pool of opinions is better than guessing and the folds agree on
        it.

    unlabeled : scalar, default=-1
        Marks the unlabeled rows in y; None and NaN both mean a missing label. If y holds nothing
        but -1 and 1, -1 is a class: one class alone could not be learned.

    n_jobs : int, default=None
        Folds fitted at once, through joblib; threads of the neighbour search.

    random_state : int, RandomState instance or None, default=None
        Seed of folds, halves and error model. If it is not None it also seeds the base: those of
        its parameters ``random_state`` that are None, and the weights of nets.

    verbose : bool, default=False
        Print a line after each fold, the error model and each round. Where the installed
        scikit-learn has callbacks, ``set_callbacks(ProgressBar())`` shows folds, error model and
        rounds.

    Attributes
    ----------
    estimator_ : fitted classifier
        The base, trained on labeled and pseudo-labeled rows.

    error_model_ : OpinionPool, ErrorModel or None
        None if the error is 1 - the largest probability.

    classes_ : ndarray of shape (n_classes,)
        Class labels.

    criterion_ : str
        The criterion used, "auto" resolved.

    transduction_ : ndarray of shape (n_samples,)
        Labels of the final fit, pseudo-labels included; unused rows keep their marker.

    labeled_iter_ : ndarray of int, shape (n_samples,)
        Round in which each row was first used; 0 for labeled rows, -1 for unused ones.

    n_iter_ : int
        Number of rounds. 1 if there was nothing to label, except with ``meta_learner=None``,
        where it is 0 as in scikit-learn.

    termination_condition_ : {"max_iter", "no_change", "all_labeled"}
        Why the last round was the last: `max_iter` was reached, no further row met the criterion,
        or all rows are used.

    pseudo_error_proba_ : ndarray of shape (n_samples,)
        Predicted error of each unlabeled row's last label by a base that was not trained on it;
        NaN for labeled rows and where no round was run.

    history_ : list of dict
        For each round, but a last one of several that met no row, ``n_added``,
        ``mean_error_proba`` of the rows added, None if there are none, and ``oof_accuracy``, the
        cross-fitted accuracy on the labeled rows of the base that labeled; None where it was not
        measured, which is after the first round.

    n_features_in_ : int
        Number of columns of X, if the base tells it.

    feature_names_in_ : ndarray of str
        Names of the columns of X, if the base tells them.

    See Also
    --------
    sklearn.semi_supervised.SelfTrainingClassifier : Selects by the base's own confidence.
    metaerr_sklearn.model_selection.SemiSupervisedKFold : Cross-validate with unlabeled rows.

    Notes
    -----
    Weights reach the base through ``sample_weight`` of its ``fit`` (in a Pipeline, of its last
    step). A skorch net draws its training batches in proportion to them; an epoch has as many rows
    as the training set, so that the number of gradient steps grows with it. For any other base the
    rows are resampled systematically: a row of weight w appears floor(w) or ceil(w) times.

    References
    ----------
    .. [1] MetaErr: Towards Predicting Errors in Deep Neural Networks, arXiv 2604.23289.
    .. [2] Yarowsky (1995). Unsupervised Word Sense Disambiguation Rivaling Supervised Methods, ACL.
    .. [3] Rizve, Duarte, Rawat, Shah (2021). In Defense of Pseudo-Labeling: An Uncertainty-Aware
       Pseudo-label Selection Framework for Semi-Supervised Learning, ICLR.

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
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Fit the base on labeled rows and on its own labels for the others.

        Parameters
        ----------
        X : any, of length n_samples
            Passed to the base as it is.

        y : array-like of shape (n_samples,)
            Class labels, with `unlabeled` where there is none.

        sample_weight : array-like of shape (n_samples,), default=None
            Weights; those of unlabeled rows multiply the weights of their pseudo-labels. A base
            whose ``fit`` takes none is cross-fitted without them.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If y has no labeled row, labels of one class only, or a parameter does not fit.
        """
        X, y, y_encoded, weight, seed = self._check_fit(X, y, sample_weight)
        self.criterion_ = self.criterion
        if self.criterion == "auto":
            one_shot = "consensus" if self._is_automatic() else "weight"
            self.criterion_ = "certain" if is_net(self.estimator) else one_shot
        self._base = WeightedBase(
            self.estimator,
            X,
            self.classes_,
            weight,
            is_labeled=y_encoded >= 0,
            random_state=None if self.random_state is None else seed,
            as_sklearn=self.meta_learner is None and self.criterion_ in ("threshold", "k_best"),
        )
        self._target = y_encoded.copy()
        self._prior = self._check_prior(y_encoded, weight)
        self.labeled_iter_ = np.where(y_encoded < 0, -1, 0)
        self.pseudo_error_proba_ = np.full(len(y_encoded), np.nan)
        self.n_iter_, self.history_, self._oof_accuracy = 0, [], None
        self._fold_models = self._fold_sizes = None
        # In how many rounds is not known beforehand. Without a meta-learner nothing is printed but
        # what scikit-learn's class prints.
        verbose = self.verbose and self.meta_learner is not None
        self._progress = FitProgress(self, None, X, y, verbose=verbose)
        with preserved_rng_if_net(self.estimator, seed):
            self._fit(X, y_encoded, weight, seed)
        self._progress.close()
        self._finish(y)
        return self

    def _fit(self, X, y_encoded, weight, seed):
        labeled = np.flatnonzero(y_encoded >= 0)
        self.error_model_, supervised = None, None
        if self.meta_learner is not None:
            supervised = self._base.fit(labeled, y_encoded)
            self._fit_error_model(X, y_encoded, weight, supervised, seed)
            self._progress.done("error model")
        if len(labeled) == len(y_encoded):
            self.n_iter_ = 0 if self.meta_learner is None else 1
            self.termination_condition_ = "all_labeled"
            self.estimator_ = (
                self._base.fit(labeled, y_encoded) if supervised is None else supervised
            )
        elif self.criterion_ in ("threshold", "k_best"):
            self._fit_in_rounds(supervised)
        elif self.criterion_ == "certain" and self.max_iter == 0:
            self._fit_once(supervised)
        elif self.criterion_ == "certain":
            self._fit_certain(supervised, seed)
        else:
            self._fit_once(supervised)

    def _check_fit(self, X, y, sample_weight):
        """Say what is wrong with parameters and data before anything costly is fitted."""
        if not can_fit_and_predict(self.estimator):
            raise TypeError(
                f"estimator must be a classifier with fit and predict, got {self.estimator!r}."
            )
        if not is_classifier(self.estimator) and not is_net(self.estimator):
            raise ValueError(
                f"estimator must be a classifier, got {type(self.estimator).__name__}, which is "
                "not one."
            )
        if self.meta_learner is not None:
            check_not_pairwise(self.estimator)
        self._check_parameters()
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None."
            )
        X, y = indexable(X, y)
        if isinstance(y, (list, tuple)) and np.asarray(y).dtype.kind in "US":
            y = np.asarray(y, dtype=object)  # or the marker becomes text
        y = column_or_1d(y, warn=True)
        if self.meta_learner is None and y.dtype.kind in "US":
            raise ValueError(
                "y has dtype string. If you wish to predict on string targets, use dtype object, "
                "and use -1 as the label for unlabeled samples."
            )
        has_label = self._find_labels(y)
        n_samples = num_samples(X)
        if not has_label.any():
            raise ValueError(
                f"y has no labeled row: all {n_samples} rows equal the marker {self.unlabeled!r}. "
                "Give some labels, or pass the marker that y uses as unlabeled=."
            )
        labels = y[has_label]
        if y.dtype == object:
            if any(map(is_missing, labels)):
                raise ValueError(
                    f"y contains missing labels, but the marker of unlabeled rows is "
                    f"{self.unlabeled!r}. Pass unlabeled=None to treat missing labels as unlabeled."
                )
            is_text = [isinstance(label, str) for label in labels]
            if any(is_text) and not all(is_text):
                kinds = sorted({type(label).__name__ for label in labels})
                raise ValueError(
                    f"y mixes labels of the types {', '.join(kinds)}, which have no common order. "
                    "Give all classes as strings or all as numbers."
                )
            if not any(is_text):
                labels = np.asarray(labels.tolist())
        elif y.dtype.kind == "f":
            if np.isnan(labels).any():
                raise ValueError(
                    f"y contains NaN, but the marker of unlabeled rows is {self.unlabeled!r}. Pass "
                    "unlabeled=np.nan to treat these rows as unlabeled."
                )
            assert_all_finite(labels, input_name="y")
        if type_of_target(labels, input_name="y").startswith("multilabel"):
            raise ValueError("y has several labels per row; only one label per row is supported.")
        check_classification_targets(labels)
        self.classes_, encoded = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2 and self.meta_learner is not None:
            raise ValueError(
                f"{type(self).__name__} needs labeled samples of at least 2 classes, got one "
                f"class: {self.classes_!r}, n_samples={n_samples}."
            )
        if self.criterion == "k_best" and self.k_best > n_samples - has_label.sum():
            warn_caller(
                "k_best is larger than the amount of unlabeled samples. All unlabeled samples "
                "will be labeled in the first iteration"
            )
        y_encoded = np.full(n_samples, -1)
        y_encoded[has_label] = encoded
        weight = None
        if sample_weight is not None:
            weight = check_weights(sample_weight, y_encoded)
            if len(np.unique(y_encoded[has_label & (weight > 0)])) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs labeled samples of at least 2 classes, got one "
                    "class after leaving out rows of sample_weight 0."
                )
        return X, y, y_encoded, weight, draw_seed(self.random_state)

    def _find_labels(self, y):
        """Tell which rows have a label."""
        has_label = ~is_unlabeled(y, self.unlabeled)
        if has_label.all():
            warn_caller("y contains no unlabeled samples")
        elif (
            self.meta_learner is not None
            and y.dtype.kind in "if"
            and set(np.unique(y)) == {self.unlabeled, 1} == {-1, 1}
        ):
            warn_caller(
                "y holds only -1 and 1, the usual names of two classes: -1 is taken for a class, "
                "and all rows for labeled. If -1 marks unlabeled rows, label rows of a second "
                "class."
            )
            has_label[:] = True
        return has_label

    def _check_parameters(self):
        check_no_observers(self.meta_features)
        if self.criterion not in _CRITERIA:
            raise ValueError(
                f"criterion must be one of {', '.join(map(repr, _CRITERIA))}, got "
                f"{self.criterion!r}."
            )
        if isinstance(self.estimator, FrozenEstimator) or (
            isinstance(self.cv, str) and self.cv == "prefit"
        ):
            raise ValueError(
                "Self-training fits the estimator anew, so it cannot be frozen or prefit. Pass the "
                "unfitted classifier and the rows it was trained on as labeled rows."
            )
        check_split_parameter(self.cv)
        limits = {
            "threshold": (Real, 0, 1),
            "pseudo_weight": (Real, 0, np.inf),
            "k_best": (Integral, 1, np.inf),
            "max_iter": (Integral, 0, np.inf),
        }
        for name, (kind, low, high) in limits.items():
            value = getattr(self, name)
            if name == "max_iter" and value is None:
                continue
            valid = isinstance(value, kind) and not isinstance(value, bool)
            if not (valid and low <= value < high):
                what = "an integer" if kind is Integral else "a number"
                raise ValueError(f"{name} must be {what} in [{low}, {high}), got {value!r}.")
        if self.criterion == "consensus" and not self._is_automatic():
            raise ValueError(
                'criterion="consensus" takes labels from a pool of opinions: it needs '
                f'meta_learner="auto" and meta_features="auto", got {self.meta_learner!r} and '
                f'{self.meta_features!r}. With a meta-learner of your own use criterion="weight".'
            )
        if self.meta_learner is not None:
            self._make_error_model(None).check_parameters()

    def _is_automatic(self):
        chosen = (self.meta_learner, self.meta_features)
        return all(isinstance(value, str) and value == "auto" for value in chosen)

    def _check_prior(self, y_encoded, weight):
        if self.class_prior is None:
            return None
        n_classes = len(self.classes_)
        if isinstance(self.class_prior, str) and self.class_prior == "labeled":
            labeled = y_encoded >= 0
            weight = None if weight is None else weight[labeled]
            counts = np.bincount(y_encoded[labeled], weight, n_classes)
            return counts / counts.sum()
        try:
            prior = np.asarray(self.class_prior, dtype=float)
        except (TypeError, ValueError):
            prior = np.empty(0)
        valid = prior.shape == (n_classes,) and (prior >= 0).all() and abs(prior.sum() - 1) < 1e-3
        if not valid:
            raise ValueError(
                f'class_prior must be None, "labeled" or {n_classes} shares that sum to 1, in the '
                f"order of the classes {self.classes_}, got {self.class_prior!r}."
            )
        return prior

    def _make_error_model(self, random_state):
        meta_features = self.meta_features
        if isinstance(meta_features, str) and meta_features == "auto" and is_net(self.estimator):
            # Out of fold each net has class biases of its own, which the next net does not share.
            meta_features = ["confidence", "neighbors", "second_opinion", "input"]
        return ErrorModel(
            self.meta_learner,
            meta_features=meta_features,
            representation=self.representation,
            n_jobs=self.n_jobs,
            random_state=random_state,
        )

    def _fit_error_model(self, X, y_encoded, weight, supervised, seed):
        """Learn the error of the base from predictions on labeled rows it has not seen."""
        labeled = np.flatnonzero(y_encoded >= 0)
        counts = np.bincount(y_encoded[labeled])
        # Where the one label of a class is tested, two others must be left to train on.
        needed = 2 if isinstance(self.cv, Real) else 1
        if np.sum(counts >= 2) < needed:
            which = "Every class" if counts.max() < 2 else "Every class but one"
            warn_caller(
                f"{which} has a single labeled row, so that no prediction can be tested: the "
                "error of a pseudo-label is 1 - its probability. Give two labels per class."
            )
            return
        X_labeled = safe_indexing(X, labeled)
        cv = self.cv
        if isinstance(cv, Integral) and counts.min() >= 2:
            cv = min(cv, int(counts.min()))
        duplicate_id = find_duplicates(X_labeled, y_encoded[labeled])
        splits = make_splits(
            cv,
            X_labeled,
            y_encoded[labeled],
            duplicate_id=duplicate_id,
            seed=seed,
            warn=counts.min() < 2,
        )
        name = sample_weight_param(self.estimator)
        labeled_weight = None if weight is None else weight[labeled]
        with config_context(enable_metadata_routing=False):
            oof, models = cross_fit(
                self.estimator,
                X_labeled,
                self.classes_[y_encoded[labeled]],
                classes=self.classes_,
                splits=splits,
                fit_params={name: labeled_weight} if name and weight is not None else None,
                n_jobs=self.n_jobs,
                seed=None if self.random_state is None else seed,
                keep_estimators=True,
                on_fold=lambda: self._progress.done("fold"),
            )
        tested = oof.fold >= 0
        is_error = (y_encoded[labeled] != oof.pred_encoded)[tested]
        self._oof_accuracy = float(1 - is_error.mean())
        is_enough = min(is_error.sum(), (~is_error).sum()) >= _MIN_OUTCOMES_FOR_ERROR_MODEL
        if self.criterion_ == "consensus":
            self._fold_models = models
            n_train = [len(train) for train, _ in splits]
            self._fold_sizes = [(n, len(labeled) - n) for n in n_train]
        if self._is_automatic() and (self.criterion_ == "consensus" or not is_enough):
            representation, _ = fit_representation(self.representation, X, seed=seed)
            self.error_model_ = OpinionPool(n_jobs=self.n_jobs, random_state=seed).fit(
                X,
                y_encoded,
                oof,
                splits,
                self.classes_,
                representation,
                self._embeddings([*models, supervised]),
                labeled_weight,
            )
            return
        rows = np.flatnonzero(tested)
        self.error_model_ = self._make_error_model(seed).fit(
            safe_indexing(X_labeled, rows),
            self.classes_[y_encoded[labeled][rows]],
            oof.proba[rows],
            y_pred=self.classes_[oof.pred_encoded[rows]],
            classes=self.classes_,
            sample_weight=None if weight is None else labeled_weight[rows],
            fold=oof.fold[rows],
        )

    def _embeddings(self, models):
        """Return how nets see X, each in its own way; None for other bases."""
        is_auto = isinstance(self.representation, str) and self.representation == "auto"
        if is_auto and all(is_plain_net(model) for model in models):
            return [NetEmbedding(model) for model in models]
        return None

    def _predict(self, model, rows):
        """Return the labels of unlabeled rows, all probabilities, and those of the labels."""

        def ask(X):
            pred_encoded, proba = self._base.predict(model, X)
            if isinstance(self.error_model_, ErrorModel):
                confidence = 1 - self._error_proba(X, proba, pred_encoded)
            else:
                confidence = np.take_along_axis(proba, pred_encoded[:, None], axis=1)[:, 0]
            return pred_encoded, proba, confidence

        return in_chunks(ask, self._base.X, rows)

    def _pooled_proba(self, proba, rows):
        """Return the pooled probabilities of unlabeled rows, given the base's."""
        number = np.cumsum(self.labeled_iter_ != 0) - 1
        return self.error_model_.pool_unlabeled(proba, number[rows])

    def _pseudo_label(self, model, rows):
        """Label unlabeled rows and tell how far each label is to be trusted."""
        pred_encoded, proba, confidence = self._predict(model, rows)
        if isinstance(self.error_model_, OpinionPool):
            confidence = 1 - proba_of_other_classes(self._pooled_proba(proba, rows), pred_encoded)
        self.pseudo_error_proba_[rows] = 1 - confidence
        return pred_encoded, confidence

    def _consensus(self, model, rows):
        """Label unlabeled rows by consensus; tell how far each label is to be trusted.

        Also return where the base itself says otherwise, what, and how probable that is.
        """
        own, proba, _ = self._predict(model, rows)
        pooled = self._adjust_to_prior(self._pooled_proba(proba, rows), proba, rows)
        pred_encoded = pooled.argmax(axis=1)
        confidence = 1 - proba_of_other_classes(pooled, pred_encoded)
        self.pseudo_error_proba_[rows] = 1 - confidence
        # Shares that somebody knows are no reason for doubt.
        contested = np.flatnonzero((pred_encoded != own) & (self._prior is None))
        return (
            pred_encoded,
            confidence,
            (contested, own[contested], pooled[contested, own[contested]]),
        )

    def _adjust_to_prior(self, pooled, proba, rows):
        """Make probabilities learned from the labels right for the unlabeled rows."""
        prior = self.error_model_.class_prior_
        if self._prior is not None:
            return adjust_to_class_prior(pooled, prior, self._prior)
        # The base of each fold stands in for its pool, of whose opinions the base's counts most.
        fold_probas = (
            in_chunks(partial(self._base.predict, model), self._base.X, rows)[1]
            for model in self._fold_models
        )
        reliability = class_prior_reliability(proba, fold_probas, self._fold_sizes, prior)
        reliance = _MIN_RELIANCE + (1 - _MIN_RELIANCE) * reliability
        # Shares found by a pool that knows little are little more than its mistakes.
        trust = reliance * float(np.clip(self.error_model_.adjusted_accuracy_ / _FULL_TRUST, 0, 1))
        estimated = estimate_class_prior(pooled, prior)
        return adjust_to_class_prior(pooled, prior, prior + trust * (estimated - prior))

    def _is_guessing(self):
        """Tell whether the base may be no better than chance, and nobody knows the shares."""
        pool = self.error_model_
        if self.criterion_ != "consensus" or pool is None or self._prior is not None:
            return False
        # Of a recall that is a mean of fractions the last bit is chance.
        return (
            pool.base_adjusted_balanced_accuracy_
            <= pool.base_adjusted_balanced_accuracy_error_ + 1e-9
        )

    def _fit_once(self, supervised):
        """Label all unlabeled rows with the supervised base, and train once more."""
        unlabeled = np.flatnonzero(self._target < 0)
        if supervised is None:
            supervised = self._base.fit(np.flatnonzero(self._target >= 0), self._target)
        if self.max_iter == 0:
            self.termination_condition_ = "max_iter"
            self.estimator_ = supervised
            return
        self.n_iter_, guesses = 1, self._is_guessing()
        weight, extra = np.ones(len(self._target)), None
        if self.criterion_ == "consensus" and self.error_model_ is not None and not guesses:
            pred_encoded, confidence, (contested, own, own_confidence) = self._consensus(
                supervised, unlabeled
            )
            extra = (
                unlabeled[contested],
                own,
                self.pseudo_weight * _BASE_LABEL_FACTOR * own_confidence,
            )
        else:
            pred_encoded, confidence = self._pseudo_label(supervised, unlabeled)
        if guesses:
            chosen = np.arange(0)
        else:
            chosen = np.arange(len(unlabeled))
            weight[unlabeled] = self._pseudo_weight(pred_encoded, confidence)
        self._add(unlabeled[chosen], pred_encoded[chosen])
        rows = np.flatnonzero(self._target >= 0)
        is_complete = len(rows) == len(self._target)
        self.termination_condition_ = "all_labeled" if is_complete else "no_change"
        if len(chosen):
            self.estimator_ = self._base.fit(rows, self._target, weight, extra)
        else:
            self.estimator_ = supervised

    def _fit_in_rounds(self, supervised):
        """Add the most trusted rows of each round for good, as scikit-learn's class does."""
        while (self._target < 0).any() and (self.max_iter is None or self.n_iter_ < self.max_iter):
            self.n_iter_ += 1
            if self.n_iter_ > 1 or supervised is None:
                supervised = self._base.fit(np.flatnonzero(self._target >= 0), self._target)
            rest = np.flatnonzero(self._target < 0)
            pred_encoded, confidence = self._pseudo_label(supervised, rest)
            number = min(self.k_best, len(rest))
            if self.criterion_ == "threshold":
                chosen = np.flatnonzero(confidence > self.threshold)
                chosen = self._within_prior(chosen, pred_encoded, confidence)
            elif self._prior is not None:
                # The best of those whose class has room: one that is full must not end it all.
                everyone = np.arange(len(rest))
                chosen = self._within_prior(everyone, pred_encoded, confidence, n_chosen=number)
                chosen = chosen[np.argsort(-confidence[chosen], kind="stable")[:number]]
            elif number == len(rest):
                chosen = np.arange(len(rest))
            else:
                chosen = np.argpartition(-confidence, number)[:number]
            if len(chosen) == 0:
                self.termination_condition_ = "no_change"
                break
            self._add(rest[chosen], pred_encoded[chosen])
        if self.n_iter_ == self.max_iter:
            self.termination_condition_ = "max_iter"
        if (self._target >= 0).all():
            self.termination_condition_ = "all_labeled"
        self.estimator_ = self._base.fit(np.flatnonzero(self._target >= 0), self._target)

    def _fit_certain(self, supervised, seed):
        """Train on the labels that are certain, twice, then on all of them."""
        labeled = np.flatnonzero(self._target >= 0)
        unlabeled = np.flatnonzero(self._target < 0)
        y_encoded, target = self._target.copy(), self._target.copy()
        model = self._base.fit(labeled, y_encoded) if supervised is None else supervised
        pred_encoded, confidence = self._pseudo_label(model, unlabeled)
        for _ in range(_CERTAIN_ROUNDS)[: self.max_iter]:
            certain = None
            if is_plain_net(model):
                certain = is_certain(model, self._base.rows(unlabeled), pred_encoded, seed)
            if certain is None:
                certain = confidence >= _MIN_CONFIDENCE
            chosen = np.flatnonzero(certain & (confidence > 0.5))
            chosen = self._within_prior(chosen, pred_encoded, confidence)
            if not len(chosen):
                break
            self.n_iter_ += 1
            is_new = self.labeled_iter_[unlabeled[chosen]] < 0
            self._record(unlabeled[chosen[is_new]])
            target[unlabeled] = -1
            target[unlabeled[chosen]] = pred_encoded[chosen]
            model = self._base.fit(np.concatenate([labeled, unlabeled[chosen]]), target)
            self._update_graph(model, y_encoded)
            pred_encoded, confidence = self._pseudo_label(model, unlabeled)
        self._fit_all(
            unlabeled, pred_encoded, self._pseudo_weight(pred_encoded, confidence, scale=1)
        )
        self._update_graph(self.estimator_, y_encoded)

    def _fit_all(self, unlabeled, pred_encoded, pseudo_weight):
        """Train on all rows as the last round."""
        weight = np.ones(len(self._target))
        weight[unlabeled] = pseudo_weight
        self._target[unlabeled] = pred_encoded
        self.n_iter_ += 1
        self._record(np.flatnonzero(self.labeled_iter_ < 0))
        self.termination_condition_ = "all_labeled"
        self.estimator_ = self._base.fit(np.arange(len(self._target)), self._target, weight)

    def _update_graph(self, model, y_encoded):
        """Let the pool of opinions see rows as this net does."""
        pool = self.error_model_
        if isinstance(pool, OpinionPool) and isinstance(pool.embedding_, NetEmbedding):
            pool.update_graph(self._base.X, y_encoded, NetEmbedding(model))

    def _pseudo_weight(self, pred_encoded, confidence, scale=None):
        weight = (self.pseudo_weight if scale is None else scale) * confidence
        if self._prior is None:
            return weight
        total = np.bincount(pred_encoded, weights=weight, minlength=len(self._prior))
        allowed = self._prior * total.sum()
        return weight * np.minimum(1, allowed / np.where(total > 0, total, 1))[pred_encoded]

    def _within_prior(self, chosen, pred_encoded, confidence, n_chosen=None):
        """Keep, of each class, no more rows than its share of those chosen, now and before."""
        if self._prior is None:
            return chosen
        added = self._target[self.labeled_iter_ > 0]
        added = np.bincount(added[added >= 0], minlength=len(self._prior))
        n_chosen = len(chosen) if n_chosen is None else n_chosen
        allowed = np.ceil(self._prior * (added.sum() + n_chosen)).astype(int) - added
        allowed = np.maximum(allowed, 0)
        kept = []
        for label, number in enumerate(allowed):
            rows = chosen[pred_encoded[chosen] == label]
            kept.append(rows[np.argsort(-confidence[rows], kind="stable")[:number]])
        return np.concatenate(kept)

    def _add(self, rows, pred_encoded):
        self._target[rows] = pred_encoded
        self._record(rows)

    def _record(self, rows):
        """Note that these rows are used from this round on."""
        self.labeled_iter_[rows] = self.n_iter_
        mean_error = float(self.pseudo_error_proba_[rows].mean()) if len(rows) else None
        self.history_.append(
            {
                "n_added": len(rows),
                "mean_error_proba": mean_error,
                "oof_accuracy": self._oof_accuracy if self.n_iter_ == 1 else None,
            }
        )
        self._progress.done("round", in_words=False)
        if self.verbose:
            print(f"End of iteration {self.n_iter_}, added {len(rows)} new labels.")

    def _finish(self, y):
        """Set what is told about the fit, and let go of the data."""
        self.transduction_ = np.copy(y)
        is_pseudo = (self.labeled_iter_ != 0) & (self._target >= 0)
        self.transduction_[is_pseudo] = self.classes_[self._target[is_pseudo]]
        del self._base, self._target, self._prior, self._oof_accuracy, self._progress
        del self._fold_models, self._fold_sizes
        if isinstance(self.error_model_, OpinionPool):
            self.error_model_.drop_training_state()
        self.classes_ = classes_of_fitted(self.estimator_, self.classes_)
        mirror_columns(self)

    @available_if(estimator_has("predict"))
    def predict(self, X):
        """Predict class labels.

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
        """Predict class probabilities.

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
        """Predict logarithms of class probabilities.

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
        """Compute decision scores of the classes.

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

    def _error_proba(self, X, proba, pred_encoded):
        if isinstance(self.error_model_, OpinionPool):
            return self.error_model_._predict_error_proba(X, proba, pred_encoded)
        observations = Observations(X, proba, pred_encoded)
        return self.error_model_.predict_observations(observations).error_proba

    def predict_error_proba(self, X):
        """Estimate the probability that `predict` is wrong on each sample.

        The error model has watched the base before it was trained on pseudo-labels; the final base
        is usually better, and surer of itself.

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
        (X,) = indexable(X)
        pred_encoded, proba = predict_labels_and_proba(self.estimator_, X, np.unique(self.classes_))
        if self.error_model_ is None:
            confidence = np.take_along_axis(proba, pred_encoded[:, None], axis=1)[:, 0]
            return np.clip(1 - confidence, 0, 1)
        return self._error_proba(X, proba, pred_encoded)

    def __sklearn_is_fitted__(self):
        """Tell whether the base has been fitted here."""
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self):
        """Mirror the input tags of the base."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        if self.estimator is None:
            return tags
        base = get_tags(self.estimator)
        tags.input_tags = base.input_tags
        if base.classifier_tags is not None:
            tags.classifier_tags.multi_class = base.classifier_tags.multi_class
            tags.classifier_tags.poor_score = base.classifier_tags.poor_score
        return tags
