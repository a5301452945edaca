"""ops.conv2d, its backward passes, im2col and col2im against the reference.

Integer-valued inputs make every sum exact: there the tolerance is zero. Random values show the
error and, since the order of a sum shows in its bits, that threads and batch neighbours do not
change it.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from helpers import (
    THREADS,
    assert_close,
    assert_same,
    assert_same_bits,
    conv2d_by_single_numbers,
    integers,
    layouts,
    normal,
)
from hypothesis import given
from hypothesis import strategies as st

import fastcnn
from benchmarks.shapes import CONV_EXTRAS, CONV_LAYERS, Conv
from fastcnn import _checks, _kernels, ops, reference

ALGORITHMS = ("auto", "direct", "winograd", "im2col")
EXACT = ("direct", "im2col")  # those that only multiply and add the inputs themselves
TOLERANCE = {"float32": 2e-5, "float64": 4e-14}  # of the output's standard deviation
F4, F8 = np.dtype(np.float32), np.dtype(np.float64)


class Case(NamedTuple):
    """Shapes and options of one convolution."""

    x: tuple[int, int, int, int]
    w: tuple[int, int, int, int]
    options: dict


def arrays(case, make, rng, dtype):
    """x, w, b, dy of a case, from `make` (integers or normal)."""
    x, w, b = (make(rng, shape, dtype) for shape in (case.x, case.w, case.w[:1]))
    out = reference.conv2d(np.empty((0, *case.x[1:])), w.astype(F8), **case.options).shape
    return x, w, b, make(rng, (case.x[0], *out[1:]), dtype)


def passes(module, x, w, b, dy, options):
    """All four results of a convolution."""
    dw, db = module.conv2d_backward_weight(dy, x, w.shape, **options)
    return {
        "y": module.conv2d(x, w, b, **options),
        "dx": module.conv2d_backward_input(dy, w, x.shape, **options),
        "dw": dw,
        "db": db,
    }


def tolerance(algorithm, dtype):
    """Winograd's sums pass through numbers several times as large as the result."""
    return TOLERANCE[dtype.name] * (1 if algorithm in EXACT else 10)


def in_float64(case, inputs):
    return passes(reference, *(a.astype(F8) for a in inputs), case.options)


def check_exact(case, rng, dtype, zeros=0.99):
    """All passes equal the reference exactly, and leave their inputs alone."""
    inputs = arrays(case, integers, rng, dtype)
    kept = [a.copy() for a in inputs]
    expected = in_float64(case, inputs)
    for algorithm in EXACT:
        got = passes(ops, *inputs, {**case.options, "algorithm": algorithm})
        for name, value in expected.items():
            assert got[name].dtype == dtype
            assert_same(got[name], value, zeros=zeros)
    for a, b in zip(inputs, kept, strict=True):
        assert_same_bits(a, b)


# ---------------------------------------------------------------------------------- named layers


