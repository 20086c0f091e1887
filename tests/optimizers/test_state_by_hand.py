"""The state of optimizers in steps by hand: each variable has its slots, whatever a call names."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunn
from gpunn import layers, ops
from gpunn.optimizers import SGD, Adam, RMSprop

SHAPES = [(3, 2), (2,), (3, 2)]
RULES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {}


def rule(make: Callable[..., Any]) -> Callable[..., Any]:
    """Register the formula of an optimizer: (w, g, slots, t) -> new w."""

    def decorate(formula: Callable[..., Any]) -> Callable[..., Any]:
        RULES[formula.__name__] = make, formula
        return formula

    return decorate


@rule(lambda **options: SGD(0.1, momentum=0.9, **options))
def momentum(w: Any, g: Any, slots: dict[str, Any], t: int) -> Any:
    slots["m"] = 0.9 * slots.get("m", 0.0) - 0.1 * g
    return w + slots["m"]


@rule(lambda **options: Adam(0.05, **options))
def adam(w: Any, g: Any, slots: dict[str, Any], t: int) -> Any:
    slots["m"] = 0.9 * slots.get("m", 0.0) + 0.1 * g
    slots["v"] = 0.999 * slots.get("v", 0.0) + 0.001 * g * g
    rate = 0.05 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    return w - rate * slots["m"] / (np.sqrt(slots["v"]) + 1e-7)


@rule(lambda **options: RMSprop(0.01, momentum=0.5, **options))
def rmsprop(w: Any, g: Any, slots: dict[str, Any], t: int) -> Any:
    slots["v"] = 0.9 * slots.get("v", 0.0) + 0.1 * g * g
    slots["m"] = 0.5 * slots.get("m", 0.0) + 0.01 * g / np.sqrt(slots["v"] + 1e-7)
    return w - slots["m"]


class Formula:
    """An optimizer in float64 that keeps slots for each weight, by its number."""

    def __init__(self, name: str, start: Sequence[Any], **options: Any) -> None:
        self.name, self.options, self.t, self.steps = name, options, 0, 0
        self.w = [np.array(w, "float64") for w in start]
        self.slots: list[dict[str, Any]] = [{} for _ in start]
        self.sums: list[Any] = [0.0] * len(start)
        self.averages = list(self.w)

    def apply(self, gradients: dict[int, Any]) -> None:
        """Make a step with the gradients of these weights."""
        self.steps += 1
        every = self.options.get("gradient_accumulation_steps", 1)
        for n, g in gradients.items():
            self.sums[n] = self.sums[n] + g
        if self.steps % every:
            return
        mean = {n: self.sums[n] / every for n in gradients}
        if limit := self.options.get("global_clipnorm"):
            norm = np.sqrt(sum((g**2).sum() for g in mean.values()))
            mean = {n: g * min(1.0, limit / norm) for n, g in mean.items()}
        for n, g in mean.items():
            self.sums[n] = 0.0
            self.w[n] = RULES[self.name][1](self.w[n], g, self.slots[n], self.t + 1)
            keep = 0.5 if self.t else 0.0
            self.averages[n] = keep * self.averages[n] + (1 - keep) * self.w[n]
        self.t += 1


def drawn(seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return [random.standard_normal(s) for s in SHAPES], [
        [random.standard_normal(s) for s in SHAPES] for _ in range(8)
    ]


def model_of(backend: str, dtype: str = "float64") -> Any:
    gpunn.utils.set_random_seed(1)
    return gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2, use_bias=True), layers.Dense(1, use_bias=False)],
        backend=backend, dtype=dtype,
    )  # fmt: skip


def holders(kind: str, start: Sequence[Any], backend: str = "numpy") -> list[Any]:
    """Return weights of a model, variables or arrays with these values."""
    if kind == "arrays":
        return [np.array(w) for w in start]
    if kind == "variables":
        return [gpunn.Variable(w, dtype="float64") for w in start]
    own = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2, name="a")], backend=backend, dtype="float64"
    )
    other = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2, use_bias=False, name="b")], backend=backend,
        dtype="float64",
    )  # fmt: skip
    found = [*own.trainable_variables, *other.trainable_variables]
    for v, w in zip(found, start, strict=True):
        v.assign(w)
    return found


CALLS = {  # the numbers of the weights in each call
    "another order": [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 1, 2]],
    "a subset": [[0, 1, 2], [1, 2], [2], [0, 1, 2], [0]],
    "one more": [[0], [0, 1], [0, 1, 2], [2, 1, 0]],
    "in turns": [[0, 1], [2], [0, 1], [2], [0, 1, 2]],
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "global_clipnorm": {"global_clipnorm": 0.7},
    "accumulated": {"gradient_accumulation_steps": 2},
    "both": {"gradient_accumulation_steps": 2, "global_clipnorm": 0.7},
}


@pytest.mark.parametrize("kind", ["arrays", "variables", "weights"])
@pytest.mark.parametrize("calls", CALLS)
@pytest.mark.parametrize("name", RULES)
def test_each_variable_keeps_its_slots(kind: str, calls: str, name: str) -> None:
    start, gradients = drawn()
    optimizer, wanted, held = RULES[name][0](), Formula(name, start), holders(kind, start)
    for numbers, g in zip(CALLS[calls], gradients, strict=False):
        optimizer.apply([g[n] for n in numbers], [held[n] for n in numbers])
        wanted.apply({n: g[n] for n in numbers})
        for v, w in zip(held, wanted.w, strict=True):
            assert_allclose(np.asarray(v), w, rtol=1e-9)
    assert optimizer.iterations == len(CALLS[calls])


@pytest.mark.parametrize("kind", ["arrays", "variables", "weights"])
@pytest.mark.parametrize("options", list(OPTIONS)[1:])
def test_options_concern_all_gradients(backend: str, kind: str, options: str) -> None:
    start, gradients = drawn()
    given = OPTIONS[options]
    optimizer, wanted = RULES["momentum"][0](**given), Formula("momentum", start, **given)
    held = holders(kind, start, backend)
    for numbers, g in zip([[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]], gradients, strict=False):
        optimizer.apply([g[n] for n in numbers], [held[n] for n in numbers])
        wanted.apply({n: g[n] for n in numbers})
    for v, w in zip(held, wanted.w, strict=True):
        assert_allclose(np.asarray(v), w, rtol=1e-9)


@pytest.mark.parametrize("options", ["global_clipnorm", "both"])
def test_the_norm_is_that_of_weights_of_all_kinds(backend: str, options: str) -> None:
    """Of a model's storage, a variable and an array, of two dtypes."""
    start, gradients = drawn()
    given = OPTIONS[options]
    optimizer, wanted = Adam(0.05, **given), Formula("adam", start, **given)
    held = [*holders("weights", start, backend)[:2], np.array(start[2], "float32")]
    for g in gradients:
        optimizer.apply(g, held)
        wanted.apply(dict(enumerate(g)))
    for v, w in zip(held, wanted.w, strict=True):
        assert_allclose(np.asarray(v), w, rtol=1e-5, atol=1e-5)
    assert held[2].dtype == np.float32


