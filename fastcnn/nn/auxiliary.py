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

    Raises
    ------
    ValueError
        If there is only one output; and as `Graph`.

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
        result: Array = self._infer(x, self._heads)[self.outputs[0]]
        return result

    def output_shape(self, input_shape: Any) -> Any:
        """Of the first output."""
        return super().output_shape(input_shape)[self.outputs[0]]


OneLoss = Callable[[Any, Any], tuple[float, Array]]


class AuxiliaryLoss:
    """The loss of the first output, and those of the other outputs times a weight.

    Parameters
    ----------
    loss : callable, or mapping of str to callable
        Of each output: ``loss(output, target) -> (value, gradient)``. One for all, or by the names
        of the outputs, that of the first output first.
    weight : float, or mapping of str to float
        Of every auxiliary output; 0.3 as GoogLeNet has it. By name each auxiliary output has its
        own, and the first output may have one too (else 1).

    Raises
    ------
    ValueError
        If a weight is less than 0, if losses differ in their ``reduction``, or, when called, if the
        names are not those of the outputs.

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
    >>> loss = nn.AuxiliaryLoss({"fc": nn.CrossEntropyLoss(), "aux": nn.MSELoss()}, {"aux": 0.5})
    >>> round(loss({"fc": logits, "aux": logits}, target)[0], 4)
    1.5113
    """

    def __init__(
        self,
        loss: OneLoss | Mapping[str, OneLoss],
        weight: float | Mapping[str, float] = 0.3,
    ) -> None:
        op = "AuxiliaryLoss"
        self.loss = dict(loss) if isinstance(loss, Mapping) else loss
        self.weight: float | dict[str, float]
        if isinstance(weight, Mapping):
            self.weight = {k: number(op, f"weight[{k!r}]", w, 0) for k, w in weight.items()}
        else:
            self.weight = number(op, "weight", weight, 0)
        each = list(self.loss.values()) if isinstance(self.loss, dict) else [self.loss]
        reductions = {getattr(one, "reduction", "mean") for one in each}
        if len(reductions) != 1:
            raise ValueError(f"{op}: expected losses of one reduction, got {loss!r}")
        self.reduction = reductions.pop()

    def __call__(self, outputs: Any, target: Any) -> tuple[float, Any]:
        """Value, and gradients by name, of a dict of outputs; of one array as the first of them."""
        losses = self.loss if isinstance(self.loss, dict) else None
        if not isinstance(outputs, Mapping):
            return self._one(next(iter(losses)) if losses else "")(outputs, target)
        names = list(outputs)
        if losses is not None and (set(losses) != set(names) or next(iter(losses)) != names[0]):
            raise _other_names("losses", names, losses)
        if isinstance(self.weight, dict) and not set(names[1:]) <= set(self.weight) <= set(names):
            raise _other_names("weights", names, self.weight)
        total, gradients = 0.0, {}
        for i, (name, output) in enumerate(outputs.items()):
            value, gradient = self._one(name)(output, target)
            if isinstance(self.weight, dict):
                weight = self.weight.get(name, 1.0)
            else:
                weight = 1.0 if i == 0 else self.weight
            total += weight * value
            gradients[name] = gradient if weight == 1 else gradient * gradient.dtype.type(weight)
        return total, gradients

    def _one(self, name: str) -> OneLoss:
        """The loss of an output."""
        return self.loss[name] if isinstance(self.loss, dict) else self.loss

    def __repr__(self) -> str:
        weight = self.weight if isinstance(self.weight, dict) else f"{self.weight:g}"
        return f"AuxiliaryLoss({self.loss!r}, weight={weight})"


def _other_names(what: str, outputs: list[str], got: Mapping[str, Any]) -> ValueError:
    return ValueError(
        f"AuxiliaryLoss: expected {what} of the outputs {', '.join(outputs)}, the first one first, "
        f"got those of {', '.join(got)}"
    )
