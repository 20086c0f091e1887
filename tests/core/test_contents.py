"""The recorded contents of parts stay equal until something changes: for each kind of value, in a
part and in the objects it reaches."""

from __future__ import annotations

import itertools
import operator
import sys
import threading
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from changing.values import CHANGES, KINDS, Data, Described, Plain, Point, Slotted

import gpunn
from gpunn import layers, ops
from gpunn.core.contents import Contents
from gpunn.core.settings import Settings


class Part(layers.Layer):
    """A layer that holds a value."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def call(self, x: Any) -> Any:
        return x


class Function:
    """The same in the closure of a function."""

    def __init__(self, value: Any) -> None:
        def function() -> Any:
            return value

        self.function = function
        self.cell = function.__closure__[0]  # type: ignore[index]

    @property
    def value(self) -> Any:
        return self.cell.cell_contents

    @value.setter
    def value(self, value: Any) -> None:
        self.cell.cell_contents = value


HOLDERS: dict[str, Any] = {
    "part": (Part, lambda held: held),
    "closure": (Function, lambda held: held.function),
    "deep": (lambda value: Part(None), lambda held: [{"of": (held,)}, len]),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(("name", "how"), CHANGES)
def test_each_change_is_seen(holder: str, name: str, how: str) -> None:
    kind, (make, looked_at) = KINDS[name], HOLDERS[holder]
    if name == "variable" and (how == "mutated" or holder != "closure"):
        return  # steps read the value of a variable; as a layer attribute it is a weight
    held = make(kind.first())
    if holder == "deep":
        held.value = kind.first()
    looked = [looked_at(held), kind.read]  # and the code that reads it
    before, settings = Contents(looked), Settings(looked)
    assert before.are_same() and before == Contents(looked)
    assert settings.are_same() and settings == Settings(looked)
    if how == "replaced":
        held.value = kind.second()
    else:
        kind.mutate(held.value)
    assert not before.are_same() and before != Contents(looked)
    assert not settings.are_same() and settings != Settings(looked)
    after = Contents(looked)
    assert after.are_same() and after == Contents(looked)


EQUAL: dict[str, Callable[[], Any]] = {
    "numbers": lambda: [1.5, 10**20, float("nan"), -0.0, np.float32(0.1), 2 + 1j],
    "strings": lambda: {"".join(["a", "b"]): bytes(range(3))},
    "arrays": lambda: (np.arange(3.0), np.ones(100_000), np.array(["a", "bc"])),
    "functions": lambda: (lambda x: x + 1).__code__,
}


@pytest.mark.parametrize("name", EQUAL)
def test_an_equal_value_in_the_place_of_another_is_no_change(name: str) -> None:
    part = Part(EQUAL[name]())
    before = Contents([part])
    part.value = EQUAL[name]()
    assert before == Contents([part])


DIFFERENT: dict[str, tuple[Any, Any]] = {
    "1 and True": ([1], [True]),
    "1 and 1.0": ([1], [1.0]),
    "0 and -0": ([0.0], [-0.0]),
    "1.0 and an array": ([1.0], [np.array(1.0)]),
    "list and tuple": ([[1]], [(1,)]),
    "nesting": ([[1], 2], [[1, 2]]),
    "empty lists": ([[], [[]]], [[[]], []]),
    "order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "keys and values": ({"a": "b"}, {"b": "a"}),
    "text and bytes": ("a", b"a"),
    "float32 and int32": (np.zeros(2, "f4"), np.zeros(2, "i4")),
    "shape": (np.zeros((2, 3)), np.zeros((3, 2))),
    "one axis more": (np.zeros(3), np.zeros((1, 3))),
    "dtypes of numbers": (np.float32(1), np.float64(1)),
    "order of bytes": (np.array([1], "<i2"), np.array([256], ">i2")),
    "names of fields": (np.zeros(1, [("a", "f4")]), np.zeros(1, [("b", "f4")])),
    "times": (np.array(["2020"], "M8[Y]"), np.array([50], "i8")),
    "classes": (Plain(1), Described(1)),
    "namedtuple and tuple": (Point(0, 1), (0, 1)),
    "one list twice": ((lambda x: [x, x])([1]), [[1], [1]]),
    "dict and its items": ({"a": 1}, [("a", 1)]),
    "slots": (Slotted(1), Plain(1)),
    "data": (Data(1.0), Data(1)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_what_looks_alike_is_distinguished(name: str) -> None:
    one, other = DIFFERENT[name]
    part = Part(one)
    before = Contents([part])
    part.value = other
    assert before != Contents([part])


def test_what_does_not_change_by_itself() -> None:
    """Running models, reading attributes, and the framework's own records change nothing."""
    x = np.ones((4, 3), np.float32)
    part = Part({"a": np.ones(2)})
    model = gpunn.Sequential([gpunn.Input((3,)), part, layers.Dense(2)])
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(x, x[:, :2], verbose=0)
    before = Contents([part, model.layers[1], model.loss, model.optimizer])
    model.fit(x, x[:, :2], epochs=2, verbose=0)
    model.evaluate(x, x[:, :2], verbose=0)
    part(x), model(x, training=True), model.predict(x, verbose=0), model.summary(print_fn=len)
    model.optimizer.learning_rate = 0.5
    assert before == Contents([part, model.layers[1], model.loss, model.optimizer])


