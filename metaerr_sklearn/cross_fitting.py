"""Out-of-fold predictions of any base estimator, and its predictions on new rows."""

import warnings
from contextlib import nullcontext
from hashlib import blake2b
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GroupShuffleSplit,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
    check_cv,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import check_random_state, murmurhash3_32
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import has_fit_parameter

from ._compat import num_samples, safe_indexing, slice_fit_params, warn_caller
from ._rows import as_array, is_a, row_chunks, rows_at_once
from ._validation import check_fraction, check_proba
from .model_selection import is_unlabeled
from .representation import columns_of, to_str

# Rows that the base is asked about at once: it may have threads to start for each call.
_MAX_ASKED = 100_000
_OWN_LABELS = (
    "FixedThresholdClassifier",
    "TunedThresholdClassifierCV",
    "SVC",
    "NuSVC",
    "SelectiveClassifier",
)
_ARGMAX_OF_MEMBERS = ("ForestClassifier", "BaggingClassifier")
_SEMI_SUPERVISED = ("SelfTrainingClassifier", "BaseLabelPropagation")
# Strings of which half are as long are texts; names of categories are shorter.
_LEAST_TEXT = 30


class BasePredictions(NamedTuple):
    """What a base estimator says about some rows.

    ``predicted`` holds positions in the sorted classes, shape (n_samples,), ``proba`` the
    probabilities aligned to them, shape (n_samples, n_classes), and ``fold`` the number of the fold
    that predicted each row: -1 where none did, so that the row's other values mean nothing.
    ``asked`` holds one array of shape (n_samples, n_features) per observer, see `ask`.
    """

    predicted: np.ndarray
    proba: np.ndarray
    fold: np.ndarray
    asked: list = ()


def draw_seed(random_state):
    """Draw an integer seed; None gives a fresh one and leaves NumPy's global generator alone."""
    if random_state is None:
        return int(np.random.default_rng().integers(np.iinfo(np.int32).max))
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def final_estimator(estimator):
    """Return the estimator that predicts: inside pipelines, frozen and search wrappers."""
    estimator = _without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        estimator = _without_wrappers(estimator.steps[-1][1])
    return estimator


def _without_wrappers(estimator):
    """Return what frozen and search wrappers hold."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif _searched(estimator) is not None:
            estimator = estimator.estimator
        else:
            return estimator


def _searched(estimator):
    """Return the parameters that a search tries, or None."""
    return getattr(estimator, "param_grid", getattr(estimator, "param_distributions", None))


def transform_before(pipeline, X):
    """Return X as the last step of a fitted Pipeline gets it.

    Step by step: a Pipeline of the steps before would ask whether the last of them is fitted, which
    a transformer that learns nothing need not tell.
    """
    for _, step in pipeline.steps[:-1]:
        # imbalanced-learn's samplers act in the fit alone.
        if step is not None and not isinstance(step, str) and not hasattr(step, "fit_resample"):
            X = step.transform(X)
    return X


def unwrap(estimator, X):
    """Return the fitted `final_estimator`, and X as it gets it.

    Wrappers do not pass on methods that scikit-learn does not know.
    """
    estimator = _without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        X = transform_before(estimator, X)
        estimator = _without_wrappers(estimator.steps[-1][1])
    return estimator, X


def _is_search(estimator):
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return _searched(estimator) is not None


def is_net(estimator):
    """Tell whether a skorch net predicts, without importing skorch."""
    mro = type(final_estimator(estimator)).__mro__
    return any(cls.__module__.split(".")[0] == "skorch" for cls in mro)


def weight_name(estimator):
    """Return the name under which ``fit`` takes sample weights, or None."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_name(last)
        return None if inner is None else f"{name}__{inner}"
    grid = _searched(estimator)
    if grid is not None:
        grids = [grid] if hasattr(grid, "values") else grid
        options = [values for part in grids for values in part.values() if np.iterable(values)]
        if any(hasattr(value, "fit") for values in options for value in values):
            return None  # not every candidate need take them
        return weight_name(estimator.estimator)  # searches pass on what their fit is given
    takes = not is_net(estimator) and has_fit_parameter(estimator, "sample_weight")
    return "sample_weight" if takes else None


