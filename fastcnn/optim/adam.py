"""Adam, and AdamW with weight decay past the running means."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from .. import ops
from .._checks import Array, number
from ..ops.optim import check_betas
from ._base import Optimizer


class Adam(Optimizer):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1).

    Parameters
    ----------
    params : iterable
        Parameters, or groups ``{"params": ..., "lr": ...}`` with rates of their own.
    lr : float
        Learning rate, >= 0.
    betas : (float, float)
        Decay of the running means of the gradient and of its square, in [0, 1).
    eps : float
        Added to the root of the mean square, >= 0.
    weight_decay : float
        L2 penalty, >= 0: weight_decay * param is added to the gradient.

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
    >>> optimizer = optim.Adam([w], lr=0.25)
    >>> w.grad = np.array([7.0])
    >>> optimizer.step()
    >>> w.data.round(6)
    array([0.75])
    """

    settings = ("betas", "eps", "weight_decay")
    state_kinds: ClassVar[Mapping[str, type]] = {
        "step": int,
        "m": np.ndarray,
        "v": np.ndarray,
    }
    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr)
        op = type(self).__name__
        self.betas = check_betas(op, betas)
        self.eps = number(op, "eps", eps, 0.0)
        self.weight_decay = number(op, "weight_decay", weight_decay, 0.0)

    def update(self, param: Array, grad: Array, state: dict[str, Any], lr: float) -> None:
        """Change one parameter in place; see `Optimizer.update`."""
        if not state:
            state.update(self.initial_state(param))
        ops.adam_update(
            param,
            grad,
            state["m"],
            state["v"],
            step=state["step"] + 1,
            lr=lr,
            betas=self.betas,
            eps=self.eps,
            weight_decay=self.weight_decay,
            decoupled=self._decoupled,
        )
        state["step"] += 1


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    The parameter shrinks by lr * weight_decay of itself at each step, whatever its gradients.

    Parameters
    ----------
    params, lr, betas, eps
        As in `Adam`.
    weight_decay : float
        >= 0.

    Raises
    ------
    TypeError, ValueError
        As in `Adam`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> w = nn.Parameter(np.array([1.0]), name="w")
    >>> optimizer = optim.AdamW([w], lr=0.25, weight_decay=0.5)
    >>> w.grad = np.array([7.0])
    >>> optimizer.step()
    >>> w.data.round(6)
    array([0.625])
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
