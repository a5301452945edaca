"""The command, end to end on the embedded digits, and its errors and exit codes."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs

from fastcnn import _config, cli, data, models, nn, training
from fastcnn.cli import guide, recipes


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


def child(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fastcnn", *map(str, arguments)]
    return subprocess.run(
        command, env=runs.ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """LeNet-5 after an epoch over the embedded digits: the folder, and what was printed."""
    folder = tmp_path_factory.mktemp("cli") / "made" / "by itself"
    result = child(
        "train", "--subset", "--epochs", 1, "--validation", 0.1, "--threads", 1, "--output", folder
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return folder, result.stdout


def test_train_says_what_it_does(trained: tuple[Path, str]) -> None:
    """Data, summary, epochs, and the accuracy last."""
    lines = trained[1].splitlines()
    assert lines[0].startswith("data: MNIST subset, 5,000 training and 1,000 test images")
    places = [
        next(i for i, line in enumerate(lines) if line.startswith(start))
        for start in ("data:", "conv1", "total", "epoch 1/1: loss", "trained in", "test accuracy")
    ]
    assert places == sorted(places) and places[-1] == len(lines) - 1
    assert "; validation 0." in trained[1]
    assert float(lines[-1].removeprefix("test accuracy ")) > 0.8


def test_train_writes_what_it_says(trained: tuple[Path, str]) -> None:
    folder, output = trained
    names = {
        "weights.safetensors", "checkpoint.safetensors", "history.json", "curves.png",
        "filters.png", "confusion.png",
    }  # fmt: skip
    assert {path.name for path in folder.iterdir()} == names
    assert all(name in output for name in names)
    history = training.History.from_json((folder / "history.json").read_text())
    assert len(history) == 1 and not history.interrupted
    model = models.lenet5(seed=99)
    training.load_weights(model, folder / "weights.safetensors")
    _, test = data.mnist(subset=True)
    accuracy = float((model(test.x).argmax(axis=1) == test.y).mean())
    assert output.splitlines()[-1] == f"test accuracy {accuracy:.4f}"
    for name in names:
        if name.endswith("png"):
            assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_train_as_json_and_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two epochs at once, and one after the other: the same weights."""
    options = ["train", "--model", "dmlp", "--subset", "--json", "--schedule", "constant"]
    assert run(*options, "--epochs", 2, "--output", tmp_path / "a") == 0
    whole = capsys.readouterr()
    assert run(*options, "--epochs", 1, "--output", tmp_path / "b") == 0
    capsys.readouterr()
    assert run(*options, "--epochs", 2, "--output", tmp_path / "b", "--resume") == 0
    a, b = json.loads(whole.out), json.loads(capsys.readouterr().out)
    assert a["weights_sha256"] == b["weights_sha256"]
    assert a["test_accuracy"] == b["test_accuracy"] > 0.8
    assert a["history"]["train_loss"] == b["history"]["train_loss"]
    assert "epoch 2/2" in whole.err and "test accuracy" in whole.err


