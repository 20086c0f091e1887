"""Why a model answers as it does: exact for linear models, and Shapley's values for others."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.cli import main
from gpunn.apps.tables.preparing import Feature, prepared
from gpunn.apps.tables.shapley import amounts
from gpunn.layers import Concatenate, Dense

KINDS = ["a", "b", "c"]


def columns_of(values: np.ndarray) -> dict[str, np.ndarray]:
    return {f"x{k}": values[:, k : k + 1] for k in range(values.shape[1])}


def model_of(count: int, formula: Callable[..., Any]) -> Any:
    ends = [gpunn.Input((1,), name=f"x{k}") for k in range(count)]
    return gpunn.Model(ends, formula(*ends))


def test_amounts_of_a_linear_model_are_weights_times_differences() -> None:
    """Numbers are scaled, categories are one-hot and a gap has an indicator, inside the model."""
    features = [
        Feature("size", 3.0, 5.0, 2.0, gaps=True), Feature("kind", categories=KINDS),
        Feature("floor", 1.0, 0.0, 4.0),
    ]  # fmt: skip
    inputs, tensors = prepared(features)
    last = Dense(1)
    model = gpunn.Model(inputs, last(Concatenate()(tensors)))
    kernel = np.array([4.0, -8.0, 0.5, 10.0, 1.0, 2.0, 7.0])  # size, floor, gap, other, a, b, c
    last.set_weights([kernel[:, None], np.array([100.0])])
    given = {
        "size": np.array([[7.0], [np.nan], [3.0]]),
        "kind": np.array([["c"], ["b"], ["unknown"]], object),
        "floor": np.array([[9.0], [1.0], [1.0]]),
    }
    base, found = amounts(model, given, [3.0, "b", 1.0])
    assert base == pytest.approx([100 + 4 * (3 - 5) / 2 + 2 - 8 / 4] * 3)
    size, kind, floor = [4 * (7 - 3) / 2, 0.5, 0], [7 - 2, 0, 10 - 2], [-8 * (9 - 1) / 4, 0, 0]
    np.testing.assert_allclose(found, np.transpose([size, kind, floor]), atol=1e-5)


def by_subsets(f: Callable[[np.ndarray], float], row: np.ndarray, first: np.ndarray) -> list[float]:
    """Shapley's formula: the sum over all subsets of the other columns."""
    n, found = len(row), []
    for k in range(n):
        others = [j for j in range(n) if j != k]
        total = 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for subset in itertools.combinations(others, size):
                x = first.copy()
                x[[*subset]] = row[[*subset]]
                without = f(x)
                x[k] = row[k]
                total += weight * (f(x) - without)
        found.append(total)
    return found


@pytest.mark.parametrize(
    ("count", "formula"),
    [
        (3, lambda a, b, c: a * b * c + b**2 - 3 * c),
        (2, lambda a, b: gpunn.ops.exp(a - b)),
        (1, lambda a: a**3),
        (6, lambda a, b, c, d, e, f: a * b - 2 * c * f + d * e + b * b + e * a + f),
    ],
)
def test_amounts_are_those_of_all_subsets(count: int, formula: Callable[..., Any]) -> None:
    """All models of three columns, and those of pairs of six."""
    random = np.random.default_rng(count)
    rows, first = random.normal(size=(5, count)), random.normal(size=count)
    _, found = amounts(model_of(count, formula), columns_of(rows), first.tolist())

    def value(x: np.ndarray) -> float:
        return float(formula(*x[:, None])[0])

    expected = [by_subsets(value, row, first) for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("columns", "classes"), [(7, 0), (5, 3), (60, 0)])
def test_amounts_of_a_network_add_up(columns: int, classes: int) -> None:
    gpunn.utils.set_random_seed(1)
    ends = [gpunn.Input((1,), name=f"x{k}") for k in range(columns)]
    x = layers.Dense(24, "tanh", kernel_initializer="he_normal")(Concatenate()(ends))
    last = Dense(classes, "softmax") if classes else Dense(1)
    model = gpunn.Model(ends, last(x))
    rows = np.random.default_rng(2).normal(size=(40, columns)).astype(np.float32)
    given, first = columns_of(rows), [0.5] * columns
    base, found = amounts(model, given, first)
    outputs = model.predict(given, verbose=0)
    typical = model.predict(columns_of(np.full((1, columns), 0.5)), verbose=0)[0]
    best = outputs.argmax(axis=1)
    np.testing.assert_allclose(base, typical[best], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(base + found.sum(axis=1), outputs.max(axis=1), atol=1e-5)
    assert (np.abs(found).max(axis=0) > 0).all()
    given["x0"][:] = 0.5
    np.testing.assert_allclose(amounts(model, given, first)[1][:, 0], 0, atol=1e-6)


def test_predict_says_why(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    numpy_is_asked_for: None,
    little_search: None,
) -> None:
    """Rents that are a sum: the amounts are its terms, less those of the typical row."""
    random = np.random.default_rng(0)
    size, area = random.integers(20, 120, 300), random.choice(["=north", "centre", "port"], 300)
    day, noise = random.integers(1, 29, 300), random.normal(0, 1, 300)
    rent = 9 * size + 150 * (area == "centre") + noise
    cells = [[s, "" if i % 9 == 0 else a, f"2024-03-{d:02}", round(r, 2)]
             for i, (s, a, d, r) in enumerate(zip(size, area, day, rent, strict=True))]  # fmt: skip
    names = ["size", "area", "day", "rent"]
    table = str(tmp_path / "rents.csv")
    with open(table, "w", newline="") as file:
        csv.writer(file).writerows([names, *cells])
    short = ["--target", "rent", "--epochs", "1", "--hidden", "2", "--out", str(tmp_path)]
    assert main(["train", table, *short]) == 0
    assert "chosen: linear model" in capsys.readouterr().out
    model = str(tmp_path / "model.gpunn")
    assert main(["predict", model, table, "--why"]) == 0
    printed = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(printed.out)))
    median, usual = np.median(size), max(set(area), key=[a for _, a, *_ in cells].count)
    typical = re.search(r"rents.csv: why: changes of rent from ([\d,.]+), .*\((.*)\)", printed.err)
    assert typical is not None and f"size={median:g}, area={usual}, day=2024-03-" in typical[2]
    base = float(typical[1].replace(",", ""))
    assert main(["predict", model, table, "--why", "--json"]) == 0
    for i, (row, other) in enumerate(zip(rows, json.loads(capsys.readouterr().out), strict=True)):
        why = {part.rsplit(" ", 1)[0]: float(part.rsplit(" ", 1)[1])
               for part in row["why"].removeprefix("'").split("; ") if part}  # fmt: skip
        of_all = other["why"]["amounts"]
        assert [*of_all] == ["size", "area", "day"]
        total = other["why"]["base"] + sum(of_all.values())
        assert total == pytest.approx(other["predicted rent"], rel=1e-5)
        assert other["why"]["base"] == pytest.approx(base, abs=0.1)
        said = f"size={cells[i][0]}"
        assert of_all["size"] == pytest.approx(9 * (size[i] - median), abs=6)
        if abs(size[i] - median) > 20:  # with every line one of three
            assert why[said] == pytest.approx(of_all["size"], rel=0.006)
        sizes = [abs(value) for value in why.values()]
        assert sizes == sorted(sizes, reverse=True)
        shown = "area missing" if not cells[i][1] else f"area={cells[i][1]}"
        assert shown in why or abs(of_all["area"]) < 10
