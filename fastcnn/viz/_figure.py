"""What all pictures share: figures without global state, colours, mosaics, and the extra's error.

Figures are made with matplotlib's object-oriented interface (never pyplot), so nothing is kept
open behind the caller's back and no display is needed; notebooks show them as they are.
"""

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

# Of Okabe and Ito's palette, which colour-blind readers can tell apart (2008).
BLUE, VERMILLION = "#0072B2", "#D55E00"
PALETTE = (
    BLUE, VERMILLION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F",
)  # fmt: skip


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of so many inches, drawn by Agg.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'fastcnn.viz needs matplotlib, which is not installed: pip install "fastcnn[viz]"'
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: "Figure", path: str | os.PathLike[str], dpi: int = 120) -> None:
    """Write a figure to a PNG file.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From any function of `fastcnn.viz`.
    path : str or PathLike
        The file to make or replace.
    dpi : int, optional
        Dots an inch.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from fastcnn.training import History
    >>> from fastcnn.viz import learning_curves
    >>> history = History()
    >>> history.append(train_loss=0.5, train_accuracy=0.9)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_png(learning_curves(history), folder + "/curves.png")
    """
    figure.savefig(path, format="png", dpi=dpi)


def grid_shape(n: int) -> tuple[int, int]:
    """Rows and columns for n tiles, a little wider than high: 30 tiles make 5 x 6."""
    rows = max(math.isqrt(n), 1)
    return rows, -(-n // rows)


def mosaic(tiles: Array, columns: int) -> Array:
    """Tiles (n, H, W) side by side with gaps of one pixel, NaN where nothing is."""
    n, height, width = tiles.shape
    rows = -(-n // columns)
    picture = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        picture[top : top + height, left : left + width] = tile
    return picture


def show_gray(axes: "Axes", picture: Array, title: str) -> Any:
    """Draw a picture in grays without ticks, NaN in white; returns matplotlib's image."""
    from matplotlib import colormaps

    image = axes.imshow(
        picture, cmap=colormaps["gray"].with_extremes(bad="white"), interpolation="nearest"
    )
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return image