@pytest.mark.parametrize(
    "options",
    [
        ["--model", "simple_convnet"],
        ["--model", "simple_convnet-lecture", "--optimizer", "adam"],
        ["--model", "lenet5-lecture", "--schedule", "step"],
        ["--model", "lenet5-1998", "--schedule", "one-cycle"],
        ["--model", "dmlp", "--schedule", "cosine-warm-up", "--augment", "shift", "scale"],
        ["--optimizer", "adam", "--patience", "1", "--validation", "0.1"],
        ["--optimizer", "adamw", "--lr", "0.002", "--weight-decay", "0.01"],
        ["--optimizer", "rmsprop", "--lr", "0.001"],
    ],
    ids=lambda options: " ".join(options),
)
def test_every_kind_of_training(
    options: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    train, test = data.mnist(subset=True)
    few = (
        data.ArrayDataset(train.x[:200], train.y[:200], classes=train.classes),
        data.ArrayDataset(test.x[:50], test.y[:50], classes=train.classes),
    )
    monkeypatch.setattr(data, "mnist", lambda *args, **kwargs: few)
    assert run("train", "--subset", "--epochs", 1, "--output", tmp_path, *options) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("test accuracy 0.")


@pytest.fixture
def few_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded digits become 100 to train and 20 to test."""
    train, test = data.mnist(subset=True)
    few = (
        data.ArrayDataset(train.x[:100], train.y[:100], classes=train.classes),
        data.ArrayDataset(test.x[:20], test.y[:20], classes=train.classes),
    )
    monkeypatch.setattr(data, "mnist", lambda *args, **kwargs: few)


def rates_of(folder: Path) -> list[float]:
    history = training.History.from_json((folder / "history.json").read_text())
    return history.learning_rate


@pytest.mark.usefixtures("few_digits")
def test_the_schedule_of_googlenet_counts_epochs(tmp_path: Path) -> None:
    """4 % less after 8 epochs, in a run of any length: so one may be made longer."""
    options = ["train", "--model", "dmlp", "--subset", "--lr", 0.1, "--schedule", "googlenet"]
    assert run(*options, "--epochs", 18, "--output", tmp_path / "a") == 0
    expected = [0.1] * 8 + [0.096] * 8 + [0.09216] * 2
    assert rates_of(tmp_path / "a") == pytest.approx(expected)
    assert run(*options, "--epochs", 3, "--output", tmp_path / "b") == 0
    assert run("train", "--resume", "--epochs", 18, "--output", tmp_path / "b") == 0
    assert rates_of(tmp_path / "b") == rates_of(tmp_path / "a")
    a, b = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.usefixtures("few_digits")
def test_the_rate_falls_on_a_plateau(tmp_path: Path) -> None:
    """At a rate too small to change a weight the validation loss stays the same."""
    options = ["train", "--model", "dmlp", "--subset", "--lr", 1e-30, "--schedule", "plateau"]
    options += ["--validation", 0.2]
    assert run(*options, "--epochs", 8, "--output", tmp_path / "a") == 0
    expected = [1e-30] * 4 + [1e-31] * 3 + [1e-32]
    assert rates_of(tmp_path / "a") == pytest.approx(expected, rel=1e-6, abs=0)
    assert run(*options, "--epochs", 3, "--output", tmp_path / "b") == 0
    assert run("train", "--resume", "--epochs", 8, "--output", tmp_path / "b") == 0
    assert rates_of(tmp_path / "b") == rates_of(tmp_path / "a")


def test_a_plateau_needs_something_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("train", "--subset", "--schedule", "plateau")
    message = "--schedule plateau needs --validation, such as --validation 0.1\n"
    assert capsys.readouterr().err.endswith(message)


def test_every_schedule_begins_and_ends_as_a_factor() -> None:
    for name, rate in cli.SCHEDULES.items():
        schedule = rate.schedule(20)
        assert all(0 <= schedule(t / 20) <= 1 for t in range(20)), name
    assert cli.SCHEDULES["googlenet"].schedule(20)(0.5) == 0.96


def test_ctrl_c_is_130(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    step = training.Trainer._step
    calls = [0]

    def interrupting(self: Any, x: Any, y: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            signal.raise_signal(signal.SIGINT)
        return step(self, x, y)

    monkeypatch.setattr(training.Trainer, "_step", interrupting)
    options = ["train", "--model", "dmlp", "--subset", "--epochs", "1", "--output", str(tmp_path)]
    assert run(*options) == 130
    assert "interrupted after 0 epochs; --resume goes on" in capsys.readouterr().out
    assert training.History.from_json((tmp_path / "history.json").read_text()).interrupted
    assert run(*options, "--resume") == 0
    assert calls[0] == 157  # 5,000 images in batches of 32, none twice


def test_ctrl_c_anywhere_else_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def keyboard() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_config, "show_config", keyboard)
    assert run("info") == 130


# ---- predict ----


def test_predict(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained[0] / "weights.safetensors"
    _, test = data.mnist(subset=True)
    pixels = np.round(test.x[:20, 0] * 255).astype(np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    data.write_idx(tmp_path / "x-idx3-ubyte", pixels)
    image = pytest.importorskip("PIL.Image")
    image.fromarray(255 - pixels[0]).resize((56, 56)).save(tmp_path / "seven.png")

    model = models.lenet5()
    training.load_weights(model, weights)
    expected = model(test.x[:20]).argmax(axis=1).tolist()
    files = [tmp_path / "x.npy", tmp_path / "x-idx3-ubyte"]
    assert run("predict", *files, "--weights", weights, "--json") == 0
    results = json.loads(capsys.readouterr().out)
    assert [r["class"] for r in results] == expected * 2
    assert [r["index"] for r in results] == [*range(20)] * 2
    assert results[25]["file"] == str(files[1]) and 0.1 <= results[25]["probability"] <= 1

    assert run("predict", tmp_path / "seven.png", "--weights", weights, "--invert") == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{tmp_path / 'seven.png'}[0]: 7 (") and line.endswith(" %)\n")


def test_predict_takes_a_large_file_in_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (_, test) = models.lenet5(seed=0), data.mnist(subset=True)
    notes = {"model": "lenet5", "shape": [1, 28, 28], "classes": list("0123456789")}
    training.write_safetensors(tmp_path / "w", model.state_dict(), notes)
    np.save(tmp_path / "x.npy", np.round(test.x[:300, 0] * 255).astype(np.uint8))
    sizes, infer = [], nn.Graph.__call__

    def noting(self: nn.Graph, x: np.ndarray) -> Any:
        sizes.append(len(x))
        return infer(self, x)

    monkeypatch.setattr(nn.Graph, "__call__", noting)
    assert run("predict", tmp_path / "x.npy", "--weights", tmp_path / "w", "--json") == 0
    assert sizes == [256, 44]
    results = json.loads(capsys.readouterr().out)
    assert [r["index"] for r in results] == [*range(300)]
    expected = nn.Softmax()(model(test.x[:300])).max(axis=1)
    np.testing.assert_array_equal(np.float32([r["probability"] for r in results]), expected)


@pytest.mark.parametrize("content", [b"", b"nonsense" * 20, None])
def test_predict_with_bad_weights(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w"
    if content is None:
        training.save_weights(models.lenet5(), path)
    else:
        path.write_bytes(content)
    assert run("predict", "x.npy", "--weights", path) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"fastcnn: error: {path}: ") and err.count("\n") == 1


def test_predict_with_the_weights_of_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w"
    for model in ("lenet5", ["lenet5"], "os.system"):
        training.write_safetensors(path, models.dmlp().state_dict(), {"model": model})
        assert run("predict", "x.npy", "--weights", path) == 1
        assert "fastcnn: error: " in capsys.readouterr().err


# ---- the others ----


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("summary", "--model", "simple_convnet") == 0
    assert "433,890" in capsys.readouterr().out
    assert run("summary", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["parameters"] == 61706 and content["layers"][0]["name"] == "conv1"
    told = models.lenet5().summary((1, 28, 28)).training_bytes()
    assert content["training_bytes"] == told._asdict()


@pytest.mark.parametrize("name", models.list())
def test_summary_of_every_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("summary", "--json", "--model", name) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"] == name and content["parameters"] > 0


def test_memory_is_told_before_weights_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = recipes.Recipe.build

    def short(*args: Any, **options: Any) -> nn.Graph:
        if "init" not in options:
            raise MemoryError("too many weights")
        return build(*args, **options)

    monkeypatch.setattr(recipes.Recipe, "build", short)
    options = ["--model", "dmlp", "--subset", "--optimizer", "adam", "--output", tmp_path]
    assert run("train", *options) == 1
    out, err = capsys.readouterr()
    assert err == "fastcnn: error: too many weights\n"
    # 79,510 weights: 310.6 KiB, with two states each; 1,778 numbers an image, 32 of them, twice
    assert (
        "training with adam takes about 1.6 MiB: weights 311 KiB, gradients 311 KiB, "
        "optimizer 621 KiB, activations 222 KiB, their gradients 222 KiB\n"
    ) in out


@pytest.mark.parametrize("name", ["autoencoder", "fcn8s"])
def test_nets_that_do_not_classify(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = data.mnist(subset=True)
    monkeypatch.setattr(data, "mnist", lambda *args, **kwargs: (train[:64], test[:16]))
    if name == "fcn8s":  # a small one
        small = {"channels": (4, 4, 4, 4, 4), "hidden": 8}
        monkeypatch.setitem(recipes.RECIPES, name, recipes.RECIPES[name]._replace(options=small))
    moved = ["--augment", "flip", "crop"] if name == "fcn8s" else []  # the labels move along
    options = ["--model", name, *moved, "--epochs", 1, "--output", tmp_path]
    assert run("train", "--subset", *options) == 0
    text = capsys.readouterr().out
    last = text.splitlines()[-1]
    assert last.startswith("test loss ") and ("mean IoU 0." in last) == (name == "fcn8s")
    assert f"{name}: {recipes.TAUGHT[recipes.RECIPES[name].task]}" in text
    assert "accuracy" not in text and not (tmp_path / "confusion.png").exists()
    assert (tmp_path / "images.png").read_bytes().startswith(b"\x89PNG")
    assert run("predict", "--weights", tmp_path / "weights.safetensors", "x.png") == 1
    assert "tells no classes" in capsys.readouterr().err
    options = ["--epochs", 1, "--output", tmp_path / "json", "--json"]
    assert run("train", "--subset", "--model", name, *options) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # NaN is not JSON
    assert "test_accuracy" not in told and told["test_loss"] > 0


def test_segments_are_the_bright_pixels() -> None:
    x = np.zeros((2, 1, 2, 2), np.float32)
    x[1, 0, 0, 1] = 1
    taught = recipes.Taught(data.ArrayDataset(x, [3, 4]), "segment")
    assert taught.batch(slice(0, 2))[1].tolist() == [[[0, 0], [0, 0]], [[0, 5], [0, 0]]]
    a, b = recipes.Taught(data.ArrayDataset(x, [3, 4]), "autoencode").batch(slice(0, 2))
    assert np.array_equal(a, b) and not np.shares_memory(a, b)


def test_every_net_has_a_recipe_that_builds(capsys: pytest.CaptureFixture[str]) -> None:
    """With other channels, classes and sizes than it was published for."""
    assert {recipe.name for recipe in recipes.RECIPES.values()} == set(models.list())
    for name in ("lenet5", "simple_convnet", "dmlp", "resnet20", "densenet121", "googlenet"):
        recipe = recipes.RECIPES[name]
        shape = (2, recipe.size_for(17), recipe.size_for(17) + 9)
        net = recipe.build(shape, 7, init=nn.init.zeros())
        assert net.output_shape(shape) == (7,)
    assert run("models", "--json") == 0
    rows = {row["model"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["vgg16"]["parameters"] == 138_357_544
    assert run("models") == 0
    assert "138,357,544" in capsys.readouterr().out


def test_summary_of_a_shape(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("summary", "--model", "resnet20", "--shape", 1, 28, 28) == 0
    assert "Sequential on 1x28x28" in capsys.readouterr().out
    assert run("summary", "--model", "lenet5", "--shape", 3, 28, 28) == 0
    assert "on 3x28x28" in capsys.readouterr().out
    assert run("summary", "--model", "lenet5-1998", "--shape", 3, 28, 28) == 1
    assert "'relu' would fit" in capsys.readouterr().err


def test_bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "BENCH_SECONDS", 0.0)
    assert run("bench", "--batch-size", 4) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("lenet5, batch of 4, ")
    assert len(lines) == 2 + len(models.lenet5())
    assert run("bench", "--batch-size", 4, "--json", "--model", "dmlp") == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [t["layer"] for t in layers] == ["flat", "fc1", "relu1", "fc2"]
    assert all(t["forward_ms"] > 0 and t["backward_ms"] > 0 for t in layers)
    fc1 = layers[1]
    assert fc1["forward_gflops"] == pytest.approx(2 * 78400 * 4 / fc1["forward_ms"] / 1e6)


def test_info(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTCNN_DATA", "/nowhere/at/all")
    assert run("info") == 0
    text = capsys.readouterr().out
    assert "isa" in text and "threading" in text and "/nowhere/at/all (not there)" in text
    assert run("info", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["data folders"]["FASTCNN_DATA"] == "/nowhere/at/all"
    assert content["threads"] >= 1


def test_python_m_and_version() -> None:
    result = child("--version")
    assert result.returncode == 0 and result.stdout.startswith("fastcnn 0.")


def test_help_is_enough_to_train_any_net(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models by task, limits, schedules, files and examples; no line beyond 80 columns."""
    monkeypatch.setenv("COLUMNS", "82")
    with pytest.raises(SystemExit) as caught:
        run("train", "--help")
    assert caught.value.code == 0
    text = capsys.readouterr().out
    words = set(text.replace(",", " ").replace(":", " ").split())
    assert words >= set(recipes.RECIPES) and words >= set(cli.SCHEDULES)
    for name, recipe in recipes.RECIPES.items():
        named = text.split(f"\n  {recipe.task}: ")[1].split("\nlimits:")[0]
        assert name in named.replace(",", "").split()
    assert "lenet5-1998: ten classes" in text
    assert words >= {cli.WEIGHTS, cli.CHECKPOINT, cli.HISTORY, "curves.png", "filters.png",
                     "confusion.png", "images.png"}  # fmt: skip
    assert not [line for line in text.splitlines() if len(line) > 80]


def test_the_examples_of_the_help_are_commands(tmp_path: Path) -> None:
    parser = cli._parser()
    for command in "\n".join(guide.EXAMPLES.values()).replace("\\\n", "").splitlines():
        program, *arguments = command.replace("my/pictures", str(tmp_path)).split()
        assert program == "fastcnn" and parser.parse_args(arguments).run is not None


# ---- errors ----


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", "--epochs", "0"],
        ["train", "--epochs", "many"],
        ["train", "--model", "nonet"],
        ["train", "--data", "nowhere"],
        ["train", "--augment", "fly"],
        ["train", "--model", "autoencoder", "--augment", "flip"],
        ["train", "--seed", "-1"],
        ["train", "--bath-size", "3"],
        ["train", "--lr", "nan"],
        ["train", "--lr", "-1"],
        ["train", "--weight-decay", "inf"],
        ["train", "--momentum", "1"],
        ["train", "--validation", "1.5"],
        ["train", "--validation", "some"],
        ["train", "--patience", "2"],
        ["train", "--schedule", "sometimes"],
        ["train", "--schedule", "plateau"],
        ["predict", "x.png"],
        ["info", "--threads", "-1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Before any data are read or any folder is made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_load_data", None)
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert "usage: fastcnn" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_resume_keeps_the_options_and_refuses_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "dmlp", "--subset", "--batch-size", 100, "--lr", 0.02, "--seed", 3]
    options += ["--schedule", "constant", "--epochs", 1, "--output", tmp_path]
    assert run("train", *options) == 0
    folder = tmp_path
    before = (folder / "checkpoint.safetensors").read_bytes()
    capsys.readouterr()
    for name, value in (("--batch-size", 32), ("--lr", 0.05), ("--seed", 0), ("--model", "lenet5"),
                        ("--data", "kmnist"), ("--optimizer", "adam"), ("--validation", 0.1),
                        ("--schedule", "cosine"), ("--momentum", 0.5)):  # fmt: skip
        assert run("train", "--resume", "--output", folder, name, value, "--epochs", 2) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1
        assert err.startswith(f"fastcnn: error: {name}: got {value}, but the checkpoint in ")
    assert (folder / "checkpoint.safetensors").read_bytes() == before
    assert run("train", "--resume", "--output", folder, "--epochs", 2, "--batch-size", 100) == 0
    notes = training.load_checkpoint(folder / "checkpoint.safetensors")["notes"]
    assert (notes["batch_size"], notes["lr"], notes["seed"], notes["epochs"]) == (100, 0.02, 3, 2)
    assert notes["model"] == "dmlp" and notes["schedule"] == "constant" and notes["subset"] is True


