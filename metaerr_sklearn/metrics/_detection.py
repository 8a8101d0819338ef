"""Measure how well an error probability detects errors."""

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    roc_auc_score,
    roc_curve,
)

from .._utils.parameter_checks import check_fraction
from ._checks import ROUNDING, check_probability, check_ranking, rank_scores


def error_roc_auc(is_error, error_proba, *, sample_weight=None):
    """Compute the area under the ROC curve of error detection (higher is better).

    This is the probability that a wrong sample has a higher `error_proba` than a right one; a tie
    counts one half. The literature calls it failure AUROC or misclassification AUROC.

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
        0.5 for a random order. NaN if every sample is right or every sample is wrong, because there
        is no pair to compare.

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
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    if is_error.all() or not is_error.any():
        return float("nan")
    return float(roc_auc_score(is_error, rank_scores(error_proba), sample_weight=weight))


def error_average_precision(is_error, error_proba, *, sample_weight=None):
    """Compute the average precision of error detection (higher is better).

    This is the area under the precision-recall curve with errors as the positive class, summed in
    steps: ``sum_t (recall_t - recall_{t-1}) precision_t`` over the thresholds t. Tied rows share
    one threshold, as in scikit-learn.

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
        About the error rate for a random order, so compare only classifiers of equal error rate. 1
        if every sample is wrong; NaN if every sample is right, because recall is then undefined.

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
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    if not is_error.any():
        return float("nan")
    return float(average_precision_score(is_error, rank_scores(error_proba), sample_weight=weight))


def fpr_at_tpr(is_error, error_proba, *, tpr=0.95, sample_weight=None):
    """Compute the share of errors accepted when most right samples are accepted (lower is better).

    Accept the samples with the lowest `error_proba` until a fraction `tpr` of the right samples is
    accepted. The metric is the fraction of the wrong samples accepted with them. The papers on
    misclassification detection call it FPR95; their positive class is the right samples. For the
    reverse definition, the share of right samples flagged when a fraction `tpr` of the errors is
    flagged, compute ``fpr_at_tpr(~is_error, -error_proba)``.

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
        together. NaN if every sample is right or every sample is wrong, because one of the two
        rates is then undefined.

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
    is_error, error_proba, weight = check_ranking(is_error, error_proba, sample_weight)
    if is_error.all() or not is_error.any():
        return float("nan")
    accepted_errors, accepted_right, _ = roc_curve(
        ~is_error, -rank_scores(error_proba), sample_weight=weight, drop_intermediate=False
    )
    return float(accepted_errors[np.argmax(accepted_right >= tpr * (1 - ROUNDING))])


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
        The constant prediction r, with r the error rate, scores ``r (1 - r)``.

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
    is_error, error_proba, weight = check_probability(is_error, error_proba, sample_weight)
    return float(brier_score_loss(is_error, error_proba, sample_weight=weight, pos_label=True))


def error_log_loss(is_error, error_proba, *, sample_weight=None):
    """Compute the log-loss of the error probability, in nats (lower is better).

    Parameters
    ----------
    is_error : array-like of bool, shape (n_samples,)
        True where the classifier is wrong.

    error_proba : array-like of float in [0, 1], shape (n_samples,)
        Probability that the classifier is wrong. It is clipped away from 0 and 1 by the machine
        epsilon, as in scikit-learn: a certain and wrong prediction costs 36 nats, not infinity.

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
    is_error, error_proba, weight = check_probability(is_error, error_proba, sample_weight)
    return float(log_loss(is_error, error_proba, sample_weight=weight, labels=[False, True]))
