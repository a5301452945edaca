"""Convolution layers of real nets, each pass beside its peers; im2col and col2im."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("conv")
def test_conv2d(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("conv", layer, wrt, threads)


@measured("columns")
def test_columns(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("columns", layer, wrt, threads)
