"""Pooling: forward and backward of a layer, by each peer, and the bound that memory sets."""

from typing import Any

import numpy as np

from . import numpy_blas
from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Pool


class PoolCase(Case):
    """One pass over a pooling layer; data is x, dy and, for max, the int32 indices of forward."""

    layer: Pool

    @property
    def bytes(self) -> int:
        return self.layer.bytes

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        x = rng.standard_normal(layer.x_shape, np.float32)
        dy = rng.standard_normal(layer.y_shape, np.float32)
        if layer.kind == "max" and self.wrt == "backward":
            return x, dy, numpy_blas.max_pool2d(layer, x)[1]
        return x, dy

    def call(self, library: Any, x: Any, dy: Any, indices: Any = None) -> Any:
        layer = self.layer
        window = {"stride": layer.stride, "padding": layer.padding}
        if layer.kind == "global":
            if self.wrt == "forward":
                return library.global_avg_pool2d(x)
            return library.global_avg_pool2d_backward(dy, x.shape)
        if layer.kind == "avg":
            if self.wrt == "forward":
                return library.avg_pool2d(x, layer.kernel, **window)
            return library.avg_pool2d_backward(dy, x.shape, layer.kernel, **window)
        if self.wrt == "forward":
            return library.max_pool2d(x, layer.kernel, **window)
        return library.max_pool2d_backward(dy, indices, x.shape, layer.kernel, **window)

    def numpy(self, x: Any, dy: Any, indices: Any = None) -> Any:
        layer = self.layer
        if layer.kind == "global":
            if self.wrt == "forward":
                return x.mean(axis=(2, 3), keepdims=True)
            return np.repeat(dy / (layer.H * layer.W), layer.H * layer.W).reshape(x.shape)
        if layer.kind == "avg":
            if self.wrt == "forward":
                return numpy_blas.avg_pool2d(layer, x)
            return numpy_blas.avg_pool2d_backward(layer, dy)
        if self.wrt == "forward":
            return numpy_blas.max_pool2d(layer, x)
        return numpy_blas.max_pool2d_backward(layer, dy, indices)

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        aten, layer = torch.ops.aten, self.layer
        x, dy = tensors(self.data[:2], channels_last)
        kernel, stride, padding = [layer.kernel] * 2, [layer.stride] * 2, [layer.padding] * 2
        if layer.kind == "global":
            area = layer.H * layer.W
            if self.wrt == "forward":
                return Candidate(lambda: x.mean((2, 3), keepdim=True), tensors_of)
            return Candidate(lambda: dy.expand(x.shape) / area, tensors_of)  # as autograd does
        if layer.kind == "avg":
            rest = (kernel, stride, padding, False, True, None)
            if self.wrt == "forward":
                return Candidate(lambda: aten.avg_pool2d(x, *rest[:5]), tensors_of)
            return Candidate(lambda: aten.avg_pool2d_backward(dy, x, *rest), tensors_of)
        rest = (kernel, stride, padding, [1, 1], False)
        if self.wrt == "forward":
            return Candidate(lambda: aten.max_pool2d_with_indices(x, *rest), tensors_of)
        indices = aten.max_pool2d_with_indices(x, *rest)[1]
        return Candidate(
            lambda: aten.max_pool2d_with_indices_backward(dy, x, *rest, indices), tensors_of
        )
