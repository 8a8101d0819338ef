"""Tables need neither torch nor skorch, and what needs a package says so if it is missing."""

import json
import subprocess
import sys
import textwrap

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.naive_bayes import GaussianNB

from metaerr_sklearn import MetaErrorClassifier

# The import system no longer finds the packages, or finds them and fails to load a library.
WITHOUT = """
from importlib.machinery import ModuleSpec, PathFinder

packages, broken = {packages!r}, {broken}

class Broken:
    def create_module(self, spec):
        return None

    def exec_module(self, module):
        raise OSError("libsomething.so.1: cannot open shared object file")

def find_spec(name, path=None, target=None):
    if name.partition(".")[0] in packages:
        return ModuleSpec(name, Broken()) if broken else None
    return really_find_spec(name, path, target)

really_find_spec, PathFinder.find_spec = PathFinder.find_spec, find_spec
"""

DATA = """
import numpy as np
from sklearn.datasets import make_classification
from sklearn.naive_bayes import GaussianNB
from metaerr_sklearn import *
from metaerr_sklearn._utils.lightgbm import BoostedTrees
from metaerr_sklearn.meta_features._second_opinion import SecondOpinionBlock
from metaerr_sklearn.self_training._opinion_pool import _AuxiliaryModels

BoostedTrees.n_rounds, SecondOpinionBlock.n_estimators = 6, 12  # not as good, but quick
_AuxiliaryModels.n_trees = 8
X, y = make_classification(400, n_features=6, n_informative=4, flip_y=0.3, random_state=0)
"""


def run(code, tmp_path, *, packages=("torch", "skorch"), broken=False):
    """Run code in a process of its own where some packages are missing or broken."""
    code = WITHOUT.format(packages=packages, broken=broken) + DATA + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("broken", [False, True], ids=["missing", "broken"])
def test_everything_on_tables_works_without_torch(broken, tmp_path):
    run(
        """
        import pickle
        import sys
        import matplotlib
        import pandas as pd
        from sklearn.compose import make_column_transformer
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.model_selection import GridSearchCV
        from sklearn.naive_bayes import MultinomialNB
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        matplotlib.use("Agg")
        train, test = slice(0, 300), slice(300, None)
        clf = MetaErrorClassifier(GaussianNB(), cv=3, random_state=0)
        clf.fit(X[train], y[train]).predict_with_error(X[test])
        clf.estimate_accuracy(X[test]), clf.predict_novelty(X[test]), clf.explain_error(X[test])
        error_slices(clf, X[test], y[test], min_samples=20, only_confirmed=False)
        failure_report(clf, X[test], y[test])
        clf._repr_html_()
        ErrorDistributionDisplay.from_estimator(clf, X[test], y[test])
        RiskCoverageDisplay.from_estimator(clf, X[test], y[test])
        ErrorGalleryDisplay.from_estimator(clf, X[test], y[test], images=X[test].reshape(-1, 2, 3))
        SelectiveClassifier(clf, target_risk=0.3, random_state=0).fit(X, y).predict(X)
        few = np.where(np.arange(400) < 60, y, -1)
        SelfTrainingWithMetaErr(GaussianNB(), random_state=0).fit(X, few).predict(X)
        SelfTrainingWithMetaErr(GaussianNB(), meta_learner=None).fit(X, few)
        proba = clf.predict_proba(X)
        model = ErrorModel(random_state=0).fit(X[test], y[test], proba[test])
        loaded = pickle.loads(pickle.dumps(model))
        before = model.predict_error_proba(X, proba)
        assert (loaded.predict_error_proba(X, proba) == before).all()
        grid = {"meta_learner": ["logistic", "confidence"]}
        search = GridSearchCV(clf, grid, scoring=ERROR_SCORERS["error_roc_auc"], cv=2)
        search.fit(X[train], y[train])

        frame = pd.DataFrame(X).assign(kind=np.where(X[:, 0] > 0, "p", "q"))
        encode = make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough")
        encode.set_output(transform="default")
        frame.columns = frame.columns.astype(str)
        MetaErrorClassifier(make_pipeline(encode, GaussianNB()), cv=2).fit(frame, y)
        texts = ["good day" if label else "bad night" for label in np.roll(y, 1)]
        base = make_pipeline(TfidfVectorizer(), MultinomialNB())
        MetaErrorClassifier(base, cv=2).fit(texts, y).predict_error_proba(texts)
        assert not {"torch", "skorch"} & set(sys.modules)
        """,
        tmp_path,
        broken=broken,
    )


