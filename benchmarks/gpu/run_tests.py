"""Run tests for ``make gpu`` in separate processes, and receive each result as the test ends.

Run as a program, it is such a process: it reads the selection of tests from its input, and writes
a line of JSON for each test that begins or ends.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pytest

from .processes import started

TEST_SECONDS = 90  # a test that takes longer ends its process
# After one of these errors, every CUDA call of the process fails.
LOST = re.compile(
    r"(cudaError|CUDA_ERROR_)\w*(illegal|launch_?(failed|failure|time)|misaligned|stack|assert|ecc)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Wanted:
    """A selection of tests.

    Attributes:
        files: the test files.
        backend: select tests of this backend, ``cupy`` or ``emulated``.
        expression: as pytest's ``-k``, "" for all.
        sample: ``first`` selects one case of each registered name, ``rest`` the others.
        share, shares: select every ``shares``-th test, starting with number ``share``.
        skip: tests that were already run.
    """

    files: Sequence[str]
    backend: str
    expression: str = ""
    sample: str = "all"
    share: int = 0
    shares: int = 1
    skip: Sequence[str] = ()


class Watched:
    """The results that the processes have reported so far.

    Attributes:
        collected: the number of tests.
        cases: outcome, message and seconds of each finished test.
        left_out: files that could not be imported, and why: missing packages.
    """

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self.collected, self.cases = 0, dict[str, dict[str, Any]]()
        self.left_out: dict[str, str] = {}
        self._tell, self._reported_at, self._lock = tell, time.monotonic(), threading.Lock()

    def add(self, name: str, outcome: str, message: str, seconds: float) -> None:
        with self._lock:
            self.cases[name] = {"outcome": outcome, "message": message, "seconds": seconds}
            if time.monotonic() - self._reported_at > 1:  # write the file once a second
                self._tell(self.report())
                self._reported_at = time.monotonic()

    def report(self) -> dict[str, Any]:
        found = {"collected": self.collected, "cases": dict(self.cases)}
        return {**found, "left_out": dict(self.left_out)} if self.left_out else found


def run(
    wanted: Wanted, processes: int, until: float, tell: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run the tests in parallel processes; return the results by the time ``until``.

    ``tell`` is called repeatedly with the results so far. If a test ends its process, or
    leaves CUDA unusable, this is recorded, and a new process continues with the next test.
    """
    watched = Watched(tell)
    threads = [
        threading.Thread(
            target=_run_share, args=(replace(wanted, share=i, shares=processes), until, watched),
            daemon=True,
        ) for i in range(processes)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return watched.report()


def _run_share(wanted: Wanted, until: float, watched: Watched) -> None:
    goes_on = True
    counted = False
    while goes_on and time.monotonic() < until:
        begun, names, goes_on = "", list(wanted.skip), False
        with started("benchmarks.gpu.run_tests", until) as (process, given, output):
            try:
                given.write(json.dumps(asdict(wanted)))
                given.close()
                for line in output:
                    news = json.loads(line)
                    if "collected" in news:
                        watched.collected += 0 if counted else news["collected"]
                        counted = True
                    elif "left_out" in news:
                        watched.left_out |= news["left_out"]
                    elif "begun" in news:
                        begun = news["begun"]
                    else:
                        names.append(begun)
                        watched.add(begun, **news)
                        goes_on = bool(LOST.search(news["message"]))  # the process ends itself
                        begun = ""
                process.wait()
            except (OSError, ValueError):  # the time limit was reached
                begun = ""
        if begun and time.monotonic() < until:
            watched.add(begun, "failed", f"it ended its process: {process.returncode}", 0.0)
            names.append(begun)
            goes_on = True
        wanted = replace(wanted, skip=names)


class _Plugin:
    """Select the requested tests, and report when each begins and how it ends."""

    def __init__(self, wanted: Wanted, say: Callable[..., None]) -> None:
        self.wanted, self.say = wanted, say

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            last = str(report.longrepr).strip().splitlines()[-1]
            self.say(left_out={report.nodeid: last.removeprefix("E").strip()[:300]})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        wanted = self.wanted
        if wanted.sample != "all":
            first, rest, seen = [], [], set()
            for item in items:
                given = getattr(item, "callspec", None)
                case = given.params if given else {}
                key = item.name.partition("[")[0], case.get("kind"), case.get("name")
                (rest if key in seen else first).append(item)
                seen.add(key)
            items[:] = first if wanted.sample == "first" else rest
        items[:] = items[wanted.share :: wanted.shares]
        self.say(collected=len(items))
        items[:] = [item for item in items if item.nodeid not in wanted.skip]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.say(begun=nodeid)
        self.outcome, self.message, self.seconds = "passed", "", 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds += report.duration
        if report.failed:
            self.outcome, self.message = "failed", _message(report)
        elif report.skipped and self.outcome == "passed":
            self.outcome = "skipped"

    def pytest_runtest_logfinish(self) -> None:
        self.say(outcome=self.outcome, message=self.message, seconds=self.seconds)
        if LOST.search(self.message):
            pytest.exit("this process can no longer use the GPU", 1)


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return (crash.message if crash else str(report.longrepr))[:500]


def main() -> int:
    wanted = Wanted(**json.load(sys.stdin))
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # pytest's output goes to the terminal

    def say(**what: Any) -> None:
        lines.write(json.dumps(what) + "\n")

    chosen = ["-m", "gpu"] if wanted.backend == "cupy" else []
    about = "" if wanted.backend == "cupy" else f"[{wanted.backend}"
    expression = " and ".join(filter(None, (about, wanted.expression)))
    # CuPy's warnings are not our fault: they are shown, not raised as errors.
    options = ["-q", "-W", "default", "-o", f"faulthandler_timeout={TEST_SECONDS}"]
    options += ["--continue-on-collection-errors", "-p", "no:cacheprovider"]
    options += [*chosen, *(["-k", expression] if expression else [])]
    return pytest.main([*options, *wanted.files], plugins=[_Plugin(wanted, say)])


if __name__ == "__main__":
    sys.exit(main())
