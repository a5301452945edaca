"""Weighted-average pooling and RoI pooling beside their peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("weighted_pool")
def test_weighted_pool(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("weighted_pool", layer, wrt, threads)


@measured("roi")
def test_roi_pool(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("roi", layer, wrt, threads)
