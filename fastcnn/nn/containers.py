"""Nets made of layers: `Graph`, any directed acyclic graph of them, and `Sequential`, a chain.

`Graph` is the only container with a forward and a backward pass of its own; `Sequential` and blocks
with branches are ways to build one. It is also the only place where gradients of one array are
summed: where a value goes to several nodes (fan-out).
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._checks import Array
from .activation import OutputContext, ReLU
from .layer import Layer
from .parameter import Buffer, Parameter

if TYPE_CHECKING:
    from .summary import Signal, Tracer


class Node(NamedTuple):
    """A layer in a graph and the names of the values that it takes."""

    layer: Layer
    inputs: tuple[str, ...]


class _Stop(NamedTuple):
    """All that a pass looks up at a node, found once."""

    name: str
    layer: Any  # a Layer; one that works in place takes `out` too
    inputs: tuple[str, ...]
    many: bool  # the layer takes a tuple
    overwrites: bool  # and may write over its input
    done: list[str]  # values that nobody needs afterwards
    relu: str  # the name of a ReLU that the layer computes with its output, or ""


class GraphContext(NamedTuple):
    """The contexts of the nodes by name, and what the inputs looked like."""

    nodes: dict[str, Any]
    inputs: dict[str, tuple[tuple[int, ...], Any]]  # shape, dtype


def _names(what: str, value: str | Sequence[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(value)
    if not names or not all(isinstance(n, str) and n for n in names):
        raise ValueError(f"Graph: expected {what} to be a name or names, got {value!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"Graph: expected {what} to be different names, got {names}")
    return names


def _cycle(nodes: Mapping[str, Node]) -> list[str]:
    """Names along a cycle; every node of `nodes` waits for another of them."""
    path = [next(iter(nodes))]
    while True:
        back = next(s for s in nodes[path[-1]].inputs if s in nodes)
        if back in path:
            return [back, *reversed(path[path.index(back) :])]
        path.append(back)


class Graph(Layer):
    """A net with branches: named nodes, inputs by name, one or several outputs.

    With one input and one output it is called with and gives plain arrays, like any layer. With
    several inputs it takes a dict of arrays by input name (or a tuple in their order), and
    `backward` gives such a dict; with several outputs it gives a dict, and `backward` takes one, in
    which an output without a gradient may be left out.

    Parameters
    ----------
    inputs : str or sequence of str
        Names of the arrays that come in.
    nodes : mapping of str to (layer, name, ...)
        For each node its layer, then the inputs or nodes that it takes, in any order of nodes.
        Several go to the layer as a tuple (`Add`, `Concat`).
    outputs : str or sequence of str
        Names of the nodes (or inputs) that go out.

    Attributes
    ----------
    nodes : dict of str to Node
        In an order in which they can be computed.

    Raises
    ------
    ValueError
        Naming the nodes: a name that is not there or used twice, a cycle, a node or input that
        leads to no output.

    Examples
    --------
    A residual block, y = relu(x + conv(x)):

    >>> import numpy as np
    >>> from fastcnn import nn
    >>> block = nn.Graph(
    ...     inputs="x",
    ...     nodes={
    ...         "conv": (nn.Conv2d(4, 4, 3, padding=1, seed=0), "x"),
    ...         "sum": (nn.Add(), "conv", "x"),
    ...         "relu": (nn.ReLU(), "sum"),
    ...     },
    ...     outputs="relu",
    ... )
    >>> y, ctx = block.forward(np.ones((2, 4, 8, 8), np.float32))
    >>> block.backward(np.ones_like(y), ctx).shape
    (2, 4, 8, 8)
    """

    def __init__(
        self,
        inputs: str | Sequence[str],
        nodes: Mapping[str, tuple[Any, ...]],
        outputs: str | Sequence[str],
    ) -> None:
        self.inputs = _names("inputs", inputs)
        self.outputs = _names("outputs", outputs)
        self.nodes = self._ordered({n: self._node(n, spec) for n, spec in nodes.items()})
        self._check_outputs()
        self._find_route()

    # ---- building --------------------------------------------------------------------------

    def _node(self, name: str, spec: tuple[Any, ...]) -> Node:
        if not isinstance(name, str) or not name:
            raise ValueError(f"Graph: expected the name of a node, got {name!r}")
        if name in self.inputs:
            raise ValueError(f"Graph: {name!r} is the name of both an input and a node")
        if not isinstance(spec, tuple) or not spec or not isinstance(spec[0], Layer):
            raise ValueError(f"Graph: node {name!r}: expected (layer, name, ...), got {spec!r}")
        layer, sources = spec[0], spec[1:]
        if not sources or not all(isinstance(s, str) for s in sources):
            raise ValueError(f"Graph: node {name!r}: expected names of its inputs, got {sources!r}")
        many = layer.takes_many or (isinstance(layer, Graph) and len(layer.inputs) == len(sources))
        if len(sources) > 1 and not many:
            raise ValueError(
                f"Graph: node {name!r}: expected one input for {layer!r}, got {sources}"
            )
        if isinstance(layer, Graph) and len(layer.outputs) > 1:
            raise ValueError(
                f"Graph: node {name!r}: expected a layer with one output, got {layer.outputs}"
            )
        return Node(layer, sources)

    def _ordered(self, nodes: dict[str, Node]) -> dict[str, Node]:
        """The nodes in an order in which each comes after its inputs."""
        for name, node in nodes.items():
            for source in node.inputs:
                if source not in nodes and source not in self.inputs:
                    known = ", ".join([*self.inputs, *nodes])
                    raise ValueError(
                        f"Graph: node {name!r} takes {source!r}, which is not there; "
                        f"there are {known}"
                    )
        ordered: dict[str, Node] = {}
        waiting = dict(nodes)
        while waiting:
            ready = [n for n, node in waiting.items() if not any(s in waiting for s in node.inputs)]
            if not ready:
                raise ValueError(f"Graph: a cycle: {' -> '.join(_cycle(waiting))}")
            for name in ready:
                ordered[name] = waiting.pop(name)
        return ordered

    def _check_outputs(self) -> None:
        """Every output is there, and every input and node leads to one."""
        for name in self.outputs:
            if name not in self.nodes and name not in self.inputs:
                raise ValueError(
                    f"Graph: output {name!r} is not there; there are "
                    f"{', '.join([*self.inputs, *self.nodes])}"
                )
        leads = set(self.outputs)
        for name, node in reversed(self.nodes.items()):
            if name not in leads:
                raise ValueError(f"Graph: node {name!r} leads to no output")
            leads.update(node.inputs)
        for name in self.inputs:
            if name not in leads:
                raise ValueError(f"Graph: input {name!r} leads to no output")

    def _members(self) -> Iterator[tuple[str, Parameter | Buffer | Layer]]:
        for name, node in vars(self).get("nodes", {}).items():  # not there before __init__ ends
            yield name, node.layer
        yield from super()._members()

    def _put(self, key: str, layer: Layer) -> None:
        if key not in self.nodes:
            super()._put(key, layer)
            return
        self.nodes[key] = self._node(key, (layer, *self.nodes[key].inputs))
        self._find_route()

    def _find_route(self) -> None:
        # Values that nobody needs after a node are let go, to keep inference small.
        last = {s: name for name, node in self.nodes.items() for s in node.inputs}
        done: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, name in last.items():
            if source not in self.outputs:
                done[name].append(source)
        uses = [s for node in self.nodes.values() for s in node.inputs] + [*self.outputs]
        self._used_once = {name for name in self.nodes if uses.count(name) == 1}
        joined = {node.inputs[0]: name for name, node in self.nodes.items() if self._joins(node)}
        self._route = [
            _Stop(
                name,
                layer,
                inputs,
                len(inputs) > 1 or layer.takes_many,
                self._overwrites(layer, inputs[0]),
                done[name],
                joined.get(name, ""),
            )
            for name, (layer, inputs) in self.nodes.items()
        ]
        self._routed = list(self.nodes.items())

    def _stops(self) -> list[_Stop]:
        """The route, found anew if it is no longer that of `nodes`, which anybody may change."""
        if list(self.nodes.items()) != self._routed:
            self._find_route()
        return self._route

    def _joins(self, node: Node) -> bool:
        """Whether this is a ReLU that the layer in front of it can compute with its output."""
        source = node.inputs[0]
        return (
            type(node.layer) is ReLU
            and self._overwrites(node.layer, source)
            and self.nodes[source].layer.takes_relu
        )

    def _overwrites(self, layer: Layer, source: str) -> bool:
        """Whether the layer may write over its input, an array that nobody else holds or takes."""
        return (
            layer.works_in_place
            and source in self._used_once
            and self.nodes[source].layer.gives_new
        )

    def until(self, name: str) -> "Graph":
        """The net up to a layer, whose output it gives: the base of a net, without its head.

        Parameters
        ----------
        name : str
            Dotted name of a node, of this graph or of one in it.

        Returns
        -------
        Graph
            A `Sequential` of a `Sequential`. The layers are the same objects, not copies.

        Raises
        ------
        ValueError
            If there is no such node.

        Examples
        --------
        >>> from fastcnn import models
        >>> models.lenet5(seed=0).until("pool2").output_shape((1, 28, 28))
        (16, 5, 5)
        """
        key, _, rest = name.partition(".")
        if key not in self.nodes:
            raise ValueError(f"until: there is no node {name!r}; there are {', '.join(self.nodes)}")
        layer = self.nodes[key].layer
        if rest and not isinstance(layer, Graph):
            raise ValueError(f"until: {key!r} is no graph, so there is no {name!r} in it")
        needed = {key}
        nodes: dict[str, tuple[Any, ...]] = {}
        for at, node in reversed(self.nodes.items()):
            if at in needed:
                needed.update(node.inputs)
                cut = layer.until(rest) if at == key and isinstance(layer, Graph) and rest else None
                nodes[at] = (cut or node.layer, *node.inputs)
        nodes = dict(reversed(nodes.items()))
        if isinstance(self, Sequential):
            return Sequential({at: spec[0] for at, spec in nodes.items()})
        return Graph([s for s in self.inputs if s in needed], nodes, key)

    # ---- the passes ------------------------------------------------------------------------

    def _take(self, what: str, names: tuple[str, ...], value: Any, some: bool) -> dict[str, Any]:
        """An array, a tuple or a dict as a dict by name; with `some`, not all need be there."""
        if isinstance(value, np.ndarray) and len(names) == 1:
            return {names[0]: value}
        if isinstance(value, Mapping):
            given = dict(value)
        elif len(names) > 1 and isinstance(value, (tuple, list)) and len(value) == len(names):
            given = dict(zip(names, value, strict=True))
        elif len(names) == 1:
            one = isinstance(value, tuple) and len(value) == 1
            given = {names[0]: value[0] if one else value}
        else:
            raise ValueError(f"Graph: expected {what} as a dict of {', '.join(names)}")
        if not set(given) <= set(names) or not (some or len(given) == len(names)):
            raise ValueError(
                f"Graph: expected {what} {', '.join(names)}, got {', '.join(map(str, given))}"
            )
        return given

    @staticmethod
    def _gather(node: Node, values: Mapping[str, Any]) -> Any:
        """What the layer of a node is called with."""
        layer, sources = node
        if len(sources) > 1 or layer.takes_many:
            return tuple(values[s] for s in sources)
        return values[sources[0]]

    def _give(self, names: tuple[str, ...], values: Mapping[str, Any]) -> Any:
        return values[names[0]] if len(names) == 1 else {n: values[n] for n in names}

    def __call__(self, x: Any) -> Any:
        """Inference: the output, or a dict of the outputs."""
        return self._give(self.outputs, self._infer(x))

    def _infer(self, x: Any, without: Container[str] = ()) -> dict[str, Any]:
        """Values of the outputs, by name; nodes may be left out."""
        values = self._take("inputs", self.inputs, x, False)
        for name, layer, inputs, many, _, done, relu in self._stops():
            if name in values or name in without:  # a ReLU that is computed already, say
                continue
            value = tuple([values[s] for s in inputs]) if many else values[inputs[0]]
            try:
                if relu:
                    values[relu] = layer(value, relu=True)
                else:
                    values[name] = layer(value)
            except (ValueError, TypeError) as error:
                error.add_note(f"in layer {name!r}, {layer!r}")
                raise
            del value
            for source in done:
                del values[source]
        return values

    def activations(self, x: Any) -> dict[str, Array]:
        """Inference that keeps the output of every node, by name: the feature maps.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import models
        >>> maps = models.lenet5().activations(np.zeros((1, 1, 28, 28), np.float32))
        >>> maps["conv2"].shape
        (1, 16, 10, 10)
        """
        values = self._take("inputs", self.inputs, x, False)
        for name, node in self.nodes.items():
            values[name] = node.layer(self._gather(node, values))
        return {name: values[name] for name in self.nodes}

    def forward(self, x: Any) -> tuple[Any, GraphContext]:
        """Output (or a dict of the outputs) and the contexts of all nodes."""
        values = self._take("inputs", self.inputs, x, False)
        arrays = {name: np.asarray(value) for name, value in values.items()}
        seen = {name: (a.shape, a.dtype) for name, a in arrays.items()}
        contexts: dict[str, Any] = {}
        for name, layer, inputs, many, overwrites, done, relu in self._stops():
            if name in contexts:  # a ReLU that is computed already
                continue
            value = tuple([values[s] for s in inputs]) if many else values[inputs[0]]
            try:
                if relu and "forward" not in vars(layer):  # one of the object's own knows no relu
                    values[relu], contexts[name] = layer.forward(value, relu=True)
                    contexts[relu] = OutputContext(values[relu])
                elif overwrites:
                    values[name], contexts[name] = layer.forward(value, out=value)
                else:
                    values[name], contexts[name] = layer.forward(value)
            except (ValueError, TypeError) as error:
                error.add_note(f"in layer {name!r}, {layer!r}")
                raise
            for source in done:
                del values[source]
        return self._give(self.outputs, values), GraphContext(contexts, seen)

    def _wanted(self, need_dx: bool) -> set[str]:
        """Names of the values whose gradient is of use: an input's or a parameter's is behind."""
        wanted = set(self.inputs) if need_dx else set()
        for name, layer, inputs, *_ in self._stops():
            if not wanted.isdisjoint(inputs) or layer.trains():
                wanted.add(name)
        return wanted

    def backward(self, dy: Any, ctx: GraphContext, *, need_dx: bool = True) -> Any:
        """Backward through all nodes; stops where nothing below needs a gradient.

        Returns
        -------
        ndarray or dict
            The gradient of the input, or of the inputs by name.
        """
        wanted = self._wanted(need_dx)
        sums: dict[str, Array] = {}
        ours: set[str] = set()  # sums that nobody else holds: we may write to them

        def add(name: str, gradient: Array, new: bool) -> None:
            if name not in sums:
                sums[name] = gradient
                if new:
                    ours.add(name)
            elif name in ours:
                np.add(sums[name], gradient, out=sums[name])
            else:
                sums[name] = sums[name] + gradient
                ours.add(name)

        for name, gradient in self._take("gradients of", self.outputs, dy, True).items():
            add(name, np.asarray(gradient), False)
        for name, layer, inputs, *_ in reversed(self._route):
            gradient = sums.pop(name, None)
            if gradient is None or name not in wanted:
                continue
            need = not wanted.isdisjoint(inputs)
            mine = layer.works_in_place and name in ours
            try:
                if mine:
                    dx = layer.backward(gradient, ctx.nodes[name], need_dx=need, out=gradient)
                else:
                    dx = layer.backward(gradient, ctx.nodes[name], need_dx=need)
            except (ValueError, TypeError) as error:
                error.add_note(f"in the backward pass of layer {name!r}, {layer!r}")
                raise
            if not need:
                continue
            if isinstance(dx, dict):
                dx = tuple(dx.values())
            parts = dx if isinstance(dx, tuple) else (dx,)
            for source, part in zip(inputs, parts, strict=True):
                if source in wanted:
                    add(source, part, mine or layer.gives_new)
        if not need_dx:
            return None
        for name, (shape, dtype) in ctx.inputs.items():
            if name not in sums:  # no gradient came in on the way to this input
                sums[name] = np.zeros(shape, dtype)
        return self._give(self.inputs, sums)

    # ---- shapes ----------------------------------------------------------------------------

    def output_shape(self, input_shape: Any) -> Any:
        """Shape of the output, or a dict of them by name; errors name the node."""
        shapes = self._shapes(input_shape)
        for name, node in self.nodes.items():
            try:
                shapes[name] = node.layer.output_shape(self._gather(node, shapes))
            except ValueError as error:
                raise ValueError(f"layer {name!r}: {error}") from error
        return self._give(self.outputs, shapes)

    def _shapes(self, input_shape: Any) -> dict[str, Any]:
        if not isinstance(input_shape, Mapping) and len(self.inputs) == 1:
            return {self.inputs[0]: tuple(input_shape)}
        return self._take("shapes of", self.inputs, input_shape, False)

    def multiply_adds(self, input_shape: Any) -> int:
        """Sum over all nodes."""
        return self.summary(input_shape).multiply_adds

    def trace(self, tracer: "Tracer", name: str, signals: "tuple[Signal, ...]") -> "Signal":
        """One row a node; the signal of the (first) output."""
        known = dict(zip(self.inputs, signals, strict=True))
        for own, node in self.nodes.items():
            sources = tuple(known[s] for s in node.inputs)
            known[own] = node.layer.trace(tracer, f"{name}.{own}" if name else own, sources)
        return known[self.outputs[0]]

    def __repr__(self) -> str:
        lines = [f"inputs: {', '.join(self.inputs)}"]
        lines += [
            f"{n}: {node.layer!r} <- {', '.join(node.inputs)}" for n, node in self.nodes.items()
        ]
        lines += [f"outputs: {', '.join(self.outputs)}"]
        return _lines(type(self).__name__, lines)


def _lines(kind: str, lines: list[str]) -> str:
    inside = "\n".join(lines).replace("\n", "\n  ")
    return f"{kind}(\n  {inside}\n)" if lines else f"{kind}()"


class Sequential(Graph):
    """A chain of layers, each taking the output of the one before.

    Parameters
    ----------
    *layers : Layer, or one mapping of str to Layer
        Named "0", "1", ... or by the mapping.
    **named : Layer
        Layers with names of their own.

    Raises
    ------
    KeyError, IndexError
        ``net[key]``, if there is no such layer.
    ValueError
        If something is no layer, or a name is empty or "input".

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> net = nn.Sequential(
    ...     conv=nn.Conv2d(1, 6, 5, seed=0), relu=nn.ReLU(), flat=nn.Flatten(),
    ...     fc=nn.Linear(6 * 24 * 24, 10, seed=0),
    ... )
    >>> net(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    >>> net
    Sequential(
      conv: Conv2d(1, 6, kernel_size=5)
      relu: ReLU()
      flat: Flatten()
      fc: Linear(3456, 10)
    )
    >>> net["conv"] is net[0], len(net[1:])
    (True, 3)
    """

    def __init__(self, *layers: Layer | Mapping[str, Layer], **named: Layer) -> None:
        chain: dict[str, Any] = {}
        if len(layers) == 1 and isinstance(layers[0], Mapping):
            chain.update(layers[0])
        else:
            chain.update({str(i): layer for i, layer in enumerate(layers)})
        chain.update(named)
        for name, layer in chain.items():
            if not isinstance(layer, Layer):
                raise ValueError(f"Sequential: {name!r}: expected a layer, got {layer!r}")
        before = ["input", *chain]
        nodes = {n: (layer, b) for (n, layer), b in zip(chain.items(), before, strict=False)}
        super().__init__("input", nodes, before[-1])

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[Layer]:
        return (node.layer for node in self.nodes.values())

    def __getitem__(self, key: int | slice | str) -> Layer:
        if isinstance(key, str):
            if key not in self.nodes:
                known = ", ".join(self.nodes) or "none"
                raise KeyError(f"Sequential: there is no layer {key!r}; there are {known}")
            return self.nodes[key].layer
        chain = [(name, node.layer) for name, node in self.nodes.items()]
        return Sequential(dict(chain[key])) if isinstance(key, slice) else chain[key][1]

    def __repr__(self) -> str:
        lines = [f"{name}: {node.layer!r}" for name, node in self.nodes.items()]
        return _lines(type(self).__name__, lines)
