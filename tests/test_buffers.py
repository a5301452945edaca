"""The buffer pool: reuse, bound, clear_cache, alignment, and use from many threads."""

import gc
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import fastcnn
from fastcnn import _checks, _kernels

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _fresh_pool() -> Iterator[None]:
    gc.collect()
    fastcnn.clear_cache()
    _, limit = _kernels.pool_info()
    yield
    _kernels.pool_set_limit(limit)
    fastcnn.clear_cache()


def big(nbytes: int) -> np.ndarray:
    return _checks.empty("test", (nbytes,), np.uint8)


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def kept() -> int:
    return _kernels.pool_info()[0]


def test_a_dead_block_is_used_again() -> None:
    a = big(3 * MIB)
    where = address(a)
    assert kept() == 0
    del a
    assert kept() >= 3 * MIB
    b = big(3 * MIB)
    assert address(b) == where
    assert kept() == 0


def test_a_view_keeps_its_block() -> None:
    a = big(MIB)
    view = a[10:20].reshape(2, 5)
    view[...] = 7
    del a
    assert kept() == 0
    other = big(MIB)
    other[...] = 1
    assert (view == 7).all()
    del view
    assert kept() >= MIB


def test_arrays_alive_at_once_do_not_overlap() -> None:
    arrays = [big(n) for n in (65536, 65537, 100_000, 81_920, MIB, MIB + 1)]
    for i, a in enumerate(arrays):
        a[...] = i
    assert all((a == i).all() for i, a in enumerate(arrays))


@pytest.mark.parametrize("nbytes", [65536, 65537, 81921, 10**6, 2**20, 2**20 + 1, 5_000_001])
def test_size_classes_waste_at_most_a_quarter(nbytes: int) -> None:
    a = big(nbytes)
    assert a.nbytes == nbytes
    del a
    assert nbytes <= kept() <= 1.25 * nbytes + 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("n", [65536 // 4, 70_001, 10**6])
def test_big_arrays_are_aligned_to_64(dtype: type, n: int) -> None:
    a = _checks.empty("test", (n,), dtype)
    assert address(a) % 64 == 0
    assert a.flags.writeable and a.flags.c_contiguous and a.flags.aligned


def test_workspaces_are_aligned_to_64() -> None:
    for nbytes in (0, 1, 63, 65536, 10**6):
        w = _checks.workspace("test", nbytes)
        assert w.nbytes >= nbytes and address(w) % 64 == 0


def test_clear_cache_frees_what_is_kept_and_only_that() -> None:
    alive, dead = big(MIB), big(2 * MIB)
    alive[...] = 5
    del dead
    assert kept() > 0
    fastcnn.clear_cache()
    assert kept() == 0
    assert (alive == 5).all()


def test_what_is_kept_is_bounded() -> None:
    _kernels.pool_set_limit(4 * MIB)
    arrays = [big(MIB) for _ in range(10)]
    del arrays
    assert 0 < kept() <= 4 * MIB
    _kernels.pool_set_limit(MIB // 2)
    assert kept() <= MIB // 2


def test_changing_shapes_do_not_grow_the_pool_past_its_limit() -> None:
    _kernels.pool_set_limit(8 * MIB)
    rng = np.random.default_rng(0)
    for n in rng.integers(65536, 3 * MIB, 300):
        big(int(n))
        assert kept() <= 8 * MIB


def test_too_big_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="needs"):
        _checks.empty("test", (2**31 - 1, 2**31 - 1, 4), np.float32)
    with pytest.raises(MemoryError):
        big(2**61)


def test_many_threads() -> None:
    """Each thread fills its arrays with its number and finds them so afterwards."""
    wrong: list[int] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        for _ in range(100):
            arrays = [big(int(n)) for n in rng.integers(65536, 300_000, 3)]
            for a in arrays:
                a[...] = number
            if not all((a == number).all() for a in arrays):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []
