"""A trained module as it is becomes a fitted classifier: nothing is trained, nothing is lost."""

import copy
import pickle
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from _nets import TinyCNN
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import cross_val_score
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier
from metaerr_sklearn.confidence import max_probability
from metaerr_sklearn.neural import (
    AugmentedConfidence,
    TorchEmbedding,
    as_classifier,
    energy_confidence,
    max_logit_confidence,
    mc_dropout_proba,
)

pytestmark = pytest.mark.usefixtures("small_second_opinion")
N_TRAIN, N_VAL = 600, 400
Pair = namedtuple("Pair", "logits hidden")


@dataclass
class Result:
    hidden: torch.Tensor
    logits: torch.Tensor


class Returns(nn.Module):
    """Return something around the outputs of a module."""

    def __init__(self, module, wrap):
        super().__init__()
        self.module = module
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.module(x))


@pytest.fixture(scope="module")
def images():
    X, y = load_digits(return_X_y=True)
    return (X / 16).reshape(-1, 1, 8, 8).astype(np.float32), y


def train(module, X, y, loss):
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    for _ in range(25):
        optimizer.zero_grad()
        loss(module(torch.from_numpy(X)), y).backward()
        optimizer.step()
    return module


@pytest.fixture(scope="module")
def trained(images):
    X, y = images
    torch.manual_seed(0)
    loss = nn.functional.cross_entropy
    return train(TinyCNN(), X[:N_TRAIN], torch.from_numpy(y[:N_TRAIN]), loss)


@pytest.fixture
def module(trained):
    return copy.deepcopy(trained).train()


@pytest.fixture
def validation(images):
    X, y = images
    return X[N_TRAIN : N_TRAIN + N_VAL], y[N_TRAIN : N_TRAIN + N_VAL]


@pytest.fixture
def new(images):
    return images[0][N_TRAIN + N_VAL :]


def softmax_of(module, X):
    module = copy.deepcopy(module).eval()
    with torch.no_grad():
        return module(torch.from_numpy(X)).softmax(1).numpy()


def test_three_lines_predict_errors_and_never_train(module, validation, new):
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    clf = MetaErrorClassifier(as_classifier(module), random_state=0).fit(*validation)
    labels, error_proba = clf.predict_with_error(new)
    proba = softmax_of(module, new)
    assert_array_equal(labels, proba.argmax(1))
    assert_allclose(clf.predict_proba(new), proba, atol=1e-6)
    assert np.ptp(error_proba) > 0.1
    assert isinstance(clf.error_model_.representation_, TorchEmbedding)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda net: net])
def test_a_second_freeze_and_cv_prefit_change_nothing(wrap, module, validation, new):
    net = as_classifier(module)
    expected = (
        MetaErrorClassifier(net, "logistic", random_state=0)
        .fit(*validation)
        .predict_error_proba(new)
    )
    clf = MetaErrorClassifier(wrap(net), "logistic", cv="prefit", random_state=0).fit(*validation)
    assert_array_equal(clf.predict_error_proba(new), expected)


def test_each_part_of_the_module_has_its_mode_afterwards(module, new):
    module.features[1].eval()  # a frozen batch normalisation
    modes = [part.training for part in module.modules()]
    net = as_classifier(module)
    assert_array_equal(net.predict_proba(new), net.predict_proba(new))  # no dropout
    mean = mc_dropout_proba(net, new[:20], n_passes=2, random_state=0)
    assert [part.training for part in module.modules()] == modes
    assert np.ptp(mean - net.predict_proba(new[:20])) > 0
    net = as_classifier(module.eval())
    net.predict_proba(new)
    assert not module.training


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: (z, z[:, :1] @ z[:1, :1].expand(1, 64)),
        lambda z: [z],
        lambda z: {"logits": z, "hidden": z[:, :5]},
        lambda z: {"hidden": z[:, :5], "logits": z},
        lambda z: {"loss": z.sum(), "out": z},
        lambda z: Pair(z, z[:, :5]),
        lambda z: Result(z[:, :5], z),
        lambda z: (z.argmax(1), z),
        lambda z: (z[:, :, None, None], z),
        lambda z: {"out": z.log_softmax(1)},
    ],
)
def test_outputs_in_a_container(wrap, module, validation, new):
    clf = MetaErrorClassifier(as_classifier(Returns(module, wrap)), "logistic", random_state=0)
    clf.fit(*validation)
    assert_allclose(clf.predict_proba(new), softmax_of(module, new), atol=1e-6)
    assert isinstance(clf.error_model_.representation_, TorchEmbedding)
    clf.predict_with_error(new)


