"""Every layer under the calling contract: gradients, shapes, untouched inputs, re-entrancy.

Each case is a layer and an input shape without the batch axis; all checks run on all cases.
"""

import copy
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_close, assert_same, assert_same_bits, distinct, integers, layouts

import fastcnn
from fastcnn import nn, ops, optim, testing
from fastcnn.models.lenet_1998 import (
    C3_TABLE,
    DistanceOutput,
    ScaledTanh,
    Subsample,
    TableConv2d,
)
from fastcnn.nn import init


def residual():
    return nn.Graph(
        inputs="x",
        nodes={
            "conv": (nn.Conv2d(2, 2, 3, padding=1, seed=0), "x"),
            "sum": (nn.Add(), "conv", "x"),
            "tanh": (nn.Tanh(), "sum"),
        },
        outputs="tanh",
    )


CODES = np.random.default_rng(0).choice([-1, 1], (4, 6))
CASES = {
    "conv": (lambda: nn.Conv2d(2, 3, 3, seed=0), (2, 5, 6)),
    "conv stride padding": (lambda: nn.Conv2d(2, 3, (3, 2), (2, 1), 1, seed=0), (2, 6, 5)),
    "conv dilation": (lambda: nn.Conv2d(1, 2, 3, dilation=2, seed=0), (1, 6, 7)),
    "conv groups": (lambda: nn.Conv2d(4, 6, 3, groups=2, seed=0), (4, 4, 5)),
    "conv depthwise": (lambda: nn.Conv2d(3, 3, 3, groups=3, padding="same", seed=0), (3, 4, 4)),
    "conv no bias": (lambda: nn.Conv2d(2, 3, 1, bias=False, seed=0), (2, 4, 3)),
    "conv replicate": (lambda: nn.Conv2d(1, 2, 3, 1, 1, padding_mode="replicate"), (1, 4, 4)),
    "conv four sides": (lambda: nn.Conv2d(1, 2, 3, 2, ((0, 1), (2, 1))), (1, 4, 4)),
    "conv transpose": (lambda: nn.ConvTranspose2d(2, 3, 3, seed=0), (2, 3, 4)),
    "conv transpose stride": (
        lambda: nn.ConvTranspose2d(4, 2, (3, 2), 2, (1, 0), (1, 0), 2, seed=0),
        (4, 3, 4),
    ),
    "conv transpose dilation": (
        lambda: nn.ConvTranspose2d(2, 2, 3, 1, ((1, 0), (2, 1)), bias=False, dilation=2),
        (2, 3, 3),
    ),
    "max pool": (lambda: nn.MaxPool2d(2), (2, 4, 6)),
    "max pool overlapping": (lambda: nn.MaxPool2d(3, 2, 1), (2, 6, 5)),
    "max pool ceil dilation": (lambda: nn.MaxPool2d(2, 3, 0, 2, True), (1, 7, 8)),
    "average pool": (lambda: nn.AvgPool2d(2), (2, 4, 6)),
    "average pool padded": (lambda: nn.AvgPool2d(3, 2, 1, True, False), (2, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, 2, (1, 0), 2, 2, seed=0), (4, 11)),
    "conv1d replicate": (
        lambda: nn.Conv1d(2, 3, 4, padding=2, bias=False, padding_mode="replicate", seed=0),
        (2, 7),
    ),
    "max pool 1d": (lambda: nn.MaxPool1d(3, 2, 1, ceil_mode=True), (2, 8)),
    "average pool 1d": (lambda: nn.AvgPool1d(3, 2, 1, True, False), (2, 8)),
    "weighted pool": (
        lambda: nn.WeightedAvgPool2d(3, 2, 1, weight=np.arange(1.0, 10).reshape(3, 3)),
        (2, 6, 5),
    ),
    "weighted pool of channels": (lambda: nn.WeightedAvgPool2d((2, 3), channels=2), (2, 6, 6)),
    "weighted pool, fixed": (lambda: nn.WeightedAvgPool2d(2, 1, learned=False), (3, 4, 5)),
    "global average pool": (nn.GlobalAvgPool2d, (3, 4, 5)),
    "linear": (lambda: nn.Linear(7, 4, seed=0), (7,)),
    "linear no bias": (lambda: nn.Linear(3, 5, False, seed=0), (3,)),
    "flatten": (nn.Flatten, (2, 3, 4)),
    "relu": (nn.ReLU, (3, 4)),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), (3, 4)),
    "elu": (lambda: nn.ELU(0.7), (3, 4)),
    "prelu": (nn.PReLU, (3, 4, 2)),
    "prelu of channels": (lambda: nn.PReLU(3, 0.1), (3, 4, 2)),
    "sigmoid": (nn.Sigmoid, (3, 4)),
    "tanh": (nn.Tanh, (2, 3, 4)),
    "softmax": (nn.Softmax, (5,)),
    "softmax of channels": (nn.Softmax, (3, 2, 2)),
    "log-softmax": (nn.LogSoftmax, (5,)),
    "log-softmax of channels": (nn.LogSoftmax, (3, 2, 2)),
    "softmax of columns": (lambda: nn.Softmax(axis=-1), (3, 2, 4)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (3, 4, 5)),
    "batch norm of features": (lambda: nn.BatchNorm2d(6, affine=False), (6,)),
    "local response norm": (lambda: nn.LocalResponseNorm(3, 1.0, 0.75, 2.0), (5, 3, 4)),
    "pad shortcut": (lambda: nn.blocks.PadShortcut(2, 5, 2), (2, 4, 5)),
    "residual block": (lambda: nn.blocks.basic_block(2, 3, 2, seed=0), (2, 5, 4)),
    "inception": (lambda: nn.blocks.inception(2, 2, (1, 2), (1, 1), 1, seed=0), (2, 4, 3)),
    "dense block": (lambda: nn.blocks.dense_block(2, 2, 1, seed=0), (2, 4, 3)),
    "transition": (lambda: nn.blocks.transition(3, 2, seed=0), (3, 4, 5)),
    "unflatten": (lambda: nn.Unflatten((2, 3)), (6,)),
    "dropout": (lambda: nn.Dropout(0.4, seed=3), (3, 5)),
    "dropout of nothing": (lambda: nn.Dropout(0.0), (3, 5)),
    "sequential": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 3, seed=0), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3)
        ),
        (1, 6, 6),
    ),
    "graph": (residual, (2, 4, 4)),
    "scaled tanh": (ScaledTanh, (3, 4)),
    "subsample": (lambda: Subsample(2), (2, 4, 6)),
    "table conv": (lambda: TableConv2d(6, C3_TABLE[5:8], 2, seed=0), (6, 3, 4)),
    "distance output": (lambda: DistanceOutput(CODES.astype(np.float32)), (6,)),
}
STOCHASTIC = {"dropout"}  # its order of calls decides what is dropped
# In training they take the batch's statistics, and move those that inference uses.
NORMALISED = {"batch norm", "batch norm of features", "residual block", "dense block", "transition"}


