"""Interleaved timing, and the check that comes before it: do the outputs agree?

Candidates run in turn (A B C, B C A, ...), in slices of a few milliseconds, so that a change of
clock rate or a busy neighbour meets all of them alike. Every call is timed on its own; the minimum
is the figure that tables use, the median shows the noise.
"""

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

# The largest accepted error of a float32 output, as a fraction of the standard deviation of the
# float64 result. Rounding gives 1e-6 to 2e-4 (Winograd the most); a wrong tap gives about 1.
TOLERANCE = 5e-4


class Timing(NamedTuple):
    """Seconds a call."""

    minimum: float
    median: float
    calls: int


class Disagreement(AssertionError):
    """An output that differs from the reference by more than the tolerance."""


def check_outputs(
    who: str,
    got: Sequence[Any],
    want: Sequence[Any],
    tolerance: float = TOLERANCE,
) -> float:
    """The largest error over the outputs, relative to each one's standard deviation.

    A single number (a loss) has no deviation and is compared relative to itself.

    Raises
    ------
    Disagreement
        If an output differs in number or shape, is not finite, or errs by more than `tolerance`;
        also if the expected output is constant, since then agreement would prove nothing.
    """
    if len(got) != len(want):
        raise Disagreement(f"{who}: expected {len(want)} outputs, got {len(got)}")
    worst = 0.0
    for g, w in zip(got, want, strict=True):
        if g.shape != w.shape:
            raise Disagreement(f"{who}: expected shape {w.shape}, got {g.shape}")
        finite = np.isfinite(w).all()
        spread = float(np.std(w) if w.size > 1 else np.abs(w)) if finite else 0.0
        if not spread > 0.0:
            raise Disagreement(f"{who}: the expected output is constant or not finite")
        error = float(np.max(np.abs(g.astype(np.float64) - w))) / spread
        if not error <= tolerance:  # a NaN error fails too
            raise Disagreement(
                f"{who}: error {error:.1e} of the output's deviation, tolerance {tolerance:.0e}"
            )
        worst = max(worst, error)
    return worst


def interleave(
    candidates: dict[str, Callable[[], Any]],
    *,
    budget: float = 2.0,
    least_rounds: int = 3,
    slice_seconds: float = 0.004,
    settle: float = 0.0,
) -> dict[str, Timing]:
    """Time the candidates in turn for about `budget` seconds, at least `least_rounds` rounds.

    Each turn begins with `settle` seconds of calls that do not count. Threads of the one before,
    which may look for work for some milliseconds (GNU OpenMP's do), go to sleep meanwhile, and
    the candidate's own have been woken.
    """
    calls_per_slice = {}
    for name, run in candidates.items():
        run()  # warm-up: first-touch pages, code caches, thread pools
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
        calls_per_slice[name] = max(1, min(1000, round(slice_seconds / max(once, 1e-7))))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    deadline = time.perf_counter() + budget
    rounds = 0
    while rounds < least_rounds or time.perf_counter() < deadline:
        for name in order:
            run = candidates[name]
            start = time.perf_counter()
            while time.perf_counter() < start + settle:
                run()
            deadline += time.perf_counter() - start
            for _ in range(calls_per_slice[name]):
                start = time.perf_counter()
                run()
                samples[name].append(time.perf_counter() - start)
        order.append(order.pop(0))
        rounds += 1
    return {name: Timing(min(s), median(s), len(s)) for name, s in samples.items()}


def readable(value: float) -> str:
    """Three digits or so."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def usable_cores() -> int:
    """How many cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1


def cpu_model() -> str:
    """The processor's name as the system tells it, and its numbers: names may be vague."""
    try:
        lines = Path("/proc/cpuinfo").read_text().partition("\n\n")[0].splitlines()
        told = {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        return f"{told['model name']} (family {told['cpu family']}, model {told['model']})"
    except (OSError, KeyError):  # not Linux, or not x86
        return platform.processor() or platform.machine()
