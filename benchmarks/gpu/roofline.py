"""Theoretical lower bounds of a step's time on ten GPUs and on this CPU, from its profile.

    python -m benchmarks.gpu.roofline           measures this CPU (under a minute), writes the page
    python -m benchmarks.gpu.roofline --page    predicts again from earlier measurements

Writes ``results/roofline.json``, ``.md`` and ``.svg``. Nothing is measured on a GPU; if
``results`` has a folder of ``make gpu`` from one of these GPUs, its times are shown too.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gpunn
from benchmarks import RESULTS
from benchmarks.common import charts, machine
from benchmarks.common.samples import quartiles
from benchmarks.common.workloads import TITLES, WORKLOADS
from benchmarks.race import catalog
from gpunn import layers, optimizers
from gpunn.apps.roofline import cpu as cpu_model
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import GPU, GPUS, SOURCES, find_gpu
from gpunn.backends.cupy.launch.modes import GRAPH_STEPS, PERSISTENT_WIDTH

PATH = RESULTS / "roofline.json"
WIDTHS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (10, 32, 128, 512)
CHARTED = ("GTX 1060 6GB", "GTX 1080 Ti", "RTX 3060", "H200")
CHART_BATCH = 32
EAGER = 300e-6  # PyTorch, eager, W2: see the page
GOAL = 10e-6  # W2 on an H200; the goal on any GPU, as a multiple of PyTorch's speed:
FASTER = 10
OURS = f"gpunn {catalog.ON_GPU}"  # its name in the files of make gpu
Operations = Sequence[ProfiledOperation]


def network(sizes: Sequence[int], dropout: float, optimizer: str, **_: Any) -> gpunn.Sequential:
    """Return a workload's network as users write it: bytes in, probabilities out."""
    stack: list[Any] = [layers.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten()]
    for units in sizes[1:-1]:
        stack.append(layers.Dense(units, activation="relu"))
        if dropout:
            stack.append(layers.Dropout(dropout))
    stack.append(layers.Dense(sizes[-1], activation="softmax"))
    model = gpunn.Sequential(stack, backend="numpy")
    rules = {
        "sgd": optimizers.SGD(0.01),
        "momentum": optimizers.SGD(0.01, momentum=0.9),
        "adam": optimizers.Adam(),
    }
    model.compile(rules[optimizer], "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def classic(width: int) -> gpunn.Sequential:
    """Return W2's network with another width of the hidden layer."""
    return network((784, width, 10), 0.2, "adam")


# -- measurements


def measure() -> dict[str, Any]:
    """Measure this CPU's rates, and its times of the steps, all samples in seconds."""
    cpu = cpu_model.measure_cpu(2.0)
    return {
        "machine": machine.describe(),
        "cpu": {**vars(cpu), "copies": [list(pair) for pair in cpu.copies]},
        "operation": step_profile.python_seconds(0.5),
        "workloads": {
            name: step_profile.measure(network(**workload), workload["batch"], seconds=1.0)
            for name, workload in WORKLOADS.items()
        },
        "widths": {
            str(batch): {
                str(width): step_profile.measure(classic(width), batch) for width in WIDTHS
            }
            for batch in BATCHES
        },
    }


def measured_on_gpus(folder: Path) -> dict[str, dict[str, float]]:
    """Return seconds of a step by GPU and workload, from the files of ``make gpu``."""
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.rglob("*.json")):
        report = json.loads(path.read_text())
        if not isinstance(report, dict) or "benchmarks" not in report or report.get("emulated"):
            continue
        gpu = find_gpu(report["card"]["name"])
        for entry in report["benchmarks"] if gpu else ():
            epochs = entry["samples"].get(OURS)
            for name in WORKLOADS:
                if epochs and entry["key"] == f"{name} epoch":
                    step = statistics.median(epochs) / entry["steps"]
                    found.setdefault(gpu.name, {})[name] = step
    return found


# -- predictions


def by_mode(operations: Operations, gpu: GPU) -> dict[str, float | None]:
    """Predict seconds of a step: its work alone, and in each launch mode."""
    plain = sum(operation.launches or operation.fused for operation in operations)
    narrow = roofline.is_narrow(operations)
    return {
        "work": roofline.work_seconds(operations, gpu),
        "plain": roofline.graph_step_seconds(operations, gpu, plain, parts=False),
        "fused": roofline.graph_step_seconds(operations, gpu),
        "persistent": roofline.persistent_step_seconds(operations, gpu) if narrow else None,
    }


