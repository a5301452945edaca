"""The other steps of a layer plan, and `step_of`, which finds the step for a chain of layers.

A step records its forward pass, and in training its backward pass, as calls of the kernels on the
tape's cells. What only its layer knows (`LayerStep`) is left to the layer: it sees the cells, and
what it gives is copied into others.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _kernels, nn
from .._checks import empty, window
from ..ops._conv_desc import algorithm_code, describe
from .build import Build, Step, add_gradient, relu_backward, relu_in_place
from .graph import Call, Chain, has_step
from .joined import ConvStep, NormStep, SumStep
from .simple import (
    ActivationStep,
    AliasStep,
    ConcatStep,
    CropStep,
    DropoutStep,
    LrnStep,
    OneLayer,
    PadShortcutStep,
    PReLUStep,
    SoftmaxStep,
    StepStep,
)
from .tape import Cell

_MAX = (nn.MaxPool2d, nn.MaxPool1d)
_AVERAGE = (nn.AvgPool2d, nn.AvgPool1d)
_POOLS = (*_MAX, *_AVERAGE)


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
        threads, scratch, linear, n, inner = b.threads, b.scratch, self.linear, b.n, self.inner
        x, y = b.values[self.chain.inputs[0]], b.cell(self.chain.output)
        like = np.empty(0, b.dtype)
        self.scratch = _kernels.linear_workspace_bytes(like, n, inner, self.out, threads)

        def call() -> None:
            bias = None if linear.bias is None else linear.bias.data
            rows, w = x.array.reshape(n, inner), linear.weight.data
            _kernels.linear_forward(rows, w, bias, y.array, scratch.array, threads)

        b.tape.call(call, x, y, scratch=self.scratch)
        if self.relu:
            relu_in_place(b, y)
        self.x, self.y = x, y
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        threads, scratch, linear, n, inner = b.threads, b.scratch, self.linear, b.n, self.inner
        x, out = self.x, self.out
        if self.relu:
            relu_backward(b, dy, self.y)
        if linear.trains():

            def weights() -> None:
                dw = empty("plan", (out, inner), x.dtype)
                db = np.empty(out, x.dtype)
                rows, g = x.array.reshape(n, inner), dy.array.reshape(n, out)
                _kernels.linear_backward_weight(g, rows, dw, db, scratch.array, threads)
                add_gradient(linear.weight, dw)
                add_gradient(linear.bias, db)

            b.tape.call(weights, dy, x, scratch=self.scratch)

        def write(dx: Cell) -> None:
            def call() -> None:
                g, rows = dy.array.reshape(n, out), dx.array.reshape(n, inner)
                _kernels.linear_backward_input(g, linear.weight.data, rows, scratch.array, threads)

            b.tape.call(call, dy, dx, scratch=self.scratch)

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
        assert isinstance(layer, _POOLS)
        self.window = layer.window_on(shape)
        if len(shape) == 2:  # a row is an image one pixel high
            self.shape = (shape[0], 1, shape[1])
        size = "x".join(map(str, self.window.kernel[3 - len(shape) :]))
        self.text = f"{'max' if isinstance(layer, _MAX) else 'average'} pool {size}"

    def forward(self, b: Build) -> None:
        threads, layer, shape = b.threads, self.layer, (b.n, *self.shape)
        x, y = b.values[self.chain.inputs[0]], b.cell(self.chain.output)
        self.indices = None
        if isinstance(layer, _MAX):
            indices = self.indices = b.tape.cell(y.shape, np.int32)

            def call() -> None:
                at = indices.array
                _kernels.max_pool2d_forward(self.window, shape, x.array, y.array, at, threads)

        elif isinstance(layer, _AVERAGE):
            pads = bool(layer.count_include_pad)

            def call() -> None:
                _kernels.avg_pool2d_forward(self.window, shape, x.array, y.array, pads, threads)

        else:
            planes, size = b.n * self.shape[0], self.shape[1] * self.shape[2]

            def call() -> None:
                _kernels.global_avg_pool2d_forward(planes, size, x.array, y.array, threads)

        b.tape.call(call, x, y, self.indices)
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        threads, layer, shape, indices = b.threads, self.layer, (b.n, *self.shape), self.indices

        def write(dx: Cell) -> None:
            if indices is not None:

                def call() -> None:
                    at = indices.array
                    _kernels.max_pool2d_backward(
                        self.window, shape, dy.array, at, dx.array, threads
                    )

            elif isinstance(layer, _AVERAGE):
                pads = bool(layer.count_include_pad)

                def call() -> None:
                    _kernels.avg_pool2d_backward(
                        self.window, shape, dy.array, dx.array, pads, threads
                    )

            else:
                planes, size = b.n * self.shape[0], self.shape[1] * self.shape[2]

                def call() -> None:
                    _kernels.global_avg_pool2d_backward(planes, size, dy.array, dx.array, threads)

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
        relu_backward(b, dy, self.y)
        b.hand(self.chain.inputs[0], dy)


class ConvTransposeStep(Step):
    """Transposed convolution: forward is a convolution's backward input, backward its forward."""

    def __init__(self, chain: Chain, shape: tuple[int, ...]) -> None:
        super().__init__(chain)
        layer = chain.calls[0].layer
        assert isinstance(layer, nn.ConvTranspose2d)
        self.layer, self.shape, self.text = layer, layer.output_shape(shape), repr(layer)
        self.window = window(
            "ConvTranspose2d", self.shape[1:], layer.kernel_size,
            stride=layer.stride, padding=layer.padding, dilation=layer.dilation,
        )  # fmt: skip

    def descriptor(self, b: Build) -> Any:
        """Of the convolution that goes the other way."""
        layer = self.layer
        return describe(
            "plan", b.dtype, (b.n, *self.shape), layer.weight.data.shape, self.window,
            layer.groups, "zeros", algorithm_code("plan", "auto"),
        )  # fmt: skip

    def forward(self, b: Build) -> None:
        x, y, desc = b.values[self.chain.inputs[0]], b.cell(self.chain.output), self.descriptor(b)
        threads, scratch, layer = b.threads, b.scratch, self.layer
        size = _kernels.conv2d_workspace_bytes(desc, "backward_input", threads)

        def call() -> None:
            w, bias = layer.weight.data, None if layer.bias is None else layer.bias.data
            _kernels.conv2d_backward_input(desc, x.array, w, y.array, scratch.array, threads, bias)

        b.tape.call(call, x, y, scratch=size)
        self.x = x
        b.values[self.chain.output] = y

    def backward(self, b: Build, dy: Cell) -> None:
        x, desc, layer = self.x, self.descriptor(b), self.layer
        threads, scratch = b.threads, b.scratch
        if layer.trains():
            size = _kernels.conv2d_workspace_bytes(desc, "backward_weight", threads)

            def weights() -> None:
                w = layer.weight.data
                dw = empty("plan", w.shape, w.dtype)
                _kernels.conv2d_backward_weight(
                    desc, x.array, dy.array, dw, None, scratch.array, threads
                )
                add_gradient(layer.weight, dw)
                if layer.bias is not None and layer.bias.requires_grad:
                    db = empty("plan", self.shape[:1], w.dtype)
                    g = dy.array.reshape(b.n, *self.shape)
                    _kernels.channel_sums(g, db, threads)
                    add_gradient(layer.bias, db)

            b.tape.call(weights, dy, x, scratch=size)

        def write(dx: Cell) -> None:
            size = _kernels.conv2d_workspace_bytes(desc, "forward", threads)

            def call() -> None:
                w = layer.weight.data
                _kernels.conv2d_forward(desc, dy.array, w, None, dx.array, scratch.array, threads)

            b.tape.call(call, dy, dx, scratch=size)

        b.give(self.chain.inputs[0], write)


