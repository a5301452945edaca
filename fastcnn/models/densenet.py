"""DenseNet-121, 169 and 201: every layer of a block sees all before it."""

from collections.abc import Sequence

import numpy as np

from .. import nn
from .._checks import integer
from ..nn import blocks
from ..nn import init as initial


def _densenet(
    counts: Sequence[int],
    num_classes: int,
    in_channels: int,
    growth: int,
    init: initial.Initializer | None,
    seed: initial.Seed,
) -> nn.Sequential:
    """Stem, dense blocks of `counts` layers with transitions between them, and the classifier."""
    integer("densenet", "growth", growth, 1)
    rng = np.random.default_rng(seed)
    c = 2 * growth
    features: dict[str, nn.Layer] = {
        "conv0": nn.Conv2d(in_channels, c, 7, 2, 3, bias=False, init=init, seed=rng),
        "norm0": nn.BatchNorm2d(c),
        "relu0": nn.ReLU(),
        "pool0": nn.MaxPool2d(3, 2, 1),
    }
    for i, count in enumerate(counts, 1):
        features[f"denseblock{i}"] = blocks.dense_block(c, count, growth, init=init, seed=rng)
        c += count * growth
        if i < len(counts):
            features[f"transition{i}"] = blocks.transition(c, c // 2, init=init, seed=rng)
            c //= 2
    features["norm5"] = nn.BatchNorm2d(c)
    return nn.Sequential(
        {
            "features": nn.Sequential(features),
            "relu": nn.ReLU(),
            "avgpool": nn.GlobalAvgPool2d(),
            "flatten": nn.Flatten(),
            "classifier": nn.Linear(c, num_classes, init=init or initial.normal(0.01), seed=rng),
        }
    )


def densenet121(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    growth: int = 32,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """DenseNet-121: 7,978,856 parameters for 1000 classes.

    ::

        3x224x224 - conv 64 @ 7x7, stride 2 - bn - relu - max pool 3x3, stride 2     64x56x56
          - dense block of  6 layers - transition                                   128x28x28
          - dense block of 12 layers - transition                                   256x14x14
          - dense block of 24 layers - transition                                   512x7x7
          - dense block of 16 layers                                               1024x7x7
          - bn - relu - global average pool - fc 1000 (logits)

        a layer: bn - relu - conv 128 @ 1x1 - bn - relu - conv 32 @ 3x3, joined to its input
        a transition: bn - relu - conv 1x1 to half of the channels - average pool 2

    New in it: a layer takes the outputs of all layers before it, concatenated, and adds only 32
    channels of its own. Features are used again instead of learned again, and gradients reach
    every layer directly, so few parameters go far.

    Source: Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks",
    CVPR 2017, table 1 (DenseNet-BC). Trained there by SGD with Nesterov momentum 0.9, batch 256,
    rate 0.1, weight decay 1e-4.

    Parameters
    ----------
    num_classes : int
    in_channels : int
        Of the images, whose size is free.
    growth : int
        Channels that a layer adds; the stem has twice as many.
    init : Initializer, optional
        For all weights. By default He's, and N(0, 0.01^2) for the last layer; `nn.init.zeros()`
        where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to logits (N, num_classes).

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.densenet121(init=nn.init.zeros()).num_parameters()
    7978856
    """
    return _densenet((6, 12, 24, 16), num_classes, in_channels, growth, init, seed)


def densenet169(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    growth: int = 32,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """DenseNet-169: 14,149,480 parameters for 1000 classes.

    ::

        3x224x224 - stem 64x56x56
          - 6 layers - transition 128x28x28 - 12 layers - transition 256x14x14
          - 32 layers - transition 640x7x7 - 32 layers 1664x7x7 - average pool - fc 1000

    `densenet121` with more layers in its last two blocks; each takes all before it, which was new.
    Source: Huang and others, CVPR 2017; parameters and result as for `densenet121`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.densenet169(init=nn.init.zeros()).num_parameters()
    14149480
    """
    return _densenet((6, 12, 32, 32), num_classes, in_channels, growth, init, seed)


def densenet201(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    growth: int = 32,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """DenseNet-201: 20,013,928 parameters for 1000 classes.

    ::

        3x224x224 - stem 64x56x56
          - 6 layers - transition 128x28x28 - 12 layers - transition 256x14x14
          - 48 layers - transition 896x7x7 - 32 layers 1920x7x7 - average pool - fc 1000

    `densenet121` with more layers in its last two blocks; each takes all before it, which was new.
    Source: Huang and others, CVPR 2017; parameters and result as for `densenet121`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.densenet201(init=nn.init.zeros()).num_parameters()
    20013928
    """
    return _densenet((6, 12, 48, 32), num_classes, in_channels, growth, init, seed)