def test_only_what_code_names_is_looked_at_of_a_module() -> None:
    module: Any = types.ModuleType("of_a_user")
    exec("rate, log = 1.0, []\ndef f():\n    return rate", vars(module))
    before = Contents([module.f])
    module.log.append(1)
    module.new = 3
    assert before.are_same() and before == Contents([module.f])
    module.rate = 2.0
    assert not before.are_same() and before != Contents([module.f])


def test_an_attribute_of_a_module_that_code_names(monkeypatch: pytest.MonkeyPatch) -> None:
    configuration: Any = types.ModuleType("configuration_of_a_user")
    configuration.rate, configuration.other = 0.5, 1
    monkeypatch.setitem(sys.modules, configuration.__name__, configuration)
    held = {"configuration": configuration, "__name__": "of_a_user"}
    exec("def f():\n    return configuration.rate", held)
    exec("def g():\n    import configuration_of_a_user as c\n    return c.rate", held)
    for function in (held["f"], held["g"]):
        before = Contents([function])
        configuration.other += 1
        assert before.are_same() and before == Contents([function])
        configuration.rate += 1
        assert not before.are_same() and before != Contents([function])


def test_methods_that_no_code_names_are_not_looked_at() -> None:
    held: dict[str, Any] = {"log": [], "rate": [1], "layers": layers, "__name__": "of_a_user"}
    exec(
        "class Own(layers.Layer):\n"
        "    def call(self, x): return self.twice(x)\n"
        "    def twice(self, x): return x * rate[0]\n"
        "    def report(self): print(log)\n",
        held,
    )
    part = held["Own"]()
    before = Contents([part])
    held["log"].append(1)
    assert before == Contents([part])
    held["rate"][0] = 2
    assert before != Contents([part])
    before = Contents([part])
    held["Own"].twice = lambda self, x: x
    assert not before.are_same() and before != Contents([part])


class Reading:
    """Code that reads attributes of its object: by name, by a computed name, by a pattern, and
    through library functions."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def by_name(self) -> Any:
        return self.held.rate

    def by_text(self) -> Any:
        return operator.attrgetter("rate.real")(self.held)

    def computed(self) -> Any:
        return getattr(self.held, "ra" + "te")

    def all(self) -> Any:
        return dict(vars(self.held))

    def by_method(self) -> Any:
        return self.held.value()

    def by_property(self) -> Any:
        return self.held.twice


@pytest.mark.parametrize("way", [name for name in vars(Reading) if not name.startswith("_")])
def test_attributes_that_code_reads(way: str) -> None:
    reading = Reading(Described(1.0))
    function = getattr(reading, way)
    before = Contents([function])
    reading.held.rate = 2.0
    assert before != Contents([function])


def test_attributes_that_no_code_names_may_change() -> None:
    """For example records that a callback keeps, while a loss reads another of its attributes."""

    class Annealing(gpunn.callbacks.Callback):
        weight = 1.0

        def __init__(self) -> None:
            self.seen: list[float] = []

    callback = Annealing()

    def loss(y_true: Any, y_pred: Any) -> Any:
        return callback.weight * ops.mean(ops.square(y_true - y_pred), axis=-1)

    before = Contents([loss])
    callback.seen.append(1.0)
    callback.model, callback.batches = object(), 5
    assert before == Contents([loss])
    callback.weight = 0.5
    assert before != Contents([loss])


def test_what_cannot_be_looked_into_is_known_by_its_identity(tmp_path: Any) -> None:
    for make in (
        lambda: (n for n in range(3)), itertools.count, object, lambda: iter([1]),
        lambda: (tmp_path / "file").open("w"), threading.Lock,
    ):  # fmt: skip
        part = Part(make())
        before = Contents([part])
        assert before.are_same() and before == Contents([part])
        value, part.value = part.value, make()
        assert not before.are_same() and before != Contents([part])
        for file in (value, part.value):
            getattr(file, "close", int)()


def test_it_says_that_there_is_more_than_is_looked_at() -> None:
    with pytest.warns(UserWarning, match="hold more than 200,000 values"):
        Settings([Part([[float(n)] for n in range(100_000)])])


def test_deep_and_cyclic_values() -> None:
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    deep.append(deep)
    part = Part(deep)
    before = Contents([part])
    assert before.are_same() and before == Contents([part])
    deep[0] = []
    assert before != Contents([part])


def test_simple_parts_are_known_by_the_changes_of_attributes() -> None:
    """Those of the framework: a prediction then checks a single counter."""
    dense = layers.Dense(2, activation="leaky_relu", kernel_regularizer="l2")
    settings = Settings([dense])
    assert settings.seen is not None
    assert Settings([dense, Part(1)]).seen is None
    assert Settings([layers.Dense(2, activation=lambda x: ops.exp(x))]).seen is None