@pytest.fixture(params=CASES)
def case(request):
    """(name, layer, shape of one input)."""
    make, shape = CASES[request.param]
    return request.param, make(), shape


def inputs(shape, dtype=np.float32, n=2):
    """A batch without ties, and without values near 0 or near each other by less than 0.01."""
    rng = np.random.default_rng(5)
    return (distinct(rng, (n, *shape), np.float64) * 0.03 + 0.015).astype(dtype)


def gradients_of(y, seed=1):
    return np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype)


def test_gradients(case):
    _, layer, shape = case
    testing.gradcheck(layer, inputs(shape, np.float64))


def test_output_shape_is_that_of_the_output(case, dtype):
    _, layer, shape = case
    y = layer.astype(dtype)(inputs(shape, dtype))
    assert y.shape == (2, *layer.output_shape(shape))
    assert y.dtype == dtype


def test_inference_equals_training_forward(case):
    name, layer, shape = case
    x = inputs(shape)
    y, _ = layer.forward(x)
    if name in NORMALISED:
        assert layer(x).shape == y.shape
        assert not np.allclose(layer(x), y)
    elif name in STOCHASTIC:
        assert_same(layer(x), x)
    else:
        assert_same_bits(np.ascontiguousarray(layer(x)), np.ascontiguousarray(y))


def test_inputs_and_gradients_are_left_alone(case):
    """They may even be read-only."""
    _, layer, shape = case
    x = inputs(shape)
    kept = x.copy()
    x.flags.writeable = False
    y, ctx = layer.forward(x)
    result = y.copy()
    dy = gradients_of(y)
    kept_dy = dy.copy()
    dy.flags.writeable = False
    layer.backward(dy, ctx)
    assert_same_bits(x, kept)
    assert_same_bits(dy, kept_dy)
    assert_same_bits(np.ascontiguousarray(y), np.ascontiguousarray(result))


