"""Loss functions: ``value, gradient = loss(prediction, target)``.

`gradient` is that of `value` with respect to `prediction`; give it to ``model.backward``.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array

Reduction = Literal["mean", "sum"]


def _reduction(loss: str, reduction: str) -> Reduction:
    if reduction == "mean":
        return "mean"
    if reduction == "sum":
        return "sum"
    raise ValueError(f"{loss}: expected reduction 'mean' or 'sum', got {reduction!r}")


class CrossEntropyLoss:
    """Softmax and cross-entropy in one, in nats: ``-log softmax(logits)[target]``.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> value, gradient = nn.CrossEntropyLoss()(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(value, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]], dtype=float32))
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = _reduction("CrossEntropyLoss", reduction)

    def __call__(self, logits: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of logits (N, C) with integer targets (N,)."""
        return ops.softmax_cross_entropy(logits, targets, reduction=self.reduction)

    def __repr__(self) -> str:
        return f"CrossEntropyLoss(reduction={self.reduction!r})"


class MSELoss:
    """Mean of the squared differences.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over all elements.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> loss, y = nn.MSELoss(), np.array([[0.0, 1.0]], np.float32)
    >>> loss(y, np.array([[0.0, 3.0]], np.float32))
    (2.0, array([[ 0., -2.]], dtype=float32))
    >>> loss(y, np.array([1]))[0]  # a class number stands for its one-hot vector
    0.0
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        self.reduction = _reduction("MSELoss", reduction)

    def __call__(self, prediction: ArrayLike, target: ArrayLike) -> tuple[float, Array]:
        """Value and gradient.

        Parameters
        ----------
        prediction : array_like
            float32 or float64, any shape.
        target : array_like
            The same shape and dtype; or, for a prediction (N, C), integer classes (N,), which
            stand for one-hot vectors.
        """
        p, t = np.asarray(prediction), np.asarray(target)
        if p.ndim == 2 and t.ndim == 1 and t.dtype.kind in "iu":
            t = _one_hot(t, p)
        return ops.mse(p, t, reduction=self.reduction)

    def __repr__(self) -> str:
        return f"MSELoss(reduction={self.reduction!r})"


def _one_hot(classes: Array, like: Array) -> Array:
    """(N, C) zeros with a one at each class."""
    n, c = like.shape
    if classes.shape != (n,):
        raise ValueError(f"MSELoss: expected {n} classes, got {classes.shape[0]}")
    if n and not (classes.min() >= 0 and classes.max() < c):
        raise ValueError(
            f"MSELoss: expected classes in 0..{c - 1}, got {classes.min()}..{classes.max()}"
        )
    target = np.zeros_like(like)
    target[np.arange(n), classes] = 1
    return target
