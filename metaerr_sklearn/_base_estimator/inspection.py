"""Find out what kind of classifier the base is."""

import re

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    FixedThresholdClassifier,
    PredefinedSplit,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import Pipeline
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, NuSVC
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from .._utils.messages import warn_caller
from .._utils.parameter_checks import check_not_a_module, is_word
from .._utils.rows import own_copy
from ..model_selection import is_unlabeled

# Classifiers whose label need not be the most probable class: a threshold or votes decide it.
_LABELS_OF_THEIR_OWN = (FixedThresholdClassifier, TunedThresholdClassifierCV, SVC, NuSVC)
_LABELS_BY_ARGMAX = (RandomForestClassifier, ExtraTreesClassifier, BaggingClassifier)
_SEMI_SUPERVISED = (SelfTrainingClassifier, LabelPropagation, LabelSpreading)


def final_estimator(estimator):
    """Return the estimator that predicts: inside pipelines, frozen and search wrappers."""
    estimator = without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        estimator = without_wrappers(estimator.steps[-1][1])
    return estimator


def without_wrappers(estimator):
    """Return the estimator inside frozen and search wrappers."""
    while True:
        if isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif searched_parameters(estimator) is not None:
            estimator = estimator.estimator
        else:
            return estimator


def searched_parameters(estimator):
    """Return the parameters that a search tries, or None if the estimator is no search."""
    return getattr(estimator, "param_grid", getattr(estimator, "param_distributions", None))


def find_search(estimator):
    """Return the search that the estimator, or the last step of a Pipeline, is; else None."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator if searched_parameters(estimator) is not None else None


def resamples_rows(estimator):
    """Return whether a step of a Pipeline resamples the training rows, as imbalanced-learn's do."""
    while searched_parameters(estimator) is not None:
        estimator = estimator.estimator
    if not isinstance(estimator, Pipeline):
        return False
    steps = [step for _, step in estimator.steps]
    return any(hasattr(step, "fit_resample") for step in steps) or resamples_rows(steps[-1])


def fit_itself(estimator, X, y, **fit_params):
    """Fit an estimator and return it, also if its ``fit`` lacks ``return self``."""
    fitted = estimator.fit(X, y, **fit_params)
    return estimator if fitted is None else fitted


def fit_param(estimator, param):
    """Return the name under which ``fit`` takes an argument with one value per row, or None.

    Parameters
    ----------
    estimator : estimator
        A classifier; the last step of a Pipeline and the estimator of a search receive the
        argument.
    param : {"sample_weight", "groups"}
        Name of the argument in the ``fit`` of a plain classifier.

    Returns
    -------
    name : str or None
    """
    if isinstance(estimator, Pipeline):
        if resamples_rows(estimator):
            return None  # the last step is trained on other rows
        name, last = estimator.steps[-1]
        inner = fit_param(last, param)
        return None if inner is None else f"{name}__{inner}"
    grid = searched_parameters(estimator)
    if grid is not None:
        if param == "groups":  # they are for the splitter of the search
            uses_groups = get_routing_for_object(estimator.cv).consumes("split", ["groups"])
            return "groups" if uses_groups else None
        grids = [grid] if hasattr(grid, "values") else grid
        options = [values for part in grids for values in part.values() if np.iterable(values)]
        if any(hasattr(value, "fit") for values in options for value in values):
            return None  # some of the candidates may take no weights
        # A search passes the arguments of its fit on to its estimator.
        return fit_param(estimator.estimator, param)
    # These pass weights on, but cannot pass them to the last step of a Pipeline.
    members = []
    if isinstance(estimator, CalibratedClassifierCV):
        members = [estimator.estimator]
    elif isinstance(estimator, (VotingClassifier, StackingClassifier)):
        members = [member for _, member in estimator.estimators if not isinstance(member, str)]
        members.append(getattr(estimator, "final_estimator", None))
    if members:
        takes_all = all(m is None or has_fit_parameter(m, param) for m in members)
        return param if takes_all and param == "sample_weight" else None
    return param if has_fit_parameter(estimator, param) else None


def transform_before(pipeline, X):
    """Return X as the last step of a fitted Pipeline receives it.

    Each step is called by itself, because ``pipeline[:-1].transform`` would check whether its last
    step is fitted. This check fails for a transformer that learns nothing.
    """
    X = own_copy(X)
    for _, step in pipeline.steps[:-1]:
        # The samplers of imbalanced-learn act only in fit.
        if step is not None and not isinstance(step, str) and not hasattr(step, "fit_resample"):
            X = step.transform(X)
    return X


def unwrap(estimator, X):
    """Return the fitted `final_estimator`, and X as the steps before it transform it.

    This gives access to methods that scikit-learn does not define: Pipelines and searches do not
    have them.
    """
    estimator = without_wrappers(estimator)
    while isinstance(estimator, Pipeline):
        X = transform_before(estimator, X)
        estimator = without_wrappers(estimator.steps[-1][1])
    return estimator, X


