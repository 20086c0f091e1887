"""Test that files and pickles of an earlier version load and give the same numbers.

``tests/saving/earlier/`` was written by the version before internal names were changed:
``python tests/saving/test_earlier_files.py FOLDER`` writes such files with the current version."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import earlier_models
import numpy as np
import pytest

import gpunn
from gpunn import callbacks, initializers, layers, losses, metrics, ops, optimizers, regularizers

EARLIER = Path(__file__).parent / "earlier"
X = np.linspace(-1, 1, 48, dtype=np.float32).reshape(12, 4)
LABELS = np.arange(12, dtype=np.int32) % 3


def sequential() -> gpunn.Model:
    dense = layers.Dense(5, "gelu", kernel_regularizer=regularizers.L1L2(0.01, 0.02))
    inside = [dense, layers.BatchNormalization(), layers.PReLU(), layers.Dropout(0.2)]
    model = gpunn.Sequential([layers.Input((4,)), *inside, layers.Dense(3, "softmax")])
    model.compile(optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def with_operations() -> gpunn.Model:
    x = layers.Input((4,), name="x")
    h = layers.Dense(4, "relu")(x)
    y = ops.concatenate([ops.exp(h) * 0.5 + x[:, ::-1], layers.Add()([x, h])], axis=-1)
    model = gpunn.Model({"x": x}, {"y": layers.Dense(3, name="y")(y)})
    model.compile(optimizers.SGD(0.01, momentum=0.9), "mse")
    return model


def trained(model: gpunn.Model) -> gpunn.Model:
    one = isinstance(model, gpunn.Sequential)
    x, y = (X, LABELS) if one else ({"x": X}, {"y": np.eye(3, dtype=np.float32)[LABELS]})
    model.fit(x, y, batch_size=5, epochs=2, verbose=0)
    return model


def parts() -> dict[str, Any]:
    normalization, words = layers.Normalization(), layers.StringLookup()
    normalization.adapt(X)
    words.adapt(np.array(["sun", "moon", "sun"]))
    schedule = optimizers.schedules.CosineDecay(0.1, 20)
    return {
        "normalization": normalization, "words": words, "schedule": schedule,
        "optimizer": optimizers.AdamW(schedule, clipnorm=1.0), "loss": losses.Huber(0.5),
        "metric": metrics.AUC(num_thresholds=20), "stop": callbacks.EarlyStopping(patience=3),
        "initializer": initializers.HeNormal(seed=3), "layer": layers.Conv2D(2, 3, padding="same"),
    }  # fmt: skip


def write(folder: Path) -> None:
    """Write files with the current version."""
    folder.mkdir(exist_ok=True)
    (folder / "parts.pickle").write_bytes(pickle.dumps(parts()))
    answers = {}
    for make in (sequential, with_operations):
        gpunn.utils.set_random_seed(3)
        model, name = trained(make()), make.__name__
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        model.save(folder / f"{name}.gpunn")
        checkpoint = callbacks.ModelCheckpoint(folder / f"{name}.checkpoint.gpunn")
        model.fit(*given(model), batch_size=5, epochs=3, initial_epoch=2, verbose=0,
                  callbacks=[checkpoint])  # fmt: skip
        answers[name] = answer(model)
    for name, make in earlier_models.MAKERS.items():
        gpunn.utils.set_random_seed(3)
        model = earlier_models.compiled(make())
        (folder / f"{name}.before_fit.pickle").write_bytes(pickle.dumps(model))
        model.fit(X, LABELS, batch_size=5, epochs=2, verbose=0)
        (folder / f"{name}.pickle").write_bytes(pickle.dumps(model))
        model.fit(X, LABELS, batch_size=5, epochs=3, initial_epoch=2, verbose=0)
        answers[name] = answer(model)
    np.savez(folder / "answers.npz", **answers)


def given(model: gpunn.Model) -> tuple[Any, Any]:
    if not isinstance(model.input, dict):
        return X, LABELS
    return {"x": X}, {"y": np.eye(3, dtype=np.float32)[LABELS]}


def answer(model: gpunn.Model) -> np.ndarray:
    found = model.predict(given(model)[0], verbose=0)
    return found["y"] if isinstance(found, dict) else found


@pytest.mark.parametrize("name", ["sequential", "with_operations"])
@pytest.mark.parametrize("kind", ["pickle", "gpunn", "checkpoint.gpunn"])
def test_models_go_on_training(name: str, kind: str) -> None:
    """The last epoch is run here, or was run by the earlier version before its checkpoint."""
    path = EARLIER / f"{name}.{kind}"
    load = pickle.load if kind == "pickle" else gpunn.models.load_model
    with path.open("rb") as file:
        model = load(file if kind == "pickle" else path)
    if kind != "checkpoint.gpunn":
        model.fit(*given(model), batch_size=5, epochs=3, initial_epoch=2, verbose=0)
    with np.load(EARLIER / "answers.npz") as answers:
        np.testing.assert_allclose(answer(model), answers[name], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", earlier_models.MAKERS)
def test_pickled_models_of_every_kind_go_on_training(name: str) -> None:
    """With a custom call, inside another model, and built by their first data."""
    model = pickle.loads((EARLIER / f"{name}.pickle").read_bytes())
    model.fit(X, LABELS, batch_size=5, epochs=3, initial_epoch=2, verbose=0)
    with np.load(EARLIER / "answers.npz") as answers:
        np.testing.assert_allclose(answer(model), answers[name], rtol=2e-4, atol=1e-5)


@pytest.mark.parametrize("name", earlier_models.MAKERS)
def test_models_pickled_before_their_first_data_train(name: str) -> None:
    model = pickle.loads((EARLIER / f"{name}.before_fit.pickle").read_bytes())
    first = model.evaluate(X, LABELS, verbose=0, return_dict=True)["loss"]
    model.fit(X, LABELS, batch_size=4, epochs=20, verbose=0)
    assert model.evaluate(X, LABELS, verbose=0, return_dict=True)["loss"] < first


def test_parts_are_what_they_were() -> None:
    earlier, now = pickle.loads((EARLIER / "parts.pickle").read_bytes()), parts()
    assert earlier.keys() == now.keys()
    for name, part in now.items():
        assert type(earlier[name]) is type(part)
        for key, value in part.get_config().items() if name != "stop" else ():
            if key != "name":
                np.testing.assert_equal(earlier[name].get_config()[key], value, f"{name}.{key}")
    np.testing.assert_array_equal(earlier["normalization"](X), now["normalization"](X))
    np.testing.assert_array_equal(earlier["words"](["moon", "?"]), now["words"](["moon", "?"]))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
