"""Losses with their gradients in one pass; sums run in double precision, in a fixed order."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _kernels
from .._checks import Array, empty, expect_shape, floating
from .._config import get_num_threads

Reduction = Literal["mean", "sum"]


def _divisor(op: str, reduction: Any, n: int) -> float:
    """What a sum of n terms is divided by; the mean of nothing is 0."""
    if reduction == "sum":
        return 1.0
    if reduction == "mean":
        return float(max(n, 1))
    raise ValueError(f"{op}: expected reduction 'mean' or 'sum', got {reduction!r}")


def labels_of(
    op: str, name: str, targets: ArrayLike, n: int, why: str = "one label a row of logits"
) -> NDArray[np.int64]:
    """As int64; what does not fit there becomes negative, so the kernel refuses it too."""
    t = np.asarray(targets)
    if t.dtype.kind not in "iu":
        raise TypeError(f"{op}: expected {name} to be integers, got {t.dtype}")
    expect_shape(op, name, t, (n,), why)
    if t.dtype == np.int64 and t.flags.c_contiguous and t.flags.aligned:
        return t
    return np.require(t, np.int64, ("C", "A"))


def wrong_label(op: str, name: str, targets: ArrayLike, classes: int) -> ValueError:
    """What to raise when the kernel has met a label out of range."""
    t = np.asarray(targets)
    i = np.flatnonzero((t < 0) | (t >= classes))[0]
    return ValueError(
        f"{op}: expected labels in 0..{classes - 1} ({classes} classes), got {name}[{i}] == {t[i]}"
    )


def softmax_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Reduction = "mean"
) -> tuple[float, Array]:
    """Cross-entropy, in nats, of softmax(logits) against class labels, and its gradient.

    The loss of a row is ``log(sum(exp(x - max(x)))) - (x[target] - max(x))``: no exponential
    overflows and no logarithm of zero is taken.

    Parameters
    ----------
    logits : array_like
        float32 or float64, (N, C): scores of C classes before softmax.
    targets : array_like
        Integers in 0..C-1, (N,): the right class of each row.
    reduction : {"mean", "sum"}
        Mean or sum over the N rows. The mean over no rows is 0.

    Returns
    -------
    loss : float
        The reduced loss.
    dlogits : ndarray
        ``softmax(logits) - onehot(targets)``, over N for the mean; as `logits` in shape and dtype.

    Raises
    ------
    TypeError
        If `logits` are not float32 or float64, or `targets` no integers.
    ValueError
        If shapes do not fit, a label is out of range, or `reduction` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> loss, dlogits = ops.softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(loss, 4), dlogits
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    op = "softmax_cross_entropy"
    x = floating(op, "logits", logits, 2)
    n, c = x.shape
    if c == 0:
        raise ValueError(f"{op}: expected at least one class, got logits.shape={x.shape}")
    divisor = _divisor(op, reduction, n)
    t = labels_of(op, "targets", targets, n)
    dlogits = empty(op, x.shape, x.dtype)
    losses = empty(op, (n,), np.float64)
    try:
        _kernels.softmax_cross_entropy(1.0 / divisor, x, t, dlogits, losses, get_num_threads())
    except ValueError:  # before anything was written
        raise wrong_label(op, "targets", targets, c) from None
    return float(np.add.reduce(losses)) / divisor, dlogits


def mse(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> tuple[float, Array]:
    """Squared error, ``(prediction - target)**2``, over all elements, and its gradient.

    Parameters
    ----------
    prediction : array_like
        float32 or float64, any shape.
    target : array_like
        Same shape and dtype as `prediction`.
    reduction : {"mean", "sum"}
        Mean or sum over all elements (the mean is over elements, not rows, as in PyTorch). The
        mean over no elements is 0.

    Returns
    -------
    loss : float
        The reduced loss.
    gradient : ndarray
        ``2 * (prediction - target)``, over the number of elements for the mean; as `prediction` in
        shape and dtype.

    Raises
    ------
    TypeError
        If a dtype is not float32 or float64, or the two differ.
    ValueError
        If the shapes differ or `reduction` is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import ops
    >>> ops.mse(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    op = "mse"
    p = floating(op, "prediction", prediction, None)
    t = floating(op, "target", target, None, p.dtype)
    expect_shape(op, "target", t, p.shape, "prediction.shape")
    divisor = _divisor(op, reduction, p.size)
    gradient = empty(op, p.shape, p.dtype)
    sums = empty(op, (_kernels.mse_sums(p.size),), np.float64)
    _kernels.mse(2.0 / divisor, p, t, gradient, sums, get_num_threads())
    return float(np.add.reduce(sums)) / divisor, gradient
