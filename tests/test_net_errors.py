"""What a user brings by mistake, or before it is ready: each error says what to type."""

import numpy as np
import pytest
import torch
from _nets import TinyCNN, TinyMLP, make_net
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit
from skorch.helper import predefined_split
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from metaerr_sklearn import (
    MetaErrorClassifier,
    OtherFits,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    failure_report,
)
from metaerr_sklearn.neural import AugmentedConfidence, TorchEmbedding, as_classifier


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(90, 64)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)


WRAPPERS = {
    "MetaErrorClassifier": lambda base, X, y: MetaErrorClassifier(base).fit(X, y),
    "prefit": lambda base, X, y: MetaErrorClassifier(base, cv="prefit").fit(X, y),
    "frozen": lambda base, X, y: MetaErrorClassifier(FrozenEstimator(base)).fit(X, y),
    "pipeline": lambda base, X, y: MetaErrorClassifier(make_pipeline(StandardScaler(), base)).fit(
        X, y
    ),
    "selective": lambda base, X, y: SelectiveClassifier(base, target_coverage=0.9).fit(X, y),
    "self-training": lambda base, X, y: SelfTrainingWithMetaErr(base).fit(
        X, np.where(X[:, 2] > 0, y, -1)
    ),
    "meta-learner": lambda base, X, y: MetaErrorClassifier(LogisticRegression(), base).fit(X, y),
    "report": failure_report,
    "embedding": lambda base, X, y: TorchEmbedding(base).fit(X),
    "augmentation": lambda base, X, y: AugmentedConfidence(lambda X: [X]).observe(base, X),
}


@pytest.mark.parametrize("module", [TinyMLP(), TinyMLP, torch.nn.Sequential(TinyMLP())])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_pytorch_module_is_refused_in_few_words(module, wrapper, table):
    with pytest.raises(
        TypeError, match=r"is a PyTorch module.*NeuralNetClassifier\(module"
    ) as info:
        WRAPPERS[wrapper](module, *table)
    assert "initialize()" in str(info.value)
    assert len(str(info.value)) < 400


@pytest.mark.parametrize("wrapper", ["prefit", "frozen"])
@pytest.mark.parametrize("module", [TinyMLP(), TinyMLP])
def test_a_net_that_is_not_initialized(module, wrapper, table):
    with pytest.raises(NotFittedError, match=r"call net.initialize\(\) first"):
        WRAPPERS[wrapper](make_net(module), *table)


class CountingNet(NeuralNetClassifier):
    """A net that counts the fits of all its clones."""

    n_fits = 0

    def fit(self, X, y=None, **fit_params):
        type(self).n_fits += 1
        return super().fit(X, y, **fit_params)


@pytest.fixture
def counted():
    CountingNet.n_fits = 0
    return make_net(TinyMLP, net_class=CountingNet, max_epochs=1)


def as_loader(X, y, *, shuffle=True):
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    return DataLoader(rows, batch_size=8, shuffle=shuffle)


@pytest.mark.parametrize("make", [MetaErrorClassifier, SelfTrainingWithMetaErr])
@pytest.mark.parametrize(
    ("X_of", "y_of", "error", "match"),
    [
        (None, lambda X, y: None, ValueError, r"target y is None. Labels in a Dataset .* y=np.arr"),
        (None, lambda X, y: {"label": y}, TypeError, r"got a dict. Pass an array: y\["),
        (None, as_loader, TypeError, r"got a DataLoader. Pass an array: .*label for _, label"),
        (None, lambda X, y: as_loader(X, y).dataset, TypeError, r"got a TensorDataset. Pass an"),
        (as_loader, None, TypeError, r"DataLoader that shuffles.*Pass its Dataset, loader.dataset"),
    ],
)
def test_inputs_that_are_no_rows_or_no_labels(make, X_of, y_of, error, match, table, counted):
    X, y = (part if change is None else change(*table) for part, change in zip(table, (X_of, y_of)))
    with pytest.raises(error, match=match):
        make(counted).fit(X, y)
    assert CountingNet.n_fits == 0


