"""Test the order of sparse rows that are made dense batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.sparse

import gpunn
from gpunn.feeding import sparse
from gpunn.sklearn import GpunnClassifier

ROWS, SIZE = 23, 5
RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(ROWS, 4))
Y = np.arange(ROWS) % 2


class Watched(scipy.sparse.csr_matrix):
    """Records which rows are requested."""

    asked: ClassVar[list[int]] = []

    def __getitem__(self, rows: Any) -> Any:
        self.asked.extend(np.asarray(rows).tolist())
        return super().__getitem__(rows)


def by_fit(shuffle: bool, epochs: int, fits: int) -> None:
    gpunn.utils.set_random_seed(4)
    model = gpunn.Sequential([gpunn.Input((4,)), gpunn.layers.Dense(1, "sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    for _ in range(fits):
        model.fit(Watched(X), Y, batch_size=SIZE, epochs=epochs, shuffle=shuffle, verbose=0)


def by_an_estimator(shuffle: bool, epochs: int, fits: int) -> None:
    classifier = GpunnClassifier(
        3, epochs=epochs, batch_size=SIZE, shuffle=shuffle, random_state=4, warm_start=True
    )
    for _ in range(fits):
        classifier.fit(Watched(X), Y)


def orders(train: Callable[..., None], shuffle: bool, epochs: int, fits: int) -> list[Any]:
    """The rows of each epoch. Each fit inspects one batch before its first epoch."""
    asked = Watched.asked = []
    train(shuffle, epochs, fits)
    each = np.reshape(asked, (fits, SIZE + epochs * ROWS))[:, SIZE:]
    return [tuple(order) for order in each.reshape(-1, ROWS).tolist()]


@pytest.mark.parametrize("train", [by_fit, by_an_estimator])
@pytest.mark.parametrize(("epochs", "fits"), [(4, 1), (1, 4)])
def test_shuffled_rows_come_in_another_order_each_epoch(
    train: Callable[..., None], epochs: int, fits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse, "DENSE_BYTES", 0)
    found = orders(train, True, epochs, fits)
    plain = (*range(ROWS),)
    assert all(sorted(order) == [*plain] for order in found)
    assert len({*found, plain}) == 4 + 1
    assert orders(train, True, epochs, fits) == found  # determined by the seed
    assert orders(train, False, epochs, fits) == [plain] * 4
