"""Joining arrays: the sum at the end of a residual block."""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, expect_shape, floating, output, same_memory
from .._config import get_num_threads


def add(a: ArrayLike, b: ArrayLike, *, relu: bool = False, out: Array | None = None) -> Array:
    """``a + b``, or ``max(a + b, 0)`` in the same pass; NaN stays NaN.

    The gradient of both terms is `dy`; with `relu` it is ``relu_backward(dy, y)``.

    Parameters
    ----------
    a, b : array_like
        float32 or float64, any shape, the same for both.
    relu : bool
        Whether negative sums become 0.
    out : ndarray, optional
        Where to write; same shape and dtype as `a`. May be `a` or `b` itself.

    Returns
    -------
    ndarray
        Same shape and dtype as `a`.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ, or `out` does not fit or overlaps an input without being it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.add(np.array([1.0, 2.0]), np.array([3.0, -4.0]), relu=True)
    array([4., 0.])
    """
    op = "add"
    x = floating(op, "a", a, None)
    z = floating(op, "b", b, None, x.dtype)
    expect_shape(op, "b", z, x.shape, "a.shape")
    y = output(op, out, x.shape, x.dtype, [v for v in (x, z) if not same_memory(v, out)])
    _kernels.add(bool(relu), x, z, y, get_num_threads())
    return y
