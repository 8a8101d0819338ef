"""Hidden layers and dropout masks of nets, for self-training."""

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from .._base_estimator.adapter import adapt
from .._base_estimator.inspection import unwrap
from .._utils.messages import warn_caller
from .._utils.rows import take_rows

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


def hidden_layers(models, X):
    """Return a NetEmbedding of each model; None if the models are no nets.

    There is a warning, and None is returned, if a net has no hidden layer that can be read.

    Parameters
    ----------
    models : list of fitted classifiers
    X : any
        Rows. Only the first one is used.

    Returns
    -------
    embeddings : list of NetEmbedding or None
    """
    if not all(map(is_plain_net, models)):
        return None
    embeddings = [NetEmbedding(model) for model in models]
    try:
        embeddings[-1].transform(take_rows(X, [0]))
    except Exception as error:  # a module may do anything
        warn_caller(
            f"The hidden layer of {adapt(models[-1]).name} cannot be read, and neighbours are "
            f"searched in X itself: {str(error).partition(' Pass layer=')[0]} Pass "
            "representation= with a transformer that turns X into numbers, or "
            "representation=None to search none."
        )
        return None
    return embeddings


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
