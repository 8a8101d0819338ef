"""Define the simple blocks of meta-features, and fit blocks."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.base import clone

from .._base_estimator.caching import Kept
from .._utils.failures import noted
from .._utils.output_checks import as_columns
from .._utils.probabilities import in_batches, soft_clipped_logit, split_predicted
from .._utils.rows import own_copy
from ..representation._choice import source_names
from ._base import Block
from ._observers import own_names


class ConfidenceBlock(Block):
    """Describe a prediction by its class probabilities."""

    name = "confidence"

    def fit_transform(self, training):
        """Choose the columns for this number of classes and describe the training rows."""
        self.n_classes_ = training.observations.proba.shape[1]
        self.names_ = ["logit_p1", "p1", "margin", "entropy", "logit_p2"]
        if self.n_classes_ > 2:
            self.names_ += ["logit_p3", "log_p1_p2"]
        return self.transform(training.observations)

    def transform(self, observations):
        """Describe new rows."""
        return in_batches(self._describe, observations.proba, observations.pred_encoded)

    def _describe(self, proba, pred_encoded):
        tiny = 1e-12
        proba_pred, proba_wrong, proba_other = split_predicted(proba, pred_encoded)
        n_top = min(2, self.n_classes_)
        top = -np.sort(-np.partition(proba_other, -n_top, axis=1)[:, -n_top:], axis=1)
        second = top[:, 0]
        p = np.maximum(proba, tiny)
        columns = [
            -soft_clipped_logit(proba_wrong, proba_pred),
            proba_pred,
            proba_pred - second,
            -(p * np.log(p)).sum(axis=1),
            -soft_clipped_logit(np.maximum(1 - second, 0), second),
        ]
        if self.n_classes_ > 2:
            third = top[:, 1]
            columns += [
                -soft_clipped_logit(np.maximum(1 - third, 0), third),
                -soft_clipped_logit(second, proba_pred),
            ]
        return np.column_stack(columns)


class PredictedClassBlock(Block):
    """Describe a prediction by its class, one-hot encoded for up to 30 classes."""

    name = "predicted_class"
    # Each clone of a net has class biases of its own.
    is_specific_to_net = True

    def fit_transform(self, training):
        """Choose the classes that get a column and describe the training rows."""
        n_classes = training.observations.proba.shape[1]
        self.classes_ = np.arange(n_classes) if n_classes <= 30 else np.arange(0)
        self.names_ = [f"predicted_{c}" for c in self.classes_]
        return self.transform(training.observations)

    def transform(self, observations):
        """Describe new rows."""
        return (observations.pred_encoded[:, None] == self.classes_).astype(float)

    def readable_names(self, X, representation):
        """Return one name for all columns."""
        return ["predicted_class"] * len(self.names_)


class InputBlock(Block):
    """Return the representation of X itself, for tree learners."""

    name = "input"
    needs_representation = True
    is_for_trees = True

    def fit_transform(self, training):
        """Name the columns and return them."""
        matrix = training.observations.representation
        self.names_ = [f"input_{j}" for j in range(matrix.shape[1])]
        return matrix

    def transform(self, observations):
        """Return the representation of new rows."""
        return observations.representation

    def readable_names(self, X, representation):
        """Return for each column the name of the column of X that it comes from."""
        sources = source_names(representation, X, len(self.names_))
        return [f"input: {source}" for source in sources]


class CustomBlock(Block):
    """Call a user's ``f(X, proba)``, or an object with ``transform(X, proba)``.

    Parameters
    ----------
    source : callable or object
        A copy is used: a clone of an estimator, a deep copy of any other object.
    number : int
        Position among the blocks, for the names of the columns.
    """

    needs_inputs = True

    def __init__(self, source, number):
        self.source = clone(source, safe=False)
        self.number = number

    def fit_transform(self, training):
        """Fit the user's object if it has ``fit``, without labels, and describe the rows."""
        observations = training.observations
        if hasattr(self.source, "fit"):
            with noted(f"fitting {shown_name(self.source)} of meta_features on X and proba"):
                self.source.fit(own_copy(observations.X), own_copy(observations.proba))
        features = self.transform(observations)
        self.names_ = [f"custom{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, observations):
        """Describe new rows."""
        call = getattr(self.source, "transform", self.source)
        with noted(f"computing {shown_name(self.source)} of meta_features from X and proba"):
            features = call(own_copy(observations.X), own_copy(observations.proba))
        return as_columns(
            features, len(observations), f"{shown_name(self.source)} in meta_features"
        )

    def readable_names(self, X, representation):
        """Return the object's own names of its columns if it has any, else their numbers."""
        names = own_names(self.source, len(self.names_))
        return (
            self.names_ if names is None else [f"{type(self.source).__name__}: {n}" for n in names]
        )


class FittedBlock(NamedTuple):
    """A fitted block and its columns for the training rows.

    ``of_folds`` holds the columns for each fold, made without the labels of the rows that the fold
    tests; None if they are the same as ``columns``.
    """

    block: Block
    columns: np.ndarray
    of_folds: list


def kept_for(training, memory):
    """Return a `Kept` for what depends on the training rows, but not on X itself.

    Parameters
    ----------
    training : TrainingRows
    memory : joblib.Memory or None
        The cache.

    Returns
    -------
    kept : Kept
    """
    rows = replace(training.observations.without_inputs(), observed=None)
    return Kept(memory, replace(training, observations=rows, n_jobs=None))


def fit_blocks(blocks, training, kept):
    """Fit blocks on training rows.

    Parameters
    ----------
    blocks : list of Block
        Unfitted.
    training : TrainingRows
    kept : Kept
        Keeps the costly blocks; see `kept_for`.

    Returns
    -------
    fitted : list of FittedBlock
        The blocks among them may be copies.
    """
    described = []
    for block in blocks:
        of_block = kept if block.is_costly else Kept()
        key = of_block.key_of(block)
        fitted = of_block.at(key, partial(_fit_block, block, training))
        fitted.block.key = key
        described.append(fitted)
    return described


def _fit_block(block, training):
    columns = block.fit_transform(training)
    of_folds = [block.transform_fold(columns, k) for k, _ in enumerate(training.folds or ())]
    block.drop_training_state()
    is_same = all(of_fold is columns for of_fold in of_folds)
    return FittedBlock(block, columns, None if is_same else of_folds)


def columns_of_fold(fitted, number):
    """Return the columns of all training rows for a fold, side by side."""
    return np.column_stack(
        [columns if of_folds is None else of_folds[number] for _, columns, of_folds in fitted]
    )


def shown_name(source):
    """Return the name of a callable or object of the user, for messages."""
    return getattr(source, "__name__", type(source).__name__)
