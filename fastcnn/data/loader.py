"""Batches of a dataset, epoch after epoch, in an order that can be stored and resumed."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from .dataset import Array, Dataset, as_dataset, permutation


class DataLoader:
    """Iterate over a dataset in batches, as often as you like.

    Each pass over the loader is one epoch. The order of an epoch depends on the seed and the
    number of the epoch alone, so it is the same on every machine and after a resume.

    Parameters
    ----------
    dataset : Dataset or (x, y)
        What to iterate over.
    batch_size : int, optional
        Samples in a batch; the last batch of an epoch may have fewer.
    shuffle : bool, optional
        A new order in each epoch; else that of the dataset.
    seed : int, optional
        For the shuffle.
    drop_last : bool, optional
        Leave out a last batch that is not full.

    Attributes
    ----------
    epoch : int
        Epochs finished; the number of the epoch that the next pass runs.

    Raises
    ------
    ValueError
        If `batch_size` is less than 1 or `seed` less than 0.

    Notes
    -----
    A pass that is left early (``break``) does not count: the next pass runs the same epoch from
    its start. To go on in the middle, use `state_dict` and `load_state_dict`.

    Batches are fresh arrays, which the caller may change. The shuffle makes an index per epoch
    (8 bytes a sample), never a copy of the data.

    Examples
    --------
    >>> from fastcnn.data import DataLoader, mnist
    >>> train, test = mnist(subset=True)
    >>> loader = DataLoader(train, batch_size=64, shuffle=True)
    >>> len(loader)
    79
    >>> for x, y in loader:
    ...     pass
    >>> x.shape, y.shape, loader.epoch
    ((8, 1, 28, 28), (8,), 1)
    """

    def __init__(
        self,
        dataset: Dataset | tuple[Any, Any],
        batch_size: int = 64,
        *,
        shuffle: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        self.dataset = as_dataset(dataset)
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.seed = _integer("seed", seed, 0)
        self.drop_last = bool(drop_last)
        self.epoch = 0
        self._position = 0  # batches given in the running epoch
        self._resume_at = 0  # where the next pass starts: after load_state_dict not at 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Yield the (x, y) of each batch of an epoch."""
        epoch, n = self.epoch, len(self.dataset)
        start, self._resume_at = self._resume_at, 0
        order = permutation(n, self.seed, epoch) if self.shuffle else None
        self._position = start
        for i in range(start, len(self)):
            rows = slice(i * self.batch_size, min((i + 1) * self.batch_size, n))
            batch = self.dataset.batch(rows if order is None else order[rows])
            self._position = i + 1
            yield batch
        self.epoch, self._position = epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands, as integers; may be taken while a pass runs.

        Returns
        -------
        dict
            ``epoch`` and ``position`` (batches already given in it), and what must be the same
            for a resume to be exact: ``length``, ``batch_size``, ``shuffle``, ``seed``,
            ``drop_last``.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn.data import DataLoader
        >>> loader = DataLoader((np.zeros((10, 1), np.float32), range(10)), 4, shuffle=True)
        >>> for x, y in loader:
        ...     state = loader.state_dict()  # after the first batch
        ...     break
        >>> state["epoch"], state["position"]
        (0, 1)
        """
        return {"epoch": self.epoch, "position": self._position, **self._settings()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Stand where another loader stood: the next pass goes on with the batch after.

        Parameters
        ----------
        state : dict
            From `state_dict` of a loader with the same dataset length and settings.

        Raises
        ------
        ValueError
            If the state is not such a dictionary; the loader stays as it was.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn.data import DataLoader
        >>> data = np.zeros((10, 1), np.float32), range(10)
        >>> loader = DataLoader(data, 4)
        >>> loader.load_state_dict({**loader.state_dict(), "position": 1})
        >>> [y.tolist() for x, y in loader], [y.tolist() for x, y in loader]
        ([[4, 5, 6, 7], [8, 9]], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])
        """
        settings = self._settings()
        expected = {"epoch", "position", *settings}
        if not isinstance(state, dict) or set(state) != expected:
            got = sorted(state) if isinstance(state, dict) else state
            raise ValueError(f"DataLoader: expected a state of {sorted(expected)}, got {got}")
        for key, value in settings.items():
            if state[key] != value:
                raise ValueError(
                    f"DataLoader: expected a state of a loader with {key}={value}, got {state[key]}"
                )
        epoch = _integer("epoch", state["epoch"], 0)
        position = _integer("position", state["position"], 0)
        if position > len(self):
            raise ValueError(f"DataLoader: expected position in 0..{len(self)}, got {position}")
        self.epoch, self._position, self._resume_at = epoch, position, position

    def _settings(self) -> dict[str, int]:
        return {
            "length": len(self.dataset),
            "batch_size": self.batch_size,
            "shuffle": int(self.shuffle),
            "seed": self.seed,
            "drop_last": int(self.drop_last),
        }


def _integer(name: str, value: Any, least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise ValueError(f"DataLoader: expected {name} to be an integer >= {least}, got {value!r}")
    number = operator.index(value)
    if number < least:
        raise ValueError(f"DataLoader: expected {name} >= {least}, got {number}")
    return number
