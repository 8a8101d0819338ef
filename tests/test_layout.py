"""Imports run one way: from the top of the list below to its end, and never in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import metaerr_sklearn

SOURCE = Path(metaerr_sklearn.__file__).parent

# Each module or package imports only from those that stand below it.
LAYERS = (
    "__init__",
    "classifier",
    "self_training",
    "selective",
    "plotting",
    "slices",
    "metrics",
    "error_model",
    "accuracy_estimation",
    "meta_learners",
    "meta_features",
    "confidence",
    "representation",
    "_base_estimator",
    "neural",
    "model_selection",
    "_utils",
    "_compat",
    "_version",
)


def imports_of(source):
    """Return {file: files it imports}, by dotted name, also of imports inside functions."""
    files = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)] = path
    graph = {}
    for name, path in files.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        package = [] if name == "__init__" else package
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ImportFrom) or not node.level:
                continue
            start = package[: len(package) - node.level + 1]
            target = start + (node.module.split(".") if node.module else [])
            for alias in node.names:
                known = [".".join(target), ".".join([*target, alias.name])]
                graph[name] |= {found for found in known if found in files}
    return graph


def upward(graph):
    """Return the imports that lead to a higher layer, as text."""
    layer = {name: LAYERS.index(name.split(".")[0]) for name in graph}
    return [f"{a} -> {b}" for a in graph for b in graph[a] if layer[b] < layer[a]]


def write(tree, files):
    for name, text in files.items():
        path = tree / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return imports_of(tree)


def test_every_module_has_a_layer():
    assert {name.split(".")[0] for name in imports_of(SOURCE)} == set(LAYERS)


def test_no_module_imports_from_a_higher_layer():
    assert upward(imports_of(SOURCE)) == []


def test_imports_form_no_circle():
    list(TopologicalSorter(imports_of(SOURCE)).static_order())


def test_no_file_is_too_long_to_read_at_once():
    lengths = {path: len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {path.name: length for path, length in lengths.items() if length > 650} == {}


def test_private_functions_of_many_parameters_give_the_reason():
    """More than seven, self not counted: their docstring says why, with the word "parameters"."""
    unexplained = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            folder = path.relative_to(SOURCE).parts[0]
            is_private = node.name.startswith("_") or folder in ("_base_estimator", "_utils")
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            n_parameters = sum(argument.arg not in ("self", "cls") for argument in arguments)
            reason = (ast.get_docstring(node) or "").partition("Parameters\n-----")[0]
            reason += (ast.get_docstring(node) or "").partition("Notes\n-----")[2]
            is_long = is_private and node.name != "__init__" and n_parameters > 7
            if is_long and "parameters" not in reason.lower():
                unexplained.append(f"{path.name}: {node.name} ({n_parameters})")
    assert unexplained == []


def test_an_upward_import_and_a_circle_are_found(tmp_path):
    """Also inside a function, and within one package."""
    graph = write(
        tmp_path,
        {
            "_utils/__init__.py": "",
            "_utils/rows.py": "def f():\n    from ..metrics import aurc\n",
            "metrics/__init__.py": "from ._report import report\n",
            "metrics/_report.py": "from . import _scorers\n",
            "metrics/_scorers.py": "from ._report import report\n",
        },
    )
    assert upward(graph) == ["_utils.rows -> metrics"]
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph).static_order())
