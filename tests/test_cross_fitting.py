"""Out-of-fold predictions: nobody is pred_encoded by a model that has seen them."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedKFold,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import ErrorModel, MetaErrorClassifier
from metaerr_sklearn._base_estimator.adapter import adapt
from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn._base_estimator.fitting import fit_base
from metaerr_sklearn._base_estimator.inspection import transform_before
from metaerr_sklearn._base_estimator.prediction import predict_base
from metaerr_sklearn._utils.probabilities import label_positions
from metaerr_sklearn._utils.random import draw_seed
from metaerr_sklearn.model_selection._duplicates import find_duplicates
from metaerr_sklearn.model_selection._splitting import check_split_parameter, make_splits


def test_cross_fit_equals_cross_val_predict(digits):
    X, _, y, _ = digits
    classes = np.unique(y)
    splits = make_splits(4, X, y, seed=1)
    base = GaussianNB()
    predictions, estimators = cross_fit(base, X, y, classes=classes, splits=splits)
    expected = cross_val_predict(base, X, y, cv=splits, method="predict_proba")
    assert_allclose(predictions.proba, expected)
    assert_array_equal(classes[predictions.pred_encoded], cross_val_predict(base, X, y, cv=splits))
    assert estimators is None


def test_folds_in_processes_give_the_serial_result(digits):
    X, _, y, _ = digits
    base, classes = RandomForestClassifier(10), np.unique(y)
    splits = make_splits(3, X, y)
    runs = [
        cross_fit(base, X, y, classes=classes, splits=splits, seed=3, n_jobs=n_jobs)[0]
        for n_jobs in (1, 2)
    ]
    assert_array_equal(runs[0].proba, runs[1].proba)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_folds_and_chunks_know_scikit_learns_configuration(backend, monkeypatch):
    """By name a second step finds columns only in a frame, which the configuration asks for."""
    pd = pytest.importorskip("pandas")
    monkeypatch.setattr("metaerr_sklearn._utils.limits.ERROR_MODEL_CHUNK", 60)
    X, y = make_classification(120, 4, random_state=0)
    X = pd.DataFrame(X, columns=list("abcd"))
    names = ColumnTransformer(
        [("s", StandardScaler(), ["a", "b"])], verbose_feature_names_out=False
    )
    steps = names, ColumnTransformer([("s", StandardScaler(), ["b"])])
    clf = MetaErrorClassifier(
        make_pipeline(*steps, LogisticRegression()),
        "logistic",
        representation=make_pipeline(*steps),
        cv=2,
        n_jobs=2,
        random_state=0,
    )
    with config_context(transform_output="pandas"), parallel_config(backend):
        assert clf.fit(X, y).predict_error_proba(X).shape == (120,)


def test_class_missing_from_a_training_part_gets_probability_zero():
    X, y = make_classification(90, n_classes=3, n_informative=4, random_state=0)
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    splits = list(KFold(3).split(X))  # each fold is one class
    predictions, _ = cross_fit(GaussianNB(), X, y, classes=np.arange(3), splits=splits)
    assert_array_equal(predictions.proba[np.arange(90), y], 0)
    assert_allclose(predictions.proba.sum(axis=1), 1)
    assert not (predictions.pred_encoded == y).any()


def test_row_in_several_test_parts_keeps_its_first_prediction_and_untested_rows_are_marked():
    X, y = make_classification(100, random_state=0)
    splits = list(ShuffleSplit(2, test_size=0.3, random_state=0).split(X))
    predictions, _ = cross_fit(GaussianNB(), X, y, classes=np.arange(2), splits=splits)
    tested = np.union1d(splits[0][1], splits[1][1])
    assert_array_equal(np.flatnonzero(predictions.fold >= 0), tested)
    first = GaussianNB().fit(X[splits[0][0]], y[splits[0][0]])
    assert_allclose(predictions.proba[splits[0][1]], first.predict_proba(X[splits[0][1]]))


def test_fit_parameters_with_one_entry_per_row_are_cut_to_the_fold():
    X, y = make_classification(120, random_state=0)
    weight = np.random.default_rng(0).random(120)
    splits = make_splits(3, X, y)
    predictions, _ = cross_fit(
        GaussianNB(),
        X,
        y,
        classes=np.arange(2),
        splits=splits,
        fit_params={"sample_weight": weight},
    )
    train, test = splits[0]
    expected = GaussianNB().fit(X[train], y[train], sample_weight=weight[train])
    assert_allclose(predictions.proba[test], expected.predict_proba(X[test]))


@pytest.mark.parametrize(
    ("base", "n_classes"),
    [
        (LinearSVC(), 2),
        (LinearSVC(), 3),
        (SVC(), 3),
        (RidgeClassifier(), 2),
        (VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier())]), 3),
    ],
)
def test_probabilities_of_a_base_without_them_agree_with_its_labels(base, n_classes):
    X, y = make_classification(150, n_classes=n_classes, n_informative=5, random_state=0)
    base.fit(X, y)
    proba = adapt(base).predict_proba(X, np.arange(n_classes))
    assert_allclose(proba.sum(axis=1), 1)
    assert_array_equal(proba.argmax(axis=1), base.predict(X))


def test_two_class_scores_become_the_sigmoid_of_twice_the_score():
    X, y = make_classification(100, random_state=0)
    base = LinearSVC().fit(X, y)
    scores = base.decision_function(X)
    softmax_of_both = np.exp(scores) / (np.exp(scores) + np.exp(-scores))
    assert_allclose(adapt(base).predict_proba(X, np.arange(2))[:, 1], softmax_of_both)


class RawScores(GaussianNB):
    def predict_proba(self, X):
        return 100 * super().predict_proba(X)


def test_probabilities_that_do_not_sum_to_one_say_how_to_mend_them():
    X, y = make_classification(100, random_state=0)
    with pytest.raises(ValueError, match=r"summing to 1. Row 0 sums to 100 .* needs a softmax"):
        adapt(RawScores().fit(X, y)).predict_proba(X, np.arange(2))


def test_labels_come_from_predict_and_not_from_the_largest_probability():
    class Cautious(GaussianNB):
        def predict(self, X):
            return np.where(self.predict_proba(X)[:, 1] > 0.05, 1, 0)

    X, y = make_classification(200, flip_y=0.3, random_state=0)
    base = Cautious().fit(X, y)
    _, pred_encoded, proba, _ = predict_base(base, X, np.arange(2))
    assert_array_equal(pred_encoded, base.predict(X))
    assert (pred_encoded != proba.argmax(axis=1)).any()


def test_unset_random_states_are_seeded_and_set_ones_are_kept():
    X, y = make_classification(100, flip_y=0.2, random_state=0)
    base = make_pipeline(StandardScaler(), RandomForestClassifier(5))
    fits = [fit_base(base, X, y, classes=np.arange(2), seed=7) for _ in range(2)]
    assert_array_equal(*(fit.predict_proba(X) for fit in fits))
    assert base[-1].random_state is None
    kept = fit_base(RandomForestClassifier(5, random_state=3), X, y, classes=np.arange(2), seed=7)
    assert kept.random_state == 3


def test_frozen_base_is_returned_as_it_is():
    X, y = make_classification(100, random_state=0)
    frozen = FrozenEstimator(GaussianNB().fit(X, y))
    assert fit_base(frozen, X[:50], y[:50], classes=np.arange(2)) is frozen


def test_seed_from_none_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert draw_seed(None) != draw_seed(None)
    assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert draw_seed(5) == draw_seed(5)


def test_bases_without_torch_are_no_nets():
    search = GridSearchCV(LogisticRegression(), {"C": [1]})
    for base in (LogisticRegression(), make_pipeline(StandardScaler(), GaussianNB()), search):
        assert not adapt(base).is_net


def test_positions_of_labels():
    classes = np.array(["a", "c"])
    assert_array_equal(label_positions(np.array(["c", "b", "a", "z"]), classes), [1, -1, 0, -1])


@pytest.mark.parametrize("cv", [1, 0, -2, 0.0, 1.5, None, True, "five"])
def test_split_parameter_that_means_nothing(cv):
    with pytest.raises(ValueError, match="cv must be"):
        check_split_parameter(cv)


def test_few_rows_in_a_class_warn_once_and_work():
    y = np.array(["a"] * 20 + ["b"] * 2)
    with pytest.warns(UserWarning, match="Class .*'b'.* has 2 rows, fewer than the 5 folds") as log:
        splits = make_splits(5, np.zeros((22, 1)), y)
    assert len(log) == 1
    assert len(splits) == 5
    assert_array_equal(np.sort(np.concatenate([test for _, test in splits])), np.arange(22))


def test_fewer_folds_where_every_class_is_small():
    y = np.repeat(np.arange(6), 2)
    with pytest.warns(UserWarning, match="using 2 folds"):
        assert len(make_splits(5, np.zeros((12, 1)), y)) == 2
    with pytest.raises(ValueError, match="one sample in each of 4 classes"):
        make_splits(5, np.zeros((4, 1)), np.arange(4))


@pytest.mark.parametrize("cv", [5, 0.3, GroupKFold(4)])
def test_groups_are_never_split(cv):
    rng = np.random.default_rng(0)
    groups, y = rng.integers(30, size=300), rng.integers(3, size=300)
    for train, test in make_splits(cv, np.zeros((300, 1)), y, groups=groups):
        assert not np.intersect1d(groups[train], groups[test]).size
    with pytest.raises(ValueError, match="at least 2 groups, got 1"):
        make_splits(5, np.zeros((300, 1)), y, groups=np.zeros(300))


def test_generator_of_splits_is_materialised():
    y = np.tile([0, 1], 20)
    splits = make_splits((s for s in KFold(4).split(y)), y, y)
    assert len(splits) == 4


def as_frame(X):
    return pytest.importorskip("pandas").DataFrame(X).assign(kind="a")


def as_polars(X):
    return pytest.importorskip("polars").DataFrame(X, schema=[f"x{j}" for j in range(X.shape[1])])


def as_texts(X):
    return [" ".join(f"{v:.6f}" for v in row) for row in X]


CONTAINERS = {
    "lists": np.ndarray.tolist,
    "tuples": lambda X: [tuple(row) for row in X.tolist()],
    "tensor": lambda X: pytest.importorskip("torch").as_tensor(X),
    "array": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "images": lambda X: X.reshape(len(X), 1, 2, -1),
    "sparse": sp.csr_array,
    "pandas": as_frame,
    "pandas with one name": lambda X: as_frame(X).set_axis(["x"] * 5, axis=1),
    "polars": as_polars,
    "text": as_texts,
    "tuple of texts": lambda X: tuple(as_texts(X)),
    "pandas texts": lambda X: pytest.importorskip("pandas").Series(as_texts(X)),
    "polars texts": lambda X: pytest.importorskip("polars").Series(as_texts(X)),
    "one column of texts": lambda X: pytest.importorskip("pandas").DataFrame({"x": as_texts(X)}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_copies_are_found_in_every_kind_of_input(container):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), np.tile([0, 1], 30)
    X[40:] = X[:20]
    duplicate_id = find_duplicates(CONTAINERS[container](X), y)
    assert_array_equal(duplicate_id[40:], duplicate_id[:20])
    assert_array_equal(duplicate_id[:40], np.arange(40))
    assert find_duplicates(CONTAINERS[container](X[:40]), y[:40]) is None


def test_copies_of_a_text_and_categories_are_copies():
    """Ten of each: the copies themselves make every column look as if rows coincide by chance."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    kinds = {name: rng.choice(["a", "b", "c"], 60) for name in ("color", "size")}
    X = pd.DataFrame({**kinds, "review": as_texts(rng.normal(size=(60, 4)))})
    duplicate_id = find_duplicates(pd.concat([X] * 10), np.tile([0, 1], 300))
    assert_array_equal(duplicate_id, np.tile(np.arange(60), 10))
    assert find_duplicates(pd.concat([X[["color", "size"]]] * 10), np.tile([0, 1], 300)) is None


