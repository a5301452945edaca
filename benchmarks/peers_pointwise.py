"""Activations, softmax, losses and optimizer updates, by each peer, and the bound of memory.

`PASSES` says for each op which arrays it takes (its first letters name them), on which layers of
shapes.py it is measured, and how many arrays it must read and write at least.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import shapes
from .peers import Candidate, Case, tensors, tensors_of

SGD = {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}
ADAM = {"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-4}


class Pass(NamedTuple):
    layers: tuple[shapes.Pointwise, ...]
    streams: int  # arrays read + arrays written
    numpy: Callable[..., Any]
    torch: Callable[..., Any]


def _aten() -> Any:
    import torch

    return torch.ops.aten


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def _log_softmax(x: Any) -> Any:
    shifted = x - x.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def _cross_entropy(x: Any, targets: Any) -> Any:
    log_p = _log_softmax(x)
    rows = np.arange(len(x))
    gradient = np.exp(log_p)
    gradient[rows, targets] -= 1
    gradient /= len(x)
    return -log_p[rows, targets].mean(), gradient


def _torch_loss(name: str) -> Callable[..., Any]:
    def run(x: Any, target: Any) -> Any:
        import torch

        x.requires_grad_()
        loss = getattr(torch.nn.functional, name)(x, target)
        return loss, torch.autograd.grad(loss, x)[0]

    return run


def _mse(x: Any, target: Any) -> Any:
    difference = x - target
    loss = np.vdot(difference, difference) / x.size
    difference *= 2 / x.size
    return loss, difference


def _sgd(param: Any, grad: Any, velocity: Any) -> Any:
    velocity *= SGD["momentum"]
    velocity += grad
    velocity += SGD["weight_decay"] * param
    param -= SGD["lr"] * velocity
    return param, velocity


def _adam(param: Any, grad: Any, m: Any, v: Any) -> Any:
    b1, b2 = ADAM["betas"]
    grad = grad + ADAM["weight_decay"] * param
    m *= b1
    m += (1 - b1) * grad
    v *= b2
    grad *= grad
    grad *= 1 - b2
    v += grad
    np.sqrt(v, out=grad)
    grad /= np.sqrt(1 - b2)
    grad += ADAM["eps"]
    param -= ADAM["lr"] / (1 - b1) * m / grad
    return param, m, v


def _torch_sgd(param: Any, grad: Any, velocity: Any) -> Any:
    _aten()._fused_sgd_(
        [param], [grad], [velocity], **SGD,
        dampening=0.0, nesterov=False, maximize=False, is_first_step=False,
    )  # fmt: skip
    return param, velocity


def _torch_adam(param: Any, grad: Any, m: Any, v: Any) -> Any:
    import torch

    b1, b2 = ADAM["betas"]
    _aten()._fused_adam_(
        [param], [grad], [m], [v], [], [torch.ones(())], lr=ADAM["lr"], beta1=b1, beta2=b2,
        weight_decay=ADAM["weight_decay"], eps=ADAM["eps"], amsgrad=False, maximize=False,
    )  # fmt: skip
    return param, m, v


# fmt: off
_ACT, _CLS, _PAR = shapes.ACTIVATION_LAYERS, shapes.CLASS_LAYERS, shapes.PARAMETER_LAYERS
PASSES = {
    "relu": Pass(_ACT, 2, lambda x: np.maximum(x, 0), lambda x: _aten().relu(x)),
    "relu_backward": Pass(
        _ACT, 3, lambda dy, y: dy * (y > 0), lambda dy, y: _aten().threshold_backward(dy, y, 0)),
    "leaky_relu": Pass(
        _ACT, 2, lambda x: np.maximum(x, 0.01 * x), lambda x: _aten().leaky_relu(x, 0.01)),
    "leaky_relu_backward": Pass(
        _ACT, 3, lambda dy, x: np.where(x > 0, dy, 0.01 * dy),
        lambda dy, x: _aten().leaky_relu_backward(dy, x, 0.01, False)),
    "sigmoid": Pass(_ACT, 2, _sigmoid, lambda x: _aten().sigmoid(x)),
    "sigmoid_backward": Pass(
        _ACT, 3, lambda dy, y: dy * y * (1 - y), lambda dy, y: _aten().sigmoid_backward(dy, y)),
    "tanh": Pass(_ACT, 2, np.tanh, lambda x: _aten().tanh(x)),
    "tanh_backward": Pass(
        _ACT, 3, lambda dy, y: dy * (1 - y * y), lambda dy, y: _aten().tanh_backward(dy, y)),
    "add": Pass(_ACT, 3, np.add, lambda a, b: _aten().add(a, b)),
    "softmax": Pass(_CLS, 2, _softmax, lambda x: _aten().softmax(x, -1)),
    "softmax_backward": Pass(
        _CLS, 3, lambda dy, y: y * (dy - (dy * y).sum(axis=-1, keepdims=True)),
        lambda dy, y: _aten()._softmax_backward_data(dy, y, -1, dy.dtype)),
    "log_softmax": Pass(_CLS, 2, _log_softmax, lambda x: _aten().log_softmax(x, -1)),
    "log_softmax_backward": Pass(
        _CLS, 3, lambda dy, y: dy - np.exp(y) * dy.sum(axis=-1, keepdims=True),
        lambda dy, y: _aten()._log_softmax_backward_data(dy, y, -1, dy.dtype)),
    "softmax_cross_entropy": Pass(_CLS, 2, _cross_entropy, _torch_loss("cross_entropy")),
    "mse": Pass(_ACT, 3, _mse, _torch_loss("mse_loss")),
    "sgd_update": Pass(_PAR, 5, _sgd, _torch_sgd),
    "adam_update": Pass(_PAR, 7, _adam, _torch_adam),
}
# fmt: on


class PointwiseCase(Case):
    """One op of `PASSES` (its name is `wrt`) over one array."""

    layer: shapes.Pointwise
    layouts = ("torch",)

    @property
    def bytes(self) -> int:
        """What a float32 pass must move."""
        return 4 * PASSES[self.wrt].streams * int(np.prod(self.layer.shape))

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        shape = self.layer.shape
        first, second, third = (rng.standard_normal(shape, np.float32) for _ in range(3))
        if self.wrt == "softmax_cross_entropy":
            return first, rng.integers(0, shape[1], shape[0])
        if self.wrt == "sgd_update":
            return first, second, third  # param, grad, velocity
        if self.wrt == "adam_update":  # a first step: param, grad, m, v
            return first, second, np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        if self.wrt in ("add", "mse", "leaky_relu_backward"):
            return first, second
        if self.wrt.endswith("_backward"):  # dy, and the y of a forward pass
            forward = PASSES[self.wrt.removesuffix("_backward")].numpy
            return first, forward(second).astype(np.float32)
        return (first,)

    def call(self, library: Any, *data: Any) -> Any:
        op = getattr(library, self.wrt)
        if self.wrt == "sgd_update":
            op(*data, **SGD)
            return data[0], data[2]
        if self.wrt == "adam_update":
            op(*data, step=1, **ADAM)
            return data[0], data[2], data[3]
        return op(*data)

    def numpy(self, *data: Any) -> Any:
        return PASSES[self.wrt].numpy(*data)

    def torch(self, channels_last: bool) -> Candidate:
        data = tensors(self.data)
        return Candidate(lambda: PASSES[self.wrt].torch(*data), tensors_of)
