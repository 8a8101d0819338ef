"""Correct the offset by boosted trees."""

from functools import partial
from itertools import pairwise
from numbers import Integral, Real

import numpy as np

from .._utils.lightgbm import LIGHTGBM_PARAMS, SplitBooster, check_lightgbm
from .._utils.threads import run_in_threads
from ._base import ResidualMetaLearner


class LightGBMMetaLearner(ResidualMetaLearner):
    """Correct the offset by small boosted trees, with early stopping by the held-out folds.

    Use it as ``meta_learner=`` of `MetaErrorClassifier` or `ErrorModel`. The offset is the
    calibrated log-odds of an error, from which the error model starts; see `ErrorModel`.

    Parameters
    ----------
    n_estimators : int or None, default=None
        Largest number of rounds; None takes 6 / `learning_rate`. The number of rounds used
        minimises the pooled out-of-fold log-loss, and may be 0.
    learning_rate : float, default=0.1
        Shrinkage of each round.
    num_leaves : int, default=8
        Leaves of a tree.
    max_depth : int, default=4
        Depth of a tree.
    min_child_samples : int or None, default=None
        Smallest number of rows in a leaf; None takes a fifteenth of the rows, between 5 and 20.
    reg_lambda : float, default=5.0
        L2 penalty of the leaf values.
    colsample_bytree : float, default=0.6
        Share of meta-features offered to a tree.
    subsample : float, default=0.8
        Share of rows drawn for a tree.
    n_jobs : int, default=None
        Number of folds fitted at once, in threads.
    random_state : int, RandomState instance or None, default=None
        Seed; None takes the seed of the error model.

    Attributes
    ----------
    n_rounds_ : int
        Chosen number of rounds.
    booster_ : lightgbm.Booster or None
        Trees fitted on all rows; None if `n_rounds_` is 0.
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

    takes_tree_columns = True

    def __init__(
        self,
        n_estimators=None,
        learning_rate=0.1,
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
        """Raise if LightGBM is missing or would raise for a parameter, before a fit of the base."""
        check_lightgbm('LightGBMMetaLearner (meta_learner="auto" or "lightgbm")')
        if self.n_estimators is not None:
            self._check_number("n_estimators", Integral, min_val=1)
        self._check_number("learning_rate", Real, min_val=0, include_boundaries="neither")
        if self.min_child_samples is not None:
            self._check_number("min_child_samples", Integral, min_val=0)
        self._check_number("num_leaves", Integral, min_val=2)
        self._check_number("max_depth", Integral)
        self._check_number("reg_lambda", Real, min_val=0)
        for share in ("colsample_bytree", "subsample"):
            self._check_number(share, Real, min_val=0, max_val=1, include_boundaries="right")

    def _fit_path(self, Z, is_error, offset, folds, weight, seed):
        import lightgbm

        leaf, n_rounds = self.min_child_samples, self.n_estimators
        n_rounds = round(6 / self.learning_rate) if n_rounds is None else n_rounds
        params = {
            "objective": "binary",
            "boost_from_average": False,
            "learning_rate": self.learning_rate,
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
        path = np.repeat(offset[None], len(steps), axis=0)

        def dataset(Z, rows, **options):
            label, weights = is_error[rows].astype(float), weight[rows]
            start = {"label": label, "weight": weights, "init_score": offset[rows]}
            return lightgbm.Dataset(Z, **start, **options, params=params)

        data = dataset(Z, slice(None)).construct()

        def fit_and_correct(fold):
            part = dataset(fold.Z_train, fold.train, reference=data)
            # Without this option, LightGBM writes the trees as text and reads them again.
            booster = lightgbm.train(params, part, n_rounds, keep_training_booster=True)
            added = [
                booster.predict(
                    fold.Z_test,
                    start_iteration=start,
                    num_iteration=int(end - start),
                    raw_score=True,
                    num_threads=1,
                )
                for start, end in pairwise(steps)
            ]
            return np.cumsum(added, axis=0)

        works = [partial(fit_and_correct, fold) for fold in folds]
        for corrections, fold in zip(run_in_threads(self.n_jobs, works), folds):
            path[1:, fold.test] += corrections

        def finish(amount):
            self.n_rounds_ = int(steps[amount])
            self.booster_ = lightgbm.train(params, data, self.n_rounds_) if amount else None
            self._split_booster = None

        return path, finish

    def _correct(self, Z):
        if self.booster_ is None:
            return np.zeros(len(Z))
        if self._split_booster is None:
            self._split_booster = SplitBooster(self.booster_)
        return self._split_booster.raw_score(Z)

    def __getstate__(self):
        """Return the state without the second copy of the trees."""
        state = dict(super().__getstate__())
        if "_split_booster" in state:
            state["_split_booster"] = None
        return state

    def _contributions(self, Z):
        if self.booster_ is None:
            return np.zeros(Z.shape), 0.0
        # Without a row, LightGBM divides by 0. The constant is the same for every row.
        some = Z if len(Z) else np.zeros((1, Z.shape[1]))
        parts = self.booster_.predict(some, pred_contrib=True, num_threads=1)
        return parts[: len(Z), :-1], float(parts[0, -1])
