"""The library of compiled kernels: on each instruction set, on several threads, and missing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from comparisons import COMPARISONS
from comparisons.expression_cases import of
from comparisons.samples import Sample
from comparisons.steps import give_gradients, make_storage

import gpunn
from gpunn import layers
from gpunn.backends import get_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract.control import Control
from gpunn.backends.contract.expression import COLUMNS, ELEMENTS, ONE, ROWS
from gpunn.backends.cupy.driver import gpu
from gpunn.backends.shared.geometry import Geometry
from gpunn.backends.shared.order import Order

REASON = cpu_kernels.why_not()
UNWANTED = os.environ.get("GPUNN_BUILD") == "none"
built = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.mark.skipif(UNWANTED, reason="GPUNN_BUILD is none")
def test_the_kernels_were_built() -> None:
    """Without the kernels, most tests here and elsewhere are skipped."""
    assert REASON is None


# -- instruction sets


def run_digests(instructions: str, *arguments: str, **environment: str) -> Any:
    """Return the output of `compiled_digests.py`."""
    done = subprocess.run(
        [sys.executable, "compiled_digests.py", *arguments],
        cwd=Path(__file__).parents[2] / "support",
        env={**os.environ, "GPUNN_INSTRUCTIONS": instructions, **environment},
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


digests_of = cache(run_digests)


@pytest.fixture(params=cpu_kernels.INSTRUCTIONS)
def instructions(request: pytest.FixtureRequest) -> str:
    """Each instruction set of this machine."""
    if REASON is not None:
        pytest.skip(REASON)
    if request.param not in cpu_kernels.available():
        pytest.skip(f"this machine has no {request.param}, or it was not built for it")
    return request.param


# Operations with products: these use fused multiply-add where the CPU has it. Attention consists of
# two, of queries and keys, and of their weights and values.
WITH_PRODUCTS = {
    "attention", "convolution", "convolution_of_groups", "convolution_with_few_rows",
    "convolution_without_patches", "pooled_convolution", "products",
    "rounded_products", "stacked_products",
    "fused_steps", "fused_updates", "persistent_steps", "persistent_scan", "persistent_updates",
    "persistent_evaluation",
    "expressions_in_steps",
    "loss Circle(no kernel)", "optimizer Muon(no kernel)",  # of pairs, and of the weights' powers
}  # fmt: skip


@pytest.mark.in_turn(2)
def test_each_instruction_set(instructions: str) -> None:
    """A training and every operation agree with NumPy; all but products have the same bits."""
    found = digests_of(instructions)
    assert found["instructions"] == instructions
    assert found["digests"].keys() == COMPARISONS.keys()
    expected = digests_of(cpu_kernels.available()[0])["digests"]
    differing = {name for name, digest in found["digests"].items() if digest != expected[name]}
    assert differing <= WITH_PRODUCTS
    assert found["expressions"] == digests_of(cpu_kernels.available()[0])["expressions"]


@built
def test_a_library_that_another_thread_loads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until an extension module is initialized, it has no `__spec__`."""
    available = cpu_kernels.available()
    name = f"gpunn.backends.compiled._kernels_{available[-1]}"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert cpu_kernels.available() == available


@built
def test_an_instruction_set_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUNN_INSTRUCTIONS", "avx1024")
    with pytest.raises(RuntimeError, match="must be one of baseline, avx2, avx512; got 'avx1024'"):
        cpu_kernels.library()
    assert "avx1024" in str(cpu_kernels.why_not())


# -- threads


