"""Choose the blocks of meta-features."""

import numpy as np
from sklearn.base import clone

from .._utils.probabilities import soft_clipped_logit, split_predicted
from ._neighbors import NeighborsBlock
from ._observers import is_observer
from ._second_opinion import SecondOpinionBlock

BLOCKS = ("confidence", "predicted_class", "neighbors", "second_opinion", "input")


class ConfidenceBlock:
    """Describe a prediction by the shape of its class probabilities."""

    def fit_transform(self, rows, seed):
        """Learn the number of classes and describe the training rows."""
        self.n_classes_ = rows.proba.shape[1]
        self.names_ = ["logit_p1", "p1", "margin", "entropy", "logit_p2"]
        if self.n_classes_ > 2:
            self.names_ += ["logit_p3", "log_p1_p2"]
        return self.transform(rows)

    def transform(self, rows):
        """Describe new rows."""
        tiny = 1e-12
        own, rest, others = split_predicted(rows.proba, rows.pred_encoded)
        n_top = min(2, self.n_classes_)
        top = -np.sort(-np.partition(others, -n_top, axis=1)[:, -n_top:], axis=1)
        second = top[:, 0]
        p = np.maximum(rows.proba, tiny)
        columns = [
            -soft_clipped_logit(rest, own),
            own,
            own - second,
            -(p * np.log(p)).sum(axis=1),
            -soft_clipped_logit(np.maximum(1 - second, 0), second),
        ]
        if self.n_classes_ > 2:
            third = top[:, 1]
            columns += [
                -soft_clipped_logit(np.maximum(1 - third, 0), third),
                -soft_clipped_logit(second, own),
            ]
        return np.column_stack(columns)


class PredictedClassBlock:
    """Tell which class was predicted, for up to 30 classes."""

    def fit_transform(self, rows, seed):
        """Choose the classes that get a column and describe the training rows."""
        n_classes = rows.proba.shape[1]
        self.classes_ = np.arange(n_classes) if n_classes <= 30 else np.arange(0)
        self.names_ = [f"predicted_{c}" for c in self.classes_]
        return self.transform(rows)

    def transform(self, rows):
        """Describe new rows."""
        return (rows.pred_encoded[:, None] == self.classes_).astype(float)


class InputBlock:
    """Give the representation of X itself, for tree learners."""

    def fit_transform(self, rows, seed):
        """Name the columns and return them."""
        self.names_ = [f"input_{j}" for j in range(rows.representation.shape[1])]
        return rows.representation

    def transform(self, rows):
        """Return the representation of new rows."""
        return rows.representation


class CustomBlock:
    """Call what the user gave: ``f(X, proba)``, or an object with ``transform(X, proba)``."""

    def __init__(self, source, number):
        self.source = clone(source, safe=False)
        self.number = number

    def fit_transform(self, rows, seed):
        """Fit the user's object if it can be fitted, never on labels, and describe the rows."""
        if hasattr(self.source, "fit"):
            self.source.fit(rows.X, rows.proba)
        features = self.transform(rows)
        self.names_ = [f"custom{self.number}_{j}" for j in range(features.shape[1])]
        return features

    def transform(self, rows):
        """Describe new rows."""
        call = getattr(self.source, "transform", self.source)
        features = np.asarray(call(rows.X, rows.proba), dtype=float)
        features = features[:, None] if features.ndim == 1 else features
        if features.ndim != 2 or len(features) != len(rows.proba):
            raise ValueError(
                f"A callable in meta_features must return one row of numbers per sample, got shape "
                f"{features.shape} for {len(rows.proba)} samples."
            )
        return features


def observers_in(meta_features):
    """Return the objects in `meta_features` that ask the base itself, in their order."""
    return [block for block in check_meta_features(meta_features) if is_observer(block)]


def check_meta_features(meta_features):
    """Return the blocks that `meta_features` names as a list, or say what is wrong.

    Parameters
    ----------
    meta_features : "auto", block name, callable, or list of names and callables

    Returns
    -------
    blocks : list
    """
    if isinstance(meta_features, str):
        meta_features = list(BLOCKS) if meta_features == "auto" else [meta_features]
    elif callable(meta_features) or _is_custom(meta_features):
        meta_features = [meta_features]
    try:
        blocks = list(meta_features)
    except TypeError:
        blocks = []
    for block in blocks:
        known = block in BLOCKS if isinstance(block, str) else False
        if not (known or callable(block) or _is_custom(block)):
            raise ValueError(f"Unknown meta-feature block {block!r}: {_expected_blocks()}")
    if not blocks:
        raise ValueError(f"meta_features={meta_features!r} names no block: {_expected_blocks()}")
    return blocks


def _is_custom(block):
    return hasattr(block, "transform") or is_observer(block)


def _expected_blocks():
    return (
        f'expected "auto" or a list of {", ".join(map(repr, BLOCKS))}, callables f(X, proba), '
        "objects with transform(X, proba), and objects with observe(estimator, X)."
    )


def make_block(block, number, n_jobs, of_images=False):
    """Return the block that a name or a user's callable stands for."""
    if block == "confidence":
        return ConfidenceBlock()
    if block == "predicted_class":
        return PredictedClassBlock()
    if block == "neighbors":
        return NeighborsBlock(n_jobs)
    if block == "second_opinion":
        return SecondOpinionBlock(n_jobs, of_images)
    if block == "input":
        return InputBlock()
    return CustomBlock(block, number)
