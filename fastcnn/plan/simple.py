"""Steps of layers that are a call or two: activations, dropout, joined and reshaped values.

Each gives the bits of its layer, whose arithmetic it does in the arena: on cells instead of fresh
arrays, and on the gradient in place.
"""

import math

import numpy as np

from .. import _kernels, nn
from .._checks import Array, slopes_of
from .build import Build, Step
from .graph import Chain
from .tape import Cell


class AliasStep(Step):
    """Another shape, or another name, for the same memory."""

    text = "(no work)"

    def forward(self, b: Build) -> None:
        b.values[self.chain.output] = b.values[self.chain.inputs[0]]
        b.unread[self.chain.inputs[0]] += 1  # the memory lives on under another name

    def backward(self, b: Build, dy: Cell) -> None:
        b.hand(self.chain.inputs[0], dy)


class OneLayer(Step):
    """A step of one layer, whose repr it shows."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.layer: nn.Layer = chain.calls[0].layer
        self.text = repr(self.layer)

    def shaped(self, b: Build, value: str, cell: Cell) -> Array:
        """The array of a cell in the shape that the layer sees."""
        return cell.array.reshape(b.n, *b.net.shapes[value])


class ActivationStep(OneLayer):
    """Sigmoid, tanh, leaky ReLU and ELU, by the kernels; of the step, the way forward."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        layer = self.layer
        codes: dict[type, int] = {
            nn.Sigmoid: _kernels.SIGMOID, nn.Tanh: _kernels.TANH,
            nn.LeakyReLU: _kernels.LEAKY_RELU, nn.ELU: _kernels.ELU, nn.Step: _kernels.STEP,
        }  # fmt: skip
        self.code, self.parameter, self.keeps_x = codes[type(layer)], 0.0, False
        if isinstance(layer, nn.LeakyReLU):
            self.parameter, self.keeps_x = layer.negative_slope, True
        elif isinstance(layer, nn.ELU):
            self.parameter, self.keeps_x = layer.alpha, True

    def forward(self, b: Build) -> None:
        x, y, threads = b.values[self.chain.inputs[0]], b.cell(self.chain.output), b.threads

        def call() -> None:
            _kernels.activation_forward(self.code, self.parameter, x.array, y.array, threads)

        b.tape.call(call, x, y)
        self.kept = x if self.keeps_x else y
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        kept, threads = self.kept, b.threads

        def call() -> None:
            g = dy.array.reshape(kept.shape)
            _kernels.activation_backward(self.code, self.parameter, g, kept.array, g, threads)

        b.tape.call(call, dy, kept)
        b.hand(self.chain.inputs[0], dy)


class PReLUStep(OneLayer):
    """PReLU; the gradient of its slopes is made with that of its input, in one pass."""

    def forward(self, b: Build) -> None:
        source, layer, threads = self.chain.inputs[0], self.layer, b.threads
        x, y = b.values[source], b.cell(self.chain.output)
        assert isinstance(layer, nn.PReLU)

        def call() -> None:
            w, sizes = slopes_of("PReLU", self.shaped(b, source, x), layer.weight.data)
            _kernels.prelu_forward(*sizes, x.array, w, y.array, threads)

        b.tape.call(call, x, y)
        self.x, b.values[self.chain.output] = x, y

    def backward(self, b: Build, dy: Cell) -> None:
        source, layer, x, threads = self.chain.inputs[0], self.layer, self.x, b.threads
        assert isinstance(layer, nn.PReLU)

        def call() -> None:
            w, sizes = slopes_of("PReLU", self.shaped(b, source, x), layer.weight.data)
            g, dw = dy.array.reshape(x.shape), np.empty_like(w)
            sums = np.empty(_kernels.prelu_sums(*sizes))
            _kernels.prelu_backward(*sizes, g, x.array, w, g, dw, sums, threads)
            if layer.weight.requires_grad:
                layer.weight.add_grad(dw, fresh=True)

        b.tape.call(call, dy, x)
        b.hand(source, dy)


class StepStep(ActivationStep):
    """The step function; its gradient is that of its output, or 0."""

    def backward(self, b: Build, dy: Cell) -> None:
        if isinstance(self.layer, nn.Step) and self.layer.gradient == "zero":
            b.tape.call(lambda: dy.array.fill(0), dy)
        b.hand(self.chain.inputs[0], dy)


