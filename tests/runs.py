"""A small net, data and trainer that the tests of training share.

Run as a script it is a training that may be killed at any time: ``runs.py FILE [EPOCHS]`` trains
with checkpoints in FILE, going on from there if it exists, prints a line after each step, and at
the end the fingerprint of the whole state.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fastcnn
from fastcnn import data, nn, optim, training
from fastcnn.training import schedules

BATCH = 32
# For child processes: they import the fastcnn that is being tested.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fastcnn.__file__).parent.parent)}


def net(seed: int = 0) -> nn.Sequential:
    """Convolution, pooling, dropout and a linear layer for 12 x 12 images."""
    return nn.Sequential(
        conv=nn.Conv2d(1, 4, 3, seed=seed),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        drop=nn.Dropout(0.3, seed=seed),
        fc=nn.Linear(100, 10, seed=seed),
    )


def digits(n: int = 150) -> data.ArrayDataset:
    """The first n embedded digits, every second pixel of their middle."""
    train, _ = data.mnist(subset=True)
    return data.ArrayDataset(np.ascontiguousarray(train.x[:n, :, 2:26:2, 2:26:2]), train.y[:n])


def trainer(seed: int = 0, *, weights: int | None = None, **options: Any) -> training.Trainer:
    """One with initial weights of the seed, or of another."""
    model = net(seed if weights is None else weights)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    options = {"schedule": schedules.cosine, **options}
    return training.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=seed, **options)


def fingerprint(run: training.Trainer) -> str:
    """SHA-256 of all that an exact resume must bring back: everything but the clock."""
    tree = run._tree()
    del tree["position"]["seconds"], tree["history"]["seconds"]
    digest = hashlib.sha256()

    def add(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: add(v) for key, v in sorted(value.items())}
        if isinstance(value, np.ndarray):
            digest.update(value.tobytes())
            return f"{value.dtype} {value.shape}"
        return value

    digest.update(json.dumps(add(tree)).encode())
    return digest.hexdigest()


class Tell(training.Callback):
    """A line after each step."""

    def on_batch_end(self, trainer: training.Trainer) -> None:
        print(f"{trainer.epoch} {trainer.batch}", flush=True)


def train(path: Path, epochs: int) -> training.Trainer:
    run = trainer()
    run.fit(
        digits(),
        epochs=epochs,
        batch_size=BATCH,
        validation=0.2,
        callbacks=[
            training.Checkpoint(path, every=2),
            training.EarlyStopping(patience=100),
            Tell(),
        ],
        resume=path if path.exists() else None,
    )
    return run


if __name__ == "__main__":
    done = train(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"sha256": fingerprint(done), "interrupted": done.history.interrupted}))
