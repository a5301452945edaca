"""Local response normalisation, forward and backward, beside its peers."""

from collections.abc import Callable
from typing import Any

from .harness import measured


@measured("lrn")
def test_local_response_norm(
    compare: Callable[..., None], layer: Any, wrt: str, threads: int
) -> None:
    compare("lrn", layer, wrt, threads)
