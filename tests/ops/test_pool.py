"""Pooling against the reference: values, indices, gradients, NaN, ties, padding, bad arguments."""

from typing import Any

import numpy as np
import pytest
from helpers import (
    THREADS,
    assert_close,
    assert_same,
    assert_same_bits,
    distinct,
    integers,
    layouts,
    normal,
    numerical_gradient,
)
from hypothesis import given
from hypothesis import strategies as st

import fastcnn
from fastcnn import _checks, ops, reference

TOLERANCE = {np.dtype(np.float32): 2e-6, np.dtype(np.float64): 4e-15}

# (N, C, H, W), kernel, stride, padding, dilation, ceil_mode. Widths around a vector of 2 to 16.
GEOMETRIES = [
    # nets
    ((2, 3, 28, 28), 2, 2, 0, 1, False),
    ((2, 3, 10, 10), 2, 2, 0, 1, False),
    ((1, 2, 56, 56), 3, 2, 1, 1, False),
    ((1, 2, 55, 55), 3, 2, 0, 1, False),
    ((2, 2, 14, 14), 3, 1, 1, 1, False),
    ((1, 2, 28, 28), 3, 2, 0, 1, True),
    ((1, 3, 13, 13), 5, 1, 2, 1, False),
    ((1, 2, 13, 13), 13, 1, 6, 1, False),
    # windows that do not divide, single rows and columns, gaps between windows
    ((1, 3, 7, 9), 2, 2, 0, 1, False),
    ((1, 3, 7, 9), 2, 2, 0, 1, True),
    ((1, 2, 37, 70), 2, 2, 0, 1, True),  # more rows than a strip has
    ((1, 2, 40, 75), 3, 2, ((0, 1), (1, 0)), 1, True),
    ((1, 2, 5, 35), 3, 3, 1, 1, True),
    ((1, 2, 9, 70), (1, 2), (3, 2), 0, 1, False),
    ((1, 2, 3, 41), (2, 5), (1, 2), (1, 2), 1, False),
    ((1, 2, 6, 33), (3, 4), (2, 1), (1, 2), 1, True),
    ((1, 1, 1, 40), (1, 4), (1, 2), (0, 1), 1, True),
    ((3, 1, 40, 1), (4, 1), (2, 1), (2, 0), 1, False),
    ((1, 2, 11, 37), 1, 2, 0, 1, False),
    ((2, 1, 8, 8), 8, None, 0, 1, False),
    ((1, 2, 20, 20), 4, 5, 2, 1, False),
    ((1, 2, 12, 34), 3, 1, ((1, 0), (0, 1)), 1, False),
    ((1, 2, 12, 34), 3, 2, ((0, 1), (1, 0)), 1, True),
    ((1, 2, 9, 20), 3, 2, "same", 1, False),
    ((2, 1, 2, 2), 3, 2, 0, 1, True),  # a window larger than the image, in ceil mode
    # dilation
    ((1, 2, 15, 40), 3, 1, 1, 2, False),
    ((1, 2, 15, 40), 3, 2, 1, (3, 2), False),
    ((1, 2, 15, 40), (2, 3), (1, 1), 1, (4, 5), True),
    ((1, 2, 15, 40), 2, 3, 1, 3, False),
]


