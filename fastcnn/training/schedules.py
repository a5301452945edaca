"""Learning-rate schedules: the rate's factor as a function of how much of the fit is done.

``Trainer(..., schedule=cosine)`` multiplies the optimizer's rate by ``cosine(t)`` before each
step, where t runs from 0 (first step of the fit) towards 1. Any function of one float will do.
A schedule has no memory, so a resumed run meets the same rates. Its ``__name__`` is kept in
checkpoints, and a resume with another one is refused; `step` and `one_cycle` name their arguments.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(t: float) -> float:
    """The same rate throughout.

    Examples
    --------
    >>> constant(0.7)
    1.0
    """
    return 1.0


def cosine(t: float) -> float:
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter, SGDR, 2017, equation 5).

    Examples
    --------
    >>> cosine(0.0), round(cosine(0.5), 3), cosine(1.0)
    (1.0, 0.5, 0.0)
    """
    return 0.5 * (1.0 + math.cos(math.pi * t))


def step(factor: float = 0.1, steps: int = 3) -> Schedule:
    """Multiply the rate by `factor` at the end of each of `steps` equal parts of the fit.

    Raises
    ------
    ValueError
        If `steps` is less than 1 or `factor` is not positive.

    Examples
    --------
    >>> [round(step(0.1, 2)(t), 3) for t in (0.0, 0.49, 0.5, 0.9)]
    [1.0, 1.0, 0.1, 0.1]
    """
    if steps < 1 or not factor > 0:
        raise ValueError(f"step: expected factor > 0 and steps >= 1, got {factor} and {steps}")

    def part(t: float) -> float:
        return factor ** min(int(t * steps), steps - 1)

    part.__name__ = f"step({factor!r}, {steps!r})"
    return part


def one_cycle(warmup: float = 0.25, start: float = 0.04, end: float = 1e-4) -> Schedule:
    """Rise from `start` to 1 over the first `warmup` of the fit, then fall to `end`, by cosines.

    Smith and Topin, Super-Convergence, 2018.

    Raises
    ------
    ValueError
        If `warmup` is not between 0 and 1.

    Examples
    --------
    >>> rate = one_cycle()
    >>> round(rate(0.0), 6), rate(0.25), round(rate(1.0), 6)
    (0.04, 1.0, 0.0001)
    """
    if not 0 < warmup < 1:
        raise ValueError(f"one_cycle: expected 0 < warmup < 1, got {warmup}")

    def factor(t: float) -> float:
        if t < warmup:
            return 1.0 + (start - 1.0) * cosine(t / warmup)
        return end + (1.0 - end) * cosine((t - warmup) / (1.0 - warmup))

    factor.__name__ = f"one_cycle({warmup!r}, {start!r}, {end!r})"
    return factor
