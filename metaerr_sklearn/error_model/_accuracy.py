"""Estimate the accuracy on unlabeled rows from outputs that were computed part by part."""

from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from ..accuracy_estimation import accuracy_interval, check_shares, warn_if_novel
from ._novelty import NOVEL


class EstimatesAccuracy:
    """Method of a fitted `ErrorModel` that estimates an accuracy.

    It reads `oof_error_proba_`, `n_novelty_rows`, `_oof_weight` and `_learned_share`.
    """

    def accuracy_interval(self, error_proba, novelty=None, *, confidence_level=0.95):
        """Estimate the accuracy on unlabeled rows from their error probabilities.

        Use it if the outputs for the rows were computed part by part, for example by the workers of
        a cluster, and then joined.

        Parameters
        ----------
        error_proba : array-like of shape (n_samples,)
            Outputs of `predict_error_proba` for all rows, in any order.

        novelty : array-like of shape (n_samples,), default=None
            Outputs of `predict_novelty` for the same rows. If None, the novelty of the estimate is
            NaN, and there is no warning about rows that are unlike the training rows.

        confidence_level : float in (0, 1), default=0.95
            Probability of the interval.

        Returns
        -------
        estimate : AccuracyEstimate
            NamedTuple ``(accuracy, low, high, novelty)``; see
            `MetaErrorClassifier.estimate_accuracy`.

        Raises
        ------
        ValueError
            If there is no row, a value is not in [0, 1], or lengths differ.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import ErrorModel
        >>> X, y = load_digits(return_X_y=True)
        >>> proba = GaussianNB().fit(X[:500], y[:500]).predict_proba(X)  # or from an API
        >>> model = ErrorModel("logistic", random_state=0)
        >>> _ = model.fit(X[500:900], y[500:900], proba[500:900])
        >>> parts = np.array_split(np.arange(900, len(X)), 3)
        >>> error_proba = [model.predict_error_proba(X[part], proba[part]) for part in parts]
        >>> novelty = [model.predict_novelty(X[part]) for part in parts]
        >>> estimate = model.accuracy_interval(np.concatenate(error_proba), np.concatenate(novelty))
        >>> is_right = proba[900:].argmax(axis=1) == y[900:]
        >>> bool(estimate.low <= is_right.mean() <= estimate.high)
        True
        """
        check_is_fitted(self)
        is_novel = None
        if novelty is not None:
            is_novel = check_shares(novelty, "novelty") > NOVEL
            check_consistent_length(error_proba, is_novel)
            warn_if_novel(is_novel, self.n_novelty_rows)
        return accuracy_interval(
            error_proba,
            self.oof_error_proba_,
            is_novel,
            oof_weight=self._oof_weight,
            learned_share=self._learned_share,
            confidence_level=confidence_level,
        )
