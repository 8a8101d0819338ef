"""Answer or abstain: thresholds, reject labels, and any classifier inside."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import binom, binomtest
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils import get_tags

from metaerr_sklearn.classifier import MetaErrorClassifier
from metaerr_sklearn.selective import (
    SelectiveClassifier,
    certify_threshold,
    coverage_scorer,
    neg_selective_risk_scorer,
    risk_upper_bound,
)

pytestmark = pytest.mark.usefixtures("small_second_opinion")


class Recorder(ClassifierMixin, BaseEstimator):
    """Remember what fit was given; say class 0 with the error score in the first column."""

    def fit(self, X, y, sample_weight=None, groups=None):
        self.X_, self.y_, self.classes_ = X, y, np.unique(y)
        self.sample_weight_, self.groups_ = sample_weight, groups
        return self

    def predict(self, X):
        return np.full(len(X), self.classes_[0])

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, 0], X[:, 0]])

    def rows(self):
        return self.X_[:, 1].astype(int)


@pytest.fixture
def ranked():
    """Scores in [0, 0.5] in the first column, the row number in the second; errors follow both."""
    rng = np.random.default_rng(0)
    score = rng.uniform(0, 0.5, 600)
    X = np.column_stack([score, np.arange(600)])
    return X, (rng.random(600) < score**2).astype(int)


# Certificates on arrays


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
@pytest.mark.parametrize(("n_errors", "n_samples"), [(0, 1), (0, 59), (3, 40), (40, 40), (7, 5000)])
def test_risk_upper_bound_is_clopper_pearson(n_errors, n_samples, level):
    expected = binomtest(n_errors, n_samples, alternative="less").proportion_ci(level).high
    assert_allclose(risk_upper_bound(n_errors, n_samples, confidence_level=level), expected)


@pytest.mark.parametrize(("n_errors", "n_samples"), [(5, 3), (-1, 3), (0, -2), (0.5, 3)])
def test_risk_upper_bound_refuses_impossible_counts(n_errors, n_samples):
    with pytest.raises((TypeError, ValueError), match=r"n_errors|n_samples"):
        risk_upper_bound(n_errors, n_samples)


def test_risk_upper_bound_without_rows_is_one():
    assert risk_upper_bound(0, 0) == 1


def slow_threshold(is_error, score, target_risk, level, start):
    """Accept rows as long as so few errors are unlikely with an error rate of `target_risk`."""
    best = -np.inf
    order = np.argsort(score)
    for k in range(start, len(score) + 1):
        n_errors = int(np.sum(is_error[order[:k]]))
        if binom.cdf(n_errors, k, target_risk) > 1 - level:
            return best
        best = score[order[k - 1]]
    return np.inf


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    # The start is the smallest count that certifies with the number of errors allowed, computed by
    # hand: 0 errors (33 rows, a third, allow none), 2 (66 rows allow 2), 3, and 8 (150 rows, a
    # tenth, allow 8).
    ("n_samples", "target_risk", "level", "start"),
    [(99, 0.1, 0.95, 29), (200, 0.1, 0.95, 61), (700, 0.1, 0.95, 76), (1500, 0.1, 0.95, 142)],
)
def test_certify_equals_the_definition(n_samples, target_risk, level, start, seed):
    rng = np.random.default_rng(seed)
    score = rng.uniform(size=n_samples)
    is_error = rng.random(n_samples) < 2 * score**4
    threshold = certify_threshold(is_error, score, target_risk=target_risk, confidence_level=level)
    assert threshold == slow_threshold(is_error, score, target_risk, level, start)
    assert np.isfinite(threshold)


def test_certify_depends_on_the_order_of_the_score_only(ranked):
    X, is_error = ranked
    score = X[:, 0]
    accepted = score <= certify_threshold(is_error, score, target_risk=0.05)
    assert 0 < accepted.sum() < len(score)
    for scale in (np.log, lambda s: 10 * s - 3):
        threshold = certify_threshold(is_error, scale(score), target_risk=0.05)
        assert_array_equal(scale(score) <= threshold, accepted)
    shuffle = np.random.default_rng(1).permutation(len(score))
    threshold = certify_threshold(is_error[shuffle], score[shuffle], target_risk=0.05)
    assert_array_equal(score <= threshold, accepted)


def test_59_rows_without_an_error_are_needed_for_five_percent():
    right = np.zeros(59, dtype=bool)
    score = np.linspace(0, 1, 59)
    assert certify_threshold(right, score, target_risk=0.05) == np.inf
    assert certify_threshold(right[:58], score[:58], target_risk=0.05) == -np.inf
    assert certify_threshold(~right, score, target_risk=0.05) == -np.inf
    assert certify_threshold([], [], target_risk=0.05) == -np.inf


def test_labels_do_not_order_tied_rows():
    """If a data set is sorted by class, the first rows of a tie may all be right."""
    is_error = np.arange(1000) >= 700
    assert certify_threshold(is_error, np.zeros(1000), target_risk=0.2) == -np.inf
    assert certify_threshold(is_error[::-1], np.zeros(1000), target_risk=0.2) == -np.inf
    assert certify_threshold(is_error, np.zeros(1000), target_risk=0.4) == np.inf


def test_a_tie_is_accepted_as_a_whole_or_not_at_all():
    rng = np.random.default_rng(0)
    score = rng.integers(4, size=1000) / 4
    is_error = rng.random(1000) < np.array([0.0, 0.01, 0.04, 0.6])[(score * 4).astype(int)]
    assert certify_threshold(is_error, score, target_risk=0.05) == 0.5


@pytest.mark.parametrize(
    ("is_error", "error_proba", "message"),
    [
        ([0, 1], [0.1, np.nan], "error_proba is NaN for 1 of 2 rows"),
        ([0, 2], [0.1, 0.2], "is_error must be True where .* values such as .*2"),
        ([0], [0.1, 0.2], "inconsistent numbers of samples"),
    ],
)
def test_certify_refuses_unusable_input(is_error, error_proba, message):
    with pytest.raises(ValueError, match=message):
        certify_threshold(is_error, error_proba, target_risk=0.1)


# Holding out and calibrating


def test_calibration_rows_are_new_to_the_estimator(ranked):
    X, y = ranked
    clf = SelectiveClassifier(Recorder(), target_coverage=0.5, random_state=0).fit(X, y)
    train = clf.estimator_.rows()
    held_out = np.setdiff1d(np.arange(600), train)
    assert clf.n_calibration_ == len(held_out) == 180
    assert_array_equal(clf.estimator_.y_, y[train])
    assert abs(y[held_out].mean() - y.mean()) < 1 / 180
    assert clf.threshold_ == np.sort(X[held_out, 0])[89]
    assert clf.coverage_ == 0.5
    n_errors = y[held_out][X[held_out, 0] <= clf.threshold_].sum()
    assert clf.risk_upper_bound_ == risk_upper_bound(n_errors, 90)
    risk = SelectiveClassifier(Recorder(), target_risk=0.1, random_state=0).fit(X, y)
    expected = certify_threshold(y[held_out], X[held_out, 0], target_risk=0.1)
    assert risk.threshold_ == expected
    assert risk.risk_upper_bound_ <= 0.1


def test_groups_are_not_divided(ranked):
    X, y = ranked
    groups = np.arange(600) // 5
    clf = SelectiveClassifier(Recorder(), target_coverage=0.5, random_state=0)
    clf.fit(X, y, groups=groups)
    train = clf.estimator_.rows()
    assert not np.intersect1d(groups[train], np.delete(groups, train)).size
    assert len(train) == 420
    assert_array_equal(clf.estimator_.groups_, groups[train])


def test_copies_of_a_row_are_not_divided(cancer):
    X, _, y, _ = cancer
    X = X[:100] / X.max()
    X, y = np.repeat(X, 3, axis=0), np.repeat(y[:100], 3)
    clf = SelectiveClassifier(Recorder(), target_coverage=1.0, random_state=0)
    with pytest.warns(UserWarning, match=r"300 of the 300 rows .* \(copies\)"):
        clf.fit(X, y)
    assert clf.duplicates_.kept_together
    assert clf.n_calibration_ == 30  # each distinct row of the hold-out counts once
    _, counts = np.unique(clf.estimator_.X_, axis=0, return_counts=True)
    assert set(counts) == {3}
    clf.fit(X, y, groups=np.arange(300))
    assert clf.duplicates_ is None
    assert clf.n_calibration_ == 90


@pytest.mark.parametrize("around", [lambda clf: clf, lambda clf: make_pipeline("passthrough", clf)])
def test_duplicates_are_reported_once_through_all_layers(around):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 3)), rng.integers(2, size=150)
    X, y = np.r_[X, X], np.r_[y, y]
    inner = around(MetaErrorClassifier(GaussianNB(), "confidence", meta_features=["confidence"]))
    clf = SelectiveClassifier(inner, target_coverage=0.5, random_state=0)
    with pytest.warns(UserWarning, match="copies") as log:
        clf.fit(X, y)
    assert len(log) == 1
    clf.fit(X, y, groups=np.arange(300))


def test_copied_calibration_rows_count_once_for_a_fitted_estimator(cancer):
    """Red if each copy counts: 200 rows without an error would certify a risk of 5 %."""
    X, X_new, y, y_new = cancer
    base = LogisticRegression(max_iter=5000).fit(X, y)
    right = np.flatnonzero(base.predict(X_new) == y_new)[:20].repeat(10)
    clf = SelectiveClassifier(base, target_risk=0.05, calibration="prefit")
    with pytest.warns(UserWarning, match=r"copies|No threshold"):
        clf.fit(X_new[right], y_new[right])
    assert clf.n_calibration_ == 20
    assert clf.coverage_ == 0


@pytest.mark.parametrize("coverage", [0.07, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58])
def test_target_coverage_takes_as_many_calibration_rows_as_it_says(coverage):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2)), np.tile([0, 1], 50)
    base = LogisticRegression().fit(X, y)
    clf = SelectiveClassifier(base, target_coverage=coverage, calibration="prefit").fit(X, y)
    assert clf.coverage_ == coverage


def test_a_coverage_that_ties_put_out_of_reach_warns():
    """1-NN gives every row the error score 0, so all rows are answered or none."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    y = (X[:, 0] + rng.normal(size=1000) > 0).astype(int)
    clf = SelectiveClassifier(KNeighborsClassifier(1), target_coverage=0.5, random_state=0)
    with pytest.warns(UserWarning, match=r"target_coverage=0.5 .* 300 of the 300 .* 100.0% .* 0.0"):
        clf.fit(X, y)
    assert clf.coverage_ == 1
    # The ties of a forest are smaller than the sampling error of the coverage.
    fine = SelectiveClassifier(
        RandomForestClassifier(random_state=0), target_coverage=0.5, random_state=0
    ).fit(X, y)
    assert fine.coverage_ == pytest.approx(0.5, abs=0.03)


