"""Bases with habits of their own: whatever wraps or measures them answers as they do."""

import numpy as np
import pytest
from _bases import partly_labeled
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.datasets import load_digits, load_iris, make_blobs, make_classification
from sklearn.ensemble import IsolationForest, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn._base_estimator.prediction import observe
from metaerr_sklearn.metrics import ERROR_SCORERS, error_brier_score, failure_report
from metaerr_sklearn.metrics._compared_predictions import predict_and_compare
from metaerr_sklearn.selective import coverage_scorer, neg_selective_risk_scorer
from metaerr_sklearn.slices import error_slices

pytestmark = pytest.mark.usefixtures("small_second_opinion")

SCORERS = coverage_scorer, neg_selective_risk_scorer


class InGivenOrder(ClassifierMixin, BaseEstimator):
    """Keep classes in the order of the user, as CatBoost does with ``class_names``."""

    order = ("low", "mid", "high")

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.array([label for label in self.order if label in set(y)])
        encoded = [self.classes_.tolist().index(label) for label in y]
        self.model_ = LogisticRegression(max_iter=1000).fit(X, encoded, sample_weight)
        return self

    def predict_proba(self, X):
        return self.model_.predict_proba(X)

    def predict(self, X):
        return self.classes_[self.model_.predict(X)]


class InAColumn(LogisticRegression):
    """Give labels of shape (n_samples, 1), as CatBoost does for more than two classes."""

    def predict(self, X):
        return super().predict(X)[:, None]


class InAColumnWithoutScores(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.model_ = LogisticRegression(max_iter=1000).fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)[:, None]


class Abstains(LogisticRegression):
    def predict(self, X):
        unsure = self.predict_proba(X).max(axis=1) < 0.9
        return np.where(unsure, -1, super().predict(X))


