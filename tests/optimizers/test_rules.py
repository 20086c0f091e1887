"""Test optimizers that define the update of one weight with operations: `Optimizer.rule`."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings, strategies

import gpunn
from gpunn import layers, ops
from gpunn.optimizers import SGD, Adam, Nadam, Optimizer, RMSprop

X = np.random.default_rng(3).normal(size=(37, 5)).astype("float32")
Y = X @ np.arange(10, dtype="float32").reshape(5, 2) / 10


def trained(backend: str, optimizer: Any, epochs: int = 3, **options: Any) -> Any:
    """A network after a few epochs, each with a ragged last batch."""
    gpunn.utils.set_random_seed(5)
    model = gpunn.Sequential(
        [layers.Input((5,)), layers.Dense(7, "tanh"), layers.Dense(2)], backend=backend
    )
    model.compile(optimizer, "mse")
    model.fit(X, Y, batch_size=8, epochs=epochs, verbose=0, **options)
    return model


def assert_same_weights(model: Any, other: Any, rtol: float = 2e-5) -> None:
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-6)


class ByHand(Optimizer):
    """Yogi (Zaheer et al., 2018) with a limit on each step, written with array functions."""

    slot_names = ("m", "v")
    limit = 0.05

    def update(
        self, backend: Any, w: Any, g: Any, slots: Any, rate: Any, updates: Any, decay: Any
    ) -> None:
        m, v = slots["m"], slots["v"]
        m[...] = 0.9 * m + 0.1 * g
        v[...] = v - 0.01 * backend.xp.sign(v - g * g) * g * g
        step = rate / (1 - 0.9 ** (updates + 1)) * m / (backend.xp.sqrt(v) + 1e-3)
        w -= backend.xp.clip(step, -self.limit, self.limit)


class Yogi(ByHand):
    """The same optimizer as a rule."""

    update = Optimizer.update

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        m = 0.9 * slots["m"] + 0.1 * g
        v = slots["v"] - 0.01 * ops.sign(slots["v"] - g * g) * g * g
        step = rate / (1 - ops.power(0.9, t)) * m / (ops.sqrt(v) + 1e-3)
        small = ops.where(ops.abs(step) <= self.limit, step, self.limit * ops.sign(step))
        return w - small, {"m": m, "v": v}


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_accumulation_steps": 3}, {"use_ema": True}, {"weight_decay": 0.1}],
    ids=["plain", "accumulated", "averaged", "decayed"],
)
def test_a_custom_rule_is_what_arrays_by_hand_give(backend: str, options: Any) -> None:
    by_hand = trained(backend, ByHand(0.02, **{**options, "weight_decay": None}))
    rule = trained(backend, Yogi(0.02, **options))
    if "weight_decay" not in options:
        assert_same_weights(rule, by_hand)
    else:  # which a custom `update` method would have to do itself
        assert np.abs(rule.get_weights()[0]).sum() < np.abs(by_hand.get_weights()[0]).sum()


def test_a_rule_gives_the_same_on_all_backends(backend: str) -> None:
    assert_same_weights(trained(backend, Yogi(0.02)), trained("numpy", Yogi(0.02)))


def stated(cls: Any) -> Any:
    """A subclass that repeats the rule of a built-in optimizer, and so has no kernel."""
    return type(f"Own{cls.__name__}", (cls,), {"rule": cls.rule, "__module__": __name__})


@pytest.mark.parametrize(
    "made",
    [
        (SGD, {"momentum": 0.9}),
        (SGD, {"momentum": 0.9, "nesterov": True}),
        (SGD, {"momentum": gpunn.optimizers.schedules.PiecewiseConstantDecay([3], [0.5, 0.9])}),
        (Adam, {"amsgrad": True}),
        (RMSprop, {"centered": True, "momentum": 0.5, "epsilon": 1e-3}),
        (gpunn.optimizers.Lion, {}),
        (gpunn.optimizers.Adadelta, {}),
        (gpunn.optimizers.Lamb, {}),
    ],
    ids=lambda made: f"{made[0].__name__} {' '.join(made[1])}",
)
def test_the_kernels_do_what_the_rule_says(backend: str, made: Any) -> None:
    cls, arguments = made
    built_in = trained(backend, cls(learning_rate=0.01, **arguments))
    assert_same_weights(trained("numpy", stated(cls)(learning_rate=0.01, **arguments)), built_in)


def one_update(optimizer: Any, w: Any = (1.0,), g: Any = (0.5,), dtype: str = "float64") -> Any:
    weights = np.array(w, dtype)
    optimizer.apply([list(g)], [weights])
    return weights


class Reads(Optimizer):
    """A rule that reads attributes of all kinds."""

    part: float
    kind_of_step: str
    table: list[float]

    def __init__(self, **held: Any) -> None:
        super().__init__(1.0)
        for name, value in {"part": 0.5, "kind_of_step": "plain", "table": [1.0, 2.0]}.items():
            setattr(self, name, held.get(name, value))

    def half(self, g: Any) -> Any:
        return self.part * g

    @property
    def doubled(self) -> Any:
        return 2 * self.part

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        if self.kind_of_step == "doubled":
            return w - self.doubled * g
        if self.kind_of_step == "table":
            return w - self.table[1] * g
        return w - self.half(g)


def test_attributes_count_that_are_set_between_updates() -> None:
    optimizer = Reads()
    assert one_update(optimizer) == 0.75
    optimizer.part = 0.25
    assert one_update(optimizer) == 0.875
    optimizer.kind_of_step = "doubled"
    assert one_update(optimizer) == 0.75
    optimizer.kind_of_step = "table"
    assert one_update(optimizer) == 0.0
    optimizer.table[1] = 4.0
    assert one_update(optimizer) == -1.0


FACTOR = 1.0


class OfAGlobal(Optimizer):
    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        return w - FACTOR * g


def test_a_global_counts_that_a_rule_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    optimizer = OfAGlobal(1.0)
    assert one_update(optimizer) == 0.5
    monkeypatch.setitem(globals(), "FACTOR", 3.0)
    assert one_update(optimizer) == -0.5


def test_a_flag_of_a_built_in_optimizer_may_be_set_later(backend: str) -> None:
    late = SGD(0.05, momentum=0.9)
    late.nesterov = True
    assert_same_weights(trained(backend, late), trained(backend, SGD(0.05, 0.9, True)))


class Swaps(Optimizer):
    """Exchanges two slots: neither is overwritten before it is read."""

    slot_names = ("a", "b")
    first_values = {"a": 1.0, "b": 2.0}  # noqa: RUF012

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        return w + slots["a"], {"a": slots["b"], "b": slots["a"]}


def test_all_reads_come_before_all_writes() -> None:
    optimizer, w = Swaps(1.0), np.zeros(1)
    for _ in range(4):
        optimizer.apply([[0.0]], [w])
    assert w == 1 + 2 + 1 + 2


UNARY = ("negative", "abs", "sign", "square", "sigmoid", "relu", "tanh", "isfinite")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "less", "logical_or")


class Drawn(Optimizer):
    """A random rule drawn by hypothesis: each value is computed from earlier ones."""

    slot_names = ("a", "b")
    first_values = {"a": 0.5, "b": -2.0}  # noqa: RUF012

    def __init__(self, program: Any, outputs: Any) -> None:
        super().__init__(0.25)
        self.program, self.outputs = program, outputs

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        known = [w, g, slots["a"], slots["b"], rate, t, 1.5 + 0 * t]
        for name, *places in self.program:
            first, *given = (known[-1 - place % len(known)] for place in places)
            function = getattr(ops, name)
            made = function(first > 0, *given) if name == "where" else function(first, *given)
            known.append((1 + 0 * t) * made if made.dtype == "bool" else made)
        new_w, a, b = (known[-1 - place % len(known)] for place in self.outputs)
        return new_w, {"a": a, "b": b}


def programs() -> Any:
    place = strategies.integers(0, 9)  # counted back from the last value
    return strategies.lists(
        strategies.tuples(strategies.sampled_from(UNARY), place)
        | strategies.tuples(strategies.sampled_from(BINARY), place, place)
        | strategies.tuples(strategies.just("where"), place, place, place),
        min_size=3,
        max_size=9,
    )


@example([("negative", 4), ("add", 6, 6), ("subtract", 1, 0)], (0, 1, 6))
@example([("less", 5, 6), ("where", 0, 5, 4)], (8, 0, 5))
@example([("where", 2, 6, 5)], (0, 5, 4))
@given(programs(), strategies.tuples(*[strategies.integers(0, 6)] * 3))
@settings(max_examples=400, deadline=None)
def test_any_rule_in_place_gives_what_its_operations_give(program: Any, outputs: Any) -> None:
    g = np.array([0.5, -1.0, 0.0, 3.0])
    optimizer, w = Drawn(program, outputs), np.array([1.0, -0.5, 2.0, 0.25])
    state = [ops.convert_to_tensor(x, "float64") for x in (w, 0 * w + 0.5, 0 * w - 2.0)]
    for t in (1, 2):
        optimizer.apply([g], [w])
        slots = {"a": state[1], "b": state[2]}
        g_now, *numbers = (ops.convert_to_tensor(x, "float64") for x in (g, 0.25, t))
        new_w, changed = optimizer.rule(state[0], g_now, slots, *numbers)
        state = [ops.broadcast_to(ops.cast(x, "float64"), (4,)) for x in (new_w, *changed.values())]
        np.testing.assert_array_equal(w, np.asarray(state[0]))


class EachOperation(Optimizer):
    """Operations without a single equivalent array function, and scalars."""

    slot_names = ("count",)

    def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
        turned = ops.where(ops.logical_and(g > 0, w < 2), ops.relu(g), ops.sigmoid(w))
        share = ops.cast(g != 0, "float32") * ops.maximum(1.0, ops.sqrt(t) / 2)
        return w - rate * turned * share, {"count": t + 0.0}


def test_operations_without_an_array_function_of_their_own() -> None:
    optimizer, w = EachOperation(0.5), np.array([1.0, 3.0, 1.0, -1.0])
    optimizer.apply([[0.5, 0.5, -2.0, 0.0]], [w])
    sigmoid = 1 / (1 + np.exp(-np.array([3.0, 1.0])))
    expected = [1 - 0.25, 3 - 0.5 * sigmoid[0], 1 - 0.5 * sigmoid[1], -1.0]
    np.testing.assert_allclose(w, expected, rtol=1e-14)


def test_a_number_that_is_infinite_or_divided_by_zero_is_no_error() -> None:
    class Divides(Optimizer):
        def rule(self, w: Any, g: Any, slots: Any, rate: Any, t: Any) -> Any:
            return w - g / (1 / (t - 1)), {}

    assert one_update(Divides(1.0)) == 1.0


def test_in_float64_all_digits_count() -> None:
    """Compare with PyTorch, which adds its epsilon elsewhere, so it is negligible here."""
    w = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.Adam([w], lr=0.1, betas=(0.8, 0.97), eps=1e-300)
    ours, v = Adam(0.1, beta_1=0.8, beta_2=0.97, epsilon=1e-300), np.array([1.0, -2.0])
    for g in ([0.3, 1e-3], [-1.7, 2.0], [0.1, 0.1]):
        w.grad = torch.tensor(g, dtype=torch.float64)
        theirs.step()
        ours.apply([g], [v])
    np.testing.assert_allclose(v, w.detach().numpy(), rtol=1e-14)


def test_a_copy_goes_on_by_itself() -> None:
    model = trained("numpy", Yogi(0.02), epochs=1)
    other = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    for each in (model, other):
        each.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    assert_same_weights(model, other, 0)


def rule_of(body: Any, **attributes: Any) -> Any:
    return type("Mine", (Optimizer,), {"rule": body, "__module__": __name__, **attributes})(0.1)


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        (lambda self, w, g, s, rate, t: w - ops.sum(g), TypeError, "not an operation on single"),
        (lambda self, w, g, s, rate, t: None, TypeError, "must return the new weights"),
        (lambda self, w, g, s, rate, t: (w, [g]), TypeError, "must return the new weights"),
        (lambda self, w, g, s, rate, t: (w, {"v": g}), ValueError, "slots v; slot_names has none"),
        (lambda self, w, g, s, rate, t: w - np.ones(3) * g, TypeError, "an array of shape"),
        (lambda self, w, g, s, rate, t: w - self.learning_rate, TypeError, "argument rate instead"),
        (lambda self, w, g, s, rate, t: w - g if g > 0 else w, TypeError, "ops.where"),
        (lambda self, w, g, s, rate, t: w - np.exp(g), TypeError, "gpunn.ops"),
    ],
    ids=["sum", "nothing", "list", "unknown slot", "array", "rate", "branch", "numpy"],
)
def test_what_a_rule_cannot_do_raises(body: Any, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        one_update(rule_of(body))


def test_a_class_whose_update_is_by_hand_refuses_a_rule() -> None:
    with pytest.raises(TypeError, match=r"Mine\.rule would be ignored"):
        type("Mine", (Nadam,), {"rule": Adam.rule, "__module__": __name__})
