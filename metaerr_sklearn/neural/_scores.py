"""Confidence scores from dropout and from the logits of a net."""

from collections.abc import Mapping
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from scipy.special import logsumexp
from skorch import NeuralNet
from torch import nn

from .._compat import safe_indexing
from .._utils.messages import name_of
from .._utils.random import draw_seed
from .._utils.rows import check_has_rows
from ._as_net_input import input_of
from ._net import (
    NET_LOCK,
    as_fitted_net,
    modules_of,
    preserved_rng,
    restored_after,
    without_compilation,
)

# The dropout classes are listed because torch has no public base class for them.
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)

# Log-probabilities in single precision have exponentials that sum to 1 up to this difference.
_LOG_OF_1 = 1e-5


def mc_dropout_proba(net, X, *, n_passes=20, return_passes=False, random_state=None):
    """Average a net's class probabilities over random dropout masks.

    The result is mean_t p(y | x, mask_t), t = 1, ..., n_passes. Dropout layers are active as in
    training. All other layers, batch normalisation included, are in evaluation mode. Pass the
    result to any score of probabilities in `metaerr_sklearn.confidence`.

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        A net with at least one dropout *module* (`torch.nn.Dropout`, `Dropout1d`, `Dropout2d`,
        `Dropout3d`, `AlphaDropout` or `FeatureAlphaDropout`). Dropout that a module calls as a
        function, or that is built into a layer (LSTM, attention), stays off.

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples. They are converted by `as_net_input` and read in the net's own batches.

    n_passes : int, default=20
        Number of random masks. The cost is that of `n_passes` predictions.

    return_passes : bool, default=False
        Whether to also return the probabilities of each pass. Their standard deviation for the
        predicted class is the uncertainty of UPS [2]_. The entropy of their mean minus their mean
        entropy is the mutual information of prediction and weights.

    random_state : int, RandomState instance or None, default=None
        Determines the masks. With an int or an instance, the result is reproducible and the global
        random state is restored afterwards. With None, the masks are drawn from torch's global
        generator.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes)
        Mean probabilities, with columns as in ``net.predict_proba``.

    passes : ndarray of shape (n_passes, n_samples, n_classes)
        Probabilities of each pass. Only returned if `return_passes` is True.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net has no dropout module with p > 0, if none of them runs in the forward pass, or if
        `n_passes` is not a positive integer.

    References
    ----------
    .. [1] Gal, Ghahramani (2016). Dropout as a Bayesian Approximation: Representing Model
       Uncertainty in Deep Learning, ICML.
    .. [2] Rizve, Duarte, Rawat, Shah (2021). In Defense of Pseudo-Labeling: An Uncertainty-Aware
       Pseudo-label Selection Framework for Semi-Supervised Learning, ICLR.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.toy import make_classifier
    >>> from metaerr_sklearn.confidence import max_probability
    >>> from metaerr_sklearn.neural import mc_dropout_proba
    >>> X = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    >>> net = NeuralNetClassifier(make_classifier(dropout=0.5), verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> proba = mc_dropout_proba(net, X, n_passes=10, random_state=0)
    >>> max_probability(proba).shape
    (60,)
    """
    net = as_fitted_net(net)
    if isinstance(n_passes, bool) or not isinstance(n_passes, Integral) or n_passes < 1:
        raise ValueError(
            f"n_passes must be a positive integer, got {n_passes!r}. Pass for example n_passes=20."
        )
    dropouts = _dropouts(net)
    if not dropouts:
        raise ValueError(
            "mc_dropout_proba needs a net with an active dropout module, got none with p > 0 in "
            f"{type(net.module_).__name__}. Use torch.nn.Dropout modules, not "
            "torch.nn.functional.dropout, in the net."
        )
    check_has_rows(X, net)
    X = input_of(net, X)
    seed = None if random_state is None else draw_seed(random_state)

    passes, total = [], 0.0
    rng = preserved_rng(seed, device=net.device)
    with NET_LOCK, _with_dropout(net, dropouts) as has_run, rng:
        for _ in range(n_passes):
            proba = net.predict_proba(X)
            _check_dropout_runs(net, has_run)
            total = total + proba
            if return_passes:
                passes.append(proba)
    return (total / n_passes, np.stack(passes)) if return_passes else total / n_passes


@contextmanager
def _with_dropout(net, dropouts):
    """Set each dropout module to training mode just before it runs, inside the block.

    A skorch net sets evaluation mode before each batch, so a mode set once would not last.

    Yields
    ------
    has_run : set of Module
        The dropout modules that have run so far.
    """
    has_run = set()

    def set_training(module, _args):
        module.training = True
        has_run.add(module)

    # Compiled code contains the dropout modules in evaluation mode, and runs no hook.
    with without_compilation():
        hooks = [dropout.register_forward_pre_hook(set_training) for dropout in dropouts]
        with restored_after(net, hooks):
            yield has_run


def _check_dropout_runs(net, has_run):
    """Raise if no dropout module has run, so that all passes would be equal."""
    if not has_run:
        raise ValueError(
            f"No dropout module of {type(net.module_).__name__} runs in its forward pass, so that "
            "all passes would be equal. Call the torch.nn.Dropout modules themselves in forward, "
            "not torch.nn.functional.dropout. If the module is compiled, pass a net with the "
            "module as it was before torch.compile."
        )


