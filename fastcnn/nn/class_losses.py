"""Losses of class probabilities: cross-entropy with its options, likelihood, and focal losses.

All take classes along axis 1, for each row (N, C) or each pixel (N, C, H, W), and say value and
gradient: ``value, gradient = loss(prediction, target)``. Sums of values run in float64.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, floating, number

Reduction = Literal["mean", "sum"]
Unit = Literal["nats", "bits"]


def checked_reduction(loss: str, reduction: str) -> Reduction:
    """`reduction`, or a ValueError."""
    if reduction == "mean":
        return "mean"
    if reduction == "sum":
        return "sum"
    raise ValueError(f"{loss}: expected reduction 'mean' or 'sum', got {reduction!r}")


def one_output(loss: str, prediction: Any) -> None:
    """TypeError for the dict that a net of several outputs gives."""
    if isinstance(prediction, Mapping):
        raise TypeError(
            f"{loss}: expected one array, got a dict of the outputs {', '.join(prediction)}; "
            f"AuxiliaryLoss({loss}()) would fit, which takes a loss of each"
        )


def unit_scale(loss: str, unit: str) -> float:
    """What a number of nats is multiplied by."""
    if unit not in ("nats", "bits"):
        raise ValueError(f"{loss}: expected unit 'nats' or 'bits', got {unit!r}")
    return 1.0 if unit == "nats" else 1.0 / math.log(2.0)


def class_weights(loss: str, weight: Sequence[float] | ArrayLike | None) -> Array | None:
    """One finite number >= 0 a class, in float64."""
    if weight is None:
        return None
    w = np.array(weight, np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any():
        raise ValueError(f"{loss}: expected weight to be finite numbers >= 0, one a class, got {w}")
    return w


def distribution(
    loss: str, prediction: Array, target: ArrayLike, weight: Array | None, smoothing: float = 0.0
) -> tuple[Array, float]:
    """Targets as an array like the prediction, and the sum of the weights of what was asked.

    Integer classes (N, ...) become one-hot vectors; probabilities like the prediction stay. Then
    the share `smoothing` is spread over all classes, and each class is weighted.
    """
    if prediction.ndim < 2 or prediction.shape[1] == 0:
        raise ValueError(f"{loss}: expected scores of shape (N, C, ...), got {prediction.shape}")
    c = prediction.shape[1]
    if weight is not None and weight.size != c:
        raise ValueError(f"{loss}: expected a weight for each of {c} classes, got {weight.size}")
    column = (c, *(1,) * (prediction.ndim - 2))
    t = np.asarray(target)
    if t.dtype.kind in "iu":
        expected = (prediction.shape[0], *prediction.shape[2:])
        if t.shape != expected:
            raise ValueError(f"{loss}: expected classes of shape {expected}, got {t.shape}")
        if t.size and not (t.min() >= 0 and t.max() < c):
            raise ValueError(f"{loss}: expected classes in 0..{c - 1}, got {t.min()}..{t.max()}")
        dense = (np.expand_dims(t, 1) == np.arange(c).reshape(column)).astype(prediction.dtype)
        total = float(t.size if weight is None else weight[t].sum())
    else:
        dense = floating(loss, "target", t, prediction.ndim, prediction.dtype, "the prediction")
        if dense.shape != prediction.shape:
            raise ValueError(
                f"{loss}: expected integer classes, or probabilities of shape {prediction.shape}, "
                f"got {dense.shape}"
            )
        total = float(dense.size // c)
    if smoothing:
        dense = dense * (1 - smoothing) + smoothing / c
    if weight is not None:
        dense = dense * weight.reshape(column).astype(dense.dtype)
    return dense, total


def _asked(t: Array, log_p: Array) -> Array:
    """``-t * log_p``; 0 where t is, even for the probability 0, whose logarithm is -inf."""
    return t * np.where(t != 0, -log_p, 0)


def _reduced(
    losses: Array, gradient: Array, reduction: Reduction, total: float, scale: float = 1.0
) -> tuple[float, Array]:
    """The sum, or the mean over `total`; the mean of nothing is 0."""
    by = scale / total if reduction == "mean" and total else scale
    return float(losses.sum(dtype=np.float64)) * by, gradient * gradient.dtype.type(by)


def general_cross_entropy(
    logits: ArrayLike,
    target: ArrayLike,
    reduction: Reduction,
    weight: Array | None,
    smoothing: float,
    scale: float,
) -> tuple[float, Array]:
    """Cross-entropy of softmax(logits) for all of `CrossEntropyLoss`'s options."""
    x = floating("CrossEntropyLoss", "logits", logits, None)
    t, total = distribution("CrossEntropyLoss", x, target, weight, smoothing)
    log_p = ops.log_softmax(x, axis=1)
    gradient = np.exp(log_p) * t.sum(1, keepdims=True) - t
    return _reduced(_asked(t, log_p), gradient, reduction, total, scale)


