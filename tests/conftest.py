"""What several test modules share."""

from __future__ import annotations

import os

import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known
import pytest

from gpunn.backends.card import why_not
from gpunn.datasets import mnist as source


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a card where there is none, unless that card is asked for."""
    needy = [item for item in items if item.get_closest_marker("gpu")]
    if needy and os.environ.get("GPUNN_BACKEND") != "cupy" and why_not() is not None:
        config.hook.pytest_deselected(items=needy)
        items[:] = [item for item in items if item not in needy]


@pytest.fixture(params=[pytest.param("cupy", marks=pytest.mark.gpu), "emulated"])
def card(request: pytest.FixtureRequest) -> str:
    """A backend that runs the CUDA kernels, by name: a card's, and the one that emulates it."""
    return request.param


@pytest.fixture(scope="session")
def mnist() -> tuple:
    """The real MNIST, `((x_train, y_train), (x_test, y_test))`, fetched at the first use."""
    return source.load_data()
