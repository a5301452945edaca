"""Residual blocks, y = relu(F(x) + shortcut(x)), as graphs to build nets from.

Those that join channels are in concat_blocks.py, those that end a net or a branch in
head_blocks.py; they are to be had from here too.

Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016: figure 5
and, for the kinds of shortcut where x and F(x) differ in shape, section 3.3. A block that strides
does so in its (first) 3x3 convolution.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, floating, integer
from . import init as initial
from .activation import ReLU
from .batch_norm import BatchNorm2d
from .concat_blocks import dense_block, inception, transition
from .containers import Graph, Sequential
from .conv import Conv2d, image_shape
from .head_blocks import auxiliary_head, skip_scores
from .layer import Layer, Reach
from .merge import Add

__all__ = ["PadShortcut", "auxiliary_head", "basic_block", "bottleneck", "dense_block",
           "inception", "skip_scores", "transition"]  # fmt: skip

Shortcut = Literal["projection", "pad", "none"]


class PadShortcutContext(NamedTuple):
    """What the way back needs."""

    input_shape: tuple[int, ...]


class PadShortcut(Layer):
    """Every `stride`-th pixel of x, and zeros for the channels that it lacks: no parameters.

    Option A of the paper's shortcuts, which its CIFAR-10 nets use.

    Parameters
    ----------
    in_channels, out_channels : int
        Channels of zeros follow those of x.
    stride : int

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.blocks.PadShortcut(1, 2, 2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 0.,  2.],
             [ 8., 10.]],
    <BLANKLINE>
            [[ 0.,  0.],
             [ 0.,  0.]]]])
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        self.in_channels = integer("PadShortcut", "in_channels", in_channels, 1)
        self.out_channels = integer("PadShortcut", "out_channels", out_channels, self.in_channels)
        self.stride = integer("PadShortcut", "stride", stride, 1)

    def forward(self, x: ArrayLike) -> tuple[Array, PadShortcutContext]:
        """y (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        a = floating("PadShortcut", "x", x, 4)
        y = np.zeros((a.shape[0], *self.output_shape(a.shape[1:])), a.dtype)
        y[:, : self.in_channels] = a[:, :, :: self.stride, :: self.stride]
        return y, PadShortcutContext(a.shape)

    def backward(
        self, dy: ArrayLike, ctx: PadShortcutContext, *, need_dx: bool = True
    ) -> Array | None:
        """dx: dy where a pixel was taken, else 0."""
        if not need_dx:
            return None
        a = floating("PadShortcut", "dy", dy, 4)
        dx = np.zeros(ctx.input_shape, a.dtype)
        dx[:, :, :: self.stride, :: self.stride] = a[:, : self.in_channels]
        return dx

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(out_channels, ceil(H / stride), ceil(W / stride)) for (in_channels, H, W)."""
        c, h, w = image_shape("PadShortcut", input_shape)
        if c != self.in_channels:
            raise ValueError(f"PadShortcut: expected {self.in_channels} channels, got {c}")
        return (self.out_channels, -(-h // self.stride), -(-w // self.stride))

    def reach(self) -> Reach:
        """One pixel, and the stride."""
        return Reach(step=(self.stride, self.stride))

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.in_channels}, {self.out_channels}, stride={self.stride}"


def _conv(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    start: initial.Initializer | None,
    rng: np.random.Generator,
) -> Conv2d:
    """A convolution that keeps the size but for the stride; batch norm's shift is its bias."""
    return Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False,
        init=start or initial.he(mode="fan_out"), seed=rng,
    )  # fmt: skip


