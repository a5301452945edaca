"""The lecture's program: SimpleConvNet learns 5,000 digits.

conv 30 @ 5x5 - ReLU - max pool 2 - affine 100 - ReLU - affine 10 - softmax, Adam with a rate of
0.001, batches of 100, 20 epochs. What to look at: how soon the accuracy on training digits leaves
the one on test digits behind; how the 30 filters, noise at first, become edges and blobs; and that
backpropagation gives the same gradients as the slow, obvious way.
"""

import numpy as np
from common import Example, run

from fastcnn import data, models, nn, optim, training, viz


class Accuracies(training.Callback):
    """After each epoch, the accuracy on the first 1,000 training digits and on the test digits."""

    def __init__(self, train, test):
        self.train, self.test = train[:1000], test
        self.on_train, self.on_test = [], []

    def on_epoch_end(self, trainer):
        self.on_train.append(trainer.evaluate(self.train).accuracy)
        self.on_test.append(trainer.evaluate(self.test).accuracy)


def compare_gradients(example: Example) -> None:
    """Backpropagated gradients beside central differences, on a net small enough for both."""
    conv = {"filter_num": 10, "filter_size": 3}
    network = models.SimpleConvNet((1, 10, 10), conv, hidden_size=10, seed=example.seed).double()
    x, t = np.random.default_rng(example.seed).random((1, 1, 10, 10)), np.array([1])
    numerical, backprop = network.numerical_gradient(x, t), network.gradient(x, t)
    example.say("Gradients of a small SimpleConvNet (10 filters of 3x3, 10x10 pixels, float64):")
    rows = []
    for name, gradient in backprop.items():
        difference = abs(numerical[name] - gradient)
        rows.append((name, gradient.size, f"{abs(gradient).max():.1e}", f"{difference.max():.1e}"))
    example.table(("parameter", "numbers", "largest gradient", "largest difference"), rows)


def main(example: Example) -> None:
    """Train, draw the curves and the filters, check the gradients."""
    train, test = data.mnist(subset=True)  # the first 5,000 and 1,000 digits of MNIST
    epochs = 2 if example.quick else 20

    network = models.SimpleConvNet(seed=example.seed)
    before = network.params["W1"].copy()
    optimizer = optim.Adam(network.parameters(), lr=0.001)
    trainer = training.Trainer(network, nn.CrossEntropyLoss(), optimizer, seed=example.seed)
    accuracies = Accuracies(train, test)
    history = trainer.fit(train, epochs=epochs, batch_size=100, callbacks=[accuracies])

    example.say(network.summary((1, 28, 28)))
    example.say()
    after = range(1, epochs + 1)
    rows = [*zip(after, history.train_loss, accuracies.on_train, accuracies.on_test, strict=True)]
    example.table(("epoch", "loss", "training accuracy", "test accuracy"), rows)
    example.say()
    compare_gradients(example)

    lines = {"training digits": accuracies.on_train, "test digits": accuracies.on_test}
    example.figure(viz.curves(lines), "accuracy")
    example.figure(viz.filters(network, before), "filters")


if __name__ == "__main__":
    run(main, __doc__)
