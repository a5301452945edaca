"""2-D convolution as a layer."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import (
    Array,
    Padding,
    Pair,
    Window,
    check_padding_mode,
    floating,
    integer,
    pair,
    window,
)
from . import init as initial
from ._fit import require_exact
from .layer import Layer, Reach, differing, shown
from .parameter import Parameter

_ANY = (2**63, 2**63)  # an input that every window fits, to check the arguments by


class ConvContext(NamedTuple):
    """What the backward pass of a convolution needs."""

    x: Array


def image_shape(layer: str, input_shape: Any) -> tuple[int, int, int]:
    """`input_shape` as (C, H, W), or a ValueError that says what came."""
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise ValueError(
            f"{layer}: expected an input of shape (C, H, W), without the batch axis, got {shape}"
        )
    c, h, w = (integer(layer, "input_shape", n, 0) for n in shape)
    return c, h, w


def grouped(layer: str, in_channels: int, out_channels: int, groups: int) -> tuple[int, int, int]:
    """The three, or a ValueError unless both numbers of channels are multiples of the groups."""
    c = integer(layer, "in_channels", in_channels, 1)
    k = integer(layer, "out_channels", out_channels, 1)
    g = integer(layer, "groups", groups, 1)
    if c % g or k % g:
        raise ValueError(
            f"{layer}: expected in_channels and out_channels to be multiples of groups={g}, "
            f"got {c} and {k}"
        )
    return c, k, g


def _reordered(shape: tuple[int, ...], channels: int) -> str:
    """What makes (N, C, H, W) of x if its axes are others, as far as one can tell; else ""."""
    if len(shape) == 4 and shape[1] != channels == shape[3]:
        return "x.transpose(0, 3, 1, 2), channels first,"
    if len(shape) != 3:
        return ""
    if shape[0] != channels == shape[2]:
        return "x.transpose(2, 0, 1)[None], channels first, a batch of one,"
    if shape[0] != channels == 1:
        return "x[:, None]"
    return "x[None], a batch of one," if shape[0] == channels else ""


class Conv2d(Layer):
    """2-D convolution (cross-correlation, as all CNNs compute it).

    Parameters
    ----------
    in_channels, out_channels : int
        C and K; both multiples of `groups`.
    kernel_size, stride, dilation : int or (h, w)
    padding : int, (h, w), ((top, bottom), (left, right)), "valid" or "same"
    groups : int
        Output channels of each group see the input channels of that group alone.
    bias : bool
    padding_mode : "zeros" or "replicate"
    strict : bool
        An input that the windows do not use up, (H - KH + 2P) no multiple of the stride, is an
        error; else the rest at the border is not seen.
    init : Initializer
        For the weight, see `fastcnn.nn.init`; He by default. The bias starts at zero.
    seed : int, Generator or None
        None draws from the operating system.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter
        (K, C / groups, KH, KW)
    bias : Parameter or None
        (K,)

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If an argument is out of range, or `groups` does not divide both numbers of channels; when
        called, if x is not of shape (N, C, H, W), or too small, or, if `strict`, leaves a
        remainder.

    Notes
    -----
    x (N, C, H, W) gives y (N, K, OH, OW), OH = floor((H - KH + 2P) / S) + 1 at dilation 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> conv = nn.Conv2d(1, 6, 5, padding=2, seed=0)
    >>> conv
    Conv2d(1, 6, kernel_size=5, padding=2)
    >>> conv(np.zeros((8, 1, 28, 28), np.float32)).shape
    (8, 6, 28, 28)
    >>> nn.Conv2d(1, 1, 3, stride=3, strict=True).output_shape((1, 7, 7))
    Traceback (most recent call last):
        ...
    ValueError: Conv2d: the window leaves a remainder along H: (N - F + 2P)/S + 1 = (7 - 3 + 0)/3 + 1 = 2.33; padding=1 would fit and give 3x3
    """  # noqa: E501 - a message is one line

    gives_new = True
    takes_relu = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros", "replicate"] = "zeros",
        *,
        strict: bool = False,
        init: initial.Initializer | None = None,
        seed: initial.Seed = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.in_channels, self.out_channels, self.groups = grouped(
            "Conv2d", in_channels, out_channels, groups
        )
        self.kernel_size = pair("Conv2d", "kernel_size", kernel_size, 1)
        check_padding_mode("Conv2d", (), padding_mode)
        checked = window(
            "Conv2d", _ANY, kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        self.stride, self.dilation = checked.stride, checked.dilation
        self.padding = padding
        self.padding_mode = padding_mode
        self.strict = strict
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        rng = np.random.default_rng(seed)
        self.weight = Parameter((init or initial.he())(shape, rng).astype(dtype, copy=False))
        self.bias = Parameter(np.zeros(self.out_channels, dtype)) if bias else None

    def _options(self) -> dict[str, Any]:
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }

    def __call__(self, x: ArrayLike, *, relu: bool = False) -> Array:
        """y (N, K, OH, OW) of x (N, C, H, W), or ``max(y, 0)``."""
        return self._apply(self._input(x), relu)

    def _input(self, x: ArrayLike) -> Array:
        """x, checked; where axes are missing or in another order, the error says what would fit."""
        a = np.asarray(x)
        if a.ndim != 4 or a.shape[1] != self.in_channels:
            hint = _reordered(a.shape, self.in_channels)
            if hint:
                raise ValueError(
                    f"Conv2d: expected x of shape (N, {self.in_channels}, H, W), got "
                    f"x.shape={a.shape}; {hint} would fit"
                )
        return floating("Conv2d", "x", a, 4, self.weight.data.dtype, "the weights")

    def _apply(self, a: Array, relu: bool) -> Array:
        if self.strict:
            self.require_exact(a.shape[1:])
        b = None if self.bias is None else self.bias.data
        return ops.conv2d(a, self.weight.data, b, relu=relu, **self._options())

    def forward(self, x: ArrayLike, *, relu: bool = False) -> tuple[Array, ConvContext]:
        """y, or ``max(y, 0)``, and what backward needs: x itself.

        `backward` is that of y: with `relu`, its dy has to come through `ops.relu_backward`.
        """
        # contiguous here once, not again in backward
        a = self._input(x)
        return self._apply(a, relu), ConvContext(a)

    def backward(self, dy: ArrayLike, ctx: ConvContext, *, need_dx: bool = True) -> Array | None:
        """Gradients of weight and bias are added to theirs, that of x (N, C, H, W) is returned."""
        if self.trains():
            dw, db = ops.conv2d_backward_weight(
                dy, ctx.x, self.weight.data.shape, **self._options()
            )
            self.weight.add_grad(dw, fresh=True)
            if self.bias is not None:
                self.bias.add_grad(db, fresh=True)
        if not need_dx:
            return None
        return ops.conv2d_backward_input(dy, self.weight.data, ctx.x.shape, **self._options())

    def window_on(self, input_shape: Any) -> Window:
        """The window on an image, checked."""
        c, h, w = image_shape("Conv2d", input_shape)
        if c != self.in_channels:
            raise ValueError(
                f"Conv2d: expected {self.in_channels} input channels, got {c} in {(c, h, w)}; "
                f"Conv2d({c}, {self.out_channels}, ...) would fit"
            )
        return window(
            "Conv2d",
            (h, w),
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
        )

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(K, OH, OW) for (C, H, W)."""
        win = self.window_on(input_shape)
        if self.strict:
            self.require_exact(input_shape)
        return (self.out_channels, *win.out)

    def require_exact(self, input_shape: Any) -> None:
        """ValueError, naming a padding that fits, if a remainder is left at the border."""
        win = self.window_on(input_shape)
        if self.padding != "same":
            require_exact("Conv2d", tuple(input_shape)[1:], win)

    def multiply_adds(self, input_shape: Any) -> int:
        """K * C / groups * KH * KW for each output pixel."""
        oh, ow = self.window_on(input_shape).out
        return self.weight.data.size * oh * ow

    def reach(self) -> Reach:
        """The dilated kernel and the stride."""
        kh, kw = self.kernel_size
        dh, dw = self.dilation
        return Reach(((kh - 1) * dh + 1, (kw - 1) * dw + 1), self.stride)

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={shown(self.kernel_size)}"
        return text + differing(
            ("stride", self.stride, (1, 1)),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, (1, 1)),
            ("groups", self.groups, 1),
            ("padding_mode", self.padding_mode, "zeros"),
            ("strict", self.strict, False),
            ("bias", self.bias is not None, True),
        )
