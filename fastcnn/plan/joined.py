"""Steps that may end in batch norm, a sum and a ReLU: convolution, batch norm, the sum itself."""

import math
from typing import Any, NamedTuple

import numpy as np

from .. import _kernels, nn
from .._checks import Array, Window, empty, workspace
from .._config import get_exact
from ..nn.batch_norm import frozen_gradients
from ..ops._border import fold_border
from ..ops._conv_desc import algorithm_code, describe
from .build import Build, Step, add_gradient, relu_backward
from .graph import Chain
from .tape import Cell


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

    def sizes(self, z: Cell) -> tuple[int, int]:
        """Channels of batch norm, and elements of a plane."""
        assert self.bn is not None
        return self.bn.num_features, math.prod(z.shape[1:]) // self.bn.num_features

    def normalise_by_running(self, b: Build, z: Cell) -> Cell:
        """Record batch norm by its running statistics, with the sum and the ReLU."""
        bn, threads, n = self.bn, b.threads, b.n
        assert bn is not None
        (c, size), relu = self.sizes(z), self.relu
        y = b.cell(self.chain.output)
        other = None if self.other is None else b.values[self.other]

        def call() -> None:
            _kernels.batch_norm_inference(
                n, c, size, bn.eps, z.array, *bn.affine(), bn.running_mean.data,
                bn.running_var.data, y.array, threads,
            )  # fmt: skip
            flat = y.array.reshape(-1)
            if other is not None:
                _kernels.add(relu, flat, other.array.reshape(-1), flat, threads)
            elif relu:
                _kernels.activation_forward(_kernels.RELU, 0.0, flat, flat, threads)

        b.tape.call(call, z, y, other)
        return y

    def normalise(self, b: Build, z: Cell) -> Cell:
        """Record batch norm in training, with the sum and the ReLU."""
        bn, tape, threads, relu = self.bn, b.tape, b.threads, self.relu
        assert bn is not None
        if bn.frozen:
            return self.normalise_by_running(b, z)
        c, size = self.sizes(z)
        bn.expect_several(b.n * size)
        y = b.cell(self.chain.output)
        other = None if self.other is None else b.values[self.other]
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
        c, size = self.sizes(z)
        mean, inv_std, dz = self.mean, self.inv_std, b.like(z)

        def call() -> None:
            gamma = bn.affine()[0]
            dgamma, dbeta = (np.empty(c, z.dtype) for _ in range(2))
            _kernels.batch_norm_backward(
                n, c, size, dy.array, z.array, gamma, mean.array, inv_std.array, dz.array,
                dgamma, dbeta, threads, y.array if relu else None, dy.array if relu else None,
            )  # fmt: skip
            add_gradient(bn.weight, dgamma)
            add_gradient(bn.bias, dbeta)

        tape.call(call, dy, z, mean, inv_std, dz, y if relu else None)
        return dz

    def denormalise_by_running(self, b: Build, dy: Cell, y: Cell, z: Cell) -> Cell:
        """Record the way back to z where the statistics are constants."""
        bn, threads, n = self.bn, b.threads, b.n
        assert bn is not None
        if self.relu:
            relu_backward(b, dy, y)
        (c, size), dz, trains = self.sizes(z), b.like(z), bn.trains()

        def call() -> None:
            gamma, var = bn.affine()[0], bn.running_var.data
            zeros = np.zeros_like(var)
            _kernels.batch_norm_inference(
                n, c, size, bn.eps, dy.array, gamma, None, zeros, var, dz.array, threads
            )
            if trains:
                mean = bn.running_mean.data
                dw, db = frozen_gradients(dy.array, z.array, mean, var, bn.eps)
                add_gradient(bn.weight, dw)
                add_gradient(bn.bias, db)

        b.tape.call(call, dy, dz, z if trains else None)
        return dz

    def ends_backward(self, b: Build, dy: Cell, y: Cell, z: Cell) -> Cell:
        """Record the way back through ReLU, sum and batch norm: the gradient of z."""
        dz, bn = dy, self.bn
        below = [c.layer for c in self.chain.calls if type(c.layer) is not nn.ReLU]
        if bn is not None and not (
            any(layer.trains() for layer in below) or self.chain.inputs[0] in b.wanted
        ):
            bn = None  # only the sum's other term is of use
        if bn is not None:
            back = self.denormalise_by_running if bn.frozen else self.denormalise
            dz = back(b, dy, y, z)
        elif self.relu:
            relu_backward(b, dy, y)
        if self.other is not None:
            b.hand(self.other, dy)
        return dz


