"""The way back through replicate padding."""

from collections.abc import Sequence

from .._checks import Array


def fold_border(dxp: Array, shape: Sequence[int], top: int, left: int) -> Array:
    """The gradient of replicate padding: border pixels collect what their copies got.

    Rows first, then columns, so the corners go through both. Works in `dxp`.
    """
    h, w = shape[2:]
    rows = dxp[:, :, top : top + h]
    rows[:, :, 0] += dxp[:, :, :top].sum(2)
    rows[:, :, -1] += dxp[:, :, top + h :].sum(2)
    image = rows[:, :, :, left : left + w]
    image[:, :, :, 0] += rows[:, :, :, :left].sum(3)
    image[:, :, :, -1] += rows[:, :, :, left + w :].sum(3)
    return image
