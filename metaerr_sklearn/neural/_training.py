"""Train a skorch net with sample weights."""

import numpy as np
import torch
from sklearn.base import clone
from torch.utils.data import Sampler, Subset

from .._compat import safe_indexing
from .._utils.weights import check_weights
from ._as_net_input import input_of
from ._net import NET_LOCK, preserved_rng


class _WeightedSampler(Sampler):
    """Draw rows in proportion to their weights by systematic sampling.

    A row with expected count c is drawn floor(c) or ceil(c) times in each epoch. With equal
    weights, an epoch is one ordinary shuffled pass. Independent draws would miss some rows of high
    weight by chance; systematic sampling does not.
    """

    def __init__(self, weights):
        self.weights = torch.as_tensor(weights, dtype=torch.float64)

    def __len__(self):
        return len(self.weights)

    def __iter__(self):
        # `_utils.random.systematic_sample` cannot be used: the numbers must come from torch's
        # generator, as for any torch sampler, and an epoch must have exactly n rows.
        n = len(self)
        order = torch.randperm(n)
        edges = self.weights[order].cumsum(0)
        edges *= n / edges[-1].clone()
        points = torch.arange(n, dtype=torch.float64) + torch.rand((), dtype=torch.float64)
        drawn = torch.searchsorted(edges, points, right=True).clamp_(max=n - 1)
        yield from order[drawn][torch.randperm(n)].tolist()


class _WeightedLoader:
    """Build a net's training iterator with a weighted sampler.

    The sampler gets the weights of the rows that `train_split` leaves for training.
    """

    def __init__(self, iterator, weights):
        self.iterator = iterator
        self.weights = weights

    def __call__(self, dataset, **kwargs):
        kwargs.pop("shuffle", None)  # torch forbids shuffle with a sampler, and ours shuffles
        return self.iterator(dataset, sampler=_WeightedSampler(self._weights_of(dataset)), **kwargs)

    def _weights_of(self, dataset):
        if isinstance(dataset, Subset):
            return self._weights_of(dataset.dataset)[np.asarray(dataset.indices)]
        if len(dataset) != len(self.weights):
            raise ValueError(
                f"The net's train_split returned a training set of {len(dataset)} samples that is "
                f"not a torch Subset, so the {len(self.weights)} sample weights cannot be matched "
                "with it. Use train_split=None or skorch's ValidSplit."
            )
        return self.weights


def fit_net_weighted(net, X, y, sample_weight, *, seed=None, **fit_params):
    """Fit a clone of a skorch net with sample weights.

    The weights are applied by the sampler of the training iterator: in each epoch, rows are drawn
    in proportion to their weights. The expected loss of an epoch is therefore the weighted mean
    loss. Module, criterion, callbacks, `max_epochs`, `device` and `train_split` are not changed.

    - An epoch draws as many rows as the training set has. The number of gradient steps is therefore
      the same as without weights, and a learning-rate schedule that counts steps (one-cycle) needs
      no change. If a schedule has a fixed total number of steps, compute it from the number of rows
      of positive weight.
    - Weight 0 removes a row. Equal weights give exactly the unweighted fit.
    - `train_split` is applied to the remaining rows. The validation part is not weighted.

    Parameters
    ----------
    net : skorch NeuralNet
        Not modified.

    X : array, data frame, sparse matrix, tensor, SliceDict or SliceDataset
        Training samples. They are converted by `as_net_input`.

    y : array-like of shape (n_samples,)
        Targets in the form that the net expects (class indices in int64).

    sample_weight : array-like of shape (n_samples,) or None
        Non-negative weights, at least one of them positive. Only their ratios count. None gives
        the unweighted fit.

    seed : int or None, default=None
        Seed of the global random generators during the fit; see `preserved_rng`.

    **fit_params : dict
        Passed to ``net.fit``.

    Returns
    -------
    net : skorch NeuralNet
        The fitted clone. Its `iterator_train` is that of `net`.

    Raises
    ------
    ValueError
        If the weights are negative, not finite, all zero or not as many as y; if the net sets a
        sampler of its own; if `train_split` returns a training set that is neither the whole one
        nor a torch Subset of it.

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
    X, net = input_of(net, X), clone(net)
    if sample_weight is not None:
        weights = check_weights(sample_weight, y)
        is_kept = weights > 0
        if not is_kept.all():
            # A row of weight 0 must add no gradient step, no validation sample and no class.
            rows = np.flatnonzero(is_kept)
            X, y, weights = safe_indexing(X, rows), safe_indexing(y, rows), weights[rows]
        if np.ptp(weights) == 0:
            sample_weight = None
    if sample_weight is None:
        with NET_LOCK, preserved_rng(seed, device=net.device):
            return net.fit(X, y, **fit_params)

    samplers = {"sampler", "batch_sampler"} & set(net.get_params_for("iterator_train"))
    if samplers:
        raise ValueError(
            f"The net sets iterator_train__{min(samplers)}, which sample weights would replace. "
            "Remove it from the net, or fit without sample_weight."
        )
    user_iterator = net.iterator_train
    net.set_params(iterator_train=_WeightedLoader(user_iterator, weights))
    with NET_LOCK, preserved_rng(seed, device=net.device):
        net.fit(X, y, **fit_params)
    net.iterator_train = user_iterator
    return net