def predict(measured: dict[str, Any]) -> dict[str, Any]:
    """Predict everything from the profiles of steps and the measurements."""
    given = measured["cpu"]
    cpu = cpu_model.Cpu(**{**given, "copies": tuple(map(tuple, given["copies"]))})
    python = measured["operation"]
    predicted: dict[str, Any] = {"workloads": {}, "widths": {}}
    for name, workload in WORKLOADS.items():
        operations = step_profile.profile_step(network(**workload), workload["batch"])
        predicted["workloads"][name] = {
            "operations": len(operations),
            "launches": sum(operation.launches for operation in operations),
            "flops": sum(operation.flops for operation in operations),
            "bytes": sum(operation.bytes for operation in operations),
            "working_set": roofline.working_set(operations),
            "bound": cpu_model.cpu_seconds(operations, cpu),
            "with_python": cpu_model.cpu_seconds(operations, cpu, python),
            "cards": {gpu.name: by_mode(operations, gpu) for gpu in GPUS},
        }
    for batch in BATCHES:
        by_width = predicted["widths"][str(batch)] = {}
        for width in WIDTHS:
            operations = step_profile.profile_step(classic(width), batch)
            by_width[str(width)] = {
                "bound": cpu_model.cpu_seconds(operations, cpu),
                "cards": {c.name: roofline.graph_step_seconds(operations, c) for c in GPUS},
            }
    return predicted


def crossover(result: dict[str, Any], gpu: str, batch: int, against: str) -> str:
    """Return the width from which the GPU is faster than the CPU, at all larger tried widths.

    ``against``: ``"measured"`` steps of the CPU, or its ``"bound"``.
    """
    predicted = result["predicted"]["widths"][str(batch)]
    least = None
    for width in reversed(WIDTHS):
        figures = predicted[str(width)]
        times = result["measured"]["widths"][str(batch)][str(width)]
        cpu = statistics.median(times) if against == "measured" else figures["bound"]
        if figures["cards"][gpu] >= cpu:
            break
        least = width
    if least is None:
        return f"not up to {WIDTHS[-1]:,}"
    return "always" if least == WIDTHS[0] else f"{least:,}"


# -- the page


def page(result: dict[str, Any], on_gpus: dict[str, dict[str, float]]) -> str:
    """Markdown of what ``result`` says, and of nothing else."""
    measured, predicted = result["measured"], result["predicted"]
    about = measured["machine"]
    parts = [
        "# The bound: what a step must cost",
        "**Predicted, not measured,** but for the columns and rows that say measured. Made by "
        "`python -m benchmarks.gpu.roofline` from the profile of each step (what `gpunn doctor "
        "--step` shows) and the figures of the cards below. Times are microseconds a step.",
        _MODEL.format(
            share=f"{roofline.MEMORY_EFFICIENCY:.0%}", product=f"{roofline.PRODUCT_EFFICIENCY:.0%}",
            tile=roofline.TILE, depth=roofline.LEAST_DEPTH, pieces=roofline.MOST_PIECES,
            steps=GRAPH_STEPS, read=roofline.READ_CYCLES, at_once=roofline.READS_AT_ONCE,
            each=roofline.PASS_CYCLES,
            launch=f"{roofline.GRAPH_LAUNCH * 1e6:.0f}", narrow=PERSISTENT_WIDTH,
            barriers=roofline.BARRIERS, port=roofline.PORT, cycles=roofline.PART_CYCLES,
            library=f"{roofline.LIBRARY * 1e6:.1f}",
        ),
        "## Steps on cards",
    ]  # fmt: skip
    for name in WORKLOADS:
        parts += _workload(TITLES[name], predicted["workloads"][name], name, on_gpus)
    parts += ["## The goals", _goals(predicted["workloads"]["W2"])]
    parts += ["## The same steps on this CPU", *_cpu(result)]
    parts += ["## From which width on the card wins", *_crossovers(result)]
    parts += ["## The cards", *_gpu_table()]
    versions = ", ".join(f"{k} {v}" for k, v in about["versions"].items() if v)
    parts.append(
        f"The CPU: {about['cpu']}, {about['cores']} cores, Python {about['python']}, {versions}, "
        f"{about['date']}, commit {about['commit']}."
    )
    return "\n\n".join(parts) + "\n"


