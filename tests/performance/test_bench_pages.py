"""The pages generated from a benchmark report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.common import machine
from benchmarks.race import catalog, goals, page, readme
from benchmarks.race.cold import ONLY_NUMPY
from benchmarks.race.one_point_a_step import IN_ORDER, TEN_ROWS

pytestmark = pytest.mark.checks("benchmarks")

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def report() -> dict[str, Any]:
    """A report with every kind of entry, in which gpunn takes 1 and the others more."""
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
                            catalog.EAGER: [0.9e-5, 1.1e-5] * 3 + [None],
                            catalog.SCAN: times(4e-5)}}  # fmt: skip
    points = {n: times(f) for n, f in (("gpunn", 0.002), (catalog.POINTS, 0.004),
                                       (catalog.SCAN, 0.003), (catalog.SCAN + IN_ORDER, 0.001),
                                       ("gpunn" + TEN_ROWS, 0.007))}  # fmt: skip

    def shape(name: str, factor: float) -> dict[str, Any]:
        samples = {"gpunn": times(factor), catalog.SCAN: times(1.0), catalog.FUSED: times(1.5)}
        return {"name": name, "steps": 10, "samples": samples, "threads": {"gpunn": None}}

    runs = [{"seed": s, "seconds": [1.0, 2.0], "accuracy": [0.9, 0.976]} for s in range(10)]
    runs[3]["accuracy"] = [0.98, 0.99]
    return {
        "machine": machine.describe()
        | {"date": "2026-01-02", "cards": [], "commit": "abc", "compiled": "avx2"},
        "reference": "gpunn", "mode": "default", "absent": {"JAX": "jax is not installed"},
        "data": "MNIST", "seconds": 600.0, "interrupted": False, "load_before": 0.0,
        "others_cores": 0.01, "left_out": [], "broken": {},
        "results": [
            entry("W1 epoch", 1000, 0.1), entry("W2 epoch", 2000, 0.4),
            entry("W3 epoch", 100, 1.0, failed={"scikit-learn": "ended with status 1: <bad>"}),
            entry("W4 epoch", 100, 1.0), entry("W6 epoch", 1000, 0.002, samples=points),
            entry("W2 dense", 2000, 0.4),
            entry("W5a", None, 0.01), entry("W5b", None, 1e-5, **on_batch),
            entry("W5a dense", None, 0.01), entry("cold", None, 1.2),
            entry("first fit", None, 1.0, samples={"gpunn": times(0.3), ONLY_NUMPY: times(0.1)}),
            entry("five epochs", None, 3.3, accuracy={"gpunn": 0.976}),
            entry("callbacks", 2000, 1.0),
            {"key": "memory", "tiers": ["memory"], "title": "784-10", "rows": 60_000, "passes": 1,
             "bytes": {"gpunn": {"host": 150_000_000, "card": None}}, "failed": {}},
            {"key": "together W2", "tiers": ["together"], "title": "784-10", "rows": 100,
             "alone": {"gpunn": [1.0, 1.0, 1.0]}, "failed": {},
             "both": {"gpunn": [[2.0, 2.2], [2.6, 1.0], [2.3, 2.4]]}},
            {"key": "busy W2", "tiers": ["together"], "title": "784-10", "rows": 100, "steps": 10,
             "alone": {"gpunn": times(1.0), catalog.SCAN: times(2.0)}, "failed": {},
             "beside": {"gpunn": times(1.2), catalog.SCAN: times(6.0)}},
            {"key": "shapes", "tiers": ["shapes"], "failed": {},
             "shapes": [shape("4-8-2", 0.5), shape("4-9-2", 0.96), shape("4-7-2", 1.2)]},
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
    found = {goal.text.split(":")[0]: goal for goal in goals.goals(report())}
    reached = [goal.reached for goal in goals.goals(report())]
    assert reached == [
        False, False,  # W1: 1 / 1.9 of JAX; 1 / 3.5 of PyTorch
        False, True, False, True,  # W2: 1 / 1.9; the same without zeros; 1 / 1.5; 1.2 of 2 busy
        True, False, True,  # W3: 1 / 1.9 and 1 / 1.001; W4: 1 / 3.5
        True, True, True, False,  # W5a: 1 / 3.5, also without zeros; W5b: 1 of 4, 5 of 4
        False, True, False,  # W6: 2 of 3, 2 of 4, 7 of 2
        False, False, False, False,  # shapes; 0.3 - 0.1 s; 1.2 s; 3.3 s to 97.6%
        True, True, None,  # 150 MB; 2.4 of 2.2, 2.6 and 2.4; no such entry
    ]  # fmt: skip
    shapes = found["Sixty shapes"]
    assert shapes.figure == "1 of 3 slower; above 0.95: 4-9-2: 0.96; 4-7-2: 1.2"
    assert found["W2 beside a busy process"].figure.startswith("0.6 times")
    slow = report()
    slow["results"][2]["samples"]["gpunn"] = [1.6] * 7
    assert [goal.reached for goal in goals.goals(slow)][6] is False
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
        "| gpunn | 100 | 120 | 1.2 (1.2 - 1.2) |",
        "| 4-8-2 | 5e+04 | 1e+05 | JAX, scan over the epoch | 0.5 (0.5 - 0.5) |",
        "| W4: at most 0.75 of PyTorch | 0.286 times (0.286 - 0.286) | reached |",
    ):
        assert row in text, row
    for name in page.pictures(report(), "bench"):
        assert f"]({name})" in text
    busy = report() | {"others_cores": 0.7, "interrupted": True}
    assert "0.70 cores busy" in page.markdown(busy, "bench")
    assert max(map(len, page.terminal(busy).splitlines())) < 80
    short = [3.04e-7, 3.43e-7, 3.97e-7]  # a step of a small network on a busy machine
    busy["results"][0] |= {"steps": 1, "samples": {"gpunn": short, "x" * 50: short[::-1]}}
    assert max(map(len, page.terminal(busy).splitlines())) < 80
    quick = report()
    quick["results"][0]["samples"] = {"gpunn": [0.1, 0.1, 0.1]}
    assert "**Fewer than 7 rounds" in page.markdown(quick, "bench")
    json.dumps(report())


def test_the_readme_takes_its_figures_from_the_reports() -> None:
    text = f"before\n{readme.BEGIN}\nold\n{readme.END}\nafter {readme.END}"
    other = report()
    other["machine"]["compiled"] = "avx512"
    new = readme.with_figures(text, readme.figures([report(), other]))
    table = (
        "| ms | gpunn, AVX2 | the best other, AVX2 | gpunn, AVX-512 | the best other, AVX-512 |\n"
    )
    assert new.startswith(f"before\n{readme.BEGIN}\n{table}")
    assert new.endswith(f").\n{readme.END}\nafter {readme.END}") and "old" not in new
    lines = {line[2:4]: line for line in new.splitlines() if line.startswith("| W")}
    assert len(lines) == 6
    # A yardstick that computes products only, and contestants that do not shuffle, do not count.
    assert lines["W2"].endswith("| 0.2 | 0.2 (JAX, jit a step) " * 2 + "|")
    assert lines["W6"].endswith("| 0.002 | 0.003 (JAX, scan over the epoch) " * 2 + "|")
    assert readme.figures([]) == readme.NO_FIGURES


def test_page_and_readme_are_made_from_the_recorded_runs() -> None:
    assert readme.text() == readme.README.read_text(), "run benchmarks.race.page"
    for file in RESULTS.glob("bench*.json"):
        recorded = json.loads(file.read_text())
        assert page.markdown(recorded, file.stem) == file.with_suffix(".md").read_text()
        for name, picture in page.pictures(recorded, file.stem).items():
            assert file.with_name(name).read_text() == picture, name
