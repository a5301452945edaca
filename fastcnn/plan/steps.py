"""The steps of a layer plan: what each chain of layers records on a tape.

A step records its forward pass, and in training its backward pass, as calls of the kernels on the
tape's cells. What only its layer knows (`LayerStep`) is left to the layer, on copies.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import _kernels, nn
from .._checks import Array, Window, check_bytes, empty, pool_window, window
from .._config import get_exact
from .graph import Call, Chain, Net
from .tape import Cell, Tape

_AUTO, _DIRECT = 0, 1  # fc_conv_algorithm


class Build:
    """What the steps record on: the tape, and the cells of all values and of their gradients."""

    def __init__(self, net: Net, n: int, dtype: Any, threads: int, training: bool) -> None:
        self.net, self.n, self.dtype, self.threads = net, n, np.dtype(dtype), threads
        self.training = training
        self.tape = Tape()
        self.values: dict[str, Cell] = {}
        self.gradients: dict[str, Cell] = {}
        self.wanted: set[str] = set()  # values whose gradient somebody needs
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
    """One step; made from a chain of layers, whose text it shows."""

    text = ""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.layers = chain.names

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


def _add_gradient(p: nn.Parameter | None, gradient: Array) -> None:
    if p is not None:
        p.add_grad(gradient, fresh=True)


def _relu(b: Build, cell: Cell) -> None:
    """Record a ReLU in place."""
    threads = b.threads

    def call() -> None:
        _kernels.activation_forward(_kernels.RELU, 0.0, cell.array, cell.array, threads)

    b.tape.call(call, cell)


def _relu_backward(b: Build, dy: Cell, y: Cell) -> None:
    """Record the way back through a ReLU, in place."""
    threads = b.threads

    def call() -> None:
        dy2 = dy.array.reshape(y.shape)
        _kernels.activation_backward(_kernels.RELU, 0.0, dy2, y.array, dy2, threads)

    b.tape.call(call, dy, y)


class Joined(Step):
    """Steps that may end in batch norm, a sum and a ReLU."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        bn = chain.find(nn.BatchNorm2d)
        self.bn = bn if isinstance(bn, nn.BatchNorm2d) else None
        add = chain.find(nn.Add)
        self.other = chain.others[0] if chain.others else None
        self.relu = chain.find(nn.ReLU) is not None or (isinstance(add, nn.Add) and add.relu)
        ends = [("batch norm", self.bn), ("sum", self.other), ("ReLU", self.relu or None)]
        self.ends = "".join(f" + {name}" for name, found in ends if found is not None)

    def normalise(self, b: Build, z: Cell) -> Cell:
        """Record batch norm in training, with the sum and the ReLU."""
        bn, tape, threads, relu = self.bn, b.tape, b.threads, self.relu
        assert bn is not None
        c = bn.num_features
        size = int(np.prod(z.shape)) // (b.n * c)
        bn.expect_several(b.n * size)
        y, other = b.cell(self.chain.output), b.values[self.other] if self.other else None
        self.mean, self.inv_std = (tape.cell((c,), np.float64) for _ in range(2))
        mean, inv_std, n = self.mean, self.inv_std, b.n

        def call() -> None:
            _kernels.batch_norm_forward(
                n, c, size, bn.eps, z.array, *bn.affine(), y.array, mean.array, inv_std.array,
                threads, other.array if other is not None else None, relu,
            )  # fmt: skip

        tape.call(call, z, y, mean, inv_std, other)
        tape.keep(mean)
        tape.keep(inv_std)
        b.settle.append(lambda: bn.move_statistics(mean.array, inv_std.array, n * size))
        return y

    def denormalise(self, b: Build, dy: Cell, y: Cell, z: Cell) -> Cell:
        """Record the way back to z; through the ReLU in dy, in place."""
        bn, tape, threads, relu, n = self.bn, b.tape, b.threads, self.relu, b.n
        assert bn is not None
        c = bn.num_features
        size = int(np.prod(z.shape)) // (n * c)
        mean, inv_std, dz = self.mean, self.inv_std, b.like(z)

        def call() -> None:
            gamma = bn.affine()[0]
            dgamma, dbeta = (np.empty(c, z.dtype) for _ in range(2))
            _kernels.batch_norm_backward(
                n, c, size, dy.array, z.array, gamma, mean.array, inv_std.array, dz.array,
                dgamma, dbeta, threads, y.array if relu else None, dy.array if relu else None,
            )  # fmt: skip
            _add_gradient(bn.weight, dgamma)
            _add_gradient(bn.bias, dbeta)

        tape.call(call, dy, z, mean, inv_std, dz, y if relu else None)
        return dz

    def ends_backward(self, b: Build, dy: Cell, y: Cell, z: Cell) -> Cell:
        """Record the way back through ReLU, sum and batch norm: the gradient of z."""
        dz = dy
        if self.bn is not None:
            dz = self.denormalise(b, dy, y, z)
        elif self.relu:
            _relu_backward(b, dy, y)
        if self.other is not None:
            b.hand(self.other, dy)
        return dz


