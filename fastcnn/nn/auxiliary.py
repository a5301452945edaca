"""Nets with auxiliary heads: classifiers half-way up that help training and rest afterwards."""

from collections.abc import Callable, Mapping
from typing import Any

from .._checks import Array, number
from .containers import Graph


class AuxiliaryGraph(Graph):
    """A `Graph` whose first output is its answer, and whose others only train.

    ``forward`` gives a dict of all outputs, for `AuxiliaryLoss`; inference gives the first one
    alone, and computes nothing that leads to the others only.

    Parameters
    ----------
    inputs, nodes, outputs
        As for `Graph`; at least two outputs.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> net = nn.AuxiliaryGraph(
    ...     "x",
    ...     {
    ...         "a": (nn.Linear(4, 3), "x"),
    ...         "main": (nn.Linear(3, 2), "a"),
    ...         "aux": (nn.Linear(3, 2), "a"),
    ...     },
    ...     ("main", "aux"),
    ... )
    >>> x = np.zeros((5, 4), np.float32)
    >>> net(x).shape, list(net.forward(x)[0])
    ((5, 2), ['main', 'aux'])
    """

    def __init__(self, inputs: Any, nodes: Mapping[str, tuple[Any, ...]], outputs: Any) -> None:
        super().__init__(inputs, nodes, outputs)
        if len(self.outputs) < 2:
            raise ValueError(f"AuxiliaryGraph: expected several outputs, got {self.outputs}")
        needed = {self.outputs[0]}
        for name, node in reversed(self.nodes.items()):
            if name in needed:
                needed.update(node.inputs)
        self._heads = frozenset(self.nodes) - needed

    def __call__(self, x: Any) -> Array:
        """The first output."""
        values = self._take("inputs", self.inputs, x, False)
        for name, node in self.nodes.items():
            if name in self._heads:
                continue
            try:
                values[name] = node.layer(self._gather(node, values))
            except (ValueError, TypeError) as error:
                error.add_note(f"in layer {name!r}, {node.layer!r}")
                raise
            for done in self._done[name]:
                del values[done]
        result: Array = values[self.outputs[0]]
        return result

    def output_shape(self, input_shape: Any) -> Any:
        """Of the first output."""
        return super().output_shape(input_shape)[self.outputs[0]]


class AuxiliaryLoss:
    """The loss of the first output, and those of the other outputs times a weight.

    Parameters
    ----------
    loss : callable
        Of each output: ``loss(output, target) -> (value, gradient)``.
    weight : float
        Of every auxiliary output; 0.3 as GoogLeNet has it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> loss = nn.AuxiliaryLoss(nn.CrossEntropyLoss())
    >>> logits, target = np.zeros((1, 4), np.float32), np.array([2])
    >>> value, gradient = loss({"fc": logits, "aux": logits}, target)
    >>> round(value, 4), list(gradient)
    (1.8022, ['fc', 'aux'])
    >>> round(loss(logits, target)[0], 4)  # inference has no auxiliary outputs
    1.3863
    """

    def __init__(
        self, loss: Callable[[Any, Any], tuple[float, Array]], weight: float = 0.3
    ) -> None:
        self.loss = loss
        self.weight = number("AuxiliaryLoss", "weight", weight, 0)
        self.reduction = getattr(loss, "reduction", "mean")

    def __call__(self, outputs: Any, target: Any) -> tuple[float, Any]:
        """Value, and gradients by name, of a dict of outputs; of one array as `loss` has it."""
        if not isinstance(outputs, Mapping):
            return self.loss(outputs, target)
        total, gradients = 0.0, {}
        for i, (name, output) in enumerate(outputs.items()):
            value, gradient = self.loss(output, target)
            weight = 1.0 if i == 0 else self.weight
            total += weight * value
            gradients[name] = gradient if i == 0 else gradient * gradient.dtype.type(weight)
        return total, gradients

    def __repr__(self) -> str:
        return f"AuxiliaryLoss({self.loss!r}, weight={self.weight:g})"
