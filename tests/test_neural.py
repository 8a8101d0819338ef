"""Random states, inputs, weighted fits, scores and embeddings of nets; residual MLPs."""

import pickle
import random
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from _nets import TinyCNN, TinyMLP, make_net
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import Dataset, ValidSplit
from skorch.helper import SliceDataset, SliceDict, predefined_split
from torch import nn
from torch.utils.data import Subset

from metaerr_sklearn import MetaErrorClassifier, MLPMetaLearner, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.adapter import adapt
from metaerr_sklearn.meta_learners._mlp import mlp_correction
from metaerr_sklearn.neural import (
    AugmentedConfidence,
    TorchEmbedding,
    _residual_mlp,
    as_classifier,
    as_net_input,
    energy_confidence,
    fit_net_weighted,
    max_logit_confidence,
    mc_dropout_proba,
    preserved_rng,
)
from metaerr_sklearn.neural._scores import has_dropout
from metaerr_sklearn.neural._training import _WeightedLoader, _WeightedSampler
from metaerr_sklearn.representation import NumericRepresentation
from metaerr_sklearn.representation._choice import net_representation


def train_residual_mlps(Z, is_error, offset, weight, masks, **kwargs):
    """Return the logits of each net after each epoch on all rows, and the weights."""
    of_nets = np.repeat(Z[None], len(masks), axis=0)
    weight = np.ones(len(Z)) if weight is None else weight
    params = {**MLPMetaLearner().get_params(), "seed": 0, **kwargs}
    del params["random_state"]
    weights = _residual_mlp.train_residual_mlps(of_nets, is_error, offset, weight, masks, **params)
    return np.stack([offset + mlp_correction(epoch, Z) for epoch in weights]), weights


class NoisyDataset(Dataset):
    """Augment with each of the three global generators."""

    def transform(self, X, y):
        noise = torch.rand(()).item() + np.random.rand() + random.random()  # noqa: NPY002
        return X + np.float32(0.1 * noise), y


def make_mlp(n_outputs=2, **kwargs):
    sizes = {"module__n_inputs": 4, "module__n_hidden": 8, "module__n_outputs": n_outputs}
    return make_net(TinyMLP, module__dropout=0.5, **sizes, **kwargs)


def make_binary_mlp(**kwargs):
    loss = nn.BCEWithLogitsLoss
    return make_mlp(1, net_class=NeuralNetBinaryClassifier, criterion=loss, **kwargs)


def global_states():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
        torch.get_num_threads(),
    )


def parameters_of(net):
    return [p.detach().numpy() for p in net.module_.parameters()]


@pytest.fixture(scope="module")
def digit_images():
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    return X[:400], y[:400].astype(np.int64), X[400:900], y[400:900].astype(np.int64)


@pytest.fixture(scope="module")
def cnn(digit_images):
    with preserved_rng(0):
        return make_net(TinyCNN, max_epochs=15).fit(*digit_images[:2])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)).astype(np.float32)
    return X, (X[:, 0] > 0).astype(np.int64)


# preserved_rng


def test_equal_seeds_give_equal_fits(table):
    nets = []
    for seed in (0, 0, 1):
        with preserved_rng(seed):
            nets.append(make_mlp(dataset=NoisyDataset).fit(*table))
    same, again, other = (np.concatenate([p.ravel() for p in parameters_of(n)]) for n in nets)
    assert_array_equal(same, again)
    assert np.abs(same - other).max() > 1e-3


def test_global_random_states_are_restored():
    before = global_states()
    with preserved_rng(3):
        torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
    assert global_states() == before
    with pytest.raises(RuntimeError, match="cannot be converted to Scalar"), preserved_rng(3):
        torch.rand(5).item()
    assert global_states() == before


def test_without_seed_the_global_stream_is_used():
    with preserved_rng(0):
        expected = torch.rand(3)
    with preserved_rng(0), preserved_rng(None):
        assert_array_equal(torch.rand(3), expected)


def test_seeding_does_not_start_cuda():
    was_started = torch.cuda.is_initialized()
    with preserved_rng(0, device="cpu"):
        torch.rand(1)
    assert torch.cuda.is_initialized() == was_started


# as_net_input


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((2, 1, 4, 4), dtype=np.float32),
        np.zeros((2, 3), dtype=np.int64),
        np.zeros((2, 8, 8), dtype=np.uint8),
        np.zeros((2, 3), dtype=bool),
        np.array(["some", "text"], dtype=object),
        torch.zeros(2, 3, dtype=torch.float64),
        SliceDict(a=np.zeros(2, dtype=np.float32), b=torch.zeros(2)),
        Dataset(np.zeros((2, 3)), np.zeros(2)),
        SliceDataset(Dataset(np.zeros((2, 3)), np.zeros(2))),
        ["some", "text"],
        [],
        [[1.5], [2.5, 3.5]],
        [np.array("some"), np.array("text")],
        [np.array(["some"]), np.array(["text"])],
        [np.zeros(3), np.zeros(4)],
        [torch.zeros(3), torch.zeros(4)],
        [np.zeros(3), torch.zeros(3)],
        [{"a": np.zeros(2)}, {"b": np.zeros(2)}],
        [{"a": np.zeros(2)}, {"a": np.zeros(3)}],
        sparse.csr_matrix((2, 3), dtype=np.float32),
        sparse.csr_matrix((2, 3), dtype=np.int64),
    ],
    ids=lambda X: type(X).__name__,
)
def test_input_that_a_net_takes_is_the_same_object(X):
    assert as_net_input(X) is X


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("as_row", [np.array, torch.from_numpy])
def test_a_list_of_arrays_or_tensors_is_stacked(as_row, dtype):
    X = np.arange(24).reshape(3, 1, 2, 4).astype(dtype)
    stacked = as_net_input([as_row(row) for row in X])
    assert_array_equal(np.asarray(stacked), X)
    expected = as_net_input(as_row(X))
    assert (type(stacked), stacked.dtype) == (type(expected), expected.dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floating_arrays_become_float32(dtype):
    X = np.arange(32).reshape(2, 1, 4, 4).astype(dtype)
    converted = as_net_input(X)
    assert converted.dtype == np.float32
    assert X.dtype == dtype
    assert_array_equal(converted, X)


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"a": [0.5, 2.0], "b": pd.array([1, None], "Int64"), "c": [True, False]}),
        pl.DataFrame({"a": [0.5, 2.0], "b": [1, None], "c": [True, False]}),
    ],
    ids=["pandas", "polars"],
)
def test_numeric_frames_become_a_float32_matrix(frame):
    converted = as_net_input(frame)
    assert converted.dtype == np.float32
    assert_array_equal(converted, [[0.5, 1, 1], [2, np.nan, 0]])


