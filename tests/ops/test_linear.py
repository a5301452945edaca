"""Linear layer and the matrix product beneath it: exact sums, batches, threads, layouts."""

import numpy as np
import pytest
from helpers import (
    THREADS,
    assert_close,
    assert_same,
    assert_same_bits,
    integers,
    layouts,
    normal,
    numerical_gradient,
)

import fastcnn
from fastcnn import ops, reference
from fastcnn.ops._gemm import gemm

# (N, I, O): the lectures' nets, then sizes around vectors, panels (16, 24, 48), blocks of K (256)
# and tiles (144, 192, 512), and the smallest.
SIZES = [
    (32, 400, 120),
    (32, 120, 84),
    (32, 84, 10),
    (100, 784, 100),
    (1, 400, 120),
    (1, 1, 1),
    (2, 3, 1),
    (7, 1, 50),
    (13, 257, 17),
    (8, 256, 48),
    (9, 513, 49),
    (49, 33, 97),
    (145, 255, 515),
    (193, 31, 23),
    (300, 600, 47),
    (1, 700, 1030),
]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_exact_on_integers(size: tuple[int, int, int], rng: np.random.Generator, dtype: np.dtype):
    n, i, o = size
    x, w, b = integers(rng, (n, i), dtype), integers(rng, (o, i), dtype), integers(rng, (o,), dtype)
    dy = integers(rng, (n, o), dtype)
    assert_same(ops.linear(x, w), reference.linear(x, w))
    assert_same(ops.linear(x, w, b), reference.linear(x, w, b))
    assert_same(ops.linear_backward_input(dy, w), reference.linear_backward_input(dy, w))
    dw, db = ops.linear_backward_weight(dy, x)
    expected_dw, expected_db = reference.linear_backward_weight(dy, x)
    assert_same(dw, expected_dw)
    assert_same(db, expected_db, zeros=0.9)


def test_a_wrong_element_is_seen(rng: np.random.Generator):
    x, w = integers(rng, (9, 30), np.float32), integers(rng, (50, 30), np.float32)
    y = ops.linear(x, w)
    y[8, 49] += 1
    with pytest.raises(AssertionError):
        assert_same(y, reference.linear(x, w))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_close_on_normal_numbers(
    size: tuple[int, int, int], rng: np.random.Generator, dtype: np.dtype
):
    n, i, o = size
    x, w, b = normal(rng, (n, i), dtype), normal(rng, (o, i), dtype), normal(rng, (o,), dtype)
    wide = reference.linear(x.astype(float), w.astype(float), b.astype(float)).astype(dtype)
    assert_close(ops.linear(x, w, b), wide, 1e-5 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize("trans_a", [False, True])
@pytest.mark.parametrize("trans_b", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(1, 1, 1), (5, 7, 3), (8, 48, 256), (50, 100, 300), (200, 530, 70), (3, 600, 260), (97, 5, 9)],
)
def test_gemm(
    m: int, n: int, k: int, trans_a: bool, trans_b: bool, rng: np.random.Generator, dtype: np.dtype
):
    a = integers(rng, (k, m) if trans_a else (m, k), dtype)
    b = integers(rng, (n, k) if trans_b else (k, n), dtype)
    expected = (a.T if trans_a else a) @ (b.T if trans_b else b)
    out = np.full((m, n), np.nan, dtype)
    assert gemm(a, b, trans_a=trans_a, trans_b=trans_b, out=out) is out
    assert_same(out, expected)
    gemm(a, b, trans_a=trans_a, trans_b=trans_b, out=out, accumulate=True)
    assert_same(out, 2 * expected)
    assert_same(gemm(a, b, trans_a=trans_a, trans_b=trans_b), expected)


@pytest.mark.parametrize(("i", "o"), [(400, 120), (84, 10), (513, 49), (30, 1)])
def test_a_sample_is_the_same_in_any_batch(
    i: int, o: int, rng: np.random.Generator, dtype: np.dtype
):
    x, w, b = normal(rng, (130, i), dtype), normal(rng, (o, i), dtype), normal(rng, (o,), dtype)
    dy = normal(rng, (130, o), dtype)
    y, dx = ops.linear(x, w, b), ops.linear_backward_input(dy, w)
    for n in (*range(1, 34), 48, 64, 97, 129):
        assert_same_bits(ops.linear(x[:n], w, b), y[:n])
        assert_same_bits(ops.linear(x[130 - n :], w, b), y[130 - n :])
        assert_same_bits(ops.linear_backward_input(dy[:n], w), dx[:n])


def test_same_bits_at_any_thread_count(rng: np.random.Generator, dtype: np.dtype):
    x, w, b = normal(rng, (70, 900), dtype), normal(rng, (800, 900), dtype), normal(rng, 800, dtype)
    dy = normal(rng, (70, 800), dtype)
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            y, dx = ops.linear(x, w, b), ops.linear_backward_input(dy, w)
            results.append((y, dx, *ops.linear_backward_weight(dy, x)))
    for result in results[1:]:
        for got, first in zip(result, results[0], strict=True):
            assert_same_bits(got, first)


