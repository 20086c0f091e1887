"""Time each operation of the backend contract on the workloads' shapes, compared with its bound.

    python -m benchmarks.race.operations BACKEND ROUNDS

Every call in a step of a workload is repeated separately, as the backend's program
repeats it. Its arrays stay in the cache that they fit into, and so does the copy whose speed
gives the bound. The bound of a product is the speed of a large one. Prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from benchmarks.common.workloads import ALL_WORKLOADS, WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn import Model, Sequential, layers, ops, optimizers
from gpunn.apps.roofline.cpu import measure_cpu
from gpunn.backends import get_backend
from gpunn.backends.contract import OpCall
from gpunn.backends.contract.backend import Backend
from gpunn.backends.contract.control import POSITION, Control
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import find_gpu
from gpunn.losses import SparseCategoricalCrossentropy

ROWS = 2_048
SAMPLE_SECONDS = 0.004
# Additional programs cover the operations that no workload uses.
CLIPPED = "W2 with clipped gradients and a second metric"
PRODUCTS = ("matmul", "batched_matmul", "convolution", "convolution_gradient")
IMAGES = "images with channels first"
BESIDE = ("swap_axes", "crop_or_pad", "average_pooling", "average_pooling_gradient")
PREDICTED = "predicting 32 images in bytes"
BRANCHED = "W2 with normalization, noise and branches, by Lamb"
AROUND = (
    "batch_statistics", "normalize", "normalize_gradient", "layer_norm", "layer_norm_gradient",
    "normal_noise", "copy_columns", "batched_matmul", "attention", "attention_gradient",
    "regularize",
    "constrain", "schedule", "accumulate_gradients", "step_by_norms", "average_weights",
    "expression",
)  # fmt: skip
TABLED = "rows of a table by pixels"
BETWEEN_PROCESSES = {"sum_over_ranks"}  # timed by several of them
ROWS_BY_PLACES = ("check_range", "take_rows", "scatter_rows")


# An operation, a function that repeats it, and the control block that it reads.
Call = tuple[ProfiledOperation, Callable[[Backend], None], Control | None]


@contextmanager
def profiled(backend: Backend) -> Iterator[list[Call]]:
    """Yield the list of the block's calls to the backend; complete when the block ends."""
    found: list[Call] = []
    profile = backend.profile()
    with profile:
        yield found
    for operation, (method, given) in zip(profile.operations, profile.calls, strict=True):
        again = partial(_repeat, method.__name__, given)
        found.append((operation, again, getattr(given, "control", None)))


def _repeat(name: str, given: OpCall, backend: Backend) -> None:
    getattr(backend, name)(given)


def cases(backend: str) -> Iterator[tuple[str, list[Call]]]:
    """Yield the calls of a step of each workload, and of the additional programs."""
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (ROWS, 28, 28), np.uint8)
    y = random.integers(0, 10, ROWS).astype(np.uint8)

    def step(workload: str, **options: Any) -> list[Call]:
        work = ALL_WORKLOADS[workload]
        model = network(work, backend, **options)
        with profiled(model.backend) as calls:
            model.fit(x, y, batch_size=work["batch"], steps_per_epoch=1, verbose=0)
        return calls

    for workload in ALL_WORKLOADS:
        yield workload, step(workload)
    calls = step("W2", global_clipnorm=1.0, metrics=["sparse_categorical_crossentropy"])
    yield CLIPPED, [c for c in calls if c[0].name in ("clip_gradients", "metric")]
    first = {"data_format": "channels_first"}
    model = Sequential(
        [
            layers.Input((28, 28)), layers.Reshape((1, 28, 28)),
            layers.Conv2D(8, 3, activation="relu", **first), layers.ZeroPadding2D(**first),
            layers.AveragePooling2D(**first), layers.Flatten(), layers.Dense(10),
        ],
        backend=backend,
    )  # fmt: skip
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True))
    with profiled(model.backend) as calls:
        model.fit(x / np.float32(255), y, batch_size=32, steps_per_epoch=1, verbose=0)
    yield IMAGES, [c for c in calls if c[0].name in BESIDE]
    model = branched(backend)
    with profiled(model.backend) as calls:
        model.fit(x, y, batch_size=32, steps_per_epoch=1, verbose=0)
    yield BRANCHED, [c for c in calls if c[0].name in AROUND]
    model = tabled(backend)
    with profiled(model.backend) as calls:
        model.fit(x, y, batch_size=32, steps_per_epoch=1, verbose=0)
    yield TABLED, [c for c in calls if c[0].name in ROWS_BY_PLACES]
    model = network(WORKLOADS["W2"], backend)
    with profiled(model.backend) as calls:
        model.predict_on_batch(x[:32])
    yield PREDICTED, [c for c in calls if c[0].name == "affine"][:1]


