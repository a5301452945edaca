"""The ideas of VGG, GoogLeNet and DenseNet in nets small enough to train in about a minute.

What to look at: LeNet-5 beside stacks of 3x3 convolutions, inception modules and dense blocks;
how many parameters and multiply-adds each spends, how long it trains, and what it reaches.
"""

import numpy as np
from common import Example, run

from fastcnn import metrics, models, nn, optim, training, viz
from fastcnn.nn import blocks


def vgg_like(seed):
    """Nothing but 3x3 convolutions and pools; twice the channels after each pool."""
    rng, layers, c = np.random.default_rng(seed), [], 1
    for width, count in ((16, 1), (32, 2), (64, 2)):
        for _ in range(count):
            layers += [nn.Conv2d(c, width, 3, padding=1, seed=rng), nn.ReLU()]
            c = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 3 * 3, 128, seed=rng), nn.ReLU(),
                         nn.Dropout(0.5, seed=seed), nn.Linear(128, 10, seed=rng))  # fmt: skip


def googlenet_like(seed):
    """Inception modules: 1x1, 3x3, 5x5 and a pool side by side; a global average at the end."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, seed=rng), nn.ReLU(), nn.MaxPool2d(2),
        blocks.inception(16, 16, (16, 24), (4, 8), 8, seed=rng),  # gives 16 + 24 + 8 + 8 = 56
        blocks.inception(56, 24, (24, 32), (8, 12), 12, seed=rng), nn.MaxPool2d(2),  # 80
        blocks.inception(80, 32, (32, 48), (8, 16), 16, seed=rng),  # 112
        nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(112, 10, seed=rng),
    )  # fmt: skip


def densenet_like(seed):
    """Dense blocks: each layer sees the maps of all before it, and adds twelve."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False, seed=rng), nn.MaxPool2d(2),
        blocks.dense_block(16, 4, growth=12, bottleneck=2, seed=rng),  # 16 + 4 * 12 = 64
        blocks.transition(64, 32, seed=rng),
        blocks.dense_block(32, 4, growth=12, bottleneck=2, seed=rng),  # 80
        nn.BatchNorm2d(80), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(80, 10, seed=rng),
    )  # fmt: skip


NETS = {  # and the rate of each; without batch norm a global average lets little through at first
    "LeNet-5": (lambda seed: models.lenet5(seed=seed), 0.002),
    "VGG-like": (vgg_like, 0.002),
    "GoogLeNet-like": (googlenet_like, 0.01),
    "DenseNet-like": (densenet_like, 0.002),
}


def main(example: Example) -> None:
    digits, test = example.mnist()
    epochs = 3
    if example.quick:
        digits, epochs = digits[:640], 1
    digits, validation = digits.split(0.1, seed=example.seed)

    rows, accuracy, right = [], {}, np.zeros(len(test), int)
    for name, (build, rate) in NETS.items():
        net = build(example.seed)
        optimizer = optim.Adam(net.parameters(), lr=rate)
        trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=example.seed,
                                   schedule=training.schedules.cosine)  # fmt: skip
        history = trainer.fit(digits, epochs=epochs, batch_size=64, validation=validation)
        scores = trainer.predict(test.x)
        right += scores.argmax(1) == test.y
        accuracy[name] = history.validation_accuracy
        summary = net.summary((1, 28, 28))
        rows.append((name, f"{summary.parameters:,}", f"{summary.multiply_adds:,}",
                     f"{sum(history.seconds):.0f}", metrics.accuracy(test.y, scores)))  # fmt: skip
    header = ("net", "parameters", "multiply-adds", "seconds", "test accuracy")
    example.table(header, [(*row, f"{on_test:.4f}") for *row, on_test in rows])
    example.figure(viz.curves(accuracy, ylabel="validation accuracy"), "accuracy")

    hard = np.flatnonzero(right == 0)[:12]  # that no net reads
    example.say()
    example.say(
        f"{np.mean(right == len(NETS)):.2%} of the test digits are read by all nets, "
        f"{np.count_nonzero(right == 0)} digits by none"
    )
    guesses = scores[hard].argmax(1)
    titles = [f"{y} as {guess}" for y, guess in zip(test.y[hard], guesses, strict=True)]
    example.figure(viz.images({"digit": test.x[hard]}, titles=titles), "read_by_none")


if __name__ == "__main__":
    run(main, __doc__)
