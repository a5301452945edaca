"""Activations and softmax against the reference: values, gradients, layouts, threads, NaN."""

from collections.abc import Callable

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

# Sizes around a vector, around a chunk of 16384 elements, and nothing at all.
SHAPES = [(0,), (1,), (3, 5), (2, 3, 7, 9), (16,), (17,), (16383,), (16385,), (5, 0, 2)]
SIMPLE = ["relu", "leaky_relu", "elu", "sigmoid", "tanh"]
SOFTMAX = ["softmax", "log_softmax"]
# What the backward pass is given besides dy.
SAVES_INPUT = {"leaky_relu", "elu"}
TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 4e-15}


def saved(name: str, x: np.ndarray) -> np.ndarray:
    return x if name in SAVES_INPUT else getattr(reference, name)(x)


def ulps(got: np.ndarray, exact: np.ndarray) -> float:
    """The largest error in units in the last place of got's dtype."""
    unit = np.spacing(np.abs(exact.astype(got.dtype))).astype(np.longdouble)
    return float(np.max(np.abs(got.astype(np.longdouble) - exact) / unit))


# ---- element by element ----


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SIMPLE)
def test_matches_reference(name: str, shape: tuple, rng: np.random.Generator, dtype: np.dtype):
    x, dy = normal(rng, shape, dtype), normal(rng, shape, dtype)
    tolerance = TOLERANCE[dtype]
    expected = getattr(reference, name)(x)
    assert_close(getattr(ops, name)(x), expected, tolerance, zeros=0.7)
    s = saved(name, x)
    got = getattr(ops, name + "_backward")(dy, s)
    assert_close(got, getattr(reference, name + "_backward")(dy, s), tolerance, zeros=0.7)


@pytest.mark.parametrize("slope", [0.01, 0.5, 0.0, -2, np.float32(3)])
def test_relu_and_leaky_relu_are_exact(slope: float, rng: np.random.Generator, dtype: np.dtype):
    x, dy = integers(rng, (7, 33), dtype), integers(rng, (7, 33), dtype)
    assert_same(ops.relu(x), reference.relu(x), zeros=0.7)
    assert_same(ops.relu_backward(dy, x), np.where(x > 0, dy, 0), zeros=0.7)
    s = dtype.type(slope)
    assert_same(ops.leaky_relu(x, slope), np.where(x > 0, x, s * x), zeros=0.7)
    assert_same(ops.leaky_relu_backward(dy, x, slope), np.where(x > 0, dy, s * dy), zeros=0.7)


def test_relu_in_place(rng: np.random.Generator, dtype: np.dtype):
    x, dy = normal(rng, (7, 33), dtype), normal(rng, (7, 33), dtype)
    y, dx = reference.relu(x), reference.relu_backward(dy, x)
    assert ops.relu(x, out=x) is x
    assert_same(x, y, zeros=0.7)
    assert ops.relu_backward(dy, x, out=dy) is dy
    assert_same(dy, dx, zeros=0.7)
    with pytest.raises(ValueError, match="share no memory"):
        ops.relu_backward(dy, x, out=x)


def test_a_wrong_element_is_seen(rng: np.random.Generator):
    x = normal(rng, (50,), np.float32)
    y = ops.tanh(x)
    y[31] *= 1 + 1e-4
    with pytest.raises(AssertionError):
        assert_close(y, reference.tanh(x), TOLERANCE[x.dtype])


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "elu"])
def test_a_few_units_in_the_last_place(name: str, dtype: np.dtype):
    """Over the whole range, near zero, and down to tiny arguments, against long double."""
    most = 85 if dtype == np.float32 else 700
    x = np.concatenate(
        [
            np.linspace(-most, most, 20011),
            np.linspace(-1, 1, 20011),
            np.geomspace(1e-30, 1, 999),
            -np.geomspace(1e-30, 1, 999),
        ]
    ).astype(dtype)
    wide = x.astype(np.longdouble)
    e = np.exp(-np.abs(wide))
    exact = {
        "tanh": np.tanh(wide),
        "sigmoid": np.where(wide >= 0, 1 / (1 + e), e / (1 + e)),
        "elu": np.where(wide > 0, wide, np.expm1(np.minimum(wide, 0))),
    }
    assert ulps(getattr(ops, name)(x), exact[name]) < 4


