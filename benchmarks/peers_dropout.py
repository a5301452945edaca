"""Dropout by each peer, its numbers drawn in the pass."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import shapes
from .peers import Candidate, Case, tensors, tensors_of

P = 0.5


class DropoutCase(Case):
    """A training pass over an array, which is the data. The backward pass is the same work or less.

    Each peer drops other elements: before its output is checked they are put back.
    """

    layer: shapes.Pointwise
    layouts = ("torch",)

    @property
    def bytes(self) -> int:
        """What a float32 pass must move."""
        return 4 * 2 * int(np.prod(self.layer.shape))

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        return (rng.standard_normal(self.layer.shape, np.float32),)

    def call(self, library: Any, x: Any) -> Any:
        return library.dropout(x, P, 7)

    def numpy(self, x: Any) -> Any:
        kept = np.random.default_rng(7).random(x.shape, np.float32) >= P
        return x * np.multiply(kept, 1 / (1 - P), dtype=x.dtype)

    def torch(self, channels_last: bool) -> Candidate:
        import torch

        (x,) = tensors(self.data)
        return Candidate(lambda: torch.nn.functional.dropout(x, P), tensors_of)

    def expected(self) -> list[NDArray]:
        """x where nothing is dropped, scaled."""
        return [self.data[0].astype(np.float64) / (1 - P)]

    def candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        """Each with its output made whole."""
        return {
            name: Candidate(c.run, lambda result, c=c: self._whole(c.outputs(result)[0]))
            for name, c in super().candidates(names).items()
        }

    def _whole(self, y: NDArray) -> list[NDArray]:
        dropped = y == 0
        if abs(dropped.mean() - P) > 0.3:
            raise AssertionError(f"dropout: {dropped.mean():.2f} of the elements were dropped")
        return [np.where(dropped, self.data[0] / np.float32(1 - P), y)]
