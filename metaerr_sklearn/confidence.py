"""Confidence scores that need no meta-learner. Higher always means more trusted."""

import numpy as np
from scipy.special import entr
from sklearn.base import BaseEstimator
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.utils import check_consistent_length, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ._utils.in_memory import check_in_memory
from ._utils.label_checks import check_is_error, check_predicted_labels
from ._utils.output_checks import check_proba
from ._utils.parameter_checks import check_fraction
from ._utils.probabilities import label_positions

__all__ = [
    "NeighborAgreement",
    "RelativeUncertainty",
    "TrustScore",
    "doctor",
    "generalized_entropy",
    "margin",
    "max_probability",
    "negative_entropy",
]


def max_probability(proba, *, log_odds=False):
    """Return the largest class probability, the MSP baseline.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.

    log_odds : bool, default=False
        Return ``log(p1 / (1 - p1))`` instead. The order is the same, but rows whose `p1` rounds to
        1 are not tied, because ``1 - p1`` is computed as the sum of the other probabilities. Up to
        the logarithm this is DOCTOR's second score, D_beta [2]_.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Higher means more trusted. In [1 / n_classes, 1]; log-odds in
        [-log(n_classes - 1), inf).

    Raises
    ------
    ValueError
        If a row is not a probability distribution.

    See Also
    --------
    margin, negative_entropy, doctor, generalized_entropy :
        With two classes all five rank the samples identically.

    References
    ----------
    .. [1] Hendrycks, Gimpel (2017). A Baseline for Detecting Misclassified and
       Out-of-Distribution Examples in Neural Networks. ICLR.
    .. [2] Granese, Romanelli, Gorla, Palamidessi, Piantanida (2021). DOCTOR: A Simple Method
       for Detecting Misclassification Errors. NeurIPS.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import max_probability
    >>> max_probability([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]])
    array([0.7, 0.4])
    >>> max_probability([[1.0, 1e-20], [1.0, 1e-30]], log_odds=True).round()
    array([46., 69.])
    """
    top, others = _split_top(proba)
    if not log_odds:
        return top
    tiny = np.finfo(np.float64).tiny
    return np.log(top) - np.log(np.maximum(others.sum(axis=1), tiny))


def margin(proba):
    """Return the largest class probability minus the second largest.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities. With a single class the margin is 1.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        ``p1 - p2`` in [0, 1]. Higher means more trusted. With two classes the order is the same
        as that of `max_probability`.

    Raises
    ------
    ValueError
        If a row is not a probability distribution.

    References
    ----------
    .. [1] Scheffer, Decomain, Wrobel (2001). Active Hidden Markov Models for Information
       Extraction. IDA.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import margin
    >>> margin([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]).round(3)
    array([0.5, 0.1])
    """
    top, others = _split_top(proba)
    return top - others.max(axis=1)


def negative_entropy(proba):
    """Return the negative Shannon entropy of the class probabilities.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        ``sum_k p_k log(p_k)``, in nats, in [-log(n_classes), 0]. Higher means more trusted.
        With two classes the order is the same as that of `max_probability`.

    Raises
    ------
    ValueError
        If a row is not a probability distribution.

    References
    ----------
    .. [1] Shannon (1948). A Mathematical Theory of Communication. Bell System Technical
       Journal.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import negative_entropy
    >>> negative_entropy([[0.5, 0.5], [0.9, 0.1]]).round(4)
    array([-0.6931, -0.3251])
    """
    top, others = _split_top(proba)
    # If p1 is near 1, 1 - p1 is more precise as the sum of the others. If p1 is small, that sum may
    # round to more than 1.
    rest = np.where(top > 0.5, others.sum(axis=1), 1 - top)
    return (1 - rest) * np.log1p(-rest) - entr(others).sum(axis=1)


