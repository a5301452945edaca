"""image_folder: folders and zips of pictures, what is passed over, and what is refused."""

import io
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastcnn import data
from fastcnn.data import folder as module


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def picture(seed: int, size: tuple[int, int] = (6, 5)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


# Not in the order of their names, as a file system may give them.
PICTURES = {f"{c}/{i}.png": picture(10 * k + i) for k, c in enumerate("ba") for i in (2, 1, 0)}


def place(where: Path, files: dict[str, bytes], kind: str) -> Path:
    """The files in a folder or in a zip file."""
    if kind == "zip":
        path = where / "pictures.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (where / "f" / name).parent.mkdir(parents=True, exist_ok=True)
        (where / "f" / name).write_bytes(content)
    return where / "f"


@pytest.fixture(params=["folder", "zip"])
def make(request, tmp_path):
    return lambda files: place(tmp_path, files, request.param)


@pytest.mark.parametrize("split", [None, "train"])
def test_pictures_labels_and_classes(make, split):
    prefix = f"{split}/" if split else ""
    files = {prefix + name: png(pixels) for name, pixels in PICTURES.items()}
    path = make({**files, "other/train/a/9.png": b"not looked at"})
    dataset = data.image_folder(path, split)
    names = sorted(PICTURES)
    expected = np.stack([PICTURES[name].transpose(2, 0, 1) for name in names])
    assert dataset.classes == ("a", "b") and dataset.source == str(path)
    np.testing.assert_array_equal(dataset.y, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(dataset.x, np.divide(expected, np.float32(255)))
    assert dataset._x.dtype == np.uint8


def test_grey_and_transform(make):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    deep = np.full((3, 4), 65535, np.uint16)
    path = make({"a/0.png": png(grey), "a/1.png": png(deep), "b/2.png": png(picture(0, (3, 4)))})
    x = data.image_folder(path, channels=1, transform=lambda x: x * 255).x
    assert x.shape == (3, 1, 3, 4)
    np.testing.assert_allclose(x[0, 0], grey, atol=1e-5)
    assert (x[1] == 255).all()
    rgb = data.image_folder(path).x
    assert rgb.shape == (3, 3, 3, 4) and (rgb[0, 0] == rgb[0, 2]).all() and (rgb[1] == 1).all()


def test_size(make):
    files = {"a/0.png": png(picture(0, (8, 8))), "a/1.png": png(picture(1, (4, 6)))}
    path = make(files)
    with pytest.raises(ValueError, match=r"a/1\.png: expected 8x8 like a/0\.png, got 4x6; size="):
        data.image_folder(path)
    assert data.image_folder(path, size=(4, 6)).x.shape == (2, 3, 4, 6)
    assert data.image_folder(path, size=5).x.shape == (2, 3, 5, 5)


def test_what_is_no_picture_is_passed_over(make):
    extra = (
        "a/notes.txt",
        "a/.hidden.png",
        ".git/x.png",
        "__MACOSX/0.png",
        "0.png",
        "a/deep/0.png",
    )
    dataset = data.image_folder(
        make({**{name: b"no picture" for name in extra}, "a/0.PNG": png(picture(0))})
    )
    assert len(dataset) == 1 and dataset.classes == ("a",)


@pytest.mark.parametrize("split", [None, "train"])
def test_a_zip_of_one_folder(split, tmp_path):
    """As file managers make it: everything is in a folder, beside which are hidden things."""
    prefix = f"flowers/{split}/" if split else "flowers/"
    files = {prefix + name: png(pixels) for name, pixels in PICTURES.items()}
    beside = ("__MACOSX/flowers/a/._0.png", "flowers/.DS_Store", "flowers/read.txt", "read.txt")
    path = place(tmp_path, {**files, **dict.fromkeys(beside, b"no picture")}, "zip")
    dataset = data.image_folder(path, split)
    assert dataset.classes == ("a", "b") and len(dataset) == 6


def test_nothing_found(make):
    path = make({"train/a/0.png": png(picture(0)), "0.png": b"beside it"})
    with pytest.raises(ValueError, match=r"expected <class>/<picture>, found none; split='train'"):
        data.image_folder(path)
    with pytest.raises(ValueError, match=r"test"):
        data.image_folder(path, "test")
    for split in ("", "..", "a/b"):
        with pytest.raises(ValueError, match="split to name a subfolder"):
            data.image_folder(path, split)


def test_bounds(make, monkeypatch):
    path = make({name: png(pixels) for name, pixels in PICTURES.items()})
    with pytest.raises(ValueError, match=r"6 pictures of \(3, 6, 5\) need more than max_bytes=539"):
        data.image_folder(path, max_bytes=6 * 90 - 1)
    assert len(data.image_folder(path, max_bytes=6 * 90)) == 6
    with pytest.raises(ValueError, match=r"a/0\.png: .* more than 29 pixels"):
        data.image_folder(path, max_pixels=29)
    monkeypatch.setattr(module, "_MAX_FILE", 50)
    with pytest.raises(ValueError, match=r"a.0\.png: .*expected at most 50"):
        data.image_folder(path)


@pytest.mark.parametrize("size", [(0, 4), (4,), (2**16, 2**16), 2**16, "8x8", 2.5])
def test_bad_options(tmp_path, size):
    with pytest.raises(ValueError, match="expected size"):
        data.image_folder(tmp_path, size=size)
    with pytest.raises(ValueError, match="channels of 1, 3 or None"):
        data.image_folder(tmp_path, channels=2)
    with pytest.raises(FileNotFoundError):
        data.image_folder(tmp_path / "nothing")


def test_damaged_files_are_named(make):
    with pytest.raises(ValueError, match=r"a/0\.png: expected a picture"):
        data.image_folder(make({"a/0.png": b"no picture"}))


def test_without_pillow(make, monkeypatch):
    path = make({"a/0.png": png(picture(0))})
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "fastcnn\[data\]"'):
        data.image_folder(path)


@given(st.data())
def test_damaged_zips_give_value_errors(tmp_path_factory, draw):
    path = place(tmp_path_factory.getbasetemp(), {n: png(p) for n, p in PICTURES.items()}, "zip")
    content = bytearray(path.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    path.write_bytes(content[: draw.draw(st.integers(0, len(content)))])
    try:
        dataset = data.image_folder(path)
    except ValueError as error:
        assert path.name in str(error)
    else:
        assert dataset.x.shape[1:] == (3, 6, 5)


@pytest.mark.parametrize("first", ["L", "RGB"])
def test_channels_follow_the_files(first: str, tmp_path: Path) -> None:
    """Three as soon as one picture has colours; grey ones have it in each."""
    from PIL import Image

    other = "L" if first == "RGB" else "RGB"
    for name, mode in (("a", first), ("b", first), ("c", other)):
        (tmp_path / name).mkdir()
        Image.new(mode, (2, 2), 100 if mode == "L" else (0, 50, 200)).save(
            tmp_path / name / "0.png"
        )
    x = data.image_folder(tmp_path, channels=None).x
    grey, colour = np.float32([100, 100, 100]) / 255, np.float32([0, 50, 200]) / 255
    expected = [grey, grey, colour] if first == "L" else [colour, colour, grey]
    assert np.array_equal(x[:, :, 1, 0], expected)
    shutil.rmtree(tmp_path / ("c" if first == "L" else "a"))
    if first == "L":
        assert data.image_folder(tmp_path, channels=None).x.shape == (2, 1, 2, 2)
