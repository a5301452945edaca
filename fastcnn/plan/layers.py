"""LayerPlan: a net of any size as recorded calls of the kernels, in one arena."""

import math
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .. import nn
from .._checks import Array, empty, expect_shape, floating
from .._config import get_exact, get_num_threads
from .build import Build, Step
from .graph import Net, chains, flatten, has_heads
from .lower import LoweringError
from .steps import LayerStep, step_of
from .tape import NOTHING, Cell, Tape

_TAPES = 4  # kept: training and inference, of the usual batch and of a last, smaller one


class StepResult(NamedTuple):
    """What a training step tells.

    Attributes
    ----------
    loss : float
        Before the update, reduced as the loss says.
    correct : int
        Images that had their largest output at their label; 0 without labels.
    """

    loss: float
    correct: int


class _Recorded(NamedTuple):
    """A tape for one batch size, and what a run needs of it."""

    tape: Tape
    build: Build
    input: Cell
    outputs: dict[str, Cell]


class _Judge:
    """A step's loss, what it is given beside the outputs, and what it said."""

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.value = math.nan


class LayerPlan:
    """A net whose layers run as recorded kernel calls, fused; made by `compile`.

    For each batch size the calls are recorded once, with all their arguments. Their arrays share
    one arena by lifetimes; gradients of the parameters and what the loss makes are allocated anew.
    Convolution, batch norm, sum and ReLU are one step; for inference batch norm is folded into the
    weights.

    Attributes
    ----------
    steps : tuple of Step
        What runs, and which layers each step does the work of.
    input_shape, output_shape : tuple of int
        Without the batch axis.
    dtype : dtype
        float32 or float64, that of the model's parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import models, plan
    >>> program = plan.compile(models.resnet20(seed=0), (3, 32, 32))
    >>> type(program).__name__, program(np.zeros((2, 3, 32, 32), np.float32)).shape
    ('LayerPlan', (2, 10))
    """

    def __init__(
        self,
        model: nn.Layer,
        input_shape: Sequence[int],
        loss: Any = None,
        optimizer: Any = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.input_shape = tuple(int(n) for n in input_shape)
        whole = flatten(model, self.input_shape)
        heads = has_heads(model)
        self._nets = {True: whole, False: whole.without_heads() if heads else whole}
        self._chains = {training: chains(net) for training, net in self._nets.items()}
        self.several = len(self._nets[False].outputs) > 1
        self.output_shape: Any = whole.shapes[whole.output]
        if self.several:
            self.output_shape = {name: whole.shapes[v] for name, v in whole.outputs.items()}
        self.steps: tuple[Step, ...] = self._make_steps(False)
        dtypes = {p.data.dtype for p in model.parameters()} or {np.dtype(np.float32)}
        if len(dtypes) != 1:
            raise LoweringError(
                f"plan: expected parameters of one dtype, got {sorted(map(str, dtypes))}"
            )
        (self.dtype,) = dtypes
        self._tapes: dict[tuple[Any, ...], _Recorded] = {}
        self._arena = np.empty(0, np.uint8)
        self._judge = _Judge()
        self._running = threading.Lock()  # one arena: calls from several threads take turns

    def _make_steps(self, training: bool) -> tuple[Step, ...]:
        shapes = self._nets[training].shapes
        return tuple(step_of(chain, shapes) for chain in self._chains[training])

    @property
    def fused(self) -> bool:
        """Whether any layer at all runs as calls of kernels, and not by itself."""
        return not all(isinstance(step, LayerStep) for step in self.steps)

    # ---- recording ----

    def _record(self, n: int, training: bool) -> _Recorded:
        """The tape for a batch of n under the present settings."""
        frozen: tuple[bool, ...] = ()
        if training:
            frozen = tuple(not p.requires_grad for p in self.model.parameters())
            frozen += tuple(buffer.frozen for _, buffer in self.model.named_buffers())
        key = (n, training, get_num_threads(), get_exact(), frozen)
        found = self._tapes.pop(key, None)
        if found is None:
            found = self._recorded(n, training)
            while len(self._tapes) >= _TAPES:  # steps know its cells, which must not keep memory
                self._tapes.pop(next(iter(self._tapes))).tape.release()
        self._tapes[key] = found  # the latest is the last
        if found.tape.arena_bytes > self._arena.nbytes:
            for recorded in self._tapes.values():  # the old arena goes before the new one comes
                recorded.tape.release()
            self._arena = np.empty(0, np.uint8)
            self._arena = empty("plan", (found.tape.arena_bytes,), np.uint8)
        found.tape.bind(self._arena)
        return found

    def _recorded(self, n: int, training: bool) -> _Recorded:
        net = self._nets[training]
        b = Build(net, n, self.dtype, get_num_threads(), training)
        entry = Cell((n, *self.input_shape), self.dtype)
        b.values[net.input] = entry
        # In training steps have cells of their own; in inference all tapes share their weights.
        steps = self._make_steps(True) if training else self.steps
        sources = [s for step in steps for s in step.sources]
        # The caller's array and what is given back are never written over.
        b.unread = Counter([*sources, net.input, *net.outputs.values()])
        b.steps = steps
        b.tape.mark("forward")
        for step in steps:
            b.unread.subtract(step.sources)
            step.forward(b)
        outputs = {name: b.values[value] for name, value in net.outputs.items()}
        b.tape.mark("loss")
        if training:
            self._record_backward(b, steps, outputs)
        for cell in () if training else outputs.values():
            b.tape.keep(cell)
        b.tape.mark("end")
        tape = b.tape
        tape.lay_out()
        del b.tape  # or tape, calls and b would hold each other, and the arena, till gc comes by
        return _Recorded(tape, b, entry, outputs)

    def _record_backward(self, b: Build, steps: Sequence[Step], outputs: dict[str, Cell]) -> None:
        for step in steps:
            if step.trains() or any(s in b.wanted for s in step.sources):
                b.wanted.add(step.chain.output)
        net = b.net
        gradients = {name: b.cell(value) for name, value in net.outputs.items()}
        judge, shaped = self._judge, self._shaped

        def loss() -> None:
            value, found = judge.loss(shaped(b.n, net, outputs), judge.y)
            judge.value = float(value)
            for name, dy in gradients.items():
                # as for `Graph.backward`, an output without a gradient may be left out
                one = found.get(name, 0) if isinstance(found, Mapping) else found
                np.copyto(dy.array, one)

        b.tape.call(loss, *outputs.values(), *gradients.values())
        b.tape.mark("backward")
        for name, value in net.outputs.items():
            b.hand(value, gradients[name])
        for step in reversed(steps):
            b.backward(step)

    @staticmethod
    def _shaped(n: int, net: Net, cells: dict[str, Cell]) -> Any:
        """The output, or a dict of the outputs, in the shapes that the model gives them."""
        arrays = {
            name: cell.array.reshape(n, *net.shapes[net.outputs[name]])
            for name, cell in cells.items()
        }
        return arrays if len(arrays) > 1 else next(iter(arrays.values()))

    def _input(self, x: ArrayLike) -> Array:
        a = floating("plan", "x", x, None, self.dtype, "the weights")
        expect_shape("plan", "x", a, (*a.shape[:1], *self.input_shape), "the plan's input_shape")
        return a

    # ---- inference ----

    def __call__(self, x: ArrayLike) -> Any:
        """The net's outputs.

        The weights are taken, with batch norm folded into them, at the first call and after each
        `step`; where you change parameters yourself in between, call `refresh`.

        Parameters
        ----------
        x : array_like
            ``(N, *input_shape)``, of the plan's dtype.

        Returns
        -------
        ndarray
            ``(N, *output_shape)``. An image's outputs have the same bits in any batch.

        Raises
        ------
        TypeError, ValueError
            If `x` does not fit.
        """
        a = self._input(x)
        if len(a) == 0:
            shapes = self.output_shape if self.several else {"": self.output_shape}
            nothing = {name: np.empty((0, *s), self.dtype) for name, s in shapes.items()}
            return nothing if self.several else nothing[""]
        with self._running:
            recorded = self._record(len(a), False)
            recorded.input.array = a
            try:
                recorded.tape.run("forward", "end")
            finally:
                recorded.input.array = NOTHING  # the caller's, who may let go of it
            result = self._shaped(len(a), self._nets[False], recorded.outputs)
            if self.several:
                return {name: array.copy() for name, array in result.items()}
            return result.copy()

    predict = __call__

    def refresh(self) -> None:
        """Take the parameters and buffers as they are now at the next inference."""
        for step in self.steps:
            step.refresh()

    # ---- training ----

    def step(self, x: ArrayLike, y: Any) -> StepResult:
        """One training step: forward, loss, backward, update.

        With an optimizer its gradients are set to zero, filled and used; without one they are added
        to ``p.grad``, as by ``model.backward``.

        Parameters
        ----------
        x : array_like
            ``(N, *input_shape)``, N >= 1, of the plan's dtype.
        y : array_like
            What the loss takes beside the outputs.

        Returns
        -------
        StepResult
            ``.loss`` and ``.correct``. If the loss is NaN or infinite, nothing was updated.

        Raises
        ------
        TypeError, ValueError
            If `x` or `y` do not fit, or the plan has no loss.
        """
        if self.loss is None:
            raise ValueError("plan.step: expected a plan compiled with a loss")
        a = self._input(x)
        if len(a) == 0:
            raise ValueError("plan.step: expected at least one image, got none")
        with self._running:
            return self._train(a, y)

    def _train(self, a: Array, y: Any) -> StepResult:
        tape, build, entry, cells = self._record(len(a), True)
        buffers = [
            (buffer, buffer.data.copy())
            for step in build.steps
            if isinstance(step, LayerStep)
            for _, buffer in step.layer.named_buffers()
        ]
        entry.array = a
        self._judge.loss, self._judge.y = self.loss, y
        done = False
        try:
            tape.run("forward", "backward")
            labels = np.asarray(y)
            right = 0
            outputs = self._shaped(len(a), build.net, cells)
            if isinstance(outputs, dict):
                outputs = next(iter(outputs.values()))
            if labels.dtype.kind in "iu" and outputs.ndim == 2:
                right = int(np.count_nonzero(outputs.argmax(axis=1) == labels))
            if math.isfinite(self._judge.value):
                if self.optimizer is not None:
                    self.optimizer.zero_grad()
                tape.run("backward", "end")
                if self.optimizer is not None:
                    self.optimizer.step()
                done = True
                for settle in build.settle:
                    settle()
                self.refresh()
        finally:
            if not done:  # forward of layers that run by themselves has moved theirs
                for buffer, data in buffers:
                    buffer.data[...] = data
                self.refresh()  # an update may have ended half-way
            entry.array, self._judge.y = NOTHING, None  # the caller's, who may let go of them
            for step in build.steps:
                if isinstance(step, LayerStep):
                    step.context = None
        return StepResult(self._judge.value, right)

    # ---- what it is ----

    def arena_bytes(self, batch_size: int, *, training: bool = True) -> int:
        """Bytes of all memory that a batch needs besides parameters, gradients and input.

        Examples
        --------
        >>> from fastcnn import models, nn, plan
        >>> net = plan.compile(models.resnet20(), (3, 32, 32), loss=nn.CrossEntropyLoss())
        >>> net.arena_bytes(1, training=False) < net.arena_bytes(1)
        True
        """
        return self._recorded(batch_size, training).tape.arena_bytes

    def __repr__(self) -> str:
        rows = [
            (
                " + ".join(s.layers),
                s.text,
                "x".join(map(str, self._nets[False].shapes[s.chain.output])),
            )
            for s in self.steps
        ]
        wide = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"  {a:{wide[0]}}  {b:{wide[1]}}  {c}" for a, b, c in rows]
        shape = "x".join(map(str, self.input_shape))
        return "\n".join([f"Plan for {shape}, {self.dtype}, layer by layer", *lines])
