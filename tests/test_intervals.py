"""Intervals of a report: their level with few errors, ties and weights, and their formulas."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binomtest, norm, t

from metaerr_sklearn.metrics import augrc, aurc, error_brier_score, error_log_loss, error_roc_auc
from metaerr_sklearn.metrics._intervals import Intervals, effective_number, wilson

RANKING = (error_roc_auc, aurc, augrc)


def estimates(is_error, score, weight=None, level=0.95):
    weight = np.ones(len(score)) if weight is None else weight
    intervals = Intervals(is_error, weight, level)
    values = [metric(is_error, score, sample_weight=weight) for metric in RANKING]
    return intervals, intervals.ranking(score, values)


def draw(rng, n_samples, rate, shift, kind="normal"):
    """Two scores of the same rows, the first one better."""
    is_error = rng.random(n_samples) < rate
    shared = rng.normal(size=n_samples)
    scores = [
        0.8 * shared + 0.6 * rng.normal(size=n_samples) + gain * shift * is_error
        for gain in (1, 0.75)
    ]
    if kind == "ties":
        scores = [np.round(score) for score in scores]
    weight = rng.lognormal(0, 0.7, n_samples) if kind == "weights" else np.ones(n_samples)
    return is_error, scores, weight


@pytest.mark.draws
@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        pytest.param("ties", marks=pytest.mark.slow),
        pytest.param("weights", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    ("n_samples", "rate"), [(200, 0.05), (1000, 0.02), (500, 0.1)], ids=["10", "20", "50"]
)
def test_level_with_few_errors(n_samples, rate, kind):
    """Quantiles of bootstrap draws contain the AURC in 83 % of samples with ten errors."""
    rng = np.random.default_rng(0)
    is_error, scores, _ = draw(rng, 400_000, rate, 1.5, kind)
    true_value = np.array([[metric(is_error, score) for metric in RANKING] for score in scores])
    held, n_runs = np.zeros((3, 3)), 600
    rates = []
    for _ in range(n_runs):
        is_error, scores, weight = draw(rng, n_samples, rate, 1.5, kind)
        if not is_error.any():
            n_runs -= 1
            continue
        (intervals, one), (_, other) = (estimates(is_error, score, weight) for score in scores)
        rates.append(intervals.rate_interval[0] <= rate <= intervals.rate_interval[1])
        for j in range(3):
            low, high = intervals.difference(one[j], other[j])
            held[0, j] += one[j].low <= true_value[0, j] <= one[j].high
            held[1, j] += other[j].low <= true_value[1, j] <= other[j].high
            held[2, j] += low <= true_value[0, j] - true_value[1, j] <= high
    # The level of 93 to 97 %, and two standard errors of 600 runs.
    assert_allclose(held / n_runs, 0.95, atol=0.04)
    assert_allclose(np.mean(rates), 0.95, atol=0.04)


@pytest.mark.draws
def test_level_of_a_nearly_perfect_score():
    """DeLong's interval contains the AUROC in 87 to 92 % of such samples."""
    rng = np.random.default_rng(0)
    true_value, held = norm.cdf(3 / np.sqrt(2)), []
    for _ in range(600):
        is_error, scores, _ = draw(rng, 300, 0.1, 3.0)
        _, (one, *_) = estimates(is_error, scores[0])
        held.append(one.low <= true_value <= one.high)
    assert 0.93 < np.mean(held) < 0.99


@pytest.mark.parametrize("weighted", [False, True])
def test_influence_is_the_derivative(weighted):
    rng = np.random.default_rng(0)
    is_error, score = rng.random(90) < 0.3, np.round(rng.normal(size=90), 1)
    # The sum of many rows: the definition of AURC has a correction for few rows.
    weight = 200.0 * (rng.integers(1, 4, 90) if weighted else np.ones(90))
    intervals, found = estimates(is_error, score, weight)
    step = 1e-4
    correction = np.sqrt(
        np.where(
            is_error,
            intervals.n_wrong / (intervals.n_wrong - 1),
            intervals.n_right / (intervals.n_right - 1),
        )
    )
    for metric, one, scale in zip(RANKING, found, (correction, 1, 1)):
        slopes = []
        for row in range(90):
            more = weight.copy()
            more[row] += step * weight.sum()
            more *= weight.sum() / more.sum()
            slopes.append((metric(is_error, score, sample_weight=more) - one.value) / step)
        assert_allclose(one.influence, np.array(slopes) * scale, atol=3e-3)


