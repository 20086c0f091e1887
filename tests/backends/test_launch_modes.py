"""The launch modes, compared with NumPy, with each other and with the rule that chooses one."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import digit_networks as digits
import emulated
import kernel_resources
import numpy as np
import pytest

import gpunn
from benchmarks import RESULTS
from benchmarks.common.workloads import WORKLOADS
from benchmarks.contestants.gpunn_fit import network as network_of
from benchmarks.gpu import kernel_table, nvrtc
from gpunn import layers, losses, optimizers
from gpunn.backends.contract.control import Control
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.driver.nvrtc import CompileError
from gpunn.backends.cupy.launch.codegen import RESIDENT_BLOCKS, Kernel, PartCall, Stage
from gpunn.backends.cupy.launch.known_gpus import GPU, known_gpu
from gpunn.backends.cupy.launch.known_gpus import GPUS as KNOWN
from gpunn.backends.cupy.launch.modes import (
    LAUNCH_SECONDS,
    PERSISTENT_BATCH,
    PERSISTENT_WIDTH,
)
from gpunn.backends.cupy.launch.roofline import persistent_step_seconds
from gpunn.backends.shared.precision import PRECISIONS

MODES = ("fused", "persistent")
STEPS = 100
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}
SPARSE = losses.SparseCategoricalCrossentropy
H200 = known_gpu("H200")
GPUS = {mode: emulated.make_backend(mode) for mode in ("plain", *MODES)}


Hidden = Callable[[], list[Any]]


def network(backend: Any, hidden: Hidden, dtype: str, inputs: int = 20, **compiled: Any) -> Any:
    """A network for ten classes, with the same weights each time."""
    gpunn.utils.set_random_seed(3)
    chain = [layers.Input((inputs,)), layers.Rescaling(1 / 255), *hidden()]
    output = compiled.pop("output", "softmax")
    model = gpunn.Sequential(
        [*chain, layers.Dense(10, activation=output)], dtype=dtype, backend=backend
    )
    options = {"optimizer": "sgd", "loss": SPARSE(), "metrics": ["accuracy"], **compiled}
    model.compile(**options)
    return model


def classic(backend: Any, dtype: str, inputs: int = 20) -> Any:
    return network(
        backend, lambda: [layers.Dense(128, activation="relu"), layers.Dropout(0.2)], dtype, inputs,
        optimizer="adam",
    )  # fmt: skip


def two_layers(backend: Any, dtype: str, inputs: int = 20) -> Any:
    return network(
        backend, lambda: [layers.Dense(16, activation="relu") for _ in range(2)], dtype, inputs
    )


def data(model: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (rows, *model.input_shape[1:]), dtype=np.uint8)
    y = (x[:, :10].astype(np.int64) * np.arange(1, 11)).sum(1) % 10
    sparse = model._trainer.terms[0].loss.sparse
    return x, y if sparse else np.eye(10, dtype=model.dtype)[y]


def train(model: Any, rows: int, batch: int, epochs: int, **options: Any) -> dict[str, np.ndarray]:
    """Train, and return the resulting state."""
    x, y = data(model, rows)
    history = model.fit(x, y, batch_size=batch, epochs=epochs, verbose=0, **options).history
    arrays = {f"weights {i}": w for i, w in enumerate(model.get_weights())}
    return {**arrays, **{key: np.array(value) for key, value in history.items()}}


def assert_close(a: dict[str, np.ndarray], b: dict[str, np.ndarray], dtype: str) -> None:
    assert a.keys() == b.keys()
    for name, expected in a.items():
        difference = np.linalg.norm(np.subtract(b[name], expected, dtype=np.float64))
        assert difference <= TOLERANCE[dtype] * np.linalg.norm(expected), name


def assert_same_bits(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name, expected in a.items():
        np.testing.assert_array_equal(b[name], expected, err_msg=name)


# -- the same training as NumPy's


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("make", "inputs", "rows", "batch"),
    [(two_layers, 784, 196, 10), (classic, 40, 620, 32)],
    ids=["784-16-16-10, SGD", "40-128-dropout-10, Adam"],
)
def test_training_is_that_of_numpy(
    make: Callable[..., Any], inputs: int, rows: int, batch: int, mode: str, dtype: str
) -> None:
    """A hundred steps, with a ragged batch at the end of each epoch."""
    epochs = STEPS // -(-rows // batch)
    assert rows % batch and epochs * -(-rows // batch) == STEPS
    host, gpu = (
        train(make(backend, dtype, inputs), rows, batch, epochs)
        for backend in ("numpy", GPUS[mode])
    )
    assert_close(host, gpu, dtype)


def test_the_multiprocessors_of_a_gpu_do_not_change_a_bit() -> None:
    """A block of a GTX 1060, GTX 1650, GTX 1080 or RTX 3060 computes 4, 3 or 2 rows at once."""
    host = train(classic("numpy", "float32"), 44, 32, 1)
    found = []
    for multiprocessors in (10, 14, 20, 28, 32):
        gpu: Any = emulated.make_backend("persistent")
        gpu.kernels.blocks = multiprocessors
        found.append(train(classic(gpu, "float32"), 44, 32, 1))
        assert_close(host, found[-1], "float32")
    for other in found[1:]:
        assert_same_bits(found[0], other)


def frozen(backend: Any, dtype: str) -> Any:
    """A network of two layers, the first of which is not trained."""
    return network(
        backend,
        lambda: [
            layers.Dense(12, activation="sigmoid", trainable=False),
            layers.Dense(12, activation="relu"),
        ],
        dtype,
    )


def rowwise(backend: Any, dtype: str) -> Any:
    return network(
        backend,
        lambda: [
            layers.Dense(12, use_bias=False), layers.Activation("softmax"), layers.Dropout(0.3)
        ],
        dtype,
    )  # fmt: skip


def optimized(optimizer: Any) -> Callable[..., Any]:
    return lambda backend, dtype: network(
        backend, lambda: [layers.Dense(12, activation="tanh", learning_rate_multiplier=0.5)], dtype,
        optimizer=type(optimizer).from_config(optimizer.get_config()),
    )  # fmt: skip


def lost(loss: Any, output: str, *metrics: Any) -> Callable[..., Any]:
    return lambda backend, dtype: network(
        backend, lambda: [layers.Dense(12, activation="tanh")], dtype,
        loss=loss, output=output, metrics=list(metrics),
    )  # fmt: skip


SGD, ADAM = optimizers.SGD, optimizers.Adam
NETWORKS: dict[str, Callable[..., Any]] = {
    "a frozen layer": frozen,
    "row activation": rowwise,
    "momentum, clipped together": optimized(SGD(0.1, 0.9, True, global_clipnorm=0.1)),
    "clipped one by one": optimized(SGD(0.1, clipnorm=0.05, weight_decay=0.01)),
    "amsgrad, clipped values": optimized(ADAM(0.01, amsgrad=True, clipvalue=0.01)),
    "accumulated, steps by norms": optimized(
        optimizers.Lamb(0.01, weight_decay=0.1, gradient_accumulation_steps=2)
    ),
    "accumulated, clipped, averaged": optimized(
        optimizers.Nadam(
            0.01, clipnorm=0.05, gradient_accumulation_steps=3, loss_scale_factor=256.0,
            use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2,
        )
    ),
    "mean squared error": lost(losses.MeanSquaredError(), "linear"),
    "half squared error": lost(losses.HalfSquaredError(), "tanh"),
    "binary crossentropy": lost(
        losses.BinaryCrossentropy(label_smoothing=0.1), "sigmoid", "binary_accuracy"
    ),
    "probabilities": lost(losses.CategoricalCrossentropy(), "sigmoid", "accuracy"),
    "categorical crossentropy": lost(
        losses.CategoricalCrossentropy(), "softmax", "accuracy", "mean_squared_error",
        "binary_accuracy",
    ),
    "logits, metrics of their own": lost(
        SPARSE(from_logits=True), "linear", "accuracy", "sparse_categorical_crossentropy"
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The metric .* reads softmax:UserWarning")
@pytest.mark.parametrize(
    ("name", "mode"),
    [  # each run has every network in one mode, in turn
        pytest.param(name, mode, marks=[pytest.mark.more] if (i + k) % len(MODES) else [])
        for (i, name), (k, mode) in itertools.product(enumerate(NETWORKS), enumerate(MODES))
    ],
)
def test_every_kind_of_step_is_that_of_numpy(name: str, mode: str) -> None:
    make = NETWORKS[name]
    host, gpu = (train(make(b, "float32"), 39, 8, 4) for b in ("numpy", GPUS[mode]))
    assert all(np.isfinite(value).all() for value in host.values())
    assert_close(host, gpu, "float32")


@pytest.mark.parametrize("mode", MODES)
def test_weighted_steps_are_those_of_numpy(mode: str) -> None:
    results = [
        train(classic(b, "float64"), 39, 8, 3, sample_weight=np.linspace(0.5, 1.5, 39))
        for b in ("numpy", GPUS[mode])
    ]
    assert_close(results[0], results[1], "float64")


@pytest.mark.parametrize(
    ("mode", "reduction", "weighted"),
    [
        ("fused", "mean_with_sample_weight", True), ("persistent", "sum_over_batch_size", False),
        ("fused", "sum", True), ("persistent", "mean_with_sample_weight", False),
    ],
)  # fmt: skip
def test_steps_of_masked_sequences_are_those_of_numpy(
    mode: str, reduction: str, weighted: bool
) -> None:
    codes = np.random.default_rng(5).integers(0, 4, (14, 5))
    weights = {"sample_weight": np.linspace(0.5, 1.5, 14)} if weighted else {}
    found = []
    for backend in ("numpy", GPUS[mode]):
        gpunn.utils.set_random_seed(4)
        model = gpunn.Sequential(
            [
                layers.Input((5,), dtype="int32"), layers.Embedding(4, 3, mask_zero=True),
                layers.Dense(4, "softmax"),
            ],
            backend=backend,
        )  # fmt: skip
        model.compile("sgd", SPARSE(reduction=reduction), weighted_metrics=["accuracy"])
        history = model.fit(codes, codes, batch_size=4, epochs=2, verbose=0, **weights).history
        found.append([*model.get_weights(), *map(np.array, history.values())])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_batches_that_the_host_brings(mode: str) -> None:
    results = []
    for backend in ("numpy", GPUS[mode]):
        model = two_layers(backend, "float64")
        x, y = data(model, 40)
        losses_ = [model.train_on_batch(x[i : i + 8], y[i : i + 8])[0] for i in range(0, 40, 8)]
        arrays = {f"weights {i}": w for i, w in enumerate(model.get_weights())}
        results.append({**arrays, "losses": np.array(losses_)})
    assert_close(results[0], results[1], "float64")


# -- the modes give the same bits


def stepped(mode: str, *runs: int) -> dict[str, np.ndarray]:
    """Return the state after these steps, run in the given portions."""
    model = classic(GPUS[mode], "float32")
    rows = gpunn.feeding.data.to_rows(model._trainer.spec, *data(model, 32 * 70))
    program = model._trainer.training.program(32, rows, rows.order(model._trainer.seed))
    for steps in runs:
        program.run(steps)
    arrays = {f"weights {i}": w for i, w in enumerate(model.get_weights())}
    return {**arrays, "totals": model.backend.read(model._trainer.training.totals)}


@pytest.mark.parametrize("mode", MODES)
def test_steps_in_any_portions_give_the_same_bits(mode: str) -> None:
    assert_same_bits(stepped(mode, 1, 1, 35), stepped(mode, 37))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_give_the_same_bits(mode: str) -> None:
    program = "784-128-dropout-10, Adam"
    train = f"import gpu_programs; print(gpu_programs.trained('emulated', {program!r}))"
    paths = os.pathsep.join(sys.path)
    outputs = {
        subprocess.run(
            [sys.executable, "-c", train],
            env={**os.environ, "GPUNN_LAUNCH_MODE": mode, "PYTHONPATH": paths},
            capture_output=True, text=True, check=True,
        ).stdout
        for _ in range(2)
    }  # fmt: skip
    assert len(outputs) == 1 and outputs.pop()


@pytest.mark.parametrize("mode", MODES)
def test_the_order_of_threads_makes_no_difference(mode: str) -> None:
    results = []
    for order in range(4):
        gpu = emulated.make_backend(mode)
        gpu.kernels = emulated.EmulatedKernels(orders=(order,))
        gpu.kernels.blocks = 3
        results.append(train(classic(gpu, "float32"), 70, 32, 1))
    for other in results[1:]:
        assert_same_bits(results[0], other)


# -- the chosen mode, and the number of launches


def program_of(backend: Any, hidden: list[Any], batch: int = 32, **options: Any) -> Any:
    """Return the program of such a network, after one step."""
    model = network(backend, lambda: hidden, "float32", **options)
    return digits.program(model, *data(model, batch), batch)


def program_of_classic(gpu: Any) -> Any:
    """Return the program of 784-128-dropout-10 with Adam."""
    x, y = np.zeros((32, 784), np.float32), np.zeros(32, np.int32)
    return digits.program(classic(gpu, "float32", 784), x, y, 32)


class Own(layers.Layer):
    """A layer from outside the framework: it may read its arrays."""

    def forward(self, call: Any) -> None:
        call.backend.xp.negative(call.x, out=call.y)

    def backward(self, call: Any) -> None:
        call.backend.xp.negative(call.dy, out=call.dx)


class OfBits(layers.Layer):
    """No operation computes with the bits of integers."""

    def call(self, x: Any) -> Any:
        bits = gpunn.ops.bitwise_xor(gpunn.ops.cast(x, "int32"), 3)
        return x + gpunn.ops.cast(bits, x.dtype)


def test_the_rule() -> None:
    gpu = dry.make_backend(H200)
    narrow, wide = layers.Dense(PERSISTENT_WIDTH), layers.Dense(PERSISTENT_WIDTH + 1)
    assert program_of(gpu, [narrow]).mode == "persistent"
    assert program_of(gpu, [narrow], PERSISTENT_BATCH).mode == "persistent"
    for hidden, batch in (([wide], 32), ([narrow], PERSISTENT_BATCH + 1)):
        assert program_of(gpu, hidden, batch).mode == "fused"
    slow = layers.Dense(3, activation=gpunn.activations.Softmax(axis=0))
    for layer in (slow, Own()):
        assert program_of(gpu, [layer]).mode == "plain"
    assert program_of(dry.make_backend(), [narrow]).mode == "fused"
    for precision in PRECISIONS:  # to which products may round: no step gets slower by that
        assert program_of(gpu, [narrow], matmul_precision=precision).mode == "persistent"


def image_means(backend: Any) -> Any:
    """A convolution of few filters, whose kernel has 288 weights and a gradient from each pixel."""
    stack = [
        layers.Input((28, 28, 1)), layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.GlobalAveragePooling2D(), layers.Dense(10, activation="softmax"),
    ]  # fmt: skip
    model = gpunn.Sequential(stack, backend=backend)
    model.compile("adam", SPARSE())
    return model


def images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((rows, 28, 28, 1), np.float32), np.zeros(rows, np.int32)


def test_sums_over_many_rows_are_left_to_the_library() -> None:
    """A persistent kernel's thread would add up 100,352 products for each of 288 weights."""
    steps = layers.Dense(8, activation="relu")
    for gpu in KNOWN:
        model = image_means(dry.make_backend(gpu))
        assert digits.program(model, *images(128), 128).mode == "fused"
        model = gpunn.Sequential([layers.Input((500, 3)), steps], backend=dry.make_backend(gpu))
        model.compile("sgd", "mse")
        x, y = np.zeros((64, 500, 3), np.float32), np.zeros((64, 500, 8), np.float32)
        assert digits.program(model, x, y, 64).mode == "fused"


