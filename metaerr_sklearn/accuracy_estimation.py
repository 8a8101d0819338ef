"""Estimate an accuracy and its interval from the error probabilities of unlabeled rows."""

from typing import NamedTuple

import numpy as np
from scipy.special import bdtrc, betaincinv, logit
from sklearn.utils import check_consistent_length, column_or_1d

from ._utils.in_memory import check_numbers
from ._utils.label_checks import check_booleans
from ._utils.messages import warn_caller
from ._utils.parameter_checks import check_fraction
from ._utils.weights import weights_or_ones

__all__ = ["AccuracyEstimate", "accuracy_interval"]

_EPS = 1e-12
# From this share of novel rows on, a warning says that the estimate does not hold.
_MAX_NOVELTY = 0.1
# Where numbers for each row come from, by their name.
_SOURCES = {
    "error_proba": "the output of predict_error_proba",
    "novelty": "the output of predict_novelty",
    "oof_error_proba": "the attribute oof_error_proba_ of a fitted model",
}


class AccuracyEstimate(NamedTuple):
    """Expected accuracy on unlabeled rows, the bounds of its interval, and the novelty of the rows.

    All values are in [0, 1]. ``novelty`` is the share of rows that are more unlike the training
    rows than 99 % of the training rows are. If it is far above 0.01, the rows are unlike the
    training rows of the error model, and the estimate may be wrong.
    """

    accuracy: float
    low: float
    high: float
    novelty: float


def warn_if_novel(is_novel, n_known):
    """Warn if a tenth of the rows or more are unlike the training rows.

    Parameters
    ----------
    is_novel : ndarray of bool, shape (n_samples,)
        True for a row that is unlike the training rows.
    n_known : int
        Number of training rows that the rows were compared with.
    """
    n_samples, n_novel = len(is_novel), np.sum(is_novel)
    # One of five rows may be novel by chance: the test is binomial. If few training rows are known,
    # more rows of the same source are beyond all of them: more than 5 / n_known in 1 % of fits.
    least = max(_MAX_NOVELTY, 5 / max(n_known, 1))
    if n_novel >= least * n_samples > 0 and bdtrc(n_novel - 1, n_samples, 0.01) < 0.005:
        warn_caller(
            f"{n_novel / n_samples:.0%} of the {n_samples} rows are unlike the training rows (1 % "
            "is expected). The estimated accuracy and its interval do not hold on such rows: the "
            "accuracy may be far lower. Look at the rows where predict_novelty(X) > 0.99, label "
            "some of them, and train with them."
        )


def check_shares(values, name, *, allow_nan=False):
    """Return numbers from 0 to 1 as one column of floats, or raise.

    Parameters
    ----------
    values : array-like of shape (n_samples,)
        One number for each row.
    name : str
        Their name in the error message.
    allow_nan : bool, default=False
        Whether a row may have no number.

    Returns
    -------
    values : ndarray of shape (n_samples,)
    """
    check_numbers(values, name)
    values = column_or_1d(values).astype(np.float64)
    # Probabilities that are rounded to low precision may sum to a little more than 1.
    is_share = (values > -0.01) & (values < 1.01) | (allow_nan & np.isnan(values))
    if not is_share.all():
        raise ValueError(
            f"{name} must be between 0 and 1 in each row, got {values[~is_share][0]:.4g} in row "
            f"{np.argmin(is_share)}. Pass {_SOURCES[name]}."
        )
    return values


