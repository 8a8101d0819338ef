"""Error probabilities of given predictions: calibrated, out-of-fold, better than confidence."""

import pickle
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit, logit
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from metaerr_sklearn import (
    ErrorModel,
    LightGBMMetaLearner,
    LogisticMetaLearner,
    MetaErrorClassifier,
)
from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn._utils.platt import PlattScaling
from metaerr_sklearn._utils.random import draw_seed
from metaerr_sklearn.model_selection._splitting import make_splits

pytestmark = pytest.mark.usefixtures("small_second_opinion")


@pytest.fixture(scope="module")
def deployed():
    """Probabilities of a naive Bayes for rows that it has not seen, with their labels."""
    X, y = make_classification(
        2600, n_features=8, n_informative=5, n_clusters_per_class=3, flip_y=0.05, random_state=0
    )
    proba = GaussianNB().fit(X[:200], y[:200]).predict_proba(X)
    return X[200:], y[200:], proba[200:]


def halves(data):
    return [v[:800] for v in data], [v[800:] for v in data]


LEARNERS = [
    "auto",
    "lightgbm",
    pytest.param("mlp", marks=pytest.mark.torch),
    "logistic",
    "confidence",
    LogisticRegression(max_iter=500),
]


@pytest.mark.draws
@pytest.mark.full_size
@pytest.mark.parametrize("learner", LEARNERS, ids=str)
def test_error_proba_is_a_calibrated_probability_that_beats_confidence(deployed, learner):
    (X, y, proba), other = halves(deployed)
    excess = []
    # Each half is tested once: the difference between the error rates of the halves drops out.
    for train, (X_test, y_test, proba_test) in (((X, y, proba), other), (other, (X, y, proba))):
        model = ErrorModel(learner, random_state=0).fit(*train)
        error_proba = model.predict_error_proba(X_test, proba_test)
        is_error = proba_test.argmax(axis=1) != y_test
        assert error_proba.min() >= 0
        assert error_proba.max() <= 1
        excess.append(error_proba.mean() - is_error.mean())
        confidence = roc_auc_score(is_error, 1 - proba_test.max(axis=1))
        assert roc_auc_score(is_error, error_proba) > confidence + 0.1
    assert abs(np.mean(excess)) < 0.015


def test_learning_beats_platt_scaling(deployed):
    train, (X, y, proba) = halves(deployed)
    is_error = proba.argmax(axis=1) != y
    platt = ErrorModel("confidence", meta_features="confidence").fit(*train)
    model = ErrorModel(random_state=0).fit(*train)
    losses = [log_loss(is_error, m.predict_error_proba(X, proba)) for m in (model, platt)]
    assert losses[0] < losses[1] - 0.1


def test_confidence_alone_keeps_the_order_of_the_probabilities(deployed):
    train, (X, _, proba) = halves(deployed)
    model = ErrorModel("confidence", meta_features="confidence").fit(*train)
    error_proba = model.predict_error_proba(X, proba)
    order = np.argsort(proba.min(axis=1), kind="stable")
    assert (np.diff(error_proba[order]) >= 0).all()


def test_offset_is_not_fitted_on_its_own_rows(deployed):
    """Red if the training offset of a row comes from a line that was fitted with the row."""
    X, y, proba = (v[:40] for v in deployed)
    model = ErrorModel("confidence", meta_features="confidence", random_state=0).fit(X, y, proba)
    is_error = proba.argmax(axis=1) != y
    folds = make_splits(5, X, is_error, seed=draw_seed(0), warn=False)
    score = np.log(proba.min(axis=1) / proba.max(axis=1))
    for train, test in folds:
        line = PlattScaling().fit(score[train], is_error[train], np.ones(len(train)))
        assert_allclose(logit(model.oof_error_proba_[test]), line.predict(score[test]), rtol=1e-5)


def test_platt_slope_stays_positive_and_keeps_the_order():
    score = np.linspace(-3, 3, 100)
    scaling = PlattScaling().fit(score, score < 0, np.ones(100))  # the score is inverted
    assert (np.diff(scaling.predict(score)) > 0).all()


def test_platt_recovers_a_line_in_log_odds():
    rng = np.random.default_rng(0)
    score = rng.normal(size=20000)
    is_error = rng.random(20000) < expit(0.7 * score - 1)
    scaling = PlattScaling().fit(score, is_error, np.ones(20000))
    assert_allclose([scaling.slope_, scaling.intercept_], [0.7, -1], atol=0.06)


