"""A tape: calls recorded once and run many times, on arrays that share one block of memory.

Recording names arrays (`Cell`) before they have memory. Each call says which cells it touches, so
that at the end every cell has a lifetime, from the first call to the last; `Tape.lay_out` then
gives cells whose lifetimes do not overlap the same memory.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._checks import Array, empty

_ALIGNMENT = 64
NOTHING = np.empty(0, np.uint8)


class Cell:
    """An array of a tape; `array` is there once the tape is bound to memory."""

    __slots__ = ("array", "dtype", "first", "last", "offset", "shape")

    array: Array

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.first = self.last = -1
        self.offset = 0

    @property
    def nbytes(self) -> int:
        """Bytes in the arena, alignment included."""
        size = math.prod(self.shape) * self.dtype.itemsize
        return max(-(-size // _ALIGNMENT), 1) * _ALIGNMENT


class Tape:
    """Calls in order, the cells they touch, and the scratch that the greediest of them needs."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.marks: dict[str, int] = {}
        self.scratch = Cell((0,), np.uint8)
        self.arena_bytes = 0
        self._cells: list[Cell] = []
        self._kept: list[Cell] = []
        self._arena: Array | None = None

    def cell(self, shape: Sequence[int], dtype: Any) -> Cell:
        """A new cell."""
        cell = Cell(shape, dtype)
        self._cells.append(cell)
        return cell

    def call(self, function: Callable[[], Any], *touched: Cell | None, scratch: int = 0) -> None:
        """Record a call that reads or writes `touched`, and needs `scratch` bytes."""
        at = len(self.calls)
        self.calls.append(function)
        if scratch:
            self.scratch.shape = (max(scratch, self.scratch.shape[0]),)
        for cell in touched:
            if cell is None:
                continue
            if cell.first < 0:
                cell.first = at
            cell.last = at

    def mark(self, name: str) -> None:
        """Name the place of the next call, for `run`."""
        self.marks[name] = len(self.calls)

    def keep(self, cell: Cell) -> None:
        """The cell is read after the last call."""
        self._kept.append(cell)

    def lay_out(self) -> None:
        """Give every cell an offset: the largest first, each in the lowest gap of its lifetime."""
        for cell in self._kept:
            cell.last = len(self.calls)
        used = [c for c in self._cells if c.first >= 0]
        if self.scratch.shape[0]:
            self.scratch.first, self.scratch.last = 0, len(self.calls)
            used.append(self.scratch)
        placed: list[Cell] = []
        for cell in sorted(used, key=lambda c: -c.nbytes):
            at = 0
            for other in sorted(
                (p for p in placed if p.first <= cell.last and cell.first <= p.last),
                key=lambda p: p.offset,
            ):
                if at + cell.nbytes <= other.offset:
                    break
                at = max(at, other.offset + other.nbytes)
            cell.offset = at
            placed.append(cell)
            self.arena_bytes = max(self.arena_bytes, at + cell.nbytes)

    def bind(self, arena: Array) -> None:
        """Put the cells into `arena`, uint8 of at least `arena_bytes`."""
        if arena is self._arena:
            return
        self._arena = arena
        for cell in [*self._cells, self.scratch]:
            if cell.first >= 0:
                size = math.prod(cell.shape) * cell.dtype.itemsize
                part = arena[cell.offset : cell.offset + size]
                cell.array = part.view(cell.dtype).reshape(cell.shape)
        if not self.scratch.shape[0]:
            self.scratch.array = empty("plan", (0,), np.uint8)

    def release(self) -> None:
        """Let go of the memory; `bind` again before the next run."""
        self._arena = None
        for cell in [*self._cells, self.scratch]:
            cell.array = NOTHING

    def run(self, first: str, last: str) -> None:
        """Run the calls from one mark to another."""
        for function in self.calls[self.marks[first] : self.marks[last]]:
            function()