def check_all_labeled(estimator, y):
    """Raise where y has unlabeled rows for a base that learns from them: it judges nothing.

    Parameters
    ----------
    estimator : estimator
        The base.
    y : ndarray of shape (n_samples,)
        Class labels.
    """
    base = final_estimator(estimator)
    if is_a(base, "metaerr_sklearn.", "SelfTrainingWithMetaErr"):
        marker = base.unlabeled
        if set(np.unique(y).tolist()) == {-1, 1}:
            return  # it takes them for classes too
    elif any(is_a(base, "sklearn.semi_supervised", name) for name in _SEMI_SUPERVISED):
        marker = -1
    else:
        return
    is_marked = is_unlabeled(y, marker)
    if is_marked.any():
        raise ValueError(
            f"y holds {marker!r}, the mark of an unlabeled row, in {is_marked.sum()} of {len(y)} "
            f"rows, but whether {type(base).__name__} is right shows on labeled rows alone. Fit it "
            "first, and give it frozen or prefit, with labeled rows that it was not fitted on. "
            "SelfTrainingWithMetaErr itself also has predict_error_proba."
        )


def labels_by_argmax(estimator):
    """Tell whether a base may be trusted to give its most probable class as label.

    True for nets whose ``predict`` is skorch's own, unless at another threshold than one half, and
    for scikit-learn's forests and bagging, which would ask all their members again for a label.
    False for scikit-learn's classifiers at a threshold, for its support vector machines, whose
    labels come from votes, and for whatever else has one of these inside. Of others nothing is
    known (None).
    """
    estimator = final_estimator(estimator)
    if is_net(estimator):
        is_own = _has_predict_of(estimator, "skorch.")
        return is_own and getattr(estimator, "threshold", 0.5) == 0.5
    package = "sklearn.ensemble."
    is_ensemble = any(is_a(estimator, package, name) for name in _ARGMAX_OF_MEMBERS)
    if is_ensemble and _has_predict_of(estimator, package):
        return True
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    modules = ("sklearn.", "metaerr_sklearn.")
    return False if any(is_a(p, modules, name) for p in parts for name in _OWN_LABELS) else None


def _has_predict_of(estimator, package):
    """Tell whether ``predict`` is that of a package's class, and not of a subclass elsewhere."""
    owner = next(cls for cls in type(estimator).__mro__ if "predict" in vars(cls))
    return owner.__module__.startswith(package)


def call_base(estimator, method, X):
    """Call a method of a fitted base; a net's batches draw no number from the global generators.

    Parameters
    ----------
    estimator : fitted estimator
        The base.
    method : str
        Name of the method.
    X : array-like
        Passed as it is; a net gets float32.

    Returns
    -------
    output : ndarray

    Raises
    ------
    ValueError
        If X has no row and a net is asked.
    """
    if not is_net(estimator):
        return getattr(estimator, method)(X)
    check_has_rows(X, final_estimator(estimator))
    from .neural import preserved_rng, sliced_batches

    with sliced_batches(final_estimator(estimator)), preserved_rng(0):
        return getattr(estimator, method)(net_input(estimator, X))


def check_has_rows(X, net):
    """Raise where X has no row: skorch asks for "at least one array to concatenate" then."""
    if hasattr(X, "__len__") and num_samples(X) == 0:
        raise ValueError(
            f"X has 0 sample(s), while a minimum of 1 is required by "
            f"{type(net).__name__}. Give at least one row."
        )


def base_classes(estimator, y):
    """Return the classes that the columns of a fitted base's probabilities stand for.

    A net trained elsewhere may know only integers: its column j then stands for label j.
    """
    labels = np.unique(y)
    if not is_net(estimator):
        classes = getattr(estimator, "classes_", None)
        return labels if classes is None else np.asarray(classes)
    classes = np.asarray(getattr(final_estimator(estimator), "classes_", labels))
    if labels.dtype.kind in "iu" and classes.dtype.kind in "iu":
        return np.union1d(labels, classes)
    return labels


def column_classes(estimator, classes):
    """Return the classes in the order of the columns of the probabilities of a base fitted here.

    That of a base need not be that of the sorted labels; a net knows only their numbers.
    """
    if is_net(estimator) or not hasattr(estimator, "classes_"):
        return classes
    return np.asarray(estimator.classes_)


