import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._utils.random import systematic_sample
from metaerr_sklearn.error_model import ErrorModel
from metaerr_sklearn.self_training import SelfTrainingWithMetaErr
from metaerr_sklearn.self_training._class_prior import (
    adjust_to_class_prior,
    class_prior_reliability,
    estimate_class_prior,
)
from metaerr_sklearn.self_training._nets import NetEmbedding, is_certain
from metaerr_sklearn.self_training._opinion_pool import OpinionPool

pytestmark = pytest.mark.usefixtures("small_second_opinion")
CRITERIA = ["consensus", "weight", "threshold", "k_best", "certain"]


def partly_labeled(seed=0, n_samples=150, n_labeled=40, **params):
    X, y = make_classification(
        n_samples, n_features=6, n_informative=4, n_classes=3, random_state=seed, **params
    )
    partly = y.copy()
    partly[n_labeled:] = -1
    return X, partly, y


@pytest.fixture(scope="module")
def digits_with_few_labels():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order] / 16, y[order]
    partly = y[:700].copy()
    partly[100:] = -1
    return X[:700], partly, X[700:], y[700:]


class Spy(ClassifierMixin, BaseEstimator):
    """Gaussian naive Bayes that records the rows (ids in column 0) it is fitted on and predicts."""

    log = []  # noqa: RUF012 (shared by all clones on purpose)

    def fit(self, X, y, sample_weight=None):
        self._number = len(Spy.log)
        Spy.log.append(
            {"ids": X[:, 0].astype(int), "y": np.copy(y), "weight": sample_weight, "predicted": []}
        )
        self._model = GaussianNB().fit(X[:, 1:], y, sample_weight)
        self.classes_ = self._model.classes_
        return self

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X):
        Spy.log[self._number]["predicted"].append(X[:, 0].astype(int))
        return self._model.predict_proba(X[:, 1:])


@pytest.fixture
def spied():
    Spy.log = []
    X, partly, y = partly_labeled(seed=3)
    return np.column_stack([np.arange(len(X)), X]), partly, y


def both(base, X, y, capsys, **params):
    """Fit scikit-learn's class and ours; return models, printed text and warnings of each."""
    results = []
    for model in (
        SelfTrainingClassifier(clone(base), **params),
        SelfTrainingWithMetaErr(clone(base), None, **{"criterion": "threshold", **params}),
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(X, y)
        texts = [str(w.message) for w in caught if w.category is UserWarning]
        results.append((model, capsys.readouterr().out, texts))
    return results


BASES = {
    "logistic": LogisticRegression(),
    "forest": RandomForestClassifier(8, random_state=0),
    "forest, one generator": RandomForestClassifier(5, random_state=np.random.RandomState(3)),
    "tree": DecisionTreeClassifier(random_state=1),
    "bayes": GaussianNB(),
    "neighbors": KNeighborsClassifier(3),
    "boosting": HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
    "mlp": MLPClassifier((8,), max_iter=15, random_state=0),
    "pipeline": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
    "warm start": SGDClassifier(loss="log_loss", warm_start=True, max_iter=20, random_state=0),
}
SETTINGS = [
    {"criterion": "threshold"},
    {"criterion": "threshold", "threshold": 0.95, "max_iter": None},
    {"criterion": "threshold", "threshold": 0.5, "max_iter": 2},
    {"criterion": "k_best", "k_best": 7, "max_iter": 4},
    {"criterion": "k_best", "k_best": 500},
    {"max_iter": 0},
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("base", BASES.values(), ids=BASES.keys())
def test_without_meta_learner_it_is_sklearns_class(base, capsys):
    for seed in range(4):
        X, partly, _ = partly_labeled(seed)
        X_new = partly_labeled(seed + 50)[0]
        for setting in SETTINGS[:1] if seed else SETTINGS:
            (theirs, *their_texts), (ours, *our_texts) = both(
                base, X, partly, capsys, verbose=True, **setting
            )
            assert our_texts == their_texts
            for name in ("transduction_", "labeled_iter_", "n_iter_", "classes_"):
                assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert ours.termination_condition_ == theirs.termination_condition_
            assert_array_equal(ours.predict(X_new), theirs.predict(X_new))
            assert_array_equal(ours.predict_proba(X_new), theirs.predict_proba(X_new))
            assert ours.score(X_new, X_new[:, 0] > 0) == theirs.score(X_new, X_new[:, 0] > 0)
            assert ours.transduction_.dtype == theirs.transduction_.dtype


def test_without_meta_learner_strings_and_full_labels_are_sklearns_too(capsys):
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    names[np.random.default_rng(0).random(len(y)) < 0.6] = -1
    base = LogisticRegression(max_iter=300)
    for labels in (names, y):
        (theirs, *their_texts), (ours, *our_texts) = both(base, X, labels, capsys, verbose=True)
        assert our_texts == their_texts
        assert_array_equal(ours.transduction_, theirs.transduction_)
        assert_array_equal(ours.predict(X), theirs.predict(X))
        assert ours.n_iter_ == theirs.n_iter_
    with pytest.raises(ValueError, match="use dtype object"):
        SelfTrainingWithMetaErr(base, None, criterion="threshold").fit(X, names.astype(str))


@pytest.mark.parametrize(
    ("criterion", "meta_learner"),
    [("consensus", "auto")]
    + [
        (criterion, meta_learner)
        for criterion in CRITERIA
        for meta_learner in ("auto", None, "logistic")
        if criterion not in ("consensus", "certain")
    ],
)
@pytest.mark.filterwarnings("ignore:.* errors among")
def test_rows_are_labeled_by_models_that_were_not_trained_on_them(spied, criterion, meta_learner):
    X, partly, _ = spied
    model = SelfTrainingWithMetaErr(
        Spy(), meta_learner, criterion=criterion, threshold=0.6, random_state=0
    ).fit(X, partly)
    n_predicted = 0
    for fit in Spy.log:
        for ids in fit["predicted"]:
            assert not np.intersect1d(ids, fit["ids"]).size
            n_predicted += np.count_nonzero(ids >= 40)
    assert n_predicted >= 110
    n_rounds = model.n_iter_ - 1 if criterion in ("threshold", "k_best") else 0
    n_folds = 0 if meta_learner is None else 5
    n_level = 0 if meta_learner is None else 1  # the fit that measures the level of the errors
    assert len(Spy.log) == n_folds + 1 + n_rounds + 1 + n_level


@pytest.mark.draws
@pytest.mark.parametrize("criterion", CRITERIA)
def test_error_probabilities_have_their_level_on_noise(criterion):
    """A base that was trained on its own labels is sure of them: it said .23 to .44."""
    said = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(600, 4)), rng.integers(2, size=600)
        y[100:] = -1
        model = SelfTrainingWithMetaErr(
            LogisticRegression(), criterion=criterion, threshold=0.6, random_state=seed
        ).fit(X, y)
        new = model.predict_error_proba(rng.normal(size=(1000, 4))).mean()
        said.append([new, np.nanmean(model.pseudo_error_proba_)])
    assert_allclose(np.mean(said, axis=0), 0.5, atol=0.05)


@pytest.mark.draws
@pytest.mark.parametrize("criterion", CRITERIA)
def test_error_probabilities_have_the_level_of_the_errors(criterion, digits):
    X_train, X, y_train, y = digits
    partly = y_train.astype(object)
    gaps = []
    for seed in range(3):
        labeled = np.random.default_rng(seed).permutation(len(partly))[:100]
        given = np.full(len(partly), -1, dtype=object)
        given[labeled] = partly[labeled]
        base = RandomForestClassifier(10, random_state=0)
        model = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=seed)
        model.fit(X_train, given)
        gaps.append(model.predict_error_proba(X).mean() - np.mean(model.predict(X) != y))
    assert abs(np.mean(gaps)) < 0.08


