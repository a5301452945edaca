"""Weights and checkpoints: what comes back, and what is refused without a trace."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

from fastcnn import nn, optim, training
from fastcnn.training import Callback, Checkpoint, EarlyStopping, schedules
from fastcnn.training.checkpoint import load_checkpoint, save_checkpoint


def trained() -> training.Trainer:
    run = runs.trainer()
    run.fit(runs.digits(64), epochs=1, batch_size=16)
    return run


@pytest.fixture(scope="module")
def tree() -> dict[str, Any]:
    """A good checkpoint's content, for tests to spoil copies of it."""
    return {**trained()._tree(), "notes": {}}


# ---- weights ----


def test_weights_round_trip(tmp_path: Path) -> None:
    model, other = runs.net(seed=1), runs.net(seed=2)
    training.save_weights(model, tmp_path / "w")
    assert training.weights_sha256(model) != training.weights_sha256(other)
    training.load_weights(other, tmp_path / "w")
    assert training.weights_sha256(model) == training.weights_sha256(other)


def test_sha256_sees_a_single_bit() -> None:
    model = runs.net()
    before = training.weights_sha256(model)
    bits = next(iter(model.parameters())).data.view(np.int32)
    bits.flat[3] ^= 1
    assert training.weights_sha256(model) != before
    bits.flat[3] ^= 1
    assert training.weights_sha256(model) == before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("fc.bias"), "missing fc.bias, unknown none"),
        (lambda w: w.update(extra=np.zeros(1)), "missing none, unknown extra"),
        (lambda w: w.update({"fc.bias": np.zeros(9, np.float32)}), r"shape \(10,\), got .*\(9,\)"),
        (lambda w: w.update({"fc.bias": np.zeros(10)}), "float32 of shape .*, got float64"),
        (lambda w: w["fc.bias"].fill(np.nan), "fc.bias holds NaN or infinity"),
        (lambda w: w["fc.bias"].fill(-np.inf), "fc.bias holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit(
    spoil: Callable[[dict[str, Any]], Any], message: str, tmp_path: Path
) -> None:
    weights, model = runs.net(seed=1).state_dict(), runs.net(seed=2)
    spoil(weights)
    training.write_safetensors(tmp_path / "w", weights)
    before = training.weights_sha256(model)
    with pytest.raises(ValueError, match=message) as caught:
        training.load_weights(model, tmp_path / "w")
    assert str(tmp_path / "w") in str(caught.value)
    assert training.weights_sha256(model) == before


# ---- checkpoints ----


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    run, other = trained(), runs.trainer(weights=5)
    run.save_checkpoint(tmp_path / "c")
    assert runs.fingerprint(run) != runs.fingerprint(other)
    other.resume(tmp_path / "c")
    assert runs.fingerprint(run) == runs.fingerprint(other)
    assert len(other.history) == 1


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_every_optimizer_resumes_exactly(kind: Any, tmp_path: Path) -> None:
    def new(weights: int) -> training.Trainer:
        model = runs.net(weights)
        optimizer = kind(model.parameters(), lr=0.01, weight_decay=1e-3)
        return training.Trainer(model, nn.CrossEntropyLoss(), optimizer)

    whole, first, second = new(0), new(0), new(9)
    whole.fit(runs.digits(64), epochs=3, batch_size=24)
    first.fit(runs.digits(64), epochs=2, batch_size=24, callbacks=[Checkpoint(tmp_path / "c")])
    second.fit(runs.digits(64), epochs=3, batch_size=24, resume=tmp_path / "c")
    assert runs.fingerprint(whole) == runs.fingerprint(second) != runs.fingerprint(first)


def test_notes(tmp_path: Path) -> None:
    path, run = tmp_path / "c", runs.trainer()
    callbacks = [Checkpoint(path, notes={"who": ["me", 1]})]
    run.fit(runs.digits(64), epochs=1, callbacks=callbacks)
    assert load_checkpoint(path)["notes"] == {"who": ["me", 1]}
    run.resume(path)
    run.save_checkpoint(path)
    assert load_checkpoint(path)["notes"] == {}