def test_no_launch_takes_longer_than_a_display_can_wait() -> None:
    for known in KNOWN:
        gpu: Any = dry.make_backend(known)
        gpu.launch_mode = "persistent"
        model = image_means(gpu)
        operations = digits.profiled(model, *images(128), 128)
        program = digits.program(model, *images(128), 128)
        step = persistent_step_seconds(operations, known, 128)
        assert 1 <= program.steps_per_launch <= LAUNCH_SECONDS / step


@pytest.mark.parametrize("gpu", KNOWN, ids=lambda gpu: gpu.name)
def test_a_gpu_takes_the_mode_that_the_page_predicts_to_be_faster(gpu: GPU) -> None:
    page = json.loads((RESULTS / "roofline.json").read_text())
    for name, work in WORKLOADS.items():
        times = page["predicted"]["workloads"][name]["cards"][gpu.name]
        possible = [mode for mode in MODES if times[mode] is not None]
        model, batch = network_of(work, dry.make_backend(gpu)), work["batch"]
        faster = min(possible, key=times.__getitem__)
        assert digits.program(model, *digits.digits(batch), batch).mode == faster


def test_the_faster_mode_differs_between_gpus() -> None:
    """In 784-128-dropout-10 with Adam each block of a GTX 1060 would read all weights again."""
    modes = {
        name: program_of_classic(dry.make_backend(known_gpu(name))).mode
        for name in ("GTX 1060 6GB", "RTX 2060", "RTX 4090", "H200")
    }
    assert modes == {
        "GTX 1060 6GB": "fused", "RTX 2060": "fused", "RTX 4090": "persistent",
        "H200": "persistent",
    }  # fmt: skip


