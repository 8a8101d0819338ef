"""Confidence intervals of the metrics of a report, in closed form, also for few errors."""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, expit, logit, ndtri, stdtrit

from ._checks import rank_scores
from ._risk_coverage import sum_ties


class Estimate(NamedTuple):
    """The value of a metric, and what its interval needs.

    ``influence`` has the derivative of the value with respect to the share of each row, ``error``
    is the standard error of the value, and ``low`` and ``high`` are the bounds of its interval.
    """

    value: float
    influence: np.ndarray
    error: float
    low: float
    high: float


class Intervals:
    """Confidence intervals for metrics of the same rows.

    Standard errors come from influence functions: for rows with weights w of the sum N, the
    variance of a metric is the sum of (w / N * influence)^2. With few errors the errors decide, so
    quantiles are those of a t distribution whose degrees of freedom are the number of errors, or of
    right predictions if there are fewer, minus 1.

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where the prediction is wrong.
    weight : ndarray of shape (n_samples,)
        Weights.
    confidence_level : float in (0, 1)
        Level of the intervals.
    """

    def __init__(self, is_error, weight, confidence_level):
        self.is_error, self.weight = is_error, weight
        self.share = weight / weight.sum()
        self.n_wrong, self.n_right = (
            effective_number(weight[rows]) for rows in (is_error, ~is_error)
        )
        self.normal_quantile = -ndtri((1 - confidence_level) / 2)
        n_rare = min(self.n_wrong, self.n_right)
        self.t_quantile = -stdtrit(max(n_rare - 1, 1), (1 - confidence_level) / 2)
        wrong, right = weight[is_error].sum(), weight[~is_error].sum()
        self.error_rate = float(wrong / (wrong + right))  # exactly 1 if all rows are wrong
        self.rate_interval = self._error_rate_interval()

    def _error_rate_interval(self):
        variance = np.sum((self.share * (self.is_error - self.error_rate)) ** 2)
        number = effective_number(self.weight)
        if variance > 0:
            number = self.error_rate * (1 - self.error_rate) / variance
        return wilson(self.error_rate, number, self.normal_quantile)

    def ranking(self, score, values):
        """Return the estimates of AUROC, AURC and AUGRC, whose values are given in this order."""
        tie = rank_scores(score)
        ties = sum_ties(tie, self.is_error, self.weight)
        influences = (
            self._influence_on_auroc(tie, *ties, values[0]),
            _influence_on_aurc(tie, self.is_error, *ties, values[1]),
            _influence_on_augrc(tie, self.is_error, *ties, values[2]),
        )
        bounds = self._auroc_bounds, self._log_bounds(1.0), self._log_bounds(0.5)
        return [self._estimate(*parts) for parts in zip(values, influences, bounds)]

    def mean_loss(self, losses, value, highest):
        """Return the estimate of a mean of losses, which are at most `highest`."""
        return self._estimate(value, losses - value, self._log_bounds(highest, of_ranking=False))

    def mean_difference(self, one, other):
        """Return the t interval of the difference of two mean losses."""
        value = one.value - other.value
        margin = self.t_quantile * self._standard_error(one.influence - other.influence)
        return float(value - margin), float(value + margin)

    def difference(self, one, other):
        """Return the interval of the difference of two ranking metrics.

        There are two intervals: the t interval, which is symmetric, and that of MOVER [1]_, which
        combines the bounds of the two estimates. With few errors, the t interval does not contain
        large differences often enough, and that of MOVER does not contain small ones often enough.
        The level of the mean of both is nearer to `confidence_level` (simulated with 10 to 90
        errors).

        References
        ----------
        .. [1] Zou, Donner (2008). Construction of Confidence Limits about Effect Measures: A
           General Approach, Statistics in Medicine.
        """
        value = one.value - other.value
        if np.isnan(value):
            return float("nan"), float("nan")
        error = self._standard_error(one.influence - other.influence)
        product = one.error * other.error
        if product > 0 and error <= 1e-12 * one.error:  # the same order, or the same losses
            return value, value
        covariance = np.sum(self.share**2 * one.influence * other.influence)
        correlation = np.clip(covariance / product, -1, 1) if product > 0 else 0.0

        def distance(from_one, from_other):
            joined = from_one**2 + from_other**2 - 2 * correlation * from_one * from_other
            return (np.sqrt(max(joined, 0)) + self.t_quantile * error) / 2

        low = value - distance(one.value - one.low, other.high - other.value)
        high = value + distance(one.high - one.value, other.value - other.low)
        return float(max(low, -1)), float(min(high, 1))

    def _estimate(self, value, influence, find_bounds):
        error = self._standard_error(influence)
        low, high = find_bounds(value, error)
        return Estimate(value, influence, error, float(low), float(high))

    def _standard_error(self, influence):
        return float(np.sqrt(np.sum((self.share * influence) ** 2)))

    def _log_bounds(self, highest, *, of_ranking=True):
        """Return a function that finds bounds on the log scale; no metric is above `highest`."""

        def bounds(value, error):
            if of_ranking and not 0 < self.error_rate < 1:
                # There is no pair to rank: the bounds are those of a random order.
                return tuple(highest * bound for bound in self.rate_interval)
            if value == 0:
                return 0.0, 0.0
            with np.errstate(over="ignore"):
                factor = np.exp(self.t_quantile * error / value)
            return value / factor, min(value * factor, max(highest, value))

        return bounds

    def _auroc_bounds(self, value, error):
        """Return bounds on the logit scale.

        DeLong's variance is too small if few errors are all ranked high, and 0 if all of them are
        above all right rows. Therefore it is averaged, with the weight of one error, with the
        variance of Hanley and McNeil at an AUROC to which half a tied error is added.
        """
        if np.isnan(value):
            return value, value
        m, n = self.n_wrong, self.n_right
        shrunk = (m * value + 0.25) / (m + 0.5)
        larger = (m + n) / 2 - 1
        typical = shrunk * (1 - shrunk) / (m * n)
        typical *= 1 + larger * ((1 - shrunk) / (2 - shrunk) + shrunk / (1 + shrunk))
        error = np.sqrt((m * error**2 + typical) / (m + 1))
        inside = np.clip(value, 0.5 / (m * n), 1 - 0.5 / (m * n))
        margin = self.t_quantile * error / (inside * (1 - inside))
        low, high = expit(logit(inside) - margin), expit(logit(inside) + margin)
        return min(low, value), max(high, value)

    def _influence_on_auroc(self, tie, weight, error, value):
        """Return DeLong's placements, scaled so that their variance is that of the AUROC."""
        n_wrong, right = error.sum(), weight - error
        if not 0 < n_wrong < weight.sum():
            return np.full(len(tie), np.nan)
        # Share of right rows below an error, and of errors above a right row; ties count half.
        below = (np.cumsum(right) - right / 2) / right.sum()
        above = 1 - (np.cumsum(error) - error / 2) / n_wrong
        rate = n_wrong / weight.sum()
        influence = np.where(
            self.is_error, (below - value)[tie] / rate, (above - value)[tie] / (1 - rate)
        )
        # The unbiased variance among m errors divides by m - 1.
        number = np.where(self.is_error, self.n_wrong, self.n_right)
        return influence * np.sqrt(number / np.maximum(number - 1, 1))


