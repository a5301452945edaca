"""Pictures to predict on: image files, NumPy arrays and IDX files as one float batch."""

import math
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .._checks import Pair, pair
from .idx import MAX_BYTES, Array, PathLike, read_idx

MAX_PIXELS = 2**25
# Formats that are pixels and nothing else; Pillow also knows some that run other programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "PPM")


def read_images(
    paths: PathLike | Iterable[PathLike],
    *,
    channels: int = 1,
    size: Pair | None = None,
    invert: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Array:
    """Read pictures as one batch that a model takes.

    Image files (PNG, JPEG, BMP, GIF, WebP or PPM, by Pillow, ``fastcnn[data]``) give one picture
    each, seen as a viewer shows them: turned as their EXIF data say, transparent parts white.
    ``.npy`` files (never pickled) and IDX files, plain or gzip, give as many as their shape says:
    (H, W), (N, H, W) or (N, C, H, W).

    Parameters
    ----------
    paths : path or iterable of paths
        The files, in the order of the batch.
    channels : int, optional
        1 for grey, 3 for RGB; colours become grey (ITU-R 601 luma) and grey becomes three equal
        channels as needed.
    size : int or (H, W), optional
        Resize every picture to this (bilinear, averaging where it shrinks). By default pictures
        stay as they are, and all must have the same size.
    invert : bool, optional
        ``1 - x``: for dark digits on white paper, where MNIST has white on black.
    max_pixels : int, optional
        The most pixels that a picture may have.

    Returns
    -------
    ndarray
        float32 of shape (N, channels, H, W): integer files scaled to [0, 1], float files as they
        are.

    Raises
    ------
    ValueError
        If a file is no picture of those kinds, damaged, or too big, if sizes differ, or an option
        is out of range. The message names the file.
    ImportError
        If an image file, or a resize, needs Pillow and it is not installed.
    OSError
        If a file cannot be opened.

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> from fastcnn import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "two.npy")
    ...     np.save(path, np.full((2, 8, 8), 255, dtype=np.uint8))
    ...     x = data.read_images(path, size=(28, 28))
    >>> x.shape, float(x.max())
    ((2, 1, 28, 28), 1.0)
    """
    files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if channels not in (1, 3):
        raise ValueError(f"read_images: expected channels of 1 or 3, got {channels!r}")
    to = checked_size("read_images", size, max_pixels)
    if not files:
        raise ValueError("read_images: expected at least one file")
    batches: list[Array] = []
    for file in files:
        x = _channels(_read(Path(file), max_pixels), channels, Path(file))
        if to is not None and x.shape[2:] != to:
            x = resize_pictures(x, to)
        if batches and x.shape[1:] != batches[0].shape[1:]:
            raise ValueError(
                f"{file}: expected {_hw(batches[0])} like {files[0]}, got {_hw(x)}; "
                f"size=(H, W) would make them equal"
            )
        batches.append(x)
    x = np.concatenate(batches)
    return np.subtract(np.float32(1), x) if invert else x


def checked_size(op: str, size: Pair | None, max_pixels: int) -> tuple[int, int] | None:
    """An int or (H, W) as (H, W) of at most `max_pixels` pixels; None stays None."""
    if size is None:
        return None
    h, w = pair(op, "size", size, 1)
    if h * w > max_pixels:
        raise ValueError(f"{op}: expected size (H, W) of 1..{max_pixels} pixels, got {(h, w)}")
    return h, w


def _hw(x: Array) -> str:
    return f"{x.shape[2]}x{x.shape[3]}"


def _read(path: Path, max_pixels: int) -> Array:
    """One file as float32 (N, C, H, W), C of 1 or 3 or whatever an array file has.

    What a file is, its first bytes tell, not its name.
    """
    with open(path, "rb") as file:
        magic = file.read(6)
    if magic == b"\x93NUMPY":
        array = _read_npy(path)
    elif magic[:2] in (b"\0\0", b"\x1f\x8b"):
        array = read_idx(path)
    else:
        return _read_picture(path, max_pixels)
    if array.ndim not in (2, 3, 4) or 0 in array.shape[1 if array.ndim > 2 else 0 :]:
        raise ValueError(
            f"{path}: expected pictures of shape (H, W), (N, H, W) or (N, C, H, W), "
            f"got {array.shape}"
        )
    if array.shape[-1] * array.shape[-2] > max_pixels:
        raise ValueError(f"{path}: {array.shape[-2:]} is more than {max_pixels} pixels")
    if array.dtype.kind == "u":
        array = np.divide(array, np.float32(np.iinfo(array.dtype).max), dtype=np.float32)
    elif array.dtype.kind != "f":
        raise ValueError(
            f"{path}: expected unsigned integers (as uint8, 0..255) or floats, got {array.dtype}"
        )
    x = array.astype(np.float32, copy=False)
    return x[None, None] if x.ndim == 2 else x[:, None] if x.ndim == 3 else x


def _read_npy(path: Path) -> Array:
    """A .npy file; its declared size is checked against the file before memory is taken."""
    with open(path, "rb") as file:
        try:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read_header(file)
            declared = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or not 0 < declared <= MAX_BYTES:
                raise ValueError(f"{shape} of {dtype}")
            if os.fstat(file.fileno()).st_size - file.tell() != declared:
                raise ValueError(f"its length does not fit {shape} of {dtype}")
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
        except Exception as error:  # the header's parser raises errors of many kinds
            raise ValueError(f"{path}: expected a .npy file of numbers: {error}") from error


def _read_picture(path: Path, max_pixels: int) -> Array:
    """One image file as float32 (1, 1 or 3, H, W) in [0, 1]."""
    with open(path, "rb") as file:
        pixels = decode_picture(file, str(path), max_pixels=max_pixels)
    return pixels[None] if pixels.dtype == np.float32 else np.divide(pixels[None], np.float32(255))


def decode_picture(
    file: BinaryIO, name: str, *, channels: int | None = None, max_pixels: int = MAX_PIXELS
) -> Array:
    """One picture as (1 or 3, H, W): uint8, but 16-bit grey as float32 in [0, 1].

    Parameters
    ----------
    file : binary file
        The picture, from where the file stands.
    name : str
        For messages.
    channels : int, optional
        1 or 3; by default grey pictures have one and others three. 16-bit grey has one.
    max_pixels : int, optional
        The most pixels that it may have; looked at before anything is decoded.

    Raises
    ------
    ValueError
        If it is no picture, damaged or too big.
    ImportError
        If Pillow is not installed.
    """
    image_module = _pillow()
    from PIL import ImageOps

    with warnings.catch_warnings():
        # The limit is ours: Pillow's own is higher, and only warns up to twice that.
        warnings.simplefilter("ignore", image_module.DecompressionBombWarning)
        try:
            picture = image_module.open(file, formats=_FORMATS)
            if picture.width * picture.height > max_pixels:
                raise ValueError(
                    f"{picture.width}x{picture.height} is more than {max_pixels} pixels"
                )
            picture = ImageOps.exif_transpose(picture)
            if picture.mode.startswith("I"):  # 16-bit grey
                return np.asarray(picture, dtype=np.float32)[None] / np.float32(65535)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                white = image_module.new("RGBA", picture.size, "white")
                picture = image_module.alpha_composite(white, picture)
            if channels is None:
                channels = 1 if picture.mode in ("1", "L", "LA") else 3
            pixels = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
        except Exception as error:  # Pillow's decoders raise errors of many kinds
            kinds = f"a picture ({', '.join(_FORMATS)}), .npy or IDX file"
            raise ValueError(f"{name}: expected {kinds}: {error}") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _channels(x: Array, channels: int, path: Path) -> Array:
    """Grey to RGB or RGB to grey where that is needed."""
    if x.shape[1] == channels:
        return x
    if x.shape[1] == 1:
        return np.repeat(x, channels, axis=1)
    if x.shape[1] == 3:
        luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)
        return np.einsum("c,nchw->nhw", luma, x)[:, None]
    raise ValueError(f"{path}: expected 1 or 3 channels, got {x.shape[1]}")


def resize_pictures(x: Array, size: tuple[int, int]) -> Array:
    """(N, C, H, W) of float32 or uint8 in another size (H, W): bilinear, averaging in shrinking."""
    image_module = _pillow()
    out = np.empty((*x.shape[:2], *size), x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        plane = image_module.fromarray(np.ascontiguousarray(x[n, c]))
        out[n, c] = plane.resize(size[::-1], image_module.Resampling.BILINEAR)
    return out


def _pillow() -> Any:
    """Pillow's Image module, or one clear error."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            'reading or resizing pictures needs Pillow: pip install "fastcnn[data]"'
        ) from None
    return Image
