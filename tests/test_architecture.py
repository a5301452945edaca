"""The rules of ARCHITECTURE.md, asserted: floors, twins, what C may use, what nobody may use.

Everything is read from the source tree; where the tests run away from it (an installed wheel),
only the checks of the package itself remain.
"""

import ast
import importlib
import inspect
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastcnn
from fastcnn import ops, reference

PACKAGE = Path(fastcnn.__file__).parent
ROOT = Path(__file__).parent.parent
CSRC = ROOT / "csrc"
needs_source = pytest.mark.skipif(not CSRC.is_dir(), reason="needs the source tree")

# Floor -> what it may import of fastcnn, besides itself. Nobody is above the CLI.
BASE = {"_kernels", "_config", "_checks"}
MAY_IMPORT: dict[str, set[str]] = {
    "_kernels": set(),
    "_config": {"_kernels"},
    "_checks": {"_kernels"},
    "reference": {"_checks"},
    "ops": BASE,
    "nn": {"ops", *BASE},
    "optim": {"nn", "ops", *BASE},
    "models": {"nn", "ops", "training", *BASE},  # training: SimpleConvNet's files
    "data": {"ops", *BASE},
    "metrics": {"_checks"},
    "testing": {"nn", *BASE},
    "plan": {"nn", "optim", "ops", *BASE},
    "training": {"nn", "optim", "data", "plan", "viz", *BASE},  # viz: History.plot
    "viz": {"nn", "metrics", "training", *BASE},
    "cli": {"nn", "optim", "models", "data", "metrics", "training", "viz", *BASE},
    "__main__": {"cli"},
    "__init__": {"_config"},
}


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def floor_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[str, int]]:
    """(dotted name of each imported module, line), relative imports resolved."""
    package = ("fastcnn", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            prefix = ".".join([*base, *(node.module.split(".") if node.module else [])])
            if prefix == "fastcnn":  # from fastcnn import ops; from .. import _kernels
                for alias in node.names:
                    yield f"fastcnn.{alias.name}", node.lineno
            else:
                yield prefix, node.lineno


def wrong_imports(path: Path) -> list[str]:
    floor = floor_of(path)
    allowed = MAY_IMPORT.get(floor, set()) | {floor, "__version__"}
    return [
        f"{path.name}:{line}: {floor} imports {name}"
        for name, line in imports_of(path)
        if name.startswith("fastcnn.") and name.split(".")[1] not in allowed
    ]


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_floor_knows_only_those_below(path: Path) -> None:
    assert floor_of(path) in MAY_IMPORT, f"{path}: say in MAY_IMPORT what this floor may import"
    assert wrong_imports(path) == []


def test_no_floor_may_import_what_it_does_not() -> None:
    """The base, which nearly all have, aside."""
    used: dict[str, set[str]] = {}
    for path in python_files():
        parts = (name.split(".") for name, _ in imports_of(path))
        used.setdefault(floor_of(path), set()).update(p[1] for p in parts if p[0] == "fastcnn")
    for floor, may in MAY_IMPORT.items():
        named = may - BASE if may >= BASE else may
        assert named <= used.get(floor, set()), floor


def test_the_import_check_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """A floor that may import nothing is caught importing."""
    monkeypatch.setitem(MAY_IMPORT, "ops", set())
    assert any(
        "imports fastcnn._kernels" in w for w in wrong_imports(PACKAGE / "ops/activation.py")
    )


HEAVY = {"scipy", "matplotlib", "tqdm", "safetensors", "PIL", "pooch"}


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_imports_are_inside_functions(path: Path) -> None:
    top_level = ast.parse(path.read_text()).body
    names = []
    for node in top_level:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module or "")
    assert not {name.partition(".")[0] for name in names} & HEAVY


# ---- each public op has its twin and its test; test_benchmarks.py asks for its benchmark ----


def public_ops() -> list[str]:
    return sorted(ops.__all__)


def test_the_reference_has_the_ops_and_nothing_else() -> None:
    assert sorted(reference.__all__) == public_ops()


@pytest.mark.parametrize("name", public_ops())
def test_each_op_has_its_reference_twin(name: str) -> None:
    op, twin = getattr(ops, name), getattr(reference, name)
    shape = [(p.name, p.kind, p.default) for p in inspect.signature(op).parameters.values()]
    same = [(p.name, p.kind, p.default) for p in inspect.signature(twin).parameters.values()]
    assert shape == same
    assert op.__module__.split(".")[-1] == twin.__module__.split(".")[-1], "family file differs"


@needs_source
@pytest.mark.parametrize("name", public_ops())
def test_each_op_has_its_test(name: str) -> None:
    family = getattr(ops, name).__module__.split(".")[-1]
    tests = list((ROOT / "tests/ops").glob(f"test_{family}*.py"))
    assert tests, f"tests/ops/test_{family}.py is missing"
    text = "".join(path.read_text() for path in tests)
    forward = name.removesuffix("_backward")
    # Families whose passes are alike are tested by name: getattr(ops, name + "_backward").
    assert re.search(rf"\b{name}\b", text) or (
        re.search(rf"\b{forward}\b", text) and 'name + "_backward"' in text
    )


