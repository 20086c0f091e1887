"""One point of a scale curve, in a separate process: time and memory of `fit`.

    python -m benchmarks.scale.point '{"sizes": [784, 128, 10], "batch": 32}'

Prints a JSON object: seconds of a step (of a pass if ``rows`` is given), their parts,
the amount of work, and the memory that the process has used.
"""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gpunn
from gpunn import layers, optimizers
from gpunn.backends.contract.profiling import ProfiledOperation

ROWS = 4096  # of generated data, or one batch
DEFAULTS = {
    "sizes": [784, 128, 10],
    "batch": 32,
    "dropout": 0.0,
    "optimizer": "adam",
    "backend": "numpy",
    "rows": None,  # if given, time a pass over this many rows in ``folder``, not a step
    "source": "memory",  # where the rows are: memory, map, stream
    "folder": None,
    "seconds": 0.4,  # of a sample
    "samples": 7,
}


class Stream:
    """Batches read from the files one by one, again in each pass."""

    def __init__(self, folder: Path, rows: int, width: int, batch: int) -> None:
        self.folder, self.rows, self.width, self.batch = folder, rows, width, batch

    def __len__(self) -> int:
        return -(-self.rows // self.batch)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with (self.folder / "x").open("rb") as x, (self.folder / "y").open("rb") as y:
            for start in range(0, self.rows, self.batch):
                n = min(self.batch, self.rows - start)
                rows = np.fromfile(x, np.uint8, n * self.width)
                yield rows.reshape(n, self.width), np.fromfile(y, np.uint8, n)


def data_of(point: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments of `fit`: (x, y), or (stream,)."""
    width, rows = point["sizes"][0], point["rows"]
    if rows is None:
        rows = max(point["batch"], ROWS) // point["batch"] * point["batch"]
        random = np.random.default_rng(0)
        x = random.integers(0, 256, (rows, width), np.uint8)
        return x, random.integers(0, point["sizes"][-1], rows)
    folder = Path(point["folder"])
    if point["source"] == "stream":
        return (Stream(folder, rows, width, point["batch"]),)
    y = np.fromfile(folder / "y", np.uint8, rows)
    if point["source"] == "map":
        return np.memmap(folder / "x", np.uint8, "r", shape=(rows, width)), y
    return np.fromfile(folder / "x", np.uint8, rows * width).reshape(rows, width), y


def network(point: dict[str, Any], sizes: list[int]) -> Any:
    stack: list[Any] = [layers.Input((sizes[0],)), layers.Rescaling(1 / 255)]
    for units in sizes[1:-1]:
        stack.append(layers.Dense(units, activation="relu"))
        if point["dropout"]:
            stack.append(layers.Dropout(point["dropout"]))
    stack.append(layers.Dense(sizes[-1], activation="softmax"))
    model = gpunn.Sequential(stack, backend=point["backend"])
    rule = optimizers.Adam() if point["optimizer"] == "adam" else optimizers.SGD(0.01)
    model.compile(rule, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def sampler(
    fit: Callable[[int, int], None], steps: int, seconds: float, whole: bool = False
) -> Callable[[], float]:
    """Return a function that samples the seconds of one step, in about ``seconds``.

    ``fit(epochs, n)`` trains that many passes of n steps; a pass has ``steps`` of them. With
    ``whole`` it always times the whole pass, and returns its seconds.
    """
    few = steps if whole else 1
    for _ in range(2):  # the first one warms up
        begun = time.perf_counter()
        fit(1, few)
        each = (time.perf_counter() - begun) / (1 if whole else few)
        few = steps if whole else max(1, min(steps, int(seconds / 5 / each)))
    number = max(1, round(seconds / each))  # steps, or passes
    epochs, n = (number, steps) if whole else (-(-number // steps), min(number, steps))
    counted = epochs if whole else epochs * n

    def sample() -> float:
        begun = time.perf_counter()
        fit(epochs, n)
        return (time.perf_counter() - begun) / counted

    return sample


def fitting(model: Any, data: tuple[Any, ...], batch: int) -> Callable[[int, int], None]:
    options: dict[str, Any] = {"verbose": 0} | ({"batch_size": batch} if len(data) > 1 else {})
    return lambda epochs, n: model.fit(*data, epochs=epochs, steps_per_epoch=n, **options)


def fixed_cost(point: dict[str, Any]) -> Callable[[], float]:
    """Return a sampler of a step with the same layers, one unit wide, on one row: the overhead."""
    sizes = [1] * (len(point["sizes"]) - 1) + [2]
    tiny = {**point, "sizes": sizes, "batch": 1, "rows": None}
    fit = fitting(network(tiny, sizes), data_of(tiny), 1)
    return sampler(fit, ROWS, point["seconds"] / 3)


def products(
    backend: Any, operations: list[ProfiledOperation], seconds: float
) -> Callable[[], float]:
    """Return a sampler of the step's matrix products alone, on separate arrays."""
    own, calls = backend.isolated(), []
    for operation in operations:
        if operation.name == "matmul":
            shapes = (operation.shapes[name] for name in ("a", "b", "out"))
            a, b, out = (backend.zeros(shape, np.float32) for shape in shapes)
            flips = a.shape[0] != out.shape[0], b.shape[1] != out.shape[1]
            calls.append((a, b, out, *flips))

    def all_of_them() -> None:
        for call in calls:
            own.matmul(*call)

    program = own.program(all_of_them, True)

    def sample() -> float:
        times = 0
        with backend.parallel_region():
            begun = time.perf_counter()
            while time.perf_counter() - begun < seconds:
                program.run(1)
                times += 1
            return (time.perf_counter() - begun) / times

    sample()
    return sample


def peak() -> int | None:
    """Return the peak memory of this process in bytes; None if unknown."""
    try:  # not Linux's getrusage, which includes the parent's memory before the start
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def measure(point: dict[str, Any]) -> dict[str, Any]:
    """Measure one point for `scale`; ``point`` as in `DEFAULTS`."""
    point = {**DEFAULTS, **point}
    on_gpu, passes = point["backend"] != "numpy", point["rows"] is not None
    samplers = {"fixed": fixed_cost(point)}  # from here on everything is imported
    start = peak()
    tracemalloc.start()
    data = data_of(point)
    model = network(point, point["sizes"])
    free = model.backend.free_bytes()
    fit = fitting(model, data, point["batch"])
    fit(1, 1)
    held, counted = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    steps = len(data[0]) if len(data) == 1 else -(-len(data[0]) // point["batch"])
    samplers["seconds"] = sampler(fit, steps, point["seconds"], whole=passes)
    result: dict[str, Any] = {"held": held, "counted": counted, "start": start, "peak": peak()}
    if passes:  # a pass reads all data again
        result["held"] += data[0].nbytes if isinstance(data[0], np.memmap) else 0
    else:
        result["held"] -= sum(array.nbytes for array in data)
    if on_gpu:
        result |= {
            "start": None,
            "peak": None if free is None else free - model.backend.free_bytes(),
        }
    else:
        with model.backend.profile() as operations:
            fit(1, 1)
        samplers["products"] = products(model.backend, operations, point["seconds"] / 3)
        for name in ("bytes", "flops"):
            sum_of_step = sum(getattr(operation, name) for operation in operations)
            result[name] = sum_of_step * (steps if passes else 1)
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    cpu = wall = 0.0
    for _ in range(point["samples"]):
        for name, sample in samplers.items():
            used, begun = time.process_time(), time.perf_counter()
            samples[name].append(sample())
            if name == "seconds":
                cpu += time.process_time() - used
                wall += time.perf_counter() - begun
    times = steps if passes else 1
    result |= {name: float(np.median(taken)) * times for name, taken in samples.items()}
    return {**result, "seconds": samples["seconds"], "cores": cpu / wall}


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
