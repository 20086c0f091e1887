"""Test numbers that users change between epochs: steps use the new ones without recompiling."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any

import emulated
import numpy as np
import pretended_cuda
import pytest

import gpunn
from gpunn import layers, losses, metrics, ops, regularizers
from gpunn.backends.cupy.driver import cublas, cuda
from gpunn.backends.cupy.launch.codegen import Kernel

HOSTS = ("numpy", "compiled")
MODES = ("plain", "fused", "persistent")
RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.normal(size=(40, n)).astype(np.float32) for n in (6, 3))


class Number:
    """Common base: a number, and how it is used."""

    number: float = 0.3
    form: Any = "product"


class Layer(Number, layers.Layer):
    def call(self, x: Any) -> Any:
        if self.form == "quotient":
            return ops.softmax(x) / self.number
        if self.form is True:
            return ops.relu(x) - self.number
        return ops.tanh(x * self.number) + ops.softmax(x / (self.number + 1.5))


class Loss(Number, losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = ops.abs(y_true - y_pred)
        if self.form == "quotient":
            return ops.mean(error / self.number, axis=-1)
        if self.form is True:
            return ops.mean(error, axis=-1) - self.number
        return ops.mean(error * self.number + ops.power(error, self.number / 4 + 1.2), axis=-1)


class Regularizer(Number, regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        if self.form == "quotient":
            return ops.sum(ops.square(x)) / self.number
        if self.form is True:
            return ops.sum(ops.exp(x)) - self.number
        return ops.sum(ops.abs(x)) * self.number

    def get_config(self) -> dict[str, Any]:
        return {}


class Metric(Number, metrics.Metric):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.sum = self.add_variable((), "zeros", name="sum")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        error = ops.sum(ops.abs(y_true - y_pred))
        if self.form == "quotient":
            error = error / self.number
        elif self.form is True:
            error = ops.sqrt(error) - self.number
        else:
            error = error * self.number
        self.sum.assign(self.sum + error)

    def result(self) -> Any:
        return self.sum


KINDS: dict[str, Callable[[], Any]] = {
    "layer": Layer, "loss": Loss, "metric": Metric, "regularizer": Regularizer,
}  # fmt: skip
CASES = [
    (device, kind) for kind in KINDS for device in (*HOSTS, *MODES, "cuda")
    # These prevent the tracing of a step.
    if kind not in ("metric", "regularizer") or device not in ("fused", "persistent")
]  # fmt: skip
# `make test` leaves the others to `make test-more`: each kind has one host and several GPUs.
LATER = {
    ("compiled", "layer"), ("numpy", "loss"), ("compiled", "metric"), ("numpy", "regularizer"),
    ("plain", "layer"), ("persistent", "loss"),
}  # fmt: skip
each_case = pytest.mark.parametrize(
    ("device", "kind"),
    [pytest.param(*c, marks=[pytest.mark.more] if c in LATER else []) for c in CASES],
    indirect=["device"],
)


class Kernels(emulated.EmulatedKernels):
    """The emulated GPU's kernels, recording what is compiled."""

    def __init__(self, compiled: list[str]) -> None:
        super().__init__()
        self.compiled = compiled

    def prepare(self, kernel: Kernel) -> Any:
        self.compiled.append(kernel.text)
        return super().prepare(kernel)


@pytest.fixture
def device(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Any, list[str]]]:
    """A backend of the host, a GPU in a launch mode, or CuPy's part of one in its default mode;
    and a list of what was compiled for it."""
    compiled: list[str] = []
    if request.param in HOSTS:
        yield request.param, compiled
    elif request.param == "cuda":
        monkeypatch.setattr(cuda, "why_not", lambda: None)
        monkeypatch.setattr(
            cublas, "nvidia_library", lambda name: pretended_cuda.Libraries()
        )
        monkeypatch.setitem(sys.modules, "cupy", pretended_cuda.Cupy("86"))

        def load_code(text: str, capability: int) -> bytes:
            compiled.append(text)
            return pretended_cuda.load_code(text, capability)

        monkeypatch.setattr(cuda, "load_code", load_code)
        yield cuda.make_backend(), compiled
        pretended_cuda.STREAMS.clear()
    else:
        backend = emulated.make_backend(request.param)
        backend.kernels = Kernels(compiled)
        yield backend, compiled


def network(backend: Any, kind: str, **attributes: Any) -> tuple[Any, Any]:
    """A model, identical each time, and its part of the requested kind."""
    gpunn.utils.set_random_seed(3)
    parts = {name: make() for name, make in KINDS.items()}
    part = parts[kind]
    vars(part).update(attributes)
    regularizer = part if kind == "regularizer" else None
    dense = layers.Dense(5, activation="tanh", kernel_regularizer=regularizer)
    model = gpunn.Sequential(
        [layers.Input((6,)), dense, parts["layer"], layers.Dense(3)], backend=backend
    )
    metrics_ = [part] if kind == "metric" else []
    model.compile(gpunn.optimizers.SGD(0.01), parts["loss"], metrics=metrics_)
    return model, part