@pytest.mark.parametrize("n_errors", [0, 1, 4, 196, 200])
def test_too_few_errors_fall_back_to_confidence_at_the_smoothed_level(n_errors):
    rng = np.random.default_rng(0)
    X, proba = rng.normal(size=(200, 3)), rng.dirichlet([1, 1], size=200)
    y = proba.argmax(axis=1)
    y[:n_errors] = 1 - y[:n_errors]
    expected = "fewer than the 5 that a meta-learner needs|guesses among 2 classes"
    with pytest.warns(UserWarning, match=expected) as log:
        model = ErrorModel(meta_features="confidence").fit(X, y, proba)
    *others, message = [str(warning.message) for warning in log]
    assert model.fallback_reason_ in message
    assert "fewer than the 5" in message
    # If nearly all predictions are wrong, the columns may have another order.
    assert len(others) == (n_errors > 100)
    assert all("guesses among 2 classes" in other for other in others)
    error_proba = model.predict_error_proba(X, proba)
    assert_allclose(error_proba.mean(), (n_errors + 0.5) / 201, rtol=1e-3)
    order = np.argsort(proba.min(axis=1))
    assert (np.diff(error_proba[order]) >= 0).all()


def test_five_errors_are_enough(deployed):
    X, y, proba = deployed
    wrong = np.flatnonzero(proba.argmax(axis=1) != y)[:5]
    right = np.flatnonzero(proba.argmax(axis=1) == y)[:200]
    rows = np.sort(np.r_[wrong, right])
    model = ErrorModel(random_state=0).fit(X[rows], y[rows], proba[rows])
    assert model.fallback_reason_ is None
    assert model.n_errors_ == 5


def test_without_x_only_the_probabilities_are_used(deployed):
    (X, y, proba), (_, _, new) = halves(deployed)
    model = ErrorModel("logistic", random_state=0).fit(None, y, proba)
    assert model.representation_reason_ == "no X was given"
    blocks = ["confidence", "predicted_class"]
    alone = ErrorModel("logistic", meta_features=blocks, random_state=0).fit(X, y, proba)
    expected = alone.predict_error_proba(np.zeros((len(new), X.shape[1])), new)
    assert_allclose(model.predict_error_proba(None, new), expected, rtol=1e-6)
    assert not any(name.startswith("second") for name in model.meta_feature_names_)


def test_model_fitted_with_x_requires_x(deployed):
    X, y, proba = (v[:300] for v in deployed)
    model = ErrorModel("logistic").fit(X, y, proba)
    with pytest.raises(ValueError, match="X is None, but this ErrorModel was fitted with X"):
        model.predict_error_proba(None, proba)


def test_predicted_labels_may_differ_from_the_most_probable_class(deployed):
    X, y, proba = (v[:600] for v in deployed)
    cautious = (proba[:, 1] > 0.1).astype(int)
    model = ErrorModel("logistic", random_state=0).fit(X, y, proba, y_pred=cautious)
    assert_allclose(model.error_rate_, np.mean(cautious != y))
    same = model.predict_error_proba(X, proba, y_pred=cautious)
    n_others = np.sum(cautious != proba.argmax(axis=1))
    for predict in (model.predict_error_proba, model.explain_error):
        with pytest.warns(UserWarning, match=f"y_pred is missing. In fit, {n_others} predicted"):
            predict(X, proba)
    with pytest.warns(UserWarning, match="Pass y_pred= with the predicted labels"):
        assert not np.allclose(same, model.predict_error_proba(X, proba))


def test_labels_among_equal_probabilities_need_no_y_pred():
    rng = np.random.default_rng(0)
    y, proba = rng.integers(0, 2, 60), np.full((60, 2), 0.5)
    model = ErrorModel("confidence", meta_features="confidence", random_state=0)
    model.fit(None, y, proba, y_pred=rng.integers(0, 2, 60)).predict_error_proba(None, proba)


@pytest.mark.parametrize("with_X", [True, False])
def test_each_row_needs_a_predicted_label(with_X, deployed):
    X, y, proba = (v[:200] for v in deployed)
    X, y_pred = X if with_X else None, proba.argmax(axis=1)
    model = ErrorModel("confidence", meta_features="confidence").fit(X, y, proba, y_pred=y_pred)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.predict_error_proba(X, proba, y_pred=y_pred[:150])


