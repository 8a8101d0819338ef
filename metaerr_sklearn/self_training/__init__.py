"""Learn from unlabeled rows by pseudo-labels whose errors are predicted."""

from ._estimator import SelfTrainingWithMetaErr

__all__ = ["SelfTrainingWithMetaErr"]
