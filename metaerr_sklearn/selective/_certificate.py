"""Find a threshold that keeps a risk, with proof."""

import numpy as np
from scipy.special import bdtr
from sklearn.utils import check_consistent_length, column_or_1d

from .._utils.binomial import clopper_pearson
from .._utils.validation import check_fraction, check_is_error


def certify_threshold(is_error, error_proba, *, target_risk, confidence_level=0.95):
    """Find the largest threshold whose selective risk is at most `target_risk`.

    Accepting new rows with an error score up to the threshold gives an error rate above
    `target_risk` with probability at most ``1 - confidence_level`` over the draw of the rows given
    here. This holds at any number of rows and for any score, also a useless one: a bad score costs
    coverage, never the guarantee.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong. The rows must be independent draws of what will be
        predicted later on, and new to the classifier and to the score.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    target_risk : float in (0, 1)
        Highest error rate allowed among accepted rows.

    confidence_level : float in (0, 1), default=0.95
        Probability that the threshold keeps `target_risk`.

    Returns
    -------
    threshold : float
        Accept rows with ``error_proba <= threshold``. One of the scores given; inf if all rows can
        be accepted, -inf if no threshold can be certified.

    Raises
    ------
    ValueError
        If the arrays do not fit each other or a fraction is out of range.

    See Also
    --------
    SelectiveClassifier : The same for a classifier and its data.

    Notes
    -----
    Fixed-sequence testing [1]_ with the exact binomial test behind the bound of [2]_: sort the rows
    by score, tied rows in an order that ignores the labels, and for k = m, m + 1, ... test "the k
    lowest rows come from a risk above `target_risk`" at level ``delta = 1 - confidence_level``,
    until a test does not reject. The start m, fixed by n_samples, `target_risk` and delta, leaves
    room for a few errors if n_samples does: some tenth to a third of the rows.

    *Why it is valid although the thresholds are scores of the very rows that are tested.* Let R(t)
    be the true error rate below t and r the target; a threshold is false if R > r there. Cut the
    line where R crosses r, so that R = r at each cut (a tied score is a stretch of the line, on
    which its rows lie in random order). Take the piece that holds the m-th lowest row.
    If R > r on it, no certificate is issued unless the test at m passes. Given how many rows lie
    below the piece and where row m + 1 lies (at most the end of the piece), the m lowest rows err
    independently, with rate r below the piece and at least r on it, so the test passes with
    probability at most delta.
    If R <= r on it, a false threshold lies beyond its right end c, and is certified only if the
    test of exactly the rows below c has passed. Given their number and the number of rows below the
    piece, they err independently with rate r, so again that has probability at most delta.

    References
    ----------
    .. [1] Angelopoulos, Bates, Candes, Jordan, Lei (2021). Learn then Test: Calibrating Predictive
       Algorithms to Achieve Risk Control. arXiv 2110.01052.
    .. [2] Geifman, El-Yaniv (2017). Selective Classification for Deep Neural Networks. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.selective import certify_threshold
    >>> rng = np.random.default_rng(0)
    >>> error_proba = rng.uniform(size=2000) ** 3
    >>> is_error = rng.uniform(size=2000) < error_proba
    >>> threshold = certify_threshold(is_error, error_proba, target_risk=0.1)
    >>> round(threshold, 3)  # the true risk reaches 0.1 at 0.4
    0.324
    """
    is_error, error_proba = _check_calibration(is_error, error_proba)
    check_fraction(target_risk, "target_risk", closed="neither")
    check_fraction(confidence_level, "confidence_level", closed="neither")
    n_samples, delta = len(is_error), 1 - confidence_level
    start = _first_count(n_samples, target_risk, delta)
    if start > n_samples:
        return -np.inf
    # In the order of a sorted data set, tied rows would still be ordered by their labels.
    order = np.random.default_rng(0).permutation(n_samples)
    order = order[np.argsort(error_proba[order], kind="stable")]
    score = error_proba[order]
    counts = np.arange(start, n_samples + 1)
    n_errors = np.cumsum(is_error[order])[start - 1 :]
    failed = np.flatnonzero(bdtr(n_errors, counts, target_risk) > delta)
    if len(failed) == 0:
        return np.inf
    n_passed = start - 1 + failed[0]
    # A threshold cannot cut through tied rows.
    n_accepted = np.searchsorted(score, score[n_passed])
    return float(score[n_accepted - 1]) if n_accepted >= start else -np.inf


