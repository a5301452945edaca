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


@from_source
@pytest.mark.parametrize("m, r", [(4, 3), (6, 3), (4, 5)])
def test_the_matrices_correlate_exactly(m, r):
    """A^T [(G g) * (BT d)] in rational arithmetic, for every pair of unit vectors: bilinear."""
    a, g, bt = construction().construct(m, r)
    transposed = [list(column) for column in zip(*a, strict=True)]
    for i in range(r):
        for j in range(m + r - 1):
            products = [
                u * v
                for u, v in zip(times(g, unit(r, i)), times(bt, unit(m + r - 1, j)), strict=True)
            ]
            assert times(transposed, products) == [Fraction(int(j - k == i)) for k in range(m)]


@from_source
@pytest.mark.parametrize("m, r", [(4, 3), (6, 3), (4, 5)])
def test_rows_come_in_pairs_that_differ_in_the_sign_of_odd_columns(m, r):
    """What the kernels' shortcut rests on."""
    for matrix in construction().construct(m, r):
        for j in range(1, len(matrix) - 1, 2):
            assert matrix[j + 1] == [v * (-1) ** k for k, v in enumerate(matrix[j])]


@from_source
def test_the_header_is_what_the_script_prints():
    header = ROOT / "csrc/winograd_matrices.h"
    assert header.read_text() == construction().header() + "\n"


def passes(x, w, dy, padding, algorithm):
    options = {"padding": padding, "algorithm": algorithm}
    dw, _ = ops.conv2d_backward_weight(dy, x, w.shape, **options)
    return [
        ops.conv2d(x, w, **options),
        ops.conv2d_backward_input(dy, w, x.shape, **options),
        dw,
    ]


def expected(x, w, dy, padding):
    x, w, dy = (a.astype(F8) for a in (x, w, dy))
    dw, _ = reference.conv2d_backward_weight(dy, x, w.shape, padding=padding)
    return [
        reference.conv2d(x, w, padding=padding),
        reference.conv2d_backward_input(dy, w, x.shape, padding=padding),
        dw,
    ]


# (kernel, image size): bounds on the error of the three passes over the deviation of the result,
# rms and largest, float32, 64 channels; F(4, 3), F(6, 3) (forward and backward input), F(4, 5).
BOUNDS = {(3, 28): (3e-6, 3e-5), (3, 60): (8e-6, 9e-5), (5, 28): (8e-6, 9e-5)}


@pytest.mark.parametrize("relu", [False, True], ids=["normal", "relu"])
@pytest.mark.parametrize("kernel, size", BOUNDS)
def test_the_error_stays_within_the_stated_bounds(kernel, size, relu, rng):
    x = normal(rng, (2, 64, size, size), np.float32)
    x = np.maximum(x, 0) if relu else x
    w = normal(rng, (64, 64, kernel, kernel), np.float32)
    dy = normal(rng, (2, 64, size, size), np.float32)
    rms, largest = BOUNDS[kernel, size]
    for got, value in zip(
        passes(x, w, dy, kernel // 2, "winograd"), expected(x, w, dy, kernel // 2), strict=True
    ):
        error = (got - value) / value.std()
        assert 0 < np.sqrt((error**2).mean()) < rms
        assert abs(error).max() < largest


@pytest.mark.parametrize("kernel, size", [(3, 60), (3, 28), (5, 28)])
def test_winograd_is_chosen_by_shape_and_set_exact_forbids_it(kernel, size, rng):
    shape = (32, 32, kernel, kernel)
    x, w, dy = (
        integers(rng, s, np.float32) for s in ((1, 32, size, size), shape, (1, 32, size, size))
    )
    auto, winograd, direct = (
        passes(x, w, dy, kernel // 2, a) for a in ("auto", "winograd", "direct")
    )
    for a, b in zip(auto, winograd, strict=True):
        assert_same_bits(a, b)
    assert not all(np.array_equal(a, b) for a, b in zip(auto, direct, strict=True))
    fastcnn.set_exact(True)
    try:
        exact = passes(x, w, dy, kernel // 2, "auto")
    finally:
        fastcnn.set_exact(False)
    for a, b, value in zip(exact, direct, expected(x, w, dy, kernel // 2), strict=True):
        assert_same_bits(a, b)
        assert_same(a, value)


@pytest.mark.parametrize(
    "options",
    [{"stride": 2}, {"dilation": 2}, {"padding_mode": "replicate", "padding": 1}],
    ids=["stride", "dilation", "replicate"],
)
def test_other_convolutions_run_direct(options, rng):
    x = integers(rng, (1, 32, 20, 20), np.float32)
    w = integers(rng, (32, 32, 3, 3), np.float32)
    assert_same_bits(
        ops.conv2d(x, w, algorithm="winograd", **options),
        ops.conv2d(x, w, algorithm="direct", **options),
    )


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
