"""Test that gradients of weights add up when a call uses them in several ways: by applying their
layer, once or more, by reading them directly, in added losses, and in the graph around it.
Random calls are compared with PyTorch's derivatives of the same formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import emulated  # noqa: F401  makes the backend known
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpunn
from gpunn import layers, ops

torch = pytest.importorskip("torch")

WIDTH = 3
ORDER = [
    "own", "o/w", "a/kernel", "a/bias", "b/kernel", "b/bias", "n/gamma", "n/beta", "last/kernel",
    "last/bias",
]  # fmt: skip


class Torch:
    """The operations in PyTorch."""

    @staticmethod
    def stop_gradient(x: Any) -> Any:
        return x.detach()

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


Step = Callable[[Any, Any, Any], Any]


def normalized(m: Any, h: Any, w: Any) -> Any:
    centred = h - m.mean(h, -1)[:, None]
    return centred / m.sqrt(m.mean(centred**2, -1)[:, None] + 1e-3) * w["n/gamma"] + w["n/beta"]


APPLIED: dict[str, Step] = {
    "a": lambda m, h, w: m.tanh(m.matmul(h, w["a/kernel"]) + w["a/bias"]),
    "b": lambda m, h, w: m.matmul(h, w["b/kernel"]) + w["b/bias"],
    "n": normalized,
    "o": lambda m, h, w: h * m.sigmoid(w["o/w"] * h),
}
"""What layers compute: in a call of ours they are applied."""

READ: dict[str, Step] = {
    "a's bias": lambda m, h, w: h + w["a/bias"] * 0.5,
    "a's kernel": lambda m, h, w: m.matmul(h, w["a/kernel"]),
    "b's bias": lambda m, h, w: h * (1.0 + w["b/bias"]),
    "b's kernel": lambda m, h, w: h + m.sum(w["b/kernel"], 0),
    "n's gamma": lambda m, h, w: h * w["n/gamma"],
    "o's weight": lambda m, h, w: h - w["o/w"],
    "own weight": lambda m, h, w: h * w["own"] + m.sum(w["own"]),
    "a bias held fast": lambda m, h, w: h + m.stop_gradient(w["a/bias"]),
    "all held fast": lambda m, h, w: m.stop_gradient(h) + h * 0.5,
    "squares": lambda m, h, w: h - 0.1 * h * h,
}
"""What reads weights beside that."""

ADDED: dict[str, Step] = {
    "b's bias": lambda m, h, w: m.sum(m.square(w["b/bias"])),
    "a's kernel": lambda m, h, w: 0.1 * m.sum(m.square(w["a/kernel"])),
    "outputs": lambda m, h, w: 0.1 * m.mean(m.square(h)),
    "outputs and weight": lambda m, h, w: 0.1 * m.sum(h * w["o/w"]) / len(h),
}
"""What is added to the loss."""

STEPS = [("apply", name) for name in APPLIED]
STEPS += [("read", name) for name in READ] + [("add", name) for name in ADDED]
Program = list[tuple[str, str]]


class Inner(layers.Layer):
    def build(self, input_shape: Any) -> None:
        self.w = self.add_weight((input_shape[-1],), "ones", name="w")

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(self.w * x)


class Own(layers.Layer):
    """A layer that runs the steps of a program."""

    def __init__(self, program: Program, a: Any) -> None:
        super().__init__()
        self.program, self.a = program, a
        self.b, self.n, self.o = layers.Dense(WIDTH), layers.LayerNormalization(), Inner()

    def build(self, input_shape: Any) -> None:
        self.own = self.add_weight((WIDTH,), "ones", name="own")
        for layer in (self.o, self.b, self.n):
            layer.build(input_shape)
        if not self.a.built:
            self.a.build(input_shape)

    def held(self) -> dict[str, Any]:
        return {
            "own": self.own, "o/w": self.o.w, "a/kernel": self.a.kernel, "a/bias": self.a.bias,
            "b/kernel": self.b.kernel, "b/bias": self.b.bias, "n/gamma": self.n.gamma,
            "n/beta": self.n.beta,
        }  # fmt: skip

    def call(self, x: Any) -> Any:
        for kind, name in self.program:
            if kind == "apply":
                x = getattr(self, name)(x)
            elif kind == "read":
                x = READ[name](ops, x, self.held())
            else:
                self.add_loss(ADDED[name](ops, x, self.held()))
        return x


def ours(program: Program, form: str, backend: str) -> tuple[Any, dict[str, Any]]:
    """A compiled model around the program, and its weights by name."""
    gpunn.utils.set_random_seed(5)
    a, last = layers.Dense(WIDTH, activation="tanh"), layers.Dense(2)
    own = Own(program, a)
    x = gpunn.Input((WIDTH,))
    h = own(x)
    if form == "twice":
        h = own(h)
    elif form == "shared":
        h = a(h)
    model = gpunn.Model(x, last(h), dtype="float64", backend=backend)
    model.compile(gpunn.optimizers.SGD(1.0), "mse")
    held = {**own.held(), "last/kernel": last.kernel, "last/bias": last.bias}
    random = np.random.default_rng(1)
    for p in held.values():
        p.assign(p.numpy() + 0.2 * random.normal(size=p.shape))
    return model, held


def theirs(program: Program, form: str, w: dict[str, Any], x: Any, y: Any) -> Any:
    """The loss of the same formulas in PyTorch."""
    m, added = Torch(), 0.0

    def called(h: Any) -> Any:
        nonlocal added
        for kind, name in program:
            if kind == "add":
                added = added + ADDED[name](m, h, w)
            else:
                h = (APPLIED if kind == "apply" else READ)[name](m, h, w)
        return h

    h = called(x)
    if form == "twice":
        h = called(h)
    elif form == "shared":
        h = APPLIED["a"](m, h, w)
    h = torch.matmul(h, w["last/kernel"]) + w["last/bias"]
    return torch.mean((h - y) ** 2) + added


def check(program: Program, form: str, backend: str) -> None:
    """Check that an update with rate 1 subtracts PyTorch's gradient from each weight."""
    random = np.random.default_rng(2)
    x, y = random.normal(size=(5, WIDTH)), random.normal(size=(5, 2))
    model, held = ours(program, form, backend)
    before = {name: p.numpy() for name, p in held.items()}
    w = {name: torch.tensor(value, requires_grad=True) for name, value in before.items()}
    loss = theirs(program, form, w, torch.tensor(x), torch.tensor(y))
    loss.backward()
    np.testing.assert_allclose(model.train_on_batch(x, y), loss.item(), rtol=1e-9)
    for name, p in held.items():
        wanted = np.zeros(p.shape) if w[name].grad is None else w[name].grad.numpy()
        scale = max(1.0, np.abs(wanted).max())
        np.testing.assert_allclose(
            (before[name] - p.numpy()) / scale, wanted / scale, atol=1e-9, err_msg=name
        )


