"""Operations on a rank's shard of a batch give what they give for these rows of the whole batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gpunn import losses
from gpunn.backends import get_backend
from gpunn.backends.contract.control import BATCHES, POSITION, Control
from gpunn.backends.shared.order import Order
from gpunn.distribution.communicator import Communicator

FIRST = [0, 1, 3, 8, 13, 128, 129, 300]
SHAPE = (401,)


@pytest.fixture(params=["numpy", "compiled", "emulated"])
def device(request: pytest.FixtureRequest) -> Any:
    return get_backend(request.param)


@pytest.fixture
def control(device: Any) -> Control:
    control = Control(device)
    control.set(BATCHES, 6)
    return control


@pytest.mark.parametrize("first", FIRST)
def test_dropout(device: Any, control: Control, first: int) -> None:
    x = np.linspace(1, 2, SHAPE[0], dtype=np.float32)

    def dropped(part: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray]:
        out, mask = device.empty(part.shape, part.dtype), device.empty(part.shape, bool)
        device.dropout(device.upload(part), 0.4, 5, 3, control, out, mask, **options)
        return device.read(out), device.read(mask)

    for whole, part in zip(dropped(x), dropped(x[first:], first=first), strict=True):
        assert_array_equal(part, whole[first:])


@pytest.mark.parametrize("with_factors", [False, True])
@pytest.mark.parametrize("first", FIRST)
def test_normal_noise(device: Any, control: Control, first: int, with_factors: bool) -> None:
    x = np.linspace(1, 2, SHAPE[0])

    def noisy(part: np.ndarray, **options: Any) -> np.ndarray:
        out = device.empty(part.shape, part.dtype)
        factors = device.empty(part.shape, part.dtype) if with_factors else None
        given = device.upload(part)
        device.normal_noise(given, 0.5, 5, 3, control, out, factors, **options)
        return device.read(out)

    assert_allclose(noisy(x[first:], first=first), noisy(x)[first:], rtol=1e-15)


@pytest.mark.parametrize("seed", [None, 7])
def test_gather(device: Any, control: Control, seed: int | None) -> None:
    source = device.upload(np.arange(40, dtype=np.int32))
    order = Order(40, seed)
    control.set(POSITION, 10)

    def gathered(rows: int, first: int) -> np.ndarray:
        out = device.empty((rows,), np.int32)
        device.gather(source, order, control, out, first=first)
        return device.read(out)

    whole = gathered(20, 0)
    assert_array_equal(gathered(9, 11), whole[11:])
    if device.name != "emulated":  # it cannot read the position without waiting
        with pytest.raises(ValueError, match="9 rows from position 35"):
            gathered(9, 25)


@pytest.mark.parametrize("loss", [losses.MeanSquaredError(), losses.CategoricalCrossentropy()])
def test_losses_of_shares_add_up(device: Any, loss: Any) -> None:
    generator = np.random.default_rng(0)
    y = generator.dirichlet(np.ones(4), 11)
    t = np.eye(4)[generator.integers(0, 4, 11)]

    def computed(rows: slice, totals: Any) -> np.ndarray:
        gradient = device.empty(y[rows].shape, y.dtype)
        given = device.upload(t[rows]), device.upload(y[rows])
        device.loss(loss, *given, None, 1 / 11, gradient, totals, 11)
        return device.read(gradient)

    whole, parts = device.zeros((3,), np.float64), device.zeros((3,), np.float64)
    expected = computed(slice(0, 11), whole)
    found = [computed(slice(start, stop), parts) for start, stop in ((0, 5), (5, 11))]
    assert_allclose(np.concatenate(found), expected, rtol=1e-12)
    assert_allclose(device.read(parts), device.read(whole), rtol=1e-12)


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize("rows", range(10))
def test_each_row_has_one_rank(size: int, rows: int) -> None:
    class Rank(Communicator):
        def __init__(self, rank: int) -> None:
            super().__init__()
            self.rank, self.size = rank, size

    shares = [Rank(rank).shard(rows) for rank in range(size)]
    found = [row for shard in shares for row in range(shard.first, shard.first + shard.rows)]
    assert found == list(range(rows))
    assert max(s.rows for s in shares) - min(s.rows for s in shares) <= 1
