"""Random training runs, compared with Keras: equal within rounding or different for a known reason.

`GPUNN_FITS_SEED` chooses another series, `GPUNN_FITS` the runs of it, such as "17" or "100-199". A
run that fails is printed with the command that repeats it alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest
import random_fits
from random_fits import Config
from random_fits.rows_of_fits import callbacks_in

import gpunn

pytestmark = pytest.mark.filterwarnings("ignore")
SEED = int(os.environ.get("GPUNN_FITS_SEED", "0"))
BACKENDS = ("numpy", "compiled")
EACH_TIME, EACH_NIGHT = 40, 400
ROWS = (1,)  # of several fits, each time


class Difference(NamedTuple):
    """A reason why some results of a configuration differ from Keras's.

    Attributes:
        why: in words; docs/reference/keras-differences.md says more.
        test: the test of this difference alone.
        explains: whether this is the reason, for a configuration and a position in its results.
    """

    why: str
    test: str
    explains: Callable[[Config, str], bool]


def figure(place: str) -> str:
    """Return the name of a metric without that of its output."""
    name = next((part for part in reversed(place.split("/")) if not part.isdigit()), "")
    return name.removeprefix("val_").removeprefix("out0_").removeprefix("out1_")


def counts_beside_validation(config: Config, place: str) -> bool:
    counts = ("true_positives", "true_negatives", "false_positives", "false_negatives")
    validated = config["fit"]["validation"] is not None
    return validated and figure(place) in counts and "val_" not in place


def weights_in_place(config: Config, place: str) -> bool:
    head = config["heads"][1 if "out1_" in place else 0]
    ignores = isinstance(head["loss"], list) and "ignore_class" in head["loss"][1]
    names = [m if isinstance(m, str) else m[1].get("name", "sparse_categorical_crossentropy")
             for m in head["weighted"]]  # fmt: skip
    return ignores and bool(config["fit"]["weights"]) and figure(place) in names


def generator_that_validates(config: Config, place: str) -> bool:
    fit = config["fit"]
    if fit["validation"] != "generator" or fit["validation_steps"] < 3:
        return False
    watched = any(given.get("monitor") == "val_loss" for _, given in config["callbacks"])
    return watched or "val_" in place or place.startswith("events")


def averages_of_a_run_that_stops(config: Config, place: str) -> bool:
    swaps = any(given.get("swap_on_epoch") for _, given in config["callbacks"])
    stops = any(name in ("stop", "EarlyStopping") for name, _ in config["callbacks"])
    return swaps and stops and not place.startswith("events")


def flat_targets(config: Config, place: str) -> bool:
    head = config["heads"][1 if "out1_" in place else 0]
    return head["y"] == "flat" and figure(place) in ("poisson", "hinge", "squared_hinge")


DIFFERENCES = [
    Difference(
        "some metrics compare each target with each prediction, where targets are (rows,)",
        "test_beside_keras.py::test_a_metric_of_flat_targets_compares_row_by_row",
        flat_targets,
    ),
    Difference(
        "counts of training are a view of those of validation, on PyTorch",
        "test_beside_keras.py::test_counts_of_training_are_not_those_of_validation",
        counts_beside_validation,
    ),
    Difference(
        "weights are multiplied in place by what a loss lets count, on PyTorch",
        "test_ignored_classes.py::test_keras_changes_the_weights_that_metrics_read",
        weights_in_place,
    ),
    Difference(
        "a generator that validates gives other batches each epoch, but for the first two",
        "test_py_dataset.py::test_validation_on_a_generator_has_the_same_batches_each_epoch",
        generator_that_validates,
    ),
    Difference(
        "weights and averages stay exchanged where training stops early",
        "test_beside_keras.py::test_averages_are_the_weights_also_where_training_stops",
        averages_of_a_run_that_stops,
    ),
]


def unexplained(config: Config, found: dict[str, str]) -> dict[str, str]:
    return {
        place: text
        for place, text in found.items()
        if not any(difference.explains(config, place) for difference in DIFFERENCES)
    }


def check(keras: Any, number: int, seed: int = SEED) -> None:
    """Run a configuration with Keras and with gpunn on each backend.

    Raises:
        AssertionError: if results differ; names them, and the command to run it alone.
    """
    config = random_fits.configuration(number, seed)
    keras.utils.set_random_seed(number)
    gpunn.utils.set_random_seed(number)
    theirs = random_fits.run(keras, config)
    for backend in BACKENDS:
        ours = random_fits.run(gpunn, config, theirs["first"], backend=backend)
        found = unexplained(config, random_fits.differences(config, theirs, ours))
        if found and not random_fits.is_chaotic(gpunn, config, ours, backend=backend):
            lines = [f"{place}: {text}" for place, text in list(found.items())[:8]]
            pytest.fail(
                f"On {backend} {len(found)} results differ from Keras's:\n  "
                + "\n  ".join(lines)
                + f"\nof {json.dumps(config)}\n"
                f"GPUNN_FITS_SEED={seed} GPUNN_FITS={number} pytest -k test_trainings {__file__}",
                pytrace=False,
            )


def asked_for() -> list[int]:
    """Return the numbers in GPUNN_FITS; by default the first ones."""
    parts = [part.partition("-") for part in os.environ.get("GPUNN_FITS", "").split(",") if part]
    given = [range(int(first), int(last or first) + 1) for first, _, last in parts]
    return [*chain.from_iterable(given)] or [*range(EACH_TIME)]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("number", asked_for())
def test_trainings(keras: Any, number: int) -> None:
    check(keras, number)


@pytest.mark.more(2)
@pytest.mark.parametrize("number", range(EACH_TIME, EACH_NIGHT))
def test_more_trainings(keras: Any, number: int) -> None:
    check(keras, number)


@pytest.mark.parametrize(
    "number", [pytest.param(n, marks=[] if n in ROWS else [pytest.mark.more]) for n in range(24)]
)
def test_fits_in_a_row(keras: Any, number: int) -> None:
    """Several fits of one model, with other options each, and callbacks that are used again."""
    config = random_fits.row_of_fits(number)
    for part in config["fits"]:
        part["shuffle"] = False  # the orders differ
    first = random_fits.first_weights(config)
    theirs = random_fits.run_row(keras, config, first)
    ours = random_fits.run_row(gpunn, config, first, backend=BACKENDS[number % 2])
    for k, (one, other) in enumerate(zip(theirs, ours, strict=True)):
        config["fit"], config["callbacks"] = config["fits"][k]["fit"], callbacks_in(config, k)
        found = unexplained(config, random_fits.differences(config, one, other))
        assert not found, (k, found)


def test_a_number_names_one_configuration() -> None:
    """The same in each process, so that failures can be reproduced."""
    first = random_fits.configuration(3, 1)
    assert json.loads(json.dumps(first)) == first == random_fits.configuration(3, 1)
    others = [random_fits.configuration(n, seed) for n in (3, 4) for seed in (1, 2)]
    assert len({json.dumps({**c, "number": 0, "seed": 0}) for c in others}) == 4


FAULTS: dict[str, Callable[[Config], Any]] = {
    "a weight moved by a thousandth": lambda found: found["weights"][0].__imul__(1.001),
    "an epoch too many": lambda found: found["epochs"].append(9),
    "a figure of a batch": lambda found: found["events"][1][2].update(loss=0.0),
    "a figure less": lambda found: found["history"].pop("loss"),
    "a step too many": lambda found: found.update(iterations=found["iterations"] + 1),
    "NaN": lambda found: found["predict"][0].fill(np.nan),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_comparison_sees(fault: str) -> None:
    config = {**random_fits.configuration(2), "dtype": "float64"}
    sound = random_fits.run(gpunn, config)
    broken = random_fits.run(gpunn, config, sound["first"])
    assert not random_fits.differences(config, sound, broken)
    FAULTS[fault](broken)
    assert unexplained(config, random_fits.differences(config, sound, broken))
