"""Transposed convolution: the three passes of a layer, by each peer."""

from typing import Any

import numpy as np

from . import numpy_blas
from .peers import Candidate, Case, tensors, tensors_of
from .shapes import ConvTranspose


class ConvTransposeCase(Case):
    """One pass over a transposed convolution layer; data is x, w, b, dy."""

    layer: ConvTranspose

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        conv = self.layer.adjoint
        shapes = (conv.y_shape, conv.w_shape, (conv.C,), conv.x_shape)
        return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)

    def call(self, library: Any, x: Any, w: Any, b: Any, dy: Any) -> Any:
        options: dict[str, Any] = self.layer.options
        if self.wrt == "forward":
            more = self.layer.output_padding
            return library.conv_transpose2d(x, w, b, output_padding=more, **options)
        if self.wrt == "backward_input":
            return library.conv_transpose2d_backward_input(dy, w, **options)
        return library.conv_transpose2d_backward_weight(dy, x, w.shape, **options)

    def numpy(self, x: Any, w: Any, b: Any, dy: Any) -> Any:
        conv = self.layer.adjoint
        if self.wrt == "forward":
            return numpy_blas.conv2d_backward_input(conv, x, w) + b[:, None, None]
        if self.wrt == "backward_input":
            return numpy_blas.conv2d(conv, dy, w, np.zeros(conv.K, x.dtype))
        return numpy_blas.conv2d_backward_weight(conv, x, dy)[0], dy.sum((0, 2, 3))

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, w, b, dy = tensors(self.data, channels_last)
        layer = self.layer
        window = ([layer.stride] * 2, [*layer.padding], [1, 1], True, [layer.output_padding] * 2)
        if self.wrt == "forward":
            return Candidate(
                lambda: torch.ops.aten.convolution(x, w, b, *window, layer.groups), tensors_of
            )
        mask = [True, False, False] if self.wrt == "backward_input" else [False, True, True]
        return Candidate(
            lambda: torch.ops.aten.convolution_backward(
                dy, x, w, [layer.K], *window, layer.groups, mask
            ),
            tensors_of,
        )
