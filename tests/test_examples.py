"""Every example runs in its shortened form, says something, and has its page and real output."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted(p.stem for p in (ROOT / "examples").glob("*.py") if p.stem != "common")


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_in_its_shortened_form(name, tmp_path):
    command = [sys.executable, "-W", "error", ROOT / "examples" / f"{name}.py"]
    done = subprocess.run(
        [*command, "--quick", "--output", tmp_path],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((tmp_path / "output.txt").read_text().splitlines()) > 3
    assert list(tmp_path.glob("*.png"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_its_page_with_the_output_of_a_run(name):
    folder = ROOT / "docs" / "examples" / name
    page = folder.with_suffix(".md").read_text()
    assert f"{name}/output.txt" in page and f"examples/{name}.py" in page
    assert (folder / "output.txt").stat().st_size > 200
    for picture in folder.glob("*.png"):
        assert f"{name}/{picture.name}" in page, f"{picture.name} is not shown"
