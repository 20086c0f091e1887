"""The operations that a training step performs, and their launches on a GPU."""

from __future__ import annotations

from collections import Counter
from typing import Any

import emulated
import numpy as np
import pytest
import registered_networks as parity
from digit_networks import (
    PROGRAMS,
    classic,
    digits,
    profiled,
    program,
    program_2,
)

import gpunn
from gpunn import layers
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.backend import CupyBackend
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch.codegen import Kernel
from gpunn.backends.cupy.launch.known_gpus import GPUS


class Idle(emulated.EmulatedKernels):
    """Kernels that are requested but not compiled, on a GPU of the size that a profile without one
    assumes; their blocks cannot wait for each other."""

    blocks, gpu = (getattr(dry.make_backend().kernels, name) for name in ("blocks", "gpu"))
    resident = 0

    def prepare(self, kernel: Kernel) -> Any:
        return lambda grid, block, arguments: emulated.STREAM.perform(lambda: None)


class Zeros(emulated.ArrayModule):
    """Allocate zeros: array functions index by labels, which are never gathered here."""

    def empty(self, shape: Any, dtype: Any = np.float64) -> Any:
        return self.zeros(shape, dtype)


OPERATIONS = 17  # in a step of 784-128-dropout-10 with Adam
GPU = CupyBackend(Zeros(), Idle(), emulated.Products(), emulated.STREAM, "emulated")
CLASSIC = 5  # its number of launches
# Whose attention, one operation, is several array functions on a GPU; which compares integers.
BY_ARRAYS = ("GroupQueryAttention", "MultiHeadAttention", "Circle")


def streamed(model: Any, x: np.ndarray, y: Any, batch: int) -> int:
    """Return the number of stream calls while a step is captured."""
    made = program(model, x, y, batch)
    emulated.STREAM.asked = 0
    made.run(1)
    return emulated.STREAM.asked


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_the_operations_of_program_2(backend: str) -> None:
    operations = profiled(program_2(backend=backend), *digits(80), 32)
    assert [(operation.name, operation.formula) for operation in operations] == [
        ("gather", ""),  # images, scaled
        ("gather", ""),  # labels
        ("matmul", ""),
        ("bias_activation", "Relu"),
        ("dropout", ""),
        ("matmul", ""),
        ("bias_activation", "Linear"),
        ("loss", "SparseCategoricalCrossentropy"),
        ("matmul", ""),  # of the last layer: its kernel,
        ("column_sums", ""),  # its bias,
        ("matmul", ""),  # and its input
        ("dropout_gradient", ""),
        ("activation_gradient", "Relu"),
        ("matmul", ""),  # of the first layer: no input
        ("column_sums", ""),
        ("update", "Adam"),
        ("advance", ""),
    ]
    products = [operation for operation in operations if operation.name == "matmul"]
    assert [operation.flops for operation in products] == [
        2 * 32 * 784 * 128,
        2 * 32 * 128 * 10,
        2 * 32 * 128 * 10,
        2 * 32 * 128 * 10,
        2 * 32 * 784 * 128,
    ]


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_number_of_operations_does_not_depend_on_the_batch(name: str, backend: str) -> None:
    make, _ = PROGRAMS[name]
    model = make(backend=backend)
    few, many = (
        [operation.name for operation in profiled(model, *digits(4 * batch), batch)]
        for batch in (2, 257)
    )
    assert few == many
    assert Counter(few)["update"] == 1


def test_the_classic_step_is_five_launches() -> None:
    assert streamed(classic(GPU), *digits(80), 32) == CLASSIC
    operations = profiled(classic(GPU), *digits(80), 32)
    assert len(operations) == OPERATIONS and sum(x.launches for x in operations) == CLASSIC
    assert [x.name for x in operations if x.fused] == [
        "bias_activation", "dropout", "matmul", "bias_activation", "loss", "column_sums", "matmul",
        "dropout_gradient", "activation_gradient", "column_sums", "update", "advance",
    ]  # fmt: skip
    assert operations == step_profile.profile_step(classic("numpy"))


def test_the_classic_step_in_each_mode() -> None:
    for gpu, mode, launches in ((None, "fused", CLASSIC), (GPUS[-1], "persistent", 1)):
        model = classic(dry.make_backend(gpu))
        operations = profiled(model, *digits(80), 32)
        assert len(operations) == OPERATIONS
        assert sum(operation.launches for operation in operations) == launches
        assert all(operation.launches or operation.fused for operation in operations)
        made = program(model, *digits(80), 32)
        assert made.mode == mode and len(made.launches) == launches


