"""Estimate the accuracy on unlabeled rows from outputs that were computed part by part."""

from sklearn.utils import check_consistent_length
from sklearn.utils.validation import check_is_fitted

from ..accuracy_estimation import accuracy_interval, check_shares, warn_if_novel
from ._novelty import NOVEL


class EstimatesAccuracy:
    """Method that estimates an accuracy, of `ErrorModel` and of what has one as `error_model_`."""

    def accuracy_interval(self, error_proba, novelty=None, *, confidence_level=0.95):
        """Estimate the accuracy on unlabeled rows from outputs that were computed part by part.

        Use it if the rows are larger than the memory, or if the workers of a cluster predict them.
        The result is that of `MetaErrorClassifier.estimate_accuracy` on all rows.

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
            NamedTuple ``(accuracy, low, high, novelty)``.

        Raises
        ------
        ValueError
            If there is no row, a value is not between 0 and 1, lengths differ, or
            `confidence_level` is out of range.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_digits
        >>> from sklearn.naive_bayes import GaussianNB
        >>> from metaerr_sklearn import MetaErrorClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        >>> _ = clf.fit(X[:900], y[:900])
        >>> parts = np.array_split(X[900:], 3)
        >>> error_proba = np.concatenate([clf.predict_error_proba(part) for part in parts])
        >>> novelty = np.concatenate([clf.predict_novelty(part) for part in parts])
        >>> estimate = clf.accuracy_interval(error_proba, novelty)
        >>> bool(np.allclose(estimate, clf.estimate_accuracy(X[900:])))
        True
        """
        check_is_fitted(self)
        model = getattr(self, "error_model_", self)
        if model is None:  # with meta_learner=None, no out-of-fold errors are known
            return accuracy_interval(error_proba, confidence_level=confidence_level)
        is_novel = None
        if novelty is not None:
            is_novel = check_shares(novelty, "novelty") > NOVEL
            check_consistent_length(error_proba, is_novel)
            warn_if_novel(is_novel, model.n_novelty_rows)
        return accuracy_interval(
            error_proba,
            model.oof_error_proba_,
            is_novel,
            oof_weight=model._oof_weight,
            learned_share=model._learned_share,
            confidence_level=confidence_level,
        )
