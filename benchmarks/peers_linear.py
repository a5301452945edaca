"""Fully connected layers: the three passes, by each peer."""

from typing import Any

import numpy as np

from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Linear


class LinearCase(Case):
    """One pass over a fully connected layer; data is x (N, I), w (O, I), b (O,), dy (N, O)."""

    layer: Linear
    layouts = ("torch",)

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        n, i, o = self.layer.N, self.layer.I, self.layer.O
        return tuple(rng.standard_normal(s, np.float32) for s in ((n, i), (o, i), (o,), (n, o)))

    def call(self, library: Any, x: Any, w: Any, b: Any, dy: Any) -> Any:
        if self.wrt == "forward":
            return library.linear(x, w, b)
        if self.wrt == "backward_input":
            return library.linear_backward_input(dy, w)
        return library.linear_backward_weight(dy, x)

    def numpy(self, x: Any, w: Any, b: Any, dy: Any) -> Any:
        if self.wrt == "forward":
            y = x @ w.T
            y += b
            return y
        if self.wrt == "backward_input":
            return dy @ w
        return dy.T @ x, dy.sum(axis=0)

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        x, w, b, dy = tensors(self.data)
        if self.wrt == "forward":
            return Candidate(lambda: torch.nn.functional.linear(x, w, b), tensors_of)
        if self.wrt == "backward_input":
            return Candidate(lambda: dy @ w, tensors_of)
        return Candidate(lambda: (dy.t() @ x, dy.sum(0)), tensors_of)