def test_fit_params_are_cut_to_the_training_rows(ranked):
    X, y = ranked
    weight = np.arange(600) + 1.0
    clf = SelectiveClassifier(Recorder(), target_coverage=0.5, random_state=0)
    unweighted = clone(clf).fit(X, y)
    clf.fit(X, y, sample_weight=weight)
    assert_array_equal(clf.estimator_.sample_weight_, clf.estimator_.rows() + 1)
    assert clf.threshold_ == unweighted.threshold_
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(599,\), expected \(600,\)"):
        clf.fit(X, y, sample_weight=weight[:-1])


def test_metadata_routing(ranked):
    X, y = ranked
    weight, groups = np.arange(600) + 1.0, np.arange(600) // 5
    with config_context(enable_metadata_routing=True):
        inner = Recorder().set_fit_request(sample_weight=True, groups=False)
        clf = SelectiveClassifier(inner, target_coverage=0.5, random_state=0)
        clf.set_fit_request(groups=True).set_score_request(sample_weight=False)
        clf.fit(X, y, sample_weight=weight, groups=groups)
        assert_array_equal(clf.estimator_.sample_weight_, clf.estimator_.rows() + 1)
        assert clf.estimator_.groups_ is None
        params = {"sample_weight": weight, "groups": groups}
        fitted = cross_validate(clf, X, y, cv=3, params=params, return_estimator=True)
        for model in fitted["estimator"]:
            rows = model.estimator_.rows()
            assert_array_equal(model.estimator_.sample_weight_, rows + 1)
            assert not np.any(np.unique(rows // 5, return_counts=True)[1] > 5)


@pytest.mark.parametrize("how", ["prefit", "frozen", "frozen pipeline"])
def test_a_fitted_estimator_is_calibrated_on_all_rows(cancer, how):
    X, X_new, y, y_new = cancer
    base = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    if how == "prefit":
        clf = SelectiveClassifier(base, target_risk=0.05, calibration="prefit")
    else:
        clf = SelectiveClassifier(FrozenEstimator(base), target_risk=0.05)
    clf.fit(X_new, y_new)
    proba = base.predict_proba(X_new)
    is_error = base.predict(X_new) != y_new
    assert clf.n_calibration_ == len(y_new)
    assert clf.threshold_ == certify_threshold(is_error, proba.min(axis=1), target_risk=0.05)
    assert_array_equal(clf.predict_proba(X_new), proba)
    if how == "frozen pipeline":
        assert_array_equal(clone(clf).fit(X_new, y_new).predict(X), clf.predict(X))


def test_prefit_needs_a_fitted_estimator_and_its_labels(cancer):
    X, _, y, _ = cancer
    clf = SelectiveClassifier(GaussianNB(), target_risk=0.05, calibration="prefit")
    with pytest.raises(NotFittedError, match="GaussianNB instance is not fitted"):
        clf.fit(X, y)
    fitted = clf.set_params(estimator=GaussianNB().fit(X, y))
    with pytest.raises(ValueError, match=r"No label in y is a class of the fitted estimator"):
        fitted.fit(X, np.where(y == 1, "benign", "malignant"))


def test_a_label_that_the_estimator_does_not_know_is_an_error(cancer):
    X, X_new, y, y_new = cancer
    base = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    clf = SelectiveClassifier(base, target_coverage=1.0, calibration="prefit")
    before = clf.fit(X_new, y_new).risk_upper_bound_
    new_class = np.where(np.arange(len(y_new)) < 50, 2, y_new)
    assert clf.fit(X_new, new_class).risk_upper_bound_ > before + 0.1


def test_fit_leaves_estimator_data_and_global_random_state_alone(cancer):
    X, _, y, _ = cancer
    X_before, y_before = X.copy(), y.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    base = RandomForestClassifier(10)
    clf = SelectiveClassifier(base, target_coverage=0.7, random_state=3)
    first = clf.fit(X, y).predict(X)
    assert_array_equal(clone(clf).fit(X, y).predict(X), first)
    assert not hasattr(base, "classes_")
    assert base.random_state is None
    assert_array_equal(X, X_before)
    assert_array_equal(y, y_before)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# What nothing certified looks like


def test_abstains_everywhere_if_rows_are_too_few(ranked):
    X, y = ranked
    clf = SelectiveClassifier(Recorder(), target_risk=0.01, random_state=0)
    with pytest.warns(
        UserWarning, match="needs at least 299 calibration rows without an error, got 180"
    ) as record:
        clf.fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert clf.threshold_ == -np.inf
    assert clf.coverage_ == 0
    assert clf.risk_upper_bound_ == 1
    assert not clf.accepts(X).any()
    assert_array_equal(clf.predict(X), np.full(600, -1))
    assert clf.score(X, y) == coverage_scorer(clf, X) == 0
    assert np.isnan(neg_selective_risk_scorer(clf, X, y))


def test_warning_names_the_rows_needed_at_the_observed_rate():
    """The first test has 59 of 80 rows and allows no error; here they have 2."""
    score = np.linspace(0, 0.4, 80)
    y = np.zeros(80, dtype=int)
    y[[5, 45]] = 1
    X = np.column_stack([score, score])
    fitted = Recorder().fit(X, np.array([0, 1] * 40))
    clf = SelectiveClassifier(fitted, target_risk=0.05, calibration="prefit")
    with pytest.warns(UserWarning, match="the 59 rows ranked best of 80 have an error") as record:
        clf.fit(X, y)
    needed = float(str(record[0].message).split("needs about ")[1].split(" ")[0])
    assert needed == 720
    for n_samples, enough in ((needed, True), (0.8 * needed, False)):
        accepted = int(n_samples * 59 / 80)
        bound = risk_upper_bound(int(np.ceil(2 / 59 * accepted)), accepted)
        assert (bound < 0.051) == enough


def test_warning_says_when_more_rows_would_not_help(ranked):
    X, y = ranked
    clf = SelectiveClassifier(DummyClassifier(), target_risk=0.03, random_state=0)
    with pytest.warns(
        UserWarning,
        match="while a risk of 0.03 at confidence_level=0.95 needs 99 "
        "rows without an error. Raise target_risk or improve the estimator",
    ):
        clf.fit(X, y)


# Labels and abstentions


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float64, np.float32])
def test_numbers_are_rejected_with_minus_one(cancer, dtype):
    X, _, y, _ = cancer
    clf = SelectiveClassifier(GaussianNB(), target_coverage=0.6, random_state=0)
    predicted = clf.fit(X, y.astype(dtype)).predict(X)
    assert clf.reject_label_ == -1
    assert set(np.unique(predicted)) == {-1, 0, 1}
    assert predicted.dtype == (np.int16 if dtype is np.uint8 else dtype)
    assert_array_equal(predicted == -1, ~clf.accepts(X))


