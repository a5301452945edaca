"""The table of ratios to PyTorch, as markdown: ``python -m benchmarks.peers_table``.

Every cell is verified against float64 before it is timed, and no ratio is printed for an output
that does not agree: the cell says failed, and the run ends with exit code 1. The candidates of a
cell are interleaved in one process. "xb" is the speed over PyTorch's better layout, above 1 where
fastcnn is faster.

    --isa avx2              both sides on that instruction set (in a subprocess with the settings
                            of fastcnn, oneDNN, ATen, MKL and OpenBLAS)
    --suites conv pool      some of the families
    --allocator kept        freed memory stays mapped (glibc): PyTorch's page faults are tamed
    --layers vgg lenet1     rows whose key or name starts with one of the words
    --passes forward        passes that start with one of the words
    --peers torch compile   whole nets by torch.compile too
    --peers none --quick    fastcnn alone, with short timings, for tuning kernels
    --times 2               everything twice, minutes apart, and each candidate's faster time: on a
                            machine that is shared with others, whose load comes and goes
"""

import argparse
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import peers
from .suites import SUITES, Suite, chosen
from .timing import check_outputs, cpu_model, interleave, readable, usable_cores

# Seconds of calls that do not count, on several threads, until another library's threads sleep.
SETTLE = 0.03
# What makes every library in the process keep to one instruction set.
ISA_ENVIRONMENT = {
    "scalar": {
        "FASTCNN_ISA": "scalar",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
    "avx2": {
        "FASTCNN_ISA": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "avx512": {
        "FASTCNN_ISA": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
        "ATEN_CPU_CAPABILITY": "avx512",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
        "OPENBLAS_CORETYPE": "SkylakeX",
    },
}
# By itself glibc maps blocks above 32 MiB afresh each time, and their pages fault at first touch.
ALLOCATOR_ENVIRONMENT = {
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)},
}
# torch.compile's own processes would still load while the other candidates are timed.
COMPILE_ENVIRONMENT = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
# Bounds, not peers: of memory, and of arithmetic.
COPY, PEAK = BOUNDS = ("copy", "peak")
TITLES = {
    "fastcnn": "fastcnn",
    "numpy": "NumPy + BLAS",
    "torch": "torch nchw",
    "torch_cl": "torch channels_last",
    "layers": "fastcnn, by layers",
    "torch_compile": "torch.compile",
    "onnxruntime": "ONNX Runtime",
    COPY: "of the copy bound",
    PEAK: "of the peak",
}


class Row(NamedTuple):
    """One layer, pass and thread count: speeds by peer, and who failed the check."""

    layer: Any
    wrt: str
    threads: int
    speed: dict[str, float]
    failures: dict[str, str]

    def ratio(self) -> float | None:
        """fastcnn's speed over that of PyTorch's better layout."""
        torch = [self.speed[t] for t in peers.TORCH if t in self.speed]
        if not torch or peers.OURS not in self.speed:
            return None
        return self.speed[peers.OURS] / max(torch)

    def cell(self, name: str) -> str:
        if name in self.failures:
            return "failed"
        if name not in self.speed:
            return ""
        if name in BOUNDS:  # both do the same work
            return f"{100 * self.speed[peers.OURS] / self.speed[name]:.0f} %"
        return readable(self.speed[name])

    def or_faster(self, other: "Row") -> "Row":
        """The same cell measured twice: each candidate's faster time, the failures of both."""
        failures = self.failures | other.failures
        speed = {
            name: max(one, other.speed[name])
            for name, one in self.speed.items()
            if name in other.speed and name not in failures
        }
        return self._replace(speed=speed, failures=failures)


