"""Sums of gradients: where a value goes to several layers, their gradients are added in the order
in which the layers themselves add them, so that training has the same bits."""

from collections.abc import Callable
from typing import Any

from .tape import Cell

OUTPUT = ""  # stands in an order for the loss

Order = list[Any]
"""What is added up for a value: names of the calls that take it, or sums of its own in a nested
net, each an `Order`. It grows while a net is flattened."""


class Sum:
    """The gradient of one value, added up as its terms come in.

    Parameters
    ----------
    order : Order
    add : callable
        ``add(term, total)`` records total += term.
    terms : dict, optional
        Of the whole sum, for the sums in it.
    """

    def __init__(
        self,
        order: Order,
        add: Callable[[Cell, Cell], None],
        terms: dict[str, list[Cell]] | None = None,
    ) -> None:
        self.add = add
        self.terms: dict[str, list[Cell]] = {} if terms is None else terms
        self.left = [
            Sum(item, add, self.terms) if isinstance(item, list) else item for item in order
        ]
        self.total: Cell | None = None

    def take(self, call: str, cell: Cell) -> None:
        """A term by the call that it comes from; nobody else will write to it."""
        self.terms.setdefault(call, []).append(cell)

    def fold(self, last: bool) -> Cell | None:
        """Add what is there and next in order; with `last`, no more terms will come."""
        while self.left:
            item = self.left[0]
            if isinstance(item, Sum):
                cell = item.fold(last)
                if item.left:
                    break
            else:
                waiting = self.terms.get(item)
                if not waiting and not last:
                    break
                cell = waiting.pop(0) if waiting else None
            del self.left[0]
            if cell is not None and self.total is not None:
                self.add(cell, self.total)
            elif cell is not None:
                self.total = cell
        return self.total
