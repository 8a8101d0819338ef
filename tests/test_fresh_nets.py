"""Nets of the folds are trained from scratch: no weights of another fit reach them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from _nets import TinyMLP, make_net
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import Checkpoint, LoadInitState, TrainEndCheckpoint
from skorch.dataset import ValidSplit

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.fresh_nets import nets_in


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return X[:300].astype(np.float32) / 16, y[:300]


def short_net(module=TinyMLP, **kwargs):
    return make_net(module, **{"max_epochs": 2, **kwargs})


def cross_fitted(net, **kwargs):
    # Two folds: of three, one whose short training went badly would count as failed.
    options = {"meta_features": "confidence", "cv": 2, "random_state": 0, **kwargs}
    return MetaErrorClassifier(net, "confidence", **options)


CLASSES = {
    "errors": cross_fitted,
    "selective": lambda net: SelectiveClassifier(net, target_coverage=0.8),
    "self-training": SelfTrainingWithMetaErr,
}
WRAPPERS = {
    "net": lambda net: net,
    "pipeline": lambda net: make_pipeline(StandardScaler(), net),
    "search": lambda net: GridSearchCV(net, {"lr": [0.01]}),
    "search in a pipeline": lambda net: make_pipeline(GridSearchCV(net, {"lr": [0.01]})),
    "calibrated": CalibratedClassifierCV,
    "shared": lambda net: short_net(net.module_),
    "further parameters": lambda net: net.set_params(max_epochs=3),
}


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_module_instance_that_a_net_has_trained_is_refused(kind, wrapper, images):
    X, y = images
    net = short_net(TinyMLP()).fit(X, y)
    weights = [p.detach().clone() for p in net.module.parameters()]
    clf = CLASSES[kind](WRAPPERS[wrapper](net))
    message = r"module of NeuralNetClassifier is an instance, TinyMLP\(...\), that has been fitted"
    y_partly = np.where(np.arange(300) < 200, y, -1) if kind == "self-training" else y
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y_partly)
    with pytest.raises(ValueError, match=message):
        GridSearchCV(clf, {}).fit(X, y)
    with pytest.raises(ValueError, match=message):
        cross_val_score(make_pipeline(FunctionTransformer(), clf), X, y)
    assert all(map(torch.equal, weights, net.module.parameters()))


@pytest.mark.parametrize(
    "make_net_of",
    {
        "class": lambda X, y: short_net().fit(X, y),
        "warm start": lambda X, y: short_net(warm_start=True).fit(X, y),
        "new instance": lambda X, y: short_net(TinyMLP()),
        "made anew with other arguments": lambda X, y: short_net(TinyMLP(), module__n_hidden=8).fit(
            X, y
        ),
        "clone": lambda X, y: clone(short_net(TinyMLP()).fit(X, y)),
        "frozen step": lambda X, y: make_pipeline(
            _Embedding(FrozenEstimator(short_net(TinyMLP()).fit(X, y))), LogisticRegression()
        ),
        "warm start of scikit-learn": lambda X, y: LogisticRegression(
            warm_start=True, max_iter=500
        ).fit(X, y),
    }.values(),
)
def test_every_other_net_is_accepted(make_net_of, images):
    X, y = images
    clf = cross_fitted(make_net_of(X, y))
    assert clf.fit(X, y).oof_error_rate_ >= 0
    clone(clf)


def _trained_by_hand(X, y):
    module = TinyMLP()
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    torch.nn.functional.cross_entropy(module(torch.tensor(X)), torch.tensor(y)).backward()
    optimizer.step()
    return module


class _Embedding(FunctionTransformer):
    """Probabilities of a frozen net as columns."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def transform(self, X):
        return self.net.predict_proba(X)


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda net: net])
def test_a_trained_module_instance_is_used_as_it_is_if_prefit(wrap, images):
    X, y = images
    net = short_net(TinyMLP()).fit(X[:150], y[:150])
    clf = cross_fitted(wrap(net), cv="prefit").fit(X[150:], y[150:])
    assert_array_equal(clf.predict(X), net.predict(X))
    clone(clf)


