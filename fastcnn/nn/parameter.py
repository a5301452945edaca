"""What a layer keeps between calls: parameters, which are trained, and buffers, which are not."""

import threading

import numpy as np
from numpy.typing import ArrayLike

from .._checks import Array, floating

# Held while a gradient is added, so that no addition is lost when several threads run backward.
_adding = threading.Lock()


class Parameter:
    """An array that is trained, and the sum of its gradients.

    Parameters
    ----------
    data : array_like
        float32 or float64, any shape. The array itself is kept if it can be written to, and
        optimizers change it in place.
    name : str
        A layer that owns the parameter sets this; in a net it is the whole dotted name.
    requires_grad : bool
        False freezes the parameter: `backward` skips its gradient, optimizers skip its update.

    Raises
    ------
    TypeError
        If `data` is not float32 or float64.
    ValueError
        If `grad` is set to an array of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> p = nn.Parameter(np.ones(3, np.float32), name="bias")
    >>> p.add_grad(np.array([1, 2, 3], np.float32))
    >>> p.add_grad(np.array([1, 2, 3], np.float32))
    >>> p.grad
    array([2., 4., 6.], dtype=float32)
    >>> p.zero_grad()
    >>> p.grad
    array([0., 0., 0.], dtype=float32)
    """

    __slots__ = ("_grad", "data", "name", "requires_grad")

    def __init__(self, data: ArrayLike, name: str = "", requires_grad: bool = True) -> None:
        array = floating("Parameter", "data", data, None)
        self.data: Array = array if array.flags.writeable else array.copy()
        self.name = name
        self.requires_grad = requires_grad
        self._grad: Array | None = None

    @property
    def has_grad(self) -> bool:
        """Whether a gradient was added or set since `zero_grad`.

        Optimizers leave a parameter without one as it is, whatever their weight decay and momentum
        (as PyTorch's do where ``grad`` is None).
        """
        return self._grad is not None

    @property
    def grad(self) -> Array:
        """The sum of the gradients since `zero_grad`, shape and dtype of `data`.

        If there was none, fresh zeros, which are not kept: ``p.grad += g`` adds to them, and just
        looking does not make them a gradient.
        """
        return np.zeros_like(self.data) if self._grad is None else self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        if value is not None and value.shape != self.data.shape:
            raise ValueError(
                f"Parameter {self.name!r}: expected grad.shape == {self.data.shape} (that of data),"
                f" got {value.shape}"
            )
        self._grad = value

    def add_grad(self, gradient: Array, *, fresh: bool = False) -> None:
        """Add a gradient; does nothing if the parameter is frozen.

        Parameters
        ----------
        gradient : ndarray
            Shape of `data`.
        fresh : bool
            True promises that nobody else holds `gradient`: it may be kept instead of copied.

        Raises
        ------
        ValueError
            If the shape is not that of `data`.
        """
        if not self.requires_grad:
            return
        if gradient.shape != self.data.shape:
            raise ValueError(
                f"Parameter {self.name!r}: expected a gradient of shape {self.data.shape}, "
                f"got {gradient.shape}"
            )
        with _adding:
            if self._grad is not None:
                self._grad += gradient
            elif fresh and gradient.dtype == self.data.dtype:
                self._grad = gradient
            else:
                self._grad = np.array(gradient, dtype=self.data.dtype, order="C")

    def zero_grad(self) -> None:
        """Forget the gradients added so far."""
        self._grad = None

    def __repr__(self) -> str:
        frozen = "" if self.requires_grad else ", requires_grad=False"
        return f"Parameter({self.name!r}, shape={self.data.shape}, {self.data.dtype}{frozen})"


class Buffer:
    """An array that is part of a layer's state but not trained, as batch norm's running mean.

    It is in `Layer.state_dict`, so it is saved, loaded and resumed with the parameters; it is not
    among them, so it is not counted as one, has no gradient and no optimizer changes it.

    Parameters
    ----------
    data : array_like
        float32 or float64, any shape. The array itself is kept if it can be written to.
    name : str
        A layer that owns the buffer sets this; in a net it is the whole dotted name.
    frozen : bool
        Whether training leaves it as it is; see `Layer.freeze`.

    Raises
    ------
    TypeError
        If `data` is not float32 or float64.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn
    >>> nn.Buffer(np.zeros(3, np.float32), name="running_mean")
    Buffer('running_mean', shape=(3,), float32)
    """

    __slots__ = ("data", "frozen", "name")

    def __init__(self, data: ArrayLike, name: str = "", frozen: bool = False) -> None:
        array = floating("Buffer", "data", data, None)
        self.data: Array = array if array.flags.writeable else array.copy()
        self.name = name
        self.frozen = frozen

    def __repr__(self) -> str:
        frozen = ", frozen=True" if self.frozen else ""
        return f"Buffer({self.name!r}, shape={self.data.shape}, {self.data.dtype}{frozen})"
