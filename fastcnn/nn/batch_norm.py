"""Batch normalisation as a layer: the batch's statistics in training, running ones in inference."""

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import ops
from .._checks import Array, floating, integer, number
from .layer import differing
from .parameter import Buffer, Parameter
from .shape import SameShape

# Held while running statistics move on, so that no batch is lost when several threads train.
_updating = threading.Lock()


class BatchNormContext(NamedTuple):
    """What the backward pass of batch normalisation needs."""

    x: Array
    mean: Array
    inv_std: Array


class FrozenNormContext(NamedTuple):
    """What it needs if the running statistics were used."""

    x: Array
    mean: Array
    var: Array


def frozen_gradients(
    dy: Array, x: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Gradients of weight and bias where the statistics are constants, of any (N, C, ...)."""
    planes = (len(x), len(mean), x.size // max(len(x) * len(mean), 1))
    g = dy.reshape(planes)
    normalised = ops.batch_norm(x.reshape(planes), None, None, mean, var, eps=eps)
    return (g * normalised).sum((0, 2)), g.sum((0, 2))


class BatchNorm2d(SameShape):
    """Take each channel to mean 0 and variance 1, then scale it by `weight` and shift it by `bias`.

    Training, ``layer.forward(x)``, normalises with the mean and the variance of the batch, and
    moves the running statistics towards them:
    ``running = (1 - momentum) * running + momentum * batch``. Inference, ``layer(x)``, normalises
    with the running statistics and changes nothing, so a sample's result does not depend on the
    others in its batch. The running statistics are buffers: they are in `state_dict`, but no
    optimizer sees them. Frozen by `freeze`, they are used in training too and stay as they are
    (one of them frozen alone stays too, but training goes on with the batch's);
    ``requires_grad = False`` for weight and bias alone leaves them moving, as in PyTorch.

    Source: Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing
    internal covariate shift", ICML 2015.

    Parameters
    ----------
    num_features : int
        C, the number of channels.
    eps : float
        Added to the variance.
    momentum : float
        Share of the batch in the running statistics, 0 to 1. 0 leaves them as they are, as when a
        trained net is fine-tuned on small batches.
    affine : bool
        Whether there are `weight` and `bias`.
    dtype : float32 or float64

    Attributes
    ----------
    weight, bias : Parameter or None
        (C,), ones and zeros at the start.
    running_mean, running_var : Buffer
        (C,), zeros and ones at the start. The variance is the unbiased one, over (elements - 1),
        while the batch itself is normalised with the biased one, as in PyTorch.

    Raises
    ------
    TypeError
        If `dtype` is neither float32 nor float64; when called, if x is not of the weights' dtype.
    ValueError
        If an argument is out of range; when called, if x is not of C channels, or, in training, has
        one value a channel.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> bn = nn.BatchNorm2d(2)
    >>> x = np.random.default_rng(0).normal(5, 3, (8, 2, 4, 4)).astype(np.float32)
    >>> y, ctx = bn.forward(x)
    >>> bool(abs(y.mean()) < 1e-6), round(float(y.std()), 4)
    (True, 1.0)
    >>> bool(np.allclose(bn.running_mean.data, 0.1 * x.mean((0, 2, 3))))
    True
    >>> list(bn.state_dict())
    ['weight', 'bias', 'running_mean', 'running_var']
    """

    gives_new = True

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.num_features = integer("BatchNorm2d", "num_features", num_features, 1)
        self.eps = number("BatchNorm2d", "eps", eps, 0.0)
        self.momentum = number("BatchNorm2d", "momentum", momentum, 0.0)
        if self.momentum > 1:
            raise ValueError(f"BatchNorm2d: expected momentum in 0..1, got {momentum!r}")
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        self.running_mean = Buffer(np.zeros(num_features, dtype))
        self.running_var = Buffer(np.ones(num_features, dtype))

    def affine(self) -> tuple[Array | None, Array | None]:
        """The arrays of weight and bias, or None for both."""
        if self.weight is None or self.bias is None:
            return None, None
        return self.weight.data, self.bias.data

    def __call__(self, x: ArrayLike) -> Array:
        """y, shape of x: (N, C, H, W), or (N, C) for features."""
        mean, var = self.running_mean.data, self.running_var.data
        return ops.batch_norm(self._checked(x), *self.affine(), mean, var, eps=self.eps)

    @property
    def frozen(self) -> bool:
        """Whether training uses the running statistics, and leaves them as they are."""
        return self.running_mean.frozen and self.running_var.frozen

    def forward(self, x: ArrayLike) -> tuple[Array, BatchNormContext | FrozenNormContext]:
        """y, normalised with x's own statistics; the running ones move on, unless frozen."""
        a = self._checked(x)
        if self.frozen:
            mean, var = self.running_mean.data.copy(), self.running_var.data.copy()
            y = ops.batch_norm(a, *self.affine(), mean, var, eps=self.eps)
            return y, FrozenNormContext(a, mean, var)
        count = a.size // self.num_features
        self.expect_several(count)
        y, mean, inv_std = ops.batch_norm_forward(a, *self.affine(), eps=self.eps)
        self.move_statistics(mean, inv_std, count)
        return y, BatchNormContext(a, mean, inv_std)

    def expect_several(self, count: int) -> None:
        """ValueError for a training batch of one value a channel."""
        if count == 1:
            raise ValueError(
                "BatchNorm2d: expected more than one value a channel in training (their variance "
                "is 0), got one image of one pixel; a larger batch would fit"
            )

    def move_statistics(self, mean: Array, inv_std: Array, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` values a channel."""
        if count > 1:
            # In float64 the variance comes back from inv_std with all the digits that matter.
            var = np.maximum(inv_std**-2.0 - self.eps, 0.0)
            with _updating:
                self._move(self.running_mean, mean)
                self._move(self.running_var, var * (count / (count - 1)))

    def _move(self, running: Buffer, batch: Array) -> None:
        if not running.frozen:
            running.data[...] = (1 - self.momentum) * running.data + self.momentum * batch

    def backward(
        self,
        dy: ArrayLike,
        ctx: BatchNormContext | FrozenNormContext,
        *,
        need_dx: bool = True,
    ) -> Array | None:
        """Gradients of weight and bias are added to theirs, that of x is returned."""
        if not need_dx and not self.trains():
            return None
        if isinstance(ctx, FrozenNormContext):
            return self._backward_frozen(np.asarray(dy), ctx, need_dx)
        dx, dw, db = ops.batch_norm_backward(dy, ctx.x, self.affine()[0], ctx.mean, ctx.inv_std)
        if self.weight is not None and self.bias is not None:
            self.weight.add_grad(dw, fresh=True)
            self.bias.add_grad(db, fresh=True)
        return dx if need_dx else None

    def _backward_frozen(self, dy: Array, ctx: FrozenNormContext, need_dx: bool) -> Array | None:
        """The statistics are constants here, so the way back is a scale."""
        if self.weight is not None and self.bias is not None and self.trains():
            dw, db = frozen_gradients(dy, ctx.x, ctx.mean, ctx.var, self.eps)
            self.weight.add_grad(dw, fresh=True)
            self.bias.add_grad(db, fresh=True)
        if not need_dx:
            return None
        zeros = np.zeros_like(ctx.mean)
        return ops.batch_norm(dy, self.affine()[0], None, zeros, ctx.var, eps=self.eps)

    def _checked(self, x: ArrayLike) -> Array:
        a = floating("BatchNorm2d", "x", x, None)
        self.output_shape(a.shape[1:])
        return a

    def output_shape(self, input_shape: Any) -> tuple[int, ...]:
        """The input's shape, (C, H, W) or (C,)."""
        shape = tuple(input_shape)
        if len(shape) not in (1, 3):
            raise ValueError(
                f"BatchNorm2d: expected an input of shape ({self.num_features}, H, W) or "
                f"({self.num_features},), without the batch axis, got {shape}"
            )
        if shape[0] != self.num_features:
            raise ValueError(
                f"BatchNorm2d: expected {self.num_features} channels, got {shape[0]} in {shape}; "
                f"BatchNorm2d({shape[0]}) would fit"
            )
        return shape

    def extra_repr(self) -> str:
        """Arguments that differ from their defaults."""
        return str(self.num_features) + differing(
            ("eps", self.eps, 1e-5),
            ("momentum", self.momentum, 0.1),
            ("affine", self.weight is not None, True),
        )
