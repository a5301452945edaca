"""The lectures' large nets: how deep they are, and how they are trained."""

import numpy as np
import pytest

from fastcnn import models, nn, optim, training
from fastcnn.nn import init

WEIGHTED = (nn.Conv2d, nn.Linear)


@pytest.mark.parametrize("name, rate, decay", [("vgg11", 0.01, 5e-4), ("resnet18", 0.1, 1e-4)])
def test_settings_of_vgg_and_resnet(name, rate, decay, rng):
    """SGD with momentum 0.9; 0.01 and dropout 0.5 in VGG, 0.1 and no dropout in ResNet."""
    options = {"image_size": 32, "hidden": 16} if name == "vgg11" else {}
    net, twin = (models.create(name, num_classes=4, seed=3, **options).double() for _ in range(2))
    drops = [layer.p for _, layer in net.named_layers() if isinstance(layer, nn.Dropout)]
    assert drops == ([0.5, 0.5] if name == "vgg11" else [])
    count = 1 if name == "vgg11" else 4  # a batch norm needs more than one
    x = rng.normal(size=(count, 3, 32, 32))
    y, loss = np.arange(count), nn.CrossEntropyLoss()
    optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    trainer = training.Trainer(net, loss, optimizer, seed=0)
    trainer.fit((x, y), epochs=2, batch_size=count, progress=False)
    weights = list(twin.parameters())
    velocity = [np.zeros_like(p.data) for p in weights]
    for _ in range(2):  # v = 0.9 v + g + decay w; w = w - rate v
        scores, ctx = twin.forward(x)
        twin.zero_grad()
        twin.backward(loss(scores, y)[1], ctx)
        velocity = [
            0.9 * v + p.grad + decay * p.data for v, p in zip(velocity, weights, strict=True)
        ]
        for p, v in zip(weights, velocity, strict=True):
            p.data -= rate * v
    for p, q in zip(net.parameters(), weights, strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-7, atol=1e-10)


def depth(graph, node=None):
    """Layers with weights on the longest way to a node of a graph."""
    of = {name: 0 for name in graph.inputs}
    for name, (layer, inputs) in graph.nodes.items():
        inner = depth(layer) if isinstance(layer, nn.Graph) else isinstance(layer, WEIGHTED)
        of[name] = max(of[i] for i in inputs) + inner
    return of[node or graph.outputs[0]]


def test_googlenet_is_22_layers_deep():
    """3 convolutions, 9 modules of 2 and the classifier; a head hangs off half-way, 2 more deep."""
    net = models.googlenet(init=init.zeros(), auxiliary=True)
    assert depth(net, "fc") == 3 + 9 * 2 + 1 == 22
    assert depth(net, "aux1") == 3 + 3 * 2 + 3
    assert depth(net, "aux2") == 3 + 6 * 2 + 3