@pytest.mark.parametrize("library", [pd, pl])
def test_frames_with_text_are_refused(library):
    frame = library.DataFrame({"age": [1.0, 2.0], "city": ["Bern", "Oslo"]})
    with pytest.raises(TypeError, match=r"numeric columns only, got 'city' .*ColumnTransformer"):
        as_net_input(frame)
    categories = pd.DataFrame({f"c{i}": pd.Categorical(["a", "b"]) for i in range(7)})
    with pytest.raises(TypeError, match=r"'c4' \(category\) and 2 more\. Encode"):
        as_net_input(categories)


@pytest.mark.parametrize("convert", [sparse.csr_matrix, sparse.coo_matrix, sparse.csr_array])
def test_sparse_input_predicts_as_dense_does(table, convert):
    X, y = table
    with preserved_rng(0):
        net = make_mlp().fit(X, y)
    X_sparse = as_net_input(convert(X.astype(np.float64)))
    assert_allclose(net.predict_proba(X_sparse), net.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_read_only_input_is_copied(dtype):
    """Workers of joblib get read-only arrays; torch warns about sharing them."""
    X = np.ones((2, 3), dtype=dtype)
    X.flags.writeable = False
    converted = as_net_input(X)
    assert converted.flags.writeable
    assert_array_equal(converted, X)
    assert as_net_input(pd.DataFrame(X)).flags.writeable
    assert as_net_input(pl.DataFrame(X)).flags.writeable


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_memory_map_predicts_as_its_array_does(table, tmp_path, order):
    X, y = table
    with preserved_rng(0):
        net = make_mlp().fit(X, y)
    mapped = np.memmap(tmp_path / "rows", dtype=float, mode="w+", shape=X.shape, order=order)
    mapped[:] = X
    assert_array_equal(net.predict_proba(as_net_input(mapped)), net.predict_proba(X))


# Predictions in general


@pytest.mark.parametrize(
    "predict",
    [
        lambda net, X: adapt(net).call("predict_proba", X),
        lambda net, X: adapt(make_pipeline("passthrough", net)).call("predict", X),
        lambda net, X: mc_dropout_proba(net, X, n_passes=2, random_state=0),
        energy_confidence,
        lambda net, X: TorchEmbedding(net).transform(X),
        lambda net, X: AugmentedConfidence().observe(net, X),
    ],
)
def test_no_attribute_of_the_net_is_replaced_while_it_predicts(cnn, digit_images, predict):
    net = pickle.loads(pickle.dumps(cnn))
    during = []
    net.module_.register_forward_hook(lambda *_: during.append(dict(vars(net))))
    before = dict(vars(net))
    predict(net, digit_images[2])
    for attributes in (*during, vars(net)):
        assert attributes.keys() == before.keys()
        assert all(attributes[name] is before[name] for name in before)
    assert during


def test_raw_predictions_of_a_base_are_those_of_skorch(cnn, digit_images):
    X = digit_images[2]
    for base in (cnn, FrozenEstimator(cnn), make_pipeline("passthrough", cnn)):
        assert_array_equal(adapt(base).call("predict_proba", X), cnn.predict_proba(X))


# fit_net_weighted


def test_each_row_is_drawn_in_proportion_to_its_weight():
    weights = np.random.default_rng(0).exponential(size=50)
    expected = 50 * weights / weights.sum()
    sampler = _WeightedSampler(weights)
    with preserved_rng(0):
        counts = np.array([np.bincount(list(sampler), minlength=50) for _ in range(2000)])
    assert (counts.sum(axis=1) == len(sampler)).all()
    assert (np.abs(counts - expected) < 1).all()
    # Independent draws would have a standard error of sqrt(expected / 2000), up to 0.05.
    assert_allclose(counts.mean(axis=0), expected, atol=0.05)


def test_the_order_of_the_rows_is_shuffled():
    with preserved_rng(0):
        draws = np.array([list(_WeightedSampler(np.ones(20))) for _ in range(3000)])
    assert_array_equal(np.sort(draws[0]), np.arange(20))
    assert_allclose(draws.mean(axis=0), 9.5, atol=0.5)


@pytest.mark.parametrize("weight", [None, np.ones(80), np.full(80, 0.3)])
def test_equal_weights_are_the_unweighted_fit(table, weight):
    X, y = table
    weighted = fit_net_weighted(make_mlp(), X, y, weight, seed=0)
    with preserved_rng(0):
        plain = make_mlp().fit(X, y)
    for p, q in zip(parameters_of(weighted), parameters_of(plain)):
        assert_array_equal(p, q)


@pytest.mark.parametrize("kind", ["array", "frame", "SliceDict", "SliceDataset", "csr"])
def test_weight_zero_removes_a_row(table, kind):
    X, y = table
    weight = np.random.default_rng(1).integers(0, 3, size=80)
    kept = weight > 0
    make = {
        "array": lambda X: X,
        "frame": pd.DataFrame,
        "SliceDict": lambda X: SliceDict(X=X),
        "SliceDataset": lambda X: SliceDataset(Dataset(X)),
        "csr": sparse.csr_matrix,
    }[kind]
    with_zeros = fit_net_weighted(make_mlp(), make(X), y, weight, seed=0)
    without = fit_net_weighted(make_mlp(), X[kept], y[kept], weight[kept], seed=0)
    for p, q in zip(parameters_of(with_zeros), parameters_of(without)):
        assert_allclose(p, q, rtol=1e-5, atol=1e-7)


def test_down_weighted_wrong_labels_do_little_harm(digit_images):
    X, y, X_test, y_test = digit_images
    rng = np.random.default_rng(0)
    is_wrong = rng.random(400) < 0.6
    noisy = np.where(is_wrong, rng.integers(0, 10, 400), y)
    net = make_net(TinyCNN, max_epochs=8)
    plain = fit_net_weighted(net, X, noisy, None, seed=0).score(X_test, y_test)
    weighted = fit_net_weighted(net, X, noisy, np.where(is_wrong, 0.02, 1), seed=0)
    assert weighted.score(X_test, y_test) > plain + 0.1


def test_number_of_steps_is_that_of_the_unweighted_fit(table):
    """A one-cycle schedule raises when it is stepped once too often."""
    X, y = table
    total_steps = 4 * 3  # epochs times ceil(80 / 32)
    schedule = LRScheduler(
        torch.optim.lr_scheduler.OneCycleLR,
        max_lr=0.01,
        total_steps=total_steps,
        step_every="batch",
        event_name=None,
    )
    net = make_mlp(max_epochs=4, callbacks=[("schedule", schedule)])
    fitted = fit_net_weighted(net, X, y, np.linspace(0.1, 1, 80), seed=0)
    assert sum(fitted.history[:, "train_batch_count"]) == total_steps
    last_step = dict(fitted.callbacks_)["schedule"].lr_scheduler_.last_epoch
    assert last_step == total_steps


def test_weights_follow_the_rows_that_train_split_leaves():
    weights = np.arange(1.0, 11)
    dataset = Dataset(np.zeros((10, 2), dtype=np.float32), np.zeros(10))
    nested = Subset(Subset(dataset, [9, 3, 5, 0]), np.array([2, 0]))
    loader = _WeightedLoader(torch.utils.data.DataLoader, weights)
    assert_array_equal(loader(nested, batch_size=2, shuffle=True).sampler.weights, [6, 10])
    assert_array_equal(loader(dataset).sampler.weights, weights)


@pytest.mark.parametrize("split", ["inner", "predefined"])
def test_train_split_and_its_callbacks_go_on_working(table, split):
    X, y = table
    train_split = (
        ValidSplit(4, stratified=True) if split == "inner" else predefined_split(Dataset(X, y))
    )
    net = make_mlp(train_split=train_split, callbacks=[EarlyStopping(patience=100)])
    net.set_params(iterator_train__shuffle=True)
    fitted = fit_net_weighted(net, X, y, np.linspace(0.1, 1, 80), seed=0)
    assert np.isfinite(fitted.history[:, "valid_loss"]).all()
    rows = {sum(sizes) for sizes in fitted.history[:, "batches", :, "train_batch_size"]}
    assert rows == {60 if split == "inner" else 80}


def test_the_users_net_is_left_alone_and_the_fitted_one_is_ordinary(table):
    X, y = table
    net, before = make_mlp(iterator_train__shuffle=True), global_states()
    fitted = fit_net_weighted(net, X, y, 1 + y, seed=0)
    assert global_states() == before
    assert not net.initialized_
    assert fitted.iterator_train is net.iterator_train
    assert fitted.get_params()["iterator_train__shuffle"] is True
    twin = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(twin.predict_proba(X), fitted.predict_proba(X))
    fitted.partial_fit(X, y)


@pytest.mark.parametrize(
    ("weight", "match"),
    [
        (-np.ones(80), "Negative values in data passed to `sample_weight`"),
        (np.zeros(80), "must contain at least one non-zero number, got only 0"),
        (np.ones((80, 2)), "Sample weights must be 1D array or scalar"),
        (np.full(80, np.nan), "sample_weight contains NaN"),
        (np.ones(79), r"sample_weight.shape == \(79,\), expected \(80,\)"),
    ],
)
def test_bad_weights_are_refused(table, weight, match):
    with pytest.raises(ValueError, match=match):
        fit_net_weighted(make_mlp(), *table, weight)


def first_half(dataset, y=None):
    X, y = dataset.X[:40], dataset.y[:40]
    return Dataset(X, y), None


def test_nets_that_cannot_take_weights_are_refused(table):
    weight = np.linspace(0.1, 1, 80)
    net = make_mlp(iterator_train__sampler=torch.utils.data.SequentialSampler(range(80)))
    with pytest.raises(ValueError, match="iterator_train__sampler, which sample weights would"):
        fit_net_weighted(net, *table, weight)
    net = make_mlp(train_split=first_half)
    with pytest.raises(ValueError, match="40 samples that is not a torch Subset, so the 80"):
        fit_net_weighted(net, *table, weight)


# train_residual_mlps


@pytest.fixture(scope="module")
def errors():
    """A smooth offset, and a product of two features that only a net can add to it."""
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(600, 5))
    offset = -0.5 + 0.5 * Z[:, 0]
    is_error = rng.random(600) < expit(offset + 2 * Z[:, 1] * Z[:, 2])
    folds = np.arange(600) % 3
    return Z, is_error, offset, [folds != k for k in range(3)], folds


