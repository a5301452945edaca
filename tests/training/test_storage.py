"""Atomic writes and safetensors files: round trips, killed writers, hostile files."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runs
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from fastcnn.training import atomic_write, read_safetensors, write_safetensors

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {f"a.{d}": (rng.random((3, 5)) * 100).astype(d) for d in DTYPES}
    return {**arrays, "scalar": np.array(2.5), "empty": np.zeros((0, 4), np.float32)}


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(got) == set(expected)
    for name, array in expected.items():
        assert got[name].dtype == array.dtype and got[name].shape == array.shape
        assert got[name].tobytes() == array.tobytes()


def test_round_trip_of_every_dtype(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "f", sample(), {"epoch": 3, "big": 2**100})
    arrays, meta = read_safetensors(tmp_path / "f")
    assert_same(arrays, sample())
    assert meta == {"epoch": 3, "big": 2**100}
    arrays["scalar"][...] = 0  # the result may be written to


def test_the_library_reads_ours(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "f", sample())
    assert_same(load_file(tmp_path / "f"), sample())


def test_we_read_the_library_s(tmp_path: Path) -> None:
    save_file(sample(), tmp_path / "f")
    arrays, meta = read_safetensors(tmp_path / "f")
    assert_same(arrays, sample())
    assert meta is None


def test_layouts_and_byte_orders(tmp_path: Path) -> None:
    base = np.arange(24, dtype=np.float32).reshape(4, 6)
    views = {"T": base.T, "strided": base[::2, ::-1], "big": base.astype(">f4")}
    write_safetensors(tmp_path / "f", views)
    arrays, _ = read_safetensors(tmp_path / "f")
    for name, view in views.items():
        np.testing.assert_array_equal(arrays[name], view)


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot store 'c' of dtype complex128"):
        write_safetensors(tmp_path / "f", {"c": np.zeros(1, complex)})
    with pytest.raises(TypeError, match="cannot store 'o' of dtype object"):
        write_safetensors(tmp_path / "f", {"o": np.array([None])})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_safetensors(tmp_path / "f", {}, {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


# ---- atomic writes ----


def test_a_failing_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def fail(file: Any) -> None:
        file.write(b"half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_flushes_file_and_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order: data to the disk, then the rename, then the folder."""
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def log_fsync(fd: int) -> None:
        import stat

        events.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        fsync(fd)

    def log_replace(a: Any, b: Any) -> None:
        events.append("rename")
        replace(a, b)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(os, "replace", log_replace)
    atomic_write(tmp_path / "f", lambda file: file.write(b"x"))
    assert events == (["file", "rename", "folder"] if os.name == "posix" else ["file", "rename"])


def test_atomic_write_follows_links_and_keeps_the_umask(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real / "f")
    atomic_write(tmp_path / "link", lambda file: file.write(b"x"))
    assert (tmp_path / "link").is_symlink() and (real / "f").read_bytes() == b"x"
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert (real / "f").stat().st_mode == plain.stat().st_mode


def test_threads_may_write_the_same_file(tmp_path: Path) -> None:
    """Both in the middle of their writing at once; each has a temporary file of its own."""
    both, failed = threading.Barrier(2, timeout=10), []

    def write(text: bytes) -> None:
        def halves(file: Any) -> None:
            file.write(text)
            both.wait()
            file.write(text)

        try:
            atomic_write(tmp_path / "f", halves)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in (b"long" * 9, b"short")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() in (b"long" * 18, b"short" * 2)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "no" / "f", lambda file: file.write(b"x"))


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    """Killed at any moment, a writer leaves one of the versions it wrote, never a mixture."""
    code = """
        import sys
        import numpy as np
        from fastcnn.training import write_safetensors
        version = 0
        while True:
            arrays = {f"a{i}": np.full(50_000, version, np.int64) for i in range(8)}
            write_safetensors(sys.argv[1], arrays, version)
            if version == 0:
                print("ready", flush=True)
            version += 1
    """
    path, rng = tmp_path / "f", np.random.default_rng(1)
    versions = set()
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path)],
            stdout=subprocess.PIPE,
            env=runs.ENVIRONMENT,
        )
        assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.02, 0.2))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        arrays, version = read_safetensors(path)
        assert len(arrays) == 8
        assert all((a == version).all() for a in arrays.values())
        versions.add(version)
    assert max(versions) > 0


# ---- hostile files ----


