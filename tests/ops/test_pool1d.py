"""1-D pooling against its reference, and that against PyTorch's rules by hand and differences."""

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

import fastcnn
from fastcnn import ops, reference

# x shape, kernel, options
CASES = {
    "plain": ((2, 3, 20), 2, {}),
    "overlap": ((2, 2, 31), 5, {"stride": 2, "padding": 2}),
    "ends": ((1, 2, 9), 3, {"stride": 2, "padding": (1, 0)}),
    "ceil": ((2, 2, 40), 3, {"stride": 3, "padding": 1, "ceil_mode": True}),
    "same": ((2, 4, 17), 4, {"stride": 3, "padding": "same"}),
    "gaps": ((2, 5, 33), 2, {"stride": 5}),
    "over the end": ((1, 1, 2), 3, {"ceil_mode": True}),
}
PASSES = ("max_pool1d", "avg_pool1d")


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.mark.parametrize("n_threads", THREADS[:2])
@pytest.mark.parametrize("dilation", [1, 3])
def test_max_against_the_reference(case, n_threads, dilation, dtype, rng):
    shape, kernel, options = case
    if dilation > 1 and (shape[2] < 9 or options.get("padding") == "same"):
        return  # does not fit
    x = distinct(rng, shape, dtype)
    expected = reference.max_pool1d(x, kernel, dilation=dilation, **options)
    dy = integers(rng, expected[0].shape, dtype)
    with fastcnn.threads(n_threads):
        y, indices = ops.max_pool1d(x, kernel, dilation=dilation, **options)
        dx = ops.max_pool1d_backward(dy, indices, shape, kernel, dilation=dilation, **options)
    assert_same(y, expected[0])
    assert_same(indices, expected[1])
    twin = reference.max_pool1d_backward(dy, indices, shape, kernel, dilation=dilation, **options)
    assert_same(dx, twin, zeros=0.95)


@pytest.mark.parametrize("pads", [True, False])
def test_avg_against_the_reference(case, pads, dtype, rng):
    shape, kernel, options = case
    x = normal(rng, shape, dtype)
    expected = reference.avg_pool1d(x, kernel, count_include_pad=pads, **options)
    dy = normal(rng, expected.shape, dtype)
    assert_close(ops.avg_pool1d(x, kernel, count_include_pad=pads, **options), expected, 1e-6)
    options = {**options, "count_include_pad": pads}
    twin = reference.avg_pool1d_backward(dy, shape, kernel, **options)
    dx = ops.avg_pool1d_backward(dy, shape, kernel, **options)
    assert dx.dtype == dtype
    assert_close(dx, twin, 1e-6, zeros=0.9)


@pytest.mark.parametrize("pads", [True, False])
def test_the_reference_s_gradients(case, pads, rng):
    shape, kernel, options = case
    x = distinct(rng, shape, np.float64)
    y, indices = reference.max_pool1d(x, kernel, **options)
    dy = normal(rng, y.shape, np.float64)
    dx = reference.max_pool1d_backward(dy, indices, shape, kernel, **options)
    numeric = numerical_gradient(
        lambda: float((reference.max_pool1d(x, kernel, **options)[0] * dy).sum()), x
    )
    assert_close(dx, numeric, 1e-6, zeros=0.95)
    options = {**options, "count_include_pad": pads}
    dx = reference.avg_pool1d_backward(dy, shape, kernel, **options)
    numeric = numerical_gradient(
        lambda: float((reference.avg_pool1d(x, kernel, **options) * dy).sum()), x
    )
    assert_close(dx, numeric, 1e-6, zeros=0.9)


@pytest.mark.parametrize("library", [ops, reference])
def test_by_hand(library):
    x = np.array([[[1.0, 3.0, 3.0, np.nan, 2.0]]])
    y, indices = library.max_pool1d(x, 2, stride=1)
    np.testing.assert_array_equal(y, [[[3, 3, np.nan, np.nan]]])
    assert indices.tolist() == [[[1, 1, 3, 3]]]  # of equal maxima the first
    x = np.array([[[-4.0, -2.0, -6.0, -8.0, -3.0]]])
    assert library.max_pool1d(x, 3, 2, 1)[0].tolist() == [[[-2.0, -2.0, -3.0]]]
    assert library.avg_pool1d(x, 3, 2, 1)[0].tolist() == [[-2.0, -16 / 3, -11 / 3]]
    # a last window over the end counts neither what is there nor, beyond it, padding
    assert library.avg_pool1d(x, 2, ceil_mode=True)[0].tolist() == [[-3.0, -7.0, -3.0]]
    assert library.avg_pool1d(x, 3, 2, 1, count_include_pad=False)[0, 0, 0] == -3.0


def test_layouts(rng):
    x = distinct(rng, (2, 3, 17), np.float32)
    y, indices = ops.max_pool1d(x, 3, 2, 1)
    dy = normal(rng, y.shape, np.float32)
    for strided in layouts(x).values():
        assert_same_bits(np.ascontiguousarray(ops.max_pool1d(strided, 3, 2, 1)[0]), y)
        assert_same_bits(
            np.ascontiguousarray(ops.avg_pool1d(strided, 3, 2, 1)), ops.avg_pool1d(x, 3, 2, 1)
        )
    dx = ops.max_pool1d_backward(dy, indices, x.shape, 3, stride=2, padding=1)
    mean = ops.avg_pool1d_backward(dy, x.shape, 3, stride=2, padding=1)
    for strided in layouts(dy).values():
        got = ops.max_pool1d_backward(strided, indices, x.shape, 3, stride=2, padding=1)
        assert_same_bits(np.ascontiguousarray(got), dx)
        got = ops.avg_pool1d_backward(strided, x.shape, 3, stride=2, padding=1)
        assert_same_bits(np.ascontiguousarray(got), mean)


@pytest.mark.parametrize("library", [ops, reference])
def test_bad_arguments(library):
    x = np.zeros((2, 2, 6))
    for kernel, options, message in (
        (7, {}, "W >= 7 would fit"),
        (2, {"padding": 2}, "half the kernel"),
        ((2, 2), {}, "kernel_size"),
        (2, {"stride": 0}, "stride"),
    ):
        for name in PASSES:
            with pytest.raises(ValueError, match=f"{name}: .*{message}"):
                getattr(library, name)(x, kernel, **options)
    with pytest.raises(ValueError, match="3 dimensions"):
        library.avg_pool1d(x[0], 2)
    dy, indices = np.zeros((2, 2, 3)), np.zeros((2, 2, 3), np.int32)
    with pytest.raises(ValueError, match="its window"):
        library.max_pool1d_backward(dy, indices + 5, x.shape, 2)
    with pytest.raises(TypeError, match="int32"):
        library.max_pool1d_backward(dy, indices.astype(np.int64), x.shape, 2)
    with pytest.raises(ValueError, match="output of these arguments"):
        library.avg_pool1d_backward(dy[:, :, :2], x.shape, 2)
    assert library.avg_pool1d(np.zeros((0, 2, 6)), 2).shape == (0, 2, 3)