def test_exp_through_log_softmax(dtype: np.dtype):
    """exp, which log_softmax_backward exposes as dy - exp(y) * sum(dy), to 3 units."""
    most = 87 if dtype == np.float32 else 708
    y = np.linspace(-most, most, 10007).astype(dtype)[:, None]
    dy = np.zeros_like(y)
    y, dy = np.hstack([y, y]), np.hstack([dy, dy + 1])
    got = -ops.log_softmax_backward(dy, y)[:, 0]
    assert ulps(got, np.exp(y[:, 0].astype(np.longdouble))) < 3


@pytest.mark.parametrize("position", [0, 1, 8, 16, 19])
@pytest.mark.parametrize("name", SIMPLE)
def test_nan_stays_visible(name: str, position: int, rng: np.random.Generator, dtype: np.dtype):
    x, dy = normal(rng, (20,), dtype), normal(rng, (20,), dtype)
    with_nan = x.copy()
    with_nan[position] = np.nan
    y = getattr(ops, name)(with_nan)
    only_there = np.arange(20) == position
    np.testing.assert_array_equal(np.isnan(y), only_there)
    assert_same_bits(y[~only_there], getattr(ops, name)(x)[~only_there])
    dy[position] = np.nan
    got = getattr(ops, name + "_backward")(dy, np.full(20, 0.5, dtype))
    np.testing.assert_array_equal(np.isnan(got), only_there)


def test_relu_gradient_passes_at_nan_and_stops_at_zero(dtype: np.dtype):
    y = np.array([np.nan, 0.0, -0.0, np.inf, -np.inf, 1e-30], dtype)
    dy = np.array([1, 2, 3, 4, 5, 6], dtype)
    assert_same(ops.relu_backward(dy, y), np.array([1, 0, 0, 4, 0, 6], dtype))


