"""1-D cross-correlation as the formula says it: slide, multiply, add.

    y[n, k, o] = b[k] + sum over c, i of w[k, c, i] * xp[n, c, o * stride + i * dilation]

where xp is the padded row. The backward passes are the same loop read the other way.

N rows, C input channels, L length, K output channels, KL kernel length, OL output length, G groups:
arrays of channels are viewed as (N, G, C/G, ...) and (G, K/G, C/G, ...).
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._checks import (
    Array,
    PaddingMode,
    check_groups,
    check_padding_mode,
    dims,
    expect_shape,
    floating,
    row_options,
    window,
)


def _windows(
    op: str, length: int, kernel: int, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[int, int], Array]:
    """Padding at the ends, and the elements of the padded row that each window sees, (OL, KL)."""
    step, sides, dil = row_options(op, stride, padding, dilation)
    win = window(op, (1, length), (1, kernel), stride=step, padding=sides, dilation=dil)
    starts = np.arange(win.out[1]) * win.stride[1]
    return win.padding[2:], starts[:, None] + np.arange(kernel) * win.dilation[1]


def _numpy_mode(op: str, shape: Sequence[int], padding_mode: str) -> Literal["constant", "edge"]:
    check_padding_mode(op, shape, padding_mode)
    return "edge" if padding_mode == "replicate" else "constant"


def conv1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: int = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
) -> Array:
    """1-D convolution (cross-correlation: the kernel is not flipped).

    Parameters
    ----------
    x : array_like
        Rows, (N, C, L), float32 or float64.
    w : array_like
        Kernels, (K, C / groups, KL), same dtype.
    b : array_like, optional
        Bias, (K,), same dtype.
    stride, dilation : int
        Steps between windows, and between the elements of a window.
    padding : int, (left, right), "valid" or "same"
        Elements added at the ends. "same" gives ceil(L / stride) of them.
    groups : int
        Input and output channels are cut into so many groups that do not see each other.
    padding_mode : {"zeros", "replicate"}
        What the added elements are: zeros, or copies of the nearest one.

    Returns
    -------
    ndarray
        (N, K, OL), dtype of `x`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the sizes do not fit each other (L is called W there).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.conv1d(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 10.0]]]))
    array([[[21., 32., 43.]]])
    """
    op = "conv1d"
    x = floating(op, "x", x, 3)
    w = floating(op, "w", w, 3, x.dtype)
    check_groups(op, x.shape, w.shape, groups)
    (n, c, length), k, g = x.shape, len(w), groups
    (left, right), seen = _windows(op, length, w.shape[2], stride, padding, dilation)
    mode = _numpy_mode(op, x.shape, padding_mode)
    xp = np.pad(x, ((0, 0), (0, 0), (left, right)), mode=mode).reshape(n, g, c // g, -1)
    taps = w.reshape(g, k // g, c // g, -1)
    y = np.zeros((n, g, k // g, len(seen)), x.dtype)
    for i in range(w.shape[2]):
        y += np.einsum("gkc,ngcl->ngkl", taps[..., i], xp[..., seen[:, i]])
    y = y.reshape(n, k, -1) if y.size else np.zeros((n, k, len(seen)), x.dtype)
    if b is not None:
        bias = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", bias, (k,), "one per output channel")
        y += bias[:, None]
    return y


def conv1d_backward_input(
    dy: ArrayLike,
    w: ArrayLike,
    input_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
) -> Array:
    """Gradient of `conv1d` with respect to its rows: each output spreads back over its window.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OL).
    w : array_like
        Kernels, (K, C / groups, KL), same dtype.
    input_shape : (N, C, L)
        Shape of the rows.
    stride, padding, dilation, groups, padding_mode
        As in `conv1d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.conv1d_backward_input(np.array([[[1.0, 10.0]]]), np.ones((1, 1, 2)), (1, 1, 3))
    array([[[ 1., 11., 10.]]])
    """
    op = "conv1d_backward_input"
    dy = floating(op, "dy", dy, 3)
    w = floating(op, "w", w, 3, dy.dtype)
    n, c, length = shape = dims(op, "input_shape", input_shape, 3)
    check_groups(op, shape, w.shape, groups)
    k, g = len(w), groups
    (left, right), seen = _windows(op, length, w.shape[2], stride, padding, dilation)
    mode = _numpy_mode(op, shape, padding_mode)
    expect_shape(op, "dy", dy, (n, k, len(seen)), "the output of these arguments")
    taps, gradient = w.reshape(g, k // g, c // g, -1), dy.reshape(n, g, k // g, len(seen))
    spread = np.zeros((n, g, c // g, left + length + right), dy.dtype)
    for i in range(w.shape[2]):
        spread[..., seen[:, i]] += np.einsum("gkc,ngkl->ngcl", taps[..., i], gradient)
    dxp = spread.reshape(n, c, left + length + right)
    dx = dxp[..., left : left + length].copy()
    if mode == "edge":  # the ends collect what their copies got
        dx[..., 0] += dxp[..., :left].sum(-1)
        dx[..., -1] += dxp[..., left + length :].sum(-1)
    return dx


def conv1d_backward_weight(
    dy: ArrayLike,
    x: ArrayLike,
    weight_shape: Sequence[int],
    *,
    stride: int = 1,
    padding: Any = 0,
    dilation: int = 1,
    groups: int = 1,
    padding_mode: PaddingMode = "zeros",
) -> tuple[Array, Array]:
    """Gradients of `conv1d` with respect to kernels and bias, summed over the batch.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, K, OL).
    x : array_like
        The rows, (N, C, L), same dtype.
    weight_shape : (K, C / groups, KL)
        Shape of the kernels.
    stride, padding, dilation, groups, padding_mode
        As in `conv1d`.

    Returns
    -------
    dw : ndarray
        Of `weight_shape`, dtype of `dy`.
    db : ndarray
        (K,), dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `conv1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x, dy = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> reference.conv1d_backward_weight(dy, x, (1, 1, 2))
    (array([[[21., 32.]]]), array([11.]))
    """
    op = "conv1d_backward_weight"
    dy = floating(op, "dy", dy, 3)
    x = floating(op, "x", x, 3, dy.dtype)
    shape = dims(op, "weight_shape", weight_shape, 3)
    check_groups(op, x.shape, shape, groups)
    (n, c, length), k, g = x.shape, shape[0], groups
    (left, right), seen = _windows(op, length, shape[2], stride, padding, dilation)
    mode = _numpy_mode(op, x.shape, padding_mode)
    expect_shape(op, "dy", dy, (n, k, len(seen)), "the output of these arguments")
    xp = np.pad(x, ((0, 0), (0, 0), (left, right)), mode=mode).reshape(n, g, c // g, -1)
    gradient = dy.reshape(n, g, k // g, len(seen))
    dw = np.zeros((g, k // g, c // g, shape[2]), dy.dtype)
    for i in range(shape[2]):
        dw[..., i] = np.einsum("ngkl,ngcl->gkc", gradient, xp[..., seen[:, i]])
    return dw.reshape(shape), dy.sum((0, 2))
