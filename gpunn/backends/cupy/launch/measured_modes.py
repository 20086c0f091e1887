"""Launch modes that somebody measured to be the fastest: they overrule the prediction.

``gpunn doctor --step --keep-mode`` and ``make gpu ARGS=--keep-modes`` write them to the file
``launch_modes.json`` in the folder of cached files. A GPU's backend reads it when it is made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gpunn.backends.contract.backend import LAUNCH_MODES
from gpunn.common.atomic_files import atomic_write
from gpunn.common.cache import cache_folder
from gpunn.common.names import warn
from gpunn.common.stored import ByName, Text

_SCHEMA = ByName(ByName(Text(LAUNCH_MODES)))  # by GPU and `step_key`


def settings_path() -> Path:
    """Return the path of the file."""
    return cache_folder() / "launch_modes.json"


def measured_modes(gpu: str) -> dict[str, str]:
    """Return the modes measured on the GPU with this name, by `step_key`.

    A file that cannot be read is done without; a warning says so.
    """
    return _read().get(gpu, {})


def keep_mode(gpu: str, step: str, mode: str) -> None:
    """Write that a step takes this mode on the GPU with this name, or raise an OSError."""
    modes = _read()
    modes.setdefault(gpu, {})[step] = mode
    path = settings_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, [json.dumps(modes, indent=1).encode()])


def _read() -> Any:
    path = settings_path()
    try:
        return _SCHEMA.check(json.loads(path.read_bytes()), "modes")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        warn(
            f"Measured launch modes are not used, but predicted ones: {path} cannot be read: "
            f"{error} Delete it, or write it anew with 'gpunn doctor --step --keep-mode'."
        )
        return {}