def test_a_gradient_of_none_leaves_the_slots_of_the_others() -> None:
    start, gradients = drawn()
    optimizer, wanted = Adam(0.05), Formula("adam", start)
    held = holders("variables", start)
    for number, g in enumerate(gradients):
        given: list[Any] = list(g)
        if number == 2:
            given[1] = None
            with pytest.warns(UserWarning, match="There are no gradients"):
                optimizer.apply(given, held)
        else:
            optimizer.apply(given, held)
        wanted.apply({n: x for n, x in enumerate(given) if x is not None})
    for v, w in zip(held, wanted.w, strict=True):
        assert_allclose(np.asarray(v), w, rtol=1e-9)


@pytest.mark.parametrize("first", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["arrays", "variables"])
def test_each_variable_is_computed_in_its_dtype(kind: str, first: str) -> None:
    start, gradients = drawn()
    optimizer, wanted = Adam(0.05), Formula("adam", start)
    dtypes = [first, "float64", "float32"]
    held: list[Any] = (
        [np.array(w, d) for w, d in zip(start, dtypes, strict=True)] if kind == "arrays"
        else [gpunn.Variable(w, dtype=d) for w, d in zip(start, dtypes, strict=True)]
    )  # fmt: skip
    for g in gradients:
        optimizer.apply(g, held)
        wanted.apply(dict(enumerate(g)))
    for v, w, dtype in zip(held, wanted.w, dtypes, strict=True):
        assert_allclose(np.asarray(v), w, rtol=1e-9 if dtype == "float64" else 1e-4, atol=1e-12)
    optimizer.build(held)
    assert [v.dtype for v in optimizer.variables[2:]] == [d for d in dtypes for _ in range(2)]
    values = [np.asarray(v) for v in held]
    after, _ = optimizer.stateless_apply(optimizer.variables, gradients[0], values)
    optimizer.apply(gradients[0])
    for v, value in zip(held, after, strict=True):
        assert_array_equal(np.asarray(v), np.asarray(value))
        assert value.dtype == np.asarray(v).dtype


