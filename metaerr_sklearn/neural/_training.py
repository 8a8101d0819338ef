"""Train a skorch net with sample weights."""

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import check_array, check_consistent_length
from torch.utils.data import Sampler, Subset

from .._compat import safe_indexing
from ._inputs import as_net_input
from ._net import NET_LOCK, preserved_rng


class _WeightedSampler(Sampler):
    """Draw each row in proportion to its weight, as evenly as whole numbers allow.

    Systematic sampling: a row with expected count c is drawn floor(c) or ceil(c) times an
    epoch. With equal weights that is one ordinary shuffled pass, and rows of high weight are
    never missed by chance, as they are under independent draws.
    """

    def __init__(self, weights):
        self.weights = torch.as_tensor(weights, dtype=torch.float64)

    def __len__(self):
        return len(self.weights)

    def __iter__(self):
        n = len(self)
        order = torch.randperm(n)
        edges = self.weights[order].cumsum(0)
        edges *= n / edges[-1].clone()
        points = torch.arange(n, dtype=torch.float64) + torch.rand((), dtype=torch.float64)
        drawn = torch.searchsorted(edges, points, right=True).clamp_(max=n - 1)
        yield from order[drawn][torch.randperm(n)].tolist()


class _WeightedLoader:
    """Build a net's training iterator with a sampler for the rows that `train_split` left."""

    def __init__(self, iterator, weights):
        self.iterator = iterator
        self.weights = weights

    def __call__(self, dataset, **kwargs):
        kwargs.pop("shuffle", None)  # the sampler shuffles; torch forbids both
        return self.iterator(dataset, sampler=_WeightedSampler(self._weights_of(dataset)), **kwargs)

    def _weights_of(self, dataset):
        if isinstance(dataset, Subset):
            return self._weights_of(dataset.dataset)[np.asarray(dataset.indices)]
        if len(dataset) != len(self.weights):
            raise ValueError(
                f"The net's train_split returned a training set of {len(dataset)} samples that is "
                f"not a torch Subset, so the {len(self.weights)} sample weights cannot be matched "
                "to it. Use train_split=None or skorch's ValidSplit."
            )
        return self.weights


def fit_net_weighted(net, X, y, sample_weight, *, seed=None, **fit_params):
    """Fit a clone of a skorch net with sample weights.

    The weights act through the sampler of the training iterator: in each epoch a row is drawn
    in proportion to its weight, so that an epoch's expected loss is the weighted mean loss.
    Module, criterion, callbacks, `max_epochs`, `device` and `train_split` are the user's own.

    - An epoch draws as many rows as the training set has: the number of gradient steps is that
      of unweighted training on the same rows, and a schedule that counts steps (one-cycle) needs
      no change. A schedule with a fixed total must allow for the rows given here.
    - Weight 0 removes a row. Equal weights are the unweighted fit, exactly.
    - `train_split` acts as always (on the rows left); the validation part is not weighted.

    Parameters
    ----------
    net : skorch NeuralNet
        Not modified.

    X : array, data frame, sparse matrix, tensor, SliceDict or SliceDataset
        Training samples; converted by `as_net_input`.

    y : array-like of shape (n_samples,)
        Targets as the net takes them (class indices in int64).

    sample_weight : array-like of shape (n_samples,) or None
        Non-negative, at least one positive. Only ratios count. None is the unweighted fit.

    seed : int or None, default=None
        For `preserved_rng`.

    **fit_params : dict
        Passed on to ``net.fit``.

    Returns
    -------
    net : skorch NeuralNet
        The fitted clone, with the user's own training iterator in place again.

    Raises
    ------
    ValueError
        If the weights are negative, not finite, all zero or of another length than y; if the
        net has a sampler of its own; if `train_split` returns a training set that is neither
        the whole one nor a torch Subset of it.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.toy import make_classifier
    >>> from metaerr_sklearn.neural import fit_net_weighted
    >>> X = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    >>> y = (X[:, 0] > 0).astype("int64")
    >>> net = NeuralNetClassifier(make_classifier(), verbose=0)
    >>> fitted = fit_net_weighted(net, X, y, sample_weight=1 + y, seed=0)
    >>> fitted.predict_proba(X).shape
    (60, 2)
    """
    X, net = as_net_input(X), clone(net)
    if sample_weight is not None:
        weights = _check_weights(sample_weight, y)
        is_kept = weights > 0
        if not is_kept.all():
            # A row of no weight must not count as a step, a validation sample or a class.
            rows = np.flatnonzero(is_kept)
            X, y, weights = safe_indexing(X, rows), safe_indexing(y, rows), weights[rows]
        if np.ptp(weights) == 0:
            sample_weight = None
    if sample_weight is None:
        with NET_LOCK, preserved_rng(seed, device=net.device):
            return net.fit(X, y, **fit_params)

    own = {"sampler", "batch_sampler"} & set(net.get_params_for("iterator_train"))
    if own:
        raise ValueError(
            f"The net sets iterator_train__{min(own)}, which sample weights would replace. Remove "
            "it from the net, or fit without sample_weight."
        )
    user_iterator = net.iterator_train
    net.set_params(iterator_train=_WeightedLoader(user_iterator, weights))
    with NET_LOCK, preserved_rng(seed, device=net.device):
        net.fit(X, y, **fit_params)
    net.iterator_train = user_iterator
    return net


def _check_weights(sample_weight, y):
    weights = check_array(
        sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
    )
    check_consistent_length(y, weights)
    if weights.ndim != 1 or weights.min() < 0 or not weights.any():
        raise ValueError(
            "sample_weight must be one non-negative number per sample, at least one of them "
            f"positive, got shape {weights.shape} with minimum {weights.min():.4g} and maximum "
            f"{weights.max():.4g}."
        )
    return weights
