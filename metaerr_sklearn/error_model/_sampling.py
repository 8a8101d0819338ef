"""Sample the rows that an error model is trained on."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .._utils import limits


class Sample(NamedTuple):
    """Rows to train on, and how they were sampled.

    ``rows`` holds the positions of the sampled rows; None means all rows. ``reference`` holds the
    positions in ``rows`` of the rows that were sampled regardless of their outcome. ``weight``
    holds weights that correct for oversampled outcomes; None means equal weights. ``unused`` holds
    the rows that are neither sampled nor related to a sampled row: the fitted model predicts them
    out-of-sample.
    """

    rows: np.ndarray
    reference: np.ndarray
    weight: np.ndarray
    unused: np.ndarray


def sample_rows(is_error, relation, seed, *, oversample_errors):
    """Sample `limits.MAX_FIT_ROWS` rows if there are more.

    Groups and duplicates are sampled as a whole, unless one of them has more than a tenth of that
    number of rows. If less than a quarter of the sample has the rarer outcome (mostly errors), more
    rows of this outcome are added, with a lower weight.

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where the prediction is wrong.
    relation : ndarray of shape (n_samples,) or None
        Equal values mark related rows: groups or duplicates.
    seed : int
        Seed.
    oversample_errors : bool
        Whether rows of the rarer outcome may be added. None are added if rows are related.

    Returns
    -------
    sample : Sample
    """
    n_samples, weight = len(is_error), None
    if n_samples <= limits.MAX_FIT_ROWS:
        return Sample(None, np.arange(n_samples), None, np.arange(0))
    random_state = np.random.default_rng(seed)
    is_sampled = np.zeros(n_samples, dtype=bool)
    if relation is not None:
        _, group, size = np.unique(relation, return_inverse=True, return_counts=True)
        if size.max() <= limits.MAX_FIT_ROWS // 10:
            order = random_state.permutation(len(size))
            whole = order[np.cumsum(size[order]) <= limits.MAX_FIT_ROWS]
            is_sampled = np.isin(group, whole)
    if not is_sampled.any():
        is_sampled[random_state.permutation(n_samples)[: limits.MAX_FIT_ROWS]] = True
    is_reference = is_sampled.copy()
    if relation is None and oversample_errors:
        is_rare = is_error if 2 * is_error.sum() <= n_samples else ~is_error
        n_more = max(0, limits.MAX_FIT_ROWS // 4 - np.sum(is_rare & is_sampled))
        more = random_state.permutation(np.flatnonzero(is_rare & ~is_sampled))[:n_more]
        is_sampled[more] = True
        if len(more):
            share = np.mean(is_rare) * limits.MAX_FIT_ROWS / np.sum(is_rare & is_sampled)
            weight = np.where(is_rare, share, 1.0)[is_sampled]
    is_unused = ~is_sampled if relation is None else ~np.isin(group, group[is_sampled])
    rows = np.flatnonzero(is_sampled)
    return Sample(rows, np.flatnonzero(is_reference[rows]), weight, np.flatnonzero(is_unused))


def without_zero_weights(observations):
    """Return the positions of the rows of positive weight, and these rows with mean weight 1.

    Equal weights become None, so that the result equals the unweighted one to the last bit. `fold`
    becomes None if one classifier predicted all rows.
    """
    rows, weight = slice(None), observations.sample_weight
    if weight is not None and (weight == 0).any():
        rows = np.flatnonzero(weight > 0)
        observations = observations.take(rows)
        weight = observations.sample_weight
    if weight is not None:
        # Trees choose between equal splits by the last bits, which depend on the scale of weights.
        rounded = (weight / weight.mean()).astype(np.float32)
        weight = None if np.ptp(weight) == 0 else rounded.astype(float)
    fold = observations.fold
    if fold is not None and len(np.unique(fold)) < 2:
        fold = None
    return rows, replace(observations, sample_weight=weight, fold=fold)


def spread_weights(weight, rows, n_samples):
    """Return the weights of some rows among all rows, the others having 0; None stays None."""
    if weight is None:
        return None
    spread = np.zeros(n_samples)
    spread[rows] = weight
    return spread


def learned_share(is_error, rows):
    """Return the share of the information about errors that a sample has.

    The variance of a difference of two outcomes is proportional to 1/n + 1/m, where n rows have the
    one outcome and m rows have the other. If errors are rare, further ones are sampled, so the
    sample has a larger share of the information than of the rows.

    Parameters
    ----------
    is_error : ndarray of bool, shape (n_samples,)
        True where the prediction is wrong.
    rows : ndarray of int or None
        Positions of the sampled rows; None means all.

    Returns
    -------
    share : float in (0, 1]
    """
    if rows is None:
        return 1.0
    sampled = is_error[rows]
    if np.ptp(sampled.astype(int)) == 0:
        return len(rows) / len(is_error)
    variance, variance_of_sample = (
        1 / outcome.sum() + 1 / (~outcome).sum() for outcome in (is_error, sampled)
    )
    return float(variance / variance_of_sample)