def test_stateless_steps_are_limited_by_the_norm_of_all() -> None:
    start, gradients = drawn()
    held = [np.array(w, d) for w, d in zip(start, ["float32", "float64", "float64"], strict=True)]
    optimizer = Adam(0.05, global_clipnorm=0.3, gradient_accumulation_steps=2)
    optimizer.build(held)
    for g in gradients:
        values = [w.copy() for w in held]
        after, state = optimizer.stateless_apply(optimizer.variables, g, values)
        optimizer.apply(g)
        for own, other in zip([*held, *optimizer.variables], [*after, *state], strict=True):
            assert_allclose(np.asarray(own), np.asarray(other), rtol=1e-12)


def test_averages_belong_to_each_variable() -> None:
    start, gradients = drawn()
    optimizer = SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.5)
    wanted, held = Formula("momentum", start), holders("weights", start)
    for number, g in enumerate(gradients):
        numbers = [0, 1, 2] if number % 2 else [2, 0, 1]
        optimizer.apply([g[n] for n in numbers], [held[n] for n in numbers])
        wanted.apply({n: g[n] for n in numbers})
    optimizer.build(held)
    for v, w in zip(optimizer.variables[2 : 2 + 3], wanted.averages, strict=True):
        assert_allclose(v.numpy(), w, rtol=1e-9)


def test_averages_replace_only_weights_that_the_optimizer_has_updated(backend: str) -> None:
    class Both(gpunn.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with gpunn.GradientTape() as tape:
                loss = ops.mean(ops.square(self(x, training=True) - y))
            first, *others = self.trainable_variables
            slope, *slopes = tape.gradient(loss, [first, *others])
            self.optimizer.apply([slope], [first])
            plain.apply(slopes, others)
            return {"loss": loss}

    found = []
    for averages in (False, True):
        gpunn.utils.set_random_seed(1)
        plain = SGD(0.1)
        model = Both(
            [layers.Input((3,)), layers.Dense(2), layers.Dense(1)], backend=backend, dtype="float64"
        )
        model.compile(SGD(0.1, use_ema=averages, ema_momentum=0.5), "mse")
        fit(model, 4)
        found.append(model.get_weights())
    for number, (without, with_averages) in enumerate(zip(*found, strict=True)):
        assert np.allclose(without, with_averages, rtol=1e-9) == (number > 0)


# -- NumPy arrays


def test_arrays_of_one_shape_have_slots_of_their_own() -> None:
    start, gradients = drawn()
    optimizer, wanted = Adam(0.05), Formula("adam", [start[0], start[2]])
    a, b = np.array(start[0]), np.array(start[2])
    for g in gradients:
        for n, array in enumerate((a, b)):
            optimizer.apply([g[2 * n]], [array])
            wanted.apply({n: g[2 * n]})
    assert_allclose(a, wanted.w[0], rtol=1e-9)
    assert_allclose(b, wanted.w[1], rtol=1e-9)


def test_an_array_is_known_by_its_memory() -> None:
    whole, gradients = np.zeros((2, 3)), np.random.default_rng(0).standard_normal((4, 2, 3))
    optimizer, wanted = Adam(0.05), Formula("adam", whole)
    for number, g in enumerate(gradients):
        rows = [whole[0], whole[1]]  # other objects in each call
        order = [0, 1] if number % 2 else [1, 0]
        optimizer.apply([g[n] for n in order], [rows[n] for n in order])
        wanted.apply({n: g[n] for n in order})
        del rows
        gc.collect()
    assert_allclose(whole, wanted.w, rtol=1e-9)
    buffer = bytearray(24)
    for _ in range(2):
        optimizer.apply([np.ones(3)], [np.frombuffer(buffer)])
    assert optimizer.iterations == 6


def test_an_array_at_the_place_of_a_dead_one_begins_anew() -> None:
    optimizer, steps = SGD(1.0, momentum=0.9), []
    for _ in range(50):  # most have the address of the one before
        w = np.zeros(1000)
        optimizer.apply([np.ones(1000)], [w])
        steps.append(w[0])
        del w
    assert steps == [-1.0] * 50


# -- memory


@pytest.mark.parametrize("kind", ["arrays", "variables", "weights"])
def test_slots_are_freed_with_their_variable(kind: str) -> None:
    start, gradients = drawn()
    optimizer, held = Adam(0.05), holders(kind, start)
    optimizer.apply(gradients[0], held)
    alive = [weakref.ref(v) for v in held]
    slots = [weakref.ref(a) for a in slot_arrays(optimizer)]
    assert slots
    del held
    for _ in range(2):  # the step that the optimizer keeps goes with the variables
        gc.collect()
    assert all(v() is None for v in alive)
    assert all(a() is None for a in slots)


def slot_arrays(optimizer: Any) -> list[np.ndarray]:
    """Return the arrays that only this optimizer's slots are in."""
    found: dict[int, np.ndarray] = {}
    waiting, seen = [vars(optimizer)["_slots"]], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type):
            continue
        seen.add(id(one))
        if isinstance(one, np.ndarray):
            found[id(one)] = one
        elif isinstance(one, (dict, list)) or type(one).__module__ == "gpunn.optimizers.kept":
            waiting += gc.get_referents(one)
    return list(found.values())