@pytest.mark.parametrize("target_coverage", [0.6, 1])
def test_answers_of_boolean_labels_are_taken_by_metrics(cancer, target_coverage):
    X, _, y, _ = cancer
    clf = SelectiveClassifier(GaussianNB(), target_coverage=target_coverage, random_state=0)
    predicted, accepted = clf.fit(X, y == 1).predict(X), clf.accepts(X)
    assert clf.reject_label_ == -1
    assert_array_equal(predicted == -1, ~accepted)
    right = clf.estimator_.predict(X) == (y == 1)
    assert accuracy_score((y == 1)[accepted], predicted[accepted]) == right[accepted].mean()


@pytest.mark.parametrize(
    ("first", "reject_label"),
    [
        (np.uint64(2**60), "auto"),
        (np.int64(2**60), np.nan),
        (np.datetime64("2020-01-01", "ns"), "auto"),
        (np.timedelta64(1, "ns"), None),
    ],
)
def test_a_reject_label_changes_no_other_label(cancer, first, reject_label):
    """As floats, 2**60 and 2**60 + 1 are equal; as objects, dates in nanoseconds are integers."""
    X, _, y, _ = cancer
    y = first + y.astype("m8[D]" if first.dtype.kind == "M" else first.dtype)
    clf = SelectiveClassifier(
        GaussianNB(), target_coverage=0.6, reject_label=reject_label, random_state=0
    ).fit(X, y)
    predicted, accepted = clf.predict(X), clf.accepts(X)
    assert 0 < accepted.mean() < 1
    assert_array_equal(predicted[accepted].astype(y.dtype), clf.estimator_.predict(X)[accepted])
    assert all(type(label) in (int, type(first)) for label in predicted[accepted])


