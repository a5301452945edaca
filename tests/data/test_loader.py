"""The loader: every sample once an epoch, an order fixed by seed and epoch, exact resume."""

import json
import os
import signal
import threading
import tracemalloc

import numpy as np
import pytest

from fastcnn.data import ArrayDataset, DataLoader, augment
from fastcnn.data import loader as module


def numbered(n: int) -> ArrayDataset:
    return ArrayDataset(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n))


def epoch(loader: DataLoader) -> list[list[int]]:
    """The labels of each batch of one epoch; x must belong to them."""
    batches = []
    for x, y in loader:
        assert x.flags.c_contiguous and x.shape == (len(y), 1, 1, 1)
        np.testing.assert_array_equal(x.ravel(), y)
        batches.append(y.tolist())
    return batches


def flat(batches: list[list[int]]) -> list[int]:
    return [label for batch in batches for label in batch]


def test_in_order_and_last_partial_batch_kept():
    loader = DataLoader(numbered(7), 3)
    for _ in range(2):
        assert epoch(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3 and loader.epoch == 2
    loader = DataLoader(numbered(7), 3, drop_last=True)
    assert epoch(loader) == [[0, 1, 2], [3, 4, 5]] and len(loader) == 2
    assert epoch(DataLoader(numbered(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert epoch(DataLoader(numbered(2), 2**62)) == [[0, 1]]


def test_no_samples():
    assert epoch(DataLoader(numbered(0), 3, shuffle=True)) == []


@pytest.mark.parametrize("n", [1, 7, 64, 1000])
def test_shuffle_gives_each_sample_once(n):
    loader = DataLoader(numbered(n), 5, shuffle=True, seed=1)
    for _ in range(3):
        batches = epoch(loader)
        assert sorted(flat(batches)) == list(range(n))
        assert [len(b) for b in batches[:-1]] == [5] * (len(loader) - 1)


def test_order_depends_on_seed_and_epoch_alone():
    a = DataLoader(numbered(50), 8, shuffle=True, seed=1)
    b = DataLoader(numbered(50), 50, shuffle=True, seed=1)
    first, second = flat(epoch(a)), flat(epoch(a))
    assert [first, second] == [flat(epoch(b)), flat(epoch(b))]
    assert first != second
    other = DataLoader(numbered(50), 8, shuffle=True, seed=2)
    assert flat(epoch(other)) != first
    # Seed 1 in epoch 2 is not seed 2 in epoch 1.
    third = flat(epoch(a))
    assert third != flat(epoch(other))


def test_a_pass_left_early_does_not_count():
    loader = DataLoader(numbered(20), 4, shuffle=True)
    peeked = next(iter(loader))[1].tolist()
    assert loader.epoch == 0
    assert epoch(loader)[0] == peeked
    assert loader.epoch == 1


def test_batches_may_be_changed():
    dataset = numbered(5)
    for x, y in DataLoader(dataset, 2):
        x += 100
        y += 100
    assert epoch(DataLoader(dataset, 5)) == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", range(0, 9))
def test_resume_at_the_exact_batch(shuffle, stop):
    """Stop after any number of batches in three epochs, go on elsewhere: nothing is lost."""
    make = lambda: DataLoader(numbered(10), 4, shuffle=shuffle, seed=5)  # noqa: E731
    whole = make()
    expected = epoch(whole) + epoch(whole) + epoch(whole)

    first, seen = make(), []
    state = first.state_dict()
    while len(seen) < stop:
        for _, y in first:
            seen.append(y.tolist())
            state = first.state_dict()  # as a checkpoint does, inside the loop
            if len(seen) == stop:
                break
    second = make()
    second.load_state_dict(json.loads(json.dumps(state)))
    assert second.state_dict() == state
    while len(seen) < len(expected):
        seen += epoch(second)
    assert seen == expected
    assert second.epoch == 3


def test_state_at_the_end_of_an_epoch():
    loader = DataLoader(numbered(4), 2)
    for _ in loader:
        inside = loader.state_dict()
    assert (inside["epoch"], inside["position"]) == (0, 2)
    after = loader.state_dict()
    assert (after["epoch"], after["position"]) == (1, 0)
    loader.load_state_dict(inside)
    assert epoch(loader) == [] and loader.epoch == 1
    assert epoch(loader) == [[0, 1], [2, 3]]


def test_bad_states_change_nothing():
    loader = DataLoader(numbered(10), 4, shuffle=True, seed=5)
    good = loader.state_dict()
    wrong = [
        None,
        {},
        {**good, "extra": 1},
        {**good, "length": 11},
        {**good, "batch_size": 5},
        {**good, "seed": 6},
        {**good, "shuffle": 0},
        {**good, "epoch": -1},
        {**good, "epoch": 1.5},
        {**good, "position": 4},
        {**good, "position": True},
    ]
    for state in wrong:
        with pytest.raises(ValueError, match="DataLoader: expected"):
            loader.load_state_dict(state)
        assert loader.state_dict() == good
    loader.load_state_dict({**good, "position": 3})


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 2.0},
        {"batch_size": True},
        {"seed": -1},
        {"seed": "a"},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="DataLoader: expected"):
        DataLoader(numbered(3), **options)


def test_numpy_integers_and_pairs_are_fine():
    loader = DataLoader((np.zeros((3, 1), np.float32), [0, 1, 2]), np.int64(2), seed=np.uint8(3))
    assert len(loader) == 2
    json.dumps(loader.state_dict())


def test_the_shuffle_copies_no_data():
    dataset = ArrayDataset(np.zeros((20_000, 28, 28), np.uint8), np.zeros(20_000, int))  # 15 MB
    loader = DataLoader(dataset, 64, shuffle=True)
    tracemalloc.start()
    try:
        for _ in loader:
            pass
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


# ---- augmentation and background threads ----


class Numbers(augment.Augmentation):
    """Adds a random number of the sample to it."""

    def apply(self, x, keys):
        return x + augment.uniforms(keys, 1)[0].reshape(-1, 1, 1, 1).astype(x.dtype)


def passes(loader: DataLoader, epochs: int = 2) -> list[tuple[np.ndarray, np.ndarray]]:
    return [batch for _ in range(epochs) for batch in loader]


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("fastcnn-loader")]


@pytest.mark.parametrize("block", [1, 100, 2**20])
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("shuffle", [False, True])
def test_background_threads_change_nothing(workers, shuffle, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", block)
    options = {"shuffle": shuffle, "seed": 4, "augment": Numbers()}
    plain = passes(DataLoader(numbered(53), 4, **options))
    ahead = passes(DataLoader(numbered(53), 4, num_workers=workers, **options))
    for (x, y), (other_x, other_y) in zip(plain, ahead, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)
        assert other_x.flags.c_contiguous and other_x.flags.writeable
    assert not loader_threads()


def test_augmentation_is_of_the_sample_not_of_the_batch():
    """Any batch size, order and start give a sample the same numbers in the same epoch."""

    def numbers(loader: DataLoader) -> dict[int, float]:
        return {int(k): float(v) for x, y in loader for k, v in zip(y, x.ravel(), strict=True)}

    options = {"seed": 1, "augment": Numbers()}
    one = DataLoader(numbered(20), 4, **options)
    other = DataLoader(numbered(20), 7, shuffle=True, num_workers=2, **options)
    first, second = numbers(one), numbers(one)
    assert [first, second] == [numbers(other), numbers(other)]
    assert all(0 <= first[i] - i < 1 and first[i] != second[i] for i in range(20))
    assert numbers(DataLoader(numbered(20), 4, seed=2, augment=Numbers())) != first


class Lists(ArrayDataset):
    """A dataset of one's own, whose labels are no array."""

    def batch(self, index):
        x, y = super().batch(index)
        return x, y.tolist()


def test_labels_in_lists_are_taken_with_augmentation():
    dataset = Lists(np.zeros((5, 1, 1, 1), np.float32), np.arange(5))
    batches = list(DataLoader(dataset, 2, augment=Numbers()))
    assert [y for _, y in batches] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_in_the_middle_with_threads(workers):
    options = {"shuffle": True, "augment": Numbers(), "num_workers": workers}
    whole = [x for x, _ in passes(DataLoader(numbered(30), 4, **options))]
    loader = DataLoader(numbered(30), 4, **options)
    for i, _ in enumerate(loader):
        if i == 2:
            state = json.loads(json.dumps(loader.state_dict()))
            break
    assert state["position"] == 3 and not loader_threads()
    again = DataLoader(numbered(30), 4, **options)
    again.load_state_dict(state)
    rest = [x for x, _ in passes(again)]
    assert len(rest) == 13
    for x, y in zip(rest, whole[3:], strict=True):
        np.testing.assert_array_equal(x, y)


class Breaks(ArrayDataset):
    """Fails for a batch that holds a certain row."""

    def batch(self, rows):
        if 9 in np.arange(len(self))[rows]:
            raise OSError("row 9 cannot be read")
        return super().batch(rows)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_errors_come_where_the_batch_would(workers, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    dataset = Breaks(np.zeros((20, 1, 1, 1), np.float32), np.arange(20))
    loader, seen = DataLoader(dataset, 4, num_workers=workers), []
    with pytest.raises(OSError, match="row 9 cannot be read"):
        for _, y in loader:
            seen += y.tolist()
    assert seen == list(range(8)) and not loader_threads() and loader.epoch == 0


def test_little_is_prepared_ahead(monkeypatch):
    """Nobody prepares an epoch of batches that nobody takes."""
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    asked = []

    class Counts(ArrayDataset):
        def batch(self, rows):
            asked.append(rows)
            return super().batch(rows)

    dataset = Counts(np.zeros((1000, 1, 1, 1), np.float32), np.zeros(1000, int))
    batches = iter(DataLoader(dataset, 1, num_workers=2))
    for _ in range(10):
        next(batches)
    batches.close()
    assert len(asked) <= 10 + 2 * 2 and not loader_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_goes_on_by_itself():
    loader = DataLoader(numbered(200), 4, num_workers=2, augment=Numbers())
    expected = [x for x, _ in DataLoader(numbered(200), 4, augment=Numbers())]
    batches = iter(loader)
    next(batches)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(30)
            rest = [x for x, _ in batches]
            again = [x for x, _ in DataLoader(numbered(200), 4, num_workers=2, augment=Numbers())]
            ok = [
                np.array_equal(a, b)
                for a, b in zip(rest + again, expected[1:] + expected, strict=True)
            ]
            code = 0 if all(ok) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(list(batches)) == 49


def test_ctrl_c_within_a_pass_ends_the_threads():
    loader = DataLoader(numbered(100), 1, num_workers=2)
    with pytest.raises(KeyboardInterrupt):
        for i, _ in enumerate(loader):
            if i == 3:
                signal.raise_signal(signal.SIGINT)
    del loader
    assert not loader_threads()


def test_what_augment_and_num_workers_may_be():
    with pytest.raises(TypeError, match="expected augment to be a fastcnn"):
        DataLoader(numbered(3), augment=lambda x: x)
    with pytest.raises(ValueError, match="num_workers >= 0"):
        DataLoader(numbered(3), num_workers=-1)
