"""Does a faster way of computing cost accuracy? ``python -m benchmarks.accuracy``.

LeNet-5 on the full MNIST, after one epoch and at the end, over several seeds: by layers with direct
kernels alone (`fastcnn.set_exact`), by layers with every algorithm, and by the plan. Mean and
standard deviation of the test accuracy.
"""

import argparse

import numpy as np

import fastcnn
from fastcnn import data, models, nn, optim, training

WAYS = {"layers, exact": (True, False), "layers": (False, False), "plan": (False, True)}


class AfterOne(training.Callback):
    """Keeps the test accuracy after the first epoch."""

    def __init__(self, test: data.Dataset) -> None:
        self.test, self.accuracy = test, float("nan")

    def on_epoch_end(self, trainer: training.Trainer) -> None:
        if trainer.epoch == 1:
            self.accuracy = trainer.evaluate(self.test).accuracy


def accuracies(
    way: str, seed: int, epochs: int, sets: tuple[data.Dataset, data.Dataset]
) -> tuple[float, float]:
    """Test accuracies after one epoch and after all, with a constant rate."""
    exact, plan = WAYS[way]
    fastcnn.set_exact(exact)
    net = models.lenet5(seed=seed)
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=seed, plan=plan)
    first = AfterOne(sets[1])
    trainer.fit(sets[0], epochs=epochs, batch_size=64, callbacks=[first], progress=False)
    return first.accuracy, trainer.evaluate(sets[1]).accuracy


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    sets = data.mnist()
    print(f"| {options.seeds} seeds | after 1 epoch | after {options.epochs} |")
    print("|---|--:|--:|")
    for way in WAYS:
        runs = np.array([accuracies(way, s, options.epochs, sets) for s in range(options.seeds)])
        cells = [f"{m:.4f} ± {d:.4f}" for m, d in zip(runs.mean(0), runs.std(0), strict=True)]
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
