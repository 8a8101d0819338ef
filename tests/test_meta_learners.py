"""Learners start from the offset, choose how much to correct, and may correct nothing."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

from metaerr_sklearn import (
    AverageMetaLearner,
    ConfidenceMetaLearner,
    ErrorModel,
    LightGBMMetaLearner,
    LogisticMetaLearner,
    MetaErrorClassifier,
    MLPMetaLearner,
)
from metaerr_sklearn._utils.probabilities import log_loss_of_logits
from metaerr_sklearn.meta_learners import ClassifierMetaLearner
from metaerr_sklearn.meta_learners._base import choose_amounts
from metaerr_sklearn.meta_learners._logistic import _fit_ridge

LEARNERS = [
    LogisticMetaLearner(),
    LightGBMMetaLearner(),
    MLPMetaLearner(),
    AverageMetaLearner([LightGBMMetaLearner(), LogisticMetaLearner()]),
]
EACH_LEARNER = pytest.mark.parametrize(
    "learner",
    [
        pytest.param(v, marks=[pytest.mark.torch] if isinstance(v, MLPMetaLearner) else [])
        for v in LEARNERS
    ],
    ids=lambda v: type(v).__name__,
)


@pytest.fixture
def problem():
    """Errors that depend on the offset and on the first meta-feature."""
    rng = np.random.default_rng(0)
    Z, offset = rng.normal(size=(800, 5)), rng.normal(-1, 1, size=800)
    is_error = rng.random(800) < expit(offset + 2 * Z[:, 0])
    return Z, is_error, offset


def make_folds(is_error):
    return list(StratifiedKFold(5, shuffle=True, random_state=0).split(is_error, is_error))


def fit(learner, problem, **kwargs):
    Z, is_error, offset = problem
    return clone(learner).fit(Z, is_error, offset, folds=make_folds(is_error), **kwargs)


@EACH_LEARNER
def test_learner_finds_what_the_offset_misses(learner, problem):
    Z, is_error, offset = problem
    fitted = fit(learner, problem)
    before = log_loss_of_logits(is_error, offset)
    assert log_loss_of_logits(is_error, fitted.oof_logit_) < before - 0.08
    assert log_loss_of_logits(is_error, fitted.decision_function(Z, offset)) < before - 0.08


@pytest.mark.parametrize("n_estimators", [1, 4, 7])
def test_few_rounds_are_as_many_as_requested(problem, n_estimators):
    fitted = fit(LightGBMMetaLearner(n_estimators=n_estimators), problem)
    assert fitted.n_rounds_ == n_estimators


@EACH_LEARNER
def test_noise_is_hardly_worse_than_the_offset(learner):
    losses = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        offset = rng.normal(-1, 1.5, size=5400)
        Z, is_error = rng.normal(size=(5400, 10)), rng.random(5400) < expit(offset)
        fitted = fit(learner, (Z[:400], is_error[:400], offset[:400]))
        new = fitted.decision_function(Z[400:], offset[400:])
        logits = [fitted.oof_logit_, offset[:400], new, offset[400:]]
        errors = [is_error[:400]] * 2 + [is_error[400:]] * 2
        losses.append([log_loss_of_logits(*pair) for pair in zip(errors, logits)])
    oof, oof_offset, new, new_offset = np.mean(losses, axis=0)
    assert oof < oof_offset + 0.003
    assert new < new_offset + 0.006


@EACH_LEARNER
def test_zero_correction_is_the_offset_itself(learner):
    rng = np.random.default_rng(0)
    offset = rng.normal(size=200)
    # The halves of the rows contradict each other: any correction is wrong.
    Z = np.ones((200, 1)) * np.arange(200)[:, None] % 2
    is_error = np.r_[Z[:100, 0] == 1, Z[100:, 0] == 0]
    folds = [(np.arange(100), np.arange(100, 200)), (np.arange(100, 200), np.arange(100))]
    fitted = clone(learner).fit(Z, is_error, np.zeros(200), folds=folds)
    assert_array_equal(fitted.oof_logit_, 0)
    assert_allclose(fitted.decision_function(Z, offset), offset)


def test_out_of_fold_logits_ignore_the_row_itself(problem):
    """Red if a row's own error reaches its logit: flipping some must change none of theirs."""
    Z, is_error, offset = problem
    folds = make_folds(is_error)
    learner = LogisticMetaLearner(alphas=(10,))
    before = clone(learner).fit(Z, is_error, offset, folds=folds).oof_logit_
    test = folds[0][1][:5]
    flipped = is_error.copy()
    flipped[test] = ~flipped[test]
    after = clone(learner).fit(Z, flipped, offset, folds=folds).oof_logit_
    assert_allclose(after[test], before[test])


