"""Threads, instruction-set tier and show_config: who chooses, and what a bad choice says."""

import contextvars
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastcnn
from fastcnn import _config, _kernels


def run_with(**env: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that prints the tier in use and the number of threads."""
    code = "import fastcnn; c = fastcnn._config.config(); print(c['isa'], c['threads'])"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
    )


# ---- FASTCNN_ISA ----


@pytest.mark.parametrize("tier", [name for name, usable in _kernels.isa_tiers() if usable])
def test_isa_forced(tier: str) -> None:
    assert run_with(FASTCNN_ISA=tier).stdout.split()[0] == tier
    assert run_with(FASTCNN_ISA=f" {tier.upper()} ").stdout.split()[0] == tier


def test_isa_default_is_the_last_available() -> None:
    usable = [name for name, available in _kernels.isa_tiers() if available]
    assert run_with(FASTCNN_ISA="").stdout.split()[0] == usable[-1]


@pytest.mark.parametrize(
    "tier", ["sse9", *(name for name, usable in _kernels.isa_tiers() if not usable)]
)
def test_isa_refused(tier: str) -> None:
    done = run_with(FASTCNN_ISA=tier)
    assert done.returncode == 1
    assert f"FASTCNN_ISA={tier}: expected one of scalar" in done.stderr


def test_isa_select_refuses_an_unknown_index() -> None:
    with pytest.raises(ValueError, match="descriptor"):
        _kernels.isa_select(99)


# ---- FASTCNN_NUM_THREADS, OMP_NUM_THREADS, affinity, cgroup ----


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend to be a machine of `cpus` with a cgroup quota and an environment."""

    def pretend(cpus: int, quota: float = math.inf, **env: str) -> int:
        for name in ("FASTCNN_NUM_THREADS", "OMP_NUM_THREADS"):
            monkeypatch.delenv(name, raising=False)
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)), raising=False)
        monkeypatch.setattr(_config, "_cgroup_cpus", lambda: quota)
        return _config._default_threads()

    return pretend


def test_default_is_the_smallest_bound(machine: Any) -> None:
    assert machine(8) == 8
    assert machine(8, quota=2.0) == 2
    assert machine(8, quota=1.5) == 2
    assert machine(8, quota=0.1) == 1
    assert machine(2, quota=16.0) == 2
    assert machine(8, OMP_NUM_THREADS="3") == 3
    assert machine(8, OMP_NUM_THREADS="3,2") == 3
    assert machine(2, OMP_NUM_THREADS="16") == 2


def test_our_variable_wins(machine: Any) -> None:
    assert machine(2, quota=1.0, OMP_NUM_THREADS="1", FASTCNN_NUM_THREADS="5") == 5


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_bad_environment(machine: Any, text: str) -> None:
    with pytest.raises(ValueError, match="FASTCNN_NUM_THREADS: expected a positive integer"):
        machine(2, FASTCNN_NUM_THREADS=text)
    assert machine(2, OMP_NUM_THREADS=text) == 2  # not our variable


def test_no_affinity_call(monkeypatch: pytest.MonkeyPatch, machine: Any) -> None:
    machine(8)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert _config._default_threads() == 3


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({"/sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"/sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4.0,
        ),
        (
            {
                "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            math.inf,
        ),
        ({"/sys/fs/cgroup/cpu.max": "nonsense"}, math.inf),
        ({}, math.inf),
    ],
)
def test_cgroup_quota(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cpus: float) -> None:
    def read_text(path: Path) -> str:
        if path.as_posix() not in files:
            raise FileNotFoundError(path)
        return files[path.as_posix()]

    monkeypatch.setattr(_config.Path, "read_text", read_text)
    assert _config._cgroup_cpus() == cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_one_cpu_means_one_thread() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "import fastcnn; print(fastcnn.get_num_threads())"
    )
    env = {k: v for k, v in os.environ.items() if k != "FASTCNN_NUM_THREADS"}
    assert subprocess.check_output([sys.executable, "-c", code], env=env, text=True) == "1\n"


# ---- set_num_threads, threads(n) ----


def test_set_and_get() -> None:
    fastcnn.set_num_threads(3)
    assert fastcnn.get_num_threads() == 3
    fastcnn.set_num_threads(np.int64(2))
    assert fastcnn.get_num_threads() == 2


@pytest.mark.parametrize("n", [0, -1, 4097, 2**62, 1.5, "2", None, True])
def test_bad_count(n: Any) -> None:
    before = fastcnn.get_num_threads()
    with pytest.raises(ValueError, match=r"expected an integer in 1\.\.4096"):
        fastcnn.set_num_threads(n)
    with pytest.raises(ValueError, match=r"expected an integer in 1\.\.4096"), fastcnn.threads(n):
        pass
    assert fastcnn.get_num_threads() == before


def test_threads_nest_and_end_after_an_error() -> None:
    fastcnn.set_num_threads(1)
    with fastcnn.threads(4):
        with pytest.raises(RuntimeError), fastcnn.threads(2):
            assert fastcnn.get_num_threads() == 2
            raise RuntimeError
        assert fastcnn.get_num_threads() == 4
    assert fastcnn.get_num_threads() == 1


def test_threads_holds_in_its_own_thread_only() -> None:
    fastcnn.set_num_threads(2)
    seen: list[int] = []
    with fastcnn.threads(7):
        fresh = contextvars.Context()
        other = threading.Thread(target=lambda: seen.append(fresh.run(fastcnn.get_num_threads)))
        other.start()
        other.join()
    assert seen == [2]


# ---- show_config ----


def test_show_config_tells_all(capsys: pytest.CaptureFixture[str]) -> None:
    fastcnn.set_num_threads(3)
    fastcnn.show_config()
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert shown["fastcnn"] == fastcnn.__version__
    assert shown["threads"] == "3"
    assert shown["isa"].split()[0] in {name for name, _ in _kernels.isa_tiers()} | {"available"}
    assert _config.config()["isa"] == _kernels.isa_active()
    assert _config.config()["threading"] == _kernels.threading() in ("pool", "openmp", "none")
