"""Pool several opinions on the class of a row, for few labels and many unlabeled rows."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logsumexp, softmax
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.adapter import adapt
from .._base_estimator.observations import Observations
from .._utils import limits
from .._utils.forest import SparseForest
from .._utils.output_checks import check_proba
from .._utils.probabilities import (
    add_log_odds,
    clipped_logit,
    label_positions,
    proba_of_other_classes,
)
from .._utils.random import draw_seed
from .._utils.rows import row_chunks
from .._utils.weights import weights_or_ones
from ..representation._choice import represent
from ._label_propagation import NeighborGraph


class _Labels(NamedTuple):
    """Labels that auxiliary models learn: rows of X, positions of their classes, weights."""

    rows: np.ndarray
    y_encoded: np.ndarray
    weight: np.ndarray

    def within(self, rows):
        """Return the labels of some rows, without those of weight 0."""
        kept = np.isin(self.rows, rows) & (self.weight > 0)
        return _Labels(*(values[kept] for values in self))


class _AuxiliaryModels:
    """Models of the same labels beside the base: a forest, a ridge logistic model, the graph."""

    names = ("forest", "logistic", "spread")
    n_trees = 50

    def __init__(self, Z, graph, labels, n_classes, seed):
        self.classes = np.arange(n_classes)
        self.scale = _scale(Z)
        rows, y, weight = self._scaled(Z[labels.rows]), labels.y_encoded, labels.weight
        # Several threads of a joblib backend would add votes in a random order.
        self.forest = SparseForest(
            rows, y, n_classes, self.n_trees, sample_weight=weight, n_jobs=1, seed=seed
        )
        self.logistic = None
        if len(np.unique(y)) > 1:
            self.logistic = LogisticRegression(C=0.1, max_iter=1000).fit(rows, y, weight)
        self.set_graph(graph, labels)

    def set_graph(self, graph, labels):
        """Propagate the labels over a graph, which replaces an earlier one."""
        self.graph = graph
        self.propagated = graph.propagate(labels.rows, labels.y_encoded, len(self.classes))

    def predict_proba(self, Z, neighbors):
        """Return class probabilities of shape (n_rows, n_classes, n_models)."""
        if not len(Z):
            return np.empty((0, len(self.classes), len(self.names)))
        Z = self._scaled(Z)
        forest = logistic = self.forest.predict_proba(Z).toarray()
        if self.logistic is not None:
            logistic = adapt(self.logistic).predict_proba(Z, self.classes)
        return np.stack([forest, logistic, self.graph_proba(neighbors)], axis=2)

    def _scaled(self, Z):
        return np.ascontiguousarray(Z / self.scale, dtype=np.float32)

    def graph_proba(self, neighbors):
        """Return the class probabilities that label propagation gives to rows."""
        return self.graph.neighbor_mean(neighbors, self.propagated)


def _scale(Z):
    """Return one number for all columns: projections keep the proportions of their columns."""
    return max(float(np.sqrt(Z.var(axis=0).mean())), 1e-12)


class OpinionPool(BaseEstimator):
    """Pool several opinions on the class of a row, and predict how likely a label is wrong.

    With 20 or 200 labeled rows there are too few errors to train a model of errors. There are
    enough labels to learn the weights of a few opinions on the class c of a row x:

    log P(c | x) = sum_k w_k log p_k(c | x) + const (a logarithmic opinion pool [1]_),

    where p_1 is the probability of the base classifier. The others come from a forest of extremely
    randomised trees, a ridge logistic model, and label propagation over labeled and unlabeled
    rows [2]_. The weights maximise the posterior of the labeled rows under a strong prior: normal
    around (0.65, 0.35, 0.35, 0.2) with precision 30. If the out-of-fold accuracy of the pool is
    hardly better than guessing, only the opinion of the base is used. The error probability of a
    label is 1 - P(label | x), shifted in log-odds to the level of the out-of-fold errors of such
    labels.

    The weights are learned from out-of-fold opinions: each opinion on a labeled row comes from
    models, and from a graph, that were trained without its label.

    Parameters
    ----------
    n_jobs : int, default=None
        Threads of the neighbour search.

    random_state : int, RandomState instance or None, default=None
        Seed of the forest, and of the choice of 20,000 rows of the graph if there are more.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the columns of `proba`, sorted.

    opinions_ : list of str
        Names of the pooled opinions.

    weights_ : ndarray of shape (n_opinions,)
        Weight of each opinion.

    class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    representation_ : fitted transformer or None
        Turns X into numbers for the forest and the logistic model.

    embedding_ : fitted transformer or None
        Hidden layer of the net, on which the graph is built; None takes `representation_`.

    adjusted_accuracy_ : float
        Accuracy of the full pool with out-of-fold opinions, rescaled so that 0 is guessing and 1
        is perfect.

    base_adjusted_balanced_accuracy_ : float
        Mean out-of-fold recall of the base, rescaled so that 0 is guessing and 1 is perfect.

    base_adjusted_balanced_accuracy_error_ : float
        Standard error of `base_adjusted_balanced_accuracy_`.

    error_rate_ : float in [0, 1]
        Share of wrong out-of-fold predictions of the base.

    References
    ----------
    .. [1] Genest, Zidek (1986). Combining Probability Distributions: A Critique and an Annotated
       Bibliography, Statistical Science.
    .. [2] Zhou, Bousquet, Lal, Weston, Schölkopf (2004). Learning with Local and Global
       Consistency, NeurIPS.
    """

    _prior_weights = (0.65, 0.35, 0.35, 0.2)
    _precision = 30.0
    # Precision of the normal prior of a shift of log-odds: 100 rows of noise have precision 25.
    _level_precision = 4.0
    # Opinions that are hardly better than guessing would change labels at random.
    _min_adjusted_accuracy = 0.25

    def __init__(self, *, n_jobs=None, random_state=None):
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, y_encoded, cross_fitted, representation, embeddings=None):
        """Learn the weight of each opinion.

        Parameters
        ----------
        X : any, of length n_samples
            Labeled and unlabeled rows.

        y_encoded : ndarray of int, shape (n_samples,)
            Position of the class, -1 where unlabeled.

        cross_fitted : CrossFitted
            Out-of-fold predictions of the labeled rows, in the order of X.

        representation : fitted transformer or None
            Turns X into numbers. With None the pool has no opinion but that of the base.

        embeddings : list of fitted transformers, length n_folds + 1, default=None
            Hidden layers of the nets that were trained on each fold and, last, on all labels. The
            graph is built on them. None takes `representation`.

        Returns
        -------
        self : object
        """
        labeled = np.flatnonzero(y_encoded >= 0)
        self._unlabeled = np.flatnonzero(y_encoded < 0)
        self.classes_, oof = cross_fitted.classes, cross_fitted.oof
        weight = weights_or_ones(oof.sample_weight, len(labeled))
        weight = weight / max(weight.mean(), 1e-12)
        y, n_classes = oof.y_encoded, len(self.classes_)
        self.class_prior_ = np.bincount(y, weight, n_classes) / weight.sum()
        self._labels = _Labels(labeled, y, weight)
        tested = cross_fitted.tested
        y, weight = y[tested], weight[tested]
        self.error_rate_ = float(np.average(cross_fitted.is_error, weights=weight))
        self.base_adjusted_balanced_accuracy_, self.base_adjusted_balanced_accuracy_error_ = (
            _adjusted_balanced_accuracy(y, oof.pred_encoded[tested], weight)
        )
        self.representation_ = representation
        self.embedding_ = None if embeddings is None or representation is None else embeddings[-1]
        self.opinions_, opinions = ["base"], oof.proba[:, :, None]
        if representation is not None:
            self.opinions_ += _AuxiliaryModels.names
            others = self._cross_fit_auxiliary(X, cross_fitted, embeddings)
            opinions = np.concatenate([opinions, others], axis=2)
        log_opinions = _log(opinions[tested])
        self._learn(log_opinions, y, weight)
        pooled, base_label = softmax(log_opinions @ self.weights_, axis=1), oof.pred_encoded[tested]
        self._base_level, self._pool_level = (
            self._learn_level(proba_of_other_classes(pooled, label), label != y, weight)
            for label in (base_label, pooled.argmax(axis=1))
        )
        return self

    def _cross_fit_auxiliary(self, X, cross_fitted, embeddings):
        """Return out-of-fold predictions of the auxiliary models; keep those of all labels."""
        labeled, fold = self._labels.rows, cross_fitted.oof.fold
        random_state = check_random_state(self.random_state)
        seed = draw_seed(random_state)
        members = self._choose_members(labeled, random_state)
        self._labels = self._labels.within(members)
        n_classes = len(self.classes_)
        Z = represent(self.representation_, X)
        opinions = np.zeros((len(labeled), n_classes, len(_AuxiliaryModels.names)))
        graph = None if embeddings else NeighborGraph(Z, members, n_jobs=self.n_jobs)
        trains = [labeled[train] for train, _ in cross_fitted.splits]
        for number, train in enumerate([*trains, labeled]):
            if embeddings:
                embedding = represent(embeddings[number], X)
                graph = NeighborGraph(embedding, members, n_jobs=self.n_jobs)
            auxiliary = _AuxiliaryModels(Z, graph, self._labels.within(train), n_classes, seed)
            if number < len(trains):
                rows = labeled[fold == number]
                opinions[fold == number] = auxiliary.predict_proba(Z[rows], graph.neighbors[rows])
        rows = self._unlabeled
        self._auxiliary = auxiliary
        self._unlabeled_opinions = auxiliary.predict_proba(Z[rows], graph.neighbors[rows])
        return opinions

    def _choose_members(self, labeled, random_state):
        """Return the rows of the graph: at most `limits.MAX_FIT_ROWS`, labeled ones first."""
        rows = labeled
        if len(rows) > limits.MAX_FIT_ROWS // 2:
            rows = random_state.choice(rows, limits.MAX_FIT_ROWS // 2, replace=False)
        others, room = self._unlabeled, limits.MAX_FIT_ROWS - len(rows)
        if len(others) > room:
            others = random_state.choice(others, room, replace=False)
        return np.sort(np.concatenate([rows, others]))

    def _learn(self, log_opinions, y, weight):
        n_classes, n_opinions = log_opinions.shape[1:]
        alone = np.eye(1, n_opinions)[0]
        prior = np.array(self._prior_weights) if n_opinions > 1 else alone
        self.weights_ = self._maximise(log_opinions, y, weight, prior, prior > 0)
        is_right = (log_opinions @ self.weights_).argmax(axis=1) == y
        chance, accuracy = 1 / n_classes, np.average(is_right, weights=weight)
        self.adjusted_accuracy_ = float((accuracy - chance) / (1 - chance))
        if n_opinions > 1 and self.adjusted_accuracy_ <= self._min_adjusted_accuracy:
            self.weights_ = self._maximise(log_opinions, y, weight, alone, alone > 0)

    def _maximise(self, log_opinions, y, weight, prior, used):
        """Return the weights with the largest posterior; those not used are 0."""
        used_opinions, rows = log_opinions[:, :, used], np.arange(len(y))

        def loss(w):
            scores = used_opinions @ w
            log_total = logsumexp(scores, axis=1)
            proba = np.exp(scores - log_total[:, None])
            slope = np.einsum("nc,nck->nk", proba, used_opinions) - used_opinions[rows, y]
            pull = self._precision * (w - prior[used])
            value = weight @ (log_total - scores[rows, y]) + 0.5 * pull @ (w - prior[used])
            return value, weight @ slope + pull

        weights = np.zeros(len(prior))
        weights[used] = minimize(loss, prior[used], jac=True, method="L-BFGS-B").x
        return weights

    def _learn_level(self, error_proba, is_error, weight):
        """Return the most probable shift of log-odds, given the errors of out-of-fold labels."""
        score = clipped_logit(error_proba, 1e-12)

        def slope(shift):
            return weight @ (expit(score + shift) - is_error) + self._level_precision * shift

        bound = (weight.sum() + 1) / self._level_precision
        return brentq(slope, -bound, bound)

    def error_proba(self, pooled, pred_encoded, *, of_pool=False):
        """Return the probability that labels are wrong.

        Parameters
        ----------
        pooled : ndarray of shape (n_rows, n_classes)
            Pooled class probabilities.

        pred_encoded : ndarray of int, shape (n_rows,)
            Positions of the labels.

        of_pool : bool, default=False
            Whether the pool gave the labels, not the base. The two err at different rates.

        Returns
        -------
        error_proba : ndarray of shape (n_rows,)
        """
        level = self._pool_level if of_pool else self._base_level
        return add_log_odds(proba_of_other_classes(pooled, pred_encoded), level)

    def pool_unlabeled(self, proba, rows=None):
        """Return the pooled class probabilities of unlabeled rows of the fit.

        Parameters
        ----------
        proba : ndarray of shape (n_rows, n_classes)
            The base's probabilities, from a base that was not trained on pseudo-labels of these
            rows.

        rows : ndarray of int, shape (n_rows,), default=None
            Which of the unlabeled rows, in the order of X; None means all.

        Returns
        -------
        pooled : ndarray of shape (n_rows, n_classes)
        """
        others = None
        if self.representation_ is not None:
            others = self._unlabeled_opinions if rows is None else self._unlabeled_opinions[rows]
        return self._combine(proba, others)

    def update_graph(self, X, embedding):
        """Build the graph anew, on the hidden layer of a net that was trained anew.

        Parameters
        ----------
        X : any, of length n_samples
            Rows of the fit.

        embedding : fitted transformer
            Returns the hidden layer of the new net.
        """
        members = self._auxiliary.graph.members
        graph = NeighborGraph(represent(embedding, X), members, n_jobs=self.n_jobs)
        self._auxiliary.set_graph(graph, self._labels)
        proba = self._auxiliary.graph_proba(graph.neighbors[self._unlabeled])
        self._unlabeled_opinions[:, :, -1] = proba
        self.embedding_ = embedding

    def drop_training_state(self):
        """Delete the data that only `pool_unlabeled` and `update_graph` use."""
        del self._unlabeled, self._labels
        if self.representation_ is not None:
            del self._unlabeled_opinions
            self._auxiliary.graph.drop_training_state()

    def pool(self, X, proba):
        """Return the pooled class probabilities of any rows.

        Parameters
        ----------
        X : any, of length n_samples
            Rows.

        proba : array-like of shape (n_samples, n_classes)
            The base's probabilities.

        Returns
        -------
        pooled : ndarray of shape (n_samples, n_classes)
        """
        check_is_fitted(self, "weights_")
        proba = check_proba(proba, classes=self.classes_)
        check_consistent_length(X, proba)
        pooled = np.empty(proba.shape)
        for batch, part in row_chunks(X):
            others = None
            if self.representation_ is not None:
                Z = represent(self.representation_, part)
                embedding = Z if self.embedding_ is None else represent(self.embedding_, part)
                neighbors = self._auxiliary.graph.find(embedding)
                others = self._auxiliary.predict_proba(Z, neighbors)
            pooled[batch] = self._combine(proba[batch], others)
        return pooled

    def _combine(self, proba, others):
        """Return the pooled probabilities; `others` are those of the auxiliary models, or None."""
        opinions = proba[:, :, None]
        if others is not None:
            opinions = np.concatenate([opinions, others], axis=2)
        return softmax(_log(opinions) @ self.weights_, axis=1)

    def predict_error_proba(self, X, proba, *, y_pred=None):
        """Estimate the probability that each prediction of the base is wrong.

        Parameters
        ----------
        X : any, of length n_samples
            Inputs of the predictions.

        proba : array-like of shape (n_samples, n_classes)
            Class probabilities.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels; None takes the most probable class.

        Returns
        -------
        error_proba : ndarray of shape (n_samples,), in [0, 1]
            Higher = more likely wrong.
        """
        if y_pred is None:
            pred_encoded = np.argmax(proba, axis=1)
        else:
            check_consistent_length(proba, y_pred)
            pred_encoded = label_positions(np.asarray(y_pred), self.classes_)
        return self.predict_observations(Observations(X, proba, pred_encoded))

    def predict_observations(self, observations):
        """Predict error probabilities as `ErrorModel.predict_observations`."""
        pooled = self.pool(observations.X, observations.proba)
        return self.error_proba(pooled, observations.pred_encoded)


def _adjusted_balanced_accuracy(y, pred_encoded, weight):
    """Return the mean recall, rescaled so that 0 is guessing, and its standard error."""
    labels = np.unique(y[weight > 0])
    if len(labels) < 2:
        return 0.0, 0.0
    recall = recall_score(y, pred_encoded, labels=labels, average=None, sample_weight=weight)
    total, total_squared = (
        np.array([values[y == label].sum() for label in labels]) for values in (weight, weight**2)
    )
    variance = recall * (1 - recall) * total_squared / total**2
    scale = 1 - 1 / len(labels)
    adjusted = (recall.mean() - 1 / len(labels)) / scale
    return float(adjusted), float(np.sqrt(variance.sum()) / len(labels) / scale)


def _log(opinions):
    """Return logarithms; a floor lets the other opinions outvote a probability of 1."""
    floor = 0.01 / opinions.shape[1]
    return np.log((opinions + floor) / 1.01)
