"""Calibrate log-odds by Platt scaling."""

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit


class PlattScaling:
    """Calibrate an error score by a line in log-odds, with Platt's smoothed targets.

    The slope is at least `min_slope`. The order of the scores is therefore kept, even if scores and
    errors of the training rows are not related.
    """

    min_slope = 0.05

    def fit(self, score, is_error, sample_weight):
        """Fit slope and intercept on scores in log-odds (higher = more likely wrong)."""
        n_errors = float(sample_weight @ is_error)
        n_correct = float(sample_weight.sum() - n_errors)
        target = np.where(is_error, (n_errors + 1) / (n_errors + 2), 1 / (n_correct + 2))

        def loss(theta):
            logits = theta[0] * score + theta[1]
            residual = sample_weight * (expit(logits) - target)
            value = sample_weight @ (np.logaddexp(0, logits) - target * logits)
            return value, np.array([residual @ score, residual.sum()])

        def hessian(theta):
            p = expit(theta[0] * score + theta[1])
            curvature = sample_weight * p * (1 - p)
            cross = curvature @ score
            return np.array([[curvature @ score**2, cross], [cross, curvature.sum()]])

        rate = (n_errors + 0.5) / (n_errors + n_correct + 1)
        start = [1.0, logit(rate) - float(np.average(score, weights=sample_weight))]
        theta = minimize(loss, start, jac=True, hess=hessian, method="trust-exact").x
        if theta[0] < self.min_slope:
            # The loss is convex, so that its minimum under the bound lies on the bound.
            level = np.average(target, weights=sample_weight)
            theta = [self.min_slope, shift_to_rate(self.min_slope * score, level, sample_weight)]
        self.slope_, self.intercept_ = map(float, theta)
        return self

    def fit_level(self, score, is_error, sample_weight):
        """Shift the score so that its mean probability is the smoothed error rate."""
        n_errors = float(sample_weight @ is_error)
        rate = (n_errors + 0.5) / (float(sample_weight.sum()) + 1)
        self.slope_, self.intercept_ = 1.0, shift_to_rate(score, rate, sample_weight)
        return self

    def predict(self, score):
        """Return calibrated log-odds of an error."""
        return self.slope_ * score + self.intercept_


def shift_to_rate(score, rate, sample_weight):
    """Return the number to add to log-odds so that their mean probability is `rate`."""
    bound = np.abs(score).max(initial=0) + 40

    def excess(shift):
        return np.average(expit(score + shift), weights=sample_weight) - rate

    return brentq(excess, -bound, bound)


def cross_fitted(score, is_error, weight, folds):
    """Return log-odds that are calibrated for the test rows of each fold by its training rows."""
    calibrated = np.array(score, dtype=float)
    for train, test in folds:
        part = PlattScaling().fit(score[train], is_error[train], weight[train])
        calibrated[test] = part.predict(score[test])
    return calibrated
