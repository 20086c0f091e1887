"""What `fit` sees in some rows of its data: facts that ``model.trained_on`` records, to prepare
other data alike, and reasons to warn, since the model is hardly meant for such data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunn.common.names import warn
from gpunn.common.registry import is_own
from gpunn.core.plan import INPUT, Plan
from gpunn.feeding.arrays import value_range
from gpunn.feeding.batches import Batches
from gpunn.feeding.rows import Rows

from .trainer import Trainer

RECORDED = ("range", "prepared", "scale", "unsure_below", "validated_on")  # by `fit`
SOME = 256  # rows looked at
# Losses of numbers, not of classes.
REGRESSION = ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")
MOST_OF_A_BYTE = 255
BRIGHT = 100  # numbers of counts or categories are seldom larger
SIDE = 8  # pixels, at least, of a picture without an axis of colours
COLOURS = (1, 3, 4)
FLAT = (28 * 28, 32 * 32 * 3)  # pixels of MNIST's and CIFAR's pictures
# Layers that give pixels on as such; the names of others begin with "Random".
KEEPING = (
    "Flatten", "Reshape", "Permute", "Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D",
    "Dropout", "SpatialDropout2D", "Identity",
)
OF_PICTURES = ("Conv2D", "DepthwiseConv2D", "SeparableConv2D")
ROUNDING = 1e-6  # of the largest target
MANY = 10  # different numbers: no classes
ACCURACIES = ("Accuracy", "BinaryAccuracy", "CategoricalAccuracy")
HELD_OUT = 5000  # maximum rows that are predicted for `doubt`


def record_data(model: Any, trainer: Trainer, x: Any, rows: Rows | Batches) -> None:
    """Record the range of the input, and how pictures in the form of MNIST's digits were scaled.

    It replaces what an earlier `fit` recorded. Only some rows are read, of batches only the
    first. ``x`` is the input as the user passed it.
    """
    some = _some_rows(trainer, x, rows)
    if isinstance(trainer, Trainer) and not model._training.hinted:
        model._training.hinted = True
        _hint(trainer, some, rows)
    found: dict[str, Any] = {}
    if some is not None and (limits := value_range(some)):
        found["range"] = limits
        scale = None
        if math.prod(some.shape[1:]) == 28 * 28:
            from gpunn.feeding import mnist_form  # which only such rows may have

            scale = mnist_form.scale_of(some)
        if scale is not None:
            found |= {"prepared": "mnist", "scale": scale}
    kept = {name: fact for name, fact in model.trained_on.items() if name not in RECORDED}
    if model.trained_on.get("prepared", "mnist") != "mnist":  # of a folder of pictures
        found = {"prepared": model.trained_on["prepared"], **found}
    if {**found, **kept} != model.trained_on:  # setting an attribute takes time
        model.trained_on = {**found, **kept}


def _hint(trainer: Trainer, x: np.ndarray | None, rows: Rows | Batches) -> None:
    """Warn of data that the model is hardly meant for; ``x``: some rows of a single input."""
    found: list[str | None] = []
    if x is not None and trainer.plan.host is None and takes_pixels(trainer.plan):
        found.append(of_pixels(x))
    term = trainer.terms[0] if len(trainer.terms) == 1 else None
    if term is not None and type(term.loss).__name__ in REGRESSION:
        first = rows if isinstance(rows, Rows) else rows.first()
        if "y" in first.arrays:
            y = first.read(trainer.backend, "y", SOME)
            counted = y
            if "weights" in first.arrays:  # what has the weight 0 may be any number
                weights = first.read(trainer.backend, "weights", SOME)
                counted = y.reshape(weights.size, -1)[weights.reshape(-1) != 0]
            found.append(of_range(counted, term.activation))
            found.append(of_accuracy(y, {each.name: each.metric for each in term.measures}))
    for hint in filter(None, found):
        warn(hint)


def takes_pixels(plan: Plan) -> bool:
    """Return whether layers of pictures are the first to compute with the inputs.

    Operations and other layers may scale or look up the numbers, or take series and tables.
    """
    names = [type(node.layer).__name__ for node in plan.nodes]
    if any("Normalization" in name for name in names):
        return False
    same = {INPUT}  # the inputs, and nodes that give them on
    for k, (node, name) in enumerate(zip(plan.nodes, names, strict=True)):
        if same.isdisjoint(node.sources):
            continue
        if not is_own(node.layer):
            return False
        if name in KEEPING or name.startswith("Random"):
            same.add(k)
        elif name == "Dense":
            if len(plan.shape_of(node.sources[0])) > 1:  # of each step of a series
                return False
        elif name not in OF_PICTURES:
            return False
    return True


def of_pixels(x: np.ndarray) -> str | None:
    """Return a hint about rows (rows, ...) of pixels as bytes, which no layer scales.

    >>> of_pixels(np.full((2, 28, 28), 128, np.uint8))[:36]
    'x holds pixels from 0 to 255, and no'
    >>> of_pixels(np.full((2, 28, 28), 0.5))
    """
    shape = x.shape[1:]
    pictures = (
        (len(shape) == 3 and (shape[-1] in COLOURS or shape[0] in COLOURS))
        or (len(shape) == 2 and min(shape) >= SIDE)
        or (len(shape) == 1 and shape[0] in FLAT)
    )
    if not pictures or x.dtype.kind not in "iuf" or not x.size:
        return None
    if not (BRIGHT < x.max() <= MOST_OF_A_BYTE and x.min() >= 0):
        return None
    if x.dtype.kind == "f" and (x != np.rint(x)).any():
        return None
    return (
        "x holds pixels from 0 to 255, and no layer scales them: from such large inputs a network "
        "learns slowly or not at all. Begin the model with layers.Rescaling(1 / 255), or pass "
        "x / 255."
    )


def of_range(y: np.ndarray, activation: Any) -> str | None:
    """Return a hint about targets below all values of the model's last activation.

    >>> from gpunn import activations
    >>> of_range(np.array([1.0, -2.0]), activations.relu)[:39]
    'The model ends in relu, whose values ar'
    >>> of_range(np.array([1.0, 2.0]), activations.relu)
    """
    properties = getattr(activation, "properties", None)
    if properties is None or y.dtype.kind not in "iuf" or not y.size:
        return None
    low, high = properties.range
    if low != 0 or high != math.inf or not y.min() < -ROUNDING * abs(y).max():
        return None
    return (
        f"The model ends in {activation.__name__}, whose values are at least 0, and y holds "
        f"targets down to {y.min():.4g}, which it cannot reach. Leave out the last activation."
    )


def of_accuracy(y: np.ndarray, metrics: Mapping[str, Any]) -> str | None:
    """Return a hint about a metric, by its name, that counts correct classes, for targets
    (rows, ...) that are numbers.

    >>> from gpunn.metrics import BinaryAccuracy
    >>> of_accuracy(np.linspace(0, 1, 50), {"accuracy": BinaryAccuracy()})[:42]
    "The metric 'accuracy' counts correct class"
    """
    if are_probabilities(y):  # those of another model, the largest of which is the class
        return None
    for name, metric in metrics.items():
        if type(metric).__name__ in ACCURACIES and y.dtype.kind == "f":
            values = np.unique(y)
            if len(values) > MANY and (values != np.rint(values)).any():
                return (
                    f"The metric {name!r} counts correct classes, and y holds numbers: it "
                    f"says nothing about them. For regression use 'mae' or 'r2_score'."
                )
    return None


def _some_rows(trainer: Trainer, x: Any, rows: Rows | Batches) -> np.ndarray | None:
    """Return some evenly spaced rows of a single input of numbers, else None."""
    if type(x) in (np.ndarray, np.memmap):
        return x[:: -(-len(x) // SOME) or 1] if x.dtype.kind in "biuf" else None
    spec = trainer.spec
    if spec is None or spec.host is not None or len(spec.given) != 1:
        return None
    found = rows if isinstance(rows, Rows) else rows.first()
    return found.read(trainer.backend, "x", SOME)


def record_doubt(model: Any, trainer: Trainer, validation: Rows | Batches) -> None:
    """Record below which probability a classifier of MNIST's digits is unsure, from held-out rows.

    Only `gpunn predict` and the pages for drawings use it, so it is not computed for other data.
    """
    if not isinstance(validation, Rows) or model.trained_on.get("prepared") != "mnist":
        return
    if "x_1" in validation.arrays or "y_1" in validation.arrays or "y" not in validation.arrays:
        return
    x, y = (validation.read(trainer.backend, name, HELD_OUT) for name in "xy")
    outputs = model.predict(x, verbose=0)
    if not are_probabilities(outputs):
        return
    labels = y.reshape(-1) if y.size == len(y) else y.argmax(axis=-1)
    if labels.shape == (len(outputs),):
        model.trained_on = {**model.trained_on, **doubt(outputs, labels)}


def are_probabilities(outputs: Any) -> bool:
    """Whether a model's outputs are probabilities of two or more classes, in rows.

    >>> are_probabilities(np.array([[0.9, 0.1]])), are_probabilities(np.array([[2.0, -1.0]]))
    (True, False)
    """
    if getattr(outputs, "ndim", 0) != 2 or outputs.shape[1] < 2 or outputs.min() < 0:
        return False
    return bool(np.allclose(outputs.sum(axis=1), 1, atol=1e-3))


def doubt(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return the probability below which a prediction is unsure, from those (rows, classes) and the
    true classes (rows,) of held-out rows.

    It is the median of the largest probabilities of wrong predictions: half of the mistakes are
    below it. Without mistakes it is 0.5.

    >>> p = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.45, 0.55]])
    >>> doubt(p, np.array([0, 1, 1, 0]))
    {'unsure_below': 0.6, 'validated_on': 4}
    """
    wrong = probabilities.argmax(axis=1) != labels
    below = float(np.median(probabilities[wrong].max(axis=1))) if wrong.any() else 0.5
    return {"unsure_below": below, "validated_on": len(labels)}
