"""Base classifiers that record what is done to them, and targets in which labels are missing."""

import numpy as np
from sklearn.naive_bayes import GaussianNB


class SpiedBayes(GaussianNB):
    """Gaussian naive Bayes that records the rows of each fit and of each pass over X.

    The records are shared by all clones. Call `reset` before the part that is measured.
    """

    fits = []  # noqa: RUF012 (one list for all clones)
    passes = []  # noqa: RUF012

    @classmethod
    def reset(cls):
        cls.fits.clear()
        cls.passes.clear()

    def fit(self, X, y, sample_weight=None):
        self.fits.append(len(X))
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        self.passes.append(len(X))
        return super().predict(X)

    def predict_proba(self, X):
        self.passes.append(len(X))
        return super().predict_proba(X)


def partly_labeled(y, n_labeled, unlabeled=-1):
    """Return y with the labels of the first `n_labeled` rows only."""
    return np.where(np.arange(len(y)) < n_labeled, y, unlabeled)
