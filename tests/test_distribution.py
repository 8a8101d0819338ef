"""Folds that run in other processes or on other machines give the serial result."""

import os
import threading
import uuid
from pathlib import Path

import joblib
import numpy as np
import pytest
import skorch
import torch
from _nets import TinyMLP, make_net
from joblib.parallel import ThreadingBackend
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from skorch import NeuralNetClassifier

from metaerr_sklearn import MetaErrorClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn.metrics import ERROR_SCORERS

N_FOLDS = 4


def sign(folder):
    Path(folder, f"{os.getpid()}-{uuid.uuid4()}").touch()


def n_fits(folder):
    """Return the number of fits in this process, and in others."""
    own = [int(path.name.split("-")[0]) == os.getpid() for path in folder.iterdir()]
    return sum(own), len(own) - sum(own)


class Signing(ClassifierMixin, BaseEstimator):
    """A classifier whose fits write the number of their process to a folder."""

    def __init__(self, estimator, folder):
        self.estimator = estimator
        self.folder = folder

    def fit(self, X, y):
        sign(self.folder)
        self.estimator.fit(X, y)
        self.classes_ = self.estimator.classes_
        return self

    def predict(self, X):
        return self.estimator.predict(X)

    def predict_proba(self, X):
        return self.estimator.predict_proba(X)


def fit(noisy_data, base=None, **params):
    base = GaussianNB() if base is None else base
    return MetaErrorClassifier(base, cv=N_FOLDS, random_state=0, **params).fit(*noisy_data)


def assert_equal(clf, serial, X):
    assert_array_equal(clf.oof_error_, serial.oof_error_)
    assert_array_equal(clf.oof_error_proba_, serial.oof_error_proba_)
    assert_array_equal(clf.predict_error_proba(X), serial.predict_error_proba(X))


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(dashboard_address="127.0.0.1:0", **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_processes_of_one_machine(noisy_data, tmp_path):
    base = Signing(GaussianNB(), tmp_path)
    with joblib.parallel_config("loky", n_jobs=2):
        clf = fit(noisy_data, base)
    assert n_fits(tmp_path) == (1, N_FOLDS)
    assert_equal(clf, fit(noisy_data), noisy_data[0])


def test_a_dask_cluster_fits_the_folds(noisy_data, tmp_path, cluster):
    base = Signing(GaussianNB(), tmp_path)
    with joblib.parallel_config("dask"):
        clf = fit(noisy_data, base)
    assert len(cluster.scheduler_info()["workers"]) == 2
    assert n_fits(tmp_path) == (1, N_FOLDS)
    assert_equal(clf, fit(noisy_data), noisy_data[0])


def test_predictions_under_a_dask_cluster(noisy_data, cluster):
    clf = fit(noisy_data)
    with joblib.parallel_config("dask"):
        error_proba = clf.predict_error_proba(noisy_data[0])
    assert_array_equal(error_proba, clf.predict_error_proba(noisy_data[0]))


def test_a_search_on_a_dask_cluster(noisy_data, cluster):
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=2, random_state=0)
    grid = {"estimator__var_smoothing": [1e-9, 1e-1]}
    serial = GridSearchCV(clf, grid, cv=2).fit(*noisy_data)
    with joblib.parallel_config("dask"):
        search = GridSearchCV(clf, grid, cv=2).fit(*noisy_data)
    for name in ("split0_test_score", "split1_test_score"):
        assert_array_equal(search.cv_results_[name], serial.cv_results_[name])
    assert_equal(search.best_estimator_, serial.best_estimator_, noisy_data[0])


def test_self_training_on_a_dask_cluster(noisy_data, cluster):
    X, y = noisy_data
    partly = np.where(np.arange(len(y)) < 100, y, -1)
    model = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0)
    serial = model.fit(X, partly).predict_error_proba(X)
    transduction = model.transduction_
    with joblib.parallel_config("dask"):
        model.fit(X, partly)
    assert_array_equal(model.transduction_, transduction)
    # A logistic regression may be rounded differently in another process.
    assert_allclose(model.predict_error_proba(X), serial, rtol=1e-9)


def test_a_backend_that_returns_all_folds_together(noisy_data, capsys):
    """The backends of Ray and Spark do so."""

    class Together(ThreadingBackend):
        supports_return_generator = False

    joblib.register_parallel_backend("together", Together)
    with joblib.parallel_config("together", n_jobs=2):
        clf = fit(noisy_data, verbose=1)
    assert capsys.readouterr().out.count(" fold,") == N_FOLDS
    assert_equal(clf, fit(noisy_data), noisy_data[0])


class SigningNet(NeuralNetClassifier):
    """A net whose fits write the number of their process to a folder."""

    def __init__(self, *args, folder, **kwargs):
        super().__init__(*args, **kwargs)
        self.folder = folder

    def fit(self, X, y=None, **fit_params):
        sign(self.folder)
        return super().fit(X, y, **fit_params)


