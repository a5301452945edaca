"""What steps record on: a tape, the cells of a net's values, and the cells of their gradients."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import _kernels, nn
from .._checks import Array, check_bytes
from .graph import Chain, Net
from .tape import Cell, Tape


class Build:
    """What the steps record on: the tape, and the cells of all values and of their gradients."""

    def __init__(self, net: Net, n: int, dtype: Any, threads: int, training: bool) -> None:
        self.net, self.n, self.dtype, self.threads = net, n, np.dtype(dtype), threads
        self.training = training
        self.tape = Tape()
        self.values: dict[str, Cell] = {}
        self.gradients: dict[str, Cell] = {}
        self.wanted: set[str] = set()  # values whose gradient somebody needs
        self.unread: Counter[str] = Counter()  # by how many steps a value is still to be read
        self.steps: Sequence[Step] = ()
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
        known = self.gradients.get(value)
        target = self.cell(value)
        write(target)
        if known is None:
            self.gradients[value] = target
        else:
            self.add(target, known)

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
        if value in self.gradients:
            self.add(cell, self.gradients[value])
        else:
            self.gradients[value] = cell


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
