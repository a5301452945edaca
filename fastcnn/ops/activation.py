"""Activation functions and their backward passes, element by element, any shape."""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, floating, output
from .._config import get_num_threads


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
    a = floating("relu", "x", x, None)
    y = output("relu", out, a.shape, a.dtype)
    _kernels.relu_forward(a, y, get_num_threads())
    return y
