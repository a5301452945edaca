"""The parts of the original LeNet-5 that later nets dropped, and the net made of them.

Source: LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document
recognition", Proc. IEEE 86(11), 1998: section II-B (the net), II-C (the loss), appendix A (scaled
tanh). Names of layers (C1, S2, C3, S4, C5, F6) are the paper's. Initial weights are LeCun's of the
same year (`nn.init.lecun`): the smaller ones of appendix A (+-2.4 / fan_in) let the signal fade
over six layers, which the paper's second-order training overcomes and plain descent does not.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import nn, ops
from .._checks import Array, floating
from ..nn import init
from ..nn.conv import image_shape
from ..nn.layer import Reach
from ..nn.shape import SameShape
from ._digit_codes import digit_codes

# Table I of the paper: which maps of S2 each of the 16 maps of C3 sees.
C3_TABLE = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class InputContext(NamedTuple):
    """For layers whose backward pass needs the input."""

    x: Array


class TanhContext(NamedTuple):
    """Tanh of the scaled input, before the amplitude."""

    t: Array


class SubsampleContext(NamedTuple):
    """Sums of the windows, and the shape they came from."""

    sums: Array
    input_shape: tuple[int, ...]


class ScaledTanh(SameShape):
    """``1.7159 tanh(2/3 x)`` (appendix A), which maps +-1 to +-1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models.lenet_1998 import ScaledTanh
    >>> ScaledTanh()(np.array([0.0, 1.0, -1.0])).round(3)
    array([ 0.,  1., -1.])
    """

    AMPLITUDE = 1.7159
    SLOPE = 2 / 3

    def forward(self, x: ArrayLike) -> tuple[Array, TanhContext]:
        """y, shape of x."""
        a = floating("ScaledTanh", "x", x, None)
        t = ops.tanh(a * self.SLOPE)
        return t * self.AMPLITUDE, TanhContext(t)

    def backward(self, dy: ArrayLike, ctx: TanhContext, *, need_dx: bool = True) -> Array | None:
        """dx = dy * A * S * (1 - t^2)."""
        if not need_dx:
            return None
        return ops.tanh_backward(dy, ctx.t) * (self.AMPLITUDE * self.SLOPE)


class Subsample(nn.Layer):
    """Sum over 2x2 windows, times one trainable coefficient a map, plus one bias a map.

    Parameters
    ----------
    channels : int

    Attributes
    ----------
    weight, bias : Parameter
        (C,)

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models.lenet_1998 import Subsample
    >>> layer = Subsample(6)
    >>> layer.num_parameters(), layer(np.zeros((1, 6, 28, 28), np.float32)).shape
    (12, (1, 6, 14, 14))
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels
        # The mean of the window at first: a coefficient near 0 would cut its map off.
        self.weight = nn.Parameter(np.full(channels, 0.25, np.float32))
        self.bias = nn.Parameter(np.zeros(channels, np.float32))

    def forward(self, x: ArrayLike) -> tuple[Array, SubsampleContext]:
        """y (N, C, H/2, W/2)."""
        a = np.asarray(x)
        sums = ops.avg_pool2d(a, 2) * 4
        y = sums * self.weight.data[:, None, None] + self.bias.data[:, None, None]
        return y, SubsampleContext(sums, a.shape)

    def backward(
        self, dy: ArrayLike, ctx: SubsampleContext, *, need_dx: bool = True
    ) -> Array | None:
        """Gradients of coefficient and bias are added, that of x is returned."""
        d = np.asarray(dy)
        self.weight.add_grad((d * ctx.sums).sum((0, 2, 3)))
        self.bias.add_grad(d.sum((0, 2, 3)))
        if not need_dx:
            return None
        d = d * (4 * self.weight.data[:, None, None])
        return ops.avg_pool2d_backward(d, ctx.input_shape, 2)

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, H/2, W/2)."""
        c, h, w = image_shape("Subsample", input_shape)
        if c != self.channels:
            raise ValueError(f"Subsample: expected {self.channels} channels, got {c}")
        return nn.AvgPool2d(2).output_shape((c, h, w))

    def reach(self) -> Reach:
        """2x2, stride 2."""
        return Reach((2, 2), (2, 2))

    def extra_repr(self) -> str:
        """Maps."""
        return str(self.channels)


class TableConv2d(nn.Layer):
    """Convolution in which each output map sees some of the input maps, as a table says.

    Only the kernels that exist are parameters.

    Parameters
    ----------
    in_channels : int
    table : sequence of sequences of int
        For each output map the input maps that it sees.
    kernel_size : int
    seed : int, Generator or None

    Attributes
    ----------
    weight : Parameter
        (connections, KH, KW), in the order of the table.
    bias : Parameter
        (K,)

    Examples
    --------
    >>> from fastcnn.models.lenet_1998 import C3_TABLE, TableConv2d
    >>> TableConv2d(6, C3_TABLE, 5).num_parameters()
    1516
    """

    def __init__(
        self,
        in_channels: int,
        table: tuple[tuple[int, ...], ...],
        kernel_size: int,
        *,
        seed: init.Seed = None,
    ) -> None:
        self.in_channels, self.out_channels = in_channels, len(table)
        self.kernel_size = kernel_size
        self.outputs = np.repeat(np.arange(len(table)), [len(row) for row in table])
        self.sources = np.concatenate([np.asarray(row) for row in table])
        rng = np.random.default_rng(seed)
        taps = (kernel_size, kernel_size)
        kernels = [init.lecun()((1, len(row), *taps), rng)[0] for row in table]
        self.weight = nn.Parameter(np.concatenate(kernels).astype(np.float32))
        self.bias = nn.Parameter(np.zeros(len(table), np.float32))

    def _dense(self) -> Array:
        """(K, C, KH, KW), zero where there is no connection."""
        w = self.weight.data
        dense = np.zeros((self.out_channels, self.in_channels, *w.shape[1:]), w.dtype)
        dense[self.outputs, self.sources] = w
        return dense

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """y (N, K, OH, OW)."""
        a = floating("TableConv2d", "x", x, 4)
        return ops.conv2d(a, self._dense(), self.bias.data), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """Gradients of the kernels that exist and of the bias are added, that of x is returned."""
        dense = self._dense()
        dw, db = ops.conv2d_backward_weight(dy, ctx.x, dense.shape)
        self.weight.add_grad(dw[self.outputs, self.sources], fresh=True)
        self.bias.add_grad(db, fresh=True)
        return ops.conv2d_backward_input(dy, dense, ctx.x.shape) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(K, OH, OW)."""
        same = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel_size, init=init.zeros(), seed=0
        )
        return same.output_shape(input_shape)

    def multiply_adds(self, input_shape: Any) -> int:
        """Of the connections that exist."""
        _, oh, ow = self.output_shape(input_shape)
        return self.weight.data.size * oh * ow

    def reach(self) -> Reach:
        """The kernel."""
        return Reach((self.kernel_size, self.kernel_size))

    def extra_repr(self) -> str:
        """Sizes and connections."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"connections={len(self.sources)}"
        )


class DistanceOutput(nn.Layer):
    """Minus the squared distance of x to each class's code (Euclidean RBF units, eq. 7).

    Minus, so that the largest score is the answer, as with logits.

    Parameters
    ----------
    codes : array_like
        (classes, features); frozen, as in the paper (free codes would collapse onto each other).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models.lenet_1998 import DistanceOutput
    >>> DistanceOutput(np.eye(2, dtype=np.float32))(np.array([[1.0, 0.0]], np.float32))
    array([[-0., -2.]], dtype=float32)
    """

    def __init__(self, codes: ArrayLike) -> None:
        self.codes = nn.Parameter(codes, requires_grad=False)

    def forward(self, x: ArrayLike) -> tuple[Array, InputContext]:
        """Scores (N, classes) of x (N, features)."""
        a = floating("DistanceOutput", "x", x, 2, self.codes.data.dtype)
        if a.shape[1] != self.codes.data.shape[1]:
            raise ValueError(
                f"DistanceOutput: expected {self.codes.data.shape[1]} features, got {a.shape}"
            )
        return -((a[:, None] - self.codes.data) ** 2).sum(2), InputContext(a)

    def backward(self, dy: ArrayLike, ctx: InputContext, *, need_dx: bool = True) -> Array | None:
        """dx = sum over classes of dy * -2 (x - code)."""
        d = np.asarray(dy)
        apart = 2 * (ctx.x[:, None] - self.codes.data) * d[:, :, None]
        if self.codes.requires_grad:
            self.codes.add_grad(apart.sum(0))
        return -apart.sum(1) if need_dx else None

    def output_shape(self, input_shape: Any) -> tuple[int]:
        """(classes,)."""
        if tuple(input_shape) != self.codes.data.shape[1:]:
            raise ValueError(
                f"DistanceOutput: expected an input of shape {self.codes.data.shape[1:]}, "
                f"got {tuple(input_shape)}"
            )
        return (self.codes.data.shape[0],)

    def multiply_adds(self, input_shape: Any) -> int:
        """One for each number in the codes."""
        return self.codes.data.size

    def reach(self) -> None:
        """All of the input."""

    def extra_repr(self) -> str:
        """Features and classes."""
        classes, features = self.codes.data.shape
        return f"{features}, {classes}"


class DistanceLoss:
    """The losses of section II-C, for scores that are minus squared distances.

    Parameters
    ----------
    rubbish : float or None
        None: eq. 8, the mean distance to the code of the right class. A number j: eq. 9, which
        also pushes the wrong codes away, ``distance + log(exp(-j) + sum(exp(-distances)))``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import models
    >>> value, gradient = models.DistanceLoss()(np.array([[-3.0, -1.0]]), np.array([1]))
    >>> value, gradient
    (1.0, array([[ 0., -1.]]))
    """

    def __init__(self, rubbish: float | None = None) -> None:
        self.rubbish = rubbish

    def __call__(self, scores: ArrayLike, targets: ArrayLike) -> tuple[float, Array]:
        """Value and gradient, the mean over the batch, of scores (N, C) with classes (N,)."""
        s, t = floating("DistanceLoss", "scores", scores, 2), np.asarray(targets)
        n, c = s.shape
        if t.shape != (n,) or t.dtype.kind not in "iu" or (n and not 0 <= t.min() <= t.max() < c):
            raise ValueError(
                f"DistanceLoss: expected {n} integer targets in 0..{c - 1}, got {t.dtype} {t.shape}"
            )
        if self.rubbish is not None:  # one more class, at distance j, which is never the target
            j = np.full((n, 1), -self.rubbish, s.dtype)
            value, gradient = ops.softmax_cross_entropy(np.concatenate([s, j], 1), t)
            return value, np.ascontiguousarray(gradient[:, :-1])
        at = (np.arange(n), t)
        gradient = np.zeros_like(s)
        gradient[at] = -1 / max(n, 1)
        return -float(s[at].sum(dtype=np.float64)) / max(n, 1), gradient

    def __repr__(self) -> str:
        return f"DistanceLoss(rubbish={self.rubbish})"


def lenet5_1998(*, seed: init.Seed = 0) -> nn.Sequential:
    """LeNet-5 as it was: 60,000 trainable parameters; see `fastcnn.models.lenet5`.

    ::

        C1 6@5x5, pad 2 - S2 - C3 16@5x5 by table - S4 - C5 120@5x5 - F6 84 - distances to 10 codes
        6x28x28           6x14x14  16x10x10         16x5x5  120x1x1

    with a scaled tanh after each. The paper's 32x32 image is the 28x28 one with a border of 2.

    Examples
    --------
    >>> from fastcnn.models.lenet_1998 import lenet5_1998
    >>> net = lenet5_1998()
    >>> net.num_parameters(trainable=True), net.num_parameters()
    (60000, 60840)
    """
    rng = np.random.default_rng(seed)
    start = init.lecun()
    return nn.Sequential(
        c1=nn.Conv2d(1, 6, 5, padding=2, init=start, seed=rng),
        tanh1=ScaledTanh(),
        s2=Subsample(6),
        tanh2=ScaledTanh(),
        c3=TableConv2d(6, C3_TABLE, 5, seed=rng),
        tanh3=ScaledTanh(),
        s4=Subsample(16),
        tanh4=ScaledTanh(),
        c5=nn.Conv2d(16, 120, 5, init=start, seed=rng),
        tanh5=ScaledTanh(),
        flat=nn.Flatten(),
        f6=nn.Linear(120, 84, init=start, seed=rng),
        tanh6=ScaledTanh(),
        output=DistanceOutput(digit_codes()),
    )