def test_another_optimizer(tmp_path: Path) -> None:
    trained().save_checkpoint(tmp_path / "c")
    model = runs.net()
    run = training.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters()))
    before = runs.fingerprint(run)
    with pytest.raises(ValueError, match="does not fit this trainer"):
        run.resume(tmp_path / "c")
    assert runs.fingerprint(run) == before


def test_a_tree_of_everything(tmp_path: Path) -> None:
    content = {
        "numbers": [1, 2.5, -1e300, 2**127, True, None, "text"],
        "deep": {"a": {"b": [np.arange(3), {"c": np.float32(0.1)}]}},
        "empty": {"list": [], "dict": {}, "array": np.zeros((0, 3))},
    }
    save_checkpoint(tmp_path / "c", content)
    back = load_checkpoint(tmp_path / "c")
    assert back["numbers"] == content["numbers"]
    assert back["deep"]["a"]["b"][1] == {"c": float(np.float32(0.1))}
    np.testing.assert_array_equal(back["deep"]["a"]["b"][0], [0, 1, 2])
    assert back["empty"]["array"].shape == (0, 3) and back["empty"]["dict"] == {}


def test_a_tree_that_cannot_be_saved(tmp_path: Path) -> None:
    for content in ({"a$": 1}, {"a": {1: 2}}, {"a": object()}, {"a": {1, 2}}):
        with pytest.raises(TypeError):
            save_checkpoint(tmp_path / "c", content)
    assert list(tmp_path.iterdir()) == []


def test_weights_of_nan_do_not_replace_a_good_checkpoint(tmp_path: Path) -> None:
    run = trained()
    run.save_checkpoint(tmp_path / "c")
    good = (tmp_path / "c").read_bytes()
    next(iter(run.model.parameters())).data.flat[0] = np.nan
    with pytest.raises(ValueError, match=r"conv\.weight holds NaN"):
        run.save_checkpoint(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == good


def assert_refused(path: Path, message: str) -> None:
    """A clear ValueError, and a trainer that is as it was."""
    run = trained()
    before = runs.fingerprint(run)
    with pytest.raises(ValueError, match=message) as caught:
        run.resume(path)
    assert str(path) in str(caught.value)
    assert runs.fingerprint(run) == before


def test_every_flipped_bit_is_seen(tmp_path: Path, tree: dict[str, Any]) -> None:
    """In the header, in the metadata or in the numbers: the file is refused."""
    path, rng = tmp_path / "c", np.random.default_rng(3)
    save_checkpoint(path, tree)
    good = path.read_bytes()
    places = [*range(0, 600, 7), *rng.integers(600, len(good), 200), len(good) - 1]
    for at in places:
        spoiled = bytearray(good)
        spoiled[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        with pytest.raises(ValueError, match=r"valid safetensors|damaged|not a checkpoint|version"):
            load_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 0.5, 0.99, -1])
def test_half_a_checkpoint(keep: float, tmp_path: Path, tree: dict[str, Any]) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, tree)
    good = path.read_bytes()
    path.write_bytes(good[: int(keep * len(good)) if isinstance(keep, float) else keep])
    assert_refused(path, "not a valid safetensors file")


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "c"
    training.save_weights(runs.net(), path)
    assert_refused(path, "not a checkpoint")
    training.write_safetensors(path, {}, {"kind": "checkpoint", "version": 99})
    assert_refused(path, "expected checkpoint version 1, got 99")
    save_checkpoint(path, {"model": {}})
    assert_refused(path, r"expected a trainer's checkpoint, got \['model'\]")
    with pytest.raises(FileNotFoundError):
        trained().resume(tmp_path / "none")


def crafted(path: Path, arrays: dict[str, np.ndarray], tree: Any) -> None:
    """A checkpoint with a right SHA-256 but a tree of our choice."""
    from fastcnn.training.checkpoint import _digest

    meta = {"kind": "checkpoint", "version": 1, "tree": tree, "sha256": _digest(tree, arrays)}
    training.write_safetensors(path, arrays, meta)


