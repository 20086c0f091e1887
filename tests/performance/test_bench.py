"""The race of the benchmarks: its statistics, fairness, and behaviour on failures."""

from __future__ import annotations

import doctest
import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.common import machine, samples, workloads
from benchmarks.race import catalog, cold, page, processes, rounds, sections, suite, tiers
from benchmarks.race.one_point_a_step import IN_ORDER, TEN_ROWS
from gpunn.apps.cli import main
from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.checks("benchmarks")

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "bench.json"
OURS = ["gpunn", "gpunn (NumPy)"] if cpu_kernels.why_not() is None else ["gpunn (NumPy)"]


# -- statistics


@pytest.mark.parametrize("module", [machine, samples, sections, workloads])
def test_examples_in_the_docstrings(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_quartiles_are_those_of_the_textbook() -> None:
    """Hyndman and Fan's seventh definition, as in R and NumPy, computed by hand."""
    assert samples.quartiles([15, 20, 35, 40, 50]) == (20, 35, 40)
    assert samples.quartiles([7, 1, 3, 10]) == (2.5, 5, 7.75)
    assert samples.quartiles([2.0, None]) == (2, 2, 2)
    with pytest.raises(ValueError, match="values are empty"):
        samples.quartiles([None])


def test_ratios_are_formed_within_a_round() -> None:
    """A slow round of the machine slows both, which makes no difference between them."""
    noise = [1.0, 5.0, 1.0, 3.0, 1.0, 2.0, 1.0]
    ours, theirs = noise, [1.3 * seconds for seconds in noise]
    within = samples.ratios(theirs, ours)
    assert within == pytest.approx([1.3] * 7)
    assert samples.verdict(within) == "1.3"
    assert samples.ratios([1.0, None, 6.0], [2.0, 1.0, None]) == [0.5]


@pytest.mark.parametrize("seed", range(5))
def test_a_difference_smaller_than_the_spread_is_not_called_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ours, theirs = (list(1 + 0.1 * generator.standard_normal(41)) for _ in range(2))
    assert samples.verdict(samples.ratios(theirs, ours)) == "as fast"
    slower = [1.5 * seconds for seconds in theirs]
    assert 1.4 < float(samples.verdict(samples.ratios(slower, ours))) < 1.6
    assert samples.verdict(samples.ratios(slower[:2], ours[:2])) == "too few"


# -- the race


FAKE = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace

REQUIRES = ()
VARIANTS = {"sound": {}, "raises": {"how": "raises"}, "dies": {"how": "dies"},
            "hangs": {"how": "hangs"}, "twice": {"quick": 2}, "never starts": {"how": "never"}}

def prepare(data, how="", quick=0):
    assert (data["x"].sum(), data["y"].sum(), len(data["y_test"])) == (40, 80, 20)
    assert data["x"].shape[1:] == (28, 28) and data["x"].dtype == "uint8"
    assert [w.shape for w in data["weights"]][:2] == [(784, 16), (16,)]
    if how == "never":
        raise OSError("no such library")
    log, name = Path(os.environ["LOG"]), sys.argv[2]
    calls = 0
    def epoch():
        nonlocal calls
        calls += 1
        with log.open("a") as file:
            file.write(f"{name} {data['threads']}\\n")
        print("chatter")  # must not be taken for an answer
        if calls > 4 and how == "raises":
            raise ArithmeticError("seven is no number")
        if calls > 4 and how == "dies":
            os._exit(7)
        if calls > 4 and how == "hangs":
            time.sleep(600)
        # More threads are better for one of them only.
        time.sleep(0.02 if data["threads"] == quick else 0.05)
    return SimpleNamespace(epoch=epoch, accuracy=lambda: calls / 100,
                           predict=lambda x: x[:, :10])
"""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, processes.Program]:
    file = tmp_path / "fake.py"
    file.write_text(FAKE)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, array in zip(workloads.NAMES, small_data(), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    names = ("sound", "raises", "dies", "hangs", "twice", "never starts")
    return {name: processes.Program(name, file, name, chooses_threads=True) for name in names}


def small_data() -> list[np.ndarray]:
    """More training rows than the requested 40; a sample's sum is 1, labels are 2."""
    x, y, x_test, y_test = (
        np.zeros(shape, np.uint8) for shape in ((50, 28, 28), (50,), (20, 28, 28), (20,))
    )
    x[:, 0, 0], y[:] = 1, 2
    return [x, y, x_test, y_test]


SHORT = rounds.Measure("epoch", {"do": "epoch"}, 0.001)


def test_rounds_are_interleaved_and_passes_are_as_many(
    fakes: dict[str, processes.Program], tmp_path: Path
) -> None:
    programs = [fakes["sound"], fakes["twice"]]
    with rounds.Race(programs, "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        # Both have made two passes when their accuracy is requested.
        assert contest.accuracy == {"sound": 0.02, "twice": 0.02}
        (tmp_path / "log").write_text("")
        found = contest.run([SHORT], 3, tell=lambda text: None)["epoch"]
    order = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert order == ["sound", "twice"] * 3
    assert {name: len(values) for name, values in found.items()} == {"sound": 3, "twice": 3}
    assert all(value > 0.04 for value in found["sound"])
    assert set(contest.first) == {"sound", "twice"} and not contest.failed


def test_the_better_number_of_threads_is_chosen(
    fakes: dict[str, processes.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "all_threads", lambda: 2)
    program = processes.Program("twice", fakes["twice"].file, "twice")
    with rounds.Race([program], "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        tried = contest.tried["epoch"]["twice"]
        assert contest.threads["epoch"]["twice"] == 2 and tried[1] > tried[2]
        assert [p.threads for p in contest.running["twice"]] == [2]


def test_who_breaks_is_reported_and_the_others_go_on(
    fakes: dict[str, processes.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "ANSWER_SECONDS", 1.0)
    programs = [fakes[n] for n in ("sound", "raises", "dies", "hangs", "never starts")]
    with rounds.Race(programs, "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        pids = [p.pid for running in contest.running.values() for p in running]
        found = contest.run([SHORT], 4, tell=lambda text: None)["epoch"]
    assert contest.failed == {
        "raises": "ArithmeticError: seven is no number",
        "dies": "ended with status 7: chatter",
        "hangs": "hung: no answer in 1 s",
        "never starts": "OSError: no such library",
    }
    assert None not in found["sound"] and len(found["sound"]) == 4
    assert [value is None for value in found["raises"]] == [False, False, True, True]
    assert "never starts" not in found
    assert len(pids) == 4 and not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Return whether a process is still running; a zombie does not count."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_who_is_very_slow_rests_after_three_rounds(
    fakes: dict[str, processes.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LONG_SECONDS", 0.035)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    programs = [fakes["sound"], fakes["twice"]]  # .05 and .02 s
    with rounds.Race(programs, "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        found = contest.run([SHORT], 5, tell=lambda text: None)["epoch"]
    assert [value is None for value in found["sound"]] == [False] * 3 + [True] * 2
    assert None not in found["twice"] and not contest.failed


def test_predictions_are_checked_and_what_is_not_offered_is_left_out(
    fakes: dict[str, processes.Program], tmp_path: Path
) -> None:
    measures = [rounds.predict(20), rounds.predict(20, "predict_on_batch")]
    with rounds.Race([fakes["sound"]], "W1", 40, tmp_path) as contest:
        contest.warm_up(measures, tell=lambda text: None)
        found = contest.run(measures, 3, tell=lambda text: None)
    assert len(found["predict 20"]["sound"]) == 3 and not found["predict_on_batch 20"]


def test_the_same_processes_serve_other_work(
    fakes: dict[str, processes.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "all_threads", lambda: 2)
    program = processes.Program("twice", fakes["twice"].file, "twice")
    with rounds.Race([program], "W1", 40, tmp_path, tests=False) as contest:
        pids = []
        for batch in (10, 20):
            contest.work = contest.work | {"batch": batch}
            contest.warm_up([SHORT], tell=lambda text: None, keep=True)
            pids.append([process.pid for process in contest.running["twice"]])
            assert len(contest.run([SHORT], 3, tell=lambda text: None)["epoch"]["twice"]) == 3
    assert pids[0] == pids[1] and len(pids[0]) == 2  # one with each number of threads
    assert not contest.accuracy and not contest.memory


def test_processes_that_were_started_together_go_from_workload_to_workload(
    fakes: dict[str, processes.Program], tmp_path: Path
) -> None:
    names = ("sound", "twice", "never starts")
    programs = [replace(fakes[name], chooses_threads=True) for name in names]
    pids = []
    with rounds.Race(programs, "W1", 40, tmp_path) as contest:
        contest.start_all()
        for _ in range(2):  # the contestants expect the weights of W1
            contest.turn_to("W1", 40)
            assert not contest.first and not contest.accuracy
            contest.warm_up([SHORT], tell=lambda text: None, keep=True)
            found = contest.run([SHORT], 3, tell=lambda text: None)["epoch"]
            assert {name: len(values) for name, values in found.items()} == {"sound": 3, "twice": 3}
            pids.append([p.pid for name in names[:2] for p in contest.running[name]])
    assert contest.failed == {"never starts": "OSError: no such library"}
    assert pids[0] == pids[1] and len(pids[0]) == 2 and not any(map(alive, pids[0]))


def test_memory_is_the_process_own_peak(
    fakes: dict[str, processes.Program], tmp_path: Path
) -> None:
    """Not that of the process that started it, which Linux would pass on."""
    ballast = np.ones(400 << 17)  # 400 MB here
    with rounds.Race([fakes["sound"]], "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
    assert 5e6 < contest.memory["sound"]["host"] < 200e6 < ballast.nbytes


def test_time_is_kept_for_what_comes_later(capsys: pytest.CaptureFixture[str]) -> None:
    setting = SimpleNamespace(tell=None, until=0.0)
    until = []

    def work() -> list[dict[str, Any]]:
        until.append(setting.until - time.monotonic())
        return [{"key": "done"}]

    def broken() -> list[dict[str, Any]]:
        raise LookupError("no such thing")

    stages = [
        suite.Stage("first", {"step"}, 10.0, work),
        suite.Stage("not asked for", {"memory"}, 10.0, work),
        suite.Stage("second", {"step"}, 30.0, broken),
        suite.Stage("third", {"step"}, 20.0, work),
        suite.Stage(suite.LAST, {"step"}, 400.0, work),
    ]
    report = {"results": [], "left_out": [], "broken": {}}
    suite.run_stages(stages, ["step"], setting, report, time.monotonic() + 100)
    assert until == pytest.approx([50, 100], abs=2)  # 100 minus the 50 of later stages; then all
    assert report["left_out"] == [suite.LAST]
    assert report["broken"] == {"second": "LookupError: no such thing"}
    assert report["results"] == [{"key": "done"}, {"key": "done"}]
    assert " 7:40 left  first" in capsys.readouterr().out


# -- the whole command


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(tier in text for tier in tiers.TIERS) and "--against NAME" in text
    assert max(map(len, text.splitlines())) < 80
    assert main(["bench", "--tier", "speed"]) == 2


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that runs the suite on little data, away from the results in the source tree."""
    monkeypatch.chdir(tmp_path)
    return [sys.executable, "-m", "gpunn", "bench", "--quick", "--against", "numpy"]


@pytest.mark.more
@pytest.mark.usefixtures("mnist")
def test_a_quick_run_from_end_to_end(small: list[str], tmp_path: Path) -> None:
    few = ["--tier", "step", "--tier", "cold", "--tier", "memory", "--rows", "320"]
    done = subprocess.run([*small, *few], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) < 80
    recorded = json.loads((tmp_path / "runs" / "bench" / "bench.json").read_text())
    keys = [entry["key"] for entry in recorded["results"]]
    epochs = ["W1 epoch", "W3 epoch", "W4 epoch", "W6 epoch"]
    assert keys == ["W2 epoch", "memory", *epochs, "cold", "first fit"]
    for entry in recorded["results"]:
        assert not entry["failed"]
        if "samples" in entry:
            # NumPy's tutorials have no convolution.
            neighbours = {catalog.NUMPY} - ({catalog.NUMPY} if "W4" in entry["key"] else set())
            if entry["key"] == "W6 epoch":  # the other frameworks' variants are not requested
                own = OURS[:-1]  # not that on NumPy
                neighbours |= {name + kind for name in own for kind in (IN_ORDER, TEN_ROWS)}
            expected = {*OURS} | neighbours
            if entry["key"] == "first fit":  # beside the import that each of them needs
                expected = {"gpunn", cold.ONLY_NUMPY}
            assert set(entry["samples"]) == expected
            rounds = 1 if entry["key"] in ("cold", "first fit") else 3
            assert all(len(values) == rounds for values in entry["samples"].values())
    w2 = recorded["results"][0]
    assert w2["steps"] == 10 and set(w2["accuracy"]) == {*OURS, catalog.NUMPY}
    text = (tmp_path / "runs" / "bench" / "bench.md").read_text()
    assert text == page.markdown(recorded, "bench") and "quick run" in text


@pytest.mark.usefixtures("mnist")
def test_ctrl_c_ends_every_process_and_keeps_what_was_done(
    small: list[str], tmp_path: Path
) -> None:
    running = subprocess.Popen(
        [*small, "--tier", "step", "--rows", "320"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    for line in running.stdout:
        if "W1 ..." in line:  # so W2 is done
            break
    deadline = time.monotonic() + 20
    while not (workers := workers_of(running.pid)) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted. Done so far: W2 epoch." in errors
    # A process that was just starting ends by itself, since nobody can send it requests.
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert workers and not any(alive(pid) for pid in workers)
    (file,) = tmp_path.rglob("interrupted.json")
    assert json.loads(file.read_text())["interrupted"]


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(number) for number in children.split()]


@pytest.mark.parametrize("backend", ["numpy", "compiled"])
def test_operations_of_the_contract_are_all_timed(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.race.operations", backend, "1"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    timed = found["operations"]
    assert {entry["operation"] for entry in timed} == set(found["contract"])
    assert len(found["contract"]) >= 13
    assert all(entry["bound"] > 0 and entry["samples"][0] > 0 for entry in timed)
    for workload, group in itertools.groupby(timed, lambda entry: entry["in"]):
        if workload in workloads.WORKLOADS:
            products = 3 * len(workloads.WORKLOADS[workload]["sizes"]) - 4
            assert sum(entry["operation"] == "matmul" for entry in group) == products
