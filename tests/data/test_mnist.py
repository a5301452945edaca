"""MNIST's sources: their order, what makes one fail, downloads, the embedded and the full set."""

import functools
import gzip
import hashlib
import http.server
import importlib
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastcnn import data
from fastcnn.data import read_idx, sources, write_idx
from fastcnn.data.idx import content_sha256

# The function `fastcnn.data.mnist` hides the module of the same name.
module = importlib.import_module("fastcnn.data.mnist")
FILES = tuple(module.MNIST.digests)


def arrays(seed: int) -> dict[str, np.ndarray]:
    """A tiny collection: 6 training and 4 test images of 3 x 3, by file name."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, n in zip(FILES, (6, 6, 4, 4), strict=True):
        shape = (n, 3, 3) if "images" in name else (n,)
        result[name] = rng.integers(0, 10, shape, dtype=np.uint8)
    return result


GENUINE = arrays(1)


def place(folder: Path, content: dict[str, np.ndarray], suffix: str = ".gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in content.items():
        write_idx(folder / f"{name}{suffix}", array)
    return folder


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    """A world in which MNIST is GENUINE, with an empty cache, no FASTCNN_DATA and no network."""
    small = module.MNIST._replace(
        digests={name: content_sha256(a) for name, a in GENUINE.items()},
        mirrors=("https://one.invalid/", "https://two.invalid/", "https://three.invalid/"),
    )
    monkeypatch.setattr(module, "MNIST", small)
    monkeypatch.setattr(sources, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sources, "_offers", lambda url, seconds: False)
    monkeypatch.delenv("FASTCNN_DATA", raising=False)
    return tmp_path / "cache" / "mnist"


class Mirrors:
    """Plays pooch.HTTPDownloader: serves the contents of `files` by URL, remembers who asked."""

    def __init__(self, monkeypatch, files: dict[str, object]):
        import pooch

        self.files, self.asked = files, []
        monkeypatch.setattr(pooch, "HTTPDownloader", self)
        monkeypatch.setattr(sources, "_offers", lambda url, seconds: url in files)

    def __call__(self, *args, **options):
        if not args:  # the constructor
            assert options["timeout"]
            return self
        url, file, _ = args
        self.asked.append(url)
        content = self.files[url]
        if isinstance(content, Exception):
            file.write(b"half of it")
            file.flush()
            raise content
        for chunk in content if isinstance(content, list) else [content]:
            file.write(chunk)
        return None


def served(tmp_path, mirror: str, content: dict[str, np.ndarray]) -> dict[str, bytes]:
    folder = place(tmp_path / f"server{len(mirror)}", content)
    return {f"{mirror}{name}.gz": (folder / f"{name}.gz").read_bytes() for name in FILES}


def same(train, test) -> bool:
    return all(
        np.array_equal(np.divide(GENUINE[x], np.float32(255)), dataset.x[:, 0])
        and np.array_equal(GENUINE[y], dataset.y)
        for dataset, x, y in ((train, *FILES[:2]), (test, *FILES[2:]))
    )


# ---------------------------------------------------------------------------- folders


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("sub", [".", "mnist", "MNIST/raw"])
def test_root(cache, tmp_path, sub, suffix):
    folder = place(tmp_path / "mine" / sub, GENUINE, suffix)
    train, test = data.mnist(tmp_path / "mine", download=False)
    assert same(train, test)
    assert train.source == test.source == str(folder)
    assert train.classes == tuple("0123456789")


def test_order_of_sources(cache, tmp_path, monkeypatch):
    root, env = tmp_path / "root", tmp_path / "env"
    place(root, GENUINE), place(env / "mnist", GENUINE), place(cache, GENUINE)
    monkeypatch.setenv("FASTCNN_DATA", str(env))
    expected = [root, env / "mnist", cache]
    assert list(data.data_folders(root)) == ["root", "FASTCNN_DATA", "cache"]
    for folder in expected:
        assert data.mnist(root, download=False)[0].source == str(folder)
        (folder / f"{FILES[2]}.gz").unlink()  # one file less: as good as none
    with pytest.raises(FileNotFoundError):
        data.mnist(root, download=False)


def damage(folder: Path, how: str) -> None:
    path = folder / f"{FILES[0]}.gz"
    if how == "other content":
        write_idx(path, arrays(2)[FILES[0]])
    elif how == "half written":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "an error page":
        path.write_text("<html>404</html>")
    elif how == "labels out of range":
        write_idx(folder / f"{FILES[1]}.gz", GENUINE[FILES[1]] + 10)
    elif how == "a folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    "how", ["other content", "half written", "an error page", "labels out of range", "a folder"]
)
def test_a_bad_source_leads_to_the_next(cache, tmp_path, how):
    damage(place(tmp_path / "root", GENUINE), how)
    place(cache, GENUINE)
    train, test = data.mnist(tmp_path / "root", download=False)
    assert same(train, test) and train.source == str(cache)


def test_any_gzip_of_the_right_bytes_is_accepted(cache, tmp_path):
    folder = place(tmp_path / "root", GENUINE, "")
    for name in FILES:
        plain = (folder / name).read_bytes()
        (folder / f"{name}.gz").write_bytes(gzip.compress(plain[:9], 1) + gzip.compress(plain[9:]))
        (folder / name).unlink()
    assert same(*data.mnist(folder, download=False))


def test_the_last_error_tells_all(cache, tmp_path, monkeypatch):
    damage(place(tmp_path / "root", GENUINE), "other content")
    monkeypatch.setenv("FASTCNN_DATA", str(tmp_path / "env"))
    with pytest.raises(FileNotFoundError) as error:
        data.mnist(tmp_path / "root")
    text = str(error.value)
    lines = text.splitlines()
    assert "sha256" in lines[1] and lines[1].startswith("  root: ")
    assert lines[2].startswith("  FASTCNN_DATA: ") and str(tmp_path / "env") in lines[2]
    assert lines[3].startswith("  cache: ")
    assert lines[4].startswith("  download: no answer from https://one.invalid/, ")
    assert str(cache) in lines[5] and "train-images-idx3-ubyte.gz" in lines[5]
    assert "subset=True" in lines[5]
    with pytest.raises(FileNotFoundError, match="download: not allowed"):
        data.mnist(download=False)


# ---------------------------------------------------------------------------- downloads


def test_download(cache, tmp_path, monkeypatch):
    mirrors = Mirrors(monkeypatch, served(tmp_path, "https://two.invalid/", GENUINE))
    train, test = data.mnist()
    assert same(train, test) and train.source == str(cache)
    assert sorted(p.name for p in cache.iterdir()) == sorted(f"{n}.gz" for n in FILES)
    assert mirrors.asked == [f"https://two.invalid/{n}.gz" for n in FILES]
    data.mnist(download=False)  # from the cache now


@pytest.mark.parametrize(
    "first",
    [
        ConnectionError("reset"),
        b"<html>log in to this network</html>",
        [b"\0" * 2**20] * 65,
        b"",
    ],
    ids=["breaks", "portal", "without end", "empty"],
)
def test_a_bad_mirror_leads_to_the_next(cache, tmp_path, monkeypatch, first):
    files = served(tmp_path, "https://three.invalid/", GENUINE)
    good = dict(files)
    files[f"https://one.invalid/{FILES[0]}.gz"] = first
    mirrors = Mirrors(monkeypatch, files)
    offers = iter([True])  # the bad one answers first
    monkeypatch.setattr(
        sources, "_first_answering", lambda *a: "https://one.invalid/" if next(offers) else None
    )
    assert same(*data.mnist())
    assert mirrors.asked[0].startswith("https://one.invalid/")
    assert [u for u in mirrors.asked if u in good] == list(good)
    assert not [p for p in cache.iterdir() if p.name.startswith(".")]


def test_wrong_content_from_all_mirrors(cache, tmp_path, monkeypatch):
    files = {}
    for mirror in module.MNIST.mirrors:
        files |= served(tmp_path, mirror, arrays(2))
    Mirrors(monkeypatch, files)
    with pytest.raises(FileNotFoundError, match=r"one\.invalid/: .*not the genuine content"):
        data.mnist()
    assert list(cache.iterdir()) == []


def test_what_the_cache_has_is_not_fetched_again(cache, tmp_path, monkeypatch):
    place(cache, GENUINE)
    damage(cache, "half written")
    mirrors = Mirrors(monkeypatch, served(tmp_path, "https://one.invalid/", GENUINE))
    assert same(*data.mnist())
    assert mirrors.asked == [f"https://one.invalid/{FILES[0]}.gz"]


def test_a_cache_that_cannot_be_written(cache, tmp_path, monkeypatch):
    Mirrors(monkeypatch, served(tmp_path, "https://one.invalid/", GENUINE))
    cache.parent.write_text("a file where the folder should be")
    with pytest.raises(FileNotFoundError, match=r"download: .*cache"):
        data.mnist()


def test_without_pooch(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(FileNotFoundError, match=r'pip install "fastcnn\[data\]"'):
        data.mnist()
    place(cache, GENUINE)
    assert same(*data.mnist())  # no pooch needed for files that are there


def test_silent_mirrors_are_not_waited_for(monkeypatch):
    """A name server that never answers blocks its thread, not us."""
    never = threading.Event()

    def offers(url, seconds):
        if "silent" in url:
            never.wait(60)
        return "good" in url

    monkeypatch.setattr(sources, "_offers", offers)
    try:
        begin = time.monotonic()
        first = sources._first_answering(("silent/", "bad/", "good/"), "file", 30)
        assert first == "good/"
        assert sources._first_answering(("silent/", "bad/"), "file", 0.05) is None
        assert sources._first_answering(("bad/",), "file", 30) is None
        assert time.monotonic() - begin < 25  # none of the long limits was used up
    finally:
        never.set()


def test_over_http(cache, tmp_path, monkeypatch):
    """The real pooch and requests against a server on this machine's loopback."""
    folder = place(tmp_path / "server", GENUINE)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            monkeypatch.setenv("NO_PROXY", "127.0.0.1")
            monkeypatch.setattr(sources, "_offers", REAL_OFFERS)
            monkeypatch.setattr(module, "MNIST", module.MNIST._replace(mirrors=(url,)))
            assert same(*data.mnist())
            assert not REAL_OFFERS(f"{url}nothing", 5)
        finally:
            server.shutdown()
            thread.join()
    assert not REAL_OFFERS(url, 5)  # nobody listens any more