def test_crafted_references(tmp_path: Path) -> None:
    path, one = tmp_path / "c", {"a": np.zeros(1)}
    crafted(path, one, {"x": {"$array": "b"}})
    assert_refused(path, "array 'b' is missing or used twice")
    crafted(path, one, {"x": {"$array": "a"}, "y": {"$array": "a"}})
    assert_refused(path, "array 'a' is missing or used twice")
    crafted(path, one, {})
    assert_refused(path, "arrays that nothing names")
    crafted(path, {}, [1])
    assert_refused(path, "damaged")


def change(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def spoil(tree: dict[str, Any]) -> None:
        for key in keys[:-1]:
            tree = tree[key]
        assert keys[-1] in tree
        tree[keys[-1]] = to

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change("position", "epoch", to=-1), "epoch to be a number >= 0, got -1"),
        (change("position", "batch", to=1.5), "batch to be"),
        (change("position", "batch", to=True), "batch to be"),
        (change("position", "seen", to=2**63), "seen to be"),
        (change("position", "loss_sum", to="0"), "loss_sum to be"),
        (change("position", "seconds", to=-1.0), "seconds to be"),
        (change("position", to={}), "expected the position to have"),
        (change("position", to=[]), "expected the position to have"),
        (change("position", "epoch", to=2), "history, position and callbacks disagree"),
        (change("history", to={}), "History: expected the keys"),
        (change("history", "seconds", to=[]), "expected seconds to be a list like the others"),
        (change("callbacks", to=[]), "disagree"),
        (change("settings", to=7), "settings of a run"),
        (change("settings", "seed", to=[0]), "settings of a run"),
        (change("rate", to=-0.1), "rate to be"),
        (change("rate", to=None), "rate to be"),
        (change("random", to={}), "set_rng_state"),
        (change("random", to={"drop": {"bit_generator": "PCG64"}}), "set_rng_state"),
        (change("random", to=5), "does not fit"),
        (change("optimizer", to={}), "does not fit"),
        (change("optimizer", to=None), "does not fit"),
        (change("model", to={}), "missing conv.bias, conv.weight, fc.bias, fc.weight"),
        (change("model", "fc.bias", to=np.zeros(9, np.float32)), "expected fc.bias to be float32"),
        (change("model", "fc.bias", to=3), "expected fc.bias to be float32 .*, got int"),
        (change("model", "fc.bias", to=np.full(10, np.inf, np.float32)), "NaN or infinity"),
    ],
)  # fmt: skip
def test_crafted_content_is_refused_whole(
    spoil: Callable[[dict[str, Any]], None], message: str, tmp_path: Path, tree: dict[str, Any]
) -> None:
    spoiled = copy.deepcopy(tree)
    spoil(spoiled)
    save_checkpoint(tmp_path / "c", spoiled)
    assert_refused(tmp_path / "c", message)


def test_another_model(tmp_path: Path) -> None:
    trained().save_checkpoint(tmp_path / "c")
    model = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(144, 10, seed=0))
    run = training.Trainer(model, nn.CrossEntropyLoss(), runs.trainer().optimizer)
    before = training.weights_sha256(model)
    with pytest.raises(ValueError, match="does not fit the model"):
        run.resume(tmp_path / "c")
    assert training.weights_sha256(model) == before


# ---- resuming with other things than before ----


def interrupted_at(path: Path, callbacks: list[Callback]) -> None:
    """A checkpoint from the middle of an epoch."""

    class Enough(Callback):
        order = 200

        def on_batch_end(self, trainer: training.Trainer) -> None:
            if trainer.steps == 3:
                raise StopIteration

    with pytest.raises(StopIteration):
        runs.trainer().fit(
            runs.digits(100), epochs=2, batch_size=32, validation=0.1,
            callbacks=[Checkpoint(path, every=1), Enough(), *callbacks],
        )  # fmt: skip


