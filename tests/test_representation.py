"""Any X becomes one numeric matrix, without labels."""

import datetime
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn.representation import NumericRepresentation, UnsupportedInputError
from metaerr_sklearn.representation._choice import fit_representation, represent
from metaerr_sklearn.representation._numeric import _all_finite, _Imputer


def test_table_is_standardised():
    X = np.random.default_rng(0).normal(5, 3, size=(200, 4))
    Z = NumericRepresentation().fit_transform(X)
    assert Z.dtype == np.float32
    assert_allclose(Z.mean(axis=0), 0, atol=1e-5)
    assert_allclose(Z.std(axis=0), 1, atol=1e-5)


def test_columns_far_from_zero_keep_their_differences():
    X = np.random.default_rng(0).normal(size=(200, 4))
    representation = NumericRepresentation()
    expected = representation.fit_transform(X)
    assert_allclose(representation.fit_transform(X + 1e8), expected, atol=1e-6)


def test_missing_and_infinite_values_become_the_median():
    X = np.array([[1.0, np.nan], [3, 4], [2, np.inf], [np.nan, 6]])
    Z = NumericRepresentation().fit_transform(X)
    assert np.isfinite(Z).all()
    assert_allclose(Z[3, 0], Z[2, 0])  # median of 1, 3, 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_medians_are_those_of_scikit_learn(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40)).astype(dtype)
    whole = SimpleImputer(strategy="median").fit(X).statistics_
    assert_array_equal(_Imputer().fit(X).statistics_, whole)
    X[rng.random(X.shape) < 0.4] = np.nan
    X[:, 0] = np.nan
    expected = SimpleImputer(strategy="median", keep_empty_features=True).fit(X).statistics_
    X[np.isnan(X)] = rng.choice([np.nan, np.inf, -np.inf], np.isnan(X).sum())
    assert_array_equal(_Imputer().fit(X).statistics_, expected)


