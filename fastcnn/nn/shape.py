"""What layers do to shapes: nothing (`SameShape`, a base), or nothing else (`Flatten`, ...)."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, integer
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

    Raises
    ------
    ValueError
        When called, if x has no batch axis.

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


class Unflatten(Layer):
    """(N, C*H*W) to (N, C, H, W), or any sizes: what `Flatten` does, undone.

    Parameters
    ----------
    shape : sequence of int
        Without the batch axis.

    Raises
    ------
    ValueError
        If a size is no integer >= 0; when called, if x has another number of elements a sample.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Unflatten((16, 5, 5))(np.zeros((8, 400), np.float32)).shape
    (8, 16, 5, 5)
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(integer("Unflatten", "shape", n, 0) for n in shape)

    def forward(self, x: ArrayLike) -> tuple[Array, FlattenContext]:
        """x in its new shape."""
        a = np.asarray(x)
        self.output_shape(a.shape[1:])
        return a.reshape(a.shape[0], *self.shape), FlattenContext(a.shape)

    def backward(self, dy: ArrayLike, ctx: FlattenContext, *, need_dx: bool = True) -> Array | None:
        """dy in the shape of x."""
        return np.asarray(dy).reshape(ctx.input_shape) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """(C, H, W) for (C*H*W,)."""
        if math.prod(input_shape) != math.prod(self.shape):
            raise ValueError(
                f"Unflatten: expected {math.prod(self.shape)} numbers a sample for {self.shape}, "
                f"got {tuple(input_shape)}"
            )
        return self.shape

    def extra_repr(self) -> str:
        """The shape."""
        return str(self.shape)


class CropContext(NamedTuple):
    """The shapes of both inputs."""

    shapes: tuple[tuple[int, ...], tuple[int, ...]]


class CropLike(Layer):
    """The top left part of x that is as high and wide as a second array, which only says so.

    A node of a `Graph` with two inputs, as where an enlarged map meets a finer one.

    Raises
    ------
    ValueError
        When called, if the second is higher or wider than the first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.CropLike()((np.zeros((2, 21, 64, 64)), np.zeros((2, 3, 50, 60)))).shape
    (2, 21, 50, 60)
    """

    takes_many = True

    def forward(self, x: Sequence[Any]) -> tuple[Array, CropContext]:
        """A view of the first."""
        a, like = (np.asarray(v) for v in x)
        _, h, w = self.output_shape((a.shape[1:], like.shape[1:]))
        return a[:, :, :h, :w], CropContext((a.shape, like.shape))

    def backward(self, dy: Any, ctx: CropContext, *, need_dx: bool = True) -> Any:
        """dy with zeros for what was cut off; nothing for the second."""
        if not need_dx:
            return None
        d = np.asarray(dy)
        dx = np.zeros(ctx.shapes[0], d.dtype)
        dx[:, :, : d.shape[2], : d.shape[3]] = d
        return dx, np.broadcast_to(d.dtype.type(0), ctx.shapes[1])

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, H, W) with C of the first, H and W of the second."""
        (c, h, w), (_, to_h, to_w) = input_shape
        if to_h > h or to_w > w:
            raise ValueError(f"CropLike: expected at least {to_h}x{to_w} to cut from, got {h}x{w}")
        return c, to_h, to_w
