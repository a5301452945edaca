"""1-D convolution as a layer, and what the 1-D layers share."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import (
    Array,
    Window,
    check_padding_mode,
    floating,
    integer,
    row_options,
    single,
    window,
)
from . import init as initial
from ._fit import require_exact
from .conv import ConvContext, grouped
from .layer import Layer, Reach, differing
from .parameter import Parameter


def row_shape(layer: str, input_shape: Any) -> tuple[int, int]:
    """`input_shape` as (C, L), or a ValueError that says what came."""
    shape = tuple(input_shape)
    if len(shape) != 2:
        raise ValueError(
            f"{layer}: expected an input of shape (C, L), without the batch axis, got {shape}"
        )
    c, length = (integer(layer, "input_shape", n, 0) for n in shape)
    return c, length


class Conv1d(Layer):
    """1-D convolution (cross-correlation) along rows, such as sound or the words of a sentence.

    Parameters
    ----------
    in_channels, out_channels : int
        C and K; both multiples of `groups`.
    kernel_size, stride, dilation : int
    padding : int, (left, right), "valid" or "same"
    groups : int
        Output channels of each group see the input channels of that group alone.
    bias : bool
    padding_mode : "zeros" or "replicate"
    strict : bool
        An input that the windows do not use up is an error; else the rest is not seen.
    init : Initializer
        For the weight, see `fastcnn.nn.init`; He by default. The bias starts at zero.
    seed : int, Generator or None
        None draws from the operating system.
    dtype : float32 or float64

    Attributes
    ----------
    weight : Parameter
        (K, C / groups, KL)
    bias : Parameter or None
        (K,)

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If an argument is out of range, or `groups` does not divide both numbers of channels; when
        called, if x is not of shape (N, C, L), or too small, or, if `strict`, leaves a remainder.

    Notes
    -----
    x (N, C, L) gives y (N, K, OL), OL = floor((L - KL + 2P) / S) + 1 at dilation 1.

    Examples
    --------
    The weights are shared along the row: three of them, however long it is.

    >>> import numpy as np
    >>> from fastcnn import nn
    >>> conv = nn.Conv1d(1, 1, 3, bias=False, seed=0)
    >>> conv.num_parameters(), conv(np.zeros((8, 1, 100), np.float32)).shape
    (3, (8, 1, 98))
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: Any = 0,
        dilation: int = 1,
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
            "Conv1d", in_channels, out_channels, groups
        )
        self.kernel_size = single("Conv1d", "kernel_size", kernel_size, 1)
        check_padding_mode("Conv1d", (), padding_mode)
        (_, self.stride), _, (_, self.dilation) = row_options("Conv1d", stride, padding, dilation)
        self.padding = padding
        self.padding_mode = padding_mode
        self.strict = strict
        self._row(2**63)
        shape = (self.out_channels, self.in_channels // self.groups, self.kernel_size)
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

    def __call__(self, x: ArrayLike) -> Array:
        """y (N, K, OL) of x (N, C, L)."""
        return self._apply(floating("Conv1d", "x", x, 3, self.weight.data.dtype, "the weights"))

    def _apply(self, a: Array) -> Array:
        if self.strict:
            self.require_exact(a.shape[1:])
        b = None if self.bias is None else self.bias.data
        return ops.conv1d(a, self.weight.data, b, **self._options())

    def forward(self, x: ArrayLike) -> tuple[Array, ConvContext]:
        """y and what backward needs: x itself."""
        a = floating("Conv1d", "x", x, 3, self.weight.data.dtype, "the weights")
        return self._apply(a), ConvContext(a)

    def backward(self, dy: ArrayLike, ctx: ConvContext, *, need_dx: bool = True) -> Array | None:
        """Gradients of weight and bias are added to theirs, that of x (N, C, L) is returned."""
        if self.trains():
            shape = self.weight.data.shape
            dw, db = ops.conv1d_backward_weight(dy, ctx.x, shape, **self._options())
            self.weight.add_grad(dw, fresh=True)
            if self.bias is not None:
                self.bias.add_grad(db, fresh=True)
        if not need_dx:
            return None
        return ops.conv1d_backward_input(dy, self.weight.data, ctx.x.shape, **self._options())

    def _row(self, length: int) -> Window:
        """The window on a row, as one on an image one pixel high."""
        step, sides, dil = row_options("Conv1d", self.stride, self.padding, self.dilation)
        size, kernel = (1, length), (1, self.kernel_size)
        return window("Conv1d", size, kernel, stride=step, padding=sides, dilation=dil)

    def window_on(self, input_shape: Any) -> Window:
        """The window on a row, checked: one on an image one pixel high."""
        c, length = row_shape("Conv1d", input_shape)
        if c != self.in_channels:
            raise ValueError(
                f"Conv1d: expected {self.in_channels} input channels, got {c} in {(c, length)}; "
                f"Conv1d({c}, {self.out_channels}, ...) would fit"
            )
        return self._row(length)

    def output_shape(self, input_shape: Any) -> tuple[int, int]:
        """(K, OL) for (C, L)."""
        win = self.window_on(input_shape)
        if self.strict:
            self.require_exact(input_shape)
        return (self.out_channels, win.out[1])

    def require_exact(self, input_shape: Any) -> None:
        """ValueError, naming a padding that fits, if a remainder is left at the end."""
        win = self.window_on(input_shape)
        if self.padding != "same":
            require_exact("Conv1d", (1, tuple(input_shape)[1]), win)

    def multiply_adds(self, input_shape: Any) -> int:
        """K * C / groups * KL for each output element."""
        return self.weight.data.size * self.window_on(input_shape).out[1]

    def reach(self) -> Reach:
        """The dilated kernel and the stride."""
        return Reach((1, (self.kernel_size - 1) * self.dilation + 1), (1, self.stride))

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        return text + differing(
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
            ("groups", self.groups, 1),
            ("padding_mode", self.padding_mode, "zeros"),
            ("strict", self.strict, False),
            ("bias", self.bias is not None, True),
        )