def test_epoch_zero_is_the_offset_itself(errors):
    Z, is_error, offset, masks, _ = errors
    logits, weights = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=2)
    assert logits.shape == (3, 3, 600)
    assert len(weights) == 3
    assert_array_equal(logits[0], np.broadcast_to(offset, (3, 600)))


def test_corrections_lower_the_out_of_fold_loss(errors):
    Z, is_error, offset, masks, folds = errors
    logits, _ = train_residual_mlps(Z, is_error, offset, None, masks)
    oof = logits[:, folds, np.arange(600)]
    losses = [log_loss(is_error, expit(epoch)) for epoch in oof]
    assert min(losses) < losses[0] - 0.1


def test_full_batch_training_equals_torch_written_out(errors):
    """The reference trains ordinary modules with AdamW, one after the other, from equal weights.

    Of 24 rows, 16 are in each training part: one batch.
    """
    Z, is_error, offset = (values[:24] for values in errors[:3])
    masks = [mask[:24] for mask in errors[3]]
    sample_weight = np.random.default_rng(1).uniform(0.1, 2, size=24)
    logits, weights = train_residual_mlps(
        Z, is_error, offset, sample_weight, masks, dropout=0.0, max_epochs=5
    )
    inputs = torch.tensor(Z, dtype=torch.float32)
    for k, mask in enumerate(masks):
        W1, b1, w2, b2 = (torch.tensor(w[k]) for w in weights[0])
        net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 1))
        start = [W1.T, b1, w2[None], b2[None]]
        for parameter, value in zip(net.parameters(), start):
            parameter.data = value.clone()
        optimizer = torch.optim.AdamW(net.parameters(), lr=8e-3, weight_decay=1e-3)
        w = torch.tensor(sample_weight[mask] / sample_weight[mask].mean(), dtype=torch.float32)
        target = torch.tensor(is_error[mask], dtype=torch.float32)
        for _ in range(5):
            score = torch.tensor(offset[mask], dtype=torch.float32) + net(inputs[mask])[:, 0]
            loss = (w * nn.functional.softplus(torch.where(target == 1, -score, score))).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        expected = offset + net(inputs)[:, 0].detach().numpy()
        assert_allclose(logits[-1, k], expected, rtol=1e-3, atol=1e-4)


