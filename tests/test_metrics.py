"""Metrics of error probabilities: definitions, ties, weights; the report and the scorers."""

import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    cross_val_score,
    cross_validate,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import ErrorModel, MetaErrorClassifier, SelectiveClassifier
from metaerr_sklearn._utils.probabilities import proba_not_max
from metaerr_sklearn.metrics import (
    ERROR_SCORERS,
    augrc,
    aurc,
    coverage_at_risk,
    error_average_precision,
    error_brier_score,
    error_log_loss,
    error_roc_auc,
    excess_aurc,
    failure_report,
    fpr_at_tpr,
    make_error_scorer,
    risk_at_coverage,
    risk_coverage_curve,
)
from metaerr_sklearn.metrics._compared_predictions import predict_and_compare
from metaerr_sklearn.metrics._report import _fpr_of_ties
from metaerr_sklearn.metrics._risk_coverage import tie_weights

RANKING = [
    error_roc_auc,
    error_average_precision,
    fpr_at_tpr,
    aurc,
    excess_aurc,
    augrc,
    risk_at_coverage,
    coverage_at_risk,
]
MASKED = np.ma.array([0.5, 1.0], mask=[False, True])
METRICS = [*RANKING, error_brier_score, error_log_loss]


@pytest.fixture
def tied():
    """120 samples on 11 distinct error probabilities, a third of them wrong."""
    rng = np.random.default_rng(0)
    error_proba = rng.integers(11, size=120) / 10
    return rng.random(120) < 0.1 + 0.5 * error_proba, error_proba


class CountingErrorPredictor(ClassifierMixin, BaseEstimator):
    """Naive Bayes with an error probability, which counts passes over X."""

    def __init__(self, shift=0.0):
        self.shift = shift

    def fit(self, X, y, sample_weight=None):
        self.base_ = GaussianNB(var_smoothing=0.1).fit(X, y, sample_weight)
        self.classes_ = self.base_.classes_
        self.n_passes_ = 0
        return self

    def predict_proba(self, X):
        self.n_passes_ += 1
        return self.base_.predict_proba(X)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _predict_all(self, X):
        proba = self.predict_proba(X)
        spread = np.asarray(X).std(axis=1)
        error_proba = np.clip(proba_not_max(proba) + self.shift * spread / spread.max(), 0, 1)
        return self.classes_[proba.argmax(axis=1)], proba, error_proba

    def predict_with_error(self, X):
        labels, _, error_proba = self._predict_all(X)
        return labels, error_proba

    def predict_error_proba(self, X):
        return self._predict_all(X)[2]


# Metrics


def mean_over_orders(is_error, error_proba, statistic):
    """Average a statistic of the ordered errors over all orders that keep error_proba sorted."""
    values = [
        statistic(np.asarray(is_error, dtype=float)[list(order)])
        for order in itertools.permutations(range(len(is_error)))
        if (np.diff(np.asarray(error_proba)[list(order)]) >= 0).all()
    ]
    return np.mean(values, axis=0)


def selective_risks(errors):
    return np.cumsum(errors) / np.arange(1, len(errors) + 1)


