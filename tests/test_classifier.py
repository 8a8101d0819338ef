"""MetaErrorClassifier: any base, out-of-fold errors, class outputs unchanged."""

import copy
import pickle
import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from _bases import SpiedBayes, partly_labeled
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibrationDisplay
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris, make_classification, make_multilabel_classification
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import (
    ErrorModel,
    LightGBMMetaLearner,
    MetaErrorClassifier,
    OtherFits,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn._base_estimator.inspection import final_estimator
from metaerr_sklearn.metrics import error_log_loss
from metaerr_sklearn.slices import error_slices

pytestmark = pytest.mark.usefixtures("small_second_opinion")


def fast(base, meta_learner="logistic", **kwargs):
    kwargs = {"random_state": 0, "cv": 3, **kwargs}
    return MetaErrorClassifier(base, meta_learner, **kwargs)


BASES = {
    "logistic": LogisticRegression(max_iter=2000),
    "bayes": GaussianNB(),
    "forest": RandomForestClassifier(20, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=15, random_state=0),
    "neighbors": KNeighborsClassifier(),
    "svc": LinearSVC(random_state=0),
    "ridge": RidgeClassifier(),
    "vote": VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(random_state=0))]),
}


@pytest.mark.parametrize("name", BASES)
def test_class_outputs_are_the_bases_own_and_errors_are_ranked(name, digits):
    X, X_test, y, y_test = digits
    clf = fast(BASES[name]).fit(X, y)
    base = clone(BASES[name]).fit(X, y)
    assert_array_equal(clf.predict(X_test), base.predict(X_test))
    assert_array_equal(clf.classes_, base.classes_)
    assert clf.score(X_test, y_test) == base.score(X_test, y_test)
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        assert hasattr(clf, method) == hasattr(base, method)
        if hasattr(base, method):
            with np.errstate(divide="ignore"):  # a forest is sure where its trees agree
                expected = getattr(base, method)(X_test)
                assert_array_equal(getattr(clf, method)(X_test), expected)
    labels, error_proba = clf.predict_with_error(X_test)
    assert_array_equal(labels, clf.predict(X_test))
    assert_array_equal(error_proba, clf.predict_error_proba(X_test))
    is_error = labels != y_test
    assert roc_auc_score(is_error, error_proba) > 0.85
    assert abs(error_proba.mean() - is_error.mean()) < 0.03


@pytest.mark.draws
@pytest.mark.parametrize("bound", [20_000, 700])
@pytest.mark.parametrize("base", [KNeighborsClassifier(1), RandomForestClassifier(30)])
def test_errors_on_pure_noise_are_not_predicted_out_of_fold(monkeypatch, base, bound):
    """Red if a neighbour's error counts although its clone was trained on the row itself.

    With more than `bound` rows, the error model is not trained on all rows that it predicts.
    """
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", bound)
    losses = []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(1400, 2)), rng.integers(2, size=1400)
        clf = MetaErrorClassifier(base, random_state=seed).fit(X, y)
        losses.append(error_log_loss(clf.oof_error_, clf.oof_error_proba_))
    assert np.mean(losses) > np.log(2) - 0.012


def test_fit_parameters_that_are_not_one_per_row_reach_the_base(digits):
    X, _, y, _ = digits

    class Recorder(GaussianNB):
        def fit(self, X, y, weights=None, names="auto", pairs=()):
            self.seen_ = len(X), len(weights), names, pairs
            return super().fit(X, y)

    given = {"weights": np.ones(len(y)), "names": "some text", "pairs": [(1, 2)]}
    clf = fast(Recorder(), "confidence").fit(X, y, **given)
    assert clf.estimator_.seen_ == (len(y), len(y), "some text", [(1, 2)])
    chosen = SelectiveClassifier(Recorder(), target_coverage=0.8, random_state=0).fit(X, y, **given)
    n_train = len(y) - chosen.n_calibration_
    assert chosen.estimator_.seen_ == (n_train, n_train, "some text", [(1, 2)])


@pytest.mark.parametrize("wrap", [lambda base: base, lambda base: make_pipeline(base)])
def test_a_base_whose_methods_exist_once_it_is_fitted(wrap, digits):
    X, X_test, y, y_test = digits
    base = wrap(StackingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier())], cv=2))
    assert not hasattr(base, "predict")
    clf = fast(base, "confidence", cv=2).fit(X, y)
    assert_array_equal(clf.predict_with_error(X_test)[0], clf.predict(X_test))
    partly = partly_labeled(y.astype(object), 200)
    model = SelfTrainingWithMetaErr(base, cv=2, random_state=0).fit(X, partly)
    assert model.score(X_test, y_test) > 0.6
    chosen = SelectiveClassifier(base, target_coverage=0.8, random_state=0).fit(X, y)
    assert 0.7 < chosen.accepts(X_test).mean() < 0.9


def test_a_base_that_abstains_is_refused_with_a_reason(digits):
    X, _, words, _ = digits
    base = SelectiveClassifier(GaussianNB(), target_coverage=0.8, random_state=0)
    with pytest.raises(ValueError, match=r"Predicted labels cannot be compared .* abstains with"):
        fast(base).fit(X, words)


def test_labels_of_another_type_are_an_error_and_not_all_wrong(digits):
    X, _, words, _ = digits
    y = np.unique(words, return_inverse=True)[1]
    base = GaussianNB().fit(X, words)
    proba = base.predict_proba(X)
    with pytest.raises(ValueError, match=r"y holds labels like \d, but the classes are \['"):
        MetaErrorClassifier(base, cv="prefit").fit(X, y)
    with pytest.raises(
        ValueError, match=r"y_pred holds labels like .* Give labels of the same type"
    ):
        ErrorModel().fit(X, words, proba, y_pred=proba.argmax(axis=1))
    model = ErrorModel("confidence").fit(X, words, proba)
    with pytest.raises(ValueError, match="y_pred holds labels like"):
        model.predict_error_proba(X, proba, y_pred=proba.argmax(axis=1))


def test_labels_at_a_threshold_are_the_bases_own_also_if_training_rows_do_not_show_it():
    X, y = make_classification(2000, 4, n_informative=3, n_redundant=0, class_sep=3, random_state=1)
    base = FixedThresholdClassifier(
        LogisticRegression(), threshold=0.45, response_method="predict_proba"
    )
    with pytest.warns(UserWarning, match="errors among 60 rows"):
        clf = fast(base, "confidence").fit(X[:60], y[:60])
    assert_array_equal(clf.predict(X[:60]), clf.predict_proba(X[:60]).argmax(axis=1))
    assert (clf.predict(X) != clf.predict_proba(X).argmax(axis=1)).any()
    assert_array_equal(clf.predict_with_error(X)[0], clf.predict(X))


