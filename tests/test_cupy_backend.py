"""Each operation of the CuPy backend, run on the CPU, against the same one on NumPy.

Every registered formula takes part by itself. Arrays are compared by the norm of their
difference: two ways to sum the same numbers differ in single small elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import emulated
import numpy as np
import pytest

import gpunn
from gpunn import registry
from gpunn.arena import Arena, Parameter
from gpunn.backends import kernel_source
from gpunn.backends.base import Backend
from gpunn.backends.control import (
    BAD_BATCH,
    BATCHES,
    COUNTERS,
    PASS,
    POSITION,
    UPDATES,
    Control,
)
from gpunn.backends.order import Order

NUMPY: Backend = gpunn.backends.get_backend("numpy")
CARD: Backend = emulated.make_backend()
DTYPES = ("float32", "float64")
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}
SHAPES = [(1, 1), (1, 10), (7, 1), (5, 31), (33, 32), (3, 33), (31, 10), (2, 1000), (1023, 3)]
SOURCES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
]  # fmt: skip

Operation = Callable[..., None]


def on_both(
    operation: Callable[[Backend, dict[str, Any]], None], **arrays: np.ndarray | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Run ``operation(backend, arrays)`` on copies of the arrays; what they hold afterwards."""
    results = []
    for backend in (NUMPY, CARD):
        mine = {
            name: None if array is None else backend.upload(array.copy())
            for name, array in arrays.items()
        }
        operation(backend, mine)
        results.append({n: backend.read(a) for n, a in mine.items() if a is not None})
    return results[0], results[1]


def assert_alike(a: dict[str, np.ndarray], b: dict[str, np.ndarray], dtype: str) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        if a[name].dtype.kind in "biu":
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)
            continue
        x, y = a[name].astype(np.float64), b[name].astype(np.float64)
        finite = np.isfinite(x)
        np.testing.assert_array_equal(y[~finite], x[~finite], err_msg=name)
        difference = np.linalg.norm(x[finite] - y[finite])
        assert difference <= TOLERANCE[dtype] * np.linalg.norm(x[finite]) + 1e-300, name


def normal(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def variants(kind: str, *besides: type) -> list[Any]:
    """An object of each class of gpunn's own that is registered."""
    classes = registry.entries(kind).values()
    return [c() for c in classes if c.__module__.startswith("gpunn") and c not in besides]


ACTIVATIONS = [*variants("activation"), gpunn.activations.Relu(0.1, 1.0, 0.2)]
LOSSES = [
    *variants("loss"),
    gpunn.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.BinaryCrossentropy(label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    gpunn.losses.CategoricalCrossentropy(label_smoothing=0.1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True),
    gpunn.losses.SparseCategoricalCrossentropy(ignore_class=1),
    gpunn.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=1),
]
OPTIMIZERS = [
    *variants("optimizer"),
    gpunn.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.01),
    gpunn.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    gpunn.optimizers.Adam(0.01, amsgrad=True, weight_decay=0.01),
]
METRICS = [
    *variants("metric", gpunn.metrics.Mean, gpunn.metrics.MeanMetricWrapper),
    gpunn.metrics.MeanMetricWrapper(lambda t, y: y * y),
]


