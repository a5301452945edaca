"""Transposed 2-D convolution as the picture shows it: every input pixel stamps its kernel.

    yp[n, k, h * stride + kh * dilation, w * stride + ...] += w[c, k, kh, kw] * x[n, c, h, w]

summed over c, kh, kw; the output is yp without its padding. The backward passes are the same loop
read the other way.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size,
G groups.
"""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np
from numpy.typing import ArrayLike

from .._checks import (
    Array,
    Padding,
    Pair,
    Window,
    conv_transpose_size,
    conv_window,
    dims,
    expect_shape,
    floating,
    output,
    window,
)


def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Transposed 2-D convolution, naive twin of ops.conv_transpose2d.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    w : array_like
        Kernels, (C, K / groups, KH, KW), same dtype.
    b : array_like, optional
        Bias, (K,), same dtype.
    stride, dilation : int or (int, int)
        Steps between windows, and between the elements of a window, in pixels of the output.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Pixels cut off around the output.
    output_padding : int or (int, int)
        Pixels more at the bottom and at the right.
    groups : int
        Input and output channels are cut into so many groups that do not see each other.
    algorithm : str
        Accepted for the signature's sake; there is one way here.
    out : ndarray, optional
        Where to write, (N, K, OH, OW).

    Returns
    -------
    ndarray
        (N, K, OH, OW), dtype of `x`.

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
    >>> reference.conv_transpose2d(np.array([[[[1.0, 2.0]]]]), np.ones((1, 1, 1, 2)))
    array([[[[1., 3., 2.]]]])
    """
    op = "conv_transpose2d"
    x = floating(op, "x", x, 4)
    w = floating(op, "w", w, 4, x.dtype)
    size = conv_transpose_size(
        op, x.shape, w.shape, stride, padding, output_padding, dilation, groups
    )
    win = window(op, size, w.shape[2:], stride=stride, padding=padding, dilation=dilation)
    (n, c, h, width), g = x.shape, groups
    k = w.shape[1] * g
    top, bottom, left, right = win.padding
    yp = np.zeros((n, g, k // g, top + size[0] + bottom, left + size[1] + right), x.dtype)
    pixels = x.reshape(n, g, c // g, h * width)
    for kh, kw, stamped in _kernel_elements(win):
        tap = w[:, :, kh, kw].reshape(g, c // g, k // g).swapaxes(1, 2)
        yp[stamped] += (tap @ pixels).reshape(n, g, k // g, h, width)
    y = yp.reshape(n, k, *yp.shape[3:])[:, :, top : top + size[0], left : left + size[1]]
    if b is not None:
        bias = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", bias, (k,), "one per output channel")
        y = y + bias[:, None, None]
    result = output(op, out, y.shape, x.dtype)
    result[...] = y
    return result


def conv_transpose2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    groups: int = 1,
    dilation: Pair = 1,
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Gradient of `conv_transpose2d` with respect to its images: what each pixel had stamped.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OH, OW).
    w : array_like
        Kernels, (C, K / groups, KH, KW), same dtype.
    stride, padding, groups, dilation, algorithm
        As in `conv_transpose2d`.
    out : ndarray, optional
        Where to write, (N, C, H, W).

    Returns
    -------
    ndarray
        dx, (N, C, H, W), dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> dy = np.array([[[[1.0, 2.0, 3.0]]]])
    >>> reference.conv_transpose2d_backward_input(dy, np.ones((1, 1, 1, 2)))
    array([[[[3., 5.]]]])
    """
    op = "conv_transpose2d_backward_input"
    dy = floating(op, "dy", dy, 4)
    w = floating(op, "w", w, 4, dy.dtype)
    win = conv_window(op, dy.shape, w.shape, stride, padding, dilation, groups)
    c, k_g = w.shape[:2]
    g, (h, width) = groups, win.out
    dyp = _pad(dy, win).reshape(len(dy), g, k_g, *_padded(dy, win))
    dx = np.zeros((len(dy), g, c // g, h * width), dy.dtype)
    for kh, kw, stamped in _kernel_elements(win):
        tap = w[:, :, kh, kw].reshape(g, c // g, k_g)
        dx += tap @ dyp[stamped].reshape(len(dy), g, k_g, h * width)
    result = output(op, out, (len(dy), c, h, width), dy.dtype)
    result[...] = dx.reshape(result.shape)
    return result


def conv_transpose2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    groups: int = 1,
    dilation: Pair = 1,
    algorithm: str = "auto",
) -> tuple[Array, Array]:
    """Gradients of `conv_transpose2d` with respect to kernels and bias, summed over the batch.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OH, OW).
    x : array_like
        The images, (N, C, H, W), same dtype.
    weight_shape : (C, K / groups, KH, KW)
        Shape of the kernels.
    stride, padding, groups, dilation, algorithm
        As in `conv_transpose2d`.

    Returns
    -------
    dw : ndarray
        Of `weight_shape`, dtype of `dy`.
    db : ndarray
        (K,), dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv_transpose2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x, dy = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 3.0]]]])
    >>> reference.conv_transpose2d_backward_weight(dy, x, (1, 1, 1, 2))
    (array([[[[21., 32.]]]]), array([6.]))
    """
    op = "conv_transpose2d_backward_weight"
    dy = floating(op, "dy", dy, 4)
    x = floating(op, "x", x, 4, dy.dtype)
    shape = dims(op, "weight_shape", weight_shape, 4)
    win = conv_window(op, dy.shape, shape, stride, padding, dilation, groups)
    (n, c), k_g, g = x.shape[:2], shape[1], groups
    expect_shape(op, "x", x, (len(dy), shape[0], *win.out), "the input that gives dy.shape")
    count = win.out[0] * win.out[1]
    dyp = _pad(dy, win).reshape(n, g, k_g, *_padded(dy, win))
    pixels = x.reshape(n, g, c // g, count)
    dw = np.zeros((g, c // g, k_g, *win.kernel), dy.dtype)
    for kh, kw, stamped in _kernel_elements(win):
        seen = dyp[stamped].reshape(n, g, k_g, count)
        dw[..., kh, kw] = (pixels @ seen.swapaxes(2, 3)).sum(0)
    return dw.reshape(shape), dy.sum((0, 2, 3))


def _kernel_elements(win: Window) -> Iterator[tuple[int, int, tuple[EllipsisType, slice, slice]]]:
    """(kh, kw, index): yp[index] is where kernel element (kh, kw) is stamped, a pixel an input."""
    for kh in range(win.kernel[0]):
        for kw in range(win.kernel[1]):
            top, left = kh * win.dilation[0], kw * win.dilation[1]
            rows = slice(top, top + (win.out[0] - 1) * win.stride[0] + 1, win.stride[0])
            cols = slice(left, left + (win.out[1] - 1) * win.stride[1] + 1, win.stride[1])
            yield kh, kw, (..., rows, cols)


def _padded(dy: Array, win: Window) -> tuple[int, int]:
    top, bottom, left, right = win.padding
    return top + dy.shape[2] + bottom, left + dy.shape[3] + right


def _pad(dy: Array, win: Window) -> Array:
    """dy with zeros where the output was cut off."""
    top, bottom, left, right = win.padding
    return np.pad(dy, ((0, 0), (0, 0), (top, bottom), (left, right)))
