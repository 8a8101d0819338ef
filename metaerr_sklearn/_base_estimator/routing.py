"""Pass the arguments of ``fit`` to the base, the splitter and the error model."""

from sklearn import get_config
from sklearn.utils.metadata_routing import process_routing
from sklearn.utils.validation import has_fit_parameter

from .._utils.validation import check_groups, check_two_classes, check_weights, warn_caller


def route_fit(owner, y, sample_weight, groups, fit_params):
    """Return the weights of the error model, the fit parameters of the base, and groups.

    Parameters
    ----------
    owner : MetaErrorClassifier
        Its ``estimator`` and ``cv`` receive the metadata that they request.
    y : ndarray of shape (n_samples,)
        Class labels.
    sample_weight, groups : array-likes of shape (n_samples,), or None
        As passed to ``fit``.
    fit_params : dict
        Further arguments of ``fit``.

    Returns
    -------
    sample_weight : ndarray of shape (n_samples,), or None
        Checked weights, for the error model.
    base_params : dict
        Arguments for the ``fit`` of the base.
    groups : ndarray of shape (n_samples,), or None
        Checked groups, for the splits.
    """
    groups, name = check_groups(groups), type(owner).__name__
    weight = None
    if sample_weight is not None:
        weight = check_weights(sample_weight, y)
        if (y != y[0]).any():
            check_two_classes(y[weight > 0], f"{name} with sample_weight")
    if get_config()["enable_metadata_routing"]:
        given = {"sample_weight": sample_weight, "groups": groups}
        given = {name: value for name, value in given.items() if value is not None}
        routed = process_routing(owner, "fit", **fit_params, **given)
        if hasattr(owner.cv, "split"):
            groups = check_groups(routed.splitter.split.get("groups", groups))
        return weight, routed.estimator.fit, groups
    base_params = dict(fit_params)
    if weight is not None:
        if has_fit_parameter(owner.estimator, "sample_weight"):
            base_params["sample_weight"] = weight
        else:
            warn_caller(
                f"The fit of {type(owner.estimator).__name__} takes no sample_weight: the weights "
                "are used by the error model alone."
            )
    return weight, base_params, groups