def accuracy_interval(
    error_proba,
    oof_error_proba=None,
    is_novel=None,
    *,
    oof_weight=None,
    learned_share=1.0,
    confidence_level=0.95,
):
    """Estimate the accuracy on unlabeled rows from their error probabilities.

    For the outputs of a fitted model, its method of the same name has fewer arguments.

    Parameters
    ----------
    error_proba : array-like of shape (n_samples,)
        Probability that each prediction is wrong.

    oof_error_proba : array-like of shape (n_train,), default=None
        Out-of-fold error probabilities of the training rows of the error model; NaN is left out. If
        None, the uncertainty of the error model is unknown, and the bounds are NaN.

    is_novel : array-like of bool, shape (n_samples,), default=None
        Whether each row is unlike the training rows. If None, the novelty is NaN.

    oof_weight : array-like of shape (n_train,), default=None
        Weights of the training rows, at least 0; None means equal weights.

    learned_share : float in (0, 1], default=1.0
        Share of the information in the training rows that the error model was trained on: less than
        1 if it was trained on a sample of them.

    confidence_level : float in (0, 1), default=0.95
        Probability that the interval contains the accuracy.

    Returns
    -------
    estimate : AccuracyEstimate

    Raises
    ------
    ValueError
        If there is no row, if a value is out of range, if lengths differ, or if no training row
        with positive weight has an out-of-fold error probability.

    Notes
    -----
    The estimated error rate is the mean error probability m. Its variance has two parts:

    * The variance of the model: the error logit is recalibrated with an intercept and a slope.
      Their variance is the inverse of the Fisher information of the out-of-fold rows, of which
      `learned_share` was used. With weights it is the sandwich variance [1]_: weights that do not
      depend on the errors leave the information of sum(w)^2 / sum(w^2) rows. The slope has a
      standard normal prior, because a few errors do not determine it. The delta method gives the
      resulting variance of m.
    * The variance of the rows: n rows drawn with replacement, each wrong with its own error
      probability, are n Bernoulli draws with rate m.

    The bounds are quantiles of a Beta distribution with mean m and the sum of the two variances.
    They approximate a bootstrap of the out-of-fold rows, of the rows and of their errors, without
    random numbers. With the variance of the model alone and a constant error probability, the
    interval is the Jeffreys interval. Bounds are rounded outwards to multiples of 1/n, the only
    values that the accuracy on n rows can take.

    References
    ----------
    .. [1] White (1982). Maximum Likelihood Estimation of Misspecified Models, Econometrica.
    """
    check_fraction(confidence_level, "confidence_level", closed="neither")
    error_proba = check_shares(error_proba, "error_proba")
    n_samples = len(error_proba)
    if n_samples == 0:
        raise ValueError("The accuracy on 0 rows is not defined: X must have at least one row.")
    accuracy = float(np.clip(1 - np.mean(error_proba), 0, 1))
    novelty = float("nan")
    if is_novel is not None:
        is_novel = check_booleans(
            is_novel, "is_novel", "a row is unlike the training rows", "predict_novelty(X) > 0.99"
        )
        check_consistent_length(error_proba, is_novel)
        novelty = float(np.mean(is_novel))
    check_fraction(learned_share, "learned_share")
    if oof_error_proba is None:
        return AccuracyEstimate(accuracy, float("nan"), float("nan"), novelty)
    known, weight = _check_training_rows(oof_error_proba, oof_weight)
    center, covariance = _recalibration(known, weight, learned_share)
    error_proba = np.clip(error_proba, _EPS, 1 - _EPS)
    slopes = error_proba * (1 - error_proba)
    gradient = np.array([np.mean(slopes), np.mean(slopes * (logit(error_proba) - center))])
    variance_model = gradient @ covariance @ gradient
    rate = float(np.mean(error_proba))
    share_model = min(variance_model / (rate * (1 - rate)), 1)
    share = share_model + (1 - share_model) / n_samples
    # With one row, or without information about the model, all mass is at 0 and 1.
    strength = max(1 / share - 1, 1e-3)
    tail = (1 - confidence_level) / 2
    least, most = betaincinv(rate * strength, (1 - rate) * strength, [tail, 1 - tail])
    rounding = 1e-9
    low = float(np.floor((1 - most) * n_samples + rounding) / n_samples)
    high = float(np.ceil((1 - least) * n_samples - rounding) / n_samples)
    return AccuracyEstimate(accuracy, min(accuracy, low), max(accuracy, high), novelty)


def _check_training_rows(oof_error_proba, oof_weight):
    """Return the error probabilities of the training rows that have one, and their weights."""
    oof_error_proba = check_shares(oof_error_proba, "oof_error_proba", allow_nan=True)
    is_known = ~np.isnan(oof_error_proba)
    if oof_weight is not None:
        check_numbers(oof_weight, "oof_weight")
        oof_weight = column_or_1d(oof_weight)
        check_consistent_length(oof_error_proba, oof_weight)
    weight = weights_or_ones(oof_weight, len(is_known))[is_known]
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.any()):
        raise ValueError(
            f"Of {len(is_known)} training rows, {len(weight)} have an out-of-fold error "
            "probability. Their weights must be finite and at least 0, and one of them positive, "
            f"got {weight[:5].tolist()}{'...' if len(weight) > 5 else ''}. Pass None as "
            "oof_error_proba if it is not known: the bounds are then NaN."
        )
    return oof_error_proba[is_known], weight


def _recalibration(oof_error_proba, weight, learned_share):
    """Return the center of the logits, and the covariance of intercept and slope around it."""
    known = np.clip(oof_error_proba, _EPS, 1 - _EPS)
    # With this scale, the weights of independent rows sum to the effective number of rows.
    weight = weight * weight.sum() / (weight**2).sum() * learned_share
    information = known * (1 - known)
    # If the logits are centered at their weighted mean, intercept and slope are independent, unless
    # the weights depend on the logits.
    center = np.average(logit(known), weights=weight * information)
    centered = logit(known) - center
    design = np.column_stack([np.ones(len(known)), centered])
    bread = np.diag((weight * information) @ design**2)
    # Squared weights estimate the variance of the score; a sample has only a share of the rows.
    meat = design.T @ (design * (weight**2 / learned_share * information)[:, None])
    prior = np.diag([0.0, 1.0])
    inverse = np.linalg.inv(bread + prior)
    return center, inverse @ (meat + prior) @ inverse