REAL_OFFERS = sources._offers


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


# ---------------------------------------------------------------------------- siblings


@pytest.mark.parametrize("name", ["fashion_mnist", "kmnist"])
def test_siblings_are_verified_by_md5_of_the_published_file(cache, tmp_path, monkeypatch, name):
    folder = place(tmp_path / "root" / name, GENUINE)
    constant = name.upper()
    digests = {
        n: "md5:" + hashlib.md5((folder / f"{n}.gz").read_bytes()).hexdigest() for n in FILES
    }
    original = getattr(module, constant)
    assert all(len(d) == 36 and d.startswith("md5:") for d in original.digests.values())
    assert len(original.classes) == 10
    with pytest.raises(FileNotFoundError, match="not the published file"):
        getattr(data, name)(folder)
    monkeypatch.setattr(module, constant, original._replace(digests=digests))
    train, test = getattr(data, name)(tmp_path / "root")
    assert same(train, test) and train.classes == original.classes


# ---------------------------------------------------------------------------- full or subset


def test_mnist_or_subset(cache, tmp_path):
    train, test, text = data.mnist_or_subset(tmp_path / "none")
    assert (len(train), len(test)) == (5000, 1000)
    assert text.startswith(
        "MNIST, 5,000 training and 1,000 test images, from the embedded subset "
        "(full set not found: root: "
    )
    assert "download: no answer" in text and "\n" not in text
    place(cache, GENUINE)
    train, test, text = data.mnist_or_subset()
    assert same(train, test)
    assert text == f"MNIST, 6 training and 4 test images, from {cache}"


