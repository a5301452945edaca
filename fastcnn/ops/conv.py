"""2-D convolution, its backward passes, and im2col: checks, memory, and the call of the kernel.

What a kernel gets is described once, by `described`; the algorithms share it:

    direct    csrc/conv2d_direct_tmpl.h and conv2d_weight_tmpl.h; no im2col matrix exists
    winograd  csrc/winograd_tmpl.h: 2 to 6 times fewer multiplications for 3x3 and 5x5 kernels (with
              stride 2: 3x3 and 4x4), for rows and columns of 3, 5 and 7 taps, and but for the
              input's gradient for large kernels with strides, for some more rounding error; direct
              elsewhere
    im2col    the taught formulation: windows as columns, then one matrix product an image
    auto      the best by shape alone: winograd where it pays, unless `fastcnn.set_exact(True)`

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import (
    Array,
    Padding,
    PaddingMode,
    Pair,
    dims,
    empty,
    expect_shape,
    floating,
    output,
    window,
)
from .._config import get_num_threads
from . import activation
from ._border import fold_border
from ._conv_desc import AUTO, Algorithm, algorithm_code, describe, described
from ._im2col import Im2col


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
    algorithm: Algorithm = "auto",
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """2-D convolution (cross-correlation: the kernel is not flipped).

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
    algorithm : {"auto", "direct", "winograd", "im2col"}
        "auto" chooses by the shapes alone. "direct" sums plainly, without an im2col matrix.
        "winograd" needs far fewer multiplications for 3x3 and 5x5 kernels of stride 1, with an
        error 2 (3x3) to 7 times that of "direct" (rms), and fewer for 3x3 and 4x4 of stride 2,
        with at most twice the error, and for 1x3, 1x5, 1x7, 3x1, 5x1 and 7x1 of stride 1, with up
        to 5 times the error; dilated ones, with zeros around, phase by phase; and, but for the
        input's gradient, squares of more than 2 and at most 5 times their stride (11x11 of stride
        4, 7x7 of stride 2), with up to 7 times the error; other shapes run direct.
        "im2col" is the lecture's formulation, window by window into columns.
    relu : bool
        Give ``max(y, 0)`` at once, with the bits of `ops.relu` on y.
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
    >>> from fastcnn import ops
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> ops.conv2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    op = "conv2d"
    x = floating(op, "x", x, 4)
    w = floating(op, "w", w, 4, x.dtype)
    code = algorithm_code(op, algorithm)
    given = (stride, padding, dilation, groups)
    win, desc = described(op, x.dtype, x.shape, w.shape, given, padding_mode, code)
    if b is not None:
        b = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", b, (w.shape[0],), "one per output channel")
    y = output(op, out, (x.shape[0], w.shape[0], *win.out), x.dtype, (x, w, b))
    if desc is not None and algorithm != "im2col":
        _kernels.conv2d_forward(desc, x, w, b, y, None, get_num_threads(), relu=relu)
        return y
    if desc is None:  # nothing to sum over
        y[...] = 0 if b is None else b[:, None, None]
    else:
        Im2col(x.shape, w.shape, x, groups, win, padding_mode).forward(x, w, b, y)
    return activation.relu(y, out=y) if relu else y


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
    algorithm: Algorithm = "auto",
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
    >>> from fastcnn import ops
    >>> dy = np.array([[[[1.0, 10.0]]]])
    >>> ops.conv2d_backward_input(dy, np.ones((1, 1, 1, 2)), (1, 1, 1, 3))
    array([[[[ 1., 11., 10.]]]])
    """
    op = "conv2d_backward_input"
    dy = floating(op, "dy", dy, 4)
    w = floating(op, "w", w, 4, dy.dtype)
    shape = dims(op, "input_shape", input_shape, 4)
    code = algorithm_code(op, algorithm)
    given = (stride, padding, dilation, groups)
    win, desc = described(op, dy.dtype, shape, w.shape, given, padding_mode, code)
    expect_shape(op, "dy", dy, (shape[0], w.shape[0], *win.out), "the output of these arguments")
    if padding_mode == "replicate":
        top, bottom, left, right = win.padding
        padded = (*shape[:2], shape[2] + top + bottom, shape[3] + left + right)
        dxp = conv2d_backward_input(
            dy, w, padded, stride=stride, dilation=dilation, groups=groups, algorithm=algorithm
        )
        dx = output(op, out, shape, dy.dtype, (dy, w))
        dx[...] = fold_border(dxp, shape, top, left)
        return dx
    dx = output(op, out, shape, dy.dtype, (dy, w))
    if desc is None:
        dx[...] = 0
    elif algorithm == "im2col":
        Im2col(shape, w.shape, dy, groups, win, padding_mode).backward_input(dy, w, dx)
    else:
        _kernels.conv2d_backward_input(desc, dy, w, dx, None, get_num_threads())
    return dx


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
    algorithm: Algorithm = "auto",
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
    >>> from fastcnn import ops
    >>> x, dy = np.array([[[[1.0, 2.0, 3.0]]]]), np.array([[[[1.0, 10.0]]]])
    >>> ops.conv2d_backward_weight(dy, x, (1, 1, 1, 2))
    (array([[[[21., 32.]]]]), array([11.]))
    """
    op = "conv2d_backward_weight"
    dy = floating(op, "dy", dy, 4)
    x = floating(op, "x", x, 4, dy.dtype)
    shape = dims(op, "weight_shape", weight_shape, 4)
    code = algorithm_code(op, algorithm)
    given = (stride, padding, dilation, groups)
    win, desc = described(op, dy.dtype, x.shape, shape, given, padding_mode, code)
    expect_shape(op, "dy", dy, (x.shape[0], shape[0], *win.out), "the output of these arguments")
    dw, db = empty(op, shape, dy.dtype), empty(op, shape[:1], dy.dtype)
    if desc is None:
        dw[...] = 0
        _kernels.channel_sums(dy, db, get_num_threads())
    elif algorithm == "im2col":
        Im2col(x.shape, shape, x, groups, win, padding_mode).backward_weight(dy, x, dw, db)
    else:
        _kernels.conv2d_backward_weight(desc, dy, x, dw, db, None, get_num_threads())
    return dw, db


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
    >>> from fastcnn import ops
    >>> ops.im2col(np.array([[[[1.0, 2.0, 3.0]]]]), (1, 2))
    array([[[1., 2.],
            [2., 3.]]])
    """
    op = "im2col"
    x = floating(op, "x", x, 4)
    n, c = x.shape[:2]
    win = window(
        op, (x.shape[2], x.shape[3]), kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    cols = empty(op, (n, c * win.kernel[0] * win.kernel[1], win.out[0] * win.out[1]), x.dtype)
    desc = describe(op, x.dtype, x.shape, (1, c, *win.kernel), win, 1, padding_mode, AUTO)
    if desc is None:
        cols[...] = 0
    else:
        _kernels.im2col(desc, x, cols, get_num_threads())
    return cols


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
    >>> from fastcnn import ops
    >>> ops.col2im(np.array([[[1.0, 2.0], [2.0, 3.0]]]), (1, 1, 1, 3), (1, 2))
    array([[[[1., 4., 3.]]]])
    """
    op = "col2im"
    cols = floating(op, "cols", cols, 3)
    shape = dims(op, "input_shape", input_shape, 4)
    size = (shape[2], shape[3])
    win = window(op, size, kernel_size, stride=stride, padding=padding, dilation=dilation)
    (kernel_h, kernel_w), (out_h, out_w) = win.kernel, win.out
    expected = (shape[0], shape[1] * kernel_h * kernel_w, out_h * out_w)
    expect_shape(op, "cols", cols, expected, "im2col of input_shape")
    x = empty(op, shape, cols.dtype)
    desc = describe(op, cols.dtype, shape, (1, shape[1], *win.kernel), win, 1, padding_mode, AUTO)
    if desc is None:
        x[...] = 0
    else:
        _kernels.col2im(desc, cols, x, get_num_threads())
    return x
