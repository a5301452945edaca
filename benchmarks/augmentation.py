"""What augmentation costs: ``python -m benchmarks.augmentation [--threads 2] [--rounds 8]``.

LeNet-5 on 28 x 28 images and ResNet-20 on 32 x 32 colour images, each with several kinds of
random changes; the images are random numbers, which does not change the speed. Epochs with and
without augmentation run in turns, and the fastest of each counts: images a second without and with
it, and the time with it over the time without.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastcnn
from fastcnn import data, models, nn, optim, training
from fastcnn._config import config
from fastcnn.data import augment

from .timing import cpu_model, usable_cores


class Net(NamedTuple):
    """A net, the shape of its images, and how many of them an epoch has."""

    model: Callable[..., nn.Layer]
    shape: tuple[int, int, int]
    images: int


NETS = {
    "LeNet-5": Net(functools.partial(models.lenet5, "relu"), (1, 28, 28), 12_800),
    "ResNet-20": Net(models.resnet20, (3, 32, 32), 640),
}
JITTER = augment.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)
SETTINGS: tuple[tuple[str, str, augment.Augmentation], ...] = (
    ("LeNet-5", "shift", augment.RandomShift(2)),
    ("LeNet-5", "rotation and shift", augment.RandomAffine(15, translate=(0.1, 0.1))),
    ("LeNet-5", "cutout", augment.Cutout(9)),
    (
        "ResNet-20",
        "crop and flip",
        augment.Compose([augment.RandomCrop(32, padding=4), augment.RandomHorizontalFlip()]),
    ),
    ("ResNet-20", "rotation and shift", augment.RandomAffine(15, translate=(0.1, 0.1))),
    ("ResNet-20", "colour jitter and cutout", augment.Compose([JITTER, augment.Cutout(8)])),
)


def epoch_seconds(net: Net, change: augment.Augmentation, rounds: int) -> tuple[float, float]:
    """The fastest epoch without and with augmentation."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (net.images, *net.shape), dtype=np.uint8)
    train = data.ArrayDataset(x, rng.integers(0, 10, net.images))
    model = net.model(seed=0)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    times: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds + 1):
        for augmented in times:
            transform = change if augmented else None
            start = time.perf_counter()
            trainer.fit(train, epochs=1, batch_size=64, augment=transform, progress=False)
            if round_:  # the first warms up
                times[augmented].append(time.perf_counter() - start)
    return min(times[False]), min(times[True])


def table(rounds: int) -> list[str]:
    """The rows in Markdown, printed to standard error as they come."""
    lines = [
        "| net | augmentation | images/s without | images/s with | time with / without |",
        "|---|---|--:|--:|--:|",
    ]
    for name, kind, change in SETTINGS:
        net = NETS[name]
        plain, augmented = epoch_seconds(net, change, rounds)
        speeds = [f"{net.images / seconds:,.0f}" for seconds in (plain, augmented)]
        lines.append(f"| {' | '.join([name, kind, *speeds, f'{augmented / plain:.2f}'])} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return lines


def page(options: argparse.Namespace) -> str:
    """The page of the documentation: what is measured, where and how, and the table."""
    about = __doc__.split("\n\n", 1)[1]
    command = (
        f"python -m benchmarks.augmentation --threads {options.threads} --rounds {options.rounds}"
    )
    if options.out:
        command += f" --out {options.out}"
    facts = [
        f"- Machine: {cpu_model()}, {usable_cores()} cores usable",
        f"- fastcnn {fastcnn.__version__}: ISA tier {config()['isa']}, "
        f"{options.threads} thread{'s' * (options.threads > 1)}",
        f"- Command: `{command}`",
    ]
    note = (
        "Batches are changed on a thread of their own while the net computes the one before. On a\n"
        "machine whose cores are all at work for the net they still take a share of them: the\n"
        "smaller the net, the larger is that share. A last column below 1 is noise of other\n"
        "programs on the machine, and says how far these numbers can be trusted."
    )
    return "\n".join(
        ["# What augmentation costs", "", *facts, "", about, note, "", *table(options.rounds), ""]
    )


def main() -> None:
    """Print the page, or write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastcnn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path, help="the file to write")
    options = parser.parse_args()
    fastcnn.set_num_threads(options.threads)
    text = page(options)
    if options.out:
        options.out.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