def label(x: Any) -> str:
    name = getattr(x, "name", None)
    return name if isinstance(name, str) else str(x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
def test_matmul(dtype: str, transpose_a: bool, transpose_b: bool, accumulate: bool) -> None:
    for m, k, n in [(1, 1, 1), (3, 5, 2), (1, 7, 4), (6, 1, 5), (33, 17, 10)]:
        a, b = normal((k, m) if transpose_a else (m, k), dtype), normal((k, n), dtype, 1)
        both = on_both(
            lambda backend, x: backend.matmul(
                x["a"], x["b"], x["out"], transpose_a, transpose_b, accumulate
            ),
            a=a,
            b=np.ascontiguousarray(b.T) if transpose_b else b,
            out=normal((m, n), dtype, 2),
        )
        assert_alike(*both, dtype)
        expected = (a.T if transpose_a else a) @ b + accumulate * normal((m, n), dtype, 2)
        np.testing.assert_allclose(both[1]["out"], expected, 1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=label)
def test_activations(activation: Any, shape: tuple[int, int], dtype: str) -> None:
    x = 3 * normal(shape, dtype)

    def forward(backend: Backend, a: dict[str, Any]) -> None:
        separate = activation.saves == "input"
        backend.bias_activation(a["x"], a["bias"], activation, a["out"] if separate else a["x"])
        saved = a["x"]
        backend.activation_gradient(activation, saved, a["dy"], a["dx"])
        backend.activation_gradient(activation, saved, a["dy"], a["sum"], accumulate=True)
        backend.activation_gradient(activation, saved, a["dy"], a["dy"])
        if not separate:
            backend.bias_activation(a["plain"], None, activation, a["out"])

    dy, out = normal(shape, dtype, 1), np.zeros(shape, dtype)
    both = on_both(
        forward, x=x, plain=x, bias=normal(shape[1:], dtype, 2), dy=dy, dx=out, sum=dy, out=out
    )
    assert_alike(*both, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_far_out(dtype: str) -> None:
    """Values that overflow a careless formula."""
    x = np.array([[1e4, -1e4, 0, 88, -88, 800, -800], [5, 5, 5, 5, 5, 5, 5]], dtype)
    x = np.vstack([x, [0, -np.inf, 1, 2, -np.inf, -np.inf, 3]]).astype(dtype)
    for activation in ACTIVATIONS:
        if activation.functor:
            both = on_both(
                lambda b, a, f=activation: b.bias_activation(a["x"], None, f, a["out"]),
                x=x,
                out=np.zeros_like(x),
            )
            assert np.isfinite(both[1]["out"]).all() or activation.functor in ("Linear", "Relu")
            assert_alike(*both, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*SHAPES, (40, 70), (0, 5)])
def test_column_sums(shape: tuple[int, int], dtype: str) -> None:
    def sums(backend: Backend, a: dict[str, Any]) -> None:
        backend.column_sums(a["x"], a["out"])
        backend.column_sums(a["x"], a["total"], accumulate=True)

    columns = normal(shape[1:], dtype, 1)
    assert_alike(*on_both(sums, x=normal(shape, dtype), out=columns, total=columns), dtype)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("target", [*DTYPES, "int32"])
def test_affine_and_gather_from_every_type(source: str, target: str) -> None:
    x = np.random.default_rng(0).integers(0, 100, (37, 5)).astype(source)
    scale, offset = (1.0, 0.0) if target == "int32" else (1 / 255, -0.5)
    order = Order(37, seed=12)

    def convert(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(POSITION, 3)
        control.set(PASS, 2)
        backend.affine(a["x"], scale, offset, a["affine"])
        if target != "int32":
            backend.affine(a["x"], scale, offset, a["affine"], accumulate=True)
        backend.gather(a["x"], order, control, a["rows"], scale, offset)

    both = on_both(convert, x=x, affine=np.zeros((37, 5), target), rows=np.zeros((34, 5), target))
    assert_alike(*both, "float32")
    np.testing.assert_allclose(
        both[1]["rows"], x[order.indices(2)[3:]].astype(float) * scale + offset, 1e-5, 1e-6
    )


def test_float16_is_read_exactly() -> None:
    """All 65,536 of them, subnormal ones, infinities and NaN included."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    out = CARD.empty(x.shape, np.float32)
    CARD.affine(CARD.upload(x), 1.0, 0.0, out)
    np.testing.assert_array_equal(CARD.read(out), x.astype(np.float32))


@pytest.mark.parametrize("rows", [1, 2, 5, 31, 32, 33, 1000, 4097])
@pytest.mark.parametrize("width", [(), (1,), (3, 2), (300,)])
@pytest.mark.parametrize("seed", [None, 0, 7, 2**64 - 1])
def test_gather(rows: int, width: tuple[int, ...], seed: int | None) -> None:
    """A whole pass in batches, the last one ragged."""
    source = np.arange(rows * int(np.prod(width))).reshape(rows, *width)
    order = Order(rows, seed)
    control = Control(CARD)
    control.set(PASS, 4)
    device, taken = CARD.upload(source), []
    for start in range(0, rows, 256):
        out = CARD.empty((min(256, rows - start), *width), np.float64)
        control.set(POSITION, start)
        CARD.gather(device, order, control, out)
        taken.append(CARD.read(out))
    np.testing.assert_array_equal(np.concatenate(taken), source[order.indices(4)])


def test_gather_past_the_end_ends() -> None:
    """No row has a place there: its part of the batch is left alone, and nothing hangs."""
    control = Control(CARD)
    control.set(POSITION, 4)
    out = CARD.zeros((4, 1), np.float32)
    CARD.gather(CARD.upload(np.full((5, 1), 3.0)), Order(5, 1), control, out)
    assert CARD.read(out).ravel().tolist() == [3, 0, 0, 0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 1), (33, 31), (257, 130)])
def test_dropout_draws_numpys_numbers(shape: tuple[int, int], dtype: str) -> None:
    rate, seed, stream, batch = 0.3, 2**64 - 5, 3, 11
    x = normal(shape, dtype)

    def drop(backend: Backend, a: dict[str, Any]) -> None:
        control = Control(backend)
        control.set(BATCHES, batch)
        backend.dropout(a["x"], rate, seed, stream, control, a["out"], a["mask"])
        backend.dropout_gradient(a["x"], rate, a["mask"], a["dx"])
        backend.dropout_gradient(a["x"], rate, a["mask"], a["dx"], accumulate=True)

    both = on_both(
        drop, x=x, out=np.zeros_like(x), dx=np.zeros_like(x), mask=np.zeros(shape, bool)
    )
    assert_alike(*both, dtype)
    philox = np.random.Philox(key=seed, counter=np.array([0, 0, batch, stream], np.uint64))
    uniform = np.random.Generator(philox).random(shape, np.float32)
    np.testing.assert_array_equal(both[1]["mask"], uniform < np.float32(1 - rate))
    np.testing.assert_allclose(both[1]["dx"], 2 * both[1]["out"], 1e-6)


def targets(loss: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    if loss.sparse:
        return rng.integers(0, shape[1], shape[0]).astype(np.int32)
    if "binary" in loss.name:
        return rng.integers(0, 2, shape).astype(dtype)
    if "categorical" in loss.name:
        return np.eye(shape[1], dtype=dtype)[rng.integers(0, shape[1], shape[0])]
    return normal(shape, dtype, 5)


def predictions(loss: Any, shape: tuple[int, int], dtype: str) -> np.ndarray:
    if getattr(loss, "from_logits", True):
        return 3 * normal(shape, dtype)
    return np.random.default_rng(6).uniform(0.05, 0.9, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("loss", LOSSES, ids=label)
def test_losses(loss: Any, shape: tuple[int, int], dtype: str) -> None:
    weights = np.random.default_rng(1).random(shape[0]).astype(dtype)

    def both_ways(backend: Backend, a: dict[str, Any]) -> None:
        backend.loss(loss, a["t"], a["y"], a["w"], 0.25, a["dy"], a["totals"])
        backend.loss(loss, a["t"], a["y"], None, 0.5, a["plain"], a["totals"])
        backend.loss(loss, a["t"], a["y"], None, 0.5, None, a["totals"])
        backend.loss(loss, a["t"], a["y"], None, 0.5, None, a["no_count"][:2])

    zeros = np.zeros(shape, dtype)
    both = on_both(
        both_ways, t=targets(loss, shape, dtype), y=predictions(loss, shape, dtype), w=weights,
        dy=zeros, plain=zeros, totals=np.zeros(3), no_count=np.zeros(3),
    )
    assert_alike(*both, dtype)
    assert both[1]["totals"][1] == 3 * shape[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_crossentropy_far_out(dtype: str) -> None:
    """Logits that overflow a careless formula, equal ones, impossible classes."""
    z = np.array(
        [[1e4, -1e4, 0], [-1e4, -1e4, -1e4], [0, 0, 0], [-np.inf, 2, 1], [1e4, 1e4, -np.inf]],
        dtype,
    )
    labels = np.array([1, 0, 2, 1, 0], np.int32)
    for loss, t in (
        (gpunn.losses.SparseCategoricalCrossentropy(from_logits=True), labels),
        (gpunn.losses.CategoricalCrossentropy(from_logits=True), np.eye(3, dtype=dtype)[labels]),
    ):
        both = on_both(
            lambda b, a, f=loss: b.loss(f, a["t"], a["z"], None, 1.0, a["dz"], a["totals"]),
            t=t, z=z, dz=np.zeros_like(z), totals=np.zeros(3),
        )
        assert_alike(*both, dtype)
        exact = [2e4, np.log(3), np.log(3), np.log1p(np.exp(-1.0)), np.log(2)]
        np.testing.assert_allclose(both[1]["totals"], [5 * sum(exact), 5, 3], 1e-6)
        np.testing.assert_allclose(both[1]["dz"].sum(axis=1), 0, atol=1e-6)


def test_sigmoid_crossentropy_far_out() -> None:
    z = np.array([[1e4], [1e4], [-1e4], [np.inf], [-np.inf]], np.float32)
    t = np.array([[1], [0], [0], [1], [0]], np.float32)
    loss = gpunn.losses.BinaryCrossentropy(from_logits=True)
    gradient, totals = CARD.empty(z.shape, np.float32), CARD.zeros((3,), np.float64)
    CARD.loss(loss, CARD.upload(t), CARD.upload(z), None, 0.2, gradient, totals)
    assert CARD.read(totals)[0] == pytest.approx(1e4)
    np.testing.assert_allclose(CARD.read(gradient).ravel(), [0, 0.2, 0, 0, 0], atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 10), (5, 31), (33, 32), (2, 1000), (257, 3)])
@pytest.mark.parametrize("metric", METRICS, ids=label)
def test_metrics(metric: Any, shape: tuple[int, int], dtype: str) -> None:
    rng = np.random.default_rng(3)
    hot = rng.integers(0, shape[1], shape[0]).astype(np.int32)
    truth = hot if metric.sparse is not False else np.eye(shape[1], dtype=dtype)[hot]
    y = rng.random(shape).astype(dtype).round(1)  # so that there are ties

    def twice(backend: Backend, a: dict[str, Any]) -> None:
        backend.metric(metric, a["t"], a["y"], a["w"], a["state"])
        backend.metric(metric, a["t"], a["y"], None, a["state"])

    with np.errstate(all="ignore"):
        both = on_both(
            twice, t=truth, y=y, w=rng.random(shape[0]).astype(dtype), state=np.zeros(2)
        )
    assert_alike(*both, dtype)


def arena(backend: Backend, dtype: str, optimizer: Any = None) -> Arena:
    """Four parameters of which one is frozen, one slow, one without decay."""
    rng = np.random.default_rng(0)
    values = lambda shape, dtype: rng.normal(size=shape).astype(dtype)  # noqa: E731
    parameters = [
        Parameter((784, 30), values),
        Parameter((30,), values, decay=False),
        Parameter((3,), values, multiplier=0.1),
        Parameter((1, 1), values),
    ]
    made = Arena(backend, dtype, parameters)
    if optimizer is not None:
        made.add_slots(optimizer.slot_names)
    parameters[3].layer = type("Layer", (), {"name": "frozen", "trainable": False})
    made.refresh()
    return made


def give_gradients(made: Arena, step: int) -> None:
    for i, parameter in enumerate(made.parameters):
        gradient = normal(parameter.shape, made.dtype, 100 * step + i)
        made.backend.write(parameter.gradient, gradient)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: f"{o.name}{o.parameters}")
def test_optimizers(optimizer: Any, dtype: str) -> None:
    results = []
    for backend in (NUMPY, CARD):
        made, control = arena(backend, dtype, optimizer), Control(backend)
        frozen = made.parameters[3].numpy()
        for step in range(3):
            control.set(UPDATES, step)
            control.set_learning_rate(0.1 / (1 + step))
            give_gradients(made, step)
            backend.update(optimizer, made, control)
        assert made.parameters[3].numpy() == frozen
        results.append(
            {str(i): p.numpy() for i, p in enumerate(made.parameters)}
            | {name: backend.read(slot) for name, slot in made.slots.items()}
        )
    assert_alike(*results, dtype)


def test_adam_keeps_its_digits_from_the_first_step_to_the_last() -> None:
    """1 - beta^t in float32, where beta^t is near 1 and where it has vanished."""
    optimizer = gpunn.optimizers.Adam(beta_1=0.9, beta_2=0.9999)
    for updates in (0, 1, 10, 1000, 10**6, 10**9):
        made, control = arena(CARD, "float32", optimizer), Control(CARD)
        made.backend.write(made.slots["m"], np.ones(made.values.shape))
        made.backend.write(made.slots["v"], np.ones(made.values.shape))
        give_gradients(made, 0)
        control.set(UPDATES, updates)
        control.set_learning_rate(1.0)
        before = made.parameters[0].numpy().astype(np.float64)
        g = CARD.read(made.parameters[0].gradient).astype(np.float64)
        CARD.update(optimizer, made, control)
        t = updates + 1
        m, v = 0.9 + 0.1 * g, 0.9999 + 0.0001 * g * g
        step = np.sqrt(1 - 0.9999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        moved = before - made.parameters[0].numpy()
        assert np.linalg.norm(moved - step) <= 1e-5 * np.linalg.norm(step), updates


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by", ["value", "norm", "global_norm"])
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_clip_gradients(by: str, limit: float, dtype: str) -> None:
    results = []
    for backend in (NUMPY, CARD):
        made = arena(backend, dtype)
        give_gradients(made, 0)
        backend.clip_gradients(made, by, limit)
        trained = made.parameters[:3]
        results.append({str(i): backend.read(p.gradient) for i, p in enumerate(trained)})
    assert_alike(*results, dtype)
    if by != "value" and limit < 1:
        norms = [np.linalg.norm(g) for g in results[1].values()]
        reached = norms if by == "norm" else [np.linalg.norm(norms)]
        assert reached == pytest.approx([limit] * len(reached), 1e-5)


def test_advance() -> None:
    for backend in (NUMPY, CARD):
        control, totals = Control(backend), backend.zeros((3,), np.float64)
        backend.advance(control, 32, totals)
        assert control.get().tolist()[:5] == [1, 1, 0, 32, -1]
        for value in (np.nan, np.inf):
            backend.write(totals, np.array([value, 0, 0]))
            backend.advance(control, 5, totals)
        expected = dict.fromkeys(range(COUNTERS), 0)
        expected |= {UPDATES: 3, BATCHES: 3, POSITION: 42, BAD_BATCH: 1}
        assert control.get().tolist() == list(expected.values())


class Step:
    """A training step of one dense layer with dropout, softmax and Adam, by hand."""

    def __init__(self, backend: Backend, dtype: str, optimizer: Any, loss: Any, batch: int) -> None:
        rng = np.random.default_rng(0)
        self.backend, self.optimizer, self.loss, self.batch = backend, optimizer, loss, batch
        self.x = backend.upload(rng.integers(0, 255, (2000, 20)).astype(np.uint8))
        self.y = backend.upload(rng.integers(0, 10, 2000).astype(np.int32))
        values = lambda shape, dtype: rng.normal(size=shape).astype(dtype)  # noqa: E731
        self.arena = Arena(backend, dtype, [Parameter((20, 10), values), Parameter((10,), values)])
        self.arena.add_slots(optimizer.slot_names)
        self.control, self.order = Control(backend), Order(2000, 3)
        self.control.set_learning_rate(0.01)
        self.totals = backend.zeros((3,), np.float64)
        shape = (batch, 20)
        self.rows, self.dropped = backend.empty(shape, dtype), backend.empty(shape, dtype)
        self.mask, self.labels = backend.empty(shape, np.bool_), backend.empty((batch,), np.int32)
        self.z, self.dz = (backend.empty((batch, 10), dtype) for _ in range(2))

    def __call__(self) -> None:
        b, (kernel, bias) = self.backend, self.arena.parameters
        b.gather(self.x, self.order, self.control, self.rows, 1 / 255)
        b.gather(self.y, self.order, self.control, self.labels)
        b.dropout(self.rows, 0.2, 9, 1, self.control, self.dropped, self.mask)
        b.matmul(self.dropped, kernel.value, self.z)
        b.bias_activation(self.z, bias.value, gpunn.activations.linear, self.z)
        b.loss(self.loss, self.labels, self.z, None, 1 / self.batch, self.dz, self.totals)
        b.column_sums(self.dz, bias.gradient)
        b.matmul(self.dropped, self.dz, kernel.gradient, transpose_a=True)
        b.clip_gradients(self.arena, "global_norm", 5.0)
        b.update(self.optimizer, self.arena, self.control)
        b.advance(self.control, self.batch, self.totals)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"values": self.arena.values, "totals": self.totals, **self.arena.slots}
        return {
            "counters": self.control.get(), **{n: self.backend.read(a) for n, a in arrays.items()}
        }


class _OwnSquares(gpunn.losses.Loss):
    """A loss without functor: the slow path of whoever adds one."""

    sparse = True
    counts_matches = True

    def forward(self, backend: Backend, y_true: Any, y_pred: Any, values: Any) -> None:
        values[...] = backend.xp.sum(y_pred * y_pred, axis=-1)

    def backward(self, backend: Backend, y_true: Any, y_pred: Any, gradient: Any) -> None:
        gradient[...] = 2 * y_pred

    def matches(self, backend: Backend, y_true: Any, y_pred: Any) -> Any:
        return backend.xp.argmax(y_pred, axis=-1) == y_true


class _SlowAdam(gpunn.optimizers.Adam):
    functor = None


FAST = (gpunn.optimizers.Adam(), gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
SLOW = (_SlowAdam(amsgrad=True, weight_decay=0.01), _OwnSquares())


@pytest.mark.parametrize("formulas", [FAST, SLOW], ids=["kernels", "slow path"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_recorded_step_is_the_eager_step(formulas: Any, dtype: str) -> None:
    """Bit for bit, with counters, rate and data that change: nothing is baked in."""
    recorded, eager = (Step(CARD, dtype, *formulas, batch=31) for _ in range(2))
    program = CARD.capture(recorded)
    for steps in (1, 2, 35):
        for each in (recorded, eager):
            each.control.set_learning_rate(0.1 / steps)
            each.control.set(PASS, steps)
            each.control.set(POSITION, 5)
        program.run(steps)
        for _ in range(steps):
            eager()
        for name, value in eager.state().items():
            np.testing.assert_array_equal(recorded.state()[name], value, err_msg=name)


@pytest.mark.parametrize("formulas", [FAST, SLOW], ids=["kernels", "slow path"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_is_that_of_numpy(formulas: Any, dtype: str) -> None:
    card, host = (Step(backend, dtype, *formulas, batch=31) for backend in (CARD, NUMPY))
    program = CARD.capture(card)
    program.run(20)
    for _ in range(20):
        host()
    a, b = host.state(), card.state()
    np.testing.assert_array_equal(a["counters"], b["counters"])
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    for name in a:
        assert np.linalg.norm(a[name] - b[name]) <= tolerance * np.linalg.norm(a[name]), name


def test_a_program_survives_the_release_of_work_arrays() -> None:
    backend = emulated.make_backend()
    recorded, eager = (Step(backend, "float32", *FAST, batch=31) for _ in range(2))
    program = backend.capture(recorded)
    program.run(2)
    backend.release()
    program.run(32)
    for _ in range(34):
        eager()
    np.testing.assert_array_equal(recorded.state()["values"], eager.state()["values"])


def test_every_kernel_has_been_launched() -> None:
    """Runs last in this file: what is compiled for the card has been tried here."""
    names = {key[0] for key in CARD._prepared}  # type: ignore[attr-defined]
    assert names == set(kernel_source.kernels())


def test_host_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="is an array of the host"):
        CARD.affine(np.zeros(3), 1.0, 0.0, CARD.empty((3,), np.float64))


def test_waiting_inside_a_recorded_step_is_refused() -> None:
    x = CARD.zeros((1,), np.float32)
    for wait in (lambda: CARD.read(x), CARD.synchronize, lambda: float(x[0])):
        calls: list[int] = []

        def step(wait: Any = wait, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) > 1:
                wait()

        program = CARD.capture(step)
        program.run(1)
        with pytest.raises(RuntimeError, match="a step that is recorded cannot"):
            program.run(1)
    CARD.synchronize()


def test_upload_keeps_what_is_there_and_takes_what_comes() -> None:
    x = CARD.upload(np.arange(6).reshape(2, 3).T)
    assert CARD.owns(x) and not CARD.owns(np.zeros(1)) and x.flags.c_contiguous
    assert np.shares_memory(CARD.upload(x), x)
    np.testing.assert_array_equal(CARD.read(x), np.arange(6).reshape(2, 3).T)

    class Foreign:
        """An array of another library, in host memory."""

        def __init__(self) -> None:
            self.array = np.arange(3.0)

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__()

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    assert CARD.read(CARD.upload(Foreign())).tolist() == [0, 1, 2]
