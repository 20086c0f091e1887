"""The CuPy backend on the CPU: its operations against worked examples, and its captured steps.

`test_kernels_on_cpu.py` compares each operation with NumPy on many shapes and values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from comparisons.formulas import ACTIVATIONS
from comparisons.samples import DTYPES, NUMPY, Sample, assert_alike, make_gpu, on_both
from comparisons.steps import give_gradients, make_storage

import gpunn
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import (
    BAD_BATCH,
    BATCHES,
    COUNTERS,
    PASS,
    POSITION,
    UPDATES,
    Control,
)
from gpunn.backends.shared.order import Order
from gpunn.core.storage import Parameter, ParameterStorage

GPU = make_gpu(orders=(3,))


def normal(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
def test_matmul(dtype: str, transpose_a: bool, transpose_b: bool, accumulate: bool) -> None:
    for m, k, n in [(1, 1, 1), (3, 5, 2), (1, 7, 4), (6, 1, 5), (33, 17, 10)]:
        a, b = normal((k, m) if transpose_a else (m, k), dtype), normal((k, n), dtype, 1)
        both = on_both(
            GPU,
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
def test_many_thresholds_between_predictions_that_are_alike(dtype: str) -> None:
    """Several tiles of predictions, the last one partial, with some bins repeated in each."""
    rows = 1003
    metric = gpunn.metrics.AUC(num_thresholds=10_000)
    metric.build((rows, 1))
    random = np.random.default_rng(0)
    host, gpu = on_both(
        GPU,
        lambda backend, x: backend.metric(metric, x["t"], x["y"], x["w"], x["state"]),
        t=random.integers(0, 2, (rows, 1)).astype(dtype),
        y=random.random((rows, 1)).round(1).astype(dtype),
        w=random.random(rows).astype(dtype),
        state=np.zeros(metric.state_size),
    )
    assert 0 < np.count_nonzero(gpu["state"]) <= 22
    np.testing.assert_allclose(gpu["state"], host["state"], 1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_far_out(dtype: str) -> None:
    """Values that would overflow a naive formula."""
    x = np.array([[1e4, -1e4, 0, 88, -88, 800, -800], [5, 5, 5, 5, 5, 5, 5]], dtype)
    x = np.vstack([x, [0, -np.inf, 1, 2, -np.inf, -np.inf, 3]]).astype(dtype)
    for activation in ACTIVATIONS:
        if activation.functor:
            both = on_both(
                GPU,
                lambda b, a, f=activation: b.bias_activation(a["x"], None, f, a["out"]),
                x=x,
                out=np.zeros_like(x),
            )
            unbounded = activation.properties.range != (0, 1)
            assert np.isfinite(both[1]["out"]).all() or unbounded
            assert not np.isnan(both[1]["out"]).any() or activation.functor == "Softsign"
            assert_alike(*both, dtype)


@pytest.mark.parametrize("shape", [(20_000, 3, 1), (3, 40, 500)])
def test_statistics_of_a_batch_are_the_same_for_any_number_of_blocks(shape: Any) -> None:
    """More chunks than lanes of a warp, and fewer features than warps of a block."""
    found = []
    for blocks in (1, 3, 8):
        gpu = make_gpu(orders=(3,))
        gpu.kernels.blocks = blocks  # type: ignore[attr-defined]
        x, dy = gpu.upload(normal(shape, "float32")), gpu.upload(normal(shape, "float32", 1))
        mean, variance, dgamma, dbeta, *moving = (
            gpu.zeros(shape[1:2], "float32") for _ in range(6)
        )
        dx = gpu.zeros(shape, "float32")
        gpu.batch_statistics(x, 0.9, mean, variance, *moving)
        gpu.normalize_gradient(x, dy, mean, variance, None, 0.01, dgamma, dbeta, dx)
        found.append([gpu.read(a) for a in (mean, variance, *moving, dgamma, dbeta, dx)])
    for other in found[1:]:
        for mine, expected in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_column_sums_of_no_rows(dtype: str) -> None:
    x, out = GPU.zeros((0, 5), dtype), GPU.upload(np.arange(5, dtype=dtype))
    GPU.column_sums(x, out, accumulate=True)
    assert GPU.read(out).tolist() == [0, 1, 2, 3, 4]
    GPU.column_sums(x, out)
    assert GPU.read(out).tolist() == [0] * 5


def test_float16_is_read_exactly() -> None:
    """All 65,536 values, including subnormal ones, infinities and NaN."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    out = GPU.empty(x.shape, np.float32)
    GPU.affine(GPU.upload(x), 1.0, 0.0, out)
    np.testing.assert_array_equal(GPU.read(out), x.astype(np.float32))