@pytest.mark.parametrize(
    ("name", "at_minus_inf", "at_inf"),
    [
        ("relu", 0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("elu", -1, np.inf),
        ("sigmoid", 0, 1),
        ("tanh", -1, 1),
    ],
)
def test_infinities(name: str, at_minus_inf: float, at_inf: float, dtype: np.dtype):
    big = np.finfo(dtype).max
    got = getattr(ops, name)(np.array([-np.inf, np.inf, -big, big], dtype))
    assert (got[0], got[1]) == (at_minus_inf, at_inf)
    if name in ("sigmoid", "tanh"):
        assert (got[2], got[3]) == (at_minus_inf, at_inf)


def test_signed_zero(dtype: np.dtype):
    zeros = np.array([0.0, -0.0], dtype)
    np.testing.assert_array_equal(np.signbit(ops.tanh(zeros)), [False, True])


@pytest.mark.parametrize("name", [*SIMPLE, *SOFTMAX])
def test_layouts(name: str, rng: np.random.Generator, dtype: np.dtype):
    x, dy = normal(rng, (3, 4, 5, 6), dtype), normal(rng, (3, 4, 5, 6), dtype)
    forward, backward = getattr(ops, name), getattr(ops, name + "_backward")
    y, dx = forward(x), backward(dy, x)
    for other_x, other_dy in zip(layouts(x).values(), layouts(dy).values(), strict=True):
        assert_same_bits(forward(other_x), y)
        assert_same_bits(backward(other_dy, other_x), dx)


@pytest.mark.parametrize("name", [*SIMPLE, *SOFTMAX])
def test_same_bits_at_any_thread_count(name: str, rng: np.random.Generator, dtype: np.dtype):
    x, dy = normal(rng, (97, 101, 61), dtype), normal(rng, (97, 101, 61), dtype)
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            results.append((getattr(ops, name)(x), getattr(ops, name + "_backward")(dy, x)))
    for y, dx in results[1:]:
        assert_same_bits(y, results[0][0])
        assert_same_bits(dx, results[0][1])


def test_relu_out(rng: np.random.Generator, dtype: np.dtype):
    x = normal(rng, (40,), dtype)
    out = np.full_like(x, np.nan)
    assert ops.relu(x, out=out) is out
    assert_same(out, reference.relu(x), zeros=0.7)
    expected = reference.relu(x)
    assert ops.relu(x, out=x) is x
    assert_same(x, expected, zeros=0.7)


@pytest.mark.parametrize("name", SIMPLE)
def test_gradients(name: str, rng: np.random.Generator):
    x = normal(rng, (4, 5), np.float64)
    x += np.sign(x) * 0.1  # away from the kink
    dy = normal(rng, (4, 5), np.float64)
    forward = getattr(ops, name)
    expected = numerical_gradient(lambda: float((forward(x) * dy).sum()), x)
    given = x if name in SAVES_INPUT else forward(x)
    assert_close(getattr(ops, name + "_backward")(dy, given), expected, 1e-8, zeros=0.8)


# ---- PReLU, the step ----

SLOPES = [((3, 5), 1), ((0, 5), 5), ((7, 33), 33), ((2, 3, 7, 9), 3), ((2, 1, 40001), 1)]
SLOPES += [
    ((300, 77), 77),
    ((300, 1, 1, 77), 1),
    ((0, 3), 3),
    ((3, 2, 16385), 2),
    ((5, 4, 0), 4),
    ((17,), 1),
    ((130, 3, 4, 4), 3),
]


@pytest.mark.parametrize(("shape", "slopes"), SLOPES, ids=str)
def test_prelu_matches_reference(
    shape: tuple, slopes: int, rng: np.random.Generator, dtype: np.dtype
):
    x, dy, w = (normal(rng, s, dtype) for s in (shape, shape, (slopes,)))
    assert_close(ops.prelu(x, w), reference.prelu(x, w), TOLERANCE[dtype], zeros=0.7)
    dx, dw = ops.prelu_backward(dy, x, w)
    wide = [a.astype(np.float64) for a in (dy, x, w)]
    assert_close(dx, reference.prelu_backward(dy, x, w)[0], TOLERANCE[dtype], zeros=0.7)
    assert_close(dw, reference.prelu_backward(*wide)[1], 20 * TOLERANCE[dtype], zeros=1)


def test_prelu_with_one_slope_is_leaky_relu(rng: np.random.Generator, dtype: np.dtype):
    x, dy, w = normal(rng, (3, 40, 7), dtype), normal(rng, (3, 40, 7), dtype), dtype.type([0.3])
    assert_same_bits(ops.prelu(x, w), ops.leaky_relu(x, w[0]))
    assert_same_bits(ops.prelu_backward(dy, x, w)[0], ops.leaky_relu_backward(dy, x, w[0]))


def test_prelu_gradients(rng: np.random.Generator):
    x, dy, w = (normal(rng, s, np.float64) for s in ((4, 3, 5), (4, 3, 5), (3,)))
    x += np.sign(x) * 0.1  # away from the kink
    dx, dw = ops.prelu_backward(dy, x, w)

    def loss() -> float:
        return float((ops.prelu(x, w) * dy).sum())

    assert_close(dx, numerical_gradient(loss, x), 1e-8)
    assert_close(dw, numerical_gradient(loss, w), 1e-8)


def test_prelu_same_bits_at_any_thread_count(rng: np.random.Generator, dtype: np.dtype):
    x, dy, w = (normal(rng, s, dtype) for s in ((7, 11, 90, 100), (7, 11, 90, 100), (11,)))
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            results.append((ops.prelu(x, w), *ops.prelu_backward(dy, x, w)))
    for result in results[1:]:
        for got, first in zip(result, results[0], strict=True):
            assert_same_bits(got, first)


def test_prelu_layouts_and_nan(rng: np.random.Generator, dtype: np.dtype):
    x, dy, w = (normal(rng, s, dtype) for s in ((3, 4, 5, 6), (3, 4, 5, 6), (4,)))
    y, (dx, dw) = ops.prelu(x, w), ops.prelu_backward(dy, x, w)
    for other_x, other_dy in zip(layouts(x).values(), layouts(dy).values(), strict=True):
        assert_same_bits(ops.prelu(other_x, w), y)
        for got, value in zip(ops.prelu_backward(other_dy, other_x, w), (dx, dw), strict=True):
            assert_same_bits(got, value)
    x[1, 2, 3, 4] = np.nan
    assert np.isnan(ops.prelu(x, w)).sum() == 1
    np.testing.assert_array_equal(np.isnan(ops.prelu_backward(dy, x, w)[1]), [0, 0, 1, 0])


@pytest.mark.parametrize("function", [ops.prelu, reference.prelu], ids=["ops", "reference"])
def test_prelu_refuses_slopes_that_do_not_fit(function: Callable):
    x = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"expected x of shape \(N, 2, \.\.\.\)"):
        function(x, np.zeros(2, np.float32))
    with pytest.raises(ValueError, match="weight to have 1 dimensions"):
        function(x, np.zeros((3, 1), np.float32))
    with pytest.raises(TypeError, match="weight to be float32"):
        function(x, np.zeros(3))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_step(shape: tuple, rng: np.random.Generator, dtype: np.dtype):
    x = integers(rng, shape, dtype)
    assert_same(ops.step(x), reference.step(x), zeros=1)
    at = np.array([np.nan, -0.0, 0.0, 1e-40, np.inf, -np.inf], dtype)
    np.testing.assert_array_equal(ops.step(at)[[0, 1, 2, 4, 5]], [np.nan, 0, 0, 1, 0])


