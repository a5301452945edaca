"""Images through affine maps, resampled bilinearly as the formula says it, pixel by pixel.

    y[i, j] = (1 - v) ((1 - u) x[r, c] + u x[r, c + 1])
              + v ((1 - u) x[r + 1, c] + u x[r + 1, c + 1])

where the map gives the column c + u and the row r + v of output pixel (i, j), 0 <= u, v < 1.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, affine_args, output


def affine(
    x: ArrayLike,
    matrix: ArrayLike,
    size: int | tuple[int, int] | None = None,
    *,
    fill: float = 0.0,
    out: Array | None = None,
) -> Array:
    """Resample images at places that an affine map gives, naive twin of ops.affine.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), float32 or float64.
    matrix : array_like
        (N, 2, 3) or (2, 3).
    size : int or (OH, OW), optional
        Of the results; that of the input by default.
    fill : float, optional
        The value of everything around an image.
    out : ndarray, optional
        Where to write.

    Returns
    -------
    ndarray
        (N, C, OH, OW), dtype of `x`.

    Raises
    ------
    TypeError, ValueError
        As `ops.affine`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> x = np.arange(4.0).reshape(1, 1, 2, 2)
    >>> reference.affine(x, [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])[0, 0]
    array([[0.5, 0.5],
           [2.5, 1.5]])
    """
    op = "affine"
    a, m, (oh, ow), around = affine_args(op, x, matrix, size, fill)
    n, c, h, w = a.shape
    y = output(op, out, (n, c, oh, ow), a.dtype, (a,))
    outside = np.full(c, around, a.dtype)

    def pixel(k: int, row: int, column: int) -> Array:
        inside = 0 <= row < h and 0 <= column < w
        return a[k, :, row, column] if inside else outside

    for k, i, j in np.ndindex(n, oh, ow):
        across, down = (float(v) for v in m[k] @ (j, i, 1))
        left, top = math.floor(across), math.floor(down)
        u, v = across - left, down - top
        upper = (1 - u) * pixel(k, top, left) + u * pixel(k, top, left + 1)
        lower = (1 - u) * pixel(k, top + 1, left) + u * pixel(k, top + 1, left + 1)
        y[k, :, i, j] = (1 - v) * upper + v * lower
    return y
