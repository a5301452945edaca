"""Batch normalisation against the reference: values, gradients, digits kept, threads, refusals."""

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
)

import fastcnn
from fastcnn import ops, reference

# Planes around a vector, around a block of 4096 elements, features (no plane), nothing at all.
SHAPES = [
    (4, 5, 7, 7),
    (2, 3, 1, 1),
    (5, 4, 2, 1),
    (130, 3, 3, 11),
    (2, 300, 5, 5),
    (3, 2, 64, 64),
    (2, 3, 64, 65),
    (1, 2, 100, 101),
    (3, 20),
    (2, 1),
    (300, 37),
    (513, 16),
    (4, 3, 5),
    (3, 2, 2, 3, 2),
]
EMPTY = [(0, 3, 4, 4), (0, 3), (2, 3, 0, 4), (3, 0, 4, 4), (3, 0)]
TOLERANCE = {np.dtype(np.float32): 4e-6, np.dtype(np.float64): 2e-14}
F8 = np.float64


def inputs(rng, shape, dtype, mean=0.0, deviation=1.0):
    """x, dy, gamma, beta; each channel has a mean and a deviation of its own."""
    c = shape[1]
    per_channel = (1, c, *(1,) * (len(shape) - 2))
    scale = deviation * rng.uniform(0.5, 2, per_channel)
    x = mean + scale * (rng.normal(size=shape) + rng.normal(size=per_channel))
    rest = (normal(rng, shape, dtype), normal(rng, (c,), dtype), normal(rng, (c,), dtype))
    return (x.astype(dtype), *rest)


def wide(*arrays):
    return [a.astype(F8) for a in arrays]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(shape, rng, dtype):
    x, dy, gamma, beta = inputs(rng, shape, dtype)
    tolerance = TOLERANCE[dtype]
    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
    expected = reference.batch_norm_forward(*wide(x, gamma, beta))
    assert_close(y, expected[0], tolerance)
    assert mean.dtype == inv_std.dtype == F8
    np.testing.assert_allclose(mean, expected[1], rtol=0, atol=tolerance)
    np.testing.assert_allclose(inv_std, expected[2], rtol=tolerance)

    got = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)
    wanted = reference.batch_norm_backward(*wide(dy, x, gamma), *expected[1:])
    # Terms may nearly cancel (two values a channel leave no gradient): errors are held to them.
    count = x.size / shape[1]
    term = np.abs(dy).max() * np.array([np.abs(gamma * inv_std).max(), count**0.5, count**0.5])
    for a, b, scale in zip(got, wanted, term, strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale)

    var = (rng.random(shape[1]) + 0.5).astype(dtype)
    m = mean.astype(dtype)
    y = ops.batch_norm(x, gamma, beta, m, var, eps=0.25)
    assert_close(y, reference.batch_norm(*wide(x, gamma, beta, m, var), eps=0.25), tolerance)


@pytest.mark.parametrize(
    "shape", [(8, 5, 4, 4), (4, 3, 64, 64), (2, 2, 128, 64), (64, 19)], ids=str
)
def test_exact_on_integers(shape, rng, dtype):
    """Pairs of neighbours m + s, m - s with a power of two s: all that follows is exact."""
    per_channel = (1, shape[1], *(1,) * (len(shape) - 2))
    axis = -1 if len(shape) > 2 else 0
    first = rng.choice([-1.0, 1.0], [n // 2 if a == axis % len(shape) else n
                                     for a, n in enumerate(shape)])  # fmt: skip
    signs = np.stack([first, -first], axis=len(shape) if axis else 1).reshape(shape).astype(dtype)
    middle = integers(rng, per_channel, dtype, 100)
    step = 2.0 ** rng.integers(0, 3, per_channel)
    x = (middle + step * signs).astype(dtype)
    gamma, beta = (integers(rng, (shape[1],), dtype) for _ in range(2))
    dy = integers(rng, shape, dtype)

    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta, eps=0)
    assert_same(mean, middle.ravel().astype(F8))
    assert_same(inv_std, 1 / step.ravel())
    assert_same(y, gamma.reshape(per_channel) * signs + beta.reshape(per_channel))
    got = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)
    for a, b in zip(got, reference.batch_norm_backward(dy, x, gamma, mean, inv_std), strict=True):
        assert_same(a, b)
    m, var = mean.astype(dtype), (step.ravel() ** 2).astype(dtype)
    assert_same(ops.batch_norm(x, gamma, beta, m, var, eps=0), y)


