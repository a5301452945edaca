"""1-D convolution and its backward passes: a row is an image one pixel high, for conv2d's kernels.

N rows, C input channels, L length, K output channels, KL kernel length, OL output length.
"""

from collections.abc import Sequence
from typing import Any

from numpy.typing import ArrayLike

from .._checks import (
    Array,
    PaddingMode,
    check_groups,
    dims,
    expect_shape,
    floating,
    row_options,
    window,
)
from .conv import conv2d, conv2d_backward_input, conv2d_backward_weight


def _options(
    op: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    padding_mode: PaddingMode,
) -> tuple[dict[str, Any], int]:
    """The arguments of conv2d, and OL, after checking that all of them fit."""
    check_groups(op, x_shape, w_shape, groups)
    step, sides, dil = row_options(op, stride, padding, dilation)
    size, kernel = (1, x_shape[2]), (1, w_shape[2])
    win = window(op, size, kernel, stride=step, padding=sides, dilation=dil)
    options = {"stride": step, "padding": sides, "dilation": dil, "groups": groups}
    return {**options, "padding_mode": padding_mode}, win.out[1]


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
    >>> from fastcnn import ops
    >>> ops.conv1d(np.array([[[1.0, 2.0, 3.0, 4.0]]]), np.array([[[1.0, 10.0]]]))
    array([[[21., 32., 43.]]])
    """
    op = "conv1d"
    a = floating(op, "x", x, 3)
    k = floating(op, "w", w, 3, a.dtype)
    options, _ = _options(op, a.shape, k.shape, stride, padding, dilation, groups, padding_mode)
    if b is not None:
        b = floating(op, "b", b, 1, a.dtype)
        expect_shape(op, "b", b, k.shape[:1], "one per output channel")
    return conv2d(a[:, :, None], k[:, :, None], b, **options)[:, :, 0]


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
    >>> from fastcnn import ops
    >>> ops.conv1d_backward_input(np.array([[[1.0, 10.0]]]), np.ones((1, 1, 2)), (1, 1, 3))
    array([[[ 1., 11., 10.]]])
    """
    op = "conv1d_backward_input"
    g = floating(op, "dy", dy, 3)
    k = floating(op, "w", w, 3, g.dtype)
    n, c, length = shape = dims(op, "input_shape", input_shape, 3)
    options, out = _options(op, shape, k.shape, stride, padding, dilation, groups, padding_mode)
    expect_shape(op, "dy", g, (n, len(k), out), "the output of these arguments")
    return conv2d_backward_input(g[:, :, None], k[:, :, None], (n, c, 1, length), **options)[
        :, :, 0
    ]


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
    >>> from fastcnn import ops
    >>> x, dy = np.array([[[1.0, 2.0, 3.0]]]), np.array([[[1.0, 10.0]]])
    >>> ops.conv1d_backward_weight(dy, x, (1, 1, 2))
    (array([[[21., 32.]]]), array([11.]))
    """
    op = "conv1d_backward_weight"
    g = floating(op, "dy", dy, 3)
    a = floating(op, "x", x, 3, g.dtype)
    k, c, length = shape = dims(op, "weight_shape", weight_shape, 3)
    options, out = _options(op, a.shape, shape, stride, padding, dilation, groups, padding_mode)
    expect_shape(op, "dy", g, (len(a), k, out), "the output of these arguments")
    dw, db = conv2d_backward_weight(g[:, :, None], a[:, :, None], (k, c, 1, length), **options)
    return dw[:, :, 0], db
