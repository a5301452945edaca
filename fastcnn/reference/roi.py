"""RoI max pooling, cell by cell and pixel by pixel.

N images, C channels, H W their size, R boxes, PH PW grid.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, Pair, dims, expect_shape, floating, number, pair


def _box(op: str, box: Array, n: int, scale: float) -> tuple[int, ...]:
    """(image, x1, y1, x2, y2) in pixels of the map, halves rounded away from zero."""
    if box.shape != (5,):
        raise ValueError(f"{op}: expected boxes of shape (R, 5), (image, x1, y1, x2, y2)")
    if not np.isfinite(box).all() or np.abs(box * scale).max() >= 2**31:
        raise ValueError(f"{op}: expected finite boxes on the map")
    image, *corners = box
    if not 0 <= image < n or image != int(image):
        raise ValueError(f"{op}: expected the image of each box in 0..{n - 1}")
    pixels = []
    for corner in corners:
        value = corner * box.dtype.type(scale)
        whole = int(value)
        pixels.append(whole + (int(math.copysign(1, value)) if abs(value - whole) >= 0.5 else 0))
    return (int(image), *pixels)


def _bin(low: int, high: int, i: int, count: int, extent: int) -> range:
    """The pixels of cell i of `count` between low and high, both included, that are on the map."""
    length = max(high - low + 1, 1)
    first, last = low + i * length // count, low - (-(i + 1) * length // count)
    return range(max(first, 0), min(last, extent))


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
    >>> from fastcnn import reference
    >>> x = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> y, _ = reference.roi_pool(x, np.array([[0.0, 0, 0, 2, 3]]), 2)
    >>> y
    array([[[[ 5.,  6.],
             [13., 14.]]]])
    """
    op = "roi_pool"
    x = floating(op, "x", x, 4)
    rois = floating(op, "boxes", boxes, 2)
    grid = pair(op, "output_size", output_size, 1)
    scale = number(op, "spatial_scale", spatial_scale, 0.0)
    y = np.zeros((len(rois), x.shape[1], *grid), x.dtype)
    indices = np.full(y.shape, -1, np.int32)
    for r, c, i, j in np.ndindex(y.shape):
        image, *box = _box(op, rois[r], len(x), scale)
        h, w = x.shape[2:]
        best = None
        for row in _bin(box[1], box[3], i, grid[0], h):
            for column in _bin(box[0], box[2], j, grid[1], w):
                value = x[image, c, row, column]
                if best is None or (not np.isnan(best) and (np.isnan(value) or value > best)):
                    best = y[r, c, i, j] = value
                    indices[r, c, i, j] = row * w + column
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
    >>> from fastcnn import reference
    >>> boxes = np.array([[0.0, 0, 0, 1, 1], [0.0, 1, 1, 1, 1]])
    >>> y, indices = reference.roi_pool(np.arange(4.0).reshape(1, 1, 2, 2), boxes, 1)
    >>> reference.roi_pool_backward(np.ones_like(y), indices, boxes, (1, 1, 2, 2))
    array([[[[0., 0.],
             [0., 2.]]]])
    """
    op = "roi_pool_backward"
    dy = floating(op, "dy", dy, 4)
    rois = floating(op, "boxes", boxes, 2)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    expect_shape(op, "dy", dy, (len(rois), c, *dy.shape[2:]), "a map of each box")
    at = np.asarray(indices)
    if at.dtype != np.int32:
        raise TypeError(f"{op}: expected indices to be int32, got {at.dtype}")
    expect_shape(op, "indices", at, dy.shape, "the shape of dy")
    if ((at < -1) | (at >= h * w)).any():
        raise ValueError(f"{op}: expected indices in -1..{h * w - 1}, got {at.min()}..{at.max()}")
    dx = np.zeros((n, c, h * w), dy.dtype)
    for r, channel, i, j in np.ndindex(dy.shape):
        image, *_ = _box(op, rois[r], n, 1.0)
        if at[r, channel, i, j] >= 0:
            dx[image, channel, at[r, channel, i, j]] += dy[r, channel, i, j]
    return dx.reshape(shape)