@pytest.mark.parametrize(
    "base",
    [
        RandomForestClassifier(2, random_state=0),  # which are often divided
        ExtraTreesClassifier(20, random_state=0),
        BaggingClassifier(SVC(), random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(20, random_state=0)),
    ],
)
def test_one_pass_of_an_ensemble_serves_labels_and_probabilities(base, digits, monkeypatch):
    X, X_test, y, _ = digits
    y = np.where(y < "digit 5", "low", "high")
    expected = clone(base).fit(X, y).predict(X_test)
    ensemble, calls = type(final_estimator(base)), []
    monkeypatch.setattr(ensemble, "predict", lambda *args: calls.append(args))
    clf = fast(base, "confidence", cv=2).fit(X, y)
    assert_array_equal(clf.predict_with_error(X_test)[0], expected)
    assert not calls


class ForestOfRareDigits(RandomForestClassifier):
    def predict(self, X):
        return np.where(self.predict_proba(X)[:, 0] > 0.2, *self.classes_[:2])


def test_an_ensemble_with_its_own_labels_predicts_them(digits):
    X, X_test, y, _ = digits
    clf = fast(ForestOfRareDigits(20, random_state=0), "confidence", cv=2).fit(X, y)
    assert set(clf.predict_with_error(X_test)[0]) == {"digit 0", "digit 1"}
    assert 0.7 < clf.oof_error_rate_ < 0.9


@pytest.mark.parametrize(
    "learner",
    ["auto", "lightgbm", pytest.param("mlp", marks=pytest.mark.torch), GaussianNB(), None],
)
def test_every_meta_learner(learner, digits):
    X, X_test, y, y_test = digits
    clf = fast(GaussianNB(), learner).fit(X, y)
    error_proba = clf.predict_error_proba(X_test)
    is_error = clf.predict(X_test) != y_test
    if learner is None:
        assert_allclose(error_proba, 1 - clf.predict_proba(X_test).max(axis=1), atol=1e-8)
        assert clf.error_model_ is None
    else:
        assert roc_auc_score(is_error, error_proba) > 0.9
        msp = 1 - clf.predict_proba(X_test).max(axis=1)
        assert roc_auc_score(is_error, error_proba) > roc_auc_score(is_error, msp) + 0.05


def table_pipeline(numeric, categorical):
    return make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(), StandardScaler()), numeric),
            (OneHotEncoder(handle_unknown="ignore"), categorical),
        ),
        LogisticRegression(),
    )


def test_pipeline_over_a_mixed_frame_with_missing_values(mixed_frame):
    """A frame of polars gives the error probabilities of the same frame of pandas."""
    frame, y = mixed_frame
    polars_frame = pytest.importorskip("polars").DataFrame(
        {name: frame[name].replace({np.nan: None}).tolist() for name in frame}
    )
    error_probas = []
    for X in (frame, polars_frame):
        clf = fast(table_pipeline(["age", "income"], ["housing", "member"]), "auto")
        clf.fit(X[:300], y[:300])
        assert_array_equal(clf.feature_names_in_, ["age", "income", "housing", "member"])
        assert clf.n_features_in_ == 4
        assert any(name.startswith("second") for name in clf.meta_feature_names_)
        assert (
            roc_auc_score(clf.predict(X[300:]) != y[300:], clf.predict_error_proba(X[300:])) > 0.6
        )
        error_probas.append(clf.predict_error_proba(X[300:]))
    assert_allclose(*error_probas, rtol=1e-6)


class BayesOfValues(GaussianNB):
    """Takes frames whatever their columns are called."""

    def fit(self, X, y):
        return super().fit(np.asarray(X), y)

    def predict_proba(self, X):
        return super().predict_proba(np.asarray(X))

    def predict(self, X):
        return super().predict(np.asarray(X))


def test_columns_of_one_name(noisy_data):
    """As after a join: columns are distinguished by their position."""
    pd = pytest.importorskip("pandas")
    X, y = noisy_data
    X = pd.DataFrame(X, columns=list("aabbcc"))
    clf = fast(BayesOfValues(), "auto").fit(X, y)
    distinct = X.set_axis(list("abcdef"), axis=1)
    expected = fast(BayesOfValues(), "auto").fit(distinct, y).predict_error_proba(distinct)
    assert_array_equal(clf.predict_error_proba(X), expected)
    slices, expected_slices = (
        error_slices(clf, frame, y, random_state=0) for frame in (X, distinct)
    )
    assert_array_equal(slices.apply(X), expected_slices.apply(distinct))
    partly = partly_labeled(y, 80)
    model = SelfTrainingWithMetaErr(BayesOfValues(), random_state=0)
    labels = model.fit(distinct, partly).predict(distinct)
    assert_array_equal(model.fit(X, partly).predict(X), labels)


def test_text_pipeline():
    rng = np.random.default_rng(0)
    words = {"sport": ["goal", "team", "win", "the"], "law": ["court", "judge", "win", "the"]}
    y = rng.choice(["sport", "law"], 200)
    texts = [" ".join(rng.choice(words[label], 6)) for label in y]
    y[::9] = "sport"
    error_probas = []
    for X in (texts, np.array(texts, dtype=object)):
        clf = fast(make_pipeline(TfidfVectorizer(), LogisticRegression())).fit(X, y)
        assert not hasattr(clf, "n_features_in_")
        error_probas.append(clf.predict_error_proba(X))
    assert_array_equal(*error_probas)
    # Texts on law are labeled "sport" in every ninth row, and no text on sport is labeled "law".
    is_law = clf.predict(texts) == "law"
    assert error_probas[0][is_law].mean() > error_probas[0][~is_law].mean() + 0.05


def test_sparse_input(digits):
    """Each format of a sparse matrix gives the same, and errors are ranked."""
    X, X_test, y, y_test = digits
    X, X_test = X / 16, X_test / 16
    error_probas = []
    for container in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_matrix):
        clf = fast(LogisticRegression(max_iter=2000)).fit(container(X), y)
        error_probas.append(clf.predict_error_proba(container(X_test)))
        assert_allclose(error_probas[-1], error_probas[0], rtol=1e-6)
    is_error = clf.predict(sp.csr_array(X_test)) != y_test
    assert roc_auc_score(is_error, error_probas[0]) > 0.85


def test_input_without_representation_still_works():
    """X is a list of dicts: nothing but the base understands it."""
    from sklearn.feature_extraction import DictVectorizer

    X, y = make_classification(150, flip_y=0.3, random_state=0)
    rows = [{f"x{j}": v for j, v in enumerate(row)} for row in X]
    with pytest.warns(UserWarning, match="without neighbours and second opinion"):
        clf = fast(make_pipeline(DictVectorizer(), LogisticRegression())).fit(rows, y)
    assert "list" in clf.error_model_.representation_reason_
    # The same as an error model of the probabilities alone.
    blocks = ["confidence", "predicted_class"]
    alone = fast(LogisticRegression(), meta_features=blocks, representation=None).fit(X, y)
    assert_allclose(clf.predict_error_proba(rows), alone.predict_error_proba(X), rtol=1e-3)


