"""The deep multi-layer perceptron that CNNs are compared with."""

from typing import Literal

import numpy as np

from .. import nn
from .._checks import Pair, pair
from ..nn import init

_ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
_GAINS = {"sigmoid": 4.0, "tanh": 1.0}


def dmlp(
    hidden: int = 100,
    *,
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: Pair = 28,
    seed: init.Seed = 0,
) -> nn.Sequential:
    """Multi-layer perceptron for 28x28 digits, 784-100-10: 79,510 parameters.

    ::

        1x28x28 - flatten 784 - fc 100 - activation - fc 10 (logits)

    Every pixel is joined to every hidden unit, so a shuffled image is as good as a whole one: the
    net has no notion of neighbourhood. Source: Rumelhart, Hinton and Williams, "Learning
    representations by back-propagating errors", Nature 323, 1986. The lectures' algorithm that
    trains it is written out in `fastcnn.models.algorithm_4_1`.

    Parameters
    ----------
    hidden : int
        Units of the hidden layer.
    activation : "relu", "sigmoid" or "tanh"
        Of the hidden layer; weights start by He for ReLU, by Xavier for the others.
    num_classes, in_channels : int
    image_size : int or (H, W)
        Of other images than digits.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W), or those numbers in a row as (N, 784), to logits
        (N, num_classes).

    Examples
    --------
    >>> from fastcnn import models
    >>> models.dmlp().num_parameters()
    79510
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"dmlp: expected activation to be one of {', '.join(_ACTIVATIONS)}, got {activation!r}"
        )
    height, width = pair("dmlp", "image_size", image_size, 1)
    rng = np.random.default_rng(seed)
    start = init.he() if activation == "relu" else init.xavier(gain=_GAINS[activation])
    return nn.Sequential(
        {
            "flat": nn.Flatten(),
            "fc1": nn.Linear(in_channels * height * width, hidden, init=start, seed=rng),
            f"{activation}1": _ACTIVATIONS[activation](),
            "fc2": nn.Linear(hidden, num_classes, init=init.xavier(), seed=rng),
        }
    )