def raw(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def one(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


A = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "empty": (b"", "at least 8 bytes"),
    "short": (b"1234", "at least 8 bytes"),
    "header beyond the file": (raw({}, length=100), "claims 100 bytes"),
    "header of 2**63": (raw({}, length=2**63), "claims"),
    "no JSON": (raw(b"{nonsense"), "malformed header"),
    "not UTF-8": (raw(b'{"\xff":1}'), "malformed header"),
    "a list": (raw([1, 2]), "malformed header"),
    "a number": (raw(b"7"), "malformed header"),
    "deep": (raw(b"[" * 100_000), "malformed header"),
    "huge integer": (raw(b'{"a":' + b"9" * 5000 + b"}"), "safetensors"),
    "entry no object": (raw({"a": 5}), "malformed header"),
    "entry without dtype": (raw({"a": {"shape": [], "data_offsets": [0, 0]}}), "malformed header"),
    "unknown dtype": (raw(one("BF16", (2,), (0, 4)), bytes(4)), "dtype 'BF16'"),
    "dtype a list": (raw(one(["F32"]), bytes(8)), "malformed header"),
    "pickled dtype": (raw(one("O"), bytes(8)), "dtype 'O'"),
    "shape no list": (raw({"a": {**A, "shape": 2}}, bytes(8)), "expected a list"),
    "shape negative": (raw(one(shape=(-2,)), bytes(8)), "-2 where a size"),
    "shape float": (raw(one(shape=(2.0,)), bytes(8)), "2.0 where a size"),
    "shape boolean": (raw(one(shape=(True, 2)), bytes(8)), "True where a size"),
    "shape overflows": (raw(one(shape=(2**40, 2**40)), bytes(8)), "does not fill"),
    "shape of 2**62": (raw(one(shape=(2**62,)), bytes(8)), "where a size"),
    "zeros and giants": (raw(one(shape=(0, 2**61), offsets=(0, 0))), "safetensors"),
    "40 dimensions": (raw(one(shape=(1,) * 40, offsets=(0, 4)), bytes(4)), "at most 32"),
    "four gigabytes": (raw(one(shape=(2**30,), offsets=(0, 2**32)), bytes(8)), "need 4294967296"),
    "offsets backwards": (raw(one(offsets=(8, 0)), bytes(8)), "does not fill"),
    "three offsets": (raw(one(offsets=(0, 8, 9)), bytes(8)), "expected [begin, end]"),
    "hole": (raw(one(offsets=(8, 16)), bytes(16)), "starts at 8 where 0"),
    "overlap": (raw({"a": A, "b": A}, bytes(8)), "starts at 0 where 8"),
    "data too short": (raw(one(), bytes(7)), "need 8 bytes, the file has 7"),
    "data too long": (raw(one(), bytes(9)), "need 8 bytes, the file has 9"),
    "name twice": (
        raw(b'{"a":%b,"a":%b}' % ((json.dumps(A).encode(),) * 2), bytes(8)),
        "twice",
    ),
    "metadata no object": (raw({"__metadata__": [1]}), "malformed header"),
    "metadata no JSON": (raw({"__metadata__": {"fastcnn": "{"}}), "malformed header"),
    "booleans of 7": (raw(one("BOOL", (2,), (0, 2)), b"\x00\x07"), "neither 0 nor 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file(name: str, tmp_path: Path) -> None:
    content, message = HOSTILE[name]
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a valid safetensors file") as caught:
        read_safetensors(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_a_file_above_the_limit(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "f", {"a": np.zeros(100)})
    with pytest.raises(ValueError, match="more than the 100 allowed"):
        read_safetensors(tmp_path / "f", max_bytes=100)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "f"
    write_safetensors(path, {"a": np.arange(6.0), "b": np.ones((2, 3), bool)}, {"k": [1, 2]})
    return path.read_bytes()


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 255))
def test_any_damage_gives_valueerror(
    tmp_path_factory: pytest.TempPathFactory, good: bytes, noise: bytes, at: int, byte: int
) -> None:
    """Noise as a file, and a good file with one byte changed or cut off, never do worse."""
    path = tmp_path_factory.getbasetemp() / "damaged"
    changed = bytearray(good)
    changed[at % len(good)] = byte
    for content in (noise, raw(noise), bytes(changed), good[: at % len(good)]):
        path.write_bytes(content)
        try:
            arrays, _ = read_safetensors(path)
        except ValueError:
            continue
        assert sum(a.nbytes for a in arrays.values()) <= len(content)
