"""Selective prediction: a classifier that abstains on rows that it would likely get wrong."""

from ._certificate import certify_threshold, risk_upper_bound
from ._classifier import SelectiveClassifier
from ._scorers import coverage_scorer, neg_selective_risk_scorer

__all__ = [
    "SelectiveClassifier",
    "certify_threshold",
    "coverage_scorer",
    "neg_selective_risk_scorer",
    "risk_upper_bound",
]