def test_features_before_the_outputs_are_said_or_chosen_by_the_names(module, new):
    both = Returns(module, lambda z: (z[:, :1].expand(-1, 64), z))
    with pytest.warns(UserWarning, match=r"first one, 0 of 64 columns.*but 1 has 10 columns"):
        assert as_classifier(both).predict_proba(new).shape == (len(new), 64)
    net = as_classifier(both, classes=range(10))
    assert_allclose(net.predict_proba(new), softmax_of(module, new), atol=1e-6)


@pytest.mark.parametrize("n_first", [1, 100])
def test_probabilities_are_found_on_the_first_batch(n_first, module, new):
    net = as_classifier(Returns(module, lambda z: z.softmax(1)))
    net.predict_proba(new[:n_first])
    assert net.output_ == "probabilities"
    assert_array_equal(net.predict_proba(new), softmax_of(module, new))
    with pytest.raises(ValueError, match="needs logits, but the module"):
        energy_confidence(net, new)


def test_scores_of_logits(module, new):
    net = as_classifier(module)
    assert (energy_confidence(net, new) > max_logit_confidence(net, new)).all()
    with pytest.raises(ValueError, match="needs logits"):
        max_logit_confidence(as_classifier(Returns(module, lambda z: z.softmax(1))), new)


def test_sigmoids_of_several_classes_are_unclear(module, new):
    sigmoids = Returns(module, torch.sigmoid)
    match = (
        r"unclear whether Returns .* sum of a row is not 1.*probabilities\"\) if the module ends "
    )
    with pytest.raises(ValueError, match=match):
        as_classifier(sigmoids).predict_proba(new)
    proba = as_classifier(sigmoids, output="probabilities").predict_proba(new)
    expected = 1 / (1 + np.exp(-np.log(softmax_of(module, new))))  # not the same, but in order
    assert_allclose(proba.sum(1), 1, atol=1e-6)
    assert_array_equal(proba.argmax(1), expected.argmax(1))


def test_probabilities_that_turn_out_to_be_logits(module, new):
    net = as_classifier(module, output="probabilities")
    with pytest.raises(ValueError, match=r'are none. Pass as_classifier\(module, output="logits"'):
        net.predict_proba(new)


