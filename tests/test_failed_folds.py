"""Folds whose training failed are trained anew or left out; folds of hard rows are kept."""

import warnings

import numpy as np
import pytest
import torch
from _bases import SpiedBayes, StaysAtMajority, partly_labeled
from _nets import TinyMLP, make_net
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, RepeatedKFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skorch.callbacks import Callback

from metaerr_sklearn import MetaErrorClassifier, SelfTrainingWithMetaErr

pytestmark = pytest.mark.usefixtures("small_second_opinion")


@pytest.fixture(scope="module")
def data():
    """600 training and 2000 test rows of three classes; row 7, of fold 1, is marked by a value."""
    X, y = make_classification(
        2600, 6, n_informative=5, n_redundant=0, n_classes=3, flip_y=0.1, random_state=0
    )
    X[7, 0] = 3.14
    return X[:600], y[:600], X[600:], y[600:]


FAILED = r"training of the base failed in fold 1 of 5 \(error rate 0\.\d\d, 0\.\d\d after a second "


@pytest.mark.parametrize("learner", ["auto", "logistic"])
def test_a_fold_that_fails_with_every_seed_is_left_out(learner, data):
    X, y, X_test, y_test = data
    clf = MetaErrorClassifier(StaysAtMajority(3.14), learner, cv=KFold(5), random_state=0)
    with pytest.warns(UserWarning, match=FAILED + "training: left out") as caught:
        clf.fit(X, y)
    assert len(caught) == 1
    assert clf.failed_folds_ == {1: "left out"}
    assert_array_equal(np.isnan(clf.oof_error_proba_), np.arange(600) < 120)
    healthy = MetaErrorClassifier(GaussianNB(), learner, cv=KFold(5), random_state=0).fit(X, y)
    assert_array_equal(clf.oof_error_[120:], healthy.oof_error_[120:])
    assert abs(clf.oof_error_rate_ - healthy.oof_error_rate_) < 0.02
    labels, error_proba = clf.predict_with_error(X_test)
    is_error = labels != y_test
    msp = 1 - clf.predict_proba(X_test).max(axis=1)
    assert roc_auc_score(is_error, error_proba) >= roc_auc_score(is_error, msp)
    assert abs(error_proba.mean() - is_error.mean()) < 0.05


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("set_seed", [None, 0])
def test_a_fold_that_failed_once_is_trained_anew_with_another_seed(seed, set_seed, data, tmp_path):
    X, y, *_ = data
    StaysAtMajority.reset()
    base = StaysAtMajority(failing=(2,), random_state=set_seed)
    clf = MetaErrorClassifier(base, "confidence", cv=KFold(5), random_state=seed, memory=tmp_path)
    with pytest.warns(UserWarning, match="fold 2 of 5 .* second training: trained anew"):
        clf.fit(X, y)
    assert clf.failed_folds_ == {2: "trained anew"}
    healthy = MetaErrorClassifier(GaussianNB(), "confidence", cv=KFold(5)).fit(X, y)
    assert_array_equal(clf.oof_error_, healthy.oof_error_)
    assert not np.isnan(clf.oof_error_proba_).any()
    *first, again, last = StaysAtMajority.seeds
    assert set(first) == {last}
    assert again not in (None, last)
    with pytest.warns(UserWarning, match="trained anew"):
        clf.fit(X, y)
    assert len(StaysAtMajority.seeds) == 7  # all fits come from the cache


class FailsInTraining(Callback):
    """Set the last layer of some trainings to 0, so that the net predicts class 0."""

    failing, n_trainings = (), 0

    def on_train_begin(self, net, **kwargs):
        type(self).n_trainings += 1

    def on_train_end(self, net, **kwargs):
        if self.n_trainings in self.failing:
            with torch.no_grad():
                net.module_.layers[-1].weight.zero_()
                net.module_.layers[-1].bias.zero_()


@pytest.mark.draws
@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: make_pipeline(StandardScaler(), net)]
)
@pytest.mark.parametrize(
    ("failing", "failed"), [((2,), {2: "trained anew"}), ((2, 4), {2: "left out"})]
)
def test_nets_that_fail_in_one_fold_are_not_worse_than_confidence(failing, failed, wrap):
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = X[:900].astype(np.float32) / 16, X[900:] / 16, y[:900], y[900:]
    FailsInTraining.failing, FailsInTraining.n_trainings = failing, 0
    net = make_net(TinyMLP, max_epochs=5, callbacks=[FailsInTraining])
    clf = MetaErrorClassifier(wrap(net), cv=3, random_state=0)
    with pytest.warns(UserWarning, match=r"failed in fold 2 of 3 \(error rate 0.9"):
        clf.fit(X, y)
    assert clf.failed_folds_ == failed
    labels, error_proba = clf.predict_with_error(X_test.astype(np.float32))
    is_error = labels != y_test
    msp = 1 - clf.predict_proba(X_test).max(axis=1)
    assert roc_auc_score(is_error, error_proba) > roc_auc_score(is_error, msp)
    assert clf.oof_error_rate_ < 0.2


def grouped(rng):
    """Five groups: in the last one half of the labels are random."""
    X = rng.normal(size=(1000, 4))
    groups = np.repeat(np.arange(5), 200)
    y = (X[:, 0] + 0.3 * rng.normal(size=1000) > 0).astype(int)
    hard = (groups == 4) & (rng.random(1000) < 0.6)
    y[hard] = rng.integers(2, size=hard.sum())
    return X, y, groups


