"""What was made from other things is made anew after each change of them, and only then."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, ops
from gpunn.core.contents import Contents
from gpunn.core.settings import Cached, Dependencies, Settings

ROWS = np.ones((2, 3), np.float32)


class Repeated(layers.Layer):
    """Its outputs have ``times`` as many features."""

    def __init__(self, times: int = 2) -> None:
        super().__init__()
        self.times = times

    def call(self, x: Any) -> Any:
        return ops.concatenate([x] * self.times, axis=-1)


def test_it_is_made_once_until_something_changes() -> None:
    layer, rates = layers.Dropout(0.5), [0.5]
    made = Cached(lambda: Settings([layer, rates]), lambda: (layer.rate, *rates))
    first = made.get()
    layers.Dropout(0.1).rate = 0.2  # of another layer
    rates[0] = float("0.5")  # an equal value
    assert made.get() is first == (0.5, 0.5)
    layer.rate = 0.25
    assert made.get() == (0.25, 0.5)
    rates.append(1.0)
    assert made.get() == (0.25, 0.5, 1.0)


@pytest.mark.parametrize("part", [layers.Dropout(0.5), Repeated(1)])
def test_a_change_while_it_is_made_is_followed(part: Any) -> None:
    """Another thread may set an attribute after it was read."""
    name = "rate" if isinstance(part, layers.Dropout) else "times"

    def make() -> Any:
        found = getattr(part, name)
        if found != 0.75:
            setattr(part, name, 0.75)
        return found

    made = Cached(lambda: Settings([part]), make)
    assert made.get() != 0.75
    assert made.get() == made.get() == 0.75


def test_an_error_is_not_kept() -> None:
    layer = layers.Dropout(0.5)

    def make() -> float:
        return 1.0 / layer.rate

    made = Cached(lambda: Settings([layer]), make)
    assert made.get() == 2.0
    layer.rate = 0.0
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            made.get()
    layer.rate = 0.25
    assert made.get() == 4.0


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("frequent_switches")
def test_threads_that_ask_at_once_get_the_same() -> None:
    waiting = threading.Barrier(4)
    found: list[Any] = []

    def make() -> object:
        for _ in range(100_000):  # the others come meanwhile
            pass
        return object()

    made = Cached(Settings, make)

    def ask() -> None:
        waiting.wait()
        found.append(made.get())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_what_counts_besides_parts() -> None:
    rate = layers.Dropout(0.5)
    of = Dependencies(lambda: Settings((), lambda: rate.rate))
    rate.noise_shape = None
    assert of.are_current()
    rate.rate = 0.25
    assert not of.are_current()
    of = Dependencies(Settings)
    gpunn.config.set_floatx("float64")
    try:
        assert not of.are_current()
    finally:
        gpunn.config.set_floatx("float32")


def pickled(x: Any) -> Any:
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_the_copy_of_a_layer_follows_its_own_attributes(copied: Callable[[Any], Any]) -> None:
    layer = Repeated(2)
    assert layer.compute_output_shape((None, 3)) == (None, 6)
    other = copied(layer)
    other.times = 5
    assert other.compute_output_shape((None, 3)) == (None, 15)
    assert np.asarray(other(ROWS)).shape == (2, 15)
    assert layer.compute_output_shape((None, 3)) == (None, 6)


def test_a_compiled_function_follows_the_layers_of_a_model() -> None:
    model = gpunn.Sequential([layers.Rescaling(2.0), layers.Rescaling(5.0)])
    compiled = gpunn.function(lambda x: model(x))
    for _ in range(3):
        assert np.asarray(compiled(ROWS)).max() == 10.0
    model.pop()
    assert np.asarray(compiled(ROWS)).max() == 2.0
    model.add(layers.Rescaling(3.0))
    assert np.asarray(compiled(ROWS)).max() == 6.0


# -- objects with many attributes

MANY = 50_000


class Counted(dict):  # type: ignore[type-arg]
    """The attributes of an object, which counts how often someone goes through them all."""

    walks = 0

    def __iter__(self) -> Iterator[Any]:
        self.walks += 1
        return super().__iter__()

    def keys(self) -> Any:
        return _Entries(self, super().keys())

    def values(self) -> Any:
        return _Entries(self, super().values())

    def items(self) -> Any:
        return _Entries(self, super().items())


class _Entries:
    def __init__(self, of: Counted, entries: Any) -> None:
        self._of, self._entries = of, entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Any]:
        self._of.walks += 1
        return iter(self._entries)


class Large:
    """An object with many attributes."""

    def __init__(self) -> None:
        self.__dict__ = Counted({f"other_{n}": n for n in range(MANY)}, other_8=[0])
        self.rate = 2.0


class Scaled(layers.Layer):
    """Reads one attribute of an object, and another one if there is one."""

    def __init__(self, held: Any) -> None:
        super().__init__()
        self.held = held

    def call(self, x: Any) -> Any:
        y = x * self.held.rate
        return y + self.held.offset if hasattr(self.held, "offset") else y


def test_what_code_does_not_read_of_a_large_object_is_not_touched() -> None:
    held: Any = Large()
    attributes = vars(held)
    model = gpunn.Sequential([gpunn.Input((3,)), Scaled(held)])

    def predicted() -> float:
        return float(model.predict(ROWS, verbose=0).max())

    assert predicted() == 2.0
    attributes.walks = 0
    assert predicted() == 2.0
    held.other_7 = None
    held.other_8.append(1)
    held.further = 1
    assert predicted() == 2.0
    assert attributes.walks == 0
    held.rate = 3.0
    assert predicted() == 3.0
    held.offset = 0.5
    assert predicted() == 3.5
    del held.offset
    assert predicted() == 3.0
    held.__dict__ = {"rate": 4.0}
    assert predicted() == 4.0


def test_all_of_a_large_object_counts_if_names_are_computed() -> None:
    held: Any = Large()
    held.name = "rate"

    def read() -> Any:
        return getattr(held, held.name)

    for change in (lambda: setattr(held, "other_9", 1), lambda: setattr(held, "further", 1)):
        before = Contents([read])
        change()
        assert not before.are_same() and before != Contents([read])