def test_rows_that_cannot_be_compared_are_no_copies():
    for X in ([{"a": 1}] * 40, [[1], [1, 2]] * 20, [None] * 40):
        assert find_duplicates(X, np.zeros(40)) is None


def test_copies_with_missing_values_and_signed_zeros_are_copies():
    X = np.random.default_rng(0).normal(size=(40, 3))
    X[0] = X[1] = [np.nan, 0.0, 1.0]
    X[2:20] = X[20:38]
    X[1, 1] = -0.0
    duplicate_id = find_duplicates(X, np.zeros(40))
    assert duplicate_id[0] == duplicate_id[1]


def test_rows_that_coincide_by_chance_are_no_copies():
    """Two thousand rows in 27 cells must coincide, and so will new rows."""
    assert (
        find_duplicates(np.random.default_rng(0).integers(3, size=(2000, 3)), np.zeros(2000))
        is None
    )


@pytest.mark.parametrize("n_flags", [1, 2, 4, 6])
def test_copies_of_one_measurement_and_a_few_flags_are_copies(n_flags):
    """The copies themselves make all pairs of the measurement: these are no sign of chance."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=200), rng.integers(2, size=(200, n_flags))])
    duplicate_id = find_duplicates(np.vstack([X, X]), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))
    # An oversampled class.
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 5)]
    assert find_duplicates(X[rows], (rows >= 180).astype(int)) is not None


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.integers(2, size=(2000, 8)),
        lambda rng: rng.random((2000, 8)) < 0.05,
        lambda rng: np.column_stack([rng.integers(60, size=2000), rng.random(2000) < 0.05]),
        lambda rng: np.column_stack([rng.integers(1000, size=2000), np.ones(2000)]),
        lambda rng: np.eye(6)[rng.integers(6, size=2000)],
        lambda rng: np.column_stack([(age := rng.integers(72, size=2000)), age // 10]),
        lambda rng: np.hstack([np.eye(5)[rng.integers(5, size=2000)] for _ in range(3)]),
    ],
)
def test_few_values_coincide_by_chance_in_any_container(make, container):
    X = container(make(np.random.default_rng(0)).astype(float))
    assert find_duplicates(X, np.tile([0, 1], 1000)) is None


@pytest.mark.parametrize("kind", ["place and region", "embedding", "short names"])
def test_draws_from_a_list_whose_columns_depend_on_each_other_are_no_copies(kind):
    """New rows are of the list too: red if all rows of a place are set aside together."""
    pd, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    region, y_encoded = rng.integers(60, size=300), rng.integers(2, size=300)
    place = rng.integers(300, size=3000)
    y = np.where(rng.random(3000) < 0.05, 1 - y_encoded[place], y_encoded[place])
    X = {
        "place and region": pd.DataFrame(
            {"place": place.astype(str), "region": region[place].astype(str)}
        ),
        "embedding": rng.normal(size=(300, 8))[place],
        "short names": [f"name{number}" for number in place],
    }[kind]
    assert find_duplicates(X, y) is None
    # Rows that three people labeled are one row.
    several = rng.normal(size=(300, 8)).repeat(3, axis=0)
    labels = np.where(rng.random(900) < 0.2, 1 - y_encoded.repeat(3), y_encoded.repeat(3))
    assert_array_equal(find_duplicates(several, labels), np.arange(300).repeat(3))


def test_splits_that_part_copies_are_warned_of():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    X, y = np.vstack([X, X]), np.tile(rng.integers(2, size=60), 2)
    duplicate_id = find_duplicates(X, y)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    with pytest.warns(UserWarning, match=r"tests \d+ rows of which a copy is in the training"):
        make_splits(folds, X, y, duplicate_id=duplicate_id)
    make_splits(list(folds.split(X, y)), X, y, duplicate_id=duplicate_id)
    make_splits(GroupKFold(5), X, y, groups=duplicate_id, duplicate_id=None)
    make_splits(5, X, y, duplicate_id=duplicate_id)


def test_some_coinciding_rows_are_no_copies_but_an_oversampled_class_is():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 4)), np.repeat([0, 1], [180, 20])
    X[:30] = X[30:60]
    assert find_duplicates(X, y) is None
    rows = np.r_[np.arange(180), np.tile(np.arange(180, 200), 9)]
    duplicate_id = find_duplicates(X[rows], y[rows])
    assert duplicate_id is not None
    for train, test in make_splits(5, X[rows], y[rows], duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size


def test_the_fewest_copies_that_count_are_found_among_distinct_rows():
    """Three pairs, most of a class of ten rows: one column less distinct tells nothing yet."""
    X = np.random.default_rng(0).normal(size=(500, 3))
    X[[1, 3, 5]] = X[[0, 2, 4]]
    y = np.repeat([0, 1], [10, 490])
    duplicate_id = find_duplicates(X, y)
    assert (duplicate_id[[1, 3, 5]] == duplicate_id[[0, 2, 4]]).all()
    assert len(np.unique(duplicate_id)) == 497


def test_copies_share_a_fold():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.normal(size=(50, 3)), 2, axis=0), np.repeat(rng.integers(2, size=50), 2)
    duplicate_id = find_duplicates(X, y)
    for train, test in make_splits(5, X, y, duplicate_id=duplicate_id):
        assert not np.intersect1d(duplicate_id[train], duplicate_id[test]).size
        assert len(train) + len(test) == 100


def test_duplicated_rows_do_not_hide_the_errors_of_a_base_that_memorises():
    """Red if copies may be split: 1-NN then finds the copy of each row and is never wrong."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(200, 5)), 2, axis=0)
    y = np.repeat(rng.integers(2, size=200), 2)
    base, classes = KNeighborsClassifier(1), np.arange(2)

    def error_rate(duplicate_id):
        splits = make_splits(5, X, y, duplicate_id=duplicate_id)
        return np.mean(cross_fit(base, X, y, classes=classes, splits=splits)[0].pred_encoded != y)

    assert error_rate(find_duplicates(X, y)) > 0.4
    assert error_rate(None) < 0.2


