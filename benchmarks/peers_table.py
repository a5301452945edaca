"""The table of ratios to PyTorch, as markdown: ``python -m benchmarks.peers_table``.

Every cell is verified against float64 before it is timed, and no ratio is printed for an output
that does not agree; then the run ends with exit code 1. All candidates of a cell are interleaved in
one process. "xb" is the ratio to PyTorch's better layout, above 1 where fastcnn is faster.

    --isa avx2        both sides on that instruction set (in a subprocess with the settings of
                      fastcnn, oneDNN, ATen, MKL and OpenBLAS)
    --peers none      fastcnn alone: quick, for tuning kernels
    --layers vgg lenet1   rows whose key or name starts with one of the words
    --quick           a short budget per cell
"""

import argparse
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import peers, shapes
from .timing import Disagreement, check_outputs, interleave

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
TITLES = {
    "fastcnn": "fastcnn",
    "blas": "NumPy im2col + BLAS",
    "torch": "torch nchw",
    "torch_cl": "torch channels_last",
}


class Row(NamedTuple):
    """One layer, pass and thread count: seconds by peer, and who failed the check."""

    layer: Any
    wrt: str
    threads: int
    seconds: dict[str, float]
    failures: dict[str, str]

    def ratio(self) -> float | None:
        """fastcnn's speed over that of PyTorch's better layout."""
        torch = [self.seconds[t] for t in peers.TORCH if t in self.seconds]
        if not torch or peers.OURS not in self.seconds:
            return None
        return min(torch) / self.seconds[peers.OURS]


def measure(case: Any, names: Sequence[str], threads: int, expected: Any, budget: float) -> Row:
    """Verify, then time, one case at one thread count."""
    failures, runs = {}, {}
    with peers.thread_count(threads):
        for name, candidate in case.candidates(names).items():
            try:
                check_outputs(name, candidate.outputs(candidate.run()), expected)
                runs[name] = candidate.run
            except Disagreement as error:
                failures[name] = str(error)
        # OpenBLAS's threads spin for a while after a call: time it apart from the others.
        apart = {name: runs.pop(name) for name in ("blas",) if name in runs}
        times = interleave(runs, budget=budget) if runs else {}
        if apart:
            times |= interleave(apart, budget=budget / 4, least_rounds=1)
    seconds = {name: times[name].minimum for name in names if name in times}
    return Row(case.layer, case.wrt, threads, seconds, failures)


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def chosen(layers: Sequence[Any], words: Sequence[str]) -> list[Any]:
    """The layers whose key or name starts with one of the words; all without words."""
    start = tuple(words)
    return [x for x in layers if not words or x.key.startswith(start) or x.name.startswith(start)]


def conv_rows(options: argparse.Namespace) -> list[Row]:
    """All cells of the convolution tables; the data and yardstick of a pass serve all threads."""
    rows = []
    layers = chosen(shapes.CONV_LAYERS, options.layers)
    layers += chosen(shapes.CONV_EXTRAS, options.layers) if options.extras else []
    for layer in layers:
        for wrt in options.passes:
            case = peers.ConvCase(layer, wrt)
            expected = case.expected()
            for threads in options.threads:
                row = measure(case, options.names, threads, expected, options.budget)
                rows.append(row)
                ratio = row.ratio()
                progress(
                    f"{layer.key:12} {wrt:15} t{threads} "
                    + "  ".join(
                        f"{name} {layer.flops / s / 1e9:.1f}" for name, s in row.seconds.items()
                    )
                    + (f"  xb {ratio:.2f}" if ratio else "")
                    + "".join(f"  FAILED {text}" for text in row.failures.values())
                )
    return rows


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def conv_table(rows: Sequence[Row], names: Sequence[str], wrt: str, threads: int) -> list[str]:
    """One pass on one thread count: GFLOP/s of each peer and the ratio, with the mean below."""
    here = [r for r in rows if r.wrt == wrt and r.threads == threads]
    lines = [
        f"### Convolution, {wrt.replace('_', ' ')}, {threads} thread{'s' * (threads > 1)}",
        "",
        "| layer | shape | " + " | ".join(TITLES[n] for n in names) + " | xb |",
        "|---|---|" + "--:|" * (len(names) + 1),
    ]
    for row in here:
        cells = [
            "disagrees" if n in row.failures
            else f"{row.layer.flops / row.seconds[n] / 1e9:.1f}" if n in row.seconds else ""
            for n in names
        ]  # fmt: skip
        ratio = row.ratio()
        cells.append(f"{ratio:.2f}" if ratio else "")
        lines.append(f"| {row.layer.name} ({row.layer.key}) | {row.layer} | {' | '.join(cells)} |")
    named = [(r, r.ratio()) for r in here if r.layer in shapes.CONV_LAYERS]
    ratios = [ratio for _, ratio in named if ratio]
    if ratios:
        count = f"{len(ratios)} layers"
        if len(ratios) < len(shapes.CONV_LAYERS):
            count += f" of {len(shapes.CONV_LAYERS)}"
        blanks = " |" * len(names)
        lines.append(f"| **geometric mean** | {count} |{blanks} **{geometric_mean(ratios):.2f}** |")
    return [*lines, ""]


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def header(command: str) -> list[str]:
    """Machine, versions and command: what one must know to repeat or to doubt the numbers."""
    import numpy as np

    from fastcnn._config import config

    ours = config()
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    lines = [
        "# Benchmarks",
        "",
        f"- Machine: {cpu_model()}, {cores} core{'s' * (cores > 1)} usable, {platform.platform()}",
        f"- fastcnn {ours['fastcnn']}: ISA tier {ours['isa']} (available: "
        f"{', '.join(ours['isa available'])}), OpenMP {'yes' if ours['openmp'] else 'no'}",
    ]
    if peers.have_torch():
        import torch

        lines.append(
            f"- PyTorch {torch.__version__}: capability "
            f"{torch.backends.cpu.get_cpu_capability()}, oneDNN limit "
            f"{os.environ.get('ONEDNN_MAX_CPU_ISA', 'none')}"
        )
    lines += [
        f"- Python {platform.python_version()}, NumPy {np.__version__}",
        f"- Command: `{command}`, {time.strftime('%Y-%m-%d')}",
        "",
        "GFLOP/s count the flops of the direct formulation, for every algorithm. Each figure is "
        "the minimum over calls interleaved with the peers' in one process, after the output was "
        "verified against float64. xb is the speed over PyTorch's better layout.",
        "",
    ]
    return lines