def epoch(model: Any) -> list[float]:
    """Loss and metric of an epoch, with a ragged batch at its end."""
    fitted = model.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=0)
    return [values[0] for values in fitted.history.values()]


def assert_like_new(model: Any, logs: Any, before: Any, kind: str, **attributes: Any) -> None:
    """Check that an epoch equals that of a new NumPy model with the same weights and attributes."""
    other, _ = network("numpy", kind, **attributes)
    other.set_weights(before)
    np.testing.assert_allclose(logs, epoch(other), rtol=1e-4)
    for array, wanted in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(array, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.in_turn(2)
@each_case
def test_another_number_compiles_nothing(device: Any, kind: str) -> None:
    backend, compiled = device
    model, part = network(backend, kind)
    counts = []
    for number in (0.3, 5.0, -0.25, 0.0):
        before = model.get_weights()
        part.number = number
        logs = epoch(model)
        counts.append(len(compiled))
        assert_like_new(model, logs, before, kind, number=number)
    assert (counts[0] > 0) == (backend not in HOSTS) and counts == [counts[0]] * len(counts)
    for number in (1.0, 0.4, 1.0, 0.6):  # factors of 1 are left out: one more expression
        before, known = model.get_weights(), len(compiled)
        part.number = number
        logs = epoch(model)
        assert_like_new(model, logs, before, kind, number=number)
        assert len(compiled) == known or known == counts[0]
    model.evaluate(X, Y, verbose=0)
    evaluated = len(compiled)
    part.number = 2.5
    found, (other, _) = model.evaluate(X, Y, verbose=0), network("numpy", kind, number=2.5)
    other.set_weights(model.get_weights())
    np.testing.assert_allclose(found, other.evaluate(X, Y, verbose=0), rtol=1e-4)
    assert len(compiled) == evaluated


@pytest.mark.in_turn(2)
@each_case
def test_what_is_no_float_is_traced_again(device: Any, kind: str) -> None:
    """A string, a flag and an integer: other operations, and so other kernels."""
    backend, compiled = device
    model, part = network(backend, kind)
    epoch(model)
    for attributes in ({"form": "quotient"}, {"form": True}, {"number": 2}, {"form": "product"}):
        before, known = model.get_weights(), len(compiled)
        vars(part).update(attributes)
        logs = epoch(model)
        assert_like_new(model, logs, before, kind, **vars_of(part))
        new = "form" in attributes and part.form != "product"
        assert (len(compiled) > known) == (new and backend not in HOSTS)


def vars_of(part: Any) -> dict[str, Any]:
    return {"number": part.number, "form": part.form}


class LayerWithTable(layers.Layer):
    """Its numbers are in an array, in a list of them, and in an object."""

    table = np.linspace(0.5, 1.5, 5)

    def call(self, x: Any) -> Any:
        return ops.tanh(x * self.table) + ops.matmul(x, np.outer(self.table, self.table)) / 9


class LossWithTable(losses.Loss):
    table = np.linspace(0.5, 1.5, 3)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.square(y_true - y_pred) * self.table, axis=-1) + self.table[0]


@pytest.mark.parametrize("device", [*HOSTS, *MODES, "cuda"], indirect=True)
def test_another_array_compiles_nothing(device: Any) -> None:
    """A replaced array and a modified one: both are uploaded again."""
    backend, compiled = device

    def made(backend: Any, tables: Any) -> tuple[Any, list[Any]]:
        gpunn.utils.set_random_seed(3)
        parts = [LayerWithTable(), LossWithTable()]
        for part, table in zip(parts, tables, strict=True):
            part.table = table
        chain = [layers.Input((6,)), layers.Dense(5, activation="tanh"), parts[0], layers.Dense(3)]
        model = gpunn.Sequential(chain, backend=backend)
        model.compile(gpunn.optimizers.SGD(0.01), parts[1])
        return model, parts

    model, parts = made(backend, [RANDOM.uniform(0.5, 1.5, n) for n in (5, 3)])
    counts = []
    for change in ("nothing", "replaced", "in place", "in place", "replaced"):
        for part in parts if change != "nothing" else ():
            if change == "replaced":
                part.table = RANDOM.uniform(0.5, 1.5, part.table.shape)
            else:
                part.table[1] += 0.25
        other, _ = made("numpy", [part.table.copy() for part in parts])
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(epoch(model), epoch(other), rtol=1e-4)
        for array, wanted in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(array, wanted, rtol=1e-3, atol=1e-5)
        counts.append(len(compiled))
    assert (counts[0] > 0) == (backend not in HOSTS) and counts == [counts[0]] * len(counts)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", ["numpy", "emulated"])
def test_nothing_is_kept_of_numbers_that_were(backend: str, kind: str) -> None:
    """Nothing is kept except that the compiled backend caches the last 1,024 expressions."""
    model, part = network(backend, kind)
    alive = []
    for count in (5, 30):
        for _ in range(count):
            part.number += 1 / 1024
            model.fit(X, Y, batch_size=40, epochs=1, verbose=0)
        gc.collect()
        ours = [str(type(x).__module__).startswith("gpunn.") for x in gc.get_objects()]
        alive.append(sum(ours))
    assert alive[1] - alive[0] < 10
