"""Oracle tools that all tests share: exact inputs, comparisons that cannot pass by accident.

The chain: finite differences (`numerical_gradient`) hold `fastcnn.reference` in float64, which
holds `fastcnn.ops`. Integer-valued inputs (`integers`) make float32 sums exact, so that there
`assert_same` allows no difference at all. Both comparisons refuse an expected value that proves
nothing: mostly zeros, or one constant.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray
THREADS = (1, 2, 3, 4, 8)


def integers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike, limit: int = 4
) -> Array:
    """Whole numbers in -limit..limit without zero, as floats.

    Sums of up to 2**24 / limit**2 products of them are exact in float32.
    """
    magnitude = rng.integers(1, limit, shape, endpoint=True)
    return (magnitude * rng.choice([-1, 1], shape)).astype(dtype)


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """N(0, 1) values."""
    return rng.standard_normal(shape).astype(dtype)


def distinct(rng: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Shuffled whole numbers around 0, no two alike: no ties for a maximum."""
    n = int(np.prod(shape))
    return (rng.permutation(n) - n // 2).reshape(shape).astype(dtype)


def _refuse_vacuous(expected: Array, zeros: float) -> None:
    """Fail if `expected` would also match a kernel that did nothing."""
    if expected.size < 8:
        return
    share = np.count_nonzero(expected == 0) / expected.size
    assert share <= zeros, f"the expected value proves little: {share:.0%} of it is zero"
    assert np.any(expected != expected.flat[0]), "the expected value proves little: it is constant"


def _same_kind(got: Array, expected: Array) -> None:
    assert isinstance(got, np.ndarray), f"got {type(got).__name__}, not an array"
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"


def assert_same(got: Array, expected: Array, *, zeros: float = 0.5) -> None:
    """`got` equals `expected` exactly; NaN equals NaN, and 0.0 equals -0.0.

    `expected` may be of a wider dtype, but must be a value that got's dtype can hold. At most the
    share `zeros` of it may be 0: say so where an operation rightly gives more.
    """
    _same_kind(got, expected)
    _refuse_vacuous(expected, zeros)
    wrong = (got != expected) & ~(np.isnan(got) & np.isnan(expected))
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise AssertionError(
            f"{np.count_nonzero(wrong)} of {wrong.size} elements differ; first at {at}: "
            f"{got[at]!r}, expected {expected[at]!r}"
        )


def assert_close(got: Array, expected: Array, tolerance: float, *, zeros: float = 0.5) -> None:
    """|got - expected| <= tolerance * (standard deviation of expected) everywhere.

    With fewer than eight elements the root mean square takes the deviation's place. NaN fails.
    """
    _same_kind(got, expected)
    _refuse_vacuous(expected, zeros)
    if expected.size == 0:
        return
    wide = expected.astype(np.float64)
    scale = wide.std() if wide.size >= 8 else np.sqrt((wide**2).mean())
    error = np.abs(got.astype(np.float64) - wide)
    at = np.unravel_index(np.argmax(error), error.shape)  # the first NaN, if there is one
    assert error[at] <= tolerance * scale, (
        f"error {error[at] / scale if scale else np.inf:.3g} of the deviation at "
        f"{tuple(map(int, at))}, allowed {tolerance:.3g}: {got[at]!r}, expected {expected[at]!r}"
    )


def assert_same_bits(a: Array, b: Array) -> None:
    """Equal dtype, shape and bytes, signs of zero and NaN payloads included."""
    assert a.dtype == b.dtype, f"dtype {a.dtype}, expected {b.dtype}"
    _same_kind(a, b)
    if a.tobytes() != b.tobytes():
        word = np.dtype(f"u{a.dtype.itemsize}")
        wrong = np.ascontiguousarray(a).view(word) != np.ascontiguousarray(b).view(word)
        raise AssertionError(f"{np.count_nonzero(wrong)} of {wrong.size} elements differ in bits")


def numerical_gradient(f: Callable[[], float], x: Array, eps: float = 1e-5) -> Array:
    """Central differences of the number ``f()`` with respect to the float64 array `x` it reads."""
    assert x.dtype == np.float64, "finite differences mean little in float32"
    gradient = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        kept = x[i]
        x[i] = kept + eps
        above = f()
        x[i] = kept - eps
        below = f()
        x[i] = kept
        gradient[i] = (above - below) / (2 * eps)
    return gradient


def conv2d_by_single_numbers(
    x: Array,
    w: Array,
    b: Array,
    out_size: tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    top_left: tuple[int, int] = (0, 0),
    groups: int = 1,
    padding_mode: str = "zeros",
) -> Array:
    """The sum that defines a convolution, number by number, in Python's unbounded integers."""
    (step_h, step_w), (gap_h, gap_w) = (
        (v, v) if isinstance(v, int) else v for v in (stride, dilation)
    )
    (k, c_g, kh, kw), (h, width) = w.shape, x.shape[2:]
    y = np.zeros((len(x), k, *out_size))
    for n, o, i, j in np.ndindex(y.shape):
        y[n, o, i, j] = b[o]
        for c, p, q in np.ndindex(c_g, kh, kw):
            row, col = i * step_h + p * gap_h - top_left[0], j * step_w + q * gap_w - top_left[1]
            if padding_mode == "replicate":
                row, col = min(max(row, 0), h - 1), min(max(col, 0), width - 1)
            if 0 <= row < h and 0 <= col < width:
                y[n, o, i, j] += w[o, c, p, q] * x[n, o // (k // groups) * c_g + c, row, col]
    return y


def layouts(a: Array) -> dict[str, Array]:
    """`a` in the layouts that callers really have, each equal to `a` element by element."""
    gaps = np.full((*a.shape[:-1], 2 * a.shape[-1]), np.nan, a.dtype)[..., ::2]
    gaps[...] = a
    reverse = a[..., ::-1].copy()[..., ::-1]
    window = np.full([n + 2 for n in a.shape], np.nan, a.dtype)[(slice(1, -1),) * a.ndim]
    window[...] = a
    readonly = a.copy()
    readonly.flags.writeable = False
    misaligned = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    misaligned[...] = a
    result = {
        "every second element": gaps,
        "negative stride": reverse,
        "Fortran order": np.asfortranarray(a),
        "window of a larger array": window,
        "read-only": readonly,
        "misaligned": misaligned,
    }
    if a.ndim == 4:
        nhwc = np.ascontiguousarray(a.transpose(0, 2, 3, 1))
        result["channels last"] = nhwc.transpose(0, 3, 1, 2)
    if a.shape[0] == 1:
        result["broadcast"] = np.broadcast_to(a[0], a.shape)
    return result