def test_layouts_of_the_input_do_not_matter(case):
    name, layer, shape = case
    x = inputs(shape)
    expected = np.ascontiguousarray(layer(x))
    state, weights = layer.rng_state(), layer.state_dict()
    y, ctx = layer.forward(x)
    dy = gradients_of(y)
    dx = layer.backward(dy, ctx)
    for kind, array in layouts(x).items():
        layer.load_state_dict(weights)
        assert_same_bits(np.ascontiguousarray(layer(array)), expected), kind
        layer.set_rng_state(state)
        _, ctx = layer.forward(array)
        for turned in layouts(dy).values():
            again = layer.backward(turned, ctx)
            assert_same_bits(np.ascontiguousarray(again), np.ascontiguousarray(dx)), (name, kind)


def test_empty_batch(case):
    _, layer, shape = case
    y, ctx = layer.forward(np.zeros((0, *shape), np.float32))
    assert y.shape == (0, *layer.output_shape(shape))
    assert layer.backward(np.zeros_like(y), ctx).shape == (0, *shape)
    for p in layer.parameters():
        assert not p.grad.any()


def test_contexts_do_not_mix(case):
    """Two forwards, then their backwards in the wrong order: each gives what it gives alone."""
    _, layer, shape = case
    xs = [inputs(shape), inputs(shape, n=3) * 0.5]
    alone = []
    state = layer.rng_state()
    for x in xs:
        y, ctx = layer.forward(x)
        alone.append((y, layer.backward(gradients_of(y), ctx)))
    layer.set_rng_state(state)
    runs = [layer.forward(x) for x in xs]
    for (y, ctx), (expected_y, expected_dx) in reversed(list(zip(runs, alone, strict=True))):
        assert_same_bits(np.ascontiguousarray(y), np.ascontiguousarray(expected_y))
        dx = layer.backward(gradients_of(y), ctx)
        assert_same_bits(np.ascontiguousarray(dx), np.ascontiguousarray(expected_dx))


def test_unneeded_gradient_of_the_input_is_not_computed(case):
    _, layer, shape = case
    x = inputs(shape)
    y, ctx = layer.forward(x)
    dy = gradients_of(y)
    layer.backward(dy, ctx)
    full = {name: p.grad.copy() for name, p in layer.named_parameters()}
    layer.zero_grad()
    assert layer.backward(dy, ctx, need_dx=False) is None
    for name, p in layer.named_parameters():
        assert_same_bits(p.grad, full[name])


def test_the_layer_keeps_nothing(case):
    """Forward and backward leave no array in the layer but gradients."""
    _, layer, shape = case

    def attributes():
        return {
            f"{prefix}.{key}": repr(value)
            for prefix, part in layer.named_layers()
            for key, value in vars(part).items()
        }

    before = attributes()
    y, ctx = layer.forward(inputs(shape))
    layer.backward(gradients_of(y), ctx)
    assert attributes() == before


def test_sum_of_gradients(case):
    """backward adds: twice the same gives twice the gradient."""
    _, layer, shape = case
    y, ctx = layer.forward(inputs(shape))
    dy = gradients_of(y)
    layer.backward(dy, ctx)
    trained = [p for p in layer.parameters() if p.requires_grad]
    once = [p.grad.copy() for p in trained]
    layer.backward(dy, ctx)
    for p, g in zip(trained, once, strict=True):
        assert_same(p.grad, 2 * g)


def test_copies_are_independent(case):
    _, layer, _ = case
    other = copy.deepcopy(layer)
    for p in other.parameters():
        p.data += 1
    changed = [
        not np.array_equal(a.data, b.data)
        for a, b in zip(layer.parameters(), other.parameters(), strict=True)
    ]
    assert all(changed)
    assert repr(other) == repr(layer)


@pytest.mark.parametrize("name", [n for n in CASES if n not in STOCHASTIC | NORMALISED])
def test_threads_share_a_layer(name):
    """Eight Python threads, inference and training on one layer: the bits of a serial run."""
    make, shape = CASES[name]
    layer = make()
    xs = [inputs(shape) * np.float32(1 + i) for i in range(8)]

    def work(x):
        y, ctx = layer.forward(x)
        return np.array(layer(x)), np.array(y), np.array(layer.backward(gradients_of(y), ctx))

    expected = [work(x) for x in xs]
    serial = {n: p.grad.copy() for n, p in layer.named_parameters()}
    layer.zero_grad()
    with ThreadPoolExecutor(8) as pool:
        for got, wanted in zip(pool.map(work, xs), expected, strict=True):
            for a, b in zip(got, wanted, strict=True):
                assert_same_bits(a, b)
    for n, p in layer.named_parameters():  # every addition arrived, in whatever order
        np.testing.assert_allclose(p.grad, serial[n], rtol=1e-4, atol=1e-5)


