"""Describe each prediction by named blocks of meta-features, honest on the training rows."""

import warnings
from functools import partial
from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from scipy.spatial import KDTree
from scipy.special import entr, expit, logit, softmax
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import NearestNeighbors

from ._rows import MANY_ROWS
from ._threads import run_in_threads
from .cross_fitting import ask, make_splits

_NEIGHBOR_NAMES = (
    "log_trust_score",
    "agreement_5",
    "agreement_25",
    "agreement_weighted",
    "local_error_25",
    "local_error_weighted",
    "log_distance",
)
_LOCAL_ERROR = slice(4, 6)
# Of whatever LightGBM learns here: bins from at most so many rows, one thread, equal results.
LIGHTGBM_PARAMS = {
    "max_bin": 63,
    "bin_construct_sample_cnt": MANY_ROWS,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
BLOCKS = ("confidence", "predicted_class", "neighbors", "second_opinion", "input")


class Rows(NamedTuple):
    """What a block may look at, one entry per row.

    On new rows only the first four are known, on rows that clones of the base have trained on also
    `base_fold`. `folds` holds (train, test) positions where rows
    belong together, so that leaving out one row does not hide its answer; `reference` the positions
    of rows that were drawn without regard to their errors: all but some errors, or None for all;
    `asked` what observers heard from a base that has not seen the rows, or None for new rows;
    `base_fold` the number of the clone of the base that predicted the row, or None where one base
    predicted all, and has seen none.
    """

    X: object
    representation: np.ndarray
    proba: np.ndarray
    predicted: np.ndarray
    y: np.ndarray = None
    is_error: np.ndarray = None
    sample_weight: np.ndarray = None
    folds: list = None
    reference: np.ndarray = None
    asked: list = None
    base_fold: np.ndarray = None

    def reference_rows(self):
        """Return the positions of the rows that neighbours and second opinion are made of."""
        return np.arange(len(self.y)) if self.reference is None else self.reference


def compressed_logit(proba_not, proba):
    """Return log(proba_not / proba), compressed beyond 1e-4 so that extremes keep only order.

    Parameters
    ----------
    proba_not, proba : ndarrays of shape (n_samples,)
        Probability of error and of being right, each computed without cancellation.

    Returns
    -------
    logit : ndarray of shape (n_samples,)
        Higher = more likely wrong.
    """
    tiny = 1e-30
    value = np.log(np.maximum(proba_not, tiny)) - np.log(np.maximum(proba, tiny))
    limit = -logit(1e-4)
    clipped = np.clip(value, -limit, limit)
    return clipped + 0.01 * (value - clipped)


def split_predicted(proba, predicted):
    """Return the probability of the predicted class, of all others together, and the others.

    The others are summed rather than subtracted from 1: where the predicted class is at 1 in
    floating point, the sum still tells the rows apart.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities.
    predicted : ndarray of int, shape (n_samples,)
        Position of the predicted class; -1 for a class that has no column.

    Returns
    -------
    own, rest : ndarrays of shape (n_samples,)
    others : ndarray of shape (n_samples, n_classes)
        Probabilities with the predicted class at 0.
    """
    rows = np.flatnonzero(predicted >= 0)
    own = np.zeros(len(proba))
    own[rows] = proba[rows, predicted[rows]]
    others = np.array(proba, dtype=np.float64)
    others[rows, predicted[rows]] = 0
    return own, others.sum(axis=1), others


class ConfidenceBlock:
    """Describe a prediction by the shape of its class probabilities."""

    def fit_transform(self, rows, seed):
        """Learn the number of classes and describe the training rows."""
        self.n_classes_ = rows.proba.shape[1]
        self.names_ = ["logit_p1", "p1", "margin", "entropy", "logit_p2"]
        if self.n_classes_ > 2:
            self.names_ += ["logit_p3", "log_p1_p2"]
        return self.transform(rows)

    def transform(self, rows):
        """Describe new rows."""
        tiny = 1e-12
        own, rest, others = split_predicted(rows.proba, rows.predicted)
        n_top = min(2, self.n_classes_)
        top = -np.sort(-np.partition(others, -n_top, axis=1)[:, -n_top:], axis=1)
        second = top[:, 0]
        p = np.maximum(rows.proba, tiny)
        columns = [
            -compressed_logit(rest, own),
            own,
            own - second,
            -(p * np.log(p)).sum(axis=1),
            -compressed_logit(np.maximum(1 - second, 0), second),
        ]
        if self.n_classes_ > 2:
            third = top[:, 1]
            columns += [
                -compressed_logit(np.maximum(1 - third, 0), third),
                -compressed_logit(second, own),
            ]
        return np.column_stack(columns)


class PredictedClassBlock:
    """Tell which class was predicted, for up to 30 classes."""

    def fit_transform(self, rows, seed):
        """Choose the classes that get a column and describe the training rows."""
        n_classes = rows.proba.shape[1]
        self.classes_ = np.arange(n_classes) if n_classes <= 30 else np.arange(0)
        self.names_ = [f"predicted_{c}" for c in self.classes_]
        return self.transform(rows)

    def transform(self, rows):
        """Describe new rows."""
        return (rows.predicted[:, None] == self.classes_).astype(float)


class NeighborIndex:
    """Find near rows: in a tree, or among all rows where a tree would have to visit most of them.

    The tree cuts along principal axes, which are as near to each other as the columns are and of
    which few tell most. How many do is told by the entropy of their shares of the variance, the
    effective rank [1]_. The search in it stops where nothing can be nearer than a fifth of the
    distance found so far (a half up to rank 12, where a closer look costs little and tells more; an
    eleventh among more than 5,000 rows): the neighbours are a few percent farther away than the
    nearest, at a fraction of the time. What is found for a row does not depend on the rows that are
    asked with it.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Rows to find.

    References
    ----------
    .. [1] Roy, Vetterli (2007). The Effective Rank: A Measure of Effective Dimensionality, EUSIPCO.
    """

    # A fifth of the distance is 1 / (1 + slack).
    slack, slack_at_low_rank, slack_among_many = 4, 1, 10
    low_rank = 12
    # Beyond, a tree takes longer than to look at all rows: measured from 500 to 20,000 rows.
    max_rank, max_rank_among_many = 30, 75
    many_rows = MANY_ROWS
    leaf_size = 32

    def __init__(self, matrix):
        self._matrix, self._tree, self._all = matrix, None, None
        centred = matrix - matrix.mean(axis=0, dtype=np.float64)
        variance, axes = np.linalg.eigh(centred.T @ centred)
        rank, max_rank = _effective_rank(variance), self.max_rank
        self._slack = self.slack_at_low_rank if rank <= self.low_rank else self.slack
        if len(matrix) > self.many_rows:
            self._slack, max_rank = self.slack_among_many, self.max_rank_among_many
        if rank > max_rank:
            self._all = NearestNeighbors(algorithm="brute").fit(matrix)
        else:
            self._axes = np.ascontiguousarray(axes.T, dtype=matrix.dtype)

    def query(self, matrix, n_neighbors, n_jobs=None):
        """Return distances and positions of near rows, both ordered by distance."""
        if self._all is not None:
            return self._all.kneighbors(matrix, n_neighbors)
        if self._tree is None:
            self._tree = KDTree(self._rotated(self._matrix), leafsize=self.leaf_size)
        numbers, workers = np.arange(1, n_neighbors + 1), effective_n_jobs(n_jobs)
        return self._tree.query(self._rotated(matrix), numbers, eps=self._slack, workers=workers)

    def _rotated(self, matrix):
        # Not by BLAS: its threads would stand in the way of those that share the chunks of rows,
        # and what it gives for a row can depend on the rows beside.
        return np.einsum("ij,kj->ik", matrix, self._axes)

    def __getstate__(self):
        """Leave out the tree: it is built again in milliseconds."""
        return {**self.__dict__, "_tree": None}


def _effective_rank(variance):
    """Return how many independent directions of equal variance are as many as these."""
    share = np.maximum(variance, 0)
    share = share / max(share.sum(), np.finfo(float).tiny)
    return np.exp(entr(share).sum())


class NeighborsBlock:
    """Describe a prediction by the labels and the errors of the nearest training rows.

    What describes a training row must not know its label, not even in a roundabout way:

    - Its neighbours come from other folds. Left out of the mean over its neighbourhood, it would be
      what the mean over all has more: a learner that knows the place knows the difference.
    - Their errors count only where the same clone of the base made them (`Rows.base_fold`), which
      has seen neither. Any other clone has trained on the row, and shows its label where it errs.

    The distance to the neighbours tells nothing of labels; there a row is only not its own
    neighbour.
    """

    n_neighbors = 25
    n_close = 5
    prior_strength = 5

    def __init__(self, n_jobs=None):
        self.n_jobs = n_jobs

    def fit_transform(self, rows, seed):
        """Index the training rows and describe each by others."""
        self.names_ = list(_NEIGHBOR_NAMES)
        chosen = rows.reference_rows()
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        self._error_rate = float(np.average(rows.is_error[chosen], weights=weight))
        features = np.zeros((len(rows.y), len(self.names_)))
        features[:, _LOCAL_ERROR] = self._error_rate
        nearest = np.full(len(rows.y), np.inf)
        for train, test in rows.folds or self._folds(len(rows.y), seed):
            known, near = np.intersect1d(chosen, train), _take(rows, test)
            if not len(known):
                continue
            self._set_index(rows, known)
            features[test], nearest[test] = self._describe(near, n_jobs=self.n_jobs)
        self._set_index(rows, chosen)
        if rows.folds is None and len(chosen) > 1:
            position = np.full(len(rows.y), -1)
            position[chosen] = np.arange(len(chosen))
            distance, _ = self._search(rows.representation, position, self.n_jobs)
            features[:, -1], nearest = _log_distance(distance), distance[:, 0]
        # What is projected is rounded differently in each batch of rows.
        known = nearest[np.isfinite(nearest)]
        if len(known):
            self._coincides = max(self._tolerance, 1e-3 * float(np.median(known)))
        # A deployed base has trained on the row that a new row coincides with; the out-of-fold
        # error of that row is no news about it, and training rows have not seen their like. Only
        # where rows coincide by chance did training rows see it too.
        self._ignore_coinciding = bool(np.mean(nearest <= self._coincides) < 0.01)
        return features

    def transform(self, rows):
        """Describe new rows by the training rows."""
        return self._describe(rows, n_jobs=1)[0]

    def forget_clones(self):
        """Let go of what only rows need that a clone of the base has trained on."""
        self._clones = {}

    @staticmethod
    def _folds(n_samples, seed):
        if n_samples < 2:
            return []
        return make_splits(3, None, np.zeros(n_samples), seed=seed, warn=False)

    def _set_index(self, rows, chosen):
        matrix = rows.representation[chosen]
        self._index = NeighborIndex(matrix)
        self._tolerance = 1e-6 * float(np.sqrt(np.mean(matrix.astype(float) ** 2) + 1e-30))
        self._coincides, self._ignore_coinciding = self._tolerance, False
        self._y = rows.y[chosen]
        self._is_error = rows.is_error[chosen].astype(np.float32)
        self._clones = {}
        if rows.base_fold is None:
            return
        number = rows.base_fold[chosen]
        for clone_number in np.unique(number):
            self._clones[clone_number] = part = NeighborsBlock(self.n_jobs)
            part._error_rate = self._error_rate
            part._set_index(rows._replace(base_fold=None), chosen[number == clone_number])

    def _search(self, matrix, own_position=None, n_jobs=None):
        """Return distances and positions of neighbours, other than rows that are left out."""
        n_dropped = 1 if own_position is not None else 3 * self._ignore_coinciding
        n_asked = min(self.n_neighbors + n_dropped, len(self._y))
        n_kept = n_asked - n_dropped
        if n_kept < 1 or not len(matrix):
            return np.zeros((len(matrix), 1)), np.zeros((len(matrix), 0), dtype=np.intp)
        distance, index = self._index.query(matrix, n_asked, n_jobs)
        if n_dropped:
            if own_position is None:
                drop = distance <= self._coincides
            else:
                drop = index == own_position[:, None]
            if drop.any():
                keep = np.argsort(drop, axis=1, kind="stable")
                distance = np.take_along_axis(distance, keep, axis=1)
                index = np.take_along_axis(index, keep, axis=1)
            distance, index = distance[:, :n_kept], index[:, :n_kept]
        return np.maximum(distance, self._tolerance), index

    def _describe(self, rows, n_jobs=None):
        """Return the features and the distance to the nearest neighbour."""
        near, index = self._search(rows.representation, n_jobs=n_jobs)
        if not index.size:
            return np.zeros((len(rows.predicted), len(_NEIGHBOR_NAMES))), near[:, 0]
        agrees = self._y[index] == rows.predicted[:, None]
        is_error = self._is_error[index]
        # Bounded: a neighbour at distance 0 counts more than the others, not alone.
        weight = 1 / (near + 0.1 * near.mean(axis=1, keepdims=True))
        # A class that is not among the neighbours is at least as far as the last of them.
        last = near[:, -1]
        nearest_same = np.where(agrees, near, np.inf).min(axis=1)
        nearest_other = np.where(agrees, np.inf, near).min(axis=1)
        trust = np.log(np.where(np.isinf(nearest_other), last, nearest_other))
        trust -= np.log(np.where(np.isinf(nearest_same), last, nearest_same))
        prior = self.prior_strength
        mean_weight = weight.mean(axis=1)
        features = np.column_stack(
            [
                np.clip(trust, -6, 6),
                agrees[:, : self.n_close].mean(axis=1),
                agrees.mean(axis=1),
                (agrees * weight).sum(axis=1) / weight.sum(axis=1),
                (is_error.sum(axis=1) + prior * self._error_rate) / (is_error.shape[1] + prior),
                ((is_error * weight).sum(axis=1) + prior * self._error_rate * mean_weight)
                / (weight.sum(axis=1) + prior * mean_weight),
                _log_distance(near),
            ]
        )
        if rows.base_fold is not None:
            features[:, _LOCAL_ERROR] = self._error_rate
            for number, part in self._clones.items():
                asking = np.flatnonzero(rows.base_fold == number)
                described, _ = part._describe(_take(rows, asking)._replace(base_fold=None), n_jobs)
                features[asking, _LOCAL_ERROR] = described[:, _LOCAL_ERROR]
        return features, near[:, 0]


def _log_distance(near):
    return np.log(near[:, :10].mean(axis=1))


class SecondOpinionBlock:
    """Describe a prediction by what other models of the labels think of it.

    Up to 5,000 rows they are a forest of extremely randomised trees and small boosted trees, whose
    probabilities are averaged, or the boosted trees alone, where their log-loss on rows that they
    have not seen is lower. Beyond, they are larger boosted trees. With fewer than 200 rows, or more
    than 10 classes, of which each needs its own boosted trees, the forest is alone; also on up to
    5,000 rows of principal components of images, where boosted trees cost most and add nothing, and
    where half as many trees of the forest know as much.

    What the forest thinks of training rows comes from the trees that have not drawn them
    (out-of-bag), what the boosted trees think from those of other folds. Where rows belong together
    (`folds`) both come from other folds: a tree that has not drawn a row may have drawn its copy.
    """

    n_estimators = 200
    many_rows = MANY_ROWS
    few_rows = 200
    many_classes = 10

    def __init__(self, n_jobs=None, of_images=False):
        self.n_jobs = n_jobs
        self.of_images = of_images

    def fit_transform(self, rows, seed):
        """Fit the models on the labels and describe each training row by those without it."""
        self.names_ = [
            "second_logit",
            "second_proba",
            "second_logit_best_other",
            "second_logit_difference",
            "second_disagrees",
        ]
        self.n_classes_ = rows.proba.shape[1]
        y = rows.y[rows.reference_rows()]
        boosts = len(y) >= self.few_rows and len(np.unique(y)) <= self.many_classes
        boosts = boosts and not (self.of_images and len(y) <= self.many_rows)
        fits = []
        if not boosts or len(y) <= self.many_rows:
            fits.append(self._fit_forest)
        if boosts:
            fits.append(self._fit_boosting)
        models, opinions = zip(*(fit(rows, seed) for fit in fits))
        opinion = np.mean(opinions, axis=0)
        if _log_loss(rows, opinions[-1]) < _log_loss(rows, opinion):
            models, opinion = models[-1:], opinions[-1]
        self._models = models
        return self._describe(rows, opinion)

    def transform(self, rows):
        """Describe new rows by the models of all training rows."""
        return self._describe(rows, np.mean([self._predict(m, rows) for m in self._models], axis=0))

    def _fit_boosting(self, rows, seed):
        """Return boosted trees, and cross-fitted probabilities of the training rows."""

        def fit(part):
            weight = None if rows.sample_weight is None else rows.sample_weight[part]
            return BoostedTrees(rows.representation[part], rows.y[part], weight, many, seed=seed)

        def fit_and_predict(train, test):
            return self._predict(fit(np.intersect1d(chosen, train)), _take(rows, test))

        chosen = rows.reference_rows()
        many = len(chosen) > self.many_rows
        # Of many rows two thirds tell nearly as much as all.
        folds = rows.folds or make_splits(3 if many else 5, None, rows.y, seed=seed, warn=False)
        of_folds = (partial(fit_and_predict, *fold) for fold in folds)
        trees, *parts = run_in_threads(self.n_jobs, [partial(fit, chosen), *of_folds])
        proba = np.empty((len(rows.y), self.n_classes_))
        for part, (_, test) in zip(parts, folds):
            proba[test] = part
        return trees, proba

    def _fit_forest(self, rows, seed):
        """Return a forest, and honest probabilities of the training rows."""
        chosen = rows.reference_rows()
        out_of_bag = rows.folds is None
        forest = self._grow_forest(rows, chosen, seed, oob_score=out_of_bag)
        proba = np.empty((len(rows.y), self.n_classes_))
        if out_of_bag:
            others = np.setdiff1d(np.arange(len(rows.y)), chosen)
            votes = forest.oob_decision_function_
            shares = [np.mean(rows.y[chosen] == c) for c in forest.classes_]
            votes = np.where(np.isfinite(votes), votes, shares)
            proba[chosen] = self._align(votes, forest.classes_)
            proba[others] = self._predict(forest, _take(rows, others))
            # The votes were only needed here, and take as much memory as the training set.
            del forest.oob_decision_function_
        else:
            for train, test in rows.folds:
                part = self._grow_forest(rows, np.intersect1d(chosen, train), seed, oob_score=False)
                proba[test] = self._predict(part, _take(rows, test))
        return forest, proba

    def _grow_forest(self, rows, chosen, seed, oob_score):
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        takes_half = self.of_images or len(chosen) > self.many_rows
        forest = ExtraTreesClassifier(
            self.n_estimators // 2 if takes_half else self.n_estimators,
            min_samples_leaf=2,
            bootstrap=True,
            oob_score=oob_score,
            n_jobs=self.n_jobs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # A row of large weight may be drawn for every tree; it then gets the class shares.
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores", UserWarning)
            forest.fit(rows.representation[chosen], rows.y[chosen], sample_weight=weight)
        return forest

    def _predict(self, model, rows):
        Z = np.ascontiguousarray(rows.representation, dtype=np.float32)
        if not len(Z):
            return np.empty((0, self.n_classes_))
        if isinstance(model, BoostedTrees):
            return self._align(model.predict_proba(Z), model.classes_)
        # Not the forest's own method, which shares out the trees to threads again, and changes the
        # warning filters in each.
        votes = sum(tree.predict_proba(Z, check_input=False) for tree in model.estimators_)
        return self._align(votes / len(model.estimators_), model.classes_)

    def _align(self, proba, classes):
        known = classes >= 0
        aligned = np.zeros((len(proba), self.n_classes_))
        aligned[:, classes[known]] = proba[:, known]
        return aligned

    def _describe(self, rows, proba):
        own, _, others = split_predicted(proba, rows.predicted)
        best_other = others.max(axis=1)
        logit_own = -compressed_logit(1 - own, own)
        logit_other = -compressed_logit(1 - best_other, best_other)
        return np.column_stack(
            [logit_own, own, logit_other, logit_own - logit_other, best_other > own]
        )


def _log_loss(rows, proba):
    """Return the mean log-loss; labels without a column count as unexpected."""
    known = rows.y >= 0
    own = np.where(known, proba[np.arange(len(proba)), rows.y], 0)
    return -np.average(np.log(np.maximum(own, 1e-3)), weights=rows.sample_weight)


class SplitBooster:
    """A LightGBM booster that rows walk through a few trees at a time.

    LightGBM leads each row through all trees, and fetches every tree anew for every row. In parts
    that stay in the processor's cache the same takes two thirds of the time. They are boosters of
    their own: ranges of rounds, asked from several threads of one booster, would get mixed up.

    Parameters
    ----------
    booster : lightgbm.Booster
        Trees.
    """

    leaves_at_once = 320

    def __init__(self, booster):
        self._booster, self._parts = booster, None

    def raw_score(self, Z):
        """Return the sum over the trees, of shape (n_samples,) or (n_samples, n_classes)."""
        if self._parts is None:
            self._parts = self._split()
        return sum(part.predict(Z, raw_score=True, num_threads=1) for part in self._parts)

    def _split(self):
        from lightgbm import Booster

        whole = self._booster
        leaves_a_round = whole.params["num_leaves"] * whole.num_model_per_iteration()
        n_rounds = max(1, self.leaves_at_once // leaves_a_round)
        return [
            Booster(model_str=whole.model_to_string(start_iteration=start, num_iteration=n_rounds))
            for start in range(0, whole.current_iteration(), n_rounds)
        ]

    def __getstate__(self):
        """Leave out the parts: the booster is split again in milliseconds."""
        return {**self.__dict__, "_parts": None}


class BoostedTrees:
    """Class probabilities from boosted trees on a numeric matrix, quick to fit and to ask.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Rows.
    y : ndarray of int, shape (n_samples,)
        Classes.
    sample_weight : ndarray of shape (n_samples,) or None
        Weights.
    many : bool
        Whether there are enough rows for larger trees.
    seed : int, default=0
        Seed.
    """

    n_rounds = 60

    def __init__(self, Z, y, sample_weight, many, *, seed=0):
        import lightgbm

        self.classes_, position = np.unique(y, return_inverse=True)
        n_classes = len(self.classes_)
        params = {
            "objective": "binary" if n_classes <= 2 else "multiclass",
            "num_class": 1 if n_classes <= 2 else n_classes,
            "learning_rate": 0.15 if many else 0.1,
            "num_leaves": 31 if many else 15,
            "min_data_in_leaf": 10,
            "lambda_l2": 1.0,
            "seed": seed,
            **LIGHTGBM_PARAMS,
        }
        data = lightgbm.Dataset(Z, label=position, weight=sample_weight, params=params)
        self._booster = None
        if n_classes > 1:
            self._booster = SplitBooster(lightgbm.train(params, data, self.n_rounds))

    def predict_proba(self, Z):
        """Return the probabilities of `classes_`, shape (n_samples, n_classes)."""
        if self._booster is None:
            return np.ones((len(Z), 1))
        score = self._booster.raw_score(Z)
        if score.ndim == 2:
            return softmax(score, axis=1)
        proba = expit(score)
        return np.column_stack([1 - proba, proba])


class InputBlock:
    """Give the representation of X itself, for tree learners."""

    def fit_transform(self, rows, seed):
        """Name the columns and return them."""
        self.names_ = [f"input_{j}" for j in range(rows.representation.shape[1])]
        return rows.representation

    def transform(self, rows):
        """Return the representation of new rows."""
        return rows.representation


class CustomBlock:
    """Call what the user gave: ``f(X, proba)``, or an object with ``transform(X, proba)``."""

    def __init__(self, source, number):
        self.source = clone(source, safe=False)
        self.number = number

    def fit_transform(self, rows, seed):
        """Fit the user's object if it can be fitted, never on labels, and describe the rows."""
        if hasattr(self.source, "fit"):
            self.source.fit(rows.X, rows.proba)
        features = self.transform(rows)
        self.names_ = [f"custom{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, rows):
        """Describe new rows."""
        call = getattr(self.source, "transform", self.source)
        features = np.asarray(call(rows.X, rows.proba), dtype=float)
        features = features[:, None] if features.ndim == 1 else features
        if features.ndim != 2 or len(features) != len(rows.proba):
            raise ValueError(
                f"A callable in meta_features must return one row of numbers per sample, got shape "
                f"{features.shape} for {len(rows.proba)} samples."
            )
        return features


class AskedBlock:
    """Ask the base itself: what an observer hears from the clone that has not seen the row."""

    def __init__(self, observer, number, base):
        self.observer = clone(observer, safe=False)
        self.number = number
        self.base = base

    def fit_transform(self, rows, seed):
        """Name the columns of what the clones said of the rows that they had not seen."""
        features = rows.asked[self.number]
        self.names_ = [f"asked{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, rows):
        """Ask the deployed base about new rows."""
        if rows.asked is not None:
            return rows.asked[self.number]
        return ask(self.base, rows.X, [self.observer])[0]


def _take(rows, positions):
    """Return some rows, as if they were new but for the clone that predicted them."""
    return Rows(
        None,
        rows.representation[positions],
        rows.proba[positions],
        rows.predicted[positions],
        base_fold=None if rows.base_fold is None else rows.base_fold[positions],
    )


def observers_of(meta_features):
    """Return the objects in `meta_features` that ask the base itself, in their order."""
    return [block for block in check_meta_features(meta_features) if is_observer(block)]


def is_observer(block):
    """Tell whether a block asks the base itself."""
    return hasattr(block, "observe")


def check_meta_features(meta_features):
    """Return the blocks that `meta_features` names as a list, or say what is wrong.

    Parameters
    ----------
    meta_features : "auto", block name, callable, or list of names and callables

    Returns
    -------
    blocks : list
    """
    if isinstance(meta_features, str):
        meta_features = list(BLOCKS) if meta_features == "auto" else [meta_features]
    elif callable(meta_features) or _is_custom(meta_features):
        meta_features = [meta_features]
    try:
        blocks = list(meta_features)
    except TypeError:
        blocks = []
    for block in blocks:
        known = block in BLOCKS if isinstance(block, str) else False
        if not (known or callable(block) or _is_custom(block)):
            raise ValueError(f"Unknown meta-feature block {block!r}: {_expected_blocks()}")
    if not blocks:
        raise ValueError(f"meta_features={meta_features!r} names no block: {_expected_blocks()}")
    return blocks


def _is_custom(block):
    return hasattr(block, "transform") or is_observer(block)


def _expected_blocks():
    return (
        f'expected "auto" or a list of {", ".join(map(repr, BLOCKS))}, callables f(X, proba), '
        "objects with transform(X, proba), and objects with observe(estimator, X)."
    )


def make_block(block, number, n_jobs, of_images=False):
    """Return the block that a name or a user's callable stands for."""
    if block == "confidence":
        return ConfidenceBlock()
    if block == "predicted_class":
        return PredictedClassBlock()
    if block == "neighbors":
        return NeighborsBlock(n_jobs)
    if block == "second_opinion":
        return SecondOpinionBlock(n_jobs, of_images)
    if block == "input":
        return InputBlock()
    return CustomBlock(block, number)