class PickColumns(TransformerMixin, BaseEstimator):
    """Learn nothing, without a tag that states it."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, 2:]


class Bare:
    """Be a transformer by its methods alone."""

    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[:, 2:]


@pytest.fixture(scope="module")
def three_classes():
    return make_classification(
        300, 4, n_informative=4, n_redundant=0, n_classes=3, n_clusters_per_class=1, random_state=0
    )


@pytest.fixture(scope="module")
def ordered(three_classes):
    X, y = three_classes
    return X, np.array(["low", "mid", "high"])[y]


def test_classes_in_another_order_are_not_exchanged(ordered):
    X, y = ordered
    base = InGivenOrder().fit(X, y)
    assert base.classes_.tolist() == ["low", "mid", "high"]
    sorted_base = LogisticRegression(max_iter=1000).fit(X, y)
    expected = 1 - sorted_base.predict_proba(X).max(axis=1)
    for wrapped in (
        SelectiveClassifier(FrozenEstimator(base), target_coverage=1.0).fit(X, y),
        MetaErrorClassifier(FrozenEstimator(base), None).fit(X, y),
        MetaErrorClassifier(InGivenOrder(), None).fit(X, y),
    ):
        assert_array_equal(wrapped.predict(X), base.predict(X))
        assert_array_equal(wrapped.classes_, base.classes_)
        assert_allclose(wrapped.predict_error_proba(X), expected, atol=1e-3)
    fitted = SelectiveClassifier(InGivenOrder(), target_coverage=1.0, random_state=0).fit(X, y)
    assert fitted.score(X, y) > 0.7


def test_columns_of_probabilities_follow_classes_(ordered):
    X, y = ordered
    partly = np.where(np.arange(300) % 3 == 0, y, "?")
    for model in (
        MetaErrorClassifier(InGivenOrder(), "logistic", cv=3, random_state=0).fit(X, y),
        SelfTrainingWithMetaErr(InGivenOrder(), unlabeled="?", random_state=0).fit(X, partly),
    ):
        assert model.classes_.tolist() == ["low", "mid", "high"]
        named = model.classes_[model.predict_proba(X).argmax(axis=1)]
        assert_array_equal(named, model.predict(X))
        assert np.mean(named == y) > 0.7
        assert model.predict_error_proba(X).mean() < 0.4


def test_labels_in_a_column_are_labels(three_classes):
    X, y = three_classes
    base, plain = InAColumn(max_iter=1000), LogisticRegression(max_iter=1000)
    for wrap in (
        lambda b: MetaErrorClassifier(b, "logistic", cv=3, random_state=0),
        lambda b: SelectiveClassifier(b, target_coverage=0.8, random_state=0),
    ):
        ours, expected = wrap(base).fit(X, y), wrap(plain).fit(X, y)
        assert_array_equal(ours.predict(X), expected.predict(X))
        assert_array_equal(ours.predict_error_proba(X), expected.predict_error_proba(X))
    column, alone = clone(base).fit(X, y), clone(plain).fit(X, y)
    assert_array_equal(predict_and_compare(column, X, y).is_error, alone.predict(X) != y)
    assert failure_report(column, X, y, n_bootstrap=0) == failure_report(alone, X, y, n_bootstrap=0)
    without = MetaErrorClassifier(InAColumnWithoutScores(), "logistic", cv=3, random_state=0)
    assert_array_equal(without.fit(X, y).predict(X), alone.predict(X))


def test_labels_of_a_base_that_abstains_are_passed_on(three_classes):
    X, y = three_classes
    base = Abstains(max_iter=1000).fit(X, y)
    assert 10 < (base.predict(X) == -1).sum() < 290
    clf = SelectiveClassifier(FrozenEstimator(base), target_coverage=1.0).fit(X, y)
    assert_array_equal(clf.predict(X), base.predict(X))
    assert clf.score(X, y) == base.score(X, y)
    # A rejected row counts as an error, with error probability 1.
    assert_allclose(clf.predict_error_proba(X)[base.predict(X) == -1], 1)


@pytest.mark.parametrize("step", [PickColumns(), Bare(), "passthrough"])
def test_steps_that_learn_nothing(step, three_classes):
    X, y = three_classes
    kept = X[:, 2:] if step != "passthrough" else X
    pipe = make_pipeline(step, LogisticRegression(max_iter=1000)).fit(X, y)
    alone = LogisticRegression(max_iter=1000).fit(kept, y)
    assert failure_report(pipe, X, y, n_bootstrap=0) == failure_report(
        alone, kept, y, n_bootstrap=0
    )
    error_slices(pipe, X, y, random_state=0)
    if not isinstance(step, Bare):  # which scikit-learn cannot clone
        assert not np.isnan(cross_val_score(pipe, X, y, scoring=ERROR_SCORERS["neg_aurc"])).any()
        inner = MetaErrorClassifier(LogisticRegression(max_iter=1000), "logistic", random_state=0)
        clf = SelectiveClassifier(make_pipeline(step, inner), target_coverage=0.8, random_state=0)
        assert clf.fit(X, y).score(X, y) > 0.6


def test_scores_of_pairs_of_classes_are_refused(digits):
    X, X_test, y, y_test = digits
    svc = SVC(decision_function_shape="ovo").fit(X, y)
    message = r"decision_function of SVC has shape \(800, 45\), .* of the 10 classes.*\"ovr\""
    with pytest.raises(ValueError, match=message):
        failure_report(svc, X_test, y_test)
    with pytest.raises(ValueError, match=message):
        SelectiveClassifier(FrozenEstimator(svc), target_coverage=0.8).fit(X_test, y_test)
    with pytest.raises(ValueError, match="set decision_function_shape="):
        MetaErrorClassifier(svc, None).fit(X, y).predict_error_proba(X)


def measured(clf, X, y):
    """Return every way to set an estimator against true labels."""
    selective = SelectiveClassifier(FrozenEstimator(clf), target_coverage=0.8).fit(
        X, clf.predict(X)
    )
    return [
        lambda: failure_report(clf, X, y),
        lambda: ERROR_SCORERS["neg_aurc"](clf, X, y),
        lambda: error_slices(clf, X, y),
        lambda: selective.score(X, y),
        lambda: neg_selective_risk_scorer(selective, X, y),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda y: np.unique(y, return_inverse=True)[1],
            "y holds labels like [012], but the classes",
        ),
        (lambda y: np.where(np.arange(len(y)) < 75, None, y), "NaN, inf or None in 75 of 300 rows"),
        (
            lambda y: np.where(np.arange(len(y)) < 75, np.nan, 1.0),
            "NaN, inf or None in 75 of 300 rows",
        ),
        (lambda y: y[:1], "inconsistent numbers of samples"),
    ],
)
def test_true_labels_that_no_prediction_could_meet_are_refused(change, message, ordered):
    X, y = ordered
    for measure in measured(LogisticRegression(max_iter=1000).fit(X, y), X, change(y)):
        with pytest.raises(ValueError, match=message):
            measure()


def test_weights_of_selective_scores_are_checked(three_classes):
    X, y = three_classes
    clf = SelectiveClassifier(LogisticRegression(max_iter=1000), target_coverage=0.8).fit(X, y)
    for measure in (clf.score, *(lambda *a, s=s, **k: s(clf, *a, **k) for s in SCORERS)):
        with pytest.raises(ValueError, match="at least one non-zero number"):
            measure(X, y, sample_weight=np.zeros(300))
        with pytest.raises(ValueError, match="egative"):
            measure(X, y, sample_weight=-np.ones(300))
        assert measure(X, y, sample_weight=np.ones(300)) == measure(X, y)


@pytest.mark.filterwarnings("ignore:The `probability` parameter:FutureWarning")
@pytest.mark.filterwarnings("ignore:. errors among 300 rows:UserWarning")
def test_labels_of_votes_inside_another_estimator():
    """On training rows they may all be the most probable class."""
    X, y = make_blobs(300, centers=3, random_state=3)
    base = OneVsRestClassifier(SVC(probability=True, random_state=0))
    clf = MetaErrorClassifier(base, "logistic", meta_features="confidence", random_state=0)
    far = np.random.default_rng(0).uniform(-30, 30, (500, 2))
    labels = clf.fit(X, y).predict(far)
    assert (clf.predict_proba(far).argmax(axis=1) != labels).any()
    assert_array_equal(clf.predict_with_error(far)[0], labels)


def test_columns_of_an_earlier_fit_are_removed(three_classes):
    pd = pytest.importorskip("pandas")
    X, y = three_classes
    frame = pd.DataFrame(X, columns=list("abcd"))
    partly = partly_labeled(y, 60)
    for model, labels in (
        (MetaErrorClassifier(GaussianNB(), "logistic", cv=3, random_state=0), y),
        (SelectiveClassifier(GaussianNB(), target_coverage=0.8, random_state=0), y),
        (SelfTrainingWithMetaErr(GaussianNB(), random_state=0), partly),
    ):
        assert_array_equal(model.fit(frame, labels).feature_names_in_, list("abcd"))
        assert not hasattr(model.fit(X[:, :3], labels), "feature_names_in_")
        assert model.n_features_in_ == 3


def test_an_iterator_that_has_been_read_is_named(three_classes):
    X, y = three_classes
    splits = iter(list(StratifiedKFold(3).split(X, y)))
    clf = MetaErrorClassifier(GaussianNB(), "logistic", cv=splits, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"holds no split\. A generator can be read once"):
        clf.fit(X, y)


@pytest.mark.parametrize("answer", ["reject", None])
def test_report_of_a_base_that_abstains_in_words(answer, three_classes):
    """A prediction of another type counts as an error; the labels are still accepted."""

    class Rejects(GaussianNB):
        def predict(self, X):
            labels = super().predict(X).astype(object)
            labels[self.predict_proba(X).max(axis=1) < 0.7] = answer
            return labels

    X, y = three_classes
    base = Rejects().fit(X, y)
    is_error = predict_and_compare(base, X, y).is_error
    unsure = base.predict_proba(X).max(axis=1) < 0.7
    assert is_error[unsure].all()
    assert 0.5 < np.mean(~is_error) < 1


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")
def test_rows_without_any_probability_are_the_least_sure():
    """If no tree predicts its class, OneVsRestClassifier gives 0 for each, older versions 0 / 0."""
    X, y = load_digits(return_X_y=True)
    base = OneVsRestClassifier(DecisionTreeClassifier(random_state=0))
    clf = MetaErrorClassifier(base, random_state=0).fit(X[:900], y[:900])
    proba, error_proba = clf.predict_proba(X[900:]), clf.predict_error_proba(X[900:])
    is_unknown = ~np.nan_to_num(proba).any(axis=1)
    assert is_unknown.sum() > 50
    assert_array_equal(proba, clf.estimator_.predict_proba(X[900:]))
    assert np.median(error_proba[is_unknown]) > np.quantile(error_proba[~is_unknown], 0.9)
    assert "max probability" in str(failure_report(clf, X[900:], y[900:], n_bootstrap=0))


@pytest.mark.filterwarnings("ignore:Outlier label -1 is not in training classes")
def test_an_outlier_of_no_class_is_answered():
    X, y = load_iris(return_X_y=True)
    base = RadiusNeighborsClassifier(radius=2.0, outlier_label=-1)
    clf = MetaErrorClassifier(base, random_state=0).fit(X, y)
    labels, error_proba = clf.predict_with_error(np.vstack([X[:1], X[:1] + 100]))
    assert labels.tolist() == [0, -1]
    assert error_proba[0] < 0.5 < error_proba[1]


@pytest.mark.parametrize(
    "wrap",
    [
        MetaErrorClassifier,
        SelfTrainingWithMetaErr,
        lambda base: SelectiveClassifier(base, target_coverage=0.8),
    ],
)
def test_a_matrix_between_rows_is_refused_before_any_fit(wrap):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(ValueError, match="SVC takes a precomputed matrix between the training"):
        wrap(SVC(kernel="precomputed", probability=False)).fit(X @ X.T, y)
    deployed = SVC(kernel="precomputed").fit(X @ X.T, y)
    clf = MetaErrorClassifier(deployed, cv="prefit", random_state=0)
    with pytest.warns(UserWarning, match="nothing is learned"):
        clf.fit(X @ X.T, y)
    # Confidence alone, at the smoothed error rate.
    expected = (clf.n_errors_ + 0.5) / (len(y) + 1)
    assert_allclose(clf.oof_error_proba_.mean(), expected, rtol=1e-3)
    assert 0 < clf.predict_error_proba(X @ X.T).max() < 0.5


@pytest.mark.parametrize("cv", [PredefinedSplit(np.arange(150) % 3), "list"])
@pytest.mark.parametrize(
    "wrap",
    [
        MetaErrorClassifier,
        SelfTrainingWithMetaErr,
        lambda base: SelectiveClassifier(base, target_coverage=0.8),
    ],
)
def test_splits_by_position_inside_a_base_are_refused_before_any_fit(wrap, cv):
    X, y = load_iris(return_X_y=True)
    cv = list(StratifiedKFold(3).split(X, y)) if cv == "list" else cv
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-3]}, cv=cv)
    for base in (search, make_pipeline(StandardScaler(), search)):
        with pytest.raises(ValueError, match=r"cv of .* splits name rows of X by position"):
            wrap(base).fit(X, y)
    # Such a search can be fitted before, alone or as a member of the base.
    MetaErrorClassifier(search.fit(X, y), "confidence", cv="prefit").fit(X, y)
    member = VotingClassifier([("search", FrozenEstimator(search))], voting="soft")
    MetaErrorClassifier(member, "confidence").fit(X, y)


def test_a_ranking_by_probabilities_is_not_called_an_error_probability():
    """A selective classifier ranks a base without predict_with_error by its probabilities."""
    X, y = load_digits(return_X_y=True)
    labels = partly_labeled(y[:400], 200)
    base = SelfTrainingWithMetaErr(GaussianNB(), random_state=0).fit(X[:400], labels)
    clf = SelectiveClassifier(FrozenEstimator(base), target_coverage=0.8).fit(
        X[400:900], y[400:900]
    )
    assert "error probability" not in str(failure_report(clf, X[900:], y[900:], n_bootstrap=0))
    assert "error probability" in str(failure_report(base, X[900:], y[900:], n_bootstrap=0))


class CopiesItsList(GaussianNB):
    def __init__(self, columns=None):
        super().__init__()
        self.columns = columns if isinstance(columns, (tuple, type(None))) else list(columns)


@pytest.mark.parametrize("wrap", [MetaErrorClassifier, SelfTrainingWithMetaErr])
def test_a_base_that_copies_a_parameter_says_what_to_pass(wrap, noisy_data):
    X, y = noisy_data
    with pytest.raises(RuntimeError, match=r"Cannot clone .* modifies parameter columns.* a tuple"):
        wrap(make_pipeline(StandardScaler(), CopiesItsList([0, 1]))).fit(X, y)
    MetaErrorClassifier(CopiesItsList((0, 1)), None).fit(X, y)
    # A fitted one is not cloned.
    MetaErrorClassifier(CopiesItsList([0]).fit(X, y), "confidence", cv="prefit").fit(X, y)


def test_an_error_model_inside_a_meta_estimator_is_not_taken_for_its_own(noisy_data):
    X, y = noisy_data
    inside = FixedThresholdClassifier(MetaErrorClassifier(GaussianNB(), "confidence"))
    message = r"ranked by max probability: .*MetaErrorClassifier\(FixedThresholdClassifier\("
    with pytest.warns(UserWarning, match=message):
        SelectiveClassifier(inside, target_coverage=0.8).fit(X, y)
    with pytest.warns(UserWarning, match=message):
        failure_report(inside.fit(X, y), X, y, n_bootstrap=0)
    outside = MetaErrorClassifier(FixedThresholdClassifier(GaussianNB()), "confidence").fit(X, y)
    assert "error probability" in failure_report(outside, X, y, n_bootstrap=0)


def test_groups_of_a_selective_classifier_are_named():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(TypeError, match="takes 3 positional arguments"):
        SelectiveClassifier(GaussianNB(), target_coverage=0.8).fit(X, y, np.ones(150))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_probabilities_of_a_base_in_a_frame_are_found_by_name(library, three_classes):
    """AutoML libraries return frames, whose columns need not have the order of ``classes_``."""
    make_frame = getattr(
        pytest.importorskip(library), "table" if library == "pyarrow" else "DataFrame"
    )

    class ReturnsFrame(GaussianNB):
        def predict_proba(self, X):
            proba = super().predict_proba(X)
            columns = {str(label): proba[:, j] for j, label in enumerate(self.classes_)}
            return make_frame(dict(reversed(columns.items())))

    X, y = three_classes
    y = np.array(["a", "b", "c"])[y]
    expected = MetaErrorClassifier(GaussianNB(), "logistic", random_state=0).fit(X, y)
    clf = MetaErrorClassifier(ReturnsFrame(), "logistic", random_state=0).fit(X, y)
    assert_array_equal(clf.predict_error_proba(X), expected.predict_error_proba(X))


def test_a_base_that_leaves_out_rows_is_refused(three_classes):
    class LeavesOut(GaussianNB):
        def predict_proba(self, X):
            return super().predict_proba(X)[1:]

    X, y = three_classes
    clf = MetaErrorClassifier(LeavesOut(), "logistic", random_state=0)
    with pytest.raises(ValueError, match=r"LeavesOut returns probabilities for (\d+) rows and lab"):
        clf.fit(X, y)


class WithoutReturn(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.model_ = GaussianNB().fit(X, y)
        self.classes_ = self.model_.classes_

    def predict_proba(self, X):
        return self.model_.predict_proba(X)

    def predict(self, X):
        return self.model_.predict(X)


def test_a_fit_may_lack_return_self(three_classes):
    """As in scikit-learn's meta-estimators."""
    X, y = three_classes
    options = {"meta_features": "confidence", "cv": 3, "random_state": 0}
    found, expected = (
        MetaErrorClassifier(base, "confidence", **options).fit(X, y).predict_error_proba(X)
        for base in (WithoutReturn(), GaussianNB())
    )
    assert_array_equal(found, expected)
    partly = np.where(np.arange(len(y)) < 60, y, -1)
    for learner in (None, "confidence"):
        SelfTrainingWithMetaErr(WithoutReturn(), meta_learner=learner).fit(X, partly).predict(X)
    SelectiveClassifier(WithoutReturn(), target_coverage=0.5).fit(X, y).predict(X)