def options(stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> dict[str, Any]:
    return {
        "stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode
    }  # fmt: skip


def undilated(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in kwargs.items() if key != "dilation"}


# ---- against the reference ----


@pytest.mark.parametrize("shape, kernel, stride, padding, dilation, ceil_mode", GEOMETRIES)
def test_max_pool_is_exact(shape, kernel, stride, padding, dilation, ceil_mode, rng, dtype):
    """Values, indices and gradients, with and without ties; overlapping gradients are summed."""
    kwargs = options(stride, padding, dilation, ceil_mode)
    for x in (distinct(rng, shape, dtype), integers(rng, shape, dtype)):
        y, indices = ops.max_pool2d(x, kernel, **kwargs)
        expected, expected_indices = reference.max_pool2d(x, kernel, **kwargs)
        assert y.dtype == dtype and indices.dtype == np.int32
        if expected.size > 1:
            np.testing.assert_array_equal(indices, expected_indices)
        np.testing.assert_array_equal(y, expected)
        dy = integers(rng, y.shape, dtype)
        got = ops.max_pool2d_backward(dy, indices, shape, kernel, **kwargs)
        expected = reference.max_pool2d_backward(dy, expected_indices, shape, kernel, **kwargs)
        assert_same(got, expected, zeros=0.99)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("shape, kernel, stride, padding, dilation, ceil_mode", GEOMETRIES)
def test_avg_pool(
    shape, kernel, stride, padding, dilation, ceil_mode, count_include_pad, rng, dtype
):
    kwargs = undilated(options(stride, padding, dilation, ceil_mode))
    kwargs["count_include_pad"] = count_include_pad
    x = normal(rng, shape, dtype)
    y = ops.avg_pool2d(x, kernel, **kwargs)
    assert y.dtype == dtype
    assert_close(y, reference.avg_pool2d(x.astype(np.float64), kernel, **kwargs), TOLERANCE[dtype])
    dy = normal(rng, y.shape, dtype)
    expected = reference.avg_pool2d_backward(dy.astype(np.float64), shape, kernel, **kwargs)
    got = ops.avg_pool2d_backward(dy, shape, kernel, **kwargs)
    assert_close(got, expected, TOLERANCE[dtype], zeros=0.9)


def test_avg_pool_of_a_constant_is_exact(dtype):
    """Divisors count what they should: with padding excluded a constant stays what it is."""
    x = np.full((1, 1, 9, 37), 3, dtype)
    for stride in (1, 2, 3):
        y = ops.avg_pool2d(x, 3, stride, 1, True, False)
        np.testing.assert_array_equal(y, np.full_like(y, 3))
    y = ops.avg_pool2d(x, 3, 1, 1)
    np.testing.assert_array_equal(y[0, 0, 1:-1, 1:-1], np.full((7, 35), 3))
    assert y[0, 0, 0, 0] == dtype.type(12) / dtype.type(9)


@pytest.mark.parametrize("shape", [(2, 3, 7, 7), (3, 2, 1, 1), (1, 5, 56, 56), (2, 2, 3, 100)])
def test_global_avg_pool(shape, rng, dtype):
    x = normal(rng, shape, dtype)
    y = ops.global_avg_pool2d(x)
    assert y.dtype == dtype
    assert_close(y, reference.global_avg_pool2d(x.astype(np.float64)), TOLERANCE[dtype])
    dy = normal(rng, y.shape, dtype)
    expected = reference.global_avg_pool2d_backward(dy, shape)
    assert_close(ops.global_avg_pool2d_backward(dy, shape), expected, TOLERANCE[dtype])


@given(data=st.data())
def test_any_geometry(data):
    """What the reference refuses is refused, the rest is equal."""
    pairs = st.tuples(st.integers(1, 5), st.integers(1, 5))
    sides = st.tuples(st.integers(0, 2), st.integers(0, 2))
    shape = data.draw(st.tuples(*(st.integers(0, n) for n in (2, 2, 9, 40))))
    kernel = data.draw(pairs)
    kwargs = options(
        data.draw(pairs), data.draw(st.tuples(sides, sides)), data.draw(pairs),
        data.draw(st.booleans()),
    )  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = integers(rng, shape, np.float32)
    x[rng.random(shape) < 0.05] = np.nan
    try:
        expected, at = reference.max_pool2d(x, kernel, **kwargs)
    except ValueError as error:
        with pytest.raises(ValueError) as caught:
            ops.max_pool2d(x, kernel, **kwargs)
        assert str(caught.value) == str(error)
        return
    y, indices = ops.max_pool2d(x, kernel, **kwargs)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, at)
    dy = integers(rng, y.shape, np.float32)
    np.testing.assert_array_equal(
        ops.max_pool2d_backward(dy, indices, shape, kernel, **kwargs),
        reference.max_pool2d_backward(dy, at, shape, kernel, **kwargs),
    )


