"""Loss functions with their gradients: (value, gradient) in one call.

N rows, C classes.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, expect_shape, floating
from .activation import log_softmax

Reduction = Literal["mean", "sum"]


def softmax_cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Reduction = "mean"
) -> tuple[float, Array]:
    """Cross-entropy, in nats, of softmax(logits) against class labels, and its gradient.

    The loss of a row is ``-log(softmax(logits)[target])``, its gradient is
    ``softmax(logits) - onehot(target)``.

    Parameters
    ----------
    logits : array_like
        (N, C), float32 or float64.
    targets : array_like
        Class labels 0..C-1, (N,), any integer dtype.
    reduction : {"mean", "sum"}
        Over the rows. The mean over no rows is 0.

    Returns
    -------
    loss : float
    dlogits : ndarray
        (N, C), dtype of `logits`.

    Raises
    ------
    TypeError
        If `logits` is not float32 or float64, or `targets` are not integers.
    ValueError
        If the sizes do not fit, or a label is outside 0..C-1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> loss, dlogits = reference.softmax_cross_entropy(np.zeros((1, 2)), np.array([1]))
    >>> round(loss, 4), dlogits
    (0.6931, array([[ 0.5, -0.5]]))
    """
    op = "softmax_cross_entropy"
    logits = floating(op, "logits", logits, 2)
    labels = np.asarray(targets)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: expected targets to be integers, got {labels.dtype}")
    n, c = logits.shape
    expect_shape(op, "targets", labels, (n,), "one label per row of logits")
    if n and not 0 <= labels.min() <= labels.max() < c:
        raise ValueError(
            f"{op}: expected targets in 0..{c - 1}, got {labels.min()}..{labels.max()}"
        )
    scale = _scale(op, reduction, n)
    log_p = log_softmax(logits)
    rows = np.arange(n)
    dlogits = np.exp(log_p)
    dlogits[rows, labels] -= 1
    loss = -log_p[rows, labels].sum(dtype=np.float64)
    return float(loss * scale), dlogits * logits.dtype.type(scale)


def mse(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> tuple[float, Array]:
    """Mean squared error over all elements, and its gradient ``2 (prediction - target) / n``.

    Parameters
    ----------
    prediction, target : array_like
        float32 or float64, one dtype, one shape.
    reduction : {"mean", "sum"}
        Over the elements. The mean over no elements is 0.

    Returns
    -------
    loss : float
    gradient : ndarray
        With respect to `prediction`; its shape and dtype.

    Raises
    ------
    TypeError
        If an array is not float32 or float64, or the dtypes differ.
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import reference
    >>> reference.mse(np.array([1.0, 4.0]), np.array([1.0, 2.0]))
    (2.0, array([0., 2.]))
    """
    op = "mse"
    prediction = floating(op, "prediction", prediction, None)
    target = floating(op, "target", target, None, prediction.dtype)
    expect_shape(op, "target", target, prediction.shape, "the shape of prediction")
    scale = _scale(op, reduction, prediction.size)
    difference = prediction - target
    loss = (difference**2).sum(dtype=np.float64)
    return float(loss * scale), difference * prediction.dtype.type(2 * scale)


def _scale(op: str, reduction: str, n: int) -> float:
    """What the sum over `n` terms is multiplied by."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{op}: expected reduction 'mean' or 'sum', got {reduction!r}")
    return 1.0 if reduction == "sum" or n == 0 else 1.0 / n
