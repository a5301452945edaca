"""What augmentation costs: epochs of training with it and without it, in turns.

LeNet-5 with random rotations and shifts on 28 x 28 images, ResNet-20 with random crops and flips on
32 x 32 colour images; the data are random numbers, the speed is the same. The last column is the
time of an epoch with augmentation over that of one without, the fastest of each:

    python -m benchmarks.augmentation [--threads 2] [--rounds 5]
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import fastcnn
from fastcnn import data, models, nn, optim, training
from fastcnn.data import augment


class Setting(NamedTuple):
    """A net, the shape of its images, how many of them an epoch has, and what changes them."""

    name: str
    model: Callable[..., nn.Layer]
    shape: tuple[int, int, int]
    images: int
    transform: augment.Augmentation


SETTINGS = (
    Setting(
        "LeNet-5, rotation and shift",
        functools.partial(models.lenet5, "relu"),
        (1, 28, 28),
        12_800,
        augment.RandomAffine(15, translate=(0.1, 0.1)),
    ),
    Setting(
        "ResNet-20, crop and flip",
        models.resnet20,
        (3, 32, 32),
        640,
        augment.Compose([augment.RandomCrop(32, padding=4), augment.RandomHorizontalFlip()]),
    ),
)


def epoch_seconds(setting: Setting, rounds: int) -> tuple[float, float]:
    """The fastest epoch without and with augmentation."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (setting.images, *setting.shape), dtype=np.uint8)
    train = data.ArrayDataset(x, rng.integers(0, 10, setting.images))
    model = setting.model(seed=0)
    optimizer = optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    times: dict[bool, list[float]] = {False: [], True: []}
    for round_ in range(rounds + 1):
        for augmented in times:
            transform = setting.transform if augmented else None
            start = time.perf_counter()
            trainer.fit(train, epochs=1, batch_size=64, augment=transform, progress=False)
            if round_:  # the first warms up
                times[augmented].append(time.perf_counter() - start)
    return min(times[False]), min(times[True])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastcnn.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    fastcnn.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads; images/s without and with augmentation, ratio of times")
    for setting in SETTINGS:
        plain, augmented = epoch_seconds(setting, arguments.rounds)
        speeds = (setting.images / seconds for seconds in (plain, augmented))
        columns = "".join(f"{speed:12,.0f}" for speed in speeds)
        print(f"{setting.name:30}{columns}{augmented / plain:8.3f}", flush=True)


if __name__ == "__main__":
    main()
