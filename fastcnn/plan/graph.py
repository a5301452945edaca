"""Flattening: a net of nested containers as one list of layers, and which of them run as one step.

`chains` finds convolution [+ batch norm] [+ sum] [+ ReLU], and likewise linear [+ ReLU], batch norm
[+ sum] [+ ReLU] and sum [+ ReLU], where nobody else needs what is between them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import nn
from .lower import LoweringError, is_drawn
from .sums import OUTPUT, Order


class Call(NamedTuple):
    """A layer, and the values (by name) that it takes and gives."""

    name: str
    layer: nn.Layer
    inputs: tuple[str, ...]
    output: str


class Chain(NamedTuple):
    """Layers that run as one step. `others` are the values that a sum takes besides the chain's."""

    calls: tuple[Call, ...]
    others: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.calls[0].inputs

    @property
    def output(self) -> str:
        return self.calls[-1].output

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(call.name for call in self.calls)

    def find(self, kind: type[nn.Layer]) -> nn.Layer | None:
        """The chain's layer of a kind."""
        return next((c.layer for c in self.calls if type(c.layer) is kind), None)


class Net(NamedTuple):
    """A flat net: its calls in order, and the names of what goes in and comes out."""

    calls: tuple[Call, ...]
    input: str
    outputs: dict[str, str]  # their names in the model, and those of the values
    shapes: dict[str, tuple[int, ...]]  # of every value, without the batch axis
    sums: dict[str, Order]  # how the gradient of every value is added up

    @property
    def output(self) -> str:
        """The value of the first output."""
        return next(iter(self.outputs.values()))

    def without_heads(self) -> "Net":
        """What the first output needs."""
        needed, calls = {self.output}, []
        for call in reversed(self.calls):
            if call.output in needed:
                needed.update(call.inputs)
                calls.append(call)
        name = next(iter(self.outputs))
        return self._replace(calls=tuple(reversed(calls)), outputs={name: self.output})


def flatten(model: nn.Layer, input_shape: tuple[int, ...]) -> Net:
    """The net as a list of calls.

    Raises
    ------
    LoweringError
        If it has several inputs, or a net in it several outputs.
    ValueError
        If layers do not fit each other or the input.
    """
    calls: list[Call] = []
    shapes: dict[str, tuple[int, ...]] = {"": input_shape}
    sums: dict[str, Order] = {}

    def expand(
        layer: nn.Layer, name: str, inputs: Sequence[str], above: Order
    ) -> tuple[str, list[Any]]:
        """Append the calls of a layer; the name of its value, and who adds to each input's."""
        if not isinstance(layer, nn.Graph) or not is_drawn(layer):
            given = [shapes[s] for s in inputs]
            try:
                shapes[name] = tuple(layer.output_shape(given if layer.takes_many else given[0]))
            except ValueError as error:
                raise ValueError(f"plan: layer {name!r}: {error}") from error
            calls.append(Call(name, layer, tuple(inputs), name))
            sums[name] = above
            return name, [name] * len(inputs)
        if len(layer.outputs) != 1 or len(layer.inputs) != len(inputs):
            raise LoweringError(
                f"plan: layer {name!r}: expected a net of one output, and inputs as they are "
                f"given, got inputs {layer.inputs} and outputs {layer.outputs}"
            )
        values, terms = inside(layer, name, inputs, [above])
        return values[layer.outputs[0]], terms

    def inside(
        graph: nn.Graph, name: str, inputs: Sequence[str], above: Sequence[Any]
    ) -> tuple[dict[str, str], list[Any]]:
        """Append the calls of a net's nodes; the names of all its values, and its inputs' sums."""
        values = dict(zip(graph.inputs, inputs, strict=True))
        orders: dict[str, Order] = {key: [] for key in (*graph.inputs, *graph.nodes)}
        for key, term in zip(graph.outputs, above, strict=True):
            orders[key].append(term)
        found = []
        for key, node in graph.nodes.items():
            sources = [values[s] for s in node.inputs]
            inner = f"{name}.{key}" if name else key
            values[key], terms = expand(node.layer, inner, sources, orders[key])
            found.append((node.inputs, terms))
        for sources, terms in reversed(found):  # as `Graph.backward` comes by
            for source, term in zip(sources, terms, strict=True):
                orders[source].append(term)
        return values, [orders[key] for key in graph.inputs]

    if isinstance(model, nn.Graph) and (is_drawn(model) or has_heads(model)):
        if len(model.inputs) != 1:
            raise LoweringError(f"plan: expected a net of one input, got {model.inputs}")
        values, _ = inside(model, "", ("",), [OUTPUT] * len(model.outputs))
        outputs = {name: values[name] for name in model.outputs}
    else:
        outputs = {"net": expand(model, "net", ("",), [OUTPUT])[0]}
    if not calls:
        raise LoweringError("plan: expected at least one layer")
    return Net(tuple(calls), "", outputs, shapes, sums)


def has_heads(model: nn.Layer) -> bool:
    """Whether a net trains all of its outputs, but gives the first alone."""
    own = type(model)
    return isinstance(model, nn.AuxiliaryGraph) and all(
        getattr(own, call) is getattr(nn.AuxiliaryGraph, call)
        for call in ("__call__", "forward", "backward")
    )


def has_step(call: Call) -> bool:
    """Whether a layer of a kind that steps know is one that they can run."""
    return not isinstance(call.layer, nn.Add) or len(call.inputs) == 2


def chains(net: Net) -> list[Chain]:
    """The net's calls, fused; each chain stands where its last call did."""
    users: dict[str, list[Call]] = {}
    for call in net.calls:
        for source in call.inputs:
            users.setdefault(source, []).append(call)

    def only_user(value: str) -> Call | None:
        found = users.get(value, [])
        return found[0] if len(found) == 1 and value not in net.outputs.values() else None

    convs = {nn.Conv2d: 0, nn.Conv1d: 0, nn.WeightedAvgPool2d: 0}
    stages = {**convs, nn.BatchNorm2d: 1, nn.Linear: 2, nn.Add: 2}
    taken: set[str] = set()
    at_end: dict[str, Chain] = {}
    for call in net.calls:
        if call.name in taken:
            continue
        chain = [call]
        others: tuple[str, ...] = ()
        if type(call.layer) is nn.Add and len(call.inputs) == 2:
            others = call.inputs[1:]
        if type(call.layer) in stages and has_step(call):
            stage = stages[type(call.layer)]
            while (user := only_user(chain[-1].output)) is not None and user.name not in taken:
                kind = type(user.layer)
                if kind is nn.BatchNorm2d and stage == 0:
                    stage = 1
                elif (
                    kind is nn.Add and stage <= 1 and len(set(user.inputs)) == 2 == len(user.inputs)
                ):
                    stage = 2
                    others = tuple(s for s in user.inputs if s != chain[-1].output)
                elif kind is nn.ReLU and stage <= 2:
                    stage = 3
                else:
                    break
                chain.append(user)
        taken.update(c.name for c in chain)
        at_end[chain[-1].name] = Chain(tuple(chain), others)
    return [at_end[call.name] for call in net.calls if call.name in at_end]
