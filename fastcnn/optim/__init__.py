"""Optimizers over a net's parameters: PyTorch's formulas and defaults, fused, exact resume."""

from ._base import Optimizer
from .adam import Adam, AdamW
from .averaging import WeightAverage
from .clipping import Clipped, clip_grad_norm, clip_grad_value
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Clipped",
    "Optimizer",
    "RMSprop",
    "WeightAverage",
    "clip_grad_norm",
    "clip_grad_value",
]