def test_any_number_of_kernel_threads_gives_the_same_bits(threads):
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, seed=0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 14 * 14, 10, seed=1),
    )
    x = inputs((1, 28, 28), n=16) / np.float32(200)
    y, ctx = net.forward(x)
    net.backward(gradients_of(y), ctx)
    with fastcnn.threads(1):
        one = copy.deepcopy(net)
        one.zero_grad()
        y1, ctx1 = one.forward(x)
        one.backward(gradients_of(y1), ctx1)
    assert_same_bits(y, y1)
    for p, q in zip(net.parameters(), one.parameters(), strict=True):
        assert_same_bits(p.grad, q.grad)


# ------------------------------------------------------------------------- single layers


def test_conv_is_the_op_with_the_layer_s_weights(rng):
    layer = nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, seed=0)
    x = integers(rng, (2, 4, 7, 8), np.float32)
    w, b = layer.weight.data, layer.bias.data
    b += np.arange(6)
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}
    assert_same_bits(layer(x), ops.conv2d(x, w, b, **options))
    y, ctx = layer.forward(x)
    dy = integers(rng, y.shape, np.float32)
    assert_same_bits(layer.backward(dy, ctx), ops.conv2d_backward_input(dy, w, x.shape, **options))
    dw, db = ops.conv2d_backward_weight(dy, x, w.shape, **options)
    assert_same_bits(layer.weight.grad, dw)
    assert_same_bits(layer.bias.grad, db)


def test_step_by_either_convention():
    x = np.array([[-2.0, -0.0, 0.0, 3.0, np.nan]], np.float32)
    dy = np.arange(1.0, 6.0, dtype=np.float32)[None]
    y, ctx = nn.Step().forward(x)
    np.testing.assert_array_equal(y, [[0, 0, 0, 1, np.nan]])
    assert y.dtype == np.float32
    assert_same(nn.Step().backward(dy, ctx), dy)
    assert not nn.Step("zero").backward(dy, ctx).any()
    assert nn.Step().backward(dy, ctx, need_dx=False) is None


def test_elu_and_prelu_by_hand():
    x = np.array([[-1.0, 2.0], [-3.0, 0.0]], np.float32)
    np.testing.assert_allclose(nn.ELU(2.0)(x)[0], [2 * (np.exp(-1) - 1), 2.0], rtol=1e-6)
    assert nn.ELU()(np.array([1e4, -1e4], np.float32)).tolist() == [1e4, -1.0]
    prelu = nn.PReLU(2, 0.5)
    prelu.weight.data[1] = -2.0
    assert prelu(-abs(x)).tolist() == [[-0.5, 4.0], [-1.5, 0.0]]
    _, ctx = prelu.forward(x)
    prelu.backward(np.array([[10.0, 10.0], [100.0, 100.0]], np.float32), ctx)
    assert prelu.weight.grad.tolist() == [-310.0, 0.0]


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
@pytest.mark.parametrize("name", ["conv", "conv transpose", "linear", "subsample", "table conv"])
def test_frozen_parameters_get_no_gradient(name, frozen):
    make, shape = CASES[name]
    layer = make()
    for key in frozen:
        getattr(layer, key).requires_grad = False
    y, ctx = layer.forward(inputs(shape))
    assert layer.backward(gradients_of(y), ctx).shape == (2, *shape)
    for key in ("weight", "bias"):
        assert getattr(layer, key).grad.any() == (key not in frozen)


def test_frozen_layers_skip_the_work(monkeypatch):
    layer = nn.Conv2d(1, 2, 3, seed=0)
    for p in layer.parameters():
        p.requires_grad = False
    y, ctx = layer.forward(inputs((1, 5, 5)))
    monkeypatch.delattr(ops, "conv2d_backward_weight")
    assert layer.backward(gradients_of(y), ctx).shape == (2, 1, 5, 5)


