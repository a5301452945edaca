"""Dropout from a seed: the hash of `ops.dropout`, in NumPy."""

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, dropout_of, floating

CHUNK = 16384  # elements that share a key
MASK = 2**64 - 1


def _keys(seed: int, chunks: int) -> Array:
    """SplitMix64's numbers 1..chunks of a seed."""
    keys = []
    for chunk in range(chunks):
        key = (seed + (chunk + 1) * 0x9E3779B97F4A7C15) & MASK
        key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
        keys.append(key ^ (key >> 31))
    return np.array(keys, np.uint64)


def dropout(x: ArrayLike, p: float, seed: int) -> Array:
    """``x * 0`` with probability `p`, else ``x / (1 - p)``: the same elements as `ops.dropout`.

    Parameters
    ----------
    x : array_like
        float32 or float64, any shape.
    p : float
        In [0, 1).
    seed : int
        0..2**64-1.

    Returns
    -------
    ndarray
        Same shape and dtype as `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.dropout(np.ones(8, np.float32), 0.5, seed=1)
    array([2., 2., 0., 0., 0., 2., 0., 0.], dtype=float32)
    """
    a = floating("dropout", "x", x, None)
    share, number = dropout_of("dropout", p, seed)
    place = np.arange(a.size)
    key = _keys(number, -(-a.size // CHUNK))[place // CHUNK]
    h: Array = (place % CHUNK).astype(np.uint32) ^ key.astype(np.uint32)
    h = (h ^ (h >> 16)) * np.uint32(0x7FEB352D)
    h ^= (key >> np.uint64(32)).astype(np.uint32)
    h = (h ^ (h >> 15)) * np.uint32(0x846CA68B)
    kept = (h ^ (h >> 16)) >= np.uint32(share * 2**32)
    return a * np.where(kept, 1 / (1 - share), 0).astype(a.dtype).reshape(a.shape)
