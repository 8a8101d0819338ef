"""Accuracy without labels: its error, also on harder rows, and the coverage of its interval."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from scipy.special import expit, logit
from scipy.stats import beta
from sklearn.cluster import KMeans
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._utils.platt import PlattScaling
from metaerr_sklearn.accuracy_estimation import accuracy_interval
from metaerr_sklearn.error_model._sampling import learned_share
from metaerr_sklearn.representation import NumericRepresentation


@pytest.mark.draws
def test_interval_is_what_a_bootstrap_tends_to():
    """Draw outcomes of the out-of-fold rows and recalibrate; draw the new rows and their errors."""
    rng = np.random.default_rng(0)
    oof = expit(rng.normal(-1.5, 1.5, size=400))
    new = expit(rng.normal(-0.5, 1.0, size=250))
    x, x_new = logit(oof)[:, None], logit(new)[:, None]
    rates = []
    for _ in range(1500):
        line = LogisticRegression(C=np.inf).fit(x, rng.random(400) < oof)
        drawn = line.predict_proba(x_new[rng.integers(250, size=250)])[:, 1]
        rates.append((rng.random(250) < drawn).mean())
    estimate = accuracy_interval(new, oof)
    low, high = 1 - np.quantile(rates, [0.975, 0.025])
    assert_allclose(estimate.accuracy, 1 - new.mean())
    assert_allclose([estimate.low, estimate.high], [low, high], atol=0.012)


@pytest.mark.parametrize("n_errors", [0, 3, 40])
def test_many_rows_of_one_probability_give_the_jeffreys_interval(n_errors):
    rate = (n_errors + 0.5) / 301
    estimate = accuracy_interval(np.full(10**6, rate), np.full(300, rate))
    low, high = 1 - beta(n_errors + 0.5, 300.5 - n_errors).ppf([0.975, 0.025])
    assert_allclose([estimate.low, estimate.high], [low, high], atol=0.002)


def test_interval_covers_the_accuracy_of_simulated_rows():
    """The calibration is fitted on 200 rows; the interval is for 150 harder rows."""
    rng = np.random.default_rng(0)
    covered, widths = [], []
    for _ in range(500):
        score, harder = rng.normal(size=200), rng.normal(0.7, 1, size=150)
        is_error = rng.random(200) < expit(1.3 * score - 2)
        platt = PlattScaling().fit(score, is_error, np.ones(200))
        oof, new = expit(platt.predict(score)), expit(platt.predict(harder))
        _, low, high, _ = accuracy_interval(new, oof, confidence_level=0.9)
        accuracy = 1 - (rng.random(150) < expit(1.3 * harder - 2)).mean()
        covered.append(low <= accuracy <= high)
        widths.append(high - low)
    assert 0.88 < np.mean(covered) < 0.99
    assert np.mean(widths) < 0.2


@pytest.mark.parametrize("kind", ["equal", "lognormal", "importance", "sample"])
def test_interval_has_its_level_whatever_the_weights(kind):
    """The accuracy on many rows, so that the interval is that of the error model."""
    rng = np.random.default_rng(0)
    n_train = 4000 if kind == "sample" else 600
    covered = []
    for _ in range(400):
        score = rng.normal(size=n_train)
        is_error = rng.random(n_train) < expit(1.3 * score - 1)
        weight, new, learned = np.ones(n_train), rng.normal(size=4000), slice(None)
        if kind == "lognormal":
            weight = rng.lognormal(0, 1.5, n_train)
        elif kind == "importance":
            weight, new = np.exp(score), new + 1
        elif kind == "sample":
            learned = np.arange(600)
        platt = PlattScaling().fit(score[learned], is_error[learned], weight[learned])
        oof, error_proba = expit(platt.predict(score)), expit(platt.predict(new))
        share = learned_share(is_error, None if kind != "sample" else learned)
        _, low, high, _ = accuracy_interval(
            error_proba, oof, oof_weight=weight, learned_share=share, confidence_level=0.9
        )
        covered.append(low <= 1 - expit(1.3 * new - 1).mean() <= high)
    assert 0.86 < np.mean(covered) < 0.95


def test_equal_weights_give_the_unweighted_interval():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 5, size=300)
    expected = accuracy_interval(p, p)
    assert_allclose(accuracy_interval(p, p, oof_weight=np.full(300, 7.0)), expected)
    unequal = accuracy_interval(p, p, oof_weight=rng.lognormal(0, 1.5, 300))
    assert np.ptp(unequal[1:3]) > 1.5 * np.ptp(expected[1:3])


def test_learned_share_is_that_of_rows_and_larger_with_more_errors():
    is_error = np.arange(1000) < 100
    assert learned_share(is_error, None) == 1
    assert_allclose(learned_share(is_error, np.arange(0, 1000, 10)), 0.1)
    with_all_errors = np.r_[0:100, 100:1000:10]
    assert 0.4 < learned_share(is_error, with_all_errors) < 0.6
    assert learned_share(np.zeros(10, bool), np.arange(5)) == 0.5


def test_rows_that_were_not_learned_from_do_not_narrow_the_interval(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 3))
    y = (X[:, 0] + rng.normal(size=4000) > 0).astype(int)
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 400)
    widths = []
    for n_train in (400, 4000):
        clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
        clf.fit(X[:n_train], y[:n_train])
        assert clf.error_model_.n_learned_rows_ <= 420
        widths.append(np.ptp(clf.estimate_accuracy(X)[1:3]))
    assert 0.8 < widths[1] / widths[0] < 1.2


@pytest.mark.parametrize("n_samples", [1, 2, 30, 1000])
@pytest.mark.parametrize("error_proba", [0.0, 1e-9, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("oof", [0.0, 0.3, 1.0])
def test_bounds_are_possible_values_around_the_estimate(n_samples, error_proba, oof):
    new = np.full(n_samples, error_proba)
    accuracy, low, high, _ = accuracy_interval(new, np.array([oof] * 20 + [np.nan]))
    assert 0 <= low <= accuracy <= high <= 1
    for bound in (low, high):
        steps = bound * n_samples
        assert bound == accuracy or abs(steps - round(steps)) < 1e-6


def test_no_error_in_a_small_batch_is_inside():
    """Most batches of 50 rows at 1 % have no error, so the interval must contain 1."""
    assert accuracy_interval(np.full(50, 0.01), np.full(300, 0.01)).high == 1


def test_more_new_rows_and_more_out_of_fold_rows_narrow_the_interval():
    rng = np.random.default_rng(0)
    p = rng.beta(1, 5, size=20_000)
    widths = np.array(
        [[np.ptp(accuracy_interval(p[:n], p[:m])[1:3]) for n in (100, 1000)] for m in (100, 1000)]
    )
    assert (np.diff(widths, axis=0) < 0).all()
    assert (np.diff(widths, axis=1) < 0).all()
    wider = accuracy_interval(p[:100], p[:100], confidence_level=0.99)
    assert np.ptp(wider[1:3]) > widths[0, 0]


def batches_of(X, rng):
    """Yield positions of random batches, clusters and ends of columns, and whether shifted."""
    for _ in range(10):
        yield rng.choice(len(X), 100, replace=False), False
    cluster = KMeans(6, n_init=1, random_state=0).fit_predict(StandardScaler().fit_transform(X))
    for number in range(6):
        yield np.flatnonzero(cluster == number), True
    varied = np.flatnonzero(X.std(axis=0) > 0)
    for column in rng.choice(varied, 6, replace=False):
        order = np.argsort(X[:, column] + 1e-6 * rng.random(len(X)))
        yield order[: len(X) // 5], True
        yield order[-(len(X) // 5) :], True


@pytest.mark.draws
@pytest.mark.parametrize("data", ["digits", "cancer"])
@pytest.mark.parametrize(
    "base",
    [
        RandomForestClassifier(50, random_state=0),
        DecisionTreeClassifier(max_depth=6, random_state=0),
        GaussianNB(var_smoothing=1e-3),
    ],
    ids=lambda base: type(base).__name__,
)
def test_is_nearer_to_the_accuracy_of_batches_than_training_accuracy_and_confidence(
    data, base, request
):
    X_train, X, y_train, y = request.getfixturevalue(data)
    clf = MetaErrorClassifier(base, "logistic", random_state=0).fit(X_train, y_train)
    is_right = clf.predict(X) == y
    confidence = clf.predict_proba(X).max(axis=1)
    miss, covered = {False: [], True: []}, {False: [], True: []}
    for rows, shifted in batches_of(X, np.random.default_rng(0)):
        if len(rows) < 20:
            continue
        accuracy, estimate = is_right[rows].mean(), clf.estimate_accuracy(X[rows])
        guesses = [estimate.accuracy, 1 - clf.oof_error_rate_, confidence[rows].mean()]
        miss[shifted].append(np.abs(np.array(guesses) - accuracy))
        covered[shifted].append(estimate.low <= accuracy <= estimate.high)
    ours, training_accuracy, mean_confidence = np.mean(miss[True], axis=0)
    assert ours < 0.8 * training_accuracy
    assert ours < 0.8 * mean_confidence
    assert ours < 0.04
    assert np.mean(covered[False]) >= 0.9
    assert np.mean(covered[True]) >= 0.8


def test_novelty_is_the_share_of_rows_far_from_the_training_rows(noisy_data, monkeypatch):
    """The slow definition: mean distance to ten neighbours, on standardised columns."""
    monkeypatch.setattr(
        "metaerr_sklearn.meta_features._neighbors.NeighborIndex.slack_at_low_rank", 0
    )
    X, y = noisy_data
    X_train, X_new = X[:300], X[300:] * np.linspace(1, 3, 100)[:, None]
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X_train, y[:300])
    scale = StandardScaler().fit(X_train)
    between = np.sort(cdist(scale.transform(X_train), scale.transform(X_train)), axis=1)
    new = np.sort(cdist(scale.transform(X_new), scale.transform(X_train)), axis=1)
    between, new = between[:, 1:11].mean(axis=1), new[:, :10].mean(axis=1)
    expected = ((between < new[:, None]).mean(axis=1) > 0.99).mean()
    assert 0.1 < expected < 0.9
    with pytest.warns(UserWarning, match=f"{expected:.0%} of the 100 rows are unlike"):
        estimate = clf.estimate_accuracy(X_new)
    assert_allclose(estimate.novelty, expected, atol=0.011)


@pytest.mark.parametrize("data", ["digits", "cancer"])
def test_novelty_is_high_for_rows_unlike_the_training_rows(data, request):
    X_train, X, y_train, _ = request.getfixturevalue(data)
    base = RandomForestClassifier(50, random_state=0)
    clf = MetaErrorClassifier(base, "logistic", random_state=0).fit(X_train, y_train)
    noise = np.random.default_rng(0).normal(0, X.std(), X.shape)
    assert clf.estimate_accuracy(X).novelty < 0.04
    with pytest.warns(UserWarning, match="do not hold on such rows.* predict_novelty"):
        assert clf.estimate_accuracy(X + noise).novelty > 0.9


def test_novelty_is_nan_without_neighbors(noisy_data):
    clf = MetaErrorClassifier(GaussianNB(), meta_features="confidence").fit(*noisy_data)
    accuracy, low, high, novelty = clf.estimate_accuracy(noisy_data[0])
    assert 0 < low < accuracy < high < 1
    assert np.isnan(novelty)


def test_one_pass_of_the_base(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X, y)
    calls = []

    class Counting:
        classes_ = clf.classes_

        def predict_proba(self, X):
            calls.append(len(X))
            return base.predict_proba(X)

    base, clf.estimator_ = clf.estimator_, Counting()
    clf.estimate_accuracy(X[:70])
    assert calls == [70]


def test_frame_with_text_labels(mixed_frame):
    X, y = mixed_frame
    base = make_pipeline(NumericRepresentation(), LogisticRegression())
    clf = MetaErrorClassifier(base, "logistic", random_state=0).fit(X[:250], y[:250])
    _, low, high, _ = clf.estimate_accuracy(X[250:])
    assert low < clf.score(X[250:], y[250:]) < high


def test_without_out_of_fold_errors_the_interval_is_that_of_no_error():
    X = np.linspace(-1, 1, 200)[:, None]
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(UserWarning, match="fewer than the 5"):
        clf = MetaErrorClassifier(DecisionTreeClassifier(), random_state=0).fit(X, y)
    accuracy, low, high, _ = clf.estimate_accuracy(np.repeat(X, 100, axis=0))
    assert clf.n_errors_ < 5
    assert low < 1 - clf.oof_error_rate_ <= high
    assert 0.95 < low < accuracy < 1


def test_without_meta_learner_it_is_the_mean_confidence_without_bounds(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), None).fit(X, y)
    accuracy, *unknown = clf.estimate_accuracy(X)
    assert_allclose(accuracy, clf.predict_proba(X).max(axis=1).mean())
    assert np.isnan(unknown).all()


def test_rows_that_no_split_tested_do_not_count(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=0.5, random_state=0).fit(X, y)
    tested = ~np.isnan(clf.oof_error_proba_)
    assert 0 < tested.sum() < len(X)
    expected = accuracy_interval(clf.predict_error_proba(X), clf.oof_error_proba_[tested])
    assert clf.estimate_accuracy(X)[:3] == expected[:3]


def test_unusable_input_is_refused():
    with pytest.raises(ValueError, match="X must have at least one row"):
        accuracy_interval(np.array([]), np.array([0.1]))
    with pytest.raises(ValueError, match=r"confidence_level must be a fraction.*got 95"):
        accuracy_interval(np.array([0.1]), np.array([0.1]), confidence_level=95)


def test_any_container_and_any_index_give_the_same():
    rng = np.random.default_rng(0)
    error_proba, oof = rng.beta(1, 5, 50), rng.beta(1, 5, 200)
    oof[:20], weight, is_novel = np.nan, rng.uniform(0.1, 3, 200), rng.random(50) < 0.1
    weight[:20] = np.nan  # rows that are not known need no weight
    expected = accuracy_interval(error_proba, oof, is_novel, oof_weight=weight)

    def shuffled(values):
        return pd.Series(values, index=rng.permutation(len(values)))

    for make in (list, shuffled):
        given = accuracy_interval(
            make(error_proba), make(oof), make(is_novel), oof_weight=make(weight)
        )
        assert given == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"oof_error_proba": [3.0, 0.2]}, r"oof_error_proba must be between 0 and 1.*got 3"),
        ({"oof_error_proba": [np.nan, np.nan]}, "Of 2 training rows, 0 have an out-of-fold"),
        ({"oof_error_proba": [], "oof_weight": None}, "Of 0 training rows"),
        ({"oof_weight": [0, 0]}, r"one of them positive, got \[0.0, 0.0\]"),
        ({"oof_weight": [1, np.nan]}, "must be finite"),
        ({"oof_weight": [2, -1]}, "at least 0"),
        ({"oof_weight": [1]}, "inconsistent numbers of samples"),
        ({"is_novel": [True]}, "inconsistent numbers of samples"),
        ({"is_novel": [0.3, 0.999, 0.2]}, r"is_novel must be True .* predict_novelty\(X\) > 0.99"),
        ({"learned_share": 0}, "learned_share must be a fraction"),
        ({"learned_share": 5}, "learned_share must be a fraction"),
    ],
)
def test_a_wrong_argument_gives_no_interval(wrong, message):
    """Red if weights of 0, for example, give an interval of length 0."""
    right = {"oof_error_proba": [0.1, 0.2], "is_novel": [True, False, False], "oof_weight": [1, 2]}
    with pytest.raises(ValueError, match=message):
        accuracy_interval([0.1, 0.2, 0.3], **(right | wrong))