# Each line needs torch, and the base is not fitted before the error.
NEED_TORCH = """
MetaErrorClassifier(Base(), "mlp").fit(X, y)
MetaErrorClassifier(Base(), AverageMetaLearner([LogisticMetaLearner(), MLPMetaLearner()])).fit(X, y)
MetaErrorClassifier(Base(), meta_features="images").fit(X, y)
MetaErrorClassifier(Base(), meta_features=["confidence", "images"]).fit(X, y)
SelectiveClassifier(MetaErrorClassifier(Base(), "mlp"), target_risk=0.1).fit(X, y)
SelfTrainingWithMetaErr(Base(), "mlp").fit(X, np.where(np.arange(400) < 60, y, -1))
ErrorModel("mlp").fit(X, y, proba)
ErrorModel(meta_features="images").fit(X, y, proba)
MLPMetaLearner().fit(X, y == 1, np.zeros(400), folds=[(np.arange(200), np.arange(200, 400))])
MetaErrorClassifier(Base()).fit({"inputs": X}, y)
import metaerr_sklearn.neural
from metaerr_sklearn.neural import as_classifier
"""
NEED_LIGHTGBM = """
MetaErrorClassifier(Base()).fit(X, y)
MetaErrorClassifier(Base(), LightGBMMetaLearner()).fit(X, y)
MetaErrorClassifier(Base(), "logistic").fit(X, y)
MetaErrorClassifier(Base(), "logistic", meta_features="second_opinion").fit(X, y)
SelectiveClassifier(MetaErrorClassifier(Base()), target_risk=0.1).fit(X, y)
SelfTrainingWithMetaErr(Base()).fit(X, np.where(np.arange(400) < 60, y, -1))
ErrorModel().fit(X, y, proba)
"""


# Case: packages, whether they are broken, lines. No case imports what a later one must not find.
CASES = {
    "no lightgbm": (["lightgbm"], False, NEED_LIGHTGBM.strip().splitlines()),
    "broken lightgbm": (["lightgbm"], True, NEED_LIGHTGBM.strip().splitlines()),
    "no torch": (["torch", "skorch"], False, NEED_TORCH.strip().splitlines()),
    "broken torch": (["torch"], True, NEED_TORCH.strip().splitlines()),
    "no skorch": (["skorch"], False, NEED_TORCH.strip().splitlines()),
}


@pytest.fixture(scope="module")
def messages(tmp_path_factory):
    """Run the lines of all cases in one process; return their error messages."""
    code = f"""
import json

class Base(GaussianNB):
    def fit(self, *args, **kwargs):
        raise AssertionError("the base was fitted")

proba = np.tile(0.5, (400, 2))
messages = {{}}
for case, (packages, broken, lines) in {CASES!r}.items():
    messages[case] = []
    for line in lines:
        try:
            exec(line)
        except ImportError as error:
            assert error.__cause__ is not None
            messages[case].append(str(error))
print(json.dumps(messages))
"""
    return json.loads(run(code, tmp_path_factory.mktemp("missing"), packages=()))


@pytest.mark.parametrize("case", CASES)
def test_what_needs_a_package_says_what_to_type_before_any_fit(case, messages):
    if case == "no skorch":
        pytest.importorskip("torch")
    packages, broken, lines = CASES[case]
    assert len(messages[case]) == len(lines)
    for line, message in zip(lines, messages[case]):
        name = packages[0]
        reason = "cannot be imported (OSError: libsomething" if broken else "is not installed. "
        missing = "lightgbm" if name == "lightgbm" else "torch skorch"
        command = (
            f"`pip install --force-reinstall {name}`" if broken else f"`pip install {missing}`"
        )
        assert f" needs {name}, which is " in message, line
        assert reason in message, line
        assert command in message, line


def test_the_advice_for_tables_without_lightgbm_works(tmp_path):
    run(
        """
        advice = {"meta_learner": "logistic"}
        advice["meta_features"] = ["confidence", "predicted_class", "neighbors"]
        clf = MetaErrorClassifier(GaussianNB(), **advice).fit(X, y)
        clf.predict_error_proba(X), clf.explain_error(X), failure_report(clf, X, y)
        ErrorModel(**advice).fit(X, y, clf.predict_proba(X))
        SelfTrainingWithMetaErr(GaussianNB(), **advice).fit(X, np.where(np.arange(400) < 60, y, -1))
        """,
        tmp_path,
        packages=["lightgbm"],
    )


def test_a_saved_mlp_predicts_without_torch(tmp_path, noisy_data):
    pytest.importorskip("torch")
    X, y = noisy_data
    clf = MetaErrorClassifier(GaussianNB(), "mlp", cv=2, random_state=0).fit(X, y)
    joblib.dump((clf, X), tmp_path / "saved")
    run(
        """
        import joblib
        clf, rows = joblib.load("saved")
        np.save("loaded.npy", clf.predict_error_proba(rows))
        """,
        tmp_path,
    )
    assert_array_equal(np.load(tmp_path / "loaded.npy"), clf.predict_error_proba(X))