def test_a_wrong_element_is_seen(rng):
    x, dy, gamma, beta = inputs(rng, (4, 3, 5, 5), np.float32)
    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
    y[2, 1, 3, 3] += 1e-4
    with pytest.raises(AssertionError):
        assert_close(y, reference.batch_norm_forward(*wide(x, gamma, beta))[0], 4e-6)
    dx = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)[0]
    expected = reference.batch_norm_backward(*wide(dy, x, gamma), mean, inv_std)[0]
    assert_close(dx, expected, 4e-6)
    dx[0, 0, 0, 0] *= 1.001
    with pytest.raises(AssertionError):
        assert_close(dx, expected, 4e-6)


@pytest.mark.parametrize("shape", [(16, 3, 20, 20), (2, 2, 90, 90), (400, 9)], ids=str)
@pytest.mark.parametrize("digits", [2, 4])
def test_a_large_mean_and_a_small_variance(shape, digits, rng, dtype):
    """A mean of 10**digits deviations: sum(x**2) - sum(x)**2 / n would have lost all of them.

    float32 holds x itself to ulp(mean), so the expected value is that of the rounded x.
    """
    big = 10.0**digits if dtype == np.float32 else 1e8 * 10.0**digits
    x, dy, gamma, beta = inputs(rng, shape, dtype, mean=big)
    _, mean, inv_std = ops.batch_norm_forward(x, None, None, eps=0)
    axes = (0, *range(2, x.ndim))
    shifted = x.astype(np.longdouble) - big  # exact
    exact = (shifted.mean(axes) + big).astype(F8)
    close = 1e-7 if dtype == np.float32 else 1e-15  # of a deviation, beside an ulp of the mean
    np.testing.assert_allclose(mean, exact, rtol=1e-15, atol=close * float(shifted.std()))
    np.testing.assert_allclose(inv_std**-2, shifted.var(axes).astype(F8), rtol=3e-5)

    expected = reference.batch_norm_forward(shifted.astype(F8), *wide(gamma, beta))
    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
    # float64: the joined mean has an ulp of 1e12 deviations to it
    tolerance = {2: 1e-5, 4: 1e-5}[digits] if dtype == np.float32 else 1e-3
    assert_close(y, expected[0], tolerance)
    got = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)
    wanted = reference.batch_norm_backward(dy.astype(F8), shifted.astype(F8), gamma.astype(F8),
                                           *expected[1:])  # fmt: skip
    assert_close(got[0], wanted[0], tolerance)
    for a, b in zip(got[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * x.size / x.shape[1], rtol=tolerance)


@pytest.mark.parametrize("shape", [(9, 2, 80, 80), (40, 3, 20, 20), (1500, 5)], ids=str)
@pytest.mark.parametrize("first", [0.0, 1e3, -1e5])
def test_images_that_differ_in_their_mean(shape, first, rng, dtype):
    """The first images, constant and far from the rest, are a bad center for all others."""
    x = normal(rng, shape, dtype)
    x[: shape[0] // 3] = first
    axes = (0, *range(2, x.ndim))
    _, mean, inv_std = ops.batch_norm_forward(x, None, None)
    wide_x = x.astype(np.longdouble)
    deviation = np.sqrt(wide_x.var(axes) + 1e-5)
    assert (np.abs(mean - wide_x.mean(axes)) < 1e-6 * deviation).all()
    np.testing.assert_allclose(inv_std, (1 / deviation).astype(F8), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e4, 3e30])
@pytest.mark.parametrize("shape", [(7, 2, 30, 30), (300, 5)], ids=str)
def test_a_constant_channel_gives_beta(value, shape, dtype):
    x = np.full(shape, value, dtype)
    beta = np.arange(1, shape[1] + 1, dtype=dtype)
    y, mean, inv_std = ops.batch_norm_forward(x, None, beta)
    np.testing.assert_allclose(mean, dtype.type(value), rtol=1e-14)
    expected = np.broadcast_to(beta.reshape(-1, *(1,) * (x.ndim - 2)), shape)
    if abs(value) < 1e30:
        np.testing.assert_allclose(inv_std, 1e5**0.5, rtol=1e-6)
        np.testing.assert_allclose(y, expected, rtol=1e-5)


def test_gamma_and_beta_may_be_missing(rng, dtype):
    x, dy, _, _ = inputs(rng, (3, 4, 5, 6), dtype)
    one, zero = np.ones(4, dtype), np.zeros(4, dtype)
    for gamma, beta in ((None, None), (one, None), (None, zero)):
        for a, b in zip(
            ops.batch_norm_forward(x, gamma, beta), ops.batch_norm_forward(x, one, zero),
            strict=True,
        ):  # fmt: skip
            assert_same_bits(a, b)
        assert_same_bits(
            ops.batch_norm(x, gamma, beta, one, one), ops.batch_norm(x, one, zero, one, one)
        )
    _, mean, inv_std = ops.batch_norm_forward(x, None, None)
    for a, b in zip(
        ops.batch_norm_backward(dy, x, None, mean, inv_std),
        ops.batch_norm_backward(dy, x, one, mean, inv_std),
        strict=True,
    ):
        assert_same_bits(a, b)


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_statistics_of_nothing(shape, dtype):
    y, mean, inv_std = ops.batch_norm_forward(np.zeros(shape, dtype), None, None, eps=0.25)
    assert y.shape == shape
    assert mean.tolist() == [0.0] * shape[1] and inv_std.tolist() == [2.0] * shape[1]
    dx, dgamma, dbeta = ops.batch_norm_backward(y, y, None, mean, inv_std)
    assert dx.shape == shape
    assert dgamma.tolist() == dbeta.tolist() == [0.0] * shape[1]


@pytest.mark.parametrize("shape", [(5, 4, 9, 9), (6, 19)], ids=str)
def test_nan_stays_in_its_channel(shape, rng, dtype):
    x, dy, gamma, beta = inputs(rng, shape, dtype)
    clean = ops.batch_norm_forward(x, gamma, beta)[0]
    x[(3, 2, *(1,) * (x.ndim - 2))] = np.nan
    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
    others = np.arange(shape[1]) != 2
    assert np.isnan(y[:, 2]).all() and np.isnan(mean[2]) and np.isnan(inv_std[2])
    assert_same_bits(y[:, others], clean[:, others])
    dx, dgamma, dbeta = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)
    assert np.isnan(dx[:, 2]).all() and np.isnan(dgamma[2]) and not np.isnan(dbeta).any()
    assert not np.isnan(dx[:, others]).any()


