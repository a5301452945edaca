"""Shifts, rotations, scalings and shears, each image resampled once (`fastcnn.ops.affine`)."""

import abc
from typing import Any

import numpy as np

from ..._checks import integer, number
from ..dataset import Array
from .base import Augmentation, between, integers, uniforms

Range = float | tuple[float, float]


class _Affine(Augmentation):
    """Base: subclasses give the maps from places of the result to places of the image."""

    fill: float

    @abc.abstractmethod
    def maps(self, keys: Array, height: int, width: int) -> Array:
        """float64, shape (N, 2, 3), as `fastcnn.ops.affine` takes them."""

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        from ...ops import affine

        return affine(x, self.maps(keys, *x.shape[2:]), fill=self.fill)

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`; a pixel's label is that of the nearest, as none is between."""
        n, height, width = y.shape
        i, j = np.arange(height)[:, None], np.arange(width)
        maps = self.maps(keys, height, width)[..., None, None]  # (N, 2, 3, 1, 1)
        places = maps[:, :, 0] * j + maps[:, :, 1] * i + maps[:, :, 2]  # (N, 2, H, W)
        column, row = np.rint(places).astype(np.int64).swapaxes(0, 1)
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        nearest = y[np.arange(n)[:, None, None], row.clip(0, height - 1), column.clip(0, width - 1)]
        return np.where(inside, nearest, y.dtype.type(0))


class RandomShift(_Affine):
    """The image moved by whole pixels, up to `size` in each direction; no value computed anew.

    Parameters
    ----------
    size : int
        The furthest.
    fill : float, optional
        What comes in; its label is 0.

    Raises
    ------
    ValueError
        If `size` is less than 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.zeros((100, 1, 9, 9), np.float32)
    >>> x[:, 0, 4, 4] = 1
    >>> places = np.argwhere(augment.RandomShift(2)(x) == 1)
    >>> len(places), int(places[:, 2:].min()), int(places[:, 2:].max())
    (100, 2, 6)
    """

    def __init__(self, size: int, fill: float = 0.0) -> None:
        self.size = integer("RandomShift", "size", size, 0)
        self.fill = number("RandomShift", "fill", fill)

    def maps(self, keys: Array, height: int, width: int) -> Array:
        """See `fastcnn.ops.affine`."""
        out = np.zeros((len(keys), 2, 3))
        out[:, 0, 0] = out[:, 1, 1] = 1
        out[:, :, 2] = integers(uniforms(keys, 2), 2 * self.size + 1).T - self.size
        return out

    def num_views(self, height: int, width: int) -> float:
        """The number of places."""
        return (2 * self.size + 1) ** 2


class RandomAffine(_Affine):
    """The image turned, moved, scaled and sheared about its middle, in one bilinear resampling.

    Parameters
    ----------
    degrees : float or (low, high)
        The angle, counter-clockwise; a number stands for (-degrees, degrees).
    translate : (across, down), optional
        The furthest shift, as a part of the width and of the height.
    scale : (low, high), optional
        How much larger the image becomes.
    shear : float or (low, high), optional
        The angle in degrees by which columns lean; a number stands for (-shear, shear).
    fill : float, optional
        What comes in; its label is 0.

    Raises
    ------
    ValueError
        If a range is not ``low <= high``, `translate` not in 0..1, `scale` not positive, or `shear`
        not within -90..90.

    Examples
    --------
    >>> from fastcnn import data
    >>> from fastcnn.data import augment
    >>> train, test = data.mnist(subset=True)
    >>> turned = augment.RandomAffine(15, translate=(0.1, 0.1), scale=(0.9, 1.1))(train.x[:100])
    >>> turned.shape
    (100, 1, 28, 28)
    """

    def __init__(
        self,
        degrees: Range,
        translate: tuple[float, float] | None = None,
        scale: tuple[float, float] | None = None,
        shear: Range | None = None,
        fill: float = 0.0,
    ) -> None:
        name = type(self).__name__
        self.degrees = _range(name, "degrees", degrees)
        self.translate = None if translate is None else _pair(name, "translate", translate)
        self.scale = None if scale is None else _range(name, "scale", scale)
        self.shear = None if shear is None else _range(name, "shear", shear)
        self.fill = number(name, "fill", fill)
        if self.translate is not None and not all(0 <= t <= 1 for t in self.translate):
            raise ValueError(f"{name}: expected translate in 0..1, got {translate}")
        if self.scale is not None and not self.scale[0] > 0:
            raise ValueError(f"{name}: expected scale > 0, got {scale}")
        if self.shear is not None and not -90 < self.shear[0] <= self.shear[1] < 90:
            raise ValueError(f"{name}: expected shear between -90 and 90, got {shear}")

    def maps(self, keys: Array, height: int, width: int) -> Array:
        """See `fastcnn.ops.affine`."""
        u = uniforms(keys, 5)
        angle = np.radians(between(u[0], *self.degrees))
        across, down = self.translate or (0.0, 0.0)
        scale = between(u[3], *(self.scale or (1.0, 1.0)))
        lean = np.tan(np.radians(between(u[4], *(self.shear or (0.0, 0.0)))))
        sine, cosine = np.sin(angle) / scale, np.cos(angle) / scale
        # Back from a place of the result: the shift, then the rotation, then the shear undone.
        out = np.empty((len(keys), 2, 3))
        out[:, 1, 0], out[:, 1, 1] = sine, cosine
        out[:, 0, 0], out[:, 0, 1] = cosine - lean * sine, -sine - lean * cosine
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        from_x = middle_x + between(u[1], -across, across) * width
        from_y = middle_y + between(u[2], -down, down) * height
        out[:, 0, 2] = middle_x - out[:, 0, 0] * from_x - out[:, 0, 1] * from_y
        out[:, 1, 2] = middle_y - out[:, 1, 0] * from_x - out[:, 1, 1] * from_y
        return out


class RandomRotation(RandomAffine):
    """The image turned about its middle by a random angle.

    Parameters
    ----------
    degrees : float or (low, high)
        Counter-clockwise; a number stands for (-degrees, degrees).
    fill : float, optional
        What comes in; its label is 0.

    Raises
    ------
    ValueError
        If the range is not ``low <= high``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    >>> augment.RandomRotation((90, 90))(x).round(3)[0, 0]
    array([[2., 4.],
           [1., 3.]], dtype=float32)
    """

    def __init__(self, degrees: Range, fill: float = 0.0) -> None:
        super().__init__(degrees, fill=fill)


class RandomScale(RandomAffine):
    """The image made larger or smaller about its middle; its size stays.

    Parameters
    ----------
    scale : (low, high)
        How much larger.
    fill : float, optional
        What comes in; its label is 0.

    Raises
    ------
    ValueError
        If the range is not ``0 < low <= high``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.ones((1, 1, 9, 9), np.float32)
    >>> int((augment.RandomScale((0.5, 0.5))(x) == 1).sum())
    25
    """

    def __init__(self, scale: tuple[float, float], fill: float = 0.0) -> None:
        super().__init__(0.0, scale=scale, fill=fill)


def _pair(name: str, what: str, value: Any) -> tuple[float, float]:
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        raise ValueError(f"{name}: expected {what} to be a pair of numbers, got {value!r}")
    return number(name, what, value[0]), number(name, what, value[1])


def _range(name: str, what: str, value: Range) -> tuple[float, float]:
    """A pair (low, high); a number stands for (-number, number)."""
    if hasattr(value, "__len__"):
        low, high = _pair(name, what, value)
    else:
        high = number(name, what, value, 0.0)
        low = -high
    if not low <= high:
        raise ValueError(f"{name}: expected {what} with low <= high, got {value!r}")
    return low, high
