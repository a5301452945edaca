"""A class for every pixel: a fully convolutional net finds the digits in scenes, and names them.

What to look at:

- Fully connected layers are convolutions: LeNet-5, trained on single digits, slides over a whole
  scene in one pass and gives a heat map a class: scores of windows of 28x28, four pixels apart.
  (They are those it gives of the window alone where the two pixels around it are black: its first
  layer puts zeros there in a single image, and sees the neighbourhood in a scene.)
- A net of convolutions alone, whose coarse scores are enlarged by transposed convolutions and
  joined with finer ones (skips), labels every pixel: mean IoU on scenes it has not seen.
- The same weights label an image of another size.
"""

import numpy as np
from common import Example, run

from fastcnn import data, metrics, models, nn, ops, optim, training, viz

CLASSES = ("background", *"0123456789")


def scenes(digits, n, size, rng):
    """n images of up to six digits that do not overlap, and the class of each of their pixels."""
    height, width = size
    x = np.zeros((n, 1, height, width), np.float32)
    y = np.zeros((n, height, width), np.int64)
    tries = 6 * height * width // 64**2
    for i in range(n):
        for k in rng.integers(len(digits), size=tries):
            top, left = rng.integers(height - 19), rng.integers(width - 19)
            place = np.s_[top : top + 20, left : left + 20]
            if not x[i, 0][place].any():  # the outer four pixels of a digit's image are empty
                digit = digits.x[k, 0, 4:24, 4:24]
                x[i, 0][place] = digit
                y[i][place] = np.where(digit > 0.5, digits.y[k] + 1, 0)
    return x, y


def fcn(channels, seed):
    """Stages of two 3x3 convolutions and a pool; scores from the coarsest up to the pixels.

    ::

        x - stage 1 - pool - stage 2 - pool - ... - stage 4 - score --- enlarge
                 |                |                                       |
               score            score ------------------ (+) -- crop -----/
    """
    rng = np.random.default_rng(seed)
    nodes, last, c = {}, "x", 1
    for s, width in enumerate(channels, 1):
        if s > 1:
            nodes[f"pool{s - 1}"] = (nn.MaxPool2d(2, ceil_mode=True), last)
            last = f"pool{s - 1}"
        stage = []
        for c_in in (c, width):
            conv = nn.Conv2d(c_in, width, 3, padding=1, bias=False, seed=rng)
            stage += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        nodes[f"stage{s}"] = (nn.Sequential(*stage), last)
        last, c = f"stage{s}", width
    nodes["score"] = (nn.Conv2d(c, 11, 1, seed=rng), last)
    last = "score"
    for s in range(len(channels) - 1, 0, -1):
        skip = nn.blocks.skip_scores(11, channels[s - 1])
        nodes[f"skip{s}"], last = (skip, last, f"stage{s}"), f"skip{s}"
    return nn.Graph("x", nodes, last)


def fit(net, dataset, epochs, rate, seed):
    """Train with Adam, whose rate falls along a cosine; the seconds it took."""
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=rate),
        seed=seed, schedule=training.schedules.cosine,
    )  # fmt: skip
    return sum(trainer.fit(dataset, epochs=epochs, batch_size=32).seconds)


def sliding(lenet):
    """LeNet-5 for images of any size: its fully connected layers as convolutions."""
    layers = {name: node.layer for name, node in lenet.nodes.items() if name != "flat"}
    layers["fc1"] = models.as_convolution(lenet["fc1"], (16, 5, 5))
    for name in ("fc2", "fc3"):
        layers[name] = models.as_convolution(lenet[name])
    return nn.Sequential(layers)


def heat(slide, x):
    """Probabilities of the window around each place, as large as the scenes (sizes of 4 n).

    With a margin of half a window the centres of the windows are at 0, 4, 8, ... to the last edge;
    each is drawn as a square of 4x4 around its centre.
    """
    margin = ((0, 0), (0, 0), (14, 14), (14, 14))
    squares = ops.softmax(slide(np.pad(x, margin)), axis=1).repeat(4, axis=2).repeat(4, axis=3)
    return squares[:, :, 2:-2, 2:-2]


def main(example: Example) -> None:
    train, test = example.mnist()
    rng = np.random.default_rng(example.seed)

    lenet = models.lenet5(seed=example.seed)
    fit(lenet, train, 1 if example.quick else 3, 2e-3, example.seed)
    slide = sliding(lenet)
    one, all_over = lenet(test.x[:1000]), slide(test.x[:1000])
    example.say(f"LeNet-5 on a digit: {one.shape[1:]}, as convolutions: {all_over.shape[1:]}")
    example.say(f"largest difference on 1,000 digits: {abs(all_over[..., 0, 0] - one).max():.1g}")

    size, (n_train, n_test), epochs = (64, 64), (4000, 500), 5
    if example.quick:
        (n_train, n_test), epochs = (300, 50), 1
    x, y = scenes(test, n_test, size, rng)
    example.say(f"LeNet-5 as convolutions on a scene of 64x64: {slide(x[:1]).shape[1:]}")
    example.say()

    net = fcn((8, 16, 16, 16) if example.quick else (16, 32, 64, 64), example.seed)
    dataset = data.ArrayDataset(*scenes(train, n_train, size, rng))
    seconds = fit(net, dataset, epochs, 5e-3, example.seed)
    example.say(
        f"fully convolutional net: {net.num_parameters():,} parameters, {epochs} epochs "
        f"of {n_train:,} scenes in {seconds:.0f} s"
    )
    predicted = np.concatenate([net(x[i : i + 50]).argmax(1) for i in range(0, n_test, 50)])
    example.table(["class", "IoU"], zip(CLASSES, metrics.iou(y, predicted, 11), strict=True))
    example.say()
    example.say(
        f"mean IoU {metrics.mean_iou(y, predicted, 11):.3f}, "
        f"accuracy of the pixels {metrics.accuracy(y, predicted):.4f}"
    )
    rows = {"scene": x[:6], "truth": y[:6], "prediction": predicted[:6]}
    example.figure(viz.images(rows, classes=CLASSES), "segmentation")

    window, pixel = heat(slide, x[:6]), ops.softmax(net(x[:6]), axis=1)
    rows = {"scene": x[:6]}
    for digit in (3, 4):
        rows |= {f"{digit}, LeNet-5": window[:, digit], f"{digit}, FCN": pixel[:, digit + 1]}
    example.figure(viz.images(rows), "heat_maps")

    wide, truth = scenes(test, 1 if example.quick else 20, (90, 250), rng)
    guess = net(wide).argmax(1)
    example.say(
        f"the same weights on scenes of 90x250: mean IoU {metrics.mean_iou(truth, guess, 11):.3f}"
    )
    rows = {"scene": wide[:1], "truth": truth[:1], "prediction": guess[:1]}
    example.figure(viz.images(rows, classes=CLASSES), "another_size")


if __name__ == "__main__":
    run(main, __doc__)
