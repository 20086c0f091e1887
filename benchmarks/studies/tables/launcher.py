"""Runs a Python module, and writes what it took as JSON into a file: `launcher FILE MODULE ...`.

Linux counts what a process holds when it starts another in the other's peak memory. So a program is
started from here, where little has been imported.
"""

import json
import os
import subprocess
import sys
import time


def main(file: str, *command: str) -> int:
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command])
    _, status, used = os.wait4(process.pid, 0)
    unit = 1 if sys.platform == "darwin" else 1024
    took = {
        "cpu": used.ru_utime + used.ru_stime,
        "seconds": time.perf_counter() - begun,
        "memory": used.ru_maxrss * unit,
    }
    with open(file, "w") as out:
        json.dump(took, out)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
