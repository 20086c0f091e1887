"""What a compiled function does is what Python would do, once in each call.

The oracle is the same function under `config.run_eagerly`, from the same state.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from properties.functions_and_python import Step, assert_alike, eagerly, results

import gpunn
from gpunn import layers, metrics, ops

ONE, THREE = np.array([1.0]), np.array([3.0])
SAME = [(ONE,)] * 6
RECURRENT = layers.LSTM(2, dropout=0.3)
IN_TURN = [(ONE,), (THREE,), (ONE,), (THREE,), (ONE,), (THREE,), (THREE,)]

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:.*runs in Python"),
]


def branches() -> Step:
    return lambda x: x * 2 if ops.sum(x) > 2 else x - 1


def reads_a_weight() -> Step:
    v = gpunn.Variable(np.ones(1))

    def step(x: Any) -> Any:
        v.assign_add(x)
        return x * (1 if float(v[0]) < 5 else -1)

    return step


def reads_what_it_computed() -> Step:
    return lambda x: ops.array([math.exp(float(ops.sum(x * 2)))])


def assigns_in_a_branch() -> Step:
    v = gpunn.Variable(np.zeros(1))

    def step(x: Any) -> Any:
        ops.cond(ops.sum(x) > 2, lambda: v.assign_add([1.0]), lambda: v.assign_add([10.0]))
        return v * 1.0

    return step


def counts_in_a_branch() -> Step:
    mean = metrics.Mean()

    def step(x: Any) -> Any:
        def count() -> Any:
            mean.update_state(x)
            return x

        ops.cond(ops.sum(x) > 2, count, lambda: x)
        return mean.result()

    return step


def takes_in_a_branch() -> Step:
    table = ops.array([5.0, 6.0])

    def step(x: Any) -> Any:
        place = ops.cast(ops.sum(x), "int32")
        return ops.cond(place < 2, lambda: ops.take(table, place), lambda: ops.array(-1.0))

    return step


def calls_a_layer_in_a_branch() -> Step:
    norm = layers.BatchNormalization()
    norm.build((None, 1))

    def step(x: Any) -> Any:
        x = ops.reshape(x, (1, 1))
        y = ops.cond(ops.sum(x) > 2, lambda: norm(x, training=True), lambda: x)
        return ops.sum(norm.moving_mean) + 0 * ops.sum(y)

    return step


def takes_from_an_iterator() -> Step:
    numbers = iter(range(100))
    return lambda x: x * next(numbers)


def takes_from_a_generator() -> Step:
    def squares() -> Iterator[float]:
        yield from (k * k for k in range(100))

    each = squares()
    return lambda x: x * next(each)


def draws_by_an_own_generator() -> Step:
    own = random.Random(3)
    return lambda x: x * own.random()


def draws_by_numpy() -> Step:
    np.random.seed(0)  # noqa: NPY002
    return lambda x: x * np.random.random()  # noqa: NPY002


def makes_a_generator() -> Step:
    return lambda x: x * np.random.default_rng(4).random()


def makes_a_variable() -> Step:
    def step(x: Any) -> Any:
        v = gpunn.Variable(np.ones(1))
        v.assign(v * x + 3)
        return v * 1.0

    return step


def makes_a_metric() -> Step:
    def step(x: Any) -> Any:
        mean = metrics.Mean()
        mean.update_state(x)
        return mean.result()

    return step


def makes_a_layer() -> Step:
    def step(x: Any) -> Any:
        dense = layers.Dense(1, kernel_initializer="ones")
        y = dense(ops.reshape(x, (1, 1)))
        dense.kernel.assign(dense.kernel * 2.0)
        return y + dense(ops.reshape(x, (1, 1)))

    return step


def counts_calls() -> Step:
    calls = [0]

    def step(x: Any) -> Any:
        calls[0] += 1
        return x * calls[0]

    return step


def fails_half_way() -> Step:
    seen: list[int] = []

    def step(x: Any) -> Any:
        seen.append(len(seen))
        return x + len(seen) if bool(ops.sum(x) < 100) else x

    return step


def appends_what_it_computes() -> Step:
    seen: list[Any] = []

    def step(x: Any) -> Any:
        seen.append(x * 2)
        return x + len(seen) + sum(float(one[0]) for one in seen)

    return step


def catches_errors() -> Step:
    def step(x: Any) -> Any:
        try:
            return x * 100 if ops.sum(x) > 2 else x
        except Exception:
            return -x

    return step


def catches_all() -> Step:
    def step(x: Any) -> Any:
        try:
            return x * float(ops.sum(x))
        except:  # noqa: E722
            return -x

    return step


def catches_errors_of_values() -> Step:
    table = ops.array([5.0, 6.0])

    def step(x: Any) -> Any:
        try:
            return ops.take(table, ops.cast(ops.sum(x), "int32"))
        except (IndexError, ValueError):
            return ops.array(-1.0)

    return step


def loops_until() -> Step:
    def step(x: Any) -> Any:
        return ops.while_loop(lambda a: ops.sum(a) < 10, lambda a: (a * 2,), (x,))[0]

    return step


def of_closures() -> Step:
    v = gpunn.Variable(np.full(1, 0.5))

    def step(x: Any) -> Any:
        y = x * v
        v.assign(y + 1)
        carry, _ = ops.scan(lambda c, row: (c * y + row, c), y, ops.stack([x, y, v * 1.0]))
        return ops.cond(ops.sum(y) > 1, lambda: y * carry, lambda: carry - y)

    return step


def of_gradients() -> Step:
    v = gpunn.Variable(np.full(1, 0.5))

    def step(x: Any) -> Any:
        with gpunn.GradientTape() as outer:
            with gpunn.GradientTape() as inner:
                inner.watch(x)
                y = ops.sin(x * v) * v
            (slope,) = [inner.gradient(y, x)]
            total = ops.sum(slope * y)
        v.assign_sub(0.1 * outer.gradient(total, v))
        return total + ops.sum(gpunn.grad(lambda w: ops.sum(w * y * x))(v))

    return step


def of_numbers_it_keeps() -> Step:
    kept: dict[str, Any] = {}

    def step(x: Any) -> Any:
        before = kept.get("x", x)
        kept["x"] = x * 3
        return before + x

    return step


PROGRAMS = [
    branches, reads_a_weight, reads_what_it_computed, assigns_in_a_branch, counts_in_a_branch,
    takes_in_a_branch, calls_a_layer_in_a_branch, takes_from_an_iterator, takes_from_a_generator,
    draws_by_an_own_generator, draws_by_numpy, makes_a_generator, makes_a_variable, makes_a_metric,
    makes_a_layer, counts_calls, fails_half_way, appends_what_it_computes, catches_errors,
    catches_all, catches_errors_of_values, loops_until, of_closures, of_gradients,
    of_numbers_it_keeps,
]  # fmt: skip
COMPILED = [makes_a_generator, of_closures, of_gradients]
each_program = pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)


@each_program
@pytest.mark.parametrize("calls", [SAME, IN_TURN], ids=["equal", "in turn"])
def test_each_call_does_what_python_does(make: Any, calls: Any, backend: str) -> None:
    gpunn.use_backend(backend)
    wanted = eagerly(lambda: results(gpunn.function(make()), calls))
    step = gpunn.function(make())
    assert_alike(results(step, calls), wanted)
    assert step.compiled is (make in COMPILED)


@each_program
def test_inside_tapes_too(make: Any, backend: str) -> None:
    def within(step: Step) -> Step:
        def in_tapes(x: Any) -> Any:
            with gpunn.GradientTape() as outer, gpunn.GradientTape() as inner:
                outer.watch(x)
                inner.watch(x)
                y = step(x) + 0 * ops.sum(x)
            return y, outer.gradient(y, x), inner.gradient(y, x)

        return lambda x: np.concatenate([np.ravel(part) for part in function(x)]) if (
            function := compiled.setdefault(0, gpunn.function(in_tapes))) else None  # fmt: skip

    compiled: dict[int, Any] = {}
    gpunn.use_backend(backend)
    wanted = eagerly(lambda: results(within(make()), IN_TURN))
    compiled.clear()
    assert_alike(results(within(make()), IN_TURN), wanted)


class Steps(gpunn.Model):
    """Does the same in each of the three steps of a model."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step, self.seen = step, []

    def train_step(self, data: Any) -> dict[str, Any]:
        return {"value": ops.sum(self.step(data[0]))}

    test_step = train_step

    def predict_step(self, data: Any) -> Any:
        x = data[0] if isinstance(data, tuple) else data
        return ops.reshape(ops.sum(self.step(x)), (1, 1))


