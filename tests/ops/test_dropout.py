"""Dropout: the reference's elements, its share, no pattern, any threads, dtype and layout."""

import numpy as np
import pytest
from helpers import THREADS, assert_same, assert_same_bits, layouts, normal

import fastcnn
from fastcnn import ops, reference

SIZES = [0, 1, 7, 255, 256, 257, 16383, 16384, 16385, 40001]
SEEDS = [0, 1, 2**32, 2**64 - 1]


@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.95])
@pytest.mark.parametrize("n", SIZES)
def test_matches_reference(n: int, p: float, rng: np.random.Generator, dtype: np.dtype):
    x = normal(rng, (n,), dtype)
    for seed in SEEDS:
        assert_same(ops.dropout(x, p, seed), reference.dropout(x, p, seed), zeros=1)
    assert_same(ops.dropout(x, 0, 3), x)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.9])
def test_its_share_is_dropped_everywhere(p: float):
    """The shares of runs of elements scatter as those of independent draws do."""
    dropped = ops.dropout(np.ones(1_024_000, np.float32), p, seed=11) == 0
    shares = dropped.reshape(-1, 1000).mean(1)
    expected = np.sqrt(p * (1 - p) / 1000)
    assert abs(dropped.mean() - p) < 4 * np.sqrt(p * (1 - p) / dropped.size)
    assert 0.9 < shares.std() / expected < 1.1


@pytest.mark.parametrize("apart", [1, 2, 3, 8, 16, 28, 256, 1024, 16384, 65536])
def test_elements_know_nothing_of_each_other(apart: int):
    kept = ops.dropout(np.full(1 << 20, 0.5, np.float32), 0.5, seed=5) - 0.5
    both = float((kept[apart:] * kept[:-apart]).mean() / kept.var())
    assert abs(both) < 4.5 / np.sqrt(kept.size - apart)


def test_seeds_know_nothing_of_each_other():
    x = np.full(1 << 18, 0.5, np.float32)
    seeds = [0, 1, 2, 3, 2**32, 2**33, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15]
    kept = np.stack([ops.dropout(x, 0.5, seed) - 0.5 for seed in seeds])
    both = kept @ kept.T / (x.size * 0.25) - np.eye(len(seeds))
    assert abs(both).max() < 5 / np.sqrt(x.size)


def test_neither_threads_nor_dtype_nor_layout_decide(rng: np.random.Generator, dtype: np.dtype):
    x = normal(rng, (9, 8, 70, 31), dtype)
    first = ops.dropout(x, 0.4, 21)
    for n in THREADS:
        with fastcnn.threads(n):
            assert_same_bits(ops.dropout(x, 0.4, 21), first)
    for other in layouts(x).values():
        assert_same_bits(ops.dropout(other, 0.4, 21), first)
    ones = np.ones(x.shape, dtype)
    np.testing.assert_array_equal(ops.dropout(ones, 0.4, 21) == 0, first == 0)


@pytest.mark.parametrize("function", [ops.dropout, reference.dropout], ids=["ops", "reference"])
@pytest.mark.parametrize(
    ("p", "seed", "message"),
    [
        (1, 0, r"p in \[0, 1\)"), (-0.1, 0, "p to be a finite number >= 0"),
        (np.nan, 0, "p to be a finite number"), (0.5, -1, "seed in 0"),
        (0.5, 2**64, "seed in 0"), (0.5, 1.0, "seed to be an integer"),
        (0.5, None, "seed to be an integer"),
    ],
)  # fmt: skip
def test_bad_arguments(function, p, seed, message):
    with pytest.raises(ValueError, match=message):
        function(np.zeros(3, np.float32), p, seed)