def test_nets_in_wrappers_are_found_and_frozen_ones_are_not():
    net = short_net()
    assert nets_in(make_pipeline(GridSearchCV(CalibratedClassifierCV(net), {}))) == [net]
    assert nets_in(FrozenEstimator(net)) == []
    assert nets_in(make_pipeline(FrozenEstimator(net), LogisticRegression())) == []


CHECKPOINTS = {
    "best": lambda folder: [Checkpoint(dirname=folder, load_best=True)],
    "named": lambda folder: [("best", Checkpoint(load_best=True))],
    "absolute": lambda folder: [Checkpoint(f_params=f"{folder}/params.pt", load_best=True)],
    "class": lambda folder: [Checkpoint],
    "at the end": lambda folder: [TrainEndCheckpoint(dirname=folder, fn_prefix="")],
    "initial state": lambda folder: [
        Checkpoint(dirname=folder),
        LoadInitState(Checkpoint(dirname=folder)),
    ],
}


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: make_pipeline(StandardScaler(), net)]
)
@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_folds_do_not_share_checkpoints(kind, wrap, images, tmp_path, monkeypatch):
    """Out-of-fold errors are those of a net whose files nobody else writes."""
    monkeypatch.chdir(tmp_path)
    folder = str(tmp_path / "mine")
    os.makedirs(folder)
    options = {"train_split": ValidSplit(4), "max_epochs": 4}
    if kind == "named":
        options["callbacks__best__dirname"] = folder
    callbacks = CHECKPOINTS[kind](folder)
    clf = cross_fitted(wrap(short_net(callbacks=callbacks, **options)))
    first = clf.fit(*images)
    files = sorted(path.name for path in tmp_path.glob("**/*.*"))
    assert "params.pt" in files
    assert len(set(files)) == len(files)  # the folders of the folds are gone
    rates = [first.oof_error_rate_]
    rates += [clone(clf).set_params(n_jobs=n).fit(*images).oof_error_rate_ for n in (1, 2)]
    assert len(set(rates)) == 1
    deployed = clf.estimator_ if isinstance(clf.estimator_, type(short_net())) else None
    if deployed is not None and kind == "best":
        saved = torch.load(Path(folder, "params.pt"), weights_only=True)
        for name, value in deployed.module_.state_dict().items():
            assert torch.equal(saved[name], value)
    given = callbacks[0][1] if kind == "named" else callbacks[0]
    if kind == "best":
        assert given.dirname == folder
        assert not hasattr(given, "checkpoint_")


def test_the_initial_state_of_a_fold_is_not_that_of_an_earlier_run(images, tmp_path):
    """The earlier run was trained on all rows."""
    X, y = images
    checkpoint = Checkpoint(monitor=None, dirname=str(tmp_path))
    callbacks = [checkpoint, LoadInitState(checkpoint)]
    short_net(max_epochs=80, callbacks=callbacks).fit(X, y)
    # One epoch at a low rate teaches little: what is known comes from the earlier run.
    net = short_net(max_epochs=1, lr=1e-3, callbacks=callbacks)
    clf = cross_fitted(net).fit(X, y)
    assert clf.oof_error_rate_ > 0.3
    assert clf.score(X, y) > 0.95


def test_the_net_of_a_hold_out_that_is_deployed_keeps_its_checkpoint(images, tmp_path):
    net = short_net(callbacks=[Checkpoint(monitor=None, dirname=str(tmp_path))])
    clf = cross_fitted(net, cv=0.3, refit=False).fit(*images)
    saved = torch.load(tmp_path / "params.pt", weights_only=True)
    for name, value in clf.estimator_.module_.state_dict().items():
        assert torch.equal(saved[name], value)
    assert [type(callback) for callback in clf.estimator_.callbacks] == [Checkpoint]


@pytest.mark.parametrize(
    "make_net_of",
    {
        "initialized": lambda X, y: short_net(TinyMLP()).initialize(),
        "trained by hand": lambda X, y: short_net(_trained_by_hand(X, y)),
    }.values(),
)
def test_a_module_that_may_be_trained_is_not_trained_further_in_silence(make_net_of, images):
    X, y = images
    clf = cross_fitted(make_net_of(X, y))
    with pytest.warns(UserWarning, match=r"trained further.* pass metaerr_sklearn.neural.as_clas"):
        clf.fit(X, y)
