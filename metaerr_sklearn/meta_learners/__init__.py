"""Learners of the error that start from a calibrated offset and add a correction to it.

Each learns P(error) = sigmoid(offset + f(meta-features)), chooses how much correction by the pooled
out-of-fold log-loss, and may choose none: the worst case is the calibrated confidence itself.
"""

from ._base import ConfidenceMetaLearner, ResidualMetaLearner
from ._combined import AverageMetaLearner, ClassifierMetaLearner
from ._lightgbm import LightGBMMetaLearner
from ._logistic import LogisticMetaLearner
from ._mlp import MLPMetaLearner

__all__ = [
    "AverageMetaLearner",
    "ClassifierMetaLearner",
    "ConfidenceMetaLearner",
    "LightGBMMetaLearner",
    "LogisticMetaLearner",
    "MLPMetaLearner",
    "ResidualMetaLearner",
]
