"""One step of an optimizer on parameter arrays, in place (PyTorch's formulas)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, integer, sgd_lists


def sgd_update(
    param: Array | list[Array],
    grad: Any,
    velocity: Any,
    *,
    lr: float | list[float],
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> None:
    """A step of stochastic gradient descent, naive twin of ops.sgd_update.

    With g = grad + weight_decay * param::

        velocity = momentum * velocity + (1 - dampening) * g
        param   -= lr * (g + momentum * velocity   if nesterov else   velocity)

    and without a velocity ``param -= lr * g``.

    Parameters
    ----------
    param : ndarray, or list of them
        float32 or float64, any shape; changed in place.
    grad : array_like, or list of them
        Its gradient, same shape and dtype.
    velocity : ndarray or None, or list of them
        Running sum of gradients, same shape and dtype, zeros at first; changed in place. None
        without momentum.
    lr : float, or list of them
        Learning rate.
    momentum, dampening, weight_decay : float
        The factors above.
    nesterov : bool
        Look ahead by one step (Sutskever et al. 2013).

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If a shape does not fit, an array is read-only, or there is momentum and no velocity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> param = np.array([1.0])
    >>> reference.sgd_update(param, np.array([2.0]), None, lr=0.25)
    >>> param
    array([0.5])
    """
    op = "sgd_update"
    if isinstance(param, list):
        each = list(zip(param, *sgd_lists(op, param, grad, velocity, lr), strict=True))
        for p, g, v, _ in each:  # nothing is changed before all are known to fit
            _sgd_fits(op, p, g, v, momentum)
        for p, g, v, rate in each:
            sgd_update(
                p, g, v, lr=rate, momentum=momentum, dampening=dampening,
                weight_decay=weight_decay, nesterov=nesterov,
            )  # fmt: skip
        return
    g = _sgd_fits(op, param, grad, velocity, momentum) + weight_decay * param
    if velocity is None:
        param -= lr * g
        return
    velocity[...] = momentum * velocity + (1 - dampening) * g
    param -= lr * (g + momentum * velocity if nesterov else velocity)


def _sgd_fits(op: str, param: Array, grad: Any, velocity: Any, momentum: float) -> Array:
    """The gradient as an array, after checking that the arrays fit each other."""
    _in_place(op, "param", param, param)
    g = floating(op, "grad", grad, None, param.dtype)
    expect_shape(op, "grad", g, param.shape, "the shape of param")
    if velocity is not None:
        _in_place(op, "velocity", velocity, param)
    elif momentum != 0:
        raise ValueError(f"{op}: expected velocity to be an array, since momentum is {momentum}")
    return g


def adam_update(
    param: Array,
    grad: ArrayLike,
    m: Array,
    v: Array,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """A step of Adam (Kingma and Ba 2015, algorithm 1) or AdamW, naive twin of ops.adam_update.

    With g = grad, and weight decay either in the gradient, g += weight_decay * param, or decoupled
    (AdamW, Loshchilov and Hutter 2019), param -= lr * weight_decay * param::

        m      = beta1 * m + (1 - beta1) * g
        v      = beta2 * v + (1 - beta2) * g**2
        param -= lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

    Parameters
    ----------
    param : ndarray
        float32 or float64, any shape; changed in place.
    grad : array_like
        Its gradient, same shape and dtype.
    m, v : ndarray
        Running means of the gradient and of its square, same shape and dtype, zeros at first;
        changed in place.
    step : int
        1 for the first step.
    lr, betas, eps, weight_decay : float
        Learning rate and the factors above.
    decoupled : bool
        Whether weight decay goes past the means, as in AdamW.

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If a shape does not fit, an array is read-only, or step < 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> param, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> reference.adam_update(param, np.array([7.0]), m, v, step=1, lr=0.25)
    >>> param.round(6)
    array([0.75])
    """
    op = "adam_update"
    _in_place(op, "param", param, param)
    _in_place(op, "m", m, param)
    _in_place(op, "v", v, param)
    t = integer(op, "step", step, 1)
    beta1, beta2 = betas
    g = floating(op, "grad", grad, None, param.dtype)
    expect_shape(op, "grad", g, param.shape, "the shape of param")
    if decoupled:
        param -= lr * weight_decay * param
    else:
        g = g + weight_decay * param
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    param -= lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def _in_place(op: str, name: str, a: Array, like: Array) -> None:
    """An error unless `a` can be changed in place and fits `like`."""
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{op}: expected {name} to be an ndarray, got {type(a).__name__}")
    floating(op, name, a, None, like.dtype)
    expect_shape(op, name, a, like.shape, "the shape of param")
    if not a.flags.writeable:
        raise ValueError(f"{op}: expected {name} to be writeable, it is changed in place")
