"""The golden LeNet run: the same bits at any number of threads, on real digits."""

from collections.abc import Iterator

import numpy as np
import pytest

import fastcnn
from fastcnn import data, models, nn, optim, training

THREADS = (1, 2, 3, 4, 8)


def epoch(n_threads: int, batch_size: int = 64) -> tuple[str, training.History]:
    """LeNet-5 after an epoch over the first 2,000 digits."""
    train, _ = data.mnist(subset=True)
    model = models.lenet5(seed=0)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    run = training.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=0)
    with fastcnn.threads(n_threads):
        history = run.fit(train[:2000], epochs=1, batch_size=batch_size, validation=0.1)
    return training.weights_sha256(model), history


@pytest.fixture(scope="module")
def serial() -> Iterator[tuple[str, training.History]]:
    yield epoch(1)


@pytest.mark.parametrize("n_threads", THREADS)
def test_same_weights_at_any_number_of_threads(
    n_threads: int, serial: tuple[str, training.History]
) -> None:
    sha, history = epoch(n_threads)
    assert sha == serial[0]
    for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert getattr(history, name) == getattr(serial[1], name)


def test_the_golden_run_learns(serial: tuple[str, training.History]) -> None:
    _, history = serial
    assert history.validation_accuracy[0] > 0.6
    assert epoch(1, batch_size=32)[0] != serial[0]  # the fingerprint does depend on the run


def test_a_sample_s_result_does_not_depend_on_its_batch() -> None:
    """Alone and in batches of 2 to 33, at several places: the same bits."""
    _, test = data.mnist(subset=True)
    model, x = models.lenet5(seed=0), test.x[:40]
    alone = np.concatenate([model(x[i : i + 1]) for i in range(40)])
    assert len(np.unique(alone)) > 300
    for n in range(2, 34):
        start = n % 7
        for n_threads in (1, 3):
            with fastcnn.threads(n_threads):
                np.testing.assert_array_equal(model(x[start : start + n]), alone[start : start + n])
