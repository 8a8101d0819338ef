"""Grow a forest whose size does not depend on the number of classes."""

import numpy as np
from scipy import sparse
from sklearn.ensemble import ExtraTreesClassifier

# Numbers in the nodes of the trees that are grown at once: scikit-learn keeps one for each node and
# class until the trees are made sparse.
_NODE_VALUES = 10_000_000


class SparseForest:
    """Predict class probabilities by extremely randomised trees with sparse leaves.

    The probabilities are those of `sklearn.ensemble.ExtraTreesClassifier` with bootstrap samples
    and leaves of at least two rows. A leaf keeps the shares of the classes that it holds, so that
    the size of the forest is bounded by rows x trees. Results are sparse matrices with one row per
    sample and one column per class.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_columns)
        Rows.
    y : ndarray of int, shape (n_samples,)
        Position of the class of each row; -1 for a class without a column.
    n_classes : int
        Number of columns of the probabilities.
    n_trees : int
        Number of trees.
    sample_weight : ndarray of shape (n_samples,), default=None
        Weights.
    out_of_bag : bool, default=False
        Whether to compute `oob_proba`, the probabilities of each row by the trees that were grown
        without it. A row that every tree has seen gets the shares of the classes.
    n_jobs : int, default=None
        Number of threads.
    seed : int, default=0
        Seed.
    """

    def __init__(
        self, Z, y, n_classes, n_trees, *, sample_weight=None, out_of_bag=False, n_jobs=None, seed=0
    ):
        forest = ExtraTreesClassifier(
            min_samples_leaf=2, bootstrap=True, warm_start=True, n_jobs=n_jobs, random_state=seed
        )
        n_at_once = max(1, _NODE_VALUES // (len(Z) * len(np.unique(y))))
        self._trees, shares = [], []
        for start in range(0, n_trees, n_at_once):
            forest.set_params(n_estimators=min(start + n_at_once, n_trees))
            forest.fit(Z, y, sample_weight=sample_weight)
            for estimator in forest.estimators_[start:]:
                tree, leaf_shares = _split_off_values(estimator.tree_)
                estimator.tree_ = tree
                self._trees.append(tree)
                shares.append(leaf_shares)
        first = np.cumsum([0, *(len(part.indptr) - 1 for part in shares)])
        self._first_node = first[:-1]
        known = forest.classes_ >= 0
        columns = np.zeros((len(known), n_classes))
        columns[np.flatnonzero(known), forest.classes_[known]] = 1
        self._shares = sparse.csr_array(sparse.vstack(shares) @ sparse.csr_array(columns))
        if out_of_bag:
            counts = np.ones((len(Z), n_trees), dtype=bool)
            for number, rows in enumerate(forest.estimators_samples_):
                counts[rows, number] = False
            self.oob_proba = self._mean_shares(np.ascontiguousarray(Z, dtype=np.float32), counts)
            everything = np.bincount(y[y >= 0], minlength=n_classes) / len(y)
            never = sparse.csr_array(~counts.any(axis=1, keepdims=True) * 1.0)
            self.oob_proba = self.oob_proba + never @ sparse.csr_array(everything[None])

    def predict_proba(self, Z):
        """Return the mean of the shares of the classes in the leaves of the rows of float32 `Z`."""
        return self._mean_shares(Z, np.ones((len(Z), len(self._trees)), dtype=bool))

    def _mean_shares(self, Z, counts):
        """Return the mean over the trees that count for each row."""
        leaves = np.array([tree.apply(Z) for tree in self._trees]).T + self._first_node
        n_counted = counts.sum(axis=1)
        shape = len(Z), self._shares.shape[0]
        start = np.append(0, np.cumsum(n_counted))
        chosen = sparse.csr_array((np.ones(start[-1]), leaves[counts], start), shape=shape)
        mean = chosen @ self._shares
        mean.data /= np.repeat(n_counted, np.diff(mean.indptr))
        return mean


def _split_off_values(tree):
    """Return the tree without the values of its nodes, and the shares of the classes in leaves."""
    make, (n_columns, _, n_outputs), state = tree.__reduce__()
    is_leaf = tree.children_left < 0
    values = tree.value[:, 0] * is_leaf[:, None]
    bare = make(n_columns, np.ones(n_outputs, dtype=np.intp), n_outputs)
    bare.__setstate__({**state, "values": np.zeros((tree.node_count, n_outputs, 1))})
    return bare, sparse.csr_array(values)
