"""Transfer learning: what a net learned of five classes helps with five others.

LeNet-5 learns the digits 0 to 4; its convolutions (the base) with a new linear layer (the head)
then learn 5 to 9 from 10, 50 or 200 images a class; and a small net does so with the classes of
CIFAR-10. What to look at: how much better this does than the same layers from scratch, how it fades
with more images, and which way is better when. The ways are

- frozen: the base stays as it is, so its features are computed once, for the head;
- fine-tuned: the frozen way first, then all layers together, the base at a quarter of the rate;
- from scratch: the same base and head with random weights.
"""

import copy

import numpy as np
from common import Example, run

from fastcnn import data, models, nn, optim, training, viz

SHOTS = (10, 50, 200)


def classes_of(dataset, classes):
    """The images of these classes, labelled 0, 1, ..."""
    rows = np.flatnonzero(np.isin(dataset.y, classes))
    x, y = dataset.batch(rows)
    return data.ArrayDataset(x, np.searchsorted(classes, y))


def few(dataset, shots, rng):
    """So many images of each class, drawn at random."""
    rows = [rng.permutation(np.flatnonzero(dataset.y == c))[:shots] for c in range(5)]
    return data.ArrayDataset(*dataset.batch(np.concatenate(rows)))


def train(net, dataset, steps, groups=None, rate=0.002, seed=0):
    """About so many steps of Adam, the rate along half a cosine."""
    optimizer = optim.Adam(groups or net.parameters(), lr=rate)
    trainer = training.Trainer(
        net, nn.CrossEntropyLoss(), optimizer, seed=seed, schedule=training.schedules.cosine
    )
    trainer.fit(dataset, epochs=max(1, 32 * steps // len(dataset)), batch_size=32)
    return trainer


def ways(base, build, dataset, test, steps, seed):
    """Test accuracies of the three ways to learn a few images."""
    known = training.features(base, dataset, "flat")
    width = known.x.shape[1]
    fresh = {"base": build(seed).until("flat"), "head": nn.Linear(width, 5, seed=seed)}
    scratch = train(nn.Sequential(fresh), dataset, steps, seed=seed)

    head = nn.Linear(width, 5, init=nn.init.zeros())
    train(head, known, steps, seed=seed)
    net = nn.Sequential({"base": copy.deepcopy(base.until("flat")), "head": head})
    frozen = training.Trainer(net, nn.CrossEntropyLoss(), optim.Adam(net.parameters()))
    on_frozen = frozen.evaluate(test).accuracy

    tuned = train(net, dataset, steps, net.parameter_groups({"base": 0.0005}), seed=seed)
    return {"from scratch": scratch.evaluate(test).accuracy, "frozen": on_frozen,
            "fine-tuned": tuned.evaluate(test).accuracy}  # fmt: skip


def small_net(seed):
    """Three convolutions of 3x3 with batch norm and pools, for images of 32x32."""
    rng = np.random.default_rng(seed)
    layers, c = {}, 3
    for i, width in enumerate((32, 64, 128), 1):
        layers[f"conv{i}"] = nn.Conv2d(c, width, 3, padding=1, bias=False, seed=rng)
        layers[f"conv{i}_bn"] = nn.BatchNorm2d(width)
        layers[f"relu{i}"] = nn.ReLU()
        layers[f"pool{i}"] = nn.MaxPool2d(2) if i < 3 else nn.GlobalAvgPool2d()
        c = width
    return nn.Sequential({**layers, "flat": nn.Flatten(), "fc": nn.Linear(c, 5, seed=rng)})


def lenet(seed):
    """LeNet-5 for five classes."""
    return models.lenet5(seed=seed).replace("fc3", nn.Linear(84, 5, seed=seed))


def compare(example, name, build, train_set, test, epochs):
    """Train on the first five classes, then learn the others in all ways from a few images."""
    shots, seeds, steps = (SHOTS, 3, 200) if not example.quick else ((10, 50), 2, 10)
    first, others = np.arange(5), np.arange(5, 10)
    base = build(example.seed)
    known = classes_of(train_set, first)
    trainer = train(base, known, epochs * len(known) // 32, seed=example.seed)
    on_known = trainer.evaluate(classes_of(test, first)).accuracy
    example.say(f"{name}: {on_known:.3f} right of the first five classes")
    train_set, test = classes_of(train_set, others), classes_of(test, others)
    results = {"from scratch": [], "frozen": [], "fine-tuned": []}
    for seed in range(seeds):
        runs = [ways(base, build, few(train_set, n, np.random.default_rng([seed, n])), test,
                     steps, seed) for n in shots]  # fmt: skip
        for way, values in results.items():
            values.append([found[way] for found in runs])
    example.say(f"the others, test accuracy (mean of {seeds} draws of images and weights):")
    rows = [(n, *(float(np.mean(v, axis=0)[i]) for v in results.values()))
            for i, n in enumerate(shots)]  # fmt: skip
    example.table(("images a class", *results), rows)
    figure = viz.curves(results, x=shots, xlabel="images a class", ylabel="test accuracy",
                        title=name)  # fmt: skip
    figure.axes[0].set_xscale("log")
    figure.axes[0].set_xticks(shots, shots)
    example.figure(figure, name.split()[0].lower())


def main(example: Example) -> None:
    compare(example, "Digits with LeNet-5", lenet, *example.mnist(), 3)
    example.say()
    train_set, test = example.cifar10()
    if example.quick:
        train_set, test = train_set[:600], test[:300]
    compare(example, "CIFAR-10 with a small net", small_net, train_set, test, 6)


if __name__ == "__main__":
    run(main, __doc__)