def test_error_probabilities_of_a_base_that_cannot_learn_the_pseudo_labels():
    """The pool separates the clusters, a linear base cannot: their mean said .12 for .24."""
    gaps = []
    for seed in range(3):
        X, y = make_classification(
            2600,
            n_features=6,
            n_informative=4,
            n_redundant=0,
            n_classes=4,
            class_sep=1.6,
            random_state=seed,
        )
        given = np.where(np.arange(1600) < 400, y[:1600], -1)
        model = SelfTrainingWithMetaErr(LogisticRegression(), random_state=seed)
        model.fit(X[:1600], given)
        is_error = model.predict(X[1600:]) != y[1600:]
        gaps.append(model.predict_error_proba(X[1600:]).mean() - is_error.mean())
    assert abs(np.mean(gaps)) < 0.05


def test_level_is_measured_on_rows_that_the_base_was_not_trained_on(spied):
    X, partly, _ = spied
    model = SelfTrainingWithMetaErr(Spy(), criterion="weight", random_state=0).fit(X, partly)
    held = np.setdiff1d(np.arange(40, 150), Spy.log[-1]["ids"])
    assert len(held) == 110 // 4
    assert_array_equal(np.unique(np.concatenate(Spy.log[-1]["predicted"])), held)
    # The final base gives no other level if it was not trained on pseudo-labels.
    alone = SelfTrainingWithMetaErr(Spy(), max_iter=0, random_state=0).fit(X, partly)
    pool = alone.error_model_
    expected = pool.predict_error_proba(X, alone.predict_proba(X), y_pred=alone.predict(X))
    assert_allclose(alone.predict_error_proba(X), expected)
    assert model._error_level != 0


def test_weight_is_pseudo_weight_times_one_minus_predicted_error(spied):
    X, partly, _ = spied
    model = SelfTrainingWithMetaErr(Spy(), criterion="weight", pseudo_weight=0.7, random_state=0)
    model.fit(X, partly)
    last = Spy.log[-2]  # the fit after it measures the level of the errors
    assert_array_equal(last["ids"], np.arange(150))
    assert_allclose(last["weight"][:40], 1)
    assert_allclose(last["weight"][40:], 0.7 * (1 - model.pseudo_error_proba_[40:]))
    assert_array_equal(last["y"], model.transduction_)
    assert np.isnan(model.pseudo_error_proba_[:40]).all()
    assert Spy.log[-3]["weight"] is None


def test_consensus_takes_label_and_weight_from_the_pool(spied):
    X, partly, y = spied
    for class_prior in (None, "labeled", [0.6, 0.3, 0.1]):
        model = SelfTrainingWithMetaErr(Spy(), class_prior=class_prior, random_state=0)
        model.fit(X, partly)
        assert model.criterion_ == "consensus"
        supervised = GaussianNB().fit(X[:40, 1:], y[:40])
        last = Spy.log[-2]
        assert_array_equal(last["ids"][:150], np.arange(150))
        assert_array_equal(last["y"][:150], model.transduction_)
        pool, weight = model.error_model_, last["weight"][40:150]
        # New rows see themselves as neighbours, so the graph's opinion differs a little.
        pooled = pool.pool(X[40:], supervised.predict_proba(X[40:, 1:]))
        if class_prior is None:
            own = supervised.predict(X[40:, 1:])
            folds = [
                GaussianNB().fit(X[fold["ids"], 1:], fold["y"]).predict_proba(X[40:, 1:])
                for fold in Spy.log[1:6]
            ]
            proba = supervised.predict_proba(X[40:, 1:])
            reliability = class_prior_reliability(proba, folds, [(32, 8)] * 5, pool.class_prior_)
            reliance = 0.25 + 0.75 * reliability
            trust = min(1, 2 * pool.adjusted_accuracy_) * reliance
            shares = pool.class_prior_
            estimated = estimate_class_prior(pooled, shares)
            pooled = adjust_to_class_prior(pooled, shares, shares + trust * (estimated - shares))
        elif class_prior != "labeled":
            pooled = adjust_to_class_prior(pooled, pool.class_prior_, class_prior)
        labels = model.transduction_[40:]
        assert np.mean(labels == pooled.argmax(axis=1)) > 0.95
        error_proba = pool.error_proba(pooled, pooled.argmax(axis=1), of_pool=True)
        assert np.abs(model.pseudo_error_proba_[40:] - error_proba).mean() < 0.02
        expected = 0.5 * (1 - model.pseudo_error_proba_[40:])
        if class_prior is None:
            assert_allclose(weight, expected)
            # If the base predicts another label, that label is used as well.
            differs = np.flatnonzero(labels != own)
            assert len(differs) > 2
            assert_array_equal(last["ids"][150:], 40 + differs)
            assert_array_equal(last["y"][150:], own[differs])
            columns = np.searchsorted(model.classes_, own[differs])
            assert_allclose(last["weight"][150:], 0.75 * pooled[differs, columns], atol=0.08)
        else:
            assert len(last["ids"]) == 150
        assert (weight <= expected + 1e-12).all()


