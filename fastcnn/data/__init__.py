"""Data: digits and other images with labels, batches of them, and images from files.

`mnist` and its siblings give datasets; `DataLoader` gives batches of any dataset; `read_images`
reads pictures to predict on.
"""

from .dataset import ArrayDataset, Dataset, Subset, as_dataset
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
    "cache_folder",
    "data_folders",
    "fashion_mnist",
    "kmnist",
    "mnist",
    "mnist_or_subset",
    "read_idx",
    "read_images",
    "write_idx",
]
