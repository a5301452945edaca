"""MNIST and its siblings: found in a folder, or downloaded, or (MNIST) the embedded subset.

The sources in order: the folder that the caller names, the folder that FASTCNN_DATA names, the
cache folder, then download into the cache folder from several mirrors. Each file is verified by
its content, so a wrong, damaged or half-written file is like none: the next source is tried, and
the last error lists all that was tried and says how to place the files by hand.
"""

import hashlib
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .dataset import ArrayDataset
from .idx import Array, PathLike, content_sha256, read_idx_images, read_idx_labels

EMBEDDED = Path(__file__).parent / "embedded"
_MAX_BYTES = 2**26  # 60,000 images of 28 x 28 are 47 MB
_ANSWER_SECONDS = 4.0  # all mirrors are asked at once; none within this time: no network
_STALL_SECONDS = 15.0  # a download that delivers nothing for so long has failed


class Collection(NamedTuple):
    """Four IDX files (images and labels, for training and test) and where they are to be had.

    `digests` maps file names without ``.gz`` to SHA-256 of the decompressed content, or, where
    only this is published, to MD5 of the ``.gz`` file, written ``md5:...``. `folders` are the
    subfolders looked into beside a folder itself; the first is the name in the cache.
    """

    name: str
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    digests: Mapping[str, str]
    classes: tuple[str, ...]


_DIGITS = tuple("0123456789")
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

MNIST = Collection(
    name="mnist",
    folders=("mnist", "MNIST/raw"),  # the second is torchvision's
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://raw.githubusercontent.com/fgnt/mnist/master/",
    ),
    digests={
        _FILES[0]: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        _FILES[1]: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        _FILES[2]: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        _FILES[3]: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    classes=_DIGITS,
)

# The first 5,000 training and 1,000 test images of MNIST; scripts/make_embedded_digits.py.
SUBSET = MNIST._replace(
    name="embedded subset of mnist",
    mirrors=(),
    digests={
        _FILES[0]: "1e3ffdb2f57e22d9e5363dde25c2d057542c2e72baa312f0f3b03948bb3802b7",
        _FILES[1]: "685aeb7baef68233efa643639a5e9c15bb48be09a628f96fb7f606ca2a1ea7bc",
        _FILES[2]: "de7c252b04f05e1f8309634180ccdf286dc6dbac8c579b74e76e02ae0331ca52",
        _FILES[3]: "832c0d20f0dc42e575488c75a83a970787d4c8d4d05831b2ef03701b4a478a90",
    },
)