def check_prefit(estimator, option):
    """Return whether the base is fitted already: a `FrozenEstimator`, or by the option "prefit".

    Parameters
    ----------
    estimator : estimator
        The base classifier.
    option : any
        Value of ``cv`` or ``calibration``.

    Returns
    -------
    is_prefit : bool

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator must be fitted and is not.
    TypeError
        If it is a PyTorch module.
    """
    final = final_estimator(estimator)
    check_not_a_module(final)
    if is_word(option, "prefit") or isinstance(estimator, FrozenEstimator):
        if hasattr(final, "initialize") and not getattr(final, "initialized_", True):
            raise NotFittedError(
                f"This {type(final).__name__} is not fitted. If its module is trained already, "
                "call net.initialize() first; if its weights are in a file, call "
                "net.initialize().load_params(...)."
            )
        if not hasattr(final, "__sklearn_tags__"):
            return True  # scikit-learn cannot find out whether it is fitted
        try:
            check_is_fitted(estimator)
        except NotFittedError as error:
            raise NotFittedError(
                f'{error} It is given as fitted, because cv or calibration is "prefit" or it is a '
                "FrozenEstimator. If it was fitted, it has been cloned since, as searches, "
                "cross_validate and other meta-estimators do: FrozenEstimator(fitted) is not "
                "changed by clone."
            ) from error
        return True
    return False


def tags_of(estimator):
    """Return scikit-learn's tags of an estimator, also if its class is no `BaseEstimator`.

    A search or Pipeline that does not name its type has that of its final estimator.
    """
    try:
        tags = get_tags(estimator)
    except AttributeError:
        tags = get_tags(BaseEstimator())
    if tags.estimator_type is None:
        final = final_estimator(estimator)
        # The attribute named the type before scikit-learn 1.6; libraries still set it.
        own_type = getattr(estimator, "_estimator_type", None)
        tags.estimator_type = own_type if final is estimator else tags_of(final).estimator_type
    return tags


def has_tag_of_classifier(estimator):
    """Return whether the tags say that an estimator is a classifier."""
    return tags_of(estimator).estimator_type == "classifier"


def can_fit_and_predict(estimator):
    """Return whether an estimator has the methods of a classifier, or will have them after fit.

    A `StackingClassifier`, for example, may have ``predict`` only after its final estimator is
    fitted.
    """
    can_predict = hasattr(estimator, "predict") or has_tag_of_classifier(estimator)
    return hasattr(estimator, "fit") and can_predict


def unfrozen_parameters(estimator):
    """Return all parameters, by name, except those of estimators in a `FrozenEstimator`."""
    parameters = estimator.get_params(deep=True)
    frozen = tuple(f"{name}__" for name, v in parameters.items() if isinstance(v, FrozenEstimator))
    return {name: v for name, v in parameters.items() if not name.startswith(frozen)}


def check_takes_parts(estimator):
    """Raise if clones of the estimator cannot be trained on parts of the rows.

    A precomputed kernel or distance matrix is a selection of rows and of columns. In splits that
    name rows by position, the same positions are other rows in each part.
    """
    name = type(estimator).__name__
    if tags_of(estimator).input_tags.pairwise:
        raise ValueError(
            f"{name} takes a precomputed matrix between the training rows as X, which cannot be "
            "divided into rows to train and to test on. Give it the rows themselves, and a metric "
            "or kernel to compute."
        )
    try:
        clone(estimator)
    except RuntimeError as error:
        raise RuntimeError(
            f"{error}. Clones of the estimator are trained. If the parameter is a list that its "
            "class copies, as CatBoost does, pass a tuple: cat_features=(0, 2)."
        ) from error
    except TypeError as error:
        found = re.search(
            r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)
        )
        if found is None:
            raise
        # skorch takes each attribute of a callback for a parameter, unless it ends in "_".
        raise TypeError(
            f"{found[1]} in {name} cannot be cloned, because its attribute {found[2]!r} is no "
            "parameter of its __init__. Clones of the estimator are trained. In a skorch callback, "
            f"let names of attributes that are no parameters end in an underscore: {found[2]}_."
        ) from error
    for key, cv in unfrozen_parameters(estimator).items():
        is_fixed = isinstance(cv, (list, tuple, PredefinedSplit))
        if key.split("__")[-1] == "cv" and is_fixed:
            raise ValueError(
                f"{key} of {name} is a {type(cv).__name__}, whose splits name rows of X by "
                "position. The estimator is trained on parts of X, in which these positions are "
                "other rows. Pass a number of folds, or a splitter such as GroupKFold."
            )


