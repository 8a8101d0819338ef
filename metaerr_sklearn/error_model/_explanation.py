"""Explain error probabilities by contributions of the meta-features."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from .._utils import limits

_MAX_ROWS, _MAX_REASONS = 10, 3


class ErrorExplanation(NamedTuple):
    """Contributions to the log-odds of an error, for each row.

    ``contributions`` has shape (n_samples, n_contributions), in log-odds: above 0 = more likely
    wrong. ``names``, an array of str, names each column as "block: meta-feature". ``base_value``
    is the log-odds of a typical training row. The sum of ``base_value`` and the contributions of a
    row is the log-odds of its error probability. ``print`` shows the three largest contributions of
    each row, or of the ten rows with the highest error probability if there are more.
    """

    contributions: np.ndarray
    names: np.ndarray
    base_value: float

    def __repr__(self):
        contributions = np.atleast_2d(self.contributions)
        log_odds = contributions.sum(axis=1) + self.base_value
        rows = np.arange(len(contributions))
        which = f"{len(rows)} row{'' if len(rows) == 1 else 's'}"
        if len(rows) > _MAX_ROWS:
            rows = np.argsort(-log_odds, kind="stable")[:_MAX_ROWS]
            which = f"the {_MAX_ROWS} of {which} with the highest error probability"
        lines = [
            f"Reasons for {which}.",
            "+ raises, - lowers the log-odds of an error. "
            f"Typical training row: {self.base_value:.1f}",
            f"{'row':>7}  error probability  reasons",
        ]
        for row in rows:
            values = contributions[row]
            largest = np.argsort(-np.abs(values), kind="stable")[:_MAX_REASONS]
            reasons = [f"{values[j]:+.1f} {self.names[j]}" for j in largest if values[j]]
            lines.append(f"{row:>7}  {expit(log_odds[row]):>17.3f}  ")
            lines[-1] += f"\n{'':28}".join(reasons or ["none: like a typical row"])
        return "\n".join(lines)


class ExplainsErrors:
    """Methods of a fitted `ErrorModel` that explain its error probabilities.

    They read `meta_learner_`, `representation_`, the blocks and the cascade.
    """

    def explain_error(self, X, proba, *, y_pred=None):
        """Explain for each row what raises or lowers the log-odds of an error.

        Parameters
        ----------
        X : as in fit
            Inputs of the predictions.

        proba : array-like of shape (n_samples, n_classes)
            Class probabilities, columns as in fit.

        y_pred : array-like of shape (n_samples,), default=None
            Predicted labels; None takes the most probable class.

        Returns
        -------
        explanation : ErrorExplanation
            See `MetaErrorClassifier.explain_error`.

        Raises
        ------
        ValueError
            If the meta-learner's correction is no sum over meta-features ("mlp", or a classifier),
            or an argument is invalid as in `predict_error_proba`.
        """
        check_is_fitted(self)
        self.check_can_explain()
        return self.explain_observations(self._check_predictions(X, proba, y_pred))

    def explain_observations(self, observations):
        """Explain checked observations.

        Parameters
        ----------
        observations : Observations
            Rows with predictions.

        Returns
        -------
        explanation : ErrorExplanation
        """
        chunks = list(self._with_needed_inputs(observations).chunks(limits.ERROR_MODEL_CHUNK))
        parts, names, base_values = zip(*map(self._contributions, chunks or [observations]))
        return ErrorExplanation(np.concatenate(parts), np.array(names[0]), base_values[0])

    def check_can_explain(self):
        """Raise if the correction of the fitted meta-learner is no sum over meta-features."""
        if self.meta_learner_ is not None and not self.meta_learner_.is_additive:
            learner = getattr(self.meta_learner_, "estimator", self.meta_learner_)
            raise ValueError(
                "explain_error needs a meta-learner whose correction is a sum over meta-features, "
                f"got {type(learner).__name__}. Fit with meta_learner="
                '"auto", "lightgbm", "logistic" or "confidence".'
            )

    def _contributions(self, observations):
        return self._cascade.contributions(
            self.with_representation(observations), self._blocks, self.representation_
        )
