"""Train the skorch nets in a base from scratch in each fold."""

import gc
import sys
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from sklearn.frozen import FrozenEstimator

from .._utils.messages import warn_caller
from .inspection import unfrozen_parameters


def nets_in(estimator, *, with_frozen=False):
    """Return the skorch nets that are fitted with an estimator: itself and its parameters.

    Parameters
    ----------
    estimator : estimator
    with_frozen : bool, default=False
        Whether to return those inside a FrozenEstimator, too, which predict but are not fitted.

    Returns
    -------
    nets : list of skorch NeuralNet
    """
    # If skorch is not imported, there is no net. Its import takes seconds.
    net_class = getattr(sys.modules.get("skorch"), "NeuralNet", None)
    is_left_out = isinstance(estimator, FrozenEstimator) and not with_frozen
    if net_class is None or is_left_out or not hasattr(estimator, "get_params"):
        return []
    found = estimator.get_params(deep=True) if with_frozen else unfrozen_parameters(estimator)
    return [part for part in [estimator, *found.values()] if isinstance(part, net_class)]


def check_untrained(estimator, *, warn=True):
    """Raise if a net in the base was built from a module instance and has been fitted.

    skorch trains a module instance itself, and `sklearn.base.clone` copies its weights: the clone
    of each fold would start from weights that were trained on its test rows. An instance that was
    not fitted through the net, such as a pretrained backbone, is accepted: on which rows it was
    trained cannot be found out. There is a warning if it seems to be a trained classifier: it has
    gradients, or the net is initialized.

    Parameters
    ----------
    estimator : estimator
        The unfitted base.
    warn : bool, default=True
        Whether to warn of a module that seems to be trained.
    """
    for net in nets_in(estimator):
        for name, value in net.get_params(deep=False).items():
            if isinstance(value, type) or not hasattr(value, "parameters"):
                continue
            parameters = list(value.parameters())
            kind, module = type(net).__name__, type(value).__name__
            if parameters and _was_fitted_in_a_net(value):
                raise ValueError(
                    f"{name} of {kind} is an instance, {module}(...), that has been fitted before "
                    "and keeps the trained weights. The net of each fold would start from them. "
                    "It would then be tested on rows that it was trained on, and its errors would "
                    f"be far too few. Pass the class: {kind}({module}, {name}__<argument>=...). To "
                    'use the fitted net as it is, pass it with cv="prefit" or in a '
                    "FrozenEstimator, and give rows that it was not trained on. If it was trained "
                    "on other rows, and shall be trained further on these, pass "
                    "sklearn.base.clone(net)."
                )

            has_gradients = any(weight.grad is not None for weight in parameters)
            # With arguments beside the instance, skorch makes a new module of its class.
            is_in_use = getattr(net, f"{name}_", None) is value
            if warn and parameters and (has_gradients or is_in_use):
                sign = "has gradients" if has_gradients else f"is in an initialized {kind}"
                warn_caller(
                    f"{name} of {kind} is an instance, {module}(...), that {sign}. If it is "
                    "trained already, it is now trained further, from its weights, in each fold. "
                    "To use it as it is, pass metaerr_sklearn.neural.as_classifier(module) and "
                    "rows that it was not trained on. To train it anew, pass the class: "
                    f"{kind}({module}, {name}__<argument>=...)."
                )


def _was_fitted_in_a_net(module):
    """Return whether a skorch net of this process was fitted with this very torch module.

    The module itself has no mark that it was trained, and several nets may share it.
    """
    net_class = sys.modules["skorch"].NeuralNet
    for net in [found for found in gc.get_objects() if issubclass(type(found), net_class)]:
        fitted = [value for name, value in vars(net).items() if name.endswith("_")]
        # A compiled module has the module itself as an attribute.
        is_held = any(getattr(value, "_orig_mod", value) is module for value in fitted)
        if is_held and getattr(net, "history_", None):
            return True
    return False


@contextmanager
def own_checkpoints(estimator):
    """Let the nets in a clone save their checkpoints in a folder that only this fit uses.

    Otherwise the nets of all folds would write the same files, and one could load the weights of
    another, which was trained on its test rows. The folder is deleted after the block.

    Parameters
    ----------
    estimator : estimator
        A clone of the base, which is fitted in the block.
    """
    nets = [(net, net.callbacks) for net in nets_in(estimator) if net.callbacks != "disable"]
    if not nets:
        yield
        return
    from ..neural._checkpoints import OwnFolder

    with TemporaryDirectory() as folder:
        for net, callbacks in nets:
            net.set_params(callbacks=[OwnFolder(folder), *(callbacks or [])])
        yield
        for net, callbacks in nets:
            net.callbacks = callbacks
