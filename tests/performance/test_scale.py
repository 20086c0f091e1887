"""Scale curves: segments and bends of known curves, data sources, points, and the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale import curves, page, point

pytestmark = pytest.mark.checks("benchmarks")

XS = [2**k for k in range(4, 14)]
CACHES = {"L1": 48 << 10, "L2": 1 << 20, "L3": 32 << 20}


@given(st.floats(-2, 3), st.floats(1e-6, 1e3), st.integers(2, 10))
def test_a_power_law_is_one_piece(slope: float, factor: float, points: int) -> None:
    xs = XS[:points]
    (piece,) = page.pieces(xs, [factor * x**slope for x in xs])
    assert (piece.first, piece.last) == (0, points - 1)
    assert piece.slope == pytest.approx(slope, abs=1e-6)


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=10))
def test_pieces_follow_each_other_from_end_to_end(ys: list[float]) -> None:
    found = page.pieces(XS[: len(ys)], ys)
    ends = [end for piece in found for end in (piece.first, piece.last)]
    assert ends[0] == 0 and ends[-1] == len(ys) - 1 and ends[1:-1:2] == ends[2::2]


def test_noise_makes_no_bend_and_a_bend_is_found_where_it_is() -> None:
    noise = [1.05, 0.96, 1.02, 0.95, 1.04, 0.97, 1.0, 1.03, 0.98, 1.01]
    ys = [max(1.0, (x / 128) ** 2) * n for x, n in zip(XS, noise, strict=True)]
    flat, steep = page.pieces(XS, ys)
    assert XS[flat.last] == XS[steep.first] == 128
    assert flat.slope == pytest.approx(0, abs=0.05) and steep.slope == pytest.approx(2, abs=0.05)
    ys[4] *= 1.6
    assert len(page.pieces(XS, ys)) > 2
    assert len(page.pieces(XS, ys, [0.7 if i == 4 else 0 for i in range(10)])) == 2


def measured(x: int, fixed: float, products: float, rest: float, **more: Any) -> dict[str, Any]:
    seconds = fixed + products + rest
    point = {
        "x": x, "series": "", "backend": "numpy", "seconds": [seconds] * 3, "fixed": fixed,
        "products": products, "cores": 1.0, "held": 1000, "flops": 10**9, "bytes": 10**9,
        "start": 40 << 20, "counted": 10**6 * x, "peak": (41 << 20) + 10**6 * x,
    }  # fmt: skip
    return {**point, **more}


def bends(points: list[dict[str, Any]]) -> list[str]:
    curve = [page.time_of(p) for p in points]
    found = page.pieces([p["x"] for p in points], [c["whole"] for c in curve])
    return page.explain(points, curve, page.TIME_PARTS, found, CACHES)


def test_a_bend_names_the_part_that_takes_over() -> None:
    points = [measured(x, 3e-5, 0.0, 2e-6) for x in (16, 32, 64)]
    (sentence,) = bends([*points, measured(128, 3e-5, 1e-3, 2e-6), measured(256, 3e-5, 3e-2, 2e-6)])
    assert sentence.startswith("**64**, from slope 0.00 to 4.9")
    shares = "calls of Python and NumPy (94%); after it, matrix products (66%)."
    assert f"Before it, the largest part are {shares}" in sentence
    assert "outgrow" not in sentence and "Cores" not in sentence


def test_a_bend_names_the_cache_that_is_outgrown_with_the_rates() -> None:
    sizes = {16: 100 << 10, 32: 400 << 10, 64: 1600 << 10, 128: 6400 << 10, 256: 25600 << 10}
    points = [
        measured(x, 1e-6, 1e-6, x / 1e4 * (1 if x < 64 else 4), held=held, bytes=x * 10**6)
        for x, held in sizes.items()
    ]
    sentences = bends(points)  # one at either end of the step
    assert [text.split(",")[0] for text in sentences] == ["**32**", "**64**"]
    for text in sentences:
        assert "outgrow L2 (1 MB)." in text and "L3" not in text
        assert "The passes over arrays go from 10 to 2.5 GB/s." in text
    assert "The arrays, 100 kB at 16 and 1.56 MB at 64, outgrow" in sentences[0]


def test_a_bend_names_threads_that_begin_and_what_they_bring() -> None:
    points = [measured(x, 1e-6, x * 1e-5, 1e-6, flops=x * 10**5) for x in (1, 4, 16)]
    points += [
        measured(x, 1e-6, x * 5e-6, 1e-6, flops=x * 10**5, cores=1.9) for x in (64, 256, 1024)
    ]  # fmt: skip
    (sentence, *_) = [text for text in bends(points) if "Cores" in text]
    assert "Cores at work: 1.0 before, 1.9 after." in sentence
    assert "The matrix products go from 10 to 20 GFLOP/s." in sentence


def test_a_bend_of_the_work_itself_is_reported() -> None:
    sizes = {x: 10**6 + (x / 64) ** 4 * 10**6 for x in (1, 4, 16, 256, 1024)}
    sentences = bends([measured(x, 0.0, n * 1e-9, n * 1e-9, flops=n) for x, n in sizes.items()])
    assert "The work itself bends: flops from slope 0.00 to 2.0" in sentences[0]
    assert "bytes" not in sentences[0]


def test_a_bend_without_a_reason_says_so() -> None:
    points = [measured(x, x * 1e-5, 0.0, 0.0) for x in (1, 2, 4)]
    points += [measured(x, x**2 / 4 * 1e-5, 0.0, 0.0) for x in (8, 16)]
    (sentence,) = bends(points)
    assert "No counter explains it; samples around it differ by 0%." in sentence


# -- points


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    curves.write_rows(folder, 1000)
    return folder


def test_every_source_gives_the_same_rows(folder: Path) -> None:
    settings = {"sizes": [curves.ROW, 4, 10], "rows": 1000, "batch": 128, "folder": folder}
    x, y = point.data_of({**settings, "source": "memory"})
    assert x.shape == (1000, curves.ROW) and set(y) == set(range(10)) and len(np.unique(x)) == 256
    mapped, also = point.data_of({**settings, "source": "map"})
    assert isinstance(mapped, np.memmap) and np.array_equal(mapped, x) and np.array_equal(also, y)
    (stream,) = point.data_of({**settings, "source": "stream"})
    for _ in range(2):
        batches = list(stream)
        assert [len(b) for b, _ in batches] == [128] * 7 + [104] and len(stream) == 8
        assert np.array_equal(np.concatenate([b for b, _ in batches]), x)
        assert np.array_equal(np.concatenate([c for _, c in batches]), y)


def test_a_point_reports_the_work_and_the_memory_that_there_are() -> None:
    sizes, batch = [64, 3000, 10], 8
    setting = {"sizes": sizes, "batch": batch, "seconds": 0.01, "samples": 3}
    got, reason = curves.ask({**point.DEFAULTS, **setting}, 60)
    assert got is not None, reason
    weights = 64 * 3000 + 3000 + 3000 * 10 + 10
    forward = 2 * batch * (64 * 3000 + 3000 * 10)
    flops = 2 * forward + 2 * batch * 3000 * 10  # the first layer's input has no gradient
    assert flops < got["flops"] < flops + 5 * weights  # and a few for each weight and unit
    arrays = 4 * 4 * weights  # weights, gradients, Adam's two
    data = 4096 * (64 + 8)
    assert arrays < got["held"] < 1.5 * arrays  # and the work arrays
    assert arrays + data < got["counted"] < 2 * (arrays + data)
    assert got["start"] + arrays < got["peak"] < got["start"] + 4 * arrays
    assert len(got["seconds"]) == 3 and min(got["seconds"] + [got["fixed"], got["products"]]) > 0


def test_a_point_that_breaks_says_why() -> None:
    got, reason = curves.ask({**point.DEFAULTS, "backend": "none"}, 60)
    assert got is None and reason.startswith("exit status 1: ValueError: backend must be one of")
    assert curves.ask(point.DEFAULTS, 0.01) == (None, "it took more than 0 s")


# -- the page


def tiny_axis(**more: Any) -> curves.Axis:
    points = {n: {"sizes": [16, n, 10]} for n in (4, 8)} | {16: {"sizes": [16, -1, 10]}}
    labels = ("width", "Width", "16-n-10, Adam, batch 32", "n, units", "a step")
    return curves.Axis(*labels, (2, "so it is"), points, (4, 8, 16))


def test_a_run_writes_figures_charts_and_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    axis = tiny_axis()
    monkeypatch.setattr(curves, "AXES", (axis,))
    monkeypatch.setattr(curves.machine, "gpus", lambda: [])
    written = curves.run(quick=True, out=tmp_path)
    text = written.read_text()
    assert "**A quick run" in text and "Missing: 16 (numpy), exit status 1: ValueError" in text
    assert "slope of each straight piece: 4 to 8: " in text
    charts = re.findall(r"\]\((scale/.*?\.svg)\)", text)
    assert charts == ["scale/width-time.svg", "scale/width-memory.svg"]
    for chart in charts:
        root = ElementTree.fromstring((tmp_path / chart).read_text())
        titles = [t.text for t in root.iter("{http://www.w3.org/2000/svg}title")]
        assert any(t.startswith("the whole: 8, ") for t in titles)
    report = json.loads((tmp_path / "scale.json").read_text())
    assert [p["x"] for p in report["axes"]["width"]["points"]] == [4, 8]
    assert page.page(report, (axis,))[1] == text
    assert "  3 of 3  width 16 numpy" in capsys.readouterr().out


def test_a_gpu_is_a_curve_of_its_own() -> None:
    points = [measured(x, 1e-6, x * 1e-6, 1e-6) for x in (4, 8)]
    for x in (4, 8):
        gpu = measured(x, 1e-6, 0, x * 1e-7, backend="cupy", start=None)
        del gpu["products"], gpu["flops"], gpu["bytes"]
        points.append(gpu)
    report = {
        "machine": {**curves.machine.describe(), "cards": []}, "caches": CACHES, "load_before": 0,
        "others_cores": 0.0, "quick": False, "seconds": 60.0,
        "axes": {"width": {"points": points, "failed": []}},
    }  # fmt: skip
    files, text = page.page(report, (tiny_axis(),))
    assert "Time (card), slope of each straight piece: 4 to 8" in text
    assert "the whole" in files["width-time.svg"] and ">card<" in files["width-time.svg"]
    assert "On the CPU and on the card" in text and "busy" not in text


RESULTS = curves.RESULTS / "scale.json"


@pytest.mark.skipif(not RESULTS.exists(), reason="the scale has not been measured")
def test_the_committed_page_is_made_from_the_committed_figures() -> None:
    files, text = page.page(json.loads(RESULTS.read_text()), curves.AXES)
    assert (curves.RESULTS / "scale.md").read_text() == text
    for name, content in files.items():
        assert (curves.RESULTS / "scale" / name).read_text() == content
