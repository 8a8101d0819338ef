"""The rows of a net: how often they are read, and in which containers they may come."""

from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from _nets import TinyCNN, TinyMLP, make_net
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import shuffle
from skorch.helper import SliceDict
from torch.utils.data import DataLoader, Dataset

from metaerr_sklearn import (
    ErrorModel,
    MetaErrorClassifier,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
    error_slices,
)
from metaerr_sklearn.neural import (
    AugmentedConfidence,
    as_classifier,
    as_net_input,
)
from metaerr_sklearn.selective import coverage_scorer, neg_selective_risk_scorer


class Images(Dataset):
    """Digits that count how often they are read."""

    def __init__(self, start, stop):
        X, y = shuffle(*load_digits(return_X_y=True), random_state=0)
        self.X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)[start:stop]
        self.y, self.n_reads = y[start:stop], 0

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        self.n_reads += 1
        return torch.from_numpy(self.X[i]), int(self.y[i])

    def reads_of(self, method):
        self.n_reads = 0
        result = method(self)
        return result, self.n_reads / len(self)


@pytest.mark.parametrize("working_memory", [1024, 0.5])
@pytest.mark.parametrize("is_prefit", [False, True])
def test_a_dataset_is_read_once_in_a_prediction(is_prefit, working_memory):
    train, new = Images(0, 500), Images(500, 900)
    net = make_net(TinyCNN, max_epochs=4)
    if is_prefit:
        net = FrozenEstimator(net.fit(Images(900, 1300).X, Images(900, 1300).y))
    clf = MetaErrorClassifier(net, "logistic", cv=3, random_state=0)
    _, n_fit = train.reads_of(lambda data: clf.fit(data, train.y))
    # 4 epochs on two thirds of the rows for each of 3 folds, 4 epochs on all, and a prediction.
    n_needed = 1 if is_prefit else 4 * (3 * 2 / 3 + 1) + 1
    assert n_fit < n_needed + (0.1 if is_prefit else 1.1)
    expected = clf.predict_with_error(new.X)
    with config_context(working_memory=working_memory):
        if working_memory == 1024:
            assert new.reads_of(clf.estimate_accuracy)[1] < 1.1
            assert new.reads_of(clf.predict_novelty)[1] < 1.1
        (labels, error_proba), n_reads = new.reads_of(clf.predict_with_error)
        assert new.reads_of(clf.explain_error)[1] < 1.1
    assert n_reads < 1.1
    assert_array_equal(labels, expected[0])
    assert_allclose(error_proba, expected[1], rtol=1e-4)


class Tokens(Dataset):
    """Texts of one to nine tokens, whose largest token decides the class."""

    def __init__(self, n_samples):
        rng = np.random.default_rng(0)
        self.X = [rng.integers(1, 9, size=rng.integers(1, 10)) for _ in range(n_samples)]
        self.y = np.array([row.max() // 4 for row in self.X])

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), int(self.y[i])


def padded(batch):
    rows, labels = zip(*batch)
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor(labels)


class MeanOfTokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 8, padding_idx=0)
        self.output = torch.nn.Linear(8, 3)

    def forward(self, tokens):
        return self.output(self.embedding(tokens).mean(1))


def test_rows_of_different_shapes_that_the_net_collates():
    data = Tokens(120)
    collate = {"iterator_train__collate_fn": padded, "iterator_valid__collate_fn": padded}
    net = make_net(MeanOfTokens, max_epochs=3, **collate)
    no_numbers = pytest.warns(UserWarning, match=r"different shapes, \(1,\) to \(9,\), and no num")
    with no_numbers:
        clf = MetaErrorClassifier(net, "logistic", cv=2, random_state=0).fit(data, data.y)
    assert clf.predict_error_proba(data).shape == (120,)
    prefit = MetaErrorClassifier(clf.estimator_, "logistic", cv="prefit", random_state=0)
    assert hasattr(prefit.fit(data, data.y).error_model_.representation_, "is_computed_by")
    module = as_classifier(clf.estimator_.module_, iterator_valid__collate_fn=padded)
    assert_allclose(module.predict_proba(data), clf.predict_proba(data), rtol=1e-6)
    with no_numbers:
        y_partly = np.where(np.arange(120) < 60, data.y, -1)
        trained = SelfTrainingWithMetaErr(net, random_state=0).fit(data, y_partly)
    assert trained.predict(data).shape == (120,)


