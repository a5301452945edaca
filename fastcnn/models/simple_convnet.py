"""The first CNN that one writes: a convolution, a pool, and two affine layers."""

import numpy as np

from .. import nn
from ..nn import init


def simple_convnet(*, seed: init.Seed = 0) -> nn.Sequential:
    """SimpleConvNet for 28x28 digits: 433,890 parameters.

    ::

        1x28x28 - conv 30 @ 5x5 - ReLU - max pool 2 - affine 100 - ReLU - affine 10 (logits)
                  30x24x24              30x12x12

    Source: Saito, "Deep Learning from Scratch", O'Reilly 2016, chapter 7. Weights
    start as N(0, 0.01^2) there; here by He before a ReLU and by Xavier in the last layer.

    Parameters
    ----------
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, 1, 28, 28) to logits (N, 10).

    Examples
    --------
    >>> from fastcnn import models
    >>> models.simple_convnet().num_parameters()
    433890
    """
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        conv1=nn.Conv2d(1, 30, 5, seed=rng),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        fc1=nn.Linear(30 * 12 * 12, 100, seed=rng),
        relu2=nn.ReLU(),
        fc2=nn.Linear(100, 10, init=init.xavier(), seed=rng),
    )