def in_time(rng):
    """The relation of X and y turns with time, and labels become noisier."""
    X, time = rng.normal(size=(1000, 4)), np.arange(1000) / 1000
    angle = 1.2 * time
    y = (np.cos(angle) * X[:, 0] + np.sin(angle) * X[:, 1] > 0).astype(int)
    noisy = rng.random(1000) < 0.6 * time**2
    y[noisy] = rng.integers(2, size=noisy.sum())
    return X, y, None


BASES = [
    LogisticRegression(C=1e-3),
    GaussianNB(),
    DecisionTreeClassifier(),
    KNeighborsClassifier(1),
    DecisionTreeClassifier(max_depth=1, random_state=0),
]


@pytest.mark.parametrize("base", BASES, ids=str)
@pytest.mark.parametrize(
    ("draw", "cv"),
    [
        (grouped, GroupKFold(5)),
        (grouped, 5),
        (in_time, KFold(5)),
        (in_time, TimeSeriesSplit(5)),
        (lambda rng: tuple(a[::-1] for a in in_time(rng)[:2]) + (None,), TimeSeriesSplit(5)),
    ],
    ids=["groups", "groups=", "blocks of time", "time", "time, hard rows first"],
)
def test_a_fold_of_hard_rows_is_kept(draw, cv, base):
    for seed in range(3):
        X, y, groups = draw(np.random.default_rng(seed))
        clf = MetaErrorClassifier(base, "confidence", meta_features="confidence", cv=cv)
        clf.set_params(random_state=0).fit(X, y, groups=groups)
        assert clf.failed_folds_ == {}
        n_tested = np.count_nonzero(~np.isnan(clf.oof_error_proba_))
        assert n_tested == (830 if isinstance(cv, TimeSeriesSplit) else 1000)


def test_ordinary_folds_cost_no_further_fit(noisy_data):
    SpiedBayes.reset()
    MetaErrorClassifier(SpiedBayes(), "confidence", random_state=0).fit(*noisy_data)
    assert len(SpiedBayes.fits) == 6
    assert sum(SpiedBayes.passes) == 800  # probabilities and labels of the test rows


def test_rows_of_a_failed_fold_that_another_split_tests_get_its_prediction(data):
    X, y, *_ = data
    cv = RepeatedKFold(n_splits=5, n_repeats=2, random_state=0)
    clf = MetaErrorClassifier(StaysAtMajority(3.14), "confidence", cv=cv)
    with pytest.warns(UserWarning, match=r"failed in fold \d of 10 .* fold \d+ of 10"):
        clf.fit(X, y)
    assert sorted(clf.failed_folds_.values()) == ["left out", "left out"]
    in_both = [test for train, test in cv.split(X) if 7 in test]
    left_out = np.intersect1d(*in_both)
    assert_array_equal(np.flatnonzero(np.isnan(clf.oof_error_proba_)), left_out)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_two_folds_that_fail_are_left_out(n_jobs, data):
    X, y, *_ = data
    X = X.copy()
    X[130, 0] = 3.14  # rows 7 and 130 are in the first two folds: a fold of both is needed
    splits = [(np.setdiff1d(np.arange(600), test), test) for test in np.split(np.arange(600), 6)]
    splits[3] = np.setdiff1d(splits[3][0], [7, 130]), splits[3][1]
    splits[5] = np.setdiff1d(splits[5][0], [7, 130]), splits[5][1]
    clf = MetaErrorClassifier(StaysAtMajority(3.14), "confidence", cv=splits, n_jobs=n_jobs)
    with pytest.warns(UserWarning, match="in fold 4 of 6 .*, fold 6 of 6"):
        clf.fit(X, y)
    assert clf.failed_folds_ == {4: "left out", 6: "left out"}


@pytest.mark.parametrize("criterion", ["weight", "consensus"])
@pytest.mark.parametrize("failing", [(2,), (2, 7)])
def test_self_training_leaves_out_or_trains_anew(failing, criterion, data):
    X, y, *_ = data
    StaysAtMajority.reset()  # the first fit is that of all labeled rows
    base = StaysAtMajority(failing=failing)
    model = SelfTrainingWithMetaErr(base, criterion=criterion, cv=KFold(5), random_state=0)
    with pytest.warns(UserWarning, match=FAILED):
        model.fit(X, partly_labeled(y, 300))
    done = "trained anew" if failing == (2,) else "left out"
    assert model.failed_folds_ == {1: done}
    assert model.history_[0]["oof_accuracy"] > 0.65
    assert model.score(X[300:], y[300:]) > 0.65


def test_a_single_hold_out_has_no_fold_to_compare_with(data):
    X, y, *_ = data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base = StaysAtMajority(3.14)
        clf = MetaErrorClassifier(base, "confidence", cv=0.3, refit=False, random_state=0)
        assert clf.fit(X, y).failed_folds_ == {}


@pytest.mark.parametrize(("n_folds", "failing"), [(2, (1,)), (3, (1, 3))])
def test_if_half_of_the_trainings_fail_nothing_is_changed(n_folds, failing, data):
    """Short trainings vary: which of them is the exception cannot be found out."""
    X, y, *_ = data
    StaysAtMajority.reset()
    clf = MetaErrorClassifier(StaysAtMajority(failing=failing), "confidence", cv=KFold(n_folds))
    assert clf.fit(X, y).failed_folds_ == {}
    assert len(StaysAtMajority.seeds) == n_folds + 1