@pytest.mark.parametrize(
    "error_proba",
    [
        [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
        [0.1, 0.1, 0.3, 0.3, 0.3, 0.6, 0.6],
        [0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.1],
        [0.5] * 7,
    ],
)
@pytest.mark.parametrize("is_error", [[0, 0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 0, 0, 1]])
def test_ties_are_the_expectation_over_orders(is_error, error_proba):
    risks = mean_over_orders(is_error, error_proba, selective_risks)
    assert_allclose(aurc(is_error, error_proba), risks.mean())
    coverages = np.arange(1, 8) / 7
    assert_allclose(risk_at_coverage(is_error, error_proba, target_coverage=coverages), risks)

    def trapezoids(errors):
        accepted_errors = np.append(0, np.cumsum(errors)) / len(errors)
        return np.trapezoid(accepted_errors, dx=1 / len(errors))

    assert_allclose(
        augrc(is_error, error_proba), mean_over_orders(is_error, error_proba, trapezoids)
    )


def test_aurc_known_value():
    """Risks of accepting 1, 2, 3, 4 samples: 0, 0, 1/3, 1/4."""
    assert_allclose(aurc([0, 0, 1, 0], [0.1, 0.2, 0.7, 0.8]), (1 / 3 + 1 / 4) / 4)


@pytest.mark.parametrize("tpr", [0.5, 0.8, 0.95, 1.0])
def test_fpr_at_tpr_is_its_definition(tied, tpr):
    is_error, error_proba = tied
    for threshold in np.unique(error_proba):
        accepted = error_proba <= threshold
        if accepted[~is_error].mean() >= tpr:
            break
    assert fpr_at_tpr(is_error, error_proba, tpr=tpr) == accepted[is_error].mean()


def test_the_positive_class_of_fpr_at_tpr_is_the_right_samples(tied):
    """With both arguments negated, errors are the positive class, as documented."""
    is_error, error_proba = tied
    flagged_right, flagged_errors, _ = roc_curve(is_error, error_proba)
    expected = flagged_right[flagged_errors >= 0.95].min()
    assert_allclose(fpr_at_tpr(~is_error, -error_proba), expected)


def test_risk_coverage_curve_is_its_definition(tied):
    is_error, error_proba = tied
    coverage, selective_risk, thresholds = risk_coverage_curve(is_error, error_proba)
    assert coverage[0] == 0
    assert thresholds[0] == -np.inf
    assert selective_risk[0] == selective_risk[1]
    for c, r, t in zip(coverage[1:], selective_risk[1:], thresholds[1:]):
        accepted = error_proba <= t
        assert_allclose((c, r), (accepted.mean(), is_error[accepted].mean()))
    assert_allclose(
        risk_at_coverage(is_error, error_proba, target_coverage=coverage[1:]), selective_risk[1:]
    )


@pytest.mark.parametrize("target_risk", [0, 0.1, 0.2, 0.3, 1])
def test_coverage_at_risk_is_its_definition(tied, target_risk):
    is_error, error_proba = tied
    accepted = [error_proba <= t for t in np.unique(error_proba)]
    reached = [a.mean() for a in accepted if is_error[a].mean() <= target_risk]
    value = coverage_at_risk(is_error, error_proba, target_risk=target_risk)
    assert_allclose(value, max(reached, default=0))


def test_probability_metrics_are_their_definition(tied):
    is_error, error_proba = tied[0], 0.05 + 0.9 * tied[1]
    assert_allclose(error_brier_score(*tied), np.mean((tied[0] - tied[1]) ** 2))
    proba_of_outcome = np.where(is_error, error_proba, 1 - error_proba)
    assert_allclose(error_log_loss(is_error, error_proba), -np.log(proba_of_outcome).mean())


def test_log_loss_of_a_certain_mistake_is_finite():
    assert_allclose(error_log_loss([True, False], [0, 0]), 36.04 / 2, rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_values", [3, 10_000])
def test_augrc_is_a_function_of_auroc_and_accuracy(weighted, n_values):
    rng = np.random.default_rng(1)
    error_proba = rng.integers(n_values, size=300)
    is_error = rng.random(300) < 0.1 + 0.6 * error_proba / n_values
    weight = rng.gamma(1, size=300) if weighted else None
    acc = 1 - np.average(is_error, weights=weight)
    auroc = error_roc_auc(is_error, error_proba, sample_weight=weight)
    assert_allclose(
        augrc(is_error, error_proba, sample_weight=weight),
        (1 - auroc) * acc * (1 - acc) + (1 - acc) ** 2 / 2,
    )


def test_perfect_ranking_is_the_minimum_of_aurc():
    is_error = np.array([0, 1, 0, 1, 0, 0])
    values = [excess_aurc(is_error, order) for order in itertools.permutations(range(6))]
    assert min(values) == 0
    assert excess_aurc(is_error, is_error) == 0
    assert excess_aurc(is_error, [0.1, 0.8, 0.3, 0.9, 0.2, 0.0]) < 1e-15
    assert max(values) == excess_aurc(is_error, 1 - is_error)


def test_random_order_has_aurc_of_the_error_rate():
    is_error = np.array([1, 0, 0, 1, 0, 0])
    values = [aurc(is_error, order) for order in itertools.permutations(range(6))]
    assert_allclose(np.mean(values), 1 / 3)
    assert_allclose(aurc(is_error, np.zeros(6)), 1 / 3)


@pytest.mark.parametrize("metric", RANKING)
@pytest.mark.parametrize("rescale", [np.log1p, np.cbrt, lambda p: 10 * p - 3, lambda p: -1 / p])
def test_only_the_order_counts(metric, rescale, tied):
    is_error, error_proba = tied
    with np.errstate(divide="ignore"):
        rescaled = rescale(error_proba)  # -1 / 0 is -inf, which has a rank too
    assert_allclose(metric(is_error, rescaled), metric(is_error, error_proba), rtol=1e-14)


@pytest.mark.parametrize("metric", METRICS)
def test_value_does_not_depend_on_row_order(metric, tied):
    is_error, error_proba = tied
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(is_error))
        assert_allclose(
            metric(is_error[order], error_proba[order]), metric(is_error, error_proba), rtol=1e-14
        )


@pytest.mark.parametrize("metric", METRICS)
def test_weights_are_repetitions(metric, tied):
    is_error, error_proba = tied
    weight = np.random.default_rng(2).integers(4, size=len(is_error))
    repeated = np.repeat(is_error, weight), np.repeat(error_proba, weight)
    assert_allclose(metric(is_error, error_proba, sample_weight=weight), metric(*repeated))
    assert_allclose(
        metric(is_error, error_proba, sample_weight=np.ones(len(is_error))),
        metric(is_error, error_proba),
    )


def test_risk_coverage_curve_weights_are_repetitions(tied):
    is_error, error_proba = tied
    weight = np.random.default_rng(2).integers(4, size=len(is_error))
    weighted = risk_coverage_curve(is_error, error_proba, sample_weight=weight)
    repeated = risk_coverage_curve(np.repeat(is_error, weight), np.repeat(error_proba, weight))
    for a, b in zip(weighted, repeated):
        assert_allclose(a, b)


def test_aurc_continues_between_and_beyond_integer_weights(tied):
    """Between weights 2 and 3 the value is monotonic; large weights approach the integral."""
    is_error, error_proba = tied
    values = [
        aurc(is_error, error_proba, sample_weight=np.full(120, w)) for w in np.linspace(2, 3, 9)
    ]
    steps = np.diff(values)
    assert (steps > 0).all() or (steps < 0).all()
    fine = np.linspace(0, 1, 200_001)[1:]
    integral = risk_at_coverage(is_error, error_proba, target_coverage=fine).mean()
    assert_allclose(
        aurc(is_error, error_proba, sample_weight=np.full(120, 1e5)), integral, rtol=1e-4
    )


def test_aurc_is_precise_on_many_samples():
    rng = np.random.default_rng(0)
    error_proba = rng.random(200_000)
    is_error = rng.random(200_000) < error_proba**2
    expected = selective_risks(is_error[np.argsort(error_proba)]).mean()
    assert_allclose(aurc(is_error, error_proba), expected, rtol=1e-9)


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "all_right", "all_wrong"),
    [
        (error_roc_auc, NAN, NAN),
        (error_average_precision, NAN, 1),
        (fpr_at_tpr, NAN, NAN),
        (aurc, 0, 1),
        (excess_aurc, 0, 0),
        (augrc, 0, 0.5),
        (risk_at_coverage, 0, 1),
        (coverage_at_risk, 1, 0),
        (error_brier_score, 0.14 / 3, 1.94 / 3),
        (error_log_loss, -np.log([0.9, 0.8, 0.7]).mean(), -np.log([0.1, 0.2, 0.3]).mean()),
    ],
)
@pytest.mark.parametrize("weight", [None, [2, 1.5, 0]])
def test_all_right_and_all_wrong_are_defined(metric, all_right, all_wrong, weight):
    """A row of weight 0 does not count, though its outcome differs from all others."""
    error_proba = [0.1, 0.2, 0.3]
    for is_error, expected in ([0, 0, 0], all_right), ([1, 1, 1], all_wrong):
        if weight is None:
            assert_allclose(metric(is_error, error_proba), expected)
        elif metric in RANKING:
            odd = [*is_error[:2], 1 - is_error[2]]
            assert_allclose(metric(odd, error_proba, sample_weight=weight), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_any_container_and_plain_number(metric, tied):
    expected = metric(*tied)
    assert type(expected) is float
    for container in list, pd.Series, pl.Series:
        assert metric(container(tied[0]), container(tied[1])) == expected
    assert metric(tied[0].astype(int), tied[1]) == expected


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("is_error", "error_proba", "weight", "match"),
    [
        ([0, 2], [0.1, 0.2], None, "is_error must be True where .* values such as .*2"),
        (["a", "b"], [0.1, 0.2], None, "Compute it as y_pred != y_true"),
        ([None, True], [0.1, 0.2], None, "is_error contains NaN, inf or None in 1 of 2 rows"),
        (pd.Series([pd.NA, True]), [0.1, 0.2], None, "is_error contains NaN, inf or None"),
        (MASKED.astype(bool), [0.1, 0.2], None, "is_error contains NaN, inf or None in 1 of 2"),
        ([0, 1], MASKED, None, "error_proba is a masked array with 1 masked values"),
        ([0, 1], [0.1, 0.2], MASKED, "sample_weight is a masked array with 1 masked values"),
        ([0, 1], [[0.9, 0.1], [0.2, 0.8]], None, "column 1 of a binary predict_proba"),
        ([0, 1], [np.nan, 0.2], None, "error_proba has 1 NaN"),
        ([0, 1], [0.1], None, "inconsistent numbers of samples"),
        ([], [], None, "at least one sample"),
        ([0, 1], [0.1, 0.2], [1, -1], "Negative values in data passed to `sample_weight`"),
        ([0, 1], [0.1, 0.2], [0, 0], "at least one non-zero number, got only 0"),
    ],
)
def test_unusable_input(metric, is_error, error_proba, weight, match):
    with pytest.raises(ValueError, match=match):
        metric(is_error, error_proba, sample_weight=weight)


