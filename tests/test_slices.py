"""Regions of high error: the true ones are found, with held-out error rates and exact text."""

import pickle
import re

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binomtest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier
from metaerr_sklearn.representation import NumericRepresentation
from metaerr_sklearn.slices import ErrorSlice, _holm, _shortest_number, error_slices


class KnownErrors(ClassifierMixin, BaseEstimator):
    """Stand-in for a classifier with given out-of-fold errors."""

    def __init__(self, is_error):
        self.is_error = is_error
        self.oof_error_ = np.asarray(is_error)
        self.oof_error_proba_ = np.zeros(len(is_error))


def errors_where(region, rng, inside=0.5, elsewhere=0.05):
    return rng.random(len(region)) < np.where(region, inside, elsewhere)


@pytest.fixture(scope="module")
def people():
    """A frame with all kinds of columns."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n = 3000
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "income": np.where(rng.random(n) < 0.2, np.nan, rng.lognormal(10, 1, n)),
            "housing": rng.choice(["own", "rent", "free", None], n, p=[0.5, 0.3, 0.1, 0.1]),
            "member": rng.random(n) < 0.5,
            "since": np.datetime64("2020-01-01") + rng.integers(0, 1000, n).astype("m8[D]"),
            "job": pd.Categorical(rng.choice([f"job {i}" for i in range(200)], n)),
            "empty": np.nan,
        }
    )


REGIONS = {
    "age <= 25": lambda p: p["age"] <= 25,
    "60 < age <= 70": lambda p: (p["age"] > 60) & (p["age"] <= 70),
    "housing = rent": lambda p: p["housing"] == "rent",
    "housing != rent": lambda p: p["housing"] != "rent",
    "housing = missing": lambda p: p["housing"].isna(),
    "member = True": lambda p: p["member"],
    "member = False": lambda p: ~p["member"],
    "income is missing": lambda p: p["income"].isna(),
    "income is known": lambda p: p["income"].notna(),
    "(income > 32000 or missing)": lambda p: ~(p["income"] <= 32000),
    "since <= 2020-07-01": lambda p: p["since"] <= np.datetime64("2020-07-01"),
}


def as_library(frame, library):
    if library == "pandas":
        return frame
    columns = frame.assign(job=frame["job"].astype(str))
    return pytest.importorskip("polars").from_pandas(columns)


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("text", REGIONS)
def test_finds_the_region_and_its_text(people, text, library):
    region = REGIONS[text](people).to_numpy(dtype=bool)
    is_error = errors_where(region, np.random.default_rng(1), inside=0.9, elsewhere=0.0)
    X = as_library(people, library)
    slices = error_slices(KnownErrors(is_error), X, max_depth=2, random_state=0)
    found = slices.apply(X) == 0
    assert (found == region).mean() > 0.98
    # The words are equal; the numbers depend on the sample.
    number = r"\d{4}-\d\d-\d\d|[\d.]+"
    assert re.sub(number, "#", slices[0].condition) == re.sub(number, "#", text)


def test_dates_of_a_time_zone_and_spans_of_time(people):
    since = people["since"]
    errors = errors_where(
        (since > np.datetime64("2022-01-01")).to_numpy(), np.random.default_rng(0)
    )
    zone, span = since.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"), since - since.min()
    for column, condition in (
        (since, "x > 2021-12-31"),
        (zone, "x > 2021-12-31"),
        (span, "x > 730 days"),
    ):
        (found,) = error_slices(KnownErrors(errors), column.to_frame("x"), random_state=0)
        assert found.condition.startswith(condition)
        assert found.error_rate > 0.4


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("m8", r"time > 0:00:00\.3\d*$"),
        ("2020-01-01", r"time > 2020-01-01T00:00:00\.3\d*$"),
        ("1960-01-01", r"time > 1960-01-01T00:00:00\.3\d*$"),
    ],
)
def test_times_within_a_second_are_distinguished(start, text, library):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    share = rng.random(3000)
    span = (5e8 * share).astype("m8[ns]")
    frame = pd.DataFrame({"time": span if start == "m8" else np.datetime64(start, "ns") + span})
    if library == "polars":
        frame = pytest.importorskip("polars").DataFrame({"time": frame["time"].to_numpy()})
    slices = error_slices(KnownErrors(errors_where(share > 0.7, rng)), frame, random_state=0)
    assert re.search(text, slices[0].condition)
    assert 800 < (slices.apply(frame) == 0).sum() < 1000


def test_a_column_with_minus_infinity_is_cut_above_it():
    rng = np.random.default_rng(0)
    share = rng.random(3000)
    X = np.where(share > 0.7, -np.inf, share > 0.3)[:, None]
    slices = error_slices(KnownErrors(errors_where(share > 0.7, rng)), X, random_state=0)
    assert [s.condition for s in slices] == ["x0 <= -inf"]
    assert_array_equal(slices.apply(X) == 0, share > 0.7)
    # In the reverse case, -inf itself is not in the region.
    slices = error_slices(KnownErrors(errors_where(share <= 0.7, rng)), X, random_state=0)
    assert [s.condition for s in slices] == ["x0 > -inf"]
    assert_array_equal(slices.apply(X) == 0, share <= 0.7)


def test_columns_are_found_by_their_names(people):
    errors = errors_where(people["age"].to_numpy() <= 25, np.random.default_rng(0))
    found = error_slices(KnownErrors(errors), people, random_state=0)
    expected = found.apply(people)
    assert_array_equal(found.apply(people[people.columns[::-1]].assign(more=1)), expected)
    with pytest.raises(ValueError, match="X lacks the columns 'age', which the frame in fit had"):
        found.apply(people.drop(columns="age"))


def test_text_and_mask_agree(people):
    """The rows for which the condition holds are the rows that `apply` selects."""
    region = (people["age"] <= 30) & (people["housing"] == "own")
    slices = error_slices(KnownErrors(region.to_numpy()), people, random_state=0)
    assert sorted(slices[0].condition.split(" and ")) == ["age <= 30", "housing = own"]
    assert_array_equal(slices.apply(people) == 0, region)


def test_rates_and_intervals_are_those_of_the_held_out_rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, 2))
    is_error = errors_where(X[:, 0] > 1, rng)
    slices = error_slices(
        KnownErrors(is_error), X, max_depth=1, confidence_level=0.9, random_state=0
    )
    inside = slices.apply(X) == 0
    found = slices[0]
    assert slices.n_samples == 600
    assert found.n_samples < inside.sum() * 0.7
    low, high = binomtest(found.n_errors, found.n_samples).proportion_ci(0.9)
    assert_allclose([found.low, found.high], [low, high])
    assert found.error_rate == found.n_errors / found.n_samples
    n_errors = round(slices.error_rate * 600)
    rest = (n_errors - found.n_errors) / (600 - found.n_samples)
    assert_allclose(found.lift, found.error_rate / rest)


def test_errors_at_random_are_reported_at_their_true_rate():
    """Winner's curse: error rates on the discovery half would be above 0.2."""
    rates, covered = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X, is_error = rng.normal(size=(400, 20)), rng.random(400) < 0.2
        everything = error_slices(KnownErrors(is_error), X, only_confirmed=False, random_state=seed)
        for found in everything:
            rates.append(found.error_rate)
            covered.append(found.low <= 0.2 <= found.high)
    assert len(rates) > 10
    assert abs(np.mean(rates) - 0.2) < 0.04
    assert np.mean(covered) > 0.9