def _influence_on_aurc(tie, is_error, weight, error, value):
    """Differentiate the sum over ties in `aurc_of_ties` with respect to the share of a row."""
    accepted, errors = np.cumsum(weight), np.cumsum(error)
    before, errors_before = accepted - weight, errors - error
    safe = np.where(weight > 0, weight, 1.0)
    rate = error / safe
    harmonic = digamma(accepted + 1) - digamma(np.maximum(before, 0) + 1)
    excess = errors_before - rate * before
    # Inside a tie the risk is rate + excess / accepted. A row is accepted before the later ties,
    # and inside its own tie for a part that grows from 0 to 1.
    mean_risk = (error + excess * harmonic) / safe
    inverse = np.divide(weight, accepted * before, out=np.zeros_like(weight), where=before > 0)
    later_harmonic = harmonic.sum() - np.cumsum(harmonic)
    risk_harmonic = rate * harmonic + excess * inverse
    later_risk = risk_harmonic.sum() - np.cumsum(risk_harmonic)
    grown = 1 - before * harmonic / safe
    own_risk = excess * (harmonic / safe - np.divide(1, accepted, where=accepted > 0, out=safe * 0))
    own_risk += rate * grown
    per_error = later_harmonic + grown
    influence = mean_risk - later_risk - own_risk - value
    return influence[tie] + np.where(is_error, per_error[tie], 0.0)


def _influence_on_augrc(tie, is_error, weight, error, value):
    """Differentiate the trapezoids in `augrc_of_ties` with respect to the share of a row."""
    share, error = weight / weight.sum(), error / weight.sum()
    middle_error = np.cumsum(error) - error / 2
    middle = np.cumsum(share) - share / 2
    return (middle_error - 2 * value)[tie] + np.where(is_error, (1 - middle)[tie], 0.0)


def effective_number(weight):
    """Return the number of equal weights with the same relative variance of the sum (Kish)."""
    total = weight.sum()
    return float(total**2 / np.sum(weight**2)) if total > 0 else 0.0


def wilson(rate, number, quantile):
    """Return the interval of Wilson (1927) for a rate, also if the number is no integer."""
    if number <= 0:
        return float("nan"), float("nan")
    extra = quantile**2 / number
    center = (rate + extra / 2) / (1 + extra)
    margin = quantile * np.sqrt(rate * (1 - rate) / number + extra / (4 * number)) / (1 + extra)
    # By rounding, the bound at a rate of 0 or 1 may be on its other side.
    return float(max(min(center - margin, rate), 0)), float(min(max(center + margin, rate), 1))