def test_prediction_without_torch_equals_the_training_logits(errors):
    Z, is_error, offset, masks, _ = errors
    logits, weights = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=3)
    for epoch in range(4):
        assert_allclose(offset + mlp_correction(weights[epoch], Z), logits[epoch])
    assert_allclose(mlp_correction(weights[2], Z[7:9]), logits[2][:, 7:9] - offset[7:9])


def test_a_net_is_trained_on_its_own_rows_only(errors):
    Z, is_error, offset, masks, folds = errors
    _, weights = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=3)
    left_out = folds == 1
    other = train_residual_mlps(
        np.where(left_out[:, None], 9 + Z, Z),
        is_error ^ left_out,
        offset - 5 * left_out,
        None,
        masks,
        max_epochs=3,
    )[1]
    for before, after in zip(weights[-1], other[-1]):
        assert_array_equal(before[1], after[1])
        assert np.abs(before[0] - after[0]).max() > 0


def test_weight_zero_removes_a_meta_row(errors):
    Z, is_error, offset, masks, _ = errors
    weight = np.random.default_rng(2).integers(0, 3, size=600).astype(float)
    kept = weight > 0
    with_zeros = train_residual_mlps(Z, is_error, offset, weight, masks, max_epochs=3)[1]
    without = train_residual_mlps(
        Z[kept], is_error[kept], offset[kept], weight[kept], [m[kept] for m in masks], max_epochs=3
    )[1]
    # Compare the parameters, which are equal to the last bit. The logits of a row may be rounded
    # differently if they are computed together with other rows.
    for nets, expected in zip(with_zeros, without):
        for parameter, value in zip(nets, expected):
            assert_array_equal(parameter, value)


def test_only_ratios_of_weights_count(errors):
    Z, is_error, offset, masks, _ = errors
    weight = np.random.default_rng(2).uniform(1, 2, size=600)
    once, eight_times = (
        train_residual_mlps(Z, is_error, offset, w, masks, max_epochs=3)[0]
        for w in (weight, 8 * weight)
    )
    assert_allclose(once, eight_times, rtol=1e-5)
    unweighted, ones = (
        train_residual_mlps(Z, is_error, offset, w, masks, max_epochs=3)[0]
        for w in (None, np.ones(600))
    )
    assert_array_equal(unweighted, ones)


def test_folds_of_unequal_size_are_trained_together(errors):
    Z, is_error, offset, _, _ = errors
    rows = np.arange(600)
    logits, _ = train_residual_mlps(
        Z, is_error, offset, None, [rows < 550, rows < 40, rows > 200], max_epochs=3
    )
    assert np.isfinite(logits).all()
    assert (np.abs(logits[-1] - offset).max(axis=1) > 0).all()


def test_residual_mlps_are_a_function_of_their_input(errors):
    Z, is_error, offset, masks, _ = errors
    before = global_states()
    first = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=2, seed=5)[0]
    torch.set_default_dtype(torch.float64)
    try:
        second = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=2, seed=5)[0]
    finally:
        torch.set_default_dtype(torch.float32)
    other = train_residual_mlps(Z, is_error, offset, None, masks, max_epochs=2, seed=6)[0]
    assert global_states() == before
    assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0


# mc_dropout_proba


def test_mc_dropout_equals_passes_by_hand(cnn, digit_images):
    X = digit_images[2]
    proba, passes = mc_dropout_proba(cnn, X, n_passes=3, return_passes=True, random_state=0)
    seed = np.random.RandomState(0).randint(np.iinfo(np.int32).max)
    expected = np.empty((3, len(X), 10))
    with preserved_rng(seed), torch.no_grad():
        cnn.module_.eval()
        cnn.module_.features[4].train()
        for t in range(3):
            batches = cnn.get_iterator(cnn.get_dataset(X))
            logits = torch.cat([cnn.module_(Xi) for Xi, _ in batches])
            expected[t] = softmax(logits.numpy(), axis=1)
    cnn.module_.eval()
    assert_allclose(passes, expected, atol=1e-6)
    assert_allclose(proba, passes.mean(axis=0), atol=1e-6)
    assert passes.std(axis=0).max() > 0.05


def test_mc_dropout_without_dropout_is_the_plain_prediction(cnn, digit_images):
    """Only dropout is random: with p near 0 batch normalisation must still use its averages."""
    X = digit_images[2]
    net = pickle.loads(pickle.dumps(cnn))
    net.module_.features[4].p = 1e-12
    running_mean = net.module_.features[1].running_mean.clone()
    assert_allclose(mc_dropout_proba(net, X, n_passes=2), net.predict_proba(X), atol=1e-6)
    assert_array_equal(net.module_.features[1].running_mean, running_mean)


@pytest.mark.parametrize("training", [True, False])
def test_mc_dropout_restores_net_and_random_states(cnn, digit_images, training):
    X = digit_images[2]
    net = pickle.loads(pickle.dumps(cnn))
    expected = net.predict_proba(X)
    net.module_.train(training)
    before = global_states()
    mc_dropout_proba(net, X, n_passes=2, random_state=0)
    assert global_states() == before
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        mc_dropout_proba(net, X[:, :, :5], n_passes=2, random_state=0)
    assert global_states() == before
    assert all(module.training == training for module in net.module_.modules())
    assert_array_equal(net.predict_proba(X), expected)


def compiled_in_place(module):
    module.compile(backend="eager")
    return module


@pytest.mark.skipif(not hasattr(torch.compiler, "set_stance"), reason="torch < 2.6")
@pytest.mark.parametrize("compiled", [partial(torch.compile, backend="eager"), compiled_in_place])
def test_mc_dropout_of_a_compiled_module_is_that_of_the_module(cnn, digit_images, compiled):
    """Compiled code has the dropout of evaluation mode in it, and runs no hooks of later."""
    X = digit_images[2][:50]
    module = pickle.loads(pickle.dumps(cnn)).module_
    expected = mc_dropout_proba(cnn, X, n_passes=3, random_state=0)
    base = as_classifier(compiled(module))
    base.predict_proba(X)  # which compiles
    assert_allclose(mc_dropout_proba(base, X, n_passes=3, random_state=0), expected, atol=1e-6)
    assert has_dropout(base, X)


class UnusedDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.dropout, self.output = nn.Dropout(0.5), nn.Linear(64, 10)

    def forward(self, X):
        X = nn.functional.dropout(X.flatten(1), self.dropout.p, self.training)
        return self.output(X)