_MODEL = """\
An operation takes as long as its traffic (each array read once and written once) at the
bandwidth of L2 while all that the step comes back to fits into L2, else at {share} of the
published bandwidth of memory; or as long as its arithmetic, at {product} of the published FP32
rate, where a product keeps no more multiprocessors busy than it has tiles of {tile} x {tile} times
up to {pieces} pieces of {depth} terms or more: whichever is longer. Patches of images are written
and read. To that comes what launches cost, in each of the launch modes
(`gpunn/backends/cupy/launch/modes.py`):

- *plain*: the cost of a kernel in a CUDA graph for each operation,
- *fused*: the same for as many kernels as the fused step launches now; an operation that has no
  launch of its own is charged its traffic in full all the same,
- *persistent*: {barriers} barriers of the whole grid instead, in one kernel that does many steps
  (only where no layer is wider than {narrow}). There a block takes rows of the batch through all
  layers: it reads all weights, a multiprocessor at most {port} bytes a clock. A thread adds up all
  rows for a weight's gradient. It waits {read} cycles for each {at_once} numbers of a product that
  it asks for at once, and {each} for each element but the first of other operations,

{launch} us to launch a graph of {steps} steps, divided by {steps}, and {cycles} clock cycles
for each operation, whose instructions wait for each other; in a graph also {library} us for each
product of the library. Bytes a clock, cycles, pieces and the last were measured on an H200. No
prediction is more than 1.5 times off what steps took inside there
(`tests/performance/test_predictions.py`). What the model still leaves out (partial sums of a split
product, tails, clocks below boost, the first touch of a batch in memory) makes a card slower."""


def _workload(
    title: str, figures: dict[str, Any], name: str, on_gpus: dict[str, dict[str, float]]
) -> Iterable[str]:
    yield f"### {title}"
    yield (
        f"{figures['operations']} operations, {figures['launches']} launches when fused, "
        f"{figures['flops'] / 1e6:,.1f} Mflop, {figures['bytes'] / 1e6:,.2f} MB of traffic; the "
        f"step comes back to {figures['working_set'] / 1e6:,.2f} MB."
    )
    rows = []
    for gpu in GPUS:
        times = figures["cards"][gpu.name]
        rows.append(
            [gpu.name, *(_us(times[mode]) for mode in ("work", "plain", "fused", "persistent")),
             _us(on_gpus.get(gpu.name, {}).get(name))]
        )  # fmt: skip
    titles = "card", "work alone", "plain", "fused", "persistent", "measured"
    yield _table(titles, rows)


def _goals(figures: dict[str, Any]) -> str:
    h200, gpus = figures["cards"]["H200"], figures["cards"]
    lines = []
    for mode, case in (("fused", "With fused launches"), ("persistent", "In a persistent kernel")):
        verdict = "reaches" if h200[mode] <= GOAL else "misses"
        slow = ", ".join(n for n, c in gpus.items() if EAGER / c[mode] < FASTER)
        lines.append(
            f"- {case}, W2 on an H200 takes {_us(h200[mode])} us: it {verdict} the goal of "
            f"{GOAL * 1e6:.0f} us. Against PyTorch eager that is {EAGER / h200[mode]:.0f} times as "
            f"fast; the goal of {FASTER} times is missed by {slow or 'no card of the table'}."
        )
    kernel = find_gpu("H200").kernel
    most = int((GOAL - h200["work"] - roofline.GRAPH_LAUNCH / GRAPH_STEPS) / kernel)
    lines.append(
        f"- At {kernel * 1e6:.2f} us a kernel the H200's goal leaves room for {most} kernels in a "
        f"step."
    )
    lines.append(
        f"- PyTorch eager is taken to need {EAGER * 1e6:.0f} us for W2 on any card, since it waits "
        f"for launches: a working figure; beside the H200 that was measured it took 1,270 us. "
        f"Measured beside PyTorch with CUDA graphs and JAX: `nvidia-*/page.md`."
    )
    return "\n".join(lines)


