"""Every net at its full size, each in a fresh process: ``python -m benchmarks.full_size``.

Per net: parameters, as built and as published; what `summary` says of memory before any is taken
(activations of a forward pass and weights); then, for one image, the seconds of a forward and
backward pass by the layers (the fastest of three) and the largest resident size of the process,
interpreter and libraries included.
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

# Trainable parameters as published: the papers' own, or torchvision's for the nets that it has.
PUBLISHED = {
    "dmlp": 79_510, "simple_convnet": 433_890, "lenet5": 61_706, "lenet5-lecture": 61_706,
    "lenet5-1998": 60_000, "alexnet": 60_965_224, "vgg11": 132_863_336, "vgg13": 133_047_848,
    "vgg16": 138_357_544, "vgg19": 143_667_240, "googlenet": 6_998_552,
    "googlenet-auxiliary": 13_378_280, "resnet18": 11_689_512, "resnet34": 21_797_672,
    "resnet50": 25_557_032, "resnet101": 44_549_160, "resnet152": 60_192_808,
    "densenet121": 7_978_856, "densenet169": 14_149_480, "densenet201": 20_013_928,
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
    return {
        "parameters": net.num_parameters(trainable=True),
        "told": summary.activation_bytes + summary.parameter_bytes,
        "seconds": min(seconds),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def table(names: list[str]) -> str:
    """The nets' table in Markdown."""
    lines = [
        "| net | image | parameters | published | told, MiB | forward + backward, ms | peak, MiB |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name in names:
        text = subprocess.run(
            [sys.executable, "-m", "benchmarks.full_size", "--one", name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        row = json.loads(text)
        published = f"{PUBLISHED[name]:,}" if name in PUBLISHED else ""
        if name in PUBLISHED and PUBLISHED[name] != row["parameters"]:
            raise SystemExit(f"{name}: {row['parameters']:,} parameters, {published} published")
        image = "x".join(str(size) for size in RECIPES[name].shape)
        cells = [
            name, image, f"{row['parameters']:,}", published, f"{row['told'] / 2**20:,.0f}",
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
