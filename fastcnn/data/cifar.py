"""CIFAR-10 and CIFAR-100: the binary versions, and a copy of CIFAR-10 as JPEG pictures.

A record of the binary version is one label byte (CIFAR-100: the coarse label, then the fine one)
and 3,072 bytes of pixels, red, green, blue, each 32 x 32 row by row; a file is records and nothing
else, so its length is known beforehand and checked before anything is read. Archives are read as a
stream of bounded length; nothing is extracted to disk. The python version is pickle, which can run
any code, and is never loaded.
"""

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

import numpy as np

from .dataset import ArrayDataset
from .folder import read_classes
from .idx import PathLike
from .sources import Pair, bring, search

_PIXELS = 3 * 32 * 32
_MAX_ARCHIVE = 2**28  # the archives have 170 MB, their content 184 MB
_MAX_NAMES = 2**16  # bytes of a file of class names
_MIRRORS = ("https://www.cs.toronto.edu/~kriz/",)


class Version(NamedTuple):
    """What a CIFAR archive holds.

    `train` and `test` map file names to their numbers of records; `names` are the files of class
    names, in the order of the label bytes; `python` are the pickled twins of archive and folder.
    """

    name: str
    archive: str
    folder: str
    sha256: str
    train: dict[str, int]
    test: dict[str, int]
    label_bytes: int
    classes: tuple[int, ...]
    names: tuple[str, ...]
    python: tuple[str, str]
    jpeg: str = ""


CIFAR10 = Version(
    name="cifar10",
    archive="cifar-10-binary.tar.gz",
    folder="cifar-10-batches-bin",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    train={f"data_batch_{i}.bin": 10_000 for i in range(1, 6)},
    test={"test_batch.bin": 10_000},
    label_bytes=1,
    classes=(10,),
    names=("batches.meta.txt",),
    python=("cifar-10-python.tar.gz", "cifar-10-batches-py"),
    jpeg="cifar10-jpeg.zip",
)

CIFAR100 = Version(
    name="cifar100",
    archive="cifar-100-binary.tar.gz",
    folder="cifar-100-binary",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    train={"train.bin": 50_000},
    test={"test.bin": 10_000},
    label_bytes=2,
    classes=(20, 100),
    names=("coarse_label_names.txt", "fine_label_names.txt"),
    python=("cifar-100-python.tar.gz", "cifar-100-python"),
)


