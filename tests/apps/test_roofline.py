"""The roofline: its arithmetic against hand calculations, its GPUs and its page against data."""

from __future__ import annotations

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from benchmarks.gpu import roofline as program
from gpunn import layers
from gpunn.apps.roofline import cpu as cpu_model
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.declaration import MatrixProduct
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.launch import known_gpus, roofline
from gpunn.backends.cupy.launch.known_gpus import GPUS, find_gpu

CPU = cpu_model.Cpu(2, 50e9, 100e9, ((2**20, 200e9), (2**25, 80e9), (2**27, 40e9)))
every_gpu = pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.name)


def gpu_named(name: str) -> Any:
    return next(gpu for gpu in GPUS if gpu.name == name)


def update(elements: int, arrays: int = 4) -> ProfiledOperation:
    """An Adam step: four arrays, seven passes."""
    shapes = {f"array {number}": (elements,) for number in range(arrays)}
    return ProfiledOperation("update", "Adam", shapes, 7 * 4 * elements, elements, 1)


def product(m: int, k: int, n: int) -> ProfiledOperation:
    shapes = {"a": (m, k), "b": (k, n), "out": (m, n)}
    size, sizes = 4 * (m * k + k * n + m * n), MatrixProduct(m, n, k)
    return ProfiledOperation("matmul", "", shapes, size, 2 * m * k * n, 1, products=(sizes,))


# -- traffic and arithmetic of launches


def profiled(name: str, optimizer: Any = "adam", **options: Any) -> list[ProfiledOperation]:
    stack = [layers.Input((6,)), layers.Dense(4, **options), layers.Dropout(0.5), layers.Dense(2)]
    model = gpunn.Sequential(stack, backend="numpy")
    model.compile(optimizer, "mse")
    operations = step_profile.profile_step(model, 8)
    return [operation for operation in operations if operation.name == name]


@pytest.mark.parametrize(
    ("optimizer", "passes"),
    [
        (gpunn.optimizers.SGD(0.1), 3),  # w is read and written, g is read
        (gpunn.optimizers.SGD(0.1, momentum=0.9), 5),
        (gpunn.optimizers.Adam(), 7),
        (gpunn.optimizers.Adam(amsgrad=True), 9),
    ],
)
def test_an_update_reads_gradients_once_and_rewrites_the_rest(optimizer: Any, passes: int) -> None:
    (operation,) = profiled("update", optimizer)
    # 6 x 4, 4, 4 x 2 and 2 elements, which begin at 0, 24, 32 and 40 and end on a cache line of 16
    assert operation.bytes == 4 * passes * 48


def test_traffic_by_hand() -> None:
    forward = profiled("matmul")[0]
    assert forward.bytes == 4 * (8 * 6 + 6 * 4 + 8 * 4) and forward.flops == 2 * 8 * 6 * 4
    (dropout,) = profiled("dropout")
    assert dropout.bytes == (4 + 4 + 1) * 8 * 4  # the mask has one byte per element
    # The gradient of the second reads its input.
    relu, kept = (profiled("bias_activation", activation=f)[0] for f in ("relu", "silu"))
    assert relu.bytes == 4 * (8 * 4 + 4 + 8 * 4)
    assert kept.bytes == relu.bytes + 4 * 8 * 4  # x is left holding x + bias


def test_what_is_added_to_is_read_and_written() -> None:
    backend = gpunn.backends.get_backend("numpy")
    a, b, out = (np.ones(shape, np.float32) for shape in ((3, 5), (5, 2), (3, 2)))
    with backend.profile() as operations:
        backend.matmul(a, b, out)
        backend.matmul(a, b, out, accumulate=True)
    assert operations[1].bytes - operations[0].bytes == out.nbytes
    assert operations[1].flops == operations[0].flops


# -- the GPUs


# CUDA cores, boost clock in MHz, width of the memory bus in bits, its rate in Gbit/s per line.
PARTS = {
    "GTX 1050 Ti": (768, 1392, 128, 7.008),
    "GTX 1060 6GB": (1280, 1709, 192, 8.008),
    "GTX 1080": (2560, 1733, 256, 10.008),
    "GTX 1080 Ti": (3584, 1582, 352, 11.008),
    "GTX 1650": (896, 1665, 128, 8.004),
    "RTX 2060": (1920, 1680, 192, 14.0),
    "RTX 3060": (3584, 1777, 192, 15.0),
    "RTX 4090": (16384, 2520, 384, 21.0),
    "H100": (16896, 1980, 5120, 5.2336),
    "H200": (16896, 1980, 6144, 6.2512),
}
LANES = {6: 128, 7: 64, 8: 128, 9: 128}  # per multiprocessor, by compute capability


