"""A report in a browser: no string of the data runs as code, and the page is accessible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn
from gpunn import layers
from gpunn.apps.reports import Report, read, report

pytestmark = pytest.mark.more(2)

EVIL = (
    "<img src=x onerror=document.title='run'>",
    "</script><script>document.title='run'</script>",
    "\"' onload='document.title=\"run\"' x=\"",
    "<svg/onload=document.title='run'>",
    "</style><style>main{display:none}</style>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "a" * 300,
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A report in which each string would run as code."""
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (200, 8, 8)).astype(np.uint8), random.integers(0, 7, 200)
    model = gpunn.Sequential([
        gpunn.Input((8, 8)), layers.Flatten(), layers.Dense(9, activation="relu", name="one"),
        layers.Dense(7, activation="softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    path, record = tmp_path / "report.html", tmp_path / "run.jsonl"
    reporter = Report(path, record=record, classes=EVIL, part="".join(EVIL), name=EVIL[0])
    model.fit(x, y, epochs=3, verbose=0, validation_split=0.5, callbacks=[reporter])
    run: Any = read(record)
    run.begin.update(
        settings=dict.fromkeys(EVIL, EVIL[1]), layers=[list(EVIL[:3])], command=EVIL[2],
        environment=dict.fromkeys(EVIL, EVIL[4]), code=EVIL[1],
    )  # fmt: skip
    run.end.update(findings=list(EVIL), data={"summary": EVIL[0], "findings": [list(EVIL[:3])]})
    for epoch in run.epochs:
        epoch["logs"] |= dict.fromkeys(EVIL, 0.5)
        for one, name in zip(epoch["gradients"], EVIL, strict=False):
            one["layer"] = name
    path.write_text(report([run]), encoding="utf-8")
    (tmp_path / "both.html").write_text(report([run, run]), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["report.html", "both.html"])
def test_no_text_of_the_data_runs(opened: Any, page: Path, name: str) -> None:
    shown = opened((page.parent / name).as_uri(), "main")
    assert shown.title().startswith("Report")
    assert shown.locator("script").count() == 0
    assert shown.locator("img:not([src^='data:image/png;base64,'])").count() == 0
    assert EVIL[1] in shown.locator("main").text_content()
    assert shown.locator("main").is_visible() and shown.url.startswith("file:")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_no_serious_fault_for_those_who_do_not_see_it(
    opened: Any, page: Path, scheme: str, width: int
) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    size = {"width": width, "height": 900}
    shown = opened(page.as_uri(), "main", color_scheme=scheme, viewport=size, bypass_csp=True)
    found = axe.run(shown)["violations"]
    bad = ("serious", "critical")
    assert [(f["id"], f["nodes"][0]["html"]) for f in found if f["impact"] in bad] == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("runs", [2, 5, 12])
@pytest.mark.parametrize("width", [400, 1280])
def test_no_cell_of_several_runs_is_narrower_than_a_word(
    opened: Any, page: Path, runs: int, width: int
) -> None:
    several = []
    for i in range(runs):
        run: Any = read(page.parent / "run.jsonl")
        run.path = str(page.parent / f"a-folder-with-a-rather-long-name-{i}" / "run.jsonl")
        run.begin["command"] = f"gpunn train /home/{'long/' * 30}table.csv --seed {i} --out run-{i}"
        run.begin["settings"] |= {"seed": str(i), "optimizer": f"Adam, learning_rate {i / 1000}"}
        run.begin["environment"] |= {"packages": ", ".join(f"package{k} {i}" for k in range(20))}
        several.append(run)
    (page.parent / "several.html").write_text(report(several), encoding="utf-8")
    size = {"width": width, "height": 900}
    shown = opened((page.parent / "several.html").as_uri(), "main", viewport=size)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    cells = shown.evaluate(
        "[...document.querySelectorAll('td, th')].map(c => [c.textContent.length, c.clientWidth])"
    )
    assert len(cells) > 10 * runs
    assert not [(length, wide) for length, wide in cells if length > 12 and wide < 80]
