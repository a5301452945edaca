"""Callbacks: what happens beside the steps of a fit (early stopping, checkpoints, your own)."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import integer, number
from ..optim import WeightAverage
from .storage import PathLike

if TYPE_CHECKING:
    from .trainer import Trainer


class Callback:
    """Base of all callbacks; override what you need.

    A callback that remembers something between steps returns it from `state` and takes it back in
    `load_state`, so that checkpoints hold it and a resumed run is exact. `order` decides who is
    called first (small numbers first); checkpoints come last and so see what the others did.

    Examples
    --------
    >>> class Print(Callback):
    ...     def on_epoch_end(self, trainer):
    ...         print(trainer.epoch, trainer.history.train_loss[-1])
    """

    order = 0

    def on_fit_begin(self, trainer: "Trainer") -> None:
        """Before the first step, after a checkpoint (if any) was loaded."""

    def on_batch_end(self, trainer: "Trainer") -> None:
        """After each step; ``trainer.epoch`` and ``trainer.batch`` say where."""

    def on_epoch_end(self, trainer: "Trainer") -> None:
        """After an epoch and its validation; ``trainer.history`` holds its results."""

    def on_fit_end(self, trainer: "Trainer") -> None:
        """After the last step; ``trainer.history.interrupted`` tells of Ctrl-C."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: names to arrays or JSON values."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave; ValueError if it does not fit."""
        if state:
            raise ValueError(f"{type(self).__name__}: expected no state, got {sorted(state)}")


class EarlyStopping(Callback):
    """Stop when a value has not improved for some epochs; restore the best weights.

    Parameters
    ----------
    monitor : str, optional
        A series of the history. Losses shall fall, accuracies shall rise.
    patience : int, optional
        Epochs without improvement before the fit stops.
    min_delta : float, optional
        How much better a value must be to count as an improvement.

    Attributes
    ----------
    best : float
        The best value so far; NaN before the first epoch.
    best_epoch : int
        The number of epochs done when it was reached.

    Raises
    ------
    ValueError
        If `monitor` is unknown, `patience` no integer of at least 1 or `min_delta` no number of at
        least 0; from ``fit``, before its first step, if it will not measure `monitor`.

    Notes
    -----
    After Ctrl-C the weights are left as the last step made them. NaN is no improvement.

    Examples
    --------
    >>> EarlyStopping("validation_loss", patience=3).patience
    3
    """

    def __init__(
        self, monitor: str = "validation_loss", *, patience: int = 5, min_delta: float = 0.0
    ) -> None:
        self.monitor = monitor
        self.patience, self.min_delta = _limits("EarlyStopping", monitor, patience, min_delta)
        self.best, self.best_epoch, self.waited = math.nan, 0, 0
        self._weights: dict[str, np.ndarray] = {}

    def on_fit_begin(self, trainer: "Trainer") -> None:
        _expect_measured("EarlyStopping", self.monitor, trainer)
        if len(trainer.history) == 0:  # a new run, not a resumed one
            self.best, self.best_epoch, self.waited, self._weights = math.nan, 0, 0, {}
        elif self.waited >= self.patience:
            trainer.stop()

    def on_epoch_end(self, trainer: "Trainer") -> None:
        value = getattr(trainer.history, self.monitor)[-1]
        if _better(self.monitor, value, self.best, self.min_delta):
            self.best, self.best_epoch, self.waited = value, trainer.epoch, 0
            self._weights = trainer.model.state_dict()
        else:
            self.waited += 1
            if self.waited >= self.patience:
                trainer.stop()

    def on_fit_end(self, trainer: "Trainer") -> None:
        if self._weights and not trainer.history.interrupted:
            trainer.model.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        weights = {f"weights.{name}": array for name, array in self._weights.items()}
        best = None if math.isnan(self.best) else self.best
        return {"best": best, "best_epoch": self.best_epoch, "waited": self.waited, **weights}

    def load_state(self, state: dict[str, Any]) -> None:
        weights = {k.removeprefix("weights."): v for k, v in state.items() if "." in k}
        values = {k: v for k, v in state.items() if "." not in k}
        if set(values) != {"best", "best_epoch", "waited"} or not (
            isinstance(values["best"], float | None)
            and type(values["best_epoch"]) is int
            and type(values["waited"]) is int
            and (values["best"] is None) == (not weights)
        ):
            raise ValueError(f"EarlyStopping: its state is damaged: {sorted(state)}")
        self.best = math.nan if values["best"] is None else values["best"]
        self.best_epoch, self.waited = values["best_epoch"], values["waited"]
        self._weights = weights


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by a factor when a value has not improved for some epochs.

    Parameters
    ----------
    monitor : str, optional
        A series of the history. Losses shall fall, accuracies shall rise.
    factor : float, optional
        Between 0 and 1.
    patience : int, optional
        Epochs without improvement before the rate falls; they are then counted anew.
    min_delta : float, optional
        How much better a value must be to count as an improvement.
    min_lr : float, optional
        The rate falls no further than to this.

    Attributes
    ----------
    best : float
        The best value so far; NaN before the first epoch.
    reduction : float
        What the rate is multiplied with so far, beside the schedule.

    Raises
    ------
    ValueError
        If an argument is out of its range; from ``fit``, before its first step, if it will not
        measure `monitor`.

    Notes
    -----
    Checkpoints hold its state. NaN is no improvement.

    Examples
    --------
    >>> ReduceLROnPlateau(factor=0.5, patience=3).reduction
    1.0
    """

    def __init__(
        self,
        monitor: str = "validation_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 0.0,
        min_lr: float = 0.0,
    ) -> None:
        op = "ReduceLROnPlateau"
        self.monitor, self.factor = monitor, number(op, "factor", factor)
        if not 0 < self.factor < 1:
            raise ValueError(f"{op}: expected 0 < factor < 1, got {factor}")
        self.min_lr = number(op, "min_lr", min_lr, 0.0)
        self.patience, self.min_delta = _limits(op, monitor, patience, min_delta)
        self.best, self.waited, self.reduction = math.nan, 0, 1.0

    def on_fit_begin(self, trainer: "Trainer") -> None:
        _expect_measured("ReduceLROnPlateau", self.monitor, trainer)
        if trainer.steps == 0:  # a new run, not a resumed one
            self.best, self.waited, self.reduction = math.nan, 0, 1.0
        trainer.rate_factor *= self.reduction

    def on_epoch_end(self, trainer: "Trainer") -> None:
        value = getattr(trainer.history, self.monitor)[-1]
        if _better(self.monitor, value, self.best, self.min_delta):
            self.best, self.waited = value, 0
            return
        self.waited += 1
        rate = trainer.history.learning_rate[-1]
        if self.waited >= self.patience and rate > self.min_lr:
            factor = max(self.factor, self.min_lr / rate)
            self.waited, self.reduction = 0, self.reduction * factor
            trainer.rate_factor *= factor

    def state(self) -> dict[str, Any]:
        best = None if math.isnan(self.best) else self.best
        return {"best": best, "waited": self.waited, "reduction": self.reduction}

    def load_state(self, state: dict[str, Any]) -> None:
        if set(state) != {"best", "waited", "reduction"} or not (
            isinstance(state["best"], float | None)
            and type(state["waited"]) is int
            and isinstance(state["reduction"], float)
            and 0 < state["reduction"] <= 1
        ):
            raise ValueError(f"ReduceLROnPlateau: its state is damaged: {state}")
        self.best = math.nan if state["best"] is None else state["best"]
        self.waited, self.reduction = state["waited"], state["reduction"]


