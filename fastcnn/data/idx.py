"""Reader and writer of IDX, the format of MNIST: plain or gzip, hardened against hostile files.

Layout, all numbers big-endian: two zero bytes, one byte for the type of the elements, one byte for
the number of dimensions, one uint32 for each dimension, then the elements in C order and nothing
after them (LeCun, Cortes and Burges, "The MNIST database of handwritten digits").

Declared sizes are checked before anything is allocated, and no more is ever decompressed than was
declared, so a gzip bomb costs neither time nor memory.
"""

import gzip
import hashlib
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
PathLike = str | os.PathLike[str]

MAX_BYTES = 2**30
_CHUNK = 2**20
_MAX_NDIM = 8
_TYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CODES = {dtype.newbyteorder("="): code for code, dtype in _TYPES.items()}


def read_idx(
    path: PathLike,
    *,
    dtype: DTypeLike | None = None,
    ndim: int | None = None,
    max_bytes: int = MAX_BYTES,
) -> Array:
    """Read an IDX file, plain or gzip (told by its content, not by its name).

    Parameters
    ----------
    path : str or path-like
        The file.
    dtype : dtype, optional
        The type of elements that the file must have; any by default.
    ndim : int, optional
        The number of dimensions that the file must have; 1 to 8 by default.
    max_bytes : int, optional
        The most bytes that the elements may take in memory, 1 GiB by default.

    Returns
    -------
    ndarray
        uint8, int8, int16, int32, float32 or float64 in the machine's byte order, C-contiguous.

    Raises
    ------
    ValueError
        If the content is not exactly one IDX array of the expected type and number of dimensions:
        bad magic, truncated, bytes after the end, too big, damaged gzip. The message names the
        file.
    OSError
        If the file cannot be opened or read.

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> from fastcnn import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "labels-idx1-ubyte.gz")
    ...     data.write_idx(path, np.array([7, 2, 1], dtype=np.uint8))
    ...     data.read_idx(path, ndim=1)
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as file:
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            return _read(file, path, dtype, ndim, max_bytes)
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _read(unzipped, path, dtype, ndim, max_bytes)
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ValueError(f"{path}: expected a whole gzip file: {error}") from error


def _read(
    file: BinaryIO | gzip.GzipFile,
    path: PathLike,
    dtype: DTypeLike | None,
    ndim: int | None,
    max_bytes: int,
) -> Array:
    """The array in an open stream, reading at most one byte more than it declares."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path}: expected an IDX file (two zero bytes first), got {magic!r}")
    if magic[2] not in _TYPES:
        known = ", ".join(f"{code:#04x}" for code in _TYPES)
        raise ValueError(f"{path}: expected an IDX type code of {known}, got {magic[2]:#04x}")
    stored = _TYPES[magic[2]]
    if dtype is not None and stored.newbyteorder("=") != np.dtype(dtype):
        raise ValueError(
            f"{path}: expected elements of {np.dtype(dtype)}, got {stored.newbyteorder('=')}"
        )
    if not 1 <= magic[3] <= _MAX_NDIM or ndim not in (None, magic[3]):
        wanted = f"1..{_MAX_NDIM}" if ndim is None else str(ndim)
        raise ValueError(f"{path}: expected {wanted} dimensions, got {magic[3]}")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise ValueError(f"{path}: truncated in the header")
    shape = struct.unpack(f">{magic[3]}I", header)
    # A zero among huge sizes makes an empty array whose shape no machine can hold: count it as 1.
    if math.prod(max(n, 1) for n in shape) * stored.itemsize > max_bytes:
        raise ValueError(f"{path}: shape {shape} of {stored} needs more than {max_bytes} bytes")
    expected = math.prod(shape) * stored.itemsize
    # Memory grows with what really arrives, not with what the header promises.
    content = bytearray()
    while len(content) <= expected:
        chunk = file.read(min(_CHUNK, expected + 1 - len(content)))
        if not chunk:
            break
        content += chunk
    if len(content) != expected:
        what = "truncated" if len(content) < expected else "bytes after the end"
        got = len(content) if len(content) < expected else f"more than {expected}"
        raise ValueError(f"{path}: {what}: expected {expected} bytes for {shape}, got {got}")
    array = np.frombuffer(content, stored).reshape(shape)
    return array.astype(stored.newbyteorder("="), copy=False)


