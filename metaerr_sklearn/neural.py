"""Everything that needs torch or skorch: nets as bases, residual MLPs, scores and embeddings."""

import copy
import random
import threading
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import torch
from scipy import sparse
from scipy.special import logit, logsumexp
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.frozen import FrozenEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state, gen_batches
from skorch import NeuralNet
from skorch import dataset as skorch_dataset
from skorch.helper import SliceDataset
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

from ._compat import safe_indexing
from ._rows import as_array
from .cross_fitting import check_has_rows

# Hooks and modes belong to the net, random states to the process: whoever asks a net here takes
# its turn, or threads would mix them.
ONE_AT_A_TIME = threading.RLock()


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


def as_net_input(X):
    """Return X as a skorch net takes it.

    The rule, by the kind of X:

    - data frame (pandas, polars) with numeric or boolean columns: a float32 matrix, missing
      entries NaN;
    - floating-point array or sparse matrix: float32, the precision of torch layers;
    - integer and boolean arrays: as they are (an Embedding needs integers, and a module that
      takes uint8 images scales them itself);
    - `numpy.memmap`: a SliceDataset with these dtypes, which reads a row when it is asked for it,
      so that the file may be larger than the memory;
    - anything else (torch tensor, dict, SliceDict, Dataset, SliceDataset, list): as it is. A
      net in another precision takes its input as a tensor.

    Parameters
    ----------
    X : array, data frame, sparse matrix, tensor, dict, or torch Dataset
        The samples.

    Returns
    -------
    X : same kind, ndarray of float32 for a frame, or SliceDataset for a memory map
        The very object that came in where nothing had to change; a copy of a read-only array.

    Raises
    ------
    TypeError
        If a frame has columns that are neither numeric nor boolean.

    Examples
    --------
    >>> import numpy as np
    >>> from metaerr_sklearn.neural import as_net_input
    >>> as_net_input(np.zeros((2, 3))).dtype
    dtype('float32')
    >>> as_net_input(np.zeros((2, 3), dtype=np.int64)).dtype
    dtype('int64')
    """
    if isinstance(X, np.memmap):
        return SliceDataset(_MappedRows(X))
    if isinstance(X, np.ndarray):
        return _owned(X, np.float32 if X.dtype.kind == "f" else None)
    if sparse.issparse(X):
        # skorch reads row by row, which of all formats works for csr_matrix alone.
        dtype = np.float32 if X.dtype.kind == "f" else X.dtype
        is_ready = isinstance(X, sparse.csr_matrix) and X.dtype == dtype
        return X if is_ready else sparse.csr_matrix(X, dtype=dtype)
    if hasattr(X, "columns") and hasattr(X, "to_numpy"):
        return _frame_to_matrix(X)
    return X


class _MappedRows(Dataset):
    """Read the rows of a memory map one by one, as torch takes them."""

    def __init__(self, X):
        self.X = X
        self.dtype = np.float32 if X.dtype.kind == "f" else X.dtype

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        # The second value stands where skorch expects a target.
        return np.array(self.X[i], dtype=self.dtype), 0


def _frame_to_matrix(X):
    other = {
        str(name): str(dtype)
        for name, dtype in zip(X.columns, X.dtypes)
        if not (dtype.kind in "biuf" if hasattr(dtype, "kind") else _is_polars_number(dtype))
    }
    if other:
        raise TypeError(
            "A neural net takes numeric columns only, got "
            + ", ".join(f"{name!r} ({dtype})" for name, dtype in list(other.items())[:5])
            + (f" and {len(other) - 5} more" if len(other) > 5 else "")
            + ". Encode them first: make_pipeline(ColumnTransformer(...), net), its output cast "
            "to float32."
        )
    if hasattr(X, "iloc"):  # nullable columns turn into objects unless pandas is told what NA is
        return _owned(X.to_numpy(dtype=np.float32, na_value=np.nan))
    return _owned(X.to_numpy(), np.float32)


def _owned(array, dtype=None):
    # Frames and joblib hand out read-only views, which torch cannot share without a warning.
    return np.require(array, dtype=dtype, requirements="W")


def _is_polars_number(dtype):
    return dtype.is_numeric() or str(dtype) == "Boolean"


