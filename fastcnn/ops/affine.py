"""Images through affine maps: shifted, turned, scaled, sheared, in one bilinear resampling.

N images of C channels, H W their size, OH OW the size of the results.
"""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, affine_args, output
from .._config import get_num_threads


def affine(
    x: ArrayLike,
    matrix: ArrayLike,
    size: int | tuple[int, int] | None = None,
    *,
    fill: float = 0.0,
    out: Array | None = None,
) -> Array:
    """Resample images at places that an affine map gives, bilinearly.

    The result's pixel in row i and column j is the input at the column
    ``m[0, 0] * j + m[0, 1] * i + m[0, 2]`` and the row ``m[1, 0] * j + m[1, 1] * i + m[1, 2]``,
    where whole numbers are the middles of pixels.

    Parameters
    ----------
    x : array_like
        (N, C, H, W), float32 or float64.
    matrix : array_like
        (N, 2, 3), a map from places of the result to places of the input for each image, or
        (2, 3), one for all; float32 or float64.
    size : int or (OH, OW), optional
        Of the results; that of the input by default.
    fill : float, optional
        The value of everything around an image.
    out : ndarray, optional
        Where to write; shape (N, C, OH, OW), dtype of `x`.

    Returns
    -------
    ndarray
        (N, C, OH, OW), dtype of `x`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64.
    ValueError
        If shapes do not fit, a matrix is not finite, or an image has more than about 2**24 pixels.

    Notes
    -----
    Places are computed in the type of `x`. Shifts by whole pixels give the input's values as they
    are, as long as these are finite.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> ops.affine(x, [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])[0, 0]  # one pixel to the left
    array([[1., 2., 0.],
           [4., 5., 0.],
           [7., 8., 0.]])
    """
    op = "affine"
    a, m, (oh, ow), around = affine_args(op, x, matrix, size, fill)
    n, c, h, w = a.shape
    y = output(op, out, (n, c, oh, ow), a.dtype, (a,))
    _kernels.affine((n, c, h, w, oh, ow), around, a, m, y, get_num_threads())
    return y
