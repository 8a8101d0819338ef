"""Results of an error model."""

from typing import NamedTuple

import numpy as np
from scipy.special import expit

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
