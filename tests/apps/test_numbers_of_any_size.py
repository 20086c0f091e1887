"""Results and statistics of huge, tiny and offset numbers.

They are the same as in other units, or an error is raised. A power of two changes no digit of a
number, so nothing else may change either.
"""

from __future__ import annotations

import csv
import re
import statistics
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

import gpunn
from gpunn.apps.cli import main
from gpunn.apps.learning import figures
from gpunn.apps.tables.reading.kinds import column_of
from gpunn.common.numeric import moments
from gpunn.layers import Normalization

RANDOM = np.random.default_rng(0)
SCALES = [2.0**k for k in (64, 100, 600, 1000, -40, -100, -600, -900)]


@pytest.mark.parametrize("scale", [1.0, *SCALES])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_moments_are_those_of_exact_sums(scale: float, offset: float) -> None:
    if scale * offset == np.inf:
        offset = 1.0
    values = (RANDOM.standard_normal((50, 3)) + offset) * scale
    for axis in (0, None):
        rows = values.T.tolist() if axis == 0 else [values.ravel().tolist()]
        expected = [[f(row) for row in rows] for f in (statistics.mean, statistics.pstdev)]
        found = np.atleast_1d(moments.mean(values, axis)), np.atleast_1d(
            moments.deviation(values, axis)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-7)
        if scale == 1.0:
            np.testing.assert_array_equal(found[1], np.atleast_1d(values.std(axis=axis)))


@pytest.mark.parametrize("scale", SCALES)
def test_figures_are_those_of_other_units(scale: float) -> None:
    y = RANDOM.standard_normal(40)
    predicted = y + 0.1 * RANDOM.standard_normal(40)
    usual = figures(predicted, y, 0)
    assert usual["R2"] == pytest.approx(metrics.r2_score(y, predicted))
    assert usual["MAE"] == pytest.approx(metrics.mean_absolute_error(y, predicted))
    assert usual["RMSE"] == pytest.approx(metrics.root_mean_squared_error(y, predicted))
    found = figures(predicted * scale, y * scale, 0)
    assert found == {"MAE": usual["MAE"] * scale, "RMSE": usual["RMSE"] * scale, "R2": usual["R2"]}
    far = figures(np.full(40, 1e300), y * 1e-300, 0)
    assert far["R2"] == -np.inf and far["RMSE"] == 1e300


# -- gpunn train table.csv


def trained(folder: Path, capsys: Any, x: np.ndarray, y: np.ndarray) -> dict[str, str]:
    """Return each model's printed R2 on the test rows."""
    with open(folder / "t.csv", "w", newline="") as file:
        rows = zip(*(map(repr, column.tolist()) for column in (*x.T, y)), strict=True)
        csv.writer(file).writerows([("a", "b", "y"), *rows])
    command = ["train", str(folder / "t.csv"), "--target", "y", "--hidden", "4", "--epochs", "3"]
    command.append("--fast")
    assert main([*command, "--backend", "numpy", "--out", str(folder / "out"), "--force"]) == 0
    output = capsys.readouterr().out
    assert main(["export", str(folder / "out" / "model.gpunn"), str(folder / "p.html")]) == 0
    assert main(["evaluate", str(folder / "out" / "model.gpunn"), "--data",
                 str(folder / "t.csv")]) == 0  # fmt: skip
    of_all = re.search(r"R2 (\S+)", capsys.readouterr().out)
    assert of_all is not None
    lines = [re.split("  +", line) for line in output.splitlines()]
    found = {line[0]: line[-1] for line in lines if line[0] in ("mean", "linear model", "network")}
    return {**found, "of all": of_all[1]}


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((60, 2))
    return x, x @ [1.0, -2.0]


