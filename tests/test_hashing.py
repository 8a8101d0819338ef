"""The hash of an object, from which the keys of the cache are made: nets count by their values."""

import importlib
import linecache
import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from _nets import TinyCNN, TinyMLP, images_of_four_classes, make_net
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    Freezer,
    LRScheduler,
    TrainEndCheckpoint,
)
from skorch.dataset import ValidSplit
from torch import nn
from torch.optim import lr_scheduler

from metaerr_sklearn import MetaErrorClassifier, OtherFits, SelfTrainingWithMetaErr
from metaerr_sklearn._base_estimator.hashing import hash_of, source_of
from metaerr_sklearn.neural import TorchEmbedding, as_classifier

X, LABELS = images_of_four_classes(120, np.random.default_rng(0))
STEP = LRScheduler(lr_scheduler.StepLR, step_size=1)


class HoldsEverything(TinyCNN):
    """Tensors of many types, and containers whose keys are tensors or modules."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scalar", torch.tensor(3.0))
        self.register_buffer("bfloat", torch.ones(3, dtype=torch.bfloat16))
        self.register_buffer("float8", torch.ones(3).to(torch.float8_e4m3fn))
        self.register_buffer("conjugated", torch.ones(2, dtype=torch.complex64).conj())
        self.register_buffer("empty", torch.empty(0, 2))
        self.register_buffer("expanded", torch.ones(1).expand(5))
        self.scales = {self.output.weight: 1, self.output.bias: 2}
        self.names = {self.output: "output", None: "none", "a": 1, 2: "two"}
        self.chosen = {self.output.bias, "a", None, (1, "a")}
        self.frozen = frozenset(["a", "b", "c"])
        self.tied = self.output
        self.features.register_forward_hook(self.pass_on)

    def pass_on(self, module, inputs, outputs):
        return outputs


def fitted(module=TinyCNN, **params):
    torch.manual_seed(0)
    net = make_net(module() if params.pop("instance", False) else module, max_epochs=2)
    return net.set_params(**params).fit(X, LABELS)


def trained(module):
    torch.manual_seed(0)
    fit_once = module()
    fit_once(torch.from_numpy(X))  # sets the statistics of the batch normalisation
    return as_classifier(fit_once, classes=range(10))


def compiled():
    return torch.compile(TinyCNN(), backend="eager")


FITTED = {
    "adam": fitted,
    "momentum": lambda: fitted(optimizer=torch.optim.SGD, optimizer__momentum=0.9),
    "lbfgs": lambda: fitted(optimizer=torch.optim.LBFGS),
    "groups": lambda: fitted(optimizer__param_groups=[("output*", {"lr": 0.1})]),
    "step": lambda: fitted(callbacks=[clone(STEP)]),
    "plateau": lambda: fitted(callbacks=[LRScheduler(lr_scheduler.ReduceLROnPlateau)]),
    "function of the epoch": lambda: fitted(
        callbacks=[LRScheduler(lr_scheduler.LambdaLR, lr_lambda=float)]
    ),
    "early stopping": lambda: fitted(
        train_split=ValidSplit(3),
        callbacks=[EarlyStopping(load_best=True), EpochScoring("accuracy"), Freezer("output*")],
    ),
    "instance": lambda: fitted(TinyCNN, instance=True),
    "everything": lambda: fitted(HoldsEverything),
    "compiled": lambda: fitted(compiled, instance=True),
    "as_classifier": lambda: trained(TinyCNN),
    "as_classifier compiled": lambda: trained(compiled),
    "frozen": lambda: FrozenEstimator(fitted()),
    "pipeline": lambda: make_pipeline(FunctionTransformer(), fitted()),
    "embedding": lambda: TorchEmbedding(fitted()),
    "optimizer": lambda: fitted().optimizer_,
    "weights": lambda: fitted().module_.state_dict(),
}


@pytest.mark.parametrize("kind", FITTED)
def test_a_net_has_the_hash_of_its_copies(kind):
    """From a pickle, after another training with the same weights, and after a prediction."""
    net = FITTED[kind]()
    if hasattr(net, "predict"):
        net.predict(X)
    expected = hash_of(net)
    assert hash_of(net) == expected
    if kind != "everything":  # torch pickles no float8, and hooks are numbered over all modules
        assert hash_of(pickle.loads(pickle.dumps(net))) == expected
        again = FITTED[kind]()
        if "as_classifier" in kind:
            again.predict(X)  # the first prediction shows what the outputs are
        assert hash_of(again) == expected


def test_checkpoints_are_not_part_of_the_hash(tmp_path):
    def fit():
        save = [Checkpoint(dirname=tmp_path), TrainEndCheckpoint(dirname=tmp_path / "end")]
        return fitted(callbacks=save, train_split=ValidSplit(3))

    assert hash_of(fit()) == hash_of(fit())


def change_weight(net):
    with torch.no_grad():
        net.module_.output.bias[3] += 1e-6


def change_statistics(net):
    net.module_.features[1].running_mean[0] += 1e-6


def change_dropout(net):
    net.module_.features[4].p = 0.4


CHANGES = {
    "weight": change_weight,
    "statistics": change_statistics,
    "attribute": change_dropout,
    "parameter": lambda net: net.set_params(batch_size=64),
    "class": lambda net: net.set_params(module=TinyMLP),
    "criterion": lambda net: setattr(net, "criterion_", nn.NLLLoss()),
    "callback": lambda net: net.set_params(callbacks__step__step_size=2),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("wrap", [lambda net: net, FrozenEstimator, make_pipeline, TorchEmbedding])
def test_any_difference_of_a_net_changes_the_hash(change, wrap):
    net = fitted(callbacks=[("step", clone(STEP))])
    before = hash_of(wrap(net))
    CHANGES[change](net)
    assert hash_of(wrap(net)) != before


def test_what_the_training_of_an_instance_depends_on_changes_the_hash():
    def net_of(module):
        return hash_of(make_net(module))

    torch.manual_seed(0)
    module = TinyCNN()
    before = net_of(module)
    module.features[0].weight.requires_grad_(False)
    assert net_of(module) != before


def test_the_mode_of_a_module_changes_the_hash_outside_a_net():
    module = TinyCNN()
    assert hash_of(module.train()) != hash_of(module.eval())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64, torch.int8])
@pytest.mark.parametrize("shape", [(), (0,), (4, 3)])
def test_tensors_count_by_their_values(dtype, shape):
    tensor = torch.ones(shape, dtype=dtype)
    same = torch.ones((2, *shape), dtype=dtype)[1]
    assert hash_of(same) == hash_of(tensor)
    others = [tensor[None], tensor.to(torch.float16), nn.Parameter(tensor, requires_grad=False)]
    others += [tensor + 1] if tensor.numel() else []
    assert len({hash_of(tensor), *map(hash_of, others)}) == len(others) + 1


SOURCE = """
import torch
from torch import nn

