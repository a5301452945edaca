"""Weight averaging: a slow copy of the weights that follows the trained ones."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .._checks import Array, number
from ..nn import Layer


class WeightAverage:
    """Exponential moving average (EMA) of a model's weights, often better than the last ones.

    ``average = decay * average + (1 - decay) * weight`` after each step, for parameters; buffers,
    as batch norm's running statistics, are averages already and are taken as they are. Early on
    the decay is held down to ``(1 + steps) / (10 + steps)``, so that the start is soon forgotten.

    Parameters
    ----------
    model : Layer
    decay : float
        In 0..1.

    Attributes
    ----------
    steps : int
        Updates so far.

    Notes
    -----
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM
    Journal on Control and Optimization 30(4), 1992.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, optim
    >>> net = nn.Linear(1, 1, bias=False, init=nn.init.zeros())
    >>> average = optim.WeightAverage(net, decay=0.75)
    >>> for _ in range(100):
    ...     net.weight.data += 1
    ...     average.update()
    >>> with average.applied():
    ...     print(net.weight.data.round(2))
    [[97.]]
    >>> net.weight.data
    array([[100.]], dtype=float32)
    """

    def __init__(self, model: Layer, decay: float = 0.999) -> None:
        self.model = model
        self.decay = number("WeightAverage", "decay", decay, 0.0)
        if self.decay > 1:
            raise ValueError(f"WeightAverage: expected decay in 0..1, got {decay}")
        self.steps = 0
        self._average = model.state_dict()

    def update(self) -> None:
        """Take the model's present weights in; after each step of the optimizer."""
        self.steps += 1
        new = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, p in self.model.named_parameters():
            average = self._average[name]
            average += average.dtype.type(new) * (p.data - average)
        for name, buffer in self.model.named_buffers():
            np.copyto(self._average[name], buffer.data)

    def weights(self) -> dict[str, Array]:
        """Copies of the averages, as a `state_dict` of the model."""
        return {name: a.copy() for name, a in self._average.items()}

    @contextmanager
    def applied(self) -> Iterator[Layer]:
        """The model with the averages as its weights; the trained ones come back at the end."""
        trained = self.model.state_dict()
        self.model.load_state_dict(self._average)
        try:
            yield self.model
        finally:
            self.model.load_state_dict(trained)

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs: "steps" and "weights" (copies)."""
        return {"steps": self.steps, "weights": self.weights()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises
        ------
        ValueError
            If it does not fit the model; nothing is changed then.
        """
        if set(state) != {"steps", "weights"} or type(state["steps"]) is not int:
            raise ValueError(f"WeightAverage: expected steps and weights, got {sorted(state)}")
        given = state["weights"]
        for name in {*self._average, *given}:
            a, b = self._average.get(name), given.get(name)
            if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
                raise ValueError(f"WeightAverage: {name!r} does not fit the model")
        self.steps = state["steps"]
        self._average = {name: np.array(given[name]) for name in self._average}
