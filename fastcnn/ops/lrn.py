"""Local response normalisation, forward and backward.

Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
networks", NIPS 2012, section 3.3. The paper's sum is not divided by the number of channels in the
window; here, as in PyTorch and Caffe, it is: the paper's alpha = 1e-4 with n = 5 is alpha = 5e-4.

N images, C channels, and any axes behind them.
"""

import math

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, empty, expect_shape, floating, integer, number, output
from .._config import get_num_threads

Settings = tuple[int, float, float, float]


def _checked(
    op: str, x: ArrayLike, size: int, alpha: float, beta: float, k: float
) -> tuple[Array, tuple[int, int, int], Settings]:
    """x as a float array, its sizes as (N, C, elements of a plane), and the four numbers."""
    a = floating(op, "x", x, None)
    if a.ndim < 2:
        raise ValueError(f"{op}: expected x of shape (N, C, ...), got x.shape={a.shape}")
    settings = (
        integer(op, "size", size, 1),
        number(op, "alpha", alpha, 0),
        number(op, "beta", beta),
        number(op, "k", k, 0),
    )
    return a, (a.shape[0], a.shape[1], math.prod(a.shape[2:])), settings


def local_response_norm(
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: Array | None = None,
) -> Array:
    """Local response normalisation: each value over the strength of its channel's neighbours.

    ``y = x / (k + alpha / size * sum of x[j]**2)**beta``, the sum over the `size` channels from
    ``c - size // 2`` to ``c + (size - 1) // 2``, as far as there are, at the same pixel.

    Parameters
    ----------
    x : array_like
        (N, C, ...), float32 or float64.
    size : int
        Channels in a window.
    alpha : float
        At least 0. It is divided by `size`, as PyTorch has it; the paper's alpha is
        ``alpha / size``.
    beta : float
        0.75, the paper's, is quick; other values take a power of every number.
    k : float
        At least 0.
    out : ndarray, optional
        Where to write; shape and dtype of `x`.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If a number is out of its range or `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.local_response_norm(np.array([[3.0, 0.0, 1.0]]), 3, alpha=3.0, beta=0.5, k=0.0)
    array([[1., 0., 1.]])
    """
    op = "local_response_norm"
    a, sizes, settings = _checked(op, x, size, alpha, beta, k)
    y = output(op, out, a.shape, a.dtype, (a,))
    _kernels.lrn_forward(sizes, settings, a, y, get_num_threads())
    return y


def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    """Gradient of `local_response_norm` with respect to its input, exact.

    With ``s = k + alpha / size * sum of x[j]**2``, it is ``dy * s**-beta`` less
    ``2 * alpha / size * beta * x`` times the sum of ``dy[j] * x[j] * s[j]**(-beta - 1)`` over all
    channels j in whose windows the channel is.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output; shape and dtype of `x`.
    x : array_like
        What `local_response_norm` was given.
    size, alpha, beta, k
        As in `local_response_norm`.

    Returns
    -------
    ndarray
        dx, shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        As `local_response_norm`, or if `dy` and `x` differ in shape or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.array([[1.0, 2.0]])
    >>> ops.local_response_norm_backward(np.ones((1, 2)), x, 1, alpha=1.0, beta=1.0, k=1.0)
    array([[ 0.  , -0.12]])
    """
    op = "local_response_norm_backward"
    a, sizes, settings = _checked(op, x, size, alpha, beta, k)
    g = floating(op, "dy", dy, None, a.dtype, "x")
    expect_shape(op, "dy", g, a.shape, "x.shape")
    dx = empty(op, a.shape, a.dtype)
    _kernels.lrn_backward(sizes, settings, g, a, dx, None, get_num_threads())
    return dx
