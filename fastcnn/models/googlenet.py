"""GoogLeNet: inception modules, and two classifiers half-way up."""

from typing import Any

import numpy as np

from .. import nn
from .._checks import Pair, pair
from ..nn import blocks
from ..nn import init as initial

# Table 1 of the paper: 1x1; 3x3 reduced and 3x3; 5x5 reduced and 5x5; pool projection.
_INCEPTION: dict[str, tuple[int, tuple[int, int], tuple[int, int], int]] = {
    "3a": (64, (96, 128), (16, 32), 32),
    "3b": (128, (128, 192), (32, 96), 64),
    "4a": (192, (96, 208), (16, 48), 64),
    "4b": (160, (112, 224), (24, 64), 64),
    "4c": (128, (128, 256), (24, 64), 64),
    "4d": (112, (144, 288), (32, 64), 64),
    "4e": (256, (160, 320), (32, 128), 128),
    "5a": (256, (160, 320), (32, 128), 128),
    "5b": (384, (192, 384), (48, 128), 128),
}


def googlenet(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    auxiliary: bool = False,
    image_size: Pair = 224,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Graph:
    """GoogLeNet: 6,998,552 parameters for 1000 classes, 13,378,280 with both auxiliary heads.

    ::

        3x224x224 - conv 64 @ 7x7, stride 2 - pool 3, stride 2 - lrn                 64x56x56
                  - conv 64 @ 1x1 - conv 192 @ 3x3 - lrn - pool 3, stride 2         192x28x28
                  - inception 3a, 3b - pool 3, stride 2                             480x14x14
                  - inception 4a (head 1), 4b, 4c, 4d (head 2), 4e - pool           832x7x7
                  - inception 5a, 5b - global average pool - dropout               1024
                  - fc 1000 (logits)

        a head: average pool 5, stride 3 - conv 128 @ 1x1 - fc 1024 - dropout - fc 1000

    22 layers deep with a ninth of AlexNet's parameters. New in it: the inception module, which
    looks at its input at three scales and keeps that cheap by 1x1 convolutions that reduce the
    channels first; a global average in the place of fully connected layers; and auxiliary heads,
    whose losses (weighted 0.3) feed gradients into the middle of the net.

    Source: Szegedy and others, "Going deeper with convolutions", CVPR 2015, table 1. Trained there
    by SGD with momentum 0.9, the rate lowered by 4 % each 8 epochs.

    Parameters
    ----------
    num_classes : int
    in_channels : int
        Of the images, whose size is free without the heads.
    auxiliary : bool
        Whether the heads are there. Then train with `nn.AuxiliaryLoss`; inference leaves them out.
    image_size : int or (H, W)
        Of the images; for the heads only, whose fully connected layers need it, and whose pools
        need at least 79.
    init : Initializer, optional
        For all weights. By default He's, and N(0, 0.01^2) for the last layers; `nn.init.zeros()`
        where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Graph
        (N, in_channels, H, W) to logits (N, num_classes); with the heads an `AuxiliaryGraph`, whose
        training forward gives a dict of "fc", "aux1" and "aux2".

    Raises
    ------
    ValueError
        If `image_size` is less than 79 with the heads.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.googlenet(init=nn.init.zeros()).num_parameters()
    6998552
    >>> models.googlenet(auxiliary=True, init=nn.init.zeros()).num_parameters()
    13378280
    """
    rng = np.random.default_rng(seed)
    nodes: dict[str, tuple[Any, ...]] = {}
    last = "x"

    def then(name: str, layer: nn.Layer) -> None:
        nonlocal last
        nodes[name], last = (layer, last), name

    then("conv1", nn.Conv2d(in_channels, 64, 7, 2, 3, init=init, seed=rng))
    then("relu1", nn.ReLU())
    then("pool1", nn.MaxPool2d(3, 2, ceil_mode=True))
    then("norm1", nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0))
    then("reduce2", nn.Conv2d(64, 64, 1, init=init, seed=rng))
    then("relu2r", nn.ReLU())
    then("conv2", nn.Conv2d(64, 192, 3, padding=1, init=init, seed=rng))
    then("relu2", nn.ReLU())
    then("norm2", nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0))
    then("pool2", nn.MaxPool2d(3, 2, ceil_mode=True))
    c, widths = 192, {}
    for name, (b1, b3, b5, pool) in _INCEPTION.items():
        then(f"inception{name}", blocks.inception(c, b1, b3, b5, pool, init=init, seed=rng))
        c = widths[name] = b1 + b3[1] + b5[1] + pool
        if name in ("3b", "4e"):
            then(f"pool{name[0]}", nn.MaxPool2d(3, 2, ceil_mode=True))
    then("avgpool", nn.GlobalAvgPool2d())
    then("flatten", nn.Flatten())
    then("drop", nn.Dropout(0.4, seed=int(rng.integers(2**63))))
    then("fc", nn.Linear(c, num_classes, init=init or initial.normal(0.01), seed=rng))
    if not auxiliary:
        return nn.Graph("x", nodes, "fc")
    height, width = pair("googlenet", "image_size", image_size, 79)
    shape: tuple[int, ...] = (1, (height + 1) // 2, (width + 1) // 2)  # of conv1
    for _ in range(3):
        shape = nn.MaxPool2d(3, 2, ceil_mode=True).output_shape(shape)
    for head, name in (("aux1", "4a"), ("aux2", "4d")):
        maps = (widths[name], *shape[1:])
        net = blocks.auxiliary_head(maps, num_classes, init=init, seed=rng)
        nodes[head] = (net, f"inception{name}")
    return nn.AuxiliaryGraph("x", nodes, ("fc", "aux1", "aux2"))
