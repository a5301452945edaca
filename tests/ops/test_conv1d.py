"""1-D convolution against its reference, and that against the formula and finite differences."""

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

TOLERANCE = {np.dtype(np.float32): 3e-6, np.dtype(np.float64): 1e-14}

# x shape, w shape, options
CASES = {
    "plain": ((2, 3, 20), (4, 3, 3), {}),
    "stride": ((2, 2, 31), (5, 2, 4), {"stride": 3, "padding": 2}),
    "two sides": ((1, 2, 9), (3, 2, 3), {"padding": (0, 4)}),
    "dilation": ((2, 2, 40), (3, 2, 3), {"dilation": 5, "padding": 1}),
    "groups": ((2, 4, 17), (6, 2, 3), {"groups": 2, "padding": "same"}),
    "depthwise": ((2, 5, 33), (5, 1, 7), {"groups": 5, "padding": 3}),
    "same, even kernel": ((1, 2, 10), (2, 2, 4), {"padding": "same", "stride": 2}),
    "replicate": ((2, 2, 8), (3, 2, 4), {"padding": (5, 1), "padding_mode": "replicate"}),
    "one element": ((3, 8, 1), (2, 8, 1), {}),
    "long": ((1, 16, 500), (32, 16, 9), {"padding": 4}),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def passes(library, x, w, b, dy, options):
    """y, dx, dw, db."""
    dx = library.conv1d_backward_input(dy, w, x.shape, **options)
    return (
        library.conv1d(x, w, b, **options),
        dx,
        *library.conv1d_backward_weight(dy, x, w.shape, **options),
    )


def data(case, rng, dtype, make=normal):
    x_shape, w_shape, options = case
    x, w, b = (make(rng, shape, dtype) for shape in (x_shape, w_shape, w_shape[:1]))
    y = reference.conv1d(x, w, b, **options)
    return x, w, b, make(rng, y.shape, dtype), options


def test_the_reference_is_the_formula_number_by_number(case, rng):
    x, w, b, dy, options = data(case, rng, np.float64)
    _, c, length = x.shape
    step, dil, g = (options.get(k, 1) for k in ("stride", "dilation", "groups"))
    p = options.get("padding", 0)
    if p == "same":
        left = max((-(-length // step) - 1) * step + (w.shape[2] - 1) * dil + 1 - length, 0) // 2
    else:
        left = p[0] if isinstance(p, tuple) else p
    y = np.zeros_like(dy)
    for at in np.ndindex(*dy.shape, *w.shape[1:]):
        i, k, o, j, tap = at
        source = o * step + tap * dil - left
        if options.get("padding_mode") == "replicate":
            source = min(max(source, 0), length - 1)
        if 0 <= source < length:
            channel = k // (len(w) // g) * (c // g) + j
            y[i, k, o] += w[k, j, tap] * x[i, channel, source]
    assert_close(reference.conv1d(x, w, b, **options), y + b[:, None], 1e-12)


@pytest.mark.parametrize("name", [n for n in CASES if n != "long"])
def test_the_reference_s_gradients(name, rng):
    x, w, b, dy, options = data(CASES[name], rng, np.float64)
    _, dx, dw, db = passes(reference, x, w, b, dy, options)

    def loss():
        return float((reference.conv1d(x, w, b, **options) * dy).sum())

    for array, gradient in ((x, dx), (w, dw), (b, db)):
        assert_close(gradient, numerical_gradient(loss, array), 1e-6, zeros=0.8)


@pytest.mark.parametrize("n_threads", THREADS[:2])
def test_against_the_reference(case, n_threads, dtype, rng):
    arrays = data(case, rng, dtype)
    with fastcnn.threads(n_threads):
        ours = passes(ops, *arrays)
    wide = [a.astype(np.float64) for a in arrays[:4]]
    for got, expected in zip(ours, passes(reference, *wide, arrays[4]), strict=True):
        assert got.dtype == dtype
        assert_close(got, expected, TOLERANCE[dtype], zeros=0.8)


def test_exact_on_integers(case, rng):
    arrays = data(case, rng, np.float32, integers)
    fastcnn.set_exact(True)
    try:
        ours = passes(ops, *arrays)
    finally:
        fastcnn.set_exact(False)
    for got, expected in zip(ours, passes(reference, *arrays), strict=True):
        assert_same(got, expected, zeros=0.8)


def test_layouts(rng):
    x, w, b, dy, options = data(CASES["stride"], rng, np.float32)
    expected = passes(ops, x, w, b, dy, options)
    for strided, gradient in zip(layouts(x).values(), layouts(dy).values(), strict=True):
        got = passes(ops, strided, w, b, gradient, options)
        for a, e in zip(got, expected, strict=True):
            assert_same_bits(np.ascontiguousarray(a), e)


def test_empty_batch():
    w = np.ones((2, 1, 3), np.float32)
    assert ops.conv1d(np.zeros((0, 1, 5), np.float32), w).shape == (0, 2, 3)
    dy = np.zeros((0, 2, 3), np.float32)
    assert ops.conv1d_backward_input(dy, w, (0, 1, 5)).shape == (0, 1, 5)
    dw, db = ops.conv1d_backward_weight(dy, np.zeros((0, 1, 5), np.float32), w.shape)
    assert not dw.any() and dw.shape == w.shape and not db.any()


@pytest.mark.parametrize("library", [ops, reference])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"w": np.zeros((4, 3, 3))}, r"conv1d: .*got x.shape=\(2, 2, 6\)"),
        ({"groups": 2}, "groups"),
        ({"x": np.zeros((2, 2, 1, 6))}, "3 dimensions"),
        ({"w": np.zeros((4, 2, 9))}, "W >= 9 would fit"),
        ({"b": np.zeros(3)}, "conv1d: expected b.shape"),
        ({"stride": (1, 2)}, "stride"),
        ({"padding": -1}, "padding"),
        ({"padding_mode": "mirror"}, "padding_mode"),
    ],
)
def test_bad_arguments(library, change, message):
    good = {"x": np.zeros((2, 2, 6)), "w": np.zeros((4, 2, 3)), "b": np.zeros(4)}
    library.conv1d(**good)
    with pytest.raises(ValueError, match=message):
        library.conv1d(**{**good, **change})
    with pytest.raises(TypeError, match="conv1d"):
        library.conv1d(np.zeros((2, 2, 6), np.int64), good["w"])
