"""Threads, instruction-set tier and memory pool: what is chosen, by whom, and how to see it."""

import contextlib
import contextvars
import math
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from . import _kernels


def _cgroup_cpus() -> float:
    """CPUs that the cgroup quota (v2, then v1) grants this process; infinite without a quota."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()[:2]
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        folder = Path("/sys/fs/cgroup/cpu")
        cpu_quota = int((folder / "cpu.cfs_quota_us").read_text())
        cpu_period = int((folder / "cpu.cfs_period_us").read_text())
        return math.inf if cpu_quota <= 0 else cpu_quota / cpu_period
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def _env_threads(name: str) -> int | None:
    """A positive thread count from the environment; OMP_NUM_THREADS may be a list "4,2"."""
    text = os.environ.get(name, "").split(",")[0].strip()
    if not text:
        return None
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{name}: expected a positive integer, got {os.environ[name]!r}")
    return int(text)


def _default_threads() -> int:
    """FASTCNN_NUM_THREADS, else min(affinity, cgroup quota, OMP_NUM_THREADS)."""
    ours = _env_threads("FASTCNN_NUM_THREADS")
    if ours is not None:
        return ours
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cpus = os.cpu_count() or 1
    try:
        omp = _env_threads("OMP_NUM_THREADS")
    except ValueError:  # not our variable: ignore what we cannot read
        omp = None
    quota = _cgroup_cpus()
    return max(1, min(cpus, omp or cpus, cpus if quota == math.inf else math.ceil(quota)))


_num_threads: int | None = None  # None until first asked for: an import reads no files
_override: contextvars.ContextVar[int | None] = contextvars.ContextVar("threads", default=None)


def _checked_threads(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or not 1 <= n <= 4096:
        raise ValueError(f"number of threads: expected an integer in 1..4096, got {n!r}")
    return int(n)


def set_num_threads(n: int) -> None:
    """Set how many threads kernels may use, for the whole process.

    Results have the same bits at any number. Small work stays serial whatever the number.

    Parameters
    ----------
    n : int
        At least 1. The default is ``FASTCNN_NUM_THREADS``, else the smallest of the CPU affinity,
        the cgroup quota and ``OMP_NUM_THREADS``.

    Raises
    ------
    ValueError
        If `n` is not an integer in 1..4096.

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.set_num_threads(2)
    >>> fastcnn.get_num_threads()
    2
    """
    global _num_threads
    _num_threads = _checked_threads(n)


def get_num_threads() -> int:
    """How many threads a kernel called here and now may use.

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.get_num_threads() >= 1
    True
    """
    global _num_threads
    here = _override.get()
    if here is not None:
        return here
    if _num_threads is None:
        _num_threads = _default_threads()
    return _num_threads


@contextlib.contextmanager
def threads(n: int) -> Iterator[None]:
    """Use `n` threads inside a ``with`` block, in this Python thread (or task) only.

    Parameters
    ----------
    n : int
        At least 1.

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If `n` is not an integer in 1..4096.

    Examples
    --------
    >>> import fastcnn
    >>> with fastcnn.threads(1):
    ...     fastcnn.get_num_threads()
    1
    """
    token = _override.set(_checked_threads(n))
    try:
        yield
    finally:
        _override.reset(token)


_exact = False


def set_exact(exact: bool) -> None:
    """Keep ``algorithm="auto"`` to the direct kernels (True), or let it choose Winograd (False).

    Winograd's convolution is two to four times faster for 3x3 and 5x5 kernels, and its rounding
    error two to seven times larger; for 3x3 and 4x4 with stride 2, a third faster and at most twice
    as large. Larger kernels with strides (the 11x11 and 7x7 of first layers) are, forward and in
    the gradient of weights, up to 2 times faster, their error up to seven times larger. All are
    deterministic. Whole-number inputs give whole-number results only with the direct kernels. A
    training step of a `plan.BlockPlan` takes Winograd for rows of five taps before 2x2 max pooling
    (error 1.4 times the direct one's), unless this is set; its inference never does. For the whole
    process; off at the start.

    Parameters
    ----------
    exact : bool

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.set_exact(True)
    >>> fastcnn.get_exact()
    True
    >>> fastcnn.set_exact(False)
    """
    global _exact
    _exact = bool(exact)


def get_exact() -> bool:
    """Whether ``algorithm="auto"`` keeps to the direct kernels; see `set_exact`.

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.get_exact()
    False
    """
    return _exact


def _select_isa() -> None:
    """The best tier of this processor, or the one that FASTCNN_ISA names."""
    tiers = _kernels.isa_tiers()
    usable = [name for name, available in tiers if available]
    wanted = os.environ.get("FASTCNN_ISA", "").strip().lower() or usable[-1]
    if wanted not in usable:
        have = ", ".join(usable)
        raise ImportError(f"FASTCNN_ISA={wanted}: expected one of {have} on this machine")
    _kernels.isa_select([name for name, _ in tiers].index(wanted))


def clear_cache() -> None:
    """Give the memory that the buffer pool keeps for reuse back to the system.

    The pool keeps blocks of 64 KiB and more mapped after their arrays are gone, up to 1 GiB.

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.clear_cache()
    """
    _kernels.pool_clear()


def config() -> dict[str, object]:
    """What `show_config` prints, as a dictionary."""
    from . import __version__

    kept, limit = _kernels.pool_info()
    return {
        "fastcnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "isa": _kernels.isa_active(),
        "isa available": [name for name, available in _kernels.isa_tiers() if available],
        "threading": _kernels.threading(),
        "threads": get_num_threads(),
        "exact": get_exact(),
        "pool bytes kept": kept,
        "pool bytes limit": limit,
    }


def show_config() -> None:
    """Print version, instruction-set tier, threads and the state of the memory pool.

    Examples
    --------
    >>> import fastcnn
    >>> fastcnn.show_config()  # doctest: +ELLIPSIS
    fastcnn           ...
    """
    for key, value in config().items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        print(f"{key:17} {text}", file=sys.stdout)


_select_isa()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_kernels.threads_pause)
