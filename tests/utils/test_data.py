"""Test ``tf.data``: TensorFlow 2.20's samples for the same calls, and training on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gpunn as tf
from gpunn import keras

D = tf.data.Dataset
UNKNOWN = -2


def pairs() -> Any:
    return D.from_tensor_slices((np.arange(5), np.arange(5) * 10.0))


def lists(sample: Any) -> Any:
    """Convert a sample to lists, including nested data sets."""
    if isinstance(sample, tuple):
        return [lists(part) for part in sample]
    if isinstance(sample, dict):
        return {name: lists(part) for name, part in sample.items()}
    return [lists(part) for part in sample] if isinstance(sample, D) else sample.tolist()


# a data set, the samples that TensorFlow 2.20 gives, its cardinality
CASES: dict[str, tuple[Callable[[], Any], Any, int]] = {
    "batch": (lambda: D.range(7).batch(3), [[0, 1, 2], [3, 4, 5], [6]], 3),
    "batch, full ones": (
        lambda: D.range(7).batch(3, drop_remainder=True), [[0, 1, 2], [3, 4, 5]], 2,
    ),
    "batches of batches": (
        lambda: pairs().batch(2).batch(2),
        [[[[0, 1], [2, 3]], [[0.0, 10.0], [20.0, 30.0]]], [[[4]], [[40.0]]]],
        2,
    ),
    "window": (lambda: D.range(7).window(3), [[0, 1, 2], [3, 4, 5], [6]], 3),
    "window, full ones": (
        lambda: D.range(7).window(3, drop_remainder=True), [[0, 1, 2], [3, 4, 5]], 2,
    ),
    "window, shift": (
        lambda: D.range(7).window(3, 1, 1, True),
        [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5], [4, 5, 6]],
        5,
    ),
    "window, shift, parts": (
        lambda: D.range(5).window(3, 1), [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4], [4]], 5,
    ),
    "window, stride": (lambda: D.range(7).window(3, None, 2, True), [[0, 2, 4]], 1),
    "window, shift and stride": (
        lambda: D.range(10).window(2, 3, 2), [[0, 2], [3, 5], [6, 8], [9]], 4,
    ),
    "window, shift beyond it": (lambda: D.range(10).window(2, 4), [[0, 1], [4, 5], [8, 9]], 3),
    "window, shift beyond its stride": (
        lambda: D.range(11).window(2, 5, 2, True), [[0, 2], [5, 7]], 2,
    ),
    "window of all": (lambda: D.range(3).window(5), [[0, 1, 2]], 1),
    "window of too few": (lambda: D.range(3).window(5, drop_remainder=True), [], 0),
    "windows of pairs": (
        lambda: pairs().window(2),
        [[[0, 1], [0.0, 10.0]], [[2, 3], [20.0, 30.0]], [[4], [40.0]]],
        3,
    ),
    "flat_map": (
        lambda: D.range(5).window(3, 1, 1, True).flat_map(lambda w: w.batch(3)),
        [[0, 1, 2], [1, 2, 3], [2, 3, 4]],
        UNKNOWN,
    ),
    "dictionaries": (
        lambda: D.from_tensor_slices({"a": [1, 2], "b": [[1.0, 2.0], [3.0, 4.0]]}).batch(2),
        [{"a": [1, 2], "b": [[1.0, 2.0], [3.0, 4.0]]}],
        1,
    ),
    "take": (lambda: D.range(10).take(3), [0, 1, 2], 3),
    "take all": (lambda: D.range(3).take(-1), [0, 1, 2], 3),
    "skip": (lambda: D.range(5).skip(3), [3, 4], 2),
    "skip all": (lambda: D.range(3).skip(-1), [], 0),
    "repeat": (lambda: D.range(2).repeat(3), [0, 1, 0, 1, 0, 1], 6),
    "repeat never": (lambda: D.range(2).repeat(0), [], 0),
    "repeat without end": (lambda: D.range(2).repeat().take(5), [0, 1, 0, 1, 0], 5),
    "concatenate": (lambda: D.range(2).concatenate(D.range(3)), [0, 1, 0, 1, 2], 5),
    "enumerate": (lambda: pairs().enumerate(start=5).take(2), [[5, [0, 0.0]], [6, [1, 10.0]]], 2),
    "zip": (lambda: D.zip((D.range(3), D.range(10, 20))), [[0, 10], [1, 11], [2, 12]], 3),
    "filter": (lambda: D.range(6).filter(lambda n: n % 2 == 0), [0, 2, 4], UNKNOWN),
    "unbatch": (lambda: D.range(5).batch(2).unbatch(), [0, 1, 2, 3, 4], UNKNOWN),
    "unbatch pairs": (
        lambda: pairs().batch(2).unbatch(),
        [[0, 0.0], [1, 10.0], [2, 20.0], [3, 30.0], [4, 40.0]],
        UNKNOWN,
    ),
    "map": (
        lambda: pairs().map(lambda x, y: (y, x + 1), num_parallel_calls=tf.data.AUTOTUNE),
        [[0.0, 1], [10.0, 2], [20.0, 3], [30.0, 4], [40.0, 5]],
        5,
    ),
    "map to a list": (lambda: D.range(2).map(lambda n: [n, n]), [[0, 0], [1, 1]], 2),
    "map of dictionaries": (
        lambda: D.from_tensor_slices({"a": [1, 2]}).map(lambda d: {"b": d["a"] + 1}),
        [{"b": 2}, {"b": 3}],
        2,
    ),
    "range": (lambda: D.range(1, 8, 3), [1, 4, 7], 3),
    "from_tensors": (lambda: D.from_tensors(([1, 2], 3)), [[[1, 2], 3]], 1),
    "from_generator": (
        lambda: D.from_generator(
            lambda: iter([(1, 2), (3, 4)]), output_types=(tf.int32, tf.float32)
        ),
        [[1, 2.0], [3, 4.0]],
        UNKNOWN,
    ),
    "cache and prefetch": (lambda: D.range(3).cache().prefetch(tf.data.AUTOTUNE), [0, 1, 2], 3),
    "without end": (lambda: D.zip((D.range(2), D.range(3).repeat())), [[0, 0], [1, 1]], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_samples(name: str) -> None:
    make, samples, cardinality = CASES[name]
    data = make()
    for _ in range(2):  # it can be iterated again
        assert [lists(sample) for sample in data] == samples
    assert data.cardinality() == tf.data.experimental.cardinality(data) == cardinality
    if cardinality == UNKNOWN:
        with pytest.raises(TypeError, match="not known"):
            len(data)
    else:
        assert len(data) == cardinality


def test_dtypes_are_those_of_tensorflow() -> None:
    found = [
        next(iter(D.from_tensor_slices(given))).dtype
        for given in ([1.5, 2], [1, 2], np.ones(2), np.ones(2, bool), np.ones(2, "float32"))
    ]
    assert found == ["float32", "int32", "float64", "bool", "float32"]


def test_reduce() -> None:
    assert int(D.range(5).reduce(0, lambda total, n: total + n)) == 10


def test_shuffle() -> None:
    numbers = D.range(100)
    again = [[n.tolist() for n in numbers.shuffle(10, seed=7)] for _ in range(2)]
    assert again[0] == again[1] and sorted(again[0]) == list(range(100))
    # a sample comes early by at most the number of other samples in the buffer
    assert all(n < place + 10 for place, n in enumerate(again[0]))
    data = numbers.shuffle(100, seed=7)
    first, second = ([n.tolist() for n in data] for _ in range(2))
    assert first != second
    data = numbers.shuffle(100, reshuffle_each_iteration=False)
    first, second = ([n.tolist() for n in data] for _ in range(2))
    assert first == second != list(range(100))


def test_shuffle_asks_for_what_is_read_only() -> None:
    asked: list[int] = []

    def double(n: Any) -> Any:
        asked.append(int(n))
        return 2 * n

    first = [n.tolist() for n in D.range(1000).map(double).shuffle(1000, seed=1).take(3)]
    assert first == [2 * n for n in asked] and len(asked) == 3


def test_sample_from_datasets() -> None:
    parts = D.range(300), D.range(1000, 1300)
    data = D.sample_from_datasets(parts, weights=[0.2, 0.8], seed=3)
    found = [n.tolist() for n in data]
    assert sorted(found) == [*range(300), *range(1000, 1300)]
    early = [n >= 1000 for n in found[:300]]  # from a binomial distribution: mean 240, deviation 7
    assert 205 < sum(early) < 275
    kept = D.sample_from_datasets(parts, [0.2, 0.8], stop_on_empty_dataset=True)
    assert sum(n >= 1000 for n in kept) == 300 > sum(n < 1000 for n in kept)
    endless = D.sample_from_datasets([part.repeat() for part in parts])
    assert endless.cardinality() == -1
    with pytest.raises(ValueError, match="one value of at least 0 for each"):
        D.sample_from_datasets(parts, weights=[1.0])


def test_cache_asks_once() -> None:
    asked: list[int] = []

    def double(n: Any) -> Any:
        asked.append(int(n))
        return 2 * n

    data = D.range(3).map(double).cache()
    assert next(iter(data)).tolist() == 0  # an incomplete pass is not cached
    for _ in range(2):
        assert [n.tolist() for n in data] == [0, 2, 4]
    assert asked == [0, 0, 1, 2]


def compiled(backend: str = "numpy") -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)], backend=backend
    )
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
def test_training_is_that_on_arrays(backend: str) -> None:
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(50, 4)).astype("float32"), draw.normal(size=(50, 1)).astype("float32")
    data = D.from_tensor_slices((x, y)).batch(16)
    ours, theirs = compiled(backend), compiled(backend)
    found = ours.fit(data, epochs=3, validation_data=data, verbose=0).history
    expected = theirs.fit(x, y, batch_size=16, epochs=3, shuffle=False,
                          validation_data=(x, y), verbose=0).history  # fmt: skip
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5)
    np.testing.assert_allclose(ours.predict(data), theirs.predict(x), rtol=1e-5)
    np.testing.assert_allclose(ours.evaluate(data, verbose=0),
                               theirs.evaluate(x, y, verbose=0), rtol=1e-5)  # fmt: skip


def test_what_never_ends_needs_a_number_of_steps() -> None:
    data = D.from_tensor_slices((np.ones((6, 4), "float32"), np.ones((6, 1)))).batch(4).repeat()
    model = compiled()
    for call in (
        lambda: model.fit(data, epochs=2, verbose=0),
        lambda: model.evaluate(data, verbose=0),
        lambda: model.predict(data),
    ):
        with pytest.raises(ValueError, match="endlessly: pass steps"):
            call()
    history = model.fit(data, epochs=2, steps_per_epoch=3, verbose=0)
    assert len(history.history["loss"]) == 2
    assert model.predict(data, steps=3).shape == (10, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: D.from_tensor_slices((np.ones(2), np.ones(3))), "number of rows"),
        (lambda: D.from_tensor_slices(3), "number of rows"),
        (lambda: D.range(3).batch(0), "batch_size"),
        (lambda: D.range(3).cache("file"), "in memory"),
        (lambda: list(D.range(3).map(lambda n: np.ones(int(n))).batch(2)), "one shape"),
        (lambda: len(D.range(3).repeat()), "repeated endlessly"),
        (lambda: D.from_generator([1, 2]), "must be a function"),
    ],
)
def test_wrong_calls(make: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("name", ["padded_batch", "interleave", "element_spec"])
def test_what_tensorflow_has_beside_is_refused_with_what_there_is(name: str) -> None:
    data = tf.data.Dataset.range(3)
    assert not hasattr(data, name)
    with pytest.raises(AttributeError, match=rf"has no '{name}'\. It has .*batch, .*map, "):
        getattr(data, name)