def measure(
    suite: Suite, case: peers.Case, names: Sequence[str], threads: int, expected: Any, budget: float
) -> Row:
    """Verify, then time, one case at one thread count."""
    failures, runs = {}, {}
    with peers.thread_count(threads):
        for name, candidate in case.candidates(names).items():
            try:
                outputs = candidate.outputs(candidate.run())
                check_outputs(name, outputs, expected, case.tolerance)
                runs[name] = candidate.run
            except Exception as error:  # one cell must not cost the others; the exit code tells
                failures[name] = f"{type(error).__name__}: {error}"
        # OpenBLAS's threads spin for a while after a call: time it apart from the others.
        apart = {name: runs.pop(name) for name in ("numpy",) if name in runs}
        if case.bytes and peers.OURS in runs:
            runs[COPY] = peers.memory_copy(case.bytes, threads)
        if case.multiply_adds and peers.OURS in runs:
            runs[PEAK] = peers.multiply_adds(case.multiply_adds, threads)
        calm = {"settle": SETTLE, "slice_seconds": 0.02} if threads > 1 else {}
        times = interleave(runs, budget=budget, **calm) if runs else {}
        if apart:
            times |= interleave(apart, budget=budget / 4, least_rounds=1)
    work = suite.work(case)
    speed = {name: work / t.minimum for name, t in times.items()}
    return Row(case.layer, case.wrt, threads, speed, failures)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure_suite(suite: Suite, options: argparse.Namespace) -> list[Row]:
    """All cells of a suite; the data and the expected outputs of a pass serve all threads."""
    rows = []
    for layer, wrt in chosen(suite, options.layers, options.passes):
        case = suite.case(layer, wrt)
        expected = case.expected()
        for threads in options.threads:
            budget = suite.seconds * options.effort
            row = measure(suite, case, options.names, threads, expected, budget)
            rows.append(row)
            ratio = row.ratio()
            progress(
                f"{layer.key:12} {wrt:15} t{threads}  "
                + "  ".join(f"{name} {row.cell(name)}" for name in row.speed)
                + (f"  xb {ratio:.2f}" if ratio else "")
                + "".join(f"  FAILED {text}" for text in row.failures.values())
            )
    return rows


def mean(suite: Suite, rows: Sequence[Row]) -> tuple[float, str] | None:
    """The geometric mean of the ratios, and over how many layers it goes."""
    ratios = [r.ratio() for r in rows if not suite.mean_over or r.layer in suite.mean_over]
    known = [r for r in ratios if r]
    if not known:
        return None
    whole = len(suite.mean_over) or len(known)
    count = f"{len(known)} layers" if len(known) == whole else f"{len(known)} of {whole} layers"
    return math.exp(sum(map(math.log, known)) / len(known)), count


