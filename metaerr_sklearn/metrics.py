"""Measure how well an error probability finds the errors of a classifier.

Every metric takes ``(is_error, error_proba)``. Three conventions hold for all of them:

* **Ties.** The value never depends on the order of the rows. Metrics that accept rows one by one
  (`aurc`, `excess_aurc`, `augrc`, `risk_at_coverage`) take the expectation over all orders of tied
  rows; metrics that speak of thresholds treat a tie as the one threshold it is.
* **Weights** are counts of repetition: a row of weight 3 gives what three equal rows give.
* **No error at all, or nothing but errors**, is an ordinary input: the value is a limit where there
  is one and NaN where nothing can be ranked. It never raises.
"""

import copy
from typing import NamedTuple

import numpy as np
from scipy.special import digamma
from sklearn import get_config
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
    roc_curve,
)
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.metadata_routing import MetadataRequest

from ._validation import check_fraction, check_labels, check_proba, check_same_kind
from .confidence import margin, negative_entropy
from .cross_fitting import call_base, final_estimator, predict_proba, spread_unknown, unwrap
from .meta_features import split_predicted

__all__ = [
    "ERROR_SCORERS",
    "augrc",
    "aurc",
    "coverage_at_risk",
    "error_average_precision",
    "error_brier_score",
    "error_log_loss",
    "error_roc_auc",
    "excess_aurc",
    "failure_report",
    "fpr_at_tpr",
    "make_error_scorer",
    "risk_at_coverage",
    "risk_coverage_curve",
]

# Sums of weights are compared with this relative slack: 0.1 + 0.2 reaches a coverage of 0.3.
_ROUNDING = 1e-12


def error_roc_auc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the ROC curve of finding errors (higher is better).

    The probability that a wrong sample has a higher `error_proba` than a right one, a tie counting
    one half. The field calls it failure AUROC or misclassification AUROC.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale: pass ``-confidence``
        to measure a confidence score.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once.

    Returns
    -------
    auc : float in [0, 1]
        0.5 for a random order. NaN if every sample is right or every sample is wrong: there is no
        pair to compare.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    References
    ----------
    .. [1] Hendrycks, Gimpel (2017). A Baseline for Detecting Misclassified and
       Out-of-Distribution Examples in Neural Networks. ICLR.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import error_roc_auc
    >>> error_roc_auc([False, True, False, True], [0.1, 0.8, 0.3, 0.2])
    0.75
    """
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    if is_error.all() or not is_error.any():
        return float("nan")
    return float(roc_auc_score(is_error, _ranks(error_proba), sample_weight=weight))


def error_average_precision(is_error, error_proba, *, sample_weight=None):
    """Compute the average precision of finding errors (higher is better).

    The area under the precision-recall curve with errors as the positive class, summed in steps:
    ``sum_t (recall_t - recall_{t-1}) precision_t`` over the thresholds t. Tied rows are one
    threshold, as in scikit-learn.

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
    average_precision : float in [0, 1]
        About the error rate for a random order, so compare it at equal error rates only. 1 if
        every sample is wrong; NaN if every sample is right: recall is then undefined.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import error_average_precision
    >>> error_average_precision([False, True, False, True], [0.1, 0.8, 0.3, 0.2])
    0.83...
    """
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    if not is_error.any():
        return float("nan")
    return float(average_precision_score(is_error, _ranks(error_proba), sample_weight=weight))


def fpr_at_tpr(is_error, error_proba, *, tpr=0.95, sample_weight=None):
    """Compute the share of errors that pass when most right samples pass (lower is better).

    Accept the samples with the lowest `error_proba` until a fraction `tpr` of the right ones is
    accepted, and see which fraction of the wrong ones came with them. "FPR95" of the
    misclassification-detection papers, whose positive class is the right samples.
    ``fpr_at_tpr(~is_error, -error_proba)`` is the other reading: the share of right samples
    flagged when a fraction `tpr` of the errors is flagged.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    tpr : float in (0, 1], default=0.95
        Fraction of the right samples to accept.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once.

    Returns
    -------
    fpr : float in [0, 1]
        About `tpr` for a random order. A threshold cannot split a tie, so tied rows are accepted
        together. NaN if every sample is right or every sample is wrong: one of the two rates is
        then undefined.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, a weight is negative or not finite, or `tpr` is out of range.

    References
    ----------
    .. [1] Corbière, Thome, Bar-Hen, Cord, Pérez (2019). Addressing Failure Prediction by Learning
       Model Confidence. NeurIPS.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import fpr_at_tpr
    >>> fpr_at_tpr([False, True, False, True], [0.1, 0.8, 0.3, 0.2])
    0.5
    """
    check_fraction(tpr, "tpr")
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    if is_error.all() or not is_error.any():
        return float("nan")
    accepted_errors, accepted_right, _ = roc_curve(
        ~is_error, -_ranks(error_proba), sample_weight=weight, drop_intermediate=False
    )
    return float(accepted_errors[np.argmax(accepted_right >= tpr * (1 - _ROUNDING))])


def risk_coverage_curve(is_error, error_proba, *, sample_weight=None):
    """Compute the selective risk at each coverage that a threshold can reach.

    Accept the samples with ``error_proba <= threshold``: `coverage` is the share accepted and
    `selective_risk` the error rate among them. One point for each distinct `error_proba`, after a
    first point at coverage 0.

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
        In [0, 1], lower is better; the last one is the error rate. Nothing is accepted at coverage
        0: its value is the limit, the error rate of the most trusted tie.

    thresholds : ndarray of shape (n_thresholds,)
        Increasing; the first one is -inf.

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
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    thresholds, tie = np.unique(error_proba, return_inverse=True)
    tie_weight, tie_error = _sum_ties(tie, is_error, weight)
    accepted = np.cumsum(tie_weight)
    selective_risk = np.cumsum(tie_error) / accepted
    return (
        np.append(0.0, accepted / accepted[-1]),
        np.append(selective_risk[0], selective_risk),
        np.append(-np.inf, thresholds),
    )