class NLLLoss:
    """Negative log-likelihood: minus the log-probability of the right class.

    For a net that ends in log-probabilities; after raw scores `CrossEntropyLoss` does both.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over rows (or pixels); the mean is weighted, if there are weights.
    weight : sequence of float, optional
        One a class.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64.
    ValueError
        If an option is out of range; when called, if the targets do not fit the prediction.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> value, gradient = nn.NLLLoss()(np.log([[0.1, 0.2, 0.6, 0.1]]), np.array([2]))
    >>> round(value, 4), gradient
    (0.5108, array([[-0., -0., -1., -0.]]))
    """

    def __init__(
        self, reduction: Reduction = "mean", *, weight: Sequence[float] | ArrayLike | None = None
    ) -> None:
        self.reduction = checked_reduction("NLLLoss", reduction)
        self.weight = class_weights("NLLLoss", weight)

    def __call__(self, log_probabilities: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of (N, C, ...) with integer classes (N, ...)."""
        one_output("NLLLoss", log_probabilities)
        x = floating("NLLLoss", "log_probabilities", log_probabilities, None)
        t, total = distribution("NLLLoss", x, targets, self.weight)
        return _reduced(_asked(t, x), -t, self.reduction, total)

    def __repr__(self) -> str:
        return f"NLLLoss(reduction={self.reduction!r})"


class ProbabilityCrossEntropyLoss:
    """Cross-entropy of probabilities Q against P: ``-sum(P * log Q)``, as the formula is taught.

    For a net that ends in a softmax or sigmoid of its own. `CrossEntropyLoss` takes logits
    instead, and does not lose its gradient where a probability is rounded to 0 or 1.

    Parameters
    ----------
    reduction : "mean" or "sum"
        Over rows (or pixels).
    unit : "nats" or "bits"
        Natural logarithm, or base 2.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64, or
        probabilities as target are of another dtype.
    ValueError
        If an option is out of range; when called, if the prediction leaves 0..1, or the targets do
        not fit it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> q, p = np.array([[0.1, 0.2, 0.6, 0.1]]), np.array([[0.0, 0.0, 1.0, 0.0]])
    >>> round(nn.ProbabilityCrossEntropyLoss(unit="bits")(q, p)[0], 4)
    0.737
    """

    def __init__(self, reduction: Reduction = "mean", *, unit: Unit = "nats") -> None:
        self.reduction = checked_reduction("ProbabilityCrossEntropyLoss", reduction)
        self.unit = unit
        self._scale = unit_scale("ProbabilityCrossEntropyLoss", unit)

    def __call__(self, probabilities: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of (N, C, ...) with classes (N, ...) or probabilities (N, C, ...).

        The loss of a probability of 0 for a class that comes is infinite.
        """
        one_output("ProbabilityCrossEntropyLoss", probabilities)
        op = "ProbabilityCrossEntropyLoss"
        q = floating(op, "probabilities", probabilities, None)
        if q.size and not (q.min() >= 0 and q.max() <= 1):
            raise ValueError(f"{op}: expected probabilities in 0..1, got {q.min()}..{q.max()}")
        p, total = distribution(op, q, targets, None)
        asked = p > 0
        safe = np.where(asked, q, 1)
        with np.errstate(divide="ignore"):
            losses, gradient = -p * np.log(safe), np.where(asked, -p / safe, 0)
        return _reduced(losses, gradient, self.reduction, total, self._scale)

    def __repr__(self) -> str:
        return f"ProbabilityCrossEntropyLoss(reduction={self.reduction!r}, unit={self.unit!r})"


def _focal(log_p: Array, gamma: float) -> tuple[Array, Array]:
    """-(1 - p)^gamma log p, and p times its derivative by p, from log p."""
    rest = -np.expm1(log_p)
    power = rest**gamma
    change = -power
    if gamma:
        inside = rest > 0  # at p = 1 the first term is 0, whatever gamma
        lower = np.where(inside, rest, 1) ** (gamma - 1)
        finite = np.where(log_p > -np.inf, log_p, 0)  # p log p is 0 at p = 0 too
        change = change + np.where(inside, gamma * np.exp(log_p) * lower * finite, 0)
    return -power * log_p, change


class FocalLoss:
    """Cross-entropy in which well-classified examples count little: ``-a (1 - p)^gamma log p``.

    p is softmax's probability of the right class, a its weight. With ``gamma=0`` it is
    `CrossEntropyLoss`. For data where one class outnumbers the others by far.

    Parameters
    ----------
    gamma : float
        At least 0. With 2, p = 0.9 counts a hundredth of what cross-entropy gives it.
    alpha : sequence of float, optional
        Weight of each class; 1 by default.
    reduction : "mean" or "sum"
        Over rows (or pixels). The mean divides by their number, whatever alpha is.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64, or
        if the targets are not integers.
    ValueError
        If an option is out of range; when called, if the targets, or `alpha`, do not fit the
        prediction.

    Notes
    -----
    Source: Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV
    2017, eq. 5, with softmax in place of the sigmoid; for that see `BinaryFocalLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> round(nn.FocalLoss()(np.log([[0.9, 0.1]]), np.array([0]))[0], 5)
    0.00105
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: Sequence[float] | ArrayLike | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        self.gamma = number("FocalLoss", "gamma", gamma, 0)
        self.alpha = class_weights("FocalLoss", alpha)
        self.reduction = checked_reduction("FocalLoss", reduction)

    def __call__(self, logits: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of logits (N, C, ...) with integer classes (N, ...)."""
        one_output("FocalLoss", logits)
        x = floating("FocalLoss", "logits", logits, None)
        t = np.asarray(targets)
        if t.dtype.kind not in "iu":
            raise TypeError(f"FocalLoss: expected integer classes, got {t.dtype}")
        right, _ = distribution("FocalLoss", x, t, None)
        log_p = ops.log_softmax(x, axis=1)
        log_right = np.take_along_axis(log_p, np.expand_dims(t, 1), 1)
        losses, change = _focal(log_right, self.gamma)
        if self.alpha is not None:
            if self.alpha.size != x.shape[1]:
                raise ValueError(
                    f"FocalLoss: expected an alpha for each of {x.shape[1]} classes, "
                    f"got {self.alpha.size}"
                )
            a = np.expand_dims(self.alpha[t], 1).astype(x.dtype)
            losses, change = a * losses, a * change
        return _reduced(losses, change * (right - np.exp(log_p)), self.reduction, float(t.size))

    def __repr__(self) -> str:
        alpha = "" if self.alpha is None else f", alpha={self.alpha.tolist()}"
        return f"FocalLoss(gamma={self.gamma:g}{alpha}, reduction={self.reduction!r})"


class BinaryFocalLoss:
    """Focal loss of yes-or-no scores, each by its own sigmoid: one a class, a pixel, a box.

    ``-a (1 - p)^gamma log p``, with p the probability of the right answer. With ``gamma=0`` and
    ``alpha=None`` it is the binary cross-entropy.

    Parameters
    ----------
    gamma : float
        At least 0.
    alpha : float, optional
        Weight of yes, in 0..1; no has ``1 - alpha``. None weighs both with 1.
    reduction : "mean" or "sum"
        Over all elements.

    Raises
    ------
    TypeError
        When called, if the prediction is a dict of several outputs, or not float32 or float64.
    ValueError
        If an option is out of range; when called, if the targets are not 0 or 1, or of another
        shape.

    Notes
    -----
    Source: Lin, Goyal, Girshick, He and Dollár, "Focal loss for dense object detection", ICCV
    2017, eq. 5.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> logit = np.log(0.6 / 0.4)
    >>> round(nn.BinaryFocalLoss()(np.array([logit, -logit]), np.array([1, 0]))[0], 4)
    0.0817
    """

    def __init__(
        self, gamma: float = 2.0, alpha: float | None = None, reduction: Reduction = "mean"
    ) -> None:
        self.gamma = number("BinaryFocalLoss", "gamma", gamma, 0)
        if alpha is not None and not number("BinaryFocalLoss", "alpha", alpha, 0) <= 1:
            raise ValueError(f"BinaryFocalLoss: expected alpha in 0..1, got {alpha!r}")
        self.alpha = alpha
        self.reduction = checked_reduction("BinaryFocalLoss", reduction)

    def __call__(self, logits: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient of logits of any shape with targets 0 or 1 of the same shape."""
        one_output("BinaryFocalLoss", logits)
        x = floating("BinaryFocalLoss", "logits", logits, None)
        t: Any = np.asarray(targets)
        if t.shape != x.shape or not ((t == 0) | (t == 1)).all():
            raise ValueError(
                f"BinaryFocalLoss: expected targets 0 or 1 of shape {x.shape}, got {t.shape}"
            )
        yes = t == 1
        sign = np.where(yes, 1, -1).astype(x.dtype)
        log_p = -np.logaddexp(0, -sign * x).astype(x.dtype)
        losses, change = _focal(log_p, self.gamma)
        if self.alpha is not None:
            a = np.where(yes, self.alpha, 1 - self.alpha).astype(x.dtype)
            losses, change = a * losses, a * change
        gradient = sign * change * -np.expm1(log_p)
        return _reduced(losses, gradient, self.reduction, float(x.size))

    def __repr__(self) -> str:
        alpha = "" if self.alpha is None else f", alpha={self.alpha:g}"
        return f"BinaryFocalLoss(gamma={self.gamma:g}{alpha}, reduction={self.reduction!r})"
