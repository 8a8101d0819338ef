"""The cache of base fits and meta-features: what its keys are made of."""

import importlib
import pickle
import sys
from collections import Counter
from functools import partial

import numpy as np
import pytest
from _bases import SpiedBayes
from joblib import Memory
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._base_estimator import caching
from metaerr_sklearn._base_estimator.caching import Kept, Recent
from metaerr_sklearn._utils import limits
from metaerr_sklearn._utils.rows import take_rows
from metaerr_sklearn.error_model._offset import CalibratedOffset
from metaerr_sklearn.meta_features._neighbors import NeighborsBlock
from metaerr_sklearn.meta_features._second_opinion import SecondOpinionBlock
from metaerr_sklearn.representation import NumericRepresentation

pytestmark = pytest.mark.usefixtures("small_second_opinion")
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
    n_kept = []
    for version in ("1.0", "1.0", "1.1"):
        monkeypatch.setattr(caching, "__version__", version)
        clf.fit(*noisy_data)
        n_kept.append(len(list(tmp_path.glob("**/output.pkl"))))
    # Three fits, predictions of two folds, representation, its rows, neighbours, second opinion,
    # offset, novelty.
    assert n_kept == [11, 11, 22]


class ObservesBy:
    def __init__(self, view):
        self.view = view

    def observe(self, estimator, X):
        return self.view(X)


@pytest.mark.parametrize("options", [{"cv": 3}, {"cv": 0.3, "refit": False}])
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


@pytest.fixture
def n_described(monkeypatch):
    """Count how often costly blocks are fitted, and representations."""
    counts = Counter()

    def counted(kind, method):
        original = getattr(kind, method)

        def count_and_call(self, *args):
            counts[kind.__name__] += 1
            return original(self, *args)

        return count_and_call

    for kind, method in (
        (NeighborsBlock, "fit_transform"),
        (SecondOpinionBlock, "fit_transform"),
        (NumericRepresentation, "fit_without_warning"),
        (CalibratedOffset, "fit"),
    ):
        monkeypatch.setattr(kind, method, counted(kind, method))
    monkeypatch.setattr(SecondOpinionBlock, "n_estimators", 20)
    return counts


def outputs(clf, X_test):
    labels, error_proba = clf.predict_with_error(X_test)
    return {
        "labels": labels,
        "error_proba": error_proba,
        "oof": clf.oof_error_proba_,
        "novelty": clf.predict_novelty(X_test),
        "proba": clf.predict_proba(X_test),
        "names": clf.meta_feature_names_,
    }


def assert_same_outputs(clf, other, X_test):
    expected = outputs(other, X_test)
    for name, values in outputs(clf, X_test).items():
        assert_array_equal(values, expected[name], err_msg=name)


LEARNERS = ["auto", "logistic", "lightgbm", "confidence", GaussianNB()]


def table(rng, X):
    return X


def frame(rng, X):
    pd = pytest.importorskip("pandas")
    data = pd.DataFrame(X, columns=list("abcdef")).rename(index=lambda i: f"row {i}")
    data["g"] = rng.choice(["x", "y", None], len(X))
    return data


def texts(rng, X):
    words = np.array(["ox", "bee", "cat", "dog", "emu", "fox"])
    return [" ".join(words[row > 0]) + " " + words[i % 6] for i, row in enumerate(X)]


def images(rng, X):
    return (rng.normal(size=(len(X), 1, 16, 16)) + X[:, :1, None, None]).astype(np.float32)


def flat_numbers(X):
    return np.asarray(X)[:, :3].reshape(len(X), -1).astype(float)


def pixels(X):
    return X.reshape(len(X), -1)


BASES = {
    table: LogisticRegression(),
    frame: make_pipeline(FunctionTransformer(flat_numbers), LogisticRegression()),
    texts: make_pipeline(TfidfVectorizer(), LogisticRegression()),
    images: make_pipeline(FunctionTransformer(pixels), LogisticRegression(C=0.01)),
}


@pytest.mark.parametrize("kind", BASES)
def test_meta_features_are_computed_once_for_all_learners(kind, tmp_path, n_described, noisy_data):
    X, y = kind(np.random.default_rng(0), noisy_data[0]), noisy_data[1]
    train, test = (take_rows(X, rows) for rows in (slice(0, 300), slice(300, 400)))
    clf = MetaErrorClassifier(BASES[kind], cv=3, random_state=0)
    for learner in LEARNERS:
        clf.set_params(meta_learner=learner)
        fresh = clone(clf).fit(train, y[:300])
        n_described.clear()
        first = clone(clf).set_params(memory=tmp_path, n_jobs=1).fit(train, y[:300])
        assert not n_described or learner == "auto"
        # The number of processes is no part of the key.
        n_jobs = 2 if learner == "auto" else 1
        again = clone(clf).set_params(memory=tmp_path, n_jobs=n_jobs).fit(train, y[:300])
        assert_same_outputs(first, fresh, test)
        assert_same_outputs(again, fresh, test)


