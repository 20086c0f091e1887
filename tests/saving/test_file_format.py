"""Test the documentation of the file format against files that are read without gpunn."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors

import gpunn

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PAGE = (REFERENCE / "file-format.md").read_text(encoding="utf-8")


def entries(title: str, table: int = 0) -> set[str]:
    """Return the names in the first column of a section's table."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = section.split("| --- | --- |\n")[table + 1].split("\n\n")[0].splitlines()
    return {name for row in rows for name in re.findall("`(.+?)`", row.split(" | ")[0])}


def read(path: Path) -> tuple[dict[str, Any], set[str]]:
    """Read the envelope of a file and the names of its tensors."""
    with safetensors.safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["gpunn"]), set(file.keys())


class Keeping(gpunn.callbacks.Callback):
    """Reads the most recent checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: Any = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch:
            self.found = read(self.path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, tuple[dict[str, Any], set[str]]]:
    layers = gpunn.layers
    model = gpunn.Sequential(
        [
            gpunn.Input((3,)),
            layers.Dense(4, name="dense"),
            layers.BatchNormalization(name="batch_normalization"),
            layers.Dense(2, name="dense_1"),
        ]
    )
    model.compile("adam", "mse")
    keeping = Keeping(tmp_path / "backup" / "checkpoint.gpunn")
    callbacks = [gpunn.callbacks.BackupAndRestore(tmp_path / "backup"), keeping]
    model.fit(np.ones((8, 3)), np.ones((8, 2)), epochs=2, verbose=0, callbacks=callbacks)
    model.save(tmp_path / "model")
    model.save_weights(tmp_path / "weights")
    return {
        "weights": read(tmp_path / "weights"),
        "model": read(tmp_path / "model"),
        "checkpoint": keeping.found,
    }


def test_the_page_names_the_entries_of_each_kind(files: dict[str, Any]) -> None:
    documents = {kind: envelope["document"] for kind, (envelope, _) in files.items()}
    assert {kind: document["kind"] for kind, document in documents.items()} == {
        kind: kind for kind in documents
    }
    wanted = entries("A file of weights")
    assert documents["weights"].keys() == wanted
    wanted |= entries("A model")
    assert documents["model"].keys() == wanted
    assert documents["model"]["training"].keys() == entries("A model", 1)
    wanted |= entries("A checkpoint")
    assert documents["checkpoint"].keys() == wanted


def test_tensors_and_checksums_are_as_the_page_says(files: dict[str, Any]) -> None:
    for envelope, tensors in files.values():
        assert envelope.keys() == {"version", "crc32", "document"}
        assert envelope["crc32"] == zlib.crc32(json.dumps(envelope["document"]).encode())
        found: dict[str, Any] = {}

        def visit(value: Any, place: str, found: dict[str, Any] = found) -> None:
            if isinstance(value, dict) and "$tensor" in value:
                assert value.keys() == {"$tensor", "dtype", "shape", "crc32"}
                assert value["$tensor"] == place
                found[place] = value
                return
            for key, entry in enumerate(value) if isinstance(value, list) else value.items():
                if isinstance(entry, (dict, list)):
                    visit(entry, f"{place}/{key}" if place else str(key))

        visit(envelope["document"], "")
        assert found.keys() == tensors
    _, tensors = files["model"]
    for name in ("dense/kernel", "batch_normalization/moving_mean"):
        assert f"weights/{name}" in tensors and f"`weights/{name}`" in PAGE
    assert "training/tensors/slot/m/dense/kernel" in tensors
    assert "`training/tensors/slot/m/dense/kernel`" in PAGE
    values = files["model"][0]["document"]["training"]["values"]
    assert values.keys() == {"seed", "passes", "pass_began", "learning_rate"}
    assert all(f"`{name}`" in PAGE for name in values)
