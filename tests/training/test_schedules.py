"""Schedules and ReduceLROnPlateau: their values, their names, their rates in a fit and a resume."""

import math
from pathlib import Path
from typing import Any

import pytest
import runs

from fastcnn import training
from fastcnn.training import Callback, ReduceLROnPlateau, schedules

MADE = {
    "exponential(0.01)": schedules.exponential(),
    "googlenet(80, 0.96, 8)": schedules.googlenet(80),
    "polynomial(2.0, 0.1)": schedules.polynomial(2.0, 0.1),
    "warm_up(cosine, 0.1, 0.0)": schedules.warm_up(schedules.cosine, 0.1),
    "warm_up(googlenet(80, 0.96, 8), 0.2, 0.5)": schedules.warm_up(
        schedules.googlenet(80), 0.2, 0.5
    ),
    "step(0.1, 3)": schedules.step(),
}


@pytest.mark.parametrize("name", MADE)
def test_names_tell_the_arguments_and_rates_are_positive(name: str) -> None:
    schedule = MADE[name]
    assert schedule.__name__ == name
    assert all(0 <= schedule(k / 100) <= 1 for k in range(100))


def test_googlenet_falls_by_four_percent_each_eight_epochs() -> None:
    for epochs in (8, 24, 60, 250):
        rate, batches = schedules.googlenet(epochs), 7
        for epoch in range(epochs):
            for batch in range(batches):
                t = (epoch + batch / batches) / epochs  # as the trainer computes it
                assert rate(t) == 0.96 ** (epoch // 8)
    assert schedules.googlenet(10, 0.5, 2)(0.4) == 0.25


def test_warm_up_then_the_whole_schedule() -> None:
    rate = schedules.warm_up(schedules.polynomial(), part=0.25, start=0.2)
    assert [rate(t) for t in (0.0, 0.125, 0.25)] == pytest.approx([0.2, 0.6, 1.0])
    assert [rate(t) for t in (0.625, 1.0)] == pytest.approx([0.5, 0.0])


def test_exponential_and_polynomial() -> None:
    assert schedules.exponential(0.25)(0.5) == 0.5
    assert schedules.polynomial(0.5, 0.2)(0.75) == pytest.approx(0.6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: schedules.googlenet(0),
        lambda: schedules.googlenet(5, 0.0),
        lambda: schedules.googlenet(5, every=0),
        lambda: schedules.exponential(0.0),
        lambda: schedules.polynomial(0.0),
        lambda: schedules.polynomial(end=-1.0),
        lambda: schedules.warm_up(part=0.0),
        lambda: schedules.warm_up(part=1.0),
        lambda: schedules.warm_up(start=-0.1),
        lambda: schedules.one_cycle(0.0),
        lambda: schedules.one_cycle(start=math.nan),
        lambda: schedules.one_cycle(end=-0.1),
        lambda: ReduceLROnPlateau(factor="half"),  # type: ignore[arg-type]
        lambda: ReduceLROnPlateau("loss"),
        lambda: ReduceLROnPlateau(factor=1.0),
        lambda: ReduceLROnPlateau(patience=0),
        lambda: ReduceLROnPlateau(min_delta=-1.0),
        lambda: ReduceLROnPlateau(min_lr=-1.0),
    ],
)
def test_bad_arguments(make: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        make()


# ---- ReduceLROnPlateau ----


class Script(Callback):
    """Puts given values into the history before others look."""

    order = -1

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, trainer: training.Trainer) -> None:
        trainer.history.validation_loss[-1] = self.values[trainer.epoch - 1]


def rates(values: list[float], plateau: ReduceLROnPlateau, **options: Any) -> list[float]:
    run = runs.trainer(schedule=schedules.constant, **options)
    history = run.fit(
        runs.digits(64), epochs=len(values), validation=0.2, callbacks=[plateau, Script(values)]
    )
    assert run.optimizer.lr == 0.1, "the optimizer gets its rate back"
    return [rate / 0.1 for rate in history.learning_rate]


def test_the_rate_falls_after_patience_epochs_without_improvement() -> None:
    plateau = ReduceLROnPlateau(factor=0.5, patience=2)
    values = [5, 4, 4, 4, 3, 3, 3, 3, 3, math.nan]
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert rates(values, plateau) == pytest.approx(expected)
    assert rates(values, plateau) == pytest.approx(expected), "a new fit starts anew"


def test_no_further_than_min_lr_and_only_for_less_than_min_delta() -> None:
    plateau = ReduceLROnPlateau(factor=0.1, patience=1, min_lr=0.004, min_delta=0.5)
    assert rates([5, 4.6, 4, 4, 4, 4], plateau) == pytest.approx([1, 1, 0.1, 0.1, 0.04, 0.04])
    assert plateau.best == 4


def test_accuracies_shall_rise() -> None:
    plateau = ReduceLROnPlateau("validation_accuracy", patience=1, min_delta=2.0)
    run = runs.trainer(schedule=schedules.constant)
    history = run.fit(runs.digits(64), epochs=3, validation=0.2, callbacks=[plateau])
    assert history.learning_rate == pytest.approx([0.1, 0.1, 0.01])
    with pytest.raises(ValueError, match="ReduceLROnPlateau: validation_accuracy is not measured"):
        run.fit(runs.digits(64), epochs=1, callbacks=[plateau])


@pytest.mark.parametrize("steps", [1, 4, 7, 10, 11])
def test_resume_is_exact(steps: int, tmp_path: Path) -> None:
    class StopAt(Callback):
        order = 200

        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == steps:
                trainer.save_checkpoint(tmp_path / "c")
                raise StopIteration

    def parts() -> tuple[training.Trainer, list[Callback]]:
        plateau = ReduceLROnPlateau(factor=0.5, patience=1, min_delta=9.0)  # never good enough
        return runs.trainer(schedule=schedules.warm_up(schedules.cosine, 0.3)), [plateau]

    options = {"epochs": 3, "batch_size": runs.BATCH, "validation": 0.2}
    whole, callbacks = parts()
    whole.fit(runs.digits(), callbacks=callbacks, **options)
    assert whole.rate_factor == 0.25
    first, callbacks = parts()
    with pytest.raises(StopIteration):
        first.fit(runs.digits(), callbacks=[*callbacks, StopAt()], **options)
    second, callbacks = parts()
    second.fit(runs.digits(), callbacks=callbacks, resume=tmp_path / "c", **options)
    assert runs.fingerprint(second) == runs.fingerprint(whole)
    assert second.rate_factor == 0.25


def test_damaged_states_are_refused() -> None:
    plateau = ReduceLROnPlateau()
    good = plateau.state()
    plateau.load_state(good)
    for bad in (
        {},
        {**good, "waited": 1.5},
        {**good, "best": "low"},
        {**good, "reduction": 0.0},
        {**good, "more": 1},
    ):
        with pytest.raises(ValueError, match="state is damaged"):
            plateau.load_state(bad)