def test_errors_are_out_of_fold(noisy_data):
    """Red with in-sample predictions: 1-NN is never wrong on its own training rows."""
    clf = fast(KNeighborsClassifier(1)).fit(*noisy_data)
    assert clf.oof_error_rate_ > 0.1
    assert_array_equal(clf.predict(noisy_data[0]), noisy_data[1])
    assert clf.n_errors_ == clf.oof_error_.sum()
    assert_allclose(clf.oof_error_.mean(), clf.oof_error_rate_)


def test_duplicated_rows_are_not_seen_by_the_base():
    """Red if duplicates are split: 1-NN would find the duplicate, whatever its label."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 4)), rng.integers(2, size=150)
    X, y = np.repeat(X, 2, axis=0), np.repeat(y, 2)
    clf = fast(KNeighborsClassifier(1))
    with pytest.warns(UserWarning, match=r"300 of the 300 rows .* \(copies\)\. .* too high") as log:
        clf.fit(X, y)
    assert len(log) == 1
    assert clf.duplicates_.n_rows == 300
    assert clf.duplicates_.kept_together
    assert clf.error_model_.duplicates_ == clf.duplicates_
    assert clf.oof_error_rate_ > 0.35
    clf.fit(X, y, groups=np.arange(300))  # the way to split duplicates, without a warning
    assert clf.duplicates_ is None
    assert clf.oof_error_rate_ < 0.3


@pytest.mark.parametrize("share", [0.005, 0.01, 0.05])
def test_rows_drawn_from_a_list_are_split(share):
    """New rows repeat training rows as often as test rows do, whatever share of labels is noise."""
    rng = np.random.default_rng(0)
    stores, label = rng.normal(size=(200, 4)).round(3), rng.integers(2, size=200)
    visit = rng.integers(200, size=4000)
    y = np.where(rng.random(4000) < share, 1 - label[visit], label[visit])
    clf = fast(DecisionTreeClassifier(random_state=0), "confidence")
    with pytest.warns(UserWarning, match=r"2000 rows of X have duplicates .* too low") as log:
        clf.fit(stores[visit[:2000]], y[:2000])
    assert "groups=np.arange(len(X))" in str(log[0].message)
    assert not clf.duplicates_.kept_together
    new_error_rate = 1 - clf.score(stores[visit[2000:]], y[2000:])
    assert clf.oof_error_rate_ == pytest.approx(new_error_rate, abs=0.02)


@pytest.mark.parametrize("as_list", [False, True])
def test_splits_that_separate_duplicates_are_reported(as_list):
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(100, 3)), 2, axis=0), np.repeat(rng.integers(2, size=100), 2)
    folds = KFold(3, shuffle=True, random_state=0)
    clf = fast(KNeighborsClassifier(1), cv=list(folds.split(X)) if as_list else folds)
    with pytest.warns(UserWarning, match=r"test \d+ rows that have a duplicate in training"):
        clf.fit(X, y)
    assert not clf.duplicates_.kept_together
    assert clf.set_params(cv=KFold(2)).fit(X, y).duplicates_.kept_together


@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_groups_reach_the_splitter(cv):
    """Red if groups are split: rows of a group are alike, and 1-NN finds them."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    X = rng.normal(size=(60, 4))[groups] + 0.01 * rng.normal(size=(300, 4))
    y = rng.integers(2, size=60)[groups]
    clf = fast(KNeighborsClassifier(1), cv=cv, meta_features="confidence")
    with pytest.warns(UserWarning, match="fewer than the 5 that a meta-learner needs"):
        assert clone(clf).set_params(cv=3).fit(X, y).oof_error_rate_ < 0.1
    assert clf.fit(X, y, groups=groups).oof_error_rate_ > 0.35
    with config_context(enable_metadata_routing=True):
        assert clf.fit(X, y, groups=groups).oof_error_rate_ > 0.35


