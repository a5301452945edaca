"""The parts of the original LeNet-5, against the paper's numbers and plain NumPy."""

import numpy as np
import pytest
from helpers import assert_close, assert_same, integers

from fastcnn import models, nn, ops, testing
from fastcnn.models._digit_codes import digit_codes
from fastcnn.models.lenet_1998 import (
    C3_TABLE,
    DistanceOutput,
    ScaledTanh,
    Subsample,
    TableConv2d,
)


def test_parameters_of_each_layer_are_the_papers():
    rows = {row.name: row for row in models.lenet5("1998").summary((1, 28, 28)).rows}
    counts = {name: row.parameters for name, row in rows.items() if row.parameters}
    assert counts == {
        "c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164, "output": 840,
    }  # fmt: skip
    assert rows["output"].trainable == 0
    assert rows["output"].receptive_field == (32, 32)  # the paper's input size
    # Connections: the paper's 122,304, 151,600 and 48,120, here without the biases.
    assert rows["c1"].multiply_adds == 122_304 - 6 * 28 * 28
    assert rows["c3"].multiply_adds == 151_600 - 16 * 10 * 10
    assert rows["c5"].multiply_adds == 48_120 - 120


def test_table_of_c3_is_the_papers():
    assert [len(row) for row in C3_TABLE] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_TABLE)) == 16
    seen = np.bincount([s for row in C3_TABLE for s in row])
    assert seen.tolist() == [10] * 6  # each map of S2 is seen by ten of C3


def test_table_convolution_is_a_sum_over_the_listed_maps(rng):
    layer = TableConv2d(6, C3_TABLE, 3, seed=0)
    layer.weight.data[...] = integers(rng, layer.weight.data.shape, np.float32)
    layer.bias.data[...] = np.arange(16)
    x = integers(rng, (2, 6, 5, 5), np.float32)
    y = layer(x)
    kernels = iter(layer.weight.data)
    for k, row in enumerate(C3_TABLE):
        expected = sum(ops.conv2d(x[:, [s]], next(kernels)[None, None]) for s in row) + k
        assert_same(y[:, [k]], expected)


def test_table_convolution_does_not_see_other_maps(rng):
    layer = TableConv2d(6, C3_TABLE, 3, seed=0)
    x = rng.normal(size=(1, 6, 5, 5)).astype(np.float32)
    changed = x.copy()
    changed[:, 5] += 1
    same = [np.array_equal(a, b) for a, b in zip(layer(x)[0], layer(changed)[0], strict=True)]
    assert same == [5 not in row for row in C3_TABLE]


def test_subsampling_is_coefficient_times_sum_plus_bias(rng):
    layer = Subsample(3)
    layer.weight.data[...] = [2, -1, 3]
    layer.bias.data[...] = [0, 5, 1]
    x = integers(rng, (2, 3, 4, 6), np.float32)
    sums = x.reshape(2, 3, 2, 2, 3, 2).sum((3, 5))
    expected = sums * np.array([2, -1, 3])[:, None, None] + np.array([0, 5, 1])[:, None, None]
    assert_same(layer(x), expected)


def test_scaled_tanh_has_the_papers_properties():
    y = ScaledTanh()(np.array([1.0, -1.0, 100.0]))
    assert_close(y, np.array([1.0, -1.0, 1.7159]), 1e-4)


def test_codes_are_ten_different_signs():
    codes = digit_codes()
    assert codes.shape == (10, 84) and codes.dtype == np.float32
    assert set(np.unique(codes)) == {-1.0, 1.0}
    apart = (codes[:, None] != codes).sum(2)
    assert apart[~np.eye(10, dtype=bool)].min() >= 6
    drawn = codes.reshape(10, 12, 7) > 0
    assert drawn.any(1).sum(1).min() >= 5  # each fills its cell, even the 1


def test_scores_are_minus_squared_distances(rng):
    codes = digit_codes()
    layer = DistanceOutput(codes)
    x = rng.normal(size=(3, 84)).astype(np.float32)
    expected = -((x.astype(np.float64)[:, None] - codes) ** 2).sum(2)
    assert_close(layer(x), expected, 1e-5)
    assert layer(codes).argmax(1).tolist() == list(range(10))
    with pytest.raises(ValueError, match="expected 84 features"):
        layer(x[:, :80])


def test_codes_train_when_asked(rng):
    layer = DistanceOutput(rng.normal(size=(3, 4)))
    assert not layer.trains()
    layer.codes.requires_grad = True
    testing.gradcheck(layer, rng.normal(size=(2, 4)))


@pytest.mark.parametrize("rubbish", [None, 2.0])
def test_loss_gradients(rng, rubbish):
    scores = -rng.uniform(0, 4, (4, 3))
    testing.gradcheck_loss(models.DistanceLoss(rubbish), scores, np.array([0, 2, 1, 2]))


def test_losses_are_equations_8_and_9():
    d, t, j = np.array([[3.0, 1.0], [0.5, 2.0]]), np.array([1, 0]), 1.5
    right = np.array([1.0, 0.5])
    assert models.DistanceLoss()(-d, t)[0] == pytest.approx(right.mean())
    expected = (right + np.log(np.exp(-j) + np.exp(-d).sum(1))).mean()
    assert models.DistanceLoss(j)(-d, t)[0] == pytest.approx(expected)
    assert repr(models.DistanceLoss(j)) == "DistanceLoss(rubbish=1.5)"


def test_loss_of_an_empty_batch_is_zero():
    value, gradient = models.DistanceLoss()(np.zeros((0, 3)), np.zeros(0, np.int64))
    assert value == 0 and gradient.shape == (0, 3)


@pytest.mark.parametrize("targets", [[0], [0, 3], [0, -1], [0.0, 1.0]])
@pytest.mark.parametrize("rubbish", [None, 1.0])
def test_bad_targets(targets, rubbish):
    with pytest.raises(ValueError, match=r"expected 2 integer targets in 0\.\.2"):
        models.DistanceLoss(rubbish)(np.zeros((2, 3)), np.array(targets))


def test_codes_are_frozen_in_the_net(rng):
    net = models.lenet5("1998")
    x = rng.random((2, 1, 28, 28)).astype(np.float32)
    y, ctx = net.forward(x)
    net.backward(models.DistanceLoss()(y, np.array([3, 4]))[1], ctx)
    assert not net["output"].codes.grad.any()
    assert all(p.grad.any() for p in net.parameters() if p.requires_grad)
    assert isinstance(net["c5"], nn.Conv2d)
