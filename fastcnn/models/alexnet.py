"""AlexNet, the net that made deep learning win at images."""

from typing import Any

import numpy as np

from .. import nn
from .._checks import Pair, pair
from ..nn import init as initial


def alexnet(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    image_size: Pair = 227,
    hidden: int = 4096,
    init: initial.Initializer | None = None,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """AlexNet: 60,965,224 parameters for 1000 classes and 227x227 images.

    ::

        3x227x227 - conv  96 @ 11x11, stride 4 - lrn - pool 3, stride 2          96x27x27
                  - conv 256 @ 5x5, pad 2, 2 groups - lrn - pool 3, stride 2    256x13x13
                  - conv 384 @ 3x3, pad 1                                       384x13x13
                  - conv 384 @ 3x3, pad 1, 2 groups                             384x13x13
                  - conv 256 @ 3x3, pad 1, 2 groups - pool 3, stride 2          256x6x6
                  - fc 4096 - dropout - fc 4096 - dropout - fc 1000 (logits)

    A ReLU follows each layer but the last. New in it: ReLU, which trains several times as fast as
    tanh; dropout; overlapping pools; local response normalisation; and training on two GPUs, of
    which the groups remain. (The paper says 224x224 images, but its own sizes need 227.)

    Source: Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional
    neural networks", NIPS 2012. Trained there by SGD with momentum 0.9, batch 128, rate 0.01,
    weight decay 5e-4, on random 224x224 crops of 256x256 images and their mirror images.

    Parameters
    ----------
    num_classes : int
    in_channels : int
    image_size : int or (H, W)
        Of the images, at least 67: the first fully connected layer needs it.
    hidden : int
        Width of the fully connected layers.
    init : Initializer, optional
        For all weights. By default He's, and N(0, 0.01^2) for the last layer; the paper has
        N(0, 0.01^2) for all. `nn.init.zeros()` where weights are loaded afterwards.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to logits (N, num_classes).

    Raises
    ------
    ValueError
        If `image_size` is less than 67.

    Examples
    --------
    >>> from fastcnn import models, nn
    >>> models.alexnet(init=nn.init.zeros()).num_parameters()
    60965224
    """
    size = pair("alexnet", "image_size", image_size, 67)
    rng = np.random.default_rng(seed)

    def conv(c_in: int, c_out: int, kernel: int, **options: Any) -> nn.Conv2d:
        return nn.Conv2d(c_in, c_out, kernel, init=init, seed=rng, **options)

    layers: dict[str, nn.Layer] = {
        "conv1": conv(in_channels, 96, 11, stride=4),
        "relu1": nn.ReLU(),
        "norm1": nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        "pool1": nn.MaxPool2d(3, 2),
        "conv2": conv(96, 256, 5, padding=2, groups=2),
        "relu2": nn.ReLU(),
        "norm2": nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0),
        "pool2": nn.MaxPool2d(3, 2),
        "conv3": conv(256, 384, 3, padding=1),
        "relu3": nn.ReLU(),
        "conv4": conv(384, 384, 3, padding=1, groups=2),
        "relu4": nn.ReLU(),
        "conv5": conv(384, 256, 3, padding=1, groups=2),
        "relu5": nn.ReLU(),
        "pool5": nn.MaxPool2d(3, 2),
        "flatten": nn.Flatten(),
    }
    (features,) = nn.Sequential(layers).output_shape((in_channels, *size))
    for i, c in ((6, features), (7, hidden)):
        layers[f"fc{i}"] = nn.Linear(c, hidden, init=init, seed=rng)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"drop{i}"] = nn.Dropout(0.5, seed=int(rng.integers(2**63)))
    layers["fc8"] = nn.Linear(hidden, num_classes, init=init or initial.normal(0.01), seed=rng)
    return nn.Sequential(layers)
