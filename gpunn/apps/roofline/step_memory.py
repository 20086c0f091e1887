"""The memory that training takes on a GPU, and the largest batch that it leaves memory for."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunn.backends import get_backend
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.driver.gpu import why_not
from gpunn.backends.cupy.launch.known_gpus import MEMORY
from gpunn.feeding.memory import readable
from gpunn.models import Model

from .step_profile import BATCH, copied, step_program

MOST_ROWS = 1 << 30  # of a batch: their numbers are below 2**31
CUDA_ITSELF = 600e6
"""Bytes that CUDA's context, the kernels and cuBLAS take: assumed, it differs by GPU and driver."""


class StepMemory(NamedTuple):
    """The bytes of arrays on a GPU during training, without the training data.

    Attributes:
        weights: Of the weights, and of as many gradients.
        slots: Of the optimizer.
        fixed: Of a step, whatever its batch.
        row: Of a step, for each row of its batch: activations, gradients, masks.
        data: Of the training data, for each of their rows.
    """

    weights: int
    slots: int
    fixed: int
    row: float
    data: float

    def of_batch(self, batch: int) -> int:
        """Bytes that training with this batch takes."""
        return int(self.weights + self.slots + self.fixed + self.row * batch)

    def largest_batch(self, size: float) -> int:
        """The largest power of two, at most `MOST_ROWS`, that `size` bytes suffice for; 0 if there
        is none."""
        rows = min((size - self.of_batch(0)) / max(self.row, 1), MOST_ROWS)
        return 1 << int(rows).bit_length() - 1 if rows >= 1 else 0


def step_memory(model: Model, batch: int = BATCH) -> StepMemory:
    """Return the memory of a training step on a GPU; needs no GPU.

    The step is built twice, for ``batch`` and for twice as many rows, without computing it.

    Args:
        model: A model that is built and compiled.
        batch: Rows of a batch.
    """
    totals = []
    for rows in (batch, 2 * batch):
        backend = dry.make_backend()
        copy = copied(model, backend)
        weights, before = copy._trainer.storage.values.nbytes, backend.allocated.bytes
        program: Any = step_program(copy, rows, 1)
        with np.errstate(all="ignore"):
            program.run(1)
        totals.append(backend.allocated.bytes)
        data = sum(array.nbytes for array in program.rows.arrays.values()) / rows
    row = (totals[1] - totals[0]) / batch
    slots = max(0, before - 2 * weights)
    return StepMemory(2 * weights, slots, int(totals[0] - before - row * batch), row, data)


def table(model: Model, batch: int = BATCH) -> str:
    """Format the memory of training, and the largest batch for the GPU here and for known ones."""
    memory = step_memory(model, batch)
    step = memory.fixed + memory.row * batch
    lines = [
        "Memory of training on a GPU, as its arrays add up",
        "",
        *(
            f"   {name:<52}{readable(int(size)):>12}"
            for name, size in (
                ("weights and their gradients", memory.weights),
                (f"state of {type(model.optimizer).__name__}", memory.slots),
                (f"a step with batch {batch}", step),
                ("each further row of a batch", memory.row),
                ("each row of the training data, as far as they fit", memory.data),
            )
        ),
        "",
        f"Largest batch, a power of two, if CUDA itself takes {readable(int(CUDA_ITSELF))}",
        "",
    ]
    sizes = [(f"{name}, {size >> 30} GB", size - CUDA_ITSELF) for name, size in MEMORY.items()]
    if why_not() is None and (free := get_backend("cupy").free_bytes()) is not None:
        sizes.insert(0, (f"this machine, {readable(free)} free", free))
    for name, size in sizes:
        largest = memory.largest_batch(size)
        lines.append(f"   {name:<52}{f'{largest:,}' if largest else 'none fits':>12}")
    return "\n".join(lines)