# ---- softmax ----

AXES = [((4, 10), -1), ((4, 10), 0), ((3, 5, 7), 1), ((2, 3, 4, 5), -3), ((1000, 3), 0), ((37,), 0)]


@pytest.mark.parametrize(("shape", "axis"), AXES, ids=str)
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_matches_reference(
    name: str, shape: tuple, axis: int, rng: np.random.Generator, dtype: np.dtype
):
    x, dy = 3 * normal(rng, shape, dtype), normal(rng, shape, dtype)
    tolerance = 16 * TOLERANCE[dtype]
    y = getattr(reference, name)(x.astype(np.float64), axis).astype(dtype)
    assert_close(getattr(ops, name)(x, axis), y, tolerance)
    backward = name + "_backward"
    expected = getattr(reference, backward)(dy, y, axis)
    assert_close(getattr(ops, backward)(dy, y, axis), expected, tolerance)


@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 1000])
@pytest.mark.parametrize("name", SOFTMAX)
def test_each_row_length_and_the_same_along_columns(
    name: str, classes: int, rng: np.random.Generator, dtype: np.dtype
):
    x = normal(rng, (5, classes), dtype)
    y = getattr(ops, name)(x)
    np.testing.assert_allclose(
        y, getattr(reference, name)(x.astype(np.float64)), rtol=8 * np.finfo(dtype).eps,
        atol=8 * np.finfo(dtype).eps,
    )  # fmt: skip
    columns = getattr(ops, name)(np.ascontiguousarray(x.T), axis=0).T
    np.testing.assert_allclose(columns, y, rtol=0, atol=8 * np.finfo(dtype).eps * abs(y).max())


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_does_not_overflow(name: str, axis: int, dtype: np.dtype):
    big = np.finfo(dtype).max / 4
    x = np.array([[big, big, -big], [1e4, 1e4, -1e4], [-1e4, -1e4, -np.inf]], dtype)
    half = [0.5, 0.5, 0.0]
    y = getattr(ops, name)(np.ascontiguousarray(x.T) if axis == 0 else x, axis)
    y = y.T if axis == 0 else y
    if name == "softmax":
        assert_same(y, np.array([half] * 3, dtype))
    else:
        np.testing.assert_allclose(y[:, :2], np.log(0.5), rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("position", [0, 7, 16, 18])
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_with_nan(
    name: str, position: int, axis: int, rng: np.random.Generator, dtype: np.dtype
):
    x = normal(rng, (3, 19), dtype)
    x[1, position] = np.nan
    y = getattr(ops, name)(np.ascontiguousarray(x.T) if axis == 0 else x, axis)
    y = y.T if axis == 0 else y
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


@pytest.mark.parametrize("name", SOFTMAX)
def test_a_row_does_not_depend_on_its_neighbours(
    name: str, rng: np.random.Generator, dtype: np.dtype
):
    x, dy = normal(rng, (33, 10), dtype), normal(rng, (33, 10), dtype)
    forward, backward = getattr(ops, name), getattr(ops, name + "_backward")
    y, dx = forward(x), backward(dy, x)
    for i in range(33):
        assert_same_bits(forward(x[i : i + 1])[0], y[i])
        assert_same_bits(backward(dy[i : i + 1], x[i : i + 1])[0], dx[i])


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_softmax_gradients(name: str, axis: int, rng: np.random.Generator):
    x, dy = normal(rng, (3, 4, 5), np.float64), normal(rng, (3, 4, 5), np.float64)
    forward = getattr(ops, name)
    expected = numerical_gradient(lambda: float((forward(x, axis) * dy).sum()), x)
    got = getattr(ops, name + "_backward")(dy, forward(x, axis), axis)
    assert_close(got, expected, 1e-8)


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize(("shape", "axis"), [((0, 5), 1), ((5, 0), 1), ((0, 5), 0), ((2, 0, 3), 1)])
def test_softmax_of_nothing(name: str, shape: tuple, axis: int, dtype: np.dtype):
    x = np.zeros(shape, dtype)
    assert getattr(ops, name)(x, axis).shape == shape
    assert getattr(ops, name + "_backward")(x, x, axis).shape == shape


# ---- what is refused ----


@pytest.mark.parametrize("name", [*SIMPLE, *SOFTMAX])
def test_bad_arguments(name: str):
    forward, backward = getattr(ops, name), getattr(ops, name + "_backward")
    x = np.zeros((2, 3), np.float32)
    for bad in (np.arange(3), [1, 2], np.zeros(3, np.float16), np.zeros(3, complex), "x", None):
        with pytest.raises(TypeError, match=rf"^{name}: expected x to be float32 or float64"):
            forward(bad)
    with pytest.raises(TypeError, match=rf"^{name}_backward: expected dy to be float32"):
        backward(x.astype(np.float64), x)
    with pytest.raises(ValueError, match=rf"^{name}_backward: expected dy.shape == \(2, 3\)"):
        backward(x[:, :2], x)


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("axis", [2, -3, 2**31, 2**62, 1.0, None, True, "1"])
def test_bad_axis(name: str, axis: object):
    x = np.zeros((2, 3), np.float32)
    for call in (
        lambda: getattr(ops, name)(x, axis),
        lambda: getattr(ops, name + "_backward")(x, x, axis),
    ):
        with pytest.raises(ValueError, match="expected axis"):
            call()


@pytest.mark.parametrize("slope", [np.nan, np.inf, "0.1", None, True, [0.1], 1j])
def test_bad_slope(slope: object):
    x = np.zeros(3, np.float32)
    calls: list[Callable[[], object]] = [
        lambda: ops.leaky_relu(x, slope),
        lambda: ops.leaky_relu_backward(x, x, slope),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="expected negative_slope to be a finite number"):
            call()


def test_bad_out():
    x = np.zeros((2, 3), np.float32)
    for bad in (np.zeros((3, 2), np.float32), np.zeros((2, 3)), [[0.0] * 3] * 2, x.T.copy().T):
        with pytest.raises(ValueError, match=r"^relu: expected out to be"):
            ops.relu(x, out=bad)
    line = np.zeros(10, np.float32)
    with pytest.raises(ValueError, match=r"^relu: expected out to share no memory"):
        ops.relu(line[:-1], out=line[1:])
