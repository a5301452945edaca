"""Activations, dropout, softmax, losses and optimizer updates beside their peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("pointwise")
def test_pointwise(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("pointwise", layer, wrt, threads)


@measured("rectifiers")
def test_rectifiers(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("rectifiers", layer, wrt, threads)


@measured("dropout")
def test_dropout(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("dropout", layer, wrt, threads)