def test_ridge_without_offset_equals_scikit_learn(problem):
    Z, is_error, _ = problem
    beta = _fit_ridge(Z, is_error, np.zeros(800), np.ones(800), 10.0, np.zeros(6))
    reference = LogisticRegression(C=0.1, tol=1e-8).fit(Z, is_error)
    assert_allclose(beta[1:], reference.coef_[0], rtol=1e-3)
    assert_allclose(beta[0], reference.intercept_[0], rtol=1e-3)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_row_gets_the_same_to_the_last_bit_whatever_lies_beside(order, problem):
    Z, _, offset = problem
    fitted, Z = fit(LogisticMetaLearner(), problem), np.asarray(Z, order=order)
    assert np.isfinite(fitted.alpha_)
    together = fitted.decision_function(Z, offset)
    for n_rows in (1, 2, 3, 5, 7, 13):
        parts = [slice(start, start + n_rows) for start in range(0, len(Z), n_rows)]
        apart = [fitted.decision_function(Z[part], offset[part]) for part in parts]
        assert_array_equal(np.concatenate(apart), together)


def test_weight_two_is_the_row_twice(problem):
    Z, is_error, offset = problem
    weight = 1.0 + (np.arange(800) < 300)
    again = np.r_[np.arange(800), np.arange(300)]
    folds = make_folds(is_error)
    fold_of = np.empty(800, dtype=int)
    for number, (_, test) in enumerate(folds):
        fold_of[test] = number
    repeated = [
        (np.flatnonzero(fold_of[again] != k), np.flatnonzero(fold_of[again] == k)) for k in range(5)
    ]
    weighted = LogisticMetaLearner().fit(Z, is_error, offset, folds=folds, sample_weight=weight)
    twice = LogisticMetaLearner().fit(Z[again], is_error[again], offset[again], folds=repeated)
    assert weighted.alpha_ == twice.alpha_
    assert_allclose(weighted.coef_, twice.coef_, rtol=1e-4)


def test_input_block_is_for_trees_only(problem):
    Z, _, offset = problem
    is_for_trees = np.arange(5) == 4
    logistic = fit(LogisticMetaLearner(), problem, is_for_trees=is_for_trees)
    assert logistic.coef_.shape == (4,)
    changed = Z.copy()
    changed[:, 4] += 100
    assert_array_equal(
        logistic.decision_function(Z, offset), logistic.decision_function(changed, offset)
    )
    average = fit(LEARNERS[3], problem, is_for_trees=is_for_trees)
    assert average.learners_[0].booster_.num_feature() == 5
    assert average.learners_[1].coef_.shape == (4,)


@EACH_LEARNER
def test_missing_meta_features_are_taken(learner, problem):
    Z, is_error, offset = problem
    Z = np.where(np.random.default_rng(0).random(Z.shape) < 0.1, np.nan, Z)
    before = log_loss_of_logits(is_error, offset)
    fitted = fit(learner, (Z, is_error, offset))
    assert log_loss_of_logits(is_error, fitted.oof_logit_) < before - 0.05
    assert log_loss_of_logits(is_error, fitted.decision_function(Z, offset)) < before - 0.05


@EACH_LEARNER
def test_seed_decides_and_pickle_keeps(learner, problem):
    Z, _, offset = problem
    first, second = fit(learner, problem, seed=3), fit(learner, problem, seed=3)
    assert_array_equal(first.decision_function(Z, offset), second.decision_function(Z, offset))
    copy = pickle.loads(pickle.dumps(first))
    assert_array_equal(copy.decision_function(Z, offset), first.decision_function(Z, offset))


def test_any_classifier_sees_the_offset_as_a_column(problem):
    Z, _, offset = problem
    learner = fit(ClassifierMetaLearner(LogisticRegression()), problem)
    assert learner.estimator_.n_features_in_ == 6
    assert learner.estimator_.coef_[0, -1] > 0.5
    weighted = fit(
        ClassifierMetaLearner(LogisticRegression()), problem, sample_weight=np.linspace(0, 2, 800)
    )
    assert not np.allclose(
        weighted.decision_function(Z, offset), learner.decision_function(Z, offset)
    )


def test_confidence_corrects_nothing(problem):
    Z, _, offset = problem
    assert_array_equal(fit(ConfidenceMetaLearner(), problem).decision_function(Z, offset), offset)