def test_string_labels_and_a_label_without_a_column(deployed):
    X, y, proba = (v[:600] for v in deployed)
    names = np.array(["no", "yes"])[y]
    model = ErrorModel("logistic", random_state=0).fit(X, names, proba)
    same = ErrorModel("logistic", random_state=0).fit(X, y, proba)
    assert_allclose(
        model.predict_error_proba(X, proba), same.predict_error_proba(X, proba), rtol=1e-9
    )
    # A label without a column of probabilities is always an error.
    names = names.copy().astype(object)
    names[::10] = "unseen"
    model = ErrorModel("logistic", random_state=0).fit(X, names, proba, classes=["no", "yes"])
    assert model.n_errors_ == np.sum(np.array(["no", "yes"])[proba.argmax(axis=1)] != names)


def test_weight_zero_is_a_removed_row(deployed):
    X, y, proba = (v[:500] for v in deployed)
    weight = (np.arange(500) < 400).astype(float)
    weighted = ErrorModel("logistic", random_state=0).fit(X, y, proba, sample_weight=weight)
    removed = ErrorModel("logistic", random_state=0).fit(X[:400], y[:400], proba[:400])
    assert_allclose(
        weighted.predict_error_proba(X, proba), removed.predict_error_proba(X, proba), rtol=1e-5
    )
    assert np.isnan(weighted.oof_error_proba_[400:]).all()


