"""Split data for validation when part of y is unlabeled."""

from ._semi_supervised import SemiSupervisedKFold, is_unlabeled

__all__ = [
    "SemiSupervisedKFold",
    "is_unlabeled",
]
