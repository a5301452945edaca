"""One step of an optimizer on parameter arrays, fused and in place (PyTorch's formulas)."""

from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import FLOATS, Array, expect_shape, floating, integer, number, sgd_lists
from .._config import get_num_threads


def _in_place(op: str, name: str, a: Any, like: Array) -> None:
    """An error unless a kernel can change `a` where it is, and `a` fits `like`."""
    if _kernels.fits_like(a, like, changed=True):
        return
    if not isinstance(a, np.ndarray):
        raise TypeError(f"{op}: expected {name} to be an ndarray, got {type(a).__name__}")
    if a.dtype not in FLOATS or a.dtype != like.dtype:
        wanted = "float32 or float64" if a is like else f"{like.dtype} like param"
        raise TypeError(f"{op}: expected {name} to be {wanted}, got {a.dtype}")
    if a.shape != like.shape:
        expect_shape(op, name, a, like.shape, "that of param")
    flags = a.flags
    if not (flags.c_contiguous and flags.aligned and flags.writeable):
        raise ValueError(
            f"{op}: expected {name} to be C-contiguous, aligned and writeable, "
            "since it is changed in place"
        )


def _gradient(op: str, name: str, grad: ArrayLike, param: Array) -> Array:
    if _kernels.fits_like(grad, param):
        return cast(Array, grad)
    g = floating(op, name, grad, None, param.dtype)
    expect_shape(op, name, g, param.shape, "that of param")
    return g


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
    """A step of stochastic gradient descent, of one parameter or of several.

    With g = grad + weight_decay * param::

        velocity = momentum * velocity + (1 - dampening) * g
        param   -= lr * (g + momentum * velocity   if nesterov else   velocity)

    and without a velocity ``param -= lr * g``.

    Parameters
    ----------
    param : ndarray, or list of them
        float32 or float64, any shape, C-contiguous; changed in place, none before all are checked.
    grad : array_like, or list of them
        Its gradient, same shape and dtype.
    velocity : ndarray or None, or list of them
        Running sum of gradients, same shape and dtype, zeros at first, C-contiguous; changed in
        place. None without momentum.
    lr : float, or list of them
        Learning rate, >= 0.
    momentum, weight_decay : float
        Factors as above, >= 0.
    dampening : float
        Factor as above.
    nesterov : bool
        Look ahead by one step (Sutskever et al., "On the importance of initialization and momentum
        in deep learning", 2013).

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If a shape, a number or the length of a list does not fit, an array cannot be changed in
        place, or there is momentum and no velocity.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> param, velocity = np.array([1.0]), np.array([0.0])
    >>> for _ in range(2):
    ...     ops.sgd_update(param, np.array([2.0]), velocity, lr=0.125, momentum=0.5)
    >>> param, velocity
    (array([0.375]), array([3.]))
    """
    op = "sgd_update"
    momentum = number(op, "momentum", momentum, 0.0)
    if isinstance(param, list):
        params: list[Any] = param.copy()  # the kernels read it again
        place = "[{}]"
        grads, velocities, rates = sgd_lists(op, params, grad, velocity, lr)
    else:
        params, grads, velocities, rates, place = [param], [grad], [velocity], [lr], ""
    if not _kernels.sgd_fits(params, grads, velocities, momentum != 0):
        for i, (p, v) in enumerate(zip(params, velocities, strict=True)):
            at = place.format(i)
            _in_place(op, f"param{at}", p, p)
            grads[i] = _gradient(op, f"grad{at}", grads[i], p)
            if v is not None:
                _in_place(op, f"velocity{at}", v, p)
            elif momentum != 0:
                raise ValueError(
                    f"{op}: expected velocity{at} to be an array, since momentum is {momentum}"
                )
    _kernels.sgd_update(
        params,
        grads,
        velocities,
        [number(op, "lr", rate, 0.0) for rate in rates],
        momentum,
        number(op, "dampening", dampening),
        number(op, "weight_decay", weight_decay, 0.0),
        bool(nesterov),
        get_num_threads(),
    )


def check_betas(op: str, betas: Any) -> tuple[float, float]:
    """Two numbers in [0, 1), or a ValueError."""
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"{op}: expected betas to be two numbers, got {betas!r}")
    first, second = (number(op, "betas", b, 0.0) for b in betas)
    if max(first, second) >= 1:
        raise ValueError(f"{op}: expected betas to be less than 1, got {betas!r}")
    return first, second


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
    """A step of Adam (Kingma and Ba 2015, algorithm 1) or of AdamW.

    With g = grad, and weight decay either in the gradient, ``g += weight_decay * param``, or
    decoupled (AdamW, Loshchilov and Hutter 2019), ``param -= lr * weight_decay * param``::

        m      = beta1 * m + (1 - beta1) * g
        v      = beta2 * v + (1 - beta2) * g**2
        param -= lr * (m / (1 - beta1**step)) / (sqrt(v / (1 - beta2**step)) + eps)

    Parameters
    ----------
    param : ndarray
        float32 or float64, any shape, C-contiguous; changed in place.
    grad : array_like
        Its gradient, same shape and dtype.
    m, v : ndarray
        Running means of the gradient and of its square, same shape and dtype, zeros at first,
        C-contiguous; changed in place.
    step : int
        1 for the first step.
    lr : float
        Learning rate, >= 0.
    betas : (float, float)
        Factors as above, in [0, 1).
    eps, weight_decay : float
        As above, >= 0.
    decoupled : bool
        Whether weight decay goes past the means, as in AdamW.

    Raises
    ------
    TypeError
        If a dtype does not fit.
    ValueError
        If a shape or a number does not fit, or an array cannot be changed in place.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> param, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> ops.adam_update(param, np.array([7.0]), m, v, step=1, lr=0.25)
    >>> param.round(6)
    array([0.75])
    """
    op = "adam_update"
    _in_place(op, "param", param, param)
    _in_place(op, "m", m, param)
    _in_place(op, "v", v, param)
    g = _gradient(op, "grad", grad, param)
    beta1, beta2 = check_betas(op, betas)
    _kernels.adam_update(
        param,
        g,
        m,
        v,
        integer(op, "step", step, 1),
        number(op, "lr", lr, 0.0),
        beta1,
        beta2,
        number(op, "eps", eps, 0.0),
        number(op, "weight_decay", weight_decay, 0.0),
        bool(decoupled),
        get_num_threads(),
    )