def test_layouts(rng: np.random.Generator, dtype: np.dtype):
    x, w, dy = (
        normal(rng, (11, 40), dtype),
        normal(rng, (30, 40), dtype),
        normal(rng, (11, 30), dtype),
    )
    b = normal(rng, (30,), dtype)
    y, dx, (dw, db) = (
        ops.linear(x, w, b),
        ops.linear_backward_input(dy, w),
        ops.linear_backward_weight(dy, x),
    )
    for i, kind in enumerate(layouts(x)):
        other_x, other_w, other_dy = (list(layouts(a).values())[i] for a in (x, w, dy))
        assert_same_bits(ops.linear(other_x, other_w, b[::-1].copy()[::-1]), y), kind
        assert_same_bits(ops.linear_backward_input(other_dy, other_w), dx)
        got = ops.linear_backward_weight(other_dy, other_x)
        assert_same_bits(got[0], dw)
        assert_same_bits(got[1], db)


def test_nan_and_infinity_stay_in_their_rows(rng: np.random.Generator, dtype: np.dtype):
    x, w = normal(rng, (20, 37), dtype), normal(rng, (29, 37), dtype)
    y = ops.linear(x, w)
    x[3, 5], x[17, 36] = np.nan, np.inf
    got = ops.linear(x, w)
    assert np.isnan(got[3]).all() and np.isinf(got[17]).all()
    others = np.setdiff1d(np.arange(20), [3, 17])
    assert_same_bits(got[others], y[others])


def test_gradients(rng: np.random.Generator):
    x, w, b = (normal(rng, s, np.float64) for s in ((5, 7), (4, 7), (4,)))
    dy = normal(rng, (5, 4), np.float64)

    def loss() -> float:
        return float((ops.linear(x, w, b) * dy).sum())

    dw, db = ops.linear_backward_weight(dy, x)
    assert_close(ops.linear_backward_input(dy, w), numerical_gradient(loss, x), 1e-8)
    assert_close(dw, numerical_gradient(loss, w), 1e-8)
    assert_close(db, numerical_gradient(loss, b), 1e-8)


def test_out(rng: np.random.Generator, dtype: np.dtype):
    x, w, b = (
        integers(rng, (9, 30), dtype),
        integers(rng, (50, 30), dtype),
        integers(rng, 50, dtype),
    )
    out = np.full((9, 50), np.nan, dtype)
    assert ops.linear(x, w, b, out=out) is out
    assert_same(out, reference.linear(x, w, b))


@pytest.mark.parametrize(("n", "i", "o"), [(0, 5, 3), (4, 0, 3), (4, 5, 0), (0, 0, 0)])
def test_empty(n: int, i: int, o: int, dtype: np.dtype):
    x, w, b, dy = (np.ones(s, dtype) for s in ((n, i), (o, i), (o,), (n, o)))
    np.testing.assert_array_equal(ops.linear(x, w, b), np.full((n, o), i + 1))
    np.testing.assert_array_equal(ops.linear(x, w), np.full((n, o), i))
    np.testing.assert_array_equal(ops.linear_backward_input(dy, w), np.full((n, i), o))
    dw, db = ops.linear_backward_weight(dy, x)
    np.testing.assert_array_equal(dw, np.full((o, i), n))
    np.testing.assert_array_equal(db, np.full(o, n))


def test_bad_arguments():
    x, w, b = np.zeros((4, 5), np.float32), np.zeros((3, 5), np.float32), np.zeros(3, np.float32)
    dy = np.zeros((4, 3), np.float32)
    with pytest.raises(TypeError, match="linear: expected x to be float32 or float64, got int64"):
        ops.linear(x.astype(np.int64), w)
    with pytest.raises(TypeError, match="linear: expected w to be float32 like the first array"):
        ops.linear(x, w.astype(np.float64))
    with pytest.raises(ValueError, match="linear: expected x to have 2 dimensions"):
        ops.linear(x[0], w)
    with pytest.raises(ValueError, match=r"expected w.shape == \(3, 5\) \(x has 5 columns\)"):
        ops.linear(x, w[:, :4])
    with pytest.raises(ValueError, match=r"expected b.shape == \(3,\)"):
        ops.linear(x, w, b[:2])
    with pytest.raises(ValueError, match="expected out to be a float32 array"):
        ops.linear(x, w, out=np.zeros((3, 4), np.float32))
    square = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="expected out to share no memory with the inputs"):
        ops.linear(square, square.copy(), out=square)
    with pytest.raises(ValueError, match=r"linear_backward_input: expected w.shape"):
        ops.linear_backward_input(dy[:, :2], w)
    with pytest.raises(ValueError, match=r"linear_backward_weight: expected x.shape"):
        ops.linear_backward_weight(dy[:3], x)
    with pytest.raises(ValueError, match=r"gemm: expected b.shape"):
        gemm(x, w)
    with pytest.raises(ValueError, match="gemm: expected out, since accumulate"):
        gemm(x, w, trans_b=True, accumulate=True)


def test_a_result_that_no_machine_can_hold():
    big = np.broadcast_to(np.float32(0), (2**31, 1))
    empty = big[:, :0]  # no bytes to copy, but the result has 2**62 elements
    with pytest.raises(MemoryError, match="linear: an array of shape"):
        ops.linear(empty, empty)