def test_duplicated_rows_do_not_sharpen_the_model(monkeypatch):
    """Red if duplicates leak: the duplicate of a row has its label and its error."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y, proba = rng.integers(2, size=400), rng.dirichlet([2, 2], size=400)
    twice = [np.repeat(v, 2, axis=0) for v in (X, y, proba)]
    is_error = twice[2].argmax(axis=1) != twice[1]

    def auroc():
        model = ErrorModel(random_state=0).fit(*twice)
        return roc_auc_score(is_error, model.oof_error_proba_)

    with pytest.warns(UserWarning, match=r"800 of the 800 rows of X have duplicates \(copies\)"):
        assert auroc() < 0.62
    monkeypatch.setattr(
        "metaerr_sklearn.error_model._error_model.find_duplicates", lambda X, y: None
    )
    assert auroc() > 0.9


def test_groups_do_not_sharpen_the_model():
    """Red if groups are split: rows of one group share features, label and error."""
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(80), 8)
    centre, label = rng.normal(size=(80, 5)), rng.integers(2, size=80)
    X = centre[groups] + 0.05 * rng.normal(size=(640, 5))
    y, proba = label[groups], rng.dirichlet([2, 2], size=80)[groups]
    is_error = proba.argmax(axis=1) != y

    def auroc(groups):
        model = ErrorModel(random_state=0).fit(X, y, proba, groups=groups)
        return roc_auc_score(is_error, model.oof_error_proba_)

    assert auroc(None) > 0.95
    assert auroc(groups) < 0.7


def test_custom_meta_feature_is_used(deployed):
    (X, y, proba), (X_new, y_new, new) = halves(deployed)
    labels = {row.tobytes(): label for row, label in zip(deployed[0], deployed[1])}

    def oracle(X, proba):
        return [labels[row.tobytes()] != p.argmax() for row, p in zip(X, proba)]

    model = ErrorModel("logistic", meta_features=["confidence", oracle]).fit(X, y, proba)
    assert model.meta_feature_names_[-1] == "custom1_0"
    is_error = new.argmax(axis=1) != y_new
    assert roc_auc_score(is_error, model.predict_error_proba(X_new, new)) > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"meta_learner": "lgbm"}, "meta_learner must be one of 'auto', 'lightgbm'"),
        ({"meta_learner": LogisticRegression}, "meta_learner must be one of"),
        ({"meta_features": "neighbours"}, "Unknown meta-feature block 'neighbours'"),
        ({"representation": "pca"}, 'representation must be "auto", a transformer or None'),
        ({"cv": 1}, "cv == 1, must be >= 2"),
        pytest.param(
            {"meta_learner": "mlp", "meta_features": "input"},
            "meta_features='input' holds no block that 'mlp' uses. Add \"confidence\"",
            marks=pytest.mark.torch,
        ),
    ],
)
def test_bad_parameters(deployed, change, message):
    X, y, proba = (v[:100] for v in deployed)
    with pytest.raises(ValueError, match=message):
        ErrorModel(**change).fit(X, y, proba)


def test_bad_data(deployed):
    X, y, proba = (v[:100] for v in deployed)
    with pytest.raises(ValueError, match="summing to 1"):
        ErrorModel().fit(X, y, 2 * proba)
    with pytest.raises(ValueError, match="passes X to the meta-learner, and X is None"):
        ErrorModel(LogisticRegression(), meta_features="input").fit(None, y, proba)
    with pytest.raises(ValueError, match="got 2 columns for 3 classes"):
        ErrorModel().fit(X, np.r_[y[:-1], 2], proba)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ErrorModel().fit(X[:50], y, proba)
    columns = {"no": proba[:, 0], "yes": proba[:, 1]}
    structured = pd.DataFrame(columns).to_records(index=False)
    for by_name in (columns, structured, [dict(enumerate(row)) for row in proba]):
        with pytest.raises(ValueError, match=r"by name of the class: pass pandas.DataFrame"):
            ErrorModel().fit(X, y, by_name)
    with pytest.raises(ValueError, match=r"From a column of lists.*np.stack\(proba\)"):
        ErrorModel().fit(X, y, pd.Series(list(proba)))
    with pytest.raises(ValueError, match=r"If only the predicted labels are known.*np.unique"):
        ErrorModel().fit(X, y, [f"class {label}" for label in y])
    for bad, message in (
        (proba[None], r"must have shape .* got \(1, 100, 2\)"),
        (proba[:, 1:], r"got 1 columns for 2 classes. If p is .* np.column_stack"),
        ([[f"{p:.0%}" for p in row] for row in proba], "without gaps: could not .* percentages"),
        ([[None, 1]] + [[1, 0]] * 99, "Row 0 sums to nan .* Drop rows without probabilities"),
    ):
        with pytest.raises(ValueError, match=message):
            ErrorModel().fit(X, y, bad)
    for classes in ([1, 0], [1, 1]):
        with pytest.raises(ValueError, match=r"classes must be sorted and distinct.*\[order\]"):
            ErrorModel().fit(X, y, proba, classes=classes)


def test_rows_do_not_depend_on_their_company_and_seed_decides(deployed):
    train, (X, _, proba) = halves(deployed)
    model = ErrorModel(random_state=3).fit(*train)
    whole = model.predict_error_proba(X, proba)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(model.predict_error_proba(X[order], proba[order]), whole[order], rtol=1e-6)
    assert_allclose(model.predict_error_proba(X[:3], proba[:3]), whole[:3], rtol=1e-6)
    again = ErrorModel(random_state=3).fit(*train)
    assert_array_equal(again.predict_error_proba(X, proba), whole)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_error_proba(X, proba), whole)


def test_parameters_of_a_learner_can_be_set(deployed):
    model = ErrorModel(LightGBMMetaLearner(num_leaves=4))
    assert clone(model).set_params(meta_learner__num_leaves=3).meta_learner.num_leaves == 3
    train, _ = halves(deployed)
    model.fit(*train)
    assert not hasattr(model.meta_learner, "booster_")


@pytest.mark.full_size
def test_second_opinion_from_noise_gets_weight_zero():
    """X is noise and the confidence is exact: a forest on X must not change the order."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=2000)
    confidence = rng.uniform(0.5, 1, 2000)
    pred_encoded = np.where(rng.random(2000) < confidence, y, 1 - y)
    proba = np.eye(2)[pred_encoded] * (2 * confidence - 1)[:, None] + (1 - confidence)[:, None]
    X = rng.normal(size=(2000, 5))
    model = ErrorModel("confidence", random_state=0).fit(X[:1000], y[:1000], proba[:1000])
    assert model._cascade.full._offset._term_weights == {"confidence": 1.0, "second_opinion": 0.0}
    is_error = pred_encoded[1000:] != y[1000:]
    error_proba = model.predict_error_proba(X[1000:], proba[1000:])
    plain = roc_auc_score(is_error, 1 - confidence[1000:])
    assert roc_auc_score(is_error, error_proba) > plain - 1e-9


