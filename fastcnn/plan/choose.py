"""`compile`: the kind of plan that suits a net."""

from collections.abc import Sequence
from typing import Any

from .. import nn
from .blocks import BlockPlan
from .layers import LayerPlan
from .lower import LoweringError

Plan = BlockPlan | LayerPlan

_MOST_ARENA = 8 << 20
"""Bytes of one block of images beyond which a `BlockPlan` has no advantage: it is to stay in the
cache."""


def compile(
    model: nn.Layer,
    input_shape: Sequence[int],
    *,
    loss: Any = None,
    optimizer: Any = None,
) -> Plan:
    """Plan a net: a small one as one program over blocks of images, any other by its layers.

    Parameters
    ----------
    model : Layer
        It is not copied, and must keep its layers. Its parameters may change in any way; for
        inference by a `LayerPlan`, which takes them once, call `refresh` after that.
    input_shape : (C, H, W) or (F,)
        Without the batch axis, which may have any size at each call.
    loss : callable, optional
        Needed for training: ``loss(outputs, y)`` gives the value and the gradient. Outputs that it
        wants to keep it must copy: the next step writes over them.
    optimizer : Optimizer, optional
        Makes ``plan.step`` update the parameters.

    Returns
    -------
    BlockPlan or LayerPlan
        A `BlockPlan` where the net is a chain of layers that it knows, small enough for a block of
        images to stay in the cache, and the loss is `CrossEntropyLoss` or `MSELoss`.

    Raises
    ------
    LoweringError
        If the net has several inputs.
    ValueError
        If the layers do not fit each other or the input.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import models, nn, optim, plan
    >>> net = models.lenet5(seed=0)
    >>> program = plan.compile(
    ...     net, (1, 28, 28), loss=nn.CrossEntropyLoss(),
    ...     optimizer=optim.SGD(net.parameters(), lr=0.05, momentum=0.9),
    ... )
    >>> program
    Plan for 1x28x28, float32, in blocks of images
      conv1 + relu1 + pool1  conv 1 -> 6 @ 5x5 + ReLU + max pool 2x2, sparse backward   6x14x14
      conv2 + relu2 + pool2  conv 6 -> 16 @ 5x5 + ReLU + max pool 2x2, sparse backward  16x5x5
      fc1                    linear 400 -> 120                                          120x1x1
      relu3                  ReLU                                                       120x1x1
      fc2                    linear 120 -> 84                                           84x1x1
      relu4                  ReLU                                                       84x1x1
      fc3                    linear 84 -> 10                                            10x1x1
    >>> x, y = np.zeros((4, 1, 28, 28), np.float32), np.arange(4)
    >>> first = program.step(x, y)
    >>> program.step(x, y).loss < first.loss
    True
    """
    try:
        block = BlockPlan(model, input_shape, loss, optimizer)
    except LoweringError:
        return LayerPlan(model, input_shape, loss, optimizer)
    if block.block_bytes() > _MOST_ARENA:
        return LayerPlan(model, input_shape, loss, optimizer)
    return block
