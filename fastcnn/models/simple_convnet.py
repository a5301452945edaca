"""The first CNN that one writes: a convolution, a pool, and two affine layers."""

import numpy as np

from .. import nn
from ..nn import init


def simple_convnet(*, weight_std: float | None = None, seed: init.Seed = 0) -> nn.Sequential:
    """SimpleConvNet for 28x28 digits: 433,890 parameters.

    ::

        1x28x28 - conv 30 @ 5x5 - ReLU - max pool 2 - affine 100 - ReLU - affine 10 (logits)
                  30x24x24              30x12x12

    Source: Saito, "Deep Learning from Scratch", O'Reilly 2016, chapter 7.

    Parameters
    ----------
    weight_std : float, optional
        Weights start as N(0, weight_std^2), in the source 0.01, which shows best what the filters
        learn; by default by He before a ReLU and by Xavier in the last layer, which learns faster.
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
    small = None if weight_std is None else init.normal(weight_std)
    return nn.Sequential(
        conv1=nn.Conv2d(1, 30, 5, init=small, seed=rng),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        flat=nn.Flatten(),
        fc1=nn.Linear(30 * 12 * 12, 100, init=small, seed=rng),
        relu2=nn.ReLU(),
        fc2=nn.Linear(100, 10, init=small or init.xavier(), seed=rng),
    )
