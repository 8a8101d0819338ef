"""The offset: the candidates for its weights, and the votes of observers."""

import pickle

import numpy as np
import pytest
from _bases import FirstColumn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import ErrorModel, MetaErrorClassifier
from metaerr_sklearn.confidence import max_probability
from metaerr_sklearn.error_model._offset import CalibratedOffset


def fit_offset(terms, is_error):
    folds = [
        (np.flatnonzero(np.arange(len(is_error)) % 5 != k), np.arange(k, len(is_error), 5))
        for k in range(5)
    ]
    offset = CalibratedOffset()
    offset.fit(terms, is_error, np.ones(len(is_error)), folds)
    return offset


def log_odds_and_noise(n_samples=1000, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(-1, 2, size=n_samples)
    return score, rng.normal(size=n_samples), rng.random(n_samples) < expit(score)


@pytest.mark.parametrize(
    ("names", "weights"),
    [
        (["confidence"], [1]),
        (["confidence", "second_opinion"], [0.5, 0.5]),
        (["confidence", "vote of A"], [0, 1]),
        (["confidence", "vote of A", "vote of B"], [0, 0.5, 0.5]),
        (["confidence", "second_opinion", "vote of A"], [0, 0.25, 0.75]),
        (["confidence", "second_opinion", "vote of A", "vote of B"], [0, 0.25, 0.375, 0.375]),
    ],
)
def test_first_weights(names, weights):
    """All votes together count as one term."""
    score, _, is_error = log_odds_and_noise()
    offset = CalibratedOffset()
    offset.fit_level(dict.fromkeys(names, score), is_error, np.ones(len(score)))
    assert offset._term_weights == dict(zip(names, weights))


@pytest.mark.parametrize(
    ("good", "weights"),
    [
        ({"confidence"}, [1, 0, 0]),
        ({"vote of A"}, [0, 0, 1]),
        ({"confidence", "second_opinion"}, [0.5, 0.5, 0]),
        ({"confidence", "vote of A"}, [0.5, 0, 0.5]),
    ],
)
def test_noise_gets_no_weight(good, weights):
    """Good terms have independent errors, so that their mean is better than each of them."""
    rng = np.random.default_rng(1)
    score, _, is_error = log_odds_and_noise(4000)
    names = ["confidence", "second_opinion", "vote of A"]
    terms = {
        name: score + rng.normal(size=4000) if name in good else 3 * rng.normal(size=4000)
        for name in names
    }
    assert list(fit_offset(terms, is_error)._term_weights.values()) == weights


@pytest.mark.parametrize(("n_samples", "weights"), [(100, [0, 1]), (10_000, [1, 0])])
def test_other_weights_must_be_better_by_one_standard_error(n_samples, weights):
    """The vote is the confidence with noise, which 100 rows cannot show, but 10,000 can."""
    score, noise, is_error = log_odds_and_noise(n_samples, seed=3)
    terms = {"confidence": score, "vote of A": score + 0.5 * noise}
    assert list(fit_offset(terms, is_error)._term_weights.values()) == weights


def test_the_level_is_that_of_the_first_weights():
    score, noise, is_error = log_odds_and_noise()
    terms = {"confidence": noise, "second_opinion": score, "vote of A": 2 * score}
    offset = CalibratedOffset()
    level = offset.fit_level(terms, is_error, np.ones(len(score)))
    assert_allclose(np.diff(level), np.diff(1.75 * score))
    assert_allclose(expit(level).mean(), is_error.mean(), atol=1e-3)
    assert offset.used_terms == "second opinion and vote of A"


class Expert:
    """Vote by the column that the base cannot use, and return one further column."""

    votes = True

    def observe(self, estimator, X):
        is_right = 4 * estimator.predict(X) - 2
        return np.column_stack([X[:, 1] * is_right, X[:, 1]])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 2))
    return X, (rng.random(900) < expit(X[:, 0] + 2 * X[:, 1])).astype(int)


@pytest.mark.parametrize("wrap", [lambda base: base, FrozenEstimator])
def test_a_vote_of_an_observer_counts(table, wrap):
    X, y = table
    base = wrap(FirstColumn().fit(X[:100], y[:100]))
    plain = MetaErrorClassifier(base, "confidence", meta_features="confidence", random_state=0)
    plain.fit(X[100:500], y[100:500])
    clf = MetaErrorClassifier(
        base, "confidence", meta_features=["confidence", Expert()], random_state=0
    ).fit(X[100:500], y[100:500])
    is_error = clf.predict(X[500:]) != y[500:]
    error_proba = clf.predict_error_proba(X[500:])
    assert roc_auc_score(is_error, error_proba) > 0.1 + roc_auc_score(
        is_error, plain.predict_error_proba(X[500:])
    )
    contributions, names, base_value = clf.explain_error(X[500:])
    assert_allclose(contributions.sum(axis=1) + base_value, logit(error_proba))
    assert names[:2].tolist() == ["offset: confidence", "offset: vote of Expert"]
    assert contributions[:, 1].std() > 0.5
    again = pickle.loads(pickle.dumps(clf))
    assert_array_equal(again.predict_error_proba(X[500:]), error_proba)


def test_votes_of_one_class_of_observers_have_names_of_their_own(table):
    X, y = table
    clf = MetaErrorClassifier(
        FirstColumn(), "logistic", meta_features=[Expert(), "neighbors", Expert()], random_state=0
    ).fit(X[:400], y[:400])
    weights = clf.error_model_._cascade.full._offset._term_weights
    assert list(weights) == ["confidence", "vote of Expert 1", "vote of Expert 2"]
    assert weights["vote of Expert 1"] == weights["vote of Expert 2"] > 0