def test_mc_dropout_refuses_dropout_modules_that_do_not_run(digit_images):
    X = digit_images[2][:20]
    base = as_classifier(UnusedDropout())
    with pytest.raises(ValueError, match="No dropout module of UnusedDropout runs in its forward"):
        mc_dropout_proba(base, X)
    assert not has_dropout(base, X)


def test_mc_dropout_random_state(cnn, digit_images):
    X = digit_images[2][:50]
    one, two, three = (mc_dropout_proba(cnn, X, n_passes=2, random_state=s) for s in (0, 0, 1))
    assert_array_equal(one, two)
    assert np.abs(one - three).max() > 1e-3
    with preserved_rng(0):
        first, second = (mc_dropout_proba(cnn, X, n_passes=2) for _ in range(2))
    assert np.abs(first - second).max() > 1e-3


def test_spread_of_the_passes_is_larger_on_errors(cnn, digit_images):
    X, y = digit_images[2:]
    proba, passes = mc_dropout_proba(cnn, X, return_passes=True, random_state=0)
    predicted = cnn.predict(X)
    spread = passes.std(axis=0)[np.arange(len(X)), predicted]
    assert roc_auc_score(predicted != y, spread) > 0.7
    assert roc_auc_score(predicted != y, -proba.max(axis=1)) > 0.7


def test_mc_dropout_takes_frames_frozen_and_binary_nets(table):
    X, y = table
    net = make_binary_mlp()
    with preserved_rng(0):
        net.fit(X, y.astype(np.float32))
    frame = pl.DataFrame(X.astype(np.float64))
    proba = mc_dropout_proba(FrozenEstimator(net), frame, n_passes=2, random_state=0)
    assert proba.shape == (80, 2)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)


def test_mc_dropout_refuses_other_estimators_and_bad_numbers(table, cnn, digit_images):
    X, y = table
    without = make_net(nn.Linear(4, 2), max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match="active dropout module, got none with p > 0 in Linear"):
        mc_dropout_proba(without, X)
    with pytest.raises(TypeError, match="fitted skorch net, got LogisticRegression"):
        mc_dropout_proba(LogisticRegression(), X)
    with pytest.raises(NotFittedError, match="NeuralNetClassifier instance is not initialized"):
        mc_dropout_proba(make_mlp(), X)
    for n_passes in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"positive integer, got {n_passes}"):
            mc_dropout_proba(cnn, digit_images[2], n_passes=n_passes)


# energy_confidence, max_logit_confidence


def logits_by_hand(net, X):
    net.module_.eval()
    with torch.no_grad():
        return net.module_(torch.as_tensor(X)).numpy().astype(float)


def test_logit_scores_equal_their_definitions(cnn, digit_images):
    X = digit_images[2]
    logits = logits_by_hand(cnn, X)
    energy = [2.5 * np.log(sum(np.exp(z / 2.5) for z in row)) for row in logits]
    assert_allclose(energy_confidence(cnn, X, temperature=2.5), energy, rtol=1e-5)
    assert_allclose(max_logit_confidence(cnn, X), [max(row) for row in logits], rtol=1e-5)


class ReturnsADict(nn.Module):
    def __init__(self, module, name):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, X):
        return {"loss": X.mean(), self.name: self.module(X)}


def test_logits_in_a_dict_are_found_by_name(cnn, digit_images):
    X = digit_images[2]
    net = NeuralNetClassifier(
        ReturnsADict(cnn.module_, "logits"),
        criterion=nn.CrossEntropyLoss,
        predict_nonlinearity=lambda output: output["logits"].softmax(-1),
    ).initialize()
    for score in (energy_confidence, max_logit_confidence):
        assert_allclose(score(net, X), score(cnn, X), rtol=1e-5)
    net.module_.name = "scores"
    with pytest.raises(TypeError, match=r"returns a dict without an entry \"logits\""):
        energy_confidence(net, X)


def test_energy_becomes_the_largest_logit_at_temperature_zero(cnn, digit_images):
    X = digit_images[2]
    largest = max_logit_confidence(cnn, X)
    assert_allclose(energy_confidence(cnn, X, temperature=1e-3), largest, atol=1e-2)
    assert (energy_confidence(cnn, X) >= largest).all()


def test_a_constant_added_to_all_logits_is_added_to_the_score(cnn, digit_images):
    X = digit_images[2]
    shifted = pickle.loads(pickle.dumps(cnn))
    shifted.module_.output.bias.data += 3
    for score in (energy_confidence, max_logit_confidence):
        assert_allclose(score(shifted, X), score(cnn, X) + 3, atol=1e-4)


@pytest.mark.parametrize("score", [energy_confidence, max_logit_confidence])
def test_logit_scores_are_higher_on_right_predictions(cnn, digit_images, score):
    X, y = digit_images[2:]
    confidence = score(cnn, X.astype(np.float64))
    assert confidence.shape == (len(X),)
    assert roc_auc_score(cnn.predict(X) == y, confidence) > 0.7


@pytest.mark.parametrize("score", [energy_confidence, max_logit_confidence])
def test_one_logit_ranks_as_the_maximum_probability(table, score):
    X, y = table
    net = make_binary_mlp()
    with preserved_rng(0):
        net.fit(X, y.astype(np.float32))
    by_logit = np.argsort(np.abs(logits_by_hand(net, X)[:, 0]))
    assert_array_equal(np.argsort(score(net, X)), by_logit)