@pytest.mark.parametrize("kind", ["U", "O", "series"])
def test_other_labels_are_rejected_with_none(cancer, kind):
    X, _, y, _ = cancer
    y = np.where(y == 1, "benign", "malignant")
    y = pd.Series(y) if kind == "series" else y.astype(kind)
    clf = SelectiveClassifier(GaussianNB(), target_coverage=0.6, random_state=0)
    predicted, accepted = clf.fit(X, y).predict(X), clf.accepts(X)
    assert predicted.dtype == object
    assert clf.reject_label_ is None
    assert set(predicted[~accepted]) == {None}
    assert_array_equal(predicted[accepted], clf.estimator_.predict(X)[accepted])


@pytest.mark.parametrize(
    ("labels", "reject_label", "dtype"),
    [
        (["no", "yes"], "ask a person", "<U12"),
        (["no", "yes"], -1, object),
        ([0, 1], "?", object),
        ([0, 1], None, object),
        ([0, 1], np.nan, float),
        ([-1, 1], 0, int),
    ],
)
def test_reject_label_is_kept_as_it_is(cancer, labels, reject_label, dtype):
    X, _, y, _ = cancer
    clf = SelectiveClassifier(
        GaussianNB(), target_coverage=0.6, reject_label=reject_label, random_state=0
    )
    predicted = clf.fit(X, np.array(labels)[y]).predict(X)
    assert predicted.dtype == dtype
    accepted = clf.accepts(X)
    assert set(predicted[accepted].tolist()) == set(labels)
    for rejected in predicted[~accepted]:
        assert rejected == reject_label or rejected != rejected or rejected is reject_label
    assert coverage_scorer(clf, X) == accepted.mean()


