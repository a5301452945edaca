"""For every test and doctest: process-wide settings are put back afterwards."""

from collections.abc import Iterator

import pytest

from fastcnn import _config


@pytest.fixture(autouse=True)
def _restore_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_config, "_num_threads", _config._num_threads)
    yield
