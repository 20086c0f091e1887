"""What changes between the calls of a function, or while a tape is open, is seen."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.filterwarnings("ignore:.*runs in Python")


class Mode(IntEnum):
    A = 1


class Other(IntEnum):
    P = 1


class Named(Enum):
    A = 1


def kind_of(x: Any) -> str:
    return f"{type(x).__name__}.{x!r}"


def test_arguments_that_are_equal_but_of_other_types_have_programs_each() -> None:
    seen: list[str] = []

    def chosen(x: Any, mode: Any) -> Any:
        kind = kind_of(mode)
        return x + {kind_of(m): k for k, m in enumerate(modes)}[kind], {"kind": kind}

    modes: list[Any] = [Mode.A, 1, Other.P, True, Named.A, "1", b"1", None, 0.0]
    compiled = gpunn.function(chosen)
    for _ in range(3):
        for number, mode in enumerate(modes):
            if isinstance(mode, float):
                continue
            y, named = compiled(10.0, mode)
            assert (float(y), named["kind"]) == (10.0 + number, kind_of(mode))
    assert not seen


def test_keys_of_dictionaries_are_told_apart_by_type() -> None:
    @gpunn.function
    def keyed(x: Any) -> Any:
        return {kind_of(key): value * 2 for key, value in x.items()}

    for _ in range(3):
        for key in (1, True, Mode.A, Other.P):
            assert {k: float(v) for k, v in keyed({key: 1.5}).items()} == {kind_of(key): 3.0}


def test_signs_of_zero_are_told_apart_in_calls_inside_a_tape() -> None:
    class Times(layers.Layer):
        def call(self, x: Any, z: float = 0.0) -> Any:
            return self.inner(x) * z

        inner = layers.Activation("linear")

    times = Times()
    x = ops.convert_to_tensor([[1.0]])
    for _ in range(3):
        for zero in (0.0, -0.0):
            with gpunn.GradientTape() as tape:
                tape.watch(x)
                y = times(x, z=zero)
            assert np.signbit(y.numpy()[0, 0]) == np.signbit(zero)


def doubled(f: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(f)
    def wrapper(*args: Any) -> Any:
        return 2 * f(*args)

    return wrapper


SETTINGS = {"rate": 1.0}


@gpunn.function
def scaled(x: Any) -> Any:
    return x * SETTINGS["rate"]


@gpunn.function
@doubled
def scaled_twice(x: Any) -> Any:
    return x * SETTINGS["rate"]


@pytest.mark.parametrize("inner", [scaled, scaled_twice], ids=["function", "wrapped"])
@pytest.mark.parametrize("where", ["function", "grad", "lambda", "layer", "loss", "metric", "step"])
def test_a_function_inside_another_part_is_watched(
    inner: Any, where: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpunn.use_backend(backend)
    x = np.ones((2, 1), "float32")
    factor = 2.0 if inner is scaled_twice else 1.0
    net: Any = None

    class Scales(layers.Layer):
        def call(self, x: Any) -> Any:
            return inner(x)

    class Steps(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            return {"loss": ops.mean(inner(data[0]))}

    if where == "function":
        call = gpunn.function(lambda x: ops.mean(inner(x)))
    elif where == "grad":
        call = gpunn.function(lambda x: ops.sum(gpunn.grad(lambda x: ops.mean(inner(x)))(x)))
    elif where in ("lambda", "layer"):
        own = layers.Lambda(inner) if where == "lambda" else Scales()
        net = gpunn.Sequential([layers.Input((1,)), own])
        def call(x):
            return net.predict(x, verbose=0).mean()
    elif where == "step":
        net = Steps([layers.Input((1,)), layers.Dense(1)])
        net.compile("sgd", "mse")
        def call(x):
            return net.fit(x, x, verbose=0).history["loss"][0]
    else:
        net = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)])
        if where == "loss":
            net.compile("sgd", lambda t, p: ops.mean(inner(t)))
            def call(x):
                return net.evaluate(x, x, verbose=0)
        else:
            net.compile("sgd", "mse", metrics=[lambda t, p: ops.mean(inner(t), -1)])
            def call(x):
                return net.evaluate(x, x, verbose=0)[1]
    for rate in (1.0, 1.0, 3.0, 5.0, 1.0):
        monkeypatch.setitem(SETTINGS, "rate", rate)
        assert float(call(x)) == pytest.approx(rate * factor), rate


@dataclass
class Pair:
    value: Any
    name: str


class Both(NamedTuple):
    one: Any
    two: Any


def test_what_a_function_returns_has_values() -> None:
    table = np.zeros(2, "float32")

    def returned(x: Any) -> Any:
        return {
            "pair": Pair(x * 2, "a"), "both": Both(x + 1, [x]), "set": {float(x)},
            "later": lambda: x * 3,
        }  # fmt: skip

    compiled = gpunn.function(returned)
    for value in (1.0, 2.0, 3.0):
        found = compiled(value)
        assert float(found["pair"].value) == 2 * value
        assert isinstance(found["both"], Both)
        assert (float(found["both"].one), float(found["both"].two[0])) == (value + 1, value)
        assert found["set"] == {value}
        assert float(found["later"]()) == 3 * value

    for what in (lambda x: Pair(x, "a"), lambda x: {x}, lambda x: (lambda: x)):
        again = gpunn.function(what)
        for value in (1.0, 2.0, 3.0):
            found = again(value)
            if isinstance(found, set):
                (found,) = found
            x = found.value if isinstance(found, Pair) else found() if callable(found) else found
            assert float(x) == value

    tables = gpunn.function(lambda x: (x, table))
    made = [tables(float(k))[1] for k in range(4)]
    table[0] = 7.0
    made.append(tables(9.0)[1])
    assert [np.asarray(one).tolist() for one in made] == [[0, 0]] * 4 + [[7, 0]]
    assert len({id(one) for one in made}) == 5


READS: dict[str, Callable[[Any], float]] = {
    "numpy": lambda w: float(w.numpy().sum()),
    "asarray": lambda w: float(np.asarray(w).sum()),
    "float": lambda w: float(ops.sum(w)),
    "tolist": lambda w: float(np.sum(w.tolist())),
    "repr": lambda w: float(np.sum(w.numpy())) if "e" in repr(w) else 0.0,
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("kind", ["weight", "variable"])
def test_values_read_by_python_are_those_of_now(kind: str, read: str, backend: str) -> None:
    gpunn.use_backend(backend)
    if kind == "weight":
        layer = layers.Dense(1, use_bias=False)
        layer.build((None, 2))
        w: Any = layer.kernel
    else:
        w = gpunn.Variable(np.ones((2, 1)))

    @gpunn.function
    def shifted(x: Any) -> Any:
        return x + READS[read](w)

    for value in (1.0, 2.0, 3.0, 4.0):
        w.assign(np.full((2, 1), value))
        assert float(shifted(1.0)) == 1.0 + 2 * value


def test_get_weights_and_predict_in_a_function_are_those_of_now(backend: str) -> None:
    gpunn.use_backend(backend)
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1, use_bias=False)])
    model.compile("sgd", "mse")
    x, calls = np.ones((1, 2), "float32"), []

    @gpunn.function
    def read(scale: Any) -> Any:
        calls.append(1)
        predicted = model.predict(x, verbose=0)
        return scale * float(model.get_weights()[0].sum()), scale * float(predicted.sum())

    for value in (1.0, 2.0, 3.0, 4.0):
        model.set_weights([np.full((2, 1), value)])
        assert [float(one) for one in read(1.0)] == [2 * value, 2 * value]


def test_a_branch_on_iterations_is_taken_in_each_step(backend: str) -> None:
    gpunn.use_backend(backend)
    v, optimizer = gpunn.Variable([0.0]), gpunn.optimizers.SGD(1.0)
    layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    layer.build((None, 1))

    @gpunn.function
    def step() -> Any:
        if optimizer.iterations % 2 == 0:
            v.assign_add([1.0])
        else:
            v.assign_sub([10.0])
        optimizer.apply([ops.ones((1, 1))], [layer.kernel])
        return optimizer.iterations

    found = [int(step()) for _ in range(6)]
    assert found == [1, 2, 3, 4, 5, 6]
    assert_array_equal(v.numpy(), [-27.0])
    assert_array_equal(layer.kernel.numpy(), [[-6.0]])


def test_iterations_and_the_rate_are_tensors_of_a_step(backend: str) -> None:
    gpunn.use_backend(backend)
    optimizer = gpunn.optimizers.SGD(0.5)
    layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    layer.build((None, 1))

    @gpunn.function
    def step() -> Any:
        before = optimizer.iterations
        optimizer.apply([ops.ones((1, 1))], [layer.kernel])
        return before, optimizer.iterations, ops.cast(before, "float32") * optimizer.learning_rate

    rates = [0.5, 0.5, 0.5, 0.25, 0.125]
    for number, rate in enumerate(rates):
        optimizer.learning_rate = rate
        before, after, product = step()
        assert (int(before), int(after)) == (number, number + 1)
        assert float(product) == number * rate
    assert step.compiled
    assert_allclose(layer.kernel.numpy(), [[-sum(rates)]])


def test_the_state_of_an_optimizer_in_a_function_is_that_of_now(backend: str) -> None:
    gpunn.use_backend(backend)
    layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    layer.build((None, 1))
    optimizer = gpunn.optimizers.SGD(1.0, momentum=0.5)
    optimizer.build([layer.kernel])

    @gpunn.function
    def step() -> Any:
        optimizer.apply([ops.ones((1, 1))], [layer.kernel])
        return optimizer.variables[2], optimizer.get_config()["learning_rate"]

    found = [(step()[0].item(), step()[1]) for _ in range(3)]
    assert found == [(-1.0, 1.0), (-1.75, 1.0), (-1.9375, 1.0)]


def test_what_runs_out_is_taken_from_in_each_call() -> None:
    for eager in (False, True):
        found = []
        numbers, drawn = iter([10.0, 20.0, 30.0, 40.0]), random.Random(3)

        def step(x: Any, numbers: Any = numbers, drawn: Any = drawn) -> Any:
            return x * next(numbers) + drawn.random(), sum(next(numbers) for _ in ())

        call = step if eager else gpunn.function(step)
        found = [float(call(2.0)[0]) for _ in range(4)]
        expected = random.Random(3)
        assert found == pytest.approx([20 * k + expected.random() for k in range(1, 5)])


def test_the_eager_mode_converts_arrays_too() -> None:
    twice = gpunn.function(lambda x: x * 2)
    for eager in (False, True):
        gpunn.config.run_eagerly(eager)
        try:
            assert twice(np.array([200], "uint8")).tolist() == [400]
        finally:
            gpunn.config.run_eagerly(False)
    with gpunn.GradientTape() as tape:
        v = gpunn.Variable([1.0])
        y = twice(np.ones(1)) * v
    assert tape.gradient(y, v).tolist() == [2.0]


def test_a_result_is_that_at_its_place_in_a_step(backend: str) -> None:
    gpunn.use_backend(backend)
    mean, other = gpunn.metrics.Mean(), gpunn.metrics.Mean()

    @gpunn.function
    def step(x: Any) -> Any:
        mean.update_state(x)
        first = mean.result()
        other.update_state(x * 2)
        between = other.result()
        mean.update_state(x * 3)
        return first, mean.result(), between, mean.result(), mean(x * 4)

    for _ in range(4):
        mean.reset_state()
        other.reset_state()
        assert [float(value) for value in step(2.0)] == [2.0, 4.0, 4.0, 4.0, 16 / 3]
    assert step.compiled


def test_a_rate_that_a_step_sets_is_set_in_each_step(backend: str) -> None:
    gpunn.use_backend(backend)
    optimizer = gpunn.optimizers.SGD(1.0)
    layer = layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    layer.build((None, 1))

    @gpunn.function
    def step() -> Any:
        optimizer.apply([ops.ones((1, 1))], [layer.kernel])
        optimizer.learning_rate *= 0.5
        return ops.sum(layer.kernel)

    assert [float(step()) for _ in range(5)] == [-1.0, -1.5, -1.75, -1.875, -1.9375]


def test_a_tape_reads_weights_as_they_are_now(backend: str) -> None:
    """Also after an update, a reset, a write, and another thread's assignment."""
    gpunn.use_backend(backend)
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1, use_bias=False)])
    v = gpunn.Variable([1.0])
    x = np.ones((1, 2), "float32")
    optimizer = gpunn.optimizers.SGD(1.0)
    for _ in range(3):  # the later ones by programs
        model.set_weights([np.ones((2, 1))])
        v.assign([1.0])
        kernel = model.layers[-1].kernel
        with gpunn.GradientTape(persistent=True) as tape:
            one = ops.sum(model(x)) * v
            optimizer.apply([np.full((2, 1), -1.0, "float32")], [kernel])
            two = ops.sum(model(x)) * v
            v.assign([3.0])
            v.reset()
            three = ops.sum(model(x)) * v
            v.write(np.array([5.0]))
            four = ops.sum(model(x)) * v
            other = threading.Thread(target=lambda k=kernel: (k.assign(np.full((2, 1), 4.0)),
                                                              v.assign([7.0])))  # fmt: skip
            other.start()
            other.join()
            five = ops.sum(model(x)) * v + ops.sum(kernel)
            product = two * five
        assert [float(y[0]) for y in (one, two, three, four, five)] == [2, 4, 4, 20, 64]
        assert_array_equal(tape.gradient(one, kernel), np.full((2, 1), 1.0))
        assert_array_equal(tape.gradient(five, kernel), np.full((2, 1), 8.0))
        assert_array_equal(tape.gradient(product, v), [4 * 64 + 4 * 8])