def test_user_estimator_is_not_changed(cancer):
    X, _, y, _ = cancer
    base = LogisticRegression(max_iter=5000)
    before = clone(base).get_params()
    cross_fit(base, X, y, classes=np.unique(y), splits=make_splits(2, X, y), seed=0)
    assert base.get_params() == before
    assert not hasattr(base, "coef_")


class AskOnlyAboutUnseenRows:
    """Look for each row among those that a 1-nearest-neighbour base was trained on."""

    def __init__(self):
        self.share_seen = []

    def observe(self, estimator, X):
        near, _ = estimator.kneighbors(X, 1)
        self.share_seen.append(np.mean(near == 0))
        return near[:, 0]


@pytest.mark.parametrize("many_rows", [20_000, 100])
def test_observers_ask_clones_about_rows_that_these_have_not_seen(monkeypatch, many_rows):
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", many_rows)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = (X[:, 0] + rng.normal(size=300) > 0).astype(int)
    observer = AskOnlyAboutUnseenRows()
    base = KNeighborsClassifier(1)
    clf = MetaErrorClassifier(base, "logistic", meta_features=["confidence", observer], cv=3)
    clf.set_params(random_state=0).fit(X, y)
    assert observer.share_seen == [0, 0, 0]
    # The deployed base has trained on every row, and is asked about rows to come alone.
    asked = clf.error_model_._blocks[-1].observer
    assert asked.share_seen == [0, 0, 0]
    clf.predict_error_proba(X)
    assert asked.share_seen == [0, 0, 0, 1]
    assert clf.meta_feature_names_[-1] == "observer0_0"


