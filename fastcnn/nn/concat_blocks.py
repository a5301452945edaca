"""Blocks that join channels, as graphs to build nets from: inception, dense block, transition.

Sources: Szegedy and others, "Going deeper with convolutions", CVPR 2015, figure 2b; Huang, Liu, van
der Maaten and Weinberger, "Densely connected convolutional networks", CVPR 2017, section 3.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._checks import integer
from . import init as initial
from .activation import ReLU
from .batch_norm import BatchNorm2d
from .containers import Graph, Sequential
from .conv import Conv2d
from .merge import Concat
from .pooling import AvgPool2d, MaxPool2d


def inception(
    in_channels: int,
    branch1: int,
    branch3: Sequence[int],
    branch5: Sequence[int],
    pool: int,
    *,
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Graph:
    """Four views of x at different scales, side by side; 1x1 convolutions keep them cheap.

    ::

           / conv 1x1 ------------------- \\
        x - conv 1x1 - conv 3x3 ---------- concat
          \\ conv 1x1 - conv 5x5 --------- /
           \\ max pool 3x3 - conv 1x1 --- /

    A ReLU follows each convolution.

    Parameters
    ----------
    in_channels : int
        Of x.
    branch1 : int
        Channels of the 1x1 convolution.
    branch3, branch5 : (int, int)
        Channels of the 1x1 that reduces, and of the 3x3 (5x5) after it.
    pool : int
        Channels after the pool.
    init : Initializer, optional
        For all convolutions; by default He's.
    seed : int, Generator or None

    Returns
    -------
    Graph
        (N, in_channels, H, W) to (N, branch1 + branch3[1] + branch5[1] + pool, H, W).

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.inception(192, 64, (96, 128), (16, 32), 32).output_shape((192, 28, 28))
    (256, 28, 28)
    """
    rng = np.random.default_rng(seed)
    nodes: dict[str, tuple[Any, ...]] = {}

    def conv(name: str, source: str, c_in: int, c_out: int, kernel: int) -> str:
        layer = Conv2d(c_in, c_out, kernel, padding=kernel // 2, init=init, seed=rng)
        nodes[name] = (layer, source)
        nodes[f"relu_{name}"] = (ReLU(), name)
        return f"relu_{name}"

    (reduce3, out3), (reduce5, out5) = branch3, branch5
    ends = [conv("conv1x1", "x", in_channels, branch1, 1)]
    ends.append(conv("conv3x3", conv("reduce3x3", "x", in_channels, reduce3, 1), reduce3, out3, 3))
    ends.append(conv("conv5x5", conv("reduce5x5", "x", in_channels, reduce5, 1), reduce5, out5, 5))
    nodes["pool"] = (MaxPool2d(3, 1, 1), "x")
    ends.append(conv("project", "pool", in_channels, pool, 1))
    nodes["concat"] = (Concat(), *ends)
    return Graph("x", nodes, "concat")


def dense_block(
    in_channels: int,
    count: int,
    growth: int = 32,
    *,
    bottleneck: int = 4,
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Graph:
    """Layers each of which sees the outputs of all before it, and adds `growth` channels.

    ::

        a layer: bn - relu - conv 1x1 - bn - relu - conv 3x3
        x - layer - concat - layer - concat - ... - concat
         \\________/      \\________/

    Parameters
    ----------
    in_channels : int
        Of x.
    count : int
        Layers.
    growth : int
        Channels that each adds.
    bottleneck : int
        The 1x1 convolution gives ``bottleneck * growth`` channels.
    init : Initializer, optional
        For all convolutions; by default He's.
    seed : int, Generator or None

    Returns
    -------
    Graph
        (N, in_channels, H, W) to (N, in_channels + count * growth, H, W).

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.dense_block(64, 6).output_shape((64, 56, 56))
    (256, 56, 56)
    """
    integer("dense_block", "count", count, 1)
    rng = np.random.default_rng(seed)
    nodes: dict[str, tuple[Any, ...]] = {}
    c, last = in_channels, "x"
    for i in range(1, count + 1):
        middle = bottleneck * growth
        layer = {
            "norm1": BatchNorm2d(c),
            "relu1": ReLU(),
            "conv1": Conv2d(c, middle, 1, bias=False, init=init, seed=rng),
            "norm2": BatchNorm2d(middle),
            "relu2": ReLU(),
            "conv2": Conv2d(middle, growth, 3, padding=1, bias=False, init=init, seed=rng),
        }
        nodes[f"denselayer{i}"] = (Sequential(layer), last)
        nodes[f"concat{i}"] = (Concat(), last, f"denselayer{i}")
        c, last = c + growth, f"concat{i}"
    return Graph("x", nodes, last)


def transition(
    in_channels: int,
    out_channels: int,
    *,
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Sequential:
    """Between two dense blocks: bn - relu - conv 1x1 - average pool 2.

    Parameters
    ----------
    in_channels, out_channels : int
        The paper halves them.
    init : Initializer, optional
        By default He's.
    seed : int, Generator or None

    Returns
    -------
    Sequential
        (N, in_channels, H, W) to (N, out_channels, H // 2, W // 2).

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.transition(256, 128).output_shape((256, 56, 56))
    (128, 28, 28)
    """
    conv = Conv2d(in_channels, out_channels, 1, bias=False, init=init, seed=seed)
    layers = {"norm": BatchNorm2d(in_channels), "relu": ReLU(), "conv": conv, "pool": AvgPool2d(2)}
    return Sequential(layers)
