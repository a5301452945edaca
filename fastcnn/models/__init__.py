"""Nets of the literature, ready to train: one small file a family.

``models.list()`` names them, ``models.create(name, ...)`` builds one by its name.
"""

import builtins
from collections.abc import Callable
from typing import Any

from ..nn import Graph
from .alexnet import alexnet
from .autoencoder import autoencoder
from .densenet import densenet121, densenet169, densenet201
from .dmlp import dmlp
from .fcn import as_convolution, fcn8s, fcn16s, fcn32s
from .googlenet import googlenet
from .lenet import lenet5
from .lenet_1998 import DistanceLoss
from .resnet import resnet18, resnet34, resnet50, resnet101, resnet152
from .resnet_cifar import resnet20, resnet32, resnet44, resnet56, resnet110
from .simple_convnet import SimpleConvNet, simple_convnet
from .vgg import vgg11, vgg13, vgg16, vgg19

__all__ = [
    "DistanceLoss",
    "SimpleConvNet",
    "alexnet",
    "as_convolution",
    "autoencoder",
    "create",
    "densenet121",
    "densenet169",
    "densenet201",
    "dmlp",
    "fcn8s",
    "fcn16s",
    "fcn32s",
    "googlenet",
    "lenet5",
    "list",
    "resnet18",
    "resnet20",
    "resnet32",
    "resnet34",
    "resnet44",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet110",
    "resnet152",
    "simple_convnet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]

_MODELS: dict[str, Callable[..., Graph]] = {
    "alexnet": alexnet,
    "autoencoder": autoencoder,
    "densenet121": densenet121,
    "densenet169": densenet169,
    "densenet201": densenet201,
    "fcn16s": fcn16s,
    "fcn32s": fcn32s,
    "fcn8s": fcn8s,
    "googlenet": googlenet,
    "dmlp": dmlp,
    "lenet5": lenet5,
    "resnet101": resnet101,
    "resnet110": resnet110,
    "resnet152": resnet152,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet32": resnet32,
    "resnet34": resnet34,
    "resnet44": resnet44,
    "resnet50": resnet50,
    "resnet56": resnet56,
    "simple_convnet": simple_convnet,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vgg16": vgg16,
    "vgg19": vgg19,
}


def list() -> builtins.list[str]:
    """Names that `create` knows.

    Examples
    --------
    >>> from fastcnn import models
    >>> models.list()[:4]
    ['alexnet', 'autoencoder', 'densenet121', 'densenet169']
    """
    return sorted(_MODELS)


def create(name: str, **options: Any) -> Graph:
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
