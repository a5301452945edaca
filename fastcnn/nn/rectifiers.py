"""Activations with a shape of their own below zero, and the step: PReLU, ELU, Step."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .._checks import Array, floating, integer, number
from .activation import InputContext
from .parameter import Parameter
from .shape import SameShape


class PReLU(SameShape):
    """x where x > 0, else ``weight * x``: learned slopes, one for all or one a channel.

    Parameters
    ----------
    num_parameters : int
        1, or the channels of x (axis 1).
    init : float
        What the slopes start at.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter
        (num_parameters,)

    Notes
    -----
    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, eq. 1. The paper
    takes no weight decay on the slopes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.PReLU()(np.array([[-4.0, 2.0]], np.float32))
    array([[-1.,  2.]], dtype=float32)
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = np.float32
    ) -> None:
        count = integer("PReLU", "num_parameters", num_parameters, 1)
        self.weight = Parameter(np.full(count, number("PReLU", "init", init), dtype))

    def slopes(self, x: Array) -> Array:
        """The weight, shaped so that it meets the channels of x."""
        w = self.weight.data
        if w.size == 1:
            return w
        if x.ndim < 2 or x.shape[1] != w.size:
            raise ValueError(
                f"PReLU: expected x of shape (N, {w.size}, ...), a channel for each slope, "
                f"got x.shape={x.shape}"
            )
        return w.reshape(w.size, *(1,) * (x.ndim - 2))

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y, shape of x."""
        a = floating("PReLU", "x", x, None, self.weight.data.dtype, "the weights")
        return np.where(a > 0, a, self.slopes(a) * a), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dy where x > 0, else weight * dy; the slopes get dy * x summed where x <= 0."""
        d, x = floating("PReLU", "dy", dy, None, ctx.x.dtype, "x"), ctx.x
        if self.weight.requires_grad:
            self.add_sums(np.where(x > 0, 0, d * x))
        return np.where(x > 0, d, self.slopes(x) * d) if need_dx else None

    def add_sums(self, parts: Array) -> None:
        """Add what each element gives to the gradient of its slope."""
        axes = (0, *range(2, parts.ndim)) if self.weight.data.size > 1 else None
        self.weight.add_grad(np.asarray(parts.sum(axes)).reshape(self.weight.data.shape))

    def extra_repr(self) -> str:
        """Number of slopes."""
        return str(self.weight.data.size)


class ELU(SameShape):
    """x where x > 0, else ``alpha * (exp(x) - 1)``, which levels off at ``-alpha``.

    Parameters
    ----------
    alpha : float

    Notes
    -----
    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", ICLR 2016, eq. 15.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.ELU()(np.array([-np.inf, 0.0, 2.0], np.float32))
    array([-1.,  0.,  2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number("ELU", "alpha", alpha)

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y, shape of x."""
        a = floating("ELU", "x", x, None)
        y = np.expm1(np.minimum(a, 0))
        y *= self.alpha
        return np.where(a > 0, a, y), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy where x > 0, else alpha * exp(x) * dy."""
        if not need_dx:
            return None
        d = floating("ELU", "dy", dy, None, ctx.x.dtype, "x")
        slope = np.exp(np.minimum(ctx.x, 0))
        slope *= self.alpha
        return np.where(ctx.x > 0, d, slope * d)

    def extra_repr(self) -> str:
        """The level."""
        return f"alpha={self.alpha:g}"


class Step(SameShape):
    """1 where x > 0, else 0: the perceptron's activation (Heaviside's function, 0 at 0).

    Its derivative is 0 wherever there is one, so nothing before it learns by the true gradient.
    By the straight-through convention, ``gradient="straight"``, the way back takes the step for
    the identity, dx = dy.

    Parameters
    ----------
    gradient : "straight" or "zero"
        What `backward` gives: dy itself, or the true 0.

    Notes
    -----
    Source: Bengio, Léonard and Courville, "Estimating or propagating gradients through stochastic
    neurons for conditional computation", arXiv:1308.3432, 2013, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> y, ctx = nn.Step().forward(np.array([-1.0, 0.0, 2.0], np.float32))
    >>> y
    array([0., 0., 1.], dtype=float32)
    >>> nn.Step().backward(np.array([3.0, 4.0, 5.0], np.float32), ctx)
    array([3., 4., 5.], dtype=float32)
    """

    def __init__(self, gradient: Literal["straight", "zero"] = "straight") -> None:
        if gradient not in ("straight", "zero"):
            raise ValueError(f"Step: expected gradient 'straight' or 'zero', got {gradient!r}")
        self.gradient = gradient

    def forward(self, x: ArrayLike) -> tuple[Array, None]:
        """y, shape of x; NaN stays NaN."""
        a = floating("Step", "x", x, None)
        return np.heaviside(a, a.dtype.type(0)), None

    def backward(self, dy: ArrayLike, ctx: None, *, need_dx: bool = True) -> Array | None:
        """dx = dy, or 0."""
        if not need_dx:
            return None
        d = np.asarray(dy)
        return d if self.gradient == "straight" else np.zeros_like(d)

    def extra_repr(self) -> str:
        """The convention, if it is not the usual one."""
        return "" if self.gradient == "straight" else "gradient='zero'"