def test_the_embedded_subset(monkeypatch):
    """Its content, by hash; it touches neither network nor any other folder."""
    monkeypatch.setattr(sources, "data_folders", None)
    monkeypatch.setattr(sources, "bring", None)
    train, test = data.mnist("nowhere", subset=True)
    assert train.x.shape == (5000, 1, 28, 28) and test.x.shape == (1000, 1, 28, 28)
    assert train.x.dtype == np.float32 and train.x.min() == 0 and train.x.max() == 1
    assert train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(train.y).tolist() == [479, 563, 488, 493, 535, 434, 501, 550, 462, 495]
    assert train.source == "the embedded subset"
    for name, digest in module.SUBSET.digests.items():
        plain = gzip.decompress((module.EMBEDDED / f"{name}.gz").read_bytes())
        assert hashlib.sha256(plain).hexdigest() == digest
    size = sum(p.stat().st_size for p in module.EMBEDDED.iterdir())
    assert size < 1.0e6
    assert "Attribution-Share Alike" in (module.EMBEDDED / "LICENSE.txt").read_text()


@pytest.mark.skipif(not os.environ.get("FASTCNN_DATA"), reason="FASTCNN_DATA is not set")
def test_the_full_set(monkeypatch):
    """The real files: content, sizes, and that the embedded subset is their beginning."""
    train, test = data.mnist(download=False)
    assert train.source.startswith(os.environ["FASTCNN_DATA"])
    assert train.x.shape == (60000, 1, 28, 28) and test.x.shape == (10000, 1, 28, 28)
    assert np.bincount(train.y).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    few, few_test = data.mnist(subset=True)
    for whole, part in ((train, few), (test, few_test)):
        np.testing.assert_array_equal(whole.x[: len(part)], part.x)
        np.testing.assert_array_equal(whole.y[: len(part)], part.y)
    md5 = {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    }
    for name, digest in md5.items():  # an independent record of the genuine bytes
        path = sources.find_file(Path(train.source), name)
        a = read_idx(path)
        plain = bytes((0, 0, 8, a.ndim)) + np.array(a.shape, ">u4").tobytes() + a.tobytes()
        assert hashlib.md5(plain).hexdigest() == digest


# ---------------------------------------------------------------------------- places


def test_cache_folder_is_poochs(monkeypatch, tmp_path):
    import pooch

    assert data.cache_folder() == pooch.os_cache("fastcnn")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert data.cache_folder() == pooch.os_cache("fastcnn") == tmp_path / "fastcnn"


@pytest.mark.parametrize(
    "platform, end", [("win32", "fastcnn/fastcnn/Cache"), ("darwin", "Library/Caches/fastcnn")]
)
def test_cache_folder_elsewhere(monkeypatch, platform, end):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    assert data.cache_folder().as_posix().endswith(end)


def test_nothing_heavy_is_imported():
    """Reading files needs neither pooch, requests nor Pillow."""
    import subprocess

    code = (
        "import sys; from fastcnn import data; data.mnist(subset=True); "
        "print([m for m in ('pooch', 'requests', 'PIL', 'scipy', 'tqdm') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