def test_fold_separates_the_classifiers_that_made_the_predictions():
    """Errors on random labels cannot be predicted; without `fold` they seem predictable."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1400, 2)), rng.integers(2, size=1400)
    splits = make_splits(5, X, y, seed=0)
    oof, *_ = cross_fit(KNeighborsClassifier(1), X, y, classes=np.arange(2), splits=splits)
    losses = []
    for fold in (None, oof.fold):
        model = ErrorModel(random_state=0).fit(X, y, oof.proba, fold=fold)
        losses.append(log_loss(oof.pred_encoded != y, model.oof_error_proba_))
    assert losses[0] < np.log(2) - 0.03
    assert losses[1] > np.log(2) - 0.012
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ErrorModel().fit(X, y, oof.proba, fold=oof.fold[1:])


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_only_ratios_of_weights_matter(deployed, scale):
    (X, y, proba), test = halves(deployed)
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    models = [
        ErrorModel(random_state=0).fit(X, y, proba, sample_weight=w)
        for w in (weight, weight * scale)
    ]
    one, other = (m.predict_error_proba(test[0], test[2]) for m in models)
    assert_allclose(one, other, rtol=1e-5)


def many_rows(n_samples, error_rate, seed=0):
    """Predictions whose errors lie where the first column is large."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, 4))
    y = rng.integers(2, size=n_samples)
    is_error = rng.random(n_samples) < 2 * error_rate * expit(4 * X[:, 0])
    confidence = rng.uniform(0.8, 1, n_samples)
    pred_encoded = np.where(is_error, 1 - y, y)
    proba = np.where(np.eye(2)[pred_encoded] > 0, confidence[:, None], 1 - confidence[:, None])
    return X, y, proba, is_error


@pytest.fixture
def bound(monkeypatch):
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 1000)


def test_a_sample_of_many_rows_is_trained_on_and_all_are_predicted(bound):
    X, y, proba, is_error = many_rows(4000, 0.2)
    model = ErrorModel(random_state=0).fit(X, y, proba)
    assert len(model._blocks[2]._y) == 1000
    assert np.isfinite(model.oof_error_proba_).all()
    assert model.n_errors_ == is_error.sum()
    assert abs(model.oof_error_proba_.mean() - is_error.mean()) < 0.02
    assert roc_auc_score(is_error, model.oof_error_proba_) > 0.6
    # Rows that were not sampled are predicted as new rows are.
    new = model.predict_error_proba(X, proba)
    assert 2900 <= (new == model.oof_error_proba_).sum() <= 3000


def test_rare_errors_are_oversampled_and_down_weighted(bound):
    """Still calibrated, and better than 1,000 random rows with about 10 errors."""
    auroc, rates, losses = [], [], []
    for seed in (0, 2, 4):
        X, y, proba, is_error = many_rows(40_000, 0.01, seed)
        model = ErrorModel("logistic", random_state=0).fit(X, y, proba)
        few = ErrorModel("logistic", random_state=0).fit(X[:1000], y[:1000], proba[:1000])
        X, y, proba, is_error = many_rows(20_000, 0.01, seed + 1)
        got, plain = (m.predict_error_proba(X, proba) for m in (model, few))
        losses.append([log_loss(is_error, got), log_loss(is_error, plain)])
        rates.append([got.mean(), is_error.mean()])
        auroc.append([roc_auc_score(is_error, score) for score in (got, plain)])
    ours, plain = np.mean(losses, axis=0)
    assert ours < plain
    expected, seen = np.mean(rates, axis=0)
    assert abs(expected / seen - 1) < 0.2
    ours, plain = np.mean(auroc, axis=0)
    assert ours > plain + 0.02


@pytest.mark.parametrize(
    "learner", [make_pipeline(StandardScaler(), LogisticRegression()), KNeighborsClassifier(50)]
)
def test_rare_errors_are_at_their_rate_whether_or_not_a_classifier_takes_weights(bound, learner):
    """Red if errors are oversampled for a learner that takes no weights."""
    X, y, proba, _ = many_rows(20_000, 0.05)
    error_proba = ErrorModel(learner, random_state=0).fit(X, y, proba).predict_error_proba(X, proba)
    assert abs(error_proba.mean() / 0.05 - 1) < 0.3