def test_a_data_loader_that_shuffles_is_refused_in_predictions(table, counted):
    clf = MetaErrorClassifier(counted, "confidence", cv=2).fit(*table)
    for method in (clf.predict, clf.predict_proba, clf.predict_with_error):
        with pytest.raises(TypeError, match=r"DataLoader that shuffles"):
            method(as_loader(*table))
        in_order = method(as_loader(*table, shuffle=False))
        np.testing.assert_array_equal(in_order, method(table[0]))


def test_batches_that_are_dropped_in_predictions(table, counted):
    X, y = table
    counted.set_params(iterator_valid__drop_last=True)
    bases = [counted, FrozenEstimator(make_net(TinyMLP, iterator_valid__drop_last=True).fit(X, y))]
    for make in (MetaErrorClassifier, SelfTrainingWithMetaErr):
        for base in bases[: 2 if make is MetaErrorClassifier else 1]:
            with pytest.raises(ValueError, match=r"set_params\(iterator_valid__drop_last=False"):
                make(base).fit(X, np.where(y == 2, -1, y) if make is SelfTrainingWithMetaErr else y)
    assert CountingNet.n_fits == 0


def test_missing_pixels_are_not_blamed_on_the_softmax(table):
    X, y = table
    net = make_net(TinyMLP).fit(X, y)
    odd = X.copy()
    odd[[7, 9]] = np.nan
    with pytest.raises(ValueError, match=r"NaN in 2 of 90 rows, row 7 the first") as info:
        MetaErrorClassifier(FrozenEstimator(net)).fit(odd, y)
    assert "softmax" not in str(info.value)
    partly, odd = np.where(np.arange(90) < 60, y, -1), X.copy()
    odd[70] = np.nan
    with pytest.raises(
        ValueError, match=r"hidden layer of Neural.* is NaN in 1 of 90 rows, row 70"
    ):
        SelfTrainingWithMetaErr(make_net(TinyMLP, module__n_outputs=3)).fit(odd, partly)


class HalfPrecision(TinyMLP):
    def forward(self, X):
        return super().forward(X).bfloat16()


def test_outputs_in_bfloat16(table):
    with pytest.raises(TypeError, match=r"returns bfloat16.*output.float\(\)"):
        MetaErrorClassifier(make_net(HalfPrecision), cv=2).fit(*table)


def test_labels_in_uint8(table):
    X, y = table
    clf = MetaErrorClassifier(make_net(TinyMLP), "confidence", cv=2, random_state=0).fit(
        X, y.astype(np.uint8)
    )
    assert clf.predict(X).dtype == np.uint8
    partly = np.where(np.arange(90) < 60, y, -1).astype(np.uint8)
    with pytest.raises(ValueError, match=r"dtype uint8, in which the marker -1 becomes 255"):
        SelfTrainingWithMetaErr(make_net(TinyMLP, module__n_outputs=3)).fit(X, partly)


def test_fewer_outputs_than_classes(table):
    net = make_net(TinyMLP, module__n_outputs=2)
    with pytest.raises(ValueError, match=r"fewer output units than y has classes.*\[0, 1, 2\]"):
        MetaErrorClassifier(net, cv=2).fit(*table)


