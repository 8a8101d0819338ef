"""Describe a prediction by the nearest training rows."""

from dataclasses import replace

import numpy as np
from joblib import effective_n_jobs
from scipy.spatial import KDTree
from scipy.special import entr
from sklearn.neighbors import NearestNeighbors

from .._utils import limits
from ..model_selection._splitting import make_splits
from ._base import Block

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
    """Search nearest neighbours in a k-d tree or, in high dimensions, by brute force.

    The k-d tree is built on all principal components. They leave the distances unchanged, and a few
    of them have most of the variance; the effective rank [1]_ measures how many. The search is
    approximate: it stops if no other row can be nearer than a fifth of the distance found so far.
    This fraction is a half up to rank 12, where the search is cheap, and an eleventh among more
    than 5,000 rows. The neighbours found are a few percent farther away than the nearest ones, and
    the search takes a fraction of the time. The result for a row does not depend on the other rows
    of the query.

    Parameters
    ----------
    matrix : ndarray of shape (n_rows, n_columns)
        Rows among which neighbours are searched.

    References
    ----------
    .. [1] Roy, Vetterli (2007). The Effective Rank: A Measure of Effective Dimensionality, EUSIPCO.
    """

    # A fifth of the distance is 1 / (1 + slack).
    slack, slack_at_low_rank, slack_among_many = 4, 1, 10
    low_rank = 12
    # In more dimensions a tree takes longer than brute force (measured at 500 to 20,000 rows).
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
        # BLAS is not used: its threads would compete with the threads that predict chunks of rows,
        # and its result for a row can depend on the other rows.
        return np.einsum("ij,kj->ik", matrix, self._axes)

    def __getstate__(self):
        """Return the state without the tree, which is built again in milliseconds."""
        return {**self.__dict__, "_tree": None}


def _effective_rank(variance):
    """Return the effective rank: exp of the entropy of the shares of variance."""
    share = np.maximum(variance, 0)
    share = share / max(share.sum(), np.finfo(float).tiny)
    return np.exp(entr(share).sum())


class NeighborsBlock(Block):
    """Describe a prediction by the labels and the errors of the nearest training rows.

    The description of a training row must not contain its label, not even indirectly:

    - Its neighbours come from other folds. It is not enough to leave out the row itself: the mean
      over the other rows nearby, compared with the mean over all rows, reveals the label of the row
      to a flexible learner.
    - An error of a neighbour counts only if the same clone of the base made it
      (``Observations.fold``), because that clone was trained on neither row. Any other clone was
      trained on the row, and its errors reveal the row's label.

    The distance to the neighbours contains no label. For this column, all rows except the row
    itself can be its neighbours.
    """

    name = "neighbors"
    needs_representation = True
    n_neighbors = 25
    n_close = 5
    prior_strength = 5

    def fit_transform(self, training):
        """Index the training rows and describe each row by rows of other folds."""
        self.names_ = list(_NEIGHBOR_NAMES)
        rows, chosen = training.observations.without_inputs(), training.reference
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        self._error_rate = float(np.average(rows.is_error[chosen], weights=weight))
        features = np.zeros((len(rows), len(self.names_)))
        features[:, _LOCAL_ERROR] = self._error_rate
        nearest = np.full(len(rows), np.inf)
        for train, test in training.folds or self._folds(len(rows), training.seed):
            known = np.intersect1d(chosen, train)
            if not len(known):
                continue
            self._set_index(rows, known)
            features[test], nearest[test] = self._describe(rows.take(test), training.n_jobs)
        self._set_index(rows, chosen)
        if training.folds is None and len(chosen) > 1:
            position = np.full(len(rows), -1)
            position[chosen] = np.arange(len(chosen))
            distance, _ = self._search(rows.representation, position, training.n_jobs)
            features[:, -1], nearest = _log_distance(distance), distance[:, 0]
        known = nearest[np.isfinite(nearest)]
        if len(known):
            # Equal rows count as coinciding although their projections are rounded differently.
            self._coincides = max(self._tolerance, 1e-3 * float(np.median(known)))
        # If a new row equals a training row, the deployed base was trained on that row, and its
        # out-of-fold error does not describe the deployed base. Such neighbours are ignored, unless
        # training rows often coincide, too: then the meta-learner was trained with such neighbours.
        self._ignore_coinciding = bool(np.mean(nearest <= self._coincides) < 0.01)
        return features

    def transform(self, observations):
        """Describe new rows by the training rows."""
        return self._describe(observations)[0]

    def log_distance(self, features):
        """Return the column of the log-distance to the neighbours."""
        return features[:, -1]

    def log_distance_of(self, matrix):
        """Return the log-distance of new rows to their neighbours."""
        near, index = self._search(matrix)
        return _log_distance(near) if index.size else np.zeros(len(matrix))

    def drop_training_state(self):
        """Delete the index of each clone, which only training rows need."""
        self._parts = {}

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
        self._y = rows.y_encoded[chosen]
        self._is_error = rows.is_error[chosen].astype(np.float32)
        # One index for the rows that each clone predicted.
        self._parts = {}
        if rows.fold is None:
            return
        fold = rows.fold[chosen]
        for number in np.unique(fold):
            self._parts[number] = part = NeighborsBlock()
            part._error_rate = self._error_rate
            part._set_index(replace(rows, fold=None), chosen[fold == number])

    def _search(self, matrix, own_position=None, n_jobs=None):
        """Return distances and positions of neighbours, without the rows to be left out."""
        n_dropped = 1 if own_position is not None else 3 * self._ignore_coinciding
        n_found = min(self.n_neighbors + n_dropped, len(self._y))
        n_kept = n_found - n_dropped
        if n_kept < 1 or not len(matrix):
            return np.zeros((len(matrix), 1)), np.zeros((len(matrix), 0), dtype=np.intp)
        distance, index = self._index.query(matrix, n_found, n_jobs)
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

    def _describe(self, rows, n_jobs=1):
        """Return the features and the distance to the nearest neighbour."""
        near, index = self._search(rows.representation, n_jobs=n_jobs)
        if not index.size:
            return np.zeros((len(rows), len(_NEIGHBOR_NAMES))), near[:, 0]
        agrees = self._y[index] == rows.pred_encoded[:, None]
        is_error = self._is_error[index]
        # The weight is bounded: a neighbour at distance 0 counts most, but not alone.
        weight = 1 / (near + 0.1 * near.mean(axis=1, keepdims=True))
        # A class that is not among the neighbours is at least as far away as the last of them.
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
        if rows.fold is not None:
            features[:, _LOCAL_ERROR] = self._error_rate
            for number, part in self._parts.items():
                of_clone = np.flatnonzero(rows.fold == number)
                described, _ = part._describe(replace(rows.take(of_clone), fold=None), n_jobs)
                features[of_clone, _LOCAL_ERROR] = described[:, _LOCAL_ERROR]
        return features, near[:, 0]


def _log_distance(near):
    return np.log(near[:, :10].mean(axis=1))
