"""What layers do to shapes: nothing (`SameShape`, a base), or nothing else (`Flatten`)."""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array
from .layer import Layer


class SameShape(Layer):
    """Base of layers whose output has the shape of their input, whatever it is."""

    def output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """The input's shape."""
        return tuple(input_shape)


class FlattenContext(NamedTuple):
    """What the way back needs."""

    input_shape: tuple[int, ...]


class Flatten(Layer):
    """(N, C, H, W), or any (N, ...), to (N, C*H*W). Channel by channel, row by row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Flatten()(np.zeros((8, 16, 5, 5), np.float32)).shape
    (8, 400)
    """

    def forward(self, x: ArrayLike) -> tuple[Array, FlattenContext]:
        """x in its new shape; the memory is x's where x is contiguous."""
        a = np.asarray(x)
        if a.ndim < 1:
            raise ValueError(f"Flatten: expected x of shape (N, ...), got x.shape={a.shape}")
        return a.reshape(a.shape[0], math.prod(a.shape[1:])), FlattenContext(a.shape)

    def backward(self, dy: ArrayLike, ctx: FlattenContext, *, need_dx: bool = True) -> Array | None:
        """dy in the shape of x."""
        return np.asarray(dy).reshape(ctx.input_shape) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int]:
        """(C*H*W,) for (C, H, W)."""
        return (math.prod(input_shape),)