class TestOneOutput:
    @pytest.fixture
    def binary(self, images):
        X, y = images
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 1))
        odd = torch.from_numpy(y[:N_TRAIN] % 2).float()[:, None]
        loss = nn.functional.binary_cross_entropy_with_logits
        return train(module, X[:N_TRAIN], odd, loss)

    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
    @pytest.mark.parametrize("end", ["logits", "probabilities"])
    @pytest.mark.parametrize("names", [None, ["even", "odd"]])
    def test_serves_two_classes(self, shape, end, names, binary, validation, new):
        def wrap(z):
            return (z.sigmoid() if end == "probabilities" else z).reshape(shape)

        X, y = validation
        y = y % 2 if names is None else np.array(names)[y % 2]
        net = as_classifier(Returns(binary, wrap), classes=names)
        clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(X, y)
        with torch.no_grad():
            right = binary(torch.from_numpy(new)).sigmoid().numpy().ravel()
        assert net.output_ == end
        assert_allclose(clf.predict_proba(new), np.column_stack([1 - right, right]), atol=1e-6)
        position = (right > 0.5).astype(int)
        assert_array_equal(
            clf.predict(new), position if names is None else np.array(names)[position]
        )
        assert_array_equal(net.predict(new), clf.predict(new))
        assert clf.oof_error_rate_ < 0.2
        if end == "logits":
            assert_allclose(energy_confidence(net, new).shape, len(new))

    def test_one_row_in_the_range_of_probabilities_is_unclear(self, new):
        half = Returns(nn.Identity(), lambda x: x.flatten(1).mean(1))
        with pytest.raises(ValueError, match=r"Only 1 rows show a single output, in \[0, 1\]"):
            as_classifier(half).predict_proba(new[:1])
        logit = as_classifier(half, output="logits").predict_proba(new[:1])
        right = as_classifier(half, output="probabilities").predict_proba(new[:1])
        assert logit[0, 1] > 0.5 > right[0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_module_keeps_its_precision(dtype, module, validation, new):
    net = as_classifier(copy.deepcopy(module).to(dtype))
    clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(*validation)
    assert_allclose(clf.predict_proba(new), softmax_of(module, new), atol=0.1)
    assert_allclose(clf.predict_proba(new).sum(1), 1, atol=1e-6)
    assert np.isfinite(clf.predict_error_proba(new)).all()
    assert next(net.module_.parameters()).dtype == dtype
    assert np.isfinite(energy_confidence(net, new)).all()
    softmax = as_classifier(Returns(net.module_, lambda z: z.softmax(1)))
    assert_allclose(softmax.predict_proba(new).sum(1), 1, atol=1e-6)
    assert softmax.output_ == "probabilities"


@pytest.mark.parametrize("how", ["function", "method"])
def test_a_compiled_module(how, module, validation, new):
    compiled = module
    if how == "function":
        compiled = torch.compile(module, backend="eager")
    else:
        module.compile(backend="eager")
    clf = MetaErrorClassifier(as_classifier(compiled), "logistic", random_state=0).fit(*validation)
    assert_allclose(clf.predict_proba(new), softmax_of(copy.deepcopy(module), new), atol=1e-5)
    assert isinstance(clf.error_model_.representation_, TorchEmbedding)
    loaded = pickle.loads(pickle.dumps(clf))
    assert_allclose(loaded.predict_error_proba(new), clf.predict_error_proba(new), atol=1e-5)


@pytest.mark.parametrize("is_dynamic", [True, False])
def test_a_module_of_torch_export(is_dynamic, module, validation, new):
    module = module.eval()
    shapes = ({0: torch.export.Dim("n_rows")},) if is_dynamic else None
    exported = torch.export.export(module, (torch.zeros(7, 1, 8, 8),), dynamic_shapes=shapes)
    net = as_classifier(exported.module())
    if not is_dynamic:
        with pytest.raises(ValueError, match=r"exported for .*one size only.*dynamic_shapes=\(\{0"):
            net.predict(new)
        return
    assert_allclose(net.predict_proba(new), softmax_of(module, new), atol=1e-5)
    clf = MetaErrorClassifier(net, "confidence", representation=None, random_state=0)
    assert clf.fit(*validation).predict_error_proba(new).shape == (len(new),)


def test_names_in_any_order_and_classes_without_rows(module, validation, new):
    X, y = validation
    names = np.array(list("jihgfedcba"))
    clf = MetaErrorClassifier(as_classifier(module, classes=list(names)), "confidence").fit(
        X, names[y]
    )
    assert_array_equal(clf.classes_, names)
    assert clf.oof_error_rate_ < 0.3
    assert_array_equal(clf.predict(new), names[softmax_of(module, new).argmax(1)])
    seven = y < 7
    clf = MetaErrorClassifier(as_classifier(module), "confidence").fit(X[seven], y[seven])
    assert_array_equal(clf.classes_, np.arange(10))
    numbers = (np.arange(10) + 3) % 10  # labels that are numbers, but not those of the outputs
    clf = MetaErrorClassifier(as_classifier(module, classes=numbers), "confidence").fit(
        X, numbers[y]
    )
    assert clf.oof_error_rate_ < 0.3
    assert_array_equal(clf.predict(new), numbers[softmax_of(module, new).argmax(1)])


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (list("abcdefghij"), "classes=['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j'])."),
        (range(1, 11), "If the order is that of the sorted labels: as_classifier(module, classes="),
        (range(1, 11), "classes=range(1, 11))."),
        (range(0, 100, 10), "classes=[0, 10, 20, 30, 40, 50, 60, 70, 80, 90])."),
    ],
)
def test_labels_of_unknown_order_are_refused(labels, code, module, validation):
    X, y = validation
    y = np.array(labels)[y]
    with pytest.raises(ValueError, match=r"as_classifier\(module, classes=\[...\]\)") as info:
        MetaErrorClassifier(as_classifier(module)).fit(X, y)
    assert code in str(info.value)
    assert "this fitted TinyCNN does" in str(info.value)
    clf = MetaErrorClassifier(as_classifier(module, classes=labels), "confidence").fit(X, y)
    assert clf.oof_error_rate_ < 0.3


