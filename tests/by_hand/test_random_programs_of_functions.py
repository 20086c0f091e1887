"""Random functions with state: compiled, they do what Python does, call after call.

A grammar writes them: assignments, updates, metrics, parts of variables, tapes, control flow, what
Python keeps and changes, numbers that change. The oracle is `config.run_eagerly`, from equal state.
"""

from __future__ import annotations

import random
import re
import textwrap
import types
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers, metrics, ops
from gpunn.common.config import run_eagerly

pytestmark = [
    pytest.mark.usefixtures("doubles"),
    pytest.mark.filterwarnings("ignore:.*runs in Python"),
]

GRAMMAR: dict[str, list[str]] = {
    "number": [
        "0.5", "2", "-1", "n", "r", "n * 2", "(n + r) / 4", "r - n", "-r", "alpha[0]", "kept['k']",
        "len(seen)", "part.a",
    ],
    "tensor": ["x", "x", "t", "v", "v[::-1]", "w * ops.ones(3)", "table[1]", "ops.ones(3)"],
    "expression": [
        "ops.tanh({tensor})", "ops.sin({tensor})", "{tensor} + {tensor}", "{tensor} * {tensor}",
        "{tensor} * {number}", "{number} - {tensor}", "{tensor} * ops.mean({tensor})",
        "ops.where({tensor} > {number}, {tensor}, {number})", "ops.cumsum({tensor}, axis=-1)",
        "ops.maximum({tensor}, {number})", "net(ops.reshape({tensor}, (1, 3)), training=flag)[0]",
        "ops.cond(ops.sum({tensor}) > {number}, lambda: {tensor} * 1.0, lambda: t - {tensor})",
        "ops.scan(lambda c, z: (c + z * {number}, c + w), t[0], {tensor} * 1.0)[1]",
        "ops.map(lambda z: z * {number} + w, {tensor} * 1.0)",
        "gpunn.grad(lambda z: ops.sum(ops.tanh(z) * {tensor} * w))({tensor} * 1.0)",
        "helper({tensor} * 1.0, n)",
    ],
    "statement": [
        "t = ops.tanh({expression})", "t = ops.tanh({expression})", "t = ops.tanh({expression})",
        "v.assign(ops.tanh({expression}))", "v.assign_add(0.1 * {tensor})",
        "w.assign(w * 0.5 + {number} * 0.1)", "v[1:].assign(ops.tanh({expression})[1:])",
        "table[0].assign(ops.tanh({expression}))", "mean.update_state(ops.tanh({expression}))",
        "mean.update_state(ops.tanh({expression}), sample_weight=n * n + 1)",
        "out.append(mean.result())", "out.append({expression})", "out.append(({number}, {tensor}))",
        "out.append(optimizer.iterations * {number})", "out.append(optimizer.learning_rate * x)",
        "seen.append(1)", "kept['k'] = 0.75", "part.a = part.a + 1", "out.append(float(w))",
        "optimizer.learning_rate = 0.05", "out.append(next(numbers) * x)",
        "if {condition}:\n    {statement}\n    {statement}",
        "for i in range(2):\n    {statement}\n    w.assign_add(i * 0.1)",
        "try:\n"
        "    if {condition}: raise KeyError\n"
        "    {statement}\n"
        "except KeyError:\n"
        "    w.assign(0.5)",
        "with gpunn.GradientTape() as tape:\n"
        "    {statement}\n"
        "    loss = ops.sum(ops.tanh(net(ops.reshape({tensor}, (1, 3)), training=True)) * w)\n"
        "slopes = tape.gradient(loss, net.trainable_variables)\n"
        "optimizer.apply_gradients(zip(slopes, net.trainable_variables))\n"
        "out.append(loss)",
        "with gpunn.GradientTape(persistent=True) as outer:\n"
        "    outer.watch(x)\n"
        "    with gpunn.GradientTape() as inner:\n"
        "        inner.watch(x)\n"
        "        {statement}\n"
        "        y = ops.sum(ops.tanh(t * x * w)) + ops.sum(v * x)\n"
        "    slope = inner.gradient(y, x)\n"
        "    z = ops.sum(slope * slope)\n"
        "out.append(outer.gradient(z, [x, w, v], unconnected_gradients='zero'))",
    ],
    "condition": [
        "flag", "n > 2", "r < 1.0", "len(seen) % 2", "part.on", "ops.sum(t) > 0", "mode == 'a'",
        "x.shape[0] == 3", "mean.result() > 0.1",
    ],
    "between": [
        "alpha[0] = 2.0", "kept['k'] = -0.5", "part.on = not part.on", "v.assign([1.0, 2.0, 3.0])",
        "net.layers[0].trainable = False", "optimizer.learning_rate = 0.01", "mean.reset_state()",
        "optimizer.clipnorm = 0.5", "seen.append(5)",
    ],
}  # fmt: skip
DEEPEST = 5


