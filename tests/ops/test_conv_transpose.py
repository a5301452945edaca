"""ops.conv_transpose2d and its backward passes: by hand, against the reference, as the adjoint.

The reference is held by a loop over single numbers and by finite differences; the ops by the
reference, exactly on integers.
"""

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

F4, F8 = np.dtype(np.float32), np.dtype(np.float64)
TOLERANCE = {"float32": 2e-5, "float64": 4e-14}

# x shape, w shape (C, K / groups, KH, KW), options
CASES = {
    "plain": ((2, 3, 4, 5), (3, 2, 3, 2), {}),
    "upsample by 2": ((2, 4, 5, 6), (4, 3, 4, 4), {"stride": 2, "padding": 1}),
    "output padding": (
        (2, 3, 5, 4),
        (3, 4, 3, 3),
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)},
    ),
    "gaps": ((1, 2, 3, 4), (2, 3, 2, 2), {"stride": 3, "output_padding": 1}),
    "dilation": ((2, 2, 4, 4), (2, 3, 3, 2), {"dilation": (2, 3), "padding": (1, 2)}),
    "groups": ((2, 4, 4, 5), (4, 3, 3, 3), {"groups": 2, "stride": 2, "padding": 1}),
    "depthwise": ((2, 5, 4, 3), (5, 1, 4, 4), {"groups": 5, "stride": 2, "padding": 1}),
    "four sides": ((1, 2, 4, 4), (2, 2, 3, 3), {"padding": ((0, 2), (1, 0)), "stride": 2}),
    "1x1": ((2, 3, 4, 4), (3, 5, 1, 1), {}),
    "one pixel": ((3, 4, 1, 1), (4, 2, 5, 4), {}),
    "same 3x3": ((2, 20, 9, 8), (20, 24, 3, 3), {"padding": 1}),
    "dilated 3x3": ((1, 20, 20, 18), (20, 24, 3, 3), {"padding": 2, "dilation": 2}),
    "fcn 16s": ((1, 5, 4, 3), (5, 5, 32, 32), {"stride": 16, "padding": 8}),
}
ALGORITHMS = ("direct", "im2col")  # sums of the inputs' products alone: exact on integers


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def back(options):
    """The options of the backward passes."""
    return {k: v for k, v in options.items() if k != "output_padding"}


def arrays(case, make, rng, dtype):
    """x, w, b, dy."""
    x_shape, w_shape, options = case
    x, w = make(rng, x_shape, dtype), make(rng, w_shape, dtype)
    b = make(rng, (w_shape[1] * options.get("groups", 1),), dtype)
    y = reference.conv_transpose2d(x, w, **options)
    return x, w, b, make(rng, y.shape, dtype)


def passes(module, x, w, b, dy, options, algorithm="auto"):
    bo = {**back(options), "algorithm": algorithm}
    dw, db = module.conv_transpose2d_backward_weight(dy, x, w.shape, **bo)
    return {
        "y": module.conv_transpose2d(x, w, b, **options, algorithm=algorithm),
        "dx": module.conv_transpose2d_backward_input(dy, w, **bo),
        "dw": dw,
        "db": db,
    }


def by_single_numbers(x, w, b, out, options):
    """Every product, put where it belongs."""
    g = options.get("groups", 1)
    (sh, sw), (dh, dw) = (
        v if isinstance(v, tuple) else (v, v)
        for v in (options.get("stride", 1), options.get("dilation", 1))
    )
    p = options.get("padding", 0)
    p = p if isinstance(p, tuple) else (p, p)
    top, left = (side[0] if isinstance(side, tuple) else side for side in p)
    k_g, c_g = w.shape[1], x.shape[1] // g
    y = np.zeros((len(x), k_g * g, *out)) + b[:, None, None]
    for n, c, i, j in np.ndindex(x.shape):
        for k, p, q in np.ndindex(w.shape[1:]):
            row, col = i * sh + p * dh - top, j * sw + q * dw - left
            if 0 <= row < out[0] and 0 <= col < out[1]:
                y[n, c // c_g * k_g + k, row, col] += x[n, c, i, j] * w[c, k, p, q]
    return y


def test_the_reference_is_the_sum_over_single_numbers(case, rng):
    x, w, b, dy = arrays(case, integers, rng, F8)
    y = reference.conv_transpose2d(x, w, b, **case[2])
    assert_same(y, by_single_numbers(x, w, b, dy.shape[2:], case[2]))


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("same 3x3", "fcn 16s")])
def test_the_reference_s_gradients(name, rng):
    case = CASES[name]
    x, w, b, dy = arrays(case, normal, rng, F8)
    got = passes(reference, x, w, b, dy, case[2])

    def loss():
        return float((dy * reference.conv_transpose2d(x, w, b, **case[2])).sum())

    for array, gradient in ((x, "dx"), (w, "dw"), (b, "db")):
        assert_close(got[gradient], numerical_gradient(loss, array), 1e-6, zeros=0.6)


