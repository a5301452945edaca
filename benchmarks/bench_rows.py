"""1-D convolution and pooling, forward and backward, beside their peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("conv1d")
def test_conv1d(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("conv1d", layer, wrt, threads)


@measured("pool1d")
def test_pool1d(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("pool1d", layer, wrt, threads)