def test_boosted_trees_have_fewer_rounds_of_larger_steps(problem):
    default = fit(LightGBMMetaLearner(), problem)
    assert_array_equal(default.oof_logit_, fit(LightGBMMetaLearner(60, 0.1), problem).oof_logit_)
    slow = fit(LightGBMMetaLearner(learning_rate=0.05), problem)
    assert_array_equal(slow.oof_logit_, fit(LightGBMMetaLearner(120, 0.05), problem).oof_logit_)


def test_folds_side_by_side_are_folds_one_after_the_other(problem):
    one, two = (fit(LightGBMMetaLearner(n_jobs=n), problem) for n in (1, 2))
    assert_array_equal(one.oof_logit_, two.oof_logit_)


@pytest.mark.torch
@pytest.mark.parametrize("extreme", [{"learning_rate": 1e4}, {"weight_decay": 1e6}])
def test_a_net_that_diverges_corrects_nothing(extreme, problem):
    Z, is_error, offset = problem
    folds = list(StratifiedKFold(5).split(Z, is_error))
    learner = MLPMetaLearner(**extreme)
    with np.errstate(all="ignore"):
        learner.fit(Z, is_error, offset, folds=folds)
    assert learner.n_epochs_ == 0
    assert_array_equal(learner.decision_function(Z, offset), offset)


@pytest.mark.parametrize("takes_weights", [True, False])
def test_weights_reach_the_classifier_or_a_warning_names_it(takes_weights):
    """Also one inside a search, whose own fit does not name them."""
    rng = np.random.default_rng(0)
    X, proba = rng.normal(size=(1000, 3)), np.tile([0.6, 0.4], (1000, 1))
    y = rng.integers(2, size=1000)
    weight = np.where(y == 0, 9.0, 1.0)
    learner = KNeighborsClassifier(100)
    if takes_weights:
        learner = GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=2)
        error_proba = ErrorModel(learner, random_state=0).fit(X, y, proba, sample_weight=weight)
        assert abs(error_proba.predict_error_proba(X, proba).mean() - 0.1) < 0.02
        return
    with pytest.warns(UserWarning, match="fit of KNeighborsClassifier, the meta-learner, takes no"):
        ErrorModel(learner, random_state=0).fit(X, y, proba, sample_weight=weight)


@pytest.mark.parametrize(
    ("learner", "error", "message"),
    [
        (LightGBMMetaLearner(n_estimators=0), ValueError, "n_estimators of Light.*== 0, must be"),
        (LightGBMMetaLearner(n_estimators=9.5), TypeError, "n_estimators of .* instance of int"),
        (LightGBMMetaLearner(learning_rate=0), ValueError, "learning_rate of .* must be > 0"),
        (LightGBMMetaLearner(num_leaves=1), ValueError, "num_leaves of .*== 1, must be >= 2"),
        (LightGBMMetaLearner(max_depth=2.5), TypeError, "max_depth of .* instance of int"),
        (LightGBMMetaLearner(min_child_samples=-1), ValueError, "min_child_samples of .* >= 0"),
        (LightGBMMetaLearner(reg_lambda=-1), ValueError, "reg_lambda of .* must be >= 0"),
        (LightGBMMetaLearner(colsample_bytree=0), ValueError, "colsample_bytree of .* > 0"),
        (LightGBMMetaLearner(subsample=2), ValueError, "subsample of .*== 2, must be <= 1"),
        (LogisticMetaLearner(()), ValueError, r"alphas of .* at least one number.*got \(\)"),
        (LogisticMetaLearner(3.0), ValueError, "alphas of .* must be a sequence.*got 3.0"),
        (LogisticMetaLearner([1, -1]), ValueError, r"each above 0, got \[1, -1\]"),
        (MLPMetaLearner(hidden_size=0), ValueError, "hidden_size of MLPMetaLearner == 0"),
        (MLPMetaLearner(dropout=1), ValueError, "dropout of .*== 1, must be < 1"),
        (MLPMetaLearner(learning_rate=-1), ValueError, "learning_rate of .* must be > 0"),
        (MLPMetaLearner(weight_decay=-1), ValueError, "weight_decay of .* must be >= 0"),
        (MLPMetaLearner(max_epochs=0), ValueError, "max_epochs of .*== 0, must be >= 1"),
        (AverageMetaLearner([]), ValueError, r"list of at least one meta-learner.*got \[\]"),
        (AverageMetaLearner([3]), ValueError, r"list of at least one meta-learner.*got \[3\]"),
        (AverageMetaLearner([LEARNERS[-1]]), ValueError, "other than AverageMetaLearner"),
        (
            AverageMetaLearner([ClassifierMetaLearner(GaussianNB())]),
            ValueError,
            "other than AverageMetaLearner and ClassifierMetaLearner",
        ),
        (AverageMetaLearner([MLPMetaLearner(0)]), ValueError, "hidden_size of MLPMetaLearner"),
    ],
)
def test_parameters_are_refused_before_any_fit(learner, error, message, problem):
    class NeverFitted(LogisticRegression):
        def fit(self, X, y):
            raise AssertionError("the base was fitted")

    X, y, _ = problem
    with pytest.raises(error, match=message):
        MetaErrorClassifier(NeverFitted(), meta_learner=learner).fit(X, y)
    with pytest.raises(error, match=message):
        fit(learner, problem)


