"""Sample the rows that an error model is trained on."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .._utils import limits
from ..model_selection._splitting import make_splits

# With fewer errors, or fewer correct rows, nothing can be learned from them.
MIN_ERRORS = 5
# With fewer parts, the rows that a fold does not test would be described by few others.
MIN_PARTS = 5


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


def why_no_folds(observations):
    """Return the reason why the rows cannot be split into folds, or None if they can."""
    first = slice(None)
    if observations.groups is not None:
        if len(np.unique(observations.groups)) < 2:
            return f"All {len(observations)} rows whose errors are known are of one group"
    elif observations.duplicate_id is not None:
        first = np.unique(observations.duplicate_id, return_index=True)[1]
        if np.unique(observations.y_encoded[first], return_counts=True)[1].max() < 2:
            return "No class has two rows that are not duplicates of each other"
    is_error = observations.is_error[first]
    if max(np.sum(is_error), np.sum(~is_error)) < 2:
        return "There are no two errors and no two correct predictions to split into folds"
    return None


def why_nothing_is_learned(is_error, folds, no_folds):
    """Return the reason why no meta-learner can be fitted, or None.

    `no_folds` is the reason why the rows cannot be split into folds, or None.
    """
    if no_folds is not None:
        return no_folds
    n_errors = int(is_error.sum())
    n_rare = min(n_errors, len(is_error) - n_errors)
    rare = "errors" if n_errors == n_rare else "correct predictions"
    if n_rare < MIN_ERRORS:
        return (
            f"{n_rare} {rare} among {len(is_error)} rows, fewer than the {MIN_ERRORS} that a "
            "meta-learner needs"
        )
    if any(np.ptp(is_error[train].astype(int)) == 0 for train, _ in folds):
        return (
            f"The {n_rare} {rare} are related (groups, duplicates of a row), so that none is left "
            "for training when the others are tested"
        )
    return None


def make_folds(observations, cv, seed):
    """Return folds and the number of the part of each row; a fold tests one or more parts.

    Parts are stratified by errors, and related rows stay in one part. There are at least five parts
    even if there are fewer folds: a row that trains the meta-learner is described by rows of other
    parts that the fold does not test.
    """
    n_folds = cv or (3 if len(observations) > limits.MANY_ROWS else 5)
    splits = make_splits(
        n_folds * -(-MIN_PARTS // n_folds),
        None,
        observations.is_error,
        groups=observations.groups,
        duplicate_id=observations.duplicate_id,
        seed=seed,
        warn=False,
    )
    part = np.empty(len(observations), dtype=int)
    for number, (_, test) in enumerate(splits):
        part[test] = number
    n_folds = min(n_folds, len(splits))
    fold = part * n_folds // len(splits)
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n_folds)]
    return folds, part


def explain_fallback(reason, known, is_error):
    """Return why nothing is learned, and what the error probability is instead.

    Parameters
    ----------
    reason : str
        Result of `why_nothing_is_learned`.
    known : str
        Names of the terms of the offset.
    is_error : ndarray of bool, shape (n_samples,)
        True where the prediction is wrong.

    Returns
    -------
    reason : str
    """
    reason += (
        f": nothing is learned, and the error probability is that of {known} alone, set to the "
        "level of the error rate."
    )
    if not is_error.any():
        reason += " If these rows trained the classifier, give rows that are new to it."
    return reason