def test_the_repr_is_short_and_names_the_module(module):
    for names in (None, range(1, 11)):
        net = as_classifier(module, classes=names)
        for shown in (repr(net), repr(MetaErrorClassifier(net))):
            assert "TinyCNN" in shown
            assert "Conv2d" not in shown
            assert len(shown) < 250
    net.estimator.set_params(batch_size=7)
    assert net.estimator.get_params()["batch_size"] == 7


def test_wrong_number_of_names(module, new):
    with pytest.raises(ValueError, match=r"has 10 classes by its outputs .* but classes= has 3"):
        as_classifier(module, classes=["a", "b", "c"]).predict_proba(new)


class TwoInputs(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, image, brightness):
        return self.module(image * brightness[:, None, None, None])


class OneDict(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, batch):
        return self.module(batch["image"] * batch["brightness"][:, None, None, None])


class Rows(Dataset):
    def __init__(self, X, row):
        self.X, self.row = X, row

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.row(self.X[i])


ONE = np.float32(1)


@pytest.mark.parametrize("wrap", [TwoInputs, OneDict])
@pytest.mark.parametrize(
    "give",
    [
        lambda X: {"image": X, "brightness": np.ones(len(X), np.float32)},
        lambda X: Rows(X, lambda x: ({"image": x, "brightness": ONE}, 0)),
        lambda X: Rows(X, lambda x: {"image": x, "brightness": ONE, "label": 0}),
        lambda X: Rows(X, lambda x: (x, ONE, 0)),
        lambda X: Rows(X, lambda x: ((x, ONE), 0)),
    ],
)
def test_several_inputs(wrap, give, module, validation, new):
    if wrap is OneDict and not isinstance(give(new[:2]), dict):
        row = give(new[:2])[0]
        if not isinstance(row[0] if isinstance(row, tuple) else row, dict):
            pytest.skip("a tuple has no names")
    X, y = validation
    net = as_classifier(wrap(module))
    clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(give(X), y)
    assert_allclose(clf.predict_proba(give(new)), softmax_of(module, new), atol=1e-6)
    assert_allclose(net.predict_proba(give(new)), softmax_of(module, new), atol=1e-6)
    assert isinstance(clf.error_model_.representation_, TorchEmbedding)
    assert np.ptp(clf.predict_error_proba(give(new))) > 0.05


def test_inputs_that_do_not_fit(module, new):
    with pytest.raises(TypeError, match=r"forward\(image, brightness\) of TwoInputs.* one input"):
        as_classifier(TwoInputs(module)).predict_proba(new)
    with pytest.raises(TypeError, match="the inputs 'picture', 'brightness'"):
        as_classifier(TwoInputs(module)).predict_proba({"picture": new, "brightness": new})


def as_dataset(X):
    return TensorDataset(torch.from_numpy(X), torch.zeros(len(X)))


