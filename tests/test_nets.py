"""Nets as base classifiers and as meta-learners: labels, dtypes, classes and wrappers."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from _nets import TinyCNN, TinyMLP, make_net
from joblib import Parallel, delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, OneHotEncoder, StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from metaerr_sklearn import MetaErrorClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.adapter import adapt
from metaerr_sklearn.neural import as_classifier


@pytest.fixture(scope="module")
def images(digits):
    X, X_test, y, y_test = digits

    def as_images(X):
        return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)

    return as_images(X), as_images(X_test), y, y_test


def fit(net, X, y, learner="logistic", **kwargs):
    kwargs = {"cv": 3, "random_state": 0, **kwargs}
    return MetaErrorClassifier(net, learner, **kwargs).fit(X, y)


def test_cnn_over_images_with_string_labels(images):
    X, X_test, y, y_test = images
    clf = fit(make_net(), X, y, "auto")
    labels, error_proba = clf.predict_with_error(X_test)
    assert_array_equal(labels, clf.predict(X_test))
    assert clf.score(X_test, y_test) > 0.7
    is_error = labels != y_test
    msp = 1 - clf.predict_proba(X_test).max(axis=1)
    assert roc_auc_score(is_error, error_proba) > roc_auc_score(is_error, msp)
    assert not any(name.startswith("predicted_") for name in clf.meta_feature_names_)


@pytest.mark.parametrize(
    "labels",
    [
        np.int32,
        np.float64,
        lambda y: y + 10,
        lambda y: np.array(list("abcdefghij"), dtype=object)[y],
    ],
)
def test_labels_of_any_type(labels, images):
    X, X_test, y, _ = images
    y = labels(np.unique(y, return_inverse=True)[1])
    # Two folds: of three, one whose short training went badly would count as failed.
    clf = fit(make_net(max_epochs=1), X, y, "confidence", meta_features="confidence", cv=2)
    assert set(clf.predict(X_test)) <= set(y)
    assert clf.classes_.dtype == y.dtype


def test_double_images_and_frames_are_cast(images, digits):
    pd = pytest.importorskip("pandas")
    X, X_test, y, _ = images
    single = fit(make_net(), X, y, "confidence").predict_error_proba(X_test)
    double = fit(make_net(), X.astype(float), y, "confidence").predict_error_proba(
        X_test.astype(float)
    )
    assert_array_equal(single, double)
    flat, flat_test, _, _ = digits
    from_frame = fit(make_net(TinyMLP), pd.DataFrame(flat), y, "confidence")
    from_array = fit(make_net(TinyMLP), flat.astype(np.float32), y, "confidence")
    assert_array_equal(
        from_frame.predict_error_proba(pd.DataFrame(flat_test)),
        from_array.predict_error_proba(flat_test.astype(np.float32)),
    )


def test_class_missing_from_a_fold(images):
    X, _, y, _ = images
    order = np.argsort(y, kind="stable")
    clf = fit(make_net(max_epochs=2), X[order], y[order], cv=KFold(10))
    assert clf.oof_error_rate_ > 0.9
    assert clf.predict_proba(X[:5]).shape == (5, 10)


def test_raw_scores_without_softmax_are_refused(images):
    X, _, y, _ = images
    net = make_net(criterion=nn.NLLLoss, max_epochs=1)
    with pytest.raises(
        ValueError, match=r"needs a softmax: with skorch use criterion=torch.nn.Cross"
    ):
        fit(net, X, y)


def test_prefit_and_frozen_net_trained_on_integers(images):
    X, X_test, y, y_test = images
    numbers = np.unique(y, return_inverse=True)[1]
    net = make_net(max_epochs=10).fit(X[:400], numbers[:400])
    before = [p.detach().clone() for p in net.module_.parameters()]
    prefit = fit(net, X[400:], numbers[400:], cv="prefit")
    assert prefit.estimator_ is net
    assert_array_equal(prefit.predict_proba(X_test), net.predict_proba(X_test))
    with pytest.raises(ValueError, match=r"does not name its outputs.*set_params\(classes="):
        fit(FrozenEstimator(net), X[400:], y[400:])
    net.set_params(classes=np.unique(y))
    frozen = fit(FrozenEstimator(net), X[400:], y[400:])
    assert_array_equal(frozen.classes_[net.predict(X_test)], frozen.predict(X_test))
    assert_array_equal(frozen.predict_error_proba(X_test), prefit.predict_error_proba(X_test))
    for old, new in zip(before, net.module_.parameters()):
        assert torch.equal(old, new)
    assert frozen.score(X_test, y_test) > 0.7


class GroupRecordingNet(NeuralNetClassifier):
    """A net that records the first pixel, here the group, of the images of each fit."""

    fitted_on = []  # noqa: RUF012

    def fit(self, X, y=None, **fit_params):
        self.fitted_on.append(X[:, 0, 0, 0])
        return super().fit(X, y, **fit_params)


def test_nets_of_the_folds_are_trained_on_whole_groups(images):
    X, _, y, _ = images
    groups = np.random.default_rng(0).permutation(np.arange(len(y)) // 3)
    X = X.copy()
    X[:, 0, 0, 0] = groups / 200  # in the range of the other pixels
    GroupRecordingNet.fitted_on.clear()
    # Not one epoch: the nets of the folds then differ so much that one may count as failed.
    net = make_net(net_class=GroupRecordingNet)
    clf = MetaErrorClassifier(net, "confidence", cv=GroupKFold(3), random_state=0)
    clf.fit(X, y, groups=groups)
    n_rows = sorted(len(rows) for rows in GroupRecordingNet.fitted_on)
    assert n_rows[:3] < [600, 600, 600]
    assert n_rows[3:] == [600]
    for rows in GroupRecordingNet.fitted_on:
        assert (np.unique(rows, return_counts=True)[1] == 3).all()


@pytest.mark.parametrize("learner", [make_net(TinyCNN, module__n_outputs=2)])
def test_the_set_up_of_the_paper_a_cnn_on_raw_images_as_meta_learner(learner, images):
    X, X_test, y, y_test = images
    clf = fit(make_net(max_epochs=2), X, y, learner, meta_features="input")
    error_proba = clf.predict_error_proba(X_test)
    assert clf.error_model_.meta_learner_.estimator_.module_.features[0].in_channels == 1
    is_error = clf.predict(X_test) != y_test
    assert roc_auc_score(is_error, error_proba) > 0.55
    assert not hasattr(learner, "module_")


def test_net_as_meta_learner_on_the_meta_features(images):
    X, X_test, y, y_test = images
    # The default for images has a model without views too, which has fewer columns.
    first = fit(make_net(max_epochs=2), X, y, meta_features="one_pass")
    n_columns = len([n for n in first.meta_feature_names_ if not n.startswith("input_")]) + 1
    learner = make_net(TinyMLP, module__n_inputs=n_columns, module__n_outputs=2)
    clf = fit(make_net(max_epochs=2), X, y, learner, meta_features="one_pass")
    assert roc_auc_score(clf.predict(X_test) != y_test, clf.predict_error_proba(X_test)) > 0.7


def test_net_at_the_end_of_a_pipeline(digits):
    X, X_test, y, y_test = digits
    clf = fit(make_pipeline(StandardScaler(), make_net(TinyMLP)), X, y)
    assert adapt(clf.estimator).is_net
    assert clf.score(X_test, y_test) > 0.7
    labels, error_proba = clf.predict_with_error(X_test)
    msp = 1 - clf.predict_proba(X_test).max(axis=1)
    is_error = labels != y_test
    assert roc_auc_score(is_error, error_proba) > roc_auc_score(is_error, msp)


def test_steps_before_a_net_may_work_in_place_in_weighted_fits(digits):
    """Self-training draws batches by weight: the steps must not be fitted on scaled rows."""
    X, X_test, y, _ = digits
    X, partly = X.astype(np.float32) + 7, np.unique(y, return_inverse=True)[1]
    partly[60:] = -1
    found, expected = (
        SelfTrainingWithMetaErr(
            make_pipeline(
                MaxAbsScaler(copy=copy), StandardScaler(copy=copy), make_net(TinyMLP, max_epochs=2)
            ),
            criterion="weight",
            cv=2,
            random_state=0,
        )
        .fit(X.copy(), partly)
        .predict_proba(X_test)
        for copy in (False, True)
    )
    assert_array_equal(found, expected)


def test_grid_search_over_a_module_parameter(images):
    X, _, y, _ = images
    clf = MetaErrorClassifier(make_net(max_epochs=1), "confidence", cv=2, random_state=0)
    grid = {"estimator__module__n_channels": [2, 4]}
    search = GridSearchCV(clf, grid, cv=2, error_score="raise").fit(X, y)
    assert search.best_estimator_.estimator_.module_.features[0].out_channels in (2, 4)


def test_equal_seeds_give_equal_results_and_global_states_are_restored(images):
    X, X_test, y, _ = images
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    filters, threads = list(warnings.filters), torch.get_num_threads()
    first, second = (fit(make_net(max_epochs=2), X, y) for _ in range(2))
    with warnings.catch_warnings():
        # Without a seed, the training of a fold may fail by chance, and a warning says so.
        warnings.simplefilter("ignore", UserWarning)
        unseeded = fit(make_net(max_epochs=2), X, y, random_state=None)
    assert_array_equal(first.predict_error_proba(X_test), second.predict_error_proba(X_test))
    assert not np.array_equal(first.predict_proba(X_test), unseeded.predict_proba(X_test))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert_array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002
    assert warnings.filters == filters
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "ensemble",
    [
        lambda net: VotingClassifier([("a", net), ("b", net)], voting="soft"),
        lambda net: CalibratedClassifierCV(net, cv=2),
    ],
)
def test_a_seed_seeds_the_nets_in_an_ensemble(ensemble, images):
    X, X_test, y, _ = images
    y = np.unique(y, return_inverse=True)[1]
    first = fit(ensemble(make_net(max_epochs=2)), X, y)
    second = fit(ensemble(make_net(max_epochs=2)), X, y)
    assert_array_equal(first.oof_error_proba_, second.oof_error_proba_)
    assert_array_equal(first.predict_proba(X_test), second.predict_proba(X_test))


def soft_votes(net, **kwargs):
    return VotingClassifier([("a", net), ("b", net)], voting="soft", **kwargs)


@pytest.mark.parametrize(
    "base",
    [
        lambda net, X, y: soft_votes(net),
        lambda net, X, y: CalibratedClassifierCV(FrozenEstimator(net.fit(X[:80], y[:80])), cv=2),
        lambda net, X, y: FrozenEstimator(soft_votes(net).fit(X[:80], y[:80])),
    ],
)
def test_nets_in_an_ensemble_leave_the_random_states_alone(base, images):
    X, X_test, y, _ = images
    y = np.unique(y, return_inverse=True)[1]
    base = base(make_net(max_epochs=1), X, y)
    before = torch.get_rng_state()
    fit(base, X[80:], y[80:], cv=2).predict_error_proba(X_test)
    assert torch.equal(torch.get_rng_state(), before)
    if not isinstance(base, FrozenEstimator):
        partly = np.where(np.arange(len(y)) < 120, y, -1)
        model = SelfTrainingWithMetaErr(base, "confidence", cv=2, random_state=0).fit(X, partly)
        model.predict_error_proba(X_test)
        assert torch.equal(torch.get_rng_state(), before)


def test_nets_of_an_ensemble_may_predict_in_threads(images):
    """Threads that restore the generators in turns would leave the state of the seed."""
    X, X_test, y, _ = images
    y = np.unique(y, return_inverse=True)[1]
    clf = fit(soft_votes(make_net(max_epochs=1), n_jobs=2), X, y, "confidence", cv=2)
    expected, seeded = clf.predict_proba(X_test), torch.get_rng_state()  # a test starts with seed 0
    torch.manual_seed(5)
    with parallel_config("threading", n_jobs=2):
        parts = Parallel()(delayed(clf.predict_proba)(X_test) for _ in range(8))
    for part in parts:
        assert_array_equal(part, expected)
    assert not torch.equal(torch.get_rng_state(), seeded)


def test_fitted_wrapper_survives_pickling(images):
    X, X_test, y, _ = images
    clf = fit(make_net(max_epochs=2), X, y, "auto")
    loaded = pickle.loads(pickle.dumps(clf))
    # Loaded weights are aligned differently in memory, which can change the order of summation.
    assert_allclose(
        loaded.predict_error_proba(X_test), clf.predict_error_proba(X_test), rtol=0.01, atol=1e-6
    )


@pytest.mark.parametrize("around", ["nothing", "frozen", "prefit", "search"])
def test_frame_reaches_the_pipeline_around_a_net(around):
    """The steps before the net select columns by name, also inside frozen and search wrappers."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=240), "c": rng.choice(["u", "v"], 240)})
    y = (frame["a"] + (frame["c"] == "u") > 0.5 + 0.5 * rng.normal(size=240)).to_numpy().astype(int)
    columns = make_column_transformer(
        (StandardScaler(), ["a"]), (OneHotEncoder(sparse_output=False), ["c"])
    )
    single = FunctionTransformer(lambda Z: Z.astype(np.float32))
    net = make_net(TinyMLP, module__n_inputs=3, module__n_outputs=2)
    base, cv = make_pipeline(columns, single, net), 2
    if around == "search":
        base = GridSearchCV(base, {"neuralnetclassifier__lr": [0.1]}, cv=2)
    elif around != "nothing":
        base = base.fit(frame[:120], y[:120])
        frame, y = frame[120:], y[120:]
        cv = "prefit" if around == "prefit" else 2
        base = FrozenEstimator(base) if around == "frozen" else base
    clf = fit(base, frame, y, cv=cv)
    assert_array_equal(clf.predict_proba(frame), clf.estimator_.predict_proba(frame))
    assert clf.score(frame, y) > 0.7
    assert roc_auc_score(clf.predict(frame) != y, clf.predict_error_proba(frame)) > 0.5


