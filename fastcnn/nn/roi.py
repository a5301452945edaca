"""RoI max pooling as a layer: boxes on a shared map, each as a small map of one size."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from .._checks import Array, Pair, number, pair
from .conv import image_shape
from .layer import Layer, differing, shown


class RoIPoolContext(NamedTuple):
    """What the backward pass needs."""

    indices: Array
    boxes: Array
    input_shape: tuple[int, ...]


class RoIPool(Layer):
    """The maxima of a grid laid over each box: maps of one size from boxes of any.

    A node of a `Graph` with two inputs, the maps (N, C, H, W) and the boxes (R, 5), each of which
    is the number of its image, then x1, y1, x2, y2. It gives (R, C, PH, PW): what follows sees a
    batch of boxes.

    Parameters
    ----------
    output_size : int or (h, w)
        PH and PW.
    spatial_scale : float
        Pixels of the maps for one of the boxes' own: 1/16 after four halvings.

    Raises
    ------
    TypeError
        When called, if an array is not float32 or float64.
    ValueError
        If an argument is out of range; when called, if an array has another shape, or a box is not
        finite or of an image that is not there.

    Notes
    -----
    See `fastcnn.ops.roi_pool` for the rounding. Boxes get no gradient (zeros).
    Source: Girshick, "Fast R-CNN", ICCV 2015, section 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> maps = np.zeros((2, 8, 14, 14), np.float32)
    >>> boxes = np.array([[0, 16, 16, 95, 63], [1, 0, 0, 223, 223]], np.float32)
    >>> nn.RoIPool(7, 1 / 16)((maps, boxes)).shape
    (2, 8, 7, 7)
    """

    takes_many = True

    def __init__(self, output_size: Pair, spatial_scale: float = 1.0) -> None:
        self.output_size = pair("RoIPool", "output_size", output_size, 1)
        self.spatial_scale = number("RoIPool", "spatial_scale", spatial_scale, 0.0)

    def forward(self, x: Sequence[Any]) -> tuple[Array, RoIPoolContext]:
        """y (R, C, PH, PW) and where each maximum came from."""
        maps, boxes = (np.asarray(a) for a in x)
        y, indices = ops.roi_pool(maps, boxes, self.output_size, self.spatial_scale)
        return y, RoIPoolContext(indices, boxes, maps.shape)

    def backward(self, dy: Any, ctx: RoIPoolContext, *, need_dx: bool = True) -> Any:
        """Of the maps: each dy goes to its maximum. Of the boxes: zeros."""
        if not need_dx:
            return None
        dx = ops.roi_pool_backward(dy, ctx.indices, ctx.boxes, ctx.input_shape)
        return dx, np.zeros_like(ctx.boxes)

    def output_shape(self, input_shape: Any) -> tuple[int, int, int]:
        """(C, PH, PW) for maps (C, H, W) and boxes (5,)."""
        maps, boxes = input_shape
        if tuple(boxes) != (5,):
            raise ValueError(f"RoIPool: expected boxes of shape (5,), each, got {tuple(boxes)}")
        return (image_shape("RoIPool", maps)[0], *self.output_size)

    def reach(self) -> None:
        """All of the map: a box may be anywhere."""

    def extra_repr(self) -> str:
        """The arguments."""
        return shown(self.output_size) + differing(("spatial_scale", self.spatial_scale, 1))