@pytest.mark.draws
@pytest.mark.parametrize("kind", ["5 columns", "40 columns", "400 rows", "30 categories"])
def test_errors_at_random_have_no_region(kind):
    """Without the held-out test, 35 to 95 % of these data sets have a region."""
    n_named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n_rows = 400 if kind == "400 rows" else 2000
        X = rng.normal(size=(n_rows, 40 if kind == "40 columns" else 5))
        if kind == "30 categories":
            X = rng.integers(0, 8, (n_rows, 30)).astype(str).astype(object)
        is_error = rng.random(n_rows) < 0.1
        n_named += len(error_slices(KnownErrors(is_error), X, random_state=seed)) > 0
    assert n_named <= 5  # 2 are expected, more than 5 in 1.4 % of cases


@pytest.mark.parametrize(("n_columns", "share"), [(1, 0.9), (2, 0.75)])
def test_planted_regions_are_found_and_confirmed(n_columns, share):
    n_found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(2000, 5))
        region = X[:, 0] > 1.227 if n_columns == 1 else (X[:, 0] > 0.6) & (X[:, 1] > 0.6)
        is_error = errors_where(region, rng, *((0.35, 0.05) if n_columns == 1 else (0.4, 0.08)))
        position = error_slices(KnownErrors(is_error), X, random_state=seed).apply(X)
        overlaps = [
            (region & (position == j)).sum() / (region | (position == j)).sum() for j in range(5)
        ]
        n_found += max(overlaps) > 0.5
    assert n_found >= share * 40


