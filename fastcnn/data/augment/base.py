"""What all augmentations share: the call, `Compose`, and random numbers that belong to a sample.

A sample's key is a 64-bit number made of the seed, the epoch and the number of the sample in its
dataset. Random numbers are a hash of the key (splitmix64: Steele, Lea and Flood, "Fast splittable
pseudorandom number generators", 2014), so there is no generator whose state would depend on what
was drawn before.
"""

import abc
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..dataset import Array

_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: the step of splitmix64
_CHILD = 0xD1B54A32D192ED03  # another odd number, for the parts of a Compose


class Augmentation(abc.ABC):
    """Base of all augmentations; subclasses give `apply`, and `move` if they suit labels of pixels.

    Attributes are the arguments of the constructor, plain values: so every augmentation can be
    pickled, and its ``repr`` says what it does. A checkpoint holds the ``repr``.

    Attributes
    ----------
    random : bool
        Whether it draws random numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import augment
    >>> class Darken(augment.Augmentation):
    ...     def apply(self, x, keys):
    ...         u = augment.uniforms(keys, 1)[0]
    ...         return x * u[:, None, None, None].astype(x.dtype)
    >>> x = np.ones((3, 1, 4, 4), np.float32)
    >>> changed = Darken()(x, seed=1, rows=[7, 8, 9])
    >>> bool((changed[1] == Darken()(x[:1], seed=1, rows=[8])).all())
    True
    """

    random = True

    def __call__(
        self, x: Array, *, seed: int = 0, epoch: int = 0, rows: ArrayLike | None = None
    ) -> Array:
        """Change a batch.

        Parameters
        ----------
        x : ndarray
            float32 or float64, shape (N, C, H, W); it is not changed.
        seed, epoch : int, optional
            The random numbers depend on these.
        rows : array_like of int, optional
            And on these, the numbers of the samples in their dataset; 0..N-1 by default.

        Returns
        -------
        ndarray
            Shape (N, C, ...), of the type of `x`. It may be `x` itself if there is nothing to do.

        Raises
        ------
        TypeError, ValueError
            If `x` is no such batch, or too small; or `rows` are not N integers >= 0.
        """
        return self.apply(x, self._keys(x, seed, epoch, rows))

    def with_labels(
        self,
        x: Array,
        y: ArrayLike,
        *,
        seed: int = 0,
        epoch: int = 0,
        rows: ArrayLike | None = None,
    ) -> tuple[Array, Array]:
        """Change a batch, and move the labels of its pixels along.

        Parameters
        ----------
        x, seed, epoch, rows
            As for the call.
        y : array_like of int
            Shape (N, H, W).

        Returns
        -------
        tuple of ndarray
            What the call gives, and labels for each of its pixels. What came in from outside has
            label 0, so that should be the background.

        Raises
        ------
        TypeError, ValueError
            As for the call; or if `y` are no such labels, or a class has no `move`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn.data import augment
        >>> x = np.arange(3, dtype=np.float32).reshape(1, 1, 1, 3)
        >>> _, y = augment.RandomHorizontalFlip(1.0).with_labels(x, np.array([[[5, 6, 7]]]))
        >>> y
        array([[[7, 6, 5]]])
        """
        keys = self._keys(x, seed, epoch, rows)
        labels, wanted = np.asarray(y), (len(x), *x.shape[2:])
        if labels.dtype.kind not in "iu" or labels.shape != wanted:
            raise ValueError(
                f"{type(self).__name__}: expected labels of pixels, integers of shape {wanted}, "
                f"got {labels.dtype} of shape {labels.shape}"
            )
        return self.apply(x, keys), self.move(labels, keys)

    def _keys(self, x: Array, seed: int, epoch: int, rows: ArrayLike | None) -> Array:
        """The keys of a batch's samples, after a look at the arguments of the call."""
        name = type(self).__name__
        if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
            got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
            raise TypeError(f"{name}: expected an array of float32 or float64, got {got}")
        if x.ndim != 4:
            raise ValueError(f"{name}: expected a batch (N, C, H, W), got shape {x.shape}")
        numbers = np.arange(len(x)) if rows is None else np.asarray(rows)
        if numbers.size == 0:
            numbers = numbers.astype(np.int64)
        if numbers.shape != x.shape[:1] or numbers.dtype.kind not in "iu":
            raise ValueError(
                f"{name}: expected rows of {len(x)} integers, one a sample, got "
                f"{numbers.dtype} of shape {numbers.shape}"
            )
        if numbers.size and numbers.min() < 0:
            raise ValueError(
                f"{name}: expected rows >= 0, the numbers of samples, got {numbers.min()}; "
                f"rows % len(dataset) would fit"
            )
        return sample_keys(seed, epoch, numbers)

    @abc.abstractmethod
    def apply(self, x: Array, keys: Array) -> Array:
        """Change a batch with the random numbers of these keys.

        Parameters
        ----------
        x : ndarray
            As for the call; it is left as it is.
        keys : ndarray
            uint64, shape (N,): hash them by `uniforms`.

        Returns
        -------
        ndarray
        """

    def move(self, y: Array, keys: Array) -> Array:
        """Labels of pixels, moved as `apply` moves the pixels.

        Parameters
        ----------
        y : ndarray
            Integers, shape (N, H, W); they are left as they are.
        keys : ndarray
            Those of `apply`.

        Returns
        -------
        ndarray
            Of the type of `y`; `y` itself where pixels stay in their places.

        Raises
        ------
        TypeError
            From a class that does not define it.
        """
        raise TypeError(
            f"{type(self).__name__}: expected a method move(y, keys), which says where labels of "
            f"pixels go; for changes that leave pixels in their places, one that returns y"
        )

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """The size (H, W) that images of this size come out with."""
        return height, width

    def num_views(self, height: int, width: int) -> float:
        """How many different images it can make of one of this size; infinity if uncountable."""
        return np.inf if self.random else 1

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


