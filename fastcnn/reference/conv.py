"""2-D cross-correlation as the formula says it: for every kernel element, slide, multiply, add.

    y[n, k, oh, ow] = b[k] + sum over c, kh, kw of
                      w[k, c, kh, kw] * xp[n, c, oh * stride + kh * dilation, ow * ...]

where xp is the padded image. The sum over kh, kw is a loop; what one kernel element sees of xp is
a strided slice, so everything else is one matrix product per element. The two backward passes are
the same loop read the other way: they are the exact adjoints, replicate padding included.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size,
G groups: arrays of channels are viewed as (N, G, C/G, ...) and (G, K/G, C/G, ...).
"""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np
from numpy.typing import ArrayLike

from .._checks import (
    Array,
    Padding,
    PaddingMode,
    Pair,
    Window,
    check_bytes,
    check_padding_mode,
    conv_window,
    dims,
    expect_shape,
    floating,
    output,
    window,
)


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    algorithm: str = "auto",
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """2-D convolution (cross-correlation: the kernel is not flipped), naive twin of ops.conv2d.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    w : array_like
        Kernels, (K, C / groups, KH, KW), same dtype.
    b : array_like, optional
        Bias, (K,), same dtype.
    stride, dilation : int or (int, int)
        Steps between windows, and between the elements of a window, in pixels.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid" or "same"
        Pixels added around the image. "same" gives ceil(H / stride) rows.
    groups : int
        Input and output channels are cut into so many groups that do not see each other.
    padding_mode : {"zeros", "replicate"}
        What the added pixels are: zeros, or copies of the nearest border pixel.
    algorithm : str
        Accepted for the signature's sake; there is one way here.
    relu : bool
        Give ``max(y, 0)``.
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
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> reference.conv2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    op = "conv2d"
    x = floating(op, "x", x, 4)
    w = floating(op, "w", w, 4, x.dtype)
    win = conv_window(op, x.shape, w.shape, stride, padding, dilation, groups)
    (n, c, _, _), k, g = x.shape, w.shape[0], groups
    xp = _pad(op, x, win, padding_mode).reshape(n, g, c // g, *_padded_size(x.shape, win))
    taps = _by_kernel_element(w, g)
    pixels = win.out[0] * win.out[1]
    y = np.zeros((n, g, k // g, pixels), x.dtype)
    for kh, kw, seen in _kernel_elements(win):
        y += taps[kh, kw] @ xp[seen].reshape(n, g, c // g, pixels)
    y = y.reshape(n, k, *win.out)
    if b is not None:
        bias = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", bias, (k,), "one per output channel")
        y += bias[:, None, None]
    if relu:
        y = np.maximum(y, 0)
    result = output(op, out, y.shape, x.dtype)
    result[...] = y
    return result


def conv2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Gradient of `conv2d` with respect to its images: each output spreads back over its window.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OH, OW).
    w : array_like
        Kernels, (K, C / groups, KH, KW), same dtype.
    input_shape : (N, C, H, W)
        Shape of the images.
    stride, padding, dilation, groups, padding_mode, algorithm
        As in `conv2d`.
    out : ndarray, optional
        Where to write, of `input_shape`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> dy = np.array([[[[1.0, 10.0]]]])
    >>> reference.conv2d_backward_input(dy, np.ones((1, 1, 1, 2)), (1, 1, 1, 3))
    array([[[[ 1., 11., 10.]]]])
    """
    op = "conv2d_backward_input"
    dy = floating(op, "dy", dy, 4)
    w = floating(op, "w", w, 4, dy.dtype)
    shape = dims(op, "input_shape", input_shape, 4)
    win = conv_window(op, shape, w.shape, stride, padding, dilation, groups)
    (n, c, _, _), k, g = shape, w.shape[0], groups
    expect_shape(op, "dy", dy, (n, k, *win.out), "the output of these arguments")
    taps = _by_kernel_element(w, g)
    dyg = dy.reshape(n, g, k // g, win.out[0] * win.out[1])
    dxp = _padded_zeros(op, shape, win, dy.dtype).reshape(n, g, c // g, *_padded_size(shape, win))
    for kh, kw, seen in _kernel_elements(win):
        dxp[seen] += (taps[kh, kw].swapaxes(1, 2) @ dyg).reshape(n, g, c // g, *win.out)
    result = output(op, out, shape, dy.dtype)
    result[...] = _pad_adjoint(dxp.reshape(n, c, *dxp.shape[3:]), shape, win, padding_mode, op)
    return result


def conv2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
    algorithm: str = "auto",
) -> tuple[Array, Array]:
    """Gradients of `conv2d` with respect to kernels and bias, summed over the batch.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OH, OW).
    x : array_like
        The images, (N, C, H, W), same dtype.
    weight_shape : (K, C / groups, KH, KW)
        Shape of the kernels.
    stride, padding, dilation, groups, padding_mode, algorithm
        As in `conv2d`.

    Returns
    -------
    dw : ndarray
        Of `weight_shape`, dtype of `dy`.
    db : ndarray
        (K,), dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x, dy = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[1.0, 10.0]]]])
    >>> reference.conv2d_backward_weight(dy, x, (1, 1, 1, 2))
    (array([[[[21., 32.]]]]), array([11.]))
    """
    op = "conv2d_backward_weight"
    dy = floating(op, "dy", dy, 4)
    x = floating(op, "x", x, 4, dy.dtype)
    shape = dims(op, "weight_shape", weight_shape, 4)
    win = conv_window(op, x.shape, shape, stride, padding, dilation, groups)
    (n, c, _, _), k, g = x.shape, shape[0], groups
    expect_shape(op, "dy", dy, (n, k, *win.out), "the output of these arguments")
    xp = _pad(op, x, win, padding_mode).reshape(n, g, c // g, *_padded_size(x.shape, win))
    pixels = win.out[0] * win.out[1]
    dyg = dy.reshape(n, g, k // g, pixels)
    dw = np.zeros((g, k // g, c // g, *win.kernel), dy.dtype)
    for kh, kw, seen in _kernel_elements(win):
        dw[..., kh, kw] = (dyg @ xp[seen].reshape(n, g, c // g, pixels).swapaxes(2, 3)).sum(0)
    return dw.reshape(shape), dy.sum((0, 2, 3))


def im2col(
    x: ArrayLike,
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    padding_mode: PaddingMode = "zeros",
) -> Array:
    """Every window as a column, so that a convolution is one matrix product.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride, padding, dilation, padding_mode
        As in `conv2d`.

    Returns
    -------
    ndarray
        (N, C * KH * KW, OH * OW): row (c, kh, kw), column (oh, ow).

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.im2col(np.array([[[[1.0, 2.0, 3.0]]]]), (1, 2))
    array([[[1., 2.],
            [2., 3.]]])
    """
    op = "im2col"
    x = floating(op, "x", x, 4)
    n, c, h, w = x.shape
    win = window(op, (h, w), kernel_size, stride=stride, padding=padding, dilation=dilation)
    check_bytes(op, (n, c, *win.kernel, *win.out), x.itemsize)
    xp = _pad(op, x, win, padding_mode)
    cols = np.zeros((n, c, *win.kernel, *win.out), x.dtype)
    for kh, kw, seen in _kernel_elements(win):
        cols[:, :, kh, kw] = xp[seen]
    return cols.reshape(n, c * win.kernel[0] * win.kernel[1], win.out[0] * win.out[1])


def col2im(
    cols: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    padding_mode: PaddingMode = "zeros",
) -> Array:
    """Adjoint of `im2col`: each column goes back to its window, overlaps are summed.

    Parameters
    ----------
    cols : array_like
        (N, C * KH * KW, OH * OW), float32 or float64.
    input_shape : (N, C, H, W)
        Shape of the images.
    kernel_size, stride, padding, dilation, padding_mode
        As in `im2col`.

    Returns
    -------
    ndarray
        Of `input_shape`, dtype of `cols`.

    Raises
    ------
    TypeError, ValueError
        As `conv2d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.col2im(np.array([[[1.0, 2.0], [2.0, 3.0]]]), (1, 1, 1, 3), (1, 2))
    array([[[[1., 4., 3.]]]])
    """
    op = "col2im"
    cols = floating(op, "cols", cols, 3)
    shape = dims(op, "input_shape", input_shape, 4)
    n, c, h, w = shape
    win = window(op, (h, w), kernel_size, stride=stride, padding=padding, dilation=dilation)
    (kernel_h, kernel_w), (out_h, out_w) = win.kernel, win.out
    expected = (n, c * kernel_h * kernel_w, out_h * out_w)
    expect_shape(op, "cols", cols, expected, "im2col of input_shape")
    columns = cols.reshape(n, c, *win.kernel, *win.out)
    xp = _padded_zeros(op, shape, win, cols.dtype)
    for kh, kw, seen in _kernel_elements(win):
        xp[seen] += columns[:, :, kh, kw]
    return np.ascontiguousarray(_pad_adjoint(xp, shape, win, padding_mode, op))


def _kernel_elements(win: Window) -> Iterator[tuple[int, int, tuple[EllipsisType, slice, slice]]]:
    """(kh, kw, index): xp[index] is what kernel element (kh, kw) sees, one pixel per output."""
    for kh in range(win.kernel[0]):
        for kw in range(win.kernel[1]):
            top, left = kh * win.dilation[0], kw * win.dilation[1]
            rows = slice(top, top + (win.out[0] - 1) * win.stride[0] + 1, win.stride[0])
            cols = slice(left, left + (win.out[1] - 1) * win.stride[1] + 1, win.stride[1])
            yield kh, kw, (..., rows, cols)


def _by_kernel_element(w: Array, groups: int) -> Array:
    """The kernels as (KH, KW, G, K/G, C/G): one matrix per kernel element and group."""
    k, c_g, kh, kw = w.shape
    by_group = w.reshape(groups, k // groups, c_g, kh, kw)
    return np.ascontiguousarray(by_group.transpose(3, 4, 0, 1, 2))


def _padded_size(x_shape: tuple[int, ...], win: Window) -> tuple[int, int]:
    top, bottom, left, right = win.padding
    return top + x_shape[2] + bottom, left + x_shape[3] + right


def _padded_zeros(op: str, x_shape: tuple[int, ...], win: Window, dtype: np.dtype) -> Array:
    shape = (*x_shape[:2], *_padded_size(x_shape, win))
    check_bytes(op, shape, dtype.itemsize)
    return np.zeros(shape, dtype)


def _pad(op: str, x: Array, win: Window, padding_mode: str) -> Array:
    """The image with its padding around it."""
    check_padding_mode(op, x.shape, padding_mode)
    top, _, left, _ = win.padding
    h, w = x.shape[2:]
    if padding_mode == "zeros":
        xp = _padded_zeros(op, x.shape, win, x.dtype)
        xp[:, :, top : top + h, left : left + w] = x
        return xp
    padded_h, padded_w = _padded_size(x.shape, win)
    rows = np.clip(np.arange(padded_h) - top, 0, h - 1)  # the nearest row of the image
    cols = np.clip(np.arange(padded_w) - left, 0, w - 1)
    return x[:, :, rows[:, None], cols]


def _pad_adjoint(
    xp: Array, x_shape: tuple[int, ...], win: Window, padding_mode: str, op: str
) -> Array:
    """What each pixel of the image gets when every padded pixel gives back what it got.

    Zeros came from nowhere: the border is cut off. A replicated pixel came from the nearest pixel
    of the image: first the rows of the border are folded in, then the columns, corners with them.
    """
    check_padding_mode(op, x_shape, padding_mode)
    top, _, left, _ = win.padding
    h, w = x_shape[2:]
    rows = xp[:, :, top : top + h]
    if padding_mode == "zeros":
        return rows[:, :, :, left : left + w]
    rows[:, :, 0] += xp[:, :, :top].sum(2)
    rows[:, :, -1] += xp[:, :, top + h :].sum(2)
    image = rows[:, :, :, left : left + w]
    image[:, :, :, 0] += rows[:, :, :, :left].sum(3)
    image[:, :, :, -1] += rows[:, :, :, left + w :].sum(3)
    return image
