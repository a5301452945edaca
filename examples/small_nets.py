"""The ideas of VGG, GoogLeNet and DenseNet in nets small enough to learn CIFAR-10 in minutes.

What to look at: a plain net of three 5x5 convolutions beside stacks of 3x3 convolutions, inception
modules and dense blocks; how many parameters and multiply-adds each spends, and what it reaches in
about three minutes on two cores, which are more epochs for a quick net than for a slow one.
"""

import numpy as np
from common import Example, run

from fastcnn import data, metrics, nn, optim, training, viz
from fastcnn.data import augment
from fastcnn.nn import blocks

CROP_AND_FLIP = augment.Compose([augment.RandomCrop(32, padding=4), augment.RandomHorizontalFlip()])


def conv(c_in, c_out, kernel, rng):
    """A convolution that keeps the size, batch norm, ReLU."""
    layer = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False, seed=rng)
    return layer, nn.BatchNorm2d(c_out), nn.ReLU()


def plain(seed):
    """No idea but LeNet's: 5x5 convolutions with a pool after each, one fully connected layer."""
    rng, layers, c = np.random.default_rng(seed), [], 3
    for width in (32, 32, 64):
        layers += [*conv(c, width, 5, rng), nn.MaxPool2d(2)]
        c = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 10, seed=rng))


def vgg_like(seed):
    """Nothing but 3x3 convolutions and pools; twice the channels after each pool."""
    rng, layers, c = np.random.default_rng(seed), [], 3
    for width in (16, 32, 64):
        layers += [*conv(c, width, 3, rng), *conv(width, width, 3, rng), nn.MaxPool2d(2)]
        c = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, 128, seed=rng), nn.ReLU(),
                         nn.Linear(128, 10, seed=rng))  # fmt: skip


def googlenet_like(seed):
    """Inception modules: 1x1, 3x3, 5x5 and a pool side by side; a global average at the end."""
    rng = np.random.default_rng(seed)

    def inception(c_in, one, three, five, pool):  # with batch norm at its end
        block = blocks.inception(c_in, one, three, five, pool, seed=rng)
        return block, nn.BatchNorm2d(one + three[1] + five[1] + pool)

    return nn.Sequential(
        *conv(3, 16, 3, rng), nn.MaxPool2d(2),
        *inception(16, 16, (16, 24), (4, 8), 8),  # gives 16 + 24 + 8 + 8 = 56
        *inception(56, 24, (24, 32), (8, 12), 12), nn.MaxPool2d(2),  # 80
        *inception(80, 32, (32, 48), (8, 16), 16),  # 112
        nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(112, 10, seed=rng),
    )  # fmt: skip


def densenet_like(seed):
    """Dense blocks: each layer sees the maps of all before it, and adds twelve."""
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False, seed=rng), nn.MaxPool2d(2),
        blocks.dense_block(16, 4, growth=12, bottleneck=2, seed=rng),  # 16 + 4 * 12 = 64
        blocks.transition(64, 32, seed=rng),
        blocks.dense_block(32, 4, growth=12, bottleneck=2, seed=rng),  # 80
        nn.BatchNorm2d(80), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(80, 10, seed=rng),
    )  # fmt: skip


NETS = {  # and the epochs that take about three minutes on two cores
    "plain": (plain, 12),
    "VGG-like": (vgg_like, 11),
    "GoogLeNet-like": (googlenet_like, 7),
    "DenseNet-like": (densenet_like, 8),
}


def main(example: Example) -> None:
    train, test = example.cifar10()
    if example.quick:
        train = train[:640]
    train, validation = train.split(0.05, seed=example.seed)

    rows, accuracy, right = [], {}, np.zeros(len(test), int)
    for name, (build, epochs) in NETS.items():
        net = build(example.seed)
        optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
        trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=example.seed,
                                   schedule=training.schedules.one_cycle())  # fmt: skip
        history = trainer.fit(train, epochs=1 if example.quick else epochs, batch_size=128,
                              validation=validation, augment=CROP_AND_FLIP)  # fmt: skip
        scores = trainer.predict(test.x)
        right += scores.argmax(1) == test.y
        accuracy[name] = history.validation_accuracy
        summary = net.summary((3, 32, 32))
        rows.append((name, f"{summary.parameters:,}", f"{summary.multiply_adds:,}", len(history),
                     f"{sum(history.seconds):.0f}", metrics.accuracy(test.y, scores)))  # fmt: skip
    header = ("net", "parameters", "multiply-adds", "epochs", "seconds", "test accuracy")
    example.table(header, rows)
    example.figure(viz.curves(accuracy, ylabel="validation accuracy"), "accuracy")

    hard = np.flatnonzero(right == 0)  # for every net
    example.say()
    example.say(
        f"{np.mean(right == len(NETS)):.1%} of the test images are right with all nets, "
        f"{np.mean(right == 0):.1%} with none"
    )
    some = np.random.default_rng(example.seed).permutation(hard)[:8]
    titles = [f"{test.classes[test.y[i]]}\nas {test.classes[scores[i].argmax()]}" for i in some]
    images = data.Subset(test, some).x
    example.figure(viz.images({"image": images}, titles=titles), "right_with_none")


if __name__ == "__main__":
    run(main, __doc__)