class DoublesErrors(MetaErrorClassifier):
    def predict_error_proba(self, X):
        return np.minimum(2 * super().predict_error_proba(X), 1)


class HasAThreshold(MetaErrorClassifier):
    def predict(self, X):
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.1).astype(int)]


@pytest.mark.parametrize("subclass", [DoublesErrors, HasAThreshold])
def test_methods_of_a_subclass_are_those_that_are_measured_and_ranked_by(subclass, three_classes):
    X, y = three_classes
    y = (y > 0).astype(int)
    clf = subclass(GaussianNB(), "confidence", meta_features="confidence", cv=3, random_state=0)
    clf.fit(X, y)
    is_error, error_proba = clf.predict(X) != y, clf.predict_error_proba(X)
    measured = predict_and_compare(clf, X, y)
    assert_array_equal(measured.is_error, is_error)
    assert_array_equal(measured.error_proba, error_proba)
    assert ERROR_SCORERS["neg_error_brier_score"](clf, X, y) == -error_brier_score(
        is_error, error_proba
    )
    assert "error probability" in failure_report(clf, X, y, n_bootstrap=0)
    selective = SelectiveClassifier(clf, target_coverage=0.5, calibration="prefit").fit(X, y)
    assert_array_equal(selective.predict_error_proba(X), error_proba)
    answered = selective.accepts(X)
    assert_array_equal(selective.predict(X)[answered], clf.predict(X)[answered])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ErrorModel(),
            r"got ErrorModel.* error_roc_auc\(is_error, error_proba\), and from_predict",
        ),
        (np.eye(3), "with predict, got ndarray"),
        (None, "with predict, got NoneType"),
        (GaussianNB, "got GaussianNB, the class itself"),
    ],
)
def test_an_evaluation_of_what_is_no_classifier_says_what_to_use(given, message, three_classes):
    for evaluate in (failure_report, ERROR_SCORERS, error_slices):
        with pytest.raises(TypeError, match=message):
            evaluate(given, *three_classes)


