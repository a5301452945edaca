"""Images through affine maps, beside their peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("affine")
def test_affine(compare: Callable[..., None], layer: Any, wrt: str, threads: int) -> None:
    compare("affine", layer, wrt, threads)