@contextmanager
def sliced_batches(net):
    """Take one's turn at a net, and let it cut the batches that it predicts out of X.

    A DataLoader gathers them row by row, which takes a small net as long as its own work. The
    batches are the same, to the last bit. A net whose iterator or dataset is not skorch's default,
    or whose settings concern them beyond the size of a batch, keeps its own way.

    Parameters
    ----------
    net : skorch NeuralNet
        As it was after the block. A copy that another thread makes of it meanwhile goes on in this
        way.
    """
    steps = ("forward_iter", "get_dataset", "get_iterator")
    is_default = all(getattr(type(net), step, None) is getattr(NeuralNet, step) for step in steps)
    with ONE_AT_A_TIME:
        if not is_default or net.iterator_valid is not DataLoader:
            yield
            return
        net.iterator_valid = _iterate
        try:
            yield
        finally:
            net.iterator_valid = DataLoader


def _iterate(dataset, **options):
    """Return what goes through a dataset in batches."""
    size = options.get("batch_size")
    is_plain = type(dataset) is skorch_dataset.Dataset and dataset.y is None
    if is_plain and options.keys() == {"batch_size"} and isinstance(size, Integral) and size > 0:
        X, dtype = dataset.X, None
        if type(X) is SliceDataset and X.indices is None and type(X.dataset) is _MappedRows:
            X, dtype = X.dataset.X, X.dataset.dtype
        if _is_sliceable(X) and len(dataset) == X.shape[0]:
            return _SlicedBatches(X, size, dtype)
    return DataLoader(dataset, **options)


def _is_sliceable(X):
    if type(X) is torch.Tensor:
        return X.layout is torch.strided and X.ndim > 1
    if type(X) in (np.ndarray, np.memmap):
        return X.ndim > 1 and X.dtype.kind in "biuf"
    return isinstance(X, sparse.csr_matrix)


