"""The default for nets on images: which bases and rows get views, and for how many rows."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from _nets import TinyCNN, TinyMLP, images_of_four_classes, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import TensorDataset

from metaerr_sklearn import ErrorModel, MetaErrorClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._utils.images import holds_images
from metaerr_sklearn.meta_features._choice import resolve_auto
from metaerr_sklearn.neural import AugmentedConfidence, as_classifier

pytestmark = pytest.mark.usefixtures("small_second_opinion")


@pytest.fixture(scope="module")
def images():
    """Images of four classes, a third of them with another label than the net learns."""
    rng = np.random.default_rng(0)
    X, y = images_of_four_classes(240, rng)
    return X, y, np.where(rng.random(240) < 0.3, (y + 1) % 4, y)


@pytest.fixture(scope="module")
def net(images):
    X, y, _ = images
    return make_net(module__n_outputs=4).fit(X[:120], y[:120])


def flatten(X):
    return X.reshape(len(X), -1)


def wrapped(base, **kwargs):
    return MetaErrorClassifier(base, "logistic", **{"random_state": 0, **kwargs})


IMAGES = np.zeros((20, 3, 8, 8), dtype=np.float32)


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (IMAGES, True),
        (IMAGES.astype(np.float64), True),
        (IMAGES.astype(np.float16), True),
        (IMAGES.astype(">f4"), True),
        (IMAGES.transpose(0, 2, 3, 1), True),
        (np.zeros((20, 3, 32, 48)), True),
        (np.zeros((20, 64, 64, 12)), True),
        (torch.zeros(20, 3, 8, 8), True),
        (torch.zeros(20, 3, 8, 8, dtype=torch.bfloat16), True),
        (torch.zeros(20, 3, 8, 8, device="meta"), True),
        # Embeddings take integers, and a module may scale bytes.
        (IMAGES.astype(np.uint8), False),
        (IMAGES.astype(bool), False),
        (torch.zeros(20, 3, 8, 8, dtype=torch.uint8), False),
        (IMAGES.astype(complex), False),
        (IMAGES.astype(object), False),
        # Height and width are not clear.
        (np.zeros((20, 12, 40, 64)), False),
        (np.zeros((20, 3, 32, 4)), False),
        # Sequences and tables.
        (np.zeros((20, 28, 28)), False),
        (np.zeros((20, 3, 1, 100)), False),
        (np.zeros((20, 1, 4, 100)), False),
        (np.zeros((20, 100)), False),
        (np.zeros((20, 3, 16, 64, 64)), False),
        (np.float64(0), False),
        # Other kinds.
        (list(IMAGES), False),
        (TensorDataset(torch.zeros(20, 3, 8, 8)), False),
        ({"image": IMAGES}, False),
        (["text"], False),
        (None, False),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")) + str(getattr(value, "shape", value))[:20],
)
def test_rows_that_surely_are_images(X, expected):
    assert holds_images(X) is expected
    for base in (make_net(), make_pipeline("passthrough", make_net()), FrozenEstimator(make_net())):
        assert resolve_auto("auto", base, X) == ("images" if expected else "one_pass")
    assert resolve_auto("auto", GaussianNB(), X) == "one_pass"
    assert resolve_auto("auto", CalibratedClassifierCV(make_net()), X) == "one_pass"
    assert resolve_auto("images", make_net(), X) == "images"


@pytest.mark.parametrize("form", ["crossfit", "holdout", "prefit", "module", "pipeline", "search"])
def test_a_net_on_images_gets_views_for_a_quarter_of_the_rows(form, images, net):
    X, _, y = images
    base, options = make_net(module__n_outputs=4, max_epochs=2), {"cv": 2}
    if form == "holdout":
        options = {"cv": 0.5, "refit": False}
    elif form == "prefit":
        base, options = net, {"cv": "prefit"}
    elif form == "module":
        base, options = as_classifier(net.module_), {}
    elif form == "pipeline":
        base = make_pipeline(FunctionTransformer(flatten), make_net(TinyMLP, max_epochs=2))
    elif form == "search":
        base = GridSearchCV(base, {"lr": [0.01]}, cv=2)
    features = ["confidence", "neighbors", "second_opinion", AugmentedConfidence()]
    default = wrapped(base, **options).fit(X, y)
    written_out = wrapped(base, meta_features=features, observed_share=0.25, **options).fit(X, y)
    assert (default.meta_features_, default.observed_share_) == ("images", 0.25)
    assert default.get_params()["meta_features"] == default.get_params()["observed_share"] == "auto"
    assert [type(observer) for observer in default.observers_] == [AugmentedConfidence]
    assert default.error_model_.observed_threshold_ is not None
    assert default.meta_feature_names_ == written_out.meta_feature_names_
    assert_array_equal(default.oof_error_proba_, written_out.oof_error_proba_)
    assert_array_equal(default.predict_error_proba(X), written_out.predict_error_proba(X))


def test_views_are_computed_for_a_quarter_of_new_rows(images, net, monkeypatch):
    X, _, y = images
    clf = wrapped(FrozenEstimator(net)).fit(X[120:], y[120:])
    n_rows, observe = [], AugmentedConfidence.observe

    def counted(self, estimator, X):
        n_rows.append(len(X))
        return observe(self, estimator, X)

    monkeypatch.setattr(AugmentedConfidence, "observe", counted)
    clf.predict_with_error(X[:120])
    assert 10 < sum(n_rows) < 60
    n_rows.clear()
    clf.set_params(meta_features="one_pass").fit(X[120:], y[120:]).predict_with_error(X[:120])
    assert n_rows == []


def test_the_share_is_a_quarter_only_for_the_default(images, net):
    X, _, y = images
    clf = wrapped(FrozenEstimator(net)).fit(X, y)
    for features in ("images", ["images"], ["confidence", AugmentedConfidence("shifts")]):
        clf.set_params(meta_features=features).fit(X, y)
        assert clf.meta_features_ is features
        assert clf.observed_share_ == 1
        assert clf.error_model_.observed_threshold_ is None
    clf.set_params(meta_features="auto", observed_share=0.5).fit(X, y)
    assert (clf.meta_features_, clf.observed_share_) == ("images", 0.5)
    clf.set_params(meta_features="one_pass", observed_share="auto").fit(X, y)
    assert (clf.meta_features_, clf.observed_share_) == ("one_pass", 1)
    assert clf.observers_ == []
    clf.set_params(meta_learner=None).fit(X, y)
    assert clf.meta_features_ is clf.observed_share_ is None


@pytest.mark.parametrize(
    "kind", ["dataset", "list", "bytes", "squares", "table", "dict", "tensor of bytes"]
)
def test_other_rows_of_a_net_take_one_pass(kind, images):
    X, _, y = images
    flat = flatten(X)
    module, rows = {
        "dataset": (TinyCNN, TensorDataset(torch.from_numpy(X), torch.from_numpy(y))),
        "list": (TinyCNN, list(X)),
        "bytes": (Bytes, (100 * X).astype(np.uint8)),
        "tensor of bytes": (Bytes, torch.from_numpy((100 * X).astype(np.uint8))),
        "squares": (Squares, X[:, 0]),
        "table": (TinyMLP, flat),
        "dict": (TinyCNN, {"X": X}),
    }[kind]
    base = make_net(module, module__n_outputs=4, max_epochs=1)
    clf = wrapped(base, cv=2, representation=None).fit(rows, y)
    assert (clf.meta_features_, clf.observed_share_, clf.observers_) == ("one_pass", 1, [])
    named = clone(clf).set_params(meta_features="one_pass").fit(rows, y)
    assert_array_equal(named.predict_error_proba(rows), clf.predict_error_proba(rows))


class Bytes(TinyCNN):
    def forward(self, X):
        return super().forward(X.float() / 100)


class Squares(TinyCNN):
    def forward(self, X):
        return super().forward(X[:, None])


@pytest.mark.parametrize("learner", ["auto", "logistic", "lightgbm", "confidence"])
def test_one_pass_is_all_blocks_that_are_used(learner, images, net):
    """The word stands for what "auto" was for every base before nets on images got views."""
    X, _, y = images
    blocks = ["confidence", "predicted_class", "neighbors", "second_opinion"]
    with_trees = [*blocks, *(["input"] if learner in ("auto", "lightgbm") else [])]
    frozen = FrozenEstimator(net)
    expected = wrapped(frozen, meta_features=with_trees).set_params(meta_learner=learner)
    clf = clone(expected).set_params(meta_features="one_pass")
    assert_array_equal(clf.fit(X, y).oof_error_proba_, expected.fit(X, y).oof_error_proba_)
    assert_array_equal(clf.predict_error_proba(X), expected.predict_error_proba(X))
    crossfit = clone(clf).set_params(estimator=clone(net), cv=2).fit(X, y)
    assert not any(name.startswith("predicted_") for name in crossfit.meta_feature_names_)


def test_without_a_base_both_words_mean_the_same(images, net):
    X, _, y = images
    flat, proba = flatten(X), net.predict_proba(X)
    auto, one_pass = (
        ErrorModel("logistic", meta_features=word, random_state=0).fit(X, y, proba)
        for word in ("auto", "one_pass")
    )
    assert_array_equal(auto.oof_error_proba_, one_pass.oof_error_proba_)
    few = np.where(np.arange(len(y)) < 60, y, -1)
    auto, one_pass = (
        SelfTrainingWithMetaErr(GaussianNB(), meta_features=word, random_state=0).fit(flat, few)
        for word in ("auto", "one_pass")
    )
    assert_array_equal(auto.transduction_, one_pass.transduction_)
    # Self-training has a base, but no observers.
    model = SelfTrainingWithMetaErr(make_net(module__n_outputs=4, max_epochs=1), random_state=0)
    assert model.fit(X, few).error_model_ is not None


def test_a_search_over_the_words(images, net, tmp_path):
    X, _, y = images
    clf = wrapped(clone(net).set_params(max_epochs=1), cv=2, memory=tmp_path)
    grid = {"meta_features": ["auto", "one_pass", "images"]}
    search = GridSearchCV(clf, grid, cv=2, error_score="raise").fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 1  # the labels are those of the base


def test_memory_and_pickle(images, net, tmp_path, monkeypatch):
    X, _, y = images
    clf = wrapped(clone(net), cv=2, memory=tmp_path).fit(X, y)
    monkeypatch.setattr(type(net), "fit", None)  # each fit is in the cache
    again = clone(clf).fit(X, y)
    assert_array_equal(again.predict_error_proba(X), clf.predict_error_proba(X))
    clone(clf).set_params(meta_features="one_pass").fit(X, y)
    loaded = pickle.loads(pickle.dumps(clf))
    assert_array_equal(loaded.predict_error_proba(X), clf.predict_error_proba(X))
    assert (loaded.meta_features_, loaded.observed_share_) == ("images", 0.25)


@pytest.mark.parametrize("kind", ["dataset", "list", "tensor", "double"])
def test_new_rows_may_be_of_another_kind(kind, images, net):
    X, _, y = images
    clf = wrapped(FrozenEstimator(net)).fit(X, y)
    rows = {
        "dataset": TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
        "list": list(X),
        "tensor": torch.from_numpy(X),
        "double": X.astype(np.float64),
    }[kind]
    assert_allclose(clf.predict_error_proba(rows), clf.predict_error_proba(X), rtol=1e-4)


class OnlyWholeNumbers(TinyCNN):
    def forward(self, X):
        if not self.training and (X.round() != X).any():
            raise ValueError("X must hold whole numbers")
        return super().forward(X)


def test_the_error_of_a_net_that_refuses_views_says_what_to_type(images):
    X, _, y = images
    base = make_net(OnlyWholeNumbers, module__n_outputs=4, max_epochs=1)
    clf = wrapped(base, cv=2)
    with pytest.raises(ValueError, match="must hold whole numbers") as info:
        clf.fit(X.round(), y)
    assert 'meta_features="one_pass" makes no views' in info.value.__notes__[0]
    assert clf.set_params(meta_features="one_pass").fit(X.round(), y).observers_ == []


def test_a_wrong_share_is_refused_before_any_fit(images):
    X, _, y = images
    clf = wrapped(make_net(max_epochs="no fit"))
    for share in ("all", 25, 0, None):
        with pytest.raises(ValueError, match='observed_share, if it is not "auto", must be a frac'):
            clf.set_params(observed_share=share).fit(X, y)


def test_a_table_needs_no_torch():
    code = (
        "import sys, numpy as np; from sklearn.naive_bayes import GaussianNB; "
        "from metaerr_sklearn import MetaErrorClassifier; "
        "X = np.random.default_rng(0).normal(size=(60, 2)); y = (X[:, 0] > 0).astype(int); "
        "y[::3] = 1 - y[::3]; MetaErrorClassifier(GaussianNB(), 'logistic').fit(X, y); "
        "assert 'torch' not in sys.modules and 'skorch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Counting(TensorDataset):
    """Count how often a row is read."""

    n_reads = 0

    def __getitem__(self, index):
        self.n_reads += 1
        return super().__getitem__(index)


@pytest.mark.parametrize("meta_features", ["auto", "images"])
def test_new_rows_of_a_dataset_are_read_once(meta_features, net, images):
    X, _, y = images
    clf = wrapped(FrozenEstimator(net), meta_features=meta_features).fit(X[120:], y[120:])
    assert len(clf.observers_) == 1
    rows = Counting(torch.from_numpy(X), torch.from_numpy(y))
    labels, error_proba = clf.predict_with_error(rows)
    assert rows.n_reads <= len(X) + 2  # one more shows how large a row is
    expected = clf.predict_with_error(X)
    assert_array_equal(labels, expected[0])
    assert_allclose(error_proba, expected[1], atol=1e-6)
