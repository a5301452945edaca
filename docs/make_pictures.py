"""Draws the pictures of docs/lectures from real digits and the library's own functions.

``python docs/make_pictures.py`` writes docs/lectures/pictures/*.png (matplotlib is needed; the
digits are those of the package). They are committed, so the site is built without matplotlib.
"""

from itertools import pairwise
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


def window(axes: Any, places: list[tuple[float, float]], size: float, colour: str) -> None:
    """Outlines of squares, by their top left corners."""
    from matplotlib.patches import Rectangle

    for left, top in places:
        axes.add_patch(Rectangle((left, top), size, size, fill=False, edgecolor=colour, lw=2.5))


def size() -> Figure:
    """A window of 3 on 5 pixels: padding in gray, the first two windows, the centre of each."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    for axes, (padding, stride) in zip(
        figure.subplots(1, 3), ((0, 1), (1, 1), (1, 2)), strict=True
    ):
        n = 5 + 2 * padding
        for i, j in np.ndindex(n, n):
            inside = padding <= min(i, j) and max(i, j) < n - padding
            box = {"facecolor": "white" if inside else "#DDDDDD", "edgecolor": "#888888"}
            axes.add_patch(_square(j, i, box))
        window(axes, [(0.06, 0.06)], 2.88, COLOURS[0])
        window(axes, [(stride + 0.06, 0.14)], 2.88, COLOURS[1])
        at = np.arange(0, n - 2, stride) + 1.5
        axes.plot(*np.meshgrid(at, at), "o", color="black", markersize=4)
        axes.set(xlim=(-0.1, n + 0.1), ylim=(n + 0.1, -0.1), aspect="equal")
        places = len(at)
        axes.set_title(f"P = {padding}, S = {stride}: {places}x{places} places", fontsize=10)
        axes.axis("off")
    return figure


def dilation() -> Figure:
    """Where the nine taps of a 3x3 kernel lie at dilation 1, 2 and 3."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    for axes, d in zip(figure.subplots(1, 3), (1, 2, 3), strict=True):
        for i, j in np.ndindex(7, 7):
            first = 3 - d
            tap = (i - first) % d == 0 and (j - first) % d == 0 and max(abs(i - 3), abs(j - 3)) <= d
            box = {"facecolor": "#56B4E9" if tap else "white", "edgecolor": "#888888"}
            axes.add_patch(_square(j, i, box))
        window(axes, [(3 - d, 3 - d)], 2 * d + 1, COLOURS[0])
        axes.set(xlim=(-0.1, 7.1), ylim=(7.1, -0.1), aspect="equal")
        axes.set_title(f"D = {d}: sees {2 * d + 1}x{2 * d + 1}", fontsize=10)
        axes.axis("off")
    return figure


def transposed() -> Figure:
    """Two numbers lay down the kernel 1 2 1, two pixels apart; where they meet they are added."""
    x, w = np.array([1.0, 2]), np.array([1.0, 2, 1])
    y = ops.conv_transpose2d(x[None, None, None], w[None, None, None], stride=2)[0, 0, 0]
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    axes = figure.subplots()
    rows = [("1 lays down 1 2 1", 0, x[0] * w, COLOURS[4]),
            ("2 lays down 2 4 2", 2, x[1] * w, COLOURS[5]), ("sum", 0, y, "#FFFFFF")]  # fmt: skip
    for i, (name, start, numbers, colour) in enumerate(rows):
        top = 1.25 * i
        axes.text(-0.3, top + 0.5, name, ha="right", va="center", fontsize=11)
        for j, number in enumerate(numbers, start):
            axes.add_patch(_square(j, top, {"facecolor": colour, "edgecolor": "#555555"}))
            axes.text(j + 0.5, top + 0.5, f"{number:g}", ha="center", va="center", fontsize=13)
    axes.set(xlim=(-4, 5.1), ylim=(3.6, -0.1), aspect="equal")
    axes.axis("off")
    return figure


def node(axes: Any, x: float, y: float, text: str, colour: str = "#CFE8F7") -> None:
    """A box with a text in its middle."""
    box = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "#555555"}
    axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=box, zorder=3)


def arrow(axes: Any, start: Any, end: Any, bend: float = 0.0, colour: str = "#333333") -> None:
    """An arrow from place to place."""
    line = {"arrowstyle": "-|>", "color": colour, "connectionstyle": f"arc3,rad={bend}",
            "shrinkA": 9, "shrinkB": 11}  # fmt: skip
    axes.annotate("", end, start, arrowprops=line, zorder=2)


