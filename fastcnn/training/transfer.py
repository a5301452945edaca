"""Transfer learning: the features that a trained net's base gives, as a dataset for a new head."""

from collections.abc import Mapping

import numpy as np

from ..data import ArrayDataset, DataLoader, as_dataset
from ..nn import Graph, Layer
from .storage import Array
from .trainer import Data


def features(
    model: Layer, data: Data, layer: str | None = None, *, batch_size: int = 256
) -> ArrayDataset:
    """What a layer of a trained net gives for each sample, computed once, with the samples' labels.

    Training a new head on that is training the whole net with its base frozen, at the price of the
    head alone. It is inference, so the data should have no random augmentation: each sample is seen
    once.

    Parameters
    ----------
    model : Layer
        With `layer`, a `Graph` or `Sequential`.
    data : Dataset or (x, y)
        What to run it on.
    layer : str, optional
        Dotted name of the layer whose output is wanted; without it that of the whole model, which
        must have one output then.
    batch_size : int, optional
        Samples a pass; a sample's features do not depend on it.

    Returns
    -------
    ArrayDataset
        The features, (N, ...), and the labels, in the order of `data`.

    Raises
    ------
    ValueError
        If there is no such layer, or no sample, or the model gives several outputs.
    TypeError
        If a layer is wanted of a model that is no graph.

    Examples
    --------
    >>> from fastcnn import data, models, nn, optim, training
    >>> train, test = data.mnist(subset=True)
    >>> model = models.lenet5(seed=0)  # say it was trained
    >>> cached = training.features(model, train[:500], "relu4")
    >>> cached.x.shape, cached.y.shape
    ((500, 84), (500,))
    >>> head = nn.Linear(84, 10, seed=1)
    >>> optimizer = optim.SGD(head.parameters(), lr=0.05, momentum=0.9)
    >>> history = training.Trainer(head, nn.CrossEntropyLoss(), optimizer).fit(cached, epochs=2)
    >>> model = model.replace("fc3", head)
    """
    base = model
    if layer is not None:
        if not isinstance(model, Graph):
            raise TypeError(
                f"features: expected a Graph to take layer {layer!r} of, got {type(model).__name__}"
            )
        base = model.until(layer)
    dataset = as_dataset(data)
    parts: list[Array] = []
    labels: list[Array] = []
    for x, y in DataLoader(dataset, batch_size):
        outputs = base(x)
        if isinstance(outputs, Mapping):
            raise ValueError(
                f"features: expected a model of one output, got {', '.join(map(str, outputs))}; "
                f"layer={next(iter(outputs))!r} would choose one"
            )
        parts.append(outputs)
        labels.append(y)
    if not parts:
        raise ValueError("features: expected at least one sample, got none")
    source = f"features of {dataset.source}" if dataset.source else ""
    return ArrayDataset(
        np.concatenate(parts), np.concatenate(labels), classes=dataset.classes, source=source
    )
