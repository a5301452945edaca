"""Datasets: images with labels, of known length, that give any batch of rows on request.

N samples, C channels, H W image size. `Dataset` is what the loader and the trainer know: a length
and `batch(indices)`. `ArrayDataset` holds arrays; `Subset` is a view of some rows of another
dataset (slices, splits) and copies nothing.
"""

import abc
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Transform = Callable[[Array], Array]
Rows = slice | Array


class Dataset(abc.ABC):
    """Base of all datasets; subclasses give ``__len__`` and `batch`.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, by label; empty if there are none.
    source : str
        Where the data came from, for messages.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 5
    ...     def batch(self, rows):
    ...         x = np.arange(5, dtype=np.float32)[rows].reshape(-1, 1, 1, 1)
    ...         return x, x.reshape(-1, 1) ** 2
    >>> squares = Squares()
    >>> squares[3][1], squares.y.ravel()
    (array([9.], dtype=float32), array([ 0.,  1.,  4.,  9., 16.], dtype=float32))
    """

    classes: tuple[str, ...] = ()
    source: str = ""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abc.abstractmethod
    def batch(self, rows: Rows) -> tuple[Array, Array]:
        """The samples at `rows`, as fresh C-contiguous arrays that the caller may change.

        Parameters
        ----------
        rows : slice or ndarray of int
            A slice of step 1, or row numbers in 0..N-1 in any order.

        Returns
        -------
        x : ndarray
            float, shape (len(rows), ...), for images (len(rows), C, H, W).
        y : ndarray
            Labels or targets, shape (len(rows), ...).
        """

    @property
    def x(self) -> Array:
        """All inputs as one array, shape (N, ...)."""
        return self.batch(slice(0, len(self)))[0]

    @property
    def y(self) -> Array:
        """All labels or targets as one array, shape (N, ...)."""
        return self.batch(slice(0, len(self)))[1]

    def __getitem__(self, i: int | slice) -> Any:
        """One sample (x, y) for an integer; a view, itself a dataset, for a slice."""
        if isinstance(i, slice):
            return Subset(self, np.arange(len(self))[i])
        if isinstance(i, (bool, np.bool_)) or not isinstance(i, (int, np.integer)):
            raise TypeError(f"dataset: expected an integer or a slice as index, got {i!r}")
        n = len(self)
        if not -n <= i < n:
            raise IndexError(f"dataset: expected an index in {-n}..{n - 1}, got {i}")
        row = int(i) % n
        x, y = self.batch(slice(row, row + 1))
        return x[0], y[0]

    def split(self, fraction: float, seed: int = 0) -> "tuple[Subset, Subset]":
        """Split at random, for instance into training and validation data.

        Parameters
        ----------
        fraction : float
            How much goes into the second part, 0 < fraction < 1.
        seed : int, optional
            The same seed gives the same parts on every machine.

        Returns
        -------
        rest, part : Subset
            Together all samples, each once, in their original order; ``part`` has
            ``round(fraction * N)`` of them, though each has at least one. Both are views.

        Raises
        ------
        ValueError
            If `fraction` is not between 0 and 1, `seed` is not an integer >= 0, or there are
            fewer than two samples.

        Examples
        --------
        >>> from fastcnn.data import mnist
        >>> train, test = mnist(subset=True)
        >>> train, validation = train.split(0.1)
        >>> len(train), len(validation)
        (4500, 500)
        """
        n = len(self)
        if not 0 < fraction < 1 or n < 2:
            raise ValueError(
                f"split: expected 0 < fraction < 1 and at least 2 samples, got {fraction!r} and {n}"
            )
        size = min(max(round(fraction * n), 1), n - 1)
        order = permutation(n, seed)
        return Subset(self, np.sort(order[size:])), Subset(self, np.sort(order[:size]))

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {len(self)} samples{self.source and ' from '}{self.source}>"
        )