@every_gpu
def test_published_rates_are_what_the_parts_of_a_gpu_amount_to(gpu: Any) -> None:
    cores, clock, bus, rate = PARTS[gpu.name]
    assert gpu.multiprocessors * LANES[gpu.capability[0]] == cores
    assert gpu.flops == pytest.approx(2 * cores * clock * 1e6, rel=2e-3)
    assert gpu.clock == pytest.approx(clock * 1e6, rel=2e-3)
    assert gpu.bandwidth == pytest.approx(bus / 8 * rate * 1e9, rel=2e-3)
    assert gpu.l2_bandwidth > gpu.bandwidth and gpu.l2 >= 2**20
    assert 0.5e-6 < gpu.kernel < 3e-6 and 0.5e-6 < gpu.barrier < 3e-6


@every_gpu
def test_every_figure_has_a_source(gpu: Any) -> None:
    assert len(gpu.sources) == 3 and set(gpu.sources) <= set(known_gpus.SOURCES)
    for letter in gpu.sources:
        assert "https://" in known_gpus.SOURCES[letter] or "http://" in known_gpus.SOURCES[letter]


@pytest.mark.parametrize(
    ("full_name", "name"),
    [
        ("NVIDIA GeForce GTX 1060 6GB", "GTX 1060 6GB"),
        ("NVIDIA GeForce GTX 1060 3GB", None),
        ("GeForce GTX 1080", "GTX 1080"),
        ("NVIDIA GeForce GTX 1080 Ti", "GTX 1080 Ti"),
        ("NVIDIA GeForce GTX 1650 SUPER", None),
        ("NVIDIA GeForce RTX 3060 Ti", None),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H200", "H200"),
        ("Quadro P400", None),
        ("", None),
    ],
)
def test_gpus_by_the_name_that_nvidia_smi_gives(full_name: str, name: str | None) -> None:
    found = find_gpu(full_name)
    assert (found.name if found else None) == name


# -- the model


def test_an_update_in_memory_and_in_l2_by_hand() -> None:
    gtx = gpu_named("GTX 1080 Ti")  # 484.4 GB/s, L2 of 2.75 MiB with 1,114 GB/s
    launch = 15 / 64 + 900 / gtx.clock * 1e6  # and what the instructions of an update wait for
    # 16 MB do not fit: 28 MB at 85% of 484.4 GB/s
    assert roofline.graph_step_seconds([update(10**6)], gtx) * 1e6 == pytest.approx(
        28e6 / (0.85 * 484.4e3) + 1.32 + launch
    )
    # 1.6 MB do: 2.8 MB at 1,114 GB/s
    assert roofline.graph_step_seconds([update(10**5)], gtx) * 1e6 == pytest.approx(
        2.8e6 / 1114e3 + 1.32 + launch
    )


def test_a_product_by_hand() -> None:
    gtx = gpu_named("GTX 1080 Ti")
    rate = 0.6 * 11.34e12  # of 28 multiprocessors
    # 32 x 128 are 4 tiles: the sum over 7,840 is cut in 7, and each block adds up 1,120 terms.
    assert roofline.product_seconds(32, 128, 7840, gtx) == pytest.approx(
        1120 * 2 * 32 * 32 / (rate / 28)
    )
    # A block has 512 terms or more, and of one tile's sums an eighth or more.
    for terms, of_block in ((784, 512), (80_000, 10_000)):
        assert roofline.product_seconds(32, 32, terms, gtx) == pytest.approx(
            of_block * 2 * 32 * 32 / (rate / 28)
        )
    # One tile, and a sum that is not cut: one block of 28 works.
    assert roofline.product_seconds(10, 10, 50, gtx) == pytest.approx(50 * 2 * 32 * 32 / rate * 28)
    # Large enough for all of them.
    assert roofline.product_seconds(4096, 4096, 4096, gtx) == pytest.approx(2 * 4096**3 / rate)


def test_the_classic_step_in_one_kernel() -> None:
    operations = step_profile.profile_step(step_profile.example())
    assert roofline.is_narrow(operations)
    assert not roofline.is_narrow(step_profile.profile_step(program.classic(129)))
    h200 = gpu_named("H200")
    # 32 blocks have one row each, for which they read both layers' weights. 32 threads have four
    # columns of the first layer, so 8 share a sum, and each waits once for 8 reads: 98 of 784
    # numbers. Of the last layer 16 threads share a sum: each has 8 of 128 numbers, of 16 at once.
    forward = [1400 + 98 / 8 * 750, 1400 + 8 / 16 * 750]
    # Two lanes share a number of the gradient of the 128: 5 terms each.
    backward = [225 + 5 / 16 * 750]
    # 264 blocks have 67,584 threads: two weights of the first layer each, and 32 rows.
    weights = [1 * 32 / 16 * 750, 2 * 32 / 16 * 750]
    # A thread reads 4 of 784 pixels, and updates 2 of 101,770 weights; all else takes 900 cycles.
    others = 12 * 900 + 3 * 350 + 1 * 350
    cycles = sum(forward + backward + weights) + others
    assert roofline.persistent_step_seconds(operations, h200) == pytest.approx(
        2 * 1.25e-6 + 15e-6 / 64 + cycles / h200.clock
    )


