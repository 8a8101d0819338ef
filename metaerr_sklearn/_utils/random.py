"""Draw seeds and rows at random."""

import numpy as np
from sklearn.utils import check_random_state


def draw_seed(random_state):
    """Draw an integer seed; None gives a new one, and NumPy's global generator is not used."""
    if random_state is None:
        return int(np.random.default_rng().integers(np.iinfo(np.int32).max))
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def random_state_params(estimator):
    """Return the parameters ``random_state`` of an estimator and of those inside it, by name."""
    if not hasattr(estimator, "get_params"):
        return {}
    params = sorted(estimator.get_params(deep=True).items())
    return {name: value for name, value in params if name.split("__")[-1] == "random_state"}


def systematic_sample(weight, seed):
    """Draw positions by systematic sampling: weight w gives floor(w) or ceil(w) draws.

    With the seed None, each call draws other positions.
    """
    edges = np.cumsum(weight)
    points = np.arange(np.random.default_rng(seed).uniform(), edges[-1], 1.0)
    return np.searchsorted(edges, points, side="right")
