"""Sums of arrays against the reference: values, the fused ReLU, `out`, layouts, threads."""

import numpy as np
import pytest
from helpers import THREADS, assert_same, assert_same_bits, integers, layouts, normal

import fastcnn
from fastcnn import ops, reference

SHAPES = [(0,), (), (1,), (3, 5), (2, 3, 7, 9), (17,), (16384,), (16385,), (5, 0, 2)]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_add_is_exact(shape, relu, rng, dtype):
    a, b = integers(rng, shape, dtype, 9), integers(rng, shape, dtype, 9)
    assert_same(ops.add(a, b, relu=relu), reference.add(a, b, relu=relu), zeros=0.7)
    x, y = normal(rng, shape, dtype), normal(rng, shape, dtype)
    assert_same(ops.add(x, y, relu=relu), reference.add(x, y, relu=relu), zeros=0.7)


def test_a_wrong_element_is_seen(rng):
    a, b = integers(rng, (5, 7), np.float32), integers(rng, (5, 7), np.float32)
    y = ops.add(a, b)
    y[3, 3] += 1
    with pytest.raises(AssertionError):
        assert_same(y, reference.add(a, b))


@pytest.mark.parametrize("relu", [False, True])
def test_nan_stays_visible(relu, dtype):
    a, b = np.zeros(20, dtype), np.ones(20, dtype)
    a[3], b[17] = np.nan, np.nan
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(ops.add(a, b, relu=relu))), [3, 17])
    opposite = ops.add(np.array([np.inf], dtype), np.array([-np.inf], dtype), relu=relu)
    assert np.isnan(opposite).all()


@pytest.mark.parametrize("relu", [False, True])
def test_out(relu, rng, dtype):
    a, b = normal(rng, (40, 50), dtype), normal(rng, (40, 50), dtype)
    expected = ops.add(a, b, relu=relu)
    out = np.full_like(a, np.nan)
    assert ops.add(a, b, relu=relu, out=out) is out
    assert_same_bits(out, expected)
    for target in (0, 1):  # in place
        pair = [a.copy(), b.copy()]
        assert ops.add(*pair, relu=relu, out=pair[target]) is pair[target]
        assert_same_bits(pair[target], expected)
    both = a.copy()
    assert_same_bits(ops.add(both, both, out=both), ops.add(a, a))


def test_out_that_overlaps_an_input_is_refused(dtype):
    memory = np.zeros(101, dtype)
    other = np.zeros(100, dtype)
    for pair in ((memory[1:], other), (other, memory[1:])):
        with pytest.raises(ValueError, match="share no memory"):
            ops.add(*pair, out=memory[:-1])


def test_layouts(rng, dtype):
    a, b = normal(rng, (3, 4, 5, 6), dtype), normal(rng, (3, 4, 5, 6), dtype)
    y = ops.add(a, b)
    for other_a, other_b in zip(layouts(a).values(), layouts(b).values(), strict=True):
        assert_same_bits(ops.add(other_a, b), y)
        assert_same_bits(ops.add(a, other_b), y)


def test_same_bits_at_any_thread_count(rng, dtype):
    a, b = normal(rng, (1_000_001,), dtype), normal(rng, (1_000_001,), dtype)
    with fastcnn.threads(1):
        y = ops.add(a, b, relu=True)
    for n in THREADS[1:]:
        with fastcnn.threads(n):
            assert_same_bits(ops.add(a, b, relu=True), y)


A = np.zeros((2, 3), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.add(A, A[:1]), ValueError, r"add: expected b.shape == \(2, 3\)"),
        (lambda m: m.add(A, A.astype(float)), TypeError, "expected b to be float32"),
        (lambda m: m.add(A.astype(int), A), TypeError, "expected a to be float32 or float64"),
        (lambda m: m.add(A, A, out=np.zeros((3, 2), np.float32)), ValueError, "expected out"),
        (lambda m: m.add(A, A, out=np.zeros((2, 3))), ValueError, "expected out"),
    ],
)
@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_refusals(module, call, error, message):
    with pytest.raises(error, match=message):
        call(module)