@pytest.mark.parametrize("epochs", [None, 1])
@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"batch_size": 16}, "batch size of 32, got 16"),
        ({"validation": 0.3}, "training samples of 90, got 70; validation of 0.1, got 0.3"),
        ({"validation": None}, "training samples of 90, got 100; validation of 0.1, got None"),
        ({"validation": 10}, "validation of 0.1, got '10 samples'"),
        ({"train": 50}, "training samples of 90, got 45"),
        ({"seed": 3}, "seed of 0, got 3"),
        ({"schedule": schedules.step()}, r"schedule of 'cosine', got 'step\(0.1, 3\)'"),
        ({"batch_size": 16, "seed": 3}, "seed of 0, got 3; batch size of 32, got 16"),
    ],
)
def test_another_run_is_refused(
    options: dict[str, Any], differs: str, epochs: int | None, tmp_path: Path
) -> None:
    """In the middle of an epoch and between two; the message names all that differs."""
    path, digits = tmp_path / "c", runs.digits(100)
    if epochs is None:
        interrupted_at(path, [])
    else:
        runs.trainer().fit(
            digits, epochs=epochs, batch_size=32, validation=0.1, callbacks=[Checkpoint(path)]
        )
    options = {"epochs": 2, "batch_size": 32, "validation": 0.1, **options}
    own = {key: options.pop(key) for key in ("seed", "schedule") if key in options}
    data = digits[: options.pop("train", 100)]
    if options["validation"] == 10:
        data, options["validation"] = digits[:90], digits[90:]
    run = runs.trainer(weights=4, **own)
    before = runs.fingerprint(run)
    with pytest.raises(ValueError, match=f"of another run: expected {differs}$"):
        run.fit(data, resume=path, **options)
    assert runs.fingerprint(run) == before


def test_validation_data_of_another_length(tmp_path: Path) -> None:
    digits, options = runs.digits(100), {"epochs": 1, "batch_size": 32}
    callbacks = [Checkpoint(tmp_path / "c")]
    runs.trainer().fit(digits[:80], validation=digits[80:], callbacks=callbacks, **options)
    with pytest.raises(ValueError, match=r"validation of '20 samples', got '10 samples'$"):
        runs.trainer().fit(digits[:80], validation=digits[90:], resume=tmp_path / "c", **options)


def test_a_schedule_of_other_arguments(tmp_path: Path) -> None:
    digits, path = runs.digits(64), tmp_path / "c"
    first = runs.trainer(schedule=schedules.one_cycle())
    first.fit(digits, epochs=1, callbacks=[Checkpoint(path)])
    runs.trainer(schedule=schedules.one_cycle()).fit(digits, epochs=2, resume=path)
    with pytest.raises(ValueError, match=r"'one_cycle\(0.25, .*', got 'one_cycle\(0.5, .*'$"):
        runs.trainer(schedule=schedules.one_cycle(0.5)).fit(digits, epochs=2, resume=path)


def failing(kind: str) -> dict[str, Any]:
    """Options of a resume that fails, sooner or later."""

    class Refuse(Callback):
        def on_fit_begin(self, trainer: training.Trainer) -> None:
            raise ValueError("no, thanks")

    digits = runs.digits(64)
    wrong = (digits.x.astype(np.float64), digits.y)
    return {
        "another run": {"batch_size": 16},
        "no data": {"train": (digits.x[:0], digits.y[:0])},
        "a callback": {"callbacks": [Refuse()]},
        "the first step": {"train": wrong},
    }[kind]


