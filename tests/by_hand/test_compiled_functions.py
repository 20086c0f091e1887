"""`gpunn.function`: the compiled function does what Python does, call after call."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
random = np.random.default_rng(0)
X, Y = random.standard_normal((12, 3)), random.integers(0, 4, 12)


class Parts:
    """What a random step uses: two networks, three optimizers, variables and metrics."""

    def __init__(self, seed: int) -> None:
        gpunn.utils.set_random_seed(seed)
        self.one = gpunn.Sequential(
            [layers.Input((3,)), layers.Dense(5, "tanh"), layers.BatchNormalization(),
             layers.Dense(4)]
        )  # fmt: skip
        self.two = gpunn.Sequential([layers.Input((3,)), layers.Dense(4, "sigmoid")])
        self.nets = [self.one, self.two]
        self.optimizers = [
            gpunn.optimizers.SGD(0.1, momentum=0.9), gpunn.optimizers.Adam(0.05),
            gpunn.optimizers.RMSprop(0.02, clipnorm=0.5),
        ]  # fmt: skip
        self.variables = [gpunn.Variable(np.full(4, 0.5)), gpunn.Variable(1.5)]
        self.mean, self.accuracy = gpunn.metrics.Mean(), gpunn.metrics.CategoricalAccuracy()

    def state(self) -> list[np.ndarray]:
        return [
            *self.one.get_weights(), *self.two.get_weights(),
            *(v.numpy() for v in self.variables),
            np.array([self.mean.result(), self.accuracy.result()]),
        ]  # fmt: skip


def drawn_step(seed: int) -> Any:
    """Draw a step: forward passes, losses, gradients, updates, assignments and metrics, in an
    order in which weights are read before and after they change."""
    draw = np.random.default_rng(seed)
    plan = [(str(draw.choice(["apply", "assign", "scale", "count", "read", "again"])),
             int(draw.integers(2)), int(draw.integers(3)))
            for _ in range(int(draw.integers(2, 7)))]  # fmt: skip

    def step(parts: Parts, x: Any, factor: Any) -> Any:
        out = []
        kept = None  # a prediction that later parts of the step read again
        for kind, which, other in plan:
            net = parts.nets[which]
            y = net(x, training=other == 0)
            v, s = parts.variables
            if kind in ("apply", "again"):
                with gpunn.GradientTape(persistent=True) as tape:
                    y = net(x, training=True) * v + s
                    total = ops.mean(y**2) * factor
                    if kind == "again" and kept is not None:
                        total = total + ops.mean(y * kept)
                weights = net.trainable_variables
                slopes = tape.gradient(total, weights)
                parts.optimizers[other].apply(slopes, weights)
                out.append(total)
                if other == 2:  # the tape's gradients are those of the weights before the update
                    out.append(ops.sum(tape.gradient(total, weights[0])))
            elif kind == "assign":
                v.assign(v * 0.5 + ops.mean(y, 0))
                s.assign_sub(factor * 0.1)
            elif kind == "scale" and other == 0:
                kernel = net.layers[-1].kernel
                kernel.assign(kernel * 0.9)
            elif kind == "count":
                parts.mean.update_state(y, sample_weight=factor)
                parts.accuracy.update_state(ops.softmax(kept if kept is not None else y), y)
            else:
                out.append(ops.sum(y))
                kept = y
        return out, kept

    return step


@pytest.mark.in_turn(2)
@pytest.mark.parametrize(
    "first", [0, 15, *(pytest.param(n, marks=pytest.mark.more) for n in (30, 45))]
)
def test_random_steps_do_what_python_does(first: int) -> None:
    """On NumPy and on the compiled kernels, in turn, with a short batch among others."""
    gpunn.use_backend("compiled" if first % 2 else "numpy")
    programs = 0
    for seed in range(first, first + 15):
        plain, parts, step = Parts(seed), Parts(seed), drawn_step(seed)
        compiled = gpunn.function(step)
        for number in range(5):
            rows, factor = slice(0, 5 if number == 3 else 7), 1.0 + 0.1 * number
            wanted, kept = step(plain, ops.convert_to_tensor(X[rows]), factor)
            found, also = compiled(parts, X[rows], factor)
            message = f"seed {seed}, call {number}"
            for one, other in zip([*found, also], [*wanted, kept], strict=True):
                if other is None:
                    assert one is None
                    continue
                assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-8, atol=1e-9,
                                err_msg=message)  # fmt: skip
            for a, b in zip(parts.state(), plain.state(), strict=True):
                assert_allclose(a, b, rtol=1e-8, atol=1e-9, err_msg=message)
        programs += compiled.compiled
    assert programs >= 9  # the others assign weights before an optimizer updates them


def squared(x: Any) -> Any:
    return x * x


def test_results_are_values_in_the_structure_of_the_function() -> None:
    @gpunn.function
    def parts(x: Any, named: Any, flag: bool = False) -> Any:
        return {"sum": x + named["b"], "list": [x * 2, (named["b"],)], "none": None, "flag": flag}

    for factor in (1.0, 2.0, 3.0):
        found = parts(np.array([factor, 2.0]), named={"b": np.ones(2)}, flag=True)
        assert found["sum"].tolist() == [factor + 1, 3.0] and found["flag"] is True
        assert found["list"][0].tolist() == [2 * factor, 4.0] and found["none"] is None
        assert found["list"][1][0].tolist() == [1.0, 1.0]
    assert parts.compiled
    again = pickle.loads(pickle.dumps(gpunn.function(squared)))
    assert [float(again(2.0)), float(again(3.0))] == [4.0, 9.0]
    assert gpunn.function(again) is again and again.__name__ == "squared"


def test_numbers_that_change_need_no_new_program() -> None:
    traced = []

    @gpunn.function
    def scaled(x: Any, rate: float, step: int) -> Any:
        traced.append(1)  # a change of what it uses, but for a list of numbers
        return x * rate + step

    plain: list[int] = []

    @gpunn.function
    def quiet(x: Any, rate: float, step: int) -> Any:
        return x * rate + step

    for step in range(20):
        assert quiet(X, 0.9**step, step).numpy() == pytest.approx(X * 0.9**step + step)
        assert scaled(X, 0.9**step, step).numpy() == pytest.approx(X * 0.9**step + step)
    assert quiet.compiled and not plain


def test_a_value_in_python_lets_the_function_run_in_python() -> None:
    w = gpunn.Variable(1.0)

    @gpunn.function
    def halved(limit: float) -> Any:
        count = 0
        while float(w) > limit:
            w.assign(w / 2)
            count += 1
        return count

    assert [halved(0.3), halved(0.1), halved(0.1)] == [2, 2, 0] and not halved.compiled

    @gpunn.function
    def noisy() -> Any:
        return ops.convert_to_tensor(np.random.standard_normal(3))  # noqa: NPY002

    first, second, third = noisy().tolist(), noisy().tolist(), noisy().tolist()
    assert first != second and second != third and not noisy.compiled


def test_what_it_uses_may_change() -> None:
    held = {"factor": 2.0}
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(2)])

    @gpunn.function
    def predicted(x: Any) -> Any:
        return model(x) * held["factor"]

    for factor in (2.0, 3.0, 2.0, 5.0):
        held["factor"] = factor
        model.set_weights([np.full((3, 2), factor), np.zeros(2)])
        for _ in range(2):
            wanted = factor**2 * X.sum(1)
            assert_allclose(predicted(X).numpy()[:, 0], wanted, rtol=1e-12)
    assert predicted.compiled
    moved = gpunn.Sequential([layers.Input((3,)), model, layers.Dense(1)])
    moved.predict(X, verbose=0)  # the weights of the inner model are now in that of the outer one
    model.set_weights([np.full((3, 2), 7.0), np.zeros(2)])
    assert_allclose(predicted(X).numpy()[:, 0], 35 * X.sum(1), rtol=1e-12)


def test_methods_and_unbuilt_layers() -> None:
    class Net:
        def __init__(self, width: int) -> None:
            self.dense = layers.Dense(width, kernel_initializer="ones")

        @gpunn.function
        def __call__(self, x: Any) -> Any:
            return self.dense(x)

    small, large = Net(2), Net(3)
    for _ in range(3):
        assert small(X).shape == (12, 2) and large(X).shape == (12, 3)
        assert_allclose(large(X).numpy()[:, 2], X.sum(1), rtol=1e-12)


def test_dropout_differs_from_call_to_call_and_repeats_with_the_seed() -> None:
    def drawn() -> list[list[float]]:
        gpunn.utils.set_random_seed(3)
        drop = layers.Dropout(0.5)
        function = gpunn.function(lambda x: drop(x, training=True))
        return [function(np.ones((4, 10))).numpy().ravel().tolist() for _ in range(5)]

    first, second = drawn(), drawn()
    assert first == second and len(set(map(str, first))) == 5


def test_several_threads_share_a_function() -> None:
    model = gpunn.Sequential([layers.Input((3,)), layers.Dense(4, "tanh")])
    function = gpunn.function(lambda x: ops.sum(model(x)))
    data = [random.standard_normal((6, 3)) for _ in range(8)]
    alone = [float(function(x)) for x in data]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda x: [float(function(x)) for _ in range(20)], data))
    for one, several in zip(alone, together, strict=True):
        assert_allclose(several, one, rtol=1e-12)


def test_inside_tapes_and_other_functions() -> None:
    cube = gpunn.function(lambda x: x**3)
    slope = gpunn.function(gpunn.grad(lambda x: ops.sum(cube(x))))
    x = ops.convert_to_tensor([1.0, 2.0])
    for _ in range(3):
        assert slope([1.0, 2.0]).tolist() == [3.0, 12.0]
        with gpunn.GradientTape() as tape:
            tape.watch(x)
            y = cube(x)
        assert tape.gradient(y, x).tolist() == [3.0, 12.0]


def test_after_an_error_all_is_as_python_leaves_it() -> None:
    """A step that a trace refuses runs in Python, which may do without what the trace lacks."""

    def counted(v: Any, x: Any) -> Any:
        v.assign_add(1.0)
        return ops.reshape(x, (2, 3))

    ends = []
    for call in (counted, gpunn.function(counted)):
        v = gpunn.Variable(0.0)
        call(v, np.zeros(6))
        for _ in range(2):
            with pytest.raises(ValueError, match="reshape"):
                call(v, np.zeros(5))
            assert call(v, np.arange(6.0)).shape == (2, 3)
        ends.append(float(v))
    assert ends == [5.0, 5.0]


def test_an_optimizer_that_fit_has_used_in_between_goes_on() -> None:
    """`fit` counts its updates and keeps its rate elsewhere: the program follows."""

    def trained(compiled: bool) -> list[np.ndarray]:
        gpunn.utils.set_random_seed(0)
        model = gpunn.Sequential([layers.Input((3,)), layers.Dense(4, "softmax")])
        model.get_weights()
        optimizer = gpunn.optimizers.Adam(0.1)
        loss = gpunn.losses.SparseCategoricalCrossentropy()

        def step(x: Any, y: Any) -> Any:
            with gpunn.GradientTape() as tape:
                value = loss(y, model(x, training=True))
            optimizer.apply(
                tape.gradient(value, model.trainable_variables), model.trainable_variables
            )
            return value

        done = gpunn.function(step) if compiled else step
        for _ in range(3):
            done(X, Y)
        model.compile(optimizer, loss)
        model.fit(X, Y, batch_size=6, epochs=2, shuffle=False, verbose=0)
        optimizer.learning_rate = 0.01
        for _ in range(3):
            done(X, Y)
        assert int(optimizer.iterations) == 10
        return model.get_weights()

    for one, other in zip(trained(True), trained(False), strict=True):
        assert_allclose(one, other, rtol=1e-9, atol=1e-11)


P, ROWS = random.uniform(size=(6, 3)), np.array([0, 2, 1, 1, 0, 2])
MEASURED: dict[str, Any] = {
    "numbers": (gpunn.metrics.BinaryAccuracy, ROWS > 1, P[:, 0]),
    "columns": (gpunn.metrics.BinaryAccuracy, ROWS > 1, P[:, :1]),
    "classes": (gpunn.metrics.SparseCategoricalAccuracy, ROWS, P),
    "steps": (gpunn.metrics.SparseCategoricalAccuracy, np.stack([ROWS, ROWS[::-1]], 1),
              np.stack([P, P[::-1] ** 2], 1)),
    "rows of targets": (gpunn.metrics.CategoricalAccuracy, np.eye(3)[ROWS], P),
    "errors": (gpunn.metrics.MeanAbsoluteError, P[::-1], P),
    "a loss": (gpunn.metrics.SparseCategoricalCrossentropy, ROWS, P / P.sum(1, keepdims=True)),
}  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", MEASURED)
def test_metrics_count_in_a_step_what_they_count_on_arrays(case: str, weighted: bool) -> None:
    kind, targets, predictions = MEASURED[case]
    own, alone = kind(), kind()
    weights = [random.uniform(0.1, 2, 6)] if weighted else []

    @gpunn.function
    def counted(*given: Any) -> Any:
        own.update_state(*given)
        return own.result()

    for _ in range(3):
        found = counted(targets, predictions, *weights)
        alone.update_state(targets, predictions, *weights)
        assert float(found) == pytest.approx(float(alone.result()), rel=1e-9)
    assert counted.compiled


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
@pytest.mark.parametrize("where", ["a dictionary", "a dictionary in it", "keywords"])
def test_named_arguments_may_come_in_any_order(
    backend: str, order: tuple[str, ...], where: str
) -> None:
    gpunn.use_backend(backend)

    @gpunn.function
    def computed(of: Any, a: Any = 0.0, b: Any = 0.0, c: Any = 0.0) -> Any:
        inner = of.get("d", of)
        return inner["a"] - 2 * inner["b"] + 5 * inner["c"] + 11 * a - 17 * b + 23 * c

    values = {name: np.full(2, 3.0**k, "float32") for k, name in enumerate("abc")}
    a, b, c = values.values()
    for names in ("abc", "abc", "abc", order, order):
        given = {name: values[name] for name in names}
        if where == "keywords":
            found, more = computed(values, **given), 11 * a - 17 * b + 23 * c
        else:
            found, more = computed(given if where == "a dictionary" else {"d": given}), 0.0
        np.testing.assert_allclose(np.asarray(found), a - 2 * b + 5 * c + more, rtol=1e-6)
