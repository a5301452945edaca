"""Elementwise work begins before a whole vector: the same bits wherever arrays lie."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers import assert_same_bits, normal

from fastcnn import ops

SIZES = [1, 63, 511, 1024, 1541, 16384 + 700]  # too short to be aligned, and not; several tasks
PLACES = range(16)  # elements behind a multiple of 64 bytes


def placed(values: np.ndarray, place: int) -> np.ndarray:
    """A copy that begins `place` elements behind a multiple of 64 bytes; what follows it is NaN."""
    memory = np.full(values.size + place + 64, np.nan, values.dtype)
    start = -(memory.ctypes.data // memory.itemsize) % (64 // memory.itemsize) + place
    copy = memory[start : start + values.size]
    copy[...] = values
    assert copy.ctypes.data % 64 == place * values.itemsize % 64
    return copy


def _relu(x: np.ndarray, _: np.ndarray, out: np.ndarray) -> None:
    ops.relu(x, out=out)


def _relu_backward(dy: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
    ops.relu_backward(dy, y, out=out)


def _add(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    ops.add(a, b, relu=True, out=out)


def _sgd(grad: np.ndarray, velocity: np.ndarray, param: np.ndarray) -> None:
    ops.sgd_update(param, grad, velocity, lr=0.1, momentum=0.9, weight_decay=0.01)


def _adam(grad: np.ndarray, v: np.ndarray, param: np.ndarray) -> None:
    m, v = np.zeros_like(v), np.abs(v)
    ops.adam_update(param, grad, m, v, step=3, lr=0.1, weight_decay=0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("work", [_relu, _relu_backward, _add, _sgd, _adam])
def test_same_bits_at_every_place(
    work: Callable[[np.ndarray, np.ndarray, np.ndarray], None],
    size: int,
    rng: np.random.Generator,
    dtype: np.dtype,
):
    a, b, start = (normal(rng, (size,), dtype) for _ in range(3))
    expected = placed(start, 0)
    work(placed(a, 0), placed(b, 0), expected)
    assert not np.array_equal(expected, start)
    for place in PLACES:
        out = placed(start, place)
        work(placed(a, place), placed(b, (3 * place) % 16), out)
        assert_same_bits(out, expected)


@pytest.mark.parametrize("width", [777, 1541])
def test_rows_and_planes_of_odd_sizes(width: int, rng: np.random.Generator, dtype: np.dtype):
    """Each row begins at another place, and has the bits that it has alone."""
    y, dy = np.abs(normal(rng, (17, width), dtype)), normal(rng, (17, width), dtype)
    dx = ops.softmax_backward(dy, y)
    x = normal(rng, (17, 3, 1, width), dtype)
    mean, var, one = np.zeros(3, dtype), np.ones(3, dtype), np.full(3, 1.5, dtype)
    z = ops.batch_norm(x, one, one, mean, var)
    for i in range(17):
        assert_same_bits(dx[i], ops.softmax_backward(dy[i : i + 1], y[i : i + 1])[0])
        assert_same_bits(z[i], ops.batch_norm(x[i : i + 1], one, one, mean, var)[0])
