"""Augmentation: seeded, composable changes of training images, batch by batch.

Names and arguments are those of torchvision's transforms. Every transform maps a batch of float
images (N, C, H, W) to another. Its random numbers come from a seed, the epoch and the number of the
sample alone: the same sample in the same epoch is changed in the same way, whatever the batch
size, the order and the number of threads.
"""

from .affine import RandomAffine, RandomRotation, RandomScale, RandomShift
from .base import Augmentation, Compose, sample_keys, uniforms
from .crops import (
    CenterCrop,
    RandomCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    five_crop,
    ten_crop,
)
from .pixels import ColorJitter, Cutout, Normalize, RandomErasing

__all__ = [
    "Augmentation", "CenterCrop", "ColorJitter", "Compose", "Cutout", "Normalize", "RandomAffine",
    "RandomCrop", "RandomErasing", "RandomHorizontalFlip", "RandomRotation", "RandomScale",
    "RandomShift", "RandomVerticalFlip", "five_crop", "sample_keys", "ten_crop", "uniforms",
]  # fmt: skip