def test_many_variables_of_short_life_leave_nothing(peak: Any) -> None:
    optimizer = Adam(0.05)
    kept = gpunn.Variable(np.zeros(1000), dtype="float64")

    def work() -> None:
        for number in range(200):
            v = gpunn.Variable(np.zeros(1000), dtype="float64")
            given = [v, kept] if number % 2 else [v]
            optimizer.apply([np.ones(1000)] * len(given), given)
            del v, given
            if number % 20 == 0:
                gc.collect()  # tests collect rarely

    assert peak(work) < 2_000_000  # 200 of them have 4.8 MB of slots and values
    gc.collect()
    assert len(slot_arrays(optimizer)) <= 10


# -- copies

COPIES = {
    "copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x)),
}  # fmt: skip
copies = pytest.mark.parametrize("copied", list(COPIES.values())[1:], ids=list(COPIES)[1:])


def goes_on(pairs: Sequence[tuple[Any, Sequence[Any]]], gradients: Any) -> None:
    """Check that optimizers, each with its variables, make the same steps."""
    for number, g in enumerate(gradients):
        order = [1, 0, 2] if number == 0 else [0, 1, 2]
        for optimizer, held in pairs:
            optimizer.apply([g[n] for n in order], [held[n] for n in order])
        (first, own), *others = pairs
        for other, theirs in others:
            assert other.iterations == first.iterations
            for v, w in zip(own, theirs, strict=True):
                assert_allclose(np.asarray(v), np.asarray(w), rtol=1e-13)


@copies
@pytest.mark.parametrize("kind", ["arrays", "variables", "weights"])
@pytest.mark.parametrize("first", ["optimizer", "variables"])
def test_copies_made_together_go_on(copied: Any, kind: str, first: str) -> None:
    start, gradients = drawn()
    optimizer, held = Adam(0.05, use_ema=True), holders(kind, start)
    for g in gradients[:3]:
        optimizer.apply(g, held)
    if first == "optimizer":
        other, theirs = copied((optimizer, held))
    else:
        theirs, other = copied((held, optimizer))
    again, others = copied((other, theirs))  # before they are used
    goes_on([(optimizer, held), (other, theirs), (again, others)], gradients[3:])


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", ["arrays", "variables"])
def test_a_copy_made_alone_takes_the_first_variables_that_fit(copied: Any, kind: str) -> None:
    start, gradients = drawn()
    optimizer, held = Adam(0.05), holders(kind, start)
    for g in gradients[:3]:
        optimizer.apply(g, held)
    other, theirs = copied(optimizer), holders(kind, [np.asarray(v) for v in held])
    goes_on([(optimizer, held), (other, theirs)], gradients[3:])


@copies
def test_a_copy_made_alone_knows_weights_by_their_path(copied: Any) -> None:
    start, gradients = drawn()
    optimizer, held = Adam(0.05), holders("weights", start)
    for g in gradients[:3]:
        optimizer.apply(g, held)
    assert len(pickle.dumps(optimizer)) < 10_000
    other, theirs = copied(optimizer), holders("weights", [v.numpy() for v in held])
    for each, own in ((optimizer, held), (other, theirs)):  # two kernels have one shape
        each.apply([gradients[3][2]], [own[2]])
    goes_on([(optimizer, held), (other, theirs)], gradients[4:])


