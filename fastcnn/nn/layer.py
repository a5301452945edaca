"""Layer: what every layer is, and the contract by which it is called.

::

    y = layer(x)                    inference: writes nothing to the layer, keeps nothing
    y, ctx = layer.forward(x)       training: ctx holds what backward needs, and nothing else
    dx = layer.backward(dy, ctx)    adds to p.grad, returns the gradient of x

By-products of a forward pass live in `ctx`, never in the layer. So one layer can be used twice in a
net, shared between nets, and called from several threads at once. What a training forward may
change is a random generator (`layer.rng`, see `Dropout`) and the buffers (`Buffer`), as batch
norm's running statistics.
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike

from .._checks import FLOATS, Array
from .parameter import Buffer, Parameter
from .selection import Selection

if TYPE_CHECKING:
    from fractions import Fraction

    from .summary import Signal, Summary, Tracer


_PASSES = ("__call__", "forward", "backward")


class Reach(NamedTuple):
    """How many elements of its input one output element sees, and how far apart two of them are.

    Where a layer enlarges its input, that is a fraction.
    """

    size: tuple[int, int] = (1, 1)
    step: "tuple[int | Fraction, int | Fraction]" = (1, 1)


def shown(value: Any) -> str:
    """A value for repr: (3, 3) as 3, 1.0 as 1."""
    if isinstance(value, tuple) and len(value) == 2 and value[0] == value[1]:
        return str(value[0])
    short = f"{value:g}" if isinstance(value, float) else ""
    return short if short and float(short) == value else repr(value)


def differing(*options: tuple[str, Any, Any]) -> str:
    """``, name=value`` for each (name, value, default) that is not its default, for repr."""
    return "".join(f", {name}={shown(value)}" for name, value, usual in options if value != usual)


def _accept_need_dx(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A `backward(dy, ctx)` that always gives dx, made callable with `need_dx=`."""

    @functools.wraps(backward)
    def with_need_dx(self: "Layer", dy: Any, ctx: Any, *, need_dx: bool = True) -> Any:
        return backward(self, dy, ctx)

    return with_need_dx


