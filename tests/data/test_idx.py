"""The IDX reader: every array comes back, and no hostile file gets more than a ValueError."""

import gzip
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcnn.data import read_idx, write_idx
from fastcnn.data.idx import content_sha256, read_idx_images, read_idx_labels

DTYPES = ["uint8", "int8", "int16", "int32", "float32", "float64"]


def idx(shape: tuple[int, ...], payload: bytes, code: int = 0x08) -> bytes:
    """The bytes of an IDX file, right or wrong."""
    return bytes((0, 0, code, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + payload


@pytest.fixture
def write(tmp_path: Path):
    """Writes bytes to a file and returns its path."""

    def _write(content: bytes, name: str = "file.idx") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return _write


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(0,), (5,), (3, 4), (2, 0, 4), (2, 3, 4, 5)])
def test_round_trip(tmp_path, rng, dtype, shape, suffix):
    a = rng.integers(0, 100, shape).astype(dtype)
    path = tmp_path / f"a.idx{suffix}"
    write_idx(path, a)
    b = read_idx(path, dtype=dtype, ndim=len(shape))
    assert b.dtype == a.dtype and b.dtype.isnative and b.flags.c_contiguous and b.flags.writeable
    np.testing.assert_array_equal(b, a)
    if a.size:  # the comparison can fail
        b.flat[-1] += 1
        assert not np.array_equal(b, a)


def test_elements_are_big_endian_whatever_comes_in(tmp_path):
    for a in (
        np.array([1, 258], ">i2"),
        np.array([1, 258], "<i2"),
        np.array([1, 0, 258], "i2")[::2],
    ):
        write_idx(tmp_path / "a", a)
        assert (tmp_path / "a").read_bytes() == idx((2,), b"\x00\x01\x01\x02", 0x0B)


def test_writer_is_reproducible(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_idx(tmp_path / name, np.arange(9, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("a", [np.zeros(3, complex), np.zeros(3, bool), np.array(["a"])])
def test_writer_refuses_dtypes(tmp_path, a):
    with pytest.raises(ValueError, match="expected an array of uint8"):
        write_idx(tmp_path / "a", a)


@pytest.mark.parametrize("shape", [(), (1,) * 9])
def test_writer_refuses_dimensions(tmp_path, shape):
    with pytest.raises(ValueError, match=r"expected 1\.\.8 dimensions"):
        write_idx(tmp_path / "a", np.zeros(shape, np.uint8))


def test_content_sha256_is_that_of_the_plain_file(tmp_path, rng):
    import hashlib

    for shape in ((4, 5), (0, 5)):
        a = rng.integers(0, 9, shape, dtype=np.int16)
        write_idx(tmp_path / "a", a)
        assert content_sha256(a) == hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()


CORRUPT = {
    "empty": (b"", "two zero bytes"),
    "short magic": (b"\0\0\x08", "two zero bytes"),
    "bad magic": (b"\x89PNG\r\n\x1a\n", "two zero bytes"),
    "unknown type": (idx((1,), b"\0", 0x0A), "type code"),
    "no dimensions": (idx((), b"\0"), r"1\.\.8 dimensions"),
    "too many dimensions": (idx((1,) * 9, b"\0"), r"1\.\.8 dimensions"),
    "truncated header": (idx((2, 2), b"")[:-1], "truncated in the header"),
    "truncated": (idx((2, 2), b"abc"), "truncated: expected 4 bytes .*got 3"),
    "trailing": (idx((2, 2), b"abcde"), "bytes after the end: expected 4"),
    "huge": (idx((2**31, 2**31, 2**31), b"abc"), "needs more than"),
    "huge but for a zero": (idx((0, 2**32 - 1, 2**32 - 1), b""), "needs more than"),
    "huge within the limit": (idx((2**30,), b"abc"), "truncated: .*got 3"),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CORRUPT)
def test_corrupt_files(write, kind, zipped):
    content, message = CORRUPT[kind]
    path = write(gzip.compress(content) if zipped else content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


def test_expectations(write):
    path = write(idx((2, 2), b"abcd"))
    with pytest.raises(ValueError, match="expected elements of float32, got uint8"):
        read_idx(path, dtype=np.float32)
    with pytest.raises(ValueError, match="expected 3 dimensions, got 2"):
        read_idx(path, ndim=3)
    with pytest.raises(ValueError, match="needs more than 3 bytes"):
        read_idx(path, max_bytes=3)
    assert read_idx(path, max_bytes=4).shape == (2, 2)
    with pytest.raises(FileNotFoundError):
        read_idx(path.with_name("none"))


def test_damaged_gzip(write):
    good = gzip.compress(idx((1000,), bytes(range(250)) * 4))
    crc = bytearray(good)
    crc[-5] ^= 1
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    for bad in (good[:-1], good[: len(good) // 2], good[:5], good + b"x", crc, flipped):
        with pytest.raises(ValueError, match=r"file\.idx: "):
            read_idx(write(bytes(bad)))
    assert read_idx(write(good)).size == 1000


@pytest.mark.parametrize("declared", [10, 2**29], ids=["says little", "says much"])
def test_gzip_bomb_takes_no_memory(write, declared):
    """300 MB of zeros in 300 KB: neither is decompressed whole nor allocated by its word."""
    zeros = 10 if declared == 2**29 else 300 * 2**20
    path = write(gzip.compress(idx((declared,), bytes(zeros)), 1))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"bytes after the end|truncated"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_images_and_labels(write):
    assert read_idx_images(write(idx((1, 2, 2), b"abcd"))).shape == (1, 2, 2)
    with pytest.raises(ValueError, match="at least 1x1"):
        read_idx_images(write(idx((3, 0, 2), b"")))
    with pytest.raises(ValueError, match="expected 3 dimensions"):
        read_idx_images(write(idx((4,), b"abcd")))
    assert read_idx_labels(write(idx((3,), b"\0\x09\x01"))).tolist() == [0, 9, 1]
    with pytest.raises(ValueError, match=r"labels in 0\.\.9, got 10 at 1"):
        read_idx_labels(write(idx((3,), b"\0\x0a\xff")))
    assert read_idx_labels(write(idx((3,), b"\0\x0a\xff")), 256).max() == 255
    assert read_idx_labels(write(idx((0,), b""))).shape == (0,)


HEADER = st.builds(
    lambda code, dims, rest: (
        bytes((0, 0, code, len(dims) % 256)) + struct.pack(f">{len(dims)}I", *dims) + rest
    ),
    st.sampled_from([0, 7, 8, 9, 11, 12, 13, 14, 255]),
    st.lists(st.one_of(st.integers(0, 4), st.integers(0, 2**32 - 1)), max_size=10),
    st.binary(max_size=300),
)


@given(st.one_of(st.binary(max_size=200), HEADER), st.booleans(), st.integers(0, 12))
def test_any_bytes_give_an_array_or_a_value_error(tmp_path_factory, content, zipped, cut):
    if zipped:
        content = gzip.compress(content)
        content = content[: len(content) - cut]
    path = tmp_path_factory.getbasetemp() / "fuzz.idx"
    path.write_bytes(content)
    try:
        array = read_idx(path)
    except ValueError as error:
        assert "fuzz.idx" in str(error)
    else:
        assert array.nbytes <= 300 and 1 <= array.ndim <= 8
