"""A tape or a compiled function that was left by an error, or used for another purpose, is new."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from properties.reused import LEAVING, Trap, assert_leaves_nothing, interrupted_by

import gpunn
from gpunn import layers, ops

pytestmark = pytest.mark.usefixtures("doubles")
Draw = random.Random


class Parts:
    """Two networks and a variable, the same each time."""

    def __init__(self, backend: str) -> None:
        gpunn.utils.set_random_seed(4)
        self.nets = [
            gpunn.Sequential(
                [gpunn.Input((3,)), layers.Dense(2, "tanh"), layers.BatchNormalization()],
                backend=backend,
            )
            for _ in range(2)
        ]
        self.v = gpunn.Variable(np.array([0.5, 2.0]))

    def sources(self) -> list[Any]:
        return [self.v, *self.nets[0].trainable_variables, *self.nets[1].trainable_variables]


class Use:
    """A drawn use of a tape: what it computes, and which derivatives are asked for."""

    def __init__(self, draw: Draw) -> None:
        self.x = np.random.default_rng(draw.randint(0, 99)).standard_normal(
            (draw.choice([2, 4]), 3)
        )
        self.plan = [(draw.choice(["net", "v", "square", "before"]), draw.randint(0, 1))
                     for _ in range(draw.randint(1, 3))]  # fmt: skip
        self.inside = draw.random() < 0.5  # of another tape
        self.asks = draw.choice(["gradient", "gradient", "jacobian", "twice"])

    def compute(self, parts: Parts, x: Any, before: Any, trap: Trap) -> Any:
        y = x
        for kind, which in self.plan:
            self.seen = y
            trap()
            if kind == "net":
                y = parts.nets[which](x, training=False) + ops.mean(y)
            elif kind == "v":
                y = ops.sum(y) * parts.v
            elif kind == "square":
                y = y * y
            else:
                y = y + ops.sum(before)
        trap()
        return ops.tanh(y)

    def run(self, tape: Any, parts: Parts, trap: Trap) -> list[Any]:
        """Return the derivatives that the tape, and another one around it if any, give."""
        x = ops.convert_to_tensor(self.x)
        outer = gpunn.GradientTape()
        if not self.inside:
            return self._derived(tape, parts, x, x * 1.0, trap, watches=True)
        with outer:
            outer.watch(x)
            before = x * ops.mean(parts.v) * 0.25  # which the inner tape has not recorded
            found = self._derived(tape, parts, x, before, trap, watches=False)
            total = ops.sum(ops.square(found[0])) + ops.sum(before)
        return [*found, *outer.gradient(total, [x, *parts.sources()])]

    def _derived(
        self, tape: Any, parts: Parts, x: Any, before: Any, trap: Trap, watches: bool
    ) -> list[Any]:
        with tape:
            if watches:
                tape.watch(x)
            y = self.compute(parts, x, before, trap)
        trap()
        sources = [x, *parts.sources()]
        if self.asks == "jacobian":
            return [y, *tape.jacobian(y[0] if len(y.shape) > 1 else y, sources)]
        found = tape.gradient(y, sources)
        again = tape.gradient(y, sources) if self.asks == "twice" and tape._persistent else []
        return [y, *found, *again]


def check_tape(seed: int, backend: str) -> None:
    """Use one tape for several purposes, some left by an error, beside a fresh one for each."""
    draw = Draw(seed)
    gpunn.use_backend(backend)
    parts, persistent = Parts(backend), draw.random() < 0.5
    tape, other = (gpunn.GradientTape(persistent=persistent) for _ in range(2))
    for _ in range(5):
        use, trap = Use(draw), Trap()
        if draw.random() < 0.5:
            trap.set(draw.randint(0, 4), draw.choice(LEAVING))
            interrupted_by(trap, lambda: use.run(tape, parts, trap))  # noqa: B023
            with gpunn.GradientTape() as later:  # what the left block computed is constant
                y = ops.sum(use.seen) * parts.v
            assert_allclose(np.asarray(later.gradient(y, parts.v)), float(ops.sum(use.seen)))
            use = Use(draw)
        if draw.random() < 0.3:  # another tape, over the same networks
            Use(draw).run(other, parts, trap)
        found = use.run(tape, parts, trap)
        wanted = use.run(gpunn.GradientTape(persistent=persistent), parts, trap)
        assert [g is None for g in found] == [g is None for g in wanted], vars(use)
        for one, two in zip(found, wanted, strict=True):
            if one is not None:
                assert_allclose(np.asarray(one), np.asarray(two), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_a_tape_that_was_left_or_used_otherwise(seed: int, backend: str) -> None:
    check_tape(seed, backend)


@pytest.mark.more
@pytest.mark.parametrize("seed", range(3, 60))
def test_many_uses_of_one_tape(seed: int, backend: str) -> None:
    check_tape(seed, backend)


def test_two_tapes_over_one_model_in_turn(backend: str) -> None:
    """Each has its own gradients, also where the other one has recorded or was used in between."""
    gpunn.use_backend(backend)
    parts = Parts(backend)
    net, weights = parts.nets[0], parts.nets[0].trainable_variables
    xs = [np.full((2, 3), value) for value in (0.3, -0.7)]

    def alone(x: Any) -> list[Any]:
        with gpunn.GradientTape() as tape:
            y = ops.sum(net(x) ** 2)
        return tape.gradient(y, weights)

    wanted = [alone(x) for x in xs]
    first, second = gpunn.GradientTape(), gpunn.GradientTape()
    with first:
        one = ops.sum(net(xs[0]) ** 2)
    with second:
        two = ops.sum(net(xs[1]) ** 2)
    found = [first.gradient(one, weights), second.gradient(two, weights)]
    with second, first:
        one = ops.sum(net(xs[0]) ** 2)
        two = ops.sum(net(xs[1]) ** 2)
    found += [first.gradient(one, weights), second.gradient(two, weights)]
    for slopes, expected in zip(found, wanted * 2, strict=True):
        for g, e in zip(slopes, expected, strict=True):
            assert_allclose(np.asarray(g), np.asarray(e), rtol=1e-10, atol=1e-14)


# -- functions

FORMS = [(2, 3), (4, 3), (2, 2, 3)]


class Step:
    """A step that learns: its networks, optimizer and metric, and a trap that comes first."""

    def __init__(self, backend: str, compiled: bool) -> None:
        self.parts, self.trap = Parts(backend), Trap()
        self.optimizer, self.mean = gpunn.optimizers.Adam(0.05), gpunn.metrics.Mean()
        self.call: Callable[..., Any] = gpunn.function(self.step) if compiled else self.step

    def step(self, x: Any, scale: float = 1.0, net: int = 0) -> Any:
        self.trap()
        flat = ops.reshape(x, (-1, 3))
        model = self.parts.nets[net]
        with gpunn.GradientTape() as tape:
            loss = ops.mean(ops.square(model(flat, training=True) * self.parts.v - scale))
        weights = model.trainable_variables
        self.optimizer.apply(tape.gradient(loss, weights), weights)
        self.mean.update_state(loss)
        self.parts.v.assign_add(ops.ones(2) * 0.01)
        return loss

    def state(self) -> list[Any]:
        weights = [w for net in self.parts.nets for w in net.get_weights()]
        return [*weights, self.parts.v.numpy(), float(self.mean.result())]


def check_function(seed: int, backend: str) -> None:
    """Call a function with forms of arguments in turn, and leave some calls, as Python does."""
    draw = Draw(seed)
    gpunn.use_backend(backend)
    plain, compiled = Step(backend, False), Step(backend, True)
    values = np.random.default_rng(seed)
    forms = draw.sample(FORMS, 2)
    for number in range(16):  # a number that changes becomes an input in the fourth call of a form
        shape, net = forms[draw.randint(0, 1)], 0
        x, scale = values.standard_normal(shape), draw.random()
        if draw.random() < 0.3:
            wrong = draw.random() < 0.5  # a shape, which the body refuses, or an error in it
            bad = values.standard_normal(5) if wrong else x
            for step in (plain, compiled):
                if wrong:
                    with pytest.raises(ValueError, match="reshape"):
                        step.call(bad, scale, net=net)
                    continue
                step.trap.set(0, LEAVING[number % 2])
                assert interrupted_by(step.trap, lambda s=step: s.call(x, scale, net=net))  # noqa: B023
        wanted, found = (np.asarray(s.call(x, scale, net=net)) for s in (plain, compiled))
        assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
    for one, two in zip(compiled.state(), plain.state(), strict=True):
        assert_allclose(one, two, rtol=1e-7, atol=1e-9)
    assert compiled.call.compiled  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(2))
def test_a_function_of_forms_in_turn_that_was_left(seed: int, backend: str) -> None:
    check_function(seed, backend)


@pytest.mark.more
@pytest.mark.parametrize("seed", range(2, 40))
def test_many_functions_that_were_left(seed: int, backend: str) -> None:
    check_function(seed, backend)


def test_functions_leave_nothing(backend: str) -> None:
    gpunn.use_backend(backend)
    step, errors = Step(backend, True), itertools.cycle(LEAVING)
    rows = np.ones((4, 3))

    def use() -> None:
        made = gpunn.function(step.step)
        for x in (rows, rows, rows[:3], rows):
            made(x)
        step.trap.set(0, next(errors))
        assert interrupted_by(step.trap, lambda: made(rows))

    assert_leaves_nothing(use, 5, None)


def test_tapes_leave_nothing(backend: str) -> None:
    gpunn.use_backend(backend)
    parts, rows, trap = Parts(backend), np.ones((800, 3)), Trap()

    def use() -> None:
        tape = gpunn.GradientTape(persistent=True)

        def body() -> None:
            with gpunn.GradientTape() as outer, tape:
                outer.watch(x := ops.convert_to_tensor(rows))
                for _ in range(2):
                    trap()
                    y = parts.nets[0](x)
            trap()
            outer.gradient(y, x)

        for left in range(4):
            trap.set(left, LEAVING[left % 2])
            interrupted_by(trap, body)

    assert_leaves_nothing(use, 5)
