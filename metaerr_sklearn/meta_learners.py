"""Learners of the error that start from a calibrated offset and add a correction to it.

Each learns P(error) = sigmoid(offset + f(meta-features)), chooses how much correction by the pooled
out-of-fold log-loss, and may choose none: the worst case is the calibrated confidence itself.
"""

from functools import partial
from itertools import pairwise
from numbers import Integral, Real

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_random_state, check_scalar, gen_batches

from ._compat import warn_caller
from ._rows import MANY_ROWS
from ._threads import one_thread_of_blas, run_in_threads
from .cross_fitting import cross_fit, final_estimator, fit_base, predict_proba, weight_name
from .meta_features import LIGHTGBM_PARAMS, SplitBooster

_EPS = 1e-6


def log_loss_of_logits(is_error, logits, sample_weight=None):
    """Return the mean logistic loss of error logits along the last axis (lower is better).

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where the base is wrong.
    logits : ndarray of shape (..., n_samples)
        Log-odds of an error.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.

    Returns
    -------
    loss : ndarray of shape (...)
    """
    return np.average(log_losses_of_logits(is_error, logits), axis=-1, weights=sample_weight)


def log_losses_of_logits(is_error, logits):
    """Return the logistic loss of each row; see `log_loss_of_logits`."""
    return np.logaddexp(0, np.where(is_error, -logits, logits))


class _Standardizer:
    """Standardise columns, clip to what training saw, put 0 where a value is missing.

    A new row may coincide with a training row, which no training row does after its copies were
    set aside: its distances are then far outside of what the learner has seen.
    """

    def fit(self, Z, sample_weight=None):
        finite = np.isfinite(Z)
        weight = np.ones(len(Z)) if sample_weight is None else sample_weight
        weight = np.where(finite, weight[:, None], 0.0)
        total = np.maximum(weight.sum(axis=0), _EPS)
        Z = np.where(finite, Z, 0.0)
        self.mean = (weight * Z).sum(axis=0) / total
        self.scale = np.sqrt((weight * (Z - self.mean) ** 2).sum(axis=0) / total)
        self.scale[self.scale < 1e-9] = np.inf  # a constant column carries nothing
        Z = (Z - self.mean) / self.scale
        self.low, self.high = np.maximum(Z.min(axis=0), -5), np.minimum(Z.max(axis=0), 5)
        return self

    def transform(self, Z):
        return np.nan_to_num(np.clip((Z - self.mean) / self.scale, self.low, self.high))


class ResidualMetaLearner(BaseEstimator):
    """Base of the learners that correct an offset."""

    uses_input = False
    is_additive = True
    takes_weights = True

    def check_parameters(self):
        """Refuse parameters that nothing can be learned with, before anything is fitted.

        Raises
        ------
        TypeError, ValueError
            Says which parameter, what it is and what it must be.
        """

    def _check_number(self, name, kind, **bounds):
        check_scalar(getattr(self, name), f"{name} of {type(self).__name__}", kind, **bounds)

    def fit(self, Z, is_error, offset, *, folds, names=None, sample_weight=None, seed=0):
        """Learn the correction.

        Parameters
        ----------
        Z : ndarray of shape (n_samples, n_meta_features)
            Meta-features of rows that the base had not seen.
        is_error : ndarray of bool, shape (n_samples,)
            True where the base is wrong.
        offset : ndarray of shape (n_samples,)
            Calibrated log-odds of an error, cross-fitted.
        folds : list of (train, test)
            Folds for choosing the amount of correction.
        names : list of str, default=None
            Names of the meta-features.
        sample_weight : ndarray of shape (n_samples,), default=None
            Weights.
        seed : int, default=0
            Random state where the learner has none of its own.

        Returns
        -------
        self : object
            With `oof_logit_`, the log-odds of each row from learners of the other folds.
        """
        self.check_parameters()
        Z = np.asarray(Z, dtype=float)
        weight = np.ones(len(Z)) if sample_weight is None else np.asarray(sample_weight, float)
        self.n_features_in_ = Z.shape[1]
        self._used = np.array(
            [
                self.uses_input or not name.startswith("input_")
                for name in names or [""] * Z.shape[1]
            ],
            dtype=bool,
        )
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
        """Split the correction into one part per meta-feature; for learners that `is_additive`.

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
        if random_state is None:
            return seed
        return int(check_random_state(random_state).randint(2**31 - 1))


class ConfidenceMetaLearner(ResidualMetaLearner):
    """Correct nothing: predict errors by the calibrated offset alone.

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


