"""What changes values and leaves every pixel in its place: normalisation, colours, erased parts."""

import math
from collections.abc import Sequence

import numpy as np

from ..._checks import integer, number
from ..dataset import Array
from .base import Augmentation, between, integers, uniforms
from .crops import probability

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601


class _InPlace(Augmentation):
    """Base: pixels keep their places and their labels."""

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`."""
        return y


class Normalize(_InPlace):
    """``(x - mean) / std``, channel by channel; nothing random.

    Use it as the ``transform`` of a dataset, so that it holds in validation and test too.

    Parameters
    ----------
    mean, std : float or sequence of float
        One number, or one for each channel.

    Raises
    ------
    ValueError
        If a number is not finite, `std` not positive, or the lengths differ; from the call, if
        the number of channels is another.

    Examples
    --------
    >>> from fastcnn import data
    >>> from fastcnn.data import augment
    >>> train, test = data.mnist(subset=True)
    >>> train = train.with_transform(augment.Normalize(0.1307, 0.3081))
    >>> bool(abs(train.x.mean()) < 0.02)
    True
    """

    random = False

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean, self.std = (
            tuple(float(v) for v in np.atleast_1d(np.asarray(values, dtype=np.float64)).ravel())
            for values in (mean, std)
        )
        if (
            not 0 < len(self.mean) == len(self.std)
            or not all(map(math.isfinite, self.mean + self.std))
            or min(self.std) <= 0
        ):
            raise ValueError(
                "Normalize: expected as many means as deviations, finite and the latter > 0, got "
                f"{mean} and {std}"
            )

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        if len(self.mean) not in (1, x.shape[1]):
            raise ValueError(f"Normalize: expected {len(self.mean)} channels, got {x.shape[1]}")
        mean, std = (np.array(v, x.dtype).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
        out = np.subtract(x, mean)
        return np.divide(out, std, out=out)


class ColorJitter(_InPlace):
    """Brightness, contrast and saturation changed at random, in this order.

    Each factor is drawn from [max(0, 1 - value), 1 + value), or from the pair that is given:
    ``x * factor`` for the brightness; for the contrast, pixels move away from (or to) the mean grey
    of the image; for the saturation, from the grey of the pixel. Results are clipped to [0, 1], so
    images must not be normalised before: let `Normalize` come after it in a `Compose`, and be the
    ``transform`` of the validation data.

    Parameters
    ----------
    brightness, contrast, saturation : float or (low, high), optional
        0 leaves it as it is. Images of one channel have no saturation.

    Raises
    ------
    ValueError
        If a value is negative or a pair is not ``0 <= low <= high``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.full((1, 1, 2, 2), 0.4, np.float32)
    >>> float(augment.ColorJitter(brightness=(0.5, 0.5))(x).max())
    0.20000000298023224
    """

    def __init__(
        self,
        brightness: float | tuple[float, float] = 0.0,
        contrast: float | tuple[float, float] = 0.0,
        saturation: float | tuple[float, float] = 0.0,
    ) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        u = uniforms(keys, 3)
        for draw, (low, high), centre in (
            (u[0], self.brightness, None),
            (u[1], self.contrast, _mean_grey),
            (u[2], self.saturation, _grey),
        ):
            if (low, high) == (1.0, 1.0) or (centre is _grey and x.shape[1] != 3):
                continue
            factor = between(draw, low, high).astype(x.dtype)[:, None, None, None]
            if centre is None:
                x = x * factor
            else:
                about = centre(x)
                x = (x - about) * factor
                x += about
            np.clip(x, 0, 1, out=x)
        return x


class RandomErasing(_InPlace):
    """With probability `p`, a rectangle at a random place is set to one value.

    Parameters
    ----------
    p : float, optional
        In 0..1.
    scale : (low, high), optional
        The rectangle's area, as a part of the image's.
    ratio : (low, high), optional
        Its height over its width; logarithms are drawn uniformly.
    value : float, optional
        What is written.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    A rectangle that is higher or wider than the image is cut to it.

    References
    ----------
    Zhong et al., "Random erasing data augmentation", AAAI 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.ones((1, 1, 10, 10), np.float32)
    >>> erased = augment.RandomErasing(1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))(x)
    >>> int((erased == 0).sum())
    25
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale, self.ratio = tuple(map(float, scale)), tuple(map(float, ratio))
        if not 0 <= self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"RandomErasing: expected scale 0 <= low <= high <= 1, got {scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"RandomErasing: expected ratio 0 < low <= high, got {ratio}")
        self.value = number("RandomErasing", "value", value)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        height, width = x.shape[2:]
        u = uniforms(keys, 5)
        area = between(u[1], *self.scale) * height * width
        ratio = np.exp(between(u[2], math.log(self.ratio[0]), math.log(self.ratio[1])))
        rows = np.clip(np.rint(np.sqrt(area * ratio)).astype(np.intp), 0, height)
        columns = np.clip(np.rint(np.sqrt(area / ratio)).astype(np.intp), 0, width)
        rows[u[0] >= self.p] = 0
        top, left = integers(u[3], height - rows + 1), integers(u[4], width - columns + 1)
        return _erase(x, (top, top + rows), (left, left + columns), self.value)


class Cutout(_InPlace):
    """A square around a random pixel is set to one value; what lies beyond the border is lost.

    Parameters
    ----------
    size : int
        Its side.
    value : float, optional
        What is written.

    Raises
    ------
    ValueError
        If `size` is less than 1.

    References
    ----------
    T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout",
    arXiv:1708.04552.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> x = np.ones((100, 1, 8, 8), np.float32)
    >>> erased = (augment.Cutout(4)(x) == 0).sum(axis=(1, 2, 3))
    >>> int(erased.min()) >= 4, int(erased.max())
    (True, 16)
    """

    def __init__(self, size: int, value: float = 0.0) -> None:
        self.size = integer("Cutout", "size", size, 1)
        self.value = number("Cutout", "value", value)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        u = uniforms(keys, 2)
        top = integers(u[0], x.shape[2]) - self.size // 2
        left = integers(u[1], x.shape[3]) - self.size // 2
        return _erase(x, (top, top + self.size), (left, left + self.size), self.value)


def _erase(
    x: Array, rows: tuple[Array, Array], columns: tuple[Array, Array], value: float
) -> Array:
    """x with a rectangle (first and one past the last row and column) of each image at `value`."""
    y, z = np.arange(x.shape[2]), np.arange(x.shape[3])
    down = (y >= rows[0][:, None]) & (y < rows[1][:, None])
    across = (z >= columns[0][:, None]) & (z < columns[1][:, None])
    out = x.copy()
    np.copyto(out, value, where=down[:, None, :, None] & across[:, None, None, :])
    return out


def _factors(name: str, value: float | tuple[float, float]) -> tuple[float, float]:
    """The range of a factor."""
    if isinstance(value, (tuple, list)):
        low, high = map(float, value)
    else:
        low, high = max(0.0, 1.0 - value), 1.0 + value
    if not (0 <= low <= high < math.inf and (isinstance(value, (tuple, list)) or value >= 0)):
        raise ValueError(f"ColorJitter: expected {name} >= 0 or 0 <= low <= high, got {value!r}")
    return low, high


def _grey(x: Array) -> Array:
    """The grey of each pixel, shape (N, 1, H, W)."""
    if x.shape[1] != 3:
        return x.mean(axis=1, keepdims=True)
    r, g, b = (np.array(v, x.dtype) for v in _LUMA)
    return x[:, :1] * r + x[:, 1:2] * g + x[:, 2:] * b


def _mean_grey(x: Array) -> Array:
    """The mean grey of each image, shape (N, 1, 1, 1)."""
    return _grey(x).reshape(len(x), x.shape[2] * x.shape[3]).mean(axis=1)[:, None, None, None]
