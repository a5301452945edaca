"""Local response normalisation as a layer."""

from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, floating, integer, number
from .activation import InputContext
from .shape import SameShape


class LocalResponseNorm(SameShape):
    """Each value over the strength of its channel's neighbours at the same pixel.

    ``y = x / (k + alpha / size * sum of x[j]**2)**beta``, over the `size` channels around its own.
    Batch norm has taken its place since; AlexNet and GoogLeNet have it.

    Parameters
    ----------
    size : int
        Channels in a window, from ``c - size // 2`` to ``c + (size - 1) // 2``.
    alpha : float
        Divided by `size`, as PyTorch and Caffe have it. The paper's is not: its n = 5,
        alpha = 1e-4, beta = 0.75, k = 2 is ``LocalResponseNorm(5, 5e-4, 0.75, 2)``.
    beta, k : float

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        If `size` is less than 1, another number is not finite, or `alpha` or `k` is negative; when
        called, if x is not of shape (N, C, ...).

    Notes
    -----
    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional
    neural networks", NIPS 2012, section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.LocalResponseNorm(1, alpha=1.0, beta=1.0)(np.array([[0.0, 1.0, 2.0]], np.float32))
    array([[0. , 0.5, 0.4]], dtype=float32)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size = integer("LocalResponseNorm", "size", size, 1)
        self.alpha = number("LocalResponseNorm", "alpha", alpha, 0)
        self.beta = number("LocalResponseNorm", "beta", beta)
        self.k = number("LocalResponseNorm", "k", k, 0)

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y, shape of x, which is (N, C, ...)."""
        a = floating("LocalResponseNorm", "x", x, None)
        y = ops.local_response_norm(a, self.size, self.alpha, self.beta, self.k)
        return y, InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dx, through the windows of the neighbours too."""
        if not need_dx:
            return None
        return ops.local_response_norm_backward(dy, ctx.x, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """The four numbers."""
        return f"{self.size}, alpha={self.alpha:g}, beta={self.beta:g}, k={self.k:g}"