@pytest.mark.parametrize("score", [energy_confidence, max_logit_confidence])
@pytest.mark.parametrize("base", [make_net, as_classifier])
def test_logit_scores_refuse_log_probabilities(digit_images, score, base):
    """The energy of log-probabilities is 0 in each row, so that rounding would rank the rows."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.LogSoftmax(dim=1))
    net = base(module)
    net = net.initialize() if base is make_net else net
    with pytest.raises(ValueError, match=r"returns log-probabilities.*Leave out the LogSoftmax"):
        score(net, digit_images[2][:20])


def test_logit_scores_refuse_probabilities_and_bad_temperatures(table, cnn):
    X, y = table
    module = nn.Sequential(nn.Linear(4, 2), nn.Softmax(dim=1))
    net = NeuralNetClassifier(module, max_epochs=1, train_split=None, verbose=0).fit(X, y)
    for score in (energy_confidence, max_logit_confidence):
        with pytest.raises(ValueError, match=r"needs logits, .* \(criterion NLLLoss\)"):
            score(net, X)
        with pytest.raises(TypeError, match="fitted skorch net, got LogisticRegression"):
            score(LogisticRegression(), X)
    with pytest.raises(ValueError, match=r"positive number, got 0\."):
        energy_confidence(cnn, X, temperature=0.0)


# TorchEmbedding


def test_default_embedding_is_the_input_of_the_last_linear_layer(cnn, digit_images):
    X = digit_images[2]
    cnn.module_.eval()
    with torch.no_grad():
        expected = cnn.module_.features(torch.as_tensor(X)).numpy()
    embedding = TorchEmbedding(cnn).fit_transform(X)
    assert embedding.dtype == np.float32
    assert embedding.shape == (500, 16)
    assert_allclose(embedding, expected, atol=1e-5)
    output = cnn.module_.output
    logits = embedding @ output.weight.detach().numpy().T + output.bias.detach().numpy()
    assert_array_equal(logits.argmax(axis=1), cnn.predict(X))


@pytest.mark.parametrize(
    ("layer", "width"), [("features.0", 128), ("features.5", 16), ("output", 10)]
)
def test_a_named_layer_gives_its_output_flattened(cnn, digit_images, layer, width):
    X = digit_images[2]
    embedding = TorchEmbedding(cnn, layer=layer).transform(X)
    assert embedding.shape == (500, width)
    if layer == "features.0":
        with torch.no_grad():
            expected = cnn.module_.features[0](torch.as_tensor(X)).flatten(1)
        assert_allclose(embedding, expected, atol=1e-5)
    if layer == "output":
        assert_allclose(embedding, logits_by_hand(cnn, X), atol=1e-5)


def test_embedding_does_not_depend_on_the_batches(cnn, digit_images):
    X = digit_images[2]
    net = pickle.loads(pickle.dumps(cnn)).set_params(batch_size=7)
    assert_allclose(TorchEmbedding(net).transform(X), TorchEmbedding(cnn).transform(X), atol=1e-5)
    assert_allclose(
        TorchEmbedding(cnn).transform(X[[5]]), TorchEmbedding(cnn).transform(X)[[5]], atol=1e-5
    )


def test_embedding_restores_the_net(cnn, digit_images):
    X = digit_images[2]
    net = pickle.loads(pickle.dumps(cnn))
    expected = net.predict_proba(X)
    net.module_.train()
    before = global_states()
    TorchEmbedding(net).fit_transform(X)
    with pytest.raises(RuntimeError, match="mat1 and mat2 shapes cannot be multiplied"):
        TorchEmbedding(net).transform(X[:, :, :5])
    assert all(module.training for module in net.module_.modules())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.module_.modules())
    assert global_states() == before
    assert_array_equal(net.predict_proba(X), expected)


def test_clone_and_pickle_keep_what_the_net_has_learned(cnn, digit_images):
    X = digit_images[2]
    embedding = TorchEmbedding(cnn, layer="features").set_output(transform="pandas").fit(X)
    twin = clone(embedding)
    assert twin is not embedding
    assert twin.net is cnn
    assert twin.layer == "features"
    assert not hasattr(twin, "_n_features_out")
    twin.set_params(layer="output").set_output(transform="default")
    assert embedding.layer == "features"
    assert isinstance(embedding.transform(X), pd.DataFrame)
    again = pickle.loads(pickle.dumps(embedding))
    assert_array_equal(again.transform(X), embedding.transform(X))


def test_embedding_is_a_scikit_learn_transformer(cnn, digit_images):
    X, y, X_test, y_test = digit_images
    embedding = TorchEmbedding(FrozenEstimator(cnn)).set_output(transform="pandas").fit(X, y)
    names = [f"torchembedding{i}" for i in range(16)]
    assert list(embedding.get_feature_names_out()) == names
    assert list(embedding.transform(X_test).columns) == names
    pipeline = make_pipeline(TorchEmbedding(cnn), KNeighborsClassifier(5)).fit(X, y)
    assert pipeline.score(X_test, y_test) > 0.8


def test_embedding_takes_frames(table):
    X, y = table
    with preserved_rng(0):
        net = make_mlp().fit(X, y)
    frame = pd.DataFrame(X.astype(np.float64))
    assert_array_equal(TorchEmbedding(net).fit_transform(frame), TorchEmbedding(net).transform(X))


def test_embedding_represents_the_samples_of_a_prefit_net(cnn):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    model = MetaErrorClassifier(
        cnn, "logistic", representation=TorchEmbedding(cnn), cv="prefit", random_state=0
    ).fit(X[400:1000], y[400:1000])
    X_test, is_error = X[1000:], cnn.predict(X[1000:]) != y[1000:]
    by_net = roc_auc_score(is_error, -cnn.predict_proba(X_test).max(axis=1))
    # The gain is 0.02 to 0.06, by the seed of the net, and at most 0.005 with confidence alone.
    assert roc_auc_score(is_error, model.predict_error_proba(X_test)) > by_net + 0.01
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_error_proba(X_test), model.predict_error_proba(X_test))


class Head(nn.Module):
    """One linear layer never runs; the other is applied to each of three parts of a row."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(1, 1)
        self.part = nn.Linear(2, 2)

    def forward(self, X):
        return self.part(X.reshape(-1, 2)).reshape(-1, 3, 2).mean(dim=1)


def test_embedding_refuses_other_layers_and_estimators(table, cnn, digit_images):
    X, y = table
    head = make_net(Head, max_epochs=1).fit(np.hstack([X, X[:, :2]]), y)
    six = np.hstack([X, X[:, :2]])
    with pytest.raises(ValueError, match=r"got 'fc'\. It has output, features, features\.0"):
        TorchEmbedding(cnn, layer="fc").fit(digit_images[2])
    with pytest.raises(ValueError, match="Layer 'unused' does not run in the net's forward pass"):
        TorchEmbedding(head, layer="unused").transform(six)
    with pytest.raises(ValueError, match=r"one row for each of the 32 samples .* got \(96, 2\)"):
        TorchEmbedding(head).transform(six)
    with pytest.raises(TypeError, match=r"fitted skorch net, got Pipeline.*pass the net alone"):
        TorchEmbedding(make_pipeline(cnn)).fit(X)
    with pytest.raises(NotFittedError, match="NeuralNetClassifier instance is not initialized"):
        TorchEmbedding(make_mlp()).fit(X)