@pytest.mark.parametrize(
    "evaluate",
    [
        failure_report,
        make_error_scorer(error_roc_auc),
        make_error_scorer(risk_at_coverage, target_coverage=0.5),
        lambda clf, X, y: ErrorModel().fit(X, y, clf.predict_proba(X)),
    ],
    ids=["report", "scorer", "risk", "model"],
)
def test_missing_labels_are_named(evaluate, cancer):
    X, _, y, _ = cancer
    clf = GaussianNB().fit(X, y)
    with pytest.raises(ValueError, match="requires y to be passed, but the target y is None"):
        evaluate(clf, X, None)


@pytest.mark.parametrize("metric", [error_brier_score, error_log_loss])
def test_probability_metrics_refuse_other_scores(metric):
    with pytest.raises(ValueError, match=r"in \[0, 1\] here, got values from -3 to 2"):
        metric([0, 1], [-3, 2])


def test_unusable_targets():
    with pytest.raises(ValueError, match="tpr must be a fraction"):
        fpr_at_tpr([0, 1], [0, 1], tpr=95)
    with pytest.raises(
        ValueError, match=r"target_coverage must be .* got 85\.0\. For 85 % pass 0\.85, not 85\."
    ):
        risk_at_coverage([0, 1], [0, 1], target_coverage=[0.5, 85])
    with pytest.raises(ValueError, match=r"target_risk must be a fraction in \[0, 1\], got 5\."):
        coverage_at_risk([0, 1], [0, 1], target_risk=5)


# failure_report