def test_a_resumed_training_keeps_its_mode(tmp_path: Path) -> None:
    """Though another is predicted to be faster: its bits are those of an uninterrupted one."""

    def trained(*epochs: tuple[str | None, int]) -> dict[str, np.ndarray]:
        for mode, epoch in epochs:
            gpu = emulated.make_backend("plain")
            gpu.launch_mode = mode
            model, backup = classic(gpu, "float32"), tmp_path / "-".join(map(str, epochs))
            callback = gpunn.callbacks.BackupAndRestore(backup, delete_checkpoint=False)
            result = train(model, 44, 16, epoch, callbacks=[callback])
        return result

    persistent = trained(("persistent", 2))
    assert_same_bits(persistent, trained((None, 2)))  # predicted to be faster
    fused = trained(("fused", 2))
    assert any((fused[name] != persistent[name]).any() for name in fused)
    assert_same_bits(fused, trained(("fused", 1), (None, 2)))


def test_a_resumed_training_says_if_its_mode_is_impossible(tmp_path: Path) -> None:
    backup = gpunn.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    train(two_layers(dry.make_backend(H200), "float32"), 32, 16, 1, callbacks=[backup])
    other = two_layers(dry.make_backend(), "float32")
    with pytest.warns(UserWarning, match="in the mode 'persistent' so far, in which this GPU"):
        train(other, 32, 16, 2, callbacks=[backup])
    assert digits.program(other, *data(other, 16), 16).mode == "fused"