@pytest.mark.parametrize("rows", [1, 2, 5, 31, 32, 33, 1000, 4097])
@pytest.mark.parametrize("width", [(), (1,), (3, 2), (300,)])
@pytest.mark.parametrize("seed", [None, 0, 7, 2**64 - 1])
def test_gather(rows: int, width: tuple[int, ...], seed: int | None) -> None:
    """A whole pass in batches, the last one ragged."""
    source = np.arange(rows * int(np.prod(width))).reshape(rows, *width)
    order = Order(rows, seed)
    control = Control(GPU)
    control.set(PASS, 4)
    device, taken = GPU.upload(source), []
    for start in range(0, rows, 256):
        out = GPU.empty((min(256, rows - start), *width), np.float64)
        control.set(POSITION, start)
        GPU.gather(device, order, control, out)
        taken.append(GPU.read(out))
    np.testing.assert_array_equal(np.concatenate(taken), source[order.indices(4)])


def test_gather_past_the_end_ends() -> None:
    """No row belongs there: that part of the batch stays unchanged, and nothing hangs."""
    control = Control(GPU)
    control.set(POSITION, 4)
    out = GPU.zeros((4, 1), np.float32)
    GPU.gather(GPU.upload(np.full((5, 1), 3.0)), Order(5, 1), control, out)
    rows = GPU.read(out).ravel()
    assert rows[0] == 3 and np.isnan(rows[1:]).all()  # unchanged by the launch


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
        GPU, drop, x=x, out=np.zeros_like(x), dx=np.zeros_like(x), mask=np.zeros(shape, bool)
    )
    assert_alike(*both, dtype)
    philox = np.random.Philox(key=seed, counter=np.array([0, 0, batch, stream], np.uint64))
    uniform = np.random.Generator(philox).random(shape, np.float32)
    np.testing.assert_array_equal(both[1]["mask"], uniform < np.float32(1 - rate))
    np.testing.assert_allclose(both[1]["dx"], 2 * both[1]["out"], 1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_crossentropy_far_out(dtype: str) -> None:
    """Logits that would overflow a naive formula, equal ones, impossible classes."""
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
            GPU,
            lambda b, a, f=loss: b.loss(f, a["t"], a["z"], None, 1.0, a["dz"], a["totals"]),
            t=t,
            z=z,
            dz=np.zeros_like(z),
            totals=np.zeros(3),
        )
        assert_alike(*both, dtype)
        exact = [2e4, np.log(3), np.log(3), np.log1p(np.exp(-1.0)), np.log(2)]
        np.testing.assert_allclose(both[1]["totals"], [5 * sum(exact), 5, 3], 1e-6)
        np.testing.assert_allclose(both[1]["dz"].sum(axis=1), 0, atol=1e-6)


def test_sigmoid_crossentropy_far_out() -> None:
    z = np.array([[1e4], [1e4], [-1e4], [np.inf], [-np.inf]], np.float32)
    t = np.array([[1], [0], [0], [1], [0]], np.float32)
    loss = gpunn.losses.BinaryCrossentropy(from_logits=True)
    gradient, totals = GPU.empty(z.shape, np.float32), GPU.zeros((3,), np.float64)
    GPU.loss(loss, GPU.upload(t), GPU.upload(z), None, 0.2, gradient, totals)
    assert GPU.read(totals)[0] == pytest.approx(1e4)
    np.testing.assert_allclose(GPU.read(gradient).ravel(), [0, 0.2, 0, 0, 0], atol=1e-7)