def test_reject_label_may_be_a_missing_value_of_pandas(cancer):
    pd, (X, _, y, _) = pytest.importorskip("pandas"), cancer
    clf = SelectiveClassifier(
        GaussianNB(), target_coverage=0.6, reject_label=pd.NA, random_state=0
    ).fit(X, y)
    accepted = clf.accepts(X)
    assert_array_equal(pd.isna(clf.predict(X)), ~accepted)
    assert coverage_scorer(clf, X) == accepted.mean()
    risk = np.mean(clf.estimator_.predict(X) != y, where=accepted)
    assert_allclose(neg_selective_risk_scorer(clf, X, y), -risk)


def test_reject_label_must_not_be_a_class(cancer):
    X, _, y, _ = cancer
    clf = SelectiveClassifier(GaussianNB(), target_risk=0.1)
    with pytest.raises(ValueError, match=r"reject label -1 is one of the classes \[-1, 1\]"):
        clf.fit(X, 2 * y - 1)
    with pytest.raises(ValueError, match=r"Pass a reject_label= that is not"):
        clf.set_params(reject_label="a").fit(X, np.array(["a", "b"])[y])
    everything = SelectiveClassifier(GaussianNB(), target_coverage=1.0, random_state=0)
    everything.fit(X, 2 * y - 1)
    assert everything.threshold_ == np.inf
    assert everything.reject_label_ is None
    assert_array_equal(everything.predict(X), everything.estimator_.predict(X))
    assert coverage_scorer(everything, X) == 1


