"""Dropout: the one layer here whose training differs from its inference."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, dropout_of, expect_shape, floating
from .init import Seed
from .shape import SameShape


class DropoutContext(NamedTuple):
    """What the backward pass of dropout needs."""

    p: float
    seed: int  # of `ops.dropout`; 0 where nothing was dropped
    shape: tuple[int, ...]


class Dropout(SameShape):
    """Set each element to 0 with probability `p` in training; the rest is scaled by 1 / (1 - p).

    Inference, ``layer(x)``, hands `x` on as it is. Each training forward moves the generator
    `rng` on, which `rng_state` and `set_rng_state` save and restore.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15, 2014 (in its inverted form, scaled in training).

    Parameters
    ----------
    p : float
        Share of elements to drop, in [0, 1).
    seed : int, Generator or None
        None draws from the operating system.

    Attributes
    ----------
    rng : Generator

    Raises
    ------
    TypeError
        In training, if x is not float32 or float64.
    ValueError
        If `p` is no number in [0, 1).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> drop, x = nn.Dropout(0.5, seed=0), np.ones((1, 6), np.float32)
    >>> drop(x)
    array([[1., 1., 1., 1., 1., 1.]], dtype=float32)
    >>> sorted(set(drop.forward(x)[0].ravel().tolist()))
    [0.0, 2.0]
    """

    def __init__(self, p: float = 0.5, *, seed: Seed = None) -> None:
        self.p, _ = dropout_of("Dropout", p, 0)
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: ArrayLike) -> Array:
        """x itself."""
        return np.asarray(x)

    def forward(self, x: ArrayLike) -> tuple[Array, DropoutContext]:
        """y, shape of x."""
        a = floating("Dropout", "x", x, None)
        ctx = DropoutContext(self.p, self.draw(), a.shape)
        return ops.dropout(a, ctx.p, ctx.seed) if ctx.p > 0 else a, ctx

    def draw(self) -> int:
        """The seed of the next training forward, 64 bits, for which the generator moves on.

        With p = 0 it stays where it is.
        """
        return int(self.rng.integers(2**64, dtype=np.uint64)) if self.p > 0 else 0

    def backward(self, dy: ArrayLike, ctx: DropoutContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy where kept, scaled alike, else 0."""
        if not need_dx:
            return None
        a = floating("Dropout", "dy", dy, None)
        expect_shape("Dropout", "dy", a, ctx.shape, "that of x")
        return ops.dropout(a, ctx.p, ctx.seed) if ctx.p > 0 else a

    def extra_repr(self) -> str:
        """The probability."""
        return str(self.p)