class LogisticMetaLearner(ResidualMetaLearner):
    """Correct the offset by a ridge-penalised linear function of the meta-features.

    Parameters
    ----------
    alphas : sequence of float, default=(3000, 1000, 300, 100, 30, 10, 3)
        Ridge weights to choose from, besides infinity (no correction).

    Attributes
    ----------
    alpha_ : float
        Chosen ridge weight; ``inf`` if no correction was better.
    coef_ : ndarray of shape (n_meta_features,)
        Coefficients on the standardised meta-features, without those of the block "input".
    intercept_ : float
        Constant part of the correction.
    oof_logit_ : ndarray of shape (n_samples,)
        Out-of-fold log-odds of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import LogisticMetaLearner
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 2))
    >>> is_error = rng.random(400) < 1 / (1 + np.exp(-2 * Z[:, 0]))
    >>> folds = [(np.arange(0, 200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]
    >>> learner = LogisticMetaLearner().fit(Z, is_error, np.zeros(400), folds=folds)
    >>> bool(learner.coef_[0] > 1)
    True
    """

    def __init__(self, alphas=(3000, 1000, 300, 100, 30, 10, 3)):
        self.alphas = alphas

    def check_parameters(self):
        """Refuse weights of the ridge that are no positive numbers, or none."""
        alphas = [] if np.ndim(self.alphas) != 1 else list(self.alphas)
        if not alphas or not all(isinstance(a, Real) and 0 < a < np.inf for a in alphas):
            raise ValueError(
                "alphas of LogisticMetaLearner must be a sequence of at least one number, each "
                f"above 0, got {self.alphas!r}."
            )

    def _fit(self, Z, is_error, offset, folds, weight, seed):
        # On few columns more threads gain nothing; where they wait they spin, on the cores of those
        # that learn beside. And how many there are decides how sums are rounded.
        with one_thread_of_blas():
            self._fit_path(Z, is_error, offset, folds, weight)

    def _fit_path(self, Z, is_error, offset, folds, weight):
        alphas = np.sort(np.asarray(self.alphas, dtype=float))[::-1]
        pooled = np.repeat(np.asarray(offset, float)[None], len(alphas) + 1, axis=0)
        for train, test in folds:
            scaler = _Standardizer().fit(Z[train], weight[train])
            Z_train, Z_test = scaler.transform(Z[train]), scaler.transform(Z[test])
            beta = np.zeros(Z.shape[1] + 1)
            for number, alpha in enumerate(alphas, start=1):
                beta = _fit_ridge(
                    Z_train, is_error[train], offset[train], weight[train], alpha, beta
                )
                pooled[number, test] += Z_test @ beta[1:] + beta[0]
        best = _least_loss(is_error, pooled, weight)
        self.oof_logit_ = pooled[best]
        self.alpha_ = np.inf if best == 0 else float(alphas[best - 1])
        self._scaler = _Standardizer().fit(Z, weight)
        beta = np.zeros(Z.shape[1] + 1)
        if best > 0:
            beta = _fit_ridge(
                self._scaler.transform(Z), is_error, offset, weight, self.alpha_, beta
            )
        self.intercept_, self.coef_ = float(beta[0]), beta[1:]

    def _correct(self, Z):
        # Not by BLAS: what it gives for a row can depend on the rows beside.
        parts, constant = self._contributions(Z)
        return np.ascontiguousarray(parts).sum(axis=1) + constant

    def _contributions(self, Z):
        return self._scaler.transform(Z) * self.coef_, self.intercept_