def test_a_launch_is_short_on_the_slowest_gpu() -> None:
    """32 rows through 784-128-10 take 13 million operations: 6.6 ms on one multiprocessor at 2e9 a
    second. Two blocks, each with one of the 32 rows or more, share one. A launch may take 25 ms."""
    for resident, steps in ((1, 3), (2, 3), (4, 7), (1000, 61)):
        gpu = dry.make_backend(H200)
        gpu.kernels.resident = resident
        assert program_of_classic(gpu).steps_per_launch == steps


@pytest.mark.parametrize(
    ("mode", "hidden", "why"),
    [
        ("fused", [Own()], "it has a custom layer or formula"),
        ("persistent", [layers.Flatten(), OfBits(), layers.Dense(4)],
         "it calls the array function xp.bitwise_xor"),
        ("persistent", [layers.Dense(3 + i) for i in range(40)], "a kernel can have 4,096"),
    ],
)  # fmt: skip
def test_a_mode_that_is_impossible_says_why(mode: str, hidden: list[Any], why: str) -> None:
    gpu = dry.make_backend(H200)
    gpu.launch_mode = mode
    with pytest.raises(RuntimeError, match=f"mode '{mode}' .GPUNN_LAUNCH_MODE.: .*{why}"):
        program_of(gpu, hidden)


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_LAUNCH_MODE", "top")
    with pytest.raises(ValueError, match="one of plain, fused, persistent; got 'top'"):
        emulated.make_backend()


