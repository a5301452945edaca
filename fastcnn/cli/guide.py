"""What ``fastcnn train --help`` says around its options: nets, schedules, files, examples.

The lists are those that the command itself reads, so they cannot fall behind it.
"""

import argparse
import textwrap

from .rates import SCHEDULES
from .recipes import RECIPES, TAUGHT, Task

WIDTH = 80
WEIGHTS, CHECKPOINT, HISTORY = "weights.safetensors", "checkpoint.safetensors", "history.json"

USAGE = "fastcnn train [--model MODEL] [--data DATA] [option ...]"

ABOUT = """\
Train a model, and test it. A model and data are enough: the loss, the learning
rate and the size of the images are those of the model unless you say otherwise."""

EXAMPLES = {
    "LeNet-5 on the 5,000 digits that come with fastcnn, in seconds": "fastcnn train --subset",
    "all of MNIST; then use the net":
        "fastcnn train --model lenet5 --data mnist --epochs 10 --output runs/lenet5\n"
        "fastcnn predict --weights runs/lenet5/weights.safetensors --invert photo.png",
    "the lectures' program: plain Adam at 0.001":
        "fastcnn train --model simple_convnet-lecture --subset --epochs 20 \\\n"
        "    --batch-size 100 --optimizer adam --lr 0.001 --weight-decay 0 \\\n"
        "    --schedule constant",
    "ResNet-20 on CIFAR-10, its images moved and mirrored at random":
        "fastcnn train --model resnet20 --data cifar10 --augment crop flip",
    "pictures of your own, a folder for each class; 5 epochs more":
        "fastcnn train --model vgg11 --data my/pictures --size 64 --validation 0.1\n"
        "fastcnn train --resume --epochs 15",
    "the class of each pixel (minutes an epoch); the images themselves":
        "fastcnn train --model fcn8s --data mnist --subset --epochs 1\n"
        "fastcnn train --model autoencoder --data fashion_mnist",
}  # fmt: skip

_TASKS: dict[Task, str] = {
    "classify": "told the class of an image, they learn to tell it",
    **{task: text for task, text in TAUGHT.items()},
}

_FILES = {
    WEIGHTS: "the trained weights; of nets that classify, for `fastcnn predict`",
    CHECKPOINT: "the whole run after its last epoch, for --resume",
    HISTORY: "losses, accuracies, learning rate and seconds of each epoch",
    "curves.png": "the same, drawn",
    "filters.png": "the first filters before and after, of a net that has some",
    "confusion.png": "which classes were taken for which (up to 30 classes)",
    "images.png": "test images with what the net makes of them (segment, autoencode)",
}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Says the default of an option that has one; `defaults` has those that are set later."""

    defaults: dict[str, object] = {}  # noqa: RUF012 - set by a subclass

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = self.defaults.get(action.dest) if action.default is None else action.default
        if action.option_strings and default not in (None, False, [], argparse.SUPPRESS):
            return f"{action.help} (default: {default})"
        return action.help


def epilog() -> str:
    """The text below the options of ``train``."""
    return "\n\n".join([
        f"models (`fastcnn models` has their sizes and learning rates):\n{_models()}",
        f"limits:\n{_limits()}",
        f"schedules of the learning rate:\n{_pairs({k: v.about for k, v in SCHEDULES.items()})}",
        f"written to the folder of --output (pictures if matplotlib is there):\n{_pairs(_FILES)}",
        f"examples:\n{_examples()}",
    ])  # fmt: skip


def _models() -> str:
    """The names by task, each task with what it is."""
    lines = []
    for task, text in _TASKS.items():
        names = ", ".join(name for name, recipe in RECIPES.items() if recipe.task == task)
        lines += [_fill(f"{task}: {text}", 2), _fill(names, 6, 6)]
    return "\n".join(lines)


def _limits() -> str:
    lines = [f"{name}: {recipe.limit}" for name, recipe in RECIPES.items() if recipe.limit]
    lines += [
        "the others: any number of classes; images smaller than a net takes are enlarged",
        "memory: `fastcnn summary --model MODEL --batch-size N` tells it before you train",
    ]
    return "\n".join(_fill(line, 2) for line in lines)


def _examples() -> str:
    return "\n".join(
        f"  # {text}\n{textwrap.indent(command, '  ')}" for text, command in EXAMPLES.items()
    )


def _pairs(texts: dict[str, str]) -> str:
    """A table of names and texts."""
    width = max(map(len, texts)) + 4
    return "\n".join(
        _fill(f"  {name}".ljust(width) + text, 0, width) for name, text in texts.items()
    )


def _fill(text: str, indent: int, hang: int | None = None) -> str:
    """Lines of WIDTH at most; those after the first begin at `hang`, or 4 further in."""
    rest = " " * (indent + 4 if hang is None else hang)
    return textwrap.fill(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=rest,
        break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
