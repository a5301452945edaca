"""1-D max and average pooling, window by window.

N rows, C channels, L length, OL output length.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import (
    Array,
    Window,
    dims,
    expect_shape,
    floating,
    pool_window,
    row_options,
    single,
)


def _window(
    op: str,
    length: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Window:
    kernel = single(op, "kernel_size", kernel_size, 1)
    step, sides, dil = row_options(op, kernel if stride is None else stride, padding, dilation)
    return pool_window(
        op, (1, length), (1, kernel),
        stride=step, padding=sides, dilation=dil, ceil_mode=ceil_mode,
    )  # fmt: skip


def _windows(
    op: str,
    length: int,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[Array, Array]:
    """The elements of the row that each window sees, and which of them are there, (OL, KL)."""
    win = _window(op, length, kernel_size, stride, padding, dilation, ceil_mode)
    starts = np.arange(win.out[1]) * win.stride[1] - win.padding[2]
    seen = starts[:, None] + np.arange(win.kernel[1]) * win.dilation[1]
    return seen, (seen >= 0) & (seen < length)


def _counts(
    op: str,
    length: int,
    seen: Array,
    inside: Array,
    padding: Any,
    stride: Any,
    kernel_size: Any,
    count_include_pad: bool,
) -> list[int]:
    """The divisor of each window: its elements, but for those beyond the padding."""
    if not count_include_pad:
        return [int(there.sum()) for there in inside]
    win = _window(op, length, kernel_size, stride, padding, 1, True)
    return [int((elements < length + win.padding[3]).sum()) for elements in seen]


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
    >>> from fastcnn import reference
    >>> reference.max_pool1d(np.array([[[1.0, 5.0, 7.0, 3.0]]]), 2)
    (array([[[5., 7.]]]), array([[[1, 2]]], dtype=int32))
    """
    op = "max_pool1d"
    x = floating(op, "x", x, 3)
    seen, inside = _windows(op, x.shape[2], kernel_size, stride, padding, dilation, ceil_mode)
    y = np.empty((*x.shape[:2], len(seen)), x.dtype)
    indices = np.empty(y.shape, np.int32)
    for o, (elements, there) in enumerate(zip(seen, inside, strict=True)):
        at = elements[there]
        values = x[:, :, at]
        best = values.argmax(-1)  # the first NaN if there is one, else the first maximum
        indices[:, :, o] = at[best]
        y[:, :, o] = np.take_along_axis(values, best[..., None], -1)[..., 0]
    return y, indices


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
    >>> from fastcnn import reference
    >>> y, indices = reference.max_pool1d(np.array([[[1.0, 5.0, 2.0]]]), 2, stride=1)
    >>> reference.max_pool1d_backward(np.ones_like(y), indices, (1, 1, 3), 2, stride=1)
    array([[[0., 2., 0.]]])
    """
    op = "max_pool1d_backward"
    dy = floating(op, "dy", dy, 3)
    n, c, length = shape = dims(op, "input_shape", input_shape, 3)
    seen, _ = _windows(op, length, kernel_size, stride, padding, dilation, ceil_mode)
    expect_shape(op, "dy", dy, (n, c, len(seen)), "the output of these arguments")
    at = np.asarray(indices)
    if at.dtype != np.int32:
        raise TypeError(f"{op}: expected indices to be int32, got {at.dtype}")
    expect_shape(op, "indices", at, dy.shape, "the shape of dy")
    if not (at[..., None] == seen).any(-1).all() or (at.size and at.max() >= length):
        raise ValueError(f"{op}: expected each of indices to be an element of its window")
    dx = np.zeros(shape, dy.dtype)
    for i, j, o in np.ndindex(dy.shape):
        dx[i, j, at[i, j, o]] += dy[i, j, o]
    return dx


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
    >>> from fastcnn import reference
    >>> reference.avg_pool1d(np.array([[[1.0, 5.0, 7.0, 3.0]]]), 2)
    array([[[3., 5.]]])
    """
    op = "avg_pool1d"
    x = floating(op, "x", x, 3)
    seen, inside = _windows(op, x.shape[2], kernel_size, stride, padding, 1, ceil_mode)
    counts = _counts(op, x.shape[2], seen, inside, padding, stride, kernel_size, count_include_pad)
    y = np.empty((*x.shape[:2], len(seen)), x.dtype)
    for o, (elements, there) in enumerate(zip(seen, inside, strict=True)):
        y[:, :, o] = x[:, :, elements[there]].sum(-1) / x.dtype.type(counts[o])
    return y


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
    >>> from fastcnn import reference
    >>> reference.avg_pool1d_backward(np.array([[[2.0, 4.0]]]), (1, 1, 3), 2, stride=1)
    array([[[1., 3., 2.]]])
    """
    op = "avg_pool1d_backward"
    dy = floating(op, "dy", dy, 3)
    n, c, length = shape = dims(op, "input_shape", input_shape, 3)
    seen, inside = _windows(op, length, kernel_size, stride, padding, 1, ceil_mode)
    counts = _counts(op, length, seen, inside, padding, stride, kernel_size, count_include_pad)
    expect_shape(op, "dy", dy, (n, c, len(seen)), "the output of these arguments")
    dx = np.zeros(shape, dy.dtype)
    for o, (elements, there) in enumerate(zip(seen, inside, strict=True)):
        dx[:, :, elements[there]] += (dy[:, :, o] / dy.dtype.type(counts[o]))[..., None]
    return dx
