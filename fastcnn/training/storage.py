"""Files that are never half-written and never trusted: atomic writes, safetensors in and out.

A write goes to a temporary file in the same folder, is flushed to the disk, takes the place of
the old file by one rename, and the folder is flushed too: whoever dies in between, the old file
is still whole (a killed writer may leave its ``.<name>.<random>.tmp`` behind). Nothing that is read
here can run code: safetensors is a JSON header followed by raw numbers.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PathLike = str | os.PathLike[str]

# The number formats that NumPy and safetensors share; others (bfloat16, float8) are refused.
_DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16,
    "I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8,
    "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
_CODES = {np.dtype(dtype): code for code, dtype in _DTYPES.items()}
_MAX_HEADER = 64 << 20  # bytes; a header of a million tensors would fit


def atomic_write(path: PathLike, write: Callable[[BinaryIO], object]) -> None:
    """Replace the file at `path` by what ``write(file)`` writes, wholly or not at all.

    Parameters
    ----------
    path : str or PathLike
        The file to make or replace; its folder must exist. A link is followed. Of several threads
        that write at once, one has the last word.
    write : callable
        Gets the open binary file.

    Raises
    ------
    OSError
        If the folder is missing or full; the old file is then as it was.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     atomic_write(folder + "/a.txt", lambda file: file.write(b"whole"))
    ...     os.listdir(folder)
    ['a.txt']
    """
    target = Path(os.path.realpath(path))
    # A name of its own for each call: threads, and machines that share a folder, may write at
    # once. Not tempfile's, whose files nobody else may read.
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # make the rename itself durable; Windows cannot open folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_safetensors(path: PathLike, arrays: Mapping[str, Array], meta: object = None) -> None:
    """Write named arrays and one JSON value to a safetensors file, atomically and durably.

    The arrays go to the file one after the other, so nothing is held in memory twice.

    Parameters
    ----------
    path : str or PathLike
        The file to make or replace.
    arrays : mapping of str to ndarray
        Booleans, integers and floats of NumPy's sizes, any shape.
    meta : JSON value, optional
        Stored under the key ``fastcnn`` of the file's metadata.

    Raises
    ------
    TypeError
        If an array's dtype has no place in the format, or `meta` is not JSON.
    OSError
        If the file cannot be written; the old one is then as it was.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_safetensors(folder + "/w", {"w": np.ones(2)}, {"epoch": 3})
    ...     read_safetensors(folder + "/w")
    ({'w': array([1., 1.])}, {'epoch': 3})
    """
    header: dict[str, Any] = {"__metadata__": {"fastcnn": json.dumps(meta, allow_nan=False)}}
    offset = 0
    for name, array in arrays.items():
        code = _CODES.get(array.dtype.newbyteorder("="))
        if code is None or name == "__metadata__":
            raise TypeError(f"write_safetensors: cannot store {name!r} of dtype {array.dtype}")
        header[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the numbers start on a multiple of 8 bytes

    def write(file: BinaryIO) -> None:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            file.write(np.ascontiguousarray(little).reshape(-1).view(np.uint8).data)

    atomic_write(path, write)


def read_safetensors(path: PathLike, max_bytes: int = 1 << 36) -> tuple[dict[str, Array], Any]:
    """Read a safetensors file that may be hostile: (arrays, meta).

    Sizes that the file declares are checked against its true size before anything is allocated,
    so a small file cannot take much memory.

    Parameters
    ----------
    path : str or PathLike
        A safetensors file, ours or from elsewhere.
    max_bytes : int, optional
        Refuse a larger file; 64 GiB by default.

    Returns
    -------
    arrays : dict of str to ndarray
    meta : JSON value
        What `write_safetensors` was given; None in a file from elsewhere.

    Raises
    ------
    ValueError
        If the file is not a whole, valid safetensors file, or too large.
    OSError
        If it cannot be opened.
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > max_bytes:
            raise ValueError(f"{path}: {size} bytes, more than the {max_bytes} allowed")
        try:
            return _read(file, size)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = str(error) if type(error) is ValueError else f"malformed header ({error!r})"
            raise ValueError(f"{path}: not a valid safetensors file: {reason}") from None


def _read(file: BinaryIO, size: int) -> tuple[dict[str, Array], Any]:
    if size < 8:
        raise ValueError(f"expected at least 8 bytes, got {size}")
    length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, _MAX_HEADER):
        raise ValueError(f"its header claims {length} bytes, the file has {size}")
    header = json.loads(file.read(length), object_pairs_hook=_no_duplicates)
    metadata = header.pop("__metadata__", {})
    room = size - 8 - length
    plan = [(*_entry(name, entry), name) for name, entry in header.items()]
    end = 0
    for begin, stop, _, _, name in sorted(plan, key=lambda item: item[:2]):
        if begin != end:  # neither holes nor overlaps
            raise ValueError(f"{name!r} starts at {begin} where {end} was expected")
        end = stop
    if end != room:
        raise ValueError(f"its arrays need {end} bytes, the file has {room}")
    arrays = {}
    for begin, stop, dtype, shape, name in sorted(plan, key=lambda item: item[:2]):
        data = bytearray(stop - begin)
        if file.readinto(data) != len(data):  # type: ignore[attr-defined]
            raise ValueError("the file became shorter while it was read")
        if dtype == np.bool_ and any(byte > 1 for byte in set(data)):
            raise ValueError(f"{name!r} has booleans that are neither 0 nor 1")
        arrays[name] = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)
        arrays[name] = arrays[name].reshape(shape)
    return arrays, json.loads(metadata.get("fastcnn", "null"), object_pairs_hook=_no_duplicates)


def _entry(name: str, entry: dict[str, Any]) -> tuple[int, int, np.dtype[Any], tuple[int, ...]]:
    """(begin, end, dtype, shape) of one array of the header, checked against each other."""
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"{name!r} has dtype {entry['dtype']!r}, expected one of {[*_DTYPES]}")
    dtype = np.dtype(_DTYPES[entry["dtype"]])
    offsets, shape = entry["data_offsets"], entry["shape"]
    if not isinstance(shape, list) or len(shape) > 32:
        raise ValueError(f"{name!r} has shape {shape!r}, expected a list of at most 32 sizes")
    if not isinstance(offsets, list) or len(offsets) != 2:
        raise ValueError(f"{name!r} has offsets {offsets!r}, expected [begin, end]")
    begin, end = offsets
    count = 1
    for number in (*shape, begin, end):
        if type(number) is not int or not 0 <= number < 2**62:
            raise ValueError(f"{name!r} has {number!r} where a size was expected")
    for number in shape:
        count *= number
    if count * dtype.itemsize != end - begin:
        raise ValueError(f"{name!r}: shape {shape} of {dtype} does not fill {end - begin} bytes")
    return begin, end, dtype, tuple(shape)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return result
