"""Nets on a GPU; benchmarks/bench_gpu.py runs these tests too."""

import copy
import pickle

import numpy as np
import pytest
import torch
from _nets import TinyCNN, make_net
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.neural import as_classifier, energy_confidence, mc_dropout_proba

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return (X / 16).reshape(-1, 1, 8, 8).astype(np.float32), y


@pytest.fixture(scope="module")
def trained(images):
    X, y = images
    torch.manual_seed(0)
    return make_net(max_epochs=10).fit(X[:600], y[:600]).module_.eval()


@pytest.mark.parametrize("features", ["one_pass", "images"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_error_probabilities_are_those_of_the_cpu(features, dtype, trained, images):
    X, y = images
    on_cpu, on_gpu = (
        MetaErrorClassifier(
            as_classifier(copy.deepcopy(trained).to(kind), device=device),
            "logistic",
            meta_features=features,
            random_state=0,
        ).fit(X[600:1200], y[600:1200])
        for kind, device in ((torch.float32, "cpu"), (dtype, "cuda"))
    )
    labels, error_proba = on_gpu.predict_with_error(X[1200:])
    assert (labels == on_cpu.predict(X[1200:])).mean() > 0.98
    if dtype == torch.float32:
        assert_allclose(error_proba, on_cpu.predict_error_proba(X[1200:]), atol=0.02)
    assert next(on_gpu.estimator_.module_.parameters()).is_cuda


def test_a_compiled_module_and_scores(trained, images):
    X, y = images
    module = torch.compile(copy.deepcopy(trained).cuda())
    net = as_classifier(module)
    clf = MetaErrorClassifier(net, "logistic").fit(X[600:1200], y[600:1200])
    assert np.ptp(clf.predict_error_proba(X[1200:])) > 0.05
    plain = as_classifier(copy.deepcopy(trained).cuda())
    assert np.isfinite(energy_confidence(plain, X[:50])).all()
    assert mc_dropout_proba(plain, X[:50], n_passes=2).shape == (50, 10)


def test_a_cross_fitted_net(images):
    X, y = images
    net = make_net(TinyCNN, device="cuda")
    clf = MetaErrorClassifier(net, "logistic", cv=2, random_state=0).fit(X[:900], y[:900])
    other = pickle.loads(pickle.dumps(clf))
    expected = clf.predict_error_proba(X[900:])
    assert_allclose(other.predict_error_proba(X[900:]), expected, atol=1e-4)


def test_each_batch_is_moved_to_the_gpu_once(trained, images, monkeypatch):
    X, y = images
    net = as_classifier(copy.deepcopy(trained), device="cuda", batch_size=100)
    clf = MetaErrorClassifier(net, "logistic", meta_features="one_pass", random_state=0)
    clf.fit(X[600:1200], y[600:1200])
    with torch.profiler.profile() as profile:
        clf.predict_with_error(X[:500])
    moved = [event for event in profile.events() if "Memcpy HtoD" in event.name]
    assert len(moved) <= 5
