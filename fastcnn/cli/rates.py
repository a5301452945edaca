"""The learning rates of ``fastcnn train --schedule``: what each does, and what makes it."""

from collections.abc import Callable
from typing import NamedTuple

from .. import training
from ..training import schedules

PLATEAU, PLATEAU_FACTOR, PLATEAU_EPOCHS = "plateau", 0.1, 3


def _googlenet(epochs: int) -> schedules.Schedule:
    """The rule of GoogLeNet, which a run may follow for more epochs than it was begun with.

    An epoch has the same rate in a run of any length, so the name, by which a resumed run is
    known, does not tell the length.
    """
    rule = schedules.googlenet(epochs)

    def googlenet(t: float) -> float:
        return rule(t)

    return googlenet


class Rate(NamedTuple):
    """What a schedule does, for the help, and the schedule of a run of so many epochs."""

    about: str
    schedule: Callable[[int], schedules.Schedule]


SCHEDULES: dict[str, Rate] = {
    "constant": Rate("the same throughout", lambda epochs: schedules.constant),
    "cosine": Rate("half a cosine down to 0", lambda epochs: schedules.cosine),
    "cosine-warm-up": Rate(
        "the same after a rise from 0, a twentieth of the run",
        lambda epochs: schedules.warm_up(schedules.cosine),
    ),
    "exponential": Rate(
        "down to a hundredth, by the same part in equal times",
        lambda epochs: schedules.exponential(),
    ),
    "linear": Rate("a straight line down to 0", lambda epochs: schedules.polynomial()),
    "step": Rate("a tenth of it after each third of the run", lambda epochs: schedules.step()),
    "one-cycle": Rate(
        "up for a quarter of the run, then down to almost 0", lambda epochs: schedules.one_cycle()
    ),
    "googlenet": Rate("4 % less after every 8 epochs", _googlenet),
    PLATEAU: Rate(
        f"a tenth of it when the --validation loss has not fallen for {PLATEAU_EPOCHS} epochs",
        lambda epochs: schedules.constant,  # beside the callback, see `plateau`
    ),
}


def plateau() -> training.ReduceLROnPlateau:
    """What ``--schedule plateau`` adds to a run: it looks at the validation loss of each epoch."""
    return training.ReduceLROnPlateau(factor=PLATEAU_FACTOR, patience=PLATEAU_EPOCHS)