@pytest.mark.parametrize("split", [ValidSplit(5, stratified=True), ValidSplit(12, stratified=True)])
def test_too_few_labels_for_the_own_hold_out_of_a_net(split, table, counted):
    X, y = table
    n_rows = 5 if split.cv == 5 else 12
    few = np.concatenate([np.flatnonzero(y == label)[:n_rows] for label in range(3)])
    counted.set_params(train_split=split)
    with pytest.raises(ValueError, match=r"needs .* rows of a class.*train_split=None"):
        MetaErrorClassifier(counted, cv=3).fit(X[few], y[few])
    assert CountingNet.n_fits == 0
    partly = np.full(90, -1)
    partly[few] = y[few]
    with pytest.raises(ValueError, match=r"train_split=None"):
        SelfTrainingWithMetaErr(counted, cv=3).fit(X, partly)
    CountingNet.n_fits = 0
    with pytest.raises(ValueError, match=r"needs .* rows of a class.*train_split=None"):
        SelectiveClassifier(counted, target_coverage=0.8).fit(X[few], y[few])
    assert CountingNet.n_fits == 0
    counted.set_params(train_split=ValidSplit(2, stratified=True))
    MetaErrorClassifier(counted, "confidence", cv=3, random_state=0).fit(X, y)


@pytest.mark.parametrize("make", [MetaErrorClassifier, SelfTrainingWithMetaErr])
def test_a_sampler_of_the_rows_of_another_set(make, table, counted):
    X, y = table
    y = np.where(np.arange(90) < 60, y, -1) if make is SelfTrainingWithMetaErr else y
    sampler = WeightedRandomSampler(torch.ones(90), 90)
    with pytest.raises(ValueError, match=r"is a WeightedRandomS.*pass iterator_train=loader"):
        make(make_net(TinyMLP, iterator_train__sampler=sampler), random_state=0).fit(X, y)

    def loader(dataset, **options):
        own = WeightedRandomSampler(torch.ones(len(dataset)), len(dataset))
        return DataLoader(dataset, **{"sampler": own, **options})

    fitted = make(make_net(TinyMLP, iterator_train=loader), random_state=0).fit(X, y)
    assert fitted.score(X[y >= 0], y[y >= 0]) > 0


@pytest.mark.parametrize("wrap", [lambda net: net, make_pipeline])
def test_a_net_that_gets_no_batch_is_not_taken_for_trained(wrap, table):
    X, y = table
    net = wrap(make_net(TinyMLP, batch_size=80, iterator_train__drop_last=True))
    with pytest.raises(ValueError, match=r"not trained on any row: .*batch_size=80 no batch"):
        MetaErrorClassifier(net, cv=3).fit(X, y)
    with pytest.raises(ValueError, match=r"not trained on any row"):
        SelfTrainingWithMetaErr(net).fit(X, np.where(np.arange(90) < 60, y, -1))
    assert MetaErrorClassifier(net, None).fit(X, y).predict(X).shape == (90,)
    untrained = make_net(TinyMLP, module__n_outputs=3, max_epochs=0)
    clf = MetaErrorClassifier(untrained, "confidence", cv=2, random_state=0).fit(X, y)
    assert clf.n_errors_ > 0


def test_labels_of_a_validation_set_of_the_user(table):
    X, y = table
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y + 8))
    net = make_net(TinyMLP, module__n_outputs=3, train_split=predefined_split(data))
    with pytest.raises(ValueError, match=r"0 to 2, but gets the label \d+ .*predefined_split"):
        MetaErrorClassifier(net, cv=2).fit(X, y + 8)
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    net = make_net(TinyMLP, module__n_outputs=3, train_split=predefined_split(data))
    MetaErrorClassifier(net, "confidence", cv=2, random_state=0).fit(X, y + 8)


