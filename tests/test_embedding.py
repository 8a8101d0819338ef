"""Hidden layers of compiled nets and of modules that return more than one tensor."""

import threading
from collections import OrderedDict

import numpy as np
import pytest
import torch
from _nets import TinyCNN, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.neural import TorchEmbedding


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return X[:400], y[:400], X[400:800], y[400:800], X[800:900]


@pytest.fixture(scope="module")
def net(images):
    return make_net(max_epochs=10).fit(*images[:2])


def wrapped(module, **kwargs):
    return NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, **kwargs).initialize()


@pytest.fixture(scope="module")
def expected(net, images):
    """Hidden layer, labels and error probabilities of new rows with the plain net as base."""
    _, _, X, y, X_new = images
    clf = MetaErrorClassifier(FrozenEstimator(net), "logistic", random_state=0).fit(X, y)
    return TorchEmbedding(net).fit_transform(X_new), *clf.predict_with_error(X_new)


def check_as_base(base, expected, images):
    _, _, X, y, X_new = images
    clf = MetaErrorClassifier(FrozenEstimator(base), "logistic", random_state=0).fit(X, y)
    representation = clf.error_model_.representation_
    assert isinstance(representation, TorchEmbedding)
    assert_allclose(representation.transform(X_new), expected[0], rtol=1e-5, atol=1e-5)
    labels, error_proba = clf.predict_with_error(X_new)
    assert_array_equal(labels, expected[1])
    assert_array_equal(clf.predict_proba(X_new), base.predict_proba(X_new))
    assert_allclose(error_proba, expected[2], rtol=1e-3)


class CompiledInside(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = torch.compile(inner, backend="eager")

    def forward(self, X):
        return self.inner(X)


def compile_in_place(module):
    module.compile(backend="eager")
    return module


@pytest.mark.parametrize("how", ["skorch", "torch.compile", "in place", "inside"])
def test_a_compiled_net_has_its_hidden_layer(how, net, expected, images):
    weights = net.module_.state_dict()
    module = TinyCNN()
    module.load_state_dict(weights)
    if how == "skorch":
        base = wrapped(module, compile=True, compile__backend="eager")
    else:
        make = {
            "torch.compile": lambda module: torch.compile(module, backend="eager"),
            "in place": compile_in_place,
            "inside": CompiledInside,
        }[how]
        base = wrapped(make(module))
    base.predict(images[2])  # the code is compiled at the first call
    check_as_base(base, expected, images)
    name = "inner.features.3" if how == "inside" else "features.3"
    by_name = TorchEmbedding(base, layer=name).fit_transform(images[4])
    assert_allclose(by_name, TorchEmbedding(net, layer="features.3").fit_transform(images[4]))


class ModelOutput(OrderedDict):
    """As in the package transformers: a mapping with attributes."""


class Returns(nn.Module):
    def __init__(self, inner, make):
        super().__init__()
        self.inner, self.make = inner, make

    def forward(self, X):
        return self.make(self.inner(X))


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda z: {"logits": z}, lambda out: out["logits"]),
        (lambda z: ModelOutput(loss=z.sum(), logits=z), lambda out: out["logits"]),
        (lambda z: (z, z.sum()), lambda out: out),  # skorch takes the first of a tuple
    ],
)
def test_a_module_may_return_a_container_of_tensors(make, read, net, expected, images):
    base = wrapped(
        Returns(net.module_, make), predict_nonlinearity=lambda out: read(out).softmax(-1)
    )
    check_as_base(base, expected, images)


class ConvolutionOnly(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 10, 6))

    def forward(self, X):
        return self.layers(X).flatten(1)


def test_a_net_without_a_linear_layer_is_compared_by_pixels_with_a_reason(images):
    X_train, y_train, X, y, X_new = images
    base = make_net(ConvolutionOnly, max_epochs=10).fit(X_train, y_train)
    with pytest.warns(UserWarning, match=r"cannot be read.*TorchEmbedding\(net, layer="):
        clf = MetaErrorClassifier(FrozenEstimator(base), "logistic", random_state=0).fit(X, y)
    assert not isinstance(clf.error_model_.representation_, TorchEmbedding)
    assert np.isfinite(clf.predict_error_proba(X_new)).all()
    layer = TorchEmbedding(base, layer="layers.0")
    MetaErrorClassifier(
        FrozenEstimator(base), "logistic", representation=layer, random_state=0
    ).fit(X, y)


def test_a_thread_adds_no_hook_while_another_thread_predicts(net, images):
    X = images[4]
    embedding = TorchEmbedding(net)
    thread = threading.Thread(target=embedding.fit_transform, args=(X,))

    def n_hooks():
        modules = net.module_.modules()
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)

    with embedding.record() as parts:
        before = n_hooks()
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert n_hooks() == before
        net.predict_proba(X)
    thread.join()
    assert_array_equal(np.concatenate(parts), embedding.transform(X))


class ChangesInPlace(nn.Module):
    """A later step changes the hidden layer in place, and the last layer gets it by keyword."""

    def __init__(self):
        super().__init__()
        self.hidden, self.output = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, X):
        hidden = self.hidden(X.flatten(1)).tanh()
        logits = self.output(input=hidden)
        hidden.zero_()
        return logits


def test_layers_that_are_changed_in_place_later_are_recorded_as_they_were(images):
    X = images[4]
    module = ChangesInPlace()
    with torch.no_grad():
        expected = module.hidden(torch.from_numpy(X).flatten(1)).tanh()
    assert_allclose(TorchEmbedding(wrapped(module)).transform(X), expected, rtol=1e-5, atol=1e-6)

    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(inplace=True))
    with torch.no_grad():
        expected = module[1](module[0](torch.from_numpy(X)))
    hidden = TorchEmbedding(wrapped(module), layer="1").transform(X)
    assert (hidden < 0).any()
    assert_allclose(hidden, expected, rtol=1e-5, atol=1e-6)
