"""Where datasets come from: folders searched in order, then verified downloads.

The sources in order: the folder that the caller names, the folder that FASTCNN_DATA names, the
cache folder, then download into the cache folder from several mirrors. Each file is verified by
its content, so a wrong, damaged or half-written file is like none: the next source is tried, and
the last error lists all that was tried and says how to place the files by hand.

`Collection` and `load` are for four IDX files; `search` and `bring` for any others.
"""

import hashlib
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .dataset import ArrayDataset
from .idx import Array, PathLike, content_sha256, read_idx_images, read_idx_labels

Pair = tuple[ArrayDataset, ArrayDataset]

_MAX_BYTES = 2**26  # 60,000 images of 28 x 28 are 47 MB
_ANSWER_SECONDS = 4.0  # all mirrors are asked at once; none within this time: no network
_STALL_SECONDS = 8.0  # a download that delivers nothing for so long has failed


class Collection(NamedTuple):
    """Four IDX files (images and labels, for training and test) and where they are to be had.

    `digests` maps file names without ``.gz`` to SHA-256 of the decompressed content, or, where
    only this is published, to MD5 of the ``.gz`` file, written ``md5:...``. `folders` are the
    subfolders looked into beside a folder itself; the first is the name in the cache. `hint` ends
    the error message if no source has the data.
    """

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    digests: Mapping[str, str]
    classes: tuple[str, ...]
    hint: str = ""


def cache_folder() -> Path:
    """Where downloads are kept: the ``fastcnn`` folder in the user's cache folder.

    The same place as ``pooch.os_cache("fastcnn")``, known without pooch: on Linux
    ``$XDG_CACHE_HOME`` or ``~/.cache``, on macOS ``~/Library/Caches``, on Windows
    ``%LOCALAPPDATA%\\fastcnn\\fastcnn\\Cache``. It is not created here.

    Examples
    --------
    >>> from fastcnn import data
    >>> "fastcnn" in data.cache_folder().parts
    True
    """
    home = Path(os.path.expanduser("~"))
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
        return Path(local) / "fastcnn" / "fastcnn" / "Cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "fastcnn"
    return Path(os.environ.get("XDG_CACHE_HOME", "").strip() or home / ".cache") / "fastcnn"


def data_folders(root: PathLike | None = None) -> dict[str, Path]:
    """The folders in which data is looked for, in order: who names them, and where they are.

    Parameters
    ----------
    root : path, optional
        A folder to look into first.

    Returns
    -------
    dict of str to Path
        Keys among ``root``, ``FASTCNN_DATA`` and ``cache``.

    Examples
    --------
    >>> from fastcnn import data
    >>> list(data.data_folders("my/files"))[0]
    'root'
    """
    folders = {} if root is None else {"root": Path(root)}
    if os.environ.get("FASTCNN_DATA"):
        folders["FASTCNN_DATA"] = Path(os.environ["FASTCNN_DATA"])
    folders["cache"] = cache_folder()
    return folders


