"""How a trainer runs its model: as one compiled plan where the net allows that, else by layers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from .. import plan
from ..nn import Layer
from .storage import Array

Loss = Callable[[Array, Array], tuple[float, Array]]
PlanMode = Literal["auto"] | bool


class Runner:
    """Training steps and inference of one model, by a plan or by layers, as `mode` says.

    Parameters
    ----------
    mode : "auto" or bool
        True wants a plan (and raises what `fastcnn.plan.compile` raises if there is none), False
        wants layers, "auto" a plan if there is one and it is of use.

    Attributes
    ----------
    execution : str
        "plan", or "layers" and why; "not run yet" at first.
    """

    def __init__(self, mode: PlanMode) -> None:
        if mode != "auto" and not isinstance(mode, bool):
            raise ValueError(f"Trainer: expected plan to be 'auto', True or False, got {mode!r}")
        self.mode = mode
        self.execution = "not run yet"
        self._plan: plan.Plan | None = None
        self._for: tuple[Any, ...] | None = None

    def renew(self) -> None:
        """Look at the model again before the next step: its layers may have changed."""
        self._for = None

    def _planned(self, model: Layer, loss: Loss, optimizer: Any, x: Array) -> plan.Plan | None:
        """The plan for these and for inputs like x, or None."""
        shape = x.shape[1:]
        wanted = (shape, model, loss, optimizer)
        if self._for is not None and all(
            a is b or a == b for a, b in zip(self._for, wanted, strict=True)
        ):
            return self._plan
        self._plan, why = None, "plan=False"
        if self.mode is True:
            self._plan = plan.compile(model, shape, loss=loss, optimizer=optimizer)
        elif self.mode == "auto":
            try:
                self._plan = plan.compile(model, shape, loss=loss, optimizer=optimizer)
            except ValueError as error:  # the layers will say it in their own words
                why = str(error)
            if isinstance(self._plan, plan.LayerPlan) and not self._plan.fused:
                self._plan, why = None, "no layer that a plan knows"
        self._for = wanted
        self.execution = "plan" if self._plan is not None else f"layers ({why})"
        return self._plan

    def step(
        self, model: Layer, loss: Loss, optimizer: Any, x: Array, y: Array
    ) -> tuple[float, int]:
        """Train on one batch: (loss before the update, how many were right).

        If the loss is not finite nothing is updated, nor if the loss or a layer raises.
        """
        program = self._planned(model, loss, optimizer, x)
        if program is not None:
            return program.step(x, y)
        before = [(buffer, buffer.data.copy()) for _, buffer in model.named_buffers()]
        updated = False
        try:
            outputs, context = model.forward(x)
            value, gradient = loss(outputs, y)
            if math.isfinite(value):
                optimizer.zero_grad()
                model.backward(gradient, context, need_dx=False)
                optimizer.step()
                updated = True
        finally:
            if not updated:  # forward has moved them; also for a second Ctrl-C
                for buffer, data in before:
                    buffer.data[...] = data
        return value, correct(outputs, y)

    def outputs(self, model: Layer, loss: Loss, optimizer: Any, x: Array) -> Any:
        """Inference."""
        program = self._planned(model, loss, optimizer, x)
        return model(x) if program is None else program(x)


def join(parts: Sequence[Any]) -> Any:
    """The outputs of several batches as one array; of a net of several outputs, a dict of them."""
    if isinstance(parts[0], Mapping):
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return np.concatenate(parts)


def correct(outputs: Any, y: Array) -> int:
    """How many samples have their largest output at their label; 0 without labels.

    Of several outputs the first counts.
    """
    if isinstance(outputs, Mapping):
        outputs = next(iter(outputs.values()))
    if y.dtype.kind not in "iu" or outputs.ndim != 2:
        return 0
    return int(np.count_nonzero(outputs.argmax(axis=1) == y))
