"""Fits report their steps to scikit-learn's callbacks."""

from collections import Counter

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9")
N_FOLDS = 3


class Record:
    """Note each task that begins and ends, in whichever estimator."""

    max_propagation_depth = None

    def __init__(self):
        self.begun, self.ended, self.is_torn_down = Counter(), Counter(), False

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun[context.estimator_name, context.task_name] += 1

    def on_fit_task_end(self, estimator, context):
        self.ended[context.estimator_name, context.task_name] += 1

    def teardown(self, estimator, context):
        self.is_torn_down = True


def classifier(**params):
    params = {"meta_features": "confidence", "cv": N_FOLDS, "random_state": 0, **params}
    return MetaErrorClassifier(GaussianNB(), params.pop("meta_learner", "confidence"), **params)


def steps(record, name):
    return {task: number for (owner, task), number in record.ended.items() if owner == name}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {"fit": 1, "fold": N_FOLDS, "base estimator": 1, "error model": 1}),
        ({"cv": 0.3, "refit": False}, {"fit": 1, "fold": 1, "base estimator": 1, "error model": 1}),
        ({"meta_learner": None}, {"fit": 1, "base estimator": 1}),
    ],
)
def test_steps_of_a_classifier(noisy_data, params, expected):
    record = Record()
    classifier(**params).set_callbacks(record).fit(*noisy_data)
    assert steps(record, "MetaErrorClassifier") == expected
    assert record.begun == record.ended
    assert record.is_torn_down


@pytest.mark.parametrize("meta_learner", ["confidence", None])
def test_steps_nested_in_a_search(noisy_data, meta_learner):
    record = Record()
    grid = {"estimator__var_smoothing": [1e-9, 1e-3]}
    search = GridSearchCV(classifier(meta_learner=meta_learner), grid, cv=2)
    search.set_callbacks(record).fit(*noisy_data)
    n_fits = 2 * 2 + 1
    seen = steps(record, "MetaErrorClassifier")
    assert seen["base estimator"] == n_fits
    if meta_learner is not None:
        assert seen["fold"] == n_fits * N_FOLDS
    assert record.begun == record.ended


@pytest.mark.parametrize(
    ("params", "n_rounds"),
    [
        ({"criterion": "consensus"}, 1),
        ({"criterion": "certain"}, 3),
        ({"criterion": "k_best", "max_iter": 3}, 3),
        ({"criterion": "k_best", "max_iter": 2, "meta_learner": None}, 2),
    ],
)
def test_steps_of_self_training(noisy_data, params, n_rounds):
    X, y = noisy_data
    record = Record()
    model = SelfTrainingWithMetaErr(GaussianNB(), cv=N_FOLDS, random_state=0, **params)
    model.set_callbacks(record).fit(X, np.where(np.arange(len(y)) < 100, y, -1))
    seen = steps(record, "SelfTrainingWithMetaErr")
    assert seen["round"] == n_rounds == model.n_iter_
    assert ("fold" in seen) == (model.meta_learner is not None)
    assert record.begun == record.ended


@pytest.mark.parametrize("inner", [classifier(), GaussianNB()])
@pytest.mark.parametrize("calibration", [0.3, "prefit"])
def test_steps_of_abstention(noisy_data, inner, calibration):
    """The classifier inside shows its own steps in place of one."""
    X, y = noisy_data
    record = Record()
    if calibration == "prefit":
        inner = clone(inner).fit(X[:200], y[:200])
    clf = SelectiveClassifier(inner, target_coverage=0.8, calibration=calibration)
    clf.set_callbacks(record).fit(X[200:], y[200:])
    seen = steps(record, "SelectiveClassifier")
    assert seen["threshold"] == 1
    is_nested = calibration == 0.3 and isinstance(inner, MetaErrorClassifier)
    assert seen.get("estimator", 0) == (calibration == 0.3 and not is_nested)
    expected = {"fit": 1, "fold": N_FOLDS, "base estimator": 1, "error model": 1}
    assert steps(record, "MetaErrorClassifier") == (expected if is_nested else {})
    assert record.begun == record.ended
    assert record.is_torn_down


def test_a_failed_fit_leaves_no_callback_running(noisy_data):
    class Failing(GaussianNB):
        def fit(self, X, y):
            raise RuntimeError("no memory left")

    record = Record()
    clf = classifier().set_params(estimator=Failing()).set_callbacks(record)
    with pytest.raises(RuntimeError, match="no memory left"):
        clf.fit(*noisy_data)
    assert record.is_torn_down
    clf.set_params(estimator=GaussianNB()).fit(*noisy_data)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_progress_bar_runs(noisy_data, n_jobs, capsys):
    pytest.importorskip("rich")
    bar = callback.ProgressBar(max_propagation_depth=None)
    grid = {"estimator__var_smoothing": [1e-9, 1e-3]}
    GridSearchCV(classifier(), grid, cv=2, n_jobs=n_jobs).set_callbacks(bar).fit(*noisy_data)
    X, y = noisy_data
    model = SelfTrainingWithMetaErr(GaussianNB(), random_state=0).set_callbacks(bar)
    model.fit(X, np.where(np.arange(len(y)) < 60, y, -1))
    SelectiveClassifier(classifier(), target_coverage=0.8).set_callbacks(bar).fit(X, y)
    out = capsys.readouterr().out
    assert "GridSearchCV" in out
    assert "MetaErrorClassifier" in out
    assert "SelfTrainingWithMetaErr" in out
    assert "SelectiveClassifier" in out