@pytest.mark.parametrize("n_missing", [0, 1])
def test_medians_of_images_take_no_more_memory_than_the_images(n_missing):
    X = np.random.default_rng(0).normal(size=(1000, 1024)).astype(np.float32)
    X.flat[:n_missing] = np.nan
    tracemalloc.start()
    _Imputer().fit(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * X.nbytes


@pytest.mark.parametrize("value", [3e38, np.inf, np.nan])
def test_finite_values_are_finite_even_if_their_sum_is_not(value):
    X = np.full((3, 2), 3e38, dtype=np.float32)
    X[1, 1] = value
    assert _all_finite(X) == np.isfinite(X).all()
    X[2, 0] = -value
    assert _all_finite(X) == np.isfinite(X).all()


def test_column_without_any_value_and_constant_column():
    Z = NumericRepresentation().fit_transform(np.array([[np.nan, 1.0], [np.nan, 1.0]]))
    assert_array_equal(Z, 0)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frame_with_every_kind_of_column(library):
    frame = pytest.importorskip(library).DataFrame
    n = 30
    X = frame(
        {
            "number": np.arange(n, dtype=float),
            "hole": [None if i % 7 == 0 else float(i) for i in range(n)],
            "word": [None if i % 5 == 0 else "abc"[i % 3] for i in range(n)],
            "flag": [i % 2 == 0 for i in range(n)],
            "when": [datetime.datetime(2020, 1, 1) + datetime.timedelta(i) for i in range(n)],
        }
    )
    representation = NumericRepresentation().fit(X)
    Z = representation.transform(X)
    assert np.isfinite(Z).all()
    # three numbers, four words (missing is one of them), two flags
    assert Z.shape == (n, 3 + 4 + 2)
    assert_allclose(Z[:, 0], Z[:, 2], atol=1e-5)  # dates are as far apart as the numbers


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_a_frame_are_read_by_name(library):
    frame = pytest.importorskip(library).DataFrame
    columns = {"a": [1.0, 2.0, 4.0], "b": ["x", "y", "x"], "c": [3.0, 0.0, 1.0]}
    representation = NumericRepresentation().fit(frame(columns))
    Z = representation.transform(frame(columns))
    reordered = frame({"more": [0, 0, 0], **{name: columns[name] for name in "cba"}})
    assert_array_equal(representation.transform(reordered), Z)
    assert representation.source_names(reordered) == ["a", "c", "b", "b"]
    with pytest.raises(ValueError, match="X lacks the columns 'b', 'c', which the frame in fit"):
        representation.transform(frame({"a": [1.0], "d": [1.0], "e": [1.0]}))


def test_columns_that_share_a_name_are_read_by_position():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame([[1.0, 3.0], [2.0, 0.0], [4.0, 1.0]], columns=["a", "a"])
    representation = NumericRepresentation().fit(X)
    assert_array_equal(representation.transform(X)[:, 0], representation.transform(X[["a"]])[:, 0])
    with pytest.raises(ValueError, match="X has 1 columns, but had 2 in fit: a, a"):
        representation.transform(X.iloc[:, :1])


def test_times_mean_the_same_in_every_unit_and_zone():
    pd = pytest.importorskip("pandas")
    when = pd.Series(np.datetime64("2020-01-01") + np.arange(9).astype("m8[D]")).dt.as_unit("ns")
    X = pd.DataFrame({"when": when, "span": when - when[4]})
    representation = NumericRepresentation().fit(X)
    Z = representation.transform(X)
    assert Z.shape == (9, 2)
    zone = X.assign(when=when.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"))
    seconds = pd.DataFrame({name: X[name].dt.as_unit("s") for name in X})
    for same in (zone, seconds):
        assert_array_equal(representation.transform(same), Z)
        assert_array_equal(NumericRepresentation().fit_transform(same), Z)


def test_error_probability_of_reordered_columns(mixed_frame):
    """A base that selects columns by name predicts the same labels; so must the error model."""
    X, y = mixed_frame
    numbers = X.select_dtypes("number").columns.tolist()
    base = make_pipeline(ColumnTransformer([("n", SimpleImputer(), numbers)]), GaussianNB())
    clf = MetaErrorClassifier(base, random_state=0).fit(X, y)
    reordered = X[X.columns[::-1]]
    assert_array_equal(clf.predict_error_proba(reordered), clf.predict_error_proba(X))


def test_pandas_extension_types():
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(
        {
            "int": pd.array([1, 2, None, 4], dtype="Int64"),
            "category": pd.Categorical([1, 2, 1, 2]),
            "string": pd.array(["a", None, "b", "a"], dtype="string"),
        }
    )
    Z = NumericRepresentation().fit_transform(X)
    assert Z.shape == (4, 1 + 2 + 3)
    assert np.isfinite(Z).all()


def test_unknown_category_at_predict_time():
    pd = pytest.importorskip("pandas")
    representation = NumericRepresentation().fit(pd.DataFrame({"c": list("abab"), "x": range(4)}))
    assert np.isfinite(representation.transform(pd.DataFrame({"c": ["z"], "x": [1]}))).all()


def test_images_keep_the_distances_of_their_pixels(digits):
    X, _, _, _ = digits
    images = X.reshape(-1, 1, 8, 8)
    Z = NumericRepresentation(n_components=60, random_state=0).fit_transform(images)
    expected = np.linalg.norm(X[:50] - X[50:100], axis=1)
    assert_allclose(np.linalg.norm(Z[:50] - Z[50:100], axis=1), expected, rtol=0.02)


def test_wide_table_sparse_matrix_and_text_are_projected():
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(100, 300))
    assert NumericRepresentation(random_state=0).fit_transform(wide).shape == (100, 40)
    sparse = sp.csr_array(wide * (rng.random(wide.shape) < 0.1))
    assert NumericRepresentation(random_state=0).fit_transform(sparse).shape == (100, 40)
    text = [f"word{i % 7} word{i % 11} other" for i in range(100)]
    Z = NumericRepresentation(random_state=0).fit_transform(text)
    assert Z.shape[0] == 100
    assert_allclose(Z[0], Z[77], atol=1e-5)  # the same words


def test_chunks_give_the_same_rows_as_one_pass(monkeypatch, digits):
    X, _, _, _ = digits
    representation = NumericRepresentation(random_state=0).fit(X)
    whole = representation.transform(X)
    monkeypatch.setattr("metaerr_sklearn._utils.limits.TRANSFORM_CHUNK", 64)
    assert_allclose(representation.transform(X), whole, rtol=1e-5, atol=1e-6)
    assert representation.transform(X[:0]).shape == (0, whole.shape[1])


@pytest.mark.parametrize("X", [{"a": [1]}, object(), [object(), object()]])
def test_other_input_has_no_representation(X):
    with pytest.raises(UnsupportedInputError, match=r"X of type \w+ has no numeric representation"):
        NumericRepresentation().fit(X)


def test_a_dict_of_columns_is_refused_with_what_to_pass():
    with pytest.raises(UnsupportedInputError, match=r"pass a frame: pandas.DataFrame\(X\)"):
        NumericRepresentation().fit({"a": [1.0, 2.0], "b": np.ones(2)})
    with pytest.raises(UnsupportedInputError, match=r"representation$"):
        NumericRepresentation().fit({"image": np.ones((2, 1, 8, 8)), "age": np.ones(2)})


def test_unsupported_input_gives_a_reason_and_no_exception():
    with pytest.warns(UserWarning, match="without neighbours and second opinion"):
        fitted, reason = fit_representation("auto", {"a": [1]})
    assert fitted is None
    assert "dict" in reason
    assert fit_representation(None, np.zeros((3, 1))) == (None, "representation=None")


@pytest.mark.parametrize(
    ("X", "advice"),
    [
        ([b"one word", b"two"], r"bytes\. Pass \[text\.decode\(\) for text in X\]\. Errors are"),
        (np.array([b"one word", b"two"]), "because its texts are bytes"),
        (np.array([(1.0, 2)] * 3, dtype=[("a", "f8"), ("b", "i4")]), r"pandas\.DataFrame\(X\)"),
        ([{"a": 1}, {"a": 2}], r"Pass a frame: pandas\.DataFrame\(X\)\. Errors are predicted"),
    ],
)
def test_rows_that_are_easily_converted_come_with_what_to_type(X, advice):
    with pytest.warns(UserWarning, match=advice):
        assert fit_representation("auto", X)[0] is None


def test_text_without_words_has_no_representation():
    """A base may use single letters; the default vectorizer requires words of two letters."""
    letters = [" ".join(f"{i:03}") for i in range(200)]
    y = np.array([i % 10 > 4 for i in range(200)])
    base = make_pipeline(TfidfVectorizer(analyzer="char"), LogisticRegression())
    with pytest.warns(UserWarning, match="without neighbours and second opinion"):
        clf = MetaErrorClassifier(base, "logistic", cv=2, random_state=0).fit(letters, y)
    assert "text without words" in clf.error_model_.representation_reason_
    assert clf.predict_error_proba(letters).shape == (200,)


def test_another_kind_at_predict_time(digits):
    X, _, _, _ = digits
    representation = NumericRepresentation(random_state=0).fit(X)
    with pytest.raises(ValueError, match=r"kind 'wide', but .* fitted on kind 'array'"):
        representation.transform(X.reshape(-1, 8, 8))


def test_users_transformer_is_cloned_and_fitted_without_labels(digits):
    X, _, _, _ = digits
    mine = PCA(5)
    fitted, _ = fit_representation(mine, X)
    assert not hasattr(mine, "components_")
    assert represent(fitted, X).shape == (600, 5)


def test_a_transformer_that_keeps_the_shape_of_images_is_refused(digits):
    X, _, _, _ = digits
    with pytest.raises(ValueError, match=r"numeric matrix with n rows, got shape .*Flatten images"):
        fit_representation(FunctionTransformer(), X.reshape(-1, 8, 8))
    with pytest.raises(ValueError, match='representation must be "auto"'):
        fit_representation("pca", X)


def test_whole_numbers_as_categories_are_the_same_beside_a_missing_one():
    """An array would have 1.0 in a chunk with a missing value, and 1 in the other chunks."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    kind = pd.Series(rng.integers(4, size=100)).astype("category")
    frame = pd.DataFrame({"x": rng.normal(size=100), "kind": kind.where(np.arange(100) != 99)})
    representation = NumericRepresentation().fit(frame)
    whole = representation.transform(frame)
    assert_array_equal(whole[:99], representation.transform(frame[:99]))
    assert len(np.unique(whole[:, 1:], axis=0)) == 5


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("in_fit", [["10", "2", "33", "47"], [None]])
def test_strings_are_categories_even_if_they_spell_numbers(in_fit, library):
    pd = pytest.importorskip(library)
    if library == "pandas":
        column = pd.Series([*in_fit] * 20, dtype="string")
        later = pd.Series(["10", "B7", None], dtype="string")
    else:
        column = pd.Series("code", [*in_fit] * 20, dtype=pd.String)
        later = pd.Series("code", ["10", "B7", None], dtype=pd.String)
    x = np.arange(len(column), dtype=float)
    representation = NumericRepresentation().fit(pd.DataFrame({"x": x, "code": column}))
    Z = representation.transform(pd.DataFrame({"x": [0.0, 1.0, 2.0], "code": later}))
    assert Z.shape == (3, 1 + len(in_fit))


@pytest.mark.parametrize("form", [sp.csr_array, sp.csc_matrix])
def test_missing_values_of_a_sparse_matrix_are_zeros(form):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 8)) * (rng.random((60, 8)) < 0.5)
    holed = X.copy()
    holed[3, 2], holed[5, 1], holed[7, 0] = np.nan, np.inf, -np.inf
    filled = np.where(np.isfinite(holed), holed, 0)
    given = form(holed)
    Z = NumericRepresentation(random_state=0).fit_transform(given)
    assert_allclose(Z, NumericRepresentation(random_state=0).fit_transform(form(filled)), atol=1e-5)
    assert np.isnan(given.data).sum() == 1


def test_columns_of_lists_of_different_length_and_structs_are_categories():
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(0)
    x, kind = rng.normal(size=300), rng.integers(3, size=300)
    frame = pl.DataFrame(
        {
            "x": x,
            "parts": [[1] * int(k) for k in kind],
            "pair": [{"a": int(k), "b": "c"} for k in kind],
        }
    )
    base = make_pipeline(FunctionTransformer(lambda X: X.select("x").to_numpy()), GaussianNB())
    clf = MetaErrorClassifier(base, "logistic", random_state=0)
    clf.fit(frame, (x + kind > rng.normal(size=300)).astype(int))
    assert clf.predict_error_proba(frame[:5]).shape == (5,)
    assert NumericRepresentation().fit_transform(frame).shape == (300, 7)


@pytest.mark.parametrize(
    "respell",
    [
        lambda X: X.assign(color=X["color"].where(X["color"].notna(), None)),
        lambda X: X.assign(color=X["color"].astype("string")),
        lambda X: X.assign(is_new=X["is_new"].astype(int)),
        lambda X: X.assign(is_new=X["is_new"].astype(float)),
        lambda X: X.assign(size=X["size"].astype(float).astype("category")),
    ],
)
def test_a_category_is_the_same_in_every_type(respell):
    """Files and services differ: NaN, None and NA are one category; so are True, 1 and 1.0."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    color = rng.choice(["red", "blue"], 90).astype(object)
    color[::3] = np.nan
    X = pd.DataFrame({"color": color, "is_new": rng.random(90) < 0.5})
    X["size"] = pd.Series(rng.integers(3, size=90)).astype("category")
    representation = NumericRepresentation().fit(X)
    assert_array_equal(representation.transform(respell(X)), representation.transform(X))


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_text_in_a_column_that_was_empty_in_fit_is_a_missing_value(nothing):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"x": np.arange(20.0), "optional": nothing})
    representation = NumericRepresentation().fit(X)
    new = X[:3].assign(optional=["abc", nothing, "1e3"])
    assert_array_equal(representation.transform(new)[:2], representation.transform(X[:2]))