@pytest.mark.parametrize(
    "give", [as_dataset, lambda X: DataLoader(as_dataset(X), batch_size=7), torch.from_numpy]
)
def test_datasets_loaders_and_tensors(give, module, validation, new):
    X, y = validation
    net = as_classifier(module, batch_size=50)
    # By default an array of images gets views, and a Dataset does not.
    options = {"meta_features": "one_pass", "random_state": 0}
    expected = MetaErrorClassifier(net, "logistic", **options).fit(X, y)
    clf = MetaErrorClassifier(net, "logistic", **options).fit(give(X), y)
    assert_allclose(
        clf.predict_error_proba(give(new)), expected.predict_error_proba(new), atol=1e-6
    )
    assert_array_equal(net.predict_proba(give(new)), net.predict_proba(new))
    assert_array_equal(clf.predict_proba(give(new)), net.predict_proba(new))


def test_a_loader_that_shuffles_or_collates_is_refused(module, validation):
    X, y = validation
    rows, clf = as_dataset(X), MetaErrorClassifier(as_classifier(module))
    with pytest.raises(TypeError, match=r"DataLoader that shuffles .* Pass its Dataset"):
        clf.fit(DataLoader(rows, shuffle=True), y)
    with pytest.raises(TypeError, match=r"collate_fn of its own.*iterator_valid__collate_fn"):
        clf.fit(DataLoader(rows, collate_fn=lambda rows: rows), y)


def test_the_loader_of_rows_takes_parameters(module, new):
    net = as_classifier(module, iterator_valid__pin_memory=False)
    net.predict_proba(new)
    with pytest.raises(TypeError, match=r"'num_workers'.*iterator_valid__num_workers"):
        as_classifier(module, num_workers=2)


def test_clones_and_copies_keep_the_weights(module, validation, new):
    net = as_classifier(module)
    expected = net.predict_proba(new)
    for other in (clone(net), clone(net.estimator), copy.deepcopy(net), net.fit(*validation)):
        assert_array_equal(other.predict_proba(new), expected)
    clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(*validation)
    for other in (clone(clf).fit(*validation), pickle.loads(pickle.dumps(clf))):
        assert_array_equal(other.predict_error_proba(new), clf.predict_error_proba(new))
    with pytest.raises(TypeError, match="is trained already and stays as it is"):
        net.estimator.fit(*validation)
    with pytest.raises(ValueError, match="would replace the trained module"):
        net.estimator.set_params(module__n_outputs=3)


def test_weights_are_saved_once(module):
    size = len(pickle.dumps(module.state_dict()))
    assert len(pickle.dumps(as_classifier(module))) < size + 30_000


def test_scikit_learn_uses_it_as_a_fitted_classifier(module, validation, new):
    X, y = validation
    names = np.array(list("jihgfedcba"))
    net = as_classifier(module, classes=names)
    assert is_classifier(net)
    assert cross_val_score(net, X, names[y], cv=2).min() > 0.7
    calibrated = CalibratedClassifierCV(net).fit(X, names[y])
    assert calibrated.predict_proba(new).shape == (len(new), 10)
    unnamed = as_classifier(module)
    with pytest.raises(AttributeError, match="known after the first prediction"):
        unnamed.classes_  # noqa: B018
    assert cross_val_score(unnamed, X, y, cv=2).min() > 0.7
    assert_array_equal(unnamed.classes_, np.arange(10))


def test_our_tools_use_it(module, validation, new):
    net = as_classifier(module)
    assert TorchEmbedding(net).fit_transform(new).shape == (len(new), 16)
    features = ["confidence", "neighbors", AugmentedConfidence()]
    clf = MetaErrorClassifier(net, meta_features=features, random_state=0).fit(*validation)
    assert np.ptp(clf.predict_error_proba(new)) > 0.05
    SelectiveClassifier(clf, target_risk=0.2).fit(*validation).predict(new)
    assert MetaErrorClassifier(net, None).fit(*validation).predict_error_proba(
        new
    ) == pytest.approx(1 - max_probability(net.predict_proba(new)), abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (TinyCNN, "got TinyCNN. Pass a trained instance, not the class"),
        ({}, r"got dict. If it holds weights: module.load_state_dict"),
        (lambda x: x, "got function. Pass a trained instance of torch.nn.Module"),
        (NeuralNetClassifier(TinyCNN), "It is a classifier already"),
    ],
)
def test_what_is_no_module_is_refused(wrong, match):
    with pytest.raises(TypeError, match=match):
        as_classifier(wrong)


