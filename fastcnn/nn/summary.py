"""What a net will do to an input, worked out from shapes alone, before anything runs."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._checks import integer
from .containers import Graph
from .layer import Layer

if TYPE_CHECKING:
    from fractions import Fraction

Size = tuple[int, int]


class Signal(NamedTuple):
    """A value on its way through the net."""

    shape: Any  # without the batch axis
    # Pixels of the net's input that one element sees, and how far apart two neighbours look: a
    # fraction where the net enlarges.
    field: "tuple[int | Fraction, int | Fraction]" = (1, 1)
    jump: "tuple[int | Fraction, int | Fraction]" = (1, 1)
    maps: Size = (1, 1)  # H, W where it was last a stack of maps


class Row(NamedTuple):
    """One layer of a summary."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    multiply_adds: int
    receptive_field: Size
    activation_bytes: int
    parameter_bytes: int
    trainable_bytes: int


class TrainingBytes(NamedTuple):
    """What `Summary.training_bytes` gives; printing it shows the total and its parts.

    Attributes
    ----------
    weights : int
        Bytes of all parameters, frozen ones too.
    gradients : int
        Of the trained parameters.
    optimizer : int
        Of its states: arrays like the gradients.
    activations : int
        Of the input and of every layer's output, for the batch.
    activation_gradients : int
        As much again.

    Examples
    --------
    >>> print(TrainingBytes(4096, 4096, 0, 1024, 1024))
    10.0 KiB: weights 4.0 KiB, gradients 4.0 KiB, activations 1.0 KiB, their gradients 1.0 KiB
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    activation_gradients: int

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self)

    def __str__(self) -> str:
        names = ("weights", "gradients", "optimizer", "activations", "their gradients")
        parts = (
            f"{name} {shown_bytes(size)}" for name, size in zip(names, self, strict=True) if size
        )
        return f"{shown_bytes(self.total)}: {', '.join(parts)}"


class Summary(NamedTuple):
    """What `Layer.summary` gives; printing it shows a table.

    Attributes
    ----------
    title : str
        Kind of the net.
    rows : tuple of Row
        One a layer: name, kind, output_shape (without the batch axis), parameters, trainable,
        multiply_adds (of one image), receptive_field (pixels of the input that one output element
        depends on, padding included), activation_bytes (of the output, for the batch),
        parameter_bytes, and trainable_bytes (without frozen parameters). A layer that is used
        again has its parameters in its first row alone.
    input_shape : tuple of int, or dict of them
    batch_size : int
    input_bytes : int

    Examples
    --------
    >>> from fastcnn import models
    >>> print(models.dmlp().summary((1, 28, 28)))
    Sequential on 1x28x28, batch of 1
    layer  kind     output  parameters  multiply-adds  field  activations  weights
    flat   Flatten     784           0              0    1x1      3.1 KiB      0 B
    fc1    Linear      100      78,500         78,400  28x28        400 B  307 KiB
    relu1  ReLU        100           0              0  28x28        400 B      0 B
    fc2    Linear       10       1,010          1,000  28x28         40 B  3.9 KiB
    total                       79,510         79,400             6.9 KiB  311 KiB
    training takes about 635 KiB with gradients, and 311 KiB for each state of the optimizer
    """

    title: str
    rows: tuple[Row, ...]
    input_shape: Any
    batch_size: int
    input_bytes: int

    @property
    def parameters(self) -> int:
        """Numbers in all parameters, a shared one counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """The same without frozen parameters."""
        return sum(row.trainable for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's inference, convolution and linear layers counted."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of the input and of every layer's output for the batch, as training keeps them."""
        return self.input_bytes + sum(row.activation_bytes for row in self.rows)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of all parameters."""
        return sum(row.parameter_bytes for row in self.rows)

    @property
    def trainable_bytes(self) -> int:
        """The same without frozen parameters."""
        return sum(row.trainable_bytes for row in self.rows)

    def training_bytes(self, *, states: int = 1) -> TrainingBytes:
        """What a step of training holds in memory, worked out before any is taken.

        ::

            weights + gradients + states x trained weights + activations + their gradients
            P       + T         + states x T               + A           + A

        in bytes, where P is `parameter_bytes`, T `trainable_bytes` and A `activation_bytes` (of
        `batch_size` images).

        Parameters
        ----------
        states : int
            Arrays that the optimizer keeps for each parameter: 0 for SGD and 1 for RMSprop, with
            momentum one more; 2 for Adam and AdamW.

        Returns
        -------
        TrainingBytes
            The parts and their `total`, in bytes.

        Raises
        ------
        ValueError, TypeError
            If `states` is not an integer of at least 0.

        Notes
        -----
        All gradients of activations at once are more than a step has: they come and go, and where
        `fastcnn.plan` runs the net they share memory, so that activations and gradients together
        take less than half. Not counted are the interpreter with its libraries (some 40 MiB), the
        data, and the scratch of the kernels, which is small but for convolutions of very large
        kernels (FCN's fc6: a copy of its weights, 392 MiB).

        Examples
        --------
        >>> from fastcnn import models
        >>> told = models.dmlp().summary((1, 28, 28), batch_size=64).training_bytes(states=2)
        >>> told.weights, told.gradients, told.optimizer, told.activations, told.total
        (318040, 318040, 636080, 455168, 2182496)
        >>> print(told)  # doctest: +NORMALIZE_WHITESPACE
        2.1 MiB: weights 311 KiB, gradients 311 KiB, optimizer 621 KiB, activations 444 KiB,
        their gradients 444 KiB
        """
        states = integer("training_bytes", "states", states, 0)
        trained, activations = self.trainable_bytes, self.activation_bytes
        return TrainingBytes(
            self.parameter_bytes, trained, states * trained, activations, activations
        )

    def __str__(self) -> str:
        head = (
            "layer", "kind", "output", "parameters", "multiply-adds", "field", "activations",
            "weights",
        )  # fmt: skip
        table = [head]
        for row in self.rows:
            table.append((
                row.name, row.kind, _dims(row.output_shape), f"{row.parameters:,}",
                f"{row.multiply_adds:,}", _dims(row.receptive_field),
                shown_bytes(row.activation_bytes), shown_bytes(row.parameter_bytes),
            ))  # fmt: skip
        frozen = self.parameters - self.trainable
        table.append((
            "total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", "",
            shown_bytes(self.activation_bytes), shown_bytes(self.parameter_bytes),
        ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        shape = self.input_shape
        given = (
            ", ".join(f"{name} {_dims(s)}" for name, s in shape.items())
            if isinstance(shape, Mapping)
            else _dims(shape)
        )
        lines = [f"{self.title} on {given}, batch of {self.batch_size}"]
        for cells in table:
            left = [c.ljust(w) for c, w in zip(cells[:2], widths[:2], strict=True)]
            right = [c.rjust(w) for c, w in zip(cells[2:], widths[2:], strict=True)]
            lines.append("  ".join(left + right).rstrip())
        lines.append(self._training())
        if frozen:
            lines.append(f"{self.trainable:,} parameters are trained, {frozen:,} are frozen")
        return "\n".join(lines)

    def _training(self) -> str:
        """The line of the table's foot that tells what training takes."""
        text = f"training takes about {shown_bytes(self.training_bytes(states=0).total)}"
        if not self.trainable:
            return text
        state = shown_bytes(self.trainable_bytes)
        return f"{text} with gradients, and {state} for each state of the optimizer"

    def __repr__(self) -> str:
        return str(self)


def _dims(shape: Any) -> str:
    return "x".join(map(str, shape))


def shown_bytes(count: float) -> str:
    """Bytes for people: 40 B, 3.1 KiB, 311 KiB."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while count >= 1024 and len(units) > 1:
        count /= 1024
        units.pop(0)
    unit = units[0]
    return f"{count:.1f} {unit}" if unit != "B" and count < 100 else f"{count:,.0f} {unit}"


class Tracer:
    """Collects the rows of a summary while shapes run through the net."""

    def __init__(self, batch_size: int, itemsize: int, strict: bool) -> None:
        self.batch_size, self.itemsize, self.strict = batch_size, itemsize, strict
        self.rows: list[Row] = []
        self._counted: set[int] = set()

    def row(self, layer: Layer, name: str, signals: tuple[Signal, ...]) -> Signal:
        """Infer the output of one layer, and note it."""
        kind = type(layer).__name__
        shapes = tuple(s.shape for s in signals)
        shape_in = shapes if layer.takes_many or len(shapes) > 1 else shapes[0]
        try:
            shape = layer.output_shape(shape_in)
            if self.strict:
                layer.require_exact(shape_in)
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}" if name else str(error)) from error
        out = self._signal(layer, shape, signals)
        new = [p for p in layer.parameters() if id(p) not in self._counted]
        self._counted.update(map(id, new))
        self.rows.append(
            Row(
                name=name or kind.lower(),
                kind=kind,
                output_shape=shape,
                parameters=sum(p.data.size for p in new),
                trainable=sum(p.data.size for p in new if p.requires_grad),
                multiply_adds=layer.multiply_adds(shape_in),
                receptive_field=(math.ceil(out.field[0]), math.ceil(out.field[1])),
                activation_bytes=self.batch_size * math.prod(shape) * self.itemsize,
                parameter_bytes=sum(p.data.nbytes for p in new),
                trainable_bytes=sum(p.data.nbytes for p in new if p.requires_grad),
            )
        )
        return out

    @staticmethod
    def _signal(layer: Layer, shape: Any, signals: tuple[Signal, ...]) -> Signal:
        """The receptive field grows by (window - 1) * jump, the jump by the stride."""
        fields, jumps, maps = ([getattr(s, k) for s in signals] for k in ("field", "jump", "maps"))
        before = [(max(f[a] for f in fields), max(j[a] for j in jumps)) for a in (0, 1)]
        reach = layer.reach()
        window = maps[0] if reach is None else reach.size
        step = (1, 1) if reach is None else reach.step
        field = tuple(f + (w - 1) * j for (f, j), w in zip(before, window, strict=True))
        jump = tuple(j * s for (_, j), s in zip(before, step, strict=True))
        now = maps[0]  # flattened: the maps' H, W until a layer has seen all of them
        if len(shape) in (2, 3):  # a row is an image one pixel high
            now = (shape[1] if len(shape) == 3 else 1, shape[-1])
        elif reach is None:
            now = (1, 1)
        return Signal(shape, (field[0], field[1]), (jump[0], jump[1]), now)


def summarize(layer: Layer, input_shape: Any, *, batch_size: int, strict: bool) -> Summary:
    """The work behind `Layer.summary`."""
    batch = integer("summary", "batch_size", batch_size, 1)
    dtype = next((p.data.dtype for p in layer.parameters()), np.dtype(np.float32))
    names = layer.inputs if isinstance(layer, Graph) else ("input",)
    if isinstance(input_shape, Mapping):
        if set(input_shape) != set(names):
            raise ValueError(
                f"summary: expected shapes of {', '.join(names)}, got {', '.join(input_shape)}"
            )
        shapes = [_shape(input_shape[name]) for name in names]
    elif len(names) == 1:
        input_shape = _shape(input_shape)
        shapes = [input_shape]
    else:
        raise ValueError(f"summary: expected a dict of shapes of {', '.join(names)}")
    tracer = Tracer(batch, dtype.itemsize, strict)
    signals = tuple(
        Signal(s, maps=(s[1] if len(s) == 3 else 1, s[-1])) if len(s) in (2, 3) else Signal(s)
        for s in shapes
    )
    layer.trace(tracer, "", signals)
    input_bytes = batch * dtype.itemsize * sum(math.prod(s) for s in shapes)
    return Summary(type(layer).__name__, tuple(tracer.rows), input_shape, batch, input_bytes)


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(shape)
    except TypeError:
        raise ValueError(f"summary: expected a shape such as (1, 28, 28), got {shape!r}") from None
    return tuple(integer("summary", "input_shape", n, 0) for n in sizes)