def _attended(x: Any) -> Any:
    """Return attention among eight parts of each row, composed, and then of all parts in blocks."""
    parts, bias = ops.reshape(x, (-1, 8, 1, x.shape[-1] // 8)), np.zeros((1, 1, 1, 1), np.float32)
    steps = ops.reshape(ops.dot_product_attention(parts, parts, parts, bias), (1, -1, 1, 8))
    return ops.reshape(ops.dot_product_attention(steps, steps, steps), x.shape)


def branched(backend: str) -> Model:
    """Return W2's network with the layers that no workload has, and all end-of-step options."""
    inputs = layers.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dense(128, kernel_regularizer="l2", kernel_constraint="max_norm")(x)
    x = layers.PReLU()(layers.BatchNormalization()(x))
    noisy = layers.GaussianNoise(0.1)(layers.LayerNormalization()(x))
    x = layers.Concatenate()([layers.Multiply()([x, noisy]), x])
    x = layers.Lambda(lambda t: t * ops.sigmoid(t))(x)
    x = layers.Lambda(_attended)(x)
    model = Model(inputs, layers.Dense(10)(x), backend=backend)
    rate = optimizers.schedules.CosineDecay(0.001, 10_000)
    model.compile(
        optimizers.Lamb(rate, gradient_accumulation_steps=2, use_ema=True),
        SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


class Table(layers.Layer):
    """Look up a row of a trainable table for each input number."""

    def build(self, input_shape: Any) -> None:
        self.table = self.add_weight((256, 8))

    def call(self, x: Any) -> Any:  # (batch, n) -> (batch, n, 8)
        return ops.take(self.table, x, axis=0)


def tabled(backend: str) -> Model:
    """Return a network that looks each pixel up in a table."""
    model = Sequential(
        [
            layers.Input((28, 28), dtype="uint8"), layers.Flatten(), Table(), layers.Flatten(),
            layers.Dense(10),
        ],
        backend=backend,
    )  # fmt: skip
    model.compile("sgd", SparseCategoricalCrossentropy(from_logits=True))
    return model


class Timed:
    """One operation of one step."""

    def __init__(
        self,
        name: str,
        backend: Backend,
        operation: ProfiledOperation,
        call: Any,
        control: Control | None,
    ) -> None:
        self.name, self.operation, self.control = name, operation, control
        self.backend = backend.isolated()
        self.program = self.backend.program(partial(call, self.backend), True)
        self.samples: list[float] = []
        self._seconds(2)  # traces the operation
        self.times = max(1, min(10_000, int(SAMPLE_SECONDS / self._seconds(3))))

    def _seconds(self, times: int) -> float:
        if self.control is not None:
            self.control.set(POSITION, 0)
        with self.backend.parallel_region():
            self.backend.synchronize()
            started = time.perf_counter()
            self.program.run(times)
            self.backend.synchronize()
            return max(time.perf_counter() - started, 1e-9) / times

    def sample(self) -> None:
        self.samples.append(self._seconds(self.times))

    def entry(self, bound: float | None) -> dict[str, Any]:
        profiled = asdict(self.operation)
        return {
            "in": self.name, "operation": profiled.pop("name"), **profiled,
            "samples": self.samples, "bound": bound,
        }  # fmt: skip


def main(backend: str, rounds: int) -> dict[str, Any]:
    timed = [
        Timed(name, get_backend(backend), *call) for name, calls in cases(backend) for call in calls
    ]
    for _ in range(rounds):
        for one in timed:
            one.sample()
    if backend == "cupy":
        import cupy

        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        gpu = find_gpu(properties["name"].decode())

        def bound(operation: ProfiledOperation) -> float | None:
            if gpu is None:
                return None
            rate = max(gpu.l2_bandwidth if operation.bytes <= gpu.l2 else 0.0, gpu.bandwidth)
            work = roofline.operation_seconds(operation, gpu, rate)
            return work + operation.launches * gpu.kernel

        rates: dict[str, Any] = {"card": gpu.name if gpu else None}
    else:
        cpu = measure_cpu()

        def bound(operation: ProfiledOperation) -> float | None:
            flops = operation.flops if operation.name in PRODUCTS else 0
            return max(operation.bytes / cpu.bandwidth(operation.bytes), flops / cpu.product_all)

        rates = asdict(cpu)
    return {
        "rates": rates,
        "operations": [one.entry(bound(one.operation)) for one in timed],
        "contract": sorted(get_backend(backend).operations.keys() - BETWEEN_PROCESSES),
    }


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