class LayerStep(OneLayer):
    """Any other layer: it runs as it does outside of a plan."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.text += ", run by the layer itself"
        self.context: Any = None

    def forward(self, b: Build) -> None:
        inputs, output = self.chain.inputs, self.chain.output
        cells, y = [b.values[s] for s in inputs], b.cell(output)
        many = self.layer.takes_many or len(inputs) > 1

        def call() -> None:
            arrays = tuple(self.shaped(b, s, c) for s, c in zip(inputs, cells, strict=True))
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
        inputs, output = self.chain.inputs, self.chain.output
        need = any(s in b.wanted for s in inputs)
        dx = [b.cell(s) for s in inputs]

        def call() -> None:
            g = self.shaped(b, output, dy).copy()  # what it gives may be a view of it
            result = self.layer.backward(g, self.context, need_dx=need)
            self.context = None
            if need:
                parts = result if isinstance(result, tuple) else (result,)
                for cell, part in zip(dx, parts, strict=True):
                    np.copyto(cell.array, part)

        b.tape.call(call, dy, *self.cells, *(dx if need else ()))
        for s, cell in zip(inputs, dx, strict=True):
            b.hand(s, cell)


_OF_LAYERS: dict[type, type[Step]] = {
    nn.BatchNorm2d: NormStep,
    nn.Linear: LinearStep,
    nn.Add: SumStep,
    nn.ReLU: ReluStep,
    nn.LeakyReLU: ActivationStep,
    nn.Sigmoid: ActivationStep,
    nn.Tanh: ActivationStep,
    nn.PReLU: PReLUStep,
    nn.ELU: ActivationStep,
    nn.Step: StepStep,
    nn.LocalResponseNorm: LrnStep,
    nn.Dropout: DropoutStep,
    nn.Concat: ConcatStep,
    nn.CropLike: CropStep,
    nn.LogSoftmax: SoftmaxStep,
    nn.Softmax: SoftmaxStep,
    nn.Flatten: AliasStep,
    nn.Unflatten: AliasStep,
    nn.blocks.PadShortcut: PadShortcutStep,
}
_OF_SHAPES: dict[type, Any] = {
    nn.Conv2d: ConvStep,
    nn.Conv1d: ConvStep,
    nn.WeightedAvgPool2d: ConvStep,
    nn.ConvTranspose2d: ConvTransposeStep,
    nn.MaxPool2d: PoolStep,
    nn.AvgPool2d: PoolStep,
    nn.MaxPool1d: PoolStep,
    nn.AvgPool1d: PoolStep,
    nn.GlobalAvgPool2d: PoolStep,
}


def step_of(chain: Chain, shapes: Mapping[str, tuple[int, ...]]) -> Step:
    """The step for a chain; what is not known here runs by its layer."""
    call: Call = chain.calls[0]
    kind = type(call.layer)  # exactly: a subclass may compute anything
    if has_step(call) and kind in _OF_LAYERS:
        return _OF_LAYERS[kind](chain)
    if has_step(call) and kind in _OF_SHAPES:
        step: Step = _OF_SHAPES[kind](chain, shapes[call.inputs[0]])
        return step
    return LayerStep(chain)