@pytest.mark.parametrize("module", ["ops", "reference", "nn", "optim", "models", "data", "plan"])
def test_everything_public_has_a_docstring(module: str) -> None:
    space = importlib.import_module(f"fastcnn.{module}")
    for name in getattr(space, "__all__", ()):
        thing = getattr(space, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            text = inspect.getdoc(thing) or ""
            assert len(text) > 20, f"fastcnn.{module}.{name}"


# ---- what C may use ----


def c_code(path: Path) -> str:
    """The file without comments and string literals."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", path.read_text(), flags=re.S)
    return re.sub(r'"(\\.|[^"\\])*"', '""', text)


def c_files() -> list[Path]:
    return sorted([*CSRC.glob("*.c"), *CSRC.glob("*.h")])


FORBIDDEN_C = r"\b(printf|fprintf|puts|exit|abort|assert|malloc|calloc|realloc|free|alloca)\s*\("


@needs_source
@pytest.mark.parametrize("path", c_files(), ids=lambda p: p.name)
def test_the_core_is_plain_and_quiet(path: Path) -> None:
    code = c_code(path)
    assert not re.search(FORBIDDEN_C, code)
    includes = re.findall(r"#\s*include\s*[<\"]([^>\"]*)", path.read_text())
    assert not {"Python.h", "stdio.h", "stdlib.h", "assert.h"} & set(includes)
    if path.name != "threads.c":
        assert "omp.h" not in includes and not re.search(r"#\s*pragma\s+omp|\bomp_", code)
    if path.name != "thread_pool.c":
        assert "pthread.h" not in includes


@needs_source
def test_the_c_check_sees(tmp_path: Path) -> None:
    bad = tmp_path / "bad.c"
    bad.write_text(
        '/* malloc( in a comment */ const char *s = "exit(1)"; void f(void) { free(0); }'
    )
    assert re.findall(FORBIDDEN_C, c_code(bad)) == ["free"]


@needs_source
def test_kernels_keep_no_mutable_state() -> None:
    """File-scope variables are const, but for the tier chosen at import (dispatch.c)."""
    for path in c_files():
        mutable = re.findall(
            r"^static (?!const|inline)[\w ]+?\*?\w+(?:\[[^\]]*\])*\s*(?:=|;)", c_code(path), re.M
        )
        assert mutable == (["static int active ="] if path.name == "dispatch.c" else []), path.name


# ---- what nobody may use ----


def source_files() -> list[Path]:
    """Everything that is built, run or shipped; this file names the forbidden, so it is out."""
    suffixes = {".py", ".pyx", ".pxi", ".c", ".h", ".toml", ""}
    folders = ("fastcnn", "csrc", "bindings", "benchmarks", "tests", ".ci")
    inside = [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file()]
    top = [ROOT / n for n in ("setup.py", "pyproject.toml", "Makefile", "conftest.py")]
    return sorted(
        p
        for p in [*inside, *top]
        if p.suffix in suffixes
        and p != Path(__file__)
        and not {"build", "__pycache__", "embedded"} & set(p.relative_to(ROOT).parts)
    )


def python_names(path: Path) -> set[str]:
    """Identifiers of a Python file, comments and strings left out."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {t.string for t in tokens if t.type == tokenize.NAME}


@needs_source
def test_no_native_no_fast_math() -> None:
    for path in source_files():
        text = path.read_text()
        for flag in ("-march=" + "native", "-ffast" + "-math", "-Ofast", "-funsafe-math"):
            assert flag not in text, path


@needs_source
def test_no_file_that_is_loaded_can_run_code() -> None:
    forbidden = {"pickle", "eval", "exec", "marshal", "shelve", "dill", "joblib"}
    for path in python_files():
        assert not python_names(path) & forbidden, path
        assert "allow_pickle=True" not in path.read_text(), path


@needs_source
def test_no_other_framework_in_the_tests() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        if path != Path(__file__):
            assert not python_names(path) & {"torch", "tensorflow", "jax", "onnxruntime"}, path


@needs_source
@pytest.mark.parametrize(
    "path", [p for p in source_files() if CSRC.is_dir()], ids=lambda p: str(p.relative_to(ROOT))
)
def test_each_file_opens_with_what_it_is(path: Path) -> None:
    text = path.read_text()
    if path.suffix in {".c", ".h"}:
        assert text.startswith(f"/* {path.name} - ")
    elif path.suffix == ".py":
        assert ast.get_docstring(ast.parse(text)), "no docstring"
    elif path.suffix in {".pyx", ".pxi"} or path.name == "Makefile":
        assert text.startswith(f"# {path.name} - ")
    else:
        assert text.lstrip().startswith("#")


@needs_source
def test_no_file_is_too_long_to_read() -> None:
    """400 lines is the aim; beyond 700 a file does more than one thing."""
    long = {
        str(p.relative_to(ROOT)): n
        for p in source_files()
        if (n := p.read_text().count("\n")) > 700
    }
    assert long == {}
