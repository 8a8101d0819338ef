"""Splitting when part of y is unlabeled: only labeled rows are scored."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.semi_supervised import SelfTrainingClassifier

from metaerr_sklearn import SelfTrainingWithMetaErr, failure_report
from metaerr_sklearn.metrics import error_roc_auc, make_error_scorer
from metaerr_sklearn.model_selection import SemiSupervisedKFold, is_unlabeled

NAN = float("nan")


@pytest.fixture
def partly_labeled_digits():
    """Digits with a random fifth of the labels, and all labels."""
    X, y_true = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(y_true))[:600]
    X, y_true = X[rows] / 16, y_true[rows]
    return X, np.where(rng.random(600) < 0.2, y_true, -1), y_true


class LabeledRows(ClassifierMixin, BaseEstimator):
    """Learn from the labeled rows only, and keep the labels passed to fit."""

    def __init__(self, unlabeled=-1):
        self.unlabeled = unlabeled

    def fit(self, X, y):
        labeled = ~is_unlabeled(y, self.unlabeled)
        self.y_ = y
        self.estimator_ = KNeighborsClassifier(1).fit(X[labeled], np.array(y[labeled].tolist()))
        self.classes_ = self.estimator_.classes_
        return self

    def predict(self, X):
        return self.estimator_.predict(X)


def test_plain_splitter_scores_the_marker_as_a_class(partly_labeled_digits):
    """scikit-learn issue 2593: the plain value is the accuracy times the labeled share."""
    X, y, _ = partly_labeled_digits
    model = SelfTrainingClassifier(LogisticRegression(max_iter=1000), threshold=0.9)
    plain = KFold(5, shuffle=True, random_state=0)
    right, answered_right, n_labeled = [], 0, 0
    for train, test in plain.split(X):
        predicted = clone(model).fit(X[train], y[train]).predict(X[test])
        answered_right += np.sum(predicted == y[test])
        n_labeled += np.sum(y[test] != -1)
    wrong = cross_val_score(model, X, y, cv=plain).mean()
    assert_allclose(wrong, answered_right / len(y))
    assert wrong < 0.25

    labeled = np.flatnonzero(y != -1)
    for _, test in StratifiedKFold(5).split(labeled, y[labeled]):
        rows = np.setdiff1d(np.arange(len(y)), labeled[test])
        fitted = clone(model).fit(X[rows], y[rows])
        right.append(accuracy_score(y[labeled[test]], fitted.predict(X[labeled[test]])))
    scores = cross_val_score(model, X, y, cv=SemiSupervisedKFold(5))
    assert_allclose(scores, right)
    assert abs(scores.mean() - answered_right / n_labeled) < 0.05


def test_markers_that_work_with_scikit_learns_metrics(partly_labeled_digits):
    """All but None for integers, which then are in an array of dtype object."""
    X, y, y_true = partly_labeled_digits

    def score(labels, marker):
        cv = SemiSupervisedKFold(3, unlabeled=marker)
        marked = np.where(y == -1, marker, labels)
        return cross_val_score(LabeledRows(marker), X, marked, cv=cv, error_score="raise").mean()

    expected = score(y_true, -1)
    assert expected > 0.5
    assert score(y_true, np.nan) == expected
    assert score(np.array([f"digit {label}" for label in y_true]), None) == expected
    with pytest.raises(ValueError, match="can't handle a mix of unknown and multiclass targets"):
        score(y_true, None)


def test_score_estimates_the_accuracy_on_new_rows(partly_labeled_digits):
    X, y, y_true = partly_labeled_digits
    model = SelfTrainingClassifier(LogisticRegression(max_iter=1000), threshold=0.9)
    hidden = y == -1
    accuracy = accuracy_score(y_true[hidden], model.fit(X, y).predict(X[hidden]))
    estimate = cross_val_score(model, X, y, cv=SemiSupervisedKFold(10)).mean()
    assert abs(estimate - accuracy) < 0.06


@pytest.mark.parametrize(
    "cv",
    [
        5,
        KFold(4, shuffle=True, random_state=0),
        RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
        ShuffleSplit(3, train_size=0.3, test_size=0.2, random_state=0),
    ],
    ids=str,
)
def test_labeled_rows_are_split_as_the_inner_splitter_does(partly_labeled_digits, cv):
    X, y, _ = partly_labeled_digits
    labeled, unlabeled = np.flatnonzero(y != -1), np.flatnonzero(y == -1)
    inner = StratifiedKFold(cv) if cv == 5 else cv
    expected = list(inner.split(X[labeled], y[labeled]))
    splitter = SemiSupervisedKFold(cv)
    splits = list(splitter.split(X, y))
    assert len(splits) == len(expected) == splitter.get_n_splits() == splitter.get_n_splits(X, y)
    for (train, test), (inner_train, inner_test) in zip(splits, expected, strict=True):
        assert_array_equal(test, labeled[inner_test])
        assert_array_equal(train, np.union1d(labeled[inner_train], unlabeled))


def test_without_unlabeled_rows_it_is_the_inner_splitter():
    X, y = load_iris(return_X_y=True)
    for ours, theirs in zip(SemiSupervisedKFold(5).split(X, y), StratifiedKFold(5).split(X, y)):
        assert_array_equal(ours[0], theirs[0])
        assert_array_equal(ours[1], theirs[1])


def test_number_of_splits_may_depend_on_the_labeled_rows(partly_labeled_digits):
    X, y, _ = partly_labeled_digits
    splitter = SemiSupervisedKFold(LeaveOneOut())
    assert splitter.get_n_splits(X, y) == splitter.get_n_splits(y=y) == np.sum(y != -1)
    with pytest.raises(ValueError, match="'X' parameter should not be None"):
        splitter.get_n_splits()


def test_groups_reach_the_inner_splitter(partly_labeled_digits):
    X, y, _ = partly_labeled_digits
    groups = np.arange(len(y)) % 40
    splitter = SemiSupervisedKFold(GroupKFold(4))
    labeled = y != -1
    for train, test in splitter.split(X, y, groups):
        assert not np.intersect1d(groups[train[labeled[train]]], groups[test]).size
    model = LabeledRows()
    scores = cross_val_score(model, X, y, cv=splitter, groups=groups)
    with config_context(enable_metadata_routing=True):
        routed = cross_val_score(model, X, y, cv=splitter, params={"groups": groups})
    assert_allclose(routed, scores)
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        list(splitter.split(X, y))


def test_a_splitter_without_groups_requests_none():
    with config_context(enable_metadata_routing=True):
        requests = SemiSupervisedKFold(3).get_metadata_routing().split.requests
    assert not requests.get("groups")


@pytest.mark.parametrize(
    "convert",
    [pd.Series, lambda y: pd.DataFrame({"y": y}), pl.Series, lambda y: y.tolist()],
    ids=["series", "frame", "polars", "list"],
)
def test_any_container_of_labels(partly_labeled_digits, convert):
    X, y, _ = partly_labeled_digits
    names = np.char.add("digit ", y.astype(str)).astype(object)
    names[y == -1] = None
    expected = list(SemiSupervisedKFold(3).split(X, y))
    cv = SemiSupervisedKFold(3, unlabeled=None)
    for ours, theirs in zip(cv.split(X, convert(names)), expected):
        assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("marker", [-1, None, NAN, "?", 99], ids=str)
@pytest.mark.parametrize("kind", ["number", "string"])
def test_every_marker_gives_the_same_scores(partly_labeled_digits, marker, kind):
    X, y, _ = partly_labeled_digits
    expected = cross_val_score(LabeledRows(), X, y, cv=SemiSupervisedKFold(3))
    names = y if kind == "number" else np.char.add("digit ", y.astype(str))
    marked = names.astype(object)
    marked[y == -1] = marker
    # Accuracy takes numbers or strings, but not the numbers of an object array.
    scoring = None
    if kind == "number":
        if marker is None or marker == "?":

            def scoring(model, X, y):
                return np.mean(model.predict(X) == y)

        else:
            marked = marked.astype(float)
    cv = SemiSupervisedKFold(3, unlabeled=marker)
    scores = cross_val_score(LabeledRows(marker), X, marked, cv=cv, scoring=scoring)
    assert_allclose(scores, expected)


@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X,
        csr_array,
        pd.DataFrame,
        lambda X: pl.DataFrame(X, schema=[f"c{i}" for i in range(X.shape[1])]),
        lambda X: X.reshape(-1, 1, 8, 8),
        lambda X: X.tolist(),
    ],
    ids=["array", "sparse", "pandas", "polars", "images", "list"],
)
def test_any_X(partly_labeled_digits, convert):
    X, y, _ = partly_labeled_digits
    expected = list(SemiSupervisedKFold(3).split(X, y))
    for ours, theirs in zip(SemiSupervisedKFold(3).split(convert(X), y), expected, strict=True):
        assert_array_equal(ours[0], theirs[0])
        assert_array_equal(ours[1], theirs[1])


def test_continuous_target_is_not_stratified():
    rng = np.random.default_rng(0)
    y = rng.normal(size=60)
    y[::3] = NAN
    labeled = np.flatnonzero(np.isfinite(y))
    splits = SemiSupervisedKFold(4, unlabeled=NAN).split(np.zeros((60, 1)), y)
    for (_, test), (_, expected) in zip(splits, KFold(4).split(labeled), strict=True):
        assert_array_equal(test, labeled[expected])


def test_grid_search_ranks_by_labeled_rows(partly_labeled_digits):
    """If unlabeled rows were tested, the best model would be the one that predicts -1."""
    X, y, _ = partly_labeled_digits

    class MinusOne(LabeledRows):
        def __init__(self, give_up=False):
            super().__init__()
            self.give_up = give_up

        def predict(self, X):
            return np.full(len(X), -1) if self.give_up else super().predict(X)

    grid = {"give_up": [False, True]}
    search = GridSearchCV(MinusOne(), grid, cv=SemiSupervisedKFold(3)).fit(X, y)
    assert search.best_params_ == {"give_up": False}
    assert search.cv_results_["mean_test_score"][1] == 0
    plain = GridSearchCV(MinusOne(), grid, cv=3).fit(X, y)
    assert plain.best_params_ == {"give_up": True}


def test_training_parts_hold_all_unlabeled_rows(partly_labeled_digits):
    X, y, _ = partly_labeled_digits
    before = y.copy()
    result = cross_validate(LabeledRows(), X, y, cv=SemiSupervisedKFold(4), return_estimator=True)
    for model in result["estimator"]:
        assert np.sum(model.y_ == -1) == np.sum(y == -1)
    assert_array_equal(y, before)


def test_repr_shows_the_parameters():
    assert repr(SemiSupervisedKFold(3)) == "SemiSupervisedKFold(cv=3, unlabeled=-1)"
    assert "cv=LeaveOneOut(), unlabeled=None" in repr(
        SemiSupervisedKFold(LeaveOneOut(), unlabeled=None)
    )


def test_errors_say_what_to_do(partly_labeled_digits):
    X, y, _ = partly_labeled_digits
    with pytest.raises(ValueError, match="no labeled row: all 600 rows equal the marker -1"):
        list(SemiSupervisedKFold(3).split(X, np.full(600, -1)))
    everywhere = PredefinedSplit(np.where(y == -1, -1, 0))
    with pytest.raises(ValueError, match=r"it splits the \d+ labeled rows only"):
        list(SemiSupervisedKFold(everywhere).split(X, y))
    for cv in ([(np.arange(5), np.arange(5, 9))], "5", None, True, 2.5):
        with pytest.raises(ValueError, match="cv must be an integer >= 2 or a splitter"):
            list(SemiSupervisedKFold(cv).split(X, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        list(SemiSupervisedKFold(3).split(X, y[:-1]))


MASK = [False, True, False, True]


@pytest.mark.parametrize(
    ("y", "marker"),
    [
        ([0, -1, 2, -1], -1),
        ([0.0, -1.0, 2.0, -1.0], -1),
        ([0.0, NAN, 2.0, NAN], NAN),
        ([0, None, 2, None], None),
        ([0, NAN, 2, None], None),
        ([0, NAN, 2, None], NAN),
        ([0, None, 2, None], pd.NA),
        (["a", -1, "b", -1], -1),
        (["a", None, "b", None], None),
        (["a", "?", "b", "?"], "?"),
        (np.array(["a", "?", "b", "?"]), "?"),
        (np.array(["a", -1, "b", -1], dtype=object), -1),
        (np.array(["a", None, "b", NAN], dtype=object), None),
        (np.array([[0], [-1], [2], [-1]]), -1),
        ([True, None, False, None], None),
        (pd.Series([0, None, 2, None], dtype="Int64"), None),
        (pd.Series(["a", pd.NA, "b", pd.NA], dtype=object), NAN),
        (pd.Series(["a", pd.NA, "b", pd.NA], dtype="string"), None),
        (pd.Series(["a", "?", pd.NA, "?"], dtype=object), "?"),
        (pd.Series(["a", None, "b", None]), None),
        (pd.Series(["a", None, "b", None], dtype="category"), None),
        (pd.Series([True, None, False, None], dtype="boolean"), None),
        (pl.Series([0, None, 2, None]), None),
        (pl.Series(["a", None, "b", None]), None),
        (pl.Series(["a", "?", "b", "?"]), "?"),
    ],
)
def test_is_unlabeled(y, marker):
    mask = is_unlabeled(y, marker)
    assert mask.dtype == bool
    assert_array_equal(mask, MASK)


@pytest.mark.parametrize("y", [["a", "b"], np.array(["a", "b"]), [1, 2], [True, False], []])
@pytest.mark.parametrize("marker", [-1, None, NAN, "?"])
def test_without_the_marker_every_row_is_labeled(y, marker):
    assert_array_equal(is_unlabeled(y, marker), np.zeros(len(y), dtype=bool))


@pytest.mark.parametrize("container", [np.array, list, pd.Series, "category", "object"], ids=str)
@pytest.mark.parametrize("marker", [-1, None, NAN], ids=str)
def test_marker_that_became_text_is_an_error(marker, container):
    y = ["a", str(marker)]
    y = container(y) if callable(container) else pd.Series(y, dtype=container)
    with pytest.raises(ValueError, match=f"has become the text '{marker}'"):
        is_unlabeled(y, marker)
    assert_array_equal(is_unlabeled(y, str(marker)), [False, True])


@pytest.mark.parametrize(
    ("marker", "text"), [(-1, "-1.0"), (-1.0, "-1"), (0, " 0"), (None, "nan"), (NAN, "<NA>")]
)
def test_marker_that_became_another_text_is_an_error(marker, text):
    """A column of floats, or of another missing value, may be read as texts."""
    with pytest.raises(ValueError, match=f"has become the text '{text}'.*unlabeled='{text}'"):
        is_unlabeled(np.array(["a", text, "b"], dtype=object), marker)
    assert_array_equal(is_unlabeled(["a", text, "b"], text), [False, True, False])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
def test_marker_that_became_a_large_number_is_an_error(dtype):
    y = np.array([0, -1, 1]).astype(dtype)
    with pytest.raises(ValueError, match=f"marker -1 becomes {y[1]}. Convert .* unlabeled={y[1]}"):
        is_unlabeled(y, -1)
    assert_array_equal(is_unlabeled(y, y[1]), [False, True, False])
    assert not is_unlabeled(y[[0, 2]], -1).any()


@pytest.mark.parametrize("kind", ["U", "S"])
def test_marker_that_was_cut_is_an_error(kind):
    """NumPy cuts a text to the longest one that the array was made for."""
    y = np.array(["cat", "dog", "cat"]).astype(kind)
    marker = "unlabeled" if kind == "U" else b"unlabeled"
    assert not is_unlabeled(y, marker).any()
    y[1] = marker
    match = r"is cut to b?'unl'. Convert .*y.astype\(object\).* unlabeled=b?'unl'"
    with pytest.raises(ValueError, match=match):
        is_unlabeled(y, marker)
    assert_array_equal(is_unlabeled(y, marker[:3]), [False, True, False])


@pytest.mark.parametrize("dtype", [int, float, object])
def test_masked_labels_are_missing(dtype):
    y = np.ma.array(np.array([0, 1, 2], dtype=dtype), mask=[False, True, False])
    assert_array_equal(is_unlabeled(y, None), [False, True, False])


@pytest.mark.parametrize(
    "make",
    [
        lambda base: SelfTrainingWithMetaErr(base, max_iter=0, random_state=0),
        SelfTrainingClassifier,
    ],
)
def test_unlabeled_rows_among_true_labels_are_noticed(make, partly_labeled_digits):
    X, y, _ = partly_labeled_digits
    model = make(LogisticRegression(max_iter=1000)).fit(X, y)
    match = r"y holds -1, the mark of an unlabeled row, in \d+ of 600 rows.*SemiSupervisedKFold"
    uses = [failure_report, make_error_scorer(error_roc_auc)]
    if hasattr(model, "unlabeled"):
        uses.append(lambda model, X, y: model.score(X, list(y)))
    for use in uses:
        with pytest.warns(UserWarning, match=match):
            use(model, X, y)
        use(model, X[y != -1], y[y != -1])


def test_minus_one_is_a_class_beside_one():
    X = np.r_[np.zeros((20, 1)), np.ones((20, 1))] + np.arange(40)[:, None] / 1000
    y = np.repeat([-1, 1], 20)
    with pytest.warns(UserWarning, match="-1 is taken for a class"):
        model = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0).fit(X, y)
    assert model.score(X, y) == 1


def test_marker_must_be_one_value():
    with pytest.raises(ValueError, match="unlabeled must be one value"):
        is_unlabeled([0, 1], [-1, None])
