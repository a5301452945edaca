"""ops.affine: by hand, against the reference, exact where places and weights are."""

import numpy as np
import pytest
from helpers import THREADS, assert_close, assert_same, assert_same_bits, integers, layouts, normal

import fastcnn
from fastcnn import ops, reference

KEEP = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
SHAPES = [(1, 1, 1, 1), (3, 2, 5, 7), (2, 3, 28, 28), (4, 1, 1, 9), (2, 1, 17, 33)]
SIZES = [None, 1, (3, 18), (33, 5)]


def quarters(rng, n: int, reach: int = 6) -> np.ndarray:
    """Maps of whole quarters: places and weights are exact in float32."""
    return rng.integers(-reach, reach + 1, (n, 2, 3)) / 4 + np.array(KEEP)


@pytest.mark.parametrize("module", [ops, reference])
def test_shifts_flips_and_turns(module, rng, dtype):
    x = integers(rng, (2, 3, 4, 5), dtype)
    assert_same(module.affine(x, KEEP), x)
    left = module.affine(x, [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]], fill=7)
    assert_same(left[..., :4], x[..., 1:])
    assert (left[..., 4] == 7).all()
    assert_same(module.affine(x, [[-1.0, 0.0, 4.0], [0.0, 1.0, 0.0]]), x[..., ::-1])
    turned = module.affine(x, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]], (5, 4))
    assert_same(turned, x.transpose(0, 1, 3, 2))
    half = module.affine(x, [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]])
    assert_same(half[..., :4], (x[..., 1:] + x[..., :-1]) / 2)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_exact_against_the_reference(shape, size, rng, dtype):
    x, m = integers(rng, shape, dtype), quarters(rng, shape[0])
    expected = reference.affine(x, m, size, fill=2.0)
    got = ops.affine(x, m, size, fill=2.0)
    assert got.dtype == dtype
    assert_same(got, expected)


@pytest.mark.parametrize("size", [None, (6, 40)], ids=str)
def test_shifts_by_whole_pixels_are_copies(size, rng, dtype):
    """Of any size, out of the image too; a neighbour that is not finite does not show."""
    x = integers(rng, (9, 2, 7, 21), dtype)
    m = np.tile(np.array(KEEP), (9, 1, 1))
    m[:, :, 2] = [
        [0, 0],
        [3, -2],
        [-20, 6],
        [21, 0],
        [0, 7],
        [-40, 0],
        [1, -7],
        [1e9, 0],
        [0, -3e9],
    ]
    assert_same(ops.affine(x, m, size, fill=3), reference.affine(x, m, size, fill=3))
    x[0, 0, 3, 4] = np.inf
    y = ops.affine(x, m, size, fill=3)
    assert_same(y[0, 0, :6, :21], x[0, 0, :6])


@pytest.mark.parametrize("n_threads", THREADS[:3])
def test_against_the_reference(n_threads, rng, dtype):
    x, m = normal(rng, (5, 2, 13, 19), dtype), normal(rng, (5, 2, 3), np.float64)
    m[:, :, 2] += 6
    with fastcnn.threads(n_threads):
        y = ops.affine(x, m, (11, 23), fill=0.5)
    expected = reference.affine(x.astype(np.float64), m, (11, 23), fill=0.5)
    assert_close(y, expected, {"float32": 1e-4, "float64": 1e-12}[dtype.name])


def test_threads_and_neighbours_do_not_change_the_bits(rng):
    x, m = normal(rng, (40, 2, 29, 31), np.float32), normal(rng, (40, 2, 3), np.float64)
    m[:, :, 2] += 10
    with fastcnn.threads(1):
        y = ops.affine(x, m)
    for n_threads in THREADS[1:]:
        with fastcnn.threads(n_threads):
            assert_same_bits(ops.affine(x, m), y)
    assert_same_bits(ops.affine(x[3:4], m[3:4]), y[3:4])
    assert_same_bits(ops.affine(x[3:4], m[3]), y[3:4])


def test_any_layout_in_and_out(rng, dtype):
    x, m = integers(rng, (2, 3, 4, 5), dtype), quarters(rng, 2)
    y = ops.affine(x, m, fill=1)
    for name, given in layouts(x).items():
        out = np.full_like(y, np.nan)
        assert ops.affine(given, m, fill=1, out=out) is out, name
        assert_same_bits(out, y)
    for given in layouts(m).values():
        assert_same_bits(ops.affine(x, given, fill=1), y)
    assert_same(ops.affine(x, m.astype(np.float32), fill=1), y)


def test_far_places_are_outside(rng, dtype):
    x = integers(rng, (2, 1, 5, 5), dtype)
    for far in (1e6, -1e6, 1e30, -1e30):
        m = np.array([[[1, 0, far], [0, 1, 0]], [[1, 0, 0], [0, 1, far]]], np.float64)
        assert (ops.affine(x, m, fill=3) == 3).all()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4)], ids=str)
def test_nothing(shape):
    assert ops.affine(np.zeros(shape), KEEP, 5).shape == (*shape[:2], 5, 5)


X = np.zeros((2, 3, 4, 4))


@pytest.mark.parametrize("module", [ops, reference])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.affine(X[0], KEEP), "4 dimensions"),
        (lambda m: m.affine(X[:, :, :0], KEEP), "pixels, got 0x4"),
        (lambda m: m.affine(np.broadcast_to(X[:1, :1, :1, :1], (1, 1, 4096, 4096)), KEEP), "2.*24"),
        (lambda m: m.affine(X, np.zeros((3, 2, 3))), r"matrix.shape == \(2, 2, 3\)"),
        (lambda m: m.affine(X, np.full((2, 3), np.nan)), "matrix to be finite"),
        (lambda m: m.affine(X, KEEP, 0), "size"),
        (lambda m: m.affine(X, KEEP, fill=np.inf), "fill to be a finite number"),
    ],
)
def test_what_does_not_fit_is_refused(module, call, message):
    with pytest.raises(ValueError, match=message):
        call(module)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="float32 or float64"):
        ops.affine(X.astype(np.uint8), KEEP)
