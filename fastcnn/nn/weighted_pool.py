"""Weighted-average pooling as a layer, its weights fixed or learned."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import Array, Padding, Pair, Window, floating, integer, pair, window
from ._fit import require_exact
from .conv import image_shape
from .layer import Layer, Reach, differing, shown
from .parameter import Buffer, Parameter


class WeightedPoolContext(NamedTuple):
    """What the backward pass needs: x where weights are learned, its shape in any case."""

    x: Array | None
    input_shape: tuple[int, ...]


class WeightedAvgPool2d(Layer):
    """The weighted average of each window: some places of a window count more than others.

    The weights start with a sum of 1 for each window. Fixed ones stay so; learned ones go where
    the loss takes them, and then it is a weighted sum.

    Parameters
    ----------
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        `kernel_size` by default: windows side by side.
    padding : int, (h, w), ((top, bottom), (left, right)), "valid" or "same"
        Zeros around the image; they count.
    channels : int, optional
        Weights for each of so many channels; without it one set for all, of any number.
    weight : array_like, optional
        (KH, KW), or (channels, KH, KW): what the weights are in proportion to; their sum is not 0.
        All alike by default, as `AvgPool2d` has them.
    learned : bool
        Whether the weights are trained.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter, or Buffer if they are fixed
        (KH, KW) or (channels, KH, KW)

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If an argument is out of range, or `weight` has another shape, is not finite or sums to 0;
        when called, if x is not of shape (N, C, H, W), or of other channels than the weights, or
        too small.

    See Also
    --------
    fastcnn.models.lenet_1998.Subsample : the sum of a window, one coefficient and bias a map.

    Examples
    --------
    The middle of a 3x3 window counts four times as much as its corners:

    >>> import numpy as np
    >>> from fastcnn import nn
    >>> pool = nn.WeightedAvgPool2d(3, 2, weight=np.outer([1, 2, 1], [1, 2, 1]), learned=False)
    >>> pool.weight.data[1, 1], pool.num_parameters()
    (np.float32(0.25), 0)
    >>> nn.WeightedAvgPool2d(2, channels=6)
    WeightedAvgPool2d(2, channels=6)
    """

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        channels: int | None = None,
        weight: ArrayLike | None = None,
        learned: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        op = "WeightedAvgPool2d"
        self.kernel_size = pair(op, "kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else pair(op, "stride", stride, 1)
        self.padding = padding
        self.channels = None if channels is None else integer(op, "channels", channels, 1)
        window(op, (2**63, 2**63), kernel_size, stride=self.stride, padding=padding)
        shape = (*(() if channels is None else (self.channels,)), *self.kernel_size)
        given = np.ones(shape) if weight is None else np.asarray(weight, np.float64)
        if given.shape != shape and given.shape != self.kernel_size:
            raise ValueError(f"{op}: expected weight of shape {shape}, got {given.shape}")
        sums = np.broadcast_to(given, shape).sum((-2, -1), keepdims=True)
        if not np.isfinite(given).all() or (sums == 0).any():
            raise ValueError(f"{op}: expected finite weights whose sum is not 0")
        start = (given / sums).astype(dtype)
        self.weight: Parameter | Buffer = Parameter(start) if learned else Buffer(start)

    def _options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding}

    def __call__(self, x: ArrayLike) -> Array:
        """y (N, C, OH, OW) of x (N, C, H, W)."""
        w = self.weight.data
        a = floating("WeightedAvgPool2d", "x", x, 4, w.dtype, "the weights")
        return ops.weighted_avg_pool2d(a, w, **self._options())

    def forward(self, x: ArrayLike) -> tuple[Array, WeightedPoolContext]:
        """y, and what backward needs: x itself if weights are learned."""
        a = floating("WeightedAvgPool2d", "x", x, 4, self.weight.data.dtype, "the weights")
        kept = a if isinstance(self.weight, Parameter) else None
        return self(a), WeightedPoolContext(kept, a.shape)

    def backward(
        self, dy: ArrayLike, ctx: WeightedPoolContext, *, need_dx: bool = True
    ) -> Array | None:
        """The gradient of learned weights is added to theirs, that of x is returned."""
        w = self.weight
        if isinstance(w, Parameter) and w.requires_grad and ctx.x is not None:
            dw = ops.weighted_avg_pool2d_backward_weight(dy, ctx.x, w.data.shape, **self._options())
            w.add_grad(dw, fresh=True)
        if not need_dx:
            return None
        return ops.weighted_avg_pool2d_backward_input(
            dy, w.data, ctx.input_shape, **self._options()
        )

    def window_on(self, input_shape: Any) -> Window:
        """The window on an image, checked."""
        c, h, w = image_shape("WeightedAvgPool2d", input_shape)
        if self.channels not in (None, c):
            raise ValueError(
                f"WeightedAvgPool2d: expected {self.channels} channels, got {c} in {(c, h, w)}; "
                f"channels={c} would fit"
            )
        return window(
            "WeightedAvgPool2d", (h, w), self.kernel_size, stride=self.stride, padding=self.padding
        )

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, OH, OW) for (C, H, W)."""
        win = self.window_on(input_shape)
        return (input_shape[0], *win.out)

    def require_exact(self, input_shape: Any) -> None:
        """ValueError, naming a padding that fits, if a remainder is left at the border."""
        win = self.window_on(input_shape)
        if self.padding != "same":
            require_exact("WeightedAvgPool2d", tuple(input_shape)[1:], win)

    def reach(self) -> Reach:
        """The window and the stride."""
        return Reach(self.kernel_size, self.stride)

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return shown(self.kernel_size) + differing(
            ("stride", self.stride, self.kernel_size),
            ("padding", self.padding, 0),
            ("channels", self.channels, None),
            ("learned", isinstance(self.weight, Parameter), True),
        )