def prefit(net, X, y, **params):
    return MetaErrorClassifier(net, "logistic", cv="prefit", random_state=0, **params).fit(X, y)


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_net_with_one_output_unit_and_a_threshold(table, threshold):
    """Labels, and so errors, depend on the threshold of the net."""
    X, y = table
    y = np.array(["no", "yes"])[y ^ (np.arange(80) % 9 == 0)]
    net = make_binary_mlp(threshold=threshold)
    clf = MetaErrorClassifier(net, "logistic", random_state=0).fit(X, y)
    labels, _ = clf.predict_with_error(X)
    assert_array_equal(labels, np.where(clf.predict_proba(X)[:, 1] > threshold, "yes", "no"))
    assert_array_equal(labels, clf.predict(X))
    observed = MetaErrorClassifier(clf.estimator_, "confidence", cv="prefit").fit(X, y)
    assert_array_equal(observed.oof_error_, labels != y)
    partly = np.where(np.arange(80) < 40, y.astype(object), -1)
    self_trained = SelfTrainingWithMetaErr(net, cv=2, random_state=0).fit(X, partly)
    assert set(self_trained.predict(X)) <= {"no", "yes"}
    with pytest.raises(ValueError, match="NeuralNetBinaryClassifier separates 2 classes, got 3"):
        MetaErrorClassifier(net).fit(X, np.arange(80) % 3)


def test_images_of_a_prefit_net_are_represented_by_its_last_hidden_layer(cnn, digit_images):
    _, _, X, y = digit_images
    by_default = prefit(FrozenEstimator(cnn), X, y)
    chosen = by_default.error_model_.representation_
    assert isinstance(chosen, TorchEmbedding)
    # It is the same object as the base, so a pickle contains it once.
    assert chosen.net is cnn
    explicit = prefit(cnn, X, y, representation=TorchEmbedding(cnn))
    assert_array_equal(by_default.predict_error_proba(X), explicit.predict_error_proba(X))


def test_the_hidden_layer_is_used_for_a_hold_out_net_and_not_for_a_cross_fitted_one(
    cnn, digit_images
):
    X, y = digit_images[:2]
    net = clone(cnn).set_params(max_epochs=2)
    held_out = MetaErrorClassifier(net, "logistic", cv=0.3, refit=False, random_state=0)
    held_out.fit(X[:300], y[:300])
    assert held_out.error_model_.representation_.net is held_out.estimator_
    crossed = MetaErrorClassifier(net, "logistic", cv=2, random_state=0)
    crossed.fit(X[:300], y[:300])
    # The deployed net was trained on these rows, and the nets of the folds have other coordinates.
    assert isinstance(crossed.error_model_.representation_, NumericRepresentation)


class Mirrored(NeuralNetClassifier):
    """A net that averages the probabilities of each image and of its mirror image."""

    def predict_proba(self, X):
        both = [super(Mirrored, self).predict_proba(images) for images in (X, X[..., ::-1].copy())]
        return np.mean(both, axis=0)


class MirroredBatches(NeuralNetClassifier):
    """A net whose forward pass processes each batch twice, also outside `predict_proba`."""

    def infer(self, X, **params):
        return super().infer(X, **params) + super().infer(X.flip(-1), **params)


@pytest.mark.parametrize(
    ("net_class", "width", "n_passes"),
    [
        (NeuralNetClassifier, 20, 1),
        (NeuralNetClassifier, 300, 1),
        (Mirrored, 20, 3),
        (MirroredBatches, 20, 4),
    ],
)
def test_one_pass_of_a_net_gives_probabilities_and_hidden_layer(
    digit_images, net_class, width, n_passes
):
    X, y, X_test, _ = digit_images
    with preserved_rng(0):
        net = make_net(WideNet, net_class=net_class, module__width=width, max_epochs=1).fit(X, y)
    n_passed = []
    net.module_.register_forward_hook(lambda _module, _args, output: n_passed.append(len(output)))
    clf = prefit(FrozenEstimator(net), X, y, meta_features="one_pass")
    if n_passes == 1:
        # One or two rows are used to find the outputs, the hidden layer and the columns of the
        # representation.
        assert sum(n for n in n_passed if n > 2) == len(X)
        assert sum(n for n in n_passed if n <= 2) <= 5
    error_proba = clf.predict_with_error(X_test)[1]
    proba = net.predict_proba(X_test)
    model = clf.error_model_
    # Without the base's pass, the error model computes the hidden layer in a second one.
    assert_allclose(model.predict_error_proba(X_test, proba), error_proba, rtol=1e-4)
    assert model.representation == "auto"
    for predict in (clf.predict_with_error, clf.estimate_accuracy, clf.explain_error):
        n_passed.clear()
        predict(X_test)
        assert sum(n_passed) == n_passes * len(X_test)
    n_hooks = len(net.module_._forward_hooks)
    clf.predict_with_error(X_test)
    assert len(net.module_._forward_hooks) == n_hooks == 1
    if n_passes == 1:
        lazy = SliceDataset(Dataset(X_test, np.zeros(len(X_test))), idx=0)
        assert_allclose(clf.predict_error_proba(lazy), error_proba, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:The fit of FrozenEstimator takes no sample_weight")
@pytest.mark.parametrize("width", [20, 300])
def test_hidden_layer_recorded_in_the_fit_equals_that_of_a_second_pass(
    digit_images, width, monkeypatch
):
    X, y, X_test, _ = digit_images
    with preserved_rng(0):
        net = make_net(WideNet, module__width=width, max_epochs=1).fit(X, y)
    weight = np.where(np.arange(len(X)) % 5, 1.0, 0.0)
    # With fewer rows than X has, the recorded rows include some outside the random sample.
    monkeypatch.setattr("metaerr_sklearn._utils.limits.MAX_FIT_ROWS", 300)
    clf = MetaErrorClassifier(FrozenEstimator(net), "logistic", random_state=0)
    recorded = clone(clf).fit(X, y, sample_weight=weight)
    monkeypatch.setattr(TorchEmbedding, "is_computed_by", lambda self, estimator: False)
    computed = clone(clf).fit(X, y, sample_weight=weight)
    assert_allclose(recorded.oof_error_proba_, computed.oof_error_proba_, rtol=1e-4, atol=1e-6)
    first, second = (clf.predict_error_proba(X_test) for clf in (recorded, computed))
    assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def test_tables_of_a_prefit_net_are_represented_by_their_columns(table):
    X, y = table
    with preserved_rng(0):
        net = make_mlp().fit(X, y)
    assert isinstance(prefit(net, X, y).error_model_.representation_, NumericRepresentation)


def test_a_wide_hidden_layer_is_projected_and_without_one_pixels_are_used(digit_images):
    X, y = digit_images[:2]
    with preserved_rng(0):
        wide = make_net(WideNet, module__width=300, max_epochs=1).fit(X, y)
        flat = make_net(WideNet, module__width=0, max_epochs=1).fit(X, y)
    rows = net_representation("auto", wide, X).fit_transform(X)
    assert rows.shape == (len(X), 40)
    with pytest.warns(UserWarning, match="hidden layer of NeuralNetClassifier cannot be read"):
        assert net_representation("auto", flat, X) == "auto"
    pipeline = make_pipeline(FunctionTransformer(), wide)
    assert net_representation("auto", pipeline, X) == "auto"


class WideNet(nn.Module):
    """Pixels to logits through a layer of `width` units, or without any linear layer."""

    def __init__(self, width):
        super().__init__()
        if width:
            layers = nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10)
        else:
            layers = nn.Conv2d(1, 10, 8), nn.Flatten()
        self.layers = nn.Sequential(*layers)

    def forward(self, X):
        return self.layers(X)


