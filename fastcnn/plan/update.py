"""The optimizers whose update a plan does itself, and how it gets at their state."""

from collections.abc import Sequence
from typing import Any

from .. import nn, optim
from .._checks import Array

_ARRAYS: dict[type, tuple[str, ...]] = {
    optim.SGD: ("velocity",),
    optim.Adam: ("m", "v"),
    optim.AdamW: ("m", "v"),
}


class Update:
    """Updates by an SGD, Adam or AdamW of all trained parameters alike."""

    def __init__(self, optimizer: Any, states: dict[int, dict[str, Any]], fresh: bool) -> None:
        self._optimizer, self._states, self._fresh = optimizer, states, fresh
        self._names = _ARRAYS[type(optimizer)]
        self._uses = not isinstance(optimizer, optim.SGD) or bool(optimizer.momentum)
        self._entries = optimizer.entries()
        first = self._names[0]
        self._known = [(state, state.get(first)) for _, _, state in self._entries if self._uses]

    def arrays(self, p: nn.Parameter) -> tuple[Array | None, Array | None]:
        """The optimizer's arrays of a parameter, in the program's order."""
        if not self._uses:
            return None, None
        state, names = self._states[id(p)], self._names
        return state.get(names[0]), state.get(names[1]) if len(names) > 1 else None

    def holds(self) -> bool:
        """Whether the optimizer's arrays are still where they were."""
        o = self._optimizer
        if isinstance(o, optim.SGD) and self._uses != bool(o.momentum):
            return False
        first = self._names[0]
        for state, array in self._known:
            if state.get(first) is not array:
                return False
        return o.entries() is self._entries

    def tell(self, program: Any) -> None:
        """Give the rule and its numbers to the program."""
        o = self._optimizer
        if isinstance(o, optim.SGD):
            dampening = 0.0 if self._fresh else o.dampening  # the first velocity is the gradient
            program.sgd(o.lr, o.momentum, dampening, o.weight_decay, o.nesterov)
        else:
            step = 1 + next(iter(self._states.values()))["step"]
            decoupled = isinstance(o, optim.AdamW)
            program.adam(step, o.lr, *o.betas, o.eps, o.weight_decay, decoupled)

    def finish(self, done: bool) -> None:
        """Count the step; or, if it was not done, forget the state that was made for it."""
        if not done and self._fresh:
            for state in self._states.values():
                state.clear()
        if not done:
            return
        self._fresh = False
        if not isinstance(self._optimizer, optim.SGD):
            for state in self._states.values():
                state["step"] += 1


def update_of(optimizer: Any, trained: Sequence[nn.Parameter]) -> Update | None:
    """The update that a plan can do for this optimizer at its present state, or None.

    It needs one of the known classes (a subclass may do anything), over exactly the trained
    parameters, at one rate, all of them with the same number of steps behind them.
    """
    if type(optimizer) not in _ARRAYS:
        return None
    found = {id(p): (rate, state) for p, rate, state in optimizer.entries() if p.requires_grad}
    if set(found) != {id(p) for p in trained} or not trained:
        return None
    if any(rate != 1.0 for rate, _ in found.values()):
        return None
    states = {key: state for key, (_, state) in found.items()}
    fresh = not all(states.values())
    if fresh and any(states.values()):
        return None
    if fresh:
        for p in trained:
            states[id(p)].update(optimizer.initial_state(p.data))
    if len({state.get("step") for state in states.values()}) > 1:
        return None
    return Update(optimizer, states, fresh)
