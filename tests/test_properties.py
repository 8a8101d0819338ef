"""Random problems of every shape: the promises hold, or an error of ours gives the reason."""

import traceback
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import KFold, RepeatedKFold, ShuffleSplit, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn.model_selection import is_unlabeled
from metaerr_sklearn.self_training._opinion_pool import OpinionPool

# Small tables and constant columns raise our own warnings, and GaussianNB divides by 0.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning:sklearn"),
    pytest.mark.usefixtures("small_second_opinion"),
]


LABELS = {
    "int": lambda code: code,
    "sparse int": lambda code: 10 * code - 7,
    "str": lambda code: np.array([f"class {c}" for c in code]),
    "object": lambda code: np.array([f"class {c}" for c in code], dtype=object),
    "float": lambda code: code.astype(float),
    "bool": lambda code: code % 2 == 1,
}
BASES = [
    GaussianNB(),
    DecisionTreeClassifier(max_depth=2, random_state=0),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(3),
    RidgeClassifier(),
    DummyClassifier(),
]
CVS = [
    *(2, 3, 5, 0.3, 0.5),
    *(KFold(2), KFold(3, shuffle=True, random_state=0)),
    # Rows that are tested several times, and rows that never are.
    *(RepeatedKFold(n_splits=2, n_repeats=2, random_state=0), ShuffleSplit(2, random_state=0)),
    *(TimeSeriesSplit(2), [(np.arange(4, 12), np.arange(4))]),
]
# Whose probabilities are the same whatever the classes are called.
NAMELESS = [
    GaussianNB(),
    RidgeClassifier(),
    LogisticRegression(C=0.1, tol=1e-8, max_iter=2000),
    KNeighborsClassifier(5),
    DecisionTreeClassifier(max_depth=2, random_state=0),
]
CRITERIA = ["auto", "consensus", "weight", "threshold", "k_best", "certain"]
META_FEATURES = ["auto", "confidence", ["confidence", "neighbors"], ["second_opinion"], "input"]


# How many examples the slow suite draws for each claim, and which share of them must be accepted by
# `fit`: a claim that is refused again and again is not checked.
SLOW = {
    "classifier": 400,
    "slower learners": 80,
    "names of labels": 250,
    "error model": 400,
    "abstention": 300,
    "self-training": 400,
}
LEAST_SHARE = 0.6


def holds(claim, n_examples, **strategies):
    """Check a claim on examples that are the same in every run; it returns False if refused."""
    accepted = []

    def counted(**example):
        accepted.append(claim(**example) is not False)

    checked = settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=True,
        # Shrinking would fit hundreds of times.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    checked(given(**strategies)(counted))()
    assert sum(accepted) >= LEAST_SHARE * n_examples, f"{sum(accepted)} of {n_examples} accepted"


def test_a_claim_that_is_mostly_refused_is_not_called_checked():
    with pytest.raises(AssertionError, match="of 100 accepted"):
        holds(lambda number: number % 2 == 0, 100, number=st.integers(0, 1000))
    holds(lambda number: number % 5 > 0, 100, number=st.integers(0, 1000))
    with pytest.raises(AssertionError, match="a false claim"):
        holds(false_claim, 10, number=st.integers(0, 1000))


def false_claim(number):
    raise AssertionError("a false claim")


def suites(n_fast, claim):
    counts = [n_fast, pytest.param(SLOW[claim], marks=pytest.mark.slow)]
    return pytest.mark.parametrize("n_examples", counts)


def fitted_or_refused(fit):
    """Return what `fit` returns; None if it raised an error of ours."""
    try:
        return fit()
    except (ValueError, TypeError) as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        message = str(error)
    assert "metaerr_sklearn" in raised_in, f"from below: {message}"
    assert len(message.split()) > 8, f"gives no advice: {message}"
    return None