def test_texts_of_pyarrow_are_texts():
    pa = pytest.importorskip("pyarrow")
    texts = ["red house", "blue house", None, "red car"] * 5
    representation = NumericRepresentation(n_components=2, random_state=0).fit(pa.array(texts))
    expected = representation.transform(texts)
    for column in (pa.array(texts), pa.chunked_array([texts[:3], texts[3:]])):
        assert_array_equal(representation.transform(column), expected)


@pytest.mark.parametrize(
    "X",
    [
        np.ones((50, 300)),
        np.ones((50, 1, 4, 4)),
        sp.csr_array(np.ones((50, 5))),
        sp.csr_array((50, 5)),
        ["the same text"] * 50,
    ],
)
def test_equal_rows_are_represented_without_a_warning(X):
    assert np.isfinite(NumericRepresentation().fit_transform(X)).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e300])
def test_infinite_values_of_a_users_transformer_count_as_missing(value, noisy_data):
    X, y = noisy_data
    holes = np.where(np.arange(X.size).reshape(X.shape) % 7 == 0, np.nan, X)
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0)
    columns = [0, 1]
    outputs = []
    for missing in (np.nan, value):
        filled = np.where(np.isnan(holes), missing, X)
        to_numbers = FunctionTransformer(lambda Z, filled=filled: filled[: len(Z), columns])
        clf.set_params(representation=to_numbers).fit(X, y)
        outputs.append(clf.oof_error_proba_)
    assert_array_equal(*outputs)


