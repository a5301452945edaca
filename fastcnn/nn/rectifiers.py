"""Activations with a shape of their own below zero, and the step: PReLU, ELU, Step."""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
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

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y, shape of x."""
        a = floating("PReLU", "x", x, None, self.weight.data.dtype, "the weights")
        return ops.prelu(a, self.weight.data), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dy where x > 0, else weight * dy; the slopes get dy * x summed where x <= 0."""
        if not need_dx and not self.weight.requires_grad:
            return None
        dx, dw = ops.prelu_backward(dy, ctx.x, self.weight.data)
        if self.weight.requires_grad:
            self.weight.add_grad(dw, fresh=True)
        return dx if need_dx else None

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
        return ops.elu(a, self.alpha), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy where x > 0, else alpha * exp(x) * dy."""
        return ops.elu_backward(dy, ctx.x, self.alpha) if need_dx else None

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
        return ops.step(x), None

    def backward(self, dy: ArrayLike, ctx: None, *, need_dx: bool = True) -> Array | None:
        """dx = dy, or 0."""
        if not need_dx:
            return None
        d = np.asarray(dy)
        return d if self.gradient == "straight" else np.zeros_like(d)

    def extra_repr(self) -> str:
        """The convention, if it is not the usual one."""
        return "" if self.gradient == "straight" else "gradient='zero'"