def net_on(device, folder):
    params = {"device": device, "folder": str(folder), "max_epochs": 3}
    return make_net(
        TinyMLP, net_class=SigningNet, module__n_inputs=6, module__n_outputs=2, **params
    )


@pytest.mark.parametrize(
    "device",
    [
        None,  # skorch does not move the net, so its device is unknown
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
        ),
    ],
)
def test_nets_on_an_accelerator_stay_in_one_process(noisy_data, tmp_path, device):
    X, y = noisy_data[0].astype(np.float32), noisy_data[1]
    clf = fit((X, y), net_on(device, tmp_path), n_jobs=2)
    assert n_fits(tmp_path) == (N_FOLDS + 1, 0)
    assert len(clf.predict_error_proba(X)) == len(X)
    where = {parameter.device.type for parameter in clf.estimator_.module_.parameters()}
    assert where == {device or "cpu"}
    again = fit((X, y), net_on(device, tmp_path))
    assert_allclose(again.predict_error_proba(X), clf.predict_error_proba(X), rtol=1e-3, atol=1e-5)


def test_each_row_is_sent_to_the_device_once_a_pass(noisy_data, tmp_path, monkeypatch):
    X, y = noisy_data[0].astype(np.float32), noisy_data[1]
    n_sent, send = [], skorch.net.to_tensor

    def watched(X, device, **params):
        n_sent.append(len(X) if X.ndim == 2 else 0)
        return send(X, device=device, **params)

    monkeypatch.setattr(skorch.net, "to_tensor", watched)
    n_epochs = net_on("cpu", tmp_path).max_epochs
    clf = fit((X, y), net_on("cpu", tmp_path))
    trained = n_epochs * ((N_FOLDS - 1) * len(X) + len(X))  # the folds' nets, then the final one
    # Each row is predicted by the net of one fold; two more rows show the number of outputs.
    assert sum(n_sent) == trained + len(X) + 2
    for predict in (clf.predict_with_error, clf.predict_error_proba, clf.estimate_accuracy):
        n_sent.clear()
        predict(X)
        assert sum(n_sent) == len(X)


def test_classes_that_other_processes_cannot_import(noisy_data):
    """A fitted net comes back from a process by the name of its module class."""

    class Local(TinyMLP):
        pass

    X, y = noisy_data[0].astype(np.float32), noisy_data[1]
    sizes = {"module__n_inputs": X.shape[1], "module__n_outputs": 2}
    net = make_net(Local, max_epochs=1, **sizes)
    y_partly = np.where(np.arange(len(y)) < 60, y, -1)
    one_by_one = pytest.warns(UserWarning, match=r"spite of n_jobs=2: Local is defined in the scr")
    with one_by_one, joblib.parallel_config("loky"):
        clf = SelfTrainingWithMetaErr(net, cv=2, n_jobs=2, random_state=0).fit(X, y_partly)
    serial = clone(clf).set_params(n_jobs=None).fit(X, y_partly)
    assert_array_equal(clf.predict_proba(X), serial.predict_proba(X))
    with joblib.parallel_config("loky"):  # the fitted nets of the folds stay where they are
        fit((X, y), net, n_jobs=2, meta_learner="confidence")


@pytest.mark.parametrize("n_jobs", [2, 5])
def test_nets_in_threads_are_those_of_the_serial_run(noisy_data, tmp_path, n_jobs):
    """Threads share the global random generators, but folds must not draw from the same stream."""
    X, y = noisy_data[0].astype(np.float32), noisy_data[1]
    serial = fit((X, y), net_on("cpu", tmp_path))
    before = torch.get_rng_state().clone(), np.random.get_state()[1].copy()  # noqa: NPY002
    with joblib.parallel_config("threading", n_jobs=n_jobs):
        threaded = fit((X, y), net_on("cpu", tmp_path))
    assert_array_equal(threaded.oof_error_, serial.oof_error_)
    assert_allclose(threaded.predict_error_proba(X), serial.predict_error_proba(X), rtol=1e-5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


# Threads share the random generator of torch: a fold of these short trainings can fail by chance.
@pytest.mark.filterwarnings("ignore:The training of the base failed:UserWarning")
def test_a_search_over_nets_that_scores_in_threads_does_not_deadlock(noisy_data, tmp_path):
    """The threads that score need the lock of the nets while the search is being fitted."""
    X, y = noisy_data[0].astype(np.float32), noisy_data[1]
    search = GridSearchCV(
        net_on("cpu", tmp_path), {"lr": [0.1, 0.2]}, cv=2, scoring=ERROR_SCORERS["neg_aurc"]
    )

    def work():
        with joblib.parallel_config("threading", n_jobs=2):
            fit((X, y), search)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert not thread.is_alive()