def doctor(proba):
    r"""Return the negative of DOCTOR's score D_alpha, so that higher means more trusted.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Higher means more trusted. :math:`-D_\alpha = -(1 - g) / g` with
        :math:`g = \sum_k p_k^2`, in [-(n_classes - 1), 0]. With two classes the order is the
        same as that of `max_probability`.

    Raises
    ------
    ValueError
        If a row is not a probability distribution.

    References
    ----------
    .. [1] Granese, Romanelli, Gorla, Palamidessi, Piantanida (2021). DOCTOR: A Simple Method
       for Detecting Misclassification Errors. NeurIPS.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import doctor
    >>> doctor([[0.5, 0.5], [0.9, 0.1]]).round(4)
    array([-1.    , -0.2195])
    """
    top, others = _split_top(proba)
    # 1 - g is computed as the sum of p_k (1 - p_k), because the difference rounds to 0 near g = 1.
    gini = top * others.sum(axis=1) + (others * (1 - others)).sum(axis=1)
    return -gini / (top**2 + (others**2).sum(axis=1))


def generalized_entropy(proba, *, gamma=0.1, top_m=None):
    r"""Return GEN, the negative generalized entropy of the class probabilities.

    A small `gamma` makes the score sensitive to small departures from a one-hot prediction.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Class probabilities.

    gamma : float in (0, 1), default=0.1
        Exponent of each factor.

    top_m : int, default=None
        Number of largest probabilities to sum over; None takes all classes. The paper takes 100
        of 1,000 classes.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Higher means more trusted. :math:`-\sum_{k \le M} p_{(k)}^\gamma (1 - p_{(k)})^\gamma`
        over the `M` largest probabilities, in [-M / 4**gamma, 0]. With two classes the order is
        the same as that of `max_probability`.

    Raises
    ------
    ValueError
        If a row is not a probability distribution, `gamma` is not in (0, 1), or `top_m` is less
        than 1.

    References
    ----------
    .. [1] Liu, Lochman, Zach (2023). GEN: Pushing the Limits of Softmax-Based
       Out-of-Distribution Detection. CVPR.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import generalized_entropy
    >>> generalized_entropy([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]).round(4)
    array([-2.4741, -2.578 ])
    """
    check_fraction(gamma, "gamma", closed="neither")
    if top_m is not None:
        check_scalar(top_m, "top_m", target_type=(int, np.integer), min_val=1)
    top, others = _split_top(proba)
    top_term = (top * others.sum(axis=1)) ** gamma
    if top_m is not None and top_m < others.shape[1]:
        # The largest probability is set to 0 in `others`, so m - 1 others are left to sum over.
        others = np.sort(others, axis=1)[:, others.shape[1] - (top_m - 1) :]
    return -(top_term + ((others * (1 - others)) ** gamma).sum(axis=1))


