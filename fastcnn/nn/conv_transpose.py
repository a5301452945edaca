"""Transposed 2-D convolution as a layer: learned upsampling."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import Array, Padding, Pair, conv_transpose_size, floating, pair
from . import init as initial
from .conv import ConvContext, grouped, image_shape
from .layer import Layer, Reach, differing, shown
from .parameter import Parameter


class ConvTranspose2d(Layer):
    """Transposed 2-D convolution: each pixel spreads over its window, overlaps are summed.

    The exact adjoint of `Conv2d` with the same arguments: what that does backward, this does
    forward. With a stride it enlarges its input, as decoders and segmentation nets need it.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K; both multiples of `groups`.
    kernel_size, stride, dilation : int or (h, w)
    padding : int, (h, w) or ((top, bottom), (left, right))
        Pixels cut off around the output.
    output_padding : int or (h, w)
        Pixels more at the bottom and at the right, less than `stride`.
    groups : int
        Output channels of each group see the input channels of that group alone.
    bias : bool
    init : Initializer
        For the weight, see `fastcnn.nn.init`; by default He's for the C * KH * KW numbers that a
        pixel at stride 1 is summed from. `nn.init.bilinear()` starts it as an enlargement. The
        bias starts at zero.
    seed : int, Generator or None
        None draws from the operating system.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter
        (C, K / groups, KH, KW)
    bias : Parameter or None
        (K,)

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If an argument is out of range, `groups` does not divide both numbers of channels, or
        `output_padding` is not less than the stride; when called, if x is not of shape (N, C, H,
        W), or `padding` leaves nothing of the output.

    Notes
    -----
    x (N, C, H, W) gives y (N, K, OH, OW),
    OH = (H - 1) * S - 2P + (KH - 1) * D + 1 + output_padding.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1, seed=0)
    >>> up
    ConvTranspose2d(16, 8, kernel_size=4, stride=2, padding=1)
    >>> up(np.zeros((2, 16, 7, 7), np.float32)).shape
    (2, 8, 14, 14)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
        *,
        init: initial.Initializer | None = None,
        seed: initial.Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        op = "ConvTranspose2d"
        self.in_channels, self.out_channels, self.groups = grouped(
            op, in_channels, out_channels, groups
        )
        self.kernel_size = pair(op, "kernel_size", kernel_size, 1)
        self.stride = pair(op, "stride", stride, 1)
        self.padding = padding
        self.output_padding = pair(op, "output_padding", output_padding, 0)
        self.dilation = pair(op, "dilation", dilation, 1)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        self._size(op, (0, self.in_channels, 2**31, 2**31), shape)  # an input that all fits
        rng = np.random.default_rng(seed)
        start = init or initial.he(mode="fan_out")  # of the convolution whose adjoint this is
        self.weight = Parameter(start(shape, rng).astype(dtype, copy=False))
        self.bias = Parameter(np.zeros(self.out_channels, dtype)) if bias else None

    def _size(self, op: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...]) -> tuple[int, int]:
        return conv_transpose_size(
            op, x_shape, w_shape, self.stride, self.padding, self.output_padding, self.dilation,
            self.groups,
        )  # fmt: skip

    def _options(self) -> dict[str, Any]:
        """What the three passes share."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "groups": self.groups,
            "dilation": self.dilation,
        }

    def forward(self, x: ArrayLike) -> tuple[Array, ConvContext]:
        """y (N, K, OH, OW) and what backward needs: x itself."""
        a = floating("ConvTranspose2d", "x", x, 4, self.weight.data.dtype, "the weights")
        y = ops.conv_transpose2d(
            a,
            self.weight.data,
            None if self.bias is None else self.bias.data,
            output_padding=self.output_padding,
            **self._options(),
        )
        return y, ConvContext(a)

    def backward(self, dy: ArrayLike, ctx: ConvContext, *, need_dx: bool = True) -> Array | None:
        """Gradients of weight and bias are added to theirs, that of x (N, C, H, W) is returned."""
        if self.trains():
            dw, db = ops.conv_transpose2d_backward_weight(
                dy, ctx.x, self.weight.data.shape, **self._options()
            )
            self.weight.add_grad(dw, fresh=True)
            if self.bias is not None:
                self.bias.add_grad(db, fresh=True)
        if not need_dx:
            return None
        return ops.conv_transpose2d_backward_input(dy, self.weight.data, **self._options())

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(K, OH, OW) for (C, H, W)."""
        c, h, w = image_shape("ConvTranspose2d", input_shape)
        if c != self.in_channels:
            raise ValueError(
                f"ConvTranspose2d: expected {self.in_channels} input channels, got {c} in "
                f"{(c, h, w)}; ConvTranspose2d({c}, {self.out_channels}, ...) would fit"
            )
        size = self._size("ConvTranspose2d", (0, c, h, w), self.weight.data.shape)
        return (self.out_channels, *size)

    def multiply_adds(self, input_shape: Any) -> int:
        """K / groups * KH * KW for each number of the input; what is cut off is counted."""
        _, h, w = input_shape
        return self.weight.data.size * h * w

    def reach(self) -> Reach:
        """The input pixels whose windows meet in one of the output, and 1 / stride."""
        from fractions import Fraction

        (kh, kw), (dh, dw), (sh, sw) = self.kernel_size, self.dilation, self.stride
        size = ((kh - 1) * dh // sh + 1, (kw - 1) * dw // sw + 1)
        return Reach(size, (Fraction(1, sh), Fraction(1, sw)))

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={shown(self.kernel_size)}"
        return text + differing(
            ("stride", self.stride, (1, 1)),
            ("padding", self.padding, 0),
            ("output_padding", self.output_padding, (0, 0)),
            ("groups", self.groups, 1),
            ("dilation", self.dilation, (1, 1)),
            ("bias", self.bias is not None, True),
        )
