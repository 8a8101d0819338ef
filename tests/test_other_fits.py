"""Further fits of the base with other seeds, as meta-features and as a vote."""

import pickle

import numpy as np
import pytest
import torch
from _bases import SpiedBayes, partly_labeled
from _nets import TinyMLP, make_net
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, Checkpoint

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    OtherFits,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)


class RandomBayes(GaussianNB):
    """Naive Bayes without two random columns, that records its fits.

    Parameters
    ----------
    random_state : int, default=None
        Chooses the columns.
    failing : tuple of int
        Fits that predict the most frequent class alone, numbered from 1 after `reset`.
    """

    fits = []  # noqa: RUF012 (one list for all clones)

    def __init__(self, random_state=None, failing=()):
        super().__init__()
        self.random_state = random_state
        self.failing = failing

    @classmethod
    def reset(cls):
        cls.fits.clear()

    def fit(self, X, y, sample_weight=None):
        self.fits.append((self.random_state, X[:, 0].tolist(), sample_weight))
        super().fit(X, y, sample_weight)
        rng = np.random.default_rng(self.random_state)
        left_out = rng.permutation(X.shape[1])[:2]
        self.theta_[:, left_out], self.var_[:, left_out] = 0, 1
        if len(self.fits) in self.failing:
            self.theta_[:], self.var_[:] = 0, 1
        return self


@pytest.fixture(scope="module")
def data():
    X, y = make_classification(
        900, 8, n_informative=6, n_redundant=0, n_classes=3, flip_y=0.05, random_state=0
    )
    return X[:400], y[:400], X[400:], y[400:]


def with_fits(base, n_fits=1, **kwargs):
    options = {"meta_features": ["confidence", OtherFits(n_fits)], "cv": 4, "random_state": 0}
    return MetaErrorClassifier(base, "logistic", **{**options, **kwargs})


def log_odds(proba, label):
    rows = np.arange(len(proba))
    return np.clip(logit(proba[rows, label].astype(float)), -10, 10)


@pytest.mark.parametrize("n_fits", [1, 2])
def test_columns_are_those_of_the_definition(n_fits, data):
    X, y, X_test, _ = data
    clf = with_fits(RandomForestClassifier(11, max_depth=4), n_fits).fit(X, y)
    (other_fits,) = clf.observers_
    own = clf.predict_proba(X_test)
    others = [fitted.predict_proba(X_test) for fitted in other_fits.estimators_]
    label = own.argmax(axis=1)
    features = other_fits.observe(clf.estimator_, X_test)
    assert features.shape == (500, 1 + n_fits)
    assert_allclose(features[:, 0], log_odds(np.mean([own, *others], axis=0), label), rtol=1e-6)
    for column, other in zip(features[:, 1:].T, others):
        assert_allclose(column, log_odds(other, label) - log_odds(own, label), atol=1e-6)
        assert np.ptp(column) > 0.1


@pytest.mark.parametrize(
    ("options", "n_own"), [({"cv": 4}, 5), ({"cv": 0.3}, 2), ({"cv": 0.3, "refit": False}, 1)]
)
def test_each_fit_of_the_base_gets_further_fits_on_its_rows(options, n_own, data):
    X, y, *_ = data
    RandomBayes.reset()
    clf = with_fits(RandomBayes(), 2, **options).fit(X, y)
    seeds, rows, _ = zip(*RandomBayes.fits)
    assert len(rows) == 3 * n_own
    for number in range(0, len(rows), 3):
        assert rows[number] == rows[number + 1] == rows[number + 2]
    assert len(set(seeds)) == 3
    assert clf.estimator_.random_state == seeds[0]
    assert [fitted.random_state for fitted in clf.observers_[0].estimators_] == [*seeds[1:3]]
    plain = clone(clf).set_params(meta_features="confidence").fit(X, y)
    assert_array_equal(plain.predict_proba(X), clf.predict_proba(X))
    assert_array_equal(plain.oof_error_, clf.oof_error_)


@pytest.mark.parametrize("base", [RandomBayes(0), make_pipeline(StandardScaler(), RandomBayes(1))])
@pytest.mark.parametrize("random_state", [None, 0, 1])
def test_seeds_of_the_user_are_replaced_in_further_fits(base, random_state, data):
    X, y, *_ = data
    RandomBayes.reset()
    clf = with_fits(base, 3, random_state=random_state, cv=2).fit(X, y)
    seeds = [seed for seed, *_ in RandomBayes.fits]
    assert len({*seeds}) == 4
    assert clf.observers_[0].differs_


