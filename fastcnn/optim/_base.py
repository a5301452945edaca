"""Optimizer: which parameters are updated, at what rate, and the state that a resume needs."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from .._checks import Array, integer, number


class Parameter(Protocol):
    """What an optimizer needs of a parameter; `fastcnn.nn.Parameter` has it."""

    data: Array
    name: str
    requires_grad: bool

    @property
    def grad(self) -> Array | None: ...
    @grad.setter
    def grad(self, value: Array | None) -> None: ...


class _Slot(NamedTuple):
    """A parameter, the key of its state, and its group's rate over the optimizer's."""

    parameter: Parameter
    key: str
    rate: float


Entries = tuple[tuple[Parameter, float, dict[str, Any]], ...]

Due = tuple[Array, Array, dict[str, Any], float]
"""What a step changes: a parameter's data, its gradient, its state, the rate of its group."""


class Optimizer:
    """Base of all optimizers.

    An optimizer of your own is a subclass with `update`, which changes one parameter in place,
    `settings`, the names of its numbers (attributes and arguments of its constructor alike), and
    `state_kinds`, what it keeps per parameter.

    Parameters
    ----------
    params : iterable
        Parameters (``model.parameters()``), or groups, as in PyTorch: dictionaries with "params"
        and, for a rate of its own, "lr". Setting `lr` later scales all groups alike.
    lr : float
        Learning rate, >= 0.

    Attributes
    ----------
    lr : float
        May be set between steps (a schedule).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> class SignSGD(optim.Optimizer):
    ...     def update(self, param, grad, state, lr):
    ...         param -= lr * np.sign(grad)
    >>> w = nn.Parameter(np.array([1.0, 1.0]))
    >>> w.grad = np.array([3.0, -0.1])
    >>> SignSGD([w], lr=0.25).step()
    >>> w.data
    array([0.75, 1.25])
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the attributes, besides `lr`, that are saved and restored."""

    state_kinds: ClassVar[Mapping[str, type]] = {}
    """What a parameter's state holds after its first step: name -> np.ndarray or int."""

    _may_lack: ClassVar[frozenset[str]] = frozenset()
    """Those of `state_kinds` that come with a setting, perhaps set after the last step."""

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        self.lr = lr
        slots = self._collect(params)
        self._keep(slots, {slot.key: {} for slot in slots})

    def _keep(self, slots: list[_Slot], state: dict[str, dict[str, Any]]) -> None:
        self._slots, self._state = slots, state
        self._entries = tuple((slot.parameter, slot.rate, state[slot.key]) for slot in slots)

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = number(type(self).__name__, "lr", value, 0.0)

    def _collect(self, params: Iterable[Any]) -> list[_Slot]:
        """Parameters of all groups, each with a key: its name, or its place if that is no key."""
        op = type(self).__name__
        if isinstance(params, (np.ndarray, Mapping, str)) or not isinstance(params, Iterable):
            raise TypeError(
                f"{op}: expected params to be an iterable of parameters or of groups, "
                f"got {type(params).__name__}"
            )
        found: list[tuple[Parameter, float]] = []
        for item in params:
            if isinstance(item, Mapping):
                unknown = set(item) - {"params", "lr"}
                if unknown or "params" not in item:
                    raise ValueError(
                        f"{op}: expected a group with 'params' and perhaps 'lr', got {sorted(item)}"
                    )
                rate = number(op, "a group's lr", item.get("lr", self.lr), 0.0)
                if rate != self.lr and self.lr == 0:
                    raise ValueError(f"{op}: expected lr > 0, since a group has an lr of its own")
                scale = 1.0 if rate == self.lr else rate / self.lr
                found += [(p, scale) for p in item["params"]]
            else:
                found.append((item, 1.0))
        if not found:
            raise ValueError(f"{op}: expected at least one parameter, got none")
        for p, _ in found:
            if not isinstance(getattr(p, "data", None), np.ndarray) or not hasattr(p, "grad"):
                raise TypeError(f"{op}: expected parameters, got {type(p).__name__}")
        if len({id(p) for p, _ in found}) < len(found):
            raise ValueError(f"{op}: expected each parameter once, got one of them twice")
        names = [p.name for p, _ in found]
        return [
            _Slot(p, p.name if p.name and names.count(p.name) == 1 else f"#{i}", rate)
            for i, (p, rate) in enumerate(found)
        ]

    def step(self) -> None:
        """Update every parameter once, in place.

        Parameters with ``requires_grad`` False, or that got no gradient since `zero_grad`
        (``has_grad`` False, or None for a gradient), are left alone: no weight decay either.
        """
        due: list[Due] = []
        for parameter, rate, state in self._entries:
            if not parameter.requires_grad or not getattr(parameter, "has_grad", True):
                continue
            gradient = parameter.grad
            if gradient is not None:
                due.append((parameter.data, gradient, state, self._lr * rate))
        self._update_all(due)

    def _update_all(self, due: list[Due]) -> None:
        """Change all parameters of a step, given as `update` gets each."""
        for param, grad, state, lr in due:
            self.update(param, grad, state, lr)

    def update(self, param: Array, grad: Array, state: dict[str, Any], lr: float) -> None:
        """Change one parameter in place.

        Parameters
        ----------
        param : ndarray
            The parameter's data.
        grad : ndarray
            Its gradient.
        state : dict
            Empty at the parameter's first step; what is put into it is kept for the next.
        lr : float
            The rate of the parameter's group.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for slot in self._slots:
            slot.parameter.grad = None

    def entries(self) -> Entries:
        """Each parameter, its group's rate over `lr`, and its state itself (no copy).

        For what updates parameters in the optimizer's place, such as `fastcnn.plan`. A state is
        empty before the parameter's first step; see `initial_state`. The tuple is the same object
        until `load_state_dict` makes states anew.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import nn, optim
        >>> optimizer = optim.SGD([nn.Parameter(np.array([1.0]), name="w")], lr=0.25)
        >>> [(p.name, rate, state) for p, rate, state in optimizer.entries()]
        [('w', 1.0, {})]
        """
        return self._entries

    def initial_state(self, param: Array) -> dict[str, Any]:
        """What a parameter's state is before its first update: zeros."""
        return {
            name: 0 if kind is int else np.zeros_like(param)
            for name, kind in self.state_kinds.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """All that an exact resume needs besides the weights.

        Returns
        -------
        dict
            Nested dictionaries of numbers, strings and arrays (copies): "optimizer" (the class's
            name), "lr", "settings", "rates" (each parameter's rate over `lr`) and "state", by the
            parameter's name.
        """
        return {
            "optimizer": type(self).__name__,
            "lr": self.lr,
            "settings": {name: getattr(self, name) for name in self.settings},
            "rates": {slot.key: slot.rate for slot in self._slots},
            "state": copy.deepcopy(self._state),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave, for an optimizer of the same class and parameters.

        Parameters
        ----------
        state : mapping
            From `state_dict`; copied.

        Raises
        ------
        ValueError
            If it does not fit; the optimizer is then as it was.
        """
        op = f"{type(self).__name__}.load_state_dict"
        self._expect_state(op, state, {"optimizer", "lr", "settings", "rates", "state"})
        keys = {slot.key for slot in self._slots}
        _expect_keys(op, "settings", state["settings"], set(self.settings))
        _expect_keys(op, "rates", state["rates"], keys)
        _expect_keys(op, "state", state["state"], keys)
        slots = [
            slot._replace(rate=number(op, f"the rate of {slot.key}", state["rates"][slot.key], 0.0))
            for slot in self._slots
        ]
        loaded = {
            slot.key: self._checked_state(op, slot, state["state"][slot.key]) for slot in slots
        }
        restored = self._restored(op, state)
        self.__dict__.update(restored.__dict__)
        self._keep(slots, loaded)

    def _expect_state(self, op: str, state: Any, keys: set[str]) -> None:
        """ValueError unless this is a state of the same class, with its keys."""
        mine = type(self).__name__
        if isinstance(state, Mapping) and state.get("optimizer", mine) != mine:
            raise ValueError(f"{op}: expected the state of {mine}, got {state['optimizer']!r}")
        _expect_keys(op, "the state", state, keys)

    def _restored(self, op: str, state: Mapping[str, Any]) -> "Optimizer":
        """A twin with the state's lr and settings, checked as the constructor checks them."""
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in state["settings"].items()
        }
        lr = number(op, "lr", state["lr"], 0.0)
        return type(self)([slot.parameter for slot in self._slots], lr=lr, **settings)

    def _checked_state(self, op: str, slot: _Slot, state: Any) -> dict[str, Any]:
        """A copy of one parameter's state, after checking that it fits the parameter."""
        if isinstance(state, Mapping) and not state:
            return {}
        lacks = self._may_lack.difference(state if isinstance(state, Mapping) else ())
        kinds = {name: kind for name, kind in self.state_kinds.items() if name not in lacks}
        _expect_keys(op, f"the state of {slot.key}", state, set(kinds))
        result: dict[str, Any] = {}
        for name, kind in kinds.items():
            value, what = state[name], f"{name} of {slot.key}"
            if kind is int:
                result[name] = integer(op, what, value, 0)
                continue
            like = slot.parameter.data
            if (
                not isinstance(value, np.ndarray)
                or value.shape != like.shape
                or value.dtype != like.dtype
            ):
                raise ValueError(
                    f"{op}: expected {what} to be {like.dtype} of shape {like.shape}, got "
                    f"{getattr(value, 'dtype', type(value).__name__)} {getattr(value, 'shape', '')}"
                )
            result[name] = np.array(value, order="C")
        return result

    def __repr__(self) -> str:
        settings = "".join(f", {name}={getattr(self, name)!r}" for name in self.settings)
        return f"{type(self).__name__}({len(self._slots)} parameters, lr={self.lr!r}{settings})"


def _expect_keys(op: str, what: str, given: Any, keys: set[str]) -> None:
    if not isinstance(given, Mapping) or set(given) != keys:
        got = sorted(map(str, given)) if isinstance(given, Mapping) else type(given).__name__
        raise ValueError(f"{op}: expected {what} to have the keys {sorted(keys)}, got {got}")