class _NeighborScore(BaseEstimator):
    """Checks and tags of the scores that search neighbors; with the parameter `n_neighbors`."""

    def _check_fit(self, X, y):
        check_scalar(self.n_neighbors, "n_neighbors", (int, np.integer), min_val=1)
        check_in_memory(X)
        check_in_memory(y, "y")
        return validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], ensure_min_samples=2
        )

    def _check_rows(self, X):
        """Return the rows to score; None stands for the training rows."""
        check_is_fitted(self)
        if X is None:
            return None
        check_in_memory(X)
        return validate_data(
            self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.required = True
        return tags


class TrustScore(_NeighborScore):
    """Compare the distances to the predicted class and to the nearest other class.

    The score of a row is the distance to the nearest training row of any other class, divided
    by the distance to the nearest training row of the predicted class. If it is above 1, a
    nearest-neighbor classifier agrees with the prediction.

    Parameters
    ----------
    n_neighbors : int, default=10
        Number of neighbors that measure the density around a training row, the row itself
        included. Only used if `alpha` is positive; at most the number of rows in the class.

    alpha : float in [0, 1), default=0.0
        Share of each class that is dropped before distances are measured. The rows with the
        largest distance to their `n_neighbors`-th neighbor are dropped.

    n_jobs : int, default=None
        Parallel jobs of the neighbor search.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Feature names seen during `fit`, if all are strings.

    References
    ----------
    .. [1] Jiang, Kim, Guan, Gupta (2018). To Trust Or Not To Trust A Classifier. NeurIPS.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import TrustScore
    >>> trust = TrustScore().fit([[0.0], [1.0], [4.0]], ["a", "a", "b"])
    >>> trust.score_samples([[2.0], [2.0]], ["a", "b"])
    array([2. , 0.5])
    """

    def __init__(self, n_neighbors=10, *, alpha=0.0, n_jobs=None):
        self.n_neighbors = n_neighbors
        self.alpha = alpha
        self.n_jobs = n_jobs

    def fit(self, X, y):
        """Index the training rows of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, in units that make distances meaningful.

        y : array-like of shape (n_samples,)
            True labels, of any kind, at least two different ones.

        Returns
        -------
        self : TrustScore
            Fitted scorer.

        Raises
        ------
        ValueError
            If y has a single label, lengths differ, X has NaN or infinite values, or a parameter is
            out of range.
        """
        check_scalar(
            self.alpha, "alpha", (float, int), min_val=0, max_val=1, include_boundaries="left"
        )
        X, y = self._check_fit(X, y)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"TrustScore compares classes: y must hold at least two labels, got only "
                f"{self.classes_.tolist()}. Fit it on rows of all classes."
            )
        self._X = X
        self._rows = [self._dense_rows(X, np.flatnonzero(y == c)) for c in self.classes_]
        self._indexes = [
            NearestNeighbors(n_neighbors=1, n_jobs=self.n_jobs).fit(X[rows]) for rows in self._rows
        ]
        return self

    def score_samples(self, X, y_pred=None):
        """Score how well the predicted labels fit the training rows nearby.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or None
            Rows to score. None scores the training rows, each without itself as a neighbor.

        y_pred : array-like of shape (n_samples,), default=None
            Label predicted for each row. None takes the nearest class.

        Returns
        -------
        confidence : ndarray of shape (n_samples,)
            Finite and non-negative, higher means more trusted: 1 if both distances are equal, 0
            for a label that was not in `y` of `fit`.

        Raises
        ------
        ValueError
            If X has other columns than in `fit`, or NaN or infinite values, or if `y_pred` lacks a
            label or has another length or type.
        """
        distances = self._distance_to_classes(self._check_rows(X))
        if y_pred is None:
            pred_encoded = distances.argmin(axis=1)
        else:
            pred_encoded = _pred_encoded(y_pred, self.classes_, len(distances))
        row = np.flatnonzero(pred_encoded >= 0)
        to_predicted = np.full(len(distances), np.inf)
        to_predicted[row] = distances[row, pred_encoded[row]]
        distances[row, pred_encoded[row]] = np.inf
        # A row at distance 0 from both classes has score 1. Rows at distance 0 from the predicted
        # class only are ordered by their distance to the others.
        tiny = 1e-12
        trust = (distances.min(axis=1) + tiny) / (to_predicted + tiny)
        return np.nan_to_num(trust, posinf=np.finfo(trust.dtype).max)

    def _dense_rows(self, X, rows):
        if self.alpha == 0:
            return rows
        index = NearestNeighbors(n_neighbors=min(self.n_neighbors, len(rows)), n_jobs=self.n_jobs)
        radius = index.fit(X[rows]).kneighbors(X[rows])[0][:, -1]
        largest_kept = np.sort(radius)[len(rows) - 1 - int(self.alpha * len(rows))]
        return rows[radius <= largest_kept]

    def _distance_to_classes(self, X):
        n_samples = (self._X if X is None else X).shape[0]
        distances = np.empty((n_samples, len(self.classes_)))
        for column, (rows, index) in enumerate(zip(self._rows, self._indexes)):
            if X is not None:
                distances[:, column] = index.kneighbors(X)[0][:, 0]
                continue
            is_other = np.ones(n_samples, dtype=bool)
            is_other[rows] = False
            distances[is_other, column] = index.kneighbors(self._X[is_other])[0][:, 0]
            distances[rows, column] = index.kneighbors()[0][:, 0] if len(rows) > 1 else np.inf
        return distances


