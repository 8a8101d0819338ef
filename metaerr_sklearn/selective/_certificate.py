"""Certify a threshold of the error score by risk control (fixed-sequence testing)."""

from numbers import Integral

import numpy as np
from scipy.special import bdtr
from sklearn.utils import check_consistent_length, check_scalar, column_or_1d

from .._utils.binomial import clopper_pearson
from .._utils.in_memory import check_numbers
from .._utils.label_checks import check_is_error
from .._utils.parameter_checks import check_fraction


def certify_threshold(is_error, error_proba, *, target_risk, confidence_level=0.95):
    """Find the largest threshold whose selective risk is at most `target_risk`.

    If new rows with an error score up to the threshold are accepted, their error rate is above
    `target_risk` with probability at most ``1 - confidence_level``, over the draw of the rows
    passed here. The guarantee holds for any number of rows and for any score: a bad score costs
    coverage, but does not weaken the guarantee.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong. The rows must be independent draws from the distribution
        of the rows to predict, and must not have been used to train the classifier or the score.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    target_risk : float in (0, 1)
        Highest error rate allowed among accepted rows.

    confidence_level : float in (0, 1), default=0.95
        Probability that the selective risk is at most `target_risk`.

    Returns
    -------
    threshold : float
        Accept rows with ``error_proba <= threshold``. It is one of the scores in `error_proba`, inf
        if all rows can be accepted, or -inf if no threshold can be certified.

    Raises
    ------
    ValueError
        If the arrays have unequal lengths, a value cannot be used, or a fraction is out of range.

    See Also
    --------
    SelectiveClassifier : Fits a classifier and certifies its threshold.

    Notes
    -----
    The method is fixed-sequence testing [1]_ with the exact binomial test behind the bound of [2]_.
    Sort the rows by score; tied rows are sorted in an order that does not depend on the labels. For
    k = m, m + 1, ..., test the hypothesis "the k lowest rows come from a risk above `target_risk`"
    at level ``delta = 1 - confidence_level``, until a test does not reject. The start m depends
    only on n_samples, `target_risk` and delta. If n_samples is large enough, m is about a tenth to
    a third of the rows, so that the first test passes with a few errors.

    *The method is valid although the thresholds are scores of the tested rows.* Let R(t) be the
    true error rate below t and r the target; a threshold is false if R > r there. Cut the line of
    scores where R crosses r, so that R = r at each cut. (A tied score is an interval of the line,
    in which its rows lie in random order.) Take the piece that contains the m-th lowest row.

    * If R > r on this piece, a threshold is certified only if the test at m passes. Condition on
      the number of rows below the piece and on the position of row m + 1, or on the end of the
      piece if that is lower. Then the m lowest rows err independently, with rate r below the piece
      and at least r on it, so the test passes with probability at most delta.
    * If R <= r on this piece, a false threshold lies beyond its right end c, and is certified only
      if the test of exactly the rows below c has passed. Given their number and the number of rows
      below the piece, they err independently with rate r, so the test passes with probability at
      most delta.

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
    # A data set may be sorted by label. This permutation removes that order from tied rows.
    order = np.random.default_rng(0).permutation(n_samples)
    order = order[np.argsort(error_proba[order], kind="stable")]
    score = error_proba[order]
    counts = np.arange(start, n_samples + 1)
    n_errors = np.cumsum(is_error[order])[start - 1 :]
    failed = np.flatnonzero(bdtr(n_errors, counts, target_risk) > delta)
    if len(failed) == 0:
        return np.inf
    n_passed = start - 1 + failed[0]
    # A threshold cannot split tied rows.
    n_accepted = np.searchsorted(score, score[n_passed])
    return float(score[n_accepted - 1]) if n_accepted >= start else -np.inf


def risk_upper_bound(n_errors, n_samples, *, confidence_level=0.95):
    """Compute the exact upper confidence bound of an error rate (Clopper-Pearson, one-sided).

    The bound is the rate at which `n_errors` or fewer errors have probability
    ``1 - confidence_level``.

    Parameters
    ----------
    n_errors : int in [0, n_samples]
        Number of errors.

    n_samples : int, at least 0
        Number of independent rows that contain the errors.

    confidence_level : float in (0, 1), default=0.95
        Probability that the true rate is at most the bound.

    Returns
    -------
    bound : float in [0, 1]
        1 if there are no rows.

    Raises
    ------
    TypeError
        If a number is no integer.
    ValueError
        If `n_errors` is not between 0 and `n_samples`, or `confidence_level` is not in (0, 1).

    Examples
    --------
    >>> from metaerr_sklearn.selective import risk_upper_bound
    >>> round(risk_upper_bound(0, 59), 4)
    0.0495
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=0)
    check_scalar(n_errors, "n_errors", Integral, min_val=0, max_val=n_samples)
    check_fraction(confidence_level, "confidence_level", closed="neither")
    return clopper_pearson(n_errors, n_samples, 1 - confidence_level)[1]


def _check_calibration(is_error, error_proba):
    """Return is_error as bool and error_proba as one column, or raise."""
    check_numbers(error_proba, "error_proba")
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
            "which every threshold would accept. Clip the scores, or take their exponential."
        )
    return is_error, error_proba


def _first_count(n_samples, target_risk, delta):
    """Return the number of lowest rows in the first test.

    If it is small, a single error ends the sequence. If it is large, no small coverage can be
    certified. The first test has a tenth of the rows, or as many as allow three errors if these are
    at most a third of the rows.
    """

    def n_allowed(count):
        return np.sum(bdtr(np.arange(count), count, target_risk) <= delta) - 1

    most_errors = max(0, n_allowed(n_samples // 10), min(3, n_allowed(n_samples // 3)))
    without_error = int(np.ceil(np.log(delta) / np.log1p(-target_risk)))
    # The test with the fewest rows that allows this number of errors passes most often.
    counts = np.arange(most_errors + 1, max(without_error + 1, n_samples // 3) + 1)
    return int(counts[np.argmax(bdtr(most_errors, counts, target_risk) <= delta)])


def explain_failure(is_error, error_proba, target_risk, delta):
    """Return why the first test failed, and how many calibration rows are needed."""
    n_samples = len(is_error)
    fewest = _first_count(1, target_risk, delta)
    goal = f"a risk of {target_risk:g} at confidence_level={1 - delta:g}"
    if n_samples < fewest:
        return (
            f"{goal} needs at least {fewest} calibration rows without an error, got {n_samples}. "
            "Pass more rows or a larger fraction calibration=, or raise target_risk."
        )
    start = _first_count(n_samples, target_risk, delta)
    best = error_proba <= np.sort(error_proba)[start - 1]
    rate = is_error[best].mean()
    observed = f"the {best.sum()} rows ranked best of {n_samples} have an error rate of {rate:.3g}"
    more = np.unique(np.geomspace(start, 1e6 * start, 2000).astype(np.int64))
    enough = bdtr(np.ceil(rate * more), more, target_risk) <= delta
    if rate >= target_risk or not enough.any():
        return (
            f"{observed}, while {goal} needs {fewest} rows without an error. Raise target_risk or "
            "improve the estimator."
        )
    needed = more[np.argmax(enough)] * n_samples / best.sum()
    return (
        f"{observed}. At this rate, {goal} needs about {float(f'{needed:.2g}'):.0f} calibration "
        "rows. Pass more rows or a larger fraction calibration=, or raise target_risk."
    )
