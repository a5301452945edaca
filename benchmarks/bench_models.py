"""Training LeNet-5 on real digits, beside PyTorch and the naive twins."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("training")
def test_training(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("training", layer, wrt, threads)


@measured("nets")
def test_nets(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("nets", layer, wrt, threads)
