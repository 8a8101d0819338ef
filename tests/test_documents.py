"""The code of the README and of each page of the documentation runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/guide/*.md")])
# The guides take a minute: they run with the slow tests.
PAGES = [
    pytest.param(README, marks=pytest.mark.torch),  # its recipe for images
    *(
        pytest.param(page, marks=pytest.mark.slow)
        for page in GUIDES
        if "```python" in page.read_text()
    ),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path):
    """All blocks of a page run one after the other, in one process and an empty folder."""
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    printed = re.findall(r"^```text\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "page.py").write_text("\n".join(blocks))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # The digits may change with the versions of the libraries, the words do not.
    if printed:
        assert _words(done.stdout) == _words("".join(printed))


def _words(text):
    return [re.sub(r"[\d.]+", "0", line) for line in text.splitlines()]


def test_every_link_to_a_file_leads_to_one():
    for page in [README, *GUIDES, ROOT / "benchmarks" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page}: {target}"


def test_the_readme_fits_on_two_screens():
    assert len(README.read_text().splitlines()) <= 120
