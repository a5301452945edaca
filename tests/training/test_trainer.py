"""Trainer: exact means, validation split, schedule, errors; not resume (test_resume)."""

import math
import sys
from typing import Any

import numpy as np
import pytest
import runs

from fastcnn import data, nn, optim, training
from fastcnn.training import Callback, schedules


def linear_trainer(loss: Any = None, lr: float = 1e-30, **options: Any) -> training.Trainer:
    """A linear net on 12 x 12 pixels; the default rate is too small to change a float32."""
    model = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(144, 10, seed=0))
    optimizer = optim.SGD(model.parameters(), lr=lr)
    return training.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer, **options)


def by_formula(model: nn.Layer, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over all samples at once, in float64."""
    scores = model(x).astype(np.float64)
    scores -= scores.max(axis=1, keepdims=True)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), y].mean(), (scores.argmax(axis=1) == y).mean()


# ---- means are over samples ----


@pytest.mark.parametrize("batch_size", [1, 7, 64, 149, 150, 1000])
def test_evaluate_is_exact_over_partial_batches(batch_size: int) -> None:
    digits, run = runs.digits(150), linear_trainer()
    loss, accuracy = by_formula(run.model, digits.x, digits.y)
    result = run.evaluate(digits, batch_size=batch_size)
    assert result.accuracy == accuracy
    assert result.loss == pytest.approx(loss, rel=1e-6)


def test_a_mean_of_batch_means_would_be_seen() -> None:
    """One sample in the last batch must count as one, not as a batch."""
    digits, run = runs.digits(101), linear_trainer()
    parts = [by_formula(run.model, digits.x[i : i + 100], digits.y[i : i + 100]) for i in (0, 100)]
    wrong = np.mean(parts, axis=0)
    result = run.evaluate(digits, batch_size=100)
    assert abs(result.loss - wrong[0]) > 1e-3 and result.accuracy != wrong[1]


@pytest.mark.parametrize("batch_size", [1, 64, 149, 150])
def test_training_means_are_exact_over_partial_batches(batch_size: int) -> None:
    digits, run = runs.digits(150), linear_trainer()
    loss, accuracy = by_formula(run.model, digits.x, digits.y)
    history = run.fit(digits, epochs=1, batch_size=batch_size)
    assert history.train_accuracy == [accuracy]
    assert history.train_loss[0] == pytest.approx(loss, rel=1e-6)
    assert math.isnan(history.validation_loss[0])
    assert history.learning_rate == [1e-30] and history.seconds[0] > 0


def test_a_loss_that_sums() -> None:
    digits, run = runs.digits(150), linear_trainer(nn.CrossEntropyLoss(reduction="sum"))
    loss, _ = by_formula(run.model, digits.x, digits.y)
    history = run.fit(digits, epochs=1, batch_size=64)
    assert history.train_loss[0] == pytest.approx(loss, rel=1e-5)
    assert run.evaluate(digits, batch_size=64).loss == pytest.approx(loss, rel=1e-5)


def test_regression_has_no_accuracy() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 1, 12, 12), np.float32)
    run = linear_trainer(nn.MSELoss(), lr=0.01)
    y = run.model(x) + 1
    history = run.fit((x, y), epochs=3, batch_size=16, validation=(x, y))
    assert all(map(math.isnan, history.train_accuracy + history.validation_accuracy))
    assert history.train_loss[-1] < history.train_loss[0] < 1.01
    assert math.isnan(run.evaluate((x, y)).accuracy)


# ---- training ----


def test_training_learns_and_repeats() -> None:
    """The same seed gives the same bits, another seed others."""
    shas = []
    for seed in (0, 0, 1):
        run = runs.trainer(seed)
        history = run.fit(runs.digits(600), epochs=4, batch_size=runs.BATCH)
        assert history.train_accuracy[-1] > max(0.6, history.train_accuracy[0])
        shas.append(training.weights_sha256(run.model))
    assert shas[0] == shas[1] != shas[2]


def test_one_step_is_sgd_on_the_batch() -> None:
    """One batch of all samples: the update is rate times the gradient of the mean loss."""
    digits, run = runs.digits(32), linear_trainer(lr=0.5)
    twin = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(144, 10, seed=0))
    scores, context = twin.forward(digits.x)
    twin.backward(nn.CrossEntropyLoss()(scores, digits.y)[1], context)
    run.fit(digits, epochs=1, batch_size=32)
    for p, q in zip(run.model.parameters(), twin.parameters(), strict=True):
        assert np.abs(q.grad).max() > 0
        np.testing.assert_allclose(p.data, q.data - 0.5 * q.grad, rtol=1e-4, atol=1e-6)


def test_arrays_or_dataset() -> None:
    digits = runs.digits(100)
    shas = []
    for train in (digits, (digits.x, digits.y)):
        run = runs.trainer()
        run.fit(train, epochs=1, validation=train)
        shas.append(training.weights_sha256(run.model))
    assert shas[0] == shas[1]


def test_every_sample_once_an_epoch() -> None:
    seen: list[np.ndarray] = []

    class Spy(data.ArrayDataset):
        def batch(self, rows: Any) -> Any:
            if not isinstance(rows, slice):
                seen.append(rows)
            return super().batch(rows)

    digits = runs.digits(50)
    run = linear_trainer()
    run.fit(Spy(digits.x, digits.y), epochs=2, batch_size=16)
    assert [len(rows) for rows in seen] == [16, 16, 16, 2] * 2
    first, second = np.concatenate(seen[:4]), np.concatenate(seen[4:])
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any() and (first != np.arange(50)).any()
    run.fit(Spy(digits.x, digits.y), epochs=1, batch_size=16)
    third = np.concatenate(seen[8:])
    assert (third != first).any() and (third != second).any()


def test_validation_fraction_is_set_aside() -> None:
    """The validation samples are never trained on, and the same in each fit of a trainer."""
    trained: set[int] = set()

    class Spy(data.ArrayDataset):
        def batch(self, rows: Any) -> Any:
            x, y = super().batch(rows)
            if spying and not isinstance(rows, slice):
                trained.update(np.asarray(rows).tolist())
            return x, y

    digits = runs.digits(100)
    dataset = Spy(digits.x, digits.y)
    run = linear_trainer()
    loss, spying = run.loss, False

    class Validating(Callback):
        """Rows are read for validation before the first and after the last batch of training."""

        def on_fit_begin(self, trainer: training.Trainer) -> None:
            nonlocal spying
            spying = True

        def on_fit_end(self, trainer: training.Trainer) -> None:
            nonlocal spying
            spying = False

        def on_batch_end(self, trainer: training.Trainer) -> None:
            nonlocal spying
            spying = trainer.batch < 5

        def on_epoch_end(self, trainer: training.Trainer) -> None:
            nonlocal spying
            spying = True

    for _ in range(2):
        history = run.fit(
            dataset, epochs=2, batch_size=16, validation=0.25, callbacks=[Validating()]
        )
    assert len(trained) == 75
    rest, held_out = dataset.split(0.25, seed=0)
    assert history.validation_loss[-1] == pytest.approx(
        by_formula(run.model, held_out.x, held_out.y)[0], rel=1e-6
    )
    assert history.validation_accuracy[-1] == run.evaluate(held_out).accuracy
    assert len(rest) == 75 and run.loss is loss


def test_no_validation_by_default() -> None:
    history = linear_trainer().fit(runs.digits(40), epochs=1)
    assert math.isnan(history.validation_loss[0]) and math.isnan(history.validation_accuracy[0])


def test_the_schedule_sets_the_rate_of_each_step() -> None:
    rates: list[float] = []

    class Rates(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            rates.append(trainer.optimizer.lr)

    run = linear_trainer(lr=0.5, schedule=schedules.cosine)
    history = run.fit(runs.digits(40), epochs=2, batch_size=20, callbacks=[Rates()])
    assert rates == [0.5 * schedules.cosine(t) for t in (0.0, 0.25, 0.5, 0.75)]
    assert history.learning_rate == [rates[1], rates[3]]
    assert run.optimizer.lr == 0.5  # as the user set it


def test_predict() -> None:
    digits, run = runs.digits(70), runs.trainer()
    scores = run.predict(digits.x, batch_size=32)
    np.testing.assert_array_equal(scores, run.model(digits.x))
    assert run.predict(digits.x[:0]).shape == (0, 10)
    with pytest.raises(ValueError, match="batch_size >= 1, got 0"):
        run.predict(digits.x, batch_size=0)


def test_inference_changes_nothing() -> None:
    run = runs.trainer()
    before = runs.fingerprint(run)
    run.predict(runs.digits().x)
    run.evaluate(runs.digits())
    assert runs.fingerprint(run) == before


def test_the_first_layer_s_dx_is_not_computed() -> None:
    asked: list[bool] = []

    class First(nn.Flatten):
        def backward(self, dy: Any, ctx: Any, *, need_dx: bool = True) -> Any:
            asked.append(need_dx)
            return super().backward(dy, ctx, need_dx=need_dx)

    model = nn.Sequential(flat=First(), fc=nn.Linear(144, 10, seed=0))
    run = training.Trainer(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1))
    run.fit(runs.digits(64), epochs=1)
    assert True not in asked


# ---- errors ----


def test_a_loss_of_nan_stops() -> None:
    model = nn.Sequential(
        bn=nn.BatchNorm2d(1), flat=nn.Flatten(), fc=nn.Linear(144, 10, seed=0)
    )  # the running statistics, too, are as they were before the step
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    run = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
    before = training.weights_sha256(run.model)
    x = np.full((8, 1, 12, 12), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 1, batch 1 .*rate 0\.1"):
        run.fit((x, np.zeros(8, int)), epochs=1)
    assert training.weights_sha256(run.model) == before
    assert run.optimizer.lr == 0.1


def test_divergence_stops() -> None:
    run = linear_trainer(nn.MSELoss(), lr=1e6)
    with pytest.raises(FloatingPointError, match="A smaller learning rate"):
        run.fit(runs.digits(64), epochs=50, batch_size=8)
    assert run.optimizer.lr == 1e6 and run.steps > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": -1}, "epochs to be an integer >= 0, got -1"),
        ({"epochs": 1.5}, "epochs to be an integer"),
        ({"epochs": True}, "epochs to be an integer"),
        ({"epochs": 1, "batch_size": 0}, "batch_size >= 1, got 0"),
        ({"epochs": 1, "validation": 0.0}, "0 < fraction < 1"),
        ({"epochs": 1, "validation": 1.0}, "0 < fraction < 1"),
        ({"epochs": 1, "validation": True}, "0 < fraction < 1"),
        ({"epochs": 1, "progress": "maybe"}, "True, False or 'auto', got 'maybe'"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        linear_trainer().fit(runs.digits(20), **options)


def test_bad_data() -> None:
    run = linear_trainer()
    empty = (np.zeros((0, 1, 12, 12), np.float32), np.zeros(0, int))
    with pytest.raises(ValueError, match="at least one training sample"):
        run.fit(empty, epochs=1)
    with pytest.raises(ValueError, match="at least one sample"):
        run.evaluate(empty)
    with pytest.raises(TypeError, match=r"Dataset or a pair \(x, y\), got str"):
        run.fit("mnist", epochs=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="seed to be an integer >= 0, got -1"):
        linear_trainer(seed=-1)


@pytest.mark.parametrize("new", [runs.trainer, linear_trainer], ids=["by layers", "planned"])
def test_data_of_another_dtype_than_the_weights(new: Any) -> None:
    """The error is about the data, not about the weights."""
    digits, run = runs.digits(8), new()
    wide = (digits.x.astype(np.float64), digits.y)
    message = r"expected x to be float32 like the weights, got float64; x.astype\(np.float32\)"
    for call in (lambda: run.fit(wide, epochs=1), lambda: run.evaluate(wide)):
        with pytest.raises(TypeError, match=message):
            call()
    run.model.double()
    with pytest.raises(TypeError, match=r"x to be float64 .*; x.astype\(np.float64\) would fit"):
        run.predict(digits.x)


def test_no_validation_data() -> None:
    digits, run = runs.digits(20), linear_trainer()
    with pytest.raises(ValueError, match="at least one validation sample"):
        run.fit(digits, epochs=1, validation=digits[:0])
    assert run.steps == 0


def test_a_refused_fit_leaves_the_run_before() -> None:
    """History, position, settings, callbacks and generators; the next checkpoint is of that run."""
    run, stopping = runs.trainer(), training.EarlyStopping("train_loss")
    assert run.model.rng_state()
    history = run.fit(runs.digits(64), epochs=2, batch_size=16, callbacks=[stopping])
    run.optimizer.lr = 0.3
    before, measured = runs.fingerprint(run), run.measured

    class Late(Callback):
        def on_fit_begin(self, trainer: training.Trainer) -> None:
            trainer.rate_factor = 0.5
            raise RuntimeError("late")

    def nowhere(outputs: Any, targets: Any) -> Any:
        raise RuntimeError("in the first step")

    def refused(error: type[Exception], message: str, **options: Any) -> None:
        with pytest.raises(error, match=message):
            run.fit(runs.digits(40), epochs=1, **options)
        assert run.history is history and len(history) == 2 and run.measured == measured
        assert (run.epoch, run.steps, run.rate_factor, run.optimizer.lr) == (2, 8, 1.0, 0.3)

    refused(ValueError, "validation_loss is not measured", callbacks=[training.EarlyStopping()])
    refused(ValueError, "batch_size >= 1", batch_size=0)
    refused(RuntimeError, "late", callbacks=[Late()])
    loss, run.loss = run.loss, nowhere
    refused(RuntimeError, "in the first step", callbacks=[stopping])
    run.loss = loss
    assert stopping.best_epoch > 0 and runs.fingerprint(run) == before
    assert len(run.fit(runs.digits(40), epochs=1)) == 1 and run.steps == 1
    assert run.history is not history and len(history) == 2


def test_no_epochs() -> None:
    run = linear_trainer()
    before = training.weights_sha256(run.model)
    assert len(run.fit(runs.digits(20), epochs=0)) == 0
    assert training.weights_sha256(run.model) == before


# ---- progress ----


def test_silent_when_piped(capsys: pytest.CaptureFixture[str]) -> None:
    linear_trainer().fit(runs.digits(20), epochs=1)
    linear_trainer().fit(runs.digits(20), epochs=1, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_bar_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    linear_trainer().fit(runs.digits(20), epochs=2, batch_size=4, progress=True, validation=0.2)
    out, err = capsys.readouterr()
    assert out == "" and "epoch 1/2" in err and "epoch 2/2" in err and "4/4" in err
    assert "val accuracy 0." in err


def test_bars_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    linear_trainer().fit(runs.digits(20), epochs=1)
    assert "epoch 1/1" in sys.stderr.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    linear_trainer().fit(runs.digits(20), epochs=1)


def test_bars_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    class ZMQInteractiveShell:
        pass

    fake = types.ModuleType("IPython")
    fake.get_ipython = ZMQInteractiveShell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", fake)
    from fastcnn.training import progress

    assert progress.wanted("auto")
    progress.EpochBar(1, 1, 2, 0, True).update()  # tqdm.auto falls back to text here


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "cosine"}, r"got 'cosine'; fastcnn\.training\.schedules\.cosine would fit"),
        ({"schedule": 0.1}, r"got 0\.1; fastcnn\.training\.schedules\.cosine would fit"),
        ({"loss": "ce"}, r"got 'ce'; fastcnn\.nn\.CrossEntropyLoss\(\) would fit"),
        ({"loss": nn.MSELoss}, r"got .*; MSELoss\(\) would fit"),
    ],
)
def test_what_cannot_be_called_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    model = nn.Linear(2, 2, seed=0)
    given = {"loss": nn.MSELoss(), **options}
    with pytest.raises(TypeError, match=message):
        training.Trainer(model, optimizer=optim.SGD(model.parameters(), lr=0.1), **given)
