"""Fitted skorch nets: modules, hooks, modes and random states."""

import random
import threading
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet
from torch import nn

# Hooks and modes belong to the net, random states to the process: whoever asks a net here takes
# its turn, or threads would mix them.
NET_LOCK = threading.RLock()


@contextmanager
def preserved_rng(seed, *, device=None):
    """Seed the process-wide random generators inside the block and restore them afterwards.

    A skorch net has no ``random_state``: its weights, batches and dropout come from the global
    generators of torch, NumPy and Python. Inside this block two identical fits agree, and after
    it the caller's own random stream goes on as if nothing had happened.

    Parameters
    ----------
    seed : int in [0, 2**32) or None
        None does nothing at all: the block draws from the global generators as they are, and
        moves them on.

    device : str, torch.device or None, default=None
        Where the net computes. A CUDA device named here is seeded and restored even if this
        process has not used CUDA before; CUDA devices already in use always are. The state of
        other accelerators is left alone.

    Notes
    -----
    Generators belong to the process. Fits that run at the same time in *threads* of one process
    share them and are not reproducible; fits in separate processes are.

    Examples
    --------
    >>> import torch
    >>> from metaerr_sklearn.neural import preserved_rng
    >>> with preserved_rng(0):
    ...     first = torch.rand(3)
    >>> with preserved_rng(0):
    ...     second = torch.rand(3)
    >>> bool((first == second).all())
    True
    """
    if seed is None:
        yield
        return
    on_cuda = device is not None and torch.device(device).type == "cuda"
    use_cuda = torch.cuda.is_available() and (on_cuda or torch.cuda.is_initialized())
    cuda_devices = range(torch.cuda.device_count()) if use_cuda else []
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(cuda_devices, device_type="cuda"):
        try:
            # torch.manual_seed would also queue a seed for a CUDA not yet started, which
            # nothing could take back.
            torch.default_generator.manual_seed(seed)
            if use_cuda:
                torch.cuda.manual_seed_all(seed)
            np.random.seed(seed)  # noqa: NPY002
            random.seed(seed)
            yield
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@contextmanager
def restored_after(net, hooks):
    """Leave a net as it was, without the hooks and in the modes of its modules."""
    modes = [(module, module.training) for module in modules_of(net)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training


def as_fitted_net(net):
    net = as_net(net)
    net.check_is_fitted()
    return net


def as_net(net):
    if isinstance(net, FrozenEstimator):
        net = net.estimator
    if not isinstance(net, NeuralNet):
        raise TypeError(
            f"Expected a fitted skorch net, got {type(net).__name__}. From a pipeline pass the net "
            "alone (pipeline[-1]) and the samples as the steps before it return them."
        )
    return net


def modules_of(net):
    fitted = (value for name, value in vars(net).items() if name.endswith("_"))
    return [m for value in fitted if isinstance(value, nn.Module) for m in value.modules()]
