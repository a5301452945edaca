"""Nets of the literature, ready to train: one small file a family.

``models.list()`` names them, ``models.create(name, ...)`` builds one by its name.
"""

import builtins
from collections.abc import Callable
from typing import Any

from ..nn import Sequential
from .dmlp import dmlp
from .lenet import lenet5
from .lenet_1998 import DistanceLoss
from .simple_convnet import simple_convnet

__all__ = ["DistanceLoss", "create", "dmlp", "lenet5", "list", "simple_convnet"]

_MODELS: dict[str, Callable[..., Sequential]] = {
    "dmlp": dmlp,
    "lenet5": lenet5,
    "simple_convnet": simple_convnet,
}


def list() -> builtins.list[str]:
    """Names that `create` knows.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.list()
    ['dmlp', 'lenet5', 'simple_convnet']
    """
    return sorted(_MODELS)


def create(name: str, **options: Any) -> Sequential:
    """Build a net by its name.

    Parameters
    ----------
    name : str
        One of `list()`.
    **options
        Arguments of the function of that name, such as ``seed=1``.

    Raises
    ------
    ValueError
        If there is no such net.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.create("lenet5", variant="lecture", seed=1).num_parameters()
    61706
    """
    if name not in _MODELS:
        raise ValueError(f"create: expected one of {', '.join(list())}, got {name!r}")
    return _MODELS[name](**options)
