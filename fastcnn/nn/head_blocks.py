"""Blocks that end a net or a branch of it, as graphs: scores with a skip, auxiliary classifiers.

Sources: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation", CVPR
2015, section 4; Szegedy and others, "Going deeper with convolutions", CVPR 2015, section 5.
"""

from collections.abc import Sequence

import numpy as np

from . import init as initial
from .activation import ReLU
from .containers import Graph, Sequential
from .conv import Conv2d
from .conv_transpose import ConvTranspose2d
from .dropout import Dropout
from .linear import Linear
from .merge import Add
from .pooling import AvgPool2d
from .shape import CropLike, Flatten


def skip_scores(
    num_classes: int,
    skip_channels: int,
    *,
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Graph:
    """Scores of a coarse map, enlarged to twice the size, plus those of a finer map.

    ::

        x - enlarge (transposed conv 4x4, stride 2) - crop - (+)
                              skip - score (conv 1x1) -----/

    Coarse maps know what there is, fine ones where. The enlarged map may be a row or column too
    large, where a pool rounded up; what sticks out at the bottom and right is cropped.

    Parameters
    ----------
    num_classes : int
        Channels of x and of the result.
    skip_channels : int
        Of the finer map.
    init : Initializer, optional
        For both layers. By default the scores start at zero, so that the block only interpolates,
        and the transposed convolution as bilinear interpolation.
    seed : int, Generator or None

    Returns
    -------
    Graph
        Of two inputs, "x" (N, num_classes, h, w) and "skip" (N, skip_channels, H, W) with H at most
        2 h and W at most 2 w, to (N, num_classes, H, W).

    Raises
    ------
    ValueError
        If a number is no integer >= 1; when called, if the finer map is too large.

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.skip_scores(21, 512).output_shape({"x": (21, 12, 16), "skip": (512, 24, 31)})
    (21, 24, 31)
    """
    rng = np.random.default_rng(seed)
    score = Conv2d(skip_channels, num_classes, 1, init=init or initial.zeros(), seed=rng)
    enlarge = ConvTranspose2d(
        num_classes, num_classes, 4, 2, 1, bias=False, init=init or initial.bilinear(), seed=rng
    )
    nodes = {
        "score": (score, "skip"),
        "enlarge": (enlarge, "x"),
        "crop": (CropLike(), "enlarge", "score"),
        "sum": (Add(), "crop", "score"),
    }
    return Graph(("x", "skip"), nodes, "sum")


def auxiliary_head(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    channels: int = 128,
    hidden: int = 1024,
    dropout: float = 0.7,
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Sequential:
    """A classifier half-way up a net, whose loss feeds gradients into the layers below it.

    ::

        x - average pool 5, stride 3 - conv 1x1 - relu - flatten - fc - relu - dropout - fc

    A branch of an `AuxiliaryGraph`; trained with `AuxiliaryLoss`, left out in inference.

    Parameters
    ----------
    input_shape : (C, H, W)
        Of the map that it branches off; H and W at least 5.
    num_classes : int
    channels, hidden : int
        Of the convolution, and units of the first fully connected layer.
    dropout : float
        Share of the hidden units that a training step leaves out.
    init : Initializer, optional
        For all weights; by default He's, and N(0, 0.01^2) for the last layer.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, C, H, W) to logits (N, num_classes).

    Raises
    ------
    ValueError
        If the map is smaller than 5x5, or another argument out of range.

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.auxiliary_head((512, 14, 14), 1000).output_shape((512, 14, 14))
    (1000,)
    """
    rng = np.random.default_rng(seed)
    pool = AvgPool2d(5, 3)
    c, h, w = pool.output_shape(tuple(input_shape))
    return Sequential(
        {
            "pool": pool,
            "conv": Conv2d(c, channels, 1, init=init, seed=rng),
            "relu1": ReLU(),
            "flatten": Flatten(),
            "fc1": Linear(channels * h * w, hidden, init=init, seed=rng),
            "relu2": ReLU(),
            "drop": Dropout(dropout, seed=int(rng.integers(2**63))),
            "fc2": Linear(hidden, num_classes, init=init or initial.normal(0.01), seed=rng),
        }
    )