def test_given_gradients_keep_their_graph() -> None:
    """The gradient with respect to what a gradient begins with, as for several targets."""
    for several in (False, True):
        x, v = ops.convert_to_tensor([2.0, 3.0]), ops.convert_to_tensor([1.0, 10.0])
        with gpunn.GradientTape() as outer:
            outer.watch([x, v])
            with gpunn.GradientTape() as inner:
                inner.watch(x)
                y = x * x
            given = v * v
            found = inner.gradient(
                [y] if several else y, x, output_gradients=[given] if several else given
            )
        by_x, by_v = outer.gradient(found, [x, v])
        assert_array_equal(by_v, [2 * 1 * 4, 2 * 10 * 6])  # d(v^2 2x)/dv
        assert_array_equal(by_x, [2, 200])


def test_a_variable_has_one_value_on_all_backends() -> None:
    v = gpunn.Variable([1.0])
    add = gpunn.function(lambda x: v.assign_add(x))
    for backend in ("numpy", "compiled", "numpy"):
        gpunn.use_backend(backend)
        for _ in range(3):
            add([1.0])
    assert_array_equal(v.numpy(), [10.0])
    gpunn.use_backend("emulated")
    with gpunn.GradientTape() as tape:  # a tape reads it where it is
        y = v * 2
    assert y.tolist() == [20.0] and tape.gradient(y, v).tolist() == [2.0]
    with pytest.raises(ValueError, match=r"variable.*numpy.*emulated"):
        gpunn.Sequential([layers.Input((1,)), layers.Lambda(lambda x: x * v)]).predict(
            np.ones((1, 1)), verbose=0
        )
