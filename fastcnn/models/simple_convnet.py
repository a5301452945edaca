"""The first CNN that one writes: a convolution, a pool, and two affine layers."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import nn
from .._checks import Array, Pair, pair
from ..nn import init

_CONV = MappingProxyType({"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1})
_PARAMS = {
    "W1": "conv1.weight", "b1": "conv1.bias",
    "W2": "fc1.weight", "b2": "fc1.bias",
    "W3": "fc2.weight", "b3": "fc2.bias",
}  # fmt: skip


class _Params(Mapping[str, Array]):
    """The parameters' own arrays by the book's names; what is assigned is copied into them."""

    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays

    def __getitem__(self, key: str) -> Array:
        if key not in self._arrays:
            raise KeyError(f"SimpleConvNet: expected one of {', '.join(self)}, got {key!r}")
        return self._arrays[key]

    def __setitem__(self, key: str, value: ArrayLike) -> None:
        array, new = self[key], np.asarray(value)
        if new.shape != array.shape:
            raise ValueError(
                f"SimpleConvNet: expected {key} of shape {array.shape}, got {new.shape}"
            )
        array[...] = new

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return repr(self._arrays)


class SimpleConvNet(nn.Sequential):
    """SimpleConvNet with the interface of the book that introduced it: 433,890 parameters.

    ::

        1x28x28 - conv 30 @ 5x5 - ReLU - max pool 2 - affine 100 - ReLU - affine 10 (logits)
                  30x24x24              30x12x12

    It is a `fastcnn.nn.Sequential` (layers conv1, relu1, pool1, flat, fc1, relu2, fc2), so
    `Trainer`, plans and figures take it too. Its methods call parameters W1, b1 (convolution), W2,
    b2, W3, b3 (affine); W2 and W3 have a row for each output here, a column in the book.

    Parameters
    ----------
    input_dim : sequence of int
        (C, H, W) of an image.
    conv_param : mapping
        "filter_num", "filter_size", "pad" and "stride" of the convolution; what is left out is as
        by default.
    hidden_size, output_size : int
        Units of the two affine layers.
    weight_init_std : float or None
        Weights start as N(0, weight_init_std^2); None for He's before a ReLU and Xavier's in the
        last layer, which learn faster.
    seed : int, Generator or None

    Raises
    ------
    ValueError
        If `conv_param` has another key, or the sizes do not fit.

    Notes
    -----
    Source: Saito, "Deep Learning from Scratch", O'Reilly 2016, chapter 7. Two things differ on
    purpose: `accuracy` counts a last, smaller batch, and files hold numbers alone (safetensors,
    which `training.load_weights` reads as well), where a pickle could run code.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcnn import data, models
    >>> train, test = data.mnist(subset=True)
    >>> network = models.SimpleConvNet(seed=0)
    >>> round(network.loss(test.x[:100], test.y[:100]), 1)  # ln 10: it knows nothing yet
    2.3
    >>> grads = network.gradient(test.x[:100], test.y[:100])
    >>> grads["W1"].shape, grads["b3"].shape
    ((30, 1, 5, 5), (10,))
    """

    def __init__(
        self,
        input_dim: Sequence[int] = (1, 28, 28),
        conv_param: Mapping[str, int] = _CONV,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float | None = 0.01,
        *,
        seed: init.Seed = 0,
    ) -> None:
        if not set(conv_param) <= set(_CONV):
            raise ValueError(
                f"SimpleConvNet: expected conv_param with {', '.join(_CONV)}, "
                f"got {', '.join(conv_param)}"
            )
        conv = {**_CONV, **conv_param}
        rng = np.random.default_rng(seed)
        small = None if weight_init_std is None else init.normal(weight_init_std)
        maps = nn.Sequential(
            conv1=nn.Conv2d(
                input_dim[0], conv["filter_num"], conv["filter_size"],
                stride=conv["stride"], padding=conv["pad"], init=small, seed=rng,
            ),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            flat=nn.Flatten(),
        )  # fmt: skip
        features = maps.output_shape(tuple(input_dim))[0]
        super().__init__(
            **{name: node.layer for name, node in maps.nodes.items()},
            fc1=nn.Linear(features, hidden_size, init=small, seed=rng),
            relu2=nn.ReLU(),
            fc2=nn.Linear(hidden_size, output_size, init=small or init.xavier(), seed=rng),
        )
        self._loss = nn.CrossEntropyLoss()

    @property
    def params(self) -> _Params:
        """The parameters' own arrays, W1 to b3; ``net.params["W1"] = w`` copies w into its own.

        Examples
        --------
        >>> from fastcnn import models
        >>> network = models.SimpleConvNet(seed=0)
        >>> network.params["b3"] -= 0.5  # a step of one's own
        >>> network.params["b3"][:2]
        array([-0.5, -0.5], dtype=float32)
        """
        own = dict(self.named_parameters())
        return _Params({key: own[name].data for key, name in _PARAMS.items()})

    def predict(self, x: ArrayLike) -> Array:
        """Logits (N, output_size) of images (N, C, H, W); `loss` applies the softmax.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import models
        >>> models.SimpleConvNet().predict(np.zeros((2, 1, 28, 28), np.float32)).shape
        (2, 10)
        """
        y: Array = self(x)
        return y

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Mean cross-entropy of the softmax.

        Parameters
        ----------
        x : array_like
            (N, C, H, W).
        t : array_like
            Classes (N,), integers; or one-hot vectors (N, output_size) of the dtype of `x`.
        """
        return self._loss(self.predict(x), t)[0]

    def accuracy(self, x: ArrayLike, t: ArrayLike, batch_size: int = 100) -> float:
        """Share of right answers; `x` and `t` as for `loss`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import models
        >>> network, x = models.SimpleConvNet(), np.zeros((3, 1, 28, 28), np.float32)
        >>> network.accuracy(x, network.predict(x).argmax(1), batch_size=2)
        1.0
        """
        images, t = np.asarray(x), np.asarray(t)
        answers = t if t.ndim == 1 else t.argmax(axis=1)
        right = 0
        for start in range(0, len(images), batch_size):
            stop = start + batch_size
            right += int((self.predict(images[start:stop]).argmax(1) == answers[start:stop]).sum())
        return right / len(images) if len(images) else 0.0

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradient of `loss` with respect to each parameter, by backpropagation.

        Returns
        -------
        dict of str to ndarray
            W1, b1, ... in the shapes of `params`. The parameters' ``grad`` is left as it was.
        """
        own = dict(self.named_parameters())
        kept = {name: p.grad if p.has_grad else None for name, p in own.items()}
        self.zero_grad()
        y, ctx = self.forward(x)
        self.backward(self._loss(y, t)[1], ctx, need_dx=False)
        grads = {key: own[name].grad for key, name in _PARAMS.items()}
        for name, p in own.items():
            p.grad = kept[name]
        return grads

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike, eps: float = 1e-5) -> dict[str, Array]:
        """The same by central differences: two forward passes for each number, so for small nets.

        ``(loss(p + eps) - loss(p - eps)) / (2 eps)``. In float32 the difference of two losses has
        few digits left; use ``network.double()`` and float64 images.

        Examples
        --------
        >>> import numpy as np
        >>> from fastcnn import models
        >>> network = models.SimpleConvNet(
        ...     (1, 10, 10), {"filter_num": 3, "filter_size": 3}, hidden_size=4, seed=0
        ... ).double()
        >>> x, t = np.random.default_rng(0).random((1, 1, 10, 10)), np.array([1])
        >>> numeric, exact = network.numerical_gradient(x, t), network.gradient(x, t)
        >>> max(float(abs(numeric[key] - exact[key]).max()) for key in exact) < 1e-8
        True
        """
        grads = {}
        for key, array in self.params.items():
            grads[key] = np.empty_like(array)
            for at in np.ndindex(array.shape):
                kept = array[at]
                array[at] = kept + eps
                above = self.loss(x, t)
                array[at] = kept - eps
                below = self.loss(x, t)
                array[at] = kept
                grads[key][at] = (above - below) / (2 * eps)
        return grads

    def save_params(self, file_name: Any = "params.safetensors") -> None:
        """Write the parameters to a safetensors file; see `fastcnn.training.save_weights`."""
        from ..training import save_weights

        save_weights(self, file_name)

    def load_params(self, file_name: Any = "params.safetensors") -> None:
        """Read them back, all or none; see `fastcnn.training.load_weights`.

        Examples
        --------
        >>> import tempfile
        >>> from fastcnn import models
        >>> network = models.SimpleConvNet(seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models.SimpleConvNet(seed=1).save_params(folder + "/params.safetensors")
        ...     network.load_params(folder + "/params.safetensors")
        >>> bool((network.params["W1"] == models.SimpleConvNet(seed=1).params["W1"]).all())
        True
        """
        from ..training import load_weights

        load_weights(self, file_name)


def simple_convnet(
    *,
    weight_std: float | None = None,
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: Pair = 28,
    seed: init.Seed = 0,
) -> SimpleConvNet:
    """`SimpleConvNet` for 28x28 digits, with initial weights that learn fast.

    ::

        1x28x28 - conv 30 @ 5x5 - ReLU - max pool 2 - fc 100 - ReLU - fc 10 (logits)

    Not new but the smallest that has every kind of layer, to be written by hand. Source: Saito,
    "Deep Learning from Scratch", O'Reilly 2016, chapter 7.

    Parameters
    ----------
    weight_std : float, optional
        Weights start as N(0, weight_std^2), in the source 0.01, which shows best what the filters
        learn; by default by He before a ReLU and by Xavier in the last layer, which learns faster.
    num_classes, in_channels : int
    image_size : int or (H, W)
        Of other images than digits.
    seed : int, Generator or None

    Returns
    -------
    SimpleConvNet
        (N, in_channels, H, W) to logits (N, num_classes).

    Examples
    --------
    >>> from fastcnn import models
    >>> models.simple_convnet().num_parameters()
    433890
    """
    shape = (in_channels, *pair("simple_convnet", "image_size", image_size, 1))
    return SimpleConvNet(shape, output_size=num_classes, weight_init_std=weight_std, seed=seed)