FEW_PIXELS, MANY_KERNELS = 64, 1 << 16  # of a layer whose time is that of reading its weights


class Weights(NamedTuple):
    """What a convolution is called with; w is None where prepared weights stand for it."""

    w: Array | None
    bias: Array | None
    prepared: Array | None


class Kernels:
    """What a convolution does, as its kernels see it: images of rows are one pixel high, a weighted
    pooling is one filter a channel."""

    def __init__(self, layer: nn.Layer, shape: tuple[int, ...]) -> None:
        assert isinstance(layer, (nn.Conv2d, nn.Conv1d, nn.WeightedAvgPool2d))
        self.layer = layer
        self.input_shape = shape if len(shape) == 3 else (shape[0], 1, shape[1])
        self.groups, self.padding_mode = shape[0], "zeros"
        self.window: Window = layer.window_on(shape)
        if not isinstance(layer, nn.WeightedAvgPool2d):
            self.groups, self.padding_mode = layer.groups, layer.padding_mode
        bias = getattr(layer, "bias", None)
        self.bias: nn.Parameter | None = bias
        self.out_channels = layer.output_shape(shape)[0]

    @property
    def w(self) -> Array:
        """(K, C / groups, KH, KW), as it is now."""
        w = self.layer.weight.data
        if isinstance(self.layer, nn.WeightedAvgPool2d):
            each = (self.out_channels, *self.window.kernel)
            w = np.ascontiguousarray(np.broadcast_to(w, each))
        shape = (self.out_channels, -1, *self.window.kernel)
        result: Array = w.reshape(shape)
        return result

    def add(self, dw: Array, db: Array) -> None:
        """Add gradients of the kernels and of the bias."""
        weight = self.layer.weight
        if isinstance(weight, nn.Parameter):
            shared = dw.size != weight.data.size
            add_gradient(weight, dw.sum((0, 1)) if shared else dw.reshape(weight.data.shape))
        add_gradient(self.bias, db)


