"""Check the arrays that a metric compares."""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from .._utils.in_memory import check_numbers
from .._utils.label_checks import check_is_error
from .._utils.weights import check_weights

# Sums of weights are compared with this relative slack: 0.1 + 0.2 reaches a coverage of 0.3.
ROUNDING = 1e-12


def check_ranking(is_error, error_proba, sample_weight, *, drop_zero_weight=True):
    """Return is_error as bool, error_proba and weights as float64, without rows of weight 0."""
    check_numbers(error_proba, "error_proba")
    check_numbers(sample_weight, "sample_weight")
    error_proba = np.asarray(error_proba)
    if error_proba.ndim == 2 and error_proba.shape[1] == 2:
        raise ValueError(
            f"error_proba must have shape (n_samples,), got {error_proba.shape}. Pass the "
            "probability of being wrong alone: column 1 of a binary predict_proba."
        )
    is_error, error_proba = check_is_error(is_error), column_or_1d(error_proba)
    check_consistent_length(is_error, error_proba, sample_weight)
    if len(is_error) == 0:
        raise ValueError("is_error and error_proba are empty: at least one sample is needed.")
    error_proba = error_proba.astype(np.float64)
    if np.isnan(error_proba).any():
        raise ValueError(
            f"error_proba has {np.isnan(error_proba).sum()} NaN values, which have no rank. "
            "Leave those samples out, or give them the value 1 if they are to be rejected first."
        )
    if sample_weight is None:
        return is_error, error_proba, np.ones(len(is_error))
    weight = check_weights(column_or_1d(sample_weight), is_error).astype(np.float64)
    if drop_zero_weight:
        counts = weight > 0
        is_error, error_proba, weight = is_error[counts], error_proba[counts], weight[counts]
    return is_error, error_proba, weight


def check_probability(is_error, error_proba, sample_weight):
    """Return the same as `check_ranking`, and raise unless error_proba is in [0, 1]."""
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    if error_proba.min() < 0 or error_proba.max() > 1:
        raise ValueError(
            "error_proba must be a probability in [0, 1] here, got values from "
            f"{error_proba.min():.4g} to {error_proba.max():.4g}. Use error_roc_auc, aurc or augrc "
            "for a score that only ranks."
        )
    return is_error, error_proba, weight


def rank_scores(error_proba):
    """Return the rank of each score, equal for tied scores."""
    # scikit-learn's metrics refuse infinite scores, which have a rank like any other.
    return np.unique(error_proba, return_inverse=True)[1]