def net_input(estimator, X):
    """Return X as the base takes it: unchanged, except that a net gets float32."""
    if not is_net(estimator):
        return X
    from .neural import as_net_input

    if not isinstance(_without_wrappers(estimator), Pipeline):
        return as_net_input(X)
    # Steps before the net may need the frame; only the dtype that no net takes is changed.
    is_double = isinstance(X, np.ndarray) and X.dtype == np.float64
    return X.astype(np.float32) if is_double else X


def net_labels(estimator, encoded, n_classes):
    """Return positions of classes as a net takes them: int64, or float32 for one output unit."""
    net = final_estimator(estimator)
    if not is_a(net, "skorch.", "NeuralNetBinaryClassifier"):
        return encoded.astype(np.int64)
    if n_classes > 2:
        raise ValueError(
            f"{type(net).__name__} tells 2 classes apart, got {n_classes}. Use a "
            "skorch.NeuralNetClassifier with one output unit per class."
        )
    return encoded.astype(np.float32)


def _seed_unset_random_states(estimator, seed):
    unset = {
        name: seed
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None and name.split("__")[-1] == "random_state"
    }
    return estimator.set_params(**unset) if unset else estimator


def fit_base(estimator, X, y, *, classes, fit_params=None, seed=None, within=nullcontext):
    """Fit a clone of the base estimator; a frozen one is returned as it is.

    A net is given float32 X, int64 labels 0..n_classes-1 (float32 where it has one output unit) and
    its random numbers from `seed`, drawn apart from the global generators. Another base keeps its
    labels; where `seed` is given, its parameters ``random_state`` that are None receive it.

    Parameters
    ----------
    estimator : estimator
        Classifier to clone and fit.
    X, y : array-likes of length n_samples
        Training rows and labels.
    classes : ndarray of shape (n_classes,)
        Sorted labels of the whole problem; y may miss some.
    fit_params : dict, default=None
        Given to ``fit``, already cut to these rows.
    seed : int, default=None
        Seed of everything random in the fit; None leaves it to the estimator.
    within : callable
        Given the clone, returns the context in which it is fitted; none in particular by default.

    Returns
    -------
    estimator : fitted estimator
    """
    estimator = clone(estimator)
    if isinstance(estimator, FrozenEstimator):
        return estimator
    fit_params = fit_params or {}
    if not is_net(estimator):
        if seed is not None and hasattr(estimator, "get_params"):
            _seed_unset_random_states(estimator, seed)
        with within(estimator):
            return estimator.fit(X, y, **fit_params)
    from .neural import ONE_AT_A_TIME, preserved_rng

    encoded = net_labels(estimator, np.searchsorted(classes, y), len(classes))
    device = getattr(final_estimator(estimator), "device", None)
    rng = preserved_rng(draw_seed(None) if seed is None else seed, device=device)
    # The generators are those of the process: nets fitted in threads would draw from one stream. A
    # search has threads of its own, which may have to wait for their turn to predict.
    with nullcontext() if _is_search(estimator) else ONE_AT_A_TIME, rng, within(estimator):
        return estimator.fit(net_input(estimator, X), encoded, **fit_params)


def predict_labels(estimator, X, classes):
    """Return the base's own labels, one per row; those of a net are decoded."""
    if not is_net(estimator):
        labels = estimator.predict(X)
        return np.asarray(labels)[:, 0] if np.shape(labels)[1:] == (1,) else labels
    predicted = np.asarray(call_base(estimator, "predict", X))
    if predicted.max(initial=0) >= len(classes):
        raise ValueError(
            f"The net predicts class number {predicted.max()}, but only {len(classes)} classes are "
            "known. Give the module one output unit per class."
        )
    return classes[predicted]


def label_positions(labels, classes):
    """Return where each label stands in the sorted classes; -1 for a label that is not there."""
    try:
        positions = np.searchsorted(classes, labels)
    except TypeError as error:
        raise ValueError(
            f"Predicted labels cannot be compared with the classes {classes[:5].tolist()}: "
            f"{error}. A base that abstains with None has no error to learn; give the classifier "
            "inside."
        ) from error
    positions[positions == len(classes)] = 0
    return np.where(classes[positions] == labels, positions, -1)


