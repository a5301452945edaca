"""Convolution as the lectures teach it: windows as columns, then one matrix product an image."""

from .. import _kernels
from .._checks import Array, Window, empty
from .._config import get_num_threads
from ._conv_desc import AUTO, describe
from ._gemm import gemm


class Im2col:
    """The taught formulation, one image at a time, so that one image's columns are all it holds.

    With groups, the rows of the columns, like the channels they come from, fall into groups.
    """

    def __init__(self, x_shape: tuple[int, ...], w_shape: tuple[int, ...], like: Array, groups: int,
                 win: Window, padding_mode: str) -> None:  # fmt: skip
        one = (1, *x_shape[1:])
        self.desc = describe("im2col", like.dtype, one, w_shape, win, groups, padding_mode, AUTO)
        rows = x_shape[1] * win.kernel[0] * win.kernel[1]
        self.cols = empty("im2col", (groups, rows // groups, win.out[0] * win.out[1]), like.dtype)

    def columns(self, x: Array) -> Array:
        """(G, C / G * KH * KW, OH * OW) of one image (C, H, W)."""
        _kernels.im2col(self.desc, x, self.cols, get_num_threads())
        return self.cols

    def forward(self, x: Array, w: Array, b: Array | None, y: Array) -> None:
        groups, rows = self.cols.shape[:2]
        wg = w.reshape(groups, -1, rows)
        for n in range(len(x)):
            cols, yg = self.columns(x[n]), y[n].reshape(groups, wg.shape[1], -1)
            for g in range(groups):
                gemm(wg[g], cols[g], out=yg[g])
        if b is not None:
            y += b[:, None, None]

    def backward_input(self, dy: Array, w: Array, dx: Array) -> None:
        groups, rows = self.cols.shape[:2]
        wg = w.reshape(groups, -1, rows)
        for n in range(len(dy)):
            dyg = dy[n].reshape(groups, wg.shape[1], -1)
            for g in range(groups):
                gemm(wg[g], dyg[g], trans_a=True, out=self.cols[g])
            _kernels.col2im(self.desc, self.cols, dx[n], get_num_threads())

    def backward_weight(self, dy: Array, x: Array, dw: Array, db: Array) -> None:
        groups, rows = self.cols.shape[:2]
        dwg = dw.reshape(groups, -1, rows)
        dwg[...] = 0
        for n in range(len(x)):
            cols, dyg = self.columns(x[n]), dy[n].reshape(groups, dwg.shape[1], -1)
            for g in range(groups):
                gemm(dyg[g], cols[g], trans_b=True, out=dwg[g], accumulate=True)
        _kernels.channel_sums(dy, db, get_num_threads())
