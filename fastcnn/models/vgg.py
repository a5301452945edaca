"""VGG-11, 13, 16 and 19: 3x3 convolutions all the way."""

import numpy as np

from .. import nn
from .._checks import Pair, integer, pair
from ..nn import init as initial

# Convolutions in each of the five stages.
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def _vgg(
    depth: int,
    num_classes: int,
    in_channels: int,
    image_size: Pair,
    hidden: int,
    init: initial.Initializer | None,
    seed: initial.Seed,
) -> nn.Sequential:
    """Five stages of convolutions, each closed by a pool, and three fully connected layers."""
    op = f"vgg{depth}"
    height, width = (n // 32 for n in pair(op, "image_size", image_size, 32))  # five pools of 2
    integer(op, "hidden", hidden, 1)
    rng = np.random.default_rng(seed)
    layers: dict[str, nn.Layer] = {}
    c = in_channels
    for s, (count, channels) in enumerate(zip(_STAGES[depth], _CHANNELS, strict=True), 1):
        for i in range(1, count + 1):
            layers[f"conv{s}_{i}"] = nn.Conv2d(c, channels, 3, padding=1, init=init, seed=rng)
            layers[f"relu{s}_{i}"] = nn.ReLU()
            c = channels
        layers[f"pool{s}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    for i, features in ((6, c * height * width), (7, hidden)):
        layers[f"fc{i}"] = nn.Linear(features, hidden, init=init, seed=rng)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"drop{i}"] = nn.Dropout(0.5, seed=int(rng.integers(2**63)))
    layers["fc8"] = nn.Linear(hidden, num_classes, init=init or initial.normal(0.01), seed=rng)
    return nn.Sequential(layers)


def vgg16(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    image_size: Pair = 224,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """VGG-16: 138,357,544 parameters for 1000 classes and 224x224 images.

    ::

        3x224x224 - 2 x conv  64 @ 3x3 - pool 2    64x112x112
                  - 2 x conv 128 @ 3x3 - pool 2   128x56x56
                  - 3 x conv 256 @ 3x3 - pool 2   256x28x28
                  - 3 x conv 512 @ 3x3 - pool 2   512x14x14
                  - 3 x conv 512 @ 3x3 - pool 2   512x7x7
                  - fc 4096 - dropout - fc 4096 - dropout - fc 1000 (logits)

    A ReLU follows each layer but the last. New in it: only 3x3 kernels, two of which see as much
    as one 5x5 with fewer weights and a ReLU more, and so depth. Three quarters of the parameters
    are in the first fully connected layer.

    Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image
    recognition", ICLR 2015, table 1 (A, B, D and E for 11, 13, 16 and 19 layers). Trained there by
    SGD with momentum 0.9, batch 256, rate 0.01, weight decay 5e-4.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    image_size : int or (H, W)
        Of the images, at least 32: the first fully connected layer needs it.
    hidden : int
        Width of the fully connected layers.
    init : Initializer, optional
        For all weights. By default He's, and N(0, 0.01^2) for the last layer; `nn.init.zeros()`
        where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to logits (N, num_classes).

    Raises
    ------
    ValueError
        If `image_size` is less than 32.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.vgg16(init=nn.init.zeros()).num_parameters()
    138357544
    """
    return _vgg(16, num_classes, in_channels, image_size, hidden, init, seed)


def vgg11(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    image_size: Pair = 224,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """VGG-11: 132,863,336 parameters for 1000 classes and 224x224 images.

    ::

        3x224x224 - 1 x conv 64 - pool 112x112 - 1 x conv 128 - pool 56x56
                  - 2 x conv 256 - pool 28x28 - 2 x conv 512 - pool 14x14
                  - 2 x conv 512 - pool 7x7 - fc 4096 - fc 4096 - fc 1000 (all convs 3x3)

    The shallowest of the four, net A: it learned from random weights, and its weights were the
    start of the deeper ones.
    Source: Simonyan and Zisserman, ICLR 2015, table 1; parameters and result as for `vgg16`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.vgg11(init=nn.init.zeros()).num_parameters()
    132863336
    """
    return _vgg(11, num_classes, in_channels, image_size, hidden, init, seed)


def vgg13(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    image_size: Pair = 224,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """VGG-13: 133,047,848 parameters for 1000 classes and 224x224 images.

    ::

        3x224x224 - 2 x conv 64 - pool 112x112 - 2 x conv 128 - pool 56x56
                  - 2 x conv 256 - pool 28x28 - 2 x conv 512 - pool 14x14
                  - 2 x conv 512 - pool 7x7 - fc 4096 - fc 4096 - fc 1000 (all convs 3x3)

    Net B: a second convolution in the first two stages; pairs of 3x3 in the place of 5x5.
    Source: Simonyan and Zisserman, ICLR 2015, table 1; parameters and result as for `vgg16`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.vgg13(init=nn.init.zeros()).num_parameters()
    133047848
    """
    return _vgg(13, num_classes, in_channels, image_size, hidden, init, seed)


def vgg19(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    image_size: Pair = 224,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """VGG-19: 143,667,240 parameters for 1000 classes and 224x224 images.

    ::

        3x224x224 - 2 x conv 64 - pool 112x112 - 2 x conv 128 - pool 56x56
                  - 4 x conv 256 - pool 28x28 - 4 x conv 512 - pool 14x14
                  - 4 x conv 512 - pool 7x7 - fc 4096 - fc 4096 - fc 1000 (all convs 3x3)

    Net E, the deepest: from here on depth alone no longer helped, until there were shortcuts.
    Source: Simonyan and Zisserman, ICLR 2015, table 1; parameters and result as for `vgg16`.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.vgg19(init=nn.init.zeros()).num_parameters()
    143667240
    """
    return _vgg(19, num_classes, in_channels, image_size, hidden, init, seed)