@pytest.mark.parametrize("shape", [(4, 5, 6, 7), (4, 21)], ids=str)
def test_layouts(shape, rng, dtype):
    x, dy, gamma, beta = inputs(rng, shape, dtype)
    y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
    gradients = ops.batch_norm_backward(dy, x, gamma, mean, inv_std)
    for other_x, other_dy in zip(layouts(x).values(), layouts(dy).values(), strict=True):
        assert_same_bits(ops.batch_norm_forward(other_x, gamma, beta)[0], y)
        again = ops.batch_norm_backward(other_dy, other_x, gamma, mean, inv_std)
        for a, b in zip(again, gradients, strict=True):
            assert_same_bits(a, b)
    for other in layouts(gamma).values():
        assert_same_bits(ops.batch_norm_forward(x, other, beta)[0], y)


@pytest.mark.parametrize("shape", [(8, 13, 20, 20), (2, 3, 200, 200), (700, 100)], ids=str)
def test_same_bits_at_any_thread_count(shape, rng, dtype):
    x, dy, gamma, beta = inputs(rng, shape, dtype)

    def everything():
        y, mean, inv_std = ops.batch_norm_forward(x, gamma, beta)
        m, v = mean.astype(dtype), np.ones_like(gamma)
        return (
            y, mean, inv_std, *ops.batch_norm_backward(dy, x, gamma, mean, inv_std),
            ops.batch_norm(x, gamma, beta, m, v),
        )  # fmt: skip

    with fastcnn.threads(1):
        expected = everything()
    for n in THREADS[1:]:
        with fastcnn.threads(n):
            for a, b in zip(everything(), expected, strict=True):
                assert_same_bits(a, b)


