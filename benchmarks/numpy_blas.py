"""The operations in plain NumPy, written as well as NumPy allows: strided windows and BLAS.

This is the baseline that a careful NumPy user has: im2col as a strided view, copied once a block of
images into columns that a matmul (BLAS) reduces, and col2im as KH*KW strided additions. It works in
the dtype of its inputs, so in float64 it is also the yardstick for layers that are too big for the
naive reference.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .shapes import Conv

_COLUMN_BYTES = 32 << 20  # columns of one block of images; more only costs page faults


def _pad(x: NDArray, ph: int, pw: int) -> NDArray:
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw))) if ph or pw else x


def _blocks(layer: Conv, itemsize: int) -> Iterator[slice]:
    """Slices of images whose columns fill about `_COLUMN_BYTES`."""
    one = layer.C * layer.KH * layer.KW * layer.OH * layer.OW * itemsize
    step = max(1, _COLUMN_BYTES // one)
    for start in range(0, layer.N, step):
        yield slice(start, min(start + step, layer.N))


def im2col(layer: Conv, padded: NDArray) -> NDArray:
    """Columns of an already padded (n, C, H, W): (n, groups, C/groups*KH*KW, OH*OW), a copy."""
    n = padded.shape[0]
    c = layer.C // layer.groups
    sn, sc, sh, sw = padded.strides
    windows = as_strided(
        padded,
        (n, layer.groups, c, layer.KH, layer.KW, layer.OH, layer.OW),
        (
            sn, sc * c, sc, sh * layer.dilation, sw * layer.dilation,
            sh * layer.stride, sw * layer.stride,
        ),
        writeable=False,
    )  # fmt: skip
    return windows.reshape(n, layer.groups, c * layer.KH * layer.KW, layer.OH * layer.OW)


def _grouped(layer: Conv, w: NDArray) -> NDArray:
    """Weights as (groups, K/groups, C/groups*KH*KW)."""
    return w.reshape(layer.groups, layer.K // layer.groups, -1)


def conv2d(layer: Conv, x: NDArray, w: NDArray, b: NDArray) -> NDArray:
    """y (N, K, OH, OW)."""
    y = np.empty((layer.N, layer.groups, layer.K // layer.groups, layer.OH * layer.OW), x.dtype)
    for block in _blocks(layer, x.itemsize):
        columns = im2col(layer, _pad(x[block], *layer.padding))
        np.matmul(_grouped(layer, w), columns, out=y[block])
    y = y.reshape(layer.y_shape)
    y += b[:, None, None]
    return y


def conv2d_backward_input(layer: Conv, dy: NDArray, w: NDArray) -> NDArray:
    """dx (N, C, H, W)."""
    (ph, pw), s, d = layer.padding, layer.stride, layer.dilation
    dy = dy.reshape(layer.N, layer.groups, layer.K // layer.groups, -1)
    dx = np.zeros((layer.N, layer.C, layer.H + 2 * ph, layer.W + 2 * pw), dy.dtype)
    for block in _blocks(layer, dy.itemsize):
        columns = np.matmul(_grouped(layer, w).swapaxes(1, 2), dy[block])
        columns = columns.reshape(-1, layer.C, layer.KH, layer.KW, layer.OH, layer.OW)
        for i in range(layer.KH):
            for j in range(layer.KW):
                rows = slice(i * d, i * d + s * (layer.OH - 1) + 1, s)
                cols = slice(j * d, j * d + s * (layer.OW - 1) + 1, s)
                dx[block, :, rows, cols] += columns[:, :, i, j]
    return dx[:, :, ph : ph + layer.H, pw : pw + layer.W]


def conv2d_backward_weight(layer: Conv, dy: NDArray, x: NDArray) -> tuple[NDArray, NDArray]:
    """(dw (K, C/groups, KH, KW), db (K,))."""
    grouped = dy.reshape(layer.N, layer.groups, layer.K // layer.groups, -1)
    dw: NDArray | float = 0.0
    for block in _blocks(layer, x.itemsize):
        columns = im2col(layer, _pad(x[block], *layer.padding))
        dw = dw + np.matmul(grouped[block], columns.swapaxes(2, 3)).sum(axis=0)
    return np.reshape(dw, layer.w_shape), dy.sum(axis=(0, 2, 3))
