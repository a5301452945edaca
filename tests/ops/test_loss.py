"""Softmax cross-entropy and mean squared error: values, gradients, stability, labels, threads."""

import math

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

TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 1e-14}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 10, 15, 17, 33, 1000])
def test_cross_entropy_matches_reference(
    classes: int, reduction: str, rng: np.random.Generator, dtype: np.dtype
):
    x = 3 * normal(rng, (13, classes), dtype)
    targets = rng.integers(0, classes, 13)
    loss, dlogits = ops.softmax_cross_entropy(x, targets, reduction=reduction)
    expected, gradient = reference.softmax_cross_entropy(
        x.astype(np.float64), targets, reduction=reduction
    )
    assert isinstance(loss, float)
    assert math.isclose(loss, expected, rel_tol=TOLERANCE[dtype], abs_tol=1e-300)
    assert dlogits.dtype == dtype
    if classes == 1:
        np.testing.assert_array_equal(dlogits, np.zeros((13, 1)))
    else:
        assert_close(dlogits, gradient.astype(dtype), 4 * TOLERANCE[dtype])


def test_a_wrong_element_is_seen(rng: np.random.Generator):
    x, targets = normal(rng, (13, 10), np.float32), rng.integers(0, 10, 13)
    _, dlogits = ops.softmax_cross_entropy(x, targets)
    dlogits[7, 3] += 1e-5
    with pytest.raises(AssertionError):
        assert_close(dlogits, reference.softmax_cross_entropy(x, targets)[1], 2e-6)


def test_the_lecture_s_cross_entropy():
    """Q = [.1, .2, .6, .1] against class 2: 0.5108 nats, 0.7370 bits."""
    loss, _ = ops.softmax_cross_entropy(np.log([[0.1, 0.2, 0.6, 0.1]]), np.array([2]))
    assert round(loss, 4) == 0.5108
    assert round(loss / math.log(2), 4) == 0.7370


@pytest.mark.parametrize("big", [1e4, 1e30])
def test_cross_entropy_is_stable(big: float, dtype: np.dtype):
    x = np.array([[big, 0, -big], [-big, big, 0]], dtype)
    loss, dlogits = ops.softmax_cross_entropy(x, np.array([0, 1]))
    assert loss == 0
    np.testing.assert_array_equal(dlogits, np.zeros_like(x))
    loss, dlogits = ops.softmax_cross_entropy(x, np.array([1, 2]))
    assert loss == float(dtype.type(big))
    assert_same(dlogits, np.array([[0.5, -0.5, 0], [0, 0.5, -0.5]], dtype))


def test_cross_entropy_keeps_small_losses(dtype: np.dtype):
    """Sums are double: a loss of 1e-9 is not rounded to 0 even from float32 logits."""
    gap = 20.75
    loss, _ = ops.softmax_cross_entropy(np.array([[gap, 0]], dtype), np.array([0]))
    assert math.isclose(loss, math.log1p(math.exp(-gap)), rel_tol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_cross_entropy_shows_nan(bad: float, rng: np.random.Generator, dtype: np.dtype):
    x = normal(rng, (3, 10), dtype)
    x[1, 4] = bad
    loss, dlogits = ops.softmax_cross_entropy(x, np.array([0, 1, 2]))
    assert math.isnan(loss)
    assert np.isnan(dlogits[1]).all() and np.isfinite(dlogits[[0, 2]]).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradients(reduction: str, rng: np.random.Generator):
    x, targets = normal(rng, (4, 5), np.float64), np.array([4, 0, 2, 2])
    _, gradient = ops.softmax_cross_entropy(x, targets, reduction=reduction)
    expected = numerical_gradient(
        lambda: ops.softmax_cross_entropy(x, targets, reduction=reduction)[0], x
    )
    assert_close(gradient, expected, 1e-8)
    target = normal(rng, (4, 5), np.float64)
    _, gradient = ops.mse(x, target, reduction=reduction)
    expected = numerical_gradient(lambda: ops.mse(x, target, reduction=reduction)[0], x)
    assert_close(gradient, expected, 1e-8)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(1,), (3, 10), (7, 3, 5, 2), (16385,)], ids=str)
def test_mse_matches_reference(
    shape: tuple, reduction: str, rng: np.random.Generator, dtype: np.dtype
):
    p, t = normal(rng, shape, dtype), normal(rng, shape, dtype)
    loss, gradient = ops.mse(p, t, reduction=reduction)
    wide = p.astype(np.float64), t.astype(np.float64)
    expected, expected_gradient = reference.mse(*wide, reduction=reduction)
    assert math.isclose(loss, expected, rel_tol=1e-6 if dtype == np.float32 else 1e-14)
    assert_close(gradient, expected_gradient.astype(dtype), TOLERANCE[dtype])


