"""Where a training run stands."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class Position:
    """Where a run stands, and what it has summed up in the running epoch.

    Attributes
    ----------
    epoch, batch, steps : int
        Epochs finished (validation included), batches trained in the running epoch, and in the run.
    offset : int
        Epochs of earlier runs of the trainer: the next run shuffles anew.
    loss_sum, correct, seen
        Over the samples of the running epoch: losses, right answers, and how many.
    seconds : float
        Spent in the running epoch.

    Examples
    --------
    >>> Position(epoch=2, batch=7).epoch
    2
    """

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    offset: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    seconds: float = 0.0

    @classmethod
    def from_dict(cls, values: Any) -> "Position":
        """The inverse of ``dataclasses.asdict``; ValueError for anything else."""
        fields = {field.name: field.type for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != set(fields):
            raise ValueError(f"expected the position to have {[*fields]}")
        for name, value in values.items():
            least = -math.inf if name == "loss_sum" else 0  # a loss may be negative
            if type(value) is not fields[name] or not least <= value < 2**62:
                raise ValueError(f"expected {name} to be a number >= {least}, got {value!r}")
        return cls(**values)