def spread_unknown(estimator, proba):
    """Give every class the same probability in rows where a classifier gives all of them 0.

    So does an `OneVsRestClassifier` where no class is claimed, or a `RadiusNeighborsClassifier` for
    an outlier; older versions of scikit-learn divide that by its sum, 0, as `LabelSpreading` does
    far from all rows. NaN from anything else is a failure.
    """
    proba = np.asarray(proba)
    if proba.ndim != 2 or is_net(estimator):
        return proba
    is_unknown = ~np.any(proba, axis=1)
    if type(final_estimator(estimator)).__module__.startswith("sklearn."):
        is_unknown |= np.isnan(proba).all(axis=1)
    if not is_unknown.any():
        return proba
    proba = np.array(proba, dtype=float)
    proba[is_unknown] = 1 / proba.shape[1]
    return proba


def predict_proba(estimator, X, classes):
    """Return class probabilities of a fitted base, one column per class of `classes`.

    From ``predict_proba`` (where all are 0, every class gets the same), else from
    ``decision_function`` (softmax; two classes: sigmoid(2 f)), else one-hot labels from
    ``predict``. Classes that the base has not seen get 0.

    Parameters
    ----------
    estimator : fitted estimator
        Any classifier.
    X : array-like of length n_samples
        Passed as it is; a net gets float32.
    classes : ndarray of shape (n_classes,)
        Sorted labels.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes)

    Raises
    ------
    ValueError
        If ``predict_proba`` does not return probabilities, or ``decision_function`` not one score
        per class.
    """
    if is_net(estimator):
        own_classes = classes
    else:
        own_classes = np.asarray(getattr(estimator, "classes_", classes))
    if hasattr(estimator, "predict_proba"):
        raw = np.asarray(call_base(estimator, "predict_proba", X))
        if raw.ndim != 2 or raw.shape[1] != len(own_classes):
            raise ValueError(
                f"predict_proba of {type(final_estimator(estimator)).__name__} has shape "
                f"{raw.shape}, expected one column for each of the {len(own_classes)} classes. "
                "A net needs as many output units as there are classes."
            )
        own_proba = check_proba(
            spread_unknown(estimator, raw), name="predict_proba of the base estimator"
        )
    else:
        own_proba = None
        if hasattr(estimator, "decision_function"):
            scores = np.asarray(call_base(estimator, "decision_function", X), dtype=np.float64)
            if scores.ndim == 1 and len(own_classes) == 2:
                own_proba = np.column_stack([expit(-2 * scores), expit(2 * scores)])
            elif scores.ndim == 2 and scores.shape[1] == len(own_classes):
                own_proba = softmax(scores, axis=1)
            else:
                raise ValueError(
                    f"decision_function of {type(final_estimator(estimator)).__name__} has shape "
                    f"{scores.shape}, expected one score for each of the {len(own_classes)} "
                    'classes. For scores of pairs of classes, set decision_function_shape="ovr".'
                )
        if own_proba is None:
            labels = np.asarray(predict_labels(estimator, X, own_classes))
            own_proba = (labels[:, None] == own_classes).astype(float)
    if np.array_equal(own_classes, classes):
        return own_proba
    proba = np.zeros((len(own_proba), len(classes)), dtype=own_proba.dtype)
    position = label_positions(own_classes, classes)
    if (position < 0).any():
        raise ValueError(
            f"The base estimator knows the classes {own_classes[position < 0]}, which are not "
            f"among the classes {classes}."
        )
    proba[:, position] = own_proba
    return proba


def check_split_parameter(cv):
    """Raise unless `cv` is something `make_splits` understands."""
    if cv is None or isinstance(cv, bool) or (isinstance(cv, str) and cv != "prefit"):
        pass
    elif isinstance(cv, Integral):
        if cv >= 2:
            return
    elif isinstance(cv, Real):
        check_fraction(cv, "cv", closed="neither")
        return
    else:
        return
    raise ValueError(
        f"cv must be an integer >= 2, a fraction in (0, 1), a splitter, an iterable of splits or "
        f'"prefit", got {cv!r}. For five folds pass 5, for one hold-out of 30 % pass 0.3.'
    )