class ConvStep(Joined):
    """Convolution; in inference batch norm is folded into its weights."""

    def __init__(self, chain: Chain, shape: tuple[int, ...]) -> None:
        super().__init__(chain)
        conv = chain.calls[0].layer
        assert isinstance(conv, nn.Conv2d)
        self.conv, self.input_shape = conv, shape
        self.window: Window = window(
            "Conv2d", (shape[1], shape[2]), conv.kernel_size,
            stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
        )  # fmt: skip
        self.first = chain.calls[0]
        kh, kw = conv.kernel_size
        groups = f", {conv.groups} groups" if conv.groups > 1 else ""
        stride = f" / {max(conv.stride)}" if conv.stride != (1, 1) else ""
        self.text = f"conv {shape[0]} -> {conv.out_channels} @ {kh}x{kw}{stride}{groups}{self.ends}"
        self.folded: tuple[Array, Array | None] | None = None

    def refresh(self) -> None:
        self.folded = None

    def weights(self) -> tuple[Array, Array | None]:
        """Kernels and bias of inference: with batch norm, w * s and (b - mean) * s + beta."""
        if self.bn is None:
            return self.conv.weight.data, None if self.conv.bias is None else self.conv.bias.data
        if self.folded is None:
            w, bn = self.conv.weight.data, self.bn
            gamma, beta = bn.affine()
            scale = 1.0 / np.sqrt(bn.running_var.data.astype(np.float64) + bn.eps)
            scale = scale if gamma is None else scale * gamma
            bias = 0.0 if self.conv.bias is None else self.conv.bias.data.astype(np.float64)
            shift = (bias - bn.running_mean.data) * scale + (0.0 if beta is None else beta)
            folded = (w * scale[:, None, None, None]).astype(w.dtype)
            self.folded = folded, shift.astype(w.dtype)
        return self.folded

    def descriptor(self, b: Build) -> Any:
        win, conv = self.window, self.conv
        top, bottom, left, right = win.padding
        c, h, w = self.input_shape
        check_bytes("plan", (b.n, c, h + top + bottom, w + left + right), b.dtype.itemsize)
        return _kernels.Conv2dDesc(
            np.empty(0, b.dtype), (b.n, *self.input_shape), conv.weight.data.shape, win.stride,
            win.padding, win.dilation, win.out, conv.groups, False,
            _DIRECT if get_exact() else _AUTO,
        )  # fmt: skip

    def forward(self, b: Build) -> None:
        tape, threads, conv = b.tape, b.threads, self.conv
        x, desc = b.values[self.first.inputs[0]], self.descriptor(b)
        size = _kernels.conv2d_workspace_bytes(desc, "forward", threads)
        apart = b.training and self.bn is not None
        y = b.cell(self.first.output if apart else self.chain.output)
        other = None if apart or self.other is None else b.values[self.other]
        relu = self.relu and not apart

        def call() -> None:
            if apart:
                w, bias = conv.weight.data, None if conv.bias is None else conv.bias.data
            else:
                w, bias = self.weights()
            _kernels.conv2d_forward(desc, x.array, w, bias, y.array, tape.scratch.array, threads)

        tape.call(call, x, y, scratch=size)
        if other is not None:
            self.join(b, y, other, relu)
        elif relu:
            _relu(b, y)
        self.x, self.z = x, y
        self.y = self.normalise(b, y) if apart else y
        b.values[self.chain.output] = self.y

    def join(self, b: Build, y: Cell, other: Cell, relu: bool) -> None:
        threads = b.threads

        def call() -> None:
            a = y.array.reshape(-1)
            _kernels.add(relu, a, other.array.reshape(-1), a, threads)

        b.tape.call(call, y, other)

    def backward(self, b: Build, dy: Cell) -> None:
        tape, threads, conv = b.tape, b.threads, self.conv
        x, desc = self.x, self.descriptor(b)
        dz = self.ends_backward(b, dy, self.y, self.z)
        if conv.trains():
            size = _kernels.conv2d_workspace_bytes(desc, "backward_weight", threads)

            def weights() -> None:
                w = conv.weight.data
                dw, db = empty("plan", w.shape, w.dtype), np.empty(len(w), w.dtype)
                scratch = tape.scratch.array
                _kernels.conv2d_backward_weight(desc, dz.array, x.array, dw, db, scratch, threads)
                _add_gradient(conv.weight, dw)
                _add_gradient(conv.bias, db)

            tape.call(weights, dz, x, scratch=size)

        def write(dx: Cell) -> None:
            size = _kernels.conv2d_workspace_bytes(desc, "backward_input", threads)

            def call() -> None:
                w, scratch = conv.weight.data, tape.scratch.array
                _kernels.conv2d_backward_input(desc, dz.array, w, dx.array, scratch, threads)

            tape.call(call, dz, dx, scratch=size)

        b.give(self.first.inputs[0], write)