class NeighborAgreement(_NeighborScore):
    """Compute the share of the nearest training rows that have the predicted label.

    Parameters
    ----------
    n_neighbors : int, default=10
        Number of neighbors; at most the number of training rows minus one.

    weights : {"uniform", "distance"} or callable, default="uniform"
        Weight of each neighbor, as in :class:`sklearn.neighbors.KNeighborsClassifier`.

    n_jobs : int, default=None
        Parallel jobs of the neighbor search.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Feature names seen during `fit`, if all are strings.

    References
    ----------
    .. [1] Papernot, McDaniel (2018). Deep k-Nearest Neighbors: Towards Confident,
       Interpretable and Robust Deep Learning. arXiv:1803.04765.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import NeighborAgreement
    >>> agreement = NeighborAgreement(n_neighbors=2).fit([[0.0], [2.0], [9.0]], ["a", "b", "b"])
    >>> agreement.score_samples([[0.5], [8.0]], ["a", "b"])
    array([0.5, 1. ])
    """

    def __init__(self, n_neighbors=10, *, weights="uniform", n_jobs=None):
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.n_jobs = n_jobs

    def fit(self, X, y):
        """Index the training rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training rows, at least two, in units that make distances meaningful.

        y : array-like of shape (n_samples,)
            True labels, of any kind.

        Returns
        -------
        self : NeighborAgreement
            Fitted scorer.

        Raises
        ------
        ValueError
            If there are fewer than two rows, lengths differ, X has NaN or infinite values, or
            `n_neighbors` is less than 1.
        """
        X, y = self._check_fit(X, y)
        self._neighbors = KNeighborsClassifier(
            min(self.n_neighbors, X.shape[0] - 1), weights=self.weights, n_jobs=self.n_jobs
        ).fit(X, y)
        self.classes_ = self._neighbors.classes_
        return self

    def score_samples(self, X, y_pred=None):
        """Score how many of the nearest training rows have the predicted label.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features) or None
            Rows to score. None scores the training rows, each without itself as a neighbor.

        y_pred : array-like of shape (n_samples,), default=None
            Label predicted for each row. None takes the most frequent label nearby.

        Returns
        -------
        confidence : ndarray of shape (n_samples,)
            Weighted share in [0, 1], higher means more trusted; 0 for a label that was not in `y`
            of `fit`.

        Raises
        ------
        ValueError
            If X has other columns than in `fit`, or NaN or infinite values, or if `y_pred` lacks a
            label or has another length or type.
        """
        share = self._neighbors.predict_proba(self._check_rows(X))
        if y_pred is None:
            return share.max(axis=1)
        pred_encoded = _pred_encoded(y_pred, self.classes_, len(share))
        return np.where(pred_encoded >= 0, share[np.arange(len(share)), pred_encoded], 0.0)