def test_adam_keeps_its_digits_from_the_first_step_to_the_last() -> None:
    """1 - beta^t in float32, where beta^t is near 1 and where it has vanished."""
    optimizer = gpunn.optimizers.Adam(beta_1=0.9, beta_2=0.9999)
    for updates in (0, 1, 10, 1000, 10**6, 10**9):
        sample = Sample(784, 30)
        made, control = make_storage(GPU, sample, optimizer), Control(GPU)
        made.backend.write(made.slots["m"], np.ones(made.values.shape))
        made.backend.write(made.slots["v"], np.ones(made.values.shape))
        give_gradients(made, sample)
        control.set(UPDATES, updates)
        control.set_learning_rate(1.0)
        before = made.parameters[0].numpy().astype(np.float64)
        g = GPU.read(made.parameters[0].gradient).astype(np.float64)
        GPU.update(optimizer, made, control)
        t = updates + 1
        m, v = 0.9 + 0.1 * g, 0.9999 + 0.0001 * g * g
        step = np.sqrt(1 - 0.9999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-7)
        moved = before - made.parameters[0].numpy()
        assert np.linalg.norm(moved - step) <= 1e-5 * np.linalg.norm(step), updates


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by", ["norm", "global_norm"])
def test_clipped_gradients_have_the_norm_asked_for(by: str, dtype: str) -> None:
    sample = Sample(784, 30, dtype)
    made = make_storage(GPU, sample)
    give_gradients(made, sample)
    GPU.clip_gradients(made, by, 0.5)
    norms = [np.linalg.norm(GPU.read(p.gradient)) for p in made.parameters[:3]]
    reached = norms if by == "norm" else [np.linalg.norm(norms)]
    assert reached == pytest.approx([0.5] * len(reached), 1e-5)


def test_advance() -> None:
    for backend in (NUMPY, GPU):
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
    """A hand-written training step of one dense layer with dropout, softmax and Adam."""

    def __init__(self, backend: Backend, dtype: str, optimizer: Any, loss: Any, batch: int) -> None:
        rng = np.random.default_rng(0)
        self.backend, self.optimizer, self.loss, self.batch = backend, optimizer, loss, batch
        self.x = backend.upload(rng.integers(0, 255, (2000, 20)).astype(np.uint8))
        self.y = backend.upload(rng.integers(0, 10, 2000).astype(np.int32))

        def values(shape: Any, dtype: Any) -> np.ndarray:
            return np.asarray(rng.normal(size=shape), dtype)

        parameters = [Parameter((20, 10), values), Parameter((10,), values)]
        self.storage = ParameterStorage(backend, dtype, parameters)
        self.storage.add_slots(optimizer.slot_names)
        self.control, self.order = Control(backend), Order(2000, 3)
        self.control.set_learning_rate(0.01)
        self.totals = backend.zeros((3,), np.float64)
        shape = (batch, 20)
        self.rows, self.dropped = backend.empty(shape, dtype), backend.empty(shape, dtype)
        self.mask, self.labels = backend.empty(shape, np.bool_), backend.empty((batch,), np.int32)
        self.z, self.dz = (backend.empty((batch, 10), dtype) for _ in range(2))

    def __call__(self) -> None:
        b, (kernel, bias) = self.backend, self.storage.parameters
        b.gather(self.x, self.order, self.control, self.rows, 1 / 255)
        b.gather(self.y, self.order, self.control, self.labels)
        b.dropout(self.rows, 0.2, 9, 1, self.control, self.dropped, self.mask)
        b.matmul(self.dropped, kernel.value, self.z)
        b.bias_activation(self.z, bias.value, gpunn.activations.linear, self.z)
        b.loss(self.loss, self.labels, self.z, None, 1 / self.batch, self.dz, self.totals)
        b.column_sums(self.dz, bias.gradient)
        b.matmul(self.dropped, self.dz, kernel.gradient, transpose_a=True)
        b.clip_gradients(self.storage, "global_norm", 5.0)
        b.update(self.optimizer, self.storage, self.control)
        b.advance(self.control, self.batch, self.totals)

    def state(self) -> dict[str, np.ndarray]:
        arrays = {"values": self.storage.values, "totals": self.totals, **self.storage.slots}
        return {
            "counters": self.control.get(),
            **{n: self.backend.read(a) for n, a in arrays.items()},
        }


class _OwnSquares(gpunn.losses.Loss):
    """A custom loss without a functor, which takes the slow path."""

    sparse = True
    counts_matches = True

    def forward(self, backend: Backend, y_true: Any, y_pred: Any, values: Any) -> None:
        values[...] = backend.xp.sum(y_pred * y_pred, axis=-1)

    def backward(self, backend: Backend, y_true: Any, y_pred: Any, gradient: Any) -> None:
        gradient[...] = 2 * y_pred

    def matches(self, backend: Backend, y_true: Any, y_pred: Any, hits: Any) -> None:
        backend.xp.equal(backend.xp.argmax(y_pred, axis=-1), y_true, out=hits)


