"""Describe a prediction by other models of the labels."""

import warnings
from functools import partial

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier

from .._utils import limits
from .._utils.lightgbm import BoostedTrees
from .._utils.probabilities import soft_clipped_logit, split_predicted
from .._utils.threads import run_in_threads
from ..model_selection._splitting import make_splits
from ._rows import _take


class SecondOpinionBlock:
    """Describe a prediction by what other models of the labels think of it.

    Up to 5,000 rows they are a forest of extremely randomised trees and small boosted trees, whose
    probabilities are averaged, or the boosted trees alone, where their log-loss on rows that they
    have not seen is lower. Beyond, they are larger boosted trees. With fewer than 200 rows, or more
    than 10 classes, of which each needs its own boosted trees, the forest is alone; also on up to
    5,000 rows of principal components of images, where boosted trees cost most and add nothing, and
    where half as many trees of the forest know as much.

    What the forest thinks of training rows comes from the trees that have not drawn them
    (out-of-bag), what the boosted trees think from those of other folds. Where rows belong together
    (`folds`) both come from other folds: a tree that has not drawn a row may have drawn its copy.
    """

    n_estimators = 200
    many_rows = limits.MANY_ROWS
    few_rows = 200
    many_classes = 10

    def __init__(self, n_jobs=None, of_images=False):
        self.n_jobs = n_jobs
        self.of_images = of_images

    def fit_transform(self, rows, seed):
        """Fit the models on the labels and describe each training row by those without it."""
        self.names_ = [
            "second_logit",
            "second_proba",
            "second_logit_best_other",
            "second_logit_difference",
            "second_disagrees",
        ]
        self.n_classes_ = rows.proba.shape[1]
        y = rows.y[rows.reference_rows()]
        boosts = len(y) >= self.few_rows and len(np.unique(y)) <= self.many_classes
        boosts = boosts and not (self.of_images and len(y) <= self.many_rows)
        fits = []
        if not boosts or len(y) <= self.many_rows:
            fits.append(self._fit_forest)
        if boosts:
            fits.append(self._fit_boosting)
        models, opinions = zip(*(fit(rows, seed) for fit in fits))
        opinion = np.mean(opinions, axis=0)
        if _log_loss(rows, opinions[-1]) < _log_loss(rows, opinion):
            models, opinion = models[-1:], opinions[-1]
        self._models = models
        return self._describe(rows, opinion)

    def transform(self, rows):
        """Describe new rows by the models of all training rows."""
        return self._describe(rows, np.mean([self._predict(m, rows) for m in self._models], axis=0))

    def _fit_boosting(self, rows, seed):
        """Return boosted trees, and cross-fitted probabilities of the training rows."""

        def fit(part):
            weight = None if rows.sample_weight is None else rows.sample_weight[part]
            return BoostedTrees(rows.representation[part], rows.y[part], weight, many, seed=seed)

        def fit_and_predict(train, test):
            return self._predict(fit(np.intersect1d(chosen, train)), _take(rows, test))

        chosen = rows.reference_rows()
        many = len(chosen) > self.many_rows
        # Of many rows two thirds tell nearly as much as all.
        folds = rows.folds or make_splits(3 if many else 5, None, rows.y, seed=seed, warn=False)
        of_folds = (partial(fit_and_predict, *fold) for fold in folds)
        trees, *parts = run_in_threads(self.n_jobs, [partial(fit, chosen), *of_folds])
        proba = np.empty((len(rows.y), self.n_classes_))
        for part, (_, test) in zip(parts, folds):
            proba[test] = part
        return trees, proba

    def _fit_forest(self, rows, seed):
        """Return a forest, and honest probabilities of the training rows."""
        chosen = rows.reference_rows()
        out_of_bag = rows.folds is None
        forest = self._grow_forest(rows, chosen, seed, oob_score=out_of_bag)
        proba = np.empty((len(rows.y), self.n_classes_))
        if out_of_bag:
            others = np.setdiff1d(np.arange(len(rows.y)), chosen)
            votes = forest.oob_decision_function_
            shares = [np.mean(rows.y[chosen] == c) for c in forest.classes_]
            votes = np.where(np.isfinite(votes), votes, shares)
            proba[chosen] = self._align(votes, forest.classes_)
            proba[others] = self._predict(forest, _take(rows, others))
            # The votes were only needed here, and take as much memory as the training set.
            del forest.oob_decision_function_
        else:
            for train, test in rows.folds:
                part = self._grow_forest(rows, np.intersect1d(chosen, train), seed, oob_score=False)
                proba[test] = self._predict(part, _take(rows, test))
        return forest, proba

    def _grow_forest(self, rows, chosen, seed, oob_score):
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        takes_half = self.of_images or len(chosen) > self.many_rows
        forest = ExtraTreesClassifier(
            self.n_estimators // 2 if takes_half else self.n_estimators,
            min_samples_leaf=2,
            bootstrap=True,
            oob_score=oob_score,
            n_jobs=self.n_jobs,
            random_state=seed,
        )
        with warnings.catch_warnings():
            # A row of large weight may be drawn for every tree; it then gets the class shares.
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores", UserWarning)
            forest.fit(rows.representation[chosen], rows.y[chosen], sample_weight=weight)
        return forest

    def _predict(self, model, rows):
        Z = np.ascontiguousarray(rows.representation, dtype=np.float32)
        if not len(Z):
            return np.empty((0, self.n_classes_))
        if isinstance(model, BoostedTrees):
            return self._align(model.predict_proba(Z), model.classes_)
        # Not the forest's own method, which shares out the trees to threads again, and changes the
        # warning filters in each.
        votes = sum(tree.predict_proba(Z, check_input=False) for tree in model.estimators_)
        return self._align(votes / len(model.estimators_), model.classes_)

    def _align(self, proba, classes):
        known = classes >= 0
        aligned = np.zeros((len(proba), self.n_classes_))
        aligned[:, classes[known]] = proba[:, known]
        return aligned

    def _describe(self, rows, proba):
        own, _, others = split_predicted(proba, rows.pred_encoded)
        best_other = others.max(axis=1)
        logit_own = -soft_clipped_logit(1 - own, own)
        logit_other = -soft_clipped_logit(1 - best_other, best_other)
        return np.column_stack(
            [logit_own, own, logit_other, logit_own - logit_other, best_other > own]
        )


def _log_loss(rows, proba):
    """Return the mean log-loss; labels without a column count as unexpected."""
    known = rows.y >= 0
    own = np.where(known, proba[np.arange(len(proba)), rows.y], 0)
    return -np.average(np.log(np.maximum(own, 1e-3)), weights=rows.sample_weight)
