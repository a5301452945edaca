"""A folder or zip file of one's own pictures, as ``fastcnn train --data`` reads it."""

import zipfile
from functools import partial
from pathlib import Path

from .. import data
from ..data.folder import outer_folder

_SPLITS = ("train", "test")


def own_images(
    path: str, *, channels: int | None, size: int | None, seed: int, least: int
) -> tuple[data.Dataset, data.Dataset]:
    """Training and test pictures: train/ and test/ if both are there, else a fifth is for the test.

    Without `channels` both have as many as the training pictures: 1 if all are grey, else 3.

    Raises
    ------
    ValueError
        If they cannot be read, or are of fewer than `least` classes.
    """
    square = (size, size) if size else None
    read = partial(data.image_folder, path, size=square)
    try:
        if _is_split(Path(path)):
            train = read("train", channels=channels)
            test = read("test", channels=train[0][0].shape[0])
        else:
            train = test = read(channels=channels)
    except ValueError as error:  # in the words of the command
        raise ValueError(str(error).replace("size=(H, W)", "--size N")) from error
    if train.classes != test.classes:
        raise ValueError(
            f"{path}: expected the same classes in train and test, got "
            f"{', '.join(train.classes)} and {', '.join(test.classes)}"
        )
    if len(train.classes) < least:
        raise ValueError(
            f"{path}: expected {least} classes or more, each a folder of pictures, "
            f"got {', '.join(train.classes)}"
        )
    return (train, test) if train is not test else train.split(0.2, seed=seed)


def _is_split(path: Path) -> bool:
    """Whether it has train/ and test/; what is no zip file either, the reading will tell."""
    if path.is_dir():
        return all((path / split).is_dir() for split in _SPLITS)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except zipfile.BadZipFile:
        return False
    outer = outer_folder(names)
    return {name.removeprefix(outer).split("/")[0] for name in names}.issuperset(_SPLITS)