def test_a_report_of_a_base_that_returns_nothing_is_refused(three_classes):
    class ReturnsNothing(GaussianNB):
        def predict_proba(self, X):
            return None

    X, y = three_classes
    with pytest.raises(ValueError, match=r"predict_proba of ReturnsNothing must have shape .*\(\)"):
        failure_report(ReturnsNothing().fit(X, y), X, y)


class UsesItsOutputAgain(GaussianNB):
    """Write the outputs of all calls into the same memory, as an engine for inference may do."""

    memory = np.empty((1000, 3))

    def predict_proba(self, X):
        output = self.memory[: len(X)]
        output[:] = super().predict_proba(X)
        return output


class ObservesIntoTheSameMemory:
    memory = np.empty((1000, 4))

    def observe(self, estimator, X):
        output = self.memory[: len(X)]
        output[:] = X
        return output


def test_outputs_in_the_same_memory_are_not_exchanged(three_classes, monkeypatch):
    monkeypatch.setattr("metaerr_sklearn._utils.limits.PREDICT_CHUNK", 40)
    X, y = three_classes

    def outputs(base):
        features = ["confidence", ObservesIntoTheSameMemory()]
        clf = MetaErrorClassifier(base, "logistic", meta_features=features, random_state=0)
        clf.fit(X, y)
        assert_array_equal(observe(clf.estimator_, X, clf.observers_)[0], X)
        return clf.oof_error_proba_, *clf.predict_with_error(X)

    for expected, found in zip(outputs(GaussianNB()), outputs(UsesItsOutputAgain())):
        assert_array_equal(found, expected)


