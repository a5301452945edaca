"""Elementwise work begins before a whole vector, and its results may go past the caches: the same
bits wherever arrays lie, and however large they are."""

from collections.abc import Callable

import numpy as np
import pytest
from helpers import assert_same_bits, normal

import fastcnn
from fastcnn import ops

SIZES = [1, 63, 511, 1024, 1541, 16384 + 700]  # too short to be aligned, and not; several tasks
PLACES = range(16)  # elements behind a multiple of 64 bytes


class Placed:
    """A copy that begins `place` elements behind a multiple of 64 bytes, between NaN."""

    def __init__(self, values: np.ndarray, place: int):
        self.memory = np.full(values.size + place + 64, np.nan, values.dtype)
        start = -(self.memory.ctypes.data // values.itemsize) % (64 // values.itemsize) + place
        self.array = self.memory[start : start + values.size]
        self.array[...] = values
        self.start, self.end = start, start + values.size
        assert self.array.ctypes.data % 64 == place * values.itemsize % 64

    def assert_nothing_beside(self) -> None:
        assert np.isnan(self.memory[: self.start]).all()
        assert np.isnan(self.memory[self.end :]).all()


def _relu(out: np.ndarray, x: np.ndarray, *_: np.ndarray) -> None:
    ops.relu(x, out=out)


def _relu_in_place(x: np.ndarray, *_: np.ndarray) -> None:
    ops.relu(x, out=x)


def _relu_backward(out: np.ndarray, dy: np.ndarray, y: np.ndarray, _: np.ndarray) -> None:
    ops.relu_backward(dy, y, out=out)


def _add(out: np.ndarray, a: np.ndarray, b: np.ndarray, _: np.ndarray) -> None:
    ops.add(a, b, relu=True, out=out)


def _sgd(param: np.ndarray, velocity: np.ndarray, grad: np.ndarray, _: np.ndarray) -> None:
    ops.sgd_update(param, grad, velocity, lr=0.1, momentum=0.9, weight_decay=0.01)


def _adam(param: np.ndarray, v: np.ndarray, m: np.ndarray, grad: np.ndarray) -> None:
    ops.adam_update(param, grad, m, v, step=3, lr=0.1, weight_decay=0.01)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("work", [_relu, _relu_in_place, _relu_backward, _add, _sgd, _adam])
def test_same_bits_at_every_place(
    work: Callable[..., None], size: int, rng: np.random.Generator, dtype: np.dtype
):
    """Of all arrays that the work has, and nothing is written beside them."""
    values = [np.abs(normal(rng, (size,), dtype)) - (i == 0) for i in range(4)]
    expected = [Placed(v, 0) for v in values]
    work(*(e.array for e in expected))
    assert not np.array_equal(expected[0].array, values[0])
    for place in PLACES:
        got = [Placed(v, (place + i * (place // 4)) % 16) for i, v in enumerate(values)]
        work(*(g.array for g in got))
        for one, other in zip(got, expected, strict=True):
            assert_same_bits(one.array, other.array)
            one.assert_nothing_beside()


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


# 16 MiB and more, of which no half is; planes that begin anywhere, and whole cache lines.
BIG = [(3, 2, 1234, 577), (3, 2, 1234, 592)]


def _results(x, dy, r, gamma, beta, mean, var):
    y, m, inv_std = ops.batch_norm_forward(x, gamma, beta)
    yield from (ops.relu(x), ops.leaky_relu_backward(dy, x), ops.add(x, r, relu=True))
    yield from (ops.prelu(x, gamma), ops.prelu_backward(dy, x, gamma)[0])
    yield from (ops.batch_norm(x, gamma, beta, mean, var), y)
    yield ops.batch_norm_backward(dy, x, gamma, m, inv_std)[0]
    yield ops.relu(x, out=x.copy())


@pytest.mark.parametrize("shape", BIG)
@pytest.mark.parametrize("threads", [1, 3])
def test_results_past_the_caches(threads: int, shape: tuple, rng: np.random.Generator):
    """Large arrays have the bits of their halves, channel by channel."""
    images = [normal(rng, shape, np.dtype("f4")) for _ in range(3)]
    vectors = [np.abs(normal(rng, (2,), np.dtype("f4"))) + 1 for _ in range(4)]
    halves = [
        ([image[:, c : c + 1].copy() for image in images], [v[c : c + 1] for v in vectors])
        for c in range(2)
    ]
    with fastcnn.threads(threads):
        parts = [list(_results(*images, *vectors)) for images, vectors in halves]
        for whole, *both in zip(_results(*images, *vectors), *parts, strict=True):
            assert whole.nbytes >= 16 << 20 > both[0].nbytes
            assert_same_bits(whole, np.concatenate(both, axis=1))