def read_idx_images(path: PathLike, *, max_bytes: int = MAX_BYTES) -> Array:
    """Read an IDX file of 8-bit grey images.

    Parameters
    ----------
    path, max_bytes
        As for `read_idx`.

    Returns
    -------
    ndarray
        uint8 of shape (N, H, W).

    Raises
    ------
    ValueError
        If the file is not an IDX file of uint8 with three dimensions, H and W at least 1.

    Examples
    --------
    >>> from fastcnn.data.idx import read_idx_images
    >>> from fastcnn.data.mnist import EMBEDDED
    >>> read_idx_images(EMBEDDED / "t10k-images-idx3-ubyte.gz").shape
    (1000, 28, 28)
    """
    images = read_idx(path, dtype=np.uint8, ndim=3, max_bytes=max_bytes)
    if 0 in images.shape[1:]:
        raise ValueError(f"{path}: expected images of at least 1x1, got shape {images.shape}")
    return images


def read_idx_labels(path: PathLike, classes: int = 10, *, max_bytes: int = MAX_BYTES) -> Array:
    """Read an IDX file of class labels.

    Parameters
    ----------
    path, max_bytes
        As for `read_idx`.
    classes : int, optional
        How many classes there are; each label must be less than that.

    Returns
    -------
    ndarray
        uint8 of shape (N,).

    Raises
    ------
    ValueError
        If the file is not an IDX file of uint8 with one dimension, or a label is out of range.

    Examples
    --------
    >>> from fastcnn.data.idx import read_idx_labels
    >>> from fastcnn.data.mnist import EMBEDDED
    >>> read_idx_labels(EMBEDDED / "t10k-labels-idx1-ubyte.gz")[:5]
    array([7, 2, 1, 0, 4], dtype=uint8)
    """
    labels = read_idx(path, dtype=np.uint8, ndim=1, max_bytes=max_bytes)
    if labels.size and labels.max() >= classes:
        at = int(np.argmax(labels >= classes))
        raise ValueError(f"{path}: expected labels in 0..{classes - 1}, got {labels[at]} at {at}")
    return labels


def write_idx(path: PathLike, array: Array) -> None:
    """Write an array as IDX; as gzip if the name ends in ``.gz``.

    The same array gives the same bytes each time (no time stamp, no file name inside).

    Parameters
    ----------
    path : str or path-like
        The file.
    array : ndarray
        uint8, int8, int16, int32, float32 or float64 with 1 to 8 dimensions.

    Raises
    ------
    ValueError
        If IDX has no type for the array, or it has no or too many dimensions.

    Examples
    --------
    >>> import tempfile, os, numpy as np
    >>> from fastcnn import data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "a.idx")
    ...     data.write_idx(path, np.zeros((2, 3), dtype=np.float32))
    ...     os.path.getsize(path)
    36
    """
    content = _header(array) + _elements(array).tobytes()
    if Path(path).suffix == ".gz":
        buffer = io.BytesIO()
        with gzip.GzipFile("", "wb", 9, buffer, mtime=0) as zipped:
            zipped.write(content)
        content = buffer.getvalue()
    Path(path).write_bytes(content)


def content_sha256(array: Array) -> str:
    """SHA-256 (hexadecimal) of the plain IDX file that holds `array`, however it was compressed.

    Parameters
    ----------
    array : ndarray
        As for `write_idx`. `read_idx` accepts one plain content only for each array, so this is
        the hash of the file that the array was read from.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data.idx import content_sha256
    >>> content_sha256(np.array([7, 2], dtype=np.uint8))[:16]
    'ccde9e37761edb21'
    """
    digest = hashlib.sha256(_header(array))
    digest.update(_elements(array).data if array.size else b"")
    return digest.hexdigest()


def _header(array: Array) -> bytes:
    code = _CODES.get(array.dtype.newbyteorder("="))
    if code is None:
        known = ", ".join(str(dtype) for dtype in _CODES)
        raise ValueError(f"write_idx: expected an array of {known}, got {array.dtype}")
    if not 1 <= array.ndim <= _MAX_NDIM or max(array.shape) >= 2**32:
        raise ValueError(
            f"write_idx: expected 1..{_MAX_NDIM} dimensions below 2**32, got shape {array.shape}"
        )
    return bytes((0, 0, code, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)


def _elements(array: Array) -> Array:
    return np.ascontiguousarray(array, array.dtype.newbyteorder(">"))
