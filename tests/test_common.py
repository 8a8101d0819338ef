"""What holds for all public names: scikit-learn's checks, docstrings, a light import."""

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import metaerr_sklearn
from metaerr_sklearn import (
    AverageMetaLearner,
    ConfidenceMetaLearner,
    ErrorModel,
    LightGBMMetaLearner,
    LogisticMetaLearner,
    MetaErrorClassifier,
    MLPMetaLearner,
    OtherFits,
    SelectiveClassifier,
    SelfTrainingWithMetaErr,
)
from metaerr_sklearn.classifier import ErrorClassifier
from metaerr_sklearn.confidence import NeighborAgreement, RelativeUncertainty, TrustScore
from metaerr_sklearn.meta_learners import ClassifierMetaLearner, ResidualMetaLearner
from metaerr_sklearn.representation import NumericRepresentation

SOURCE = Path(metaerr_sklearn.__file__).parent
HAS_TORCH = find_spec("torch") is not None and find_spec("skorch") is not None
MODULES = [
    module.name
    for module in pkgutil.walk_packages(metaerr_sklearn.__path__, "metaerr_sklearn.")
    if not any(part.startswith("_") for part in module.name.split("."))
    and (HAS_TORCH or module.name != "metaerr_sklearn.neural")
]
PUBLIC = [name for name in metaerr_sklearn.__all__ if name != "__version__"]


def public_estimators():
    """Return {name: class} of the estimators that public modules list in `__all__`."""
    found = {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, BaseEstimator):
                found[name] = value
    return found


# How scikit-learn's checks build each public estimator.
CHECKED = {
    "MetaErrorClassifier": [
        MetaErrorClassifier(LogisticRegression(), "logistic", cv=2),
        MetaErrorClassifier(DecisionTreeClassifier(random_state=0), None),
        MetaErrorClassifier(
            LogisticRegression(),
            LogisticRegression(),
            meta_features="confidence",
            cv=2,
            random_state=0,
        ),
    ],
    "SelectiveClassifier": [
        SelectiveClassifier(
            LogisticRegression(), target_risk=0.99, reject_label=-99, random_state=0
        ),
        SelectiveClassifier(LinearSVC(), target_coverage=1.0, calibration=0.5),
    ],
    "SelfTrainingWithMetaErr": [SelfTrainingWithMetaErr(LogisticRegression(max_iter=1000), cv=2)],
    "NumericRepresentation": [NumericRepresentation()],
    "TrustScore": [TrustScore(), TrustScore(5, alpha=0.2)],
    "NeighborAgreement": [NeighborAgreement(5), NeighborAgreement(5, weights="distance")],
}

# How the other public estimators are built, and why the checks cannot fit them.
NOT_FITTED_BY_CHECKS = {
    "AverageMetaLearner": (AverageMetaLearner([LogisticMetaLearner()]), "fit takes an offset"),
    "ClassifierMetaLearner": (ClassifierMetaLearner(GaussianNB()), "fit takes an offset"),
    "ConfidenceMetaLearner": (ConfidenceMetaLearner(), "fit takes an offset"),
    "ErrorClassifier": (
        ErrorClassifier(MetaErrorClassifier(GaussianNB())),
        "it is a view of a fitted MetaErrorClassifier, which a clone is not",
    ),
    "ErrorModel": (ErrorModel(), "fit takes class probabilities"),
    "LightGBMMetaLearner": (LightGBMMetaLearner(), "fit takes an offset"),
    "LogisticMetaLearner": (LogisticMetaLearner(), "fit takes an offset"),
    "MLPMetaLearner": (MLPMetaLearner(), "fit takes an offset"),
    "OtherFits": (OtherFits(), "it is fitted beside a base"),
    "RelativeUncertainty": (RelativeUncertainty(), "X holds class probabilities"),
    "ResidualMetaLearner": (ResidualMetaLearner(), "it is the base class of meta-learners"),
}
if HAS_TORCH:
    from metaerr_sklearn.neural import AugmentedConfidence, TorchEmbedding

    NOT_FITTED_BY_CHECKS |= {
        "AugmentedConfidence": (AugmentedConfidence(), "it observes a fitted net"),
        "TorchEmbedding": (TorchEmbedding(None), "it embeds by a fitted net"),
    }

