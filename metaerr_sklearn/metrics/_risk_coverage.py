"""Measure the error rate among the most trusted samples."""

import numpy as np
from scipy.special import digamma
from sklearn.utils import check_consistent_length, column_or_1d

from .._utils.in_memory import check_in_memory
from .._utils.label_checks import check_is_error
from .._utils.parameter_checks import check_fraction
from ._checks import ROUNDING, check_ranking, rank_scores


def risk_coverage_curve(is_error, error_proba, *, sample_weight=None):
    """Compute the selective risk at each coverage that a threshold can reach.

    Accept the samples with ``error_proba <= threshold``: `coverage` is the share of accepted
    samples, and `selective_risk` is the error rate among them. There is one point for each distinct
    `error_proba`, after a first point at coverage 0.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once.

    Returns
    -------
    coverage : ndarray of shape (n_thresholds,)
        Increasing from 0 to 1.

    selective_risk : ndarray of shape (n_thresholds,)
        In [0, 1], lower is better; the last value is the error rate. At coverage 0 no sample is
        accepted, and the value is the limit: the error rate of the most trusted tied samples.

    thresholds : ndarray of shape (n_thresholds,)
        Increasing; the first value is -inf.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    See Also
    --------
    risk_at_coverage : The curve at any coverage, also between thresholds.
    aurc : The area under the curve.

    References
    ----------
    .. [1] El-Yaniv, Wiener (2010). On the Foundations of Noise-free Selective Classification.
       Journal of Machine Learning Research 11.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import risk_coverage_curve
    >>> coverage, selective_risk, _ = risk_coverage_curve([0, 0, 1, 1], [0.1, 0.3, 0.3, 0.9])
    >>> coverage
    array([0.  , 0.25, 0.75, 1.  ])
    >>> selective_risk.round(2)
    array([0.  , 0.  , 0.33, 0.5 ])
    """
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    thresholds, tie = np.unique(error_proba, return_inverse=True)
    tie_weight, tie_error = sum_ties(tie, is_error, weight)
    accepted = np.cumsum(tie_weight)
    selective_risk = np.cumsum(tie_error) / accepted
    return (
        np.append(0.0, accepted / accepted[-1]),
        np.append(selective_risk[0], selective_risk),
        np.append(-np.inf, thresholds),
    )


