"""Predict each row with a clone of the base that was not trained on it."""

from functools import cache, partial
from itertools import islice

import numpy as np
from joblib import effective_n_jobs
from joblib.parallel import get_active_backend
from sklearn.base import clone
from sklearn.utils.parallel import Parallel, delayed

from .._compat import num_samples
from .._utils.failures import noted
from .._utils.label_checks import check_same_kind
from .._utils.messages import warn_caller
from .._utils.output_checks import warn_if_worse_than_guessing
from .._utils.probabilities import label_positions
from .._utils.rows import slice_fit_params
from .adapter import adapt
from .caching import Kept, cached
from .failed_folds import mend_failed_folds, with_other_seed
from .fitting import fit_base
from .fresh_nets import own_checkpoints
from .further_fits import FurtherFits, fit_observers_beside
from .inspection import unimportable_part
from .observations import Observations
from .prediction import observe, predict_base, without_missing_classes


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
    kept=None,
    seed=None,
    keep_estimators=False,
    is_deployed=False,
    mend_folds=True,
    on_fold=None,
    on_idle=None,
    observers=(),
):
    """Predict every row with a clone of the base that was not trained on it.

    Parameters
    ----------
    estimator : estimator
        Unfitted classifier.
    X, y : array-likes of length n_samples
        Rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    splits : list of (train, test)
        Result of `make_splits`. If a row is in several test parts, its first prediction is kept. If
        it is in none, its fold is -1.
    fit_params : dict, default=None
        Arguments of ``fit``. Those with one entry per row are cut to each training part.
    n_jobs : int, default=None
        Number of folds fitted at once, through any joblib backend.
    memory : joblib.Memory, default=None
        Caches each fit, so that an interrupted cross-fitting can be resumed, and the predictions
        and observed meta-features of each fold.
    kept : Kept, default=None
        Made from `memory`, X, y and `fit_params`. None makes one here.
    seed : int, default=None
        Passed to `fit_base`.
    keep_estimators : bool, default=False
        Whether to return the fitted clones and their observers as well.
    is_deployed : bool, default=False
        Whether the clone of the only split is the deployed base, whose checkpoints stay in the
        folder of the user. Otherwise each clone saves them in a folder of its own, which is deleted
        after its fit.
    mend_folds : bool, default=True
        Whether to train a fold anew if its training failed; see `mend_failed_folds`.
    on_fold : callable, default=None
        Called without arguments after each fold.
    on_idle : callable, default=None
        Called without arguments, in this process, if a core has no fold to fit while other
        processes fit the last folds. It is not called if all cores are busy to the end.
    observers : sequence of objects with ``observe(estimator, X)``, default=()
        Each computes meta-features of a test part from the clone that was not trained on it. Those
        with ``fit_beside`` are fitted beside each clone.

    Returns
    -------
    observations : Observations
        With labels, errors, folds and observed meta-features.
    kept : list of (fitted estimator, observers), or None
        An entry is None if the rows of the fold are left out.
    failed : dict of int to str
        Numbers of the folds whose training failed, from 1, and what was done.

    Notes
    -----
    There are many parameters because the callers set each option of the cross-validation.
    """
    estimator = clone(estimator)  # a fitted base has the same keys in the cache as its clone
    y, base = np.asarray(y), adapt(estimator)
    base.check_training_parts(y, [train for train, _ in splits])
    n_jobs = base.n_jobs(n_jobs)
    if memory is not None or (keep_estimators and base.is_net):
        n_jobs = _without_processes(n_jobs, estimator)
    y_encoded = label_positions(y, classes)
    kept_for_rows = Kept(memory, X, y, fit_params) if kept is None else kept
    options = {
        "classes": classes,
        "fit_params": fit_params or {},
        "memory": memory,
        "keep_estimator": keep_estimators,
        "is_deployed": is_deployed,
        "observers": observers,
    }

    def run(estimator, seed, folds):
        kept = kept_for_rows.narrowed(estimator, classes, seed, is_deployed, observers)
        return _parallel(n_jobs)(
            delayed(_run_fold)(
                f"{k + 1} of {len(splits)}",
                estimator,
                X,
                y,
                *split,
                seed=seed,
                kept=kept,
                **options,
            )
            for k, *split in folds
        )

    found = iter(run(estimator, seed, [(k, *split) for k, split in enumerate(splits)]))
    n_last = 0 if on_idle is None else _n_folds_beside_idle_core(len(splits), n_jobs)
    results, failed = _read(found, len(splits), n_last, on_fold, on_idle), {}
    if mend_folds and len(splits) > 1:
        failed = mend_failed_folds(
            results, splits, y_encoded, lambda folds: run(*with_other_seed(estimator, seed), folds)
        )
    observations = _join(results, splits, X, y_encoded, len(classes))
    fitted = [None if result is None else result[2] for result in results]
    return observations, fitted if keep_estimators else None, failed


