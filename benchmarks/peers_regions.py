"""Weighted-average pooling and RoI pooling: each pass, by each peer."""

from typing import Any

import numpy as np

from . import numpy_blas
from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Conv, Pool, Roi


class WeightedPoolCase(Case):
    """One pass over a weighted-average pooling; data is x, weights of each channel and dy."""

    layer: Pool

    @property
    def bytes(self) -> int:
        return self.layer.bytes

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        shapes = (layer.x_shape, (layer.C, layer.kernel, layer.kernel), layer.y_shape)
        return tuple(rng.standard_normal(shape, np.float32) for shape in shapes)

    def call(self, library: Any, x: Any, w: Any, dy: Any) -> Any:
        window = {"stride": self.layer.stride, "padding": self.layer.padding}
        if self.wrt == "forward":
            return library.weighted_avg_pool2d(x, w, **window)
        if self.wrt == "backward_input":
            return library.weighted_avg_pool2d_backward_input(dy, w, x.shape, **window)
        return library.weighted_avg_pool2d_backward_weight(dy, x, w.shape, **window)

    def numpy(self, x: Any, w: Any, dy: Any) -> Any:
        n, c, h, width = x.shape
        layer, p = self.layer, (self.layer.padding,) * 2
        kernel = (layer.kernel, layer.kernel)
        conv = Conv("", "", n, c, h, width, c, *kernel, layer.stride, p, 1, c)
        if self.wrt == "forward":
            return numpy_blas.conv2d(conv, x, w[:, None], np.zeros(c, np.float32))
        if self.wrt == "backward_input":
            return numpy_blas.conv2d_backward_input(conv, dy, w[:, None])
        return numpy_blas.conv2d_backward_weight(conv, dy, x)[0][:, 0]

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, w, dy = tensors((self.data[0], self.data[1][:, None], self.data[2]), channels_last)
        stride, padding, c = [self.layer.stride] * 2, [self.layer.padding] * 2, self.layer.C
        if self.wrt == "forward":
            return Candidate(
                lambda: torch.conv2d(x, w, None, stride, padding, [1, 1], c), tensors_of
            )
        mask = [self.wrt == "backward_input", self.wrt != "backward_input", False]

        def outputs(result: Any) -> Any:
            found = tensors_of(result)
            return found if mask[0] else [found[0][:, 0]]

        return Candidate(
            lambda: torch.ops.aten.convolution_backward(
                dy, x, w, [c], stride, padding, [1, 1], False, [0, 0], c, mask
            ),
            outputs,
        )


class RoiCase(Case):
    """One pass over RoI pooling; data is x, boxes and, for backward, dy and the indices."""

    layer: Roi
    layouts = ()  # torchvision has it, torch has not

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        layer = self.layer
        x = rng.standard_normal(layer.x_shape, np.float32)
        corners = rng.uniform(0, [[layer.W, layer.H]], (layer.boxes, 2, 2)) - 0.5
        corners.sort(1)
        image = rng.integers(0, layer.N, (layer.boxes, 1))
        boxes = np.concatenate([image, corners.reshape(-1, 4).round()], 1).astype(np.float32)
        if self.wrt == "forward":
            return x, boxes
        y, indices = self._grid(x, boxes)
        return x, boxes, rng.standard_normal(y.shape, np.float32), indices

    def call(self, library: Any, x: Any, boxes: Any, dy: Any = None, indices: Any = None) -> Any:
        if self.wrt == "forward":
            return library.roi_pool(x, boxes, self.layer.grid)
        return library.roi_pool_backward(dy, indices, boxes, x.shape)

    def _grid(self, x: Any, boxes: Any) -> tuple[Any, Any]:
        """Cell by cell."""
        p, (_, c, h, w) = self.layer.grid, x.shape
        y = np.zeros((len(boxes), c, p, p), np.float32)
        indices = np.full(y.shape, -1, np.int32)
        for r, (image, x1, y1, x2, y2) in enumerate(boxes.astype(int)):
            high, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
            for i, j in np.ndindex(p, p):
                top, left = y1 + i * high // p, x1 + j * wide // p
                bottom, right = y1 - (-(i + 1) * high // p), x1 - (-(j + 1) * wide // p)
                top, left, bottom, right = max(top, 0), max(left, 0), min(bottom, h), min(right, w)
                if top >= bottom or left >= right:
                    continue
                cell = x[image, :, top:bottom, left:right].reshape(c, -1)
                at = cell.argmax(1)
                y[r, :, i, j] = np.take_along_axis(cell, at[:, None], 1)[:, 0]
                rows, columns = np.divmod(at, right - left)
                indices[r, :, i, j] = (rows + top) * w + columns + left
        return y, indices

    def numpy(self, x: Any, boxes: Any, dy: Any = None, indices: Any = None) -> Any:
        if self.wrt == "forward":
            return self._grid(x, boxes)
        n, c, h, w = x.shape
        plane = boxes[:, 0].astype(int)[:, None] * c + np.arange(c)
        at = plane[:, :, None, None] * (h * w) + indices
        dx = np.bincount(at[indices >= 0], dy[indices >= 0], n * c * h * w)
        return dx.astype(np.float32).reshape(x.shape)
