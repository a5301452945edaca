"""Initialisers: deviations, bounds, seeds, and what the layers make of them."""

import numpy as np
import pytest
from helpers import assert_same_bits

from fastcnn import nn
from fastcnn.nn import init

SHAPE = (64, 32, 5, 5)
FAN_IN, FAN_OUT = 32 * 25, 64 * 25


@pytest.mark.parametrize(
    "initial, std",
    [
        (init.normal(0.01), 0.01),
        (init.uniform(0.3), 0.3 / np.sqrt(3)),
        (init.lecun(), np.sqrt(1 / FAN_IN)),
        (init.xavier(), np.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.xavier("normal"), np.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.xavier(gain=4.0), 4 * np.sqrt(2 / (FAN_IN + FAN_OUT))),
        (init.he(), np.sqrt(2 / FAN_IN)),
        (init.he("uniform"), np.sqrt(2 / FAN_IN)),
        (init.he(negative_slope=1.0), np.sqrt(1 / FAN_IN)),
        (init.zeros(), 0.0),
    ],
)
def test_mean_and_deviation(initial, std):
    w = initial(SHAPE, np.random.default_rng(0))
    assert w.shape == SHAPE
    assert w.std() == pytest.approx(std, rel=0.01, abs=1e-12)
    assert abs(w.mean()) <= 5 * std / np.sqrt(w.size)


@pytest.mark.parametrize(
    "initial, bound",
    [
        (init.uniform(0.3), 0.3),
        (init.xavier("uniform"), np.sqrt(6 / (FAN_IN + FAN_OUT))),
        (init.he("uniform"), np.sqrt(6 / FAN_IN)),
    ],
)
def test_bounds_of_the_uniform_ones(initial, bound):
    w = initial(SHAPE, np.random.default_rng(0))
    assert 0.999 * bound < abs(w).max() <= bound


def test_fans():
    assert init.fans((100, 784)) == (784, 100)
    assert init.fans((16, 6, 5, 5)) == (150, 400)
    with pytest.raises(ValueError, match="fans"):
        init.fans((3,))


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "0.1", True])
@pytest.mark.parametrize("make", [init.normal, init.uniform])
def test_bad_scales(make, bad):
    with pytest.raises(ValueError, match="finite number >= 0"):
        make(bad)


@pytest.mark.parametrize("make", [init.he, init.xavier, init.lecun])
def test_bad_distribution(make):
    with pytest.raises(ValueError, match="'normal' or 'uniform'"):
        make("cauchy")


@pytest.mark.parametrize(
    "make", [lambda **k: nn.Conv2d(3, 8, 5, **k), lambda **k: nn.Linear(75, 8, **k)]
)
def test_layers_draw_by_seed(make):
    assert_same_bits(make(seed=1).weight.data, make(seed=1).weight.data)
    assert_same_bits(make(seed=1).weight.data, make(seed=np.random.default_rng(1)).weight.data)
    assert (make(seed=1).weight.data != make(seed=2).weight.data).any()
    assert (make().weight.data != make().weight.data).any()
    assert make().weight.data.std() == pytest.approx(np.sqrt(2 / 75), rel=0.2)
    assert not make().bias.data.any()


def test_float64_layers_start_from_the_same_numbers():
    a, b = nn.Linear(4, 3, seed=1), nn.Linear(4, 3, seed=1, dtype=np.float64)
    assert b.weight.data.dtype == np.float64
    assert_same_bits(a.weight.data, b.weight.data.astype(np.float32))


def test_one_generator_serves_many_layers():
    rng = np.random.default_rng(0)
    a, b = nn.Linear(4, 4, seed=rng), nn.Linear(4, 4, seed=rng)
    assert (a.weight.data != b.weight.data).all()


@pytest.mark.parametrize("stride", [2, 3, 4])
@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_kernels_enlarge_a_ramp_to_a_ramp(stride, groups):
    k = 2 * stride - stride % 2
    up = nn.ConvTranspose2d(
        3, 3, k, stride, stride // 2, groups=groups, bias=False, init=init.bilinear()
    )
    x = np.arange(6.0, dtype=np.float32) + 10 * np.arange(6.0, dtype=np.float32)[:, None]
    y = up(np.stack([x, 2 * x, -x])[None])
    assert y.shape[2:] == (6 * stride, 6 * stride)
    inner = y[0, :, stride:-stride, stride:-stride]
    np.testing.assert_allclose(np.diff(inner[0], axis=1), 1 / stride, rtol=1e-4)
    np.testing.assert_allclose(np.diff(inner[0], axis=0), 10 / stride, rtol=1e-4)
    np.testing.assert_allclose(inner[1], 2 * inner[0], rtol=1e-6)
    np.testing.assert_allclose(inner[2], -inner[0], rtol=1e-6)
