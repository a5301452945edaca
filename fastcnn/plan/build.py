"""What steps record on: a tape, the cells of a net's values, and the cells of their gradients."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _kernels, nn
from .._checks import Array, check_bytes
from .graph import Chain, Net
from .sums import OUTPUT, Sum
from .tape import Cell, Tape


class Build:
    """What the steps record on: the tape, and the cells of all values and of their gradients."""

    def __init__(self, net: Net, n: int, dtype: Any, threads: int, training: bool) -> None:
        self.net, self.n, self.dtype, self.threads = net, n, np.dtype(dtype), threads
        self.training = training
        self.tape = Tape()  # while it is recorded; what calls hold must not lead back to them
        self.scratch = self.tape.scratch
        self.values: dict[str, Cell] = {}
        self.gradients: dict[str, Sum] = {}
        self.wanted: set[str] = set()  # values whose gradient somebody needs
        self.unread: Counter[str] = Counter()  # by how many steps a value is still to be read
        self.steps: Sequence[Step] = ()
        self._takers: list[tuple[str, str]] = []  # calls of the present step, and their inputs
        self.settle: list[Callable[[], None]] = []  # after a step whose loss was finite

    def cell(self, value: str) -> Cell:
        """A new cell for a value or its gradient."""
        shape = (self.n, *self.net.shapes[value])
        check_bytes("plan", shape, self.dtype.itemsize)
        return self.tape.cell(shape, self.dtype)

    def like(self, cell: Cell) -> Cell:
        return self.tape.cell(cell.shape, self.dtype)

    def give(self, value: str, write: Callable[[Cell], None]) -> None:
        """A gradient for a value: `write` records the calls that fill a cell with it."""
        if value not in self.wanted:
            return
        target = self.cell(value)
        write(target)
        self.hand(value, target)

    def add(self, term: Cell, total: Cell) -> None:
        """Record total += term."""
        threads = self.threads

        def call() -> None:
            a, b = total.array.reshape(-1), term.array.reshape(-1)
            _kernels.add(False, a, b, a, threads)

        self.tape.call(call, term, total)

    def hand(self, value: str, cell: Cell) -> None:
        """A gradient for a value that is in `cell`, which nobody else will write to."""
        if value not in self.wanted:
            return
        if value not in self.gradients:
            self.gradients[value] = Sum(self.net.sums[value], self.add)
        self.gradients[value].take(self._taker(value), cell)

    def _taker(self, value: str) -> str:
        """The call of the present step that takes a value; the last one first, each once."""
        for taker in self._takers:
            if taker[1] == value:
                self._takers.remove(taker)
                return taker[0]
        return OUTPUT

    def backward(self, step: "Step") -> None:
        """Record the backward pass of a step, if a gradient came to it."""
        total = self.gradients.pop(step.chain.output, None)
        gradient = total.fold(last=True) if total else None
        if gradient is None:
            return
        calls = reversed(step.chain.calls)
        self._takers = [(call.name, source) for call in calls for source in call.inputs]
        step.backward(self, gradient)
        for source in dict.fromkeys(step.sources):
            # only now: the step may read what it handed on
            if source in self.gradients:
                self.gradients[source].fold(last=False)


class Step:
    """One step of a `LayerPlan`: a subclass records the kernels' calls for a chain of layers.

    Attributes
    ----------
    text : str
        What the step does, as the plan's repr shows it.
    layers : tuple of str
        Names of the layers that it does the work of.
    """

    text = ""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.layers = chain.names

    @property
    def sources(self) -> tuple[str, ...]:
        """The values that it reads."""
        return (*self.chain.inputs, *self.chain.others)

    def trains(self) -> bool:
        """Whether any of its parameters is not frozen."""
        return any(call.layer.trains() for call in self.chain.calls)

    def refresh(self) -> None:
        """Take the parameters as they are now, for inference."""

    def forward(self, b: Build) -> None:
        """Record the forward pass."""
        raise NotImplementedError

    def backward(self, b: Build, dy: Cell) -> None:
        """Record the backward pass; the step may write to dy."""
        raise NotImplementedError


def add_gradient(p: nn.Parameter | None, gradient: Array) -> None:
    if p is not None:
        p.add_grad(gradient, fresh=True)


def relu_in_place(b: Build, cell: Cell) -> None:
    """Record a ReLU in place."""
    threads = b.threads

    def call() -> None:
        _kernels.activation_forward(_kernels.RELU, 0.0, cell.array, cell.array, threads)

    b.tape.call(call, cell)


def relu_backward(b: Build, dy: Cell, y: Cell) -> None:
    """Record the way back through a ReLU, in place."""
    threads = b.threads

    def call() -> None:
        dy2 = dy.array.reshape(y.shape)
        _kernels.activation_backward(_kernels.RELU, 0.0, dy2, y.array, dy2, threads)

    b.tape.call(call, dy, y)
