"""Views of images by `AugmentedConfidence`: layouts, Pipelines, kinds of X, names of columns."""

import numpy as np
import pytest
import torch
from _nets import TinyCNN, make_net
from numpy.testing import assert_allclose
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from torch.utils.data import TensorDataset

from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._utils.images import spatial_axes
from metaerr_sklearn.neural import AugmentedConfidence


class LastChannels(TinyCNN):
    def forward(self, X):
        return super().forward(X.permute(0, 3, 1, 2))


class NoChannels(TinyCNN):
    def forward(self, X):
        return super().forward(X[:, None])


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 4
    X = rng.random((120, 1, 8, 8)).astype(np.float32)
    X[np.arange(120), 0, 2 * y] += 1
    return X, y


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((9, 3, 32, 48), (2, 3)),
        ((9, 32, 48, 3), (1, 2)),
        ((9, 1, 8, 8), (2, 3)),
        ((9, 8, 8, 1), (1, 2)),
        ((9, 2, 8, 8), (2, 3)),
        ((9, 12, 64, 64), (2, 3)),
        ((9, 64, 64, 12), (1, 2)),
        ((9, 3, 4, 4), (2, 3)),
        ((9, 4, 4, 3), (1, 2)),
        ((9, 28, 28), (1, 2)),
        ((9, 3, 3, 3), None),
        ((9, 3, 32, 4), None),
        ((9, 12, 40, 64), None),
        ((9, 100, 12), None),
        ((9, 3, 3), None),
        ((9, 64), None),
        ((9, 3, 5, 32, 32), None),
    ],
)
def test_axes_of_rows_and_columns(shape, axes):
    assert spatial_axes(shape) == axes


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("module", "change"),
    [(LastChannels, lambda X: X.transpose(0, 2, 3, 1)), (NoChannels, lambda X: X[:, 0])],
)
def test_the_layout_of_the_images_does_not_matter(module, change, flip, images):
    X, y = images
    net = make_net(module__n_outputs=4).fit(X, y)
    other = make_net(module, module__n_outputs=4).initialize()
    other.module_.load_state_dict(net.module_.state_dict())
    observer = AugmentedConfidence(flip=flip)
    expected = observer.observe(net, X)
    assert expected[:, 2].max() > 0.01
    assert_allclose(observer.observe(other, change(X)), expected, rtol=1e-4, atol=1e-4)


def test_unclear_axes_are_refused_before_any_fit(images):
    X, y = images
    net = make_net(module__n_outputs=4, max_epochs="no fit")
    features = ["confidence", AugmentedConfidence()]
    for shape in [(-1, 4, 16), (-1, 4, 4, 4), (-1, 64), (-1, 2, 2, 4, 4)]:
        with pytest.raises(ValueError, match=r"height and width are not clear. Pass views="):
            MetaErrorClassifier(net, meta_features=features).fit(X.reshape(shape), y)


def normalise(X):
    return (X - np.float32(0.5)) / np.float32(0.3)


@pytest.mark.parametrize("wrap", [lambda base: base, FrozenEstimator, "search"])
def test_views_pass_through_the_whole_pipeline(wrap, images):
    X, y = images
    net = make_net(module__n_outputs=4)
    pipeline = make_pipeline(FunctionTransformer(normalise), net)
    if wrap == "search":
        fitted = GridSearchCV(pipeline, {"neuralnetclassifier__lr": [0.01]}, cv=2).fit(X, y)
        alone = fitted.best_estimator_[-1]
    else:
        fitted = wrap(pipeline.fit(X, y))
        alone = pipeline[-1]
    views = AugmentedConfidence(flip=True)
    # A shift and a mirror image commute with the normalisation.
    expected = views.observe(alone, normalise(X))
    assert_allclose(views.observe(fitted, X), expected, rtol=1e-3, atol=1e-4)
    assert_allclose(views.observe(fitted, X.astype(float)), expected, rtol=1e-3, atol=1e-4)


def test_a_cross_fitted_pipeline_with_views(images):
    X, y = images
    base = make_pipeline(FunctionTransformer(normalise), make_net(module__n_outputs=4))
    features = ["confidence", AugmentedConfidence()]
    noisy = np.where(np.arange(120) % 5 == 0, (y + 1) % 4, y)
    clf = MetaErrorClassifier(base, "logistic", meta_features=features, cv=2, random_state=0)
    error_proba = clf.fit(X, noisy).predict_with_error(X)[1]
    assert np.isfinite(error_proba).all()


@pytest.mark.parametrize(
    "kind", [torch.from_numpy, lambda X: TensorDataset(torch.from_numpy(X), torch.zeros(len(X)))]
)
def test_tensors_and_datasets(kind, images):
    X, y = images
    net = make_net(module__n_outputs=4).fit(X, y)
    expected = AugmentedConfidence().observe(net, X)
    assert_allclose(AugmentedConfidence().observe(net, kind(X)), expected, rtol=1e-4, atol=1e-5)


class Brightness:
    def observe(self, estimator, X):
        return np.asarray(X).mean(axis=(1, 2, 3))

    def get_feature_names_out(self):
        return ["mean brightness"]


class Unnamed:
    def observe(self, estimator, X):
        return np.asarray(X).reshape(len(X), -1)[:, :2]


class Bright:
    def transform(self, X, proba):
        return np.asarray(X).max(axis=(1, 2, 3))

    def get_feature_names_out(self):
        return ["largest pixel"]


def test_columns_of_observers_have_names_in_explanations(images):
    X, y = images
    rng = np.random.default_rng(1)
    noisy = np.where(rng.random(120) < 0.3, rng.integers(0, 4, 120), y)
    net = make_net(module__n_outputs=4).fit(X[:60], y[:60])
    features = ["confidence", AugmentedConfidence(), Brightness(), Unnamed(), Unnamed(), Bright()]
    clf = MetaErrorClassifier(FrozenEstimator(net), meta_features=features, random_state=0)
    names = clf.fit(X, noisy).explain_error(X).names.tolist()
    assert names[-11:] == [
        "AugmentedConfidence: mean log-odds over the views",
        "AugmentedConfidence: least log-odds over the views",
        "AugmentedConfidence: spread of the log-odds over the views",
        "AugmentedConfidence: log-odds of the mean probability over the views",
        "AugmentedConfidence: share of views with the same label",
        "Brightness: mean brightness",
        "Unnamed 3: 0",
        "Unnamed 3: 1",
        "Unnamed 4: 0",
        "Unnamed 4: 1",
        "Bright: largest pixel",
    ]
    wide = make_net(WideHead, module__width=300).fit(X[:60], y[:60])
    for base, name in [(net, "input: hidden layer 3"), (wide, "input: hidden layer component 3")]:
        clf = MetaErrorClassifier(FrozenEstimator(base), "lightgbm", random_state=0)
        assert name in clf.fit(X, noisy).explain_error(X).names


class WideHead(torch.nn.Module):
    def __init__(self, width=300):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.LazyLinear(width), torch.nn.Linear(width, 4)
        )

    def forward(self, X):
        return self.layers(X)
