"""Check sample weights, and replace missing ones."""

import numpy as np

from .._compat import check_sample_weight
from .in_memory import check_numbers
from .labels import as_numpy


def check_weights(sample_weight, X):
    """Return weights as an array: one for each row of X, none negative, at least one positive."""
    check_numbers(sample_weight, "sample_weight")
    sample_weight = as_numpy(sample_weight)
    values = np.asarray(sample_weight)
    if values.ndim == 0:
        raise ValueError(
            f"sample_weight must have one number for each row, got {sample_weight!r}. For weights "
            'by class, "balanced" or a dict, pass '
            "sklearn.utils.class_weight.compute_sample_weight(class_weight, y)."
        )
    if values.size and not values.any():
        raise ValueError(
            "Sample weights must contain at least one non-zero number, got only 0. Give some rows "
            "a weight above 0, or leave sample_weight out."
        )
    return check_sample_weight(sample_weight, X, ensure_non_negative=True)


def weights_or_ones(sample_weight, n_samples):
    """Return weights as float64; None becomes equal weights."""
    return np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, dtype=float)
