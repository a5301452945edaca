"""Residual blocks: gradients of the whole, shapes, shortcuts, and that the sum is what it says."""

import numpy as np
import pytest
from helpers import assert_close, assert_same, integers, normal

from fastcnn import nn, ops, testing
from fastcnn.nn import blocks

BLOCKS = {
    "basic": (lambda: blocks.basic_block(3, 3, seed=0), 3, 1),
    "basic, wider": (lambda: blocks.basic_block(3, 4, seed=0), 4, 1),
    "basic, stride": (lambda: blocks.basic_block(3, 5, 2, seed=0), 5, 2),
    "basic, pad": (lambda: blocks.basic_block(3, 5, 2, shortcut="pad", seed=0), 5, 2),
    "bottleneck": (lambda: blocks.bottleneck(3, 2, seed=0), 8, 1),
    "bottleneck, plain": (lambda: blocks.bottleneck(8, 2, seed=0), 8, 1),
    "bottleneck, stride": (lambda: blocks.bottleneck(3, 2, 2, seed=0), 8, 2),
    "basic, plain": (lambda: blocks.basic_block(3, 5, 2, shortcut="none", seed=0), 5, 2),
    "bottleneck, pad": (lambda: blocks.bottleneck(3, 1, 2, shortcut="pad", seed=0), 4, 2),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_and_shapes(name, rng):
    make, c_out, stride = BLOCKS[name]
    block = make()
    c_in = next(block.parameters()).data.shape[1]
    x = rng.normal(size=(2, c_in, 5, 4))
    testing.gradcheck(block, x, tol=1e-5)
    y = block.double()(x)
    assert y.shape == (2, *block.output_shape((c_in, 5, 4)))
    assert y.shape == (2, c_out, -(-5 // stride), -(-4 // stride))


def test_gradients_of_a_small_residual_net(rng):
    net = nn.Sequential(
        stem=nn.Conv2d(2, 3, 3, padding=1, bias=False, seed=0),
        bn=nn.BatchNorm2d(3),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, 2, 1),
        a=blocks.basic_block(3, 3, seed=1),
        b=blocks.basic_block(3, 4, 2, shortcut="pad", seed=2),
        c=blocks.bottleneck(4, 2, seed=3),
        average=nn.GlobalAvgPool2d(),
        flat=nn.Flatten(),
        fc=nn.Linear(8, 3, seed=4),
    )
    testing.gradcheck(net, rng.normal(size=(3, 2, 9, 8)), tol=1e-5)


def test_the_block_is_relu_of_the_sum(rng):
    """y = relu(F(x) + x), layer by layer, in inference with running statistics."""
    block = blocks.basic_block(4, 4, seed=0)
    for _ in range(3):
        block.forward(normal(rng, (4, 4, 6, 6), np.float32))
    x = normal(rng, (2, 4, 6, 6), np.float32)
    layer = {name: node.layer for name, node in block.nodes.items()}
    inner = layer["bn2"](layer["conv2"](ops.relu(layer["bn1"](layer["conv1"](x)))))
    assert_same(block(x), np.maximum(inner + x, 0), zeros=0.7)
    assert list(layer) == ["conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu"]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_pad_shortcut_by_hand(stride, rng):
    x = integers(rng, (2, 2, 5, 4), np.float32)
    layer = blocks.PadShortcut(2, 5, stride)
    y, ctx = layer.forward(x)
    assert_same(np.ascontiguousarray(y[:, :2]), np.ascontiguousarray(x[:, :, ::stride, ::stride]))
    assert not y[:, 2:].any()
    dy = integers(rng, y.shape, np.float32)
    dx = layer.backward(dy, ctx)
    assert (dx * x).sum() == (dy * y).sum()  # the adjoint
    assert layer.backward(dy, ctx, need_dx=False) is None


def test_add_with_relu(rng):
    xs = tuple(normal(rng, (2, 3, 4), np.float32) for _ in range(3))
    both = nn.Add(relu=True)
    y, ctx = both.forward(xs)
    assert_close(y, np.maximum(xs[0] + xs[1] + xs[2], 0), 1e-6, zeros=0.8)
    dy = normal(rng, y.shape, np.float32)
    for dx in both.backward(dy, ctx):
        assert_same(dx, np.where(y > 0, dy, 0), zeros=0.8)
    testing.gradcheck(both, xs[:2])
    assert repr(both) == "Add(relu=True)" and repr(nn.Add()) == "Add()"
    assert both.backward(dy, ctx, need_dx=False) is None


def test_initial_weights_keep_the_variance_of_gradients():
    conv = blocks.basic_block(64, 128, 2, seed=0).nodes["conv1"].layer
    assert conv.bias is None
    assert conv.weight.data.std() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blocks.basic_block(4, 4, shortcut="no"), "'pad' or 'none', got 'no'"),
        (lambda: blocks.PadShortcut(4, 3), "out_channels"),
        (lambda: blocks.PadShortcut(3, 4, 0), "stride"),
        (lambda: blocks.PadShortcut(3, 4)(np.zeros((1, 2, 4, 4))), "expected 3 channels, got 2"),
        (lambda: blocks.basic_block(3, 3).output_shape((4, 8, 8)), "layer 'conv1'"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------- near the end of a net


def test_skip_scores_interpolate_then_learn(rng):
    """As it starts it is bilinear interpolation, whatever the finer map holds; then both count."""
    block = blocks.skip_scores(2, 3, seed=0)
    x = normal(rng, (1, 2, 3, 4), np.float32)
    skip = normal(rng, (1, 3, 5, 8), np.float32)  # a pool that rounded up made 5 rows 3
    y = block({"x": x, "skip": skip})
    assert y.shape == (1, 2, 5, 8) == (1, *block.output_shape({"x": (2, 3, 4), "skip": (3, 5, 8)}))
    rows = (3 * x[:, :, :-1] + x[:, :, 1:]) / 4
    between = (3 * rows[..., :-1] + rows[..., 1:]) / 4
    assert_close(y[:, :, 1:5:2, 1:7:2], between, 1e-6)
    block.nodes["score"].layer.weight.data[:] = 1
    added = block({"x": x, "skip": skip}) - y
    assert_close(added[:, 1], skip.sum(1), 1e-5)


def test_skip_scores_gradients(rng):
    block = blocks.skip_scores(2, 3, init=nn.init.normal(0.5), seed=0).double()
    inputs = {"x": rng.normal(size=(2, 2, 2, 2)), "skip": rng.normal(size=(2, 3, 3, 4))}
    y, ctx = block.forward(inputs)
    dy = rng.normal(size=y.shape)
    block.zero_grad()
    dx = block.backward(dy, ctx)
    numbers = [(inputs[k], dx[k]) for k in inputs] + [(p.data, p.grad) for p in block.parameters()]
    for array, gradient in numbers:
        towards = rng.normal(size=array.shape)
        array += 1e-6 * towards
        above = (block(inputs) * dy).sum()
        array -= 2e-6 * towards
        below = (block(inputs) * dy).sum()
        array += 1e-6 * towards
        assert (above - below) / 2e-6 == pytest.approx((gradient * towards).sum(), rel=1e-6)


def test_auxiliary_head(rng):
    head = blocks.auxiliary_head((3, 8, 11), 4, channels=2, hidden=5, seed=0)
    head["drop"].p = 0.0
    testing.gradcheck(head, rng.normal(size=(2, 3, 8, 11)), tol=1e-5)
    assert head["fc1"].weight.data.shape == (5, 2 * 2 * 3)
    with pytest.raises(ValueError, match="AvgPool2d"):
        blocks.auxiliary_head((3, 4, 4), 2)
