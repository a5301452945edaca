"""Pictures from files: values, channels, sizes, and damaged or dangerous files."""

import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastcnn.data import read_images, write_idx


@pytest.fixture
def save(tmp_path):
    """Saves an array as a picture and returns its path."""

    def _save(pixels, name="a.png", **options):
        path = tmp_path / name
        Image.fromarray(np.asarray(pixels)).save(path, **options)
        return path

    return _save


def test_grey(save, rng):
    pixels = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    for name in ("a.png", "a.PNG", "a.bmp", "a.pgm"):
        x = read_images(save(pixels, name))
        assert x.dtype == np.float32 and x.shape == (1, 1, 5, 7)
        np.testing.assert_array_equal(x[0, 0], pixels / np.float32(255))
    x = read_images(save(pixels), channels=3)
    np.testing.assert_array_equal(x[0], np.stack([pixels / np.float32(255)] * 3))
    np.testing.assert_array_equal(read_images(save(pixels), invert=True)[0, 0], 1 - x[0, 0])


def test_colour(save, rng):
    pixels = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = save(pixels)
    x = read_images(path, channels=3)
    np.testing.assert_array_equal(x[0], pixels.transpose(2, 0, 1) / np.float32(255))
    grey = read_images(path)
    expected = (pixels.astype(float) / 255) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[0, 0], expected, rtol=0, atol=1e-6)
    assert grey.max() > grey.min()


def test_other_modes(tmp_path):
    deep = np.array([[0, 65535], [32768, 1]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(
        read_images(tmp_path / "deep.png")[0, 0], deep / np.float32(65535)
    )
    Image.fromarray(np.eye(3) > 0).save(tmp_path / "bits.png")
    np.testing.assert_array_equal(read_images(tmp_path / "bits.png")[0, 0], np.eye(3))
    palette = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("P")
    palette.save(tmp_path / "palette.gif")
    np.testing.assert_allclose(read_images(tmp_path / "palette.gif")[0, 0], [[0, 1]], atol=1e-6)
    x = np.full((16, 16), 200, np.uint8)
    Image.fromarray(x).save(tmp_path / "a.jpg")
    np.testing.assert_allclose(read_images(tmp_path / "a.jpg"), 200 / 255, atol=0.02)


def test_transparent_parts_are_white(save):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0, 3] = 255  # one black dot on nothing
    np.testing.assert_allclose(read_images(save(rgba))[0, 0], [[0, 1], [1, 1]], atol=1e-6)


def test_exif_rotation(save):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter to the right
    path = save(np.array([[0, 85, 170]], np.uint8), exif=exif)
    np.testing.assert_array_equal(
        read_images(path)[0, 0], np.float32([[0], [85], [170]]) / np.float32(255)
    )


def test_sizes(save, rng):
    a = save(rng.integers(0, 256, (8, 8), dtype=np.uint8), "a.png")
    b = save(rng.integers(0, 256, (6, 8), dtype=np.uint8), "b.png")
    assert read_images([a, a]).shape == (2, 1, 8, 8)
    with pytest.raises(ValueError, match=r"b\.png: expected 8x8 like .*a\.png, got 6x8; size="):
        read_images([a, b])
    x = read_images([a, b], size=(8, 8), channels=3)
    assert x.shape == (2, 3, 8, 8)
    np.testing.assert_array_equal(x[:1], read_images(a, channels=3))
    halves = read_images(save(np.repeat([[0, 255]], 2, 0).astype(np.uint8)), size=(1, 1))
    np.testing.assert_allclose(halves, 0.5, atol=1e-6)  # shrinking averages
    assert read_images(a, size=(3, 5)).shape == (1, 1, 3, 5)
    assert read_images(a, size=3).shape == (1, 1, 3, 3)


def test_arrays(tmp_path, rng):
    path = tmp_path / "a.npy"
    for shape, full in (((4, 5), (1, 1, 4, 5)), ((3, 4, 5), (3, 1, 4, 5)), ((2, 3, 4, 5),) * 2):
        a = rng.integers(0, 256, shape, dtype=np.uint8)
        np.save(path, a)
        write_idx(tmp_path / "a.gz", a)
        for file in (path, tmp_path / "a.gz"):
            x = read_images(file, channels=full[1])
            np.testing.assert_array_equal(x, a.reshape(full) / np.float32(255))
    for dtype in ("float32", "float64", "float16"):
        np.save(path, np.full((2, 2), -3, dtype))
        assert read_images(path).dtype == np.float32 and read_images(path).max() == -3
    np.save(path, np.asfortranarray(np.array([[0, 65535], [1, 2]], np.uint16)))
    np.testing.assert_array_equal(
        read_images(path)[0, 0], np.float32([[0, 65535], [1, 2]]) / np.float32(65535)
    )
    np.save(
        path,
        np.zeros((0, 4, 4), np.float32),
    )
    with pytest.raises(ValueError, match=r"a\.npy"):
        read_images(path)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros(4, np.uint8), r"shape \(H, W\)"),
        (np.zeros((1, 1, 1, 4, 4), np.uint8), r"shape \(H, W\)"),
        (np.zeros((4, 4), np.int64), "unsigned integers"),
        (np.zeros((4, 4), complex), "unsigned integers"),
        (np.zeros((1, 2, 4, 4), np.uint8), "1 or 3 channels, got 2"),
        (np.zeros((100, 100), np.uint8), "more than 99 pixels"),
        (np.array([[None]]), "numbers"),
    ],
)
def test_arrays_that_are_no_pictures(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message) as error:
        read_images(tmp_path / "a.npy", max_pixels=99)
    assert "a.npy" in str(error.value)


