"""What both kinds of plan say about images of another size, and losses that get a dict."""

import re
from typing import Any

import numpy as np
import pytest
from helpers import Array, assert_same_bits

from fastcnn import nn, optim, plan


def small() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3, seed=1), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))


@pytest.mark.parametrize("kind", [plan.BlockPlan, plan.LayerPlan])
@pytest.mark.parametrize("shape", [(2, 1, 8, 7), (2, 3, 8, 8), (2, 64), (1, 8, 8)])
def test_images_of_another_size(kind: Any, shape: tuple[int, ...]) -> None:
    net = small()
    program = kind(net, (1, 8, 8), nn.CrossEntropyLoss(), optim.SGD(net.parameters(), lr=0.1))
    x = np.zeros(shape, np.float32)
    expected = f"expected x.shape == {(shape[0], 1, 8, 8)} (the plan's input_shape), got "
    for call in (program, program.predict, lambda x: program.step(x, np.zeros(len(x), int))):
        with pytest.raises(ValueError, match=re.escape(f"{expected}x.shape={shape}")):
            call(x)


def two_outputs() -> nn.Graph:
    return nn.Graph(
        "x",
        {
            "a": (nn.Linear(6, 5, seed=1), "x"),
            "relu": (nn.ReLU(), "a"),
            "left": (nn.Linear(5, 3, seed=2), "relu"),
            "right": (nn.Linear(5, 2, seed=3), "relu"),
        },
        ("left", "right"),
    )


def over_both(outputs: Any, target: Array) -> tuple[float, dict[str, Array]]:
    """A loss of one's own, which gets what the net gives."""
    assert list(outputs) == ["left", "right"]
    assert outputs["left"].shape == (len(target), 3) and outputs["right"].shape[1] == 2
    value, gradient = nn.CrossEntropyLoss()(outputs["left"], target)
    other = float(np.square(outputs["right"]).sum()) / 2
    return value + other, {"right": outputs["right"].copy(), "left": gradient}


def test_a_loss_that_gets_a_dict() -> None:
    ours, theirs = two_outputs(), two_outputs()
    program = plan.compile(ours, (6,), loss=over_both)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((4, 6)).astype("float32"), rng.integers(0, 3, 4)
    outputs, ctx = theirs.forward(x)
    value, gradient = over_both(outputs, y)
    theirs.backward(gradient, ctx)
    assert program.step(x, y).loss == value
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same_bits(p.grad, q.grad)