def scaled(layer: Conv, keep: str, budget: int = 3_000_000) -> Case:
    """The layer with N = 2 and either its channels or its image size, cut to some multiply-adds."""
    n, c, h, w, k, g = 2, layer.C, layer.H, layer.W, layer.K, layer.groups
    extent = 1 + max(layer.KH - 1, layer.KW - 1) * layer.dilation

    def small() -> bool:
        cut = layer._replace(N=n, C=c, H=h, W=w, K=k, groups=g)
        return cut.flops // 2 <= budget

    while keep == "image" and not small() and max(c, k) > 1:
        if g > 2:  # depthwise: fewer groups of the same size
            g, c, k = g // 2, c // 2, k // 2
        elif c >= k:
            c = max(c // 2, g)
        else:
            k = max(k // 2, g)
    while keep == "channels" and not small() and h > extent:
        h, w = max(h * 3 // 4, extent), max(w * 3 // 4, extent)
    return Case((n, c, h, w), (k, c // g, layer.KH, layer.KW), {**layer.options, "groups": g})


NAMED = [
    pytest.param(scaled(layer, keep), id=f"{layer.name}-{keep}")
    for layer in (*CONV_LAYERS, *CONV_EXTRAS)
    for keep in ("image", "channels")
] + [  # few weights and many pixels: a task has bands of its own
    pytest.param(Case((2, 4, 52, 50), (18, 4, 2, 2), {}), id="few weights"),
    pytest.param(
        Case((3, 4, 45, 44), (20, 2, 3, 2), {"groups": 2, "padding": 1}), id="few weights, grouped"
    ),
    pytest.param(Case((19, 3, 33, 31), (11, 3, 3, 3), {"stride": 2}), id="few weights, stride 2"),
    pytest.param(Case((5, 6, 30, 30), (17, 6, 1, 1), {}), id="few weights, 1x1"),
]


@pytest.mark.parametrize("case", NAMED)
def test_named_layers_are_exact_on_integers(case, rng, dtype):
    for n_threads in (1, 3):
        with fastcnn.threads(n_threads):
            check_exact(case, rng, dtype, zeros=0.8)


@pytest.mark.parametrize("case", NAMED)
def test_named_layers_have_the_same_bits_at_any_thread_count(case, rng, dtype):
    inputs = arrays(case, normal, rng, dtype)
    expected = in_float64(case, inputs)
    for algorithm in ALGORITHMS[1:] if dtype == F8 else ALGORITHMS:
        first = None
        for n_threads in THREADS:
            with fastcnn.threads(n_threads):
                got = passes(ops, *inputs, {**case.options, "algorithm": algorithm})
            if first is None:
                first = got
                for name, value in expected.items():
                    assert_close(got[name], value, tolerance(algorithm, dtype), zeros=0.8)
            for name, value in first.items():
                assert_same_bits(got[name], value)


# ---------------------------------------------------------------------------------- nasty shapes

NASTY = {
    "1x1, stride 2": Case((3, 5, 7, 9), (6, 5, 1, 1), {"stride": 2}),
    "1x1, stride 3, padding": Case((2, 17, 6, 5), (3, 17, 1, 1), {"stride": 3, "padding": 2}),
    "1x1, grouped": Case((2, 12, 5, 5), (18, 4, 1, 1), {"groups": 3}),
    "one pixel": Case((3, 2, 1, 1), (3, 2, 1, 1), {}),
    "one number": Case((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "padding = kernel": Case((2, 3, 6, 5), (4, 3, 3, 3), {"padding": 3}),
    "padding > kernel": Case((2, 3, 4, 4), (4, 3, 2, 3), {"padding": (5, 7)}),
    "padding > kernel, stride": Case((2, 3, 9, 8), (4, 3, 3, 3), {"padding": 6, "stride": 3}),
    "image smaller than kernel": Case((2, 3, 2, 3), (5, 3, 5, 5), {"padding": 2}),
    "four sides": Case((2, 3, 7, 6), (4, 3, 3, 3), {"padding": ((0, 3), (2, 1))}),
    "kernel = image": Case((5, 4, 7, 6), (9, 4, 7, 6), {}),
    "stride > kernel": Case((2, 3, 17, 19), (4, 3, 2, 3), {"stride": (5, 4)}),
    "stride > image": Case((2, 3, 5, 5), (4, 3, 3, 3), {"stride": 9}),
    "remainder": Case((2, 3, 12, 14), (4, 3, 3, 3), {"stride": (2, 4), "padding": (0, 1)}),
    "even kernel, same": Case((2, 3, 8, 7), (4, 3, 4, 2), {"padding": "same"}),
    "strided same": Case((2, 3, 11, 14), (4, 3, 5, 3), {"padding": "same", "stride": (2, 3)}),
    "same, dilated": Case((2, 3, 11, 9), (4, 3, 3, 3), {"padding": "same", "dilation": (2, 3)}),
    "valid": Case((2, 3, 8, 9), (4, 3, 3, 3), {"padding": "valid"}),
    "dilated and strided": Case(
        (2, 3, 19, 17), (5, 3, 3, 3), {"dilation": (2, 3), "stride": (3, 2), "padding": (4, 2)}
    ),
    "dilation = stride": Case((2, 2, 15, 15), (4, 2, 3, 3), {"dilation": 2, "stride": 2}),
    "groups": Case((2, 6, 9, 8), (9, 2, 3, 3), {"groups": 3, "padding": 1}),
    "groups, one output each": Case((2, 8, 7, 7), (4, 2, 3, 3), {"groups": 4, "stride": 2}),
    "depthwise": Case((2, 19, 9, 11), (19, 1, 3, 3), {"groups": 19, "padding": 1}),
    "depthwise, stride 2": Case(
        (2, 9, 10, 13), (9, 1, 5, 5), {"groups": 9, "padding": 2, "stride": 2}
    ),
    "depthwise, 3x3, stride 2": Case(
        (3, 5, 12, 19), (5, 1, 3, 3), {"groups": 5, "padding": 1, "stride": 2}
    ),
    "depthwise, odd and even sizes, stride 2": Case(
        (2, 4, 35, 34), (4, 1, 3, 3), {"groups": 4, "padding": ((0, 1), (1, 0)), "stride": 2}
    ),
    "depthwise, 2x2, stride 2": Case((2, 5, 11, 38), (5, 1, 2, 2), {"groups": 5, "stride": 2}),
    "depthwise, 2x2, several bands, stride 2": Case(
        (2, 2, 170, 47), (2, 1, 2, 2), {"groups": 2, "stride": 2}
    ),
    "depthwise, 2x2, padded, stride 2": Case(
        (3, 4, 6, 35), (4, 1, 2, 2), {"groups": 4, "padding": ((1, 0), (0, 1)), "stride": 2}
    ),
    "depthwise, 5x5": Case((2, 7, 11, 37), (7, 1, 5, 5), {"groups": 7, "padding": 2}),
    "depthwise, 7x7": Case((2, 5, 16, 18), (5, 1, 7, 7), {"groups": 5, "padding": 3}),
    "depthwise, 7x7, stride 2": Case(
        (2, 5, 23, 41), (5, 1, 7, 7), {"groups": 5, "padding": 3, "stride": 2}
    ),
    "depthwise, 4x6": Case(
        (2, 3, 9, 33), (3, 1, 4, 6), {"groups": 3, "padding": 2, "stride": (1, 2)}
    ),
    "depthwise, rows skipped": Case((2, 3, 17, 20), (3, 1, 3, 3), {"groups": 3, "stride": (3, 1)}),
    "depthwise, 1x1": Case((2, 6, 5, 21), (6, 1, 1, 1), {"groups": 6}),
    "depthwise, 1x1, stride 2": Case((2, 6, 9, 10), (6, 1, 1, 1), {"groups": 6, "stride": 2}),
    "depthwise, 1x7": Case((2, 6, 3, 17), (6, 1, 1, 7), {"groups": 6, "padding": (0, 3)}),
    "depthwise, 7x1": Case((2, 6, 17, 3), (6, 1, 7, 1), {"groups": 6, "padding": (3, 0)}),
    "depthwise, one column": Case((2, 6, 9, 1), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    "depthwise, one column, stride 2": Case(
        (2, 6, 9, 1), (6, 1, 3, 3), {"groups": 6, "padding": 1, "stride": 2}
    ),
    "depthwise, 7x7 maps": Case((5, 70, 7, 7), (70, 1, 3, 3), {"groups": 70, "padding": 1}),
    "depthwise, 2x2 maps": Case((2, 9, 2, 2), (9, 1, 3, 3), {"groups": 9, "padding": 1}),
    "depthwise, padding = kernel": Case((2, 4, 6, 9), (4, 1, 3, 3), {"groups": 4, "padding": 3}),
    "depthwise, padding > kernel": Case(
        (2, 4, 6, 9), (4, 1, 3, 3), {"groups": 4, "padding": (5, 4), "stride": 2}
    ),
    "depthwise, several bands": Case((1, 2, 90, 70), (2, 1, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise, several bands, stride 2": Case(
        (1, 2, 91, 133), (2, 1, 5, 5), {"groups": 2, "padding": 2, "stride": 2}
    ),
    "depthwise, long rows": Case((1, 2, 3, 9000), (2, 1, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise, many images": Case((70, 2, 4, 5), (2, 1, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise, kernel 9x9": Case((2, 3, 12, 13), (3, 1, 9, 9), {"groups": 3, "padding": 4}),
    "depthwise, multiplier 3": Case((2, 5, 8, 8), (15, 1, 3, 3), {"groups": 5, "padding": 1}),
    "depthwise, dilated": Case(
        (1, 7, 13, 12), (7, 1, 3, 3), {"groups": 7, "dilation": 2, "padding": 2}
    ),
    "tails of 17 and 33": Case((3, 17, 9, 17), (33, 17, 3, 3), {"padding": 1}),
    "tails of 7, 31 and 15": Case((1, 31, 7, 15), (15, 31, 3, 3), {"padding": 1}),
    "one row": Case((2, 3, 1, 40), (4, 3, 1, 5), {"padding": (0, 2)}),
    "one column": Case((2, 3, 40, 1), (4, 3, 5, 1), {"padding": (2, 0)}),
    "long rows": Case((1, 2, 3, 700), (3, 2, 3, 3), {"padding": 1}),
    "many images": Case((37, 2, 3, 3), (5, 2, 3, 3), {"padding": 1}),
    "many channels": Case((1, 700, 3, 3), (3, 700, 3, 3), {"padding": 1}),
    "many outputs": Case((1, 3, 4, 4), (700, 3, 3, 3), {"padding": 1}),
    "large kernel": Case((1, 2, 25, 24), (3, 2, 19, 17), {"padding": (3, 0)}),
    "one image row per task": Case((1, 3, 64, 5), (8, 3, 3, 3), {"padding": 1}),
}


def test_1x1_weight_gradient_of_large_images(rng):
    """More elements than a block of packed channels may have: x is read as it is."""
    x, dy = (
        integers(rng, (2, 35, 256, 250), np.float32),
        integers(rng, (2, 17, 256, 250), np.float32),
    )
    dw, db = ops.conv2d_backward_weight(dy, x, (17, 35, 1, 1))
    rows, columns = (
        a.astype(np.float64).transpose(1, 0, 2, 3).reshape(a.shape[1], -1) for a in (dy, x)
    )
    assert_same(dw[:, :, 0, 0], rows @ columns.T)
    assert_same(db, rows.sum(1))


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("case", NASTY.values(), ids=NASTY.keys())
def test_nasty_shapes_are_exact_on_integers(case, padding_mode, rng, dtype):
    case.options["padding_mode"] = padding_mode
    check_exact(case, rng, dtype)


def drawn(seed: int) -> Case:
    """Shapes and options at random, within about a million multiply-adds."""
    rng = np.random.default_rng(seed)

    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high, endpoint=True))

    kernel = number(1, 5), number(1, 5)
    stride, dilation = ((number(1, 3), number(1, 3)) for _ in range(2))
    top, bottom, left, right = (number(0, k - 1) for k in (*kernel[:1] * 2, *kernel[1:] * 2))
    groups = int(rng.choice([1, 1, 1, 2, 3, 8]))
    c_g, k_g = number(1, 40 // groups), number(1, 40 // groups)
    room = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    h, w = (max(e - p, 1) + number(0, 17) for e, p in zip(room, (top, left), strict=True))
    work = c_g * k_g * groups * kernel[0] * kernel[1] * h * w
    options = {
        "stride": stride,
        "padding": ((top, bottom), (left, right)) if seed % 3 else "same",
        "dilation": dilation,
        "groups": groups,
        "padding_mode": "replicate" if seed % 4 == 0 else "zeros",
    }
    n = max(1, min(number(1, 19), 1_000_000 // work))
    return Case((n, c_g * groups, h, w), (k_g * groups, c_g, *kernel), options)


@pytest.mark.parametrize("seed", range(200))
def test_drawn_shapes_are_exact_on_integers(seed):
    dtype = (F4, F8)[seed % 2]
    with fastcnn.threads(THREADS[seed % len(THREADS)]):
        check_exact(drawn(seed), np.random.default_rng(seed), dtype)


@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize(
    "case", [*NASTY.values(), *map(drawn, range(1000, 1030))], ids=lambda c: str(c.w)
)
def test_shapes_of_all_sorts_are_close_on_random_values(case, padding_mode, rng, dtype):
    case.options["padding_mode"] = padding_mode
    inputs = arrays(case, normal, rng, dtype)
    expected = in_float64(case, inputs)
    for algorithm in ALGORITHMS:
        got = passes(ops, *inputs, {**case.options, "algorithm": algorithm})
        for name, value in expected.items():
            assert_close(got[name], value, 4 * tolerance(algorithm, dtype), zeros=0.99)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("absent", ["N", "K", "C"])
def test_nothing_in_gives_nothing_or_zeros(algorithm, absent, rng, dtype):
    n, k, c = (0 if absent == name else size for name, size in (("N", 3), ("K", 4), ("C", 2)))
    inputs = arrays(Case((n, c, 6, 5), (k, c, 3, 3), {"padding": 1}), normal, rng, dtype)
    got = passes(ops, *inputs, {"padding": 1, "algorithm": algorithm})
    x, w, b, dy = inputs
    assert [a.shape for a in got.values()] == [a.shape for a in (dy, x, w, b)]
    for name, value in passes(reference, *inputs, {"padding": 1}).items():
        np.testing.assert_allclose(got[name], value, atol=1e-5)


# ---------------------------------------------------------------------------------- single samples

ALONE = {
    "lenet": Case((33, 1, 12, 12), (6, 1, 5, 5), {"padding": 2}),
    "3x3": Case((33, 20, 9, 8), (24, 20, 3, 3), {"padding": 1}),
    "7x7 maps": Case((33, 40, 7, 7), (40, 40, 3, 3), {"padding": 1}),
    "7x7 maps, many channels": Case((33, 48, 7, 7), (300, 48, 3, 3), {"padding": 1}),
    "many channels": Case((33, 300, 4, 4), (20, 300, 3, 3), {"padding": 1}),
    "few pixels": Case((33, 256, 3, 3), (260, 256, 3, 3), {"padding": 1}),
    "few pixels, strides, groups": Case(
        (33, 512, 5, 8),
        (520, 256, 2, 3),
        {"groups": 2, "stride": (3, 2), "dilation": (1, 2), "padding": 1},
    ),
    "1x1": Case((33, 40, 7, 7), (24, 40, 1, 1), {}),
    "1x1, stride 2": Case((33, 18, 7, 7), (24, 18, 1, 1), {"stride": 2}),
    "stride 2": Case((33, 9, 11, 10), (17, 9, 3, 3), {"padding": 1, "stride": 2}),
    "5x5, stride 2": Case((33, 5, 15, 16), (17, 5, 5, 5), {"padding": 2, "stride": 2}),
    "rows that no tap reaches": Case((33, 1, 3, 3), (2, 1, 3, 3), {"padding": 1, "dilation": 2}),
    "strides, dilated": Case(
        (33, 5, 13, 12), (7, 5, 3, 2), {"padding": (1, 2), "stride": (3, 2), "dilation": (1, 3)}
    ),
    "dilated, by phases": Case((33, 20, 17, 16), (24, 20, 3, 3), {"padding": 2, "dilation": 2}),
    "grouped": Case((33, 12, 6, 7), (8, 6, 3, 3), {"groups": 2}),
    "depthwise": Case((33, 10, 8, 9), (10, 1, 3, 3), {"groups": 10, "padding": 1}),
    "depthwise, 7x7 maps": Case((33, 20, 7, 7), (20, 1, 3, 3), {"groups": 20, "padding": 1}),
    "depthwise, stride 2": Case(
        (33, 6, 18, 19), (6, 1, 5, 5), {"groups": 6, "padding": 2, "stride": 2}
    ),
    "replicate": Case((33, 5, 6, 6), (7, 5, 3, 3), {"padding": 1, "padding_mode": "replicate"}),
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", ALONE.values(), ids=ALONE.keys())
def test_a_sample_alone_has_the_bits_it_has_in_a_batch(case, algorithm, rng, dtype):
    x, w, b, dy = arrays(case, normal, rng, dtype)
    options = {**case.options, "algorithm": algorithm}

    def forward_and_dx(n, first=0):
        part = slice(first, first + n)
        y = ops.conv2d(x[part], w, b, **options)
        return y, ops.conv2d_backward_input(dy[part], w, (n, *x.shape[1:]), **options)

    alone = [forward_and_dx(1, i) for i in range(33)]
    ys, dxs = (np.concatenate(one) for one in zip(*alone, strict=True))
    for n in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 25, 32, 33):
        y, dx = forward_and_dx(n)
        assert_same_bits(y, ys[:n])
        assert_same_bits(dx, dxs[:n])


# ---------------------------------------------------------------------------------- memory

ORDINARY = Case((1, 6, 9, 11), (10, 3, 3, 3), {"padding": 1, "stride": (1, 2), "groups": 2})


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("which", [0, 1, 3], ids=["x", "w", "dy"])
def test_any_layout_is_accepted(which, algorithm, rng, dtype):
    inputs = [*arrays(ORDINARY, normal, rng, dtype)]
    options = {**ORDINARY.options, "algorithm": algorithm}
    expected = passes(ops, *inputs, options)
    for array in layouts(inputs[which]).values():
        inputs[which] = array
        for name, value in passes(ops, *inputs, options).items():
            assert_same_bits(value, expected[name])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("case", [ORDINARY, *NASTY.values()], ids=["ordinary", *NASTY.keys()])
def test_out_is_written_whole_and_nothing_beside_it(case, algorithm, rng, dtype):
    """NaN in `out` does not survive, and the numbers around it do; at odd addresses too."""
    x, w, b, dy = arrays(case, integers, rng, dtype)
    options = {**case.options, "algorithm": algorithm}

    def check(function, like, fresh):
        memory = np.full(like.size + 66, -7.0, dtype)
        out = memory[33:-33].reshape(like.shape)
        out[...] = np.nan
        assert function(out) is out
        assert_same_bits(out, fresh)
        assert (memory[:33] == -7).all() and (memory[-33:] == -7).all()

    def forward(out):
        return ops.conv2d(x, w, b, out=out, **options)

    def backward(out):
        return ops.conv2d_backward_input(dy, w, x.shape, out=out, **options)

    check(forward, dy, forward(None))
    check(backward, x, backward(None))


def test_results_are_fresh_and_writeable(rng, dtype):
    inputs = arrays(ORDINARY, integers, rng, dtype)
    first, second = (passes(ops, *inputs, ORDINARY.options) for _ in range(2))
    for name, value in first.items():
        assert value.flags.writeable and value.flags.c_contiguous
        assert not np.shares_memory(value, second[name])
        value[...] = np.nan
        assert_same(second[name], in_float64(ORDINARY, inputs)[name])


@pytest.mark.parametrize("algorithm", EXACT)
@pytest.mark.parametrize(
    "case", [*NASTY.values(), *map(drawn, range(2000, 2030))], ids=lambda c: str(c.w)
)
def test_nan_reaches_what_sees_it_and_nothing_else(case, algorithm, rng):
    """One NaN pixel: NaN exactly where the reference has it, so no neighbour is ever read."""
    x, w, b, dy = arrays(case, integers, rng, F4)
    for a in (x, dy):
        a[tuple(rng.integers(0, a.shape))] = np.nan
    expected = in_float64(case, (x, w, b, dy))
    got = passes(ops, x, w, b, dy, {**case.options, "algorithm": algorithm})
    for name, value in expected.items():
        assert_same(got[name], value, zeros=0.99)


def test_many_python_threads_at_once(rng):
    case = Case((4, 16, 14, 14), (32, 16, 3, 3), {"padding": 1})
    inputs = arrays(case, normal, rng, F4)
    expected = passes(ops, *inputs, case.options)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(passes, ops, *inputs, case.options) for _ in range(40)]
    for job in jobs:
        for name, value in job.result().items():
            assert_same_bits(value, expected[name])


# ---------------------------------------------------------------------------------- sensitivity


@pytest.mark.parametrize("algorithm", EXACT)
def test_every_number_that_is_read_counts(algorithm, rng, dtype):
    """One input element changed by one: the comparison must fail, whichever element it is."""
    case = Case((2, 3, 5, 4), (4, 3, 3, 3), {"padding": 1, "algorithm": algorithm})
    inputs = arrays(case._replace(options={"padding": 1}), integers, rng, dtype)
    expected = in_float64(case, inputs)
    affects = {0: ("y", "dw"), 1: ("y", "dx"), 2: ("y",), 3: ("dx", "dw", "db")}
    for which, names in affects.items():
        for at in np.ndindex(inputs[which].shape):
            inputs[which][at] += 1
            got = passes(ops, *inputs, case.options)
            inputs[which][at] -= 1
            for name, value in got.items():
                if name in names:
                    with pytest.raises(AssertionError):
                        assert_same(value, expected[name])
                else:
                    assert_same(value, expected[name])


# ---------------------------------------------------------------------------------- im2col, col2im


@pytest.mark.parametrize(
    "case", [*NASTY.values(), *map(drawn, range(3000, 3040))], ids=lambda c: str(c.w)
)
def test_im2col_and_col2im(case, rng, dtype):
    options = {name: v for name, v in case.options.items() if name != "groups"}
    x = integers(rng, case.x, dtype)
    expected = reference.im2col(x, case.w[2:], **options)
    cols = ops.im2col(x, case.w[2:], **options)
    assert_same_bits(cols, expected)
    c = integers(rng, cols.shape, dtype)
    back = ops.col2im(c, case.x, case.w[2:], **options)
    assert_same(back, reference.col2im(c.astype(F8), case.x, case.w[2:], **options), zeros=0.99)
    assert (cols.astype(F8) * c).sum() == (
        back.astype(F8) * x
    ).sum()  # <im2col x, c> = <x, col2im c>
    for array in layouts(x).values():
        assert_same_bits(ops.im2col(array, case.w[2:], **options), cols)
    for array in layouts(c).values():
        assert_same_bits(ops.col2im(array, case.x, case.w[2:], **options), back)


def test_im2col_worked_by_hand(dtype):
    x = np.arange(1, 10, dtype=dtype).reshape(1, 1, 3, 3)
    expected = [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]]
    cols = ops.im2col(x, 2)
    assert cols.tolist() == [expected]
    assert ops.col2im(cols, x.shape, 2).tolist() == [[[[1, 4, 3], [8, 20, 12], [7, 16, 9]]]]


# ---------------------------------------------------------------------------------- hypothesis


@st.composite
def convolutions(draw):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    groups = draw(st.integers(1, 3))
    c_g, k_g = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    sides = st.tuples(st.integers(0, 4), st.integers(0, 4))
    options = {
        "stride": draw(pairs),
        "dilation": draw(pairs),
        "padding": draw(st.tuples(sides, sides)),
        "groups": groups,
        "padding_mode": draw(st.sampled_from(["zeros", "replicate"])),
    }
    size = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    shape = (draw(st.integers(1, 2)), c_g * groups, *size)
    return Case(shape, (k_g * groups, c_g, *kernel), options)


@given(convolutions(), st.sampled_from(EXACT), st.sampled_from([F4, F8]))
def test_any_shape_is_the_sum_over_single_numbers_or_refused(case, algorithm, dtype):
    rng = np.random.default_rng(0)
    options, ((top, bottom), (left, right)) = {**case.options}, case.options["padding"]
    room = [
        n + p - (k - 1) * d - 1
        for n, p, k, d in zip(
            case.x[2:], (top + bottom, left + right), case.w[2:], options["dilation"], strict=True
        )
    ]
    x, w, b = (integers(rng, s, dtype) for s in (case.x, case.w, case.w[:1]))
    if min(room) < 0:
        with pytest.raises(ValueError, match="conv2d: the window does not fit"):
            ops.conv2d(x, w, b, algorithm=algorithm, **options)
        return
    size = tuple(r // s + 1 for r, s in zip(room, options["stride"], strict=True))
    del options["padding"]
    expected = conv2d_by_single_numbers(x, w, b, size, top_left=(top, left), **options)
    y = ops.conv2d(x, w, b, algorithm=algorithm, **case.options)
    np.testing.assert_array_equal(y, expected)


# ---------------------------------------------------------------------------------- the kernels


def described(case, algorithm=1, dtype=F4):
    """The kernel's descriptor of a case; algorithm 1 is direct (fc_conv_algorithm)."""
    options = {**case.options}
    replicate = options.pop("padding_mode", "zeros") == "replicate"
    win = _checks.conv_window(
        "conv2d", case.x, case.w, **{"stride": 1, "padding": 0, "dilation": 1, "groups": 1,
                                     **options}
    )  # fmt: skip
    return _kernels.Conv2dDesc(
        np.empty(0, dtype), case.x, case.w, win.stride, win.padding, win.dilation, win.out,
        options.get("groups", 1), replicate, algorithm,
    )  # fmt: skip


def workspace_bytes(case, which, algorithm=1, n_threads=1):
    """What a pass asks for."""
    return _kernels.conv2d_workspace_bytes(described(case, algorithm), which, n_threads)


PASSES = ("forward", "backward_input", "backward_weight")


@pytest.mark.parametrize("which", PASSES)
@pytest.mark.parametrize("layer", CONV_LAYERS, ids=lambda layer: layer.name)
def test_the_direct_workspace_is_bounded_whatever_the_batch(layer, which):
    """Twice the weights and 24 MiB at most, where 4096 images' im2col matrix takes gigabytes."""
    options = {**layer.options, "groups": layer.groups}
    case = Case((4096, *layer.x_shape[1:]), layer.w_shape, options)
    weights = 4 * int(np.prod(layer.w_shape))
    assert 0 < workspace_bytes(case, which) <= 2 * weights + (24 << 20)


def test_tall_planes_are_packed_some_channels_at_a_time(rng):
    """A wide dilation: planes of 60 channels would take 22 MB, shifts of more overflow."""
    case = Case((2, 60, 3, 3), (20, 60, 2, 2), {"padding": ((300, 0), (300, 0)), "dilation": 300})
    check_exact(case, rng, F4, zeros=0.999)
    assert workspace_bytes(case, "backward_weight") < 48 << 20
    monster = Case((1, 9, 1, 1), (16, 9, 2, 2), {"padding": ((40000, 0),) * 2, "dilation": 40000})
    for which in PASSES:  # 6.4 GB a plane: asked for, or refused, but never wrapped around
        assert workspace_bytes(monster, which) > 6e9


def test_threads_without_work_ask_for_no_workspace():
    """Tall planes, and few weights, whose bands a task packs for itself."""
    for case in (
        Case((2, 40, 9, 4200), (18, 40, 5, 1), {"padding": (100, 0), "dilation": 50}),
        Case((128, 64, 56, 56), (56, 64, 1, 1), {}),
    ):
        one = workspace_bytes(case, "backward_weight")
        assert workspace_bytes(case, "backward_weight", n_threads=128) <= 17 * one


def test_the_bias_gradient_keeps_its_digits():
    """200,000 equal numbers a channel, which a single chain of float32 sums would not count."""
    dy, x = np.full((64, 9, 56, 56), 0.1, F4), np.zeros((64, 3, 57, 57), F4)
    _, db = ops.conv2d_backward_weight(dy, x, (9, 3, 2, 2))
    np.testing.assert_allclose(db, np.float64(F4.type(0.1)) * 64 * 56 * 56, rtol=2e-5)


# ---------------------------------------------------------------------------------- inference


SHAPES = [*(p.values[0] for p in NAMED), *NASTY.values(), *map(drawn, range(4000, 4030))]
NO_IMAGES = Case((0, 20, 9, 8), (24, 20, 3, 3), {"padding": 1})


@pytest.mark.parametrize("algorithm", ALGORITHMS[:3])
@pytest.mark.parametrize("padding_mode", ["zeros", "replicate"])
@pytest.mark.parametrize("case", [*SHAPES, NO_IMAGES], ids=lambda c: str(c.w))
def test_a_residual_and_relu_have_the_bits_of_ops_done_apart(
    case, padding_mode, algorithm, rng, dtype
):
    """What a plan calls: sums are finished on their way out, in place too."""
    case = case._replace(options={**case.options, "padding_mode": padding_mode})
    x, w, b, residual = arrays(case, normal, rng, dtype)
    residual[rng.random(residual.shape) < 0.1] = np.nan
    residual[rng.random(residual.shape) < 0.1] = -0.0
    desc = described(case, ALGORITHMS.index(algorithm), dtype)
    n_threads = 1 + case.w[0] % 3
    scratch = _checks.workspace(
        "conv2d", _kernels.conv2d_workspace_bytes(desc, "forward", n_threads)
    )
    y = ops.conv2d(x, w, b, algorithm=algorithm, **case.options)
    for relu in (False, True):
        apart = {"": ops.relu(y) if relu else y, "sum": ops.add(y, residual, relu=relu)}
        apart["in place"] = apart["sum"]
        for name, expected in apart.items():
            got = residual.copy() if name == "in place" else np.full_like(y, np.nan)
            added = {"": None, "sum": residual, "in place": got}[name]
            _kernels.conv2d_forward(desc, x, w, b, got, scratch, n_threads, added, relu)
            assert_same_bits(got, expected)


@pytest.mark.parametrize("algorithm", ALGORITHMS[:3])
@pytest.mark.parametrize("case", ALONE.values(), ids=ALONE.keys())
def test_prepared_weights_serve_any_batch_and_thread_count(case, algorithm, rng, dtype):
    x, w, b, _ = arrays(case, normal, rng, dtype)
    code = ALGORITHMS.index(algorithm)
    expected = ops.conv2d(x, w, b, algorithm=algorithm, **case.options)
    first = described(case._replace(x=(0, *case.x[1:])), code, dtype)
    nbytes = _kernels.conv2d_prepared_bytes(first)
    depthwise = w.shape[0] == x.shape[1] and w.shape[1] == 1
    assert nbytes > 0 or depthwise
    prepared = _checks.workspace("conv2d", nbytes)
    _kernels.conv2d_prepare(first, w, prepared, 2)
    if nbytes == 0:
        prepared = None  # and the kernels read w
    else:
        w = None  # no longer read
    for n, n_threads in ((0, 1), (1, 3), (5, 2), (33, 1), (33, 4)):
        desc = described(case._replace(x=(n, *case.x[1:])), code, dtype)
        y = np.full((n, *expected.shape[1:]), np.nan, dtype)
        scratch = _checks.workspace(
            "conv2d", _kernels.conv2d_workspace_bytes(desc, "prepared", n_threads)
        )
        _kernels.conv2d_forward(desc, x[:n], w, b, y, scratch, n_threads, prepared=prepared)
        assert_same_bits(y, expected[:n])


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "case",
    [
        Case((16, 2, 9, 9), (5, 2, 5, 5), {"padding": 2}),
        Case((2, 16, 12, 12), (16, 16, 3, 3), {"padding": 1}),
        Case((3, 8, 7, 5), (8, 4, 1, 1), {"groups": 2}),
        Case((2, 6, 8, 8), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
        Case((2, 20, 17, 16), (24, 20, 3, 3), {"padding": 2, "dilation": 2}),
        Case((2, 3, 9, 9), (4, 3, 4, 4), {"stride": 2, "padding": 1, "padding_mode": "replicate"}),
        Case((0, 3, 9, 9), (4, 3, 3, 3), {}),
        Case((2, 0, 4, 4), (3, 0, 2, 2), {}),
    ],
    ids=str,
)
def test_relu_at_once_has_the_bits_of_relu_afterwards(case, algorithm, rng, dtype):
    x, w, b, _ = arrays(case, normal, rng, dtype)
    options = {**case.options, "algorithm": algorithm}
    expected = reference.conv2d(x, w, b, relu=True, **case.options)
    got = ops.conv2d(x, w, b, relu=True, **options)
    if case.x[1]:
        assert_close(got, expected, tolerance(algorithm, dtype), zeros=1)  # relu makes half of them
    x[:1, :1, :2, :2] = np.nan
    y = ops.conv2d(x, w, b, relu=True, **options)
    assert_same_bits(y, ops.relu(ops.conv2d(x, w, b, **options)))
    if case.x[0] and case.x[1]:
        assert (y == 0).any()
        assert np.isnan(y).any()