def test_wrong_parameters_are_refused(module):
    with pytest.raises(ValueError, match='output must be "auto", "logits" or "probabilities"'):
        as_classifier(module, output="proba")
    with pytest.raises(ValueError, match="two different labels, one for each output, got"):
        as_classifier(module, classes=["a", "a"])
    with pytest.raises(ValueError, match='"meta" device and has no weights'):
        as_classifier(copy.deepcopy(module).to("meta"))
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    with pytest.raises(ValueError, match="lazy layers that no row has passed"):
        as_classifier(lazy)
    lazy(torch.zeros(1, 4))
    assert as_classifier(lazy).predict_proba(torch.zeros(3, 4)).shape == (3, 2)


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", 3.5])
def test_devices_that_cannot_be_used(device, module):
    with pytest.raises(ValueError, match=rf"device={device!r} .* at hand: 'cpu'.*device=\"cpu\""):
        as_classifier(module, device=device)
    assert next(module.parameters()).device.type == "cpu"


@pytest.mark.parametrize(
    ("wrap", "match"),
    [
        (lambda z: z.argmax(1), r"got shape \(4,\) and torch.int64"),
        (lambda z: z[:, :, None], r"got shape \(4, 10, 1\)"),
        (lambda z: "text", "got str"),
        (lambda z: {"loss": z.sum()}, "got dict"),
        (lambda z: z[:2], r"shape \(2, 10\) for a batch of 4 rows"),
    ],
)
def test_outputs_of_a_wrong_kind(wrap, match, module, new):
    with pytest.raises(ValueError, match=match):
        as_classifier(Returns(module, wrap)).predict_proba(new[:4])


def test_a_module_without_parameters(new):
    scores = Returns(
        nn.Identity(), lambda x: torch.stack([x.mean((1, 2, 3)), x.amax((1, 2, 3))], 1)
    )
    proba = as_classifier(scores, output="logits").predict_proba(new)
    assert proba.shape == (len(new), 2)


def test_nan_is_no_logit_and_no_probability(module, validation):
    X, y = validation
    X = X.copy()
    X[0] = np.nan
    with pytest.raises(ValueError, match="is NaN in 1 of"):
        MetaErrorClassifier(as_classifier(module)).fit(X, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="only without a GPU")
def test_saved_on_a_gpu_and_loaded_without_one(module, validation, new):
    net = as_classifier(module)
    clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(*validation)
    expected = clf.predict_error_proba(new)
    net.estimator.device = "cuda"
    # As if there were a GPU: torch notes the device of each storage when it saves it.
    registry = torch.serialization._package_registry
    registry.insert(0, (0, lambda storage: "cuda:0", lambda storage, location: None))
    try:
        saved, saved_module = pickle.dumps(clf), pickle.dumps(module)
    finally:
        registry.pop(0)
    with pytest.raises(RuntimeError, match="CUDA"):
        pickle.loads(saved_module)
    with pytest.warns(UserWarning, match="CUDA|cuda"):
        loaded = pickle.loads(saved)
    assert_array_equal(loaded.predict_error_proba(new), expected)
    assert str(loaded.estimator_.device) == "cpu"


def test_labels_that_do_not_belong_to_the_outputs_are_noticed(module, validation):
    X, y = validation
    clf = MetaErrorClassifier(as_classifier(module), "confidence", random_state=0)
    with pytest.warns(UserWarning, match=r"predictions are wrong.*as_classifier\(module, classes="):
        clf.fit(X, (y + 1) % 10)
