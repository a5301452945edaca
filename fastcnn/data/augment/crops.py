"""Crops and flips: images that are parts or mirror images of others, no pixel computed anew."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..._checks import integer, number, pair
from ..dataset import Array
from .base import Augmentation, integers, uniforms

Size = int | tuple[int, int]


def probability(name: str, p: float) -> float:
    """A checked probability."""
    value = number(name, "p", p, 0.0)
    if value > 1:
        raise ValueError(f"{name}: expected p in 0..1, got {p!r}")
    return value


class RandomCrop(Augmentation):
    """A part of the image at a random place, every place as likely as any other.

    Parameters
    ----------
    size : int or (H, W)
        Of the part.
    padding : int, optional
        First put so many pixels around the image.
    fill : float, optional
        Their value; their label is 0.

    Raises
    ------
    ValueError
        If an argument is out of range; from the call, if the padded image is smaller than `size`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.random.default_rng(0).random((8, 3, 32, 32), np.float32)
    >>> augment.RandomCrop(32, padding=4)(x).shape
    (8, 3, 32, 32)
    >>> augment.RandomCrop(224).num_views(256, 256) == 33**2
    True
    """

    def __init__(self, size: Size, padding: int = 0, fill: float = 0.0) -> None:
        self.size = pair("RandomCrop", "size", size, 1)
        self.padding = integer("RandomCrop", "padding", padding, 0)
        self.fill = number("RandomCrop", "fill", fill)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        return self._cut(x, keys, self.fill)

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`."""
        return self._cut(y[:, None], keys, 0)[:, 0]

    def _cut(self, x: Array, keys: Array, fill: float) -> Array:
        rows, columns = self._places(*x.shape[2:])
        u = uniforms(keys, 2)
        p = self.padding
        if p:
            padded = np.full((*x.shape[:2], x.shape[2] + 2 * p, x.shape[3] + 2 * p), fill, x.dtype)
            padded[:, :, p:-p, p:-p] = x
            x = padded
        windows = sliding_window_view(x, self.size, axis=(2, 3))  # (N, C, rows, columns, H, W)
        return windows[np.arange(len(x)), :, integers(u[0], rows), integers(u[1], columns)]

    def _places(self, height: int, width: int) -> tuple[int, int]:
        """How many offsets there are down and across."""
        rows, columns = (
            n + 2 * self.padding - size + 1
            for n, size in zip((height, width), self.size, strict=True)
        )
        if min(rows, columns) < 1:
            raise ValueError(
                f"RandomCrop: expected images of at least {self.size[0]}x{self.size[1]} with "
                f"padding={self.padding}, got {height}x{width}"
            )
        return rows, columns

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """`size`."""
        return self.size

    def num_views(self, height: int, width: int) -> float:
        """The number of places."""
        rows, columns = self._places(height, width)
        return rows * columns


class CenterCrop(Augmentation):
    """The middle of the image; nothing random.

    Parameters
    ----------
    size : int or (H, W)
        Of the part; where the rest is odd, the part is nearer to the top and the left.

    Raises
    ------
    ValueError
        If `size` is out of range; from the call, if the image is smaller.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> augment.CenterCrop(224)(np.zeros((1, 3, 256, 256), np.float32)).shape
    (1, 3, 224, 224)
    """

    random = False

    def __init__(self, size: Size) -> None:
        self.size = pair("CenterCrop", "size", size, 1)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        height, width = _fits("CenterCrop", x, self.size)
        return _part(x, height // 2, width // 2, self.size)

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`."""
        return self.apply(y[:, None], keys)[:, 0]

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """`size`."""
        return self.size


class _RandomFlip(Augmentation):
    """Mirror images with probability p."""

    _axis: int

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(type(self).__name__, p)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        chosen = uniforms(keys, 1)[0] < self.p
        out = x.copy()
        out[chosen] = np.flip(x[chosen], self._axis)
        return out

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`."""
        return self.apply(y[:, None], keys)[:, 0]

    def num_views(self, height: int, width: int) -> float:
        """The image and its mirror image."""
        return 2 if 0 < self.p < 1 else 1


class RandomHorizontalFlip(_RandomFlip):
    """The image, or with probability `p` its mirror image, left and right exchanged.

    Parameters
    ----------
    p : float, optional
        In 0..1.

    Raises
    ------
    ValueError
        If `p` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
    >>> augment.RandomHorizontalFlip(1.0)(x).ravel()
    array([2., 1., 0.], dtype=float32)
    """

    _axis = 3


class RandomVerticalFlip(_RandomFlip):
    """The image, or with probability `p` its mirror image, top and bottom exchanged.

    Parameters
    ----------
    p : float, optional
        In 0..1.

    Raises
    ------
    ValueError
        If `p` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    >>> augment.RandomVerticalFlip(1.0)(x).ravel()
    array([2., 1., 0.], dtype=float32)
    """

    _axis = 2


def five_crop(x: Array, size: Size) -> tuple[Array, ...]:
    """The four corners and the middle of each image, for predictions averaged over them.

    Parameters
    ----------
    x : ndarray
        Shape (N, C, H, W).
    size : int or (H, W)
        Of the parts.

    Returns
    -------
    tuple of ndarray
        Top left, top right, bottom left, bottom right, centre; each of shape ``(N, C, *size)``.

    Raises
    ------
    ValueError
        If the images are smaller than `size`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    >>> [int(part[0, 0, 0, 0]) for part in augment.five_crop(x, 1)]
    [0, 2, 6, 8, 4]
    """
    part = pair("five_crop", "size", size, 1)
    height, width = _fits("five_crop", x, part)
    places = ((0, 0), (0, width), (height, 0), (height, width), (height // 2, width // 2))
    return tuple(_part(x, top, left, part) for top, left in places)


def ten_crop(x: Array, size: Size) -> tuple[Array, ...]:
    """The parts of `five_crop` and their mirror images, as AlexNet averages over at its test.

    Parameters
    ----------
    x : ndarray
        Shape (N, C, H, W).
    size : int or (H, W)
        Of the parts.

    Returns
    -------
    tuple of ndarray
        Ten, each of shape ``(N, C, *size)``.

    Raises
    ------
    ValueError
        If the images are smaller than `size`.

    References
    ----------
    A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural
    networks", NIPS 2012, section 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> parts = augment.ten_crop(np.zeros((2, 3, 256, 256), np.float32), 224)
    >>> len(parts), parts[0].shape
    (10, (2, 3, 224, 224))
    """
    flipped = np.flip(x, 3)
    return five_crop(x, size) + five_crop(flipped, size)


def _fits(name: str, x: Array, size: tuple[int, int]) -> tuple[int, int]:
    """How much of x's height and width is left; ValueError if there is too little."""
    if x.ndim != 4 or x.shape[2] < size[0] or x.shape[3] < size[1]:
        raise ValueError(
            f"{name}: expected images (N, C, H, W) of at least {size[0]}x{size[1]}, got {x.shape}"
        )
    return x.shape[2] - size[0], x.shape[3] - size[1]


def _part(x: Array, top: int, left: int, size: tuple[int, int]) -> Array:
    return np.ascontiguousarray(x[:, :, top : top + size[0], left : left + size[1]])
