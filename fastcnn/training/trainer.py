"""Trainer: epochs of steps over a dataset, measured, resumable, and polite to Ctrl-C.

Where a run stands is in a few numbers (`Position`) beside the weights, the optimizer's state and
the random generators of the layers. The order of the samples depends on the seed and the number
of the epoch alone, so these are all that a checkpoint needs for an exact resume.
"""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import DataLoader, Dataset, as_dataset
from ..data.augment import Augmentation
from ..nn import Layer
from .callbacks import Callback
from .checkpoint import check_arrays, load_checkpoint, save_checkpoint
from .history import History
from .interrupt import InterruptFlag
from .position import Position
from .progress import EpochBar, Progress, wanted
from .runner import Loss, PlanMode, Runner, correct, join
from .schedules import Schedule, constant
from .storage import Array, PathLike

Data = Dataset | tuple[Any, Any]

_EVALUATE_BATCH = 256  # results per sample do not depend on it; memory does

# What a fit sets anew (new objects, so that to keep the old ones is to keep the last run).
_OF_THE_RUN = (
    "history", "measured", "rate_factor", "_position", "_settings", "_rate", "_callbacks",
    "_callback_states", "_stop",
)  # fmt: skip


class Evaluation(NamedTuple):
    """What `Trainer.evaluate` gives.

    Attributes
    ----------
    loss : float
        The mean over a dataset.
    accuracy : float
        Share of the samples whose largest output is at their label; NaN without class labels.
    """

    loss: float
    accuracy: float


def _check_callables(loss: Any, schedule: Any) -> None:
    """TypeError, naming what would fit, for what could only fail in the first step."""
    if not callable(loss) or isinstance(loss, type):
        fits = f"{loss.__name__}()" if isinstance(loss, type) else "fastcnn.nn.CrossEntropyLoss()"
        raise TypeError(
            f"Trainer: expected loss to be a callable (outputs, targets) -> (value, gradient), "
            f"got {loss!r}; {fits} would fit"
        )
    if not callable(schedule) or isinstance(schedule, type):
        raise TypeError(
            f"Trainer: expected schedule to be a function of the part of the fit that is done, "
            f"got {schedule!r}; fastcnn.training.schedules.cosine would fit"
        )