def test_strict_convolution():
    strict = nn.Conv2d(1, 1, 3, stride=3, strict=True, seed=0)
    with pytest.raises(ValueError, match=r"2\.33; padding=1 would fit and give 3x3"):
        strict(np.zeros((1, 1, 7, 7), np.float32))
    with pytest.raises(ValueError, match="padding=1 would fit"):
        strict.forward(np.zeros((1, 1, 7, 7), np.float32))
    assert strict(np.zeros((1, 1, 9, 6), np.float32)).shape == (1, 1, 3, 2)
    assert nn.Conv2d(1, 1, 3, stride=3, seed=0).output_shape((1, 7, 7)) == (1, 2, 2)
    assert nn.Conv2d(1, 1, 3, 2, "same", strict=True).output_shape((1, 6, 6)) == (1, 3, 3)


def test_weighted_pool_starts_as_the_average_and_learns(rng):
    """All alike it is the average; learned, one step of descent moves its weights."""
    x = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
    learned = nn.WeightedAvgPool2d(2)
    assert_close(learned(x), nn.AvgPool2d(2)(x), 1e-6)
    fixed = nn.WeightedAvgPool2d(2, weight=[[2, 1], [1, 0]], learned=False)
    assert fixed.weight.data.tolist() == [[0.5, 0.25], [0.25, 0.0]]
    assert [*fixed.state_dict()] == ["weight"] and fixed.num_parameters() == 0
    assert_same(fixed(np.ones((1, 1, 2, 2), np.float32)).ravel(), np.ones(1))
    optimizer = optim.SGD(learned.parameters(), lr=0.1)
    target, losses = fixed(x), []
    for _ in range(60):
        y, ctx = learned.forward(x)
        value, gradient = nn.MSELoss()(y, target)
        optimizer.zero_grad()
        learned.backward(gradient, ctx)
        optimizer.step()
        losses.append(value)
    assert losses[-1] < losses[0] / 100
    assert np.abs(learned.weight.data - fixed.weight.data).max() < 0.05


def test_roi_pool_of_a_shared_map(rng):
    """Its gradient goes through the net that made the map; that of the boxes is zero."""
    boxes = np.array([[0, 0, 0, 5, 3], [1, 2, 1, 2, 1], [1, 0, 2, 7, 7]], np.float32)
    net = nn.Graph(
        inputs=("x", "boxes"),
        nodes={
            "conv": (nn.Conv2d(1, 2, 3, padding=1, seed=1), "x"),
            "roi": (nn.RoIPool(2), "conv", "boxes"),
            "flat": (nn.Flatten(), "roi"),
            "fc": (nn.Linear(8, 3, seed=2), "flat"),
        },
        outputs="fc",
    )
    x = inputs((1, 8, 8))
    y, ctx = net.forward({"x": x, "boxes": boxes})
    assert y.shape == (3, 3)

    class WithBoxes(nn.Layer):
        def __init__(self):
            self.net = net

        def forward(self, x):
            return self.net.forward({"x": x, "boxes": boxes.astype(x.dtype)})

        def backward(self, dy, ctx):
            return self.net.backward(dy, ctx)["x"]

    testing.gradcheck(WithBoxes(), x)
    gradients = net.astype(np.float32).backward(gradients_of(y), ctx)
    assert not gradients["boxes"].any() and gradients["x"].any()
    rows = net.summary({"x": (1, 8, 8), "boxes": (5,)}).rows
    assert rows[1].output_shape == (2, 2, 2)


def test_strict_rows():
    with pytest.raises(ValueError, match=r"2\.33; padding=1 would fit"):
        nn.Conv1d(1, 1, 3, stride=3, strict=True, seed=0)(np.zeros((1, 1, 7), np.float32))
    assert nn.Conv1d(1, 1, 3, 3, 1, strict=True, seed=0).output_shape((1, 7)) == (1, 3)
    with pytest.raises(ValueError, match="remainder along W"):
        nn.MaxPool1d(2).summary((1, 7), strict=True)


