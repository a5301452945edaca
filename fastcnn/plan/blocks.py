"""BlockPlan: a small net, its loss and its optimizer as one C program over blocks of images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import _kernels, nn
from .._checks import Array, empty, expect_shape, floating, workspace
from .._config import get_exact, get_num_threads
from ..ops.loss import labels_of, wrong_label
from .layers import StepResult
from .lower import LoweringError, lower
from .update import Update, update_of

_LOSSES: dict[type, int] = {
    nn.CrossEntropyLoss: _kernels.LOSS_CROSS_ENTROPY,
    nn.MSELoss: _kernels.LOSS_MSE,
}


class BlockPlan:
    """A small net as one program; made by `compile`.

    Images lie side by side in vector lanes, and a block of them stays in the cache from the first
    layer to the last gradient. It knows chains of `Conv2d` (stride 1, zero padding), `MaxPool2d`
    and `AvgPool2d` (windows side by side), `Linear`, `Flatten`, `ReLU`, `Sigmoid` and `Tanh`.

    Attributes
    ----------
    steps : tuple of BlockStep
        What runs, and which layers each step does the work of.
    input_shape, output_shape : tuple of int
        Without the batch axis.
    dtype : dtype
        float32 or float64, that of the model's parameters.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import models, plan
    >>> program = plan.compile(models.lenet5(seed=0), (1, 28, 28))
    >>> type(program).__name__, program(np.zeros((2, 1, 28, 28), np.float32)).shape
    ('BlockPlan', (2, 10))
    """

    def __init__(
        self,
        model: nn.Layer,
        input_shape: Sequence[int],
        loss: Any = None,
        optimizer: Any = None,
    ) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.input_shape = tuple(int(n) for n in input_shape)
        self.steps = tuple(lower(model, self.input_shape))
        self.output_shape = (math.prod(self.steps[-1].output_shape),)
        if loss is not None and (type(loss) not in _LOSSES or not getattr(loss, "plain", True)):
            known = " and ".join(kind.__name__ for kind in _LOSSES)
            raise LoweringError(f"plan: expected a loss of {known}, got {loss!r}")
        # (place in the program, parameter): weights have even places, biases odd ones
        self._parameters: list[tuple[int, nn.Parameter]] = [
            (2 * i + j, p)
            for i, step in enumerate(self.steps)
            for j, p in enumerate((step.weight, step.bias))
            if p is not None
        ]
        dtypes = {p.data.dtype for _, p in self._parameters}
        if len(dtypes) != 1:
            raise LoweringError(
                f"plan: expected parameters of one dtype, got {sorted(map(str, dtypes))}"
            )
        (self.dtype,) = dtypes
        self._frozen: tuple[bool, ...] = ()
        self._bound: dict[int, tuple[Array | None, ...]] = {}
        self._room_for = (0, 0)  # (images, threads) that the workspace is known to suit
        self._update: Update | None = None
        self._workspace = np.empty(0, np.uint8)
        self._program = self._assemble()

    # ---- the program ----

    def _assemble(self) -> Any:
        """The C program; which gradients it makes depends on what is frozen now."""
        self._frozen = tuple(not p.requires_grad for _, p in self._parameters)
        self._bound = {}
        self._room_for = (0, 0)
        return _kernels.PlanProgram(
            np.empty(0, self.dtype),
            [
                (
                    step.kind,
                    step.activation,
                    step.relu,
                    step.weight is not None and step.weight.requires_grad,
                    step.bias is not None and step.bias.requires_grad,
                    step.input_shape,
                    step.output_shape,
                    step.kernel,
                    step.padding,
                )
                for step in self.steps
            ],
        )

    def _bind(self, place: int, *arrays: Array | None) -> None:
        """Tell the program where a parameter is, unless it knows."""
        known = self._bound.get(place)
        if known is not None and all(a is b for a, b in zip(known, arrays, strict=True)):
            return
        for a in arrays:
            if a is None:
                continue
            flags = a.flags
            if a.dtype != self.dtype or not (flags.c_contiguous and flags.aligned):
                raise ValueError(
                    f"plan: expected parameters and their states to be contiguous {self.dtype} "
                    f"arrays, got {a.dtype} of shape {a.shape}"
                )
        self._program.bind(place, *arrays)
        self._bound[place] = arrays

    def _input(self, x: ArrayLike) -> Array:
        a = floating("plan", "x", x, None, self.dtype, "the weights")
        expect_shape("plan", "x", a, (*a.shape[:1], *self.input_shape), "the plan's input_shape")
        return a

    # ---- inference ----

    def __call__(self, x: ArrayLike) -> Array:
        """The net's outputs.

        Parameters
        ----------
        x : array_like
            ``(N, *input_shape)``, of the plan's dtype.

        Returns
        -------
        ndarray
            (N, F). An image's outputs have the same bits in any batch.

        Raises
        ------
        TypeError, ValueError
            If `x` does not fit.
        """
        a = self._input(x)
        for place, p in self._parameters:
            known = self._bound.get(place)
            if known is None or known[0] is not p.data:
                self._bind(place, p.data, None, None, None)
                self._update = None
        n, threads = a.shape[0], get_num_threads()
        y = empty("plan", (n, *self.output_shape), self.dtype)
        scratch = workspace("plan", self._program.workspace_bytes(n, False, threads))
        self._program.infer(n, a, y, scratch, threads)
        return y

    predict = __call__

    def refresh(self) -> None:
        """Nothing to do: every call sees the parameters as they are (see `LayerPlan.refresh`)."""

    # ---- training ----

    def step(self, x: ArrayLike, y: ArrayLike) -> StepResult:
        """One training step: forward, loss, backward, update.

        The gradients are used at once by the optimizer, if it is an SGD, Adam or AdamW of
        `fastcnn.optim` over all trained parameters at one rate; then ``p.grad`` is not touched. Any
        other optimizer finds them in ``p.grad`` and its `step` is called. Without an optimizer they
        are added to ``p.grad``, as by ``model.backward``. A convolution may go by Winograd's
        algorithm here, unless `set_exact` is on, so the loss may have other last bits than that of
        ``plan(x)``.

        Parameters
        ----------
        x : array_like
            ``(N, *input_shape)``, N >= 1, of the plan's dtype.
        y : array_like
            Integer classes (N,), or for `MSELoss` targets (N, F).

        Returns
        -------
        StepResult
            ``.loss`` and ``.correct``. If the loss is NaN or infinite, nothing was updated.

        Raises
        ------
        TypeError, ValueError
            If `x` or `y` do not fit, or the plan has no loss.
        """
        if self.loss is None:
            raise ValueError("plan.step: expected a plan compiled with a loss")
        a = self._input(x)
        n, features = a.shape[0], self.output_shape[0]
        if n == 0:
            raise ValueError("plan.step: expected at least one image, got none")
        labels, targets = self._targets(np.asarray(y), n)
        update = self._update
        if update is None or not (self._unmoved() and update.holds()):
            update = self._update = self._prepare()
        if update is not None:
            update.tell(self._program)
        kind = _LOSSES[type(self.loss)]
        terms = n * features if kind == _kernels.LOSS_MSE else n
        divisor = float(terms) if self.loss.reduction == "mean" else 1.0
        threads = get_num_threads()
        if (n, threads) != self._room_for:
            size = self._program.workspace_bytes(n, True, threads)
            if size > self._workspace.nbytes:
                self._workspace = workspace("plan", size)
            self._room_for = n, threads
        try:
            total, correct = self._program.train(
                n, a, kind, 1.0 / divisor, get_exact(), labels, targets, self._workspace, threads
            )
        except ValueError:  # of the kernel, which looks at the labels before it does anything
            self._finish(update, False)
            raise wrong_label("plan.step", "y", y, features) from None
        self._finish(update, math.isfinite(total))
        return StepResult(total / divisor, correct)

    def _targets(self, y: Array, n: int) -> tuple[Array | None, Array | None]:
        """(labels, None) or (None, targets)."""
        features = self.output_shape[0]
        if type(self.loss) is nn.MSELoss and y.dtype.kind not in "iu":
            targets = floating("plan.step", "y", y, None, self.dtype)
            expect_shape("plan.step", "y", targets, (n, features), "one row an image")
            return None, targets
        return labels_of("plan.step", "y", y, n, "one label an image"), None

    def _unmoved(self) -> bool:
        """Whether the parameters are as the program was told, none thawed or frozen since."""
        for (place, p), frozen in zip(self._parameters, self._frozen, strict=True):
            if p.data is not self._bound[place][0] or p.requires_grad is frozen:
                return False
        return True

    def _prepare(self) -> Update | None:
        """Tell the program where all is; None where it only makes gradients."""
        if self._frozen != tuple(not p.requires_grad for _, p in self._parameters):
            self._program = self._assemble()
        trained = [p for _, p in self._parameters if p.requires_grad]
        update = update_of(self.optimizer, trained)
        if update is not None:
            for place, p in self._parameters:
                states = update.arrays(p) if p.requires_grad else (None, None)
                self._bind(place, p.data, None, *states)
            return update
        self._program.no_update()
        for place, p in self._parameters:
            gradient = np.empty(p.data.shape, self.dtype) if p.requires_grad else None
            self._bind(place, p.data, gradient, None, None)
        return None

    def _finish(self, update: Update | None, done: bool) -> None:
        if update is not None:
            update.finish(done)
            if not done:
                self._update = None
        elif done:
            self._hand_over()

    def _hand_over(self) -> None:
        """The gradients to the parameters, and those to an optimizer of the user's own."""
        if self.optimizer is not None:
            self.optimizer.zero_grad()
        for place, p in self._parameters:
            gradient = self._bound[place][1]
            if gradient is not None:
                p.add_grad(gradient, fresh=True)
        self._bound = {}  # the gradients are the parameters' own now
        if self.optimizer is not None:
            self.optimizer.step()

    # ---- what it is ----

    def arena_bytes(self, batch_size: int, *, training: bool = True) -> int:
        """Bytes of all memory that a batch needs besides parameters, input and output.

        Examples
        --------
        >>> from fastcnn import models, plan
        >>> net = plan.compile(models.lenet5(), (1, 28, 28))
        >>> net.arena_bytes(32, training=False) < net.arena_bytes(32)
        True
        """
        return int(self._program.workspace_bytes(batch_size, training, get_num_threads()))

    def block_bytes(self) -> int:
        """Bytes that one thread's block of images takes in training."""
        return int(self._program.workspace_bytes(1, True, 1))

    def __repr__(self) -> str:
        rows = [
            (" + ".join(s.layers), s.text, "x".join(map(str, s.output_shape))) for s in self.steps
        ]
        wide = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"  {a:{wide[0]}}  {b:{wide[1]}}  {c}" for a, b, c in rows]
        shape = "x".join(map(str, self.input_shape))
        return "\n".join([f"Plan for {shape}, {self.dtype}, in blocks of images", *lines])