class Averaging(Callback):
    """Average the weights over the steps, and end with the averages in the model.

    Validation during the fit, and checkpoints, are of the trained weights. Not together with
    `EarlyStopping`, which restores weights of its own.

    Parameters
    ----------
    decay : float
        See `fastcnn.optim.WeightAverage`.

    Attributes
    ----------
    average : WeightAverage or None
        None before the first fit.

    Notes
    -----
    After Ctrl-C the weights are left as the last step made them.

    Examples
    --------
    >>> Averaging(decay=0.99).decay
    0.99
    """

    order = 10  # after those that look at the trained weights

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = number("Averaging", "decay", decay, 0.0)
        if self.decay > 1:
            raise ValueError(f"Averaging: expected decay in 0..1, got {decay}")
        self.average: WeightAverage | None = None
        self._loaded: dict[str, Any] | None = None

    def on_fit_begin(self, trainer: "Trainer") -> None:
        if trainer.steps == 0 or self.average is None or self._loaded is not None:
            self.average = WeightAverage(trainer.model, self.decay)
            if self._loaded is not None and trainer.steps:
                self.average.load_state_dict(self._loaded)
        self._loaded = None

    def on_batch_end(self, trainer: "Trainer") -> None:
        if self.average is not None:
            self.average.update()

    def on_fit_end(self, trainer: "Trainer") -> None:
        if self.average is not None and not trainer.history.interrupted:
            trainer.model.load_state_dict(self.average.weights())

    def state(self) -> dict[str, Any]:
        if self.average is None:
            return {}
        state = self.average.state_dict()
        weights = {f"weights.{name}": array for name, array in state["weights"].items()}
        return {"steps": state["steps"], **weights}

    def load_state(self, state: dict[str, Any]) -> None:
        weights = {k.removeprefix("weights."): v for k, v in state.items() if "." in k}
        if state and (set(state) - {f"weights.{k}" for k in weights} != {"steps"}):
            raise ValueError(f"Averaging: its state is damaged: {sorted(state)}")
        self._loaded = {"steps": state["steps"], "weights": weights} if state else None


