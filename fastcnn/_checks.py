"""What every op and its reference twin does first: dtypes, layouts, sizes, memory for results.

Sizes are Python integers, which do not overflow; `check_bytes` is the one place that bounds them
before anything is allocated or handed to C. A small net would spend as long here as in its kernels:
what nearly every call brings (an int, a tuple of ints, a plain array) is let through by the first
lines of a check, and sizes that were computed once are remembered.

N images, C input channels, H W input size, K output channels, KH KW kernel size, OH OW output size.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _kernels

Array = NDArray[Any]
Pair = int | Sequence[int]
Padding = int | Sequence[Any] | Literal["valid", "same"]
PaddingMode = Literal["zeros", "replicate"]

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
_MAX_BYTES = 2**62


def integer(op: str, name: str, value: Any, least: int) -> int:
    """`value` as an int of at least `least`, or a ValueError that says what came."""
    if type(value) is int and least <= value < 2**31:
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{op}: expected {name} to be an integer >= {least}, got {value!r}")
    if not least <= value < 2**31:
        raise ValueError(f"{op}: expected {name} in {least}..2**31-1, got {value}")
    return int(value)


def number(op: str, name: str, value: Any, least: float = -math.inf) -> float:
    """`value` as a finite float of at least `least`, or a ValueError that says what came."""
    if type(value) is float and least <= value and -math.inf < value < math.inf:
        return value
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" >= {least:g}"
        raise ValueError(f"{op}: expected {name} to be a finite number{bound}, got {value!r}")
    return float(value)


def pair(op: str, name: str, value: Any, least: int) -> tuple[int, int]:
    """An int, or (h, w), as (h, w)."""
    if type(value) is tuple and len(value) == 2:
        h, w = value
        if type(h) is int and type(w) is int and least <= h < 2**31 and least <= w < 2**31:
            return value
    if isinstance(value, (int, np.integer)):
        one = integer(op, name, value, least)
        return one, one
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise ValueError(f"{op}: expected {name} to be an int or (h, w), got {value!r}")
    if len(value) != 2:
        raise ValueError(f"{op}: expected {name} to be an int or (h, w), got {value!r}")
    return integer(op, name, value[0], least), integer(op, name, value[1], least)


def dims(op: str, name: str, shape: Any, ndim: int) -> tuple[int, ...]:
    """A shape argument of `ndim` sizes, each at least 0, as a tuple of ints."""
    if type(shape) is tuple and len(shape) == ndim:
        for n in shape:
            if type(n) is not int or not 0 <= n < 2**31:
                break
        else:
            return shape
    if isinstance(shape, (str, bytes)) or not isinstance(shape, (Sequence, np.ndarray)):
        raise ValueError(f"{op}: expected {name} to be a tuple of {ndim} sizes, got {shape!r}")
    if len(shape) != ndim:
        raise ValueError(f"{op}: expected {name} to be a tuple of {ndim} sizes, got {shape!r}")
    return tuple(integer(op, name, n, 0) for n in shape)


class Window(NamedTuple):
    """A checked sliding window over H x W: all that conv, pool and im2col need to know."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]  # top, bottom, left, right
    dilation: tuple[int, int]
    out: tuple[int, int]


def _sides(op: str, padding: Any) -> tuple[int, int, int, int]:
    """int, (h, w) or ((top, bottom), (left, right)) as four sides."""
    shape = "an int, (h, w), ((top, bottom), (left, right)), 'valid' or 'same'"
    if isinstance(padding, (int, np.integer)):
        p = integer(op, "padding", padding, 0)
        return p, p, p, p
    if isinstance(padding, (str, bytes)) or not isinstance(padding, (Sequence, np.ndarray)):
        raise ValueError(f"{op}: expected padding to be {shape}, got {padding!r}")
    if len(padding) == 2 and all(isinstance(p, (Sequence, np.ndarray)) for p in padding):
        (t, b), (l, r) = (pair(op, "padding", p, 0) for p in padding)
        return t, b, l, r
    if len(padding) == 2:
        h, w = pair(op, "padding", padding, 0)
        return h, h, w, w
    raise ValueError(f"{op}: expected padding to be {shape}, got {padding!r}")