def test_confident_errors_in_one_region_are_found():
    """8 % of the range of one column has its labels flipped: confidence cannot see that."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 5))
    y = (X[:, 0] + X[:, 1] > 0).astype(int)
    rank = X[:, 2].argsort().argsort() / len(X)
    region = (rank > 0.6) & (rank < 0.68)
    y = np.where(region, 1 - y, y)
    clf = MetaErrorClassifier(LogisticRegression(), random_state=0).fit(X[:1500], y[:1500])
    is_error = clf.predict(X[1500:]) != y[1500:]
    msp = roc_auc_score(is_error, 1 - clf.predict_proba(X[1500:]).max(axis=1))
    assert roc_auc_score(is_error, clf.predict_error_proba(X[1500:])) > msp + 0.2


def test_prefit_base_is_deployed_as_it_is(cancer):
    X, X_test, y, y_test = cancer
    base = make_pipeline(StandardScaler(), GaussianNB()).fit(X[:150], y[:150])
    before = copy.deepcopy(base)
    prefit = fast(base, cv="prefit").fit(X[150:], y[150:])
    frozen = fast(FrozenEstimator(base)).fit(X[150:], y[150:])
    assert prefit.estimator_ is base
    assert_array_equal(prefit.oof_error_, base.predict(X[150:]) != y[150:])
    assert_array_equal(prefit.predict_error_proba(X_test), frozen.predict_error_proba(X_test))
    assert_array_equal(base.predict_proba(X_test), before.predict_proba(X_test))
    assert prefit.score(X_test, y_test) == base.score(X_test, y_test)


def test_prefit_base_meets_a_class_it_does_not_know():
    X, y = load_iris(return_X_y=True)
    base = GaussianNB().fit(X[y < 2], y[y < 2])
    clf = fast(base, cv="prefit").fit(X[::2], y[::2])
    assert_array_equal(clf.classes_, [0, 1])
    assert clf.predict_proba(X).shape == (150, 2)
    error_proba = clf.predict_error_proba(X[1::2])
    assert roc_auc_score(y[1::2] == 2, error_proba) > 0.9


def test_hold_out_without_refit_deploys_the_observed_model(cancer):
    X, X_test, y, _ = cancer
    clf = fast(GaussianNB(), cv=0.3, refit=False).fit(X, y)
    tested = ~np.isnan(clf.oof_error_proba_)
    assert tested.sum() == 90
    expected = GaussianNB().fit(X[~tested], y[~tested])
    assert_allclose(clf.predict_proba(X_test), expected.predict_proba(X_test))
    assert not clf.oof_error_[~tested].any()
    with pytest.raises(ValueError, match="needs a single split, got 3"):
        fast(GaussianNB(), refit=False).fit(X, y)


def test_explicit_and_generated_splits_agree(cancer):
    X, X_test, y, _ = cancer
    splits = list(KFold(4).split(X))
    listed = fast(GaussianNB(), cv=splits).fit(X, y)
    generated = fast(GaussianNB(), cv=(s for s in splits)).fit(X, y)
    assert_array_equal(listed.predict_error_proba(X_test), generated.predict_error_proba(X_test))


def test_grid_search_over_base_learner_and_learner_parameters(cancer):
    X, _, y, _ = cancer
    clf = fast(LogisticRegression(), meta_features="confidence")
    clf = make_pipeline(StandardScaler(), clf)
    prefix = "metaerrorclassifier__"
    grid = [
        {prefix + "estimator__C": [0.01, 1]},
        {prefix + "meta_learner": ["confidence", None, LogisticRegression()]},
        {
            prefix + "meta_learner": [LightGBMMetaLearner()],
            prefix + "meta_learner__num_leaves": [3, 6],
        },
    ]
    search = GridSearchCV(clf, grid, cv=2, error_score="raise")
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*fewer than the 5 that a meta-learner needs", UserWarning
        )
        search.fit(X, y)
    assert len(search.cv_results_["params"]) == 7
    assert search.best_score_ > 0.9


def test_inside_cross_val_score_and_stacking(cancer):
    X, X_test, y, y_test = cancer
    clf = fast(GaussianNB(), meta_features="confidence")
    assert_allclose(cross_val_score(clf, X, y), cross_val_score(GaussianNB(), X, y))
    stack = StackingClassifier([("meta", clf), ("tree", DecisionTreeClassifier(max_depth=2))], cv=3)
    assert stack.fit(X, y).score(X_test, y_test) > 0.85


def test_memory_makes_a_search_over_the_learner_cost_no_base_fit(tmp_path, cancer):
    X, _, y, _ = cancer
    clf = fast(SpiedBayes(), LightGBMMetaLearner(), memory=str(tmp_path), cv=3)
    clf.set_params(meta_features="confidence")
    grid = {"meta_learner__num_leaves": [2, 3, 4], "meta_learner__n_estimators": [2, 3]}
    SpiedBayes.reset()
    GridSearchCV(clf, grid, cv=2, refit=False, error_score="raise").fit(X, y)
    assert len(SpiedBayes.fits) == 2 * (3 + 1)


@pytest.mark.parametrize("random_state", [None, 3, np.random.RandomState(3)])
def test_memory_resumes_whatever_the_seed(random_state, tmp_path, noisy_data):
    """Red where the folds are drawn anew: no fit of the base is then met again."""
    clf = fast(SpiedBayes(), memory=tmp_path, random_state=random_state)
    first = clone(clf).fit(*noisy_data)
    SpiedBayes.reset()
    again = clone(clf).fit(*noisy_data)
    assert not SpiedBayes.fits
    assert_array_equal(again.oof_error_, first.oof_error_)


def test_memory_does_not_seed_the_base(tmp_path, noisy_data):
    X, y = noisy_data
    clf = fast(RandomForestClassifier(5), "confidence", random_state=None)
    clf.set_params(meta_features="confidence")
    fits = [clone(clf).set_params(memory=tmp_path / name).fit(X, y) for name in "ab"]
    assert [fit.estimator_.random_state for fit in fits] == [None, None]
    assert not np.array_equal(*(fit.predict_proba(X) for fit in fits))


def test_memory_serves_fits_without_a_meta_learner_too(tmp_path, noisy_data):
    clf = fast(SpiedBayes(), "confidence", memory=str(tmp_path), random_state=None)
    clf.fit(*noisy_data)
    SpiedBayes.reset()
    plain = clone(clf).set_params(meta_learner=None).fit(*noisy_data)
    assert not SpiedBayes.fits
    assert_array_equal(plain.predict(noisy_data[0]), clf.predict(noisy_data[0]))


def test_memory_that_is_no_memory_is_refused(noisy_data):
    for learner in ("logistic", None):
        with pytest.raises(ValueError, match="'memory' should be None, a string or have the same"):
            fast(GaussianNB(), learner, memory=5).fit(*noisy_data)


def test_weights_of_nothing_are_refused(noisy_data):
    X, y = noisy_data
    for learner in (None, "logistic"):
        clf = MetaErrorClassifier(LogisticRegression(), learner)
        with pytest.raises(ValueError, match="at least one non-zero number, got only 0"):
            clf.fit(X, y, sample_weight=np.zeros(len(y)))


@pytest.mark.parametrize("weight", ["balanced", {0: 1, 1: 10}, 2.0])
def test_weights_of_classes_are_refused_with_what_to_pass(weight, noisy_data):
    clf = MetaErrorClassifier(LogisticRegression())
    with pytest.raises(ValueError, match=r"one number for each row.*compute_sample_weight\("):
        clf.fit(*noisy_data, sample_weight=weight)


def test_sample_weight_reaches_base_and_error_model(noisy_data):
    X, y = noisy_data
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    clf = fast(LogisticRegression()).fit(X, y, sample_weight=weight)
    base = LogisticRegression().fit(X, y, sample_weight=weight)
    assert_allclose(clf.predict_proba(X), base.predict_proba(X))
    expected = np.average(clf.oof_error_, weights=weight)
    assert_allclose(clf.oof_error_rate_, expected)
    assert np.isnan(clf.oof_error_proba_[weight == 0]).all()
    with pytest.warns(UserWarning, match="fit of KNeighborsClassifier takes no sample_w") as log:
        fast(KNeighborsClassifier()).fit(X, y, sample_weight=weight)
    assert log[0].filename == __file__  # or the warning is shown for the first fit alone


def test_metadata_is_routed(noisy_data):
    X, y = noisy_data
    weight = np.linspace(0.5, 1.5, len(y))
    with config_context(enable_metadata_routing=True):
        base = LogisticRegression().set_fit_request(sample_weight=True)
        clf = fast(base).fit(X, y, sample_weight=weight)
        expected = clone(base).fit(X, y, sample_weight=weight)
        assert_allclose(clf.predict_proba(X), expected.predict_proba(X))
        unweighted = LogisticRegression().set_fit_request(sample_weight=False)
        without = fast(unweighted).fit(X, y, sample_weight=weight)
        assert_allclose(without.predict_proba(X), LogisticRegression().fit(X, y).predict_proba(X))


@pytest.mark.parametrize(
    "params", [{"cv": 3}, {"cv": KFold(3)}, {"cv": GroupKFold(3)}, {"meta_learner": None}]
)
def test_routing_without_metadata_changes_nothing(params, noisy_data):
    """A splitter that can use metadata gets none, and one that needs it raises its own error."""
    X, y = noisy_data
    clf = fast(GaussianNB(), meta_features="confidence", **params)
    with config_context(enable_metadata_routing=True):
        if isinstance(clf.cv, GroupKFold):
            with pytest.raises(ValueError, match="The 'groups' parameter should not be None"):
                clf.fit(X, y)
            return
        routed = clone(clf).fit(X, y)
        search = GridSearchCV(clf, {"estimator__var_smoothing": [1e-9]}, cv=2).fit(X, y)
        abstaining = SelectiveClassifier(clf, target_coverage=0.8, random_state=0).fit(X, y)
    error_proba = clf.fit(X, y).predict_error_proba(X)
    for fitted in (routed, search.best_estimator_):
        assert_array_equal(fitted.predict_error_proba(X), error_proba)
    plain = clone(abstaining).fit(X, y)
    assert_array_equal(abstaining.predict_error_proba(X), plain.predict_error_proba(X))


def test_fit_parameters_reach_the_base(noisy_data):
    X, y = noisy_data
    clf = fast(make_pipeline(StandardScaler(), LogisticRegression()))
    weight = np.linspace(0, 1, len(y))
    clf.fit(X, y, logisticregression__sample_weight=weight)
    expected = make_pipeline(StandardScaler(), LogisticRegression())
    expected.fit(X, y, logisticregression__sample_weight=weight)
    assert_allclose(clf.predict_proba(X), expected.predict_proba(X))


class Cautious(GaussianNB):
    """Predicts class 1 already at probability 0.05."""

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.05).astype(int)


def test_errors_follow_the_predicted_label(noisy_data):
    X, y = noisy_data
    clf = fast(Cautious()).fit(X, y)
    expected = np.mean(Cautious().fit(X, y).predict(X) != y)
    assert abs(clf.oof_error_rate_ - expected) < 0.1
    assert_array_equal(clf.predict_with_error(X)[0], clf.estimator_.predict(X))
    plain = fast(Cautious(), None).fit(X, y)
    labels = plain.predict(X)
    own = plain.predict_proba(X)[np.arange(len(y)), labels]
    assert_allclose(plain.predict_error_proba(X), 1 - own, atol=1e-12)


def test_one_base_pass_serves_label_and_error(noisy_data):
    clf = fast(SpiedBayes()).fit(*noisy_data)
    SpiedBayes.reset()
    clf.predict_with_error(noisy_data[0])
    assert len(SpiedBayes.passes) == 1


def test_view_as_error_classifier_works_with_scikit_learns_displays(noisy_data):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    X, y = noisy_data
    clf = fast(GaussianNB()).fit(X[:200], y[:200])
    view = clf.as_error_classifier()
    is_error = clf.predict(X[200:]) != y[200:]
    proba = view.predict_proba(X[200:])
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(view.predict(X[200:]), clf.predict_error(X[200:]))
    RocCurveDisplay.from_estimator(view, X[200:], is_error)
    CalibrationDisplay.from_estimator(view, X[200:], is_error)
    # A clone stays fitted, as that of a `FrozenEstimator`.
    scores = cross_val_score(view, X[200:], is_error, cv=2, scoring="roc_auc")
    halves = StratifiedKFold(2).split(X[200:], is_error)
    expected = [roc_auc_score(is_error[test], proba[test, 1]) for _, test in halves]
    assert_allclose(scores, expected)
    plt.close("all")


def test_error_threshold(noisy_data):
    X, y = noisy_data
    clf = fast(GaussianNB(), error_threshold=0.2).fit(X, y)
    assert_array_equal(clf.predict_error(X), clf.predict_error_proba(X) >= 0.2)
    assert_array_equal(
        clf.set_params(error_threshold=0.4).predict_error(X), clf.predict_error_proba(X) >= 0.4
    )
    clf.set_params(error_threshold=40)
    for predict in (clf.predict_error, clf.as_error_classifier().predict):
        with pytest.raises(ValueError, match=r"For 40 % pass 0\.4, not 40"):
            predict(X)


@pytest.mark.parametrize("n_errors", [0, 1, 4])
def test_few_errors_warn_once_and_keep_working(n_errors):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(-20, 1, (100, 2)), rng.normal(20, 1, (100, 2))]
    y = np.repeat(["a", "b"], 100)
    y[:n_errors] = "b"
    with pytest.warns(UserWarning, match="fewer than the 5 that a meta-learner needs") as log:
        clf = fast(KNeighborsClassifier(9)).fit(X, y)
    assert len(log) == 1
    assert clf.n_errors_ == n_errors
    assert clf.fallback_reason_
    assert_allclose(clf.oof_error_proba_.mean(), (n_errors + 0.5) / 201, rtol=1e-6)
    assert clf.predict_error_proba(X).max() < 0.5


def test_base_that_is_always_wrong():
    class Contrary(DummyClassifier):
        def predict(self, X):
            return 1 - np.asarray(X)[:, 0].astype(int)

        def predict_proba(self, X):
            return np.eye(2)[self.predict(X)] * 0.8 + 0.1

    X = np.random.default_rng(0).integers(2, size=(60, 1)).astype(float)
    with pytest.warns(UserWarning, match="0 correct predictions among 60 rows"):
        clf = fast(Contrary()).fit(X, X[:, 0].astype(int))
    assert clf.oof_error_rate_ == 1
    assert clf.predict_error_proba(X).min() > 0.9


def test_two_samples_in_a_class(noisy_data):
    X, y = noisy_data
    y = np.array(["no", "yes", "rare"])[y]
    y[:2] = "rare"
    with pytest.warns(UserWarning, match="'rare'.* has 2 rows, fewer than the 3 folds") as log:
        clf = fast(GaussianNB()).fit(X, y)
    assert len(log) == 1
    assert clf.predict_proba(X).shape == (400, 3)


def bad_target(change):
    X, y = make_classification(60, random_state=0)
    return X, change(y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: np.zeros(60), "needs labeled samples of at least 2 classes, got one class"),
        (
            lambda y: np.where(np.arange(60) == 3, np.nan, y),
            "y contains NaN, inf or None in 1 of 60",
        ),
        (lambda y: np.where(y == 1, "a", None), "y contains NaN, inf or None"),
        (lambda y: np.where(y == 1, "a", pd.NA), "y contains NaN, inf or None"),
        (lambda y: y + 0.25 * np.arange(60), "Unknown label type: continuous"),
        (
            lambda y: make_multilabel_classification(60, random_state=0)[1],
            "y is multilabel-indicator: only .* fit one MetaErrorClassifier per label",
        ),
        (lambda y: np.eye(2)[y], r"seems to be one-hot: pass np.asarray\(y\).argmax\(axis=1\)"),
        (lambda y: None, "requires y to be passed, but the target y is None"),
        (lambda y: y[:50], "inconsistent numbers of samples"),
        (lambda y: "target", "got 'target'. Pass the labels themselves, for example the column"),
        (lambda y: 1, "y must have one label for each row, got 1"),
        (lambda y: np.array(1), r"y must have one label for each row, got array\(1\)"),
    ],
)
def test_bad_target_is_named_before_any_fit(change, message):
    SpiedBayes.reset()
    with pytest.raises(ValueError, match=message):
        fast(SpiedBayes()).fit(*bad_target(change))
    assert not SpiedBayes.fits


@pytest.mark.parametrize("wrap", [MetaErrorClassifier, SelectiveClassifier])
@pytest.mark.parametrize("given", ["alone", "pipeline", "prefit"])
@pytest.mark.parametrize(
    "learner",
    [
        SelfTrainingClassifier(GaussianNB()),
        LabelSpreading(),
        SelfTrainingWithMetaErr(GaussianNB(), criterion="weight", unlabeled=7),
    ],
)
def test_unlabeled_rows_are_not_taken_for_a_class(learner, given, wrap):
    X, y = make_classification(200, random_state=0)
    partly = partly_labeled(y, 60, getattr(learner, "unlabeled", -1))
    base = make_pipeline(StandardScaler(), learner)
    base = base if given == "pipeline" else learner
    options = {"target_coverage": 0.8} if wrap is SelectiveClassifier else {}
    if given == "prefit":
        base = FrozenEstimator(clone(base).fit(X, partly))
        # Its errors can be learned on labeled rows that it was not fitted on.
        wrap(base, **options).fit(X[60:], y[60:]).predict(X)
    message = f"y holds {partly[-1]}, the mark of an unlabeled row, in 140 of 200 rows"
    with pytest.raises(ValueError, match=message):
        wrap(base, **options).fit(X, partly)


def test_minus_one_and_one_are_classes_under_self_training():
    X, y = make_classification(100, random_state=0)
    base = SelfTrainingWithMetaErr(GaussianNB(), criterion="weight", random_state=0)
    with pytest.warns(UserWarning, match="-1 is taken for a class"):
        clf = MetaErrorClassifier(base, cv=2, random_state=0).fit(X, 2 * y - 1)
    assert clf.classes_.tolist() == [-1, 1]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cv": 1}, "cv must be an integer >= 2"),
        ({"cv": "five"}, "cv must be an integer >= 2"),
        ({"cv": 1.5}, "cv must be a fraction in"),
        ({"error_threshold": -2}, r"error_threshold must be a fraction in \(0, 1\], got -2\.$"),
        ({"meta_learner": "xgboost"}, "meta_learner must be one of"),
        ({"meta_features": ["knn"]}, r"Unknown meta-feature block 'knn'.* OtherFits\(\)"),
        ({"meta_features": ["auto", OtherFits()]}, r'auto. is no part of a list.*\["confidence"'),
        ({"meta_features": ["one_pass", "input"]}, "one_pass. is no part of a list"),
        ({"error_threshold": 50}, r"in \(0, 1\], got 50\. For 50 % pass 0\.5, not 50\.$"),
        ({"n_jobs": 2.0}, r"n_jobs must be None or an integer other than 0, got 2\.0\. Pass 2"),
        ({"n_jobs": "2"}, "n_jobs must be None or an integer other than 0, got '2'"),
        ({"n_jobs": True}, "n_jobs must be None or an integer other than 0, got True"),
        ({"representation": "pca"}, "or None, got 'pca'.$"),
        ({"representation": StandardScaler}, r"Pass an instance: StandardScaler\(\)\.$"),
        ({"representation": np.log}, r"Wrap a function: sklearn\.preprocessing\.FunctionTr"),
        ({"representation": GaussianNB()}, r"got GaussianNB\(\)\. It has no transform\.$"),
        ({"representation": 5}, "It has no fit and no transform and no get_params"),
    ],
)
def test_bad_parameter_is_named_before_any_fit(parameters, message, noisy_data):
    SpiedBayes.reset()
    with pytest.raises(ValueError, match=message):
        fast(SpiedBayes()).set_params(**parameters).fit(*noisy_data)
    assert not SpiedBayes.fits


class Lengths:
    """Meta-features of a user."""

    def transform(self, X, proba):
        return np.linalg.norm(X, axis=1)


@pytest.mark.parametrize("kind", [OtherFits, Lengths])
@pytest.mark.parametrize("as_option", [lambda kind: kind, lambda kind: ["confidence", kind]])
def test_a_class_in_place_of_meta_features_is_named_before_any_fit(kind, as_option, noisy_data):
    SpiedBayes.reset()
    clf = fast(SpiedBayes(), meta_features=as_option(kind))
    with pytest.raises(TypeError, match=rf"the class {kind.__name__}: .*, {kind.__name__}\(\)\."):
        clf.fit(*noisy_data)
    assert not SpiedBayes.fits
    clf.set_params(meta_features=Lengths()).fit(*noisy_data)


class Watches:
    def observe(self, estimator):
        return estimator


@pytest.mark.parametrize(
    ("meta_features", "message"),
    [
        (lambda X: X, r"<lambda> .* called as f\(X, proba\), which its arguments \(X\) do not"),
        (["confidence", np.linalg.norm, lambda: 3], r"<lambda> .* arguments \(\) do not allow"),
        (PCA(2), r"PCA .* transform\(X, proba\), .* A transformer of X alone is for repr"),
        (Watches(), r"Watches .* called as observe\(estimator, X\), which its arguments"),
    ],
)
def test_meta_features_of_other_arguments_are_named_before_any_fit(
    meta_features, message, noisy_data
):
    SpiedBayes.reset()
    with pytest.raises(TypeError, match=message):
        fast(SpiedBayes(), meta_features=meta_features).fit(*noisy_data)
    assert not SpiedBayes.fits


def test_an_exception_of_a_meta_feature_names_it(noisy_data):
    with pytest.raises(ValueError, match="truth value") as caught:
        fast(GaussianNB(), meta_features=["confidence", StandardScaler()]).fit(*noisy_data)
    assert "StandardScaler of meta_features" in "".join(caught.value.__notes__)
    with pytest.raises(ValueError, match=r"<lambda> in meta_features must return one row"):
        fast(GaussianNB(), meta_features=lambda X, proba: X[:5]).fit(*noisy_data)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ([None, *"ab" * 30][:60], ValueError, "got None or NaN in 1 of 60 rows, row 0 the first"),
        (np.r_[np.zeros(58), np.nan, np.nan], ValueError, "in 2 of 60 rows, row 58 the first. D"),
        (np.array(["a", 1] * 30, dtype=object), TypeError, "one type, got int and str, which hav"),
    ],
)
@pytest.mark.parametrize("cv", [3, GroupKFold(3)])
def test_groups_that_cannot_be_compared_are_named_before_any_fit(groups, error, message, cv):
    X, y = make_classification(60, random_state=0)
    SpiedBayes.reset()
    clf = fast(SpiedBayes(), cv=cv)
    for estimator in (clf, SelectiveClassifier(clf, target_coverage=0.8)):
        with pytest.raises(error, match=message):
            estimator.fit(X, y, groups=groups)
    with pytest.raises(error, match=message):
        ErrorModel().fit(X, y, np.full((60, 2), 0.5), groups=groups)
    assert not SpiedBayes.fits


def test_groups_may_be_a_column(noisy_data):
    X, y = noisy_data
    groups = np.arange(len(y)) // 3
    flat, column = (
        fast(GaussianNB(), random_state=0).fit(X, y, groups=g) for g in (groups, groups[:, None])
    )
    assert_array_equal(flat.oof_error_proba_, column.oof_error_proba_)


def test_routed_groups_are_checked_too(noisy_data):
    X, y = noisy_data
    site = np.where(np.arange(len(y)) < 9, None, "a")
    with config_context(enable_metadata_routing=True):
        clf = fast(SpiedBayes(), cv=GroupKFold(3).set_split_request(groups="site"))
        SpiedBayes.reset()
        with pytest.raises(ValueError, match="got None or NaN in 9 of"):
            clf.fit(X, y, site=site)
    assert not SpiedBayes.fits


@pytest.mark.parametrize("cv", [3, 0.3])
def test_the_error_model_is_used_by_itself_and_keeps_the_parameters_of_the_user(cv, noisy_data):
    X, y = noisy_data
    options = {"meta_features": ["neighbors", "confidence"], "representation": StandardScaler()}
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=cv, random_state=0, **options).fit(X, y)
    model, proba = clf.error_model_, clf.predict_proba(X)
    shown = model.get_params(deep=False)
    assert shown["meta_learner"] == "logistic"
    assert all(shown[name] is value for name, value in options.items())
    assert_array_equal(model.predict_error_proba(X, proba), clf.predict_error_proba(X))
    tested = ~np.isnan(clf.oof_error_proba_)
    assert_array_equal(model.oof_error_proba_, clf.oof_error_proba_[tested])


class Untagged(BaseEstimator):
    """A classifier of another library, which has no tag that says so."""

    def fit(self, X, y, sample_weight=None):
        self.model_ = GaussianNB().fit(X, y, sample_weight)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


@pytest.mark.parametrize("wrap_base", [lambda base: base, make_pipeline], ids=["bare", "pipeline"])
def test_a_classifier_is_known_by_what_it_can_do(wrap_base, noisy_data):
    X, y = noisy_data
    partly = np.where(np.arange(len(y)) < 100, y, -1)
    for make, labels in (
        (fast, y),
        (partial(SelectiveClassifier, target_coverage=0.8, random_state=0), y),
        (partial(SelfTrainingWithMetaErr, random_state=0), partly),
    ):
        expected = make(wrap_base(GaussianNB())).fit(X, labels).predict(X)
        assert_array_equal(make(wrap_base(Untagged())).fit(X, labels).predict(X), expected)


class LabelsAlone(BaseEstimator):
    """A regressor or a classifier: before its fit, nothing shows which."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


