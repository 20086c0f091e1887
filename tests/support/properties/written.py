"""The ways in which a model is written and read back, each a function of the model.

A function of `WHOLE` returns the model that was read, with all state of its training. One of
`WEIGHTS` returns a model that is made anew, into which the weights were read.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import gpunn
from gpunn import saving

Make = Callable[[], Any]
Way = Callable[[Any, Make, Path], Any]


def _in_file(name: str) -> Way:
    def way(model: Any, make: Make, folder: Path) -> Any:
        model.save(f"{folder}/{name}")
        return saving.load_model(f"{folder}/{name}")

    return way


def _pickled(model: Any, make: Make, folder: Path) -> Any:
    return pickle.loads(pickle.dumps(model))


def _by_joblib(model: Any, make: Make, folder: Path) -> Any:
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def _copied(model: Any, make: Make, folder: Path) -> Any:
    return copy.deepcopy(model)


def _in_a_checkpoint(model: Any, make: Make, folder: Path) -> Any:
    saving.save_checkpoint(folder / "run.gpunn", model, [], epoch=7, batch=0)
    again = make()
    assert saving.load_checkpoint(folder / "run.gpunn", again, []) == (7, 0)
    return again


def _from_a_checkpoint(model: Any, make: Make, folder: Path) -> Any:
    saving.save_checkpoint(folder / "run.gpunn", model, [], epoch=7)
    return saving.load_model(folder / "run.gpunn")


WHOLE: dict[str, Way] = {
    "own": _in_file("m.gpunn"), "folder": _in_file("folder/"), "keras": _in_file("m.keras"),
    "pickle": _pickled, "joblib": _by_joblib, "deepcopy": _copied, "checkpoint": _in_a_checkpoint,
    "model of a checkpoint": _from_a_checkpoint,
}  # fmt: skip


def _weights_in(name: str, save: str) -> Way:
    def way(model: Any, make: Make, folder: Path) -> Any:
        getattr(model, save)(folder / name)
        again = make()
        again.load_weights(folder / name)
        return again

    return way


def _weights_of_a_checkpoint(model: Any, make: Make, folder: Path) -> Any:
    saving.save_checkpoint(folder / "run.gpunn", model, [], epoch=7)
    again = make()
    again.load_weights(folder / "run.gpunn")
    return again


def _set(again: Callable[[Any], Any]) -> Way:
    def way(model: Any, make: Make, folder: Path) -> Any:
        made = again(model)
        made.set_weights(model.get_weights())
        return made

    return way


WEIGHTS: dict[str, Way] = {
    "weights": _weights_in("w.gpunn", "save_weights"),
    "weights of a model": _weights_in("m.gpunn", "save"),
    "weights of a checkpoint": _weights_of_a_checkpoint,
    "keras weights": _weights_in("m.weights.h5", "save_weights"),
    "weights of keras": _weights_in("m.keras", "save"),
    "clone": _set(gpunn.models.clone_model),
    "json": _set(lambda model: gpunn.models.model_from_json(model.to_json())),
    "config": _set(lambda model: type(model).from_config(model.get_config())),
}


def in_onnx(model: Any, folder: Path, x: np.ndarray) -> np.ndarray:
    """Return what onnxruntime computes from a model's exported file."""
    runtime = import_module("onnxruntime")
    model.export(folder / "m.onnx")
    session = runtime.InferenceSession(
        folder / "m.onnx", providers=["CPUExecutionProvider"]
    )
    found: np.ndarray = session.run(None, {model.input_names[0]: x})[0]
    return found
