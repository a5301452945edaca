"""Layers that join several arrays into one: nodes of a `Graph` with more than one input."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from .._checks import Array, integer
from .layer import Layer


class AddContext(NamedTuple):
    """What the backward pass of a sum needs."""

    terms: int
    y: Array | None = None  # with a ReLU, the output


class ConcatContext(NamedTuple):
    """What the backward pass of a concatenation needs."""

    widths: tuple[int, ...]


def _arrays(layer: str, xs: Sequence[Any]) -> list[Array]:
    if isinstance(xs, np.ndarray) or not isinstance(xs, Sequence) or not xs:
        raise ValueError(f"{layer}: expected a tuple of arrays, got {type(xs).__name__}")
    return [np.asarray(x) for x in xs]


class Add(Layer):
    """Sum of several arrays of one shape, as at the end of a residual block.

    Parameters
    ----------
    relu : bool
        Whether negative sums become 0: the ReLU that often follows, in the same pass.

    Raises
    ------
    TypeError
        When called, if they are not float32 or float64.
    ValueError
        When called, if it is no tuple of arrays, or their shapes or dtypes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> one = np.ones((1, 2), np.float32)
    >>> nn.Add()((one, one, one))
    array([[3., 3.]], dtype=float32)
    """

    takes_many = True

    def __init__(self, relu: bool = False) -> None:
        self.relu = bool(relu)

    def forward(self, x: Sequence[Any]) -> tuple[Array, AddContext]:
        """Their sum, in order."""
        xs = _arrays("Add", x)
        for i, a in enumerate(xs):
            if a.shape != xs[0].shape or a.dtype != xs[0].dtype:
                raise ValueError(
                    f"Add: expected x[{i}] to be {xs[0].dtype} {xs[0].shape} like x[0], "
                    f"got {a.dtype} {a.shape}"
                )
        *before, last = xs
        y = before[0] if before else np.zeros_like(last)
        for a in before[1:]:
            y = ops.add(y, a)
        y = ops.add(y, last, relu=self.relu)
        return y, AddContext(len(xs), y if self.relu else None)

    def backward(self, dy: Any, ctx: AddContext, *, need_dx: bool = True) -> Any:
        """dy for each of them; with `relu`, where the sum is positive."""
        if not need_dx:
            return None
        return (np.asarray(dy) if ctx.y is None else ops.relu_backward(dy, ctx.y),) * ctx.terms

    def output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """The shape that all inputs have."""
        shapes = [tuple(s) for s in input_shape]
        if any(s != shapes[0] for s in shapes):
            raise ValueError(
                f"Add: expected inputs of one shape, got {', '.join(map(str, shapes))}"
            )
        return shapes[0]

    def extra_repr(self) -> str:
        """Whether a ReLU is part of it."""
        return "relu=True" if self.relu else ""


class Concat(Layer):
    """Join several arrays along one axis, as at the end of an inception or a dense block.

    Parameters
    ----------
    axis : int
        1 by default, the channels; at least 1 (0 is the batch).

    Raises
    ------
    ValueError
        If `axis` is no integer >= 1; when called, if it is no tuple of arrays, or they differ in
        more than the size of that axis.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> one = np.ones((1, 2, 4, 4), np.float32)
    >>> nn.Concat()((one, one, one)).shape
    (1, 6, 4, 4)
    """

    takes_many = True

    def __init__(self, axis: int = 1) -> None:
        self.axis = integer("Concat", "axis (0 is the batch)", axis, 1)

    def forward(self, x: Sequence[Any]) -> tuple[Array, ConcatContext]:
        """One array, in order."""
        xs = _arrays("Concat", x)
        for a in xs:
            self.output_shape([s.shape[1:] for s in xs])
            if a.dtype != xs[0].dtype or a.shape[0] != xs[0].shape[0]:
                raise ValueError(
                    f"Concat: expected a batch of {xs[0].dtype} {xs[0].shape} like the first, "
                    f"got {a.dtype} {a.shape}"
                )
        return np.concatenate(xs, self.axis), ConcatContext(tuple(a.shape[self.axis] for a in xs))

    def backward(self, dy: Any, ctx: ConcatContext, *, need_dx: bool = True) -> Any:
        """The part of dy that belongs to each."""
        if not need_dx:
            return None
        return tuple(np.split(np.asarray(dy), np.cumsum(ctx.widths)[:-1], self.axis))

    def output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """The sizes summed along the axis; all others must agree."""
        shapes = [tuple(s) for s in input_shape]
        at = self.axis - 1
        rest = [s[:at] + s[at + 1 :] for s in shapes]
        if any(len(s) <= at or r != rest[0] for s, r in zip(shapes, rest, strict=True)):
            raise ValueError(
                f"Concat: expected inputs that differ on axis {self.axis} alone, "
                f"got {', '.join(map(str, shapes))} (without the batch axis)"
            )
        return (*shapes[0][:at], sum(s[at] for s in shapes), *shapes[0][at + 1 :])

    def extra_repr(self) -> str:
        """The axis, if it is not the channels."""
        return "" if self.axis == 1 else f"axis={self.axis}"
