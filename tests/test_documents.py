"""The code of the README and of each page of the documentation runs as it stands there."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md")])
# Libraries of the recipes that no extra installs. A block that imports one of them is a test of its
# own, which is skipped if the library is missing.
OTHER_LIBRARIES = {
    "catboost",
    "fairlearn",
    "imblearn",
    "mlflow",
    "onnxruntime",
    "optuna",
    "shap",
    "skl2onnx",
    "skrub",
    "xgboost",
}


def python_blocks(page):
    """Return the blocks of Python code of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def other_libraries(block):
    """Return the libraries that a block imports and no extra installs."""
    imported = re.findall(r"^ *(?:import|from) (\w+)", block, re.MULTILINE)
    return sorted(OTHER_LIBRARIES.intersection(imported))


# The guides take minutes: they run with the slow tests.
PAGES = [
    pytest.param(README, marks=pytest.mark.torch),  # its recipe for images
    *(pytest.param(page, marks=pytest.mark.slow) for page in GUIDES if python_blocks(page)),
]
RECIPES = [
    pytest.param(page, block, id=f"{page.stem}-{'-'.join(other_libraries(block))}")
    for page in GUIDES
    for block in python_blocks(page)
    if other_libraries(block)
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path):
    """All blocks of a page run one after the other, in one process and an empty folder."""
    done = _run([block for block in python_blocks(page) if not other_libraries(block)], tmp_path)
    # The digits may change with the versions of the libraries, the words do not.
    printed = re.findall(r"^```text\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    if printed:
        assert _words(done.stdout) == _words("".join(printed))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), RECIPES)
def test_a_recipe_with_another_library_runs(page, block, tmp_path):
    """It runs after the blocks before it that need no other library."""
    missing = [name for name in other_libraries(block) if find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    blocks = python_blocks(page)
    before = [code for code in blocks[: blocks.index(block)] if not other_libraries(code)]
    _run([*before, block], tmp_path)


def _run(blocks, folder):
    """Run blocks of code as one script in an empty folder."""
    (folder / "page.py").write_text("\n".join(blocks))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def _words(text):
    return [re.sub(r"[\d.]+", "0", line) for line in text.splitlines()]


def test_every_link_to_a_file_leads_to_one():
    for page in [README, *GUIDES, ROOT / "benchmarks" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page}: {target}"


def test_the_readme_fits_on_two_screens():
    assert len(README.read_text().splitlines()) <= 120