class Certain:
    votes = True

    def observe(self, estimator, X):
        return np.where(np.arange(len(X)) % 2, np.inf, -np.inf)


class Silent:
    votes = True

    def observe(self, estimator, X):
        return np.full(len(X), np.nan)


class Empty(Silent):
    def observe(self, estimator, X):
        return np.empty((len(X), 0))


def test_votes_are_numbers(table):
    """Infinite log-odds become large ones, because probabilities of 0 and 1 are common."""
    X, y = table
    features = ["confidence", Certain()]
    clf = MetaErrorClassifier(FirstColumn(), "logistic", meta_features=features, random_state=0)
    assert np.isfinite(clf.fit(X, y).predict_error_proba(X)).all()
    for observer, got in [(Silent(), "NaN"), (Empty(), "no column")]:
        clf.set_params(meta_features=["confidence", observer])
        with pytest.raises(ValueError, match=f"has votes=True: the first column .* got {got}. Ret"):
            clf.fit(X, y)


def test_few_errors_take_the_level_of_the_vote(table):
    X, y = table
    base = FirstColumn().fit(X[:100], y[:100])
    wrong = base.predict(X) != y
    rows = np.r_[np.flatnonzero(wrong)[:3], np.flatnonzero(~wrong)[:200]]
    clf = MetaErrorClassifier(
        FrozenEstimator(base), meta_features=["confidence", Expert()], random_state=0
    )
    with pytest.warns(UserWarning, match="that of vote of Expert alone, set to the level"):
        clf.fit(X[rows], y[rows])
    error_proba = clf.predict_error_proba(X)
    assert roc_auc_score(wrong, error_proba) > 0.8
    assert_allclose(error_proba[rows].mean(), 3.5 / 204, rtol=1e-6)


@pytest.fixture(scope="module")
def images(digits):
    """Images, their labels, and two nets that were fitted on the first 200."""
    pytest.importorskip("torch")
    from _nets import TinyCNN, make_net

    X, y = np.concatenate(digits[:2]), np.concatenate(digits[2:])
    X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    y = np.unique(y, return_inverse=True)[1]
    return X, y, *(make_net(TinyCNN).fit(X[:200], y[:200]) for _ in range(2))


def flatten(images):
    return images.reshape(len(images), -1)


def same(X):
    return X


def settings(case, net, other):
    """Return a base, and how it is represented."""
    from metaerr_sklearn.neural import TorchEmbedding

    return {
        "default": (net, "auto"),
        "layer": (net, TorchEmbedding(net, layer="features.0")),
        "frozen twice": (FrozenEstimator(net), TorchEmbedding(FrozenEstimator(net))),
        "pipeline": (
            make_pipeline(FunctionTransformer(same), net),
            make_pipeline(FunctionTransformer(same), TorchEmbedding(net)),
        ),
        "pixels": (net, FunctionTransformer(flatten)),
        "other net": (net, TorchEmbedding(other)),
    }[case]


@pytest.mark.usefixtures("small_second_opinion")
@pytest.mark.parametrize(
    ("case", "is_term"),
    [
        ("default", False),
        ("layer", False),
        ("frozen twice", False),
        ("pipeline", False),
        ("pixels", True),
        ("other net", True),
    ],
)
def test_a_second_opinion_on_a_hidden_layer_of_the_base_is_no_term(case, is_term, images):
    """It is wrong together with the base on altered images, and stays a meta-feature."""
    X, y, *nets = images
    base, representation = settings(case, *nets)
    clf = MetaErrorClassifier(
        FrozenEstimator(base),
        "logistic",
        meta_features=["confidence", "second_opinion"],
        representation=representation,
        random_state=0,
    ).fit(X[200:600], y[200:600])
    terms = list(clf.error_model_._cascade.full._offset._term_weights)
    assert terms == ["confidence", *["second_opinion"] * is_term]
    assert "second_logit" in clf.meta_feature_names_
    contributions, names, base_value = clf.explain_error(X[600:])
    assert ("offset: second_opinion" in names) == is_term
    error_proba = clf.predict_error_proba(X[600:])
    assert_allclose(expit(contributions.sum(axis=1) + base_value), error_proba, rtol=1e-5)


@pytest.mark.usefixtures("small_second_opinion")
@pytest.mark.parametrize("wrap", ["prefit", "hold-out"])
def test_without_second_opinion_the_order_is_that_of_the_confidence(wrap, images):
    X, y, net, _ = images
    base, cv = (FrozenEstimator(net), "prefit") if wrap == "prefit" else (net, 0.5)
    clf = MetaErrorClassifier(
        base, "confidence", meta_features="one_pass", cv=cv, refit=False, random_state=0
    ).fit(X[200:600], y[200:600])
    confidence = max_probability(clf.predict_proba(X[600:]), log_odds=True)
    order = np.argsort(confidence)
    assert (np.diff(clf.predict_error_proba(X[600:])[order]) <= 1e-9).all()


@pytest.mark.usefixtures("small_second_opinion")
def test_an_error_model_without_a_base_keeps_the_term(images):
    """It cannot see whether the net of the representation made the predictions."""
    from metaerr_sklearn.neural import TorchEmbedding

    X, y, net, _ = images
    X, y = X[200:600], y[200:600]
    model = ErrorModel("logistic", representation=TorchEmbedding(net), random_state=0)
    model.fit(X, y, net.predict_proba(X))
    assert "second_opinion" in model._cascade.full._offset._term_weights
