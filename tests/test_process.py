"""Processes and threads: fork after use, many Python threads on one model."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import runs

import fastcnn
from fastcnn import data, models

# Trains, forks, trains in the child and in its child; every process must get the same weights.
FORKS = """
    import os, sys, warnings
    import fastcnn
    from fastcnn import data, models, nn, optim, training

    warnings.simplefilter("ignore", DeprecationWarning)  # of fork in a process with threads
    fastcnn.set_num_threads(4)
    train, _ = data.mnist(subset=True)
    x, y = train.x[:64], train.y[:64]

    def step():
        model = models.lenet5(seed=0)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        run = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        run.fit((x, y), epochs=1, batch_size=64)
        return training.weights_sha256(model)

    expected = step()

    def fork_and_train(generations):
        pid = os.fork()
        if pid == 0:
            good = step() == expected
            if generations > 1:
                good = fork_and_train(generations - 1) and good
            os._exit(0 if good else 1)
        good = step() == expected  # the parent trains on meanwhile
        return os.waitpid(pid, 0)[1] == 0 and good

    for _ in range(int(sys.argv[1])):
        if not fork_and_train(2):
            sys.exit("a process got other weights")
    print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("rounds", [5, pytest.param(95, marks=pytest.mark.slow)])
def test_fork_after_use_does_not_hang(rounds: int) -> None:
    """Train, fork, train in child and grandchild."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKS), str(rounds)],
        env=runs.ENVIRONMENT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout == "done\n"


def test_many_threads_may_use_one_model() -> None:
    """8 Python threads, 20 rounds each: the bits of a serial run."""
    _, test = data.mnist(subset=True)
    model = models.lenet5(seed=0)
    batches = [test.x[7 * i : 7 * i + 1 + 4 * i] for i in range(8)]
    expected = [model(x) for x in batches]
    wrong: list[str] = []
    together = threading.Barrier(8)

    def work(i: int) -> None:
        together.wait()
        for round_ in range(20):
            j = (i + round_) % 8
            with fastcnn.threads(1 + (i + round_) % 3):
                if not np.array_equal(model(batches[j]), expected[j]):
                    wrong.append(f"thread {i}, round {round_}")

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
