"""Predict each row with a clone of the base that was not trained on it."""

from typing import NamedTuple

import numpy as np
from sklearn.utils.parallel import Parallel, delayed

from .._compat import num_samples, slice_fit_params
from .fitting import fit_base, take_rows
from .inspection import final_estimator, is_net
from .prediction import observe, predict_labels_and_proba


class BasePredictions(NamedTuple):
    """What a base estimator says about some rows.

    ``predicted`` holds positions in the sorted classes, shape (n_samples,), ``proba`` the
    probabilities aligned to them, shape (n_samples, n_classes), and ``fold`` the number of the fold
    that predicted each row: -1 where none did, so that the row's other values mean nothing.
    ``asked`` holds one array of shape (n_samples, n_features) per observer, see `ask`.
    """

    pred_encoded: np.ndarray
    proba: np.ndarray
    fold: np.ndarray
    observed: list = ()


def cross_fit(
    estimator,
    X,
    y,
    *,
    classes,
    splits,
    fit_params=None,
    n_jobs=None,
    memory=None,
    seed=None,
    keep_estimators=False,
    on_fold=None,
    observers=(),
):
    """Predict every row with a clone of the base that has not seen it.

    Parameters
    ----------
    estimator : estimator
        Unfitted classifier.
    X, y : array-likes of length n_samples
        Rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    splits : list of (train, test)
        From `make_splits`. A row in several test parts keeps its first prediction; a row in none
        has fold -1.
    fit_params : dict, default=None
        Arguments of ``fit``; those with one entry per row are cut to each training part.
    n_jobs : int, default=None
        Folds at once, through joblib: any joblib backend carries them.
    memory : joblib.Memory, default=None
        Caches each fold by itself, so that an interrupted cross-fitting resumes.
    seed : int, default=None
        Passed to `fit_base`.
    keep_estimators : bool, default=False
        Whether to return the fitted clones as well.
    on_fold : callable, default=None
        Called without arguments after each fold.
    observers : sequence of objects with ``observe(estimator, X)``, default=()
        Each asks the clone about the rows that it has not seen.

    Returns
    -------
    predictions : BasePredictions
    estimators : list of fitted estimators, or None
    """
    y = np.asarray(y)
    job = _fit_and_predict if memory is None else memory.cache(_fit_and_predict)
    if is_net(estimator) and str(getattr(final_estimator(estimator), "device", "")) != "cpu":
        n_jobs = 1  # one accelerator: folds in other processes would only wait for it
    options = classes, fit_params or {}, seed, keep_estimators, observers
    results = _parallel(n_jobs)(
        delayed(job)(estimator, X, y, train, test, *options) for train, test in splits
    )
    n_samples = num_samples(X)
    pred_encoded = np.zeros(n_samples, dtype=np.intp)
    proba = np.zeros((n_samples, len(classes)))
    fold = np.full(n_samples, -1)
    estimators, observed = [], []
    for number, ((_, test), (test_predicted, test_proba, fitted, answers)) in enumerate(
        zip(splits, results)
    ):
        new = fold[test] < 0
        rows = test[new]
        fold[rows] = number
        pred_encoded[rows], proba[rows] = test_predicted[new], test_proba[new]
        observed = observed or [np.zeros((n_samples, answer.shape[1])) for answer in answers]
        for features, answer in zip(observed, answers):
            features[rows] = answer[new]
        estimators.append(fitted)
        if on_fold is not None:
            on_fold()
    predictions = BasePredictions(pred_encoded, proba, fold, observed)
    return predictions, estimators if keep_estimators else None


def _parallel(n_jobs):
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # Ray, Spark and multiprocessing hand over all folds together
        return Parallel(n_jobs=n_jobs)


def _fit_and_predict(
    estimator, X, y, train, test, classes, fit_params, seed, keep_estimator, observers
):
    labels = y[train]
    try:
        fitted = fit_base(
            estimator,
            take_rows(estimator, X, train),
            labels,
            classes=classes,
            fit_params=slice_fit_params(X, fit_params, indices=train),
            seed=seed,
        )
    except ValueError as error:
        if len(np.unique(labels)) > 1:
            raise
        raise ValueError(
            f"{type(final_estimator(estimator)).__name__} cannot be fitted on the training part of "
            f"a split: its {len(labels)} rows are all of class {labels[:1].tolist()[0]!r}. Give "
            "more rows of the other classes, or splits that keep two classes in each training part."
        ) from error
    unseen = take_rows(estimator, X, test)
    pred_encoded, proba = predict_labels_and_proba(fitted, unseen, classes)
    return (
        pred_encoded,
        proba,
        fitted if keep_estimator else None,
        observe(fitted, unseen, observers),
    )
