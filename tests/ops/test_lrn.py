"""ops.local_response_norm and its backward pass: by hand, against the reference, differences."""

import numpy as np
import pytest
from helpers import (
    THREADS,
    assert_close,
    assert_same,
    assert_same_bits,
    integers,
    layouts,
    normal,
    numerical_gradient,
)

import fastcnn
from fastcnn import ops, reference

TOLERANCE = {"float32": 3e-6, "float64": 1e-14}

# x shape, size, alpha, beta, k
CASES = {
    "alexnet": ((2, 16, 5, 7), 5, 5e-1, 0.75, 2.0),
    "even window": ((3, 9, 4, 4), 4, 1.0, 0.75, 1.0),
    "own channel": ((2, 4, 3, 3), 1, 2.0, 0.75, 1.0),
    "wider than the channels": ((2, 5, 3, 4), 12, 1.0, 0.75, 0.5),
    "two channels, window of 9": ((2, 2, 3, 4), 9, 1.0, 0.75, 0.5),
    "other power": ((2, 6, 3, 5), 3, 1.0, 0.4, 1.0),
    "negative power": ((2, 6, 3, 5), 3, 1.0, -1.0, 1.0),
    "features": ((4, 11), 3, 1.0, 0.75, 1.0),
    "three axes": ((2, 7, 6), 5, 1.0, 0.5, 1.0),
    "many pixels": ((1, 6, 37, 29), 5, 1.0, 0.75, 1.0),
    "one image of one channel": ((1, 1, 9, 9), 5, 1.0, 0.75, 1.0),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_the_reference_is_the_formula_number_by_number(case, rng):
    shape, size, alpha, beta, k = case
    x = normal(rng, shape, np.float64)
    y = np.empty_like(x)
    for at in np.ndindex(shape):
        n, c, *pixel = at
        near = range(max(c - size // 2, 0), min(c + (size - 1) // 2, shape[1] - 1) + 1)
        total = sum(x[(n, j, *pixel)] ** 2 for j in near)
        y[at] = x[at] / (k + alpha / size * total) ** beta
    assert_close(reference.local_response_norm(x, size, alpha, beta, k), y, 1e-14)


@pytest.mark.parametrize("name", [n for n in CASES if n != "many pixels"])
def test_the_reference_s_gradient(name, rng):
    shape, *rest = CASES[name]
    x, dy = (normal(rng, shape, np.float64) for _ in range(2))
    dx = reference.local_response_norm_backward(dy, x, *rest)
    numeric = numerical_gradient(
        lambda: float((dy * reference.local_response_norm(x, *rest)).sum()), x
    )
    assert_close(dx, numeric, 1e-7)


@pytest.mark.parametrize("n_threads", THREADS[:3])
def test_against_the_reference(case, n_threads, dtype, rng):
    shape, *rest = case
    x, dy = (normal(rng, shape, dtype) for _ in range(2))
    wide = x.astype(np.float64)
    with fastcnn.threads(n_threads):
        y = ops.local_response_norm(x, *rest)
        dx = ops.local_response_norm_backward(dy, x, *rest)
    assert y.dtype == dx.dtype == dtype
    assert_close(y, reference.local_response_norm(wide, *rest), TOLERANCE[dtype.name])
    expected = reference.local_response_norm_backward(dy.astype(np.float64), wide, *rest)
    assert_close(dx, expected, TOLERANCE[dtype.name])


def test_exact_where_the_power_is(rng, dtype):
    """11 + five ones is 16, and 16^-0.75 is 1/8."""
    x = integers(rng, (2, 9, 3, 11), dtype, limit=1)
    y = ops.local_response_norm(x, 5, alpha=5.0, k=11.0)
    assert_same(y[:, 2:-2], x[:, 2:-2] / 8)
    assert (abs(y[:, [0, -1]]) > 1 / 8).all()


def test_alpha_is_divided_by_the_window():
    x = np.array([[1.0, 2.0, 3.0]])
    y = ops.local_response_norm(x, 3, alpha=0.6, beta=1.0, k=1.0)
    np.testing.assert_allclose(y, [[1 / 2.0, 2 / 3.8, 3 / 3.6]], rtol=1e-15)


def test_a_number_stays_in_its_windows(dtype):
    """Neither NaN nor infinity nor a large number reaches a channel outside them."""
    for bad in (np.nan, np.inf, 1e18):
        x = np.ones((1, 12, 2, 20), dtype)
        clean = ops.local_response_norm(x, 5)
        x[0, 4, 1, 3] = bad
        y = ops.local_response_norm(x, 5)
        touched = np.zeros(x.shape, bool)
        touched[0, 2:7, 1, 3] = True
        assert_same_bits(y[~touched], clean[~touched])
        assert (y[touched] != clean[touched]).all()


def test_threads_and_neighbours_do_not_change_the_bits(rng):
    x, dy = (normal(rng, (5, 20, 23, 31), np.float32) for _ in range(2))
    with fastcnn.threads(1):
        y = ops.local_response_norm(x, 5, 1.0)
        dx = ops.local_response_norm_backward(dy, x, 5, 1.0)
    for n_threads in THREADS[1:]:
        with fastcnn.threads(n_threads):
            assert_same_bits(ops.local_response_norm(x, 5, 1.0), y)
            assert_same_bits(ops.local_response_norm_backward(dy, x, 5, 1.0), dx)
    assert_same_bits(ops.local_response_norm(x[3:4], 5, 1.0), y[3:4])
    assert_same_bits(ops.local_response_norm_backward(dy[3:4], x[3:4], 5, 1.0), dx[3:4])


def test_any_layout_in_and_out(rng, dtype):
    x, dy = (integers(rng, (2, 6, 3, 4), dtype) for _ in range(2))
    y = ops.local_response_norm(x, 3)
    dx = ops.local_response_norm_backward(dy, x, 3)
    for name, given in layouts(x).items():
        out = np.full_like(y, np.nan)
        assert ops.local_response_norm(given, 3, out=out) is out, name
        assert_same_bits(out, y)
        for turned in layouts(dy).values():
            assert_same_bits(ops.local_response_norm_backward(turned, given, 3), dx)


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)], ids=str)
def test_nothing(shape):
    x = np.zeros(shape)
    assert ops.local_response_norm(x, 5).shape == shape
    assert ops.local_response_norm_backward(x, x, 5).shape == shape


X = np.zeros((2, 4, 3, 3))


@pytest.mark.parametrize("module", [ops, reference])
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.local_response_norm(X, 0), "size"),
        (lambda m: m.local_response_norm(X, 5, -1.0), "alpha to be a finite number >= 0"),
        (lambda m: m.local_response_norm(X, 5, beta=np.nan), "beta to be a finite number"),
        (lambda m: m.local_response_norm(X, 5, k=-1), "k to be a finite number >= 0"),
        (lambda m: m.local_response_norm(X[0, 0, 0], 5), r"\(N, C, ...\)"),
        (lambda m: m.local_response_norm_backward(X[:1], X, 5), r"dy.shape == \(2, 4, 3, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(module, call, message):
    with pytest.raises(ValueError, match=message):
        call(module)
