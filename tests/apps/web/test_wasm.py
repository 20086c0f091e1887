"""The kernels for pages, gpunn.wasm: built from the sources in the tree, with NumPy's results.

wasmtime runs the module, as a browser would; see `browser` in tests/support.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import browser
import numpy as np
import pytest
from registered_networks import (
    BATCH,
    CASES,
    assert_trains_as_numpy,
    every_case,
    network,
    unusual,
)
from scripts import tool

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.contract.control import BATCHES, PASS, Control
from gpunn.backends.shared.order import Order, permutation

ROOT = Path(__file__).parents[3]
TOOL = tool("web")

pytestmark = unusual


@pytest.fixture
def page() -> Any:
    """The gpunn.wasm backend."""
    browser.needed()
    return get_backend("browser")


# -- the module's sources


def test_the_module_is_made_of_these_sources() -> None:
    """`make web` rebuilds the module and the hashes beside it."""
    named = dict(
        reversed(line.split("  "))
        for line in (ROOT / TOOL["HASHES"]).read_text(encoding="utf-8").splitlines()
    )
    now = {
        path.as_posix(): hashlib.sha256((ROOT / path).read_bytes()).hexdigest()
        for path in [*TOOL["sources"](), TOOL["MODULE"]]
    }
    assert now == named, "kernels have changed: make web"


@pytest.mark.more
@pytest.mark.timeout(900)
def test_the_sources_give_the_same_module_again(tmp_path: Path) -> None:
    try:
        import ziglang  # noqa: F401
    except ImportError:
        reason = "the kernels of pages are compiled by zig: pip install 'gpunn[web]'"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    TOOL["build"](tmp_path / "again.wasm")
    assert (tmp_path / "again.wasm").read_bytes() == (ROOT / TOOL["MODULE"]).read_bytes()


# -- its results

FIRSTS = list({case[:2]: case for case in reversed(CASES)}.values())
SOME = [case for case in FIRSTS if case[0] != "metric"][::8]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(("kind", "name", "arguments"), SOME, ids=[f"{k} {n}" for k, n, _ in SOME])
def test_a_hundred_steps_are_those_of_numpy(
    page: Any, kind: str, name: str, arguments: dict
) -> None:
    assert_trains_as_numpy("browser", "float32", 20, kind, name, arguments)


@pytest.mark.more(2)
@every_case
def test_everything_registered_trains_as_with_numpy(
    page: Any, kind: str, name: str, arguments: dict
) -> None:
    assert_trains_as_numpy("browser", "float32", 20, kind, name, arguments)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_step_is_one_program_of_the_module(page: Any, optimizer: str) -> None:
    """NumPy computes no part of it, so a page can run it."""
    model = network(page, "float32", "optimizer", optimizer, {})
    rng = np.random.default_rng(0)
    x, y = rng.random((BATCH, 4, 3), np.float32), rng.integers(0, 5, BATCH)
    rows = gpunn.feeding.data.to_rows(model._trainer.spec, x, y)
    run = model._trainer.training.program(BATCH, rows, rows.order(model._trainer.seed)).run
    model._trainer.control.begin_pass(0)
    run(1)
    calls: list[Any] = []
    own = page.library.Program
    page.library.Program = lambda given: calls.append([*given]) or own(calls[-1])
    try:
        model._trainer.control.begin_pass(0)
        run(2)
    finally:
        page.library.Program = own
    names = [call.operation.key[0] for call in calls[-1]]
    assert names[:2] == ["gather", "gather"] and names[-2:] == ["update", "advance"]


def test_masks_and_order_are_those_of_numpy_word_for_word(page: Any) -> None:
    shape, seed, rows = (37, 11), 0xFEDCBA9876543210, 1009
    masks, orders = [], []
    for backend in (page, get_backend("numpy")):
        control = Control(backend)
        control.set(BATCHES, 12345)
        control.set(PASS, 678)
        x, mask = backend.upload(np.ones(shape, np.float32)), backend.zeros(shape, bool)
        backend.dropout(x, 0.3, seed, 9, control, backend.zeros(shape, np.float32), mask)
        masks.append(backend.read(mask))
        numbers = backend.upload(np.arange(rows, dtype=np.int32))
        order = backend.zeros((rows,), np.int32)
        backend.gather(numbers, Order(rows, seed), control, order)
        orders.append(backend.read(order))
    np.testing.assert_array_equal(*masks)
    np.testing.assert_array_equal(*orders)
    np.testing.assert_array_equal(orders[0], permutation(rows, seed, 678))
    assert 0.6 < masks[0].mean() < 0.8


def test_a_convolutional_network_sees_the_same(page: Any) -> None:
    x = np.random.default_rng(0).random((5, 12, 12, 1), np.float32)
    seen = []
    for backend in ("browser", "numpy"):
        gpunn.utils.set_random_seed(1)
        model = gpunn.Sequential(
            [
                layers.Input((12, 12, 1)),
                layers.Conv2D(6, 3, activation="relu", padding="same"),
                layers.BatchNormalization(),
                layers.MaxPooling2D(2),
                layers.Conv2D(4, 3, activation="tanh"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, activation="softmax"),
            ],
            backend=backend,
        )
        seen.append(model.predict(x, verbose=0))
    np.testing.assert_allclose(*seen, rtol=1e-5, atol=1e-6)
