"""Pooling layers, forward and backward, beside their peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("pool")
def test_pool2d(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("pool", layer, wrt, threads)
