"""What ``fastcnn train`` draws and measures at the end, beside loss and accuracy."""

from pathlib import Path

import numpy as np

from .. import data, metrics, nn, training
from .recipes import Task

MOST_CLASSES = 30  # of a confusion matrix, or a legend, that one can read
SHOWN = 8  # test images in images.png
BATCH = 256

Filters = tuple[str, np.ndarray]


def first_filters(model: nn.Layer) -> Filters | None:
    """Name and values, copied, of the first weights that are filters."""
    named = ((name, p.data) for name, p in model.named_parameters() if p.data.ndim == 4)
    return next(((name, w.copy()) for name, w in named), None)


def pixel_iou(trainer: training.Trainer, test: data.Dataset) -> float:
    """Mean IoU of the class of each pixel."""
    pairs = [
        (y.astype(np.uint16), trainer.predict(x).argmax(axis=1).astype(np.uint16))
        for x, y in data.DataLoader(test, BATCH)
    ]
    y, predicted = (np.concatenate(maps) for maps in zip(*pairs, strict=True))
    return metrics.mean_iou(y, predicted)


def draw(
    folder: Path,
    trainer: training.Trainer,
    test: data.Dataset,
    task: Task,
    before: Filters | None,
) -> list[str]:
    """Write the pictures; returns their names, none if matplotlib is missing."""
    from .. import viz

    try:
        figures = {"curves.png": viz.learning_curves(trainer.history)}
    except ImportError:
        return []
    if task != "classify":
        rows, names = _beside(trainer, test, task)
        figures["images.png"] = viz.images(rows, classes=names)
    elif len(test.classes) <= MOST_CLASSES:
        scores = [trainer.predict(x) for x, _ in data.DataLoader(test, BATCH)]
        figures["confusion.png"] = viz.confusion_matrix(
            test.y, np.concatenate(scores), classes=test.classes
        )
    if before is not None:
        name, filters = before
        figures["filters.png"] = viz.filters(trainer.model.state_dict()[name], filters)
    for name, figure in figures.items():
        viz.save_png(figure, folder / name)
    return list(figures)


def _beside(
    trainer: training.Trainer, test: data.Dataset, task: Task
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Some test images with what the net makes of them, and names of the classes of pixels."""
    x, y = test.batch(np.linspace(0, len(test) - 1, min(SHOWN, len(test))).astype(np.int64))
    outputs = trainer.predict(x)
    if task == "autoencode":
        return {"input": x, "output": outputs}, []
    names = ["background", *test.classes] if len(test.classes) <= MOST_CLASSES else []
    return {"input": x, "taught": y, "learned": outputs.argmax(axis=1)}, names