def test_observer_that_returns_too_few_rows_is_named():
    class Short:
        def observe(self, estimator, X):
            return np.zeros((3, 1))

    X, y = np.random.default_rng(0).normal(size=(60, 2)), np.arange(60) % 2
    clf = MetaErrorClassifier(GaussianNB(), meta_features=["confidence", Short()], cv=2)
    with pytest.raises(ValueError, match=r"Short.observe must return .* shape \(3, 1\) for 30"):
        clf.fit(X, y)
    with pytest.raises(ValueError, match="Short in meta_features observes the base classifier"):
        ErrorModel(meta_features=["confidence", Short()]).fit(X, y, np.full((60, 2), 0.5))


def test_copies_in_a_wide_sparse_matrix_with_empty_columns_and_zeros_written_out():
    rng = np.random.default_rng(0)
    X = sp.csr_array(
        (rng.normal(size=600), (np.repeat(np.arange(200), 3), np.tile([0, 7, 40], 200)))
    )
    X.resize((200, 5000))
    X.data[::7] = 0
    duplicate_id = find_duplicates(sp.vstack([X, X], format="csr"), np.tile([0, 1], 200))
    assert_array_equal(duplicate_id, np.tile(np.arange(200), 2))


def test_weights_are_for_a_search_whose_candidates_all_take_them():
    pipe = make_pipeline(LogisticRegression())
    assert (
        adapt(GridSearchCV(LogisticRegression(), {"C": [1.0]})).sample_weight_param()
        == "sample_weight"
    )
    assert (
        adapt(GridSearchCV(pipe, [{}])).sample_weight_param() == "logisticregression__sample_weight"
    )
    exchanged = {"logisticregression": [LogisticRegression(), KNeighborsClassifier()]}
    assert adapt(GridSearchCV(pipe, exchanged)).sample_weight_param() is None
    assert adapt(GridSearchCV(KNeighborsClassifier(), {})).sample_weight_param() is None


def test_samplers_of_a_pipeline_act_in_the_fit_alone():
    """imbalanced-learn's have no transform."""

    class Sampler:
        def fit_resample(self, X, y):
            raise AssertionError

    scaler = StandardScaler().fit([[0.0], [2.0]])
    pipeline = SimpleNamespace(steps=[("a", Sampler()), ("b", scaler), ("c", None), ("d", None)])
    assert_allclose(transform_before(pipeline, np.array([[1.0], [2.0]])), [[0], [1]])
