"""Wrap a trained PyTorch module as a fitted classifier."""

import dataclasses
import inspect
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.utils import to_tensor
from torch import nn

from .._utils.indexable import indexable
from .._utils.messages import warn_caller
from .._utils.probabilities import scaled_to_sum_1
from ._as_net_input import input_of
from ._net import NET_LOCK, n_rows, restored_after
from ._torch_errors import explained_inputs

# Sigmoids lie in [0, 1]. So many logits of a trained module do not, except by chance.
_ROWS_THAT_DECIDE = 20
_NAMES_OF_LABELS = ("label", "labels", "target", "targets", "y")


def as_classifier(
    module, *, classes=None, output="auto", device=None, batch_size=128, **iterator_params
):
    """Wrap a trained PyTorch module as a fitted classifier, which is never trained.

    The result is a base classifier for `MetaErrorClassifier`, and can be used wherever a fitted
    skorch net can: in `TorchEmbedding`, `AugmentedConfidence`, `mc_dropout_proba` and scikit-learn.
    It is frozen: `fit` does nothing and `clone` returns the same object. Give
    `MetaErrorClassifier.fit` rows that the module was not trained on.

    Parameters
    ----------
    module : torch.nn.Module
        A trained module, compiled or not. It is not copied: if you train it further, the
        predictions change. It predicts in evaluation mode, and has its earlier mode afterwards.
        Its outputs are a tensor of shape (n_samples, n_classes), or of shape (n_samples,) or
        (n_samples, 1) for two classes. If it returns a tuple, dict or object, the outputs are its
        ``logits``, else its first tensor of such a shape.

    classes : sequence of labels, default=None
        The label of each output, in the order of the outputs, for example ``range(1, 11)``. A
        single output needs two labels: the second one is the class of the output. With None, output
        j is label j.

    output : {"auto", "logits", "probabilities"}, default="auto"
        What the module returns. With "auto", outputs are probabilities if they lie in [0, 1] and
        the sum of each row is 1, or, for a single output, if all of at least 20 rows lie in [0, 1].
        The first batch decides. If it is unclear, there is an error.

    device : str or torch.device, default=None
        Device on which the module predicts. The module is moved there. With None, it stays where
        it is.

    batch_size : int, default=128
        Number of rows in a batch.

    **iterator_params : dict
        Parameters of the ``DataLoader`` that reads the rows, as ``iterator_valid__num_workers=4``.

    Returns
    -------
    classifier : FrozenEstimator of a skorch NeuralNetClassifier
        It has ``predict``, ``predict_proba`` and ``classes_``, and takes all X of `as_net_input`,
        and a DataLoader that does not shuffle. Floating-point inputs are converted to the
        precision of the module. A row of several inputs is a dict by name of the argument, or a
        tuple. The last element of a row of a Dataset is its label, which is not used.

    Raises
    ------
    TypeError
        If `module` is not an instance of a module, or a parameter has an unknown name.
    ValueError
        If the module has no weights ("meta" device, lazy layers), or a parameter is invalid.

    Examples
    --------
    >>> import torch
    >>> from metaerr_sklearn.neural import as_classifier
    >>> module = torch.nn.Sequential(torch.nn.Linear(4, 3))  # and your own training
    >>> classifier = as_classifier(module, classes=["cat", "dog", "owl"])
    >>> classifier.predict_proba(torch.zeros(2, 4)).shape
    (2, 3)
    """
    _check_module(module)
    if output not in ("auto", "logits", "probabilities"):
        raise ValueError(f'output must be "auto", "logits" or "probabilities", got {output!r}.')
    other = [name for name in iterator_params if not name.startswith("iterator_valid__")]
    if other:
        raise TypeError(
            f"as_classifier has no parameter {other[0]!r}. It takes classes, output, device, "
            "batch_size, and parameters of the DataLoader as iterator_valid__num_workers=4."
        )
    if device is not None:
        _check_device(device)
    if classes is not None:
        classes = _checked_classes(classes)
    net = TrainedModule(
        module,
        output=output,
        classes=classes,
        device=device,
        batch_size=batch_size,
        **iterator_params,
    )
    net.initialize()
    if device is None:
        # skorch would move all of a module that is divided between devices to this one.
        net.device = str(next((tensor.device for tensor in _tensors_of(module)), "cpu"))
    return FrozenEstimator(net)


