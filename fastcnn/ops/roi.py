"""RoI max pooling: boxes of any size on a map, each as a grid of maxima of one size.

N images, C channels, H W their size, R boxes, PH PW grid.

Source: Girshick, "Fast R-CNN", ICCV 2015, section 2.1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, Pair, dims, empty, expect_shape, floating, number, pair


def box_bins(
    op: str, boxes: Array, n: int, size: tuple[int, int], grid: tuple[int, int], scale: float
) -> tuple[Array, Array, Array]:
    """The image of each box, and [start, end) of its bins on both axes: (R,), (R, 2, PH or PW).

    A box covers the pixels round(x1 * scale) to round(x2 * scale), both included (halves away from
    zero), at least one; bin i of P covers floor(i * size / P) to ceil((i + 1) * size / P).
    """
    if boxes.shape[1:] != (5,):
        raise ValueError(
            f"{op}: expected boxes of shape (R, 5), (image, x1, y1, x2, y2), got {boxes.shape}"
        )
    if not np.isfinite(boxes).all() or np.abs(boxes * scale).max(initial=0) >= 2**31:
        raise ValueError(f"{op}: expected finite boxes on the map")
    image = boxes[:, 0].astype(np.int64)
    if (image != boxes[:, 0]).any() or ((image < 0) | (image >= n)).any():
        raise ValueError(f"{op}: expected the image of each box in 0..{n - 1}")
    corners = boxes[:, 1:] * boxes.dtype.type(scale)
    whole = np.trunc(corners)
    away = np.copysign(np.abs(corners - whole) >= 0.5, corners)
    corners = (whole + away).astype(np.int64)
    ends = []
    for low, high, extent, count in (
        (corners[:, 1], corners[:, 3], size[0], grid[0]),
        (corners[:, 0], corners[:, 2], size[1], grid[1]),
    ):
        length = np.maximum(high - low + 1, 1)[:, None]
        at = np.arange(count)
        first = low[:, None] + at * length // count
        last = low[:, None] - (-(at + 1) * length // count)
        ends.append(np.stack([first, last], 1).clip(0, extent))
    return image, ends[0], ends[1]


def roi_pool(
    x: ArrayLike, boxes: ArrayLike, output_size: Pair, spatial_scale: float = 1.0
) -> tuple[Array, Array]:
    """The largest element of each cell of a grid laid over each box, and where it is.

    Boxes of any size become maps of one size, as a fully connected layer wants them. A box
    includes its last pixel; cells overlap where the box does not divide evenly, and those that
    fall off the image give 0.

    Parameters
    ----------
    x : array_like
        Maps, (N, C, H, W), float32 or float64.
    boxes : array_like
        (R, 5), float32 or float64: the number of the image, then x1, y1, x2, y2.
    output_size : int or (int, int)
        PH and PW.
    spatial_scale : float
        Pixels of the map for one of the boxes' own: 1/16 after four halvings.

    Returns
    -------
    y : ndarray
        (R, C, PH, PW), dtype of `x`.
    indices : ndarray
        int32, (R, C, PH, PW): h * W + w of each maximum in its plane, -1 for an empty cell.

    Raises
    ------
    TypeError
        If an array is not float32 or float64.
    ValueError
        If a box is of no image, or the shapes do not fit.

    Notes
    -----
    The numbers are those of ``torchvision.ops.roi_pool``; cells' borders are exact, where it
    rounds them in float32. Source: Girshick, "Fast R-CNN", ICCV 2015, section 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> y, _ = ops.roi_pool(x, np.array([[0.0, 0, 0, 2, 3]]), 2)
    >>> y
    array([[[[ 5.,  6.],
             [13., 14.]]]])
    """
    op = "roi_pool"
    a = floating(op, "x", x, 4)
    rois = floating(op, "boxes", boxes, 2)
    ph, pw = grid = pair(op, "output_size", output_size, 1)
    scale = number(op, "spatial_scale", spatial_scale, 0.0)
    n, c, h, w = a.shape
    if h * w > np.iinfo(np.int32).max:
        raise ValueError(f"{op}: expected planes that int32 counts, got {h}x{w}")
    image, rows, columns = box_bins(op, rois, n, (h, w), grid, scale)
    y = empty(op, (len(rois), c, ph, pw), a.dtype)
    indices = empty(op, y.shape, np.int32)
    y[...], indices[...] = 0, -1
    for r in range(len(rois)):
        top, bottom = rows[r, 0, 0], rows[r, 1, -1]
        # Of each row of a column of cells the first maximum; then of those the first.
        best = np.empty((c, max(bottom - top, 0)), a.dtype)
        at = np.empty(best.shape, np.int64)
        for j in range(pw):
            left, right = columns[r, :, j]
            if left >= right:
                continue
            part = a[image[r], :, top:bottom, left:right]
            at[...] = part.argmax(-1)
            best[...] = np.take_along_axis(part, at[..., None], -1)[..., 0]
            for i in range(ph):
                low, high = rows[r, :, i] - top
                if low >= high:
                    continue
                row = best[:, low:high].argmax(-1)[:, None] + low
                y[r, :, i, j] = np.take_along_axis(best, row, 1)[:, 0]
                column = np.take_along_axis(at, row, 1) + left
                indices[r, :, i, j] = ((row + top) * w + column)[:, 0]
    return y, indices


def roi_pool_backward(
    dy: ArrayLike, indices: ArrayLike, boxes: ArrayLike, input_shape: Sequence[int]
) -> Array:
    """Gradient of `roi_pool` with respect to its maps: each cell's goes to its maximum.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, (R, C, PH, PW), float32 or float64.
    indices : array_like
        int32, as `roi_pool` returned them.
    boxes : array_like
        As they were in `roi_pool`; their image numbers are used.
    input_shape : (N, C, H, W)
        Shape of the maps.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`. Sums are in the order of the boxes.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or `indices` is not int32.
    ValueError
        If the sizes do not fit, or an index is not in its plane.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> boxes = np.array([[0.0, 0, 0, 1, 1], [0.0, 1, 1, 1, 1]])
    >>> y, indices = ops.roi_pool(np.arange(4.0).reshape(1, 1, 2, 2), boxes, 1)
    >>> ops.roi_pool_backward(np.ones_like(y), indices, boxes, (1, 1, 2, 2))
    array([[[[0., 0.],
             [0., 2.]]]])
    """
    op = "roi_pool_backward"
    g = floating(op, "dy", dy, 4)
    rois = floating(op, "boxes", boxes, 2)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    image, _, _ = box_bins(op, rois, n, (h, w), (1, 1), 1.0)
    expect_shape(op, "dy", g, (len(rois), c, *g.shape[2:]), "a map of each box")
    at = np.asarray(indices)
    if at.dtype != np.int32:
        raise TypeError(f"{op}: expected indices to be int32, got {at.dtype}")
    expect_shape(op, "indices", at, g.shape, "the shape of dy")
    if ((at < -1) | (at >= h * w)).any():
        raise ValueError(f"{op}: expected indices in -1..{h * w - 1}, got {at.min()}..{at.max()}")
    plane = image[:, None] * c + np.arange(c)
    target = at + plane[:, :, None, None] * (h * w)
    dx = np.zeros(n * c * h * w, g.dtype)
    there = at >= 0
    np.add.at(dx, target[there], g[there])
    return dx.reshape(shape)