class ImageAndAge(torch.nn.Module):
    """Only the age shows the class."""

    def __init__(self):
        super().__init__()
        self.image, self.age = TinyCNN(n_outputs=2, dropout=0), torch.nn.Linear(1, 2)

    def forward(self, image, age):
        return 0 * self.image(image) + self.age(age.reshape(-1, 1))


def ages(n_samples=60):
    rng = np.random.default_rng(0)
    y = rng.permutation(n_samples) % 2
    return rng.random((n_samples, 1, 8, 8)), 20.0 * y - 10 + rng.normal(scale=12, size=n_samples), y


@pytest.mark.parametrize(
    "column",
    [
        lambda age: pd.Series(age, index=np.random.default_rng(1).permutation(len(age))),
        lambda age: pd.DataFrame({"age": age}, index=np.random.default_rng(1).permutation(60)),
        lambda age: pl.Series(age),
        list,
    ],
    ids=["series", "frame", "polars", "list"],
)
def test_columns_in_a_dict_are_read_by_position(column):
    """The labels of a shuffled index would give other rows, and double precision an error."""
    image, age, y = ages()
    net = make_net(ImageAndAge, max_epochs=10, lr=0.1)
    outputs = []
    for given in (age.astype(np.float32), column(age)):
        for wrap in (dict, SliceDict) if hasattr(given, "shape") else (dict,):
            X = wrap(image=image.astype(np.float32), age=given)
            clf = MetaErrorClassifier(net, "confidence", representation=None, cv=2, random_state=0)
            outputs += [clf.fit(X, y).oof_error_proba_, clf.predict_proba(X)[:, 0]]
    for start in (0, 1):
        for output in outputs[start::2]:
            assert_allclose(output, outputs[start], rtol=1e-5)


def test_scores_take_x_as_predictions_do():
    data = Images(0, 200)
    net = make_net(TinyCNN, max_epochs=2).fit(data.X, data.y)
    single = SelectiveClassifier(net, target_coverage=0.7, calibration="prefit").fit(data.X, data.y)
    image, age, y = ages()
    both = SliceDict(image=image.astype(np.float32), age=age.astype(np.float32)[:, None])
    net = make_net(ImageAndAge, max_epochs=2).fit(both, y)
    mixed = SelectiveClassifier(net, target_coverage=0.7, calibration="prefit").fit(both, y)
    for clf, X, given, labels in (
        (single, data.X, data, data.y),
        (single, data.X, DataLoader(data, batch_size=64), data.y),
        (mixed, both, dict(both), y),
    ):
        weight = 1.0 + labels
        for score in (clf.score, partial(neg_selective_risk_scorer, clf)):
            assert score(given, labels) == score(X, labels)
            assert score(given, labels, sample_weight=weight) == score(X, labels, weight)
        assert coverage_scorer(clf, given, sample_weight=weight) == coverage_scorer(
            clf, X, sample_weight=weight
        )


def test_slices_do_not_read_a_dataset():
    data = Images(0, 200)
    with pytest.raises(ValueError, match="X must be a frame or a 2-D array, got Images"):
        error_slices(GaussianNB(), data, data.y)
    assert data.n_reads == 0


def test_a_step_may_change_the_dict_that_it_gets():
    image, age, y = ages()

    def make_older(X):
        X["age"] += 10
        return X

    net = make_net(ImageAndAge, max_epochs=1)
    base = make_pipeline(FunctionTransformer(make_older), net)
    X = SliceDict(image=image.astype(np.float32), age=age.astype(np.float32))
    given = SliceDict(**{name: value.copy() for name, value in X.items()})
    options = {"meta_learner": "confidence", "representation": None, "cv": 2, "random_state": 0}
    clf = MetaErrorClassifier(base, **options).fit(given, y)
    clf.predict_with_error(given)
    older = SliceDict(image=X["image"], age=X["age"] + 10)
    expected = MetaErrorClassifier(net, **options).fit(older, y)
    assert_array_equal(given["age"], X["age"])
    assert_array_equal(clf.oof_error_proba_, expected.oof_error_proba_)
    assert_allclose(clf.predict_error_proba(given), expected.predict_error_proba(older))