@st.composite
def tables(draw, max_rows=60):
    """X of some kind, whose columns may be tied, constant or wild, and labels of some kind."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    is_odd = draw(st.integers(0, 9)) == 0  # one row, one class, one constant column: often refused
    n_samples = draw(st.integers(1 if is_odd else 12, max_rows))
    n_columns = draw(st.integers(1 if is_odd else 2, 5))
    n_classes = draw(st.integers(1 if is_odd else 2, 5))
    code = rng.integers(n_classes, size=n_samples)
    if draw(st.booleans()):  # one class is nearly all
        code = np.where(rng.random(n_samples) < 0.9, 0, code)
    if not is_odd:  # two rows in each class
        code[rng.permutation(n_samples)[: 2 * n_classes]] = np.tile(np.arange(n_classes), 2)
    X = rng.normal(size=(n_samples, n_columns)) + draw(st.sampled_from([0, 1, 4])) * code[:, None]
    dtype = draw(st.sampled_from([np.float64, np.float32, np.int64, np.uint8, bool]))
    if draw(st.booleans()):
        X[:, 0] = 3
    if draw(st.booleans()) and n_samples > 1:  # duplicates
        X = X[rng.integers(max(1, n_samples // 2), size=n_samples)]
    if dtype == np.float64 and draw(st.booleans()):
        X[0] *= 1e9
    X = (np.abs(X) if dtype == np.uint8 else X).astype(dtype)
    return X, LABELS[draw(st.sampled_from(sorted(LABELS)))](code)


@st.composite
def weights(draw, n_samples):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    kinds = [None, np.ones(n_samples), rng.random(n_samples), rng.integers(0, 3, n_samples)]
    return draw(st.sampled_from(kinds))


@st.composite
def problems(draw, learners):
    """A table, weights, groups, and a classifier with a base that takes them."""
    X, y = draw(tables())
    n_samples = len(y)
    base, kind = draw(st.sampled_from(BASES)), draw(st.sampled_from(["array", "frame", "4-D"]))
    if kind == "frame":
        pd = pytest.importorskip("pandas")
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    elif kind == "4-D":
        X = X[:, None, :, None]
        base = make_pipeline(FunctionTransformer(flatten), base)
    elif not isinstance(base, (GaussianNB, RidgeClassifier)) and draw(st.booleans()):
        X = sparse.csr_matrix(X)
    clf = MetaErrorClassifier(
        base,
        draw(st.sampled_from(learners)),
        meta_features=draw(st.sampled_from(META_FEATURES)),
        cv=draw(st.sampled_from(CVS)),
        random_state=draw(st.integers(0, 5)),
    )
    fit_params = {}
    if kind != "4-D":  # a pipeline takes weights by the name of a step
        fit_params["sample_weight"] = draw(weights(n_samples))
    if isinstance(clf.cv, (int, float)) and draw(st.booleans()):
        fit_params["groups"] = np.arange(n_samples) // draw(st.integers(1, 4))
    return clf, X, y, fit_params


def flatten(X):
    return np.asarray(X).reshape(len(X), -1)


def rows_of(X, rows):
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


def check_row_wise(predict, X, seed=0):
    """Outputs of a row depend on neither the order nor the company of the others."""
    n_samples = X.shape[0]
    rows = np.random.default_rng(seed).permutation(n_samples)
    whole = predict(X)
    for part in (rows, rows[: n_samples // 2 + 1], rows[:1]):
        for output, expected in zip(predict(rows_of(X, part)), whole):
            if expected.dtype.kind == "f":
                assert_allclose(output, expected[part], rtol=1e-5, atol=1e-7)
            else:
                assert_array_equal(output, expected[part])


def is_probability(values):
    return bool(np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all())


def promises_of_the_classifier(problem):
    clf, X, y, fit_params = problem
    fitted = fitted_or_refused(lambda: clf.fit(X, y, **fit_params))
    if fitted is None:
        return False
    outputs = fitted_or_refused(lambda: clf.predict_with_error(X))
    if outputs is None:  # GaussianNB divides by the variance of a constant column
        return False
    labels, error_proba = outputs
    assert is_probability(error_proba)
    assert set(labels.tolist()) <= set(clf.classes_.tolist())
    assert_array_equal(labels, clf.predict(X))
    assert_array_equal(labels, clf.estimator_.predict(X))
    assert_array_equal(error_proba, clf.predict_error_proba(X))
    check_row_wise(clf.predict_with_error, X)
    if clf.error_model_ is not None:
        assert clf.oof_error_proba_.shape == clf.oof_error_.shape == (X.shape[0],)
        tested = np.isfinite(clf.oof_error_proba_)
        assert is_probability(clf.oof_error_proba_[tested])
    again = clone(clf).fit(X, y, **fit_params)
    assert_array_equal(again.predict_error_proba(X), error_proba)
    return True


def names_do_not_count(table, base, learner, meta_features, cv, renamed):
    """Other names in the same order change nothing; in another order, no more than rounding."""
    X, y = table
    names, code = np.unique(y, return_inverse=True)

    def fit(y):
        clf = MetaErrorClassifier(base, learner, cv=cv, random_state=0)
        return clf.set_params(meta_features=meta_features).fit(X, y)

    original = fitted_or_refused(lambda: fit(code))
    if original is None:
        return False
    labels, error_proba = original.predict_with_error(X)
    same_order = np.array([f"{number:02} {name}" for number, name in enumerate(names)])
    other_labels, other_error_proba = fit(same_order[code]).predict_with_error(X)
    assert_array_equal(other_labels, same_order[labels])
    assert_array_equal(other_error_proba, error_proba)
    permuted = np.random.default_rng(renamed).permutation(len(names))
    if isinstance(cv, float) or len(y) < 25 or has_ties(original, X):
        return True  # the order of the classes breaks ties, and orders the draws of a hold-out
    other = fit(permuted[code])
    if not np.array_equal(other.oof_error_, original.oof_error_):
        return True  # there was a tie in a fold
    other_labels, other_error_proba = other.predict_with_error(X)
    assert_array_equal(other_labels, permuted[labels])
    assert_allclose(other_error_proba, error_proba, atol=2e-3)
    return True


def has_ties(clf, X):
    top = np.sort(clf._observe(X)[1].proba, axis=1)
    return (top[:, -1] - top[:, -2]).min() < 1e-6


@st.composite
def predictions_made_elsewhere(draw):
    X, y = draw(tables())
    classes = np.unique(y)
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    concentration = draw(st.sampled_from([0.01, 0.3, 1.0, 100.0]))
    n_classes = len(classes) + draw(st.integers(0, 1)) * (y.dtype.kind == "i")
    proba = rng.dirichlet(np.full(n_classes, concentration), size=len(y))
    proba = proba.astype(draw(st.sampled_from([np.float64, np.float32])))
    if n_classes > len(classes):
        classes = np.append(classes, classes[-1] + 1)
    return (X if draw(st.booleans()) else None), y, proba, classes


def promises_of_the_error_model(data, learner, meta_features, weight):
    X, y, proba, classes = data
    model = ErrorModel(learner, meta_features=meta_features, cv=2, random_state=0)
    sample_weight = None if weight is None else np.random.default_rng(weight).random(len(y))
    fitted = fitted_or_refused(
        lambda: model.fit(X, y, proba, classes=classes, sample_weight=sample_weight)
    )
    if fitted is None:
        return False
    whole = model.predict_error_proba(X, proba)
    assert is_probability(whole)
    assert is_probability(model.oof_error_proba_)
    rows = np.random.default_rng(0).permutation(len(y))[: len(y) // 2 + 1]
    part = model.predict_error_proba(None if X is None else X[rows], proba[rows])
    assert_allclose(part, whole[rows], rtol=1e-5, atol=1e-7)
    return True


def promises_of_abstention(table, base, calibration, target, inner):
    X, y = table
    estimator = base if inner is None else MetaErrorClassifier(base, inner, cv=2)
    clf = SelectiveClassifier(estimator, calibration=calibration, random_state=0, **target)
    if fitted_or_refused(lambda: clf.fit(X, y)) is None:
        return False
    accepted, answers = clf.accepts(X), clf.predict(X)
    assert is_probability(clf.predict_error_proba(X))
    assert 0 <= clf.coverage_ <= 1
    assert 0 <= clf.risk_upper_bound_ <= 1
    if "target_risk" in target and clf.coverage_ > 0:
        assert clf.risk_upper_bound_ <= target["target_risk"] + 1e-9
    assert_array_equal(answers[accepted], clf.estimator_.predict(X)[accepted])
    assert all(label == clf.reject_label_ for label in answers[~accepted].tolist())
    check_row_wise(lambda X: (clf.accepts(X), clf.predict_error_proba(X)), X)
    return True


# Labels as they are given, and the marker of rows that have none.
PARTLY = {
    "int": (lambda code: code + 2, -1),  # -1 and 1 alone are documented to mean two classes
    "str": (lambda code: np.array([f"class {c}" for c in code], dtype=object), None),
    "float": (lambda code: code.astype(float), np.nan),
}


@st.composite
def partly_labeled_problems(draw):
    """A table of which some rows have a label, weights, and self-training on it."""
    X, y = draw(tables())
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    code = np.unique(y, return_inverse=True)[1]
    has_label = rng.random(len(y)) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    if draw(st.integers(0, 9)):  # else labels may be of one class, or none
        has_label[[np.flatnonzero(code == c)[0] for c in np.unique(code)]] = True
    name, marker = PARTLY[draw(st.sampled_from(sorted(PARTLY)))]
    labels = name(code)
    labels[~has_label] = marker
    criterion = draw(st.sampled_from(CRITERIA))
    learners = ["auto"] if criterion == "consensus" else ["auto", "logistic", "confidence", None]
    clf = SelfTrainingWithMetaErr(
        draw(st.sampled_from(BASES[:4])),
        draw(st.sampled_from(learners)),
        criterion=criterion,
        cv=2,
        class_prior=draw(st.sampled_from([None, None, "labeled"])),
        unlabeled=marker,
        random_state=draw(st.integers(0, 20)),
    )
    if draw(st.booleans()):
        pd = pytest.importorskip("pandas")
        X = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    return clf, X, labels, has_label, draw(weights(len(y)))


def promises_of_self_training(problem):
    clf, X, y, has_label, weight = problem
    if fitted_or_refused(lambda: clf.fit(X, y, sample_weight=weight)) is None:
        return False
    assert is_probability(clf.predict_error_proba(X))
    assert_array_equal(clf.labeled_iter_ == 0, has_label)
    assert_array_equal(clf.transduction_[has_label], y[has_label])
    is_used = ~is_unlabeled(clf.transduction_, clf.unlabeled)
    assert set(clf.transduction_[is_used].tolist()) <= set(clf.classes_.tolist())
    assert_array_equal(is_used, clf.labeled_iter_ >= 0)
    pseudo_error = clf.pseudo_error_proba_[~has_label]
    assert is_probability(pseudo_error[~np.isnan(pseudo_error)])
    if not isinstance(clf.error_model_, OpinionPool) or has_one_order_of_neighbors(X):
        check_row_wise(lambda X: (clf.predict(X), clf.predict_error_proba(X)), X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = clone(clf).fit(X, y, sample_weight=weight)
    assert_array_equal(again.transduction_, clf.transduction_)
    assert_array_equal(again.predict_error_proba(X), clf.predict_error_proba(X))
    return True


def has_one_order_of_neighbors(X):
    """With few labels neighbours are searched by brute force, where rounding breaks ties."""
    X = np.asarray(X, dtype=float)
    X = X / np.maximum(X.std(axis=0), 1e-12)
    distance = np.sort(cdist(X, X), axis=1)
    return bool((np.diff(distance, axis=1) > 1e-7).all())


@suites(8, "classifier")
def test_classifier(n_examples):
    holds(
        promises_of_the_classifier,
        n_examples,
        problem=problems(["logistic", "confidence", None]),
    )


@pytest.mark.slow
def test_classifier_with_slower_learners():
    holds(
        promises_of_the_classifier,
        SLOW["slower learners"],
        problem=problems(["auto", "lightgbm", "mlp", GaussianNB()]),
    )


@suites(8, "names of labels")
def test_names_of_labels(n_examples):
    holds(
        names_do_not_count,
        n_examples,
        table=tables(),
        base=st.sampled_from(NAMELESS),
        learner=st.sampled_from(["logistic", "confidence"]),
        meta_features=st.sampled_from(
            ["confidence", ["confidence", "neighbors"], ["predicted_class", "neighbors"]]
        ),
        cv=st.sampled_from([2, 5, 0.4]),
        renamed=st.integers(0, 20),
    )


@suites(8, "error model")
def test_error_model(n_examples):
    holds(
        promises_of_the_error_model,
        n_examples,
        data=predictions_made_elsewhere(),
        learner=st.sampled_from(["logistic", "confidence"]),
        meta_features=st.sampled_from(META_FEATURES),
        weight=st.none() | st.integers(0, 20),
    )


@suites(8, "abstention")
def test_abstention(n_examples):
    targets = [{"target_risk": 0.3}, {"target_risk": 0.05}, {"target_coverage": 0.7}]
    holds(
        promises_of_abstention,
        n_examples,
        table=tables(),
        base=st.sampled_from(BASES[:5]),
        calibration=st.sampled_from([0.2, 0.5, 0.7]),
        target=st.sampled_from(targets),
        inner=st.sampled_from([None, "confidence"]),
    )


@suites(8, "self-training")
def test_self_training(n_examples):
    holds(promises_of_self_training, n_examples, problem=partly_labeled_problems())
