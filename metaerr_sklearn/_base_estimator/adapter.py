"""Fit any base classifier and predict with it through one interface.

`adapt` chooses between two adapters, one for scikit-learn classifiers and one for skorch nets. Only
`adapt` decides whether a base is a net.
"""

from .._utils.parameter_checks import check_not_a_module
from .classifier_adapter import ClassifierAdapter
from .inspection import can_fit_and_predict, final_estimator, find_search, tags_of
from .net_adapter import NetAdapter


def adapt(estimator):
    """Return the adapter of a base classifier, fitted or not.

    Parameters
    ----------
    estimator : estimator
        A classifier, a Pipeline, a search or a `FrozenEstimator` around one.

    Returns
    -------
    adapter : ClassifierAdapter or NetAdapter
    """
    modules = (cls.__module__ for cls in type(final_estimator(estimator)).__mro__)
    # skorch is not imported for this, because its import takes seconds.
    is_net = any(module.split(".")[0] == "skorch" for module in modules)
    return (NetAdapter if is_net else ClassifierAdapter)(estimator)


def check_classifier(estimator):
    """Raise unless an estimator can be a base: it has fit and predict, and is a classifier."""
    check_not_a_module(final_estimator(estimator))
    reason = why_no_classifier(estimator)
    if reason is not None:
        raise TypeError(
            f"estimator must be a classifier with fit and predict, got {estimator!r}: {reason}"
        )


def why_no_classifier(estimator):
    """Return the reason why an estimator is no classifier; None if it is one."""
    if isinstance(estimator, type):
        return f"this is the class itself. Pass an instance: {estimator.__name__}()."
    if not hasattr(estimator, "fit"):
        return "it has no method fit. Put it into an estimator with fit and predict."
    if not hasattr(estimator, "get_params"):
        return (
            "it has no get_params, so that it cannot be cloned. Inherit from BaseEstimator, or fit "
            "it on other rows and pass FrozenEstimator(estimator)."
        )
    if getattr(find_search(estimator), "refit", True) is False:
        return "a search with refit=False fits no classifier to predict with. Pass refit=True."
    kind = tags_of(estimator).estimator_type
    if not tags_of(final_estimator(estimator)).target_tags.single_output:
        return "it predicts several labels for each row. Fit one object for each column of y."
    if can_fit_and_predict(estimator) and adapt(estimator).is_classifier():
        return None
    if kind == "regressor":
        return "a regressor predicts no class that could be wrong."
    if kind is not None:
        return f"its type is {kind!r}. It predicts none of the classes in y."
    return (
        "it has no tag of a classifier, and neither predict_proba nor decision_function. If it is "
        "a classifier, let its class inherit from sklearn.base.ClassifierMixin, before "
        "BaseEstimator."
    )