class TrainedModule(NeuralNetClassifier):
    """A skorch net around a trained module, for prediction only; see `as_classifier`.

    Attributes
    ----------
    output_ : {"logits", "probabilities"}
        What the module returns, as named by the user or decided on the first batch.

    n_outputs_ : int
        Number of classes, from the first batch.
    """

    # Output j stands for label j unless the user gives names: no fit has shown the labels.
    outputs_are_numbered = True

    def __init__(self, module, *, output="auto", classes=None, batch_size=128, **params):
        super().__init__(
            module,
            criterion=nn.CrossEntropyLoss,
            train_split=None,
            callbacks="disable",
            verbose=0,
            classes=classes,
            batch_size=batch_size,
            **params,
        )
        self.output = output

    def initialize_optimizer(self, triggered_directly=None):
        """Set no optimizer: the module is not trained, and need not have parameters."""
        self.optimizer_ = None
        return self

    def fit(self, X, y=None, **fit_params):
        """Raise, because the module would be trained further."""
        raise TypeError(
            "The module in as_classifier is trained already and stays as it is. To train it, use "
            "skorch.NeuralNetClassifier(module, criterion=...)."
        )

    partial_fit = fit

    def get_params(self, deep=True, **kwargs):
        """Return the parameters of `as_classifier`, and of the module its class."""
        params = super().get_params(deep=False, **kwargs)
        names = {"classes", "output", "device", "batch_size"}
        shown = {
            name: value
            for name, value in params.items()
            if name in names or name.startswith("iterator_valid__")
        }
        # The module has a long repr, and set_params cannot replace it.
        return {"module": type(self.module), **shown}

    def set_params(self, **params):
        """Set parameters, but none that would make a new module."""
        replaced = [name for name in params if name.startswith(("module", "compile"))]
        if replaced:
            raise ValueError(
                f"{replaced[0]} would replace the trained module. Call as_classifier(...) with "
                "another module."
            )
        return super().set_params(**params)

    @property
    def classes_(self):
        """Labels of the outputs; without names, they are known after the first batch."""
        if self.classes is not None:
            return np.asarray(self.classes)
        if not hasattr(self, "n_outputs_"):
            raise AttributeError(
                "classes_ is known after the first prediction, or with as_classifier(module, "
                "classes=[...])."
            )
        return np.arange(self.n_outputs_)

    def get_dataset(self, X, y=None):
        """Return a Dataset of the rows of X, which may be a DataLoader."""
        (X,) = indexable(input_of(self, X))
        return super().get_dataset(X, y)

    def _set_training(self, training=True):
        """Set the mode of the module; one of torch.export has its mode from the export."""
        with suppress(NotImplementedError):
            super()._set_training(training)

    def evaluation_step(self, batch, training=False):
        """Predict a batch in evaluation mode, and restore the modes of the module."""
        with NET_LOCK, restored_after(self, []):
            return super().evaluation_step(batch, training=training)

    def infer(self, x, **fit_params):
        """Return the outputs of the module for a batch, as a tensor with one row for each row."""
        x = _as_dtype(to_tensor(x, device=self.device), _dtype_of(self.module_))
        with explained_inputs(x, self.name_in_messages):
            returned = _call(self.module_, x)
        output = self._outputs_in(returned)
        n_given = n_rows(x)
        if n_given is not None and len(output) != n_given:
            raise ValueError(
                f"{self.name_in_messages} returns outputs of shape {tuple(output.shape)} for a "
                f"batch of {n_given} rows. It must return one row for each row of X."
            )
        return output

    def forward(self, X, training=False, device="cpu"):
        """Return the outputs for all rows of X."""
        output = super().forward(X, training=training, device=device)
        self._note_kind(output)
        return output

    def predict_proba(self, X):
        """Return the probability of each class."""
        return np.concatenate([self._to_proba(output) for output in self.forward_iter(X)])

    def predict(self, X):
        """Return the label of the most probable class."""
        position = self.predict_proba(X).argmax(axis=1)
        return self.classes_[position]

    @property
    def name_in_messages(self):
        """Name of the class of the user's module, which messages use."""
        module = getattr(self.module_, "_orig_mod", self.module_)
        return getattr(module, "original_name", type(module).__name__)  # TorchScript has the first

    def _outputs_in(self, returned):
        """Return the tensor of outputs in what the module returns."""
        found = returned
        if not isinstance(returned, torch.Tensor):
            parts = _parts_of(returned)
            found = parts.get("logits")
            if not isinstance(found, torch.Tensor):
                found = self._first_outputs(parts)
        is_table = found is not None and found.ndim in (1, 2) and 0 not in found.shape[1:]
        if not is_table or not found.is_floating_point():
            got = type(returned).__name__
            if found is not None:
                got = f"shape {tuple(found.shape)} and {found.dtype}"
            raise ValueError(
                f"{self.name_in_messages} must return floating-point outputs of shape (n_samples, "
                f"n_classes), or (n_samples,) for two classes, got {got}. Wrap it in a module "
                "whose forward returns the logits."
            )
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found

    def _first_outputs(self, parts):
        """Return the first tensor that may hold outputs, or the first one with as many as names."""
        candidates = {
            name: part
            for name, part in parts.items()
            if isinstance(part, torch.Tensor) and part.is_floating_point() and part.ndim in (1, 2)
        }
        if not candidates:
            return None
        first, width = next(iter(candidates)), {n: _width(c) for n, c in candidates.items()}
        if self.classes is not None:
            fitting = [n for n in candidates if max(2, width[n]) == len(self.classes)]
            return candidates[fitting[0] if fitting else first]
        narrower = [n for n in candidates if 1 < width[n] < width[first]]
        if narrower and not getattr(self, "is_warned_", False):
            self.is_warned_ = True
            warn_caller(
                f"{self.name_in_messages} returns several tensors. The first one, {first!r} of "
                f"{width[first]} columns, is taken for the outputs, but {narrower[0]!r} has "
                f"{width[narrower[0]]} columns. Pass as_classifier(module, classes=[...]) with one "
                "label for each output, or let the module return the outputs alone."
            )
        return candidates[first]

    def _to_proba(self, output):
        kind = self._note_kind(output)
        values = output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
        if output.ndim == 1:
            right = (torch.sigmoid(values) if kind == "logits" else values).numpy()
            return np.column_stack([1 - right, right])
        if kind == "logits":
            return torch.softmax(values, dim=1).numpy()
        proba = values.numpy()
        sums_to_1 = np.allclose(proba.sum(axis=1), 1, rtol=0, atol=1e-5, equal_nan=True)
        return proba if sums_to_1 else scaled_to_sum_1(proba, 1 / proba.shape[1])

    def _note_kind(self, output):
        """Return what the outputs are, and keep it from the first batch on."""
        n_outputs = _width(output) if output.ndim == 2 else 2
        if self.classes is not None and len(self.classes) != n_outputs:
            raise ValueError(
                f"{self.name_in_messages} has {n_outputs} classes by its outputs of shape "
                f"{tuple(output.shape)}, but classes= has {len(self.classes)} labels. Give one "
                "label for each output, in their order."
            )
        self.n_outputs_ = n_outputs
        kind = getattr(self, "output_", self.output)
        values = output.double()
        values = values[torch.isfinite(values.reshape(len(values), -1)).all(dim=1)]
        in_range = bool(((values > -1e-6) & (values < 1 + 1e-6)).all())
        if kind == "probabilities" and not in_range:
            raise ValueError(
                f"The outputs of {self.name_in_messages} were probabilities until now, but the "
                f"values {values.min():.3g} to {values.max():.3g} are none. Pass "
                'as_classifier(module, output="logits").'
            )
        if kind == "auto":
            if not len(values):
                return "logits"  # the probabilities are NaN
            kind = self._kind_of(values, in_range, output.dtype)
        self.output_ = kind
        if kind == "probabilities":
            self.criterion_ = nn.NLLLoss()  # skorch's sign of a module that returns probabilities
        return kind

    def _kind_of(self, values, in_range, dtype):
        if not in_range:
            return "logits"
        if values.ndim == 1:
            if len(values) >= _ROWS_THAT_DECIDE:
                return "probabilities"
            what = f"Only {len(values)} rows show a single output, in [0, 1]"
        else:
            tolerance = 1e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-3
            if bool(((values.sum(dim=1) - 1).abs() < tolerance).all()):
                return "probabilities"
            what = "The outputs lie in [0, 1], but the sum of a row is not 1"
        raise ValueError(
            f"It is unclear whether {self.name_in_messages} returns logits or probabilities. "
            f'{what}. Pass as_classifier(module, output="probabilities") if the module ends in a '
            'sigmoid or softmax (rows are then scaled to a sum of 1), and output="logits" if not.'
        )

    def __sklearn_clone__(self):
        # The default clone() would make a net that is not initialized.
        return self

    def __getstate__(self):
        # The module is saved once, in the part that skorch can load without a GPU.
        state = super().__getstate__()
        return {**state, "module": None}

    def __setstate__(self, state):
        super().__setstate__(state)
        self.module = self.module_