# Any classifier


def test_error_score_of_probabilities_is_one_minus_that_of_the_label(cancer):
    X, _, y, _ = cancer
    scaled = StandardScaler().fit_transform(X)
    base = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    clf = SelectiveClassifier(base, target_coverage=0.8, random_state=0).fit(scaled, y)
    proba = clf.predict_proba(scaled)
    labels = clf.estimator_.predict(scaled)
    assert (labels != proba.argmax(axis=1)).any()
    expected = 1 - proba[np.arange(len(y)), labels]
    assert_allclose(clf.predict_error_proba(scaled), expected, atol=1e-12)


def test_saturated_probabilities_keep_their_order():
    X = np.linspace(0, 60, 200)[:, None]
    base = LogisticRegression().fit(X[:60], X[:60, 0] < 9)
    clf = SelectiveClassifier(base, target_coverage=0.5, calibration="prefit")
    clf.fit(X[60:], X[60:, 0] < 9)
    assert (base.predict_proba(X[-50:]).max(axis=1) == 1).all()
    assert (np.diff(clf.predict_error_proba(X[60:])) <= 0).all()
    assert clf.coverage_ == 0.5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_decision_function_is_enough(digits, n_classes):
    X, X_new, y, _ = digits
    keep = np.isin(y, [f"digit {k}" for k in range(n_classes)])
    clf = SelectiveClassifier(LinearSVC(), target_coverage=0.5, random_state=0)
    clf.fit(X[keep], y[keep])
    scores = clf.decision_function(X_new)
    error_proba = clf.predict_error_proba(X_new)
    if n_classes == 2:
        expected = 1 / (1 + np.exp(2 * np.abs(scores)))
    else:
        expected = 1 - 1 / np.exp(scores - scores.max(axis=1, keepdims=True)).sum(axis=1)
    assert_allclose(error_proba, expected, atol=1e-12)
    assert not hasattr(clf, "predict_proba")


@pytest.mark.parametrize("around", ["alone", "pipeline", "search", "frozen", "all"])
def test_error_score_of_a_meta_error_classifier_is_its_own(noisy_data, around):
    X, y = noisy_data
    X, X_new, y, y_new = X[:250], X[250:], y[:250], y[250:]
    base = MetaErrorClassifier(
        LogisticRegression(), "logistic", meta_features="neighbors", cv=3, random_state=0
    )
    inner = base if around in ("alone", "frozen") else make_pipeline(StandardScaler(), base)
    if around == "alone":
        X, X_new = (StandardScaler().fit(X).transform(data) for data in (X, X_new))
    if around == "frozen":
        inner = FrozenEstimator(make_pipeline(StandardScaler(), inner).fit(X, y))
        X, y = X_new, y_new
    if around in ("search", "all"):
        inner = GridSearchCV(inner, {"metaerrorclassifier__cv": [2, 3]}, cv=2)
    if around == "all":
        inner = make_pipeline(FunctionTransformer(), inner)
    clf = SelectiveClassifier(inner, target_coverage=0.8, random_state=0).fit(X, y)
    fitted = clf.estimator_
    if around == "all":
        fitted = fitted[-1]
    if around in ("search", "all"):
        fitted = fitted.best_estimator_
    if around == "frozen":
        fitted = fitted.estimator
    if around == "alone":
        expected = fitted.predict_error_proba(X_new)
    else:
        expected = fitted[-1].predict_error_proba(fitted[0].transform(X_new))
    assert_allclose(clf.predict_error_proba(X_new), expected)
    assert_allclose(clf.accepts(X_new).mean(), 0.8, atol=0.1)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_reach_the_estimator_as_frames(mixed_frame, library):
    frame, y = mixed_frame
    if library == "polars":
        frame = pl.from_pandas(frame)
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["housing", "member"]),
        (StandardScaler(), ["income"]),
    )
    base = make_pipeline(encode, LogisticRegression())
    clf = SelectiveClassifier(base, target_risk=0.3, random_state=0).fit(frame, y)
    predicted = clf.predict(frame)
    assert 0.2 < clf.coverage_ < 1
    assert_array_equal(clf.feature_names_in_, frame.columns)
    accepted = np.asarray(clf.accepts(frame))
    assert_array_equal(predicted[accepted], clf.estimator_.predict(frame)[accepted])