@copies
@pytest.mark.parametrize("loss", ["mse", None])
def test_a_model_is_copied_with_the_slots_of_steps_by_hand(
    backend: str, copied: Any, loss: Any
) -> None:
    model = model_of(backend)
    model.compile(Adam(0.05), loss)
    by_hand(model, 3)
    other = copied(model)
    assert other.optimizer.iterations == 3
    for each in (model, other):
        by_hand(each, 3)
        if loss is not None:
            fit(each, 2)
            by_hand(each, 1)
    same_weights(model, other)


@copies
def test_a_pickle_holds_slots_once(copied: Any) -> None:
    model = gpunn.Sequential([layers.Input((1000,)), layers.Dense(100)])
    model.compile("adam", "mse")
    model.fit(np.zeros((4, 1000)), np.zeros((4, 100)), verbose=0)
    assert len(pickle.dumps(model)) < 3.1 * 4 * 100_000
    assert copied(model.optimizer).iterations == 1


# -- fit and steps by hand

X, Y = np.random.default_rng(5).standard_normal((2, 8, 3))
Y = Y[:, :1]


def by_hand(model: Any, steps: int, optimizer: Any = None) -> None:
    for _ in range(steps):
        with gpunn.GradientTape() as tape:
            loss = ops.mean(ops.square(model(X, training=True) - Y))
        weights = model.trainable_variables
        (optimizer or model.optimizer).apply(tape.gradient(loss, weights), weights)


def fit(model: Any, steps: int) -> None:
    model.fit(X, Y, batch_size=8, epochs=steps, shuffle=False, verbose=0)


def same_weights(one: Any, other: Any, rtol: float = 1e-9) -> None:
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        assert_allclose(a, b, rtol=rtol, atol=1e-12)


def test_steps_by_hand_before_compile_count(backend: str) -> None:
    model, plain = model_of(backend), model_of(backend)
    optimizer = Adam(0.05)
    by_hand(model, 2, optimizer)
    model.compile(optimizer, "mse")
    assert optimizer.iterations == 2
    fit(model, 2)
    by_hand(model, 2)
    fit(model, 1)
    plain.compile(Adam(0.05), "mse")
    fit(plain, 7)
    assert optimizer.iterations == 7
    same_weights(model, plain)


def test_steps_on_a_layer_before_it_is_in_a_model_count(backend: str) -> None:
    found = []
    for hand in (0, 3):
        gpunn.use_backend(backend)
        gpunn.utils.set_random_seed(2)
        layer, optimizer = layers.Dense(1, dtype="float64"), Adam(0.05)
        layer.build((None, 3))
        by_hand(layer, hand, optimizer)
        model = gpunn.Sequential([layers.Input((3,)), layer], dtype="float64", backend=backend)
        model.compile(optimizer, "mse")
        fit(model, 5 - hand)
        by_hand(model, 1)
        assert optimizer.iterations == 6
        found.append(model)
    same_weights(*found)


def test_steps_on_arrays_between_fits_count(backend: str) -> None:
    model, array = model_of(backend), np.zeros(3)
    model.compile(Adam(0.05), "mse")
    fit(model, 2)
    model.optimizer.apply([np.ones(3)], [array])
    assert model.optimizer.iterations == 3
    fit(model, 1)
    assert model.optimizer.iterations == 4
    model.optimizer.apply([np.ones(3)], [array])
    assert model.training_state()[0]["counters"][0] == 5
    wanted = Formula("adam", [np.zeros(3)])
    for t in (2, 4):
        wanted.t = t
        wanted.apply({0: np.ones(3)})
    assert_allclose(array, wanted.w[0], rtol=1e-9)


def test_a_model_that_grew_goes_on(backend: str) -> None:
    gpunn.utils.set_random_seed(3)
    model = gpunn.Sequential(
        [layers.Input((3,)), layers.Dense(2)], backend=backend, dtype="float64"
    )
    optimizer = SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse")
    model.fit(X, X[:, :2], verbose=0)
    first = model.layers[0]
    with gpunn.GradientTape() as tape:
        loss = ops.sum(model(X))
    optimizer.apply(tape.gradient(loss, first.trainable_variables), first.trainable_variables)
    before = dict(zip("wm", (first.bias.numpy(), slot_of(optimizer, first.bias)), strict=True))
    model.add(layers.Dense(1))
    model.compile(optimizer, "mse")
    assert optimizer.iterations == 2
    assert_array_equal(slot_of(optimizer, first.bias), before["m"])
    optimizer.apply([np.ones(2)], [first.bias])
    m = 0.9 * before["m"] - 0.1
    assert_allclose(first.bias.numpy(), before["w"] + m, rtol=1e-9)