class DropoutStep(OneLayer):
    """Dropout in training; in inference it is no work."""

    p: float  # of the step's last forward pass, as the seed
    seed: int

    def forward(self, b: Build) -> None:
        source, output, layer = self.chain.inputs[0], self.chain.output, self.layer
        assert isinstance(layer, nn.Dropout)
        if not b.training:
            b.values[output] = b.values[source]
            b.unread[source] += 1  # the memory lives on under another name
            return
        x, y, threads = b.values[source], b.cell(output), b.threads

        def call() -> None:
            self.p, self.seed = layer.p, layer.draw()
            _kernels.dropout(self.p, self.seed, x.array, y.array, threads)

        b.tape.call(call, x, y)
        b.values[output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        threads = b.threads
        b.tape.call(lambda: _kernels.dropout(self.p, self.seed, dy.array, dy.array, threads), dy)
        b.hand(self.chain.inputs[0], dy)


class ConcatStep(OneLayer):
    """Values side by side."""

    def forward(self, b: Build) -> None:
        cells, y = [b.values[s] for s in self.chain.inputs], b.cell(self.chain.output)

        def call() -> None:
            for source, cell, part in zip(self.chain.inputs, cells, self._parts(b, y), strict=True):
                np.copyto(part, self.shaped(b, source, cell))

        b.tape.call(call, y, *cells)
        b.values[self.chain.output] = y

    def _parts(self, b: Build, whole: Cell) -> list[Array]:
        """The part of each input in the output, or in its gradient."""
        layer = self.layer
        assert isinstance(layer, nn.Concat)
        widths = [b.net.shapes[s][layer.axis - 1] for s in self.chain.inputs]
        array = self.shaped(b, self.chain.output, whole)
        return np.split(array, np.cumsum(widths)[:-1], layer.axis)

    def backward(self, b: Build, dy: Cell) -> None:
        for i, source in enumerate(self.chain.inputs):

            def write(dx: Cell, i: int = i, source: str = source) -> None:
                def call() -> None:
                    np.copyto(self.shaped(b, source, dx), self._parts(b, dy)[i])

                b.tape.call(call, dy, dx)

            b.give(source, write)


class PadShortcutStep(OneLayer):
    """Every so many pixels of a value, and channels of zeros."""

    def forward(self, b: Build) -> None:
        source, output = self.chain.inputs[0], self.chain.output
        x, y = b.values[source], b.cell(output)

        def call() -> None:
            np.copyto(y.array[:, : self._width], self._seen(self.shaped(b, source, x)))
            y.array[:, self._width :] = 0

        b.tape.call(call, x, y)
        b.values[output] = y

    @property
    def _width(self) -> int:
        assert isinstance(self.layer, nn.blocks.PadShortcut)
        return self.layer.in_channels

    def _seen(self, a: Array) -> Array:
        """The pixels of the source that are taken."""
        assert isinstance(self.layer, nn.blocks.PadShortcut)
        stride = self.layer.stride
        return a[:, :, ::stride, ::stride]

    def backward(self, b: Build, dy: Cell) -> None:
        source, output = self.chain.inputs[0], self.chain.output

        def write(dx: Cell) -> None:
            def call() -> None:
                dx.array.fill(0)
                g = self.shaped(b, output, dy)
                np.copyto(self._seen(self.shaped(b, source, dx)), g[:, : self._width])

            b.tape.call(call, dy, dx)

        b.give(source, write)


class CropStep(OneLayer):
    """The top left part of a value, as large as another one."""

    def forward(self, b: Build) -> None:
        source, output = self.chain.inputs[0], self.chain.output
        x, y = b.values[source], b.cell(output)

        def call() -> None:
            np.copyto(y.array, self._seen(b, self.shaped(b, source, x)))

        b.tape.call(call, x, y)
        b.values[output] = y

    def _seen(self, b: Build, a: Array) -> Array:
        _, h, w = b.net.shapes[self.chain.output]
        return a[:, :, :h, :w]

    def backward(self, b: Build, dy: Cell) -> None:
        source, like = self.chain.inputs

        def write(dx: Cell) -> None:
            def call() -> None:
                dx.array.fill(0)
                g = self.shaped(b, self.chain.output, dy)
                np.copyto(self._seen(b, self.shaped(b, source, dx)), g)

            b.tape.call(call, dy, dx)

        b.give(source, write)
        b.give(like, lambda dx: b.tape.call(lambda: dx.array.fill(0), dx))


class SoftmaxStep(OneLayer):
    """Softmax along an axis, or its logarithm."""

    def forward(self, b: Build) -> None:
        x, y, threads = b.values[self.chain.inputs[0]], b.cell(self.chain.output), b.threads
        assert isinstance(self.layer, (nn.Softmax, nn.LogSoftmax))
        shape, axis = y.shape, self.layer.axis % len(y.shape)
        sizes = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        log = isinstance(self.layer, nn.LogSoftmax)
        self.arguments, self.y = (*sizes, log), y

        def call() -> None:
            _kernels.softmax_forward(*sizes, log, x.array, y.array, threads)

        b.tape.call(call, x, y)
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        y, arguments, threads = self.y, self.arguments, b.threads

        def write(dx: Cell) -> None:
            def call() -> None:
                _kernels.softmax_backward(*arguments, dy.array, y.array, dx.array, threads)

            b.tape.call(call, dy, y, dx)

        b.give(self.chain.inputs[0], write)


class LrnStep(OneLayer):
    """Local response normalisation."""

    def forward(self, b: Build) -> None:
        x, y, layer = b.values[self.chain.inputs[0]], b.cell(self.chain.output), self.layer
        assert isinstance(layer, nn.LocalResponseNorm)
        c, *rest = b.net.shapes[self.chain.output]
        self.sizes = (b.n, c, math.prod(rest))
        self.settings = (layer.size, layer.alpha, layer.beta, layer.k)
        sizes, settings, threads = self.sizes, self.settings, b.threads
        b.tape.call(lambda: _kernels.lrn_forward(sizes, settings, x.array, y.array, threads), x, y)
        self.x = x
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        x, sizes, settings = self.x, self.sizes, self.settings
        threads, scratch = b.threads, b.scratch

        def write(dx: Cell) -> None:
            like = np.empty(0, b.dtype)
            size = _kernels.lrn_backward_workspace_bytes(sizes, settings, like, threads)

            def call() -> None:
                _kernels.lrn_backward(
                    sizes, settings, dy.array, x.array, dx.array, scratch.array, threads
                )

            b.tape.call(call, dy, x, dx, scratch=size)

        b.give(self.chain.inputs[0], write)
