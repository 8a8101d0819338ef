"""Views of images by `AugmentedConfidence`: layouts, Pipelines, kinds of X, names of columns."""

import numpy as np
import pandas as pd
import pytest
import torch
from _nets import TinyCNN, images_of_four_classes, make_net
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import affine_transform
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler
from skorch import NeuralNetClassifier
from torch.utils.data import TensorDataset

from metaerr_sklearn import ErrorModel, MetaErrorClassifier
from metaerr_sklearn._utils.images import spatial_axes
from metaerr_sklearn.neural import AugmentedConfidence, as_classifier
from metaerr_sklearn.neural._views import MIRROR, SHIFTS, STRONG


class LastChannels(TinyCNN):
    def forward(self, X):
        return super().forward(X.permute(0, 3, 1, 2))


class NoChannels(TinyCNN):
    def forward(self, X):
        return super().forward(X[:, None])


@pytest.fixture(scope="module")
def images():
    return images_of_four_classes(120, np.random.default_rng(0))


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
    assert np.ptp(expected) > 0.01
    assert_allclose(observer.observe(other, change(X)), expected, rtol=1e-4, atol=1e-4)


def test_unclear_axes_are_refused_before_any_fit(images):
    X, y = images
    net = make_net(module__n_outputs=4, max_epochs="no fit")
    features = ["confidence", AugmentedConfidence()]
    for shape in [(-1, 4, 16), (-1, 4, 4, 4), (-1, 64), (-1, 2, 2, 4, 4)]:
        with pytest.raises(ValueError, match=r"height and width are not clear. Give grey"):
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8])
def test_views_follow_their_definition(dtype):
    """Against SciPy, one image and channel at a time, on images that are no squares."""
    rng = np.random.default_rng(0)
    images = torch.from_numpy(255 * rng.random((2, 3, 12, 17))).to(dtype)
    height, width = images.shape[2:]
    centre = np.array([height - 1, width - 1]) / 2
    for view in (*SHIFTS, MIRROR, *STRONG):
        altered = view(images)
        assert altered.dtype == dtype
        angle = np.deg2rad(view.angle)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # From the row and column of a pixel to those where its value comes from.
        back = np.diag([1, -1 if view.mirror else 1]) @ turn / view.zoom
        start = centre - back @ centre - [view.down, view.right]
        for image, result in zip(images.double().numpy(), altered.double().numpy()):
            for channel, values in zip(image, result):
                expected = affine_transform(channel, back, start, order=1, mode="nearest")
                tolerance = {torch.uint8: 0.51, torch.float16: 0.1}.get(dtype, 1e-3)
                assert_allclose(values, expected, atol=tolerance)


def test_turned_images_turn_the_way_that_the_name_says():
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 0, 16] = 1
    top = {view.name: view(image)[0, 0, :5].sum(dim=0) for view in STRONG}
    assert top["turned right by 8 degrees"].argmax() == 18
    assert top["turned left by 8 degrees"].argmax() == 14


class Bytes(TinyCNN):
    """Scale images of bytes in the module."""

    def forward(self, X):
        assert X.dtype == torch.uint8
        return super().forward(X.float() / 255)


@pytest.mark.parametrize("wrap", [FrozenEstimator, make_pipeline])
def test_images_of_bytes_stay_bytes(wrap, images):
    X = (127 * images[0]).astype(np.uint8)
    net = make_net(Bytes, module__n_outputs=4).fit(X, images[1])
    features = AugmentedConfidence().observe(wrap(net), X)
    other = make_net(module__n_outputs=4).initialize()
    other.module_.load_state_dict(net.module_.state_dict())
    expected = AugmentedConfidence().observe(other, np.float32(X) / 255)
    assert_allclose(features, expected, atol=0.1)


class Counting(torch.utils.data.Dataset):
    """Count how often each image is read, and scale it as the module needs it."""

    n_reads = 0

    def __init__(self, X, y=None):
        self.X = X

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        Counting.n_reads += 1
        return np.float32(self.X[i]) / 255, 0


def test_views_are_made_of_what_the_net_reads_and_each_image_is_read_once(images):
    """Also with batches that are shuffled into other sizes, and with a Dataset that scales."""
    X, y = images
    plain = make_net(module__n_outputs=4).fit(X, y)
    net = make_net(module__n_outputs=4, dataset=Counting, iterator_valid__batch_size=50)
    net.initialize().module_.load_state_dict(plain.module_.state_dict())
    expected = AugmentedConfidence().observe(plain, X)
    Counting.n_reads = 0
    assert_allclose(AugmentedConfidence().observe(net, 255 * X), expected, atol=1e-4)
    assert Counting.n_reads == len(X)
    assert_array_equal(net.predict_proba(255 * X[:9]).shape, (9, 4))
    assert_array_equal(AugmentedConfidence().observe(net, 255 * X[:1]).shape, (1, 11))


