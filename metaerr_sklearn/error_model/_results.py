"""Results of an error model."""

from typing import NamedTuple

import numpy as np


class ErrorExplanation(NamedTuple):
    """Contributions to the log-odds of an error, for each row.

    ``contributions`` has shape (n_samples, n_contributions), in log-odds: above 0 = more likely
    wrong. ``names``, an array of str, names each column as "block: meta-feature". ``base_value``
    is the log-odds of a typical training row. The sum of ``base_value`` and the contributions of a
    row is the log-odds of its error probability.
    """

    contributions: np.ndarray
    names: np.ndarray
    base_value: float
