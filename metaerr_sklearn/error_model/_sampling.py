"""Draw the rows that an error model is trained on."""

from typing import NamedTuple

import numpy as np

from .._utils import limits


class DrawnRows(NamedTuple):
    """The rows to learn from, and what is known of how they were drawn.

    ``rows`` are positions, ``reference`` the positions in `rows` of those drawn whatever their
    outcome (None = all), ``weight`` makes up for outcomes drawn beyond their share (None = none),
    and ``later`` are the positions of rows that tell nothing about the drawn ones, nor these about
    them: the fitted model is honest there.
    """

    rows: object
    reference: np.ndarray
    weight: np.ndarray
    unused: np.ndarray


ALL_ROWS = DrawnRows(slice(None), None, None, np.arange(0))


def draw_rows(is_error, relation, seed, *, oversample_errors):
    """Draw `MAX_FIT_ROWS` rows; groups and copies as a whole, if they are not too large for that.

    The rarer outcome, mostly the errors, is what there is to learn about: where it makes up less
    than a quarter of the rows, some more of it are drawn and count less, if `oversample_errors`.
    """
    random_state = np.random.default_rng(seed)
    n_samples, weight = len(is_error), None
    is_drawn = np.zeros(n_samples, dtype=bool)
    if relation is not None:
        _, group, size = np.unique(relation, return_inverse=True, return_counts=True)
        if size.max() <= limits.MAX_FIT_ROWS // 10:
            order = random_state.permutation(len(size))
            whole = order[np.cumsum(size[order]) <= limits.MAX_FIT_ROWS]
            is_drawn = np.isin(group, whole)
    if not is_drawn.any():
        is_drawn[random_state.permutation(n_samples)[: limits.MAX_FIT_ROWS]] = True
    is_reference = is_drawn.copy()
    if relation is None and oversample_errors:
        is_rare = is_error if 2 * is_error.sum() <= n_samples else ~is_error
        n_more = max(0, limits.MAX_FIT_ROWS // 4 - np.sum(is_rare & is_drawn))
        more = random_state.permutation(np.flatnonzero(is_rare & ~is_drawn))[:n_more]
        is_drawn[more] = True
        if len(more):
            share = np.mean(is_rare) * limits.MAX_FIT_ROWS / np.sum(is_rare & is_drawn)
            weight = np.where(is_rare, share, 1.0)[is_drawn]
    is_unused = ~is_drawn if relation is None else ~np.isin(group, group[is_drawn])
    rows = np.flatnonzero(is_drawn)
    reference = np.flatnonzero(is_reference[rows])
    return DrawnRows(rows, reference, weight, np.flatnonzero(is_unused))
