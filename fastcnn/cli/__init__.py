"""The ``fastcnn`` command: train, predict, summary, bench, models, info.

Exit codes: 0 done, 1 an error (one line on stderr), 2 wrong usage, 130 ended by Ctrl-C. With
``--json`` stdout holds one JSON value and nothing else; everything for people goes to stderr.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from .. import __version__, _config, data, nn, optim, training
from ..data.images import resize_pictures
from .figures import draw, first_filters, pixel_iou
from .guide import ABOUT, CHECKPOINT, HISTORY, USAGE, WEIGHTS, HelpFormatter, epilog
from .pictures import own_images
from .rates import PLATEAU, SCHEDULES, plateau
from .recipes import AUGMENTATIONS, RECIPES, TAUGHT, Taught, augmentation

DATA = ("mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop")
# The defaults of what makes a run of `train` the run it is, fixed once it has begun; and of all.
RUN_OPTIONS: dict[str, Any] = {
    "model": "lenet5", "data": "mnist", "subset": False, "batch_size": 32, "optimizer": "sgd",
    "lr": None, "momentum": 0.9, "weight_decay": 1e-3, "schedule": "one-cycle", "seed": 0,
    "validation": 0.0, "patience": None, "size": None, "augment": [],
}  # fmt: skip
DEFAULTS: dict[str, Any] = {**RUN_OPTIONS, "epochs": 10}
MOST_PIXELS = 1 << 14  # a side that a weights file may name, and classes
PREDICT_BATCH = 256  # images at a time; no result depends on it, memory does
BENCH_SECONDS = 0.1  # a layer and pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        The exit code.

    Examples
    --------
    >>> main(["summary", "--model", "dmlp"])  # doctest: +ELLIPSIS
    Sequential on 1x28x28, batch of 1
    ...
    0
    """
    options = _parser().parse_args(arguments)
    try:
        if options.threads is not None:
            _config.set_num_threads(options.threads)
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output has gone; so shall we, quietly
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ValueError, OSError, ImportError, MemoryError, FloatingPointError) as error:
        text = " ".join(_message(error).split()) or type(error).__name__
        print(f"fastcnn: error: {text}", file=sys.stderr)
        return 1