@pytest.mark.parametrize("size", [5, 400])
def test_rows_related_to_sampled_rows_are_not_called_out_of_fold(bound, size):
    """Red if a row has an out-of-fold probability from a model trained on rows of its group."""
    X, y, proba, _ = many_rows(4000, 0.3)
    group = np.arange(4000) // size
    model = ErrorModel("logistic", random_state=0).fit(X, y, proba, groups=group)
    sampled = model.oof_error_proba_ != model.predict_error_proba(X, proba)
    predicted = np.isfinite(model.oof_error_proba_)
    if size == 5:  # whole groups are sampled
        assert predicted.all()
        assert 950 <= sampled.sum() <= 1000
        assert not np.isin(group[~sampled], group[sampled]).any()
    else:  # a part of every group is sampled
        assert predicted.sum() == 1000


@pytest.mark.parametrize(("cv", "n_folds"), [(None, (5, 3)), (4, (4, 4))])
def test_many_rows_are_split_into_three_folds(monkeypatch, cv, n_folds):
    class Counted(LogisticMetaLearner):
        def fit(self, *args, folds, **params):
            self.n_folds_ = len(folds)
            return super().fit(*args, folds=folds, **params)

    monkeypatch.setattr("metaerr_sklearn._utils.limits.MANY_ROWS", 1000)
    X, y, proba, _ = many_rows(1001, 0.3)
    for n_rows, expected in zip((1000, 1001), n_folds):
        part = X[:n_rows], y[:n_rows], proba[:n_rows]
        assert ErrorModel(Counted(), cv=cv).fit(*part).meta_learner_.n_folds_ == expected


def test_number_of_threads_changes_nothing(bound):
    X, y, proba, _ = many_rows(3000, 0.3)
    one, two = (ErrorModel(n_jobs=n, random_state=0).fit(X, y, proba) for n in (1, 2))
    assert_array_equal(one.oof_error_proba_, two.oof_error_proba_)
    X, _, proba, _ = many_rows(12_000, 0.3)
    assert_array_equal(one.predict_error_proba(X, proba), two.predict_error_proba(X, proba))


def test_rows_of_one_group_fall_back_to_confidence(deployed):
    (X, y, proba), (X_new, _, new) = halves(deployed)
    wrong = proba.argmax(axis=1) != y
    with pytest.warns(UserWarning, match="are of one group: nothing is "):
        model = ErrorModel(random_state=0).fit(X, y, proba, groups=np.zeros(len(y)))
    assert model.fallback_reason_.startswith(f"All {len(y)} rows")
    error_proba = model.predict_error_proba(X_new, new)
    assert_allclose(rankdata(error_proba), rankdata(1 - new.max(axis=1)))
    assert_allclose(model.oof_error_proba_.mean(), wrong.mean(), atol=0.01)


def test_a_hold_out_of_one_group_falls_back_to_confidence():
    X, y = make_classification(300, flip_y=0.3, random_state=0)
    clf = MetaErrorClassifier(LogisticRegression(), cv=0.3, random_state=0)
    with pytest.warns(UserWarning, match="rows whose errors are known are of one group"):
        clf.fit(X, y, groups=np.arange(300) % 3)
    confidence = clf.predict_proba(X).max(axis=1)
    assert_allclose(rankdata(clf.predict_error_proba(X)), rankdata(-confidence))


def test_duplicates_of_one_row_a_class_fall_back_to_confidence():
    y, proba = np.repeat(np.arange(20), 10), np.full((200, 20), 0.7 / 19)
    proba[np.arange(200), np.where(y < 10, y, 0)] = 0.3
    X = np.repeat(np.random.default_rng(0).normal(size=(20, 4)), 10, axis=0)
    with pytest.warns(UserWarning, match=r"No class has two rows that are not duplicates|copies"):
        model = ErrorModel().fit(X, y, proba)
    assert "No class has two rows that are not duplicates" in model.fallback_reason_
    assert model.duplicates_.kept_together
    assert_allclose(model.predict_error_proba(X, proba), 0.5, atol=0.02)


def test_missing_labels_are_refused(deployed):
    (X, y, proba), _ = halves(deployed)
    y = np.where(np.arange(len(y)) < 3, np.nan, y)
    with pytest.raises(ValueError, match="y contains NaN, inf or None in 3 of"):
        ErrorModel().fit(X, y, proba, classes=np.unique(y[3:]))