def _residual(
    convs: list[Conv2d],
    shortcut: Shortcut,
    start: initial.Initializer | None,
    rng: np.random.Generator,
) -> Graph:
    """conv1 - bn1 - relu1 - conv2 - ... - bn, plus the shortcut if any, then the last ReLU."""
    nodes: dict[str, tuple[Any, ...]] = {}
    last = "x"
    for i, conv in enumerate(convs, 1):
        nodes[f"conv{i}"] = (conv, last)
        nodes[f"bn{i}"] = (BatchNorm2d(conv.out_channels), f"conv{i}")
        last = f"bn{i}"
        if i < len(convs):
            nodes[f"relu{i}"] = (ReLU(), f"bn{i}")
            last = f"relu{i}"
    c_in, c_out = convs[0].in_channels, convs[-1].out_channels
    stride = max(conv.stride[0] for conv in convs)
    if shortcut not in ("projection", "pad", "none"):
        raise ValueError(
            f"residual block: expected shortcut 'projection', 'pad' or 'none', got {shortcut!r}"
        )
    if shortcut != "none":
        by_side = "x"
        if stride > 1 or c_in != c_out:
            by_side = "downsample"
            if shortcut == "projection":
                projection = _conv(c_in, c_out, 1, stride, start, rng)
                nodes[by_side] = (Sequential(projection, BatchNorm2d(c_out)), "x")
            else:
                nodes[by_side] = (PadShortcut(c_in, c_out, stride), "x")
        nodes["add"], last = (Add(), last, by_side), "add"
    nodes["relu"] = (ReLU(), last)
    return Graph("x", nodes, "relu")


def basic_block(
    in_channels: int,
    channels: int,
    stride: int = 1,
    *,
    shortcut: Shortcut = "projection",
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Graph:
    """Two 3x3 convolutions with batch norm, and the input added to what they give.

    ::

        x - conv 3x3, stride - bn - relu - conv 3x3 - bn - (+) - relu
         \\_____________________ shortcut ________________/

    Parameters
    ----------
    in_channels, channels : int
        Of x, and of both convolutions.
    stride : int
        Of the first convolution.
    shortcut : "projection", "pad" or "none"
        Where x and the sum differ in shape: a strided 1x1 convolution with batch norm (option B of
        the paper), or `PadShortcut` (option A). Elsewhere it is x itself. "none" leaves the sum
        out: a block of a plain net, to compare with.
    init : Initializer, optional
        For all convolutions; by default He's with fan_out.
    seed : int, Generator or None

    Returns
    -------
    Graph
        (N, in_channels, H, W) to (N, channels, ceil(H / stride), ceil(W / stride)).

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.basic_block(64, 128, 2).output_shape((64, 56, 56))
    (128, 28, 28)
    """
    rng = np.random.default_rng(seed)
    convs = [
        _conv(in_channels, channels, 3, stride, init, rng),
        _conv(channels, channels, 3, 1, init, rng),
    ]
    return _residual(convs, shortcut, init, rng)


def bottleneck(
    in_channels: int,
    channels: int,
    stride: int = 1,
    *,
    shortcut: Shortcut = "projection",
    init: initial.Initializer | None = None,
    seed: initial.Seed = None,
) -> Graph:
    """A 1x1 convolution to few channels, a 3x3 on them, and a 1x1 to four times as many.

    ::

        x - conv 1x1 - bn - relu - conv 3x3, stride - bn - relu - conv 1x1 - bn - (+) - relu
         \\_______________________________ shortcut _____________________________/

    Parameters
    ----------
    in_channels, channels : int
        Of x, and of the 3x3 convolution; the output has ``4 * channels``.
    stride : int
        Of the 3x3 convolution (the paper's own code had it in the first 1x1, which then never
        sees three quarters of x).
    shortcut, init, seed
        As for `basic_block`.

    Returns
    -------
    Graph
        (N, in_channels, H, W) to (N, 4 * channels, ceil(H / stride), ceil(W / stride)).

    Examples
    --------
    >>> from fastcnn import nn
    >>> nn.blocks.bottleneck(256, 128, 2).output_shape((256, 56, 56))
    (512, 28, 28)
    """
    rng = np.random.default_rng(seed)
    convs = [
        _conv(in_channels, channels, 1, 1, init, rng),
        _conv(channels, channels, 3, stride, init, rng),
        _conv(channels, 4 * channels, 1, 1, init, rng),
    ]
    return _residual(convs, shortcut, init, rng)
