"""Activation functions and their backward passes, any shape; softmax over any axis.

A backward pass takes what forward gave or was given: `y` for relu, sigmoid, tanh and the softmaxes,
`x` for leaky_relu, elu and prelu. NaN stays visible in all of them.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, empty, expect_shape, floating, number, output, same_memory, slopes_of
from .._config import get_num_threads


def _forward(op: str, f: int, parameter: float, x: ArrayLike, out: Array | None) -> Array:
    a = floating(op, "x", x, None)
    y = output(op, out, a.shape, a.dtype, () if same_memory(a, out) else (a,))
    _kernels.activation_forward(f, parameter, a, y, get_num_threads())
    return y


def _backward(
    op: str,
    f: int,
    parameter: float,
    dy: ArrayLike,
    name: str,
    saved: ArrayLike,
    out: Array | None = None,
) -> Array:
    s = floating(op, name, saved, None)
    g = floating(op, "dy", dy, None, s.dtype)
    expect_shape(op, "dy", g, s.shape, f"{name}.shape")
    dx = output(op, out, s.shape, s.dtype, (s,) if same_memory(g, out) else (g, s))
    _kernels.activation_backward(f, parameter, g, s, dx, get_num_threads())
    return dx


def relu(x: ArrayLike, *, out: Array | None = None) -> Array:
    """Rectified linear unit, ``max(x, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    out : ndarray, optional
        Where to write; same shape and dtype as `x`. May be `x` itself.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.relu(np.array([-1.0, 2.0], dtype=np.float32))
    array([0., 2.], dtype=float32)
    """
    return _forward("relu", _kernels.RELU, 0.0, x, out)


def relu_backward(dy: ArrayLike, y: ArrayLike, *, out: Array | None = None) -> Array:
    """Gradient of `relu` with respect to its input: `dy` where ``y > 0``, else 0.

    Where `y` is NaN the gradient passes, as in PyTorch.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; same shape and dtype as `y`.
    y : array_like
        What `relu` returned (its input serves as well); float32 or float64.
    out : ndarray, optional
        Where to write; same shape and dtype as `y`. May be `dy` itself.

    Returns
    -------
    ndarray
        Same shape and dtype as `y`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ, or `out` does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.relu_backward(np.array([5.0, 6.0]), np.array([0.0, 2.0]))
    array([0., 6.])
    """
    return _backward("relu_backward", _kernels.RELU, 0.0, dy, "y", y, out)


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """Leaky rectified linear unit: `x` where ``x > 0``, else ``negative_slope * x``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    negative_slope : float
        Any finite number.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `negative_slope` is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.leaky_relu(np.array([-1.0, 2.0]), 0.25)
    array([-0.25,  2.  ])
    """
    slope = number("leaky_relu", "negative_slope", negative_slope)
    return _forward("leaky_relu", _kernels.LEAKY_RELU, slope, x, None)


def leaky_relu_backward(dy: ArrayLike, x: ArrayLike, negative_slope: float = 0.01) -> Array:
    """Gradient of `leaky_relu`: `dy` where ``x > 0``, else ``negative_slope * dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; same shape and dtype as `x`.
    x : array_like
        The input of `leaky_relu`; float32 or float64.
    negative_slope : float
        As given to `leaky_relu`.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or `negative_slope` is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.leaky_relu_backward(np.array([4.0, 4.0]), np.array([-1.0, 2.0]), 0.25)
    array([1., 4.])
    """
    slope = number("leaky_relu_backward", "negative_slope", negative_slope)
    return _backward("leaky_relu_backward", _kernels.LEAKY_RELU, slope, dy, "x", x)


def elu(x: ArrayLike, alpha: float = 1.0) -> Array:
    """Exponential linear unit: `x` where ``x > 0``, else ``alpha * (exp(x) - 1)``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    alpha : float
        Any finite number; it levels off at ``-alpha``.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`; accurate to a few units in the last place near zero too.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `alpha` is not a finite number.

    Notes
    -----
    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016, eq. 15.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.elu(np.array([-np.inf, 0.0, 2.0]))
    array([-1.,  0.,  2.])
    """
    return _forward("elu", _kernels.ELU, number("elu", "alpha", alpha), x, None)


def elu_backward(dy: ArrayLike, x: ArrayLike, alpha: float = 1.0) -> Array:
    """Gradient of `elu`: `dy` where ``x > 0``, else ``alpha * exp(x) * dy``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; same shape and dtype as `x`.
    x : array_like
        The input of `elu`; float32 or float64.
    alpha : float
        As given to `elu`.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or `alpha` is not a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.elu_backward(np.array([4.0, 4.0]), np.array([0.0, 2.0]), 0.5)
    array([2., 4.])
    """
    value = number("elu_backward", "alpha", alpha)
    return _backward("elu_backward", _kernels.ELU, value, dy, "x", x)


def step(x: ArrayLike) -> Array:
    """1 where ``x > 0``, else 0 (Heaviside's function, 0 at 0); NaN stays NaN.

    It has no backward pass: its derivative is 0 wherever there is one.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.step(np.array([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    return _forward("step", _kernels.STEP, 0.0, x, None)


def prelu(x: ArrayLike, weight: ArrayLike) -> Array:
    """`x` where ``x > 0``, else ``weight * x``, with a slope for all or one a channel.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape; ``(N, C, ...)`` where there are C slopes.
    weight : array_like
        Slopes, (1,) or (C,), of the dtype of `x`.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the slopes do not fit the channels.

    Notes
    -----
    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, eq. 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.prelu(np.array([[-4.0, -4.0], [2.0, 2.0]]), np.array([0.25, 0.5]))
    array([[-1., -2.],
           [ 2.,  2.]])
    """
    a = floating("prelu", "x", x, None)
    w, sizes = slopes_of("prelu", a, weight)
    y = empty("prelu", a.shape, a.dtype)
    _kernels.prelu_forward(*sizes, a, w, y, get_num_threads())
    return y


def prelu_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike) -> tuple[Array, Array]:
    """Gradients of `prelu`: dx, and dweight, the sum of ``dy * x`` where ``x <= 0``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to the output; same shape and dtype as `x`.
    x : array_like
        The input of `prelu`; float32 or float64.
    weight : array_like
        As given to `prelu`.

    Returns
    -------
    dx : ndarray
        ``dy`` where ``x > 0``, else ``weight * dy``; same shape and dtype as `x`.
    dweight : ndarray
        Same shape and dtype as `weight`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or the slopes do not fit the channels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x, dy = np.array([[-4.0, -4.0], [2.0, 2.0]]), np.ones((2, 2))
    >>> ops.prelu_backward(dy, x, np.array([0.25, 0.5]))
    (array([[0.25, 0.5 ],
           [1.  , 1.  ]]), array([-4., -4.]))
    """
    op = "prelu_backward"
    a = floating(op, "x", x, None)
    g = floating(op, "dy", dy, None, a.dtype)
    expect_shape(op, "dy", g, a.shape, "x.shape")
    w, sizes = slopes_of(op, a, weight)
    dx = empty(op, a.shape, a.dtype)
    dw, sums = np.empty_like(w), np.empty(_kernels.prelu_sums(*sizes))
    _kernels.prelu_backward(*sizes, g, a, w, dx, dw, sums, get_num_threads())
    return dx, dw


def sigmoid(x: ArrayLike) -> Array:
    """Logistic function, ``1 / (1 + exp(-x))``.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.sigmoid(np.array([-np.inf, 0.0, np.inf]))
    array([0. , 0.5, 1. ])
    """
    return _forward("sigmoid", _kernels.SIGMOID, 0.0, x, None)


def sigmoid_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """Gradient of `sigmoid` with respect to its input: ``dy * y * (1 - y)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; same shape and dtype as `y`.
    y : array_like
        What `sigmoid` returned; float32 or float64.

    Returns
    -------
    ndarray
        Same shape and dtype as `y`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.sigmoid_backward(np.array([2.0]), np.array([0.5]))
    array([0.5])
    """
    return _backward("sigmoid_backward", _kernels.SIGMOID, 0.0, dy, "y", y)


def tanh(x: ArrayLike) -> Array:
    """Hyperbolic tangent, accurate to a few units in the last place near zero too.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.tanh(np.array([-np.inf, 0.0, np.inf]))
    array([-1.,  0.,  1.])
    """
    return _forward("tanh", _kernels.TANH, 0.0, x, None)


def tanh_backward(dy: ArrayLike, y: ArrayLike) -> Array:
    """Gradient of `tanh` with respect to its input: ``dy * (1 - y**2)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; same shape and dtype as `y`.
    y : array_like
        What `tanh` returned; float32 or float64.

    Returns
    -------
    ndarray
        Same shape and dtype as `y`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.tanh_backward(np.array([4.0]), np.array([0.5]))
    array([3.])
    """
    return _backward("tanh_backward", _kernels.TANH, 0.0, dy, "y", y)


def _outer_c_inner(op: str, shape: tuple[int, ...], axis: Any) -> tuple[int, int, int]:
    """The sizes before, at and after `axis`."""
    ndim = len(shape)
    if isinstance(axis, (bool, np.bool_)) or not isinstance(axis, (int, np.integer)):
        raise ValueError(f"{op}: expected axis to be an integer, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise ValueError(
            f"{op}: expected axis in {-ndim}..{ndim - 1} for shape {shape}, got {axis}"
        )
    axis = int(axis) % ndim
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def _softmax(op: str, log: bool, x: ArrayLike, axis: int) -> Array:
    a = floating(op, "x", x, None)
    sizes = _outer_c_inner(op, a.shape, axis)
    y = empty(op, a.shape, a.dtype)
    _kernels.softmax_forward(*sizes, log, a, y, get_num_threads())
    return y


def _softmax_backward(op: str, log: bool, dy: ArrayLike, y: ArrayLike, axis: int) -> Array:
    s = floating(op, "y", y, None)
    g = floating(op, "dy", dy, None, s.dtype)
    expect_shape(op, "dy", g, s.shape, "y.shape")
    sizes = _outer_c_inner(op, s.shape, axis)
    dx = empty(op, s.shape, s.dtype)
    _kernels.softmax_backward(*sizes, log, g, s, dx, get_num_threads())
    return dx


def softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Softmax, ``exp(x - max(x)) / sum(exp(x - max(x)))`` over one axis.

    Parameters
    ----------
    x : array_like
        float32 or float64, at least one dimension.
    axis : int
        The axis whose values sum to 1 in the result.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`. A slice with a NaN or ``inf`` in it is NaN throughout.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.softmax(np.log([[1.0, 2.0, 5.0]])).round(3)
    array([[0.125, 0.25 , 0.625]])
    """
    return _softmax("softmax", False, x, axis)


def softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """Gradient of `softmax` with respect to its input: ``y * (dy - sum(dy * y))``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; same shape and dtype as `y`.
    y : array_like
        What `softmax` returned; float32 or float64.
    axis : int
        As given to `softmax`.

    Returns
    -------
    ndarray
        Same shape and dtype as `y`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or there is no such axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.softmax_backward(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))
    array([[ 0.25, -0.25]])
    """
    return _softmax_backward("softmax_backward", False, dy, y, axis)


def log_softmax(x: ArrayLike, axis: int = -1) -> Array:
    """Logarithm of softmax, ``x - max(x) - log(sum(exp(x - max(x))))`` over one axis.

    Parameters
    ----------
    x : array_like
        float32 or float64, at least one dimension.
    axis : int
        The axis over which the exponentials of the result sum to 1.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `x` has no such axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.log_softmax(np.array([[0.0, 0.0]])).round(4)
    array([[-0.6931, -0.6931]])
    """
    return _softmax("log_softmax", True, x, axis)


def log_softmax_backward(dy: ArrayLike, y: ArrayLike, axis: int = -1) -> Array:
    """Gradient of `log_softmax` with respect to its input: ``dy - exp(y) * sum(dy)``.

    Parameters
    ----------
    dy : array_like
        Gradient of the loss with respect to `y`; same shape and dtype as `y`.
    y : array_like
        What `log_softmax` returned; float32 or float64.
    axis : int
        As given to `log_softmax`.

    Returns
    -------
    ndarray
        Same shape and dtype as `y`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or there is no such axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.log_softmax_backward(np.array([[1.0, 0.0]]), np.log([[0.5, 0.5]]))
    array([[ 0.5, -0.5]])
    """
    return _softmax_backward("log_softmax_backward", True, dy, y, axis)
