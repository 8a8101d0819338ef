"""A cross-fitting that was killed goes on where it stood: another process draws the same folds."""

import os
import subprocess
import sys

import pytest

CODE = """
import os, sys
from pathlib import Path
import numpy as np
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB
from metaerr_sklearn import MetaErrorClassifier

folder, kind, n_allowed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Mortal(GaussianNB):
    def fit(self, X, y):
        n_fits = len(list(folder.glob("fit*")))
        if n_fits == n_allowed:
            os._exit(9)
        (folder / f"fit{n_fits}").touch()
        return super().fit(numbers_of(X), y)

    def predict_proba(self, X):
        return super().predict_proba(numbers_of(X))

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def numbers_of(X):
    if isinstance(X, list):
        return np.array([text.split() for text in X], dtype=float)
    return np.asarray(X).astype(float)


X, y = make_classification(200, flip_y=0.3, random_state=0)
if kind != "array":  # duplicates, and columns of strings
    X, y = np.tile(X[:100].astype(str), (2, 1)), np.tile(y[:100], 2)
if kind == "frame":
    import pandas as pd
    X = pd.DataFrame(X)
elif kind == "text":
    X = [" ".join(row) for row in X]
clf = MetaErrorClassifier(Mortal(), "confidence", memory=str(folder / "cache"), cv=4)
clf.set_params(meta_features="confidence", random_state=0).fit(X, y)
print("errors", np.flatnonzero(clf.oof_error_).tolist())
"""


@pytest.fixture
def run(tmp_path):
    def run(kind, n_allowed, hash_seed, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        script = folder / "fit.py"
        script.write_text(CODE)
        command = [sys.executable, str(script), str(folder), kind, str(n_allowed)]
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run


@pytest.mark.parametrize("kind", ["array", "frame", "text"])
def test_killed_between_folds_it_resumes_with_the_folds_done(tmp_path, run, kind):
    if kind == "frame":
        pytest.importorskip("pandas")
    assert run(kind, 2, hash_seed=1).returncode == 9
    resumed = run(kind, 100, hash_seed=2)
    assert resumed.returncode == 0, resumed.stderr
    assert len(list(tmp_path.glob("fit*[0-9]"))) == 4 + 1  # each fold once, and the final fit


def test_another_process_finds_the_same_errors(tmp_path, run):
    """Python hashes a string differently in each process."""
    runs = [run("text", 100, seed, tmp_path / str(seed)) for seed in (1, 2)]
    assert runs[0].stdout.startswith("errors ["), runs[0].stderr
    assert runs[1].stdout == runs[0].stdout