def _check_module(module):
    if not isinstance(module, nn.Module):
        name = module.__name__ if isinstance(module, type) else type(module).__name__
        advice = "Pass a trained instance of torch.nn.Module."
        if isinstance(module, type) and issubclass(module, nn.Module):
            advice = "Pass a trained instance, not the class."
        elif isinstance(module, Mapping):
            advice = "If it holds weights: module.load_state_dict(...), and pass the module."
        elif isinstance(module, (NeuralNetClassifier, FrozenEstimator)):
            advice = "It is a classifier already: use FrozenEstimator(net), without as_classifier."
        raise TypeError(f"as_classifier wraps a PyTorch module, got {name}. {advice}")
    if any(tensor.is_meta for tensor in _tensors_of(module)):
        raise ValueError(
            f'{type(module).__name__} is on the "meta" device and has no weights. Load them first: '
            'module.to_empty(device="cpu") and module.load_state_dict(...).'
        )
    if any(map(nn.parameter.is_lazy, _tensors_of(module))):
        raise ValueError(
            f"{type(module).__name__} has lazy layers that no row has passed, so that they have no "
            "trained weights. Train it, or call module.load_state_dict(...), before you pass it."
        )


def _check_device(device):
    """Raise if torch cannot use a device; on "meta" the module would lose its weights."""
    try:
        is_usable = torch.empty(0, device=device).device.type != "meta"
    except Exception:  # each kind of device has errors of its own
        is_usable = False
    if not is_usable:
        at_hand = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        at_hand += ["mps"] * torch.backends.mps.is_available()
        raise ValueError(
            f"device={device!r} cannot be used here. Devices at hand: "
            f'{", ".join(map(repr, at_hand))}. Pass one of them, for example device="cpu".'
        )


