"""Lowering: from a chain of layers to the few kinds of steps that the C program knows."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import _kernels, nn
from .._checks import window


class LoweringError(ValueError):
    """A net that no plan can run; the message names the layer and says why."""


class BlockStep(NamedTuple):
    """One step of the program, and the layers that it does the work of."""

    kind: int
    layers: tuple[str, ...]
    text: str
    input_shape: tuple[int, int, int]  # C, H, W; features are (F, 1, 1)
    output_shape: tuple[int, int, int]
    kernel: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, bottom, left, right
    activation: int = 0
    relu: bool = False
    weight: nn.Parameter | None = None
    bias: nn.Parameter | None = None


_ACTIVATIONS: dict[type, tuple[int, str]] = {
    nn.ReLU: (_kernels.RELU, "ReLU"),
    nn.Sigmoid: (_kernels.SIGMOID, "sigmoid"),
    nn.Tanh: (_kernels.TANH, "tanh"),
}


def is_drawn(layer: nn.Layer) -> bool:
    """Whether a layer is a net that does what its graph says: no subclass with calls of its own."""
    own = type(layer)
    return isinstance(layer, nn.Graph) and all(
        getattr(own, call) is getattr(nn.Graph, call)
        for call in ("__call__", "forward", "backward")
    )


def _chain(model: nn.Layer, prefix: str = "") -> Iterator[tuple[str, nn.Layer]]:
    """The layers of nested chains, in order, with their dotted names."""
    if isinstance(model, nn.Sequential) and is_drawn(model):
        for name, node in model.nodes.items():
            yield from _chain(node.layer, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, model


def _refuse(name: str, layer: nn.Layer, why: str) -> LoweringError:
    return LoweringError(f"plan: layer {name!r}, {layer!r}: {why}")


def _image(name: str, layer: nn.Layer, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise _refuse(name, layer, f"expected an input of shape (C, H, W), got {shape}")
    return shape[0], shape[1], shape[2]


def _conv(name: str, layer: nn.Conv2d, shape: tuple[int, ...]) -> BlockStep:
    c, h, w = _image(name, layer, shape)
    for what, value, wanted in (
        ("stride", layer.stride, (1, 1)),
        ("dilation", layer.dilation, (1, 1)),
        ("groups", layer.groups, 1),
        ("padding_mode", layer.padding_mode, "zeros"),
    ):
        if value != wanted:
            raise _refuse(name, layer, f"a plan knows {what}={wanted} only, got {value}")
    win = window("Conv2d", (h, w), layer.kernel_size, padding=layer.padding)
    (kh, kw), sides = win.kernel, win.padding
    if max(sides[:2]) >= kh or max(sides[2:]) >= kw:
        raise _refuse(name, layer, "a plan knows padding smaller than the kernel only")
    return BlockStep(
        _kernels.PLAN_CONV,
        (name,),
        f"conv {c} -> {layer.out_channels} @ {kh}x{kw}",
        (c, h, w),
        (layer.out_channels, *win.out),
        win.kernel,
        sides,
        weight=layer.weight,
        bias=layer.bias,
    )


def _pool(name: str, layer: nn.MaxPool2d | nn.AvgPool2d, shape: tuple[int, ...]) -> BlockStep:
    c, h, w = _image(name, layer, shape)
    kh, kw = layer.kernel_size
    out = layer.output_shape(shape)
    plain = layer.stride == (kh, kw) and layer.dilation == (1, 1)
    if not plain or out != (c, h // kh, w // kw):
        raise _refuse(name, layer, "a plan knows windows side by side, without padding, only")
    largest = isinstance(layer, nn.MaxPool2d)
    kind = _kernels.PLAN_MAX_POOL if largest else _kernels.PLAN_AVG_POOL
    text = f"{'max' if largest else 'average'} pool {kh}x{kw}"
    return BlockStep(kind, (name,), text, (c, h, w), out, (kh, kw))


def _linear(name: str, layer: nn.Linear, shape: tuple[int, ...]) -> BlockStep:
    (out,) = layer.output_shape(shape)
    return BlockStep(
        _kernels.PLAN_LINEAR,
        (name,),
        f"linear {shape[0]} -> {out}",
        (shape[0], 1, 1),
        (out, 1, 1),
        weight=layer.weight,
        bias=layer.bias,
    )


def _activation(
    name: str, layer: nn.Layer, shape: tuple[int, ...], before: Sequence[BlockStep]
) -> BlockStep:
    """In the shape that the step before it gives: a Flatten between them moves nothing."""
    code, text = _ACTIVATIONS[type(layer)]
    if before:
        c, h, w = before[-1].output_shape
    else:
        c, h, w = shape if len(shape) == 3 else (math.prod(shape), 1, 1)
    return BlockStep(_kernels.PLAN_ACTIVATION, (name,), text, (c, h, w), (c, h, w), activation=code)


def _one(
    name: str, layer: nn.Layer, shape: tuple[int, ...], before: Sequence[BlockStep]
) -> BlockStep | None:
    """The step of one layer; None where there is nothing to do."""
    kind = type(layer)  # exactly: a subclass may compute anything
    if isinstance(layer, nn.Conv2d) and kind is nn.Conv2d:
        return _conv(name, layer, shape)
    if isinstance(layer, (nn.MaxPool2d, nn.AvgPool2d)) and kind in (nn.MaxPool2d, nn.AvgPool2d):
        return _pool(name, layer, shape)
    if isinstance(layer, nn.Linear) and kind is nn.Linear:
        return _linear(name, layer, shape)
    if kind in _ACTIVATIONS:
        return _activation(name, layer, shape, before)
    if kind is nn.Flatten:
        return None
    known = "Conv2d, MaxPool2d, AvgPool2d, Linear, Flatten, ReLU, Sigmoid, Tanh"
    raise _refuse(name, layer, f"a block plan knows chains (Sequential) of {known}")


def _listable(conv: BlockStep) -> bool:
    """Whether the places in the lists of the sparse backward pass are whole numbers that float32
    holds; where they are not, no block would stay in a cache anyway."""
    (c, h, w), (kh, kw), k, lanes = conv.input_shape, conv.kernel, conv.output_shape[0], 16
    top, bottom, left, right = conv.padding
    image = (h + top + bottom) * (w + left + right) * max(c, lanes) + kw * c + 2 * lanes
    filters = 2 * k * (kh + 2) * ((kw + 1) * c + lanes)
    return max(image, filters) <= 2**24


def _fused(steps: list[BlockStep]) -> list[BlockStep]:
    """Convolutions that a 2x2 max pool follows, with a ReLU before or after it, as one step."""
    result: list[BlockStep] = []
    i = 0
    while i < len(steps):
        conv, after = steps[i], steps[i + 1 : i + 3]
        pools = [s for s in after if s.kind == _kernels.PLAN_MAX_POOL and s.kernel == (2, 2)]
        relus = [
            s for s in after if s.kind == _kernels.PLAN_ACTIVATION and s.activation == _kernels.RELU
        ]
        if len(pools) + len(relus) < 2:  # then only a pool that follows at once is of use
            after = after[:1]
            pools, relus = [s for s in pools if s in after], []
        if conv.kind != _kernels.PLAN_CONV or len(pools) != 1 or not _listable(conv):
            result.append(conv)
            i += 1
            continue
        names = conv.layers + sum((s.layers for s in after), ())
        result.append(
            conv._replace(
                kind=_kernels.PLAN_CONV_POOL,
                layers=names,
                text=f"{conv.text}{' + ReLU' if relus else ''} + max pool 2x2, sparse backward",
                output_shape=pools[0].output_shape,
                relu=bool(relus),
            )
        )
        i += 1 + len(after)
    return result


def lower(model: nn.Layer, input_shape: tuple[int, ...]) -> list[BlockStep]:
    """The steps of a net for inputs of shape (C, H, W) or (F,).

    Raises
    ------
    LoweringError
        If a layer is of a kind, or configured in a way, that the program does not know.
    ValueError
        If the layers do not fit each other or the input.
    """
    shape = tuple(input_shape)
    steps: list[BlockStep] = []
    seen: set[int] = set()
    for name, layer in _chain(model):
        for p in layer.parameters():
            if id(p) in seen:
                raise _refuse(name, layer, "a plan uses each parameter once")
            seen.add(id(p))
        try:
            step = _one(name, layer, shape, steps)
            shape = tuple(layer.output_shape(shape))
        except LoweringError:
            raise
        except ValueError as error:
            raise ValueError(f"plan: layer {name!r}: {error}") from error
        if step is not None:
            steps.append(step)
    steps = _fused(steps)
    if not steps:
        raise LoweringError("plan: expected at least one layer that computes something")
    if len(shape) != 1:
        raise LoweringError(f"plan: expected outputs of shape (F,), got {shape}; add a Flatten")
    if len(steps) > _kernels.PLAN_MOST_STEPS:
        raise LoweringError(
            f"plan: expected at most {_kernels.PLAN_MOST_STEPS} steps, got {len(steps)}"
        )
    return steps
