"""Batch normalisation, inference, training forward and backward, beside its peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("batch_norm")
def test_batch_norm(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("batch_norm", layer, wrt, threads)
