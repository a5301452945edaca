"""For every test and doctest: process-wide settings are put back afterwards."""

import signal
from collections.abc import Iterator

import pytest

from fastcnn import _config

# In the background or by nohup a process ignores Ctrl-C, and so would what the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restore_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("_num_threads", "_exact"):
        monkeypatch.setattr(_config, name, getattr(_config, name))
    yield
