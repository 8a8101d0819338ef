"""The values of a column decide what it holds, in every library and under every dtype."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression

from metaerr_sklearn import MetaErrorClassifier, error_slices
from metaerr_sklearn._utils.columns import Columns
from metaerr_sklearn.metrics import error_roc_auc
from metaerr_sklearn.representation import NumericRepresentation

N = 40
DAYS = (np.datetime64("2020-01-01") + np.arange(N).astype("m8[D]")).tolist()
TOKYO = datetime.timezone(datetime.timedelta(hours=9))
NOONS = [datetime.datetime(d.year, d.month, d.day, 12, tzinfo=TOKYO) for d in DAYS]
TIMES = [datetime.time(1, minute) for minute in range(N)]
SPANS = [datetime.timedelta(hours=hour) for hour in range(N)]
NUMBERS = [Decimal(j) / 4 for j in range(N)]
FLAGS = [j % 3 == 0 for j in range(N)]
VECTORS = [[float(j), 2.0 * j] for j in range(N)]


def with_hole(values, missing=None):
    return [missing if j == 3 else value for j, value in enumerate(values)]


def seconds(values):
    return [
        np.nan if value is None else float(np.datetime64(value, "us").astype(np.int64)) / 1e6
        for value in values
    ]


def libraries():
    return (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))


def tables(values, pandas_dtypes=("object",), arrow_type=None):
    """Yield the same column as each library and dtype stores it."""
    pd, pl, pa = libraries()
    for dtype in pandas_dtypes:
        yield pd.DataFrame({"x": pd.Series(values, dtype=dtype)})
    yield pl.DataFrame({"x": pl.Series("x", values)})
    yield pa.table({"x": pa.array(values, arrow_type)})
    if arrow_type is not None:
        yield pd.DataFrame({"x": pd.Series(values, dtype=pd.ArrowDtype(arrow_type))})


def assert_all_read_as(tables, kind, expected):
    expected = np.asarray(expected)
    for table in tables:
        columns = Columns(table)
        assert columns.parts == [("x", kind)], table
        assert columns.left_out == {}
        assert_array_equal(columns.read(table)[0], expected)


def test_dates_are_dates_under_every_dtype():
    pd, pl, pa = libraries()
    expected = seconds(with_hole(DAYS))
    assert_all_read_as(tables(with_hole(DAYS), arrow_type=pa.date32()), "date", expected)
    for missing in (np.nan, pd.NaT, pd.NA):
        column = pd.Series(with_hole(DAYS, missing), dtype=object)
        assert_all_read_as([column.to_frame("x")], "date", expected)
    spelled = with_hole(list(np.array(DAYS, dtype="M8[D]")))
    period = pd.Series(pd.PeriodIndex(DAYS, freq="D"))
    frames = [
        pd.DataFrame({"x": pd.Series(spelled, dtype=object)}),
        pd.DataFrame({"x": period.where(np.arange(N) != 3)}),
        pd.DataFrame({"x": period.astype(object).where(np.arange(N) != 3)}),
        pd.DataFrame({"x": pd.Categorical(with_hole(DAYS))}),
        pl.DataFrame({"x": pl.Series("x", with_hole(DAYS), dtype=pl.Object)}),
    ]
    assert_all_read_as(frames, "date", expected)


def test_times_with_a_zone_are_the_same_moment_everywhere():
    pd, _, pa = libraries()
    noon_utc = [stamp.astimezone(datetime.UTC).replace(tzinfo=None) for stamp in NOONS]
    expected = seconds(with_hole(noon_utc))
    zone = pa.timestamp("us", "Asia/Tokyo")
    assert_all_read_as(tables(with_hole(NOONS), arrow_type=zone), "date", expected)
    column = pd.to_datetime(pd.Series(with_hole(NOONS))).to_frame("x")
    assert_all_read_as([column, column.astype(object)], "date", expected)


def test_texts_of_times_with_a_zone_are_the_same_moments():
    """New rows may come as JSON."""
    pd, *_ = libraries()
    columns = Columns(pd.DataFrame({"x": NOONS}))
    expected = columns.read(pd.DataFrame({"x": NOONS}))[0]
    in_utc = [stamp.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in NOONS]
    for texts in ([stamp.isoformat() for stamp in NOONS], list(map(str, NOONS)), in_utc):
        assert_array_equal(columns.read(pd.DataFrame({"x": texts}))[0], expected)


def test_times_of_day_and_spans_are_spans():
    _, _, pa = libraries()
    of_day = [np.nan if j == 3 else 3600 + 60 * j for j in range(N)]
    assert_all_read_as(tables(with_hole(TIMES), arrow_type=pa.time64("us")), "span", of_day)
    hours = [np.nan if j == 3 else 3600 * j for j in range(N)]
    assert_all_read_as(tables(with_hole(SPANS), arrow_type=pa.duration("us")), "span", hours)
    # NumPy's spans are also integers.
    spans = np.array(with_hole([np.timedelta64(span) for span in SPANS]), dtype=object)
    columns = Columns(spans[:, None])
    assert columns.parts == [("x0", "span")]
    assert_array_equal(columns.read(spans[:, None])[0], hours)


def test_numbers_are_numbers_under_every_dtype():
    _, _, pa = libraries()
    quarters = [np.nan if j == 3 else j / 4 for j in range(N)]
    decimals = tables(with_hole(NUMBERS), arrow_type=pa.decimal128(6, 2))
    assert_all_read_as(decimals, "number", quarters)
    whole = [np.nan if j == 3 else j for j in range(N)]
    integers = tables(with_hole(range(N)), ("object", "Int64", "Float32"), pa.int64())
    assert_all_read_as(integers, "number", whole)


def test_integers_of_128_bits_are_numbers():
    _, pl, _ = libraries()
    if not hasattr(pl, "Int128"):
        pytest.skip("this version of polars has no integers of 128 bits")
    large = pl.DataFrame(
        {"x": pl.Series("x", with_hole([10**30 * j for j in range(N)]), pl.Int128)}
    )
    assert_all_read_as(
        [large], "number", [np.nan if j == 3 else float(10**30 * j) for j in range(N)]
    )


def test_complex_numbers_are_two_columns():
    pd, _, _ = libraries()
    frame = pd.DataFrame({"x": np.arange(N) + 2j})
    columns = Columns(frame)
    assert columns.parts == [("x[0]", "number"), ("x[1]", "number")]
    assert_array_equal(columns.read(frame), [np.arange(N), np.full(N, 2)])


def test_booleans_are_categories_even_beside_missing_ones():
    _, _, pa = libraries()
    expected = ["nan" if j == 3 else str(flag) for j, flag in enumerate(FLAGS)]
    flags = tables(with_hole(FLAGS), ("object", "boolean"), pa.bool_())
    assert_all_read_as(flags, "category", expected)


def test_vectors_of_one_length_are_as_many_columns():
    pd, pl, pa = libraries()
    expected = np.array(with_hole(VECTORS, [np.nan, np.nan])).T
    arrays = with_hole([np.array(vector) for vector in VECTORS])
    frames = [
        *tables(with_hole(VECTORS), arrow_type=pa.list_(pa.float64(), 2)),
        pd.DataFrame({"x": pd.Series(arrays, dtype=object)}),
        pl.DataFrame({"x": pl.Series("x", with_hole(VECTORS), dtype=pl.Array(pl.Float64, 2))}),
    ]
    for frame in frames:
        columns = Columns(frame)
        assert columns.parts == [("x[0]", "number"), ("x[1]", "number")]
        assert_array_equal(columns.read(frame), expected)
        for other in frames:
            assert_array_equal(columns.read(other), expected)


def test_matrices_in_cells_are_vectors_in_every_library():
    _, pl, pa = libraries()
    matrices = [[[float(j), 1.0], [2.0, 3.0]] for j in range(N)]
    lists = pl.DataFrame({"x": pl.Series("x", matrices)})
    arrays = lists.cast(pl.Array(pl.Array(pl.Float64, 2), 2))
    tables = [lists, arrays, lists.to_arrow(), arrays.to_arrow(), pa.table({"x": matrices})]
    for table in [*tables, *(frame.to_pandas() for frame in (tables[2], tables[3]))]:
        columns = Columns(table)
        assert [name for name, _ in columns.parts] == ["x[0]", "x[1]", "x[2]", "x[3]"]
        assert_array_equal(np.transpose(columns.read(table)), np.reshape(matrices, (N, 4)))


def test_a_value_of_another_kind_is_missing():
    pd = pytest.importorskip("pandas")
    in_fit = pd.DataFrame({"date": DAYS, "time": TIMES, "vector": VECTORS, "number": NUMBERS})
    columns = Columns(in_fit)
    later = pd.DataFrame(
        {
            "date": ["2020-01-02", "unknown", None],
            "time": [TIMES[0], 5, "late"],
            "vector": [VECTORS[1], [1.0], "x"],
            "number": ["0.5", "many", None],
        }
    )
    nan = np.nan
    date, time, first, second, number = columns.read(later)
    assert_array_equal(date, [*seconds(DAYS[1:2]), nan, nan])  # the text of a date is a date
    assert_array_equal(time, [3600, nan, nan])
    assert_array_equal([first, second], [[1, nan, nan], [2, nan, nan]])
    assert_array_equal(number, [0.5, nan, nan])
    nothing = pd.DataFrame({name: [None] for name in in_fit})
    assert_array_equal(columns.read(nothing), np.full((5, 1), nan))


def test_objects_without_a_text_and_nested_values_that_never_repeat_are_left_out():
    pd = pytest.importorskip("pandas")
    ragged = [[0] * (j + 1) for j in range(N)]
    frame = pd.DataFrame({"x": range(N), "thing": [object() for _ in range(N)], "words": ragged})
    with pytest.warns(UserWarning, match="left out .*'thing': .* type object.*'words': .* list"):
        representation = NumericRepresentation().fit(frame)
    assert set(representation.left_out_) == {"thing", "words"}
    assert representation.transform(frame).shape == (N, 1)
    assert NumericRepresentation().fit(frame[["x"]]).left_out_ == {}


def test_a_long_vector_is_projected_and_weighs_as_much_as_a_column():
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    images = [1000 * image for image in rng.random((300, 9, 9, 3))]
    frame = pd.DataFrame({"x": rng.normal(size=300), "image": images})
    representation = NumericRepresentation(n_components=5, random_state=0).fit(frame)
    Z = representation.transform(frame)
    names = [f"image: component {j}" for j in range(5)]
    assert representation.source_names(frame) == ["x", *names]
    assert 0.99 < Z[:, 1].std() < 1.01


class ReadsX(ClassifierMixin, BaseEstimator):
    """A logistic regression on the column "x" of any frame."""

    def _numbers(self, X):
        return np.asarray(X["x"], dtype=float)[:, None]

    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(self._numbers(X), y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(self._numbers(X))

    def predict_proba(self, X):
        return self.model_.predict_proba(self._numbers(X))


@pytest.mark.parametrize("container", ["pandas", "polars", "pyarrow"])
def test_errors_from_a_day_on_are_found_in_a_column_of_dates(container):
    library = pytest.importorskip(container)
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    day = np.datetime64("2023-01-01") + rng.integers(0, 365, 1500)
    is_noise = (day >= np.datetime64("2023-10-01")) & (rng.random(1500) < 0.5)
    y = (x > 0) ^ is_noise
    table = {"x": x, "day": day.tolist()}  # datetime.date
    X = library.table(table) if container == "pyarrow" else library.DataFrame(table)
    clf = MetaErrorClassifier(ReadsX(), "lightgbm", random_state=0).fit(X, y)
    assert error_roc_auc(clf.oof_error_, clf.oof_error_proba_) > 0.8
    assert "input: day" in clf.explain_error(X)[1]
    assert "day > 2023-09-30" in repr(error_slices(clf, X, random_state=0))


def test_names_of_the_parts_of_a_vector():
    pl, rng = pytest.importorskip("polars"), np.random.default_rng(0)
    position = rng.normal(size=(600, 2))
    is_noise = (position[:, 1] > 1) & (rng.random(600) < 0.5)
    X = pl.DataFrame({"x": rng.normal(size=600), "position": position})
    clf = MetaErrorClassifier(ReadsX(), "lightgbm", random_state=0)
    clf.fit(X, (X["x"].to_numpy() > 0) ^ is_noise)
    contributions, names, base_value = clf.explain_error(X)
    assert {"input: x", "input: position[0]", "input: position[1]"} <= set(names)
    log_odds = contributions.sum(axis=1) + base_value
    np.testing.assert_allclose(1 / (1 + np.exp(-log_odds)), clf.predict_error_proba(X))
    assert "position[1] > " in error_slices(clf, X, random_state=0)[0].condition


def test_slices_leave_out_what_has_no_readable_condition():
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=400), "image": list(rng.random((400, 15, 15)))})
    y = (X["x"] > 0) ^ (rng.random(400) < 0.2)
    with pytest.warns(UserWarning, match="no slice can use: 'image': its values are vectors"):
        slices = error_slices(ReadsX().fit(X, y), X, y, random_state=0)
    assert set(slices.left_out_) == {"image"}