@pytest.mark.parametrize(("kind", "missing"), [(float, np.nan), (object, None)])
@pytest.mark.parametrize("name", ["y_pred", "fold"])
def test_missing_predictions_and_folds_are_refused(deployed, kind, missing, name):
    """A missing prediction would count as an error, whatever its container."""
    (_, y, proba), _ = halves(deployed)
    values = proba.argmax(axis=1).astype(kind)
    model = ErrorModel("confidence").fit(None, y, proba, **{name: values})
    values[[5, 7]] = missing
    with pytest.raises(ValueError, match=f"{name} contains NaN, inf or None in 2 of 800 rows"):
        ErrorModel("confidence").fit(None, y, proba, **{name: values})
    if name == "y_pred":
        with pytest.raises(ValueError, match="Without a prediction a row is neither right nor"):
            model.predict_error_proba(None, proba, y_pred=values)


def test_labels_without_an_order_are_refused(deployed):
    (X, y, proba), _ = halves(deployed)
    with pytest.raises(TypeError, match="classes must be of one type, got NoneType and int"):
        ErrorModel().fit(X, y, proba, classes=[0, None])
    with pytest.raises(TypeError, match="y must be of one type, got int and str"):
        ErrorModel().fit(X, np.where(y == 1, "b", y.astype(object)), proba)


def test_rows_get_the_same_in_batches_of_any_size():
    """A projection in single precision differs from batch to batch, and by more than by chance."""
    rng = np.random.default_rng(0)
    X = (20 * rng.normal(size=(800, 1, 8, 8)) + 128).astype(np.float32)
    y = (X[:, 0, :4].mean(axis=(1, 2)) + 5 * rng.normal(size=800) > 128).astype(int)
    flat = FunctionTransformer(lambda Z: Z.reshape(len(Z), -1) / 255 - 0.5)
    clf = MetaErrorClassifier(make_pipeline(flat, LogisticRegression()), random_state=0)
    clf.fit(X[:400], y[:400])
    for rows in (X[:400], X[400:]):
        together = clf.predict_error_proba(rows)
        apart = np.concatenate(
            [clf.predict_error_proba(rows[i : i + 50]) for i in range(0, 400, 50)]
        )
        assert_allclose(together, apart, atol=1e-3)


@pytest.mark.parametrize("learner", ["auto", LogisticRegression()])
def test_errors_of_one_group_alone_fall_back_to_confidence(learner):
    """The training part of the fold that holds this group has no error."""
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(200, 4)), np.repeat(np.arange(4), 50)
    y = (X[:, 0] > 0).astype(int)
    proba = np.column_stack([1 - expit(3 * X[:, 0]), expit(3 * X[:, 0])])
    y = np.where((groups == 3) & (rng.random(200) < 0.4), 1 - y, y)
    with pytest.warns(UserWarning, match=r"The \d+ errors are related \(groups, duplicates"):
        model = ErrorModel(learner, random_state=0).fit(X, y, proba, groups=groups)
    assert model.meta_learner_ is None
    error_proba = model.predict_error_proba(X, proba)
    assert_allclose(error_proba.mean(), model.error_rate_, rtol=0.1)
    assert np.corrcoef(error_proba, 1 - proba.max(axis=1))[0, 1] > 0.5


class LabeledArray(np.ndarray):
    """Have coordinates, as a DataArray of xarray, which is not among the packages of the tests."""

    coords = ()

    def to_pandas(self):
        return pd.DataFrame(np.asarray(self), columns=self.names)


def test_coordinates_that_name_the_classes_are_found(deployed):
    X, y, proba = deployed
    expected = (
        ErrorModel("confidence", random_state=0).fit(X, y, proba).predict_error_proba(X, proba)
    )
    for names in ([1, 0], [0, 1]):
        named = proba[:, names].view(LabeledArray)
        named.names = names
        model = ErrorModel("confidence", random_state=0).fit(X, y, named)
        assert_array_equal(model.predict_error_proba(X, named), expected)