# AugmentedConfidence


def test_augmented_confidence_follows_its_definition(cnn, digit_images):
    X = digit_images[2][:20]
    features = AugmentedConfidence("shifts", flip=True).observe(cnn, X)
    for i, image in enumerate(X[:, 0]):
        down, up = np.vstack([image[:1], image[:-1]]), np.vstack([image[1:], image[-1:]])
        right = np.hstack([image[:, :1], image[:, :-1]])
        left = np.hstack([image[:, 1:], image[:, -1:]])
        views = np.stack([image, down, up, right, left, image[:, ::-1]])[:, None]
        proba = cnn.predict_proba(np.ascontiguousarray(views)).astype(np.float64)
        label = proba[0].argmax()
        own, other = proba[:, label], np.delete(proba, label, axis=1).sum(axis=1)
        logits = np.clip(np.log(own / other), -10, 10)
        vote = np.log(own.mean() / other.mean())
        assert_allclose(features[i], [vote, *(logits[1:] - logits[0])], rtol=1e-3, atol=1e-3)


def test_only_slightly_altered_views_vote(cnn, digit_images):
    X = digit_images[2]
    shifts, geometric = (
        AugmentedConfidence(name).observe(cnn, X) for name in ("shifts", "geometric")
    )
    assert_allclose(geometric[:, :5], shifts, atol=1e-5)
    assert geometric.shape[1] == 11


def test_views_that_change_nothing_change_nothing(cnn, digit_images):
    X = digit_images[2]
    features = AugmentedConfidence(lambda X: [X, X]).observe(FrozenEstimator(cnn), X)
    proba = cnn.predict_proba(X).astype(np.float64)
    other = proba.sum(axis=1) - proba.max(axis=1)
    assert_allclose(features[:, 0], np.log(proba.max(axis=1) / other), atol=1e-3)
    assert_allclose(features[:, 1:], 0, atol=1e-3)


def test_augmented_confidence_finds_more_errors_of_a_prefit_net(cnn):
    X, y = load_digits(return_X_y=True)
    X = (X / 16).reshape(-1, 1, 8, 8).astype(np.float32)
    plain = prefit(cnn, X[400:1000], y[400:1000], meta_features=["confidence"])
    views = ["confidence", AugmentedConfidence()]
    model = prefit(cnn, X[400:1000], y[400:1000], meta_features=views)
    X_test, is_error = X[1000:], cnn.predict(X[1000:]) != y[1000:]
    with_views = roc_auc_score(is_error, model.predict_error_proba(X_test))
    assert with_views > roc_auc_score(is_error, plain.predict_error_proba(X_test))
    again = pickle.loads(pickle.dumps(model))
    assert_array_equal(again.predict_error_proba(X_test), model.predict_error_proba(X_test))
    assert_array_equal(
        [*model.predict_error_proba(X_test[:7]), *model.predict_error_proba(X_test[7:20])],
        model.predict_error_proba(X_test[:20]),
    )


def test_augmented_confidence_of_a_cross_fitted_net(cnn, digit_images, tmp_path):
    X, y, X_test, _ = digit_images
    net = clone(cnn).set_params(max_epochs=2)
    clf = MetaErrorClassifier(
        net,
        "logistic",
        meta_features=["confidence", AugmentedConfidence()],
        cv=2,
        memory=str(tmp_path),
        random_state=0,
    )
    clf.fit(SliceDataset(Dataset(X, y), idx=0), y)
    assert clf.meta_feature_names_[-11:] == [f"observer0_{j}" for j in range(11)]
    error_proba = clf.predict_error_proba(X_test)
    assert_array_equal(clone(clf).fit(X, y).predict_error_proba(X_test), error_proba)
    assert clf.explain_error(X_test[:3]).contributions.shape[0] == 3


def test_augmented_confidence_restores_random_states_and_X(cnn, digit_images):
    X = digit_images[2].copy()
    before = global_states()
    AugmentedConfidence(flip=True).observe(cnn, X)
    assert global_states() == before
    assert_array_equal(X, digit_images[2])


def test_a_view_has_the_rows_of_x(cnn, digit_images):
    with pytest.raises(ValueError, match="for each of the 500 rows of X, got a view of 3 rows"):
        AugmentedConfidence(lambda X: [X[:3]]).observe(cnn, digit_images[2])


def test_threads_share_one_net(cnn, digit_images):
    """The hooks and dropout masks of one thread must not act on the pass of another thread."""
    _, _, X, y = digit_images
    clf = prefit(cnn, X, y)
    predictions = [
        clf.predict_error_proba,
        clf.predict_proba,
        lambda X: mc_dropout_proba(cnn, X, n_passes=3, random_state=0),
    ]
    alone = [predict(X) for predict in predictions]
    together = Parallel(3, require="sharedmem")(delayed(predict)(X) for predict in predictions * 6)
    for number, result in enumerate(together):
        assert_allclose(result, alone[number % 3], atol=1e-5)


def test_threads_over_chunks_share_one_net(cnn, digit_images):
    X = digit_images[2]
    embedding, views = TorchEmbedding(cnn), AugmentedConfidence()
    parts = np.array_split(X, 16)
    rows = Parallel(4, require="sharedmem")(delayed(embedding.transform)(p) for p in parts)
    assert_allclose(np.concatenate(rows), embedding.transform(X), atol=1e-5)
    features = Parallel(4, require="sharedmem")(delayed(views.observe)(cnn, p) for p in parts)
    assert_allclose(np.concatenate(features), views.observe(cnn, X), atol=1e-3)
