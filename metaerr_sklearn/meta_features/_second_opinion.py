"""Describe a prediction by other models of the labels."""

from functools import partial

import numpy as np
from scipy import sparse

from .._utils import limits
from .._utils.forest import SparseForest
from .._utils.lightgbm import BoostedTrees
from .._utils.probabilities import in_batches, soft_clipped_logit, split_predicted
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
    - Up to 5,000 rows of principal components of images: the forest alone. Boosted trees are slow
      on such columns and gain nothing.

    The forest has half as many trees beside boosted trees, on images and on more than 5,000 rows.

    Boosted trees are cross-fitted. The forest predicts a training row by the trees that were grown
    without this row (out-of-bag), but is cross-fitted, too, in two cases:

    - Rows are related: a tree that was grown without a row may have been grown with its duplicate.
    - There are fewer than 200 rows, or a tenth of the rows are equal to another row. Many rows are
      then in leaves with most of the rows that could be there. Out-of-bag, a row gets the shares of
      the classes among the others, and these differ from the shares among all by its own label. In
      stratified folds, every row has the same share of each class in its training part.

    The opinion is a term of the offset, unless the models are trained on a hidden layer of the base
    itself. On images unlike the training images, such models are wrong together with the base.
    """

    name = "second_opinion"
    needs_representation = True
    is_costly = True
    n_estimators = 200
    # Training on two thirds of the rows is nearly as good as on four fifths.
    n_folds = 3
    many_rows = limits.MANY_ROWS
    few_rows = 200
    many_classes = 10
    many_repeated = 0.1

    def fit_transform(self, training):
        """Fit the models on the labels and describe each training row by models without it."""
        self.names_ = [
            "second_logit",
            "second_proba",
            "second_logit_best_other",
            "second_logit_difference",
            "second_disagrees",
        ]
        self._is_independent = not training.is_hidden_layer
        rows = training.observations.without_inputs()
        self.n_classes_ = rows.proba.shape[1]
        y = rows.y_encoded[training.reference]
        use_boosting = len(y) >= self.few_rows and len(np.unique(y)) <= self.many_classes
        use_boosting = use_boosting and not (training.is_image and len(y) <= self.many_rows)
        fits = []
        if not use_boosting or len(y) <= self.many_rows:
            takes_half = use_boosting or training.is_image or len(y) > self.many_rows
            n_trees = self.n_estimators // 2 if takes_half else self.n_estimators
            fits.append(partial(self._fit_forest, n_trees))
        if use_boosting:
            fits.append(self._fit_boosting)
        models, opinions = zip(*(fit(rows, training) for fit in fits))
        opinion = _mean(opinions)
        if len(models) > 1 and _log_loss(rows, opinions[-1]) < _log_loss(rows, opinion):
            models, opinion = models[-1:], opinions[-1]
        self._models = models
        return in_batches(_describe, opinion, rows.pred_encoded)

    def transform(self, observations):
        """Describe new rows by the models of all training rows."""
        opinions = [self._predict(model, observations) for model in self._models]
        return in_batches(_describe, _mean(opinions), observations.pred_encoded)

    def offset_terms(self, features):
        """Return the log-odds that the auxiliary models give to an error, if they are a term."""
        return {"second_opinion": -features[:, 0]} if self._is_independent else {}

    def _fit_boosting(self, rows, training):
        """Return boosted trees, and cross-fitted probabilities of the training rows."""

        def fit(part, **options):
            weight = None if rows.sample_weight is None else rows.sample_weight[part]
            return BoostedTrees(
                rows.representation[part],
                rows.y_encoded[part],
                weight,
                seed=training.seed,
                **options,
            )

        def fit_and_predict(train, test):
            trees = fit(np.intersect1d(chosen, train), predicts_once=True)
            return self._predict(trees, rows.take(test))

        chosen = training.reference
        folds = training.folds
        if not training.is_related:
            folds = make_splits(self.n_folds, None, rows.y_encoded, seed=training.seed, warn=False)
        of_folds = (partial(fit_and_predict, *fold) for fold in folds)
        trees, *parts = run_in_threads(training.n_jobs, [partial(fit, chosen), *of_folds])
        proba = np.empty((len(rows), self.n_classes_))
        for part, (_, test) in zip(parts, folds):
            proba[test] = part
        return trees, proba

    def _fit_forest(self, n_trees, rows, training):
        """Return a forest, and out-of-bag or cross-fitted probabilities of the training rows."""
        chosen = training.reference
        out_of_bag = not training.is_related and len(chosen) >= self.few_rows
        out_of_bag = out_of_bag and _share_repeated(rows.representation) < self.many_repeated
        forest = self._grow_forest(n_trees, rows, chosen, training, out_of_bag)
        if out_of_bag:
            order, parts = [chosen], [forest.oob_proba]
            # The votes are needed only here.
            del forest.oob_proba
        else:
            folds = self._folds_of_forest(rows.y_encoded, training)
            order, parts = [test for _, test in folds], []
            for train, test in folds:
                part = self._grow_forest(n_trees, rows, np.intersect1d(chosen, train), training)
                parts.append(self._predict(part, rows.take(test)))
        order.append(np.setdiff1d(np.arange(len(rows)), np.concatenate(order)))
        parts.append(self._predict(forest, rows.take(order[-1])))
        return forest, sparse.vstack(parts, format="csr")[np.argsort(np.concatenate(order))]

    def _folds_of_forest(self, y_encoded, training):
        """Return the folds in which the forest is cross-fitted."""
        chosen = training.reference
        y_encoded = y_encoded[chosen]
        if training.is_related or np.unique(y_encoded, return_counts=True)[1].max() < 2:
            return training.folds
        splits = make_splits(self.n_folds, None, y_encoded, seed=training.seed, warn=False)
        return [(chosen[train], chosen[test]) for train, test in splits]

    def _grow_forest(self, n_trees, rows, chosen, training, out_of_bag=False):
        return SparseForest(
            rows.representation[chosen],
            rows.y_encoded[chosen],
            self.n_classes_,
            n_trees,
            sample_weight=None if rows.sample_weight is None else rows.sample_weight[chosen],
            out_of_bag=out_of_bag,
            n_jobs=training.n_jobs,
            seed=training.seed,
        )

    def _predict(self, model, rows):
        Z = np.ascontiguousarray(rows.representation, dtype=np.float32)
        proba = model.predict_proba(Z)
        if isinstance(model, SparseForest):
            return proba
        known = model.classes_ >= 0
        aligned = np.zeros((len(proba), self.n_classes_))
        aligned[:, model.classes_[known]] = proba[:, known]
        return aligned


def _share_repeated(matrix):
    """Return the share of rows that are equal to another row."""
    _, counts = np.unique(matrix, axis=0, return_counts=True)
    return counts[counts > 1].sum() / len(matrix)


def _mean(opinions):
    """Return the mean probabilities; those of one model may be sparse."""
    if len(opinions) == 1:
        return opinions[0]
    dense = (part.toarray() if sparse.issparse(part) else part for part in opinions)
    return np.mean(list(dense), axis=0)


def _describe(proba, pred_encoded):
    proba_pred, _, proba_other = split_predicted(proba, pred_encoded)
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