class ScoresAlone(LabelsAlone):
    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def decision_function(self, X):
        return self.model_.decision_function(X)


class NoEstimator:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))

    predict_proba = predict


@pytest.mark.parametrize("wrap", [fast, SelfTrainingWithMetaErr, SelectiveClassifier])
@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        ("logistic", "it has no method fit"),
        (lambda X: X, "it has no method fit"),
        (LinearRegression(), "a regressor predicts no class"),
        (make_pipeline(StandardScaler(), LinearRegression()), "a regressor predicts no class"),
        (GridSearchCV(LinearRegression(), {}), "a regressor predicts no class"),
        (GridSearchCV(LogisticRegression(), {}, refit=False), "refit=False fits no classifier"),
        (
            make_pipeline(GridSearchCV(LogisticRegression(), {}, refit=False)),
            "refit=False fits no classifier .*Pass refit=True",
        ),
        (LogisticRegression, r"this is the class itself. Pass an instance: LogisticRegression\(\)"),
        (KMeans(), "its type is 'clusterer'"),
        (IsolationForest(), "its type is 'outlier_detector'"),
        (LabelsAlone(), "no tag of a classifier, .* inherit from sklearn.base.ClassifierMixin"),
        (make_pipeline(LabelsAlone()), "no tag of a classifier, .*ClassifierMixin"),
        (NoEstimator(), "it has no get_params"),
        (MultiOutputClassifier(LogisticRegression()), "predicts several labels for each row"),
        (
            make_pipeline(StandardScaler(), ClassifierChain(LogisticRegression())),
            "predicts several labels for each row",
        ),
    ],
)
def test_an_estimator_that_is_no_classifier_is_refused_with_the_cause(
    wrap, estimator, reason, noisy_data
):
    if wrap is SelectiveClassifier:
        wrap = partial(SelectiveClassifier, target_risk=0.1)
    message = "estimator must be a classifier with fit and predict, got"
    with pytest.raises(TypeError, match=f"(?s){message} .*{reason}"):
        wrap(estimator).fit(*noisy_data)


