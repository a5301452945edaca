"""Local response normalisation: each pass of a layer, by each peer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Lrn

SIZE, ALPHA, BETA, K = 5, 5e-4, 0.75, 2.0  # AlexNet's, alpha times size
SETTINGS = (SIZE, ALPHA, BETA, K)


def _window_sums(a: NDArray) -> NDArray:
    """Sums over the windows of the channels, which are symmetric."""
    padded = np.pad(a, ((0, 0), (SIZE // 2,) * 2, (0, 0), (0, 0)))
    sums = padded[:, : a.shape[1]].copy()
    for j in range(1, SIZE):
        sums += padded[:, j : j + a.shape[1]]
    return sums


class LrnCase(Case):
    """One pass over one layer; data is x and dy."""

    layer: Lrn

    @property
    def bytes(self) -> int:
        """Of x and y, and for backward dy, read or written once."""
        return sum(a.nbytes for a in self.data) + (self.wrt == "backward") * self.data[0].nbytes

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        shape = self.layer.x_shape
        return tuple(rng.standard_normal(shape, np.float32) for _ in range(2))

    def call(self, library: Any, x: Any, dy: Any) -> Any:
        if self.wrt == "forward":
            return library.local_response_norm(x, *SETTINGS)
        return library.local_response_norm_backward(dy, x, *SETTINGS)

    def numpy(self, x: Any, dy: Any) -> Any:
        s = K + ALPHA / SIZE * _window_sums(x * x)
        root = np.sqrt(s)
        power = 1 / (root * np.sqrt(root))
        if self.wrt == "forward":
            return x * power
        g = dy * power
        return g - (2 * BETA * ALPHA / SIZE) * x * _window_sums(g * x / s)

    def torch(self, channels_last: bool) -> Candidate:
        import torch
        from torch.nn.functional import local_response_norm

        x, dy = tensors(self.data, channels_last)
        if self.wrt == "forward":
            return Candidate(lambda: local_response_norm(x, *SETTINGS), tensors_of)
        x.requires_grad_()
        y = local_response_norm(x, *SETTINGS)
        return Candidate(lambda: torch.autograd.grad(y, x, dy, retain_graph=True), tensors_of)
