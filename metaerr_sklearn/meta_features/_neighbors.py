"""Describe a prediction by the nearest training rows."""

import numpy as np
from joblib import effective_n_jobs
from scipy.spatial import KDTree
from scipy.special import entr
from sklearn.neighbors import NearestNeighbors

from .._utils import limits
from ..model_selection._splitting import make_splits
from ._rows import _take

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
    many_rows = limits.MANY_ROWS
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

    def drop_training_state(self):
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
            return np.zeros((len(rows.pred_encoded), len(_NEIGHBOR_NAMES))), near[:, 0]
        agrees = self._y[index] == rows.pred_encoded[:, None]
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