class Layer(Selection):
    """Base of all layers and nets.

    A layer of your own is a subclass with `forward` and `backward`. Parameters, buffers and
    sublayers are found among its attributes (lists, tuples and dicts of them included). Prove the
    gradients with `fastcnn.testing.gradcheck`. `output_shape` is for `summary`, which runs the
    layer if it is not defined; `__call__` is for inference that differs from training or can be
    had for less.

    Raises
    ------
    NotImplementedError
        By `forward` or `backward`, if a subclass does not define it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import nn, testing
    >>> class Scale(nn.Layer):
    ...     def __init__(self, factor):
    ...         self.factor = nn.Parameter(np.array([factor], np.float32))
    ...
    ...     def forward(self, x):
    ...         return x * self.factor.data, x
    ...
    ...     def backward(self, dy, ctx):
    ...         self.factor.add_grad((dy * ctx).sum().reshape(1))
    ...         return dy * self.factor.data
    >>> layer = Scale(3.0)
    >>> layer(np.array([1.0, 2.0], np.float32))
    array([3., 6.], dtype=float32)
    >>> testing.gradcheck(layer, np.array([1.0, 2.0]))
    """

    # Several arrays in (a tuple), as Add and Concat; all others take one.
    takes_many = False
    # A promise of forward and backward: y and dx are new arrays, and no context holds them. So a
    # net may let its next layer write into them.
    gives_new = False
    # Forward and backward take `out`, which may be x or dy itself.
    works_in_place = False
    # Forward and inference take `relu`, and with it give what a ReLU would make of their output.
    # The context is the same: backward is that of the output before the ReLU.
    takes_relu = False

    # ---- what a subclass defines -----------------------------------------------------------

    def forward(self, x: Any) -> tuple[Any, Any]:
        """Output and context: ``y, ctx = layer.forward(x)``.

        `ctx` may refer to `x` and `y` themselves: leave both as they are until after `backward`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def backward(self, dy: Any, ctx: Any, *, need_dx: bool = True) -> Any:
        """Add the gradients of the parameters to their `grad`, return the gradient of the input.

        Parameters
        ----------
        dy : ndarray
            Gradient of the loss with respect to the output; it is not written to.
        ctx
            What `forward` returned with that output.
        need_dx : bool
            False says that the caller has no use for dx (a first layer): it is not computed, and
            None is returned. A layer of your own may leave this argument out.

        Returns
        -------
        ndarray
            dx, shape of the input. Layers that only reshape or add hand on `dy`'s memory: do not
            write into the result.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define backward")

    def output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for an input shape, both without the batch axis.

        Where a subclass does not define it, the inference is run on a batch of one, all zeros, in
        the dtype of the weights (float32 if there are none); random generators are put back.

        Parameters
        ----------
        input_shape : tuple of int
            A sequence of them for a layer that takes many inputs.

        Returns
        -------
        tuple of int

        Raises
        ------
        ValueError
            If no such input fits; the message says what would.
        """
        dtype = next((p.data.dtype for p in self.parameters()), np.float32)
        shapes = tuple(input_shape) if self.takes_many else (input_shape,)
        inputs = tuple(np.zeros((1, *shape), dtype) for shape in shapes)
        before = self.rng_state()
        try:
            shape = np.shape(self(inputs if self.takes_many else inputs[0]))
        finally:
            self.set_rng_state(before)
        if shape[:1] != (1,):
            raise ValueError(
                f"{type(self).__name__}: expected an output of shape (N, ...) with N = 1 for an "
                f"input with N = 1, got {shape}; output_shape may be defined to say otherwise"
            )
        return shape[1:]

    def multiply_adds(self, input_shape: Any) -> int:
        """Multiply-adds of one image's inference, convolution and linear layers counted."""
        return 0

    def reach(self) -> Reach | None:
        """Window and step on the layer's input, for the receptive field; None: all of the input."""
        return Reach()

    def require_exact(self, input_shape: Any) -> None:
        """ValueError if a sliding window leaves a remainder at the border (strict mode)."""

    def extra_repr(self) -> str:
        """The configuration as `repr` shows it between the brackets."""
        return ""

    def _members(self) -> Iterator[tuple[str, "Parameter | Buffer | Layer"]]:
        """Own parameters and buffers, and direct sublayers, by attribute name."""
        for key, value in vars(self).items():
            if isinstance(value, (Parameter, Buffer, Layer)):
                yield key, value
            elif isinstance(value, (list, tuple, dict)):
                items = value.items() if isinstance(value, dict) else enumerate(value)
                for k, item in items:
                    if isinstance(item, (Parameter, Buffer, Layer)):
                        yield f"{key}.{k}", item

    def trace(self, tracer: "Tracer", name: str, signals: "tuple[Signal, ...]") -> "Signal":
        """Shape inference for `summary`: a layer is one row, a container one row a layer."""
        return tracer.row(self, name, signals)

    # ---- what every layer can do -----------------------------------------------------------

    def __call__(self, x: Any) -> Any:
        """Inference: the output alone. Nothing is kept."""
        return self.forward(x)[0]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Promises are of the class that wrote the passes: any that comes before it, a mixin say,
        # may have passes that keep none.
        for promise in ("gives_new", "works_in_place", "takes_relu"):
            for base in cls.__mro__:
                if promise in base.__dict__:
                    break
                if not base.__dict__.keys().isdisjoint(_PASSES):
                    setattr(cls, promise, False)
                    break
        own = cls.__dict__.get("backward")
        if own is not None and "need_dx" not in inspect.signature(own).parameters:
            cls.backward = _accept_need_dx(own)  # type: ignore[method-assign]

    def __setattr__(self, key: str, value: Any) -> None:
        object.__setattr__(self, key, value)
        if isinstance(value, (Parameter, Buffer, Layer, list, tuple, dict)):
            self._name_state()

    def _name_state(self) -> None:
        """Give parameters and buffers below their dotted names as seen from here; the outermost
        wins."""
        for name, item in self._named_state():
            item.name = name

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, "Layer"]]:
        """This layer (named "" or `prefix`) and all below it with dotted names, each once.

        Examples
        --------
        >>> from fastcnn import nn
        >>> net = nn.Sequential(fc=nn.Linear(4, 2), act=nn.ReLU())
        >>> [name for name, _ in net.named_layers()]
        ['', 'fc', 'act']
        """
        seen: set[int] = set()
        stack: list[tuple[str, Layer]] = [(prefix, self)]
        while stack:
            name, layer = stack.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            yield name, layer
            below = [(k, m) for k, m in layer._members() if isinstance(m, Layer)]
            stack += [(f"{name}.{k}" if name else k, m) for k, m in reversed(below)]

    def _named_state(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        """All parameters and buffers with their dotted names; a shared one comes once."""
        seen: set[int] = set()
        for prefix, layer in self.named_layers():
            for key, member in layer._members():
                if isinstance(member, (Parameter, Buffer)) and id(member) not in seen:
                    seen.add(id(member))
                    yield (f"{prefix}.{key}" if prefix else key), member

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their dotted names; a shared one comes once, by its first name.

        Examples
        --------
        >>> from fastcnn import models
        >>> [name for name, p in models.dmlp().named_parameters()]
        ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
        """
        for name, item in self._named_state():
            if isinstance(item, Parameter):
                yield name, item

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """All buffers with their dotted names; a shared one comes once, by its first name.

        Examples
        --------
        >>> from fastcnn import nn
        >>> net = nn.Sequential(conv=nn.Conv2d(1, 8, 3), bn=nn.BatchNorm2d(8))
        >>> [name for name, b in net.named_buffers()]
        ['bn.running_mean', 'bn.running_var']
        """
        for name, item in self._named_state():
            if isinstance(item, Buffer):
                yield name, item

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once, in the order of `named_parameters`.

        Examples
        --------
        >>> from fastcnn import nn
        >>> [p.data.shape for p in nn.Linear(4, 2).parameters()]
        [(2, 4), (2,)]
        """
        for _, p in self.named_parameters():
            yield p

    def num_parameters(self, *, trainable: bool = False) -> int:
        """How many numbers the parameters hold; with `trainable`, the frozen ones left out.

        Examples
        --------
        >>> from fastcnn import nn
        >>> nn.Conv2d(3, 10, 5).num_parameters()
        760
        """
        return sum(p.data.size for p in self.parameters() if p.requires_grad or not trainable)

    def trains(self) -> bool:
        """True if any parameter below is not frozen."""
        for member in vars(self).values():  # the usual case, without a look into every list
            if type(member) is Parameter and member.requires_grad:
                return True
        for _, m in self._members():
            if m.trains() if isinstance(m, Layer) else isinstance(m, Parameter) and m.requires_grad:
                return True
        return False

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.zero_grad()

    def astype(self, dtype: DTypeLike) -> Self:
        """Convert all parameters and buffers, in place, to float32 or float64.

        Gradients are forgotten.

        Returns
        -------
        Layer
            The layer itself.

        Raises
        ------
        TypeError
            If `dtype` is neither float32 nor float64.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import nn
        >>> nn.Linear(4, 2).astype(np.float64).weight.data.dtype
        dtype('float64')
        """
        if np.dtype(dtype) not in FLOATS:
            raise TypeError(f"astype: expected float32 or float64, got {np.dtype(dtype)}")
        for _, item in self._named_state():
            item.data = item.data.astype(dtype)
        self.zero_grad()
        return self

    def double(self) -> Self:
        """``astype(np.float64)``."""
        return self.astype(np.float64)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers by dotted name; later training leaves them alone.

        Examples
        --------
        >>> from fastcnn import nn
        >>> {name: a.shape for name, a in nn.Linear(4, 2).state_dict().items()}
        {'weight': (2, 4), 'bias': (2,)}
        """
        return {name: item.data.copy() for name, item in self._named_state()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Take over the values of a `state_dict`, all of them or (on an error) none.

        Parameters
        ----------
        state : mapping of str to ndarray
            Same names, shapes and dtypes as `state_dict` gives. Values are copied into the
            existing arrays.

        Raises
        ------
        ValueError
            Naming every missing or unexpected name and every shape or dtype that differs.

        Examples
        --------
        >>> from fastcnn import nn
        >>> a, b = nn.Linear(4, 2, seed=1), nn.Linear(4, 2, seed=2)
        >>> b.load_state_dict(a.state_dict())
        >>> (a.weight.data == b.weight.data).all()
        np.True_
        """
        own = dict(self._named_state())
        wrong = [f"missing {name!r} {p.data.shape}" for name, p in own.items() if name not in state]
        wrong += [f"unexpected {name!r}" for name in state if name not in own]
        arrays: dict[str, Array] = {}
        for name, p in own.items():
            if name not in state:
                continue
            array = arrays[name] = np.asarray(state[name])
            if array.shape != p.data.shape:
                wrong.append(f"{name!r}: expected shape {p.data.shape}, got {array.shape}")
            elif array.dtype != p.data.dtype:
                wrong.append(f"{name!r}: expected {p.data.dtype}, got {array.dtype}")
        if wrong:
            more = f"; and {len(wrong) - 12} more" if len(wrong) > 12 else ""
            raise ValueError(f"load_state_dict: nothing was loaded: {'; '.join(wrong[:12])}{more}")
        for name, p in own.items():
            np.copyto(p.data, arrays[name])

    def rng_state(self) -> dict[str, dict[str, Any]]:
        """State of every random generator below (``layer.rng``), by the layer's dotted name.

        Part of an exact resume, beside `state_dict`. Plain dicts of strings and integers.

        Examples
        --------
        >>> from fastcnn import nn
        >>> list(nn.Sequential(fc=nn.Linear(4, 2), drop=nn.Dropout(0.5)).rng_state())
        ['drop']
        """
        return {name: dict(rng.bit_generator.state) for name, rng in self._generators()}

    def set_rng_state(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Put every random generator below back to a state that `rng_state` gave.

        Raises
        ------
        ValueError
            If the names or the kinds of generator are not those of this net; nothing is set then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import nn
        >>> drop, x = nn.Dropout(0.5, seed=1), np.ones((2, 8), np.float32)
        >>> state = drop.rng_state()
        >>> y, _ = drop.forward(x)
        >>> drop.set_rng_state(state)
        >>> (drop.forward(x)[0] == y).all()
        np.True_
        """
        own = dict(self._generators())
        if own.keys() != state.keys():
            raise ValueError(
                f"set_rng_state: expected generators {sorted(own)}, got {sorted(state)}"
            )
        before = self.rng_state()
        try:
            for name, rng in own.items():
                rng.bit_generator.state = dict(state[name])
        except (TypeError, ValueError, KeyError) as error:
            for name, rng in own.items():
                rng.bit_generator.state = before[name]
            raise ValueError(f"set_rng_state: {name!r}: not such a state: {error}") from error

    def _generators(self) -> Iterator[tuple[str, np.random.Generator]]:
        for name, layer in self.named_layers():
            rng = getattr(layer, "rng", None)
            if isinstance(rng, np.random.Generator):
                yield name, rng

    def summary(self, input_shape: Any, *, batch_size: int = 1, strict: bool = False) -> "Summary":
        """What the net will do to an input, before anything runs; print it for a table.

        Per layer: output shape, parameters, multiply-adds, receptive field, bytes of activations
        and of parameters; then totals.

        Parameters
        ----------
        input_shape : tuple of int, or dict of them by input name
            Without the batch axis, such as (1, 28, 28).
        batch_size : int
            Images in a batch, for the bytes of activations.
        strict : bool
            A window that leaves a remainder, (N - F + 2P) no multiple of the stride, is an error.

        Raises
        ------
        ValueError
            If a size does not fit, naming the layer and what would fit.

        Examples
        --------
        >>> from fastcnn import models
        >>> models.lenet5().summary((1, 28, 28)).parameters
        61706
        """
        from .summary import summarize

        return summarize(self, input_shape, batch_size=batch_size, strict=strict)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"