def scaled(x):
    return {factor} * x

class Block(nn.Linear):
    def forward(self, x):
        return {power} * super().forward(x)

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(64, 4)

    def forward(self, x):
        return {sign} * scaled(self.block(x.flatten(1)))
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Write a module of the user, and import it anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def edited(**values):
        source = SOURCE.format(**{"factor": 1, "power": 1, "sign": 1, **values})
        (tmp_path / "net_of_user.py").write_text(source)
        sys.modules.pop("net_of_user", None)
        importlib.invalidate_caches()
        return importlib.import_module("net_of_user")

    return edited


@pytest.mark.parametrize("wrap", [make_net, lambda net: fitted(net), lambda net: trained(net)])
@pytest.mark.parametrize("change", ["sign", "factor", "power"])
def test_code_that_was_edited_changes_the_hash(wrap, change, edited):
    """Also of the functions and modules that ``forward`` and ``__init__`` name."""
    before = hash_of(wrap(edited().Net))
    assert hash_of(wrap(edited().Net)) == before
    assert hash_of(wrap(edited(**{change: 2}).Net)) != before


def test_source_of_the_users_own_code_alone():
    assert source_of(Pipeline) == source_of(NeuralNetClassifier) == source_of(OtherFits) == []
    (own,) = source_of(_square)
    assert own.startswith("def _square(X)")
    assert len(source_of(HoldsEverything)) == 2  # its base, too


def _square(X):
    return BaggingClassifier and X**2


def typed_into_a_cell(source, monkeypatch, *, keeps_source=True):
    """Run code as a notebook does, and return its class."""
    main = sys.modules["__main__"]
    monkeypatch.delattr(main, "__file__", raising=False)
    file = f"<{'cell' if keeps_source else 'line'} {hash(source)}>"
    if keeps_source:
        linecache.cache[file] = len(source), None, source.splitlines(True), file
    names = {"__name__": "__main__"}
    exec(compile(source, file, "exec"), names)
    monkeypatch.setattr(main, "Typed", names["Typed"], raising=False)
    return names["Typed"]


CELL = """
from sklearn.naive_bayes import GaussianNB

class Typed(GaussianNB):
    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::{step}]
"""


def test_a_class_in_a_notebook_counts_by_the_code_of_its_cell(monkeypatch):
    first, again, other = (
        hash_of(typed_into_a_cell(CELL.format(step=step), monkeypatch)()) for step in (1, 1, -1)
    )
    assert first == again != other


def test_without_source_nothing_is_cached_and_a_warning_says_so(monkeypatch, tmp_path, noisy_data):
    def fit(step, memory):
        kind = typed_into_a_cell(CELL.format(step=step), monkeypatch, keeps_source=False)
        clf = MetaErrorClassifier(kind(), "confidence", cv=2, memory=memory, random_state=0)
        return clf.fit(*noisy_data).oof_error_proba_

    warns = partial(pytest.warns, UserWarning, match="keeps no fit of this estimator: .* of Typed")
    with warns():
        first = fit(1, tmp_path)
    with warns():
        other = fit(-1, tmp_path)
    np.testing.assert_array_equal(other, fit(-1, None))
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kind", ["hook", "parametrization", "scheduler"])
def test_a_net_that_cannot_be_pickled_is_named_before_any_fit(kind, tmp_path):
    net = fitted()
    if kind == "hook":
        net.module_.output.register_forward_hook(lambda *args: None)
    elif kind == "parametrization":
        nn.utils.parametrizations.weight_norm(net.module_.output)
    else:
        net = make_net(callbacks=[LRScheduler(lr_scheduler.LambdaLR, lr_lambda=lambda epoch: 1)])
    clf = MetaErrorClassifier(net, cv=2 if kind == "scheduler" else "prefit", memory=tmp_path)
    with pytest.raises(ValueError, match=r"(?s)memory= .* from estimator, .* pickled.*memory=None"):
        clf.fit(X, LABELS)