def make_splits(cv, X, y, *, groups=None, copies=None, seed=0, warn=True):
    """Return the splits for cross-fitting as a list of (train, test) positions.

    Parameters
    ----------
    cv : int, float in (0, 1), splitter or iterable of splits
        A number of stratified folds, the size of one stratified hold-out, or explicit splits.
        With fewer rows in every class than folds there are fewer folds.
    X, y : array-likes of length n_samples
        Rows and labels.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group stay together.
    copies : ndarray of shape (n_samples,), default=None
        Equal numbers mark copies of one row, which stay together unless `groups` or explicit
        splits are given. Splitters that part them are warned of.
    seed : int, default=0
        Shuffles the folds.
    warn : bool, default=True
        Whether to warn where a class has fewer rows than there are folds.

    Returns
    -------
    splits : list of (ndarray, ndarray)
    """
    if not isinstance(cv, Real):
        splits = _explicit_splits(cv, X, y, groups)
        # Who hands over the splits themselves has seen to it.
        if copies is not None and groups is None and hasattr(cv, "split"):
            _warn_of_copies(cv, splits, copies)
        return splits
    if copies is not None and groups is None:
        _, first, copies = np.unique(copies, return_index=True, return_inverse=True)
        splits = make_splits(cv, first, np.asarray(y)[first], seed=seed, warn=warn)
        return [tuple(np.flatnonzero(np.isin(copies, part)) for part in split) for split in splits]
    rows = np.zeros(len(y))
    labels, counts = np.unique(y, return_counts=True)
    if isinstance(cv, Integral):
        n_folds = min(cv, counts.max())
        if n_folds < 2:
            raise ValueError(
                f"Cross-fitting needs at least 2 rows in one class, got one sample in each of "
                f'{len(labels)} classes. Give more rows, or pass cv="prefit" with a fitted base.'
            )
        if warn and counts.min() < cv:
            warn_caller(
                f"Class {labels.tolist()[counts.argmin()]!r} has {counts.min()} rows, fewer than "
                f"the {cv} folds: using {n_folds} folds, and a class that a fold's training part "
                "misses gets probability 0 there."
            )
        if groups is not None:
            n_groups = len(np.unique(groups))
            if n_groups < 2:
                raise ValueError(
                    "groups must hold at least 2 groups, got 1: no row is new to a base that was "
                    "trained on the others."
                )
            n_folds = min(n_folds, n_groups)
            splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
        else:
            splitter = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    elif len(y if groups is None else np.unique(groups)) * (1 - cv) < 1:
        what = "rows" if groups is None else "groups"
        raise ValueError(
            f"Holding out a share of {cv} leaves no training row: there are only "
            f"{len(y if groups is None else np.unique(groups))} {what} (n_samples={len(y)}). Give "
            f"more {what}, or hold out a smaller share."
        )
    elif groups is not None:
        splitter = GroupShuffleSplit(1, test_size=cv, random_state=seed)
    elif counts.min() < 2 or min(cv, 1 - cv) * len(y) < len(labels):
        splitter = ShuffleSplit(1, test_size=cv, random_state=seed)
    else:
        splitter = StratifiedShuffleSplit(1, test_size=cv, random_state=seed)
    with warnings.catch_warnings():
        # Said above, in our own words.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return list(splitter.split(rows, y, groups))


def _explicit_splits(cv, X, y, groups):
    """Return the splits of a splitter or an iterable; raise unless each tests unseen rows."""
    n_samples = len(y)
    try:
        splits = [tuple(map(_positions, pair)) for pair in check_cv(cv, y).split(X, y, groups)]
    except ValueError as error:
        raise ValueError(f"cv={cv!r} cannot split these {n_samples} rows: {error}") from error
    if not splits:
        raise ValueError(
            f"cv={cv!r} holds no split. A generator can be read once: pass a list of its splits."
        )
    for train, test in splits:
        if min(len(train), len(test)) == 0:
            raise ValueError(
                f"A split of cv={cv!r} has {len(train)} training and {len(test)} test rows; both "
                "parts need at least one."
            )
        rows = np.concatenate([train, test])
        if rows.min() < 0 or rows.max() >= n_samples:
            raise ValueError(
                f"A split of cv={cv!r} has positions from {rows.min()} to {rows.max()}, but there "
                f"are {n_samples} rows. Give positions from 0 to n_samples - 1."
            )
        is_trained = np.zeros(n_samples, dtype=bool)  # to sort the positions takes much longer
        is_trained[train] = True
        if is_trained[test].any():
            shared = np.unique(test[is_trained[test]])
            raise ValueError(
                f"A split of cv={cv!r} tests {len(shared)} rows that it also trains on, row "
                f"{shared[0]} among them: only predictions for unseen rows show how a classifier "
                "errs. Leave the test rows out of the training part."
            )
    return splits