def summary(rows: Sequence[Row], options: argparse.Namespace) -> list[str]:
    """The geometric means of xb, one line a pass."""
    lines = [
        "## Convolution: geometric means of xb",
        "",
        "| pass | " + " | ".join(f"{t} thread{'s' * (t > 1)}" for t in options.threads) + " |",
        "|---|" + "--:|" * len(options.threads),
    ]
    for wrt in options.passes:
        cells = []
        for threads in options.threads:
            ratios = [
                r.ratio() for r in rows
                if (r.wrt, r.threads) == (wrt, threads) and r.layer in shapes.CONV_LAYERS
            ]  # fmt: skip
            known = [r for r in ratios if r]
            cells.append(f"{geometric_mean(known):.2f} ({len(known)} layers)" if known else "")
        lines.append(f"| {wrt.replace('_', ' ')} | {' | '.join(cells)} |")
    return [*lines, ""]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, help="write the markdown here instead of stdout")
    parser.add_argument("--isa", choices=ISA_ENVIRONMENT, help="one instruction set for all sides")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--layers", nargs="+", default=[], metavar="WORD")
    parser.add_argument(
        "--passes", nargs="+", default=[*shapes.CONV_PASSES], choices=shapes.CONV_PASSES
    )
    parser.add_argument(
        "--peers", nargs="+", default=["torch", "blas"], choices=["torch", "blas", "none"]
    )
    parser.add_argument("--extras", action="store_true", help="also depthwise, dilated, 1x7, ...")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds of timing per cell")
    parser.add_argument("--quick", action="store_true", help="--budget 0.3")
    options = parser.parse_args(arguments)
    if options.quick:
        options.budget = 0.3
    options.names = [peers.OURS]
    if "torch" in options.peers:
        options.names += peers.TORCH
    if "blas" in options.peers:
        options.names.append("blas")
    if "torch" in options.peers and not peers.have_torch():
        parser.error("PyTorch is not installed; `make bench-peers` installs it, or --peers none")
    return options


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    wanted = ISA_ENVIRONMENT.get(options.isa, {})
    if not wanted.items() <= os.environ.items():  # libraries read these when loaded: start afresh
        command = [sys.executable, "-m", "benchmarks.peers_table", *arguments]
        return subprocess.run(command, env=os.environ | wanted).returncode
    if not chosen(shapes.CONV_LAYERS + shapes.CONV_EXTRAS, options.layers):
        raise SystemExit(f"no layer's key or name starts with {' or '.join(options.layers)}")
    rows = conv_rows(options)
    text = header("python -m benchmarks.peers_table " + " ".join(arguments))
    if "torch" in options.peers:
        text += summary(rows, options)
    for threads in options.threads:
        for wrt in options.passes:
            text += conv_table(rows, options.names, wrt, threads)
    failures = [(r, f) for r in rows for f in r.failures.values()]
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text("\n".join(text))
    else:
        print("\n".join(text))
    for row, failure in failures:
        progress(f"DISAGREES: {row.layer.name} {row.wrt} on {row.threads} threads: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
