"""Pictures of what a net has learned (filters) and of what it sees (feature maps)."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ._figure import BLUE, Array, grid_shape, mosaic, new_figure, show_gray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..nn import Graph, Layer

_MAX_MAPS = 64  # feature maps shown of one layer


def _weights(source: Any) -> Array:
    """The filters (K, C, KH, KW) of an array, a layer, or the first such layer of a model."""
    if not hasattr(source, "parameters"):
        weights = np.asarray(source)
        if weights.ndim != 4:
            raise ValueError(f"filters: expected weights of shape (K, C, KH, KW): {weights.shape}")
        return weights
    for parameter in source.parameters():
        if parameter.data.ndim == 4:
            return parameter.data
    raise ValueError(f"filters: expected a layer with filters, {type(source).__name__} has none")


def filters(after: "ArrayLike | Layer", before: "ArrayLike | Layer | None" = None) -> "Figure":
    """Draw the filters of a convolution as a grid, before and after training side by side.

    Filters of one channel are drawn as they are, of several channels as the mean over them. Each
    grid has its own scale of grays, beside it.

    Parameters
    ----------
    after : array_like or Layer
        Weights (K, C, KH, KW); or a layer or model, whose first such weights are taken.
    before : array_like or Layer, optional
        The same before training, for instance ``model.state_dict()["conv1.weight"]``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there are no filters, or the shapes differ.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from fastcnn.models import simple_convnet
    >>> figure = filters(simple_convnet(seed=0))
    >>> figure.axes[0].get_title()
    '30 filters, 5x5'
    """
    grids = [_weights(after)]
    if before is not None:
        grids.insert(0, _weights(before))
        if grids[0].shape != grids[1].shape:
            raise ValueError(
                f"filters: expected before to have the shape {grids[1].shape}, got {grids[0].shape}"
            )
    count, channels, height, width = grids[0].shape
    if count * channels == 0:
        raise ValueError(f"filters: expected at least one filter, got shape {grids[0].shape}")
    titles = [f"{count} filters, {height}x{width}"] if before is None else ["before", "after"]
    rows, columns = grid_shape(count)
    panel = 4.4
    figure = new_figure(panel * len(grids) + 0.4, panel * rows / columns + 0.6)
    axes = figure.subplots(1, len(grids), squeeze=False)[0]
    for ax, grid, title in zip(axes, grids, titles, strict=True):
        title += f" (mean of {channels} channels)" if channels > 1 else ""
        image = show_gray(ax, mosaic(grid.mean(axis=1), columns), title)
        figure.colorbar(image, ax=ax, shrink=0.85)
    return figure


def feature_maps(model: "Graph", x: ArrayLike) -> "Figure":
    """Draw what each layer makes of one image: maps as pictures, vectors as bars.

    Parameters
    ----------
    model : Graph
        A net (`fastcnn.nn.Sequential`, `fastcnn.nn.Graph`); each of its layers makes a row.
    x : array_like
        One image, shape (C, H, W) or (1, C, H, W), of the model's dtype.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If `x` is not one image, or does not fit the model.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn.models import lenet5
    >>> figure = feature_maps(lenet5(seed=0), np.zeros((1, 28, 28), np.float32))
    >>> figure.axes[0].get_title()
    'input: 1 x 28 x 28'
    """
    image = np.asarray(x)
    image = image[None] if image.ndim == 3 else image
    if image.ndim != 4 or len(image) != 1:
        raise ValueError(f"feature_maps: expected one image (C, H, W), got shape {np.shape(x)}")
    outputs = [("input", image[0])]
    outputs += [(name, y[0]) for name, y in model.activations(image).items()]
    rows = [_row(y) for _, y in outputs]
    figure = new_figure(9, 0.5 + sum(height for height, _ in rows))
    grid = figure.subplots(
        len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": [h for h, _ in rows]}
    )
    for ax, (name, y), (_, columns) in zip(grid[:, 0], outputs, rows, strict=True):
        title = f"{name}: {' x '.join(map(str, y.shape))}"
        if y.ndim == 3:
            if len(y) > _MAX_MAPS:
                title += f" (the first {_MAX_MAPS} maps)"
            show_gray(ax, mosaic(y[:_MAX_MAPS], columns), title)
        else:
            ax.stairs(y.reshape(-1), np.arange(y.size + 1) - 0.5, fill=True, color=BLUE)
            ax.set_title(title, fontsize=10)
            ax.margins(x=0.01)
    return figure


def _row(y: Array) -> tuple[float, int]:
    """Height in inches and columns of one layer's row."""
    if y.ndim != 3:
        return 1.2, 0
    shown = min(len(y), _MAX_MAPS)
    columns = min(shown, 16)
    lines = -(-shown // columns)
    tile = min(8.5 / columns * y.shape[1] / y.shape[2], 1.4)
    return 0.35 + lines * tile, columns