def test_consensus_of_guesses_is_not_used():
    """Random labels: the final base is the one trained on the labels alone."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 5)), rng.integers(0, 2, 150)
    y[30:] = -1
    forest = RandomForestClassifier(20, random_state=0)
    model = SelfTrainingWithMetaErr(forest, random_state=0).fit(X, y)
    assert (
        model.error_model_.base_adjusted_balanced_accuracy_
        <= model.error_model_.base_adjusted_balanced_accuracy_error_
    )
    assert_array_equal(model.transduction_, y)
    assert (model.labeled_iter_[30:] == -1).all()
    assert model.termination_condition_ == "no_change"
    assert model.history_[0]["n_added"] == 0
    alone = forest.fit(X[:30], y[:30])
    assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    # A given class prior is used, however weak the pool is.
    with_prior = SelfTrainingWithMetaErr(forest, class_prior=[0.5, 0.5], random_state=0).fit(X, y)
    assert with_prior.termination_condition_ == "all_labeled"


def test_consensus_is_not_used_for_a_base_that_guesses():
    """With 20 labels and leaves of 20 rows the base predicts one class; the pool is better."""
    X, y = make_classification(150, n_clusters_per_class=1, class_sep=2, random_state=0)
    partly = np.where(np.arange(150) < 20, y, -1)
    base = HistGradientBoostingClassifier(random_state=0)
    model = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    pool = model.error_model_
    assert pool.adjusted_accuracy_ > 0.6
    assert pool.base_adjusted_balanced_accuracy_ == pool.base_adjusted_balanced_accuracy_error_ == 0
    assert_array_equal(model.transduction_, partly)
    assert model.history_[0]["n_added"] == 0
    with_prior = SelfTrainingWithMetaErr(base, class_prior=[0.5, 0.5], random_state=0).fit(
        X, partly
    )
    assert with_prior.termination_condition_ == "all_labeled"


@pytest.mark.parametrize(
    "params",
    [{"meta_learner": "logistic"}, {"meta_learner": None}, {"meta_features": "confidence"}],
)
def test_consensus_needs_its_own_pool(params):
    X, partly, _ = partly_labeled()
    model = SelfTrainingWithMetaErr(LogisticRegression(), criterion="consensus", **params)
    with pytest.raises(ValueError, match="needs meta_learner"):
        model.fit(X, partly)
    assert model.set_params(criterion="auto").fit(X, partly).criterion_ == "weight"


@pytest.mark.parametrize("base", [LogisticRegression(), KNeighborsClassifier()])
@pytest.mark.parametrize("class_prior", [None, [0.4, 0.3, 0.3]])
def test_a_class_whose_labels_have_no_weight_is_not_predicted(base, class_prior):
    X, partly, _ = partly_labeled(n_labeled=60)
    weight = np.where(partly == 2, 0.0, 1.0)
    model = SelfTrainingWithMetaErr(base, class_prior=class_prior, random_state=0)
    model.fit(X, partly, sample_weight=weight)
    assert not (model.transduction_[60:] == 2).any()


def test_user_weights_multiply(spied):
    X, partly, _ = spied
    weight = np.random.default_rng(0).uniform(0.5, 2, size=150)
    model = SelfTrainingWithMetaErr(Spy(), criterion="weight", random_state=0)
    model.fit(X, partly, sample_weight=weight)
    expected = weight * np.where(partly < 0, 0.5 * (1 - model.pseudo_error_proba_), 1)
    assert_allclose(Spy.log[-2]["weight"], expected)
    for fit in Spy.log[:-2]:
        assert_array_equal(fit["weight"], weight[fit["ids"]])


@pytest.mark.parametrize(
    ("criterion", "is_chosen"),
    [
        ("threshold", lambda confidence: confidence > 0.8),
        ("k_best", lambda confidence: confidence >= np.sort(confidence)[-25]),
    ],
)
def test_rounds_choose_by_predicted_error(digits_with_few_labels, criterion, is_chosen):
    X, partly, _, _ = digits_with_few_labels
    params = {"threshold": 0.8, "k_best": 25, "random_state": 0}
    base = LogisticRegression(max_iter=500)
    model = SelfTrainingWithMetaErr(base, criterion=criterion, max_iter=1, **params)
    model.fit(X, partly)
    # No row exceeds this threshold, so pseudo_error_proba_ keeps the values of the first round.
    unused = SelfTrainingWithMetaErr(
        base, criterion="threshold", **{**params, "threshold": np.nextafter(1, 0)}
    ).fit(X, partly)
    assert_array_equal(unused.transduction_, partly)
    error_proba = unused.pseudo_error_proba_[100:]
    assert_array_equal(model.labeled_iter_[100:] == 1, is_chosen(1 - error_proba))
    assert model.termination_condition_ == "max_iter"
    by_confidence = SelfTrainingWithMetaErr(base, None, criterion=criterion, max_iter=1, **params)
    assert (by_confidence.fit(X, partly).labeled_iter_ != model.labeled_iter_).any()


@pytest.mark.filterwarnings("ignore:.* errors among")
def test_certain_labels_are_trained_on_twice_and_then_all_of_them(spied):
    X, partly, _ = spied
    model = SelfTrainingWithMetaErr(Spy(), None, criterion="certain", random_state=0)
    model.fit(X, partly)
    supervised, first, second, last = Spy.log
    assert_array_equal(supervised["ids"], np.arange(40))
    teacher = GaussianNB().fit(X[:40, 1:], partly[:40])
    for fitted in (first, second):
        proba = teacher.predict_proba(X[40:, 1:])
        certain = proba.max(axis=1) >= 0.9
        assert 0 < certain.sum() < 110
        assert_array_equal(fitted["ids"], [*range(40), *(40 + np.flatnonzero(certain))])
        assert_array_equal(fitted["y"][40:], proba.argmax(axis=1)[certain])
        teacher = GaussianNB().fit(X[fitted["ids"], 1:], fitted["y"], fitted["weight"])
    proba = teacher.predict_proba(X[40:, 1:])
    assert_array_equal(last["y"][40:], proba.argmax(axis=1))
    assert_allclose(last["weight"][40:], proba.max(axis=1))
    assert model.n_iter_ == 3
    assert sum(record["n_added"] for record in model.history_) == 110


def test_labeled_rows_have_at_least_half_of_the_weight_of_certain_rounds(spied):
    X, partly, _ = spied
    user = np.random.default_rng(0).uniform(0.5, 2, size=150)
    SelfTrainingWithMetaErr(Spy(), criterion="certain", random_state=0).fit(
        X, partly, sample_weight=user
    )
    factors = []
    for fit in Spy.log[-4:-1]:  # two rounds and the last one; then the level is measured
        is_labeled = fit["ids"] < 40
        factor = fit["weight"] / user[fit["ids"]]
        assert_allclose(factor[is_labeled], factor[0])
        total_labeled, total = user[:40].sum(), fit["weight"][~is_labeled].sum()
        assert_allclose(factor[0], max(1, total / total_labeled))
        factors.append(factor[0])
    assert min(factors) == 1  # few labels are certain
    assert max(factors) > 1.2


@pytest.mark.parametrize("criterion", CRITERIA)
def test_no_round_is_the_supervised_base(digits_with_few_labels, criterion):
    X, partly, X_test, _ = digits_with_few_labels
    base = LogisticRegression(max_iter=500)
    model = SelfTrainingWithMetaErr(base, criterion=criterion, max_iter=0).fit(X, partly)
    assert_array_equal(model.transduction_, partly)
    assert model.n_iter_ == 0
    assert model.termination_condition_ == "max_iter"
    assert_allclose(
        model.predict_proba(X_test), base.fit(X[:100], partly[:100]).predict_proba(X_test)
    )


@pytest.mark.parametrize("criterion", CRITERIA)
def test_class_prior_limits_each_class(criterion):
    X, partly, _ = partly_labeled(seed=1, n_samples=400, n_labeled=60)
    prior = np.array([0.6, 0.3, 0.1])
    params = {"criterion": criterion, "threshold": 0.6, "k_best": 40, "random_state": 0}
    base = LogisticRegression()
    free = SelfTrainingWithMetaErr(base, **params).fit(X, partly)
    model = SelfTrainingWithMetaErr(base, class_prior=prior, **params).fit(X, partly)
    if criterion in ("consensus", "weight"):
        Spy.log = []
        rows = np.column_stack([np.arange(400), X])
        spied = SelfTrainingWithMetaErr(Spy(), class_prior=prior, **params).fit(rows, partly)
        weight = Spy.log[-2]["weight"][60:]
        full = 0.5 * (1 - spied.pseudo_error_proba_[60:])
        sums = np.bincount(spied.transduction_[60:], weights=weight, minlength=3)
        assert (sums <= prior * full.sum() + 1e-9).all()
        assert (weight <= full + 1e-12).all()
        assert sums[2] < np.bincount(spied.transduction_[60:], weights=full)[2]
        return
    for round_ in range(1, model.n_iter_ + 1):
        counts = np.bincount(model.transduction_[model.labeled_iter_ == round_], minlength=3)
        if round_ == 1:
            n_free = np.count_nonzero(free.labeled_iter_ == 1)
            assert (counts <= np.ceil(prior * n_free)).all()
    assert counts.sum() >= 0


def test_labeled_prior_is_the_share_of_the_labels():
    X, partly, _ = partly_labeled(seed=1)
    share = np.bincount(partly[:40]) / 40
    params = {"criterion": "threshold", "threshold": 0.6, "random_state": 0}
    named = SelfTrainingWithMetaErr(LogisticRegression(), class_prior="labeled", **params)
    given = SelfTrainingWithMetaErr(LogisticRegression(), class_prior=share, **params)
    assert_array_equal(named.fit(X, partly).labeled_iter_, given.fit(X, partly).labeled_iter_)


@pytest.mark.parametrize(
    ("names", "marker"),
    [
        (["a", "b", "c"], -1),
        (["a", "b", "c"], None),
        (["a", "b", "c"], np.nan),
        (["a", "b", "c"], "?"),
        ([10, 20, 31], None),
        ([0.0, 1.0, 2.0], np.nan),
        ([3, 1, 2], 99),
    ],
)
def test_any_marker_and_any_labels(names, marker):
    X, partly, y = partly_labeled(seed=2)
    known = partly >= 0
    is_float = isinstance(names[0], float)
    labels = np.array(names, dtype=float if is_float else object)[y]
    labels[~known] = marker
    before = list(map(str, labels))  # NaN differs from itself
    model = SelfTrainingWithMetaErr(LogisticRegression(), unlabeled=marker, random_state=0)
    model.fit(X, labels)
    assert list(map(str, labels)) == before
    assert_array_equal(model.classes_, sorted(names))
    assert model.transduction_.dtype == labels.dtype
    assert set(model.predict(X)) <= set(names)
    order = np.argsort(names)  # the same problem with classes 0, 1, 2
    plain = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0)
    plain.fit(X, np.where(known, np.argsort(order)[y], -1))
    assert_array_equal(model.transduction_, np.sort(names)[plain.transduction_])
    assert_allclose(model.predict_proba(X), plain.predict_proba(X))


def test_lists_series_and_arrays_of_labels_agree():
    pd = pytest.importorskip("pandas")
    X, partly, y = partly_labeled(seed=2)
    names = [["low", "mid", "high"][label] if row < 40 else -1 for row, label in enumerate(y)]
    models = [
        SelfTrainingWithMetaErr(LogisticRegression(), random_state=0).fit(X, labels)
        for labels in (names, np.array(names, dtype=object), pd.Series(names, dtype=object))
    ]
    for model in models:
        assert_array_equal(model.transduction_, models[0].transduction_)
    missing = pd.Series(np.where(partly < 0, pd.NA, partly), dtype="Int64")
    model = SelfTrainingWithMetaErr(LogisticRegression(), unlabeled=None, random_state=0)
    assert_array_equal(model.fit(X, missing).classes_, [0, 1, 2])


def test_frames_reach_the_base_as_frames():
    pd = pytest.importorskip("pandas")
    X, partly, y = partly_labeled(seed=4, n_samples=200)
    frame = pd.DataFrame(X[:, :5], columns=list("abcde"))
    frame["kind"] = np.where(X[:, 5] > 0, "up", "down")
    base = make_pipeline(
        make_column_transformer(
            (StandardScaler(), ["a", "b", "c", "d", "e"]), (OneHotEncoder(), ["kind"])
        ),
        LogisticRegression(),
    )
    before = frame.copy()
    for criterion in CRITERIA:
        model = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=0)
        model.fit(frame, partly)
        assert_array_equal(model.feature_names_in_, frame.columns)
        assert model.score(frame, y) > 0.5
    pd.testing.assert_frame_equal(frame, before)
    polars = pytest.importorskip("polars")
    other = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=0)
    other.fit(polars.from_dict(frame.to_dict("list")), partly)
    assert_array_equal(other.transduction_, model.transduction_)


def test_text_sparse_and_images(digits_with_few_labels):
    words = {0: "red warm fire sun", 1: "blue cold ice snow"}
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=120)
    text = [" ".join(rng.permutation(words[label].split())[:2]) for label in y]
    partly = np.where(np.arange(120) < 20, y, -1)
    model = SelfTrainingWithMetaErr(make_pipeline(TfidfVectorizer(), LogisticRegression()))
    assert model.fit(text, partly).score(text, y) > 0.9
    sparse = TfidfVectorizer().fit_transform(text)
    assert SelfTrainingWithMetaErr(LogisticRegression()).fit(sparse, partly).score(sparse, y) > 0.9

    class Flat(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            assert X.shape[1:] == (1, 8, 8)
            return super().fit(X.reshape(len(X), -1), y, sample_weight)

        def predict_proba(self, X):
            return super().predict_proba(X.reshape(len(X), -1))

        def predict(self, X):
            return super().predict(X.reshape(len(X), -1))

    X, partly, X_test, y_test = digits_with_few_labels
    model = SelfTrainingWithMetaErr(Flat(max_iter=500), criterion="threshold", random_state=0)
    model.fit(X.reshape(-1, 1, 8, 8), partly)
    assert model.score(X_test.reshape(-1, 1, 8, 8), y_test) > 0.8


def test_weights_reach_the_last_step_of_a_pipeline(spied):
    X, partly, _ = spied
    from sklearn import config_context

    for routing in (False, True):
        Spy.log = []
        nested = make_pipeline("passthrough", make_pipeline("passthrough", Spy()))
        with config_context(enable_metadata_routing=routing):
            model = SelfTrainingWithMetaErr(nested, random_state=0).fit(X, partly)
        expected = np.where(partly < 0, 0.5 * (1 - model.pseudo_error_proba_), 1)
        assert_allclose(Spy.log[-2]["weight"][: len(X)], expected)


def test_labels_of_mixed_types_are_refused():
    y = np.array([0, "no", "yes", -1] * 5, dtype=object)
    with pytest.raises(ValueError, match="y mixes labels of the types int, str, which have no"):
        SelfTrainingWithMetaErr(LogisticRegression()).fit(np.arange(20)[:, None], y)


def test_a_base_without_weights_is_given_a_resampled_set():
    counts = np.bincount(
        np.concatenate(
            [systematic_sample(np.r_[np.ones(50), np.full(100, 0.3)], s) for s in range(400)]
        )
    )
    assert_array_equal(counts[:50], 400)
    assert_allclose(counts[50:].mean() / 400, 0.3, atol=0.01)
    assert counts[50:].max() < 400 * 0.45

    X, partly, _ = partly_labeled(seed=5, n_samples=300)
    base = KNeighborsClassifier(5)
    first = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    again = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    stored = first.estimator_.n_samples_fit_
    assert 40 < stored < 40 + 0.5 * 260 + 1
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 300)
    small = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly, weight / 1024)
    large = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly, weight)
    assert_array_equal(small.predict(X), large.predict(X))


@pytest.mark.parametrize("base", [LinearSVC(), DecisionTreeClassifier(random_state=0)])
def test_bases_without_probabilities(base):
    X, partly, y = partly_labeled(seed=6, class_sep=2.0)
    model = SelfTrainingWithMetaErr(base, criterion="threshold", random_state=0).fit(X, partly)
    assert model.score(X, y) > 0.6
    assert hasattr(model, "predict_proba") == hasattr(base, "predict_proba")
    assert hasattr(model, "decision_function") == hasattr(base, "decision_function")
    error_proba = model.predict_error_proba(X)
    assert ((error_proba >= 0) & (error_proba <= 1)).all()


def test_error_model_depends_on_the_number_of_errors():
    X, y = make_classification(1500, n_informative=4, flip_y=0.3, random_state=0)
    partly = np.where(np.arange(1500) < 600, y, -1)
    base = LogisticRegression()
    many = SelfTrainingWithMetaErr(base, criterion="weight", random_state=0).fit(X, partly)
    assert isinstance(many.error_model_, ErrorModel)
    pooled = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    assert isinstance(pooled.error_model_, OpinionPool)
    partly[60:] = -1
    few = SelfTrainingWithMetaErr(base, criterion="weight", random_state=0).fit(X, partly)
    assert isinstance(few.error_model_, OpinionPool)
    named = SelfTrainingWithMetaErr(base, "logistic", random_state=0).fit(X, partly)
    assert isinstance(named.error_model_, ErrorModel)
    assert named.criterion_ == "weight"
    assert named.error_model_.meta_learner == "logistic"
    blocks = SelfTrainingWithMetaErr(base, meta_features="confidence", random_state=0)
    assert blocks.fit(X, partly).error_model_.meta_features == "confidence"
    assert SelfTrainingWithMetaErr(base, None).fit(X, partly).error_model_ is None


def test_representation_is_used(digits_with_few_labels):
    X, partly, X_test, _ = digits_with_few_labels
    base = LogisticRegression(max_iter=500)
    none = SelfTrainingWithMetaErr(base, representation=None, random_state=0).fit(X, partly)
    assert none.error_model_.opinions_ == ["base"]
    auto = SelfTrainingWithMetaErr(base, random_state=0).fit(X, partly)
    assert len(auto.error_model_.opinions_) == 4
    assert (none.transduction_ != auto.transduction_).any()
    assert not np.allclose(none.predict_error_proba(X_test), auto.predict_error_proba(X_test))


def test_predicted_error_ranks_errors_of_the_final_base(digits_with_few_labels):
    X, partly, X_test, y_test = digits_with_few_labels
    model = SelfTrainingWithMetaErr(RandomForestClassifier(50, random_state=0), random_state=0)
    model.fit(X, partly)
    is_error = model.predict(X_test) != y_test
    assert roc_auc_score(is_error, model.predict_error_proba(X_test)) > 0.8


def test_error_proba_without_error_model_ranks_saturated_probabilities():
    """1 - p would be 0 for all rows whose probability is rounded to 1."""
    X, y = make_classification(800, n_features=40, n_informative=20, class_sep=2, random_state=0)
    X = np.repeat(X, 5, axis=1)  # repeated columns make naive Bayes overconfident
    partly = np.where(np.arange(800) < 400, y, -1)
    model = SelfTrainingWithMetaErr(GaussianNB(), None, criterion="threshold").fit(X, partly)
    error_proba = model.predict_error_proba(X[400:])
    frozen = FrozenEstimator(model.estimator_)
    direct = MetaErrorClassifier(frozen, meta_learner=None).fit(X, y)
    assert_array_equal(error_proba, direct.predict_error_proba(X[400:]))
    n_subtracted = len(np.unique(1 - model.predict_proba(X[400:]).max(axis=1)))
    assert n_subtracted < 300 < 390 < len(np.unique(error_proba))


def test_history_and_messages(digits_with_few_labels, capsys):
    X, partly, _, _ = digits_with_few_labels
    model = SelfTrainingWithMetaErr(
        LogisticRegression(max_iter=500), criterion="threshold", verbose=True, random_state=0
    ).fit(X, partly)
    lines = capsys.readouterr().out.splitlines()
    steps = [line for line in lines if line.startswith("[")]
    rounds = [line for line in lines if not line.startswith("[")]
    fits = ["base estimator"] * (model.n_base_fits_ - 6)
    names = ["base estimator", *["fold"] * 5, "error model", *fits]
    for line, name in zip(steps, names, strict=True):
        assert re.fullmatch(rf"\[SelfTrainingWithMetaErr\] \d+ {name}, [\d.]+ s", line)
    assert len(rounds) == len(model.history_)
    for number, (line, record) in enumerate(zip(rounds, model.history_), start=1):
        added = model.labeled_iter_ == number
        assert line == f"End of iteration {number}, added {added.sum()} new labels."
        assert record["n_added"] == added.sum()
        assert_allclose(record["mean_error_proba"], model.pseudo_error_proba_[added].mean())
    assert 0.7 < model.history_[0]["oof_accuracy"] < 1
    assert model.history_[1]["oof_accuracy"] is None


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_seed_decides_everything(criterion, digits_with_few_labels):
    X, partly, X_test, _ = digits_with_few_labels
    X, partly = X[:300], partly[:300]
    base = RandomForestClassifier(3)
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=1).fit(X, partly)
    with_jobs = SelfTrainingWithMetaErr(base, criterion=criterion, random_state=1, n_jobs=2)
    with_jobs.fit(X, partly)
    assert_array_equal(first.predict_proba(X_test), with_jobs.predict_proba(X_test))
    assert_array_equal(first.pseudo_error_proba_, with_jobs.pseudo_error_proba_)
    assert base.random_state is None
    SelfTrainingWithMetaErr(GaussianNB(), criterion=criterion).fit(X, partly)
    assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize(
    ("params", "y", "error", "match"),
    [
        ({"estimator": None}, None, TypeError, "classifier with fit and predict, got None"),
        ({"criterion": "best"}, None, ValueError, "criterion must be one of"),
        ({"threshold": 1.0}, None, ValueError, r"threshold == 1.0, must be < 1"),
        ({"threshold": np.nan}, None, ValueError, "Input threshold contains NaN"),
        ({"k_best": 0}, None, ValueError, "k_best == 0, must be >= 1"),
        ({"pseudo_weight": -1}, None, ValueError, "pseudo_weight == -1, must be >= 0"),
        ({"pseudo_weight": np.inf}, None, ValueError, "Input pseudo_weight contains infinity"),
        ({"max_iter": 1.5}, None, TypeError, "max_iter must be an instance of int, not float"),
        ({"class_prior": [0.5, 0.5]}, None, ValueError, "3 shares that sum to 1"),
        ({"class_prior": "uniform"}, None, ValueError, "3 shares that sum to 1"),
        ({"cv": 1}, None, ValueError, "cv must be"),
        ({"cv": "prefit"}, None, ValueError, "cannot be frozen or prefit"),
        ({"meta_learner": "oracle"}, None, ValueError, "meta_learner must be one of"),
        ({"unlabeled": [1]}, None, ValueError, "unlabeled must be one value"),
        ({}, np.full(150, -1), ValueError, "y has no labeled row"),
        ({}, np.where(np.arange(150) < 9, 2, -1), ValueError, "at least 2 classes, got one class"),
        ({}, np.where(np.arange(150) < 9, np.nan, 1.0), ValueError, "y contains NaN"),
        ({}, np.array(["a", "b", None] * 50, dtype=object), ValueError, "missing labels"),
        ({}, np.array(["a", "b", "-1"] * 50), ValueError, "marker -1 has become the text '-1'"),
        ({}, np.linspace(0, 1, 150), ValueError, "Unknown label type"),
        ({"representation": "pca"}, None, ValueError, "representation must be"),
    ],
)
@pytest.mark.filterwarnings("ignore:y contains no unlabeled")
def test_errors_say_what_to_do(params, y, error, match):
    X, partly, _ = partly_labeled()
    model = SelfTrainingWithMetaErr(**{"estimator": LogisticRegression(), **params})
    with pytest.raises(error, match=match):
        model.fit(X, partly if y is None else y)


def test_a_fitted_base_cannot_be_trained_again():
    X, partly, y = partly_labeled()
    frozen = FrozenEstimator(LogisticRegression().fit(X, y))
    with pytest.raises(ValueError, match="cannot be frozen"):
        SelfTrainingWithMetaErr(frozen).fit(X, partly)


def test_minus_one_and_one_are_two_classes():
    X, y = make_classification(100, random_state=0)
    with pytest.warns(UserWarning, match="-1 is taken for a class"):
        model = SelfTrainingWithMetaErr(LogisticRegression()).fit(X, 2 * y - 1)
    assert_array_equal(model.classes_, [-1, 1])
    assert_array_equal(model.labeled_iter_, 0)


@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_are_no_labels_of_a_class(missing):
    """The error comes without the warning that no row is unlabeled."""
    X, _, y = partly_labeled()
    y = np.where(y == 1, "yes", "no").astype(object)
    y[100:] = missing
    with pytest.raises(ValueError, match="Pass unlabeled=None"):
        SelfTrainingWithMetaErr(LogisticRegression()).fit(X, y)


def test_fully_labeled_data_give_the_plain_base():
    X, _, y = partly_labeled()
    match = r"no unlabeled samples: no label equals -1. .* label, \d in \d+ of 150 rows, marks"
    with pytest.warns(UserWarning, match=match):
        model = SelfTrainingWithMetaErr(LogisticRegression(), random_state=0).fit(X, y)
    assert_allclose(model.predict_proba(X), LogisticRegression().fit(X, y).predict_proba(X))
    assert model.n_iter_ == 1
    assert model.history_ == []
    assert model.predict_error_proba(X).shape == (150,)


def test_one_label_per_class_falls_back_to_confidence():
    X, partly, y = partly_labeled()
    partly[:] = -1
    first = np.unique(y, return_index=True)[1]
    partly[first] = y[first]
    with pytest.warns(UserWarning, match="single labeled row"):
        model = SelfTrainingWithMetaErr(LogisticRegression()).fit(X, partly)
    assert model.error_model_ is None
    proba = LogisticRegression().fit(X[first], y[first]).predict_proba(X[partly < 0])
    assert_allclose(model.pseudo_error_proba_[partly < 0], 1 - proba.max(axis=1))


def test_one_label_beside_many_of_another_class_falls_back_to_confidence():
    """The fold with that label would have one class to train on."""
    X, y = load_iris(return_X_y=True)
    X, y = X[:100], y[:100]
    partly = np.full(100, -1)
    partly[:7], partly[99] = 0, 1
    with pytest.warns(UserWarning, match="Every class but one has a single labeled row"):
        model = SelfTrainingWithMetaErr(LogisticRegression()).fit(X, partly)
    assert model.error_model_ is None
    assert model.score(X, y) > 0.9


def test_few_labels_take_fewer_folds_silently(spied):
    X, partly, y = spied
    partly[:] = -1
    rows = np.concatenate([np.flatnonzero(y == label)[:3] for label in range(3)])
    partly[rows] = y[rows]
    SelfTrainingWithMetaErr(Spy(), criterion="weight", random_state=0).fit(X, partly)
    assert len(Spy.log) == 1 + 3 + 1 + 1
    partly[rows[:2]] = -1
    with pytest.warns(UserWarning, match="has 1 row, fewer than the 5 folds. No class"):
        SelfTrainingWithMetaErr(Spy(), random_state=0).fit(X, partly)


def test_nets_learn_from_images_with_string_labels(digits_with_few_labels):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(
                torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten()
            )
            self.head = torch.nn.Linear(8 * 36, 10)

        def forward(self, X):
            return self.head(self.body(X))

    net = skorch.NeuralNetClassifier(
        Net,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=5,
        batch_size=32,
        train_split=None,
        verbose=0,
    )
    X, partly, X_test, y_test = digits_with_few_labels
    names = np.array([f"digit {label}" for label in range(10)], dtype=object)
    labels = names[partly[:400]]
    labels[partly[:400] < 0] = None
    images, test_images = X[:400].reshape(-1, 1, 8, 8), X_test.reshape(-1, 1, 8, 8)
    state = torch.get_rng_state()
    model = SelfTrainingWithMetaErr(net, cv=2, unlabeled=None, random_state=0)
    model.fit(images, labels)
    assert (torch.get_rng_state() == state).all()
    assert model.score(test_images, names[y_test]) > 0.75
    assert isinstance(model.error_model_.embedding_, NetEmbedding)
    assert model.predict_error_proba(test_images).shape == (len(y_test),)
    again = SelfTrainingWithMetaErr(net, cv=2, unlabeled=None, random_state=0)
    assert_array_equal(again.fit(images, labels).transduction_, model.transduction_)
    assert_allclose(again.predict_proba(test_images), model.predict_proba(test_images), atol=1e-5)


def test_a_pipeline_may_end_in_a_net(digits_with_few_labels):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNetClassifier(
        torch.nn.Linear(64, 10),
        criterion=torch.nn.CrossEntropyLoss,
        lr=0.5,
        max_epochs=5,
        train_split=None,
        verbose=0,
    )
    X, partly, X_test, y_test = digits_with_few_labels
    X, X_test = X.astype(np.float32), X_test.astype(np.float32)
    model = SelfTrainingWithMetaErr(make_pipeline(StandardScaler(), net), cv=2, random_state=0)
    model.fit(X, partly)
    assert model.score(X_test, y_test) > 0.75
    assert isinstance(model.error_model_.embedding_, NetEmbedding)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_labels_of_nets_are_certain_under_random_dropout_masks(digits_with_few_labels, dropout):
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    module = torch.nn.Sequential(
        torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Dropout(dropout), torch.nn.Linear(32, 10)
    )
    net = skorch.NeuralNetClassifier(
        module,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=30,
        train_split=None,
        verbose=0,
    )
    X, partly, X_test, y_test = digits_with_few_labels
    model = SelfTrainingWithMetaErr(net, cv=2, random_state=0).fit(X.astype(np.float32), partly)
    assert model.criterion_ == "certain"
    assert model.n_iter_ == 3
    assert model.score(X_test.astype(np.float32), y_test) > 0.75
    assert model.error_model_.embedding_.model is model.estimator_
    rows = X[100:].astype(np.float32)
    predicted = model.estimator_.predict(rows)
    certain = is_certain(model.estimator_, rows, predicted, seed=0)
    if not dropout:
        assert certain is None
        return
    from metaerr_sklearn.neural import mc_dropout_proba

    passes = mc_dropout_proba(
        model.estimator_, rows, n_passes=8, return_passes=True, random_state=0
    )[1]
    for row in (0, 1, 2, 3, 50, 500):
        own = passes[:, row, predicted[row]]
        assert certain[row] == (own.mean() >= 0.7 and own.std() <= 0.05)
    assert 0 < certain.sum() < len(certain)


@pytest.mark.parametrize("criterion", ["certain", "consensus", "threshold"])
def test_an_interrupted_fit_resumes_with_a_memory(criterion, tmp_path):
    X, partly, _ = partly_labeled()
    X_test = partly_labeled(50)[0]
    InterruptedTree.n_fits, InterruptedTree.at = 0, None
    expected = SelfTrainingWithMetaErr(InterruptedTree(), criterion=criterion, random_state=0)
    expected.fit(X, partly)
    n_fits, InterruptedTree.n_fits = InterruptedTree.n_fits, 0
    model = clone(expected).set_params(memory=tmp_path)
    InterruptedTree.at = n_fits - 2
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, partly)
    assert not hasattr(model, "estimator_")
    InterruptedTree.n_fits, InterruptedTree.at = 0, None
    model.fit(X, partly)
    assert InterruptedTree.n_fits == 2
    assert_array_equal(model.transduction_, expected.transduction_)
    assert_array_equal(model.predict_error_proba(X_test), expected.predict_error_proba(X_test))
    InterruptedTree.n_fits = 0
    again = clone(model).set_params(random_state=None).fit(X, partly)
    assert InterruptedTree.n_fits == 0
    assert again.n_base_fits_ == model.n_base_fits_ == n_fits


class InterruptedTree(DecisionTreeClassifier):
    """Count the fits in this process, and be interrupted before one of them."""

    n_fits, at = 0, None

    def fit(self, X, y, sample_weight=None):
        if InterruptedTree.n_fits == InterruptedTree.at:
            raise KeyboardInterrupt
        InterruptedTree.n_fits += 1
        return super().fit(X, y, sample_weight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "least_gain"),
    [(RandomForestClassifier(50), 0.03), (LogisticRegression(max_iter=500), 0.005)],
)
def test_unlabeled_rows_help(base, least_gain):
    """Measured with 100 labels: forests gain 5.6 points, logistic models 1.8."""
    X, y = load_digits(return_X_y=True)
    gains = []
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(y))
        rows, test = order[:900], order[900:]
        partly = y[rows].copy()
        partly[100:] = -1
        model = SelfTrainingWithMetaErr(base, random_state=seed).fit(X[rows] / 16, partly)
        alone = clone(base)
        if "random_state" in alone.get_params():
            alone.set_params(random_state=seed)
        alone.fit(X[rows[:100]] / 16, y[rows[:100]])
        gains.append(model.score(X[test] / 16, y[test]) - alone.score(X[test] / 16, y[test]))
    assert np.mean(gains) > least_gain
    assert min(gains) > -0.02


def test_net_over_rows_without_a_representation():
    torch, skorch = pytest.importorskip("torch"), pytest.importorskip("skorch")
    from skorch.helper import SliceDict

    class TwoInputs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, a, b):
            return self.linear(torch.cat([a, b], 1))

    X = np.random.default_rng(0).normal(size=(240, 3)).astype(np.float32)
    partly = np.where(np.arange(240) < 80, X[:, 0] > 0, -1)
    net = skorch.NeuralNetClassifier(
        TwoInputs,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=20,
        lr=0.5,
        verbose=0,
        train_split=None,
    )
    rows = SliceDict(a=X[:, :2], b=X[:, 2:])
    with pytest.warns(UserWarning, match="without neighbours and second opinion"):
        model = SelfTrainingWithMetaErr(net, random_state=0).fit(rows, partly)
    assert model.criterion_ == "certain"
    assert model.error_model_.opinions_ == ["base"]
    assert np.mean(model.predict(rows) == (X[:, 0] > 0)) > 0.85


@pytest.mark.parametrize("meta_learner", ["auto", None])
@pytest.mark.parametrize("criterion", ["threshold", "k_best"])
def test_class_prior_limits_all_rounds_together(criterion, meta_learner):
    """A later round adds no row of a full class, but still adds rows of other classes."""
    X, partly, _ = partly_labeled(seed=1, n_samples=400, n_labeled=60)
    prior = np.array([0.1, 0.1, 0.8])
    model = SelfTrainingWithMetaErr(
        LogisticRegression(),
        meta_learner,
        criterion=criterion,
        threshold=0.6,
        k_best=20,
        max_iter=None,
        class_prior=prior,
        random_state=0,
    ).fit(X, partly)
    counts = np.bincount(model.transduction_[model.labeled_iter_ > 0], minlength=3)
    assert (counts <= np.ceil(prior * 340)).all()
    if criterion == "k_best":
        first = model.labeled_iter_ == 1
        assert first.sum() == 20
        assert_array_equal(np.bincount(model.transduction_[first]), [2, 2, 16])


def test_labeled_prior_counts_by_weight():
    X, partly, _ = partly_labeled(seed=1)
    weight = np.ones(len(partly))
    weight[np.flatnonzero(partly == 2)[3:]] = 0
    share = np.bincount(partly[(partly >= 0) & (weight > 0)])
    params = {"criterion": "threshold", "threshold": 0.6, "random_state": 0}
    named, given = (
        SelfTrainingWithMetaErr(LogisticRegression(), class_prior=prior, **params).fit(
            X, partly, sample_weight=weight
        )
        for prior in ("labeled", share / share.sum())
    )
    assert_array_equal(named.transduction_, given.transduction_)


def test_resampling_keeps_each_label_for_all_weights_of_unlabeled_rows():
    """For a base without sample_weight; labels of equal weight appear once each."""
    X, partly, _ = partly_labeled(seed=1, n_samples=400, n_labeled=60)
    alone = KNeighborsClassifier().fit(X[:60], partly[:60])
    for ratio in (1, 10, 1000):
        weight = np.where(partly < 0, float(ratio), 1.0)
        model = SelfTrainingWithMetaErr(KNeighborsClassifier(), max_iter=0, random_state=0)
        model.fit(X, partly, sample_weight=weight)
        assert_array_equal(model.predict_proba(X), alone.predict_proba(X))


def test_splits_that_separate_duplicates_warn():
    rng = np.random.default_rng(0)
    labeled = np.tile(rng.normal(size=(60, 5)), (2, 1))
    X = np.vstack([labeled, rng.normal(size=(100, 5))])
    partly = np.where(np.arange(220) < 120, X[:, 0] > 0, -1)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    model = SelfTrainingWithMetaErr(GaussianNB(), cv=folds, random_state=0)
    with pytest.warns(UserWarning, match="rows that have a duplicate in training"):
        model.fit(X, partly)
    assert model.duplicates_.n_rows == 120
    assert not model.duplicates_.kept_together
    model.set_params(cv=5)
    with pytest.warns(UserWarning, match=r"120 of the 120 rows of X have duplicates") as log:
        model.fit(X, partly)
    assert len(log) == 1
    assert model.duplicates_.kept_together
    assert model.fit(X, partly, groups=np.arange(220)).duplicates_ is None
