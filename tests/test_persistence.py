"""Pickle, joblib and skops.io: a loaded model predicts the same, and its size is bounded."""

import io
import pickle
import re
from pathlib import Path

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from _bases import partly_labeled
from numpy.testing import assert_array_equal
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn._utils.limits import MAX_FIT_ROWS
from metaerr_sklearn.confidence import NeighborAgreement, RelativeUncertainty, TrustScore

pytestmark = pytest.mark.usefixtures("small_second_opinion")

N_COLUMNS = 6
# The types that the guide lists for skops besides our own classes: compiled trees and data
# types of well-known packages. None of them runs code of the file.
PAGE = (Path(__file__).parents[1] / "docs" / "guide" / "saving.md").read_text()
TRUSTED = re.search(r"trust `metaerr_sklearn(.+?)Trust\s+no\s+other", PAGE, re.DOTALL)
WELL_KNOWN_TYPES = set(re.findall(r"`([\w.]+)`", TRUSTED.group(1)))


def noisy_rows(n_samples):
    return make_classification(
        n_samples, N_COLUMNS, n_informative=4, n_redundant=0, flip_y=0.3, random_state=0
    )


X, Y = noisy_rows(300)
Y_TEXT = np.where(Y == 1, "yes", "no")
PROBA = LogisticRegression().fit(X[:100], Y[:100]).predict_proba(X)


def of_rows(estimator):
    outputs = [estimator.predict(X), estimator.predict_error_proba(X)]
    return [*outputs, estimator.predict_proba(X)]


def wrapped(meta_learner, **params):
    base = make_pipeline(StandardScaler(), LogisticRegression())
    params = {"cv": 2, "random_state": 0, **params}
    return lambda: MetaErrorClassifier(base, meta_learner, **params).fit(X, Y_TEXT)


def as_pandas(X):
    return pytest.importorskip("pandas").DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])


def rounded_to_str(X):
    return X.round().astype(int).astype(str)