def aurc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the risk-coverage curve (lower is better).

    Accept the k most trusted samples, for k = 1, ..., n, and average the n selective risks. Inside
    a tie, each selective risk is the expectation over the orders of the tied rows: if a tie of W
    rows with E errors follows N rows with e errors, the expected risk at the j-th row of the tie is
    ``(e + j E / W) / (N + j)``.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. A row of weight w counts as w equal, tied rows.
        The sum over them has a closed form in harmonic numbers, which the digamma function extends
        to weights that are not integers. If all weights are multiplied by n, the sample is larger
        and the average is finer, so the value changes a little. Therefore scale weights that are
        shares so that their sum is the number of rows they stand for.

    Returns
    -------
    aurc : float in [0, 1]
        About the error rate for a random order, and equal to it for a constant `error_proba`. The
        minimum also depends on the error rate: compare classifiers of unequal accuracy with
        `excess_aurc`. 0 if every sample is right, 1 if every sample is wrong. Papers often print it
        times 1000.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    See Also
    --------
    augrc : Weighs all coverages equally; `aurc` puts most weight on the few most trusted rows.

    References
    ----------
    .. [1] Geifman, Uziel, El-Yaniv (2019). Bias-Reduced Uncertainty Estimation for Deep Neural
       Classifiers. ICLR.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import aurc
    >>> round(aurc([False, False, True, False], [0.1, 0.2, 0.7, 0.8]), 4)
    0.1458
    """
    return aurc_of_ties(*tie_weights(is_error, error_proba, sample_weight))


def excess_aurc(is_error, error_proba, *, sample_weight=None):
    """Compute by how much the area under the risk-coverage curve exceeds its minimum.

    This is `aurc` minus the `aurc` of a perfect ranking, which accepts every right sample before
    the first wrong one (E-AURC, lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts, as in `aurc`; None means once.

    Returns
    -------
    excess_aurc : float in [0, 1]
        0 for a perfect ranking, and also if every sample is right or every sample is wrong, because
        then every ranking is perfect.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    References
    ----------
    .. [1] Geifman, Uziel, El-Yaniv (2019). Bias-Reduced Uncertainty Estimation for Deep Neural
       Classifiers. ICLR.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import excess_aurc
    >>> round(excess_aurc([False, False, True, False], [0.1, 0.2, 0.7, 0.8]), 4)
    0.0833
    >>> excess_aurc([False, False, True, False], [0.1, 0.2, 0.9, 0.8])
    0.0
    """
    weight, error = tie_weights(is_error, error_proba, sample_weight)
    n_wrong = error.sum()
    n_right = (weight - error).sum()
    perfect = aurc_of_ties(np.array([n_right, n_wrong]), np.array([0.0, n_wrong]))
    # By rounding, the difference of a perfect ranking may be a little below 0.
    return max(0.0, aurc_of_ties(weight, error) - perfect)


def augrc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the generalized risk-coverage curve (lower is better).

    The generalized risk at a coverage is the share of *all* samples that are accepted and wrong,
    the risk of a silent failure. AUGRC is its average over all coverages, with equal weight. With
    the failure AUROC and the accuracy of the classifier,
    ``augrc = (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2``, also if there are ties.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    augrc : float in [0, 1/2]
        Half the error rate for a random order. 0 if every sample is right, 1/2 if every sample is
        wrong. Papers often print it times 1000.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    References
    ----------
    .. [1] Traub, Bungert, Lüth, Baumgartner, Maier-Hein, Maier-Hein, Jaeger (2024). Overcoming
       Common Flaws in the Evaluation of Selective Classification Systems. NeurIPS.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import augrc
    >>> augrc([False, False, True, False], [0.1, 0.2, 0.7, 0.8])
    0.09375
    """
    return augrc_of_ties(*tie_weights(is_error, error_proba, sample_weight))


def risk_at_coverage(is_error, error_proba, *, target_coverage=0.8, sample_weight=None):
    """Compute the error rate among the most trusted samples (lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    target_coverage : float or array-like of float in (0, 1], default=0.8
        Share of the samples to accept. If it ends inside a tie or inside a row, that part of the
        tie or row is accepted: the selective risk is then the expectation over the orders of the
        tied rows.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    selective_risk : float or ndarray in [0, 1]
        Its shape is that of `target_coverage`. 0 if every sample is right, 1 if every sample is
        wrong.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, a weight is negative or not finite, or `target_coverage` is out of range.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import risk_at_coverage
    >>> is_error, error_proba = [False, False, True, True], [0.1, 0.2, 0.7, 0.8]
    >>> risk_at_coverage(is_error, error_proba, target_coverage=0.5)
    0.0
    >>> risk_at_coverage(is_error, error_proba, target_coverage=[0.5, 0.8, 1]).round(3)
    array([0.   , 0.375, 0.5  ])
    """
    target_coverage = np.asarray(target_coverage, dtype=np.float64)
    for value in target_coverage.ravel().tolist():
        check_fraction(value, "target_coverage")
    weight, error = tie_weights(is_error, error_proba, sample_weight)
    n_accepted = np.append(0.0, np.cumsum(weight))
    wanted = target_coverage * n_accepted[-1]
    selective_risk = np.interp(wanted, n_accepted, np.append(0.0, np.cumsum(error))) / wanted
    return selective_risk if selective_risk.ndim else float(selective_risk)


def coverage_at_risk(is_error, error_proba, *, target_risk=0.05, sample_weight=None):
    """Compute the largest share of samples that can be accepted at a risk (higher is better).

    This is the largest coverage of a threshold on `error_proba` whose selective risk on these
    samples is at most `target_risk`. It is no guarantee for new samples; `SelectiveClassifier`
    gives one.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale. A threshold cannot
        split a tie: tied rows are accepted together or not at all.

    target_risk : float in [0, 1], default=0.05
        Error rate to tolerate among the accepted samples.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    coverage : float in [0, 1]
        1 if every sample is right; 0 if no threshold has a risk of at most `target_risk`.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, a weight is negative or not finite, or `target_risk` is out of range.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import coverage_at_risk
    >>> coverage_at_risk([False, False, True, True], [0.1, 0.2, 0.7, 0.8], target_risk=0.4)
    0.75
    """
    check_fraction(target_risk, "target_risk", closed="both")
    coverage, selective_risk, _ = risk_coverage_curve(
        is_error, error_proba, sample_weight=sample_weight
    )
    return float(coverage[selective_risk <= target_risk + ROUNDING].max(initial=0.0))


def tie_weights(is_error, error_proba, sample_weight):
    """Return weight and error weight of each distinct error_proba, the most trusted first."""
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    return sum_ties(rank_scores(error_proba), is_error, weight)


def sum_ties(tie, is_error, weight):
    """Return the sums of weights, and of weights of errors, over the rows of each tie."""
    return np.bincount(tie, weights=weight), np.bincount(tie, weights=weight * is_error)


def aurc_of_ties(weight, error):
    """Compute `aurc` from the sums of `sum_ties`."""
    # The sum over j of (e + j r) / (N + j), with r = E / W, contains a difference of harmonic
    # numbers. A difference of digamma values is equal to it and also defined between integers.
    accepted = np.cumsum(weight)
    before = np.append(0.0, accepted[:-1])
    errors_before = np.append(0.0, np.cumsum(error)[:-1])
    rate = np.divide(error, weight, out=np.zeros_like(error), where=weight > 0)
    harmonic = np.diff(digamma(np.append(0.0, accepted) + 1))
    return float((error + (errors_before - rate * before) * harmonic).sum() / accepted[-1])


def augrc_of_ties(weight, error):
    """Compute `augrc` from the sums of `sum_ties`."""
    # The generalized risk grows linearly inside a tie, so trapezoids are exact.
    share, error = weight / weight.sum(), error / weight.sum()
    errors_before = np.append(0.0, np.cumsum(error)[:-1])
    return float((share * (errors_before + error / 2)).sum())


def operating_point_of(is_error, accepted, sample_weight):
    """Return coverage and selective risk of the accepted rows, or None if no row is accepted."""
    if accepted is None:
        return None
    check_in_memory(accepted, "accepted")
    is_error, accepted = check_is_error(is_error), column_or_1d(accepted).astype(bool)
    check_consistent_length(is_error, accepted)
    weight = np.ones(len(accepted)) if sample_weight is None else column_or_1d(sample_weight)
    if not weight[accepted].any():
        return None
    coverage = np.average(accepted, weights=weight)
    risk = np.average(is_error[accepted], weights=weight[accepted])
    return float(coverage), float(risk)