def _checked_classes(classes):
    classes = np.asarray(classes)
    if classes.ndim != 1 or len(np.unique(classes)) != len(classes) or len(classes) < 2:
        raise ValueError(
            "classes must be a list of at least two different labels, one for each output, got "
            f"{classes.tolist()}."
        )
    return classes


def _tensors_of(module):
    return chain(module.parameters(), module.buffers())


def _dtype_of(module):
    """Return the precision of the first layer, or None."""
    return next((t.dtype for t in _tensors_of(module) if t.is_floating_point()), None)


def _as_dtype(x, dtype):
    """Convert floating-point tensors, also in dicts and lists, to a precision."""
    if isinstance(x, Mapping):
        return {name: _as_dtype(value, dtype) for name, value in x.items()}
    if isinstance(x, (list, tuple)):
        return [_as_dtype(value, dtype) for value in x]
    return x.to(dtype) if dtype is not None and x.is_floating_point() else x


def _width(tensor):
    return tensor.shape[1] if tensor.ndim == 2 else 1


def _parts_of(returned):
    """Return the parts of a tuple, dict or object by name or number."""
    if isinstance(returned, Mapping):
        return dict(returned)
    if hasattr(returned, "_asdict"):
        return returned._asdict()
    if isinstance(returned, (tuple, list)):
        return dict(enumerate(returned))
    if dataclasses.is_dataclass(returned):
        return {f.name: getattr(returned, f.name) for f in dataclasses.fields(returned)}
    return dict(getattr(returned, "__dict__", {}))


def _call(module, x):
    """Call a module with a tensor, or with several inputs by name or by position."""
    try:
        signature = inspect.signature(getattr(module, "_orig_mod", module).forward)
    except (TypeError, ValueError):  # compiled TorchScript
        return module(**x) if isinstance(x, Mapping) else module(x)
    if isinstance(x, Mapping):
        without_labels = {n: value for n, value in x.items() if n not in _NAMES_OF_LABELS}
        for inputs in (x, without_labels):
            if _accepts(signature, **inputs):
                return module(**inputs)
    elif isinstance(x, (list, tuple)) and _accepts(signature, *x):
        return module(*x)
    if not _accepts(signature, x):
        got = "the inputs " + ", ".join(map(repr, x)) if isinstance(x, Mapping) else "one input"
        if isinstance(x, (list, tuple)):
            got = f"{len(x)} inputs"
        raise TypeError(
            f"forward{signature} of {type(module).__name__} does not fit {got} of a batch. Give "
            "several inputs as a dict by name of the argument. The last element of a row of a "
            "Dataset is its label, not an input."
        )
    return module(x)


def _accepts(signature, *args, **kwargs):
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True
