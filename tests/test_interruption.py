"""A fit that is interrupted stops; a cross-fitting that was killed resumes with the folds done."""

import multiprocessing
import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from _nets import TinyMLP, make_net
from numpy.testing import assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, ShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EarlyStopping
from skorch.dataset import ValidSplit

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr

# Fits each kind of X in a process of its own, which is killed before one fit too many.
CODE = """
import os, sys
from pathlib import Path
import numpy as np
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB
from metaerr_sklearn import MetaErrorClassifier

folder, n_allowed, *kinds = Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]


class Mortal(GaussianNB):
    def fit(self, X, y):
        n_fits = len(list(Path().glob("fit*")))
        if n_fits == n_allowed:
            os._exit(9)
        Path(f"fit{n_fits}").touch()
        return super().fit(numbers_of(X), y)

    def predict_proba(self, X):
        return super().predict_proba(numbers_of(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def numbers_of(X):
    if isinstance(X, list):
        return np.array([text.split() for text in X], dtype=float)
    return np.asarray(X).astype(float)


def fit(kind):
    X, y = make_classification(200, flip_y=0.3, random_state=0)
    if kind != "array":  # duplicates, and columns of strings
        X, y = np.tile(X[:100].astype(str), (2, 1)), np.tile(y[:100], 2)
    if kind == "frame":
        import pandas as pd
        X = pd.DataFrame(X)
    elif kind == "text":
        X = [" ".join(row) for row in X]
    clf = MetaErrorClassifier(Mortal(), "confidence", memory="cache", cv=4)
    clf.set_params(meta_features="confidence", random_state=0).fit(X, y)
    print(kind, "errors", np.flatnonzero(clf.oof_error_).tolist(), flush=True)


for kind in kinds:
    child = os.fork()
    if not child:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        os.chdir(folder / kind)
        fit(kind)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(kind, "ended with", os.waitstatus_to_exitcode(status), flush=True)
"""
KINDS = ["array", "text", *(["frame"] if find_spec("pandas") else [])]


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Processes that are started in the background may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(folder, n_allowed, hash_seed):
    """Run `CODE` in a new Python, which hashes strings in its own way; return the lines printed."""
    script = folder.parent / "fit.py"
    script.write_text(CODE)
    command = [sys.executable, str(script), str(folder), str(n_allowed), *KINDS]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked")
def test_killed_between_folds_it_resumes_with_the_folds_done(tmp_path):
    """The errors are those of an uninterrupted run in another process."""
    assert run(tmp_path / "killed", 2, hash_seed=1) == [f"{kind} ended with 9" for kind in KINDS]
    resumed = run(tmp_path / "killed", 100, hash_seed=2)
    assert resumed[1::2] == [f"{kind} ended with 0" for kind in KINDS]
    for kind in KINDS:  # each fold once, and the final fit
        assert len(list((tmp_path / "killed" / kind).glob("fit*[0-9]"))) == 4 + 1
    assert all("errors [" in line for line in resumed[::2])
    assert run(tmp_path / "whole", 100, hash_seed=1) == resumed


class PressCtrlC(Callback):
    """Send the signal of Ctrl-C after the first epoch of the n-th training in this process."""

    n_trainings = 0
    pressed_in = None

    @classmethod
    def reset(cls, pressed_in):
        cls.n_trainings, cls.pressed_in = 0, pressed_in

    def on_train_begin(self, net, **kwargs):
        type(self).n_trainings += 1

    def on_epoch_end(self, net, **kwargs):
        if self.n_trainings == self.pressed_in and len(net.history) == 1:
            signal.raise_signal(signal.SIGINT)


class PressInAnotherProcess(Callback):
    """Send the signal in the first training of each process but the main one."""

    def on_epoch_end(self, net, **kwargs):
        if multiprocessing.parent_process() is not None:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return X[:300].astype(np.float32) / 16, y[:300]


def net_with(*callbacks, **kwargs):
    return make_net(TinyMLP, max_epochs=3, callbacks=list(callbacks), **kwargs)


def cross_fitted(net, **kwargs):
    options = {"meta_features": "confidence", "cv": 3, "random_state": 0, **kwargs}
    return MetaErrorClassifier(net, "confidence", **options)


@pytest.mark.parametrize("n_done", [1, 2, 3])  # the fourth training is that of the deployed net
@pytest.mark.parametrize(
    "wrap",
    [
        lambda net: net,
        lambda net: make_pipeline(StandardScaler(), net),
        lambda net: GridSearchCV(net, {"lr": [0.01]}, cv=ShuffleSplit(1, random_state=0)),
    ],
    ids=["net", "pipeline", "search"],
)
def test_ctrl_c_stops_the_fit_and_a_half_trained_net_is_not_cached(n_done, wrap, images, tmp_path):
    n_each = 2 if isinstance(wrap(net_with()), GridSearchCV) else 1
    clf = cross_fitted(wrap(net_with(PressCtrlC)), memory=tmp_path)
    PressCtrlC.reset(pressed_in=n_done * n_each + 1)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*images)
    assert PressCtrlC.n_trainings == n_done * n_each + 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    PressCtrlC.reset(pressed_in=None)
    resumed = clf.fit(*images)
    assert PressCtrlC.n_trainings == (4 - n_done) * n_each
    assert_array_equal(resumed.oof_error_, clf.set_params(memory=None).fit(*images).oof_error_)


@pytest.mark.parametrize("n_done", range(5))
def test_ctrl_c_stops_self_training(n_done, images):
    X, y = images
    PressCtrlC.reset(pressed_in=n_done + 1)
    model = SelfTrainingWithMetaErr(net_with(PressCtrlC), cv=2, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, np.where(np.arange(300) < 200, y, -1))
    assert PressCtrlC.n_trainings == n_done + 1


@pytest.mark.parametrize("wrap", [CalibratedClassifierCV, BaggingClassifier])
def test_ctrl_c_stops_an_estimator_that_contains_nets(wrap, images):
    PressCtrlC.reset(pressed_in=2)
    with pytest.raises(KeyboardInterrupt):
        SelectiveClassifier(wrap(net_with(PressCtrlC)), target_coverage=0.8).fit(*images)
    assert PressCtrlC.n_trainings == 2


def test_ctrl_c_in_a_process_of_joblib_stops_the_fit(images, tmp_path):
    clf = cross_fitted(net_with(PressInAnotherProcess), n_jobs=2, memory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*images)
    assert not list(tmp_path.glob("**/output.pkl"))


def test_early_stopping_of_skorch_is_no_interruption(images):
    stop = EarlyStopping("valid_loss", patience=1, threshold=10)
    clf = cross_fitted(net_with(stop, train_split=ValidSplit(3))).fit(*images)
    assert len(clf.estimator_.history) == 2


def test_a_handler_of_the_user_that_goes_on_is_kept(images):
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *args: pressed.append(args))
    try:
        PressCtrlC.reset(pressed_in=2)
        clf = cross_fitted(net_with(PressCtrlC)).fit(*images)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(pressed) == 1
    assert len(clf.estimator_.history) == 3