class NormStep(Joined):
    """Batch norm of what no convolution before it gives alone."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.text = self.ends.removeprefix(" + ")

    def forward(self, b: Build) -> None:
        self.z = b.values[self.chain.inputs[0]]
        if b.training:
            self.y = self.normalise(b, self.z)
        else:
            self.y = self.infer(b)
        b.values[self.chain.output] = self.y

    def infer(self, b: Build) -> Cell:
        bn, z, threads, n = self.bn, self.z, b.threads, b.n
        assert bn is not None
        y, size = b.cell(self.chain.output), int(np.prod(z.shape)) // (n * bn.num_features)
        other, relu = b.values[self.other] if self.other else None, self.relu

        def call() -> None:
            _kernels.batch_norm_inference(
                n, bn.num_features, size, bn.eps, z.array, *bn.affine(), bn.running_mean.data,
                bn.running_var.data, y.array, threads,
            )  # fmt: skip
            flat = y.array.reshape(-1)
            if other is not None:
                _kernels.add(relu, flat, other.array.reshape(-1), flat, threads)
            elif relu:
                _kernels.activation_forward(_kernels.RELU, 0.0, flat, flat, threads)

        b.tape.call(call, z, y, other)
        return y

    def backward(self, b: Build, dy: Cell) -> None:
        b.hand(self.chain.inputs[0], self.ends_backward(b, dy, self.y, self.z))


class SumStep(Joined):
    """A sum of two values, with its ReLU."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.text = self.ends.removeprefix(" + ")

    def forward(self, b: Build) -> None:
        first, second = (b.values[s] for s in self.chain.inputs)
        y, relu, threads = b.cell(self.chain.output), self.relu, b.threads

        def call() -> None:
            flat = (cell.array.reshape(-1) for cell in (first, second, y))
            _kernels.add(relu, *flat, threads)

        b.tape.call(call, first, second, y)
        b.values[self.chain.output] = self.y = y

    def backward(self, b: Build, dy: Cell) -> None:
        if self.relu:
            _relu_backward(b, dy, self.y)
        first, second = self.chain.inputs

        def copy(target: Cell) -> None:
            shape = target.shape
            b.tape.call(lambda: np.copyto(target.array, dy.array.reshape(shape)), target, dy)

        b.give(second, copy)  # each sum of gradients needs memory of its own
        b.hand(first, dy)


