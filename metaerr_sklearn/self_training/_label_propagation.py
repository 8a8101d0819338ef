"""Propagate labels over a nearest-neighbour graph."""

import numpy as np
from scipy import sparse
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import gen_batches

from .._utils.probabilities import scaled_to_sum_1

# Neighbours that are searched beyond those needed, so that ties are among them.
_SPARE = 10


class NeighborGraph:
    """Nearest-neighbour graph over labeled and unlabeled rows.

    A row is described by its neighbours in the graph, never by itself. The rule is the same for a
    labeled row in a test fold, for an unlabeled row and for a new row.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        All rows as numbers.
    members : ndarray of int
        The rows that make up the graph.
    n_neighbors : int, default=10
        Neighbours of a row.
    n_jobs : int, default=None
        Threads of the neighbour search.
    """

    def __init__(self, Z, members, n_neighbors=10, n_jobs=None):
        self.members = members
        self.n_neighbors = min(n_neighbors, len(members) - 1)
        self.rows_ = Z[members]
        self.index_ = NearestNeighbors(n_jobs=n_jobs).fit(self.rows_)
        self.neighbors = np.empty((len(Z), self.n_neighbors), dtype=np.intp)
        # A member is not its own neighbour.
        self.neighbors[members] = self._nearest(self.rows_, is_member=True)
        others = np.setdiff1d(np.arange(len(Z)), members)
        if len(others):
            self.neighbors[others] = self.find(Z[others])
        # A step leads to a neighbour, in either direction of the relation.
        directed = _adjacency(self.neighbors[members], len(members))
        mutual = directed.maximum(directed.T).tocsr()
        self._transition = sparse.diags_array(1 / mutual.sum(axis=1)) @ mutual

    def drop_training_state(self):
        """Delete the data that the search for neighbours of new rows does not use."""
        del self.members, self.neighbors, self._transition

    def find(self, Z):
        """Return the neighbours of new rows, positions among the members."""
        return self._nearest(Z)

    def _nearest(self, Z, *, is_member=False):
        """Return neighbours in an order that does not depend on the other rows in Z.

        The search works in batches, and distances are rounded differently in each. This would
        decide the order of neighbours at equal distances, so distances are computed again.
        """
        n_searched = min(self.n_neighbors + _SPARE, len(self.rows_) - is_member)
        observed = None if is_member else Z
        found = np.sort(self.index_.kneighbors(observed, n_searched, return_distance=False), axis=1)
        nearest = np.empty((len(Z), self.n_neighbors), dtype=np.intp)
        for batch in gen_batches(len(Z), 1000):
            distance = ((Z[batch, None] - self.rows_[found[batch]]) ** 2).sum(axis=2)
            order = np.argsort(distance, axis=1, kind="stable")[:, : self.n_neighbors]
            nearest[batch] = np.take_along_axis(found[batch], order, axis=1)
        return nearest

    def propagate(self, labeled_nodes, labels, n_classes, *, alpha=0.95, n_steps=30):
        """Spread labels over the graph: F <- alpha P F + (1 - alpha) Y.

        Parameters
        ----------
        labeled_nodes : ndarray of int
            Members whose labels are propagated.
        labels : ndarray of int, shape (n_labeled_nodes,)
            Positions of their classes.
        n_classes : int
            Number of classes.
        alpha : float, default=0.95
            Share of a row's value that comes from its neighbours.
        n_steps : int, default=30
            Number of steps.

        Returns
        -------
        propagated : ndarray of shape (n_members, n_classes)
        """
        position = np.full(self.members.max() + 1, -1)
        position[self.members] = np.arange(len(self.members))
        # Each class has the same total, so a class with more labels is not preferred.
        start = np.zeros((len(self.members), n_classes))
        start[position[labeled_nodes], labels] = (
            1 / np.bincount(labels, minlength=n_classes)[labels]
        )
        value = start
        for _ in range(n_steps):
            value = alpha * (self._transition @ value) + (1 - alpha) * start
        return value

    @staticmethod
    def neighbor_mean(neighbors, propagated):
        """Return class probabilities of rows: the mean of the propagated values of neighbours.

        If no label has reached a neighbour, all classes have equal probabilities.
        """
        value = _adjacency(neighbors, len(propagated)) @ propagated
        return scaled_to_sum_1(value, 1 / value.shape[1])


def _adjacency(neighbors, n_members):
    n_samples, n_neighbors = neighbors.shape
    starts = np.arange(0, neighbors.size + 1, n_neighbors)
    parts = (np.ones(neighbors.size), neighbors.ravel(), starts)
    return sparse.csr_array(parts, shape=(n_samples, n_members))