class OwnIteration(NeuralNetClassifier):
    """A net with batches of its own."""

    def forward_iter(self, X, training=False, device="cpu"):
        for output in super().forward_iter(X, training=training, device=device):
            yield 2 * output


class Calibrated(NeuralNetClassifier):
    """A net that changes its probabilities after all passes."""

    def predict_proba(self, X):
        proba = super().predict_proba(X)
        return proba**2 / (proba**2).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("net_class", [OwnIteration, Calibrated])
def test_probabilities_are_those_of_the_net_itself(net_class, images):
    """Both classes double the logits, each in another place."""
    X, y = images
    net = make_net(module__n_outputs=4, net_class=net_class).fit(X, y)
    label, rows = net.predict_proba(X).argmax(axis=1), np.arange(len(X))

    def log_odds(X):
        proba = net.predict_proba(X).astype(float)
        proba_pred = proba[rows, label]
        return np.clip(np.log(proba_pred / (proba.sum(axis=1) - proba_pred + 1e-9)), -10, 10)

    view = torch.from_numpy(X).roll(1, dims=2).numpy()
    features = AugmentedConfidence(lambda X: [view]).observe(net, X)
    named = AugmentedConfidence("shifts").observe(net, X)
    below = np.ascontiguousarray(np.concatenate([X[:, :, :1], X[:, :, :-1]], axis=2))
    for got, other in [(features[:, 1], view), (named[:, 1], below)]:
        assert_allclose(got, log_odds(other) - log_odds(X), atol=5e-3)


def test_sums_of_other_classes_keep_the_order_of_certain_predictions(images):
    """1 - p of float32 probabilities is 0 for logits that differ by 20 and by 40."""
    net = make_net(Logits).initialize()
    X = np.tile(np.float32([20, 40, 60])[:, None, None, None], (1, 1, 8, 8))
    votes = AugmentedConfidence().observe(net, X)[:, 0]
    assert_allclose(votes, [20, 40, 60], rtol=1e-3)


class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Linear(1, 1)

    def forward(self, X):
        first = X.mean(dim=(1, 2, 3))
        return torch.stack([first, torch.zeros_like(first)], dim=1)


@pytest.mark.parametrize("name", ["photos", None, 5])
def test_unknown_views_are_refused_before_any_fit(name, images):
    X, y = images
    net = make_net(module__n_outputs=4, max_epochs="no fit")
    clf = MetaErrorClassifier(net, meta_features=["confidence", AugmentedConfidence(name)])
    with pytest.raises(ValueError, match='views must be "geometric", "shifts" or a callable'):
        clf.fit(X, y)


def test_a_flip_in_words_is_refused_before_any_fit(images):
    net = make_net(module__n_outputs=4, max_epochs="no fit")
    views = AugmentedConfidence(flip="vertical")
    with pytest.raises(ValueError, match="flip must be True or False, got 'vertical'"):
        MetaErrorClassifier(net, meta_features=["confidence", views]).fit(*images)


@pytest.mark.parametrize("kind", [np.array, torch.from_numpy])
def test_functions_that_return_views(kind, images):
    X, y = images
    net = make_net(module__n_outputs=4, max_epochs=1).fit(X, y)
    given = kind(X.copy())

    def darken_in_place(X):
        X *= 0.5
        return [X]

    def darken(X):
        return [0.5 * X]

    in_place, expected = (
        AugmentedConfidence(f).observe(net, given) for f in (darken_in_place, darken)
    )
    assert_array_equal(in_place, expected)
    assert_array_equal(given, X)
    with pytest.raises(ValueError, match=r"a list of altered versions of X: return \[altered\]"):
        AugmentedConfidence(lambda X: 0.5 * X).observe(net, given)
    with pytest.raises(ValueError, match=r"views\(X\) returned no view"):
        AugmentedConfidence(lambda X: []).observe(net, given)


