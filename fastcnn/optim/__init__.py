"""Optimizers over `Parameter`s: PyTorch's formulas and defaults, fused updates, exact resume."""

from ._base import Optimizer
from .adam import Adam, AdamW
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