def _warn_of_copies(cv, splits, copies):
    n_parted = sum(np.isin(copies[test], copies[train]).sum() for train, test in splits)
    if n_parted:
        warn_caller(
            f"cv={cv!r} tests {n_parted} rows of which a copy is in the training part: a base that "
            "remembers rows looks better there than on new rows. Drop the copies, pass the number "
            "of each row as groups=, or pass an integer as cv=, which keeps copies together."
        )


def _positions(part):
    part = np.asarray(part)
    return np.flatnonzero(part) if part.dtype == bool else part


def mark_copies(X, y):
    """Mark rows that are copies of each other, so that copies can be kept in one fold.

    Where rows were copied (oversampling, a table joined to itself), the copy in the training part
    shows a flexible base the answer for the row that is tested. Rows also coincide without having
    been copied, and then new rows coincide with training rows just as often: setting them aside
    would misjudge the base. Rows count as copied where most rows of a class have a copy, and
    either ten times as many rows coincide as columns drawn independently would give, or there is a
    column of many values, and rows with the same one differ elsewhere ten times as rarely. Columns
    may depend on each other (a place and its region): where rows coincide as often as draws from a
    list do and do not agree on the label, they are draws, for a copy has the label of its row.

    Parameters
    ----------
    X : array-like, frame or sparse matrix of length n_samples
        Rows.
    y : array-like of shape (n_samples,)
        Labels.

    Returns
    -------
    copies : ndarray of shape (n_samples,) or None
        Equal numbers mark equal rows; distinct rows are numbered as they come. None if no rows were
        copied, or if X is of a kind that cannot be compared.
    """
    n_samples = num_samples(X)
    if n_samples == 0 or _hash_cells(safe_indexing(X, slice(0, 1))) is None:
        return None
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fiub":
        # The fewest copies that count are three pairs: then no column has more than n - 3 values.
        # To look at one is a tenth of the work.
        n_distinct = [len(np.unique(column)) for column in X[:200].T]
        if n_distinct and len(np.unique(X[:, np.argmax(n_distinct)])) > n_samples - 3:
            return None
    keys = np.empty(n_samples, dtype=np.uint64)
    for batch, part in row_chunks(X):
        codes = _hash_cells(part)
        if codes is None:  # a later row is of another length
            return None
        rng = np.random.default_rng(0)
        odd = rng.integers(2**62, size=codes.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(
            1
        )
        keys[batch] = (codes * odd).sum(axis=1, dtype=np.uint64)
    _, first, number, count = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    has_copy = count[number] > 1
    # The order of the keys means nothing, and must not decide how folds are drawn.
    number = np.argsort(np.argsort(first))[number]
    label, size = np.unique(y, return_inverse=True, return_counts=True)[1:]
    share = np.bincount(label, has_copy) / size
    if not (share[size >= 10] > 0.5).any() or _are_draws(number, label, count):
        return None
    n_some = min(2000, rows_at_once(X))
    some = safe_indexing(X, np.sort(np.random.default_rng(0).permutation(n_samples)[:n_some]))
    if _has_texts(some):
        return number  # texts do not coincide by chance
    chances = _chances_of_pairs(some)
    n_pairs = n_samples * (n_samples - 1) / 2
    n_equal = _count_pairs(count)
    if n_equal > 10 * n_pairs * np.prod(chances):
        return number
    if hasattr(X, "tocsr"):
        return None
    # Copies of a continuous column make all of its pairs: these tell nothing of chance.
    most = int(np.argmin(chances))
    values = np.concatenate([_hash_cells(part)[:, most] for _, part in row_chunks(X)])
    count = np.unique(values, return_counts=True)[1]
    if len(count) < n_samples / 10:
        return None  # a code, on which other columns may depend
    n_alike = _count_pairs(count)
    n_different = n_alike * (1 - np.prod(np.delete(chances, most)))
    return number if n_different >= 10 and n_alike - n_equal <= n_different / 10 else None


def _are_draws(number, label, count):
    """Tell whether equal rows disagree on the label, and are as uneven in number as draws are.

    Rows that several people labeled disagree as well, but there are about as many of each.
    """
    n_equal = _count_pairs(count)
    agreeing = np.unique(number * (label.max() + 1) + label, return_counts=True)[1]
    n_disagree = n_equal - _count_pairs(agreeing)
    # Of draws, the variance of a Poisson variable that is not 0 is a third of its mean or more,
    # where most rows have a copy.
    return n_disagree > max(5, 0.02 * n_equal) and count.var() > 0.3 * count.mean()


def _chances_of_pairs(X):
    """Return for each column the probability that two rows have the same value."""
    n_rows = num_samples(X)
    if hasattr(X, "tocsr"):
        columns = X.tocsc(copy=True)
        columns.sum_duplicates()
        columns.eliminate_zeros()
        counts = []
        for start, stop in zip(columns.indptr[:-1], columns.indptr[1:]):
            if stop > start:  # all rows are alike in an empty column
                known = np.unique(columns.data[start:stop], return_counts=True)[1]
                counts.append(np.append(known, n_rows - (stop - start)))
    else:
        counts = [np.unique(column, return_counts=True)[1] for column in _hash_cells(X).T]
    return np.array([_count_pairs(count) for count in counts]) / max(n_rows * (n_rows - 1) / 2, 1)


def _count_pairs(count):
    return float(np.sum(count * (count - 1) / 2))


def _has_texts(X):
    """Tell whether rows are texts, or have a column of texts rather than of categories."""
    cells = _cells(X)
    if isinstance(cells, list):
        texts = (c for c in cells if c.dtype.kind in "OUT")
        return any(np.median([len(str(value)) for value in c]) >= _LEAST_TEXT for c in texts)
    return isinstance(cells, np.ndarray) and cells.ndim == 1


def _cells(X):
    """Return numbers as an array, a frame or cells of any kind as columns, texts as 1-D array.

    None if rows of this kind cannot be compared.
    """
    X = as_array(X)
    if hasattr(X, "tocsr"):
        # A fixed random projection identifies a sparse row: products of equal rows are equal,
        # because they are summed in the same order.
        X = X.tocsr(copy=True)
        X.sum_duplicates()
        return np.asarray(X @ np.random.default_rng(0).standard_normal((X.shape[1], 2)))
    if hasattr(X, "columns"):
        columns = ((column, np.asarray(column)) for column in columns_of(X))
        return [values if values.ndim == 1 else to_str(column) for column, values in columns]
    is_texts = isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], str)
    try:
        X = np.asarray(X, dtype=object if is_texts else None)
    except (RuntimeError, TypeError, ValueError):  # rows of different length, tensors on a GPU
        return None
    if X.ndim >= 2:
        X = X.reshape(len(X), -1)
        return X if X.dtype.kind in "fiub" else list(X.T)
    return X if X.ndim == 1 and len(X) and isinstance(X[0], str) else None


