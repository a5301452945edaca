"""Residual nets for CIFAR-10: ResNet-20, 32, 44, 56 and 110."""

import numpy as np

from .. import nn
from ..nn import blocks
from ..nn import init as initial
from .resnet import stage


def _resnet_cifar(
    depth: int,
    num_classes: int,
    in_channels: int,
    residual: bool,
    init: initial.Initializer | None,
    seed: initial.Seed,
) -> nn.Sequential:
    """Stem, three stages of (depth - 2) / 6 basic blocks, and the classifier."""
    rng = np.random.default_rng(seed)
    start = init or initial.he(mode="fan_out")
    layers: dict[str, nn.Layer] = {
        "conv1": nn.Conv2d(in_channels, 16, 3, padding=1, bias=False, init=start, seed=rng),
        "bn1": nn.BatchNorm2d(16),
        "relu": nn.ReLU(),
    }
    for i, (c_in, c) in enumerate([(16, 16), (16, 32), (32, 64)]):
        layers[f"layer{i + 1}"] = stage(
            blocks.basic_block, c_in, c, (depth - 2) // 6, 1 if i == 0 else 2,
            shortcut="pad" if residual else "none", init=init, seed=rng,
        )  # fmt: skip
    layers["avgpool"] = nn.GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(64, num_classes, init=init or initial.normal(0.01), seed=rng)
    return nn.Sequential(layers)


def resnet20(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    residual: bool = True,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-20 for 32x32 images: 269,722 parameters for 10 classes.

    ::

        3x32x32 - conv 16 @ 3x3 - bn - relu                                16x32x32
          - layer1: 3 basic blocks of 16 channels                          16x32x32
          - layer2: 3 basic blocks of 32 channels, the first with stride 2 32x16x16
          - layer3: 3 basic blocks of 64 channels, the first with stride 2 64x8x8
          - global average pool - fc 10 (logits)

    The paper's study of depth: 6n + 2 layers with n = 3, 5, 7, 9 and 18, where plain nets get
    worse from 20 layers on and residual ones better. Shortcuts have no parameters at all: where
    shapes differ, pixels are left out and channels of zeros added (option A).

    Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016,
    section 4.2. Trained there by SGD with momentum 0.9, batch 128, rate 0.1 (divided by 10 after
    32,000 and 48,000 of 64,000 steps), weight decay 1e-4, on images padded by 4, cropped at
    random and flipped: 8.75 % test error (ResNet-110: 6.43 %).

    Parameters
    ----------
    num_classes : int
    in_channels : int
        Of the images, whose size is free.
    residual : bool
        False leaves the shortcuts out: the plain net of the same depth and parameters.
    init : Initializer, optional
        For all weights. By default He's with fan_out for the convolutions, and N(0, 0.01^2) for
        the last layer; `nn.init.zeros()` where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to logits (N, num_classes).

    Examples
    --------
    >>> from fastcnn import models
    >>> models.resnet20().num_parameters()
    269722
    """
    return _resnet_cifar(20, num_classes, in_channels, residual, init, seed)


def resnet32(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    residual: bool = True,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-32 for 32x32 images: 464,154 parameters; `resnet20` with 5 blocks a stage.

    ::

        3x32x32 - conv 16x32x32 - 5 basic blocks 16x32x32 - 5 basic blocks 32x16x16
                - 5 basic blocks 64x8x8 - average pool - fc 10

    Better than 20 layers by the shortcuts alone, where plain nets get worse.
    Source: He and others, CVPR 2016, section 4.2; parameters and result as for `resnet20`.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.resnet32().num_parameters()
    464154
    """
    return _resnet_cifar(32, num_classes, in_channels, residual, init, seed)


def resnet44(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    residual: bool = True,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-44 for 32x32 images: 658,586 parameters; `resnet20` with 7 blocks a stage.

    ::

        3x32x32 - conv 16x32x32 - 7 basic blocks 16x32x32 - 7 basic blocks 32x16x16
                - 7 basic blocks 64x8x8 - average pool - fc 10

    Better than 32 layers by the shortcuts alone, where plain nets get worse.
    Source: He and others, CVPR 2016, section 4.2; parameters and result as for `resnet20`.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.resnet44().num_parameters()
    658586
    """
    return _resnet_cifar(44, num_classes, in_channels, residual, init, seed)


def resnet56(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    residual: bool = True,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-56 for 32x32 images: 853,018 parameters; `resnet20` with 9 blocks a stage.

    ::

        3x32x32 - conv 16x32x32 - 9 basic blocks 16x32x32 - 9 basic blocks 32x16x16
                - 9 basic blocks 64x8x8 - average pool - fc 10

    The net of the paper's first figure: plain, its training error is above that of 20 layers.
    Source: He and others, CVPR 2016, section 4.2; parameters and result as for `resnet20`.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.resnet56().num_parameters()
    853018
    """
    return _resnet_cifar(56, num_classes, in_channels, residual, init, seed)


def resnet110(
    num_classes: int = 10,
    *,
    in_channels: int = 3,
    residual: bool = True,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-110 for 32x32 images: 1,727,962 parameters; `resnet20` with 18 blocks a stage.

    ::

        3x32x32 - conv 16x32x32 - 18 basic blocks 16x32x32 - 18 basic blocks 32x16x16
                - 18 basic blocks 64x8x8 - average pool - fc 10

    New in it: over a hundred layers that train. Its first steps there had the rate 0.01, until
    the training error was below 80 %.
    Source: He and others, CVPR 2016, section 4.2; parameters and result as for `resnet20`.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.resnet110().num_parameters()
    1727962
    """
    return _resnet_cifar(110, num_classes, in_channels, residual, init, seed)