@pytest.mark.parametrize("size", [(6, 6), (7, 6), (6, 9), (5, 8)])
@pytest.mark.parametrize("kernel, stride", [(3, 2), (2, 3), ((3, 2), (2, 4)), (5, (3, 1))])
def test_the_padding_that_strict_mode_names_fits(size, kernel, stride):
    layer = nn.Conv2d(1, 1, kernel, stride, strict=True, seed=0)
    try:
        layer.output_shape((1, *size))
    except ValueError as error:
        named = str(error).partition("; padding=")[2]
        text, _, shape = named.partition(" would fit and give ")
        numbers = [int(n) for n in text.translate(str.maketrans("", "", "(), ")) if n.isdigit()]
        padding = numbers[0] if len(numbers) == 1 else (tuple(numbers[:2]), tuple(numbers[2:]))
        fits = nn.Conv2d(1, 1, kernel, stride, padding, strict=True, seed=0)
        assert "x".join(map(str, fits.output_shape((1, *size))[1:])) == shape


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Conv2d(0, 1, 3), "in_channels"),
        (lambda: nn.Conv2d(1, 1, 0), "kernel_size"),
        (lambda: nn.Conv2d(1, 1, 3, stride=0), "stride"),
        (lambda: nn.Conv2d(1, 1, 3, padding=-1), "padding"),
        (lambda: nn.Conv2d(1, 1, 3, padding="half"), "padding"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), r"multiples of groups=2, got 3 and 4"),
        (lambda: nn.Conv2d(1, 1, 3, padding_mode="mirror"), "'zeros' or 'replicate'"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, groups=2), r"multiples of groups=2, got 3 and 4"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), "padding in pixels"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, 2, 0, 2), "output_padding less than the stride"),
        (lambda: nn.ConvTranspose2d(2, 1, 3)(np.zeros((1, 3, 2, 2), np.float32)), "w.shape"),
        (lambda: nn.ConvTranspose2d(2, 1, 3).output_shape((3, 2, 2)), "2 input channels, got 3"),
        (lambda: init.bilinear()((3, 2, 4, 4), np.random.default_rng(0)), r"\(C, C, KH, KW\)"),
        (lambda: nn.Conv1d(1, 1, (3, 3)), "kernel_size"),
        (lambda: nn.Conv1d(1, 1, 3, padding=(1, 2, 3)), "padding"),
        (lambda: nn.Conv1d(1, 1, 3, padding="half"), "padding"),
        (lambda: nn.Conv1d(3, 4, 3, groups=2), r"multiples of groups=2, got 3 and 4"),
        (lambda: nn.Conv1d(1, 1, 3, padding_mode="mirror"), "'zeros' or 'replicate'"),
        (lambda: nn.MaxPool1d(2, padding=2), "MaxPool1d.*half the kernel"),
        (lambda: nn.WeightedAvgPool2d(2, weight=[[1, -1], [1, -1]]), "sum is not 0"),
        (lambda: nn.WeightedAvgPool2d(2, weight=[1, 1]), r"weight of shape \(2, 2\), got \(2,\)"),
        (lambda: nn.WeightedAvgPool2d(2, channels=0), "channels"),
        (lambda: nn.RoIPool(0), "output_size"),
        (lambda: nn.MaxPool2d(2, padding=2), "MaxPool2d.*half the kernel"),
        (lambda: nn.AvgPool2d(0), "AvgPool2d.*kernel_size"),
        (lambda: nn.Linear(4, -1), "out_features"),
        (lambda: nn.Linear(4, 2.5), "out_features"),
        (lambda: nn.Dropout(1.0), r"p in \[0, 1\)"),
        (lambda: nn.Dropout(-0.1), "p to be a finite number >= 0, got -0.1"),
        (lambda: nn.Dropout("a"), "Dropout: expected p to be a finite number >= 0, got 'a'"),
        (lambda: nn.LeakyReLU(float("nan")), "finite"),
        (lambda: nn.LocalResponseNorm(5, -1.0), "alpha"),
        (lambda: nn.PReLU(0), "num_parameters"),
        (lambda: nn.PReLU(3)(np.zeros((2, 4), np.float32)), r"\(N, 3, ...\)"),
        (lambda: nn.ELU(np.inf), "alpha to be a finite number"),
        (lambda: nn.Step("soft"), "'straight' or 'zero'"),
        (lambda: nn.Concat(0), r"axis \(0 is the batch\) in 1.*, got 0"),
        (lambda: nn.Concat("a"), r"Concat: expected axis .* to be an integer >= 1, got 'a'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("bad", [0, -1, 2**31, 2**62])
def test_bad_sizes_are_errors(bad):
    with pytest.raises((ValueError, MemoryError)):
        nn.Conv2d(bad, 1, 3, init=init.zeros())
    with pytest.raises((ValueError, MemoryError)):
        nn.Linear(bad, 2**31 - 1, init=init.zeros())


@pytest.mark.parametrize(
    "layer, shape, message",
    [
        (nn.Conv2d(3, 8, 5), (1, 28, 28), r"expected 3 input channels, got 1 .*Conv2d\(1, 8"),
        (nn.Conv2d(1, 8, 5), (1, 4, 28), "padding 1 or H >= 5 would fit"),
        (nn.Conv2d(1, 8, 5), (64, 1, 28, 28), r"\(C, H, W\), without the batch axis"),
        (nn.MaxPool2d(3), (1, 2, 2), "would fit"),
        (nn.WeightedAvgPool2d(2, channels=3), (2, 4, 4), "expected 3 channels, got 2.*channels=2"),
        (nn.RoIPool(2), ((3, 8, 8), (4,)), r"boxes of shape \(5,\)"),
        (nn.Conv1d(3, 8, 5), (1, 28), r"expected 3 input channels, got 1 .*Conv1d\(1, 8"),
        (nn.Conv1d(1, 8, 5), (1, 4), "padding 1 or W >= 5 would fit"),
        (nn.AvgPool1d(3), (1, 2, 2), r"\(C, L\), without the batch axis"),
        (nn.Linear(400, 120), (16, 5, 5), r"a Flatten before it would give \(400,\)"),
        (nn.Linear(400, 120), (576,), r"Linear\(576, 120\) would fit"),
        (nn.Add(), ((1, 2), (1, 3)), "inputs of one shape"),
        (nn.Concat(), ((1, 2, 2), (1, 3, 2)), "axis 1 alone"),
        (nn.GlobalAvgPool2d(), (4,), r"\(C, H, W\)"),
        (Subsample(6), (5, 4, 4), "expected 6 channels"),
        (DistanceOutput(CODES.astype(np.float32)), (7,), r"\(6,\)"),
    ],
)
def test_shapes_that_do_not_fit(layer, shape, message):
    with pytest.raises(ValueError, match=message):
        layer.output_shape(shape)


def test_dtype_of_the_input_must_be_that_of_the_layer():
    with pytest.raises(TypeError, match="float64"):
        nn.Linear(2, 2)(np.zeros((1, 2)))
    with pytest.raises(TypeError, match="float32 or float64"):
        nn.Conv2d(1, 1, 1).forward(np.zeros((1, 1, 2, 2), np.uint8))


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = np.ones((100, 1000), np.float32)
    y, ctx = nn.Dropout(0.25, seed=7).forward(x)
    assert abs((y == 0).mean() - 0.25) < 0.01
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    dx = nn.Dropout(0.25).backward(x, ctx)
    assert_same(dx, y)  # the same elements, scaled alike


def test_dropout_is_repeatable_and_alike_in_both_dtypes():
    x = np.ones((4, 50), np.float32)
    a, b = nn.Dropout(0.5, seed=3), nn.Dropout(0.5, seed=3)
    first = a.forward(x)[0]
    assert_same(b.forward(x.astype(np.float64))[0], first, zeros=0.7)
    assert (a.forward(x)[0] != first).any()  # the generator moved on


def test_dropout_goes_back_as_it_went_forward_whatever_becomes_of_its_p():
    x, drop = np.ones((4, 50), np.float32), nn.Dropout(0.5, seed=3)
    y, ctx = drop.forward(x)
    drop.p = 0.0
    assert_same(drop.backward(x, ctx), y)
    with pytest.raises(ValueError, match=r"dy.shape == \(4, 50\)"):
        drop.backward(x[:2], ctx)


def test_a_frozen_prelu_makes_no_gradient():
    x, layer = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), nn.PReLU(4)
    layer.weight.requires_grad = False
    _, ctx = layer.forward(x)
    assert layer.backward(x, ctx, need_dx=False) is None
    assert_same(layer.backward(x, ctx), np.where(x > 0, x, 0.25 * x))
    assert not layer.weight.has_grad


