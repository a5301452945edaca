"""Resume exact to the bit, after kill -9 and after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

from fastcnn import nn, optim, training
from fastcnn.training import Callback, Checkpoint, EarlyStopping

EPOCHS = 3
SCRIPT = Path(runs.__file__)


def start(path: Path, epochs: int = EPOCHS) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(path), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=runs.ENVIRONMENT)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the script says at its end."""
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    result = json.loads(output.splitlines()[-1])
    assert isinstance(result, dict)
    return result


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = runs.train(tmp_path_factory.mktemp("whole") / "c", EPOCHS)
    assert run.epoch == EPOCHS
    return runs.fingerprint(run)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random_moments(tmp_path: Path, uninterrupted: str) -> None:
    """Killed again and again, a run ends with the bits of one that was left alone."""
    path, rng = tmp_path / "c", np.random.default_rng(2)
    killed = 0
    for _ in range(5):
        process = start(path)
        assert process.stdout is not None
        for _ in range(int(rng.integers(1, 6))):
            if not process.stdout.readline():
                break
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    assert killed >= 3
    assert finish(start(path)) == {"sha256": uninterrupted, "interrupted": False}


@pytest.mark.skipif(os.name != "posix", reason="SIGINT to another process")
def test_ctrl_c_saves_and_resumes(tmp_path: Path, uninterrupted: str) -> None:
    path = tmp_path / "c"
    process = start(path)
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert finish(process)["interrupted"]
    assert finish(start(path)) == {"sha256": uninterrupted, "interrupted": False}


@pytest.mark.parametrize("steps", range(1, 13))
def test_from_every_step(steps: int, tmp_path: Path, uninterrupted: str) -> None:
    """A checkpoint of any step, and a fresh trainer of other weights, give the same end."""
    path = tmp_path / "c"

    class StopAt(Callback):
        order = 200  # after the checkpoint of the same step

        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == steps:
                trainer.save_checkpoint(path)
                raise StopIteration

    first = runs.trainer()
    with pytest.raises(StopIteration):
        first.fit(
            runs.digits(), epochs=EPOCHS, batch_size=runs.BATCH, validation=0.2,
            callbacks=[StopAt(), EarlyStopping(patience=100), Checkpoint(tmp_path / "other")],
        )  # fmt: skip
    second = runs.trainer(weights=7)
    assert runs.fingerprint(second) != runs.fingerprint(first)
    second.fit(
        runs.digits(), epochs=EPOCHS, batch_size=runs.BATCH, validation=0.2, resume=path,
        callbacks=[runs.Tell(), EarlyStopping(patience=100), Checkpoint(path, every=2)],
    )  # fmt: skip
    assert len(second.history) == EPOCHS
    assert runs.fingerprint(second) == uninterrupted


def residual_trainer(seed: int) -> training.Trainer:
    """A net with batch norm, whose running statistics are part of its state."""
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False, seed=seed), nn.BatchNorm2d(4),
        nn.blocks.basic_block(4, 8, 2, seed=seed), nn.Flatten(), nn.Linear(200, 10, seed=seed),
    )  # fmt: skip
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    return training.Trainer(model, nn.CrossEntropyLoss(), optimizer)


def test_running_statistics_resume(tmp_path: Path) -> None:
    options = {"epochs": 2, "batch_size": 16, "validation": 0.2}
    whole, first, second = residual_trainer(1), residual_trainer(1), residual_trainer(2)
    whole.fit(runs.digits(), **options)

    class StopAt(Callback):
        order = 200

        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == 3:
                trainer.save_checkpoint(tmp_path / "c")
                trainer.stop()

    first.fit(runs.digits(), **options, callbacks=[StopAt()])
    second.fit(runs.digits(), **options, resume=tmp_path / "c")
    assert training.weights_sha256(second.model) == training.weights_sha256(whole.model)
    assert training.weights_sha256(first.model) != training.weights_sha256(whole.model)
    for _, buffer in second.model.named_buffers():
        before = buffer.data.copy()
        buffer.data += 1  # the sum sees it
        assert training.weights_sha256(second.model) != training.weights_sha256(whole.model)
        buffer.data[...] = before
    assert whole.execution == "plan"