class Seen(gpunn.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.values.append(logs["value"])

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.values.append(logs["value"])


@each_program
@pytest.mark.parametrize("method", ["fit", "fit by rows", "evaluate", "predict"])
@pytest.mark.filterwarnings("ignore:.*steps of")
@pytest.mark.in_turn(2)
def test_steps_of_models_too(make: Any, method: str, backend: str) -> None:
    x = np.concatenate([args[0] for args in IN_TURN])

    def outcome() -> list[Any]:
        model, seen = Steps(make()), Seen()
        model.compile(optimizer="sgd", loss="mse")
        options: Any = {"batch_size": 1, "verbose": 0}
        if method == "fit by rows":
            history = model.fit(x, x, epochs=3, shuffle=False, **options)
            return list(history.history["value"])
        if method == "predict":
            return [model.predict(x, **options)]
        if method == "fit":
            model.fit(x, x, epochs=2, shuffle=False, callbacks=[seen], **options)
        else:
            model.evaluate(x, x, callbacks=[seen], **options)
        return seen.values

    gpunn.use_backend(backend)
    wanted = eagerly(outcome)
    assert_alike(outcome(), wanted)


def test_what_is_in_the_way_of_a_program_is_said_once() -> None:
    step = gpunn.function(branches())
    with pytest.warns(UserWarning, match=r"runs in Python.*`if`"):
        step(ONE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [step(x)[0].item() for x in (ONE, THREE, ONE)] == [0.0, 6.0, 0.0]


def test_a_function_is_called_once_in_each_call_until_it_is_compiled() -> None:
    seen: list[Any] = []

    def step(x: Any) -> Any:
        seen.append(np.asarray(x).shape)  # of an array: its shape is no value
        return x * 2

    compiled = gpunn.function(lambda x: step(x))
    for number in range(3):
        compiled(np.full(2, float(number)))
    assert len(seen) == 3


def test_prints_and_lists_get_values(capsys: pytest.CaptureFixture[str]) -> None:
    losses: list[Any] = []

    @gpunn.function
    def step(x: Any) -> Any:
        y = ops.sum(x)
        losses.append(y)
        return y

    for number in range(4):
        step(np.full(2, float(number)))
    assert [float(one) for one in losses] == [0.0, 2.0, 4.0, 6.0]


def test_constants_that_differ_from_call_to_call_are_no_constants() -> None:
    clock = iter(range(100))
    step = gpunn.function(lambda x: x + now())

    def now() -> int:
        return next(clock)

    assert [float(step(ONE)[0]) for _ in range(6)] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert not step.compiled


def test_another_shape_is_compiled_after_one_call() -> None:
    calls = [0]

    def count() -> None:
        calls[0] += 1

    class Counts:
        def __call__(self, x: Any) -> Any:
            count()
            return x * 2

    step = gpunn.function(lambda x: ops.sum(x) * 2)
    for length in (2, 2, 2, 5, 5, 7, 7, 2):
        assert float(step(np.ones(length))) == 2.0 * length
    assert step.compiled


def test_a_file_that_changes_later_is_not_seen(tmp_path: Any) -> None:
    """As the page says: both recorded calls read the same."""
    (file := tmp_path / "factor").write_text("2.0")
    step = gpunn.function(lambda x: x * float(file.read_text()))
    assert [step(ONE)[0].item() for _ in range(3)] == [2.0, 2.0, 2.0]
    file.write_text("5.0")
    assert step(ONE)[0].item() == 2.0
    another = gpunn.function(lambda x: x * float(file.read_text()))
    assert another(ONE)[0].item() == 5.0
    file.write_text("7.0")
    assert another(ONE)[0].item() == 7.0  # before there is a program


def test_functions_that_an_operation_is_given_are_called_once_more(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def doubled(x: Any) -> Any:
        print("called")
        return x * 2

    step = gpunn.function(lambda x: gpunn.grad(lambda z: ops.sum(doubled(z)))(x))
    for _ in range(5):
        assert step(ONE).tolist() == [2.0]
    assert step.compiled
    assert capsys.readouterr().out.count("called") == 3  # two calls, and the program


def test_tensors_of_another_call_keep_their_values() -> None:
    """Python may look at what earlier calls have returned."""
    results: list[Any] = []
    step = gpunn.function(lambda x: x * 2)
    for number in range(5):
        results.append(step(np.full(1, float(number))))
        assert [float(y[0]) for y in results] == [2.0 * k for k in range(number + 1)]


def test_the_learning_rate_is_that_of_each_call_before_the_first_step_too() -> None:
    optimizer = gpunn.optimizers.SGD(0.5)
    step = gpunn.function(lambda x: optimizer.learning_rate * x)
    for rate in (0.5, 0.5, 0.5, 0.25, 0.125):
        optimizer.learning_rate = rate
        assert step(ONE).tolist() == [rate]
    assert step.compiled


def test_a_failed_operation_of_a_tape_leaves_nothing_for_the_next() -> None:
    table = ops.array([5.0, 6.0])

    def taken(x: Any) -> Any:
        try:
            return ops.take(table, ops.cast(ops.sum(x), "int32"))
        except IndexError:
            return ops.array(-1.0)

    for _ in range(100):
        x = ops.array([3.0])
        with gpunn.GradientTape() as tape:
            tape.watch(x)
            y = taken(x) + 0 * ops.sum(x)
            assert float(y * 2.5) == -2.5


def test_attributes_of_any_model_are_watched() -> None:
    model: Any = gpunn.Sequential([layers.Input((1,)), layers.Dense(1)])
    model.factor = 2.0
    step = gpunn.function(lambda x: x * model.factor)
    assert [step(ONE)[0].item() for _ in range(3)] == [2.0, 2.0, 2.0]
    model.factor = 5.0
    assert step(ONE)[0].item() == 5.0


def loops_with_closures() -> Step:
    def step(x: Any) -> Any:
        total = x * 0
        for factor in (1.0, 2.0, 3.0):
            total = total + ops.map(lambda e: e * factor, x)  # noqa: B023
        y = x * 2
        found = ops.cond(ops.sum(x) > 2, lambda: y + 1, lambda: y - 1)
        y = x * 3
        seen = [y]
        slope = gpunn.grad(lambda z: ops.sum(z * seen[-1] * total))(y)
        seen.append(total)
        return found + y + slope

    return step


def returns_what_it_is_given() -> Step:
    def step(x: Any) -> Any:
        same = ops.cast(ops.convert_to_tensor(x), "float64")
        either = ops.cond(ops.sum(x) > 2, lambda: (x, x), lambda: (-x, same * 5))
        return ops.stack([*either, ops.map(lambda e: e * ops.sum(x), x), same])

    return step


def sets_attributes_and_back() -> Step:
    drop, scale = layers.Dropout(0.5, seed=1), layers.Rescaling(2.0)

    def step(x: Any) -> Any:
        drop.rate = 0.0
        y = drop(x, training=True)
        drop.rate = 0.5
        scale.scale = 3.0
        y = scale(ops.reshape(y, (1, 1)))
        scale.scale = 2.0
        return y + scale(ops.reshape(x, (1, 1)))

    return step


@pytest.mark.parametrize(
    "make", [loops_with_closures, returns_what_it_is_given, sets_attributes_and_back],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_what_functions_hold_is_what_they_held_when_they_were_handed_over(
    make: Any, backend: str
) -> None:
    gpunn.use_backend(backend)
    calls = [(ONE,), (ONE,), (THREE,), (-ONE,), (THREE,)]
    wanted = eagerly(lambda: results(gpunn.function(make()), calls))
    step = gpunn.function(make())
    assert_alike(results(step, calls), wanted)
    assert step.compiled is (make is not sets_attributes_and_back)


def test_a_flag_is_seen_twice_before_it_has_a_program() -> None:
    calls = iter(range(100))
    step = gpunn.function(lambda x, b: x * (now(calls) if b else 1.0))

    def now(calls: Any) -> int:
        return len(str(calls)) * 0 + next(calls)

    assert [step(ONE, False)[0].item() for _ in range(3)] == [1.0, 1.0, 1.0]
    found = [step(ONE, True)[0].item() for _ in range(4)]
    assert found == [0.0, 1.0, 2.0, 3.0]


def test_a_learning_rate_is_assigned_to() -> None:
    optimizer = gpunn.optimizers.SGD(0.5)

    def step(x: Any) -> Any:
        optimizer.learning_rate.assign(optimizer.learning_rate * 0.5)
        return x * optimizer.learning_rate

    compiled = gpunn.function(step)
    assert [compiled(ONE)[0].item() for _ in range(4)] == [0.25, 0.125, 0.0625, 0.03125]


@pytest.mark.parametrize(
    "step",
    [
        lambda x: gpunn.losses.mean_squared_error(x, 2 * x),
        lambda x: RECURRENT(ops.reshape(x, (1, 1, 1)), training=True),
    ],
    ids=["a loss as a function", "a recurrent layer with dropout"],
)
def test_parts_that_make_others_in_each_call_are_compiled(step: Any) -> None:
    compiled = gpunn.function(step)
    for _ in range(3):
        compiled(ONE)
    assert compiled.compiled