# ---- finite differences ----

FOR_DIFFERENCES = [(3, 2, 1, True), (2, 2, 0, False), (3, 1, 1, False), (3, 3, 1, True)]


@pytest.mark.parametrize("kernel, stride, padding, ceil_mode", FOR_DIFFERENCES)
def test_max_pool_backward_is_the_gradient(kernel, stride, padding, ceil_mode, rng):
    shape = (1, 2, 5, 11)
    kwargs = options(stride, padding, 1, ceil_mode)
    x = distinct(rng, shape, np.float64)
    y, indices = ops.max_pool2d(x, kernel, **kwargs)
    dy = normal(rng, y.shape, np.float64)
    expected = numerical_gradient(lambda: (dy * ops.max_pool2d(x, kernel, **kwargs)[0]).sum(), x)
    got = ops.max_pool2d_backward(dy, indices, shape, kernel, **kwargs)
    assert_close(got, expected, 1e-7, zeros=0.9)


@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("kernel, stride, padding, ceil_mode", FOR_DIFFERENCES)
def test_avg_pool_backward_is_the_gradient(
    kernel, stride, padding, ceil_mode, count_include_pad, rng
):
    shape = (1, 2, 5, 11)
    kwargs = undilated(options(stride, padding, 1, ceil_mode))
    kwargs["count_include_pad"] = count_include_pad
    x = normal(rng, shape, np.float64)
    dy = normal(rng, ops.avg_pool2d(x, kernel, **kwargs).shape, np.float64)
    expected = numerical_gradient(lambda: (dy * ops.avg_pool2d(x, kernel, **kwargs)).sum(), x)
    assert_close(ops.avg_pool2d_backward(dy, shape, kernel, **kwargs), expected, 1e-7)


def test_global_avg_pool_backward_is_the_gradient(rng):
    x = normal(rng, (2, 3, 3, 5), np.float64)
    dy = normal(rng, (2, 3, 1, 1), np.float64)
    expected = numerical_gradient(lambda: (dy * ops.global_avg_pool2d(x)).sum(), x)
    assert_close(ops.global_avg_pool2d_backward(dy, x.shape), expected, 1e-7)


