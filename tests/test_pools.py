"""Large X: rows on disk are read in chunks, and a torch Dataset is accepted as X."""

import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from metaerr_sklearn import MetaErrorClassifier, SelfTrainingWithMetaErr
from metaerr_sklearn._utils.indexable import indexable
from metaerr_sklearn._utils.rows import row_chunks, rows_at_once

pytestmark = pytest.mark.usefixtures("small_second_opinion")


@pytest.fixture(scope="module")
def all_digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


class LargestCall(GaussianNB):
    """Record the largest number of rows in a call of `predict_proba`."""

    most_rows = 0

    def predict_proba(self, X):
        LargestCall.most_rows = max(LargestCall.most_rows, len(X))
        return super().predict_proba(X)


def test_predictions_of_the_base_in_chunks_equal_those_in_one_call(all_digits):
    X, y = all_digits
    clf = MetaErrorClassifier(LargestCall(), random_state=0).fit(X[:600], y[:600])
    whole = clf.predict_with_error(X)
    many = np.tile(X, (20, 1))
    clf.predict_with_error(many)
    # If memory allows it, a call has many rows, because the base may start threads in each call.
    assert LargestCall.most_rows == len(many) > 30_000
    LargestCall.most_rows = 0
    with config_context(working_memory=1):
        n_rows = rows_at_once(X)
        parts = clf.predict_with_error(X)
    assert LargestCall.most_rows == n_rows < len(X)
    assert_array_equal(parts[0], whole[0])
    assert_allclose(parts[1], whole[1], rtol=1e-5, atol=1e-7)


def test_chunks_are_a_partition():
    X = np.arange(100_000.0).reshape(-1, 2)
    with config_context(working_memory=1):
        parts = list(row_chunks(X))
    assert len(parts) > 5
    assert_array_equal(np.concatenate([part for _, part in parts]), X)
    assert [batch.start for batch, _ in parts[1:]] == [batch.stop for batch, _ in parts[:-1]]
    few = X[:10]
    assert next(row_chunks(few))[1] is few


# The limit is on the private data of the process: the system can drop pages of a mapped file at any
# time.
CODE = """
import resource, sys
import numpy as np, torch
from skorch import NeuralNetClassifier
from sklearn import set_config
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from metaerr_sklearn import MetaErrorClassifier, SelectiveClassifier, SelfTrainingWithMetaErr

path, what = sys.argv[1:]
torch.set_num_threads(1)
set_config(working_memory=64)
pool = np.load(path, mmap_mode="r")
labels = np.arange(len(pool)) % 2


def net():
    layers = torch.nn.Linear(4096, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)
    module = torch.nn.Sequential(torch.nn.Flatten(), *layers)
    params = {"train_split": None, "batch_size": 128, "max_epochs": 1, "verbose": 0}
    return NeuralNetClassifier(module, criterion=torch.nn.CrossEntropyLoss, **params)


def linear():
    flat = FunctionTransformer(lambda X: X.reshape(len(X), -1))
    return make_pipeline(flat, StandardScaler(), SGDClassifier(loss="log_loss"))


def labels_for(n_labeled):
    return np.where(np.arange(len(pool)) < n_labeled, labels, -1)


def fit(base, n_rows=300):
    clf = MetaErrorClassifier(base, "logistic", meta_features="neighbors", cv=2, random_state=0)
    return clf.fit(pool[:n_rows], labels[:n_rows])


def self_train(rows, base, n_labeled, **params):
    model = SelfTrainingWithMetaErr(base, cv=2, random_state=0, **params)
    return model.fit(pool[rows], labels_for(n_labeled)[rows])


few = slice(0, 400)
one_round = {"meta_features": "neighbors", "criterion": "k_best", "max_iter": 1}
steps = {
    "predict-net": (lambda: fit(net()), lambda clf: clf.predict_with_error(pool)),
    "predict-linear": (lambda: fit(linear()), lambda clf: clf.predict_error_proba(pool)),
    "abstain-linear": (
        lambda: SelectiveClassifier(linear(), target_coverage=0.9).fit(pool[:300], labels[:300]),
        lambda clf: clf.accepts(pool),
    ),
    "fit-net": (lambda: fit(net()), lambda _: fit(net(), None)),
    "self-training-net": (
        lambda: self_train(few, net(), 100),
        lambda _: self_train(slice(None), net(), 100).predict_error_proba(pool),
    ),
    "self-training-linear": (
        lambda: self_train(few, linear(), 100, **one_round),
        lambda _: self_train(slice(None), linear(), 300, **one_round),
    ),
    "whole": (lambda: None, lambda _: np.array(pool)),
}
warm_up, run = steps[what]
fitted = warm_up()  # loads libraries and starts threads
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmData")).split()[1]) * 1024
_, hard = resource.getrlimit(resource.RLIMIT_DATA)
resource.setrlimit(resource.RLIMIT_DATA, (used + int(0.6 * pool.nbytes), hard))
run(fitted)
"""


