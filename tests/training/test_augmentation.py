"""Training with augmentation: of training data alone, exact to resume, the same on any threads."""

import threading
from pathlib import Path

import numpy as np
import pytest
import runs

import fastcnn
from fastcnn import data, training
from fastcnn.data import augment
from fastcnn.training import Callback

SHIFT = augment.Compose([augment.RandomCrop(12, padding=2), augment.RandomHorizontalFlip()])
OPTIONS = {"epochs": 3, "batch_size": runs.BATCH, "validation": 0.2}


class StopAt(Callback):
    """Saves a checkpoint at a step and leaves the fit by an error."""

    order = 200

    def __init__(self, steps: int, path: Path) -> None:
        self.steps, self.path = steps, path

    def on_batch_end(self, trainer: training.Trainer) -> None:
        if trainer.steps == self.steps:
            trainer.save_checkpoint(self.path)
            raise StopIteration


def fit(transform: augment.Augmentation | None) -> training.Trainer:
    run = runs.trainer()
    run.fit(runs.digits(), augment=transform, **OPTIONS)
    return run


@pytest.fixture(scope="module")
def whole() -> training.Trainer:
    return fit(SHIFT)


def test_it_changes_the_training(whole: training.Trainer) -> None:
    shas = {training.weights_sha256(run.model) for run in (whole, fit(SHIFT), fit(None))}
    assert len(shas) == 2


@pytest.mark.parametrize("steps", [1, 3, 4, 6, 11])
def test_resume_is_exact(steps: int, tmp_path: Path, whole: training.Trainer) -> None:
    first, second = runs.trainer(), runs.trainer(weights=7)
    with pytest.raises(StopIteration):
        stop = StopAt(steps, tmp_path / "c")
        first.fit(runs.digits(), augment=SHIFT, callbacks=[stop], **OPTIONS)
    assert not [t for t in threading.enumerate() if t.name.startswith("fastcnn-loader")]
    second.fit(runs.digits(), augment=SHIFT, resume=tmp_path / "c", **OPTIONS)
    assert runs.fingerprint(second) == runs.fingerprint(whole)


def test_resume_with_another_augmentation_is_refused(tmp_path: Path) -> None:
    first = runs.trainer()
    with pytest.raises(StopIteration):
        stop = StopAt(3, tmp_path / "c")
        first.fit(runs.digits(), augment=SHIFT, callbacks=[stop], **OPTIONS)
    for other in (None, augment.RandomCrop(12, padding=2)):
        with pytest.raises(ValueError, match=r"another run: expected augmentation of 'Compose\("):
            runs.trainer().fit(runs.digits(), augment=other, resume=tmp_path / "c", **OPTIONS)


def test_the_same_bits_on_any_number_of_threads(whole: training.Trainer) -> None:
    before = fastcnn.get_num_threads()
    try:
        for threads in (1, 2, 3):
            fastcnn.set_num_threads(threads)
            assert runs.fingerprint(fit(SHIFT)) == runs.fingerprint(whole)
    finally:
        fastcnn.set_num_threads(before)


class Remember(augment.Augmentation):
    """Keeps what it was asked to change."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def apply(self, x: np.ndarray, keys: np.ndarray) -> np.ndarray:
        self.seen += list(x)
        return x

    def __repr__(self) -> str:
        return "Remember()"


def test_validation_data_are_never_augmented() -> None:
    remember, run = Remember(), runs.trainer()
    digits = runs.digits()
    train, held_out = digits.split(0.2, seed=run.seed)
    run.fit(digits, augment=remember, **OPTIONS)
    assert len(remember.seen) == 3 * len(train)
    seen = {image.tobytes() for image in remember.seen}
    assert seen == {image.tobytes() for image in train.x}
    assert not seen & {image.tobytes() for image in held_out.x}


def test_random_numbers_change_with_the_epoch() -> None:
    drawn: list[np.ndarray] = []

    class Draw(augment.Augmentation):
        def apply(self, x: np.ndarray, keys: np.ndarray) -> np.ndarray:
            drawn.append(keys)
            return x

    run = runs.trainer()
    run.fit(runs.digits(), augment=Draw(), **OPTIONS)
    run.fit(runs.digits(), augment=Draw(), **{**OPTIONS, "epochs": 1})  # a new run goes on counting
    keys = np.concatenate(drawn)
    assert len(np.unique(keys)) == len(keys) == 4 * 120


def test_errors_of_the_background_thread_come_through() -> None:
    run = runs.trainer()
    with pytest.raises(ValueError, match="RandomCrop: expected images of at least 13x13"):
        run.fit(runs.digits(), augment=augment.RandomCrop(13), epochs=1)
    assert run.steps == 0
    with pytest.raises(TypeError, match="expected augment to be"):
        run.fit(runs.digits(), augment=lambda x: x, epochs=1)


def test_a_dataset_of_ones_own_may_be_augmented() -> None:
    class Own(data.Dataset):
        def __len__(self) -> int:
            return 40

        def batch(self, rows):
            return runs.digits(40).batch(rows)

    run = runs.trainer()
    run.fit(Own(), augment=SHIFT, epochs=1)
    twin = runs.trainer()
    twin.fit(runs.digits(40), augment=SHIFT, epochs=1)
    assert training.weights_sha256(run.model) == training.weights_sha256(twin.model)