@pytest.mark.parametrize("is_trained", [False, True], ids=["class", "trained module"])
def test_skops_saves_nets_as_the_guide_says(images, is_trained):
    skops_io = pytest.importorskip("skops.io")
    X, X_test, y, _ = images
    base = as_classifier(TinyCNN(), classes=np.unique(y)) if is_trained else make_net(max_epochs=2)
    clf = fit(base, X[:200], y[:200], meta_features=["confidence", "neighbors"], cv=2)
    data = skops_io.dumps(clf)
    untrusted = skops_io.get_untrusted_types(data=data)
    packages = {name.partition(".")[0] for name in untrusted}
    listed = {"metaerr_sklearn", "numpy", "sklearn", "scipy", "collections", "functools"}
    assert packages <= listed | {"builtins", "_nets", "skorch", "torch"}
    loaded = skops_io.loads(data, trusted=untrusted)
    proba = loaded.predict_error_proba(X_test)
    assert_allclose(proba, clf.predict_error_proba(X_test), rtol=0.01, atol=1e-6)


class FullyConvolutional(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 10, 6), nn.Dropout(0.1), nn.Flatten()
        )


def test_self_training_of_a_net_without_a_linear_layer(images):
    """It has no last hidden layer, which was an error after all fits of the cross-validation."""
    X, X_test, y, y_test = images
    partly = np.where(np.arange(len(y)) < len(y) // 2, y, "?")
    net = make_net(FullyConvolutional, max_epochs=8)
    model = SelfTrainingWithMetaErr(net, cv=2, unlabeled="?", random_state=0)
    with pytest.warns(UserWarning, match="hidden layer of NeuralNetClassifier cannot be read, and"):
        model.fit(X, partly)
    assert model.criterion_ == "certain"
    assert model.error_model_.embedding_ is None
    assert model.score(X_test, y_test) > 0.7