class CountsRows:
    n_rows = 0

    def observe(self, estimator, X):
        type(self).n_rows += len(X)
        return X[:, 0, 0, 0]


def refuse_to_fit(self, *args, **kwargs):
    raise AssertionError("a net was trained")


@pytest.mark.parametrize(
    "options",
    {
        "prefit": {"cv": "prefit"},
        "frozen": {"cv": 2},
        "holdout": {"cv": 0.3, "refit": False},
        "folds": {"cv": 2},
        "further fits": {"cv": 2, "meta_features": ["confidence", OtherFits(), CountsRows()]},
    }.items(),
    ids=lambda item: item[0],
)
def test_a_net_with_a_scheduler_is_trained_once(options, tmp_path, monkeypatch):
    kind, options = options
    net = fitted(callbacks=[("step", clone(STEP))])
    base = FrozenEstimator(net) if kind == "frozen" else net
    clf = MetaErrorClassifier(base, "logistic", memory=tmp_path, random_state=0)
    clf.set_params(**{"meta_features": ["confidence", CountsRows()], **options})
    expected = clf.fit(X, LABELS).oof_error_proba_
    monkeypatch.setattr(NeuralNetClassifier, "fit", refuse_to_fit)
    monkeypatch.setattr(CountsRows, "n_rows", 0)
    again = (clf if kind == "prefit" else clone(clf)).fit(X, LABELS)
    np.testing.assert_array_equal(again.oof_error_proba_, expected)
    assert CountsRows.n_rows == 0


def test_self_training_with_a_scheduler_trains_each_net_once(tmp_path, monkeypatch):
    net = make_net(max_epochs=1, callbacks=[("step", clone(STEP))])
    y = np.where(np.arange(120) < 80, LABELS, -1)
    model = SelfTrainingWithMetaErr(net, cv=2, max_iter=1, memory=tmp_path, random_state=0)
    expected = model.fit(X, y).transduction_
    monkeypatch.setattr(NeuralNetClassifier, "fit", refuse_to_fit)
    np.testing.assert_array_equal(clone(model).fit(X, y).transduction_, expected)


OTHER_PROCESS = """
import pickle, sys
from pathlib import Path
import numpy as np
from sklearn.base import clone
from test_hashing import CountsRows, LABELS, X
from metaerr_sklearn import MetaErrorClassifier
from metaerr_sklearn._base_estimator.hashing import hash_of

folder = Path(sys.argv[1])
bases, values = pickle.loads((folder / "objects.pkl").read_bytes())
for base in bases:
    CountsRows.n_rows = 0
    clf = MetaErrorClassifier(base, "logistic", cv="prefit", memory=folder / "cache")
    clf.set_params(meta_features=["confidence", CountsRows()], random_state=0).fit(X, LABELS)
    print(CountsRows.n_rows, clf.oof_error_proba_.tobytes().hex())
print(hash_of(values))
"""


def test_another_process_finds_what_was_kept_for_a_fitted_net(tmp_path):
    """Python hashes a string differently in each process, and addresses differ."""
    names = ["adam", "momentum", "step", "instance", "as_classifier", "pipeline"]
    bases = [FITTED[name]() for name in names]
    values = {None: 1, "a": {1, "b", None}, (2, "c"): frozenset("abc"), 3: LogisticRegression()}
    (tmp_path / "objects.pkl").write_bytes(pickle.dumps((bases, values)))

    def run(hash_seed):
        paths = [os.path.dirname(__file__), *sys.path]
        environment = {"PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, "-W", "ignore", "-c", OTHER_PROCESS, str(tmp_path)]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, **environment}
        )
        assert done.returncode == 0, done.stderr
        *found, hash_of_values = done.stdout.splitlines()
        return *zip(*map(str.split, found)), hash_of_values

    n_rows, first, hash_of_values = run(hash_seed=1)
    assert "0" not in n_rows
    n_rows, again, same_hash = run(hash_seed=2)
    assert n_rows == ("0",) * len(names)
    assert (again, same_hash) == (first, hash_of_values)


def test_hash_of_a_base_without_a_net_does_not_import_torch():
    code = (
        "import sys; from sklearn.naive_bayes import GaussianNB;"
        "from metaerr_sklearn._base_estimator.hashing import hash_of; hash_of(GaussianNB());"
        "assert not {'torch', 'skorch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_object_that_holds_itself_has_a_hash():
    base = GaussianNB()
    base.own, base.by_number = [base], {1: base, None: base}
    assert hash_of(base) == hash_of(pickle.loads(pickle.dumps(base)))
