"""Activation functions and their backward passes, element by element, any shape."""

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, output, slopes_of


def relu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Rectified linear unit, ``max(x, 0)``; NaN stays NaN. Naive twin of ops.relu.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write; same shape and dtype as `x`.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    a = floating("relu", "x", x, None)
    y = output("relu", out, a.shape, a.dtype)
    y[...] = np.maximum(a, 0)
    return y


def relu_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array:
    """``dy`` where the output `y` of `relu` is positive (or NaN), else 0.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    y : array_like
        What the forward pass returned; same shape and dtype as `dy`.
    out : ndarray, optional
        Where to write; same shape and dtype as `dy`.

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.relu_backward(np.array([3.0, 4.0]), np.array([0.0, 2.0]))
    array([0., 4.])
    """
    dy, y = _two("relu_backward", "dy", dy, "y", y)
    dx = output("relu_backward", out, dy.shape, dy.dtype)
    dx[...] = np.where(y <= 0, dy.dtype.type(0), dy)
    return dx


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """``x`` where positive, else ``negative_slope * x``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    negative_slope : float, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.leaky_relu(np.array([-1.0, 2.0]), 0.1)
    array([-0.1,  2. ])
    """
    x = floating("leaky_relu", "x", x, None)
    return np.where(x > 0, x, x * x.dtype.type(negative_slope))


def leaky_relu_backward(dy: ArrayLike, x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """``dy`` where the input `x` of `leaky_relu` is positive, else ``negative_slope * dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    x : array_like
        What the forward pass took; same shape and dtype as `dy`.
    negative_slope : float, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.leaky_relu_backward(np.array([3.0, 4.0]), np.array([-1.0, 2.0]), 0.1)
    array([0.3, 4. ])
    """
    dy, x = _two("leaky_relu_backward", "dy", dy, "x", x)
    return np.where(x > 0, dy, dy * dy.dtype.type(negative_slope))


def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """``x`` where positive, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    alpha : float, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.elu(np.array([-np.inf, 2.0]), 0.5)
    array([-0.5,  2. ])
    """
    x = floating("elu", "x", x, None)
    return np.where(x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)))


def elu_backward(dy: ArrayLike, x: ArrayLike, alpha: float = 1.0) -> Array:
    """``dy`` where the input `x` of `elu` is positive, else ``alpha * exp(x) * dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    x : array_like
        What the forward pass took; same shape and dtype as `dy`.
    alpha : float, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.elu_backward(np.array([4.0, 4.0]), np.array([0.0, 2.0]), 0.5)
    array([2., 4.])
    """
    dy, x = _two("elu_backward", "dy", dy, "x", x)
    return np.where(x > 0, dy, x.dtype.type(alpha) * np.exp(np.minimum(x, 0)) * dy)


def step(x: ArrayLike) -> Array:
    """1 where ``x > 0``, else 0; NaN stays NaN.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.step(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    x = floating("step", "x", x, None)
    return np.heaviside(x, x.dtype.type(0))


def prelu(x: ArrayLike, weight: ArrayLike) -> Array:
    """``x`` where positive, else ``weight * x``: a slope for all, or one a channel (axis 1).

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape; ``(N, C, ...)`` where there are C slopes.
    weight : array_like
        (1,) or (C,), of the dtype of `x`.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.prelu(np.array([[-4.0, -4.0]]), np.array([0.25, 0.5]))
    array([[-1., -2.]])
    """
    x = floating("prelu", "x", x, None)
    w, sizes = slopes_of("prelu", x, weight)
    return np.where(x > 0, x, (w[:, None] * x.reshape(sizes)).reshape(x.shape))


def prelu_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike) -> tuple[Array, Array]:
    """dx and dweight of `prelu`, from its input `x`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    x : array_like
        What the forward pass took; same shape and dtype as `dy`.
    weight : array_like
        (1,) or (C,), of the dtype of `x`.

    Returns
    -------
    dx, dweight : ndarray
        Of the shapes of `x` and `weight`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.prelu_backward(np.ones(2), np.array([-4.0, 2.0]), np.array([0.25]))
    (array([0.25, 1.  ]), array([-4.]))
    """
    dy, x = _two("prelu_backward", "dy", dy, "x", x)
    w, sizes = slopes_of("prelu_backward", x, weight)
    dw = np.where(x > 0, 0, dy * x).reshape(sizes).sum((0, 2))
    return np.where(x > 0, dy, (w[:, None] * dy.reshape(sizes)).reshape(x.shape)), dw


def sigmoid(x: ArrayLike) -> Array:
    """``1 / (1 + exp(-x))``, from the exponential that cannot overflow.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    x = floating("sigmoid", "x", x, None)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


