"""Out-of-fold predictions: nobody is pred_encoded by a model that has seen them."""

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ShuffleSplit,
    cross_val_predict,
)
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn._base_estimator.adapter import adapt
from metaerr_sklearn._base_estimator.cross_fitting import cross_fit
from metaerr_sklearn._base_estimator.fitting import fit_base
from metaerr_sklearn._base_estimator.inspection import transform_before
from metaerr_sklearn._base_estimator.prediction import predict_base
from metaerr_sklearn._utils.probabilities import label_positions
from metaerr_sklearn._utils.random import draw_seed
from metaerr_sklearn.model_selection._splitting import make_splits

pytestmark = pytest.mark.usefixtures("small_second_opinion")


def test_cross_fit_equals_cross_val_predict(digits):
    X, _, y, _ = digits
    classes = np.unique(y)
    splits = make_splits(4, X, y, seed=1)
    base = GaussianNB()
    predictions, estimators, _ = cross_fit(base, X, y, classes=classes, splits=splits)
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
    predictions, *_ = cross_fit(GaussianNB(), X, y, classes=np.arange(3), splits=splits)
    assert_array_equal(predictions.proba[np.arange(90), y], 0)
    assert_allclose(predictions.proba.sum(axis=1), 1)
    assert not (predictions.pred_encoded == y).any()


def test_row_in_several_test_parts_keeps_its_first_prediction_and_untested_rows_are_marked():
    X, y = make_classification(100, random_state=0)
    splits = list(ShuffleSplit(2, test_size=0.3, random_state=0).split(X))
    predictions, *_ = cross_fit(GaussianNB(), X, y, classes=np.arange(2), splits=splits)
    tested = np.union1d(splits[0][1], splits[1][1])
    assert_array_equal(np.flatnonzero(predictions.fold >= 0), tested)
    first = GaussianNB().fit(X[splits[0][0]], y[splits[0][0]])
    assert_allclose(predictions.proba[splits[0][1]], first.predict_proba(X[splits[0][1]]))


def test_fit_parameters_with_one_entry_per_row_are_cut_to_the_fold():
    X, y = make_classification(120, random_state=0)
    weight = np.random.default_rng(0).random(120)
    splits = make_splits(3, X, y)
    predictions, *_ = cross_fit(
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
    with pytest.raises(ValueError, match=r"summing to 1. Row 0 sums to 100 .* as decision_func"):
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


@pytest.mark.parametrize("scale", [0.985, 1.0005, 1.015])
def test_probabilities_of_low_precision_are_divided_by_their_sum(scale, noisy_data):
    class Drifting(GaussianNB):
        def predict_proba(self, X):
            return scale * super().predict_proba(X)

    X, y = noisy_data
    proba = adapt(Drifting().fit(X, y)).predict_proba(X, np.arange(2))
    assert_allclose(proba, GaussianNB().fit(X, y).predict_proba(X), rtol=1e-3)
    assert_allclose(proba.sum(axis=1), 1, atol=1e-3)


class FailsOnOneFold(GaussianNB):
    """Raise in a fit without the marked row: one fold of a cross-fitting fails."""

    def fit(self, X, y, sample_weight=None):
        if 1e3 not in X[:, 0]:
            raise RuntimeError("boom")
        return super().fit(X, y)


def with_marked_row(X):
    X = X.copy()
    X[7, 0] = 1e3
    return X


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("memory", [False, True])
def test_an_exception_in_a_fold_has_its_number_as_a_note(n_jobs, memory, tmp_path, noisy_data):
    X, y = with_marked_row(noisy_data[0]), noisy_data[1]
    clf = MetaErrorClassifier(FailsOnOneFold(), "confidence", cv=KFold(5), n_jobs=n_jobs)
    clf.set_params(memory=tmp_path if memory else None)
    with pytest.raises(RuntimeError, match="boom") as info:
        clf.fit(X, y)
    assert info.value.__notes__ == ["raised while fitting and testing fold 1 of 5"]


class FailsOnAllRows(GaussianNB):
    def fit(self, X, y, sample_weight=None):
        if len(X) == 400:
            raise RuntimeError("boom")
        return super().fit(X, y)


class Meets(GaussianNB):
    """In the fit of the last fold, wait for the fit on all rows to begin, then `then`."""

    def __init__(self, folder, then="go on", on_all_rows="go on"):
        super().__init__()
        self.folder, self.then, self.on_all_rows = folder, then, on_all_rows

    def fit(self, X, y):
        is_last, begun = 1e3 not in X[:, 0], Path(self.folder) / "begun"
        if len(X) == 400:
            begun.touch()
        elif is_last:
            stop = time.monotonic() + 30
            while not begun.exists() and time.monotonic() < stop:
                time.sleep(0.01)
            (Path(self.folder) / ("beside" if begun.exists() else "alone")).touch()
        what = self.on_all_rows if len(X) == 400 else self.then if is_last else "go on"
        if what == "raise":
            raise RuntimeError("boom")
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "sleep":
            time.sleep(300)
        return super().fit(X, y)


def meeting(folder, X, **params):
    """Return a classifier with two jobs, and rows of which the last fold holds the marked one."""
    X = X.copy()
    X[395, 0] = 1e3
    base = Meets(str(folder), **params)
    return MetaErrorClassifier(base, "confidence", cv=KFold(5), n_jobs=2, random_state=0), X


def test_the_deployed_base_is_fitted_beside_the_last_odd_fold(tmp_path, noisy_data):
    clf, X = meeting(tmp_path, noisy_data[0])
    clf.fit(X, noisy_data[1])
    assert {file.name for file in tmp_path.iterdir()} == {"begun", "beside"}
    alone = clone(clf).set_params(n_jobs=1, estimator=GaussianNB()).fit(X, noisy_data[1])
    assert_array_equal(clf.predict_proba(X), alone.predict_proba(X))
    assert_array_equal(clf.oof_error_proba_, alone.oof_error_proba_)


@pytest.mark.parametrize(
    ("then", "note"),
    [
        ("go on", "raised while fitting the deployed base on all rows"),
        ("raise", "raised while fitting and testing fold 5 of 5"),
    ],
)
def test_an_exception_beside_the_last_fold_names_the_fit(then, note, tmp_path, noisy_data):
    clf, X = meeting(tmp_path, noisy_data[0], then=then, on_all_rows="raise")
    with pytest.raises(RuntimeError, match="boom") as info:
        clf.fit(X, noisy_data[1])
    assert info.value.__notes__ == [note]


def test_an_interruption_beside_the_last_fold_stops_that_fold(tmp_path, noisy_data):
    clf, X = meeting(tmp_path, noisy_data[0], then="sleep", on_all_rows="interrupt")
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, noisy_data[1])
    clf.set_params(estimator=GaussianNB()).fit(X, noisy_data[1])  # no process is busy
    assert time.monotonic() - start < 100


