"""Weights, groups and other arguments of fit: who receives them, with and without routing."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from _bases import partly_labeled
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.inspection import fit_param

pytestmark = pytest.mark.usefixtures("small_second_opinion")

META = partial(
    MetaErrorClassifier, meta_learner="logistic", meta_features="confidence", cv=3, random_state=0
)
SELF = partial(SelfTrainingWithMetaErr, random_state=0)
SELECTIVE = partial(SelectiveClassifier, target_coverage=0.8, random_state=0)


class Spy(ClassifierMixin, BaseEstimator):
    """Log the arguments of each fit; the first column of X is the number of the row."""

    log = []  # noqa: RUF012 (one list for all clones)

    def fit(self, X, y, sample_weight=None, note=None, per_row=None, groups=None):
        ids = X[:, 0].astype(int)
        Spy.log.append(
            {
                "ids": ids,
                "weight": sample_weight,
                "note": note,
                "per_row": per_row,
                "groups": groups,
            }
        )
        self.model_ = GaussianNB().fit(X[:, 1:], y, sample_weight)
        self.classes_ = self.model_.classes_
        return self

    def predict(self, X, shift=None):
        self.shift_ = shift
        return self.model_.predict(X[:, 1:])

    def predict_proba(self, X):
        return self.model_.predict_proba(X[:, 1:])


class Oversampler(BaseEstimator):
    """Repeat each row, as a sampler of imbalanced-learn does, in fit alone."""

    def fit_resample(self, X, y):
        return np.repeat(X, 2, axis=0), np.repeat(y, 2)


class SamplingPipeline(Pipeline):
    """Stands for the Pipeline of imbalanced-learn."""

    def fit(self, X, y, **params):
        X, y = self.steps[0][1].fit_resample(X, y)
        last = self.steps[-1][1]
        last.fit(X, y, **{name.partition("__")[2]: value for name, value in params.items()})
        return self

    def predict(self, X):
        return self.steps[-1][1].predict(X)

    def score(self, X, y):
        return self.steps[-1][1].score(X, y)

    def predict_proba(self, X):
        return self.steps[-1][1].predict_proba(X)

    @property
    def classes_(self):
        return self.steps[-1][1].classes_


@pytest.fixture
def data():
    Spy.log = []
    X, y = make_classification(200, 5, n_informative=4, n_redundant=0, random_state=0)
    return np.column_stack([np.arange(len(X)), X]), y, partly_labeled(y, 90)


def sampled(last):
    return SamplingPipeline([("sampler", Oversampler()), ("last", last)])


@pytest.mark.parametrize(
    ("base", "name"),
    [
        (LogisticRegression(), "sample_weight"),
        (LinearDiscriminantAnalysis(), None),
        (make_pipeline(StandardScaler(), GaussianNB()), "gaussiannb__sample_weight"),
        (sampled(GaussianNB()), None),
        (make_pipeline(StandardScaler(), sampled(GaussianNB())), None),
        (GridSearchCV(sampled(GaussianNB()), {}), None),
        (make_pipeline(GridSearchCV(GaussianNB(), {})), "gridsearchcv__sample_weight"),
        (
            VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
            "sample_weight",
        ),
        (
            VotingClassifier(
                [("a", GaussianNB()), ("b", LinearDiscriminantAnalysis())], voting="soft"
            ),
            None,
        ),
        (CalibratedClassifierCV(GaussianNB(), cv=3), "sample_weight"),
        (CalibratedClassifierCV(make_pipeline(GaussianNB()), cv=3), None),
        (StackingClassifier([("a", GaussianNB())]), "sample_weight"),
        (StackingClassifier([("a", GaussianNB())], LinearDiscriminantAnalysis()), None),
    ],
)
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_one_rule_decides_who_takes_weights(base, name, data):
    assert fit_param(base, "sample_weight") == name
    X, y, partly = data
    weight = np.linspace(0.5, 1.5, len(y))
    for make, labels in ((META, y), (SELECTIVE, y), (SELF, partly)):
        model = make(clone(base))
        if name is None and make is not SELF:
            with pytest.warns(UserWarning, match="takes no sample_weight: the weights are"):
                model.fit(X, labels, sample_weight=weight)
        else:
            model.fit(X, labels, sample_weight=weight)
        assert len(model.predict(X)) == len(X)


def test_weights_reach_the_last_step_of_a_pipeline(data):
    X, y, _ = data
    weight = np.linspace(0.5, 1.5, len(y))
    for make in (META, SELECTIVE):
        Spy.log = []
        make(make_pipeline("passthrough", Spy())).fit(X, y, sample_weight=weight)
        for fit in Spy.log:
            assert_array_equal(fit["weight"], weight[fit["ids"]])


@pytest.mark.parametrize("criterion", ["consensus", "weight", "threshold", "k_best", "certain"])
def test_rows_are_resampled_by_weight_before_a_step_that_resamples(criterion, data):
    X, y, partly = data
    model = SELF(sampled(Spy()), criterion=criterion).fit(X, partly)
    assert model.score(X, y) > 0.6
    assert all(fit["weight"] is None for fit in Spy.log)
    if criterion == "weight":
        # After the final fit, one more measures the level of the error probabilities.
        drawn = np.bincount(Spy.log[-2]["ids"], minlength=len(X)) / 2
        assert_array_equal(drawn[partly >= 0], 1)
        expected = 0.5 * np.sum(1 - model.pseudo_error_proba_[partly < 0])
        assert_allclose(drawn[partly < 0].sum(), expected, atol=1)


def test_a_warning_names_the_step_that_resamples(data):
    X, y, _ = data
    with pytest.warns(UserWarning, match="A step of the SamplingPipeline resamples the rows"):
        META(sampled(GaussianNB())).fit(X, y, sample_weight=np.ones(len(y)))


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("criterion", ["consensus", "threshold"])
@pytest.mark.parametrize("wrap", [lambda base: base, partial(make_pipeline, "passthrough")])
def test_self_training_passes_fit_params_to_the_base(wrap, criterion, routing, data):
    """Arguments with a value per row are cut to the rows of each fit."""
    X, y, partly = data
    per_row = np.arange(len(y)) * 10
    with config_context(enable_metadata_routing=routing):
        base = Spy()
        prefix = "" if routing or wrap(base) is base else "spy__"
        if routing:
            base.set_fit_request(note=True, per_row=True)
        model = SELF(wrap(base), criterion=criterion)
        model.fit(X, partly, **{f"{prefix}note": "seen", f"{prefix}per_row": per_row})
    assert len(Spy.log) > 5
    for fit in Spy.log:
        assert fit["note"] == "seen"
        assert_array_equal(fit["per_row"], per_row[fit["ids"]])


def test_routed_weights_reach_every_fit_of_self_training(data):
    X, _, partly = data
    weight = np.linspace(0.5, 1.5, len(X))
    options = {"criterion": "weight", "cv": 3}
    with config_context(enable_metadata_routing=True):
        for base, is_requested in (
            (Spy().set_fit_request(sample_weight=True), True),
            (make_pipeline("passthrough", Spy().set_fit_request(sample_weight=True)), True),
            (Spy().set_fit_request(sample_weight=False), False),
        ):
            Spy.log = []
            model = SELF(base, **options).fit(X, partly, sample_weight=weight)
            factor = weight if is_requested else np.ones(len(X))
            # After the final fit, one more measures the level of the error probabilities.
            *earlier, final, for_level = Spy.log
            for fit in earlier:
                if is_requested:
                    assert_array_equal(fit["weight"], weight[fit["ids"]])
                else:
                    assert fit["weight"] is None
            expected = np.where(partly < 0, 0.5 * (1 - model.pseudo_error_proba_), 1) * factor
            for fit in (final, for_level):
                assert_allclose(fit["weight"], expected[fit["ids"]])
        with pytest.raises(UnsetMetadataPassedError, match="requested for Spy"):
            SELF(Spy()).fit(X, partly, sample_weight=weight)


def test_without_meta_learner_fit_params_need_routing_as_in_scikit_learn(data):
    X, _, partly = data
    with pytest.raises(ValueError, match="only supported if enable_metadata_routing=True"):
        SELF(Spy(), None, criterion="threshold").fit(X, partly, note="seen")


@pytest.mark.filterwarnings(
    "ignore:The argument 'eval_set' is deprecated",
    "ignore:The LGBMClassifier or classes from which it inherits:FutureWarning",
    "ignore:'force_all_finite' was renamed:FutureWarning",
)
def test_a_validation_set_reaches_a_booster_as_it_is(data):
    lightgbm = pytest.importorskip("lightgbm")
    X, y, partly = data
    base = lightgbm.LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1, min_child_samples=5)
    model = SELF(base).fit(
        X[:150],
        partly[:150],
        eval_set=[(X[150:], y[150:])],
        callbacks=[lightgbm.early_stopping(3, verbose=False)],
    )
    assert 0 < model.estimator_.best_iteration_ < 100


class WithValidation(GaussianNB):
    """Record the validation sets of each fit."""

    log = []  # noqa: RUF012 (one list for all clones)

    def fit(self, X, y, eval_set=None, X_val=None):
        WithValidation.log += [eval_set, X_val]
        return super().fit(X, y)


def test_a_validation_set_with_as_many_rows_as_the_training_set_is_not_cut(data):
    X, y, partly = data
    for make, labels in ((META, y), (SELECTIVE, y), (SELF, partly)):
        WithValidation.log = []
        make(WithValidation()).fit(X, labels, eval_set=X, X_val=X)
        assert WithValidation.log
        assert all(len(rows) == len(X) for rows in WithValidation.log)


class RecordingKFold(GroupKFold):
    """Log the metadata of each split."""

    log = []  # noqa: RUF012 (one list for all clones)

    def split(self, X, y=None, groups=None, site=None):
        RecordingKFold.log.append((groups, site))
        return super().split(X, y, groups)


def test_splitters_receive_all_metadata_that_they_request(data):
    X, y, partly = data
    groups, site = np.arange(len(y)) // 4, np.arange(len(y))
    with config_context(enable_metadata_routing=True):
        cv = RecordingKFold(3).set_split_request(site=True)
        for make, labels, rows in ((META, y, y >= 0), (SELF, partly, partly >= 0)):
            RecordingKFold.log = []
            make(GaussianNB(), cv=cv).fit(X, labels, groups=groups, site=site)
            ((seen_groups, seen_site),) = RecordingKFold.log
            assert_array_equal(seen_groups, groups[rows])
            assert_array_equal(seen_site, site[rows])


@pytest.mark.parametrize("cv", [3, 0.3, GroupKFold(3)])
def test_groups_of_labeled_rows_stay_together_in_self_training(cv, data):
    X, _, partly = data
    groups = np.arange(len(X)) % 20
    for routing in (False, True):
        Spy.log = []
        with config_context(enable_metadata_routing=routing):
            base = Spy().set_fit_request(groups=False) if routing else Spy()
            SELF(base, cv=cv, criterion="weight").fit(X, partly, groups=groups)
        labeled = np.flatnonzero(partly >= 0)
        folds = [fit["ids"] for fit in Spy.log if len(fit["ids"]) < len(labeled)]
        assert folds
        for train in folds:
            assert not set(groups[train]) & set(groups[np.setdiff1d(labeled, train)])


def test_groups_reach_a_search_inside(data):
    X, y, partly = data
    groups = np.arange(len(y)) // 4
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, cv=GroupKFold(3))
    for make, labels in ((META, y), (SELECTIVE, y), (SELF, partly)):
        make(search).fit(X, labels, groups=groups)
        make(make_pipeline(StandardScaler(), search)).fit(X, labels, groups=groups)


def scored_on_unlabeled_rows(is_partly):
    """Expect the warning about a score on unlabeled rows, if some labels are missing."""
    expected = pytest.warns(UserWarning, match="-1, the mark of an unlabeled row")
    return expected if is_partly else nullcontext()


@pytest.mark.parametrize(
    ("make", "is_partly"),
    [
        (partial(META, cv=GroupKFold(2)), False),
        (partial(SELF, cv=GroupKFold(2)), True),
        (lambda base: SELECTIVE(META(base, cv=GroupKFold(2))), False),
        (lambda base: META(SELECTIVE(META(base, cv=GroupKFold(2)))), False),
    ],
)
def test_groups_need_no_request_if_a_splitter_inside_requests_them(make, is_partly, data):
    X, y, partly = data
    groups = np.arange(len(y)) // 4
    labels = partly if is_partly else y
    split = {"params": {"groups": groups}, "cv": GroupKFold(2), "error_score": "raise"}
    with scored_on_unlabeled_rows(is_partly):
        plain = cross_validate(make(GaussianNB()), X, labels, groups=groups, **split)
    with config_context(enable_metadata_routing=True), scored_on_unlabeled_rows(is_partly):
        routed = cross_validate(make(GaussianNB()), X, labels, **split)
    assert_array_equal(routed["test_score"], plain["test_score"])


def test_groups_that_nothing_inside_requests_are_no_silent_loss(data):
    X, y, _ = data
    params = {"groups": np.arange(len(y)) // 4}
    with config_context(enable_metadata_routing=True):
        for model in (META(GaussianNB()), META(GaussianNB(), cv=KFold(3)), SELECTIVE(GaussianNB())):
            with pytest.raises(UnsetMetadataPassedError, match=r"groups.*set_fit_request"):
                cross_validate(model, X, y, params=params, cv=GroupKFold(2), error_score="raise")


def test_weights_need_no_request_if_the_base_requests_them(data):
    X, y, partly = data
    weight = np.linspace(0.5, 1.5, len(y))
    with config_context(enable_metadata_routing=True):
        for make, labels in ((META, y), (SELECTIVE, y), (SELF, partly)):
            Spy.log = []
            base = Spy().set_fit_request(sample_weight=True)
            model = make(base.set_score_request(sample_weight=False))
            model.set_score_request(sample_weight=False)
            params = {"sample_weight": weight}
            with scored_on_unlabeled_rows(labels is partly):
                cross_validate(model, X, labels, params=params, cv=2, error_score="raise")
            assert_array_equal(Spy.log[0]["weight"], weight[Spy.log[0]["ids"]])


def test_arguments_of_predict_are_routed(data):
    X, y, partly = data
    for make, labels in ((META, y), (SELF, partly)):
        with config_context(enable_metadata_routing=True):
            model = make(Spy().set_predict_request(shift=True)).fit(X, labels)
            model.predict(X, shift=3)
            assert model.estimator_.shift_ == 3
        with pytest.raises(ValueError, match="only supported if enable_metadata_routing=True"):
            model.predict(X, shift=3)
        assert model.estimator_.shift_ == 3