class LinearStep(Step):
    """A fully connected layer, with its ReLU."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        linear = chain.calls[0].layer
        assert isinstance(linear, nn.Linear)
        self.linear, self.relu = linear, chain.find(nn.ReLU) is not None
        self.out, self.inner = linear.weight.data.shape
        self.text = f"linear {self.inner} -> {self.out}{' + ReLU' if self.relu else ''}"

    def forward(self, b: Build) -> None:
        tape, threads, linear, n, inner = b.tape, b.threads, self.linear, b.n, self.inner
        x, y = b.values[self.chain.inputs[0]], b.cell(self.chain.output)
        like = np.empty(0, b.dtype)
        self.scratch = _kernels.linear_workspace_bytes(like, n, inner, self.out, threads)

        def call() -> None:
            bias = None if linear.bias is None else linear.bias.data
            rows, scratch = x.array.reshape(n, inner), tape.scratch.array
            _kernels.linear_forward(rows, linear.weight.data, bias, y.array, scratch, threads)

        tape.call(call, x, y, scratch=self.scratch)
        if self.relu:
            _relu(b, y)
        self.x, self.y = x, y
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        tape, threads, linear, n, inner = b.tape, b.threads, self.linear, b.n, self.inner
        x, out = self.x, self.out
        if self.relu:
            _relu_backward(b, dy, self.y)
        if linear.trains():

            def weights() -> None:
                dw = empty("plan", (out, inner), x.dtype)
                db = np.empty(out, x.dtype)
                rows, g = x.array.reshape(n, inner), dy.array.reshape(n, out)
                _kernels.linear_backward_weight(g, rows, dw, db, tape.scratch.array, threads)
                _add_gradient(linear.weight, dw)
                _add_gradient(linear.bias, db)

            tape.call(weights, dy, x, scratch=self.scratch)

        def write(dx: Cell) -> None:
            def call() -> None:
                g, rows = dy.array.reshape(n, out), dx.array.reshape(n, inner)
                w, scratch = linear.weight.data, tape.scratch.array
                _kernels.linear_backward_input(g, w, rows, scratch, threads)

            tape.call(call, dy, dx, scratch=self.scratch)

        b.give(self.chain.inputs[0], write)


class PoolStep(Step):
    """Max, average or global average pooling."""

    def __init__(self, chain: Chain, shape: tuple[int, ...]) -> None:
        super().__init__(chain)
        layer = chain.calls[0].layer
        self.layer, self.shape = layer, shape
        if isinstance(layer, nn.GlobalAvgPool2d):
            self.text = "global average pool"
            return
        assert isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d))
        kh, kw = layer.kernel_size
        self.text = f"{'max' if isinstance(layer, nn.MaxPool2d) else 'average'} pool {kh}x{kw}"
        self.window = pool_window(
            type(layer).__name__, (shape[1], shape[2]), layer.kernel_size, stride=layer.stride,
            padding=layer.padding, dilation=getattr(layer, "dilation", 1),
            ceil_mode=layer.ceil_mode,
        )  # fmt: skip

    def forward(self, b: Build) -> None:
        threads, layer, shape = b.threads, self.layer, (b.n, *self.shape)
        x, y = b.values[self.chain.inputs[0]], b.cell(self.chain.output)
        self.indices = None
        if isinstance(layer, nn.MaxPool2d):
            indices = self.indices = b.tape.cell(y.shape, np.int32)
            call = lambda: _kernels.max_pool2d_forward(  # noqa: E731
                self.window, shape, x.array, y.array, indices.array, threads
            )
        elif isinstance(layer, nn.AvgPool2d):
            pads = bool(layer.count_include_pad)
            call = lambda: _kernels.avg_pool2d_forward(  # noqa: E731
                self.window, shape, x.array, y.array, pads, threads
            )
        else:
            planes, size = b.n * self.shape[0], self.shape[1] * self.shape[2]
            call = lambda: _kernels.global_avg_pool2d_forward(  # noqa: E731
                planes, size, x.array, y.array, threads
            )
        b.tape.call(call, x, y, self.indices)
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        threads, layer, shape, indices = b.threads, self.layer, (b.n, *self.shape), self.indices

        def write(dx: Cell) -> None:
            if indices is not None:
                call = lambda: _kernels.max_pool2d_backward(  # noqa: E731
                    self.window, shape, dy.array, indices.array, dx.array, threads
                )
            elif isinstance(layer, nn.AvgPool2d):
                pads = bool(layer.count_include_pad)
                call = lambda: _kernels.avg_pool2d_backward(  # noqa: E731
                    self.window, shape, dy.array, dx.array, pads, threads
                )
            else:
                planes, size = b.n * self.shape[0], self.shape[1] * self.shape[2]
                call = lambda: _kernels.global_avg_pool2d_backward(  # noqa: E731
                    planes, size, dy.array, dx.array, threads
                )
            b.tape.call(call, dy, dx, indices)

        b.give(self.chain.inputs[0], write)


class ReluStep(Step):
    """A ReLU that no other step ends in."""

    text = "ReLU"

    def forward(self, b: Build) -> None:
        x, y, threads = b.values[self.chain.inputs[0]], b.cell(self.chain.output), b.threads

        def call() -> None:
            _kernels.activation_forward(_kernels.RELU, 0.0, x.array, y.array, threads)

        b.tape.call(call, x, y)
        b.values[self.chain.output] = self.y = y

    def backward(self, b: Build, dy: Cell) -> None:
        _relu_backward(b, dy, self.y)
        b.hand(self.chain.inputs[0], dy)


class FlattenStep(Step):
    """Another shape for the same memory."""

    text = "(no work)"

    def forward(self, b: Build) -> None:
        b.values[self.chain.output] = b.values[self.chain.inputs[0]]

    def backward(self, b: Build, dy: Cell) -> None:
        b.hand(self.chain.inputs[0], dy)


class LayerStep(Step):
    """Any other layer: it runs as it does outside of a plan."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.layer = chain.calls[0].layer
        self.text = f"{self.layer!r}, run by the layer itself"
        self.context: Any = None

    def _shaped(self, b: Build, value: str, cell: Cell) -> Array:
        return cell.array.reshape(b.n, *b.net.shapes[value])

    def forward(self, b: Build) -> None:
        inputs, output = self.chain.inputs, self.chain.output
        cells, y = [b.values[s] for s in inputs], b.cell(output)
        many = self.layer.takes_many or len(inputs) > 1

        def call() -> None:
            arrays = tuple(self._shaped(b, s, c) for s, c in zip(inputs, cells, strict=True))
            x = arrays if many else arrays[0]
            if b.training:
                result, self.context = self.layer.forward(x)
            else:
                result = self.layer(x)
            np.copyto(y.array, result)

        b.tape.call(call, y, *cells)
        self.cells = cells
        b.values[output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        inputs, output, slot = self.chain.inputs, self.chain.output, {}
        need = any(s in b.wanted for s in inputs)

        def call() -> None:
            g = self._shaped(b, output, dy).copy()  # what it gives may be a view of it
            dx = self.layer.backward(g, self.context, need_dx=need)
            self.context = None
            slot["dx"] = dx if isinstance(dx, tuple) else (dx,)

        b.tape.call(call, dy, *self.cells)
        for i, s in enumerate(inputs):

            def write(target: Cell, i: int = i) -> None:
                b.tape.call(
                    lambda: np.copyto(target.array, slot["dx"][i].reshape(target.shape)), target
                )

            b.give(s, write)


def step_of(chain: Chain, shapes: Mapping[str, tuple[int, ...]]) -> Step:
    """The step for a chain; what is not known here runs by its layer."""
    call: Call = chain.calls[0]
    kind, shape = type(call.layer), shapes[call.inputs[0]]
    if kind is nn.Conv2d and len(shape) == 3 and 0 not in shape:
        return ConvStep(chain, shape)
    if kind is nn.BatchNorm2d:
        return NormStep(chain)
    if kind is nn.Linear:
        return LinearStep(chain)
    if kind is nn.Add and len(call.inputs) == 2:
        return SumStep(chain)
    if kind in (nn.MaxPool2d, nn.AvgPool2d, nn.GlobalAvgPool2d):
        return PoolStep(chain, shape)
    if kind is nn.ReLU:
        return ReluStep(chain)
    if kind is nn.Flatten:
        return FlattenStep(chain)
    return LayerStep(chain)
