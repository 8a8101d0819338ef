"""Find out what kind of classifier the base is."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from .._utils.rows import is_instance_by_name
from ..model_selection import is_unlabeled


def can_fit_and_predict(estimator):
    """Tell whether an estimator has the methods of a classifier, or will have once it is fitted.

    The methods of a `StackingClassifier` are those of its fitted final estimator.
    """
    return hasattr(estimator, "fit") and (hasattr(estimator, "predict") or is_classifier(estimator))


def check_not_pairwise(estimator):
    """Refuse a base whose X is a matrix between rows, of which a fold would be rows alone."""
    if get_tags(estimator).input_tags.pairwise:
        raise ValueError(
            f"{type(estimator).__name__} takes a precomputed matrix between the training rows as "
            "X, which cannot be divided into rows to train and to test on. Give it the rows "
            "themselves, and a metric or kernel to compute."
        )


_OWN_LABELS = (
    "FixedThresholdClassifier",
    "TunedThresholdClassifierCV",
    "SVC",
    "NuSVC",
    "SelectiveClassifier",
)
_ARGMAX_OF_MEMBERS = ("ForestClassifier", "BaggingClassifier")
_SEMI_SUPERVISED = ("SelfTrainingClassifier", "BaseLabelPropagation")


def final_estimator(estimator):
    """Return the estimator that predicts: inside pipelines, frozen and search wrappers."""
    estimator = without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        estimator = without_wrappers(estimator.steps[-1][1])
    return estimator


def without_wrappers(estimator):
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
    estimator = without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        X = transform_before(estimator, X)
        estimator = without_wrappers(estimator.steps[-1][1])
    return estimator, X


def is_search(estimator):
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return _searched(estimator) is not None


def is_net(estimator):
    """Tell whether a skorch net predicts, without importing skorch."""
    mro = type(final_estimator(estimator)).__mro__
    return any(cls.__module__.split(".")[0] == "skorch" for cls in mro)


def sample_weight_param(estimator):
    """Return the name under which ``fit`` takes sample weights, or None."""
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = sample_weight_param(last)
        return None if inner is None else f"{name}__{inner}"
    grid = _searched(estimator)
    if grid is not None:
        grids = [grid] if hasattr(grid, "values") else grid
        options = [values for part in grids for values in part.values() if np.iterable(values)]
        if any(hasattr(value, "fit") for values in options for value in values):
            return None  # not every candidate need take them
        return sample_weight_param(estimator.estimator)  # searches pass on what their fit is given
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
    if is_instance_by_name(base, "metaerr_sklearn.", "SelfTrainingWithMetaErr"):
        marker = base.unlabeled
        if set(np.unique(y).tolist()) == {-1, 1}:
            return  # it takes them for classes too
    elif any(
        is_instance_by_name(base, "sklearn.semi_supervised", name) for name in _SEMI_SUPERVISED
    ):
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
    is_ensemble = any(is_instance_by_name(estimator, package, name) for name in _ARGMAX_OF_MEMBERS)
    if is_ensemble and _has_predict_of(estimator, package):
        return True
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    modules = ("sklearn.", "metaerr_sklearn.")
    return (
        False
        if any(is_instance_by_name(p, modules, name) for p in parts for name in _OWN_LABELS)
        else None
    )


def _has_predict_of(estimator, package):
    """Tell whether ``predict`` is that of a package's class, and not of a subclass elsewhere."""
    owner = next(cls for cls in type(estimator).__mro__ if "predict" in vars(cls))
    return owner.__module__.startswith(package)
