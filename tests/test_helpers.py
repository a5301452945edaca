"""The oracle tools themselves: a comparison must be able to fail."""

import numpy as np
import pytest
from helpers import (
    assert_close,
    assert_same,
    assert_same_bits,
    distinct,
    integers,
    layouts,
    normal,
    numerical_gradient,
)


@pytest.mark.parametrize("change", [1.0, np.nan, np.inf])
def test_one_changed_element_is_seen(rng, dtype, change):
    a = integers(rng, (2, 3, 4), dtype)
    b = a.copy()
    b[1, 2, 3] += change
    assert_same(a, a.astype(np.float64))
    assert_close(a, a.astype(np.float64), 1e-6)
    assert_same_bits(a, a.copy())
    with pytest.raises(AssertionError, match=r"1 of 24 .* \(1, 2, 3\)"):
        assert_same(b, a)
    with pytest.raises(AssertionError, match=r"\(1, 2, 3\)"):
        assert_close(b, a, 1e-3)
    with pytest.raises(AssertionError, match="1 of 24"):
        assert_same_bits(b, a)


def test_bits_tell_zeros_apart(rng):
    assert_same(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
    with pytest.raises(AssertionError, match="1 of 2"):
        assert_same_bits(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
    with pytest.raises(AssertionError, match="dtype"):
        assert_same_bits(np.zeros(2, np.float32), np.zeros(2))


@pytest.mark.parametrize("compare", [assert_same, lambda a, b: assert_close(a, b, 1.0)])
def test_vacuous_expectations_are_refused(compare):
    mostly = np.zeros(100)
    mostly[:40] = np.arange(40) + 1
    with pytest.raises(AssertionError, match="60% of it is zero"):
        compare(mostly, mostly)
    with pytest.raises(AssertionError, match="constant"):
        compare(np.ones(100), np.ones(100))
    with pytest.raises(AssertionError, match="shape"):
        compare(np.arange(4.0), np.arange(4.0)[:, None])


def test_mostly_zero_may_be_allowed():
    a = np.zeros(100)
    a[0] = 1
    assert_same(a, a, zeros=0.99)
    assert_close(a, a, 1e-9, zeros=0.99)


def test_nan_is_not_close_but_is_the_same():
    a = np.array([1.0, np.nan])
    assert_same(a, a)
    with pytest.raises(AssertionError):
        assert_close(a, a, 1.0)


def test_layouts_are_equal_and_nasty(rng, dtype):
    a = normal(rng, (1, 3, 4, 5), dtype)
    made = layouts(a)
    for name, b in made.items():
        assert b.dtype == a.dtype, name
        np.testing.assert_array_equal(b, a, err_msg=name)
        flags = b.flags
        assert not (flags.c_contiguous and flags.aligned and flags.writeable), name
    assert {"negative stride", "read-only", "misaligned", "broadcast", "channels last"} <= {*made}


def test_distinct_values_have_no_ties(rng, dtype):
    a = distinct(rng, (3, 5, 7), dtype)
    assert len(np.unique(a)) == a.size


def test_numerical_gradient_of_a_cubic(rng):
    x = rng.standard_normal((2, 3))
    kept = x.copy()
    gradient = numerical_gradient(lambda: float((x**3).sum()), x)
    np.testing.assert_allclose(gradient, 3 * kept**2, atol=1e-8)
    np.testing.assert_array_equal(x, kept)
