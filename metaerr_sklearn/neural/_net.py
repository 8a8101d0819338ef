"""Access to fitted skorch nets: the lock, modules, hooks, modes and random states."""

import random
import threading
from collections.abc import Mapping
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from torch import nn

from .._utils.parameter_checks import check_not_a_module

# Threads share the forward hooks and training modes of a net, and the random states of the process.
# This lock makes threads use nets one after the other.
NET_LOCK = threading.RLock()
_PRESERVING = threading.Lock()


@contextmanager
def preserved_rng(seed, *, device=None):
    """Seed the process-wide random generators inside the block and restore them afterwards.

    A skorch net has no ``random_state``. Its initial weights, batches and dropout come from the
    global generators of torch, NumPy and Python. With this context manager, the same seed gives
    the same fit. After the block, the global generators have the state that they had before it.

    Parameters
    ----------
    seed : int in [0, 2**32) or None
        With None, nothing is seeded or restored: the block draws from the global generators and
        advances them.

    device : str, torch.device or None, default=None
        The device of the net. If it is a CUDA device, all CUDA devices are seeded and restored,
        even if this process has not used CUDA before. If CUDA is already in use, they always are.
        The state of other accelerators is neither seeded nor restored.

    Notes
    -----
    All threads of a process share the global generators. Fits that run at the same time in
    *threads* of one process are therefore not reproducible. Fits in separate processes are.

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
            # If CUDA has not been started yet, torch.manual_seed would also queue a seed for it,
            # and a queued seed cannot be withdrawn.
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
def preserved_rng_of_one_thread(seed):
    """Seed and restore the generators as `preserved_rng`, unless another thread is in this block.

    Use it for nets that may predict in threads of their own, which would wait for `NET_LOCK` for
    ever. If two threads restored the generators in turns, they would keep the seeded state.
    """
    is_first = _PRESERVING.acquire(blocking=False)
    try:
        with preserved_rng(seed if is_first else None):
            yield
    finally:
        if is_first:
            _PRESERVING.release()


@contextmanager
def restored_after(net, hooks):
    """Remove the hooks from a net and restore the modes of its modules after the block."""
    modes = [(module, module.training) for module in modules_of(net)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training


def without_compilation():
    """Return a context in which compiled modules run their original code.

    A hook that is registered after the compilation does not run in compiled code. torch before 2.6
    has no such context.
    """
    set_stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if set_stance is None else set_stance("force_eager")


def as_fitted_net(net):
    """Return the skorch net inside a possible FrozenEstimator, or raise if it is not fitted."""
    net = as_net(net)
    net.check_is_fitted()
    return net


def as_net(net):
    """Return the skorch net inside a possible FrozenEstimator, or raise if there is none."""
    net = unfrozen(net)
    check_not_a_module(net)
    if not isinstance(net, NeuralNet):
        raise TypeError(
            f"Expected a fitted skorch net, got {type(net).__name__}. From a pipeline pass the net "
            "alone (pipeline[-1]), and X as the steps before it transform it."
        )
    return net


def unfrozen(estimator):
    """Return the estimator inside any number of FrozenEstimators."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def net_at_end(estimator):
    """Return the skorch net in a FrozenEstimator, a search, or at the end of a Pipeline, or raise.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.
    """
    while not isinstance(estimator, NeuralNet):
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "estimator"):
            estimator = estimator.estimator
        else:
            return as_net(estimator)  # which raises
    return estimator


def modules_of(net):
    """Return all torch modules of a fitted net, submodules included."""
    fitted = (value for name, value in vars(net).items() if name.endswith("_"))
    return [m for value in fitted if isinstance(value, nn.Module) for m in value.modules()]


def n_rows(batch):
    """Return the number of rows of a batch or output: a tensor, or tensors in a container.

    Parameters
    ----------
    batch : tensor, tuple, list, mapping or object with tensors as attributes
        The first tensor with an axis counts.

    Returns
    -------
    n_rows : int or None
        None if there is no tensor.
    """
    if isinstance(batch, torch.Tensor):
        return len(batch) if batch.ndim else None
    if isinstance(batch, Mapping):
        parts = batch.values()
    elif isinstance(batch, (tuple, list)):
        parts = batch
    else:
        parts = getattr(batch, "__dict__", {}).values()
    return next((n for n in map(n_rows, parts) if n is not None), None)
