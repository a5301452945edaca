"""History: what a training run measured, epoch by epoch."""

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SERIES = (
    "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
    "learning_rate", "seconds",
)  # fmt: skip


@dataclasses.dataclass
class History:
    """Losses and accuracies of each finished epoch; ``trainer.fit`` returns one.

    Every number is a mean over samples, so a smaller last batch counts by its size. The training
    values are those of the batches as they were trained on, the validation values are measured
    after the epoch. A value that does not exist (no validation data, targets that are not class
    numbers) is NaN.

    Attributes
    ----------
    train_loss, train_accuracy, validation_loss, validation_accuracy : list of float
        One value an epoch; accuracies in [0, 1].
    learning_rate : list of float
        The optimizer's rate in the epoch's last step.
    seconds : list of float
        Wall-clock time of the epoch, validation included.
    interrupted : bool
        True if Ctrl-C ended the run before its time.

    Examples
    --------
    >>> history = History()
    >>> history.append(train_loss=0.5, train_accuracy=0.9, seconds=1.5)
    >>> len(history), history.train_accuracy
    (1, [0.9])
    >>> History.from_json(history.to_json()).train_loss
    [0.5]
    """

    train_loss: list[float] = dataclasses.field(default_factory=list)
    train_accuracy: list[float] = dataclasses.field(default_factory=list)
    validation_loss: list[float] = dataclasses.field(default_factory=list)
    validation_accuracy: list[float] = dataclasses.field(default_factory=list)
    learning_rate: list[float] = dataclasses.field(default_factory=list)
    seconds: list[float] = dataclasses.field(default_factory=list)
    interrupted: bool = False

    def __len__(self) -> int:
        """The number of finished epochs."""
        return len(self.train_loss)

    def append(self, **values: float) -> None:
        """Add one epoch; series that are not named get NaN.

        Raises
        ------
        TypeError
            If a name is not one of the series.
        """
        unknown = set(values) - set(_SERIES)
        if unknown:
            raise TypeError(f"History.append: expected some of {_SERIES}, got {sorted(unknown)}")
        for name in _SERIES:
            getattr(self, name).append(float(values.get(name, math.nan)))

    def to_dict(self) -> dict[str, Any]:
        """The history as JSON values; NaN becomes None."""
        result: dict[str, Any] = {
            name: [None if math.isnan(value) else value for value in getattr(self, name)]
            for name in _SERIES
        }
        return {**result, "interrupted": self.interrupted}

    @classmethod
    def from_dict(cls, values: Any) -> "History":
        """The inverse of `to_dict`.

        Raises
        ------
        ValueError
            If `values` is not what `to_dict` gives.
        """
        if not isinstance(values, dict) or set(values) != {*_SERIES, "interrupted"}:
            raise ValueError(f"History: expected the keys {[*_SERIES, 'interrupted']}")
        history = cls()
        for name in _SERIES:
            series = values[name]
            if not isinstance(series, list) or len(series) != len(values["train_loss"]):
                raise ValueError(f"History: expected {name} to be a list like the others")
            if any(v is not None and type(v) not in (int, float) for v in series):
                raise ValueError(f"History: expected numbers or null in {name}")
            setattr(history, name, [math.nan if v is None else float(v) for v in series])
        if not isinstance(values["interrupted"], bool):
            raise ValueError("History: expected interrupted to be true or false")
        history.interrupted = values["interrupted"]
        return history

    def to_json(self) -> str:
        """The history as JSON text; NaN becomes null."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "History":
        """The inverse of `to_json`.

        Raises
        ------
        ValueError
            If `text` is not JSON, or not a history.
        """
        return cls.from_dict(json.loads(text))

    def plot(self) -> "Figure":
        """Draw loss and accuracy over the epochs; needs matplotlib.

        Returns
        -------
        matplotlib.figure.Figure
            See `fastcnn.viz.learning_curves`.
        """
        from ..viz import learning_curves

        return learning_curves(self)