def aurc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the risk-coverage curve (lower is better).

    Accept the k most trusted samples, for k = 1, ..., n; average the n selective risks. Inside a
    tie each selective risk is the expectation over the orders of the tied rows: with e errors
    among the N rows before a tie of W rows with E errors, the j-th row of the tie has the expected
    risk ``(e + j E / W) / (N + j)``.

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. A row of weight w is w tied copies of it. The
        sum over the copies has a closed form in harmonic numbers, which the digamma function
        continues to weights between the integers. Because n copies of every row are a larger
        sample with a finer average, the value changes a little with the scale of the weights: give
        shares as counts, that is with a sum near the number of rows they stand for.

    Returns
    -------
    aurc : float in [0, 1]
        About the error rate for a random order, and equal to it for a constant `error_proba`. Its
        least value depends on the error rate too: compare classifiers of unequal accuracy with
        `excess_aurc`. 0 if every sample is right, 1 if every sample is wrong. The papers often
        print it times 1000.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is NaN
        anywhere, or a weight is negative or not finite.

    See Also
    --------
    augrc : Weighs all coverages alike, where this puts most weight on the few most trusted rows.

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
    return _aurc(*_ties(is_error, error_proba, sample_weight))


def excess_aurc(is_error, error_proba, *, sample_weight=None):
    """Compute by how much the area under the risk-coverage curve exceeds its minimum.

    `aurc` minus the `aurc` of a perfect ranking, which accepts every right sample before the first
    wrong one (E-AURC, lower is better).

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
        0 for a perfect ranking, and also if every sample is right or every sample is wrong: every
        ranking is perfect then.

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
    weight, error = _ties(is_error, error_proba, sample_weight)
    n_wrong = error.sum()
    n_right = (weight - error).sum()
    perfect = _aurc(np.array([n_right, n_wrong]), np.array([0.0, n_wrong]))
    return max(0.0, _aurc(weight, error) - perfect)  # the minimum up to rounding


def augrc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the generalized risk-coverage curve (lower is better).

    The generalized risk at a coverage is the share of *all* samples that are accepted and wrong,
    the risk of a silent failure; its average over the coverages weighs them alike. With the failure
    AUROC and the accuracy of the classifier,
    ``augrc = (1 - AUROC) acc (1 - acc) + (1 - acc)^2 / 2``, ties included.

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
        wrong. The papers often print it times 1000.

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
    return _augrc(*_ties(is_error, error_proba, sample_weight))


def risk_at_coverage(is_error, error_proba, *, target_coverage=0.8, sample_weight=None):
    """Compute the error rate among the most trusted samples (lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float, shape (n_samples,)
        Higher means more likely wrong. Only the order counts, on any scale.

    target_coverage : float or array-like of float in (0, 1], default=0.8
        Share of the samples to accept. Where it ends inside a tie, or inside a row, only that part
        of it is accepted: the selective risk is then the expectation over the orders of the tie.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    selective_risk : float or ndarray in [0, 1]
        Of the shape of `target_coverage`. 0 if every sample is right, 1 if every sample is wrong.

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
    if not ((target_coverage > 0) & (target_coverage <= 1)).all():
        raise ValueError(
            f"target_coverage must lie in (0, 1], got {target_coverage}. "
            "For 85 % pass 0.85, not 85."
        )
    weight, error = _ties(is_error, error_proba, sample_weight)
    n_accepted = np.append(0.0, np.cumsum(weight))
    wanted = target_coverage * n_accepted[-1]
    selective_risk = np.interp(wanted, n_accepted, np.append(0.0, np.cumsum(error))) / wanted
    return selective_risk if selective_risk.ndim else float(selective_risk)


def coverage_at_risk(is_error, error_proba, *, target_risk=0.05, sample_weight=None):
    """Compute the largest share of samples that can be accepted at a risk (higher is better).

    The largest coverage of a threshold on `error_proba` whose selective risk on these samples is
    at most `target_risk`. It promises nothing for new samples: `SelectiveClassifier` does.

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
        1 if every sample is right; 0 if no threshold keeps the risk.

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
    if not (np.isscalar(target_risk) and 0 <= target_risk <= 1):
        raise ValueError(
            f"target_risk must be an error rate in [0, 1], got {target_risk!r}. "
            "For 5 % pass 0.05, not 5."
        )
    coverage, selective_risk, _ = risk_coverage_curve(
        is_error, error_proba, sample_weight=sample_weight
    )
    return float(coverage[selective_risk <= target_risk + _ROUNDING].max(initial=0.0))


def error_brier_score(is_error, error_proba, *, sample_weight=None):
    """Compute the mean squared error of the error probability (lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float in [0, 1], shape (n_samples,)
        Probability that the classifier is wrong.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    brier_score : float in [0, 1]
        With r the error rate, the constant prediction r scores ``r (1 - r)``.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is not in
        [0, 1], or a weight is negative or not finite.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import error_brier_score
    >>> round(error_brier_score([False, True, False, True], [0.1, 0.8, 0.3, 0.2]), 3)
    0.195
    """
    is_error, error_proba, weight = _check_probability(is_error, error_proba, sample_weight)
    return float(brier_score_loss(is_error, error_proba, sample_weight=weight, pos_label=True))


def error_log_loss(is_error, error_proba, *, sample_weight=None):
    """Compute the log-loss of the error probability, in nats (lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float in [0, 1], shape (n_samples,)
        Probability that the classifier is wrong. Clipped away from 0 and 1 by the machine epsilon,
        as in scikit-learn: a certain and wrong statement costs 36 nats, not infinity.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. Only the shares matter.

    Returns
    -------
    log_loss : float, >= 0
        The constant prediction 1/2 scores 0.693.

    Raises
    ------
    ValueError
        If there are no samples, lengths differ, `is_error` is not boolean, `error_proba` is not in
        [0, 1], or a weight is negative or not finite.

    Examples
    --------
    >>> from metaerr_sklearn.metrics import error_log_loss
    >>> round(error_log_loss([False, True, False, True], [0.1, 0.8, 0.3, 0.2]), 3)
    0.574
    """
    is_error, error_proba, weight = _check_probability(is_error, error_proba, sample_weight)
    return float(log_loss(is_error, error_proba, sample_weight=weight, labels=[False, True]))


def failure_report(
    estimator,
    X,
    y,
    *,
    sample_weight=None,
    n_bootstrap=1000,
    confidence_level=0.95,
    random_state=0,
    digits=3,
    output_dict=False,
):
    """Build a text report that puts the meta-model beside plain confidence.

    One row for each way to rank the samples by their chance of being wrong: the meta-model, and
    the baselines max probability, margin and entropy of the base's own probabilities. Log-loss and
    Brier score are shown for the rows that are probabilities. The first lines give the error rate
    and the difference between meta-model and max probability, paired on the same bootstrap draws.

    Parameters
    ----------
    estimator : fitted classifier
        A `MetaErrorClassifier`, or any classifier with ``predict_proba`` or ``decision_function``,
        which has the baseline rows only. A pipeline or a search around it is looked into.

    X : array-like of length n_samples
        Rows that neither the classifier nor its meta-model was trained on.

    y : array-like of shape (n_samples,)
        True labels.

    sample_weight : array-like of shape (n_samples,), default=None
        How often each row counts; None means once. The bootstrap draws rows, and each keeps its
        weight.

    n_bootstrap : int, default=1000
        Number of bootstrap draws behind the intervals; 0 leaves the intervals out.

    confidence_level : float in (0, 1), default=0.95
        Level of the intervals, from the quantiles of the draws. Draws on which a value is NaN, as
        the AUROC of a draw without an error, are left out.

    random_state : int, RandomState instance or None, default=0
        Seed of the bootstrap: by default the same input gives the same report.

    digits : int, default=3
        Digits after the point. AURC and AUGRC are printed times 1000, with two digits fewer.

    output_dict : bool, default=False
        Whether to return the numbers as a nested dict instead.

    Returns
    -------
    report : str or dict
        The dict has the keys ``n_samples``, ``n_errors``, ``error_rate``,
        ``error_rate_interval``, ``confidence_level``, ``n_bootstrap``, ``scores[row][metric]``,
        ``intervals[row][metric]`` (low, high), ``difference[metric]`` and
        ``difference_interval[metric]``, with the names of the functions as metrics and everything
        on its natural scale. ``pandas.DataFrame(report["scores"]).T`` is the table. Intervals are
        None where `n_bootstrap` is 0, the difference is None without a meta-model.

    Raises
    ------
    TypeError
        If the estimator gives neither an error probability nor class probabilities or scores.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.metrics import failure_report
    >>> X, y = load_digits(return_X_y=True)
    >>> base = GaussianNB(var_smoothing=0.1).fit(X[:900], y[:900])
    >>> print(failure_report(base, X[900:], y[900:], n_bootstrap=0))
    n = 897, wrong = 95, error rate = 0.106
    AUROC: higher is better, others: lower. AURC and AUGRC times 1000.
    <BLANKLINE>
                        AUROC      AURC     AUGRC     FPR95  log-loss     Brier
    max probability     0.842      27.8      20.6     0.632     0.736     0.092
             margin     0.841      28.8      20.7     0.611         -         -
            entropy     0.842      27.7      20.5     0.632         -         -
    <BLANKLINE>
    """
    if n_bootstrap < 0 or n_bootstrap != int(n_bootstrap):
        raise ValueError(
            f"n_bootstrap must be a number of draws >= 0, got {n_bootstrap!r}. "
            "1000 is enough for 95 % intervals; 0 leaves the intervals out."
        )
    check_fraction(confidence_level, "confidence_level", closed="neither")
    seen = observe_errors(estimator, X, y)
    scores = seen.scores()
    is_error, _, weight = _check_ranking(
        seen.is_error, np.zeros(len(seen.is_error)), sample_weight, drop_zero_weight=False
    )

    report = {
        "n_samples": len(is_error),
        "n_errors": int(is_error.sum()),
        "error_rate": float(np.average(is_error, weights=weight)),
        "error_rate_interval": None,
        "confidence_level": confidence_level,
        "n_bootstrap": int(n_bootstrap),
        "scores": {
            row: {
                metric.__name__: metric(is_error, score, sample_weight=weight)
                for metric in (_REPORTED if is_probability else _REPORTED[:_N_RANKING])
            }
            for row, (score, is_probability) in scores.items()
        },
        "intervals": None,
        "difference": None,
        "difference_interval": None,
    }
    has_difference = {"meta-model", "max probability"} <= set(scores)
    if has_difference:
        model, baseline = report["scores"]["meta-model"], report["scores"]["max probability"]
        report["difference"] = {name: model[name] - baseline[name] for name in model}
    if n_bootstrap:
        rates, draws = _bootstrap(is_error, scores, weight, int(n_bootstrap), random_state)
        report["error_rate_interval"] = _interval(rates, confidence_level)
        report["intervals"] = {
            row: {name: _interval(values, confidence_level) for name, values in draws[row].items()}
            for row in draws
        }
        if has_difference:
            model, baseline = draws["meta-model"], draws["max probability"]
            report["difference_interval"] = {
                name: _interval(model[name] - baseline[name], confidence_level) for name in model
            }
    return report if output_dict else _format_report(report, digits)


def make_error_scorer(metric, *, greater_is_better=None, **kwargs):
    """Make a scorer of error probabilities for model selection.

    The scorer has scikit-learn's signature, ``scorer(estimator, X, y, sample_weight=None)``, and
    goes wherever `scoring` is asked for: ``GridSearchCV``, ``cross_validate``,
    ``cross_val_score``, ``permutation_importance``. It predicts labels and error probabilities in
    one pass. An estimator without ``predict_error_proba`` is scored with 1 minus its highest class
    probability, so that a plain classifier and a `MetaErrorClassifier` can stand in one search.

    Parameters
    ----------
    metric : callable
        ``metric(is_error, error_proba, *, sample_weight=None, **kwargs) -> float``, of this module
        or your own.

    greater_is_better : bool, default=None
        Whether a high value is good. Losses are negated by the scorer: put ``neg_`` in the name you
        give it. None is for the metrics of this module, whose direction is known.

    **kwargs : dict
        Further parameters of the metric, such as ``tpr=0.9``.

    Returns
    -------
    scorer : callable
        Picklable. A higher score is better. A metric that is undefined on a fold, as
        `error_roc_auc` on a fold without an error, scores NaN there, and so does the mean over the
        folds: `augrc`, `aurc` and `error_log_loss` are always defined. With metadata routing,
        ``scorer.set_score_request(sample_weight=True)`` returns a scorer that takes weights.

    Raises
    ------
    ValueError
        If the direction of an unknown metric is not said.

    See Also
    --------
    ERROR_SCORERS : All metrics at once, from one pass over the samples.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from metaerr_sklearn.metrics import fpr_at_tpr, make_error_scorer
    >>> X, y = load_digits(return_X_y=True)
    >>> scorer = make_error_scorer(fpr_at_tpr, tpr=0.9)
    >>> cross_val_score(GaussianNB(), X, y, cv=3, scoring=scorer).round(2)
    array([...])
    """
    if greater_is_better is None:
        if metric not in _GREATER_IS_BETTER:
            raise ValueError(
                f"The direction of {metric!r} is not known. Pass greater_is_better=True if a high "
                "value is good, False if it is a loss."
            )
        greater_is_better = _GREATER_IS_BETTER[metric]
    return _ErrorScorer(metric, greater_is_better, kwargs)


class _TakesSampleWeight:
    """Metadata routing of a scorer, in scikit-learn's public terms."""

    _sample_weight_request = None

    def set_score_request(self, *, sample_weight):
        """Return a copy that requests `sample_weight`; scorers are shared, so it is no setter."""
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing, which is off. Call "
                "sklearn.set_config(enable_metadata_routing=True); without it, scorers are given "
                "sample_weight by whoever calls them."
            )
        requesting = copy.copy(self)
        requesting._sample_weight_request = sample_weight
        return requesting

    def get_metadata_routing(self):
        """Return the metadata that the scorer wants."""
        routing = MetadataRequest(owner=type(self).__name__)
        routing.score.add_request(param="sample_weight", alias=self._sample_weight_request)
        return routing

    def _accept_sample_weight(self):
        # What searches of scikit-learn >= 1.8 ask the scorers in a dict when routing is off.
        return True


class _ErrorScorer(_TakesSampleWeight):
    """One metric as ``scorer(estimator, X, y, sample_weight=None)``."""

    def __init__(self, metric, greater_is_better, kwargs):
        self.metric = metric
        self.greater_is_better = greater_is_better
        self.kwargs = kwargs

    def __call__(self, estimator, X, y, sample_weight=None):
        seen = observe_errors(estimator, X, y, with_proba=False)
        return self.score(seen, sample_weight)

    def score(self, seen, sample_weight):
        """Score what was observed already."""
        value = self.metric(
            seen.is_error, seen.error_proba, sample_weight=sample_weight, **self.kwargs
        )
        return value if self.greater_is_better else -value

    def __repr__(self):
        sign = "" if self.greater_is_better else ", greater_is_better=False"
        kwargs = "".join(f", {name}={value!r}" for name, value in self.kwargs.items())
        name = getattr(self.metric, "__name__", repr(self.metric))
        return f"make_error_scorer({name}{sign}{kwargs})"


class _ErrorScorers(_TakesSampleWeight, dict):
    """Scorers by name which, called together, share one pass over the samples.

    scikit-learn takes any callable that returns a dict as multi-metric scoring, and asks whether
    `scoring` is callable before it asks whether it is a dict.
    """

    def __call__(self, estimator, X, y, sample_weight=None):
        seen = observe_errors(estimator, X, y, with_proba=False)
        return {name: scorer.score(seen, sample_weight) for name, scorer in self.items()}

    def set_score_request(self, *, sample_weight):
        requesting = super().set_score_request(sample_weight=sample_weight)
        requesting.update(
            (name, scorer.set_score_request(sample_weight=sample_weight))
            for name, scorer in self.items()
        )
        return requesting


class ErrorObservation(NamedTuple):
    """What an estimator said about some rows, and where it was wrong.

    ``is_error``, ``labels`` and ``error_proba`` have shape (n_samples,), ``proba`` has shape
    (n_samples, n_classes) and is None where the estimator has no class probabilities.
    ``has_meta_model`` tells whether ``error_proba`` is a meta-model's or 1 - max probability;
    ``accepted`` is True where a selective classifier answers, None for other estimators.
    """

    is_error: np.ndarray | None
    labels: np.ndarray
    error_proba: np.ndarray
    proba: np.ndarray | None
    has_meta_model: bool
    accepted: np.ndarray | None

    def scores(self):
        """Return ``{row of the report: (score, whether it is a probability)}``."""
        scores = {"meta-model": (self.error_proba, True)} if self.has_meta_model else {}
        if self.proba is not None:
            scores["max probability"] = (_rest(self.proba), True)
            scores["margin"] = (-margin(self.proba), False)
            scores["entropy"] = (-negative_entropy(self.proba), False)
        return scores


def observe_errors(estimator, X, y=None, *, with_proba=True):
    """Predict once and compare with the true labels, for the report, the scorers and the displays.

    Parameters
    ----------
    estimator : fitted classifier
        With ``predict_error_proba``, ``predict_proba`` or ``decision_function``.

    X : array-like of length n_samples
        Rows, given to the estimator as they are.

    y : array-like of shape (n_samples,), default=None
        True labels; without them ``is_error`` is None.

    with_proba : bool, default=True
        Whether class probabilities are wanted beside a meta-model's error probability.

    Returns
    -------
    seen : ErrorObservation

    Raises
    ------
    TypeError
        If nothing says how sure the estimator is.
    ValueError
        If labels are missing, or of another type than those predicted.
    """
    if y is not None:
        y = check_labels(y, X)
    estimator, X = unwrap(estimator, X)
    has_meta_model = hasattr(estimator, "predict_error_proba")
    proba = accepted = None
    if hasattr(estimator, "accepts"):
        # A selective classifier is measured by the labels it would give without abstaining.
        labels, proba, error_proba = estimator._predict_all(X)
        accepted = error_proba <= estimator.threshold_
        # Without, it ranks by the probabilities: see SelectiveClassifier.
        has_meta_model = hasattr(final_estimator(estimator.estimator_), "predict_with_error")
        if with_proba and proba is None:
            proba = _class_proba(estimator, X)
    elif has_meta_model and hasattr(estimator, "_predict_all"):
        labels, proba, error_proba = estimator._predict_all(X)
    elif has_meta_model:
        if hasattr(estimator, "predict_with_error"):
            labels, error_proba = estimator.predict_with_error(X)
        else:
            labels = estimator.predict(X)
            error_proba = estimator.predict_error_proba(X)
        if with_proba:
            proba = _class_proba(estimator, X)
    else:
        proba = _class_proba(estimator, X)
        if proba is None:
            raise TypeError(
                f"{type(estimator).__name__} has none of predict_error_proba, predict_proba and "
                "decision_function, so nothing says how sure it is. Wrap it in "
                "MetaErrorClassifier, which works with labels alone."
            )
        labels, error_proba = call_base(estimator, "predict", X), _rest(proba)
    if not (hasattr(estimator, "predict_proba") or hasattr(estimator, "decision_function")):
        proba = None  # one-hot labels: nothing that a baseline could rank
    # The label decides, not the largest probability: they differ for a tuned decision threshold.
    labels = column_or_1d(labels)
    is_error = None
    if y is not None:
        check_same_kind(y, getattr(estimator, "classes_", labels[:0]), "y")
        is_error = labels != y
    return ErrorObservation(
        is_error, labels, np.asarray(error_proba), proba, has_meta_model, accepted
    )


def _class_proba(estimator, X):
    if hasattr(estimator, "predict_proba"):
        name = f"predict_proba of {type(estimator).__name__}"
        proba = call_base(estimator, "predict_proba", X)
        return check_proba(spread_unknown(estimator, proba), name=name)
    if hasattr(estimator, "decision_function"):
        return predict_proba(estimator, X, np.unique(estimator.classes_))
    return None


def _rest(proba):
    """Return 1 - max probability; summed where that rounds to 0, so that the order survives."""
    rest = 1 - proba.max(axis=1)
    summed = split_predicted(proba, proba.argmax(axis=1))[1]
    return np.clip(np.where(rest < 1e-4, summed, rest), 0, 1)


def _check_ranking(is_error, error_proba, sample_weight, *, drop_zero_weight=True):
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


def _check_probability(is_error, error_proba, sample_weight):
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    if error_proba.min() < 0 or error_proba.max() > 1:
        raise ValueError(
            "error_proba must be a probability in [0, 1] here, got values from "
            f"{error_proba.min():.4g} to {error_proba.max():.4g}. A score that only ranks can be "
            "measured with error_roc_auc, aurc or augrc."
        )
    return is_error, error_proba, weight


def _ranks(error_proba):
    # scikit-learn's metrics refuse infinite scores, which rank like any other.
    return np.unique(error_proba, return_inverse=True)[1]


def _ties(is_error, error_proba, sample_weight):
    """Return weight and error weight of each distinct error_proba, the most trusted first."""
    is_error, error_proba, weight = _check_ranking(is_error, error_proba, sample_weight)
    return _sum_ties(_ranks(error_proba), is_error, weight)


def _sum_ties(tie, is_error, weight):
    return np.bincount(tie, weights=weight), np.bincount(tie, weights=weight * is_error)


def _aurc(weight, error):
    # Sum over j of (e + j r) / (N + j) with r = E / W: the harmonic numbers are differences of
    # digamma, which also holds between the integers.
    accepted = np.cumsum(weight)
    before = np.append(0.0, accepted[:-1])
    errors_before = np.append(0.0, np.cumsum(error)[:-1])
    rate = np.divide(error, weight, out=np.zeros_like(error), where=weight > 0)
    harmonic = np.diff(digamma(np.append(0.0, accepted) + 1))
    return float((error + (errors_before - rate * before) * harmonic).sum() / accepted[-1])


def _augrc(weight, error):
    # The generalized risk grows linearly inside a tie: trapezoids are exact.
    share, error = weight / weight.sum(), error / weight.sum()
    errors_before = np.append(0.0, np.cumsum(error)[:-1])
    return float((share * (errors_before + error / 2)).sum())


def _ranking_metrics(weight, error):
    """Return the ranking columns of the report from sums over ties, which a draw can recompute."""
    n, n_wrong = weight.sum(), error.sum()
    error_rate = n_wrong / n
    generalized = _augrc(weight, error)
    roc_auc = fpr = float("nan")
    if 0 < n_wrong < n:
        # The identity of `augrc`, solved for the AUROC.
        roc_auc = 1 - (generalized - error_rate**2 / 2) / (error_rate * (1 - error_rate))
        accepted_right = np.cumsum(weight - error)
        enough = np.argmax(accepted_right >= 0.95 * (1 - _ROUNDING) * accepted_right[-1])
        fpr = np.cumsum(error)[enough] / n_wrong
    return roc_auc, _aurc(weight, error), generalized, fpr


def _bootstrap(is_error, scores, weight, n_bootstrap, random_state):
    """Draw rows with replacement, the same rows for each score.

    Returns the error rates, shape (n_bootstrap,), and ``{row: {metric: values}}``.
    """
    seed = None
    if random_state is not None:
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    rng = np.random.default_rng(seed)
    n_samples = len(is_error)
    # A draw changes the weights only: ties and losses are found once.
    ties = {row: _ranks(score) for row, (score, _) in scores.items()}
    losses = {
        row: _losses(is_error, score)
        for row, (score, is_probability) in scores.items()
        if is_probability
    }
    rates = np.empty(n_bootstrap)
    values = {row: np.empty((n_bootstrap, len(_REPORTED))) for row in scores}
    for draw in range(n_bootstrap):
        counts = np.bincount(rng.integers(n_samples, size=n_samples), minlength=n_samples)
        drawn = counts * weight
        if not drawn.any():
            rates[draw] = np.nan
            for row in scores:
                values[row][draw] = np.nan
            continue
        rates[draw] = drawn @ is_error / drawn.sum()
        for row in scores:
            values[row][draw, :_N_RANKING] = _ranking_metrics(
                *_sum_ties(ties[row], is_error, drawn)
            )
            if row in losses:
                values[row][draw, _N_RANKING:] = losses[row] @ drawn / drawn.sum()
    names = [metric.__name__ for metric in _REPORTED]
    return rates, {
        row: dict(zip(names if row in losses else names[:_N_RANKING], values[row].T))
        for row in scores
    }


def _losses(is_error, error_proba):
    """Return log-loss and squared error of each row, shape (2, n_samples)."""
    eps = np.finfo(np.float64).eps
    said = np.clip(np.where(is_error, error_proba, 1 - error_proba), eps, 1 - eps)
    return np.stack([-np.log(said), (error_proba - is_error) ** 2])


def _interval(values, confidence_level):
    values = values[np.isfinite(values)]
    if len(values) == 0:
        return float("nan"), float("nan")
    tail = (1 - confidence_level) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _format_report(report, digits):
    """Lay the report out as a table, 87 characters wide with three digits."""

    def number(value, name, sign=""):
        scale, places = (1000, max(digits - 2, 0)) if name in _PER_MILLE else (1, digits)
        return "n/a" if np.isnan(value) else f"{scale * value:{sign}.{places}f}"

    def interval(bounds, name, sign="", joint="-"):
        return joint.join(number(bound, name, sign) for bound in bounds)

    head = (
        f"n = {report['n_samples']}, wrong = {report['n_errors']}, "
        f"error rate = {report['error_rate']:.{digits}f}"
    )
    note = "AUROC: higher is better, others: lower. AURC and AUGRC times 1000."
    if report["n_bootstrap"]:
        head += f" ({interval(report['error_rate_interval'], None, joint=' to ')})"
        note += (
            f"\n{100 * report['confidence_level']:g} % intervals from {report['n_bootstrap']} "
            "bootstrap draws."
        )
    lines = [head, note]
    if report["difference"]:
        gains = []
        for name in ("error_roc_auc", "aurc"):
            gain = f"{_COLUMNS[name]} {number(report['difference'][name], name, '+')}"
            if report["n_bootstrap"]:
                bounds = report["difference_interval"][name]
                gain += f" ({interval(bounds, name, '+', ' to ')})"
            gains.append(gain)
        lines += ["meta-model minus max probability:", f"    {', '.join(gains)}"]

    name_width = max(len(row) for row in report["scores"])
    width = max(digits + 9, 2 * digits + 6) if report["n_bootstrap"] else digits + 7
    lines += [
        "",
        " " * name_width + "".join(f"{title:>{width}}" for title in _COLUMNS.values()),
    ]
    for row, values in report["scores"].items():
        cells = [number(values[name], name) if name in values else "-" for name in _COLUMNS]
        lines.append(f"{row:>{name_width}}" + "".join(f"{cell:>{width}}" for cell in cells))
        if report["n_bootstrap"]:
            bounds = report["intervals"][row]
            cells = [interval(bounds[name], name) if name in bounds else "" for name in _COLUMNS]
            under = " " * name_width + "".join(f"{cell:>{width}}" for cell in cells)
            lines.append(under.rstrip())
    return "\n".join(lines) + "\n"


# The columns of the report; those behind the first four need probabilities.
_REPORTED = (error_roc_auc, aurc, augrc, fpr_at_tpr, error_log_loss, error_brier_score)
_N_RANKING = 4
_COLUMNS = dict(
    zip(
        (metric.__name__ for metric in _REPORTED),
        ("AUROC", "AURC", "AUGRC", "FPR95", "log-loss", "Brier"),
    )
)
_PER_MILLE = ("aurc", "augrc")

_GREATER_IS_BETTER = {
    error_roc_auc: True,
    error_average_precision: True,
    fpr_at_tpr: False,
    aurc: False,
    excess_aurc: False,
    augrc: False,
    risk_at_coverage: False,
    coverage_at_risk: True,
    error_brier_score: False,
    error_log_loss: False,
}

#: Scorers by name; the names of losses begin with ``neg_``. As ``scoring=ERROR_SCORERS`` with
#: ``refit="error_roc_auc"``, or any other name, all metrics of a fold come from one pass over it.
#: Each item is a scorer of its own too. `risk_at_coverage` and `coverage_at_risk`, which need a
#: target, are left to `make_error_scorer`.
ERROR_SCORERS = _ErrorScorers(
    {
        ("" if greater_is_better else "neg_") + metric.__name__: make_error_scorer(metric)
        for metric, greater_is_better in _GREATER_IS_BETTER.items()
        if metric not in (risk_at_coverage, coverage_at_risk)
    }
)
