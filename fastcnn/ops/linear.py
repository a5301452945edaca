"""Fully connected layer, y = x w^T + b, and its gradients, on the library's own matrix product.

N rows (samples), I inputs, O outputs.
"""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, empty, expect_shape, floating, output
from .._config import get_num_threads


def linear(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """Fully connected layer, ``x @ w.T + b``.

    A row of the result has the same bits in any batch and at any number of threads.

    Parameters
    ----------
    x : array_like
        (N, I), float32 or float64.
    w : array_like
        Weights, (O, I), same dtype.
    b : array_like, optional
        Bias, (O,), same dtype.
    out : ndarray, optional
        Where to write, (N, O), same dtype; must not overlap the inputs.

    Returns
    -------
    ndarray
        (N, O), dtype of `x`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the sizes do not fit each other, or `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, 0.0]))
    array([[11.5, 17. ]])
    """
    op = "linear"
    x = floating(op, "x", x, 2)
    w = floating(op, "w", w, 2, x.dtype)
    (n, i), o = x.shape, w.shape[0]
    expect_shape(op, "w", w, (o, i), f"x has {i} columns")
    if b is not None:
        b = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", b, (o,), "one per output")
    y = output(op, out, (n, o), x.dtype, (x, w, b))
    _kernels.linear_forward(x, w, b, y, None, get_num_threads())
    return y


def linear_backward_input(dy: ArrayLike, w: ArrayLike) -> Array:
    """Gradient of `linear` with respect to its input, ``dy @ w``.

    A row of the result has the same bits in any batch and at any number of threads.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output, (N, O), float32 or float64.
    w : array_like
        Weights, (O, I), same dtype.

    Returns
    -------
    ndarray
        dx, (N, I), dtype of `dy`.

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
    >>> ops.linear_backward_input(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    array([[13., 16.]])
    """
    op = "linear_backward_input"
    dy = floating(op, "dy", dy, 2)
    w = floating(op, "w", w, 2, dy.dtype)
    (n, o), i = dy.shape, w.shape[1]
    expect_shape(op, "w", w, (o, i), f"dy has {o} columns")
    dx = empty(op, (n, i), dy.dtype)
    _kernels.linear_backward_input(dy, w, dx, None, get_num_threads())
    return dx


def linear_backward_weight(dy: ArrayLike, x: ArrayLike) -> tuple[Array, Array]:
    """Gradients of `linear` with respect to weights and bias, summed over the N rows.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output, (N, O), float32 or float64.
    x : array_like
        The input, (N, I), same dtype.

    Returns
    -------
    dw : ndarray
        ``dy.T @ x``, (O, I), dtype of `dy`.
    db : ndarray
        ``dy.sum(0)``, (O,), dtype of `dy`.

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
    >>> ops.linear_backward_weight(np.array([[2.0], [1.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]))
    (array([[11., 14.]]), array([3.]))
    """
    op = "linear_backward_weight"
    dy = floating(op, "dy", dy, 2)
    x = floating(op, "x", x, 2, dy.dtype)
    (n, o), i = dy.shape, x.shape[1]
    expect_shape(op, "x", x, (n, i), f"dy has {n} rows")
    dw = empty(op, (o, i), dy.dtype)
    db = empty(op, (o,), dy.dtype)
    _kernels.linear_backward_weight(dy, x, dw, db, None, get_num_threads())
    return dw, db
