"""Novelty: rare on rows of the same source, high on foreign rows of every kind."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import ErrorModel, MetaErrorClassifier
from metaerr_sklearn.accuracy_estimation import warn_if_novel

N_TRAIN = 800


def fitted(X, n_train=N_TRAIN, **params):
    """Fit on noise: the novelty depends on X alone."""
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), n_train)
    blocks = ["confidence", "neighbors"]
    model = ErrorModel("logistic", meta_features=blocks, random_state=0, **params)
    return model.fit(X, rng.integers(3, size=n_train), proba)


def share_of_novel(model, X):
    novelty = model.predict_novelty(X)
    assert 0 <= novelty.min() <= novelty.max() <= 1
    return (novelty > 0.99).mean()


def images(rng, n_samples):
    X = load_digits().images.astype(np.float32) / 16
    return X[rng.permutation(len(X))[:n_samples], None]


def texts(rng, n_samples, word="word"):
    chance = 1 / np.arange(1, 1001)
    numbers = rng.choice(1000, (n_samples, 30), p=chance / chance.sum())
    return [" ".join(f"{word}{number}" for number in row) for row in numbers]


def counts(rng, n_samples, first=0):
    columns = first + np.minimum(rng.zipf(1.5, (n_samples, 20)), 999).ravel()
    rows = np.repeat(np.arange(n_samples), 20)
    return sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n_samples, 2000))


def test_few_rows_of_the_same_source_are_novel():
    rng = np.random.default_rng(0)
    shares = [
        share_of_novel(fitted(images(rng, 1797)[:N_TRAIN]), images(rng, 900)),
        share_of_novel(fitted(texts(rng, N_TRAIN)), texts(rng, 1000)),
        share_of_novel(fitted(counts(rng, N_TRAIN)), counts(rng, 1000)),
        share_of_novel(fitted(rng.normal(size=(N_TRAIN, 300))), rng.normal(size=(1000, 300))),
        share_of_novel(fitted(rng.normal(size=(N_TRAIN, 5))), rng.normal(size=(1000, 5))),
    ]
    assert max(shares) < 0.04


@pytest.mark.parametrize("n_train", [100, 800])
def test_foreign_images_are_novel(n_train):
    """A hidden layer or a projection cannot see what lies outside of it."""
    rng = np.random.default_rng(0)
    X = images(rng, n_train)
    model = fitted(X, n_train)
    assert share_of_novel(model, rng.random((200, 1, 8, 8)).astype(np.float32)) > 0.95
    assert share_of_novel(model, 1 - images(rng, 200)) > 0.95
    assert share_of_novel(model, np.zeros((20, 1, 8, 8), np.float32)) == 1  # a blank image


def test_foreign_texts_and_sparse_rows_are_novel():
    rng = np.random.default_rng(0)
    assert share_of_novel(fitted(texts(rng, N_TRAIN)), texts(rng, 100, word="wort")) == 1
    assert share_of_novel(fitted(counts(rng, N_TRAIN)), counts(rng, 100, first=1000)) == 1


def test_pixels_are_compared_beside_a_representation_that_ignores_them():
    """The representation of the user, like a hidden layer, gives one number for each image."""
    rng = np.random.default_rng(0)
    means = FunctionTransformer(lambda X: X.reshape(len(X), -1).mean(axis=1, keepdims=True))
    model = fitted(images(rng, N_TRAIN), representation=means)
    shuffled = rng.permuted(images(rng, 300).reshape(300, -1), axis=1).reshape(-1, 1, 8, 8)
    assert share_of_novel(model, shuffled) > 0.8
    assert share_of_novel(model, images(rng, 900)) < 0.04


def test_rows_of_new_groups_are_not_novel():
    """Frames of one video are nearly equal: halves that share videos would hide the spread."""
    rng = np.random.default_rng(0)
    centre = rng.normal(size=(100, 300))

    def frames(groups):
        return centre[groups] + 0.05 * rng.normal(size=(len(groups), 300))

    groups = np.repeat(np.arange(60), 20)
    X, y = frames(groups), rng.integers(2, size=len(groups))
    proba = rng.dirichlet(np.ones(2), len(y))
    model = ErrorModel("logistic", meta_features=["confidence", "neighbors"], random_state=0)
    model.fit(X, y, proba, groups=groups)
    assert share_of_novel(model, frames(np.repeat(np.arange(60, 100), 20))) < 0.1


def test_classifier_gives_the_novelty_of_its_error_model(noisy_data):
    X, y = noisy_data
    base = FrozenEstimator(LogisticRegression().fit(X[:100], y[:100]))
    clf = MetaErrorClassifier(base, "logistic", random_state=0).fit(X[100:300], y[100:300])
    novelty = clf.predict_novelty(X[300:])
    assert_array_equal(novelty, clf.error_model_.predict_novelty(X[300:]))
    assert clf.estimate_accuracy(X[300:]).novelty == (novelty > 0.99).mean()
    assert clf.predict_novelty(X[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"meta_learner": None}, "meta_learner=None learns nothing"),
        ({"meta_features": "confidence"}, "no meta-features of neighbours. Fit with"),
        ({"representation": None}, "representation=None. Fit with"),
    ],
)
def test_novelty_that_was_not_learned_is_an_error(noisy_data, params, match):
    clf = MetaErrorClassifier(LogisticRegression(), random_state=0, **params).fit(*noisy_data)
    with pytest.raises(ValueError, match=match):
        clf.predict_novelty(noisy_data[0])


@pytest.mark.parametrize(
    ("n_novel", "n_samples", "n_known"), [(9, 100, 1000), (1, 5, 1000), (13, 100, 30)]
)
def test_no_warning_of_novel_rows_that_chance_explains(n_novel, n_samples, n_known):
    warn_if_novel(np.arange(n_samples) < n_novel, n_known)


@pytest.mark.parametrize(
    ("n_novel", "n_samples", "n_known"), [(10, 100, 1000), (2, 5, 100), (20, 100, 30)]
)
def test_warning_of_novel_rows(n_novel, n_samples, n_known):
    with pytest.warns(UserWarning, match=f"{n_novel / n_samples:.0%} of the {n_samples} rows"):
        warn_if_novel(np.arange(n_samples) < n_novel, n_known)
    warn_if_novel(np.full(n_samples, np.nan), n_known)
