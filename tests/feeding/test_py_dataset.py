"""Batches of one's own by their number: Keras's PyDataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gpunn

RANDOM = np.random.default_rng(3)
PAIRS = [(RANDOM.random((4, 6)), RANDOM.integers(0, 3, 4)) for _ in range(5)]


def model_of() -> Any:
    gpunn.utils.set_random_seed(11)
    model = gpunn.Sequential([gpunn.layers.Input((6,)), gpunn.layers.Dense(3)], backend="numpy")
    model.compile("sgd", gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


class Numbered(gpunn.utils.PyDataset):
    """As Keras's guides write them; notes which batches were asked for."""

    def __init__(self, pairs: list[Any], **options: Any) -> None:
        super().__init__(**options)
        self.pairs = pairs
        self.asked: list[int] = []
        self.hooks: list[str] = []

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Any:
        self.asked.append(index)
        return self.pairs[index]

    def on_epoch_begin(self) -> None:
        self.hooks.append("begin")

    def on_epoch_end(self) -> None:
        self.hooks.append("end")


def test_numbered_batches_come_in_another_order_each_epoch_unless_told_not_to() -> None:
    data = Numbered(PAIRS, workers=2, use_multiprocessing=True)
    count = len(data)
    model_of().fit(data, epochs=3, verbose=0)
    asked, rounds = data.asked[-3 * count :], [*range(count)]
    orders = [asked[at : at + count] for at in range(0, 3 * count, count)]
    assert all(sorted(order) == rounds for order in orders)
    assert len({*map(tuple, orders)}) == 3
    assert data.hooks == ["begin", "end"] * 3
    again = Numbered(PAIRS)
    model_of().fit(again, epochs=3, verbose=0)
    assert again.asked == data.asked
    data.asked.clear()
    model_of().fit(data, epochs=2, shuffle=False, verbose=0)
    assert data.asked[-2 * count :] == rounds * 2
    data.asked.clear()
    model_of().evaluate(data, verbose=0)
    assert data.asked[-count:] == rounds


def test_numbered_batches_without_end() -> None:
    class Endless(Numbered):
        num_batches = None  # type: ignore[assignment]

        def __len__(self) -> int:
            raise TypeError

        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index % len(self.pairs))

    data = Endless(PAIRS)
    with pytest.raises(ValueError, match="without end: pass steps_per_epoch"):
        model_of().fit(data, verbose=0)
    data.asked.clear()
    model_of().fit(data, steps_per_epoch=12, verbose=0)
    assert data.asked[-12:] == [number % len(data.pairs) for number in range(12)]


def test_what_a_numbered_data_set_must_define() -> None:
    class Half(gpunn.utils.Sequence):
        def __getitem__(self, index: int) -> Any:
            return PAIRS[0]

    with pytest.raises(TypeError, match=r"Half must define __len__\(self\)"):
        model_of().fit(Half(), verbose=0)
    with pytest.raises(TypeError, match=r"PyDataset must define __getitem__"):
        gpunn.utils.PyDataset()[0]
    with pytest.raises(ValueError, match="workers must be"):
        gpunn.utils.PyDataset(workers=-1)
