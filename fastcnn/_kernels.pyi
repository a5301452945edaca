"""For type checkers: the compiled module's functions are thin and not annotated one by one."""

from typing import Any

def __getattr__(name: str) -> Any: ...
