"""Draws the pictures of docs/lectures from real digits and the library's own functions.

``python docs/make_pictures.py`` writes docs/lectures/pictures/*.png (matplotlib is needed; the
digits are those of the package). They are committed, so the site is built without matplotlib.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fastcnn import data, models, nn, ops, optim, training, viz
from fastcnn.data import augment
from fastcnn.training import schedules

PICTURES = Path(__file__).resolve().parent / "lectures" / "pictures"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DIGIT = 4  # row of the test digits


def gray(axes: Any, picture: Any, title: str, **options: Any) -> None:
    """A picture in grays, without ticks."""
    axes.imshow(picture, cmap="gray", interpolation="nearest", **options)
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def grid(axes: Any, numbers: Any, title: str, mark: tuple[int, int] = (0, 0)) -> None:
    """Numbers in boxes, with the first `mark` rows and columns in colour."""
    rows, columns = numbers.shape
    for i, j in np.ndindex(rows, columns):
        inside = i < mark[0] and j < mark[1]
        box = {"facecolor": "#CFE8F7" if inside else "white", "edgecolor": "#555555"}
        axes.add_patch(_square(j, i, box))
        axes.text(j + 0.5, i + 0.5, f"{numbers[i, j]:g}", ha="center", va="center", fontsize=13)
    axes.set(xlim=(-0.05, columns + 0.05), ylim=(rows + 0.05, -0.05), aspect="equal")
    axes.set_title(title, fontsize=10)
    axes.axis("off")


def _square(x: float, y: float, style: dict[str, str]) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), 1, 1, **style)


def convolution() -> Figure:
    """The first worked example, its first window marked."""
    image = np.array(
        [[1.0, 1, 1, 0, 0], [0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 1, 1, 0], [0, 1, 1, 0, 0]]
    )
    kernel = np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]])
    y = ops.conv2d(image[None, None], kernel[None, None])[0, 0]
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    parts = figure.subplots(1, 3, width_ratios=[5, 3, 3])
    grid(parts[0], image, "image", (3, 3))
    grid(parts[1], kernel, "kernel")
    grid(parts[2], y, "output", (1, 1))
    return figure


def kernels(x: Any) -> Figure:
    """One digit through a mean and through both Sobel kernels."""
    sobel = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    made = {
        "blur (5x5 mean)": np.full((5, 5), 1 / 25),
        "edges from left to right": sobel,
        "edges from top to bottom": sobel.T,
    }
    figure = Figure(figsize=(8, 2.3), layout="constrained")
    parts = figure.subplots(1, 4)
    gray(parts[0], x[0, 0], "a digit")
    for axes, (title, kernel) in zip(parts[1:], made.items(), strict=True):
        w = kernel[None, None].astype(np.float32)
        gray(axes, ops.conv2d(x, w, padding="same")[0, 0], title)
    return figure


def pooling(x: Any) -> Figure:
    """One digit, and what two pools of 4 leave of it."""
    figure = Figure(figsize=(6.4, 2.5), layout="constrained")
    parts = figure.subplots(1, 3)
    gray(parts[0], x[0, 0], "28x28", vmin=0)
    gray(parts[1], nn.MaxPool2d(4)(x)[0, 0], "max pool 4: 7x7", vmin=0, vmax=x.max())
    gray(parts[2], nn.AvgPool2d(4)(x)[0, 0], "average pool 4: 7x7", vmin=0, vmax=x.max())
    return figure


def activations() -> Figure:
    """Functions on the left, derivatives (by backward) on the right."""
    x = np.linspace(-4, 4, 401)
    layers: dict[str, nn.Layer] = {
        "step": nn.Step("zero"), "sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "ReLU": nn.ReLU(),
        "leaky ReLU (0.1)": nn.LeakyReLU(0.1), "ELU": nn.ELU(),
    }  # fmt: skip
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, layer) in enumerate(layers.items()):
        style: dict[str, Any] = {
            "color": COLOURS[i],
            "lw": 4 - 0.6 * i,
        }  # where they meet, all show
        y, ctx = layer.forward(x)
        left.plot(x, y, label=name, **style)
        right.plot(x, layer.backward(np.ones_like(x), ctx), **style)
    left.set(ylim=(-1.3, 3), title="f(x)")
    right.set(ylim=(-0.1, 1.2), title="f'(x)")
    for axes in left, right:
        axes.grid(alpha=0.3)
    left.legend(fontsize=8)
    return figure


def focal() -> Figure:
    """Cross-entropy and focal losses over the probability of the right class."""
    p = np.linspace(0.01, 1, 200)
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    for gamma, colour in zip((0, 0.5, 1, 2, 5), COLOURS, strict=False):
        label = "cross-entropy" if gamma == 0 else f"focal, gamma {gamma:g}"
        axes.plot(p, -((1 - p) ** gamma) * np.log(p), color=colour, label=label)
    axes.set(xlabel="probability of the right class", ylabel="loss (nats)", ylim=(0, 4))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    return figure


def optimizers() -> Figure:
    """Forty steps of four optimizers on a valley 20 times as steep across as along."""
    curvature = np.array([1.0, 20.0])
    runs: dict[str, Any] = {
        "SGD, rate 0.09": lambda w: optim.SGD([w], lr=0.09),
        "momentum 0.7, rate 0.04": lambda w: optim.SGD([w], lr=0.04, momentum=0.7),
        "Adam, rate 0.5": lambda w: optim.Adam([w], lr=0.5),
        "RMSprop, rate 0.3": lambda w: optim.RMSprop([w], lr=0.3),
    }
    figure = Figure(figsize=(6.6, 3), layout="constrained")
    axes = figure.subplots()
    a, b = np.meshgrid(np.linspace(-11, 4, 200), np.linspace(-2.2, 2.2, 200))
    levels = [2, 10, 30, 60]
    axes.contour(a, b, (a**2 + 20 * b**2) / 2, levels, colors="#BBBBBB", linewidths=0.8)
    for (name, make), colour in zip(runs.items(), COLOURS, strict=False):
        w = nn.Parameter(np.array([-10.0, 1.8]))
        optimizer, path = make(w), [w.data.copy()]
        for _ in range(40):
            w.grad = curvature * w.data
            optimizer.step()
            path.append(w.data.copy())
        axes.plot(*np.transpose(path), "o-", color=colour, markersize=2.5, lw=1, label=name)
    axes.plot(0, 0, "k*", markersize=10)
    axes.set(xlabel="w1", ylabel="w2", xlim=(-11, 4), ylim=(-2.2, 2.2))
    axes.legend(fontsize=8, loc="lower right")
    return figure


def rates() -> Figure:
    """Schedules over the part of the fit that is done."""
    t = np.linspace(0, 0.999, 500)
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    axes = figure.subplots()
    chosen = {
        "step(0.1, 3)": schedules.step(0.1, 3),
        "cosine": schedules.cosine, "one_cycle()": schedules.one_cycle(),
        "googlenet(80)": schedules.googlenet(80),
        "warm_up(cosine, 0.1)": schedules.warm_up(schedules.cosine, 0.1),
    }  # fmt: skip
    for (name, schedule), colour in zip(chosen.items(), COLOURS, strict=False):
        axes.plot(t, [schedule(v) for v in t], color=colour, label=name)
    axes.set(xlabel="part of the training that is done", ylabel="factor of the rate")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def overfitting(train: Any) -> Figure:
    """A perceptron on 100 digits, 100 epochs, measured on 1,000 others."""
    net = models.dmlp(seed=0)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters(), lr=3e-3))
    history = trainer.fit(
        train[:100], epochs=100, batch_size=20, validation=train[1000:2000], progress=False
    )
    return viz.learning_curves(history)


def augmentation(x: Any) -> Figure:
    """One digit, changed by each kind of augmentation in five ways."""
    kinds = {
        "shift": augment.RandomShift(4),
        "rotation": augment.RandomRotation(20),
        "scale": augment.RandomScale((0.6, 1.3)),
        "all three": augment.RandomAffine(20, (0.1, 0.1), (0.7, 1.2)),
        "cutout": augment.Cutout(9),
    }
    figure = Figure(figsize=(6, 5), layout="constrained")
    for row, (name, change) in zip(figure.subplots(5, 6), kinds.items(), strict=True):
        gray(row[0], x[0, 0], name)
        for i, axes in enumerate(row[1:]):
            gray(axes, change(x, seed=i)[0, 0], "", vmin=0, vmax=1)
    return figure


def draw() -> dict[str, Figure]:
    """All pictures by their names."""
    train, test = data.mnist(subset=True)
    x = test[DIGIT : DIGIT + 1].x
    return {
        "convolution": convolution(), "kernels": kernels(x), "pooling": pooling(x),
        "activations": activations(), "focal": focal(), "optimizers": optimizers(),
        "schedules": rates(), "overfitting": overfitting(train), "augmentation": augmentation(x),
    }  # fmt: skip


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, figure in draw().items():
        viz.save_png(figure, PICTURES / f"{name}.png", dpi=90)
