"""The predicted time of a step on a GPU, against every table that was measured on one."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from benchmarks import RESULTS
from benchmarks.common.workloads import ALL_WORKLOADS
from benchmarks.contestants.gpunn_fit import network
from gpunn.apps.roofline import step_profile
from gpunn.backends.contract.declaration import MatrixProduct
from gpunn.backends.contract.profiling import ProfiledOperation
from gpunn.backends.cupy.driver import dry
from gpunn.backends.cupy.launch import roofline
from gpunn.backends.cupy.launch.known_gpus import GPU, find_gpu

FACTOR = 1.5
"""A prediction that is further from a measurement is contradicted by it."""

TABLES = {
    f"{path.parent.name}, {workload}": (json.loads(path.read_text()), workload)
    for path in sorted(RESULTS.glob("nvidia-*/inside.json"))
    for workload in ALL_WORKLOADS
}
PARTS = {"": "matmul_nn", "b": "matmul_nt", "a": "matmul_tn"}

every_table = pytest.mark.parametrize("name", TABLES)


def gpu_of(table: dict[str, Any]) -> GPU:
    found = find_gpu(table["card"]["name"])
    assert found is not None
    return found


@cache
def operations_of(workload: str, gpu: GPU) -> list[ProfiledOperation]:
    """The operations of a step, with the launches of the mode "fused"."""
    backend = dry.make_backend(gpu)
    backend.launch_mode = "fused"
    work: Any = ALL_WORKLOADS[workload]
    model = network(work, backend)
    program: Any = step_profile.step_program(model, work["batch"], 1)
    with backend.profile() as operations:
        program.run(1)
    return operations


def agree(predicted: float, measured: float) -> bool:
    return 1 / FACTOR <= predicted / measured <= FACTOR


@every_table
def test_a_fused_step_takes_as_long_as_its_launches_did(name: str) -> None:
    """Small products are parts of launches now; in older tables the library did them all."""
    table, workload = TABLES[name]
    launches = table["launches"].get(workload, ())
    if not launches:
        return
    gpu, operations = gpu_of(table), operations_of(workload, gpu_of(table))
    products = [x for each in operations for x in each.products]
    by_library = sum(each["parts"] == ["Product"] for each in launches)
    convolved = sum("convolution" in each["parts"] for each in launches)
    predicted = roofline.graph_step_seconds(
        operations, gpu, len(launches), by_library + convolved < len(products)
    )
    assert agree(predicted, sum(each["seconds"] for each in launches))


@every_table
def test_a_persistent_step_takes_as_long_as_it_did(name: str) -> None:
    table, workload = TABLES[name]
    if workload not in table["parts"]:
        return
    gpu, step = gpu_of(table), table["parts"][workload][-1]
    predicted = roofline.persistent_step_seconds(operations_of(workload, gpu), gpu)
    assert step["part"] == "a step" and agree(predicted, step["seconds"])


@every_table
def test_a_product_of_a_persistent_step_takes_as_many_cycles_as_it_did(name: str) -> None:
    """Of the gradients of weights the longest: the blocks whose clock was noted have elements of
    it, and may have none of the others."""
    table, workload = TABLES[name]
    gpu, batch = gpu_of(table), ALL_WORKLOADS[workload]["batch"]
    products = [x for each in operations_of(workload, gpu) for x in each.products]
    for transposed, part in PARTS.items():
        found = [
            max(entry["first"], entry["last"])
            for entry in table["parts"].get(workload, ())
            if entry["part"] == part
        ]
        predicted = [
            roofline.product_cycles(x, batch, gpu) for x in products if x.transposed == transposed
        ]
        assert not found or len(found) == len(predicted)
        if part == "matmul_tn":
            found, predicted = [max(found, default=0)][: len(found)], [max(predicted)]
        for measured, cycles in zip(found, predicted, strict=False):
            assert agree(cycles, measured), (part, measured, cycles)


@every_table
def test_a_gradient_with_few_rows_takes_as_long_as_it_did(name: str) -> None:
    """By the library, and by the kernel in its place, which no table has yet."""
    table, workload = TABLES[name]
    launches, gpu = table["launches"].get(workload, ()), gpu_of(table)
    gradients = [
        x for each in operations_of(workload, gpu) if each.name == "convolution_gradient"
        for x in each.products if x.transposed == "a" and x.m <= roofline.FEW
    ]
    if not (gradients and launches):
        return
    (sizes,) = ((x.m, x.n, x.k) for x in gradients)
    own = [each["seconds"] for each in launches if each["parts"] == ["few_rows_gradient"]]
    for measured in own:
        assert agree(roofline.few_rows_seconds(*sizes, gpu), measured)
    if not own:  # it is the last product of the step
        library = [each["seconds"] for each in launches if each["parts"] == ["Product"]][-1]
        assert agree(roofline.product_seconds(*sizes, gpu), library)
        assert roofline.few_rows_seconds(*sizes, gpu) < library  # so it was replaced


def test_a_step_with_few_rows_is_predicted_with_their_kernel() -> None:
    """It is chosen where the prediction says so: then the step is faster by what it saves."""
    gpu = find_gpu("NVIDIA H200")
    assert gpu is not None
    operations = operations_of("W4", gpu)
    assert sum(x.name == "convolution_gradient" for x in operations) == 2
    fused, library = (roofline.work_seconds(operations, gpu, parts) for parts in (True, False))
    saved = roofline.product_seconds(9, 32, 86528, gpu) - roofline.few_rows_seconds(
        9, 32, 86528, gpu
    )
    assert library - fused == pytest.approx(saved, rel=0.3) and saved > 0


@pytest.mark.parametrize("transposed", PARTS)
def test_a_product_without_rows_takes_no_time(transposed: str) -> None:
    """One of several ranks may have no rows of a batch."""
    sizes = (784, 10, 0) if transposed == "a" else (0, 10, 784)
    gpu = find_gpu("NVIDIA H200")
    assert gpu is not None
    assert roofline.product_cycles(MatrixProduct(*sizes, transposed), 0, gpu) == 0
