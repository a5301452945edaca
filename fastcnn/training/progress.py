"""Progress bars: one an epoch, in terminals and notebooks, silent elsewhere."""

import sys
import warnings
from types import TracebackType
from typing import Any, Literal

Progress = bool | Literal["auto"]


def _in_notebook() -> bool:
    """True in a Jupyter kernel (not in a terminal's IPython)."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def wanted(progress: Progress) -> bool:
    """Whether to draw: as told, else in a notebook or when stderr is a terminal.

    Raises
    ------
    ValueError
        If `progress` is not True, False or "auto".
    """
    if progress not in (True, False, "auto"):
        raise ValueError(f"fit: expected progress to be True, False or 'auto', got {progress!r}")
    if progress == "auto":
        return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())
    return progress


class EpochBar:
    """The bar of one epoch; does nothing at all if it is not wanted."""

    def __init__(self, epoch: int, epochs: int, total: int, done: int, wanted: bool) -> None:
        self._bar: Any = None
        if not wanted:
            return
        with warnings.catch_warnings():  # tqdm's notebook bar warns if ipywidgets is missing
            warnings.simplefilter("ignore")
            if _in_notebook():
                from tqdm.auto import tqdm
            else:
                from tqdm.std import tqdm

            class Bar(tqdm):
                monitor_interval = 0  # no thread of tqdm's beside ours

            digits = len(str(epochs))
            self._bar = Bar(
                desc=f"epoch {epoch:{digits}}/{epochs}", total=total, initial=done, unit="batch"
            )

    def update(self) -> None:
        """One more batch is done."""
        if self._bar is not None:
            self._bar.update()

    def say(self, text: str) -> None:
        """Show `text` behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def __enter__(self) -> "EpochBar":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
