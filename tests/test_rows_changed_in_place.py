"""Pipelines that change their rows in place: results are as if they worked on copies."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

from metaerr_sklearn import (
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    error_slices,
    failure_report,
)
from metaerr_sklearn._utils import limits
from metaerr_sklearn._utils.rows import own_copy


def wrapped(base, **kwargs):
    options = {"meta_features": ["confidence", "neighbors"], "cv": 3, "random_state": 0, **kwargs}
    return MetaErrorClassifier(base, "logistic", **options)


def outputs(base, X, y):
    """Return what users get, after a check that their rows are as they were."""
    given = X.copy()
    clf = wrapped(base).fit(given, y)
    selective = SelectiveClassifier(base, target_coverage=0.6, random_state=0).fit(given, y)
    results = [
        clf.oof_error_proba_,
        *clf.predict_with_error(given),
        clf.predict_proba(given),
        clf.predict(given),
        clf.predict_novelty(given),
        clf.estimate_accuracy(given),
        selective.predict(given),
        failure_report(clf.estimator_, given, y, n_bootstrap=0),
    ]
    assert (given != X).sum().sum() == 0
    return results


@pytest.mark.parametrize("kind", [np.array, np.asfortranarray, sp.csr_matrix])
@pytest.mark.parametrize("has_threshold", [False, True])
def test_results_are_those_of_pipelines_that_copy(has_threshold, kind, noisy_data):
    """Labels and probabilities take two passes; a second pass would scale the rows twice."""
    X, y = noisy_data
    X = kind(X * [1, 10, 100, 1, 1, 5] + 7)
    expected, found = (
        outputs(
            FixedThresholdClassifier(pipe, threshold=0.4) if has_threshold else pipe,
            X,
            y,
        )
        for pipe in (
            make_pipeline(MaxAbsScaler(copy=copy), LogisticRegression()) for copy in (True, False)
        )
    )
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)


def add_a_column(frame):
    frame["ratio"] = frame["a"] / (1 + frame["b"] ** 2)
    return frame


def change_a_column(frame):
    frame["a"] *= 100
    return frame


def remove_a_column(frame):
    del frame["b"]
    return frame


@pytest.mark.parametrize("change", [add_a_column, change_a_column, remove_a_column])
def test_a_step_may_change_the_frame_that_it_gets(change, noisy_data, monkeypatch):
    X, y = noisy_data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    base, copying = (
        make_pipeline(FunctionTransformer(function), StandardScaler(), GaussianNB())
        for function in (change, lambda rows: change(rows.copy()))
    )
    found, expected = outputs(base, frame, y), outputs(copying, frame, y)
    for one, other in zip(found, expected, strict=True):
        assert_array_equal(one, other)
    clf = wrapped(base).fit(frame, y)
    at_once = clf.predict_error_proba(frame)
    monkeypatch.setattr(limits, "PREDICT_CHUNK", 90)
    assert_array_equal(clf.predict_error_proba(frame), at_once)


def test_a_step_may_change_the_tensor_that_it_gets(noisy_data):
    torch = pytest.importorskip("torch")
    X, y = torch.as_tensor(noisy_data[0]), noisy_data[1]
    bases = [
        make_pipeline(FunctionTransformer(function), GaussianNB())
        for function in (lambda rows: rows.mul_(rows), lambda rows: rows * rows)
    ]
    (found, expected), given = ([wrapped(base) for base in bases], X.clone())
    found.fit(given, y), expected.fit(X, y)
    assert torch.equal(given, X)
    assert_array_equal(found.oof_error_proba_, expected.oof_error_proba_)
    for one, other in zip(found.predict_with_error(given), expected.predict_with_error(X)):
        assert_array_equal(one, other)
    assert_array_equal(found.predict_novelty(given), expected.predict_novelty(X))
    assert torch.equal(given, X)


class ChangesLabelsAndWeights(GaussianNB):
    def fit(self, X, y, sample_weight):
        super().fit(X, y, sample_weight / sample_weight.mean())
        y[y == 0] = -1
        sample_weight *= 0.5 + y
        return self


def test_a_base_may_change_labels_and_weights(noisy_data):
    X, y = noisy_data
    weight = np.random.default_rng(0).uniform(0.5, 2, len(y))
    labels, given = y.copy(), weight.copy()
    found = wrapped(ChangesLabelsAndWeights()).fit(X, labels, sample_weight=given)
    expected = wrapped(GaussianNB()).fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(found.predict_error_proba(X), expected.predict_error_proba(X))
    assert found.oof_error_rate_ == expected.oof_error_rate_
    assert_array_equal(labels, y)
    assert_array_equal(given, weight)


def test_rows_stay_as_they_are_for_the_columns_of_slices(noisy_data):
    X, y = noisy_data
    given = X + 7
    pipe = make_pipeline(StandardScaler(copy=False), wrapped(GaussianNB())).fit(given.copy(), y)
    options = {"min_samples": 10, "only_confirmed": False, "random_state": 0}
    error_slices(pipe, given, y, **options)
    SelectiveClassifier(pipe, target_coverage=0.5, calibration="prefit").fit(given, y).score(
        given, y
    )
    assert_array_equal(given, X + 7)


def test_a_representation_may_work_in_place(noisy_data):
    X, y = noisy_data
    X = X * 10 + 7
    found, expected = (
        wrapped(GaussianNB(), representation=make_pipeline(StandardScaler(copy=copy), PCA(3)))
        for copy in (False, True)
    )
    given = X.copy()
    found, expected = found.fit(given, y), expected.fit(X, y)
    assert_array_equal(found.oof_error_proba_, expected.oof_error_proba_)
    assert_array_equal(found.predict_error_proba(given), expected.predict_error_proba(X))
    assert_array_equal(given, X)


def sorted_margin(X, proba):
    X["new"] = X["a"] ** 2
    proba.sort(axis=1)
    return np.column_stack([proba[:, -1] - proba[:, -2], X["new"]])


def test_a_meta_feature_may_change_its_arguments(noisy_data):
    X, y = noisy_data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    given = frame.copy()
    found, expected = (
        wrapped(GaussianNB(), meta_features=[function, "confidence", "neighbors"]).fit(given, y)
        for function in (sorted_margin, lambda X, proba: sorted_margin(X.copy(), proba.copy()))
    )
    assert_array_equal(found.oof_error_proba_, expected.oof_error_proba_)
    assert_array_equal(found.predict_error_proba(given), expected.predict_error_proba(frame))
    assert_array_equal(given, frame)


def test_a_meta_learner_over_x_may_change_it(noisy_data):
    X, y = noisy_data
    given = X.copy()
    for copy in (False, True):
        learner = make_pipeline(StandardScaler(copy=copy), LogisticRegression())
        clf = MetaErrorClassifier(GaussianNB(), learner, meta_features="input", random_state=0)
        clf.fit(given, y).predict_error_proba(given)
        assert_array_equal(given, X)


def test_self_training_of_a_pipeline_that_works_in_place(noisy_data):
    X, y = noisy_data
    X, partly = X * 10 + 7, np.where(np.arange(len(y)) < 60, y, -1)
    given = X.copy()
    found, expected = (
        SelfTrainingWithMetaErr(
            make_pipeline(StandardScaler(copy=copy), GaussianNB()), random_state=0
        ).fit(rows, partly)
        for copy, rows in ((False, given), (True, X))
    )
    assert_array_equal(found.predict(given), expected.predict(X))
    assert_array_equal(found.predict_error_proba(given), expected.predict_error_proba(X))
    assert_array_equal(given, X)


def test_what_cannot_be_changed_is_not_copied(tmp_path):
    fixed = np.zeros((3, 2))
    fixed.flags.writeable = False
    file = np.memmap(tmp_path / "rows", dtype=float, mode="w+", shape=(3, 2))
    for rows in (fixed, file, ["a text"], [[1.0, 2.0]]):
        assert own_copy(rows) is rows
    ordered = own_copy(np.asfortranarray(np.zeros((3, 2))))
    assert ordered.flags.f_contiguous
    assert not ordered.flags.c_contiguous
