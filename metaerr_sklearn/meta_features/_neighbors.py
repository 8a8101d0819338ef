"""Describe a prediction by the nearest training rows."""

from copy import copy
from typing import NamedTuple

import numpy as np
from joblib import effective_n_jobs
from scipy.spatial import KDTree
from scipy.special import entr
from sklearn.neighbors import NearestNeighbors

from .._utils import limits
from .._utils.rows import batches_of
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
        centred = matrix - matrix.mean(axis=0, dtype=np.float64)
        variance, axes = np.linalg.eigh(centred.T @ centred)
        rank, max_rank = _effective_rank(variance), self.max_rank
        self._slack = self.slack_at_low_rank if rank <= self.low_rank else self.slack
        if len(matrix) > self.many_rows:
            self._slack, max_rank = self.slack_among_many, self.max_rank_among_many
        self._axes = None
        if rank <= max_rank:
            self._axes = np.ascontiguousarray(axes.T, dtype=matrix.dtype)
        self._points, self._search = self.rotate(matrix), None

    def query(self, matrix, n_neighbors):
        """Return distances and positions of near rows, both ordered by distance."""
        return self.query_rotated(self.rotate(matrix), n_neighbors)

    def query_rotated(self, points, n_neighbors, n_jobs=None):
        """Return what `query` returns, for rows that `rotate` returned."""
        if self._axes is None:
            if self._search is None:
                self._search = NearestNeighbors(algorithm="brute").fit(self._points)
            return self._search.kneighbors(points, n_neighbors)
        if self._search is None:
            self._search = KDTree(self._points, leafsize=self.leaf_size)
        numbers, workers = np.arange(1, n_neighbors + 1), effective_n_jobs(n_jobs)
        return self._search.query(points, numbers, eps=self._slack, workers=workers)

    def rotate(self, matrix):
        """Return the rows in the coordinates in which the index searches."""
        # BLAS is not used: its threads would compete with the threads that predict chunks of rows,
        # and its result for a row can depend on the other rows.
        return matrix if self._axes is None else np.einsum("ij,kj->ik", matrix, self._axes)

    def subset(self, rows):
        """Return an index of some of the rows."""
        part = copy(self)
        part._points, part._search = self._points[rows], None
        return part

    def __getstate__(self):
        """Return the state without the search tree, which is built again in milliseconds."""
        return {**self.__dict__, "_search": None}


def _effective_rank(variance):
    """Return the effective rank: exp of the entropy of the shares of variance."""
    share = np.maximum(variance, 0)
    share = share / max(share.sum(), np.finfo(float).tiny)
    return np.exp(entr(share).sum())


class Near(NamedTuple):
    """Training rows near some rows, ordered by distance along the second axis.

    Only rows where ``counts`` is True describe a row. The others are related to it, coincide with
    it, or were not found.
    """

    distance: np.ndarray
    index: np.ndarray
    counts: np.ndarray

    def take(self, rows):
        """Return the neighbours of some rows."""
        return Near(*(values[rows] for values in self))

    def nearest(self, n_neighbors):
        """Return the nearest neighbours that count."""
        counts = self.counts & (self.counts.cumsum(axis=1) <= n_neighbors)
        width = np.max(np.flatnonzero(counts.any(axis=0)), initial=-1) + 1
        return Near(self.distance[:, :width], self.index[:, :width], counts[:, :width])

    def mean(self, values, weight=None):
        """Return the mean of the values at the neighbours that count, 0 if there are none."""
        weight = self.counts if weight is None else weight
        total = weight.sum(axis=1)
        return (values * weight).sum(axis=1) / np.where(total > 0, total, 1)

    def weights(self):
        """Return weights that fall with the distance; at distance 0, the weight is bounded."""
        distance = np.where(self.counts, self.distance, 1)
        return self.counts / (distance + 0.1 * self.mean(distance)[:, None])