@pytest.mark.parametrize(
    "base", [ScoresAlone(), make_pipeline(ScoresAlone()), GridSearchCV(ScoresAlone(), {}, cv=2)]
)
@pytest.mark.filterwarnings("ignore:Scoring failed:UserWarning")
@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_scores_are_enough_to_be_a_classifier(base, noisy_data):
    X, y = noisy_data
    if isinstance(base, GridSearchCV):
        base.set_params(scoring="accuracy")
    expected = fast(LogisticRegression()).fit(X, y)
    assert_array_equal(fast(base).fit(X, y).predict(X), expected.predict(X))


@pytest.mark.parametrize(
    "clf",
    [
        fast(GaussianNB(), cv="prefit"),
        fast(FrozenEstimator(GaussianNB())),
        SelectiveClassifier(GaussianNB(), target_coverage=0.5, calibration="prefit"),
    ],
)
def test_estimator_that_is_not_fitted(clf, noisy_data):
    """A clone of `cv="prefit"`, as searches make it, is the common cause."""
    message = r"(?s) instance is not fitted yet\..* FrozenEstimator\(fitted\) is not"
    with pytest.raises(NotFittedError, match=message):
        clf.fit(*noisy_data)


@pytest.mark.parametrize("wrap", [fast, lambda base, word: ErrorModel(word)])
@pytest.mark.parametrize("word", ["auto", "lightgbm"])
def test_a_word_has_no_parameters_to_set(wrap, word):
    message = rf"^meta_learner__num_leaves cannot be set, because meta_learner='{word}' is no obj"
    model = wrap(GaussianNB(), word)
    with pytest.raises(ValueError, match=message):
        model.set_params(meta_learner__num_leaves=5)
    model.set_params(meta_learner=LightGBMMetaLearner(), meta_learner__num_leaves=5)
    assert model.meta_learner.num_leaves == 5
    with pytest.raises(ValueError, match="cannot be set, because meta_learner=None"):
        model.set_params(meta_learner=None, meta_learner__num_leaves=5)


