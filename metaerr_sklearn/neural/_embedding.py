"""Represent samples by a hidden layer of a net."""

import copy
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.frozen import FrozenEstimator
from torch import nn

from .._compat import safe_indexing
from .._utils.validation import check_has_rows
from ._inputs import as_net_input
from ._net import NET_LOCK, as_fitted_net, as_net, restored_after


class TorchEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transform samples into a hidden layer of a fitted skorch net.

    Use it as ``representation=`` of `MetaErrorClassifier` with an already fitted net, so that
    neighbours and second opinion see what the net sees. The net is frozen: `fit` does not train
    it and `clone` keeps it. For a net that is cross-fitted it is not the right tool: the hidden
    layers of different nets have no common coordinates, and the net given here must not have
    seen the samples on which errors are learned.

    Parameters
    ----------
    net : fitted skorch net, or FrozenEstimator of one
        Where the hidden layer comes from.

    layer : str, default=None
        Name of a submodule as in ``net.module_.named_modules()``, whose *output* is taken. None
        takes the *input* of the linear layer that runs last: the net's own last representation
        before the class scores.

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
            Samples, of which one is read.

        y : Ignored
            Present for the API.

        Returns
        -------
        self : TorchEmbedding
        """
        self._n_features_out = self._embed(safe_indexing(X, [0])).shape[1]
        return self

    def transform(self, X):
        """Return the hidden layer's values.

        Parameters
        ----------
        X : array, data frame, sparse matrix, tensor, dict or Dataset
            Samples; converted by `as_net_input`, read in the net's own batches.

        Returns
        -------
        embedding : ndarray of float32, shape (n_samples, n_units)
            One row per sample, all axes but the first flattened.

        Raises
        ------
        TypeError
            If `net` is not a skorch net.
        ValueError
            If there is no such layer, it does not run, or it has not one row per sample.
        """
        return self._embed(X)

    @contextmanager
    def record(self):
        """Collect the hidden layer while the net is asked for something else.

        Yields
        ------
        parts : list of ndarray
            The layer's values for each batch that has gone through the net.
        """
        net, seen, parts = as_fitted_net(self.net), [], []

        def end_of_batch(_module, _args, output):
            output = output[0] if isinstance(output, tuple) else output
            parts.append(self._rows(seen, len(output)))
            seen.clear()

        with NET_LOCK:
            hooks = self._watch(net.module_, seen)
            hooks.append(net.module_.register_forward_hook(end_of_batch))
            with restored_after(net, hooks):
                yield parts

    def is_computed_by(self, estimator):
        """Tell whether the probabilities of a classifier come from the pass that is looked into.

        Parameters
        ----------
        estimator : fitted classifier
            The deployed one.

        Returns
        -------
        is_computed_by : bool
            True for this very net, if ``predict_proba`` and what it calls are skorch's own: one of
            the user's might show the net something else than `transform` does, or more than once.
        """
        net = as_net(self.net)
        observed = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
        steps = ("predict_proba", "forward_iter", "evaluation_step", "infer")
        own = (getattr(type(net), step).__module__ for step in steps)
        return observed is net and all(module.startswith("skorch.") for module in own)

    def _embed(self, X):
        net = as_fitted_net(self.net)
        check_has_rows(X, net)
        seen, parts = [], []
        with NET_LOCK, restored_after(net, self._watch(net.module_, seen)):
            for output in net.forward_iter(as_net_input(X)):
                output = output[0] if isinstance(output, tuple) else output
                parts.append(self._rows(seen, len(output)))
                seen.clear()
        return np.concatenate(parts)

    def _watch(self, module, seen):
        if self.layer is None:
            # All of them: which one comes last is known only when the net runs.
            linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
            return [m.register_forward_pre_hook(lambda _, args: seen.append(args)) for m in linear]
        named = dict(module.named_modules())
        if self.layer not in named:
            raise ValueError(
                f"layer must name a submodule of {type(module).__name__}, got {self.layer!r}. "
                f"It has {', '.join(name for name in named if name)}."
            )
        return [named[self.layer].register_forward_hook(lambda _m, _a, out: seen.append(out))]

    def _rows(self, seen, n_samples):
        what = "The last linear layer" if self.layer is None else f"Layer {self.layer!r}"
        if not seen:
            raise ValueError(f"{what} does not run in the net's forward pass. Name another layer.")
        value = seen[-1]
        value = value[0] if isinstance(value, tuple) else value
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != n_samples:
            got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise ValueError(
                f"{what} must have one row for each of the {n_samples} samples of a batch, got "
                f"{got}. Name another layer."
            )
        return value.detach().reshape(n_samples, -1).float().cpu().numpy()

    def __sklearn_clone__(self):
        # clone() would return an untrained net.
        refitted_clone = type(self)(self.net, layer=self.layer)
        for name in ("_sklearn_output_config", "_metadata_request"):
            if name in vars(self):
                setattr(refitted_clone, name, copy.deepcopy(getattr(self, name)))
        return refitted_clone

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
