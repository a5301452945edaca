"""The command on one's own pictures: folders and zips, what is learned of them, what is refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from fastcnn import cli
from fastcnn.cli import recipes


def run(*arguments: object) -> int:
    return cli.main([str(a) for a in arguments])


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Folders train and test with bright and dark pictures of 20x20."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 3)):
        for name, base in (("bright", 180), ("dark", 20)):
            folder = tmp_path / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = base + rng.integers(0, 60, (20, 20, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def test_own_pictures_are_learned_and_told(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--data",
        pictures,
        "--epochs",
        3,
        "--batch-size",
        4,
        "--augment",
        "crop",
        "flip",
        "rotate",
    ]
    out = tmp_path / "run"
    assert run("train", "--model", "resnet20", *options, "--output", out) == 0
    text = capsys.readouterr().out
    assert "20 training and 6 test images" in text and "on 3x20x20" in text
    assert text.splitlines()[-1].startswith("test accuracy ")
    picture = pictures / "test" / "dark" / "0.png"
    assert run("predict", "--weights", out / "weights.safetensors", picture) == 0
    assert capsys.readouterr().out.split(": ")[1].startswith(("dark (", "bright ("))
    assert run("train", "--output", out, "--resume", "--epochs", 4) == 0
    assert "epoch 4/4" in capsys.readouterr().out


def test_pictures_without_a_test_folder_are_split_and_resized(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", pictures / "train", "--size", 24, "--epochs", 1, "--output", tmp_path]
    assert run("train", "--model", "lenet5", *options) == 0
    text = capsys.readouterr().out
    assert "16 training and 4 test images" in text and "on 3x24x24" in text
    assert f"from {pictures / 'train'}, read in colour" in text
    assert run("train", "--model", "vgg11", "--data", pictures / "test" / "dark") == 1
    assert "fastcnn: error: " in capsys.readouterr().err


def test_pictures_keep_their_colours_where_the_net_can_see_them(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    options = ["--size", 28, "--epochs", 1, "--output", tmp_path / "run"]
    for path in pictures.glob("train/*/*.png"):
        with Image.open(path) as picture:
            picture.convert("L").save(path)
    # the net's channels are those of the training pictures, of the test ones too
    assert run("train", "--model", "dmlp", "--data", pictures, *options) == 0
    text = capsys.readouterr().out
    assert "read in grey" in text and "on 1x28x28" in text
    assert run("train", "--model", "dmlp", "--data", pictures / "test", *options) == 0
    text = capsys.readouterr().out
    assert "read in colour" in text and "on 3x28x28" in text
    assert [r.channels for r in recipes.RECIPES.values() if r.shape[0] == 1] == [
        1 if name == "lenet5-1998" else None
        for name, r in recipes.RECIPES.items() if r.shape[0] == 1
    ]  # fmt: skip


def _spoil(folder: Path, how: str) -> None:
    """A folder of two classes, made such that it cannot be learned."""
    from PIL import Image

    dark = folder / "dark"
    if how == "sizes":
        Image.new("RGB", (9, 7)).save(dark / "1.png")
    elif how == "corrupt":
        (dark / "1.png").write_bytes(b"nonsense")
    elif how == "one class":
        shutil.rmtree(dark)
    elif how == "empty":
        shutil.rmtree(dark)
        shutil.rmtree(folder / "bright")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("sizes", "dark/1.png: expected 20x20 like bright/0.png, got 7x9; --size N would make"),
        ("corrupt", "dark/1.png"),
        ("one class", "expected 2 classes or more, each a folder of pictures, got bright"),
        ("empty", "expected <class>/<picture>, found none"),
    ],
)
def test_pictures_that_cannot_be_read_say_why(
    how: str, message: str, zipped: bool, pictures: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = pictures / "test"
    _spoil(folder, how)
    if zipped:
        folder = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", folder))
    assert run("train", "--data", folder, "--output", tmp_path / "run") == 1
    err = capsys.readouterr().err
    assert err.startswith(f"fastcnn: error: {folder}: ") and err.count("\n") == 1
    assert message in err and "subfolder" not in err
    if how == "sizes":
        options = ["--size", 20, "--epochs", 1, "--output", tmp_path / "run"]
        assert run("train", "--data", folder, *options) == 0


def test_pictures_in_a_folder_of_a_folder(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that lies too high is refused; a zip of one, as file managers make it, is read."""
    assert run("train", "--data", pictures.parent, "--output", tmp_path / "run") == 1
    assert "expected <class>/<picture>, found none" in capsys.readouterr().err
    path = shutil.make_archive(str(tmp_path / "zipped"), "zip", pictures.parent, pictures.name)
    options = ["--data", path, "--epochs", 1, "--output", tmp_path / "run"]
    assert run("train", "--model", "dmlp", *options) == 0
    assert "20 training and 6 test images" in capsys.readouterr().out
