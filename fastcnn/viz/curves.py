"""Learning curves: loss and accuracy over the epochs."""

from typing import TYPE_CHECKING

import numpy as np

from ._figure import BLUE, VERMILLION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..training import History


def learning_curves(history: "History") -> "Figure":
    """Draw loss and accuracy over the epochs, training and validation in one frame each.

    Parameters
    ----------
    history : History
        From ``trainer.fit``; at least one epoch.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the history has no epoch.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from fastcnn.training import History
    >>> history = History()
    >>> history.append(train_loss=0.5, train_accuracy=0.9)
    >>> [axes.get_ylabel() for axes in learning_curves(history).axes]
    ['loss', 'accuracy']
    """
    if len(history) == 0:
        raise ValueError("learning_curves: expected at least one epoch, the history has none")
    epochs = np.arange(1, len(history) + 1)
    figure = new_figure(9, 3.6)
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, colour, line in (("train", BLUE, "o-"), ("validation", VERMILLION, "s--")):
            values = np.array(getattr(history, f"{part}_{kind}"))
            if not np.isnan(values).all():
                label = "training" if part == "train" else part
                axes.plot(epochs, values, line, color=colour, markersize=4, label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(kind)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    return figure