class _SlowAdam(gpunn.optimizers.Adam):
    functor = None


FAST = (gpunn.optimizers.Adam(), gpunn.losses.SparseCategoricalCrossentropy(from_logits=True))
SLOW = (_SlowAdam(amsgrad=True, weight_decay=0.01), _OwnSquares())


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("formulas", [FAST, SLOW], ids=["kernels", "slow path"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_captured_step_is_the_eager_step(formulas: Any, dtype: str) -> None:
    """Bitwise equal, with counters, rate and data that change: nothing is baked in."""
    own = GPU.isolated()
    captured, eager = (Step(b, dtype, *formulas, batch=31) for b in (own, GPU))
    program = own.program(captured)
    for steps in (1, 2, 35):
        for each in (captured, eager):
            each.control.set_learning_rate(0.1 / steps)
            each.control.set(PASS, steps)
            each.control.set(POSITION, 5)
        program.run(steps)
        for _ in range(steps):
            eager()
        for name, value in eager.state().items():
            np.testing.assert_array_equal(captured.state()[name], value, err_msg=name)


@pytest.mark.parametrize("formulas", [FAST, SLOW], ids=["kernels", "slow path"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_training_is_that_of_numpy(formulas: Any, dtype: str) -> None:
    own = GPU.isolated()
    gpu, host = (Step(backend, dtype, *formulas, batch=31) for backend in (own, NUMPY))
    program = own.program(gpu)
    program.run(20)
    for _ in range(20):
        host()
    a, b = host.state(), gpu.state()
    np.testing.assert_array_equal(a["counters"], b["counters"])
    tolerance = {"float32": 1e-5, "float64": 1e-12}[dtype]
    for name in a:
        assert np.linalg.norm(a[name] - b[name]) <= tolerance * np.linalg.norm(a[name]), name


def test_few_steps_are_captured_for_many() -> None:
    """Capturing a step runs Python, which delays the first step; replaying one does not."""
    own, calls = GPU.isolated(), 0
    x, out = own.upload(np.ones(3)), own.zeros((3,), np.float64)

    def step() -> None:
        nonlocal calls
        calls += 1
        own.affine(x, 1.0, 0.0, out, accumulate=True)

    own.program(step).run(5000)
    assert own.read(out).tolist() == [5000] * 3
    assert calls < 80


def test_a_program_survives_the_release_of_work_arrays() -> None:
    backend = make_gpu(orders=(3,)).isolated()
    captured, eager = (Step(backend, "float32", *FAST, batch=31) for _ in range(2))
    program = backend.program(captured)
    program.run(2)
    backend.release()
    program.run(32)
    for _ in range(34):
        eager()
    np.testing.assert_array_equal(captured.state()["values"], eager.state()["values"])


def test_host_arrays_are_refused() -> None:
    with pytest.raises(TypeError, match="x must be an array of the emulated backend; got ndarray"):
        GPU.affine(np.zeros(3), 1.0, 0.0, GPU.empty((3,), np.float64))


def test_a_step_that_waits_is_not_captured() -> None:
    own = GPU.isolated()
    x = own.zeros((1,), np.float32)
    for wait in (lambda: own.read(x), own.synchronize, lambda: float(x[0])):
        calls: list[int] = []

        def step(wait: Any = wait, calls: list[int] = calls) -> None:
            calls.append(1)
            if len(calls) > 1:
                wait()

        program = own.program(step)
        program.run(1)
        with pytest.warns(UserWarning, match="a step that is captured cannot"):
            program.run(2)
        assert len(calls) == 4  # in the capture, and performed
    GPU.synchronize()


def test_upload_keeps_what_is_there_and_takes_what_comes() -> None:
    x = GPU.upload(np.arange(6).reshape(2, 3).T)
    assert GPU.owns(x) and not GPU.owns(np.zeros(1)) and x.flags.c_contiguous
    assert np.shares_memory(GPU.upload(x), x)
    np.testing.assert_array_equal(GPU.read(x), np.arange(6).reshape(2, 3).T)

    class Foreign:
        """An array of another library, in host memory."""

        def __init__(self) -> None:
            self.array = np.arange(3.0)

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__()

        def __dlpack_device__(self) -> Any:
            return self.array.__dlpack_device__()

    assert GPU.read(GPU.upload(Foreign())).tolist() == [0, 1, 2]