class NoBaseEstimator:
    """Have the methods of a classifier, but no class of scikit-learn to inherit from."""

    def __init__(self, smoothing=1e-9):
        self.smoothing = smoothing

    def get_params(self, deep=True):
        return {"smoothing": self.smoothing}

    def set_params(self, smoothing):
        self.smoothing = smoothing
        return self

    def fit(self, X, y):
        self.model_ = GaussianNB(var_smoothing=self.smoothing).fit(X, y)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def test_a_class_without_the_tags_of_scikit_learn_is_a_base():
    X, y = load_iris(return_X_y=True)
    X = X[:, :2]
    for model in (
        MetaErrorClassifier(GaussianNB(), "logistic", random_state=0),
        SelectiveClassifier(GaussianNB(), target_coverage=0.8, random_state=0),
    ):
        other = clone(model).set_params(estimator=NoBaseEstimator()).fit(X, y)
        assert_array_equal(other.predict_error_proba(X), model.fit(X, y).predict_error_proba(X))
    trained = SelfTrainingWithMetaErr(NoBaseEstimator(), random_state=0)
    assert trained.fit(X, partly_labeled(y, 60)).score(X, y) > 0.4
    fitted = FrozenEstimator(NoBaseEstimator().fit(X[::2], y[::2]))
    prefit = MetaErrorClassifier(fitted, "logistic").fit(X[1::2], y[1::2])
    assert_array_equal(prefit.predict(X), fitted.estimator.predict(X))