@pytest.mark.parametrize("labels", [["amber", "blue", "coral"], [3, 5, 11]])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_of_a_frame_are_matched_to_the_classes_by_name(library, labels):
    frame = pytest.importorskip(library).DataFrame
    X, y = make_classification(500, n_classes=3, n_informative=4, random_state=0)
    y = np.array(labels)[y]
    base = GaussianNB().fit(X[:200], y[:200])
    proba = base.predict_proba(X)
    expected = ErrorModel("logistic", random_state=0).fit(X[200:], y[200:], proba[200:])
    order = [2, 0, 1]
    named = frame({str(labels[j]): proba[:, j] for j in order})
    model = ErrorModel("logistic", random_state=0).fit(X[200:], y[200:], named[200:])
    assert model.error_rate_ == np.mean(base.predict(X[200:]) != y[200:])
    error_proba = expected.predict_error_proba(X, proba)
    assert_array_equal(model.predict_error_proba(X, named), error_proba)
    # Columns without names are in the order of the sorted classes.
    assert_array_equal(model.predict_error_proba(X, frame(proba)), error_proba)
    with pytest.raises(ValueError, match=r"are named \['a', 'b', 'c'\], but the classes are \['"):
        model.predict_error_proba(X, frame(dict(zip("abc", proba.T))))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_columns_named_by_texts_of_numbers_are_found_by_name(library):
    """The texts "0" to "10" have the names of columns without names, but "10" is before "2"."""
    frame = getattr(pytest.importorskip(library), "table" if library == "pyarrow" else "DataFrame")
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.full(11, 0.1), size=200), rng.integers(11, size=200)
    named = frame({str(j): proba[:, j] for j in range(11)})
    model = ErrorModel("confidence").fit(None, y.astype(str), named)
    assert model.error_rate_ == np.mean(proba.argmax(axis=1) != y)


def test_columns_without_names_have_the_order_of_sorted_texts():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    proba, y = rng.dirichlet(np.full(11, 0.1), size=200), rng.integers(11, size=200)
    classes = np.unique(y.astype(str))
    model = ErrorModel("confidence").fit(None, y.astype(str), pandas.DataFrame(proba))
    assert model.error_rate_ == np.mean(classes[proba.argmax(axis=1)] != y.astype(str))


@pytest.mark.parametrize(
    ("labels", "names"), [([1.0, 2.0, 3.0], [3, 1, 2]), ([False, True], [1, 0])], ids=str
)
def test_columns_named_by_whole_numbers_are_found_by_floats_and_booleans(labels, names):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.full(len(names), 0.3), size=200)
    y = np.array(labels)[rng.integers(len(names), size=200)]
    model = ErrorModel("confidence").fit(None, y, pandas.DataFrame(proba, columns=names))
    assert model.error_rate_ == np.mean(np.array(names)[proba.argmax(axis=1)] != y)


def test_columns_of_classes_without_rows_need_classes():
    X, y = make_classification(500, n_classes=3, n_informative=4, random_state=0)
    proba, some = GaussianNB().fit(X, y).predict_proba(X), y < 2
    with pytest.raises(
        ValueError, match=r"3 columns for 2 classes.* pass all of them, .* as class"
    ):
        ErrorModel().fit(X[some], y[some], proba[some])


@pytest.mark.parametrize("order", [1, -1])
def test_columns_in_another_order_than_the_labels_are_noticed(order, noisy_data):
    """A classifier that is wrong more often than guesses has other labels than y, or columns."""
    X, y = noisy_data
    proba = LogisticRegression().fit(X[:200], y[:200]).predict_proba(X[200:])[:, ::order]
    model = ErrorModel("confidence", random_state=0)
    says = pytest.warns(UserWarning, match="columns of proba must have the order of the sorted")
    with says if order == -1 else nullcontext():
        model.fit(X[200:], y[200:], proba)


def test_random_labels_are_not_worse_than_guesses():
    rng = np.random.default_rng(0)
    for _ in range(20):
        proba = rng.dirichlet(np.ones(4), size=100)
        ErrorModel("confidence").fit(None, rng.integers(4, size=100), proba)


@pytest.mark.parametrize(("n_rows", "n_levels"), [(60, 1), (100, 2), (100, 4)])
def test_errors_at_random_among_equal_rows_are_not_predicted(n_rows, n_levels):
    """A table of a few categories: no score can be better than the error rate."""
    rng = np.random.default_rng(0)
    X = rng.integers(n_levels, size=(n_rows, 1)).astype(float)
    y = rng.permutation((np.arange(n_rows) % 5 < 2).astype(int))
    proba = np.tile([0.6, 0.4], (n_rows, 1))
    model = ErrorModel(random_state=0).fit(X, y, proba)
    entropy = -(0.4 * np.log(0.4) + 0.6 * np.log(0.6))
    assert n_rows * (entropy - model.oof_log_loss_) < 3
    assert_allclose(model.predict_error_proba(X, proba), 0.4, atol=0.12)
