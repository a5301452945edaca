"""Dropout from a seed: what is dropped is computed, not kept."""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, dropout_of, empty, floating
from .._config import get_num_threads


def dropout(x: ArrayLike, p: float, seed: int) -> Array:
    """Each element of `x` times 0 with probability `p`, else ``x / (1 - p)``.

    Which elements are dropped follows from `seed` and their places alone: not from the dtype, the
    shape or the threads. So the gradient of ``y = dropout(x, p, seed)`` is
    ``dropout(dy, p, seed)``, and no mask is kept.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    p : float
        Share of elements to drop, in [0, 1).
    seed : int
        0..2**64-1. Each seed has places of its own; draw a new one for each forward pass.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`. NaN and infinities that are dropped become NaN.

    Raises
    ------
    TypeError
        If `x` is not float32 or float64.
    ValueError
        If `p` or `seed` is out of range.

    Notes
    -----
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15, 2014 (in its inverted form, scaled in training).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.dropout(np.ones(8, np.float32), 0.5, seed=1)
    array([2., 2., 0., 0., 0., 2., 0., 0.], dtype=float32)
    """
    a = floating("dropout", "x", x, None)
    share, number = dropout_of("dropout", p, seed)
    y = empty("dropout", a.shape, a.dtype)
    _kernels.dropout(share, number, a, y, get_num_threads())
    return y
