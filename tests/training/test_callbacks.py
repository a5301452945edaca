"""Callbacks: order, early stopping with the best weights, when checkpoints are saved."""

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

from fastcnn import nn, training
from fastcnn.training import Callback, Checkpoint, EarlyStopping


class Script(Callback):
    """Puts given values into the history, and notes the weights of each epoch."""

    order = -1  # before early stopping looks

    def __init__(self, values: list[float], series: str = "validation_loss") -> None:
        self.values, self.series = values, series
        self.shas: list[str] = []

    def on_epoch_end(self, trainer: training.Trainer) -> None:
        getattr(trainer.history, self.series)[-1] = self.values[trainer.epoch - 1]
        self.shas.append(training.weights_sha256(trainer.model))


def fit(run: training.Trainer, *callbacks: Callback, **options: Any) -> training.History:
    options = {"epochs": 10, "batch_size": 64, "validation": 0.2, **options}
    return run.fit(runs.digits(64), callbacks=callbacks, **options)


@pytest.mark.parametrize(
    ("series", "values", "min_delta", "best", "stops"),
    [
        ("validation_loss", [5, 4, 4, 4, 9, 9], 0.0, 2, 4),
        ("validation_loss", [5, 4, 3, 3.5, 2, 2.5, 2.5, 9], 0.0, 5, 7),
        ("validation_loss", [5, 4.95, 4.9, 1, 1], 0.2, 1, 3),
        ("validation_loss", [1, 2, 3, 4], 0.0, 1, 3),
        ("validation_accuracy", [0.5, 0.6, 0.6, 0.5, 0.9], 0.0, 2, 4),
        ("train_loss", [3, 2, 2, 2, 2], 0.0, 2, 4),
    ],
)
def test_early_stopping_restores_the_best_weights(
    series: str, values: list[float], min_delta: float, best: int, stops: int
) -> None:
    run, script = runs.trainer(), Script(values, series)
    stopping = EarlyStopping(series, patience=2, min_delta=min_delta)
    history = fit(run, stopping, script)
    assert len(history) == stops and not history.interrupted
    assert len(set(script.shas)) == stops  # every epoch had weights of its own
    assert training.weights_sha256(run.model) == script.shas[best - 1]
    assert (stopping.best, stopping.best_epoch) == (values[best - 1], best)


def test_best_weights_also_without_a_stop() -> None:
    run, script = runs.trainer(), Script([3, 1, 2])
    assert len(fit(run, EarlyStopping(patience=5), script, epochs=3)) == 3
    assert training.weights_sha256(run.model) == script.shas[1]


def test_early_stopping_starts_anew_with_each_run() -> None:
    run, stopping = runs.trainer(), EarlyStopping(patience=1)
    assert len(fit(run, stopping, Script([1, 2]))) == 2
    script = Script([9, 8, 8])
    assert len(fit(run, stopping, script)) == 3
    assert stopping.best == 8 and training.weights_sha256(run.model) == script.shas[1]


