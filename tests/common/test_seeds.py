"""Seeds of one thread: models of threads that train at the same time do not change each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers

X = np.random.default_rng(3).normal(size=(40, 5)).astype("float32")
Y = np.arange(40) % 3


def trained(seed: int, **options: Any) -> list[np.ndarray]:
    with gpunn.utils.seeded(seed):
        model = gpunn.Sequential(
            [layers.Input((5,)), layers.Dense(7, "relu"), layers.Dropout(0.3),
             layers.Dense(3, "softmax")],
            **options,
        )  # fmt: skip
        model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    return model.get_weights()


def test_threads_with_their_own_seeds_train_as_one_after_the_other(backend: str) -> None:
    seeds = [1, 2, 3, 1, 2, 3]
    alone = [trained(seed, backend=backend) for seed in seeds]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda seed: trained(seed, backend=backend), seeds))
    for mine, other in zip(together, alone, strict=True):
        for one, two in zip(mine, other, strict=True):
            np.testing.assert_array_equal(one, two)
    assert (alone[0][0] != alone[1][0]).any()


def test_a_block_draws_as_if_its_seed_had_been_set() -> None:
    gpunn.utils.set_random_seed(5)
    first = gpunn.initializers.GlorotUniform()((4, 4))
    with gpunn.utils.seeded(5):
        np.testing.assert_array_equal(gpunn.initializers.GlorotUniform()((4, 4)), first)


def test_the_seeds_around_a_block_do_not_notice_it() -> None:
    draws = []
    for inner in (False, True):
        gpunn.utils.set_random_seed(4)
        with gpunn.utils.seeded(7):
            one = gpunn.initializers.HeNormal()((3, 3))
            if inner:
                with pytest.raises(KeyError), gpunn.utils.seeded(8):
                    gpunn.initializers.HeNormal()((3, 3))
                    raise KeyError
            draws.append([one, *(gpunn.initializers.HeNormal()((3, 3)) for _ in range(2))])
        draws[-1].append(gpunn.initializers.HeNormal()((3, 3)))
    for one, other in zip(*draws, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, None, "1"])
def test_other_seeds_raise(seed: Any) -> None:
    with (
        pytest.raises(ValueError, match=r"seed must be an integer from 0 to 2\*\*32 - 1; got"),
        gpunn.utils.seeded(seed),
    ):
        pass
