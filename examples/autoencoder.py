"""An autoencoder learns to tell a digit in 32 numbers, from images alone, without a label.

What to look at:

- Digits through the code and back: what is kept, and what an average of pixels (PCA with as many
  numbers) keeps.
- The code as features: a linear classifier on 32 numbers, beside one on 32 of PCA and on all 784
  pixels, with few and with many labels.
- A code of two numbers is a map of the digits, though nobody told the net which is which: some
  classes have a region of their own, others share one.
"""

import numpy as np
from common import Example, run

from fastcnn import models, nn, optim, training, viz

CODE = 32


def train(net, loss, x, y, epochs, rate, seed):
    """Adam, its rate along half a cosine."""
    trainer = training.Trainer(
        net, loss, optim.Adam(net.parameters(), lr=rate), seed=seed,
        schedule=training.schedules.cosine,
    )  # fmt: skip
    trainer.fit((x, y), epochs=epochs, batch_size=64)
    return trainer


def pca(x, n):
    """The n directions in which the images differ most, as functions to a code and back."""
    flat = x.reshape(len(x), -1)
    mean = flat.mean(axis=0)
    directions = np.linalg.eigh(np.cov(flat[:10_000], rowvar=False))[1][:, -n:].astype(x.dtype)
    return (
        lambda images: (images.reshape(len(images), -1) - mean) @ directions,
        lambda code: (code @ directions.T + mean).reshape(-1, *x.shape[1:]),
    )


def linear_accuracy(encode, train_set, test_set, seed):
    """Test accuracy of a linear classifier on encoded images, each number scaled alike."""
    codes, test_codes = encode(train_set.x), encode(test_set.x)
    mean, deviation = codes.mean(axis=0), codes.std(axis=0) + np.float32(0.01)
    net = nn.Linear(codes.shape[1], 10, init=nn.init.zeros())
    epochs = max(5, 20_000 // len(codes))
    loss = nn.CrossEntropyLoss()
    trainer = train(net, loss, (codes - mean) / deviation, train_set.y, epochs, 0.005, seed)
    return trainer.evaluate(((test_codes - mean) / deviation, test_set.y)).accuracy


def draw_map(encode, decode, digits):
    """Where a net with a code of two numbers puts digits; and what it makes of the places."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    points = encode(digits.x)
    dots = left.scatter(*points.T, s=6, c=digits.y, cmap="tab10")
    left.legend(*dots.legend_elements(), fontsize=8, frameon=False, handletextpad=0,
                loc="center left", bbox_to_anchor=(1, 0.5))  # fmt: skip
    left.set(xlabel="first number of the code", ylabel="second", title="test digits")
    low, high = np.quantile(points, [0.02, 0.98], axis=0)
    first, second = np.linspace(low, high, 8, dtype=points.dtype).T
    places = np.array([(a, b) for b in second[::-1] for a in first])
    tiles = decode(places).reshape(8, 8, 28, 28).swapaxes(1, 2).reshape(224, 224)
    right.imshow(tiles, cmap="gray", extent=(low[0], high[0], low[1], high[1]),
                 aspect="auto", interpolation="nearest")  # fmt: skip
    right.set(xlabel="first number of the code", title="decoded from each place")
    return figure


def main(example: Example) -> None:
    digits, test = example.mnist()
    epochs, labels = 10, (100, 1000, len(digits))
    if example.quick:
        digits, epochs, labels = digits[:1000], 1, (100, 1000)

    net = models.autoencoder(CODE, seed=example.seed)
    history = train(net, nn.MSELoss(), digits.x, digits.x, epochs, 0.002, example.seed).history
    example.say(
        f"autoencoder: {net.num_parameters():,} parameters, {epochs} epochs in "
        f"{sum(history.seconds):.0f} s"
    )
    example.say(f"a digit is {28 * 28} numbers, its code {CODE}: {28 * 28 / CODE:.1f} to 1")
    example.say()

    to_pca, from_pca = pca(digits.x, CODE)
    restored = {"autoencoder": net(test.x), "PCA": from_pca(to_pca(test.x))}
    errors = [(name, f"{np.mean((y - test.x) ** 2):.4f}") for name, y in restored.items()]
    errors.append(("the mean digit", f"{np.mean((digits.x.mean(axis=0) - test.x) ** 2):.4f}"))
    example.table((f"{CODE} numbers by", "mean squared error on test digits"), errors)
    example.say()
    rows = {"digit": test.x, **restored}
    example.figure(viz.images({name: x[:12] for name, x in rows.items()}), "reconstructions")

    encoders = {f"code, {CODE} numbers": net["encoder"], f"PCA, {CODE} numbers": to_pca,
                "pixels, 784 numbers": nn.Flatten()}  # fmt: skip
    example.say("Test accuracy of a linear classifier on")
    example.table(
        ("features", *(f"{n:,} labels" for n in labels)),
        [(name, *(linear_accuracy(encode, digits[:n], test, example.seed) for n in labels))
         for name, encode in encoders.items()],
    )  # fmt: skip

    flat = models.autoencoder(2, seed=example.seed)
    train(flat, nn.MSELoss(), digits.x, digits.x, epochs, 0.002, example.seed)
    example.figure(draw_map(flat["encoder"], flat["decoder"], test[:500]), "map")


if __name__ == "__main__":
    run(main, __doc__)
