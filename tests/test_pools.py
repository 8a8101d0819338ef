"""Large pools: rows on disk are read in chunks, Datasets are taken as they are."""

import subprocess
import sys
import textwrap

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
from metaerr_sklearn._rows import indexable, row_chunks, rows_at_once


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


class Watched(GaussianNB):
    """Remember the largest number of rows asked for at once."""

    most_rows = 0

    def predict_proba(self, X):
        Watched.most_rows = max(Watched.most_rows, len(X))
        return super().predict_proba(X)


def test_the_base_is_asked_in_chunks_and_the_answer_is_the_same(digits):
    X, y = digits
    clf = MetaErrorClassifier(Watched(), random_state=0).fit(X[:600], y[:600])
    whole = clf.predict_with_error(X)
    Watched.most_rows = 0
    with config_context(working_memory=1):
        n_rows = rows_at_once(X)
        parts = clf.predict_with_error(X)
    assert Watched.most_rows == n_rows < len(X)
    assert_array_equal(parts[0], whole[0])
    assert_allclose(parts[1], whole[1], rtol=1e-5, atol=1e-7)


def test_chunks_are_a_partition():
    X = np.arange(100_000.0).reshape(-1, 2)
    with config_context(working_memory=1):
        parts = list(row_chunks(X))
    assert len(parts) > 5
    assert_array_equal(np.concatenate([part for _, part in parts]), X)
    assert [batch.start for batch, _ in parts[1:]] == [batch.stop for batch, _ in parts[:-1]]
    assert next(row_chunks(X[:10]))[1] is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_images_on_disk_are_not_loaded_at_once(tmp_path):
    """A file of 480 MB is predicted with 150 MB of memory beyond what a small fit has taken."""
    script = """
        import resource, sys
        import numpy as np
        from sklearn import config_context
        from sklearn.naive_bayes import GaussianNB
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer
        from metaerr_sklearn import MetaErrorClassifier

        def pixels(X):
            return np.asarray(X).reshape(len(X), -1)[:, ::97]

        path = sys.argv[1]
        X = np.lib.format.open_memmap(path, "w+", np.float32, (10_000, 3, 64, 64))
        rng = np.random.default_rng(0)
        y = rng.integers(0, 2, 300)
        X[:300] = rng.normal(size=(300, 3, 64, 64)) + y[:, None, None, None] * 0.2
        base = make_pipeline(FunctionTransformer(pixels), GaussianNB())
        small = np.array(X[:300])
        del X
        with config_context(working_memory=32):
            clf = MetaErrorClassifier(base, random_state=0).fit(small, y)
            clf.predict_with_error(small)
            with open("/proc/self/status") as file:
                used = [int(line.split()[1]) for line in file if line.startswith("VmData")][0]
            resource.setrlimit(resource.RLIMIT_DATA, ((used + 150_000) * 1024,) * 2)
            try:
                np.ones(480 * 2**17)
            except MemoryError:
                pass
            else:
                raise AssertionError("memory is not limited")
            X = np.load(path, mmap_mode="r")
            labels, error = clf.predict_with_error(X)
        assert len(labels) == len(error) == 10_000
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "images.npy")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


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


def test_a_dataset_is_taken_as_its_rows(digits):
    pytest.importorskip("torch")
    from skorch.dataset import Dataset
    from skorch.helper import SliceDataset

    X, y = digits
    net, dataset = make_net(), Dataset(X, y)
    clf = MetaErrorClassifier(net, cv=2, random_state=0).fit(X[:600], y[:600])
    labels, error = clf.predict_with_error(X[:900])
    for given in (Dataset(X[:900], y[:900]), SliceDataset(Dataset(X[:900], y[:900]))):
        assert_array_equal(clf.predict_with_error(given)[0], labels)
        assert_allclose(clf.predict_error_proba(given), error, rtol=1e-4, atol=1e-6)
    from_dataset = MetaErrorClassifier(net, cv=2, random_state=0).fit(dataset, y)
    from_rows = MetaErrorClassifier(net, cv=2, random_state=0).fit(X, y)
    assert_allclose(from_dataset.oof_error_proba_, from_rows.oof_error_proba_, rtol=1e-3, atol=1e-4)


def test_self_training_takes_a_dataset(digits):
    pytest.importorskip("torch")
    from skorch.dataset import Dataset

    X, y = digits
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


def test_a_memmap_fits_like_the_array(digits, tmp_path):
    X, y = digits
    np.save(tmp_path / "X.npy", X)
    on_disk = np.load(tmp_path / "X.npy", mmap_mode="r")
    base = make_pipeline(FunctionTransformer(), LogisticRegression(max_iter=500))
    in_memory = MetaErrorClassifier(base, random_state=0).fit(X[:600], y[:600])
    clf = MetaErrorClassifier(base, random_state=0).fit(on_disk[:600], y[:600])
    assert_array_equal(clf.predict_error_proba(on_disk), in_memory.predict_error_proba(X))
