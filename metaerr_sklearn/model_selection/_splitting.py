"""Split rows for cross-fitting."""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import (
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    check_cv,
)

from .._utils.messages import warn_caller
from .._utils.parameter_checks import check_fraction


def check_split_parameter(cv):
    """Raise if `cv` is not of a form that `make_splits` accepts, or "prefit"."""
    if isinstance(cv, type):
        raise TypeError(
            f"cv={cv.__name__} is the class itself. Pass a splitter: cv={cv.__name__}(...)."
        )
    if isinstance(cv, Real) and not isinstance(cv, Integral):
        check_fraction(cv, "cv", closed="neither")
    is_unknown = cv is None or isinstance(cv, bool) or (isinstance(cv, str) and cv != "prefit")
    if is_unknown or (isinstance(cv, Integral) and cv < 2):
        raise ValueError(
            f"cv must be an integer >= 2, a fraction in (0, 1), a splitter, an iterable of splits "
            f'or "prefit", got {cv!r}. For five folds pass 5, for one hold-out of 30 % pass 0.3.'
        )


def make_splits(cv, X, y, *, groups=None, duplicate_id=None, split_params=None, seed=0, warn=True):
    """Return the splits for cross-fitting as a list of (train, test) positions.

    Parameters
    ----------
    cv : int, float in (0, 1), splitter or iterable of splits
        A number of stratified folds, the size of one stratified hold-out, or explicit splits.
        If every class has fewer rows than there are folds, there are fewer folds.
    X, y : array-likes of length n_samples
        Rows and labels.
    groups : array-like of shape (n_samples,), default=None
        Group of each row. Rows of one group are never split across folds. If each row is a group
        of its own, rows are split as without groups, and duplicates are not kept together.
    duplicate_id : ndarray of shape (n_samples,), default=None
        Equal numbers mark duplicates, as `Duplicates` has them. Duplicates are kept in one fold,
        unless `groups` or explicit splits are given.
    split_params : dict, default=None
        Arguments of the ``split`` of a splitter; None passes `groups`.
    seed : int, default=0
        Random state of the folds.
    warn : bool, default=True
        Whether to warn if a class has fewer rows than there are folds.

    Returns
    -------
    splits : list of (ndarray, ndarray)

    Raises
    ------
    ValueError
        If there are too few rows or groups, or if an explicit split tests a row that it also trains
        on.
    """
    if not isinstance(cv, Real):
        if split_params is None:
            split_params = {} if groups is None else {"groups": groups}
        return _explicit_splits(cv, X, y, split_params)
    if groups is not None:
        duplicate_id = None
    groups = without_single_rows(groups)
    if duplicate_id is not None:
        _, first, duplicate_id = np.unique(duplicate_id, return_index=True, return_inverse=True)
        splits = make_splits(cv, first, np.asarray(y)[first], seed=seed, warn=warn)
        return [
            tuple(np.flatnonzero(np.isin(duplicate_id, part)) for part in split) for split in splits
        ]
    if isinstance(cv, Integral):
        splitter = _folds(cv, y, groups, seed, warn)
    else:
        splitter = _hold_out(cv, y, groups, seed)
    with warnings.catch_warnings():
        # The warning of `_folds` replaces scikit-learn's.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(np.zeros(len(y)), y, groups))


def _folds(cv, y, groups, seed, warn):
    """Return the splitter of at most `cv` stratified folds."""
    labels, counts = np.unique(y, return_counts=True)
    n_folds = min(cv, counts.max())
    if n_folds < 2:
        raise ValueError(
            f"Cross-fitting needs at least 2 rows in one class, got one sample in each of "
            f'{len(labels)} classes. Pass more rows, or cv="prefit" with a fitted base.'
        )
    if warn and counts.min() < cv:
        label, n_rows = labels.tolist()[counts.argmin()], counts.min()
        rows_of_label = "1 row" if n_rows == 1 else f"{n_rows} rows"
        consequence = ", so that some folds have no row of it to test"
        if n_folds < cv:
            consequence = f". No class has more than {n_folds} rows: {n_folds} folds are used"
        warn_caller(
            f"Class {label!r} has {rows_of_label}, fewer than the {cv} folds{consequence}. If "
            "a fold has no row of a class to train on, the class gets probability 0 there."
        )
    if groups is None:
        return StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError(
            "groups must hold at least 2 groups, got 1: no row is new to a base that was "
            "trained on the others. Pass more groups, or leave groups out."
        )
    return StratifiedGroupKFold(min(n_folds, n_groups), shuffle=True, random_state=seed)


def _hold_out(share, y, groups, seed):
    """Return the splitter of one hold-out, stratified if each class has enough rows for it."""
    what, number = ("rows", len(y)) if groups is None else ("groups", len(np.unique(groups)))
    if number * (1 - share) < 1:
        raise ValueError(
            f"Holding out a share of {share} leaves no training row: there are only {number} "
            f"{what} (n_samples={len(y)}). Pass more {what}, or hold out a smaller share."
        )
    counts = np.unique(y, return_counts=True)[1]
    if groups is not None:
        splitter = GroupShuffleSplit
    elif counts.min() < 2 or min(share, 1 - share) * len(y) < len(counts):
        splitter = ShuffleSplit
    else:
        splitter = StratifiedShuffleSplit
    return splitter(1, test_size=share, random_state=seed)


def without_single_rows(groups):
    """Return groups, or None if each row is a group of its own."""
    if groups is None or len(np.unique(groups)) == len(groups):
        return None
    return np.asarray(groups)


def _explicit_splits(cv, X, y, split_params):
    """Return the splits of a splitter or an iterable, and check that each tests unseen rows."""
    n_samples = len(y)
    name = f"cv={cv!r}" if hasattr(cv, "split") else "cv"  # a list of splits is long
    try:
        pairs = check_cv(cv, y).split(X, y, **split_params)
        splits = [tuple(map(_positions, pair)) for pair in pairs]
    except ValueError as error:
        raise ValueError(f"{name} cannot split these {n_samples} rows: {error}") from error
    if not splits:
        raise ValueError(
            f"{name} holds no split. A generator can be read once: pass a list of its splits."
        )
    for train, test in splits:
        if min(len(train), len(test)) == 0:
            raise ValueError(
                f"A split of {name} has {len(train)} training and {len(test)} test rows; both "
                "parts need at least one."
            )
        rows = np.concatenate([train, test])
        if rows.min() < 0 or rows.max() >= n_samples:
            raise ValueError(
                f"A split of {name} has positions from {rows.min()} to {rows.max()}, but there "
                f"are {n_samples} rows. Pass positions from 0 to n_samples - 1."
            )
        is_trained = np.zeros(n_samples, dtype=bool)  # np.intersect1d sorts, and is much slower
        is_trained[train] = True
        if is_trained[test].any():
            shared = np.unique(test[is_trained[test]])
            raise ValueError(
                f"A split of {name} tests {len(shared)} rows that it also trains on, such as "
                f"row {shared[0]}. Only predictions for unseen rows show how often a classifier "
                "is wrong on new rows: remove the test rows from the training part."
            )
    return splits


def _positions(part):
    part = np.asarray(part)
    if part.size and part.dtype.kind not in "biu":
        raise ValueError(
            f"a split must be a pair (train, test) of integer positions, got {part.dtype}. For an "
            "index of rows pass index.get_indexer(labels)."
        )
    return np.flatnonzero(part) if part.dtype == bool else part
