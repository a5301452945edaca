"""Execution plans: a whole small net, its loss and its optimizer as one compiled program.

Layer by layer, a small net spends its time in calls, in memory and in edges. A plan lowers a chain
of layers to a short program of C steps that takes a batch forward, through the loss, backward and
through the optimizer's update at once. Images lie side by side in vector lanes, so nothing is
wasted on odd widths and few channels; blocks of images stay in the cache from the first layer to
the last gradient; convolution, ReLU and max pooling are one step, whose backward pass leaves out
the products with zero.

The model stays the owner of its parameters, and the optimizer of its state: a plan reads and
updates them in place, so evaluation, checkpoints and early stopping see no difference. Results are
those of the layers up to rounding; their bits do not depend on the number of threads, nor an
image's outputs on its batch.
"""

from .lower import LoweringError, Step
from .plan import Plan, StepResult, compile, try_compile

__all__ = ["LoweringError", "Plan", "Step", "StepResult", "compile", "try_compile"]