@pytest.mark.parametrize("as_option", [True, False])
def test_a_fitted_base_is_refused_before_anything_is_computed(as_option, data):
    X, y, X_test, y_test = data
    base = SpiedBayes().fit(X, y)
    SpiedBayes.reset()
    clf = with_fits(base, cv="prefit") if as_option else with_fits(FrozenEstimator(base))
    match = "OtherFits in meta_features fits SpiedBayes again .* unfitted base with all rows"
    with pytest.raises(ValueError, match=match):
        clf.fit(X_test, y_test)
    assert not SpiedBayes.passes
    assert not SpiedBayes.fits


@pytest.mark.parametrize("n_fits", [0, 1.0, True, "1", None])
def test_a_number_of_fits_that_is_none_is_refused_before_any_fit(n_fits, data):
    SpiedBayes.reset()
    with pytest.raises(ValueError, match=r"n_fits of OtherFits must be an integer of at least 1"):
        with_fits(SpiedBayes(), n_fits).fit(*data[:2])
    assert not SpiedBayes.fits


@pytest.mark.parametrize(
    "base",
    [
        GaussianNB(),
        LogisticRegression(max_iter=2000),
        make_pipeline(StandardScaler(), KNeighborsClassifier()),
        HistGradientBoostingClassifier(max_iter=5),  # random numbers from 10,000 rows on
    ],
    ids=lambda base: type(base).__name__,
)
@pytest.mark.parametrize("refit", [True, False])
def test_a_base_without_random_numbers_gives_a_warning(base, refit, data):
    clf = with_fits(base, 2, cv=2 if refit else 0.3, refit=refit)
    name = type(getattr(base, "steps", [(0, base)])[-1][1]).__name__
    match = f"predict the same as the base for each training row: another seed .* change {name},"
    with pytest.warns(UserWarning, match=match) as caught:
        clf.fit(*data[:2])
    assert len(caught) == 1
    assert clf.observers_[0].differs_ is False


def test_further_fits_are_cached_one_by_one(tmp_path, data):
    X, y, *_ = data

    def n_new_fits(n_fits):
        RandomBayes.reset()
        meta_features = ["confidence", OtherFits(n_fits)] if n_fits else "confidence"
        clf = with_fits(RandomBayes(), meta_features=meta_features, memory=tmp_path)
        clf.fit(X, y)
        n_new = len(RandomBayes.fits)
        fresh = clone(clf).set_params(memory=None).fit(X, y)
        assert_array_equal(clf.oof_error_proba_, fresh.oof_error_proba_)
        return n_new

    assert [n_new_fits(n_fits) for n_fits in (0, 1, 1, 2, 3, 0, 2)] == [5, 5, 0, 5, 5, 0, 0]


def test_weights_and_groups_are_those_of_the_fit_beside_which_they_are(data):
    X, y, *_ = data
    weight, groups = np.random.default_rng(0).uniform(1, 2, size=400), np.arange(400) // 4
    RandomBayes.reset()
    with_fits(RandomBayes()).fit(X, y, sample_weight=weight, groups=groups)
    for (_, rows, own), (_, other_rows, other) in zip(
        RandomBayes.fits[::2], RandomBayes.fits[1::2]
    ):
        assert_array_equal(own, other)
        assert_array_equal(own, weight[np.isin(X[:, 0], rows)])
        assert rows == other_rows


def test_folds_in_processes_give_the_serial_result(data):
    X, y, X_test, _ = data
    serial, parallel = (
        with_fits(RandomForestClassifier(5), n_jobs=n_jobs).fit(X, y) for n_jobs in (1, 2)
    )
    assert_array_equal(serial.predict_error_proba(X_test), parallel.predict_error_proba(X_test))
    assert_array_equal(serial.oof_error_proba_, parallel.oof_error_proba_)


def test_a_pickled_classifier_keeps_its_further_fits(data):
    X, y, X_test, _ = data
    clf = with_fits(RandomForestClassifier(5), cv=2).fit(X, y)
    loaded = pickle.loads(pickle.dumps(clf))
    assert_array_equal(loaded.predict_error_proba(X_test), clf.predict_error_proba(X_test))
    assert_allclose(
        [*clf.predict_error_proba(X_test[:3]), *clf.predict_error_proba(X_test[3:6])],
        clf.predict_error_proba(X_test[:6]),
    )
    assert not hasattr(clone(clf).meta_features[1], "estimators_")
    assert not hasattr(clf.meta_features[1], "estimators_")


