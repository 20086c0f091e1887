"""A plugin of pytest that writes the outcome of each of Keras's tests as a line of JSON."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from benchmarks.keras_tests import concerns

OUT = Path(os.environ["KERAS_TESTS_OUT"])
DTYPES = re.compile("(Ops|Numpy)DtypeTest")
WITH = os.environ["KERAS_TESTS_WITH"]

if WITH == "gpunn":
    from benchmarks.keras_tests import imports

    imports.install()


def name_of(item: Any) -> str:
    return str(item.nodeid).removeprefix("tests/")


def pytest_configure(config: Any) -> None:
    for mark in ("requires_trainable_backend", "requires_tpu"):
        config.addinivalue_line("markers", mark)
    warnings.simplefilter("ignore")


def pytest_collection_modifyitems(items: list[Any]) -> None:
    # Most tests of dtypes ask JAX for the dtype that is expected.
    without_jax = importlib.util.find_spec("jax") is None
    items[:] = [
        item for item in items
        if concerns(name_of(item)) and not (without_jax and DTYPES.search(item.nodeid))
    ]  # fmt: skip


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: Any, call: Any) -> Any:
    report = (yield).get_result()
    if report.when != "call" and report.outcome == "passed":
        return
    line: dict[str, Any] = {"test": name_of(report), "outcome": report.outcome}
    if call.excinfo is not None and report.outcome == "failed":
        error = call.excinfo.value
        line |= {"error": type(error).__name__, "message": str(error)[:400]}
    with OUT.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