def _fit_ridge(Z, is_error, offset, weight, alpha, start):
    """Minimise the weighted logistic loss plus alpha/2 |coef|^2; the intercept is free."""
    Z1 = np.column_stack([np.ones(len(Z)), Z])
    penalty = np.full(Z1.shape[1], float(alpha))
    penalty[0] = 1e-3

    def loss(beta):
        logits = offset + Z1 @ beta
        residual = weight * (expit(logits) - is_error)
        value = weight @ np.logaddexp(0, np.where(is_error, -logits, logits))
        return value + 0.5 * penalty @ beta**2, Z1.T @ residual + penalty * beta

    def hessian(beta):
        p = expit(offset + Z1 @ beta)
        scaled = Z1 * np.sqrt(weight * p * (1 - p))[:, None]
        return scaled.T @ scaled + np.diag(penalty)  # of a matrix and itself: half of the work

    # A trust region keeps Newton's steps safe where the data separate.
    return minimize(loss, start, jac=True, hess=hessian, method="trust-exact").x


class LightGBMMetaLearner(ResidualMetaLearner):
    """Correct the offset by small boosted trees, as few rounds as the held-out folds ask for.

    Parameters
    ----------
    n_estimators : int or None, default=None
        Most rounds; the number used minimises the pooled out-of-fold log-loss and may be 0. None
        takes 6 / `learning_rate`.
    learning_rate : float or None, default=None
        Shrinkage of each round; None takes 0.05, or 0.1 for more than 5,000 rows.
    num_leaves : int, default=8
        Leaves of a tree.
    max_depth : int, default=4
        Depth of a tree.
    min_child_samples : int or None, default=None
        Least rows in a leaf; None takes a fifteenth of the rows, between 5 and 20.
    reg_lambda : float, default=5.0
        L2 penalty of the leaf values.
    colsample_bytree : float, default=0.6
        Share of meta-features offered to a tree.
    subsample : float, default=0.8
        Share of rows drawn for a tree.
    n_jobs : int, default=None
        Folds fitted at once, in threads.
    random_state : int, RandomState instance or None, default=None
        Seed; None takes the one of the error model.

    Attributes
    ----------
    n_rounds_ : int
        Chosen number of rounds.
    booster_ : lightgbm.Booster or None
        Trees of all rows; None if no round was better.
    oof_logit_ : ndarray of shape (n_samples,)
        Out-of-fold log-odds of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import LightGBMMetaLearner
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 2))
    >>> is_error = Z[:, 0] > 1
    >>> folds = [(np.arange(0, 200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]
    >>> learner = LightGBMMetaLearner().fit(Z, is_error, np.full(400, -1.6), folds=folds)
    >>> low, high = learner.decision_function(np.array([[0.0, 0], [2, 0]]), np.full(2, -1.6))
    >>> bool(low < -1.6 < high)
    True
    """

    uses_input = True

    def __init__(
        self,
        n_estimators=None,
        learning_rate=None,
        num_leaves=8,
        max_depth=4,
        min_child_samples=None,
        reg_lambda=5.0,
        colsample_bytree=0.6,
        subsample=0.8,
        n_jobs=None,
        random_state=None,
    ):
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.colsample_bytree = colsample_bytree
        self.subsample = subsample
        self.n_jobs = n_jobs
        self.random_state = random_state

    _step = 5

    def check_parameters(self):
        """Refuse parameters that LightGBM would refuse after the base has been fitted."""
        if self.n_estimators is not None:
            self._check_number("n_estimators", Integral, min_val=1)
        if self.learning_rate is not None:
            self._check_number("learning_rate", Real, min_val=0, include_boundaries="neither")
        if self.min_child_samples is not None:
            self._check_number("min_child_samples", Integral, min_val=0)
        self._check_number("num_leaves", Integral, min_val=2)
        self._check_number("max_depth", Integral)
        self._check_number("reg_lambda", Real, min_val=0)
        for share in ("colsample_bytree", "subsample"):
            self._check_number(share, Real, min_val=0, max_val=1, include_boundaries="right")

    def _fit(self, Z, is_error, offset, folds, weight, seed):
        import lightgbm

        leaf, rate, n_rounds = self.min_child_samples, self.learning_rate, self.n_estimators
        if rate is None:
            rate = 0.1 if len(Z) > MANY_ROWS else 0.05
        n_rounds = round(6 / rate) if n_rounds is None else n_rounds
        params = {
            "objective": "binary",
            "boost_from_average": False,
            "learning_rate": rate,
            "num_leaves": self.num_leaves,
            "max_depth": self.max_depth,
            "min_data_in_leaf": min(20, max(5, len(Z) // 15)) if leaf is None else leaf,
            "min_sum_hessian_in_leaf": 1.0,
            "lambda_l2": self.reg_lambda,
            "feature_fraction": self.colsample_bytree,
            "bagging_fraction": self.subsample,
            "bagging_freq": 1,
            "seed": self._seed(seed),
            **LIGHTGBM_PARAMS,
        }
        steps = np.append(np.arange(0, n_rounds, self._step), n_rounds)
        pooled = np.repeat(np.asarray(offset, float)[None], len(steps), axis=0)
        data = lightgbm.Dataset(
            Z, label=is_error.astype(float), weight=weight, init_score=offset, params=params
        )
        data.construct()

        def fit_and_correct(train, test):
            booster = lightgbm.train(params, data.subset(train), n_rounds)
            added = [
                booster.predict(
                    Z[test],
                    start_iteration=start,
                    num_iteration=int(end - start),
                    raw_score=True,
                    num_threads=1,
                )
                for start, end in pairwise(steps)
            ]
            return np.cumsum(added, axis=0)

        works = [partial(fit_and_correct, *fold) for fold in folds]
        for corrections, (_, test) in zip(run_in_threads(self.n_jobs, works), folds):
            pooled[1:, test] += corrections
        best = _least_loss(is_error, pooled, weight)
        self.n_rounds_ = int(steps[best])
        self.oof_logit_ = pooled[best]
        self.booster_ = lightgbm.train(params, data, self.n_rounds_) if self.n_rounds_ else None
        self._split_booster = None

    def _correct(self, Z):
        if self.booster_ is None:
            return np.zeros(len(Z))
        if self._split_booster is None:
            self._split_booster = SplitBooster(self.booster_)
        return self._split_booster.raw_score(Z)

    def __getstate__(self):
        """Leave out the second copy of the trees."""
        state = dict(super().__getstate__())
        if "_split_booster" in state:
            state["_split_booster"] = None
        return state

    def _contributions(self, Z):
        if self.booster_ is None:
            return np.zeros(Z.shape), 0.0
        # LightGBM divides by the number of rows; the constant is the same for any row.
        some = Z if len(Z) else np.zeros((1, Z.shape[1]))
        parts = self.booster_.predict(some, pred_contrib=True, num_threads=1)
        return parts[: len(Z), :-1], float(parts[0, -1])


class MLPMetaLearner(ResidualMetaLearner):
    """Correct the offset by a small network, as few epochs as the held-out folds ask for.

    Needs torch to fit, not to predict.

    Parameters
    ----------
    hidden_size : int, default=32
        Units of the hidden layer.
    dropout : float, default=0.2
        Dropout rate of the hidden layer.
    learning_rate : float, default=8e-3
        Step size of AdamW.
    weight_decay : float, default=1e-3
        Weight decay of AdamW.
    max_epochs : int, default=15
        Most epochs; the number used minimises the pooled out-of-fold log-loss and may be 0.
    random_state : int, RandomState instance or None, default=None
        Seed; None takes the one of the error model.

    Attributes
    ----------
    n_epochs_ : int
        Chosen number of epochs.
    oof_logit_ : ndarray of shape (n_samples,)
        Out-of-fold log-odds of the training rows.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn import MLPMetaLearner
    >>> rng = np.random.default_rng(0)
    >>> Z = rng.normal(size=(400, 2))
    >>> is_error = np.abs(Z[:, 0]) > 1
    >>> folds = [(np.arange(0, 200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]
    >>> learner = MLPMetaLearner().fit(Z, is_error, np.full(400, -0.8), folds=folds)
    >>> low, high = learner.decision_function(np.array([[0.0, 0], [2, 0]]), np.full(2, -0.8))
    >>> bool(low < -0.8 < high)
    True
    """

    is_additive = False

    def __init__(
        self,
        hidden_size=32,
        dropout=0.2,
        learning_rate=8e-3,
        weight_decay=1e-3,
        max_epochs=15,
        random_state=None,
    ):
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.random_state = random_state

    def check_parameters(self):
        """Refuse sizes and rates that no network can have."""
        self._check_number("hidden_size", Integral, min_val=1)
        self._check_number("dropout", Real, min_val=0, max_val=1, include_boundaries="left")
        self._check_number("learning_rate", Real, min_val=0, include_boundaries="neither")
        self._check_number("weight_decay", Real, min_val=0)
        self._check_number("max_epochs", Integral, min_val=1)

    def _fit(self, Z, is_error, offset, folds, weight, seed):
        from .neural import train_residual_mlps

        self._scaler = _Standardizer().fit(Z, weight)
        in_training = np.zeros((len(folds), len(Z)), dtype=bool)
        for number, (train, _) in enumerate(folds):
            in_training[number, train] = True
        standardised = self._scaler.transform(Z)
        weights = train_residual_mlps(
            standardised,
            is_error,
            np.asarray(offset, float),
            weight,
            list(in_training),
            hidden_size=self.hidden_size,
            dropout=self.dropout,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            max_epochs=self.max_epochs,
            seed=self._seed(seed),
        )
        pooled = np.repeat(np.asarray(offset, float)[None], len(weights), axis=0)
        for epoch, epoch_weights in enumerate(weights):
            corrections = mlp_correction(epoch_weights, standardised)
            for number, (_, test) in enumerate(folds):
                pooled[epoch, test] += corrections[number, test]
        best = _least_loss(is_error, pooled, weight)
        self.n_epochs_ = best
        self.oof_logit_ = pooled[best]
        self._weights = weights[best]

    def _correct(self, Z):
        corrections = np.zeros(len(Z))
        for batch in gen_batches(len(Z), 10_000):
            standardised = self._scaler.transform(Z[batch])
            corrections[batch] = mlp_correction(self._weights, standardised).mean(axis=0)
        return corrections


def mlp_correction(weights, Z):
    """Evaluate trained residual MLPs without torch.

    Parameters
    ----------
    weights : tuple of ndarray
        Hidden weights (n_nets, n_features, hidden_size) and biases (n_nets, hidden_size), output
        weights (n_nets, hidden_size) and biases (n_nets,).

    Z : ndarray of shape (n_samples, n_features)
        Standardised meta-features.

    Returns
    -------
    correction : ndarray of shape (n_nets, n_samples)
        What each net adds to the offset, in logits.
    """
    return np.stack([np.maximum(Z @ W1 + b1, 0) @ w2 + b2 for W1, b1, w2, b2 in zip(*weights)])


def _least_loss(is_error, pooled, weight):
    """Return which correction has the least loss; no number is no loss, and the first is none."""
    with np.errstate(invalid="ignore"):
        return int(np.nanargmin(log_loss_of_logits(is_error, pooled, weight)))


class AverageMetaLearner(ResidualMetaLearner):
    """Average the log-odds of several learners.

    Parameters
    ----------
    learners : list of residual meta-learners
        Each is cloned and fitted on the same rows.
    n_jobs : int, default=None
        Learners fitted at once, in threads; their own threads come on top.

    Attributes
    ----------
    learners_ : list of fitted meta-learners
    oof_logit_ : ndarray of shape (n_samples,)
        Mean of their out-of-fold log-odds.

    Examples
    --------
    >>> from metaerr_sklearn import AverageMetaLearner, LightGBMMetaLearner, LogisticMetaLearner
    >>> AverageMetaLearner([LightGBMMetaLearner(), LogisticMetaLearner()]).uses_input
    True
    """

    def __init__(self, learners, n_jobs=None):
        self.learners = learners
        self.n_jobs = n_jobs

    def check_parameters(self):
        """Refuse what is no list of meta-learners, and what these refuse."""
        learners = self.learners if isinstance(self.learners, (list, tuple)) else []
        if not learners or not all(isinstance(v, ResidualMetaLearner) for v in learners):
            raise ValueError(
                "learners of AverageMetaLearner must be a list of at least one meta-learner of "
                f"this package, got {self.learners!r}."
            )
        for learner in learners:
            learner.check_parameters()

    @property
    def uses_input(self):
        """Whether one of the learners reads the input block."""
        return any(learner.uses_input for learner in self.learners)

    @property
    def is_additive(self):
        """Whether the correction of every learner splits into parts."""
        return all(learner.is_additive for learner in self.learners)

    def fit(self, Z, is_error, offset, *, folds, names=None, sample_weight=None, seed=0):
        """Fit a clone of each learner; parameters as in the learners themselves.

        Returns
        -------
        self : object
        """
        self.check_parameters()
        self.n_features_in_ = Z.shape[1]
        learn = {"folds": folds, "names": names, "sample_weight": sample_weight, "seed": seed}
        works = [
            partial(clone(learner).fit, Z, is_error, offset, **learn) for learner in self.learners
        ]
        self.learners_ = run_in_threads(self.n_jobs, works)
        self.oof_logit_ = np.mean([learner.oof_logit_ for learner in self.learners_], axis=0)
        return self

    def decision_function(self, Z, offset):
        """Return the mean log-odds of an error; parameters as in the learners themselves.

        Returns
        -------
        logit : ndarray of shape (n_samples,)
        """
        return np.mean(
            [learner.decision_function(Z, offset) for learner in self.learners_],
            axis=0,
        )

    def contributions(self, Z):
        """Average the contributions; parameters as in the learners themselves.

        Returns
        -------
        parts : ndarray of shape (n_samples, n_meta_features)
        constant : float
        """
        parts, constants = zip(*(learner.contributions(Z) for learner in self.learners_))
        return np.mean(parts, axis=0), float(np.mean(constants))


class ClassifierMetaLearner(ResidualMetaLearner):
    """Learn the error with any classifier, which sees the offset as a further column.

    Parameters
    ----------
    estimator : classifier
        Cloned. Fitted on the meta-features and the offset, target 1 where the base is wrong.
    raw_input : bool, default=False
        Whether the classifier sees the input X itself, and nothing else.
    """

    def __init__(self, estimator, raw_input=False):
        self.estimator = estimator
        self.raw_input = raw_input

    is_additive = False

    @property
    def takes_weights(self):
        """Tell whether the classifier can count some rows more than others."""
        return weight_name(self.estimator) is not None

    def fit(self, Z, is_error, offset, *, folds, names=None, sample_weight=None, seed=0):
        """Fit the classifier on all rows, and on each training fold for `oof_logit_`.

        Returns
        -------
        self : object
        """
        classes = np.array([0, 1])
        target = np.asarray(is_error).astype(np.int64)
        features = self._features(Z, offset)
        name = None if sample_weight is None else weight_name(self.estimator)
        if sample_weight is not None and name is None:
            warn_caller(
                f"The fit of {type(final_estimator(self.estimator)).__name__}, the meta-learner, "
                "takes no sample_weight: to it all rows count the same."
            )
        options = {"classes": classes, "fit_params": {name: sample_weight} if name else {}}
        # Weights go to the step that takes them; what the user lets be routed does not matter.
        with config_context(enable_metadata_routing=False):
            predictions, _ = cross_fit(
                self.estimator, features, target, splits=folds, seed=seed, **options
            )
            self.estimator_ = fit_base(self.estimator, features, target, seed=seed, **options)
        proba = np.where(predictions.fold < 0, np.mean(target), predictions.proba[:, 1])
        self.oof_logit_ = logit(np.clip(proba, _EPS, 1 - _EPS))
        return self

    def decision_function(self, Z, offset):
        """Return the log-odds of an error; parameters as in the other learners.

        Returns
        -------
        logit : ndarray of shape (n_samples,)
        """
        proba = predict_proba(self.estimator_, self._features(Z, offset), np.array([0, 1]))
        return logit(np.clip(proba[:, 1].astype(float), _EPS, 1 - _EPS))

    def _features(self, Z, offset):
        return Z if self.raw_input else np.column_stack([Z, offset]).astype(np.float32)
