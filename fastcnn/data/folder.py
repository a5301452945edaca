"""Folders and zip files of pictures, a subfolder for each class, as datasets.

Zip files are read in place: nothing is extracted to disk. What a file declares (its length, its
pixels, the whole data set) is checked before memory is taken.
"""

import contextlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from .._checks import Pair
from .dataset import ArrayDataset, Transform
from .idx import MAX_BYTES, Array, PathLike
from .images import MAX_PIXELS, checked_size, decode_picture, resize_pictures

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm"}
_MAX_FILE = 2**28  # bytes of one compressed picture


def image_folder(
    path: PathLike,
    split: str | None = None,
    *,
    channels: int | None = 3,
    size: Pair | None = None,
    transform: Transform | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> ArrayDataset:
    """Labelled pictures from ``<class>/<picture>`` in a folder or a zip file.

    Pictures are PNG, JPEG, BMP, GIF, WebP, PPM or PGM files, told by their suffix; other files are
    passed over. They are kept in memory as 8-bit numbers and become float32 batch by batch.

    Parameters
    ----------
    path : path
        The folder, or the zip file; one folder around everything in a zip is passed through.
    split : str, optional
        The subfolder that holds the classes, such as ``"train"`` or ``"test"``.
    channels : int or None, optional
        3 for RGB, 1 for grey; None follows the files: 1 if all of them are grey, else 3.
    size : int or (H, W), optional
        Resize every picture to this (bilinear, averaging where it shrinks). By default pictures
        stay as they are, and all must have the same size.
    transform : callable, optional
        As for `ArrayDataset`, for instance a normalisation.
    max_pixels : int, optional
        The most pixels that a picture may have.
    max_bytes : int, optional
        The most bytes that all pictures together may take, 1 GiB by default.

    Returns
    -------
    ArrayDataset
        ``.x`` float32 of shape (N, channels, H, W) in [0, 1]; ``.y`` int64 of shape (N,);
        ``.classes`` are the names of the subfolders, sorted. Samples are in the order of the
        classes, within one in the order of the file names.

    Raises
    ------
    ValueError
        If there are no pictures, or one is damaged, too big or of another size than the first; if
        the zip file is damaged; or if an option is out of range. The message names the file.
    ImportError
        If Pillow is not installed.
    OSError
        If a file cannot be opened.

    Examples
    --------
    >>> import os, tempfile
    >>> from PIL import Image
    >>> from fastcnn import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         os.mkdir(os.path.join(folder, name))
    ...         Image.new("RGB", (8, 8), "white").save(os.path.join(folder, name, "0.png"))
    ...     dataset = data.image_folder(folder)
    >>> dataset.classes, dataset.x.shape, dataset.y
    (('cat', 'dog'), (2, 3, 8, 8), array([0, 1]))
    """
    x, y, classes = read_classes(
        Path(path), split, channels=channels, size=size, max_pixels=max_pixels, max_bytes=max_bytes
    )
    return ArrayDataset(x, y, transform=transform, classes=classes, source=str(path))


def read_classes(
    path: Path,
    split: str | None,
    *,
    channels: int | None,
    size: Pair | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    in_turn: bool = False,
) -> tuple[Array, Array, list[str]]:
    """The pictures (uint8, N C H W), labels and class names of `image_folder`.

    With `in_turn` the samples come from one class after the other in turn, so that the first
    samples are of all classes.
    """
    if channels not in (1, 3, None):
        raise ValueError(f"image_folder: expected channels of 1, 3 or None, got {channels!r}")
    to = checked_size("image_folder", size, max_pixels)
    if split is not None and (split in ("", ".", "..") or "/" in split or "\\" in split):
        raise ValueError(f"image_folder: expected split to name a subfolder, got {split!r}")
    with contextlib.ExitStack() as stack:
        names, read = _listing(path, split, stack)
        pictures = [name for name in names if _is_picture(name)]
        if not pictures:
            inside = sorted({name.split("/")[0] for name in names if "/" in name})
            raise ValueError(
                f"{path}: expected <class>/<picture>{f' in {split}/' if split else ''}, found none"
                + (f"; split={inside[0]!r} may be meant" if inside and split is None else "")
            )
        classes = sorted({name.split("/")[0] for name in pictures})
        label_of = {name: i for i, name in enumerate(classes)}
        pictures.sort(key=lambda name: name.split("/"))
        labels = np.array([label_of[name.split("/")[0]] for name in pictures])
        if in_turn:
            rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
            order = np.lexsort((labels, rank))
            pictures, labels = [pictures[i] for i in order], labels[order]
        x: Array = np.empty(0, np.uint8)
        for i, name in enumerate(pictures):
            where = f"{path}: {name}"
            pixels = _uint8(
                decode_picture(
                    io.BytesIO(read(name)), where, channels=channels, max_pixels=max_pixels
                ),
                channels,
            )
            if to is not None and pixels.shape[1:] != to:
                pixels = resize_pictures(pixels[None], to)[0]
            grows = i > 0 and len(pixels) > x.shape[1]  # the first colours after grey ones
            if i == 0 or grows:
                if len(pictures) * pixels.size > max_bytes:
                    raise ValueError(
                        f"{path}: {len(pictures)} pictures of {pixels.shape} need more than "
                        f"max_bytes={max_bytes}"
                    )
                x = (
                    np.repeat(x, 3, 1)
                    if grows
                    else np.empty((len(labels), *pixels.shape), np.uint8)
                )
            if pixels.shape[1:] != x.shape[2:]:
                raise ValueError(
                    f"{where}: expected {x.shape[2]}x{x.shape[3]} like {pictures[0]}, got "
                    f"{pixels.shape[1]}x{pixels.shape[2]}; size=(H, W) would make them equal"
                )
            x[i] = pixels  # a grey one in every channel
    return x, labels, classes


def _listing(
    path: Path, split: str | None, stack: contextlib.ExitStack
) -> tuple[list[str], Callable[[str], bytes]]:
    """The files below the classes' parent, as ``a/b`` (or deeper), and what reads one."""
    if path.is_dir():
        base = path / split if split else path
        if not base.is_dir():
            raise ValueError(f"{path}: expected a subfolder {split!r}")
        files = [
            f"{entry.name}/{file.name}"
            for entry in os.scandir(base)
            if entry.is_dir()
            for file in os.scandir(entry)
        ]

        def read(name: str) -> bytes:
            with open(base / name, "rb") as file:
                return _whole(file, os.fstat(file.fileno()).st_size, str(base / name))

        return files, read

    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: expected a folder or a zip file: {error}") from error
    infos = [info for info in archive.infolist() if not info.is_dir()]
    prefix = outer_folder([info.filename for info in infos], split) + (f"{split}/" if split else "")
    members = {
        info.filename.removeprefix(prefix): info
        for info in infos
        if info.filename.startswith(prefix)
    }

    def read_member(name: str) -> bytes:
        try:
            with archive.open(members[name]) as file:  # gives no more than was declared
                return _whole(file, members[name].file_size, f"{path}: {name}")
        except Exception as error:  # zipfile and its decoders raise errors of many kinds
            raise ValueError(f"{path}: {name}: expected a whole member: {error}") from error

    return [*members], read_member


def outer_folder(names: list[str], split: str | None = None) -> str:
    """``folder/`` where one folder of a zip is around all pictures, as file managers make it."""
    parts = [name.split("/") for name in names if _may_be_picture(name)]
    first = {part[0] for part in parts}
    if len(first) == 1 and split not in first and min(map(len, parts)) > 2:
        return f"{first.pop()}/"
    return ""


def _whole(file: IO[bytes], size: int, where: str) -> bytes:
    if size > _MAX_FILE:
        raise ValueError(f"{where}: {size} bytes, expected at most {_MAX_FILE}")
    return file.read(size)


def _is_picture(name: str) -> bool:
    """Whether it is ``<class>/<picture>``, neither of them hidden."""
    return name.count("/") == 1 and _may_be_picture(name)


def _may_be_picture(name: str) -> bool:
    """Whether its suffix is that of a picture, and nothing on the way to it is hidden."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return not hidden and PurePosixPath(name).suffix.lower() in _SUFFIXES


def _uint8(pixels: Array, channels: int | None) -> Array:
    """16-bit grey as 8-bit of the wanted channels; anything else as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    return np.repeat(np.rint(pixels * 255).astype(np.uint8), channels or 1, axis=0)
