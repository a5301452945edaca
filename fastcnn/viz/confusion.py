"""Confusion matrix: which classes are taken for which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .. import metrics
from ._figure import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(
    y: ArrayLike, predicted: ArrayLike, *, classes: Sequence[str] | None = None
) -> "Figure":
    """Draw how often each class was predicted as each class (`fastcnn.metrics.confusion_matrix`).

    The shade is the share of the row, so that classes of different sizes can be compared; the
    numbers are counts.

    Parameters
    ----------
    y : array_like of int
        True classes, shape (N,).
    predicted : array_like
        Predicted classes, shape (N,) of integers, or scores, shape (N, classes).
    classes : sequence of str, optional
        Names of the classes; their numbers by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the shapes do not fit, or a class has no name.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1], [0, 1, 0], classes=["cat", "dog"]).axes[0].get_title()
    '2 of 3 right (66.67 %)'
    """
    counts = metrics.confusion_matrix(y, predicted, len(classes) if classes else None)
    n, total = len(counts), int(counts.sum())
    names = list(classes) if classes else [str(i) for i in range(n)]
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = new_figure(2 + 0.45 * n, 1.6 + 0.45 * n)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (i, j), count in np.ndenumerate(counts):
        if count:
            colour = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, str(count), ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(n), names, rotation=0 if max(map(len, names)) < 4 else 45)
    axes.set_yticks(range(n), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right = int(np.trace(counts))
    axes.set_title(f"{right} of {total} right ({100 * right / max(total, 1):.2f} %)", fontsize=10)
    return figure