def test_large_samples_give_the_interval_of_the_normal_distribution():
    rng = np.random.default_rng(0)
    is_error, (score, _), _ = draw(rng, 20_000, 0.2, 1.5)
    intervals, (auroc, *_) = estimates(is_error, score)
    wrong, right = score[is_error], np.sort(score[~is_error])
    below = np.searchsorted(right, wrong) / len(right)
    above = 1 - np.searchsorted(np.sort(wrong), score[~is_error]) / len(wrong)
    error = np.sqrt(below.var(ddof=1) / len(wrong) + above.var(ddof=1) / len(right))  # DeLong
    assert_allclose(auroc.error, error, rtol=1e-6)
    assert_allclose(
        [auroc.low, auroc.high], auroc.value + 1.96 * error * np.array([-1, 1]), atol=2e-4
    )
    assert_allclose(intervals.t_quantile, t(is_error.sum() - 1).ppf(0.975))


def test_rare_outcomes_are_counted_with_their_weights():
    is_error = np.arange(100) < 8
    weight = np.where(np.arange(100) < 4, 3.0, 1.0)
    intervals = Intervals(is_error, weight, 0.9)
    assert_allclose(intervals.n_wrong, 16**2 / 40)
    assert_allclose(intervals.t_quantile, t(16**2 / 40 - 1).ppf(0.95))
    assert effective_number(np.full(7, 0.3)) == pytest.approx(7)
    few_right = Intervals(~is_error, np.ones(100), 0.9)
    assert_allclose(few_right.t_quantile, t(7).ppf(0.95))


@pytest.mark.parametrize("n_errors", [1, 2, 5])
def test_perfect_separation_has_an_interval(n_errors):
    is_error = np.arange(200) >= 200 - n_errors
    intervals, found = estimates(is_error, np.arange(200.0))
    assert found[0].value == found[0].high == 1
    assert found[0].low < 0.95
    _, worse = estimates(is_error, np.arange(200.0) % 190)
    for one, other in zip(found, worse):
        assert 0 <= one.low <= one.value <= one.high <= 1
        low, high = intervals.difference(one, other)
        assert -1 <= low <= one.value - other.value <= high <= 1
    low, high = intervals.difference(found[0], found[0])
    assert low < 0 < high


@pytest.mark.parametrize("all_wrong", [False, True])
def test_without_an_error_the_bounds_are_those_of_a_random_order(all_wrong):
    is_error = np.full(100, all_wrong)
    intervals, (auroc, area, general) = estimates(is_error, np.arange(100.0))
    low, high = intervals.rate_interval
    assert (high if all_wrong else low) == all_wrong
    assert 0.02 < high - low < 0.06
    assert np.isnan([auroc.value, auroc.low, auroc.high]).all()
    assert (area.low, area.high) == (low, high)
    assert_allclose((general.low, general.high), (low / 2, high / 2))
    assert np.isnan(intervals.difference(auroc, auroc)).all()


def test_wilson_is_that_of_scipy():
    for k, n in ((0, 10), (3, 10), (10, 10), (40, 1000)):
        expected = binomtest(k, n).proportion_ci(0.9, method="wilson")
        assert_allclose(wilson(k / n, n, norm.ppf(0.95)), expected, atol=1e-12)
    assert np.isnan(wilson(0.5, 0, 1.96)).all()


def test_mean_losses_have_log_bounds():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 5, 400)
    is_error = rng.random(400) < p
    intervals = Intervals(is_error, np.ones(400), 0.95)
    losses = (p - is_error) ** 2
    value = error_brier_score(is_error, p)
    one = intervals.mean_loss(losses, value, 1.0)
    assert_allclose(one.error, losses.std() / 20)
    assert_allclose(one.low * one.high, value**2)
    assert one.low < value < one.high < error_log_loss(is_error, p)
    worse = intervals.mean_loss(losses + 0.1 * is_error, value + 0.1 * is_error.mean(), 1.0)
    margin = intervals.t_quantile * 0.1 * is_error.std() / 20
    expected = 0.1 * is_error.mean() + margin * np.array([-1, 1])
    assert_allclose(intervals.mean_difference(worse, one), expected)
