"""Batch normalisation: with given statistics, with the batch's own, and backward.

Statistics are over all axes but that of the channels, axis 1, and are float64.
"""

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, number


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    *,
    eps: float = 1e-5,
) -> Array:
    """``gamma * (x - running_mean) / sqrt(running_var + eps) + beta``, per channel.

    Parameters
    ----------
    x : array_like
        (N, C, ...), float32 or float64.
    gamma, beta : array_like or None
        (C,); None for 1 and 0.
    running_mean, running_var : array_like
        (C,)
    eps : float
        Added to the variance.

    Returns
    -------
    ndarray
        Shape and dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        As `fastcnn.ops.batch_norm`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> mean, var = np.array([10.0]), np.array([25.0])
    >>> reference.batch_norm(np.array([[20.0]]), None, None, mean, var, eps=0)
    array([[2.]])
    """
    op = "batch_norm"
    x = _images(op, x)
    eps = number(op, "eps", eps, 0.0)
    gamma, beta = _affine(op, "gamma", gamma, x), _affine(op, "beta", beta, x)
    mean = _vector(op, "running_mean", running_mean, x, x.dtype)
    var = _vector(op, "running_var", running_var, x, x.dtype)
    return (gamma * (x - mean) / np.sqrt(var + x.dtype.type(eps)) + beta).astype(x.dtype)


def batch_norm_forward(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """The same with the mean and the biased variance of `x` itself.

    Parameters
    ----------
    x, gamma, beta, eps
        As for `batch_norm`.

    Returns
    -------
    y : ndarray
        Shape and dtype of `x`.
    mean, inv_std : ndarray
        float64, (C,); ``inv_std = 1 / sqrt(var + eps)``.

    Raises
    ------
    TypeError, ValueError
        As `fastcnn.ops.batch_norm_forward`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.batch_norm_forward(np.array([[1.0], [5.0]]), None, None, eps=0)[0].ravel()
    array([-1.,  1.])
    """
    op = "batch_norm_forward"
    x = _images(op, x)
    eps = number(op, "eps", eps, 0.0)
    gamma, beta = _affine(op, "gamma", gamma, x), _affine(op, "beta", beta, x)
    count = max(x.size // max(x.shape[1], 1), 1)
    mean = _sum(x) / count
    var = _sum((x - mean) ** 2) / count
    inv_std = 1 / np.sqrt(var + eps)
    y = (gamma * (x - mean) * inv_std + beta).astype(x.dtype)
    return y, mean.ravel(), inv_std.ravel()


def batch_norm_backward(
    dy: ArrayLike, x: ArrayLike, gamma: ArrayLike | None, mean: ArrayLike, inv_std: ArrayLike
) -> tuple[Array, Array, Array]:
    """``dx = gamma * inv_std * (dy - mean(dy) - x_hat * mean(dy * x_hat))``, dgamma and dbeta.

    Parameters
    ----------
    dy : array_like
        Shape and dtype of `x`.
    x, gamma
        As given to `batch_norm_forward`.
    mean, inv_std : array_like
        float64, (C,): what it returned.

    Returns
    -------
    dx : ndarray
        Shape and dtype of `x`.
    dgamma, dbeta : ndarray
        (C,), dtype of `x`: the sums of ``dy * x_hat`` and of `dy`.

    Raises
    ------
    TypeError, ValueError
        As `fastcnn.ops.batch_norm_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x, dy = np.array([[1.0], [5.0]]), np.array([[1.0], [0.0]])
    >>> _, mean, inv_std = reference.batch_norm_forward(x, None, None, eps=0)
    >>> reference.batch_norm_backward(dy, x, None, mean, inv_std)[1:]
    (array([-1.]), array([1.]))
    """
    op = "batch_norm_backward"
    x = _images(op, x)
    dy = floating(op, "dy", dy, None, x.dtype)
    expect_shape(op, "dy", dy, x.shape, "x.shape")
    gamma = _affine(op, "gamma", gamma, x)
    mean = _vector(op, "mean", mean, x, np.dtype(np.float64))
    inv_std = _vector(op, "inv_std", inv_std, x, np.dtype(np.float64))
    count = max(x.size // max(x.shape[1], 1), 1)
    x_hat = (x - mean) * inv_std
    dbeta, dgamma = _sum(dy), _sum(dy * x_hat)
    dx = gamma * inv_std * (dy - dbeta / count - x_hat * dgamma / count)
    return dx.astype(x.dtype), dgamma.ravel().astype(x.dtype), dbeta.ravel().astype(x.dtype)


def _images(op: str, x: ArrayLike) -> Array:
    a = floating(op, "x", x, None)
    if a.ndim < 2:
        raise ValueError(f"{op}: expected x of shape (N, C) or (N, C, H, W), got x.shape={a.shape}")
    return a


def _vector(op: str, name: str, value: ArrayLike, x: Array, dtype: np.dtype) -> Array:
    """One number for each channel of x, in a shape that broadcasts along it."""
    a = np.asarray(value)
    if a.dtype != dtype:
        raise TypeError(f"{op}: expected {name} to be {dtype}, got {a.dtype}")
    expect_shape(op, name, a, (x.shape[1],), "one for each channel of x")
    return a.reshape(-1, *(1,) * (x.ndim - 2))


def _affine(op: str, name: str, value: ArrayLike | None, x: Array) -> Array:
    if value is None:
        return np.asarray(1.0 if name == "gamma" else 0.0, x.dtype)
    return _vector(op, name, value, x, x.dtype)


def _sum(a: Array) -> Array:
    """Over all axes but 1, in float64, in a shape that broadcasts."""
    total = a.sum((0, *range(2, a.ndim)), dtype=np.float64)
    return np.asarray(total.reshape(-1, *(1,) * (a.ndim - 2)))
