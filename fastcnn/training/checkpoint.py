"""Weights and checkpoints in safetensors files: saving, checking, loading, fingerprinting.

A weights file holds the model's ``state_dict`` under its own names. A checkpoint holds a tree of
dictionaries, lists, numbers and arrays: the arrays lie in the file under their path in the tree
(``model/conv1.weight``), the rest is JSON in its metadata, where an array is named by
``{"$array": path}``.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..nn import Layer
from .storage import Array, PathLike, read_safetensors, write_safetensors

_VERSION = 1  # of the tree that a checkpoint holds


def weights_sha256(model: Layer) -> str:
    """SHA-256 over names, shapes, types and bits of all weights of a model.

    Parameters
    ----------
    model : Layer
        Any model.

    Returns
    -------
    str
        64 hexadecimal digits; equal exactly if the weights are equal to the bit.

    Examples
    --------
    >>> from fastcnn.models import lenet5
    >>> weights_sha256(lenet5(seed=0)) == weights_sha256(lenet5(seed=0))
    True
    >>> weights_sha256(lenet5(seed=0)) == weights_sha256(lenet5(seed=1))
    False
    """
    digest = hashlib.sha256()
    for name, array in sorted(model.state_dict().items()):
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def save_weights(model: Layer, path: PathLike) -> None:
    """Write a model's weights to a safetensors file, atomically and durably.

    Parameters
    ----------
    model : Layer
        Any model.
    path : str or PathLike
        The file to make or replace.

    Raises
    ------
    OSError
        If the file cannot be written; the old one is then as it was.

    Examples
    --------
    >>> import tempfile
    >>> from fastcnn.models import lenet5
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_weights(lenet5(seed=3), folder + "/w.safetensors")
    ...     model = lenet5()
    ...     load_weights(model, folder + "/w.safetensors")
    >>> weights_sha256(model) == weights_sha256(lenet5(seed=3))
    True
    """
    write_safetensors(path, model.state_dict())


def load_weights(model: Layer, path: PathLike) -> None:
    """Set a model's weights from a safetensors file: all of them, or none and an error.

    Parameters
    ----------
    model : Layer
        Must have the names, shapes and types that the file has.
    path : str or PathLike
        As written by `save_weights`.

    Raises
    ------
    ValueError
        If the file is damaged, or does not fit the model, or holds NaN or infinity.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from fastcnn import nn
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +ELLIPSIS
    ...     save_weights(nn.Linear(2, 1, seed=0), folder + "/w.safetensors")
    ...     load_weights(nn.Linear(2, 3, seed=0), folder + "/w.safetensors")
    Traceback (most recent call last):
        ...
    ValueError: ...expected weight to be float32 of shape (3, 2), got float32 of shape (1, 2)
    """
    arrays, _ = read_safetensors(path)
    check_arrays(str(path), arrays, model.state_dict())
    model.load_state_dict(arrays)


def check_arrays(where: str, got: Mapping[str, Any], expected: Mapping[str, Array]) -> None:
    """ValueError unless `got` has finite arrays of the expected names, shapes and types.

    Parameters
    ----------
    where : str
        What the message begins with, such as the name of a file.
    got, expected : mapping of str to ndarray

    Raises
    ------
    ValueError
        Naming what is missing, unknown, of another shape or type, or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> check_arrays("a file", {"w": np.ones(2)}, {"w": np.zeros(2)})
    """
    missing = sorted(set(expected) - set(got))
    unknown = sorted(set(got) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"{where}: does not fit the model: expected the names {_few(sorted(expected))}; "
            f"missing {_few(missing)}, unknown {_few(unknown)}"
        )
    for name, array in got.items():
        like = expected[name]
        if not isinstance(array, np.ndarray) or (array.shape, array.dtype) != (
            like.shape,
            like.dtype,
        ):
            raise ValueError(
                f"{where}: does not fit the model: expected {name} to be {like.dtype} of shape "
                f"{like.shape}, got {getattr(array, 'dtype', type(array).__name__)} of shape "
                f"{getattr(array, 'shape', '-')}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{where}: {name} holds NaN or infinity")


def _few(names: list[str]) -> str:
    text = ", ".join(names[:8]) or "none"
    return f"{text}, ... ({len(names)} in all)" if len(names) > 8 else text


def save_checkpoint(path: PathLike, tree: Mapping[str, Any]) -> None:
    """Write a tree of dictionaries, lists, numbers and arrays to a file, atomically and durably.

    ``Trainer.save_checkpoint`` is what users call.

    Parameters
    ----------
    path : str or PathLike
        The file to make or replace.
    tree : mapping
        Keys are strings without ``$``.

    Raises
    ------
    TypeError, ValueError
        If something in the tree has no place in the file (say, NaN outside arrays).
    OSError
        If the file cannot be written; the old one is then as it was.
    """
    arrays: dict[str, Array] = {}
    packed = _pack(tree, "", arrays)
    # The SHA-256 is there because safetensors alone would not see a flipped bit.
    meta = {"kind": "checkpoint", "version": _VERSION, "tree": packed}
    meta["sha256"] = _digest(packed, arrays)
    write_safetensors(path, arrays, meta)


def load_checkpoint(path: PathLike) -> dict[str, Any]:
    """The tree that `save_checkpoint` wrote, checked against its SHA-256.

    ``Trainer.resume`` is what users call to go on with a run.

    Parameters
    ----------
    path : str or PathLike
        As written by ``Trainer.save_checkpoint``.

    Returns
    -------
    dict
        ``["notes"]`` are the caller's own.

    Raises
    ------
    ValueError
        If the file is damaged, or is no checkpoint, or from a newer version.
    OSError
        If it cannot be opened.
    """
    arrays, meta = read_safetensors(path)
    if not isinstance(meta, dict) or meta.get("kind") != "checkpoint":
        raise ValueError(f"{path}: not a checkpoint (saved weights are loaded by load_weights)")
    if meta.get("version") != _VERSION:
        raise ValueError(
            f"{path}: expected checkpoint version {_VERSION}, got {meta.get('version')}"
        )
    if meta.get("sha256") != _digest(meta.get("tree"), arrays):
        raise ValueError(
            f"{path}: damaged: its content does not have the SHA-256 it was saved with"
        )
    try:
        tree = _unpack(meta.get("tree"), arrays)
    except KeyError as error:
        raise ValueError(f"{path}: damaged: array {error} is missing or used twice") from None
    if arrays or not isinstance(tree, dict):
        raise ValueError(f"{path}: damaged: it holds arrays that nothing names")
    return tree


def _digest(packed: Any, arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256(json.dumps(packed).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _pack(tree: Any, path: str, arrays: dict[str, Array]) -> Any:
    """`tree` as JSON, its arrays moved to `arrays`."""
    if isinstance(tree, np.ndarray):
        arrays[path] = tree
        return {"$array": path}
    if isinstance(tree, Mapping):
        if not all(isinstance(key, str) and "$" not in key for key in tree):
            raise TypeError(f"save_checkpoint: expected string keys without $, got {[*tree]}")
        return {key: _pack(v, f"{path}/{key}".lstrip("/"), arrays) for key, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_pack(v, f"{path}/{i}".lstrip("/"), arrays) for i, v in enumerate(tree)]
    return tree.item() if isinstance(tree, np.generic) else tree


def _unpack(tree: Any, arrays: dict[str, Array]) -> Any:
    """The inverse of `_pack`; takes from `arrays` what it uses."""
    if isinstance(tree, dict):
        if set(tree) == {"$array"}:
            return arrays.pop(str(tree["$array"]))
        return {key: _unpack(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_unpack(value, arrays) for value in tree]
    return tree