def test_as_net_input_converts_each_input_of_a_dict():
    image, age, _ = ages()
    X = as_net_input({"image": image, "age": age, "ids": np.arange(60, dtype=">i4")})
    assert {name: str(value.dtype) for name, value in X.items()} == {
        "image": "float32",
        "age": "float32",
        "ids": "int32",
    }
    assert X["ids"].dtype.isnative
    assert len(X) == 60


ROWS = {
    "lists": lambda X: X.tolist(),
    "tuple of arrays": lambda X: tuple(X),
    "objects": lambda X: X.astype(object),
    "column of arrays": lambda X: pd.Series(list(X)),
    "array of arrays": lambda X: pd.Series(list(X)).to_numpy(),
    "column of lists": lambda X: pl.Series(X.tolist()),
    "other byte order": lambda X: X.astype(">f4"),
    "negative strides": lambda X: X[:, ::-1].copy()[:, ::-1],
    "dicts": lambda X: [{"X": row} for row in X],
    "dicts of lists": lambda X: [{"X": row.tolist()} for row in X],
}


@pytest.mark.parametrize("kind", ROWS)
def test_rows_in_any_container(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 64)).astype(np.float32)
    y, given = np.arange(40) % 2, ROWS[kind](X)
    fitted = as_classifier(TinyMLP(n_outputs=2))
    assert_allclose(fitted.predict_proba(given), fitted.predict_proba(X), rtol=1e-6)
    net = make_net(TinyMLP, module__n_outputs=2, max_epochs=1)
    clf, other = (
        MetaErrorClassifier(net, "confidence", representation=None, cv=2, random_state=0)
        for _ in range(2)
    )
    assert_array_equal(clf.fit(given, y).oof_error_proba_, other.fit(X, y).oof_error_proba_)
    assert_allclose(clf.predict_proba(given), other.predict_proba(X), rtol=1e-6)


class OnGPU(torch.Tensor):
    """A tensor that NumPy cannot read in place, as one on a GPU."""

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    def numpy(self, *, force=False):
        return self.cpu().numpy() if force else self.__array__()

    def cpu(self):
        return self.as_subclass(torch.Tensor)

    def to(self, *args, **kwargs):
        return self.cpu().to(*args, **kwargs)


UNREADABLE = {
    "on a GPU": lambda values: torch.as_tensor(values).as_subclass(OnGPU),
    "bfloat16": lambda values: torch.as_tensor(values).to(torch.bfloat16),
    "with gradients": lambda values: torch.as_tensor(values).float().requires_grad_(),
}


@pytest.mark.usefixtures("small_second_opinion")
@pytest.mark.parametrize("meta_features", ["one_pass", "images"])
@pytest.mark.parametrize("kind", UNREADABLE)
def test_tensors_that_numpy_cannot_read(kind, meta_features):
    """X may be a tensor of any device and precision: digits are exact in bfloat16, too."""
    torch.manual_seed(0)
    train, new = Images(0, 300), Images(300, 500)
    weight = (np.arange(300) % 2 + 1).astype(np.float32)
    base, results = as_classifier(TinyCNN()), []
    for give in (np.asarray, UNREADABLE[kind]):
        clf = MetaErrorClassifier(base, "logistic", meta_features=meta_features, random_state=0)
        clf.fit(give(train.X), train.y, sample_weight=give(weight))
        results.append([*clf.predict_with_error(give(new.X)), clf.predict_novelty(give(new.X))])
        in_rows = make_error_model(base, train, give).predict_error_proba(
            give(new.X.reshape(200, 64)), base.predict_proba(new.X)
        )
        results[-1].append(in_rows)
    for given, expected in zip(*results):
        assert_allclose(given, expected, rtol=5e-3)


def make_error_model(base, data, give):
    """Fit on pixels as columns, of which every row comes twice."""
    twice = np.repeat(np.arange(100), 2)
    X = give(data.X[twice].reshape(200, 64))
    proba = base.predict_proba(data.X[twice])
    with pytest.warns(UserWarning, match="200 of the 200 rows of X have duplicates"):
        return ErrorModel("logistic", random_state=0).fit(X, data.y[twice], proba)


