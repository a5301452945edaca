"""1-D max and average pooling: a row is an image one pixel high, for pool2d's kernels.

N rows, C channels, L length, OL output length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, dims, expect_shape, floating, pool_window, row_options, single
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward


def _options(
    op: str,
    length: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[tuple[int, int], dict[str, Any], int]:
    """Window and arguments of the 2-D pools, and OL, after checking that all of them fit."""
    kernel = (1, single(op, "kernel_size", kernel_size, 1))
    step, sides, dil = row_options(op, kernel[1] if stride is None else stride, padding, dilation)
    win = pool_window(
        op, (1, length), kernel, stride=step, padding=sides, dilation=dil, ceil_mode=ceil_mode
    )
    options = {"stride": step, "padding": sides, "dilation": dil, "ceil_mode": ceil_mode}
    return kernel, options, win.out[1]


def max_pool1d(
    x: ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: Any = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> tuple[Array, Array]:
    """The largest element of each window, and where it is.

    A NaN in a window gives NaN; of equal maxima the first wins. Padding is never the maximum.

    Parameters
    ----------
    x : array_like
        Rows, (N, C, L), float32 or float64.
    kernel_size : int
        Elements of a window.
    stride : int, optional
        Step between windows; `kernel_size` if not given.
    padding : int, (left, right), "valid" or "same"
        Border at the ends, at most half the kernel.
    dilation : int
        Step between the elements of a window.
    ceil_mode : bool
        Round the output length up, so that elements left over at the end get a window too.

    Returns
    -------
    y : ndarray
        (N, C, OL), dtype of `x`.
    indices : ndarray
        int32, (N, C, OL): where in its row each maximum is.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If the window does not fit, or the padding is more than half of it (L is called W there).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.max_pool1d(np.array([[[1.0, 5.0, 7.0, 3.0]]]), 2)
    (array([[[5., 7.]]]), array([[[1, 2]]], dtype=int32))
    """
    op = "max_pool1d"
    a = floating(op, "x", x, 3)
    kernel, options, _ = _options(op, a.shape[2], kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = max_pool2d(a[:, :, None], kernel, **options)
    return y[:, :, 0], indices[:, :, 0]


def max_pool1d_backward(
    dy: ArrayLike,
    indices: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Any = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> Array:
    """Gradient of `max_pool1d`: each window's gradient goes to its maximum, overlaps are summed.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, (N, C, OL), float32 or float64.
    indices : array_like
        int32, as `max_pool1d` returned them.
    input_shape : (N, C, L)
        Shape of the rows.
    kernel_size, stride, padding, dilation, ceil_mode
        As they were in `max_pool1d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

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
    >>> y, indices = ops.max_pool1d(np.array([[[1.0, 5.0, 2.0]]]), 2, stride=1)
    >>> ops.max_pool1d_backward(np.ones_like(y), indices, (1, 1, 3), 2, stride=1)
    array([[[0., 2., 0.]]])
    """
    op = "max_pool1d_backward"
    g = floating(op, "dy", dy, 3)
    n, c, length = dims(op, "input_shape", input_shape, 3)
    kernel, options, out = _options(op, length, kernel_size, stride, padding, dilation, ceil_mode)
    expect_shape(op, "dy", g, (n, c, out), "the output of these arguments")
    at = np.asarray(indices)
    expect_shape(op, "indices", at, g.shape, "the shape of dy")
    shape = (n, c, 1, length)
    return max_pool2d_backward(g[:, :, None], at[:, :, None], shape, kernel, **options)[:, :, 0]


def avg_pool1d(
    x: ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """The mean of each window.

    Parameters
    ----------
    x : array_like
        Rows, (N, C, L), float32 or float64.
    kernel_size, stride, padding, ceil_mode
        As in `max_pool1d`.
    count_include_pad : bool
        Whether padding counts in the divisor.

    Returns
    -------
    ndarray
        (N, C, OL), dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.avg_pool1d(np.array([[[1.0, 5.0, 7.0, 3.0]]]), 2)
    array([[[3., 5.]]])
    """
    op = "avg_pool1d"
    a = floating(op, "x", x, 3)
    kernel, options, _ = _options(op, a.shape[2], kernel_size, stride, padding, 1, ceil_mode)
    del options["dilation"]
    return avg_pool2d(a[:, :, None], kernel, **options, count_include_pad=count_include_pad)[
        :, :, 0
    ]


def avg_pool1d_backward(
    dy: ArrayLike,
    input_shape: Sequence[int],
    kernel_size: int,
    *,
    stride: int | None = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:
    """Gradient of `avg_pool1d`: each window shares its gradient out evenly, overlaps are summed.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to y, (N, C, OL), float32 or float64.
    input_shape : (N, C, L)
        Shape of the rows.
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As they were in `avg_pool1d`.

    Returns
    -------
    ndarray
        dx, of `input_shape`, dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `max_pool1d`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 3), 2, stride=1)
    array([[[1., 3., 2.]]])
    """
    op = "avg_pool1d_backward"
    g = floating(op, "dy", dy, 3)
    n, c, length = dims(op, "input_shape", input_shape, 3)
    kernel, options, out = _options(op, length, kernel_size, stride, padding, 1, ceil_mode)
    expect_shape(op, "dy", g, (n, c, out), "the output of these arguments")
    del options["dilation"]
    return avg_pool2d_backward(
        g[:, :, None], (n, c, 1, length), kernel, **options, count_include_pad=count_include_pad
    )[:, :, 0]
