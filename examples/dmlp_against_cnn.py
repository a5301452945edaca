"""What a CNN knows that a DMLP does not, and how nets came to learn: step, sigmoid, ReLU.

First a DMLP (784-100-10) and LeNet-5 learn MNIST twice: as it is, and with the 784 pixels of every
image shuffled in one fixed order. To the DMLP both are the same task; the CNN looks for patterns of
neighbouring pixels, and has none left. Then one DMLP in the three forms that the lecture goes
through: step and mean squared error, sigmoid and mean squared error, ReLU and cross-entropy.
"""

import numpy as np
from common import Example, run

from fastcnn import models, nn, optim, training, viz


class TestAccuracy(training.Callback):
    """After each epoch, the accuracy on the test digits; nothing is chosen by it."""

    def __init__(self, test):
        self.test, self.values = test, []

    def on_epoch_end(self, trainer):
        self.values.append(trainer.evaluate(self.test).accuracy)


def fit(example, model, loss, optimizer, train, test, epochs):
    """Train, and return the accuracy on test digits after each epoch."""
    trainer = training.Trainer(model, loss, optimizer, seed=example.seed)
    on_test = TestAccuracy(test)
    trainer.fit(train, epochs=epochs, batch_size=100, callbacks=[on_test], progress=False)
    return on_test.values


def shuffled_pixels(example: Example, train, test, epochs: int) -> None:
    """DMLP and CNN, pixels in place and shuffled."""
    order = np.random.default_rng(example.seed).permutation(28 * 28)

    def shuffle(x):
        return x.reshape(len(x), -1)[:, order].reshape(x.shape)

    tests = {"in place": test, "shuffled": test.with_transform(shuffle)}
    trains = {"in place": train, "shuffled": train.with_transform(shuffle)}
    nets, lines = {"DMLP": models.dmlp, "LeNet-5": models.lenet5}, {}
    for name, create in nets.items():
        for pixels in trains:
            net = create(seed=example.seed)
            adam = optim.Adam(net.parameters(), lr=0.001)
            lines[f"{name}, pixels {pixels}"] = fit(
                example, net, nn.CrossEntropyLoss(), adam, trains[pixels], tests[pixels], epochs
            )
    example.say(f"Test accuracy after {epochs} epochs (Adam, 0.001, batches of 100):")
    rows = [(name, *(lines[f"{name}, pixels {p}"][-1] for p in trains)) for name in nets]
    example.table(("net", "pixels in place", "pixels shuffled"), rows)
    example.figure(viz.curves(lines, ylabel="test accuracy"), "shuffled")
    digits = {pixels: part[:10].x for pixels, part in tests.items()}
    example.figure(viz.images(digits), "digits")


def dmlp(activation, output, seed):
    """784-100-10 with an activation after the hidden layer, and one after the output or none."""
    rng = np.random.default_rng(seed)
    layers = [
        nn.Flatten(), nn.Linear(784, 100, init=nn.init.xavier(), seed=rng), activation,
        nn.Linear(100, 10, init=nn.init.xavier(), seed=rng),
    ]  # fmt: skip
    return nn.Sequential(*layers, *output)


def progression(example: Example, train, test, epochs: int) -> None:
    """Step, sigmoid, ReLU, each with the loss of its time, all by plain SGD."""
    zero = nn.Step("zero")  # its true derivative: 0 everywhere but at the jump
    straight = nn.Step("straight")  # on the way back it passes for the identity
    forms = {  # activations, loss, learning rate
        "step + MSE": (dmlp(zero, [zero], example.seed), nn.MSELoss(), 1.0),
        "step + MSE, straight-through": (
            dmlp(straight, [straight], example.seed), nn.MSELoss(), 0.1
        ),
        "sigmoid + MSE": (dmlp(nn.Sigmoid(), [nn.Sigmoid()], example.seed), nn.MSELoss(), 1.0),
        "ReLU + cross-entropy": (dmlp(nn.ReLU(), [], example.seed), nn.CrossEntropyLoss(), 0.1),
    }  # fmt: skip
    lines, rows = {}, []
    for name, (net, loss, rate) in forms.items():
        x, y = train[:100].x, train[:100].y
        outputs, ctx = net.forward(x)
        net.backward(loss(outputs, y)[1], ctx)
        slope = abs(net[1].weight.grad).max()
        net.zero_grad()
        sgd = optim.SGD(net.parameters(), lr=rate)
        lines[name] = fit(example, net, loss, sgd, train, test, epochs)
        rows.append((name, f"{rate:g}", f"{slope:.1e}", lines[name][0], lines[name][-1]))
    example.say("\nThree forms of the DMLP (SGD, batches of 100), and test accuracy after epochs:")
    header = ("form", "rate", "largest first gradient", "1 epoch", f"{epochs} epochs")
    example.table(header, rows)
    example.figure(viz.curves(lines, ylabel="test accuracy"), "progression")


def main(example: Example) -> None:
    """Both experiments."""
    train, test = example.mnist()
    example.say()
    shuffled_pixels(example, train, test, epochs=2 if example.quick else 5)
    progression(example, train, test, epochs=2 if example.quick else 10)


if __name__ == "__main__":
    run(main, __doc__)
