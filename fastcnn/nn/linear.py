"""The fully connected (affine) layer."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import Array, floating, integer
from . import init as initial
from .layer import Layer, differing
from .parameter import Parameter


class LinearContext(NamedTuple):
    """What the backward pass of a linear layer needs."""

    x: Array


class Linear(Layer):
    """Fully connected layer, ``y = x @ w.T + b``.

    Parameters
    ----------
    in_features, out_features : int
        I and O.
    bias : bool
    init : Initializer
        For the weight, see `fastcnn.nn.init`; He by default. The bias starts at zero.
    seed : int, Generator or None
        None draws from the operating system.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter
        (O, I)
    bias : Parameter or None
        (O,)

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If a size is no integer >= 1; when called, if x is not of shape (N, I).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> fc = nn.Linear(784, 100, seed=0)
    >>> fc
    Linear(784, 100)
    >>> fc(np.zeros((8, 784), np.float32)).shape
    (8, 100)
    """

    gives_new = True

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        init: initial.Initializer | None = None,
        seed: initial.Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_features = integer("Linear", "in_features", in_features, 1)
        self.out_features = integer("Linear", "out_features", out_features, 1)
        shape = (self.out_features, self.in_features)
        rng = np.random.default_rng(seed)
        self.weight = Parameter((init or initial.he())(shape, rng).astype(dtype, copy=False))
        self.bias = Parameter(np.zeros(self.out_features, dtype)) if bias else None

    def __call__(self, x: ArrayLike) -> Array:
        """y (N, O) of x (N, I)."""
        return self._apply(self._input(x))

    def _input(self, x: ArrayLike) -> Array:
        """x, checked; what does not fit is the input, not the weights."""
        a = floating("Linear", "x", x, 2, self.weight.data.dtype, "the weights")
        if a.shape[1] != self.in_features:
            raise ValueError(
                f"Linear: expected x of {self.in_features} features, got x.shape={a.shape}; in a "
                f"net, images of another size than it was built for do this"
            )
        return a

    def _apply(self, a: Array) -> Array:
        return ops.linear(a, self.weight.data, None if self.bias is None else self.bias.data)

    def forward(self, x: ArrayLike) -> tuple[Array, LinearContext]:
        """y and what backward needs: x itself."""
        # contiguous here once, not again in backward
        a = self._input(x)
        return self._apply(a), LinearContext(a)

    def backward(self, dy: ArrayLike, ctx: LinearContext, *, need_dx: bool = True) -> Array | None:
        """Gradients of weight and bias are added to theirs, that of x (N, I) is returned."""
        if self.trains():
            dw, db = ops.linear_backward_weight(dy, ctx.x)
            self.weight.add_grad(dw, fresh=True)
            if self.bias is not None:
                self.bias.add_grad(db, fresh=True)
        return ops.linear_backward_input(dy, self.weight.data) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int]:
        """(O,) for (I,)."""
        shape = tuple(input_shape)
        if len(shape) != 1:
            raise ValueError(
                f"Linear: expected an input of shape ({self.in_features},), without the batch "
                f"axis, got {shape}; a Flatten before it would give ({math.prod(shape)},)"
            )
        if shape[0] != self.in_features:
            raise ValueError(
                f"Linear: expected {self.in_features} input features, got {shape[0]}; "
                f"Linear({shape[0]}, {self.out_features}) would fit"
            )
        return (self.out_features,)

    def multiply_adds(self, input_shape: Any) -> int:
        """One for each weight."""
        return self.in_features * self.out_features

    def reach(self) -> None:
        """All of the input."""

    def extra_repr(self) -> str:
        """Sizes, and bias if there is none."""
        sizes = f"{self.in_features}, {self.out_features}"
        return sizes + differing(("bias", self.bias is not None, True))
