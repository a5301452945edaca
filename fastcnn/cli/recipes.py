"""What ``fastcnn train`` knows: nets with their losses and rates, and what they learn from images.

A net learns one of three tasks. "classify": the class of an image. "autoencode": the image itself.
"segment": the class of each pixel, where the bright pixels of an image have its class and the
others are background, which is true of digits on black.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import data, models, nn, training

Task = Literal["classify", "autoencode", "segment"]
BRIGHT = 0.5  # of a pixel that belongs to the object, where 1 is white
TAUGHT: dict[Task, str] = {  # what those learn that are not told classes
    "segment": f"pixels brighter than {BRIGHT} of 1 are taught to be of the class of their image, "
    "the others to be background: right for bright things on black alone",
    "autoencode": "taught to give back the image itself; classes are not used",
}


class Recipe(NamedTuple):
    """A net, the images that it was made for, and how it is trained unless one says otherwise.

    `rate` is of SGD with momentum 0.9; images have `least` rows at least, and a multiple of
    `multiple`. `limit` says what it cannot be trained on, for people.
    """

    name: str
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    loss: Callable[[], training.Loss] = nn.CrossEntropyLoss
    rate: float = 0.05
    shape: tuple[int, int, int] = (3, 224, 224)
    least: int = 8
    multiple: int = 1
    task: Task = "classify"
    limit: str = ""

    def build(
        self, shape: tuple[int, ...] | None = None, classes: int | None = None, **options: Any
    ) -> nn.Graph:
        """The net for such images and so many classes, or as it was published."""
        takes = inspect.signature(getattr(models, self.name)).parameters
        if shape is not None:
            options |= {"in_channels": shape[0], "image_size": shape[1:]}
        if classes is not None:
            options["num_classes"] = classes + (self.task == "segment")
        fitting = {name: value for name, value in options.items() if name in takes}
        return models.create(self.name, **{**self.options, **fitting})

    @property
    def channels(self) -> int | None:
        """Of images that can be read in grey or in colours; None where they may stay as they are.

        LeNet-5 of 1998 has no net but its own, and those made for colours keep their three.
        """
        return None if self.shape[0] == 1 and "1998" not in self.options.values() else self.shape[0]

    def size_for(self, size: int) -> int:
        """The least size of images, from `size` up, that the net takes."""
        return -(-max(size, self.least) // self.multiple) * self.multiple


_DIGITS, _CIFAR = (1, 28, 28), (3, 32, 32)
_AUXILIARY = {"auxiliary": True}

RECIPES: dict[str, Recipe] = {
    "lenet5": Recipe("lenet5", shape=_DIGITS, least=12),
    "lenet5-lecture": Recipe("lenet5", {"variant": "lecture"}, rate=0.5, shape=_DIGITS, least=12),
    "lenet5-1998": Recipe(
        "lenet5",
        {"variant": "1998"},
        models.DistanceLoss,
        0.001,
        _DIGITS,
        least=28,
        limit="ten classes of 28x28 pixels in grey alone: mnist, fashion_mnist, kmnist",
    ),
    "simple_convnet": Recipe("simple_convnet", shape=_DIGITS),
    "simple_convnet-lecture": Recipe("simple_convnet", {"weight_std": 0.01}, shape=_DIGITS),
    "dmlp": Recipe("dmlp", shape=_DIGITS, least=1),
    "alexnet": Recipe("alexnet", rate=0.01, shape=(3, 227, 227), least=67),
    "googlenet": Recipe("googlenet", rate=0.01, least=32),
    "googlenet-auxiliary": Recipe(
        "googlenet", _AUXILIARY, lambda: nn.AuxiliaryLoss(nn.CrossEntropyLoss()), 0.01, least=79
    ),
    "autoencoder": Recipe(
        "autoencoder", {}, nn.MSELoss, 1.0, _DIGITS, multiple=4, task="autoencode"
    ),
    **{f"vgg{n}": Recipe(f"vgg{n}", rate=0.01, least=32) for n in (11, 13, 16, 19)},
    **{f"resnet{n}": Recipe(f"resnet{n}", rate=0.1, shape=_CIFAR) for n in (20, 32, 44, 56, 110)},
    **{f"resnet{n}": Recipe(f"resnet{n}") for n in (18, 34, 50, 101, 152)},
    **{f"densenet{n}": Recipe(f"densenet{n}", least=32) for n in (121, 169, 201)},
    **{f"fcn{n}s": Recipe(f"fcn{n}s", rate=0.01, task="segment") for n in (32, 16, 8)},
}

AUGMENTATIONS: dict[str, Callable[[int], data.augment.Augmentation]] = {
    "crop": lambda size: data.augment.RandomCrop(size, padding=max(1, size // 8)),
    "flip": lambda size: data.augment.RandomHorizontalFlip(),
    "jitter": lambda size: data.augment.ColorJitter(brightness=0.2, contrast=0.2),
    "rotate": lambda size: data.augment.RandomRotation(15),
    "shift": lambda size: data.augment.RandomShift(max(1, size // 8)),
    "scale": lambda size: data.augment.RandomScale((0.8, 1.2)),
    "cutout": lambda size: data.augment.Cutout(max(1, size // 4)),
}


def augmentation(names: list[str], size: int) -> data.augment.Augmentation | None:
    """Those of these names, one after the other."""
    steps = [AUGMENTATIONS[name](size) for name in names]
    return data.augment.Compose(steps) if steps else None


class Taught(data.Dataset):
    """Images with what a task wants of them in place of their classes."""

    def __init__(self, images: data.Dataset, task: Task) -> None:
        self._images, self._task = images, task
        self.classes = images.classes
        self.source = images.source

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, rows: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = self._images.batch(rows)
        if self._task == "autoencode":
            return x, x.copy()
        bright = x.mean(axis=1) > BRIGHT
        return x, np.where(bright, 1 + y[:, None, None], 0)