def test_in_one_kernel_a_few_blocks_have_several_rows_each() -> None:
    """10 multiprocessors with two blocks each: of 32 rows a block has 2, for which it reads a
    weight once, with half as many reads at once; of 100 rows 5, for which it reads it twice."""
    gtx, layer = gpu_named("GTX 1060 6GB"), (784, 128)
    weights = 4 * math.prod(layer)
    for batch, blocks, turns, at_once in ((32, 16, 1, 4), (100, 20, 2, 2)):
        product = MatrixProduct(batch, layer[1], layer[0])
        least = turns * (1400 + 98 / at_once * 750)
        through_port = 2 * turns * weights / 41  # of a multiprocessor, with two blocks at most
        from_l2 = blocks * turns * weights / 656e9 * gtx.clock
        assert roofline.product_cycles(product, batch, gtx) == pytest.approx(
            max(least, through_port, from_l2)
        )


def test_in_one_kernel_a_thread_adds_up_all_rows_of_a_weight() -> None:
    """However many rows there are, for nine weights no more than nine threads have work."""
    h200 = gpu_named("H200")
    few, many = (
        roofline.product_cycles(MatrixProduct(3, 3, rows, "a"), 128, h200)
        for rows in (128, 128 * 676)
    )
    assert many == pytest.approx(676 * few)
    assert many > 10 * roofline.product_seconds(3, 3, 128 * 676, h200) * h200.clock


def test_the_working_set_is_the_arrays_that_are_come_back_to() -> None:
    batch, sizes = 32, (784, 128, 10)
    parameters = sum((a + 1) * b for a, b in itertools.pairwise(sizes))
    activations = batch * (784 + 128 + 10)
    least = 4 * (4 * parameters + activations)
    # At most this much more: gradients, masks and results of every pass over the activations.
    operations = step_profile.profile_step(step_profile.example())
    assert least <= roofline.working_set(operations) < least * 1.2


@functools.cache
def operations_of(name: str) -> list[ProfiledOperation]:
    """The operations of a step of one of the page's workloads."""
    workload = program.WORKLOADS[name]
    return step_profile.profile_step(program.network(**workload), workload["batch"])


@every_gpu
@pytest.mark.parametrize("name", program.WORKLOADS)
def test_nothing_is_faster_than_memory_arithmetic_or_launches(gpu: Any, name: str) -> None:
    operations = operations_of(name)
    traffic, flops = (sum(getattr(x, of) for x in operations) for of in ("bytes", "flops"))
    fits = roofline.working_set(operations) <= gpu.l2
    bandwidth = gpu.l2_bandwidth if fits else gpu.bandwidth
    for seconds in (
        roofline.graph_step_seconds(operations, gpu),
        roofline.persistent_step_seconds(operations, gpu),
    ):
        assert seconds > max(traffic / bandwidth, flops / gpu.flops)
    kernels = sum(x.launches for x in operations)
    assert roofline.graph_step_seconds(operations, gpu) > kernels * gpu.kernel
    bound = cpu_model.cpu_seconds(operations, CPU)
    assert bound >= max(traffic / CPU.copies[0][1], 0.99 * flops / CPU.product_all)


def test_wider_layers_and_larger_batches_take_no_less() -> None:
    """Of widths that a thread can divide into four neighbours: others take longer."""
    widths, batches = (4, 28, 32, 64, 128, 1024), (1, 32, 33, 500)
    lists = {
        (w, b): step_profile.profile_step(program.classic(w), b) for w in widths for b in batches
    }
    for predict in (
        *(lambda x, gpu=gpu: roofline.graph_step_seconds(x, gpu) for gpu in GPUS),
        lambda x: cpu_model.cpu_seconds(x, CPU),
    ):
        times = np.array([[predict(lists[w, b]) for b in batches] for w in widths])
        assert (np.diff(times, axis=0) >= 0).all() and (np.diff(times, axis=1) >= 0).all()
        assert times[-1, -1] > 2 * times[0, 0]


