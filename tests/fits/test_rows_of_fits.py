"""Fits of one model, one after the other: equal to epochs in new models, on the same batches.

Options, layers, losses, metrics, optimizers, callbacks and data are drawn at random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import random_fits
from random_fits import Config

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore")
STEPS = ("fit", *random_fits.KINDS)
NOW = (107, 147, 169, 256)


def some(now: Any, many: int) -> Any:
    """Parametrize by numbers of configurations; `make test-more` also runs the other ones."""
    return pytest.mark.parametrize(
        "number", [pytest.param(n, marks=[] if n in now else [pytest.mark.more(2)])
                   for n in sorted({*now, *range(many), 144, 380})],
    )  # fmt: skip


def assert_equal_rows(config: Config, wanted: list[Config], found: list[Config]) -> None:
    assert len(wanted) == len(found)
    for k, (one, other) in enumerate(zip(wanted, found, strict=True)):
        both = {name: other[name] for name in one}
        assert not random_fits.differences(config, one, both, tolerance=1e-3), k


def check_orders(config: Config, orders: list[Any]) -> None:
    """A pass has each row once, and a shuffled one never the order of another one."""
    for part, epochs in zip(config["fits"], orders, strict=True):
        if part["fit"]["data"] in ("generator", "data set"):
            continue
        visited = [row for batches in epochs for batch in batches for row in batch]
        rows = max(visited, default=-1) + 1
        passes = [visited[at : at + rows] for at in range(0, len(visited), rows)]
        stopped = any(name == "stop" for name, _ in part["callbacks"])
        for a in [] if stopped or part["again"] else passes:
            assert len({*a}) == len(a)
        whole = [tuple(a) for a in passes if len(a) == rows]
        assert len({*whole}) == (len(whole) if part["shuffle"] else min(len(whole), 1))
        assert part["shuffle"] or visited[:rows] == [*range(rows)][: len(visited)]


@some(NOW, 80)
def test_fits_equal_epochs_in_new_models(backend: str, number: int) -> None:
    """Whether the model defines steps of its own or not."""
    steps = STEPS[number % len(STEPS)]
    # With several outputs, steps of one's own report other names.
    config = random_fits.row_of_fits(number, outputs=None if steps == "fit" else 1)
    module: Any = gpunn if steps == "fit" else random_fits.WithSteps(random_fits.KINDS[steps])
    first = random_fits.first_weights(config)
    gpunn.utils.set_random_seed(number)
    found = random_fits.run_row(module, config, first, plain=gpunn, backend=backend)
    gpunn.utils.set_random_seed(number)
    _, orders = random_fits.orders_of(config, first, backend="numpy")
    check_orders(config, orders)
    far = random_fits.LongWay(config, first, backend="numpy").fits(orders)
    assert_equal_rows(config, far, found)
    assert [len(one["epochs"]) for one in found] == [len(epochs) for epochs in orders]
    assert all(np.isfinite(w).all() for one in found for w in one["weights"])


@pytest.mark.parametrize("steps", STEPS)
def test_each_pass_has_an_order_of_its_own(backend: str, steps: str) -> None:
    """Also that of another fit, with and without validation; told from the losses of batches."""
    module: Any = gpunn if steps == "fit" else random_fits.WithSteps(random_fits.KINDS[steps])
    gpunn.utils.set_random_seed(0)
    line = gpunn.layers.Dense(1, kernel_initializer="zeros")
    model = module.Sequential([gpunn.Input((1,)), line], backend=backend)
    model.compile(gpunn.optimizers.SGD(0.0), "mse")
    x, y = np.ones((8, 1)), np.sqrt(2.0 ** np.arange(8))[:, np.newaxis]
    sums: list[float] = []
    note = gpunn.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: sums.append((batch + 1) * logs["loss"])
    )
    for validation in (None, (x, y), None, (x, y)):
        model.fit(x, y, 1, 2, verbose=0, callbacks=[note], validation_data=validation)
    rows = np.log2(np.diff(np.reshape(sums, (8, 8)), prepend=0)).round().astype(int)
    assert (np.sort(rows) == np.arange(8)).all()
    assert len({*map(tuple, rows)}) == 8