def _message(error: Exception) -> str:
    """An error as a person reads it: FILE: No such file or directory; its notes name the layer."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    notes = getattr(error, "__notes__", ())
    return f"{error} ({', '.join(notes)})" if notes else str(error)


# ---- the command line ----


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastcnn", description="A CNN engine for CPUs.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"fastcnn {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(run: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            run.__name__.strip("_"), help=text, description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False, formatter_class=_HelpFormatter,
        )  # fmt: skip
        sub.set_defaults(run=run, wrong=sub.error)
        sub.add_argument("--json", action="store_true", help="print JSON for a script to read")
        sub.add_argument("--threads", type=_positive, help="threads of the kernels (default: all)")
        return sub

    _train_options(command(_train, "train a model, and test it"))
    predict = command(_predict, "classify images with saved weights")
    predict.add_argument("images", nargs="+", help="image, .npy or IDX files")
    predict.add_argument("--weights", required=True, help="weights.safetensors of a training")
    predict.add_argument("--invert", action="store_true", help="the digits are dark on white")
    for run, text in (
        (_summary, "print the layers of a model with their sizes and costs"),
        (_bench, "time the layers of a model, forward and backward"),
    ):
        sub = command(run, text)
        _model_option(sub, "lenet5")
        sub.add_argument("--shape", nargs=3, type=_positive, metavar=("C", "H", "W"),
                         help="of one image (default: as the model was published)")  # fmt: skip
        sub.add_argument("--batch-size", type=_positive, default=1 if run is _summary else 64,
                         help="images at a time")  # fmt: skip
    command(_models, "list the models with their sizes")
    command(_info, "print version, processor tier, threads and data folders")
    return parser


def _model_option(sub: argparse.ArgumentParser, default: str | None = None) -> None:
    sub.add_argument("--model", choices=RECIPES, metavar="MODEL", default=default,
        help="which model; `fastcnn models` lists them")  # fmt: skip


class _HelpFormatter(HelpFormatter):
    defaults = DEFAULTS


def _train_options(sub: argparse.ArgumentParser) -> None:
    """Those of DEFAULTS are None unless given: see `_settle`."""
    sub.usage, sub.description, sub.epilog = USAGE, ABOUT, epilog()
    _model_option(sub)
    _data_options(sub.add_argument_group("data"))
    _method_options(sub.add_argument_group("method"))
    add = sub.add_argument_group("results").add_argument
    add("--output", type=Path, metavar="FOLDER", default=Path("fastcnn-run"),
        help="for the results, see below")  # fmt: skip
    add("--resume", action="store_true", help="go on with the checkpoint in the output folder; "
        "other options are as they were, and more --epochs stretch the schedule, if it does not "
        "count epochs")  # fmt: skip
    add("--checkpoint-every", type=_positive, metavar="STEPS",
        help="save a checkpoint also within epochs")  # fmt: skip


def _data_options(group: Any) -> None:
    add = group.add_argument
    add("--data", type=_data, metavar="DATA",
        help=f"{', '.join(DATA)}, or a folder or zip file of CLASS/IMAGE files, in train/ and "
        "test/ if it has both (else a fifth of them is for the test)")  # fmt: skip
    add(
        "--size",
        type=_positive,
        metavar="N",
        help="resize images to N x N (default: as they are, or the least that the model takes)",
    )
    add("--augment", nargs="+", choices=AUGMENTATIONS, metavar="HOW",
        help=f"change the training images at random: {', '.join(AUGMENTATIONS)}")  # fmt: skip
    add("--data-folder", metavar="FOLDER", help="look for the data here first")
    add("--subset", action="store_true", default=None,
        help="only the 5,000 + 1,000 digits of MNIST that come with fastcnn")  # fmt: skip
    add("--offline", action="store_true", help="download nothing")
    add("--validation", type=_fraction, metavar="FRACTION",
        help="part of the training images to set aside, to measure on each epoch")  # fmt: skip


def _method_options(group: Any) -> None:
    add = group.add_argument
    add("--epochs", type=_positive, metavar="N", help="times to go through the training images")
    add("--batch-size", type=_positive, metavar="N", help="images a step")
    add("--optimizer", choices=OPTIMIZERS, metavar="HOW", help=", ".join(OPTIMIZERS))
    add("--lr", type=_rate, help="learning rate (default: that of the model for sgd, else 0.001)")
    add("--momentum", type=_fraction, metavar="M", help="of sgd")
    add("--weight-decay", type=_rate, metavar="D", help="of the weights, each step")
    add("--schedule", choices=SCHEDULES, metavar="NAME",
        help=f"of the learning rate: {', '.join(SCHEDULES)}; see below")  # fmt: skip
    add("--patience", type=_positive, metavar="EPOCHS",
        help="stop when the --validation loss has not fallen for so long")  # fmt: skip
    add("--seed", type=_natural, help="of weights, order and validation split")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected at least 0, got {number}")
    return number


def _data(text: str) -> str:
    if text not in DATA and not Path(text).exists():
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(DATA)}, or a folder or zip file of images, got {text!r}"
        )
    return text


def _rate(text: str) -> float:
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return number


def _fraction(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 0 and less than 1, got {text}")
    return number


_rate.__name__ = _fraction.__name__ = "number"
_positive.__name__ = _natural.__name__ = "integer"  # for argparse's "invalid integer value"


def _people(options: Any) -> TextIO:
    """Where text for people goes."""
    return sys.stderr if options.json else sys.stdout


def _say(options: Any, *text: object) -> None:
    print(*text, file=_people(options), flush=True)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


# ---- train ----


class _EpochLines(training.Callback):
    """A line an epoch, where no progress bar says it."""

    def __init__(self, out: TextIO, epochs: int) -> None:
        self._out, self._epochs = out, epochs

    def on_epoch_end(self, trainer: training.Trainer) -> None:
        h = trainer.history
        text = f"loss {h.train_loss[-1]:.4f}"
        if h.train_accuracy[-1] == h.train_accuracy[-1]:  # not NaN: the task has classes
            text += f", accuracy {h.train_accuracy[-1]:.4f}"
        if h.validation_loss[-1] == h.validation_loss[-1]:
            text += f"; validation {h.validation_loss[-1]:.4f}"
            if h.validation_accuracy[-1] == h.validation_accuracy[-1]:
                text += f", {h.validation_accuracy[-1]:.4f}"
        text += f"; {h.seconds[-1]:.2f} s"
        print(f"epoch {trainer.epoch}/{self._epochs}: {text}", file=self._out, flush=True)


def _settle(options: Any) -> None:
    """Give the options that were left out the values of the run to resume, or the defaults.

    Raises
    ------
    ValueError
        If there is no checkpoint to resume, or an option contradicts it.
    """
    path = options.output / CHECKPOINT
    kept: Any = {}
    if options.resume:
        if not path.is_file():
            raise ValueError(f"no checkpoint in {options.output}; leave --resume out to start")
        kept = training.load_checkpoint(path).get("notes")
        if not isinstance(kept, dict) or not _is_run(kept):
            raise ValueError(f"{path}: expected a checkpoint that `fastcnn train` wrote")
        for name in RUN_OPTIONS:
            given, had = getattr(options, name), kept[name]
            if given is not None and given != had:
                raise ValueError(
                    f"--{name.replace('_', '-')}: got {given}, but the checkpoint in "
                    f"{options.output} is of a run with {had}; leave the option out, or --resume"
                )
    for name, default in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, kept.get(name, default))
    if options.patience is not None and not options.validation:
        options.wrong("--patience needs --validation, such as --validation 0.1")
    if options.schedule == PLATEAU and not options.validation:
        options.wrong(f"--schedule {PLATEAU} needs --validation, such as --validation 0.1")
    task = RECIPES[options.model].task
    if options.augment and task == "autoencode":
        options.wrong(f"--augment moves images, but not what {options.model} is taught of them")
    if options.lr is None:
        options.lr = RECIPES[options.model].rate if options.optimizer == "sgd" else 0.001


def _is_run(kept: dict[str, Any]) -> bool:
    """True if these are values that options of `train` may have."""
    choices = {"model": RECIPES, "optimizer": OPTIMIZERS, "schedule": SCHEDULES}
    kinds = {**DEFAULTS, "lr": 0.0, "patience": 0, "size": 0}
    return (
        set(kept) == set(DEFAULTS)
        and all(
            type(value) is type(kinds[name]) or (value is None and DEFAULTS[name] is None)
            for name, value in kept.items()
        )
        and all(kept[name] in names for name, names in choices.items())
        and all(how in AUGMENTATIONS for how in kept["augment"])
    )


def _train(options: Any) -> int:
    _settle(options)
    recipe = RECIPES[options.model]
    train, test = _load_data(options)
    train, test, shape = _sized(options, train, test)
    classes = train.classes
    _tell_costs(options, shape, len(classes))
    model = recipe.build(shape, len(classes), seed=options.seed)
    if recipe.task != "classify":
        _say(options, f"{options.model}: {TAUGHT[recipe.task]}\n")
        train, test = Taught(train, recipe.task), Taught(test, recipe.task)
    options.output.mkdir(parents=True, exist_ok=True)
    filters = first_filters(model)
    trainer = training.Trainer(
        model, recipe.loss(), _optimizer(options, model),
        seed=options.seed, schedule=SCHEDULES[options.schedule].schedule(options.epochs),
    )  # fmt: skip
    checkpoint = options.output / CHECKPOINT
    callbacks: list[training.Callback] = [
        training.Checkpoint(
            checkpoint,
            every=options.checkpoint_every,
            notes={name: getattr(options, name) for name in DEFAULTS},
        )
    ]
    if options.schedule == PLATEAU:
        callbacks.append(plateau())
    if options.patience is not None:
        callbacks.append(training.EarlyStopping(patience=options.patience))
    bars = sys.stderr is not None and sys.stderr.isatty()
    if not bars:
        callbacks.append(_EpochLines(_people(options), options.epochs))
    start = time.perf_counter()
    history = trainer.fit(
        train, epochs=options.epochs, batch_size=options.batch_size, progress=bars,
        validation=options.validation or None, callbacks=callbacks,
        augment=augmentation(options.augment, shape[1]),
        resume=checkpoint if options.resume else None,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    meta = {"model": options.model, "classes": list(classes), "shape": list(shape)}
    training.write_safetensors(options.output / WEIGHTS, model.state_dict(), meta)
    text = history.to_json().encode()
    training.atomic_write(options.output / HISTORY, lambda file: file.write(text))
    if history.interrupted:
        _say(options, f"interrupted after {len(history)} epochs; --resume goes on from here")
        return 130
    result = trainer.evaluate(test)
    pictures = draw(options.output, trainer, test, recipe.task, filters)
    written = [WEIGHTS, CHECKPOINT, HISTORY, *pictures]
    _say(options, f"trained in {seconds:.1f} s; wrote to {options.output}: {', '.join(written)}")
    if not pictures:
        _say(options, 'pictures need matplotlib: pip install "fastcnn[viz]"')
    if recipe.task == "classify":
        told, more = f"test accuracy {result.accuracy:.4f}", {"test_accuracy": result.accuracy}
    else:
        told, more = f"test loss {result.loss:.4f}", {}
    if recipe.task == "segment":
        more["mean_iou"] = pixel_iou(trainer, test)
        told += f", mean IoU {more['mean_iou']:.4f}"
    if options.json:
        _print_json({
            **more, "test_loss": result.loss, "seconds": seconds,
            "weights_sha256": training.weights_sha256(model), "data": train.source,
            "output": str(options.output), "history": history.to_dict(),
        })  # fmt: skip
    _say(options, told)
    return 0


def _tell_costs(options: Any, shape: tuple[int, ...], classes: int) -> None:
    """Sizes and memory of a net, before the memory of its weights is taken."""
    bare = RECIPES[options.model].build(shape, classes, init=nn.init.zeros())
    summary = bare.summary(shape, batch_size=options.batch_size)
    states = {"sgd": int(options.momentum > 0), "rmsprop": 1}.get(options.optimizer, 2)
    told = summary.training_bytes(states=states)
    _say(options, f"{summary}\ntraining with {options.optimizer} takes about {told}\n")


def _load_data(options: Any) -> tuple[Any, Any]:
    """Training and test images, having said which they are."""
    root, download = options.data_folder, not options.offline
    if options.subset and options.data != "mnist":
        raise ValueError(f"--subset: only mnist has one, {options.data} has not")
    if options.data not in DATA:
        recipe = RECIPES[options.model]
        train, test = own_images(
            options.data, channels=recipe.channels, size=options.size, seed=options.seed,
            least=2 if recipe.task == "classify" else 1,
        )  # fmt: skip
        text = f"{len(train):,} training and {len(test):,} test images from {options.data}, "
        text += "read in grey" if train[0][0].shape[0] == 1 else "read in colour"
    elif options.data == "mnist" and not options.subset:
        train, test, text = data.mnist_or_subset(root, download=download)
    elif options.data == "mnist":
        train, test = data.mnist(subset=True)
        text = f"MNIST subset, {len(train):,} training and {len(test):,} test images"
    else:
        train, test = getattr(data, options.data)(root, download=download)
        text = f"{options.data} from {train.source}"
    _say(options, f"data: {text}\n")
    return train, test


def _sized(options: Any, train: Any, test: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """The images as the model takes them, and the shape of one."""
    shape = tuple(train[0][0].shape)
    side = options.size or RECIPES[options.model].size_for(max(shape[1:]))
    if shape[1:] != (side, side):
        resize = partial(resize_pictures, size=(side, side))
        train, test = train.with_transform(resize), test.with_transform(resize)
        _say(options, f"images of {shape[1]}x{shape[2]} are resized to {side}x{side}\n")
    return train, test, (shape[0], side, side)


def _optimizer(options: Any, model: nn.Layer) -> Any:
    decay, rate = options.weight_decay, options.lr
    if options.optimizer == "sgd":
        momentum = options.momentum
        return optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
    if options.optimizer == "rmsprop":
        return optim.RMSprop(model.parameters(), lr=rate, weight_decay=decay)
    kind = optim.Adam if options.optimizer == "adam" else optim.AdamW
    return kind(model.parameters(), lr=rate, weight_decay=decay)


# ---- the other commands ----


def _predict(options: Any) -> int:
    arrays, meta = training.read_safetensors(options.weights)
    name = meta.get("model") if isinstance(meta, dict) else None
    shape, names = _noted_images(meta)
    if not isinstance(name, str) or name not in RECIPES or shape is None:
        raise ValueError(f"{options.weights}: does not say which model it is for; expected the "
                         f"{WEIGHTS} that `fastcnn train` writes")  # fmt: skip
    if RECIPES[name].task != "classify":
        raise ValueError(f"{options.weights}: {name} tells no classes")
    model = RECIPES[name].build(shape, len(names) or None, init=nn.init.zeros())
    training.check_arrays(options.weights, arrays, model.state_dict())
    model.load_state_dict(arrays)
    results = []
    for path in options.images:
        x = data.read_images(path, channels=shape[0], size=shape[1:], invert=options.invert)
        batches = (x[i : i + PREDICT_BATCH] for i in range(0, len(x), PREDICT_BATCH))
        for i, scores in enumerate(row for part in batches for row in nn.Softmax()(model(part))):
            best = int(scores.argmax())
            label = names[best] if best < len(names) else str(best)
            results.append({"file": path, "index": i, "class": best, "name": label,
                            "probability": float(scores[best])})  # fmt: skip
    if options.json:
        _print_json(results)
    for r in () if options.json else results:
        print(f"{r['file']}[{r['index']}]: {r['name']} ({100 * r['probability']:.1f} %)")
    return 0


def _noted_images(meta: Any) -> tuple[tuple[int, int, int] | None, list[str]]:
    """The shape of images and the names of classes in a file's notes; no shape if it is none."""
    if not isinstance(meta, dict):
        return None, []
    shape, names = meta.get("shape"), meta.get("classes")
    if not isinstance(shape, list) or len(shape) != 3:
        return None, []
    if not all(type(size) is int and 0 < size <= MOST_PIXELS for size in shape):
        return None, []
    if not isinstance(names, list) or len(names) > MOST_PIXELS:
        names = []
    return (shape[0], shape[1], shape[2]), [str(name) for name in names]


