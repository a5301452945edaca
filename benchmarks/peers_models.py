"""Training steps of LeNet-5 on real MNIST digits, by each peer.

The net is `models.lenet5("relu")`: conv 6@5x5 padding 2, ReLU, max pool 2, conv 16@5x5, ReLU, max
pool 2, 400-120-84-10, softmax cross-entropy, SGD with momentum. Every peer starts each run from the
same weights with a new optimizer, takes the same batches, and must arrive at the same weights.
"""

from typing import Any

import numpy as np

from .peers import Candidate, Case, tensors
from .shapes import Training

LR, MOMENTUM = 0.01, 0.9
CONVOLUTIONS = ({"padding": 2}, {"padding": 0})


class LenetCase(Case):
    """A run of training steps; data is images, labels and the ten initial parameters."""

    layer: Training
    # Where rounding turns a tie of a max pool over, a gradient takes another way: many steps later
    # that shows as 1e-4 of the weights' deviation. A gradient that is wrong shows as 1e-2 or more.
    tolerance = 5e-3

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        from fastcnn import data, models

        train, _ = data.mnist(subset=True)
        n = self.layer.images
        start = [p.data.copy() for p in models.lenet5("relu", seed=0).parameters()]
        return train.x[:n], train.y[:n], *start

    def _batches(self, images: Any, labels: Any) -> Any:
        size = self.layer.batch
        return [(images[i : i + size], labels[i : i + size]) for i in range(0, len(images), size)]

    def call(self, library: Any, images: Any, labels: Any, *start: Any) -> Any:
        """The net written out in functions of `library`, without layers."""
        params = [p.copy() for p in start]
        velocities = [np.zeros_like(p) for p in params]
        for x, target in self._batches(images, labels):
            gradients = self._gradients(library, x, target, params)
            for p, g, v in zip(params, gradients, velocities, strict=True):
                library.sgd_update(p, g, v, lr=LR, momentum=MOMENTUM)
        return tuple(params)

    @staticmethod
    def _gradients(library: Any, x: Any, target: Any, params: Any) -> list[Any]:
        """Of the loss with respect to the ten parameters."""
        weights = list(zip(params[::2], params[1::2], strict=True))
        tape, gradients = [], []
        for (w, b), options in zip(weights[:2], CONVOLUTIONS, strict=True):
            y = library.relu(library.conv2d(x, w, b, **options))
            pooled, indices = library.max_pool2d(y, 2)
            tape.append((x, y, indices))
            x = pooled
        features, x = x.shape, x.reshape(len(x), -1)
        for w, b in weights[2:]:
            y = library.linear(x, w, b)
            y = library.relu(y) if w.shape[0] != 10 else y
            tape.append((x, y, None))
            x = y
        dy = library.softmax_cross_entropy(x, target)[1]
        for (w, _), (x, y, _) in zip(weights[:1:-1], tape[:1:-1], strict=True):
            dy = library.relu_backward(dy, y) if w.shape[0] != 10 else dy
            gradients[:0] = library.linear_backward_weight(dy, x)
            dy = library.linear_backward_input(dy, w)
        dy = dy.reshape(features)
        for i in (1, 0):
            (w, _), (x, y, indices), options = weights[i], tape[i], CONVOLUTIONS[i]
            dy = library.max_pool2d_backward(dy, indices, y.shape, 2)
            dy = library.relu_backward(dy, y)
            gradients[:0] = library.conv2d_backward_weight(dy, x, w.shape, **options)
            if i:
                dy = library.conv2d_backward_input(dy, w, x.shape, **options)
        return gradients

    def ours(self) -> Candidate:
        """By layers, as a user writes it, or by the plan that Trainer takes."""
        from fastcnn import models, nn, optim, plan

        images, labels, *start = self.data
        model, loss = models.lenet5("relu", seed=0), nn.CrossEntropyLoss()
        params = list(model.parameters())

        def run() -> Any:
            for p, initial in zip(params, start, strict=True):
                p.data[...] = initial
            optimizer = optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
            if self.wrt == "train_plan":
                program = plan.compile(model, images.shape[1:], loss=loss, optimizer=optimizer)
                for x, target in self._batches(images, labels):
                    program.step(x, target)
                return params
            for x, target in self._batches(images, labels):
                logits, ctx = model.forward(x)
                _, dy = loss(logits, target)
                optimizer.zero_grad()
                model.backward(dy, ctx, need_dx=False)  # PyTorch makes none of images either
                optimizer.step()
            return params

        return Candidate(run, lambda result: [p.data for p in result])

    def torch(self, channels_last: bool) -> Candidate:
        import torch
        from torch import nn

        model = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
        )  # fmt: skip
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model = model.to(memory_format=layout)
        loss = nn.CrossEntropyLoss()
        images, labels, *start = tensors(self.data, channels_last)
        params = list(model.parameters())

        def run() -> Any:
            with torch.no_grad():
                for p, initial in zip(params, start, strict=True):
                    p.copy_(initial)
            optimizer = torch.optim.SGD(params, lr=LR, momentum=MOMENTUM)
            for x, target in self._batches(images, labels):
                optimizer.zero_grad()
                loss(model(x), target).backward()
                optimizer.step()
            return params

        return Candidate(run, lambda result: [p.detach().contiguous().numpy() for p in result])