@pytest.mark.parametrize(
    ("of_a", "of_y"), [(1.0, 2.0**64), (2.0**-100, 2.0**-90), (2.0**120, 2.0**110)]
)
def test_a_table_in_other_units_is_learnt_alike(
    of_a: float, of_y: float, table: Any, tmp_path: Path, capsys: Any
) -> None:
    x, y = table
    expected = trained(tmp_path, capsys, x, y)
    assert len(expected) == 4 and float(expected["mean"]) < 0.1 < float(expected["linear model"])
    assert trained(tmp_path, capsys, x * [of_a, 1.0], y * of_y) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v * 1e40, "float32 goes to 3.4e+38"),
        (lambda v: v * 1e300, "float32 goes to 3.4e+38"),
        (lambda v: v * 1e-42, "float32 goes down to 1.2e-38"),
        (lambda v: v * 1e-300, "float32 goes down to 1.2e-38"),
        (lambda v: v + 1e9, "numbers of about 1e+09 that differ by"),
        (lambda v: v + 1e15, "float32 has 7 digits"),
    ],
)
def test_what_float32_does_not_hold_is_refused_or_left_out(
    change: Any, message: str, table: Any, tmp_path: Path, capsys: Any
) -> None:
    x, y = table
    cells = list(map(repr, change(y).tolist()))
    assert message in (found := column_of("a", cells)).why and found.kind == "left out"
    (tmp_path / "t.csv").write_text(
        "a,y\n" + "\n".join(f"{a!r},{b}" for a, b in zip(x[:, 0].tolist(), cells, strict=True))
    )
    assert main(["train", str(tmp_path / "t.csv"), "--target", "y"]) == 1
    complaint = capsys.readouterr().err
    assert "the target 'y' has numbers" in complaint and message in complaint
    report = gpunn.utils.check_data(np.stack([change(y), x[:, 0]], 1), change(y))
    (of_x, of_y) = report.of("precision")
    assert message in of_x.text and message in of_y.text and of_x.columns.tolist() == [0]
    assert "inf" not in str(report) and "nan" not in str(report)


# -- Normalization


@pytest.mark.parametrize("scale", [2.0**64, 2.0**100])
def test_a_variance_beyond_float32_scales(scale: float) -> None:
    x = RANDOM.standard_normal((5, 2)).astype(np.float32)
    layers = [Normalization(mean=0.5 * s, variance=4.0 * s * s) for s in (1.0, scale)]
    np.testing.assert_array_equal(layers[0](x), layers[1](x * np.float32(scale)))
    with pytest.raises(ValueError, match=r"deviation goes up to 1e\+50, beyond.*float32"):
        Normalization(mean=0.0, variance=1e100)(x)


def test_statistics_that_float32_does_not_hold_are_refused_or_reported() -> None:
    x = RANDOM.standard_normal((9, 2))
    for scale in (1e25, 1e200):
        refused = r"(mean|variance) goes up to .*, beyond the range of float32"
        with pytest.raises(ValueError, match=refused):
            layer = Normalization()
            layer.adapt(x * [1.0, scale])
            layer(x)
        layer = Normalization(dtype="float64")
        if scale < 1e150:
            layer.adapt(x * scale)
            assert np.std(layer(x * scale), axis=0) == pytest.approx([1, 1])
    with pytest.warns(UserWarning, match=r"numbers of about 1e\+09 that differ by .* at \[0, 1\]"):
        Normalization().adapt(x + np.array([0.0, 1e9]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Normalization().adapt(np.full((9, 2), 1e9))  # constant
        Normalization(dtype="float64").adapt(x + 1e9)


# -- scikit-learn


@pytest.mark.parametrize(("of_x", "of_y"), [(2.0**600, 2.0**-600), (2.0**-900, 2.0**900)])
@pytest.mark.parametrize("sparse", [False, True])
def test_estimators_learn_alike_in_other_units(of_x: float, of_y: float, sparse: bool) -> None:
    from scipy.sparse import csr_matrix

    made = csr_matrix if sparse else np.asarray
    x = RANDOM.standard_normal((30, 3)) * (RANDOM.random((30, 3)) < 0.5)
    y = x.sum(1) + 3.0
    units = np.array([1.0, of_x, 1.0])

    def predicted(estimator: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return estimator(4, epochs=2, random_state=0).fit(made(x), y).predict(made(x))

    regressor = gpunn.sklearn.GpunnRegressor
    np.testing.assert_array_equal(
        predicted(regressor, x * units, y * of_y), predicted(regressor, x, y) * of_y
    )
