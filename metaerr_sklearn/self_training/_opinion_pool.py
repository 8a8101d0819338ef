"""Pool opinions on the class of a row, where labels are few and unlabeled rows many."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._base_estimator.prediction import predict_proba
from .._utils import limits
from .._utils.probabilities import label_positions, proba_of_other_classes
from .._utils.rows import row_chunks
from .._utils.validation import check_proba
from ..representation import represent
from ._label_propagation import NeighborGraph


class _AuxiliaryModels:
    """What others make of the same labels: a forest, a ridge logistic model, the graph."""

    names = ("forest", "logistic", "spread")

    def __init__(self, Z, graph, labeled_nodes, y_encoded, n_classes, weight, seed):
        self.classes, self.graph = np.arange(n_classes), graph
        y, self.scale = y_encoded[labeled_nodes], _scale(Z)
        self.propagated = graph.propagate(labeled_nodes, y, n_classes)
        self.models = [
            # One thread, even if a joblib backend has more: they add up votes in any order.
            ExtraTreesClassifier(
                50, min_samples_leaf=2, bootstrap=True, n_jobs=1, random_state=seed
            ),
            LogisticRegression(C=0.1, max_iter=1000),
        ]
        if len(np.unique(y)) < 2:
            self.models = self.models[:1] * 2  # a logistic model needs two classes
        for model in self.models:
            model.fit(
                Z[labeled_nodes] / self.scale, y, sample_weight=None if weight is None else weight
            )

    def predict_proba(self, Z, neighbors):
        """Return class probabilities of shape (n_rows, n_classes, n_opinions)."""
        if not len(Z):
            return np.empty((0, len(self.classes), len(self.names)))
        opinions = [predict_proba(model, Z / self.scale, self.classes) for model in self.models]
        return np.stack([*opinions, self.graph.neighbor_mean(neighbors, self.propagated)], axis=2)


def _scale(Z):
    """Return one number for all columns: projections keep the proportions of their columns."""
    return max(float(np.sqrt(Z.var(axis=0).mean())), 1e-12)


class OpinionPool(BaseEstimator):
    """Pool several opinions on the class of a row into one, and tell how likely a label is wrong.

    With 20 or 200 labeled rows there are too few errors for a model of errors. What can be learned
    is how far to trust each of a few opinions on the class c of a row x:

    log P(c | x) = sum_k w_k log p_k(c | x) + const (a logarithmic opinion pool [1]_),

    where p_1 is the base's own probability, and the others come from a forest of extremely
    randomised trees, a ridge logistic model, and label propagation over labeled and unlabeled
    rows [2]_. The weights maximise the likelihood of the labeled rows under a firm prior: normal
    around (0.65, 0.35, 0.35, 0.2) with precision 30. If the pool is hardly better than guessing on
    labels that it has not seen, it keeps the base's opinion alone. The error probability of a label
    is 1 - P(label | x).

    While the weights are learned, every opinion on a labeled row comes from models, and from a
    graph, that have not seen its label.

    Parameters
    ----------
    n_neighbors : int, default=10
        Neighbours of a row in the graph.

    n_jobs : int, default=None
        Threads of the neighbour search.

    random_state : int, RandomState instance or None, default=None
        Seed of the forest, and of the rows of the graph where there are more than 20,000.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels of the columns of `proba`, sorted.

    opinions_ : list of str
        Whose opinions are pooled.

    weights_ : ndarray of shape (n_opinions,)
        How far each is trusted.

    class_prior_ : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    representation_ : fitted transformer or None
        X as numbers, for forest and logistic model.

    view_ : fitted transformer or None
        X as the base sees it, for the graph; None takes `representation_`.

    adjusted_accuracy_ : float
        Accuracy of the full pool on labels it has not seen, rescaled so that 0 is guessing and 1
        is perfect.

    base_adjusted_balanced_accuracy_ : float
        Mean recall of the classes by the base on labels it has not seen, rescaled so that 0 is
        guessing and 1 is perfect.

    base_adjusted_balanced_accuracy_error_ : float
        Standard error of `base_adjusted_balanced_accuracy_`.

    error_rate_ : float in [0, 1]
        Share of wrong predictions of the base among the labeled rows.

    References
    ----------
    .. [1] Genest, Zidek (1986). Combining Probability Distributions: A Critique and an Annotated
       Bibliography, Statistical Science.
    .. [2] Zhou, Bousquet, Lal, Weston, Schölkopf (2004). Learning with Local and Global
       Consistency, NeurIPS.
    """

    _prior_weights = (0.65, 0.35, 0.35, 0.2)
    _precision = 30.0
    # Opinions that are hardly better than guessing move labels at random.
    _min_adjusted_accuracy = 0.25

    def __init__(self, *, n_neighbors=10, n_jobs=None, random_state=None):
        self.n_neighbors = n_neighbors
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self,
        X,
        y_encoded,
        oof,
        splits,
        classes,
        representation,
        embeddings=None,
        sample_weight=None,
    ):
        """Learn how far to trust each opinion.

        Parameters
        ----------
        X : any, of length n_samples
            Labeled and unlabeled rows.

        truth : ndarray of int, shape (n_samples,)
            Position of the class, -1 where unlabeled.

        oof : BasePredictions
            Out-of-fold predictions of the labeled rows, in the order of X.

        splits : list of (train, test)
            The folds of `oof`, positions among the labeled rows.

        classes : ndarray of shape (n_classes,)
            Sorted labels.

        representation : fitted transformer or None
            X as numbers. None leaves the base's opinion alone.

        views : list of fitted transformers, length n_folds + 1, default=None
            X as the base of each fold, and the one trained on all labels, sees it: what the graph
            is built on. None takes `representation`.

        sample_weight : ndarray of shape (n_labeled,), default=None
            Weights of the labeled rows.

        Returns
        -------
        self : object
        """
        self.classes_ = classes
        labeled, self._unlabeled = np.flatnonzero(y_encoded >= 0), np.flatnonzero(y_encoded < 0)
        weight = np.ones(len(labeled)) if sample_weight is None else sample_weight
        weight = weight / max(weight.mean(), 1e-12)
        n_classes = len(classes)
        self.class_prior_ = np.bincount(y_encoded[labeled], weight, n_classes) / weight.sum()
        tested = oof.fold >= 0
        y = y_encoded[labeled][tested]
        self.error_rate_ = float(np.average(y != oof.pred_encoded[tested], weights=weight[tested]))
        self.base_adjusted_balanced_accuracy_, self.base_adjusted_balanced_accuracy_error_ = _skill(
            y, oof.pred_encoded[tested], weight[tested]
        )
        self.representation_ = representation
        self.embedding_ = None if embeddings is None or representation is None else embeddings[-1]
        self.opinions_, opinions = ["base"], oof.proba[:, :, None]
        if representation is not None:
            self.opinions_ += _AuxiliaryModels.names
            others = self._cross_fit(X, y_encoded, labeled, oof.fold, splits, embeddings, weight)
            opinions = np.concatenate([opinions, others], axis=2)
        self._learn(_log(opinions[tested]), y, weight[tested])
        return self

    def _cross_fit(self, X, y_encoded, labeled, fold, splits, embeddings, weight):
        """Return the second opinions on labeled rows; keep those trained on all labels."""
        random_state = check_random_state(self.random_state)
        seed = random_state.randint(np.iinfo(np.int32).max)
        members = self._choose_members(labeled, random_state)
        Z = represent(self.representation_, X)
        all_weight = self._all_weight = np.zeros(len(y_encoded))
        all_weight[labeled] = weight
        opinions = np.zeros((len(labeled), len(self.classes_), len(_AuxiliaryModels.names)))
        graph = None if embeddings else NeighborGraph(Z, members, self.n_neighbors, self.n_jobs)
        trains = [labeled[train] for train, _ in splits]
        for number, train in enumerate([*trains, labeled]):
            if embeddings:
                embedding = represent(embeddings[number], X)
                graph = NeighborGraph(embedding, members, self.n_neighbors, self.n_jobs)
            labeled_nodes = self._labeled_nodes(train, members, all_weight)
            second = _AuxiliaryModels(
                Z,
                graph,
                labeled_nodes,
                y_encoded,
                len(self.classes_),
                all_weight[labeled_nodes],
                seed,
            )
            if number < len(splits):
                rows = labeled[fold == number]
                opinions[fold == number] = second.predict_proba(Z[rows], graph.neighbors[rows])
        rows = self._unlabeled
        self._second = second
        self._unlabeled_opinions = second.predict_proba(Z[rows], graph.neighbors[rows])
        return opinions

    @staticmethod
    def _labeled_nodes(rows, members, weight):
        """Return the members whose labels are shown: not those of weight 0."""
        labeled_nodes = np.intersect1d(rows, members)
        return labeled_nodes[weight[labeled_nodes] > 0]

    def _choose_members(self, labeled, random_state):
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
            surprise = np.einsum("nc,nck->nk", proba, used_opinions) - used_opinions[rows, y]
            pull = self._precision * (w - prior[used])
            value = weight @ (log_total - scores[rows, y]) + 0.5 * pull @ (w - prior[used])
            return value, weight @ surprise + pull

        weights = np.zeros(len(prior))
        weights[used] = minimize(loss, prior[used], jac=True, method="L-BFGS-B").x
        return weights

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
        opinions = proba[:, :, None]
        if self.representation_ is not None:
            second = self._unlabeled_opinions
            opinions = np.concatenate([opinions, second if rows is None else second[rows]], axis=2)
        return softmax(_log(opinions) @ self.weights_, axis=1)

    def update_graph(self, X, y_encoded, embedding):
        """See the neighbours of rows as a base that was trained anew does.

        Parameters
        ----------
        X : any, of length n_samples
            Rows of the fit.

        truth : ndarray of int, shape (n_samples,)
            As in the fit: no pseudo-labels.

        embedding : fitted transformer
            X as the new base sees it.
        """
        second, members, classes = self._second, self._second.graph.members, self.classes_
        graph = NeighborGraph(represent(embedding, X), members, self.n_neighbors, self.n_jobs)
        labeled_nodes = self._labeled_nodes(
            np.flatnonzero(y_encoded >= 0), members, self._all_weight
        )
        second.graph, second.propagated = (
            graph,
            graph.propagate(labeled_nodes, y_encoded[labeled_nodes], len(classes)),
        )
        neighbors = graph.neighbors[self._unlabeled]
        self._unlabeled_opinions[:, :, -1] = graph.neighbor_mean(neighbors, second.propagated)
        self.embedding_ = embedding

    def drop_training_state(self):
        """Let go of what only `pool_unlabeled` needs; new rows need none of it."""
        del self._unlabeled
        if self.representation_ is not None:
            del self._unlabeled_opinions, self._all_weight
            self._second.graph.drop_training_state()

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
        proba = check_proba(proba, n_classes=len(self.classes_))
        check_consistent_length(X, proba)
        pooled = np.empty(proba.shape)
        for batch, part in row_chunks(X):
            opinions = proba[batch][:, :, None]
            if self.representation_ is not None:
                Z = represent(self.representation_, part)
                embedding = Z if self.embedding_ is None else represent(self.embedding_, part)
                second = self._second.predict_proba(Z, self._second.graph.find(embedding))
                opinions = np.concatenate([opinions, second], axis=2)
            pooled[batch] = softmax(_log(opinions) @ self.weights_, axis=1)
        return pooled

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
        return self._predict_error_proba(X, proba, pred_encoded)

    def _predict_error_proba(self, X, proba, pred_encoded):
        return proba_of_other_classes(self.pool(X, proba), pred_encoded)


def _skill(y, pred_encoded, weight):
    """Return the mean recall of the classes, rescaled so that 0 is guessing, and its error."""
    labels = np.unique(y[weight > 0])
    if len(labels) < 2:
        return 0.0, 0.0
    recall = recall_score(y, pred_encoded, labels=labels, average=None, sample_weight=weight)
    total, total_squared = (
        np.array([values[y == label].sum() for label in labels]) for values in (weight, weight**2)
    )
    variance = recall * (1 - recall) * total_squared / total**2
    scale = 1 - 1 / len(labels)
    skill = (recall.mean() - 1 / len(labels)) / scale
    return float(skill), float(np.sqrt(variance.sum()) / len(labels) / scale)


def _log(opinions):
    """Return logarithms; no opinion is so sure of itself that it cannot be outvoted."""
    floor = 0.01 / opinions.shape[1]
    return np.log((opinions + floor) / 1.01)
