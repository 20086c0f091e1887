"""The launch list: what one training step of a model asks of a card."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np

from ..backends import dry
from ..backends.order import Order
from ..backends.recorder import Launch
from ..layers import Dense, Dropout, Flatten, Input, Rescaling
from ..models import Model, Sequential
from ..models.data import Rows

BATCH = 32
WIDTH = 80


def example() -> Sequential:
    """784-128-dropout-10 with Adam, the classic network for MNIST."""
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


def launches(model: Model, batch: int = BATCH) -> list[Launch]:
    """The operations of one training step, as on a card; there need not be one.

    Raises:
        ValueError: if the model is not built and compiled.
    """
    compiled = model.get_compile_config()
    if compiled is None or not model.built:
        raise ValueError(
            f"The model {model.name!r} has no training step: that takes weights, a loss and an "
            f"optimizer. Build and compile it before you save it."
        )
    backend = dry.make_backend()
    copy: Any = type(model).from_config({**model.get_config(), "backend": backend})
    copy.compile_from_config(compiled)
    trainer = copy.trainer
    spec = trainer.spec
    # Pixels come as bytes where a Rescaling is the first to take them.
    dtype = spec.dtype if trainer.plan.folded_rescaling() is None else np.uint8
    rows = Rows(
        backend.zeros((batch, *spec.input_shape), dtype),
        backend.zeros((batch, *spec.target_shape), spec.target_dtype),
        None,
    )
    program = trainer.program(batch, True, rows, Order(batch, trainer.seed))
    with backend.recording() as recorded, np.errstate(all="ignore"):
        program.run(1)
    return recorded


def table(model: Model, recorded: list[Launch], batch: int = BATCH) -> str:
    """The launch list in lines of 80 columns at most."""
    kernels = sum(launch.kernels for launch in recorded)
    title = (
        f"A training step of {model.name}, batch {batch}, {model.dtype}, "
        f"{type(model.optimizer).__name__}: "
        f"{len(recorded)} operations, {kernels} launches on a card"
    )
    if not all(launch.kernels for launch in recorded):
        title += ", besides those of the array functions (xp) that some are made of"
    lines = [*textwrap.wrap(title, WIDTH), "", _line("", "operation", "bytes", "flops", "launches")]
    for number, launch in enumerate(recorded, 1):
        name = f"{launch.operation} {launch.formula}".rstrip()
        lines.append(_line(str(number), name, launch.bytes, launch.flops, launch.kernels or "xp"))
        shapes = ", ".join(
            f"{key} {'x'.join(map(str, shape)) or '1'}" for key, shape in launch.shapes.items()
        )
        indent = " " * 5
        lines += textwrap.wrap(shapes, WIDTH, initial_indent=indent, subsequent_indent=indent)
    size, flops = (sum(getattr(x, what) for x in recorded) for what in ("bytes", "flops"))
    return "\n".join([*lines, _line("", "together", size, flops, kernels)])


def _line(number: str, name: str, size: Any, flops: Any, kernels: Any) -> str:
    figures = (f"{n:,}" if isinstance(n, int) else n for n in (size, flops, kernels))
    cells = (f"{text:>{width}}" for text, width in zip(figures, (13, 15, 9), strict=True))
    return f"{number:>2} {name[:39]:<39} {''.join(cells)}".rstrip()