def test_images_sparse_and_text(digits):
    X, X_new, y, _ = digits
    expected = SelectiveClassifier(GaussianNB(), target_coverage=0.7, random_state=0).fit(X, y)
    flatten = make_pipeline(FunctionTransformer(lambda X: X.reshape(len(X), -1)), GaussianNB())
    images = SelectiveClassifier(flatten, target_coverage=0.7, random_state=0)
    images.fit(X.reshape(-1, 1, 8, 8), y)
    assert_array_equal(images.predict(X_new.reshape(-1, 1, 8, 8)), expected.predict(X_new))

    dense = SelectiveClassifier(LogisticRegression(), target_coverage=0.7, random_state=0)
    sparse = clone(dense).fit(csr_array(X / 16), y)
    predicted = sparse.predict(csr_array(X_new / 16))
    assert_array_equal(predicted, dense.fit(X / 16, y).predict(X_new / 16))

    words = [f"{word} film number {i}" for i in range(50) for word in ("good", "bad")]
    text = SelectiveClassifier(
        make_pipeline(CountVectorizer(), LogisticRegression()), target_coverage=0.7, random_state=0
    )
    assert text.fit(words, [1, 0] * 50).predict(["good film", "bad film"]).shape == (2,)


@pytest.mark.parametrize("fitted", [False, True])
def test_skorch_net_over_images_with_string_labels(digits, fitted):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    X, X_new, y, y_new = digits
    X, X_new = (data.reshape(-1, 1, 8, 8) / 16 for data in (X, X_new))
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    net = skorch.NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.02,
        max_epochs=10,
        train_split=None,
        verbose=0,
    )
    if fitted:
        net.fit(X.astype(np.float32), np.unique(y, return_inverse=True)[1])
        net = FrozenEstimator(net.set_params(classes=np.unique(y)))
        X, y = X_new, y_new
    clf = SelectiveClassifier(net, target_risk=0.1, random_state=0).fit(X, y)
    accepted = clf.accepts(X_new)
    assert clf.coverage_ > 0.5
    assert np.mean(clf.predict(X_new)[accepted] != y_new[accepted]) < 0.1
    assert clf.predict_proba(X_new).shape == (len(X_new), 10)


def test_tags_and_methods_are_those_of_the_estimator():
    def selective(estimator):
        return SelectiveClassifier(estimator, target_risk=0.1)

    for inner in (LogisticRegression(), GaussianNB(), RandomForestClassifier()):
        assert get_tags(selective(inner)).input_tags == get_tags(inner).input_tags
    assert not hasattr(selective(GaussianNB()), "decision_function")
    assert not hasattr(selective(LinearSVC()), "predict_log_proba")
    assert not hasattr(SelectiveClassifier(DummyClassifier(), target_risk=0.1), "n_features_in_")


# In the ecosystem


def test_score_is_coverage_times_selective_accuracy(digits):
    X, X_new, y, y_new = digits
    clf = SelectiveClassifier(GaussianNB(), target_coverage=0.6, random_state=0).fit(X, y)
    coverage, neg_risk = coverage_scorer(clf, X_new), neg_selective_risk_scorer(clf, X_new, y_new)
    accepted = clf.accepts(X_new)
    wrong = clf.predict(X_new)[accepted] != y_new[accepted]
    assert coverage == accepted.mean()
    assert neg_risk == -wrong.mean()
    assert_allclose(clf.score(X_new, y_new), coverage * (1 + neg_risk))

    weight = np.random.default_rng(0).integers(0, 4, len(y_new))
    repeated = np.repeat(X_new, weight, axis=0), np.repeat(y_new, weight)
    for scorer in (coverage_scorer, neg_selective_risk_scorer, SelectiveClassifier.score):
        assert_allclose(scorer(clf, X_new, y_new, sample_weight=weight), scorer(clf, *repeated))

    everything = clone(clf).set_params(target_coverage=1.0).fit(X, y)
    accuracy = accuracy_score(y_new, everything.estimator_.predict(X_new))
    assert everything.score(X_new, y_new) == accuracy


