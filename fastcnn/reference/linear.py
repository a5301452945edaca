"""Fully connected layer: y = x w^T + b, and its gradients.

N rows, I inputs, O outputs.
"""

from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, output


def linear(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, out: Array | None = None
) -> Array:
    """``x @ w.T + b``, naive twin of ops.linear.

    Parameters
    ----------
    x : array_like
        (N, I), float32 or float64.
    w : array_like
        Weights, (O, I), same dtype.
    b : array_like, optional
        Bias, (O,), same dtype.
    out : ndarray, optional
        Where to write, (N, O).

    Returns
    -------
    ndarray
        (N, O), dtype of `x`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the sizes do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.linear(np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]]), np.array([5.0]))
    array([[16.]])
    """
    op = "linear"
    x = floating(op, "x", x, 2)
    w = floating(op, "w", w, 2, x.dtype)
    expect_shape(op, "w", w, (w.shape[0], x.shape[1]), "x has that many columns")
    y = x @ w.T
    if b is not None:
        bias = floating(op, "b", b, 1, x.dtype)
        expect_shape(op, "b", bias, (w.shape[0],), "one per output")
        y += bias
    result = output(op, out, y.shape, x.dtype)
    result[...] = y
    return result


def linear_backward_input(dy: ArrayLike, w: ArrayLike) -> Array:
    """Gradient of `linear` with respect to x: ``dy @ w``.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, O), float32 or float64.
    w : array_like
        Weights, (O, I), same dtype.

    Returns
    -------
    ndarray
        dx, (N, I), dtype of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `linear`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.linear_backward_input(np.array([[2.0]]), np.array([[3.0, 4.0]]))
    array([[6., 8.]])
    """
    op = "linear_backward_input"
    dy = floating(op, "dy", dy, 2)
    w = floating(op, "w", w, 2, dy.dtype)
    expect_shape(op, "w", w, (dy.shape[1], w.shape[1]), "dy has that many columns")
    return dy @ w


def linear_backward_weight(dy: ArrayLike, x: ArrayLike) -> tuple[Array, Array]:
    """Gradients of `linear` with respect to w and b, summed over the rows.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the output, (N, O), float32 or float64.
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
    TypeError, ValueError
        As `linear`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.linear_backward_weight(np.array([[2.0]]), np.array([[3.0, 4.0]]))
    (array([[6., 8.]]), array([2.]))
    """
    op = "linear_backward_weight"
    dy = floating(op, "dy", dy, 2)
    x = floating(op, "x", x, 2, dy.dtype)
    expect_shape(op, "x", x, (dy.shape[0], x.shape[1]), "dy has that many rows")
    return dy.T @ x, dy.sum(0)
