"""docs/ and the READMEs: every public name is in the reference, and the code on the pages runs."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest

import fastcnn

DOCS = Path(__file__).resolve().parent.parent / "docs"


def public_modules(name: str = "") -> list[str]:
    """The package, and every module that an __all__ names: "", "data", "data.augment", ..."""
    space = importlib.import_module(f"fastcnn.{name}".rstrip("."))
    inside = [n for n in getattr(space, "__all__", ()) if inspect.ismodule(getattr(space, n))]
    below = [public_modules(f"{name}.{n}".lstrip(".")) for n in inside]
    return [name, *(m for modules in below for m in modules)]


PAGES = [
    p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts and ">>>" in p.read_text()
]

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="needs the source tree")


def public_names(module: str) -> set[str]:
    """What a module offers: its __all__ without modules, else its functions and classes."""
    space = importlib.import_module(f"fastcnn.{module}".rstrip("."))
    names = [n for n in getattr(space, "__all__", vars(space)) if not n.startswith("_")]
    if hasattr(space, "__all__"):
        return {n for n in names if not inspect.ismodule(getattr(space, n))}
    return {n for n in names if getattr(vars(space)[n], "__module__", "") == space.__name__}


def listed_names(text: str, module: str) -> set[str]:
    """The names in the autosummary tables of a page under `currentmodule` MODULE."""
    _, *parts = re.split(r"^\.\. currentmodule:: (\S+)$", text, flags=re.M)
    names = [
        re.findall(r"^(?:   |\.\. type:: )(\w+)$", body, re.M)
        for current, body in zip(parts[::2], parts[1::2], strict=True)
        if current == f"fastcnn.{module}".rstrip(".")
    ]
    return {name for group in names for name in group}


@pytest.mark.parametrize("module", public_modules())
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