CONTAINERS = {
    "pandas-numbers": (as_pandas, StandardScaler()),
    "pandas-strings": (
        lambda X: as_pandas(rounded_to_str(X).astype(object)),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    "pandas-categories": (
        lambda X: as_pandas(rounded_to_str(X)).astype("category"),
        OneHotEncoder(handle_unknown="ignore"),
    ),
    "polars": (lambda X: pytest.importorskip("polars").from_pandas(as_pandas(X)), StandardScaler()),
    "text": (
        lambda X: [" ".join(f"word{value}" for value in row) for row in rounded_to_str(X)],
        TfidfVectorizer(),
    ),
    "csr_matrix": (sp.csr_matrix, StandardScaler(with_mean=False)),
    "csr_array": (sp.csr_array, StandardScaler(with_mean=False)),
}


def of_kind(container):
    """Return a case whose X is of another kind."""
    convert, encode = CONTAINERS[container]

    def fit():
        base = make_pipeline(encode, LogisticRegression())
        return MetaErrorClassifier(base, cv=2, random_state=0).fit(convert(X), Y_TEXT)

    def outputs(clf):
        return [*clf.predict_with_error(convert(X)), clf.explain_error(convert(X)).contributions]

    return fit, outputs


CASES = {
    **{f"MetaErrorClassifier-{name}": (wrapped(name), of_rows) for name in ("auto", "mlp", None)},
    "MetaErrorClassifier-lightgbm": (wrapped("lightgbm", n_jobs=1), of_rows),
    "MetaErrorClassifier-logistic": (wrapped("logistic", refit=False, cv=0.5), of_rows),
    "MetaErrorClassifier-confidence": (
        wrapped("confidence", meta_features=["confidence"]),
        lambda e: [*of_rows(e), e.explain_error(X).contributions],
    ),
    "MetaErrorClassifier-classifier": (wrapped(LogisticRegression()), of_rows),
    **{f"MetaErrorClassifier-{name}": of_kind(name) for name in CONTAINERS},
    "ErrorClassifier": (
        lambda: wrapped("logistic")().as_error_classifier(),
        lambda e: [e.predict(X), e.predict_proba(X)],
    ),
    "ErrorModel": (
        lambda: ErrorModel("lightgbm", cv=2, random_state=0).fit(X, Y, PROBA),
        lambda e: [e.predict_error_proba(X, PROBA), e.explain_error(X, PROBA).contributions],
    ),
    "SelectiveClassifier-risk": (
        lambda: SelectiveClassifier(LogisticRegression(), target_risk=0.6, random_state=0).fit(
            X, Y
        ),
        lambda e: [*of_rows(e), e.accepts(X)],
    ),
    "SelectiveClassifier-coverage": (
        lambda: SelectiveClassifier(
            MetaErrorClassifier(LogisticRegression(), "logistic", cv=2),
            target_coverage=0.8,
            random_state=0,
        ).fit(X, Y_TEXT),
        lambda e: [*of_rows(e), e.accepts(X)],
    ),
    "SelfTrainingWithMetaErr-few-labels": (
        lambda: SelfTrainingWithMetaErr(LogisticRegression(), random_state=0).fit(
            X, partly_labeled(Y, 60)
        ),
        of_rows,
    ),
    "SelfTrainingWithMetaErr-logistic": (
        lambda: SelfTrainingWithMetaErr(
            LogisticRegression(), meta_learner="logistic", random_state=0
        ).fit(X, partly_labeled(Y, 150)),
        of_rows,
    ),
    "SelfTrainingWithMetaErr-none": (
        lambda: SelfTrainingWithMetaErr(
            LogisticRegression(), meta_learner=None, criterion="threshold"
        ).fit(X, partly_labeled(Y, 150)),
        of_rows,
    ),
    "TrustScore": (lambda: TrustScore().fit(X, Y), lambda e: [e.score_samples(X, Y)]),
    "TrustScore-csr_matrix": (
        lambda: TrustScore().fit(sp.csr_matrix(X), Y),
        lambda e: [e.score_samples(sp.csr_matrix(X), Y)],
    ),
    "NeighborAgreement-csr_array": (
        lambda: NeighborAgreement().fit(sp.csr_array(X), Y),
        lambda e: [e.score_samples(sp.csr_array(X), Y)],
    ),
    "NeighborAgreement": (
        lambda: NeighborAgreement().fit(X, Y),
        lambda e: [e.score_samples(X, Y)],
    ),
    "RelativeUncertainty": (
        lambda: RelativeUncertainty().fit(PROBA, PROBA.argmax(axis=1) != Y),
        lambda e: [e.score_samples(PROBA)],
    ),
}


def through_pickle(estimator):
    return pickle.loads(pickle.dumps(estimator))


def through_joblib(estimator):
    file = io.BytesIO()
    joblib.dump(estimator, file, compress=1)
    file.seek(0)
    return joblib.load(file)


def through_skops(estimator):
    skops_io = pytest.importorskip("skops.io")
    data = skops_io.dumps(estimator)
    untrusted = set(skops_io.get_untrusted_types(data=data))
    foreign = {name for name in untrusted if not name.startswith("metaerr_sklearn.")}
    assert foreign <= WELL_KNOWN_TYPES, foreign - WELL_KNOWN_TYPES
    return skops_io.loads(data, trusted=sorted(untrusted))


@pytest.fixture(scope="module")
def fitted():
    """Fit each case once for all formats."""
    cache = {}

    def fit(case):
        if case not in cache:
            cache[case] = CASES[case][0]()
        return cache[case]

    return fit


# The kind of X decides which types an encoder holds: only skops.io reads types one by one.
@pytest.mark.parametrize(
    ("case", "through"),
    [
        pytest.param(case, through, marks=[pytest.mark.torch] if "mlp" in case else [])
        for case in CASES
        for through in (through_pickle, through_joblib, through_skops)
        if through is through_skops or case.removeprefix("MetaErrorClassifier-") not in CONTAINERS
    ],
)
def test_what_is_loaded_predicts_the_same_to_the_last_bit(case, through, fitted):
    estimator, outputs = fitted(case), CASES[case][1]
    loaded = through(estimator)
    assert type(loaded) is type(estimator)
    for output, expected in zip(outputs(loaded), outputs(estimator)):
        assert_array_equal(output, expected)


def test_a_loaded_classifier_can_be_fitted_anew(fitted):
    estimator = fitted("MetaErrorClassifier-logistic")
    again = through_skops(estimator).fit(X, Y_TEXT)
    assert_array_equal(again.predict_error_proba(X), estimator.predict_error_proba(X))


def size(estimator):
    return len(pickle.dumps(estimator))


def growth_per_row(fit, n_small=500, n_large=3000):
    return (size(fit(*noisy_rows(n_large))) - size(fit(*noisy_rows(n_small)))) / (n_large - n_small)


@pytest.mark.parametrize(
    "meta_learner",
    ["logistic", "lightgbm", pytest.param("mlp", marks=pytest.mark.torch), "confidence"],
)
def test_without_index_and_forest_only_the_out_of_fold_errors_grow(meta_learner):
    """One bool and one float64 per row, `oof_error_` and `oof_error_proba_`, as documented."""

    def fit(X, y):
        clf = MetaErrorClassifier(LogisticRegression(), meta_learner, cv=2, random_state=0)
        clf.set_params(meta_features="confidence").fit(X, y)
        if meta_learner == "lightgbm":  # trees are not rows
            clf.error_model_.meta_learner_.booster_ = None
        return clf

    assert growth_per_row(fit) < 10


def test_the_neighbour_index_holds_the_rows_it_needs_and_no_others():
    """Once as given, once in the tree (float32 or float64), label, error, position in the tree."""

    def fit(X, y):
        clf = MetaErrorClassifier(LogisticRegression(), "confidence", cv=2, random_state=0)
        return clf.set_params(meta_features="neighbors").fit(X, y)

    assert growth_per_row(fit) < N_COLUMNS * (4 + 8) + 60


def test_the_neighbour_index_stops_growing(monkeypatch):
    """Beyond the bound a row adds to the out-of-fold errors alone."""
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 400)
    assert MAX_FIT_ROWS == 20_000

    def fit(X, y):
        clf = MetaErrorClassifier(LogisticRegression(), "confidence", cv=2, random_state=0)
        return clf.set_params(meta_features=["confidence", "neighbors"]).fit(X, y)

    assert growth_per_row(fit) < 10


