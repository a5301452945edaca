"""Transposed convolution layers of real nets, each pass beside its peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("conv_transpose")
def test_conv_transpose2d(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("conv_transpose", layer, wrt, threads)
