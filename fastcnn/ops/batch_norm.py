"""Batch normalisation: with given statistics (inference), with the batch's own, and backward.

Every channel is taken to mean 0 and variance 1, then scaled by gamma and shifted by beta. A channel
is x[:, c], over all images and pixels: x is (N, C) or (N, C, H, W), or of any more axes.

The statistics are float64 whatever `x` is: a float32 mean would not hold all digits that matter
where the mean is large and the deviation small.

Source: Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
internal covariate shift", ICML 2015, algorithms 1 and 2 and section 3.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, empty, expect_shape, floating, number
from .._config import get_num_threads

_F64 = np.dtype(np.float64)


def _channels(op: str, x: ArrayLike) -> tuple[Array, tuple[int, int, int]]:
    """x as a float array, and its sizes as (N, C, elements of a plane)."""
    a = floating(op, "x", x, None)
    if a.ndim < 2:
        raise ValueError(f"{op}: expected x of shape (N, C) or (N, C, H, W), got x.shape={a.shape}")
    return a, (a.shape[0], a.shape[1], math.prod(a.shape[2:]))


def _per_channel(
    op: str, name: str, value: ArrayLike, x: Array, dtype: np.dtype[Any] | None = None
) -> Array:
    """One number for each channel, of x's dtype if no other is given."""
    a = np.asarray(value)
    if a.dtype != (dtype or x.dtype):
        raise TypeError(f"{op}: expected {name} to be {dtype or x.dtype}, got {a.dtype}")
    expect_shape(op, name, a, (x.shape[1],), "one for each channel of x")
    return np.require(a, requirements=("C", "A"))


def _affine(op: str, name: str, value: ArrayLike | None, x: Array) -> Array | None:
    return None if value is None else _per_channel(op, name, value, x)


def batch_norm(
    x: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    *,
    eps: float = 1e-5,
) -> Array:
    """Inference: ``gamma * (x - running_mean) / sqrt(running_var + eps) + beta``, per channel.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, C, ...).
    gamma, beta : array_like or None
        Scale and shift, (C,), dtype of `x`; None for 1 and 0.
    running_mean, running_var : array_like
        (C,), dtype of `x`.
    eps : float
        Added to the variance; at least 0.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64, or another dtype differs from that of `x`.
    ValueError
        If a shape does not fit, or `eps` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.array([[1.0, 10.0], [3.0, 20.0]])
    >>> ops.batch_norm(x, None, None, np.array([1.0, 10.0]), np.array([4.0, 25.0]), eps=0)
    array([[0., 0.],
           [1., 2.]])
    """
    op = "batch_norm"
    a, sizes = _channels(op, x)
    eps = number(op, "eps", eps, 0.0)
    g, b = _affine(op, "gamma", gamma, a), _affine(op, "beta", beta, a)
    mean = _per_channel(op, "running_mean", running_mean, a)
    var = _per_channel(op, "running_var", running_var, a)
    y = empty(op, a.shape, a.dtype)
    _kernels.batch_norm_inference(*sizes, eps, a, g, b, mean, var, y, get_num_threads())
    return y


def batch_norm_forward(
    x: ArrayLike, gamma: ArrayLike | None, beta: ArrayLike | None, *, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """Training: normalise with the mean and the variance of `x` itself, per channel.

    Parameters
    ----------
    x : array_like
        float32 or float64, (N, C, ...).
    gamma, beta : array_like or None
        Scale and shift, (C,), dtype of `x`; None for 1 and 0.
    eps : float
        Added to the variance; at least 0.

    Returns
    -------
    y : ndarray
        Same shape and dtype as `x`.
    mean : ndarray
        float64, (C,).
    inv_std : ndarray
        float64, (C,): ``1 / sqrt(var + eps)``, var the biased variance (over the number of
        elements). Of no elements the mean and the variance are 0.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64, or another dtype differs from that of `x`.
    ValueError
        If a shape does not fit, or `eps` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> y, mean, inv_std = ops.batch_norm_forward(np.array([[1.0], [5.0]]), None, None, eps=0)
    >>> y
    array([[-1.],
           [ 1.]])
    >>> mean, inv_std
    (array([3.]), array([0.5]))
    """
    op = "batch_norm_forward"
    a, sizes = _channels(op, x)
    eps = number(op, "eps", eps, 0.0)
    g, b = _affine(op, "gamma", gamma, a), _affine(op, "beta", beta, a)
    y = empty(op, a.shape, a.dtype)
    mean, inv_std = (empty(op, (a.shape[1],), _F64) for _ in range(2))
    _kernels.batch_norm_forward(*sizes, eps, a, g, b, y, mean, inv_std, get_num_threads())
    return y, mean, inv_std


def batch_norm_backward(
    dy: ArrayLike, x: ArrayLike, gamma: ArrayLike | None, mean: ArrayLike, inv_std: ArrayLike
) -> tuple[Array, Array, Array]:
    """Gradients of `batch_norm_forward` with respect to `x`, `gamma` and `beta`.

    With ``x_hat = (x - mean) * inv_std`` and means over the elements of a channel,
    ``dx = gamma * inv_std * (dy - mean(dy) - x_hat * mean(dy * x_hat))``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; shape and dtype of `x`.
    x, gamma : array_like
        As given to `batch_norm_forward`.
    mean, inv_std : array_like
        float64, (C,): what it returned.

    Returns
    -------
    dx : ndarray
        Same shape and dtype as `x`.
    dgamma, dbeta : ndarray
        (C,), dtype of `x`; also where `gamma` is None.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64, `mean` or `inv_std` not float64, or another dtype differs
        from that of `x`.
    ValueError
        If a shape does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x, dy = np.array([[1.0], [5.0], [3.0]]), np.array([[1.0], [0.0], [1.0]])
    >>> y, mean, inv_std = ops.batch_norm_forward(x, None, None)
    >>> dx, dgamma, dbeta = ops.batch_norm_backward(dy, x, None, mean, inv_std)
    >>> dx.round(3).ravel(), dgamma.round(3), dbeta
    (array([-0.102, -0.102,  0.204]), array([-1.225]), array([2.]))
    """
    op = "batch_norm_backward"
    a, sizes = _channels(op, x)
    d = floating(op, "dy", dy, None, a.dtype)
    expect_shape(op, "dy", d, a.shape, "x.shape")
    g = _affine(op, "gamma", gamma, a)
    m = _per_channel(op, "mean", mean, a, _F64)
    s = _per_channel(op, "inv_std", inv_std, a, _F64)
    dx = empty(op, a.shape, a.dtype)
    dgamma, dbeta = (empty(op, (a.shape[1],), a.dtype) for _ in range(2))
    _kernels.batch_norm_backward(*sizes, d, a, g, m, s, dx, dgamma, dbeta, get_num_threads())
    return dx, dgamma, dbeta
