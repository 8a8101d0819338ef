"""Learn from unlabeled rows by pseudo-labels that are chosen by their predicted error."""

from ._estimator import SelfTrainingWithMetaErr

__all__ = [
    "SelfTrainingWithMetaErr",
]
