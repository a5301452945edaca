"""PReLU, ELU and the step by each peer.

The step's way back is none: the gradient itself, so there is nothing to measure.
"""

from typing import Any

import numpy as np

from . import shapes
from .peers import Candidate, Case, tensors, tensors_of


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

    def call(self, library: Any, x: Any, slopes: Any, dy: Any) -> Any:
        passes = {
            "prelu": lambda: library.prelu(x, slopes),
            "prelu_backward": lambda: library.prelu_backward(dy, x, slopes),
            "elu": lambda: library.elu(x),
            "elu_backward": lambda: library.elu_backward(dy, x),
            "step": lambda: library.step(x),
        }
        return passes[self.wrt]()

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
