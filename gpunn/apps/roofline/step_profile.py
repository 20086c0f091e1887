"""The profile of a training step: its operations, their launches on a GPU, and its time."""

from __future__ import annotations

import math
import statistics
import textwrap
import time
import warnings
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from gpunn.backends import get_backend, used_within
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract.backend import LAUNCH_MODES, Program
from gpunn.backends.contract.control import POSITION
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.driver.cuda_extra import name_gpus
from gpunn.backends.cupy.driver.gpu import why_not
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import GPUS, find_gpu
from gpunn.backends.cupy.launch.modes import LaunchModeError
from gpunn.backends.shared.order import Order
from gpunn.core.plan import KEPT_SHAPES
from gpunn.feeding.rows import Rows, name_of
from gpunn.layers import Dense, Dropout, Flatten, Input, Rescaling
from gpunn.models import Model, Sequential

from .cpu import cpu_seconds, measure_cpu

BATCH = 32
LENGTH = 32  # of axes that may have any
STEPS = 32  # per sample; fewer if the input would have more than ELEMENTS elements
ELEMENTS = 1 << 24
SAMPLE_SECONDS = 0.02
SAMPLES = 3, 100  # minimum and maximum number of samples
TOO_LONG = 0.1  # seconds: longer steps are not measured
WIDTH = 80


