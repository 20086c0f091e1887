"""``tf.data``: values stay what was given, or are refused; random numbers do not depend on how a
data set is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunn as tf

D = tf.data.Dataset
LARGE = 3_000_000_000


def values(data: Any) -> list[Any]:
    return [np.asarray(sample).tolist() for sample in data.as_numpy_iterator()]


MAKERS: dict[str, Callable[[list[int]], Any]] = {
    "slices": lambda given: D.from_tensor_slices(given),
    "tensors": lambda given: D.from_tensors(given).unbatch(),
    "generator": lambda given: D.from_generator(lambda: iter(given)),
    "typed generator": lambda given: D.from_generator(lambda: iter(given), tf.int64),
    "map": lambda given: D.range(len(given)).map(lambda n: given[int(n)]),
    "range": lambda given: D.range(given[0], given[0] + 2),
    "array": lambda given: D.from_tensor_slices(np.array(given)),
    "objects": lambda given: D.from_tensor_slices(np.array(given, object)),
    "nested": lambda given: D.from_tensor_slices([[n] for n in given]).unbatch(),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("first", [7, LARGE, -LARGE, 2**62])
def test_large_integers_stay_exact(name: str, first: int) -> None:
    given = [first, first + 1]
    data = MAKERS[name](given)
    assert values(data) == given
    assert values(data.batch(2)) == [given]
    assert [np.asarray(x).tolist() for x in data] == given
    assert values(data.map(lambda n: n % 10)) == [n % 10 for n in given]


@pytest.mark.parametrize(
    ("given", "dtype"), [(300, "uint8"), (-1, "uint8"), (np.int64(LARGE), "int32"),
                         (np.array([1, 2**40]), "int32"), (float("nan"), "int32"), (3e9, "int32")],
)  # fmt: skip
def test_what_a_declared_dtype_cannot_hold_is_refused(given: Any, dtype: str) -> None:
    data = D.from_generator(lambda: iter([given]), dtype)
    with pytest.raises(ValueError, match=rf"output_types: {dtype} cannot hold .*another dtype"):
        list(data)


def test_integers_beyond_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        D.from_tensor_slices([2**70])
    with pytest.raises(ValueError, match="64 bits"):
        D.from_tensor_slices([2**63, -1])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["a", None], r"None at \[1\]"), ([["a"], [None]], r"None at \[1, 0\]"),
        (np.array(["a", float("nan")], object), r"nan at \[1\]"),
        (["a", 1], r"1 at \[1\]"), ([b"a", "b", 2.5], r"2.5 at \[2\]"),
    ],
)  # fmt: skip
def test_what_is_no_string_among_strings_is_refused(given: Any, shown: str) -> None:
    for make in (
        lambda: D.from_tensor_slices({"name": given}),
        lambda: D.from_tensors((1, given)),
        lambda: list(D.from_generator(lambda: iter([given]))),
        lambda: list(D.range(1).map(lambda n: given)),
    ):
        with pytest.raises(TypeError, match=shown):
            make()


def test_nothing_is_refused_as_a_sample() -> None:
    with pytest.raises(TypeError, match="holds None"):
        list(D.range(1).map(lambda n: None))


SAMPLES: dict[str, tuple[list[Any], str]] = {
    "missing": ([{"a": 1, "b": 2}, {"a": 3}], "sample 1 .*lacks 'b'"),
    "surplus": ([{"a": 1}, {"a": 2}, {"a": 3, "b": 2}], "sample 2 .*has 'b'"),
    "longer": ([(1, 2), (3, 4, 5)], "sample 1 .*3 parts.*2"),
    "inner": ([{"a": {"x": 1}}, {"a": {"y": 1}}], "sample 1 .*lacks 'x'"),
    "kinds": ([{"a": 1}, (1,)], "sample 1 .*tuple.*dictionary"),
    "no parts": ([(1, 2), 3], "sample 1 .*array.*tuple"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_of_a_batch_have_one_structure(name: str) -> None:
    samples, message = SAMPLES[name]
    data = D.from_generator(lambda: iter(samples))
    for grouped in (data.batch(3), data.window(3)):
        with pytest.raises(ValueError, match=message):
            list(grouped)


def test_sources_are_copied() -> None:
    numbers, texts = np.arange(3.0), np.array(["a", "b", "c"], object)
    sets = [D.from_tensor_slices((numbers, texts)), D.from_tensors((numbers, texts)).unbatch()]
    numbers[:], texts[:] = 9.0, "z"
    for data in sets:
        assert [(x.tolist(), str(s)) for x, s in data] == [(0.0, "a"), (1.0, "b"), (2.0, "c")]


def test_a_buffer_that_a_generator_fills_again_is_copied() -> None:
    def rows() -> Iterator[np.ndarray]:
        row = np.zeros(2)
        for n in range(3):
            row[:] = n
            yield row

    row = np.zeros(2)

    def filled(n: Any) -> np.ndarray:
        row[:] = n
        return row

    expected = [[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]]
    assert values(D.from_generator(rows).batch(3)) == expected
    assert values(D.range(3).map(filled).batch(3)) == expected


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_what_is_read_can_be_changed(kind: str, cached: bool) -> None:
    source = np.arange(6.0) if kind == "numbers" else np.array([*"abcdef"], object)
    data = D.from_tensor_slices(source).batch(2)
    data = data.cache() if cached else data
    whole = [part.tolist() for part in source.reshape(3, 2)]

    def spoil(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            x[:] = source[0]
        return x

    for _ in range(2):
        for sample in data.as_numpy_iterator():
            sample[:] = source[0]
        for sample in data:
            spoil(sample)
        list(data.map(spoil))
        assert values(data) == whole
    assert source.tolist() == [value for part in whole for value in part]


def test_a_memory_map_is_read_piece_by_piece(tmp_path: Any) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.arange(6.0).reshape(3, 2))
    data = D.from_tensor_slices(np.load(path, mmap_mode="r"))
    for row in data.as_numpy_iterator():
        row[:] = 7.0
    assert values(data) == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def noisy(data: Any) -> Any:
    """Draw random numbers in every kind of function."""
    data = data.map(lambda n: tf.random.normal((2,)))
    data = data.filter(lambda x: float(tf.random.uniform(())) < 0.8)
    data = data.flat_map(lambda x: D.from_tensor_slices(x).shuffle(2))
    return data.map(lambda x: x + tf.random.normal(()))


def drawn() -> Iterator[Any]:
    for _ in range(5):
        yield tf.random.normal((2,))


@pytest.mark.parametrize("make", [
    lambda: noisy(D.range(8)), lambda: noisy(D.range(4)).repeat(2),
    lambda: D.zip(noisy(D.range(8)), noisy(D.range(8))).map(lambda a, b: a * b),
    lambda: D.from_generator(drawn),
])  # fmt: skip
def test_random_numbers_do_not_depend_on_prefetching(make: Callable[[], Any]) -> None:
    def run(ahead: int) -> list[Any]:
        tf.utils.set_random_seed(5)
        data = make().prefetch(ahead).map(lambda x: x * tf.random.uniform(()))
        found = []
        for _ in range(2):
            for x in data:
                found.append((x.numpy().tolist(), float(tf.random.normal(()))))
        return found

    expected = run(0)
    assert run(1) == run(3) == expected
    assert len({str(entry) for entry in expected}) == len(expected)


def test_random_numbers_of_two_sources_differ() -> None:
    tf.utils.set_random_seed(5)
    made = [D.range(3).map(lambda n: tf.random.normal((4,))) for _ in range(2)]
    for a, b in D.zip(*made):
        assert not np.array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("use", [
    lambda data: data.take(1), lambda data: data.skip(1).take(1),
    lambda data: data.map(lambda x: x).take(1), lambda data: data.prefetch(1).take(1),
    lambda data: D.zip(data, D.range(100)).map(lambda x, n: x).take(1),
    lambda data: data.concatenate(D.range(2)).take(1), lambda data: data.batch(1).unbatch().take(1),
    lambda data: D.zip(D.range(100), data).map(lambda n, x: x).take(1),
    lambda data: data.enumerate().map(lambda n, x: x).take(1),
])  # fmt: skip
def test_each_look_at_a_shuffled_set_shows_another_sample(use: Callable[[Any], Any]) -> None:
    def looks(again: bool | None) -> list[Any]:
        tf.utils.set_random_seed(5)
        data = D.range(1000).shuffle(1000, reshuffle_each_iteration=again)
        return [values(use(data)) for _ in range(4)]

    found = looks(None)
    assert len({str(look) for look in found}) == 4
    assert found == looks(None)
    assert len({str(look) for look in looks(False)}) == 1
