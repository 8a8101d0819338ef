"""Estimate the probability that a prediction is wrong, from the prediction and its input."""

from ._error_model import ErrorModel
from ._explanation import ErrorExplanation

__all__ = [
    "ErrorExplanation",
    "ErrorModel",
]