def observe_fitted(estimator, X, y, own_classes, *, embedding=None, observers=(), memory=None):
    """Predict rows with a fitted base that was not trained on them.

    Parameters
    ----------
    estimator : fitted estimator
        The base classifier.
    X, y : array-likes of length n_samples
        Rows and labels.
    own_classes : ndarray
        Classes of the base, see `ClassifierAdapter.classes_of_prefit`.
    embedding : object with ``record()``, default=None
        Records a hidden layer of the base.
    observers : sequence of objects with ``observe(estimator, X)``, default=()
        Each computes meta-features of the rows from the base.
    memory : joblib.Memory, default=None
        Keeps the observed meta-features.

    Returns
    -------
    observations : Observations
        With labels, errors, the recorded hidden layer and observed meta-features.
    classes : ndarray of shape (n_classes,)
        Sorted classes of the base and of y.
    """
    check_same_kind(y, own_classes, "y")
    classes = np.union1d(own_classes, np.unique(y))
    _, pred_encoded, proba, hidden = predict_base(estimator, X, classes, embedding=embedding)
    y_encoded = label_positions(y, classes)
    is_error = y_encoded != pred_encoded
    warn_if_worse_than_guessing(
        is_error,
        len(classes),
        "Encode y as in the training of the base, or name the outputs of a net in their order: "
        "as_classifier(module, classes=[...]), net.set_params(classes=[...]).",
    )
    kept = Kept(memory if observers else None, estimator, X, observers)
    observations = Observations(
        X,
        proba,
        pred_encoded,
        y_encoded,
        is_error,
        observed=kept(partial(observe, estimator, X, observers)),
        embedding=hidden,
    )
    return observations, classes


def _parallel(n_jobs):
    try:
        return Parallel(n_jobs=n_jobs, return_as="generator")
    except ValueError:  # Ray, Spark and multiprocessing return all folds together
        return Parallel(n_jobs=n_jobs)


def _without_processes(n_jobs, estimator):
    """Return 1 if other processes can neither send a fitted net back nor make a cache key.

    Both take a class or function by its name, which other processes do not find if it is defined
    in the script or inside a function. There is a warning.
    """
    backend, _ = get_active_backend()
    name = None if getattr(backend, "supports_sharedmem", False) else unimportable_part(estimator)
    if name is None or effective_n_jobs(n_jobs) == 1:
        return n_jobs
    warn_caller(
        f"The folds are fitted one after the other, in spite of n_jobs={n_jobs}: {name} is defined "
        "in the script or in a function, where other processes do not find it. To fit folds at "
        f"once, write {name} into a file of its own and import it."
    )
    return 1


def _n_folds_beside_idle_core(n_folds, n_jobs):
    """Return how many folds the other processes fit last while a core is idle.

    In threads, the fits share random generators: a further one would change their numbers.
    """
    backend, _ = get_active_backend()
    if getattr(backend, "supports_sharedmem", False):
        return 0
    return n_folds % effective_n_jobs(n_jobs)