def test_regions_that_are_not_confirmed_are_shown_on_request():
    rng = np.random.default_rng(3)
    X, is_error = rng.normal(size=(2000, 40)), rng.random(2000) < 0.1
    shown, everything = (
        error_slices(KnownErrors(is_error), X, only_confirmed=only, random_state=0)
        for only in (True, False)
    )
    number = everything.n_unconfirmed
    assert number == shown.n_unconfirmed == len(everything) > len(shown) == 0
    assert not any(found.confirmed for found in everything)
    assert str(everything).count(", not confirmed") == number
    assert str(everything).endswith("likely by chance.")
    assert f"only_confirmed=False shows {number} region" in str(shown)
    assert everything.apply(X).max() == number - 1
    assert shown.apply(X).max() == -1


def test_holm_is_the_slow_definition():
    assert_array_equal(_holm([0.04, 0.001, 0.02]), [True, True, True])
    assert_array_equal(_holm([0.04, 0.001, 0.03]), [False, True, False])
    assert_array_equal(_holm([]), [])


def test_a_condition_that_does_not_raise_the_error_rate_is_left_out():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 4))
    is_error = errors_where(X[:, 2] > 1, rng)
    slices = error_slices(KnownErrors(is_error), X, max_depth=4, random_state=0)
    assert re.fullmatch(r"x2 > [\d.]+", slices[0].condition)


def test_slices_are_disjoint_and_at_most_n_slices(people):
    is_error = errors_where((people["age"] % 7 < 3).to_numpy(), np.random.default_rng(0))
    many = error_slices(KnownErrors(is_error), people, max_depth=6, n_slices=20, random_state=0)
    few = error_slices(KnownErrors(is_error), people, max_depth=6, n_slices=2, random_state=0)
    assert len(many) > 2
    assert list(few) == many[:2]
    sizes = np.bincount(many.apply(people) + 1)[1:]
    assert (sizes >= [s.n_samples for s in many]).all()


def test_new_rows_with_labels_and_any_classifier(noisy_data):
    X, y = noisy_data
    clf = GaussianNB().fit(X[:200], y[:200])
    y_new = np.where(X[200:, 3] > 0.5, 1 - clf.predict(X[200:]), clf.predict(X[200:]))
    slices = error_slices(clf, X[200:], y_new, min_samples=10, random_state=0)
    assert re.fullmatch(r"x3 > 0\.\d+", slices[0].condition)
    assert slices[0].error_rate > 0.9
    assert "no error elsewhere" in str(slices[0]) or slices[0].lift > 10


def test_out_of_fold_errors_of_a_meta_error_classifier(mixed_frame):
    X, y = mixed_frame
    rng = np.random.default_rng(0)
    y = np.where(X["member"], rng.permutation(y), y)
    base = make_pipeline(NumericRepresentation(), LogisticRegression())
    clf = MetaErrorClassifier(base, "confidence", random_state=0).fit(X, y)
    slices = error_slices(clf, X, max_depth=1, random_state=0)
    assert slices[0].condition == "member = True"


