"""Joining arrays: the sum at the end of a residual block."""

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating, output


def add(a: ArrayLike, b: ArrayLike, *, relu: bool = False, out: Array | None = None) -> Array:
    """``a + b``, or ``max(a + b, 0)``.

    Parameters
    ----------
    a, b : array_like
        float32 or float64, one dtype, one shape.
    relu : bool
        Whether negative sums become 0.
    out : ndarray, optional
        Where to write the result.

    Returns
    -------
    ndarray
        Shape and dtype of `a`.

    Raises
    ------
    TypeError, ValueError
        As `fastcnn.ops.add`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.add(np.array([1.0, 2.0]), np.array([3.0, -4.0]), relu=True)
    array([4., 0.])
    """
    a = floating("add", "a", a, None)
    b = floating("add", "b", b, None, a.dtype)
    expect_shape("add", "b", b, a.shape, "a.shape")
    y = output("add", out, a.shape, a.dtype)
    np.add(a, b, out=y)
    return np.maximum(y, 0, out=y) if relu else y
