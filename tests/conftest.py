"""What every test gets: the same hypothesis examples each time, and thread counts restored."""

from collections.abc import Iterator

import numpy as np
import pytest
from helpers import THREADS
from hypothesis import HealthCheck, settings

import fastcnn

settings.register_profile(
    "fastcnn",
    deadline=None,  # a test must not depend on how busy the machine is
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fastcnn")


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed."""
    return np.random.default_rng(20240607)


@pytest.fixture(params=THREADS, ids=lambda n: f"t{n}")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """The test runs once per thread count, inside ``fastcnn.threads``."""
    with fastcnn.threads(request.param):
        yield request.param


@pytest.fixture(params=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> np.dtype:
    """The test runs once per dtype."""
    return np.dtype(request.param)
