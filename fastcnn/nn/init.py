"""Initial values of weights: zeros, N(0, std), uniform, LeCun, Xavier and He.

Each function here returns an initializer: a callable ``initial(shape, rng) -> float array`` that a
layer's ``init=`` takes. Values are drawn in float64 and rounded to float32, so a float32 and a
float64 net of one seed start from the same numbers.

Fans follow the weight layouts (O, I) and (O, I, KH, KW):
``fan_in = I * KH * KW``, ``fan_out = O * KH * KW``.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from .._checks import Array, number

Initializer = Callable[[tuple[int, ...], np.random.Generator], Array]
Seed = int | np.random.Generator | None
Distribution = Literal["normal", "uniform"]
_BLOCK = 65536  # numbers drawn at once


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of `shape`: how many inputs and outputs one number joins.

    Parameters
    ----------
    shape : tuple of int
        Of the weight, (O, I, ...).

    Returns
    -------
    (int, int)
        fan_in and fan_out.

    Raises
    ------
    ValueError
        If the shape has fewer than two sizes.

    Examples
    --------
    >>> from fastcnn.nn import init
    >>> init.fans((6, 1, 5, 5))
    (25, 150)
    """
    if len(shape) < 2:
        raise ValueError(f"fans: expected a shape (O, I, ...), got {shape}")
    taps = math.prod(shape[2:])
    return shape[1] * taps, shape[0] * taps


def _drawn(shape: tuple[int, ...], draw: Callable[[int], Array]) -> Array:
    """float32 of ``draw(count)`` in float64, a block at a time: big weights exist once."""
    values = np.empty(math.prod(shape), np.float32)
    for i in range(0, values.size, _BLOCK):
        block = values[i : i + _BLOCK]
        block[...] = draw(block.size)
    return values.reshape(shape)


def zeros() -> Initializer:
    """All zeros, as biases start.

    The memory is first taken when it is written to: a net of any size can be built in no time to
    look at its shapes and counts, or to load its weights from a file.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> init.zeros()((2,), np.random.default_rng(0))
    array([0., 0.], dtype=float32)
    """
    return lambda shape, rng: np.zeros(shape, np.float32)


def normal(std: float = 0.01) -> Initializer:
    """N(0, std^2): the plain small-Gaussian start of AlexNet and of many lectures.

    Parameters
    ----------
    std : float
        The standard deviation, >= 0.

    Returns
    -------
    Initializer
        A callable ``initial(shape, rng) -> ndarray``.

    Raises
    ------
    ValueError
        If `std` is no finite number >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> w = init.normal(0.01)((100, 100), np.random.default_rng(0))
    >>> bool(abs(w.std() - 0.01) < 0.001)
    True
    """
    scale = number("normal", "std", std, 0)
    return lambda shape, rng: _drawn(shape, lambda n: rng.normal(0.0, scale, n))


def uniform(bound: float) -> Initializer:
    """Uniform on [-bound, bound).

    Parameters
    ----------
    bound : float
        At least 0.

    Returns
    -------
    Initializer
        A callable ``initial(shape, rng) -> ndarray``.

    Raises
    ------
    ValueError
        If `bound` is no finite number >= 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> w = init.uniform(0.5)((10, 10), np.random.default_rng(0))
    >>> bool((abs(w) <= 0.5).all())
    True
    """
    limit = number("uniform", "bound", bound, 0)
    return lambda shape, rng: _drawn(shape, lambda n: rng.uniform(-limit, limit, n))


