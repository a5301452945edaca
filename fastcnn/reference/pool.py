"""Max and average pooling, window by window: one strided view per window element.

N images, C channels, H W input size, KH KW kernel size, OH OW output size.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import (
    Array,
    Padding,
    Pair,
    Window,
    dims,
    empty,
    expect_shape,
    floating,
    pool_window,
)


def max_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """The largest element of each window, and where it is; naive twin of ops.max_pool2d.

    The first NaN of a window wins, whatever its position; else the first of equal maxima does.
    Padding is never the maximum.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Step between windows; `kernel_size` if not given.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Border around the image, at most half the kernel.
    dilation : int or (int, int)
        Step between the elements of a window.
    ceil_mode : bool
        Round the output size up: a last window may hang over the border, but must start inside.

    Returns
    -------
    y : ndarray
        (N, C, OH, OW), dtype of `x`.
    indices : ndarray
        int32, (N, C, OH, OW): h * W + w of each maximum in its image plane, without padding.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If the window does not fit, or the padding is more than half of it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> y, indices = reference.max_pool2d(np.array([[[[1.0, 5.0], [7.0, 2.0]]]]), 2)
    >>> y.item(), indices.item()
    (7.0, 2)
    """
    op = "max_pool2d"
    x = floating(op, "x", x, 4)
    n, c, h, w = x.shape
    win = pool_window(
        op, (h, w), kernel_size,
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
    )  # fmt: skip
    y = empty(op, (n, c, *win.out), x.dtype)
    indices = empty(op, (n, c, *win.out), np.int32)
    y[...], indices[...] = -np.inf, -1
    for _, _, rows, cols, inside in _window_elements((h, w), win):
        value = x[:, :, rows[:, None], cols]
        first = inside & (indices < 0)  # so that a window of -inf has an index too
        larger = inside & ~np.isnan(y) & (np.isnan(value) | (value > y))
        y[...] = np.where(first | larger, value, y)
        indices[...] = np.where(first | larger, rows[:, None] * w + cols, indices)
    return y, indices


def max_pool2d_backward(
    dy: ArrayLike,
    indices: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Array:
    """Gradient of `max_pool2d`: each window's gradient goes to its maximum, overlaps are summed.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, (N, C, OH, OW), float32 or float64.
    indices : array_like
        int32, as `max_pool2d` returned them.
    input_shape : (N, C, H, W)
        Shape of the images.
    kernel_size, stride, padding, dilation, ceil_mode
        As in `max_pool2d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError
        If `dy` is not float32 or float64, or `indices` is not int32.
    ValueError
        If the sizes do not fit, or an index is outside the image.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x = np.array([[[[1.0, 5.0, 2.0]]]])
    >>> y, indices = reference.max_pool2d(x, (1, 2), stride=1)
    >>> reference.max_pool2d_backward(np.ones_like(y), indices, x.shape, (1, 2), stride=1)
    array([[[[0., 2., 0.]]]])
    """
    op = "max_pool2d_backward"
    dy = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    win = pool_window(
        op, (h, w), kernel_size,
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
    )  # fmt: skip
    expect_shape(op, "dy", dy, (n, c, *win.out), "the output of these arguments")
    at = np.asarray(indices)
    if at.dtype != np.int32:
        raise TypeError(f"{op}: expected indices to be int32, got {at.dtype}")
    expect_shape(op, "indices", at, dy.shape, "the shape of dy")
    if at.size and not (at.min() >= 0 and at.max() < h * w):
        raise ValueError(f"{op}: expected indices in 0..{h * w - 1}, got {at.min()}..{at.max()}")
    dx = empty(op, (n * c, h * w), dy.dtype)
    dx[...] = 0
    plane, pixels = np.arange(n * c)[:, None], win.out[0] * win.out[1]
    np.add.at(dx, (plane, at.reshape(n * c, pixels)), dy.reshape(n * c, pixels))
    return dx.reshape(shape)


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window, naive twin of ops.avg_pool2d.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts in the divisor. What `ceil_mode` hangs over the border never does.

    Returns
    -------
    ndarray
        (N, C, OH, OW), dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.avg_pool2d(np.array([[[[1.0, 5.0], [7.0, 3.0]]]]), 2).item()
    4.0
    """
    op = "avg_pool2d"
    x = floating(op, "x", x, 4)
    n, c, h, w = x.shape
    win = pool_window(op, (h, w), kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    y = empty(op, (n, c, *win.out), x.dtype)
    y[...] = 0
    for _, _, rows, cols, inside in _window_elements((h, w), win):
        y += np.where(inside, x[:, :, rows[:, None], cols], 0)
    y /= _divisors((h, w), win, count_include_pad)
    return y


def avg_pool2d_backward(
    dy: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Gradient of `avg_pool2d`: each window's gradient is shared out evenly, overlaps are summed.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, C, OH, OW), float32 or float64.
    input_shape : (N, C, H, W)
        Shape of the images.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As in `avg_pool2d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.avg_pool2d_backward(np.array([[[[8.0]]]]), (1, 1, 2, 2), 2)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    op = "avg_pool2d_backward"
    dy = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    win = pool_window(op, (h, w), kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    expect_shape(op, "dy", dy, (n, c, *win.out), "the output of these arguments")
    share = dy / _divisors((h, w), win, count_include_pad).astype(dy.dtype)
    dx = empty(op, shape, dy.dtype)
    dx[...] = 0
    for _, _, rows, cols, inside in _window_elements((h, w), win):
        at: Any = (..., rows[:, None], cols)
        np.add.at(dx, at, np.where(inside, share, 0))
    return dx


def global_avg_pool2d(x: ArrayLike) -> Array:
    """The mean of each image plane, naive twin of ops.global_avg_pool2d.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.

    Returns
    -------
    ndarray
        (N, C, 1, 1), dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `x` does not have four dimensions, or its planes are empty.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.global_avg_pool2d(np.array([[[[1.0, 5.0], [7.0, 3.0]]]])).item()
    4.0
    """
    op = "global_avg_pool2d"
    x = floating(op, "x", x, 4)
    if 0 in x.shape[2:]:
        raise ValueError(f"{op}: expected planes of at least 1 x 1, got x.shape={x.shape}")
    return x.mean((2, 3), keepdims=True)


def global_avg_pool2d_backward(dy: ArrayLike, input_shape: Sequence[int]) -> Array:
    """Gradient of `global_avg_pool2d`: every pixel gets dy / (H * W).

    Parameters
    ----------
    dy : array_like
        (N, C, 1, 1), float32 or float64.
    input_shape : (N, C, H, W)
        Shape of the images.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError
        If `dy` is not float32 or float64.
    ValueError
        If the sizes do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.global_avg_pool2d_backward(np.array([[[[8.0]]]]), (1, 1, 1, 2))
    array([[[[4., 4.]]]])
    """
    op = "global_avg_pool2d_backward"
    dy = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    if h == 0 or w == 0:
        raise ValueError(f"{op}: expected planes of at least 1 x 1, got input_shape={shape}")
    expect_shape(op, "dy", dy, (n, c, 1, 1), "one per image plane")
    dx = empty(op, shape, dy.dtype)
    dx[...] = dy / (h * w)
    return dx


def _window_elements(
    size: tuple[int, int], win: Window
) -> Iterator[tuple[int, int, Array, Array, Array]]:
    """(kh, kw, rows, cols, inside) per window element, in reading order.

    rows (OH,) and cols (OW,) are the pixels that it sees; where it sees padding, `inside` (OH, OW)
    is False and rows, cols name some pixel of the image instead.
    """
    h, w = size
    oh, ow = np.arange(win.out[0]), np.arange(win.out[1])
    for kh in range(win.kernel[0]):
        for kw in range(win.kernel[1]):
            rows = oh * win.stride[0] + kh * win.dilation[0] - win.padding[0]
            cols = ow * win.stride[1] + kw * win.dilation[1] - win.padding[2]
            inside = ((rows >= 0) & (rows < h))[:, None] & (cols >= 0) & (cols < w)
            yield kh, kw, np.clip(rows, 0, h - 1), np.clip(cols, 0, w - 1), inside


def _divisors(size: tuple[int, int], win: Window, count_include_pad: bool) -> Array:
    """(OH, OW): how many elements each window's sum is divided by (PyTorch's rule).

    Padding counts if `count_include_pad`; what hangs over the padded image, in ceil mode, does not.
    """
    counts = []
    for axis in range(2):
        before, after = win.padding[2 * axis : 2 * axis + 2]
        start = np.arange(win.out[axis]) * win.stride[axis] - before
        end = np.minimum(start + win.kernel[axis], size[axis] + after)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size[axis])
        counts.append(end - start)
    return counts[0][:, None] * counts[1]
