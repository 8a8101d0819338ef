"""Classify with a base classifier and predict where it is wrong."""

from ._error_classifier import ErrorClassifier
from ._meta_error_classifier import MetaErrorClassifier

__all__ = ["ErrorClassifier", "MetaErrorClassifier"]
