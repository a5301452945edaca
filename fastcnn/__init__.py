"""fastcnn: a CNN engine for CPUs.

A house of few floors; each knows only those below it, and a family (conv, pool, ...) has the
same name on each::

    models/  training/  data/  metrics  viz/  cli     what users build and run
        plan/             a whole net with its loss and optimizer, lowered from its layers
        nn/  optim/       layers and optimizers: parameters + forward/backward
        ops/              stateless array functions: check, allocate, call
        reference/        their naive NumPy twins, written like the lecture's formula
        _kernels          Cython, thin (bindings/)
        csrc/             C11: algorithms, threads, ISA dispatch, micro-kernels

Start with ``fastcnn.models.lenet5()``, ``fastcnn.data.mnist()`` and
``fastcnn.training.Trainer``; ARCHITECTURE.md has the contracts.
"""

import importlib
from typing import Any

from ._config import (
    clear_cache,
    get_exact,
    get_num_threads,
    set_exact,
    set_num_threads,
    show_config,
    threads,
)

__version__ = "0.1.0"

# Loaded on first use: `import fastcnn` is NumPy and the kernels, nothing else.
_SUBPACKAGES = (
    "data",
    "metrics",
    "models",
    "nn",
    "ops",
    "optim",
    "plan",
    "reference",
    "testing",
    "training",
    "viz",
)

__all__ = [
    "__version__",
    "clear_cache",
    "get_exact",
    "get_num_threads",
    "set_exact",
    "set_num_threads",
    "show_config",
    "threads",
    *_SUBPACKAGES,
]


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBPACKAGES})