class Compose(Augmentation):
    """Several augmentations, one after the other.

    Parameters
    ----------
    transforms : sequence of Augmentation
        In this order; each draws random numbers of its own.

    Examples
    --------
    What is usual for CIFAR-10:

    >>> from fastcnn.data import augment
    >>> crop_and_flip = augment.Compose(
    ...     [augment.RandomCrop(32, padding=4), augment.RandomHorizontalFlip()]
    ... )
    >>> crop_and_flip.num_views(32, 32)
    162
    """

    def __init__(self, transforms: Sequence[Augmentation]) -> None:
        parts = list(transforms)
        for part in parts:
            if not isinstance(part, Augmentation):
                raise TypeError(f"Compose: expected augmentations, got {part!r}")
        self.transforms = parts

    @property
    def random(self) -> bool:  # type: ignore[override]
        """Whether any of them draws random numbers."""
        return any(part.random for part in self.transforms)

    def apply(self, x: Array, keys: Array) -> Array:
        """See `Augmentation.apply`."""
        for i, part in enumerate(self.transforms):
            x = part.apply(x, _child(keys, i))
        return x

    def move(self, y: Array, keys: Array) -> Array:
        """See `Augmentation.move`."""
        for i, part in enumerate(self.transforms):
            y = part.move(y, _child(keys, i))
        return y

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """See `Augmentation.output_size`."""
        for part in self.transforms:
            height, width = part.output_size(height, width)
        return height, width

    def num_views(self, height: int, width: int) -> float:
        """The product of the numbers of views of the parts."""
        views: float = 1
        for part in self.transforms:
            views *= part.num_views(height, width)
            height, width = part.output_size(height, width)
        return views

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


def _child(keys: Array, i: int) -> Array:
    """Keys of the random numbers of a Compose's part."""
    return keys + np.uint64((i + 1) * _CHILD % 2**64)


def sample_keys(seed: int, epoch: int, rows: Array) -> Array:
    """One 64-bit key for each sample, of the seed, the epoch and the sample's number.

    Parameters
    ----------
    seed, epoch : int
        Integers >= 0.
    rows : ndarray
        Integers >= 0, shape (N,).

    Returns
    -------
    ndarray
        uint64, shape (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data.augment import sample_keys
    >>> bool(sample_keys(0, 1, np.arange(4))[2] == sample_keys(0, 1, np.array([2]))[0])
    True
    """
    base = int(np.random.SeedSequence([int(seed), int(epoch)]).generate_state(1, np.uint64)[0])
    return _mix(np.asarray(rows).astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(base))


def uniforms(keys: Array, n: int) -> Array:
    """`n` random numbers in [0, 1) for each key.

    Parameters
    ----------
    keys : ndarray
        uint64, shape (N,).
    n : int
        How many.

    Returns
    -------
    ndarray
        float64 multiples of 2**-32, shape (n, N). The first of them do not depend on `n`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data.augment import sample_keys, uniforms
    >>> u = uniforms(sample_keys(0, 0, np.arange(1000)), 2)
    >>> u.shape, bool(abs(u.mean() - 0.5) < 0.02)
    ((2, 1000), True)
    """
    steps = np.arange(1, n + 1, dtype=np.uint64)[:, None] * np.uint64(_GOLDEN)
    return (_mix(keys + steps) >> np.uint64(32)) * 2.0**-32


def integers(u: Array, n: int | Array) -> Array:
    """Random integers in 0..n-1 of uniform numbers; exact below 2**20, so n never comes out."""
    return (u * n).astype(np.intp)


def between(u: Array, low: float, high: float) -> Array:
    """Random numbers in [low, high) of uniform ones."""
    return low + (high - low) * u


def _mix(z: Array) -> Array:
    """The finaliser of splitmix64: every bit of the result depends on every bit of `z`."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