def cifar10(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """CIFAR-10: small colour pictures of ten classes, 50,000 to train on and 10,000 to test.

    It is looked for in `root`, the folder that the environment variable FASTCNN_DATA names, and
    the cache folder, each with its subfolder ``cifar10``; then it is downloaded into the cache
    (170 MB, verified by SHA-256). In a folder these count, in this order:
    ``cifar-10-binary.tar.gz``, its content ``cifar-10-batches-bin``, and ``cifar10-jpeg.zip``, a
    copy as pictures ``train/<class>/<number>.jpg`` and ``test/<class>/<number>.jpg``, which needs
    Pillow and takes some seconds to read.

    Parameters
    ----------
    root : path, optional
        A folder to look into first.
    download : bool, optional
        False never touches the network.

    Returns
    -------
    train, test : ArrayDataset
        ``.batch`` gives float32 of shape (n, 3, 32, 32) in [0, 1] and int64 labels in 0..9; kept
        in memory are 8-bit pixels, 184 MB in all. ``.classes`` are the names. The JPEG copy has
        the classes in turn.

    Raises
    ------
    FileNotFoundError
        If no source has the data; the message says what was tried and how to place the files.
    ImportError
        If only the JPEG copy is there, and Pillow is not installed.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.cifar10()  # doctest: +SKIP
    >>> len(train), train[0][0].shape, train.classes[3]  # doctest: +SKIP
    (50000, (3, 32, 32), 'cat')
    """
    return _load(CIFAR10, 0, root, download)


def cifar100(
    root: PathLike | None = None, *, coarse: bool = False, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """CIFAR-100: pictures as in `cifar10`, of 100 classes in 20 groups; 50,000 and 10,000.

    The sources are those of `cifar10`, with the subfolder ``cifar100`` and the files
    ``cifar-100-binary.tar.gz`` or ``cifar-100-binary``.

    Parameters
    ----------
    root : path, optional
        A folder to look into first.
    coarse : bool, optional
        Labels are the 20 groups rather than the 100 classes.
    download : bool, optional
        False never touches the network.

    Returns
    -------
    train, test : ArrayDataset
        As of `cifar10`.

    Raises
    ------
    FileNotFoundError
        If no source has the data.

    References
    ----------
    A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.cifar100(coarse=True)  # doctest: +SKIP
    >>> train.classes[0]  # doctest: +SKIP
    'aquatic_mammals'
    """
    return _load(CIFAR100, 0 if coarse else 1, root, download)


def _load(v: Version, label: int, root: PathLike | None, download: bool) -> Pair:
    """The version from the first source that has it, with the label byte `label`."""

    def verify(path: Path, name: str) -> None:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != v.sha256:
            raise ValueError(f"{path}: expected sha256 {v.sha256}, got {found}")

    def fetch(folder: Path) -> None:
        bring(_MIRRORS, [v.archive], folder, verify, _MAX_ARCHIVE)

    return search(
        v.name,
        [v.name],
        lambda folder: _read(v, label, folder),
        fetch if download else None,
        root,
        f"{v.archive} (from {_MIRRORS[0]})",
    )


def _read(v: Version, label: int, folder: Path) -> Pair:
    """What one folder has of the version."""
    for path in (folder / v.archive, folder / v.folder, folder):
        if path.is_file() or (path / next(iter(v.test))).is_file():
            return _read_binary(v, label, path)
    jpeg = folder / v.jpeg
    if v.jpeg and jpeg.is_file():
        return _read_jpeg(v, jpeg)
    for name in v.python:
        if (folder / name).exists():
            raise ValueError(
                f"{folder / name} is the python version: pickle, which can run any code and is "
                f"never loaded; the binary version, {v.archive}, has the same data"
            )
    files = ", ".join(name for name in (v.archive, v.folder, v.jpeg) if name)
    raise FileNotFoundError(f"{folder} has none of {files}")


def _read_binary(v: Version, label: int, path: Path) -> Pair:
    """Both parts from the archive, or from a folder with its files."""
    parts = []
    for files in (v.train, v.test):
        n = sum(files.values())
        images = np.empty((n, 3, 32, 32), np.uint8)
        labels = np.empty((n, v.label_bytes), np.uint8)
        parts.append((images, labels))
    missing = {**v.train, **v.test, v.names[label]: 0}
    names: list[str] = []
    for name, content in _contents(v, label, path):
        missing.pop(name, None)
        if name == v.names[label]:
            names = content.decode("ascii", "replace").split()
            continue
        files, (images, labels) = (v.train, parts[0]) if name in v.train else (v.test, parts[1])
        before = [*files][: [*files].index(name)]
        start = sum(files[other] for other in before)
        rows = slice(start, start + files[name])
        records = np.frombuffer(content, np.uint8).reshape(files[name], v.label_bytes + _PIXELS)
        labels[rows] = records[:, : v.label_bytes]
        images[rows] = records[:, v.label_bytes :].reshape(-1, 3, 32, 32)
        for i, classes in enumerate(v.classes):
            if labels[rows, i].max(initial=0) >= classes:
                raise ValueError(f"{path}: {name}: expected labels in 0..{classes - 1}")
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing")
    if len(set(names)) != v.classes[label]:
        raise ValueError(f"{path}: {v.names[label]}: expected {v.classes[label]} names")
    train, test = (
        ArrayDataset(images, labels[:, label], classes=names, source=str(path))
        for images, labels in parts
    )
    return train, test


def _contents(v: Version, label: int, path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is wanted, its length checked before it is read."""
    record = v.label_bytes + _PIXELS
    sizes = {name: n * record for name, n in {**v.train, **v.test}.items()}
    if path.is_dir():
        for name in (*sizes, v.names[label]):
            with open(path / name, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                yield name, _exactly(file, size, sizes.get(name), f"{path / name}")
        return
    try:
        with (
            gzip.open(path) as unzipped,
            tarfile.open(fileobj=_Bounded(unzipped), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                name = PurePosixPath(member.name).name
                content = archive.extractfile(member)  # a stream; None if it is no file
                if content is not None and (name in sizes or name == v.names[label]):
                    where = f"{path}: {member.name}"
                    yield name, _exactly(content, member.size, sizes.get(name), where)
            while unzipped.read(2**16):  # the checksum is at its end
                pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: expected a whole .tar.gz file: {error}") from error


def _exactly(file: BinaryIO, size: int, expected: int | None, where: str) -> bytes:
    """`size` bytes if that is what is expected; without an expectation a short text."""
    if size != expected if expected is not None else size > _MAX_NAMES:
        wanted = f"at most {_MAX_NAMES}" if expected is None else str(expected)
        raise ValueError(f"{where}: expected {wanted} bytes, got {size}")
    content = file.read(size)
    if len(content) != size:
        raise ValueError(f"{where}: truncated: expected {size} bytes, got {len(content)}")
    return content


class _Bounded:
    """A stream that ends in an error after _MAX_ARCHIVE bytes: a gzip bomb has no end."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file, self._room = file, _MAX_ARCHIVE

    def read(self, n: int) -> bytes:
        self._room -= n
        if self._room < 0:
            raise ValueError(f"{self._file.name}: holds more than {_MAX_ARCHIVE} bytes")
        return self._file.read(n)


def _read_jpeg(v: Version, path: Path) -> Pair:
    """Both parts from a zip file of pictures; the classes in turn, so that slices have them all."""
    parts = []
    for split, files in (("train", v.train), ("test", v.test)):
        x, y, classes = read_classes(path, split, channels=3, size=None, in_turn=True)
        wanted = (sum(files.values()), 3, 32, 32)
        if x.shape != wanted or len(classes) != v.classes[0]:
            raise ValueError(
                f"{path}: {split}: expected pictures of shape {wanted} in {v.classes[0]} classes, "
                f"got {x.shape} in {len(classes)}"
            )
        parts.append(ArrayDataset(x, y, classes=classes, source=str(path)))
    return parts[0], parts[1]
