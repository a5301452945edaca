"""Who computes what: fastcnn and its peers, each as a callable on the same float32 data.

Peers by name:

    fastcnn         fastcnn.ops
    naive           fastcnn.reference, the plain twin
    blas            NumPy: im2col + BLAS (numpy_blas.py)
    torch           PyTorch, contiguous (NCHW)
    torch_cl        PyTorch, channels_last

A `Case` is one pass over one layer; it makes its data once (seeded), gives the expected outputs in
float64, and a `Candidate` for each peer that is installed. All candidates of a case compute the
same outputs: a convolution's weight gradient comes with the bias gradient, everywhere.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from . import numpy_blas
from .shapes import Conv

OURS = "fastcnn"
TORCH = ("torch", "torch_cl")
NAIVE_FLOPS = 3e8  # above this the naive reference takes too long to be the yardstick


class Candidate(NamedTuple):
    """`run()` does the timed work; `outputs(result)` gives its arrays in NCHW for the check."""

    run: Callable[[], Any]
    outputs: Callable[[Any], Sequence[NDArray]]


def have_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


@contextlib.contextmanager
def thread_count(n: int) -> Iterator[None]:
    """Every peer on `n` threads: fastcnn, BLAS and, if installed, PyTorch."""
    from threadpoolctl import threadpool_limits

    import fastcnn

    with contextlib.ExitStack() as stack:
        if have_torch():
            import torch

            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(n)
        stack.enter_context(threadpool_limits(n, user_api="blas"))
        stack.enter_context(fastcnn.threads(n))
        yield


def arrays_of(result: Any) -> list[NDArray]:
    """A NumPy result, or a tuple of them, as a list."""
    return list(result) if isinstance(result, tuple) else [result]


def tensors_of(result: Any) -> list[NDArray]:
    """A PyTorch result, or a tuple with None for what was not asked, as NumPy arrays."""
    results = result if isinstance(result, tuple) else (result,)
    return [t.contiguous().numpy() for t in results if t is not None]


class ConvCase:
    """One pass over a convolution layer."""

    def __init__(self, layer: Conv, wrt: str, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.layer, self.wrt = layer, wrt
        self.x = rng.standard_normal(layer.x_shape, np.float32)
        self.w = rng.standard_normal(layer.w_shape, np.float32)
        self.b = rng.standard_normal(layer.K, np.float32)
        self.dy = rng.standard_normal(layer.y_shape, np.float32)

    @property
    def naive_affordable(self) -> bool:
        return self.layer.flops <= NAIVE_FLOPS

    def expected(self) -> list[NDArray]:
        """The outputs in float64: from the naive reference, or im2col + BLAS for big layers."""
        arrays = [a.astype(np.float64) for a in (self.x, self.w, self.b, self.dy)]
        run = self._naive if self.naive_affordable else self._blas
        return arrays_of(run(*arrays))

    def candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        """Those of `names` that are installed and affordable."""
        arrays = (self.x, self.w, self.b, self.dy)
        found = {}
        for name in names:
            if name == OURS:
                found[name] = Candidate(lambda: self._ours(*arrays), arrays_of)
            elif name == "naive" and self.naive_affordable:
                found[name] = Candidate(lambda: self._naive(*arrays), arrays_of)
            elif name == "blas":
                found[name] = Candidate(lambda: self._blas(*arrays), arrays_of)
            elif name in TORCH and have_torch():
                found[name] = self._torch(channels_last=name == "torch_cl")
        return found

    def _ours(self, x: NDArray, w: NDArray, b: NDArray, dy: NDArray) -> Any:
        from fastcnn import ops

        return self._call(ops, x, w, b, dy)

    def _naive(self, x: NDArray, w: NDArray, b: NDArray, dy: NDArray) -> Any:
        from fastcnn import reference

        return self._call(reference, x, w, b, dy)

    def _call(self, library: Any, x: NDArray, w: NDArray, b: NDArray, dy: NDArray) -> Any:
        options: dict[str, Any] = self.layer.options
        if self.wrt == "forward":
            return library.conv2d(x, w, b, **options)
        if self.wrt == "backward_input":
            return library.conv2d_backward_input(dy, w, x.shape, **options)
        return library.conv2d_backward_weight(dy, x, w.shape, **options)

    def _blas(self, x: NDArray, w: NDArray, b: NDArray, dy: NDArray) -> Any:
        if self.wrt == "forward":
            return numpy_blas.conv2d(self.layer, x, w, b)
        if self.wrt == "backward_input":
            return numpy_blas.conv2d_backward_input(self.layer, dy, w)
        return numpy_blas.conv2d_backward_weight(self.layer, dy, x)

    def _torch(self, *, channels_last: bool) -> Candidate:
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        x, w, dy = (torch.from_numpy(a).to(memory_format=layout) for a in (self.x, self.w, self.dy))
        b, layer = torch.from_numpy(self.b), self.layer
        stride, dilation, padding = [layer.stride] * 2, [layer.dilation] * 2, [*layer.padding]
        if self.wrt == "forward":

            def forward() -> Any:
                return torch.conv2d(x, w, b, stride, padding, dilation, layer.groups)

            return Candidate(forward, tensors_of)
        mask = [True, False, False] if self.wrt == "backward_input" else [False, True, True]

        def backward() -> Any:
            return torch.ops.aten.convolution_backward(
                dy, x, w, [layer.K], stride, padding, dilation, False, [0, 0], layer.groups, mask
            )

        return Candidate(backward, tensors_of)
