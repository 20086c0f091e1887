"""What several test modules share."""

from __future__ import annotations

import emulated  # noqa: F401  makes GPUNN_BACKEND=emulated known
import pytest

from gpunn.datasets import mnist as source


@pytest.fixture(scope="session")
def mnist() -> tuple:
    """The real MNIST, `((x_train, y_train), (x_test, y_test))`, fetched at the first use."""
    return source.load_data()
