"""RMSprop: every parameter's rate over the size of its recent gradients."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .._checks import Array, number
from ._base import Optimizer


class RMSprop(Optimizer):
    """RMSprop, as PyTorch's ``torch.optim.RMSprop``.

    With g = grad + weight_decay * param, square = alpha * square + (1 - alpha) * g^2; the
    parameter changes by -lr * g / (sqrt(square) + eps), or with momentum by -lr * velocity,
    velocity = momentum * velocity + g / (sqrt(square) + eps).

    Parameters
    ----------
    params : iterable
        Parameters, or groups ``{"params": ..., "lr": ...}`` with rates of their own.
    lr : float
        Learning rate, >= 0.
    alpha : float
        In 0..1: how much of the mean square stays at a step.
    eps : float
        >= 0.
    weight_decay : float
        L2 penalty, >= 0.
    momentum : float
        >= 0. Without it one array is kept for each parameter, with it two.

    Raises
    ------
    TypeError
        If `params` are no parameters.
    ValueError
        If there are none, one is there twice, or a number is out of range.

    Notes
    -----
    Source: Tieleman and Hinton, "Lecture 6.5 - RMSProp", COURSERA: Neural networks for machine
    learning, 2012.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.array([1.0]), name="w")
    >>> optimizer = optim.RMSprop([w], lr=0.25, alpha=0.75, eps=0.0)
    >>> w.grad = np.array([4.0])
    >>> optimizer.step()
    >>> w.data
    array([0.5])
    """

    settings = ("alpha", "eps", "weight_decay", "momentum")
    state_kinds: ClassVar[Mapping[str, type]] = {"square": np.ndarray, "velocity": np.ndarray}
    _may_lack = frozenset({"velocity"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        self.alpha = number("RMSprop", "alpha", alpha, 0.0)
        if self.alpha > 1:
            raise ValueError(f"RMSprop: expected alpha in 0..1, got {alpha}")
        self.eps = number("RMSprop", "eps", eps, 0.0)
        self.weight_decay = number("RMSprop", "weight_decay", weight_decay, 0.0)
        self.momentum = number("RMSprop", "momentum", momentum, 0.0)

    def initial_state(self, param: Array) -> dict[str, Any]:
        """A mean square of zeros, and a velocity of zeros if there is momentum."""
        names = ("square", "velocity") if self.momentum else ("square",)
        return {name: np.zeros_like(param) for name in names}

    def update(self, param: Array, grad: Array, state: dict[str, Any], lr: float) -> None:
        """Change one parameter in place; see `Optimizer.update`."""
        if not state or (self.momentum and "velocity" not in state):
            state.update({**self.initial_state(param), **state})  # momentum may be set later
        g = grad + self.weight_decay * param if self.weight_decay else grad
        square = state["square"]
        square *= self.alpha
        square += (1 - self.alpha) * g * g
        size = np.sqrt(square)
        size += self.eps
        change = g / size
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += change
            change = velocity
        param -= lr * change