# MD5 of the .gz files as its authors list them in their README, and as in torchvision.
FASHION_MNIST = Collection(
    name="fashion_mnist",
    folders=("fashion_mnist", "FashionMNIST/raw"),
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    digests={
        _FILES[0]: "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        _FILES[1]: "md5:25c81989df183df01b3e8a0aad5dffbe",
        _FILES[2]: "md5:bef4ecab320f06d8554ea6380940ec79",
        _FILES[3]: "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)

# MD5 of the .gz files as in torchvision (torchvision/datasets/mnist.py, class KMNIST).
KMNIST = Collection(
    name="kmnist",
    folders=("kmnist", "KMNIST/raw"),
    mirrors=(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    ),
    digests={
        _FILES[0]: "md5:bdb82020997e1d708af4cf47b453dcf7",
        _FILES[1]: "md5:e144d726b3acfaa3e44228e80efcd344",
        _FILES[2]: "md5:5c965bf0a639b31b8f53240b1b52f4d7",
        _FILES[3]: "md5:7320c461ea6c1c855c0b718fb2a4b134",
    },
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
)


def mnist(
    root: PathLike | None = None, *, subset: bool = False, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """The MNIST digits: 60,000 images for training and 10,000 for test, 28 x 28, grey.

    Looked for in `root`, in the folder that the environment variable FASTCNN_DATA names (in each
    also in a subfolder ``mnist``) and in the cache folder, then downloaded into the cache folder.
    Contents are verified by SHA-256; a source that fails for any reason leads to the next one.

    Parameters
    ----------
    root : path, optional
        A folder with the four files, plain or gzip.
    subset : bool, optional
        Take the first 5,000 training and 1,000 test images, which come with fastcnn, and look
        nowhere else.
    download : bool, optional
        Whether the network may be used. Needs the extra ``fastcnn[data]``.

    Returns
    -------
    train, test : ArrayDataset
        ``.x`` float32 of shape (N, 1, 28, 28) in [0, 1], ``.y`` int64 of shape (N,) in 0..9;
        ``.source`` tells where the files were found.

    Raises
    ------
    FileNotFoundError
        If no source has the data; the message says what was tried and how to place the files.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proc. IEEE 86 (11), 1998.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.mnist(subset=True)
    >>> len(train), len(test), train.x.shape
    (5000, 1000, (5000, 1, 28, 28))
    >>> x, y = train[0]
    >>> x.shape, int(y), train.source
    ((1, 28, 28), 5, 'the embedded subset')
    """
    if subset:
        return _read(SUBSET, EMBEDDED, "the embedded subset")
    return _load(MNIST, root, download)


def fashion_mnist(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """Fashion-MNIST: articles of clothing in the form of MNIST, 60,000 and 10,000 images.

    The sources are those of `mnist`, the subfolder is ``fashion_mnist``. The files must be the
    ``.gz`` files as published, since MD5 of these is what the authors give to verify them.

    Parameters
    ----------
    root, download
        As for `mnist`.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`; ``.classes`` holds the names of the articles.

    Raises
    ------
    FileNotFoundError
        If no source has the data.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.fashion_mnist()  # doctest: +SKIP
    >>> train.classes[0]  # doctest: +SKIP
    'T-shirt/top'
    """
    return _load(FASHION_MNIST, root, download)


def kmnist(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset]:
    """Kuzushiji-MNIST: cursive Japanese characters in the form of MNIST, 60,000 and 10,000.

    The sources are those of `mnist`, the subfolder is ``kmnist``. The files must be the ``.gz``
    files as published, which are verified by MD5.

    Parameters
    ----------
    root, download
        As for `mnist`.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`; ``.classes`` holds the syllables.

    Raises
    ------
    FileNotFoundError
        If no source has the data.

    References
    ----------
    T. Clanuwat et al., "Deep learning for classical Japanese literature", arXiv:1812.01718.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test = data.kmnist()  # doctest: +SKIP
    >>> train.classes[0]  # doctest: +SKIP
    'o'
    """
    return _load(KMNIST, root, download)


def mnist_or_subset(
    root: PathLike | None = None, *, download: bool = True
) -> tuple[ArrayDataset, ArrayDataset, str]:
    """The full MNIST where it is found or can be downloaded, else the embedded subset.

    Parameters
    ----------
    root, download
        As for `mnist`. A blocked network costs a few seconds.

    Returns
    -------
    train, test : ArrayDataset
        As of `mnist`.
    description : str
        Which of the two it is, and why, for people to read.

    Examples
    --------
    >>> from fastcnn import data
    >>> train, test, description = data.mnist_or_subset(download=False)
    >>> print(description)  # doctest: +ELLIPSIS
    MNIST, ... training and ... test images, from ...
    """
    why = ""
    try:
        train, test = mnist(root, download=download)
    except FileNotFoundError as error:
        train, test = mnist(subset=True)
        why = f" (full set not found: {'; '.join(error.args[0].splitlines()[1:-1])})"
    sizes = f"{len(train):,} training and {len(test):,} test images"
    return train, test, f"MNIST, {sizes}, from {train.source}{why}"


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


def _load(
    c: Collection, root: PathLike | None, download: bool
) -> tuple[ArrayDataset, ArrayDataset]:
    """The collection from the first source that has it."""
    tried = []
    for who, base in data_folders(root).items():
        subfolders = [base / sub for sub in c.folders if (base / sub).is_dir()]
        for folder in (base, *subfolders):
            try:
                return _read(c, folder, str(folder))
            except (OSError, ValueError) as error:
                tried.append(f"  {who}: {error}")
    cache = cache_folder() / c.folders[0]
    if download:
        try:
            _download(c, cache)
            return _read(c, cache, str(cache))
        except (OSError, ValueError, ImportError) as error:
            tried.append(f"  download: {error}")
    else:
        tried.append("  download: not allowed (download=False)")
    places = f"{cache}, or a folder that FASTCNN_DATA or root= names"
    files = ", ".join(f"{name}.gz" for name in c.digests)
    raise FileNotFoundError(
        "\n".join(
            [
                f"{c.name}: no source has the data. Tried:",
                *tried,
                f"To place it by hand, put {files} (from {' or '.join(c.mirrors)}) into {places}."
                + (" mnist(subset=True) needs no files." if c is MNIST else ""),
            ]
        )
    )


def _read(c: Collection, folder: Path, source: str) -> tuple[ArrayDataset, ArrayDataset]:
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


def _download(c: Collection, folder: Path) -> None:
    """Bring the files that `folder` lacks, from the first mirror that has them all."""
    try:
        import pooch
    except ImportError:
        raise ImportError('needs pooch: pip install "fastcnn[data]"') from None

    first = _first_answering(c.mirrors, next(iter(c.digests)), _ANSWER_SECONDS)
    if first is None:
        raise OSError(f"none of {', '.join(c.mirrors)} answered within {_ANSWER_SECONDS:g} s")
    get = pooch.HTTPDownloader(timeout=(_ANSWER_SECONDS, _STALL_SECONDS), chunk_size=2**16)
    folder.mkdir(parents=True, exist_ok=True)
    failures = []
    for mirror in (first, *(m for m in c.mirrors if m != first)):
        try:
            for name in c.digests:
                _fetch(c, get, mirror, name, folder)
            return
        except Exception as error:  # whatever a network does: the next mirror may do better
            failures.append(f"{mirror}: {error}")
    raise OSError("; ".join(failures))


def _fetch(c: Collection, get: Any, mirror: str, name: str, folder: Path) -> None:
    """Bring one file, unless it is there; it appears whole and verified, or not at all."""
    target = folder / f"{name}.gz"
    try:
        _read_file(c, target, name)
        return
    except (OSError, ValueError):
        pass
    handle, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            get(f"{mirror}{name}.gz", _Limited(file), None)
        _read_file(c, Path(temporary), name)
        os.replace(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


class _Limited:
    """A file to write to that takes no more than _MAX_BYTES: a server may send without end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._room = _MAX_BYTES

    def write(self, chunk: bytes) -> None:
        self._room -= len(chunk)
        if self._room < 0:
            raise ValueError(f"more than {_MAX_BYTES} bytes")
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
        answers.put((mirror, _offers(f"{mirror}{name}.gz", seconds)))

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
