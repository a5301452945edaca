"""Activation functions as layers: element by element, any shape; and softmax along one axis."""

import math
from typing import NamedTuple

from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, floating
from .shape import SameShape


class OutputContext(NamedTuple):
    """For functions whose derivative is written in their output."""

    y: Array


class InputContext(NamedTuple):
    """For functions whose derivative is written in their input."""

    x: Array


class ReLU(SameShape):
    """``max(x, 0)``; the gradient at 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.ReLU()(np.array([-1.0, 0.0, 2.0], np.float32))
    array([0., 0., 2.], dtype=float32)
    """

    works_in_place = True

    def forward(self, x: ArrayLike, *, out: Array | None = None) -> tuple[Array, OutputContext]:
        """y, shape of x; `out`, which may be x, is where to write."""
        y = ops.relu(x, out=out)
        return y, OutputContext(y)

    def backward(
        self,
        dy: ArrayLike,
        ctx: OutputContext,
        *,
        need_dx: bool = True,
        out: Array | None = None,
    ) -> Array | None:
        """dx = dy where y > 0, else 0; `out`, which may be dy, is where to write."""
        return ops.relu_backward(dy, ctx.y, out=out) if need_dx else None


class LeakyReLU(SameShape):
    """x where x > 0, else ``negative_slope * x``.

    Parameters
    ----------
    negative_slope : float

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.LeakyReLU(0.25)(np.array([-1.0, 2.0], np.float32))
    array([-0.25,  2.  ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        if not math.isfinite(negative_slope):
            raise ValueError(
                f"LeakyReLU: expected negative_slope to be finite, got {negative_slope!r}"
            )
        self.negative_slope = float(negative_slope)

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y, shape of x."""
        a = floating("LeakyReLU", "x", x, None)
        return ops.leaky_relu(a, self.negative_slope), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy where x > 0, else negative_slope * dy."""
        return ops.leaky_relu_backward(dy, ctx.x, self.negative_slope) if need_dx else None

    def extra_repr(self) -> str:
        """The slope."""
        return str(self.negative_slope)


class Sigmoid(SameShape):
    """Logistic function, ``1 / (1 + exp(-x))``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Sigmoid()(np.array([0.0], np.float32))
    array([0.5], dtype=float32)
    """

    def forward(self, x: ArrayLike) -> tuple[Array, OutputContext]:
        """y, shape of x."""
        y = ops.sigmoid(x)
        return y, OutputContext(y)

    def backward(self, dy: ArrayLike, ctx: OutputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy * y * (1 - y)."""
        return ops.sigmoid_backward(dy, ctx.y) if need_dx else None


class Tanh(SameShape):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Tanh()(np.array([0.0], np.float32))
    array([0.], dtype=float32)
    """

    def forward(self, x: ArrayLike) -> tuple[Array, OutputContext]:
        """y, shape of x."""
        y = ops.tanh(x)
        return y, OutputContext(y)

    def backward(self, dy: ArrayLike, ctx: OutputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy * (1 - y^2)."""
        return ops.tanh_backward(dy, ctx.y) if need_dx else None


class Softmax(SameShape):
    """Probabilities that sum to 1 along `axis`.

    For training, end the net with its logits and use `CrossEntropyLoss`, which contains the
    softmax in a stable form.

    Parameters
    ----------
    axis : int
        1 by default: the classes of (N, C), the channels of (N, C, H, W).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Softmax()(np.zeros((1, 4), np.float32))
    array([[0.25, 0.25, 0.25, 0.25]], dtype=float32)
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis

    def forward(self, x: ArrayLike) -> tuple[Array, OutputContext]:
        """y, shape of x."""
        y = ops.softmax(x, axis=self.axis)
        return y, OutputContext(y)

    def backward(self, dy: ArrayLike, ctx: OutputContext, *, need_dx: bool = True) -> Array | None:
        """dx = y * (dy - sum(dy * y)) along the axis."""
        return ops.softmax_backward(dy, ctx.y, axis=self.axis) if need_dx else None

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class LogSoftmax(SameShape):
    """Logarithms of the probabilities of `Softmax`, without the loss of taking the log of them.

    The last layer of a net that is trained with `NLLLoss`; logits with `CrossEntropyLoss` are the
    same in one kernel.

    Parameters
    ----------
    axis : int
        1 by default: the classes of (N, C), the channels of (N, C, H, W).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.LogSoftmax()(np.array([[0.0, 1000.0]], np.float32))
    array([[-1000.,     0.]], dtype=float32)
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = axis

    def forward(self, x: ArrayLike) -> tuple[Array, OutputContext]:
        """y, shape of x."""
        y = ops.log_softmax(x, axis=self.axis)
        return y, OutputContext(y)

    def backward(self, dy: ArrayLike, ctx: OutputContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy - exp(y) * sum(dy) along the axis."""
        return ops.log_softmax_backward(dy, ctx.y, axis=self.axis) if need_dx else None

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"
