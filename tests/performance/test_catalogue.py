"""The contestants of the benchmarks, all of which train the same network."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.common import workloads
from benchmarks.race import catalog, cold, one_point_a_step, suite, tiers
from gpunn.apps.cli import bench
from gpunn.backends.compiled import cpu_kernels

pytestmark = pytest.mark.checks("benchmarks")

OURS = ["gpunn", "gpunn (NumPy)"] if cpu_kernels.why_not() is None else ["gpunn (NumPy)"]


def test_every_file_of_contestants_can_be_asked_for() -> None:
    names = [v.name for v in catalog.variants()]
    assert len(names) == len(set(names)) and catalog.reference() == OURS[0]
    on_cpu = {name for name in names if catalog.ON_GPU not in name}
    named = {*catalog.QUICK, *catalog.YARDSTICKS, catalog.EAGER, catalog.JIT}
    assert named | {*cold.BEGINNERS, *tiers.SLOW_LEARNERS} <= on_cpu
    assert any(word in name for word in catalog.SLOW for name in on_cpu)
    for v in catalog.variants():
        on_gpu = catalog.ON_GPU in v.name
        if v.file != catalog.OURS:
            assert v.options["device"] == ("cuda" if on_gpu else "cpu")
        else:
            assert (v.options["backend"] == "cupy") == on_gpu


def test_neighbours_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("torch", "jax", "keras", "sklearn"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    programs, absent = catalog.choose()
    assert absent[catalog.POINTS] == "libfann is not installed"
    assert [p.name for p in programs] == [*OURS, catalog.PRODUCTS, catalog.NUMPY]
    assert absent[catalog.EAGER] == "torch is not installed"
    assert "keras is not installed" in absent.values() and len(absent) >= 8


def test_numpy_represents_gpunn_where_nothing_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
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
    """Return whether the framework that trains the classic network under this name is installed."""
    base = name.removesuffix(tiers.IN_ORDER).removesuffix(tiers.TEN_ROWS)
    if base == "gpunn" and len(OURS) == 1:
        return False
    needs = next(v.requires for v in catalog.variants() if v.name == base)
    return catalog.why_absent(needs, on_gpu=False) is None


TRAINERS = [name for name in one_point_a_step.VARIANTS if can_train_points(name)]


def classic(name: str, steps: int, options: dict[str, Any]) -> Any:
    variant = one_point_a_step.VARIANTS[name] | options
    return one_point_a_step.prepare({"x": np.zeros((steps, 1))}, **variant)


def test_who_trains_the_classic_network_is_there() -> None:
    assert {"gpunn (NumPy)", catalog.NUMPY} <= set(TRAINERS)
    assert "shuffled" in workloads.TITLES["W6"]


@pytest.mark.parametrize("name", TRAINERS)
def test_the_classic_network_is_trained_alike_by_everybody(name: str) -> None:
    """The same points in the same order give the same weights after two passes."""
    rows = {"rows": 10} if name.endswith(tiers.TEN_ROWS) else {}
    options = {"shuffle": False, **rows}
    plain, program = (classic(n, 40, options) for n in (catalog.NUMPY, name))
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
    """Each pass over two points has the result of one of the two orders, and both occur."""
    x, y = (np.array(a, np.float32) for a in ([[1.5, -1.0], [-1.0, 0.5]], [[1, 0], [0, 1]]))
    variant = dict(one_point_a_step.VARIANTS[name])
    how, shuffle = variant.pop("how"), variant.pop("shuffle", True)
    generator = np.random.default_rng(1)
    weights = [w.astype(np.float32) for n, m in ((2, 2), (2, 3), (3, 2))
               for w in (generator.normal(0, 1, (n, m)), generator.normal(0, 1, m))]  # fmt: skip
    variant.pop("rows", None)
    train, current = how(x, y, weights, shuffle, **variant)
    seen = []
    for _ in range(24):
        before = [np.array(w) for w in current()]
        train(1)
        after = np.concatenate([np.ravel(w) for w in current()])
        far = []
        for order in ([0, 1], [1, 0]):
            step, result = one_point_a_step.by_hand(x[order], y[order], before, False)
            step(1)
            far.append(np.abs(np.concatenate([np.ravel(w) for w in result()]) - after).max())
        assert min(far) < 1e-6 < max(far)
        seen.append(int(np.argmin(far)))
    assert set(seen) == ({0} if name.endswith(tiers.IN_ORDER) else {0, 1})
