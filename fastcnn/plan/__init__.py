"""Execution plans: a whole net, its loss and its optimizer, ready to be run on batches.

Layer by layer, a small net spends its time in calls, in memory and in edges. A `BlockPlan` lowers
a chain of layers to a short program of C steps that takes a batch forward, through the loss,
backward and through the optimizer's update at once. Images lie side by side in vector lanes, so
nothing is wasted on odd widths and few channels; blocks of images stay in the cache from the first
layer to the last gradient; convolution, ReLU and max pooling are one step, whose backward pass
leaves out the products with zero.

A large net spends its time in the kernels, and beside them in memory. A `LayerPlan` records the
kernels' calls once per batch size, with convolution, batch norm, sum and ReLU as one step, and all
arrays in one arena by their lifetimes. For inference batch norm is folded into the weights. A layer
that it does not know runs by itself, and its repr says so.

The model stays the owner of its parameters, and the optimizer of its state: a plan reads and
updates them in place, so evaluation, checkpoints and early stopping see no difference. A
`BlockPlan`'s results are those of the layers up to rounding. A `LayerPlan`'s training gives the
same bits as the layers. Neither depends on the number of threads, nor an image's outputs on its
batch.
"""

from .blocks import BlockPlan
from .build import Step
from .choose import Plan, compile
from .layers import LayerPlan, StepResult
from .lower import BlockStep, LoweringError

__all__ = [
    "BlockPlan", "BlockStep", "LayerPlan", "LoweringError", "Plan", "Step", "StepResult", "compile",
]  # fmt: skip