class ConvStep(Joined):
    """Convolution; in inference batch norm is folded into its weights."""

    def __init__(self, chain: Chain, shape: tuple[int, ...]) -> None:
        super().__init__(chain)
        self.conv = conv = Kernels(chain.calls[0].layer, shape)
        self.first = chain.calls[0]
        (kh, kw), strides = conv.window.kernel, conv.window.stride
        groups = f", {conv.groups} groups" if conv.groups > 1 else ""
        stride = f" / {max(strides)}" if strides != (1, 1) else ""
        self.text = f"conv {shape[0]} -> {conv.out_channels} @ {kh}x{kw}{stride}{groups}{self.ends}"
        if isinstance(conv.layer, nn.WeightedAvgPool2d):
            self.text = f"weighted average pool {kh}x{kw}{self.ends}"
        self.taken: tuple[bool, Weights] | None = None

    def refresh(self) -> None:
        self.taken = None

    def folded(self) -> tuple[Array, Array | None]:
        """Kernels and bias of inference: with batch norm, w * s and (b - mean) * s + beta."""
        w, bias, bn = self.conv.w, self.conv.bias, self.bn
        if bn is None:
            return w, None if bias is None else bias.data
        gamma, beta = bn.affine()
        scale = 1.0 / np.sqrt(bn.running_var.data.astype(np.float64) + bn.eps)
        scale = scale if gamma is None else scale * gamma
        start = 0.0 if bias is None else bias.data.astype(np.float64)
        shift = (start - bn.running_mean.data) * scale + (0.0 if beta is None else beta)
        return (w * scale[:, None, None, None]).astype(w.dtype), shift.astype(w.dtype)

    def weights(self, desc: Any, threads: int) -> Weights:
        """Those of inference, taken once: prepared for the kernels where they want that."""
        exact, taken = get_exact(), self.taken
        if taken is None or taken[0] is not exact:
            w, bias = self.folded()
            size, prepared = _kernels.conv2d_prepared_bytes(desc), None
            if size:
                prepared = workspace("plan", size)
                _kernels.conv2d_prepare(desc, w, prepared, threads)
            self.taken = taken = exact, Weights(None if size else w, bias, prepared)
        return taken[1]

    def padded(self, b: Build) -> tuple[int, int, int, int]:
        """The shape of the images with their borders."""
        c, h, w = self.conv.input_shape
        top, bottom, left, right = self.conv.window.padding
        return b.n, c, h + top + bottom, w + left + right

    def descriptor(self, b: Build, padded: bool = False) -> Any:
        """What the kernels are told: in training the same as by `ops.conv2d`.

        With `padded`, that of a convolution of images that have their borders already.
        """
        conv, window = self.conv, self.conv.window
        x_shape: tuple[int, ...] = (b.n, *conv.input_shape)
        mode = conv.padding_mode
        if padded:
            x_shape, window, mode = self.padded(b), window._replace(padding=(0, 0, 0, 0)), "zeros"
        w_shape = conv.w.shape
        # Transformed weights of Winograd are four times as large. For a few tiles of one image that
        # is all that such a layer does: read them.
        few = not b.training and math.prod(conv.window.out) <= FEW_PIXELS
        direct = few and w_shape[0] * w_shape[1] >= MANY_KERNELS
        return describe(
            "plan", b.dtype, x_shape, w_shape, window, conv.groups, mode,
            algorithm_code("plan", "direct" if direct else "auto"),
        )  # fmt: skip

    def forward(self, b: Build) -> None:
        threads, scratch, conv = b.threads, b.scratch, self.conv
        x, desc = b.values[self.first.inputs[0]], self.descriptor(b)
        prepares = not b.training and _kernels.conv2d_prepared_bytes(desc) > 0
        which = "prepared" if prepares else "forward"
        size = _kernels.conv2d_workspace_bytes(desc, which, threads)
        apart = b.training and self.bn is not None
        other = None if apart or self.other is None else b.values[self.other]
        y = b.cell(self.first.output if apart else self.chain.output)
        if other is not None and not b.training and self.may_write_over(b, self.chain.others[0]):
            y = other  # which is a stream of memory less
        relu = self.relu and not apart

        def call() -> None:
            if b.training:
                bias = None if conv.bias is None else conv.bias.data
                now = Weights(conv.w, bias, None)
            else:
                now = self.weights(desc, threads)
            _kernels.conv2d_forward(
                desc, x.array, now.w, now.bias, y.array, scratch.array, threads,
                other.array if other is not None else None, relu, now.prepared,
            )  # fmt: skip

        b.tape.call(call, x, y, other, scratch=size)
        self.x, self.z = x, y
        self.y = self.normalise(b, y) if apart else y
        b.values[self.chain.output] = self.y

    def may_write_over(self, b: Build, value: str) -> bool:
        """Whether nobody reads a value after this step, nor the convolution while it writes."""
        return value not in self.chain.inputs and b.unread[value] == 0

    def backward(self, b: Build, dy: Cell) -> None:
        threads, scratch, conv = b.threads, b.scratch, self.conv
        x, desc = self.x, self.descriptor(b)
        dz, shape = self.ends_backward(b, dy, self.y, self.z), conv.w.shape
        if conv.layer.trains():
            size = _kernels.conv2d_workspace_bytes(desc, "backward_weight", threads)

            def weights() -> None:
                dw, db = empty("plan", shape, b.dtype), np.empty(shape[0], b.dtype)
                _kernels.conv2d_backward_weight(
                    desc, dz.array, x.array, dw, db, scratch.array, threads
                )
                conv.add(dw, db)

            b.tape.call(weights, dz, x, scratch=size)

        replicates = conv.padding_mode == "replicate"
        back = self.descriptor(b, padded=True) if replicates else desc
        top, _, left, _ = conv.window.padding

        def write(dx: Cell) -> None:
            size = _kernels.conv2d_workspace_bytes(back, "backward_input", threads)
            image = (b.n, *conv.input_shape)
            wide = b.tape.cell(self.padded(b), b.dtype) if replicates else dx

            def call() -> None:
                _kernels.conv2d_backward_input(
                    back, dz.array, conv.w, wide.array, scratch.array, threads
                )
                if replicates:
                    folded = fold_border(wide.array, image, top, left)
                    np.copyto(dx.array.reshape(image), folded)

            b.tape.call(call, dz, dx, wide, scratch=size)

        b.give(self.first.inputs[0], write)


class NormStep(Joined):
    """Batch norm of what no convolution before it gives alone."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain)
        self.text = self.ends.removeprefix(" + ")

    def forward(self, b: Build) -> None:
        self.z = b.values[self.chain.inputs[0]]
        run = self.normalise if b.training else self.normalise_by_running
        self.y = run(b, self.z)
        b.values[self.chain.output] = self.y

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
            relu_backward(b, dy, self.y)
        first, second = self.chain.inputs

        def copy(target: Cell) -> None:
            shape = target.shape
            b.tape.call(lambda: np.copyto(target.array, dy.array.reshape(shape)), target, dy)

        b.give(second, copy)  # each sum of gradients needs memory of its own
        b.hand(first, dy)