class NeighborsBlock(Block):
    """Describe a prediction by the labels and the errors of the nearest training rows.

    The description of a training row must not contain its label, not even indirectly:

    - Its neighbours come from other parts of the rows. It is not enough to leave out the row
      itself: the mean over the other rows nearby, compared with the mean over all rows, reveals the
      label of the row to a flexible learner.
    - An error of a neighbour counts only if the same clone of the base made it
      (``Observations.fold``), because that clone was trained on neither row. Any other clone was
      trained on the row, and its errors reveal the row's label.
    - While a fold tests the meta-learner, the labels of its rows describe no training row
      (`transform_fold`). Otherwise a test row and a training row that are neighbours would describe
      each other, and a chance agreement of the two would count in training and in testing.

    The distance to the neighbours contains no label. For this column, all rows except the row
    itself can be its neighbours, unless rows are related.
    """

    name = "neighbors"
    needs_representation = True
    is_costly = True
    n_neighbors = 25
    n_close = 5
    prior_strength = 5

    def fit_transform(self, training):
        """Index the training rows and describe each row by rows of other parts."""
        self.names_ = list(_NEIGHBOR_NAMES)
        rows, chosen = training.observations.without_inputs(), training.reference
        matrix = rows.representation[chosen]
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        self._error_rate = float(np.average(rows.is_error[chosen], weights=weight))
        self._index = NeighborIndex(matrix)
        self._tolerance = 1e-6 * float(np.sqrt(np.mean(matrix.astype(float) ** 2) + 1e-30))
        self._coincides, self._ignore_coinciding = self._tolerance, False
        self._y = rows.y_encoded[chosen]
        self._is_error = rows.is_error[chosen].astype(np.float32)

        points = self._index.rotate(rows.representation)
        near = self._search_parts(points, np.zeros(len(rows)), training)
        of_clone = near
        if rows.fold is not None:
            of_clone = self._search_parts(points, rows.fold, training)
        others = near if training.is_related else self._search_others(points, training)
        self._log_distance = _log_distance(others)
        nearest = others.nearest(1)
        nearest = nearest.distance[nearest.counts]
        if len(nearest):
            # Equal rows count as coinciding although their projections are rounded differently.
            self._coincides = max(self._tolerance, 1e-3 * float(np.median(nearest)))
        # If a new row equals a training row, the deployed base was trained on that row, and its
        # out-of-fold error does not describe the deployed base. Such neighbours are ignored, unless
        # training rows often coincide, too: then the meta-learner was trained with such neighbours.
        n_coinciding = np.sum(nearest <= self._coincides)
        self._ignore_coinciding = bool(n_coinciding < 0.01 * len(rows))
        self._training = rows.pred_encoded, training.fold_of_rows()[chosen], near, of_clone
        return self._describe(rows.pred_encoded, near, of_clone, self._log_distance)

    def transform_fold(self, features, number):
        """Describe the training rows without the labels of the rows that the fold tests."""
        pred_encoded, fold, *found = self._training
        near, of_clone = (
            part._replace(counts=part.counts & (fold[part.index] != number)) for part in found
        )
        return self._describe(pred_encoded, near, of_clone, self._log_distance)

    def transform(self, observations):
        """Describe new rows by the training rows."""
        near = self._search(observations.representation)
        return self._describe(observations.pred_encoded, near, near, _log_distance(near))

    def log_distance(self, features):
        """Return the column of the log-distance to the neighbours."""
        return features[:, -1]

    def log_distance_of(self, matrix):
        """Return the log-distance of new rows to their neighbours."""
        return _log_distance(self._search(matrix))

    def drop_training_state(self):
        """Delete the neighbours of the training rows."""
        del self._training, self._log_distance

    def _search(self, matrix):
        """Return the neighbours of new rows."""
        n_found = min(self.n_neighbors + 3 * self._ignore_coinciding, len(self._y))
        distance, index = self._index.query(matrix, n_found)
        counts = np.ones(distance.shape, dtype=bool)
        if self._ignore_coinciding:
            counts = distance > self._coincides
        return self._near(distance, index, counts)

    def _search_parts(self, points, clone, training):
        """Return neighbours in each other part, among the rows that the same clone predicted.

        Each part is searched on its own, so that the nearest rows of any of the parts are found.
        """
        part_of_row = np.full(len(points), -1) if training.part is None else training.part
        known_part, known_clone = part_of_row[training.reference], clone[training.reference]
        numbers = np.unique(known_part[known_part >= 0])
        distance = np.full((len(points), self.n_neighbors * len(numbers)), np.inf)
        index = np.zeros(distance.shape, dtype=np.int32)
        for first, number in zip(range(0, distance.shape[1], self.n_neighbors), numbers):
            for predictor in np.unique(known_clone):
                known = np.flatnonzero((known_part == number) & (known_clone == predictor))
                queried = np.flatnonzero((part_of_row != number) & (clone == predictor))
                n_found = min(self.n_neighbors, len(known))
                if n_found and len(queried):
                    part = self._index.subset(known)
                    found = part.query_rotated(points[queried], n_found, training.n_jobs)
                    columns = slice(first, first + n_found)
                    distance[queried, columns], index[queried, columns] = found[0], known[found[1]]
        # A fold leaves out the neighbours in the parts that it tests, see `transform_fold`.
        tested = [len(np.unique(part_of_row[test])) for _, test in training.folds or ()]
        n_kept = self.n_neighbors * (1 + max(tested, default=0))
        kept = np.empty((len(points), min(n_kept, distance.shape[1])))
        kept_index = np.empty(kept.shape, dtype=np.int32)
        for batch in batches_of(len(points), 1000):
            order = np.argsort(distance[batch], axis=1, kind="stable")[:, :n_kept]
            kept[batch] = np.take_along_axis(distance[batch], order, axis=1)
            kept_index[batch] = np.take_along_axis(index[batch], order, axis=1)
        return self._near(kept, kept_index, np.isfinite(kept))

    def _search_others(self, points, training):
        """Return the neighbours of each training row, whatever their fold."""
        own = np.full(len(points), -1)
        own[training.reference] = np.arange(len(training.reference))
        n_found = min(self.n_neighbors + 1, len(self._y))
        distance, index = self._index.query_rotated(points, n_found, training.n_jobs)
        return self._near(distance, index, index != own[:, None])

    def _near(self, distance, index, counts):
        return Near(np.maximum(distance, self._tolerance), index, counts)

    def _describe(self, pred_encoded, near, of_clone, log_distance):
        """Return the features: labels come from the rows in `near`, errors from `of_clone`."""
        is_same_set = near is of_clone
        near = near.nearest(self.n_neighbors)
        of_clone = near if is_same_set else of_clone.nearest(self.n_neighbors)
        close = near.nearest(self.n_close)
        agrees = self._y[near.index] == pred_encoded[:, None]
        # A class that is not among the neighbours is at least as far away as the last of them.
        last = np.where(near.counts, near.distance, 0).max(axis=1, initial=0)
        trust = 0
        for sign, is_of_class in ((1, ~agrees), (-1, agrees)):
            distance = np.where(near.counts & is_of_class, near.distance, np.inf)
            nearest = distance.min(axis=1, initial=np.inf)
            trust = trust + sign * np.log(np.where(np.isinf(nearest), last + (last == 0), nearest))
        is_error = self._is_error[of_clone.index]
        n_errors_known = of_clone.counts.sum(axis=1)
        prior = self.prior_strength

        def local_error(weight=None):
            mean = of_clone.mean(is_error, weight)
            return (n_errors_known * mean + prior * self._error_rate) / (n_errors_known + prior)

        weight = near.weights()
        return np.column_stack(
            [
                np.clip(trust, -6, 6),
                close.mean(agrees[:, : close.counts.shape[1]]),
                near.mean(agrees),
                near.mean(agrees, weight),
                local_error(),
                local_error(weight if is_same_set else of_clone.weights()),
                log_distance,
            ]
        )


def _log_distance(near):
    near = near.nearest(10)
    distance = near.mean(np.where(near.counts, near.distance, 0))
    return np.log(np.where(near.counts.any(axis=1), distance, 1))