@pytest.mark.parametrize("n_threads", THREADS[:3])
def test_exact_on_integers(case, n_threads, dtype, rng):
    x, w, b, dy = arrays(case, integers, rng, dtype)
    expected = passes(reference, *(a.astype(F8) for a in (x, w, b, dy)), case[2])
    with fastcnn.threads(n_threads):
        for algorithm in ALGORITHMS:
            for name, got in passes(ops, x, w, b, dy, case[2], algorithm).items():
                assert got.dtype == dtype
                assert_same(got, expected[name])


def test_every_algorithm_is_close(case, dtype, rng):
    x, w, b, dy = arrays(case, normal, rng, dtype)
    expected = passes(reference, *(a.astype(F8) for a in (x, w, b, dy)), case[2])
    for algorithm in ("auto", "winograd"):
        for name, got in passes(ops, x, w, b, dy, case[2], algorithm).items():
            assert_close(got, expected[name], 10 * TOLERANCE[dtype.name])


def test_it_is_the_adjoint_of_conv2d(case, rng):
    """<conv(y), x> == <y, conv_transpose(x)>."""
    x, w, _, dy = arrays(case, integers, rng, F8)
    options = back(case[2])
    there = ops.conv2d(dy, w, **options, algorithm="direct")
    y = ops.conv_transpose2d(x, w, **case[2], algorithm="direct")
    assert there.shape == x.shape
    assert (there * x).sum() == (dy * y).sum()


def test_by_hand():
    x = np.array([[[[1, 2], [3, 4]]]], F4)
    w = np.array([[[[0, 1], [2, 3]]]], F4)
    y = ops.conv_transpose2d(x, w)
    assert y[0, 0].tolist() == [[0, 1, 2], [2, 10, 10], [6, 17, 12]]
    y = ops.conv_transpose2d(x, w, stride=2, output_padding=1)
    assert y[0, 0].tolist() == [
        [0, 1, 0, 2, 0],
        [2, 3, 4, 6, 0],
        [0, 3, 0, 4, 0],
        [6, 9, 8, 12, 0],
        [0, 0, 0, 0, 0],
    ]


def test_any_layout_in_and_out(rng, dtype):
    x, w, b, _ = arrays(CASES["groups"], integers, rng, dtype)
    options = CASES["groups"][2]
    expected = ops.conv_transpose2d(x, w, b, **options)
    for name, given in layouts(x).items():
        out = np.full_like(expected, np.nan)
        assert ops.conv_transpose2d(given, w, b, **options, out=out) is out, name
        assert_same_bits(out, expected)


def test_empty_batch():
    x, w = np.zeros((0, 2, 3, 3)), np.ones((2, 4, 2, 2))
    y = ops.conv_transpose2d(x, w, np.ones(4), stride=2)
    assert y.shape == (0, 4, 6, 6)
    assert ops.conv_transpose2d_backward_input(y, w, stride=2).shape == x.shape
    dw, db = ops.conv_transpose2d_backward_weight(y, x, w.shape, stride=2)
    assert not dw.any() and not db.any() and db.shape == (4,)


X, W = np.zeros((2, 4, 6, 6)), np.zeros((4, 3, 3, 3))


@pytest.mark.parametrize("module", [ops, reference])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.conv_transpose2d(X, np.zeros((3, 3, 3, 3))), r"x.shape\[1\] == w.shape\[0\]"),
        (lambda m: m.conv_transpose2d(X, W, groups=3), r"multiple of groups \(3\)"),
        (lambda m: m.conv_transpose2d(X, W, output_padding=1), r"less than the stride \(1 on H\)"),
        (lambda m: m.conv_transpose2d(X, W, padding=4), "H of the output is 0"),
        (lambda m: m.conv_transpose2d(X[:, :, :0], W), "expected H >= 1"),
        (lambda m: m.conv_transpose2d(X, W, padding="same"), "padding in pixels"),
        (lambda m: m.conv_transpose2d(X, W, np.zeros(4)), r"b.shape == \(3,\)"),
        (lambda m: m.conv_transpose2d(X, W[:, :, :0]), "kernel_size"),
        (lambda m: m.conv_transpose2d(X, W, out=np.zeros((2, 3, 6, 6))), r"\(2, 3, 8, 8\)"),
        (lambda m: m.conv_transpose2d_backward_input(X, W), r"shape\[1\] == groups \* w.shape"),
        (
            lambda m: m.conv_transpose2d_backward_weight(X[:, :3], X, W.shape),
            r"x.shape == \(2, 4, 4, 4\) \(the input that gives dy.shape\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(module, call, message):
    with pytest.raises(ValueError, match=message):
        call(module)


def test_dtypes_are_not_mixed():
    with pytest.raises(TypeError, match="w to be float64 like the first array"):
        ops.conv_transpose2d(X, W.astype(F4))
    with pytest.raises(TypeError, match="float32 or float64"):
        ops.conv_transpose2d(X.astype(int), W)
