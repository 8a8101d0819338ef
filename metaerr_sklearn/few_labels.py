"""Pool opinions on the class of a row, where labels are few and unlabeled rows many."""

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.base import BaseEstimator
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_consistent_length, check_random_state, gen_batches
from sklearn.utils.validation import check_is_fitted

from ._rows import MAX_FIT_ROWS, row_chunks
from ._validation import check_proba
from .cross_fitting import label_positions, predict_proba
from .meta_features import split_predicted
from .representation import represent

# Neighbours asked for beyond those needed, so that ties are among them.
_SPARE = 10


class NeighborGraph:
    """Nearest-neighbour graph over labeled and unlabeled rows.

    A row is described by its neighbours in the graph, never by itself: the same rule holds for a
    labeled row whose label is hidden, for an unlabeled row and for a row that comes later.

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
        # Without X, a member is not its own neighbour.
        self.neighbors[members] = self._nearest(self.rows_, is_member=True)
        others = np.setdiff1d(np.arange(len(Z)), members)
        if len(others):
            self.neighbors[others] = self.find(Z[others])
        # A step leads to a neighbour, in either direction of the relation.
        directed = _adjacency(self.neighbors[members], len(members))
        mutual = directed.maximum(directed.T).tocsr()
        self._transition = sparse.diags_array(1 / mutual.sum(axis=1)) @ mutual

    def forget_rows(self):
        """Keep only what finding the neighbours of new rows needs."""
        del self.members, self.neighbors, self._transition

    def find(self, Z):
        """Return the neighbours of new rows, positions among the members."""
        return self._nearest(Z)

    def _nearest(self, Z, *, is_member=False):
        """Return neighbours in an order that does not depend on which rows are asked together.

        A search in batches rounds differently in each, which decides between equal distances.
        """
        n_asked = min(self.n_neighbors + _SPARE, len(self.rows_) - is_member)
        asked = None if is_member else Z
        found = np.sort(self.index_.kneighbors(asked, n_asked, return_distance=False), axis=1)
        nearest = np.empty((len(Z), self.n_neighbors), dtype=np.intp)
        for batch in gen_batches(len(Z), 1000):
            distance = ((Z[batch, None] - self.rows_[found[batch]]) ** 2).sum(axis=2)
            order = np.argsort(distance, axis=1, kind="stable")[:, : self.n_neighbors]
            nearest[batch] = np.take_along_axis(found[batch], order, axis=1)
        return nearest

    def spread(self, seeds, labels, n_classes, *, alpha=0.95, n_steps=30):
        """Spread labels over the graph: F <- alpha P F + (1 - alpha) Y.

        Parameters
        ----------
        seeds : ndarray of int
            Members whose labels are shown.
        labels : ndarray of int, shape (n_seeds,)
            Their classes.
        n_classes : int
            Number of classes.
        alpha : float, default=0.95
            Share of a row's value that comes from its neighbours.
        n_steps : int, default=30
            Number of steps.

        Returns
        -------
        spread : ndarray of shape (n_members, n_classes)
        """
        position = np.full(self.members.max() + 1, -1)
        position[self.members] = np.arange(len(self.members))
        # A class with more labels is not nearer to a row for that.
        start = np.zeros((len(self.members), n_classes))
        start[position[seeds], labels] = 1 / np.bincount(labels, minlength=n_classes)[labels]
        value = start
        for _ in range(n_steps):
            value = alpha * (self._transition @ value) + (1 - alpha) * start
        return value

    @staticmethod
    def read(neighbors, spread):
        """Return class probabilities of rows from what was spread to their neighbours.

        A row that nothing has reached has equal probabilities.
        """
        value = _adjacency(neighbors, len(spread)) @ spread
        total = value.sum(axis=1, keepdims=True)
        return np.where(total > 0, value / np.where(total > 0, total, 1), 1 / value.shape[1])


def _adjacency(neighbors, n_members):
    n_samples, n_neighbors = neighbors.shape
    starts = np.arange(0, neighbors.size + 1, n_neighbors)
    parts = (np.ones(neighbors.size), neighbors.ravel(), starts)
    return sparse.csr_array(parts, shape=(n_samples, n_members))


class _SecondOpinions:
    """What others make of the same labels: a forest, a ridge logistic model, the graph."""

    names = ("forest", "logistic", "spread")

    def __init__(self, Z, graph, seeds, truth, n_classes, weight, seed):
        self.classes, self.graph = np.arange(n_classes), graph
        y, self.scale = truth[seeds], _scale(Z)
        self.spread = graph.spread(seeds, y, n_classes)
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
            model.fit(Z[seeds] / self.scale, y, sample_weight=None if weight is None else weight)

    def predict_proba(self, Z, neighbors):
        """Return class probabilities of shape (n_rows, n_classes, n_opinions)."""
        if not len(Z):
            return np.empty((0, len(self.classes), len(self.names)))
        opinions = [predict_proba(model, Z / self.scale, self.classes) for model in self.models]
        return np.stack([*opinions, self.graph.read(neighbors, self.spread)], axis=2)


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

    label_shares_ : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    representation_ : fitted transformer or None
        X as numbers, for forest and logistic model.

    view_ : fitted transformer or None
        X as the base sees it, for the graph; None takes `representation_`.

    skill_ : float
        Accuracy of the full pool on labels it has not seen, rescaled so that 0 is guessing and 1
        is perfect.

    base_skill_ : float
        Mean recall of the classes by the base on labels it has not seen, rescaled so that 0 is
        guessing and 1 is perfect.

    base_skill_error_ : float
        Standard error of `base_skill_`.

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
    _least_skill = 0.25

    def __init__(self, *, n_neighbors=10, n_jobs=None, random_state=None):
        self.n_neighbors = n_neighbors
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X, truth, oof, splits, classes, representation, views=None, sample_weight=None):
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
        labeled, self._unlabeled = np.flatnonzero(truth >= 0), np.flatnonzero(truth < 0)
        weight = np.ones(len(labeled)) if sample_weight is None else sample_weight
        weight = weight / max(weight.mean(), 1e-12)
        n_classes = len(classes)
        self.label_shares_ = np.bincount(truth[labeled], weight, n_classes) / weight.sum()
        tested = oof.fold >= 0
        y = truth[labeled][tested]
        self.error_rate_ = float(np.average(y != oof.predicted[tested], weights=weight[tested]))
        self.base_skill_, self.base_skill_error_ = _skill(y, oof.predicted[tested], weight[tested])
        self.representation_ = representation
        self.view_ = None if views is None or representation is None else views[-1]
        self.opinions_, opinions = ["base"], oof.proba[:, :, None]
        if representation is not None:
            self.opinions_ += _SecondOpinions.names
            others = self._cross_fit(X, truth, labeled, oof.fold, splits, views, weight)
            opinions = np.concatenate([opinions, others], axis=2)
        self._learn(_log(opinions[tested]), y, weight[tested])
        return self

    def _cross_fit(self, X, truth, labeled, fold, splits, views, weight):
        """Return the second opinions on labeled rows; keep those trained on all labels."""
        random_state = check_random_state(self.random_state)
        seed = random_state.randint(np.iinfo(np.int32).max)
        members = self._choose_members(labeled, random_state)
        Z = represent(self.representation_, X)
        all_weight = self._all_weight = np.zeros(len(truth))
        all_weight[labeled] = weight
        opinions = np.zeros((len(labeled), len(self.classes_), len(_SecondOpinions.names)))
        graph = None if views else NeighborGraph(Z, members, self.n_neighbors, self.n_jobs)
        trains = [labeled[train] for train, _ in splits]
        for number, train in enumerate([*trains, labeled]):
            if views:
                view = represent(views[number], X)
                graph = NeighborGraph(view, members, self.n_neighbors, self.n_jobs)
            seeds = self._seeds(train, members, all_weight)
            second = _SecondOpinions(
                Z, graph, seeds, truth, len(self.classes_), all_weight[seeds], seed
            )
            if number < len(splits):
                rows = labeled[fold == number]
                opinions[fold == number] = second.predict_proba(Z[rows], graph.neighbors[rows])
        rows = self._unlabeled
        self._second = second
        self._unlabeled_opinions = second.predict_proba(Z[rows], graph.neighbors[rows])
        return opinions

    @staticmethod
    def _seeds(rows, members, weight):
        """Return the members whose labels are shown: not those of weight 0."""
        seeds = np.intersect1d(rows, members)
        return seeds[weight[seeds] > 0]

    def _choose_members(self, labeled, random_state):
        rows = labeled
        if len(rows) > MAX_FIT_ROWS // 2:
            rows = random_state.choice(rows, MAX_FIT_ROWS // 2, replace=False)
        others, room = self._unlabeled, MAX_FIT_ROWS - len(rows)
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
        self.skill_ = float((accuracy - chance) / (1 - chance))
        if n_opinions > 1 and self.skill_ <= self._least_skill:
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

    def follow(self, X, truth, view):
        """See the neighbours of rows as a base that was trained anew does.

        Parameters
        ----------
        X : any, of length n_samples
            Rows of the fit.

        truth : ndarray of int, shape (n_samples,)
            As in the fit: no pseudo-labels.

        view : fitted transformer
            X as the new base sees it.
        """
        second, members, classes = self._second, self._second.graph.members, self.classes_
        graph = NeighborGraph(represent(view, X), members, self.n_neighbors, self.n_jobs)
        seeds = self._seeds(np.flatnonzero(truth >= 0), members, self._all_weight)
        second.graph, second.spread = graph, graph.spread(seeds, truth[seeds], len(classes))
        neighbors = graph.neighbors[self._unlabeled]
        self._unlabeled_opinions[:, :, -1] = graph.read(neighbors, second.spread)
        self.view_ = view

    def forget_unlabeled(self):
        """Let go of what only `pool_unlabeled` needs; new rows need none of it."""
        del self._unlabeled
        if self.representation_ is not None:
            del self._unlabeled_opinions, self._all_weight
            self._second.graph.forget_rows()

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
                view = Z if self.view_ is None else represent(self.view_, part)
                second = self._second.predict_proba(Z, self._second.graph.find(view))
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
            predicted = np.argmax(proba, axis=1)
        else:
            check_consistent_length(proba, y_pred)
            predicted = label_positions(np.asarray(y_pred), self.classes_)
        return self._predict_error_proba(X, proba, predicted)

    def _predict_error_proba(self, X, proba, predicted):
        return error_of(self.pool(X, proba), predicted)


def error_of(pooled, predicted):
    """Return the probability of all classes but the predicted one."""
    return np.clip(split_predicted(pooled, predicted)[1], 0, 1)


def _skill(y, predicted, weight):
    """Return the mean recall of the classes, rescaled so that 0 is guessing, and its error."""
    labels = np.unique(y[weight > 0])
    if len(labels) < 2:
        return 0.0, 0.0
    recall = recall_score(y, predicted, labels=labels, average=None, sample_weight=weight)
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


def estimate_shares(proba, shares, *, n_steps=5):
    """Estimate the class shares of rows from their class probabilities.

    Rows labeled class by class do not tell how frequent the classes are. Expectation maximisation
    [1]_ climbs to the shares under which the rows are most likely, starting at those of the labels.
    It is stopped after a few steps: where the classes lie apart it has arrived by then, where they
    overlap it has hardly left, and what it would still find are the mistakes of the probabilities.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities that are right for `shares`.

    shares : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    n_steps : int, default=5
        Number of steps; many give the maximum-likelihood estimate.

    Returns
    -------
    estimated : ndarray of shape (n_classes,)
        Sums to 1.

    References
    ----------
    .. [1] Saerens, Latinne, Decaestecker (2002). Adjusting the Outputs of a Classifier to New a
       Priori Probabilities, Neural Computation.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.few_labels import estimate_shares
    >>> proba = np.repeat([[0.9, 0.1], [0.2, 0.8]], [90, 10], axis=0)
    >>> estimate_shares(proba, np.array([0.5, 0.5])).round(2)
    array([0.99, 0.01])
    """
    estimated = shares
    for _ in range(n_steps):
        estimated = with_shares(proba, shares, estimated).mean(axis=0)
    return estimated


def share_reliability(proba, fold_probas, sizes, shares):
    """Tell how far estimated class shares would come out again with other labels (the jackknife).

    Each fold's classifier has learned from other labels than the next. The variance of the shares
    that they estimate, scaled up to that of independent samples [1]_, is set against how far the
    estimate is from the shares of the labels: 1 - variance / distance², as in the estimator of
    James and Stein [2]_.

    Parameters
    ----------
    proba : ndarray of shape (n_samples, n_classes)
        Probabilities of rows from the classifier trained on all labels.

    fold_probas : iterable of ndarray of shape (n_samples, n_classes)
        Probabilities of the same rows from the classifier of each fold.

    sizes : list of (n_train, n_test)
        Labels that each fold's classifier has learned from, and has not.

    shares : ndarray of shape (n_classes,)
        Shares of the classes among the labeled rows.

    Returns
    -------
    reliability : float in [0, 1]
        0 where the estimate is all chance or tells nothing beyond `shares`, 1 where every fold
        finds the same.

    References
    ----------
    .. [1] Shao, Wu (1989). A General Theory for Jackknife Variance Estimation, Annals of
       Statistics.
    .. [2] James, Stein (1961). Estimation with Quadratic Loss, Berkeley Symposium.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.few_labels import share_reliability
    >>> proba = np.repeat([[0.9, 0.1], [0.2, 0.8]], [90, 10], axis=0)
    >>> share_reliability(proba, [proba, proba], [(5, 5), (5, 5)], np.array([0.5, 0.5]))
    1.0
    >>> share_reliability(proba, [proba, 1 - proba], [(5, 5), (5, 5)], np.array([0.5, 0.5]))
    0.0
    """
    estimated = estimate_shares(proba, shares)
    distance = np.sum((estimated - shares) ** 2)
    if distance == 0:
        return 0.0
    variance = np.mean(
        [
            n_train / n_test * np.sum((estimate_shares(fold, shares) - estimated) ** 2)
            for fold, (n_train, n_test) in zip(fold_probas, sizes)
        ]
    )
    return float(max(0.0, 1 - variance / distance))


def with_shares(proba, shares, new_shares):
    """Return probabilities that were right for some class shares made right for others."""
    # A class without a labeled row of positive weight has no probabilities to adapt.
    ratio = np.divide(new_shares, shares, out=np.zeros(len(shares)), where=shares > 0)
    adapted = proba * ratio
    total = adapted.sum(axis=1, keepdims=True)
    return np.where(total > 0, adapted / np.where(total > 0, total, 1), shares)
