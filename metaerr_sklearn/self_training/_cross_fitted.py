"""Cross-fit the base classifier on the labeled rows."""

from contextlib import nullcontext
from dataclasses import replace
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from sklearn import config_context

from .._base_estimator.cross_fitting import cross_fit
from .._base_estimator.observations import Observations
from .._base_estimator.routing import weight_route
from .._utils.messages import warn_caller
from .._utils.rows import slice_fit_params, take_rows
from ..model_selection._duplicates import (
    DuplicateReport,
    find_duplicates,
    report_duplicates,
)
from ..model_selection._splitting import make_splits, without_single_rows


class CrossFitted(NamedTuple):
    """The base classifier, cross-fitted on the labeled rows.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    oof : Observations
        Out-of-fold predictions of the labeled rows.
    splits : list of (train, test)
        The folds, as positions among the labeled rows.
    models : list of fitted classifiers
        The classifier of each fold.
    failed : dict of int to str
        Folds whose training failed; see `mend_failed_folds`. A fold that is left out is in no other
        list.
    duplicates : DuplicateReport or None, default=None
        What was found of duplicated rows.
    """

    classes: np.ndarray
    oof: Observations
    splits: list
    models: list
    failed: dict
    duplicates: DuplicateReport = None

    @property
    def tested(self):
        """Mask of the rows with an out-of-fold prediction."""
        return self.oof.fold >= 0

    @property
    def is_error(self):
        """Mask of the wrong predictions among the tested rows."""
        return self.oof.is_error[self.tested]

    @property
    def oof_accuracy(self):
        """Share of right predictions among the tested rows."""
        return float(1 - self.is_error.mean())

    @property
    def fold_sizes(self):
        """Number of rows that the classifier of each fold was trained on, and of the others."""
        n_labeled = len(self.oof)
        return [(len(train), n_labeled - len(train)) for train, _ in self.splits]


def cross_fit_labeled(params, base, y_encoded, arguments, seed, on_fold):
    """Cross-fit the base classifier; return None, with a warning, if there are too few labels.

    Parameters
    ----------
    params : SelfTrainingWithMetaErr
        Its parameters `estimator`, `cv` and `n_jobs` are used.
    base : WeightedBase
        Rows, labels, weights, cache and seed of the base.
    y_encoded : ndarray of int, shape (n_samples,)
        Positions of the classes, -1 where unlabeled.
    arguments : FitArguments
        Arguments of the fit.
    seed : int
        Seed of the folds and, if `random_state` is not None, of the base.
    on_fold : callable
        Called without arguments after each fold.

    Returns
    -------
    cross_fitted : CrossFitted or None
    """
    labeled = np.flatnonzero(y_encoded >= 0)
    X, y_encoded = take_rows(base.X, labeled), y_encoded[labeled]
    groups = None if arguments.groups is None else arguments.groups[labeled]
    split_params = slice_fit_params(base.X, arguments.split_params, indices=labeled)
    made = _make_splits(params.cv, X, y_encoded, groups, split_params, seed)
    if made is None:
        return None
    splits, duplicate_id, report = made
    weight = None if arguments.sample_weight is None else arguments.sample_weight[labeled]
    fit_params = slice_fit_params(base.X, base.fit_params, indices=labeled)
    name, is_routed = weight_route(params.estimator, fit_params)
    if name is not None and base.sample_weight is not None:
        fit_params[name] = base.sample_weight[labeled]
    with nullcontext() if is_routed else config_context(enable_metadata_routing=False):
        oof, clones, failed = cross_fit(
            params.estimator,
            X,
            base.classes[y_encoded],
            classes=base.classes,
            splits=splits,
            fit_params=fit_params,
            n_jobs=params.n_jobs,
            memory=base.memory,
            seed=None if base.random_state is None else seed,
            keep_estimators=True,
            on_fold=on_fold,
        )
    kept = [number for number, clone in enumerate(clones) if clone is not None]
    fold = np.where(oof.fold < 0, -1, np.searchsorted(kept, oof.fold))
    groups = without_single_rows(groups)
    oof = replace(oof, fold=fold, sample_weight=weight, groups=groups, duplicate_id=duplicate_id)
    splits, models = [splits[number] for number in kept], [clones[number][0] for number in kept]
    return CrossFitted(base.classes, oof, splits, models, failed, report)


def _make_splits(cv, X, y_encoded, groups, split_params, seed):
    """Return the splits of the labeled rows, their `duplicate_id` and a report, or None."""
    counts = np.bincount(y_encoded)
    # A fold that holds the only label of a class must leave two other classes to train on.
    needed = 2 if isinstance(cv, Real) else 1
    if np.sum(counts >= 2) < needed:
        which = "Every class" if counts.max() < 2 else "Every class but one"
        warn_caller(
            f"{which} has a single labeled row, so no prediction can be tested: the error "
            "probability of a pseudo-label is 1 - its probability. Give two labels per class."
        )
        return None
    # Fewer folds than `cv` if the smallest class is small, but at least two.
    if isinstance(cv, Integral) and counts.min() >= 2:
        cv = min(cv, int(counts.min()))
    duplicates = find_duplicates(X, y_encoded) if groups is None else None
    duplicate_id = None if duplicates is None else duplicates.duplicate_id
    splits = make_splits(
        cv,
        X,
        y_encoded,
        groups=groups,
        duplicate_id=duplicate_id,
        split_params=split_params,
        seed=seed,
        warn=counts.min() < 2,
    )
    report = report_duplicates(
        duplicates, cv, splits, estimate="the error rate of the base on labeled rows"
    )
    return splits, duplicate_id, report
