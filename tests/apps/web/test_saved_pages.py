"""Commands that write pages: which files a page may replace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gpunn
from gpunn import callbacks
from gpunn.apps.cli import main


@pytest.mark.parametrize("command", ["export", "report", "playground"])
def test_pages_take_the_place_of_pages_and_of_nothing_else(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = gpunn.Sequential([gpunn.layers.Input((2,)), gpunn.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.save(tmp_path / "model.gpunn", announce=False)
    run = tmp_path / "run"
    made = callbacks.Report(run / "page.html", record=run / "run.jsonl")
    run.mkdir()
    model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=1, verbose=0, callbacks=[made])
    file = tmp_path / "mine.html"
    arguments = {
        "export": ["export", str(tmp_path / "model.gpunn"), str(file)],
        "report": ["report", str(run), "-o", str(file)],
        "playground": ["playground", "--save", str(file)],
    }[command]
    for _ in range(2):
        assert main(arguments) == 0
    file.write_text("<!DOCTYPE html>\n<title>Something else</title>")
    assert main(arguments) == 1
    assert "already exists and gpunn did not write it" in capsys.readouterr().err
    assert "Something else" in file.read_text()
    assert main([*arguments, "--force"]) == 0
    assert "Something else" not in file.read_text(encoding="utf-8")