def has_dropout(net, X):
    """Return whether a fitted skorch net has an active dropout module that runs for a row of X."""
    net = as_fitted_net(net)
    dropouts = _dropouts(net)
    if not dropouts:
        return False
    with NET_LOCK, _with_dropout(net, dropouts) as has_run, preserved_rng(0, device=net.device):
        net.predict_proba(input_of(net, safe_indexing(X, [0])))
    return bool(has_run)


def _dropouts(net):
    return [m for m in modules_of(net) if isinstance(m, _DROPOUTS) and m.p > 0]


def energy_confidence(net, X, *, temperature=1.0):
    """Score samples by the negative free energy of a net's logits (higher = more trusted).

    The score is T log sum_k exp(z_k / T) for logits z.

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        A net whose module returns logits. Its criterion is `torch.nn.CrossEntropyLoss`,
        `BCEWithLogitsLoss`, or a custom one that takes logits. A single output f counts as the
        logits (-f/2, f/2).

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples. They are converted by `as_net_input`.

    temperature : float, default=1.0
        T > 0. The paper uses 1. As T goes to 0, the score becomes `max_logit_confidence`.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Any real number, not below the largest logit. Unlike a score of probabilities, it changes
        if a constant is added to all logits.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net is trained with NLLLoss or BCELoss, because its module then returns
        probabilities; if the module in `as_classifier` returns probabilities; if the module
        returns log-probabilities; or if the temperature is not positive.

    References
    ----------
    .. [1] Liu, Wang, Owens, Li (2020). Energy-based Out-of-distribution Detection, NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skorch import NeuralNetClassifier
    >>> from metaerr_sklearn.neural import energy_confidence
    >>> X = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
    >>> net = NeuralNetClassifier(
    ...     torch.nn.Linear(5, 2), criterion=torch.nn.CrossEntropyLoss, verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> energy_confidence(net, X).shape
    (60,)
    """
    if not temperature > 0:
        raise ValueError(
            f"temperature must be a positive number, got {temperature!r}. The paper uses "
            "temperature=1."
        )
    return temperature * logsumexp(_logits(net, X) / temperature, axis=1)


def max_logit_confidence(net, X):
    """Score samples by their largest logit, max_k z_k (higher = more trusted).

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        A net whose module returns logits. Its criterion is `torch.nn.CrossEntropyLoss`,
        `BCEWithLogitsLoss`, or a custom one that takes logits. A single output f counts as the
        logits (-f/2, f/2).

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples. They are converted by `as_net_input`.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Any real number. There is no temperature parameter, because a temperature would only
        rescale the scores and leave their order unchanged.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net is trained with NLLLoss or BCELoss, because its module then returns
        probabilities; if the module in `as_classifier` returns probabilities; or if the module
        returns log-probabilities.

    References
    ----------
    .. [1] Hendrycks, Basart, Mazeika, Zou, Kwon, Mostajabi, Steinhardt, Song (2022). Scaling
       Out-of-Distribution Detection for Real-World Settings, ICML.

    Examples
    --------
    >>> import numpy as np
    >>> import torch
    >>> from skorch import NeuralNetClassifier
    >>> from metaerr_sklearn.neural import max_logit_confidence
    >>> X = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
    >>> net = NeuralNetClassifier(
    ...     torch.nn.Linear(5, 2), criterion=torch.nn.CrossEntropyLoss, verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> max_logit_confidence(net, X).shape
    (60,)
    """
    return _logits(net, X).max(axis=1)


def _logits(net, X):
    net = as_fitted_net(net)
    check_has_rows(X, net)
    X = input_of(net, X)
    with NET_LOCK:
        # A net with a `forward` of its own, as that of `as_classifier`, finds its outputs itself.
        is_own = type(net).forward is not NeuralNet.forward
        returned = [net.forward(X)] if is_own else net.forward_iter(X)
        output = torch.cat([_logits_in(part, net) for part in returned])
    # The first outputs show what the module of `as_classifier` returns.
    if isinstance(net.criterion_, (nn.NLLLoss, nn.BCELoss)):
        raise ValueError(
            "This score needs logits, but the module of the net returns probabilities (criterion "
            f"{type(net.criterion_).__name__}). Return raw outputs from the module. A net that is "
            "trained with skorch then needs criterion=torch.nn.CrossEntropyLoss."
        )
    logits = output.double().numpy().reshape(len(output), -1)
    if logits.shape[1] == 1:
        return np.hstack([-logits / 2, logits / 2])
    if np.abs(logsumexp(logits, axis=1)).max() < _LOG_OF_1:
        raise ValueError(
            "This score needs logits, but the module of the net returns log-probabilities: their "
            "energy is 0 in each row. Leave out the LogSoftmax at the end of the module."
        )
    return logits


def _logits_in(returned, net):
    """Return the tensor of logits in what the module returns for a batch."""
    if isinstance(returned, (tuple, list)):
        returned = returned[0]
    if isinstance(returned, Mapping):
        returned = returned.get("logits", returned)
    if not isinstance(returned, torch.Tensor):
        raise TypeError(
            f"The module of {name_of(net)} returns a {type(returned).__name__} without an entry "
            '"logits". Wrap it in a module whose forward returns the logits.'
        )
    return returned
