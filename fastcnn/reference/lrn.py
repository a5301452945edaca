"""Local response normalisation as the formula says it, window by window.

    y[c] = x[c] / s[c]^beta,  s[c] = k + alpha / size * (sum of x[j]^2 over the window of c)

The window of channel c is c - size // 2 to c + (size - 1) // 2, as far as there are channels. As in
PyTorch, alpha is divided by size; the paper's is not.
"""

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, integer, number, output


def _windows(op: str, x: Array, size: int) -> list[slice]:
    """The window of each channel."""
    if x.ndim < 2:
        raise ValueError(f"{op}: expected x of shape (N, C, ...), got x.shape={x.shape}")
    n = integer(op, "size", size, 1)
    return [slice(max(c - n // 2, 0), c + (n - 1) // 2 + 1) for c in range(x.shape[1])]


def _strength(
    op: str, x: Array, windows: list[slice], size: int, alpha: float, beta: float, k: float
) -> Array:
    """s, of x's shape."""
    number(op, "beta", beta)
    s = np.full_like(x, number(op, "k", k, 0))
    for c, window in enumerate(windows):
        s[:, c] += number(op, "alpha", alpha, 0) / size * (x[:, window] ** 2).sum(1)
    return s


def local_response_norm(
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    out: Array | None = None,
) -> Array:
    """Local response normalisation, naive twin of ops.local_response_norm.

    Parameters
    ----------
    x : array_like
        (N, C, ...), float32 or float64.
    size : int
        Channels in a window.
    alpha, k : float
        At least 0.
    beta : float
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.local_response_norm(np.array([[3.0, 0.0, 1.0]]), 3, alpha=3.0, beta=0.5, k=0.0)
    array([[1., 0., 1.]])
    """
    op = "local_response_norm"
    a = floating(op, "x", x, None)
    s = _strength(op, a, _windows(op, a, size), size, alpha, beta, k)
    y = output(op, out, a.shape, a.dtype)
    y[...] = a * s**-beta
    return y


def local_response_norm_backward(
    dy: ArrayLike,
    x: ArrayLike,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
) -> Array:
    """Gradient of `local_response_norm` with respect to its input.

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
    >>> from fastcnn import reference
    >>> x = np.array([[1.0, 2.0]])
    >>> reference.local_response_norm_backward(np.ones((1, 2)), x, 1, 1.0, 1.0, 1.0)
    array([[ 0.  , -0.12]])
    """
    op = "local_response_norm_backward"
    a = floating(op, "x", x, None)
    g = floating(op, "dy", dy, None, a.dtype, "x")
    expect_shape(op, "dy", g, a.shape, "x.shape")
    windows = _windows(op, a, size)
    s = _strength(op, a, windows, size, alpha, beta, k)
    dx = g * s**-beta
    dstrength = -beta * g * a * s ** (-beta - 1)
    for c, window in enumerate(windows):  # channel c's strength gives back to all in its window
        dx[:, window] += dstrength[:, c : c + 1] * (2 * alpha / size) * a[:, window]
    return dx
