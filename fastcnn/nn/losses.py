"""Loss functions: ``value, gradient = loss(prediction, target)``.

`gradient` is that of `value` with respect to `prediction`; give it to ``model.backward``.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, number
from .class_losses import (
    Reduction,
    Unit,
    checked_reduction,
    class_weights,
    general_cross_entropy,
    one_output,
    unit_scale,
)


class CrossEntropyLoss:
    """Softmax and cross-entropy in one: ``-log softmax(logits)[target]``.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over the rows, or pixels; with weights the mean is a weighted one.
    weight : sequence of float, optional
        One a class: what an example of that class counts.
    label_smoothing : float
        In 0..1: the share of the target that is spread evenly over all classes.
    unit : "nats" or "bits"
        Natural logarithm, or base 2.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64, if a
        class is no integer, or probabilities as target are of another dtype.
    ValueError
        If an option is out of range; when called, if the targets, or `weight`, do not fit the
        prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> value, gradient = nn.CrossEntropyLoss()(np.zeros((1, 4), np.float32), np.array([2]))
    >>> round(value, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]], dtype=float32))
    """

    def __init__(
        self,
        reduction: Reduction = "mean",
        *,
        weight: Sequence[float] | ArrayLike | None = None,
        label_smoothing: float = 0.0,
        unit: Unit = "nats",
    ) -> None:
        op = "CrossEntropyLoss"
        self.reduction = checked_reduction(op, reduction)
        self.weight = class_weights(op, weight)
        self.label_smoothing = number(op, "label_smoothing", label_smoothing, 0)
        if self.label_smoothing > 1:
            raise ValueError(f"{op}: expected label_smoothing in 0..1, got {label_smoothing}")
        self.unit = unit
        self._scale = unit_scale(op, unit)

    @property
    def plain(self) -> bool:
        """Whether none of the options is used: what the kernels and plans compute."""
        return self.weight is None and not self.label_smoothing and self.unit == "nats"

    def __call__(self, logits: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of logits (N, C), or (N, C, H, W) for one answer a pixel.

        `targets` are integer classes (N,) or (N, H, W), or probabilities of the logits' shape.
        """
        one_output("CrossEntropyLoss", logits)
        if self.plain and np.ndim(logits) == 2 and np.ndim(targets) == 1:
            return ops.softmax_cross_entropy(logits, targets, reduction=self.reduction)
        return general_cross_entropy(
            logits, targets, self.reduction, self.weight, self.label_smoothing, self._scale
        )

    def __repr__(self) -> str:
        text = f"CrossEntropyLoss(reduction={self.reduction!r}"
        if self.weight is not None:
            text += f", weight={self.weight.tolist()}"
        if self.label_smoothing:
            text += f", label_smoothing={self.label_smoothing:g}"
        return text + (f", unit={self.unit!r})" if self.unit != "nats" else ")")


class MSELoss:
    """Mean of the squared differences.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over all elements.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64; or
        if the target is of another dtype.
    ValueError
        If `reduction` is another; when called, if the target is of another shape, or a class that
        is not there.

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
        self.reduction = checked_reduction("MSELoss", reduction)

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
        one_output("MSELoss", prediction)
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
