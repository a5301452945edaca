"""The deep multi-layer perceptron that CNNs are compared with."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from .. import nn
from .._checks import Pair, integer, pair
from ..nn import init

_ACTIVATIONS: dict[str, type[nn.Layer]] = {
    "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "step": nn.Step
}  # fmt: skip
_GAINS = {"sigmoid": 4.0, "tanh": 1.0, "step": 1.0}


def dmlp(
    hidden: int | Sequence[int] = 100,
    *,
    activation: Literal["relu", "sigmoid", "tanh", "step"] = "relu",
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: Pair = 28,
    seed: init.Seed = 0,
) -> nn.Sequential:
    """Multi-layer perceptron for 28x28 digits, 784-100-10: 79,510 parameters.

    ::

        1x28x28 - flatten 784 - fc 100 - activation - fc 10 (logits)

    New in it, beside the perceptron: hidden layers, whose weights learn by back-propagation, for
    which the step gave way to a function with a slope. Every pixel is joined to every hidden unit,
    so a shuffled image is as good as a whole one: the net has no notion of neighbourhood.

    Source: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors",
    Nature 323, 1986. The lectures' algorithm that trains it is written out in
    `fastcnn.models.algorithm_4_1`.

    Parameters
    ----------
    hidden : int or sequence of int
        Units of the hidden layer, or of each of several.
    activation : "relu", "sigmoid", "tanh" or "step"
        Of the hidden layers; weights start by He for ReLU, by Xavier for the others. A step hands
        gradients on as they are (`nn.Step`).
    num_classes, in_channels : int
    image_size : int or (H, W)
        Of other images than digits.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W), or those numbers in a row as (N, 784), to logits
        (N, num_classes).

    Raises
    ------
    ValueError
        If there is no such activation, no hidden layer, or a number is no integer >= 1.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.dmlp().num_parameters()
    79510
    >>> list(models.dmlp((50, 30), activation="tanh").nodes)
    ['flat', 'fc1', 'tanh1', 'fc2', 'tanh2', 'fc3']
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(
            f"dmlp: expected activation to be one of {', '.join(_ACTIVATIONS)}, got {activation!r}"
        )
    widths = [*hidden] if isinstance(hidden, (Sequence, np.ndarray)) else [hidden]
    if not widths:
        raise ValueError("dmlp: expected hidden to be an int or several, got none")
    height, width = pair("dmlp", "image_size", image_size, 1)
    rng = np.random.default_rng(seed)
    start = init.he() if activation == "relu" else init.xavier(gain=_GAINS[activation])
    layers: dict[str, nn.Layer] = {"flat": nn.Flatten()}
    features = in_channels * height * width
    for i, units in enumerate(widths, 1):
        units = integer("dmlp", "hidden", units, 1)
        layers[f"fc{i}"] = nn.Linear(features, units, init=start, seed=rng)
        layers[f"{activation}{i}"] = _ACTIVATIONS[activation]()
        features = units
    layers[f"fc{i + 1}"] = nn.Linear(features, num_classes, init=init.xavier(), seed=rng)
    return nn.Sequential(layers)
