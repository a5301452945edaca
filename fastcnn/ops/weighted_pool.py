"""Weighted-average pooling and its backward passes: a depthwise convolution, by its kernels.

N images, C channels, H W input size, KH KW window, OH OW output size.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, Padding, Pair, dims, expect_shape, floating
from .conv import conv2d, conv2d_backward_input, conv2d_backward_weight


def filters(op: str, w: ArrayLike, channels: int, like: Array) -> Array:
    """(KH, KW) or (C, KH, KW) as the filters of a depthwise convolution, (C, 1, KH, KW)."""
    a = floating(op, "w", w, None, like.dtype)
    if a.ndim not in (2, 3):
        raise ValueError(
            f"{op}: expected w of shape (KH, KW) or ({channels}, KH, KW), got w.shape={a.shape}"
        )
    if a.ndim == 3:
        expect_shape(op, "w", a, (channels, *a.shape[1:]), "one window for each channel of x")
        return a[:, None]
    return np.broadcast_to(a, (channels, 1, *a.shape))


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
    >>> from fastcnn import ops
    >>> x = np.array([[[[1.0, 2.0, 3.0, 4.0]]]])
    >>> ops.weighted_avg_pool2d(x, np.array([[0.75, 0.25]]))
    array([[[[1.25, 3.25]]]])
    """
    op = "weighted_avg_pool2d"
    a = floating(op, "x", x, 4)
    k = filters(op, w, a.shape[1], a)
    step = k.shape[2:] if stride is None else stride
    return conv2d(a, k, stride=step, padding=padding, groups=a.shape[1])


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
    >>> from fastcnn import ops
    >>> dy, w = np.array([[[[4.0, 8.0]]]]), np.array([[0.75, 0.25]])
    >>> ops.weighted_avg_pool2d_backward_input(dy, w, (1, 1, 1, 4))
    array([[[[3., 1., 6., 2.]]]])
    """
    op = "weighted_avg_pool2d_backward_input"
    g = floating(op, "dy", dy, 4)
    shape = dims(op, "input_shape", input_shape, 4)
    k = filters(op, w, shape[1], g)
    step = k.shape[2:] if stride is None else stride
    return conv2d_backward_input(g, k, shape, stride=step, padding=padding, groups=shape[1])


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
    >>> from fastcnn import ops
    >>> x, dy = np.array([[[[1.0, 2.0, 3.0, 4.0]]]]), np.array([[[[1.0, 10.0]]]])
    >>> ops.weighted_avg_pool2d_backward_weight(dy, x, (1, 2))
    array([[31., 42.]])
    """
    op = "weighted_avg_pool2d_backward_weight"
    g = floating(op, "dy", dy, 4)
    a = floating(op, "x", x, 4, g.dtype)
    shared = len(weight_shape) == 2
    shape = dims(op, "weight_shape", weight_shape, 2 if shared else 3)
    if not shared and shape[0] != a.shape[1]:
        raise ValueError(
            f"{op}: expected weight_shape to be (KH, KW) or ({a.shape[1]}, KH, KW), got {shape}"
        )
    kernel = shape[-2:]
    step = kernel if stride is None else stride
    channels = a.shape[1]
    each, _ = conv2d_backward_weight(
        g, a, (channels, 1, *kernel), stride=step, padding=padding, groups=channels
    )
    dw: Array = each.sum((0, 1)) if shared else each[:, 0]
    return dw
