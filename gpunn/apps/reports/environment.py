"""The environment of a run, and how to repeat it."""

from __future__ import annotations

import os
import platform
import pprint
import shlex
import sys
from typing import Any

import numpy as np

from gpunn import __version__

LONGEST = 20_000  # characters of code


def environment(model: Any) -> dict[str, str]:
    """Describe the software versions and the machine that a model computes with."""
    backend = model.backend
    found = {
        "gpunn": __version__,
        "backend": f"{backend.name}, {model.dtype}",
        "Python": f"{platform.python_version()} ({platform.python_implementation()})",
        "NumPy": np.__version__,
        "system": f"{platform.system()} {platform.release()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
    }
    if gpu := getattr(backend, "device_name", None):
        found["card"] = str(gpu)
    threads = [f"{n}={os.environ[n]}" for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
               if n in os.environ]
    return {**found, **({"threads": ", ".join(threads)} if threads else {})}


def _processor() -> str:
    """Return the processor's name from Linux, or from Python."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, if the system reports it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most) * (1 if sys.platform == "darwin" else 1024)


def command() -> str:
    """Return the command line of this process if it runs a user's script, else an empty string."""
    script = sys.argv[0] if sys.argv else ""
    if not script or not os.path.isfile(script) or "ipykernel" in sys.modules:
        return ""
    return shlex.join([os.path.basename(sys.executable) or "python", *sys.argv])


def code(model: Any, params: dict[str, Any]) -> str:
    """Return Python code that builds and trains an equal model; empty if that is not possible."""
    try:
        made = pprint.pformat(model.get_config(), width=88, sort_dicts=False)
        compiled = pprint.pformat(model.get_compile_config(), width=88, sort_dicts=False)
    except (TypeError, ValueError, NotImplementedError):
        return ""  # parts that are not registered
    cls = "Sequential" if type(model).__name__ == "Sequential" else "Model"
    if type(model).__name__ != cls or len(made) + len(compiled) > LONGEST:
        return ""
    size = f", batch_size={params['batch_size']}" if params.get("batch_size") else ""
    return (
        f"import gpunn\n\nmodel = gpunn.{cls}.from_config({made})\n"
        f"model.compile_from_config({compiled})\n"
        f"model.fit(x, y{size}, epochs={params.get('epochs')})\n"
    )
