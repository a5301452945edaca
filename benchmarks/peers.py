"""Who computes what: fastcnn and its peers, each as a callable on the same float32 data.

Peers by name:

    fastcnn         fastcnn.ops
    naive           fastcnn.reference, the plain twin
    numpy           NumPy written well: im2col + BLAS, strided windows (numpy_blas.py)
    torch           PyTorch, contiguous (NCHW)
    torch_cl        PyTorch, channels_last

A `Case` is one pass over one layer. It makes its data once (seeded), gives the expected outputs,
which the naive twin computes in float64, and a `Candidate` for each peer that is installed. All
candidates of a case compute the same outputs: a convolution's weight gradient comes with the bias
gradient, everywhere. The cases of a family are in peers_<family>.py.
"""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .timing import TOLERANCE

OURS = "fastcnn"
TORCH = ("torch", "torch_cl")
ALL = (OURS, "naive", "numpy", *TORCH)


class Candidate(NamedTuple):
    """`run()` does the timed work; `outputs(result)` gives its arrays in NCHW for the check."""

    run: Callable[[], Any]
    outputs: Callable[[Any], Sequence[NDArray]]


def arrays_of(result: Any) -> list[NDArray]:
    """A NumPy result, or a tuple of them, as a list of arrays."""
    return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]


def tensors_of(result: Any) -> list[NDArray]:
    """A PyTorch result, or a tuple with None for what was not asked, as a list of arrays."""
    results = result if isinstance(result, tuple) else (result,)
    return [t.detach().contiguous().numpy() for t in results if t is not None]


class Case:
    """One pass over one layer: a family says how to make the data and how each peer computes."""

    layouts: tuple[str, ...] = TORCH  # the PyTorch layouts that differ for this family
    bytes: int | None = None  # what a pass must move, for those that memory bounds
    multiply_adds: int | None = None  # of its formulation, for those that arithmetic bounds
    tolerance = TOLERANCE

    def __init__(self, layer: Any, wrt: str, seed: int = 0) -> None:
        self.layer, self.wrt = layer, wrt
        self.data: tuple[Any, ...] = self.make(np.random.default_rng(seed))

    def make(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """The arrays that `call`, `numpy` and `torch` get; float32 ones may become float64."""
        raise NotImplementedError

    def call(self, library: Any, *data: Any) -> Any:
        """The pass by fastcnn.ops or fastcnn.reference, whose signatures are the same."""
        raise NotImplementedError

    def numpy(self, *data: Any) -> Any:
        """The pass in plain NumPy; optional."""
        raise NotImplementedError

    def torch(self, channels_last: bool) -> Candidate:
        """The pass in PyTorch, its tensors already in that layout."""
        raise NotImplementedError

    def ours(self) -> Candidate:
        """The pass by fastcnn."""
        from fastcnn import ops

        data = self.fresh(np.float32)
        return Candidate(lambda: self.call(ops, *data), arrays_of)

    def fresh(self, dtype: Any) -> tuple[Any, ...]:
        """A copy of the data with its floating arrays in `dtype`, for passes that write to them."""
        return tuple(
            a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a
            for a in self.data
        )

    def expected(self) -> list[NDArray]:
        """The outputs by the naive reference in float64, the yardstick of all candidates."""
        from fastcnn import reference

        return arrays_of(self.call(reference, *self.fresh(np.float64)))

    def candidates(self, names: Sequence[str]) -> dict[str, Candidate]:
        """Those of `names` that are installed, and different for this family."""
        from fastcnn import reference

        found = {}
        for name in names:
            data = self.fresh(np.float32)
            if name == OURS:
                found[name] = self.ours()
            elif name == "naive":
                found[name] = Candidate(lambda d=data: self.call(reference, *d), arrays_of)
            elif name == "numpy" and type(self).numpy is not Case.numpy:
                found[name] = Candidate(lambda d=data: self.numpy(*d), arrays_of)
            elif name in self.layouts and have_torch():
                found[name] = self.torch(channels_last=name == "torch_cl")
        return found


def have_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def tensors(data: Sequence[Any], channels_last: bool = False) -> list[Any]:
    """Tensors of their own memory; four-dimensional ones in the layout asked for."""
    import torch

    made = []
    for a in map(torch.from_numpy, data):
        last = channels_last and a.ndim == 4
        layout = torch.channels_last if last else torch.contiguous_format
        # Not .contiguous(): with one channel it keeps NCHW strides, and slower kernels follow.
        made.append(torch.empty(a.shape, dtype=a.dtype, memory_format=layout).copy_(a))
    return made


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


def memory_copy(nbytes: int, threads: int) -> Callable[[], None]:
    """A copy that moves `nbytes` in all, half read and half written: the bound of memory.

    Threads share it only where each has at least 4 MiB, since handing out work costs time too.
    """
    source = np.ones(nbytes // 8, np.float32)
    target = np.zeros_like(source)
    parts = max(1, min(threads, nbytes >> 22))
    pool = ThreadPoolExecutor(parts)
    cuts = [source.size * i // parts for i in range(parts + 1)]

    def piece(i: int) -> None:
        np.copyto(target[cuts[i] : cuts[i + 1]], source[cuts[i] : cuts[i + 1]])

    def run() -> None:
        others = [pool.submit(piece, i) for i in range(1, parts)]
        piece(0)
        for other in others:
            other.result()

    return run


def multiply_adds(count: int, threads: int) -> Callable[[], float]:
    """`count` multiply-adds in registers, on our own tier and threads: the bound of arithmetic."""
    from fastcnn import _kernels

    return lambda: _kernels.isa_multiply_adds(count, threads)