def sigmoid_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """``dy * y * (1 - y)``, y the output of `sigmoid`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    y : array_like
        What the forward pass returned; same shape and dtype as `dy`.

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.sigmoid_backward(np.array([4.0]), np.array([0.5]))
    array([1.])
    """
    dy, y = _two("sigmoid_backward", "dy", dy, "y", y)
    return dy * y * (1 - y)


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.tanh(np.array([-1000.0, 0.0, 1000.0]))
    array([-1.,  0.,  1.])
    """
    return np.tanh(floating("tanh", "x", x, None))


def tanh_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """``dy * (1 - y**2)``, y the output of `tanh`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    y : array_like
        What the forward pass returned; same shape and dtype as `dy`.

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.tanh_backward(np.array([4.0]), np.array([0.5]))
    array([3.])
    """
    dy, y = _two("tanh_backward", "dy", dy, "y", y)
    return dy * (1 - y * y)


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along `axis`, after taking the maximum away.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    axis : int, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = _along("softmax", "x", x, axis)
    e = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
    return e / e.sum(axis, keepdims=True)


def softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """``y * (dy - sum(dy * y))`` along `axis`, y the output of `softmax`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    y : array_like
        What the forward pass returned; same shape and dtype as `dy`.
    axis : int, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.softmax_backward(np.array([1.0, 3.0]), np.array([0.5, 0.5]))
    array([-0.5,  0.5])
    """
    dy, y = _two("softmax_backward", "dy", dy, "y", y)
    _along("softmax_backward", "y", y, axis)
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """``x - log(sum(exp(x)))`` along `axis`, after taking the maximum away.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    axis : int, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.log_softmax(np.array([0.0, 0.0])).round(4)
    array([-0.6931, -0.6931])
    """
    x = _along("log_softmax", "x", x, axis)
    shifted = x - x.max(axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))


def log_softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """``dy - exp(y) * sum(dy)`` along `axis`, y the output of `log_softmax`.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; float32 or float64, any shape.
    y : array_like
        What the forward pass returned; same shape and dtype as `dy`.
    axis : int, optional

    Returns
    -------
    ndarray
        Same shape and dtype as `dy`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.log_softmax_backward(np.array([1.0, 3.0]), np.log([0.5, 0.5]))
    array([-1.,  1.])
    """
    dy, y = _two("log_softmax_backward", "dy", dy, "y", y)
    _along("log_softmax_backward", "y", y, axis)
    return dy - np.exp(y) * dy.sum(axis, keepdims=True)


def _two(op: str, name: str, a: ArrayLike, other: str, b: ArrayLike) -> tuple[Array, Array]:
    """Two float arrays of one dtype and one shape."""
    first = floating(op, name, a, None)
    second = floating(op, other, b, None, first.dtype)
    expect_shape(op, other, second, first.shape, f"the shape of {name}")
    return first, second


def _along(op: str, name: str, x: ArrayLike, axis: int) -> Array:
    """`x` as a float array that has the axis."""
    a = floating(op, name, x, None)
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise ValueError(f"{op}: expected axis to be an integer, got {axis!r}")
    if not -a.ndim <= axis < a.ndim:
        raise ValueError(f"{op}: expected axis in {-a.ndim}..{a.ndim - 1}, got {axis}")
    return a
