"""`Dataset.prefetch`: the same samples, from a thread that ends when it should."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

import gpunn as tf
from gpunn.compat.prefetching import prefetched

D = tf.data.Dataset


def alive() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "prefetch"}


def ended(before: set[threading.Thread]) -> bool:
    for thread in alive() - before:
        thread.join(10)
    return not alive() - before


def test_samples_are_made_in_another_thread_a_bounded_number_ahead() -> None:
    names: list[str] = []
    asked, more = threading.Event(), threading.Event()

    def begin() -> Iterator[int]:
        for n in range(5):
            names.append(threading.current_thread().name)
            if n == 3:
                asked.set()  # two wait, one is being put
                more.wait(10)
            yield n

    samples = prefetched(begin, 2)
    assert next(samples) == 0 and asked.wait(10) and len(names) == 4
    more.set()
    assert list(samples) == [1, 2, 3, 4] and {*names} == {"prefetch"}


def test_an_error_comes_after_the_samples_before_it() -> None:
    def fail(n: object) -> object:
        if n == 2:
            raise OSError("the disk is gone")
        return n

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for n in D.range(5).map(fail).prefetch(tf.data.AUTOTUNE):
            seen.append(int(n))
    assert seen == [0, 1]


@pytest.mark.parametrize("how", ["break", "error", "interrupt", "end"])
def test_the_thread_ends_with_its_consumer(how: str) -> None:
    before = alive()
    errors = {"error": ValueError, "interrupt": KeyboardInterrupt}
    samples = iter(D.range(1000 if how != "end" else 3).repeat(1).prefetch(3))
    try:
        for n in samples:
            if int(n) == 2:
                if how in errors:
                    raise errors[how]
                break
    except (ValueError, KeyboardInterrupt):
        pass
    del samples
    assert ended(before)


def test_settings_and_seeds_are_the_consumers() -> None:
    def noisy(n: object) -> object:
        return tf.random.normal((2,))

    def run(ahead: int) -> list[object]:
        tf.utils.set_random_seed(5)
        data = D.range(6).map(noisy).prefetch(ahead)
        passes = [np.stack([x.numpy() for x in data]).tolist() for _ in range(2)]
        assert passes[0] != passes[1]
        return passes

    assert run(1) == run(4)


def test_fit_resumes_and_repeats_with_prefetch() -> None:
    def trained(prefetch: bool) -> list[float]:
        tf.utils.set_random_seed(1)
        model = tf.keras.Sequential([tf.keras.layers.Dense(2)])
        model.compile("sgd", "mse")
        x = np.linspace(0, 1, 40, dtype="float32").reshape(10, 4)
        data = D.from_tensor_slices((x, x[:, :2])).shuffle(10, seed=3).batch(4)
        data = data.prefetch(tf.data.AUTOTUNE) if prefetch else data
        return model.fit(data, epochs=3, verbose=0, validation_data=data).history["loss"]

    assert trained(True) == trained(False)
