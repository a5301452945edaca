"""Max, average and global average pooling as layers."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, Padding, Pair, Window, pool_window
from ._fit import require_exact
from .conv import image_shape
from .layer import Layer, Reach, differing, shown

_ANY = (2**63, 2**63)  # an input that every window fits, to check the arguments by


class MaxPoolContext(NamedTuple):
    """What the backward pass of max pooling needs."""

    indices: Array
    input_shape: tuple[int, ...]


class AvgPoolContext(NamedTuple):
    """What the backward pass of average pooling needs."""

    input_shape: tuple[int, ...]


class _Pool2d(Layer):
    """Window, shapes and repr of the two sliding pools."""

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None,
        padding: Padding,
        dilation: Pair,
        ceil_mode: bool,
    ) -> None:
        self.padding = padding
        self.ceil_mode = bool(ceil_mode)
        checked = pool_window(
            type(self).__name__,
            _ANY,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=self.ceil_mode,
        )
        self.kernel_size, self.stride = checked.kernel, checked.stride
        self.dilation = checked.dilation

    def window_on(self, input_shape: Any) -> Window:
        """The window on an image, checked."""
        _, h, w = image_shape(type(self).__name__, input_shape)
        return pool_window(
            type(self).__name__,
            (h, w),
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, OH, OW) for (C, H, W)."""
        c, _, _ = image_shape(type(self).__name__, input_shape)
        return (c, *self.window_on(input_shape).out)

    def require_exact(self, input_shape: Any) -> None:
        """ValueError, naming a padding that fits, if a remainder is left at the border."""
        win = self.window_on(input_shape)
        if not self.ceil_mode and self.padding != "same":
            half = (win.kernel[0] // 2, win.kernel[1] // 2)
            require_exact(type(self).__name__, tuple(input_shape)[1:], win, half)

    def reach(self) -> Reach:
        """The dilated window and the stride."""
        kh, kw = self.kernel_size
        dh, dw = self.dilation
        return Reach(((kh - 1) * dh + 1, (kw - 1) * dw + 1), self.stride)

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return shown(self.kernel_size) + differing(
            ("stride", self.stride, self.kernel_size),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, (1, 1)),
            ("ceil_mode", self.ceil_mode, False),
        )


class MaxPool2d(_Pool2d):
    """Largest element of each window.

    NaN in a window gives NaN, a tie goes to the first element, padding is never the maximum.

    Parameters
    ----------
    kernel_size, dilation : int or (h, w)
    stride : int or (h, w), optional
        `kernel_size` by default: windows side by side.
    padding : int or (h, w)
        At most half the kernel.
    ceil_mode : bool
        Round the output size up, so that elements left over at the border get a window too.

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        If an argument is out of range; when called, if x is not of shape (N, C, H, W), or too
        small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.MaxPool2d(2)(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]], dtype=float32)
    """

    gives_new = True

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        dilation: Pair = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)

    def forward(self, x: ArrayLike) -> tuple[Array, MaxPoolContext]:
        """y (N, C, OH, OW) and where each maximum came from."""
        a = np.asarray(x)
        y, indices = ops.max_pool2d(
            a, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )
        return y, MaxPoolContext(indices, a.shape)

    def backward(self, dy: ArrayLike, ctx: MaxPoolContext, *, need_dx: bool = True) -> Array | None:
        """dx (N, C, H, W): each dy goes to its maximum, overlaps are summed."""
        if not need_dx:
            return None
        return ops.max_pool2d_backward(
            dy,
            ctx.indices,
            ctx.input_shape,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
        )


class AvgPool2d(_Pool2d):
    """Mean of each window.

    Parameters
    ----------
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        `kernel_size` by default: windows side by side.
    padding : int or (h, w)
        At most half the kernel.
    ceil_mode : bool
        Round the output size up, so that elements left over at the border get a window too.
    count_include_pad : bool
        Whether padded zeros count in the divisor.

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        If an argument is out of range; when called, if x is not of shape (N, C, H, W), or too
        small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.AvgPool2d(2)(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]], dtype=float32)
    """

    gives_new = True

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: ArrayLike) -> tuple[Array, AvgPoolContext]:
        """y (N, C, OH, OW); backward needs the shape of x alone."""
        a = np.asarray(x)
        y = ops.avg_pool2d(
            a, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )
        return y, AvgPoolContext(a.shape)

    def backward(self, dy: ArrayLike, ctx: AvgPoolContext, *, need_dx: bool = True) -> Array | None:
        """dx (N, C, H, W): each dy is shared out evenly over its window."""
        if not need_dx:
            return None
        return ops.avg_pool2d_backward(
            dy,
            ctx.input_shape,
            self.kernel_size,
            stride=self.stride,
            padding=self.padding,
            ceil_mode=self.ceil_mode,
            count_include_pad=self.count_include_pad,
        )

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return super().extra_repr() + differing(("count_include_pad", self.count_include_pad, True))


class GlobalAvgPool2d(Layer):
    """Mean of each map: (N, C, H, W) to (N, C, 1, 1), whatever the size of the image.

    Source: Lin, Chen and Yan, "Network in network", ICLR 2014, section 3.2.

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        When called, if x is not of shape (N, C, H, W), or has no pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.GlobalAvgPool2d()(np.arange(8, dtype=np.float32).reshape(1, 2, 2, 2)).ravel()
    array([1.5, 5.5], dtype=float32)
    """

    def forward(self, x: ArrayLike) -> tuple[Array, AvgPoolContext]:
        """y (N, C, 1, 1); backward needs the shape of x alone."""
        a = np.asarray(x)
        return ops.global_avg_pool2d(a), AvgPoolContext(a.shape)

    def backward(self, dy: ArrayLike, ctx: AvgPoolContext, *, need_dx: bool = True) -> Array | None:
        """dx (N, C, H, W): each dy is shared out evenly over its map."""
        return ops.global_avg_pool2d_backward(dy, ctx.input_shape) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, 1, 1) for (C, H, W)."""
        return (image_shape("GlobalAvgPool2d", input_shape)[0], 1, 1)

    def reach(self) -> None:
        """All of the map."""
