"""Transposed 2-D convolution: the exact adjoint of `conv2d`, on the same kernels.

What conv2d does on its way back, a transposed convolution does on its way forward, and the other
way round; so its three passes are conv2d's, with x and dy in each other's place.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import (
    Array,
    Padding,
    Pair,
    conv_transpose_size,
    conv_window,
    dims,
    empty,
    expect_shape,
    floating,
    output,
)
from .._config import get_num_threads
from ._conv_desc import Algorithm, algorithm_code, described
from .conv import conv2d, conv2d_backward_input, conv2d_backward_weight


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
    algorithm: Algorithm = "auto",
    out: Array | None = None,
) -> Array:
    """Transposed 2-D convolution: each pixel spreads over its window, overlaps are summed.

    Also called fractionally strided convolution or, wrongly, deconvolution: it undoes the shape of
    a convolution, not its values.

    Parameters
    ----------
    x : array_like
        Images, (N, C, H, W), float32 or float64.
    w : array_like
        Kernels, (C, K / groups, KH, KW), same dtype: those of the convolution that goes the other
        way, from K channels to C.
    b : array_like, optional
        Bias, (K,), same dtype.
    stride, dilation : int or (int, int)
        Steps between windows, and between the elements of a window, in pixels of the output.
    padding : int, (h, w) or ((top, bottom), (left, right))
        Pixels cut off around the output.
    output_padding : int or (int, int)
        Pixels more at the bottom and at the right, less than `stride`: several sizes give the
        same one by a strided convolution, and this says which of them comes back.
    groups : int
        Input and output channels are cut into so many groups that do not see each other.
    algorithm : {"auto", "direct", "winograd", "im2col"}
        As in `conv2d`.
    out : ndarray, optional
        Where to write, (N, K, OH, OW).

    Returns
    -------
    ndarray
        (N, K, OH, OW), dtype of `x`;
        OH = (H - 1) * stride - 2 * padding + dilation * (KH - 1) + 1 + output_padding.

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
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> ops.conv_transpose2d(x, np.ones((1, 1, 2, 2)))
    array([[[[ 1.,  3.,  2.],
             [ 4., 10.,  6.],
             [ 3.,  7.,  4.]]]])
    """
    op = "conv_transpose2d"
    x = floating(op, "x", x, 4)
    w = floating(op, "w", w, 4, x.dtype)
    size = conv_transpose_size(
        op, x.shape, w.shape, stride, padding, output_padding, dilation, groups
    )
    shape = (x.shape[0], w.shape[1] * groups, *size)
    if b is not None:
        b = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", b, shape[1:2], "one per output channel")
    y = output(op, out, shape, x.dtype, (x, w, b))
    code = algorithm_code(op, algorithm)
    given = (stride, padding, dilation, groups)
    _, desc = described(op, x.dtype, shape, w.shape, given, "zeros", code)
    if desc is not None and algorithm != "im2col":  # these kernels add the bias, too
        _kernels.conv2d_backward_input(desc, x, w, y, None, get_num_threads(), b)
        return y
    conv2d_backward_input(
        x, w, shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=algorithm, out=y,
    )  # fmt: skip
    if b is not None:
        y += b[:, None, None]
    return y


def conv_transpose2d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    groups: int = 1,
    dilation: Pair = 1,
    algorithm: Algorithm = "auto",
    out: Array | None = None,
) -> Array:
    """Gradient of `conv_transpose2d` with respect to its images: the convolution of `dy`.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OH, OW). No other input size gives this one,
        so neither that nor `output_padding` has to be told.
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
    >>> from fastcnn import ops
    >>> dy = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> ops.conv_transpose2d_backward_input(dy, np.ones((1, 1, 2, 2)))
    array([[[[ 8., 12.],
             [20., 24.]]]])
    """
    op = "conv_transpose2d_backward_input"
    dy = floating(op, "dy", dy, 4)
    w = floating(op, "w", w, 4, dy.dtype)
    _dy_window(op, dy.shape, w.shape, stride, padding, dilation, groups)
    return conv2d(
        dy, w, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=algorithm, out=out,
    )  # fmt: skip


def conv_transpose2d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    groups: int = 1,
    dilation: Pair = 1,
    algorithm: Algorithm = "auto",
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
    >>> from fastcnn import ops
    >>> x, dy = np.array([[[[1.0, 10.0]]]]), np.array([[[[1.0, 2.0, 3.0]]]])
    >>> ops.conv_transpose2d_backward_weight(dy, x, (1, 1, 1, 2))
    (array([[[[21., 32.]]]]), array([6.]))
    """
    op = "conv_transpose2d_backward_weight"
    dy = floating(op, "dy", dy, 4)
    x = floating(op, "x", x, 4, dy.dtype)
    shape = dims(op, "weight_shape", weight_shape, 4)
    size = _dy_window(op, dy.shape, shape, stride, padding, dilation, groups)
    expect_shape(op, "x", x, (dy.shape[0], shape[0], *size), "the input that gives dy.shape")
    dw, _ = conv2d_backward_weight(
        x, dy, shape, stride=stride, padding=padding, dilation=dilation, groups=groups,
        algorithm=algorithm,
    )  # fmt: skip
    db = empty(op, dy.shape[1:2], dy.dtype)
    _kernels.channel_sums(dy, db, get_num_threads())
    return dw, db


def _dy_window(
    op: str,
    dy_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> tuple[int, int]:
    """Size of the input, after checking that dy fits the kernels."""
    if dy_shape[1] != w_shape[1] * groups:
        raise ValueError(
            f"{op}: expected dy.shape[1] == groups * w.shape[1] ({groups}*{w_shape[1]}), "
            f"got dy.shape={dy_shape}"
        )
    return conv_window(op, dy_shape, w_shape, stride, padding, dilation, groups).out