@pytest.mark.parametrize("spoil", [{"model": "nonet"}, {"seed": "0"}, {"more": 1}, None])
def test_resume_of_a_checkpoint_of_another_program(
    spoil: dict[str, Any] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = {**cli.DEFAULTS, "lr": 0.1, **spoil} if spoil else None
    runs.trainer().save_checkpoint(tmp_path / cli.CHECKPOINT, notes)
    assert run("train", "--resume", "--output", tmp_path) == 1
    assert "expected a checkpoint that `fastcnn train` wrote" in capsys.readouterr().err


def test_resume_without_a_checkpoint_makes_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run("train", "--resume", "--output", folder) == 1
    out, err = capsys.readouterr()
    assert err == f"fastcnn: error: no checkpoint in {folder}; leave --resume out to start\n"
    assert out == "" and not folder.exists()


def test_a_missing_image(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none.png"
    assert run("predict", path, "--weights", trained[0] / "weights.safetensors") == 1
    assert capsys.readouterr().err == f"fastcnn: error: {path}: No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--subset", "--data", "kmnist"], "--subset: only mnist has one"),
        (["--data", "kmnist", "--offline", "--data-folder", "."], "kmnist: no source has the data"),
        (["--subset", "--resume"], "out; leave --resume out to start"),
        (["--subset", "--lr", "1e9"], "the loss is "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_1(
    arguments: list[str], message: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("FASTCNN_DATA", raising=False)
    output = tmp_path / "out"
    assert run("train", "--model", "dmlp", "--epochs", "1", "--output", output, *arguments) == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith("fastcnn: error: ") and message in err[-1]
    assert not any("Traceback" in line for line in err)


def test_the_output_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run("train", "--subset", "--output", tmp_path / "file") == 1
    assert "file" in capsys.readouterr().err


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [m for m in sys.modules if m.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    options = ["--model", "dmlp", "--subset", "--epochs", 1, "--output", tmp_path]
    assert run("train", *options) == 0
    assert 'pictures need matplotlib: pip install "fastcnn[viz]"' in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_reader_that_goes_away() -> None:
    """`fastcnn summary | true` ends quietly."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from fastcnn import cli; time.sleep(0.3);"
         "sys.exit(cli.main(['summary']))"],
        env=runs.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait()


def test_an_error_in_a_net_names_the_layer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = nn.Sequential(flat=nn.Flatten(), fc=nn.Linear(4, 2, seed=0))
    monkeypatch.setattr(cli, "_bare", lambda options: net(np.zeros((1, 1, 3, 3), np.float32)))
    assert run("summary") == 1
    err = capsys.readouterr().err
    assert err.startswith("fastcnn: error: Linear: expected x of 4 features, got x.shape=(1, 9)")
    assert err.endswith("(in layer 'fc', Linear(4, 2))\n")