def _hash_cells(X):
    """Return one hash per cell as uint64 of shape (n_samples, n_columns), or None."""
    cells = _cells(X)
    if isinstance(cells, np.ndarray):
        if cells.ndim == 2:
            return _hash_numbers(cells)
        cells = [cells]
    hashed = []
    for column in cells or ():
        if column.dtype.kind in "fiub":
            hashed.append(_hash_numbers(column[:, None])[:, 0])
        else:
            hashed.append(_hash_texts([str(value) for value in column]))
    return np.column_stack(hashed) if hashed else None


def _hash_texts(texts):
    # Python's own hash of a text is another one in each process.
    digests = {
        text: blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for text in set(texts)
    }
    return np.frombuffer(b"".join(map(digests.get, texts)), dtype="<u8").astype(np.uint64)


def _hash_numbers(X):
    # Adding 0 turns -0.0 into 0.0; halves of a float64 are hashed apart and joined.
    words = np.ascontiguousarray(X.astype(np.float64) + 0.0).view(np.int32)
    hashed = murmurhash3_32(words, seed=0, positive=True).astype(np.uint64)
    return hashed[:, ::2] * np.uint64(2**32) + hashed[:, 1::2]


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
    predicted = np.zeros(n_samples, dtype=np.intp)
    proba = np.zeros((n_samples, len(classes)))
    fold = np.full(n_samples, -1)
    estimators, asked = [], []
    for number, ((_, test), (test_predicted, test_proba, fitted, answers)) in enumerate(
        zip(splits, results)
    ):
        new = fold[test] < 0
        rows = test[new]
        fold[rows] = number
        predicted[rows], proba[rows] = test_predicted[new], test_proba[new]
        asked = asked or [np.zeros((n_samples, answer.shape[1])) for answer in answers]
        for features, answer in zip(asked, answers):
            features[rows] = answer[new]
        estimators.append(fitted)
        if on_fold is not None:
            on_fold()
    predictions = BasePredictions(predicted, proba, fold, asked)
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
            training_rows(estimator, X, train),
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
    unseen = training_rows(estimator, X, test)
    predicted, proba = predict_both(fitted, unseen, classes)
    return predicted, proba, fitted if keep_estimator else None, ask(fitted, unseen, observers)


