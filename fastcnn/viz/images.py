"""Rows of images, and of maps with a class for every pixel."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._figure import Array, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def images(
    rows: Mapping[str, ArrayLike], *, titles: Sequence[str] = (), classes: Sequence[str] = ()
) -> "Figure":
    """Draw rows of images of one size, one above the other: what came in, what was made of it.

    Parameters
    ----------
    rows : mapping of str to array_like
        Under the name that is written at the left, N images each: floats in 0..1 of shape
        (N, H, W), (N, 1, H, W) in grays or (N, 3, H, W) in colours; or integers (N, H, W), the
        classes of the pixels, 0 (the background) in black.
    titles : sequence of str, optional
        Above the N columns.
    classes : sequence of str, optional
        Names of the classes, for a legend.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the rows are not of one length, or of no such shapes.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> scenes, maps = np.zeros((3, 1, 8, 8), np.float32), np.zeros((3, 8, 8), int)
    >>> figure = images({"scene": scenes, "classes": maps}, classes=["background", "digit"])
    >>> figure.axes[0].get_ylabel()
    'scene'
    """
    arrays = {name: _pictures(name, row) for name, row in rows.items()}
    counts = {len(row) for row in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(
            f"images: expected rows of the same number of images, got "
            f"{[len(row) for row in arrays.values()]}"
        )
    (n,) = counts
    height, width = next(iter(arrays.values())).shape[1:3]
    tile = min(9 / n, 2.2 * max(1, width / height))
    figure = new_figure(
        tile * n + 0.3, (tile * height / width + 0.08) * len(arrays) + 0.5 * bool(classes)
    )
    colours = _colours(max([len(classes), *(_largest(row) + 1 for row in arrays.values())]))
    grid = figure.subplots(len(arrays), n, squeeze=False)
    for line, (name, row) in zip(grid, arrays.items(), strict=True):
        for axes, picture in zip(line, row, strict=True):
            whole = picture.dtype.kind in "iu"
            shown = colours[picture] if whole else np.clip(picture, 0, 1)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name, fontsize=9)
    for axes, title in zip(grid[0], titles, strict=False):
        axes.set_title(title, fontsize=9)
    if classes:
        from matplotlib.patches import Patch

        patches = [
            Patch(facecolor=colour, edgecolor="gray", label=label)
            for colour, label in zip(colours, classes, strict=False)
        ]
        figure.legend(
            handles=patches, loc="outside lower center", ncols=min(len(patches), 12), fontsize=8,
            frameon=False, handlelength=1, handleheight=1, columnspacing=1,
        )  # fmt: skip
    return figure


def _pictures(name: str, row: ArrayLike) -> Array:
    """N pictures as (N, H, W) or (N, H, W, 3)."""
    a = np.asarray(row)
    if a.ndim == 3:
        return a
    if a.ndim == 4 and a.shape[1] == 1:
        return a[:, 0]
    if a.ndim == 4 and a.shape[1] == 3:
        return a.transpose(0, 2, 3, 1)
    raise ValueError(
        f"images: expected {name!r} as (N, H, W), (N, 1, H, W) or (N, 3, H, W), got {a.shape}"
    )


def _largest(a: Array) -> int:
    return int(a.max(initial=0)) if a.dtype.kind in "iu" else 0


def _colours(n: int) -> Any:
    """Black, then matplotlib's qualitative colours, over and over."""
    from matplotlib import colormaps

    colours = np.concatenate([colormaps["tab10"](range(10)), colormaps["tab20b"](range(20))])
    return np.concatenate([np.zeros((1, 3)), np.resize(colours[:, :3], (max(n - 1, 0), 3))])