def _read(found, n_folds, n_beside_idle, on_fold, on_idle):
    """Return the results of all folds.

    `on_idle` is called while other processes compute the last `n_beside_idle` folds. If a backend
    returns all results together, it is not called.
    """
    results = []

    def read(some):
        for result in some:
            results.append(result)
            if on_fold is not None:
                on_fold()

    if n_beside_idle and hasattr(found, "throw"):
        read(islice(found, n_folds - n_beside_idle))
        try:
            on_idle()
        except Exception:
            read(found)  # an exception in a fold comes first, as without an idle core
            raise
        except BaseException as interrupt:
            found.throw(interrupt)  # stops the other processes
    read(found)
    return results


def _join(results, splits, X, y_encoded, n_classes):
    """Return the observations of all rows; a fold without a result leaves its rows at -1."""
    n_samples = num_samples(X)
    pred_encoded = np.zeros(n_samples, dtype=np.intp)
    proba = np.zeros((n_samples, n_classes))
    fold = np.full(n_samples, -1)
    observed = None
    for number, ((_, test), result) in enumerate(zip(splits, results)):
        if result is None:
            continue
        predictions, features, _ = result
        is_new = fold[test] < 0
        rows = test[is_new]
        fold[rows] = number
        pred_encoded[rows] = predictions.pred_encoded[is_new]
        proba[rows] = predictions.proba[is_new]
        if observed is None:
            observed = tuple(np.zeros((n_samples, values.shape[1])) for values in features)
        for all_values, values in zip(observed, features):
            all_values[rows] = values[is_new]
    return Observations(
        X, proba, pred_encoded, y_encoded, y_encoded != pred_encoded, fold=fold, observed=observed
    )


def _check_has_weight(fit_params, n_rows):
    for name, weight in fit_params.items():
        if name.split("__")[-1] == "sample_weight" and weight is not None and not np.any(weight):
            raise ValueError(
                f"The training part of a split has {n_rows} rows, all of {name} 0. Drop rows of "
                "weight 0, or give splits with rows of positive weight in each training part."
            )


def _run_fold(number, *args, **kwargs):
    """Run the job of a fold; an exception gets the number of the fold as a note."""
    with noted(f"fitting and testing fold {number}"):
        return _fit_and_predict(*args, **kwargs)


def _fit_and_predict(
    estimator,
    X,
    y,
    train,
    test,
    *,
    classes,
    fit_params,
    seed,
    memory,
    kept,
    keep_estimator,
    is_deployed,
    observers,
):
    """Fit a clone on the training part of a split and predict the test part.

    There are many parameters because a worker gets all that its fold needs.
    """
    base, labels = adapt(estimator), y[train]
    fit_params = slice_fit_params(X, fit_params, indices=train)
    _check_has_weight(fit_params, len(labels))

    @cache
    def fit():
        rows = base.take_rows(X, train)
        try:
            fitted = cached(fit_base, memory)(
                estimator,
                base.own_copy(rows) if observers else rows,  # they may fit on these rows, too
                labels,
                classes=classes,
                fit_params=fit_params,
                seed=seed,
                context=None if is_deployed else own_checkpoints,
            )
        except ValueError as error:
            if len(np.unique(labels)) > 1:
                raise
            raise ValueError(
                f"{type(base.final).__name__} cannot be fitted on the training part of a split: "
                f"its {len(labels)} rows are all of class {labels[:1].tolist()[0]!r}. Give more "
                "rows of the other classes, or splits that keep two classes in each training part."
            ) from error
        fits = FurtherFits(estimator, fitted, rows, labels, classes, fit_params, seed, memory)
        return fitted, fit_observers_beside(observers, fits)

    def predict():
        fitted, fitted_observers = fit()
        unseen = base.take_rows(X, test)
        predictions = predict_base(fitted, unseen, classes)._replace(labels=None)
        predictions = without_missing_classes(predictions, np.isin(classes, labels))
        return predictions, observe(fitted, unseen, fitted_observers)

    predictions, features = kept(predict, train, test)
    return predictions, features, fit() if keep_estimator else None
