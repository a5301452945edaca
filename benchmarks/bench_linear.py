"""Fully connected layers, each pass beside its peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("linear")
def test_linear(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("linear", layer, wrt, threads)
