"""What holds for everything public: scikit-learn's checks, docstrings, a light import."""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

import metaerr_sklearn
from metaerr_sklearn import LightGBMMetaLearner, MetaErrorClassifier, SelfTrainingWithMetaErr

SOURCE = Path(metaerr_sklearn.__file__).parent
MODULES = [
    module.name
    for module in pkgutil.walk_packages(metaerr_sklearn.__path__, "metaerr_sklearn.")
    if not any(part.startswith("_") for part in module.name.split("."))
]
PUBLIC = [name for name in metaerr_sklearn.__all__ if name != "__version__"]


# The tiny data sets of the checks hold few errors and few rows of a class, and we say so.
@pytest.mark.filterwarnings("ignore:.*fewer than the:UserWarning")
@parametrize_with_checks(
    [
        MetaErrorClassifier(LogisticRegression(), "logistic", cv=2),
        MetaErrorClassifier(DecisionTreeClassifier(random_state=0), None),
        MetaErrorClassifier(RidgeClassifier(), "confidence", cv=3),
        MetaErrorClassifier(GaussianNB(), "lightgbm", cv=2, meta_features=["confidence"]),
        MetaErrorClassifier(LogisticRegression(), LogisticRegression(), cv=2, random_state=0),
        MetaErrorClassifier(RidgeClassifier(), meta_features=["confidence", "neighbors"], cv=2),
        MetaErrorClassifier(GaussianNB(), LightGBMMetaLearner(n_estimators=10), cv=0.4),
    ]
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_found_and_listed(name):
    assert getattr(metaerr_sklearn, name) is not None
    assert name in dir(metaerr_sklearn)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'MetaErrClassifier'"):
        metaerr_sklearn.MetaErrClassifier  # noqa: B018


def test_import_is_light():
    code = (
        "import sys, metaerr_sklearn; heavy = {'torch', 'skorch', 'lightgbm', 'matplotlib'}; "
        "print(*({*heavy, 'pandas'} & set(sys.modules))); import metaerr_sklearn.classifier, "
        "metaerr_sklearn.plotting, metaerr_sklearn.self_training, metaerr_sklearn.selective; "
        "print(*(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def version_dependent(source):
    """Yield what a module takes from scikit-learn that is private, and where it asks for versions.

    Whatever may change from one version to the next belongs in `_compat`.
    """
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute) and node.attr == "__version__":
            names = ["sklearn.__version__"]
        for name in names:
            package, *parts = name.split(".")
            if package == "sklearn" and any(part.startswith("_") for part in parts):
                yield name
            if "parse_version" in parts or package == "packaging":
                yield name


@pytest.mark.filterwarnings("ignore:.* errors among", "ignore:Class .* has 3 rows")
def test_warnings_point_to_the_line_that_called_fit():
    """Wherever in the package they arise: or each is shown for the first fit alone."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = np.where(np.arange(60) < 3, 1, 0)
    one_each = np.full(60, -1)
    one_each[2:4] = y[2:4]
    fits = {
        "fewer than the 5 folds": (MetaErrorClassifier(GaussianNB(), "logistic"), y),
        "errors among 60 rows": (MetaErrorClassifier(DummyClassifier(), "logistic", cv=3), y),
        "a single labeled row": (SelfTrainingWithMetaErr(GaussianNB()), one_each),
    }
    for message, (estimator, target) in fits.items():
        with pytest.warns(UserWarning, match=message) as log:
            estimator.fit(X, target)
        assert {warning.filename for warning in log} == {__file__}


def test_only_compat_depends_on_the_version_of_scikit_learn():
    assert len(list(version_dependent("from sklearn.utils import _safe_indexing, Bunch"))) == 1
    assert len(list(version_dependent("if sklearn.__version__ > '1.9': pass"))) == 1
    for path in SOURCE.rglob("*.py"):
        found = list(version_dependent(path.read_text()))
        assert bool(found) == (path.name == "_compat.py"), f"{path}: {found}"


def test_a_built_wheel_holds_every_module(tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(
        SOURCE, tree / SOURCE.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(SOURCE.parent / name, tree / name)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=tree, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        built = {name for name in archive.namelist() if name.endswith(".py")}
    assert built == {path.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*.py")}


def public_objects():
    for module_name in MODULES:
        for name, value in vars(importlib.import_module(module_name)).items():
            # A package shows what its private modules define.
            own = str(getattr(value, "__module__", None)).startswith(module_name)
            if own and not name.startswith("_") and (inspect.isclass(value) or callable(value)):
                yield pytest.param(value, id=f"{module_name.partition('.')[2]}.{name}")


def test_public_objects_are_found_in_modules_and_in_packages():
    found = {item.id for item in public_objects()}
    assert {"classifier.MetaErrorClassifier", "metrics.aurc", "neural.TorchEmbedding"} <= found


@pytest.mark.parametrize("item", list(public_objects()))
def test_documented_defaults_are_the_real_ones(item):
    """`name : type, default=value` must name the signature's value."""
    doc = inspect.getdoc(item) or ""
    try:
        signature = inspect.signature(item)
    except (TypeError, ValueError):
        return
    for name, documented in re.findall(r"^(\w+) : .*default=(.+)$", doc, flags=re.MULTILINE):
        if name not in signature.parameters:
            continue
        real = signature.parameters[name].default
        documented = documented.strip().rstrip(".")
        try:
            value = eval(documented, {})
        except (SyntaxError, NameError):
            value = documented
        assert value == real or documented == repr(real), f"{name}: {documented} is {real!r}"


@pytest.mark.parametrize("item", list(public_objects()))
def test_public_docstring_names_every_parameter(item):
    doc = inspect.getdoc(item)
    assert doc, "no docstring"
    assert doc.splitlines()[0].endswith("."), doc.splitlines()[0]
    if inspect.isclass(item) and issubclass(item, BaseEstimator):
        for name in inspect.signature(item).parameters:
            assert re.search(rf"^(\w+, )*{name}(, \w+)* :", doc, flags=re.MULTILINE), name


@pytest.mark.parametrize(
    "base", [DummyClassifier(), RandomForestClassifier(5), LogisticRegression()], ids=str
)
def test_clone_changes_nothing(base):
    clf = MetaErrorClassifier(base, LightGBMMetaLearner(num_leaves=3))
    assert clone(clf).meta_learner.num_leaves == 3
    assert repr(clone(clf)) == repr(clf)
