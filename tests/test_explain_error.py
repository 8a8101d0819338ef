"""Reasons for an error probability: they sum to it, have readable names, and point right."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logit
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import (
    AverageMetaLearner,
    ErrorModel,
    LightGBMMetaLearner,
    LogisticMetaLearner,
    MetaErrorClassifier,
    MLPMetaLearner,
)
from metaerr_sklearn.error_model import ErrorExplanation
from metaerr_sklearn.representation import NumericRepresentation

pytestmark = pytest.mark.usefixtures("small_second_opinion")


@pytest.fixture(scope="module")
def table():
    X, y = make_classification(
        900, n_features=6, n_informative=4, n_clusters_per_class=3, flip_y=0.05, random_state=0
    )
    return X, y


def assert_sums_to_the_log_odds(clf, X):
    contributions, names, base_value = clf.explain_error(X)
    assert contributions.shape == (len(clf.predict(X)), len(names))
    assert len(set(names)) == len(names)
    log_odds = contributions.sum(axis=1) + base_value
    assert_allclose(log_odds, logit(clf.predict_error_proba(X)), rtol=1e-6, atol=1e-8)
    return contributions, names, base_value


@pytest.mark.parametrize("learner", ["auto", "lightgbm", "logistic", "confidence"])
@pytest.mark.parametrize("meta_features", ["auto", "confidence", ["neighbors", "input"]], ids=str)
def test_contributions_sum_to_the_log_odds(table, learner, meta_features):
    X, y = table
    clf = MetaErrorClassifier(
        GaussianNB(), learner, meta_features=meta_features, random_state=0
    ).fit(X[:500], y[:500])
    assert_sums_to_the_log_odds(clf, X[500:])


def test_rows_keep_their_order_and_do_not_see_each_other(table):
    X, y = table
    clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X[:500], y[:500])
    contributions = clf.explain_error(X[500:]).contributions
    some = np.array([7, 3, 3, 200])
    assert_allclose(clf.explain_error(X[500:][some]).contributions, contributions[some], atol=1e-9)


def test_chunks_of_rows_make_no_difference(table, monkeypatch):
    X, y = table
    clf = MetaErrorClassifier(GaussianNB(), random_state=0).fit(X[:500], y[:500])
    whole = clf.explain_error(X[500:])
    monkeypatch.setattr("metaerr_sklearn._utils.limits.TRANSFORM_CHUNK", 150)
    parts = clf.explain_error(X[500:])
    assert_allclose(parts.contributions, whole.contributions, atol=1e-9)
    assert_array_equal(parts.names, whole.names)
    assert parts.base_value == whole.base_value


def test_training_rows_are_typical(table):
    """Offset and linear terms are relative to the training rows: there they average to 0."""
    X, y = table
    proba = GaussianNB().fit(X[:200], y[:200]).predict_proba(X[200:])
    model = ErrorModel("logistic", meta_features="confidence", random_state=0)
    model.fit(X[200:], y[200:], proba)
    contributions, names, base_value = model.explain_error(X[200:], proba)
    offset = names == "offset: confidence"
    assert_allclose(contributions[:, offset].mean(), 0, atol=1e-9)
    logits = logit(model.predict_error_proba(X[200:], proba))
    assert_allclose(base_value, logits.mean(), atol=0.2)


def first_column(X, proba):
    return X[:, :1]


def test_linear_contribution_is_coefficient_times_distance_from_the_mean(table):
    X, y = table
    proba = GaussianNB().fit(X[:200], y[:200]).predict_proba(X)
    model = ErrorModel(LogisticMetaLearner(alphas=[3]), meta_features=first_column, random_state=0)
    model.fit(X[200:600], y[200:600], proba[200:600])
    contributions, names, _ = model.explain_error(X[600:], proba[600:])
    train, new = X[200:600, 0], X[600:, 0]
    inside = (new > train.min()) & (new < train.max())
    assert names.tolist() == ["offset: confidence", "custom0_0"]
    expected = model.meta_learner_.coef_[0] * (new - train.mean()) / train.std()
    assert abs(expected).max() > 0.01
    assert_allclose(contributions[inside, 1], expected[inside], rtol=1e-6, atol=1e-9)


def test_average_is_the_mean_of_its_learners(table):
    X, y = table
    proba = GaussianNB().fit(X[:200], y[:200]).predict_proba(X)
    data = X[200:600], y[200:600], proba[200:600]
    learners = [LightGBMMetaLearner(), LogisticMetaLearner()]
    explained = [
        ErrorModel(learner, meta_features=["confidence", "input"], random_state=0)
        .fit(*data)
        .explain_error(X[600:], proba[600:])
        for learner in (*learners, AverageMetaLearner(learners))
    ]
    mean = np.mean([e.contributions for e in explained[:2]], axis=0)
    assert_allclose(explained[2].contributions, mean, atol=1e-9)
    assert_allclose(explained[2].base_value, np.mean([e.base_value for e in explained[:2]]))


def test_the_column_that_spoils_predictions_is_named(mixed_frame):
    """Labels of members are noise that the base cannot see: membership is the reason."""
    X, y = mixed_frame
    rng = np.random.default_rng(1)
    X = X.loc[rng.integers(len(X), size=1500)].reset_index(drop=True)
    X["income"] += rng.normal(size=1500)
    y = np.where(X["income"] > 0, "good", "bad")
    y = np.where(X["member"] & (rng.random(1500) < 0.5), rng.permutation(y), y)
    only_income = make_column_transformer(("passthrough", ["income"]))
    base = make_pipeline(only_income, DecisionTreeClassifier(max_depth=2))
    clf = MetaErrorClassifier(
        base, LightGBMMetaLearner(colsample_bytree=1.0), meta_features="input", random_state=0
    ).fit(X, y)
    contributions, names, _ = assert_sums_to_the_log_odds(clf, X)
    assert names.tolist() == [
        "offset: confidence",
        "input: age",
        "input: income",
        "input: housing",
        "input: member",
    ]
    assert names[np.abs(contributions[:, 1:]).mean(axis=0).argmax() + 1] == "input: member"
    member = contributions[:, names == "input: member"][:, 0]
    assert member[X["member"]].min() > member[~X["member"]].max()


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_every_category_of_a_column_is_one_reason(mixed_frame, library):
    X, y = mixed_frame
    if library == "polars":
        X = pytest.importorskip("polars").from_pandas(X)
    base = make_pipeline(NumericRepresentation(), LogisticRegression())
    clf = MetaErrorClassifier(base, random_state=0).fit(X, y)
    _, names, _ = assert_sums_to_the_log_odds(clf, X)
    blocks = [name.partition(":")[0] for name in names]
    assert list(dict.fromkeys(blocks)) == [
        "offset",
        "confidence",
        "predicted_class",
        "neighbors",
        "second_opinion",
        "input",
    ]
    assert [name for name in names if name.startswith("input")] == [
        "input: age",
        "input: income",
        "input: housing",
        "input: member",
    ]


INPUTS = {
    "array": lambda X: (X, ["x0", "x1", "x2", "x3", "x4", "x5"]),
    "objects": lambda X: (X.astype(object), ["x0", "x1", "x2", "x3", "x4", "x5"]),
    "images": lambda X: (X.reshape(-1, 1, 2, 3), [f"component {j}" for j in range(5)]),
    "sparse": lambda X: (sp.csr_matrix(X), [f"component {j}" for j in range(5)]),
}


@pytest.mark.parametrize("kind", INPUTS)
def test_input_columns_have_the_names_of_what_they_are(table, kind):
    (X, y), proba = table, GaussianNB().fit(*table).predict_proba(table[0])
    X, expected = INPUTS[kind](X)
    model = ErrorModel(LightGBMMetaLearner(), meta_features="input").fit(X, y, proba)
    assert model.explain_error(X, proba).names[1:].tolist() == [f"input: {e}" for e in expected]


@pytest.mark.parametrize(
    ("representation", "expected"),
    [
        (PCA(2), ["pca0", "pca1"]),
        (FunctionTransformer(np.negative), [f"component {j}" for j in range(6)]),
    ],
    ids=["names", "no names"],
)
def test_representation_of_the_user_names_its_columns(table, representation, expected):
    (X, y), proba = table, GaussianNB().fit(*table).predict_proba(table[0])
    model = ErrorModel("lightgbm", meta_features="input", representation=representation)
    names = model.fit(X, y, proba).explain_error(X, proba).names[1:]
    assert names.tolist() == [f"input: {name}" for name in expected]


def test_fallback_is_explained_by_the_confidence_alone(table):
    X, y = table
    proba = np.column_stack([1 - y, y]) * 0.8 + 0.1
    with pytest.warns(UserWarning, match="fewer than the 5"):
        model = ErrorModel(meta_features="confidence").fit(X, y, proba)
    contributions, names, base_value = model.explain_error(X, proba)
    assert names.tolist() == ["offset: confidence"]
    logits = logit(model.predict_error_proba(X, proba))
    assert_allclose(contributions[:, 0] + base_value, logits, atol=1e-9)


@pytest.mark.parametrize(
    ("learner", "name"),
    [
        pytest.param(MLPMetaLearner(max_epochs=1), "MLPMetaLearner", marks=pytest.mark.torch),
        pytest.param(
            AverageMetaLearner([MLPMetaLearner(max_epochs=1)]),
            "AverageMetaLearner",
            marks=pytest.mark.torch,
        ),
        (LogisticRegression(), "LogisticRegression"),
    ],
    ids=["mlp", "average", "classifier"],
)
def test_other_learners_are_refused_before_the_base_predicts(table, learner, name):
    X, y = table
    clf = MetaErrorClassifier(GaussianNB(), learner, meta_features="confidence").fit(X, y)
    clf.estimator_ = None
    with pytest.raises(ValueError, match=f'got {name}. Fit with meta_learner="auto"'):
        clf.explain_error(X)


def test_without_meta_learner_there_is_nothing_to_explain(table):
    clf = MetaErrorClassifier(GaussianNB(), None).fit(*table)
    with pytest.raises(ValueError, match="meta_learner=None learns no error model"):
        clf.explain_error(table[0])


def test_classifier_and_error_model_explain_alike(table):
    X, y = table
    base = GaussianNB().fit(X[:200], y[:200])
    clf = MetaErrorClassifier(FrozenEstimator(base), random_state=0).fit(X[200:600], y[200:600])
    ours = clf.explain_error(X[600:])
    theirs = clf.error_model_.explain_error(X[600:], base.predict_proba(X[600:]))
    assert_allclose(ours.contributions, theirs.contributions)
    assert_array_equal(ours.names, theirs.names)


def test_an_explanation_prints_the_largest_contributions_and_stays_a_tuple():
    names = np.array(["offset: confidence", "input: age", "input: income", "input: city"])
    explanation = ErrorExplanation(
        np.array([[2.0, -0.5, 0.04, 1.0], [0.0, 0.0, -3.0, 0.0], [0.0] * 4]), names, -1.5
    )
    contributions, _, base_value = explanation
    assert contributions.shape == (3, 4)
    assert base_value == explanation[2] == -1.5
    assert str(explanation).splitlines() == [
        "Reasons for 3 rows.",
        "+ raises, - lowers the log-odds of an error. Typical training row: -1.5",
        "    row  error probability  reasons",
        "      0              0.739  +2.0 offset: confidence",
        "                            +1.0 input: city",
        "                            -0.5 input: age",
        "      1              0.011  -3.0 input: income",
        "      2              0.182  none: like a typical row",
    ]
    assert repr(explanation._replace(contributions=contributions[1])).startswith(
        "Reasons for 1 row."
    )
    assert len(repr(explanation._replace(contributions=contributions[:0])).splitlines()) == 3


def test_a_long_explanation_prints_the_ten_rows_that_are_most_likely_wrong(table):
    X, y = table
    clf = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X[:500], y[:500])
    text = str(clf.explain_error(X[500:]))
    printed = [int(line[:7]) for line in text.splitlines()[3:] if line[:7].strip()]
    assert text.startswith("Reasons for the 10 of 400 rows with the highest error probability.")
    assert_array_equal(printed, np.argsort(-clf.predict_error_proba(X[500:]))[:10])
    assert max(map(len, text.splitlines())) <= 80
