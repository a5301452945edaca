"""Training beside other programs: ``python -m benchmarks.busy``.

The mean time of a training step of LeNet-5 by its layers, batch 32, on one and two threads, on the
machine as it is and beside processes that each keep a core busy. A library whose threads wait for
each other waits for the scheduler then. ``FASTCNN_THREADS=openmp`` at build time shows OpenMP's.
"""

import argparse
import subprocess
import sys
import time

import numpy as np

import fastcnn
from fastcnn import models, nn, optim
from fastcnn._config import config

BUSY = "while True: pass"


def mean_step(seconds: float) -> float:
    """Milliseconds a step, over so many seconds."""
    rng = np.random.default_rng(0)
    x, y = rng.random((32, 1, 28, 28), np.float32), rng.integers(0, 10, 32)
    net, loss = models.lenet5(seed=0), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        outputs, context = net.forward(x)
        optimizer.zero_grad()
        net.backward(loss(outputs, y)[1], context, need_dx=False)
        optimizer.step()
        steps += 1
    return 1e3 * (time.perf_counter() - start) / steps


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=6, help="that keep a core busy each")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    options = parser.parse_args()
    print(f"| threads ({config()['threading']}) | busy processes | ms a step |\n|--:|--:|--:|")
    for processes in (0, options.processes):
        others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
        try:
            for threads in (1, 2):
                with fastcnn.threads(threads):
                    print(f"| {threads} | {processes} | {mean_step(options.seconds):.2f} |")
        finally:
            for other in others:
                other.kill()
                other.wait()


if __name__ == "__main__":
    main()
