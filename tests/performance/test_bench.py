"""The benchmarks: their arithmetic, their fairness, and what they do when something breaks."""

from __future__ import annotations

import doctest
import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks.common import machine, samples, workloads
from benchmarks.race import catalog, goals, one_point_a_step, page, rounds, suite, tiers
from gpunn.apps.cli import bench, main
from gpunn.backends.compiled import cpu_kernels

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "bench.json"


# -- statistics


@pytest.mark.parametrize("module", [machine, page, samples, workloads])
def test_examples_in_the_docstrings(module: Any) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_quartiles_are_those_of_the_textbook() -> None:
    """Hyndman and Fan's seventh definition, of R and NumPy, worked by hand."""
    assert samples.quartiles([15, 20, 35, 40, 50]) == (20, 35, 40)
    assert samples.quartiles([7, 1, 3, 10]) == (2.5, 5, 7.75)
    assert samples.quartiles([2.0, None]) == (2, 2, 2)
    with pytest.raises(ValueError, match="no value at all"):
        samples.quartiles([None])


def test_ratios_are_formed_within_a_round() -> None:
    """A slow round of the machine is slow for both, and no difference between them."""
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
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, rounds.Program]:
    file = tmp_path / "fake.py"
    file.write_text(FAKE)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name, array in zip(workloads.NAMES, small_data(), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
    names = ("sound", "raises", "dies", "hangs", "twice", "never starts")
    return {name: rounds.Program(name, file, name, chooses_threads=True) for name in names}


def small_data() -> list[np.ndarray]:
    """More training rows than the 40 that are asked for; a sample sums up to 1, labels are 2."""
    x, y, x_test, y_test = (
        np.zeros(shape, np.uint8) for shape in ((50, 28, 28), (50,), (20, 28, 28), (20,))
    )
    x[:, 0, 0], y[:] = 1, 2
    return [x, y, x_test, y_test]


SHORT = rounds.Measure("epoch", {"do": "epoch"}, 0.001)


def test_rounds_are_interleaved_and_passes_are_as_many(
    fakes: dict[str, rounds.Program], tmp_path: Path
) -> None:
    programs = [fakes["sound"], fakes["twice"]]
    with rounds.Race(programs, "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        # Both have made two passes when their accuracy is asked.
        assert contest.accuracy == {"sound": 0.02, "twice": 0.02}
        (tmp_path / "log").write_text("")
        found = contest.run([SHORT], 3, tell=lambda text: None)["epoch"]
    order = [line.split()[0] for line in (tmp_path / "log").read_text().splitlines()]
    assert order == ["sound", "twice"] * 3
    assert {name: len(values) for name, values in found.items()} == {"sound": 3, "twice": 3}
    assert all(value > 0.04 for value in found["sound"])
    assert set(contest.first) == {"sound", "twice"} and not contest.failed


def test_the_better_number_of_threads_is_chosen(
    fakes: dict[str, rounds.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "all_threads", lambda: 2)
    program = rounds.Program("twice", fakes["twice"].file, "twice")
    with rounds.Race([program], "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
        tried = contest.tried["epoch"]["twice"]
        assert contest.threads["epoch"]["twice"] == 2 and tried[1] > tried[2]
        assert [p.threads for p in contest.running["twice"]] == [2]


def test_who_breaks_is_reported_and_the_others_go_on(
    fakes: dict[str, rounds.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "ROUND_SECONDS", 1.0)
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
    """Whether a process does something still; what nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_who_is_very_slow_rests_after_three_rounds(
    fakes: dict[str, rounds.Program], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    fakes: dict[str, rounds.Program], tmp_path: Path
) -> None:
    measures = [rounds.predict(20), rounds.predict(20, "predict_on_batch")]
    with rounds.Race([fakes["sound"]], "W1", 40, tmp_path) as contest:
        contest.warm_up(measures, tell=lambda text: None)
        found = contest.run(measures, 3, tell=lambda text: None)
    assert len(found["predict 20"]["sound"]) == 3 and not found["predict_on_batch 20"]


def test_memory_is_the_process_own_peak(fakes: dict[str, rounds.Program], tmp_path: Path) -> None:
    """Not that of the process that started it, which Linux would hand down."""
    ballast = np.ones(400 << 17)  # 400 MB here
    with rounds.Race([fakes["sound"]], "W1", 40, tmp_path) as contest:
        contest.warm_up([SHORT], tell=lambda text: None)
    assert 5e6 < contest.memory["sound"]["host"] < 200e6 < ballast.nbytes


# -- the catalogue

OURS = ["gpunn", "gpunn (NumPy)"] if cpu_kernels.why_not() is None else ["gpunn (NumPy)"]


def test_every_file_of_contestants_can_be_asked_for() -> None:
    names = [v.name for v in catalog.variants()]
    assert len(names) == len(set(names)) and catalog.reference() == OURS[0]
    on_cpu = {name for name in names if catalog.ON_CARD not in name}
    named = {*catalog.QUICK, *catalog.YARDSTICKS, catalog.EAGER, catalog.JIT}
    assert named | {*tiers.BEGINNERS, *tiers.SLOW_LEARNERS} <= on_cpu
    assert any(word in name for word in catalog.SLOW for name in on_cpu)
    for v in catalog.variants():
        on_card = catalog.ON_CARD in v.name
        if v.file != catalog.OURS:
            assert v.options["device"] == ("cuda" if on_card else "cpu")
        else:
            assert (v.options["backend"] == "cupy") == on_card


def test_neighbours_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "jax", "keras", "sklearn"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    programs, absent = catalog.choose()
    assert absent[catalog.POINTS] == "libfann is not installed"
    assert [p.name for p in programs] == [*OURS, catalog.PRODUCTS, catalog.NUMPY]
    assert absent[catalog.EAGER] == "torch is not installed"
    assert "keras is not installed" in absent.values() and len(absent) >= 8


def test_numpy_stands_for_gpunn_where_nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_kernels, "why_not", lambda: "There was no compiler.")
    programs, absent = catalog.choose(["numpy"])
    assert [p.name for p in programs] == ["gpunn (NumPy)", catalog.NUMPY]
    assert absent["gpunn"] == "There was no compiler."
    assert catalog.reference() == "gpunn (NumPy)"


def test_against_names_neighbours_by_a_part_of_their_name() -> None:
    programs, _ = catalog.choose(["numpy"])
    assert [p.name for p in programs] == [*OURS, catalog.NUMPY]
    with pytest.raises(ValueError, match=r"--against 'numpi': no such neighbour. Known: bare_pro"):
        catalog.choose(["numpi"])


def test_the_command_names_the_suites_tiers() -> None:
    assert bench.TIERS == tiers.TIERS
    report = {"tiers": [], "mode": "default", "results": []}
    served = set()
    for stage in suite.all_stages(None, report, False):
        served |= stage.serves
    assert served == set(tiers.TIERS)


def can_train_points(name: str) -> bool:
    """Whether who trains the classic network under this name is here."""
    base = name.removesuffix(tiers.IN_ORDER)
    if base == "gpunn" and len(OURS) == 1:
        return False
    needs = next(v.requires for v in catalog.variants() if v.name == base)
    return catalog.why_absent(needs, on_card=False) is None


TRAINERS = [name for name in one_point_a_step.VARIANTS if can_train_points(name)]


def classic(name: str, rows: int, **options: Any) -> Any:
    variant = one_point_a_step.VARIANTS[name] | options
    return one_point_a_step.prepare({"x": np.zeros((rows, 1))}, **variant)


def test_who_trains_the_classic_network_is_known_to_the_tier() -> None:
    assert sorted(one_point_a_step.VARIANTS) == sorted(tiers.TEN_POINTS)
    assert {"gpunn (NumPy)", catalog.NUMPY} <= set(TRAINERS)
    assert "shuffled" in workloads.TITLES["W6"]


@pytest.mark.parametrize("name", TRAINERS)
def test_the_classic_network_is_trained_alike_by_everybody(name: str) -> None:
    """The same points in the same order: the same weights after two passes."""
    plain, program = (classic(n, 40, shuffle=False) for n in (catalog.NUMPY, name))
    first = [w.copy() for w in program.weights()]
    assert [w.shape for w in first] == [(2, 2), (2,), (2, 3), (3,), (3, 2), (2,)]
    for _ in range(2):
        plain.epoch(), program.epoch()
    trained = program.weights()
    assert all(np.abs(a - b).max() > 1e-3 for a, b in zip(first, trained, strict=True))
    for ours, theirs in zip(plain.weights(), trained, strict=True):
        np.testing.assert_allclose(theirs, ours, atol=1e-6)


@pytest.mark.parametrize("name", TRAINERS)
def test_who_is_not_in_order_shuffles_each_pass(name: str) -> None:
    """Each pass of two points leads to where one of the two orders leads, and both occur."""
    x, y = (np.array(a, np.float32) for a in ([[1.5, -1.0], [-1.0, 0.5]], [[1, 0], [0, 1]]))
    variant = dict(one_point_a_step.VARIANTS[name])
    how, shuffle = variant.pop("how"), variant.pop("shuffle", True)
    generator = np.random.default_rng(1)
    weights = [w.astype(np.float32) for n, m in ((2, 2), (2, 3), (3, 2))
               for w in (generator.normal(0, 1, (n, m)), generator.normal(0, 1, m))]  # fmt: skip
    epoch, current = how(x, y, weights, shuffle, **variant)
    seen = []
    for _ in range(24):
        before = [np.array(w) for w in current()]
        epoch()
        after = np.concatenate([np.ravel(w) for w in current()])
        far = []
        for order in ([0, 1], [1, 0]):
            step, result = one_point_a_step.by_hand(x[order], y[order], before, False)
            step()
            far.append(np.abs(np.concatenate([np.ravel(w) for w in result()]) - after).max())
        assert min(far) < 1e-6 < max(far)
        seen.append(int(np.argmin(far)))
    assert set(seen) == ({0} if name.endswith(tiers.IN_ORDER) else {0, 1})


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
    assert until == pytest.approx([50, 100], abs=2)  # 100 but the 50 of those after it; all
    assert report["left_out"] == [suite.LAST]
    assert report["broken"] == {"second": "LookupError: no such thing"}
    assert report["results"] == [{"key": "done"}, {"key": "done"}]
    assert " 7:40 left  first" in capsys.readouterr().out


# -- pages


def report() -> dict[str, Any]:
    """A report with every kind of entry, in which gpunn takes 1 and others more."""
    seven = [1.0, 1.01, 0.99, 1.0, 1.02, 0.98, 1.0]

    def times(factor: float) -> list[float | None]:
        return [factor * seconds for seconds in seven]

    names = {"gpunn": 1.0, catalog.PRODUCTS: 0.8, catalog.FUSED: 1.5, catalog.EAGER: 3.5,
             catalog.JIT: 1.001, catalog.SCAN: 1.9, catalog.NUMPY: 2.0}  # fmt: skip

    def entry(key: str, steps: int | None, scale: float, **more: Any) -> dict[str, Any]:
        return {
            "key": key, "tiers": ["step", "epoch"] if key == "W2 epoch" else ["step"],
            "title": "784-10", "rows": 10_000, "steps": steps,
            "samples": {n: times(scale * factor) for n, factor in names.items()},
            "first": dict.fromkeys(names, 3.0),
            "threads": dict.fromkeys(names, 1) | {"gpunn": None},
            "tried": {n: {"1": scale, "2": 2 * scale} for n in names},
            "accuracy": dict.fromkeys(names, 0.9712), "passes": 2, "failed": {}, **more,
        }  # fmt: skip

    on_batch = {"samples": {"gpunn": times(5e-5), "gpunn, predict_on_batch": times(1e-5),
                            catalog.EAGER: [0.9e-5, 1.1e-5] * 3 + [None]}}  # fmt: skip
    runs = [{"seed": s, "seconds": [1.0, 2.0], "accuracy": [0.9, 0.976]} for s in range(10)]
    runs[3]["accuracy"] = [0.98, 0.99]
    return {
        "machine": machine.describe() | {"date": "2026-01-02", "cards": [], "commit": "abc"},
        "reference": "gpunn", "mode": "default", "absent": {"JAX": "jax is not installed"},
        "data": "MNIST", "seconds": 600.0, "interrupted": False, "load_before": 0.0,
        "others_cores": 0.01, "left_out": [], "broken": {},
        "results": [
            entry("W1 epoch", 1000, 0.1), entry("W2 epoch", 2000, 0.4),
            entry("W3 epoch", 100, 1.0, failed={"scikit-learn": "ended with status 1: <bad>"}),
            entry("W4 epoch", 100, 1.0), entry("W6 epoch", 1000, 0.002),
            entry("W5a", None, 0.01), entry("W5b", None, 1e-5, **on_batch),
            entry("cold", None, 1.2),
            entry("five epochs", None, 3.3, accuracy={"gpunn": 0.976}),
            entry("callbacks", 2000, 1.0),
            {"key": "memory", "tiers": ["memory"], "title": "784-10", "rows": 60_000, "passes": 1,
             "bytes": {"gpunn": {"host": 150_000_000, "card": None}}, "failed": {}},
            {"key": "together W2", "tiers": ["together"], "title": "784-10", "rows": 100,
             "alone": {"gpunn": [1.0, 1.0, 1.0]}, "failed": {},
             "both": {"gpunn": [[2.0, 2.2], [2.6, 1.0], [2.3, 2.4]]}},
            {"key": "accuracy", "tiers": ["accuracy"], "title": "784-10", "targets": [0.975, 0.98],
             "most_epochs": 30, "seeds": 10, "runs": {"gpunn": runs}, "failed": {}},
            {"key": "operation numpy", "tiers": ["operation"], "backend": "numpy", "rates": {},
             "contract": ["affine", "matmul"], "failed": {},
             "operations": [{"in": "W1", "operation": "matmul", "formula": "", "bytes": 8,
                             "shapes": {"a": [2, 3], "b": [3, 4], "out": [2, 4]}, "flops": 48,
                             "launches": 0, "samples": [4e-6, 5e-6, 6e-6], "bound": 2.5e-6}]},
        ],
    }  # fmt: skip


def test_goals_are_computed_from_the_samples() -> None:
    found = {goal.text.split(":")[0] + goal.text[-6:]: goal for goal in goals.goals(report())}
    reached = [goal.reached for goal in goals.goals(report())]
    # 1 / 1.9; 1 / 3.5; 1 / 1.9; 1 / 1.5; as fast as JAX is no slower; 1 / 3.5; the same; .05 ms of
    # .01; 2 us a step; 1.2 s; 3.3 s to 97.6%; 150 MB; 2.4 of 2.2, 2.6 and 2.4; no such entry.
    assert reached == [
        False, False, True, False, True, True, True, False, True, False, False, True, False, None,
    ]  # fmt: skip
    assert len(found) == len(reached)
    slow = report()
    slow["results"][2]["samples"]["gpunn"] = [1.2] * 7
    assert [goal.reached for goal in goals.goals(slow)][4] is False
    quick = report()
    five = goals.entry(quick, "five epochs")
    five["samples"]["gpunn"] = [0.75] * 7
    (goal,) = (g for g in goals.goals(quick) if g.text.startswith("Five epochs"))
    assert (goal.figure, goal.reached) == ("0.75 s, 97.60%", True)
    five["accuracy"]["gpunn"] = 0.97
    (goal,) = (g for g in goals.goals(quick) if g.text.startswith("Five epochs"))
    assert (goal.figure, goal.reached) == ("0.75 s, 97.00%", False)


def test_a_page_says_what_the_samples_say() -> None:
    text = page.markdown(report(), "bench")
    for row in (
        "| gpunn | 0.2 | 0.4 | 0.199 - 0.201 |  | its own choice | 0.9712 | 3 |",
        "| PyTorch, fused optimizer | 0.3 | 0.6 | 0.299 - 0.302 | 1.5 (1.5 - 1.5) | 1 (2: 0.4) |",
        "| PyTorch | 0.01 | 0.009 - 0.011 | as fast (",
        "| gpunn | 97.5% | 3 (3 - 3) | 10 of 10 |",
        "| gpunn | 98.0% | 1 (1 - 1) | 1 of 10 |",
        "| gpunn | 1e+03 | 2.4e+03 | 2.4 (2.3 - 2.5) |",
        "| gpunn | 150 |  |",
        "| W1 | matmul | 2x3, 3x4, 2x4 | 5 | 4.5 - 5.5 | 2.5 | 2 |",
        "Not timed: affine.",
        "Failed: scikit-learn: ended with status 1: <bad>.",
        "Absent: JAX (jax is not installed). 10.0 minutes in all.",
        "| W4: at most 0.75 of PyTorch | 0.286 times (0.286 - 0.286) | reached |",
    ):
        assert row in text, row
    for name in page.pictures(report(), "bench"):
        assert f"]({name})" in text
    busy = report() | {"others_cores": 0.7, "interrupted": True}
    assert "0.70 cores busy" in page.markdown(busy, "bench")
    assert max(map(len, page.terminal(busy).splitlines())) < 80
    short = [3.04e-7, 3.43e-7, 3.97e-7]  # of a step of a small network on a busy machine
    busy["results"][0] |= {"steps": 1, "samples": {"gpunn": short, "x" * 50: short[::-1]}}
    assert max(map(len, page.terminal(busy).splitlines())) < 80
    quick = report()
    quick["results"][0]["samples"] = {"gpunn": [0.1, 0.1, 0.1]}
    assert "**Fewer than 7 rounds" in page.markdown(quick, "bench")
    json.dumps(report())


def test_the_readme_takes_its_figures_from_the_report() -> None:
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter {page.END}"
    new = page.with_figures(text, page.figures(report()))
    assert new.startswith(f"before\n{page.BEGIN}\n| ms | W1 | W2 | W3 | W4 | W5a | W5b | W6 |\n")
    assert new.endswith(f").\n{page.END}\nafter {page.END}") and "old" not in new
    assert "| gpunn | 0.1 | 0.2 | 10 | 10 | 10 | 0.05 | 0.002 |" in new
    assert "| gpunn, predict_on_batch |  |  |  |  |  | 0.01 |  |" in new
    assert "](benchmarks/results/bench-w2-epoch.svg)" in new
    assert "bench-w2-epoch.svg" in page.pictures(report(), "bench")


def test_page_and_readme_are_made_from_the_recorded_run() -> None:
    found = json.loads(RESULT.read_text()) if RESULT.exists() else None
    text = (ROOT / "README.md").read_text()
    assert page.with_figures(text, page.figures(found)) == text, "run benchmarks.race.page"
    for file in RESULT.parent.glob("bench*.json"):
        recorded = json.loads(file.read_text())
        assert page.markdown(recorded, file.stem) == file.with_suffix(".md").read_text()
        for name, picture in page.pictures(recorded, file.stem).items():
            assert file.with_name(name).read_text() == picture, name


# -- all of it


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(tier in text for tier in tiers.TIERS) and "--against NAME" in text
    assert max(map(len, text.splitlines())) < 80
    assert main(["bench", "--tier", "speed"]) == 2


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that runs the suite on little, away from the tree's results."""
    monkeypatch.chdir(tmp_path)
    return [sys.executable, "-m", "gpunn", "bench", "--quick", "--against", "numpy"]


@pytest.mark.usefixtures("mnist")
def test_a_quick_run_from_end_to_end(small: list[str], tmp_path: Path) -> None:
    few = ["--tier", "step", "--tier", "cold", "--tier", "memory", "--rows", "320"]
    done = subprocess.run([*small, *few], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) < 80
    recorded = json.loads((tmp_path / "runs" / "bench" / "bench.json").read_text())
    keys = [entry["key"] for entry in recorded["results"]]
    assert keys == ["W2 epoch", "memory", "W1 epoch", "W3 epoch", "W4 epoch", "W6 epoch", "cold"]
    for entry in recorded["results"]:
        assert not entry["failed"]
        if "samples" in entry:
            # NumPy's tutorials have no convolution.
            neighbours = {catalog.NUMPY} - ({catalog.NUMPY} if "W4" in entry["key"] else set())
            if entry["key"] == "W6 epoch":  # of the others' variants none is asked for
                neighbours |= {name + tiers.IN_ORDER for name in OURS if name == "gpunn"}
            assert set(entry["samples"]) == {*OURS} | neighbours
            rounds = 1 if entry["key"] == "cold" else 3
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
    # One that was being started just then ends by itself, since nobody can ask it anything.
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
