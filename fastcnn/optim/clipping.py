"""Gradient clipping: by the norm of all gradients together, or number by number."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .._checks import Array, number
from ._base import Entries, Optimizer, Parameter, _expect_keys


def _with_gradients(params: Iterable[Parameter]) -> list[Parameter]:
    return [p for p in params if p.requires_grad and getattr(p, "has_grad", True)]


def clip_grad_norm(params: Iterable[Any], max_norm: float) -> float:
    """Scale all gradients down together until their norm is at most `max_norm`.

    Parameters
    ----------
    params : iterable of Parameter
        Those that are frozen or got no gradient are left out.
    max_norm : float
        At least 0.

    Returns
    -------
    float
        The norm of all gradients as one vector, before: summed in float64.

    Notes
    -----
    As PyTorch's ``clip_grad_norm_``. Source: Pascanu, Mikolov and Bengio, "On the difficulty of
    training recurrent neural networks", ICML 2013, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.zeros(2))
    >>> w.grad = np.array([3.0, 4.0])
    >>> optim.clip_grad_norm([w], 1.0), w.grad
    (5.0, array([0.6, 0.8]))
    """
    limit = number("clip_grad_norm", "max_norm", max_norm, 0.0)
    chosen = _with_gradients(params)
    grads = [p.grad for p in chosen if p.grad is not None]
    norm = math.sqrt(sum(float(np.square(g, dtype=np.float64).sum()) for g in grads))
    if norm > limit:
        for g in grads:
            g *= g.dtype.type(limit / norm)
    return norm


def clip_grad_value(params: Iterable[Any], clip_value: float) -> None:
    """Cut every number of every gradient to -clip_value..clip_value.

    Parameters
    ----------
    params : iterable of Parameter
        Those that are frozen or got no gradient are left out.
    clip_value : float
        At least 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.zeros(2))
    >>> w.grad = np.array([3.0, -0.5])
    >>> optim.clip_grad_value([w], 1.0)
    >>> w.grad
    array([ 1. , -0.5])
    """
    limit = number("clip_grad_value", "clip_value", clip_value, 0.0)
    for p in _with_gradients(params):
        if p.grad is not None:
            np.clip(p.grad, -limit, limit, out=p.grad)


class Clipped(Optimizer):
    """An optimizer whose gradients are clipped before each step.

    Parameters
    ----------
    optimizer : Optimizer
        Does the updates; its rate is this one's.
    norm : float, optional
        For `clip_grad_norm`.
    value : float, optional
        For `clip_grad_value`, which comes first.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.zeros(2))
    >>> optimizer = optim.Clipped(optim.SGD([w], lr=1.0), norm=1.0)
    >>> w.grad = np.array([3.0, 4.0])
    >>> optimizer.step()
    >>> w.data
    array([-0.6, -0.8])
    """

    settings: ClassVar[tuple[str, ...]] = ("norm", "value")

    def __init__(
        self, optimizer: Optimizer, *, norm: float | None = None, value: float | None = None
    ) -> None:
        if norm is None and value is None:
            raise ValueError("Clipped: expected norm or value")
        self.optimizer = optimizer
        self.norm = None if norm is None else number("Clipped", "norm", norm, 0.0)
        self.value = None if value is None else number("Clipped", "value", value, 0.0)

    @property
    def lr(self) -> float:
        return self.optimizer.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.optimizer.lr = value

    def step(self) -> None:
        """Clip, then update every parameter once."""
        params = [p for p, _, _ in self.entries()]
        if self.value is not None:
            clip_grad_value(params, self.value)
        if self.norm is not None:
            clip_grad_norm(params, self.norm)
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        self.optimizer.zero_grad()

    def entries(self) -> Entries:
        """Those of the optimizer."""
        return self.optimizer.entries()

    def initial_state(self, param: Array) -> dict[str, Any]:
        """That of the optimizer."""
        return self.optimizer.initial_state(param)

    def state_dict(self) -> dict[str, Any]:
        """The limits ("settings") and the state of the optimizer that does the updates ("inner").

        Returns
        -------
        dict
            As of every optimizer, nested dictionaries of numbers, strings, arrays and None.
        """
        return {
            "optimizer": type(self).__name__,
            "settings": {name: getattr(self, name) for name in self.settings},
            "inner": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the limits and the optimizer.

        Parameters
        ----------
        state : mapping
            From `state_dict`; copied.

        Raises
        ------
        ValueError
            If it does not fit, as that of an optimizer that clips nothing; nothing is changed then.
        """
        op = f"{type(self).__name__}.load_state_dict"
        self._expect_state(op, state, {"optimizer", "settings", "inner"})
        _expect_keys(op, "settings", state["settings"], set(self.settings))
        checked = Clipped(self.optimizer, **state["settings"])
        self.optimizer.load_state_dict(state["inner"])
        self.norm, self.value = checked.norm, checked.value

    def __repr__(self) -> str:
        limits = (("norm", self.norm), ("value", self.value))
        text = "".join(f", {name}={v:g}" for name, v in limits if v is not None)
        return f"Clipped({self.optimizer!r}{text})"
