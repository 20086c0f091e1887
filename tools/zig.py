"""Zig's C++ compiler, from the package ``ziglang``: for wheels of each Linux, and for browsers.

All clones of a machine share one copy of it, in gpunn's cache. Zig compiles the C++ library for
each target once, and ccache each source; both go by the path of Zig's headers.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from gpunn.common.cache import cache_folder


def program() -> Path:
    """Return the program of this version, copied to the cache if it is not there.

    Raises:
        ModuleNotFoundError: if the package ``ziglang`` is not installed.
    """
    import ziglang

    package = Path(ziglang.__file__).parent
    shared = cache_folder().absolute() / f"zig-{metadata.version('ziglang')}"
    if not os.path.isfile(shared / "zig"):  # False also where the folder cannot be searched
        with contextlib.suppress(OSError):  # no room, or another process was faster
            shared.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=shared.parent) as folder:
                shutil.copytree(package, Path(folder, "zig"), symlinks=True)
                os.rename(Path(folder, "zig"), shared)
    return next(path for path in (shared / "zig", package / "zig") if os.path.isfile(path))


def compiler(folder: Path, *arguments: str) -> tuple[str, dict[str, str]]:
    """Return the command of the compiler with these arguments, and variables that it needs.

    The command is a script in the folder, after ccache if that is installed.
    """
    script = folder / "zig-c++"
    command = shlex.join([str(program()), "c++", *arguments])
    script.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    # What ccache cannot see: the script stands in another folder each time.
    variables = {
        "CCACHE_COMPILERTYPE": "clang",
        "CCACHE_COMPILERCHECK": f"string:{metadata.version('ziglang')} {command}",
        "CCACHE_NOHASHDIR": "true",
    }
    return shlex.join(filter(None, [shutil.which("ccache"), str(script)])), variables