def find_file(folder: Path, name: str) -> Path:
    """The file `name` in `folder`, gzip or plain; FileNotFoundError if there is none."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder} has no {name}.gz or {name}")


def load(c: Collection, root: PathLike | None, download: bool) -> Pair:
    """The collection from the first source that has it."""
    names = [f"{name}.gz" for name in c.digests]

    def verify(path: Path, name: str) -> None:
        _read_file(c, path, name.removesuffix(".gz"))

    return search(
        c.name,
        c.folders,
        lambda folder: read_folder(c, folder, str(folder)),
        (lambda folder: bring(c.mirrors, names, folder, verify, _MAX_BYTES)) if download else None,
        root,
        f"{', '.join(names)} (from {' or '.join(c.mirrors)})",
        c.hint,
    )


def search(
    name: str,
    folders: Sequence[str],
    read: Callable[[Path], Pair],
    fetch: Callable[[Path], None] | None,
    root: PathLike | None,
    files: str,
    hint: str = "",
) -> Pair:
    """What `read` makes of the first folder that has the data.

    Parameters
    ----------
    name : str
        Of the data, for the message.
    folders : sequence of str
        Subfolders looked into beside each folder; the first is the place in the cache.
    read : callable
        Reads a folder; OSError or ValueError if it does not have the data.
    fetch : callable or None
        Brings the data into a folder; None if that is not allowed.
    root : path or None
        As for `data_folders`.
    files, hint : str
        What to place by hand, and what else would help, for the message.

    Returns
    -------
    train, test : ArrayDataset

    Raises
    ------
    FileNotFoundError
        If no source has the data; the message lists what was tried.
    """
    tried = []
    for who, base in data_folders(root).items():
        subfolders = [base / sub for sub in folders if (base / sub).is_dir()]
        for folder in (base, *subfolders):
            try:
                return read(folder)
            except (OSError, ValueError) as error:
                tried.append(f"{who}: {error}")
    cache = cache_folder() / folders[0]
    if fetch is not None:
        try:
            fetch(cache)
            return read(cache)
        except (OSError, ValueError, ImportError) as error:
            tried.append(f"download: {error}")
    else:
        tried.append("download: not allowed (download=False)")
    places = f"{cache}, or a folder that FASTCNN_DATA or root= names"
    raise FileNotFoundError(
        "\n".join(
            [
                f"{name}: no source has the data. Tried:",
                *(f"  {line}" for line in tried),
                f"To place it by hand, put {files} into {places}.{hint}",
            ]
        )
    )


def read_folder(c: Collection, folder: Path, source: str) -> Pair:
    """The two datasets from the four files of one folder, each verified."""
    x, y, test_x, test_y = (_read_file(c, find_file(folder, name), name) for name in c.digests)
    return (
        ArrayDataset(x, y, classes=c.classes, source=source),
        ArrayDataset(test_x, test_y, classes=c.classes, source=source),
    )


def _read_file(c: Collection, path: Path, name: str) -> Array:
    """One file as an array; ValueError unless its content is the published one."""
    digest = c.digests[name]
    if digest.startswith("md5:"):
        # MD5 tells damage and mix-ups from the published file, which is its purpose here.
        with open(path, "rb") as file:
            found = "md5:" + hashlib.file_digest(file, _md5).hexdigest()
        if found != digest:
            raise ValueError(f"{path}: not the published file: expected {digest}, got {found}")
    read = read_idx_images if "images" in name else read_idx_labels
    array = read(path, max_bytes=_MAX_BYTES)
    if not digest.startswith("md5:") and content_sha256(array) != digest:
        raise ValueError(
            f"{path}: not the genuine content: expected sha256 {digest}, "
            f"got {content_sha256(array)}"
        )
    return array


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)


def bring(
    mirrors: tuple[str, ...],
    names: Sequence[str],
    folder: Path,
    verify: Callable[[Path, str], None],
    max_bytes: int,
) -> None:
    """Bring the files that `folder` lacks, from the first mirror that has them all.

    `verify` raises OSError or ValueError for a file that is not the named one.
    """
    try:
        import pooch
    except ImportError:
        raise ImportError('needs pooch: pip install "fastcnn[data]"') from None

    first = _first_answering(mirrors, names[0], _ANSWER_SECONDS)
    if first is None:
        hosts = ", ".join(mirrors)
        raise OSError(f"no answer from {hosts} (waited at most {_ANSWER_SECONDS:g} s)")
    get = pooch.HTTPDownloader(timeout=(_ANSWER_SECONDS, _STALL_SECONDS), chunk_size=2**16)
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in (first, *(m for m in mirrors if m != first)):
        try:
            for name in names:
                _fetch(get, mirror, name, folder, verify, max_bytes)
            return
        except Exception as error:  # whatever a network does: the next mirror may do better
            failures.append(f"{mirror}: {error}")
    raise OSError("; ".join(failures))


def _fetch(
    get: Any,
    mirror: str,
    name: str,
    folder: Path,
    verify: Callable[[Path, str], None],
    max_bytes: int,
) -> None:
    """Bring one file, unless it is there; it appears whole and verified, or not at all."""
    target = folder / name
    try:
        verify(target, name)
        return
    except (OSError, ValueError):
        pass
    handle, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            get(f"{mirror}{name}", _Limited(file, max_bytes), None)
        verify(Path(temporary), name)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


class _Limited:
    """A file to write to that takes no more than `most` bytes: a server may send without end."""

    def __init__(self, file: Any, most: int) -> None:
        self._file = file
        self._most = self._room = most

    def write(self, chunk: bytes) -> None:
        self._room -= len(chunk)
        if self._room < 0:
            raise ValueError(f"more than {self._most} bytes")
        self._file.write(chunk)

    def flush(self) -> None:
        """Nothing: the file is read only after it is closed."""


def _first_answering(mirrors: tuple[str, ...], name: str, seconds: float) -> str | None:
    """The mirror that is first to offer the file; None if none does within `seconds`.

    Every mirror is asked at once, in a thread that nobody waits for: a name server that does not
    answer blocks longer than any timeout of a connection.
    """
    answers: queue.Queue[tuple[str, bool]] = queue.Queue()

    def ask(mirror: str) -> None:
        answers.put((mirror, _offers(f"{mirror}{name}", seconds)))

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    end = time.monotonic() + seconds
    for _ in mirrors:
        try:
            mirror, offers = answers.get(timeout=max(end - time.monotonic(), 0.0))
        except queue.Empty:
            break
        if offers:
            return mirror
    return None


def _offers(url: str, seconds: float) -> bool:
    """Whether a server says that it has the file."""
    import requests  # comes with pooch

    try:
        return bool(requests.head(url, timeout=seconds, allow_redirects=True).ok)
    except Exception:  # no name, no route, no TLS, a proxy's page: it does not
        return False
