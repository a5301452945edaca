"""A rare class: cross-entropy, class weights, and the focal loss.

LeNet-5 learns ten digits, but sees only 45 eights beside 1,000 of each other digit (0.5 %). Focal
loss, (1 - p)^gamma times cross-entropy, counts what is already right with probability p for little,
so that the many easy examples do not drown the few hard ones. Class weights count every eight for
more. What to look at: how many of the test eights are found (recall), how many of the answers "8"
are right (precision), F1 of both, and what it costs the other digits.
"""

import numpy as np
from common import Example, run

from fastcnn import data, metrics, models, nn, optim, training, viz

RARE = 8


def imbalanced(train, common: int, rare: int, seed: int):
    """So many digits of each class, of the rare one so few."""
    rng = np.random.default_rng(seed)
    rows = [
        rng.choice(np.flatnonzero(train.y == c), rare if c == RARE else common, replace=False)
        for c in range(10)
    ]
    return data.Subset(train, np.concatenate(rows))


def answers(loss, train, test, epochs: int, seed: int):
    """What LeNet-5 says to the test digits after training with a loss."""
    net = models.lenet5(seed=seed)
    adam = optim.Adam(net.parameters(), lr=0.001)
    trainer = training.Trainer(net, loss, adam, seed=seed)
    trainer.fit(train, epochs=epochs, batch_size=100, progress=False)
    return trainer.predict(test.x).argmax(1)


def main(example: Example) -> None:
    """Each loss with several seeds, which also choose the digits."""
    train, test = example.mnist()
    common, rare, epochs, runs = (400, 40, 2, 2) if example.quick else (1000, 45, 10, 5)
    weight = np.where(np.arange(10) == RARE, common / rare, 1)  # all classes count alike
    losses = {
        "cross-entropy": nn.CrossEntropyLoss(),
        "focal, gamma 2": nn.FocalLoss(gamma=2),
        "focal, gamma 5": nn.FocalLoss(gamma=5),
        "cross-entropy, class weights": nn.CrossEntropyLoss(weight=weight),
        "focal, gamma 2, class weights": nn.FocalLoss(gamma=2, alpha=weight),
    }
    recalls, precisions, rows = {}, {}, []
    for name, loss in losses.items():
        recalls[name], precisions[name], rare_f1, accuracy = [], [], [], []
        for seed in range(example.seed, example.seed + runs):
            digits = imbalanced(train, common, rare, seed)
            said = answers(loss, digits, test, epochs, seed)
            recalls[name].append(metrics.recall(test.y, said, average=None))
            precisions[name].append(metrics.precision(test.y, said, average=None)[RARE])
            rare_f1.append(metrics.f1_score(test.y, said, average=None)[RARE])
            accuracy.append(metrics.accuracy(test.y, said))
        found = [recall[RARE] for recall in recalls[name]]
        of_others = [np.delete(recall, RARE).mean() for recall in recalls[name]]
        columns = (found, precisions[name], rare_f1, of_others, accuracy)
        rows.append((name, *(f"{np.mean(c):.3f} ± {np.std(c):.3f}" for c in columns)))

    example.say(f"\n{9 * common:,} digits and {rare} eights for training, {epochs} epochs;")
    example.say(f"{len(test):,} test digits; mean and standard deviation of {runs} seeds:")
    example.say()
    header = ("loss", "recall of 8", "precision of 8", "F1 of 8", "recall of others", "accuracy")
    example.table(header, rows)

    few = [name for name in losses if "gamma 5" not in name]
    figure = viz.curves(
        {name: recalls[name] for name in few}, x=range(10), xlabel="digit", ylabel="recall"
    )
    figure.axes[0].set_xticks(range(10))
    example.figure(figure, "recall")


if __name__ == "__main__":
    run(main, __doc__)