@pytest.mark.parametrize(
    "base",
    [
        GridSearchCV(RandomForestClassifier(5), {"max_depth": [2, 4]}, cv=2),
        make_pipeline(StandardScaler(), RandomForestClassifier(5)),
    ],
)
def test_a_search_and_a_pipeline_are_fitted_as_a_whole(base, data):
    X, y, X_test, y_test = data
    clf = with_fits(base, cv=2).fit(X, y)
    (other,) = clf.observers_[0].estimators_
    assert type(other) is type(base)
    labels, error_proba = clf.predict_with_error(X_test)
    assert roc_auc_score(labels != y_test, error_proba) > 0.65
    parts = clf.explain_error(X_test)
    assert "offset: vote of OtherFits" in parts.names
    assert "OtherFits: log-odds of further fit 1 - own" in parts.names
    assert_allclose(parts.contributions.sum(axis=1) + parts.base_value, logit(error_proba))


def test_labels_that_are_not_the_most_probable_class_are_those_described(data):
    class Second(RandomForestClassifier):
        def predict(self, X):
            return self.classes_[np.argsort(self.predict_proba(X), axis=1)[:, -2]]

    X, y, X_test, _ = data
    clf = with_fits(Second(5, max_depth=3), cv=2)
    clf.set_params(estimator=make_pipeline(clf.estimator)).fit(X, y)
    own = clf.predict_proba(X_test)
    other = clf.observers_[0].estimators_[0].predict_proba(X_test)
    label = clf.predict(X_test)
    features = clf.observers_[0].observe(clf.estimator_, X_test)
    assert_allclose(features[:, 0], log_odds((own + other) / 2, label), rtol=1e-5)


def test_it_works_inside_a_selective_classifier_and_no_base_is_observed_elsewhere(data):
    X, y, X_test, _ = data
    clf = with_fits(RandomForestClassifier(20, max_depth=4), cv=2)
    selective = SelectiveClassifier(clf, target_coverage=0.7, random_state=0).fit(X, y)
    assert np.mean(selective.predict(X_test) == -1) > 0.1
    meta_features = ["confidence", OtherFits()]
    with pytest.raises(ValueError, match="OtherFits in meta_features observes the base"):
        ErrorModel(meta_features=meta_features).fit(X, y, clf.fit(X, y).predict_proba(X))
    model = SelfTrainingWithMetaErr(GaussianNB(), meta_features=meta_features)
    with pytest.raises(ValueError, match="OtherFits in meta_features observes the base"):
        model.fit(X, partly_labeled(y, 100))


def test_a_further_training_that_failed_is_repeated(data):
    """Own fits have odd numbers, because each is followed by a further one."""
    X, y, *_ = data
    RandomBayes.reset()
    healthy = with_fits(RandomBayes()).fit(X, y)
    assert len(RandomBayes.fits) == 10
    RandomBayes.reset()
    clf = with_fits(RandomBayes(failing=(4, 11))).fit(X, y)
    assert len(RandomBayes.fits) == 12
    assert len({seed for seed, *_ in RandomBayes.fits}) == 3
    assert_array_equal(clf.oof_error_, healthy.oof_error_)
    assert clf.failed_folds_ == {}


def test_a_further_training_that_fails_twice_gives_a_warning(data):
    RandomBayes.reset()
    clf = with_fits(RandomBayes(failing=(10, 11)))
    with pytest.warns(UserWarning, match="further fit of RandomBayes failed twice"):
        clf.fit(*data[:2])


def test_a_fold_that_is_trained_anew_gets_further_fits_anew(data):
    X, y = np.concatenate(data[::2]), np.concatenate(data[1::2])
    RandomBayes.reset()
    base = RandomBayes(failing=(3,))
    with pytest.warns(UserWarning, match="fold 2 of 5 .* trained anew"):
        clf = with_fits(base, cv=KFold(5)).fit(X, y)
    assert clf.failed_folds_ == {2: "trained anew"}
    assert len(RandomBayes.fits) == 14
    again, further = RandomBayes.fits[10:12]
    assert again[1] == further[1]
    assert len({seed for seed, *_ in RandomBayes.fits}) == 4


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32) / 16
    return X[:500], y[:500], X[500:], y[500:]


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: make_pipeline(StandardScaler(), net)]
)
@pytest.mark.parametrize("seed", [None, 0])
def test_nets_start_from_other_weights(wrap, seed, images):
    X, y, X_test, y_test = images
    net = make_net(TinyMLP, max_epochs=8)
    state = torch.get_rng_state()
    clf = with_fits(wrap(net), cv=2, random_state=seed).fit(X, y)
    if seed is not None:
        assert torch.equal(torch.get_rng_state(), state)
    (other,) = clf.observers_[0].estimators_
    own, other = clf.predict_proba(X_test), other.predict_proba(X_test)
    assert 0.01 < np.mean(own.argmax(axis=1) != other.argmax(axis=1)) < 0.5
    labels, error_proba = clf.predict_with_error(X_test)
    assert roc_auc_score(labels != y_test, error_proba) > 0.85


