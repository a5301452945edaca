"""Residual nets for ImageNet: ResNet-18, 34, 50, 101 and 152."""

from collections.abc import Callable, Sequence

import numpy as np

from .. import nn
from ..nn import blocks
from ..nn import init as initial

Block = Callable[..., nn.Graph]
EXPANSION: dict[Block, int] = {blocks.basic_block: 1, blocks.bottleneck: 4}


def stage(
    block: Block,
    in_channels: int,
    channels: int,
    count: int,
    stride: int,
    *,
    shortcut: blocks.Shortcut = "projection",
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> nn.Sequential:
    """`count` blocks in a chain, the first of which strides and takes `in_channels`."""
    rng = np.random.default_rng(seed)
    chain = []
    for i in range(count):
        c = in_channels if i == 0 else channels * EXPANSION[block]
        step = stride if i == 0 else 1
        chain.append(block(c, channels, step, shortcut=shortcut, init=init, seed=rng))
    return nn.Sequential(*chain)


def _resnet(
    block: Block,
    counts: Sequence[int],
    num_classes: int,
    in_channels: int,
    init: initial.Initializer | None,
    seed: initial.Seed,
) -> nn.Sequential:
    """Stem, four stages of `counts` blocks, and the classifier."""
    rng = np.random.default_rng(seed)
    start = init or initial.he(mode="fan_out")
    layers: dict[str, nn.Layer] = {
        "conv1": nn.Conv2d(in_channels, 64, 7, 2, 3, bias=False, init=start, seed=rng),
        "bn1": nn.BatchNorm2d(64),
        "relu": nn.ReLU(),
        "maxpool": nn.MaxPool2d(3, 2, 1),
    }
    c = 64
    for i, count in enumerate(counts):
        channels, stride = 64 << i, 1 if i == 0 else 2
        layers[f"layer{i + 1}"] = stage(block, c, channels, count, stride, init=init, seed=rng)
        c = channels * EXPANSION[block]
    layers["avgpool"] = nn.GlobalAvgPool2d()
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(c, num_classes, init=init or initial.normal(0.01), seed=rng)
    return nn.Sequential(layers)


def resnet18(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-18: 11,689,512 parameters for 1000 classes.

    ::

        3x224x224 - conv 64 @ 7x7, stride 2 - bn - relu - max pool 3x3, stride 2    64x56x56
          - layer1: 2 basic blocks of  64 channels                                  64x56x56
          - layer2: 2 basic blocks of 128 channels, the first with stride 2        128x28x28
          - layer3: 2 basic blocks of 256 channels, the first with stride 2        256x14x14
          - layer4: 2 basic blocks of 512 channels, the first with stride 2        512x7x7
          - global average pool - fc 1000 (logits)

    A basic block is two 3x3 convolutions with batch norm, and adds its input to what they give:
    y = relu(F(x) + x). That was new: a block has to learn only what x lacks, and gradients reach
    every layer through the sums, so that nets of over a hundred layers can be trained.

    Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016,
    table 1, with shortcuts of option B (a 1x1 convolution where shapes differ). Trained there by
    SGD with momentum 0.9, batch 256, rate 0.1, weight decay 1e-4, without dropout.

    Parameters
    ----------
    num_classes : int
    in_channels : int
        Of the images, whose size is free.
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
    >>> from fastcnn import models, nn
    >>> net = models.resnet18(init=nn.init.zeros())
    >>> net.num_parameters()
    11689512
    >>> net.summary((3, 224, 224)).multiply_adds
    1814073344
    """
    return _resnet(blocks.basic_block, (2, 2, 2, 2), num_classes, in_channels, init, seed)


def resnet34(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-34: 21,797,672 parameters for 1000 classes.

    ::

        3x224x224 - stem 64x56x56 - 3 basic blocks 64x56x56 - 4 basic blocks 128x28x28
                  - 6 basic blocks 256x14x14 - 3 basic blocks 512x7x7 - average pool - fc 1000

    `resnet18` with more blocks. It learned ImageNet better than 18 layers did, where a plain net of
    34 was worse than one of 18. Source: He and others, CVPR 2016; parameters and result as for
    `resnet18`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.resnet34(init=nn.init.zeros()).num_parameters()
    21797672
    """
    return _resnet(blocks.basic_block, (3, 4, 6, 3), num_classes, in_channels, init, seed)


def resnet50(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-50: 25,557,032 parameters for 1000 classes.

    ::

        3x224x224 - conv 64 @ 7x7, stride 2 - bn - relu - max pool 3x3, stride 2    64x56x56
          - layer1: 3 bottlenecks of  64 channels                                  256x56x56
          - layer2: 4 bottlenecks of 128 channels, the first with stride 2         512x28x28
          - layer3: 6 bottlenecks of 256 channels, the first with stride 2        1024x14x14
          - layer4: 3 bottlenecks of 512 channels, the first with stride 2        2048x7x7
          - global average pool - fc 1000 (logits)

    A bottleneck narrows to a quarter of the channels by a 1x1 convolution, works on them by a 3x3,
    and widens again by a 1x1: three layers for about the price of a basic block's two. The stride
    is in the 3x3, not in the first 1x1 as in the paper's own code. New in it: that block, which
    makes depth cheap. Source: He and others, CVPR 2016; parameters and result as for `resnet18`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.resnet50(init=nn.init.zeros()).num_parameters()
    25557032
    """
    return _resnet(blocks.bottleneck, (3, 4, 6, 3), num_classes, in_channels, init, seed)


def resnet101(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-101: 44,549,160 parameters for 1000 classes.

    ::

        3x224x224 - stem 64x56x56 - 3 bottlenecks 256x56x56 - 4 bottlenecks 512x28x28
                  - 23 bottlenecks 1024x14x14 - 3 bottlenecks 2048x7x7 - average pool - fc 1000

    `resnet50` with 23 blocks in its third stage: twice the depth, and still better for it.
    Source: He and others, CVPR 2016; parameters and result as for `resnet18`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.resnet101(init=nn.init.zeros()).num_parameters()
    44549160
    """
    return _resnet(blocks.bottleneck, (3, 4, 23, 3), num_classes, in_channels, init, seed)


def resnet152(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """ResNet-152: 60,192,808 parameters for 1000 classes.

    ::

        3x224x224 - stem 64x56x56 - 3 bottlenecks 256x56x56 - 8 bottlenecks 512x28x28
                  - 36 bottlenecks 1024x14x14 - 3 bottlenecks 2048x7x7 - average pool - fc 1000

    `resnet50` with 8 and 36 blocks in its second and third stages; the deepest net for ImageNet
    of its time, part of the ensemble that won in 2015.
    Source: He and others, CVPR 2016; parameters and result as for `resnet18`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.resnet152(init=nn.init.zeros()).num_parameters()
    60192808
    """
    return _resnet(blocks.bottleneck, (3, 8, 36, 3), num_classes, in_channels, init, seed)