class Checkpoint(Callback):
    """Save the whole state of the run, so that it can be resumed to the bit.

    Saves at the end of each epoch, at Ctrl-C, and every `every` steps if that is given.

    Parameters
    ----------
    path : str or PathLike
        The file; it is replaced at each save, atomically and durably.
    every : int, optional
        Also save after each `every` steps, counted from the start of the run.
    notes : dict, optional
        For the file, see `Trainer.save_checkpoint`.

    Raises
    ------
    ValueError
        If `every` is no integer of at least 1.

    Examples
    --------
    >>> Checkpoint("run.safetensors", every=100).every
    100
    """

    order = 100  # after the others: the file holds what they did at this step

    def __init__(
        self, path: PathLike, *, every: int | None = None, notes: dict[str, Any] | None = None
    ) -> None:
        self.path, self.notes = path, notes
        self.every = None if every is None else integer("Checkpoint", "every", every, 1)
        self._saved: tuple[int, int] | None = None  # in this run

    def _save(self, trainer: "Trainer") -> None:
        trainer.save_checkpoint(self.path, self.notes)
        self._saved = (trainer.epoch, trainer.batch)

    def on_fit_begin(self, trainer: "Trainer") -> None:
        self._saved = None

    def on_batch_end(self, trainer: "Trainer") -> None:
        if self.every is not None and trainer.steps % self.every == 0:
            self._save(trainer)

    def on_epoch_end(self, trainer: "Trainer") -> None:
        self._save(trainer)

    def on_fit_end(self, trainer: "Trainer") -> None:
        if trainer.history.interrupted and self._saved != (trainer.epoch, trainer.batch):
            self._save(trainer)


def _limits(name: str, monitor: str, patience: int, min_delta: float) -> tuple[int, float]:
    """`patience` and `min_delta` of a callback that watches a series, all three checked."""
    series = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    if monitor not in series:
        raise ValueError(f"{name}: expected monitor to be one of {series}, got {monitor!r}")
    return integer(name, "patience", patience, 1), number(name, "min_delta", min_delta, 0.0)


def _expect_measured(name: str, monitor: str, trainer: "Trainer") -> None:
    """ValueError if the fit will not measure the series."""
    if monitor not in trainer.measured:
        raise ValueError(
            f"{name}: {monitor} is not measured in this fit, only "
            f"{', '.join(trainer.measured)}; fit(..., validation=0.1) would measure the "
            "validation series, and class labels the accuracies"
        )


def _better(monitor: str, value: float, best: float, min_delta: float) -> bool:
    """Whether a value improves on the best one, NaN if there is none yet."""
    if math.isnan(best):
        return not math.isnan(value)
    return (value - best if monitor.endswith("accuracy") else best - value) > min_delta