def written(draw: random.Random, kind: str, depth: int = 0) -> str:
    """Return a random text of a kind of the grammar."""
    choices = GRAMMAR[kind]
    if depth > DEEPEST:
        choices = [text for text in choices if "{" not in text] or ["x * 0.5"]

    def replacement(match: re.Match[str]) -> str:
        inner = written(draw, match["kind"], depth + 1)
        return textwrap.indent(inner, match["indent"]) if match["kind"] == "statement" else inner

    number = str(draw.randrange(10**6))  # nested tapes have names of their own
    text = re.sub(r"\b(tape|outer|inner)\b", rf"\g<0>{number}", draw.choice(choices))
    text = re.sub(r"(?m)^(?P<indent> *)\{(?P<kind>statement)\}", replacement, text)
    return re.sub(r"(?P<indent>)\{(?P<kind>\w+)\}", replacement, text)


class Program:
    """A random function, the arguments of its calls, and what happens between them."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        statements = [written(draw, "statement") for _ in range(draw.randint(1, 4))]
        body = "\n".join(["out, t = [], x * 1.0", *statements, "return out, t"])
        self.text = f"def step(x, n, r, flag, mode=None):\n{textwrap.indent(body, '    ')}"
        numbers = np.random.default_rng(seed)
        style = draw.randrange(3)
        self.calls = [
            (numbers.normal(size=3), 2 if style < 2 else k % 4, 1.5 if style < 1 else k / 4,
             bool(draw.random() < 0.3 * style), {"mode": "a"} if draw.random() < 0.2 else {})
            for k in range(6)
        ]  # fmt: skip
        self.between = [written(draw, "between") if draw.random() < 0.1 else "" for _ in self.calls]

    def outcome(self, eagerly: bool) -> list[Any]:
        """Return the result, and the state, after each call."""
        run_eagerly(eagerly)
        try:
            return self._outcome()
        finally:
            run_eagerly(False)

    def _outcome(self) -> list[Any]:
        gpunn.utils.set_random_seed(1)
        net = gpunn.Sequential(
            [layers.Input((3,)), layers.Dense(3, "tanh"), layers.BatchNormalization()]
        )
        names: dict[str, Any] = {
            "__name__": "__main__", "gpunn": gpunn, "ops": ops, "net": net,
            "v": gpunn.Variable([0.5, -1.0, 2.0]), "w": gpunn.Variable(0.7),
            "table": gpunn.Variable(np.arange(6.0).reshape(2, 3) / 5), "mean": metrics.Mean(),
            "optimizer": gpunn.optimizers.Adam(0.05), "alpha": [1.0], "kept": {"k": 1.25},
            "seen": [], "part": types.SimpleNamespace(a=0.25, on=True), "numbers": iter(range(99)),
            "helper": gpunn.function(lambda a, n: ops.tanh(a) * n if n > 1 else a - 1),
        }  # fmt: skip
        if "next(numbers)" not in self.text:
            del names["numbers"]
        exec(self.text, names)
        step, found = gpunn.function(names["step"]), list[Any]()
        for (*args, named), between in zip(self.calls, self.between, strict=True):
            exec(between, names)
            found.append((self._numbers(step(*args, **named)), self._numbers([
                *(names[name].numpy() for name in ("v", "w", "table")), net.get_weights(),
                float(names["mean"].result()), int(names["optimizer"].iterations),
                len(names["seen"]), names["kept"]["k"], names["part"].a,
            ])))  # fmt: skip
        return found

    def _numbers(self, x: Any) -> Any:
        if isinstance(x, (list, tuple)):
            return [self._numbers(one) for one in x]
        return np.asarray(x, "float64")

    def check(self) -> None:
        wanted, found = self.outcome(True), self.outcome(False)
        for number, (a, b) in enumerate(zip(found, wanted, strict=True)):
            assert alike(a, b), f"call {number + 1} of\n{self.text}\n{self.between}\n{a}\n{b}"


def alike(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.shape == b.shape and np.allclose(a, b, 1e-9, 1e-9, equal_nan=True)
    return len(a) == len(b) and all(map(alike, a, b))


@pytest.mark.parametrize(
    "part", [*range(4), *(pytest.param(k, marks=pytest.mark.more(8)) for k in range(4, 200))]
)
def test_compiled_they_do_what_python_does(part: int, backend: str) -> None:
    gpunn.use_backend(backend)
    for seed in range(50 * part, 50 * part + (50 if backend != "emulated" else 10)):
        Program(seed).check()