# ---- the rules: NaN, ties, padding ----


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5])
def test_nan_at_every_position(kernel, stride, rng, dtype):
    """One image per position of the NaN in a window; the gradient goes to it."""
    size = (kernel + stride, 40 * stride + kernel)
    positions = list(np.ndindex(kernel, kernel))
    for first_col in (0, 7 * stride, 40 * stride):  # in a border, a vector, a row's end
        x = distinct(rng, (len(positions), 1, *size), dtype)
        for image, (r, c) in enumerate(positions):
            x[image, 0, r, first_col + c] = np.nan
        y, indices = ops.max_pool2d(x, kernel, stride)
        dx = ops.max_pool2d_backward(np.ones_like(y), indices, x.shape, kernel, stride=stride)
        for image, (r, c) in enumerate(positions):
            assert np.isnan(y[image, 0, 0, first_col // stride])
            assert indices[image, 0, 0, first_col // stride] == r * size[1] + first_col + c
            assert dx[image, 0, r, first_col + c] == np.isnan(y[image]).sum()
        expected, expected_indices = reference.max_pool2d(x, kernel, stride)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)


def test_first_of_several_nans(rng, dtype):
    x = distinct(rng, (1, 1, 6, 50), dtype)
    x[0, 0, [1, 1, 2], [20, 21, 20]] = np.nan
    for kernel, stride in ((3, 1), (3, 2), (3, 3), (5, 1)):
        y, indices = ops.max_pool2d(x, kernel, stride)
        expected, expected_indices = reference.max_pool2d(x, kernel, stride)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(indices, expected_indices)
        assert 1 * 50 + 20 in indices


@pytest.mark.parametrize("value", [0.0, 1.5, -np.inf, np.inf, np.nan])
@pytest.mark.parametrize("kernel, padding", [(2, 0), (3, 1), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_ties_go_to_the_first_element_and_never_to_padding(value, kernel, padding, stride, dtype):
    h, w = 7, 41
    y, indices = ops.max_pool2d(np.full((1, 1, h, w), value, dtype), kernel, stride, padding)
    rows = np.maximum(np.arange(y.shape[2]) * stride - padding, 0)
    cols = np.maximum(np.arange(y.shape[3]) * stride - padding, 0)
    np.testing.assert_array_equal(indices[0, 0], rows[:, None] * w + cols)
    np.testing.assert_array_equal(y, np.full_like(y, value))


def test_negative_zero_ties_with_zero(dtype):
    x = np.array([[[[-0.0, 0.0, 0.0, -0.0]]]], dtype)
    y, indices = ops.max_pool2d(x, (1, 2))
    np.testing.assert_array_equal(indices, [[[[0, 2]]]])
    np.testing.assert_array_equal(np.signbit(y), [[[[True, False]]]])


def test_nan_gradients_stay_where_they_belong(rng, dtype):
    """A NaN or infinite gradient reaches the maximum of its window and nothing else."""
    x = distinct(rng, (1, 1, 8, 40), dtype)
    y, indices = ops.max_pool2d(x, 3, 1)
    dy = integers(rng, y.shape, dtype)
    dy[0, 0, 2, 17], dy[0, 0, 3, 30] = np.nan, np.inf
    got = ops.max_pool2d_backward(dy, indices, x.shape, 3, stride=1)
    expected = reference.max_pool2d_backward(dy, indices, x.shape, 3, stride=1)
    np.testing.assert_array_equal(got, expected)
    assert np.isnan(got).sum() == 1


@pytest.mark.parametrize("h", [2, 5, 20])
@pytest.mark.parametrize("w", [2, 3, 5, 7, 8, 13, 15, 17, 31])
def test_gradients_of_narrow_images(w, h, rng, dtype):
    """Rows of windows shorter than a vector, over many planes: each gradient lands at its index."""
    shape = (43, 9, h, w)
    y, indices = ops.max_pool2d(distinct(rng, shape, dtype), 2)
    dy = rng.choice(np.array([1, -2.5, 0, -0.0, np.nan, np.inf], dtype), y.shape)
    expected = np.zeros((43 * 9, h * w), dtype)
    places, values = (a.reshape(43 * 9, -1) for a in (indices.astype(int), dy + 0))
    np.put_along_axis(expected, places, values, 1)
    for n in THREADS:
        with fastcnn.threads(n):
            got = ops.max_pool2d_backward(dy, indices, shape, 2)
        assert_same_bits(got, expected.reshape(shape))


# ---- outputs, threads, batches, layouts ----


def dirty(shape: tuple[int, ...], dtype: Any, value: float) -> int:
    """Leave a block full of `value` for the next array of this size; returns its address."""
    a = _checks.empty("test", shape, dtype)
    a.fill(value)
    return a.ctypes.data


@pytest.mark.parametrize("kernel, stride, padding", [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 5, 0)])
def test_outputs_are_written_whole(kernel, stride, padding, rng, dtype):
    """Results land in blocks full of NaN, zeros between windows included."""
    shape = (5, 16, 60, 62)
    x = distinct(rng, shape, dtype)
    expected, at = reference.max_pool2d(x, kernel, stride, padding)
    places = dirty(expected.shape, dtype, np.nan), dirty(expected.shape, np.int32, -7)
    y, indices = ops.max_pool2d(x, kernel, stride, padding)
    if expected.nbytes >= 65536:
        assert y.ctypes.data in places
    assert_same(y, expected)
    np.testing.assert_array_equal(indices, at)

    dy = integers(rng, y.shape, dtype)
    kwargs = {"stride": stride, "padding": padding}
    place = dirty(shape, dtype, np.nan)
    dx = ops.max_pool2d_backward(dy, at, shape, kernel, **kwargs)
    assert dx.ctypes.data == place
    assert_same(dx, reference.max_pool2d_backward(dy, at, shape, kernel, **kwargs), zeros=0.99)
    del dx
    place = dirty(shape, dtype, np.nan)
    dx = ops.avg_pool2d_backward(dy, shape, kernel, **kwargs)
    assert dx.ctypes.data == place
    expected = reference.avg_pool2d_backward(dy.astype(np.float64), shape, kernel, **kwargs)
    assert_close(dx, expected, TOLERANCE[dtype], zeros=0.9)


def every_pass(x: np.ndarray, dy: np.ndarray, kernel: int, stride: int) -> list[np.ndarray]:
    y, indices = ops.max_pool2d(x, kernel, stride, 1)
    dy = np.resize(dy, y.shape)
    kwargs = {"stride": stride, "padding": 1}
    mean = ops.global_avg_pool2d(x)
    return [
        y,
        indices,
        ops.max_pool2d_backward(dy, indices, x.shape, kernel, **kwargs),
        ops.avg_pool2d(x, kernel, **kwargs),
        ops.avg_pool2d_backward(dy, x.shape, kernel, **kwargs),
        ops.avg_pool2d_backward(dy, x.shape, kernel, **kwargs, count_include_pad=False),
        mean,
        ops.global_avg_pool2d_backward(mean, x.shape),
    ]


USUAL = [(2, 2), (3, 1), (3, 2), (3, 3)]


@pytest.mark.parametrize("kernel, stride", USUAL)
def test_same_bits_at_any_thread_count(kernel, stride, rng, dtype):
    x = normal(rng, (9, 8, 180, 170), dtype)  # work for eight threads
    dy = normal(rng, (64, 1000), dtype)
    results = []
    for n in THREADS:
        with fastcnn.threads(n):
            results.append(every_pass(x, dy, kernel, stride))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert_same_bits(a, b)


@pytest.mark.parametrize("shape", [(5, 3, 14, 19), (2, 30, 180, 210)])  # the latter beyond a cache
@pytest.mark.parametrize("kernel, stride", USUAL)
def test_an_image_does_not_see_its_batch(kernel, stride, shape, rng, dtype):
    x = normal(rng, shape, dtype)
    size = ops.max_pool2d(x[:1], kernel, stride, 1)[0].size
    dy = normal(rng, (len(x), size), dtype)
    batch = every_pass(x, dy, kernel, stride)
    for i in range(len(x)):
        alone = every_pass(x[i : i + 1], dy[i : i + 1], kernel, stride)
        for a, b in zip(alone, batch, strict=True):
            assert_same_bits(a, np.ascontiguousarray(b[i : i + 1]))


def test_any_layout(rng, dtype):
    shape = (1, 3, 9, 20)
    x = distinct(rng, shape, dtype)
    y, indices = reference.max_pool2d(x, 3, 2, 1)
    dy = integers(rng, y.shape, dtype)
    dx = reference.max_pool2d_backward(dy, indices, shape, 3, stride=2, padding=1)
    for name, odd in layouts(x).items():
        if name == "broadcast":
            continue
        kept = odd.copy()
        assert_same(ops.max_pool2d(odd, 3, 2, 1)[0], y)
        assert_close(
            ops.avg_pool2d(odd, 3, 2, 1), reference.avg_pool2d(x, 3, 2, 1), TOLERANCE[dtype]
        )
        assert_close(
            ops.global_avg_pool2d(odd), reference.global_avg_pool2d(x), 10 * TOLERANCE[dtype]
        )
        np.testing.assert_array_equal(odd, kept)
    odd_indices = layouts(indices.astype(np.float64))
    for name, odd in layouts(dy).items():
        at = odd_indices[name].astype(np.int32)
        got = ops.max_pool2d_backward(odd, at, shape, 3, stride=2, padding=1)
        assert_same(got, dx, zeros=0.9)
    reverse = indices[..., ::-1].copy()[..., ::-1]
    got = ops.max_pool2d_backward(dy, reverse, shape, 3, stride=2, padding=1)
    assert_same(got, dx, zeros=0.9)


@pytest.mark.parametrize("shape", [(0, 3, 8, 8), (2, 0, 8, 8), (0, 0, 3, 3)])
def test_nothing_to_do(shape, dtype):
    x = np.zeros(shape, dtype)
    y, indices = ops.max_pool2d(x, 2)
    assert y.shape == indices.shape == (*shape[:2], shape[2] // 2, shape[3] // 2)
    assert ops.max_pool2d_backward(y, indices, shape, 2).shape == shape
    assert ops.avg_pool2d(x, 2).shape == y.shape
    assert ops.avg_pool2d_backward(y, shape, 2).shape == shape
    assert ops.global_avg_pool2d(x).shape == (*shape[:2], 1, 1)
    assert ops.global_avg_pool2d_backward(ops.global_avg_pool2d(x), shape).shape == shape


def test_a_wrong_element_is_seen(rng, dtype):
    """The comparisons above fail on one changed value, index or gradient."""
    x = distinct(rng, (1, 2, 8, 20), dtype)
    y, indices = ops.max_pool2d(x, 2)
    dx = ops.max_pool2d_backward(y, indices, x.shape, 2)
    mean = ops.avg_pool2d(x, 2)
    expected, at = reference.max_pool2d(x, 2)
    for good, array in (
        (expected, y),
        (reference.max_pool2d_backward(expected, at, x.shape, 2), dx),
        (at, indices),
    ):
        assert_same(array, good, zeros=0.9)
        array[0, 1, 2, 3] += 1
        with pytest.raises(AssertionError):
            assert_same(array, good, zeros=0.9)
    mean[0, 1, 2, 3] *= 1 + 100 * TOLERANCE[dtype]
    mean[0, 1, 2, 3] += 100 * TOLERANCE[dtype] * x.std()
    with pytest.raises(AssertionError):
        assert_close(mean, reference.avg_pool2d(x, 2), TOLERANCE[dtype])


# ---- bad arguments ----


@pytest.mark.parametrize(
    "args, message",
    [
        ({"kernel_size": 0}, r"kernel_size in 1\.\."),
        ({"kernel_size": (2, 3, 4)}, "kernel_size to be an int or"),
        ({"kernel_size": 2.0}, "kernel_size"),
        ({"kernel_size": True}, "kernel_size"),
        ({"kernel_size": 9}, "padding 1 or H >= 9 would fit"),
        ({"kernel_size": 2, "stride": 0}, "stride"),
        ({"kernel_size": 2, "stride": -1}, "stride"),
        ({"kernel_size": 2, "padding": 2}, "at most half the kernel"),
        ({"kernel_size": 2, "padding": -1}, "padding"),
        ({"kernel_size": 2, "dilation": 0}, "dilation"),
        ({"kernel_size": 2, "padding": 1, "dilation": 9}, "wholly in the padding"),
        ({"kernel_size": 2**31}, "kernel_size"),
        ({"kernel_size": 2**62, "stride": 2**62}, "kernel_size"),
    ],
)
def test_bad_geometry(args, message):
    x = np.zeros((1, 1, 8, 8), np.float32)
    dy = np.zeros((1, 1, 4, 4), np.float32)
    at = np.zeros((1, 1, 4, 4), np.int32)
    with pytest.raises(ValueError, match=f"max_pool2d: .*{message}"):
        ops.max_pool2d(x, **args)
    kernel = args["kernel_size"]
    rest = {key: value for key, value in args.items() if key != "kernel_size"}
    with pytest.raises(ValueError, match=f"max_pool2d_backward: .*{message}"):
        ops.max_pool2d_backward(dy, at, x.shape, kernel, **rest)
    if "dilation" in args:
        return
    with pytest.raises(ValueError, match=f"avg_pool2d: .*{message}"):
        ops.avg_pool2d(x, **args)
    with pytest.raises(ValueError, match=f"avg_pool2d_backward: .*{message}"):
        ops.avg_pool2d_backward(dy, x.shape, kernel, **rest)


def test_bad_arrays():
    x = np.zeros((1, 2, 8, 8), np.float32)
    y, at = ops.max_pool2d(x, 2)
    for wrong in (x.astype(np.int64), x.astype(np.float16), x > 0):
        for call in (lambda a: ops.max_pool2d(a, 2), lambda a: ops.avg_pool2d(a, 2),
                     ops.global_avg_pool2d):  # fmt: skip
            with pytest.raises(TypeError, match="float32 or float64"):
                call(wrong)
    with pytest.raises(ValueError, match="4 dimensions"):
        ops.max_pool2d(x[0], 2)
    with pytest.raises(TypeError, match="indices to be int32, got int64"):
        ops.max_pool2d_backward(y, at.astype(np.int64), x.shape, 2)
    with pytest.raises(ValueError, match=r"dy.shape == \(1, 2, 4, 4\)"):
        ops.max_pool2d_backward(y[:, :1], at, x.shape, 2)
    with pytest.raises(ValueError, match=r"indices.shape == \(1, 2, 4, 4\)"):
        ops.max_pool2d_backward(y, at[:, :1], x.shape, 2)
    with pytest.raises(ValueError, match="input_shape to be a tuple of 4"):
        ops.max_pool2d_backward(y, at, (8, 8), 2)
    with pytest.raises(ValueError, match=r"dy.shape == \(1, 2, 1, 1\)"):
        ops.global_avg_pool2d_backward(y, x.shape)
    for empty in ((1, 2, 0, 8), (1, 2, 8, 0)):
        with pytest.raises(ValueError, match="at least 1 x 1"):
            ops.global_avg_pool2d(np.zeros(empty, np.float32))
        with pytest.raises(ValueError, match="at least 1 x 1"):
            ops.global_avg_pool2d_backward(np.zeros((1, 2, 1, 1)), empty)
        with pytest.raises(ValueError, match="does not fit"):
            ops.max_pool2d(np.zeros(empty, np.float32), 2)


@pytest.mark.parametrize("size", [(1, 1, 2**31 - 1, 2**31 - 1), (0, 1, 50000, 50000)])
def test_too_many_elements(size):
    """Sizes no index or memory can hold."""
    with pytest.raises((ValueError, MemoryError)):
        ops.max_pool2d_backward(np.zeros((0, 1, 1, 1)), np.zeros((0, 1, 1, 1), np.int32), size, 2)
    x = np.broadcast_to(np.float32(0), (0, 1, 50000, 50000))
    with pytest.raises(ValueError, match=r"H \* W < 2\*\*31"):
        ops.max_pool2d(x, 2)


@pytest.mark.parametrize(
    "kernel, stride, padding, dilation",
    [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (3, 3, 1, 1), (2, 1, 1, 2)],
)
@pytest.mark.parametrize("shape", [(6, 23), (19, 3), (17, 7)])
def test_indices_must_lie_in_their_windows(shape, kernel, stride, padding, dilation, rng, dtype):
    """Each place of an output, each wrong value: refused; each right value: taken."""
    h, w = shape
    kwargs = options(stride, padding, dilation, False)
    y, indices = ops.max_pool2d(distinct(rng, (1, 1, h, w), dtype), kernel, **kwargs)
    plane = np.arange(h * w).reshape(shape)
    bottom, right = y.shape[2] - 1, y.shape[3] - 1
    corners = [(0, 0), (1, 0), (bottom - 1, 0), (bottom, right)]
    for oy, ox in [*corners, (0, min(1, right)), (1, min(2, right))]:
        rows = oy * stride - padding + dilation * np.arange(kernel)
        cols = ox * stride - padding + dilation * np.arange(kernel)
        rows, cols = rows[(rows >= 0) & (rows < h)], cols[(cols >= 0) & (cols < w)]
        window = set(plane[np.ix_(rows, cols)].ravel().tolist())
        for value in [-(2**31), -w, -1, *range(h * w), h * w, h * w + 1, 2**31 - 1]:
            wrong = indices.copy()
            wrong[0, 0, oy, ox] = value
            if value in window:
                ops.max_pool2d_backward(y, wrong, (1, 1, h, w), kernel, **kwargs)
                continue
            with pytest.raises(ValueError, match="an element of its window"):
                ops.max_pool2d_backward(y, wrong, (1, 1, h, w), kernel, **kwargs)


def test_huge_windows_take_no_time(dtype):
    """A kernel of 2**30 with its padding fits a 2 x 2 image: what it sees is those four pixels."""
    x = np.array([[[[1, 4], [3, 2]]]], dtype)
    huge = {"stride": 2**30, "padding": 2**29}
    y, indices = ops.max_pool2d(x, 2**30, **huge)
    assert y.item() == 4 and indices.item() == 1
    assert ops.max_pool2d_backward(y, indices, x.shape, 2**30, **huge).tolist() == [
        [[[0, 4], [0, 0]]]
    ]
    for stride in (1, 2, 2**30):
        y = ops.avg_pool2d(x, 2**30, stride, 2**29, False, False)
        np.testing.assert_array_equal(y, np.full_like(y, 2.5))
        dx = ops.avg_pool2d_backward(
            y, x.shape, 2**30, stride=stride, padding=2**29, count_include_pad=False
        )
        np.testing.assert_array_equal(dx, np.full_like(x, y.sum() / 4))
    dy = np.ones((1, 1, 3, 3), dtype)
    dx = ops.avg_pool2d_backward(dy, x.shape, 2**30, stride=1, padding=2**29)
    assert dx.shape == x.shape
    x = np.arange(640, dtype=dtype).reshape(1, 1, 10, 64)  # rows long enough to be asked for ahead
    tall = {"stride": (2**30, 1), "padding": (2**29, 1)}
    y, indices = ops.max_pool2d(x, (2**30, 3), **tall)
    np.testing.assert_array_equal(y[0, 0, 0], np.minimum(np.arange(577, 641), 639))
    dx = ops.max_pool2d_backward(y, indices, x.shape, (2**30, 3), **tall)
    assert dx.sum() == y.sum() and np.count_nonzero(dx) == 63
    y = ops.avg_pool2d(x, (2**30, 3), **tall, count_include_pad=False)
    np.testing.assert_array_equal(y[0, 0, 0, 1:-1], np.arange(289, 351))


def test_huge_padding_is_no_loop():
    size = (0, 1, 2**30, 2**30)
    with pytest.raises(ValueError, match="H \\* W"):
        ops.max_pool2d_backward(np.zeros(size[:2] + (1, 1)), [], size, 2**30, padding=2**29)


@given(
    shape=st.tuples(
        st.just(0),
        st.sampled_from([1, 2**62]),
        *[st.sampled_from([-1, 0, 1, 2, 3, 7, 2**16, 2**31 - 1, 2**31, 2**62])] * 2,
    ),
    kernel=st.sampled_from([-1, 0, 1, 2, 3, 2**16, 2**30, 2**31 - 1, 2**31, 2**62]),
    stride=st.sampled_from([None, -1, 0, 1, 2, 2**31 - 1, 2**62]),
    padding=st.sampled_from([-1, 0, 1, 2**15, 2**29, 2**30, 2**31, "same", "full"]),
    dilation=st.sampled_from([0, 1, 2, 2**30, 2**31 - 1, 2**62]),
    ceil_mode=st.booleans(),
)
def test_no_argument_crashes(shape, kernel, stride, padding, dilation, ceil_mode):
    """N = 0 where sizes may be huge: so that those which fit each other need no memory."""
    kwargs = options(stride, padding, dilation, ceil_mode)
    x = np.zeros((1, 1, 2, 2), np.float32)
    dy, at = np.zeros((0, 1, 2, 2), np.float32), np.zeros((0, 1, 2, 2), np.int32)
    for call in (
        lambda: ops.max_pool2d_backward(dy, at, shape, kernel, **kwargs),
        lambda: ops.avg_pool2d_backward(dy, shape, kernel, **undilated(kwargs)),
        lambda: ops.global_avg_pool2d_backward(dy[:, :, :1, :1], shape),
        lambda: ops.max_pool2d(x, kernel, **kwargs),
        lambda: ops.avg_pool2d(x, kernel, **undilated(kwargs)),
    ):
        try:
            call()
        except (ValueError, MemoryError) as error:
            assert str(error)
