"""CIFAR-10 and CIFAR-100: archives, folders, the JPEG copy, and what is refused."""

import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastcnn import data
from fastcnn.data import cifar, sources

TRAIN = {"data_batch_1.bin": 3, "data_batch_2.bin": 2}
TEST = {"test_batch.bin": 2}
NAMES = cifar.CIFAR10.names[0]
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def records(n: int, seed: int, classes=(10,)) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, number of label bytes) and images (n, 3, 32, 32)."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, c, n, dtype=np.uint8) for c in classes], axis=1)
    return labels, rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def as_bytes(labels: np.ndarray, images: np.ndarray) -> bytes:
    return np.concatenate([labels, images.reshape(len(images), -1)], axis=1).tobytes()


GENUINE = {name: records(n, i) for i, (name, n) in enumerate({**TRAIN, **TEST}.items())}
FILES = {name: as_bytes(*content) for name, content in GENUINE.items()}
FILES[NAMES] = ("\n".join(CLASSES) + "\n\n").encode()


def tar(files: dict[str, bytes], folder: str = "cifar-10-batches-bin") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        top = tarfile.TarInfo(folder)
        top.type = tarfile.DIRTYPE
        archive.addfile(top)
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


ARCHIVE = tar(FILES)


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """A world in which CIFAR-10 is GENUINE, with an empty cache and no network."""
    small = cifar.CIFAR10._replace(
        train=TRAIN, test=TEST, sha256=hashlib.sha256(ARCHIVE).hexdigest()
    )
    monkeypatch.setattr(cifar, "CIFAR10", small)
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sources, "_offers", lambda url, seconds: False)
    monkeypatch.delenv("FASTCNN_DATA", raising=False)
    return tmp_path / "cache" / "cifar10"


def place(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def same(train, test) -> bool:
    for dataset, files in ((train, TRAIN), (test, TEST)):
        labels, images = (
            np.concatenate([GENUINE[name][part] for name in files]) for part in (0, 1)
        )
        x, y = dataset.batch(slice(0, len(dataset)))
        assert x.dtype == np.float32 and y.dtype == np.int64 and dataset.classes == CLASSES
        if not (
            np.array_equal(x, np.divide(images, np.float32(255))) and (y == labels[:, 0]).all()
        ):
            return False
    return True


@pytest.mark.parametrize("sub", [".", "cifar10"])
@pytest.mark.parametrize("kind", ["archive", "folder", "files"])
def test_binary_version(cache, tmp_path, kind, sub):
    folder = tmp_path / "mine" / sub
    if kind == "archive":
        place(folder, {cifar.CIFAR10.archive: ARCHIVE})
    else:
        place(folder / (cifar.CIFAR10.folder if kind == "folder" else "."), FILES)
    before = sorted(tmp_path.rglob("*"))
    assert same(*data.cifar10(tmp_path / "mine", download=False))
    assert sorted(tmp_path.rglob("*")) == before, "nothing is extracted"


def test_order_of_members_does_not_matter(cache, tmp_path):
    place(tmp_path / "a", {cifar.CIFAR10.archive: tar(dict(reversed(FILES.items())))})
    assert same(*data.cifar10(tmp_path / "a", download=False))


def test_environment_comes_before_cache(cache, tmp_path, monkeypatch):
    place(cache, {cifar.CIFAR10.archive: b"damaged"})
    place(tmp_path / "env", {cifar.CIFAR10.archive: ARCHIVE})
    monkeypatch.setenv("FASTCNN_DATA", str(tmp_path / "env"))
    train, test = data.cifar10(download=False)
    assert same(train, test) and train.source == str(tmp_path / "env" / cifar.CIFAR10.archive)


def refused(tmp_path, files: dict[str, bytes], match: str) -> None:
    with pytest.raises(FileNotFoundError, match=match):
        data.cifar10(place(tmp_path / "bad", files), download=False)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data_batch_1.bin": FILES["data_batch_1.bin"][:-1]}, "expected 9219 bytes, got 9218"),
        ({"test_batch.bin": FILES["test_batch.bin"] + b"0"}, "expected 6146 bytes, got 6147"),
        ({"test_batch.bin": b"\x0a" + FILES["test_batch.bin"][1:]}, r"expected labels in 0\.\.9"),
        ({NAMES: b"airplane truck"}, "expected 10 names"),
        ({NAMES: b"x" * (2**16 + 1)}, "expected at most 65536 bytes"),
    ],
)
@pytest.mark.parametrize("kind", ["archive", "files"])
def test_every_size_is_checked(cache, tmp_path, change, match, kind):
    files = {**FILES, **change}
    refused(tmp_path, {cifar.CIFAR10.archive: tar(files)} if kind == "archive" else files, match)