def test_the_fingerprint_sees_every_part() -> None:
    run = runs.trainer()
    run.fit(runs.digits(), epochs=1, batch_size=runs.BATCH)
    seen = {runs.fingerprint(run)}
    run.model.state_dict()  # a copy: nothing changes
    assert runs.fingerprint(run) in seen
    next(iter(run.model.parameters())).data.flat[0] += 1
    seen.add(runs.fingerprint(run))
    drop = run.model["drop"]
    assert isinstance(drop, nn.Dropout)
    drop.rng.random()
    seen.add(runs.fingerprint(run))
    run.history.train_loss[0] += 1
    seen.add(runs.fingerprint(run))
    run.optimizer.lr *= 2
    seen.add(runs.fingerprint(run))
    assert len(seen) == 5


# ---- Ctrl-C, in this process ----


class InterruptAt(Callback):
    """Ctrl-C in the middle of a run, at a step that is known."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_batch_end(self, trainer: training.Trainer) -> None:
        if trainer.steps == self.steps:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_answers_within_one_batch() -> None:
    before = signal.getsignal(signal.SIGINT)
    run = runs.trainer()
    history = run.fit(runs.digits(), epochs=9, batch_size=runs.BATCH, callbacks=[InterruptAt(7)])
    assert history.interrupted and history is run.history
    assert (run.epoch, run.batch, run.steps, len(history)) == (1, 2, 7, 1)
    assert signal.getsignal(signal.SIGINT) is before
    assert run.optimizer.lr == 0.1


def test_ctrl_c_leaves_the_state_of_the_last_step() -> None:
    """The weights are those of a run that took exactly as many steps."""
    run = runs.trainer()
    run.fit(runs.digits(), epochs=9, batch_size=runs.BATCH, callbacks=[InterruptAt(3)])

    class StopAt(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == 3:
                raise StopIteration

    twin = runs.trainer()
    with pytest.raises(StopIteration):
        twin.fit(runs.digits(), epochs=9, batch_size=runs.BATCH, callbacks=[StopAt()])
    assert training.weights_sha256(run.model) == training.weights_sha256(twin.model)


def test_ctrl_c_during_validation(tmp_path: Path, uninterrupted: str) -> None:
    """The epoch is not finished; a resume goes on with its validation."""
    path, calls = tmp_path / "c", [0]
    run = runs.trainer()
    loss = run.loss

    def interrupting(outputs: Any, targets: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:  # four batches of training, then the validation
            signal.raise_signal(signal.SIGINT)
        return loss(outputs, targets)

    run.loss = interrupting
    callbacks = [EarlyStopping(patience=100), Checkpoint(path)]
    history = run.fit(
        runs.digits(), epochs=EPOCHS, batch_size=runs.BATCH, validation=0.2, callbacks=callbacks
    )
    assert history.interrupted and (run.epoch, run.batch, len(history)) == (0, 4, 0)
    again = runs.trainer()
    again.fit(
        runs.digits(), epochs=EPOCHS, batch_size=runs.BATCH, validation=0.2, resume=path,
        callbacks=[EarlyStopping(patience=100), Checkpoint(path), runs.Tell()],
    )  # fmt: skip
    assert runs.fingerprint(again) == uninterrupted


def test_ctrl_c_twice_is_keyboard_interrupt() -> None:
    class Twice(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runs.trainer().fit(runs.digits(), epochs=1, callbacks=[Twice()])


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    import threading

    before = signal.getsignal(signal.SIGINT)
    histories: list[training.History] = []
    worker = threading.Thread(
        target=lambda: histories.append(runs.trainer().fit(runs.digits(), epochs=1))
    )
    worker.start()
    worker.join()
    assert len(histories[0]) == 1 and not histories[0].interrupted
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_sigint_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        run = runs.trainer()
        history = run.fit(runs.digits(64), epochs=2, callbacks=[InterruptAt(1)])
        assert len(history) == 2 and not history.interrupted
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