def slot_of(optimizer: Any, variable: Any) -> np.ndarray:
    optimizer.build([variable])
    return np.asarray(optimizer.variables[2])


def test_a_layer_that_two_models_share_keeps_its_slots(backend: str) -> None:
    """By hand it is trained in the storage of the other model, which has taken its weights."""
    found = []
    for other_model in (False, True):
        gpunn.utils.set_random_seed(4)
        layer = layers.Dense(1, dtype="float64")
        options: dict[str, Any] = {"backend": backend, "dtype": "float64"}
        model = gpunn.Sequential([layers.Input((3,)), layer], **options)
        other = gpunn.Sequential([layers.Input((3,)), layer, layers.Dense(1)], **options)
        model.compile(Adam(0.05), "mse")
        fit(model, 2)
        if other_model:
            other.predict(X, verbose=0)  # takes the layer
        with gpunn.GradientTape() as tape:
            loss = ops.mean(ops.square(layer(X) - Y))
        model.optimizer.apply(
            tape.gradient(loss, layer.trainable_variables), layer.trainable_variables
        )
        fit(model, 2)
        assert model.optimizer.iterations == 5
        found.append(model)
    same_weights(*found)


@pytest.mark.usefixtures("doubles")
def test_a_compiled_step_notices_that_slots_have_moved(backend: str) -> None:
    found = []
    for compiled in (False, True):
        gpunn.utils.set_random_seed(4)
        gpunn.use_backend(backend)
        layer, optimizer = layers.Dense(1, dtype="float64"), Adam(0.05)
        layer.build((None, 3))

        def step(x: Any, layer: Any = layer, optimizer: Any = optimizer) -> Any:
            with gpunn.GradientTape() as tape:
                loss = ops.mean(ops.square(layer(x) - Y))
            weights = layer.trainable_variables
            optimizer.apply(tape.gradient(loss, weights), weights)
            return loss

        function: Any = gpunn.function(step)
        if compiled:
            step = function
        for _ in range(3):
            step(X)
        optimizer.use_ema = True  # which needs other slots
        for _ in range(2):
            step(X)
        model = gpunn.Sequential([layers.Input((3,)), layer], dtype="float64", backend=backend)
        model.compile(optimizer, "mse")
        fit(model, 2)
        for _ in range(2):
            step(X)
        assert optimizer.iterations == 9
        if compiled:
            assert function.compiled
        optimizer.build(layer.trainable_variables)
        state = (*layer.trainable_variables, *optimizer.variables)
        found.append([np.asarray(v) for v in state])
    for a, b in zip(*found, strict=True):
        assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("suffix", ["gpunn", "keras"])
@pytest.mark.parametrize("loss", ["mse", None])
def test_files_keep_the_slots_of_steps_by_hand(
    backend: str, tmp_path: Any, loss: Any, suffix: str
) -> None:
    model, path = model_of(backend, "float32"), tmp_path / f"model.{suffix}"
    model.compile(Adam(0.05), loss)
    by_hand(model, 3)
    model.save(path)
    other = gpunn.models.load_model(path)
    assert other.optimizer.iterations == 3
    by_hand(model, 2)
    by_hand(other, 2)
    same_weights(model, other, 1e-5)


def test_a_file_of_a_model_without_loss_and_optimizer_is_loaded(tmp_path: Any) -> None:
    model = model_of("numpy")
    model.compile(None, None)
    model.save(tmp_path / "model.gpunn")
    assert gpunn.models.load_model(tmp_path / "model.gpunn").optimizer is None


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_subsets_are_those_of_keras(keras: Any, name: str) -> None:
    """Keras is told all variables first, as it refuses others."""
    start, gradients = drawn()
    options = {"learning_rate": 0.05, **({"momentum": 0.9} if name == "SGD" else {})}
    theirs = getattr(keras.optimizers, name)(**options)
    ours = getattr(gpunn.optimizers, name)(**options)
    variables = [keras.Variable(w, dtype="float64") for w in start]
    held = holders("variables", start)
    theirs.build(variables)
    for numbers, g in zip(CALLS["a subset"] + CALLS["another order"], gradients, strict=False):
        tensors = [keras.ops.convert_to_tensor(g[n], "float64") for n in numbers]
        theirs.apply(tensors, [variables[n] for n in numbers])
        ours.apply([g[n] for n in numbers], [held[n] for n in numbers])
    for v, w in zip(held, variables, strict=True):
        assert_allclose(v.numpy(), w.value.detach().numpy(), rtol=1e-6)


