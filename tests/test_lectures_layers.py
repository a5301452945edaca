"""The lectures' layers: small examples by hand, and all gradients; see test_lectures.py."""

import numpy as np
import pytest
from helpers import assert_same, distinct

from fastcnn import models, nn, testing
from fastcnn.nn import init

F4 = np.float32


# ----------------------------------------------------------------------------- by hand


def row(*numbers):
    return np.array([[numbers]], F4)


def image(*rows):
    return np.array([[rows]], F4)


def filled(layer, weight, bias=None):
    """The layer with these weights."""
    layer.weight.data[...] = weight
    if bias is not None:
        layer.bias.data[...] = bias
    return layer


def test_copied_borders_by_hand():
    """Each border pixel stands for those beyond it; with zeros all see 10."""
    x, ones = image([1, 2], [3, 4]), np.ones((1, 1, 3, 3))
    copied = nn.Conv2d(1, 1, 3, padding=1, padding_mode="replicate", bias=False)
    assert filled(copied, ones)(x)[0, 0].tolist() == [[18, 21], [24, 27]]
    zeros = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    assert filled(zeros, ones)(x)[0, 0].tolist() == [[10, 10], [10, 10]]


def test_padding_of_four_sides_by_hand():
    """One row on top, two columns on the left: how many of nine taps lie on the image."""
    conv = nn.Conv2d(1, 1, 3, padding=((1, 0), (2, 0)), bias=False)
    y = filled(conv, 1)(np.ones((1, 1, 3, 3), F4))
    assert y[0, 0].tolist() == [[2, 4, 6], [3, 6, 9]]


def test_dilation_by_hand():
    """Taps two apart: 1*1 + 2*3 + 3*5 = 22; corners and centre of a whole 5x5 image."""
    conv = filled(nn.Conv1d(1, 1, 3, dilation=2, bias=False), row(1, 2, 3))
    assert conv(row(1, 2, 3, 4, 5, 6, 7))[0, 0].tolist() == [22, 28, 34]
    cross = image([1, 0, 1], [0, 1, 0], [1, 0, 1])
    conv = filled(nn.Conv2d(1, 1, 3, dilation=2, bias=False), cross)
    x = image([1, 2, 3, 0, 1], [0, 1, 5, 1, 0], [1, 0, 2, 2, 1], [1, 1, 2, 0, 0], [1, 0, 1, 1, 1])
    assert conv(x)[0, 0].tolist() == [[1 + 1 + 2 + 1 + 1]]


def test_1x1_and_groups_by_hand():
    """A fully connected layer at each pixel; groups of one channel know nothing of each other."""
    x = np.array([[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]], F4)
    mixed = nn.Conv2d(2, 3, 1, bias=False)
    y = filled(mixed, np.array([[1, 1], [1, -1], [0, 2]]).reshape(3, 2, 1, 1))(x)
    assert y[0, :, 0, 1].tolist() == [1 + 5, 1 - 5, 2 * 5]
    apart = filled(nn.Conv2d(2, 2, 2, groups=2, bias=False), image([1, 2], [3, 4])[0])
    assert apart(x).ravel().tolist() == [2 + 6 + 12, 4 + 10 + 18 + 28]


def test_transposed_convolution_by_hand():
    """Each number lays down the kernel, two pixels apart; what meets is added."""
    x, w = image([1, 2], [3, 4]), image([1, 2, 1], [2, 4, 2], [1, 2, 1])
    whole = np.array([
        [1, 2, 3, 4, 2],
        [2, 4, 6, 8, 4],
        [4, 8, 10, 12, 6],
        [6, 12, 14, 16, 8],
        [3, 6, 7, 8, 4],
    ])  # fmt: skip
    assert_same(filled(nn.ConvTranspose2d(1, 1, 3, 2), w, 0)(x)[0, 0], whole)
    assert_same(filled(nn.ConvTranspose2d(1, 1, 3, 2, 1), w, 5)(x)[0, 0], whole[1:4, 1:4] + 5)
    # Padding takes off the border, output padding leaves one line more at the end.
    assert_same(filled(nn.ConvTranspose2d(1, 1, 3, 2, 1, 1), w, 0)(x)[0, 0], whole[1:, 1:])


def test_channels_of_a_transposed_convolution_by_hand():
    """Two channels of one pixel: 1 * 1234 + 2 * (10, 20, 30, 40)."""
    w = np.array([[[[1, 2], [3, 4]]], [[[10, 20], [30, 40]]]])
    up = filled(nn.ConvTranspose2d(2, 1, 2, bias=False), w)
    assert up(np.array([[[[1]], [[2]]]], F4))[0, 0].tolist() == [[21, 42], [63, 84]]


