"""Split the rows that an error model is trained on into folds."""

import numpy as np

from .._utils import limits
from ..model_selection._splitting import make_splits

# With fewer parts, the rows that a fold does not test would be described by few others.
_MIN_PARTS = 5


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


def make_folds(observations, cv, seed):
    """Return folds and the number of the part of each row; a fold tests one or more parts.

    Parts are stratified by errors, and related rows stay in one part. There are at least five parts
    even if there are fewer folds: a row that trains the meta-learner is described by rows of other
    parts that the fold does not test.
    """
    n_folds = cv or (3 if len(observations) > limits.MANY_ROWS else 5)
    splits = make_splits(
        n_folds * -(-_MIN_PARTS // n_folds),
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
