"""For the pytest benchmarks: the `compare` fixture, and the table of peers after the run."""

from collections.abc import Callable
from typing import Any

import pytest

from . import harness, peers
from .suites import SUITES
from .timing import readable

LINES = pytest.StashKey[list[tuple[str, ...]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LINES] = []


@pytest.fixture
def compare(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Verify and time one pass over one layer at one thread count."""

    def run(suite: str, layer: Any, wrt: str, threads: int) -> None:
        benchmark.group = f"{SUITES[suite].title} {wrt} t{threads}"
        speeds = harness.compare(benchmark, suite, layer, wrt, threads)
        cells = [readable(speeds[name]) if name in speeds else "" for name in peers.ALL]
        torch = [speeds[name] for name in peers.TORCH if name in speeds]
        both = torch and peers.OURS in speeds
        ratio = readable(speeds[peers.OURS] / max(torch)) if both else ""
        test_id = request.node.name.partition("[")[2].removesuffix("]")
        line = (test_id, *cells, ratio, SUITES[suite].unit)
        request.config.stash[LINES].append(line)

    return run


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    lines = config.stash[LINES]
    if not lines:
        return
    lines = [("", *peers.ALL, "xb", "unit"), *lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    terminalreporter.write_sep("=", "speed beside peers (all verified); xb: over the better torch")
    for first, *rest in lines:
        cells = (c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))
        terminalreporter.write_line(f"{first:{widths[0]}}  {'  '.join(cells)}")