def test_flatten_needs_a_batch():
    with pytest.raises(ValueError, match="shape"):
        nn.Flatten()(np.float32(1))


def test_leaky_relu_of_layer_uses_its_slope():
    assert nn.LeakyReLU(0.5)(np.array([-2.0, 2.0])).tolist() == [-1.0, 2.0]


REPRS = {
    "Conv2d(1, 6, kernel_size=5, padding=2)": nn.Conv2d(1, 6, 5, padding=2),
    "Conv2d(2, 4, kernel_size=(1, 3), stride=2, groups=2, bias=False)": nn.Conv2d(
        2, 4, (1, 3), 2, groups=2, bias=False
    ),
    "Conv2d(1, 1, kernel_size=3, dilation=(1, 2), padding_mode='replicate', strict=True)": (
        nn.Conv2d(1, 1, 3, dilation=(1, 2), padding_mode="replicate", strict=True)
    ),
    "ConvTranspose2d(8, 4, kernel_size=3, stride=2, padding=1, output_padding=1, groups=2)": (
        nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, 2)
    ),
    "ConvTranspose2d(1, 2, kernel_size=(2, 3), dilation=2, bias=False)": (
        nn.ConvTranspose2d(1, 2, (2, 3), bias=False, dilation=2)
    ),
    "BatchNorm2d(3, eps=0, momentum=1, affine=False)": nn.BatchNorm2d(3, 0.0, 1.0, False),
    "MaxPool2d(2)": nn.MaxPool2d(2),
    "MaxPool2d(3, stride=2, padding=1, ceil_mode=True)": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "AvgPool2d((2, 3), count_include_pad=False)": nn.AvgPool2d((2, 3), count_include_pad=False),
    "Conv1d(1, 6, kernel_size=5, padding=(1, 0), dilation=2, bias=False)": nn.Conv1d(
        1, 6, (5,), 1, (1, 0), 2, bias=False
    ),
    "MaxPool1d(3, stride=2, padding=1, ceil_mode=True)": nn.MaxPool1d(3, 2, 1, ceil_mode=True),
    "AvgPool1d(2, count_include_pad=False)": nn.AvgPool1d(2, count_include_pad=False),
    "WeightedAvgPool2d(3, stride=1, padding=1, learned=False)": nn.WeightedAvgPool2d(
        3, 1, 1, learned=False
    ),
    "RoIPool((2, 3), spatial_scale=0.0625)": nn.RoIPool((2, 3), 1 / 16),
    "Linear(4, 2, bias=False)": nn.Linear(4, 2, bias=False),
    "LeakyReLU(0.1)": nn.LeakyReLU(0.1),
    "Softmax(axis=1)": nn.Softmax(),
    "LogSoftmax(axis=1)": nn.LogSoftmax(),
    "LocalResponseNorm(5, alpha=0.0001, beta=0.75, k=1)": nn.LocalResponseNorm(5),
    "PReLU(3)": nn.PReLU(3),
    "ELU(alpha=0.5)": nn.ELU(0.5),
    "Step()": nn.Step(),
    "Step(gradient='zero')": nn.Step("zero"),
    "Dropout(0.3)": nn.Dropout(0.3),
    "Concat()": nn.Concat(),
    "Concat(axis=2)": nn.Concat(2),
}


