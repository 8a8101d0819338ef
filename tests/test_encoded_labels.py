"""A training part lacks a class, and the base wants labels 0, ..., k - 1, as XGBoost does."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn._base_estimator.encoded_labels import EncodedLabels

pytestmark = [
    pytest.mark.usefixtures("small_second_opinion"),
    pytest.mark.filterwarnings("ignore:Class .* fewer than the:UserWarning"),
    pytest.mark.filterwarnings("ignore:The least populated class:UserWarning"),
    # A split of the search itself may lack a class, as without this package.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning"),
    pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite:UserWarning"),
]


class Contiguous(LogisticRegression):
    """Want labels 0, ..., k - 1; record those of each fit."""

    seen = []  # noqa: RUF012 (one list for all clones)

    def fit(self, X, y, sample_weight=None, eval_set=None):
        labels = np.unique(y)
        Contiguous.seen.append(labels)
        if not np.array_equal(labels, np.arange(len(labels))):
            raise ValueError(f"Expected: {np.arange(len(labels))}, got {labels}")
        for X_valid, y_valid in eval_set or []:
            assert len(X_valid) == len(y_valid)
            assert set(y_valid) <= set(labels)
        return super().fit(X, y, sample_weight)


class WithAllColumns(LogisticRegression):
    """Have a column for each number up to the largest label, as nets of other libraries do."""

    def predict_proba(self, X):
        proba = np.full((len(X), self.classes_.max() + 1), 1e-3)
        proba[:, self.classes_] = super().predict_proba(X)
        return proba / proba.sum(axis=1, keepdims=True)


class AlwaysFourClasses(WithAllColumns):
    """Return a probability above 0 for a class without training rows, and sometimes its label."""

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.trained_, self.classes_ = self.classes_, np.arange(4)
        return self

    def predict_proba(self, X):
        proba = np.full((len(X), 4), 0.1)
        self.classes_ = self.trained_
        proba[:, self.trained_] = LogisticRegression.predict_proba(self, X)
        self.classes_ = np.arange(4)
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X):
        return np.where(np.arange(len(X)) % 9 == 0, 1, self.predict_proba(X).argmax(axis=1))


@pytest.fixture(scope="module")
def four_classes():
    """Rows of four classes, groups of which one has all rows of class 1, and few rows of it."""
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=400)
    X = 1.5 * rng.normal(size=(4, 5))[y] + rng.normal(size=(400, 5))
    groups = np.where(y == 1, 3, np.arange(400) % 10)
    few = np.sort(np.r_[np.flatnonzero(y != 1), np.flatnonzero(y == 1)[:1]])
    return X, y, groups, few


def wraps(base):
    search = GridSearchCV(clone(base), {"C": [1.0]}, cv=2)
    return [base, make_pipeline(StandardScaler(), clone(base)), search]


@pytest.mark.parametrize("base", wraps(Contiguous()), ids=["bare", "pipeline", "search"])
def test_a_training_part_may_lack_a_class(base, four_classes):
    X, y, groups, few = four_classes
    plain = MetaErrorClassifier(LogisticRegression(), "logistic", cv=GroupKFold(5), random_state=0)
    clf = clone(plain).set_params(estimator=base).fit(X, y, groups=groups)
    if type(base) is Contiguous:
        plain.fit(X, y, groups=groups)
        assert_allclose(clf.oof_error_proba_, plain.oof_error_proba_, atol=1e-4)
        assert_array_equal(clf.oof_error_, plain.oof_error_)
    assert type(clf.estimator_) is type(base)  # all rows have all classes

    one_row = MetaErrorClassifier(base, "logistic", random_state=0).fit(X[few], y[few])
    assert one_row.predict_proba(X).shape == (400, 4)
    held_out = SelectiveClassifier(base, target_coverage=0.8, random_state=1).fit(X[few], y[few])
    partly = np.where(np.arange(400) < 200, y, -1)
    partly[np.flatnonzero(partly == 1)[1:]] = -1
    self_trained = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    for model in (clf, one_row, held_out, self_trained):
        assert model.predict_proba(X).shape == (400, len(model.classes_))
        assert np.isfinite(model.predict_error_proba(X)).all()
    assert held_out.classes_.tolist() == [0, 2, 3]
    assert set(held_out.predict(X)) == {-1, 0, 2, 3}


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint16, np.float64])
def test_a_deployed_fold_gives_the_labels_of_the_user(dtype, four_classes):
    X, y, _, _ = four_classes
    y = y.astype(dtype)
    split = [(np.flatnonzero(y[:300] != 1), np.arange(300, 400))]
    for wrap in (
        lambda base: MetaErrorClassifier(base, "logistic", cv=split, refit=False, random_state=0),
        lambda base: MetaErrorClassifier(
            make_pipeline(base), "logistic", cv=split, refit=False, random_state=0
        ),
    ):
        clf = wrap(Contiguous()).fit(X, y)
        expected = wrap(LogisticRegression()).fit(X, y)
        assert isinstance(clf.estimator_, EncodedLabels)
        clf = pickle.loads(pickle.dumps(clf))
        assert_array_equal(clf.classes_, expected.classes_)
        assert_array_equal(clf.predict(X), expected.predict(X))
        assert clf.predict(X).dtype == dtype
        for method in ("predict_proba", "predict_log_proba", "decision_function"):
            assert_array_equal(getattr(clf, method)(X), getattr(expected, method)(X))
        assert_array_equal(clf.predict_error_proba(X), expected.predict_error_proba(X))
        assert clf.n_features_in_ == 5


def test_labels_reach_the_base_as_they_are_if_no_class_is_missing(four_classes):
    X, y, _, _ = four_classes
    Contiguous.seen = []
    MetaErrorClassifier(Contiguous(), "logistic", cv=3, random_state=0).fit(X, y.astype(np.int16))
    assert len(Contiguous.seen) == 4
    assert all(labels.dtype == np.int16 for labels in Contiguous.seen)


def test_an_error_model_inside_answers_with_the_labels_of_the_user(four_classes):
    X, y, _, few = four_classes
    models = [
        SelectiveClassifier(
            MetaErrorClassifier(base, "logistic", cv=3), target_coverage=0.8, random_state=1
        ).fit(X[few], y[few])
        for base in (Contiguous(), LogisticRegression())
    ]
    assert isinstance(models[0].estimator_, EncodedLabels)
    assert_array_equal(models[0].predict(X), models[1].predict(X))
    assert_array_equal(models[0].accepts(X), models[1].accepts(X))


def test_what_is_named_by_label_is_encoded_too(four_classes):
    """The weights of classes, and validation sets, from which rows of a missing class are left."""
    X, y, _, few = four_classes
    weights = {0: 1.0, 1: 2.0, 2: 5.0, 3: 1.0}
    fit_params = {"eval_set": [(X[:50], y[:50])]}
    clf = SelectiveClassifier(
        Contiguous(class_weight=weights), target_coverage=0.8, random_state=1
    ).fit(X[few], y[few], **fit_params)
    plain = LogisticRegression(class_weight={label: weights[label] for label in (0, 2, 3)})
    plain = SelectiveClassifier(plain, target_coverage=0.8, random_state=1).fit(X[few], y[few])
    assert_array_equal(clf.predict_proba(X), plain.predict_proba(X))
    assert clf.estimator_.estimator.class_weight == weights


def test_validation_rows_keep_their_weights(four_classes):
    X, y, _, _ = four_classes
    encoded = EncodedLabels(LogisticRegression(), np.arange(4))
    encoded.classes_ = np.array([0, 2, 3])
    params = {"eval_set": [(X, y)], "sample_weight_eval_set": [np.arange(400)]}
    params = encoded._encode_validation(params)
    ((X_valid, y_valid),), (weight,) = params["eval_set"], params["sample_weight_eval_set"]
    assert_array_equal(X_valid, X[y != 1])
    assert_array_equal(encoded.classes_[y_valid], y[y != 1])
    assert_array_equal(weight, np.flatnonzero(y != 1))
    params = encoded._encode_validation({"eval_X": X, "eval_y": y})
    assert_array_equal(params["eval_X"], X[y != 1])
    X_valid, y_valid = encoded._encode_validation({"eval_set": (X, y)})["eval_set"]
    assert len(X_valid) == len(y_valid) == np.sum(y != 1)


@pytest.mark.parametrize("base", [WithAllColumns(), AlwaysFourClasses(), Contiguous()])
def test_a_missing_class_has_probability_0(base, four_classes):
    X, y, _, _ = four_classes
    splits = [(np.flatnonzero(y != 1), np.flatnonzero(y == 1))]
    oof, *_ = cross_fit(base, X, y, classes=np.arange(4), splits=splits)
    tested = oof.take(oof.fold == 0)
    assert_array_equal(tested.proba[:, 1], 0)
    assert_allclose(tested.proba.sum(axis=1), 1)
    assert not np.any(tested.pred_encoded == 1)
    assert tested.is_error.all()


def test_a_failure_for_another_reason_names_the_missing_class(four_classes):
    class Fails(LogisticRegression):
        def fit(self, X, y):
            if len(np.unique(y)) < 4:
                raise ValueError("no memory left")
            return super().fit(X, y)

    X, y, groups, _ = four_classes
    clf = MetaErrorClassifier(Fails(), "logistic", cv=GroupKFold(5), random_state=0)
    with pytest.raises(ValueError, match="no memory left") as info:
        clf.fit(X, y, groups=groups)
    assert any("lack the classes [1]" in note for note in info.value.__notes__)
