"""What the convolution kernels are told: the algorithm's code and the descriptor of the sizes."""

import functools
from typing import Any, Literal

import numpy as np

from .. import _kernels
from .._checks import Window, check_bytes, check_padding_mode, conv_window
from .._config import get_exact

Algorithm = Literal["auto", "direct", "winograd", "im2col"]
AUTO, DIRECT, WINOGRAD = 0, 1, 2  # fc_conv_algorithm
_CODES = {"auto": AUTO, "direct": DIRECT, "winograd": WINOGRAD, "im2col": DIRECT}


def algorithm_code(op: str, algorithm: str) -> int:
    """The kernel's code of an algorithm."""
    if algorithm not in _CODES:
        raise ValueError(
            f"{op}: expected algorithm to be one of {', '.join(map(repr, _CODES))}, "
            f"got {algorithm!r}"
        )
    return DIRECT if algorithm == "auto" and get_exact() else _CODES[algorithm]


Given = tuple[Any, Any, Any, Any]  # stride, padding, dilation, groups
Described = tuple[Window, "_kernels.Conv2dDesc | None"]


def described(
    op: str,
    dtype: np.dtype[Any],
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    given: Given,
    padding_mode: str,
    algorithm: int,
) -> Described:
    """The window of a convolution and the kernel's descriptor, which is None where a size is zero
    and there is nothing to compute; all arguments checked."""
    plain = _kernels.plain_sizes(*given) and type(padding_mode) is str
    find = _known if plain else _find  # a step of training brings the same shapes again
    return find(op, dtype, x_shape, w_shape, given, padding_mode, algorithm)


def _find(
    op: str,
    dtype: np.dtype[Any],
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    given: Given,
    padding_mode: str,
    algorithm: int,
) -> Described:
    win = conv_window(op, x_shape, w_shape, *given)
    return win, describe(op, dtype, x_shape, w_shape, win, given[3], padding_mode, algorithm)


_known = functools.lru_cache(maxsize=1024)(_find)


def describe(
    op: str,
    dtype: np.dtype[Any],
    x_shape: tuple[int, ...],
    w_shape: tuple[int, ...],
    win: Window,
    groups: int,
    padding_mode: str,
    algorithm: int,
) -> "_kernels.Conv2dDesc | None":
    """The kernel's descriptor, or None where a size is zero and there is nothing to compute."""
    check_padding_mode(op, x_shape, padding_mode)
    for shape in (x_shape, w_shape, (x_shape[0], w_shape[0], *win.out)):
        check_bytes(op, shape, dtype.itemsize)
    top, bottom, left, right = win.padding
    padded = (*x_shape[:2], x_shape[2] + top + bottom, x_shape[3] + left + right)
    check_bytes(op, padded, dtype.itemsize)
    if padded[2] * padded[3] >= 2**31:
        raise MemoryError(
            f"{op}: expected a padded image of fewer than 2**31 pixels, "
            f"got {padded[2]} x {padded[3]}"
        )
    if 0 in x_shape or 0 in w_shape:
        return None
    replicate = padding_mode == "replicate"
    return _kernels.Conv2dDesc(
        np.empty(0, dtype), x_shape, w_shape, win.stride, win.padding, win.dilation, win.out,
        groups, replicate, algorithm,
    )  # fmt: skip