def check_all_labeled(estimator, y):
    """Raise if the base is semi-supervised and y has unlabeled rows.

    Errors can be counted only on labeled rows.

    Parameters
    ----------
    estimator : estimator
        The base classifier.
    y : ndarray of shape (n_samples,)
        Class labels.
    """
    base = final_estimator(estimator)
    marker, is_marked = _find_marked(base, y)
    # SelfTrainingWithMetaErr takes -1 for a class beside 1.
    is_class = hasattr(base, "unlabeled") and set(np.unique(y).tolist()) == {-1, 1}
    if is_marked.any() and not is_class:
        raise ValueError(
            f"y holds {marker!r}, the mark of an unlabeled row, in {is_marked.sum()} of {len(y)} "
            f"rows, but only labeled rows show whether {type(base).__name__} is right. Fit it "
            "first, and give it frozen or prefit, with labeled rows that it was not fitted on. "
            "SelfTrainingWithMetaErr itself also has predict_error_proba."
        )


def warn_of_unlabeled(estimator, y):
    """Warn if predictions of a semi-supervised classifier are compared with unlabeled rows.

    Parameters
    ----------
    estimator : fitted estimator
        The classifier.
    y : ndarray of shape (n_samples,)
        Labels that should be true ones.
    """
    base = final_estimator(estimator)
    marker, is_marked = _find_marked(base, y)
    if is_marked.any() and marker not in np.asarray(getattr(base, "classes_", [])).tolist():
        warn_caller(
            f"y holds {marker!r}, the mark of an unlabeled row, in {is_marked.sum()} of {len(y)} "
            "rows, and each of them counts as an error. Pass labeled rows only; in "
            "cross-validation use cv=SemiSupervisedKFold()."
        )


def warn_of_hidden_error_model(estimator):
    """Warn if the rows are ranked by probabilities although an error model is inside.

    A meta-estimator around a `MetaErrorClassifier` may have other labels, and does not pass its
    error probability on.
    """
    final = final_estimator(estimator)
    if hasattr(final, "predict_with_error") or not hasattr(final, "get_params"):
        return
    for part in final.get_params(deep=True).values():
        if hasattr(part, "predict_with_error"):
            inner, outer = type(part).__name__, type(final).__name__
            warn_caller(
                f"The rows are ranked by max probability: {outer} does not pass on the error "
                f"probability of the {inner} inside it. Put the {inner} outside: "
                f"{inner}({outer}(...))."
            )
            return


def _find_marked(base, y):
    """Return the marker of unlabeled rows of a semi-supervised classifier, and a mask of them."""
    if isinstance(base, _SEMI_SUPERVISED):
        marker = -1
    elif hasattr(base, "unlabeled"):  # SelfTrainingWithMetaErr
        marker = base.unlabeled
    else:
        return None, np.zeros(len(y), dtype=bool)
    return marker, is_unlabeled(y, marker)


def predicts_argmax(estimator):
    """Return whether the label of a scikit-learn classifier is its most probable class.

    Parameters
    ----------
    estimator : estimator
        A `final_estimator` that is no net.

    Returns
    -------
    by_argmax : bool or None
        True for scikit-learn's forests and bagging, because their ``predict`` would evaluate all
        members again. False for classifiers with a decision threshold, for support vector machines
        (their labels come from votes), for classifiers that abstain, and for any estimator that
        contains one of these. None for all others.
    """
    if isinstance(estimator, _LABELS_BY_ARGMAX) and has_predict_of(estimator, "sklearn.ensemble."):
        return True
    parts = [estimator]
    if hasattr(estimator, "get_params"):
        parts += estimator.get_params(deep=True).values()
    for part in parts:
        if isinstance(part, _LABELS_OF_THEIR_OWN) or getattr(part, "abstains", False):
            return False
    return None


def unimportable_part(estimator):
    """Return the name of a class or function in an estimator that another process cannot import.

    Parameters
    ----------
    estimator : estimator
        The base classifier. Its parameters are searched, and the submodules of torch modules.

    Returns
    -------
    name : str or None
        None if all classes and functions are defined at the top level of an imported module.
    """
    parts = [estimator, *estimator.get_params(deep=True).values()]
    modules = [p for p in parts if hasattr(p, "named_modules") and not isinstance(p, type)]
    parts += [inner for module in modules for inner in module.modules()]
    for part in parts:
        kind = part if hasattr(part, "__qualname__") else type(part)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            return kind.__qualname__.split(".")[-1]
    return None


def has_predict_of(estimator, package):
    """Return whether ``predict`` comes from a class of a package, not from a subclass elsewhere.

    `package` is the beginning of the name of the class's module, or a tuple of beginnings.
    """
    owner = next(cls for cls in type(estimator).__mro__ if "predict" in vars(cls))
    return owner.__module__.startswith(package)
