"""Check the arrays that metrics are given."""

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

# Sums of weights are compared with this relative slack: 0.1 + 0.2 reaches a coverage of 0.3.
ROUNDING = 1e-12


def check_ranking(is_error, error_proba, sample_weight, *, drop_zero_weight=True):
    """Return is_error as bool, error_proba and weights as float64, without rows of weight 0."""
    is_error, error_proba = np.asarray(is_error), np.asarray(error_proba)
    if error_proba.ndim == 2 and error_proba.shape[1] == 2:
        raise ValueError(
            f"error_proba must have shape (n_samples,), got {error_proba.shape}. Pass the "
            "probability of being wrong alone: column 1 of a binary predict_proba."
        )
    is_error, error_proba = column_or_1d(is_error), column_or_1d(error_proba)
    check_consistent_length(is_error, error_proba, sample_weight)
    if len(is_error) == 0:
        raise ValueError("is_error and error_proba are empty: at least one sample is needed.")
    if is_error.dtype != bool:
        if not np.isin(is_error, [0, 1]).all():
            raise ValueError(
                "is_error must be True where the classifier is wrong and False elsewhere, got "
                f"values such as {is_error[~np.isin(is_error, [0, 1])][0]!r}. Compute it as "
                "y_pred != y_true."
            )
        is_error = is_error.astype(bool)
    error_proba = error_proba.astype(np.float64)
    if np.isnan(error_proba).any():
        raise ValueError(
            f"error_proba has {np.isnan(error_proba).sum()} NaN values, which have no rank. "
            "Leave those samples out, or give them the value 1 if they are to be rejected first."
        )
    if sample_weight is None:
        return is_error, error_proba, np.ones(len(is_error))
    weight = column_or_1d(sample_weight).astype(np.float64)
    if not (np.isfinite(weight).all() and weight.min() >= 0 and weight.sum() > 0):
        raise ValueError(
            "sample_weight must be finite and non-negative with a positive sum, got values from "
            f"{weight.min()} to {weight.max()}."
        )
    if drop_zero_weight:
        counts = weight > 0
        is_error, error_proba, weight = is_error[counts], error_proba[counts], weight[counts]
    return is_error, error_proba, weight


def check_probability(is_error, error_proba, sample_weight):
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    if error_proba.min() < 0 or error_proba.max() > 1:
        raise ValueError(
            "error_proba must be a probability in [0, 1] here, got values from "
            f"{error_proba.min():.4g} to {error_proba.max():.4g}. A score that only ranks can be "
            "measured with error_roc_auc, aurc or augrc."
        )
    return is_error, error_proba, weight


def rank_scores(error_proba):
    # scikit-learn's metrics refuse infinite scores, which rank like any other.
    return np.unique(error_proba, return_inverse=True)[1]