def training_rows(estimator, X, rows):
    """Return some rows of X for a base: a net reads those of a file as it goes."""
    return safe_indexing(net_input(estimator, X) if isinstance(X, np.memmap) else X, rows)


def predict_both(estimator, X, classes):
    """Return predicted positions in `classes` and probabilities of a fitted base, in chunks."""
    return predict_all(estimator, X, classes)[1:3]


def predict_all(estimator, X, classes, *, by_argmax=None, embedding=None, transform=None):
    """Return what a fitted base says of rows, in chunks and in as few passes as possible.

    Parameters
    ----------
    estimator : fitted estimator
        The base.
    X : any, of length n_samples
        Rows.
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    by_argmax : bool, default=None
        Whether the label is known to be that of the largest probability; None asks
        `labels_by_argmax`.
    embedding : object with ``overhear()``, default=None
        Collects what the base computes on the way to its probabilities.
    transform : callable, default=None
        Applied to what `embedding` collects of each chunk.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
    predicted : ndarray of int, shape (n_samples,)
        Their positions in `classes`; -1 for a label that is not among them.
    proba : ndarray of shape (n_samples, n_classes)
    heard : ndarray of shape (n_samples, n_columns), or None
        From `embedding`.
    """
    if by_argmax is None:
        # A second forward pass of a net adds nothing.
        by_argmax = hasattr(estimator, "predict_proba") and labels_by_argmax(estimator)

    def predict(part):
        with nullcontext() if embedding is None else embedding.overhear() as parts:
            proba = predict_proba(estimator, part, classes)
        if by_argmax:
            predicted = proba.argmax(axis=1)
            labels = classes[predicted]
            even = np.flatnonzero(np.ptp(proba, axis=1) == 0)
            if len(even) and not (is_net(estimator) or labels_by_argmax(estimator)):
                # What tells nothing is that of a rule of its own, for outliers perhaps.
                own = np.asarray(predict_labels(estimator, safe_indexing(part, even), classes))
                labels = labels.astype(np.result_type(labels, own))
                labels[even], predicted[even] = own, label_positions(own, classes)
        else:
            labels = np.asarray(predict_labels(estimator, part, classes))
            predicted = label_positions(labels, classes)
        if embedding is None:
            return labels, predicted, proba
        heard = np.concatenate(parts)
        return labels, predicted, proba, heard if transform is None else transform(heard)

    labels, predicted, proba, *heard = in_chunks(predict, X)
    return labels, predicted, proba, heard[0] if heard else None


def ask(estimator, X, observers):
    """Return what each observer finds when it asks a fitted base about X, in chunks.

    Parameters
    ----------
    estimator : fitted estimator
        A base that has not seen X, or the deployed one on new rows.
    X : any, of length n_samples
        Rows.
    observers : sequence of objects with ``observe(estimator, X)``
        They return one number, or one row of numbers, per row.

    Returns
    -------
    asked : list of ndarrays of shape (n_samples, n_features)
    """

    def answer(observer, part):
        features = np.asarray(observer.observe(estimator, part), dtype=float)
        features = features[:, None] if features.ndim == 1 else features
        if features.ndim != 2 or len(features) != num_samples(part):
            raise ValueError(
                f"{type(observer).__name__}.observe must return one row of numbers per sample, got "
                f"shape {features.shape} for {num_samples(part)} samples."
            )
        return features

    return [in_chunks(lambda part, o=observer: (answer(o, part),), X)[0] for observer in observers]


def in_chunks(predict, X, rows=None):
    """Return the arrays that `predict` gives for (some) rows of X, called on chunks of them."""
    parts = [predict(part) for _, part in row_chunks(X, rows=rows, max_rows=_MAX_ASKED)]
    parts = parts or [predict(X if rows is None else safe_indexing(X, rows))]
    return tuple(map(np.concatenate, zip(*parts))) if len(parts) > 1 else parts[0]
