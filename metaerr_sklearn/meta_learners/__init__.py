"""Learners of the error that start from a calibrated offset and add a correction to it.

A learner models P(error) = sigmoid(offset + f(meta-features)). The pooled out-of-fold log-loss
decides how strong the correction f is. If the corrected log-odds are related to the errors by no
more than chance explains, f is 0, and the error probability is the calibrated confidence.
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
