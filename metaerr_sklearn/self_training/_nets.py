"""Hidden layers and dropout masks of nets, for self-training."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from .._base_estimator.adapter import adapt
from .._base_estimator.inspection import unwrap

# UPS: a label is certain if its probability under random dropout masks is high and varies little.
_N_PASSES, _MIN_PROBA, _MAX_STD = 8, 0.7, 0.05


class NetEmbedding:
    """Embed rows in the last hidden layer of a fitted net, scaled to unit length."""

    def __init__(self, model):
        self.model = model

    def transform(self, X):
        """Return one row per sample."""
        from ..neural import TorchEmbedding

        base = adapt(self.model)
        net, X = unwrap(self.model, base.as_input(X))
        hidden = TorchEmbedding(net).transform(X)
        base.check_no_nan(hidden, "The last hidden layer")
        return normalize(hidden)


def is_certain(model, X, pred_encoded, seed):
    """Return which labels are certain under random dropout masks; None without dropout."""
    from ..neural import mc_dropout_proba
    from ..neural._scores import has_dropout

    net, X = unwrap(model, adapt(model).as_input(X))
    if not has_dropout(net, X):
        return None
    passes = mc_dropout_proba(net, X, n_passes=_N_PASSES, return_passes=True, random_state=seed)[1]
    own = np.take_along_axis(passes, pred_encoded[None, :, None], axis=2)[:, :, 0]
    return (own.mean(axis=0) >= _MIN_PROBA) & (own.std(axis=0) <= _MAX_STD)


def is_plain_net(model):
    """Return whether a fitted model is a skorch net, or a Pipeline that ends in one."""
    last = model.steps[-1][1] if isinstance(model, Pipeline) else model
    return adapt(last).is_net and hasattr(last, "module_")
