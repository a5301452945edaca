"""Pictures: learning curves, filters before and after, feature maps, confusion matrix, images.

Every function returns a matplotlib Figure; `save_png` writes it. matplotlib is imported by the
first call (``pip install "fastcnn[viz]"``).
"""

from ._figure import save_png
from .confusion import confusion_matrix
from .curves import curves, learning_curves
from .images import images
from .maps import feature_maps, filters

__all__ = [
    "confusion_matrix", "curves", "feature_maps", "filters", "images",
    "learning_curves", "save_png",
]  # fmt: skip