def _cpu(result: dict[str, Any]) -> Iterable[str]:
    measured, predicted = result["measured"], result["predicted"]["workloads"]
    cpu = measured["cpu"]
    small, large = cpu["copies"][0], cpu["copies"][-1]
    yield (
        f"Measured: a product {cpu['product_one'] / 1e9:,.0f} GFLOP/s on one thread, "
        f"{cpu['product_all'] / 1e9:,.0f} on all; a copy {small[1] / 1e9:,.0f} GB/s (read and "
        f"written) over {small[0] >> 10} KiB, {large[1] / 1e9:,.0f} GB/s over {large[0] >> 20} "
        f"MiB; {measured['operation'] * 1e6:.1f} us of Python for an operation (a step on arrays "
        f"of a few elements, divided by its operations). *Bound*: each array read and written "
        f"once at the rate of such a copy, products on all threads: what compiled code might "
        f"come near. NumPy goes over most arrays several times."
    )
    rows = []
    for name in WORKLOADS:
        times, figures = measured["workloads"][name], predicted[name]
        low, middle, high = quartiles(times)
        rows.append(
            [TITLES[name], _us(figures["bound"]), _us(figures["with_python"]), _us(middle),
             f"{_us(low)} - {_us(high)}", f"{middle / figures['bound']:.1f}"]
        )  # fmt: skip
    titles = (
        "step", "bound", "bound with Python", "measured", "quartiles", "measured / bound",
    )  # fmt: skip
    yield _table(titles, rows)


def _crossovers(result: dict[str, Any]) -> Iterable[str]:
    yield (
        f"784-width-dropout 0.2-10 with Adam, widths {', '.join(map(str, WIDTHS))}: the least of "
        f"them from which on the card, with fused launches, is predicted to be faster than this "
        f"CPU."
    )
    for against, heading in (
        ("measured", "Against the NumPy backend as measured on this CPU:"),
        ("bound", "Against the bound of this CPU, which compiled code might come near:"),
    ):
        rows = [
            [gpu.name, *(crossover(result, gpu.name, batch, against) for batch in BATCHES)]
            for gpu in GPUS
        ]
        yield heading
        yield _table(("card", *(f"batch {batch}" for batch in BATCHES)), rows)
    yield f"![A step against the width of the hidden layer, batch {CHART_BATCH}](roofline.svg)"


def _gpu_table() -> Iterable[str]:
    rows = []
    for gpu in GPUS:
        published, cache, kernel = tuple(gpu.sources)
        rows.append(
            [gpu.name, f"{gpu.capability[0]}.{gpu.capability[1]}", str(gpu.multiprocessors),
             f"{gpu.flops / 1e12:g}", f"{gpu.bandwidth / 1e9:,.1f}", f"{gpu.l2 / 2**20:g}",
             published, f"{gpu.l2_bandwidth / 1e9:,.0f} {cache}",
             f"{gpu.kernel * 1e6:.2f} {kernel}", f"{gpu.barrier * 1e6:.2f} {kernel}"]
        )  # fmt: skip
    yield _table(
        ("card", "capability", "multiprocessors", "FP32 TFLOP/s", "memory GB/s", "L2 MiB",
         "source", "L2 GB/s", "kernel us", "barrier us"), rows,
    )  # fmt: skip
    yield "\n".join(f"- {letter}: {text}" for letter, text in sorted(SOURCES.items()))


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e6:,.1f}"


def chart(result: dict[str, Any]) -> str:
    """Chart a step against the width: GPUs as predicted, the CPU as measured and its bound."""
    widths = result["predicted"]["widths"][str(CHART_BATCH)]
    times = result["measured"]["widths"][str(CHART_BATCH)]
    series = {
        f"{name}, predicted": [(w, widths[str(w)]["cards"][name] * 1e6) for w in WIDTHS]
        for name in CHARTED
    }
    series["this CPU, measured"] = [(w, statistics.median(times[str(w)]) * 1e6) for w in WIDTHS]
    series["this CPU, bound"] = [(w, widths[str(w)]["bound"] * 1e6) for w in WIDTHS]
    title = f"A step of 784-width-dropout-10, Adam, batch {CHART_BATCH}"
    return charts.lines(title, series, "width of the hidden layer", "us a step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", action="store_true", help="measure nothing, predict again")
    parser.add_argument("--out", type=Path, default=PATH, help="the JSON file")
    arguments = parser.parse_args()
    path = arguments.out
    measured = json.loads(path.read_text())["measured"] if arguments.page else measure()
    result = {"measured": measured, "predicted": predict(measured)}
    path.write_text(json.dumps(result, indent=1) + "\n")
    text = page(result, measured_on_gpus(path.parent))
    path.with_suffix(".md").write_text(text)
    path.with_suffix(".svg").write_text(chart(result))
    print(text)


if __name__ == "__main__":
    main()
