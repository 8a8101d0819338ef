"""Calibrate the log-odds that the error model starts from."""

import numpy as np

from .._utils.platt import PlattScaling, cross_fitted
from .._utils.probabilities import log_losses_of_logits

# Weights of the confidence, of the second opinion and of the mean of all votes that are tried, by
# the terms at hand beside the confidence: (second opinion, votes).
_CANDIDATES = {
    (False, False): [(1, 0, 0)],
    (True, False): [(0.5, 0.5, 0), (0.75, 0.25, 0), (1, 0, 0)],
    (False, True): [(0, 0, 1), (0.25, 0, 0.75), (0.5, 0, 0.5), (1, 0, 0)],
    (True, True): [
        (0, 0.25, 0.75),
        (0.5, 0.5, 0),
        (0.25, 0.25, 0.5),
        (0, 0, 1),
        (0.5, 0, 0.5),
        (1, 0, 0),
    ],
}


class CalibratedOffset:
    """Average several log-odds of an error and calibrate the mean by Platt scaling.

    The terms are the confidence of the base, a second opinion, and the votes of observers, which
    count together as one term. The weights are the first of a few candidates, unless another one
    lowers the cross-fitted log-loss by more than the standard error of the difference: a second
    opinion that is worse than the confidence, for example, can make the mean worse than the
    confidence.
    """

    def fit(self, terms, is_error, weight, folds):
        """Fit the offset.

        Parameters
        ----------
        terms : dict of str to ndarray of shape (n_samples,)
            Log-odds of an error by name: "confidence", "second_opinion", and any other names for
            votes.
        is_error : ndarray of bool, shape (n_samples,)
            True where the prediction is wrong.
        weight : ndarray of shape (n_samples,)
            Weights of the rows.
        folds : list of (train, test)
            Positions for cross-fitting.

        Returns
        -------
        oof : ndarray of shape (n_samples,)
            Cross-fitted offset of the training rows. An offset fitted on the rows themselves would
            be too good on them, and the meta-learner would learn too small a correction.
        """
        others = self._set_first_weights(terms, weight)
        oof, best = cross_fitted(self._mean(terms), is_error, weight, folds), 0.0
        losses = log_losses_of_logits(is_error, oof)
        for term_weights in others:
            score = self._mean(terms, term_weights)
            other = cross_fitted(score, is_error, weight, folds)
            gain = losses - log_losses_of_logits(is_error, other)
            mean = np.average(gain, weights=weight)
            error = np.sqrt(np.average((gain - mean) ** 2, weights=weight) / len(gain))
            if mean > max(error, best):
                best, oof, self._term_weights = mean, other, term_weights
        self._scaling = PlattScaling().fit(self._mean(terms), is_error, weight)
        return oof

    def fit_level(self, terms, is_error, weight):
        """Only shift the mean of the terms to the level of the error rate; return the offset."""
        self._set_first_weights(terms, weight)
        score = self._mean(terms)
        self._scaling = PlattScaling().fit_level(score, is_error, weight)
        return self._scaling.predict(score)

    def predict(self, terms):
        """Return the calibrated log-odds of an error."""
        return self._scaling.predict(self._mean(terms))

    def contributions(self, terms):
        """Split the offset into one part for each term.

        Returns
        -------
        parts : list of ndarray of shape (n_samples,)
            Relative to the weighted mean of the training rows; named by `contribution_names`.
        base_value : float
            Offset of a training row with mean terms.
        """
        slope = self._scaling.slope_
        parts = [
            slope * self._term_weights[name] * (term - self._typical_terms[name])
            for name, term in terms.items()
        ]
        base_value = self._scaling.intercept_ + slope * self._mean(self._typical_terms)
        return parts, base_value

    @property
    def contribution_names(self):
        """Names of the parts of the offset."""
        return [f"offset: {name}" for name in self._typical_terms]

    @property
    def used_terms(self):
        """Names of the terms whose weight is not 0, for a sentence."""
        names = [name for name, weight in self._term_weights.items() if weight]
        return " and ".join(names).replace("second_opinion", "second opinion")

    def _set_first_weights(self, terms, weight):
        """Set the first candidate for the weights of the terms, and return the others."""
        self._typical_terms = {
            name: float(np.average(term, weights=weight)) for name, term in terms.items()
        }
        self._term_weights, *others = _candidates(terms)
        return others

    def _mean(self, terms, term_weights=None):
        term_weights = self._term_weights if term_weights is None else term_weights
        return sum(term_weights[name] * term for name, term in terms.items())


def _candidates(names):
    """Return the candidates for the weights of the terms of these names."""
    votes = [name for name in names if name not in ("confidence", "second_opinion")]
    candidates = []
    for confidence, second, voted in _CANDIDATES["second_opinion" in names, bool(votes)]:
        known = {"confidence": confidence, "second_opinion": second}
        candidates.append(
            {name: known[name] if name in known else voted / len(votes) for name in names}
        )
    return candidates
