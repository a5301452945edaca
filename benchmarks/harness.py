"""What a pytest benchmark does: verify every candidate, then time ours interleaved with the peers.

pytest-benchmark times fastcnn; before each of its rounds every PyTorch layout runs once, timed here
(A B C A B C ...). The naive twin and NumPy run apart: their speed is of another order, and BLAS's
threads spin for a while after a call. The peers' times go into the benchmark's `extra_info`.
"""

import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fastcnn._config import config

from . import peers
from .suites import SUITES
from .timing import check_outputs, usable_cores

BUDGET = 0.4  # seconds of interleaved rounds


def measured(suite: str) -> pytest.MarkDecorator:
    """Parametrises a test over a suite, with ids like vgg16.conv3_2-backward_weight-avx2-t1."""
    isa = config()["isa"]
    counts = [n for n in (1, 2) if n <= usable_cores()]
    return pytest.mark.parametrize(
        ("layer", "wrt", "threads"),
        [
            pytest.param(layer, wrt, n, id=f"{layer.name}-{wrt}-{isa}-t{n}")
            for layer, wrt in SUITES[suite].pairs
            for n in counts
        ],
    )


@functools.lru_cache(maxsize=1)  # the thread counts of one pass follow each other
def _prepared(suite: str, layer: Any, wrt: str) -> tuple[peers.Case, Sequence[NDArray[Any]]]:
    case = SUITES[suite].case(layer, wrt)
    return case, case.expected()


def _seconds(run: Any) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(benchmark: Any, suite: str, layer: Any, wrt: str, threads: int) -> dict[str, float]:
    """Speed by peer, in the suite's unit; a Disagreement if any output is wrong."""
    case, expected = _prepared(suite, layer, wrt)
    times: dict[str, list[float]] = {}
    with peers.thread_count(threads):
        runs = {}
        for name, candidate in case.candidates(peers.ALL).items():
            check_outputs(name, candidate.outputs(candidate.run()), expected, case.tolerance)
            runs[name] = candidate.run
        ours = runs.pop(peers.OURS)
        for name in ("naive", "numpy"):
            if name in runs:
                run = runs.pop(name)
                first = _seconds(run)
                more = 0 if first > 0.1 else min(20, int(0.1 / max(first, 1e-6)))
                times[name] = [first] + [_seconds(run) for _ in range(more)]
        for name in runs:
            times[name] = []

        def peers_once() -> None:
            for name, run in runs.items():
                times[name].append(_seconds(run))

        once = _seconds(ours) + _seconds(peers_once)
        rounds = int(np.clip(BUDGET / once, 3, 200))
        benchmark.pedantic(ours, setup=peers_once, rounds=rounds, warmup_rounds=1)
    if benchmark.stats is not None:  # None with --benchmark-disable
        times = {peers.OURS: [benchmark.stats.stats.min], **times}
    work = SUITES[suite].work(case)
    speeds = {name: work / min(t) for name, t in times.items()}
    benchmark.extra_info |= {"unit": SUITES[suite].unit, **speeds}
    return speeds