class Trainer:
    """Trains a model with a loss and an optimizer.

    Parameters
    ----------
    model : Layer
        What to train, in place.
    loss : callable
        ``loss(outputs, targets) -> (value, gradient)``, such as `fastcnn.nn.CrossEntropyLoss`;
        the value is a mean over the batch unless ``loss.reduction == "sum"``. A net of several
        outputs gives it a dict of them by name, and wants one of gradients by the same names; see
        `fastcnn.nn.AuxiliaryLoss`.
    optimizer : Optimizer
        Over ``model.parameters()``.
    seed : int, optional
        For the order of the samples and the validation split.
    schedule : callable, optional
        The factor of the learning rate at t, the part of the fit that is done, in [0, 1); see
        `fastcnn.training.schedules`. Checkpoints hold its ``__name__``.
    plan : "auto" or bool, optional
        Run the model as one compiled program (`fastcnn.plan`): if it can be lowered, always (else
        an error), or never. `execution` tells which it was.

    Attributes
    ----------
    history : History
        Of the present or last run.
    epoch, batch, steps : int
        Epochs finished in the run, batches trained in the running epoch, and in the run.
    measured : tuple of str
        The series of the history that the present or last fit gives values to.
    rate_factor : float
        Multiplies the learning rate beside the schedule; 1 at the start of a fit. For callbacks.

    Raises
    ------
    TypeError
        If the loss or the schedule cannot be called as said.
    ValueError
        If another option is out of range.

    Examples
    --------
    >>> from fastcnn import data, models, nn, optim, training
    >>> train, test = data.mnist(subset=True)
    >>> model = models.lenet5(seed=0)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    >>> trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer, seed=0)
    >>> history = trainer.fit(train[:1000], epochs=2, batch_size=32, validation=0.1)
    >>> len(history), 0 <= history.validation_accuracy[-1] <= 1
    (2, True)
    >>> trainer.evaluate(test).accuracy > 0.5
    True
    """

    def __init__(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Any,
        *,
        seed: int = 0,
        schedule: Schedule = constant,
        plan: PlanMode = "auto",
    ) -> None:
        _check_callables(loss, schedule)
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            raise ValueError(f"Trainer: expected seed to be an integer >= 0, got {seed!r}")
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.seed, self.schedule = int(seed), schedule
        self._runner = Runner(plan)
        self.history = History()
        self._position = Position()
        self._settings: dict[str, Any] = self._own_settings()  # of the run; a resume needs them
        self.measured: tuple[str, ...] = ()
        self._rate = float(optimizer.lr)  # before the schedule
        self.rate_factor = 1.0
        self._callbacks: list[Callback] = []
        self._callback_states: dict[str, Any] | None = None  # of a checkpoint not yet continued
        self._stop = False

    @property
    def execution(self) -> str:
        """What runs the model: "plan", or "layers" and why; known after the first step."""
        return self._runner.execution

    @property
    def epoch(self) -> int:
        """Epochs finished in this run, validation included."""
        return self._position.epoch

    @property
    def batch(self) -> int:
        """Batches trained in the running epoch."""
        return self._position.batch

    @property
    def steps(self) -> int:
        """Batches trained in this run."""
        return self._position.steps

    # ---- training ----

    def fit(
        self,
        train: Data,
        *,
        epochs: int,
        batch_size: int = 64,
        validation: Data | float | None = None,
        augment: Augmentation | None = None,
        progress: Progress = "auto",
        callbacks: Sequence[Callback] = (),
        resume: PathLike | None = None,
    ) -> History:
        """Train until `epochs` epochs are done, a callback stops, or Ctrl-C.

        Parameters
        ----------
        train : Dataset or (x, y)
            The training data; y of integers are class labels, and make accuracies.
        epochs : int
            How many epochs the run shall have; those of a resumed checkpoint count. Another
            number than before stretches (or squeezes) the schedule for the rest of the run.
        batch_size : int, optional
            Samples a step; the last step of an epoch may have fewer.
        validation : Dataset, (x, y) or float, optional
            Data to measure after each epoch, or the fraction of the training data to set aside
            for that (chosen by the trainer's seed). Never the test data: what chooses among
            models must not judge them.
        augment : Augmentation, optional
            Random changes of the training data, never of the validation data, such as
            ``data.augment.RandomCrop(32, padding=4)``: other ones in each epoch, chosen by the
            trainer's seed. Labels of pixels, integers (N, H, W), move along, and what comes in
            from outside has label 0; other targets stay as they are, so not for targets that are
            images or maps of floats. Batches are then prepared by a background thread.
        progress : bool or "auto", optional
            Draw progress bars; "auto" does in notebooks and if stderr is a terminal.
        callbacks : sequence of Callback, optional
            Such as `EarlyStopping` and `Checkpoint`.
        resume : str or PathLike, optional
            Continue the run of this checkpoint (see `resume`), exactly, with the same number of
            samples, batch size, seed, validation, schedule, augmentation and callbacks as before.

        Returns
        -------
        History
            Also of the epochs before a resume. After Ctrl-C (once the step that runs is done) it
            has ``interrupted=True``, and the model is as the last finished step left it.

        Raises
        ------
        FloatingPointError
            If the loss is NaN or infinite; the weights are those from before that step.
        ValueError, TypeError
            If the arguments do not fit, or the checkpoint is damaged or from another run (the
            message names what differs).

        Notes
        -----
        Each call without `resume` starts a new run (history, schedule, callbacks) from the
        weights as they are. If it fails before its first step is done, the trainer still has the
        run before, and a resume leaves everything as it was.
        """
        if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 0:
            raise ValueError(f"fit: expected epochs to be an integer >= 0, got {epochs!r}")
        show = wanted(progress)
        ordered = sorted(callbacks, key=lambda callback: callback.order)
        with self._all_or_nothing(resume, ordered):
            loader, held_out = self._split(train, validation, batch_size, augment)
            self._callbacks = ordered
            self._begin(loader, held_out, validation)
            with InterruptFlag() as interrupt:
                try:
                    self._call("on_fit_begin")
                    while self.epoch < epochs and not (self._stop or interrupt.raised):
                        self._epoch(loader, held_out, int(epochs), show, interrupt)
                    self.history.interrupted = interrupt.raised
                    self._call("on_fit_end")
                finally:
                    self.optimizer.lr = self._rate
        return self.history

    @contextlib.contextmanager
    def _all_or_nothing(
        self, resume: PathLike | None, callbacks: Sequence[Callback]
    ) -> Iterator[None]:
        """A new run, or the checkpoint to continue; take it back if no step comes of it."""
        kept = {name: getattr(self, name) for name in _OF_THE_RUN}
        states = [(one, dict(vars(one))) for one in [*self._callbacks, *callbacks]]
        random, before = self.model.rng_state(), None
        if resume is None and self._callback_states is None:
            last = self._position  # an epoch that was left early counts: its order was seen
            self._position = Position(offset=last.offset + last.epoch + (last.batch > 0))
            self._rate = float(self.optimizer.lr)
            self.history = History()
        else:
            before = self._tree()
            if resume is not None:
                self.resume(resume)
        steps = self.steps
        try:
            yield
        except BaseException:
            if self.steps == steps:
                self.__dict__.update(kept)
                for callback, state in states:
                    callback.__dict__ = state
                self.model.set_rng_state(random)
                if before is not None:
                    self._apply(before)
            raise

    def stop(self) -> None:
        """End the fit after the running epoch; for callbacks."""
        self._stop = True

    def _split(
        self,
        train: Data,
        validation: Data | float | None,
        batch_size: int,
        augment: Augmentation | None,
    ) -> tuple[DataLoader, Dataset | None]:
        """What to train on and what to measure on."""
        dataset: Dataset = as_dataset(train)
        held_out: Dataset | None = None
        if isinstance(validation, (int, float)):
            dataset, held_out = dataset.split(validation, seed=self.seed)
        elif validation is not None:
            held_out = as_dataset(validation)
        for name, part in (("training", dataset), ("validation", held_out)):
            if part is not None and len(part) == 0:
                raise ValueError(f"fit: expected at least one {name} sample, got none")
        loader = DataLoader(
            dataset,
            batch_size,
            shuffle=True,
            seed=self.seed,
            augment=augment,
            num_workers=0 if augment is None else 1,
        )
        return loader, held_out

    def _own_settings(self) -> dict[str, Any]:
        """The part of the run's settings that does not come with the data."""
        name = getattr(self.schedule, "__name__", type(self.schedule).__name__)
        return {"seed": self.seed, "schedule": name}

    def _begin(
        self, loader: DataLoader, held_out: Dataset | None, validation: Data | float | None
    ) -> None:
        """Set what the fit needs; of a run that `resume` loaded, check that it is the same."""
        self._runner.renew()
        self._stop, self.rate_factor = False, 1.0
        self.measured = _series(loader.dataset, held_out)
        fraction = isinstance(validation, (int, float)) or held_out is None
        settings = {
            **self._own_settings(),
            "training samples": len(loader.dataset),
            "batch size": loader.batch_size,
            "validation": validation if fraction else f"{len(held_out or ())} samples",
            "augmentation": None if loader.augment is None else repr(loader.augment),
        }
        states = self._callback_states
        if states is not None:
            self._expect_settings(settings)
            named = self._named_callbacks()
            lost = [name for name in states if name not in named and states[name]]
            if lost:
                raise ValueError(
                    f"fit: the checkpoint holds the state of {', '.join(lost)}, but callbacks has "
                    f"only {[*named]}; pass the callbacks that the run had"
                )
            for name, callback in named.items():
                if name in states:
                    callback.load_state(states[name])
            self._callback_states = None
            self.history.interrupted = False
        self._settings = settings

    def _expect_settings(self, got: dict[str, Any]) -> None:
        """ValueError if these are not the settings of the run that shall be continued."""
        differ = [
            f"{name} of {expected!r}, got {got.get(name)!r}"
            for name, expected in self._settings.items()
            if got.get(name) != expected
        ]
        if differ:
            raise ValueError(f"fit: the checkpoint is of another run: expected {'; '.join(differ)}")

    def _epoch(
        self,
        loader: DataLoader,
        validation: Dataset | None,
        epochs: int,
        show: bool,
        interrupt: InterruptFlag,
    ) -> None:
        """One epoch, from wherever the position says; leaves early if interrupted."""
        here, total = self._position, len(loader)
        loader.load_state_dict(
            {**loader.state_dict(), "epoch": here.offset + here.epoch, "position": here.batch}
        )
        after_batch = [c for c in self._callbacks if _overrides(c, "on_batch_end")]
        before, start = here.seconds, time.perf_counter()
        with (
            EpochBar(here.epoch + 1, epochs, total, here.batch, show) as bar,
            contextlib.closing(iter(loader)) as batches,
        ):
            for x, y in batches:
                done = (here.epoch + here.batch / total) / epochs
                self.optimizer.lr = self._rate * self.rate_factor * self.schedule(done)
                loss, right = self._step(x, y)
                here.loss_sum += loss * self._weight(x)
                here.correct += right
                here.seen += len(x)
                here.batch += 1
                here.steps += 1
                bar.update()
                if after_batch:
                    here.seconds = before + time.perf_counter() - start
                    for callback in after_batch:
                        callback.on_batch_end(self)
                if interrupt.raised:
                    here.seconds = before + time.perf_counter() - start
                    return
            measured = self._results(loader, validation, interrupt)
            here.seconds = before + time.perf_counter() - start
            if measured is None:
                return
            bar.say(_describe(measured))
        self.history.append(
            **measured, learning_rate=float(self.optimizer.lr), seconds=here.seconds
        )
        self._position = Position(here.epoch + 1, 0, here.steps, here.offset)
        self._call("on_epoch_end")

    def _step(self, x: Array, y: Array) -> tuple[float, int]:
        """Train on one batch: (loss, how many were right), both before the update."""
        loss, right = self._runner.step(self.model, self.loss, self.optimizer, x, y)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"fit: the loss is {loss} in epoch {self.epoch + 1}, batch {self.batch + 1} "
                f"(learning rate {self.optimizer.lr:g}); the weights are those from before this "
                f"step. A smaller learning rate, or scaled inputs, may help"
            )
        return loss, right

    def _outputs(self, x: Array) -> Any:
        """Inference, by whatever runs the training steps."""
        return self._runner.outputs(self.model, self.loss, self.optimizer, x)

    def _results(
        self, loader: DataLoader, validation: Dataset | None, interrupt: InterruptFlag
    ) -> dict[str, float] | None:
        """The finished epoch's numbers; None if Ctrl-C came before they were complete."""
        here = self._position
        labelled = "train_accuracy" in self.measured
        result = {
            "train_loss": here.loss_sum / here.seen,
            "train_accuracy": here.correct / here.seen if labelled else math.nan,
        }
        if validation is not None:
            held_out = self._evaluate(validation, _EVALUATE_BATCH, interrupt)
            if held_out is None:
                return None
            result["validation_loss"], result["validation_accuracy"] = held_out
        return result

    def _weight(self, x: Array) -> int:
        """What makes a batch's loss a sum over its samples."""
        return 1 if getattr(self.loss, "reduction", "mean") == "sum" else len(x)

    def _call(self, hook: str) -> None:
        for callback in self._callbacks:
            getattr(callback, hook)(self)

    # ---- using the model ----

    def evaluate(self, data: Data, batch_size: int = _EVALUATE_BATCH) -> Evaluation:
        """Mean loss and accuracy of the model over a dataset; changes nothing.

        Parameters
        ----------
        data : Dataset or (x, y)
            At least one sample.
        batch_size : int, optional
            Samples at a time.

        Returns
        -------
        Evaluation
            ``.loss`` and ``.accuracy``, exact over a partial last batch.

        Raises
        ------
        ValueError, TypeError
            If the data do not fit the model, or are empty.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import nn, optim, training
        >>> model = nn.Linear(4, 2, init=nn.init.zeros())
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        >>> result = trainer.evaluate((np.ones((4, 4), np.float32), np.array([0, 1, 0, 0])))
        >>> round(result.loss, 4), result.accuracy
        (0.6931, 0.75)
        """
        result = self._evaluate(as_dataset(data), batch_size, None)
        assert result is not None  # nothing can interrupt it
        return result

    def _evaluate(
        self, dataset: Dataset, batch_size: int, interrupt: InterruptFlag | None
    ) -> Evaluation | None:
        if len(dataset) == 0:
            raise ValueError("evaluate: expected at least one sample, got none")
        self._runner.renew()
        loss_sum, right, labelled = 0.0, 0, True
        for x, y in DataLoader(dataset, batch_size):
            outputs = self._outputs(x)
            loss_sum += self.loss(outputs, y)[0] * self._weight(x)
            right += correct(outputs, y)
            labelled = _labelled(y)
            if interrupt is not None and interrupt.raised:
                return None
        return Evaluation(loss_sum / len(dataset), right / len(dataset) if labelled else math.nan)

    def predict(self, x: Array, batch_size: int = _EVALUATE_BATCH) -> Any:
        """The model's outputs for many inputs, in batches.

        Parameters
        ----------
        x : ndarray
            Shape (N, C, H, W), N >= 1, of the model's dtype.
        batch_size : int, optional
            Samples at a time; no result depends on it.

        Returns
        -------
        ndarray
            Shape (N, ...); ``.argmax(1)`` gives classes. Of a net of several outputs, a dict of
            such arrays by the names of the outputs.

        Raises
        ------
        ValueError
            If `batch_size` is less than 1 or the shape does not fit the model.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import nn, optim, training
        >>> model = nn.Linear(4, 2, seed=0)
        >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        >>> trainer.predict(np.ones((1000, 4), np.float32)).shape
        (1000, 2)
        """
        if batch_size < 1:
            raise ValueError(f"predict: expected batch_size >= 1, got {batch_size}")
        self._runner.renew()
        starts = range(0, max(len(x), 1), batch_size)
        return join([self._outputs(x[i : i + batch_size]) for i in starts])

    # ---- checkpoints ----

    def save_checkpoint(self, path: PathLike, notes: dict[str, Any] | None = None) -> None:
        """Save all that an exact resume needs to one file, atomically and durably.

        Weights, optimizer, random generators of the layers, position in the data, history, and
        the states of the callbacks, as safetensors.

        Parameters
        ----------
        path : str or PathLike
            The file to make or replace.
        notes : dict, optional
            JSON values for ``load_checkpoint(path)["notes"]``; `resume` does not look at them.

        Raises
        ------
        ValueError
            If a weight is NaN or infinite: the old file is better.
        OSError
            If the file cannot be written; the old one is then as it was.
        """
        tree = {**self._tree(), "notes": dict(notes or {})}
        check_arrays("save_checkpoint", tree["model"], tree["model"])
        save_checkpoint(path, tree)

    def resume(self, path: PathLike) -> None:
        """Load a checkpoint; the next `fit` continues its run as if it had never ended.

        Parameters
        ----------
        path : str or PathLike
            As written by `save_checkpoint` of a trainer with the same model and optimizer.

        Raises
        ------
        ValueError
            If the file is damaged or does not fit; the trainer is then as it was.
        OSError
            If it cannot be opened.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> from fastcnn import nn, optim, training
        >>> def start():
        ...     model = nn.Linear(4, 2, seed=0)
        ...     optimizer = optim.SGD(model.parameters(), lr=0.1)
        ...     return training.Trainer(model, nn.CrossEntropyLoss(), optimizer)
        >>> samples = np.ones((8, 4), np.float32), np.arange(8) % 2
        >>> first, second = start(), start()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     history = first.fit(samples, epochs=1)
        ...     first.save_checkpoint(folder + "/run")
        ...     second.resume(folder + "/run")
        >>> len(second.fit(samples, epochs=3))  # two more
        3
        """
        tree = load_checkpoint(path)
        if set(tree) != {*self._tree(), "notes"}:
            raise ValueError(f"{path}: expected a trainer's checkpoint, got {sorted(tree)}")
        check_arrays(str(path), tree["model"], self.model.state_dict())
        before = self._tree()
        try:
            self._apply(tree)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            self._apply(before)
            raise ValueError(f"{path}: does not fit this trainer: {error}") from error
        self._callback_states = tree["callbacks"]

    def _tree(self) -> dict[str, Any]:
        """All that a checkpoint holds, as copies."""
        return {
            "model": self.model.state_dict(),
            "optimizer": _copied(self.optimizer.state_dict()),
            "random": self.model.rng_state(),
            "position": dataclasses.asdict(self._position),
            "settings": dict(self._settings),
            "history": self.history.to_dict(),
            "rate": self._rate,
            "callbacks": {name: c.state() for name, c in self._named_callbacks().items()},
        }

    def _apply(self, tree: dict[str, Any]) -> None:
        """Set everything from a tree; may raise halfway (see `resume`)."""
        position = Position.from_dict(tree["position"])
        history = History.from_dict(tree["history"])
        rate, settings = tree["rate"], tree["settings"]
        if type(rate) is not float or not rate >= 0:
            raise ValueError(f"expected rate to be a number >= 0, got {rate!r}")
        if len(history) != position.epoch or not isinstance(tree["callbacks"], dict):
            raise ValueError("its history, position and callbacks disagree")
        if not isinstance(settings, dict) or not all(
            isinstance(value, str | int | float | None) for value in settings.values()
        ):
            raise ValueError(f"expected the settings of a run, got {settings!r}")
        self.model.load_state_dict(tree["model"])
        self.optimizer.load_state_dict(tree["optimizer"])
        self.model.set_rng_state(tree["random"])
        self._position, self.history, self._settings = position, history, settings
        self._rate = rate

    def _named_callbacks(self) -> dict[str, Callback]:
        """The callbacks by class name, numbered where a class occurs more than once."""
        named: dict[str, Callback] = {}
        for callback in self._callbacks:
            name, k = type(callback).__name__, 2
            while name in named:
                name, k = f"{type(callback).__name__} {k}", k + 1
            named[name] = callback
        return named


def _series(train: Dataset, held_out: Dataset | None) -> tuple[str, ...]:
    """The series of the history that these data give values to: accuracies need class labels."""
    names: list[str] = []
    for kind, part in (("train", train), ("validation", held_out)):
        if part is not None:
            y = part.batch(slice(0, 1))[1]
            names += [f"{kind}_loss", f"{kind}_accuracy"] if _labelled(y) else [f"{kind}_loss"]
    return tuple(names)


def _labelled(y: Array) -> bool:
    """Whether these targets are class labels, one a sample."""
    return np.issubdtype(y.dtype, np.integer) and y.ndim == 1


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook)


def _describe(measured: dict[str, float]) -> str:
    """One epoch's numbers for the progress bar."""
    parts = [
        f"{name.replace('_', ' ').replace('validation', 'val')} {value:.4f}"
        for name, value in measured.items()
        if not math.isnan(value)
    ]
    return ", ".join(parts)


def _copied(tree: Any) -> Any:
    """A tree of dictionaries and lists whose arrays are copies."""
    if isinstance(tree, dict):
        return {key: _copied(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_copied(value) for value in tree]
    return tree.copy() if isinstance(tree, np.ndarray) else tree
