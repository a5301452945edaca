"""Data: digits and other images with labels, batches of them, and images from files.

`mnist`, `cifar10` and their siblings give datasets, `image_folder` makes one of your own pictures;
`DataLoader` gives batches of any dataset, `augment` changes them at random; `read_images` reads
pictures to predict on.
"""

from . import augment
from .cifar import cifar10, cifar100
from .dataset import ArrayDataset, Dataset, Subset, as_dataset
from .folder import image_folder
from .idx import read_idx, write_idx
from .images import read_images
from .loader import DataLoader
from .mnist import fashion_mnist, kmnist, mnist, mnist_or_subset
from .sources import cache_folder, data_folders

__all__ = [
    "ArrayDataset",
    "DataLoader",
    "Dataset",
    "Subset",
    "as_dataset",
    "augment",
    "cache_folder",
    "cifar10",
    "cifar100",
    "data_folders",
    "fashion_mnist",
    "image_folder",
    "kmnist",
    "mnist",
    "mnist_or_subset",
    "read_idx",
    "read_images",
    "write_idx",
]