def test_an_observer_may_return_a_tensor_with_gradients(images):
    class Mean:
        def observe(self, estimator, X):
            weight = torch.ones(1, requires_grad=True)
            return weight * torch.as_tensor(X).mean((1, 2, 3))

    X, y = images
    net = FrozenEstimator(make_net(module__n_outputs=4, max_epochs=1).fit(X, y))
    clf = MetaErrorClassifier(net, "logistic", meta_features=["confidence", Mean()], random_state=0)
    y = np.random.default_rng(0).integers(4, size=len(y))
    assert clf.fit(X, y).predict_error_proba(X).shape == y.shape


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
    assert "offset: vote of AugmentedConfidence" in names
    assert names[-17:] == [
        "AugmentedConfidence: mean probability over the views",
        "AugmentedConfidence: down by 1 pixel",
        "AugmentedConfidence: up by 1 pixel",
        "AugmentedConfidence: right by 1 pixel",
        "AugmentedConfidence: left by 1 pixel",
        "AugmentedConfidence: right and down by 2 pixels",
        "AugmentedConfidence: left and up by 2 pixels",
        "AugmentedConfidence: turned right by 8 degrees",
        "AugmentedConfidence: turned left by 8 degrees",
        "AugmentedConfidence: enlarged by 12 %",
        "AugmentedConfidence: reduced by 11 %",
        "Brightness: mean brightness",
        "Unnamed 3: 0",
        "Unnamed 3: 1",
        "Unnamed 4: 0",
        "Unnamed 4: 1",
        "Bright: largest pixel",
    ]
    wide = make_net(WideHead, module__width=300).fit(X[:60], y[:60])
    for base, name in [(net, "input: hidden layer 3"), (wide, "input: hidden layer component 3")]:
        clf = MetaErrorClassifier(
            FrozenEstimator(base), "lightgbm", meta_features="one_pass", random_state=0
        )
        assert name in clf.fit(X, noisy).explain_error(X).names


class WideHead(torch.nn.Module):
    def __init__(self, width=300):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.LazyLinear(width), torch.nn.Linear(width, 4)
        )

    def forward(self, X):
        return self.layers(X)


def test_one_word_stands_for_the_recommended_blocks(images):
    X, y = images
    noisy = np.where(np.arange(120) % 3 == 0, (y + 1) % 4, y)
    base = FrozenEstimator(make_net(module__n_outputs=4).fit(X, y))
    written_out = ["confidence", "neighbors", "second_opinion", AugmentedConfidence()]
    word, blocks, both = (
        MetaErrorClassifier(base, meta_features=features, random_state=0).fit(X, noisy)
        for features in ("images", written_out, ["images", "confidence", Brightness()])
    )
    assert word.meta_feature_names_ == blocks.meta_feature_names_
    assert_array_equal(word.predict_error_proba(X), blocks.predict_error_proba(X))
    assert sorted(both.meta_feature_names_) == sorted([*word.meta_feature_names_, "observer1_0"])
    assert clone(word).meta_features == "images"


def test_the_word_for_images_is_refused_for_other_bases_and_rows(images):
    X, y = images
    table = X.reshape(len(X), -1)
    clf = MetaErrorClassifier(RandomForestClassifier(), meta_features="images")
    for base in (RandomForestClassifier(), make_pipeline(MinMaxScaler(), RandomForestClassifier())):
        with pytest.raises(TypeError, match=r"needs a net that classifies images.*=.auto."):
            clf.set_params(estimator=base).fit(table, y)
    clf.set_params(estimator=make_net(max_epochs="no fit"))
    for rows in (table, pd.DataFrame(table), [str(row) for row in y], {"a": X}):
        with pytest.raises(ValueError, match="height and width are not clear"):
            clf.fit(rows, y)
    with pytest.raises(ValueError, match="which only MetaErrorClassifier has"):
        ErrorModel(meta_features="images").fit(X, y, np.eye(4)[y])


class WithOthers(torch.nn.Module):
    """Return a dict of scores and further outputs, from images of bytes with the channels last."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, X):
        return {"logits": self.module(X.movedim(3, 1).float() / 100), "others": X}


def test_any_trained_module_has_views(images):
    X, y = images
    X = (100 * X).astype(np.uint8)
    net = make_net(module__n_outputs=4).fit(np.float32(X) / 100, y)
    expected = AugmentedConfidence(flip=True).observe(net, np.float32(X) / 100)
    base = as_classifier(WithOthers(net.module_))
    features = AugmentedConfidence(flip=True).observe(base, X.transpose(0, 2, 3, 1))
    assert_allclose(features, expected, atol=0.2)
    noisy = np.where(np.arange(120) % 3 == 0, (y + 1) % 4, y)
    clf = MetaErrorClassifier(base, meta_features="images", observed_share=0.5, random_state=0)
    error_proba = clf.fit(X.transpose(0, 2, 3, 1), noisy).predict_error_proba(
        X.transpose(0, 2, 3, 1)
    )
    assert np.isfinite(error_proba).all()


def test_views_are_predicted_by_the_net_itself(images):
    """Red if the net is copied by a pickle: a hook that is a lambda has none."""
    X, y = images
    net = make_net(max_epochs=1).fit(X, y)
    calls = []
    hook = net.module_.register_forward_hook(lambda module, args, output: calls.append(module))
    AugmentedConfidence("shifts").observe(net, X[:5])
    hook.remove()
    assert calls == [net.module_] * 5
