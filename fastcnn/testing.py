"""Numerical proof of gradients: central differences in float64 beside what `backward` returns."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ._checks import Array
from .nn import Layer

__all__ = ["gradcheck", "gradcheck_loss"]


class _Worst(NamedTuple):
    """The element where the two gradients differ most, relative to what is allowed."""

    excess: float = 0.0
    text: str = ""


def _flat(value: Any, name: str) -> dict[str, Array]:
    """Arrays of an input or output (array, tuple or dict of arrays) by a name to report."""
    if isinstance(value, Mapping):
        return {f"{name}[{key!r}]": a for key, a in value.items()}
    if isinstance(value, (tuple, list)):
        return {f"{name}[{i}]": a for i, a in enumerate(value)}
    return {name: value}


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` on every array of an array, tuple or dict of arrays."""
    if isinstance(value, Mapping):
        return {key: function(a) for key, a in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(function(a) for a in value)
    return function(value)


def _compare(
    name: str, array: Array, gradient: Array, value: Callable[[], float], eps: float, tol: float
) -> _Worst:
    """Central differences of `value` by each element of `array`, which is put back after use."""
    if np.shape(gradient) != array.shape:
        raise AssertionError(
            f"gradcheck: expected the gradient of {name} to have shape {array.shape}, "
            f"got {np.shape(gradient)}"
        )
    worst = _Worst()
    for at in np.ndindex(array.shape):
        kept = array[at]
        array[at] = kept + eps
        above = value()
        array[at] = kept - eps
        below = value()
        array[at] = kept
        numeric, given = (above - below) / (2 * eps), float(gradient[at])
        excess = abs(given - numeric) / (tol * (1 + abs(numeric)))
        if not excess <= worst.excess:  # NaN is worst of all
            index = f"{name}[{', '.join(map(str, at))}]" if at else name
            worst = _Worst(
                np.inf if np.isnan(excess) else excess,
                f"{index}: backward gives {given:.9g}, central differences {numeric:.9g}",
            )
    return worst


def _report(what: str, worst: _Worst, tol: float) -> None:
    if worst.excess > 1:
        raise AssertionError(
            f"gradcheck: {what}: worst at {worst.text} (allowed: {tol:g} * (1 + |difference|))"
        )


def gradcheck(layer: Layer, x: Any, *, eps: float = 1e-6, tol: float = 1e-6, seed: int = 0) -> None:
    """Check `layer.backward` against central differences, for the input and every parameter.

    The layer is copied and converted to float64; the original is left as it is. The loss is the
    sum of the output times random numbers, so that no error can hide behind a gradient of ones.
    Also checked: gradients are added to ``p.grad`` (not assigned), frozen parameters get none, and
    neither `x` nor `dy` is written to.

    Parameters
    ----------
    layer : Layer
        Dropout is held to the same random numbers at every call.
    x : array_like, or tuple or dict of them
        Input, as the layer takes it. Small: every element costs two forward passes. Stay away from
        kinks (0 for ReLU, ties for max pooling) by more than `eps`.
    eps : float
        Half the step of the differences.
    tol : float
        Allowed difference: ``tol * (1 + |numerical gradient|)``.
    seed : int
        Of the random numbers.

    Raises
    ------
    AssertionError
        Naming the worst element.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, testing
    >>> x = np.random.default_rng(0).normal(size=(2, 3, 5, 5))
    >>> testing.gradcheck(nn.Conv2d(3, 4, 3, padding=1, seed=0), x)
    """
    net = copy.deepcopy(layer).double()
    x = _map(lambda a: np.array(a, np.float64), x)
    rng = np.random.default_rng(seed)
    random_state = net.rng_state()

    before = [a.copy() for a in _flat(x, "").values()]

    def run() -> tuple[Any, Any]:
        net.set_rng_state(random_state)
        return net.forward(x)

    y, ctx = run()
    dy = _map(lambda a: rng.normal(size=np.shape(a)), y)

    def value() -> float:
        pairs = zip(_flat(run()[0], "y").values(), _flat(dy, "dy").values(), strict=True)
        return float(sum((a * d).sum() for a, d in pairs))

    what = repr(layer).partition("\n")[0]
    before += [a.copy() for a in _flat(dy, "").values()]
    grads = {name: rng.normal(size=p.data.shape) for name, p in net.named_parameters()}
    for name, p in net.named_parameters():
        p.grad = grads[name].copy()
    dx = net.backward(dy, ctx)
    after = [*_flat(x, "").values(), *_flat(dy, "").values()]
    if not all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
        raise AssertionError(f"gradcheck: {what}: forward or backward wrote to x or dy")

    worst = _Worst()
    dxs = _flat(dx, "dx")
    for (name, array), (_, gradient) in zip(_flat(x, "x").items(), dxs.items(), strict=True):
        worst = max(worst, _compare(name, array, gradient, value, eps, tol))
    for name, p in net.named_parameters():
        added = p.grad - grads[name]
        if p.requires_grad:
            worst = max(worst, _compare(name, p.data, added, value, eps, tol))
        elif added.any():
            raise AssertionError(f"gradcheck: {what}: frozen {name} got a gradient")
    _report(what, worst, tol)


def gradcheck_loss(
    loss: Callable[[Any, Any], tuple[float, Array]],
    prediction: Any,
    target: Any,
    *,
    eps: float = 1e-6,
    tol: float = 1e-6,
) -> None:
    """Check the gradient of a loss, ``value, gradient = loss(prediction, target)``.

    Parameters
    ----------
    loss : callable
    prediction : array_like
        Converted to float64.
    target : array_like
        Handed on as it is.
    eps, tol : float
        As for `gradcheck`.

    Raises
    ------
    AssertionError
        Naming the worst element.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, testing
    >>> testing.gradcheck_loss(nn.CrossEntropyLoss(), np.eye(3), np.array([0, 2, 1]))
    """
    p = np.array(prediction, np.float64)
    before = p.copy()
    _, gradient = loss(p, target)
    if not np.array_equal(p, before):
        raise AssertionError(f"gradcheck: {loss!r}: the loss wrote to the prediction")
    worst = _compare("prediction", p, gradient, lambda: loss(p, target)[0], eps, tol)
    _report(repr(loss), worst, tol)
