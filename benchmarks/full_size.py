"""Every net at its full size, each in a fresh process: ``python -m benchmarks.full_size``.

Per net: parameters, as built and as published or counted by hand; what `summary` says of memory
before any is taken (`Summary.training_bytes(states=0)`: weights, activations, and the gradients of
both, but no optimizer, as none runs here); then, for one image, the seconds of a forward and
backward pass by the layers (the fastest of three) and the largest resident size of the process:
the interpreter and its libraries (40 MiB) and the kernels' scratch are in it, which nobody told.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fastcnn._config import config, get_num_threads
from fastcnn.cli.recipes import RECIPES

from .timing import cpu_model

# Trainable parameters. As published: the papers' own, or torchvision's for the nets that it has.
PUBLISHED = {
    "dmlp": 79_510, "simple_convnet": 433_890, "simple_convnet-lecture": 433_890,
    "lenet5": 61_706, "lenet5-lecture": 61_706, "lenet5-1998": 60_000, "alexnet": 60_965_224,
    "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240,
    "googlenet": 6_998_552, "googlenet-auxiliary": 13_378_280, "resnet18": 11_689_512,
    "resnet34": 21_797_672, "resnet50": 25_557_032, "resnet101": 44_549_160,
    "resnet152": 60_192_808, "densenet121": 7_978_856, "densenet169": 14_149_480,
    "densenet201": 20_013_928,
}  # fmt: skip


def _resnet_cifar(n: int) -> int:
    """6n + 2 layers of 16, 32 and 64 channels, a batch norm behind each convolution."""
    stem, classifier = 27 * 16 + 2 * 16, 64 * 10 + 10
    first = sum(9 * a * b + 2 * b for a, b in ((16, 16), (16, 32), (32, 64)))
    others = sum((2 * n - 1) * (9 * c * c + 2 * c) for c in (16, 32, 64))
    return stem + first + others + classifier


# VGG-16's convolutions, its fully connected layers but the last, and scores of 21 classes.
_FCN = 14_714_688 + (49 * 512 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 21
# By hand. The papers round: 0.27, 0.46, 0.66, 0.85 and 1.7 million for ResNet-20 to 110 (table 6),
# 134 million for FCN (table 1); no paper has an autoencoder of this shape.
BY_HAND = {
    **{f"resnet{6 * n + 2}": _resnet_cifar(n) for n in (3, 5, 7, 9, 18)},
    "fcn32s": _FCN + (64 * 21) ** 2,  # transposed kernels of twice the stride, without bias
    "fcn16s": _FCN + (512 + 1) * 21 + (4 * 21) ** 2 + (32 * 21) ** 2,
    "fcn8s": _FCN + (512 + 1 + 256 + 1) * 21 + 2 * (4 * 21) ** 2 + (16 * 21) ** 2,
    "autoencoder": (9 + 1) * 16 + (9 * 16 + 1) * 32 + (32 * 49 + 1) * 32
    + (32 + 1) * 32 * 49 + (9 * 32 + 1) * 16 + (9 * 16 + 1),
}  # fmt: skip


def measure(name: str) -> dict[str, Any]:
    """One net; to be called in a process of its own."""
    import resource

    import numpy as np

    recipe = RECIPES[name]
    net = recipe.build()
    summary = net.summary(recipe.shape)
    x = np.random.default_rng(0).random((1, *recipe.shape), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        y, context = net.forward(x)
        if isinstance(y, dict):  # of several heads
            dy: Any = {head: np.ones_like(value) for head, value in y.items()}
        else:
            dy = np.ones_like(y)
        net.backward(dy, context)
        seconds.append(time.perf_counter() - start)
        net.zero_grad()  # as each step of training does: a sum of gradients would take their copy
    return {
        "parameters": net.num_parameters(trainable=True),
        "told": summary.training_bytes(states=0).total,
        "seconds": min(seconds),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def table(names: list[str]) -> str:
    """The nets' table in Markdown."""
    lines = [
        "| net | image | parameters | published | by hand | told, MiB "
        "| forward + backward, ms | peak, MiB |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        text = subprocess.run(
            [sys.executable, "-m", "benchmarks.full_size", "--one", name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        row = json.loads(text)
        expected = [counts.get(name) for counts in (PUBLISHED, BY_HAND)]
        if row["parameters"] not in expected:
            raise SystemExit(f"{name}: {row['parameters']:,} parameters, expected {expected}")
        counts = [f"{count:,}" if count else "" for count in expected]
        image = "x".join(str(size) for size in RECIPES[name].shape)
        cells = [
            name, image, f"{row['parameters']:,}", *counts, f"{row['told'] / 2**20:,.0f}",
            f"{1e3 * row['seconds']:,.1f}", f"{row['peak'] / 2**20:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], file=sys.stderr, flush=True)
    machine = f"{cpu_model()}, {get_num_threads()} threads, ISA tier {config()['isa']}."
    about = __doc__.split("\n\n", 1)[1]
    command = "`python -m benchmarks.full_size --out docs/full-size-nets.md`"
    return "\n".join(["# Nets at full size", "", about, f"{machine} {command}", "", *lines, ""])


def main() -> None:
    """Print the table, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--out", type=Path, help="the file to write")
    parser.add_argument("--one", choices=list(RECIPES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one)))
        return
    text = table(options.nets)
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