def bilinear() -> Initializer:
    """Kernels that enlarge each map by bilinear interpolation, for `ConvTranspose2d`.

    For stride s with ``kernel_size=2 * s - s % 2`` and ``padding=s // 2``.
    Map i goes to map i alone; with groups, the one map of each group to its own.

    Source: Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation",
    CVPR 2015, section 4.3.

    Raises
    ------
    ValueError
        When it is called, if the weight is not of shape (C, C, KH, KW) or (C, 1, KH, KW).

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> up = nn.ConvTranspose2d(1, 1, (1, 4), (1, 2), (0, 1), init=nn.init.bilinear())
    >>> up(np.array([[[[1.0, 2.0, 3.0]]]], np.float32))
    array([[[[0.75, 1.25, 1.75, 2.25, 2.75, 2.25]]]], dtype=float32)
    """

    def initial(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        if len(shape) != 4 or shape[1] not in (1, shape[0]):
            raise ValueError(
                f"bilinear: expected a weight (C, C, KH, KW) or (C, 1, KH, KW), got shape {shape}"
            )
        rows, cols = (_tent(k) for k in shape[2:])
        w = np.zeros(shape, np.float32)
        w[np.arange(shape[0]), np.arange(shape[0]) % shape[1]] = np.outer(rows, cols)
        return w

    return initial


def _tent(k: int) -> Array:
    """A triangle over k pixels that interpolates at stride (k + 1) // 2."""
    factor = (k + 1) // 2
    return 1 - abs(np.arange(k) - (k - 1) / 2) / factor


def _scaled(op: str, distribution: Distribution, std: Callable[[int, int], float]) -> Initializer:
    """An initializer whose deviation `std(fan_in, fan_out)` depends on the weight's shape."""
    if distribution not in ("normal", "uniform"):
        raise ValueError(f"{op}: expected distribution 'normal' or 'uniform', got {distribution!r}")

    def initial(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
        scale = std(*fans(shape))
        if distribution == "normal":
            return _drawn(shape, lambda n: rng.normal(0.0, scale, n))
        bound = math.sqrt(3.0) * scale  # a uniform on [-a, a) has deviation a / sqrt(3)
        return _drawn(shape, lambda n: rng.uniform(-bound, bound, n))

    return initial


def lecun(distribution: Distribution = "uniform") -> Initializer:
    """Variance ``1 / fan_in``, for the scaled tanh of the first CNNs.

    Source: LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, eq. 16.

    Parameters
    ----------
    distribution : "normal" or "uniform"
        Which of the two has that variance.

    Returns
    -------
    Initializer
        A callable ``initial(shape, rng) -> ndarray``.

    Raises
    ------
    ValueError
        If `distribution` is another; when it is called, if the weight has fewer than two axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> w = init.lecun()((300, 500), np.random.default_rng(0))
    >>> bool(abs(w.std() - (1 / 500) ** 0.5) < 0.001)
    True
    """
    return _scaled("lecun", distribution, lambda i, o: math.sqrt(1.0 / max(i, 1)))


def xavier(distribution: Distribution = "uniform", *, gain: float = 1.0) -> Initializer:
    """Variance ``gain^2 * 2 / (fan_in + fan_out)``, for tanh; with gain 4 for the sigmoid.

    The sigmoid's slope at 0 is 1/4, so without the gain the signal fades fourfold at each layer,
    and a net of some depth does not start to learn.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, eq. 16.

    Parameters
    ----------
    distribution : "normal" or "uniform"
        Which of the two has that variance.
    gain : float
        At least 0.

    Returns
    -------
    Initializer
        A callable ``initial(shape, rng) -> ndarray``.

    Raises
    ------
    ValueError
        If `distribution` is another, or `gain` no finite number >= 0; when it is called, if the
        weight has fewer than two axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> w = init.xavier()((300, 500), np.random.default_rng(0))
    >>> bool(abs(w.std() - (2 / 800) ** 0.5) < 0.001)
    True
    """
    scale = number("xavier", "gain", gain, 0)
    return _scaled("xavier", distribution, lambda i, o: scale * math.sqrt(2.0 / max(i + o, 1)))


def he(
    distribution: Distribution = "normal",
    *,
    negative_slope: float = 0.0,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
) -> Initializer:
    """Variance ``2 / ((1 + negative_slope^2) * fan)``, for ReLU and its variants.

    With `mode` "fan_in" the outputs keep the variance of the inputs, with "fan_out" the gradients
    do on their way back, as ResNets usually start.

    Source: He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015, eq. 10 and 15.

    Parameters
    ----------
    distribution : "normal" or "uniform"
        Which of the two has that variance.
    negative_slope : float
        Of a leaky ReLU that follows.
    mode : "fan_in" or "fan_out"
        Whether outputs or gradients keep their variance.

    Returns
    -------
    Initializer
        A callable ``initial(shape, rng) -> ndarray``.

    Raises
    ------
    ValueError
        If `distribution` or `mode` is another, or `negative_slope` no finite number >= 0; when it
        is called, if the weight has fewer than two axes.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.nn import init
    >>> w = init.he()((300, 500), np.random.default_rng(0))
    >>> bool(abs(w.std() - (2 / 500) ** 0.5) < 0.001)
    True
    """
    slope = number("he", "negative_slope", negative_slope, 0)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"he: expected mode 'fan_in' or 'fan_out', got {mode!r}")

    def std(fan_in: int, fan_out: int) -> float:
        fan = fan_in if mode == "fan_in" else fan_out
        return math.sqrt(2.0 / ((1 + slope**2) * max(fan, 1)))

    return _scaled("he", distribution, std)