POOLED = image([1, 3, 2, 1], [4, 2, 0, 1], [5, 1, 2, 2], [0, 2, 4, 8])
POOLS = {  # layer, output, gradient of the input for dy = 10 20 / 30 40
    "max": (
        nn.MaxPool2d(2), [[4, 2], [5, 8]],
        [[0, 0, 20, 0], [10, 0, 0, 0], [30, 0, 0, 0], [0, 0, 0, 40]],
    ),
    "average": (
        nn.AvgPool2d(2), [[2.5, 1], [2, 4]],
        [[2.5, 2.5, 5, 5], [2.5, 2.5, 5, 5], [7.5, 7.5, 10, 10], [7.5, 7.5, 10, 10]],
    ),
    "weighted average": (  # top left (1*1 + 2*3 + 3*4 + 4*2) / 10
        nn.WeightedAvgPool2d(2, weight=[[1, 2], [3, 4]], learned=False), [[2.7, 0.8], [1.5, 5]],
        [[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", POOLS)
def test_pools_by_hand(name):
    pool, expected, gradient = POOLS[name]
    y, ctx = pool.forward(POOLED)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-6)
    dx = pool.backward(image([10, 20], [30, 40]), ctx)
    np.testing.assert_allclose(dx[0, 0], gradient, rtol=1e-6)


def test_global_average_pooling_by_hand():
    assert nn.GlobalAvgPool2d()(POOLED).tolist() == [[[[38 / 16]]]]


ACTIVATIONS = {  # layer, its values at -2 -1/2 0 1/2 2, its slopes at all of them but 0
    "step": (nn.Step(), [0, 0, 0, 1, 1], [1, 1, 1, 1]),  # straight through
    "ReLU": (nn.ReLU(), [0, 0, 0, 0.5, 2], [0, 0, 1, 1]),
    "leaky ReLU": (nn.LeakyReLU(), [-0.02, -0.005, 0, 0.5, 2], [0.01, 0.01, 1, 1]),
    "leaky ReLU, 0.1": (nn.LeakyReLU(0.1), [-0.2, -0.05, 0, 0.5, 2], [0.1, 0.1, 1, 1]),
    "PReLU": (nn.PReLU(), [-0.5, -0.125, 0, 0.5, 2], [0.25, 0.25, 1, 1]),
    "ELU": (nn.ELU(), [-0.864665, -0.393469, 0, 0.5, 2], [0.135335, 0.606531, 1, 1]),
    "ELU, alpha 3": (nn.ELU(3), [-2.593994, -1.180408, 0, 0.5, 2], [0.406006, 1.819592, 1, 1]),
    "sigmoid": (
        nn.Sigmoid(), [0.119203, 0.377541, 0.5, 0.622459, 0.880797],
        [0.104994, 0.235004, 0.235004, 0.104994],
    ),
    "tanh": (
        nn.Tanh(), [-0.964028, -0.462117, 0, 0.462117, 0.964028],
        [0.070651, 0.786448, 0.786448, 0.070651],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_hand(name):
    layer, values, slopes = ACTIVATIONS[name]
    x, dy = np.array([[-2, -0.5, 0, 0.5, 2]], F4), np.array([[1, -2, 3, -4, 5]], F4)
    y, ctx = layer.forward(x)
    np.testing.assert_allclose(y[0], values, atol=2e-6)
    dx = layer.backward(dy, ctx)
    np.testing.assert_allclose(np.delete(dx / dy, 2), slopes, atol=2e-6)


def test_the_slope_of_prelu_learns_from_what_is_below_zero():
    """dL/da is the sum of dy * x there: 1 * -2 + -2 * -1/2 = -1."""
    layer = nn.PReLU()
    _, ctx = layer.forward(np.array([[-2, -0.5, 0.5, 2]], F4))
    layer.backward(np.array([[1, -2, 3, 4]], F4), ctx)
    assert layer.weight.grad.tolist() == [-1]


def test_softmax_by_hand():
    """e, e^2, e^3 = 2.718, 7.389, 20.086 over 30.193; its logarithm for a log-likelihood."""
    for layer, expected in (
        (nn.Softmax(), [0.0900, 0.2447, 0.6652]), (nn.LogSoftmax(), [-2.4076, -1.4076, -0.4076]),
    ):  # fmt: skip
        y = layer(np.array([[1.0, 2.0, 3.0]]))
        np.testing.assert_allclose(y[0], expected, atol=6e-5)


# --------------------------------------------------------------------------- all of them

LAYERS = {
    "channels, filters, bias": (lambda: nn.Conv2d(3, 2, 3, seed=0), (3, 5, 5)),
    "stride, dilation, groups": (lambda: nn.Conv2d(4, 2, 3, 2, 2, 2, 2, seed=0), (4, 6, 6)),
    "1-D": (lambda: nn.Conv1d(2, 3, 3, seed=0), (2, 7)),
    "copied borders": (
        lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="replicate", seed=0), (1, 4, 5),
    ),
    "four sides": (lambda: nn.Conv2d(1, 2, 3, padding=((0, 2), (1, 0)), seed=0), (1, 4, 5)),
    "same": (lambda: nn.Conv2d(1, 2, 4, padding="same", seed=0), (1, 4, 5)),
    "1x1": (lambda: nn.Conv2d(4, 2, 1, seed=0), (4, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, 1, seed=0), (2, 3, 4)),
    "max pool": (lambda: nn.MaxPool2d(2), (2, 4, 4)),
    "average pool": (lambda: nn.AvgPool2d(2), (2, 4, 4)),
    "weighted average pool": (lambda: nn.WeightedAvgPool2d(2, channels=2), (2, 4, 4)),
    "global average pool": (nn.GlobalAvgPool2d, (2, 4, 4)),
    "fully connected": (lambda: nn.Linear(6, 4, seed=0), (6,)),
    "flatten": (nn.Flatten, (2, 3, 3)),
    "ReLU": (nn.ReLU, (3, 4)),
    "leaky ReLU": (nn.LeakyReLU, (3, 4)),
    "parametric ReLU": (lambda: nn.PReLU(3), (3, 4)),
    "ELU": (nn.ELU, (3, 4)),
    "sigmoid": (nn.Sigmoid, (3, 4)),
    "tanh": (nn.Tanh, (3, 4)),
    "softmax": (nn.Softmax, (5,)),
    "dropout": (lambda: nn.Dropout(0.5, seed=1), (3, 4)),
    "local response normalisation": (lambda: nn.LocalResponseNorm(3, 1.0), (5, 2, 2)),
    "batch normalisation": (lambda: nn.BatchNorm2d(2), (2, 3, 3)),
    "residual": (lambda: nn.blocks.basic_block(2, 3, 2, seed=0), (2, 4, 4)),
    "inception": (lambda: nn.blocks.inception(2, 2, (1, 2), (1, 1), 1, seed=0), (2, 4, 3)),
    "dense block": (lambda: nn.blocks.dense_block(2, 2, 1, seed=0), (2, 3, 3)),
    "transition": (lambda: nn.blocks.transition(3, 2, seed=0), (3, 4, 4)),
    "bottleneck": (lambda: nn.blocks.bottleneck(8, 2, seed=0), (8, 3, 3)),
    "auxiliary head": (
        lambda: nn.AuxiliaryGraph(
            "x",
            {"fc": (nn.Linear(5, 4, seed=0), "x"), "tanh": (nn.Tanh(), "fc"),
             "main": (nn.Linear(4, 3, seed=1), "tanh"), "aux": (nn.Linear(4, 2, seed=2), "tanh")},
            ("main", "aux"),
        ),
        (5,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients(name):
    make, shape = LAYERS[name]
    x = distinct(np.random.default_rng(5), (2, *shape), np.float64)
    testing.gradcheck(make(), x * 0.03 + 0.015)  # no ties, nothing near 0


def test_the_step_has_no_way_back():
    """L2's first perceptron: 1 above 0; its true gradient is 0 everywhere."""
    step = nn.Step(gradient="zero")
    y, ctx = step.forward(np.array([-2, 0, 3], F4))
    assert y.tolist() == [0, 0, 1]
    assert step.backward(np.ones(3, F4), ctx).tolist() == [0, 0, 0]


def test_dropout_acts_in_training_alone():
    x, drop = np.ones((4, 100), F4), nn.Dropout(0.5, seed=0)
    assert drop(x) is x
    assert set(np.unique(drop.forward(x)[0])) == {0, 2}


def test_alpha_of_local_response_normalisation_is_divided_by_n():
    """AlexNet's alpha = 1e-4 with n = 5 is not: it is alpha = 5e-4 here."""
    x = np.arange(1, 6, dtype=np.float64).reshape(1, 5)
    paper = x / (2 + 1e-4 * np.array([[14, 30, 55, 54, 50]])) ** 0.75
    np.testing.assert_allclose(nn.LocalResponseNorm(5, 5e-4, 0.75, 2)(x), paper, rtol=1e-12)
    alexnet = models.alexnet(init=init.zeros())
    (first, _) = [m for _, m in alexnet.named_layers() if isinstance(m, nn.LocalResponseNorm)]
    assert (first.size, first.alpha, first.beta, first.k) == (5, 5e-4, 0.75, 2)


def test_roi_pooling_gives_boxes_of_any_size_one_size():
    x = np.arange(64, dtype=F4).reshape(1, 1, 8, 8)
    boxes = np.array([[0, 0, 0, 3, 3], [0, 2, 1, 7, 7]], F4)
    assert_same(nn.RoIPool(2)((x, boxes))[0, 0], np.array([[9, 11], [25, 27]]))
    assert nn.RoIPool(2)((x, boxes)).shape == (2, 1, 2, 2)