def example() -> Sequential:
    """Return 784-128-dropout-10 with Adam, the classic network for MNIST."""
    model = Sequential(
        [
            Input((28, 28)),
            Rescaling(1 / 255),
            Flatten(),
            Dense(128, activation="relu"),
            Dropout(0.2),
            Dense(10, activation="softmax"),
        ],
        name="784-128-dropout-10",
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def profile_step(model: Model, batch: int = BATCH) -> list[ProfiledOperation]:
    """Return the operations of one training step, with their launches on a GPU; needs no GPU.

    Raises:
        ValueError: if the model is not built and compiled.
    """
    compiled = model.get_compile_config()
    if compiled is None or not model.built:
        raise ValueError(
            f"The model {model.name!r} has no training step, which needs weights, a loss and an "
            f"optimizer. Build and compile the model before you save it."
        )
    copy = copied(model, dry.make_backend())
    program = step_program(copy, batch, 1)
    with copy.backend.profile() as operations, np.errstate(all="ignore"):
        program.run(1)
    return operations


def copied(model: Model, backend: Any) -> Any:
    """Return a copy of the model with new weights."""
    with used_within(backend):  # the constructor of a user's model may not take one
        copy: Any = type(model).from_config(model.get_config())
    if not copy.built:  # it has a call
        copy.build(model.input_shape)
    copy.compile_from_config(model.get_compile_config())
    return copy


def step_program(model: Any, batch: int, steps: int) -> Program:
    """Return the program that `fit` would make, on random data for this number of steps."""
    trainer, backend = model._trainer, model.backend
    objective = _of_known_shapes(trainer)
    spec = objective.spec
    count = batch * steps
    noise = np.random.Generator(np.random.PCG64(0))
    arrays = {}
    for k, (_, shape) in enumerate(spec.inputs):
        if k in objective.plan.folded_rescalings():  # then the input is uint8 pixels
            x = noise.integers(0, 256, (count, *shape), np.uint8)
        else:
            x = noise.random((count, *shape), np.float32).astype(spec.dtype)
        arrays[name_of("x", k)] = backend.upload(x)
    for term in objective.terms:
        dtype = term.target.target_dtype(spec.dtype)
        fill = 0 if np.issubdtype(dtype, np.integer) else 1
        y = np.full((count, *term.target.target_shape), fill, dtype)
        arrays[name_of("y", term.number)] = backend.upload(y)
    rows = Rows(arrays)
    return trainer.training.program(batch, rows, Order(count, trainer.seed))


def _of_known_shapes(trainer: Any) -> Any:
    """Return the objective of a step in which axes of any length have `LENGTH`."""
    shapes = ([LENGTH if n is None else n for n in shape] for _, shape in trainer.spec.inputs)
    return trainer.of(tuple(map(tuple, shapes)))


def measure(
    model: Model, batch: int = BATCH, backend: Any = "numpy", seconds: float = 0.3
) -> list[float]:
    """Measure the seconds of a training step as `fit` performs it, in samples of several steps.

    The model is not changed: a copy is trained on noise.

    Args:
        seconds: duration of the measurement, within `SAMPLES`.
    """
    copy = copied(model, backend)
    trainer = copy._trainer
    inputs = _of_known_shapes(trainer).spec.inputs
    most = ELEMENTS // max(1, batch * sum(math.prod(shape) for _, shape in inputs))
    program = step_program(copy, batch, min(STEPS, max(1, most)))

    def sample(steps: int) -> float:
        trainer.control.set(POSITION, 0)
        copy.backend.synchronize()
        start = time.perf_counter()
        program.run(steps)
        copy.backend.synchronize()
        return (time.perf_counter() - start) / steps

    with copy.backend.parallel_region():
        for _ in range(2):
            sample(1)  # on a GPU the first is performed, the second captured
        steps = max(1, min(STEPS, most, round(SAMPLE_SECONDS / sample(1))))
        sample(steps)
        samples: list[float] = []
        end = time.perf_counter() + seconds
        few, many = SAMPLES
        while len(samples) < few or (len(samples) < many and time.perf_counter() < end):
            samples.append(sample(steps))
    return samples


class OnGpu(NamedTuple):
    """A training step on the GPU of this machine.

    Attributes:
        mode: the launch mode that it takes.
        seconds: of the step in each launch mode that it can take.
        why_eager: why it cannot be captured; None if it can.
    """

    gpu: str
    mode: str
    seconds: dict[str, float]
    why_eager: str | None


def measure_on_gpu(model: Model, batch: int = BATCH) -> OnGpu | None:
    """Measure a training step in each launch mode; return None if there is no usable GPU.

    The model is not changed: copies are trained on noise.
    """
    if not name_gpus() or why_not() is not None:
        return None
    backend: Any = get_backend("cupy")
    asked, seconds = backend.launch_mode, {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reason is returned
        copy = copied(model, backend)
        program: Any = step_program(copy, batch, 2)
        with copy.backend.parallel_region():
            program.run(2)
        try:
            for mode in LAUNCH_MODES:
                backend.launch_mode = mode
                with suppress(LaunchModeError):
                    seconds[mode] = statistics.median(measure(model, batch, backend))
        finally:
            backend.launch_mode = asked
    return OnGpu(backend.kernels.gpu.name, program.mode, seconds, program.why_eager)


def python_seconds(seconds: float = 0.1) -> float:
    """Measure Python's overhead per operation of a step, on arrays of a few elements."""
    model = Sequential(
        [Input((4,)), Dense(4, activation="relu"), Dropout(0.2), Dense(4, activation="softmax")]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    taken = statistics.median(measure(model, 2, "numpy", seconds))
    return taken / len(profile_step(model, 2))


def table(model: Model, operations: list[ProfiledOperation], batch: int = BATCH) -> str:
    """Format the operations in lines of at most 80 columns."""
    kernels = sum(operation.launches for operation in operations)
    title = (
        f"A training step of {model.name}, batch {batch}, {model.dtype}, "
        f"{type(model.optimizer).__name__}: "
        f"{len(operations)} operations, {kernels} launches on a GPU"
    )
    if any(map(_by_arrays, operations)):
        title += ", not counting those of array functions (xp)"
    if any(None in shape for shape in model._plan.input_shapes):  # type: ignore[union-attr]
        title += (
            f". Axes of any length have {LENGTH} here; each shape of a batch has its own program, "
            f"and the last {KEPT_SHAPES} are kept"
        )
    lines = [*textwrap.wrap(title, WIDTH), "", _line("", "operation", "bytes", "flops", "launches")]
    for number, operation in enumerate(operations, 1):
        name = f"{operation.name} {operation.formula}".rstrip()
        begun = operation.launches or ("xp" if _by_arrays(operation) else "-")
        lines.append(_line(str(number), name, operation.bytes, operation.flops, begun))
        shapes = ", ".join(
            f"{key} {'x'.join(map(str, shape)) or '1'}" for key, shape in operation.shapes.items()
        )
        indent = " " * 5
        lines += textwrap.wrap(shapes, WIDTH, initial_indent=indent, subsequent_indent=indent)
    size, flops = (sum(getattr(x, what) for x in operations) for what in ("bytes", "flops"))
    return "\n".join([*lines, _line("", "total", size, flops, kernels)])


def _by_arrays(operation: ProfiledOperation) -> bool:
    """Whether CuPy's array functions perform it on a GPU, without a kernel."""
    return not operation.launches and not operation.fused


def _line(number: str, name: str, size: Any, flops: Any, kernels: Any) -> str:
    figures = (f"{n:,}" if isinstance(n, int) else n for n in (size, flops, kernels))
    cells = (f"{text:>{width}}" for text, width in zip(figures, (13, 15, 9), strict=True))
    start = f"{number:>2} "
    start += name[: 42 - len(start)]
    return f"{start:<42} {''.join(cells)}".rstrip()


def predictions(
    model: Model,
    operations: list[ProfiledOperation],
    batch: int = BATCH,
    on_gpu: OnGpu | None = None,
) -> str:
    """Format the step's time: predicted for known GPUs, as measured on this machine's GPU,
    predicted and measured on this CPU."""
    if model.dtype != "float32":
        return f"The time is predicted only for float32, not for {model.dtype}."
    present = name_gpus()
    own = list(dict.fromkeys(gpu for name in present if (gpu := find_gpu(name))))
    lines = ["Predicted, not measured: microseconds per step on a GPU", ""]
    lines.append(_times("", "launches", "work", "total", "one kernel"))
    narrow = roofline.is_narrow(operations)
    for gpu in [*own, *(gpu for gpu in GPUS if gpu not in own)]:
        work = roofline.work_seconds(operations, gpu)
        step = roofline.graph_step_seconds(operations, gpu)
        name = f"{gpu.name} (this machine)" if gpu in own else gpu.name
        persistent = roofline.persistent_step_seconds(operations, gpu) if narrow else "-"
        lines.append(_times(name, step - work, work, step, persistent))
    lines += [f"   {name}: not in this table" for name in present if not find_gpu(name)]
    if any(map(_by_arrays, operations)):
        lines.append("   without the launches of array functions (xp)")
    if on_gpu is not None:
        for mode, taken in on_gpu.seconds.items():
            chosen = " (chosen)" if mode == on_gpu.mode else ""
            lines.append(_times(f"measured on {on_gpu.gpu}, {mode}{chosen}", taken))
        if on_gpu.why_eager is not None:
            text = f"not captured in a CUDA graph: {on_gpu.why_eager}"
            lines += textwrap.wrap(text, WIDTH, initial_indent=" " * 3, subsequent_indent=" " * 3)
    cpu = measure_cpu(0.4)
    bound = cpu_seconds(operations, cpu)
    guess = cpu_seconds(operations, cpu, python_seconds())
    rates = (
        f"This CPU, {cpu.cores} cores: products {cpu.product_all / 1e9:,.0f} GFLOP/s, copies "
        f"{cpu.copies[0][1] / 1e9:,.0f} GB/s in cache and {cpu.copies[-1][1] / 1e9:,.0f} outside "
        f"it, as measured just now; microseconds per step"
    )
    lines += ["", *textwrap.wrap(rates, WIDTH), "", _times("", "Python", "work", "total")]
    lines.append(_times("predicted", guess - bound, bound, guess))
    if guess >= TOO_LONG:
        lines.append(f"   not measured: more than {TOO_LONG} s; try a smaller --batch-size")
    else:
        taken = statistics.median(measure(model, batch))
        lines.append(_times("measured", taken))
        if cpu_kernels.why_not() is None:
            taken = statistics.median(measure(model, batch, "compiled"))
            lines.append(_times("measured, compiled", taken))
    return "\n".join(lines)


def _times(name: str, *times: Any) -> str:
    figures = (f"{t * 1e6:,.1f}" if isinstance(t, float) else t for t in times)
    width = WIDTH - 3 - 11 * len(times)
    return f"   {name[:width]:<{width}}{''.join(f'{text:>11}' for text in figures)}".rstrip()