@pytest.fixture(scope="module")
def images():
    """Noise of two classes: about half of 60 predictions are right, whatever a net has learned."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, size=(60, 1, 8, 8), dtype=np.uint8), np.arange(60) % 2


def as_rows(X):
    rows = torch.from_numpy(np.ascontiguousarray(X))
    return TensorDataset(rows, torch.zeros(len(rows)))


def flat(*layers):
    return torch.nn.Sequential(*layers, torch.nn.Flatten(), TinyMLP())


NETS_ON_IMAGES = {
    "as_classifier": lambda module, X, y: as_classifier(module).predict(X),
    "on trained": lambda module, X, y: MetaErrorClassifier(as_classifier(module)).fit(X, y),
    "skorch": lambda module, X, y: MetaErrorClassifier(make_net(module), cv=2).fit(X, y),
    "prefit": lambda module, X, y: MetaErrorClassifier(
        make_net(module).initialize(), cv="prefit"
    ).fit(X, y),
}


@pytest.mark.parametrize("use", NETS_ON_IMAGES)
@pytest.mark.parametrize("give", [np.array, torch.from_numpy, list, as_rows])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_pixels_that_are_no_floats(dtype, give, use, images):
    X, y = images
    match = rf'X holds {np.dtype(dtype)}, but .* Pass X.astype\("float32"\)'
    with pytest.raises(ValueError, match=match) as info:
        NETS_ON_IMAGES[use](TinyCNN(), give(X.astype(dtype)), y)
    assert ("/ 255" in str(info.value)) == (dtype is np.uint8)
    assert isinstance(info.value.__cause__, RuntimeError)


@pytest.mark.parametrize("use", ["skorch", "prefit"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tensors_in_half_precision(dtype, use, images):
    X = torch.from_numpy(images[0]).to(getattr(torch, dtype))
    with pytest.raises(ValueError, match=rf"X holds {dtype}, but .*X.float\(\) of a tensor"):
        NETS_ON_IMAGES[use](TinyCNN(), X, images[1])


@pytest.mark.parametrize("first", [[], [torch.nn.BatchNorm2d(1)], [torch.nn.LayerNorm(8)]])
def test_the_first_layer_names_the_dtype_in_its_own_way(first, images):
    with pytest.raises(ValueError, match="X holds uint8"):
        as_classifier(flat(*first)).predict(images[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_embedding_takes_integers(dtype, images):
    with pytest.raises(ValueError, match=rf'{np.dtype(dtype)}.*Pass X.astype\("int64"\)'):
        as_classifier(flat(torch.nn.Embedding(256, 1))).predict(images[0].astype(dtype))


class ScalesBytes(TinyCNN):
    def forward(self, X):
        return super().forward(X / 255)


def test_a_module_that_scales_bytes_itself(images):
    X, y = images
    torch.manual_seed(0)
    module = ScalesBytes().eval()
    plain = TinyCNN()
    plain.load_state_dict(module.state_dict())
    np.testing.assert_allclose(
        as_classifier(module).predict_proba(X),
        as_classifier(plain).predict_proba(X.astype("float32") / 255),
        atol=1e-6,
    )
    # As many outputs as classes: with more, a net that is hardly trained may never be right.
    NETS_ON_IMAGES["skorch"](ScalesBytes(n_outputs=2), X, y)


class ChannelsLast(TinyCNN):
    def forward(self, X):
        return super().forward(X.permute(0, 3, 1, 2))


class CentersThreeChannels(torch.nn.Module):
    def forward(self, X):
        return (X - torch.ones(1, 3, 1, 1)).mean((2, 3))


@pytest.mark.parametrize("use", NETS_ON_IMAGES)
@pytest.mark.parametrize("give", [np.array, torch.from_numpy, list, as_rows])
def test_axes_in_another_order(give, use, images):
    first, y = images[0].astype(np.float32), images[1]
    last = first.transpose(0, 2, 3, 1).copy()
    use = NETS_ON_IMAGES[use]
    with pytest.raises(ValueError, match=r"seem to be the last .* Pass X.transpose\(0, 3, 1, 2\)"):
        use(TinyCNN(), give(last), y)
    with pytest.raises(ValueError, match=r"be the second .* Pass X.transpose\(0, 2, 3, 1\)"):
        use(ChannelsLast(), give(first), y)
    with pytest.raises(ValueError, match=r"without an axis of channels.* Pass X\[:, None\]"):
        use(TinyCNN(), give(first[:, 0]), y)


@pytest.mark.parametrize(
    ("module", "shape", "code"),
    [
        (torch.nn.Conv1d(3, 2, 5), (9, 20, 3), "X.transpose(0, 2, 1)"),
        (torch.nn.BatchNorm2d(3), (9, 8, 8, 3), "X.transpose(0, 3, 1, 2)"),
        (CentersThreeChannels(), (9, 8, 8, 3), "X.transpose(0, 3, 1, 2)"),
        (torch.nn.Conv3d(3, 2, 3), (9, 4, 4, 4, 3), "X.transpose(0, 4, 1, 2, 3)"),
    ],
)
def test_axes_in_another_order_of_other_layers(module, shape, code):
    with pytest.raises(ValueError, match="channels seem to be the last axis") as info:
        as_classifier(module).predict(np.zeros(shape, np.float32))
    assert code in str(info.value)


@pytest.mark.parametrize(
    ("module", "shape", "match"),
    [
        (torch.nn.Conv1d(1, 2, 5), (9, 20), r"without an axis of channels.* Pass X\[:, None\]"),
        (torch.nn.Conv3d(1, 2, 3), (9, 4, 5, 6), r"without an axis of chan.* Pass X\[:, None\]"),
        (torch.nn.Conv2d(1, 2, 3), (9, 64), r"Pass X.reshape\(len\(X\), channels, height, width"),
        (torch.nn.Conv2d(1, 2, 3), (9, 1, 1, 8, 8), r"conv2d of .* channels, height, width"),
        (torch.nn.LSTM(3, 2, batch_first=True), (9, 3, 7), r"Pass X.transpose\(0, 2, 1\)"),
    ],
)
def test_too_few_axes_or_too_many(module, shape, match):
    with pytest.raises(ValueError, match=match):
        as_classifier(module).predict(np.zeros(shape, np.float32))


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", "complex64"])
def test_pixels_of_wide_integers_and_complex_numbers(dtype, images):
    with pytest.raises(ValueError, match=f"X holds {dtype}, but") as info:
        as_classifier(TinyCNN()).predict(images[0].astype(dtype))
    assert ("/ 65535" in str(info.value)) == (dtype == "uint16")


@pytest.mark.parametrize("ids", [(0, 9), (-1, 3)])
def test_ids_that_an_embedding_does_not_have(ids):
    module = torch.nn.Sequential(torch.nn.EmbeddingBag(5, 2))
    X = np.tile(ids, (4, 1))
    with pytest.raises(ValueError, match=f"X holds the ids {ids[0]} to {ids[1]}, but an Emb"):
        MetaErrorClassifier(make_net(module), cv=2).fit(X, [0, 1, 0, 1])


class TwoInputs(TinyMLP):
    def forward(self, rows, mask):
        return super().forward(rows * mask)


def test_names_of_inputs_that_the_module_does_not_have(table):
    X, y = table
    fit = MetaErrorClassifier(make_net(TwoInputs), cv=2).fit
    with pytest.raises(
        TypeError, match=r"inputs 'rows', 'masks'.* unexpected.* 'masks'.*keys of X"
    ):
        fit({"rows": X, "masks": X}, y)
    with pytest.raises(TypeError, match=r"several inputs.*Pass X as a dict"):
        fit(X, y)


class ReturnsDict(TinyMLP):
    def forward(self, X):
        return {"logits": super().forward(X)}


@pytest.mark.parametrize(
    ("module", "criterion", "match"),
    [
        ({}, {"criterion__weight": torch.ones(3).double()}, "holds float64.* dtype=torch.float32"),
        ({}, {"criterion__weight": np.ones(3)}, r"must be a tensor. Pass torch.as_tensor\(weight"),
        ({"module__n_outputs": 1}, {"criterion": torch.nn.BCEWithLogitsLoss}, "NetBinaryClassif"),
        ({"module": ReturnsDict}, {}, "returns a dict.*Let forward return the logits alone"),
    ],
)
def test_errors_of_the_criterion_do_not_blame_the_rows(module, criterion, match, table):
    net = make_net(**{"module": TinyMLP, "module__n_outputs": 3, **module, **criterion})
    with pytest.raises((TypeError, ValueError), match=match) as info:
        MetaErrorClassifier(net, cv=2).fit(*table)
    assert "X holds" not in str(info.value)


class RecordsItsOwnScore(Callback):
    def on_epoch_begin(self, net, **kwargs):
        net.history.record("valid_acc", 0.5)


@pytest.mark.parametrize("make", [MetaErrorClassifier, SelfTrainingWithMetaErr])
@pytest.mark.parametrize(
    "callback",
    [EarlyStopping(), ("stop", Checkpoint()), LRScheduler("ReduceLROnPlateau", "valid_loss")],
)
def test_callbacks_that_wait_for_validation_rows(callback, make, table, counted):
    X, y = table
    counted.set_params(callbacks=[callback])
    with pytest.raises(ValueError, match=r"needs 'valid_loss.* train_split=skorch.*'train_loss"):
        make(counted).fit(X, np.where(np.arange(90) < 60, y, -1) if "Self" in str(make) else y)
    unused = [LRScheduler("StepLR", "valid_loss", step_size=1), EarlyStopping("train_loss")]
    unused += [RecordsItsOwnScore(), EarlyStopping("valid_acc", lower_is_better=False)]
    net = make_net(TinyMLP, callbacks=unused, max_epochs=2)
    MetaErrorClassifier(net, "confidence", cv=2, random_state=0).fit(X, y)


@pytest.mark.parametrize("shape", [(9, 5, 8, 8), (9, 8, 8, 5)])
def test_other_errors_of_torch_stay_as_they_are(shape):
    with pytest.raises(RuntimeError):
        as_classifier(TinyCNN()).predict(np.zeros(shape, np.float32))


def test_a_net_of_as_classifier_is_called_by_its_module(images):
    X, y = images[0].astype(np.float32), images[1]
    clf = MetaErrorClassifier(as_classifier(TinyCNN(n_outputs=2)), "confidence")
    with pytest.raises(ValueError, match="minimum of 1 is required by TinyCNN"):
        clf.fit(X, y).predict(X[:0])
    with pytest.raises(ValueError, match=r"predict_proba of TinyCNN is NaN in 60"):
        clf.fit(X * np.nan, y)
    with pytest.raises(ValueError, match=r"fits TinyCNN again"):
        clf.set_params(meta_features=[OtherFits()]).fit(X, y)
    for compile_module in (torch.jit.script, torch.compile):
        net = as_classifier(compile_module(TinyCNN())).estimator
        assert net.name_in_messages == "TinyCNN"


def test_a_cnn_as_meta_learner_needs_the_images():
    X = np.random.default_rng(0).random((90, 1, 8, 8)).astype(np.float32)
    module = torch.nn.Sequential(torch.nn.Flatten(), TinyMLP(n_outputs=2))
    counted = make_net(module, net_class=CountingNet, max_epochs=1)
    CountingNet.n_fits = 0
    learner = make_net(TinyCNN, module__n_outputs=2, max_epochs=1)
    y = np.arange(90) % 2
    with pytest.raises(ValueError, match=r'takes images.*meta_features="input"'):
        MetaErrorClassifier(counted, learner, cv=2).fit(X, y)
    assert CountingNet.n_fits == 0
    MetaErrorClassifier(counted, learner, cv=2, meta_features="input").fit(X, y)


class Squeezes(TinyMLP):
    def forward(self, X):
        return super().forward(X).squeeze()


@pytest.mark.parametrize("n_rows", [1, 33])
def test_outputs_that_lack_the_axis_of_rows_for_a_single_row(n_rows, table):
    clf = MetaErrorClassifier(make_net(Squeezes), "confidence", cv=2, random_state=0).fit(*table)
    with pytest.raises(ValueError, match=r"a batch of one row. .*squeeze\(\) use flatten"):
        clf.predict(table[0][:n_rows])
    if n_rows == 33:
        with pytest.raises(ValueError, match=r"a batch of one row. .*squeeze\(\) use flatten"):
            clf.fit(table[0][:66], table[1][:66])


@pytest.mark.parametrize("wrap", [lambda net: net, make_pipeline])
def test_a_last_batch_of_one_row(wrap, table):
    layers = torch.nn.Linear(64, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)
    net = wrap(make_net(torch.nn.Sequential(*layers), batch_size=11))
    with pytest.raises(ValueError, match=r"A batch of .* has one row.*drop_last=True"):
        MetaErrorClassifier(net, cv=2).fit(*table)


class Precise(TinyMLP):
    def __init__(self):
        super().__init__()
        self.double()


def test_nets_in_double_precision(table):
    X, y = table[0].astype(float), table[1]
    clf = MetaErrorClassifier(make_net(Precise), "confidence", cv=2, random_state=0)
    with pytest.raises(ValueError, match=r"converted, but .*as_tensor\(X, dtype=torch.float64"):
        clf.fit(X, y)
    expected = clf.fit(torch.as_tensor(X), y).predict_proba(torch.as_tensor(X))
    torch.set_default_dtype(torch.float64)
    try:
        clf.set_params(estimator=make_net(TinyMLP)).fit(X, y)
        np.testing.assert_allclose(clf.predict_proba(X).shape, expected.shape)
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_tensor_with_gradients(table):
    X, y = torch.from_numpy(table[0]), table[1]
    clf = MetaErrorClassifier(make_net(TinyMLP), "logistic", cv=2, random_state=0).fit(X, y)
    expected, with_gradients = clf.predict_error_proba(X), X.clone().requires_grad_()
    again = clf.fit(with_gradients, y).predict_error_proba(with_gradients)
    np.testing.assert_array_equal(again, expected)


def test_rows_of_another_size_and_a_single_row(images):
    X, y = images[0].astype(np.float32), images[1]
    clf = MetaErrorClassifier(as_classifier(TinyCNN(n_outputs=2)), "confidence").fit(X, y)
    with pytest.raises(ValueError, match=r"X\[None\] if X is a single row"):
        clf.predict(X[0])
    flat = MetaErrorClassifier(as_classifier(TinyMLP(n_outputs=2)), "confidence")
    with pytest.raises(ValueError, match=r"If X is a single row, pass X\[None\]"):
        flat.fit(X.reshape(60, 64), y).predict(X[0].reshape(8, 8))
    with pytest.raises(ValueError, match=r"a linear layer of TinyCNN gets rows of 512 numbers"):
        clf.predict(np.repeat(np.repeat(X, 2, 2), 2, 3))


class CountsEpochs(Callback):
    def __init__(self):
        self.n_epochs = 0  # skorch takes it for a parameter

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs += 1


@pytest.mark.parametrize("wrapper", ["pipeline", "selective", "self-training"])
def test_a_callback_with_state_that_cannot_be_cloned(wrapper, table):
    net = make_net(TinyMLP, callbacks=[CountsEpochs()], max_epochs=1)
    net.fit(*table)  # alone it is not cloned
    with pytest.raises(TypeError, match=r"CountsEpochs in .*end in an underscore: n_epochs_"):
        WRAPPERS[wrapper](make_net(TinyMLP, callbacks=[CountsEpochs()]), *table)


def test_another_criterion_on_logits(table):
    net = make_net(TinyMLP, criterion=torch.nn.MultiMarginLoss)
    clf = MetaErrorClassifier(net, "confidence", cv=2, random_state=0)
    with pytest.raises(ValueError, match=r"predict_nonlinearity=softmax, .*out.softmax\(1\)"):
        clf.fit(*table)
    net.set_params(predict_nonlinearity=lambda out: out.softmax(1))
    assert clf.fit(*table).predict_proba(table[0]).min() >= 0
