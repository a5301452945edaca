"""Convolution: the three passes of a layer, and its im2col and col2im, by each peer."""

from typing import Any

import numpy as np

from . import numpy_blas
from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Conv


class ConvCase(Case):
    """One pass over a convolution layer; data is x, w, b, dy."""

    layer: Conv
    algorithm = "auto"

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        shapes = (layer.x_shape, layer.w_shape, (layer.K,), layer.y_shape)
        return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)

    def call(self, library: Any, x: Any, w: Any, b: Any, dy: Any) -> Any:
        options: dict[str, Any] = {**self.layer.options, "algorithm": self.algorithm}
        if self.wrt == "forward":
            return library.conv2d(x, w, b, **options)
        if self.wrt == "backward_input":
            return library.conv2d_backward_input(dy, w, x.shape, **options)
        return library.conv2d_backward_weight(dy, x, w.shape, **options)

    def numpy(self, x: Any, w: Any, b: Any, dy: Any) -> Any:
        if self.wrt == "forward":
            return numpy_blas.conv2d(self.layer, x, w, b)
        if self.wrt == "backward_input":
            return numpy_blas.conv2d_backward_input(self.layer, dy, w)
        return numpy_blas.conv2d_backward_weight(self.layer, dy, x)

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, w, b, dy = tensors(self.data, channels_last)
        layer = self.layer
        if layer.padding_mode == "replicate":
            return self._torch_replicate(x, w, b, dy)
        stride, dilation, padding = [layer.stride] * 2, [layer.dilation] * 2, [*layer.padding]
        if self.wrt == "forward":
            return Candidate(
                lambda: torch.conv2d(x, w, b, stride, padding, dilation, layer.groups), tensors_of
            )
        # dx, dw, db: each pass asks for its own gradients alone.
        mask = [True, False, False] if self.wrt == "backward_input" else [False, True, True]
        return Candidate(
            lambda: torch.ops.aten.convolution_backward(
                dy, x, w, [layer.K], stride, padding, dilation, False, [0, 0], layer.groups, mask
            ),
            tensors_of,
        )

    def _torch_replicate(self, x: Any, w: Any, b: Any, dy: Any) -> Candidate:
        import torch

        layer, wrt = self.layer, self.wrt
        (h, v), steps = layer.padding, (layer.stride, 0, layer.dilation, layer.groups)
        x.requires_grad_(wrt == "backward_input")
        w.requires_grad_(wrt == "backward_weight"), b.requires_grad_(wrt == "backward_weight")

        def forward() -> Any:
            padded = torch.nn.functional.pad(x, (v, v, h, h), mode="replicate")
            return torch.conv2d(padded, w, b, *steps)

        if wrt == "forward":
            return Candidate(forward, tensors_of)
        y, asked = forward(), [x] if wrt == "backward_input" else [w, b]
        return Candidate(lambda: torch.autograd.grad(y, asked, dy, retain_graph=True), tensors_of)


class DirectCase(ConvCase):
    """The same by the direct kernels, which do every multiply-add of the formulation."""

    algorithm = "direct"

    @property
    def multiply_adds(self) -> int:
        return self.layer.flops // 2


class ColumnsCase(Case):
    """im2col of a layer's input, or col2im back onto it; data is x and columns."""

    layer: Conv
    layouts = ("torch",)

    @property
    def bytes(self) -> int:
        return sum(a.nbytes for a in self.data)

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        columns = (layer.N, layer.C * layer.KH * layer.KW, layer.OH * layer.OW)
        return tuple(rng.standard_normal(shape, np.float32) for shape in (layer.x_shape, columns))

    def call(self, library: Any, x: Any, columns: Any) -> Any:
        layer = self.layer
        kernel, window = (layer.KH, layer.KW), dict(layer.options)
        del window["groups"]
        if self.wrt == "im2col":
            return library.im2col(x, kernel, **window)
        return library.col2im(columns, x.shape, kernel, **window)

    def numpy(self, x: Any, columns: Any) -> Any:
        if self.wrt == "im2col":
            return numpy_blas.im2col(self.layer, numpy_blas.pad(self.layer, x))[:, 0]
        return numpy_blas.col2im(self.layer, columns)

    def torch(self, channels_last: bool) -> Candidate:
        from torch.nn.functional import fold, unfold

        x, columns = tensors(self.data)
        layer = self.layer
        window = {"padding": layer.padding, "stride": layer.stride, "dilation": layer.dilation}
        kernel = (layer.KH, layer.KW)
        if self.wrt == "im2col":
            return Candidate(lambda: unfold(x, kernel, **window), tensors_of)
        return Candidate(lambda: fold(columns, (layer.H, layer.W), kernel, **window), tensors_of)
