"""Datasets: what they hold, what batches they give, views, splits, transforms, bad arguments."""

import numpy as np
import pytest

from fastcnn.data import ArrayDataset, Dataset, Subset, as_dataset
from fastcnn.data.dataset import permutation


@pytest.fixture
def digits(rng) -> ArrayDataset:
    """Twelve 8-bit images of 4 x 5 whose label is their number."""
    images = rng.integers(0, 256, (12, 4, 5), dtype=np.uint8)
    return ArrayDataset(images, np.arange(12), classes=[str(i) for i in range(12)])


class Counting(Dataset):
    """A dataset that knows only how to make a batch."""

    def __len__(self):
        return 6

    def batch(self, rows):
        x = np.arange(6, dtype=np.float32)[rows]
        return x, 2 * x


def test_bytes_become_floats_correctly_rounded():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    dataset = ArrayDataset(every, [0])
    expected = (np.arange(256) / 255).astype(np.float32).reshape(1, 1, 16, 16)
    for x in (dataset.x, dataset.batch(slice(0, 1))[0], dataset[0][0][None]):
        assert x.dtype == np.float32 and x.flags.c_contiguous
        np.testing.assert_array_equal(x, expected)


def test_x_is_made_once_and_y_is_int64(digits):
    assert digits.x is digits.x
    assert digits.x.shape == (12, 1, 4, 5)
    assert digits.y.dtype == np.int64 and digits.y.tolist() == list(range(12))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_kept(rng, dtype):
    x = rng.normal(size=(3, 2, 4, 4)).astype(dtype)
    dataset = ArrayDataset(x, rng.normal(size=(3, 7)).astype(np.float32))
    assert dataset.x is x
    assert dataset.y.shape == (3, 7)
    assert dataset[1][0].dtype == dtype


def test_batches_are_fresh_and_contiguous(rng):
    x = rng.normal(size=(6, 3, 4, 4)).astype(np.float32)
    original = x.copy()
    for source in (x, np.asfortranarray(x), x[::-1], x[:, :, ::2]):
        dataset = ArrayDataset(source, np.arange(6))
        for rows in (slice(1, 4), np.array([4, 0, 4])):
            bx, by = dataset.batch(rows)
            assert bx.flags.c_contiguous and bx.flags.writeable and bx.flags.aligned
            np.testing.assert_array_equal(bx, source[rows])
            np.testing.assert_array_equal(by, np.arange(6)[rows])
            bx[:] = by[:] = -1  # the caller may do this
    np.testing.assert_array_equal(x, original)
    np.testing.assert_array_equal(dataset.y, np.arange(6))


def test_indexing(digits):
    x, y = digits[-1]
    np.testing.assert_array_equal(x, digits.x[11])
    assert y == 11 and x.shape == (1, 4, 5)
    with pytest.raises(IndexError, match=r"-12\.\.11, got 12"):
        digits[12]
    with pytest.raises(IndexError):
        digits[-13]
    for bad in (1.0, "a", True, None):
        with pytest.raises(TypeError, match="integer or a slice"):
            digits[bad]
    assert [int(y) for _, y in digits] == list(range(12))  # ends by IndexError


def test_slices_are_views(digits):
    part = digits[10:2:-3]
    assert isinstance(part, Subset) and part.classes == digits.classes
    assert part.y.tolist() == [10, 7, 4]
    np.testing.assert_array_equal(part.x, digits.x[[10, 7, 4]])
    assert part[1:][0][1] == 7
    np.testing.assert_array_equal(part.batch(np.array([2, 0]))[0], digits.x[[4, 10]])
    assert len(digits[5:5]) == 0 and digits[5:5].x.shape == (0, 1, 4, 5)


def test_split(digits):
    rest, part = digits.split(0.25, seed=3)
    assert len(rest) == 9 and len(part) == 3
    assert sorted([*rest.y, *part.y]) == list(range(12))
    assert part.y.tolist() == sorted(part.y)
    again = digits.split(0.25, seed=3)[1]
    other = digits.split(0.25, seed=4)[1]
    assert again.y.tolist() == part.y.tolist() != other.y.tolist()
    assert len(digits.split(1e-9)[1]) == 1 and len(digits.split(1 - 1e-9)[0]) == 1
    np.testing.assert_array_equal(part.x, digits.x[part.y])
    for fraction in (0, 1, -0.5, 2, float("nan")):
        with pytest.raises(ValueError, match="0 < fraction < 1"):
            digits.split(fraction)
    with pytest.raises(ValueError, match="at least 2 samples"):
        digits[:1].split(0.5)
    for seed in (-1, 1.5, True):
        with pytest.raises(ValueError, match="integer >= 0"):
            digits.split(0.5, seed)


