"""Weighted-average pooling against its reference, and that against its neighbours."""

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

# x shape, w shape, options
CASES = {
    "side by side": ((2, 3, 8, 10), (2, 2), {}),
    "each channel": ((2, 3, 9, 7), (3, 3, 2), {}),
    "overlap": ((1, 4, 12, 19), (3, 3), {"stride": 2, "padding": 1}),
    "four sides": ((2, 2, 5, 6), (2, 3, 3), {"stride": 1, "padding": ((0, 2), (1, 0))}),
    "same": ((1, 3, 7, 9), (3, 5), {"stride": (2, 1), "padding": "same"}),
    "one channel": ((3, 1, 6, 6), (1, 3, 3), {"stride": 3}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def data(case, rng, dtype, make=normal):
    x_shape, w_shape, options = case
    x, w = make(rng, x_shape, dtype), make(rng, w_shape, dtype)
    y = reference.weighted_avg_pool2d(x, w, **options)
    return x, w, make(rng, y.shape, dtype), options


def passes(library, x, w, dy, options):
    return (
        library.weighted_avg_pool2d(x, w, **options),
        library.weighted_avg_pool2d_backward_input(dy, w, x.shape, **options),
        library.weighted_avg_pool2d_backward_weight(dy, x, w.shape, **options),
    )


def test_the_reference_is_a_depthwise_convolution(case, rng):
    x, w, dy, options = data(case, rng, np.float64)
    each = np.ascontiguousarray(np.broadcast_to(w, (x.shape[1], *w.shape[-2:])))[:, None]
    conv = {"stride": w.shape[-2:], **options, "groups": x.shape[1]}
    y, dx, dw = passes(reference, x, w, dy, options)
    assert_close(y, reference.conv2d(x, each, **conv), 1e-13)
    assert_close(dx, reference.conv2d_backward_input(dy, each, x.shape, **conv), 1e-13, zeros=0.6)
    per_channel = reference.conv2d_backward_weight(dy, x, each.shape, **conv)[0][:, 0]
    assert_close(dw, per_channel.sum(0) if w.ndim == 2 else per_channel, 1e-13)


def test_the_reference_s_gradients(case, rng):
    x, w, dy, options = data(case, rng, np.float64)
    _, dx, dw = passes(reference, x, w, dy, options)

    def loss():
        return float((reference.weighted_avg_pool2d(x, w, **options) * dy).sum())

    assert_close(dx, numerical_gradient(loss, x), 1e-6, zeros=0.6)
    assert_close(dw, numerical_gradient(loss, w), 1e-6)


@pytest.mark.parametrize("n_threads", THREADS[:2])
def test_against_the_reference(case, n_threads, dtype, rng):
    x, w, dy, options = data(case, rng, dtype, integers)
    with fastcnn.threads(n_threads):
        ours = passes(ops, x, w, dy, options)
    for got, expected in zip(ours, passes(reference, x, w, dy, options), strict=True):
        assert got.dtype == dtype
        assert_same(got, expected, zeros=0.6)


def test_equal_weights_are_the_average(rng):
    x = normal(rng, (2, 3, 8, 8), np.float32)
    w = np.full((2, 2), 0.25, np.float32)
    assert_close(ops.weighted_avg_pool2d(x, w), ops.avg_pool2d(x, 2), 1e-6)


def test_layouts(rng):
    x, w, dy, options = data(CASES["overlap"], rng, np.float32)
    expected = passes(ops, x, w, dy, options)
    for strided, gradient in zip(layouts(x).values(), layouts(dy).values(), strict=True):
        for a, e in zip(passes(ops, strided, w, gradient, options), expected, strict=True):
            assert_same_bits(np.ascontiguousarray(a), e)


def test_empty_batch():
    w = np.ones((2, 2), np.float32)
    y, dx, dw = passes(
        ops, np.zeros((0, 3, 4, 4), np.float32), w, np.zeros((0, 3, 2, 2), np.float32), {}
    )
    assert y.shape == (0, 3, 2, 2) and dx.shape == (0, 3, 4, 4) and not dw.any()


@pytest.mark.parametrize("library", [ops, reference])
def test_bad_arguments(library):
    x, w = np.zeros((2, 3, 4, 4)), np.zeros((2, 2))
    for change, message in (
        ({"w": np.zeros(2)}, r"w of shape \(KH, KW\) or \(3, KH, KW\)"),
        ({"w": np.zeros((2, 2, 2))}, "one window for each channel"),
        ({"x": x[0]}, "4 dimensions"),
        ({"stride": 0}, "stride"),
        ({"w": np.zeros((5, 2))}, "would fit"),
    ):
        with pytest.raises(ValueError, match=message):
            library.weighted_avg_pool2d(**{"x": x, "w": w, **change})
    with pytest.raises(TypeError, match="float64 like"):
        library.weighted_avg_pool2d(x, w.astype(np.float32))
    with pytest.raises(ValueError, match="weighted_avg_pool2d_backward_weight"):
        library.weighted_avg_pool2d_backward_weight(np.zeros((2, 3, 2, 2)), x, (2, 2, 2))
    with pytest.raises(ValueError, match="output of these arguments"):
        library.weighted_avg_pool2d_backward_input(np.zeros((2, 3, 1, 2)), w, x.shape)