def write_images(path, n_rows):
    """Write images of 16 kB each: 1,000 that differ, and zeros, which take no space on the disk."""
    shape = (n_rows, 1, 64, 64)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    file[:1000] = np.random.default_rng(0).normal(size=(1000, *shape[1:]))
    file.flush()


@pytest.fixture(scope="module")
def big_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("pool") / "images.npy"
    write_images(path, 12_500)
    yield path
    path.unlink()


def run_with_limited_memory(path, what):
    """Run a step of `CODE` in a process that cannot hold the file; return its error output."""
    command = [sys.executable, "-c", CODE, str(path), what]
    result = subprocess.run(command, capture_output=True, text=True)
    return result.stderr if result.returncode else ""


only_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux limits the data of a process"
)


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "what",
    [
        "predict-net",
        "predict-linear",
        "abstain-linear",
        "fit-net",
        "self-training-net",
        "self-training-linear",
    ],
)
def test_a_file_larger_than_the_memory(big_file, what):
    """The file has 200 MB, and the process can hold 120 MB of data."""
    assert run_with_limited_memory(big_file, what) == ""


@only_linux
@pytest.mark.slow
def test_the_limit_of_memory_is_effective(big_file):
    assert "Unable to allocate" in run_with_limited_memory(big_file, "whole")


@only_linux
def test_predictions_for_a_file_larger_than_the_memory(tmp_path):
    """The slow tests run every estimator; here the file has 130 MB, and the limit is 80 MB."""
    write_images(tmp_path / "images.npy", 8_000)
    assert run_with_limited_memory(tmp_path / "images.npy", "predict-linear") == ""


def make_net():
    torch = pytest.importorskip("torch")
    skorch = pytest.importorskip("skorch")
    return skorch.NeuralNetClassifier(
        torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.01,
        max_epochs=5,
        train_split=None,
        verbose=0,
    )


def test_a_dataset_gives_the_same_results_as_its_rows(all_digits):
    pytest.importorskip("torch")
    from skorch.dataset import Dataset
    from skorch.helper import SliceDataset

    X, y = all_digits
    net, dataset = make_net(), Dataset(X, y)
    clf = MetaErrorClassifier(net, cv=2, random_state=0).fit(X[:600], y[:600])
    labels, error = clf.predict_with_error(X[:900])
    for given in (Dataset(X[:900], y[:900]), SliceDataset(Dataset(X[:900], y[:900]))):
        assert_array_equal(clf.predict_with_error(given)[0], labels)
        assert_allclose(clf.predict_error_proba(given), error, rtol=1e-4, atol=1e-6)
    from_dataset = MetaErrorClassifier(net, cv=2, random_state=0).fit(dataset, y)
    from_rows = MetaErrorClassifier(net, cv=2, random_state=0).fit(X, y)
    assert_allclose(from_dataset.oof_error_proba_, from_rows.oof_error_proba_, rtol=1e-3, atol=1e-4)


def test_self_training_on_a_dataset_equals_that_on_its_rows(all_digits):
    pytest.importorskip("torch")
    from skorch.dataset import Dataset

    X, y = all_digits
    partly = y[:500].copy()
    partly[100:] = -1
    net = make_net()
    expected = SelfTrainingWithMetaErr(net, cv=2, random_state=0).fit(X[:500], partly)
    model = SelfTrainingWithMetaErr(net, cv=2, random_state=0).fit(
        Dataset(X[:500], y[:500]), partly
    )
    assert_array_equal(model.transduction_, expected.transduction_)
    assert_array_equal(model.predict(Dataset(X[500:], y[500:])), expected.predict(X[500:]))


def test_a_dataset_without_pairs_or_length_is_refused():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(())

    class Rows(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return np.zeros(2)

    with pytest.raises(TypeError, match="without a length: folds and neighbours need single"):
        indexable(Stream())
    with pytest.raises(TypeError, match=r"must yield pairs \(row, label\), as for skorch, got n"):
        indexable(Rows())


def test_a_memmap_fits_like_the_array(all_digits, tmp_path):
    X, y = all_digits
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    base = make_pipeline(FunctionTransformer(), LogisticRegression(max_iter=500))
    in_memory = MetaErrorClassifier(base, random_state=0).fit(X[:600], y[:600])
    clf = MetaErrorClassifier(base, random_state=0).fit(on_disk[:600], y[:600])
    assert_array_equal(clf.predict_error_proba(on_disk), in_memory.predict_error_proba(X))