def large_operations() -> dict[str, str]:
    """Digests of the results of operations large enough for several threads."""
    backend, found = get_backend("compiled"), {}
    random = np.random.default_rng(0)
    x = random.standard_normal((1103, 1021), np.float32)
    w, out = random.standard_normal((1021, 67), np.float32), np.empty_like(x)
    mean, variance, factors = random.random((3, 1021), np.float32)
    images = x[:, :1020].reshape(1103, 10, 6, 17).copy()
    geometry = Geometry.fit((10, 6), (2, 2), (2, 2), "valid")
    pooled, product = np.empty((1103, 5, 3, 17), np.float32), np.empty((1103, 67), np.float32)
    mask, totals = np.empty(x.shape, bool), np.zeros(3)
    labels = np.arange(len(x), dtype=np.int32) % 1021
    entropy = gpunn.losses.SparseCategoricalCrossentropy(from_logits=True)
    sample = Sample(1103, 1021)

    def note(name: str, *arrays: Any) -> None:
        bits = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
        found[name] = hashlib.sha256(bits).hexdigest()

    for formula in (gpunn.activations.Gelu(), gpunn.activations.Softmax()):
        backend.bias_activation(x.copy(), mean, formula, out)
        note(f"{formula}", out)
    backend.activation_gradient(gpunn.activations.Tanh(), x, out.copy(), out)
    note("gradient", out)
    backend.loss(entropy, labels, x, None, 0.5, out, totals)
    note("loss", out, totals)
    backend.dropout(x, 0.3, 5, 6, Control(backend), out, mask)
    note("dropout", out, mask)
    backend.column_sums(x, out[0])
    note("column sums", out[0])
    backend.matmul(x, w, product)
    note("product", product)
    backend.matmul(x, product, w, transpose_a=True)
    note("transposed product", w)
    flat = x[:, :, None]
    backend.batch_statistics(flat, 0.9, mean, variance, factors.copy(), factors.copy())
    backend.normalize(flat, mean, variance, factors, None, 0.1, out[:, :, None])
    note("batch normalization", mean, variance, out)
    backend.max_pooling(images, geometry, pooled)
    note("pooling", pooled)
    for factor in (1.0, 0.5):
        backend.gather(x, Order(1103, 7), Control(backend), out, factor)
        note(f"rows of a batch times {factor}", out)
    dense = of(
        "float32", (ELEMENTS, ROWS, COLUMNS, ONE), ("multiply", 0, 2), ("add", 4, 1), ("tanh", 5),
        ("square", 1), ("square", 2), ("square", 3),
        write=(5, 6, (7, True), (8, True), (9, True)),
    )  # fmt: skip
    given = [x, x[:, :1].copy(), mean[None].copy(), x[:1, :1].copy()]
    results = [x.copy(), *(array.copy() for array in given)]
    backend.expression(dense, rows=1103, columns=1021, inputs=given, outputs=results)
    note("expression", *results)
    softmax = of("float32", (ELEMENTS,), ("exp", 0), ("row_sum", 1), ("divide", 1, 2), write=(3,))
    backend.expression(softmax, rows=1103, columns=1021, inputs=[x], outputs=[out])
    note("softmax by an expression", out)
    for optimizer in (gpunn.optimizers.Adam(global_clipnorm=0.1), gpunn.optimizers.Lamb()):
        made, control = make_storage(backend, sample, optimizer), Control(backend)
        give_gradients(made, sample)
        optimizer.step(made, control)
        note(optimizer.name, *(parameter.value for parameter in made.parameters))
    return found


@built
def test_the_number_of_threads_makes_no_difference() -> None:
    """Operations large enough to be divided among threads give the same bits."""
    library, found = cpu_kernels.library(), []
    try:
        for count in (1, 3):
            library.set_threads(count)
            found.append(large_operations())
    finally:
        library.set_threads(1)
    assert found[0] == found[1]


# -- without the library


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch, no_backend_yet: None) -> Iterator[None]:
    """A process without a backend yet, without compiled kernels and with an outdated GPU."""
    monkeypatch.setattr(cpu_kernels, "is_built", lambda which: False)
    for name in ("GPUNN_BACKEND", "GPUNN_INSTRUCTIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpu, "why_not", lambda: "The GPU is too old.")
    monkeypatch.setattr(gpu, "is_seen", lambda: True)
    known = (cpu_kernels.load, cpu_kernels.of_this_cpu)
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


def test_without_it_numpy_takes_over(hidden: None, capsys: pytest.CaptureFixture[str]) -> None:
    model = gpunn.Sequential([layers.Input((2,)), layers.Dense(1)])
    assert type(model.backend) is type(get_backend("numpy"))
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1
    assert "using the NumPy backend. The GPU is too old. " in stderr
    assert cpu_kernels.why_not() is not None and str(cpu_kernels.why_not()) in stderr


def test_without_it_to_ask_for_it_raises(hidden: None) -> None:
    for ask in (gpunn.use_backend, get_backend):
        with pytest.raises(RuntimeError, match="compiled kernels were not built"):
            ask("compiled")
    assert get_backend().name == "numpy"


@pytest.mark.skipif(cpu_kernels.why_not() is not None, reason="there are no kernels to hide")
def test_a_clone_that_hides_an_installation_says_so(tmp_path: Path) -> None:
    """As Python does where it is started in the folder of a clone."""
    package = Path(gpunn.__file__).parent
    clone, installed = tmp_path / "clone", tmp_path / "site"
    shutil.copytree(package, clone / "gpunn", ignore=shutil.ignore_patterns("_kernels_*", "web"))
    installed.mkdir()
    (installed / "gpunn").symlink_to(package)
    script = "import gpunn; print(gpunn.Sequential([gpunn.layers.Dense(1)]).backend.name)"
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": ""}
    for name in ("GPUNN_BACKEND", "GPUNN_INSTRUCTIONS"):
        environment.pop(name, None)
    said = {}
    for folder in (clone, tmp_path):
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        said[folder] = done.stdout.strip(), done.stderr
    assert said[tmp_path] == ("compiled", "")
    assert said[clone][0] == "numpy"
    assert f"instead of the gpunn installed in {installed}: start Python in an" in said[clone][1]