def blocks() -> Figure:
    """A residual block, an inception module and a dense block, from top to bottom."""
    figure = Figure(figsize=(9.6, 4), layout="constrained")
    residual, inception, dense = figure.subplots(1, 3, width_ratios=[2, 4, 3])
    steps = ["x", "3x3 conv, BN, ReLU", "3x3 conv, BN", "+", "ReLU"]
    for i, text in enumerate(steps):
        node(residual, 0, -i, text, "white" if text in "x+" else "#CFE8F7")
        if i:
            arrow(residual, (0, 1 - i), (0, -i))
    residual.plot([0, 1.25, 1.25, 0], [-0.4, -0.4, -3, -3], color=COLOURS[1], lw=1.6, zorder=1)
    residual.text(1.35, -1.7, "x as it is", rotation=90, va="center", color=COLOURS[1])
    residual.set(xlim=(-1.2, 1.7), ylim=(-4.4, 0.4), title="residual block")

    node(inception, 0, 0, "x", "white")
    node(inception, 0, -4, "side by side (channels)", "#F7E3CF")
    branches = [["1x1"], ["1x1", "3x3"], ["1x1", "5x5"], ["3x3 max pool", "1x1"]]
    for at, branch in zip((-1.7, -0.65, 0.4, 1.75), branches, strict=True):
        places = [(at, -1.3), (at, -2.7)] if len(branch) == 2 else [(at, -2)]
        path = [(0, 0), *places, (0.5 * at, -4)]
        for start, end in pairwise(path):
            arrow(inception, start, end)
        for place, text in zip(places, branch, strict=True):
            node(inception, *place, text)
    inception.set(xlim=(-2.3, 2.6), ylim=(-4.4, 0.4), title="inception module")

    for i, text in enumerate(["x", "layer 1", "layer 2", "layer 3", "all of them (channels)"]):
        node(dense, 0, -i, text, ["white", *["#CFE8F7"] * 3, "#F7E3CF"][i])
        for j in range(i):
            side = 0 if i - j == 1 else (0.55 if j % 2 else -0.55)
            arrow(dense, (0, -j), (0, -i), side, COLOURS[j] if side else "#333333")
    dense.set(xlim=(-1.7, 1.7), ylim=(-4.4, 0.4), title="dense block")
    for axes in (residual, inception, dense):
        axes.title.set_fontsize(10)
        axes.axis("off")
    return figure


def backpropagation() -> Figure:
    """The worked example: numbers forward above the arrows, gradients backward below them."""
    figure = Figure(figsize=(8.4, 2.1), layout="constrained")
    axes = figure.subplots()
    nodes = ["image", "conv", "ReLU", "fc", "loss"]
    forward = ["1 2 0\n0 1 3\n2 0 1", " 2 4\n-2 2", "2 4\n0 2", "4"]
    backward = [" 2 -2  0\n-2 10 -2\n 0 -6  6", "2 -2\n0  6", "2 -2\n4  6", "2"]
    for i, text in enumerate(nodes):
        node(axes, 2 * i, 0, text, "#CFE8F7" if 0 < i < 4 else "white")
    for i, (value, gradient) in enumerate(zip(forward, backward, strict=True)):
        arrow(axes, (2 * i + 0.25, 0.12), (2 * i + 1.75, 0.12), colour=COLOURS[0])
        arrow(axes, (2 * i + 1.75, -0.12), (2 * i + 0.25, -0.12), colour=COLOURS[1])
        style = {"ha": "center", "family": "monospace", "fontsize": 9}
        axes.text(2 * i + 1, 0.28, value, va="bottom", color=COLOURS[0], **style)
        axes.text(2 * i + 1, -0.3, gradient, va="top", color=COLOURS[1], **style)
    axes.text(8.45, 0, "(4 - 3)² = 1", va="center", fontsize=9)
    axes.set(xlim=(-0.5, 9.6), ylim=(-1.25, 1.25))
    axes.axis("off")
    return figure


def field() -> Figure:
    """What one number of conv3 depends on, layer by layer down to the image's 18 pixels."""
    steps = [("conv3: 3, stride 1", 1), ("pool2: 2, stride 2", 3), ("conv2: 3, stride 1", 6),
             ("pool1: 2, stride 2", 8), ("conv1: 3, stride 1", 16), ("image", 18)]  # fmt: skip
    jump = [4, 4, 2, 2, 1, 1]
    figure = Figure(figsize=(7.6, 3), layout="constrained")
    axes = figure.subplots()
    for i, ((name, seen), step) in enumerate(zip(steps, jump, strict=True)):
        at = (np.arange(-12, 13) + 0.5 * (seen % 2 == 0)) * step  # in pixels
        at = at[np.abs(at) < 12.6]
        inside = np.abs(at) < seen * step / 2
        axes.plot(at[~inside], np.full((~inside).sum(), -i), "s", color="#CCCCCC", markersize=7)
        axes.plot(at[inside], np.full(seen, -i), "s", color=COLOURS[0], markersize=7)
        axes.text(-13.5, -i, name, ha="right", va="center", fontsize=9)
        axes.text(13.5, -i, f"{seen} numbers" if i else "1 number", va="center", fontsize=9)
        if i:
            below, above = at[inside], np.array([-1, 1]) * (steps[i - 1][1] - 1) / 2 * jump[i - 1]
            axes.plot([above[0], below[0]], [1 - i, -i], [above[1], below[-1]], [1 - i, -i],
                      color=COLOURS[1], lw=1, zorder=0)  # fmt: skip
    axes.set(xlim=(-12.8, 12.8), ylim=(-5.5, 0.5))
    axes.axis("off")
    return figure


