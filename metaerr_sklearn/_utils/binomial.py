"""Bound an error rate from a count of errors."""

from scipy.special import bdtri


def clopper_pearson(n_errors, n_samples, tail):
    """Compute the exact lower and upper confidence bound of an error rate.

    Parameters
    ----------
    n_errors : int
        Number of errors.
    n_samples : int
        Number of independent rows.
    tail : float in (0, 1)
        Probability that the rate is below `low`, and that it is above `high`: 1 - confidence level
        for one bound, half of that for an interval.

    Returns
    -------
    low, high : float in [0, 1]
        0 and 1 if there are no rows.
    """
    low = float(bdtri(n_errors - 1, n_samples, 1 - tail)) if n_errors > 0 else 0.0
    high = float(bdtri(n_errors, n_samples, tail)) if n_errors < n_samples else 1.0
    return low, high