class RelativeUncertainty(BaseEstimator):
    r"""Learn which pairs of classes share probability when the prediction is wrong (Rel-U).

    The uncertainty of probabilities `p` is :math:`p^T D p`. The matrix `D` maximises the weighted
    difference of mean uncertainty between wrong and right predictions, in closed form:

    .. math::
        D_{ij} \propto \max(0,\; \lambda \, E[p_i p_j \mid wrong] -
        (1 - \lambda) \, E[p_i p_j \mid right]), \quad D_{ii} = 0, \quad \|D\|_F = 1.

    If that is 0 everywhere, for example without a wrong row, all pairs count equally, and the
    order is the same as that of `doctor`. With two classes there is one pair, and the order is
    always the same as that of `max_probability`.

    Parameters
    ----------
    error_weight : float in (0, 1), default=0.5
        Weight of the wrong rows against the right rows, lambda in the paper.

    Attributes
    ----------
    matrix_ : ndarray of shape (n_classes, n_classes)
        The matrix `D`: symmetric, non-negative, 0 on its diagonal, of Frobenius norm 1. With a
        single class it is 0.

    n_features_in_ : int
        Number of classes.

    References
    ----------
    .. [1] Dadalto, Romanelli, Pichler, Piantanida (2024). A Data-Driven Measure of Relative
       Uncertainty for Misclassification Detection. ICLR.

    Examples
    --------
    >>> from metaerr_sklearn.confidence import RelativeUncertainty
    >>> proba = [[0.6, 0.4, 0.0], [0.5, 0.5, 0.0], [0.7, 0.0, 0.3]]
    >>> scorer = RelativeUncertainty().fit(proba, [True, True, False])
    >>> scorer.score_samples([[0.6, 0.4, 0.0], [0.6, 0.0, 0.4]]).round(3)
    array([-0.339, -0.   ])
    """

    def __init__(self, error_weight=0.5):
        self.error_weight = error_weight

    def fit(self, proba, is_error):
        """Learn the matrix from rows on which the base classifier was not trained.

        Parameters
        ----------
        proba : array-like of shape (n_samples, n_classes)
            Class probabilities.

        is_error : array-like of bool, shape (n_samples,)
            True where the predicted label is wrong.

        Returns
        -------
        self : RelativeUncertainty
            Fitted scorer.

        Raises
        ------
        ValueError
            If a row is not a probability distribution, `is_error` is not boolean, lengths differ,
            or `error_weight` is out of range.
        """
        check_fraction(self.error_weight, "error_weight", closed="neither")
        proba = check_proba(proba).astype(np.float64)
        is_error = check_is_error(is_error)
        check_consistent_length(proba, is_error)
        self.n_features_in_ = proba.shape[1]
        matrix = self.error_weight * _mean_product(proba[is_error])
        matrix -= (1 - self.error_weight) * _mean_product(proba[~is_error])
        np.fill_diagonal(matrix, 0)
        matrix = np.maximum(matrix, 0)
        if not matrix.any():
            matrix = 1 - np.eye(self.n_features_in_)
        self.matrix_ = matrix / max(np.linalg.norm(matrix), np.finfo(np.float64).tiny)
        return self

    def score_samples(self, proba):
        """Score class probabilities by their negative relative uncertainty.

        Parameters
        ----------
        proba : array-like of shape (n_samples, n_classes)
            Class probabilities, columns as in `fit`.

        Returns
        -------
        confidence : ndarray of shape (n_samples,)
            :math:`-p^T D p` in [-1, 0], higher means more trusted.

        Raises
        ------
        ValueError
            If a row is not a probability distribution, or there are more or fewer columns than in
            `fit`.
        """
        check_is_fitted(self)
        proba = check_proba(proba, n_classes=self.n_features_in_).astype(np.float64)
        return -np.einsum("ij,ij->i", proba @ self.matrix_, proba)


def _split_top(proba):
    """Return the largest probability of each row, and the row with that entry set to 0.

    The scores use the sum of the other entries in place of ``1 - p1``. If `p1` rounds to 1, the
    difference loses the order that the small probabilities still have.
    """
    others = np.clip(check_proba(proba).astype(np.float64), 0, 1)
    row, column = np.arange(len(others)), others.argmax(axis=1)
    top = others[row, column]
    others[row, column] = 0
    return top, others


def _pred_encoded(y_pred, classes, n_samples):
    """Return the position of each predicted label in the sorted classes, -1 for unknown ones."""
    y_pred = check_predicted_labels(y_pred, classes)
    if len(y_pred) != n_samples:
        raise ValueError(
            f"y_pred must have one label per row, got {len(y_pred)} labels for {n_samples} rows."
        )
    return label_positions(y_pred, classes)


def _mean_product(proba):
    """Return the mean of p_i p_j over the rows, shape (n_classes, n_classes)."""
    return proba.T @ proba / max(len(proba), 1)