@pytest.mark.parametrize(
    "change",
    [
        {"cv": 4},
        {"random_state": 1},
        {"estimator": LogisticRegression(C=1e-3)},
        {"representation": StandardScaler()},
        {"meta_features": ["confidence", "second_opinion", "neighbors"]},
        {"cv": 0.4, "refit": False},
        {"cv": "prefit"},
        {"y": 1},
        {"X": 1},
        {"sample_weight": np.linspace(0.1, 2, 300)},
        {"groups": np.arange(300) // 2},
    ],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.parametrize("max_rows", [20_000, 200])
def test_meta_features_of_another_fit_are_not_used(
    change, max_rows, tmp_path, n_described, noisy_data, monkeypatch
):
    monkeypatch.setattr(limits, "MAX_FIT_ROWS", max_rows)
    X, y = noisy_data
    clf = MetaErrorClassifier(LogisticRegression(), "logistic", cv=3, memory=tmp_path)
    clf.set_params(random_state=0).fit(X[:300], y[:300])
    params = {name: value for name, value in change.items() if name in clf.get_params()}
    arguments = {name: value for name, value in change.items() if name not in params}
    rows = slice(arguments.pop("X", 0), None)
    X, y = X[rows][:300], np.roll(y[:300], 7 * arguments.pop("y", 0))
    if params.get("cv") == "prefit":
        params["estimator"] = FrozenEstimator(LogisticRegression().fit(*noisy_data))
    clf.set_params(**params)
    fresh = clone(clf).set_params(memory=None).fit(X, y, **arguments)
    for _ in range(2):
        n_described.clear()
        kept = clone(clf).fit(X, y, **arguments)
        assert_same_outputs(kept, fresh, noisy_data[0])
    assert not n_described


def test_rows_of_weight_0_are_part_of_the_key(tmp_path, noisy_data):
    """The fit of this base takes no weights, and the representation is of the other rows."""
    X, y = noisy_data
    X = X * np.where(np.arange(400) < 200, 1, 50)[:, None]
    clf = MetaErrorClassifier(KNeighborsClassifier(), "logistic", cv=3, random_state=0)
    for first in (0, 150):
        weight = np.ones(400)
        weight[first : first + 150] = 0
        with pytest.warns(UserWarning, match="weights are used by the error model alone"):
            fresh = clone(clf).fit(X, y, sample_weight=weight)
        with pytest.warns(UserWarning, match="weights are used by the error model alone"):
            kept = clone(clf).set_params(memory=tmp_path).fit(X, y, sample_weight=weight)
        assert_same_outputs(kept, fresh, X)


def test_rows_that_were_just_described_are_not_described_anew(
    tmp_path, noisy_data, monkeypatch, small_second_opinion
):
    X, y = noisy_data
    calls = Counter()
    for block in (NeighborsBlock, SecondOpinionBlock):

        def transform(self, rows, original=block.transform):
            calls[type(self).__name__] += 1
            return original(self, rows)

        monkeypatch.setattr(block, "transform", transform)
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=3, random_state=0, memory=tmp_path)

    def n_described(clf, X, y, rows):
        fresh = clone(clf).set_params(memory=None).fit(X, y).predict_error_proba(rows)
        fitted = clone(clf).fit(X, y)
        calls.clear()
        for loaded in (fitted, pickle.loads(pickle.dumps(fitted))):
            assert_array_equal(loaded.predict_error_proba(rows), fresh)
        return sorted(calls.values())

    train, test = slice(300), slice(300, 400)
    assert n_described(clf, X[train], y[train], X[test]) == [1, 1]
    for learner in ("confidence", GaussianNB()):
        other = clone(clf).set_params(meta_learner=learner)
        assert n_described(other, X[train], y[train], X[test]) == []
    assert n_described(clf, X[train], y[train], X[test] + 1e-3) == [1, 1]
    assert n_described(clf, X[train], y[train], X[test][::-1]) == [1, 1]
    assert n_described(clf, X[train], 1 - y[train], X[test]) == [1, 1]
    cut = clone(clf).set_params(estimator=GaussianNB(var_smoothing=0.1))
    assert n_described(cut, X[train], y[train], X[test]) == [1, 1]
    assert n_described(clf.set_params(memory=None), X[train], y[train], X[test]) == [2, 2]


def test_recent_arrays_are_read_only_and_bounded():
    recent, computed = Recent(max_bytes=100), []

    def get(number, key="key", size=5):
        def compute():
            computed.append(number)
            return np.full(size, float(number))

        return recent(compute, key, number)

    assert not get(0).flags.writeable
    assert_array_equal(get(1), np.ones(5))
    get(0)
    get(2)  # the oldest is now 1
    get(0)
    assert computed == [0, 1, 2]
    get(1)
    assert computed == [0, 1, 2, 1]
    for _ in range(2):
        get(3, size=50)
        get(4, key=None)
    assert computed[4:] == [3, 4, 3, 4]


def test_a_result_that_cannot_be_pickled_is_computed_anew(tmp_path):
    kept = Kept(Memory(tmp_path, verbose=0), 1)
    for number in range(2):
        with pytest.warns(Warning, match="Unable to cache to disk"):
            assert kept(lambda number=number: lambda: number)() == number


def test_without_a_seed_the_meta_features_are_kept(tmp_path, n_described, noisy_data):
    clf = MetaErrorClassifier(LogisticRegression(), "logistic", memory=tmp_path, cv=2)
    first = clf.fit(*noisy_data).oof_error_proba_
    n_described.clear()
    assert_array_equal(clone(clf).fit(*noisy_data).oof_error_proba_, first)
    assert not n_described


class CountsObservations:
    n_calls = 0

    def observe(self, estimator, X):
        type(self).n_calls += 1
        return X[:, 0]


@pytest.mark.parametrize("options", [{"cv": 3}, {"cv": 0.3, "refit": False}, {"cv": "prefit"}])
def test_observed_columns_are_kept(options, tmp_path, noisy_data):
    X, y = noisy_data
    base = GaussianNB()
    if options["cv"] == "prefit":
        base = FrozenEstimator(base.fit(X, y))
    observed = ["confidence", CountsObservations()]
    clf = MetaErrorClassifier(base, "logistic", meta_features=observed, memory=tmp_path, **options)
    clf.set_params(random_state=0).fit(X[:300], y[:300])
    CountsObservations.n_calls = 0
    again = clone(clf).set_params(meta_learner=GaussianNB()).fit(X[:300], y[:300])
    assert CountsObservations.n_calls == 0
    fresh = clone(again).set_params(memory=None).fit(X[:300], y[:300])
    assert_array_equal(again.oof_error_proba_, fresh.oof_error_proba_)
    assert_array_equal(again.predict_error_proba(X), fresh.predict_error_proba(X))
    CountsObservations.n_calls = 0
    clone(clf).fit(X[:299], y[:299])
    assert CountsObservations.n_calls > 0


def test_what_has_no_safe_key_is_computed_anew(tmp_path, monkeypatch):
    typed = type("Typed", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Typed", typed, raising=False)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    local = ObservesBy(lambda X: X)
    calls = []
    for value in (local, typed()):
        kept = Kept(Memory(tmp_path, verbose=0), value)
        for _ in range(2):
            kept(partial(calls.append, 1), 2)
    assert len(calls) == 4
    kept = Kept(Memory(tmp_path, verbose=0), 1)
    assert [kept(lambda value=value: value, 2) for value in range(2)] == [0, 0]
    assert kept(lambda: 5, 3) == 5
    assert kept(lambda: 6, lambda: 0) == 6
    assert Kept()(lambda: 7) == 7


def test_warnings_do_not_depend_on_the_cache(tmp_path, noisy_data):
    pd = pytest.importorskip("pandas")
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=2, random_state=0, memory=tmp_path)
    data = pd.DataFrame({"a": X[:, 0], "b": [object() for _ in X]})
    clf.set_params(estimator=make_pipeline(FunctionTransformer(first_column), GaussianNB()))
    for _ in range(2):
        with pytest.warns(UserWarning, match="Columns of X that are left out"):
            clf.fit(data, y)
    for _ in range(2):
        with pytest.warns(UserWarning, match="Errors are predicted without neighbours"):
            clf.fit([{"a": value} for value in X[:, 0]], y)


def first_column(X):
    return np.array([row["a"] for row in X] if isinstance(X, list) else X["a"])[:, None]
