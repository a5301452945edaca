"""Depthwise convolution on short rows and small maps, whose kernels are others: every pass against
the naive reference, with uneven padding, and no pixel read that a tap does not see."""

import numpy as np
import pytest

from fastcnn import ops, reference

MAPS = [
    (9, 9),
    (16, 16),
    (8, 8),
    (1, 8),
    (4, 8),
    (9, 7),
    (9, 14),
    (5, 16),
    (13, 15),
    (6, 4),
    (30, 7),
]
ROWS = [(0, 0), (1, 6), (0, 4), (9, 1), None]  # padding above and below; None: the usual


def cases(kernel):
    half = kernel // 2
    for rows in ROWS:
        for stride in (1, 2):
            yield {"padding": (rows or (half, half), (half, half)), "stride": stride, "groups": 5}
    yield {"padding": ((half, half), (half, 0)), "stride": 1, "groups": 5}


def passes(of, x, w, dy, options):
    dw, db = of.conv2d_backward_weight(dy, x, w.shape, **options)
    dx = of.conv2d_backward_input(dy, w, x.shape, **options)
    return of.conv2d(x, w, **options), dx, dw, db


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("size", MAPS, ids=str)
def test_small_maps_with_any_padding(size, kernel, rng, dtype):
    """Fifteen planes: where two share a vector, the last is alone. Then NaN in the last row and the
    last column: it shows in the gradient of the weights where the reference has it, only."""
    x = rng.normal(size=(3, 5, *size)).astype(dtype)
    w = rng.normal(size=(5, 1, kernel, kernel)).astype(dtype)
    most = 1e-4 if dtype == np.float32 else 1e-12
    for options in cases(kernel):
        (top, bottom), (left, right) = options["padding"]
        if size[0] + top + bottom < kernel or size[1] + left + right < kernel:
            continue
        exact_x, exact_w = x.astype(np.float64), w.astype(np.float64)
        shape = reference.conv2d(exact_x, exact_w, **options).shape
        dy = rng.normal(size=shape).astype(dtype)
        exact_dy = dy.astype(np.float64)
        expected = passes(reference, exact_x, exact_w, exact_dy, options)
        for got, value in zip(passes(ops, x, w, dy, options), expected, strict=True):
            assert abs(got - value).max() < most * max(1, abs(value).max())
        holes = x.copy()
        holes[:, :, -1] = holes[:, :, :, -1] = np.nan
        got, _ = ops.conv2d_backward_weight(dy, holes, w.shape, **options)
        value, _ = reference.conv2d_backward_weight(
            exact_dy, holes.astype(np.float64), w.shape, **options
        )
        np.testing.assert_array_equal(np.isnan(got), np.isnan(value))