class Loop:
    """A loop by hand, as written for Keras, on either side."""

    def __init__(self, side: Any, **options: Any) -> None:
        self.optimizer, self.side = side.optimizers.SGD(0.1, **options), side
        self.held = [side.Variable(w.astype("float32")) for w in drawn()[0]]

    def tensors(self, gradients: Sequence[Any]) -> list[Any]:
        return [None if g is None else self.side.ops.convert_to_tensor(g.astype("float32"))
                for g in gradients]  # fmt: skip

    def clipped(self, gradients: Sequence[Any]) -> list[Any]:
        return self.optimizer._clip_gradients(self.tensors(gradients))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.parametrize("absent", [False, True])
@pytest.mark.parametrize("option", ["clipnorm", "clipvalue", "global_clipnorm", "no"])
def test_loops_written_for_keras_clip_gradients_themselves(
    keras: Any, option: str, absent: bool
) -> None:
    options = {} if option == "no" else {option: 0.7}
    gradients: list[Any] = [10 * drawn()[1][0][0], *drawn()[1][0][1:]]
    gradients[1] = None if absent else gradients[1]
    theirs, ours = (Loop(side, **options).clipped(gradients) for side in (keras, gpunn))
    for x, y in zip(theirs, ours, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            assert_allclose(np.asarray(y), keras.ops.convert_to_numpy(x), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
def test_loops_written_for_keras_read_sums_and_averages(keras: Any) -> None:
    loops = [Loop(side, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2)
             for side in (keras, gpunn)]  # fmt: skip
    for gradients in drawn()[1]:
        for loop in loops:
            loop.optimizer.apply_gradients(
                zip(loop.tensors(gradients), loop.held, strict=True)
            )
        (theirs, ours) = (loop.optimizer for loop in loops)
        assert int(ours._iterations) == int(theirs._iterations)
        for name in ("_accumulated_gradients", "_model_variables_moving_average"):
            for x, y in zip(getattr(ours, name), getattr(theirs, name), strict=True):
                assert_allclose(x.numpy(), keras.ops.convert_to_numpy(y), rtol=1e-5, atol=1e-7)
    for loop in loops:
        loop.optimizer.finalize_variable_values(loop.held)
    for x, y in zip(loops[1].held, loops[0].held, strict=True):
        assert_allclose(x.numpy(), keras.ops.convert_to_numpy(y), rtol=1e-5)
    assert SGD(0.1)._accumulated_gradients == SGD(0.1)._model_variables_moving_average == []
    plain = gpunn.Variable([1.0])
    SGD(0.1).finalize_variable_values([plain])
    assert plain.tolist() == [1.0]


@pytest.mark.parametrize("wrong", [gpunn.ops.ones(2), [1.0, 2.0], np.float64(1.0)], ids=repr)
def test_what_cannot_be_changed_in_place_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"in place; got a \w+. Keep the value in a gpunn.Variable"):
        gpunn.optimizers.SGD(0.1).apply([np.ones(np.shape(wrong))], [wrong])


def test_a_constraint_that_a_variable_gets_later_is_obeyed() -> None:
    v, sgd = gpunn.Variable([1.0, 1.0, 1.0]), SGD(1.0)
    gradient = np.array([3.0, 0.0, -1.0])
    sgd.apply_gradients([(gradient, v)])
    assert v.tolist() == [-2.0, 1.0, 2.0]
    v.constraint = gpunn.constraints.NonNeg()
    sgd.apply_gradients([(0.0 * gradient, v)])
    assert v.tolist() == [0.0, 1.0, 2.0]
    v.constraint = None
    sgd.apply_gradients([(gradient, v)])
    assert v.tolist() == [-3.0, 1.0, 3.0]
    with pytest.raises(ValueError, match="Unknown constraint"):
        v.constraint = "none_neg"
