"""Max and average pooling of rows as layers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import ops
from .._checks import Array, Window, pool_window, row_options, single
from ._fit import require_exact
from .conv1d import row_shape
from .layer import Layer, Reach, differing
from .pooling import AvgPoolContext, MaxPoolContext


class _Pool1d(Layer):
    """Window, shapes and repr of the two."""

    def __init__(
        self, kernel_size: int, stride: int | None, padding: Any, dilation: int, ceil_mode: bool
    ) -> None:
        kind = type(self).__name__
        self.kernel_size = single(kind, "kernel_size", kernel_size, 1)
        step = self.kernel_size if stride is None else stride
        (_, self.stride), _, (_, self.dilation) = row_options(kind, step, padding, dilation)
        self.padding = padding
        self.ceil_mode = bool(ceil_mode)
        self.window_on((1, 2**63))

    def _options(self) -> dict[str, Any]:
        return {"stride": self.stride, "padding": self.padding, "ceil_mode": self.ceil_mode}

    def window_on(self, input_shape: Any) -> Window:
        """The window on a row, as one on an image one pixel high."""
        kind = type(self).__name__
        step, sides, dil = row_options(kind, self.stride, self.padding, self.dilation)
        return pool_window(
            kind, (1, input_shape[1]), (1, self.kernel_size),
            stride=step, padding=sides, dilation=dil, ceil_mode=self.ceil_mode,
        )  # fmt: skip

    def output_shape(self, input_shape: Any) -> tuple[int, int]:
        """(C, OL) for (C, L)."""
        shape = row_shape(type(self).__name__, input_shape)
        return (shape[0], self.window_on(shape).out[1])

    def require_exact(self, input_shape: Any) -> None:
        """ValueError, naming a padding that fits, if a remainder is left at the end."""
        shape = row_shape(type(self).__name__, input_shape)
        win = self.window_on(shape)
        if not self.ceil_mode and self.padding != "same":
            half = (0, self.kernel_size // 2)
            require_exact(type(self).__name__, (1, shape[1]), win, half)

    def reach(self) -> Reach:
        """The dilated window and the stride."""
        return Reach((1, (self.kernel_size - 1) * self.dilation + 1), (1, self.stride))

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return str(self.kernel_size) + differing(
            ("stride", self.stride, self.kernel_size),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
            ("ceil_mode", self.ceil_mode, False),
        )


class MaxPool1d(_Pool1d):
    """Largest element of each window of a row.

    NaN in a window gives NaN, a tie goes to the first element, padding is never the maximum.

    Parameters
    ----------
    kernel_size, dilation : int
    stride : int, optional
        `kernel_size` by default: windows side by side.
    padding : int or (left, right)
        At most half the kernel.
    ceil_mode : bool
        Round the output length up, so that elements left over at the end get a window too.

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        If an argument is out of range; when called, if x is not of shape (N, C, L), or too small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.MaxPool1d(2)(np.array([[[1, 5, 7, 3]]], np.float32))
    array([[[5., 7.]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: Any = 0,
        dilation: int = 1,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)

    def forward(self, x: ArrayLike) -> tuple[Array, MaxPoolContext]:
        """y (N, C, OL) and where each maximum came from."""
        a = np.asarray(x)
        y, indices = ops.max_pool1d(a, self.kernel_size, **self._options(), dilation=self.dilation)
        return y, MaxPoolContext(indices, a.shape)

    def backward(self, dy: ArrayLike, ctx: MaxPoolContext, *, need_dx: bool = True) -> Array | None:
        """dx (N, C, L): each dy goes to its maximum, overlaps are summed."""
        if not need_dx:
            return None
        options = {**self._options(), "dilation": self.dilation}
        return ops.max_pool1d_backward(
            dy, ctx.indices, ctx.input_shape, self.kernel_size, **options
        )


class AvgPool1d(_Pool1d):
    """Mean of each window of a row.

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        `kernel_size` by default: windows side by side.
    padding : int or (left, right)
        At most half the kernel.
    ceil_mode : bool
        Round the output length up, so that elements left over at the end get a window too.
    count_include_pad : bool
        Whether padded zeros count in the divisor.

    Raises
    ------
    TypeError
        When called, if x is not float32 or float64.
    ValueError
        If an argument is out of range; when called, if x is not of shape (N, C, L), or too small.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.AvgPool1d(2)(np.array([[[1, 5, 7, 3]]], np.float32))
    array([[[3., 5.]]], dtype=float32)
    """

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: ArrayLike) -> tuple[Array, AvgPoolContext]:
        """y (N, C, OL); backward needs the shape of x alone."""
        a = np.asarray(x)
        y = ops.avg_pool1d(
            a, self.kernel_size, **self._options(), count_include_pad=self.count_include_pad
        )
        return y, AvgPoolContext(a.shape)

    def backward(self, dy: ArrayLike, ctx: AvgPoolContext, *, need_dx: bool = True) -> Array | None:
        """dx (N, C, L): each dy is shared out evenly over its window."""
        if not need_dx:
            return None
        options = {**self._options(), "count_include_pad": self.count_include_pad}
        return ops.avg_pool1d_backward(dy, ctx.input_shape, self.kernel_size, **options)

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return super().extra_repr() + differing(("count_include_pad", self.count_include_pad, True))
