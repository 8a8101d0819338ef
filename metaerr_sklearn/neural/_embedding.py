"""The hidden layer of a net as a representation of samples."""

import copy
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import nn

from .._compat import safe_indexing
from .._utils.rows import check_has_rows
from ._as_net_input import input_of
from ._net import (
    NET_LOCK,
    as_fitted_net,
    as_net,
    modules_of,
    n_rows,
    preserved_rng,
    restored_after,
    unfrozen,
    without_compilation,
)


def _is_compiled(module):
    is_compiled_in_place = getattr(module, "_compiled_call_impl", None) is not None
    return is_compiled_in_place or hasattr(module, "_orig_mod")


class TorchEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transform samples into a hidden layer of a fitted skorch net.

    Use it as ``representation=`` of `MetaErrorClassifier` with an already fitted net. Neighbours
    and second opinion are then computed in the net's hidden layer. The net is frozen: `fit` does
    not train it, and `clone` keeps it. Do not use it for a net that is cross-fitted, for two
    reasons: the hidden layers of different nets have no common coordinates, and the net given here
    must not have been trained on the samples from which errors are learned.

    Parameters
    ----------
    net : fitted skorch net, or FrozenEstimator of one
        The net that has the hidden layer.

    layer : str, default=None
        Name of a submodule, as in ``net.module_.named_modules()``. The embedding is the *output*
        of this submodule. With None, it is the *input* of the linear layer that runs last, which
        is the net's last representation before the class scores.

    References
    ----------
    .. [1] Sun, Ming, Zhu, Li (2022). Out-of-Distribution Detection with Deep Nearest Neighbors,
       ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.toy import make_classifier
    >>> from metaerr_sklearn.neural import TorchEmbedding
    >>> X = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    >>> net = NeuralNetClassifier(make_classifier(hidden_units=8), verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> TorchEmbedding(net).fit_transform(X).shape
    (60, 8)
    """

    def __init__(self, net, *, layer=None):
        self.net = net
        self.layer = layer

    def fit(self, X, y=None):
        """Check the net and the layer; nothing is learned.

        Parameters
        ----------
        X : array, data frame, sparse matrix, tensor, SliceDict or SliceDataset
            Samples. Only the first one is used.

        y : Ignored
            Present for the API.

        Returns
        -------
        self : TorchEmbedding

        Raises
        ------
        TypeError, ValueError
            As in `transform`.
        """
        self._n_features_out = self._embed(safe_indexing(X, [0])).shape[1]
        return self

    def transform(self, X):
        """Return the hidden layer's values.

        Parameters
        ----------
        X : array, data frame, sparse matrix, tensor, dict or Dataset
            Samples. They are converted by `as_net_input` and read in the net's own batches.

        Returns
        -------
        embedding : ndarray of float32, shape (n_samples, n_units)
            One row per sample. All axes but the first are flattened.

        Raises
        ------
        TypeError
            If `net` is not a skorch net.
        ValueError
            If the net has no layer of this name, if the layer does not run in the forward pass, or
            if its value does not have one row per sample.
        """
        return self._embed(X)

    @contextmanager
    def record(self):
        """Record the hidden layer in every forward pass of the net inside the block.

        Yields
        ------
        parts : list of ndarray
            The layer's values, one array for each batch that has passed through the net. The list
            grows with every batch.
        """
        net, values, parts = as_fitted_net(self.net), [], []

        def end_of_batch(_module, _args, output):
            parts.append(self._rows_of_layer(values, n_rows(output)))
            values.clear()

        with NET_LOCK, without_compilation():
            hooks = self._register_hooks(net.module_, values)
            hooks.append(net.module_.register_forward_hook(end_of_batch))
            with restored_after(net, hooks):
                yield parts

    def is_computed_by(self, estimator):
        """Return whether ``estimator.predict_proba`` computes this embedding on its way.

        If so, `record` around ``estimator.predict_proba(X)`` gives the same rows as
        ``transform(X)``, without a second forward pass.

        Parameters
        ----------
        estimator : fitted classifier
            The deployed base classifier.

        Returns
        -------
        is_computed_by : bool
            True if `estimator` is `net`, frozen or not, and if ``predict_proba`` and the methods
            that it calls are skorch's own. A method that the user has overridden could pass other
            input than X through the net, or pass X more than once. False for a compiled module:
            its hidden layers can be read only without the compiled code, whose probabilities
            differ in the last bits.
        """
        net, observed = as_net(self.net), unfrozen(estimator)
        steps = ("predict_proba", "forward_iter", "evaluation_step", "infer")
        modules = (getattr(type(net), step).__module__ for step in steps)
        own = ("skorch.", __package__)  # __package__: the net of `as_classifier`
        is_own = observed is net and all(module.startswith(own) for module in modules)
        return is_own and not any(map(_is_compiled, modules_of(net)))

    def source_names(self, X):
        """Return a readable name for each column, for explanations of an error.

        Parameters
        ----------
        X : Ignored
            Present for the API of representations.

        Returns
        -------
        names : list of str
        """
        what = "hidden layer" if self.layer is None else self.layer
        return [f"{what} {j}" for j in range(self._n_features_out)]

    def _embed(self, X):
        net = as_fitted_net(self.net)
        check_has_rows(X, net)
        values, parts = [], []
        # A DataLoader draws a number from the global generator, even if it does not shuffle.
        with NET_LOCK, preserved_rng(0, device=net.device), without_compilation():
            hooks = self._register_hooks(net.module_, values)
            with restored_after(net, hooks):
                for output in net.forward_iter(input_of(net, X)):
                    parts.append(self._rows_of_layer(values, n_rows(output)))
                    values.clear()
        return np.concatenate(parts)

    def _register_hooks(self, module, values):
        if self.layer is None:
            # Only the forward pass shows which linear layer runs last, so all get a hook.
            linear = [m for m in module.modules() if isinstance(m, nn.Linear)]

            def keep_input(_module, args, kwargs):
                values[:] = [_kept(args or tuple(kwargs.values()))]

            return [m.register_forward_pre_hook(keep_input, with_kwargs=True) for m in linear]
        # A compiled module holds the original module under this name.
        named = {name.replace("_orig_mod.", ""): m for name, m in module.named_modules()}
        if self.layer not in named:
            raise ValueError(
                f"layer must name a submodule of {type(module).__name__}, got {self.layer!r}. "
                f"It has {', '.join(name for name in named if name)}."
            )

        def keep_output(_module, _args, output):
            values[:] = [_kept(output)]

        return [named[self.layer].register_forward_hook(keep_output)]

    def _rows_of_layer(self, values, n_samples):
        what = "The last linear layer" if self.layer is None else f"Layer {self.layer!r}"
        if not values:
            raise ValueError(
                f"{what} does not run in the net's forward pass. Pass layer= with the name of "
                "another submodule."
            )
        value = values[-1]
        if n_samples is None:
            n_samples = n_rows(value)
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != n_samples:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(
                f"{what} must have one row for each of the {n_samples} samples of a batch, got "
                f"{got}. Pass layer= with the name of another submodule."
            )
        return value.reshape(n_samples, -1).float().cpu().numpy()

    def __sklearn_clone__(self):
        # The default clone() would also clone the net, and so return an untrained one.
        unfitted_embedding = type(self)(self.net, layer=self.layer)
        for name in ("_sklearn_output_config", "_metadata_request"):
            if name in vars(self):
                setattr(unfitted_embedding, name, copy.deepcopy(getattr(self, name)))
        return unfitted_embedding

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _kept(value):
    """Return a copy of the tensor, or of the first one in a tuple.

    A later layer may change the tensor in place, as ``nn.ReLU(inplace=True)`` does.
    """
    value = value[0] if isinstance(value, tuple) and value else value
    return value.detach().clone() if isinstance(value, torch.Tensor) else value
