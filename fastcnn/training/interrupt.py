"""Ctrl-C as a flag: the step that runs is finished, then the fit ends in order."""

import signal
import threading
from types import FrameType


class InterruptFlag:
    """Within a ``with`` block the first SIGINT sets `raised`; a second one is handled as before.

    Outside the main thread (where Python has no signal handlers), and in programs that ignore
    SIGINT, nothing is changed.

    Examples
    --------
    >>> with InterruptFlag() as interrupt:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupt.raised
    True
    """

    def __init__(self) -> None:
        self.raised = False
        self._installed = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.raised = True
        self._restore()

    def _restore(self) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._before)
            self._installed = False

    def __enter__(self) -> "InterruptFlag":
        before = signal.getsignal(signal.SIGINT)
        main = threading.current_thread() is threading.main_thread()
        # None: set by code outside Python; it could not be put back.
        if main and before not in (signal.SIG_IGN, None):
            self._before = before
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()
