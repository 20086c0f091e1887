"""The kinds of values in attributes, closures and globals, and how each of them can change."""

from __future__ import annotations

import array
import collections
import contextvars
import ctypes
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

import gpunn
from gpunn import ops


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        first, second: make a value, and another one to replace it with.
        read: how custom code uses the value: returns a number or a tensor of one.
        mutate: changes the value in place; None if that is impossible.
    """

    first: Callable[[], Any]
    second: Callable[[], Any]
    read: Callable[[Any], Any] = lambda value: value
    mutate: Callable[[Any], Any] | None = None


class Plain:
    """An object with an attribute."""

    rate: Any

    def __init__(self, rate: Any = 0.5) -> None:
        self.rate = rate

    def value(self) -> Any:
        return self.rate


class Called(Plain):
    def __call__(self) -> Any:
        return self.rate


class Described(Plain):
    """An object whose attribute is found through a property and through `__getattr__`."""

    @property
    def twice(self) -> Any:
        return 2 * self.rate

    def __getattr__(self, name: str) -> Any:
        if name == "half":
            return self.rate / 2
        raise AttributeError(name)


class Slotted:
    __slots__ = ("rate",)

    def __init__(self, rate: Any = 0.5) -> None:
        self.rate = rate


class Equal(Plain):
    """An object that compares equal to every other."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


class Fast:
    """An object that is compared by identity."""


class Slow:
    """An object that is compared by identity."""


FAST, SLOW = Fast(), Fast()


class Listed(list):
    """A list with an attribute."""

    rate = 0.5


@dataclasses.dataclass
class Data:
    rate: Any = 0.5
    others: list[float] = dataclasses.field(default_factory=lambda: [0.5, 0.25])


@dataclasses.dataclass(frozen=True)
class Frozen:
    rate: float = 0.5


class Named(enum.Enum):
    LOW = 0.5
    HIGH = 1.5


class Numbered(enum.IntEnum):
    LOW = 1
    HIGH = 3


Point = collections.namedtuple("Point", ["x", "rate"])


def custom_class() -> Any:
    return type("Own", (), {"rate": 0.5, "numbers": [0.5]})


def cyclic(rate: float) -> Any:
    """An object that refers to itself."""
    found = Plain(rate)
    found.__dict__["itself"] = [found, {"again": found}]
    return found


def with_default(rate: float) -> Any:
    def function(x: Any = rate) -> Any:
        return x

    return function


def in_cell(rate: Any) -> Any:
    held = [rate]
    return lambda: held[0]


def of_function(rate: float = 0.5) -> Any:
    def function() -> None:
        """A method that has an attribute."""

    function.__dict__["rate"] = rate
    return function


def in_product(held: Any) -> Any:
    return lambda x: x * held.rate


def of_thread(rate: float = 0.5) -> Any:
    local = threading.local()
    local.rate = rate
    return local


def in_context(rate: float = 0.5) -> Any:
    variable = contextvars.ContextVar("rate", default=rate)
    return variable


def nested() -> Any:
    return {"a": [Plain(), (1.0, {"b": Slotted(0.5)})]}


def weakly() -> Any:
    KEPT.append(Plain())
    return weakref.ref(KEPT[-1])


KEPT: list[Any] = []  # objects that are only weakly referenced


def put(name: str, value: Any) -> Callable[[Any], None]:
    return lambda held: setattr(held, name, value)


def entry(key: Any, value: Any) -> Callable[[Any], None]:
    return lambda held: held.__setitem__(key, value)


def numbers(*values: float) -> Callable[[], Any]:
    return lambda: np.array(values)


def mean(value: Any) -> Any:
    return ops.mean(ops.convert_to_tensor(np.asarray(value, np.float64)))


def rename(held: Any) -> None:
    held["high"] = held.pop("low")


def swap(held: Any) -> None:
    held["a"], held["b"] = held["b"], held["a"]


def change_function(held: Any) -> None:
    held.__code__ = (lambda: 1.5).__code__


def constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def chosen(**numbers: float) -> Callable[[Any], Any]:
    return lambda value: numbers[value if isinstance(value, str) else str(value)]


RATE = Kind(Plain, lambda: Plain(1.5), lambda v: v.rate, put("rate", 1.25))