def test_rows_that_no_split_tested_are_left_out(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "confidence", cv=0.5, random_state=0).fit(X, y)
    assert error_slices(clf, X, random_state=0).n_samples == 100


def test_a_selective_classifier_is_evaluated_on_all_its_labels(noisy_data):
    X, y = noisy_data
    clf = SelectiveClassifier(GaussianNB(), target_coverage=0.5, random_state=0)
    clf.fit(X[:200], y[:200])
    slices = error_slices(clf, X[200:], y[200:], min_samples=20, random_state=0)
    is_error = clf.estimator_.predict(X[200:]) != y[200:]
    assert_allclose(slices.error_rate, is_error.mean(), atol=0.01)


def test_columns_that_describe_images():
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    camera = pd.DataFrame({"camera": rng.choice(["north", "south", "west"], 600)})
    is_error = errors_where((camera["camera"] == "west").to_numpy(), rng)
    slices = error_slices(KnownErrors(is_error), camera, random_state=0)
    assert [s.condition for s in slices] == ["camera = west"]


@pytest.mark.parametrize("library", ["pandas", "numpy"])
def test_columns_that_describe_new_images(library):
    """The classifier predicts the images; the regions are found in the table."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=800)
    images = rng.normal(size=(800, 4, 4)) + y[:, None, None]
    is_dark = rng.random(800) < 0.2
    images[is_dark] = 0  # each of them is taken for class 0
    base = make_pipeline(FunctionTransformer(lambda X: X.reshape(len(X), -1)), GaussianNB())
    base.fit(images[~is_dark][:300], y[~is_dark][:300])
    table = np.column_stack([rng.random(800), is_dark])
    if library == "pandas":
        table = pytest.importorskip("pandas").DataFrame(table, columns=["x0", "x1"])
    slices = error_slices(base, images, y, table=table, random_state=0)
    assert [s.condition for s in slices] == ["x1 > 0.5"]
    assert_array_equal(slices.apply(table) == 0, is_dark)
    assert_allclose(slices.error_rate, (base.predict(images) != y).mean(), atol=0.01)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        error_slices(base, images, y, table=table[:799])
    with pytest.raises(ValueError, match="table must be a frame or a 2-D array"):
        error_slices(base, images, y, table=images)


def test_out_of_fold_errors_in_a_table(noisy_data):
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X, y)
    slices, expected = (
        error_slices(clf, *given, random_state=0, only_confirmed=False, **table)
        for given, table in (((X[:, None],), {"table": X}), ((X,), {}))
    )
    assert str(slices) == str(expected)
    assert slices.error_rate == expected.error_rate


def test_a_region_without_held_out_rows_has_no_error_rate_to_print():
    found = ErrorSlice("x0 > 1", np.nan, 0.0, 1.0, np.nan, 0, 0, confirmed=False)
    assert str(found) == "x0 > 1: no held-out row, not confirmed"


@pytest.mark.parametrize("rate", [0, 1])
def test_nothing_to_find(rate):
    X = np.random.default_rng(0).normal(size=(200, 2))
    slices = error_slices(KnownErrors(np.full(200, bool(rate))), X)
    assert len(slices) == 0
    assert str(slices).startswith("No region of high error stands out: error")
    assert_array_equal(slices.apply(X), -1)


def test_prints_as_text():
    X = np.repeat(np.arange(4.0), 100)[:, None]
    is_error = np.r_[np.zeros(300), np.tile([1, 0], 50)].astype(bool)
    slices = error_slices(KnownErrors(is_error), X, random_state=0)
    n, k = slices[0].n_samples, slices[0].n_errors
    low, high = binomtest(k, n).proportion_ci(0.95)
    assert repr(slices) == (
        f"error 0.12 among 200 held-out rows, in regions of high error (95 % intervals):\n"
        f"  0. x0 > 2: error {k / n:.2f} ({low:.2f} to {high:.2f}), no error elsewhere, n = {n}"
    )


def test_same_seed_gives_the_same_slices_and_nothing_else_changes(people):
    is_error = errors_where((people["age"] < 30).to_numpy(), np.random.default_rng(0))
    before, state = people.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (error_slices(KnownErrors(is_error), people, random_state=3) for _ in range(2))
    error_slices(KnownErrors(is_error), people)
    assert list(first) == list(second)
    assert before.equals(people)
    assert_array_equal(state, np.random.get_state()[1])  # noqa: NPY002


def test_pickle(people):
    is_error = errors_where((people["age"] < 30).to_numpy(), np.random.default_rng(0))
    slices = error_slices(KnownErrors(is_error), people, random_state=0)
    copy = pickle.loads(pickle.dumps(slices))
    assert_array_equal(copy.apply(people), slices.apply(people))
    assert len(pickle.dumps(slices)) < 5000


def test_values_beyond_the_float32_of_a_tree():
    """Infinities, numbers beyond float32, and neighbours that are equal in float32."""
    rng = np.random.default_rng(0)
    number = 2**40 + rng.integers(0, 100, 800).astype(float)
    wild = rng.choice([-np.inf, -1e300, 0.0, 1e300, np.inf], 800)
    for column, region in ((number, number >= 2**40 + 60), (wild, wild > 1)):
        X = np.column_stack([column, rng.normal(size=800)])
        slices = error_slices(KnownErrors(errors_where(region, rng, 0.7, 0.0)), X, random_state=0)
        assert_array_equal(slices.apply(X) == 0, region)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(25, 26, 25), (25, 30, 28), (0.1234567, 0.5, 0.3), (1234.5, 1234.6, 1234.5), (-2, 3, 0.5)],
)
def test_shortest_number(low, high, expected):
    assert _shortest_number(low, high) == expected


def test_unusable_input_is_refused(people, noisy_data):
    X, y = noisy_data
    ok = KnownErrors(np.arange(400) % 5 == 0)
    with pytest.raises(ValueError, match="X has 300 rows, but the estimator was fitted on 400"):
        error_slices(ok, X[:300])
    with pytest.raises(ValueError, match=r"GaussianNB has no out-of-fold errors\. Pass rows"):
        error_slices(GaussianNB().fit(X, y), X)
    with pytest.raises(ValueError, match="MetaErrorClassifier has no out-of-fold errors"):
        error_slices(MetaErrorClassifier(GaussianNB(), None).fit(X, y), X)
    with pytest.raises(ValueError, match="at least 4 \\* min_samples = 4000 rows, got 400"):
        error_slices(ok, X, min_samples=1000)
    few_tested = MetaErrorClassifier(GaussianNB(), "logistic", cv=0.1, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="= 120 rows, got 40 whose errors are known"):
        error_slices(few_tested, X, min_samples=30)
    ragged = [[1.0] * (1 + row % 2) for row in range(400)]
    for wrong in (sp.csr_matrix(X), X.reshape(400, 1, 2, 3), ["a text"] * 400, ragged):
        with pytest.raises(ValueError, match="X must be a frame or a 2-D array"):
            error_slices(ok, wrong)
    with pytest.raises(ValueError, match="X has 2 columns, but had 6 in fit: x0, x1"):
        error_slices(ok, X).apply(X[:, :2])
    for name in ("max_depth", "min_samples", "n_slices"):
        with pytest.raises(ValueError, match=f"{name} == 0, must be >= 1"):
            error_slices(ok, X, **{name: 0})
    with pytest.raises(ValueError, match="confidence_level must be a fraction"):
        error_slices(ok, X, confidence_level=95)


def test_a_category_called_none_is_not_a_missing_one():
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    alley = rng.choice(["None", "Pave", "nan"], 1200).astype(object)
    alley[::4] = np.nan
    is_error = np.where(alley == "None", rng.random(1200) < 0.6, False)
    X = pd.DataFrame({"alley": alley, "x": rng.normal(size=1200)})
    found = error_slices(KnownErrors(is_error), X, random_state=0)
    assert len(found) == 1
    assert str(found).splitlines()[1].strip().startswith("0. alley = None:")
