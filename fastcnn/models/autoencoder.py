"""A convolutional autoencoder: an image through a narrow code and back."""

import numpy as np

from .. import nn
from .._checks import Pair, pair
from ..nn import init as initial


def autoencoder(
    code: int = 32,
    *,
    in_channels: int = 1,
    image_size: Pair = 28,
    seed: initial.Seed = 0,
) -> nn.Sequential:
    """Convolutional autoencoder for 28x28 digits: 111,521 parameters with a code of 32.

    ::

        encoder  1x28x28 - conv 16 @ 3x3, stride 2 - conv 32 @ 3x3, stride 2 - fc 32 (the code)
        decoder  32 - fc 32*7*7 - transposed conv 16 @ 3x3, stride 2
                    - transposed conv 1 @ 3x3, stride 2 - sigmoid     1x28x28

    A ReLU follows each layer but the code and the last. New in autoencoders: nobody labels
    anything, the images are their own targets (train with `nn.MSELoss`). The encoder shrinks, the
    mirrored decoder restores; what comes through the code is what matters of a digit: a compression
    of 784 / 32 = 24.5 to 1, and features for other tasks (``net["encoder"](x)``). Convolutions need
    few weights for it: nine tenths are in the two fully connected layers at the code.

    Source: Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks",
    Science 313, 2006; with convolutions: Masci, Meier, Cireşan and Schmidhuber, "Stacked
    convolutional auto-encoders for hierarchical feature extraction", ICANN 2011.

    Parameters
    ----------
    code : int
        Numbers that an image is told by.
    in_channels : int
    image_size : int or (H, W)
        Of the images, multiples of 4.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        Of "encoder" and "decoder": (N, in_channels, H, W) to the same, in 0..1.

    Raises
    ------
    ValueError
        If a size is no multiple of 4.

    Examples
    --------
    >>> from fastcnn import models
    >>> net = models.autoencoder()
    >>> net.num_parameters(), net["encoder"].output_shape((1, 28, 28))
    (111521, (32,))
    """
    height, width = pair("autoencoder", "image_size", image_size, 4)
    if height % 4 or width % 4:
        raise ValueError(
            f"autoencoder: expected image_size to be a multiple of 4, got {height}x{width}"
        )
    rng = np.random.default_rng(seed)
    maps = (32, height // 4, width // 4)
    features = 32 * (height // 4) * (width // 4)
    encoder = {
        "conv1": nn.Conv2d(in_channels, 16, 3, 2, 1, seed=rng),
        "relu1": nn.ReLU(),
        "conv2": nn.Conv2d(16, 32, 3, 2, 1, seed=rng),
        "relu2": nn.ReLU(),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(features, code, init=initial.xavier(), seed=rng),
    }
    decoder = {
        "fc": nn.Linear(code, features, seed=rng),
        "relu1": nn.ReLU(),
        "unflatten": nn.Unflatten(maps),
        "conv1": nn.ConvTranspose2d(32, 16, 3, 2, 1, 1, seed=rng),
        "relu2": nn.ReLU(),
        "conv2": nn.ConvTranspose2d(16, in_channels, 3, 2, 1, 1, seed=rng),
        "sigmoid": nn.Sigmoid(),
    }
    return nn.Sequential({"encoder": nn.Sequential(encoder), "decoder": nn.Sequential(decoder)})