def test_mse_is_exact_on_integers(rng: np.random.Generator, dtype: np.dtype):
    p, t = integers(rng, (64, 40), dtype), integers(rng, (64, 40), dtype)
    loss, gradient = ops.mse(p, t, reduction="sum")
    assert loss == float(((p - t) ** 2).sum())
    assert_same(gradient, 2 * (p - t))


def test_same_bits_at_any_thread_count(rng: np.random.Generator, dtype: np.dtype):
    x, t = normal(rng, (999, 700), dtype), normal(rng, (999, 700), dtype)
    labels = rng.integers(0, 700, 999)
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            results.append((*ops.softmax_cross_entropy(x, labels), *ops.mse(x, t)))
    for entropy, dx, error, gradient in results[1:]:
        assert (entropy, error) == (results[0][0], results[0][2])
        assert_same_bits(dx, results[0][1])
        assert_same_bits(gradient, results[0][3])


def test_layouts(rng: np.random.Generator, dtype: np.dtype):
    x, t = normal(rng, (12, 10), dtype), normal(rng, (12, 10), dtype)
    labels = rng.integers(0, 10, 12)
    loss, dlogits = ops.softmax_cross_entropy(x, labels)
    error, gradient = ops.mse(x, t)
    for other_x, other_t in zip(layouts(x).values(), layouts(t).values(), strict=True):
        got = ops.softmax_cross_entropy(other_x, labels[::-1].copy()[::-1])
        assert got[0] == loss
        assert_same_bits(got[1], dlogits)
        got = ops.mse(other_x, other_t)
        assert got[0] == error
        assert_same_bits(got[1], gradient)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, ">i4"])
def test_labels_of_any_integer_type(kind: object, rng: np.random.Generator):
    x, labels = normal(rng, (12, 10), np.float32), rng.integers(0, 10, 12)
    expected = ops.softmax_cross_entropy(x, labels)
    got = ops.softmax_cross_entropy(x, labels.astype(kind))
    assert got[0] == expected[0]
    assert_same_bits(got[1], expected[1])


@pytest.mark.parametrize("label", [-1, 10, 255, 2**31, -(2**62)])
def test_labels_out_of_range(label: int):
    targets = np.zeros(4, np.int64)
    targets[2] = label
    with pytest.raises(
        ValueError, match=rf"labels in 0..9 \(10 classes\), got targets\[2\] == {label}$"
    ):
        ops.softmax_cross_entropy(np.zeros((4, 10)), targets)


def test_label_beyond_int64():
    targets = np.array([0, 2**64 - 1], np.uint64)
    with pytest.raises(ValueError, match="18446744073709551615"):
        ops.softmax_cross_entropy(np.zeros((2, 10)), targets)


def test_nothing_has_no_loss(dtype: np.dtype):
    for reduction in ("mean", "sum"):
        loss, gradient = ops.softmax_cross_entropy(
            np.zeros((0, 10), dtype), np.zeros(0, int), reduction=reduction
        )
        assert loss == 0 and gradient.shape == (0, 10)
        loss, gradient = ops.mse(np.zeros((0, 3), dtype), np.zeros((0, 3), dtype))
        assert loss == 0 and gradient.shape == (0, 3)


def test_bad_arguments():
    x, labels = np.zeros((4, 10), np.float32), np.zeros(4, int)
    with pytest.raises(TypeError, match="expected logits to be float32 or float64"):
        ops.softmax_cross_entropy(x.astype(int), labels)
    for bad in (labels.astype(float), labels.astype(bool), ["a"] * 4):
        with pytest.raises(TypeError, match="expected targets to be integers"):
            ops.softmax_cross_entropy(x, bad)
    for bad in (labels[:3], labels[:, None], 0):
        with pytest.raises(ValueError, match=r"expected targets.shape == \(4,\)"):
            ops.softmax_cross_entropy(x, bad)
    with pytest.raises(ValueError, match="expected logits to have 2 dimensions"):
        ops.softmax_cross_entropy(x[0], labels)
    with pytest.raises(ValueError, match="at least one class"):
        ops.softmax_cross_entropy(x[:, :0], labels)
    for bad in ("none", None, "Mean"):
        with pytest.raises(ValueError, match="expected reduction 'mean' or 'sum'"):
            ops.softmax_cross_entropy(x, labels, reduction=bad)
        with pytest.raises(ValueError, match="expected reduction 'mean' or 'sum'"):
            ops.mse(x, x, reduction=bad)
    with pytest.raises(TypeError, match="expected target to be float32"):
        ops.mse(x, x.astype(np.float64))
    with pytest.raises(ValueError, match=r"expected target.shape == \(4, 10\)"):
        ops.mse(x, x[:1])
