"""Observers for some of the rows: which rows, their error probabilities, explanations."""

import pickle

import numpy as np
import pytest
from _bases import FirstColumn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.frozen import FrozenEstimator

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier

pytestmark = pytest.mark.usefixtures("small_second_opinion")


class Expert:
    """Vote by the column that the base cannot use, and count the rows."""

    votes = True
    n_rows = 0

    def observe(self, estimator, X):
        Expert.n_rows += len(X)
        return X[:, 1] * (4 * estimator.predict(X) - 2)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 3))
    return X, (rng.random(1500) < expit(X[:, 0] + 2 * X[:, 1])).astype(int)


BLOCKS = ["confidence", "neighbors"]


def fit(table, n_samples=500, blocks=BLOCKS, base=None, **kwargs):
    X, y = table
    clf = MetaErrorClassifier(
        FirstColumn() if base is None else base,
        meta_features=[*blocks, Expert()],
        random_state=0,
        **kwargs,
    )
    return clf.fit(X[:n_samples], y[:n_samples])


@pytest.mark.parametrize("form", ["crossfit", "prefit"])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_rows_above_the_threshold_get_the_full_model_and_no_other_row_is_observed(
    table, share, form
):
    X = table[0]
    prefit = FrozenEstimator(FirstColumn().fit(X[1000:], table[1][1000:]))
    base = prefit if form == "prefit" else None
    some, everything = fit(table, observed_share=share, base=base), fit(table, base=base)
    without = MetaErrorClassifier(some.estimator, meta_features=BLOCKS, random_state=0).fit(
        X[:500], table[1][:500]
    )
    assert everything.error_model_.observed_threshold_ is None
    threshold = some.error_model_.observed_threshold_
    is_observed = without.oof_error_proba_ >= threshold
    assert is_observed.sum() == 500 * share
    expected = np.where(is_observed, everything.oof_error_proba_, without.oof_error_proba_)
    assert_allclose(some.oof_error_proba_, expected)

    first = without.predict_error_proba(X[500:])
    is_observed = first >= threshold
    assert abs(is_observed.mean() - share) < 0.08
    expected = np.where(is_observed, everything.predict_error_proba(X[500:]), first)
    Expert.n_rows = 0
    assert_allclose(some.predict_error_proba(X[500:]), expected)
    assert Expert.n_rows == is_observed.sum()
    assert_array_equal(some.predict_with_error(X[500:])[1], some.predict_error_proba(X[500:]))
    assert_array_equal(some.predict_novelty(X[500:]), everything.predict_novelty(X[500:]))
    assert_allclose(some.estimate_accuracy(X[500:]).accuracy, 1 - expected.mean())


def test_explanations_saving_and_chunks(table, monkeypatch):
    X = table[0][500:]
    clf = fit(table, observed_share=0.3)
    error_proba = clf.predict_error_proba(X)
    contributions, names, base_value = clf.explain_error(X)
    assert_allclose(contributions.sum(axis=1) + base_value, logit(error_proba))
    assert len(set(names)) == len(names)
    explained = dict(zip(names, contributions.T))
    is_observed = explained["offset: row is observed"] != 0
    assert abs(is_observed.mean() - 0.3) < 0.08
    assert (explained["offset: vote of Expert"][~is_observed] == 0).all()
    assert explained["offset: vote of Expert"][is_observed].std() > 0.1
    certain = clf.explain_error(X[np.argsort(error_proba)[:5]])
    assert certain.names.tolist() == names.tolist()
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_error_proba(X), error_proba)
    monkeypatch.setattr("metaerr_sklearn._utils.limits.ERROR_MODEL_CHUNK", 130)
    assert_allclose(clf.predict_error_proba(X), error_proba)
    assert_allclose(clf.explain_error(X).contributions, contributions, atol=1e-9)


def test_the_share_is_that_of_new_rows_if_errors_are_sampled(monkeypatch):
    """Red if the further errors of the sample count: they have the highest error probabilities."""
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 400)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 3))
    y = (rng.random(6000) < expit(5 * X[:, 0] + 2 * X[:, 1])).astype(int)
    base = FrozenEstimator(FirstColumn().fit(X[:300], y[:300]))
    clf = fit((X[300:], y[300:]), 5700, base=base, observed_share=0.25)
    assert clf.error_model_.n_learned_rows_ > 400
    Expert.n_rows = 0
    clf.predict_error_proba(X)
    assert abs(Expert.n_rows / 6000 - 0.25) < 0.04


def test_an_observer_alone_follows_the_confidence(table):
    X, y = table
    clf = fit(table, blocks=[], observed_share=0.2)
    plain = MetaErrorClassifier(
        FirstColumn(), "confidence", meta_features="confidence", random_state=0
    ).fit(X[:500], y[:500])
    first, threshold = plain.predict_error_proba(X), clf.error_model_.observed_threshold_
    rows = first < threshold
    assert_allclose(clf.predict_error_proba(X)[rows], first[rows])
    Expert.n_rows = 0
    clf.predict_error_proba(X[rows])
    assert Expert.n_rows == 0


def test_few_errors_are_said_once(table):
    X, y = table
    base = FirstColumn().fit(X, y)
    wrong = base.predict(X) != y
    rows = np.r_[np.flatnonzero(wrong)[:3], np.flatnonzero(~wrong)[:200]]
    with pytest.warns(UserWarning, match="3 errors among 203 rows") as record:
        clf = fit((X[rows], y[rows]), base=FrozenEstimator(base), observed_share=0.1)
    assert len(record) == 1
    assert np.isfinite(clf.predict_error_proba(X)).all()


def test_inside_a_selective_classifier(table):
    X, y = table
    clf = fit(table, observed_share=0.5)
    selective = SelectiveClassifier(FrozenEstimator(clf), target_coverage=0.5, random_state=0)
    selective.fit(X[500:1000], y[500:1000])
    assert abs((selective.predict(X[1000:]) != -1).mean() - 0.5) < 0.1


def test_the_share_is_checked_before_any_fit(table):
    X, y = table
    clf = MetaErrorClassifier(FirstColumn(), observed_share=0.25)
    with pytest.raises(ValueError, match=r'Leave observed_share at "auto", or add an'):
        clf.fit(X, y)
    for share in (0, 25, -1):
        with pytest.raises(ValueError, match="observed_share"):
            clf.set_params(observed_share=share).fit(X, y)