def test_a_cpu_step_by_hand() -> None:
    small = [product(32, 784, 128), update(10**4)]
    # The set of 176 kB is copied at 200 GB/s; the product's arithmetic takes longer than that.
    taken = 2 * 32 * 784 * 128 / 100e9 + 28e4 / 200e9
    assert cpu_model.cpu_seconds(small, CPU) == pytest.approx(taken)
    assert cpu_model.cpu_seconds(small, CPU, 2e-6) == pytest.approx(taken + 2 * 2e-6)
    assert cpu_model.cpu_seconds([update(10**6)], CPU) == pytest.approx(28e6 / 80e9)
    assert cpu_model.cpu_seconds([update(10**8)], CPU) == pytest.approx(28e8 / 40e9)


# -- local measurements


def test_rates_of_this_cpu() -> None:
    cpu = cpu_model.measure_cpu(0.05)
    rates = [rate for _, rate in cpu.copies]
    assert rates == sorted(rates, reverse=True) and rates[-1] > 1e8
    assert cpu.product_all >= cpu.product_one > 1e8 and cpu.cores >= 1


@pytest.mark.parametrize("backend", ["numpy", "emulated"])
def test_a_step_is_measured_on_a_copy(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_profile, "STEPS", 2)
    model = program.network((784, 4, 10), 0.1, "adam")
    before = model.get_weights()
    samples = step_profile.measure(model, 3, backend, seconds=0.0)
    assert len(samples) == 3 and all(0 < sample < 10 for sample in samples)
    assert all(map(np.array_equal, model.get_weights(), before))
    assert model.optimizer.iterations == 0


def test_python_takes_time() -> None:
    assert 1e-8 < step_profile.python_seconds(0.01) < 1e-2


# -- the page


def test_the_width_from_which_a_gpu_wins() -> None:
    def result(gpu_us: list[float], cpu_us: list[float], bound_us: list[float]) -> dict:
        pairs = zip(program.WIDTHS, gpu_us, bound_us, strict=True)
        widths = {str(w): {"cards": {"X": c}, "bound": b} for w, c, b in pairs}
        measured = {
            str(w): [t, t, t * 3] for w, t in zip(program.WIDTHS, cpu_us, strict=True)
        }  # the median is used
        return {"predicted": {"widths": {"32": widths}}, "measured": {"widths": {"32": measured}}}

    slow = [10.0] * 9
    growing = [2.0**n for n in range(9)]  # above 10 from the fifth width on
    assert program.crossover(result(slow, growing, slow), "X", 32, "measured") == "256"
    assert program.crossover(result(slow, slow, growing), "X", 32, "bound") == "256"
    assert program.crossover(result(slow, slow, growing), "X", 32, "measured") == "not up to 4,096"
    assert program.crossover(result([0.5] * 9, slow, growing), "X", 32, "bound") == "always"
    bumpy = [99.0, *growing[1:]]  # wins once, loses, and wins for good
    assert program.crossover(result(slow, bumpy, slow), "X", 32, "measured") == "256"


def test_figures_of_a_gpu_stand_beside(tmp_path: Path) -> None:
    report = {
        "card": {"name": "NVIDIA GeForce GTX 1080 Ti"},
        "emulated": False,
        "benchmarks": [
            {"key": "W2 epoch", "steps": 1875, "samples": {"gpunn (card)": [0.2, 0.1, 0.15]}},
            {"key": "W5a", "steps": None, "samples": {"gpunn (card)": [0.3]}},
        ],
    }
    (tmp_path / "card.json").write_text(json.dumps(report))
    (tmp_path / "emulated.json").write_text(json.dumps({**report, "emulated": True}))
    (tmp_path / "other.json").write_text("[1]")
    found = program.measured_on_gpus(tmp_path)
    assert found == {"GTX 1080 Ti": {"W2": pytest.approx(0.15 / 1875)}}
    text = program.page(json.loads(program.PATH.read_text()), found)
    row = next(line for line in text.splitlines() if line.endswith("| 80.0 |"))
    assert row.startswith("| GTX 1080 Ti |")


@pytest.mark.in_turn(2)
def test_the_committed_page_says_what_its_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is made again elsewhere, without measuring."""
    again = "python -m benchmarks.gpu.roofline --page writes it anew"
    path, result = tmp_path / "roofline.json", json.loads(program.PATH.read_text())
    path.write_text(json.dumps({"measured": result["measured"]}))
    monkeypatch.setattr("sys.argv", ["roofline.py", "--page", "--out", str(path)])
    program.main()
    assert json.loads(path.read_text()) == result, again
    assert capsys.readouterr().out.strip() == path.with_suffix(".md").read_text().strip()
    text = program.page(result, program.measured_on_gpus(program.RESULTS))
    assert program.PATH.with_suffix(".md").read_text() == text, again
    assert program.PATH.with_suffix(".svg").read_text() == path.with_suffix(".svg").read_text()
    assert "**Predicted, not measured,**" in text
    for workload in result["predicted"]["workloads"].values():
        assert all(math.isfinite(c["fused"]) for c in workload["cards"].values())
