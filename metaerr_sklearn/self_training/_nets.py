"""What self-training needs of nets."""

from contextlib import nullcontext

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from .._base_estimator.fitting import net_input
from .._base_estimator.inspection import is_net, transform_before

# UPS: a label is certain if it is probable under random dropout masks, and equally so under all.
_N_PASSES, _MIN_PROBA, _MAX_STD = 8, 0.7, 0.05


class NetEmbedding:
    """See rows as a fitted net does: its last hidden layer, at unit length."""

    def __init__(self, model):
        self.model = model

    def transform(self, X):
        """Return one row per sample."""
        from ..neural import TorchEmbedding

        net, X = net_and_input(self.model, X)
        return normalize(TorchEmbedding(net).transform(X))


def net_and_input(model, X):
    """Return the net at the end of a Pipeline, and X as it gets it."""
    if not isinstance(model, Pipeline):
        return model, X
    X = net_input(model, X)
    return model.steps[-1][1], transform_before(model, X)


def is_certain(model, X, pred_encoded, seed):
    """Tell which labels random dropout masks agree on; None where there is no dropout."""
    from ..neural import mc_dropout_proba
    from ..neural._scores import has_dropout

    net, X = net_and_input(model, X)
    if not has_dropout(net):
        return None
    passes = mc_dropout_proba(net, X, n_passes=_N_PASSES, return_passes=True, random_state=seed)[1]
    own = np.take_along_axis(passes, pred_encoded[None, :, None], axis=2)[:, :, 0]
    return (own.mean(axis=0) >= _MIN_PROBA) & (own.std(axis=0) <= _MAX_STD)


def preserved_rng_if_net(estimator, seed):
    """Keep torch's global stream where a net is fitted: its predictions draw from it as well."""
    if not is_net(estimator):
        return nullcontext()
    from ..neural import preserved_rng

    return preserved_rng(seed)


def is_plain_net(model):
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    return is_net(last) and hasattr(last, "module_")
