"""Pass the arguments of ``fit`` to the base, the splitter and the error model."""

from typing import NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)

from .._compat import raise_for_params
from .._utils.label_checks import check_groups, check_two_classes
from .._utils.messages import warn_caller
from .._utils.weights import check_weights
from .adapter import adapt
from .inspection import fit_param, resamples_rows


class FitArguments(NamedTuple):
    """Arguments of ``fit``, by receiver.

    Parameters
    ----------
    sample_weight : ndarray of shape (n_samples,) or None
        Checked weights, for the error model.
    groups : ndarray of shape (n_samples,) or None
        Checked groups, for the splits.
    base_params : dict
        Arguments for the ``fit`` of the base, weights and groups among them if it takes them.
    split_params : dict
        Arguments for the ``split`` of a splitter of the user.
    """

    sample_weight: np.ndarray
    groups: np.ndarray
    base_params: dict
    split_params: dict


def route_fit(owner, y, sample_weight, groups, fit_params, *, unused_weights=None):
    """Return the arguments of ``fit``, by receiver.

    Parameters
    ----------
    owner : meta-estimator
        Its ``estimator``, and its splitter ``cv`` if it has one, receive the metadata that they
        request.
    y : ndarray of shape (n_samples,)
        Class labels.
    sample_weight, groups : array-likes of shape (n_samples,), or None
        As passed to ``fit``.
    fit_params : dict
        Further arguments of ``fit``.
    unused_weights : str, default=None
        End of a warning if the ``fit`` of the base takes no weights; None does not warn.

    Returns
    -------
    arguments : FitArguments
    """
    groups, name = check_groups(groups), type(owner).__name__
    weight = None
    if sample_weight is not None:
        weight = check_weights(sample_weight, y)
        if (y != y[0]).any():
            check_two_classes(y[weight > 0], f"{name} with sample_weight")
    given = {"sample_weight": sample_weight, "groups": groups}
    given = {name: value for name, value in given.items() if value is not None}
    if get_config()["enable_metadata_routing"]:
        routed = process_routing(owner, "fit", **fit_params, **given)
        split_params = routed.splitter.split if _has_splitter(owner) else {}
        groups = check_groups(split_params.get("groups", groups))
        return FitArguments(weight, groups, routed.estimator.fit, split_params)
    base_params = {}
    if weight is not None:
        weight_param = adapt(owner.estimator).sample_weight_param()
        if weight_param is not None:
            base_params[weight_param] = weight
        elif unused_weights is not None:
            _warn_of_unused_weights(owner.estimator, unused_weights)
    if groups is not None:
        groups_param = fit_param(owner.estimator, "groups")
        if groups_param is not None:
            base_params[groups_param] = groups
    split_params = {} if groups is None else {"groups": groups}
    return FitArguments(weight, groups, {**base_params, **fit_params}, split_params)


def _warn_of_unused_weights(estimator, consequence):
    name = type(estimator).__name__
    reason = f"The fit of {name} takes no sample_weight"
    if resamples_rows(estimator):
        reason = f"A step of the {name} resamples the rows, so that it takes no sample_weight"
    warn_caller(f"{reason}: {consequence}")


def route_output(owner, method, params):
    """Return the arguments of an output method of the base.

    Parameters
    ----------
    owner : meta-estimator
        Its ``estimator`` receives the metadata that it requests.
    method : str
        Name of the method.
    params : dict
        As passed to the method of the same name of `owner`.

    Returns
    -------
    params : dict

    Raises
    ------
    ValueError
        If there are arguments and metadata routing is not enabled.
    """
    raise_for_params(params, owner, method)
    return process_routing(owner, method, **params).estimator[method] if params else {}


def weight_route(estimator, fit_params):
    """Return how ``fit`` of the base takes weights that were not given by the user.

    Parameters
    ----------
    estimator : estimator
        The base classifier.
    fit_params : dict
        Further arguments of its ``fit``.

    Returns
    -------
    name : str or None
        Name of the argument; None if there is none.
    is_routed : bool
        Whether metadata routing must be enabled in this ``fit``, if it is enabled now. Otherwise it
        must be off: weights are then passed by the name of a step, without a request of the user.
    """
    name = adapt(estimator).sample_weight_param()
    if get_config()["enable_metadata_routing"]:
        routing = get_routing_for_object(estimator)
        if name is not None and routing.consumes("fit", ["sample_weight"]):
            return "sample_weight", True
        if fit_params and isinstance(routing, MetadataRouter):
            return None, True  # the names of steps are no metadata
    return name, False


def make_router(owner, own_request, methods):
    """Return the metadata routing of a meta-estimator.

    Metadata that the base or the splitter requests needs no request on the meta-estimator itself,
    as in scikit-learn's meta-estimators, whose ``fit`` has no such arguments of its own.

    Parameters
    ----------
    owner : meta-estimator
        With the parameter ``estimator`` and, if it has a splitter, ``cv``.
    own_request : MetadataRequest
        What `owner` requests for itself.
    methods : tuple of str
        Methods that pass metadata to the method of the same name of the base.

    Returns
    -------
    router : MetadataRouter
    """
    router, mapping = MetadataRouter(owner=owner), MethodMapping()
    for method in methods:
        mapping.add(caller=method, callee=method)
    router.add(estimator=owner.estimator, method_mapping=mapping)
    if _has_splitter(owner):
        router.add(
            splitter=owner.cv, method_mapping=MethodMapping().add(caller="fit", callee="split")
        )
    for method in ("fit", "score"):
        requests = getattr(own_request, method).requests
        unset = [name for name, value in requests.items() if value is None]
        for name in router.consumes(method, unset):
            del requests[name]
    return router.add_self_request(own_request)


def _has_splitter(owner):
    cv = getattr(owner, "cv", None)
    return hasattr(cv, "split") and not isinstance(cv, str)