def test_scores_of_no_classes_cannot_be_evaluated():
    X, y = load_iris(return_X_y=True)
    with pytest.raises(TypeError, match="IsolationForest has decision_function, but no classes_"):
        failure_report(IsolationForest(n_estimators=2, random_state=0).fit(X), X, y)


class SearchWithoutTags(BaseEstimator):
    """A search of another library: no tag, and no method of its classifier before ``fit``."""

    def __init__(self, estimator, param_distributions):
        self.estimator = estimator
        self.param_distributions = param_distributions

    def fit(self, X, y, **params):
        self.best_estimator_ = clone(self.estimator).fit(X, y, **params)
        return self

    def __getattr__(self, name):
        if name in ("predict", "predict_proba", "classes_") and "best_estimator_" in vars(self):
            return getattr(self.best_estimator_, name)
        raise AttributeError(name)


class NamesItsTypeAsBefore(BaseEstimator):
    """Name its type as before scikit-learn 1.6, and have no method of a classifier before fit."""

    _estimator_type = "classifier"

    def fit(self, X, y):
        model = GaussianNB().fit(X, y)
        self.classes_ = model.classes_
        self.predict, self.predict_proba = model.predict, model.predict_proba
        return self


@pytest.mark.parametrize("wrap", [lambda base: base, lambda base: make_pipeline(None, base)])
@pytest.mark.parametrize("base", [SearchWithoutTags(GaussianNB(), {}), NamesItsTypeAsBefore()])
def test_a_search_or_an_old_class_without_tags_is_a_base(base, wrap):
    X, y = load_iris(return_X_y=True)
    X = X[:, :2]
    for model in (
        MetaErrorClassifier(GaussianNB(), "logistic", cv=2, random_state=0),
        SelectiveClassifier(GaussianNB(), target_coverage=0.8, random_state=0),
    ):
        other = clone(model).set_params(estimator=wrap(base)).fit(X, y)
        assert_array_equal(other.predict_error_proba(X), model.fit(X, y).predict_error_proba(X))
    trained = SelfTrainingWithMetaErr(wrap(base), random_state=0)
    assert trained.fit(X, partly_labeled(y, 60)).score(X, y) > 0.4


def test_a_search_without_tags_over_a_regressor_is_refused(three_classes):
    search = SearchWithoutTags(LinearRegression(), {})
    with pytest.raises(TypeError, match="a regressor predicts no class"):
        MetaErrorClassifier(search).fit(*three_classes)
