"""Matrix product on the library's own kernels, for formulations that are built on one (im2col)."""

from numpy.typing import ArrayLike

from .. import _kernels
from .._checks import Array, expect_shape, floating, output
from .._config import get_num_threads


def gemm(
    a: ArrayLike,
    b: ArrayLike,
    *,
    trans_a: bool = False,
    trans_b: bool = False,
    out: Array | None = None,
    accumulate: bool = False,
) -> Array:
    """``A @ B``, where A is `a` or its transpose and B is `b` or its transpose.

    An element has the same bits whatever the other rows and columns and the number of threads.

    Parameters
    ----------
    a : array_like
        A of shape (M, K), or (K, M) with `trans_a`; float32 or float64.
    b : array_like
        B of shape (K, N), or (N, K) with `trans_b`; same dtype.
    trans_a, trans_b : bool
        Whether to take the transpose (read in place, not copied).
    out : ndarray, optional
        Where to write, (M, N); must not overlap `a` or `b`.
    accumulate : bool
        Add to what `out` holds.

    Returns
    -------
    ndarray
        (M, N), dtype of `a`.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the sizes do not fit each other, or `accumulate` has no `out`.
    """
    op = "gemm"
    a = floating(op, "a", a, 2)
    b = floating(op, "b", b, 2, a.dtype)
    m, k = a.shape[::-1] if trans_a else a.shape
    n = b.shape[0] if trans_b else b.shape[1]
    expect_shape(op, "b", b, (n, k) if trans_b else (k, n), f"a sums over {k}")
    if accumulate and out is None:
        raise ValueError(f"{op}: expected out, since accumulate adds to it")
    c = output(op, out, (m, n), a.dtype, (a, b))
    a_strides = (1, m) if trans_a else (k, 1)
    b_strides = (1, k) if trans_b else (n, 1)
    threads = get_num_threads()
    _kernels.gemm(m, n, k, *a_strides, *b_strides, accumulate, a, b, c, None, threads)
    return c
