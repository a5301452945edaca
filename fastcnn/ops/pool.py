"""Max, average and global average pooling and their backward passes.

N images, C channels, H W input size, KH KW kernel size, OH OW output size. The output size is
floor((H + top + bottom - (KH - 1) * dilation - 1) / stride) + 1, rounded up with `ceil_mode`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import (
    Array,
    Padding,
    Pair,
    dims,
    empty,
    expect_shape,
    floating,
    pool_window,
)
from .._config import get_num_threads


def max_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """The largest element of each window, and where it is.

    A NaN in a window gives NaN, whatever its position (the first one, if there are several); of
    equal maxima the first in reading order wins. Padding is never the maximum.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        Step between windows; `kernel_size` if not given.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid" or "same"
        Border around the image, at most half the kernel.
    dilation : int or (int, int)
        Step between the elements of a window.
    ceil_mode : bool
        Round the output size up: a last window may hang over the border, but must start before the
        padding behind the image.

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
        If the window does not fit, the padding is more than half of it, or an image plane has more
        elements than int32 counts.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.array([[[[1, 5, 2, 0], [7, 3, 2, 4]]]], dtype=np.float32)
    >>> y, indices = ops.max_pool2d(x, 2)
    >>> y
    array([[[[7., 4.]]]], dtype=float32)
    >>> indices
    array([[[[4, 7]]]], dtype=int32)
    """
    op = "max_pool2d"
    a = floating(op, "x", x, 4)
    n, c, h, w = a.shape
    win = pool_window(
        op, (h, w), kernel_size,
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
    )  # fmt: skip
    _expect_countable(op, h, w)
    y = empty(op, (n, c, *win.out), a.dtype)
    indices = empty(op, (n, c, *win.out), np.int32)
    _kernels.max_pool2d_forward(win, a.shape, a, y, indices, get_num_threads())
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
        As they were in `max_pool2d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`. Sums are in reading order of the windows.

    Raises
    ------
    TypeError
        If `dy` is not float32 or float64, or `indices` is not int32.
    ValueError
        If the sizes do not fit, or an index is not an element of its window.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.array([[[[1, 5, 2]]]], dtype=np.float32)
    >>> y, indices = ops.max_pool2d(x, (1, 2), stride=1)
    >>> ops.max_pool2d_backward(np.ones_like(y), indices, x.shape, (1, 2), stride=1)
    array([[[[0., 2., 0.]]]], dtype=float32)
    """
    op = "max_pool2d_backward"
    g = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    win = pool_window(
        op, (h, w), kernel_size,
        stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode,
    )  # fmt: skip
    _expect_countable(op, h, w)
    expect_shape(op, "dy", g, (n, c, *win.out), "the output of these arguments")
    at = np.asarray(indices)
    if at.dtype != np.int32:
        raise TypeError(f"{op}: expected indices to be int32, got {at.dtype}")
    expect_shape(op, "indices", at, g.shape, "the shape of dy")
    if not (at.flags.c_contiguous and at.flags.aligned):
        at = np.require(at, requirements=("C", "A"))
    dx = empty(op, shape, g.dtype)
    if not _kernels.max_pool2d_backward(win, shape, g, at, dx, get_num_threads()):
        raise ValueError(
            f"{op}: expected each of indices to be an element of its window, as max_pool2d "
            f"returns them for input_shape={shape}, kernel_size={win.kernel}, stride={win.stride}; "
            f"got {at.min()}..{at.max()} in a plane of {h * w}, at least one outside its window"
        )
    return dx


def avg_pool2d(
    x: ArrayLike,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    kernel_size, stride, padding, ceil_mode
        As in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts in the divisor. What `ceil_mode` hangs over the padded image never
        does.

    Returns
    -------
    ndarray
        (N, C, OH, OW), dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If the window does not fit, or the padding is more than half of it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.array([[[[1, 5, 2, 0], [7, 3, 2, 4]]]], dtype=np.float32)
    >>> ops.avg_pool2d(x, 2)
    array([[[[4., 2.]]]], dtype=float32)
    """
    op = "avg_pool2d"
    a = floating(op, "x", x, 4)
    n, c, h, w = a.shape
    win = pool_window(op, (h, w), kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    y = empty(op, (n, c, *win.out), a.dtype)
    _kernels.avg_pool2d_forward(win, a.shape, a, y, bool(count_include_pad), get_num_threads())
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
        As they were in `avg_pool2d`.

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
    >>> from fastcnn import ops
    >>> ops.avg_pool2d_backward(np.array([[[[8.0]]]]), (1, 1, 2, 2), 2)
    array([[[[2., 2.],
             [2., 2.]]]])
    """
    op = "avg_pool2d_backward"
    g = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    win = pool_window(op, (h, w), kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode)
    expect_shape(op, "dy", g, (n, c, *win.out), "the output of these arguments")
    dx = empty(op, shape, g.dtype)
    _kernels.avg_pool2d_backward(win, shape, g, dx, bool(count_include_pad), get_num_threads())
    return dx


def global_avg_pool2d(x: ArrayLike) -> Array:
    """The mean of each image plane.

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

    References
    ----------
    Lin, Chen, Yan: Network In Network, ICLR 2014, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.global_avg_pool2d(np.array([[[[1.0, 5.0], [7.0, 3.0]]]]))
    array([[[[4.]]]])
    """
    op = "global_avg_pool2d"
    a = floating(op, "x", x, 4)
    n, c, h, w = a.shape
    _expect_pixels(op, "x.shape", a.shape)
    y = empty(op, (n, c, 1, 1), a.dtype)
    _kernels.global_avg_pool2d_forward(n * c, h * w, a, y, get_num_threads())
    return y


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
    >>> from fastcnn import ops
    >>> ops.global_avg_pool2d_backward(np.array([[[[8.0]]]]), (1, 1, 1, 2))
    array([[[[4., 4.]]]])
    """
    op = "global_avg_pool2d_backward"
    g = floating(op, "dy", dy, 4)
    n, c, h, w = shape = dims(op, "input_shape", input_shape, 4)
    _expect_pixels(op, "input_shape", shape)
    expect_shape(op, "dy", g, (n, c, 1, 1), "one per image plane")
    dx = empty(op, shape, g.dtype)
    _kernels.global_avg_pool2d_backward(n * c, h * w, g, dx, get_num_threads())
    return dx


def _expect_countable(op: str, h: int, w: int) -> None:
    """ValueError unless int32 indices can name every element of an H x W plane."""
    if h * w >= 2**31:
        raise ValueError(f"{op}: expected H * W < 2**31, for int32 indices, got {h} * {w}")


def _expect_pixels(op: str, name: str, shape: Sequence[int]) -> None:
    """ValueError if image planes are empty: they have no mean."""
    if 0 in shape[2:]:
        raise ValueError(f"{op}: expected planes of at least 1 x 1, got {name}={tuple(shape)}")
