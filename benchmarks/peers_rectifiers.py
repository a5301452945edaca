"""PReLU, ELU and the step, layers without kernels of their own, by each peer.

The step's way back is none: the gradient itself, so there is nothing to measure.
"""

from typing import Any

import numpy as np

from . import shapes
from .peers import Candidate, Case, arrays_of, tensors, tensors_of


class RectifierCase(Case):
    """One pass (its name is `wrt`) over an array; data is x, the slopes of PReLU, and dy."""

    layer: shapes.Pointwise
    layouts = ("torch",)

    @property
    def bytes(self) -> int:
        """What a float32 pass must move."""
        streams = 3 if self.wrt.endswith("_backward") else 2
        return 4 * streams * int(np.prod(self.layer.shape))

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        shape = self.layer.shape
        x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
        return x, rng.uniform(0.1, 0.4, shape[1]).astype(np.float32), dy

    def ours(self) -> Candidate:
        """The layer."""
        from fastcnn import nn

        x, slopes, dy = self.fresh(np.float32)
        name, _, backward = self.wrt.partition("_")
        kinds = {"prelu": nn.PReLU(len(slopes)), "elu": nn.ELU(), "step": nn.Step()}
        layer: Any = kinds[name]
        if name == "prelu":
            layer.weight.data[...] = slopes
        if not backward:
            return Candidate(lambda: layer(x), arrays_of)
        _, ctx = layer.forward(x)

        def run() -> Any:
            layer.zero_grad()
            dx = layer.backward(dy, ctx)
            return (dx, layer.weight.grad) if name == "prelu" else dx

        return Candidate(run, arrays_of)

    def call(self, library: Any, x: Any, slopes: Any, dy: Any) -> Any:
        """By the definition; the library has no function for it."""
        w, above = slopes.reshape(-1, *[1] * (x.ndim - 2)), x > 0
        if self.wrt == "step":
            return above.astype(x.dtype)
        if self.wrt == "prelu":
            return np.where(above, x, w * x)
        if self.wrt == "elu":
            return np.where(above, x, np.expm1(x))
        if self.wrt == "elu_backward":
            return np.where(above, 1, np.exp(x)) * dy
        dw = np.where(above, 0, x) * dy
        return np.where(above, 1, w) * dy, dw.sum((0, *range(2, x.ndim)))

    def numpy(self, x: Any, slopes: Any, dy: Any) -> Any:
        below = np.minimum(x, 0)
        w = slopes.reshape(-1, *[1] * (x.ndim - 2))
        if self.wrt == "step":
            return np.greater(x, 0, out=below, casting="unsafe")
        if self.wrt == "prelu":
            below *= w
            return np.maximum(x, 0) + below
        if self.wrt == "elu":
            np.expm1(below, out=below)
            return np.where(x > 0, x, below)
        if self.wrt == "elu_backward":
            np.exp(below, out=below)
            below *= dy
            return below
        below *= dy
        return np.where(x > 0, dy, w * dy), below.sum((0, *range(2, x.ndim)))

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, slopes, dy = tensors(self.data)
        name, _, backward = self.wrt.partition("_")
        if name == "step":
            return Candidate(lambda: torch.heaviside(x, torch.zeros(())), tensors_of)
        asked = [x.requires_grad_(bool(backward))]
        if name == "prelu":
            asked.append(slopes.requires_grad_(bool(backward)))

        def forward() -> Any:
            return torch.prelu(x, slopes) if name == "prelu" else torch.nn.functional.elu(x)

        if not backward:
            return Candidate(forward, tensors_of)
        y = forward()
        return Candidate(lambda: torch.autograd.grad(y, asked, dy, retain_graph=True), tensors_of)