FORMS = ("once", "twice", "shared")
BACKENDS = ["numpy", "compiled", pytest.param("emulated", marks=pytest.mark.more)]
BESIDE = [("a", "a's bias"), ("a", "a's kernel"), ("b", "b's kernel"), ("n", "n's gamma"),
          ("o", "o's weight"), ("b", "b's bias")]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("layer", "name"), BESIDE)
def test_a_weight_is_read_beside_its_layer(layer: str, name: str, form: str, backend: str) -> None:
    for program in (
        [("apply", layer), ("read", name)], [("read", name), ("apply", layer)],
        [("apply", layer), ("read", name), ("apply", layer), ("add", "outputs and weight")],
    ):  # fmt: skip
        check(program, form, backend)


PROGRAMS = st.lists(st.sampled_from(STEPS), min_size=1, max_size=8)


@settings(max_examples=20, derandomize=True, database=None)
@given(program=PROGRAMS, form=st.sampled_from(FORMS))
def test_random_calls(program: Program, form: str) -> None:
    check(program, form, "auto")


@pytest.mark.more
@pytest.mark.parametrize("backend", ["numpy", "compiled", "emulated"])
@settings(max_examples=300, derandomize=True, database=None)
@given(program=PROGRAMS, form=st.sampled_from(FORMS))
def test_many_random_calls(backend: str, program: Program, form: str) -> None:
    check(program, form, backend)