_ANY_X = "any X is represented: objects, sparse matrices, missing values, rows of one number"
_NOT_VALIDATED = "X is not validated, because it may be a list of texts"
_HOLD_OUT = "two rows can be parted by the hold-out, a row of weight 2 cannot"
EXPECTED_FAILURES = {
    "NumericRepresentation": {
        "check_complex_data": "the message names the kinds of X that have a representation",
        "check_dtype_object": _ANY_X,
        "check_estimator_sparse_array": _ANY_X,
        "check_estimator_sparse_matrix": _ANY_X,
        "check_estimator_sparse_tag": _ANY_X,
        "check_estimators_nan_inf": _ANY_X,
        "check_fit2d_predict1d": "the message names the kinds of X that have a representation",
        "check_n_features_in": _NOT_VALIDATED,
        "check_n_features_in_after_fitting": _NOT_VALIDATED,
        "check_transformer_data_not_an_array": _NOT_VALIDATED,
        "check_transformer_preserve_dtypes": "the representation is float32 for every X",
    },
    "SelectiveClassifier": {
        "check_sample_weight_equivalence_on_dense_data": _HOLD_OUT,
        "check_sample_weight_equivalence_on_sparse_data": _HOLD_OUT,
    },
}


def test_every_public_estimator_is_checked_or_has_a_reason_not_to_be():
    assert public_estimators().keys() == {*CHECKED, *NOT_FITTED_BY_CHECKS}
    assert not CHECKED.keys() & NOT_FITTED_BY_CHECKS.keys()
    for name, estimators in CHECKED.items():
        assert {type(estimator).__name__ for estimator in estimators} == {name}


# The checks fit a handful of rows: folds lack classes, and there are few errors or none.
@pytest.mark.filterwarnings("ignore::UserWarning:metaerr_sklearn", "ignore::UserWarning:sklearn")
@pytest.mark.filterwarnings("ignore:Liblinear failed to converge")
@pytest.mark.usefixtures("small_second_opinion")
@parametrize_with_checks(
    [estimator for estimators in CHECKED.values() for estimator in estimators],
    expected_failed_checks=lambda estimator: EXPECTED_FAILURES.get(type(estimator).__name__, {}),
)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", NOT_FITTED_BY_CHECKS)
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_set_params,
    ],
)
def test_scikit_learns_checks_of_parameters(name, check):
    """Also for the estimators that scikit-learn's other checks cannot fit."""
    estimator, _ = NOT_FITTED_BY_CHECKS[name]
    check(name, estimator)


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name_is_found_and_listed(name):
    assert getattr(metaerr_sklearn, name) is not None
    assert name in dir(metaerr_sklearn)