def test_a_fitted_selective_classifier_holds_no_calibration_rows():
    def fit(X, y):
        return SelectiveClassifier(LogisticRegression(), target_risk=0.6, random_state=0).fit(X, y)

    assert abs(growth_per_row(fit)) < 0.1


def test_fitted_self_training_lets_go_of_the_unlabeled_rows():
    """Labels, rounds and error probabilities of the rows, and the neighbour index, remain."""

    def fit(X, y):
        clf = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0)
        return clf.fit(X, partly_labeled(y, 60))

    attributes = 3 * 8
    index = N_COLUMNS * (4 + 8) + 2 * 8 + 2 * 8
    spread_and_smooth = 2 * 2 * 8
    assert growth_per_row(fit, 300, 1500) < attributes + index + spread_and_smooth + 20


@pytest.mark.parametrize("container", ["array", "pandas-numbers"])
def test_no_training_row_is_held_as_it_was_given(container):
    """The index holds standardised float32 rows; red if a raw row is kept to store the width."""
    convert = CONTAINERS[container][0] if container in CONTAINERS else np.asarray
    clf = MetaErrorClassifier(LogisticRegression(), cv=2, random_state=0).fit(convert(X), Y)
    assert not any(value.tobytes() in pickle.dumps(clf) for value in X[0])


def test_the_base_is_not_held_twice():
    """A large prefit base is pickled once, although the parameter and `estimator_` are both it."""
    base = LogisticRegression().fit(X, Y)
    base.ballast_ = np.zeros(100_000)
    clf = MetaErrorClassifier(base, "confidence", cv="prefit", meta_features="confidence")
    assert size(clf.fit(X, Y)) < 1.2 * base.ballast_.nbytes