class ArrayDataset(Dataset):
    """A dataset of arrays in memory.

    Images of 8 bits stay 8 bits, a quarter of the memory, and become float32 in [0, 1]
    (``x / 255``) batch by batch, which takes no longer than gathering floats would.

    Parameters
    ----------
    x : array_like
        uint8, float32 or float64, shape (N, ...); images are (N, C, H, W), while (N, H, W) of
        uint8 counts as one channel. Kept, not copied, if it is an array.
    y : array_like
        Class labels: integers >= 0, shape (N,), or one a pixel, (N, H, W), kept as int64; or float
        targets, shape (N, ...).
    transform : callable, optional
        Called with each batch, float of shape (n, ...), which it may change in place; returns the
        inputs to use, n of them.
    classes : sequence of str, optional
        Names of the classes; labels must then be less than their number.
    source : str, optional
        Where the data came from, for messages.

    Raises
    ------
    TypeError
        If the dtypes are others.
    ValueError
        If the lengths differ, or labels are negative or beyond `classes`.

    Notes
    -----
    ``.x`` of 8-bit data is made at the first access and kept, unless there is a transform, which
    is then applied anew at each access.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import ArrayDataset
    >>> images = np.full((3, 28, 28), 255, dtype=np.uint8)
    >>> dataset = ArrayDataset(images, [0, 1, 2])
    >>> dataset.x.shape, dataset.x.dtype, dataset.x.max()
    ((3, 1, 28, 28), dtype('float32'), np.float32(1.0))
    """

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        transform: Transform | None = None,
        classes: Sequence[str] = (),
        source: str = "",
    ) -> None:
        inputs, targets = np.asarray(x), np.asarray(y)
        if inputs.dtype not in (np.uint8, np.float32, np.float64):
            raise TypeError(
                f"ArrayDataset: expected x of uint8 (0..255), float32 or float64, got "
                f"{inputs.dtype}; x.astype(np.float32) would fit"
            )
        if inputs.ndim < 1 or targets.ndim < 1 or len(inputs) != len(targets):
            raise ValueError(
                f"ArrayDataset: expected x and y of the same length, got x.shape={inputs.shape}, "
                f"y.shape={targets.shape}"
            )
        if inputs.dtype == np.uint8 and inputs.ndim == 3:
            inputs = inputs[:, None]
        self._x = inputs
        self._y = _labels(targets, len(classes))
        self._floats: Array | None = None if inputs.dtype == np.uint8 else inputs
        self.transform = _fixed(transform)
        self.classes = tuple(classes)
        self.source = source

    def __len__(self) -> int:
        return len(self._x)

    def batch(self, rows: Rows) -> tuple[Array, Array]:
        """The samples at `rows`; see `Dataset.batch`."""
        x = _fresh(self._x, rows)
        if x.dtype == np.uint8:
            x = np.divide(x, np.float32(255))
        if self.transform is not None:
            x = np.ascontiguousarray(self.transform(x))
        return x, _fresh(self._y, rows)

    @property
    def x(self) -> Array:
        """All inputs, shape (N, ...): float32 in [0, 1] for 8-bit images, through the transform."""
        if self.transform is not None:
            return self.batch(slice(0, len(self)))[0]
        if self._floats is None:
            self._floats = np.divide(self._x, np.float32(255))
        return self._floats

    @property
    def y(self) -> Array:
        """All labels (int64, shape (N,)) or float targets."""
        return self._y

    def with_transform(self, transform: Transform | None) -> "ArrayDataset":
        """The same data, shared, through another transform (or none).

        Parameters
        ----------
        transform : callable or None
            As for the class.

        Returns
        -------
        ArrayDataset

        Examples
        --------
        >>> from fastcnn.data import mnist
        >>> train, test = mnist(subset=True)
        >>> float(train.with_transform(lambda x: 2 * x - 1).x.min())
        -1.0
        """
        other = copy.copy(self)
        other.transform = _fixed(transform)
        return other


