"""Show what this machine has and test whether the backends work on it.

examples:
  gpunn doctor
  gpunn doctor --backend cupy               exit status 0 only if the GPU works
  gpunn doctor --step                       profile a training step
  gpunn doctor --step runs/mnist/model.gpunn
  gpunn doctor --step model.gpunn --batch-size 64 --keep-mode
  mpiexec -n 2 gpunn doctor --ranks         when do two processes pay

--step needs no GPU. It lists each operation of the step (with its activation,
loss or optimizer), the arrays that it accesses, the bytes that it reads and
writes, its floating-point operations, and the number of kernels and matrix
products that it launches: "-" if it shares another operation's launch, "xp" if
CuPy's array functions replace a missing kernel. It then predicts the duration
of the step on several GPUs and on this CPU, measures it here, and says which
memory it takes and the largest batch that fits several GPUs. On a GPU it
measures each launch mode, and says why a step is not captured in a CUDA graph,
if it cannot be. A training takes the mode that is predicted to be the fastest;
with --keep-mode it will take the one measured to be, from the next start of
Python on, unless launch_modes.json in gpunn's cache folder is deleted.
Modes agree within rounding.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

from gpunn import __version__
from gpunn.apps.roofline import ranks, step_memory, step_profile
from gpunn.backends import get_backend, use_backend
from gpunn.backends.compiled import cpu_kernels
from gpunn.backends.contract.backend import Backend
from gpunn.backends.cupy.driver.cuda_extra import explain_extra, query_nvidia_smi
from gpunn.backends.cupy.driver.gpu import DISTRIBUTIONS, why_not
from gpunn.backends.cupy.launch.measured_modes import keep_mode
from gpunn.backends.cupy.launch.modes import step_key
from gpunn.layers import Dense, Input
from gpunn.models import Sequential
from gpunn.optimizers import SGD
from gpunn.saving import load_model

from .arguments import add_shared, positive

HELP = "show what this machine has and test the backend"

KNOWN_LOSS = 0.0305288687  # of the self-test's network, by PyTorch in float64
TOLERANCE = 1e-4  # relative; float32 rounding moves the loss by about 1e-6
EPOCHS = 20
BATCH = 32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_shared(parser, "--backend")
    add = parser.add_argument
    add("--step", nargs="?", const="", metavar="MODEL",
        help="only list what a training step launches on a GPU and how long it takes, for a saved "
        "model or for 784-128-dropout-10 with Adam")
    add("--batch-size", type=positive, default=step_profile.BATCH, metavar="N",
        help="rows of the step of --step (default 32)")
    add("--keep-mode", action="store_true",
        help="from now on launch the step of --step in the mode measured to be the fastest here")
    add("--ranks", action="store_true",
        help="only measure what several processes gain, for 784-128-10 with Adam; start it with "
        "mpiexec")


def run(args: argparse.Namespace) -> int:
    if args.ranks:
        if args.backend:
            use_backend(args.backend)
        return ranks.run()
    if args.step is not None:
        if args.keep_mode and (missing := why_not()):
            raise RuntimeError(f"--keep-mode measures launch modes on a GPU. {missing}")
        use_backend("numpy")  # only to read the model
        model = load_model(args.step) if args.step else step_profile.example()
        batch = args.batch_size
        operations = step_profile.profile_step(model, batch)
        on_gpu = step_profile.measure_on_gpu(model, batch)
        predicted = step_profile.predictions(model, operations, batch, on_gpu)
        memory = step_memory.table(model, batch)
        print(step_profile.table(model, operations, batch), predicted, memory, sep="\n\n")
        if args.keep_mode and on_gpu:
            mode = min(on_gpu.seconds, key=on_gpu.seconds.__getitem__)
            keep_mode(on_gpu.gpu, step_key(operations), mode)
            print(f"\nFrom the next start of Python on, this step takes the mode {mode!r}.")
        return 0
    if args.keep_mode:
        raise ValueError("--keep-mode needs --step, which says what is measured.")
    _report("gpunn", __version__)
    _report("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    _report("NumPy", np.__version__)
    _report("BLAS", describe_blas(threadpoolctl.threadpool_info(), _simd()))
    not_compiled = cpu_kernels.why_not()
    _report("Compiled", not_compiled or describe_compiled())
    cupys = [f"{name} {version}" for name in DISTRIBUTIONS if (version := _version(name))]
    _report("CuPy", ", ".join(cupys) or "not installed")
    gpus = query_nvidia_smi()
    extra, reason = explain_extra(gpus)
    _report("GPU", reason)
    _report("Extra", f'pip install "gpunn[{extra}]"' if extra else "none: there is no usable GPU")

    missing = why_not()
    asked = args.backend or os.environ.get("GPUNN_BACKEND") or "auto"
    on_cpu = ("compiled",) * (not_compiled is None) + ("numpy",)
    name = ("cupy" if missing is None else on_cpu[0]) if asked == "auto" else asked
    _report("Backend", f"{name} ({asked} was requested)" if name != asked else name)
    if name in on_cpu:
        _report("Kernels", f"none on a GPU. {missing or 'The CPU was requested.'}")
    works = {}
    # The CPU is measured as well as the GPU, since it may be faster for a small network.
    for each in dict.fromkeys((name, *on_cpu)):
        try:
            backend = get_backend(each)
            if each not in on_cpu:
                _report("Kernels", check_kernel(backend))
            _report("Self-test", f"{each}: {self_test(each)}")
            works[each] = True
        except Exception as error:  # a broken installation may raise anything
            _report("Self-test", f"{each} FAILED: {type(error).__name__}: {error}")
            works[each] = False
    return 0 if works[name] else 1


def describe_compiled() -> str:
    """Say which instruction set the compiled CPU kernels use, and which are available."""
    usable = cpu_kernels.available()
    forced = ", by GPUNN_INSTRUCTIONS" if os.environ.get("GPUNN_INSTRUCTIONS") else ""
    text = f"{cpu_kernels.chosen()}{forced} (available: {', '.join(usable)})"
    has = cpu_kernels.of_this_cpu()
    if better := has[has.index(usable[-1]) + 1 :]:
        text += f". Not built, though this CPU has it: {', '.join(better)}"
        reasons = cpu_kernels.not_built()
        text += "".join(f". {name}: {reasons[name]}" for name in better if name in reasons)
    return text


def describe_blas(
    pools: list[dict[str, Any]], simd: list[str], gain: Callable[[], float] | None = None
) -> str:
    """Describe NumPy's BLAS library of these ``pools``, and what makes it faster on a CPU with
    these instruction sets.

    Args:
        gain: Measures how many times as fast a product is with kernels for AVX-512; by default
            `measured_gain`. It is called if BLAS leaves them out on a CPU that has it.
    """
    blas = next((pool for pool in pools if pool.get("user_api") == "blas"), None)
    if blas is None:
        return "unknown to threadpoolctl"
    core = blas.get("architecture")
    found = f"{blas['internal_api']} {blas['version'] or ''}".strip()
    threads = blas["num_threads"]
    text = f"{found}{f' for {core}' if core else ''}, {threads} thread{'s'[: threads - 1]}"
    if core in _AVX2_CORES and _AVX512 & set(simd):
        times = (gain or measured_gain)()
        if times >= WORTH_SETTING:
            text += (
                f". With its kernels for AVX-512, products are {times:.1f} times as fast here: set "
                f"{CORETYPE}={_AVX512_CORE} in the environment before Python starts"
            )
    return text


def measured_gain() -> float:
    """Return how many times as fast products are with OpenBLAS's kernels for AVX-512, each in a
    Python of its own: OpenBLAS chooses its kernels when it is loaded."""
    seconds = []
    for own in ({}, {CORETYPE: _AVX512_CORE}):
        command = [sys.executable, "-c", _PRODUCTS]
        done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True)
        if done.returncode:  # this OpenBLAS has no such kernels
            return 1.0
        seconds.append(float(done.stdout))
    return seconds[0] / seconds[1]


CORETYPE = "OPENBLAS_CORETYPE"
WORTH_SETTING = 1.1
_AVX512_CORE = "SKYLAKEX"
# The best of many times of the first layer's product in a batch of MNIST.
_PRODUCTS = """
import time
import numpy as np