def test_unfitted_use_and_another_width(noisy_data):
    X, y = noisy_data
    clf = fast(GaussianNB())
    for method in ("predict", "predict_proba", "predict_error_proba", "predict_with_error"):
        with pytest.raises(NotFittedError):
            getattr(clf, method)(X)
    clf.fit(X, y)
    with pytest.raises(ValueError, match="X has 5 features, but GaussianNB is expecting 6"):
        clf.predict_error_proba(X[:, :5])


def test_global_state_is_untouched(noisy_data):
    torch = pytest.importorskip("torch")
    pytest.importorskip("sympy")  # adds a filter when torch first imports it, which is not ours
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    torch_state, threads = torch.get_rng_state(), torch.get_num_threads()
    filters = list(warnings.filters)
    for learner in ("auto", "mlp"):
        MetaErrorClassifier(GaussianNB(), learner).fit(*noisy_data).predict_error(noisy_data[0])
    assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(torch_state, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert warnings.filters == filters


def test_users_data_and_estimators_are_not_changed(mixed_frame):
    frame, y = mixed_frame
    base = table_pipeline(["age", "income"], ["housing", "member"])
    learner = LightGBMMetaLearner()
    before, labels = frame.copy(), y.copy()
    fast(base, learner).fit(frame, y)
    assert before.equals(frame)
    assert_array_equal(labels, y)
    assert not hasattr(learner, "boosters_")
    assert not hasattr(base[-1], "coef_")


@pytest.mark.parametrize(
    "learner", ["auto", pytest.param("mlp", marks=pytest.mark.torch), LogisticRegression()]
)
def test_seed_decides_pickle_keeps_and_order_does_not_matter(learner, noisy_data):
    X, y = noisy_data
    clf = fast(RandomForestClassifier(10), learner).fit(X[:250], y[:250])
    again = fast(RandomForestClassifier(10), learner).fit(X[:250], y[:250])
    error_proba = clf.predict_error_proba(X[250:])
    assert_array_equal(again.predict_error_proba(X[250:]), error_proba)
    loaded = pickle.loads(pickle.dumps(clf))
    assert_array_equal(loaded.predict_error_proba(X[250:]), error_proba)
    assert_allclose(clf.predict_error_proba(X[250:][::-1])[::-1], error_proba, rtol=1e-6)
    assert_allclose(clf.predict_error_proba(X[300:301]), error_proba[50:51], rtol=1e-6)


@pytest.mark.parametrize(
    ("learner", "label", "shown"),
    [
        ("auto", "auto", {"LightGBMMetaLearner", "LogisticMetaLearner"}),
        ("logistic", "logistic", {"LogisticMetaLearner"}),
        ("confidence", "confidence", {"ConfidenceMetaLearner"}),
        (None, "None", {"1 - max probability"}),
        (LightGBMMetaLearner(num_leaves=4), "LightGBMMetaLearner", {"LightGBMMetaLearner"}),
        (DecisionTreeClassifier(), "DecisionTreeClassifier", {"DecisionTreeClassifier"}),
    ],
)
def test_html_shows_who_learns_the_error_before_and_after_fit(learner, label, shown, noisy_data):
    clf = fast(make_pipeline(StandardScaler(), GaussianNB()), learner, meta_features="confidence")
    for estimator in (clf, clf.fit(*noisy_data), FrozenEstimator(clf)):
        boxes = boxes_of(estimator)
        assert shown | {"StandardScaler", "GaussianNB"} <= boxes
        assert f"meta_learner: {label}" in boxes
        assert "estimator: Pipeline" in boxes


def boxes_of(estimator):
    """Return the labels of the boxes in the HTML of an estimator."""
    html = re.sub(r"<style>.*?</style>", "", estimator._repr_html_(), flags=re.DOTALL)
    labels = re.findall(r"<label.*?</label>", html, re.DOTALL)
    return {re.sub(r"<[^>]*>|[?i]<", "", re.sub(r"<a.*?</a>", "", one)).strip() for one in labels}


def test_html_of_an_error_model_shows_its_learner():
    assert {"meta_learner: auto", "LightGBMMetaLearner"} <= boxes_of(ErrorModel())


def test_html_shows_that_no_meta_learner_could_be_trained():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match="0 errors among 100 rows"):
        clf = fast(GaussianNB()).fit(X[:100], y[:100])
    assert {"meta_learner: logistic", "nothing learned: see fallback_reason_"} <= boxes_of(clf)


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({}, "OpinionPool"),
        ({"meta_learner": "logistic"}, "LogisticMetaLearner"),
        ({"meta_learner": None}, "1 - max probability"),
    ],
)
def test_html_of_self_training_shows_who_learns_the_error(params, shown, noisy_data):
    X, y = noisy_data
    y = np.where(np.arange(len(y)) < 60, y, -1)
    model = SelfTrainingWithMetaErr(GaussianNB(), random_state=0, **params)
    for estimator in (model, model.fit(X, y)):
        assert {shown, "GaussianNB", "estimator: GaussianNB"} <= boxes_of(estimator)