@pytest.mark.parametrize("text", REPRS)
def test_repr_shows_the_configuration(text):
    assert repr(REPRS[text]) == text


@pytest.mark.parametrize("call", [nn.Linear.__call__, nn.Linear.forward])
def test_linear_blames_the_input(call):
    x = np.zeros((2, 6), np.float32)
    with pytest.raises(
        ValueError, match=r"^Linear: expected x of 4 features, got x.shape=\(2, 6\)"
    ):
        call(nn.Linear(4, 3, seed=0), x)


@pytest.mark.parametrize("call", [nn.Conv2d.__call__, nn.Conv2d.forward])
@pytest.mark.parametrize(
    ("channels", "shape", "said", "fits"),
    [
        (3, (3, 8, 8), "x[None], a batch of one,", lambda x: x[None]),
        (3, (8, 8, 3), "x.transpose(2, 0, 1)[None],", lambda x: x.transpose(2, 0, 1)[None]),
        (3, (2, 8, 8, 3), "x.transpose(0, 3, 1, 2),", lambda x: x.transpose(0, 3, 1, 2)),
        (1, (5, 8, 8), "x[:, None]", lambda x: x[:, None]),
    ],
)
def test_conv2d_says_how_an_image_would_fit(call, channels, shape, said, fits):
    conv, x = nn.Conv2d(channels, 2, 3, seed=0), np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=rf"^Conv2d: .*; {re.escape(said)}.* would fit"):
        call(conv, x)
    assert call(conv, fits(x)) is not None


def test_conv2d_guesses_nothing_else():
    for shape in ((4, 8, 8), (8, 8)):
        with pytest.raises(ValueError, match="expected x to have 4 dimensions"):
            nn.Conv2d(3, 2, 3, seed=0)(np.zeros(shape, np.float32))