@pytest.mark.parametrize("shape", [(33, 5, 6, 7), (33, 21)], ids=str)
def test_inference_does_not_depend_on_the_batch(shape, rng, dtype):
    x, _, gamma, beta = inputs(rng, shape, dtype)
    mean, var = beta, np.abs(gamma)
    y = ops.batch_norm(x, gamma, beta, mean, var)
    for n in (1, 2, 7, 32):
        assert_same_bits(ops.batch_norm(x[:n], gamma, beta, mean, var), y[:n])
        assert_same_bits(ops.batch_norm(x[-n:], gamma, beta, mean, var), y[-n:])


@pytest.mark.parametrize("shape", [(5, 6, 4, 5), (9, 21)], ids=str)
def test_channels_do_not_know_each_other(shape, rng, dtype):
    x, _, gamma, beta = inputs(rng, shape, dtype)
    y = ops.batch_norm_forward(x, gamma, beta)[0]
    for c in range(shape[1]):
        one = slice(c, c + 1)
        assert_same_bits(ops.batch_norm_forward(x[:, one], gamma[one], beta[one])[0], y[:, one])


X, V = np.zeros((2, 3, 4, 4), np.float32), np.ones(3, np.float32)
D = np.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.batch_norm(V, V, V, V, V), ValueError, r"batch_norm: .* x of shape \(N, C\)"),
        (lambda m: m.batch_norm(X.astype(int), V, V, V, V), TypeError, "float32 or float64"),
        (lambda m: m.batch_norm(X, V[:2], V, V, V), ValueError, r"gamma.shape == \(3,\)"),
        (lambda m: m.batch_norm(X, V, D, V, V), TypeError, "beta to be float32, got float64"),
        (lambda m: m.batch_norm(X, V, V, V[None], V), ValueError, r"running_mean.shape == \(3,\)"),
        (lambda m: m.batch_norm(X, V, V, V, D), TypeError, "running_var to be float32"),
        (lambda m: m.batch_norm(X, V, V, V, V, eps=-1), ValueError, "eps .*>= 0"),
        (lambda m: m.batch_norm_forward(X, V, V, eps=np.nan), ValueError, "forward: .*eps"),
        (lambda m: m.batch_norm_forward(X, V, V[:1]), ValueError, "beta.shape"),
        (lambda m: m.batch_norm_forward(V, V, V), ValueError, "batch_norm_forward: expected x"),
        (lambda m: m.batch_norm_backward(X[1:], X, V, D, D), ValueError, "dy.shape"),
        (lambda m: m.batch_norm_backward(D, X, V, D, D), TypeError, "dy to be float32"),
        (lambda m: m.batch_norm_backward(X, X, V, V, D), TypeError, "mean to be float64"),
        (lambda m: m.batch_norm_backward(X, X, V, D, D[:2]), ValueError, "inv_std.shape"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("module", [ops, reference], ids=["ops", "reference"])
def test_refusals(module, call, error, message):
    with pytest.raises(error, match=message):
        call(module)
