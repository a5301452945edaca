"""RoI pooling against its reference, and that against Fast R-CNN's definition by hand."""

import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_same,
    assert_same_bits,
    distinct,
    integers,
    layouts,
    normal,
    numerical_gradient,
)

from fastcnn import ops, reference


def boxes_of(rng, n, count, size, dtype):
    """Boxes anywhere, over the border too, some without an area."""
    image = rng.integers(0, n, (count, 1))
    corners = rng.uniform(-4, size + 6, (count, 2, 2))
    corners.sort(1)
    corners[::7] = corners[::7, ::-1]  # ends before it starts: one pixel
    return np.concatenate([image, corners.reshape(count, 4)], 1).astype(dtype)


@pytest.mark.parametrize("library", [ops, reference])
def test_by_hand(library):
    """A 3x4 box in a 2x2 grid: 1.5 columns and 2 rows a cell, so the middle column is in both."""
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, at = library.roi_pool(x, np.array([[0.0, 0, 0, 2, 3]]), 2)
    assert y.tolist() == [[[[5, 6], [13, 14]]]] and at.tolist() == y.tolist()
    # corners are rounded, halves away from zero: 1.5 and 2.49 on a map of a quarter the size
    y, _ = library.roi_pool(x, np.array([[0.0, 6, 6, 9.96, 9.96]]), 1, 0.25)
    assert y.item() == 10
    # over the border: what is left of a cell counts; a cell that is off the map is 0
    y, at = library.roi_pool(x - 20, np.array([[0.0, 2, 2, 5, 5]]), 2)
    assert y.tolist() == [[[[-5, 0], [0, 0]]]] and at.tolist() == [[[[15, -1], [-1, -1]]]]
    # a point is one pixel, that every cell shares
    y, _ = library.roi_pool(x, np.array([[0.0, 1, 2, 1, 2]]), (1, 3))
    assert y.tolist() == [[[[9, 9, 9]]]]
    # the first of equal maxima, and NaN before all
    x = np.array([[[[1.0, 3, 3], [3, 0, 2]]]])
    assert library.roi_pool(x, np.array([[0.0, 0, 0, 2, 1]]), 1)[1].item() == 1
    x[0, 0, 1, 1] = np.nan
    y, at = library.roi_pool(x, np.array([[0.0, 0, 0, 2, 1]]), 1)
    assert np.isnan(y.item()) and at.item() == 4


def test_a_box_of_the_whole_map_is_max_pooling(rng):
    x = distinct(rng, (2, 3, 6, 8), np.float32)
    boxes = np.array([[i, 0, 0, 7, 5] for i in range(2)], np.float32)
    for got, expected in zip(ops.roi_pool(x, boxes, (3, 4)), ops.max_pool2d(x, 2), strict=True):
        assert_same(got, expected)


@pytest.mark.parametrize("scale", [1.0, 0.5, 1 / 16])
@pytest.mark.parametrize("grid", [1, (2, 3), 7])
def test_against_the_reference(grid, scale, dtype, rng):
    x = distinct(rng, (3, 2, 9, 11), dtype)
    boxes = boxes_of(rng, 3, 21, 10 / scale, dtype)
    y, at = ops.roi_pool(x, boxes, grid, scale)
    expected, indices = reference.roi_pool(x, boxes, grid, scale)
    assert y.dtype == dtype
    assert_same(y, expected, zeros=0.9)
    assert_same(at, indices)
    dy = integers(rng, y.shape, dtype)
    dx = ops.roi_pool_backward(dy, at, boxes, x.shape)
    assert_same(dx, reference.roi_pool_backward(dy, at, boxes, x.shape), zeros=0.98)
    assert dx.sum() == dy[at >= 0].sum()


def test_the_reference_s_gradient(rng):
    x = distinct(rng, (2, 2, 6, 7), np.float64)
    boxes = boxes_of(rng, 2, 6, 6, np.float64)
    y, at = reference.roi_pool(x, boxes, 3)
    dy = normal(rng, y.shape, np.float64)
    numeric = numerical_gradient(lambda: float((reference.roi_pool(x, boxes, 3)[0] * dy).sum()), x)
    assert_close(reference.roi_pool_backward(dy, at, boxes, x.shape), numeric, 1e-6, zeros=0.9)


def test_layouts_and_nothing(rng):
    x, boxes = distinct(rng, (2, 3, 6, 8), np.float32), boxes_of(rng, 2, 5, 7, np.float32)
    y, at = ops.roi_pool(x, boxes, 2)
    for a, b in zip(layouts(x).values(), layouts(boxes).values(), strict=False):
        assert_same_bits(ops.roi_pool(a, b, 2)[0], y)
    dy = normal(rng, y.shape, np.float32)
    dx = ops.roi_pool_backward(dy, at, boxes, x.shape)
    for a in layouts(dy).values():
        assert_same_bits(ops.roi_pool_backward(a, at, boxes, x.shape), dx)
    y, at = ops.roi_pool(x, boxes[:0], 2)
    assert y.shape == (0, 3, 2, 2)
    assert not ops.roi_pool_backward(y, at, boxes[:0], x.shape).any()


@pytest.mark.parametrize("library", [ops, reference])
@pytest.mark.parametrize(
    "boxes, message",
    [
        ([[0.0, 1, 2, 3]], r"shape \(R, 5\)"),
        ([[2.0, 0, 0, 1, 1]], r"0\.\.1"),
        ([[-1.0, 0, 0, 1, 1]], r"0\.\.1"),
        ([[0.5, 0, 0, 1, 1]], r"0\.\.1"),
        ([[0.0, 0, np.nan, 1, 1]], "finite"),
        ([[0.0, 0, 0, 1e12, 1]], "finite"),
    ],
)
def test_bad_boxes(library, boxes, message):
    with pytest.raises(ValueError, match=message):
        library.roi_pool(np.zeros((2, 1, 4, 4)), np.array(boxes), 2)


@pytest.mark.parametrize("library", [ops, reference])
def test_bad_arguments(library):
    x, boxes = np.zeros((2, 1, 4, 4)), np.zeros((3, 5))
    with pytest.raises(TypeError, match="boxes to be float"):
        library.roi_pool(x, boxes.astype(np.int64), 2)
    with pytest.raises(ValueError, match="output_size"):
        library.roi_pool(x, boxes, 0)
    y, at = library.roi_pool(x, boxes, 2)
    with pytest.raises(ValueError, match="a map of each box"):
        library.roi_pool_backward(y[:2], at, boxes, x.shape)
    with pytest.raises(TypeError, match="int32"):
        library.roi_pool_backward(y, at.astype(np.int64), boxes, x.shape)
    with pytest.raises(ValueError, match=r"-1\.\.15"):
        library.roi_pool_backward(y, at + 16, boxes, x.shape)
