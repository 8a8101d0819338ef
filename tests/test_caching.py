"""The cache of base fits: what its key is made of."""

import importlib
import sys
from functools import partial

import numpy as np
import pytest
from _bases import SpiedBayes
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._base_estimator import caching
from metaerr_sklearn._base_estimator.caching import source_of

SOURCE = """
from sklearn.linear_model import LogisticRegression

class Base(LogisticRegression):
    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::{step}]

class Observer:
    def observe(self, estimator, X):
        return {step} * X[:, {column}]

def view(X):
    return X[:, {column}:]
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Write a module of the user, and import it anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def edited(**values):
        (tmp_path / "edited_by_user.py").write_text(SOURCE.format(**values))
        sys.modules.pop("edited_by_user", None)
        importlib.invalidate_caches()
        return importlib.import_module("edited_by_user")

    return edited


@pytest.mark.parametrize(
    "options",
    {
        "base": lambda user: {"estimator": user.Base()},
        "in a pipeline": lambda user: {"estimator": make_pipeline(StandardScaler(), user.Base())},
        "in a wrapper": lambda user: {"estimator": BaggingClassifier(user.Base(), 3)},
        "observer": lambda user: {"meta_features": ["confidence", user.Observer()]},
        "function": lambda user: {
            "estimator": make_pipeline(FunctionTransformer(user.view), LogisticRegression())
        },
    }.values(),
)
def test_code_of_the_user_that_was_edited_is_fitted_anew(options, edited, tmp_path, noisy_data):
    def fit(memory, **values):
        clf = MetaErrorClassifier(LogisticRegression(), GaussianNB(), cv=3, random_state=0)
        clf.set_params(memory=memory, **options(edited(**values)))
        return clf.fit(*noisy_data).oof_error_proba_

    memory = tmp_path / "cache"
    first = fit(memory, step=1, column=0)
    fresh = fit(None, step=-1, column=2)
    assert not np.array_equal(first, fresh)
    assert_array_equal(fit(memory, step=-1, column=2), fresh)


def test_another_version_of_the_package_fits_anew(monkeypatch, tmp_path, noisy_data):
    clf = MetaErrorClassifier(GaussianNB(), "confidence", memory=tmp_path, cv=2, random_state=0)
    results = "**/output.pkl"
    counts = []
    for version in ("1.0", "1.0", "1.1"):
        monkeypatch.setattr(caching, "__version__", version)
        clf.fit(*noisy_data)
        counts.append(len(list(tmp_path.glob(results))))
    assert counts == [3, 3, 6]


def test_source_of_the_users_own_code_alone():
    assert source_of(make_pipeline(StandardScaler(), BaggingClassifier())) == []
    (own,) = source_of([GaussianNB(), {"a": partial(_square, 3)}])
    assert own.startswith("def _square(X)")


def _square(X):
    return X**2


class ObservesBy:
    def __init__(self, view):
        self.view = view

    def observe(self, estimator, X):
        return self.view(X)


@pytest.mark.parametrize("options", [{"cv": 3}, {"cv": 0.3, "refit": False}])
@pytest.mark.usefixtures("small_second_opinion")
def test_other_meta_features_need_no_new_fit(options, tmp_path, noisy_data):
    """Observers are not cached: they may hold what cannot be pickled."""
    X, y = noisy_data
    clf = MetaErrorClassifier(SpiedBayes(), "logistic", memory=tmp_path, random_state=0, **options)
    SpiedBayes.reset()
    clf.fit(X, y)
    assert len(SpiedBayes.fits) == (4 if clf.refit else 1)
    SpiedBayes.reset()
    for meta_features in (
        "confidence",
        ["confidence", ObservesBy(lambda X: X[:, 0])],
        ["confidence", ObservesBy(lambda X: X[:, :2])],
    ):
        again = clone(clf).set_params(meta_features=meta_features).fit(X, y)
        fresh = clone(again).set_params(memory=None)
        assert not SpiedBayes.fits
        assert_array_equal(again.oof_error_proba_, fresh.fit(X, y).oof_error_proba_)
        SpiedBayes.reset()


@pytest.mark.parametrize("what", ["estimator", "X"])
def test_what_the_cache_cannot_pickle_is_named_before_any_fit(what, tmp_path, noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(NeverFitted(), "logistic", memory=tmp_path, cv=2)
    function = lambda X: X[:, 0]  # noqa: E731
    if what == "estimator":
        clf.set_params(estimator=make_pipeline(FunctionTransformer(function), NeverFitted()))
    else:
        X = np.array([[*row, function] for row in X], dtype=object)
    with pytest.raises(ValueError, match=rf"memory= .* from {what}, .* pickled.*memory=None"):
        clf.fit(X, y)


class NeverFitted(GaussianNB):
    def fit(self, X, y, sample_weight=None):
        raise AssertionError