def risk_upper_bound(n_errors, n_samples, *, confidence_level=0.95):
    """Compute the exact upper confidence bound of an error rate (Clopper-Pearson, one-sided).

    The rate at which `n_errors` or fewer errors have probability ``1 - confidence_level``.

    Parameters
    ----------
    n_errors : int
        Errors seen.

    n_samples : int
        Independent rows they were seen among.

    confidence_level : float in (0, 1), default=0.95
        Probability that the bound is not below the true rate.

    Returns
    -------
    bound : float in [0, 1]
        1 if there are no rows.

    Raises
    ------
    ValueError
        If `confidence_level` is not in (0, 1).

    Examples
    --------
    >>> from metaerr_sklearn.selective import risk_upper_bound
    >>> round(risk_upper_bound(0, 59), 4)
    0.0495
    """
    check_fraction(confidence_level, "confidence_level", closed="neither")
    return clopper_pearson(n_errors, n_samples, 1 - confidence_level)[1]


def _check_calibration(is_error, error_proba):
    is_error, error_proba = check_is_error(is_error), column_or_1d(error_proba)
    check_consistent_length(is_error, error_proba)
    if np.isnan(error_proba).any():
        raise ValueError(
            f"error_proba is NaN for {np.isnan(error_proba).sum()} of {len(error_proba)} rows. "
            "Each row needs an error score."
        )
    if np.isneginf(error_proba).any():
        raise ValueError(
            f"error_proba is -inf for {np.isneginf(error_proba).sum()} of {len(error_proba)} rows, "
            "which no threshold could leave out. Clip the scores, or take their exponential."
        )
    return is_error, error_proba


def _first_count(n_samples, target_risk, delta):
    """Return how many of the lowest rows the first test is about.

    Among few rows one unlucky error ends the sequence, after many no small coverage can be had: a
    tenth of the rows, or as many as allow for three errors if that is at most a third of them.
    """

    def n_allowed(count):
        return np.sum(bdtr(np.arange(count), count, target_risk) <= delta) - 1

    most_errors = max(0, n_allowed(n_samples // 10), min(3, n_allowed(n_samples // 3)))
    without_error = int(np.ceil(np.log(delta) / np.log1p(-target_risk)))
    # The smallest count that allows as many errors is the easiest of the tests that do.
    counts = np.arange(most_errors + 1, max(without_error + 1, n_samples // 3) + 1)
    return int(counts[np.argmax(bdtr(most_errors, counts, target_risk) <= delta)])


def _explain_failure(is_error, error_proba, target_risk, delta):
    """Say why the first test failed, and how many calibration rows it would take."""
    n_samples = len(is_error)
    fewest = _first_count(1, target_risk, delta)
    goal = f"a risk of {target_risk:g} at confidence_level={1 - delta:g}"
    if n_samples < fewest:
        return (
            f"{goal} takes at least {fewest} calibration rows, all of them right, got {n_samples}. "
            "Give more rows or a larger share calibration=, or raise target_risk."
        )
    start = _first_count(n_samples, target_risk, delta)
    best = error_proba <= np.sort(error_proba)[start - 1]
    rate = is_error[best].mean()
    seen = f"the {best.sum()} rows ranked best of {n_samples} have an error rate of {rate:.3g}"
    more = np.unique(np.geomspace(start, 1e6 * start, 2000).astype(np.int64))
    enough = bdtr(np.ceil(rate * more), more, target_risk) <= delta
    if rate >= target_risk or not enough.any():
        return (
            f"{seen}, while {goal} takes {fewest} rows without an error. Raise target_risk or "
            "improve the estimator."
        )
    needed = more[np.argmax(enough)] * n_samples / best.sum()
    return (
        f"{seen}. At this rate, {goal} takes about {float(f'{needed:.2g}'):.0f} calibration rows. "
        "Give more rows or a larger share calibration=, or raise target_risk."
    )