@pytest.mark.parametrize("backend", ["threading", "loky"])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_threads_and_a_single_job_fit_the_deployed_base_last(backend, n_jobs, noisy_data):
    order = []

    def on_fold():
        order.append("fold")

    X, y = noisy_data
    splits = make_splits(3, X, y)
    with parallel_config(backend):
        cross_fit(
            GaussianNB(),
            X,
            y,
            classes=np.unique(y),
            splits=splits,
            n_jobs=n_jobs,
            on_fold=on_fold,
            on_idle=lambda: order.append("idle"),
        )
    is_beside = backend == "loky" and n_jobs == 2
    assert order == (["fold", "fold", "idle", "fold"] if is_beside else ["fold"] * 3)


def test_an_exception_in_another_fit_names_that_fit(noisy_data):
    with pytest.raises(RuntimeError, match="boom") as info:
        MetaErrorClassifier(FailsOnAllRows(), "confidence").fit(*noisy_data)
    assert info.value.__notes__ == ["raised while fitting the deployed base on all rows"]
    model = SelfTrainingWithMetaErr(FailsOnOneFold(), random_state=0)
    X, y = noisy_data
    with pytest.raises(RuntimeError, match="boom") as info:
        model.fit(X, np.where(np.arange(400) < 100, y, -1))
    (note,) = info.value.__notes__
    assert note == "raised while fitting the base on labeled and pseudo-labeled rows"


@pytest.mark.parametrize(
    "kind", [MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr]
)
def test_a_failed_fit_leaves_the_earlier_fit_as_it_was(kind, noisy_data):
    X, y = noisy_data
    names, unlabeled = np.array(["a", "b"], dtype=object)[y], {}
    options = {"random_state": 0}
    if kind is SelectiveClassifier:
        options["target_coverage"] = 0.8
    if kind is SelfTrainingWithMetaErr:
        y, names = (np.where(np.arange(400) < 100, labels, -1) for labels in (y, names))
        unlabeled = {"unlabeled": -1}
    clf = kind(GaussianNB(), **options, **unlabeled).fit(X, y)
    before = dict(vars(clf))
    with pytest.raises(RuntimeError, match="boom"):
        clf.set_params(estimator=FailsOnOneFold()).fit(X, names)
    before["estimator"] = clf.estimator
    assert vars(clf) == before
    assert set(clf.predict(X)) <= {-1, 0, 1}


def test_an_unfitted_object_is_unfitted_after_a_failed_fit(noisy_data):
    clf = MetaErrorClassifier(FailsOnOneFold(), "confidence")
    with pytest.raises(RuntimeError, match="boom"):
        clf.fit(*noisy_data)
    with pytest.raises(NotFittedError):
        clf.predict(noisy_data[0])


def test_a_training_part_without_weight_is_named(noisy_data):
    X, y = noisy_data
    weight = (np.arange(len(y)) < 200).astype(float)
    splits = [(np.arange(200, 400), np.arange(200))]
    clf = MetaErrorClassifier(RidgeClassifier(), "logistic", meta_features="confidence", cv=splits)
    with pytest.raises(ValueError, match="has 200 rows, all of sample_weight 0"):
        clf.fit(X, y, sample_weight=weight)