KINDS: dict[str, Kind] = {
    # numbers, strings and other immutable values
    "float": Kind(constant(0.5), constant(1.5)),
    "int": Kind(constant(1), constant(3)),
    "whole float": Kind(constant(1), constant(1.0), lambda v: 0.5 if isinstance(v, int) else 1.5),
    "flag for a number": Kind(constant(1), constant(True), lambda v: 0.5 if v is True else 1.5),
    "sign of zero": Kind(constant(0.0), constant(-0.0), lambda v: 1.0 + np.copysign(0.5, v)),
    "nan": Kind(constant(0.5), constant(float("nan")), lambda v: 1.5 if v != v else v),
    "bool": Kind(constant(False), constant(True), lambda v: 0.5 if v else 1.5),
    "None": Kind(constant(None), constant(1.5), lambda v: 0.5 if v is None else v),
    "to None": Kind(constant(0.5), constant(None), lambda v: 1.5 if v is None else v),
    "text": Kind(constant("low"), constant("high"), chosen(low=0.5, high=1.5)),
    "bytes": Kind(constant(b"\1"), constant(b"\3"), lambda v: v[0]),
    "complex": Kind(constant(0.5 + 1j), constant(1.5 + 1j), lambda v: v.real),
    "float32": Kind(lambda: np.float32(0.5), lambda: np.float32(1.5)),
    "int64": Kind(lambda: np.int64(1), lambda: np.int64(3)),
    "kind of a number": Kind(
        lambda: np.float32(1), lambda: np.float64(1), lambda v: v.dtype.itemsize / 4
    ),
    "Decimal": Kind(lambda: decimal.Decimal("0.5"), lambda: decimal.Decimal("1.5"), float),
    "Fraction": Kind(lambda: fractions.Fraction(1, 2), lambda: fractions.Fraction(3, 2), float),
    "timedelta": Kind(
        lambda: datetime.timedelta(seconds=1), lambda: datetime.timedelta(seconds=2),
        datetime.timedelta.total_seconds,
    ),
    "range": Kind(lambda: range(3), lambda: range(5), len),
    "slice": Kind(lambda: slice(0, 1), lambda: slice(0, 2), lambda v: v.stop),
    "Enum": Kind(constant(Named.LOW), constant(Named.HIGH), lambda v: v.value),
    "IntEnum": Kind(constant(Numbered.LOW), constant(Numbered.HIGH)),
    "frozen dataclass": Kind(Frozen, lambda: Frozen(1.5), lambda v: v.rate),
    "frozenset": Kind(lambda: frozenset([1]), lambda: frozenset([1, 2]), len),
    "namedtuple": Kind(lambda: Point(0, 0.5), lambda: Point(0, 1.5), lambda v: v.rate),
    "dtype": Kind(
        lambda: np.dtype("f4"), lambda: np.dtype("f8"), lambda v: v.itemsize / 4
    ),
    # containers
    "list": Kind(lambda: [0.5, 1.0], lambda: [1.5], lambda v: v[0], entry(0, 1.25)),
    "longer list": Kind(lambda: [1.0], lambda: [1.0] * 3, len, lambda v: v.append(1.0)),
    "nested list": Kind(
        lambda: [[0.5], [1.0]], lambda: [[1.5], [1.0]], lambda v: v[0][0],
        lambda v: entry(0, 2.0)(v[0]),
    ),
    "tuple": Kind(lambda: (0.5, 1.0), lambda: (1.5, 1.0), lambda v: v[0]),
    "tuple of flags": Kind(
        lambda: (0, 1), lambda: (False, True), lambda v: 0.5 if v[1] is True else 1.5
    ),
    "list in a tuple": Kind(
        lambda: ([0.5],), lambda: ([1.5],), lambda v: v[0][0], lambda v: v[0].append(v[0].pop() + 1)
    ),
    "dict": Kind(lambda: {"a": 0.5}, lambda: {"a": 1.5}, lambda v: v["a"], entry("a", 1.25)),
    "dict's keys": Kind(
        lambda: {"low": 0.5}, lambda: {"high": 0.5}, lambda v: 0.5 if "low" in v else 1.5, rename
    ),
    "dict's order": Kind(
        lambda: {"a": 0.5, "b": 1.5}, lambda: {"b": 1.5, "a": 0.5},
        lambda v: next(iter(v.values())), swap,
    ),
    "defaultdict": Kind(
        lambda: collections.defaultdict(float, a=0.5),
        lambda: collections.defaultdict(float, a=1.5), lambda v: v["a"], entry("a", 1.25),
    ),
    "set": Kind(lambda: {1}, lambda: {1, 2, 3}, len, lambda v: v.add(2)),
    "deque": Kind(
        lambda: collections.deque([0.5]), lambda: collections.deque([1.5]), lambda v: v[0],
        lambda v: v.appendleft(1.25),
    ),
    "mappingproxy": Kind(
        lambda: types.MappingProxyType({"a": [0.5]}), lambda: types.MappingProxyType({"a": [1.5]}),
        lambda v: v["a"][0], lambda v: entry(0, 1.25)(v["a"]),
    ),
    "own list": Kind(
        lambda: Listed([1.0]), lambda: Listed([3.0]), lambda v: v[0] * v.rate, put("rate", 1.25)
    ),
    # arrays
    "array": Kind(numbers(0.5, 0.5), numbers(1.5, 1.0), mean, entry(0, 2.0)),
    "array as it is": Kind(numbers(0.5), numbers(1.5), ops.sum, entry(0, 2.0)),
    "array's dtype": Kind(
        lambda: np.ones(2, "f4"), lambda: np.ones(1, "f8"), lambda v: v.dtype.itemsize / 4
    ),
    "array's shape": Kind(
        lambda: np.ones((2, 3)), lambda: np.ones((3, 2)), lambda v: v.shape[0] / 2,
        lambda v: v.resize((6, 1), refcheck=False),
    ),
    "array of one": Kind(lambda: np.array(0.5), lambda: np.array(1.5), ops.sum, entry((), 1.25)),
    "array of signs": Kind(
        lambda: np.array([0.0]), lambda: np.array([-0.0]),
        lambda v: 1.0 + 0.5 * float(np.copysign(1.0, v[0])), entry(0, -0.0),
    ),
    "array of flags": Kind(
        lambda: np.array([True, False]), lambda: np.array([True, True]), mean, entry(1, True)
    ),
    "array of objects": Kind(
        lambda: np.array([[0.5], None], object), lambda: np.array([[1.5], None], object),
        lambda v: v[0][0], lambda v: entry(0, 1.25)(v[0]),
    ),
    "part of an array": Kind(
        lambda: np.arange(8.0)[1::3], lambda: np.arange(8.0)[::3], mean,
        lambda v: v.base.__setitem__(4, 9.0),
    ),
    "large array": Kind(
        lambda: np.full(70_000, 0.5), lambda: np.full(70_000, 1.5), mean, entry(69_999, 1e5)
    ),
    "read-only array": Kind(
        lambda: np.broadcast_to(np.array([0.5]), (3,)), lambda: np.full(3, 1.5), mean,
        lambda v: v.base.__setitem__(0, 2.0),
    ),
    "list of arrays": Kind(
        lambda: [np.array([0.5])], lambda: [np.array([1.5])], lambda v: ops.sum(v[0]),
        lambda v: entry(0, 2.0)(v[0]),
    ),
    "array.array": Kind(
        lambda: array.array("d", [0.5]), lambda: array.array("d", [1.5]), lambda v: v[0],
        entry(0, 2.0),
    ),
    "bytearray": Kind(lambda: bytearray([1]), lambda: bytearray([3]), lambda v: v[0], entry(0, 2)),
    "memoryview": Kind(
        lambda: memoryview(bytearray([1])), lambda: memoryview(bytearray([3])), lambda v: v[0],
        entry(0, 2),
    ),
    "tensor": Kind(
        lambda: ops.convert_to_tensor([0.5]), lambda: ops.convert_to_tensor([1.5]), ops.sum
    ),
    "variable": Kind(
        lambda: gpunn.Variable(0.5), lambda: gpunn.Variable(1.5), lambda v: v * 1.0,
        lambda v: v.assign(1.25),
    ),
    # objects
    "object": RATE,
    "object's method": Kind(Plain, lambda: Plain(1.5), lambda v: v.value(), put("rate", 1.25)),
    "object's new attribute": Kind(
        Plain, lambda: Plain(1.5), lambda v: getattr(v, "more", v.rate), put("more", 1.25)
    ),
    "object's dict": Kind(
        Plain, lambda: Plain(1.5), lambda v: v.rate, lambda v: setattr(v, "__dict__", {"rate": 2.0})
    ),
    "property": Kind(Described, lambda: Described(1.5), lambda v: v.twice, put("rate", 1.25)),
    "computed attribute": Kind(
        Described, lambda: Described(1.5), lambda v: v.half, put("rate", 1.25)
    ),
    "object with slots": Kind(Slotted, lambda: Slotted(1.5), lambda v: v.rate, put("rate", 1.25)),
    "object that is equal": Kind(Equal, lambda: Equal(1.5), lambda v: v.rate, put("rate", 1.25)),
    "one of two objects": Kind(
        constant(FAST), constant(SLOW), lambda v: 0.5 if v is FAST else 1.5
    ),
    "one of two classes": Kind(
        constant(Fast), constant(Slow), lambda v: 0.5 if v is Fast else 1.5
    ),
    "object in itself": Kind(
        lambda: cyclic(0.5), lambda: cyclic(1.5), lambda v: v.itself[1]["again"].rate,
        put("rate", 1.25),
    ),
    "dataclass": Kind(Data, lambda: Data(1.5), lambda v: v.rate, put("rate", 1.25)),
    "dataclass's list": Kind(
        Data, lambda: Data(0.5, [1.5]), lambda v: v.others[0], lambda v: entry(0, 1.25)(v.others)
    ),
    "namespace": Kind(
        lambda: types.SimpleNamespace(rate=0.5), lambda: types.SimpleNamespace(rate=1.5),
        lambda v: v.rate, put("rate", 1.25),
    ),
    "nested": Kind(
        nested, lambda: {"a": [None, (1.0, {"b": Slotted(1.5)})]}, lambda v: v["a"][1][1]["b"].rate,
        lambda v: put("rate", 1.25)(v["a"][1][1]["b"]),
    ),
    "weak reference": Kind(
        weakly, lambda: in_cell(Plain(1.5)), lambda v: v().rate, lambda v: put("rate", 1.25)(v())
    ),
    "of this thread": Kind(
        of_thread, lambda: of_thread(1.5), lambda v: v.rate, put("rate", 1.25)
    ),
    "context variable": Kind(
        in_context, lambda: in_context(1.5), lambda v: v.get(), lambda v: v.set(1.25)
    ),
    "number of C": Kind(
        lambda: ctypes.c_double(0.5), lambda: ctypes.c_double(1.5), lambda v: v.value,
        put("value", 1.25),
    ),
    "class": Kind(
        custom_class, lambda: type("Own", (), {"rate": 1.5}), lambda v: v.rate, put("rate", 1.25)
    ),
    "object's class": Kind(
        lambda: custom_class()(), lambda: Plain(1.5), lambda v: v.rate,
        lambda v: setattr(type(v), "rate", 1.25),
    ),
    # functions
    "function": Kind(lambda: lambda: 0.5, lambda: lambda: 1.5, lambda v: v(), change_function),
    "default": Kind(
        lambda: with_default(0.5), lambda: with_default(1.5), lambda v: v(),
        put("__defaults__", (1.25,)),
    ),
    "closure": Kind(
        lambda: in_cell(0.5), lambda: in_cell(1.5), lambda v: v(),
        lambda v: entry(0, 1.25)(v.__closure__[0].cell_contents),
    ),
    "partial": Kind(
        lambda: functools.partial(max, 0.5), lambda: functools.partial(max, 1.5), lambda v: v(0.0),
    ),
    "partial of a list": Kind(
        lambda: functools.partial(max, [0.5]), lambda: functools.partial(max, [1.5]), lambda v: v(),
        lambda v: v.args[0].append(2.0),
    ),
    "method": Kind(
        lambda: Plain().value, lambda: Plain(1.5).value, lambda v: v(),
        lambda v: put("rate", 1.25)(v.__self__),
    ),
    "callable object": Kind(Called, lambda: Called(1.5), lambda v: v(), put("rate", 1.25)),
    "attribute of a function": Kind(
        of_function, lambda: of_function(1.5), lambda v: v.rate, put("rate", 1.25)
    ),
    "new attribute of a function": Kind(
        lambda: lambda: 0.5, of_function, lambda v: getattr(v, "rate", 1.5), put("rate", 1.25)
    ),
    "derivative": Kind(
        lambda: gpunn.grad(in_product(Plain())), lambda: gpunn.grad(in_product(Plain(1.5))),
        lambda v: v(ops.convert_to_tensor(1.0)),
        lambda v: put("rate", 1.25)(v.__wrapped__.__closure__[0].cell_contents),
    ),
    "operation": Kind(constant(ops.exp), constant(ops.tanh), lambda v: v(0.5)),
    # parts of gpunn
    "activation": Kind(
        lambda: gpunn.activations.LeakyRelu(0.25), lambda: gpunn.activations.LeakyRelu(0.75),
        lambda v: -ops.sum(v(ops.convert_to_tensor([-1.0]))), put("negative_slope", 0.5),
    ),
    "regularizer": Kind(
        lambda: gpunn.regularizers.L2(0.25), lambda: gpunn.regularizers.L2(0.75),
        lambda v: v(ops.convert_to_tensor([1.0])), put("l2", 0.5),
    ),
}  # fmt: skip

CHANGES = [
    (name, how)
    for name, kind in KINDS.items()
    for how in ("replaced", *(["mutated"] if kind.mutate is not None else []))
]
"""Each kind, and whether a value is replaced by another or changed in place."""