NO_ROWS = {
    "ragged lists": ([[1, 2], [3]] * 10, ValueError, "of different shapes.*pass a dict by"),
    "ragged arrays": ([np.ones(3), np.ones(4)] * 10, ValueError, "of different shapes.*Pad, crop"),
    "files": (["a.png"] * 20, TypeError, "holds texts, such as 'a.png'.*Dataset that reads"),
    "array of files": (np.array(["a.png"] * 20), TypeError, "holds texts"),
    "objects": ([{1, 2}] * 20, TypeError, "type set.*np.stack"),
    "other keys": ([{"a": 1}, {"b": 1}] * 10, ValueError, "0 dicts.*same keys"),
}


@pytest.mark.parametrize("kind", NO_ROWS)
def test_rows_that_are_no_batch(kind):
    X, error, match = NO_ROWS[kind]
    with pytest.raises(error, match=match):
        as_classifier(TinyMLP()).predict(X)
    with pytest.raises(error, match=match):
        MetaErrorClassifier(make_net(TinyMLP), cv=2).fit(X, np.arange(20) % 2)


class FilesAsRows(Dataset):
    """A Dataset of the user that makes rows of names of files."""

    def __init__(self, X, y=None):
        self.X, self.y = X, np.zeros(len(X), dtype=int) if y is None else y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.full((64,), float(self.X[i].removesuffix(".png")) / 40), self.y[i]


def test_a_net_with_its_own_dataset_gets_names_of_files():
    names = [f"{number}.png" for number in range(40)]
    net = make_net(TinyMLP, module__n_outputs=2, dataset=FilesAsRows, max_epochs=1)
    clf = MetaErrorClassifier(net, "confidence", representation=None, cv=2, random_state=0)
    assert clf.fit(names, np.arange(40) % 2).predict(names).shape == (40,)


def test_a_list_of_the_inputs_of_a_net():
    image, age, y = ages()
    for X in ([image, age], (image, age)):
        with pytest.raises(ValueError, match=r"of 2 arrays of 60 rows.*pass a dict by name"):
            MetaErrorClassifier(make_net(ImageAndAge), cv=2).fit(X, y)


def test_views_of_images_in_a_dict():
    image, age, y = ages()
    X = {"image": image.astype(np.float32), "age": age.astype(np.float32)}
    clf = MetaErrorClassifier(make_net(ImageAndAge), meta_features="images", cv=2)
    with pytest.raises(
        ValueError, match=r"a dict of the inputs 'image', 'age'.*views=lambda X: \[\{"
    ):
        clf.fit(X, y)
    views = AugmentedConfidence(
        views=lambda X: [{**X, "image": np.roll(X["image"], shift, axis=3)} for shift in (-1, 1)]
    )
    assert views.observe(make_net(ImageAndAge).fit(X, y), X).shape == (60, 3)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_a_net_gets_the_columns_of_fit(kind):
    """A net takes columns by position: in another order they gave other predictions, in silence."""
    rng = np.random.default_rng(0)
    names = [f"pixel {j}" for j in range(64)]
    X = kind(dict(zip(names, rng.random((64, 40), dtype=np.float32))))
    y, net = np.arange(40) % 2, make_net(TinyMLP, module__n_outputs=2, max_epochs=1)
    bases = [net, FrozenEstimator(net.fit(np.array(X), y)), as_classifier(TinyMLP(n_outputs=2))]
    for base in bases:
        clf = MetaErrorClassifier(base, "confidence", cv=2, random_state=0).fit(X, y)
        assert list(clf.feature_names_in_) == names
        clf.predict(np.array(X))
        for method in ("predict", "predict_proba", "predict_with_error", "predict_error_proba"):
            with pytest.raises(
                ValueError, match=r"another order.*X\[list\(clf.feature_names_in_\)"
            ):
                getattr(clf, method)(X[names[::-1]])
    y_partly = np.where(np.arange(40) < 20, y, -1)
    model = SelfTrainingWithMetaErr(net, criterion="weight", cv=2, random_state=0).fit(X, y_partly)
    selective = SelectiveClassifier(clf, target_coverage=0.9).fit(X, y)
    for fitted in (model, selective):
        with pytest.raises(ValueError, match=r"lacks columns that fit got: 'pixel 0'"):
            fitted.predict(X[names[1:]])
    clf.fit(np.array(X), y)
    assert not hasattr(clf, "feature_names_in_")
    clf.predict(X)
