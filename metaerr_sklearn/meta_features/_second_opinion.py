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
from ._base import Block


class SecondOpinionBlock(Block):
    """Describe a prediction by the class probabilities of auxiliary models of the labels.

    The number and the kind of rows decide which models are used:

    - Up to 5,000 rows: the mean of a forest of extremely randomised trees and of small boosted
      trees, or the boosted trees alone if their out-of-fold log-loss is lower.
    - More than 5,000 rows: larger boosted trees alone.
    - Fewer than 200 rows, or more than 10 classes: the forest alone. Boosting needs trees for each
      class.
    - Up to 5,000 rows of principal components of images: the forest alone, with half as many trees.
      Boosted trees are slow on such columns and gain nothing.

    The forest predicts a training row by the trees that were grown without this row (out-of-bag).
    Boosted trees are cross-fitted. If rows are related, the forest is cross-fitted, too: a tree
    that was grown without a row may have been grown with its duplicate.
    """

    name = "second_opinion"
    needs_representation = True
    n_estimators = 200
    many_rows = limits.MANY_ROWS
    few_rows = 200
    many_classes = 10

    def fit_transform(self, training):
        """Fit the models on the labels and describe each training row by models without it."""
        self.names_ = [
            "second_logit",
            "second_proba",
            "second_logit_best_other",
            "second_logit_difference",
            "second_disagrees",
        ]
        rows = training.observations.without_inputs()
        self.n_classes_ = rows.proba.shape[1]
        y = rows.y_encoded[training.reference]
        use_boosting = len(y) >= self.few_rows and len(np.unique(y)) <= self.many_classes
        use_boosting = use_boosting and not (training.is_image and len(y) <= self.many_rows)
        fits = []
        if not use_boosting or len(y) <= self.many_rows:
            fits.append(self._fit_forest)
        if use_boosting:
            fits.append(self._fit_boosting)
        models, opinions = zip(*(fit(rows, training) for fit in fits))
        opinion = np.mean(opinions, axis=0)
        if _log_loss(rows, opinions[-1]) < _log_loss(rows, opinion):
            models, opinion = models[-1:], opinions[-1]
        self._models = models
        return self._describe(rows, opinion)

    def transform(self, observations):
        """Describe new rows by the models of all training rows."""
        opinions = [self._predict(model, observations) for model in self._models]
        return self._describe(observations, np.mean(opinions, axis=0))

    def offset_terms(self, features):
        """Return the log-odds that the auxiliary models give to an error."""
        return {"second_opinion": -features[:, 0]}

    def _fit_boosting(self, rows, training):
        """Return boosted trees, and cross-fitted probabilities of the training rows."""

        def fit(part):
            weight = None if rows.sample_weight is None else rows.sample_weight[part]
            return BoostedTrees(
                rows.representation[part],
                rows.y_encoded[part],
                weight,
                is_many,
                seed=training.seed,
            )

        def fit_and_predict(train, test):
            return self._predict(fit(np.intersect1d(chosen, train)), rows.take(test))

        chosen = training.reference
        is_many = len(chosen) > self.many_rows
        # With many rows, training on two thirds of them is nearly as good as on four fifths.
        folds = training.folds
        if not training.is_related:
            n_folds = 3 if is_many else 5
            folds = make_splits(n_folds, None, rows.y_encoded, seed=training.seed, warn=False)
        of_folds = (partial(fit_and_predict, *fold) for fold in folds)
        trees, *parts = run_in_threads(training.n_jobs, [partial(fit, chosen), *of_folds])
        proba = np.empty((len(rows), self.n_classes_))
        for part, (_, test) in zip(parts, folds):
            proba[test] = part
        return trees, proba

    def _fit_forest(self, rows, training):
        """Return a forest, and out-of-bag or cross-fitted probabilities of the training rows."""
        chosen = training.reference
        out_of_bag = not training.is_related
        forest = self._grow_forest(rows, chosen, training, oob_score=out_of_bag)
        proba = np.empty((len(rows), self.n_classes_))
        if out_of_bag:
            others = np.setdiff1d(np.arange(len(rows)), chosen)
            votes = forest.oob_decision_function_
            shares = [np.mean(rows.y_encoded[chosen] == c) for c in forest.classes_]
            votes = np.where(np.isfinite(votes), votes, shares)
            proba[chosen] = self._align(votes, forest.classes_)
            proba[others] = self._predict(forest, rows.take(others))
            # The votes are needed only here, and take as much memory as the training set.
            del forest.oob_decision_function_
        else:
            for train, test in training.folds:
                part = np.intersect1d(chosen, train)
                part = self._grow_forest(rows, part, training, oob_score=False)
                proba[test] = self._predict(part, rows.take(test))
        return forest, proba

    def _grow_forest(self, rows, chosen, training, oob_score):
        weight = None if rows.sample_weight is None else rows.sample_weight[chosen]
        takes_half = training.is_image or len(chosen) > self.many_rows
        forest = ExtraTreesClassifier(
            self.n_estimators // 2 if takes_half else self.n_estimators,
            min_samples_leaf=2,
            bootstrap=True,
            oob_score=oob_score,
            n_jobs=training.n_jobs,
            random_state=training.seed,
        )
        with warnings.catch_warnings():
            # A row may be used by every tree: its votes are then the shares of the classes.
            warnings.filterwarnings("ignore", "Some inputs do not have OOB scores", UserWarning)
            forest.fit(rows.representation[chosen], rows.y_encoded[chosen], sample_weight=weight)
        return forest

    def _predict(self, model, rows):
        Z = np.ascontiguousarray(rows.representation, dtype=np.float32)
        if not len(Z):
            return np.empty((0, self.n_classes_))
        if isinstance(model, BoostedTrees):
            return self._align(model.predict_proba(Z), model.classes_)
        # The forest's own method is not used: it distributes the trees to threads once more, and
        # changes the warning filters in each of them.
        votes = sum(tree.predict_proba(Z, check_input=False) for tree in model.estimators_)
        return self._align(votes / len(model.estimators_), model.classes_)

    def _align(self, proba, classes):
        known = classes >= 0
        aligned = np.zeros((len(proba), self.n_classes_))
        aligned[:, classes[known]] = proba[:, known]
        return aligned

    def _describe(self, rows, proba):
        proba_pred, _, proba_other = split_predicted(proba, rows.pred_encoded)
        best_other = proba_other.max(axis=1)
        logit_pred = -soft_clipped_logit(1 - proba_pred, proba_pred)
        logit_other = -soft_clipped_logit(1 - best_other, best_other)
        return np.column_stack(
            [
                logit_pred,
                proba_pred,
                logit_other,
                logit_pred - logit_other,
                best_other > proba_pred,
            ]
        )


def _log_loss(rows, proba):
    """Return the mean log-loss; a label without a column has probability 0."""
    y_encoded = rows.y_encoded
    proba_true = np.where(y_encoded >= 0, proba[np.arange(len(proba)), y_encoded], 0)
    return -np.average(np.log(np.maximum(proba_true, 1e-3)), weights=rows.sample_weight)