class Subset(Dataset):
    """Some rows of another dataset, as a view.

    Parameters
    ----------
    parent : Dataset
        Whose rows.
    rows : array_like of int
        Which of them, in this order; negative numbers count from the end.

    Raises
    ------
    ValueError
        If a row is no integer or out of range.

    Examples
    --------
    >>> from fastcnn.data import Subset, mnist
    >>> train, test = mnist(subset=True)
    >>> Subset(train, [0, 2]).y
    array([5, 4])
    """

    def __init__(self, parent: Dataset, rows: ArrayLike) -> None:
        chosen, n = np.asarray(rows), len(parent)
        if chosen.size == 0:
            chosen = chosen.astype(np.intp)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise ValueError(
                f"Subset: expected a 1-D array of row numbers, got {chosen.dtype} {chosen.shape}"
            )
        if chosen.size and not (-n <= chosen.min() and chosen.max() < n):
            raise ValueError(
                f"Subset: expected rows in {-n}..{n - 1}, got {chosen.min()}..{chosen.max()}"
            )
        self._parent = parent
        self._rows = np.where(chosen < 0, chosen + n, chosen).astype(np.intp)
        self.classes = parent.classes
        self.source = parent.source

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, rows: Rows) -> tuple[Array, Array]:
        """The samples at `rows` of this view; see `Dataset.batch`."""
        return self._parent.batch(self._rows[rows])

    @property
    def y(self) -> Array:
        """All labels or targets, shape (N, ...); a copy."""
        return self._parent.y[self._rows]

    def with_transform(self, transform: Transform | None) -> "Subset":
        """The same rows of the parent with another transform (or none).

        Examples
        --------
        >>> from fastcnn.data import mnist
        >>> train, validation = mnist(subset=True)[0].split(0.2)
        >>> train = train.with_transform(lambda x: x + 1)  # validation stays as it is
        >>> float(train[0][0].min()), float(validation[0][0].min())
        (1.0, 0.0)
        """
        if not isinstance(self._parent, (ArrayDataset, Subset)):
            raise TypeError(
                f"with_transform: expected a view of an ArrayDataset, got one of "
                f"{type(self._parent).__name__}"
            )
        return Subset(self._parent.with_transform(transform), self._rows)


def as_dataset(data: Any) -> Dataset:
    """`data` itself if it is a Dataset; a dataset of the two arrays if it is a pair (x, y).

    Parameters
    ----------
    data : Dataset or (array_like, array_like)
        What a user passed as data.

    Returns
    -------
    Dataset

    Raises
    ------
    TypeError
        If it is neither.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.data import as_dataset
    >>> len(as_dataset((np.zeros((4, 1, 8, 8), dtype=np.float32), [0, 1, 0, 1])))
    4
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return ArrayDataset(*data)
    raise TypeError(f"expected a fastcnn.data.Dataset or a pair (x, y), got {type(data).__name__}")


def permutation(n: int, *seed: int) -> Array:
    """The numbers 0..n-1 in an order that depends on the seeds alone.

    NumPy keeps the raw stream of PCG64 the same on all machines and in all versions (NEP 19), but
    not what `Generator.permutation` makes of it; so sort the raw numbers.
    """
    for s in seed:
        if isinstance(s, (bool, np.bool_)) or not isinstance(s, (int, np.integer)) or s < 0:
            raise ValueError(f"seed: expected an integer >= 0, got {s!r}")
    keys = np.random.PCG64([int(s) for s in seed]).random_raw(n)
    return np.argsort(keys, kind="stable")


def _fresh(a: Array, rows: Rows) -> Array:
    """The rows of `a` as a new C-contiguous array."""
    return a[rows].copy() if isinstance(rows, slice) else np.take(a, rows, axis=0)


def _fixed(transform: Transform | None) -> Transform | None:
    """`transform`; ValueError if it is a random augmentation, which must know the epoch."""
    if getattr(transform, "random", False):
        raise ValueError(
            f"ArrayDataset: expected a transform that always does the same, got {transform!r}; "
            "DataLoader(..., augment=...) and Trainer.fit(..., augment=...) take random ones"
        )
    return transform


def _labels(y: Array, classes: int) -> Array:
    """Checked labels as int64; float targets as they are."""
    if y.dtype in (np.float32, np.float64):
        return y
    if y.dtype.kind not in "iu":
        raise TypeError(
            f"ArrayDataset: expected y of integers (labels) or floats (targets), got {y.dtype}"
        )
    if y.ndim not in (1, 3):
        raise ValueError(
            f"ArrayDataset: expected labels of shape (N,), or maps of them (N, H, W), got {y.shape}"
        )
    if y.size and (y.min() < 0 or (classes and y.max() >= classes)):
        limit = classes - 1 if classes else "..."
        raise ValueError(f"ArrayDataset: expected labels in 0..{limit}, got {y.min()}..{y.max()}")
    return y.astype(np.int64, copy=False)
