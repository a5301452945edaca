"""ResNet-20 on CIFAR-10 in a quarter of an hour, and why it has shortcuts.

What to look at:

- ResNet-20 with random crops and flips, SGD with momentum and a one-cycle rate: more than four of
  five pictures right after ten epochs; which classes it takes for each other. Beside it the
  plain net, which is the same without its shortcuts.
- The first steps of nets with 20 and 56 layers, with shortcuts and without: the deeper plain net
  starts more slowly on its very training images, the residual one does not.
"""

from common import Example, run

from fastcnn import metrics, models, nn, optim, training, viz
from fastcnn.data import augment

CROP_AND_FLIP = augment.Compose([augment.RandomCrop(32, padding=4), augment.RandomHorizontalFlip()])


def trainer_of(net, rate, schedule, seed):
    """SGD as the paper has it, with the weight decay that short runs like."""
    optimizer = optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    return training.Trainer(net, nn.CrossEntropyLoss(), optimizer, seed=seed, schedule=schedule)


def first_steps(net, train, steps, seed):
    """The loss on training images, ten means over a tenth of the steps, at a small rate."""
    trainer = trainer_of(net, 0.01, training.schedules.constant, seed)
    n = min(128 * steps, len(train)) // 10
    parts = [train[i : i + n] for i in range(0, 10 * n, n)]
    return [trainer.fit(part, epochs=1, batch_size=128).train_loss[0] for part in parts]


def main(example: Example) -> None:
    train, test = example.cifar10()
    epochs, steps, depths = 10, 100, (20, 56)
    if example.quick:
        train, test, epochs, steps, depths = train[:640], test[:100], 1, 10, (20,)

    rows, curves, tested = [], {}, {}
    for name, residual in (("ResNet-20", True), ("plain", False)):
        net = models.resnet20(residual=residual, seed=example.seed)
        trainer = trainer_of(net, 0.1, training.schedules.one_cycle(), example.seed)
        history = trainer.fit(
            train, epochs=epochs, batch_size=128, validation=0.05, augment=CROP_AND_FLIP
        )
        tested[name] = trainer.predict(test.x)
        accuracy = metrics.accuracy(test.y, tested[name])
        rows.append((name, accuracy, history.train_accuracy[-1], f"{sum(history.seconds):.0f}"))
        curves[f"{name}, training"] = history.train_accuracy
        curves[f"{name}, validation"] = history.validation_accuracy
    example.say(f"{net.num_parameters():,} parameters each, {epochs} epochs")
    example.table(("net of 20 layers", "test accuracy", "training accuracy", "seconds"), rows)
    example.say()
    example.figure(viz.curves(curves), "accuracy")
    confusion = viz.confusion_matrix(test.y, tested["ResNet-20"], classes=test.classes)
    example.figure(confusion, "confusion")

    losses = {}
    for depth in depths:
        for kind, residual in (("residual", True), ("plain", False)):
            net = models.create(f"resnet{depth}", residual=residual, seed=example.seed)
            losses[f"{depth} layers, {kind}"] = first_steps(net, train, steps, example.seed)
    example.say(f"training loss, mean over the last tenth of {steps} steps")
    example.table(("net", "loss"), [(name, values[-1]) for name, values in losses.items()])
    at = range(steps // 10, steps + 1, steps // 10)
    example.figure(viz.curves(losses, x=at, xlabel="steps", ylabel="training loss"), "depth")


if __name__ == "__main__":
    run(main, __doc__)
