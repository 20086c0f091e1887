"""The machine of the measurements: its description, and its load by other processes."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks import ROOT

PACKAGES = (
    "gpunn", "numpy", "torch", "jax", "jaxlib", "keras", "scikit-learn", "tensorboardX",
    "cupy-cuda12x", "cupy-cuda13x", "catboost", "flaml", "lightgbm", "pytabkit",
)  # fmt: skip
# The environment that holds every library to an instruction set, by its name.
INSTRUCTIONS = {
    "avx2": {
        "GPUNN_INSTRUCTIONS": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    },
}  # fmt: skip
SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", *INSTRUCTIONS["avx2"])
BUSY = 0.25  # the fraction of a core that others may take without a warning
QUERIED = (
    "name", "driver_version", "memory.total", "clocks.sm", "clocks.max.sm", "clocks.mem",
    "clocks.max.mem", "power.limit",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """Describe what the results depend on: processor, GPU, system, versions, commit."""
    info = _lines("/proc/cpuinfo")
    model = next((v for line in info if (v := _value(line, "model name"))), platform.processor())
    flags = next((v for line in info if (v := _value(line, "flags"))), "")
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": model,
        "cores": os.cpu_count(),
        "clocks_mhz": [float(v) for line in info if (v := _value(line, "cpu MHz"))],
        "avx512": "avx512f" in flags.split(),
        "memory_bytes": _memory(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
        "blas": _blas(),
        "compiled": _compiled(),
        "environment": {name: os.environ[name] for name in SETTINGS if name in os.environ},
        "cards": gpus(),
        "commit": commit(),
    }


@contextlib.contextmanager
def limited_to(instructions: str | None) -> Iterator[None]:
    """Hold the processes that are started within to an instruction set; None: to no one."""
    before = dict(os.environ)
    os.environ |= INSTRUCTIONS[instructions] if instructions else {}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def describe_for_children() -> dict[str, Any]:
    """Return `describe()` of a new process: libraries read their environment when they start."""
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def on_one_core() -> None:
    """Start anew on one core: libraries count the cores when they are loaded.

    CPU seconds are then those of work, not of threads that wait for each other.
    """
    if hasattr(os, "sched_getaffinity") and len(cores := os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {max(cores)})
        os.execv(sys.executable, sys.orig_argv)


def gpus() -> list[dict[str, str]]:
    """Return NVIDIA GPUs with driver, memory and clocks from nvidia-smi; none without one."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERIED)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = (line.split(", ") for line in done.stdout.splitlines() if line.strip())
    return [dict(zip(QUERIED, row, strict=False)) for row in rows]


def commit() -> str | None:
    """Return the commit of a source tree, with ``+`` if there are uncommitted changes.

    Results of benchmarks, and the README with their figures, do not count.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=ROOT)
        return done.stdout.strip()

    with contextlib.suppress(OSError):
        if (ROOT / ".git").exists() and (head := git("rev-parse", "--short", "HEAD")):
            code = (".", ":!benchmarks/results", ":!README.md")
            changed = git("status", "--porcelain", "--untracked-files=no", "--", *code)
            return f"{head}+" if changed else head
    return None


def line(m: dict[str, Any]) -> str:
    """Return a sentence for a page."""
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items() if v)
    gpu = "; ".join(f"{c['name']}, driver {c['driver_version']}" for c in m["cards"])
    settings = ", ".join(f"{name}={value}" for name, value in m["environment"].items())
    parts = [f"{m['cpu']}, {m['cores']} cores", gpu or "no card", m["system"]]
    compiled = m.get("compiled")
    parts += [f"Python {m['python']}", versions, m["blas"] or ""]
    parts += [f"compiled kernels for {compiled}" if compiled else "", settings]
    parts += [f"commit {m['commit'] or 'unknown'}", m["date"]]
    return "; ".join(filter(None, parts)) + "."


class Others:
    """The load of the machine by other processes during a measurement."""

    def __init__(self) -> None:
        self.before = load()
        self._begun, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def cores(self) -> float | None:
        """Return the number of cores that other processes kept busy, or None if unknown."""
        busy = _busy_seconds()
        if busy is None or self._busy is None:
            return None
        own = _own_seconds() - self._own
        return max(0.0, (busy - self._busy - own) / max(time.monotonic() - self._begun, 1e-9))


def load() -> float | None:
    """Return the load average: running or waiting processes over the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def complaint(before: float | None, others: float | None) -> str | None:
    """Return a sentence if the machine was busy, else None.

    Args:
        before: its load when the run began, which tells of the minute before.
        others: cores that other processes kept busy meanwhile, if that is known by now.

    >>> complaint(0.1, 0.05), complaint(1.5, None)
    (None, 'The machine was busy when it began (load 1.5): its times are too long.')
    """
    if others is not None and others > BUSY:
        return (
            f"Other processes kept {others:.2f} cores busy meanwhile: its times are too long, "
            f"and differ more than they should."
        )
    if others is None and before is not None and before > BUSY:
        return f"The machine was busy when it began (load {before:.1f}): its times are too long."
    return None


def _busy_seconds() -> float | None:
    lines = _lines("/proc/stat")
    if not lines:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, lines[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    return sum(os.times()[:4])  # including finished children


def _memory() -> int | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _blas() -> str | None:
    try:
        import numpy  # noqa: F401 (loads its BLAS)
        import threadpoolctl
    except ImportError:
        return None
    pools = [p for p in threadpoolctl.threadpool_info() if p.get("user_api") == "blas"]
    return ", ".join(f"{p['internal_api']} {p['version']} ({p['architecture']})" for p in pools)


def _compiled() -> str | None:
    """Return the instruction set of gpunn's compiled kernels, if there are any."""
    try:
        from gpunn.backends.compiled import cpu_kernels

        return cpu_kernels.chosen()
    except (ImportError, RuntimeError):
        return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _value(line: str, key: str) -> str | None:
    name, _, value = line.partition(":")
    return value.strip() if name.strip() == key else None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    print(json.dumps(describe()))