def test_transform(digits):
    def negative(x):
        x -= 1  # in place is allowed: a batch is fresh
        return x

    plain = digits.x.copy()
    changed = digits.with_transform(negative)
    np.testing.assert_array_equal(changed.x, plain - 1)
    np.testing.assert_array_equal(changed.batch(np.array([3]))[0], plain[[3]] - 1)
    np.testing.assert_array_equal(changed[2][0], plain[2] - 1)
    np.testing.assert_array_equal(digits.x, plain)
    train, validation = changed.split(0.5)
    np.testing.assert_array_equal(validation.with_transform(None).x, plain[validation.y])
    np.testing.assert_array_equal(validation.x, plain[validation.y] - 1)
    np.testing.assert_array_equal(train[:2].with_transform(None).x, plain[train.y[:2]])
    with pytest.raises(TypeError, match="view of an ArrayDataset"):
        Counting()[1:].with_transform(None)


def test_a_users_own_dataset():
    own = Counting()
    assert own.x.tolist() == [0, 1, 2, 3, 4, 5] and own.y.tolist() == [0, 2, 4, 6, 8, 10]
    assert own[4] == (4, 8) and own[::5].y.tolist() == [0, 10]
    assert repr(own) == "<Counting of 6 samples>"
    own.source = "thin air"
    assert repr(own) == "<Counting of 6 samples from thin air>"
    assert as_dataset(own) is own


def test_as_dataset():
    dataset = as_dataset([np.zeros((2, 1), np.float32), [1, 0]])
    assert dataset.y.tolist() == [1, 0]
    for bad in (None, 3, np.zeros((2, 2)), (1, 2, 3)):
        with pytest.raises(TypeError, match="a pair"):
            as_dataset(bad)


@pytest.mark.parametrize(
    "x, y, options, error, message",
    [
        (
            np.zeros((2, 3), np.int64),
            [0, 1],
            {},
            TypeError,
            "uint8 .*float32 or float64, got int64",
        ),
        (np.zeros((2, 3), np.float16), [0, 1], {}, TypeError, "got float16"),
        (np.zeros((2, 3), np.float32), [0], {}, ValueError, "same length"),
        (np.float32(1), [0], {}, ValueError, "same length"),
        (np.zeros((2, 3), np.float32), 0, {}, ValueError, "same length"),
        (np.zeros((2, 3), np.float32), [0, -1], {}, ValueError, r"got -1\.\.0"),
        (
            np.zeros((2, 3), np.float32),
            [0, 2],
            {"classes": "ab"},
            ValueError,
            r"0\.\.1, got 0\.\.2",
        ),
        (np.zeros((2, 3), np.float32), [[0], [1]], {}, ValueError, r"shape \(N,\)"),
        (np.zeros((2, 3), np.float32), ["a", "b"], {}, TypeError, "expected y of integers"),
    ],
)
def test_bad_arrays(x, y, options, error, message):
    with pytest.raises(error, match=message):
        ArrayDataset(x, y, **options)


def test_bad_rows(digits):
    assert Subset(digits, [-1, 0]).y.tolist() == [11, 0]
    assert Subset(digits, []).y.tolist() == []
    for rows in ([12], [-13], [[1]], [1.0], 3):
        with pytest.raises(ValueError, match="Subset: expected"):
            Subset(digits, rows)


def test_empty_dataset():
    empty = ArrayDataset(np.zeros((0, 28, 28), np.uint8), np.zeros(0, int))
    assert len(empty) == 0 and empty.x.shape == (0, 1, 28, 28) and list(empty) == []


def test_permutation_is_the_same_everywhere():
    """Written-down values: NumPy promises the raw stream of PCG64, so these hold on any machine."""
    assert permutation(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert permutation(10, 7, 3).tolist() == [2, 4, 7, 3, 5, 1, 8, 9, 0, 6]
    assert sorted(permutation(1000, 1)) == list(range(1000))
    assert permutation(0, 1).size == 0