def test_damaged_archives(cache, tmp_path):
    lacking = {name: content for name, content in FILES.items() if name != "data_batch_2.bin"}
    refused(tmp_path, {cifar.CIFAR10.archive: tar(lacking)}, r"data_batch_2\.bin missing")
    refused(tmp_path, {cifar.CIFAR10.archive: ARCHIVE[:-200]}, r"expected a whole \.tar\.gz")
    wrong = bytearray(ARCHIVE)
    wrong[-6] ^= 1  # in the checksum
    refused(tmp_path, {cifar.CIFAR10.archive: bytes(wrong)}, r"expected a whole \.tar\.gz")
    refused(tmp_path, {cifar.CIFAR10.archive: b"hello"}, r"expected a whole \.tar\.gz")


def test_links_and_other_members_are_no_files(cache, tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("x/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    refused(tmp_path, {cifar.CIFAR10.archive: buffer.getvalue()}, "expected a whole|missing")


def test_gzip_bombs_end(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_MAX_ARCHIVE", 2**20)
    bomb = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
    bomb.size = 2**24
    content = gzip.compress(bomb.tobuf() + bytes(2**24))
    refused(tmp_path, {cifar.CIFAR10.archive: content}, "holds more than 1048576 bytes")


def test_the_python_version_is_never_loaded(cache, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "trapped",))

    for name in cifar.CIFAR10.python:
        folder = tmp_path / name
        place(folder, {name: pickle.dumps(Trap())})
        with pytest.raises(
            FileNotFoundError, match=r"never loaded; the binary version, cifar-10-b"
        ):
            data.cifar10(folder, download=False)
    assert not (tmp_path / "trapped").exists()


def test_download(cache, tmp_path, monkeypatch):
    import pooch

    served, asked = {"content": ARCHIVE}, []

    def downloader(**options):
        def get(url, file, _):
            asked.append(url)
            file.write(served["content"])

        return get

    monkeypatch.setattr(pooch, "HTTPDownloader", downloader)
    monkeypatch.setattr(sources, "_offers", lambda url, seconds: True)
    served["content"] = tar({**FILES, "more": b""})
    with pytest.raises(FileNotFoundError, match=r"download: .*expected sha256"):
        data.cifar10()
    assert not list(cache.iterdir())
    served["content"] = ARCHIVE
    assert same(*data.cifar10())
    assert same(*data.cifar10(download=False)), "the cache keeps it"
    assert asked == ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"] * 2


def test_jpeg_copy(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "CIFAR10", cifar.CIFAR10._replace(train={"a": 30}, test={"b": 10}))

    def zipped(per_class: int, size: int = 32) -> None:
        with zipfile.ZipFile(tmp_path / "cifar10-jpeg.zip", "w") as archive:
            for split, n in (("train", per_class), ("test", 1)):
                for label, name in enumerate(CLASSES):
                    for i in range(n):
                        file = io.BytesIO()
                        level = np.full((size, size, 3), 20 * label + 5 * i, np.uint8)
                        Image.fromarray(level).save(file, "JPEG", quality=95)
                        archive.writestr(f"{split}/{name}/{i:04}.jpg", file.getvalue())

    zipped(3)
    monkeypatch.setenv("FASTCNN_DATA", str(tmp_path))
    train, test = data.cifar10(download=False)
    assert (len(train), len(test), train.classes) == (30, 10, CLASSES)
    np.testing.assert_array_equal(train.y, np.tile(np.arange(10), 3))
    levels = train.x.mean(axis=(1, 2, 3)) * 255
    np.testing.assert_allclose(levels, 20 * train.y + 5 * (np.arange(30) // 10), atol=2)
    zipped(2)
    with pytest.raises(FileNotFoundError, match=r"train: expected pictures of shape \(30, 3, 32"):
        data.cifar10(download=False)
    zipped(3, size=16)
    with pytest.raises(FileNotFoundError, match=r"got \(30, 3, 16, 16\) in 10"):
        data.cifar10(download=False)


@pytest.mark.parametrize("coarse", [False, True])
def test_cifar100(cache, tmp_path, monkeypatch, coarse):
    small = cifar.CIFAR100._replace(train={"train.bin": 4}, test={"test.bin": 3})
    monkeypatch.setattr(cifar, "CIFAR100", small)
    train, test = records(4, 1, (20, 100)), records(3, 2, (20, 100))
    names = [f"group_{i}" for i in range(20)], [f"class_{i}" for i in range(100)]
    files = {"train.bin": as_bytes(*train), "test.bin": as_bytes(*test)}
    for name, lines in zip(small.names, names, strict=True):
        files[name] = "\n".join(lines).encode()
    place(tmp_path / "a", {small.archive: tar(files, small.folder)})
    got = data.cifar100(tmp_path / "a", coarse=coarse, download=False)
    for dataset, (labels, images) in zip(got, (train, test), strict=True):
        np.testing.assert_array_equal(dataset.y, labels[:, 0 if coarse else 1])
        np.testing.assert_array_equal(dataset.x, np.divide(images, np.float32(255)))
        assert dataset.classes == tuple(names[0 if coarse else 1])


def test_nothing_found(cache):
    with pytest.raises(FileNotFoundError) as error:
        data.cifar10(download=False)
    for part in ("no source has the data", "cifar-10-binary.tar.gz", "FASTCNN_DATA", str(cache)):
        assert part in str(error.value)