def test_editors_complete_every_public_name():
    """The imports that editors read lead to the same modules as those that are made when used."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    (checked,) = (node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    imported = {alias.name: node.module for node in checked.body for alias in node.names}
    assert imported == metaerr_sklearn._MODULES


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
    """Yield private names of scikit-learn that a module imports, and its checks of versions.

    Code that depends on the version belongs in `_compat`.
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
    """Else Python would show each warning for the first fit only."""
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = np.where(np.arange(60) < 3, 1, 0)
    one_each = np.full(60, -1)
    one_each[2:4] = y[2:4]
    fits = {
        "fewer than the 5 folds": (MetaErrorClassifier(GaussianNB(), "logistic"), y),
        "errors among 60 rows": (MetaErrorClassifier(DummyClassifier(), "logistic", cv=3), y),
        "a single labeled row": (SelfTrainingWithMetaErr(GaussianNB()), one_each),
        "errors among 40 rows": (
            SelectiveClassifier(
                MetaErrorClassifier(DummyClassifier(), "logistic", cv=3),
                target_coverage=0.8,
                calibration=1 / 3,
                random_state=0,
            ),
            np.where(np.arange(60) < 6, 1, 0),
        ),
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


def test_source_distribution_and_wheel_are_complete(tmp_path):
    """The source distribution holds tests, docs and benchmarks, and builds the wheel."""
    # The source tree that these tests belong to: the package itself may be an installed wheel.
    root, tree = Path(__file__).parents[1], tmp_path / "tree"
    generated = ("__pycache__", ".*", "_build", "generated", "gallery", "sg_execution_times.rst")
    for folder in ("metaerr_sklearn", "tests", "docs", "benchmarks"):
        ignore = shutil.ignore_patterns(*generated)
        shutil.copytree(root / folder, tree / folder, ignore=ignore)
    for pattern in ("*.md", "*.cfg", "*.toml", "*.txt", "*.in", "LICENSE"):
        for path in root.glob(pattern):
            shutil.copy(path, tree / path.name)
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    (tree / "docs" / "gallery").mkdir()
    (tree / "docs" / "gallery" / "plot_example.rst").touch()  # made by a build of the docs

    def build(kind, folder):
        code = f"from setuptools import build_meta; build_meta.build_{kind}({str(tmp_path)!r})"
        subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, check=True)

    build("sdist", tree)
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    packed = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    assert files - packed == set()
    assert "docs/gallery" not in packed

    build("wheel", unpacked)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        built = {name for name in archive.namelist() if name.endswith(".py")}
    assert built == {name for name in files if name.startswith("metaerr_sklearn/")}


def public_objects():
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in module.__all__:
            if callable(value := getattr(module, name)):
                yield pytest.param(value, id=f"{module_name.partition('.')[2]}.{name}")


def missing_from_all(module, imported):
    """Yield the public names that a module defines, or a package shows, without listing them.

    A function of a plain module that other modules of the package import is no offender: it has no
    underscore because it crosses files, and is not public.
    """
    is_package = hasattr(module, "__path__")
    for name, value in vars(module).items():
        if name.startswith("_") or inspect.ismodule(value) or name in module.__all__:
            continue
        if is_package or (
            getattr(value, "__module__", None) == module.__name__ and name not in imported
        ):
            yield name


@pytest.mark.parametrize("module_name", MODULES)
def test_all_lists_every_public_name_and_no_other(module_name):
    module = importlib.import_module(module_name)
    assert module.__all__ == sorted(module.__all__, key=lambda name: (name.upper() != name, name))
    assert list(missing_from_all(module, imported_names())) == []
    for name in module.__all__:
        assert getattr(module, name).__module__.startswith(module_name)


@cache
def imported_names():
    """Return the names that some file of the package imports from another file of it."""
    return {
        alias.name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }


def test_public_objects_are_found_in_modules_and_in_packages():
    found = {item.id for item in public_objects()}
    assert {"classifier.MetaErrorClassifier", "metrics.aurc"} <= found
    assert ("neural.TorchEmbedding" in found) == HAS_TORCH


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
    if inspect.isfunction(item) or (inspect.isclass(item) and issubclass(item, BaseEstimator)):
        assert list(undocumented_parameters(item)) == []
    if inspect.isclass(item):
        for name, method in inspect.getmembers(item, inspect.isroutine):
            is_ours = (getattr(method, "__module__", None) or "").startswith("metaerr_sklearn")
            if is_ours and not name.startswith("_"):
                assert list(undocumented_parameters(method)) == [], name


def undocumented_parameters(item):
    doc = inspect.getdoc(item) or ""
    for name in inspect.signature(item).parameters:
        documented = re.search(rf"^(\*?\w+, )*\**{name}(, \w+)* :", doc, flags=re.MULTILINE)
        if name not in ("self", "cls") and not documented:
            yield name


@pytest.mark.parametrize(
    "base", [DummyClassifier(), RandomForestClassifier(5), LogisticRegression()], ids=str
)
def test_clone_changes_nothing(base):
    clf = MetaErrorClassifier(base, LightGBMMetaLearner(num_leaves=3))
    assert clone(clf).meta_learner.num_leaves == 3
    assert repr(clone(clf)) == repr(clf)
