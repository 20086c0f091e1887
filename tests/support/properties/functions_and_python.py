"""Compare a function with what Python does in each call, under `config.run_eagerly`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.testing import assert_allclose

from gpunn.common.config import run_eagerly

Step = Callable[..., Any]


def eagerly(work: Callable[[], Any]) -> Any:
    run_eagerly(True)
    try:
        return work()
    finally:
        run_eagerly(False)


def results(step: Step, calls: list[tuple[Any, ...]]) -> list[Any]:
    return [np.asarray(step(*args), "float64") for args in calls]


def assert_alike(found: list[Any], wanted: list[Any]) -> None:
    for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
        assert_allclose(a, b, rtol=1e-9, err_msg=f"call {number + 1}")
