"""Weighted-average pooling as the formula says it: every window element times its weight.

    y[n, c, oh, ow] = sum over i, j of w[c, i, j] * xp[n, c, oh * stride + i, ow * stride + j]

N images, C channels, H W input size, KH KW window, OH OW output size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, Padding, Pair, Window, dims, expect_shape, floating, window


def _each(op: str, w: ArrayLike, channels: int, like: Array) -> Array:
    """The weights of each channel, (C, KH, KW)."""
    a = floating(op, "w", w, None, like.dtype)
    if a.ndim not in (2, 3):
        raise ValueError(
            f"{op}: expected w of shape (KH, KW) or ({channels}, KH, KW), got w.shape={a.shape}"
        )
    if a.ndim == 3:
        expect_shape(op, "w", a, (channels, *a.shape[1:]), "one window for each channel of x")
        return a
    return np.broadcast_to(a, (channels, *a.shape))


def _window(
    op: str, shape: Sequence[int], w: Array, stride: Pair | None, padding: Padding
) -> Window:
    step = w.shape[1:] if stride is None else stride
    return window(op, (shape[2], shape[3]), w.shape[1:], stride=step, padding=padding)


def _sides(win: Window) -> Any:
    top, bottom, left, right = win.padding
    return ((0, 0), (0, 0), (top, bottom), (left, right))


def _seen(win: Window, i: int, j: int) -> tuple[Any, ...]:
    """What element (i, j) of the windows sees of the padded images."""
    (sh, sw), (oh, ow) = win.stride, win.out
    return (..., slice(i, i + (oh - 1) * sh + 1, sh), slice(j, j + (ow - 1) * sw + 1, sw))


def weighted_avg_pool2d(
    x: ArrayLike, w: ArrayLike, stride: Pair | None = None, padding: Padding = 0
) -> Array:
    """The sum of each window's elements times weights, one set for all channels or one each.

    It is their average if the weights of a window sum to 1, which is up to the caller.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    w : array_like
        Weights of the window's elements, (KH, KW) or (C, KH, KW), same dtype.
    stride : int or (int, int), optional
        Step between windows; the window's size if not given.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid" or "same"
        Zeros added around the image.

    Returns
    -------
    ndarray
        (N, C, OH, OW), dtype of `x`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the sizes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x = np.array([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> reference.weighted_avg_pool2d(x, np.array([[0.75, 0.25]]))
    array([[[[1.25, 3.25]]]])
    """
    op = "weighted_avg_pool2d"
    x = floating(op, "x", x, 4)
    w = _each(op, w, x.shape[1], x)
    win = _window(op, x.shape, w, stride, padding)
    xp = np.pad(x, _sides(win))
    y = np.zeros((*x.shape[:2], *win.out), x.dtype)
    for i, j in np.ndindex(*win.kernel):
        y += w[:, i, j, None, None] * xp[_seen(win, i, j)]
    return y


def weighted_avg_pool2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to its images.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, C, OH, OW).
    w : array_like
        Weights, (KH, KW) or (C, KH, KW), same dtype.
    input_shape : (N, C, H, W)
        Shape of the images.
    stride, padding
        As in `weighted_avg_pool2d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `weighted_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> dy, w = np.array([[[[4.0, 8.0]]]]), np.array([[0.75, 0.25]])
    >>> reference.weighted_avg_pool2d_backward_input(dy, w, (1, 1, 1, 4))
    array([[[[3., 1., 6., 2.]]]])
    """
    op = "weighted_avg_pool2d_backward_input"
    dy = floating(op, "dy", dy, 4)
    n, c, height, width = shape = dims(op, "input_shape", input_shape, 4)
    w = _each(op, w, c, dy)
    win = _window(op, shape, w, stride, padding)
    expect_shape(op, "dy", dy, (n, c, *win.out), "the output of these arguments")
    dxp = np.pad(np.zeros(shape, dy.dtype), _sides(win))
    for i, j in np.ndindex(*win.kernel):
        dxp[_seen(win, i, j)] += w[:, i, j, None, None] * dy
    top, _, left, _ = win.padding
    return dxp[:, :, top : top + height, left : left + width].copy()


def weighted_avg_pool2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
) -> Array:
    """Gradient of `weighted_avg_pool2d` with respect to its weights, summed over the batch.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, C, OH, OW).
    x : array_like
        The images, (N, C, H, W), same dtype.
    weight_shape : (KH, KW) or (C, KH, KW)
        Shape of the weights; of one set for all channels it is the sum over these.
    stride, padding
        As in `weighted_avg_pool2d`.

    Returns
    -------
    ndarray
        dw, of `weight_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `weighted_avg_pool2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x, dy = np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.array([[[[1.0, 10.0]]]])
    >>> reference.weighted_avg_pool2d_backward_weight(dy, x, (1, 2))
    array([[31., 42.]])
    """
    op = "weighted_avg_pool2d_backward_weight"
    dy = floating(op, "dy", dy, 4)
    x = floating(op, "x", x, 4, dy.dtype)
    shared = len(weight_shape) == 2
    shape = dims(op, "weight_shape", weight_shape, 2 if shared else 3)
    each = _each(op, np.zeros(shape, dy.dtype), x.shape[1], x)
    win = _window(op, x.shape, each, stride, padding)
    expect_shape(op, "dy", dy, (*x.shape[:2], *win.out), "the output of these arguments")
    xp = np.pad(x, _sides(win))
    dw = np.zeros(each.shape, dy.dtype)
    for i, j in np.ndindex(*win.kernel):
        dw[:, i, j] = (dy * xp[_seen(win, i, j)]).sum((0, 2, 3))
    return dw.sum(0) if shared else dw
