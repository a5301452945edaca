"""Stochastic gradient descent, with momentum, Nesterov's too, and weight decay."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import ops
from .._checks import Array, number
from ._base import Due, Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent, as PyTorch's ``torch.optim.SGD``.

    With g = grad + weight_decay * param, the velocity is g at a parameter's first step, and later
    momentum * velocity + (1 - dampening) * g; the parameter changes by -lr * velocity, or by
    -lr * (g + momentum * velocity) with `nesterov`.

    Parameters
    ----------
    params : iterable
        Parameters, or groups ``{"params": ..., "lr": ...}`` with rates of their own.
    lr : float
        Learning rate, >= 0.
    momentum : float
        >= 0.
    dampening : float
        As above.
    weight_decay : float
        L2 penalty, >= 0.
    nesterov : bool
        Look ahead by one step (Sutskever et al. 2013); needs momentum and no dampening.

    Raises
    ------
    TypeError
        If `params` are no parameters.
    ValueError
        If there are none, one is there twice, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.array([1.0]), name="w")
    >>> optimizer = optim.SGD([w], lr=0.25, momentum=0.5)
    >>> for _ in range(2):
    ...     w.grad = np.array([1.0])
    ...     optimizer.step()
    >>> w.data
    array([0.375])
    >>> optimizer.state_dict()["state"]
    {'w': {'velocity': array([1.5])}}
    """

    settings = ("momentum", "dampening", "weight_decay", "nesterov")
    state_kinds: ClassVar[Mapping[str, type]] = {"velocity": np.ndarray}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, lr)
        self.momentum = number("SGD", "momentum", momentum, 0.0)
        self.dampening = number("SGD", "dampening", dampening)
        self.weight_decay = number("SGD", "weight_decay", weight_decay, 0.0)
        self.nesterov = bool(nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "SGD: expected momentum > 0 and dampening == 0 with nesterov, got "
                f"momentum={self.momentum:g}, dampening={self.dampening:g}"
            )

    def initial_state(self, param: Array) -> dict[str, Any]:
        """A velocity of zeros, if there is momentum."""
        return super().initial_state(param) if self.momentum else {}

    def update(self, param: Array, grad: Array, state: dict[str, Any], lr: float) -> None:
        """Change one parameter in place; see `Optimizer.update`."""
        first = bool(self.momentum) and "velocity" not in state
        if first:
            state.update(self.initial_state(param))
        self._apply([(param, grad, state, lr)], 0.0 if first else self.dampening)

    def _update_all(self, due: list[Due]) -> None:
        own = getattr(self.update, "__func__", None)
        if own is not SGD.update:  # a subclass, or this object, has another
            super()._update_all(due)
            return
        again = [one for one in due if not self.momentum or "velocity" in one[2]]
        if len(again) < len(due):
            super()._update_all([one for one in due if "velocity" not in one[2]])
        self._apply(again, self.dampening)

    def _apply(self, due: list[Due], dampening: float) -> None:
        """One call for many parameters: a net has many small ones."""
        ops.sgd_update(
            [param for param, _, _, _ in due],
            [grad for _, grad, _, _ in due],
            [state["velocity"] for _, _, state, _ in due] if self.momentum else None,
            lr=[lr for _, _, _, lr in due],
            momentum=self.momentum,
            dampening=dampening,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