def test_a_launch_ends_before_anybody_notices() -> None:
    """A launch has as many steps as the slowest GPU does in a moment; no step is lost."""
    gpu: Any = dry.make_backend(H200)
    gpu.kernels.resident = 1
    asked: list[int] = []

    def prepare(kernel: Kernel) -> Any:
        assert kernel.parameters[-1].name == "steps"
        return lambda grid, block, arguments: asked.append(arguments[-1])

    gpu.kernels.prepare = prepare
    program = program_of(gpu, [layers.Dense(100)], inputs=784)
    assert asked == [1]
    asked.clear()
    program.run(100)
    assert sum(asked) == 100 and len(asked) > 1
    flops = 2 * 32 * (2 * 784 * 100 + 3 * 100 * 10)
    assert max(asked) == int(0.025 * 2e9 / flops)  # for a single multiprocessor


def test_a_kernel_has_the_counters_of_several_trainings() -> None:
    """Each of its blocks has a copy of each: as of a step with two optimizers."""
    gpu: Any = emulated.make_backend("persistent").isolated()
    one, other = Control(gpu), Control(gpu)
    totals = gpu.zeros((3,), np.float64)
    gpu.program(lambda: gpu.advance(one, 5, totals), True).run(3)
    assert gpu.read(one.counters)[:4].tolist() == [3, 3, 0, 15]

    def both() -> None:
        gpu.advance(one, 5, totals)
        gpu.advance(other, 2, totals)

    program = gpu.program(both, True)
    program.run(4)
    assert program.mode == "persistent"
    assert gpu.read(one.counters)[:4].tolist() == [7, 7, 0, 35]
    assert gpu.read(other.counters)[:4].tolist() == [4, 4, 0, 8]


