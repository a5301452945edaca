"""The 1-D layers: their shapes are those of 2-D ones on images one pixel high."""

from typing import Any

import numpy as np

from . import numpy_blas
from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Conv, Pool


def _flat(a: Any) -> Any:
    """(N, C, 1, L) as (N, C, L), of one array or of several."""
    return tuple(_flat(b) for b in a) if isinstance(a, tuple) else a[:, :, 0] if a.ndim == 4 else a


class Conv1dCase(Case):
    """One pass over a convolution of rows; data is x, w, b, dy."""

    layer: Conv
    layouts = ("torch",)

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        shapes = (layer.x_shape, layer.w_shape, (layer.K,), layer.y_shape)
        return tuple(_flat(rng.standard_normal(shape, np.float32)) for shape in shapes)

    def call(self, library: Any, x: Any, w: Any, b: Any, dy: Any) -> Any:
        layer = self.layer
        options = {
            "stride": layer.stride, "padding": layer.padding[1], "dilation": layer.dilation,
            "groups": layer.groups,
        }  # fmt: skip
        if self.wrt == "forward":
            return library.conv1d(x, w, b, **options)
        if self.wrt == "backward_input":
            return library.conv1d_backward_input(dy, w, x.shape, **options)
        return library.conv1d_backward_weight(dy, x, w.shape, **options)

    def numpy(self, x: Any, w: Any, b: Any, dy: Any) -> Any:
        x, w, dy = (a[:, :, None] for a in (x, w, dy))
        if self.wrt == "forward":
            return _flat(numpy_blas.conv2d(self.layer, x, w, b))
        if self.wrt == "backward_input":
            return _flat(numpy_blas.conv2d_backward_input(self.layer, dy, w))
        return _flat(numpy_blas.conv2d_backward_weight(self.layer, dy, x))

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, w, b, dy = tensors(self.data)
        layer = self.layer
        rest = ([layer.stride], [layer.padding[1]], [layer.dilation])
        if self.wrt == "forward":
            return Candidate(lambda: torch.conv1d(x, w, b, *rest, layer.groups), tensors_of)
        mask = [True, False, False] if self.wrt == "backward_input" else [False, True, True]
        return Candidate(
            lambda: torch.ops.aten.convolution_backward(
                dy, x, w, [layer.K], *rest, False, [0], layer.groups, mask
            ),
            tensors_of,
        )


class Pool1dCase(Case):
    """One pass over a pooling of rows; data is x, dy and, for max, the int32 indices of forward."""

    layer: Pool
    layouts = ("torch",)

    @property
    def bytes(self) -> int:
        return self.layer.bytes

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        n, c, _, length = layer.x_shape
        out = (length - layer.kernel) // layer.stride + 1
        x = rng.standard_normal((n, c, length), np.float32)
        dy = rng.standard_normal((n, c, out), np.float32)
        if layer.kind == "max" and self.wrt == "backward":
            best = self._windows(x).argmax(-1)
            return x, dy, (best + np.arange(out) * layer.stride).astype(np.int32)
        return x, dy

    def _windows(self, x: Any) -> Any:
        """(N, C, OL, kernel)."""
        view = np.lib.stride_tricks.sliding_window_view(x, self.layer.kernel, axis=2)
        return view[:, :, :: self.layer.stride]

    def call(self, library: Any, x: Any, dy: Any, indices: Any = None) -> Any:
        kernel, stride = self.layer.kernel, self.layer.stride
        if self.layer.kind == "avg":
            if self.wrt == "forward":
                return library.avg_pool1d(x, kernel, stride)
            return library.avg_pool1d_backward(dy, x.shape, kernel, stride=stride)
        if self.wrt == "forward":
            return library.max_pool1d(x, kernel, stride)
        return library.max_pool1d_backward(dy, indices, x.shape, kernel, stride=stride)

    def numpy(self, x: Any, dy: Any, indices: Any = None) -> Any:
        layer, windows = self.layer, self._windows(x)
        if self.wrt == "forward":
            if layer.kind == "avg":
                return windows.mean(-1)
            best = windows.argmax(-1)
            y = np.take_along_axis(windows, best[..., None], -1)[..., 0]
            return y, (best + np.arange(dy.shape[2]) * layer.stride).astype(np.int32)
        dx = np.zeros(x.shape, np.float32)
        if layer.kind == "max":
            np.put_along_axis(dx, indices.astype(np.int64), dy, 2)  # windows do not overlap
            return dx
        length = dy.shape[2] * layer.kernel
        dx[:, :, :length] = np.repeat(dy / np.float32(layer.kernel), layer.kernel, axis=2)
        return dx

    def torch(self, channels_last: bool) -> Candidate:
        import torch
        from torch.nn import functional

        x, dy = tensors(self.data[:2])
        window = (self.layer.kernel, self.layer.stride)
        if self.layer.kind == "avg":
            if self.wrt == "forward":
                return Candidate(lambda: functional.avg_pool1d(x, *window), tensors_of)
            x.requires_grad_()
            y = functional.avg_pool1d(x, *window)
        else:
            if self.wrt == "forward":
                return Candidate(
                    lambda: functional.max_pool1d(x, *window, return_indices=True), tensors_of
                )
            x.requires_grad_()
            y = functional.max_pool1d(x, *window)
        return Candidate(lambda: torch.autograd.grad(y, x, dy, retain_graph=True), tensors_of)
