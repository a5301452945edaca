"""What the examples share: their options, and one folder for what they print and draw.

An example is a function that is given an `Example`; it prints through it, so that the page of the
documentation shows exactly what a run said::

    from common import Example, run

    def main(example: Example) -> None:
        epochs = 1 if example.quick else 20
        example.say(f"{epochs} epochs")

    if __name__ == "__main__":
        run(main, __doc__)

``python examples/NAME.py`` writes docs/examples/NAME/output.txt and its pictures; ``--quick`` runs
a shortened form, as the tests do, and ``--output FOLDER`` writes elsewhere.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fastcnn
from fastcnn import data, viz

ROOT = Path(__file__).resolve().parent.parent


class Example:
    """One run: its options, what it said so far, and the folder for its pictures."""

    def __init__(self, folder: Path, quick: bool, seed: int) -> None:
        self.folder, self.quick, self.seed = folder, quick, seed
        self.lines: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)

    def say(self, text: Any = "") -> None:
        """Print a line, and keep it for output.txt."""
        print(text, flush=True)
        self.lines.append(str(text).rstrip())

    def table(self, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print a table: text to the left, numbers to the right, floats with three digits."""
        texts = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
        for row in [[*header], ["-" * width for width in widths], *texts]:
            cells = [
                cell.ljust(width) if i == 0 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            self.say("  ".join(cells))

    def mnist(self) -> tuple[data.Dataset, data.Dataset]:
        """MNIST's training and test digits; in the shortened form those that come with fastcnn."""
        if self.quick:
            return data.mnist(subset=True)
        train, test = data.mnist()
        self.say(f"MNIST: {len(train):,} digits for training, {len(test):,} for test")
        return train, test

    def cifar10(self) -> tuple[data.Dataset, data.Dataset]:
        """CIFAR-10; in the shortened form digits of the same size and number of channels."""
        if self.quick:
            around = ((0, 0), (0, 0), (2, 2), (2, 2))
            train, test = [
                data.ArrayDataset(np.pad(d.x, around).repeat(3, axis=1), d.y, classes=d.classes)
                for d in self.mnist()
            ]
            return train, test
        train, test = data.cifar10()
        self.say(f"CIFAR-10: {len(train):,} images for training, {len(test):,} for test")
        return train, test

    def figure(self, figure: Any, name: str) -> None:
        """Write a matplotlib figure as NAME.png beside the output."""
        viz.save_png(figure, self.folder / f"{name}.png", dpi=90)


def run(main: Callable[[Example], None], description: str | None) -> None:
    """Parse the command line, run the example, and write what it said."""
    name = Path(sys.argv[0]).stem
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a shortened form, for tests")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "examples" / name,
                        help="folder for the text and the pictures")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of weights, order and samples")
    parser.add_argument("--threads", type=int, help="threads of the kernels (default: all)")
    options = parser.parse_args()
    if options.threads is not None:
        fastcnn.set_num_threads(options.threads)
    example = Example(options.output, options.quick, options.seed)
    start = time.perf_counter()
    main(example)
    example.say()
    threads = fastcnn.get_num_threads()
    example.say(f"{time.perf_counter() - start:.0f} s on {threads} thread{'s' * (threads > 1)}")
    (options.output / "output.txt").write_text("\n".join(example.lines) + "\n")
