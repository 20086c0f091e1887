"""The data of a configuration, and the form in which `fit` gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .drawing import Config


def data_of(config: Config) -> Config:
    """Inputs, targets and weights: "x", "y" and "w" for training, and those for validation."""
    random = np.random.default_rng([config["seed"], config["number"], 1])
    made: Config = {}
    for suffix, rows in (("", config["rows"]), ("_val", 7)):
        xs = [_inputs(random, (rows, *config["shape"]), config["x"])
              for _ in range(config["inputs"])]  # fmt: skip
        made["x" + suffix] = xs
        made["y" + suffix] = [_targets(random, head, config, rows) for head in config["heads"]]
        each = (rows, config["shape"][0]) if config["kind"] == "steps" else (rows,)
        made["w" + suffix] = [random.uniform(0, 2, rows) for _ in config["heads"]]
        made["steps" + suffix] = random.uniform(0, 2, each)
    return made


def _inputs(random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype.startswith("float"):
        return random.normal(size=shape).astype(dtype)
    return random.integers(0, 4, shape).astype(dtype)


def _targets(random: np.random.Generator, head: Config, config: Config, rows: int) -> np.ndarray:
    """Return the targets in the head's form if possible."""
    y, form = _plain_targets(random, head, config, rows), head["y"]
    if form == "int64":
        return y.astype(form) if head["task"] in ("bits", "classes", "sides", "sparse") else y
    if form == "float32":
        return y.astype(form)
    if form == "flat" and config["kind"] != "steps" and head["units"] == 1:
        return y.reshape(rows) if head["task"] != "sparse" else y
    if form == "column" and head["task"] == "sparse":
        return y[..., np.newaxis]
    return y


def _plain_targets(
    random: np.random.Generator, head: Config, config: Config, rows: int
) -> np.ndarray:
    before = [config["shape"][0]] if config["kind"] == "steps" else []
    shape, task = (rows, *before, head["units"]), head["task"]
    if task == "numbers":
        return random.choice([-1, 1], shape) * random.uniform(0.3, 1.5, shape)
    if task == "positive":
        y = random.uniform(0.1, 1.5, shape)
        return y / y.sum(-1, keepdims=True) if head["units"] > 1 else y
    if task == "bits":
        return random.integers(0, 2, shape).astype("float64")
    classes = random.integers(0, 3, shape[:-1])
    if task == "classes":
        return np.eye(3)[classes]
    if task == "sparse":
        given = head["loss"][1] if isinstance(head["loss"], list) else {}
        ignored = given.get("ignore_class")
        if ignored is not None:
            classes = np.where(random.random(classes.shape) < 0.3, ignored, classes)
        return classes
    name = head["loss"] if isinstance(head["loss"], str) else head["loss"][0]
    if name == "CategoricalHinge":
        return np.eye(head["units"])[random.integers(0, head["units"], shape[:-1])]
    return random.choice([-1.0, 1.0], shape)


def parts_of(config: Config, given: Config, suffix: str, weights: Any) -> list[Any]:
    """x, y and weights as `fit` takes them."""

    def packed(values: list[Any]) -> Any:
        return values[0] if len(values) == 1 else values

    found = [packed(given["x" + suffix]), packed(given["y" + suffix])]
    if config["named"]:
        found[0] = {f"in{k}": x for k, x in enumerate(given["x" + suffix])}
    if weights == "rows":
        found.append(given["w" + suffix][0])
    elif weights == "of each":
        found.append(packed(given["w" + suffix]))
    elif weights == "steps":
        found.append(given["steps" + suffix])
    return found


def rows_in(part: Any, rows: slice) -> Any:
    if isinstance(part, dict):
        return {name: one[rows] for name, one in part.items()}
    return [rows_in(one, rows) for one in part] if isinstance(part, list) else part[rows]


def batches_of(parts: list[Any], size: int) -> list[tuple[Any, ...]]:
    x = parts[0]
    first = x[0] if isinstance(x, list) else x["in0"] if isinstance(x, dict) else x
    starts = range(0, len(first), size)
    return [
        tuple(
            tuple(batch) if isinstance(batch, list) else batch
            for batch in (rows_in(part, slice(at, at + size)) for part in parts)
        )
        for at in starts
    ]


def _generator(batches: list[Any]) -> Iterator[Any]:
    while True:
        yield from batches


def data_set_of(module: Any, batches: list[Any]) -> Any:
    class Batches(module.utils.PyDataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, number: int) -> Any:
            return batches[number]

    return Batches()


def fit_arguments(module: Any, config: Config, given: Config) -> Config:
    """The arguments of `fit`."""
    fit = config["fit"]
    names = (
        "epochs", "batch_size", "initial_epoch", "steps_per_epoch", "validation_steps",
        "validation_batch_size", "validation_freq", "validation_split",
    )  # fmt: skip
    made: Config = {name: fit[name] for name in names if name in fit}
    made |= {"shuffle": False, "verbose": 0}
    weights = fit["weights"]
    parts = parts_of(config, given, "", weights)
    if fit["data"] in ("generator", "data set"):
        batches = batches_of(parts, made.pop("batch_size"))
        made["x"] = (
            _generator(batches) if fit["data"] == "generator" else data_set_of(module, batches)
        )
    else:
        made |= dict(zip(("x", "y", "sample_weight"), parts, strict=False))
    if weights == "classes":
        made["class_weight"] = {0: 0.5, 1: 2.0, 2: 1.5}
        if config["heads"][0]["units"] == 1:
            del made["class_weight"][2]
    validation = fit["validation"]
    if validation in ("data", "weighted data", "generator", "data set"):
        weighted = weights if validation == "weighted data" and weights != "classes" else None
        parts = parts_of(config, given, "_val", weighted)
        batches = batches_of(parts, 3)
        made["validation_data"] = {
            "generator": lambda: _generator(batches),
            "data set": lambda: data_set_of(module, batches),
        }.get(validation, lambda: tuple(parts))()  # fmt: skip
    return made
