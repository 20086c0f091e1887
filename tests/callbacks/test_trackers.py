"""The page about experiment trackers, with the real packages: ``make test-more`` installs them."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gpunn

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "trackers.md"


def run_blocks(word: str) -> dict[str, Any]:
    """Run the page's first block and the one that imports ``word``; return their names."""
    gpunn.utils.set_random_seed(0)
    x = np.linspace(-1, 1, 16).reshape(-1, 1)
    names: dict[str, Any] = {"x": x, "y": 2 * x}
    blocks = BLOCK.findall(PAGE.read_text("utf-8"))
    for block in (blocks[0], next(block for block in blocks if f"import {word}" in block)):
        for example in doctest.DocTestParser().get_examples(block):
            exec(compile(example.source, word, "single"), names)
    return names


@pytest.mark.more
@pytest.mark.filterwarnings("ignore")
def test_mlflow_has_the_figures_of_each_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    names = run_blocks("mlflow")
    client, run = mlflow.MlflowClient(), mlflow.last_active_run()
    kept = [one.value for one in client.get_metric_history(run.info.run_id, "loss")]
    np.testing.assert_allclose(kept, names["model"].history.history["loss"], rtol=1e-6)
    assert len(kept) == 20 and run.data.params["epochs"] == "20"
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["model.gpunn"]


@pytest.mark.more
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_files_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    model = run_blocks("wandb")["model"]
    last = re.search(r"wandb: +loss (\d\S+)$", capfd.readouterr().err, re.MULTILINE)
    assert last and float(last[1]) == pytest.approx(model.history.history["loss"][-1], abs=1e-5)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