@pytest.mark.parametrize("side", [8, 40])
def test_the_gradient_of_an_activation_shares_the_launch_of_pooling(side: int) -> None:
    """Whether a sample fits into a slice or not."""
    hidden: list[Any] = [layers.Conv2D(4, 1, activation="relu", use_bias=False)]
    hidden += [layers.MaxPooling2D(3, 2), layers.Flatten(), layers.Dense(10)]
    stack = [layers.Input((side, side, 1)), *hidden]
    model = gpunn.Sequential(stack, backend=GPU)
    model.compile("sgd", "mse")
    operations = profiled(model, np.zeros((8, side, side, 1)), np.zeros((8, 10)), 4)
    (backward,) = (x for x in operations if x.name == "convolution_gradient")
    assert backward.launches == 1  # the product


def test_more_rows_are_no_more_launches() -> None:
    """Unless they are so many that a product and sums, each alone, add them up between others."""
    assert streamed(classic(GPU), *digits(600), 192) == CLASSIC
    assert streamed(classic(GPU), *digits(3000), 1000) == CLASSIC + 3


def test_a_product_and_an_update_move_and_compute_what_is_written_here() -> None:
    operations = {
        operation.name: operation
        for operation in reversed(profiled(classic("numpy"), *digits(80), 32))
    }
    assert operations["matmul"].flops == 2 * 32 * 784 * 128
    assert operations["matmul"].bytes == 4 * (32 * 784 + 784 * 128 + 32 * 128)
    size = 784 * 128 + 128 + 128 * 10 + 10 + 6  # the last bias ends on a cache line
    assert operations["update"].shapes["m"] == (size,)
    assert operations["update"].bytes == 7 * 4 * size  # gradients are only read


@pytest.mark.parametrize("rows", [64, 1000])
def test_a_gather_moves_its_rows_and_not_the_data_set(rows: int) -> None:
    images, labels = profiled(classic("numpy"), *digits(rows), 32)[:2]
    assert images.shapes == {"source": (32, 28, 28), "out": (32, 28, 28)}
    assert images.bytes == 32 * 28 * 28 * (1 + 4)
    assert images.flops == 32 * 28 * 28
    assert labels.bytes == 32 * (4 + 4)


def test_clipping_touches_the_gradients_alone() -> None:
    model = classic("numpy")
    model.compile(gpunn.optimizers.Adam(global_clipnorm=1.0), model.loss)
    operations = profiled(model, *digits(80), 32)
    clip = next(operation for operation in operations if operation.name == "clip_gradients")
    assert list(clip.shapes) == ["gradients"]
    operations = step_profile.profile_step(model)
    assert next(x for x in operations if x.name == "clip_gradients").launches == 2


@pytest.mark.in_turn(6)
@parity.unusual
@parity.every_case
def test_the_list_without_a_gpu_is_that_of_the_step(kind: str, name: str, arguments: dict) -> None:
    case = ("float32", kind, name, arguments)
    host, gpu = (parity.network(backend, *case) for backend in ("numpy", GPU))
    x, y = parity.data(host)
    listed = step_profile.profile_step(host, parity.BATCH)
    assert listed == profiled(gpu, x, y, parity.BATCH)
    printed = step_profile.table(host, listed).splitlines()
    assert max(map(len, printed)) <= step_profile.WIDTH

    def described(operations: list[ProfiledOperation]) -> list[tuple]:
        return [(x.name, x.formula, x.shapes, x.bytes, x.flops) for x in operations]

    of_host = described(profiled(host, x, y, parity.BATCH))
    kept = 0 if host._trainer.training.undo is None else 2  # a copy to restore after an error
    assert described(listed) == of_host[kept:]
    asked, kernels = streamed(gpu, x, y, parity.BATCH), sum(x.launches for x in listed)
    assert all(x.launches or x.fused for x in listed if x.name.startswith("convolution"))
    by_functions = any(not x.launches and not x.fused for x in listed)
    assert asked >= kernels
    if name not in (*parity.WITH_ARRAY_FUNCTIONS, *BY_ARRAYS):
        assert (asked > kernels) is by_functions


def test_finding_out_computes_nothing() -> None:
    model = classic(dry.make_backend())
    x, y = digits(step_profile.BATCH * 3)
    before = model.get_weights()
    history = model.fit(x, y, epochs=2, verbose=0).history
    assert history["loss"] == [0.0, 0.0]
    assert all(map(np.array_equal, model.get_weights(), before))