class _SlicedBatches:
    """Yield batches as skorch's evaluation takes them, each a copy: a module may work in place.

    They lie in memory as a loader stacks them, axis by axis, which decides how sums are rounded and
    what a view may look like.
    """

    def __init__(self, X, batch_size, dtype=None):
        self.X = X
        self.batch_size = batch_size
        self.dtype = dtype

    def __len__(self):
        return -(-self.X.shape[0] // self.batch_size)

    def __iter__(self):
        # What a loader draws for its workers: a module that draws at random goes on from there.
        torch.empty((), dtype=torch.int64).random_()
        for batch in gen_batches(self.X.shape[0], self.batch_size):
            part = self.X[batch]
            if isinstance(part, torch.Tensor):
                part = part.clone(memory_format=torch.contiguous_format)
            elif sparse.issparse(part):
                part = torch.from_numpy(part.toarray(order="C"))
            else:
                part = torch.from_numpy(np.array(part, dtype=self.dtype, order="C"))
            yield [part, torch.zeros(len(part), 1)]


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
        with ONE_AT_A_TIME, preserved_rng(seed, device=net.device):
            return net.fit(X, y, **fit_params)

    own = {"sampler", "batch_sampler"} & set(net.get_params_for("iterator_train"))
    if own:
        raise ValueError(
            f"The net sets iterator_train__{min(own)}, which sample weights would replace. Remove "
            "it from the net, or fit without sample_weight."
        )
    user_iterator = net.iterator_train
    net.set_params(iterator_train=_WeightedLoader(user_iterator, weights))
    with ONE_AT_A_TIME, preserved_rng(seed, device=net.device):
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


def train_residual_mlps(
    Z,
    is_error,
    offset,
    sample_weight,
    train_masks,
    *,
    hidden_size=32,
    dropout=0.2,
    learning_rate=8e-3,
    weight_decay=1e-3,
    max_epochs=15,
    batch_size=None,
    seed=0,
):
    """Train one small network per fold that corrects a given error logit.

    Net k models logit P(error | z) = offset + f_k(z) with one hidden ReLU layer f_k, trained
    on the rows of ``train_masks[k]`` by AdamW on the weighted logistic loss. The last layer
    starts at zero, so that epoch 0 is the offset itself and "no correction" stays a possible
    outcome of choosing the epoch. All nets are trained at once, as one batched product.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Standardised meta-features, finite.

    is_error : ndarray of bool, shape (n_samples,)
        True where the base classifier is wrong.

    offset : ndarray of shape (n_samples,)
        Logit of the error probability to start from.

    sample_weight : ndarray of shape (n_samples,) or None
        Non-negative; weight 0 removes a row from training.

    train_masks : list of ndarray of bool, shape (n_samples,)
        The training rows of each net; each mask needs a row of positive weight.

    hidden_size : int, default=32
        Width of the hidden layer.

    dropout : float in [0, 1), default=0.2
        Share of hidden units that is silenced in each training step.

    learning_rate : float, default=8e-3
        AdamW's step size.

    weight_decay : float, default=1e-3
        AdamW's decoupled weight decay.

    max_epochs : int, default=15
        Passes over the training rows.

    batch_size : int or None, default=None
        Rows per step and net. None is a tenth of the samples, from 16 to 128.

    seed : int, default=0
        The result is a function of the input and this number; no global random state is used.

    Returns
    -------
    weights : list of tuple, length max_epochs + 1
        The parameters after each epoch, for `meta_learners.mlp_correction`. Row i is out-of-fold
        for the nets whose mask leaves it out.
    """
    n_samples, n_features = Z.shape
    n_nets = len(train_masks)
    w = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, float)
    rows = [torch.from_numpy(np.flatnonzero(mask & (w > 0))) for mask in train_masks]
    if batch_size is None:
        batch_size = min(128, max(16, int(np.count_nonzero(w)) // 10))
    n_steps = -(-max(len(r) for r in rows) // batch_size)

    generator = torch.Generator("cpu").manual_seed(seed)
    as_tensor = {"dtype": torch.float32, "device": "cpu"}

    def uniform(*shape):  # torch.nn.Linear's own initial distribution
        noise = torch.rand(*shape, generator=generator, **as_tensor)
        return (2 * noise - 1) / n_features**0.5

    W1, b1 = uniform(n_nets, n_features, hidden_size), uniform(n_nets, 1, hidden_size)
    w2 = torch.zeros(n_nets, hidden_size, 1, **as_tensor)
    b2 = torch.zeros(n_nets, 1, 1, **as_tensor)
    parameters = [p.requires_grad_() for p in (W1, b1, w2, b2)]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay)

    inputs, start = torch.tensor(Z, **as_tensor), torch.tensor(offset, **as_tensor)
    target = torch.tensor(np.asarray(is_error), **as_tensor)
    mean_weight = [w[r.numpy()].mean() for r in rows]
    loss_weight = torch.tensor(np.stack([w / m for m in mean_weight]), **as_tensor)
    net_index = torch.arange(n_nets)[:, None]

    def snapshot():
        shapes = (W1.shape, (n_nets, hidden_size), (n_nets, hidden_size), (n_nets,))
        return tuple(p.detach().numpy().reshape(s).copy() for p, s in zip(parameters, shapes))

    weights = [snapshot()]
    for _ in range(max_epochs):
        passes = []
        for r in rows:  # a net with fewer rows starts its next pass early, so that all keep step
            shuffled = r[torch.randperm(len(r), generator=generator)]
            passes.append(shuffled[torch.arange(n_steps * batch_size) % len(r)])
        for batch in torch.stack(passes).split(batch_size, dim=1):
            hidden = torch.relu(torch.baddbmm(b1, inputs[batch], W1))
            kept = torch.rand(hidden.shape, generator=generator, **as_tensor) >= dropout
            correction = torch.baddbmm(b2, hidden * kept / (1 - dropout), w2).squeeze(2)
            loss = F.binary_cross_entropy_with_logits(
                start[batch] + correction,
                target[batch],
                weight=loss_weight[net_index, batch],
                reduction="sum",
            )
            optimizer.zero_grad()
            (loss / batch_size).backward()
            optimizer.step()
        weights.append(snapshot())
    return weights


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
    net = _fitted_net(net)
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
    with sliced_batches(net), _with_dropout(net, dropouts), rng:
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
    return _hooked(net, [dropout.register_forward_pre_hook(_set_training) for dropout in dropouts])


@contextmanager
def _hooked(net, hooks):
    """Leave a net as it was, without the hooks and in the modes of its modules."""
    modes = [(module, module.training) for module in _fitted_modules(net)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes:
            module.training = training


def has_dropout(net):
    """Tell whether a fitted skorch net has an active dropout module."""
    return bool(_dropouts(_fitted_net(net)))


def _dropouts(net):
    return [m for m in _fitted_modules(net) if isinstance(m, _DROPOUTS) and m.p > 0]


def _set_training(module, args):
    module.training = True


def _fitted_net(net):
    net = _as_net(net)
    net.check_is_fitted()
    return net


def _as_net(net):
    if isinstance(net, FrozenEstimator):
        net = net.estimator
    if not isinstance(net, NeuralNet):
        raise TypeError(
            f"Expected a fitted skorch net, got {type(net).__name__}. From a pipeline pass the net "
            "alone (pipeline[-1]) and the samples as the steps before it return them."
        )
    return net


def _fitted_modules(net):
    fitted = (value for name, value in vars(net).items() if name.endswith("_"))
    return [m for value in fitted if isinstance(value, nn.Module) for m in value.modules()]


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
    net = _fitted_net(net)
    if isinstance(net.criterion_, nn.NLLLoss):
        raise ValueError(
            "This score needs logits, got a net trained with NLLLoss, whose module returns "
            "probabilities. Return raw outputs from the module and use "
            "criterion=torch.nn.CrossEntropyLoss."
        )
    check_has_rows(X, net)
    with sliced_batches(net):
        output = net.forward(as_net_input(X))
    output = output[0] if isinstance(output, tuple) else output
    logits = output.double().numpy().reshape(len(output), -1)
    return np.hstack([-logits / 2, logits / 2]) if logits.shape[1] == 1 else logits


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
    def overhear(self):
        """Collect the hidden layer while the net is asked for something else.

        Yields
        ------
        parts : list of ndarray
            The layer's values for each batch that has gone through the net.
        """
        net, seen, parts = _fitted_net(self.net), [], []

        def end_of_batch(_module, _args, output):
            output = output[0] if isinstance(output, tuple) else output
            parts.append(self._rows(seen, len(output)))
            seen.clear()

        with ONE_AT_A_TIME:
            hooks = self._watch(net.module_, seen)
            hooks.append(net.module_.register_forward_hook(end_of_batch))
            with _hooked(net, hooks):
                yield parts

    def overhears(self, estimator):
        """Tell whether the probabilities of a classifier come from the pass that is looked into.

        Parameters
        ----------
        estimator : fitted classifier
            The deployed one.

        Returns
        -------
        overhears : bool
            True for this very net, if ``predict_proba`` and what it calls are skorch's own: one of
            the user's might show the net something else than `transform` does, or more than once.
        """
        net = _as_net(self.net)
        asked = estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator
        steps = ("predict_proba", "forward_iter", "evaluation_step", "infer")
        own = (getattr(type(net), step).__module__ for step in steps)
        return asked is net and all(module.startswith("skorch.") for module in own)

    def _embed(self, X):
        net = _fitted_net(self.net)
        check_has_rows(X, net)
        seen, parts = [], []
        with sliced_batches(net), _hooked(net, self._watch(net.module_, seen)):
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
        twin = type(self)(self.net, layer=self.layer)
        for name in ("_sklearn_output_config", "_metadata_request"):
            if name in vars(self):
                setattr(twin, name, copy.deepcopy(getattr(self, name)))
        return twin

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class AugmentedConfidence(BaseEstimator):
    """Describe each prediction by what the net says of altered views of the sample.

    An object for ``meta_features=`` of `MetaErrorClassifier` over a skorch net on images: a
    prediction that a shift of one pixel changes is more often wrong (test-time augmentation [1]_,
    [2]_). Each training sample is shown to the net that has not trained on it. Each view costs one
    more pass of the net.

    Parameters
    ----------
    views : callable, default=None
        ``views(X)`` returns or yields altered copies of X, as many rows in the same order. None
        takes images of shape (n_samples, channels, height, width) and shifts them by one pixel
        up, down, left and right.

    flip : bool, default=False
        Whether the mirrored image is one more view, with ``views=None``. Right for photographs,
        wrong for digits.

    References
    ----------
    .. [1] Ayhan, Berens (2018). Test-time Data Augmentation for Estimation of Heteroscedastic
       Aleatoric Uncertainty in Deep Neural Networks, MIDL.
    .. [2] Shanmugam, Blalock, Balakrishnan, Guttag (2021). Better Aggregation in Test-Time
       Augmentation, ICCV.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from skorch.toy import make_classifier
    >>> from metaerr_sklearn.neural import AugmentedConfidence
    >>> X = np.random.default_rng(0).normal(size=(60, 20)).astype("float32")
    >>> net = NeuralNetClassifier(make_classifier(hidden_units=8), verbose=0)
    >>> net = net.fit(X, (X[:, 0] > 0).astype("int64"))
    >>> AugmentedConfidence(lambda X: [0.9 * X, 1.1 * X]).observe(net, X).shape
    (60, 5)
    """

    def __init__(self, views=None, *, flip=False):
        self.views = views
        self.flip = flip

    def check_base(self, estimator, X):
        """Say what is wrong with base and samples before anything is fitted.

        Parameters
        ----------
        estimator : estimator
            The base, fitted or not.

        X : any
            Samples.

        Raises
        ------
        TypeError
            If the base is not a skorch net.
        ValueError
            If ``views=None`` and X are not images.
        """
        _as_net(estimator)
        n_axes = np.ndim(as_array(safe_indexing(X, [0])))
        if self.views is None and n_axes != 4:
            raise ValueError(
                "AugmentedConfidence shifts images of shape (n_samples, channels, height, width), "
                f"got X of type {type(X).__name__} with {n_axes} axes. Pass views=, a function "
                "that returns altered copies of X."
            )

    def observe(self, estimator, X):
        """Describe the net's predictions on X.

        Parameters
        ----------
        estimator : fitted skorch net, or FrozenEstimator of one
            Whose predictions are described.

        X : array of shape (n_samples, ...)
            Samples; images for the views of ``views=None``.

        Returns
        -------
        features : ndarray of float64, shape (n_samples, 5)
            Of the class that the net predicts for the sample itself, over the sample and its views:
            mean, least and standard deviation of the log-odds, log-odds of the mean probability
            (higher = more trusted; the deviation the other way), and the share that predict this
            class, in (0, 1].

        Raises
        ------
        TypeError
            If `estimator` is not a skorch net.
        ValueError
            If ``views=None`` and X are not images, or a view has not as many rows as X.
        """
        self.check_base(estimator, X)
        net = _fitted_net(estimator)
        with sliced_batches(net), preserved_rng(0, device=net.device):
            own = net.predict_proba(as_net_input(X))
            predicted, rows = own.argmax(axis=1), np.arange(len(own))
            probas, agreement = [own[rows, predicted]], np.ones(len(own))
            for view in self._shifted(X) if self.views is None else self.views(X):
                other = net.predict_proba(as_net_input(view))
                if len(other) != len(own):
                    raise ValueError(
                        f"views(X) must return copies of X with its {len(own)} rows, got a view of "
                        f"{len(other)} rows."
                    )
                probas.append(other[rows, predicted])
                agreement += other.argmax(axis=1) == predicted
        probas = np.stack(probas).astype(np.float64)
        logits = _clipped_logit(probas)
        return np.column_stack(
            [
                logits.mean(axis=0),
                logits.min(axis=0),
                logits.std(axis=0),
                _clipped_logit(probas.mean(axis=0)),
                agreement / len(probas),
            ]
        )

    def _shifted(self, X):
        images = np.asarray(as_array(X))
        height, width = images.shape[2:]
        padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        for top, left in ((0, 1), (2, 1), (1, 0), (1, 2)):
            yield np.ascontiguousarray(padded[:, :, top : top + height, left : left + width])
        if self.flip:
            yield np.ascontiguousarray(images[..., ::-1])


def _clipped_logit(proba):
    return logit(np.clip(proba, 1e-6, 1 - 1e-6))