def test_report_numbers_are_the_metrics(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    labels, proba, error_proba = model._predict_all(X)
    is_error = labels != y
    report = failure_report(model, X, y, n_bootstrap=50, output_dict=True)
    assert (report["n_samples"], report["n_errors"]) == (len(y), is_error.sum())
    assert report["error_rate"] == is_error.mean()
    p2, p1 = np.sort(proba, axis=1)[:, -2:].T
    rest = proba_not_max(proba)
    assert_allclose(rest, 1 - p1, atol=1e-12)
    expected = {"error probability": error_proba, "max probability": rest, "margin": p2 - p1}
    for row, score in expected.items():
        for metric in error_roc_auc, aurc, augrc, fpr_at_tpr:
            assert_allclose(report["scores"][row][metric.__name__], metric(is_error, score))
    for row in "error probability", "max probability":
        for metric in error_log_loss, error_brier_score:
            value = report["scores"][row][metric.__name__]
            assert_allclose(value, metric(is_error, expected[row]))
    assert list(report["scores"]) == ["error probability", "max probability", "margin", "entropy"]
    assert "error_log_loss" not in report["scores"]["margin"]
    assert_allclose(
        report["difference"]["aurc"], aurc(is_error, error_proba) - aurc(is_error, rest)
    )
    for row, intervals in report["intervals"].items():
        for name, (low, high) in intervals.items():
            assert low <= report["scores"][row][name] <= high


def test_report_makes_one_pass_over_the_samples(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    failure_report(model, X, y, n_bootstrap=2)
    assert model.n_passes_ == 1


@pytest.mark.parametrize("weighted", [False, True])
def test_fpr_of_a_draw_is_the_metric(tied, weighted):
    is_error, error_proba = tied
    weight = np.random.default_rng(3).integers(3, size=120) if weighted else None
    expected = fpr_at_tpr(is_error, error_proba, sample_weight=weight)
    ties = tie_weights(is_error, error_proba, weight)
    assert_allclose(_fpr_of_ties(*ties), expected)
    # A draw leaves some ties empty.
    assert_allclose(_fpr_of_ties(*(np.insert(a, [0, 3, len(a)], 0) for a in ties)), expected)


def test_many_rows_get_fewer_draws(digits, monkeypatch):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    monkeypatch.setattr("metaerr_sklearn.metrics._report._MAX_DRAWN_ROWS", 100 * len(y))
    assert failure_report(model, X, y, output_dict=True)["n_bootstrap"] == 100
    assert "those of FPR95 from 100 bootstrap draws" in failure_report(model, X, y)
    assert failure_report(model, X, y, n_bootstrap=20, output_dict=True)["n_bootstrap"] == 20


def test_one_minus_max_probability_keeps_order_and_ties():
    """The order survives where the maximum rounds to 1; equal shares of votes stay tied."""
    small = np.logspace(-20, -2, 50)
    proba = np.column_stack([1 - small, small / 2, small / 2])
    assert len(np.unique(1 - proba.max(axis=1))) < 50
    assert_allclose(proba_not_max(proba), small, rtol=1e-9)
    votes = np.array([[0.7, 0.1, 0.2], [0.7, 0.3, 0.0]])
    assert len(np.unique(proba_not_max(votes))) == 1


def test_all_versions_of_one_minus_max_probability_agree(digits):
    """Naive Bayes saturates: 1 - max has few distinct values, the sum of the others has all."""
    X_train, X, y_train, _ = digits
    base = GaussianNB(var_smoothing=1e-2).fit(X_train, y_train)
    n_distinct = len(np.unique(X, axis=0))
    assert len(np.unique(1 - base.predict_proba(X).max(axis=1))) < 0.9 * n_distinct
    frozen = FrozenEstimator(base)
    models = [
        MetaErrorClassifier(frozen, None).fit(X_train, y_train),
        SelectiveClassifier(frozen, target_coverage=0.8).fit(X_train, y_train),
    ]
    reported, _ = predict_and_compare(base, X, None, needs_labels=False).scores()["max probability"]
    for error_proba in reported, *(model.predict_error_proba(X) for model in models):
        assert len(np.unique(error_proba)) == n_distinct
        assert_allclose(error_proba, reported, rtol=1e-9)


def test_report_with_more_digits_keeps_its_columns_apart(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    lines = failure_report(model, X, y, n_bootstrap=30, digits=5).splitlines()
    rows = [number for number, line in enumerate(lines) if line.startswith("error probability ")]
    for row, n_columns in zip(rows[1:], (4, 2), strict=True):
        assert len(lines[row].split()) == 2 + n_columns
        assert len(lines[row + 1].split()) == n_columns


def test_report_compares_on_the_same_draws(digits):
    """If the error probability is 1 - max probability, the difference is 0 on every draw."""
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0).fit(X_train, y_train)
    report = failure_report(model, X, y, n_bootstrap=20, output_dict=True)
    assert (
        report["intervals"]["error probability"]["aurc"][0]
        < report["scores"]["error probability"]["aurc"]
    )
    assert set(report["difference_interval"].values()) == {(0.0, 0.0)}
    assert set(report["difference"].values()) == {0.0}


def test_report_text_shows_the_dict(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    text = failure_report(model, X, y, n_bootstrap=30)
    report = failure_report(model, X, y, n_bootstrap=30, output_dict=True)
    assert max(map(len, text.splitlines())) <= 80
    low, high = report["error_rate_interval"]
    assert f"error rate = {report['error_rate']:.3f} ({low:.3f} to {high:.3f})" in text
    difference = report["difference"]
    assert f"minus max probability:\n    AUROC {difference['error_roc_auc']:+.3f} (" in text
    rows = [line for line in text.splitlines() if line.startswith("error probability  ")]
    cells = [cell for line in rows for cell in line.split()[2:]]
    values = report["scores"]["error probability"]
    expected = [
        f"{values['error_roc_auc']:.3f}",
        f"{1000 * values['aurc']:.1f}",
        f"{1000 * values['augrc']:.1f}",
        f"{values['fpr_at_tpr']:.3f}",
        f"{values['error_log_loss']:.3f}",
        f"{values['error_brier_score']:.3f}",
    ]
    assert cells == expected
    low, high = report["intervals"]["entropy"]["aurc"]
    assert f"{1000 * low:.1f}-{1000 * high:.1f}" in text
    assert failure_report(model, X, y, n_bootstrap=30) == text
    assert failure_report(model, X, y, n_bootstrap=30, random_state=1) != text


def test_report_without_intervals_is_one_table(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    lines = failure_report(model, X, y, n_bootstrap=0).splitlines()
    (row,) = (line for line in lines if line.startswith("error probability  "))
    assert len(row.split()) == 8
    assert max(map(len, lines)) <= 80


def test_report_of_very_bad_scores_fits_into_80_columns(digits):
    """With most predictions wrong, AURC times 1000 has three digits, also in its bounds."""
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=5).fit(X_train, y_train)
    text = failure_report(model, X, np.roll(y, 1), n_bootstrap=30)
    assert max(map(len, text.splitlines())) <= 80


def test_report_without_bootstrap(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    report = failure_report(model, X, y, n_bootstrap=0, output_dict=True)
    assert report["intervals"] is report["difference_interval"] is None
    assert "interval" not in failure_report(model, X, y, n_bootstrap=0)


@pytest.mark.parametrize("base", [RidgeClassifier(), Perceptron(), GaussianNB()])
@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_report_of_any_classifier_on_frames_with_text_labels(base, frame):
    X, y = load_breast_cancer(return_X_y=True)
    y = np.array(["malignant", "benign"])[y]
    X = frame(X, **({"schema": [f"f{i}" for i in range(30)]} if frame is pl.DataFrame else {}))
    y = pd.Series(y) if frame is pd.DataFrame else pl.Series(y)
    base.fit(X[:300], y[:300])
    report = failure_report(base, X[300:], y[300:], n_bootstrap=0, output_dict=True)
    assert list(report["scores"]) == ["max probability", "margin", "entropy"]
    assert report["difference"] is None
    assert_allclose(1 - report["error_rate"], base.score(X[300:], y[300:]))
    assert "error probability" not in failure_report(base, X[300:], y[300:], n_bootstrap=0)


def test_binary_decision_function_is_sigmoid_of_its_double():
    X, y = load_breast_cancer(return_X_y=True)
    base = RidgeClassifier().fit(X[:300], y[:300])
    is_error = base.predict(X[300:]) != y[300:]
    p1 = 1 / (1 + np.exp(-2 * np.abs(base.decision_function(X[300:]))))
    scores = failure_report(base, X[300:], y[300:], n_bootstrap=0, output_dict=True)["scores"]
    assert_allclose(
        scores["max probability"]["error_log_loss"], error_log_loss(is_error, 1 - p1), rtol=1e-6
    )


def test_error_is_of_the_label_not_of_the_largest_probability():
    X, y = load_breast_cancer(return_X_y=True)
    base = FixedThresholdClassifier(GaussianNB(), threshold=0.999).fit(X[:300], y[:300])
    report = failure_report(base, X[300:], y[300:], n_bootstrap=0, output_dict=True)
    assert report["n_errors"] == (base.predict(X[300:]) != y[300:]).sum()
    assert report["n_errors"] != (base.predict_proba(X[300:]).argmax(axis=1) != y[300:]).sum()


def test_report_of_a_model_inside_pipelines_and_searches(digits):
    X_train, X, y_train, y = digits
    pipeline = make_pipeline(StandardScaler(), CountingErrorPredictor(shift=0.1))
    pipeline.fit(X_train, y_train)
    scaled = pipeline[0].transform(X)
    expected = failure_report(pipeline[-1], scaled, y, n_bootstrap=5)
    assert "error probability" in expected
    search = GridSearchCV(pipeline, {"countingerrorpredictor__shift": [0.1]}, cv=2)
    for wrapped in pipeline, search.fit(X_train, y_train), FrozenEstimator(pipeline):
        assert failure_report(wrapped, X, y, n_bootstrap=5) == expected
    assert failure_report(make_pipeline(pipeline[-1]), scaled, y, n_bootstrap=5) == expected


@pytest.mark.parametrize("base", [GaussianNB(), CountingErrorPredictor(shift=0.2)])
def test_report_of_a_selective_classifier_is_about_all_rows(digits, base):
    """An abstention is not an error: the report is that of the estimator inside."""
    X_train, X, y_train, y = digits
    selective = SelectiveClassifier(base, target_coverage=0.7, random_state=0)
    selective.fit(X_train, y_train)
    assert (selective.predict(X) == None).any()  # noqa: E711
    report = failure_report(selective, X, y, n_bootstrap=3)
    assert report == failure_report(selective.estimator_, X, y, n_bootstrap=3)


def test_report_weights_are_repetitions(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    weight = np.random.default_rng(0).integers(3, size=len(y))
    options = {"n_bootstrap": 0, "output_dict": True}
    weighted = failure_report(model, X, y, sample_weight=weight, **options)
    repeated = failure_report(model, np.repeat(X, weight, axis=0), np.repeat(y, weight), **options)
    assert_allclose(weighted["error_rate"], repeated["error_rate"])
    for row, values in repeated["scores"].items():
        assert_allclose(list(weighted["scores"][row].values()), list(values.values()))
    counted = weight > 0
    without = failure_report(model, X[counted], y[counted], **options)
    for name in ("n_samples", "n_errors"):
        assert weighted[name] == without[name] < len(y)


@pytest.mark.parametrize("n_errors", [0, 1])
def test_report_with_no_error_or_one(digits, n_errors):
    X_train, X, y_train, _ = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    y = model.predict(X)
    y[:n_errors] = np.where(y[:n_errors] == "digit 0", "digit 1", "digit 0")
    report = failure_report(model, X, y, n_bootstrap=50, output_dict=True)
    assert np.isnan(report["scores"]["error probability"]["error_roc_auc"]) == (n_errors == 0)
    assert np.isnan(report["intervals"]["error probability"]["error_roc_auc"]).all() == (
        n_errors == 0
    )
    assert ("n/a" in failure_report(model, X, y, n_bootstrap=50)) == (n_errors == 0)


@pytest.mark.parametrize("n_rows", [500, 790])
def test_report_if_all_predictions_are_wrong(digits, n_rows):
    """The error rate is exactly 1, and no cell touches the one before it."""
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=5).fit(X_train, y_train)
    X = X[:n_rows]
    y = np.where(model.predict(X) == "digit 0", "digit 1", "digit 0")
    text = failure_report(model, X, y, n_bootstrap=10)
    assert f"error rate = 1.000 ({1 - 3.8415 / (n_rows + 3.8415):.3f} to 1.000)" in text
    assert "\n    AUROC n/a, AURC +0.0 (" in text
    lines = text.splitlines()
    row = next(k for k, line in enumerate(lines) if "1000.0" in line)
    assert len(lines[row + 1].split()) == 4
    assert max(map(len, lines)) <= 80


def test_report_of_unusable_input(digits):
    X_train, X, y_train, y = digits

    class Bare(ClassifierMixin, BaseEstimator):
        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(TypeError, match="Bare has none of predict_error_proba, predict_proba"):
        failure_report(Bare(), X, y)
    model = CountingErrorPredictor().fit(X_train, y_train)
    for draws in (-1, 10.5, "100", None, np.inf):
        with pytest.raises(ValueError, match="n_bootstrap must be a number of draws"):
            failure_report(model, X, y, n_bootstrap=draws)
    for digits, error in ((-1, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match=r"^digits"):
            failure_report(model, X, y, digits=digits)
    with pytest.raises(ValueError, match="confidence_level must be a fraction"):
        failure_report(model, X, y, confidence_level=95)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        failure_report(model, X, y[:-1])


def test_report_of_a_base_with_labels_only(digits):
    class LabelsOnly(ClassifierMixin, BaseEstimator):
        def fit(self, X, y):
            self.base_ = GaussianNB().fit(X, y)
            self.classes_ = self.base_.classes_
            return self

        def predict(self, X):
            return self.base_.predict(X)

    X_train, X, y_train, y = digits
    model = MetaErrorClassifier(LabelsOnly(), "logistic", random_state=0).fit(X_train, y_train)
    report = failure_report(model, X, y, n_bootstrap=0, output_dict=True)
    assert list(report["scores"]) == ["error probability"]


def test_report_of_a_meta_error_classifier(digits):
    """On digits with naive Bayes the error probability is clearly better than max probability."""
    X_train, X, y_train, y = digits
    model = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X_train, y_train)
    report = failure_report(model, X, y, n_bootstrap=200, output_dict=True)
    assert report["difference_interval"]["error_roc_auc"][0] > 0.02
    assert report["difference_interval"]["aurc"][1] < 0
    is_error = model.predict(X) != y
    assert_allclose(
        report["scores"]["error probability"]["error_roc_auc"],
        roc_auc_score(is_error, model.predict_error_proba(X)),
    )


@pytest.mark.slow
def test_report_intervals_cover_the_auroc_of_the_population():
    """A 90 % interval contains the AUROC of the population in about 90 % of the samples."""
    rng = np.random.default_rng(0)

    class ErrorsInX(ClassifierMixin, BaseEstimator):
        def predict(self, X):
            return X[:, 1]

        def predict_error_proba(self, X):
            return X[:, 0]

    def draw(n):
        error_proba = rng.random(n)
        return error_proba, rng.random(n) < error_proba**2

    population_auroc = error_roc_auc(*draw(1_000_000)[::-1])
    covered = []
    for _ in range(300):
        error_proba, is_error = draw(300)
        report = failure_report(
            ErrorsInX(),
            np.column_stack([error_proba, is_error]),
            np.zeros(300),
            n_bootstrap=200,
            confidence_level=0.9,
            random_state=rng.integers(2**31 - 1),
            output_dict=True,
        )
        low, high = report["intervals"]["error probability"]["error_roc_auc"]
        covered.append(low <= population_auroc <= high)
    assert 0.84 <= np.mean(covered) <= 0.95


# Scorers


def test_names_of_negated_scorers_begin_with_neg(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    labels, error_proba = model.predict_with_error(X)
    for name, scorer in ERROR_SCORERS.items():
        metric = {m.__name__: m for m in METRICS}[name.removeprefix("neg_")]
        sign = -1 if name.startswith("neg_") else 1
        assert scorer(model, X, y) == sign * metric(labels != y, error_proba)
    # A perfect error probability has a higher score than a constant one, under every name.
    is_error = np.array([0, 0, 1, 1])
    for name in ERROR_SCORERS:
        metric = {m.__name__: m for m in METRICS}[name.removeprefix("neg_")]
        sign = -1 if name.startswith("neg_") else 1
        assert sign * metric(is_error, is_error) > sign * metric(is_error, np.full(4, 0.5))


def test_all_scorers_make_one_pass(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    scores = ERROR_SCORERS(model, X, y)
    assert model.n_passes_ == 1
    assert scores == {name: scorer(model, X, y) for name, scorer in ERROR_SCORERS.items()}


def test_cross_validate_makes_one_pass_a_fold(digits):
    X, _, y, _ = digits
    results = cross_validate(
        CountingErrorPredictor(), X, y, cv=3, scoring=ERROR_SCORERS, return_estimator=True
    )
    assert [model.n_passes_ for model in results["estimator"]] == [1, 1, 1]
    assert {f"test_{name}" for name in ERROR_SCORERS} <= set(results)
    scorer = make_error_scorer(aurc)
    single = cross_val_score(CountingErrorPredictor(), X, y, cv=3, scoring=scorer)
    assert_allclose(results["test_neg_aurc"], single)


@pytest.mark.parametrize("refit", ["error_roc_auc", "neg_aurc"])
def test_grid_search_by_error_metrics(digits, refit):
    X_train, X, y_train, y = digits
    shifts = [0.0, 0.1, 0.5]
    search = GridSearchCV(
        CountingErrorPredictor(), {"shift": shifts}, cv=3, scoring=ERROR_SCORERS, refit=refit
    ).fit(X_train, y_train)
    means = [
        cross_val_score(
            CountingErrorPredictor(s), X_train, y_train, cv=3, scoring=ERROR_SCORERS[refit]
        ).mean()
        for s in shifts
    ]
    assert search.best_params_ == {"shift": shifts[np.argmax(means)]}
    assert_allclose(search.cv_results_[f"mean_test_{refit}"], means)
    assert search.score(X, y) == ERROR_SCORERS[refit](search.best_estimator_, X, y)


def test_scorers_beside_others(digits):
    X, _, y, _ = digits
    scoring = {**ERROR_SCORERS, "accuracy": "accuracy"}
    results = cross_validate(GaussianNB(), X, y, cv=3, scoring=scoring)
    expected = cross_validate(GaussianNB(), X, y, cv=3, scoring=ERROR_SCORERS)
    assert_allclose(results["test_neg_augrc"], expected["test_neg_augrc"])
    assert "test_accuracy" in results


def test_plain_classifier_is_scored_by_max_probability(digits):
    X_train, X, y_train, y = digits
    base = LogisticRegression(C=1e-4, max_iter=1000).fit(X_train, y_train)
    is_error = base.predict(X) != y
    expected = roc_auc_score(is_error, -base.predict_proba(X).max(axis=1))
    assert_allclose(ERROR_SCORERS["error_roc_auc"](base, X, y), expected)


def test_fold_without_error_scores_nan_where_nothing_is_ranked(digits):
    X_train, X, y_train, _ = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    scores = ERROR_SCORERS(model, X, model.predict(X))
    undefined = {name for name, value in scores.items() if np.isnan(value)}
    assert undefined == {"error_roc_auc", "error_average_precision", "neg_fpr_at_tpr"}


def test_scorers_take_weights(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor(shift=0.2).fit(X_train, y_train)
    weight = np.random.default_rng(0).integers(3, size=len(y))
    weighted = ERROR_SCORERS(model, X, y, sample_weight=weight)
    repeated = ERROR_SCORERS(model, np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_allclose(list(weighted.values()), list(repeated.values()))


@pytest.mark.parametrize("scoring", [ERROR_SCORERS, dict(ERROR_SCORERS), ERROR_SCORERS["neg_aurc"]])
def test_grid_search_with_sample_weight_and_no_routing(digits, scoring):
    X, _, y, _ = digits
    search = GridSearchCV(
        CountingErrorPredictor(), {"shift": [0, 0.1]}, cv=2, scoring=scoring, refit=False
    )
    search.fit(X, y, sample_weight=np.ones(len(y)))
    assert np.isfinite(
        search.cv_results_["mean_test_neg_aurc" if isinstance(scoring, dict) else "mean_test_score"]
    ).all()


@pytest.mark.parametrize("one", [False, True])
def test_scorers_request_weights_by_routing(digits, one):
    X, _, y, _ = digits
    weight = np.random.default_rng(0).integers(1, 3, size=len(y))
    scoring = make_error_scorer(aurc) if one else ERROR_SCORERS
    key = "test_score" if one else "test_neg_aurc"
    with config_context(enable_metadata_routing=True):
        model = CountingErrorPredictor().set_fit_request(sample_weight=False)
        plain = cross_validate(model, X, y, cv=2, scoring=scoring, params={})
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            cross_validate(model, X, y, cv=2, scoring=scoring, params={"sample_weight": weight})
        requesting = scoring.set_score_request(sample_weight=True)
        weighted = cross_validate(
            model, X, y, cv=2, scoring=requesting, params={"sample_weight": weight}
        )
        search = GridSearchCV(model, {"shift": [0]}, cv=2, scoring=requesting, refit=False)
        search.fit(X, y, sample_weight=weight)
        # The shared scorers have not changed.
        cross_validate(model, X, y, cv=2, scoring=scoring, params={})
    halves = cross_validate(CountingErrorPredictor(), X, y, cv=2, return_indices=True)["indices"]
    for train, test, value in zip(halves["train"], halves["test"], weighted[key]):
        fitted = CountingErrorPredictor().fit(X[train], y[train])
        labels, error_proba = fitted.predict_with_error(X[test])
        expected = -aurc(labels != y[test], error_proba, sample_weight=weight[test])
        assert_allclose(value, expected)
    assert not np.allclose(plain[key], weighted[key])
    assert_allclose(search.cv_results_[f"mean_{key}"], weighted[key].mean())


def test_score_request_needs_routing():
    with pytest.raises(RuntimeError, match="enable_metadata_routing=True"):
        ERROR_SCORERS.set_score_request(sample_weight=True)


def test_scorers_survive_pickling(digits):
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    copied = pickle.loads(pickle.dumps(ERROR_SCORERS))
    assert copied(model, X, y) == ERROR_SCORERS(model, X, y)
    scorer = make_error_scorer(fpr_at_tpr, tpr=0.5)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == scorer(model, X, y)
    assert repr(scorer) == "make_error_scorer(fpr_at_tpr, greater_is_better=False, tpr=0.5)"


def test_the_direction_of_a_custom_metric_is_required(digits):
    def errors_flagged(is_error, error_proba, *, sample_weight=None):
        return float((error_proba[is_error] > 0.1).mean())

    with pytest.raises(ValueError, match="Pass greater_is_better=True if a high value is good"):
        make_error_scorer(errors_flagged)
    X_train, X, y_train, y = digits
    model = CountingErrorPredictor().fit(X_train, y_train)
    assert 0 < make_error_scorer(errors_flagged, greater_is_better=True)(model, X, y) <= 1


@pytest.mark.parametrize(
    ("metric", "kwargs", "message"),
    [
        ("aurc", {}, r"^metric must be a function .*, got 'aurc'\. Pass one of"),
        (None, {}, "^metric must be a function .*, got None"),
        (risk_at_coverage, {"coverage": 0.5}, "arguments .* do not allow: .*'coverage'"),
        (lambda is_error, error_proba: 0, {"greater_is_better": True}, "allow: .*'sample_weight'"),
    ],
)
def test_a_metric_that_cannot_be_called_is_refused_before_any_search(metric, kwargs, message):
    """A search would give NaN for each fit, and warn only after the fits."""
    with pytest.raises(TypeError, match=message):
        make_error_scorer(metric, **kwargs)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_augrc_of_weights_of_any_scale(scale):
    is_error, error_proba = [0, 1, 0, 1], [0.1, 0.8, 0.3, 0.2]
    weight = np.full(4, scale)
    assert_allclose(augrc(is_error, error_proba, sample_weight=weight), 0.1875)


class PassCountingNB(GaussianNB):
    """Count the passes over X."""

    n_passes_ = 0

    def predict(self, X):
        self.n_passes_ += 1
        return super().predict(X)

    def predict_proba(self, X):
        self.n_passes_ += 1
        return super().predict_proba(X)


@pytest.mark.parametrize("has_error_proba", [True, False])
def test_report_of_a_selective_classifier_makes_the_passes_of_predict(has_error_proba, noisy_data):
    X, y = noisy_data
    wrapped = MetaErrorClassifier(PassCountingNB(), "logistic", cv=2, random_state=0)
    wrapped = wrapped if has_error_proba else PassCountingNB()
    clf = SelectiveClassifier(wrapped, target_coverage=0.8, random_state=0).fit(X, y)
    base = clf.estimator_.estimator_ if has_error_proba else clf.estimator_
    base.n_passes_ = 0
    clf.predict(X)
    n_passes, base.n_passes_ = base.n_passes_, 0
    report = failure_report(clf, X, y, n_bootstrap=0, output_dict=True)
    assert base.n_passes_ == n_passes
    assert "max probability" in report["scores"]


@pytest.mark.parametrize(
    "evaluate",
    [
        lambda clf, X, y: failure_report(clf, X, y, n_bootstrap=0),
        ERROR_SCORERS,
        SelectiveClassifier.score,
    ],
)
def test_labels_of_which_none_is_a_class_are_noticed(evaluate):
    """Labels in capitals would make every prediction an error, in silence."""
    X, y = load_breast_cancer(return_X_y=True)
    y = np.array(["bad", "good"])[y]
    clf = SelectiveClassifier(GaussianNB(), target_coverage=0.8, random_state=0).fit(X, y)
    evaluate(clf, X, np.where(y == "bad", "bad", "new"))  # a class of which the base has no row
    with pytest.warns(UserWarning, match="No label in y is a class .*like 'BAD', .*as an error"):
        evaluate(clf, X, np.char.upper(y))
