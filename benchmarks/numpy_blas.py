"""The operations in plain NumPy, written as well as NumPy allows: strided windows and BLAS.

This is the baseline that a careful NumPy user has: im2col as a strided view, copied once a block of
images into columns that a matmul (BLAS) reduces, and col2im as KH*KW strided additions; pooling as
one strided view of all windows per window element.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from .shapes import Conv, Pool

_COLUMN_BYTES = 32 << 20  # columns of one block of images; more only costs page faults


def pad(layer: Conv, x: NDArray) -> NDArray:
    """The images with the layer's borders."""
    (ph, pw), mode = layer.padding, "edge" if layer.padding_mode == "replicate" else "constant"
    return np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), mode) if ph or pw else x


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
        columns = im2col(layer, pad(layer, x[block]))
        np.matmul(_grouped(layer, w), columns, out=y[block])
    y = y.reshape(layer.y_shape)
    y += b[:, None, None]
    return y


def col2im(layer: Conv, columns: NDArray) -> NDArray:
    """The adjoint of pad and im2col: (n, C*KH*KW, OH*OW) summed onto (n, C, H, W)."""
    (ph, pw), s, d = layer.padding, layer.stride, layer.dilation
    columns = columns.reshape(-1, layer.C, layer.KH, layer.KW, layer.OH, layer.OW)
    x = np.zeros((len(columns), layer.C, layer.H + 2 * ph, layer.W + 2 * pw), columns.dtype)
    for i, j in product(range(layer.KH), range(layer.KW)):
        rows = slice(i * d, i * d + s * (layer.OH - 1) + 1, s)
        cols = slice(j * d, j * d + s * (layer.OW - 1) + 1, s)
        x[:, :, rows, cols] += columns[:, :, i, j]
    return x[:, :, ph : ph + layer.H, pw : pw + layer.W]


def conv2d_backward_input(layer: Conv, dy: NDArray, w: NDArray) -> NDArray:
    """dx (N, C, H, W)."""
    if layer.padding_mode == "replicate":
        return fold(layer, conv2d_backward_input(layer.padded, dy, w))
    dy = dy.reshape(layer.N, layer.groups, layer.K // layer.groups, -1)
    dx = np.empty(layer.x_shape, dy.dtype)
    for block in _blocks(layer, dy.itemsize):
        dx[block] = col2im(layer, np.matmul(_grouped(layer, w).swapaxes(1, 2), dy[block]))
    return dx


def fold(layer: Conv, padded: NDArray) -> NDArray:
    """The way back through replicate padding: the border's gradients go to the pixels it copied."""
    (ph, pw), h, w = layer.padding, layer.H, layer.W
    rows = padded[:, :, ph : ph + h]
    rows[:, :, 0] += padded[:, :, :ph].sum(2)
    rows[:, :, -1] += padded[:, :, ph + h :].sum(2)
    image = rows[:, :, :, pw : pw + w]
    image[:, :, :, 0] += rows[:, :, :, :pw].sum(3)
    image[:, :, :, -1] += rows[:, :, :, pw + w :].sum(3)
    return image


def conv2d_backward_weight(layer: Conv, dy: NDArray, x: NDArray) -> tuple[NDArray, NDArray]:
    """(dw (K, C/groups, KH, KW), db (K,))."""
    grouped = dy.reshape(layer.N, layer.groups, layer.K // layer.groups, -1)
    dw: NDArray | float = 0.0
    for block in _blocks(layer, x.itemsize):
        columns = im2col(layer, pad(layer, x[block]))
        dw = dw + np.matmul(grouped[block], columns.swapaxes(2, 3)).sum(axis=0)
    return np.reshape(dw, layer.w_shape), dy.sum(axis=(0, 2, 3))


def _elements(layer: Pool) -> list[tuple[int, int, slice, slice]]:
    """For each window element (i, j): the rows and columns that it meets in the padded image."""
    _, _, oh, ow = layer.y_shape
    s = layer.stride
    return [
        (i, j, slice(i, i + s * (oh - 1) + 1, s), slice(j, j + s * (ow - 1) + 1, s))
        for i, j in product(range(layer.kernel), repeat=2)
    ]


def _pad_pool(layer: Pool, x: NDArray, value: float) -> NDArray:
    p = layer.padding
    return np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=value) if p else x


def max_pool2d(layer: Pool, x: NDArray) -> tuple[NDArray, NDArray]:
    """y, and int32 h*W + w of each first maximum in its plane."""
    padded = _pad_pool(layer, x, -np.inf)
    y = np.full(layer.y_shape, -np.inf, x.dtype)
    element = np.zeros(layer.y_shape, np.int32)
    for i, j, rows, cols in _elements(layer):
        value = padded[:, :, rows, cols]
        larger = value > y
        np.copyto(y, value, where=larger)
        np.copyto(element, i * layer.W + j, where=larger)
    _, _, oh, ow = layer.y_shape
    row = np.arange(oh, dtype=np.int32)[:, None] * layer.stride - layer.padding
    col = np.arange(ow, dtype=np.int32) * layer.stride - layer.padding
    element += row * layer.W + col
    return y, element


def max_pool2d_backward(layer: Pool, dy: NDArray, indices: NDArray) -> NDArray:
    """dx: a scatter of dy to the indices, overlaps summed."""
    planes, size = layer.N * layer.C, layer.H * layer.W
    at = indices.reshape(planes, -1) + np.arange(planes)[:, None] * size
    dx = np.bincount(at.ravel(), dy.ravel(), planes * size)
    return dx.astype(dy.dtype).reshape(layer.x_shape)


def avg_pool2d(layer: Pool, x: NDArray) -> NDArray:
    """y; padding counts in the divisor."""
    padded = _pad_pool(layer, x, 0.0)
    y = np.zeros(layer.y_shape, x.dtype)
    for _, _, rows, cols in _elements(layer):
        y += padded[:, :, rows, cols]
    y /= layer.kernel**2
    return y


def avg_pool2d_backward(layer: Pool, dy: NDArray) -> NDArray:
    """dx: each gradient shared out evenly over its window."""
    p = layer.padding
    dx = np.zeros((layer.N, layer.C, layer.H + 2 * p, layer.W + 2 * p), dy.dtype)
    share = dy / layer.kernel**2
    for _, _, rows, cols in _elements(layer):
        dx[:, :, rows, cols] += share
    return dx[:, :, p : p + layer.H, p : p + layer.W]