x, w, times = np.ones((32, 784), "f"), np.ones((784, 128), "f"), []
for _ in range(2000):
    start = time.perf_counter()
    x @ w
    times.append(time.perf_counter() - start)
print(min(times))
"""
# OpenBLAS kernels without AVX-512, and NumPy's names for a CPU that supports SkylakeX's kernels.
_AVX2_CORES = ("Haswell", "Zen")
_AVX512 = {"AVX512_SKX", "X86_V4"}


def _simd() -> list[str]:
    found: Any = np.show_config(mode="dicts")
    extensions = found["SIMD Extensions"]
    return [*extensions.get("baseline", ()), *extensions.get("found", ())]


def check_kernel(backend: Backend) -> str:
    """Compile one kernel, run it, and check its result.

    Raises:
        RuntimeError: if the result differs from NumPy's.
    """
    start = time.perf_counter()
    pixels = np.arange(256, dtype=np.uint8)
    out = backend.empty(pixels.shape, "float32")
    backend.affine(backend.upload(pixels), 0.5, -1.0, out)
    found = backend.read(out)
    if not np.array_equal(found, pixels * np.float32(0.5) - 1):
        raise RuntimeError(f"a kernel computes {found[:4]} for 0.5 * x - 1 of 0 to 3")
    return f"compiled and correct in {time.perf_counter() - start:.2f} s"


def self_test(backend: str) -> str:
    """Train a small network on generated data and compare the loss with a known value.

    Raises:
        RuntimeError: if the loss is not the expected one.
    """
    x, y, weights = problem()
    sizes = [len(w) for w in weights[::2]] + [len(weights[-1])]
    layers = [Input((sizes[0],)), *(Dense(n, activation="relu") for n in sizes[1:-1])]
    model = Sequential([*layers, Dense(sizes[-1], activation="softmax")], backend=backend)
    model.compile(SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy")
    model.set_weights(weights)
    before = model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)  # compiles
    start = time.perf_counter()
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, initial_epoch=1, shuffle=False, verbose=0)
    steps = (EPOCHS - 1) * -(-len(x) // BATCH)
    rate = steps / (time.perf_counter() - start)
    after = model.evaluate(x, y, verbose=0)
    if not (after < before and abs(after / KNOWN_LOSS - 1) < TOLERANCE):
        raise RuntimeError(
            f"training took the loss from {before:.4f} to {after:.4f}, not to {KNOWN_LOSS:.4f}"
        )
    return f"ok, loss {before:.4f} to {after:.4f} as expected, {rate:,.0f} steps/s"


def problem() -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Return data in four classes, and the initial weights of a 16-32-4 network.

    There are no random numbers, so that every machine and framework gets the same values: sines
    of squares spread well enough.
    """

    def spread(*shape: int) -> np.ndarray:
        n = np.arange(int(np.prod(shape)), dtype=np.float64)
        return np.sin(n * n).reshape(shape)

    x = spread(512, 16)
    y = (x @ spread(16, 4)).argmax(axis=1)
    weights = [0.4 * spread(16, 32), np.zeros(32), 0.4 * spread(32, 4), np.zeros(4)]
    return x, y, weights


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _report(label: str, text: str) -> None:
    lines = textwrap.fill(text, 80, initial_indent=label.ljust(11), subsequent_indent=" " * 11)
    print(lines, flush=True)
