"""Scripts, each in its own process that has already imported what most of them need.

Importing gpunn and Matplotlib takes longer than most examples. One process, this file as a
program, imports them and waits; it forks for each script, and the child becomes that script.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

TOOLS = Path(__file__).parents[2] / "tools"


def tool(name: str) -> dict[str, Any]:
    """Return the names of a script in tools/, in this process; it may import from another one."""
    sys.path.insert(0, str(TOOLS))
    try:
        return runpy.run_path(str(TOOLS / f"{name}.py"))
    finally:
        sys.path.remove(str(TOOLS))


class Scripts:
    """Runs scripts as ``python -W error`` does. Must be closed."""

    def __init__(self) -> None:
        self._waiting: subprocess.Popen[str] | None = None

    def run(self, path: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        if self._waiting is None:
            self._waiting = subprocess.Popen(
                [sys.executable, "-W", "error", __file__],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
                env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            )  # fmt: skip
        stdin, stdout = self._waiting.stdin, self._waiting.stdout
        assert stdin is not None and stdout is not None
        with TemporaryDirectory() as folder:
            outputs = [Path(folder, name) for name in ("out", "err")]
            try:
                print(json.dumps([*map(str, (cwd, *outputs, path)), *arguments]), file=stdin)
                stdin.flush()
                status = int(stdout.readline())
            except BaseException:  # such as a time limit: the script still runs
                self.close()
                raise
            printed = [output.read_text(encoding="utf-8") for output in outputs]
        return subprocess.CompletedProcess([str(path), *arguments], status, *printed)

    def close(self) -> None:
        if self._waiting is not None:
            os.killpg(self._waiting.pid, signal.SIGKILL)
            with self._waiting:
                self._waiting = None


def wait_for_scripts() -> None:
    """Return in a child, which must run the script in `sys.argv`."""
    import matplotlib.pyplot  # noqa: F401

    import gpunn  # noqa: F401

    for line in sys.stdin:
        folder, *outputs, path = (request := json.loads(line))[:4]
        if (child := os.fork()) == 0:
            for number, output in enumerate(outputs, 1):
                os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY), number)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.chdir(folder)
            sys.argv = request[3:]
            sys.path[0] = os.path.dirname(path)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


if __name__ == "__main__":
    wait_for_scripts()
    runpy.run_path(sys.argv[0], run_name="__main__")
