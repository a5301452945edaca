"""Memory over many steps of changing shapes: nothing may grow, in plans, layers or kernels.

What a step of one kind loses is seen from about three kilobytes on.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fastcnn import models, nn, ops, optim, plan

STEPS = 10_000
STATM = Path("/proc/self/statm")
MIB = 1 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def block_plan() -> Callable[[np.random.Generator], object]:
    """LeNet-5's plan, with batches of 1 to 20 images."""
    net = models.lenet5("relu", seed=0)
    optimizer = optim.SGD(net.parameters(), lr=0.0, momentum=0.9)
    program = plan.compile(net, (1, 28, 28), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    x, y = np.zeros((20, 1, 28, 28), np.float32), np.zeros(20, int)

    def step(rng: np.random.Generator) -> object:
        n = int(rng.integers(1, 21))
        return program.step(x[:n], y[:n]), program(x[:n])

    return step


def layer_plan() -> Callable[[np.random.Generator], object]:
    """A plan that records every batch size anew: of more sizes than it keeps."""
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, seed=0),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Flatten(),
        nn.Linear(4, 3, seed=1),
    )
    optimizer = optim.Adam(net.parameters(), lr=0.0)
    program = plan.compile(net, (2, 12, 12), loss=nn.CrossEntropyLoss(), optimizer=optimizer)
    assert isinstance(program, plan.LayerPlan)
    x, y = np.zeros((40, 2, 12, 12), np.float32), np.zeros(40, int)

    def step(rng: np.random.Generator) -> object:
        n = int(rng.integers(1, 41))
        return program.step(x[:n], y[:n])

    return step


def layers() -> Callable[[np.random.Generator], object]:
    """Forward and backward of layers on images of changing sizes, and kernels by themselves."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, seed=0), nn.ReLU(), nn.MaxPool2d(2))

    def step(rng: np.random.Generator) -> object:
        n, h, w = (int(v) for v in rng.integers((1, 8, 8), (4, 40, 40)))
        y, ctx = net.forward(np.zeros((n, 3, h, w), np.float32))
        net.zero_grad()
        dx = net.backward(y, ctx)
        return dx, ops.avg_pool2d(y, 2), ops.batch_norm_forward(y, None, None)

    return step


@pytest.mark.skipif(not STATM.exists(), reason="the system does not tell what is in memory")
def test_nothing_grows_over_many_steps_of_changing_shapes() -> None:
    rng = np.random.default_rng(0)
    runs = [block_plan(), layers(), layer_plan()]
    for i in range(STEPS // 5):
        runs[i % len(runs)](rng)
    before = resident()
    for i in range(STEPS):
        runs[i % len(runs)](rng)
    assert resident() - before < 8 * MIB
