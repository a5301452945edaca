"""Overfitting and its cures: 20, 30, 50 and 100 digits to learn from.

LeNet-5 has 61,706 parameters and is given 2, 3, 5 or 10 digits of each class (20 to 100 in all). It
knows them by heart after some epochs; what it gets right of 10,000 others is another matter. Each
cure is tried alone: dropout before the affine layers, weight decay, early stopping, and
augmentation, in which every epoch sees the digits turned, moved and scaled a little; then all but
early stopping together. Early stopping needs digits to judge by: a fifth of the few, or 500 others.
And the best cure of all: more digits.
"""

import numpy as np
from common import Example, run

from fastcnn import data, models, nn, optim, training, viz
from fastcnn.data import augment

CHANGES = augment.RandomAffine(15, translate=(0.1, 0.1), scale=(0.85, 1.15))


def lenet5(dropout: float, seed: int):
    """LeNet-5, with dropout before its three affine layers if that is more than 0."""
    layers = {}
    for name, node in models.lenet5(seed=seed).nodes.items():
        if dropout and name.startswith("fc"):
            layers[f"drop_{name}"] = nn.Dropout(dropout, seed=seed)
        layers[name] = node.layer
    return nn.Sequential(layers)


def few(train, per_class: int, seed: int):
    """So many digits of each class, chosen at random, and 500 others for validation."""
    order = np.random.default_rng(seed).permutation(len(train))
    rows = [order[train.y[order] == c][:per_class] for c in range(10)]
    return data.Subset(train, np.concatenate(rows)), data.Subset(train, order[-500:])


def fit(cure: str, digits, validation, epochs: int, seed: int):
    """A trainer that has learned the digits with a cure."""
    net = lenet5(0.5 if "dropout" in cure else 0.0, seed)
    decay = 1.0 if "decay" in cure else 0.0  # a thousandth of each weight a step: 1.0 * the rate
    optimizer = optim.AdamW(net.parameters(), lr=0.001, weight_decay=decay)
    trainer = training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=seed)
    trainer.fit(
        digits, epochs=epochs, batch_size=10, progress=False, validation=validation,
        callbacks=[training.EarlyStopping(patience=20)] if cure in STOPPING else [],
        augment=CHANGES if "augmentation" in cure else None,
    )  # fmt: skip
    return trainer


STOPPING = ("early stopping on a fifth", "early stopping on 500 others")
CURES = (
    "none", "dropout", "weight decay", *STOPPING, "augmentation", "dropout, decay, augmentation",
)  # fmt: skip


def main(example: Example) -> None:
    """Every cure with every number of digits, by several seeds, which also choose the digits."""
    train, test = example.mnist()
    steps, seeds = (50, 2) if example.quick else (2000, 5)
    sizes = (2, 10) if example.quick else (2, 3, 5, 10)  # of each class: batches of 10 in an epoch
    results = {cure: np.empty((seeds, len(sizes), 3)) for cure in CURES}
    for cure, result in results.items():
        for seed in range(seeds):
            for i, per_class in enumerate(sizes):
                digits, others = few(train, per_class, example.seed + seed)
                validation = {STOPPING[0]: 0.2, STOPPING[1]: others}.get(cure)
                trainer = fit(cure, digits, validation, steps // per_class, example.seed + seed)
                on_test = trainer.evaluate(test)
                known = trainer.evaluate(digits).accuracy
                result[seed, i] = known, on_test.accuracy, on_test.loss

    header = ("cure", *(str(10 * per_class) for per_class in sizes))
    example.say(f"\nAccuracy on the training digits, and on {len(test):,} others, after {steps:,}")
    example.say(f"steps, mean ± standard deviation of {seeds} seeds, by training digits in all:\n")
    rows = []
    for cure, result in results.items():
        mean, spread = result.mean(axis=0), result.std(axis=0)[:, 1]
        cells = [f"{m[0]:.2f}  {m[1]:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True)]
        rows.append((cure, *cells))
    example.table(header, rows)
    example.say(f"\nLoss on the {len(test):,} others, mean of the seeds:\n")
    rows = [(cure, *result[:, :, 2].mean(axis=0)) for cure, result in results.items()]
    example.table(header, rows)
    lines = {cure: result[:, :, 1] for cure, result in results.items()}
    totals = [10 * per_class for per_class in sizes]
    figure = viz.curves(lines, x=totals, xlabel="training digits", ylabel="test accuracy")
    example.figure(figure, "cures")

    digits, others = few(train, sizes[-1], example.seed)
    losses = {}
    for cure in CURES:
        if cure != STOPPING[0]:
            history = fit(cure, digits, others, steps // sizes[-1], example.seed).history
            losses[cure] = history.validation_loss
            if cure == "none":
                losses["none, loss on the training digits"] = history.train_loss
    title = f"loss on {len(others)} other digits, {len(digits)} digits for training"
    figure = viz.curves(losses, ylabel="loss", title=title)
    axes, stop = figure.axes[0], np.argmin(losses[STOPPING[1]])
    best = losses[STOPPING[1]][stop]
    axes.plot(stop + 1, best, "k*", markersize=12, label="early stopping keeps these weights")
    axes.legend(fontsize=9)
    example.figure(figure, "loss")


if __name__ == "__main__":
    run(main, __doc__)
