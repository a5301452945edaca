"""Kernels made by hand and kernels learned; what pooling does for shifted digits; feature maps.

The same operation, `ops.conv2d`, with kernels that image processing has known for decades and with
those that LeNet-5 found by itself. Then two nets of 61,706 parameters each, one with max pooling,
one that halves its maps by a stride of 2 instead, on digits that are moved by some pixels. At last
one digit on its way through LeNet-5, layer by layer.
"""

import numpy as np
from common import Example, run

from fastcnn import models, nn, ops, optim, training, viz

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
GAUSS = np.array([1, 4, 6, 4, 1]) / 16
HAND_MADE = {
    "Sobel, upright edges": SOBEL,
    "Sobel, level edges": SOBEL.T,
    "Laplace": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "Gauss": np.outer(GAUSS, GAUSS),
}


def gray(pictures):
    """Each picture scaled by itself so that 0 is the middle gray."""
    return 0.5 + 0.5 * pictures / abs(pictures).max(axis=(2, 3), keepdims=True)


def without_pooling(seed):
    """LeNet-5 with the same maps and parameters, but strides of 2 in place of its pools."""
    net, rng = models.lenet5(seed=seed), np.random.default_rng(seed)
    he = nn.init.he()
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, stride=2, padding=2, init=he, seed=rng), nn.ReLU(),
        nn.Conv2d(6, 16, 5, stride=2, init=he, seed=rng), nn.ReLU(), *net[6:],
    )  # fmt: skip


def fit(net, train, epochs, seed):
    """The trainer of a net that has learned."""
    adam = optim.Adam(net.parameters(), lr=0.001)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), adam, seed=seed)
    trainer.fit(train, epochs=epochs, batch_size=100, progress=False)
    return trainer


def shifted_accuracy(trainer, test, pixels):
    """Mean accuracy on digits moved up, down, left and right; what leaves the image is lost."""
    height, width = test.x.shape[2:]
    around = np.pad(test.x, ((0, 0), (0, 0), (pixels, pixels), (pixels, pixels)))
    moved = [
        around[:, :, top : top + height, left : left + width]
        for top, left in ((0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels))
    ]
    return np.mean([trainer.evaluate((x, test.y)).accuracy for x in moved])


def kernels(example: Example, net, digit) -> None:
    """Hand-made and learned kernels above the maps that they make of one digit."""
    made = np.zeros((len(HAND_MADE), 1, 5, 5), np.float32)
    for tile, kernel in zip(made, HAND_MADE.values(), strict=True):
        edge = (5 - len(kernel)) // 2
        tile[0, edge : 5 - edge, edge : 5 - edge] = kernel
    learned = net["conv1"].weight.data
    for name, filters, titles in (
        ("hand_made", made, [*HAND_MADE]),
        ("learned", learned, [f"filter {k + 1}" for k in range(len(learned))]),
    ):
        maps = ops.conv2d(digit, filters, padding=2)
        rows = {"kernel": gray(filters), "map": gray(maps.transpose(1, 0, 2, 3))}
        example.figure(viz.images(rows, titles=titles), name)


def main(example: Example) -> None:
    """Train, draw the kernels and maps, move the digits."""
    train, test = example.mnist()
    epochs, seeds, shifts = (1, 2, range(3)) if example.quick else (3, 3, range(9))
    accuracy = {"max pooling": [], "stride 2, no pooling": []}
    for seed in range(example.seed, example.seed + seeds):
        for name, create in zip(accuracy, (models.lenet5, without_pooling), strict=True):
            net = create(seed=seed)
            trainer = fit(net, train, epochs, seed)
            accuracy[name].append([shifted_accuracy(trainer, test, pixels) for pixels in shifts])
            if seed == example.seed:
                example.say(f"{name}: {net.num_parameters():,} parameters")
                if name == "max pooling":
                    lenet = net

    example.say(f"\nAccuracy on {len(test):,} test digits, moved in four directions:")
    rows = [
        (pixels, *(f"{v[:, i].mean():.3f} ± {v[:, i].std():.3f}" for v in map(np.array, runs)))
        for i, (pixels, runs) in enumerate((p, accuracy.values()) for p in shifts)
    ]
    example.table(("pixels", *accuracy), rows)
    figure = viz.curves(accuracy, x=shifts, xlabel="shift in pixels", ylabel="test accuracy")
    example.figure(figure, "shifts")

    digit = test[0][0][None]
    kernels(example, lenet, digit)
    example.figure(viz.feature_maps(lenet, digit), "feature_maps")


if __name__ == "__main__":
    run(main, __doc__)
