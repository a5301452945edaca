"""Seconds of LeNet-5 to 99 % test accuracy on MNIST, and PyTorch's: `python -m benchmarks.mnist99`.

The same recipe on both sides: ReLU variant, one-cycle to 0.05, momentum 0.9, weight decay 1e-4,
batch 64, a fit of `--epochs` epochs; after each the test accuracy is taken. Told are the seconds of
training alone until it first reached 0.99, and the last accuracy. The runs of a seed alternate.
"""

import argparse
import importlib.util
import math
import time
from typing import Any

import numpy as np

from fastcnn import data, models, nn, optim, set_num_threads, training

RATE, BATCH, DECAY = 0.05, 64, 1e-4


class Clock(training.Callback):
    """Training time by epoch, test accuracy after each."""

    def __init__(self, test: Any) -> None:
        self.test, self.seconds, self.reached, self.accuracy = test, 0.0, math.nan, 0.0

    def on_fit_begin(self, trainer: training.Trainer) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, trainer: training.Trainer) -> None:
        self.seconds += time.perf_counter() - self.start
        self.note(trainer.evaluate(self.test).accuracy)
        self.start = time.perf_counter()

    def note(self, accuracy: float) -> None:
        self.accuracy = accuracy
        if math.isnan(self.reached) and accuracy >= 0.99:
            self.reached = self.seconds


def by_fastcnn(train: Any, test: Any, seed: int, epochs: int, plan: Any) -> Clock:
    model, clock = models.lenet5("relu", seed=seed), Clock(test)
    optimizer = optim.SGD(model.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    trainer = training.Trainer(
        model, nn.CrossEntropyLoss(), optimizer, seed=seed, plan=plan,
        schedule=training.schedules.one_cycle(),
    )  # fmt: skip
    trainer.fit(train, epochs=epochs, batch_size=BATCH, progress=False, callbacks=[clock])
    return clock


def by_torch(train: Any, test: Any, seed: int, epochs: int) -> Clock:
    import torch

    from .torch_nets import lenet5, load

    net, clock = load(lenet5(), models.lenet5("relu", seed=seed).state_dict()), Clock(test)
    x, y = torch.from_numpy(train.x), torch.from_numpy(np.asarray(train.y, np.int64))
    test_x, test_y = torch.from_numpy(test.x), torch.from_numpy(np.asarray(test.y, np.int64))
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY)
    loss, factor = torch.nn.CrossEntropyLoss(), training.schedules.one_cycle()
    steps, done = epochs * -(-len(x) // BATCH), 0
    for epoch in range(epochs):
        start = time.perf_counter()
        order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(len(x)))
        for part in order.split(BATCH):
            optimizer.param_groups[0]["lr"] = RATE * factor(done / steps)
            optimizer.zero_grad()
            loss(net(x[part]), y[part]).backward()
            optimizer.step()
            done += 1
        clock.seconds += time.perf_counter() - start
        with torch.inference_mode():
            clock.note(float((net(test_x).argmax(1) == test_y).float().mean()))
    return clock


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--layers", action="store_true", help="fastcnn by layers, too")
    options = parser.parse_args()
    set_num_threads(options.threads)
    train, test = data.mnist()
    runs: dict[str, Any] = {"fastcnn": lambda s: by_fastcnn(train, test, s, options.epochs, "auto")}
    if options.layers:
        runs["by layers"] = lambda s: by_fastcnn(train, test, s, options.epochs, False)
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(options.threads)
        runs["PyTorch"] = lambda s: by_torch(train, test, s, options.epochs)
    print("| seed | | seconds to 0.99 | seconds in all | last accuracy |\n|--:|---|--:|--:|--:|")
    for seed in range(options.seeds):
        for name, run in runs.items():
            c = run(seed)
            reached = f"{c.reached:.2f}" if math.isfinite(c.reached) else "not reached"
            print(
                f"| {seed} | {name} | {reached} | {c.seconds:.2f} | {c.accuracy:.4f} |", flush=True
            )


if __name__ == "__main__":
    main()
