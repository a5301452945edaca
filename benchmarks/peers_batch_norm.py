"""Batch normalisation: each pass of a layer, by each peer, and the bound that memory sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .peers import Candidate, Case, tensors, tensors_of
from .shapes import BatchNorm

EPS = 1e-5


def _moments(x: NDArray) -> tuple[NDArray, NDArray]:
    """Mean and 1 / sqrt(variance + eps) of each channel."""
    return x.mean((0, 2, 3)), 1 / np.sqrt(x.var((0, 2, 3)) + EPS)


def _columns(*vectors: NDArray) -> list[NDArray]:
    return [v[:, None, None] for v in vectors]


class BatchNormCase(Case):
    """One pass over one layer; data is x, dy, gamma, beta and statistics of x."""

    layer: BatchNorm

    @property
    def bytes(self) -> int:
        """Of x and y, and for backward dy, read or written once."""
        arrays = 3 if self.wrt == "backward" else 2
        return 4 * arrays * int(np.prod(self.layer.x_shape))

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        shape = self.layer.x_shape
        x, dy = (rng.standard_normal(shape, np.float32) for _ in range(2))
        mean, scale, gamma, beta = rng.uniform(0.5, 2, (4, shape[1])).astype(np.float32)
        x = x * scale[:, None, None] + mean[:, None, None]
        return x, dy, gamma, beta, *_moments(x)

    def call(self, library: Any, x: Any, dy: Any, gamma: Any, beta: Any, *moments: Any) -> Any:
        if self.wrt == "inference":
            return library.batch_norm(x, gamma, beta, *moments, eps=EPS)
        if self.wrt == "forward":
            return library.batch_norm_forward(x, gamma, beta, eps=EPS)
        mean, inv_std = (m.astype(np.float64) for m in moments)
        return library.batch_norm_backward(dy, x, gamma, mean, inv_std)

    def numpy(self, x: Any, dy: Any, gamma: Any, beta: Any, mean: Any, inv_std: Any) -> Any:
        if self.wrt == "inference":  # of given statistics: the second vector is a variance
            scale, shift = _columns(gamma / np.sqrt(inv_std + EPS), beta)
            return (x - mean[:, None, None]) * scale + shift
        if self.wrt == "forward":
            mean, inv_std = _moments(x)
            scale, shift = _columns(gamma * inv_std, beta)
            return (x - mean[:, None, None]) * scale + shift, mean, inv_std
        m, s = _columns(mean, inv_std)
        x_hat = (x - m) * s
        dbeta, dgamma = dy.sum((0, 2, 3)), (dy * x_hat).sum((0, 2, 3))
        count = x.size // x.shape[1]
        scale, a, b = _columns(gamma * inv_std, dbeta / count, dgamma / count)
        return scale * (dy - a - x_hat * b), dgamma, dbeta

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        aten = torch.ops.aten
        x, dy = tensors(self.data[:2], channels_last)
        gamma, beta, mean, inv_std = tensors(self.data[2:])
        if self.wrt == "inference":
            rest = (gamma, beta, mean, inv_std, False, 0.1, EPS)
            return Candidate(lambda: aten.native_batch_norm(x, *rest)[0], tensors_of)
        if self.wrt == "forward":
            rest = (gamma, beta, None, None, True, 0.1, EPS)
            return Candidate(lambda: aten.native_batch_norm(x, *rest), tensors_of)
        rest = (gamma, None, None, mean, inv_std, True, EPS, [True] * 3)
        return Candidate(lambda: aten.native_batch_norm_backward(dy, x, *rest), tensors_of)
