"""FCN-32s, 16s and 8s: a class for every pixel, from a net for whole images."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import nn
from .._checks import integer
from ..nn import blocks
from ..nn import init as initial

_COUNTS = (2, 2, 3, 3, 3)  # VGG-16's convolutions a stage
VGG_CHANNELS = (64, 128, 256, 512, 512)


def _fcn(
    stride: int,
    num_classes: int,
    in_channels: int,
    channels: Sequence[int],
    hidden: int,
    init: initial.Initializer | None,
    seed: initial.Seed,
) -> nn.Graph:
    """VGG-16 as convolutions, scores at strides 32 to `stride`, and enlargements in between."""
    k = integer(f"fcn{stride}s", "num_classes", num_classes, 1)
    rng = np.random.default_rng(seed)
    nodes: dict[str, tuple[Any, ...]] = {}
    last = "x"

    def then(name: str, layer: nn.Layer) -> None:
        nonlocal last
        nodes[name], last = (layer, last), name

    c = in_channels
    for s, (count, width) in enumerate(zip(_COUNTS, channels, strict=True), 1):
        for i in range(1, count + 1):
            then(f"conv{s}_{i}", nn.Conv2d(c, width, 3, padding=1, init=init, seed=rng))
            then(f"relu{s}_{i}", nn.ReLU())
            c = width
        then(f"pool{s}", nn.MaxPool2d(2, ceil_mode=True))
    for i, (c_in, kernel) in enumerate(((c, 7), (hidden, 1)), 6):
        conv = nn.Conv2d(c_in, hidden, kernel, padding=kernel // 2, init=init, seed=rng)
        then(f"fc{i}", conv)
        then(f"relu{i}", nn.ReLU())
        then(f"drop{i}", nn.Dropout(0.5, seed=int(rng.integers(2**63))))
    then("score_fr", nn.Conv2d(hidden, k, 1, init=init or initial.zeros(), seed=rng))
    at = 32
    for s in (4, 3):
        if at == stride:
            break
        at //= 2
        fuse = blocks.skip_scores(k, channels[s - 1], init=init, seed=rng)
        nodes[f"fuse{at}"], last = (fuse, last, f"pool{s}"), f"fuse{at}"
    start = init or initial.bilinear()
    up = nn.ConvTranspose2d(k, k, 2 * at, at, at // 2, bias=False, init=start, seed=rng)
    then("upscore", up)
    nodes["scores"] = (nn.CropLike(), "upscore", "x")
    return nn.Graph("x", nodes, "scores")


def fcn32s(
    num_classes: int = 21,
    *,
    in_channels: int = 3,
    channels: Sequence[int] = VGG_CHANNELS,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Graph:
    """FCN-32s: scores for every pixel, enlarged 32-fold; 136,152,917 parameters for 21 classes.

    ::

        3xHxW - VGG-16's five stages                                        512 x H/32 x W/32
              - conv 4096 @ 7x7 - dropout - conv 4096 @ 1x1 - dropout      4096 x H/32 x W/32
              - conv 21 @ 1x1: a heat map a class                            21 x H/32 x W/32
              - transposed conv 64x64, stride 32                             21 x H x W

    New in it: a net for classification becomes one for segmentation when its fully connected
    layers are seen as convolutions (`as_convolution`), which take images of any size and give a
    map of scores; transposed convolutions, which start as bilinear interpolation and may learn,
    bring the map to the size of the image. In `fcn16s` and `fcn8s` finer maps are added in.

    Source: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation",
    CVPR 2015. There the image is padded by 100 pixels and the result cropped from the middle; here
    every layer keeps its place (pools round up, the 7x7 convolution is padded by 3), and what
    sticks out at the bottom and right is cropped. Sizes, weights and counts are the same.

    Parameters
    ----------
    num_classes : int
        With the background.
    in_channels : int
        Of the images, whose size is free.
    channels : sequence of five int
        Of VGG's stages; smaller ones make a net that trains in minutes.
    hidden : int
        Channels of what were the fully connected layers.
    init : Initializer, optional
        For all weights. By default He's, zeros for the scores and bilinear interpolation for the
        transposed convolutions; `nn.init.zeros()` where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Graph
        (N, in_channels, H, W) to scores (N, num_classes, H, W); train with `nn.CrossEntropyLoss`
        on classes (N, H, W).

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> net = models.fcn32s(init=nn.init.zeros())
    >>> net.num_parameters(), net.output_shape((3, 375, 500))
    (136152917, (21, 375, 500))
    """
    return _fcn(32, num_classes, in_channels, channels, hidden, init, seed)


def fcn16s(
    num_classes: int = 21,
    *,
    in_channels: int = 3,
    channels: Sequence[int] = VGG_CHANNELS,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Graph:
    """FCN-16s: 134,815,994 parameters for 21 classes.

    ::

        scores at stride 32 - enlarged by 2 - (+) - enlarged by 16
                    conv 21 @ 1x1 of pool4 ---/

    New to `fcn32s`: a skip; scores of the finer maps of pool4 are added to those at stride 32.
    Source: Long, Shelhamer and Darrell, CVPR 2015; parameters and result as for `fcn32s`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.fcn16s(init=nn.init.zeros()).num_parameters()
    134815994
    """
    return _fcn(16, num_classes, in_channels, channels, hidden, init, seed)


def fcn8s(
    num_classes: int = 21,
    *,
    in_channels: int = 3,
    channels: Sequence[int] = VGG_CHANNELS,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Graph:
    """FCN-8s: 134,489,759 parameters for 21 classes.

    ::

        scores at stride 32 - enlarged by 2 - (+) - enlarged by 2 - (+) - enlarged by 8
                    conv 21 @ 1x1 of pool4 ---/   of pool3 --------/

    New to `fcn16s`: a second skip, from pool3, which draws outlines finer still.
    Source: Long, Shelhamer and Darrell, CVPR 2015; parameters and result as for `fcn32s`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.fcn8s(init=nn.init.zeros()).num_parameters()
    134489759
    """
    return _fcn(8, num_classes, in_channels, channels, hidden, init, seed)


def as_convolution(
    linear: nn.Linear, input_shape: Sequence[int] | None = None, padding: int = 0
) -> nn.Conv2d:
    """A fully connected layer as the convolution that computes the same, at every place.

    Parameters
    ----------
    linear : Linear
        Its weights are copied.
    input_shape : (C, H, W), optional
        Of the maps that were flattened before it; (in_features, 1, 1) if they were not.
    padding : int
        Of the convolution; half the kernel keeps the map's size.

    Returns
    -------
    Conv2d
        With a kernel of H x W: on (N, C, H, W) and without padding it gives (N, K, 1, 1), the
        numbers of `linear`.

    Raises
    ------
    ValueError
        If C * H * W is not what `linear` takes.

    Examples
    --------
    >>> from fastcnn import nn
    >>> from fastcnn.models.fcn import as_convolution
    >>> as_convolution(nn.Linear(400, 120), (16, 5, 5))
    Conv2d(16, 120, kernel_size=5)
    """
    weight = linear.weight.data
    c, h, w = (weight.shape[1], 1, 1) if input_shape is None else input_shape
    if c * h * w != weight.shape[1]:
        raise ValueError(
            f"as_convolution: expected maps of {weight.shape[1]} numbers, got {(c, h, w)}"
        )
    conv = nn.Conv2d(
        c, weight.shape[0], (h, w), padding=padding, bias=linear.bias is not None,
        init=initial.zeros(), dtype=weight.dtype,
    )  # fmt: skip
    conv.weight.data[...] = weight.reshape(conv.weight.data.shape)
    if conv.bias is not None and linear.bias is not None:
        conv.bias.data[...] = linear.bias.data
    return conv