def plural(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def table(suite: Suite, rows: Sequence[Row], names: Sequence[str], caption: str) -> list[str]:
    """Rows of one pass (or of several) on one thread count, with the mean below."""
    names = [
        n
        for n in dict.fromkeys((*names, "layers", "onnxruntime", *BOUNDS))
        if any(n in r.speed or n in r.failures for r in rows)
    ]
    one_pass = len({r.wrt for r in rows}) == 1
    lines = [
        f"### {caption} ({suite.unit})",
        "",
        "| layer | shape | " + " | ".join(TITLES[n] for n in names) + " | xb |",
        "|---|---|" + "--:|" * (len(names) + 1),
    ]
    for row in rows:
        what = f"{row.layer.name} ({row.layer.key})" if one_pass else f"{row.layer.key} {row.wrt}"
        cells = [row.cell(n) for n in names]
        ratio = row.ratio()
        cells.append(f"{ratio:.2f}" if ratio else "")
        lines.append(f"| {what} | {row.layer} | {' | '.join(cells)} |")
    found = mean(suite, rows)
    if found and len(rows) > 1:
        blanks = " |" * len(names)
        lines.append(f"| **geometric mean** | {found[1]} |{blanks} **{found[0]:.2f}** |")
    return [*lines, ""]


def summary(results: dict[str, list[Row]], options: argparse.Namespace) -> list[str]:
    """The geometric means of xb, one line for each suite and pass."""
    lines = [
        "## Geometric means of xb",
        "",
        "| | layers | " + " | ".join(map(plural, options.threads)) + " |",
        "|---|---|" + "--:|" * len(options.threads),
    ]
    for name, rows in results.items():
        suite = SUITES[name]
        passes = suite.passes() if len(suite.passes()) <= 3 else [""]
        for wrt in passes:
            means = [
                mean(suite, [r for r in rows if r.threads == t and wrt in (r.wrt, "")])
                for t in options.threads
            ]
            if any(means):
                label = f"{suite.title}{', ' * bool(wrt)}{wrt.replace('_', ' ')}"
                count = next(m[1] for m in means if m)
                cells = " | ".join(f"{m[0]:.2f}" if m else "" for m in means)
                lines.append(f"| {label} | {count} | {cells} |")
    return [*lines, ""]


def header(families: str, command: str) -> list[str]:
    """Machine, versions and command: what one must know to repeat or to doubt the numbers."""
    import numpy as np

    from fastcnn._config import config

    ours, cores = config(), usable_cores()
    lines = [
        f"# Benchmarks on {ours['isa']}: {families}",
        "",
        f"- Machine: {cpu_model()}, {cores} core{'s' * (cores > 1)} usable, "
        f"{platform.system()} {platform.machine()}",
        f"- fastcnn {ours['fastcnn']}: ISA tier {ours['isa']}, threads: {ours['threading']}",
    ]
    if peers.have_torch():
        import torch

        lines.append(
            f"- PyTorch {torch.__version__}: {torch.backends.cpu.get_cpu_capability()}, oneDNN "
            f"limited to {os.environ.get('ONEDNN_MAX_CPU_ISA', 'nothing')}, its allocator's page "
            f"faults {'tamed' if os.environ.get('MALLOC_MMAP_MAX_') == '0' else 'as they come'}"
        )
    return [
        *lines,
        f"- Python {platform.python_version()}, NumPy {np.__version__}",
        f"- Command: `{command}`, {time.strftime('%Y-%m-%d')}",
        "",
        "Each figure is the fastest of many calls, interleaved with the peers' in one process, "
        "after the output was verified against float64. GFLOP/s count the flops of the direct "
        "formulation, for every algorithm. GB/s count what must be moved at least; the copy bound "
        "is a copy of as many bytes in the same run, and the peak as many multiply-adds in "
        "registers. xb is the speed over PyTorch's better layout.",
        "",
    ]


def report(results: dict[str, list[Row]], options: argparse.Namespace, command: str) -> list[str]:
    """The whole page."""
    families = "all families" if len(results) == len(SUITES) else ", ".join(results)
    if options.allocator:
        families += ", freed memory kept"
    text = header(families, command)
    if "torch" in options.peers:
        text += summary(results, options)
    for name, rows in results.items():
        suite = SUITES[name]
        if not rows:
            continue
        text += [f"## {suite.title}", ""]
        by_pass = len(suite.passes()) == 3
        for threads in options.threads:
            for wrt in suite.passes() if by_pass else [""]:
                here = [r for r in rows if r.threads == threads and wrt in (r.wrt, "")]
                if here:
                    caption = ", ".join(filter(None, [wrt.replace("_", " "), plural(threads)]))
                    text += table(suite, here, options.names, caption.capitalize())
    return text


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="write the markdown here instead of stdout")
    parser.add_argument("--isa", choices=ISA_ENVIRONMENT, help="one instruction set for all sides")
    parser.add_argument(
        "--allocator", choices=ALLOCATOR_ENVIRONMENT, help="how malloc treats big blocks"
    )
    counts = [n for n in (1, 2) if n <= usable_cores()]
    parser.add_argument("--threads", type=int, nargs="+", default=counts)
    parser.add_argument("--suites", nargs="+", default=[*SUITES], choices=SUITES)
    parser.add_argument("--layers", nargs="+", default=[], metavar="WORD")
    parser.add_argument("--passes", nargs="+", default=[], metavar="WORD")
    parser.add_argument(
        "--peers",
        nargs="+",
        default=["torch", "numpy"],
        choices=["torch", "compile", "numpy", "none"],
    )
    parser.add_argument("--effort", type=float, default=1.0, help="factor on the time per cell")
    parser.add_argument("--quick", action="store_true", help="--effort 0.25")
    parser.add_argument("--times", type=int, default=1, help="measure everything so often")
    options = parser.parse_args(arguments)
    if options.times < 1:
        parser.error(f"expected --times of 1 or more, got {options.times}")
    if options.quick:
        options.effort = 0.25
    options.names = [peers.OURS]
    if "torch" in options.peers:
        options.names += peers.TORCH
    if "compile" in options.peers:
        options.names.append("torch_compile")
    if "numpy" in options.peers:
        options.names.append("numpy")
    if "torch" in options.peers and not peers.have_torch():
        parser.error("PyTorch is not installed; `make bench-peers` installs it, or --peers none")
    if not any(chosen(SUITES[s], options.layers, options.passes) for s in options.suites):
        parser.error("no layer and pass start with these words")
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    wanted = ISA_ENVIRONMENT.get(options.isa, {}) | ALLOCATOR_ENVIRONMENT.get(options.allocator, {})
    if "compile" in options.peers:
        wanted |= COMPILE_ENVIRONMENT
    if not wanted.items() <= os.environ.items():  # libraries read these when loaded: start afresh
        command = [sys.executable, "-m", "benchmarks.peers_table", *arguments]
        return subprocess.run(command, env=os.environ | wanted).returncode
    if max(options.threads) > usable_cores():
        progress(f"Note: {max(options.threads)} threads on {usable_cores()} usable core(s)")
    results: dict[str, list[Row]] = {}
    for _ in range(options.times):
        for name in options.suites:
            rows = measure_suite(SUITES[name], options)
            before = results.get(name, rows)
            results[name] = [a.or_faster(b) for a, b in zip(before, rows, strict=True)]
    command = shlex.join(["python", "-m", "benchmarks.peers_table", *arguments])
    text = "\n".join(report(results, options, command))
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    else:
        print(text)
    failures = [(r, f) for rows in results.values() for r in rows for f in r.failures.values()]
    for row, failure in failures:
        progress(f"FAILED: {row.layer.name} {row.wrt} on {plural(row.threads)}: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