def window(
    op: str,
    size: tuple[int, int],
    kernel_size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Window:
    """The one size computation: floor((N - (F-1)*D - 1 + 2P) / S) + 1 on both axes.

    With `ceil_mode` the division rounds up, but a last window that would start in the padding is
    dropped (PyTorch's rule). "same" gives ceil(N / S), the odd element of padding at the end (the
    TensorFlow and ONNX SAME_UPPER rule).
    """
    given = (kernel_size, stride, padding, dilation)
    find = _known_window if _kernels.plain_sizes(*given) else _find_window
    return find(op, size, given, bool(ceil_mode))


_Sides = tuple[int, int, int, int]


def _find_window(op: str, size: tuple[int, int], given: tuple[Any, ...], ceil_mode: bool) -> Window:
    """`window` of (kernel_size, stride, padding, dilation), each checked by itself at first."""
    kernel = pair(op, "kernel_size", given[0], 1)
    step = pair(op, "stride", given[1], 1)
    dil = pair(op, "dilation", given[3], 1)
    padding: _Sides | str = given[2] if isinstance(given[2], str) else _sides(op, given[2])
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dil, strict=True))
    if isinstance(padding, str):
        if padding == "valid":
            sides = (0, 0, 0, 0)
        elif padding == "same":
            total = [
                max((math.ceil(n / s) - 1) * s + e - n, 0)
                for n, s, e in zip(size, step, extent, strict=True)
            ]
            (h, w) = total
            sides = (h // 2, h - h // 2, w // 2, w - w // 2)
        else:
            raise ValueError(f"{op}: expected padding 'valid' or 'same', got {padding!r}")
    else:
        sides = padding
    out = []
    for axis, n, e, s, before, after in (
        ("H", size[0], extent[0], step[0], sides[0], sides[1]),
        ("W", size[1], extent[1], step[1], sides[2], sides[3]),
    ):
        room = n + before + after - e
        o = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (o - 1) * s >= n + before:
            o -= 1
        if o < 1:
            need = -room
            raise ValueError(
                f"{op}: the window does not fit: expected {axis} + padding >= {e} "
                f"(dilated kernel), got {n} + {before + after}; padding {before + (need + 1) // 2} "
                f"or {axis} >= {n + need} would fit"
            )
        out.append(o)
    return Window(kernel, step, sides, dil, (out[0], out[1]))


# Not for True, which would find what 1 has left.
_known_window = functools.lru_cache(maxsize=1024)(_find_window)


def conv_window(
    op: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Window:
    """The window of a convolution, after checking that channels and groups fit."""
    check_groups(op, x_shape, w_shape, groups)
    size, kernel = (x_shape[2], x_shape[3]), (w_shape[2], w_shape[3])
    return window(op, size, kernel, stride=stride, padding=padding, dilation=dilation)


def check_groups(op: str, x_shape: tuple[int, ...], w_shape: tuple[int, ...], groups: int) -> None:
    """ValueError unless the channels of x and w fit each other and the groups."""
    g = integer(op, "groups", groups, 1)
    if x_shape[1] != g * w_shape[1]:
        raise ValueError(
            f"{op}: expected x.shape[1] == groups * w.shape[1] ({g}*{w_shape[1]}), "
            f"got x.shape={tuple(x_shape)}"
        )
    if w_shape[0] % g:
        raise ValueError(
            f"{op}: expected w.shape[0] to be a multiple of groups ({g}), "
            f"got w.shape={tuple(w_shape)}"
        )


def single(op: str, name: str, value: Any, least: int) -> int:
    """An int, or (int,), as an int: an argument along the one axis of a row."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return integer(op, name, value, least)


def row_options(
    op: str, stride: Any, padding: Any, dilation: Any
) -> tuple[tuple[int, int], Any, tuple[int, int]]:
    """Stride, padding and dilation of a row as those of an image one pixel high."""
    step, dil = single(op, "stride", stride, 1), single(op, "dilation", dilation, 1)
    if isinstance(padding, (tuple, list)) and len(padding) == 2:
        sides: Any = ((0, 0), pair(op, "padding", padding, 0))
    elif isinstance(padding, str):
        sides = padding
    else:
        p = single(op, "padding", padding, 0)
        sides = ((0, 0), (p, p))
    return (1, step), sides, (1, dil)


def conv_transpose_size(
    op: str,
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    stride: Pair,
    padding: Padding,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> tuple[int, int]:
    """Output size of a transposed convolution, after checking that all of its arguments fit.

    (N - 1)*S - 2P + (F - 1)*D + 1 + output_padding on both axes: of the sizes from which a
    convolution with these arguments gives N, the one that lies `output_padding` above the least.
    """
    g = integer(op, "groups", groups, 1)
    if x_shape[1] != w_shape[0]:
        raise ValueError(
            f"{op}: expected x.shape[1] == w.shape[0] ({w_shape[0]}), got x.shape={tuple(x_shape)}"
        )
    if w_shape[0] % g:
        raise ValueError(
            f"{op}: expected w.shape[0] to be a multiple of groups ({g}), "
            f"got w.shape={tuple(w_shape)}"
        )
    kernel = pair(op, "kernel_size", w_shape[2:], 1)
    step = pair(op, "stride", stride, 1)
    dil = pair(op, "dilation", dilation, 1)
    more = pair(op, "output_padding", output_padding, 0)
    if isinstance(padding, str):
        raise ValueError(f"{op}: expected padding in pixels, got {padding!r}")
    sides = _sides(op, padding)
    out = []
    for a, axis in enumerate("HW"):
        if more[a] >= step[a]:
            raise ValueError(
                f"{op}: expected output_padding less than the stride ({step[a]} on {axis}), "
                f"got {more[a]}"
            )
        n, cut = x_shape[2 + a], sides[2 * a] + sides[2 * a + 1]
        o = (n - 1) * step[a] - cut + (kernel[a] - 1) * dil[a] + 1 + more[a]
        if n < 1 or o < 1:
            raise ValueError(
                f"{op}: expected {axis} >= 1 and padding that leaves some of the output, "
                f"got {axis} = {n} and {cut} pixels of padding in all: {axis} of the output is {o}"
            )
        out.append(o)
    return out[0], out[1]


def check_padding_mode(op: str, x_shape: Sequence[int], padding_mode: str) -> None:
    if padding_mode not in ("zeros", "replicate"):
        raise ValueError(
            f"{op}: expected padding_mode 'zeros' or 'replicate', got {padding_mode!r}"
        )
    if padding_mode == "replicate" and 0 in x_shape[2:]:
        raise ValueError(f"{op}: an image of {x_shape[2:]} has no border to replicate")


def pool_window(
    op: str,
    size: tuple[int, int],
    kernel_size: Pair,
    *,
    stride: Pair | None = None,
    padding: Padding = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
) -> Window:
    """`window` with pooling's defaults and rules: stride = kernel_size, padding <= kernel_size / 2.

    Every window then sees at least one element of the image, or it is a ValueError.
    """
    given = (kernel_size, kernel_size if stride is None else stride, padding, dilation)
    find = _known_pool_window if _kernels.plain_sizes(*given) else _find_pool_window
    return find(op, size, given, bool(ceil_mode))


def _find_pool_window(op: str, size: tuple[int, int], given: tuple[Any, ...], ceil: bool) -> Window:
    win = _find_window(op, size, given, ceil)
    for axis, k, sides in (("H", 0, win.padding[:2]), ("W", 1, win.padding[2:])):
        half = win.kernel[k] // 2
        if max(sides) > half:
            raise ValueError(
                f"{op}: expected padding of at most half the kernel ({half} on {axis}), "
                f"got {max(sides)}"
            )
        # A window that starts in the padding sees row (or column) start % dilation first: a dilated
        # one can step over a small image. With such padding, if any window does, the first does.
        seen = -sides[0] % win.dilation[k]
        if sides[0] > 0 and seen >= size[k]:
            raise ValueError(
                f"{op}: a window lies wholly in the padding: expected {axis} > {seen} "
                f"or a smaller dilation, got {axis} = {size[k]}"
            )
    return win


_known_pool_window = functools.lru_cache(maxsize=1024)(_find_pool_window)


def check_bytes(op: str, shape: Sequence[int], itemsize: int) -> int:
    """Bytes of an array, or MemoryError if no machine could hold it."""
    n = math.prod(shape) * itemsize
    if n > _MAX_BYTES:
        raise MemoryError(f"{op}: an array of shape {tuple(shape)} needs {n} bytes")
    return n


def empty(op: str, shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised C-contiguous array, from the buffer pool if it is big."""
    dtype = np.dtype(dtype)
    array: Array | None = _kernels.empty(shape if type(shape) is tuple else tuple(shape), dtype)
    if array is None:
        check_bytes(op, shape, dtype.itemsize)
        raise ValueError(f"{op}: no array of shape {tuple(shape)} can be made")
    return array


def workspace(op: str, nbytes: int) -> Array:
    """Scratch of `nbytes` bytes, aligned to 64."""
    if nbytes > _MAX_BYTES:
        check_bytes(op, (nbytes,), 1)
    array: Array = _kernels.workspace(nbytes)
    return array


def floating(
    op: str,
    name: str,
    a: ArrayLike,
    ndim: int | None,
    dtype: Any = None,
    like: str = "the first array",
) -> Array:
    """`a` as a C-contiguous, aligned float array; copied only if it is not one already.

    Integers and booleans are refused (a silent cast hides mistakes), float16 too; and what is not
    of `dtype`, if that is given: that of `like`.
    """
    if _kernels.fits(a, ndim, dtype):
        return cast(Array, a)
    array = np.asarray(a)
    if array.dtype.char not in "fd" or not array.dtype.isnative:
        raise TypeError(
            f"{op}: expected {name} to be float32 or float64, got {array.dtype}; "
            f"{name}.astype(np.float32) would fit"
        )
    if dtype is not None and array.dtype != dtype:
        raise TypeError(
            f"{op}: expected {name} to be {np.dtype(dtype)} like {like}, got {array.dtype}; "
            f"{name}.astype(np.{np.dtype(dtype)}) would fit"
        )
    if ndim is not None and array.ndim != ndim:
        raise ValueError(
            f"{op}: expected {name} to have {ndim} dimensions, got {name}.shape={array.shape}"
        )
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    return np.require(array, requirements=("C", "A"))


def expect_shape(op: str, name: str, a: Array, shape: Sequence[int], why: str) -> None:
    """ValueError unless a.shape == shape; `why` says where the expected shape comes from."""
    if a.shape != tuple(shape):
        raise ValueError(
            f"{op}: expected {name}.shape == {tuple(shape)} ({why}), got {name}.shape={a.shape}"
        )


def slopes_of(op: str, x: Array, weight: ArrayLike) -> tuple[Array, tuple[int, int, int]]:
    """PReLU's slopes, one for all or one a channel, and x's sizes as (outer, slopes, inner)."""
    w = floating(op, "weight", weight, 1, x.dtype, "x")
    if w.size == 1:
        return w, (1, 1, x.size)
    if x.ndim < 2 or x.shape[1] != w.size:
        raise ValueError(
            f"{op}: expected x of shape (N, {w.size}, ...), a channel for each slope, "
            f"got x.shape={x.shape}"
        )
    return w, (x.shape[0], w.size, math.prod(x.shape[2:]))


def dropout_of(op: str, p: Any, seed: Any) -> tuple[float, int]:
    """Dropout's share in [0, 1) and seed of 64 bits."""
    share = number(op, "p", p, 0.0)
    if share >= 1:
        raise ValueError(f"{op}: expected p in [0, 1), got {p!r}")
    if isinstance(seed, (bool, np.bool_)) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"{op}: expected seed to be an integer, got {seed!r}")
    if not 0 <= seed < 2**64:
        raise ValueError(f"{op}: expected seed in 0..2**64-1, got {seed}")
    return share, int(seed)


def same_memory(a: Array, out: Array | None) -> bool:
    """Whether `out` begins where `a` does: then each element is read before it is written."""
    return out is a or (isinstance(out, np.ndarray) and a.ctypes.data == out.ctypes.data)


def output(
    op: str,
    out: Array | None,
    shape: Sequence[int],
    dtype: Any,
    reads: Sequence[Array | None] = (),
) -> Array:
    """A fresh result array, or the caller's `out` after checking that it can take the result.

    `reads` are the inputs that are still read while the result is written: `out` must be apart.
    """
    if out is None:
        return empty(op, shape, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != tuple(shape):
        raise ValueError(
            f"{op}: expected out to be a {np.dtype(dtype)} array of shape {tuple(shape)}, got "
            f"{getattr(out, 'dtype', type(out).__name__)} {getattr(out, 'shape', '')}"
        )
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError(f"{op}: expected out to be C-contiguous, aligned and writeable")
    if any(a is not None and np.may_share_memory(out, a) for a in reads):
        raise ValueError(f"{op}: expected out to share no memory with the inputs")
    return out


def sgd_lists(
    op: str, params: list[Any], grad: Any, velocity: Any, lr: Any
) -> tuple[list[Any], list[Any], list[Any]]:
    """New lists with a gradient, a velocity (or None) and a rate for each parameter."""
    n = len(params)
    velocity = [None] * n if velocity is None else velocity
    lr = lr if isinstance(lr, list) else [lr] * n
    for name, values in (("grad", grad), ("velocity", velocity), ("lr", lr)):
        if not isinstance(values, list) or len(values) != n:
            got = len(values) if isinstance(values, list) else type(values).__name__
            raise ValueError(f"{op}: expected {name} to be a list of {n}, got {got}")
    return grad.copy(), velocity.copy(), lr.copy()


def affine_args(
    op: str, x: ArrayLike, matrix: ArrayLike, size: int | tuple[int, int] | None, fill: float
) -> tuple[Array, Array, tuple[int, int], float]:
    """Checked arguments: x, float64 matrices (N, 2, 3), the size of the results, and fill."""
    a = floating(op, "x", x, 4)
    n, _, h, w = a.shape
    if h < 1 or w < 1 or (h + 3) * (w + 3) > 2**24:
        raise ValueError(f"{op}: expected images of 1 to about 2**24 pixels, got {h}x{w}")
    m = floating(op, "matrix", matrix, None)
    if m.shape == (2, 3):
        m = np.broadcast_to(m, (n, 2, 3))
    expect_shape(op, "matrix", m, (n, 2, 3), "a matrix for each image, or one of shape (2, 3)")
    if not np.isfinite(m).all():
        raise ValueError(f"{op}: expected matrix to be finite")
    out_size = (h, w) if size is None else pair(op, "size", size, 1)
    return a, np.ascontiguousarray(m, np.float64), out_size, number(op, "fill", fill)