class Odd(LogisticRegression):
    """Return no probabilities: always, or for rows whose first meta-feature is large."""

    def __init__(self, output=None):
        super().__init__()
        self.output = output

    def predict_proba(self, X):
        return self.output(super().predict_proba(X), X)


class LabelsAlone(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.zeros(len(X), dtype=int)


def _twice(proba, X):
    return 2 * proba


def _nan(proba, X):
    return np.full(proba.shape, np.nan)


def _one_column(proba, X):
    return proba[:, 1:]


def _nan_in_some_rows(proba, X):
    return np.where(X[:, :1] > 2, np.nan, proba)


@pytest.mark.parametrize(
    ("learner", "cause"),
    [
        (Odd(_twice), "predict_proba of Odd must be class probabilities: .* sums to 2"),
        (Odd(_nan), "Row 0 sums to nan"),
        (Odd(_one_column), r"predict_proba of Odd has shape \(\d+, 1\)"),
        (LabelsAlone(), "LabelsAlone has neither predict_proba nor decision_function"),
    ],
)
def test_odd_output_of_a_classifier_falls_back_to_calibrated_confidence(learner, cause, noisy_data):
    X, y = noisy_data
    options = {"meta_features": ["confidence", "neighbors"], "random_state": 0}
    clf = MetaErrorClassifier(GaussianNB(), learner, **options)
    with pytest.warns(UserWarning, match=cause) as log:
        clf.fit(X, y)
    assert len(log) == 1
    assert "base" not in clf.fallback_reason_
    assert clf.error_model_.meta_learner_ is None
    expected = MetaErrorClassifier(GaussianNB(), "confidence", **options).fit(X, y)
    assert_array_equal(clf.oof_error_proba_, expected.oof_error_proba_)
    assert_array_equal(clf.predict_error_proba(X), expected.predict_error_proba(X))
    clf.explain_error(X[:3])


def test_new_rows_with_odd_output_get_calibrated_confidence(noisy_data):
    """The other rows of the same call keep the output of the learner."""
    X, y = noisy_data
    proba = GaussianNB().fit(X, y).predict_proba(X)

    def fit(learner):
        model = ErrorModel(learner, meta_features="input", random_state=0)
        return model.fit(np.clip(X, None, 2), y, proba)

    odd, plain = fit(Odd(_nan_in_some_rows)), fit(LogisticRegression())
    is_odd = X[:, 0] > 2
    assert 0 < is_odd.sum() < len(X) / 2
    with pytest.warns(UserWarning, match=f"no probabilities for {is_odd.sum()} of 400 rows"):
        error_proba = odd.predict_error_proba(X, proba)
    assert_allclose(error_proba[~is_odd], plain.predict_error_proba(X, proba)[~is_odd])
    expected = fit("confidence").predict_error_proba(X, proba)
    assert_allclose(error_proba[is_odd], expected[is_odd])


class Untagged(BaseEstimator):
    def fit(self, X, y):
        self.model_ = LogisticRegression().fit(X, y)
        return self

    def predict(self, X):
        return self.model_.predict(X)

    def predict_proba(self, X):
        return self.model_.predict_proba(X)


def test_a_classifier_without_tag_may_learn_errors(noisy_data):
    X, y = noisy_data
    proba = GaussianNB().fit(X, y).predict_proba(X)
    untagged, plain = (
        ErrorModel(learner, meta_features="confidence", random_state=0).fit(X, y, proba)
        for learner in (Untagged(), LogisticRegression())
    )
    assert_array_equal(untagged.oof_error_proba_, plain.oof_error_proba_)
    assert untagged.fallback_reason_ is None


def noisy_paths(rng, n_samples, strength):
    """Errors of probability 1/2, an offset of 0, and corrections that know nothing of them."""
    is_error, correction = rng.random(n_samples) < 0.5, rng.normal(size=n_samples)
    path = np.stack([0 * correction, strength / 2 * correction, strength * correction])
    return [path], is_error


def test_corrections_that_agree_by_chance_are_not_used():
    """Red if the smallest loss alone decides: half of all random corrections lower it a little."""
    rng = np.random.default_rng(0)
    used, lower = 0, 0
    for _ in range(400):
        paths, is_error = noisy_paths(rng, 300, 0.05)
        folds = make_folds(is_error)
        amounts, _ = choose_amounts(paths, is_error, folds)
        used += amounts != [0]
        lower += log_loss_of_logits(is_error, paths[0]).argmin() > 0
    assert lower > 150
    assert used <= 8


def test_rows_of_a_group_are_one_piece_of_evidence():
    """A hundred copies of a row prove no more than the row."""
    rng = np.random.default_rng(3)
    correction = rng.normal(size=30)
    is_error = rng.random(30) < expit(0.6 * correction)
    path = np.stack([np.zeros(30), 0.6 * correction])
    again, groups = np.tile(np.arange(30), 100), np.tile(np.arange(30), 100)
    folds = [(np.flatnonzero(again % 5 != k), np.flatnonzero(again % 5 == k)) for k in range(5)]
    options = [path[:, again]], is_error[again], folds
    assert choose_amounts(*options)[0] == [1]
    assert choose_amounts(*options, groups=groups)[0] == [0]


def test_strength_for_a_row_does_not_depend_on_its_own_fold():
    rng = np.random.default_rng(0)
    paths, is_error = noisy_paths(rng, 300, 1.0)
    is_error[:240] = rng.random(240) < expit(paths[0][-1, :240])
    folds = make_folds(is_error)
    _, oof = choose_amounts(paths, is_error, folds)
    assert (oof != 0).any()
    for _, test in folds:
        flipped = is_error.copy()
        flipped[test] ^= True
        assert_array_equal(choose_amounts(paths, flipped, folds)[1][test], oof[test])


class Recorder(LogisticMetaLearner):
    """Keep the meta-features of each fold."""

    def fit(self, Z, is_error, offset, **options):
        self.recorded_ = Z, options["Z_folds"], options["folds"]
        return super().fit(Z, is_error, offset, **options)


def test_meta_features_of_a_fold_do_not_depend_on_labels_of_its_test_rows():
    """Red if all folds have the same columns. Other wrong classes leave the folds as they are."""
    rng = np.random.default_rng(0)
    X, y, proba = rng.normal(size=(300, 3)), rng.integers(4, size=300), rng.dirichlet([1] * 4, 300)
    pred = proba.argmax(axis=1)
    model = ErrorModel(Recorder(), meta_features=["confidence", "neighbors"], random_state=0)

    def record(y):
        return model.fit(X, y, proba).meta_learner_.recorded_

    Z, Z_folds, folds = record(y)
    for number, (train, test) in enumerate(folds):
        wrong = test[(y != pred)[test]]
        other = y.copy()
        other[wrong] = (y[wrong] + 1) % 4
        other[wrong] = np.where(other[wrong] == pred[wrong], (y[wrong] + 2) % 4, other[wrong])
        changed, changed_folds, same = record(other)
        for part, same_part in zip(folds, same):
            assert_array_equal(part[1], same_part[1])
        assert_array_equal(changed_folds[number], Z_folds[number])
        assert (changed[train] != Z[train]).any()


@pytest.mark.parametrize("meta_features", ["confidence", "input"])
def test_probabilities_of_a_classifier_are_calibrated(meta_features):
    """With class_weight="balanced", errors seem to be as frequent as right predictions."""
    X, y = make_classification(3000, 5, n_informative=4, n_redundant=0, random_state=0)
    options = {"meta_features": meta_features, "random_state": 0}
    learner = LogisticRegression(class_weight="balanced")
    clf = MetaErrorClassifier(GaussianNB(), learner, **options).fit(X[:1500], y[:1500])
    rate = clf.oof_error_rate_
    assert rate < 0.3
    assert_allclose(clf.oof_error_proba_.mean(), rate, atol=0.01)
    low, high = clf.estimate_accuracy(X[1500:])[1:3]
    assert low <= clf.score(X[1500:], y[1500:]) <= high