def test_html_of_self_training_with_too_few_labels():
    X, y = load_iris(return_X_y=True)
    y[np.isin(np.arange(150), [0, 50], invert=True)] = -1
    with pytest.warns(UserWarning, match="has a single labeled row"):
        model = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0).fit(X, y)
    assert "1 - max probability" in boxes_of(model)


def test_html_of_a_wrong_word_shows_it():
    assert "meta_learner: lightgmb" in boxes_of(fast(GaussianNB(), "lightgmb"))


def test_verbose_names_the_steps(capsys, noisy_data):
    fast(GaussianNB(), verbose=1).fit(*noisy_data)
    out = capsys.readouterr().out
    assert "[MetaErrorClassifier] 1/5 fold" in out
    assert "[MetaErrorClassifier] 5/5 error model" in out


def test_callbacks_show_progress(noisy_data):
    callback = pytest.importorskip("sklearn.callback")

    class Count:
        tasks = 0

        def setup(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            Count.tasks += 1

        def teardown(self, estimator, context):
            pass

    assert isinstance(Count(), callback.FitCallback)
    clf = fast(GaussianNB())
    clf.set_callbacks(Count())
    clf.fit(*noisy_data)
    assert Count.tasks == 3 + 2 + 1


def test_multioutput_of_the_wrapper():
    """The error message for several labels per row names MultiOutputClassifier: it works."""
    X, Y = make_multilabel_classification(150, n_classes=2, random_state=0)
    clf = MultiOutputClassifier(fast(GaussianNB())).fit(X, Y)
    for estimator, y in zip(clf.estimators_, Y.T):
        expected = fast(GaussianNB()).fit(X, y).predict_error_proba(X)
        assert_array_equal(estimator.predict_error_proba(X), expected)
