"""docs/ and the READMEs: every public name is in the reference, and the code on the pages runs."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import fastcnn

DOCS = Path(__file__).resolve().parent.parent / "docs"
MODULES = [
    *(
        "data",
        "data.augment",
        "metrics",
        "models",
        "nn",
        "nn.blocks",
        "nn.init",
        "ops",
        "optim",
        "plan",
    ),
    *("reference", "testing", "training", "training.schedules", "viz"),
]
PAGES = [
    p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts and ">>>" in p.read_text()
]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="needs the source tree")


def public_names(module: str) -> set[str]:
    """What a module offers: its __all__ without submodules, else its functions and classes."""
    space = importlib.import_module(f"fastcnn.{module}".rstrip("."))
    if hasattr(space, "__all__"):
        submodules = {m.rpartition(".")[2] for m in MODULES}
        return {n for n in space.__all__ if n not in submodules and not n.startswith("__")}
    return {
        name
        for name, value in vars(space).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == space.__name__
    }


def listed_names(text: str, module: str) -> set[str]:
    """The names in the autosummary tables of a page under `currentmodule` MODULE."""
    _, *parts = re.split(r"^\.\. currentmodule:: (\S+)$", text, flags=re.M)
    names = [
        re.findall(r"^   (\w+)$", body, re.M)
        for current, body in zip(parts[::2], parts[1::2], strict=True)
        if current == f"fastcnn.{module}".rstrip(".")
    ]
    return {name for group in names for name in group}


@pytest.mark.parametrize("module", ["", *MODULES])
def test_the_reference_lists_every_public_name(module):
    page = DOCS / "api" / f"{module.partition('.')[0] or 'fastcnn'}.rst"
    assert listed_names(page.read_text(), module) == public_names(module)


def test_the_reference_links_every_module():
    index = (DOCS / "api/index.md").read_text()
    assert all(f"\n{page.stem}\n" in index for page in (DOCS / "api").glob("*.rst"))


def code_of(page: Path) -> doctest.DocTest:
    """The examples of a page; the fences of its code blocks count as empty lines."""
    text = re.sub(r"^ *(```|:::).*$", "", page.read_text(), flags=re.M)
    return doctest.DocTestParser().get_doctest(text, {"__name__": "page"}, page.name, str(page), 0)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))
def test_the_code_on_a_page_gives_what_it_shows(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fastcnn.set_num_threads(1)  # small nets; conftest.py puts it back
    runner = doctest.DocTestRunner()
    said: list[str] = []
    runner.run(code_of(page), out=said.append)
    assert not said, "".join(said)


def facts_of(page: Path) -> list[list[str]]:
    """What a translation keeps: code blocks, code in lines, links and numbers."""
    text = page.read_text()
    blocks = re.findall(r"^```.*?^```", text, re.M | re.S)
    text = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    links = [to for to in re.findall(r"\]\(([^)]+)\)", text) if not to.startswith("README")]
    numbers = re.findall(r"\d[\d,.x-]*\d|\d", re.sub(r"\]\([^)]*\)|`[^`]*`", "", text))
    return [blocks, sorted(re.findall(r"`[^`]+`", text)), sorted(links), sorted(numbers)]


def test_both_readmes_say_the_same():
    english, korean = DOCS.parent / "README.md", DOCS.parent / "README.ko.md"
    assert facts_of(korean) == facts_of(english)
    assert "(README.ko.md)" in english.read_text() and "(README.md)" in korean.read_text()


def test_the_links_of_the_readme_lead_somewhere():
    _, _, links, _ = facts_of(DOCS.parent / "README.md")
    assert [to for to in links if not (DOCS.parent / to).exists()] == []
