"""Winograd's convolution: its construction in exact arithmetic, its error, and where it is chosen.

What all algorithms share (threads, single samples, layouts, `out`) is in test_conv.py.
"""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same, assert_same_bits, integers, normal

import fastcnn
from fastcnn import ops, reference

ROOT = Path(__file__).parents[2]
F8 = np.dtype(np.float64)
from_source = pytest.mark.skipif(
    not (ROOT / "scripts").is_dir(), reason="needs the source tree: an installed wheel is tested"
)


def construction():
    """scripts/make_winograd.py as a module."""
    spec = importlib.util.spec_from_file_location(
        "make_winograd", ROOT / "scripts/make_winograd.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def times(matrix, vector):
    return [sum((a * b for a, b in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def unit(n, i):
    return [Fraction(int(i == j)) for j in range(n)]


def stride2_input(h, d):
    """Eight pixels of dx of five of dy, by taps turned round."""
    pairs = [(h[1] * d[k], h[0] * d[k] + h[2] * d[k + 1]) for k in range(4)]
    return [value for pair in pairs for value in pair]


def stride2_input_of_4(h, d):
    """The same of six pixels of dy, by four taps."""
    pairs = [(h[0] * d[k] + h[2] * d[k + 1], h[1] * d[k + 1] + h[3] * d[k + 2]) for k in range(4)]
    return [value for pair in pairs for value in pair]


def correlation(m, stride=1):
    return lambda g, d: [sum(g[i] * d[stride * k + i] for i in range(len(g))) for k in range(m)]


# What each variant's matrices compute, of taps and source.
MEANING = {
    "4_3": correlation(4),
    "2_5": correlation(2),
    "6_3": correlation(6),
    "4_5": correlation(4),
    "4_7": correlation(4),
    "S2": correlation(4, 2),
    "S2T": stride2_input,
    "S4": correlation(4, 2),
    "S4T": stride2_input_of_4,
}
PAIRS = {"4_3": 2, "2_5": 2, "6_3": 3, "4_5": 3, "4_7": 4, "S2": 2, "S2T": 2, "S4": 4, "S4T": 4}


@from_source
@pytest.mark.parametrize("variant", MEANING)
def test_the_matrices_are_exact(variant):
    """A^T [(G g) * (BT d)] in rational arithmetic, for every pair of unit vectors: bilinear."""
    a, g, bt = construction().variants()[variant]
    transposed = [list(column) for column in zip(*a, strict=True)]
    taps, source = len(g[0]), len(bt[0])
    for i in range(taps):
        for j in range(source):
            filters = times(g, unit(taps, i))
            filters += filters[-1:] * (len(bt) - len(g))  # products that share the last
            products = [u * v for u, v in zip(filters, times(bt, unit(source, j)), strict=True)]
            expected = MEANING[variant](unit(taps, i), unit(source, j))
            assert times(transposed, products) == expected


@from_source
@pytest.mark.parametrize("variant", MEANING)
def test_rows_come_in_pairs_that_differ_in_signs(variant):
    """What the kernels' shortcut rests on: after the first row, so many pairs."""
    for matrix in construction().variants()[variant]:
        for j in range(1, 2 * PAIRS[variant], 2):
            assert [abs(v) for v in matrix[j]] == [abs(v) for v in matrix[j + 1]]
        for row in matrix[2 * PAIRS[variant] + 1 + (variant not in ("S2", "S2T")) :]:
            assert sorted(row)[-1] == sum(row) == 1  # the odd taps' rows cost nothing


@from_source
def test_the_header_is_what_the_script_prints():
    header = ROOT / "csrc/winograd_matrices.h"
    assert header.read_text() == construction().header() + "\n"


def passes(x, w, dy, padding, algorithm, stride=1):
    options = {"stride": stride, "padding": padding, "algorithm": algorithm}
    dw, _ = ops.conv2d_backward_weight(dy, x, w.shape, **options)
    return [
        ops.conv2d(x, w, **options),
        ops.conv2d_backward_input(dy, w, x.shape, **options),
        dw,
    ]


def expected(x, w, dy, padding, stride=1):
    x, w, dy = (a.astype(F8) for a in (x, w, dy))
    options = {"stride": stride, "padding": padding}
    dw, _ = reference.conv2d_backward_weight(dy, x, w.shape, **options)
    return [
        reference.conv2d(x, w, **options),
        reference.conv2d_backward_input(dy, w, x.shape, **options),
        dw,
    ]


# (kernel, image size, stride): bounds on the error of the three passes over the deviation of the
# result, rms and largest, float32, 64 channels; F(4, 3), F(6, 3) (forward and backward input),
# F(4, 5), stride 2 with three and with four taps.
BOUNDS = {
    (3, 28, 1): (3e-6, 3e-5),
    (3, 60, 1): (8e-6, 9e-5),
    (5, 28, 1): (8e-6, 9e-5),
    (3, 32, 2): (1e-6, 2e-5),
    (4, 28, 2): (1e-6, 2e-5),
}


def half(kernel):
    """The padding with which an even image keeps its size, or with stride 2 has half of it."""
    return (kernel - 1) // 2


@pytest.mark.parametrize("relu", [False, True], ids=["normal", "relu"])
@pytest.mark.parametrize("kernel, size, stride", BOUNDS)
def test_the_error_stays_within_the_stated_bounds(kernel, size, stride, relu, rng):
    x = normal(rng, (2, 64, size, size), np.float32)
    x = np.maximum(x, 0) if relu else x
    w = normal(rng, (64, 64, kernel, kernel), np.float32)
    dy = normal(rng, (2, 64, size // stride, size // stride), np.float32)
    rms, largest = BOUNDS[kernel, size, stride]
    for got, value in zip(
        passes(x, w, dy, half(kernel), "winograd", stride),
        expected(x, w, dy, half(kernel), stride),
        strict=True,
    ):
        error = (got - value) / value.std()
        assert 0 < np.sqrt((error**2).mean()) < rms
        assert abs(error).max() < largest


@pytest.mark.parametrize(
    "kernel, stride, size, padding",
    [(11, 4, 67, 2), (7, 2, 61, 3), (5, 2, 40, ((1, 2), (2, 0))), (6, 2, 32, 0), (13, 3, 50, 1)],
)
def test_large_kernels_with_strides_go_by_their_phases(kernel, stride, size, padding, rng):
    """First layers of AlexNet and ResNets, others of 3 to 5 taps a phase: y and dw."""
    x = normal(rng, (5, 5, size, size), np.float32)
    w, b = normal(rng, (24, 5, kernel, kernel), np.float32), normal(rng, 24, np.float32)
    options = {"stride": stride, "padding": padding}
    value = reference.conv2d(*(a.astype(F8) for a in (x, w, b)), **options)
    y = ops.conv2d(x, w, b, **options)
    error = (y - value) / value.std()
    assert 0 < np.sqrt((error**2).mean()) < 8e-6
    assert abs(error).max() < 9e-5
    assert_same_bits(ops.conv2d(x, w, b, **options, algorithm="winograd"), y)
    assert_same_bits(ops.conv2d(x[3:4], w, b, **options), y[3:4])
    direct = ops.conv2d(x, w, b, **options, algorithm="direct")
    assert (y != direct).any()
    dy = normal(rng, y.shape, np.float32)

    def gradients(**how):
        return ops.conv2d_backward_weight(dy, x, w.shape, **options, **how)

    exact = reference.conv2d_backward_weight(dy.astype(F8), x.astype(F8), w.shape, **options)
    for got, value, direct_sum in zip(
        gradients(), exact, gradients(algorithm="direct"), strict=True
    ):
        error = (got - value) / value.std()
        assert 0 < np.sqrt((error**2).mean()) < 1e-5
        assert abs(error).max() < 1e-4
        assert (got != direct_sum).any()
    fastcnn.set_exact(True)
    try:
        assert_same_bits(ops.conv2d(x, w, b, **options), direct)
        assert_same_bits(gradients()[0], gradients(algorithm="direct")[0])
    finally:
        fastcnn.set_exact(False)


def test_large_kernels_with_strides_on_more_images_than_go_at_a_time(rng):
    x = normal(rng, (30, 3, 179, 179), np.float32)  # 8 MiB of phases are 21 images
    w, b = normal(rng, (16, 3, 11, 11), np.float32), normal(rng, 16, np.float32)
    results, gradients = [], []
    for threads in (1, 3):
        with fastcnn.threads(threads):
            results.append(ops.conv2d(x, w, b, stride=4, relu=True))
            gradients.append(ops.conv2d_backward_weight(results[0], x, w.shape, stride=4))
    assert_same_bits(*results)
    for one, three in zip(*gradients, strict=True):
        assert_same_bits(one, three)
    parts = [
        ops.conv2d_backward_weight(y, part, w.shape, stride=4, algorithm="direct")
        for y, part in zip(np.split(results[0], 2), np.split(x, 2), strict=True)
    ]
    for got, *halves in zip(gradients[0], *parts, strict=True):
        assert abs(got - sum(halves)).max() < 1e-4 * got.std()
    for i in (0, 20, 21, 29):
        assert_same_bits(ops.conv2d(x[i : i + 1], w, b, stride=4, relu=True), results[0][i : i + 1])


@pytest.mark.parametrize("size, direct", [(24, False), (28, True), (32, False)])
def test_strided_gradients_of_weights_whose_last_tile_is_cut_off_are_direct(size, direct, rng):
    """Of 14x14 outputs tiles of 4 save too little; forward and the input's gradient gain there."""
    x, w = normal(rng, (1, 64, size, size), np.float32), normal(rng, (64, 64, 3, 3), np.float32)
    dy = normal(rng, (1, 64, size // 2, size // 2), np.float32)
    auto, plain = (passes(x, w, dy, 1, a, 2) for a in ("auto", "direct"))
    same = [np.array_equal(a, b) for a, b in zip(auto, plain, strict=True)]
    assert same[:3] == [False, False, direct]


@pytest.mark.parametrize("kernel, size, stride", BOUNDS)
def test_winograd_is_chosen_by_shape_and_set_exact_forbids_it(kernel, size, stride, rng):
    shape, out = (64, 64, kernel, kernel), (1, 64, size // stride, size // stride)
    x, w, dy = (integers(rng, s, np.float32) for s in ((1, 64, size, size), shape, out))
    auto, winograd, direct = (
        passes(x, w, dy, half(kernel), a, stride) for a in ("auto", "winograd", "direct")
    )
    for a, b in zip(auto, winograd, strict=True):
        assert_same_bits(a, b)
    assert not all(np.array_equal(a, b) for a, b in zip(auto, direct, strict=True))
    fastcnn.set_exact(True)
    try:
        exact = passes(x, w, dy, half(kernel), "auto", stride)
    finally:
        fastcnn.set_exact(False)
    for a, b, value in zip(exact, direct, expected(x, w, dy, half(kernel), stride), strict=True):
        assert_same_bits(a, b)
        assert_same(a, value)


LINES = {3: (1e-6, 1e-5), 5: (3e-6, 3e-5), 7: (4e-6, 4e-5)}  # taps: bounds as above


def line(taps, down):
    """The kernel size of a row or a column, and the padding that keeps an image's size."""
    size = (taps, 1) if down else (1, taps)
    return size, tuple((k - 1) // 2 for k in size)


@pytest.mark.parametrize("relu", [False, True], ids=["normal", "relu"])
@pytest.mark.parametrize("down", [False, True], ids=["row", "column"])
@pytest.mark.parametrize("taps", LINES)
def test_the_error_of_lines_stays_within_the_stated_bounds(taps, down, relu, rng):
    kernel, padding = line(taps, down)
    x, w, dy = (
        normal(rng, s, np.float32) for s in ((2, 64, 24, 28), (64, 64, *kernel), (2, 64, 24, 28))
    )
    x = np.maximum(x, 0) if relu else x
    rms, largest = LINES[taps]
    got, value = passes(x, w, dy, padding, "winograd"), expected(x, w, dy, padding)
    for a, b in zip(got, value, strict=True):
        error = (a - b) / b.std()
        assert 0 < np.sqrt((error**2).mean()) < rms
        assert abs(error).max() < largest
    for auto, winograd in zip(passes(x, w, dy, padding, "auto"), got, strict=True):
        assert_same_bits(auto, winograd)
    with fastcnn.threads(3):
        for again, winograd in zip(passes(x, w, dy, padding, "winograd"), got, strict=True):
            assert_same_bits(again, winograd)
    for i in range(2):
        assert_same_bits(ops.conv2d(x[i : i + 1], w, padding=padding), got[0][i : i + 1])


@pytest.mark.parametrize("down", [False, True], ids=["row", "column"])
@pytest.mark.parametrize("taps", LINES)
@pytest.mark.parametrize("size", [(16, 16), (7, 23), (30, 9)], ids=str)
@pytest.mark.parametrize("padding", [0, ((0, 2), (3, 0)), ((8, 1), (0, 9))], ids=str)
def test_lines_of_any_size_padding_and_groups(padding, size, taps, down, rng, dtype):
    kernel, _ = line(taps, down)
    x, w = normal(rng, (3, 34, *size), dtype), normal(rng, (38, 17, *kernel), dtype)
    options = {"padding": padding, "groups": 2, "algorithm": "winograd"}
    exact = {"padding": padding, "groups": 2}
    value = reference.conv2d(x.astype(F8), w.astype(F8), **exact)
    dy = normal(rng, value.shape, dtype)
    back = reference.conv2d_backward_input(dy.astype(F8), w.astype(F8), x.shape, **exact)
    most = 5e-5 if dtype == np.float32 else 1e-13
    assert abs(ops.conv2d(x, w, **options) - value).max() < most * value.std()
    got = ops.conv2d_backward_input(dy, w, x.shape, **options)
    assert abs(got - back).max() < most * back.std()
    for mode in ("zeros", "replicate"):
        options["padding_mode"] = exact["padding_mode"] = mode
        value = reference.conv2d(x.astype(F8), w.astype(F8), **exact)
        assert abs(ops.conv2d(x, w, **options) - value).max() < most * value.std()
        for got, back in zip(
            ops.conv2d_backward_weight(dy, x, w.shape, **options),
            reference.conv2d_backward_weight(dy.astype(F8), x.astype(F8), w.shape, **exact),
            strict=True,
        ):
            assert abs(got - back).max() < most * back.std()


def test_lines_are_chosen_where_they_pay_and_for_rows_too(rng):
    """Not for few channels, where the last tile hangs over, nor for rows of very many tiles."""
    cases = [(32, 28, True), (8, 28, False), (32, 5, False), (32, 3000, False)]
    for channels, width, chosen in cases:
        x, w = (
            normal(rng, s, np.float32)
            for s in ((2, channels, 3, width), (channels, channels, 1, 3))
        )
        auto, direct = (ops.conv2d(x, w, padding=(0, 1), algorithm=a) for a in ("auto", "direct"))
        assert np.array_equal(auto, direct) is not chosen
    x, w = (normal(rng, s, np.float32) for s in ((2, 32, 100), (32, 32, 7)))
    assert_same_bits(ops.conv1d(x, w), ops.conv2d(x[:, :, None], w[:, :, None])[:, :, 0])
    direct = ops.conv2d(x[:, :, None], w[:, :, None], algorithm="direct")[:, :, 0]
    assert not np.array_equal(ops.conv1d(x, w), direct)


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 3},
        {"stride": (1, 2)},
        {"dilation": 2, "stride": 2},
        {"dilation": 2, "padding_mode": "replicate", "padding": 2},
    ],
    ids=["stride", "strides", "dilation and stride", "dilation and replicate"],
)
def test_other_convolutions_run_direct(options, rng):
    x = integers(rng, (1, 32, 20, 20), np.float32)
    w = integers(rng, (32, 32, 3, 3), np.float32)
    assert_same_bits(
        ops.conv2d(x, w, algorithm="winograd", **options),
        ops.conv2d(x, w, algorithm="direct", **options),
    )


@pytest.mark.parametrize("padding", [1, ((0, 2), (3, 0)), ((5, 1), (0, 9))], ids=str)
@pytest.mark.parametrize("size", [(4, 5), (16, 16), (17, 23), (60, 57)], ids=str)
@pytest.mark.parametrize("kernel, stride", [(3, 1), (3, 2), (4, 2), (5, 1)])
def test_borders_are_replicated(kernel, stride, size, padding, rng, dtype):
    check_replicated(kernel, stride, size, padding, rng, dtype)


@pytest.mark.parametrize(
    "kernel, stride, left", [(3, 2, 9), (3, 2, 17), (4, 2, 10), (3, 1, 4), (5, 1, 4)]
)
def test_tiles_that_see_padding_alone_are_replicated(kernel, stride, left, rng, dtype):
    check_replicated(kernel, stride, (8, 1), ((2, 1), (left, 0)), rng, dtype)


def check_replicated(kernel, stride, size, padding, rng, dtype):
    x, w = normal(rng, (2, 19, *size), dtype), normal(rng, (17, 19, kernel, kernel), dtype)
    options = {"stride": stride, "padding": padding, "padding_mode": "replicate"}
    value = reference.conv2d(x.astype(F8), w.astype(F8), **options)
    dy = normal(rng, value.shape, dtype)
    dw, db = reference.conv2d_backward_weight(dy.astype(F8), x.astype(F8), w.shape, **options)
    options["algorithm"] = "winograd"
    got = ops.conv2d(x, w, **options)
    assert abs(got - value).max() < (5e-5 if dtype == np.float32 else 1e-13) * value.std()
    got_dw, got_db = ops.conv2d_backward_weight(dy, x, w.shape, **options)
    assert abs(got_dw - dw).max() < (5e-5 if dtype == np.float32 else 1e-13) * dw.std()
    most = abs(dy).sum((0, 2, 3)).max()
    np.testing.assert_allclose(got_db, db, rtol=0, atol=most * np.finfo(dtype).eps * 8)


@pytest.mark.parametrize("padding", [0, 1, 2, ((0, 1), (1, 0)), ((3, 2), (0, 3))], ids=str)
@pytest.mark.parametrize("size", [(16, 16), (17, 23), (5, 34)], ids=str)
@pytest.mark.parametrize("kernel", [3, 4])
def test_stride_2_serves_any_size_and_padding(kernel, size, padding, rng, dtype):
    x, w = normal(rng, (3, 18, *size), dtype), normal(rng, (20, 18, kernel, kernel), dtype)
    out = reference.conv2d(x[:0].astype(F8), w.astype(F8), stride=2, padding=padding).shape
    dy = normal(rng, (3, 20, *out[2:]), dtype)
    for got, value in zip(
        passes(x, w, dy, padding, "winograd", 2), expected(x, w, dy, padding, 2), strict=True
    ):
        assert abs(got - value).max() < (2e-5 if dtype == np.float32 else 4e-14) * value.std()


# images, size, kernel, groups, options
DILATED = [
    (2, (28, 28), 3, 1, {"dilation": 2, "padding": 2}),
    (2, (17, 25), 3, 1, {"dilation": (1, 3), "padding": (1, 3)}),
    (3, (19, 24), 3, 2, {"dilation": 2}),
    (1, (40, 31), 3, 1, {"dilation": 3, "padding": ((3, 2), (0, 7))}),
    (2, (24, 21), 5, 1, {"dilation": 2, "padding": 4}),
    (1, (9, 5), 3, 1, {"dilation": 4, "padding": 4}),
    (30, (57, 50), 3, 1, {"dilation": 2, "padding": 2}),  # more than are copied at a time
    (2, (18, 40), (1, 7), 1, {"dilation": 3, "padding": (0, 9)}),
    (2, (40, 9), (5, 1), 2, {"dilation": (2, 1)}),
]


@pytest.mark.parametrize("images, size, kernel, groups, options", DILATED, ids=str)
def test_dilated_convolutions_run_by_phases(images, size, kernel, groups, options, rng, dtype):
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    x = normal(rng, (images, 18 * groups, *size), dtype)
    w = normal(rng, (20 * groups, 18, *kernel), dtype)
    b = normal(rng, (20 * groups,), dtype)
    options = {**options, "groups": groups}
    y = reference.conv2d(x.astype(F8), w.astype(F8), b.astype(F8), **options)
    dy = normal(rng, y.shape, dtype)
    values = [
        y,
        reference.conv2d_backward_input(dy.astype(F8), w.astype(F8), x.shape, **options),
        *reference.conv2d_backward_weight(dy.astype(F8), x.astype(F8), w.shape, **options),
    ]

    def results():
        return [
            ops.conv2d(x, w, b, algorithm="winograd", **options),
            ops.conv2d_backward_input(dy, w, x.shape, algorithm="winograd", **options),
            *ops.conv2d_backward_weight(dy, x, w.shape, algorithm="winograd", **options),
        ]

    got = results()
    for a, value in zip(got, values, strict=True):
        assert abs(a - value).max() < (9e-5 if dtype == np.float32 else 2e-13) * value.std()
    for n_threads in (1, 3):
        with fastcnn.threads(n_threads):
            for a, again in zip(got, results(), strict=True):
                assert_same_bits(a, again)


@pytest.mark.parametrize(
    "size, dilation, by_phases", [(28, 2, True), (28, 12, False), (9, 4, False)]
)
def test_phases_that_are_too_small_for_tiles_run_direct(size, dilation, by_phases, rng):
    x, w = (normal(rng, s, np.float32) for s in ((1, 32, size, size), (32, 32, 3, 3)))
    options = {"dilation": dilation, "padding": dilation}
    auto, direct = (ops.conv2d(x, w, algorithm=a, **options) for a in ("auto", "direct"))
    assert np.array_equal(auto, direct) is not by_phases


def test_nan_stays_in_the_tiles_that_see_it(rng):
    """A tile's sums mix all its pixels, so NaN may take a whole tile, but never the next image."""
    x = normal(rng, (2, 32, 28, 28), np.float32)
    w = normal(rng, (32, 32, 3, 3), np.float32)
    x[0, 3, 10, 10] = np.nan
    y = ops.conv2d(x, w, padding=1, algorithm="winograd")
    assert np.isnan(y[0, :, 9:12, 9:12]).all()
    assert not np.isnan(y[0, :, :8]).any()
    assert not np.isnan(y[0, :, 16:]).any()
    assert not np.isnan(y[1]).any()
