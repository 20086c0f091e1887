"""Networks trained by a page's engine, in JavaScript, compared with the same ones in Python."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from registered_networks import unusual

import gpunn.apps.web
from gpunn import initializers, layers, losses, optimizers
from gpunn.apps.web.parts import parts
from gpunn.backends import choice_put_back, use_backend

WEB = Path(gpunn.apps.web.__file__).parent
PARTS = parts()
INPUTS, ROWS, BATCH, EPOCHS = 3, 47, 10, 20  # 100 steps, every fifth on 7 rows
SGD = {"name": "SGD", "learning_rate": 0.02}

pytestmark = unusual

# The engine in node, which loads modules like a browser: reads jobs, prints their results.
SCRIPT = """
import { readFileSync } from "node:fs";
import { load } from "./js/engine.js";
const { parts, jobs } = JSON.parse(readFileSync(0, "utf8"));
const engine = await load(readFileSync("gpunn.wasm"), parts);
const f = (numbers) => Float32Array.from(numbers);
const done = jobs.map(({ settings, x, y, rows, epochs, then }) => {
  try {
    for (const layer of settings.layers)
      for (const name of ["kernel", "bias"]) if (layer[name]) layer[name] = f(layer[name]);
    const n = engine.network(settings);
    [x, y] = [f(x), f(y)];
    n.setData(x, y, rows);
    const first = n.layers.map((l) => [...l.kernel]);
    n.epoch(epochs);
    const found = {
      first, loss: n.loss, kernels: n.layers.map((l) => [...l.kernel]),
      biases: n.layers.map((l) => [...l.bias]), predictions: [...n.predict(x, rows)],
    };
    if (then) found.then = new Function("n", "x", "y", "rows", then)(n, x, y, rows);
    n.free();
    return found;
  } catch (error) {
    return { error: error.message };
  }
});
console.log(JSON.stringify(done));
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function that runs jobs and returns the result of each."""
    node = shutil.which("node")
    if node is None:
        reason = "node runs the engine of pages here: apt install nodejs"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("engine")
    shutil.copytree(WEB / "js", folder / "js")
    shutil.copy(WEB / "gpunn.wasm", folder)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(SCRIPT)

    def run(*jobs: dict[str, Any]) -> list[dict[str, Any]]:
        text = json.dumps({"parts": PARTS, "jobs": jobs})
        done = subprocess.run(
            [str(node), "run.js"], cwd=folder, input=text, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def job(
    activation: str = "tanh",
    last: str = "linear",
    loss: str = "mean_squared_error",
    optimizer: dict[str, Any] = SGD,
    seed: int = 3,
    then: str = "",
    **options: Any,
) -> dict[str, Any]:
    """A network of three layers, with data; ``options`` are those of the hidden layers."""
    rng = np.random.default_rng(0)
    chain: list[dict[str, Any]] = []
    inputs = INPUTS
    for units, function in ((8, activation), (5, activation), (4, last)):
        own = options if len(chain) < 2 else {}
        kernel = rng.normal(0, inputs**-0.5, inputs * units).astype(np.float32)
        bias = rng.normal(0, 0.1, units).astype(np.float32)
        arrays = {"kernel": kernel.tolist(), "bias": bias.tolist()}
        chain.append({"units": units, "activation": function, **arrays, **own})
        inputs = units
    y = rng.uniform(0.1, 1, (ROWS, 4))
    if loss == "categorical_crossentropy":
        y = np.eye(4)[rng.integers(0, 4, ROWS)]
    elif PARTS["losses"][loss]["targets"] == "signs":
        y = np.sign(y - 0.5)
    elif PARTS["losses"][loss]["targets"] == "bits":
        y = np.round(y)
    x = rng.normal(size=(ROWS, INPUTS)).astype(np.float32)
    settings = {
        "inputs": INPUTS, "outputs": 4, "layers": chain, "loss": loss, "batch": BATCH, "seed": seed,
        "optimizer": optimizer,
    }  # fmt: skip
    data = {"x": x.ravel().tolist(), "y": y.astype(np.float32).ravel().tolist(), "rows": ROWS}
    return {"settings": settings, **data, "epochs": EPOCHS, "then": then}


def in_python(made: dict[str, Any]) -> dict[str, Any]:
    """The same training with NumPy."""
    settings = made["settings"]
    chain: list[Any] = [layers.Input((INPUTS,))]
    for own in settings["layers"]:
        penalty = gpunn.regularizers.L1L2(own.get("l1", 0), own.get("l2", 0))
        if own.get("normalize"):
            chain.append(layers.Dense(own["units"], kernel_regularizer=penalty))
            chain += [layers.BatchNormalization(), layers.Activation(own["activation"])]
        else:
            chain.append(layers.Dense(own["units"], own["activation"], kernel_regularizer=penalty))
        if own.get("dropout"):
            chain.append(layers.Dropout(own["dropout"]))
    with choice_put_back():
        use_backend("numpy")
        model = gpunn.Sequential(chain)
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    for layer, own in zip(dense, settings["layers"], strict=True):
        kernel = np.reshape(np.array(own["kernel"], np.float32), (-1, own["units"]))
        layer.set_weights([kernel, np.array(own["bias"], np.float32)])
    config = dict(settings["optimizer"])
    optimizer = {"class_name": config.pop("name"), "config": config}
    gpunn.utils.set_random_seed(settings["seed"])
    model.compile(optimizers.get(optimizer), losses.get(settings["loss"]))
    x, y = (np.reshape(np.array(made[k], np.float32), (ROWS, -1)) for k in "xy")
    history = model.fit(x, y, batch_size=BATCH, epochs=made["epochs"], verbose=0)
    weights = [layer.get_weights() for layer in dense]
    return {
        "kernels": [kernel.ravel() for kernel, _ in weights],
        "biases": [bias for _, bias in weights],
        "predictions": [model.predict(x, verbose=0).ravel()],
        "loss": [np.array(history.history["loss"][-1:])],
    }


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    softmax = {"last": "softmax", "loss": "categorical_crossentropy"}
    yield "all at once", job(normalize=True, dropout=0.3, l1=1e-3, l2=1e-2, **softmax)
    for name in PARTS["activations"]:
        # An exponential of an exponential overflows.
        yield name, job(**{"last" if name == "exponential" else "activation": name})
    for name in PARTS["losses"]:
        rows = name in ("categorical_crossentropy", "categorical_hinge", "kl_divergence")
        yield name, job(last="softmax" if rows else "sigmoid", loss=name)
    for name in PARTS["optimizers"]:
        yield name, job(optimizer={"name": name, "learning_rate": 0.01}, **softmax)
    more: list[dict[str, Any]] = [
        {"name": "SGD", "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"name": "RMSprop", "momentum": 0.5, "centered": True, "epsilon": 0.001},
        {"name": "Adam", "amsgrad": True, "clipnorm": 0.1},
        {"name": "Adagrad", "initial_accumulator_value": 0.3, "clipvalue": 0.01},
        {"name": "AdamW", "global_clipnorm": 0.1},
    ]
    for number, optimizer in enumerate(more):
        yield f"optimizer {number}", job(optimizer={"learning_rate": 0.01, **optimizer}, **softmax)


CASES = dict(jobs())


@pytest.fixture(scope="module")
def by_engine(engine: Any) -> dict[str, Any]:
    return dict(zip(CASES, engine(*CASES.values()), strict=True))


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("case", CASES)
def test_a_hundred_steps_are_those_of_python(case: str, by_engine: dict[str, Any]) -> None:
    """Including the order of rows and the dropout, which both affect the weights."""
    found, expected = by_engine[case], in_python(CASES[case])
    assert "error" not in found, found
    found |= {"predictions": [found["predictions"]], "loss": [[found["loss"]]]}
    for name, arrays in expected.items():
        for ours, array in zip(found[name], arrays, strict=True):
            assert np.isfinite(array).all()
            assert np.linalg.norm(ours - array) <= 1e-5 * np.linalg.norm(array), name


SET: list[dict[str, Any]] = [
    {"name": "constant", "value": -0.25},
    {"name": "identity", "gain": 0.5},
    {"name": "orthogonal", "gain": 2.0},
    {"name": "random_normal", "mean": 1.0, "stddev": 3.0},
    {"name": "random_uniform", "minval": -2.0, "maxval": 0.5},
    {"name": "truncated_normal", "mean": -1.0, "stddev": 0.1},
    *(
        {"name": "variance_scaling", "scale": 2.0, "mode": mode, "distribution": distribution}
        for mode in ("fan_in", "fan_out", "fan_avg")
        for distribution in ("truncated_normal", "untruncated_normal", "uniform")
    ),
]


def test_weights_begin_as_with_the_initializers_of_python(engine: Any) -> None:
    """Tall, square and wide kernels, large enough that rare draws occur."""
    chosen = [{"name": name} for name in PARTS["initializers"]] + SET
    sizes = (60, 60, 110)
    made = []
    for initializer in chosen:
        made.append(job(seed=7) | {"epochs": 0, "x": [0.0] * 90, "y": [0.0] * 110, "rows": 1})
        chain = [{"units": units, "initializer": initializer} for units in sizes]
        made[-1]["settings"] |= {"inputs": 90, "outputs": 110, "layers": chain}
    for initializer, found in zip(chosen, engine(*made), strict=True):
        assert "error" not in found, found
        given = {key: value for key, value in initializer.items() if key != "name"}
        inputs = 90
        for k, units in enumerate(sizes):
            cls: Any = type(initializers.get(initializer["name"]))
            how = cls(**given, **({"seed": 7 + k} if "seed" in signature(cls).parameters else {}))
            expected = how((inputs, units), "float32").ravel()
            np.testing.assert_allclose(found["first"][k], expected, 1e-6, 1e-7, err_msg=repr(how))
            inputs = units


def test_the_rarest_of_normal_numbers_are_those_of_numpy(engine: Any) -> None:
    """Tail values, which are drawn once in some thousand times; some of these are drawn again."""
    layer = {"units": 400, "initializer": {"name": "random_normal", "stddev": 1.0}}
    made = job(seed=8) | {"epochs": 0, "x": [0.0] * 400, "y": [0.0] * 400, "rows": 1}
    made["settings"] |= {"inputs": 400, "outputs": 400, "layers": [layer]}
    (found,) = engine(made)
    expected = np.random.Generator(np.random.PCG64(8)).standard_normal(160_000)
    assert np.abs(expected).max() > 4
    np.testing.assert_allclose(found["first"][0], expected, 1e-6, 1e-7)


@pytest.mark.parametrize("last", ["sigmoid", "softmax"])
def test_an_explanation_has_the_gradients_that_differences_show(engine: Any, last: str) -> None:
    """For every weight, by changing it slightly; the explanation itself changes nothing."""
    loss = "categorical_crossentropy" if last == "softmax" else "mean_squared_error"
    then = """
    const before = n.save(), found = n.explain(x, y, rows), gap = [], step = 1e-2;
    const same = JSON.stringify(n.save()) === JSON.stringify(before);
    n.layers.forEach((layer, k) => {
      for (const [array, gradient] of [["kernel", "kernelGradients"], ["bias", "biasGradients"]])
        for (let i = 0; i < layer[array].length; i++) {
          const value = layer[array][i], at = [];
          for (const way of [1, -1]) {
            layer[array][i] = value + way * step;
            at.push(n.evaluate(x, y, rows));
          }
          layer[array][i] = value;
          gap.push([(at[0] - at[1]) / (2 * step), found[gradient][k][i]]);
        }
    });
    const end = found.outputs.length - 1, shown = n.predict(x, rows);
    return { gap, same, loss: found.loss - n.evaluate(x, y, rows),
             ends: found.outputs[end].every((v, i) => Math.abs(v - shown[i]) < 1e-6),
             sums: [...found.sums[0]], outputs: [...found.outputs[0]] };
    """
    made = job(last=last, loss=loss, normalize=False, dropout=0.3, then=then) | {"epochs": 2}
    (found,) = engine(made)
    assert "error" not in found, found
    seen = found["then"]
    numeric, exact = np.array(seen["gap"]).T
    assert np.linalg.norm(numeric - exact) < 1e-3 * np.linalg.norm(exact)
    assert seen["same"] and seen["ends"] and abs(seen["loss"]) < 1e-6
    np.testing.assert_allclose(np.tanh(seen["sums"]), seen["outputs"], rtol=1e-5, atol=1e-6)


def test_a_network_goes_on_from_what_was_saved(engine: Any) -> None:
    then = """
    n.step(2);
    const saved = n.save();
    const after = () => (n.step(8), JSON.stringify([n.save(), n.loss, n.epochs, n.steps]));
    const one = after();
    n.restore(saved);
    const two = after();
    n.restore(JSON.parse(JSON.stringify(saved), (key, value) =>
      value?.constructor === Object && "0" in value ? Object.values(value) : value));
    return { same: one === two && two === after(), steps: saved.steps };
    """
    made = job(dropout=0.3, normalize=True, optimizer={"name": "Adam"}, then=then)
    (found,) = engine(made | {"epochs": 1})
    assert found["then"] == {"same": True, "steps": 7}


def test_settings_of_an_optimizer_change_while_it_learns_but_not_its_formula(engine: Any) -> None:
    then = """
    const kernel = () => n.layers[0].kernel.join();
    const before = kernel();
    n.setOptimizer("learning_rate", 0);
    n.step(2);
    const rests = kernel() === before;
    n.setOptimizer("learning_rate", 0.1);
    try { n.setOptimizer("momentum", 0.5); } catch (error) {
      n.step(1);
      return { rests, goes: kernel() !== before, message: error.message };
    }
    """
    (found,) = engine(job(optimizer={"name": "SGD"}, then=then))
    assert found["then"]["rests"] and found["then"]["goes"]
    assert "momentum of SGD cannot change from or to 0 during training" in found["then"]["message"]


def test_a_network_that_is_too_large_is_refused_in_words(engine: Any) -> None:
    huge = job()
    huge["settings"] |= {"layers": [{"units": 65_536}, {"units": 65_536}, {"units": 4}]}
    refused, other = engine(huge, job())
    assert "Out of memory" in refused["error"]
    assert "error" not in other


def test_settings_that_make_no_sense_are_refused_in_words(engine: Any) -> None:
    changes: dict[str, Any] = {
        'Unknown activation "rellu"': {"layers": [{"units": 4, "activation": "rellu"}]},
        'Unknown loss "mse2"': {"loss": "mse2"},
        'Unknown optimizer "none"': {"optimizer": None},
        "SGD has no momentun": {"optimizer": {**SGD, "momentun": 1}},
        "learning_rate of SGD must be a number of at least 0": {
            "optimizer": {"name": "SGD", "learning_rate": -1}
        },
        "units of layer 1 must be a whole number from 1": {"layers": [{"units": 0}]},
        "dropout of layer 1 must be below 1": {"layers": [{"units": 4, "dropout": 1}]},
        "needs at least one layer": {"layers": []},
        "The last layer has 5 units, but there are 4 outputs": {"layers": [{"units": 5}]},
        "batch must be a whole number": {"batch": 2.5},
        'Unknown initializer "he"': {"layers": [{"units": 4, "initializer": {"name": "he"}}]},
        "orthogonal has no stddev; it has gain": {
            "layers": [{"units": 4, "initializer": {"name": "orthogonal", "stddev": 1}}]
        },
        "mode of variance_scaling must be fan_in or": {
            "layers": [{"units": 4, "initializer": {"name": "variance_scaling", "mode": "fan"}}]
        },
        "value of constant must be a number": {
            "layers": [{"units": 4, "initializer": {"name": "constant", "value": "x"}}]
        },
        "kernel of layer 1 must hold 3 rows of 4 numbers, 12 in all; got 2": {
            "layers": [{"units": 4, "kernel": [1, 2]}]
        },
    }
    made = []
    for change in changes.values():
        made.append(job())
        made[-1]["settings"] |= change
    made.append(job() | {"rows": 5})
    messages = [found.get("error", "") for found in engine(*made)]
    for part, words in zip([*changes, "x must hold 5 rows of 3 numbers"], messages, strict=True):
        assert part in words