def _summary(options: Any) -> int:
    model, shape = _bare(options)
    summary = model.summary(shape, batch_size=options.batch_size)
    if options.json:
        _print_json({"model": options.model, "parameters": summary.parameters,
                     "multiply_adds": summary.multiply_adds,
                     "training_bytes": summary.training_bytes()._asdict(),
                     "layers": [row._asdict() for row in summary.rows]})  # fmt: skip
    else:
        print(summary)
    return 0


def _bare(options: Any) -> tuple[nn.Graph, tuple[int, ...]]:
    """The model for --shape, without drawing a hundred million weights that nobody looks at."""
    recipe = RECIPES[options.model]
    shape = tuple(options.shape or recipe.shape)
    given = shape if options.shape else None
    return recipe.build(given, init=nn.init.zeros()), shape


def _models(options: Any) -> int:
    rows: list[dict[str, Any]] = []
    for name, recipe in RECIPES.items():
        parameters = recipe.build(init=nn.init.zeros()).num_parameters(trainable=True)
        images = "x".join(str(size) for size in recipe.shape)
        rows.append({"model": name, "parameters": parameters, "images": images, "lr": recipe.rate,
                     "least size": recipe.least, "task": recipe.task})  # fmt: skip
    if options.json:
        _print_json(rows)
        return 0
    print(f"{'model':22} {'parameters':>12}  {'made for':10} {'least':>5}  {'lr':>6}  task")
    for row in rows:
        print(f"{row['model']:22} {row['parameters']:12,}  {row['images']:10} "
              f"{row['least size']:5}  {row['lr']:6g}  {row['task']}")  # fmt: skip
    return 0


