"""Confidence scores of nets."""

from numbers import Integral

import numpy as np
from scipy.special import logsumexp
from sklearn.utils import check_random_state
from torch import nn

from .._utils.validation import check_has_rows
from ._inputs import as_net_input
from ._net import NET_LOCK, as_fitted_net, modules_of, preserved_rng, restored_after

# Public subclasses of Dropout, one by one: their common base class is private to torch.
_DROPOUTS = (
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
)


def mc_dropout_proba(net, X, *, n_passes=20, return_passes=False, random_state=None):
    """Average a net's class probabilities over random dropout masks.

    Dropout layers stay active while all others, batch normalisation included, predict as
    usual: mean_t p(y | x, mask_t), t = 1, ..., n_passes. Feed the result to any score of
    probabilities in `metaerr_sklearn.confidence`.

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        With at least one dropout *module* (`torch.nn.Dropout` or a relative of it). Dropout that
        a module calls as a function, or has built in (LSTM, attention), stays off.

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples; converted by `as_net_input`, read in the net's own batches.

    n_passes : int, default=20
        Number of random masks; the cost is that of as many predictions.

    return_passes : bool, default=False
        Whether to return the probabilities of each pass as well: their standard deviation for
        the predicted class is the uncertainty of UPS, and the entropy of the mean minus the mean
        entropy is the mutual information of prediction and weights.

    random_state : int, RandomState instance or None, default=None
        Draws the masks. With an int or an instance the result is reproducible and the global
        random state stays as it is; None draws from torch's global generator.

    Returns
    -------
    proba : ndarray of shape (n_samples, n_classes)
        Mean probabilities, columns as in ``net.predict_proba``.

    passes : ndarray of shape (n_passes, n_samples, n_classes)
        Only if `return_passes`.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net has no dropout module with p > 0, or `n_passes` is not a positive integer.

    References
    ----------
    .. [1] Gal, Ghahramani (2016). Dropout as a Bayesian Approximation: Representing Model
       Uncertainty in Deep Learning, ICML.

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
        raise ValueError(f"n_passes must be a positive integer, got {n_passes!r}.")
    dropouts = _dropouts(net)
    if not dropouts:
        raise ValueError(
            "mc_dropout_proba needs a net with an active dropout module, got none with p > 0 in "
            f"{type(net.module_).__name__}. Use torch.nn.Dropout modules, not "
            "torch.nn.functional.dropout, in the net."
        )
    check_has_rows(X, net)
    X = as_net_input(X)
    seed = None
    if random_state is not None:
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)

    passes, total = [], 0.0
    rng = preserved_rng(seed, device=net.device)
    with NET_LOCK, _with_dropout(net, dropouts), rng:
        for _ in range(n_passes):
            proba = net.predict_proba(X)
            total = total + proba
            if return_passes:
                passes.append(proba)
    return (total / n_passes, np.stack(passes)) if return_passes else total / n_passes


def _with_dropout(net, dropouts):
    """Turn dropout, and nothing else, back on just before it acts.

    The net sets evaluation mode for every batch; its own way of predicting is used unchanged.
    """
    return restored_after(
        net, [dropout.register_forward_pre_hook(_set_training) for dropout in dropouts]
    )


def has_dropout(net):
    """Tell whether a fitted skorch net has an active dropout module."""
    return bool(_dropouts(as_fitted_net(net)))


def _dropouts(net):
    return [m for m in modules_of(net) if isinstance(m, _DROPOUTS) and m.p > 0]


def _set_training(module, args):
    module.training = True


def energy_confidence(net, X, *, temperature=1.0):
    """Score samples by the negative free energy of a net's logits (higher = more trusted).

    The score is T log sum_k exp(z_k / T) for logits z.

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        Its module returns logits: criterion `torch.nn.CrossEntropyLoss`, `BCEWithLogitsLoss`, or
        one of your own that takes logits. A single output f counts as the logits (-f/2, f/2).

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples; converted by `as_net_input`.

    temperature : float, default=1.0
        T > 0. The paper keeps 1; towards 0 the score becomes `max_logit_confidence`.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Any real number, at least the largest logit. Unlike scores of probabilities it depends on
        the overall level of the logits.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net is trained with NLLLoss, whose module returns probabilities; if the
        temperature is not positive.

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
        raise ValueError(f"temperature must be a positive number, got {temperature!r}.")
    return temperature * logsumexp(_logits(net, X) / temperature, axis=1)


def max_logit_confidence(net, X):
    """Score samples by their largest logit, max_k z_k (higher = more trusted).

    Parameters
    ----------
    net : fitted skorch classifier, or FrozenEstimator of one
        Its module returns logits: criterion `torch.nn.CrossEntropyLoss`, `BCEWithLogitsLoss`, or
        one of your own that takes logits. A single output f counts as the logits (-f/2, f/2).

    X : array, data frame, sparse matrix, tensor, dict or Dataset
        Samples; converted by `as_net_input`.

    Returns
    -------
    confidence : ndarray of shape (n_samples,)
        Any real number. A temperature would only rescale it: the order, and so every ranking
        metric, is the same for all temperatures.

    Raises
    ------
    TypeError
        If `net` is not a skorch net.
    ValueError
        If the net is trained with NLLLoss, whose module returns probabilities.

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
    if isinstance(net.criterion_, nn.NLLLoss):
        raise ValueError(
            "This score needs logits, got a net trained with NLLLoss, whose module returns "
            "probabilities. Return raw outputs from the module and use "
            "criterion=torch.nn.CrossEntropyLoss."
        )
    check_has_rows(X, net)
    with NET_LOCK:
        output = net.forward(as_net_input(X))
    output = output[0] if isinstance(output, tuple) else output
    logits = output.double().numpy().reshape(len(output), -1)
    return np.hstack([-logits / 2, logits / 2]) if logits.shape[1] == 1 else logits
