"""Learning-rate schedules: the rate's factor as a function of how much of the fit is done.

``Trainer(..., schedule=cosine)`` multiplies the optimizer's rate by ``cosine(t)`` before each
step, where t runs from 0 (first step of the fit) towards 1. Any function of one float will do.
A schedule has no memory, so a resumed run meets the same rates. Its ``__name__`` is kept in
checkpoints, and a resume with another one is refused; those with arguments name these too. What
looks at the history is a callback: `fastcnn.training.ReduceLROnPlateau`.
"""

import math
from collections.abc import Callable

from .._checks import number

Schedule = Callable[[float], float]


def constant(t: float) -> float:
    """The same rate throughout.

    Parameters
    ----------
    t : float
        The part of the fit that is done, 0 to 1.

    Returns
    -------
    float
        Factor of the rate.

    Examples
    --------
    >>> constant(0.7)
    1.0
    """
    return 1.0


def cosine(t: float) -> float:
    """Half a cosine from 1 down to 0 (Loshchilov and Hutter, SGDR, 2017, equation 5).

    Parameters
    ----------
    t : float
        The part of the fit that is done, 0 to 1.

    Returns
    -------
    float
        Factor of the rate.

    Examples
    --------
    >>> cosine(0.0), round(cosine(0.5), 3), cosine(1.0)
    (1.0, 0.5, 0.0)
    """
    return 0.5 * (1.0 + math.cos(math.pi * t))


def step(factor: float = 0.1, steps: int = 3) -> Schedule:
    """Multiply the rate by `factor` at the end of each of `steps` equal parts of the fit.

    Parameters
    ----------
    factor : float
        More than 0.
    steps : int
        How many parts.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

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

    Parameters
    ----------
    warmup : float
        Part of the fit.
    start, end : float
        Factors of the rate at both ends, at least 0.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

    Raises
    ------
    ValueError
        If `warmup` is not between 0 and 1, or `start` or `end` is negative or not finite.

    Examples
    --------
    >>> rate = one_cycle()
    >>> round(rate(0.0), 6), rate(0.25), round(rate(1.0), 6)
    (0.04, 1.0, 0.0001)
    """
    if not 0 < warmup < 1:
        raise ValueError(f"one_cycle: expected 0 < warmup < 1, got {warmup}")
    for name, value in (("start", start), ("end", end)):
        number("one_cycle", name, value, 0.0)

    def factor(t: float) -> float:
        if t < warmup:
            return 1.0 + (start - 1.0) * cosine(t / warmup)
        return end + (1.0 - end) * cosine((t - warmup) / (1.0 - warmup))

    factor.__name__ = f"one_cycle({warmup!r}, {start!r}, {end!r})"
    return factor


def googlenet(epochs: int, factor: float = 0.96, every: int = 8) -> Schedule:
    """Multiply the rate by `factor` after each `every` epochs, of a fit of `epochs` epochs.

    The rule of Szegedy et al., "Going deeper with convolutions", 2015, section 6: 4 % less each 8
    epochs.

    Parameters
    ----------
    epochs : int
        Of the fit.
    factor : float
        More than 0.
    every : int
        Epochs.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

    Raises
    ------
    ValueError
        If `epochs` or `every` is less than 1 or `factor` is not positive.

    Examples
    --------
    >>> rate = googlenet(epochs=80)
    >>> [round(rate(epoch / 80), 4) for epoch in (0, 7, 8, 16, 79)]
    [1.0, 1.0, 0.96, 0.9216, 0.6925]
    """
    if epochs < 1 or every < 1 or not factor > 0:
        raise ValueError(
            f"googlenet: expected epochs >= 1, factor > 0 and every >= 1, got {epochs}, {factor} "
            f"and {every}"
        )

    def steps(t: float) -> float:
        return float(factor ** int(t * epochs / every + 1e-9))  # 8 / 80 * 80 may be below 8

    steps.__name__ = f"googlenet({epochs!r}, {factor!r}, {every!r})"
    return steps


def exponential(end: float = 0.01) -> Schedule:
    """Fall to `end` by the same part in equal times: ``end**t``.

    Parameters
    ----------
    end : float
        Factor of the rate at the end.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

    Raises
    ------
    ValueError
        If `end` is not positive.

    Examples
    --------
    >>> [round(exponential(0.01)(t), 3) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.1, 0.01]
    """
    if not end > 0:
        raise ValueError(f"exponential: expected end > 0, got {end}")

    def fall(t: float) -> float:
        return float(end**t)

    fall.__name__ = f"exponential({end!r})"
    return fall


def polynomial(power: float = 1.0, end: float = 0.0) -> Schedule:
    """Fall to `end` as a power of what is left: ``end + (1 - end) * (1 - t)**power``.

    Parameters
    ----------
    power : float
        1 is a straight line.
    end : float
        Factor of the rate at the end.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

    Raises
    ------
    ValueError
        If `power` is not positive or `end` is negative.

    Examples
    --------
    >>> [polynomial(2.0)(t) for t in (0.0, 0.5, 1.0)]
    [1.0, 0.25, 0.0]
    """
    if not power > 0 or not end >= 0:
        raise ValueError(f"polynomial: expected power > 0 and end >= 0, got {power} and {end}")

    def fall(t: float) -> float:
        return float(end + (1 - end) * (1 - t) ** power)

    fall.__name__ = f"polynomial({power!r}, {end!r})"
    return fall


def warm_up(schedule: Schedule = constant, part: float = 0.05, start: float = 0.0) -> Schedule:
    """Rise in a straight line from `start` to 1 over the first `part` of the fit, then `schedule`.

    The schedule runs over what is left, from its own 0 towards 1 (Goyal et al., "Accurate, large
    minibatch SGD", 2017, section 2.2).

    Parameters
    ----------
    schedule : callable
        What follows.
    part : float
        Of the fit.
    start : float
        Factor of the rate at first.

    Returns
    -------
    Schedule
        A function of t, the part of the fit that is done.

    Raises
    ------
    ValueError
        If `part` is not between 0 and 1 or `start` is negative.

    Examples
    --------
    >>> rate = warm_up(cosine, part=0.2)
    >>> [round(rate(t), 3) for t in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 < part < 1 or not start >= 0:
        raise ValueError(f"warm_up: expected 0 < part < 1 and start >= 0, got {part} and {start}")

    def factor(t: float) -> float:
        if t < part:
            return start + (1.0 - start) * t / part
        return schedule((t - part) / (1.0 - part))

    inner = getattr(schedule, "__name__", type(schedule).__name__)
    factor.__name__ = f"warm_up({inner}, {part!r}, {start!r})"
    return factor
