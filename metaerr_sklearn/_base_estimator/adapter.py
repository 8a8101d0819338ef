"""Fit any base classifier and predict with it through one interface.

`adapt` chooses between two adapters, one for scikit-learn classifiers and one for skorch nets. Only
`adapt` decides whether a base is a net.
"""

from .._utils.validation import check_not_a_module
from .classifier_adapter import ClassifierAdapter
from .inspection import can_fit_and_predict, final_estimator
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
    if not (can_fit_and_predict(estimator) and adapt(estimator).is_classifier()):
        raise TypeError(
            f"estimator must be a classifier with fit and predict, got {estimator!r}. A regressor "
            "predicts no class that could be wrong."
        )