@pytest.mark.parametrize("missing", [None, np.nan, "NA"])
def test_missing_texts_are_empty(missing):
    pd = pytest.importorskip("pandas")
    missing = pd.NA if missing == "NA" else missing
    texts = ["red house", "blue house", "red car", ""] * 5
    partly = [text or missing for text in texts]
    representation = NumericRepresentation(n_components=2, random_state=0).fit(texts)
    expected = representation.transform(texts)
    for container in (list, lambda v: np.array(v, dtype=object), pd.Series):
        assert_array_equal(representation.transform(container(partly)), expected)
        first = representation.transform(container(partly)[3:4])
        assert_array_equal(first, expected[3:4])
        again = NumericRepresentation(n_components=2, random_state=0)
        assert_allclose(again.fit_transform(container(partly[::-1])), expected[::-1], atol=1e-6)


def test_rows_of_different_length_have_no_representation():
    tokens = [["a", "b"], ["a"], ["c", "a", "b"]] * 10
    with pytest.warns(UserWarning, match="without neighbours and second opinion"):
        assert fit_representation("auto", tokens)[0] is None
    with pytest.raises(UnsupportedInputError, match="X has no numeric representation"):
        NumericRepresentation().fit(tokens)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_numbers_of_a_frame_and_of_an_array_are_exchangeable_by_position(library):
    library = pytest.importorskip(library)
    X = np.random.default_rng(0).normal(size=(50, 3))
    frame = library.DataFrame(dict(zip("abc", X.T)))
    for fitted_on, other in ((X, frame), (frame, X)):
        representation = NumericRepresentation().fit(fitted_on)
        expected = representation.transform(fitted_on)
        assert_array_equal(representation.transform(other), expected)
    with pytest.raises(ValueError, match="of kind 'frame', but the representation was fitted on"):
        NumericRepresentation().fit(X[:, :2]).transform(frame)