@pytest.mark.parametrize(
    "wrap", [lambda net: net, lambda net: make_pipeline(StandardScaler(), net)]
)
def test_nets_of_a_module_instance_start_from_the_same_weights(wrap, images):
    X, y, *_ = images
    clf = with_fits(wrap(make_net(TinyMLP(), max_epochs=2)), cv=0.5, refit=False)
    match = r"pass the module class, NeuralNetClassifier\(TinyMLP, module__<argument>"
    with pytest.warns(UserWarning, match=match) as caught:
        clf.fit(X, y)
    assert "subsample" not in str(caught[0].message)


class FailsInTraining(Callback):
    """Set the last layer of some trainings to 0, so that the net predicts class 0."""

    failing, n_trainings = (), 0

    def on_train_end(self, net, **kwargs):
        type(self).n_trainings += 1
        if self.n_trainings in self.failing:
            with torch.no_grad():
                net.module_.layers[-1].weight.zero_()
                net.module_.layers[-1].bias.zero_()


def test_a_net_that_failed_is_trained_again(images):
    X, y, *_ = images
    FailsInTraining.failing, FailsInTraining.n_trainings = (4, 7), 0
    net = make_net(TinyMLP, max_epochs=6, callbacks=[FailsInTraining])
    clf = with_fits(net, cv=2).fit(X, y)
    assert FailsInTraining.n_trainings == 8
    assert np.mean(clf.observers_[0].estimators_[0].predict(X) == y) > 0.6


def test_checkpoints_of_the_user_are_those_of_the_deployed_net(tmp_path, images):
    X, y, *_ = images
    callback = Checkpoint(dirname=str(tmp_path), monitor=None, f_params="weights.pt")
    net = make_net(TinyMLP, max_epochs=1, callbacks=[callback])
    clf = with_fits(net, cv=2).fit(X, y)
    saved = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert torch.equal(saved["layers.0.weight"], clf.estimator_.module_.layers[0].weight)


@pytest.mark.parametrize("labels", [np.arange(10), np.array(list("abcdefghij"))])
def test_a_class_that_a_part_lacks_has_no_probability_in_further_fits(labels, images):
    X, y, *_ = images
    test = np.flatnonzero((y == 3) | (np.arange(500) % 5 == 0))
    splits = [(np.setdiff1d(np.arange(500), test), test)]
    net = make_net(TinyMLP, max_epochs=4)
    clf = with_fits(net, cv=splits, refit=False).fit(X, labels[y])
    (other_fits,) = clf.observers_
    predicted = other_fits._predict(other_fits.estimators_[0], X)
    assert not predicted.proba[:, 3].any()
    assert_allclose(predicted.proba.sum(axis=1), 1, rtol=1e-5)


class BesideNeighbours:
    """An observer of the user: neighbours that are fitted on the rows of the clone."""

    def __init__(self):
        self.share_seen = []

    def fit_beside(self, fit):
        assert fit.classes.tolist() == [0, 1, 2]
        self.neighbours_ = KNeighborsClassifier(1).fit(fit.X, fit.y)
        return self

    def observe(self, estimator, X):
        near, _ = self.neighbours_.kneighbors(X, 1)
        self.share_seen.append(np.mean(near == 0))
        return near[:, 0]


def test_an_observer_of_the_user_is_fitted_beside_each_clone(data):
    X, y, *_ = data
    observer = BesideNeighbours()
    clf = with_fits(GaussianNB(), meta_features=["confidence", observer]).fit(X, y)
    assert not observer.share_seen
    assert not hasattr(observer, "neighbours_")
    assert clf.observers_[0].share_seen == []
    clf.predict_error_proba(X)
    assert clf.observers_[0].share_seen == [1]
    other = clone(clf).set_params(cv=0.5, refit=False).fit(X, y)
    assert other.observers_[0].share_seen == [0]


def test_fit_beside_that_returns_nothing_is_named(data):
    class ReturnsNothing(BesideNeighbours):
        def fit_beside(self, fit):
            pass

    clf = with_fits(GaussianNB(), meta_features=["confidence", ReturnsNothing()])
    with pytest.raises(TypeError, match=r"fit_beside of ReturnsNothing .* got None. Return self"):
        clf.fit(*data[:2])