def test_early_stopping_across_a_resume(tmp_path: Path) -> None:
    """Stopped by a checkpoint in between, it stops at the same epoch with the same weights."""
    values = [5.0, 3.0, 4.0, 4.0, 4.0, 1.0]
    whole = runs.trainer()
    assert len(fit(whole, EarlyStopping(patience=3), Script(values))) == 5

    class Enough(Exception):
        pass

    class Leave(Callback):
        order = 200

        def __init__(self, epoch: int) -> None:
            self.epoch = epoch

        def on_epoch_end(self, trainer: training.Trainer) -> None:
            if trainer.epoch == self.epoch:
                raise Enough

    for epoch in (1, 2, 3, 4, 5):
        path = tmp_path / f"c{epoch}"
        with pytest.raises(Enough):
            fit(
                runs.trainer(), EarlyStopping(patience=3), Script(values), Checkpoint(path),
                Leave(epoch),
            )  # fmt: skip
        second = runs.trainer()
        history = fit(
            second, EarlyStopping(patience=3), Script(values), Checkpoint(path), resume=path
        )
        assert len(history) == 5
        assert runs.fingerprint(whole).split()  # a whole run has no Checkpoint: compare weights
        assert training.weights_sha256(second.model) == training.weights_sha256(whole.model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"monitor": "seconds"}, "monitor to be one of"),
        ({"patience": 0}, r"expected patience in 1\.\..*, got 0"),
        ({"patience": "3"}, "patience to be an integer >= 1, got '3'"),
        ({"min_delta": -1.0}, "min_delta to be a finite number >= 0, got -1.0"),
        ({"min_delta": math.nan}, "min_delta to be a finite number >= 0, got nan"),
    ],
)
def test_early_stopping_refuses(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EarlyStopping(**arguments)


def test_early_stopping_without_validation_says_so() -> None:
    """Before the first step."""
    run = runs.trainer()
    with pytest.raises(ValueError, match=r"validation_loss is not measured.*validation=0\.1"):
        fit(run, EarlyStopping(), validation=None)
    assert run.steps == 0


@pytest.mark.parametrize("series", ["train_accuracy", "validation_accuracy"])
def test_early_stopping_without_labels_says_so(series: str) -> None:
    digits, run = runs.digits(32), runs.trainer()
    run.loss = nn.MSELoss()
    targets = np.zeros((32, 10), np.float32)
    message = f"{series} is not measured in this fit, only train_loss, validation_loss;.*labels"
    with pytest.raises(ValueError, match=message):
        run.fit((digits.x, targets), epochs=1, validation=0.5, callbacks=[EarlyStopping(series)])
    assert run.steps == 0 and run.measured == ()  # as before that fit


def test_nan_is_no_improvement() -> None:
    run, script = runs.trainer(), Script([math.nan, 5, math.nan, math.nan, 1])
    history = fit(run, EarlyStopping(patience=2), script)
    assert len(history) == 4 and training.weights_sha256(run.model) == script.shas[1]


def test_order_and_hooks() -> None:
    calls: list[str] = []

    class Noting(Callback):
        def __init__(self, name: str, order: int) -> None:
            self.name, self.order = name, order

        def note(self, hook: str) -> None:
            calls.append(f"{self.name} {hook}")

        def on_fit_begin(self, trainer: training.Trainer) -> None:
            self.note("begin")

        def on_batch_end(self, trainer: training.Trainer) -> None:
            self.note(f"batch {trainer.batch}")

        def on_epoch_end(self, trainer: training.Trainer) -> None:
            self.note(f"epoch {trainer.epoch}")

        def on_fit_end(self, trainer: training.Trainer) -> None:
            self.note("end")

    fit(runs.trainer(), Noting("b", 2), Noting("a", 1), epochs=1, batch_size=32)
    hooks = ["begin", "batch 1", "batch 2", "epoch 1", "end"]
    assert calls == [f"{name} {hook}" for hook in hooks for name in "ab"]


def test_a_callback_may_stop() -> None:
    class Stop(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            trainer.stop()

    run = runs.trainer()
    assert len(fit(run, Stop(), batch_size=16)) == 1  # the epoch is finished first
    assert len(fit(run, epochs=2)) == 2


def test_when_checkpoints_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[tuple[int, int]] = []
    monkeypatch.setattr(
        training.Trainer,
        "save_checkpoint",
        lambda self, path, notes: saved.append((self.epoch, self.batch)),
    )
    fit(runs.trainer(), Checkpoint(tmp_path / "c"), epochs=2, batch_size=16)
    assert saved == [(1, 0), (2, 0)]
    saved.clear()
    fit(runs.trainer(), Checkpoint(tmp_path / "c", every=3), epochs=2, batch_size=16)
    assert saved == [(0, 3), (1, 0), (1, 2), (2, 0)]  # four batches an epoch


def test_a_checkpoint_callback_serves_a_second_run(tmp_path: Path) -> None:
    """Ctrl-C where the run before was saved last is saved too."""

    class Interrupt(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == 2:
                signal.raise_signal(signal.SIGINT)

    checkpoint = Checkpoint(tmp_path / "c")
    for seed in (0, 1):
        run = runs.trainer(seed)
        assert fit(run, checkpoint, Interrupt(), batch_size=16).interrupted
        assert (run.epoch, run.batch) == (0, 2)
        saved = runs.trainer(seed, weights=9)
        saved.resume(checkpoint.path)
        assert training.weights_sha256(saved.model) == training.weights_sha256(run.model)


def test_checkpoint_refuses() -> None:
    for bad in (0, "100", 1.5):
        with pytest.raises(ValueError, match="Checkpoint: expected every"):
            Checkpoint("c", every=bad)  # type: ignore[arg-type]


def test_a_callback_without_state_refuses_one() -> None:
    Callback().load_state({})
    with pytest.raises(ValueError, match=r"Callback: expected no state, got \['a'\]"):
        Callback().load_state({"a": 1})
