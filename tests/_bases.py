"""Base classifiers that record what is done to them, partly labeled targets, smaller models."""

import numpy as np
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn._utils.lightgbm import BoostedTrees
from metaerr_sklearn.meta_features._second_opinion import SecondOpinionBlock
from metaerr_sklearn.self_training._opinion_pool import _AuxiliaryModels


def grow_few_trees(set_attribute=setattr):
    """Let the models beside the base grow few trees: not as good, but quick."""
    set_attribute(SecondOpinionBlock, "n_estimators", 12)
    set_attribute(BoostedTrees, "n_rounds", 6)
    set_attribute(_AuxiliaryModels, "n_trees", 8)


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


class StaysAtMajority(GaussianNB):
    """Gaussian naive Bayes whose training fails: it predicts the most frequent class for every row.

    Parameters
    ----------
    without : float
        A fit without this value in the first column fails. Each fold whose training part lacks the
        row fails, with any seed.
    failing : tuple of int
        Fits that fail in any case, numbered from 1 after `reset`.
    random_state : int, default=None
        Not used: the second training of a fold sets it.
    """

    seeds = []  # noqa: RUF012 (one list for all clones)

    def __init__(self, without=None, failing=(), random_state=None):
        super().__init__()
        self.without = without
        self.failing = failing
        self.random_state = random_state

    @classmethod
    def reset(cls):
        cls.seeds.clear()

    def fit(self, X, y, sample_weight=None):
        self.seeds.append(self.random_state)
        super().fit(X, y, sample_weight)
        lacks_row = self.without is not None and self.without not in X[:, 0]
        if lacks_row or len(self.seeds) in self.failing:
            self.theta_[:], self.var_[:] = 0, 1
        return self


def partly_labeled(y, n_labeled, unlabeled=-1):
    """Return y with the labels of the first `n_labeled` rows only."""
    return np.where(np.arange(len(y)) < n_labeled, y, unlabeled)


class FirstColumn(GaussianNB):
    """Use the first column of X alone."""

    def fit(self, X, y):
        return super().fit(X[:, :1], y)

    def predict_proba(self, X):
        return super().predict_proba(X[:, :1])

    def predict(self, X):
        return super().predict(X[:, :1])