@pytest.mark.parametrize("kind", ["another run", "no data", "a callback", "the first step"])
@pytest.mark.parametrize("beforehand", [False, True], ids=["fit(resume=)", "resume()"])
def test_a_failed_resume_leaves_the_trainer_as_it_was(
    kind: str, beforehand: bool, tmp_path: Path
) -> None:
    """The next fit is what it would have been without; after `resume` that is the resumed run."""
    path, digits = tmp_path / "c", runs.digits(64)
    runs.trainer(weights=5).fit(digits, epochs=2, batch_size=32, callbacks=[Checkpoint(path)])
    run, twin = runs.trainer(), runs.trainer()
    for trainer in (run, twin):
        trainer.fit(digits, epochs=1, batch_size=32)
        if beforehand:
            trainer.resume(path)
    before = runs.fingerprint(run)
    options = {"train": digits, "epochs": 3, "batch_size": 32, **failing(kind)}
    with pytest.raises((ValueError, TypeError)):
        run.fit(**options, resume=None if beforehand else path)
    run._callbacks = []
    assert runs.fingerprint(run) == before
    for trainer in (run, twin):
        history = trainer.fit(digits, epochs=3, batch_size=32)
        assert len(history) == 3
    assert runs.fingerprint(run) == runs.fingerprint(twin)


def test_a_fit_that_fails_after_a_step_keeps_it(tmp_path: Path) -> None:
    """What was trained is not thrown away."""
    path, run = tmp_path / "c", runs.trainer(weights=5)
    runs.trainer().fit(runs.digits(64), epochs=1, batch_size=32, callbacks=[Checkpoint(path)])

    class Fail(Callback):
        def on_batch_end(self, trainer: training.Trainer) -> None:
            raise StopIteration

    with pytest.raises(StopIteration):
        run.fit(runs.digits(64), epochs=2, batch_size=32, callbacks=[Fail()], resume=path)
    assert (run.epoch, run.batch, run.steps) == (1, 1, 3)


def test_a_callback_that_is_missing(tmp_path: Path) -> None:
    interrupted_at(tmp_path / "c", [EarlyStopping()])
    with pytest.raises(ValueError, match="state of EarlyStopping, but callbacks has only"):
        runs.trainer().fit(
            runs.digits(100), epochs=2, batch_size=32, validation=0.1, resume=tmp_path / "c"
        )


def test_a_callback_of_a_damaged_state(tmp_path: Path) -> None:
    interrupted_at(tmp_path / "c", [EarlyStopping()])
    content = load_checkpoint(tmp_path / "c")
    good = {"best": None, "best_epoch": 0, "waited": 0}
    for spoiled in ({"best": "x"}, {"best": 0.5}, {"waited": 1.5}, {"weights.a": 1}, {"more": 1}):
        content["callbacks"]["EarlyStopping"] = {**good, **spoiled}
        save_checkpoint(tmp_path / "d", content)
        with pytest.raises(ValueError, match="EarlyStopping: its state is damaged"):
            runs.trainer().fit(
                runs.digits(100), epochs=2, batch_size=32, validation=0.1,
                callbacks=[EarlyStopping()], resume=tmp_path / "d",
            )  # fmt: skip


def test_two_callbacks_of_a_kind_keep_their_states(tmp_path: Path) -> None:
    def callbacks() -> list[EarlyStopping]:
        return [EarlyStopping(patience=9), EarlyStopping("train_loss", patience=9)]

    first, second = runs.trainer(), runs.trainer()
    one, two = callbacks(), callbacks()
    first.fit(
        runs.digits(100), epochs=2, validation=0.1, callbacks=[*one, Checkpoint(tmp_path / "c")]
    )
    second.fit(runs.digits(100), epochs=2, validation=0.1, callbacks=two, resume=tmp_path / "c")
    assert [c.best for c in one] == [c.best for c in two]
    assert one[0].best != one[1].best


def test_more_epochs_after_a_finished_run(tmp_path: Path) -> None:
    run = runs.trainer()
    run.fit(runs.digits(64), epochs=2, callbacks=[Checkpoint(tmp_path / "c")])
    again = runs.trainer()
    history = again.fit(runs.digits(64), epochs=3, resume=tmp_path / "c")
    assert len(history) == 3 and history.train_loss[:2] == run.history.train_loss
    assert len(runs.trainer().fit(runs.digits(64), epochs=1, resume=tmp_path / "c")) == 2