def budget() -> Figure:
    """Where VGG-16 has its parameters, and where its work."""
    rows = models.vgg16(init=nn.init.zeros()).summary((3, 224, 224)).rows
    rows = [row for row in rows if row.parameters]
    figure = Figure(figsize=(7.6, 2.8), layout="constrained")
    for axes, what, unit in zip(
        figure.subplots(1, 2), ("parameters", "multiply_adds"), (1e6, 1e9), strict=True
    ):
        numbers = [getattr(row, what) / unit for row in rows]
        kinds = [COLOURS[row.kind == "Linear"] for row in rows]
        axes.bar(range(len(rows)), numbers, color=kinds)
        axes.set_xticks(range(len(rows)), [row.name for row in rows], rotation=90, fontsize=8)
        axes.set_title(f"{what.replace('_', '-')}, {'10⁶' if unit == 1e6 else '10⁹'}", fontsize=10)
    return figure


def connections() -> Figure:
    """Six numbers to four: a weight for each pair, or three weights that all places share."""
    figure = Figure(figsize=(7.6, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = "fully connected: 24 weights", "kernel of 3: 3 weights"
    for axes, title in zip((left, right), names, strict=True):
        for i, o in np.ndindex(6, 4):
            tap = i - o
            if axes is left or 0 <= tap < 3:
                colour = "#888888" if axes is left else COLOURS[tap]
                axes.plot([i, o + 1], [0, 1.6], color=colour, lw=1 if axes is left else 2, zorder=1)
        for n, first, height in (6, 0, 0), (4, 1, 1.6):
            at = np.arange(first, first + n)
            axes.plot(at, np.full(n, height), "o", markersize=13, color="#CFE8F7",
                      markeredgecolor="#555555", zorder=2)  # fmt: skip
        axes.set(xlim=(-0.5, 5.5), ylim=(-0.35, 1.95))
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    return figure


def together() -> Figure:
    """Which numbers one number is normalised with: rows are pixels of two images."""
    figure = Figure(figsize=(7.6, 3.1), layout="constrained")
    style = {"va": "center", "fontsize": 9}
    for right, axes in enumerate(figure.subplots(1, 2)):
        for i, j in np.ndindex(8, 9):
            used = j == 4 if right else i == 2 and 2 <= j <= 6
            colour = COLOURS[5] if (i, j) == (2, 4) else COLOURS[4] if used else "white"
            box = {"facecolor": colour, "edgecolor": "#888888"}
            axes.add_patch(_square(j, i + 0.4 * (i > 3), box))
        for i, image in enumerate(("first image", "second image")):
            axes.text(-0.3, 2 + 4.4 * i, f"pixels of the\n{image}", ha="right", **style)
        axes.text(4.5, 8.9, "channels", ha="center", **style)
        name = "batch normalisation" if right else "local response, n = 5"
        axes.text(4.5, -0.6, name, ha="center", va="center", fontsize=10)
        axes.set(xlim=(-3.8, 9.1), ylim=(9.4, -1.1), aspect="equal")
        axes.axis("off")
    return figure


def draw() -> dict[str, Figure]:
    """All pictures by their names."""
    train, test = data.mnist(subset=True)
    x = test[DIGIT : DIGIT + 1].x
    return {
        "convolution": convolution(), "kernels": kernels(x), "pooling": pooling(x),
        "size": size(), "dilation": dilation(), "transposed": transposed(), "blocks": blocks(),
        "backpropagation": backpropagation(), "activations": activations(), "focal": focal(),
        "optimizers": optimizers(), "schedules": rates(), "overfitting": overfitting(train),
        "augmentation": augmentation(x), "field": field(), "budget": budget(),
        "connections": connections(), "together": together(),
    }  # fmt: skip


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, figure in draw().items():
        viz.save_png(figure, PICTURES / f"{name}.png", dpi=90)
