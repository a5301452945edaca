"""Images through affine maps: by each peer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .peers import Candidate, Case, tensors, tensors_of
from .shapes import Affine


class AffineCase(Case):
    """Images turned by up to 15 degrees and moved by up to a tenth; data is x and the maps."""

    layer: Affine
    tolerance = 1e-3  # PyTorch's places are rounded on the way to -1..1 and back

    @property
    def bytes(self) -> int:
        """Of x and y, read or written once."""
        return 2 * int(self.data[0].nbytes)

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        n, _, h, w = shape = self.layer.x_shape
        angle = rng.uniform(-0.26, 0.26, n)
        m = np.empty((n, 2, 3))
        m[:, 0, 0] = m[:, 1, 1] = np.cos(angle)
        m[:, 1, 0] = np.sin(angle)
        m[:, 0, 1] = -m[:, 1, 0]
        m[:, :, 2] = rng.uniform(-0.1, 0.1, (n, 2)) * (w, h)
        return rng.standard_normal(shape, np.float32), m

    def call(self, library: Any, x: Any, m: Any) -> Any:
        return library.affine(x, m)

    def numpy(self, x: Any, m: Any) -> Any:
        """By SciPy: one image at a time, places as (row, column)."""
        from scipy.ndimage import affine_transform

        out = np.empty_like(x)
        for image, a, result in zip(x, m, out, strict=True):
            for plane, y in zip(image, result, strict=True):
                padded = np.pad(plane, 1)  # SciPy's border has no slope
                offset = a[::-1, 2] + 1 - (a[::-1, 1::-1].sum(axis=1))
                y[...] = affine_transform(padded, a[::-1, 1::-1], offset, order=1)[1:-1, 1:-1]
        return out

    def torch(self, channels_last: bool) -> Candidate:
        import torch
        from torch.nn.functional import affine_grid, grid_sample

        x, m = self.data
        (images,) = tensors([x], channels_last)
        theta = torch.from_numpy(_normalised(m, *x.shape[2:]).astype(np.float32))

        def run() -> Any:
            grid = affine_grid(theta, images.shape, align_corners=False)
            return grid_sample(images, grid, align_corners=False)

        return Candidate(run, tensors_of)


def _normalised(m: NDArray[Any], h: int, w: int) -> NDArray[Any]:
    """The maps in PyTorch's coordinates, -1..1 over the image's edges."""
    back = np.array([[w / 2, 0, (w - 1) / 2], [0, h / 2, (h - 1) / 2], [0, 0, 1]])
    whole = np.concatenate([m, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(m), 1, 3))], axis=1)
    return np.asarray((np.linalg.inv(back) @ whole @ back)[:, :2])