def test_npy_with_a_huge_promise(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d, 1000), }" % 10**6
    for content in (header, header.replace(b"1000000", b"-1"), header[:-30], b"[" * 9000):
        padded = content.ljust(200) + b"\n"
        (tmp_path / "a.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + b"abc"
        )
        with pytest.raises(ValueError, match=r"a\.npy: expected a \.npy file"):
            read_images(tmp_path / "a.npy")


def png_of(width: int, height: int, body: bytes = b"") -> bytes:
    """A PNG that declares a size and holds `body`."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", body) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + end


@pytest.mark.parametrize("side", [6000, 12000, 40000, 2**31 - 1])
def test_decompression_bomb(tmp_path, side):
    """Refused by the size in its header, below, between and above Pillow's own two limits."""
    (tmp_path / "bomb.png").write_bytes(png_of(side, side, zlib.compress(bytes(1000))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"bomb\.png: expected a picture"):
            read_images(tmp_path / "bomb.png")


def test_no_pictures(tmp_path, save):
    good = save(np.zeros((20, 20), np.uint8)).read_bytes()
    for content in (
        b"",
        b"hello",
        good[: len(good) // 2],
        png_of(9, 9, b"junk"),
        b"%!PS-Adobe-3.0",
    ):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.png: expected a picture"):
            read_images(tmp_path / "bad.png")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "named.png").write_bytes(b"\0\0\x08\x02\0\0\0\x01\0\0\0\x01\xff")
    assert read_images(tmp_path / "named.png").tolist() == [[[[1.0]]]]  # IDX under another name
    with pytest.raises(ValueError, match=r"a\.txt: expected a picture \(PNG, JPEG, .*\.npy or IDX"):
        read_images(tmp_path / "a.txt")
    for name in ("none.png", "none.npy", "none"):
        with pytest.raises(FileNotFoundError):
            read_images(tmp_path / name)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"channels": 2}, "channels of 1 or 3"),
        ({"size": (0, 5)}, "expected size"),
        ({"size": (5,)}, "expected size"),
        ({"size": "5x5"}, "expected size"),
        ({"size": (2**16, 2**16)}, "expected size"),
    ],
)
def test_bad_options(save, options, message):
    with pytest.raises(ValueError, match=message):
        read_images(save(np.zeros((2, 2), np.uint8)), **options)
    with pytest.raises(ValueError, match="at least one file"):
        read_images([])


def test_without_pillow(save, tmp_path, monkeypatch):
    path = save(np.zeros((2, 2), np.uint8))
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.uint8))
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "fastcnn\[data\]"'):
        read_images(path)
    assert read_images(tmp_path / "a.npy").shape == (1, 1, 2, 2)
    with pytest.raises(ImportError, match="Pillow"):
        read_images(tmp_path / "a.npy", size=(4, 4))


@given(st.sampled_from(["png", "jpg", "gif", "bmp", "npy", "idx"]), st.data())
def test_damaged_files_give_value_errors(tmp_path_factory, kind, data):
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    if kind == "npy":
        np.save(path, pixels)
    elif kind == "idx":
        write_idx(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        x = read_images(path, channels=3)
    except ValueError as error:
        assert path.name in str(error)
    else:
        assert x.dtype == np.float32 and x.ndim == 4