@pytest.mark.parametrize("y_kind", ["number", "string"])
def test_cross_validate_grid_search_and_pipeline(digits, y_kind):
    X, _, y, _ = digits
    if y_kind == "number":
        y = np.char.replace(y, "digit ", "").astype(int)
    selective = SelectiveClassifier(GaussianNB(), target_coverage=0.7, random_state=0)
    model = make_pipeline(StandardScaler(), selective)
    scoring = {"coverage": coverage_scorer, "neg_risk": neg_selective_risk_scorer}
    result = cross_validate(model, X, y, cv=3, scoring=scoring)
    scores = cross_val_score(model, X, y, cv=3)
    expected = result["test_coverage"] * (1 + result["test_neg_risk"])
    assert_allclose(scores, expected)
    assert_allclose(result["test_coverage"], 0.7, atol=0.12)

    grid = {"selectiveclassifier__estimator__var_smoothing": [1e-9, 1e-2]}
    search = GridSearchCV(model, grid, cv=3, scoring=scoring, refit="neg_risk").fit(X, y)
    # Out of the search, the scorers find the reject label as well.
    assert_allclose(
        coverage_scorer(search, X),
        search.best_estimator_[-1].accepts(search.best_estimator_[0].transform(X)).mean(),
    )
    assert search.best_params_ == {"selectiveclassifier__estimator__var_smoothing": 1e-2}


# Errors


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "Give exactly one target, got target_risk=None and target_coverage=None"),
        ({"target_risk": 0.1, "target_coverage": 0.8}, "Give exactly one target"),
        ({"target_risk": 5}, r"target_risk must be a fraction in \(0, 1\), got 5"),
        ({"target_risk": 1.0}, r"target_risk must be a fraction in \(0, 1\), got 1.0"),
        ({"target_coverage": 80}, r"target_coverage must be a fraction in \(0, 1\], got 80"),
        ({"target_risk": 0.1, "confidence_level": 95}, "confidence_level must be a fraction"),
        ({"target_risk": 0.1, "calibration": 3}, "calibration must be a fraction"),
        ({"target_risk": 0.1, "calibration": "half"}, "calibration must be a fraction .* 'half'"),
        (
            {"target_risk": 0.1, "calibration": 0.999},
            "training row: .* or hold out a smaller share",
        ),
        ({"target_risk": 0.1, "reject_label": [1]}, r"reject_label must be one value, got \[1\]"),
        ({"target_risk": 0.1, "reject_label": np.array([1])}, "reject_label must be one value"),
        ({"target_risk": 0.1, "reject_label": {1}}, "reject_label must be one value, got {1}"),
    ],
)
def test_parameters_are_checked_before_anything_is_fitted(cancer, params, message):
    X, _, y, _ = cancer
    with pytest.raises(ValueError, match=message):
        SelectiveClassifier(Recorder(), **params).fit(X, y)


def test_estimator_must_rank_rows(cancer):
    X, _, y, _ = cancer
    hard = VotingClassifier([("a", GaussianNB())])
    with pytest.raises(TypeError, match="VotingClassifier has neither"):
        SelectiveClassifier(hard, target_risk=0.1).fit(X, y)


def test_a_meta_error_classifier_ranks_rows_for_a_base_without_probabilities(noisy_data):
    X, y = noisy_data
    hard = VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())])
    inner = make_pipeline(StandardScaler(), MetaErrorClassifier(hard, "logistic", cv=3))
    assert not hasattr(inner, "predict_proba")
    clf = SelectiveClassifier(inner, target_coverage=0.5, random_state=0).fit(X, y)
    assert clf.coverage_ == 0.5


def test_scorers_are_for_selective_classifiers(cancer):
    X, _, y, _ = cancer
    with pytest.raises(TypeError, match="for a fitted SelectiveClassifier, got GaussianNB"):
        coverage_scorer(GaussianNB().fit(X, y), X)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_rows_without_a_label_are_an_error(cancer, missing):
    X, _, y, _ = cancer
    y = np.where(y == 1, "benign", "malignant").astype(object)
    y[3] = missing
    with pytest.raises(ValueError, match="y contains NaN, inf or None in 1 of 300 rows"):
        SelectiveClassifier(GaussianNB(), target_risk=0.1).fit(X, y)


def test_scores_below_every_threshold_are_refused():
    score = np.r_[np.full(500, -np.inf), np.zeros(500)]
    with pytest.raises(ValueError, match="error_proba is -inf for 500 of 1000 rows"):
        certify_threshold(np.zeros(1000, dtype=bool), score, target_risk=0.05)


@pytest.mark.parametrize(
    ("dtype", "options"), [(np.uint64, {}), (np.int64, {"reject_label": np.nan})]
)
def test_large_integers_stay_distinct_beside_the_reject_label(dtype, options, noisy_data):
    X, y = noisy_data
    y = y.astype(dtype) + dtype(2**60)
    base = LogisticRegression(max_iter=1000)
    clf = SelectiveClassifier(base, target_coverage=0.5, random_state=0, **options).fit(X, y)
    answered = clf.accepts(X)
    assert set(clf.predict(X)[answered].tolist()) == {2**60, 2**60 + 1}
