"""Settings of the test run, and small seeded data sets that several test files share."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

# Before NumPy and torch are imported: each worker of pytest-xdist has one core, and more threads
# than cores wait for each other. The number of threads also decides how sums are rounded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
from _bases import grow_few_trees
from sklearn.datasets import load_breast_cancer, load_digits, make_classification

from metaerr_sklearn._base_estimator.caching import Recent

# Without torch or skorch, the files that import them are left out, and so are the tests that have
# the mark "torch". All others pass.
HAS_TORCH = find_spec("torch") is not None and find_spec("skorch") is not None
_NEEDS = re.compile(r"^(?:import|from) (?:torch|skorch|_nets)\b", re.MULTILINE)
collect_ignore = []
if not HAS_TORCH:
    files = sorted(Path(__file__).parent.glob("*.py"))
    collect_ignore = [path.name for path in files if _NEEDS.search(path.read_text())]


def pytest_terminal_summary(terminalreporter):
    """Name the files that are left out, so that a run without torch does not seem complete."""
    if collect_ignore:
        left_out = ", ".join(collect_ignore)
        terminalreporter.line(f"torch or skorch is not installed. Left out: {left_out}")


def pytest_runtest_setup(item):
    """Skip a test that has the mark "torch" if torch or skorch is not installed."""
    if not HAS_TORCH and item.get_closest_marker("torch"):
        pytest.skip("needs torch and skorch")


@pytest.fixture(autouse=True)
def _same_global_random_states():
    """Start each test from the same global random states: a net has no seed of its own."""
    np.random.seed(0)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _no_columns_of_another_test(monkeypatch):
    """Hold no columns of a test whose blocks had other class attributes."""
    monkeypatch.setattr("metaerr_sklearn.meta_features._base._RECENT", Recent())


@pytest.fixture(scope="session")
def noisy_data():
    """Two classes, 15 % of the labels flipped: no base can be right on more than 85 %."""
    return make_classification(
        400, n_features=6, n_informative=4, n_redundant=0, flip_y=0.3, random_state=0
    )


@pytest.fixture(scope="session")
def cancer():
    """Train and test halves of a table of 569 rows and 30 columns."""
    X, y = load_breast_cancer(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    return X[:300], X[300:], y[:300], y[300:]


@pytest.fixture(scope="session")
def digits():
    """Train and test parts of 8x8 images as rows of 64 numbers, string labels."""
    X, y = load_digits(return_X_y=True)
    y = np.array([f"digit {label}" for label in y])
    order = np.random.default_rng(0).permutation(len(y))
    X, y = X[order], y[order]
    return X[:600], X[600:1400], y[:600], y[600:1400]


@pytest.fixture(scope="session")
def mixed_frame():
    """A pandas frame with numbers, categories, booleans and missing values, and its labels."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n_samples = 400
    age = rng.integers(18, 80, n_samples).astype(float)
    income = rng.normal(size=n_samples)
    housing = rng.choice(["own", "rent", "free"], n_samples)
    signal = (age > 45) + income + 0.8 * (housing == "own") + rng.normal(size=n_samples)
    y = np.where(signal > np.median(signal), "good", "bad")
    frame = pd.DataFrame(
        {
            "age": np.where(rng.random(n_samples) < 0.1, np.nan, age),
            "income": income,
            "housing": np.where(rng.random(n_samples) < 0.05, None, housing),
            "member": rng.random(n_samples) < 0.5,
        }
    )
    return frame, y


@pytest.fixture
def small_second_opinion(request, monkeypatch):
    """Let the models beside the base grow few trees: for facts that do not depend on their quality.

    They cost more than all else: the block "second_opinion" grows 100 or 200 trees in a forest, and
    boosts for 60 rounds in 4 fits; the opinion pool of self-training grows 50 trees in 6 fits. If
    all tests of a file use this fixture, those marked "full_size" or "slow" keep the usual size.
    """
    if any(request.node.get_closest_marker(mark) for mark in ("full_size", "slow")):
        return
    grow_few_trees(monkeypatch.setattr)
