"""Curves: loss and accuracy over the epochs of one run, or one quantity of several."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ._figure import BLUE, PALETTE, VERMILLION, new_figure

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


_STYLES = ("o-", "s--", "^-.", "D:", "v-", "P--", "X-.", "*:")


def curves(
    series: Mapping[str, ArrayLike],
    *,
    x: ArrayLike | None = None,
    xlabel: str = "epoch",
    ylabel: str = "accuracy",
    title: str = "",
) -> "Figure":
    """Draw one quantity of several runs in one frame, to compare them.

    Parameters
    ----------
    series : mapping of str to array_like
        For each name of the legend the values (T,); or of several repetitions (R, T), drawn as
        their mean with a band of one standard deviation. At most 8 of them; lengths may differ.
    x : array_like, optional
        (T,), where the values stand; 1, 2, ... by default.
    xlabel, ylabel, title : str, optional
        What the axes say.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no series or more than 8, or values do not fit `x`.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> figure = curves({"training": [0.8, 0.9, 1.0], "test": [0.8, 0.85, 0.86]})
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'test']
    """
    if not 1 <= len(series) <= len(_STYLES):
        raise ValueError(f"curves: expected 1 to {len(_STYLES)} series, got {len(series)}")
    figure = new_figure(6.4, 4)
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    for (name, given), colour, line in zip(series.items(), PALETTE, _STYLES, strict=False):
        values = np.asarray(given, np.float64)
        runs = values[None] if values.ndim == 1 else values
        at = np.arange(1, runs.shape[-1] + 1) if x is None else np.asarray(x)
        if runs.ndim != 2 or runs.size == 0 or at.shape != runs.shape[1:]:
            raise ValueError(
                f"curves: expected {name!r} to be (T,) or (R, T), not empty, with T that of x, "
                f"got {values.shape}" + ("" if x is None else f" and x.shape={at.shape}")
            )
        mean, spread = runs.mean(axis=0), runs.std(axis=0)
        often = max(len(at) // 20, 1)
        axes.plot(at, mean, line, color=colour, markersize=4, markevery=often, label=name)
        if len(runs) > 1:
            axes.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.15, lw=0)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.set_title(title, fontsize=10)
    if x is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure
