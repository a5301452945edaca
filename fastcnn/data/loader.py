"""Batches of a dataset, epoch after epoch, in an order that can be stored and resumed.

Batches may be prepared by background threads (read, augmented) while the ones before are used.
What a batch holds depends on the seed, the epoch and its rows alone, never on who prepared it.
"""

import collections
import contextlib
import operator
import os
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from .._config import threads
from .augment import Augmentation
from .dataset import Array, Dataset, as_dataset, permutation

Batch = tuple[Array, Array]
Prepare = Callable[[int, int], list[Batch]]

_BLOCK_BYTES = 2**22  # background threads prepare batches in blocks of about so much


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
    augment : Augmentation, optional
        Changes each batch, see `fastcnn.data.augment`; seeded by `seed`, the epoch, and the numbers
        of the samples. Labels of pixels, integers (N, H, W), move along
        (`Augmentation.with_labels <fastcnn.data.augment.Augmentation.with_labels>`); other targets
        stay as they are.
    num_workers : int, optional
        Background threads that prepare batches; 0 prepares each when it is asked for. The dataset's
        ``batch`` is called from them, with several at the same time.

    Attributes
    ----------
    epoch : int
        Epochs finished; the number of the epoch that the next pass runs.

    Raises
    ------
    ValueError
        If `batch_size` is less than 1, or `seed` or `num_workers` less than 0.
    TypeError
        If `augment` is no Augmentation.

    Notes
    -----
    A pass that is left early (``break``) does not count: the next pass runs the same epoch from
    its start. To go on in the middle, use `state_dict` and `load_state_dict`.

    Batches are fresh arrays, which the caller may change. The shuffle makes an index per epoch
    (8 bytes a sample), never a copy of the data.

    What is prepared ahead is bounded: for each worker two blocks, of about 4 MB or one batch. The
    threads end with the pass: at its end, when its iterator is closed or forgotten, or with an
    error, which is raised where the batch would have come. A process forked within a pass prepares
    its batches itself.

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
        augment: Augmentation | None = None,
        num_workers: int = 0,
    ) -> None:
        self.dataset = as_dataset(dataset)
        self.batch_size = _integer("batch_size", batch_size, 1)
        self.shuffle = bool(shuffle)
        self.seed = _integer("seed", seed, 0)
        self.drop_last = bool(drop_last)
        if not isinstance(augment, Augmentation | None):
            raise TypeError(
                f"DataLoader: expected augment to be a fastcnn.data.augment.Augmentation, got "
                f"{augment!r}"
            )
        self.augment = augment
        self.num_workers = _integer("num_workers", num_workers, 0)
        self.epoch = 0
        self._position = 0  # batches given in the running epoch
        self._resume_at = 0  # where the next pass starts: after load_state_dict not at 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        full, rest = divmod(len(self.dataset), self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Generator[Batch, None, None]:
        """Yield the (x, y) of each batch of an epoch."""
        epoch, n, size, count = self.epoch, len(self.dataset), self.batch_size, len(self)
        start, self._resume_at = self._resume_at, 0
        order = permutation(n, self.seed, epoch) if self.shuffle else None
        self._position = start

        def prepare(first: int, last: int) -> list[Batch]:
            """The batches first..last-1, made in one go: it costs less than one by one."""
            rows = slice(first * size, min(last * size, n))
            numbers = np.arange(rows.start, rows.stop) if order is None else order[rows]
            x, y = self.dataset.batch(rows if order is None else numbers)
            if self.augment is not None:
                given: dict[str, Any] = {"seed": self.seed, "epoch": epoch, "rows": numbers}
                labels = np.asarray(y)
                if labels.dtype.kind in "iu" and labels.ndim == 3 and np.ndim(x) == 4:
                    x, y = self.augment.with_labels(x, labels, **given)
                else:
                    x = self.augment(x, **given)
            cuts = range(0, len(numbers), size)
            return [(x[i : i + size], y[i : i + size]) for i in cuts]

        work = _in_background if self.num_workers else _in_turn
        with contextlib.closing(work(prepare, start, count, self.num_workers)) as batches:
            for i, batch in enumerate(batches, start):
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


def _in_turn(
    prepare: Prepare, start: int, count: int, workers: int
) -> Generator[Batch, None, None]:
    """Each batch when it is asked for."""
    for i in range(start, count):
        yield from prepare(i, i + 1)


def _in_background(
    prepare: Prepare, start: int, count: int, workers: int
) -> Generator[Batch, None, None]:
    """Batches in their order, prepared ahead by threads in blocks."""
    from concurrent.futures import Future, ThreadPoolExecutor

    def one_thread(first: int, last: int) -> list[Batch]:
        with threads(1):  # the others are at work already
            return prepare(first, last)

    owner = os.getpid()  # a forked child has this frame, but not the threads
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fastcnn-loader")
    pending: collections.deque[tuple[int, int, Future[list[Batch]]]] = collections.deque()
    block, ahead = 1, start
    try:
        while ahead < count or pending:
            while ahead < count and len(pending) < 2 * workers and os.getpid() == owner:
                last = min(ahead + block, count)
                pending.append((ahead, last, pool.submit(one_thread, ahead, last)))
                ahead = last
            if not pending:
                yield from prepare(ahead, ahead + 1)
                ahead += 1
                continue
            first, last, future = pending.popleft()
            ready = os.getpid() == owner or future.done()
            batches = future.result() if ready else prepare(first, last)
            block = max(1, _BLOCK_BYTES // max(batches[0][0].nbytes, 1))
            yield from batches
    finally:
        if os.getpid() == owner:
            pool.shutdown(cancel_futures=True)
