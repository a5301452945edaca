"""Averaged weights in a fit: what is validated, what the model ends with, exact resume."""

from pathlib import Path

import numpy as np
import pytest
import runs
from helpers import assert_same_bits

from fastcnn import training
from fastcnn.training import Averaging, Callback, Checkpoint, schedules


class Trained(Callback):
    """Notes the trained weights after each step."""

    order = 20

    def __init__(self) -> None:
        self.weights: list[dict[str, np.ndarray]] = []

    def on_batch_end(self, trainer: training.Trainer) -> None:
        self.weights.append(trainer.model.state_dict())


def test_the_model_ends_with_the_averages() -> None:
    run, seen = runs.trainer(), Trained()
    start = run.model.state_dict()
    run.fit(runs.digits(64), epochs=2, batch_size=16, callbacks=[Averaging(0.5), seen])
    assert len(seen.weights) == 8
    for name, a in start.items():
        average = a.astype(np.float64)
        for step, weights in enumerate(seen.weights, 1):
            decay = min(0.5, (1 + step) / (10 + step))
            average = decay * average + (1 - decay) * weights[name]
        np.testing.assert_allclose(run.model.state_dict()[name], average, rtol=1e-4, atol=1e-6)
        assert (run.model.state_dict()[name] != seen.weights[-1][name]).any()


def test_a_resumed_run_averages_the_same(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    whole = runs.trainer(schedule=schedules.constant)
    whole.fit(runs.digits(64), epochs=3, batch_size=16, callbacks=[Averaging(0.9)])
    first = runs.trainer(schedule=schedules.constant)
    first.fit(
        runs.digits(64), epochs=1, batch_size=16, callbacks=[Averaging(0.9), Checkpoint(path)]
    )
    second = runs.trainer(schedule=schedules.constant)
    second.fit(
        runs.digits(64), epochs=3, batch_size=16, callbacks=[Averaging(0.9), Checkpoint(path)],
        resume=path,
    )  # fmt: skip
    for name, a in whole.model.state_dict().items():
        assert_same_bits(second.model.state_dict()[name], a)


def test_a_second_fit_starts_again() -> None:
    run, averaging = runs.trainer(), Averaging(0.9)
    for _ in range(2):
        run.fit(runs.digits(64), epochs=1, batch_size=16, callbacks=[averaging])
        assert averaging.average is not None and averaging.average.steps == 4


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"decay in 0\.\.1"):
        Averaging(2.0)
    with pytest.raises(ValueError, match="damaged"):
        Averaging().load_state({"what": 1})
    assert Averaging().state() == {}