def _bench(options: Any) -> int:
    """Times each layer on random input: the least of several rounds, as noise only adds."""
    model, shape = _bare(options)
    rng = np.random.default_rng(0)
    rows = {row.name: row for row in model.summary(shape).rows}
    values = {model.inputs[0]: rng.random((options.batch_size, *shape), np.float32)}
    timings = []
    for name, node in model.nodes.items():
        inputs = tuple(values[source] for source in node.inputs)
        x = inputs if node.layer.takes_many else inputs[0]
        values[name], context = node.layer.forward(x)
        dy = rng.standard_normal(values[name].shape, np.float32)
        forward = _least_seconds(partial(node.layer.forward, x))
        backward = _least_seconds(partial(node.layer.backward, dy, context))
        flops = (
            2
            * sum(
                row.multiply_adds
                for key, row in rows.items()
                if key == name or key.startswith(f"{name}.")
            )
            * options.batch_size
        )
        timings.append({"layer": name, "kind": type(node.layer).__name__,
                        "forward_ms": 1e3 * forward, "backward_ms": 1e3 * backward,
                        "forward_gflops": flops / forward / 1e9,
                        "backward_gflops": 2 * flops / backward / 1e9})  # fmt: skip
    if options.json:
        _print_json({"model": options.model, "batch_size": options.batch_size,
                     "config": _config.config(), "layers": timings})  # fmt: skip
        return 0
    threads = _config.get_num_threads()
    print(f"{options.model}, batch of {options.batch_size}, {threads} thread(s), "
          f"{_config.config()['isa']}; the least of several rounds")  # fmt: skip
    print(
        f"{'layer':10} {'kind':12} {'forward':>11} {'GFLOP/s':>8} {'backward':>11} {'GFLOP/s':>8}"
    )
    for t in timings:
        rates = [f"{t[k]:.1f}" if t[k] else "" for k in ("forward_gflops", "backward_gflops")]
        print(f"{t['layer']:10} {t['kind']:12} {t['forward_ms']:8.3f} ms {rates[0]:>8} "
              f"{t['backward_ms']:8.3f} ms {rates[1]:>8}")  # fmt: skip
    return 0


def _least_seconds(work: Callable[[], object]) -> float:
    """The shortest of the runs that fit into the time; at least three, after a warm-up."""
    work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < BENCH_SECONDS and len(times) < 100):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _info(options: Any) -> int:
    folders = {who: str(path) for who, path in data.data_folders().items()}
    if options.json:
        _print_json({**_config.config(), "data folders": folders})
        return 0
    _config.show_config()
    for who, path in folders.items():
        print(f"{'data: ' + who:17} {path}{'' if Path(path).is_dir() else ' (not there)'}")
    return 0