def test_the_phases_of_the_classic_step() -> None:
    model = digits.classic(dry.make_backend(H200))
    (kernel,) = digits.program(model, *digits.digits(80), 32).kernels
    assert [stage.name for stage in kernel.stages] == [
        "rows", "barrier", "grid", "blocks", "once", "barrier", "each",
    ]  # fmt: skip
    assert [call.part for call in kernel.stages[-1].calls] == ["advance"]


# -- the limit on a kernel's parameters


def constrained(backend: Any) -> Any:
    """A network with 120 constraints, whose arguments exceed the limit of older GPUs."""
    most = gpunn.constraints.MaxNorm(0.5)
    return network(
        backend,
        lambda: [layers.Dense(4, kernel_constraint=most, bias_constraint=most) for _ in range(60)],
        "float32",
    )


def test_a_launch_takes_no_more_than_its_parameters_have_room_for() -> None:
    host, gpu = (train(constrained(backend), 16, 8, 2) for backend in ("numpy", GPUS["fused"]))
    assert_close(host, gpu, "float32")


def test_what_a_launch_does_not_take_is_left_to_another() -> None:
    """Constraints have 40 bytes of parameters each, and `advance` 32 bytes; the limit is 4,096."""
    model = constrained(dry.make_backend())
    program = digits.program(model, *data(model, 8), 8)
    counts = [
        sum(task.name == "constrain_norms" for task in launch.tasks) for launch in program.launches
    ]
    assert sorted(count for count in counts if count) == [19, 101]


def test_the_compiler_agrees_with_what_a_kernel_has_room_for() -> None:
    """A kernel with as many parameters as fit compiles for an older GPU; one more part does not."""

    def compiled(calls: int) -> None:
        call = PartCall("constrain_norms", ("float",))
        kernel = Kernel((Stage("blocks", (call,) * calls),))
        assert kernel.fits == (calls <= 102)
        given = ", ".join(f"{p.type}{'*' * p.pointer} {p.name}" for p in kernel.parameters)
        text = f'typedef long long int64;\nextern "C" __global__ void empty({given}) {{}}'
        nvrtc.compile_kernels(text, min(kernel_table.ARCHITECTURES), ["empty"])

    compiled(102)
    with pytest.raises(CompileError, match="Formal parameter space overflowed"):
        compiled(103)


# -- compiling the compositions


# Each run compiles them for the oldest and the newest GPU.
@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(a, marks=[pytest.mark.more] if i % (len(known) - 1) else [])
        for known in [kernel_table.ARCHITECTURES]
        for i, a in enumerate(known)
    ],
)
@pytest.mark.parametrize("gpu", [None, H200], ids=MODES)
def test_compositions_compile_without_spills(gpu: GPU | None, architecture: int) -> None:
    model = digits.classic(dry.make_backend(gpu))
    kernels = digits.program(model, *digits.digits(80), 32).kernels
    assert any(len(kernel.calls) > 1 for kernel in kernels)
    for kernel in kernels:
        used = nvrtc.compile_kernels(kernel.text, architecture, [kernel.name])
        kernel_resources.check(used, RESIDENT_BLOCKS if kernel.repeats else 1)
