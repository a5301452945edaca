"""LeNet-5, the CNN that read the digits on cheques, as it is built now and as it was."""

from typing import Literal

import numpy as np

from .. import nn
from .._checks import Pair, pair
from ..nn import init
from .lenet_1998 import lenet5_1998


def lenet5(
    variant: Literal["relu", "lecture", "1998"] = "relu",
    *,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: Pair = 28,
    seed: init.Seed = 0,
) -> nn.Sequential:
    """LeNet-5 for 28x28 digits: 61,706 parameters (the original of 1998: 60,000).

    ::

        1x28x28 - conv 6 @ 5x5, pad 2 - pool 2 - conv 16 @ 5x5 - pool 2 - fc 120 - fc 84 - fc 10
                  6x28x28               6x14x14  16x10x10        16x5x5

    New in it: weights shared over the image, a local receptive field, and subsampling, trained
    from pixels to classes by backpropagation. Source: LeCun, Bottou, Bengio and Haffner,
    "Gradient-based learning applied to document recognition", Proc. IEEE 86(11), 1998.

    Parameters
    ----------
    variant : "relu", "lecture" or "1998"
        "relu": ReLU after each layer but the last, max pooling; He initial weights. The one to use.
        "lecture": sigmoid and average pooling, as textbooks tell it; Xavier initial
        weights with the sigmoid's gain of 4.
        "1998": scaled tanh, trainable subsampling, a table of connections in C3, and outputs that
        are minus the squared distances to drawn digits; see `fastcnn.models.lenet_1998`. Train it
        with `models.DistanceLoss`. Its codes are those of ten digits of 28x28.
    num_classes, in_channels : int
    image_size : int or (H, W)
        Of other images than digits; both at least 12.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to scores (N, num_classes), the largest of which
        is the answer: logits, or for "1998" minus the squared distances.

    Raises
    ------
    ValueError
        If `variant` is another, the image is too small, or "1998" is asked for other sizes.

    Examples
    --------
    >>> from fastcnn import models
    >>> net = models.lenet5(seed=1)
    >>> print(net.summary((1, 28, 28)))
    Sequential on 1x28x28, batch of 1
    layer  kind         output  parameters  multiply-adds  field  activations   weights
    conv1  Conv2d      6x28x28         156        117,600    5x5     18.4 KiB     624 B
    relu1  ReLU        6x28x28           0              0    5x5     18.4 KiB       0 B
    pool1  MaxPool2d   6x14x14           0              0    6x6      4.6 KiB       0 B
    conv2  Conv2d     16x10x10       2,416        240,000  14x14      6.2 KiB   9.4 KiB
    relu2  ReLU       16x10x10           0              0  14x14      6.2 KiB       0 B
    pool2  MaxPool2d    16x5x5           0              0  16x16      1.6 KiB       0 B
    flat   Flatten         400           0              0  16x16      1.6 KiB       0 B
    fc1    Linear          120      48,120         48,000  32x32        480 B   188 KiB
    relu3  ReLU            120           0              0  32x32        480 B       0 B
    fc2    Linear           84      10,164         10,080  32x32        336 B  39.7 KiB
    relu4  ReLU             84           0              0  32x32        336 B       0 B
    fc3    Linear           10         850            840  32x32         40 B   3.3 KiB
    total                           61,706        416,520            61.7 KiB   241 KiB
    training takes about 605 KiB with gradients, and 241 KiB for each state of the optimizer
    """
    height, width = pair("lenet5", "image_size", image_size, 12)
    if variant == "1998":
        if (num_classes, in_channels, height, width) != (10, 1, 28, 28):
            raise ValueError(
                "lenet5: expected 10 classes of 1x28x28 for variant '1998', got "
                f"{num_classes} of {in_channels}x{height}x{width}; 'relu' would fit"
            )
        return lenet5_1998(seed=seed)
    if variant not in ("relu", "lecture"):
        raise ValueError(f"lenet5: expected variant 'relu', 'lecture' or '1998', got {variant!r}")
    pixels = ((height // 2 - 4) // 2) * ((width // 2 - 4) // 2)  # of pool2's maps
    rng = np.random.default_rng(seed)
    relu = variant == "relu"
    start = init.he() if relu else init.xavier(gain=4.0)
    act, act_name = (nn.ReLU, "relu") if relu else (nn.Sigmoid, "sigmoid")
    pool = nn.MaxPool2d if relu else nn.AvgPool2d
    return nn.Sequential(
        {
            "conv1": nn.Conv2d(in_channels, 6, 5, padding=2, init=start, seed=rng),
            f"{act_name}1": act(),
            "pool1": pool(2),
            "conv2": nn.Conv2d(6, 16, 5, init=start, seed=rng),
            f"{act_name}2": act(),
            "pool2": pool(2),
            "flat": nn.Flatten(),
            "fc1": nn.Linear(16 * pixels, 120, init=start, seed=rng),
            f"{act_name}3": act(),
            "fc2": nn.Linear(120, 84, init=start, seed=rng),
            f"{act_name}4": act(),
            "fc3": nn.Linear(84, num_classes, init=init.xavier(), seed=rng),
        }
    )
